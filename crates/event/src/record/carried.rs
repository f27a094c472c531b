//! What a record keeps of the message of a carrier that its event was in: enough to write the `context` and the id that follow from it.
//!
//! What the messages of an upstream partition have in common is kept once for all of them. Layout, version 4; a number is written seven
//! bits in a byte, the lowest first, and a text stands behind its length as such a number:
//! * shared: version u8 · whether places are numbers u8 · 2 zeros · received_at_us i64, little-endian · then six texts: source, kind, name of
//!   a place, topic, mark of the topic, upstream partition;
//! * own: version u8 · problem u8 · flags u8 · place, a number or a text · by how much it was published before it was received, in microseconds,
//!   zigzag · key · count of headers, and of each its name and its value · why it is no event · id, or what of it stands behind the position ·
//!   the rest is the event. What the flags do not name is not there.

use std::borrow::Cow;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use crate::time;
use crate::value::{JsonObject, Value};

pub(super) const CARRIED: u8 = 4;

// What is there, and how.
const NUMBERED: u8 = 1;
const PUBLISHED: u8 = 2;
const KEYED: u8 = 4;
const WITH_HEADERS: u8 = 8;
const WITH_REASON: u8 = 16;
const KNOWN_BY_POSITION: u8 = 32;

/// Digits of a place that is written as a number: any of them fits.
const DIGITS_MAX: usize = 19;
/// What a `context` has beside its texts, at most; and each header beside its own.
const BARE_CONTEXT_BYTES: usize = 256;
const BARE_HEADER_BYTES: usize = 8;

/// Where a message is from, as far as all messages of an upstream partition say the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MessageOrigin<'a> {
    /// Of the carrier, and the field of `context` that says where an event is from.
    pub kind: &'a str,
    /// What the carrier calls a place in an upstream partition.
    pub place_field: &'a str,
    /// Whether places that look like numbers are shown as such.
    pub has_numbers: bool,
    pub topic: &'a str,
    /// By what the topic is told from the first of its name; empty where it is that one.
    pub topic_mark: &'a str,
    /// Empty where there are none.
    pub partition: &'a str,
}

/// A message, without its payload.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CarriedMessage<'a> {
    pub origin: MessageOrigin<'a>,
    /// Its place in its upstream partition.
    pub at: Cow<'a, str>,
    /// In microseconds since the Unix epoch.
    pub published_at_us: Option<i64>,
    pub key: Option<&'a [u8]>,
    /// Those that are kept. Of several of one name the first counts.
    pub headers: Vec<(&'a str, &'a str)>,
}

/// What the own part of a record says.
pub(super) struct CarriedOwn<'a> {
    pub(super) message: CarriedMessage<'a>,
    pub(super) reason: Option<&'a str>,
    pub(super) message_id: String,
    pub(super) event: &'a [u8],
}

/// By what a message is told from all others of its source: `topic/partition/at`, or `topic@mark/partition/at`.
#[must_use]
pub fn message_position(topic: &str, mark: &str, partition: &str, at: &str) -> String {
    let mut position = String::with_capacity(topic.len() + mark.len() + partition.len() + at.len() + 3);
    position.push_str(topic);
    if !mark.is_empty() {
        position.push('@');
        position.push_str(mark);
    }
    position.push('/');
    if !partition.is_empty() {
        position.push_str(partition);
        position.push('/');
    }
    position.push_str(at);
    position
}

impl<'a> MessageOrigin<'a> {
    /// Appends what the records of these messages have in common.
    pub fn write_shared(&self, source: &str, received_at_us: i64, out: &mut Vec<u8>) {
        out.extend_from_slice(&[CARRIED, u8::from(self.has_numbers), 0, 0]);
        out.extend_from_slice(&received_at_us.to_le_bytes());
        for text in [source, self.kind, self.place_field, self.topic, self.topic_mark, self.partition] {
            write_bytes(text.as_bytes(), out);
        }
    }

    /// The source and the origin in the texts of a shared part.
    pub(super) fn read(has_numbers: bool, texts: &'a [u8]) -> Option<(&'a str, Self)> {
        let mut rest = CarriedBytes(texts);
        let (source, kind, place_field) = (rest.text()?, rest.text()?, rest.text()?);
        let (topic, topic_mark, partition) = (rest.text()?, rest.text()?, rest.text()?);
        Some((source, Self { kind, place_field, has_numbers, topic, topic_mark, partition }))
    }
}

impl CarriedMessage<'_> {
    #[must_use]
    pub fn position(&self) -> String {
        let MessageOrigin { topic, topic_mark, partition, .. } = self.origin;
        message_position(topic, topic_mark, partition, &self.at)
    }

    /// Where it is from, when it was published, and its key.
    #[must_use]
    pub fn fields(&self) -> JsonObject {
        let MessageOrigin { place_field, has_numbers, topic, partition, .. } = self.origin;
        let mut fields = JsonObject::new();
        fields.insert("topic", topic.into());
        if !partition.is_empty() {
            fields.insert("partition", number_or_text(partition));
        }
        let at = if has_numbers { number_or_text(&self.at) } else { (&*self.at).into() };
        fields.insert(place_field, at);
        if let Some(at_us) = self.published_at_us {
            // Of what is a text like any other to the warehouses, the spelling that they give it again.
            let at = if at_us % 1_000 == 0 { time::format_millis(at_us) } else { time::format(at_us) };
            fields.insert("publishedAt", at.into());
        }
        match self.key.map(|key| (std::str::from_utf8(key), key)) {
            None => {}
            Some((Ok(text), _)) => {
                fields.insert("key", text.into());
            }
            // Nothing of it is lost.
            Some((Err(_), key)) => {
                fields.insert("keyBase64", STANDARD.encode(key).into());
            }
        }
        fields
    }

    /// The JSON text of the `context` of its events: `{"<kind>": {...}}`. `reason` says why there is no event.
    #[must_use]
    pub fn context(&self, reason: Option<&str>) -> String {
        let mut kept = self.fields();
        if !self.headers.is_empty() {
            let mut sorted: Vec<&(&str, &str)> = self.headers.iter().collect();
            // Each goes behind those before it, and the first of a name stays the first.
            sorted.sort_by_key(|header| header.0);
            let mut headers = JsonObject::new();
            for (name, value) in sorted {
                headers.entry(*name).or_insert_with(|| (*value).into());
            }
            kept.insert("headers", headers.into());
        }
        if let Some(reason) = reason {
            kept.insert("position", self.position().into());
            kept.insert("reason", reason.into());
        }
        let context: JsonObject = [(self.origin.kind, Value::Object(kept))].into_iter().collect();
        context.to_string()
    }

    /// No `context` of it has more bytes: of each byte of a text six may be made, and most texts stand there twice at most.
    #[must_use]
    pub fn context_bytes_max(&self, reason: Option<&str>) -> usize {
        let MessageOrigin { kind, place_field, topic, topic_mark, partition, .. } = self.origin;
        let place = topic.len() + topic_mark.len() + partition.len() + self.at.len();
        let texts = kind.len() + place_field.len() + 2 * place + self.own_bytes() + reason.map_or(0, str::len);
        6 * texts + BARE_CONTEXT_BYTES + BARE_HEADER_BYTES * self.headers.len()
    }

    /// What it adds to each event that was in it: the bytes of its key and of the headers that are kept.
    #[must_use]
    pub fn own_bytes(&self) -> usize {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        headers + self.key.map_or(0, <[u8]>::len)
    }

    /// Appends the flags, and what they name.
    pub(super) fn write_own(&self, received_at_us: i64, reason: Option<&str>, message_id: &str, out: &mut Vec<u8>) {
        let number = as_number(&self.at);
        // Most ids are positions.
        let behind = message_id.strip_prefix(self.position().as_str());
        let flags = [
            (NUMBERED, number.is_some()),
            (PUBLISHED, self.published_at_us.is_some()),
            (KEYED, self.key.is_some()),
            (WITH_HEADERS, !self.headers.is_empty()),
            (WITH_REASON, reason.is_some()),
            (KNOWN_BY_POSITION, behind.is_some()),
        ];
        out.push(flags.into_iter().filter(|(_, is_there)| *is_there).map(|(flag, _)| flag).sum());
        match number {
            Some(number) => write_number(number, out),
            None => write_bytes(self.at.as_bytes(), out),
        }
        if let Some(at_us) = self.published_at_us {
            write_number(zigzag(received_at_us.wrapping_sub(at_us)), out);
        }
        if let Some(key) = self.key {
            write_bytes(key, out);
        }
        if !self.headers.is_empty() {
            write_number(self.headers.len() as u64, out);
            for (name, value) in &self.headers {
                write_bytes(name.as_bytes(), out);
                write_bytes(value.as_bytes(), out);
            }
        }
        if let Some(reason) = reason {
            write_bytes(reason.as_bytes(), out);
        }
        write_bytes(behind.unwrap_or(message_id).as_bytes(), out);
    }
}

impl<'a> CarriedOwn<'a> {
    /// What stands behind version and problem.
    pub(super) fn read(origin: MessageOrigin<'a>, received_at_us: i64, own: &'a [u8]) -> Option<Self> {
        let (flags, rest) = own.split_first()?;
        let has = |flag: u8| flags & flag != 0;
        let mut rest = CarriedBytes(rest);
        let at = if has(NUMBERED) { Cow::Owned(rest.number()?.to_string()) } else { Cow::Borrowed(rest.text()?) };
        let published_at_us =
            if has(PUBLISHED) { Some(received_at_us.wrapping_sub(unzigzag(rest.number()?))) } else { None };
        let key = if has(KEYED) { Some(rest.bytes()?) } else { None };
        let mut headers = Vec::new();
        if has(WITH_HEADERS) {
            // However many it claims, each takes two bytes.
            for _ in 0..rest.number()? {
                headers.push((rest.text()?, rest.text()?));
            }
        }
        let reason = if has(WITH_REASON) { Some(rest.text()?) } else { None };
        let id = rest.text()?;
        let message = CarriedMessage { origin, at, published_at_us, key, headers };
        let message_id = if has(KNOWN_BY_POSITION) { message.position() + id } else { id.to_owned() };
        Some(Self { message, reason, message_id, event: rest.0 })
    }
}

/// Numbers and texts, one behind the other.
struct CarriedBytes<'a>(&'a [u8]);

impl<'a> CarriedBytes<'a> {
    fn number(&mut self) -> Option<u64> {
        let mut number = 0_u64;
        for shift in (0..u64::BITS).step_by(7) {
            let (byte, rest) = self.0.split_first()?;
            self.0 = rest;
            let bits = u64::from(byte & 0x7f);
            if bits > u64::MAX >> shift {
                return None;
            }
            number |= bits << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }

    fn bytes(&mut self) -> Option<&'a [u8]> {
        let length = usize::try_from(self.number()?).ok()?;
        let (bytes, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(bytes)
    }

    fn text(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.bytes()?).ok()
    }
}

fn write_number(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

fn write_bytes(bytes: &[u8], out: &mut Vec<u8>) {
    write_number(bytes.len() as u64, out);
    out.extend_from_slice(bytes);
}

/// Small numbers on both sides of zero as small numbers.
fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// A whole number, where its text is the usual one.
fn as_number(text: &str) -> Option<u64> {
    let is_usual = text.len() <= DIGITS_MAX
        && text.bytes().all(|digit| digit.is_ascii_digit())
        && (text.len() == 1 || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_usual)
}

/// A whole number as such, where its text is the usual one.
fn number_or_text(text: &str) -> Value {
    match text.parse::<i64>() {
        Ok(number) if number.to_string() == text => number.into(),
        _ => text.into(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const RECEIVED: i64 = 1_700_000_100_000_000;

    fn message() -> CarriedMessage<'static> {
        let origin = MessageOrigin {
            kind: "kafka",
            place_field: "offset",
            has_numbers: true,
            topic: "orders",
            topic_mark: "",
            partition: "3",
        };
        CarriedMessage {
            origin,
            at: "123456".into(),
            published_at_us: Some(1_700_000_000_000_000),
            key: Some(b"user-17"),
            headers: Vec::new(),
        }
    }

    fn own(message: &CarriedMessage<'_>, reason: Option<&str>, id: &str) -> Vec<u8> {
        let mut own = Vec::new();
        message.write_own(RECEIVED, reason, id, &mut own);
        own.extend_from_slice(b"the event");
        own
    }

    #[test]
    fn a_context_has_what_the_message_says() {
        let place = r#""offset":123456,"partition":3"#;
        let published = r#""publishedAt":"2023-11-14T22:13:20.000Z""#;
        let want = format!(r#"{{"kafka":{{"key":"user-17",{place},{published},"topic":"orders"}}}}"#);
        assert_eq!(message().context(None), want);
        let origin = MessageOrigin {
            kind: "pubsub",
            place_field: "messageId",
            has_numbers: false,
            topic: "s",
            topic_mark: "1f",
            partition: "",
        };
        let headers = vec![("ce-id", "1"), ("ce-id", "2"), ("b", "")];
        let key = Some(b"\xff".as_slice());
        let other = CarriedMessage { origin, at: "017".into(), published_at_us: None, key, headers };
        let want = concat!(
            r#"{"pubsub":{"headers":{"b":"","ce-id":"1"},"keyBase64":"/w==","messageId":"017","#,
            r#""position":"s@1f/017","reason":"it is \"blue\"","topic":"s"}}"#
        );
        assert_eq!(other.context(Some(r#"it is "blue""#)), want);
    }

    #[test]
    fn a_place_is_a_number_where_it_reads_as_it_was_written() {
        let all = ["0", "7", "1234567890123456789", "9999999999999999999"];
        assert!(all.into_iter().all(|text| as_number(text).is_some_and(|number| number.to_string() == text)));
        for text in ["", "007", "-1", "+1", "1e3", "10000000000000000000", "shardId-0", "１"] {
            assert_eq!(as_number(text), None, "{text:?}");
        }
    }

    #[test]
    fn the_usual_message_takes_few_bytes_beside_its_event() {
        let bytes = own(&message(), None, "orders/3/123456").len() - "the event".len();
        assert!(bytes <= 20, "{bytes}");
    }

    fn texts() -> impl Strategy<Value = String> {
        prop_oneof!["[0-9]{1,60}", ".{0,12}"]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_and_no_cut_of_it_panics(
            at in texts(),
            partition in texts(),
            mark in "[0-9a-f]{0,2}",
            has_numbers in any::<bool>(),
            published_at_us in any::<Option<i64>>(),
            key in any::<Option<Vec<u8>>>(),
            reason in any::<Option<String>>(),
            headers in prop::collection::vec((texts(), texts()), 0..3),
            behind in "(:[0-9])?|x",
            is_position in any::<bool>(),
        ) {
            let origin = MessageOrigin { has_numbers, topic_mark: &mark, partition: &partition, ..message().origin };
            let message = CarriedMessage {
                origin,
                at: at.as_str().into(),
                published_at_us,
                key: key.as_deref(),
                headers: headers.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect(),
            };
            let id = if is_position { message.position() + &behind } else { behind };
            let own = own(&message, reason.as_deref(), &id);
            let read = CarriedOwn::read(origin, RECEIVED, &own).unwrap();
            prop_assert_eq!(&read.message, &message);
            prop_assert_eq!((read.reason, &read.message_id, read.event), (reason.as_deref(), &id, &b"the event"[..]));
            prop_assert!(message.context(reason.as_deref()).len() <= message.context_bytes_max(reason.as_deref()));
            for cut in 0..own.len() - b"the event".len() {
                prop_assert!(CarriedOwn::read(origin, RECEIVED, &own[..cut]).is_none(), "{}", cut);
            }
            let mut shared = Vec::new();
            origin.write_shared("web", RECEIVED, &mut shared);
            prop_assert_eq!(MessageOrigin::read(has_numbers, &shared[12..]), Some(("web", origin)));
            for cut in 12..shared.len() {
                prop_assert_eq!(MessageOrigin::read(has_numbers, &shared[12..cut]), None);
            }
        }

        #[test]
        fn any_number_comes_back(number in any::<u64>(), signed in any::<i64>()) {
            let mut bytes = Vec::new();
            write_number(number, &mut bytes);
            prop_assert_eq!(CarriedBytes(&bytes).number(), Some(number));
            prop_assert_eq!(unzigzag(zigzag(signed)), signed);
        }

        #[test]
        fn whatever_bytes_stand_there_nothing_panics(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = CarriedOwn::read(message().origin, RECEIVED, &bytes);
            let _ = MessageOrigin::read(true, &bytes);
        }
    }
}

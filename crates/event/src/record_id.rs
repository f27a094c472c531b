//! By which id a record is found, without decoding its event.

use std::borrow::Cow;

use super::json;
use super::record::LoggedRecord;

/// The `messageId` that the event of a record has once it is decoded: its own or, where it has none, the one that was made for it. `None` for a
/// record without one, and for bytes that are no record.
#[must_use]
pub fn message_id<'r>(shared: &'r [u8], own: &'r [u8]) -> Option<Cow<'r, [u8]>> {
    let (made, event) = LoggedRecord::id_and_event(shared, own)?;
    own_id(event).or_else(|| {
        let made = match made {
            Cow::Borrowed(id) => Cow::Borrowed(id.as_bytes()),
            Cow::Owned(id) => Cow::Owned(id.into_bytes()),
        };
        (!made.is_empty()).then_some(made)
    })
}

/// The id in the bytes of an event: a text that is not empty, or a number as it is spelled.
fn own_id(event: &[u8]) -> Option<Cow<'_, [u8]>> {
    let mut at = json::space(event, 0);
    if event.get(at) != Some(&b'{') {
        return None;
    }
    loop {
        at = json::space(event, at + 1);
        let key_end = json::skip_string(event, at)?;
        let value = json::space(event, json::space(event, key_end) + 1);
        let end = json::scan(event, value).ok()?.end;
        if event.get(at..key_end).and_then(json::key_text).is_some_and(|key| key == "messageId") {
            return id_of(event.get(value..end)?);
        }
        at = json::space(event, end);
        if event.get(at) != Some(&b',') {
            return None;
        }
    }
}

fn id_of(value: &[u8]) -> Option<Cow<'_, [u8]>> {
    match value.first()? {
        b'"' => match json::key_text(value)? {
            Cow::Borrowed(text) => Some(Cow::Borrowed(text.as_bytes())),
            Cow::Owned(text) => Some(Cow::Owned(text.into_bytes())),
        }
        .filter(|id| !id.is_empty()),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(value)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;
    use crate::Position;
    use crate::decode;
    use crate::record::{CarriedMessage, ErasedRecord, MessageOrigin, Record};

    #[test]
    fn the_id_of_a_record_is_the_one_that_its_event_has() {
        for event in [
            r#"{"type":"track","event":"E","messageId":"m-1"}"#,
            r#" { "messageId" : "a\u0062\"c" , "type" : "track", "event": "E" } "#,
            r#"{"type":"track","event":"E","messageId":17.50}"#,
            r#"{"type":"track","event":"E","messageId":""}"#,
            r#"{"type":"track","event":"E","messageId":null}"#,
            r#"{"type":"track","event":"E"}"#,
            r#"{"properties":{"messageId":"inner"},"type":"track","event":"E"}"#,
            r#"{"message\u0049d":"spelled","type":"track","event":"E"}"#,
        ] {
            let record = Record {
                problem: None,
                route: None,
                received_at_us: 0,
                source: "web",
                ip: "",
                message_id: "made",
                sent_at: "",
                context: b"",
                integrations: b"",
                event: event.as_bytes(),
            };
            let (mut shared, mut own) = (Vec::new(), Vec::new());
            record.write_shared(&mut shared);
            record.write_own(&mut own);
            let decoded = decode::decode(&record, Arc::from("web"), Position::new(0, 0)).unwrap();
            assert_eq!(message_id(&shared, &own).as_deref(), Some(decoded.message_id().as_bytes()), "{event}");
        }
        assert_eq!(message_id(b"", b"\x09"), None);
        for broken in ["", "{", "[]", "{\"messageId\"", "{\"messageId\":", "{\"messageId\":\"x", "{\"a\" 1}"] {
            assert_eq!(own_id(broken.as_bytes()), None, "{broken}");
        }
    }

    /// A record of a message of Kinesis, whose sequence numbers have 56 digits.
    fn carried(event: &[u8]) -> (Vec<u8>, Vec<u8>) {
        let origin = MessageOrigin {
            kind: "kinesis",
            place_field: "sequenceNumber",
            has_numbers: false,
            topic: "clicks",
            topic_mark: "",
            partition: "shardId-000000000000",
        };
        let at = "49590338271490256608559692538361571095921575989136588898";
        let message = CarriedMessage { origin, at: at.into(), published_at_us: None, key: None, headers: Vec::new() };
        let position = message.position();
        let record = Record {
            problem: None,
            route: None,
            received_at_us: 5,
            source: "hooks",
            ip: "",
            message_id: &position,
            sent_at: "",
            context: b"",
            integrations: b"",
            event,
        };
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        origin.write_shared("hooks", 5, &mut shared);
        record.write_carried(&message, None, &mut own);
        (shared, own)
    }

    #[test]
    fn a_carried_record_is_found_by_the_id_that_its_event_has_and_an_erased_one_by_none() {
        for event in [r#"{"type":"track","event":"E"}"#, r#"{"type":"track","event":"E","messageId":"m-1"}"#] {
            let (shared, own) = carried(event.as_bytes());
            let read = LoggedRecord::read(&shared, &own).unwrap();
            let decoded = decode::decode(&read.record(), Arc::from("hooks"), Position::new(0, 0)).unwrap();
            assert_eq!(message_id(&shared, &own).as_deref(), Some(decoded.message_id().as_bytes()), "{event}");
            let mut erased = ErasedRecord::of(&shared, &own, 1).unwrap().own(false);
            erased.resize(own.len(), 0);
            assert_eq!(message_id(&shared, &erased), None, "{event}");
        }
    }

    proptest! {
        #[test]
        fn whatever_stands_in_a_record_nothing_panics(
            at in 0_usize..200,
            bytes in prop::collection::vec(any::<u8>(), 0..12),
            is_of_shared in any::<bool>(),
        ) {
            let (mut shared, mut own) = carried(br#"{"type":"track","event":"E"}"#);
            let damaged = if is_of_shared { &mut shared } else { &mut own };
            let at = at.min(damaged.len());
            damaged.truncate(at + bytes.len().min(damaged.len() - at));
            for (place, byte) in damaged.iter_mut().skip(at).zip(&bytes) {
                *place = *byte;
            }
            let _ = message_id(&shared, &own);
            let _ = ErasedRecord::read(&shared, &own);
            let _ = ErasedRecord::of(&shared, &own, 1);
            if let Ok(read) = LoggedRecord::read(&shared, &own) {
                let _ = decode::decode(&read.record(), Arc::from("hooks"), Position::new(0, 0));
            }
        }
    }
}

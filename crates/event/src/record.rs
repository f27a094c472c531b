//! What the intake log holds of one event: its bytes exactly as they came, and what the door knew.
//!
//! What the events of one request have in common is kept once for all of them. Layout, version 2, little-endian:
//! * shared: version u8 · route u8 · 2 zeros · received_at_us i64 · then five texts, each behind its length as u32:
//!   source, client address, the request's `sentAt`, its default `context`, its default `integrations`;
//! * own: version u8 · problem u8 · length of the generated message id u16 · that id · the rest is the event.
//!
//! Version 1, in logs that were carried over, has nothing shared: version u8 · problem u8 · route u8 · zero u8 ·
//! received_at_us i64 · the same texts, the generated message id third · the rest is the event.
//!
//! Version 4 has, in place of a `context`, what that is made of: see `record/carried.rs`.
//!
//! Before the own part a [`RetryMark`] may stand, when the event is in the log once more.
//!
//! In the place of the own part of a record that was erased stands an [`ErasedRecord`]: 5 u8 · flags u8 (1: nothing is shared, 2: it was a
//! retry) · 2 zeros · job u32; where nothing is shared, received_at_us i64 and the source behind its length as u32. What follows means nothing.

mod carried;
mod erased;

use std::borrow::Cow;

use super::{EventKind, RetryMark};
use carried::{CARRIED, CarriedOwn};

pub use carried::{CarriedMessage, MessageOrigin, message_position};
pub use erased::ErasedRecord;

const VERSION: u8 = 2;
/// Everything in one piece.
const FLAT: u8 = 1;
const FIXED_BYTES: usize = 12;
const OWN_BYTES: usize = 4;

/// Why the door quarantined an event. The record keeps it, so that the event is durable before its batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum RecordProblem {
    Malformed = 1,
    NotUtf8 = 2,
    LoneSurrogate = 3,
    TooDeep = 4,
    TooManyKeys = 5,
    TooLarge = 6,
    NotAnObject = 7,
    DuplicateKey = 8,
    /// A message of which no event could be made: `event` is the message as it came, `context` says where it is from and why.
    Unmappable = 9,
    // What is wrong beside the batch is wrong with every event of the request: it would be merged into each.
    SharedMalformed = 17,
    SharedNotUtf8 = 18,
    SharedLoneSurrogate = 19,
    SharedTooDeep = 20,
    SharedTooManyKeys = 21,
    SharedNotAnObject = 23,
    SharedDuplicateKey = 24,
}

impl RecordProblem {
    const ALL: [Self; 16] = [
        Self::Malformed,
        Self::NotUtf8,
        Self::LoneSurrogate,
        Self::TooDeep,
        Self::TooManyKeys,
        Self::TooLarge,
        Self::NotAnObject,
        Self::DuplicateKey,
        Self::Unmappable,
        Self::SharedMalformed,
        Self::SharedNotUtf8,
        Self::SharedLoneSurrogate,
        Self::SharedTooDeep,
        Self::SharedTooManyKeys,
        Self::SharedNotAnObject,
        Self::SharedDuplicateKey,
    ];

    /// The stable code under which it stands in quarantine.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::Malformed | Self::SharedMalformed => "malformed-json",
            Self::NotUtf8 | Self::SharedNotUtf8 => "not-utf8",
            Self::LoneSurrogate | Self::SharedLoneSurrogate => "lone-surrogate",
            Self::TooDeep | Self::SharedTooDeep => "too-deep",
            Self::TooManyKeys | Self::SharedTooManyKeys => "too-many-keys",
            Self::TooLarge => "event-too-large",
            Self::NotAnObject | Self::SharedNotAnObject => "not-an-object",
            Self::DuplicateKey | Self::SharedDuplicateKey => "duplicate-key",
            Self::Unmappable => "unmappable",
        }
    }

    /// A sentence for people.
    #[must_use]
    pub const fn message(self) -> &'static str {
        match self {
            Self::Malformed => "the event is not valid JSON",
            Self::NotUtf8 => "the event is not valid UTF-8",
            Self::LoneSurrogate => "a string holds half of a surrogate pair, which is no character",
            Self::TooDeep => "the event is nested deeper than limits.event_depth_max allows",
            Self::TooManyKeys => "the event has more keys than limits.event_keys_max allows",
            Self::TooLarge => "the event is larger than limits.event_bytes_max allows",
            Self::NotAnObject => "the event is not a JSON object",
            Self::DuplicateKey => "a field is named twice, and either winner would be an alteration",
            Self::Unmappable => "the message cannot be mapped to an event",
            Self::SharedMalformed => "`context`, `integrations` or `sentAt` beside the batch is not valid JSON",
            Self::SharedNotUtf8 => "`context`, `integrations` or `sentAt` beside the batch is not valid UTF-8",
            Self::SharedLoneSurrogate => {
                "a string beside the batch holds half of a surrogate pair, which is no character"
            }
            Self::SharedTooDeep => "a field beside the batch is nested deeper than limits.event_depth_max allows",
            Self::SharedTooManyKeys => "a field beside the batch has more keys than limits.event_keys_max allows",
            Self::SharedNotAnObject => "`context` or `integrations` beside the batch is not a JSON object",
            Self::SharedDuplicateKey => "the request names a field beside the batch, or the batch itself, twice",
        }
    }

    /// Whether it lies in what the request's events share. The record's `context` is then the object of all that
    /// stood beside the batch, as it came, without the write key; nothing may be merged from it.
    #[must_use]
    pub const fn is_shared(self) -> bool {
        self as u8 > 16
    }
}

/// One record, borrowing its texts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record<'a> {
    pub problem: Option<RecordProblem>,
    /// The kind that the route named (`/v1/track`), if it named one.
    pub route: Option<EventKind>,
    pub received_at_us: i64,
    pub source: &'a str,
    /// The client's address as text; empty when unknown.
    pub ip: &'a str,
    /// Made by the door, or the position of a message upstream, when the event has no usable id; empty otherwise.
    pub message_id: &'a str,
    /// The request's `sentAt`, for events without one of their own.
    pub sent_at: &'a str,
    /// JSON object text with defaults for `context`, or empty.
    pub context: &'a [u8],
    /// JSON object text with defaults for `integrations`, or empty.
    pub integrations: &'a [u8],
    pub event: &'a [u8],
}

/// A record as it was read: what it borrows from the log, and texts that follow from what the log has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LoggedRecord<'a> {
    record: Record<'a>,
    made: Option<MadeTexts>,
}

/// What a record of a carried message says.
#[derive(Debug, Clone, PartialEq, Eq)]
struct MadeTexts {
    message_id: String,
    context: String,
}

/// The record cannot be read: written by a newer version, or damaged in a way that its checksum missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the record has version {0}; this build reads versions {FLAT}, {VERSION} and {CARRIED}")]
    Version(u8),
    #[error("the record is cut short or holds a value out of range")]
    Broken,
}

impl<'a> Record<'a> {
    /// Bytes that [`Record::write_shared`] will add.
    #[must_use]
    pub fn shared_len(&self) -> usize {
        FIXED_BYTES + self.shared_texts().iter().map(|text| 4 + text.len()).sum::<usize>()
    }

    /// Bytes that [`Record::write_own`] will add.
    #[must_use]
    pub fn own_len(&self) -> usize {
        OWN_BYTES + self.message_id.len() + self.event.len()
    }

    fn shared_texts(&self) -> [&'a [u8]; 5] {
        [self.source.as_bytes(), self.ip.as_bytes(), self.sent_at.as_bytes(), self.context, self.integrations]
    }

    /// Appends what all events of the request have in common.
    pub fn write_shared(&self, out: &mut Vec<u8>) {
        let route = self.route.and_then(|route| EventKind::ALL.iter().position(|kind| *kind == route));
        let route = route.map_or(0, |at| u8::try_from(at + 1).unwrap_or(0));
        out.extend_from_slice(&[VERSION, route, 0, 0]);
        out.extend_from_slice(&self.received_at_us.to_le_bytes());
        for text in self.shared_texts() {
            // Every text comes out of a request body, whose size is capped far below 4 GiB.
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(text);
        }
    }

    /// Appends what is this event's alone.
    pub fn write_own(&self, out: &mut Vec<u8>) {
        // The door's ids have 36 bytes.
        let len = u16::try_from(self.message_id.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[VERSION, self.problem.map_or(0, |problem| problem as u8)]);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&self.message_id.as_bytes()[..usize::from(len)]);
        out.extend_from_slice(self.event);
    }

    /// Appends what is this event's alone, when it was in this message: what its `context` and its id follow from in place of both. The shared
    /// part is that of the message's origin. `reason` says why it is no event.
    pub fn write_carried(&self, message: &CarriedMessage<'_>, reason: Option<&str>, out: &mut Vec<u8>) {
        out.extend_from_slice(&[CARRIED, self.problem.map_or(0, |problem| problem as u8)]);
        message.write_own(self.received_at_us, reason, self.message_id, out);
        out.extend_from_slice(self.event);
    }

    fn read(shared: &'a [u8], own: &'a [u8]) -> Result<Self, Unreadable> {
        if shared.is_empty() {
            return Self::read_flat(own);
        }
        let (fixed, texts) = shared.split_at_checked(FIXED_BYTES).ok_or(Unreadable::Broken)?;
        let (head, rest) = own.split_at_checked(OWN_BYTES).ok_or(Unreadable::Broken)?;
        for version in [fixed[0], head[0]] {
            if version != VERSION {
                return Err(Unreadable::Version(version));
            }
        }
        let mut texts = RecordTexts(texts);
        let (source, ip, sent_at) = (texts.str()?, texts.str()?, texts.str()?);
        let (context, integrations) = (texts.next()?, texts.next()?);
        let len = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (message_id, event) = rest.split_at_checked(len).ok_or(Unreadable::Broken)?;
        Ok(Self {
            problem: problem(head[1])?,
            route: route(fixed[1])?,
            received_at_us: received_at(fixed)?,
            source,
            ip,
            message_id: str(message_id)?,
            sent_at,
            context,
            integrations,
            event,
        })
    }

    fn read_flat(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let (fixed, texts) = bytes.split_at_checked(FIXED_BYTES).ok_or(Unreadable::Broken)?;
        if fixed[0] != FLAT {
            return Err(Unreadable::Version(fixed[0]));
        }
        let mut texts = RecordTexts(texts);
        let (source, ip, message_id, sent_at) = (texts.str()?, texts.str()?, texts.str()?, texts.str()?);
        let (context, integrations) = (texts.next()?, texts.next()?);
        Ok(Self {
            problem: problem(fixed[1])?,
            route: route(fixed[2])?,
            received_at_us: received_at(fixed)?,
            source,
            ip,
            message_id,
            sent_at,
            context,
            integrations,
            event: texts.0,
        })
    }
}

impl<'a> LoggedRecord<'a> {
    /// Reads a record back from what it shares with others and what is its own. A mark that it is a retry is passed over.
    ///
    /// # Errors
    /// A newer build wrote it, or it is damaged.
    pub fn read(shared: &'a [u8], own: &'a [u8]) -> Result<Self, Unreadable> {
        let (_, own) = RetryMark::split(own).ok_or(Unreadable::Broken)?;
        if shared.first() == Some(&CARRIED) {
            return Self::read_carried(shared, own);
        }
        Record::read(shared, own).map(|record| Self { record, made: None })
    }

    /// The id that was made for the event, empty where none was, and the bytes of the event. Nothing else of the record is made.
    pub(super) fn id_and_event(shared: &'a [u8], own: &'a [u8]) -> Option<(Cow<'a, str>, &'a [u8])> {
        let (_, own) = RetryMark::split(own)?;
        if shared.first() == Some(&CARRIED) {
            let ([version, _], rest) = own.split_first_chunk::<2>()?;
            if *version != CARRIED {
                return None;
            }
            let (fixed, texts) = shared.split_at_checked(FIXED_BYTES)?;
            let (_, origin) = MessageOrigin::read(fixed[1] != 0, texts)?;
            let own = CarriedOwn::read(origin, received_at(fixed).ok()?, rest)?;
            return Some((own.message_id.into(), own.event));
        }
        Record::read(shared, own).ok().map(|record| (record.message_id.into(), record.event))
    }

    fn read_carried(shared: &'a [u8], own: &'a [u8]) -> Result<Self, Unreadable> {
        let (fixed, texts) = shared.split_at_checked(FIXED_BYTES).ok_or(Unreadable::Broken)?;
        let ([version, code], own) = own.split_first_chunk::<2>().ok_or(Unreadable::Broken)?;
        if *version != CARRIED {
            return Err(Unreadable::Version(*version));
        }
        let received_at_us = received_at(fixed)?;
        let (source, origin) = MessageOrigin::read(fixed[1] != 0, texts).ok_or(Unreadable::Broken)?;
        let own = CarriedOwn::read(origin, received_at_us, own).ok_or(Unreadable::Broken)?;
        let context = own.message.context(own.reason);
        let record = Record {
            problem: problem(*code)?,
            route: None,
            received_at_us,
            source,
            ip: "",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: own.event,
        };
        Ok(Self { record, made: Some(MadeTexts { message_id: own.message_id, context }) })
    }

    /// The record with all of its texts.
    #[must_use]
    pub fn record(&self) -> Record<'_> {
        match &self.made {
            None => self.record,
            Some(MadeTexts { message_id, context }) => {
                Record { message_id, context: context.as_bytes(), ..self.record }
            }
        }
    }
}

/// Texts, each behind its length.
struct RecordTexts<'a>(&'a [u8]);

impl<'a> RecordTexts<'a> {
    fn next(&mut self) -> Result<&'a [u8], Unreadable> {
        let (len, after) = self.0.split_first_chunk::<4>().ok_or(Unreadable::Broken)?;
        let (text, after) = after.split_at_checked(u32::from_le_bytes(*len) as usize).ok_or(Unreadable::Broken)?;
        self.0 = after;
        Ok(text)
    }

    fn str(&mut self) -> Result<&'a str, Unreadable> {
        self.next().and_then(str)
    }
}

fn problem(code: u8) -> Result<Option<RecordProblem>, Unreadable> {
    match code {
        0 => Ok(None),
        code => {
            RecordProblem::ALL.into_iter().find(|problem| *problem as u8 == code).map(Some).ok_or(Unreadable::Broken)
        }
    }
}

fn route(at: u8) -> Result<Option<EventKind>, Unreadable> {
    match usize::from(at) {
        0 => Ok(None),
        at => EventKind::ALL.get(at - 1).copied().map(Some).ok_or(Unreadable::Broken),
    }
}

fn received_at(fixed: &[u8]) -> Result<i64, Unreadable> {
    fixed
        .get(4..)
        .and_then(|bytes| bytes.first_chunk())
        .map(|bytes| i64::from_le_bytes(*bytes))
        .ok_or(Unreadable::Broken)
}

fn str(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record() -> Record<'static> {
        Record {
            problem: Some(RecordProblem::TooDeep),
            route: Some(EventKind::Alias),
            received_at_us: -5,
            source: "web",
            ip: "::1",
            message_id: "made",
            sent_at: "2024-01-01T00:00:00Z",
            context: br#"{"a":1}"#,
            integrations: b"",
            event: &[0xff, 0, 1],
        }
    }

    fn read<'a>(shared: &'a [u8], own: &'a [u8]) -> Result<Record<'a>, Unreadable> {
        LoggedRecord::read(shared, own).map(|read| read.record)
    }

    fn message() -> CarriedMessage<'static> {
        let origin = MessageOrigin {
            kind: "kafka",
            place_field: "offset",
            has_numbers: true,
            topic: "orders",
            topic_mark: "1f2e3d4c",
            partition: "3",
        };
        let headers = vec![("ce-id", "1")];
        CarriedMessage { origin, at: "17".into(), published_at_us: Some(1_000), key: Some(b"k"), headers }
    }

    #[test]
    fn a_carried_record_reads_as_one_that_has_the_whole_text() {
        for (reason, problem, id) in [
            (None, None, "orders@1f2e3d4c/3/17:2"),
            (None, None, ""),
            (None, Some(RecordProblem::TooLarge), "own"),
            (Some("it is blue"), Some(RecordProblem::Unmappable), "orders@1f2e3d4c/3/17"),
        ] {
            let context = message().context(reason);
            let whole = Record {
                problem,
                route: None,
                received_at_us: 5_000,
                source: "hooks",
                ip: "",
                message_id: id,
                sent_at: "",
                context: context.as_bytes(),
                integrations: b"",
                event: b"{}",
            };
            let (mut shared, mut own) = (Vec::new(), Vec::new());
            message().origin.write_shared("hooks", 5_000, &mut shared);
            Record { context: b"", ..whole }.write_carried(&message(), reason, &mut own);
            assert_eq!(LoggedRecord::read(&shared, &own).unwrap().record(), whole);
            for cut in 1..shared.len() {
                assert!(LoggedRecord::read(&shared[..cut], &own).is_err(), "{cut}");
            }
            for cut in 0..own.len() - 2 {
                assert!(LoggedRecord::read(&shared, &own[..cut]).is_err(), "{cut}");
            }
            // Written once more, as a retry is, it has the whole text.
            let (mut shared_again, mut own_again) = (Vec::new(), Vec::new());
            whole.write_shared(&mut shared_again);
            whole.write_own(&mut own_again);
            assert_eq!(read(&shared_again, &own_again), Ok(whole));
            assert_eq!(LoggedRecord::read(&shared, &own_again), Err(Unreadable::Version(VERSION)));
        }
    }

    #[test]
    fn what_is_written_is_read_and_damage_is_an_error() {
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        record().write_shared(&mut shared);
        record().write_own(&mut own);
        assert_eq!((shared.len(), own.len()), (record().shared_len(), record().own_len()));
        assert_eq!(read(&shared, &own), Ok(record()));
        for cut in 1..shared.len() {
            assert!(read(&shared[..cut], &own).is_err(), "{cut}");
        }
        for cut in 0..own.len() - 3 {
            assert!(read(&shared, &own[..cut]).is_err(), "{cut}");
        }
        own[0] = 9;
        assert_eq!(read(&shared, &own), Err(Unreadable::Version(9)));
    }

    #[test]
    fn a_record_of_the_first_version_is_read() {
        let mut flat = vec![1, RecordProblem::TooDeep as u8, 0, 0];
        flat[2] = u8::try_from(EventKind::ALL.iter().position(|kind| *kind == EventKind::Alias).unwrap() + 1).unwrap();
        flat.extend_from_slice(&(-5_i64).to_le_bytes());
        for text in ["web", "::1", "made", "2024-01-01T00:00:00Z", r#"{"a":1}"#, ""] {
            flat.extend_from_slice(&u32::try_from(text.len()).unwrap().to_le_bytes());
            flat.extend_from_slice(text.as_bytes());
        }
        flat.extend_from_slice(&[0xff, 0, 1]);
        assert_eq!(read(b"", &flat), Ok(record()));
        for cut in 0..flat.len() - 3 {
            assert!(read(b"", &flat[..cut]).is_err(), "{cut}");
        }
    }
}

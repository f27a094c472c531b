//! What the intake log holds of one event: its bytes exactly as they came, and what the door knew.
//!
//! Layout, version 1, little-endian: version u8 · problem u8 · route u8 · zero u8 · received_at_us i64 · then six
//! texts, each behind its length as u32: source, client address, generated message id, the request's `sentAt`, its
//! default `context`, its default `integrations` · the rest is the event.

use super::Kind;

const VERSION: u8 = 1;
const FIXED_BYTES: usize = 12;

/// Why the door set an event aside. The record keeps it, so that the event is durable before its batch is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Problem {
    Malformed = 1,
    NotUtf8 = 2,
    LoneSurrogate = 3,
    TooDeep = 4,
    TooManyKeys = 5,
    TooLarge = 6,
    NotAnObject = 7,
    DuplicateKey = 8,
    // What is wrong beside the batch is wrong with every event of the request: it would be merged into each.
    SharedMalformed = 17,
    SharedNotUtf8 = 18,
    SharedLoneSurrogate = 19,
    SharedTooDeep = 20,
    SharedTooManyKeys = 21,
    SharedNotAnObject = 23,
    SharedDuplicateKey = 24,
}

impl Problem {
    const ALL: [Self; 15] = [
        Self::Malformed,
        Self::NotUtf8,
        Self::LoneSurrogate,
        Self::TooDeep,
        Self::TooManyKeys,
        Self::TooLarge,
        Self::NotAnObject,
        Self::DuplicateKey,
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
    pub problem: Option<Problem>,
    /// The kind that the route named (`/v1/track`), if it named one.
    pub route: Option<Kind>,
    pub received_at_us: i64,
    pub source: &'a str,
    /// The client's address as text; empty when unknown.
    pub ip: &'a str,
    /// Made by the door when the event has no usable id; empty otherwise.
    pub message_id: &'a str,
    /// The request's `sentAt`, for events without one of their own.
    pub sent_at: &'a str,
    /// JSON object text with defaults for `context`, or empty.
    pub context: &'a [u8],
    /// JSON object text with defaults for `integrations`, or empty.
    pub integrations: &'a [u8],
    pub event: &'a [u8],
}

/// The record cannot be read: written by a newer version, or damaged in a way that its checksum missed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    #[error("the record has version {0}; this build reads version {VERSION}")]
    Version(u8),
    #[error("the record is cut short or holds a value out of range")]
    Broken,
}

impl<'a> Record<'a> {
    /// Bytes that [`Record::write`] will add.
    #[must_use]
    pub fn len(&self) -> usize {
        FIXED_BYTES + self.texts().iter().map(|text| 4 + text.len()).sum::<usize>() + self.event.len()
    }

    /// A record is never empty; clippy wants the question answered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        false
    }

    fn texts(&self) -> [&'a [u8]; 6] {
        [
            self.source.as_bytes(),
            self.ip.as_bytes(),
            self.message_id.as_bytes(),
            self.sent_at.as_bytes(),
            self.context,
            self.integrations,
        ]
    }

    /// Appends the record to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let route = self.route.and_then(|kind| Kind::ALL.iter().position(|k| *k == kind)).map_or(0, |at| at as u8 + 1);
        out.extend_from_slice(&[VERSION, self.problem.map_or(0, |p| p as u8), route, 0]);
        out.extend_from_slice(&self.received_at_us.to_le_bytes());
        for text in self.texts() {
            // Every text comes out of a request body, whose size is capped far below 4 GiB.
            let len = u32::try_from(text.len()).unwrap_or(u32::MAX);
            out.extend_from_slice(&len.to_le_bytes());
            out.extend_from_slice(text);
        }
        out.extend_from_slice(self.event);
    }

    /// Reads a record back.
    pub fn read(bytes: &'a [u8]) -> Result<Self, Unreadable> {
        let fixed = bytes.get(..FIXED_BYTES).ok_or(Unreadable::Broken)?;
        if fixed[0] != VERSION {
            return Err(Unreadable::Version(fixed[0]));
        }
        let problem = match fixed[1] {
            0 => None,
            code => Some(*Problem::ALL.iter().find(|p| **p as u8 == code).ok_or(Unreadable::Broken)?),
        };
        let route = match fixed[2] {
            0 => None,
            at => Some(*Kind::ALL.get(usize::from(at) - 1).ok_or(Unreadable::Broken)?),
        };
        let received_at_us = i64::from_le_bytes(fixed[4..12].try_into().map_err(|_| Unreadable::Broken)?);
        let mut rest = &bytes[FIXED_BYTES..];
        let mut next = || {
            let (len, after) = rest.split_first_chunk::<4>().ok_or(Unreadable::Broken)?;
            let len = u32::from_le_bytes(*len) as usize;
            let (text, after) = after.split_at_checked(len).ok_or(Unreadable::Broken)?;
            rest = after;
            Ok(text)
        };
        let source = str(next()?)?;
        let ip = str(next()?)?;
        let message_id = str(next()?)?;
        let sent_at = str(next()?)?;
        let context = next()?;
        let integrations = next()?;
        Ok(Self { problem, route, received_at_us, source, ip, message_id, sent_at, context, integrations, event: rest })
    }
}

fn str(bytes: &[u8]) -> Result<&str, Unreadable> {
    std::str::from_utf8(bytes).map_err(|_| Unreadable::Broken)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_damage_is_an_error() {
        let record = Record {
            problem: Some(Problem::TooDeep),
            route: Some(Kind::Alias),
            received_at_us: -5,
            source: "web",
            ip: "::1",
            message_id: "",
            sent_at: "2024-01-01T00:00:00Z",
            context: br#"{"a":1}"#,
            integrations: b"",
            event: &[0xff, 0, 1],
        };
        let mut bytes = Vec::new();
        record.write(&mut bytes);
        assert_eq!(bytes.len(), record.len());
        assert_eq!(Record::read(&bytes), Ok(record));
        for cut in 0..bytes.len() - 3 {
            assert!(Record::read(&bytes[..cut]).is_err(), "{cut}");
        }
        bytes[0] = 9;
        assert_eq!(Record::read(&bytes), Err(Unreadable::Version(9)));
    }
}

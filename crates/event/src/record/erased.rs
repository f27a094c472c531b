//! What stands in the place of a record that was erased.

use super::carried::{CARRIED, MessageOrigin};
use super::{FIXED_BYTES, LoggedRecord, OWN_BYTES, RecordTexts, Unreadable, VERSION, received_at};
use crate::RetryMark;

const ERASED: u8 = 5;
const ERASED_FLAT: u8 = 1;
const ERASED_RETRY: u8 = 2;

/// What is left of a record whose event was forgotten: that there was one, where it came from and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ErasedRecord<'a> {
    /// The job that has erased it; [`ErasedRecord::BY_RETENTION`] where none has.
    pub job: u32,
    /// The event was in the log once more.
    pub was_retry: bool,
    pub received_at_us: i64,
    pub source: &'a str,
}

impl<'a> ErasedRecord<'a> {
    /// In the place of a job: its event was older than its source keeps events. Jobs have numbers from 1 on.
    pub const BY_RETENTION: u32 = 0;

    /// Whether its event was older than its source keeps events.
    #[must_use]
    pub const fn is_expired(&self) -> bool {
        self.job == Self::BY_RETENTION
    }

    /// What the job leaves of a record; `None` where no record can be read.
    #[must_use]
    pub fn of(shared: &'a [u8], own: &'a [u8], job: u32) -> Option<Self> {
        let read = LoggedRecord::read(shared, own).ok()?;
        let was_retry = matches!(RetryMark::split(own), Some((Some(_), _)));
        Some(Self { job, was_retry, received_at_us: read.record.received_at_us, source: read.record.source })
    }

    /// What stands in the place of the record's own part; `is_flat` when it shares nothing.
    #[must_use]
    pub fn own(&self, is_flat: bool) -> Vec<u8> {
        let flags = if is_flat { ERASED_FLAT } else { 0 } | if self.was_retry { ERASED_RETRY } else { 0 };
        let mut own = vec![ERASED, flags, 0, 0];
        own.extend_from_slice(&self.job.to_le_bytes());
        if is_flat {
            own.extend_from_slice(&self.received_at_us.to_le_bytes());
            own.extend_from_slice(&u32::try_from(self.source.len()).unwrap_or(u32::MAX).to_le_bytes());
            own.extend_from_slice(self.source.as_bytes());
        }
        own
    }

    /// What stands in the place of `shared` when all records that share it are erased; `None` when there is nothing to take away, as of messages
    /// of a carrier, which share where they come from alone.
    #[must_use]
    pub fn shared(shared: &[u8]) -> Option<Vec<u8>> {
        let (fixed, texts) = shared.split_at_checked(FIXED_BYTES)?;
        if fixed[0] != VERSION {
            return None;
        }
        let source = RecordTexts(texts).str().ok()?;
        let mut left = fixed.to_vec();
        left.extend_from_slice(&u32::try_from(source.len()).unwrap_or(u32::MAX).to_le_bytes());
        left.extend_from_slice(source.as_bytes());
        left.resize(left.len() + 4 * 4, 0);
        (!shared.starts_with(&left)).then_some(left)
    }

    /// Reads it back; `None` for a record that is not erased.
    #[must_use]
    pub fn read(shared: &'a [u8], own: &'a [u8]) -> Option<Result<Self, Unreadable>> {
        let (head, rest) = own.split_at_checked(OWN_BYTES + 4)?;
        if head[0] != ERASED {
            return None;
        }
        let job = u32::from_le_bytes([head[4], head[5], head[6], head[7]]);
        let was_retry = head[1] & ERASED_RETRY != 0;
        let whence = if head[1] & ERASED_FLAT != 0 { Self::whence_flat(rest) } else { Self::whence(shared) };
        Some(whence.map(|(received_at_us, source)| Self { job, was_retry, received_at_us, source }))
    }

    fn whence(shared: &'a [u8]) -> Result<(i64, &'a str), Unreadable> {
        let (fixed, texts) = shared.split_at_checked(FIXED_BYTES).ok_or(Unreadable::Broken)?;
        let source = match fixed[0] {
            VERSION => RecordTexts(texts).str()?,
            CARRIED => MessageOrigin::read(fixed[1] != 0, texts).ok_or(Unreadable::Broken)?.0,
            other => return Err(Unreadable::Version(other)),
        };
        Ok((received_at(fixed)?, source))
    }

    fn whence_flat(rest: &'a [u8]) -> Result<(i64, &'a str), Unreadable> {
        let (at, texts) = rest.split_first_chunk::<8>().ok_or(Unreadable::Broken)?;
        Ok((i64::from_le_bytes(*at), RecordTexts(texts).str()?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Record;

    #[test]
    fn an_erased_record_says_whence_it_came_and_nothing_else() {
        let record = Record {
            problem: None,
            route: None,
            received_at_us: -5,
            source: "web",
            ip: "10.1.2.3",
            message_id: "made",
            sent_at: "2026-11-30T08:00:00Z",
            context: br#"{"traits":{"email":"ann@example.com"}}"#,
            integrations: b"{}",
            event: br#"{"type":"track","event":"E","userId":"ann"}"#,
        };
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        record.write_shared(&mut shared);
        record.write_own(&mut own);
        assert_eq!(ErasedRecord::read(&shared, &own), None);
        let erased = ErasedRecord::of(&shared, &own, 7).unwrap();
        assert_eq!((erased.source, erased.received_at_us, erased.was_retry), ("web", -5, false));
        assert!(!erased.is_expired());
        assert!(ErasedRecord::of(&shared, &own, ErasedRecord::BY_RETENTION).unwrap().is_expired());
        for is_flat in [false, true] {
            let mut own = erased.own(is_flat);
            own.extend_from_slice(b"whatever");
            let of = if is_flat { &b""[..] } else { &shared[..] };
            assert_eq!(ErasedRecord::read(of, &own), Some(Ok(erased)));
            assert_eq!(LoggedRecord::read(&shared, &own), Err(Unreadable::Version(ERASED)));
        }
        let mut blank = ErasedRecord::shared(&shared).unwrap();
        assert!(blank.len() < shared.len());
        blank.resize(shared.len(), 9);
        assert_eq!(ErasedRecord::read(&blank, &erased.own(false)), Some(Ok(erased)));
        assert_eq!(ErasedRecord::shared(&blank), None);
    }
}

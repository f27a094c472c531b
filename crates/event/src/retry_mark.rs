//! The mark before a record that is in the log once more: an event of the quarantine that is retried.
//!
//! It says which entry of the quarantine the event was, so that refining takes that entry out in the transaction that lets the event go on,
//! and takes a second record with the same mark for a duplicate. Layout, little-endian, before the record's own part: version 3 u8 · zero u8 ·
//! length of the mark u16 · position u64 · part u32 · attempt u32 · then stage, scope and sync, each behind its length as u8.

use super::Position;

const MARKED: u8 = 3;
const HEAD_BYTES: usize = 4;
/// Parts that a function may make of one; those of a part are told by its number.
const PARTS: u32 = 1024;
/// The stage whose events are retried one by one.
const EXACT_STAGE: &str = "destination";
/// The stage whose events have not been looked for in the dedup window by their ids.
const UNREAD_STAGE: &str = "decode";

/// Which entry of the quarantine a record is a retry of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryMark<'a> {
    pub position: Position,
    pub part: u32,
    /// 1 for the first retry.
    pub attempt: u32,
    pub stage: &'a str,
    /// The source, or the sync for what one sync stopped.
    pub scope: &'a str,
    /// The one sync that has not had it; empty when none has had it.
    pub for_sync: &'a str,
}

impl<'a> RetryMark<'a> {
    /// Appends the mark; the record's own part follows.
    pub fn write(&self, out: &mut Vec<u8>) {
        let mut mark = Vec::with_capacity(64);
        mark.extend_from_slice(&self.position.bits().to_le_bytes());
        mark.extend_from_slice(&self.part.to_le_bytes());
        mark.extend_from_slice(&self.attempt.to_le_bytes());
        for text in [self.stage, self.scope, self.for_sync] {
            // Names have 63 bytes at most.
            let len = u8::try_from(text.len()).unwrap_or(u8::MAX);
            mark.push(len);
            mark.extend_from_slice(&text.as_bytes()[..usize::from(len)]);
        }
        let len = u16::try_from(mark.len()).unwrap_or(u16::MAX);
        out.extend_from_slice(&[MARKED, 0]);
        out.extend_from_slice(&len.to_le_bytes());
        out.extend_from_slice(&mark);
    }

    /// The mark of a record's own part, if it has one, and the own part as it is without; `None` when the mark is broken.
    #[must_use]
    pub fn split(own: &'a [u8]) -> Option<(Option<Self>, &'a [u8])> {
        if own.first() != Some(&MARKED) {
            return Some((None, own));
        }
        let (head, rest) = own.split_at_checked(HEAD_BYTES)?;
        let (mark, rest) = rest.split_at_checked(usize::from(u16::from_le_bytes([head[2], head[3]])))?;
        let (position, mark) = mark.split_first_chunk::<8>()?;
        let (part, mark) = mark.split_first_chunk::<4>()?;
        let (attempt, mark) = mark.split_first_chunk::<4>()?;
        let (stage, mark) = text(mark)?;
        let (scope, mark) = text(mark)?;
        let (for_sync, _) = text(mark)?;
        let mark = Self {
            position: Position::from_bits(u64::from_le_bytes(*position)),
            part: u32::from_le_bytes(*part),
            attempt: u32::from_le_bytes(*attempt),
            stage,
            scope,
            for_sync,
        };
        Some((Some(mark), rest))
    }

    /// Which parts of the event are retried.
    #[must_use]
    pub fn parts(&self) -> RetriedParts {
        RetriedParts::of(self.stage, self.part)
    }

    /// Whether the event may have been accepted under its id by another way: its entry was of bytes that were no event.
    #[must_use]
    pub fn minds_duplicates(&self) -> bool {
        self.stage == UNREAD_STAGE
    }
}

/// Which parts of a retried event go on: those that did not before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetriedParts {
    pub part: u32,
    /// Nothing beside it: a destination has had the others.
    pub is_exact: bool,
}

impl RetriedParts {
    /// Those of an entry that was stopped as this part at this stage.
    #[must_use]
    pub fn of(stage: &str, part: u32) -> Self {
        Self { part, is_exact: stage == EXACT_STAGE }
    }

    /// Whether the part that was quarantined is this one, or is made of it by functions that come later.
    #[must_use]
    pub const fn comes_of(self, part: u32) -> bool {
        let mut of = self.part;
        while of > part {
            of /= PARTS;
        }
        of == part
    }

    /// Whether this part goes on: the one that was quarantined, and what functions make of it.
    #[must_use]
    pub const fn takes(self, part: u32) -> bool {
        if self.part == 0 {
            return !self.is_exact || part == 0;
        }
        let mut of = part;
        while of > self.part {
            of /= PARTS;
        }
        of == self.part
    }
}

fn text(bytes: &[u8]) -> Option<(&str, &[u8])> {
    let (len, rest) = bytes.split_first()?;
    let (text, rest) = rest.split_at_checked(usize::from(*len))?;
    Some((std::str::from_utf8(text).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_damage_is_told() {
        let mark = RetryMark {
            position: Position::new(3, 77),
            part: 2,
            attempt: 4,
            stage: "destination",
            scope: "crm",
            for_sync: "crm",
        };
        let mut own = Vec::new();
        mark.write(&mut own);
        let length = own.len();
        own.extend_from_slice(b"the rest");
        assert_eq!(RetryMark::split(&own), Some((Some(mark), &b"the rest"[..])));
        for cut in 1..length {
            assert_eq!(RetryMark::split(&own[..cut]), None, "{cut}");
        }
        assert_eq!(RetryMark::split(b"\x02plain"), Some((None, &b"\x02plain"[..])));
    }

    #[test]
    fn the_part_that_was_quarantined_goes_on_with_what_is_made_of_it() {
        let whole = RetriedParts { part: 0, is_exact: false };
        assert!(whole.takes(0) && whole.takes(1) && whole.takes(5_000));
        let exact = RetriedParts { part: 0, is_exact: true };
        assert!(exact.takes(0) && !exact.takes(1));
        let third = RetriedParts { part: 2, is_exact: true };
        assert!(third.takes(2) && third.takes(2_048) && third.takes(2_050));
        assert!(!third.takes(0) && !third.takes(1) && !third.takes(3) && !third.takes(1_024) && !third.takes(3_072));
    }

    #[test]
    fn a_part_comes_of_those_that_functions_have_made_it_of() {
        let of_second = RetriedParts::of("destination", 1_025);
        assert!(of_second.comes_of(1_025) && of_second.comes_of(1) && of_second.comes_of(0));
        assert!(!of_second.comes_of(2) && !of_second.comes_of(1_024) && !of_second.takes(1));
        assert!(RetriedParts::of("contract", 0).comes_of(0) && !RetriedParts::of("contract", 0).comes_of(1));
    }
}

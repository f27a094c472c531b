//! Finding frames and marks in the bytes of a segment, and finding the way again behind damage.
//!
//! A frame or a mark counts only when its check holds, it stands where it says, and its number is the one expected.
//! Behind damage the number may be later: by no more than is known to have been given.

use super::frame::{HEADER_BYTES, MAGIC, MARK_BYTES, MARK_MAGIC, Read, RecordGroup, read_mark};
use super::key::LogKey;

/// Bytes of a segment.
pub(super) struct SegmentScan<'a> {
    pub(super) key: &'a LogKey,
    pub(super) base: u64,
    /// Where in the segment the bytes begin.
    pub(super) origin: u64,
    pub(super) bytes: &'a [u8],
    /// They reach the end of what is there.
    pub(super) last: bool,
    /// The offset behind the last record that was written here, when it is known.
    pub(super) limit: Option<u64>,
}

/// What a scan found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ScanStep {
    /// A frame, with all its payload unless the bytes are the last.
    Group(RecordGroup),
    Mark,
    /// Nothing valid up to the position `to`; the next record there is `next`.
    Damage {
        to: usize,
        next: u64,
    },
    /// The bytes end too early to tell.
    More,
    End,
}

/// A valid frame or mark.
enum Here {
    Group(RecordGroup),
    Mark(u64),
    Short,
    Nothing,
}

impl SegmentScan<'_> {
    /// What stands at `at`, where the record `expected` should be next.
    pub(super) fn step(&self, at: usize, expected: u64) -> ScanStep {
        if at >= self.bytes.len() {
            return if self.last { ScanStep::End } else { ScanStep::More };
        }
        let rest = &self.bytes[at..];
        match self.here(at) {
            Here::Group(group) if group.first == expected && self.is_given(group.next) => {
                return if self.last || group.frame_bytes() <= rest.len() {
                    ScanStep::Group(group)
                } else {
                    ScanStep::More
                };
            }
            Here::Mark(next) if next == expected => return ScanStep::Mark,
            Here::Short if !self.last => return ScanStep::More,
            _ => {}
        }
        if !self.last && rest.len() < HEADER_BYTES {
            return ScanStep::More;
        }
        // Space that was never written: a segment that was rolled and not yet cut when the process died.
        if self.last && self.limit.is_none_or(|limit| limit <= expected) && rest.iter().all(|byte| *byte == 0) {
            return ScanStep::End;
        }
        self.resume(at, expected)
    }

    /// The next valid frame or mark behind damage that begins at `at`.
    fn resume(&self, at: usize, expected: u64) -> ScanStep {
        let rest = &self.bytes[at + 1..];
        for found in memchr::memmem::find_iter(rest, &MAGIC[..2]) {
            let to = at + 1 + found;
            if !rest[found..].starts_with(&MAGIC) && !rest[found..].starts_with(&MARK_MAGIC) {
                continue;
            }
            // What the damaged bytes can have held: a record takes eight bytes of a table.
            let held = expected.saturating_add((to - at) as u64 / 8);
            let plausible =
                |first: u64, next: u64| first >= expected && self.limit.map_or(first <= held, |limit| next <= limit);
            match self.here(to) {
                Here::Group(group) if plausible(group.first, group.next) => {
                    return ScanStep::Damage { to, next: group.first };
                }
                Here::Mark(next) if plausible(next, next) => return ScanStep::Damage { to, next },
                _ => {}
            }
        }
        if self.last {
            ScanStep::Damage { to: self.bytes.len(), next: self.limit.unwrap_or(expected).max(expected) }
        } else {
            ScanStep::More
        }
    }

    fn is_given(&self, next: u64) -> bool {
        self.limit.is_none_or(|limit| next <= limit)
    }

    fn here(&self, at: usize) -> Here {
        let position = self.origin.saturating_add(at as u64);
        let bytes = &self.bytes[at..];
        if let Some(next) = read_mark(self.key, self.base, position, bytes) {
            return Here::Mark(next);
        }
        if bytes.len() < MARK_BYTES && MARK_MAGIC.starts_with(&bytes[..bytes.len().min(4)]) {
            return Here::Short;
        }
        match RecordGroup::read(self.key, self.base, position, bytes) {
            Read::Group(group) => Here::Group(group),
            Read::Short => Here::Short,
            Read::No => Here::Nothing,
        }
    }

    /// The last mark: the position behind it, and its offset.
    pub(super) fn last_mark(&self) -> Option<(usize, u64)> {
        memchr::memmem::rfind_iter(self.bytes, &MARK_MAGIC).find_map(|at| match self.here(at) {
            Here::Mark(next) if next >= self.base => Some((at + MARK_BYTES, next)),
            _ => None,
        })
    }
}

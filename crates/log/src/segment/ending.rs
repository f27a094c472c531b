//! Where the newest segment ends: everything before its last mark was answered for; behind it only what is whole and
//! in sequence counts.

use super::file;
use super::frame::{self, FrameEnd, FrameKind, MARK_BYTES, Read, RecordGroup};
use super::key::LogKey;
use super::scan::{ScanStep, SegmentScan};

/// Where the newest segment ends.
pub(super) struct Ended {
    /// Its end, as a position in its bytes.
    pub(super) at: usize,
    /// Where its frames begin.
    pub(super) data_at: usize,
    pub(super) end: FrameEnd,
    /// The part that was answered for.
    pub(super) committed: FrameEnd,
    /// A mark is the last thing in it, or it is empty.
    pub(super) marked: bool,
    pub(super) damaged: u64,
}

/// Walks the newest segment.
pub(super) fn end_of(key: &LogKey, base: u64, bytes: &[u8]) -> Ended {
    let data_at = usize::try_from(file::DATA_AT).unwrap_or(usize::MAX);
    let scan = |bytes, limit| SegmentScan { key, base, origin: 0, bytes, last: true, limit };
    let (mark_at, mark_next) = scan(bytes, None).last_mark().unwrap_or((data_at, base));
    let before = scan(&bytes[..mark_at.min(bytes.len())], Some(mark_next));
    let (mut at, mut next, mut chain, mut damaged) = (data_at, base, 0, 0);
    loop {
        match before.step(at, next) {
            ScanStep::Group(group) => {
                damaged += u64::from(!group.is_whole(&before.bytes[at..]) || group.kind == FrameKind::Lost);
                at += group.frame_bytes();
                next = group.next;
                chain = frame::chain(chain, group.check);
            }
            ScanStep::Mark => at += MARK_BYTES,
            ScanStep::Damage { to, next: found } => {
                damaged += 1;
                at = to;
                next = found;
            }
            ScanStep::More | ScanStep::End => break,
        }
    }
    let (mut at, mut next) = (mark_at, mark_next);
    let committed = FrameEnd { base, position: at as u64, next, chain };
    while let Some(group) = whole_at(key, base, at, bytes).filter(|group| group.first == next) {
        at += group.frame_bytes();
        next = group.next;
        chain = frame::chain(chain, group.check);
    }
    let marked = at == mark_at;
    Ended { at, data_at, end: FrameEnd { base, position: at as u64, next, chain }, committed, marked, damaged }
}

fn whole_at(key: &LogKey, base: u64, at: usize, bytes: &[u8]) -> Option<RecordGroup> {
    let rest = bytes.get(at..)?;
    match RecordGroup::read(key, base, at as u64, rest) {
        Read::Group(group) if group.frame_bytes() <= rest.len() && group.is_whole(rest) => Some(group),
        _ => None,
    }
}

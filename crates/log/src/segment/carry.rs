//! Logs of the first format (`TIDELOG1`), carried over when they are opened, one segment after the other.
//!
//! A segment is written anew under another name, synced, and renamed over the old one; so a process that dies goes on
//! where it stopped. Damage stays damage: a frame says which numbers are lost and keeps what lies in their place.
//!
//! The first format had a header of 32 bytes (`TIDELOG1` · base u64 · created at u64 · zero u32 · CRC-32C u32) and a frame
//! for each record: `TGr1` · payload length u32 · offset u64 · CRC-32C of the payload u32 · CRC-32C of these 20 bytes u32.

use super::LogError;
use super::file::{self, Header, PreviousSegment};
use super::frame::{FrameEnd, FrameKind, Frames, PAYLOAD_BYTES_MAX, gap_into, mark};
use super::key::LogKey;
use super::storage::{FileHandle, Home};

pub(super) const MAGIC: &[u8; 8] = b"TIDELOG1";
pub(super) const FRAME_MAGIC: &[u8; 4] = b"TGr1";
pub(super) const HEADER_BYTES: usize = 32;
pub(super) const FRAME_HEADER_BYTES: usize = 24;
const SPARE: &str = "carry.tmp";
/// Bytes and records in one frame of the new segment.
const GROUP_BYTES: usize = 64 << 10;
const GROUP_RECORDS: u64 = 64;
/// What is kept of a damaged range; the rest is noise.
const LOST_BYTES_MAX: usize = 1 << 20;

/// Whether a file's first bytes are of the first format; its header may be damaged.
pub(super) fn is_first_format(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.get(HEADER_BYTES..).is_some_and(|frames| RecordAt::read(frames).is_some())
}

/// The header of a record in the first format.
struct RecordAt {
    payload_bytes: usize,
    offset: u64,
    sum: u32,
}

impl RecordAt {
    fn read(bytes: &[u8]) -> Option<Self> {
        let header = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        let u32_at = |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        if !header.starts_with(FRAME_MAGIC) || u32_at(20) != crc32c::crc32c(&header[..20]) {
            return None;
        }
        let payload_bytes = u32_at(4) as usize;
        let offset = u64::from(u32_at(8)) | u64::from(u32_at(12)) << 32;
        (payload_bytes <= PAYLOAD_BYTES_MAX).then_some(Self { payload_bytes, offset, sum: u32_at(16) })
    }

    fn next_at(&self, at: usize) -> usize {
        at + FRAME_HEADER_BYTES + self.payload_bytes
    }
}

/// A whole record of the first format at `at`.
fn whole(bytes: &[u8], at: usize) -> Option<RecordAt> {
    let record = RecordAt::read(bytes.get(at..)?)?;
    let payload = bytes.get(at + FRAME_HEADER_BYTES..record.next_at(at))?;
    (crc32c::crc32c(payload) == record.sum).then_some(record)
}

/// The next whole record behind damage at `from`. Its number is no higher than what the damaged bytes can have held: an
/// event may hold bytes that look like a record.
fn resume(bytes: &[u8], from: usize, expected: u64) -> Option<(usize, u64)> {
    let rest = bytes.get(from + 1..)?;
    memchr::memmem::find_iter(rest, FRAME_MAGIC).map(|found| from + 1 + found).find_map(|at| {
        let held = expected.saturating_add(((at - from) / FRAME_HEADER_BYTES) as u64);
        let record = whole(bytes, at).filter(|record| (expected..=held).contains(&record.offset))?;
        Some((at, record.offset))
    })
}

/// The offset behind the last record of the newest segment.
pub(super) fn end(bytes: &[u8], base: u64) -> u64 {
    let (mut at, mut next) = (HEADER_BYTES, base);
    loop {
        match whole(bytes, at).filter(|record| record.offset >= next && record.offset < u64::MAX) {
            Some(record) => (at, next) = (record.next_at(at), record.offset + 1),
            None => match resume(bytes, at, next) {
                Some((found, offset)) => (at, next) = (found, offset),
                None => return next,
            },
        }
    }
}

/// A segment that is carried over.
pub(super) struct Old {
    pub(super) base: u64,
    /// First offset of the segment after it.
    pub(super) next_base: Option<u64>,
    pub(super) before: Option<PreviousSegment>,
}

/// What became of it.
pub(super) struct CarriedLog {
    pub(super) end: FrameEnd,
    pub(super) records: u64,
    /// Damaged ranges that are still damaged.
    pub(super) damaged: u64,
    /// Bytes behind the last record of the newest segment, which nobody was answered for.
    pub(super) torn: Vec<u8>,
}

/// Writes the new segment and puts it into the place of the old one.
pub(super) fn segment(home: &Home, key: &LogKey, old: &Old, now_us: i64) -> Result<CarriedLog, LogError> {
    let name = file::name(old.base);
    let bytes = home.open(&name, false)?.read_whole(u64::MAX)?;
    let created = bytes.get(16..24).and_then(|bytes| bytes.first_chunk()).map(|bytes| i64::from_le_bytes(*bytes));
    let header_holds = bytes.first_chunk::<HEADER_BYTES>().is_some_and(|header| {
        crc32c::crc32c(&header[..28]) == u32::from_le_bytes([header[28], header[29], header[30], header[31]])
    });
    let created_us = created.filter(|_| header_holds).unwrap_or(now_us);
    let file = home.create(SPARE)?;
    file::write_headers(key, &Header { base: old.base, created_us, room: 0, before: old.before }, &file)?;
    let start = FrameEnd { base: old.base, position: file::DATA_AT, next: old.base, chain: 0 };
    let staging = Vec::with_capacity(2 * GROUP_BYTES);
    let mut copy =
        SegmentCopy { key, file: &file, end: start, frames: Frames::default(), staging, records: 0, damaged: 0 };
    let torn = copy.records(&bytes, old.next_base)?;
    let mark = mark(key, &copy.end);
    file.write_all(&mark, copy.end.position)?;
    copy.end.position += mark.len() as u64;
    file.sync_all()?;
    home.rename(SPARE, &name)?;
    home.sync_names()?;
    Ok(CarriedLog { end: copy.end, records: copy.records, damaged: copy.damaged, torn })
}

struct SegmentCopy<'a> {
    key: &'a LogKey,
    file: &'a FileHandle,
    end: FrameEnd,
    frames: Frames,
    staging: Vec<u8>,
    records: u64,
    damaged: u64,
}

impl SegmentCopy<'_> {
    /// Copies everything; answers the torn tail.
    fn records(&mut self, bytes: &[u8], next_base: Option<u64>) -> Result<Vec<u8>, LogError> {
        let mut at = HEADER_BYTES;
        loop {
            let expected = self.end.next.saturating_add(self.frames.count());
            if let Some(record) = whole(bytes, at).filter(|r| r.offset >= expected && r.offset < u64::MAX) {
                if record.offset > expected {
                    // Numbers that were skipped at a restart.
                    self.gap(FrameKind::Skipped, record.offset, &[])?;
                }
                let payload = &bytes[at + FRAME_HEADER_BYTES..record.next_at(at)];
                self.frames.push(|out| out.extend_from_slice(payload));
                self.records += 1;
                at = record.next_at(at);
                if self.frames.bytes() > GROUP_BYTES || self.frames.count() >= GROUP_RECORDS {
                    self.flush()?;
                }
                continue;
            }
            if let Some((found, offset)) = resume(bytes, at, expected) {
                self.gap(FrameKind::Lost, offset, &bytes[at..found])?;
                at = found;
                continue;
            }
            let rest = bytes.get(at..).unwrap_or_default();
            let rest = &rest[..rest.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)];
            return match next_base {
                None => self.flush().map(|()| rest.to_vec()),
                Some(next) if next > expected || !rest.is_empty() => {
                    self.gap(FrameKind::Lost, next.max(expected), rest).map(|()| Vec::new())
                }
                Some(_) => self.flush().map(|()| Vec::new()),
            };
        }
    }

    fn gap(&mut self, kind: FrameKind, next: u64, bytes: &[u8]) -> Result<(), LogError> {
        self.flush()?;
        self.damaged += u64::from(kind == FrameKind::Lost);
        self.staging.clear();
        let mut end = self.end;
        gap_into(self.key, &mut end, kind, next, &bytes[..bytes.len().min(LOST_BYTES_MAX)], &mut self.staging);
        self.file.write_all(&self.staging, self.end.position)?;
        self.end = end;
        Ok(())
    }

    fn flush(&mut self) -> Result<(), LogError> {
        self.staging.clear();
        let mut end = self.end;
        std::mem::take(&mut self.frames).number_into(self.key, &mut end, &mut self.staging);
        self.file.write_all(&self.staging, self.end.position)?;
        self.end = end;
        Ok(())
    }
}

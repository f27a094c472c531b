//! Logs of the [first format](super::first_format), carried over when they are opened, one segment after the other.
//!
//! A segment is written anew under another name, synced, and renamed over the old one; so a process that dies goes on
//! where it stopped. Damage stays damage: a frame says which numbers are lost and keeps what lies in their place.

use super::LogError;
use super::file::{self, Header, PreviousSegment};
use super::first_format::{FRAME_HEADER_BYTES, HEADER_BYTES, resume, whole};
use super::frame::{FrameEnd, FrameKind, FrameStaging, Frames, mark};
use super::key::LogKey;
use super::storage::{FileHandle, Home};

const SPARE: &str = "carry.tmp";
/// Bytes and records in one frame of the new segment.
const GROUP_BYTES: usize = 64 << 10;
const GROUP_RECORDS: u64 = 64;
/// What is kept of a damaged range; the rest is noise.
const LOST_BYTES_MAX: usize = 1 << 20;

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
        let mut staging = FrameStaging { key: self.key, end: &mut end, staging: &mut self.staging };
        staging.gap(kind, next, &bytes[..bytes.len().min(LOST_BYTES_MAX)]);
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

//! The first format of segments (`TIDELOG1`), which is only read: [`carry`](super::carry) writes such segments anew.
//!
//! It had a header of 32 bytes (`TIDELOG1` · base u64 · created at u64 · zero u32 · CRC-32C u32) and a frame for each record:
//! `TGr1` · payload length u32 · offset u64 · CRC-32C of the payload u32 · CRC-32C of these 20 bytes u32.

use super::frame::PAYLOAD_BYTES_MAX;

pub(super) const MAGIC: &[u8; 8] = b"TIDELOG1";
pub(super) const FRAME_MAGIC: &[u8; 4] = b"TGr1";
pub(super) const HEADER_BYTES: usize = 32;
pub(super) const FRAME_HEADER_BYTES: usize = 24;

/// Whether a file's first bytes are of the first format; its header may be damaged.
pub(super) fn is_first_format(bytes: &[u8]) -> bool {
    bytes.starts_with(MAGIC) || bytes.get(HEADER_BYTES..).is_some_and(|frames| RecordAt::read(frames).is_some())
}

/// The header of a record in the first format.
pub(super) struct RecordAt {
    payload_bytes: usize,
    pub(super) offset: u64,
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

    /// Where the next record begins, when this one is at `at`.
    pub(super) fn next_at(&self, at: usize) -> usize {
        at + FRAME_HEADER_BYTES + self.payload_bytes
    }
}

/// A whole record of the first format at `at`.
pub(super) fn whole(bytes: &[u8], at: usize) -> Option<RecordAt> {
    let record = RecordAt::read(bytes.get(at..)?)?;
    let payload = bytes.get(at + FRAME_HEADER_BYTES..record.next_at(at))?;
    (crc32c::crc32c(payload) == record.sum).then_some(record)
}

/// The next whole record behind damage at `from`. Its number is no higher than what the damaged bytes can have held: an
/// event may hold bytes that look like a record.
pub(super) fn resume(bytes: &[u8], from: usize, expected: u64) -> Option<(usize, u64)> {
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

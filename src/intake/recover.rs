//! Opening a log that may have died at any instant.
//!
//! Only the last segment is read, so a log of any size opens in the time of one segment. What lies behind its last
//! valid record was never answered for; it is copied to a file, zeroed, and written over. Damage with valid records behind it is
//! left for the reader to report: those records were answered for.

use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use super::frame::{HEADER_BYTES, Header};
use super::{Error, Sealed, Tail, segment};

/// What opening the log found.
#[derive(Debug, Default)]
pub struct Recovery {
    pub(super) sealed: BTreeMap<u64, Sealed>,
    /// Bytes behind the last valid record that were not zero.
    pub torn_bytes: u64,
    /// Where they were kept.
    pub torn_kept: Option<PathBuf>,
    /// Damaged stretches in the last segment that have valid records behind them.
    pub damaged: u64,
    /// Offset of the next record.
    pub next: u64,
}

pub(super) fn open(dir: &Path, floor: u64, now_us: i64, segment_bytes: u64) -> Result<(Tail, Recovery), Error> {
    std::fs::create_dir_all(dir).map_err(Error::io("could not make the directory", dir))?;
    let mut bases = segment::list(dir)?;
    let Some(base) = bases.pop() else {
        let file = segment::create(dir, floor, now_us, segment_bytes)?;
        let recovery = Recovery { next: floor, ..Recovery::default() };
        return Ok((Tail { file, base: floor, position: segment::HEADER_BYTES, next: floor }, recovery));
    };
    let mut recovery = Recovery::default();
    for base in bases {
        let (file, created_us) = segment::open(dir, base, false)?;
        let bytes = size(&file, &segment::path(dir, base))?;
        recovery.sealed.insert(base, Sealed { bytes, sealed_at_us: created_us });
    }
    let (file, bytes) = read(dir, base, true)?;
    let path = segment::path(dir, base);
    let (position, last, damaged) = last_valid(&bytes, base);
    recovery.damaged = damaged;
    let next = last.map_or(base, |offset| offset + 1).max(floor);
    recovery.next = next;
    let torn_end = bytes[position..].iter().rposition(|byte| *byte != 0).map_or(position, |at| position + at + 1);
    if torn_end > position {
        let kept = dir.join(format!("torn-{base:020}-{position}-{now_us}.bin"));
        std::fs::write(&kept, &bytes[position..torn_end])
            .map_err(Error::io("could not keep the torn tail in", &kept))?;
        let zeros = vec![0; torn_end - position];
        file.write_all_at(&zeros, position as u64).map_err(Error::io("could not cut the torn tail of", &path))?;
        file.sync_data().map_err(Error::io("could not sync", &path))?;
        recovery.torn_bytes = (torn_end - position) as u64;
        recovery.torn_kept = Some(kept);
    }
    Ok((Tail { file, base, position: position as u64, next }, recovery))
}

/// The offset behind the last record; 0 when there is no log.
pub(super) fn end(dir: &Path) -> Result<u64, Error> {
    if !dir.exists() {
        return Ok(0);
    }
    let Some(base) = segment::list(dir)?.pop() else { return Ok(0) };
    let (_, bytes) = read(dir, base, false)?;
    Ok(last_valid(&bytes, base).1.map_or(base, |offset| offset + 1))
}

fn read(dir: &Path, base: u64, write: bool) -> Result<(File, Vec<u8>), Error> {
    let (file, _) = segment::open(dir, base, write)?;
    let path = segment::path(dir, base);
    let mut bytes = vec![0; usize::try_from(size(&file, &path)?).unwrap_or(usize::MAX)];
    file.read_exact_at(&mut bytes, 0).map_err(Error::io("could not read", &path))?;
    Ok((file, bytes))
}

/// The position behind the last valid record, its offset, and how many damaged stretches lie before it.
fn last_valid(bytes: &[u8], base: u64) -> (usize, Option<u64>, u64) {
    let mut at = usize::try_from(segment::HEADER_BYTES).unwrap_or(usize::MAX);
    let (mut last, mut damaged) = (None, 0);
    loop {
        let expected = last.map_or(base, |offset: u64| offset + 1);
        if let Some(header) = valid_at(bytes, at).filter(|header| header.offset >= expected) {
            last = Some(header.offset);
            at += header.frame_bytes();
        } else if let Some(next) = next_valid(bytes, at + 1, expected) {
            damaged += 1;
            at = next;
        } else {
            return (at, last, damaged);
        }
    }
}

/// A whole valid record at `at`.
pub(super) fn valid_at(bytes: &[u8], at: usize) -> Option<Header> {
    let header = Header::read(bytes.get(at..)?)?;
    let payload = bytes.get(at + HEADER_BYTES..at + header.frame_bytes())?;
    (crc32c::crc32c(payload) == header.payload_sum).then_some(header)
}

/// The next position from `at` with a whole valid record numbered `expected` or later.
pub(super) fn next_valid(bytes: &[u8], at: usize, expected: u64) -> Option<usize> {
    let magic = super::frame::MAGIC.to_le_bytes();
    let rest = bytes.get(at..)?;
    memchr::memmem::find_iter(rest, &magic)
        .map(|found| at + found)
        .find(|at| valid_at(bytes, *at).is_some_and(|header| header.offset >= expected))
}

fn size(file: &File, path: &Path) -> Result<u64, Error> {
    file.metadata().map(|meta| meta.len()).map_err(Error::io("could not read the size of", path))
}

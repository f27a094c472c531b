//! The tail: marks that are in no run yet. In memory, with a tail file beside them that outlives the process.
//!
//! The tail file is not synced. What a power cut takes from it, and from the state that has no say in it, is found again in
//! the log. Preamble · check of the key u64 · first offset u64; then for each range of the log CRC-32C of the rest u32 ·
//! marks u32 · start u64 · end u64 · the marks, 24 bytes each: hash u128 · time i64. All little-endian.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::ops::Range;
use std::path::{Path, PathBuf};

use crate::DedupError;
use crate::format;
use crate::mark::{ByHash, IdMark};

const MAGIC: &[u8; 8] = b"TIDEDUPJ";
const HEADER_BYTES: usize = 32;
const RANGE_BYTES: usize = 24;
const MARK_BYTES: usize = 24;
/// No range of the log has more records than fit.
const MARKS_MAX: u32 = 1 << 24;

/// Marks of a range of the log.
#[derive(Debug)]
pub(crate) struct MarkTail {
    pub(crate) range: Range<u64>,
    marks: ByHash<i64>,
    path: PathBuf,
    /// `None` when it could not be written: the marks are found again in the log.
    file: Option<File>,
}

/// The name of the tail file that begins at `first`.
fn name(first: u64) -> String {
    format!("{first:015}.tail")
}

/// The first offset of the tail file at `path`; `None` for another file.
pub(crate) fn first_of(path: &Path) -> Option<u64> {
    path.file_name()?.to_str()?.strip_suffix(".tail")?.parse().ok()
}

impl MarkTail {
    /// An empty tail that begins at `first`, with a new tail file.
    pub(crate) fn create(dir: &Path, first: u64, key_check: u64) -> Self {
        let path = dir.join(name(first));
        let begin = || -> io::Result<File> {
            let mut file = format::create(&path)?;
            file.write_all(&header(first, key_check))?;
            Ok(file)
        };
        let file = kept(begin(), &path);
        Self { range: first..first, marks: ByHash::default(), path, file }
    }

    /// Reads a tail file back, up to what is not whole or lies at or behind `refined_to`; the rest is cut off. `None` when it is
    /// damaged from its beginning, of another key or none at all.
    ///
    /// # Errors
    /// It cannot be opened, which says nothing about it, or is of a newer build.
    pub(crate) fn read(path: &Path, key_check: u64, refined_to: u64) -> Result<Option<Self>, DedupError> {
        let read = format::read(path).and_then(|bytes| format::check(path, MAGIC, &bytes).map(|()| bytes));
        let bytes = match read {
            Err(DedupError::Damaged { .. }) => return Ok(None),
            other => other?,
        };
        let Some(first) = first_of(path) else { return Ok(None) };
        if (long(&bytes, 16), long(&bytes, 24)) != (Some(key_check), Some(first)) {
            return Ok(None);
        }
        let (mut range, mut marks, mut at) = (first..first, ByHash::default(), HEADER_BYTES);
        while let Some((next, own, length)) = bytes.get(at..).and_then(range_of) {
            if next.start != range.end || next.end > refined_to {
                break;
            }
            marks.extend(own.iter().map(|mark| (mark.hash, mark.received_at_us)));
            (range.end, at) = (next.end, at + length);
        }
        let reopen = || -> io::Result<File> {
            let file = OpenOptions::new().append(true).open(path)?;
            file.set_len(at as u64)?;
            Ok(file)
        };
        let file = kept(reopen(), path);
        Ok(Some(Self { range, marks, path: path.to_owned(), file }))
    }

    pub(crate) fn find(&self, hash: u128) -> Option<i64> {
        self.marks.get(&hash).copied()
    }

    /// Whether its file has all of it.
    pub(crate) const fn is_on_disk(&self) -> bool {
        self.file.is_some()
    }

    pub(crate) fn len(&self) -> usize {
        self.marks.len()
    }

    /// Adds the marks of the range that follows.
    pub(crate) fn add(&mut self, range: &Range<u64>, marks: &[IdMark]) {
        self.marks.extend(marks.iter().map(|mark| (mark.hash, mark.received_at_us)));
        if let Some(mut file) = self.file.take() {
            // A range that is missing in it ends what counts of it.
            self.file = kept(write_range(&mut file, range, marks).map(|()| file), &self.path);
        }
        self.range.end = range.end;
    }

    /// All marks in order of their hashes.
    pub(crate) fn sorted(&self) -> Vec<IdMark> {
        let mark = |(hash, received_at_us): (&u128, &i64)| IdMark { hash: *hash, received_at_us: *received_at_us };
        let mut marks: Vec<IdMark> = self.marks.iter().map(mark).collect();
        marks.sort_unstable_by_key(|mark| mark.hash);
        marks
    }

    /// Removes the tail file: the marks are in a run.
    pub(crate) fn remove_file(&self) {
        // What is left is removed at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// A tail file that can be written. One that cannot costs time at the next start, and nothing else.
fn kept(file: io::Result<File>, path: &Path) -> Option<File> {
    file.inspect_err(|error| {
        tracing::warn!(
            file = %path.display(), error = %error,
            "the tail file of the dedup index could not be written; the next start reads its ids from the log"
        );
    })
    .ok()
}

fn header(first: u64, key_check: u64) -> [u8; HEADER_BYTES] {
    let mut header = [0; HEADER_BYTES];
    header[..16].copy_from_slice(&format::preamble(MAGIC));
    header[16..24].copy_from_slice(&key_check.to_le_bytes());
    header[24..].copy_from_slice(&first.to_le_bytes());
    header
}

fn write_range(file: &mut File, range: &Range<u64>, marks: &[IdMark]) -> io::Result<()> {
    fail::fail_point!("dedup_tail_write", |_| Err(io::Error::from(io::ErrorKind::StorageFull)));
    let mut bytes = Vec::with_capacity(RANGE_BYTES + marks.len() * MARK_BYTES);
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&u32::try_from(marks.len()).unwrap_or(u32::MAX).to_le_bytes());
    bytes.extend_from_slice(&range.start.to_le_bytes());
    bytes.extend_from_slice(&range.end.to_le_bytes());
    for mark in marks {
        bytes.extend_from_slice(&mark.hash.to_le_bytes());
        bytes.extend_from_slice(&mark.received_at_us.to_le_bytes());
    }
    let sum = crc32c::crc32c(&bytes[4..]);
    bytes[..4].copy_from_slice(&sum.to_le_bytes());
    file.write_all(&bytes)
}

/// The range that `bytes` begin with, its marks, and how many bytes they take; `None` when it is not whole.
fn range_of(bytes: &[u8]) -> Option<(Range<u64>, Vec<IdMark>, usize)> {
    let count = u32::from_le_bytes(*bytes.get(4..)?.first_chunk()?);
    if count > MARKS_MAX {
        return None;
    }
    let length = RANGE_BYTES + count as usize * MARK_BYTES;
    let whole = bytes.get(..length)?;
    if crc32c::crc32c(&whole[4..]).to_le_bytes() != whole[..4] {
        return None;
    }
    let marks = whole[RANGE_BYTES..].as_chunks::<MARK_BYTES>().0.iter().filter_map(|mark| {
        let (hash, time) = (mark.first_chunk::<16>()?, mark.last_chunk::<8>()?);
        Some(IdMark { hash: u128::from_le_bytes(*hash), received_at_us: i64::from_le_bytes(*time) })
    });
    Some((long(whole, 8)?..long(whole, 16)?, marks.collect(), length))
}

fn long(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(at..)?.first_chunk()?))
}

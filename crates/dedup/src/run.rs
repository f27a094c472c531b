//! A run: the marks of a range of the log in a file, in order of their hashes, never changed.
//!
//! Header, 128 bytes: preamble · first offset u64 · end offset u64 · marks u64 · base of the times i64 · newest time i64 ·
//! check of the key u64 · level u32 · bits of a bucket u32 · blocks of the filter u32 · zeros · CRC-32C of the bytes before
//! u32. Then the marks, 22 bytes each: hash u128, big-endian · microseconds since the base, 48 bits. Then for each bucket
//! (marks whose hashes begin with the same bits) the number of marks up to its end u32 · CRC-32C of its marks u32. Then the
//! filter, and CRC-32C of buckets and filter u32. Numbers are little-endian where nothing else is said.
//!
//! Buckets and filter are in memory, 11 bits for each mark. A look reads one bucket of about a hundred marks.

mod merge;
mod write;

use std::fs::File;
use std::io::{self, BufReader, Read as _, Seek as _, SeekFrom};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

pub(crate) use merge::Merged;
pub(crate) use write::{RunWriter, sync_dir};

use crate::DedupError;
use crate::filter::{BLOCK_BYTES, Filter, FilterBlock};
use crate::format;
use crate::mark::IdMark;

const MAGIC: &[u8; 8] = b"TIDEDUPR";
const HEADER_BYTES: usize = 128;
const MARK_BYTES: usize = 22;
const BUCKET_BYTES: usize = 8;
/// Marks of a bucket on average, at least; twice as many at most.
const BUCKET_MARKS: u64 = 64;
/// Microseconds that fit behind the base: nine years.
const TIME_MAX: i64 = (1 << 48) - 1;

/// The base for times from `oldest_us` to `newest_us`. When a clock has jumped, what is older counts as nine years old.
pub(crate) fn base_us(oldest_us: i64, newest_us: i64) -> i64 {
    oldest_us.max(newest_us.saturating_sub(TIME_MAX))
}

/// What a run says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RunHead {
    /// The offsets whose ids it holds.
    pub(crate) range: Range<u64>,
    /// How often its marks were merged.
    pub(crate) level: u32,
    /// No mark of it is older; microseconds since the epoch.
    pub(crate) base_us: i64,
    pub(crate) key_check: u64,
}

#[derive(Debug)]
pub(crate) struct MarkRun {
    path: PathBuf,
    file: File,
    pub(crate) head: RunHead,
    pub(crate) count: u64,
    /// No mark of it is newer.
    pub(crate) newest_us: i64,
    bucket_bits: u32,
    buckets: Vec<MarkBucket>,
    filter: Filter,
}

/// Marks whose hashes begin with the same bits.
#[derive(Debug, Clone, Copy, Default)]
struct MarkBucket {
    /// The number of marks up to its end.
    end: u32,
    sum: u32,
}

/// The name of the file of the run of these offsets.
pub(crate) fn name_of(range: &Range<u64>) -> String {
    format!("{:015}-{:015}.run", range.start, range.end)
}

impl MarkRun {
    pub(crate) fn open(path: &Path) -> Result<Self, DedupError> {
        let file = File::open(path).map_err(DedupError::io("could not open", path))?;
        let damaged = |what: &str| DedupError::damaged(path, what);
        let length = file.metadata().map_err(DedupError::io("could not read", path))?.len();
        let mut header = [0; HEADER_BYTES];
        if length < HEADER_BYTES as u64 {
            return Err(damaged("it is cut off"));
        }
        file.read_exact_at(&mut header, 0).map_err(|error| format::unreadable(path, &error))?;
        format::check(path, MAGIC, &header)?;
        let (said, sum) = header.split_at(HEADER_BYTES - 4);
        if crc32c::crc32c(said).to_le_bytes() != *sum {
            return Err(damaged("its header is not what was written"));
        }
        let long = |at: usize| header[at..at + 8].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        let short = |at: usize| header[at..at + 4].first_chunk().map_or(0, |bytes| u32::from_le_bytes(*bytes));
        let head = RunHead {
            range: long(16)..long(24),
            level: short(64),
            base_us: long(40).cast_signed(),
            key_check: long(56),
        };
        let (count, newest_us) = (long(32), long(48).cast_signed());
        let (bucket_bits, blocks) = (short(68), u64::from(short(72)));
        let behind = (HEADER_BYTES as u64).checked_add(count.saturating_mul(MARK_BYTES as u64));
        let rest_bytes = ((BUCKET_BYTES as u64) << bucket_bits.min(32)) + blocks * BLOCK_BYTES as u64 + 4;
        let Some(behind) = behind.filter(|behind| behind.checked_add(rest_bytes) == Some(length)) else {
            return Err(damaged("it has another length than its header says"));
        };
        let (buckets, filter) = read_rest(&file, behind, (1 << bucket_bits, blocks))
            .map_err(|error| format::unreadable(path, &error))?
            .ok_or_else(|| damaged("its buckets or its filter are not what was written"))?;
        Ok(Self { path: path.to_owned(), file, head, count, newest_us, bucket_bits, buckets, filter })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn may_hold(&self, hash: u128) -> bool {
        self.filter.may_hold(hash)
    }

    /// When the id was first received, if it is here. `buffer` is room to read into.
    pub(crate) fn find(&self, hash: u128, buffer: &mut Vec<u8>) -> Result<Option<i64>, DedupError> {
        let bucket = bucket_of(hash, self.bucket_bits);
        self.read_buckets(bucket..=bucket, buffer)?;
        let marks = buffer.as_chunks::<MARK_BYTES>().0;
        let key = hash.to_be_bytes();
        let found = marks.binary_search_by(|mark| mark[..16].cmp(&key));
        Ok(found.ok().map(|at| self.mark(&marks[at]).received_at_us))
    }

    /// Fills `buffer` with the marks of some buckets, which are held against their checksums.
    fn read_buckets(&self, which: std::ops::RangeInclusive<usize>, buffer: &mut Vec<u8>) -> Result<(), DedupError> {
        let (first, last) = (*which.start(), *which.end());
        let start = if first == 0 { 0 } else { self.buckets[first - 1].end };
        let marks = self.buckets[last].end.saturating_sub(start);
        buffer.clear();
        buffer.resize(marks as usize * MARK_BYTES, 0);
        let at = HEADER_BYTES as u64 + u64::from(start) * MARK_BYTES as u64;
        self.file.read_exact_at(buffer, at).map_err(|error| format::unreadable(&self.path, &error))?;
        let mut rest = buffer.as_slice();
        let mut from = start;
        for bucket in &self.buckets[first..=last] {
            let bytes = bucket.end.saturating_sub(from) as usize * MARK_BYTES;
            let right = rest.split_at_checked(bytes).filter(|(own, _)| crc32c::crc32c(own) == bucket.sum);
            let Some((_, behind)) = right else {
                return Err(DedupError::damaged(
                    &self.path,
                    format!("the marks from {from} on are not what was written"),
                ));
            };
            (rest, from) = (behind, bucket.end);
        }
        Ok(())
    }

    fn mark(&self, bytes: &[u8; MARK_BYTES]) -> IdMark {
        let (hash, time) = bytes.split_at(16);
        let hash = hash.first_chunk().map_or(0, |hash| u128::from_be_bytes(*hash));
        let mut eight = [0; 8];
        eight[..6].copy_from_slice(time);
        IdMark { hash, received_at_us: self.head.base_us.saturating_add_unsigned(u64::from_le_bytes(eight)) }
    }

    /// Reads all of it and holds it against its checksums.
    pub(crate) fn verify(&self) -> Result<(), DedupError> {
        let mut buffer = Vec::new();
        (0..self.buckets.len()).try_for_each(|bucket| self.read_buckets(bucket..=bucket, &mut buffer))
    }
}

/// Buckets and filter, from `at` on; `None` when their checksum is wrong. Piece by piece: a filter may be large.
fn read_rest(file: &File, at: u64, (buckets, blocks): (u64, u64)) -> io::Result<Option<(Vec<MarkBucket>, Filter)>> {
    let mut input = BufReader::with_capacity(64 << 10, file);
    input.seek(SeekFrom::Start(at))?;
    let mut sum = 0;
    let buckets = read_each(&mut input, buckets, &mut sum, MarkBucket::read)?;
    let blocks = read_each(&mut input, blocks, &mut sum, FilterBlock::read)?;
    let mut said = [0; 4];
    input.read_exact(&mut said)?;
    let filter = Filter::from_blocks(blocks).filter(|_| said == sum.to_le_bytes());
    Ok(filter.map(|filter| (buckets, filter)))
}

/// `count` pieces of one size, whose checksum `sum` goes on with.
fn read_each<const BYTES: usize, T>(
    input: &mut impl io::Read,
    count: u64,
    sum: &mut u32,
    read: impl Fn(&[u8; BYTES]) -> T,
) -> io::Result<Vec<T>> {
    let mut pieces = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut bytes = [0; BYTES];
        input.read_exact(&mut bytes)?;
        *sum = crc32c::crc32c_append(*sum, &bytes);
        pieces.push(read(&bytes));
    }
    Ok(pieces)
}

impl MarkBucket {
    fn read(bytes: &[u8; BUCKET_BYTES]) -> Self {
        let [a, b, c, d, e, f, g, h] = *bytes;
        Self { end: u32::from_le_bytes([a, b, c, d]), sum: u32::from_le_bytes([e, f, g, h]) }
    }

    fn bytes(self) -> [u8; BUCKET_BYTES] {
        let mut bytes = [0; BUCKET_BYTES];
        bytes[..4].copy_from_slice(&self.end.to_le_bytes());
        bytes[4..].copy_from_slice(&self.sum.to_le_bytes());
        bytes
    }
}

/// The first bits of a hash.
fn bucket_of(hash: u128, bits: u32) -> usize {
    hash.checked_shr(128 - bits).unwrap_or(0) as usize
}

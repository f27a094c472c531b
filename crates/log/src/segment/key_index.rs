//! The index of a segment: which of its records may have a key, which is whatever a caller reads of a record.
//!
//! Beside each segment that is written no more lies a file with 8 bytes for each record that has a key: 32 bits of a hash of the key, and the
//! record's number behind the first of the segment, in the order of the hashes. A look reads the head of the file and one block of it. The hash
//! is made under a key of the file, so nobody outside can make ids collide. What an index says is only where to look: the record is read, and
//! has the key or not. So an index that is missing or damaged costs time, and is made anew.
//!
//! Layout, little-endian: preamble · base, end, bytes and chain of the segment u64 each · key of the hashes, 16 bytes · entries u64 · places
//! u64 · for each block the first hash in it u32 · CRC-32C of all that u32. Then the blocks: [`BLOCK_ENTRIES`] entries at most, each hash u32
//! and number u32, and the CRC-32C of the block u32. Then the places, position in the file u64 and offset u64 each, and their CRC-32C u32: at
//! such a position a frame begins, whose first record has the offset.

use std::borrow::Cow;
use std::hash::Hasher as _;

use siphasher::sip::SipHasher13;
use tidegate_process::clock;

use super::reader::SegmentLogReader;
use super::storage::FileHandle;
use super::{LogError, SealedSegments, file, preamble};

const MAGIC: &[u8; 8] = b"TIDEKEYS";
const FORMAT: u32 = 1;
const SUFFIX: &str = ".keys";
/// Where an index is written before it has its name.
pub(super) const SPARE: &str = "keys.tmp";
const FIXED_BYTES: usize = preamble::BYTES + 4 * 8 + 16 + 2 * 8;
const ENTRY_BYTES: usize = 8;
const SUM_BYTES: usize = 4;
const BLOCK_ENTRIES: usize = 512;
const PLACE_BYTES: usize = 16;
/// Bytes of the segment between two places, about.
const PLACE_INTERVAL: u64 = 256 << 10;
/// What of a file is read at first: the whole head, unless records are very small.
const HEAD_BYTES: usize = 4096;
/// What is read of the log at once.
pub(super) const READ_BYTES: usize = 256 << 10;

/// Reads the key of a record from its two parts, the one that it shares with others and its own.
pub type RecordKey = for<'r> fn(&'r [u8], &'r [u8]) -> Option<Cow<'r, [u8]>>;

/// The name of the index of the segment whose first record is `base`.
pub(super) fn name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// First offsets of the segments that have an index among these files.
pub(super) fn bases(names: &[String]) -> impl Iterator<Item = u64> + '_ {
    let digits = names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).filter(|digits| digits.len() == 20);
    digits.filter_map(|digits| digits.parse().ok())
}

/// Where a frame begins, and the offset of its first record.
pub(super) type FramePlace = (u64, u64);

/// The index of one segment while it is made.
#[derive(Debug, Clone, Default)]
pub(super) struct KeyIndex {
    base: u64,
    /// Records below this offset are in it.
    pub(super) next: u64,
    hash_key: [u8; 16],
    /// The hash above, the number below.
    entries: Vec<u64>,
    places: Vec<FramePlace>,
}

/// Records that may have a key: their offsets, and where to read from for each.
pub(super) type FoundPlaces = Vec<(u64, FramePlace)>;

impl KeyIndex {
    pub(super) fn new(base: u64) -> Self {
        Self { base, next: base, hash_key: clock::random(), entries: Vec::new(), places: Vec::new() }
    }

    pub(super) const fn base(&self) -> u64 {
        self.base
    }

    /// Where the last frame begins that was read.
    pub(super) fn last_place(&self) -> Option<FramePlace> {
        self.places.last().copied()
    }

    /// Takes in what `reader`, which is in this segment, has up to `end`; false when it was over before.
    pub(super) fn fill(
        &mut self,
        reader: &mut SegmentLogReader,
        end: u64,
        key_of: RecordKey,
        is_over: &dyn Fn() -> bool,
    ) -> Result<bool, LogError> {
        while self.next < end {
            if is_over() {
                return Ok(false);
            }
            self.note_place(reader.place());
            let chunk = reader.read_frames(READ_BYTES)?;
            for entry in chunk.records.iter().filter(|entry| (self.next..end).contains(&entry.offset)) {
                let number = u32::try_from(entry.offset - self.base);
                if let (Some(key), Ok(number)) = (key_of(&entry.shared, &entry.own), number) {
                    self.entries.push((u64::from(hash(&self.hash_key, &key)) << 32) | u64::from(number));
                }
            }
            if chunk.next <= self.next && chunk.records.is_empty() && chunk.damage.is_empty() {
                break;
            }
            self.next = chunk.next.min(end).max(self.next);
        }
        Ok(true)
    }

    fn note_place(&mut self, (base, place): (u64, FramePlace)) {
        let is_far = self.places.last().is_none_or(|last| place.0 >= last.0 + PLACE_INTERVAL);
        if base == self.base && is_far {
            self.places.push(place);
        }
    }

    /// Where the last frame begins that is known of and that no record from `offset` on lies before.
    pub(super) fn place_before(&self, offset: u64) -> Option<FramePlace> {
        last_before(self.base, &self.places, offset)
    }

    /// Records that may have the key.
    pub(super) fn find(&self, key: &[u8], found_max: usize) -> FoundPlaces {
        let wanted = hash(&self.hash_key, key);
        let numbers = self.entries.iter().filter(|entry| hash_of(**entry) == wanted).map(|entry| number_of(*entry));
        located(self.base, &self.places, numbers.take(found_max))
    }

    /// The file of it.
    pub(super) fn encode(mut self, sealed: &SealedSegments) -> Vec<u8> {
        self.entries.sort_unstable();
        let mut out = preamble::write(MAGIC, FORMAT).to_vec();
        for field in [self.base, sealed.end, sealed.bytes, sealed.chain] {
            out.extend_from_slice(&field.to_le_bytes());
        }
        out.extend_from_slice(&self.hash_key);
        for count in [self.entries.len(), self.places.len()] {
            out.extend_from_slice(&(count as u64).to_le_bytes());
        }
        for block in self.entries.chunks(BLOCK_ENTRIES) {
            let first = block.first().copied().map_or(0, hash_of);
            out.extend_from_slice(&first.to_le_bytes());
        }
        summed(&mut out, 0);
        for block in self.entries.chunks(BLOCK_ENTRIES) {
            let start = out.len();
            for entry in block {
                out.extend_from_slice(&hash_of(*entry).to_le_bytes());
                out.extend_from_slice(&number_of(*entry).to_le_bytes());
            }
            summed(&mut out, start);
        }
        let start = out.len();
        for (position, offset) in &self.places {
            out.extend_from_slice(&position.to_le_bytes());
            out.extend_from_slice(&offset.to_le_bytes());
        }
        summed(&mut out, start);
        out
    }
}

/// Adds the checksum of what stands from `start` on.
fn summed(out: &mut Vec<u8>, start: usize) {
    let sum = crc32c::crc32c(&out[start..]);
    out.extend_from_slice(&sum.to_le_bytes());
}

fn hash(hash_key: &[u8; 16], key: &[u8]) -> u32 {
    let mut hasher = SipHasher13::new_with_key(hash_key);
    hasher.write(key);
    (hasher.finish() >> 32) as u32
}

const fn hash_of(entry: u64) -> u32 {
    (entry >> 32) as u32
}

const fn number_of(entry: u64) -> u32 {
    entry as u32
}

/// The offsets of records with these numbers, each with the last place before it.
fn located(base: u64, places: &[FramePlace], numbers: impl Iterator<Item = u32>) -> FoundPlaces {
    let place = |offset: u64| last_before(base, places, offset).map(|place| (offset, place));
    let mut found: FoundPlaces = numbers.filter_map(|number| place(base + u64::from(number))).collect();
    found.sort_unstable();
    found
}

/// The last of these places whose first record is `offset` or before it.
fn last_before(base: u64, places: &[FramePlace], offset: u64) -> Option<FramePlace> {
    if places.is_empty() {
        return None;
    }
    // What is before the first place is near the beginning of the segment.
    let before = places.partition_point(|(_, first)| *first <= offset).checked_sub(1);
    before.map_or(Some((file::DATA_AT, base)), |before| places.get(before).copied())
}

/// The last place at or before a record of the segment, by the index in `file`; `None` when that is damaged, or of another segment.
pub(super) fn place_before(
    file: &FileHandle,
    (base, sealed): (u64, &SealedSegments),
    offset: u64,
) -> Result<Option<FramePlace>, LogError> {
    let mut head = vec![0; FIXED_BYTES];
    let read = file.read(&mut head, 0)?;
    head.truncate(read);
    let Some(said) = IndexHead::read(&head, base, sealed) else { return Ok(None) };
    Ok(said.places(file)?.and_then(|places| last_before(base, &places, offset)))
}

/// Records of the segment that may have the key, by the index in `file`; `None` when that is damaged, or of another segment.
pub(super) fn look(
    file: &FileHandle,
    (base, sealed): (u64, &SealedSegments),
    key: &[u8],
    found_max: usize,
) -> Result<Option<FoundPlaces>, LogError> {
    let mut head = vec![0; HEAD_BYTES];
    let read = file.read(&mut head, 0)?;
    head.truncate(read);
    let Some(said) = IndexHead::read(&head, base, sealed) else { return Ok(None) };
    let fences_end = FIXED_BYTES + said.blocks() * 4;
    if fences_end + SUM_BYTES > head.len() {
        let mut whole = vec![0; fences_end + SUM_BYTES];
        let read = file.read(&mut whole, 0)?;
        whole.truncate(read);
        head = whole;
    }
    let Some(fences) = whole_part(&head, fences_end).and_then(|head| head.get(FIXED_BYTES..)) else { return Ok(None) };
    let (fences, _) = fences.as_chunks::<4>();
    let wanted = hash(&said.hash_key, key);
    let first = fences.partition_point(|fence| u32::from_le_bytes(*fence) < wanted).saturating_sub(1);
    let end = fences.partition_point(|fence| u32::from_le_bytes(*fence) <= wanted);
    let blocks_at = (fences_end + SUM_BYTES) as u64;
    let mut numbers = Vec::new();
    for block in first..end {
        let entries = said.entries.saturating_sub(block * BLOCK_ENTRIES).min(BLOCK_ENTRIES);
        let at = blocks_at + (block * (BLOCK_ENTRIES * ENTRY_BYTES + SUM_BYTES)) as u64;
        let Some(bytes) = part(file, at, entries * ENTRY_BYTES)? else { return Ok(None) };
        let (entries, _) = bytes.as_chunks::<ENTRY_BYTES>();
        let split = |[a, b, c, d, e, f, g, h]: &[u8; ENTRY_BYTES]| {
            (u32::from_le_bytes([*a, *b, *c, *d]), u32::from_le_bytes([*e, *f, *g, *h]))
        };
        numbers.extend(entries.iter().map(split).filter(|(hash, _)| *hash == wanted).map(|(_, number)| number));
        if numbers.len() >= found_max {
            break;
        }
    }
    if numbers.is_empty() {
        return Ok(Some(FoundPlaces::new()));
    }
    numbers.truncate(found_max);
    let Some(places) = said.places(file)? else { return Ok(None) };
    Ok(Some(located(base, &places, numbers.into_iter())))
}

/// What an index says of itself.
struct IndexHead {
    hash_key: [u8; 16],
    entries: usize,
    places: usize,
}

impl IndexHead {
    /// `None` when it is not of this segment, or says what cannot be.
    fn read(head: &[u8], base: u64, sealed: &SealedSegments) -> Option<Self> {
        if preamble::format(head, MAGIC) != Some(FORMAT) {
            return None;
        }
        let fixed = head.get(preamble::BYTES..FIXED_BYTES)?;
        let long =
            |at: usize| fixed.get(at..).and_then(|rest| rest.first_chunk()).map(|long| u64::from_le_bytes(*long));
        let of = [long(0)?, long(8)?, long(16)?, long(24)?];
        let (entries, places) = (long(48)?, long(56)?);
        let records = sealed.end.saturating_sub(base);
        let is_sane = entries <= records && places <= sealed.bytes / PLACE_INTERVAL + 1;
        if of != [base, sealed.end, sealed.bytes, sealed.chain] || !is_sane {
            return None;
        }
        let hash_key = *fixed.get(32..)?.first_chunk()?;
        Some(Self { hash_key, entries: usize::try_from(entries).ok()?, places: usize::try_from(places).ok()? })
    }

    const fn blocks(&self) -> usize {
        self.entries.div_ceil(BLOCK_ENTRIES)
    }

    /// The places that stand at the end of the file; `None` when they are not what was written.
    fn places(&self, file: &FileHandle) -> Result<Option<Vec<FramePlace>>, LogError> {
        let blocks_at = FIXED_BYTES + self.blocks() * 4 + SUM_BYTES;
        let at = blocks_at + self.entries * ENTRY_BYTES + self.blocks() * SUM_BYTES;
        let Some(bytes) = part(file, at as u64, self.places * PLACE_BYTES)? else { return Ok(None) };
        let (places, _) = bytes.as_chunks::<PLACE_BYTES>();
        let long = |bytes: &[u8]| bytes.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        Ok(Some(places.iter().map(|place| (long(&place[..8]), long(&place[8..]))).collect()))
    }
}

/// So many bytes of a file, which their checksum follows; `None` when they are not what was written.
fn part(file: &FileHandle, at: u64, bytes: usize) -> Result<Option<Vec<u8>>, LogError> {
    let mut buffer = vec![0; bytes + SUM_BYTES];
    let read = file.read(&mut buffer, at)?;
    buffer.truncate(read);
    let is_whole = whole_part(&buffer, bytes).is_some();
    buffer.truncate(bytes);
    Ok(is_whole.then_some(buffer))
}

/// The first `bytes`, if the checksum behind them is right.
fn whole_part(buffer: &[u8], bytes: usize) -> Option<&[u8]> {
    let (part, rest) = buffer.split_at_checked(bytes)?;
    let sum = rest.first_chunk::<SUM_BYTES>()?;
    (crc32c::crc32c(part).to_le_bytes() == *sum).then_some(part)
}

//! Segment files: names, the two headers, preallocation.
//!
//! A segment is named after the offset of its first record. Its header lies in it twice, [`SECOND_AT`] bytes apart:
//! preamble · base u64 · created at, microseconds i64 · bytes that the file had when it was made u64 · then what stands
//! before it: base, end, bytes and chain of the segment before, u64 each · check u64. A base above the end before it means that numbers were skipped at a restart.
//! Space is written as zeros ahead of use, so that a commit changes data blocks only and `fdatasync` has no metadata
//! to write.

use super::key::{LogKey, SealedBytes};
use super::storage::{FileHandle, Home};
use super::{LogError, first_format, preamble};

/// Where the second copy of the header lies: no bad block takes both.
const SECOND_AT: u64 = 4096;
const COPIES: [u64; 2] = [0, SECOND_AT];
/// Where the frames begin.
pub(super) const DATA_AT: u64 = SECOND_AT + 512;
const MAGIC: &[u8; 8] = b"TIDELOG2";
const FORMAT: u32 = 2;
const HEADER_BYTES: usize = preamble::BYTES + 8 * 8;
const SUFFIX: &str = ".log";
const SPARE: &str = "spare.tmp";
const UNFINISHED: &str = "spare.part";
/// The base of the segment before, when there is none.
const NONE: u64 = u64::MAX;

/// The name of the segment whose first record is `base`.
pub(super) fn name(base: u64) -> String {
    format!("{base:020}{SUFFIX}")
}

/// First offsets of the segments among `names`, ascending.
pub(super) fn bases(names: &[String]) -> Vec<u64> {
    let digits = names.iter().filter_map(|name| name.strip_suffix(SUFFIX)).filter(|digits| digits.len() == 20);
    let mut bases: Vec<u64> = digits.filter_map(|digits| digits.parse().ok()).collect();
    bases.sort_unstable();
    bases
}

/// What a segment says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) base: u64,
    pub(super) created_us: i64,
    /// Bytes of the file when it was made; while it is written it is never shorter.
    pub(super) room: u64,
    pub(super) before: Option<PreviousSegment>,
}

/// What it says of the segment before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PreviousSegment {
    pub(super) base: u64,
    pub(super) end: u64,
    pub(super) bytes: u64,
    pub(super) chain: u64,
}

impl Header {
    fn encode(&self, key: &LogKey) -> [u8; HEADER_BYTES] {
        let before = self.before.unwrap_or(PreviousSegment { base: NONE, end: self.base, bytes: 0, chain: 0 });
        let mut bytes = [0; HEADER_BYTES];
        bytes[..preamble::BYTES].copy_from_slice(&preamble::write(MAGIC, FORMAT));
        let created = self.created_us.cast_unsigned();
        let fields = [self.base, created, self.room, before.base, before.end, before.bytes, before.chain];
        for (place, field) in bytes[preamble::BYTES..].chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        let check = key.of(SealedBytes::Segment, &bytes[..HEADER_BYTES - 8]);
        bytes[HEADER_BYTES - 8..].copy_from_slice(&check.to_le_bytes());
        bytes
    }

    fn decode(key: &LogKey, bytes: &[u8]) -> Option<Self> {
        let bytes = bytes.first_chunk::<HEADER_BYTES>()?;
        let (rest, check) = bytes.split_last_chunk::<8>()?;
        let whole = preamble::format(bytes, MAGIC) == Some(FORMAT)
            && key.of(SealedBytes::Segment, rest) == u64::from_le_bytes(*check);
        let mut fields = [0; 7];
        for (field, place) in fields.iter_mut().zip(rest[preamble::BYTES..].chunks_exact(8)) {
            *field = place.first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes));
        }
        let [base, created_us, room, before, end, bytes, chain] = fields;
        let before = (before != NONE).then_some(PreviousSegment { base: before, end, bytes, chain });
        whole.then_some(Self { base, created_us: created_us.cast_signed(), room, before })
    }
}

/// What the first bytes of a segment's file are.
pub(super) struct LookedSegment {
    /// The header, from whichever copy is whole.
    pub(super) header: Option<Header>,
    /// Copies that are damaged although the other is whole.
    pub(super) damaged: Vec<u64>,
    /// The file was written by the first format.
    pub(super) first_format: bool,
    pub(super) bytes: u64,
}

/// Looks at a segment's headers. `key`: none when there is none yet.
///
/// # Errors
/// The file cannot be read, or a newer build wrote it.
pub(super) fn look(home: &Home, base: u64, key: Option<&LogKey>) -> Result<LookedSegment, LogError> {
    let name = name(base);
    let handle = home.open(&name, false)?;
    let mut first = handle.read_whole(DATA_AT)?;
    first.resize(usize::try_from(DATA_AT).unwrap_or(usize::MAX), 0);
    let mut looked = LookedSegment { header: None, damaged: Vec::new(), first_format: false, bytes: handle.len()? };
    for at in COPIES {
        let bytes = first.get(usize::try_from(at).unwrap_or(usize::MAX)..).unwrap_or_default();
        preamble::refuse_newer(&home.path(&name), bytes, MAGIC, FORMAT)?;
        match key.and_then(|key| Header::decode(key, bytes)) {
            Some(header) => looked.header = looked.header.or(Some(header)),
            None => looked.damaged.push(at),
        }
    }
    looked.first_format = looked.header.is_none() && first_format::is_first_format(&first);
    Ok(looked)
}

/// Writes the copies of the header that lie at `copies`.
pub(super) fn mend(home: &Home, key: &LogKey, header: &Header, copies: &[u64]) -> Result<(), LogError> {
    let handle = home.open(&name(header.base), true)?;
    for at in copies {
        handle.write_all(&header.encode(key), *at)?;
    }
    handle.sync_data()
}

/// Writes both copies into a file that will be a segment.
pub(super) fn write_headers(key: &LogKey, header: &Header, file: &FileHandle) -> Result<(), LogError> {
    COPIES.into_iter().try_for_each(|at| file.write_all(&header.encode(key), at))
}

/// Makes the segment that `header` describes out of the spare file, whose handle is open. The name is durable then.
pub(super) fn create(home: &Home, key: &LogKey, header: &Header, spare: &FileHandle) -> Result<(), LogError> {
    write_headers(key, header, spare)?;
    spare.sync_data()?;
    home.rename(SPARE, &name(header.base))?;
    home.sync_names()
}

/// Opens the spare file for the segment after this one; writes it first when it is not there: zeros, synced, under a
/// name that no reader looks at. `bytes`: room for frames.
pub(super) fn prepare(home: &Home, bytes: u64) -> Result<FileHandle, LogError> {
    if let Some(spare) = home.find(SPARE, true)? {
        return Ok(spare);
    }
    fill(home, DATA_AT.saturating_add(bytes)).inspect_err(|_| {
        // A half-written file would only take the space that is missing.
        let _ = home.remove(UNFINISHED);
    })
}

fn fill(home: &Home, bytes: u64) -> Result<FileHandle, LogError> {
    let file = home.create(UNFINISHED)?;
    let zeros = vec![0; usize::try_from(bytes.min(1 << 20)).unwrap_or(1 << 20)];
    let mut at = 0;
    while at < bytes {
        let step = zeros.len().min(usize::try_from(bytes - at).unwrap_or(usize::MAX));
        file.write_all(&zeros[..step], at)?;
        at += step as u64;
        // In small helpings: a commit of the live segment must not wait behind a whole one of zeros.
        file.sync_data()?;
    }
    file.sync_all()?;
    home.rename(UNFINISHED, SPARE)?;
    Ok(file)
}

/// Files that a process which died may have left half-written; none of them holds a record.
pub(super) const LEFTOVERS: [&str; 7] =
    [UNFINISHED, "key.tmp", "manifest.next", "manifest.trim", "manifest.tmp", "carry.tmp", "erase.tmp"];

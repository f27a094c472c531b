//! How records lie on disk: a group of records that were appended together, in one frame.
//!
//! Header, 40 bytes: magic u32 · kind u8 · 3 zeros · payload length u32 · count u32 · offset of the first record u64 ·
//! byte position in the segment u64 · check u64. Behind it a table with the length u32 and the CRC-32C u32 of the shared
//! bytes and of each record; then these bytes themselves. All numbers are little-endian.
//!
//! The check is made with the log's key over the segment's base, the header and the table: nobody without the key makes a
//! frame, and a frame counts only where it was written. The bytes have a checksum each, so a flipped bit costs its own
//! record alone, and whoever builds frames sums them in parallel; the writer numbers and checks.
//!
//! A **mark** follows each group of frames that was synced: magic u32 · zero u32 · offset of the next record u64 · byte
//! position u64 · check u64. Everything before a mark was durable before anybody was answered.

use super::key::LogKey;

pub(super) const MAGIC: [u8; 4] = *b"TGr2";
pub(super) const MARK_MAGIC: [u8; 4] = *b"TGm2";
pub(super) const HEADER_BYTES: usize = 40;
pub(super) const ENTRY_BYTES: usize = 8;
pub(super) const MARK_BYTES: usize = 32;
/// No record may be larger; a length above it is damage.
pub(super) const PAYLOAD_BYTES_MAX: usize = 32 << 20;
/// A frame takes no more records once it holds this much: a reader that stops within it reads it again.
const GROUP_BYTES: usize = 1 << 20;
const GROUP_RECORDS: usize = 1 << 14;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum FrameKind {
    Records = 1,
    /// Numbers whose records were lost before this frame was written, and what lay in their place.
    Lost = 2,
    /// Numbers that were never given.
    Skipped = 3,
}

/// Records on their way into the log, already framed. Built by whoever appends, off the writer's thread.
#[derive(Debug, Default, Clone)]
pub struct Frames {
    /// Shared bytes and records, group after group.
    payload: Vec<u8>,
    /// Tables, group after group.
    table: Vec<u8>,
    /// Groups that take no more.
    full: Vec<OpenGroup>,
    open: Option<OpenGroup>,
    count: u64,
}

/// Where a group begins in the two buffers.
#[derive(Debug, Clone, Copy)]
struct OpenGroup {
    payload: usize,
    table: usize,
    shared: usize,
}

impl Frames {
    /// With room for about `bytes`.
    #[must_use]
    pub fn with_capacity(bytes: usize) -> Self {
        let table = Vec::with_capacity((bytes / 512 + 2) * ENTRY_BYTES);
        Self { payload: Vec::with_capacity(bytes), table, ..Self::default() }
    }

    /// Begins a group: `write` appends the bytes that all its records share. Groups of one append are accepted together.
    pub fn begin(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        self.full.extend(self.open.take());
        let mut open = OpenGroup { payload: self.payload.len(), table: self.table.len(), shared: 0 };
        open.shared = self.add(write);
        self.open = Some(open);
    }

    /// Adds one record whose own bytes `write` appends. At most 32 MiB; the caller's limits lie far below.
    pub fn push(&mut self, write: impl FnOnce(&mut Vec<u8>)) {
        match self.open {
            None => self.begin(|_| {}),
            Some(open) if self.is_full(open) => {
                let shared = open.payload..open.payload + open.shared;
                self.begin(|payload| payload.extend_from_within(shared));
            }
            Some(_) => {}
        }
        self.add(write);
        self.count += 1;
    }

    /// Adds the records of `more` behind its own, in the groups that they have.
    pub fn extend(&mut self, more: &Self) {
        let (payload, table) = (self.payload.len(), self.table.len());
        let moved = |group: &OpenGroup| OpenGroup {
            payload: payload + group.payload,
            table: table + group.table,
            shared: group.shared,
        };
        self.full.extend(self.open.take());
        self.full.extend(more.full.iter().map(moved));
        self.open = more.open.as_ref().map(moved);
        self.payload.extend_from_slice(&more.payload);
        self.table.extend_from_slice(&more.table);
        self.count += more.count;
    }

    fn is_full(&self, open: OpenGroup) -> bool {
        let (payload, table) = (self.payload.len() - open.payload, self.table.len() - open.table);
        payload - open.shared > GROUP_BYTES || table > GROUP_RECORDS * ENTRY_BYTES
    }

    fn add(&mut self, write: impl FnOnce(&mut Vec<u8>)) -> usize {
        let start = self.payload.len();
        write(&mut self.payload);
        let part = &self.payload[start..];
        debug_assert!(part.len() <= PAYLOAD_BYTES_MAX, "a record larger than the log takes");
        let len = u32::try_from(part.len()).unwrap_or(u32::MAX);
        let mut entry = [0; ENTRY_BYTES];
        entry[..4].copy_from_slice(&len.to_le_bytes());
        entry[4..].copy_from_slice(&crc32c::crc32c(part).to_le_bytes());
        self.table.extend_from_slice(&entry);
        part.len()
    }

    /// Records held.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.count
    }

    /// Bytes on disk.
    #[must_use]
    pub fn bytes(&self) -> usize {
        let groups = self.full.len() + usize::from(self.open.is_some());
        groups * HEADER_BYTES + self.table.len() + self.payload.len()
    }

    /// Copies the frames behind what `end` has staged, numbered from where it stands.
    pub(super) fn number_into(&self, key: &LogKey, end: &mut FrameEnd, staging: &mut Vec<u8>) {
        let mut staging = FrameStaging { key, end, staging };
        let groups = self.full.iter().chain(&self.open);
        let ends = groups.clone().skip(1).map(|next| (next.payload, next.table));
        let last = std::iter::once((self.payload.len(), self.table.len()));
        for (group, (payload_end, table_end)) in groups.zip(ends.chain(last)) {
            let (payload, table) = (&self.payload[group.payload..payload_end], &self.table[group.table..table_end]);
            let records = table.len() / ENTRY_BYTES - 1;
            if records > 0 {
                staging.frame(FrameKind::Records, records as u64, table, payload);
            }
        }
    }
}

/// Where the next frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FrameEnd {
    /// First offset of the segment.
    pub(super) base: u64,
    /// Byte position in its file.
    pub(super) position: u64,
    /// Offset of the next record.
    pub(super) next: u64,
    /// The running hash of the segment's frames.
    pub(super) chain: u64,
}

/// The running hash of a segment with one more frame. The checks are keyed, and so are the places where the hash is kept.
pub(super) fn chain(before: u64, check: u64) -> u64 {
    (before.rotate_left(23) ^ check).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1
}

/// Frames on their way into a segment.
pub(super) struct FrameStaging<'a> {
    pub(super) key: &'a LogKey,
    /// Behind what is staged.
    pub(super) end: &'a mut FrameEnd,
    pub(super) staging: &'a mut Vec<u8>,
}

impl FrameStaging<'_> {
    /// Stages a frame that takes so many `numbers`.
    fn frame(&mut self, kind: FrameKind, numbers: u64, table: &[u8], payload: &[u8]) {
        let end = &mut *self.end;
        let mut header = [0; HEADER_BYTES];
        header[..4].copy_from_slice(&MAGIC);
        header[4] = kind as u8;
        header[8..12].copy_from_slice(&u32::try_from(payload.len()).unwrap_or(u32::MAX).to_le_bytes());
        let count = u32::try_from(table.len() / ENTRY_BYTES).unwrap_or(u32::MAX).saturating_sub(1);
        header[12..16].copy_from_slice(&count.to_le_bytes());
        header[16..24].copy_from_slice(&end.next.to_le_bytes());
        header[24..32].copy_from_slice(&end.position.to_le_bytes());
        let check = self.key.of_frame(end.base, &header[..32], table);
        header[32..].copy_from_slice(&check.to_le_bytes());
        self.staging.extend_from_slice(&header);
        self.staging.extend_from_slice(table);
        self.staging.extend_from_slice(payload);
        end.position += (HEADER_BYTES + table.len() + payload.len()) as u64;
        end.next += numbers;
        end.chain = chain(end.chain, check);
    }

    /// Stages a frame that says what became of the numbers up to `next`: lost, with what lay there, or never given.
    pub(super) fn gap(&mut self, kind: FrameKind, next: u64, bytes: &[u8]) {
        let mut table = [0; 2 * ENTRY_BYTES];
        table[..4].copy_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        table[4..8].copy_from_slice(&crc32c::crc32c(bytes).to_le_bytes());
        table[8..].copy_from_slice(&next.to_le_bytes());
        self.frame(kind, next.saturating_sub(self.end.next), &table, bytes);
    }
}

/// A mark for where `end` stands.
pub(super) fn mark(key: &LogKey, end: &FrameEnd) -> [u8; MARK_BYTES] {
    let mut mark = [0; MARK_BYTES];
    mark[..4].copy_from_slice(&MARK_MAGIC);
    mark[8..16].copy_from_slice(&end.next.to_le_bytes());
    mark[16..24].copy_from_slice(&end.position.to_le_bytes());
    let check = key.of_frame(end.base, &mark[..24], &[]);
    mark[24..].copy_from_slice(&check.to_le_bytes());
    mark
}

/// The offset in a whole mark at the start of `bytes`, which stand at `position`.
pub(super) fn read_mark(key: &LogKey, base: u64, position: u64, bytes: &[u8]) -> Option<u64> {
    let mark = bytes.first_chunk::<MARK_BYTES>()?;
    let whole = mark[..4] == MARK_MAGIC
        && u64_at(mark, 16) == position
        && key.of_frame(base, &mark[..24], &[]) == u64_at(mark, 24);
    whole.then(|| u64_at(mark, 8))
}

/// A frame whose check holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RecordGroup {
    pub(super) kind: FrameKind,
    /// Offset of its first record, and the one behind its last.
    pub(super) first: u64,
    pub(super) next: u64,
    pub(super) check: u64,
    /// Entries in its table.
    entries: usize,
    payload_bytes: usize,
}

/// What stands where a frame may stand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Read {
    Group(RecordGroup),
    /// So far it may be one: the bytes end within its header or table.
    Short,
    No,
}

impl RecordGroup {
    /// Reads the frame at the start of `bytes`, which stand at `position`; its payload need not be there.
    pub(super) fn read(key: &LogKey, base: u64, position: u64, bytes: &[u8]) -> Read {
        let Some(header) = bytes.first_chunk::<HEADER_BYTES>() else {
            return if MAGIC.starts_with(&bytes[..bytes.len().min(4)]) { Read::Short } else { Read::No };
        };
        let kind =
            [FrameKind::Records, FrameKind::Lost, FrameKind::Skipped].into_iter().find(|kind| *kind as u8 == header[4]);
        let (Some(kind), true) = (kind, header[..4] == MAGIC && u64_at(header, 24) == position) else {
            return Read::No;
        };
        let (payload_bytes, records) = (u32_at(header, 8) as usize, u32_at(header, 12) as usize);
        let first = u64_at(header, 16);
        if records == 0 || records > GROUP_RECORDS + 1 {
            return Read::No;
        }
        let entries = records + 1;
        let Some(table) = bytes.get(HEADER_BYTES..HEADER_BYTES + entries * ENTRY_BYTES) else { return Read::Short };
        let check = u64_at(header, 32);
        if key.of_frame(base, &header[..32], table) != check {
            return Read::No;
        }
        let next = match kind {
            FrameKind::Records => first.checked_add(records as u64),
            FrameKind::Lost | FrameKind::Skipped => Some(u64_at(table, ENTRY_BYTES)).filter(|next| *next >= first),
        };
        let Some(next) = next else { return Read::No };
        Read::Group(Self { kind, first, next, check, entries, payload_bytes })
    }

    /// Bytes from its start to what follows.
    pub(super) fn frame_bytes(&self) -> usize {
        self.payload_at() + self.payload_bytes
    }

    fn payload_at(&self) -> usize {
        HEADER_BYTES + self.entries * ENTRY_BYTES
    }

    /// The shared bytes, then each record: where they stand in the frame, and their CRC-32C.
    pub(super) fn parts<'a>(&self, frame: &'a [u8]) -> impl Iterator<Item = (std::ops::Range<usize>, u32)> + use<'a> {
        let mut at = self.payload_at();
        let shown = if self.kind == FrameKind::Records { self.entries } else { 1 };
        let table = frame.get(HEADER_BYTES..HEADER_BYTES + shown * ENTRY_BYTES).unwrap_or_default();
        table.chunks_exact(ENTRY_BYTES).map(move |entry| {
            let start = at;
            at += u32_at(entry, 0) as usize;
            (start..at, u32_at(entry, 4))
        })
    }

    /// True when all of it is there and sums up.
    pub(super) fn is_whole(&self, frame: &[u8]) -> bool {
        self.parts(frame).all(|(part, sum)| part_at(frame, part, sum).is_some())
    }
}

/// A part of a frame, when it is there and sums up.
pub(super) fn part_at(frame: &[u8], part: std::ops::Range<usize>, sum: u32) -> Option<&[u8]> {
    frame.get(part).filter(|bytes| crc32c::crc32c(bytes) == sum)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u32::from_le_bytes(*bytes))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    bytes.get(at..).and_then(|bytes| bytes.first_chunk()).map_or(0, |bytes| u64::from_le_bytes(*bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::key;

    #[test]
    fn records_behind_others_are_framed_as_they_would_be_alone() {
        let frames = |texts: &[&str]| {
            let mut frames = Frames::default();
            frames.begin(|out| out.extend_from_slice(b"shared"));
            for text in texts {
                frames.push(|out| out.extend_from_slice(text.as_bytes()));
            }
            frames
        };
        let (first, second) = (frames(&["a", "bb"]), frames(&["ccc"]));
        let key = key::for_tests();
        let begin = FrameEnd { base: 0, position: 64, next: 0, chain: 0 };
        let (mut end, mut apart) = (begin, Vec::new());
        first.number_into(&key, &mut end, &mut apart);
        second.number_into(&key, &mut end, &mut apart);
        let mut both = Frames::default();
        both.extend(&first);
        both.extend(&second);
        let (mut end_of_both, mut together) = (begin, Vec::new());
        both.number_into(&key, &mut end_of_both, &mut together);
        assert_eq!((together, end_of_both), (apart, end));
        assert_eq!((both.count(), both.bytes()), (3, first.bytes() + second.bytes()));
    }
}

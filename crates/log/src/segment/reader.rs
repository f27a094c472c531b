//! Reading by offset: one `pread` fills a buffer, records are slices of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{self, FrameKind, HEADER_BYTES, MARK_BYTES, RecordGroup, part_at};
use super::key::LogKey;
use super::scan::{ScanStep, SegmentScan};
use super::storage::{FileHandle, Home};
use super::{LogDamage, LogEntry, LogError, LogInner, LogReader, ReadChunk, SealedSegments, file, lock};

/// What is kept of a damaged range; the rest stays where it lies.
const DAMAGE_BYTES_MAX: usize = 1 << 20;

/// A place in the log. Reads no further than what is committed.
pub struct SegmentLogReader {
    inner: Arc<LogInner>,
    segment: Segment,
    next: u64,
}

impl LogReader for SegmentLogReader {
    fn next(&self) -> u64 {
        self.next
    }

    fn read(&mut self, bytes_max: usize, records_max: usize) -> Result<ReadChunk, LogError> {
        self.read(bytes_max, records_max)
    }
}

impl SegmentLogReader {
    pub(super) fn new(inner: Arc<LogInner>, offset: u64) -> Result<Self, LogError> {
        let base = {
            let segments = lock(&inner.segments);
            let active = (segments.active <= offset).then_some(segments.active);
            let sealed = || segments.sealed.range(..=offset).next_back().map(|(base, _)| *base);
            let oldest = segments.sealed.keys().next().copied().unwrap_or(segments.active);
            active.or_else(sealed).ok_or(LogError::Trimmed { wanted: offset, oldest })?
        };
        let segment = open(&inner, base)?;
        let mut reader = Self { inner, segment, next: offset };
        reader.skip()?;
        Ok(reader)
    }

    /// The offset that the next chunk starts at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Walks the frames of the segment until the one that holds the next record.
    fn skip(&mut self) -> Result<(), LogError> {
        let (bounds, _) = self.bounds();
        self.segment.skip(&self.inner.key, &bounds, self.next)
    }

    /// Reads up to about `bytes_max` bytes and `records_max` records of what is committed. An empty chunk means that
    /// there is nothing more for now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, bytes_max: usize, records_max: usize) -> Result<ReadChunk, LogError> {
        loop {
            let (bounds, next_base) = self.bounds();
            let chunk = self.segment.read(&self.inner.key, &bounds, self.next, (bytes_max, records_max))?;
            if let Some(chunk) = chunk {
                self.next = chunk.next.max(self.next);
                if !chunk.records.is_empty() || !chunk.damage.is_empty() {
                    return Ok(chunk);
                }
                // Marks, or numbers that were never given.
                continue;
            }
            let Some(base) = next_base else {
                return Ok(ReadChunk { next: self.next, ..ReadChunk::default() });
            };
            self.segment = open(&self.inner, base)?;
            self.next = self.next.max(base);
        }
    }

    /// What this segment holds that is durable, and the segment after it.
    fn bounds(&self) -> (SealedSegments, Option<u64>) {
        let segments = lock(&self.inner.segments);
        let base = self.segment.base;
        let nothing = SealedSegments { bytes: self.segment.position, end: self.next, ..SealedSegments::default() };
        if base == segments.active {
            return (SealedSegments { bytes: segments.active_bytes, end: segments.active_end, ..nothing }, None);
        }
        // Gone: trimmed meanwhile.
        let sealed = segments.sealed.get(&base).copied().unwrap_or(nothing);
        let next = segments.sealed.range(base.saturating_add(1)..).next().map_or(segments.active, |(base, _)| *base);
        (sealed, Some(next))
    }
}

/// Opens a segment of a log; one whose file is gone is missing from end to end.
fn open(inner: &LogInner, base: u64) -> Result<Segment, LogError> {
    let missing = lock(&inner.segments).sealed.get(&base).is_some_and(|sealed| sealed.missing);
    match Segment::open(&inner.home, base, missing) {
        Err(LogError::Io { cause, .. }) if cause.kind() == io::ErrorKind::NotFound => {
            Segment::open(&inner.home, base, true)
        }
        other => other,
    }
}

/// A place in one segment.
pub(super) struct Segment {
    pub(super) base: u64,
    /// None when the file is missing.
    file: Option<FileHandle>,
    position: u64,
    /// The offset of the first record at `position`.
    expected: u64,
    /// The running hash of the frames before `position`.
    pub(super) chain: u64,
}

impl Segment {
    pub(super) fn open(home: &Home, base: u64, missing: bool) -> Result<Self, LogError> {
        let file = if missing { None } else { Some(home.open(&file::name(base), false)?) };
        Ok(Self { base, file, position: file::DATA_AT, expected: base, chain: 0 })
    }

    /// Moves over frames that hold nothing from `offset` on, as long as nothing is damaged.
    fn skip(&mut self, key: &LogKey, bounds: &SealedSegments, offset: u64) -> Result<(), LogError> {
        const READ_BYTES: usize = 4 << 20;
        while self.position < bounds.bytes && self.expected < offset {
            let (buffer, last) = self.fill(bounds, READ_BYTES)?;
            let scan = self.scan(key, bounds, &buffer, last);
            let (mut at, mut expected, mut chain) = (0, self.expected, self.chain);
            loop {
                match scan.step(at, expected) {
                    ScanStep::Group(group) if group.next <= offset => {
                        at += group.frame_bytes();
                        (expected, chain) = (group.next, frame::chain(chain, group.check));
                    }
                    ScanStep::Mark => at += MARK_BYTES,
                    ScanStep::Damage { to, next } if next <= offset && to < buffer.len() => (at, expected) = (to, next),
                    _ => break,
                }
            }
            if at == 0 {
                return Ok(());
            }
            (self.position, self.expected, self.chain) = (self.position + at as u64, expected, chain);
        }
        Ok(())
    }

    /// Reads on; nothing below `next` is given. `None` at the end of what `bounds` say.
    pub(super) fn read(
        &mut self,
        key: &LogKey,
        bounds: &SealedSegments,
        next: u64,
        (bytes_max, records_max): (usize, usize),
    ) -> Result<Option<ReadChunk>, LogError> {
        let (mut want, records_max) = (bytes_max.max(HEADER_BYTES), records_max.max(1));
        while self.position < bounds.bytes && self.file.is_some() {
            let (buffer, last) = self.fill(bounds, want)?;
            let mut cut = Cut::new(self, next, (bytes_max, records_max));
            cut.all(&self.scan(key, bounds, &buffer, last), &buffer);
            let Cut { chunk, at, expected, chain, stopped, .. } = cut;
            if at > 0 || stopped || last {
                (self.position, self.expected, self.chain) = (self.position + at as u64, expected, chain);
                if last && !stopped && at == buffer.len() {
                    // A file that was cut short ends before its bounds.
                    self.position = bounds.bytes;
                }
                return Ok(Some(chunk));
            }
            // One frame, or one damaged range, is larger than the buffer.
            want = want.saturating_mul(4);
        }
        let start = next.max(self.expected);
        if start >= bounds.end {
            return Ok(None);
        }
        // Everything that should still come is gone.
        let damage = LogDamage {
            missing: start..bounds.end,
            segment: self.base,
            position: self.position,
            length: 0,
            bytes: Bytes::new(),
        };
        self.expected = bounds.end;
        Ok(Some(ReadChunk { damage: vec![damage], next: bounds.end, ..ReadChunk::default() }))
    }

    /// Bytes from the position on, and whether they are the last.
    fn fill(&self, bounds: &SealedSegments, want: usize) -> Result<(Bytes, bool), LogError> {
        let left = usize::try_from(bounds.bytes - self.position).unwrap_or(usize::MAX);
        let mut buffer = vec![0; want.min(left)];
        let read = match &self.file {
            Some(file) => file.read(&mut buffer, self.position)?,
            None => 0,
        };
        let last = read < buffer.len() || read == left;
        buffer.truncate(read);
        Ok((buffer.into(), last))
    }

    fn scan<'a>(&self, key: &'a LogKey, bounds: &SealedSegments, bytes: &'a [u8], last: bool) -> SegmentScan<'a> {
        SegmentScan { key, base: self.base, origin: self.position, bytes, last, limit: Some(bounds.end) }
    }
}

/// Cuts a buffer into records.
struct Cut {
    chunk: ReadChunk,
    at: usize,
    expected: u64,
    chain: u64,
    bytes_max: usize,
    records_max: usize,
    /// Bytes of the records so far, the shared ones counted for each.
    weight: usize,
    /// The chunk is full, and more stands in the buffer.
    stopped: bool,
    base: u64,
    origin: u64,
}

impl Cut {
    fn new(segment: &Segment, next: u64, (bytes_max, records_max): (usize, usize)) -> Self {
        let chunk = ReadChunk { next: next.max(segment.expected), ..ReadChunk::default() };
        let (expected, chain) = (segment.expected, segment.chain);
        let (base, origin) = (segment.base, segment.position);
        Self { chunk, at: 0, expected, chain, bytes_max, records_max, weight: 0, stopped: false, base, origin }
    }

    fn all(&mut self, scan: &SegmentScan<'_>, buffer: &Bytes) {
        loop {
            if self.chunk.records.len() >= self.records_max && self.at < buffer.len() {
                self.stopped = true;
                return;
            }
            match scan.step(self.at, self.expected) {
                ScanStep::Group(group) => {
                    self.group(&group, buffer);
                    if self.stopped {
                        return;
                    }
                    self.at = buffer.len().min(self.at + group.frame_bytes());
                    self.expected = group.next;
                    self.chain = frame::chain(self.chain, group.check);
                }
                ScanStep::Mark => self.at += MARK_BYTES,
                ScanStep::Damage { to, next } => {
                    self.damage(self.at, self.chunk.next..next, &buffer[self.at..to]);
                    (self.at, self.expected) = (to, next);
                }
                ScanStep::End => {
                    self.at = buffer.len();
                    return;
                }
                ScanStep::More => return,
            }
        }
    }

    /// The records of a frame that are still to be given; what of them does not sum up is damage.
    fn group(&mut self, group: &RecordGroup, buffer: &Bytes) {
        let at = self.at;
        let bytes = &buffer[at..buffer.len().min(at + group.frame_bytes())];
        let mut parts = group.parts(bytes);
        let shared = parts.next().filter(|(part, sum)| part_at(bytes, part.clone(), *sum).is_some());
        let from = self.chunk.next;
        let Some((shared, _)) = shared else {
            self.damage(at, from..group.next, bytes);
            return;
        };
        match group.kind {
            FrameKind::Records => {}
            FrameKind::Lost => {
                self.damage(at + shared.start, from..group.next, &bytes[shared]);
                return;
            }
            FrameKind::Skipped => {
                self.chunk.next = self.chunk.next.max(group.next);
                return;
            }
        }
        let shared = buffer.slice(at + shared.start..at + shared.end);
        for (offset, (part, sum)) in (group.first..).zip(parts) {
            if offset < from {
                continue;
            }
            let weight = self.weight.saturating_add(shared.len() + part.len());
            let full = self.chunk.records.len() >= self.records_max || weight > self.bytes_max;
            if full && !self.chunk.records.is_empty() {
                self.stopped = true;
                return;
            }
            self.weight = weight;
            if part_at(bytes, part.clone(), sum).is_some() {
                let own = buffer.slice(at + part.start..at + part.end);
                self.chunk.records.push(LogEntry { offset, shared: shared.clone(), own });
                self.chunk.next = offset + 1;
            } else {
                let there = part.start.min(bytes.len())..part.end.min(bytes.len());
                self.damage(at + there.start, offset..offset + 1, &bytes[there]);
            }
        }
    }

    fn damage(&mut self, at: usize, missing: Range<u64>, bytes: &[u8]) {
        let missing = missing.start..missing.end.max(missing.start);
        self.chunk.next = missing.end;
        let position = self.origin.saturating_add(at as u64);
        // A copy, so that a small range does not hold a large buffer.
        let kept = Bytes::copy_from_slice(&bytes[..bytes.len().min(DAMAGE_BYTES_MAX)]);
        let length = bytes.len() as u64;
        self.chunk.damage.push(LogDamage { missing, segment: self.base, position, length, bytes: kept });
    }
}

//! Reading by offset: one `pread` fills a buffer, records are slices of it.

use std::io;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use bytes::Bytes;

use super::frame::{self, FrameKind, HEADER_BYTES, MARK_BYTES, RecordGroup, part_at};
use super::key::LogKey;
use super::scan::{ScanStep, SegmentScan};
use super::storage::{FileHandle, Home};
use super::{LogDamage, LogEntry, LogError, LogInner, LogReader, ReadChunk, SealedSegments, fetched, file, lock};

/// What is read at once of frames that are skipped: of many, and of those between a place that is known and a record.
const SKIP_BYTES: usize = 4 << 20;
const SKIP_NEAR_BYTES: usize = 512 << 10;
/// What is kept of a damaged range; the rest stays where it lies.
const DAMAGE_BYTES_MAX: usize = 1 << 20;

/// A place in the log. Reads no further than what is committed.
pub struct SegmentLogReader {
    inner: Arc<LogInner>,
    segment: Segment,
    next: u64,
    /// How often segments had been written anew when its file was opened.
    erasures: u64,
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
            let before = || segments.fetched.range(..=offset).next_back();
            let fetched = || before().filter(|(_, found)| offset < found.next).map(|(base, _)| *base);
            let trimmed = LogError::Trimmed { wanted: offset, oldest: segments.oldest() };
            active.or_else(sealed).or_else(fetched).ok_or(trimmed)?
        };
        let erasures = inner.erasures.load(Ordering::Acquire);
        let segment = open(&inner, base)?;
        let mut reader = Self { inner, segment, next: offset, erasures };
        reader.skip(SKIP_BYTES)?;
        Ok(reader)
    }

    /// The same from a frame not far before it, of which [`SegmentLogReader::at`] says the rest.
    pub(super) fn near(inner: Arc<LogInner>, place: (u64, (u64, u64)), offset: u64) -> Result<Self, LogError> {
        let mut reader = Self::at(inner, place, offset)?;
        reader.skip(SKIP_NEAR_BYTES)?;
        Ok(reader)
    }

    /// A reader at `offset` of a segment, which begins at a frame before it: at this position, with this first record.
    pub(super) fn at(
        inner: Arc<LogInner>,
        (base, (position, expected)): (u64, (u64, u64)),
        offset: u64,
    ) -> Result<Self, LogError> {
        let erasures = inner.erasures.load(Ordering::Acquire);
        let segment = Segment { position, expected, ..open(&inner, base)? };
        Ok(Self { inner, segment, next: offset, erasures })
    }

    /// The segment that it is in, the position of the frame that it reads next, and the offset of that frame's first record.
    pub(super) const fn place(&self) -> (u64, (u64, u64)) {
        (self.segment.base, (self.segment.position, self.segment.expected))
    }

    /// The offset that the next chunk starts at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Walks the frames of the segment until the one that holds the next record.
    fn skip(&mut self, bytes: usize) -> Result<(), LogError> {
        let (bounds, _) = self.bounds();
        self.segment.skip(&self.inner.key, &bounds, self.next, bytes)
    }

    /// Reads up to about `bytes_max` bytes and `records_max` records of what is committed. An empty chunk means that
    /// there is nothing more for now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, bytes_max: usize, records_max: usize) -> Result<ReadChunk, LogError> {
        self.read_within(bytes_max, (bytes_max, records_max))
    }

    /// Reads on through a buffer of about so many bytes, and gives all frames that are whole in it. Nothing is read twice because the records
    /// of a frame share much: that lies in the buffer once.
    pub(super) fn read_frames(&mut self, buffer_bytes: usize) -> Result<ReadChunk, LogError> {
        self.read_within(buffer_bytes, (usize::MAX, usize::MAX))
    }

    fn read_within(&mut self, buffer_bytes: usize, most: (usize, usize)) -> Result<ReadChunk, LogError> {
        let erasures = self.inner.erasures.load(Ordering::Acquire);
        if erasures != self.erasures {
            // Everything stands where it stood, so it goes on at the same byte.
            self.segment.reopen(&self.inner.home)?;
            self.erasures = erasures;
        }
        if self.segment.is_fetched && !lock(&self.inner.segments).fetched.contains_key(&self.segment.base) {
            // What was fetched has been given up since. What comes next may have been fetched meanwhile.
            *self = Self::new(Arc::clone(&self.inner), self.next)?;
        }
        loop {
            let (bounds, next_base) = self.bounds();
            let chunk = self.segment.read_within(&self.inner.key, &bounds, self.next, (buffer_bytes, most))?;
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
            if self.segment.is_fetched {
                let segments = lock(&self.inner.segments);
                if !segments.has(base) {
                    if self.next < bounds.end {
                        // Numbers that were never given are the last of it.
                        self.next = bounds.end;
                        return Ok(ReadChunk { next: self.next, ..ReadChunk::default() });
                    }
                    return Err(LogError::Trimmed { wanted: base, oldest: segments.oldest() });
                }
            }
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
        if self.segment.is_fetched {
            let fetched = segments.fetched.get(&base);
            return fetched.map_or((nothing, Some(base)), |fetched| (fetched.sealed, Some(fetched.next)));
        }
        // Gone: trimmed meanwhile.
        let sealed = segments.sealed.get(&base).copied().unwrap_or(nothing);
        let next = segments.sealed.range(base.saturating_add(1)..).next().map_or(segments.active, |(base, _)| *base);
        (sealed, Some(next))
    }
}

/// Opens a segment of a log; one whose file is gone is missing from end to end.
fn open(inner: &LogInner, base: u64) -> Result<Segment, LogError> {
    let (missing, is_fetched) = {
        let segments = lock(&inner.segments);
        (segments.sealed.get(&base).is_some_and(|sealed| sealed.missing), segments.is_fetched(base))
    };
    if is_fetched {
        return Segment::open_fetched(&inner.home, base);
    }
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
    /// It is none of the log any more: it was fetched from the archive.
    is_fetched: bool,
    position: u64,
    /// The offset of the first record at `position`.
    expected: u64,
    /// The running hash of the frames before `position`.
    pub(super) chain: u64,
}

impl Segment {
    pub(super) fn open(home: &Home, base: u64, missing: bool) -> Result<Self, LogError> {
        let file = if missing { None } else { Some(home.open(&file::name(base), false)?) };
        Ok(Self { base, file, is_fetched: false, position: file::DATA_AT, expected: base, chain: 0 })
    }

    fn open_fetched(home: &Home, base: u64) -> Result<Self, LogError> {
        let file = Some(home.open(&fetched::name(base), false)?);
        Ok(Self { base, file, is_fetched: true, position: file::DATA_AT, expected: base, chain: 0 })
    }

    /// Opens the file again that has its name now; keeps what it has when there is none.
    fn reopen(&mut self, home: &Home) -> Result<(), LogError> {
        let name = if self.is_fetched { fetched::name(self.base) } else { file::name(self.base) };
        if self.file.is_some()
            && let Some(file) = home.find(&name, false)?
        {
            self.file = Some(file);
        }
        Ok(())
    }

    /// Moves over frames that hold nothing from `offset` on, as long as nothing is damaged. `want` bytes are read at once.
    fn skip(&mut self, key: &LogKey, bounds: &SealedSegments, offset: u64, mut want: usize) -> Result<(), LogError> {
        while self.position < bounds.bytes && self.expected < offset {
            let (buffer, last) = self.fill(bounds, want)?;
            let scan = self.scan(key, bounds, &buffer, last);
            let (mut at, mut expected, mut chain, mut is_there) = (0, self.expected, self.chain, false);
            loop {
                match scan.step(at, expected) {
                    ScanStep::Group(group) if group.next <= offset => {
                        at += group.frame_bytes();
                        (expected, chain) = (group.next, frame::chain(chain, group.check));
                    }
                    // It holds the record.
                    ScanStep::Group(_) => {
                        is_there = true;
                        break;
                    }
                    ScanStep::Mark => at += MARK_BYTES,
                    ScanStep::Damage { to, next } if next <= offset && to < buffer.len() => (at, expected) = (to, next),
                    _ => break,
                }
            }
            if at == 0 && !is_there && want < SKIP_BYTES {
                want = SKIP_BYTES;
                continue;
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
        self.read_within(key, bounds, next, (bytes_max, (bytes_max, records_max)))
    }

    /// The same through a buffer of so many bytes.
    fn read_within(
        &mut self,
        key: &LogKey,
        bounds: &SealedSegments,
        next: u64,
        (buffer_bytes, (bytes_max, records_max)): (usize, (usize, usize)),
    ) -> Result<Option<ReadChunk>, LogError> {
        let (mut want, records_max) = (buffer_bytes.max(HEADER_BYTES), records_max.max(1));
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

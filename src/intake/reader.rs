//! Reading by offset: one `pread` fills a buffer, records are slices of it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::Bytes;

use super::frame::{HEADER_BYTES, Header};
use super::recover::{next_valid, valid_at};
use super::{Error, Inner, lock, segment};

/// A place in the log. Reads no further than what is committed.
pub struct Reader {
    inner: Arc<Inner>,
    /// The segment being read: its first offset and its file.
    base: u64,
    file: File,
    position: u64,
    next: u64,
}

/// Records read at once, in order.
#[derive(Debug, Default)]
pub struct Chunk {
    /// Offset and payload of each.
    pub records: Vec<(u64, Bytes)>,
    /// Stretches that could not be read, in order, each before the record that follows it.
    pub damage: Vec<Damage>,
    /// The offset behind everything in this chunk; read on from here.
    pub next: u64,
}

/// A stretch of a segment that holds no valid record although one was written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Damage {
    /// Offsets that are missing: first, and one behind the last.
    pub missing: std::ops::Range<u64>,
    /// First offset of the segment.
    pub segment: u64,
    /// Byte position in its file.
    pub position: u64,
    /// What lies there.
    pub bytes: Bytes,
}

impl Reader {
    pub(super) fn new(inner: Arc<Inner>, offset: u64) -> Result<Self, Error> {
        let base = {
            let segments = lock(&inner.segments);
            let active = (segments.active <= offset).then_some(segments.active);
            let sealed = || segments.sealed.range(..=offset).next_back().map(|(base, _)| *base);
            let oldest = segments.sealed.keys().next().copied().unwrap_or(segments.active);
            active.or_else(sealed).ok_or(Error::Trimmed { wanted: offset, oldest })?
        };
        let (file, _) = segment::open(&inner.dir, base, false)?;
        let mut reader = Self { inner, base, file, position: segment::HEADER_BYTES, next: base };
        reader.skip_to(offset)?;
        Ok(reader)
    }

    /// The offset that the next chunk starts at.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.next
    }

    /// Walks the headers of the segment until the record `offset`.
    fn skip_to(&mut self, offset: u64) -> Result<(), Error> {
        while self.next < offset {
            let chunk = self.read(4 << 20, usize::MAX)?;
            if chunk.next == self.next && chunk.records.is_empty() && chunk.damage.is_empty() {
                // Nothing there yet: offsets were skipped at a restart, or the tail is reached.
                self.next = offset;
                break;
            }
            if let Some(at) = chunk.records.iter().position(|(o, _)| *o >= offset) {
                let behind: usize = chunk.records[at..].iter().map(|(_, payload)| HEADER_BYTES + payload.len()).sum();
                self.position -= behind as u64;
                self.next = offset;
                break;
            }
        }
        Ok(())
    }

    /// Reads up to about `bytes_max` bytes and `records_max` records of what is committed. An empty chunk means that
    /// there is nothing more for now.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn read(&mut self, bytes_max: usize, records_max: usize) -> Result<Chunk, Error> {
        loop {
            let (end, next_base) = self.bounds();
            if self.position < end {
                return self.read_segment(end, next_base, bytes_max, records_max);
            }
            let Some(base) = next_base else {
                return Ok(Chunk { next: self.next, ..Chunk::default() });
            };
            let (file, _) = segment::open(&self.inner.dir, base, false)?;
            (self.file, self.base, self.position) = (file, base, segment::HEADER_BYTES);
        }
    }

    /// Durable bytes of this segment, and the segment after it.
    fn bounds(&self) -> (u64, Option<u64>) {
        let segments = lock(&self.inner.segments);
        if self.base == segments.active {
            return (segments.active_bytes, None);
        }
        let bytes = segments.sealed.get(&self.base).map_or(self.position, |sealed| sealed.bytes);
        let next = segments.sealed.range(self.base + 1..).next().map_or(segments.active, |(base, _)| *base);
        (bytes, Some(next))
    }

    fn read_segment(
        &mut self,
        end: u64,
        next_base: Option<u64>,
        bytes_max: usize,
        records_max: usize,
    ) -> Result<Chunk, Error> {
        let mut want = usize::try_from(end - self.position).unwrap_or(usize::MAX).min(bytes_max.max(HEADER_BYTES));
        loop {
            let buffer = self.pread(want)?;
            let last = self.position + want as u64 == end;
            let (chunk, used) = self.frames(&buffer, records_max, last, next_base);
            if used > 0 {
                self.position += used as u64;
                self.next = chunk.next;
                return Ok(chunk);
            }
            // One record, or one damaged stretch, is larger than the buffer.
            want = want.saturating_mul(4).min(usize::try_from(end - self.position).unwrap_or(usize::MAX));
        }
    }

    fn pread(&self, bytes: usize) -> Result<Bytes, Error> {
        let mut buffer = vec![0; bytes];
        let path = || segment::path(&self.inner.dir, self.base);
        self.file.read_exact_at(&mut buffer, self.position).map_err(|cause| Error::Io {
            action: "could not read",
            path: path(),
            cause,
        })?;
        Ok(buffer.into())
    }

    /// Cuts a buffer into records. `last`: the buffer reaches the end of what is durable. Answers the bytes used.
    fn frames(&self, buffer: &Bytes, records_max: usize, last: bool, next_base: Option<u64>) -> (Chunk, usize) {
        let mut chunk = Chunk { next: self.next, ..Chunk::default() };
        let mut at = 0;
        while at < buffer.len() && chunk.records.len() < records_max {
            if let Some(header) = valid_at(buffer, at).filter(|header| header.offset >= chunk.next) {
                // A gap without damage is a restart that skipped numbers.
                let payload = buffer.slice(at + HEADER_BYTES..at + header.frame_bytes());
                chunk.records.push((header.offset, payload));
                chunk.next = header.offset + 1;
                at += header.frame_bytes();
                continue;
            }
            let cut_off = !last && Header::read(&buffer[at..]).is_some_and(|h| at + h.frame_bytes() > buffer.len());
            let short = !last && buffer.len() - at < HEADER_BYTES;
            if cut_off || short {
                break;
            }
            let (found, missing_to) = match next_valid(buffer, at + 1, chunk.next) {
                Some(found) => (found, Header::read(&buffer[found..]).map_or(chunk.next, |h| h.offset)),
                None if !last => break,
                None => {
                    let end = next_base.unwrap_or_else(|| *self.inner.committed.borrow());
                    (buffer.len(), end.max(chunk.next))
                }
            };
            chunk.damage.push(Damage {
                missing: chunk.next..missing_to,
                segment: self.base,
                position: self.position + at as u64,
                bytes: buffer.slice(at..found),
            });
            chunk.next = missing_to;
            at = found;
        }
        (chunk, at)
    }
}

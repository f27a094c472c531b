//! Writing a run: marks in order of their hashes, under another name until all of it is on disk.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use super::{
    BUCKET_MARKS, HEADER_BYTES, MAGIC, MARK_BYTES, MarkBucket, MarkRun, RunHead, TIME_MAX, bucket_of, name_of,
};
use crate::DedupError;
use crate::filter::Filter;
use crate::format;
use crate::mark::IdMark;

/// Unwritten bytes that are kept together.
const BUFFER_BYTES: usize = 256 << 10;

pub(crate) struct RunWriter {
    dir: PathBuf,
    path: PathBuf,
    out: BufWriter<File>,
    head: RunHead,
    count: u64,
    newest_us: i64,
    bucket_bits: u32,
    buckets: Vec<MarkBucket>,
    /// Of the bucket that is being filled.
    marks: Vec<u8>,
    filter: Filter,
    last: Option<u128>,
}

impl RunWriter {
    /// Begins a run of at most `count_max` marks in `dir`.
    pub(crate) fn create(dir: &Path, head: RunHead, count_max: u64) -> Result<Self, DedupError> {
        let path = dir.join(format!("{}.tmp", name_of(&head.range)));
        let file = format::create(&path).map_err(DedupError::io("could not create", &path))?;
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, file);
        out.write_all(&[0; HEADER_BYTES]).map_err(DedupError::io("could not write", &path))?;
        let bucket_bits = (count_max / BUCKET_MARKS).max(1).ilog2();
        Ok(Self {
            dir: dir.to_owned(),
            path,
            out,
            newest_us: head.base_us,
            head,
            count: 0,
            bucket_bits,
            buckets: Vec::with_capacity(1 << bucket_bits),
            marks: Vec::new(),
            filter: Filter::for_ids(count_max),
            last: None,
        })
    }

    /// Adds a mark; they come in order of their hashes, none twice.
    pub(crate) fn push(&mut self, mark: IdMark) -> Result<(), DedupError> {
        debug_assert!(self.last < Some(mark.hash), "marks come in order");
        self.last = Some(mark.hash);
        let bucket = bucket_of(mark.hash, self.bucket_bits);
        while self.buckets.len() < bucket {
            self.end_bucket()?;
        }
        let time = mark.received_at_us.saturating_sub(self.head.base_us).clamp(0, TIME_MAX);
        self.marks.extend_from_slice(&mark.hash.to_be_bytes());
        self.marks.extend_from_slice(&time.to_le_bytes()[..6]);
        self.filter.add(mark.hash);
        self.count += 1;
        self.newest_us = self.newest_us.max(mark.received_at_us);
        Ok(())
    }

    fn end_bucket(&mut self) -> Result<(), DedupError> {
        let before = self.buckets.last().map_or(0, |bucket| bucket.end);
        let marks = u32::try_from(self.marks.len() / MARK_BYTES).unwrap_or(u32::MAX);
        self.buckets.push(MarkBucket { end: before.saturating_add(marks), sum: crc32c::crc32c(&self.marks) });
        self.out.write_all(&self.marks).map_err(DedupError::io("could not write", &self.path))?;
        self.marks.clear();
        Ok(())
    }

    /// Ends the run: it is on disk under its name, whole.
    pub(crate) fn finish(mut self) -> Result<MarkRun, DedupError> {
        while self.buckets.len() < 1 << self.bucket_bits {
            self.end_bucket()?;
        }
        let path = self.dir.join(name_of(&self.head.range));
        self.write_rest().map_err(DedupError::io("could not write", &self.path))?;
        std::fs::rename(&self.path, &path).map_err(DedupError::io("could not rename", &self.path))?;
        sync_dir(&self.dir)?;
        let file = File::open(&path).map_err(DedupError::io("could not open", &path))?;
        let Self { head, count, newest_us, bucket_bits, buckets, filter, .. } = self;
        Ok(MarkRun { path, file, head, count, newest_us, bucket_bits, buckets, filter })
    }

    fn write_rest(&mut self) -> std::io::Result<()> {
        let mut sum = 0;
        for bucket in &self.buckets {
            let bytes = bucket.bytes();
            sum = crc32c::crc32c_append(sum, &bytes);
            self.out.write_all(&bytes)?;
        }
        for block in self.filter.bytes() {
            sum = crc32c::crc32c_append(sum, &block);
            self.out.write_all(&block)?;
        }
        self.out.write_all(&sum.to_le_bytes())?;
        self.out.flush()?;
        fail::fail_point!("dedup_run_write", |_| Err(std::io::Error::from(std::io::ErrorKind::StorageFull)));
        let file = self.out.get_ref();
        file.write_all_at(&self.header(), 0)?;
        file.sync_all()
    }

    fn header(&self) -> [u8; HEADER_BYTES] {
        let mut header = [0; HEADER_BYTES];
        header[..16].copy_from_slice(&format::preamble(MAGIC));
        let RunHead { range, level, base_us, key_check } = &self.head;
        let longs =
            [range.start, range.end, self.count, base_us.cast_unsigned(), self.newest_us.cast_unsigned(), *key_check];
        for (to, long) in header[16..64].chunks_exact_mut(8).zip(longs) {
            to.copy_from_slice(&long.to_le_bytes());
        }
        let blocks = u32::try_from(self.filter.blocks()).unwrap_or(u32::MAX);
        for (to, short) in header[64..76].chunks_exact_mut(4).zip([*level, self.bucket_bits, blocks]) {
            to.copy_from_slice(&short.to_le_bytes());
        }
        let sum = crc32c::crc32c(&header[..HEADER_BYTES - 4]);
        header[HEADER_BYTES - 4..].copy_from_slice(&sum.to_le_bytes());
        header
    }
}

/// Makes names in `dir` durable.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), DedupError> {
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(DedupError::io("could not sync", dir))
}

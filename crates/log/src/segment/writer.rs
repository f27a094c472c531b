//! The one thread that writes: takes everything that waits, numbers it, writes it, syncs once, marks it, answers all.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use tidegate_process::clock;

use super::file::{self, Header, PreviousSegment};
use super::frame::{MARK_BYTES, mark};
use super::storage::{FileHandle, Home, StorageFailure};
use super::{Append, AppendError, FrameEnd, LogError, LogInner, SealedSegments, Tail, lock, manifest};

/// Bytes written under one sync. A larger group would only make its members wait longer.
pub(super) const GROUP_BYTES_MAX: usize = 8 << 20;

/// The part of the log that writes; [`LogWriter::run`] it on a thread of its own.
pub struct LogWriter {
    inner: Arc<LogInner>,
    tail: Tail,
    /// The thread that writes the next segment's file.
    preparing: Option<JoinHandle<Option<Ahead>>>,
    ahead: Option<Ahead>,
    /// The segment being written is not in the manifest yet.
    manifest_due: bool,
    /// On a thread of its own, with another beside it for what is made ahead.
    threaded: bool,
    group: Vec<Append>,
    staging: Vec<u8>,
}

/// What the next roll needs, open ahead of it: it takes no new file descriptor.
struct Ahead {
    spare: FileHandle,
    manifest: FileHandle,
}

impl Ahead {
    fn prepare(home: &Home, segment_bytes: u64) -> Result<Self, LogError> {
        Ok(Self { spare: file::prepare(home, segment_bytes)?, manifest: home.create(manifest::AHEAD)? })
    }
}

impl LogWriter {
    pub(super) fn new(inner: Arc<LogInner>, tail: Tail) -> Self {
        let (group, staging) = (Vec::new(), Vec::with_capacity(1 << 20));
        Self { inner, tail, preparing: None, ahead: None, manifest_due: false, threaded: false, group, staging }
    }

    /// Starts the thread. It ends after [`super::SegmentLog::close`], or when the disk fails.
    ///
    /// # Errors
    /// The operating system refused a thread.
    pub fn run(mut self) -> io::Result<JoinHandle<()>> {
        self.threaded = true;
        thread::Builder::new().name("intake".into()).spawn(move || {
            self.prepare_next();
            while self.wait() {
                self.step();
            }
            self.refuse_rest();
            if let Some(preparing) = self.preparing.take() {
                let _ = preparing.join();
            }
        })
    }

    /// Waits for appends, or for somebody who wants a segment sealed; false when the log is closed and nothing waits, or poisoned.
    fn wait(&self) -> bool {
        let mut pending = lock(&self.inner.pending);
        while pending.lanes.is_empty() && pending.seals.is_empty() && !pending.closed {
            pending = self.inner.arrived.wait(pending).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        let is_idle = pending.lanes.is_empty() && pending.seals.is_empty();
        !is_idle && !self.inner.poisoned.load(Ordering::Acquire)
    }

    /// Writes what waits, as much as goes under one sync, and answers.
    pub(super) fn step(&mut self) {
        let mut group = std::mem::take(&mut self.group);
        let seals = {
            let mut pending = lock(&self.inner.pending);
            pending.lanes.take(&mut group, GROUP_BYTES_MAX);
            std::mem::take(&mut pending.seals)
        };
        if !group.is_empty() || seals.is_empty() {
            self.commit(&mut group);
        }
        self.group = group;
        if !seals.is_empty() {
            let sealed = self.seal();
            for reply in seals {
                let _ = reply.send(sealed);
            }
        }
    }

    /// Seals the segment being written, if it holds a record; answers the offset that everything sealed is below.
    fn seal(&mut self) -> Result<u64, AppendError> {
        if self.inner.poisoned.load(Ordering::Acquire) {
            return Err(AppendError::Poisoned);
        }
        if self.tail.end.next > self.tail.end.base {
            self.roll().map_err(|error| self.refuse("could not start a new segment", &error))?;
        }
        Ok(self.tail.end.base)
    }

    fn commit(&mut self, group: &mut Vec<Append>) {
        let bytes: usize = group.iter().map(|append| append.frames.bytes()).sum();
        let outcome = self.write(group, bytes);
        self.inner.pending_bytes.fetch_sub(bytes, Ordering::AcqRel);
        match outcome {
            Ok(mut offset) => {
                for append in group.drain(..) {
                    let count = append.frames.count();
                    // A client that has gone away does not unmake what is on disk.
                    let _ = append.reply.send(Ok(offset));
                    offset += count;
                }
            }
            Err(refusal) => {
                for append in group.drain(..) {
                    let _ = append.reply.send(Err(refusal));
                }
            }
        }
    }

    /// Writes and syncs a group; answers the offset of its first record.
    fn write(&mut self, group: &[Append], bytes: usize) -> Result<u64, AppendError> {
        if self.inner.poisoned.load(Ordering::Acquire) {
            return Err(AppendError::Poisoned);
        }
        let written = self.tail.end.position - file::DATA_AT;
        let room = self.inner.settings.segment_bytes.saturating_sub(written);
        // A segment without a record is never full: the one behind it would have its name.
        let holds_records = self.tail.end.next > self.tail.end.base;
        if (bytes + MARK_BYTES) as u64 > room && holds_records {
            self.roll().map_err(|error| self.refuse("could not start a new segment", &error))?;
        }
        if self.manifest_due {
            self.write_manifest().map_err(|error| self.refuse("could not write its manifest", &error))?;
        }
        self.staging.clear();
        let first = self.tail.end.next;
        let mut end = self.tail.end;
        for append in group {
            append.frames.number_into(&self.inner.key, &mut end, &mut self.staging);
        }
        write(&self.tail, &self.staging).map_err(|error| self.refuse("could not be written", &error))?;
        if let Err(error) = sync(&self.tail) {
            tracing::error!(error = %error, "fdatasync failed; the intake log takes nothing more");
            return Err(self.poison());
        }
        self.mark(&mut end)?;
        self.tail.end = end;
        {
            let mut segments = lock(&self.inner.segments);
            (segments.active_bytes, segments.active_end) = (end.position, end.next);
        }
        self.inner.bytes_appended.fetch_add(bytes as u64, Ordering::Relaxed);
        self.inner.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.committed.send_replace(end.next);
        if self.staging.capacity() > GROUP_BYTES_MAX {
            self.staging.shrink_to(GROUP_BYTES_MAX);
        }
        Ok(first)
    }

    /// Says on disk that everything up to here is durable, before anybody is answered. The mark itself is synced with
    /// the next group: a power cut may lose it, the end of the process does not.
    fn mark(&self, end: &mut FrameEnd) -> Result<(), AppendError> {
        match self.tail.file.write_all(&mark(&self.inner.key, end), end.position) {
            Ok(()) => {
                end.position += MARK_BYTES as u64;
                Ok(())
            }
            // The records are on disk and their space is taken; the next group's mark will do for both.
            Err(error) if StorageFailure::of(&error) != StorageFailure::Disk => {
                tracing::warn!(error = %error, "a commit mark of the intake log could not be written; the next one covers it");
                Ok(())
            }
            Err(error) => Err(self.refuse("could not be marked", &error)),
        }
    }

    /// Seals the segment at its tail and starts the next. A failure leaves everything as it was.
    fn roll(&mut self) -> Result<(), LogError> {
        self.make_ahead()?;
        let now_us = clock::now_us();
        let inner = &self.inner;
        let Some(ahead) = &self.ahead else { return Ok(()) };
        // Its last mark, too: nothing that was answered for may look like a torn write.
        self.tail.file.sync_data()?;
        let FrameEnd { base, position, next, chain } = self.tail.end;
        let before = PreviousSegment { base, end: next, bytes: position, chain };
        let header = Header { base: next, created_us: now_us, room: ahead.spare.len()?, before: Some(before) };
        file::create(&inner.home, &inner.key, &header, &ahead.spare)?;
        let Some(Ahead { spare, manifest }) = self.ahead.take() else { return Ok(()) };
        let new = Tail { file: spare, end: FrameEnd { base: next, position: file::DATA_AT, next, chain: 0 } };
        let old = std::mem::replace(&mut self.tail, new);
        {
            let mut segments = lock(&inner.segments);
            let sealed = SealedSegments { bytes: position, end: next, chain, sealed_at_us: now_us, missing: false };
            segments.sealed.insert(base, sealed);
            (segments.active, segments.active_bytes, segments.active_end) = (next, file::DATA_AT, next);
        }
        self.manifest_due = true;
        // The zeros behind the tail are of no use any more; how long the segment is stands in the next one's header.
        if let Err(error) = old.file.set_len(position) {
            tracing::warn!(error = %error, "a sealed segment of the intake log could not be cut");
        }
        drop(old);
        self.put_manifest(Some(&manifest))?;
        self.prepare_next();
        Ok(())
    }

    /// Names the segment being written in the manifest, after the roll could not: were it lost, its absence would be
    /// known.
    fn write_manifest(&mut self) -> Result<(), LogError> {
        self.put_manifest(None)?;
        if self.ahead.is_none() && self.preparing.is_none() {
            self.prepare_next();
        }
        Ok(())
    }

    /// Writes the manifest, into a file that is open already or a new one.
    fn put_manifest(&mut self, ahead: Option<&FileHandle>) -> Result<(), LogError> {
        let inner = &self.inner;
        let _manifest = lock(&inner.manifest);
        let bytes = lock(&inner.segments).manifest().encode(&inner.key);
        match ahead {
            Some(file) => inner.home.put(manifest::NAME, manifest::AHEAD, file, &bytes)?,
            None => inner.home.replace(manifest::NAME, manifest::SPARE, &bytes)?,
        }
        self.manifest_due = false;
        Ok(())
    }

    /// Has what the next roll needs made by another thread. When that fails the roll tries again and says why.
    fn prepare_next(&mut self) {
        if !self.threaded {
            return;
        }
        let home = self.inner.home.clone();
        let bytes = self.inner.settings.segment_bytes;
        let prepare = move || match Ahead::prepare(&home, bytes) {
            Ok(ahead) => Some(ahead),
            Err(error) => {
                tracing::warn!(error = %error, "the next segment of the intake log could not be preallocated");
                None
            }
        };
        self.preparing = thread::Builder::new().name("intake-prepare".into()).spawn(prepare).ok();
    }

    /// What the next roll needs, made now when it is not there yet.
    pub(super) fn make_ahead(&mut self) -> Result<(), LogError> {
        // Two threads on one spare file would be zeros over a live segment.
        if let Some(preparing) = self.preparing.take() {
            self.ahead = preparing.join().ok().flatten().or_else(|| self.ahead.take());
        }
        if self.ahead.is_none() {
            self.ahead = Some(Ahead::prepare(&self.inner.home, self.inner.settings.segment_bytes)?);
        }
        Ok(())
    }

    fn refuse(&self, action: &str, error: &LogError) -> AppendError {
        if self.inner.poisoned.load(Ordering::Acquire) {
            return AppendError::Poisoned;
        }
        tracing::error!(error = %Chain(error), "the intake log {action}; nothing of this group was accepted");
        match StorageFailure::of(error) {
            StorageFailure::Full => AppendError::DiskFull,
            StorageFailure::Busy => AppendError::Overloaded,
            StorageFailure::Disk => self.poison(),
        }
    }

    fn poison(&self) -> AppendError {
        self.inner.poisoned.store(true, Ordering::Release);
        // Wakes everyone who follows the log, so that the server can stop.
        self.inner.committed.send_modify(|_| {});
        AppendError::Poisoned
    }

    fn refuse_rest(&self) {
        let mut pending = lock(&self.inner.pending);
        pending.closed = true;
        let refusal =
            if self.inner.poisoned.load(Ordering::Acquire) { AppendError::Poisoned } else { AppendError::Closed };
        for append in pending.lanes.drain() {
            let _ = append.reply.send(Err(refusal));
        }
        for reply in pending.seals.drain(..) {
            let _ = reply.send(Err(refusal));
        }
    }
}

/// An error with its cause, for a log line.
struct Chain<'a>(&'a LogError);

impl std::fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)?;
        std::error::Error::source(self.0).map_or(Ok(()), |cause| write!(f, ": {cause}"))
    }
}

fn write(tail: &Tail, bytes: &[u8]) -> Result<(), LogError> {
    fail::fail_point!("intake_write_torn", |_| {
        let _ = tail.file.write_all(&bytes[..bytes.len() / 2], tail.end.position);
        std::process::abort();
    });
    fail::fail_point!("intake_write", |_| {
        Err(LogError::io("could not write", "a fail point".as_ref())(io::Error::from_raw_os_error(28)))
    });
    tail.file.write_all(bytes, tail.end.position)
}

fn sync(tail: &Tail) -> Result<(), LogError> {
    fail::fail_point!("intake_sync", |_| {
        Err(LogError::io("could not sync", "a fail point".as_ref())(io::Error::from_raw_os_error(5)))
    });
    tail.file.sync_data()
}

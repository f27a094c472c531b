//! The one thread that writes: takes everything that waits, numbers it, writes it, syncs once, answers all.

use std::io;
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};

use super::{Append, AppendError, Error, Sealed, Writer, lock, segment};
use crate::clock;

/// Bytes written under one sync. A larger group would only make its members wait longer.
const GROUP_BYTES_MAX: usize = 8 << 20;

impl Writer {
    /// Starts the thread. It ends after [`super::Log::close`], or when the disk fails.
    ///
    /// # Errors
    /// The operating system refused a thread.
    pub fn run(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("intake".into()).spawn(move || {
            self.prepare_next();
            let mut staging = Vec::with_capacity(1 << 20);
            let mut group = Vec::new();
            while self.take(&mut group) {
                self.commit(&mut group, &mut staging);
            }
            self.refuse_rest();
            if let Some(preparing) = self.preparing.take() {
                let _ = preparing.join();
            }
        })
    }

    /// Waits for appends; false when the log is closed and nothing waits, or poisoned.
    fn take(&self, group: &mut Vec<Append>) -> bool {
        let mut pending = lock(&self.inner.pending);
        while pending.lanes.is_empty() && !pending.closed {
            pending = self.inner.arrived.wait(pending).unwrap_or_else(std::sync::PoisonError::into_inner);
        }
        pending.lanes.take(group, GROUP_BYTES_MAX);
        !group.is_empty() && !self.inner.poisoned.load(Ordering::Acquire)
    }

    fn commit(&mut self, group: &mut Vec<Append>, staging: &mut Vec<u8>) {
        let bytes: usize = group.iter().map(|append| append.frames.bytes()).sum();
        let outcome = self.write(group, bytes, staging);
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
    fn write(&mut self, group: &[Append], bytes: usize, staging: &mut Vec<u8>) -> Result<u64, AppendError> {
        let room = self.inner.settings.segment_bytes.saturating_sub(self.tail.position);
        if bytes as u64 > room && self.tail.position > segment::HEADER_BYTES {
            self.roll().map_err(|error| self.refuse(&error))?;
        }
        staging.clear();
        let first = self.tail.next;
        let mut next = first;
        for append in group {
            append.frames.number_into(next, staging);
            next += append.frames.count();
        }
        let tail = &mut self.tail;
        if let Err(error) = write_at(tail, staging) {
            tracing::error!(error = %error, "the intake log could not be written; nothing of this group was accepted");
            return Err(if is_full(&error) { AppendError::DiskFull } else { self.poison() });
        }
        if let Err(error) = sync(tail) {
            tracing::error!(error = %error, "fdatasync failed; the intake log takes nothing more");
            return Err(self.poison());
        }
        tail.position += staging.len() as u64;
        tail.next = next;
        lock(&self.inner.segments).active_bytes = tail.position;
        self.inner.bytes_appended.fetch_add(bytes as u64, Ordering::Relaxed);
        self.inner.syncs.fetch_add(1, Ordering::Relaxed);
        self.inner.committed.send_replace(next);
        if staging.capacity() > GROUP_BYTES_MAX {
            staging.shrink_to(GROUP_BYTES_MAX);
        }
        Ok(first)
    }

    /// Seals the segment at its tail and starts the next.
    fn roll(&mut self) -> Result<(), Error> {
        // Two threads on one spare file would be zeros over a live segment.
        if let Some(preparing) = self.preparing.take() {
            let _ = preparing.join();
        }
        let now_us = clock::now_us();
        let dir = &self.inner.dir;
        let file = segment::create(dir, self.tail.next, now_us, self.inner.settings.segment_bytes)?;
        let old = segment::path(dir, self.tail.base);
        // The zeros behind the tail are of no use any more.
        self.tail.file.set_len(self.tail.position).map_err(Error::io("could not cut", &old))?;
        self.tail.file.sync_all().map_err(Error::io("could not sync", &old))?;
        let mut segments = lock(&self.inner.segments);
        segments.sealed.insert(self.tail.base, Sealed { bytes: self.tail.position, sealed_at_us: now_us });
        segments.active = self.tail.next;
        segments.active_bytes = segment::HEADER_BYTES;
        drop(segments);
        self.tail.file = file;
        self.tail.base = self.tail.next;
        self.tail.position = segment::HEADER_BYTES;
        self.prepare_next();
        Ok(())
    }

    /// Has the next segment's file written by another thread. When that fails the roll tries again and says why.
    fn prepare_next(&mut self) {
        let dir = self.inner.dir.clone();
        let bytes = self.inner.settings.segment_bytes;
        let prepare = move || {
            if let Err(error) = segment::prepare(&dir, bytes) {
                tracing::warn!(error = %error, "the next segment of the intake log could not be preallocated");
            }
        };
        self.preparing = thread::Builder::new().name("intake-prepare".into()).spawn(prepare).ok();
    }

    fn refuse(&self, error: &Error) -> AppendError {
        tracing::error!(error = %error, "the intake log could not start a new segment");
        match error {
            Error::Io { cause, .. } if is_full(cause) => AppendError::DiskFull,
            _ => self.poison(),
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
    }
}

fn write_at(tail: &super::Tail, bytes: &[u8]) -> io::Result<()> {
    fail::fail_point!("intake_write_torn", |_| {
        let _ = tail.file.write_all_at(&bytes[..bytes.len() / 2], tail.position);
        std::process::abort();
    });
    fail::fail_point!("intake_write", |_| Err(io::Error::from_raw_os_error(28)));
    tail.file.write_all_at(bytes, tail.position)
}

fn sync(tail: &super::Tail) -> io::Result<()> {
    fail::fail_point!("intake_sync", |_| Err(io::Error::from_raw_os_error(5)));
    tail.file.sync_data()
}

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

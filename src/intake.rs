//! The intake log: records appended once, durable before anyone is told so, read by offset.
//!
//! Nouns: a **record** (bytes with a number, its **offset**), a **segment** (a preallocated file of records), the
//! **tail** (where the next record goes), the **committed** offset (everything below it is on disk).
//!
//! Guarantees:
//! * [`Log::append`] answers after `fdatasync`; everything that was waiting meanwhile shares the next one.
//! * Offsets only grow. A reader sees no record before it is durable, and sees it whole or not at all (CRC-32C).
//! * A torn tail is cut when the log opens and its bytes are kept in a file beside the segments. A damaged record
//!   with valid ones behind it is reported by the reader with its bytes and the offsets that are missing.
//! * A failed `fdatasync` poisons the log for good: the kernel may have dropped the pages, so nothing pretends.
//! * Memory is bounded: beyond `pending_bytes_max` waiting bytes an append is refused at once. Lanes (one for each source)
//!   share the disk and that room fairly: one that floods is refused before it takes the others' place.
//!
//! This room does not know what an event is.

mod frame;
mod lanes;
mod reader;
mod recover;
mod segment;
mod writer;

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

pub use frame::Frames;
pub use reader::{Chunk, Damage, Reader};
pub use recover::Recovery;

/// Sizes and bounds of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// Size of a segment file.
    pub segment_bytes: u64,
    /// Bytes that may wait for the disk before appends are refused.
    pub pending_bytes_max: usize,
    /// Segments older than this may go, once every cursor has passed them.
    pub retention_age_us: i64,
    /// Above this size segments may go early, once every cursor has passed them.
    pub retention_bytes: u64,
    /// Above this size the oldest segments go even if a cursor has not passed them; `None` never does that.
    pub hard_cap_bytes: Option<u64>,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            pending_bytes_max: 64 << 20,
            retention_age_us: 7 * 24 * 3_600_000_000,
            retention_bytes: 10 << 30,
            hard_cap_bytes: None,
        }
    }
}

/// The log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("{}: {action}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}: this is not a segment that this build can read ({reason}); move it away or use the build that wrote it", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("offset {wanted} is gone: the oldest record kept is {oldest}")]
    Trimmed { wanted: u64, oldest: u64 },
}

impl Error {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_owned(), cause }
    }
}

/// An append that was not accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AppendError {
    #[error("too many bytes wait for the disk")]
    Overloaded,
    #[error("the disk is full")]
    DiskFull,
    #[error("the log is closed")]
    Closed,
    #[error("the disk failed; the log takes nothing more until a restart")]
    Poisoned,
}

/// The offset behind the last record in `dir`, read without opening the log; 0 when there is none.
///
/// # Errors
/// The directory or its last segment cannot be read.
pub fn end(dir: &Path) -> Result<u64, Error> {
    recover::end(dir)
}

/// A handle on the log; clones share it.
#[derive(Clone)]
pub struct Log {
    inner: Arc<Inner>,
}

struct Inner {
    dir: PathBuf,
    settings: Settings,
    pending: Mutex<Pending>,
    arrived: Condvar,
    pending_bytes: AtomicUsize,
    poisoned: AtomicBool,
    /// Records below this offset are durable.
    committed: watch::Sender<u64>,
    segments: Mutex<Segments>,
    bytes_appended: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Default)]
struct Pending {
    lanes: lanes::Lanes,
    closed: bool,
}

struct Append {
    frames: Frames,
    reply: oneshot::Sender<Result<u64, AppendError>>,
}

/// What is on disk. Updated by the writer once a commit, read by readers once a chunk.
struct Segments {
    /// Sealed segments: first offset to size in bytes.
    sealed: BTreeMap<u64, Sealed>,
    /// First offset of the segment being written.
    active: u64,
    /// Its durable bytes.
    active_bytes: u64,
}

#[derive(Debug, Clone, Copy)]
struct Sealed {
    bytes: u64,
    sealed_at_us: i64,
}

impl Log {
    /// Opens the log in `dir` and mends its tail; spawns nothing. No record will get an offset below `floor`: pass
    /// the highest offset that any reader remembers, so that a lost tail cannot make numbers come twice.
    ///
    /// # Errors
    /// The directory or a segment cannot be read, or was written by another format.
    pub fn open(dir: &Path, settings: Settings, floor: u64, now_us: i64) -> Result<(Self, Writer, Recovery), Error> {
        let (tail, recovery) = recover::open(dir, floor, now_us, settings.segment_bytes)?;
        let segments = Segments { sealed: recovery.sealed.clone(), active: tail.base, active_bytes: tail.position };
        let inner = Arc::new(Inner {
            dir: dir.to_owned(),
            settings,
            pending: Mutex::default(),
            arrived: Condvar::new(),
            pending_bytes: AtomicUsize::new(0),
            poisoned: AtomicBool::new(false),
            committed: watch::Sender::new(tail.next),
            segments: Mutex::new(segments),
            bytes_appended: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        });
        let log = Self { inner: Arc::clone(&inner) };
        Ok((log, Writer { inner, tail, preparing: None }, recovery))
    }

    /// Appends records and waits until they are durable; answers the offset of the first.
    ///
    /// # Errors
    /// Nothing of `frames` was accepted.
    pub async fn append(&self, frames: Frames) -> Result<u64, AppendError> {
        self.append_in_lane(0, frames).await
    }

    /// Appends records in a lane: lanes take turns, and one that floods is refused before the others are.
    ///
    /// # Errors
    /// Nothing of `frames` was accepted.
    pub async fn append_in_lane(&self, lane: u32, frames: Frames) -> Result<u64, AppendError> {
        let inner = &self.inner;
        if inner.poisoned.load(Ordering::Acquire) {
            return Err(AppendError::Poisoned);
        }
        let bytes = frames.bytes();
        let (reply, answer) = oneshot::channel();
        {
            let mut pending = lock(&inner.pending);
            if pending.closed {
                return Err(AppendError::Closed);
            }
            let waiting = inner.pending_bytes.load(Ordering::Acquire);
            if !pending.lanes.admits(lane, bytes, waiting, inner.settings.pending_bytes_max) {
                return Err(AppendError::Overloaded);
            }
            inner.pending_bytes.fetch_add(bytes, Ordering::AcqRel);
            let first = pending.lanes.is_empty();
            pending.lanes.push(lane, Append { frames, reply });
            if first {
                inner.arrived.notify_one();
            }
        }
        answer.await.unwrap_or(Err(AppendError::Closed))
    }

    /// Everything below this offset is durable.
    #[must_use]
    pub fn committed(&self) -> u64 {
        *self.inner.committed.borrow()
    }

    /// Follows [`Log::committed`].
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.inner.committed.subscribe()
    }

    /// The oldest offset that can still be read.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        let segments = lock(&self.inner.segments);
        segments.sealed.keys().next().copied().unwrap_or(segments.active)
    }

    /// Bytes on disk, sealed and active.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        let segments = lock(&self.inner.segments);
        segments.sealed.values().map(|s| s.bytes).sum::<u64>() + segments.active_bytes
    }

    /// Bytes appended and `fdatasync` calls made since the log opened.
    #[must_use]
    pub fn work(&self) -> (u64, u64) {
        (self.inner.bytes_appended.load(Ordering::Relaxed), self.inner.syncs.load(Ordering::Relaxed))
    }

    /// True after a failed `fdatasync`.
    #[must_use]
    pub fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    /// A reader that starts at `offset`.
    ///
    /// # Errors
    /// The offset was trimmed away.
    pub fn reader(&self, offset: u64) -> Result<Reader, Error> {
        Reader::new(Arc::clone(&self.inner), offset)
    }

    /// Takes no further appends; the writer finishes what waits and ends.
    pub fn close(&self) {
        lock(&self.inner.pending).closed = true;
        self.inner.arrived.notify_one();
    }

    /// Removes sealed segments that retention no longer asks for. `floor` is the slowest cursor. Answers what went,
    /// and how many records went although a cursor had not passed them (only ever under `hard_cap_bytes`).
    ///
    /// # Errors
    /// A file could not be removed.
    pub fn trim(&self, floor: u64, now_us: i64) -> Result<Trimmed, Error> {
        let settings = &self.inner.settings;
        let mut trimmed = Trimmed::default();
        loop {
            let (base, bytes) = {
                let mut segments = lock(&self.inner.segments);
                let total = segments.sealed.values().map(|s| s.bytes).sum::<u64>() + segments.active_bytes;
                let Some((&base, &sealed)) = segments.sealed.iter().next() else { break };
                let end = segments.sealed.keys().nth(1).copied().unwrap_or(segments.active);
                let passed = end <= floor;
                let due = now_us - sealed.sealed_at_us > settings.retention_age_us || total > settings.retention_bytes;
                let forced = settings.hard_cap_bytes.is_some_and(|cap| total > cap);
                if !(passed && due || forced) {
                    break;
                }
                if !passed {
                    trimmed.records_lost += end - floor.max(base);
                }
                segments.sealed.remove(&base);
                (base, sealed.bytes)
            };
            let path = segment::path(&self.inner.dir, base);
            std::fs::remove_file(&path).map_err(Error::io("could not remove an old segment", &path))?;
            trimmed.segments += 1;
            trimmed.bytes += bytes;
        }
        Ok(trimmed)
    }
}

/// What [`Log::trim`] removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    pub segments: u64,
    pub bytes: u64,
    /// Records removed before the slowest cursor had passed them.
    pub records_lost: u64,
}

/// The part of the log that writes; [`Writer::run`] it on a thread of its own.
pub struct Writer {
    inner: Arc<Inner>,
    tail: Tail,
    /// The thread that writes the next segment's file.
    preparing: Option<std::thread::JoinHandle<()>>,
}

/// Where the next record goes.
struct Tail {
    file: File,
    /// First offset of the segment.
    base: u64,
    /// Byte position in its file.
    position: u64,
    /// Offset of the next record.
    next: u64,
}

/// A poisoned mutex means that a holder panicked; the data below is only counters and paths, whole after any step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

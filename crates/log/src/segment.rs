//! The log that is built in: segment files of a directory, one for each partition.
//!
//! Nouns: a **record** (bytes with a number, its **offset**), a **segment** (a preallocated file of records), the
//! **tail** (where the next record goes), the **committed** offset (everything below it is on disk).
//!
//! Guarantees:
//! * [`Log::append`](crate::Log::append) answers after `fdatasync`; everything that was waiting meanwhile shares the next one.
//! * Offsets only grow. A reader sees no record before it is durable, and sees it whole or not at all (CRC-32C).
//! * No bytes inside a record are taken for one: every frame bears a check made with a key that lies beside the log.
//! * Damage is never silent. A commit mark behind each synced group tells a torn write, which nobody was answered for,
//!   from a record that was answered for and cannot be read; the reader reports the latter with its bytes and offsets.
//!   The manifest and the chain of headers say which segments there should be; a missing one is reported like damage.
//! * A torn tail is cut when the log opens and its bytes are kept in a file beside the segments.
//! * A failed `fdatasync` poisons the log for good: the kernel may have dropped the pages, so nothing pretends. A full
//!   disk, or a process without file descriptors, refuses what waits and the log goes on.
//! * Memory is bounded: beyond `pending_bytes_max` waiting bytes an append is refused at once. Lanes (one for each source)
//!   share the disk and that room fairly: one that floods is refused before it takes the others' place.
//!
//! `docs/reliability.md` says what each kind of damage leads to.

mod archive;
mod carry;
mod ending;
mod erase;
mod fetched;
mod file;
mod first_format;
mod frame;
mod held;
mod inspect;
mod key;
mod key_index;
mod lanes;
mod look_up;
mod manifest;
mod plan;
mod preamble;
mod reader;
mod recover;
mod scan;
mod storage;
mod writer;

use std::collections::BTreeMap;
use std::io;
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use tokio::sync::{oneshot, watch};

pub use archive::{ArchivedPlaces, SealedFile};
pub use erase::ERASED_SPARE_BYTES;
use fetched::FetchedSegment;
use frame::FrameEnd;
pub use frame::Frames;
pub use held::{HeldLog, hold};
pub use inspect::{LogReport, Overview, overview, read_newest, verify};
use key::LogKey;
use key_index::KeyIndex;
pub use key_index::RecordKey;
pub use look_up::FOUND_MAX;
use manifest::LogManifest;
pub use reader::SegmentLogReader;
pub use recover::Recovery;
use storage::{Disk, FileHandle, Home};

use crate::{
    AppendError, Appending, ErasedPart, Eraser, FoundRecords, Log, LogDamage, LogEntry, LogError, LogReader, ReadChunk,
    Trimmed,
};

/// Sizes and bounds of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Room for records in a segment file.
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

impl Default for LogSettings {
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

impl LogError {
    fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |cause| Self::Io { action, path: path.to_owned(), cause }
    }
}

/// How much a finding matters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    Info,
    Warning,
    Error,
}

/// Something that an operator should know of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    pub severity: Severity,
    pub text: String,
}

impl Note {
    fn info(text: String) -> Self {
        Self { severity: Severity::Info, text }
    }

    fn warning(text: String) -> Self {
        Self { severity: Severity::Warning, text }
    }

    fn error(text: String) -> Self {
        Self { severity: Severity::Error, text }
    }
}

/// The offset behind the last record in `dir`, read without opening the log; 0 when there is none.
///
/// # Errors
/// The directory or its last segment cannot be read.
pub fn end(dir: &Path) -> Result<u64, LogError> {
    overview(dir).map(|overview| overview.end)
}

/// A handle on the log; clones share it.
#[derive(Clone)]
pub struct SegmentLog {
    inner: Arc<LogInner>,
}

struct LogInner {
    home: Home,
    key: LogKey,
    settings: LogSettings,
    pending: Mutex<PendingAppend>,
    arrived: Condvar,
    pending_bytes: AtomicUsize,
    poisoned: AtomicBool,
    /// Records below this offset are durable.
    committed: watch::Sender<u64>,
    segments: Mutex<Segments>,
    /// Held while the manifest is written.
    manifest: Mutex<()>,
    /// Held while the index of a segment is written.
    making_index: Mutex<()>,
    /// Of the segment that is being written, as far as somebody has looked.
    open_index: Mutex<KeyIndex>,
    /// Held while a segment is written anew.
    erasing: Mutex<()>,
    /// How often one was.
    erasures: AtomicU64,
    bytes_appended: AtomicU64,
    syncs: AtomicU64,
}

#[derive(Default)]
struct PendingAppend {
    lanes: lanes::Lanes,
    /// Those who wait for the segment being written to be sealed.
    seals: Vec<oneshot::Sender<Result<u64, AppendError>>>,
    closed: bool,
}

struct Append {
    frames: Frames,
    reply: oneshot::Sender<Result<u64, AppendError>>,
}

/// What is on disk. Updated by the writer once a commit, read by readers once a chunk.
struct Segments {
    /// Sealed segments by their first offset.
    sealed: BTreeMap<u64, SealedSegments>,
    /// First offset of the segment being written.
    active: u64,
    /// Its durable bytes, and the offset behind their last record.
    active_bytes: u64,
    active_end: u64,
    /// Segments that the log has given up and that were fetched from the archive.
    fetched: BTreeMap<u64, FetchedSegment>,
    /// What can be read with the help of the archive; `None` where there is none.
    archived: Option<Range<u64>>,
}

/// A segment that is written no more.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct SealedSegments {
    bytes: u64,
    /// The offset behind its last record.
    end: u64,
    /// The hash over its frames; 0 when it is not known.
    chain: u64,
    sealed_at_us: i64,
    /// Its file is gone.
    missing: bool,
}

impl Segments {
    fn manifest(&self) -> LogManifest {
        LogManifest { sealed: self.sealed.clone(), active: Some(self.active) }
    }

    fn bytes(&self) -> u64 {
        let there = self.sealed.values().filter(|sealed| !sealed.missing);
        there.map(|sealed| sealed.bytes).sum::<u64>() + self.active_bytes
    }

    fn oldest(&self) -> u64 {
        self.sealed.keys().next().copied().unwrap_or(self.active)
    }
}

impl SegmentLog {
    /// Opens the log in `dir` and mends its tail; spawns nothing. No record will get an offset below `floor`: pass
    /// the highest offset that any reader remembers, so that a lost tail cannot make numbers come twice.
    ///
    /// # Errors
    /// The directory or a segment cannot be read, or was written by another format.
    pub fn open(
        dir: &Path,
        settings: LogSettings,
        floor: u64,
        now_us: i64,
    ) -> Result<(Self, LogWriter, Recovery), LogError> {
        Self::open_in(Disk::create(dir)?, settings, floor, now_us)
    }

    fn open_in(
        home: Home,
        settings: LogSettings,
        floor: u64,
        now_us: i64,
    ) -> Result<(Self, LogWriter, Recovery), LogError> {
        let wish = recover::RecoveryWish { floor, now_us, segment_bytes: settings.segment_bytes };
        let recover::Opened { key, tail, recovery } = recover::open(&home, wish)?;
        let FrameEnd { base, position, next, .. } = tail.end;
        let segments = Segments {
            sealed: recovery.sealed.clone(),
            active: base,
            active_bytes: position,
            active_end: next,
            fetched: BTreeMap::new(),
            archived: None,
        };
        let inner = Arc::new(LogInner {
            home,
            key,
            settings,
            pending: Mutex::default(),
            arrived: Condvar::new(),
            pending_bytes: AtomicUsize::new(0),
            poisoned: AtomicBool::new(false),
            committed: watch::Sender::new(next),
            segments: Mutex::new(segments),
            manifest: Mutex::new(()),
            making_index: Mutex::new(()),
            open_index: Mutex::new(KeyIndex::new(base)),
            erasing: Mutex::new(()),
            erasures: AtomicU64::new(0),
            bytes_appended: AtomicU64::new(0),
            syncs: AtomicU64::new(0),
        });
        let log = Self { inner: Arc::clone(&inner) };
        Ok((log, LogWriter::new(inner, tail), recovery))
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

    /// The oldest offset that can still be read.
    #[must_use]
    pub fn oldest(&self) -> u64 {
        lock(&self.inner.segments).oldest()
    }

    /// Bytes on disk, sealed and active.
    #[must_use]
    pub fn size_bytes(&self) -> u64 {
        lock(&self.inner.segments).bytes()
    }

    /// Bytes appended and `fdatasync` calls made since the log opened.
    #[must_use]
    pub fn work(&self) -> (u64, u64) {
        (self.inner.bytes_appended.load(Ordering::Relaxed), self.inner.syncs.load(Ordering::Relaxed))
    }

    /// A reader that starts at `offset`.
    ///
    /// # Errors
    /// The offset was trimmed away.
    pub fn reader(&self, offset: u64) -> Result<SegmentLogReader, LogError> {
        SegmentLogReader::new(Arc::clone(&self.inner), offset)
    }

    /// Has the segment being written sealed, if it holds a record; waits for it. Answers the offset below which everything is sealed.
    ///
    /// # Errors
    /// The log takes nothing more, or no new segment can be made for now.
    pub fn seal(&self) -> Result<u64, AppendError> {
        let (reply, answer) = oneshot::channel();
        {
            let mut pending = lock(&self.inner.pending);
            if self.inner.poisoned.load(Ordering::Acquire) {
                return Err(AppendError::Poisoned);
            }
            if pending.closed {
                return Err(AppendError::Closed);
            }
            pending.seals.push(reply);
            self.inner.arrived.notify_one();
        }
        answer.blocking_recv().unwrap_or(Err(AppendError::Closed))
    }

    /// The sealed segments, oldest first.
    #[must_use]
    pub fn sealed(&self) -> Vec<Range<u64>> {
        lock(&self.inner.segments).sealed.iter().map(|(base, sealed)| *base..sealed.end).collect()
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
    pub fn trim(&self, floor: u64, now_us: i64) -> Result<Trimmed, LogError> {
        self.trim_below((floor, u64::MAX), now_us)
    }

    /// The same, and nothing from offset `to` on.
    ///
    /// # Errors
    /// A file could not be removed.
    pub fn trim_below(&self, (floor, to): (u64, u64), now_us: i64) -> Result<Trimmed, LogError> {
        // The manifest first: a file that it names and that is gone would be a loss.
        let _manifest = lock(&self.inner.manifest);
        let (gone, trimmed) = self.due((floor, to), now_us);
        if gone.is_empty() {
            return Ok(trimmed);
        }
        let manifest = {
            let mut manifest = lock(&self.inner.segments).manifest();
            manifest.sealed.retain(|base, _| !gone.contains_key(base));
            manifest
        };
        let home = &self.inner.home;
        home.replace(manifest::NAME, manifest::TRIM, &manifest.encode(&self.inner.key))?;
        lock(&self.inner.segments).sealed.retain(|base, _| !gone.contains_key(base));
        // What cannot be removed now is removed when the log opens.
        gone.keys().try_for_each(|base| home.remove(&file::name(*base)))?;
        for base in gone.keys() {
            // One that stays is removed when the next index is made.
            let _ = home.remove(&key_index::name(*base));
        }
        Ok(trimmed)
    }

    /// The oldest segments that may go, of those that end at `to` or before.
    fn due(&self, (floor, to): (u64, u64), now_us: i64) -> (BTreeMap<u64, SealedSegments>, Trimmed) {
        let settings = &self.inner.settings;
        let mut trimmed = Trimmed::default();
        let mut gone = BTreeMap::new();
        let segments = lock(&self.inner.segments);
        let mut total = segments.bytes();
        for (base, sealed) in &segments.sealed {
            let passed = sealed.end <= floor;
            let old = now_us.saturating_sub(sealed.sealed_at_us) > settings.retention_age_us;
            let due = old || total > settings.retention_bytes;
            let forced = settings.hard_cap_bytes.is_some_and(|cap| total > cap);
            let archived = segments.archived.as_ref();
            let is_archived = sealed.missing || archived.is_none_or(|archived| sealed.end <= archived.end);
            if !(passed && due && is_archived || forced) || sealed.end > to {
                break;
            }
            if !is_archived {
                let from = trimmed.unarchived.map_or(*base, |(from, _)| from);
                trimmed.unarchived = Some((from, sealed.end));
            }
            if !passed {
                trimmed.records_lost += sealed.end - floor.max(*base).min(sealed.end);
            }
            let bytes = if sealed.missing { 0 } else { sealed.bytes };
            total = total.saturating_sub(bytes);
            trimmed.segments += 1;
            trimmed.bytes += bytes;
            gone.insert(*base, *sealed);
        }
        (gone, trimmed)
    }
}

impl Log for SegmentLog {
    fn can_ever_take(&self, bytes: usize) -> bool {
        bytes <= self.inner.settings.pending_bytes_max
    }

    fn has_room(&self, lane: u32, bytes: usize) -> bool {
        let waiting = self.inner.pending_bytes.load(Ordering::Acquire);
        lock(&self.inner.pending).lanes.admits(lane, bytes, waiting, self.inner.settings.pending_bytes_max)
    }

    fn append(&self, lane: u32, frames: Frames) -> Appending<'_> {
        Box::pin(self.append_in_lane(lane, frames))
    }

    fn committed(&self) -> u64 {
        self.committed()
    }

    fn follow(&self) -> watch::Receiver<u64> {
        self.inner.committed.subscribe()
    }

    fn oldest(&self) -> u64 {
        self.oldest()
    }

    fn readable_from(&self) -> u64 {
        self.readable_from()
    }

    fn records(&self, from: u64, to: u64) -> u64 {
        to.saturating_sub(from)
    }

    fn reader(&self, offset: u64) -> Result<Box<dyn LogReader>, LogError> {
        Ok(Box::new(self.reader_near(offset)?))
    }

    fn due_to(&self, floor: u64, now_us: i64) -> u64 {
        let (gone, _) = self.due((floor, u64::MAX), now_us);
        gone.values().next_back().map_or(0, |last| last.end)
    }

    fn trim_below(&self, floor_and_to: (u64, u64), now_us: i64) -> Result<Trimmed, LogError> {
        self.trim_below(floor_and_to, now_us)
    }

    fn index_one(&self, key_of: RecordKey, is_over: &dyn Fn() -> bool) -> Result<bool, LogError> {
        self.index_one(key_of, is_over)
    }

    fn find_key(&self, key: &[u8], key_of: RecordKey, is_over: &dyn Fn() -> bool) -> Result<FoundRecords, LogError> {
        self.find_key(key, key_of, is_over)
    }

    fn seal(&self) -> Result<u64, AppendError> {
        self.seal()
    }

    fn sealed(&self) -> Vec<Range<u64>> {
        self.sealed()
    }

    fn erase(&self, first: u64, eraser: &mut dyn Eraser) -> Result<Option<ErasedPart>, LogError> {
        erase::segment(&self.inner, first, eraser)
    }

    fn erasures(&self) -> u64 {
        self.inner.erasures.load(Ordering::Acquire)
    }

    fn size_bytes(&self) -> u64 {
        self.size_bytes()
    }

    fn is_poisoned(&self) -> bool {
        self.inner.poisoned.load(Ordering::Acquire)
    }

    fn close(&self) {
        self.close();
    }
}

pub use writer::LogWriter;

/// Where the next frame goes, and the file that it goes into.
struct Tail {
    file: FileHandle,
    end: FrameEnd,
}

/// A poisoned mutex means that a holder panicked; the data below is only counters and paths, whole after any step.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

#[cfg(test)]
mod tests;

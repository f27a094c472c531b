//! The log: records appended once, durable before anyone is told so, read by offset.
//!
//! Nouns: a **record** (bytes with a number, its **offset**), a **partition** (records in one order), the **committed** offset
//! (everything below it is durable).
//!
//! [`Log`] is what one partition offers, and [`LogPartitions`] are all of them; a record goes where those of its source and
//! user go, so what is one user's stays in order. Nothing outside this crate does arithmetic on offsets, but for the methods of a
//! position, or takes them for dense. [`segment`] is the log that is built in: files of a directory. `suite.rs` is what each provider must pass.
//!
//! A record is found by a key that the caller reads of it ([`Log::find_key`]), such as an id.
//!
//! This room does not know what an event is. `docs/reliability.md` says what each kind of damage leads to.

mod partitions;
pub mod segment;
#[cfg(test)]
mod suite;

use std::future::Future;
use std::io;
use std::ops::Range;
use std::path::PathBuf;
use std::pin::Pin;

use bytes::Bytes;
use tokio::sync::watch;

pub use partitions::{LogPartitions, Partitioner, partition_dir, partitions_in};
pub use segment::ERASED_SPARE_BYTES;
pub use segment::{
    ArchivedPlaces, FOUND_MAX, Frames, HeldLog, LogReport, LogSettings, LogWriter, Note, Overview, RecordKey, Recovery,
    SealedFile, SegmentLog, Severity, end, hold, overview, read_newest, verify,
};

/// An append on its way; answers the offset of its first record.
pub type Appending<'a> = Pin<Box<dyn Future<Output = Result<u64, AppendError>> + Send + 'a>>;

/// One partition of the log.
///
/// * [`Log::append`] answers when the records are durable, and takes all of an append or nothing.
/// * Offsets only grow, and none comes twice. They may have gaps.
/// * A reader sees no record before it is durable, and sees it whole or not at all. What was accepted and cannot be read is
///   [`LogDamage`]; it is never passed over in silence.
/// * Memory is bounded: what cannot wait is refused at once.
pub trait Log: Send + Sync {
    /// Whether this many bytes may ever wait at once.
    fn can_ever_take(&self, bytes: usize) -> bool;

    /// Whether an append of so many bytes would be taken now. Others may be quicker.
    fn has_room(&self, lane: u32, bytes: usize) -> bool;

    /// Appends records in a lane and waits until they are durable. Lanes (one for each source) take turns, and one that floods
    /// is refused before the others are.
    fn append(&self, lane: u32, frames: Frames) -> Appending<'_>;

    /// Everything below this offset is durable.
    fn committed(&self) -> u64;

    /// Follows [`Log::committed`]; changes as well when the log fails.
    fn follow(&self) -> watch::Receiver<u64>;

    /// The oldest offset that can still be read.
    fn oldest(&self) -> u64;

    /// The oldest offset that can still be read where parts that the log has given up are fetched from an archive. It is 0 while
    /// nobody knows what the archive has.
    fn readable_from(&self) -> u64 {
        self.oldest()
    }

    /// How many records there are at most from one offset up to another.
    fn records(&self, from: u64, to: u64) -> u64;

    /// An offset behind which there are so many of the newest records at most.
    fn newest(&self, records: u64) -> u64 {
        self.committed().saturating_sub(records).max(self.oldest())
    }

    /// A reader that starts at `offset`.
    ///
    /// # Errors
    /// The offset was trimmed away, or the records cannot be read.
    fn reader(&self, offset: u64) -> Result<Box<dyn LogReader>, LogError>;

    /// Records below this offset would go if the log were trimmed now. `floor` is the slowest cursor.
    fn due_to(&self, floor: u64, now_us: i64) -> u64;

    /// Removes old records that retention no longer asks for. `floor` is the slowest cursor.
    ///
    /// # Errors
    /// Something could not be removed.
    fn trim(&self, floor: u64, now_us: i64) -> Result<Trimmed, LogError> {
        self.trim_below((floor, u64::MAX), now_us)
    }

    /// The same, and nothing from offset `to` on: more may be due than was when [`Log::due_to`] was asked.
    ///
    /// # Errors
    /// Something could not be removed.
    fn trim_below(&self, floor_and_to: (u64, u64), now_us: i64) -> Result<Trimmed, LogError>;

    /// Prepares some of what [`Log::find_key`] would take long for; false when nothing is left to prepare, or `is_over` says so before the end.
    ///
    /// # Errors
    /// The log cannot be read, or what was prepared cannot be written.
    fn index_one(&self, _key_of: RecordKey, _is_over: &dyn Fn() -> bool) -> Result<bool, LogError> {
        Ok(false)
    }

    /// Records that have this key, the first [`FOUND_MAX`] of them in the order of their offsets. What had not been looked at when `is_over` said
    /// so is named. `key_of` is always the same function.
    ///
    /// # Errors
    /// The log cannot be read.
    fn find_key(&self, key: &[u8], key_of: RecordKey, is_over: &dyn Fn() -> bool) -> Result<FoundRecords, LogError> {
        let mut found = FoundRecords::default();
        let mut reader = self.reader(self.oldest())?;
        while found.records.len() < FOUND_MAX {
            if is_over() {
                found.left.push(reader.next()..self.committed());
                return Ok(found);
            }
            let chunk = reader.read(1 << 20, 4096)?;
            if chunk.records.is_empty() && chunk.damage.is_empty() {
                return Ok(found);
            }
            let has_key = |entry: &LogEntry| key_of(&entry.shared, &entry.own).is_some_and(|of| *of == *key);
            found.records.extend(chunk.records.into_iter().filter(has_key));
        }
        found.has_more = true;
        found.records.truncate(FOUND_MAX);
        Ok(found)
    }
    /// Seals what is being written, so that nothing that is committed by now is written any more; answers the offset that everything
    /// below is sealed. Blocks until that is done: not for threads that answer somebody.
    ///
    /// # Errors
    /// The log takes nothing more, or has no room for now.
    fn seal(&self) -> Result<u64, AppendError>;

    /// The sealed parts, oldest first: each its first offset and the one behind its last record.
    fn sealed(&self) -> Vec<Range<u64>>;

    /// Erases records of the sealed part that begins at `first`, for good: no reader sees them from then on, and their bytes are on no
    /// disk once those who read them now have gone on. All offsets stay. `None` when that part is not there any more.
    ///
    /// # Errors
    /// Nothing was erased.
    fn erase(&self, first: u64, eraser: &mut dyn Eraser) -> Result<Option<ErasedPart>, LogError>;

    /// How often anything was erased since the log was opened.
    fn erasures(&self) -> u64;

    /// Bytes that are kept.
    fn size_bytes(&self) -> u64;

    /// The log has failed and takes nothing more.
    fn is_poisoned(&self) -> bool;

    /// Takes no further appends; what waits is finished.
    fn close(&self);
}

/// A place in a partition. Reads no further than what is committed.
pub trait LogReader: Send {
    /// The offset that the next chunk starts at.
    fn next(&self) -> u64;

    /// Reads up to about `bytes_max` bytes and `records_max` records. An empty chunk means that there is nothing more for now.
    ///
    /// # Errors
    /// The records cannot be read.
    fn read(&mut self, bytes_max: usize, records_max: usize) -> Result<ReadChunk, LogError>;
}

/// Records read at once, in order.
#[derive(Debug, Default)]
pub struct ReadChunk {
    pub records: Vec<LogEntry>,
    /// Ranges that could not be read, in order, each before the record that follows it.
    pub damage: Vec<LogDamage>,
    /// The offset behind everything in this chunk; read on from here.
    pub next: u64,
}

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogEntry {
    pub offset: u64,
    /// What it shares with the other records of its group.
    pub shared: Bytes,
    pub own: Bytes,
}

/// What [`Log::find_key`] has found.
#[derive(Debug, Default)]
pub struct FoundRecords {
    pub records: Vec<LogEntry>,
    /// There may be more of them.
    pub has_more: bool,
    /// Offsets that were not looked at: they are lost, or it was over before.
    pub left: Vec<Range<u64>>,
}

/// A range of the log that cannot be read although records were written there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogDamage {
    /// Offsets that are missing: first, and one behind the last. Empty when no record was hit.
    pub missing: Range<u64>,
    /// First offset of the segment.
    pub segment: u64,
    /// Byte position in its file.
    pub position: u64,
    /// How many bytes are damaged; 0 when they are gone.
    pub length: u64,
    /// What lies there, at most its first MiB.
    pub bytes: Bytes,
}

/// What becomes of a record of a part that is written anew.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Erasing {
    Stays,
    /// It was erased before.
    IsErased,
    /// This stands in its place from now on, with other bytes behind it; at least [`ERASED_SPARE_BYTES`] shorter than it.
    With(Vec<u8>),
}

/// Says what is to be erased.
pub trait Eraser {
    fn record(&mut self, entry: &LogEntry) -> Erasing;

    /// What stands in the place of bytes that erased records alone share; `None` when they stay.
    fn shared(&mut self, shared: &[u8]) -> Option<Vec<u8>>;

    /// Whether bytes go that were kept of records that cannot be read.
    fn lost(&mut self, bytes: &[u8]) -> bool;
}

/// What was erased of a part of the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ErasedPart {
    /// Records that were erased now.
    pub records: u64,
    /// Records that were erased before.
    pub erased_before: u64,
    /// Records that were too short to be erased, and stay.
    pub too_short: u64,
    /// Ranges that cannot be read, and were left as they are.
    pub damaged: u64,
    /// The SHA-256 of the file as it was, and as it is; alike when nothing was erased.
    pub before: String,
    pub after: String,
}

/// The log cannot be opened or read.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    #[error("{}: {action}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}: this is not a segment that this build can read ({reason}); move it away or use the build that wrote it", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("{}: it was written in format {format}, and this build reads up to format {known}; start the newer build again that wrote it. Nothing was changed", path.display())]
    Newer { path: PathBuf, format: u32, known: u32 },
    #[error("{}: the key of the log is lost ({reason}), and without it no record can be told from bytes that look like one; restore either file from a backup of the log's directory. To begin an empty log instead, move the whole directory away", path.display())]
    Key { path: PathBuf, reason: &'static str },
    #[error("offset {wanted} is gone: the oldest record kept is {oldest}")]
    Trimmed { wanted: u64, oldest: u64 },
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

/// What [`Log::trim`] removed.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Trimmed {
    pub segments: u64,
    pub bytes: u64,
    /// Records removed before the slowest cursor had passed them.
    pub records_lost: u64,
    /// What was removed although the archive does not have it: the first offset, and the one behind the last.
    pub unarchived: Option<(u64, u64)>,
}

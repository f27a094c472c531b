//! The state file beside the log: what was refined, what was seen before, what is quarantined, how far each sync is.
//!
//! Nouns: the **refine cursor** (the log is refined below it), a **quarantined** event (kept with the stage and the reason), a **pending** event (kept for another try), a sync's
//! **cursor** and **report**, a sync's **end** (how far it still has to come before it is gone), a stream's **position** (how far it was read).
//!
//! Guarantees: one [`RefineStage`] is one transaction, so the quarantine of a log range, its counts and the refine cursor
//! move together or not at all; the dedup index never knows more than that cursor. The bounds of every refined log range and the offsets of all duplicates are
//! kept as long as the log keeps the records, so refining a log range again comes to the same end. Losing the latest
//! transactions (a power cut) loses nothing: the log range is refined again from the log. What became of events is counted in the transaction that
//! decides it (`fates.rs`), and each cursor that moves is held against the log ranges that it passes (`fate_syncs.rs`).
//! This room knows offsets, ids and reasons, not what an event means.

mod activity;
mod alert_receivers;
mod alerts;
mod consents;
mod conservation;
mod cursors;
mod endings;
mod erased_offsets;
mod fate_breaches;
mod fate_entries;
mod fate_ranges;
mod fate_syncs;
mod fate_tally;
mod fates;
mod forget_jobs;
mod forget_names;
mod forget_progress;
mod forget_reasons;
mod forgetting;
mod functions;
mod identity;
mod job_ids;
mod key_uses;
mod message_ids;
mod migrate;
mod packed_ranges;
mod partitions;
mod pending;
mod quarantine;
mod quarantine_entries;
mod quarantine_jobs;
mod rebuild_jobs;
mod replay_jobs;
mod replay_names;
mod retention;
mod retried;
mod retry_outcomes;
mod revisions;
mod salvage;
mod schema;
mod seal;
mod seen;
mod starts;
mod stream_positions;
mod subjects;
mod sum;
mod verify;
mod violation_hours;

use std::borrow::Cow;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tidegate_event::{Position, RetryMark, in_partition};

pub use activity::NameHistory;
pub use alert_receivers::LeftReceivers;
pub use alerts::{AcceptedInHours, AlertEvent, AlertHistoryPart, AlertMuting, AlertStep, WaitingMessage};
pub use consents::{ConsentSaid, IsWithdrawn, KnownConsent, KnownConsents, SaidBy};
pub use conservation::{AcceptedCounts, Conservation, FateQuery, SourceFates, SyncFates, WrongSum};
pub use cursors::{SyncProgress, SyncReport};
pub use endings::{EndedSync, EndingKind, SyncEnd};
pub use fate_breaches::FateBreach;
pub use fate_ranges::RangeCounts;
pub use fate_syncs::BatchFates;
pub use fate_tally::{FURTHER_NAMES, FateCounts, FateTally, KeyedEvents};
pub use fates::{
    TransformedRange, UNREADABLE_NAME, fate_hour, fate_hour_begins_us, fate_key_of_entry, fate_name, fate_name_of,
};
pub use forget_jobs::{ForgetJob, ForgetJobState, NewForgetJob};
pub use forgetting::{ForgottenRows, sync_of_suppressed};
pub use functions::{Charge, Compared, FunctionLog, LogFilter, LoggedRun, Transformed};
pub use identity::Identity;
pub use key_uses::KeyUse;
pub use pending::{DAMAGED_PENDING_CODE, Pending, PendingCount, PendingFound, PendingMark, Resolved, SettledBatch};
pub use quarantine::{
    DAMAGED_CODE, Expired, KeptEntry, Purge, QuarantineBounds, QuarantineFilter, QuarantineSize, Quarantined,
    Stage as QuarantineStage,
};
pub use quarantine_entries::{EntryFilter, EntryPage, EntryScope, KeptOriginal, OF_SEVERAL_DETAIL};
pub use quarantine_jobs::{BegunRetry, NewRetryJob, RetryJob, RetryJobState, RetryStep};
pub use rebuild_jobs::{NewRebuildJob, RebuildJob, RebuildJobState, RebuildRefusal};
pub use replay_jobs::{NewReplayJob, ReplayJob, ReplayJobState, ReplayRetries, ReplayStep};
pub use retention::{ErasedToTime, ExpiredRows};
pub use retry_outcomes::{EndedRetry, OUTCOME_QUARANTINED, OUTCOME_REFINED, RetryEnding};
pub use revisions::{ContractText, RunRevision};
pub use salvage::Salvaged;
pub use subjects::{ClearSubject, HashedSubject, SubjectHash, SubjectSet, SuppressList, SuppressedSubject};
pub use verify::{DamagedRow, VerifiedState, verify};
pub use violation_hours::{
    VIOLATION_DAYS_KEPT, ViolatedEvent, ViolatedField, ViolatingEvent, ViolatingRelease, ViolationHistory,
    ViolationQuery, ViolationSource, ViolationSpan, ViolationTally,
};

/// The state file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum StateError {
    #[error("{}: {action}", path.display())]
    Sqlite {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: rusqlite::Error,
    },
    #[error("{}: format {found}, and this build supports up to {}; use the newer build that wrote it. Nothing was changed", path.display(), schema::FORMAT)]
    Newer { path: PathBuf, found: i64 },
    #[error("{}: format {found} of an earlier build; `tidegate serve` of this build carries it over to format {}", path.display(), schema::FORMAT)]
    Older { path: PathBuf, found: i64 },
    #[error("{}: the file is damaged: {what}. Put a backup of it back, or stop the server and start it with `tidegate serve --rebuild-state`, which moves the file away and makes it anew from the log; `tidegate check --deep` shows what else is damaged", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{}: there is no state here; has `tidegate serve` run with this data directory?", path.display())]
    Absent { path: PathBuf },
    #[error(transparent)]
    Dedup(tidegate_dedup::DedupError),
}

/// A connection to the state file, for one partition of the log: offsets are of that partition, and so are the refine cursor and what is kept under the name of a sync or a source. Each worker has its own.
pub struct State {
    path: PathBuf,
    connection: Connection,
    partition: u16,
}

impl State {
    /// Opens the state file, making it when it is new.
    ///
    /// # Errors
    /// The file cannot be opened, or was written by another format.
    pub fn open(path: &Path) -> Result<Self, StateError> {
        let at = |action| StateError::at(action, path);
        let connection = Connection::open(path).map_err(at("could not open"))?;
        migrate::prepare(&connection, path)?;
        let state = Self { path: path.to_owned(), connection, partition: 0 };
        // Whoever uses the file writes to it, and a damaged one is not written to.
        state.id_key()?;
        Ok(state)
    }

    /// Opens an existing state file for reading.
    ///
    /// # Errors
    /// There is none, or it cannot be read.
    pub fn read(path: &Path) -> Result<Self, StateError> {
        if !path.exists() {
            return Err(StateError::Absent { path: path.to_owned() });
        }
        let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_WRITE | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(StateError::at("could not open", path))?;
        connection.busy_timeout(std::time::Duration::from_secs(10)).map_err(StateError::at("could not open", path))?;
        schema::check(&connection, path)?;
        Ok(Self { path: path.to_owned(), connection, partition: 0 })
    }

    /// The same connection for another partition.
    #[must_use]
    pub const fn of_partition(mut self, partition: u16) -> Self {
        self.partition = partition;
        self
    }

    /// Makes all that was committed durable: a power cut takes none of it back.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn make_durable(&mut self) -> Result<(), StateError> {
        let at = Position::new(self.partition, self.refined_to()?);
        // A commit with FULL syncs the whole write-ahead log.
        self.in_transaction(true, |connection| cursors::set_refined_to(connection, at))?;
        self.connection.execute_batch("PRAGMA synchronous = NORMAL").map_err(self.err("could not set synchronous"))
    }

    /// The partition that it is for.
    #[must_use]
    pub const fn partition(&self) -> u16 {
        self.partition
    }

    /// What is kept under `name` in this partition is kept under this.
    fn key<'n>(&self, name: &'n str) -> Cow<'n, str> {
        in_partition(name, self.partition)
    }

    /// An offset of this partition as it stands in a column.
    fn column(&self, offset: u64) -> i64 {
        signed(Position::new(self.partition, offset).bits())
    }

    fn err(&self, action: &'static str) -> impl FnOnce(rusqlite::Error) -> StateError + use<'_> {
        StateError::at(action, &self.path)
    }

    fn damaged(&self, what: impl Into<String>) -> StateError {
        sum::damaged(&self.path, what)
    }

    /// The refined log range that holds `offset`, if its bounds are still known, and the revision under which it was judged:
    /// 0 when a build before revisions did so.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log_range_at(&self, offset: u64) -> Result<Option<(Range<u64>, u64)>, StateError> {
        let sql = "SELECT start, end, revision, sum FROM stretches WHERE start <= ?1 ORDER BY start DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            let range = position(row.get(0)?)..position(row.get(1)?);
            Ok((range, unsigned(row.get(2)?), row.get::<_, i64>(3)?))
        };
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut find| find.query_row([self.column(offset)], read).optional())
            .map_err(self.err("could not read the log ranges"))?;
        let Some((range, revision, sum)) = found.filter(|(range, ..)| range.start.partition == self.partition) else {
            return Ok(None);
        };
        let range = range.start.offset..range.end.offset;
        let found = sum::log_range(self.partition, &range, revision, self.duplicates_in(&range)?);
        if sum::with_suppressed(found, self.partition, self.suppressed_in(&range)?).value() != sum {
            let (start, end) = (range.start, range.end);
            return Err(self.damaged(format!("which events of {start}..{end} are duplicates cannot be told any more")));
        }
        Ok(Some((range, revision)).filter(|(range, _)| range.contains(&offset)))
    }

    /// Offsets in `range` whose events were seen before.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn duplicates_in(&self, range: &Range<u64>) -> Result<Vec<u64>, StateError> {
        let sql = "SELECT log_offset FROM duplicates WHERE log_offset >= ?1 AND log_offset < ?2 ORDER BY log_offset";
        self.connection
            .prepare_cached(sql)
            .and_then(|mut find| {
                let offset = |row: &rusqlite::Row<'_>| row.get(0).map(|column| position(column).offset);
                find.query_map([self.column(range.start), self.column(range.end)], offset)?.collect()
            })
            .map_err(self.err("could not read the duplicates"))
    }

    /// Starts the transaction of one log range.
    ///
    /// # Errors
    /// Another writer holds the file for too long.
    pub fn stage(&mut self) -> Result<RefineStage<'_>, StateError> {
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(StateError::at("could not begin", path))?;
        let (duplicates, suppressed) = (Vec::new(), Vec::new());
        Ok(RefineStage { transaction, path, partition: self.partition, duplicates, has_entries: None, suppressed })
    }

    /// Counters by scope and name, e.g. `("web", "duplicates")`.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn counters(&self) -> Result<Vec<(String, String, u64)>, StateError> {
        let sql = "SELECT scope, name, value FROM counters ORDER BY scope, name";
        let read = || -> rusqlite::Result<Vec<(String, String, u64)>> {
            let mut find = self.connection.prepare_cached(sql)?;
            find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, unsigned(row.get(2)?))))?.collect()
        };
        read().map_err(self.err("could not read the counters"))
    }

    /// Where the first log range begins that is known; `None` where there is none.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log_ranges_from(&self) -> Result<Option<u64>, StateError> {
        let sql = "SELECT start FROM stretches WHERE start >= ?1 ORDER BY start LIMIT 1";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut find| find.query_row([self.column(0)], |row| row.get::<_, i64>(0)).optional())
            .map_err(self.err("could not read the log ranges"))?;
        let first = found.map(position).filter(|first| first.partition == self.partition);
        Ok(first.map(|first| first.offset))
    }

    /// Forgets log ranges and duplicates of records that the log no longer keeps, and makes everything before
    /// durable: call it before the log is trimmed to `oldest`.
    ///
    /// # Errors
    /// Nothing was forgotten.
    pub fn forget_below(&mut self, oldest: u64) -> Result<(), StateError> {
        let (first, oldest) = (self.column(0), self.column(oldest));
        let partitions = self.partitions()?;
        self.connection
            .execute("DELETE FROM stretches WHERE start >= ?2 AND end <= ?1", [oldest, first])
            // The duplicates of a log range that is still known stay with it: its checksum covers them.
            .and_then(|_| {
                let sql = "DELETE FROM duplicates WHERE log_offset >= ?2 AND log_offset <
                    min(?1, coalesce((SELECT min(start) FROM stretches WHERE start >= ?2), ?1))";
                self.connection.execute(sql, [oldest, first])
            })
            .and_then(|_| {
                let sql = "DELETE FROM suppressed WHERE log_offset >= ?2 AND log_offset <
                    min(?1, coalesce((SELECT min(start) FROM stretches WHERE start >= ?2), ?1))";
                self.connection.execute(sql, [oldest, first])
            })
            .and_then(|_| {
                // A job that runs finds rows by them.
                let sql = "DELETE FROM forgotten WHERE log_offset >= ?2 AND log_offset < ?1
                    AND NOT EXISTS (SELECT 1 FROM forget_jobs WHERE state = 'running' AND dry_run = 0)";
                self.connection.execute(sql, [oldest, first])
            })
            // The function chain of the oldest record left is the last one that took over at or before it.
            .and_then(|_| {
                let sql = "DELETE FROM lineups WHERE log_offset < (SELECT max(l.log_offset) FROM lineups l
                    WHERE l.source = lineups.source AND l.log_offset <= ?1)
                    AND log_offset >= ?2";
                self.connection.execute(sql, [oldest, first])
            })
            .and_then(|_| retried::forget(&self.connection, (first, oldest)))
            .and_then(|()| fate_ranges::forget(&self.connection, position(oldest)))
            .and_then(|()| revisions::forget(&self.connection, partitions))
            .and_then(|()| self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())))
            .map_err(self.err("could not forget old log ranges"))
    }
}

/// The transaction of one log range: everything or nothing.
pub struct RefineStage<'a> {
    transaction: Transaction<'a>,
    path: &'a Path,
    partition: u16,
    /// Those of this log range so far.
    duplicates: Vec<u64>,
    /// Whether anything was in quarantine when that was first asked.
    has_entries: Option<bool>,
    suppressed: Vec<u64>,
}

/// Behind the name of a source, which has no space: the scope of the counters of what is undeclared and allowed there.
const UNDECLARED: &str = " undeclared";

/// The scope of the counters of what is undeclared and allowed at `source`.
#[must_use]
pub fn undeclared(source: &str) -> String {
    [source, UNDECLARED].concat()
}

/// The source whose [`undeclared`] scope this is.
#[must_use]
pub fn source_of_undeclared(scope: &str) -> Option<&str> {
    scope.strip_suffix(UNDECLARED)
}

/// Counters of one scope; what a guest makes up beyond it is counted together.
const COUNTERS_MAX: u64 = 1_000;
/// Where further names of a scope are counted.
const OTHER_COUNTERS: &str = "(further names)";

impl RefineStage<'_> {
    /// Remembers that the event at `offset` is a duplicate.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn duplicate(&mut self, offset: u64) -> Result<(), StateError> {
        self.duplicates.push(offset);
        let column = self.column(offset);
        self.run("INSERT OR IGNORE INTO duplicates (log_offset) VALUES (?1)", params![column])
    }

    /// Keeps an event with the reason why it goes no further.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn quarantine(&mut self, entry: &Quarantined) -> Result<(), StateError> {
        let kept = quarantine::insert(&self.transaction, entry, quarantine::QuarantinedBy::Source);
        kept.map_err(StateError::at("could not quarantine an event", self.path))
    }

    /// Whether an event with this id is in quarantine, of any source: a hash of it, so that very rarely it is another one. While nothing is
    /// in quarantine an id is neither hashed nor looked for.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn is_quarantined(&mut self, message_id: &str) -> Result<bool, StateError> {
        let unreadable = StateError::at("could not read the quarantine", self.path);
        let has_entries = match self.has_entries {
            Some(known) => known,
            None => message_ids::has_entries(&self.transaction).map_err(&unreadable)?,
        };
        self.has_entries = Some(has_entries);
        if !has_entries {
            return Ok(false);
        }
        message_ids::is_quarantined(&self.transaction, message_id).map_err(unreadable)
    }

    /// Takes the entry that `mark` names out of the quarantine, for its event is in this log range once more, at `offset`. False when it is not
    /// there as the mark has it: another record with the same mark was before this one, or somebody has purged it.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn take_retried(&mut self, offset: u64, mark: &RetryMark<'_>) -> Result<bool, StateError> {
        let at = Position::new(self.partition, offset);
        quarantine_jobs::take(&self.transaction, at, mark)
            .map_err(StateError::at("could not take an entry out of the quarantine", self.path))
    }

    /// Adds to a counter.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn count(&mut self, scope: &str, name: &str, delta: u64) -> Result<(), StateError> {
        if delta == 0 {
            return Ok(());
        }
        let count = || -> rusqlite::Result<()> {
            let update = "UPDATE counters SET value = value + ?3 WHERE scope = ?1 AND name = ?2";
            if self.transaction.prepare_cached(update)?.execute(params![scope, name, signed(delta)])? > 0 {
                return Ok(());
            }
            let sql = "SELECT count(*) FROM counters WHERE scope = ?1";
            let known: i64 = self.transaction.prepare_cached(sql)?.query_row([scope], |row| row.get(0))?;
            let name = if unsigned(known) < COUNTERS_MAX { name } else { OTHER_COUNTERS };
            let sql = "INSERT INTO counters (scope, name, value) VALUES (?1, ?2, ?3)
                ON CONFLICT (scope, name) DO UPDATE SET value = value + excluded.value";
            self.transaction.prepare_cached(sql)?.execute(params![scope, name, signed(delta)]).map(drop)
        };
        count().map_err(StateError::at("could not count", self.path))
    }

    /// Moves the refine cursor over `log_range`, which was judged under `revision`, and commits.
    ///
    /// # Errors
    /// Nothing of this stage happened.
    pub fn commit(mut self, log_range: &Range<u64>, revision: u64) -> Result<(), StateError> {
        self.duplicates.sort_unstable();
        self.duplicates.dedup();
        self.suppressed.sort_unstable();
        self.suppressed.dedup();
        let sum = sum::log_range(self.partition, log_range, revision, std::mem::take(&mut self.duplicates));
        let sum = sum::with_suppressed(sum, self.partition, std::mem::take(&mut self.suppressed)).value();
        let (start, end) = (self.column(log_range.start), self.column(log_range.end));
        let sql = "INSERT OR REPLACE INTO stretches (start, end, revision, sum) VALUES (?1, ?2, ?3, ?4)";
        self.run(sql, params![start, end, signed(revision), sum])?;
        let refined_to = Position::new(self.partition, log_range.end);
        fate_ranges::begin(&self.transaction, Position::new(self.partition, log_range.start))
            .map_err(StateError::at("could not write", self.path))?;
        cursors::set_refined_to(&self.transaction, refined_to).map_err(StateError::at("could not write", self.path))?;
        self.finish()
    }

    fn column(&self, offset: u64) -> i64 {
        signed(Position::new(self.partition, offset).bits())
    }

    fn finish(self) -> Result<(), StateError> {
        self.transaction.commit().map_err(StateError::at("could not commit", self.path))
    }

    fn run(&mut self, sql: &str, values: &[&dyn rusqlite::ToSql]) -> Result<(), StateError> {
        self.transaction
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(values))
            .map_err(StateError::at("could not write", self.path))?;
        Ok(())
    }
}

impl StateError {
    fn at(action: &'static str, path: &Path) -> impl Fn(rusqlite::Error) -> Self {
        move |cause| match cause {
            cause if tidegate_sqlite::sqlite_check::is_damage(&cause) => {
                Self::Damaged { path: path.to_owned(), what: format!("{action}: {cause}") }
            }
            cause => Self::Sqlite { action, path: path.to_owned(), cause },
        }
    }
}

/// A position as it stands in a column.
fn position(column: i64) -> Position {
    Position::from_bits(unsigned(column))
}

/// SQLite has signed integers only; partitions stay far below 2^15, and offsets below 2^48.
fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

fn unsigned(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(0)
}

#[cfg(test)]
mod tests;

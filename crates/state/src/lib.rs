//! The state file beside the log: what was refined, what was seen before, what is quarantined, how far each sync is.
//!
//! Nouns: the **refine cursor** (the log is refined below it), the **dedup window** (ids seen lately), a
//! **quarantined** event (kept with the stage and the reason), a **pending** event (kept for another try), a sync's
//! **cursor** and **report**.
//!
//! Guarantees: one [`RefineStage`] is one transaction, so the dedup marks of a log range, its quarantine and the refine
//! cursor move together or not at all. The bounds of every refined log range and the offsets of all duplicates are
//! kept as long as the log keeps the records, so refining a log range again comes to the same end. Losing the latest
//! transactions (a power cut) loses nothing: the log range is refined again from the log.
//! This room knows offsets, ids and reasons, not what an event means.

mod functions;
mod identity;
mod migrate;
mod partitions;
mod pending;
mod quarantine;
mod salvage;
mod schema;
mod seal;
mod seen;
mod starts;
mod sum;
mod verify;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::ops::Range;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior, params};
use tidegate_event::{Position, in_partition, partition_of};

pub use functions::{Charge, Compared, FunctionLog, LogFilter, LoggedRun, Transformed};
pub use identity::Identity;
pub use pending::{DAMAGED_PENDING_CODE, Pending, PendingCount, PendingFound, PendingMark, Resolved, SettledBatch};
pub use quarantine::{
    DAMAGED_CODE, Expired, Purge, QuarantineBounds, QuarantineFilter, QuarantineSize, Quarantined,
    Stage as QuarantineStage,
};
pub use salvage::Salvaged;
pub use seen::Window;
pub use verify::{DamagedRow, VerifiedState, verify};

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
}

/// A connection to the state file, for one partition of the log: offsets are of that partition, and so are the dedup window,
/// the refine cursor and what is kept under the name of a sync or a source. Each worker has its own.
pub struct State {
    path: PathBuf,
    connection: Connection,
    window: Window,
    partition: u16,
}

/// One sync's line in the status.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncReport {
    pub sync: String,
    /// Of each partition of the log that it has had events of: everything below is durable at the destination.
    pub cursors: Vec<Position>,
    pub delivered: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub filtered: u64,
    /// Microseconds since the epoch of the last delivery.
    pub delivered_at_us: Option<i64>,
    /// The failure that it is retrying, if any.
    pub failure: Option<String>,
    /// What the destination wanted an operator to hear: the newest few, the newest last, none twice.
    pub notices: Vec<String>,
}

impl SyncReport {
    /// Adds what it says of another partition.
    fn add(&mut self, other: Self) {
        self.cursors.extend(other.cursors);
        self.delivered += other.delivered;
        self.duplicates += other.duplicates;
        self.rejected += other.rejected;
        self.filtered += other.filtered;
        self.delivered_at_us = self.delivered_at_us.max(other.delivered_at_us);
        self.failure = self.failure.take().or(other.failure);
        for notice in other.notices {
            if !self.notices.contains(&notice) {
                self.notices.push(notice);
            }
        }
    }
}

/// What a sync adds to its report after a delivery.
#[derive(Debug, Clone, Default)]
pub struct SyncProgress {
    pub cursor: u64,
    pub delivered: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub filtered: u64,
    pub notices: Vec<String>,
}

impl State {
    /// Opens the state file, making it when it is new.
    ///
    /// # Errors
    /// The file cannot be opened, or was written by another format.
    pub fn open(path: &Path, window: Window) -> Result<Self, StateError> {
        let at = |action| StateError::at(action, path);
        let connection = Connection::open(path).map_err(at("could not open"))?;
        migrate::prepare(&connection, path)?;
        // What follows writes, and a damaged file is not written to.
        let mut state = Self { path: path.to_owned(), connection, window, partition: 0 };
        state.window.load(&state.connection).map_err(StateError::at("could not read the dedup window", path))?;
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
        Ok(Self { path: path.to_owned(), connection, window: Window::default(), partition: 0 })
    }

    /// The same connection for another partition.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn of_partition(mut self, partition: u16) -> Result<Self, StateError> {
        self.partition = partition;
        self.window
            .load_partition(&self.connection, partition)
            .map_err(StateError::at("could not read the dedup window", &self.path))?;
        Ok(self)
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

    /// The log is refined below this offset.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refined_to(&self) -> Result<u64, StateError> {
        refined_to(&self.connection, self.partition)
            .map_err(self.err("could not read"))?
            .ok_or_else(|| self.damaged("how far the log is refined cannot be read"))
    }

    /// Lets a new state begin at `offset`, the oldest record that there is.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn begin_at(&mut self, offset: u64) -> Result<(), StateError> {
        let partition = self.partition;
        self.in_transaction(true, |connection| set_refined_to(connection, Position::new(partition, offset)))
    }

    fn damaged(&self, what: impl Into<String>) -> StateError {
        sum::damaged(&self.path, what)
    }

    /// The refined log range that holds `offset`, if its bounds are still known.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn log_range_at(&self, offset: u64) -> Result<Option<Range<u64>>, StateError> {
        let sql = "SELECT start, end, sum FROM stretches WHERE start <= ?1 ORDER BY start DESC LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| Ok((position(row.get(0)?)..position(row.get(1)?), row.get::<_, i64>(2)?));
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut find| find.query_row([self.column(offset)], read).optional())
            .map_err(self.err("could not read the log ranges"))?;
        let Some((range, sum)) = found.filter(|(range, _)| range.start.partition == self.partition) else {
            return Ok(None);
        };
        let range = range.start.offset..range.end.offset;
        if sum::log_range(self.partition, &range, self.duplicates_in(&range)?).value() != sum {
            let (start, end) = (range.start, range.end);
            return Err(self.damaged(format!("which events of {start}..{end} are duplicates cannot be told any more")));
        }
        Ok(Some(range).filter(|range| range.contains(&offset)))
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
        // A stage that came to nothing may have left the window's numbers ahead of its tables.
        self.window.load(&transaction).map_err(StateError::at("could not read the dedup window", path))?;
        Ok(RefineStage {
            transaction,
            window: &mut self.window,
            path,
            partition: self.partition,
            duplicates: Vec::new(),
        })
    }

    /// Records how far a sync has come.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn advance(&mut self, sync: &str, progress: &SyncProgress, now_us: i64) -> Result<(), StateError> {
        advance(&self.connection, &self.key(sync), progress, now_us).map_err(self.err("could not record a cursor"))
    }

    /// Records what a sync is failing at.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn fail(&mut self, sync: &str, failure: &str) -> Result<(), StateError> {
        let sql = "INSERT INTO syncs (sync, cursor, failure, sum) VALUES (?1, 0, ?2, ?3)
            ON CONFLICT (sync) DO UPDATE SET failure = excluded.failure";
        let sync = self.key(sync);
        let values = params![sync, shortened(failure), sum::named(&sync, 0).value()];
        self.connection.execute(sql, values).map_err(self.err("could not record a failure"))?;
        Ok(())
    }

    /// Takes back what [`State::fail`] recorded, where no delivery did.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn mended(&mut self, sync: &str) -> Result<(), StateError> {
        let sql = "UPDATE syncs SET failure = NULL WHERE sync = ?1";
        self.connection.execute(sql, params![self.key(sync)]).map_err(self.err("could not take a failure back"))?;
        Ok(())
    }

    /// The reports of all syncs that ever ran.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn reports(&self) -> Result<Vec<SyncReport>, StateError> {
        let sql =
            "SELECT sync, cursor, delivered, duplicates, rejected, filtered, delivered_at_us, failure, notice, sum
            FROM syncs ORDER BY sync";
        let read = || -> rusqlite::Result<Vec<(String, SyncReport, i64)>> {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map([], |row| {
                let key: String = row.get(0)?;
                let (sync, partition) = partition_of(&key);
                let report = SyncReport {
                    sync: sync.to_owned(),
                    cursors: vec![Position::new(partition, unsigned(row.get(1)?))],
                    delivered: unsigned(row.get(2)?),
                    duplicates: unsigned(row.get(3)?),
                    rejected: unsigned(row.get(4)?),
                    filtered: unsigned(row.get(5)?),
                    delivered_at_us: row.get(6)?,
                    failure: row.get(7)?,
                    notices: lines(row.get(8)?),
                };
                Ok((key, report, row.get(9)?))
            })?;
            rows.collect()
        };
        let mut reports: BTreeMap<String, SyncReport> = BTreeMap::new();
        for (key, report, sum) in read().map_err(self.err("could not read the syncs"))? {
            if report.cursors.iter().any(|cursor| sum::named(&key, cursor.offset).value() != sum) {
                return Err(self.damaged("the cursor of a sync is not what was stored"));
            }
            match reports.entry(report.sync.clone()) {
                Entry::Vacant(vacant) => drop(vacant.insert(report)),
                Entry::Occupied(mut known) => known.get_mut().add(report),
            }
        }
        Ok(reports.into_values().collect())
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

    /// Forgets log ranges and duplicates of records that the log no longer keeps, and makes everything before
    /// durable: call it before the log is trimmed to `oldest`.
    ///
    /// # Errors
    /// Nothing was forgotten.
    pub fn forget_below(&mut self, oldest: u64) -> Result<(), StateError> {
        let (first, oldest) = (self.column(0), self.column(oldest));
        self.connection
            .execute("DELETE FROM stretches WHERE start >= ?2 AND end <= ?1", [oldest, first])
            // The duplicates of a log range that is still known stay with it: its checksum covers them.
            .and_then(|_| {
                let sql = "DELETE FROM duplicates WHERE log_offset >= ?2 AND log_offset <
                    min(?1, coalesce((SELECT min(start) FROM stretches WHERE start >= ?2), ?1))";
                self.connection.execute(sql, [oldest, first])
            })
            // The function chain of the oldest record left is the last one that took over at or before it.
            .and_then(|_| {
                let sql = "DELETE FROM lineups WHERE log_offset < (SELECT max(l.log_offset) FROM lineups l
                    WHERE l.source = lineups.source AND l.log_offset <= ?1)
                    AND log_offset >= ?2";
                self.connection.execute(sql, [oldest, first])
            })
            .and_then(|_| self.connection.query_row("PRAGMA wal_checkpoint(FULL)", [], |_| Ok(())))
            .map_err(self.err("could not forget old log ranges"))
    }
}

/// The transaction of one log range: everything or nothing.
pub struct RefineStage<'a> {
    transaction: Transaction<'a>,
    window: &'a mut Window,
    path: &'a Path,
    partition: u16,
    /// Those of this log range so far.
    duplicates: Vec<u64>,
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
    /// Marks ids as seen, in log order; answers for each whether it had been seen within the window before.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn seen(&mut self, ids: &[seen::Sighting<'_>]) -> Result<Vec<bool>, StateError> {
        self.window.mark(&self.transaction, ids).map_err(StateError::at("could not mark ids as seen", self.path))
    }

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
        quarantine::insert(&self.transaction, entry).map_err(StateError::at("could not quarantine an event", self.path))
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

    /// Moves the refine cursor over `log_range` and commits.
    ///
    /// # Errors
    /// Nothing of this stage happened.
    pub fn commit(mut self, log_range: &Range<u64>) -> Result<(), StateError> {
        self.duplicates.sort_unstable();
        self.duplicates.dedup();
        let sum = sum::log_range(self.partition, log_range, std::mem::take(&mut self.duplicates)).value();
        let (start, end) = (self.column(log_range.start), self.column(log_range.end));
        self.run("INSERT OR REPLACE INTO stretches (start, end, sum) VALUES (?1, ?2, ?3)", params![start, end, sum])?;
        let refined_to = Position::new(self.partition, log_range.end);
        set_refined_to(&self.transaction, refined_to).map_err(StateError::at("could not write", self.path))?;
        self.finish()
    }

    fn column(&self, offset: u64) -> i64 {
        signed(Position::new(self.partition, offset).bits())
    }

    fn finish(self) -> Result<(), StateError> {
        self.window.save(&self.transaction).map_err(StateError::at("could not save the dedup window", self.path))?;
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

pub use seen::Sighting;

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

/// Texts of others that are kept in a report; whoever wrote them may have written much.
const TEXT_CHARS_MAX: usize = 4_000;
/// Notices kept of each sync.
const NOTICES_MAX: usize = 10;

fn shortened(text: &str) -> &str {
    text.char_indices().nth(TEXT_CHARS_MAX).map_or(text, |(at, _)| text.get(..at).unwrap_or(text))
}

/// `None` when it is not what was stored.
fn refined_to(connection: &Connection, partition: u16) -> rusqlite::Result<Option<u64>> {
    let key = in_partition("refined_to", partition);
    let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1";
    let found: Option<String> = connection.query_row(sql, [&key], |row| row.get(0)).optional()?;
    Ok(found.as_deref().and_then(|text| sum::unsealed(&key, text)).and_then(|text| text.parse().ok()))
}

fn set_refined_to(connection: &Connection, to: Position) -> rusqlite::Result<()> {
    let key = in_partition("refined_to", to.partition);
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute([&*key, &sum::sealed(&key, &to.offset.to_string())]).map(drop)
}

fn advance(connection: &Connection, sync: &str, progress: &SyncProgress, now_us: i64) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO syncs (sync, cursor, delivered, duplicates, rejected, filtered, delivered_at_us, notice, sum)
        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
        ON CONFLICT (sync) DO UPDATE SET cursor = excluded.cursor, delivered = delivered + excluded.delivered,
        duplicates = duplicates + excluded.duplicates, rejected = rejected + excluded.rejected,
        filtered = filtered + excluded.filtered, delivered_at_us = excluded.delivered_at_us,
        notice = coalesce(excluded.notice, notice), failure = NULL, sum = excluded.sum";
    let notice = if progress.notices.is_empty() { None } else { Some(with_notices(connection, sync, progress)?) };
    let values = params![
        sync,
        signed(progress.cursor),
        signed(progress.delivered),
        signed(progress.duplicates),
        signed(progress.rejected),
        signed(progress.filtered),
        now_us,
        notice,
        sum::named(sync, progress.cursor).value(),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// The notices of a sync, a line each, with those of this delivery last.
fn with_notices(connection: &Connection, sync: &str, progress: &SyncProgress) -> rusqlite::Result<String> {
    let mut find = connection.prepare_cached("SELECT notice FROM syncs WHERE sync = ?1")?;
    let mut notices = lines(find.query_row([sync], |row| row.get(0)).optional()?.flatten());
    for notice in &progress.notices {
        let notice = shortened(notice).replace('\n', " ");
        notices.retain(|known| *known != notice);
        notices.push(notice);
    }
    notices.drain(..notices.len().saturating_sub(NOTICES_MAX));
    Ok(notices.join("\n"))
}

fn lines(text: Option<String>) -> Vec<String> {
    text.iter().flat_map(|text| text.lines()).map(str::to_owned).collect()
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

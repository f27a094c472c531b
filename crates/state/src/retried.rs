//! Where retried events are in the log, and which entries of the quarantine they were: one that fails again is the same entry again.
//!
//! A row is written when the entry leaves the quarantine, in the transaction of the log range that has the event. It goes when the log has
//! given the record up; then whoever fails at it makes an entry of its own.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_event::{Position, RetriedParts};

use super::sum::{self, Sum};
use super::{signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS retried (
        log_offset INTEGER PRIMARY KEY, entry INTEGER NOT NULL, attempts INTEGER NOT NULL, kept_at_us INTEGER NOT NULL,
        for_sync TEXT, part INTEGER NOT NULL, is_exact INTEGER NOT NULL, sum INTEGER NOT NULL,
        job INTEGER NOT NULL DEFAULT 0
    );
";

/// What an event was in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct RetriedEntry {
    pub(super) entry: u64,
    pub(super) attempts: u32,
    /// Since when it had been in quarantine, microseconds since the epoch.
    pub(super) kept_at_us: i64,
    /// The one sync that it is for.
    pub(super) for_sync: Option<String>,
    pub(super) parts: RetriedParts,
    /// That has sent it; 0 when it is not known.
    pub(super) job: u64,
}

impl RetriedEntry {
    fn sum(&self, log_offset: i64) -> i64 {
        let sum = Sum::default().number(log_offset).number(signed(self.entry)).number(self.attempts.into());
        let sum = sum.text(self.for_sync.as_deref().unwrap_or_default()).number(self.parts.part.into());
        sum.number(self.parts.is_exact.into()).value()
    }
}

/// What the event of a record was; `None` for one that is no retry.
pub(super) fn find(connection: &Connection, at: Position) -> rusqlite::Result<Option<RetriedEntry>> {
    let log_offset = signed(at.bits());
    let sql =
        "SELECT entry, attempts, kept_at_us, for_sync, part, is_exact, sum, job FROM retried WHERE log_offset = ?1";
    let found = connection.prepare_cached(sql)?.query_row([log_offset], |row| {
        let found = RetriedEntry {
            entry: unsigned(sum::number(row, 0)?),
            attempts: sum::small(row, 1)?,
            kept_at_us: sum::number(row, 2)?,
            for_sync: sum::optional(row, 3)?,
            parts: RetriedParts { part: sum::small(row, 4)?, is_exact: sum::number(row, 5)? != 0 },
            job: unsigned(sum::number(row, 7)?),
        };
        Ok((sum::number(row, 6)? == found.sum(log_offset)).then_some(found))
    });
    // A damaged row tells nothing: the event is an entry of its own then.
    found.optional().map(Option::flatten)
}

/// Remembers what the event of a record was.
pub(super) fn keep(connection: &Connection, at: Position, entry: &RetriedEntry) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO retried (log_offset, entry, attempts, kept_at_us, for_sync, part, is_exact, sum,
        job) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let log_offset = signed(at.bits());
    let values = params![
        log_offset,
        signed(entry.entry),
        entry.attempts,
        entry.kept_at_us,
        entry.for_sync,
        entry.parts.part,
        entry.parts.is_exact,
        entry.sum(log_offset),
        signed(entry.job),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Forgets the records from `first` up to `oldest`.
pub(super) fn forget(connection: &Connection, (first, oldest): (i64, i64)) -> rusqlite::Result<()> {
    let sql = "DELETE FROM retried WHERE log_offset >= ?1 AND log_offset < ?2";
    connection.execute(sql, [first, oldest]).map(drop)
}

//! How far the log is refined, how far each sync has come, and what each says of itself.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;

use rusqlite::{Connection, OptionalExtension, params};
use tidegate_event::{Position, in_partition, partition_of};

use super::replay_names::is_of_replay;
use super::{BatchFates, EndedRetry, State, StateError, fate_syncs, signed, sum, unsigned};

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
    /// Retried events that are for this sync alone, of which nothing goes on.
    pub ended_retries: Vec<EndedRetry>,
    /// What became of the events that the cursor moves over; it is held against the log.
    pub fates: Option<BatchFates>,
}

impl State {
    /// The log is refined below this offset.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refined_to(&self) -> Result<u64, StateError> {
        refined_to(&self.connection, self.partition)
            .map_err(self.err("could not read"))?
            .ok_or_else(|| self.damaged("how far the log is refined cannot be read"))
    }

    /// The same of another partition; `None` when nothing of it was refined yet.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn refined_to_of(&self, partition: u16) -> Result<Option<u64>, StateError> {
        refined_to(&self.connection, partition).map_err(self.err("could not read"))
    }

    /// Lets a new state begin at `offset`, the oldest record that there is.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn begin_at(&mut self, offset: u64) -> Result<(), StateError> {
        let partition = self.partition;
        self.in_transaction(true, |connection| set_refined_to(connection, Position::new(partition, offset)))
    }

    /// Where a sync is, by its own record.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn cursor(&self, sync: &str) -> Result<Option<u64>, StateError> {
        // Past the index: a damaged one would hide the row, and the sync would begin anew. There are few rows.
        let sql = "SELECT cursor, sum FROM syncs WHERE +sync = ?1";
        let read = |row: &rusqlite::Row<'_>| Ok((unsigned(row.get(0)?), row.get::<_, i64>(1)?));
        let sync = self.key(sync);
        let found = self.connection.query_row(sql, [&sync], read).optional();
        match found.map_err(self.err("could not read a cursor"))? {
            Some((cursor, sum)) if sum::named(&sync, cursor).value() != sum => {
                Err(self.damaged(format!("the cursor of sync {sync} is not what was stored")))
            }
            found => Ok(found.map(|(cursor, _)| cursor)),
        }
    }

    /// Records how far a sync has come.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn advance(&mut self, sync: &str, progress: &SyncProgress, now_us: i64) -> Result<(), StateError> {
        let key = self.key(sync).into_owned();
        self.in_transaction(false, |connection| advance(connection, &key, progress, now_us))
    }

    /// Counts what the destination of a sync has by its own ledger, and lets the cursor come after; nothing else of its report changes.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn count_known(&mut self, sync: &str, progress: &SyncProgress) -> Result<(), StateError> {
        let key = self.key(sync).into_owned();
        self.in_transaction(false, |connection| {
            if let Some(fates) = &progress.fates {
                fate_syncs::settle(connection, &key, fates, progress.cursor)?;
            }
            let sql = "INSERT INTO syncs (sync, cursor, sum) VALUES (?1, ?2, ?3)
                ON CONFLICT (sync) DO UPDATE SET cursor = excluded.cursor, sum = excluded.sum";
            let values = params![key, signed(progress.cursor), sum::named(&key, progress.cursor).value()];
            connection.prepare_cached(sql)?.execute(values).map(drop)
        })
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

    /// The reports of all syncs that ever ran. Replays are none.
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
            if is_of_replay(&report.sync) {
                continue;
            }
            match reports.entry(report.sync.clone()) {
                Entry::Vacant(vacant) => drop(vacant.insert(report)),
                Entry::Occupied(mut known) => known.get_mut().add(report),
            }
        }
        Ok(reports.into_values().collect())
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
pub(super) fn refined_to(connection: &Connection, partition: u16) -> rusqlite::Result<Option<u64>> {
    let key = in_partition("refined_to", partition);
    let sql = "SELECT CAST(value AS TEXT) FROM meta WHERE key = ?1";
    let found: Option<String> = connection.query_row(sql, [&key], |row| row.get(0)).optional()?;
    Ok(found.as_deref().and_then(|text| sum::unsealed(&key, text)).and_then(|text| text.parse().ok()))
}

pub(super) fn set_refined_to(connection: &Connection, to: Position) -> rusqlite::Result<()> {
    let key = in_partition("refined_to", to.partition);
    let sql = "INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)";
    connection.prepare_cached(sql)?.execute([&*key, &sum::sealed(&key, &to.offset.to_string())]).map(drop)
}

/// Moves a sync's cursor, and adds to its report.
pub(super) fn advance(
    connection: &Connection,
    sync: &str,
    progress: &SyncProgress,
    now_us: i64,
) -> rusqlite::Result<()> {
    if let Some(fates) = &progress.fates {
        fate_syncs::settle(connection, sync, fates, progress.cursor)?;
    }
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

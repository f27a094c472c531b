//! How many records of each source a log range has, and how many events of it went on: by these the syncs are held against the log.

use std::ops::Range;

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_event::{Position, in_partition};

use super::fates::{self, FateScope, FateTally};
use super::sum::number;
use super::{
    RefineStage, State, StateError, TransformedRange, erased_offsets, fate_breaches, position, signed, unsigned,
};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS fate_ranges (
        source TEXT NOT NULL, start INTEGER NOT NULL, end INTEGER NOT NULL, accepted INTEGER NOT NULL,
        duplicates INTEGER NOT NULL, quarantined INTEGER NOT NULL, judged INTEGER NOT NULL, went_on INTEGER,
        PRIMARY KEY (source, start)
    ) WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS fate_begins (
        log_partition INTEGER PRIMARY KEY, log_offset INTEGER NOT NULL, kept_from INTEGER NOT NULL
    );
";

/// What became of the records of one source in a log range, before its functions.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RangeCounts {
    /// Records, retries among them.
    pub accepted: u64,
    pub duplicates: u64,
    pub suppressed: u64,
    pub quarantined: u64,
    /// Events that went on.
    pub judged: u64,
}

/// Events of a source that went on in a part of the log.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct RangeSum {
    pub(super) went_on: u64,
    /// Whether every log range there has its counts.
    pub(super) is_known: bool,
    /// Where the last of these log ranges ends.
    pub(super) end: u64,
    /// Events that there may be of one record, at most.
    pub(super) made_of_one: i64,
}

/// Where the counts of a partition begin: with the first log range that a build refined which counts.
pub(super) fn begins(connection: &Connection, partition: u16) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT log_offset FROM fate_begins WHERE log_partition = ?1";
    // Whoever asks may be refining, which a damaged number does not stop.
    connection.prepare_cached(sql)?.query_row([partition], |row| number(row, 0).map(unsigned)).optional()
}

/// Whether what is at this position is counted at all.
pub(super) fn is_counted(connection: &Connection, at: Position) -> rusqlite::Result<bool> {
    Ok(begins(connection, at.partition)?.is_some_and(|begins| at.offset >= begins))
}

/// Says that counts begin at this position, unless they have begun before.
pub(super) fn begin(connection: &Connection, at: Position) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO fate_begins (log_partition, log_offset, kept_from) VALUES (?1, ?2, ?2)";
    connection.prepare_cached(sql)?.execute(params![at.partition, signed(at.offset)]).map(drop)
}

/// Events of `source` that went on in the log ranges that begin in `range` of a partition.
pub(super) fn went_on(
    connection: &Connection,
    (source, partition): (&str, u16),
    range: Range<u64>,
) -> rusqlite::Result<RangeSum> {
    // A log range that functions went over and whose counts are lost: a power cut took them, and the destination has its events.
    let sql = "SELECT coalesce(sum(coalesce(went_on, judged)), 0), coalesce(sum(went_on IS NULL AND EXISTS (
            SELECT 1 FROM lineups WHERE lineups.source = ?4 AND lineups.log_offset <= fate_ranges.start)), 0),
            coalesce(max(end), ?3), count(went_on) > 0
        FROM fate_ranges WHERE source = ?1 AND start >= ?2 AND start < ?3";
    let column = |offset: u64| signed(Position::new(partition, offset).bits());
    let values = params![source, column(range.start), column(range.end), in_partition(source, partition)];
    let (went_on, lost, end, has_functions): (i64, i64, i64, bool) = connection
        .prepare_cached(sql)?
        .query_row(values, |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    let sql = "SELECT kept_from FROM fate_begins WHERE log_partition = ?1";
    let kept_from: Option<i64> = connection.prepare_cached(sql)?.query_row([partition], |row| row.get(0)).optional()?;
    let is_known = lost == 0 && kept_from.is_some_and(|kept_from| unsigned(kept_from) <= range.start);
    let made_of_one = if has_functions { i64::MAX } else { 1 };
    Ok(RangeSum { went_on: unsigned(went_on), is_known, end: position(end).offset, made_of_one })
}

/// Events of `source` that went on, from a cursor to the end of what is refined; of a log range that the cursor is in, all.
pub(super) fn behind(connection: &Connection, source: &str, cursor: Position) -> rusqlite::Result<u64> {
    let sql = "SELECT coalesce(sum(coalesce(went_on, judged)), 0) FROM fate_ranges WHERE source = ?1 AND end > ?2
        AND start >= coalesce((SELECT max(start) FROM fate_ranges WHERE source = ?1 AND start <= ?2), ?2)
        AND start < ?3";
    let (from, to) = (signed(cursor.bits()), signed(Position::new(cursor.partition, Position::OFFSETS - 1).bits()));
    connection.prepare_cached(sql)?.query_row(params![source, from, to], |row| row.get(0).map(unsigned))
}

/// Keeps what the functions of a source let go on of the log range that begins at `start`.
pub(super) fn set_went_on(
    connection: &Connection,
    source: &str,
    start: Position,
    went_on: u64,
) -> rusqlite::Result<()> {
    let sql = "UPDATE fate_ranges SET went_on = ?3 WHERE source = ?1 AND start = ?2";
    connection.prepare_cached(sql)?.execute(params![source, signed(start.bits()), signed(went_on)]).map(drop)
}

/// Counts events as suppressed that were judged, and forgotten before the functions of their source had them.
fn suppress_forgotten(
    connection: &Connection,
    source: &str,
    (start, done): (Position, &TransformedRange),
) -> rusqlite::Result<()> {
    let sql = "SELECT judged, end FROM fate_ranges WHERE source = ?1 AND start = ?2";
    let at = params![source, signed(start.bits())];
    let read = |row: &rusqlite::Row<'_>| Ok((number(row, 0)?, number(row, 1)?));
    let found: Option<(i64, i64)> = connection.prepare_cached(sql)?.query_row(at, read).optional()?;
    let Some((mut gone, end)) = found.map(|(judged, end)| (judged - signed(done.came), end)) else { return Ok(()) };
    if gone <= 0 {
        return Ok(());
    }
    // Whatever else is missing stays missing.
    let sql = "SELECT count(*) FROM forgotten WHERE log_offset >= ?1 AND log_offset < ?2";
    let forgotten: i64 = connection.prepare_cached(sql)?.query_row([signed(start.bits()), end], |row| row.get(0))?;
    // What is older than its source keeps events was erased below there.
    let is_old = erased_offsets::reached(connection, source, start.partition)? > start.offset;
    let expired = if is_old { gone - gone.min(forgotten) } else { 0 };
    gone = gone.min(forgotten);
    let key = (fates::fate_hour(done.at_us), fates::UNREADABLE_NAME);
    // Those that only one sync had not had are of its counts.
    let sql = "SELECT for_sync, count(*) FROM retried JOIN forgotten USING (log_offset)
        WHERE log_offset >= ?1 AND log_offset < ?2 AND for_sync IS NOT NULL GROUP BY 1";
    let mut find = connection.prepare_cached(sql)?;
    let rows = find.query_map([signed(start.bits()), end], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let retried: Vec<(String, i64)> = rows.collect::<Result<_, _>>()?;
    for (sync, events) in retried {
        let sql = "SELECT 1 FROM fate_syncs WHERE sync = ?1 AND source = ?2";
        if !connection.prepare_cached(sql)?.exists(params![in_partition(&sync, start.partition), source])? {
            continue;
        }
        let events = events.min(gone);
        gone -= events;
        let mut tally = FateTally::default();
        tally.add(key, |counts| {
            counts.came += events;
            counts.suppressed += events;
        });
        fates::write(connection, FateScope { name: &sync, is_sync: true }, &tally)?;
    }
    let mut tally = FateTally::default();
    tally.add(key, |counts| {
        counts.went_on -= gone + expired;
        counts.suppressed += gone;
        counts.expired += expired;
    });
    fates::write(connection, FateScope { name: source, is_sync: false }, &tally)
}

/// Forgets the log ranges of a partition that end at `oldest` or before.
pub(super) fn forget(connection: &Connection, oldest: Position) -> rusqlite::Result<()> {
    let first = signed(Position::new(oldest.partition, 0).bits());
    // Source by source, each from its place in the index: there may be a log range for each record.
    let sql = "WITH RECURSIVE known (name) AS (SELECT min(source) FROM fate_ranges UNION ALL
            SELECT (SELECT min(source) FROM fate_ranges WHERE source > name) FROM known WHERE name IS NOT NULL)
        DELETE FROM fate_ranges WHERE source IN (SELECT name FROM known WHERE name IS NOT NULL)
            AND start >= ?1 AND start < ?2 AND end <= ?2";
    connection.execute(sql, [first, signed(oldest.bits())])?;
    let sql = "UPDATE fate_begins SET kept_from = max(kept_from, ?2) WHERE log_partition = ?1";
    connection.execute(sql, params![oldest.partition, signed(oldest.offset)]).map(drop)
}

impl State {
    /// From which offset on events are counted: those before were refined by a build that did not.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn counted_from(&self) -> Result<u64, StateError> {
        let found = begins(&self.connection, self.partition).map_err(self.err("could not read where counts begin"))?;
        found.map_or_else(|| self.refined_to(), Ok)
    }
}

impl RefineStage<'_> {
    /// Counts what became of the records of a source in `log_range`, by hour and name, and altogether.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn source_fates(
        &mut self,
        source: &str,
        log_range: &Range<u64>,
        (counts, tally): (RangeCounts, &FateTally),
    ) -> Result<(), StateError> {
        if fates::is_off() {
            return Ok(());
        }
        let range = self.column(log_range.start)..self.column(log_range.end);
        let write = || -> rusqlite::Result<()> {
            let sql =
                "INSERT OR REPLACE INTO fate_ranges (source, start, end, accepted, duplicates, quarantined, judged)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let RangeCounts { accepted, duplicates, suppressed, quarantined, judged } = counts;
            let [accepted, duplicates, quarantined, judged] = [accepted, duplicates, quarantined, judged].map(signed);
            let values = params![source, range.start, range.end, accepted, duplicates, quarantined, judged];
            self.transaction.prepare_cached(sql)?.execute(values)?;
            fates::write(&self.transaction, FateScope { name: source, is_sync: false }, tally)?;
            let found = duplicates + signed(suppressed) + quarantined + judged;
            if accepted == found {
                return Ok(());
            }
            let first = Position::new(self.partition, log_range.start);
            let breach = fate_breaches::FateBreach {
                scope: source.to_owned(),
                is_sync: false,
                first,
                end: Position::new(self.partition, log_range.end),
                expected: accepted,
                found,
                what: "of its records in a log range not each was a duplicate, suppressed, quarantined or went on"
                    .to_owned(),
                ..fate_breaches::FateBreach::default()
            };
            fate_breaches::note(&self.transaction, &breach)
        };
        write().map_err(StateError::at("could not count what became of events", self.path))
    }

    /// Counts what the functions of a source made of its events in a log range.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(super) fn transformed_fates(&mut self, source: &str, done: &TransformedRange) -> Result<(), StateError> {
        if fates::is_off() {
            return Ok(());
        }
        let write = || -> rusqlite::Result<()> {
            let start = Position::new(self.partition, done.start);
            suppress_forgotten(&self.transaction, source, (start, done))?;
            set_went_on(&self.transaction, source, start, done.went_on)?;
            fates::write(&self.transaction, FateScope { name: source, is_sync: false }, &done.tally)?;
            done.of_syncs.iter().try_for_each(|(sync, tally)| {
                fates::write(&self.transaction, FateScope { name: sync, is_sync: true }, tally)
            })
        };
        write().map_err(StateError::at("could not count what became of events", self.path))
    }

    /// Counts what became of events that only one sync had not had.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn sync_fates(&mut self, sync: &str, tally: &FateTally) -> Result<(), StateError> {
        fates::write(&self.transaction, FateScope { name: sync, is_sync: true }, tally)
            .map_err(StateError::at("could not count what became of events", self.path))
    }
}

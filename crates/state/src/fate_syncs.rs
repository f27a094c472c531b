//! Each sync held against the log: when its cursor moves, what went on in the log ranges that it has passed is the sum of what became of it.

use std::borrow::Cow;
use std::ops::Range;

use rusqlite::{Connection, ErrorCode, OptionalExtension as _, params};
use tidegate_event::{EventId, Position, partition_of};

use super::fate_breaches::{self, FateBreach};
use super::fate_ranges::{self, FateBegin, RangeSum};
use super::fate_tally::{self, FateCounts, FateTally};
use super::fates::{self, FateScope};
use super::sum::number;
use super::{erased_offsets, signed, unsigned};

pub(super) const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS fate_syncs (
        sync TEXT PRIMARY KEY, source TEXT NOT NULL, first INTEGER NOT NULL, events INTEGER NOT NULL,
        left_out INTEGER NOT NULL, unknown INTEGER NOT NULL, gap INTEGER NOT NULL, again INTEGER NOT NULL,
        is_blind INTEGER NOT NULL, delivered_before INTEGER NOT NULL
    ) WITHOUT ROWID;
";

/// What became of the events of a batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BatchFates {
    pub source: String,
    /// Where the batch begins.
    pub from: u64,
    /// Events below this offset are not for the sync.
    pub first: u64,
    /// Where the first log range that it came of begins: there, or before.
    pub ranges_from: u64,
    /// Events of its log ranges that are not for the sync: before its beginning, of a retry for another one, or parts that it has had.
    pub left_out: u64,
    /// How many the destination says that it has.
    pub told: u64,
    pub tally: FateTally,
}

/// What is known of a sync in one partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct SyncRow {
    pub(super) source: String,
    /// It is counted from here on.
    pub(super) first: u64,
    /// Events of log ranges that have no counts.
    pub(super) unknown: i64,
    /// Events that its destination has by its own ledger and that nobody has looked at.
    pub(super) gap: i64,
    /// Events that came once more, because the ledger of its destination had gone back, or were perhaps never for it and forgotten.
    pub(super) again: i64,
    /// Somewhere it cannot be told how many there were.
    pub(super) is_blind: bool,
    /// What its report said of deliveries that are not counted here.
    pub(super) delivered_before: i64,
}

/// What is known of a sync, under its key.
pub(super) fn read(connection: &Connection, key: &str) -> rusqlite::Result<Option<SyncRow>> {
    let sql = "SELECT source, first, unknown, gap, again, is_blind, delivered_before FROM fate_syncs WHERE sync = ?1";
    let row = |row: &rusqlite::Row<'_>| {
        Ok(SyncRow {
            source: row.get(0)?,
            first: unsigned(row.get(1)?),
            unknown: row.get(2)?,
            gap: row.get(3)?,
            again: row.get(4)?,
            is_blind: row.get(5)?,
            delivered_before: row.get(6)?,
        })
    };
    connection.prepare_cached(sql)?.query_row([key], row).optional()
}

/// From which offset on a sync is counted; `None` when nothing of it is counted yet.
pub(super) fn first(connection: &Connection, key: &str) -> rusqlite::Result<Option<u64>> {
    let sql = "SELECT first FROM fate_syncs WHERE sync = ?1";
    connection.prepare_cached(sql)?.query_row([key], |row| number(row, 0).map(unsigned)).optional()
}

/// Holds a batch against the log ranges that it came of, and counts it, before the cursor of `key` moves to `end`. Counts that are not what was
/// stored do not stop a delivery: it stays uncounted then, and whoever looks over the sums finds that.
pub(super) fn settle(connection: &Connection, key: &str, batch: &BatchFates, end: u64) -> rusqlite::Result<()> {
    if fate_tally::is_off() {
        return Ok(());
    }
    connection.prepare_cached("SAVEPOINT fates")?.execute([])?;
    let held = hold(connection, key, batch, end);
    if let Err(error) = held {
        if !is_of_counts(&error) {
            return Err(error);
        }
        connection.prepare_cached("ROLLBACK TO fates")?.execute([])?;
        tracing::error!(sync = key, end, error = %error, "what became of a batch could not be counted");
    }
    connection.prepare_cached("RELEASE fates")?.execute([]).map(drop)
}

/// Whether the counts themselves are the reason, and not the file: a value of another kind, or one that is too large.
fn is_of_counts(error: &rusqlite::Error) -> bool {
    matches!(error.sqlite_error_code(), None | Some(ErrorCode::Unknown | ErrorCode::ConstraintViolation))
}

fn hold(connection: &Connection, key: &str, batch: &BatchFates, end: u64) -> rusqlite::Result<()> {
    let (sync, partition) = partition_of(key);
    let of_source = (&*batch.source, partition);
    let (old, delivered) = cursor(connection, key)?;
    let mut row = match read(connection, key)? {
        Some(row) if row.source == batch.source => row,
        // It had another source before: what is counted from here on is of this one.
        Some(row) => {
            SyncRow { source: batch.source.clone(), first: batch.from.max(batch.first), is_blind: true, ..row }
        }
        None => SyncRow {
            source: batch.source.clone(),
            first: batch.from.max(batch.first),
            delivered_before: delivered,
            ..SyncRow::default()
        },
    };
    let begin = fate_ranges::begin_of(connection, partition)?;
    let expected = fate_ranges::went_on(connection, of_source, batch.ranges_from..end, begin)?;
    let first = begin.map_or(u64::MAX, |begin| begin.first);
    let (mut tally, mut left_out) = (Cow::Borrowed(&batch.tally), signed(batch.left_out));
    if expected.is_known && batch.ranges_from >= first {
        let missing = signed(expected.went_on) - found(batch, &tally.total(), left_out);
        if missing > 0 {
            // They went on, and were forgotten before the sync had them. Nothing says any more when they came and what they were.
            let own = batch.from.max(batch.first)..end;
            let forgotten = Forgotten::find(connection, partition, (batch.ranges_from..expected.end, own))?;
            let suppressed = missing.min(forgotten.of_batch.saturating_mul(expected.made_of_one));
            let others = (missing - suppressed).min(forgotten.others.saturating_mul(expected.made_of_one));
            left_out += others;
            // Or they are older than their source keeps events.
            let most = expired_in(connection, of_source, batch.ranges_from..end, begin)?;
            let expired = (missing - suppressed - others).min(most);
            if expired > 0 && batch.from.max(batch.first) > batch.ranges_from {
                // Some of them the sync may have had before, or they are from before it began.
                row.again += expired;
            }
            if forgotten.is_vague && suppressed > 0 {
                row.again += suppressed;
            }
            let hour = tally.first_hour().unwrap_or_default();
            tally.to_mut().add((hour, fates::UNREADABLE_NAME), |counts| {
                counts.came += suppressed + expired;
                counts.suppressed += suppressed;
                counts.expired += expired;
            });
        }
    }
    let total = tally.total();
    match old {
        Some(old) if old < batch.from => {
            let gap = fate_ranges::went_on(connection, of_source, old..batch.from, begin)?;
            row.gap += signed(gap.went_on);
            row.is_blind |= !gap.is_known;
        }
        // All that is to come again, for the cursor goes back with this batch.
        Some(old) if old > batch.from => {
            let again = fate_ranges::went_on(connection, of_source, batch.ranges_from..old, begin)?;
            row.again += signed(again.went_on);
            row.is_blind |= !again.is_known;
        }
        _ => {}
    }
    let found = found(batch, &total, left_out);
    if batch.ranges_from < first {
        // Some of it is of a build that did not count: the tally has none of that.
        row.delivered_before += signed(batch.told) - total.delivered;
    }
    match expected {
        RangeSum { went_on, is_known: true, .. } if signed(went_on) != found || total.expected() != total.found() => {
            let breach = FateBreach {
                scope: sync.to_owned(),
                is_sync: true,
                first: Position::new(partition, batch.ranges_from),
                end: Position::new(partition, end),
                expected: signed(went_on),
                found,
                what: "what went on to it is not what became of it".to_owned(),
                ..FateBreach::default()
            };
            fate_breaches::note(connection, &breach)?;
        }
        RangeSum { is_known: true, .. } => {}
        RangeSum { is_known: false, .. } => {
            row.unknown += found;
            row.is_blind |= batch.ranges_from >= first;
        }
    }
    fates::write(connection, FateScope { name: sync, is_sync: true }, &tally)?;
    keep(connection, key, &row, (found, left_out))
}

/// Events of a source that may be missing in a part of the log because they were erased: it keeps events no longer.
fn expired_in(
    connection: &Connection,
    (source, partition): (&str, u16),
    range: Range<u64>,
    begin: Option<FateBegin>,
) -> rusqlite::Result<i64> {
    let reached = erased_offsets::reached(connection, source, partition)?.min(range.end);
    if reached <= range.start {
        return Ok(0);
    }
    Ok(signed(fate_ranges::went_on(connection, (source, partition), range.start..reached, begin)?.went_on))
}

/// How many events of its log ranges are accounted for. What the destination says counts, whatever the batch had.
fn found(batch: &BatchFates, total: &FateCounts, left_out: i64) -> i64 {
    left_out + total.found() - total.delivered + signed(batch.told) - total.made
}

/// Records of the log ranges of a batch that were forgotten, of all sources.
struct Forgotten {
    of_batch: i64,
    /// Of its log ranges, and of the batch before or behind.
    others: i64,
    /// Which of those that are missing the sync would have had cannot be told: they were of several batches, or retries for others.
    is_vague: bool,
}

impl Forgotten {
    fn find(
        connection: &Connection,
        partition: u16,
        (ranges, own): (Range<u64>, Range<u64>),
    ) -> rusqlite::Result<Self> {
        let sql = "SELECT count(*), coalesce(sum(log_offset >= ?3 AND log_offset < ?4), 0),
            coalesce(sum(EXISTS (SELECT 1 FROM retried WHERE retried.log_offset = forgotten.log_offset)), 0)
            FROM forgotten WHERE log_offset >= ?1 AND log_offset < ?2";
        let column = |offset: u64| signed(Position::new(partition, offset).bits());
        let places = [ranges.start, ranges.end, own.start, own.end].map(column);
        connection.prepare_cached(sql)?.query_row(places, |row| {
            let (all, of_batch, retried): (i64, i64, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let others = all - of_batch;
            Ok(Self { of_batch, others, is_vague: others > 0 || retried > 0 })
        })
    }
}

fn keep(connection: &Connection, key: &str, row: &SyncRow, (found, left_out): (i64, i64)) -> rusqlite::Result<()> {
    let sql = "INSERT INTO fate_syncs (sync, source, first, events, left_out, unknown, gap, again, is_blind,
        delivered_before) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)
        ON CONFLICT (sync) DO UPDATE SET source = excluded.source, first = excluded.first,
        events = events + excluded.events, left_out = left_out + excluded.left_out, unknown = excluded.unknown,
        gap = excluded.gap, again = excluded.again, is_blind = excluded.is_blind,
        delivered_before = excluded.delivered_before";
    let SyncRow { source, first, unknown, gap, again, is_blind, delivered_before } = row;
    let values = params![key, source, signed(*first), found, left_out, unknown, gap, again, is_blind, delivered_before];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Says that nobody can tell the sums of syncs that have pending events and no cursor: their events come again, and those that are pending
/// were counted in a state that is lost.
pub(super) fn blind_without_cursor(connection: &Connection) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO fate_syncs (sync, source, first, events, left_out, unknown, gap, again, is_blind,
            delivered_before)
        SELECT DISTINCT sync, '', 0, 0, 0, 0, 0, 0, 1, 0 FROM pending WHERE sync NOT IN (SELECT sync FROM syncs)";
    connection.execute(sql, []).map(drop)
}

/// Where a sync was, if it had come anywhere, and what its report says of deliveries.
fn cursor(connection: &Connection, key: &str) -> rusqlite::Result<(Option<u64>, i64)> {
    let sql = "SELECT cursor, delivered FROM syncs WHERE sync = ?1";
    let found = connection.prepare_cached(sql)?.query_row([key], |row| Ok((unsigned(row.get(0)?), row.get(1)?)));
    Ok(match found.optional()? {
        Some((cursor, delivered)) => (Some(cursor).filter(|cursor| *cursor > 0), delivered),
        None => (None, 0),
    })
}

/// What pending events become, under the keys that they were counted under.
pub(super) struct ResolvedFates<'a> {
    connection: &'a Connection,
    key: &'a str,
    tally: FateTally,
    /// Deliveries of what was pending before anything was counted.
    uncounted: i64,
    /// The sync is counted from here on.
    first: Option<u64>,
}

impl<'a> ResolvedFates<'a> {
    pub(super) fn new(connection: &'a Connection, key: &'a str) -> rusqlite::Result<Self> {
        let first = first(connection, key)?;
        Ok(Self { connection, key, tally: FateTally::default(), uncounted: 0, first })
    }

    /// The pending event with this id becomes what `count` counts.
    pub(super) fn resolve(&mut self, id: EventId, count: impl Fn(&mut FateCounts)) -> rusqlite::Result<()> {
        let sql = "SELECT event, received_at_us FROM pending WHERE sync = ?1 AND log_offset = ?2 AND part = ?3";
        let at = params![self.key, signed(id.position.bits()), id.part];
        let read = |row: &rusqlite::Row<'_>| Ok((super::sum::bytes(row, 0)?, super::sum::number(row, 1)?));
        let found: Option<(Vec<u8>, i64)> = self.connection.prepare_cached(sql)?.query_row(at, read).optional()?;
        let is_counted = self.first.is_some_and(|first| id.position.offset >= first)
            && fate_ranges::is_counted(self.connection, id.position)?;
        // What is not there any more was forgotten while it was tried, and counted then.
        let Some((event, at_us)) = found else { return Ok(()) };
        if is_counted {
            let (hour, name) = fates::key_of_text(&event, at_us, false);
            self.tally.add((hour, &name), |counts| {
                counts.pending -= 1;
                count(counts);
            });
        } else {
            let mut counts = FateCounts::default();
            count(&mut counts);
            self.uncounted += counts.delivered;
        }
        Ok(())
    }

    /// Writes what was resolved.
    pub(super) fn write(self) -> rusqlite::Result<()> {
        if self.uncounted != 0 {
            let sql = "UPDATE fate_syncs SET delivered_before = delivered_before + ?2 WHERE sync = ?1";
            self.connection.prepare_cached(sql)?.execute(params![self.key, self.uncounted])?;
        }
        let scope = FateScope { name: partition_of(self.key).0, is_sync: true };
        fates::write(self.connection, scope, &self.tally)
    }
}

//! How many records of each source a log range has, and how many events of it went on: by these the syncs are held against the log.

use std::ops::Range;

use rusqlite::types::{Type, ValueRef};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use tidegate_event::{Position, in_partition};

use super::fate_tally::{self, FateTally};
use super::fates::{self, FateScope};
use super::packed_ranges::{CountedRange, packed, unpacked};
use super::sum::number;
use super::{RefineStage, State, StateError, TransformedRange, erased_offsets, fate_breaches, signed, unsigned};

/// A row has log ranges of a source that follow one another: `went_on` has them all, packed. The other counts are the sums of theirs, for whoever looks
/// into the file. An earlier build had a row for each, and a number there.
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

/// A row with more bytes of packed log ranges gets no more of them. What functions let go on may come on top. Whoever wants one reads all.
const PACKED_BYTES_MAX: usize = 128;

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

/// Since when a partition is counted, and how far its log ranges are forgotten.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct FateBegin {
    /// Where the first log range begins that a build refined which counts.
    pub(super) first: u64,
    /// Log ranges that end here or before are forgotten.
    kept_from: u64,
}

/// `None` where nothing of a partition is counted.
pub(super) fn begin_of(connection: &Connection, partition: u16) -> rusqlite::Result<Option<FateBegin>> {
    let sql = "SELECT log_offset, kept_from FROM fate_begins WHERE log_partition = ?1";
    let read = |row: &Row<'_>| Ok(FateBegin { first: unsigned(number(row, 0)?), kept_from: unsigned(row.get(1)?) });
    connection.prepare_cached(sql)?.query_row([partition], read).optional()
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

/// The log ranges of a row of start, end, judged and went_on, in order; `None` where they cannot be read.
fn ranges_of(row: &Row<'_>) -> rusqlite::Result<Option<Vec<CountedRange>>> {
    let [start, end, judged] = [number(row, 0)?, number(row, 1)?, number(row, 2)?].map(unsigned);
    let one = |went_on| Some(vec![CountedRange { start, end, judged, went_on }]);
    let found = match row.get_ref(3)? {
        ValueRef::Blob(bytes) => unpacked(start, bytes),
        ValueRef::Integer(went_on) => one(Some(unsigned(went_on))),
        ValueRef::Null => one(None),
        ValueRef::Real(_) | ValueRef::Text(_) => None,
    };
    // More than a partition has offsets is no count: sums of such numbers are beyond the largest one.
    let is_count = |range: &CountedRange| range.judged.max(range.events()) < Position::OFFSETS;
    Ok(found.filter(|ranges| ranges.iter().all(is_count)))
}

/// Has `look` look at the log ranges of a source that are still known, from the row on that `range` of a partition begins in; those behind its end
/// are left out, those before its beginning are not.
fn each(
    connection: &Connection,
    (source, partition): (&str, u16),
    range: &Range<u64>,
    begin: Option<FateBegin>,
    mut look: impl FnMut(CountedRange),
) -> rusqlite::Result<()> {
    let sql = "SELECT start, end, judged, went_on FROM fate_ranges WHERE source = ?1 AND start < ?3
        AND start >= coalesce((SELECT max(start) FROM fate_ranges WHERE source = ?1 AND start <= ?2), ?2)
        ORDER BY start";
    let bits = |offset: u64| Position::new(partition, offset).bits();
    let (end, forgotten_to) = (bits(range.end), begin.map_or(0, |begin| bits(begin.kept_from)));
    let mut find = connection.prepare_cached(sql)?;
    let mut rows = find.query(params![source, signed(bits(range.start)), signed(end)])?;
    while let Some(row) = rows.next()? {
        let ranges = ranges_of(row)?;
        let ranges = ranges.ok_or_else(|| rusqlite::Error::InvalidColumnType(3, "went_on".to_owned(), Type::Blob))?;
        // A row goes when all of its log ranges do.
        let is_known = |found: &CountedRange| found.end > forgotten_to && found.start < end;
        ranges.into_iter().filter(is_known).for_each(&mut look);
    }
    Ok(())
}

/// Events of `source` that went on in the log ranges that begin in `range` of a partition.
pub(super) fn went_on(
    connection: &Connection,
    (source, partition): (&str, u16),
    range: Range<u64>,
    begin: Option<FateBegin>,
) -> rusqlite::Result<RangeSum> {
    let sql = "SELECT min(log_offset) FROM lineups WHERE source = ?1";
    let chains_from: Option<i64> =
        connection.prepare_cached(sql)?.query_row([&*in_partition(source, partition)], |row| row.get(0))?;
    let mut sum = RangeSum {
        went_on: 0,
        is_known: begin.is_some_and(|begin| begin.kept_from <= range.start),
        end: range.end,
        made_of_one: 1,
    };
    let (first, mut end) = (Position::new(partition, range.start).bits(), 0_u64);
    each(connection, (source, partition), &range, begin, |found| {
        if found.start < first {
            return;
        }
        sum.went_on = sum.went_on.saturating_add(found.events());
        end = end.max(found.end);
        match found.went_on {
            Some(_) => sum.made_of_one = i64::MAX,
            // A log range that functions went over and whose counts are lost: a power cut took them, and the destination has its events.
            None => sum.is_known &= chains_from.is_none_or(|from| unsigned(from) > found.start),
        }
    })?;
    if end > 0 {
        sum.end = Position::from_bits(end).offset;
    }
    Ok(sum)
}

/// Events of `source` that went on, from a cursor to the end of what is refined; of a log range that the cursor is in, all.
pub(super) fn behind(connection: &Connection, source: &str, cursor: Position) -> rusqlite::Result<u64> {
    let begin = begin_of(connection, cursor.partition)?;
    let (range, from) = (cursor.offset..Position::OFFSETS - 1, cursor.bits());
    let (mut own, mut others) = (0, 0_u64);
    each(connection, (source, cursor.partition), &range, begin, |found| {
        if found.start > from {
            others = others.saturating_add(found.events());
        } else {
            own = if found.end > from { found.events() } else { 0 };
        }
    })?;
    Ok(others.saturating_add(own))
}

/// The row that has the log range of `source` which begins at `start`, or would have it: where it begins, and its log ranges. `None` where there is none,
/// or it cannot be read: whoever asks may be refining, which a damaged number does not stop.
fn row_at(connection: &Connection, source: &str, start: u64) -> rusqlite::Result<Option<(u64, Vec<CountedRange>)>> {
    let sql = "SELECT start, end, judged, went_on FROM fate_ranges WHERE source = ?1 AND start <= ?2
        ORDER BY start DESC LIMIT 1";
    let read = |row: &Row<'_>| Ok((unsigned(number(row, 0)?), ranges_of(row)?));
    let found = connection.prepare_cached(sql)?.query_row(params![source, signed(start)], read).optional()?;
    Ok(found.and_then(|(first, ranges)| Some((first, ranges?))))
}

/// Log ranges of a row with one more, packed; `None` where that begins a row of its own.
fn with(mut ranges: Vec<CountedRange>, range: CountedRange) -> Option<Vec<u8>> {
    let last = ranges.last()?;
    if Position::from_bits(last.start).partition != Position::from_bits(range.start).partition {
        return None;
    }
    let is_last = last.start < range.start;
    match ranges.binary_search_by_key(&range.start, |known| known.start) {
        Ok(at) => ranges[at] = range,
        Err(at) => ranges.insert(at, range),
    }
    // One that is not the last has no other place.
    Some(packed(&ranges)).filter(|bytes| bytes.len() <= PACKED_BYTES_MAX || !is_last)
}

/// Keeps a log range of `source`, in the row of those before it or in one of its own.
fn keep(connection: &Connection, source: &str, range: CountedRange, counts: &RangeCounts) -> rusqlite::Result<()> {
    let RangeCounts { accepted, duplicates, quarantined, judged, suppressed: _ } = *counts;
    let [accepted, duplicates, quarantined, judged] = [accepted, duplicates, quarantined, judged].map(signed);
    let row = row_at(connection, source, range.start)?;
    let (sql, start, bytes) = match row.and_then(|(start, ranges)| Some((start, with(ranges, range)?))) {
        Some((start, bytes)) => {
            let sql = "UPDATE fate_ranges SET end = max(end, ?3), accepted = accepted + ?4,
                duplicates = duplicates + ?5, quarantined = quarantined + ?6, judged = judged + ?7, went_on = ?8
                WHERE source = ?1 AND start = ?2";
            (sql, start, bytes)
        }
        None => {
            let sql = "INSERT OR REPLACE INTO fate_ranges
                (source, start, end, accepted, duplicates, quarantined, judged, went_on)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
            (sql, range.start, packed(&[range]))
        }
    };
    let values = params![source, signed(start), signed(range.end), accepted, duplicates, quarantined, judged, bytes];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Keeps what the functions of a source let go on of the log range that begins at `start`.
fn set_went_on(connection: &Connection, source: &str, start: Position, went_on: u64) -> rusqlite::Result<()> {
    let Some((first, mut ranges)) = row_at(connection, source, start.bits())? else { return Ok(()) };
    let Some(range) = ranges.iter_mut().find(|range| range.start == start.bits()) else { return Ok(()) };
    range.went_on = Some(went_on);
    let sql = "UPDATE fate_ranges SET went_on = ?3 WHERE source = ?1 AND start = ?2";
    connection.prepare_cached(sql)?.execute(params![source, signed(first), packed(&ranges)]).map(drop)
}

/// Counts events as suppressed that were judged, and forgotten before the functions of their source had them.
fn suppress_forgotten(
    connection: &Connection,
    source: &str,
    (start, done): (Position, &TransformedRange),
) -> rusqlite::Result<()> {
    let Some((_, ranges)) = row_at(connection, source, start.bits())? else { return Ok(()) };
    let Some(range) = ranges.iter().find(|range| range.start == start.bits()) else { return Ok(()) };
    let (mut gone, end) = (signed(range.judged) - signed(done.came), signed(range.end));
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

/// Forgets the log ranges of a partition that end at `oldest` or before. Where others of their row do not, they stay and are told to nobody.
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
        if fate_tally::is_off() {
            return Ok(());
        }
        let [start, end] = [log_range.start, log_range.end].map(|offset| Position::new(self.partition, offset).bits());
        let write = || -> rusqlite::Result<()> {
            let range = CountedRange { start, end, judged: counts.judged, went_on: None };
            keep(&self.transaction, source, range, &counts)?;
            let RangeCounts { accepted, duplicates, suppressed, quarantined, judged } = counts;
            let accepted = signed(accepted);
            fates::write(&self.transaction, FateScope { name: source, is_sync: false }, tally)?;
            let found = signed(duplicates + suppressed + quarantined + judged);
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
        if fate_tally::is_off() {
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

//! Whether events are conserved: what was accepted is the sum of the fates, for any time, source, sync and event name.
//!
//! Three ways are held against one another: each row by hour and name, the log ranges that a sync has not had yet, and the reports that syncs
//! have besides. All is read at one moment.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior, params};
use tidegate_event::{Position, in_partition, partition_of};

use super::fate_breaches::{self, FateBreach};
use super::fate_tally::{FURTHER_NAMES, FateCounts};
use super::fates;
use super::{
    State, StateError, cursors, fate_ranges, fate_syncs, partitions, signed, starts, unsigned, violation_hours,
};

/// What is asked for; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FateQuery {
    /// Events received in this hour or later, microseconds since the epoch; the hour that it is in counts whole.
    pub since_us: Option<i64>,
    /// Events received in hours before the one that this is in or ends at, microseconds since the epoch.
    pub until_us: Option<i64>,
    pub source: Option<String>,
    pub sync: Option<String>,
    pub name: Option<String>,
}

impl FateQuery {
    /// Hours from the first to before the second.
    fn hours(&self) -> (i64, i64) {
        let until = self.until_us.map_or(i64::MAX, |until_us| fates::fate_hour(until_us.saturating_sub(1)) + 1);
        (self.since_us.map_or(i64::MIN, fates::fate_hour), until)
    }

    /// Whether it asks for all times and names.
    const fn is_whole(&self) -> bool {
        self.since_us.is_none() && self.until_us.is_none() && self.name.is_none()
    }
}

/// What became of the events of a source.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceFates {
    pub source: String,
    pub counts: FateCounts,
    /// What is wrong, in words.
    pub wrong: Option<WrongSum>,
}

/// What became of the events of a sync.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SyncFates {
    pub sync: String,
    pub source: String,
    /// Events that its source let go on.
    pub went_on: i64,
    /// Of these, events that are not in its counts: they wait for it in the log, or were there before it began.
    pub waiting: i64,
    pub not_for_it: i64,
    pub counts: FateCounts,
    /// Why some of it cannot be told, in words.
    pub unsure: Option<String>,
    pub wrong: Option<WrongSum>,
}

/// What is counted as accepted at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AcceptedCounts {
    /// By source, hour and name.
    pub hours: BTreeMap<(String, i64, String), i64>,
    /// Where counts begin in each partition that has any.
    pub begins: Vec<Position>,
    /// How far each partition is refined.
    pub refined: Vec<Position>,
}

/// Sums that differ.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WrongSum {
    pub expected: i64,
    pub found: i64,
    pub what: String,
}

/// Everything about conservation that was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conservation {
    pub sources: Vec<SourceFates>,
    pub syncs: Vec<SyncFates>,
    /// Those that were found before and are kept.
    pub breaches: Vec<FateBreach>,
    /// Where counts begin in each partition that has any.
    pub begins: Vec<Position>,
}

impl Conservation {
    /// Whether every sum is right, and no breach is kept.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.breaches.is_empty()
            && self.sources.iter().all(|one| one.wrong.is_none())
            && self.syncs.iter().all(|one| one.wrong.is_none())
    }
}

impl State {
    /// What was accepted, and what became of it.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn conservation(&self, query: &FateQuery) -> Result<Conservation, StateError> {
        self.conservation_of(query, &BTreeMap::new())
    }

    /// The same, with these syncs in it too, each with its source: nothing is counted of a sync before its first batch.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn conservation_of(
        &self,
        query: &FateQuery,
        there: &BTreeMap<String, String>,
    ) -> Result<Conservation, StateError> {
        let read = || -> rusqlite::Result<Conservation> {
            let moment = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            conservation(&moment, query, there)
        };
        read().map_err(self.err("could not read what became of events"))
    }

    /// Looks over everything that is counted, keeps what is wrong as a breach, puts old hours together, and removes those of violations. Answers whether there is any breach.
    ///
    /// # Errors
    /// The file cannot be read or written.
    pub fn check_fates(&mut self, now_us: i64) -> Result<bool, StateError> {
        let found = self.conservation(&FateQuery::default())?;
        let wrong_sources = found.sources.iter().filter_map(|one| Some((&one.source, false, one.wrong.as_ref()?)));
        let wrong_syncs = found.syncs.iter().filter_map(|one| Some((&one.sync, true, one.wrong.as_ref()?)));
        let wrong: Vec<FateBreach> = wrong_sources
            .chain(wrong_syncs)
            .map(|(scope, is_sync, wrong)| FateBreach {
                scope: scope.clone(),
                is_sync,
                expected: wrong.expected,
                found: wrong.found,
                what: wrong.what.clone(),
                ..FateBreach::default()
            })
            .collect();
        self.in_transaction(false, |connection| {
            wrong.iter().try_for_each(|breach| fate_breaches::note(connection, breach))?;
            fates::put_together(connection, now_us)?;
            violation_hours::expire(connection, now_us)
        })?;
        Ok(!found.holds())
    }

    /// What is counted as accepted, by source, hour and name, and how far the log was refined then.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn accepted_at_one_moment(&self) -> Result<AcceptedCounts, StateError> {
        let read = || -> rusqlite::Result<AcceptedCounts> {
            let moment = Transaction::new_unchecked(&self.connection, TransactionBehavior::Deferred)?;
            let mut all = AcceptedCounts { begins: begins(&moment)?, ..AcceptedCounts::default() };
            for partition in 0..partitions::read(&moment)?.unwrap_or(1) {
                let refined_to = cursors::refined_to(&moment, partition)?.unwrap_or(0);
                all.refined.push(Position::new(partition, refined_to));
            }
            let mut find = moment.prepare("SELECT scope, hour, name, came FROM fate_hours WHERE is_sync = 0")?;
            let mut rows = find.query([])?;
            while let Some(row) = rows.next()? {
                all.hours.insert((row.get(0)?, row.get(1)?, row.get(2)?), row.get(3)?);
            }
            Ok(all)
        };
        read().map_err(self.err("could not read what became of events"))
    }
}

fn conservation(
    connection: &Connection,
    query: &FateQuery,
    there: &BTreeMap<String, String>,
) -> rusqlite::Result<Conservation> {
    let counts = counts_of(connection, query)?;
    let breaches = fate_breaches::read(connection)?;
    let is_asked = |is_sync: bool, name: &str| {
        let asked = if is_sync { &query.sync } else { &query.source };
        asked.as_deref().is_none_or(|asked| asked == name)
    };
    let of_query = |breach: &FateBreach| is_asked(breach.is_sync, &breach.scope);
    let mut found = Conservation {
        breaches: breaches.into_iter().filter(of_query).collect(),
        begins: begins(connection)?,
        ..Conservation::default()
    };
    for ((is_sync, source), counts) in &counts {
        if !*is_sync && is_asked(false, source) {
            let wrong = unbalanced(connection, (false, source), query)?;
            found.sources.push(SourceFates { source: source.clone(), counts: *counts, wrong });
        }
    }
    let mut all = there.clone();
    all.extend(syncs(connection)?);
    for (sync, source) in all {
        if !is_asked(true, &sync) || !is_asked(false, &source) {
            continue;
        }
        let own = counts.get(&(true, sync.clone())).copied().unwrap_or_default();
        let went_on = counts.get(&(false, source.clone())).map_or(0, |counts| counts.went_on);
        found.syncs.push(of_sync(connection, query, (sync, source), (own, went_on))?);
    }
    // With one sync asked for, its source alone is of interest.
    if query.sync.is_some() {
        let sources: BTreeSet<&str> = found.syncs.iter().map(|one| one.source.as_str()).collect();
        found.sources.retain(|one| sources.contains(one.source.as_str()));
    }
    Ok(found)
}

/// Everything that is counted of each source and sync.
type ByScope = BTreeMap<(bool, String), FateCounts>;

fn counts_of(connection: &Connection, query: &FateQuery) -> rusqlite::Result<ByScope> {
    let sql = format!(
        "SELECT is_sync, scope, {} FROM fate_hours WHERE hour >= ?1 AND hour < ?2 AND (?3 IS NULL OR name = ?3)
         GROUP BY 1, 2",
        fates::SUMS
    );
    let (since, until) = query.hours();
    let mut find = connection.prepare_cached(&sql)?;
    let rows = find
        .query_map(params![since, until, query.name], |row| Ok(((row.get(0)?, row.get(1)?), fates::read(row, 2)?)))?;
    rows.collect()
}

fn begins(connection: &Connection) -> rusqlite::Result<Vec<Position>> {
    let mut find = connection.prepare_cached("SELECT log_partition, log_offset FROM fate_begins ORDER BY 1")?;
    let rows = find.query_map([], |row| Ok(Position::new(row.get(0)?, unsigned(row.get(1)?))))?;
    rows.collect()
}

/// The syncs that anything is known of, with their sources.
fn syncs(connection: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    let mut find = connection.prepare_cached("SELECT sync, source FROM fate_syncs ORDER BY sync")?;
    let rows = find.query_map([], |row| {
        let key: String = row.get(0)?;
        Ok((partition_of(&key).0.to_owned(), row.get(1)?))
    })?;
    rows.collect()
}

/// Rows in which what came is not the sum of its fates: a wrong row does not hide behind another one that is wrong the other way.
fn unbalanced(
    connection: &Connection,
    (is_sync, scope): (bool, &str),
    query: &FateQuery,
) -> rusqlite::Result<Option<WrongSum>> {
    let sql = "SELECT count(*), coalesce(sum(came + made), 0), coalesce(sum(fates), 0), min(hour), max(hour) FROM (
            SELECT hour, came, made, duplicates + quarantined + expired + suppressed + dropped + filtered + pending
                + delivered + by_ledger + went_on AS fates
            FROM fate_hours WHERE is_sync = ?1 AND scope = ?2 AND hour >= ?3 AND hour < ?4
                AND (?5 IS NULL OR name = ?5))
        WHERE came + made <> fates";
    let (since, until) = query.hours();
    let read = |row: &rusqlite::Row<'_>| {
        let rows: i64 = row.get(0)?;
        if rows == 0 {
            return Ok(None);
        }
        let at = |hour: i64| tidegate_event::time::format(fates::fate_hour_begins_us(hour));
        let (first, last): (i64, i64) = (row.get(3)?, row.get(4)?);
        let what = format!(
            "what came is not the sum of its fates, of events received between {} and {}",
            at(first),
            at(last.saturating_add(1))
        );
        Ok(Some(WrongSum { expected: row.get(1)?, found: row.get(2)?, what }))
    };
    connection.prepare_cached(sql)?.query_row(params![is_sync, scope, since, until, query.name], read)
}

/// What is known of a sync in all partitions.
#[derive(Default)]
struct SyncPlaces {
    /// Events that wait in the log, at most: of a log range that it is in the middle of, all.
    waiting: i64,
    /// Some of it is counted in some partition.
    is_counted: bool,
    /// It has not had what its source let go on before it began.
    began_later: bool,
    gap: i64,
    again: i64,
    is_blind: bool,
    delivered_before: i64,
}

fn places(connection: &Connection, (sync, source): (&str, &str)) -> rusqlite::Result<SyncPlaces> {
    let mut all = SyncPlaces::default();
    for partition in 0..partitions::read(connection)?.unwrap_or(1) {
        let key = in_partition(sync, partition);
        let sql = "SELECT cursor, delivered FROM syncs WHERE sync = ?1";
        let found =
            connection.prepare_cached(sql)?.query_row([&key], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        let (cursor, delivered): (i64, i64) = found.unwrap_or_default();
        let cursor = Position::new(partition, unsigned(cursor).max(starts::of(connection, &key)?));
        let begins = fate_ranges::begins(connection, partition)?;
        all.waiting += signed(fate_ranges::behind(connection, source, cursor)?);
        let Some(row) = fate_syncs::read(connection, &key)? else {
            // Nothing of this partition is counted yet; it stands where it starts, or at its ledger.
            all.delivered_before += delivered;
            all.began_later |= begins.is_some_and(|begins| cursor.offset > begins);
            continue;
        };
        all.is_counted = true;
        all.began_later |= begins.is_some_and(|begins| row.first > begins);
        all.gap += row.gap;
        all.again += row.again;
        all.is_blind |= row.is_blind;
        all.delivered_before += row.delivered_before;
    }
    Ok(all)
}

fn of_sync(
    connection: &Connection,
    query: &FateQuery,
    (sync, source): (String, String),
    (counts, went_on): (FateCounts, i64),
) -> rusqlite::Result<SyncFates> {
    let places = places(connection, (&sync, &source))?;
    let missing = went_on - counts.came;
    let waiting = missing.clamp(0, places.waiting);
    let others = missing - waiting;
    let mut wrong = unbalanced(connection, (true, &sync), query)?;
    // With further names in play an event may be counted under its name here and among the further ones there.
    let has_further = query.name.is_some() && has_further_names(connection, (&sync, &source))?;
    let is_compared = places.is_counted && !places.is_blind && !has_further;
    let most = if places.began_later { i64::MAX } else { places.waiting.saturating_add(places.gap) };
    let is_off = is_compared && !(-places.again..=most).contains(&missing);
    // What was retried for it or forgotten may be counted under another name or hour there than here.
    let is_moved = is_off && !query.is_whole() && {
        let all = counts_of(connection, &FateQuery::default())?;
        let of = |key: (bool, String)| all.get(&key).copied().unwrap_or_default();
        let missing = of((false, source.clone())).went_on - of((true, sync.clone())).came;
        (-places.again..=most).contains(&missing)
    };
    if wrong.is_none() && is_off && !is_moved {
        wrong = Some(WrongSum {
            expected: went_on,
            found: counts.came.saturating_add(waiting),
            what: "what its source let go on is not what came to it and what waits for it".to_owned(),
        });
    }
    if wrong.is_none() && query.is_whole() && !places.is_blind {
        wrong = held_against_report(connection, &sync, (&counts, &places))?;
    }
    let unsure = if places.is_blind {
        Some("of some log ranges it is not known how many events went on".to_owned())
    } else if places.gap > 0 {
        Some(format!("{} events are at the destination by its own ledger, and nobody could look at them", places.gap))
    } else if places.again > 0 {
        Some("events came once more, for the ledger of its destination went back, or were forgotten and perhaps not for \
              it"
                .to_owned())
    } else if is_moved {
        Some("some are counted under another name or hour than when they came: they were retried, or forgotten on their \
              way"
                .to_owned())
    } else if has_further {
        Some(format!("there are more names than are kept apart: some are among the {FURTHER_NAMES}"))
    } else {
        None
    };
    Ok(SyncFates { sync, source, went_on, waiting, not_for_it: others, counts, unsure, wrong })
}

fn has_further_names(connection: &Connection, (sync, source): (&str, &str)) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM fate_hours WHERE name = ?3
        AND ((is_sync = 1 AND scope = ?1) OR (is_sync = 0 AND scope = ?2)) LIMIT 1";
    connection.prepare_cached(sql)?.exists(params![sync, source, FURTHER_NAMES])
}

/// What else the state knows of a sync: what its report says was delivered, and the events that are pending.
fn held_against_report(
    connection: &Connection,
    sync: &str,
    (counts, places): (&FateCounts, &SyncPlaces),
) -> rusqlite::Result<Option<WrongSum>> {
    const OF_SYNC: &str = "substr(sync, 1, instr(sync || '/', '/') - 1) = ?1";
    let sql = format!("SELECT coalesce(sum(delivered), 0) FROM syncs WHERE {OF_SYNC}");
    let delivered: i64 = connection.prepare_cached(&sql)?.query_row([sync], |row| row.get(0))?;
    let delivered = delivered - places.delivered_before;
    if delivered != counts.delivered {
        let what = "what its report says was delivered is not what is counted as delivered".to_owned();
        return Ok(Some(WrongSum { expected: delivered, found: counts.delivered, what }));
    }
    // A position is its partition above 48 bits of offset.
    let sql = format!(
        "SELECT count(*) FROM pending JOIN fate_syncs USING (sync)
            JOIN fate_begins ON fate_begins.log_partition = pending.log_offset >> 48
         WHERE {OF_SYNC} AND pending.log_offset & 281474976710655 >= max(fate_syncs.first, fate_begins.log_offset)"
    );
    let pending: i64 = connection.prepare_cached(&sql)?.query_row([sync], |row| row.get(0))?;
    Ok((pending != counts.pending).then(|| WrongSum {
        expected: pending,
        found: counts.pending,
        what: "the events that are pending are not those that are counted as pending".to_owned(),
    }))
}

#[cfg(test)]
mod tests;

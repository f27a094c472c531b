//! How much came and what became of it, hour by hour, and what waits: for whoever looks now and again.

use std::ops::Range;

use rusqlite::params;
use tidegate_event::{Position, in_partition};

use super::fate_tally::FateCounts;
use super::fates;
use super::{State, StateError, fate_ranges, partitions, starts, unsigned};

/// How many events of one name a source has had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NameHistory {
    /// Of a track; of all others their kind, as `(page)`.
    pub name: String,
    pub came: i64,
    /// Hours of receipt, counted from the epoch.
    pub first_hour: i64,
    pub last_hour: i64,
}

impl State {
    /// How many events of each name a source has had since counting began, the most frequent first: at most `names_max` names.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fates_by_name(&self, source: &str, names_max: u64) -> Result<Vec<NameHistory>, StateError> {
        let sql =
            "SELECT name, sum(came), min(hour), max(hour) FROM fate_hours WHERE is_sync = 0 AND scope = ?1 AND came > 0
             GROUP BY name ORDER BY 2 DESC, 1 LIMIT ?2";
        let most = i64::try_from(names_max).unwrap_or(i64::MAX);
        let read = || -> rusqlite::Result<Vec<NameHistory>> {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map(params![source, most], |row| {
                let (name, came) = (row.get(0)?, row.get(1)?);
                Ok(NameHistory { name, came, first_hour: row.get(2)?, last_hour: row.get(3)? })
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not read what became of events"))
    }

    /// What became of the events of a source or a sync that were received in these hours, counted from the epoch: each hour that has any.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn fates_by_hour(
        &self,
        (name, is_sync): (&str, bool),
        hours: Range<i64>,
    ) -> Result<Vec<(i64, FateCounts)>, StateError> {
        let sql = format!(
            "SELECT hour, {} FROM fate_hours WHERE is_sync = ?1 AND scope = ?2 AND hour >= ?3 AND hour < ?4
             GROUP BY hour ORDER BY hour",
            fates::SUMS
        );
        let read = || -> rusqlite::Result<Vec<(i64, FateCounts)>> {
            let mut find = self.connection.prepare_cached(&sql)?;
            let values = params![is_sync, name, hours.start, hours.end];
            let rows = find.query_map(values, |row| Ok((row.get(0)?, fates::read(row, 1)?)))?;
            rows.collect()
        };
        read().map_err(self.err("could not read what became of events"))
    }

    /// Events that went on from `source` and that `sync` has not had yet: they wait in the log. Of a log range that its cursor is in, all count.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn waiting_for(&self, sync: &str, source: &str) -> Result<u64, StateError> {
        let read = || -> rusqlite::Result<u64> {
            let mut waiting = 0;
            for partition in 0..partitions::read(&self.connection)?.unwrap_or(1) {
                let key = in_partition(sync, partition);
                let sql = "SELECT coalesce((SELECT cursor FROM syncs WHERE sync = ?1), 0)";
                let cursor: i64 = self.connection.prepare_cached(sql)?.query_row([&key], |row| row.get(0))?;
                // Before its first batch it has no cursor, and what came before it starts does not wait for it.
                let start = starts::of(&self.connection, &key)?;
                let cursor = Position::new(partition, unsigned(cursor).max(start));
                waiting += fate_ranges::behind(&self.connection, source, cursor)?;
            }
            Ok(waiting)
        };
        read().map_err(self.err("could not read what waits"))
    }
}

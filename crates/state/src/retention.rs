//! What is older than its source keeps events: how far the records of a source are erased, and what goes of the quarantine and of what waits for
//! another try.
//!
//! Which records were erased is not kept one by one. Below an offset all of a source that were old enough are, so what is missing there when a sync
//! comes by has expired.

use rusqlite::{OptionalExtension as _, Row, params};
use tidegate_event::EventId;

use super::fate_syncs::ResolvedFates;
use super::quarantine_entries::{EntryFilter, EntryScope};
use super::{State, StateError, erased_offsets, position, signed, sum, unsigned};

/// Pending events that are removed in one transaction.
const ROWS_MAX: i64 = 256;

/// How far what a source keeps no longer is erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErasedToTime {
    pub source: String,
    /// Its events that were received before are gone from every partition of the log, microseconds since the epoch; `None` before the first pass.
    pub at_us: Option<i64>,
}

/// What of a source was removed because it is too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExpiredRows {
    pub quarantined: u64,
    pub pending: u64,
}

impl State {
    /// Everything of `source` below this offset of a partition that was to be erased is.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn erased_below(&self, source: &str, partition: u16) -> Result<u64, StateError> {
        let sql = "SELECT next FROM retention WHERE source = ?1 AND log_partition = ?2";
        let found = self
            .connection
            .prepare_cached(sql)
            .and_then(|mut find| find.query_row(params![source, partition], |row| row.get(0).map(unsigned)).optional());
        found.map(Option::unwrap_or_default).map_err(self.err("could not read how far records are erased"))
    }

    /// Records of `source` at and above this offset of a partition are there, as far as its retention goes; below some may be erased.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn may_be_erased_below(&self, source: &str, partition: u16) -> Result<u64, StateError> {
        let found = erased_offsets::reached(&self.connection, source, partition);
        found.map_err(self.err("could not read how far records are erased"))
    }

    /// Keeps, durably, that records of these sources below `reached` are about to be erased.
    ///
    /// # Errors
    /// It is not kept, and nothing may be erased.
    pub fn begin_erasing(&mut self, sources: &[&str], partition: u16, reached: u64) -> Result<(), StateError> {
        self.in_transaction(true, |connection| {
            let mut keep = connection.prepare_cached(erased_offsets::KEEP_REACHED)?;
            sources.iter().try_for_each(|source| keep.execute(params![source, partition, signed(reached)]).map(drop))
        })
    }

    /// Keeps that nothing of these sources is left to be erased below `next`; it never goes back.
    ///
    /// # Errors
    /// It is looked at again.
    pub fn keep_erased(&mut self, sources: &[&str], partition: u16, next: u64) -> Result<(), StateError> {
        let sql = "INSERT INTO retention (source, log_partition, next, reached, erased_to_us) VALUES (?1, ?2, ?3, 0, 0)
            ON CONFLICT (source, log_partition) DO UPDATE SET next = max(next, excluded.next)";
        self.in_transaction(false, |connection| {
            let mut keep = connection.prepare_cached(sql)?;
            sources.iter().try_for_each(|source| keep.execute(params![source, partition, signed(next)]).map(drop))
        })
    }

    /// Keeps that what these sources received before `erased_to_us` is erased in a partition.
    ///
    /// # Errors
    /// It is not kept.
    pub fn keep_erased_to(&mut self, sources: &[&str], partition: u16, erased_to_us: i64) -> Result<(), StateError> {
        let sql = "INSERT INTO retention (source, log_partition, next, reached, erased_to_us) VALUES (?1, ?2, 0, 0, ?3)
            ON CONFLICT (source, log_partition) DO UPDATE SET erased_to_us = excluded.erased_to_us";
        self.in_transaction(false, |connection| {
            let mut keep = connection.prepare_cached(sql)?;
            sources.iter().try_for_each(|source| keep.execute(params![source, partition, erased_to_us]).map(drop))
        })
    }

    /// How far each source is that was ever erased of.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn erased_to_times(&self) -> Result<Vec<ErasedToTime>, StateError> {
        let sql = "SELECT source, min(erased_to_us) FROM retention GROUP BY source ORDER BY source";
        let read = |row: &Row<'_>| {
            let at_us: i64 = row.get(1)?;
            Ok(ErasedToTime { source: row.get(0)?, at_us: (at_us != 0).then_some(at_us) })
        };
        let found = self.connection.prepare_cached(sql).and_then(|mut find| find.query_map([], read)?.collect());
        found.map_err(self.err("could not read how far records are erased"))
    }

    /// Removes some of what is in quarantine, or pending, of events that a source received before `before_us`: it expires. `syncs` are those of
    /// the source. What is on its way into the log stays until it is there. Call it again until nothing is left.
    ///
    /// # Errors
    /// Some of it may be removed.
    pub fn expire_of_source(
        &mut self,
        source: &str,
        syncs: &[String],
        before_us: i64,
    ) -> Result<ExpiredRows, StateError> {
        let mut scopes = vec![EntryScope { name: source.to_owned(), is_sync: false }];
        scopes.extend(syncs.iter().map(|sync| EntryScope { name: sync.clone(), is_sync: true }));
        let filter = EntryFilter { scopes: Some(scopes), until_us: Some(before_us), ..EntryFilter::default() };
        let mut expired = ExpiredRows { quarantined: self.expire_entries(&filter)?, pending: 0 };
        for sync in syncs {
            expired.pending += self.expire_pending(sync, before_us)?;
        }
        Ok(expired)
    }

    fn expire_pending(&mut self, sync: &str, before_us: i64) -> Result<u64, StateError> {
        // Of all partitions, and of replays: no sync has one of these marks in its name.
        let sql = "SELECT sync, log_offset, part FROM pending WHERE received_at_us < ?2
            AND (sync = ?1 OR substr(sync, 1, length(?1) + 1) IN (?1 || '/', ?1 || '.')) LIMIT ?3";
        let read = |row: &Row<'_>| Ok((sum::text(row, 0)?, sum::number(row, 1)?, sum::small(row, 2)?));
        let found = self.connection.prepare_cached(sql).and_then(|mut find| {
            find.query_map(params![sync, before_us, ROWS_MAX], read)?.collect::<rusqlite::Result<Vec<_>>>()
        });
        let found: Vec<(String, i64, u32)> = found.map_err(self.err("could not read what is pending"))?;
        if found.is_empty() {
            return Ok(0);
        }
        let mut removed = 0;
        self.in_transaction(true, |connection| {
            connection.execute_batch("PRAGMA secure_delete = ON")?;
            let sql = "DELETE FROM pending WHERE sync = ?1 AND log_offset = ?2 AND part = ?3";
            let mut remove = connection.prepare_cached(sql)?;
            for (key, log_offset, part) in &found {
                let mut fates = ResolvedFates::new(connection, key)?;
                fates.resolve(EventId::new(position(*log_offset), *part), |counts| counts.expired += 1)?;
                fates.write()?;
                removed += remove.execute(params![key, log_offset, part])? as u64;
            }
            Ok(())
        })?;
        Ok(removed)
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::Position;

    use super::super::{
        BatchFates, FateQuery, FateTally, Pending, QuarantineStage, Quarantined, RangeCounts, SettledBatch,
        SyncProgress,
    };
    use super::*;

    fn id(offset: u64) -> EventId {
        EventId::new(Position::new(0, offset), 0)
    }

    fn entry(offset: u64, at_us: i64) -> Quarantined {
        Quarantined {
            id: id(offset),
            stage: QuarantineStage::Contract.as_str(),
            scope: "web".into(),
            code: "schema-violation".into(),
            message: "no".into(),
            event: b"{}".to_vec(),
            at_us,
            detail: None,
        }
    }

    fn waiting(offset: u64, received_at_us: i64) -> Pending {
        Pending {
            id: id(offset),
            user: "u".into(),
            event: "{}".into(),
            received_at_us,
            first_tried_at_us: 1,
            attempts: 1,
            next_at_us: 1,
            error: "away".into(),
        }
    }

    #[test]
    fn what_is_too_old_leaves_the_quarantine_and_what_is_pending_and_nothing_else_does() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        let other = Quarantined { scope: "other".into(), ..entry(3, 5) };
        state.quarantine(&[entry(1, 5), entry(2, 15), other]).unwrap();
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        for sync in ["crm", "crm2"] {
            let waits = [waiting(5, 5), waiting(6, 15)];
            state.settle(sync, &SettledBatch { progress: &progress, quarantined: &[], pending: &waits }, 1).unwrap();
        }
        let syncs = ["crm".to_owned()];
        let expired = state.expire_of_source("web", &syncs, 10).unwrap();
        assert_eq!(expired, ExpiredRows { quarantined: 1, pending: 1 });
        assert_eq!(state.expire_of_source("web", &syncs, 10).unwrap(), ExpiredRows::default());
        let left: Vec<(String, u64)> =
            state.pending_counts().unwrap().into_iter().map(|count| (count.sync, count.events)).collect();
        assert_eq!(left, [("crm".to_owned(), 1), ("crm2".to_owned(), 2)]);
        let size = state.quarantine_size().unwrap();
        assert_eq!((size.entries, size.expired, size.purged), (2, 1, 0));
    }

    #[test]
    fn a_sync_that_comes_by_after_its_events_were_erased_has_them_counted_as_expired() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        for range in [0..5, 5..10] {
            let mut tally = FateTally::default();
            tally.add((0, "E"), |counts| (counts.came, counts.went_on) = (5, 5));
            let counts = RangeCounts { accepted: 5, judged: 5, ..RangeCounts::default() };
            let mut stage = state.stage().unwrap();
            stage.source_fates("web", &range, (counts, &tally)).unwrap();
            stage.commit(&range, 1).unwrap();
        }
        state.begin_erasing(&["web"], 0, 4).unwrap();
        assert_eq!(state.may_be_erased_below("web", 0).unwrap(), 4);
        // All of the first log range is gone but one; the second has all.
        let mut batch = BatchFates { source: "web".to_owned(), told: 6, ..BatchFates::default() };
        batch.tally.add((0, "E"), |counts| (counts.came, counts.delivered) = (6, 6));
        let progress = SyncProgress { cursor: 10, delivered: 6, fates: Some(batch), ..SyncProgress::default() };
        state.advance("crm", &progress, 2).unwrap();
        assert!(!state.check_fates(3).unwrap(), "{:?}", state.fate_breaches());
        let found = state.conservation(&FateQuery::default()).unwrap();
        assert_eq!((found.syncs[0].counts.expired, found.syncs[0].counts.delivered), (4, 6), "{found:?}");
        assert!(found.holds(), "{found:?}");
    }

    #[test]
    fn how_far_a_source_is_erased_is_known_after_a_restart_and_never_goes_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        assert_eq!(state.erased_below("web", 0).unwrap(), 0);
        state.keep_erased(&["web", "shop"], 0, 9).unwrap();
        state.keep_erased(&["web"], 0, 7).unwrap();
        state.keep_erased_to(&["web"], 0, 50).unwrap();
        drop(state);
        let state = State::open(&path).unwrap();
        assert_eq!((state.erased_below("web", 0).unwrap(), state.erased_below("web", 1).unwrap()), (9, 0));
        assert_eq!(state.may_be_erased_below("web", 0).unwrap(), 0, "nothing of it was too old");
        let told = state.erased_to_times().unwrap();
        let of = |source: &str, at_us| ErasedToTime { source: source.to_owned(), at_us };
        assert_eq!(told, [of("shop", None), of("web", Some(50))]);
    }
}

//! Events that a destination could not take yet: kept whole until they are delivered or quarantined.

use rusqlite::{Connection, OptionalExtension as _, params};
use tidegate_event::{EventId, Position, partition_of};

use super::fate_syncs::ResolvedFates;
use super::replay_names::is_of_replay;
use super::sum::{self, Sum, number, small, text};
use super::{Quarantined, State, StateError, SyncProgress, cursors, quarantine, retry_outcomes, signed, unsigned};

/// One event that waits for its next try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    pub id: EventId,
    /// Whose event it is; empty when nobody's.
    pub user: String,
    /// The event as it goes to the destination, JSON text.
    pub event: String,
    pub received_at_us: i64,
    pub first_tried_at_us: i64,
    /// Tries that failed. 0 when it only waits for an earlier event of its user.
    pub attempts: u32,
    pub next_at_us: i64,
    /// What the last try said.
    pub error: String,
}

impl Pending {
    /// Of what never changes in it.
    pub(super) fn sum(&self, sync: &str) -> Sum {
        let sum = Sum::default().text(sync).event(self.id);
        sum.text(&self.user).text(&self.event).number(self.received_at_us).number(self.first_tried_at_us)
    }
}

/// A pending event without its body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PendingMark {
    pub id: EventId,
    pub user: String,
    pub bytes: u64,
    pub next_at_us: i64,
}

/// How many events of a sync are pending.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingCount {
    pub sync: String,
    pub events: u64,
    pub bytes: u64,
    /// Microseconds since the epoch of the first try of the event that has waited longest.
    pub oldest_at_us: i64,
    /// Of these the destination has been asked and did not take them; the others wait behind them.
    pub refused: u64,
}

impl PendingCount {
    /// That the destination does not take events, in words: they are tried again, and nothing in the sync's own report says so.
    #[must_use]
    pub fn failure(&self) -> Option<String> {
        (self.refused > 0).then(|| format!("its destination does not take {} events, which are retried", self.refused))
    }
}

/// Pending events that were asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PendingFound {
    pub whole: Vec<Pending>,
    /// Those whose checksum is wrong, as entries of the quarantine: they must not be delivered.
    pub damaged: Vec<Quarantined>,
}

/// The code of a pending event whose checksum is wrong.
pub const DAMAGED_PENDING_CODE: &str = "damaged-pending";

/// What became of a batch, to be recorded all at once.
#[derive(Debug, Clone, Copy)]
pub struct SettledBatch<'a> {
    pub progress: &'a SyncProgress,
    /// For the quarantine.
    pub quarantined: &'a [Quarantined],
    /// For another try.
    pub pending: &'a [Pending],
}

/// What became of pending events of one sync, all of it at once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolved {
    /// Events that are at the destination now.
    pub delivered: Vec<EventId>,
    /// Those that the destination did not want.
    pub filtered: Vec<EventId>,
    pub quarantined: Vec<Quarantined>,
    /// The event, failed tries, next try, what the last one said.
    pub again: Vec<(EventId, u32, i64, String)>,
}

impl Resolved {
    fn is_final(&self) -> bool {
        !(self.delivered.is_empty() && self.filtered.is_empty() && self.quarantined.is_empty())
    }
}

impl State {
    /// Records what became of a batch, all of it at once: the cursor moves, what is to be quarantined is in quarantine, what
    /// waits is pending. When any event is kept here this waits for the disk, for it is in no other place then.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn settle(&mut self, sync: &str, settled: &SettledBatch<'_>, now_us: i64) -> Result<(), StateError> {
        let SettledBatch { progress, quarantined, pending } = *settled;
        let kept = !(quarantined.is_empty() && pending.is_empty());
        let sync = &*self.key(sync).into_owned();
        let partition = self.partition;
        self.in_transaction(kept, |connection| {
            for entry in quarantined {
                quarantine::insert(connection, entry, quarantine::QuarantinedBy::Sync)?;
            }
            for entry in pending {
                insert(connection, sync, entry)?;
            }
            retry_outcomes::end(connection, partition, &progress.ended_retries)?;
            cursors::advance(connection, sync, progress, now_us)
        })
    }

    /// Records what became of pending events.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn resolve(&mut self, sync: &str, resolved: &Resolved, now_us: i64) -> Result<(), StateError> {
        let sync = &*self.key(sync).into_owned();
        // A try that is not remembered is made again; only what leaves must wait for the disk.
        self.in_transaction(!resolved.quarantined.is_empty(), |connection| {
            let mut fates = ResolvedFates::new(connection, sync)?;
            resolved.delivered.iter().try_for_each(|id| fates.resolve(*id, |counts| counts.delivered += 1))?;
            resolved.filtered.iter().try_for_each(|id| fates.resolve(*id, |counts| counts.filtered += 1))?;
            let mut stopped = resolved.quarantined.iter().map(|entry| entry.id);
            stopped.try_for_each(|id| fates.resolve(id, |counts| counts.quarantined += 1))?;
            fates.write()?;
            let mut remove =
                connection.prepare_cached("DELETE FROM pending WHERE sync = ?1 AND log_offset = ?2 AND part = ?3")?;
            let mut leaves = |id: EventId| -> rusqlite::Result<bool> {
                Ok(remove.execute(params![sync, signed(id.position.bits()), id.part])? > 0)
            };
            // What is not there any more was forgotten while it was tried: it is counted already, and is not kept again.
            let (mut delivered, mut filtered, mut rejected) = (0_u64, 0_u64, 0_u64);
            for id in &resolved.delivered {
                delivered += u64::from(leaves(*id)?);
            }
            for id in &resolved.filtered {
                filtered += u64::from(leaves(*id)?);
            }
            for entry in &resolved.quarantined {
                if leaves(entry.id)? {
                    // What a replay sends is the sync's already: what its destination refuses is counted.
                    if !is_of_replay(sync) {
                        quarantine::insert(connection, entry, quarantine::QuarantinedBy::Sync)?;
                    }
                    rejected += 1;
                }
            }
            let mut later = connection.prepare_cached(
                "UPDATE pending SET attempts = ?4, next_at_us = ?5, error = ?6, next_sum = ?7
                 WHERE sync = ?1 AND log_offset = ?2 AND part = ?3",
            )?;
            for (id, attempts, next_at_us, error) in &resolved.again {
                let next_sum = sum::next_try(*id, *attempts, *next_at_us).value();
                let at = signed(id.position.bits());
                later.execute(params![sync, at, id.part, attempts, next_at_us, error, next_sum])?;
            }
            if !resolved.is_final() {
                return Ok(());
            }
            let sql = "UPDATE syncs SET delivered = delivered + ?2, rejected = rejected + ?3, filtered = filtered + ?4,
                delivered_at_us = CASE WHEN ?2 > 0 THEN ?5 ELSE delivered_at_us END WHERE sync = ?1";
            connection.prepare_cached(sql)?.execute(params![
                sync,
                signed(delivered),
                signed(rejected),
                signed(filtered),
                now_us,
            ])?;
            Ok(())
        })
    }

    /// All pending events of a sync, in log order, without their bodies.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pending_marks(&self, sync: &str) -> Result<Vec<PendingMark>, StateError> {
        let sql = "SELECT log_offset, part, user, octet_length(event), next_at_us, attempts, next_sum FROM pending
            WHERE sync = ?1 ORDER BY log_offset, part";
        let read = || -> rusqlite::Result<Vec<PendingMark>> {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map([self.key(sync)], |row| {
                let id = EventId::new(Position::from_bits(unsigned(number(row, 0)?)), small(row, 1)?);
                let next_at_us = number(row, 4)?;
                // When it is due cannot be told any more: then it is due now.
                let right = sum::next_try(id, small(row, 5)?, next_at_us).value() == number(row, 6)?;
                Ok(PendingMark {
                    id,
                    user: text(row, 2)?,
                    bytes: unsigned(number(row, 3)?),
                    next_at_us: if right { next_at_us } else { 0 },
                })
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not read what is pending"))
    }

    /// Of these events, those that are pending.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pending_events(&self, sync: &str, ids: &[EventId]) -> Result<PendingFound, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM pending WHERE sync = ?1 AND log_offset = ?2 AND part = ?3");
        let sync = &*self.key(sync);
        let find = || -> rusqlite::Result<PendingFound> {
            let mut find = self.connection.prepare_cached(&sql)?;
            let mut found = PendingFound::default();
            for id in ids {
                match find.query_row(params![sync, signed(id.position.bits()), id.part], read).optional()? {
                    Some((_, event, true)) => found.whole.push(event),
                    Some((_, event, false)) => found.damaged.push(damaged(sync, event)),
                    None => {}
                }
            }
            Ok(found)
        };
        find().map_err(self.err("could not read what is pending"))
    }

    /// How many events are pending, by sync.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn pending_counts(&self) -> Result<Vec<PendingCount>, StateError> {
        // What is kept for a partition has its number behind the name.
        let sql = "SELECT substr(sync, 1, instr(sync || '/', '/') - 1) AS name, count(*), sum(octet_length(event)),
            min(first_tried_at_us), sum(attempts > 0) FROM pending GROUP BY name ORDER BY name";
        let read = || -> rusqlite::Result<Vec<PendingCount>> {
            let mut find = self.connection.prepare_cached(sql)?;
            let rows = find.query_map([], |row| {
                Ok(PendingCount {
                    sync: row.get(0)?,
                    events: unsigned(row.get(1)?),
                    bytes: unsigned(row.get(2)?),
                    oldest_at_us: row.get(3)?,
                    refused: unsigned(row.get(4)?),
                })
            })?;
            rows.collect()
        };
        read().map_err(self.err("could not count what is pending"))
    }

    /// Does the work in one transaction, on disk when it ends if it is to be `durable`.
    pub(super) fn in_transaction(
        &mut self,
        durable: bool,
        work: impl FnOnce(&Connection) -> rusqlite::Result<()>,
    ) -> Result<(), StateError> {
        let synchronous = if durable { "PRAGMA synchronous = FULL" } else { "PRAGMA synchronous = NORMAL" };
        self.connection.execute_batch(synchronous).map_err(self.err("could not set synchronous"))?;
        let path = &self.path;
        let transaction = self
            .connection
            .transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)
            .map_err(StateError::at("could not begin", path))?;
        work(&transaction).map_err(StateError::at("could not write", path))?;
        transaction.commit().map_err(StateError::at("could not commit", path))
    }
}

pub(super) fn insert(connection: &Connection, sync: &str, entry: &Pending) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO pending (sync, log_offset, part, user, event, received_at_us, first_tried_at_us,
        attempts, next_at_us, error, sum, next_sum) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)";
    let values = params![
        sync,
        signed(entry.id.position.bits()),
        entry.id.part,
        entry.user,
        entry.event,
        entry.received_at_us,
        entry.first_tried_at_us,
        entry.attempts,
        entry.next_at_us,
        entry.error,
        entry.sum(sync).value(),
        sum::next_try(entry.id, entry.attempts, entry.next_at_us).value(),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// What [`read`] reads, in its order.
pub(super) const COLUMNS: &str =
    "sync, log_offset, part, user, event, received_at_us, first_tried_at_us, attempts, next_at_us, error, sum";

/// A row of [`COLUMNS`]: its sync, the event, and whether its checksum is right.
pub(super) fn read(row: &rusqlite::Row<'_>) -> rusqlite::Result<(String, Pending, bool)> {
    let sync = text(row, 0)?;
    let event = Pending {
        id: EventId::new(Position::from_bits(unsigned(number(row, 1)?)), small(row, 2)?),
        user: text(row, 3)?,
        event: text(row, 4)?,
        received_at_us: number(row, 5)?,
        first_tried_at_us: number(row, 6)?,
        attempts: small(row, 7)?,
        next_at_us: number(row, 8)?,
        error: text(row, 9)?,
    };
    let right = sum::types_are(row, "tiittiiiiti")? && event.sum(&sync).value() == number(row, 10)?;
    Ok((sync, event, right))
}

fn damaged(sync: &str, event: Pending) -> Quarantined {
    Quarantined {
        id: event.id,
        stage: super::QuarantineStage::Destination.as_str(),
        scope: partition_of(sync).0.to_owned(),
        code: DAMAGED_PENDING_CODE.to_owned(),
        message: "this pending event is not what was stored (its checksum is wrong), so it was not delivered; the \
                  event as it was accepted is in the log while that keeps it"
            .to_owned(),
        event: event.event.into_bytes(),
        at_us: event.received_at_us,
        detail: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(offset: u64) -> EventId {
        EventId::new(Position::new(0, offset), 0)
    }

    fn event(offset: u64) -> Pending {
        Pending {
            id: id(offset),
            user: "u".into(),
            event: "{}".into(),
            received_at_us: 1,
            first_tried_at_us: 2,
            attempts: 1,
            next_at_us: 3,
            error: "away".into(),
        }
    }

    fn waiting<'a>(progress: &'a SyncProgress, pending: &'a [Pending]) -> SettledBatch<'a> {
        SettledBatch { progress, quarantined: &[], pending }
    }

    #[test]
    fn what_waits_moves_with_the_cursor_and_leaves_with_its_count() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        assert_eq!(state.cursor("s").unwrap(), None);
        let progress = SyncProgress { cursor: 9, delivered: 1, ..SyncProgress::default() };
        state.settle("s", &waiting(&progress, &[event(7), event(8)]), 5).unwrap();
        assert_eq!(state.cursor("s").unwrap(), Some(9));
        assert_eq!(state.pending_counts().unwrap()[0].events, 2);
        // The same batch after a crash leaves it as it was.
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        state.settle("s", &waiting(&progress, &[event(7)]), 5).unwrap();
        let again = vec![(id(8), 2, 99, "still away".to_owned())];
        state.resolve("s", &Resolved { delivered: vec![id(7)], again, ..Resolved::default() }, 6).unwrap();
        let left = state.pending_events("s", &[id(7), id(8)]).unwrap().whole;
        assert_eq!(left, [Pending { attempts: 2, next_at_us: 99, error: "still away".into(), ..event(8) }]);
        assert_eq!(state.pending_marks("s").unwrap()[0].next_at_us, 99);
        let report = &state.reports().unwrap()[0];
        assert_eq!((report.delivered, report.delivered_at_us), (2, Some(6)));
    }

    #[test]
    fn a_file_of_the_format_before_is_carried_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let old = Connection::open(&path).unwrap();
        old.execute_batch(
            "CREATE TABLE meta (key TEXT PRIMARY KEY, value) WITHOUT ROWID;
             INSERT INTO meta VALUES ('format', 1);
             CREATE TABLE quarantine (id INTEGER PRIMARY KEY, log_offset INTEGER NOT NULL, part INTEGER NOT NULL,
                stage TEXT NOT NULL, scope TEXT NOT NULL, code TEXT NOT NULL, message TEXT NOT NULL,
                event BLOB NOT NULL, at_us INTEGER NOT NULL, UNIQUE (log_offset, part, stage, scope));
             INSERT INTO quarantine VALUES (1, 2, 0, 'contract', 'web', 'c', 'm', x'7b7d', 3);",
        )
        .unwrap();
        drop(old);
        // A reader asks for what the server has not made yet.
        let said = State::read(&path).err().unwrap().to_string();
        assert!(said.contains("format 1 of an earlier build") && said.contains("tidegate serve"), "{said}");
        for _ in 0..2 {
            let state = State::open(&path).unwrap();
            let kept =
                state.quarantined(&super::super::QuarantineFilter { entries_max: 9, ..Default::default() }).unwrap();
            assert_eq!((kept.len(), kept[0].detail.as_deref()), (1, None));
            assert!(state.pending_counts().unwrap().is_empty());
            assert_eq!(state.quarantine_size().unwrap().entries, 1);
        }
        assert!(State::read(&path).is_ok());
    }

    #[test]
    fn a_file_of_a_later_format_is_refused_and_not_touched() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        drop(State::open(&path).unwrap());
        let later = Connection::open(&path).unwrap();
        later.execute_batch("UPDATE meta SET value = 99 WHERE key = 'format'; PRAGMA journal_mode = DELETE").unwrap();
        drop(later);
        let before = std::fs::read(&path).unwrap();
        let said = State::open(&path).err().unwrap().to_string();
        assert!(said.contains("state.db: format 99") && said.contains("newer build"), "{said}");
        assert!(State::read(&path).is_err());
        assert_eq!(std::fs::read(&path).unwrap(), before);
    }

    #[test]
    fn a_flipped_bit_of_a_pending_event_keeps_it_from_its_destination() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        let progress = SyncProgress { cursor: 9, ..SyncProgress::default() };
        state.settle("s", &waiting(&progress, &[event(7), event(8)]), 5).unwrap();
        let other = Connection::open(&path).unwrap();
        other.execute("UPDATE pending SET event = '{}}' WHERE log_offset = 7", []).unwrap();
        other.execute("UPDATE pending SET next_at_us = 1 << 60 WHERE log_offset = 8", []).unwrap();
        let found = state.pending_events("s", &[id(7), id(8)]).unwrap();
        assert_eq!(found.whole.len(), 1);
        assert_eq!((found.damaged[0].id.position.offset, found.damaged[0].code.as_str()), (7, DAMAGED_PENDING_CODE));
        assert_eq!(state.pending_marks("s").unwrap()[1].next_at_us, 0, "due now rather than never");
        other.execute("UPDATE syncs SET cursor = 4096", []).unwrap();
        assert!(state.cursor("s").unwrap_err().to_string().contains("cursor of sync s"));
        assert!(state.reports().is_err());
    }
}

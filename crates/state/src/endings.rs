//! Syncs that end: how far each still has to come, and what became of those that have ended.

use std::collections::BTreeMap;

use rusqlite::{Connection, params};
use tidegate_event::{Position, in_partition, partition_of};

use super::{State, StateError, fates, signed, sum, unsigned};

/// What becomes of what waits for a sync that ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EndingKind {
    /// It is delivered first.
    Drain,
    /// It is counted and not delivered.
    Abandon,
}

impl EndingKind {
    const ALL: [Self; 2] = [Self::Drain, Self::Abandon];

    /// The word in the file.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Abandon => "abandon",
        }
    }

    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// A sync that ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncEnd {
    pub sync: String,
    pub kind: EndingKind,
    /// Of each partition of the log: what is below is for the sync, nothing from there on.
    pub ends: Vec<Position>,
}

/// A sync that has ended, with what it did. Its name may be another's by now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndedSync {
    pub sync: String,
    /// Microseconds since the epoch.
    pub ended_at_us: i64,
    pub delivered: u64,
    pub duplicates: u64,
    pub rejected: u64,
    pub filtered: u64,
    /// Events that it gave up: records that it had not had, and pending ones.
    pub abandoned: u64,
}

/// The rows of a sync in every partition: behind its name may be a slash and a number.
const OF_SYNC: &str = "substr(sync, 1, instr(sync || '/', '/') - 1) = ?1";
/// Syncs that have ended and are remembered.
const ENDED_MAX: i64 = 10_000;

impl State {
    /// Says, durably, that a sync ends, in every partition. One that ends already keeps its end, whatever becomes of what waits for it.
    ///
    /// # Errors
    /// Nothing was recorded.
    pub fn begin_ending(&mut self, sync: &str, kind: EndingKind, ends: &[Position]) -> Result<(), StateError> {
        let known = self.endings()?.into_iter().find(|known| known.sync == sync).map(|known| known.ends);
        let ends = known.unwrap_or_else(|| ends.to_vec());
        self.in_transaction(true, |connection| {
            ends.iter().try_for_each(|end| insert(connection, &in_partition(sync, end.partition), end.offset, kind))
        })
    }

    /// Takes back that these syncs end.
    ///
    /// # Errors
    /// Nothing was taken back.
    pub fn forget_endings(&mut self, syncs: &[&str]) -> Result<(), StateError> {
        let sql = format!("DELETE FROM endings WHERE {OF_SYNC}");
        self.in_transaction(true, |connection| {
            syncs.iter().try_for_each(|sync| connection.execute(&sql, [sync]).map(drop))
        })
    }

    /// The syncs that end, by name.
    ///
    /// # Errors
    /// The file cannot be read, or is not what was stored.
    pub fn endings(&self) -> Result<Vec<SyncEnd>, StateError> {
        let read = || -> rusqlite::Result<Vec<(String, u64, String, i64)>> {
            let mut find = self.connection.prepare("SELECT sync, end, how, sum FROM endings ORDER BY sync")?;
            let rows = find.query_map([], |row| Ok((row.get(0)?, unsigned(row.get(1)?), row.get(2)?, row.get(3)?)))?;
            rows.collect()
        };
        let mut endings: BTreeMap<String, SyncEnd> = BTreeMap::new();
        for (key, end, how, sum) in read().map_err(self.err("could not read which syncs end"))? {
            let kind = EndingKind::of_word(&how).filter(|kind| checksum(&key, end, *kind) == sum);
            let kind = kind.ok_or_else(|| self.damaged("how a sync ends is not what was stored"))?;
            let (sync, partition) = partition_of(&key);
            let sync = sync.to_owned();
            let ending = endings.entry(sync.clone()).or_insert_with(|| SyncEnd { sync, kind, ends: Vec::new() });
            ending.ends.push(Position::new(partition, end));
        }
        Ok(endings.into_values().collect())
    }

    /// Ends a sync in every partition, in one transaction: what it did is kept, and where it was, where it began and what is pending
    /// for it goes, so that another sync of its name begins anew. `abandoned` are events of the log that it gives up; those that are
    /// pending are added to them. `None` when it is not at its end: it has ended already, and its name may be another's by now.
    ///
    /// # Errors
    /// Nothing has changed.
    pub fn end_sync(&mut self, sync: &str, abandoned: u64, now_us: i64) -> Result<Option<EndedSync>, StateError> {
        let mut ended = None;
        self.in_transaction(true, |connection| {
            let counts = format!(
                "SELECT coalesce(sum(delivered), 0), coalesce(sum(duplicates), 0), coalesce(sum(rejected), 0),
                 coalesce(sum(filtered), 0) FROM syncs WHERE {OF_SYNC}"
            );
            let mut this = connection.query_row(&counts, [sync], |row| {
                Ok(EndedSync {
                    sync: sync.to_owned(),
                    ended_at_us: now_us,
                    delivered: unsigned(row.get(0)?),
                    duplicates: unsigned(row.get(1)?),
                    rejected: unsigned(row.get(2)?),
                    filtered: unsigned(row.get(3)?),
                    abandoned,
                })
            })?;
            let remove = |table: &str| connection.execute(&format!("DELETE FROM {table} WHERE {OF_SYNC}"), [sync]);
            if remove("endings")? == 0 {
                return Ok(());
            }
            this.abandoned += remove("pending")? as u64;
            remove("syncs")?;
            remove("starts")?;
            remove("fate_syncs")?;
            fates::forget_sync(connection, sync)?;
            keep(connection, &this)?;
            let sql = "DELETE FROM ended_syncs WHERE id <= (SELECT max(id) FROM ended_syncs) - ?1";
            connection.execute(sql, [ENDED_MAX])?;
            ended = Some(this);
            Ok(())
        })?;
        Ok(ended)
    }

    /// The syncs that have ended, the latest last; the oldest are forgotten at some time.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn ended_syncs(&self) -> Result<Vec<EndedSync>, StateError> {
        let sql = format!("SELECT {COLUMNS} FROM ended_syncs ORDER BY id");
        let read = || -> rusqlite::Result<Vec<EndedSync>> {
            self.connection.prepare(&sql)?.query_map([], ended_sync)?.collect()
        };
        read().map_err(self.err("could not read which syncs have ended"))
    }
}

/// What [`ended_sync`] reads, in its order.
pub(super) const COLUMNS: &str = "sync, ended_at_us, delivered, duplicates, rejected, filtered, abandoned";

fn ended_sync(row: &rusqlite::Row<'_>) -> rusqlite::Result<EndedSync> {
    Ok(EndedSync {
        sync: row.get(0)?,
        ended_at_us: row.get(1)?,
        delivered: unsigned(row.get(2)?),
        duplicates: unsigned(row.get(3)?),
        rejected: unsigned(row.get(4)?),
        filtered: unsigned(row.get(5)?),
        abandoned: unsigned(row.get(6)?),
    })
}

/// Keeps what a sync did that has ended.
fn keep(connection: &Connection, ended: &EndedSync) -> rusqlite::Result<()> {
    let sql = format!("INSERT INTO ended_syncs ({COLUMNS}) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)");
    let values = params![
        ended.sync,
        ended.ended_at_us,
        signed(ended.delivered),
        signed(ended.duplicates),
        signed(ended.rejected),
        signed(ended.filtered),
        signed(ended.abandoned),
    ];
    connection.execute(&sql, values).map(drop)
}

/// `sync` is the key of a sync in a partition.
fn insert(connection: &Connection, sync: &str, end: u64, kind: EndingKind) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO endings (sync, end, how, sum) VALUES (?1, ?2, ?3, ?4)";
    connection.execute(sql, params![sync, signed(end), kind.as_str(), checksum(sync, end, kind)]).map(drop)
}

fn checksum(sync: &str, end: u64, kind: EndingKind) -> i64 {
    sum::named(sync, end).text(kind.as_str()).value()
}

/// Carries over a row of a damaged file, as far as it is right.
pub(super) fn salvage_ending(new: &Connection, row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    let (sync, end, how) = (sum::text(row, 0)?, unsigned(sum::number(row, 1)?), sum::text(row, 2)?);
    let kind = EndingKind::of_word(&how)
        .filter(|kind| sum::number(row, 3).is_ok_and(|sum| sum == checksum(&sync, end, *kind)));
    let Some(kind) = kind else { return Ok(0) };
    insert(new, &sync, end, kind)?;
    Ok(new.changes())
}

/// The same of a sync that has ended; its row has no checksum.
pub(super) fn salvage_ended(new: &Connection, row: &rusqlite::Row<'_>) -> rusqlite::Result<u64> {
    if !sum::types_are(row, "tiiiiii")? {
        return Ok(0);
    }
    keep(new, &ended_sync(row)?)?;
    Ok(new.changes())
}

#[cfg(test)]
mod tests {
    use tidegate_event::EventId;

    use super::*;
    use crate::{Pending, SettledBatch, SyncProgress};

    fn state(dir: &tempfile::TempDir) -> State {
        State::open(&dir.path().join("state.db")).unwrap()
    }

    fn pending(partition: u16, offset: u64) -> Pending {
        Pending {
            id: EventId::new(Position::new(partition, offset), 0),
            user: "u".into(),
            event: "{}".into(),
            received_at_us: 1,
            first_tried_at_us: 2,
            attempts: 1,
            next_at_us: 3,
            error: "away".into(),
        }
    }

    /// The sync `crm` and another whose name begins like it, in both of two partitions.
    fn filled(dir: &tempfile::TempDir) -> State {
        let mut state = state(dir);
        state.set_partitions(2).unwrap();
        for partition in 0..2 {
            state = state.of_partition(partition);
            state.record_starts(&[("crm", 3), ("crm-2", 0)]).unwrap();
            for sync in ["crm", "crm-2"] {
                let progress =
                    SyncProgress { cursor: 9, delivered: 4, filtered: 2, rejected: 1, ..SyncProgress::default() };
                let waiting = [pending(partition, 7), pending(partition, 8)];
                let settled = SettledBatch { progress: &progress, quarantined: &[], pending: &waiting };
                state.settle(sync, &settled, 5).unwrap();
            }
        }
        state.of_partition(0)
    }

    #[test]
    fn a_sync_that_ends_leaves_its_counts_and_nothing_that_another_of_its_name_would_go_on_from() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = filled(&dir);
        let ends = [Position::new(0, 20), Position::new(1, 30)];
        state.begin_ending("crm", EndingKind::Abandon, &ends).unwrap();
        let ended = state.end_sync("crm", 11, 77).unwrap().unwrap();
        let wanted = EndedSync {
            sync: "crm".to_owned(),
            ended_at_us: 77,
            delivered: 8,
            duplicates: 0,
            rejected: 2,
            filtered: 4,
            abandoned: 15,
        };
        assert_eq!(ended, wanted);
        assert_eq!(state.ended_syncs().unwrap(), [wanted]);
        assert_eq!(state.endings().unwrap(), []);
        for partition in 0..2 {
            state = state.of_partition(partition);
            assert_eq!((state.cursor("crm").unwrap(), state.cursor("crm-2").unwrap()), (None, Some(9)));
            assert_eq!(state.starts().unwrap().into_keys().collect::<Vec<_>>(), ["crm-2"]);
            assert_eq!(state.pending_marks("crm").unwrap(), []);
            assert_eq!(state.pending_marks("crm-2").unwrap().len(), 2);
        }
        assert_eq!(state.reports().unwrap().len(), 1);
        // Once more, after an answer that was lost.
        assert_eq!(state.end_sync("crm", 0, 78).unwrap(), None);
        assert_eq!(state.ended_syncs().unwrap().len(), 1);
        // Another one of its name begins where it is told to, and an end of the one before that comes late is none of it.
        state.record_starts(&[("crm", 50)]).unwrap();
        assert_eq!(state.end_sync("crm", 0, 79).unwrap(), None);
        assert_eq!(state.starts().unwrap()["crm"], 50);
    }

    #[test]
    fn a_drain_keeps_its_end_and_may_be_given_up() {
        let dir = tempfile::tempdir().unwrap();
        let mut state = filled(&dir);
        let ends = vec![Position::new(0, 20), Position::new(1, 30)];
        state.begin_ending("crm", EndingKind::Drain, &ends).unwrap();
        state.begin_ending("crm-2", EndingKind::Drain, &ends).unwrap();
        let drains = |sync: &str, kind| SyncEnd { sync: sync.to_owned(), kind, ends: ends.clone() };
        let both = [drains("crm", EndingKind::Drain), drains("crm-2", EndingKind::Drain)];
        assert_eq!(state.endings().unwrap(), both);
        state.begin_ending("crm", EndingKind::Abandon, &[Position::new(0, 99), Position::new(1, 99)]).unwrap();
        assert_eq!(state.endings().unwrap()[0], drains("crm", EndingKind::Abandon));
        state.forget_endings(&["crm", "absent"]).unwrap();
        assert_eq!(state.endings().unwrap(), [drains("crm-2", EndingKind::Drain)]);
    }

    #[test]
    fn a_flipped_bit_in_how_a_sync_ends_is_found_and_left_behind() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = filled(&dir);
        let end = [Position::new(0, 20)];
        state.begin_ending("crm", EndingKind::Drain, &end).unwrap();
        state.begin_ending("crm-2", EndingKind::Drain, &end).unwrap();
        state.end_sync("crm-2", 0, 1).unwrap();
        state.begin_ending("crm-2", EndingKind::Abandon, &end).unwrap();
        state.connection.execute("UPDATE endings SET end = 21 WHERE sync = 'crm'", []).unwrap();
        assert!(matches!(state.endings(), Err(StateError::Damaged { .. })));
        let found = crate::verify(&path, tidegate_sqlite::sqlite_check::Depth::Full).unwrap();
        assert!(found.damaged.iter().any(|row| row.table == "endings" && row.is_needed()), "{found:?}");
        let mut new = State::open(&dir.path().join("new.db")).unwrap();
        new.salvage(&path).unwrap();
        let kept: Vec<_> = new.endings().unwrap().into_iter().map(|ending| ending.sync).collect();
        assert_eq!(kept, ["crm-2"]);
        assert_eq!(new.ended_syncs().unwrap().len(), 1);
    }
}

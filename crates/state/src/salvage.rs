//! Takes out of a damaged state file what is certainly right: rows with a checksum that fits.

use std::path::Path;

use rusqlite::{Connection, params};
use tidegate_sqlite::sqlite_check;

use super::{
    State, StateError, consents, endings, fate_syncs, forget_jobs, pending, quarantine, starts, stream_positions,
    subjects, sum, unsigned,
};

/// What was carried over from a damaged file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvaged {
    pub cursors: u64,
    pub pending: u64,
    pub quarantined: u64,
}

impl State {
    /// Carries the cursors, where syncs start and end, who is left out or forgotten, what people consented to, how far streams were read, the pending events and the
    /// quarantine of the damaged file at `old` over, as far as they can be read and their checksums are right. Dedup marks come again from the log.
    ///
    /// # Errors
    /// This file cannot be written.
    pub fn salvage(&mut self, old: &Path) -> Result<Salvaged, StateError> {
        let mut salvaged = Salvaged::default();
        // A file that is not even a database holds nothing that could be told from rubbish.
        let Ok(old) = sqlite_check::open(old) else { return Ok(salvaged) };
        self.in_transaction(true, |new| {
            salvaged.cursors = cursors(&old, new)?;
            first_offsets(&old, new)?;
            subjects::salvage(&old, new)?;
            consents::salvage(&old, new)?;
            each(&old, (forget_jobs::COLUMNS, "forget_jobs", "id"), |row| forget_jobs::salvage(new, row))?;
            each(&old, ("sync, end, how, sum", "endings", "sync"), |row| endings::salvage_ending(new, row))?;
            each(&old, (endings::COLUMNS, "ended_syncs", "id"), |row| endings::salvage_ended(new, row))?;
            let positions = (stream_positions::COLUMNS, "stream_positions", "source, upstream_partition");
            each(&old, positions, |row| stream_positions::salvage(new, row))?;
            salvaged.pending = pending_events(&old, new)?;
            fate_syncs::blind_without_cursor(new)?;
            salvaged.quarantined = quarantined(&old, new)?;
            Ok(())
        })?;
        Ok(salvaged)
    }
}

/// Rows of `sql`, until the first that cannot be read: then again from the other end, so that one bad page costs what
/// lies on it.
fn each(
    old: &Connection,
    (columns, table, key): (&str, &str, &str),
    mut take: impl FnMut(&rusqlite::Row<'_>) -> rusqlite::Result<u64>,
) -> rusqlite::Result<u64> {
    let mut taken = 0;
    for order in ["ASC", "DESC"] {
        let order: String = key.split(", ").map(|key| format!("{key} {order}")).collect::<Vec<_>>().join(", ");
        let Ok(mut find) = old.prepare(&format!("SELECT {columns} FROM {table} ORDER BY {order}")) else { break };
        let Ok(mut rows) = find.query([]) else { continue };
        loop {
            match rows.next() {
                Ok(Some(row)) => taken += take(row)?,
                Ok(None) => return Ok(taken),
                Err(_) => break,
            }
        }
    }
    Ok(taken)
}

fn cursors(old: &Connection, new: &Connection) -> rusqlite::Result<u64> {
    let columns = "sync, cursor, sum, delivered, duplicates, rejected, filtered";
    let mut put = new.prepare(
        "INSERT OR IGNORE INTO syncs (sync, cursor, sum, delivered, duplicates, rejected, filtered)
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
    )?;
    each(old, (columns, "syncs", "rowid"), |row| {
        let (sync, cursor) = (sum::text(row, 0)?, sum::number(row, 1)?);
        if sum::named(&sync, unsigned(cursor)).value() != sum::number(row, 2)? {
            return Ok(0);
        }
        let count = |column| sum::number(row, column);
        let put = put.execute(params![sync, cursor, count(2)?, count(3)?, count(4)?, count(5)?, count(6)?])?;
        Ok(put as u64)
    })
}

/// A sync whose start is lost gets what the log keeps.
fn first_offsets(old: &Connection, new: &Connection) -> rusqlite::Result<u64> {
    each(old, ("sync, log_offset, sum", "starts", "sync"), |row| {
        let (sync, offset) = (sum::text(row, 0)?, unsigned(sum::number(row, 1)?));
        if sum::named(&sync, offset).value() == sum::number(row, 2)? {
            starts::insert(new, &sync, offset)?;
            return Ok(new.changes());
        }
        Ok(0)
    })
}

fn pending_events(old: &Connection, new: &Connection) -> rusqlite::Result<u64> {
    each(old, (pending::COLUMNS, "pending", "sync, log_offset, part"), |row| {
        let (sync, event, right) = pending::read(row)?;
        if right {
            pending::insert(new, &sync, &event)?;
            return Ok(new.changes());
        }
        Ok(0)
    })
}

fn quarantined(old: &Connection, new: &Connection) -> rusqlite::Result<u64> {
    let knows_retries = old.prepare("SELECT attempts FROM quarantine LIMIT 0").is_ok();
    let columns = if knows_retries { quarantine::COLUMNS } else { quarantine::COLUMNS_OF_SEVEN };
    each(old, (columns, "quarantine", "id"), |row| {
        let kept = quarantine::read(row)?;
        if kept.is_whole {
            quarantine::put(new, &kept)?;
            return Ok(new.changes());
        }
        Ok(0)
    })
}

#[cfg(test)]
mod tests {
    use tidegate_event::{EventId, Position};

    use super::*;
    use crate::{BatchFates, FateTally, Pending, RangeCounts, SettledBatch, SyncProgress};

    #[test]
    fn pending_events_of_a_sync_whose_cursor_is_lost_are_no_breach() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("old.db");
        let mut old = State::open(&path).unwrap();
        let event = Pending {
            id: EventId::new(Position::new(0, 3), 0),
            user: String::new(),
            event: r#"{"type":"track","event":"E"}"#.to_owned(),
            received_at_us: 1,
            first_tried_at_us: 1,
            attempts: 1,
            next_at_us: 1,
            error: String::new(),
        };
        let progress = SyncProgress { cursor: 5, ..SyncProgress::default() };
        old.settle("crm", &SettledBatch { progress: &progress, quarantined: &[], pending: &[event] }, 1).unwrap();
        old.connection.execute("UPDATE syncs SET cursor = 4", []).unwrap();
        drop(old);
        let mut state = State::open(&dir.path().join("state.db")).unwrap();
        assert_eq!(state.salvage(&path).unwrap().pending, 1);
        let mut tally = FateTally::default();
        tally.add((0, "E"), |counts| (counts.came, counts.went_on) = (1, 1));
        let counts = RangeCounts { accepted: 1, judged: 1, ..RangeCounts::default() };
        let mut stage = state.stage().unwrap();
        stage.source_fates("web", &(0..5), (counts, &tally)).unwrap();
        stage.commit(&(0..5), 1).unwrap();
        // It comes again, and waits already.
        let fates = BatchFates { source: "web".to_owned(), left_out: 1, ..BatchFates::default() };
        let progress = SyncProgress { cursor: 5, fates: Some(fates), ..SyncProgress::default() };
        state.advance("crm", &progress, 2).unwrap();
        assert!(!state.check_fates(3).unwrap(), "{:?}", state.fate_breaches());
    }
}

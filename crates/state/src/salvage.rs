//! Takes out of a damaged state file what is certainly right: rows with a checksum that fits.

use std::path::Path;

use rusqlite::{Connection, params};
use tidegate_sqlite::sqlite_check;

use super::{State, StateError, endings, pending, quarantine, starts, sum, unsigned};

/// What was carried over from a damaged file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Salvaged {
    pub cursors: u64,
    pub pending: u64,
    pub quarantined: u64,
}

impl State {
    /// Carries the cursors, where syncs start and end, the pending events and the quarantine of the damaged file at `old` over, as
    /// far as they can be read and their checksums are right. Dedup marks come again from the log.
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
            each(&old, ("sync, end, how, sum", "endings", "sync"), |row| endings::salvage_ending(new, row))?;
            each(&old, (endings::COLUMNS, "ended_syncs", "id"), |row| endings::salvage_ended(new, row))?;
            salvaged.pending = pending_events(&old, new)?;
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
    each(old, (quarantine::COLUMNS, "quarantine", "id"), |row| {
        let (entry, right) = quarantine::read(row)?;
        if right {
            quarantine::insert(new, &entry)?;
            return Ok(new.changes());
        }
        Ok(0)
    })
}

//! Why events are in quarantine, where that quotes somebody whom they are not about.

use rusqlite::{Connection, OptionalExtension as _, params};

use super::{OF_SEVERAL_DETAIL, State, StateError, SubjectSet, quarantine, signed, sum};

/// Entries that are changed in one transaction.
const ENTRIES: usize = 256;

impl State {
    /// Takes away why entries of others are in quarantine, where that quotes somebody: the events stay. Answers how many entries there are, and of
    /// how many that is so.
    ///
    /// # Errors
    /// Some of it may be taken away; all of it is when it is asked for again.
    pub(super) fn forget_reasons(&mut self, subjects: &SubjectSet, dry_run: bool) -> Result<(u64, u64), StateError> {
        let (looked_at, found) =
            quoting(&self.connection, subjects).map_err(self.err("could not read the quarantine"))?;
        for some in found.chunks(ENTRIES).filter(|_| !dry_run) {
            self.in_transaction(true, |connection| {
                connection.execute_batch("PRAGMA secure_delete = ON")?;
                some.iter().try_for_each(|id| forget_reason(connection, *id))
            })?;
        }
        Ok((looked_at, found.len() as u64))
    }
}

/// How many entries there are, and those whose reasons quote somebody.
fn quoting(connection: &Connection, subjects: &SubjectSet) -> rusqlite::Result<(u64, Vec<i64>)> {
    let mut find = connection.prepare("SELECT id, message, detail FROM quarantine")?;
    let (mut rows, mut looked_at, mut found) = (find.query([])?, 0, Vec::new());
    while let Some(row) = rows.next()? {
        looked_at += 1;
        let detail = sum::bytes(row, 2)?;
        let is_quoted = detail != OF_SEVERAL_DETAIL.as_bytes() && subjects.stands_in(&detail);
        if is_quoted || subjects.stands_in(&sum::bytes(row, 1)?) {
            found.push(row.get(0)?);
        }
    }
    Ok((looked_at, found))
}

/// Takes message and detail of an entry away, but for what it was made beside. Its checksum is right afterwards if it was before.
fn forget_reason(connection: &Connection, id: i64) -> rusqlite::Result<()> {
    let sql = format!("SELECT {} FROM quarantine WHERE id = ?1", quarantine::COLUMNS);
    let found = connection.prepare_cached(&sql)?.query_row([id], quarantine::read).optional()?;
    let Some(mut kept) = found else { return Ok(()) };
    let quoted = kept.entry.detail.take_if(|detail| detail.as_str() != OF_SEVERAL_DETAIL);
    let bytes = kept.entry.message.len() + quoted.map_or(0, |detail| detail.len());
    kept.entry.message.clear();
    let sum = kept.is_whole.then(|| kept.sum());
    let sql = "UPDATE quarantine SET message = '', detail = ?3, sum = coalesce(?2, sum) WHERE id = ?1";
    connection.prepare_cached(sql)?.execute(params![id, sum, kept.entry.detail])?;
    let sql = "UPDATE quarantine_size SET bytes = max(bytes - ?1, 0)";
    connection.prepare_cached(sql)?.execute([signed(bytes as u64)]).map(drop)
}

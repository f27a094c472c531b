//! Carries the state file of an earlier build over, step by step, in one transaction.

use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Transaction, TransactionBehavior, params};
use tidegate_event::{EventId, Position};

use super::{Pending, StateError, schema, seal, seen, sum, unsigned};

/// A file up to this size is written anew for a better layout of its pages; a larger one keeps the one it has.
const REWRITTEN_BYTES_MAX: u64 = 256 << 20;

/// Sets a new or existing file up.
pub(super) fn prepare(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let at = |action| StateError::at(action, path);
    connection.busy_timeout(Duration::from_secs(10)).map_err(at("could not set a time limit"))?;
    connection.set_prepared_statement_cache_capacity(64);
    // Of another build's file not a byte is changed.
    let new = schema::is_new(connection, path)?;
    if !new {
        schema::refuse_newer(connection, path)?;
    } else {
        // Counts for a file without tables only: what the quarantine gives back goes back to the file system.
        connection.execute_batch("PRAGMA auto_vacuum = INCREMENTAL").map_err(at("could not set up"))?;
    }
    // A lost commit is refined again from the log, so the log's own sync is the only one that an event waits for.
    connection
        .execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA cache_size = -16384;
             PRAGMA journal_size_limit = 67108864; PRAGMA cell_size_check = ON;",
        )
        .map_err(at("could not set up"))?;
    if new {
        return schema::make(connection, path);
    }
    bring_up(connection, path)?;
    schema::check(connection, path)?;
    // A build that knew no seal has made it.
    let is_sealed: bool = connection
        .query_row("PRAGMA user_version", [], |row| Ok(row.get::<_, i32>(0)? != 0))
        .map_err(at("could not read"))?;
    if is_sealed { Ok(()) } else { seal::seal(connection).map_err(at("could not seal the tables")) }
}

/// Makes a file of any earlier format one of this build's.
pub(super) fn bring_up(connection: &Connection, path: &Path) -> Result<(), StateError> {
    let format = schema::known_format(connection, path)?;
    let found = schema::version(format);
    if found >= schema::FORMAT {
        return Ok(());
    }
    let carried_to = schema::FORMAT + (format - found);
    let carry_over = || -> rusqlite::Result<()> {
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        if found < 6 {
            to_six(&transaction)?;
        }
        if found < 2 {
            transaction.execute_batch("ALTER TABLE quarantine ADD COLUMN detail TEXT")?;
        }
        if found < 4 {
            transaction.execute_batch(TO_FOUR)?;
            transaction.execute_batch(super::starts::UNKNOWN)?;
        }
        if found < 8 {
            to_eight(&transaction)?;
        }
        if found < 9 {
            to_nine(&transaction)?;
        }
        if found < 3 {
            to_three(&transaction)?;
        }
        schema::tables(&transaction)?;
        transaction.execute("UPDATE meta SET value = ?1 WHERE key = 'format'", [carried_to])?;
        seal::seal(&transaction)?;
        transaction.commit()
    };
    carry_over()
        .map_err(StateError::at("could not carry it over from an earlier format; nothing was changed", path))?;
    let bytes = path.metadata().map_or(0, |found| found.len());
    if found < 3 && bytes <= REWRITTEN_BYTES_MAX {
        let rewrite = "PRAGMA auto_vacuum = INCREMENTAL; VACUUM";
        if let Err(error) = connection.execute_batch(rewrite) {
            tracing::warn!(file = %path.display(), error = %error, "the file could not be written anew; it reuses freed space and does not give it back");
        }
    }
    tracing::info!(
        file = %path.display(), from = format, to = carried_to,
        "the state file was carried over to the format of this build; an older build cannot read it any more"
    );
    Ok(())
}

/// The age of what is quarantined counts from when it was. It is not known of what is there already: that is stamped at
/// the first look.
const TO_FOUR: &str = "
    DROP INDEX IF EXISTS quarantine_by_age;
    ALTER TABLE quarantine ADD COLUMN kept_at_us INTEGER NOT NULL DEFAULT 0;
";

/// A log range says under which revision it was judged. Of those that are there it is not known: they stay without one.
fn to_six(connection: &Connection) -> rusqlite::Result<()> {
    if had(connection, "stretches")? {
        connection.execute_batch("ALTER TABLE stretches ADD COLUMN revision INTEGER NOT NULL DEFAULT 0")?;
    }
    Ok(())
}

/// Entries of the quarantine can be retried: they know how often they were, and for which sync. Their numbers are never used twice.
fn to_eight(connection: &Connection) -> rusqlite::Result<()> {
    connection.execute_batch(
        "ALTER TABLE quarantine ADD COLUMN attempts INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE quarantine ADD COLUMN revision INTEGER NOT NULL DEFAULT 0;
         ALTER TABLE quarantine ADD COLUMN for_sync TEXT;
         ALTER TABLE quarantine ADD COLUMN message_hash INTEGER;",
    )?;
    if had(connection, "quarantine_size")? {
        connection.execute_batch(
            "ALTER TABLE quarantine_size ADD COLUMN last_id INTEGER NOT NULL DEFAULT 0;
             UPDATE quarantine_size SET last_id = (SELECT coalesce(max(id), 0) FROM quarantine);",
        )?;
    }
    Ok(())
}

/// Of a retried event it is known which job has sent it.
fn to_nine(connection: &Connection) -> rusqlite::Result<()> {
    if had(connection, "retried")? {
        connection.execute_batch("ALTER TABLE retried ADD COLUMN job INTEGER NOT NULL DEFAULT 0")?;
    }
    Ok(())
}

/// An old file may lack tables that a build between has added without a number of its own.
fn had(connection: &Connection, table: &str) -> rusqlite::Result<bool> {
    connection.query_row("SELECT count(*) FROM sqlite_schema WHERE name = ?1", [table], |row| row.get(0))
}

/// Rows get checksums, and the quarantine a size.
fn to_three(connection: &Connection) -> rusqlite::Result<()> {
    let column = "ADD COLUMN sum INTEGER NOT NULL DEFAULT 0";
    for table in ["stretches", "syncs", "quarantine", "pending", "transformed", "lineups"] {
        if had(connection, table)? {
            connection.execute_batch(&format!("ALTER TABLE {table} {column}"))?;
        }
    }
    if had(connection, "pending")? {
        connection.execute_batch("ALTER TABLE pending ADD COLUMN next_sum INTEGER NOT NULL DEFAULT 0")?;
    }
    schema::tables(connection)?;
    seal_meta(connection)?;
    seal_cursors(connection)?;
    seal_ranges(connection)?;
    seal_quarantine(connection)?;
    seal_pending(connection)
}

fn seal_meta(connection: &Connection) -> rusqlite::Result<()> {
    let refined_to: i64 =
        connection
            .query_row("SELECT coalesce((SELECT value FROM meta WHERE key = 'refined_to'), 0)", [], |row| row.get(0))?;
    let sealed = sum::sealed("refined_to", &refined_to.max(0).to_string());
    connection.execute("INSERT OR REPLACE INTO meta (key, value) VALUES ('refined_to', ?1)", [sealed])?;
    seen::seal(connection)
}

/// Of syncs, of functions, of function chains.
fn seal_cursors(connection: &Connection) -> rusqlite::Result<()> {
    let tables = [("syncs", "sync", "cursor"), ("transformed", "source", "log_offset")];
    for (table, name, cursor) in tables {
        let mut find = connection.prepare(&format!("SELECT {name}, {cursor} FROM {table}"))?;
        let rows: Vec<(String, i64)> =
            find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
        let mut set = connection.prepare(&format!("UPDATE {table} SET sum = ?2 WHERE {name} = ?1"))?;
        for (name, cursor) in rows {
            set.execute(params![name, sum::named(&name, unsigned(cursor)).value()])?;
        }
    }
    let mut find = connection.prepare("SELECT source, log_offset, lineup FROM lineups")?;
    let rows: Vec<(String, i64, String)> =
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?.collect::<Result<_, _>>()?;
    let mut set = connection.prepare("UPDATE lineups SET sum = ?3 WHERE source = ?1 AND log_offset = ?2")?;
    for (source, offset, function_chain) in rows {
        let sum = sum::named(&source, unsigned(offset)).text(&function_chain).value();
        set.execute(params![source, offset, sum])?;
    }
    Ok(())
}

fn seal_ranges(connection: &Connection) -> rusqlite::Result<()> {
    let mut find = connection.prepare("SELECT start, end FROM stretches")?;
    let ranges: Vec<(i64, i64)> =
        find.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect::<Result<_, _>>()?;
    let mut of = connection
        .prepare("SELECT log_offset FROM duplicates WHERE log_offset >= ?1 AND log_offset < ?2 ORDER BY log_offset")?;
    let mut set = connection.prepare("UPDATE stretches SET sum = ?2 WHERE start = ?1")?;
    for (start, end) in ranges {
        let duplicates: Vec<u64> =
            of.query_map([start, end], |row| row.get(0).map(unsigned))?.collect::<Result<_, _>>()?;
        let sum = sum::log_range(0, &(unsigned(start)..unsigned(end)), 0, duplicates).value();
        set.execute([start, sum])?;
    }
    Ok(())
}

fn seal_quarantine(connection: &Connection) -> rusqlite::Result<()> {
    // One at a time: nothing bounded them before.
    let sql = format!("SELECT {} FROM quarantine ORDER BY id", super::quarantine::COLUMNS);
    let mut find = connection.prepare(&sql)?;
    let mut set = connection.prepare("UPDATE quarantine SET sum = ?2 WHERE id = ?1")?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let kept = super::quarantine::read(row)?;
        set.execute([super::signed(kept.id), kept.entry.sum().value()])?;
    }
    connection.execute("UPDATE quarantine_size SET last_id = (SELECT coalesce(max(id), 0) FROM quarantine)", [])?;
    super::quarantine::count_anew(connection).map(drop)
}

fn seal_pending(connection: &Connection) -> rusqlite::Result<()> {
    let sql =
        "SELECT sync, log_offset, part, user, event, received_at_us, first_tried_at_us, attempts, next_at_us, error
        FROM pending";
    let mut find = connection.prepare(sql)?;
    let sql = "UPDATE pending SET sum = ?4, next_sum = ?5 WHERE sync = ?1 AND log_offset = ?2 AND part = ?3";
    let mut set = connection.prepare(sql)?;
    let mut rows = find.query([])?;
    while let Some(row) = rows.next()? {
        let sync: String = row.get(0)?;
        let entry = Pending {
            id: EventId::new(Position::from_bits(unsigned(row.get(1)?)), row.get(2)?),
            user: row.get(3)?,
            event: row.get(4)?,
            received_at_us: row.get(5)?,
            first_tried_at_us: row.get(6)?,
            attempts: row.get(7)?,
            next_at_us: row.get(8)?,
            error: row.get(9)?,
        };
        let next = sum::next_try(entry.id, entry.attempts, entry.next_at_us).value();
        let sum = entry.sum(&sync).value();
        set.execute(params![sync, super::signed(entry.id.position.bits()), entry.id.part, sum, next])?;
    }
    Ok(())
}

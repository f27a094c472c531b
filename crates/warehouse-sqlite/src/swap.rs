//! Tables that were made anew take the place of those that are read: all of them have names in one file, so it is one transaction that
//! changes names.
//!
//! Views and triggers of other people name tables by their names, and read the new ones from then on. Their indexes stay with the old
//! tables.

use rusqlite::Connection;
use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::profiles::MARK;
use tidegate_warehouse::swap::{TableSwap, is_swapped};

use super::catalog;
use super::error::{SqliteError, doing};
use super::ledger;
use super::load;
use super::settings::{CheckedSqlite, SqliteSettings};
use super::sql::quoted;
use super::turns::WriteTurn;

/// What stands before the names of tables.
struct SwapPrefixes {
    of_sync: String,
    rebuilt: String,
    before: String,
}

/// A table or a view.
struct SchemaEntry {
    name: String,
    is_view: bool,
    sql: String,
}

impl SqliteSettings {
    /// Swaps tables, all of them or none. One that was done before is done. It blocks.
    ///
    /// # Errors
    /// Nothing is changed: the new tables are not as they have to be, something else has the name of one, or the file cannot be written.
    pub fn swap(&self, swap: &TableSwap) -> Result<(), Failure> {
        let checked = |schema: Option<&String>| {
            let sync = swap.ledgers.first().map(|ledger| ledger.sync.clone()).unwrap_or_default();
            self.clone().check(&SyncPart { sync, schema: schema.cloned(), ..SyncPart::default() })
        };
        let settings = checked(swap.schema.as_ref())?;
        let prefixes = SwapPrefixes {
            of_sync: settings.prefix.clone(),
            rebuilt: checked(Some(&swap.rebuilt))?.prefix,
            before: checked(Some(&swap.before))?.prefix,
        };
        swap_within(&settings, &prefixes, swap).map_err(|error| error.failure(&settings.path))
    }
}

fn swap_within(settings: &CheckedSqlite, prefixes: &SwapPrefixes, swap: &TableSwap) -> Result<(), SqliteError> {
    let _turn = WriteTurn::at(&settings.path);
    let connection = load::connect(settings)?;
    let run = |what: &'static str, sql: &str| connection.execute_batch(sql).map_err(doing(what));
    // What others have made of these names goes on to be made of them, whatever has them.
    run("preparing the file", "PRAGMA foreign_keys = OFF; PRAGMA legacy_alter_table = ON")?;
    run("beginning a transaction", "BEGIN IMMEDIATE")?;
    let swapped = move_all(&connection, prefixes, swap);
    if swapped.is_ok() {
        return run("committing a swap", "COMMIT");
    }
    // The error is the one that counts; the connection ends here as well.
    let _ = connection.execute_batch("ROLLBACK");
    swapped
}

fn move_all(connection: &Connection, prefixes: &SwapPrefixes, swap: &TableSwap) -> Result<(), SqliteError> {
    let found = swap.ledgers.iter().map(|one| ledger::durable_to(connection, &one.rebuilt));
    let found: Vec<Option<u64>> = found.collect::<Result<_, _>>()?;
    if is_swapped(swap, &found).map_err(|problem| SqliteError::Swap { problem })? {
        return Ok(());
    }
    let entries = entries(connection)?;
    let rebuilt: Vec<(&SchemaEntry, &str)> =
        entries.iter().filter_map(|entry| Some((entry, entry.name.strip_prefix(&prefixes.rebuilt)?))).collect();
    let run = |what: &'static str, sql: &str| connection.execute_batch(sql).map_err(doing(what));
    let mut views = Vec::new();
    for (view, short) in rebuilt.iter().filter(|(entry, _)| entry.is_view) {
        run("removing a view", &format!("DROP VIEW {}", quoted(&view.name)))?;
        let name = format!("{}{short}", prefixes.of_sync);
        match entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name)) {
            None => {}
            Some(old) if old.is_view && old.sql.contains(MARK) => {
                run("removing a view", &format!("DROP VIEW {}", quoted(&old.name)))?;
            }
            // Somebody else's: there is no such view, as there would have been none.
            Some(_) => continue,
        }
        // Names of columns have no such beginning.
        views.push(view.sql.replace(&format!("\"{}", prefixes.rebuilt), &format!("\"{}", prefixes.of_sync)));
    }
    for (table, short) in rebuilt.iter().filter(|(entry, _)| !entry.is_view) {
        let name = format!("{}{short}", prefixes.of_sync);
        if let Some(old) = entries.iter().find(|entry| entry.name.eq_ignore_ascii_case(&name)) {
            if old.is_view || !is_of_router(connection, &old.name)? {
                return Err(SqliteError::Taken { name });
            }
            rename(connection, &old.name, &format!("{}{short}", prefixes.before))?;
        }
        rename(connection, &table.name, &name)?;
    }
    for view in &views {
        run("making a view", view)?;
    }
    for one in &swap.ledgers {
        ledger::advance(connection, &one.sync, one.log_offset)?;
        ledger::remove(connection, &one.rebuilt)?;
    }
    Ok(())
}

fn rename(connection: &Connection, from: &str, to: &str) -> Result<(), SqliteError> {
    let sql = format!("ALTER TABLE {} RENAME TO {}", quoted(from), quoted(to));
    connection.execute_batch(&sql).map_err(doing("renaming a table"))
}

/// Whether a table is one that the router could have made.
fn is_of_router(connection: &Connection, name: &str) -> Result<bool, SqliteError> {
    let (key, columns) = catalog::definition_of(connection, name)?;
    Ok(key == ["id"] && columns.iter().any(|column| column.name.eq_ignore_ascii_case("received_at")))
}

/// All tables and views of the file.
fn entries(connection: &Connection) -> Result<Vec<SchemaEntry>, SqliteError> {
    let read = || -> rusqlite::Result<Vec<SchemaEntry>> {
        let sql = "SELECT name, type = 'view', coalesce(sql, '') FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
        let mut find = connection.prepare(sql)?;
        let entry =
            |row: &rusqlite::Row<'_>| Ok(SchemaEntry { name: row.get(0)?, is_view: row.get(1)?, sql: row.get(2)? });
        find.query_map([], entry)?.collect()
    };
    read().map_err(doing("reading the schema"))
}

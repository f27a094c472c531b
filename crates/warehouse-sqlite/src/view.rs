//! The views of the latest traits.

use rusqlite::{Connection, OptionalExtension};
use tidegate_warehouse::profiles::{MARK, Profile, ViewOutcome};
use tidegate_warehouse::table::Table;

use super::error::{SqliteError, doing};
use super::sql::quoted;

/// Makes the view of this table what it shall be.
pub(super) fn keep(connection: &Connection, profile: &Profile, table: &Table) -> Result<ViewOutcome, SqliteError> {
    let name = profile.beside(table);
    let query = query(profile, table);
    let wanted = format!("CREATE VIEW {} AS {query} /* {} */", quoted(&name), profile.mark(table, &query));
    let sql = "SELECT type, coalesce(sql, '') FROM sqlite_schema WHERE name = ?1 COLLATE NOCASE";
    let found = connection.query_row(sql, [&name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
    let replaced = match found.optional().map_err(doing("looking for a view"))? {
        None => String::new(),
        Some((_, sql)) if sql == wanted => return Ok(ViewOutcome::Kept),
        Some((kind, sql)) if kind == "view" && sql.contains(MARK) => format!("DROP VIEW {}; ", quoted(&name)),
        Some(_) => return Ok(profile.taken(&name)),
    };
    connection.execute_batch("SAVEPOINT view").map_err(doing("setting a savepoint"))?;
    let made = connection.execute_batch(&format!("{replaced}{wanted}"));
    let end = if made.is_ok() { "RELEASE view" } else { "ROLLBACK TO view; RELEASE view" };
    connection.execute_batch(end).map_err(doing("releasing a savepoint"))?;
    Ok(match made {
        Ok(()) => ViewOutcome::Made,
        Err(error) => profile.refused(&name, &error.to_string()),
    })
}

/// One pass over the table finds which row has each trait last: `timestamp` and `received_at` have 27 characters each and
/// sort by time, the id stands behind them. The value is then taken from that row, so that it is the one that was written.
/// Bytes are cut and not characters, for an id may hold U+0000, where `substr` of text ends.
fn query(profile: &Profile, table: &Table) -> String {
    let (key, table_name) = (quoted(profile.key), quoted(&table.name));
    let mut values = vec![format!("l.{key} AS {key}"), "l.\"timestamp\" AS \"timestamp\"".to_owned()];
    let mut latest = vec![key.clone(), "max(\"timestamp\") AS \"timestamp\"".to_owned()];
    for column in profile.traits(table) {
        let name = quoted(&column.name);
        let id = format!("CAST(substr(CAST(l.{name} AS BLOB), 55) AS TEXT)");
        values.push(format!("(SELECT v.{name} FROM {table_name} AS v WHERE v.\"id\" = {id}) AS {name}"));
        latest.push(format!(
            "max(CASE WHEN {name} IS NOT NULL THEN coalesce(\"timestamp\", \"received_at\") || \"received_at\" || \"id\" END) AS {name}"
        ));
    }
    format!(
        "SELECT {} FROM (SELECT {} FROM {table_name} WHERE {key} IS NOT NULL GROUP BY {key}) AS l",
        values.join(", "),
        latest.join(", ")
    )
}

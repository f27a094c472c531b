//! The warehouse and the quarantine, for people.

use std::collections::HashSet;
use std::path::Path;

use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags};
use tidegate_state::{QuarantineFilter, State};

use crate::app::paths;
use crate::cli::{CommandFailure, style};

const ROWS: usize = 3;
/// Of a table, to find so many that differ.
const ROWS_LOOKED_AT: usize = 1_000;
const COLUMNS: usize = 7;

/// Columns worth showing, best first; what else a table has is named below it.
const PREFERRED: [&str; 22] = [
    "event_text",
    "user_id",
    "timestamp",
    "revenue",
    "currency",
    "email",
    "order_id",
    "name",
    "price",
    "quantity",
    "category",
    "plan",
    "age",
    "newsletter",
    "address_city",
    "group_id",
    "boats",
    "context_campaign_source",
    "context_referrer_type",
    "violations",
    "event_name",
    "path",
];

/// Prints every table with its types, a few rows of it and its size.
pub(super) fn tables(path: &Path) -> Result<(), CommandFailure> {
    let connection = Connection::open_with_flags(path, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut names: Vec<String> = connection
        .prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE '\\_tidegate%' ESCAPE '\\' AND name NOT LIKE 'sqlite%' ORDER BY name")?
        .query_map([], |row| row.get(0))?
        .collect::<Result<_, _>>()?;
    names.sort_by_key(|name| (["tracks", "event_violations"].contains(&name.as_str()), name.clone()));
    for name in names {
        table(&connection, &name)?;
    }
    Ok(())
}

fn table(connection: &Connection, name: &str) -> Result<(), CommandFailure> {
    let quoted = format!("\"{}\"", name.replace('"', "\"\""));
    let columns: Vec<(String, String)> = connection
        .prepare("SELECT name, type FROM pragma_table_info(?1)")?
        .query_map([name], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect::<Result<_, _>>()?;
    let rows: u64 = connection.query_row(&format!("SELECT count(*) FROM {quoted}"), [], |row| {
        row.get::<_, i64>(0).map(|count| count.unsigned_abs())
    })?;
    let shown: Vec<&(String, String)> =
        PREFERRED.iter().filter_map(|name| columns.iter().find(|(column, _)| column == name)).take(COLUMNS).collect();
    println!("\n   {} · {} rows, {} columns", style::bold(&style::plain(name, 63)), style::count(rows), columns.len());
    let header: Vec<String> =
        shown.iter().map(|(name, kind)| format!("{name}\n{}", kind.trim_end_matches(" TEXT").to_lowercase())).collect();
    let header: Vec<&str> = header.iter().map(String::as_str).collect();
    let mut table = style::table(&header);
    let list: Vec<String> = shown.iter().map(|(name, _)| format!("\"{name}\"")).collect();
    let sql =
        format!("SELECT {} FROM {quoted} ORDER BY received_at DESC, id DESC LIMIT {ROWS_LOOKED_AT}", list.join(", "));
    let mut select = connection.prepare(&sql)?;
    let found =
        select.query_map([], |row| (0..list.len()).map(|at| row.get::<_, Value>(at)).collect::<Result<Vec<_>, _>>())?;
    // Of the latest those that differ: many are alike but for their time.
    let of_time: Vec<bool> = shown.iter().map(|(_, kind)| kind.starts_with("TIMESTAMP")).collect();
    let mut seen = HashSet::new();
    for row in found {
        let cells: Vec<String> = row?.into_iter().map(cell).collect();
        let told: Vec<&str> =
            cells.iter().zip(&of_time).filter(|(_, of_time)| !**of_time).map(|(cell, _)| &**cell).collect();
        if seen.insert(told.join("\0")) {
            table.add_row(cells);
        }
        if seen.len() == ROWS {
            break;
        }
    }
    for line in table.to_string().lines() {
        println!("   {line}");
    }
    Ok(())
}

fn cell(value: Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::Integer(number) => number.to_string(),
        Value::Real(number) => number.to_string(),
        Value::Text(text) => style::plain(&text, 40),
        Value::Blob(bytes) => format!("{} bytes", bytes.len()),
    }
}

/// Prints what was quarantined, and what became of everything.
pub(super) fn quarantine(data: &Path) -> Result<(), CommandFailure> {
    let state = State::read(&paths::state(data))?;
    let mut table = style::table(&["stage", "code", "reason", "event"]);
    for entry in state.quarantined(&QuarantineFilter { entries_max: 10, ..QuarantineFilter::default() })? {
        let event = String::from_utf8_lossy(&entry.event).into_owned();
        table.add_row([
            entry.stage.to_owned(),
            style::plain(&entry.code, 40),
            style::plain(&entry.message, 90),
            style::plain(&event, 60),
        ]);
    }
    for line in table.to_string().lines() {
        println!("   {line}");
    }
    let counters = state.counters()?;
    let count = |name: &str| counters.iter().filter(|(_, known, _)| known == name).map(|(_, _, n)| n).sum::<u64>();
    let delivered: u64 = state.reports()?.iter().map(|report| report.delivered).sum();
    println!(
        "\n   {} accepted = {} delivered + {} duplicates recognised + {} quarantined",
        style::count(count("accepted")),
        style::count(delivered),
        style::count(count("duplicates")),
        style::count(count("quarantined")),
    );
    Ok(())
}

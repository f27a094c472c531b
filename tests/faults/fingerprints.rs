//! Tables of warehouses as two numbers each: how many rows there are, and the sum of a hash over all columns of each row. Two sums are the same when the
//! rows are, in whatever order. Ledgers are left out: they say how far a sync has come.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hasher as _};
use std::path::Path;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::{Value, json};

use crate::postgres_server::Server;
use crate::{clickhouse_rig, lake_reader};

/// One table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TableFingerprint {
    pub rows: u64,
    /// As the warehouse spells it.
    pub sum: String,
}

/// By table.
pub type Fingerprints = BTreeMap<String, TableFingerprint>;

/// What differs, a sentence; `None` when nothing does, and there is something.
pub fn difference(before: &Fingerprints, after: &Fingerprints) -> Option<String> {
    if before.values().all(|table| table.rows == 0) {
        return Some("there are no rows to compare".to_owned());
    }
    let mut names = before.keys().chain(after.keys());
    let other = names.find(|name| before.get(*name) != after.get(*name))?;
    Some(format!("{other} was {:?} and is {:?}", before.get(other), after.get(other)))
}

/// A file of SQLite. With `but`, of tables that have a user's id without the rows of that user.
pub fn sqlite(file: &Path, but: Option<&str>) -> Result<Fingerprints, String> {
    read_sqlite(file, but).map_err(|error| format!("{}: {error}", file.display()))
}

fn read_sqlite(file: &Path, but: Option<&str>) -> rusqlite::Result<Fingerprints> {
    let connection = Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
    let mut found = Fingerprints::new();
    for table in sqlite_tables(&connection)? {
        if table.starts_with("_tidegate") {
            continue;
        }
        let sql = "SELECT count(*) > 0 FROM pragma_table_info(?1) WHERE name = 'user_id'";
        let has_user: bool = connection.query_row(sql, [&table], |row| row.get(0))?;
        let name = table.replace('"', "\"\"");
        let only = if has_user && but.is_some() { "WHERE user_id IS NOT ?1" } else { "WHERE ?1 IS ?1" };
        let mut select = connection.prepare(&format!("SELECT * FROM \"{name}\" {only}"))?;
        let columns = select.column_count();
        let (mut count, mut sum) = (0, 0_u64);
        let mut rows = select.query([but])?;
        while let Some(row) = rows.next()? {
            let mut hasher = DefaultHasher::new();
            for column in 0..columns {
                hash_cell(row.get_ref(column)?, &mut hasher);
            }
            count += 1;
            sum = sum.wrapping_add(hasher.finish());
        }
        found.insert(table, TableFingerprint { rows: count, sum: sum.to_string() });
    }
    Ok(found)
}

/// Names of all tables that are not SQLite's own.
pub fn sqlite_tables(connection: &Connection) -> rusqlite::Result<Vec<String>> {
    let sql = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%' ORDER BY name";
    let mut select = connection.prepare(sql)?;
    let names = select.query_map([], |row| row.get(0))?;
    names.collect()
}

fn hash_cell(cell: ValueRef<'_>, hasher: &mut DefaultHasher) {
    let mut add = |kind: u8, bytes: &[u8]| {
        hasher.write_u8(kind);
        hasher.write_usize(bytes.len());
        hasher.write(bytes);
    };
    match cell {
        ValueRef::Null => add(0, &[]),
        ValueRef::Integer(number) => add(1, &number.to_le_bytes()),
        ValueRef::Real(number) => add(2, &number.to_le_bytes()),
        ValueRef::Text(text) => add(3, text),
        ValueRef::Blob(bytes) => add(4, bytes),
    }
}

/// A database of PostgreSQL.
pub fn postgres(server: &Server, database: &str) -> Result<Fingerprints, String> {
    let tables = server.psql(
        database,
        "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND left(tablename, 9) <> '_tidegate' ORDER BY 1",
    );
    let print = |table: &str| {
        let name = table.replace('"', "\"\"");
        let sql = format!(
            "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)::numeric), 0) FROM public.\"{name}\" t"
        );
        spelled(table, &server.psql(database, &sql), '|')
    };
    tables.lines().map(print).collect()
}

/// A database of ClickHouse.
pub fn clickhouse(database: &str) -> Result<Fingerprints, String> {
    let tables = clickhouse_rig::sql(&format!(
        "SELECT name FROM system.tables WHERE database = '{database}' AND engine NOT LIKE '%View%' \
         AND NOT startsWith(name, '_tidegate') ORDER BY name FORMAT TSVRaw"
    ));
    let print = |table: &str| {
        // A hash of a tuple is one of its texts, for that of a null is null.
        let sql =
            format!("SELECT count(), sum(cityHash64(toString(tuple(*)))) FROM `{database}`.`{table}` FORMAT TSVRaw");
        spelled(table, &clickhouse_rig::sql(&sql), '\t')
    };
    tables.lines().map(print).collect()
}

/// A lake in a folder.
pub fn lake(folder: &Path) -> Result<Fingerprints, String> {
    let answer = lake_reader::ask(&json!({"do": "fingerprint", "lake": folder, "schema": "events"}));
    let tables = answer["tables"].as_object().ok_or_else(|| answer.to_string())?;
    let print = |(name, told): (&String, &Value)| -> Result<(String, TableFingerprint), String> {
        let rows = told[0].as_u64().ok_or_else(|| told.to_string())?;
        let sum = told[1].as_str().ok_or_else(|| told.to_string())?.to_owned();
        Ok((name.clone(), TableFingerprint { rows, sum }))
    };
    tables.iter().map(print).collect()
}

/// So many times of everything: as a lake has it that stored each event so often.
pub fn times(prints: &Fingerprints, times: u64) -> Result<Fingerprints, String> {
    let multiplied = |(name, table): (&String, &TableFingerprint)| -> Result<(String, TableFingerprint), String> {
        let sum = table.sum.parse::<u128>().map_err(|error| format!("{}: {error}", table.sum))?;
        let print = TableFingerprint { rows: table.rows * times, sum: (sum * u128::from(times)).to_string() };
        Ok((name.clone(), print))
    };
    prints.iter().map(multiplied).collect()
}

/// What a warehouse said of a table.
fn spelled(table: &str, line: &str, between: char) -> Result<(String, TableFingerprint), String> {
    let said = line.trim_end().split_once(between);
    let found = said.and_then(|(rows, sum)| Some(TableFingerprint { rows: rows.parse().ok()?, sum: sum.to_owned() }));
    Ok((table.to_owned(), found.ok_or_else(|| format!("{table}: {line:?} is no fingerprint"))?))
}

//! What there is in the schema.

use std::collections::{BTreeMap, BTreeSet};

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
use tidegate_warehouse::table::{Column, Table};

use super::answer::SnowflakeAnswer;
use super::encode;
use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::rebuild;
use super::session::SnowflakeSession;
use super::sql::{exact, literal};

/// Everything that has a name in the schema.
pub(super) async fn find(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
) -> Result<FoundSchema, SnowflakeError> {
    let views = format!("{}.INFORMATION_SCHEMA", exact(&place.database));
    let sql = format!(
        "SELECT T.TABLE_NAME::VARCHAR, T.TABLE_TYPE::VARCHAR, C.COLUMN_NAME::VARCHAR, C.DATA_TYPE::VARCHAR, \
         C.NUMERIC_PRECISION::VARCHAR, C.NUMERIC_SCALE::VARCHAR, C.IS_NULLABLE::VARCHAR \
         FROM {views}.TABLES AS T LEFT JOIN {views}.COLUMNS AS C \
         ON C.TABLE_SCHEMA = T.TABLE_SCHEMA AND C.TABLE_NAME = T.TABLE_NAME WHERE T.TABLE_SCHEMA = {} \
         ORDER BY T.TABLE_NAME, C.ORDINAL_POSITION",
        literal(&place.schema)
    );
    let what = "reading the schema";
    let answer = session.run(what, &sql).await?.texts(what)?;
    let mut found = FoundSchema::default();
    for row in &answer.rows {
        let cell = |at: usize| row.get(at).and_then(Option::as_deref);
        let Some(name) = cell(0).and_then(lower) else { continue };
        found.has_schema = true;
        let table = found.tables.entry(name).or_default();
        table.is_table = cell(1) == Some("BASE TABLE");
        let (Some(column), Some(kind)) = (cell(2), cell(3)) else { continue };
        let kind = match (cell(4), cell(5)) {
            (Some(precision), Some(scale)) => format!("{kind}({precision},{scale})"),
            _ => kind.to_owned(),
        };
        add(table, column, &kind, cell(6) == Some("NO"));
    }
    Ok(found)
}

fn add(table: &mut FoundTable, stored: &str, kind: &str, is_required: bool) {
    let Some(name) = lower(stored) else { return };
    if name == "id" && is_required {
        table.key.push(name.clone());
    }
    // A column that cannot be written without loss is there, and takes nothing.
    let (kind, writable) = encode::meaning(kind).map_or((Type::Text, false), |kind| (kind, true));
    table.columns.push(Column::found(&name, kind, false, writable));
}

/// The lower-case name of what is stored so; `None` where another name is stored than an unquoted one means.
fn lower(stored: &str) -> Option<String> {
    (stored.to_ascii_uppercase() == stored).then(|| stored.to_ascii_lowercase())
}

/// One table as it is now: an exact look, which also mends what a crash has left. `None` when there is none.
pub(super) async fn describe(
    session: &mut SnowflakeSession,
    place: &SnowflakePlace,
    name: &str,
) -> Result<Option<FoundTable>, SnowflakeError> {
    let what = "looking at a table";
    let sql = format!("DESCRIBE TABLE {}", place.sql(name));
    for _ in 0..8 {
        let answer = match session.run(what, &sql).await {
            Err(SnowflakeError::Refused { code: 2_003, .. }) => return Ok(None),
            other => other?.texts(what)?,
        };
        let types = types_of(&answer);
        let Some(mends) = rebuild::resume(&place.sql(name), &types) else { return Ok(Some(table_of(&answer))) };
        for sql in mends {
            session.run("finishing what a crash has left", &sql).await?;
        }
    }
    Err(SnowflakeError::Altered { table: name.to_owned() })
}

/// Stored names of columns with their types.
fn types_of(answer: &SnowflakeAnswer) -> BTreeMap<String, String> {
    let pair =
        |row: &Vec<Option<String>>| Some((answer.cell(row, "name")?.to_owned(), answer.cell(row, "type")?.to_owned()));
    answer.rows.iter().filter_map(pair).collect()
}

fn table_of(answer: &SnowflakeAnswer) -> FoundTable {
    let mut table = FoundTable { is_table: true, ..FoundTable::default() };
    for row in &answer.rows {
        if let (Some(name), Some(kind)) = (answer.cell(row, "name"), answer.cell(row, "type")) {
            add(&mut table, name, kind, answer.cell(row, "null?") == Some("N"));
        }
    }
    table
}

/// Whether the table is as it is remembered.
pub(super) fn is_as_known(table: &Table, found: Option<&FoundTable>) -> bool {
    let Some(found) = found else { return !table.exists };
    let known: BTreeSet<(&str, Type)> =
        table.columns.iter().filter_map(|column| Some((&*column.name, column.declared?))).collect();
    let is: BTreeSet<(&str, Type)> =
        found.columns.iter().filter_map(|column| Some((&*column.name, column.declared?))).collect();
    table.exists && known == is
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_somebody_stored_otherwise_is_not_seen() {
        assert_eq!(lower("ORDER_é_X").as_deref(), Some("order_é_x"));
        assert_eq!(lower("Mixed"), None);
    }
}

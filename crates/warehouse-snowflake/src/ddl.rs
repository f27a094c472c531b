//! What the tables are, and how they are made to change.
//!
//! Names are stored in upper case as far as ASCII goes, because that is what an unquoted name means: an analyst writes
//! `order_completed` and finds `ORDER_COMPLETED`. A name that somebody stored otherwise is not seen.
//!
//! Every statement here commits by itself, so all of them run before a batch's transaction begins. A column cannot be
//! given another type in place; it is rebuilt beside itself, under names that no field can have:
//!
//! ```text
//! 1  ADD n$NEW           5  UPDATE n$NEW from n$OLD where it is still null
//! 2  UPDATE n$NEW from n 6  RENAME n$NEW TO n
//! 3  RENAME n TO n$OLD   7  DROP n$OLD
//! ```
//!
//! Between 3 and 6 there is no column `n`: whoever writes to it fails and tries again, so that no value is written to a
//! column that is about to go. A crash leaves names that tell how far it came ([`resume`]); nothing is dropped before all
//! of it is in its successor.

use std::collections::{BTreeMap, BTreeSet};

use sha2::{Digest, Sha256};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::ledger;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
use tidegate_warehouse::table::{Changes, Column, Table};
use tidegate_warehouse::waiting::Refusal;

use super::answer::SnowflakeAnswer;
use super::encode;
use super::error::SnowflakeError;
use super::ledger::LEDGER;
use super::session::SnowflakeSession;

const NEW: &str = "$NEW";
const OLD: &str = "$OLD";

/// One sync's place in a database.
#[derive(Debug, Clone)]
pub(super) struct SnowflakePlace {
    /// As Snowflake stores them.
    pub(super) database: String,
    pub(super) schema: String,
    /// Eight digits that tell syncs apart in names.
    pub(super) tag: String,
}

impl SnowflakePlace {
    pub(super) fn new(database: &str, schema: &str, sync: &str) -> Self {
        let digest = Sha256::digest(sync.as_bytes());
        let tag = digest.iter().take(4).map(|byte| format!("{byte:02X}")).collect();
        Self { database: configured(database), schema: configured(schema), tag }
    }

    /// The schema as SQL spells it.
    pub(super) fn schema_sql(&self) -> String {
        format!("{}.{}", exact(&self.database), exact(&self.schema))
    }

    /// Something of that schema as SQL spells it, by its lower-case name.
    pub(super) fn sql(&self, name: &str) -> String {
        format!("{}.{}", self.schema_sql(), quoted(name))
    }

    /// The place beside the tables, for what is the router's own.
    pub(super) fn beside(&self) -> Self {
        Self { schema: ledger::beside(&self.schema, true), ..self.clone() }
    }

    pub(super) fn ledger(&self) -> String {
        self.sql(LEDGER)
    }

    /// The stage that files of all syncs go to.
    pub(super) fn stage(&self) -> String {
        self.sql("_tidegate_files")
    }

    /// The table that holds one sync's rows before they are merged.
    pub(super) fn load(&self) -> String {
        self.sql(&format!("_tidegate_load_{}", self.tag))
    }
}

/// A name of a configuration: as unquoted SQL would have it, unless it stands in quotes.
fn configured(name: &str) -> String {
    match name.strip_prefix('"').and_then(|name| name.strip_suffix('"')) {
        Some(name) => name.to_owned(),
        None => name.to_ascii_uppercase(),
    }
}

/// A lower-case name as SQL spells it.
pub(super) fn quoted(name: &str) -> String {
    exact(&name.to_ascii_uppercase())
}

/// A stored name as SQL spells it.
pub(super) fn exact(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Text as SQL spells it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

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
        let Some(mends) = resume(&place.sql(name), &types) else { return Ok(Some(table_of(&answer))) };
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

/// The statements that bring one half-rebuilt column to an end, or back to its beginning; `None` when there is none.
fn resume(table: &str, types: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let left = types.keys().find_map(|name| name.strip_suffix(NEW).or_else(|| name.strip_suffix(OLD)))?;
    let column = |suffix: &str| exact(&format!("{left}{suffix}"));
    let (now, new, old) = (column(""), column(NEW), column(OLD));
    let is_there = |suffix: &str| types.get(&format!("{left}{suffix}"));
    let alter = format!("ALTER TABLE {table}");
    Some(match (is_there(""), is_there(NEW), is_there(OLD)) {
        // It had not begun in earnest; it is begun anew when a value wants it.
        (Some(_), Some(_), None) => vec![format!("{alter} DROP COLUMN {new}")],
        // All is in the new column, which has its name already.
        (Some(_), None, Some(_)) => vec![format!("{alter} DROP COLUMN {old}")],
        (None, Some(wanted), Some(was)) => {
            let kinds = (encode::meaning(was).unwrap_or(Type::Text), encode::meaning(wanted).unwrap_or(Type::Text));
            let value = encode::widened(kinds.0, kinds.1, &old);
            let update = format!("UPDATE {table} SET {new} = {value} WHERE {new} IS NULL AND {old} IS NOT NULL");
            vec![update, format!("{alter} RENAME COLUMN {new} TO {now}"), format!("{alter} DROP COLUMN {old}")]
        }
        (None, None, Some(_)) => vec![format!("{alter} RENAME COLUMN {old} TO {now}")],
        // Nobody but the router uses such names, and it leaves no others.
        _ => return None,
    })
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

/// Makes these changes of the table; says so of columns that widened. The first statement is the one that somebody may be in
/// the way of, and leaves nothing behind then.
pub(super) async fn apply(
    (session, place): (&mut SnowflakeSession, &SnowflakePlace),
    table: &Table,
    changes: &Changes,
    notices: &mut Vec<String>,
) -> Result<Option<Refusal<SnowflakeError>>, SnowflakeError> {
    let what = if changes.create { "creating a table" } else { "changing a table" };
    let statements = statements_at(&place.sql(&table.name), table, changes);
    for (step, sql) in statements.iter().enumerate() {
        match session.run(what, sql).await {
            Err(error) if step == 0 && !changes.create && error.is_of_alteration() => {
                let (columns, statement) = (changes.columns().collect(), statements.join("; "));
                return Ok(Some(Refusal { columns, statement, whole: false, error }));
            }
            answered => answered?,
        };
    }
    for at in &changes.widen {
        let column = &table.columns[*at];
        if let Some(was) = column.declared.filter(|was| *was != column.kind()) {
            notices.push(table.widened(*at, encode::declared(was), encode::declared(column.kind())));
        }
    }
    Ok(None)
}

/// The statements that make the table what it shall be, as an operator would run them.
#[must_use]
pub fn statements(table: &Table, schema: &str) -> Vec<String> {
    statements_at(&format!("{schema}.{}", quoted(&table.name)), table, &table.changes())
}

fn statements_at(name: &str, table: &Table, changes: &Changes) -> Vec<String> {
    let column = |at: usize| {
        let column = &table.columns[at];
        let required = if &*column.name == "id" { " NOT NULL" } else { "" };
        format!("{} {}{required}", quoted(&column.name), encode::declared(column.kind()))
    };
    if changes.create {
        let columns: Vec<String> = (0..table.columns.len()).map(column).collect();
        return vec![format!("CREATE TABLE {name} ({}) COMMENT = 'Kept by Tidegate'", columns.join(", "))];
    }
    let mut statements = Vec::new();
    if !changes.add.is_empty() {
        // A table with rows takes no new column that is required.
        let columns: Vec<String> = changes
            .add
            .iter()
            .map(|at| format!("{} {}", quoted(&table.columns[*at].name), encode::declared(table.columns[*at].kind())))
            .collect();
        statements.push(format!("ALTER TABLE {name} ADD COLUMN {}", columns.join(", ")));
    }
    if !changes.widen.is_empty() {
        statements.extend(rebuild(name, table, &changes.widen));
    }
    statements
}

/// The steps for several columns at once, so that the table's rows are written twice and not twice for each.
fn rebuild(name: &str, table: &Table, places: &[usize]) -> Vec<String> {
    let alter = format!("ALTER TABLE {name}");
    let (mut adds, mut first, mut wheres, mut rest, mut rests) = (vec![], vec![], vec![], vec![], vec![]);
    let (mut aside, mut back, mut drop) = (vec![], vec![], vec![]);
    for at in places {
        let column = &table.columns[*at];
        let (from, to) = (column.declared.unwrap_or(Type::Text), column.kind());
        let stored = column.name.to_ascii_uppercase();
        let (now, new, old) = (exact(&stored), exact(&format!("{stored}{NEW}")), exact(&format!("{stored}{OLD}")));
        adds.push(format!("{new} {}", encode::declared(to)));
        first.push(format!("{new} = {}", encode::widened(from, to, &now)));
        wheres.push(format!("{now} IS NOT NULL"));
        rest.push(format!("{new} = COALESCE({new}, {})", encode::widened(from, to, &old)));
        rests.push(format!("({new} IS NULL AND {old} IS NOT NULL)"));
        aside.push(format!("{alter} RENAME COLUMN {now} TO {old}"));
        back.push(format!("{alter} RENAME COLUMN {new} TO {now}"));
        drop.push(format!("{alter} DROP COLUMN {old}"));
    }
    let mut steps = vec![format!("{alter} ADD COLUMN {}", adds.join(", "))];
    steps.push(format!("UPDATE {name} SET {} WHERE {}", first.join(", "), wheres.join(" OR ")));
    steps.extend(aside);
    steps.push(format!("UPDATE {name} SET {} WHERE {}", rest.join(", "), rests.join(" OR ")));
    steps.extend(back);
    steps.extend(drop);
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_stored_as_an_unquoted_one_means() {
        let place = SnowflakePlace::new("analytics", "\"Mixed\"", "web to snowflake");
        assert_eq!(place.sql("order_é_x"), "\"ANALYTICS\".\"Mixed\".\"ORDER_é_X\"");
        assert_eq!(lower("ORDER_é_X").as_deref(), Some("order_é_x"));
        assert_eq!(lower("Mixed"), None);
        assert_eq!(literal("a'b\\"), "'a''b\\\\'");
    }

    /// A table of texts by column, on which the statements of a rebuilding act as Snowflake's would.
    fn run(columns: &mut BTreeMap<String, Vec<Option<String>>>, sql: &str) {
        let names: Vec<&str> = sql.split('"').skip(1).step_by(2).collect();
        let names = &names[1..];
        if sql.contains(" ADD COLUMN ") {
            let rows = columns.values().next().unwrap().len();
            columns.insert(names[0].to_owned(), vec![None; rows]);
        } else if sql.contains(" RENAME COLUMN ") {
            assert!(!columns.contains_key(names[1]), "{sql}");
            let column = columns.remove(names[0]).unwrap();
            columns.insert(names[1].to_owned(), column);
        } else if sql.contains(" DROP COLUMN ") {
            columns.remove(names[0]).unwrap();
        } else {
            let from = names.iter().find(|name| !name.ends_with(NEW)).unwrap();
            let values = columns[*from].clone();
            let new = columns.get_mut(names[0]).unwrap();
            for (new, value) in new.iter_mut().zip(values) {
                *new = new.take().or(value);
            }
        }
    }

    #[test]
    fn a_rebuilding_that_stops_anywhere_is_brought_to_an_end_without_loss() {
        use tidegate_warehouse::evolve::Scalar;
        use tidegate_warehouse::table::{Family, Limits};
        let found = vec![Column::found("n", Type::Integer, false, true)];
        let mut table = Table::new("e", Family::Event, Some(found), &Limits::default(), None);
        for column in table.columns.iter_mut().filter(|column| &*column.name != "n") {
            column.applied();
        }
        let place = table.columns.iter().position(|column| &*column.name == "n").unwrap();
        table.columns[place].admit(&Scalar::Text("x"));
        let steps = statements_at(&quoted(&table.name), &table, &table.changes());
        for stop in 0..=steps.len() {
            let values: Vec<_> = ["1", "2"].iter().map(|text| Some((*text).to_owned())).collect();
            let mut columns = BTreeMap::from([("N".to_owned(), values.clone())]);
            for sql in &steps[..stop] {
                run(&mut columns, sql);
            }
            let types = |columns: &BTreeMap<String, Vec<Option<String>>>| -> BTreeMap<String, String> {
                columns.keys().map(|name| (name.clone(), "NUMBER(19,0)".to_owned())).collect()
            };
            let mut most = 1;
            while let Some(mends) = resume("\"E\"", &types(&columns)) {
                // And crashes in the middle of mending, each a step later.
                for sql in mends.iter().take(most) {
                    run(&mut columns, sql);
                }
                most += 1;
            }
            assert_eq!(columns, BTreeMap::from([("N".to_owned(), values)]), "stopped after {stop} steps");
        }
    }
}

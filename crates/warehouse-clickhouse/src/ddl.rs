//! What the tables are, and the statements that change them.
//!
//! What widens goes by `MODIFY COLUMN`, whose casts spell booleans, integers and decimals as the router does. Instants
//! take two steps, and a comment on the column says so until the second is done: after a crash in between whoever
//! comes next does it, before any other text gets into the column.

use std::collections::HashMap;

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
use tidegate_warehouse::table::{Changes, Column, Table};
use tidegate_warehouse::waiting::Refusal;

use super::encode::{self, ColumnShape, UNFINISHED_COMMENT, type_name};
use super::error::ClickHouseError;
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// The description of a whole database.
const SCHEMA_BYTES_MAX: usize = 256 << 20;

/// Columns that are not as the router declares them, by table and column.
#[derive(Debug, Default)]
pub struct ColumnShapes(HashMap<String, HashMap<String, ColumnShape>>);

impl ColumnShapes {
    pub(super) fn of(&self, table: &str, column: &str) -> ColumnShape {
        self.0.get(table).and_then(|columns| columns.get(column)).copied().unwrap_or(ColumnShape::Own)
    }

    fn unfinished(&self, table: &str) -> Vec<&str> {
        let columns = self.0.get(table).into_iter().flatten();
        columns.filter(|(_, shape)| **shape == ColumnShape::Unfinished).map(|(column, _)| &**column).collect()
    }

    /// The column is now as the router declares it.
    fn settle(&mut self, table: &str, column: &str, now: ColumnShape) {
        if let Some(shape) = self.0.get_mut(table).and_then(|columns| columns.get_mut(column)) {
            *shape = now;
        }
    }
}

/// A name as SQL spells it.
pub fn quoted(name: &str) -> String {
    format!("`{}`", name.replace('\\', "\\\\").replace('`', "\\`"))
}

/// A text as SQL spells it.
pub(super) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\\', "\\\\").replace('\'', "\\'"))
}

/// A table's full name as SQL spells it.
pub(super) fn full(database: &str, table: &str) -> String {
    format!("{}.{}", quoted(database), quoted(table))
}

/// Everything in the database.
pub(super) async fn read(
    wire: &ClickHouseWire,
    database: &str,
) -> Result<(FoundSchema, ColumnShapes), ClickHouseError> {
    let doing = "reading the tables";
    let sql = format!(
        "SELECT name, engine, sorting_key FROM system.tables WHERE database = {} FORMAT RowBinary",
        literal(database)
    );
    let tables = wire.ask(doing, &sql, SCHEMA_BYTES_MAX).await?;
    let sql = format!(
        "SELECT table, name, type, default_kind, comment FROM system.columns WHERE database = {} \
         ORDER BY table, position FORMAT RowBinary",
        literal(database)
    );
    let columns = wire.ask(doing, &sql, SCHEMA_BYTES_MAX).await?;
    let (mut found, shapes) = understood(&tables, &columns).ok_or(ClickHouseError::Answer { doing })?;
    let sql = format!("SELECT count() FROM system.databases WHERE name = {} FORMAT RowBinary", literal(database));
    found.has_schema =
        ClickHouseAnswer(&wire.ask(doing, &sql, 64).await?).number().is_some_and(|databases| databases > 0);
    Ok((found, shapes))
}

fn understood(tables: &[u8], columns: &[u8]) -> Option<(FoundSchema, ColumnShapes)> {
    let (mut found, mut shapes) = (FoundSchema::default(), ColumnShapes::default());
    let mut answer = ClickHouseAnswer(tables);
    while !answer.is_over() {
        let (name, engine, sorting_key) = (answer.text()?, answer.text()?, answer.text()?);
        // Kept by one key and safe to send one block to; Replicated and Shared stand in front of these.
        let is_table = ["", "Replicated", "Shared"]
            .iter()
            .filter_map(|kind| engine.strip_prefix(kind))
            .any(|engine| matches!(engine, "ReplacingMergeTree" | "MergeTree"));
        found.tables.insert(name, FoundTable { is_table, key: vec![sorting_key], columns: Vec::new() });
    }
    let mut answer = ClickHouseAnswer(columns);
    while !answer.is_over() {
        let (table, name, type_text) = (answer.text()?, answer.text()?, answer.text()?);
        let (default_kind, comment) = (answer.text()?, answer.text()?);
        // A table made between the two questions is found the next time.
        let Some(of) = found.tables.get_mut(&table) else { continue };
        let writable = !matches!(&*default_kind, "MATERIALIZED" | "ALIAS" | "EPHEMERAL");
        if name == "id" {
            if type_text != "String" {
                of.key.clear();
            }
            of.columns.push(Column::found(&name, Type::Text, false, writable));
            continue;
        }
        let (kind, shape) = encode::meaning(&type_text, &comment);
        of.columns.push(Column::found(&name, kind, false, writable));
        if shape != ColumnShape::Own && writable {
            shapes.0.entry(table).or_default().insert(name, shape);
        }
    }
    Some((found, shapes))
}

/// The statements that make the table what it shall be.
pub(super) fn statements(table: &Table, schema: &str) -> Vec<String> {
    let plan = ColumnPlan::of(
        &format!("{schema}.{}", quoted(&table.name)),
        table,
        &table.changes(),
        &ColumnShapes::default(),
        &[],
    );
    plan.first.into_iter().chain(plan.second).collect()
}

/// What must be run, in order.
#[derive(Debug, Default, PartialEq, Eq)]
struct ColumnPlan {
    /// Creates the table, or adds and retypes columns in one go.
    first: Option<String>,
    /// Finishes the instants that became text.
    second: Vec<String>,
    retyped: Vec<usize>,
}

impl ColumnPlan {
    /// `used` are places of columns that rows are about to fill.
    fn of(name: &str, table: &Table, changes: &Changes, shapes: &ColumnShapes, used: &[u32]) -> Self {
        if changes.create {
            let columns = table.columns.iter().map(defined).collect::<Vec<_>>().join(", ");
            let sql = format!("CREATE TABLE IF NOT EXISTS {name} ({columns}) ENGINE = ReplacingMergeTree ORDER BY id");
            return Self { first: Some(sql), ..Self::default() };
        }
        let mut plan = Self::default();
        let mut parts: Vec<String> = Vec::new();
        for at in &changes.add {
            parts.push(format!("ADD COLUMN IF NOT EXISTS {}", defined(&table.columns[*at])));
        }
        let mut unfinished: Vec<&str> = shapes.unfinished(&table.name);
        for (at, column) in table.columns.iter().enumerate() {
            let shape = shapes.of(&table.name, &column.name);
            let widens = changes.widen.contains(&at);
            let foreign = matches!(shape, ColumnShape::Foreign(_)) && used.iter().any(|used| *used as usize == at);
            if !widens && !foreign {
                continue;
            }
            plan.retyped.push(at);
            let (of, kind) = (quoted(&column.name), column.kind());
            match (column.declared, shape, kind) {
                (Some(Type::Json), ColumnShape::Own, Type::Text) => parts.push(format!("COMMENT COLUMN {of} ''")),
                (Some(Type::Timestamp), _, Type::Text) => {
                    let comment = literal(UNFINISHED_COMMENT);
                    parts.push(format!("MODIFY COLUMN {of} {} COMMENT {comment}", type_name(kind)));
                    unfinished.push(&column.name);
                }
                (_, ColumnShape::Foreign(wanted), _) if !widens => parts.push(format!("MODIFY COLUMN {of} {wanted}")),
                _ => parts.push(format!("MODIFY COLUMN {of} {}", type_name(kind))),
            }
        }
        if !parts.is_empty() {
            plan.first = Some(format!("ALTER TABLE {name} {}", parts.join(", ")));
        }
        if !unfinished.is_empty() {
            let (mut updates, mut tests, mut comments) = (Vec::new(), Vec::new(), Vec::new());
            for column in unfinished {
                let of = quoted(column);
                updates.push(format!("{of} = {}", respelled(&of)));
                tests.push(cast_spelling(&of));
                comments.push(format!("COMMENT COLUMN {of} ''"));
            }
            plan.second = vec![
                format!("ALTER TABLE {name} UPDATE {} WHERE {}", updates.join(", "), tests.join(" OR ")),
                format!("ALTER TABLE {name} {}", comments.join(", ")),
            ];
        }
        plan
    }
}

fn defined(column: &Column) -> String {
    let declared = if &*column.name == "id" { "String" } else { encode::declared(column.kind()) };
    format!("{} {declared}", quoted(&column.name))
}

/// Whether a text is an instant as the cast spells it: `2024-05-06 07:08:09.120000`.
fn cast_spelling(of: &str) -> String {
    format!("match({of}, '^[0-9]{{4}}-[0-9]{{2}}-[0-9]{{2}} [0-9]{{2}}:[0-9]{{2}}:[0-9]{{2}}[.][0-9]{{6}}$')")
}

/// Such a text as a column of text has it: three fraction digits, or six for an instant with microseconds.
fn respelled(of: &str) -> String {
    let whole = format!("substring({of}, 1, 10), 'T'");
    format!(
        "multiIf(NOT ifNull({}, 0), {of}, endsWith({of}, '000'), concat({whole}, substring({of}, 12, 12), 'Z'), \
         concat({whole}, substring({of}, 12), 'Z'))",
        cast_spelling(of)
    )
}

/// What became of changes.
type Altered = Result<(), Refusal<ClickHouseError>>;

/// Changes of a table of the database.
pub(super) struct Apply<'a> {
    pub(super) wire: &'a ClickHouseWire,
    pub(super) database: &'a str,
    pub(super) table: &'a Table,
    pub(super) shapes: &'a mut ColumnShapes,
    /// Says so of columns that widened.
    pub(super) notices: &'a mut Vec<String>,
}

impl Apply<'_> {
    /// Makes these changes, and the table ready for rows that fill the columns `used`. `None` when there was nothing to do.
    pub(super) async fn run(&mut self, changes: &Changes, used: &[u32]) -> Result<Option<Altered>, ClickHouseError> {
        let plan = ColumnPlan::of(&full(self.database, &self.table.name), self.table, changes, self.shapes, used);
        if plan.first.is_none() && plan.second.is_empty() {
            return Ok(None);
        }
        let ColumnPlan { first, second, retyped } = plan;
        let mut columns: Vec<usize> = retyped.iter().chain(&changes.add).copied().collect();
        columns.sort_unstable();
        let (settled, said) = (self.say(retyped), self.notices.len());
        if let Some(sql) = first {
            let doing = if changes.create { "creating a table" } else { "changing a table" };
            match self.wire.run(doing, &sql).await {
                Err(error) if error.is_of_alteration() && !changes.create => {
                    self.notices.truncate(said - settled.len());
                    return Ok(Some(Err(Refusal { columns, statement: sql, whole: false, error })));
                }
                altered => altered?,
            }
        }
        if !second.is_empty() {
            still_mutating(self.wire, self.database, self.table).await?;
        }
        for sql in &second {
            self.wire.run("spelling instants as text", sql).await?;
        }
        let names: Vec<String> = self.shapes.unfinished(&self.table.name).into_iter().map(str::to_owned).collect();
        names.iter().for_each(|column| self.shapes.settle(&self.table.name, column, ColumnShape::Own));
        for (at, shape) in settled {
            self.shapes.settle(&self.table.name, &self.table.columns[at].name, shape);
        }
        Ok(Some(Ok(())))
    }

    /// Says what is about to be retyped, and what it will be then. Said before it is done: the answer may be lost, and
    /// whoever tries again finds it done.
    fn say(&mut self, retyped: Vec<usize>) -> Vec<(usize, ColumnShape)> {
        let mut settled = Vec::with_capacity(retyped.len());
        for at in retyped {
            let column = &self.table.columns[at];
            let (name, of, kind) = (&column.name, &self.table.name, column.kind());
            settled.push(match self.shapes.of(of, name) {
                ColumnShape::Foreign(wanted) if Some(kind) == column.declared => {
                    self.notices.push(format!("column {name} of table {of} is now {wanted}"));
                    (at, if wanted == type_name(kind) { ColumnShape::Own } else { ColumnShape::Kept(wanted) })
                }
                _ => {
                    let was = column.declared.map_or("", Type::as_str);
                    self.notices.push(self.table.widened(at, was, kind.as_str()));
                    (at, ColumnShape::Own)
                }
            });
        }
        settled
    }
}

/// A mutation that an earlier try began, and did not see the end of, must end first.
async fn still_mutating(wire: &ClickHouseWire, database: &str, table: &Table) -> Result<(), ClickHouseError> {
    let doing = "looking at mutations";
    let sql = format!(
        "SELECT count() FROM system.mutations WHERE database = {} AND table = {} AND NOT is_done FORMAT RowBinary",
        literal(database),
        literal(&table.name)
    );
    let answer = match wire.ask(doing, &sql, 64).await {
        // Who may not see them waits for them all the same, one after the other.
        Err(error) if error.is_of_permission() => return Ok(()),
        other => other?,
    };
    match ClickHouseAnswer(&answer).number() {
        Some(0) => Ok(()),
        Some(_) => Err(ClickHouseError::Mutating { table: table.name.to_string() }),
        None => Err(ClickHouseError::Answer { doing }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_warehouse::table::{Family, Limits};

    fn table(found: &[(&'static str, Type)]) -> Table {
        let base = Family::Event.base().chain(found.iter().copied());
        let columns = base.map(|(name, kind)| Column::found(name, kind, false, true)).collect();
        Table::new("e", Family::Event, Some(columns), &Limits::default(), None)
    }

    fn widened(table: &mut Table, column: &str) {
        let column = table.columns.iter_mut().find(|found| &*found.name == column).unwrap();
        column.wanted = Some(Type::Text);
    }

    #[test]
    fn names_and_texts_cannot_leave_their_quotes() {
        assert_eq!(quoted("a`b\\"), "`a\\`b\\\\`");
        assert_eq!(literal("a'b\\"), "'a\\'b\\\\'");
    }

    #[test]
    fn all_columns_of_a_table_change_in_one_statement() {
        let mut table = table(&[("n", Type::Integer), ("j", Type::Json), ("at", Type::Timestamp)]);
        for column in ["n", "j", "at"] {
            widened(&mut table, column);
        }
        let statements = statements(&table, "`shop`");
        assert_eq!(
            statements[0],
            "ALTER TABLE `shop`.`e` MODIFY COLUMN `n` Nullable(String), COMMENT COLUMN `j` '', MODIFY COLUMN `at` \
             Nullable(String) COMMENT 'tidegate: instants on their way to text'"
        );
        assert!(statements[1].starts_with("ALTER TABLE `shop`.`e` UPDATE `at` = multiIf("), "{}", statements[1]);
        assert_eq!(statements[2], "ALTER TABLE `shop`.`e` COMMENT COLUMN `at` ''");
    }

    #[test]
    fn what_somebody_retyped_changes_when_a_value_comes_and_not_before() {
        let mut table = table(&[("n", Type::Integer)]);
        let mut shapes = ColumnShapes::default();
        let foreign = ColumnShape::Foreign(type_name(Type::Integer));
        shapes.0.entry("e".to_owned()).or_default().insert("n".to_owned(), foreign);
        let place = u32::try_from(table.columns.len() - 1).unwrap();
        assert_eq!(ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[0]), ColumnPlan::default());
        let plan = ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[place]);
        assert_eq!(plan.first.as_deref(), Some("ALTER TABLE `e` MODIFY COLUMN `n` Nullable(Int64)"));
        widened(&mut table, "n");
        let plan = ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[place]);
        assert_eq!(plan.first.as_deref(), Some("ALTER TABLE `e` MODIFY COLUMN `n` Nullable(String)"));
    }
}

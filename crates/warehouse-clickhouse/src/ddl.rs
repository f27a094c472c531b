//! The statements that make a table what it shall be.
//!
//! What widens goes by `MODIFY COLUMN`, whose casts spell booleans, integers and decimals as the router does. Instants
//! take two steps, and a comment on the column says so until the second is done: after a crash in between whoever
//! comes next does it, before any other text gets into the column.

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::{Changes, Column, Table};

use super::encode::{self, ColumnShape, UNFINISHED_COMMENT, type_name};
use super::shapes::ColumnShapes;
use super::sql::{literal, quoted};

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
pub(super) struct ColumnPlan {
    /// Creates the table, or adds and retypes columns in one go.
    pub(super) first: Option<String>,
    /// Finishes the instants that became text.
    pub(super) second: Vec<String>,
    pub(super) retyped: Vec<usize>,
}

impl ColumnPlan {
    /// `used` are places of columns that rows are about to fill.
    pub(super) fn of(name: &str, table: &Table, changes: &Changes, shapes: &ColumnShapes, used: &[u32]) -> Self {
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
        shapes.note("e".to_owned(), "n".to_owned(), foreign);
        let place = u32::try_from(table.columns.len() - 1).unwrap();
        assert_eq!(ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[0]), ColumnPlan::default());
        let plan = ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[place]);
        assert_eq!(plan.first.as_deref(), Some("ALTER TABLE `e` MODIFY COLUMN `n` Nullable(Int64)"));
        widened(&mut table, "n");
        let plan = ColumnPlan::of("`e`", &table, &table.changes(), &shapes, &[place]);
        assert_eq!(plan.first.as_deref(), Some("ALTER TABLE `e` MODIFY COLUMN `n` Nullable(String)"));
    }
}

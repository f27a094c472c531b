//! Changes of a table, made: its statements run in order, and said.

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::ddl::ColumnPlan;
use super::encode::{ColumnShape, type_name};
use super::error::ClickHouseError;
use super::shapes::ColumnShapes;
use super::sql::{full, literal};
use super::wire::{ClickHouseAnswer, ClickHouseWire};

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

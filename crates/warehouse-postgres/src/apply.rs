//! Changes of a table, made. All of it happens inside the transaction of the batch, so a failure leaves the table as it was.

use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::ddl::{additions, widenings};
use super::encode;
use super::error::PostgresError;
use super::sql::qualified;
use super::view::Before;
use super::wire::PostgresWire;

/// Makes these changes of the server's table, all or none; says so of columns that widened. Others in the way of a change
/// leave nothing of it behind. A change begins with what is to go `before` it.
pub(super) async fn apply(
    (wire, before): (&PostgresWire, &Before),
    table: &Table,
    changes: &Changes,
    notices: &mut Vec<String>,
) -> Result<Option<Refusal<PostgresError>>, PostgresError> {
    let name = qualified(&wire.schema, &table.name);
    let widened = widenings(&name, table, changes).map(|sql| format!("{}{sql}", before.drop));
    let sql = additions(&name, table, changes).or(widened).unwrap_or_default();
    if changes.create {
        wire.run("creating a table", &sql).await?;
        return Ok(None);
    }
    wire.run("setting a savepoint", "SAVEPOINT tidegate_table").await?;
    let altered = match changes.widen.is_empty() {
        true => wire.run("adding columns", &format!("{}{sql}", before.lock)).await,
        false => wire.rewrite("widening columns", &sql).await,
    };
    match altered {
        Ok(()) => {
            wire.run("releasing a savepoint", "RELEASE SAVEPOINT tidegate_table").await?;
            notices.extend(changes.widen.iter().map(|at| widened_notice(table, *at)));
            Ok(None)
        }
        Err(error) if error.is_of_alteration() => {
            wire.run("going back to a savepoint", "ROLLBACK TO SAVEPOINT tidegate_table").await?;
            let (columns, whole) = (changes.columns().collect(), error.is_of_table());
            Ok(Some(Refusal { columns, statement: sql, whole, error }))
        }
        Err(error) => Err(error),
    }
}

fn widened_notice(table: &Table, at: usize) -> String {
    let column = &table.columns[at];
    let was = column.declared.map_or("", encode::declared);
    let was = if column.redeclare { "a type that would alter values" } else { was };
    table.widened(at, was, encode::declared(column.kind()))
}

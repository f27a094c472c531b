//! Changes of a table, made: its statements run in order, and said.

use tidegate_warehouse::table::{Changes, Table};
use tidegate_warehouse::waiting::Refusal;

use super::ddl::statements_at;
use super::encode;
use super::error::SnowflakeError;
use super::place::SnowflakePlace;
use super::session::SnowflakeSession;

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

//! The views of the latest traits.

use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::table::Table;

use super::error::ClickHouseError;
use super::sql::{full, literal, quoted};
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// Makes the view of this table what it shall be.
pub(super) async fn keep(
    wire: &ClickHouseWire,
    database: &str,
    profile: &Profile,
    table: &Table,
) -> Result<ViewOutcome, ClickHouseError> {
    let doing = "looking for a view";
    let name = profile.beside(table);
    let query = query(database, profile, table);
    let mark = profile.mark(table, &query);
    let sql = format!(
        "SELECT engine, comment FROM system.tables WHERE database = {} AND name = {} FORMAT RowBinary",
        literal(database),
        literal(&name)
    );
    let answer = wire.ask(doing, &sql, 64 << 10).await?;
    let mut answer = ClickHouseAnswer(&answer);
    if !answer.is_over() {
        let mut read = || Some((answer.text()?, answer.text()?));
        let (engine, comment) = read().ok_or(ClickHouseError::Answer { doing })?;
        if let Some(outcome) = profile.found(&name, engine == "View", &comment, &mark) {
            return Ok(outcome);
        }
    }
    let view = full(database, &name);
    let make = format!("CREATE OR REPLACE VIEW {view} AS {query} COMMENT {}", literal(&mark));
    match wire.run("making a view", &make).await {
        Ok(()) => Ok(ViewOutcome::Made),
        Err(error @ ClickHouseError::Server { .. }) => Ok(profile.refused(&name, &error.to_string())),
        Err(error) => Err(error),
    }
}

/// `argMax` passes over values that are null.
fn query(database: &str, profile: &Profile, table: &Table) -> String {
    let key = quoted(profile.key);
    let mut columns = vec![format!("i.{key} AS {key}"), "max(i.`timestamp`) AS `timestamp`".to_owned()];
    columns.extend(profile.traits(table).map(|column| {
        let name = quoted(&column.name);
        format!("argMax(i.{name}, (coalesce(i.`timestamp`, i.`received_at`), i.`received_at`, i.`id`)) AS {name}")
    }));
    let table = full(database, &table.name);
    format!("SELECT {} FROM {table} AS i WHERE i.{key} IS NOT NULL GROUP BY i.{key}", columns.join(", "))
}

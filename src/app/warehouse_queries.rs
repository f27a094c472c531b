//! Reads the tables of embedded warehouses for the admin API.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Instant;

use serde_json::Value;
use tidegate_api_types::query::{QueriedRows, QueriedTable};
use tidegate_warehouse_sqlite::SqliteSettings;
use tidegate_warehouse_sqlite::query::{FoundCell, QueryError};
use tokio::sync::watch;

use crate::api::{QueryRefusal, WarehouseQueries};
use crate::config::{DestinationKind, Workspace};
use crate::warehouses::WarehouseSettings;

/// As the admin API calls it, of what runs.
pub(super) fn for_api(workspace: watch::Receiver<Arc<Workspace>>) -> WarehouseQueries {
    let followed = workspace.clone();
    let tables = move |destination: &str| -> Result<Vec<QueriedTable>, QueryRefusal> {
        // Whoever changes what runs does not wait for a file.
        let settings = settings(&followed.borrow(), destination)?;
        let found = settings.readable_tables().map_err(refusal)?;
        Ok(found.into_iter().map(|table| QueriedTable { name: table.name, columns: table.columns }).collect())
    };
    let rows = move |destination: &str, sql: &str, cancelled: &Arc<AtomicBool>| -> Result<QueriedRows, QueryRefusal> {
        let settings = settings(&workspace.borrow(), destination)?;
        let began = Instant::now();
        let found = settings.query(sql, cancelled).map_err(refusal)?;
        let rows = found.rows.into_iter().map(|row| row.into_iter().map(shown).collect());
        Ok(QueriedRows {
            destination: destination.to_owned(),
            columns: found.columns,
            rows: rows.collect(),
            more: found.has_more,
            cut: found.cut,
            took_ms: u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
        })
    };
    WarehouseQueries::new(Box::new(tables), Box::new(rows))
}

/// The file of a destination that runs.
fn settings(workspace: &Workspace, destination: &str) -> Result<SqliteSettings, QueryRefusal> {
    let kind = workspace.destinations.get(destination).map(|found| &found.kind);
    let Some(kind) = kind else {
        let detail = format!("the destination {destination:?} does not run: `tidegate status` says why");
        return Err(QueryRefusal::NotRead(detail));
    };
    match kind {
        DestinationKind::Warehouse(warehouse) => match &**warehouse {
            WarehouseSettings::Sqlite(settings) => Ok(settings.clone()),
            other => Err(not_embedded(destination, other.capabilities().title)),
        },
        DestinationKind::Stream(_) => Err(not_embedded(destination, "a stream")),
        DestinationKind::Plugin(_) => Err(not_embedded(destination, "a plugin")),
    }
}

fn not_embedded(destination: &str, what: &str) -> QueryRefusal {
    QueryRefusal::NotRead(format!("{destination} is {what}: only tables in SQLite files are read here"))
}

fn shown(cell: FoundCell) -> Value {
    match cell {
        FoundCell::Null => Value::Null,
        FoundCell::Integer(number) => Value::from(number),
        FoundCell::Real(number) => Value::from(number),
        FoundCell::Text(text) => Value::from(text),
        FoundCell::Blob(bytes) => Value::from(format!("({bytes} bytes)")),
    }
}

fn refusal(error: QueryError) -> QueryRefusal {
    let detail = error.to_string();
    let (code, fix) = match error {
        QueryError::Held => return QueryRefusal::Held,
        QueryError::NoFile | QueryError::File { .. } => return QueryRefusal::Failed(detail),
        QueryError::Statement(_) => ("statement", "write one SELECT, and texts between quotation marks"),
        QueryError::NotAllowed { .. } => {
            ("not-allowed", "write a SELECT of the tables that the destination has; nothing else is run here")
        }
        QueryError::Wrong { .. } => {
            ("statement", "mend the statement; the tables and their columns are listed beside it")
        }
        QueryError::TooSlow | QueryError::Cancelled => {
            ("too-slow", "ask for less, or of a copy: `tidegate backup` makes one while the server runs")
        }
        QueryError::TooLarge => ("too-large", "leave the column out, or take a part of it with substr()"),
    };
    QueryRefusal::Statement { code, detail, fix }
}

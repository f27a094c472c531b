//! What there is in the database.

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable};
use tidegate_warehouse::table::Column;

use super::encode::{self, ColumnShape};
use super::error::ClickHouseError;
use super::shapes::ColumnShapes;
use super::sql::literal;
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// The description of a whole database.
const SCHEMA_BYTES_MAX: usize = 256 << 20;

/// Everything in the database.
pub(super) async fn find(
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
            shapes.note(table, name, shape);
        }
    }
    Some((found, shapes))
}

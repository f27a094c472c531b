//! From a batch to rows of JSON, in two readings: the first finds out which tables and columns there must be, the second,
//! when they are there, writes each value as its column wants it. Cells are made for a few events at a time, so that
//! memory does not grow with the batch but by the rows themselves.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use tidegate_event::Position;
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::encoder::{Chunk, Encoder};
use tidegate_warehouse::row::{Cell, Group};
use tidegate_warehouse::schema_cache::FoundSchema;
use tidegate_warehouse::table::{Table, Tables};

use super::encode;
use super::error::SnowflakeError;

/// Events whose cells are in memory at once.
const CHUNK_EVENTS: usize = 256;

/// The first reading.
#[derive(Debug, Default)]
pub struct PlanColumns;

/// Which columns of which tables the batch fills.
#[derive(Debug, Default)]
pub struct PlanPart {
    found: BTreeMap<usize, BTreeSet<u32>>,
    pub(super) tables: Vec<(usize, Vec<u32>)>,
}

impl PlanPart {
    /// The columns of table number `table` that are filled.
    pub(super) fn columns(&self, table: usize) -> &[u32] {
        let found = self.tables.binary_search_by_key(&table, |(table, _)| *table);
        found.map_or(&[], |at| &self.tables[at].1)
    }
}

impl Encoder for PlanColumns {
    type Part<'b> = PlanPart;

    const CHUNK_EVENTS: usize = CHUNK_EVENTS;
    const WHOLE: bool = true;

    fn begin<'b>(&mut self) -> Self::Part<'b> {
        PlanPart::default()
    }

    fn add<'b>(&mut self, part: &mut PlanPart, _tables: &Tables, chunk: Chunk<'b>) {
        for group in chunk.groups {
            part.found.entry(group.table).or_default().extend(&group.columns);
        }
    }

    fn is_full(&self, _part: &PlanPart) -> bool {
        false
    }

    fn end(&mut self, part: &mut PlanPart) {
        let found = std::mem::take(&mut part.found);
        part.tables = found.into_iter().map(|(table, columns)| (table, columns.into_iter().collect())).collect();
    }

    fn table<'p>(&self, part: &'p PlanPart, at: usize) -> Option<(usize, &'p [u32])> {
        part.tables.get(at).map(|(table, columns)| (*table, &**columns))
    }
}

/// One row as it is written.
pub(super) struct PlannedRow<'r, 'b> {
    pub(super) table: usize,
    pub(super) event: Option<usize>,
    /// Of its event in the log.
    pub(super) position: Position,
    pub(super) id: &'b str,
    pub(super) cells: &'r [Cell<'b>],
}

fn row<'r, 'b>(chunk: &'r Chunk<'b>, group: &'r Group<'b>, at: usize) -> PlannedRow<'r, 'b> {
    let event = group.rows[at].event.map(|event| event as usize);
    let (position, id) = match event {
        Some(event) => {
            let event = &chunk.batch.events[event];
            (event.id.position, event.body.get("messageId").and_then(|id| id.as_str()).unwrap_or_default())
        }
        None => {
            let record = chunk.records.get(at);
            record.map_or((Position::default(), ""), |record| (record.position, &*record.message_id))
        }
    };
    PlannedRow { table: group.table, event, position, id, cells: group.row(at) }
}

/// Reads these items for the second time: each row of them.
pub(super) async fn rows<'b>(
    load: &mut BatchLoad<'_, 'b, PlanColumns>,
    found: &mut FoundSchema,
    items: &Range<usize>,
    mut each: impl FnMut(&Table, PlannedRow<'_, 'b>) -> Result<(), SnowflakeError> + Send,
) -> Result<(), SnowflakeError> {
    for start in items.clone().step_by(CHUNK_EVENTS) {
        let chunk = load.plan(found, start..items.end.min(start + CHUNK_EVENTS)).await?;
        for group in &chunk.groups {
            let table = &load.tables().list[group.table];
            for at in 0..group.rows.len() {
                each(table, row(&chunk, group, at))?;
            }
        }
    }
    Ok(())
}

/// Writes the cells of a row as members of a JSON object, each with a comma before it unless it is `first`.
pub(super) fn members(
    out: &mut impl std::io::Write,
    table: &Table,
    cells: &[Cell<'_>],
    first: bool,
) -> std::io::Result<()> {
    let mut first = first;
    for cell in cells {
        let column = &table.columns[cell.column as usize];
        out.write_all(if first { b"\"" } else { b",\"" })?;
        first = false;
        // Names are letters, digits and underscores, which JSON spells as they are.
        out.write_all(column.name.to_ascii_uppercase().as_bytes())?;
        out.write_all(b"\":")?;
        encode::write(out, &cell.scalar, column.kind())?;
    }
    Ok(())
}

//! From a batch to columns: which rows come to which table and partition, column by column.
//!
//! Events are planned a few at a time, so that an event is still in the processor's cache when its values are copied,
//! and memory holds values, not cells. When a column widens in the middle of a batch, what has been gathered is widened
//! with it.

use std::collections::HashSet;

use tidegate_event::Kind;
use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::row::{Group, Planner};
use tidegate_warehouse::schema_cache::{Found, SchemaCache};
use tidegate_warehouse::table::{Family, Table};

use super::client::Partition;
use super::encode::{FIT, Values};
use super::error::LakeError;
use super::file::Chunk;
use super::manifest::ColumnEntry;

/// Events planned together.
const CHUNK_EVENTS: usize = 64;

/// A batch as columns.
pub(super) struct Gathered {
    /// As it is once the batch is durable.
    pub known: SchemaCache,
    pub tables: Vec<Filled>,
    pub delivery: Delivery,
}

/// One table that gets rows.
#[derive(Debug)]
pub(super) struct Filled {
    pub name: String,
    /// All its columns.
    pub columns: Vec<ColumnEntry>,
    /// Names of those that are wider than they were.
    pub widened: Vec<String>,
    pub parts: Vec<Rows>,
    /// Places of the columns that its new files have: those of the kind of table, those with a value, and those that no
    /// file has had yet.
    pub present: Vec<usize>,
}

/// The rows of one table and partition.
#[derive(Debug, Default)]
pub(super) struct Rows {
    pub partition: Option<i64>,
    pub rows: usize,
    /// By place of the column; none while it has no value.
    pub chunks: Vec<Option<Chunk>>,
}

/// Gathers the events of `batch` from offset `skip_below` on.
pub(super) fn gather(
    mut known: SchemaCache,
    found: &mut Found,
    batch: &Batch,
    skip_below: u64,
    partition: Partition,
) -> Result<Gathered, LakeError> {
    let (mut delivery, mut rejected) = (Delivery::default(), Vec::new());
    let mut tables: Vec<Vec<Rows>> = Vec::new();
    let mut seen: HashSet<(Kind, &str)> = HashSet::new();
    let mut targets = Vec::with_capacity(CHUNK_EVENTS);
    let mut first = 0_u32;
    for events in batch.events.chunks(CHUNK_EVENTS) {
        targets.clear();
        for (index, event) in events.iter().enumerate() {
            let id = event.message_id();
            let missing = event.body.get("messageId").is_none_or(serde_json::Value::is_null);
            if event.offset < skip_below || (!id.is_empty() && !seen.insert((event.kind, id))) {
                delivery.duplicates += 1;
                targets.push(None);
            } else if missing {
                let reason = "the event has no messageId, which is the id of its rows".to_owned();
                let index = first as usize + index;
                rejected.push(Rejected { index, code: "row_refused".into(), reason, detail: None });
                targets.push(None);
            } else {
                targets.push(Some(known.target(found, event).map_err(|taken| LakeError::Taken { name: taken.0 })?));
            }
        }
        let mut planner = Planner::new(&mut known.tables, FIT);
        for (index, (event, target)) in (first..).zip(events.iter().zip(&targets)) {
            if let Some(target) = target {
                planner.event(index, event, target);
            }
        }
        let groups = planner.finish();
        let at = |row: usize, group: &Group<'_>| {
            group.rows[row].event.map_or(0, |index| batch.events[index as usize].received_at_us)
        };
        spread(&known, &groups, &mut tables, |row, group| key(at(row, group), partition))?;
        first += u32::try_from(events.len()).unwrap_or(u32::MAX);
    }
    if !rejected.is_empty() {
        return Err(LakeError::Refused { rejected });
    }
    let mut seen = HashSet::new();
    let fresh = batch.violations.iter().filter(|record| record.offset >= skip_below);
    let records: Vec<_> = fresh.filter(|record| seen.insert(&*record.message_id)).collect();
    for records in records.chunks(CHUNK_EVENTS) {
        let violations = Family::Violations;
        let table = known.fixed_table(found, violations).map_err(|taken| LakeError::Taken { name: taken.0 })?;
        let mut planner = Planner::new(&mut known.tables, FIT);
        records.iter().for_each(|record| planner.violation(record, table));
        let groups = planner.finish();
        spread(&known, &groups, &mut tables, |row, _| key(records[row].received_at_us, partition))?;
    }
    delivery.delivered = batch.events.len() as u64;
    let tables = tables
        .into_iter()
        .enumerate()
        .filter(|(_, parts)| !parts.is_empty())
        .map(|(at, parts)| fill(&mut known, at, parts))
        .collect::<Result<Vec<_>, _>>()?;
    Ok(Gathered { known, tables, delivery })
}

/// Which partition an instant belongs to: days or hours since 1970.
fn key(at_us: i64, partition: Partition) -> Option<i64> {
    match partition {
        Partition::None => None,
        Partition::Day => Some(at_us.div_euclid(86_400_000_000)),
        Partition::Hour => Some(at_us.div_euclid(3_600_000_000)),
    }
}

/// Copies the rows of `groups` to their parts.
fn spread<'g>(
    known: &SchemaCache,
    groups: &[Group<'g>],
    tables: &mut Vec<Vec<Rows>>,
    partition: impl Fn(usize, &Group<'g>) -> Option<i64>,
) -> Result<(), LakeError> {
    for group in groups {
        if tables.len() <= group.table {
            tables.resize_with(group.table + 1, Vec::new);
        }
        let table = &known.tables.list[group.table];
        let parts = &mut tables[group.table];
        let mut last = usize::MAX;
        for row in 0..group.rows.len() {
            let partition = partition(row, group);
            if parts.get(last).is_none_or(|rows| rows.partition != partition) {
                last = parts.iter().position(|rows| rows.partition == partition).unwrap_or_else(|| {
                    parts.push(Rows { partition, ..Rows::default() });
                    parts.len() - 1
                });
            }
            add(table, group, row, &mut parts[last])?;
        }
    }
    Ok(())
}

fn add(table: &Table, group: &Group<'_>, row: usize, rows: &mut Rows) -> Result<(), LakeError> {
    if rows.chunks.len() < table.columns.len() {
        rows.chunks.resize(table.columns.len(), None);
    }
    for cell in group.row(row) {
        let column = &table.columns[cell.column as usize];
        let misfit = |_| LakeError::Misfit { table: table.name.to_string(), column: column.name.to_string() };
        let kind = column.kind();
        let chunk = rows.chunks[cell.column as usize].get_or_insert_with(|| Chunk::new(kind));
        if chunk.values.kind() != kind {
            let narrow = std::mem::replace(&mut chunk.values, Values::new(kind));
            chunk.values = narrow.widen(kind).map_err(misfit)?;
        }
        chunk.levels.resize(rows.rows, 0);
        chunk.levels.push(1);
        chunk.values.push(&cell.scalar).map_err(misfit)?;
    }
    rows.rows += 1;
    Ok(())
}

/// Settles the types of a table's columns for this batch.
fn fill(known: &mut SchemaCache, at: usize, mut parts: Vec<Rows>) -> Result<Filled, LakeError> {
    let table = &mut known.tables.list[at];
    let changes = table.changes();
    for rows in &mut parts {
        rows.chunks.resize(table.columns.len(), None);
        for (chunk, column) in rows.chunks.iter_mut().zip(&table.columns) {
            let Some(chunk) = chunk else { continue };
            let narrow = std::mem::replace(&mut chunk.values, Values::new(Type::Text));
            chunk.values = narrow
                .widen(column.kind())
                .map_err(|_| LakeError::Misfit { table: table.name.to_string(), column: column.name.to_string() })?;
        }
    }
    let used = |place: usize| parts.iter().any(|rows| rows.chunks[place].is_some());
    let present = (0..table.columns.len())
        .filter(|place| {
            changes.create
                || table.columns[*place].declared.is_none()
                || table.base.iter().any(|base| *base as usize == *place)
                || used(*place)
        })
        .collect();
    let mut widened = Vec::new();
    for place in &changes.widen {
        let column = &table.columns[*place];
        let (was, is) = (column.declared.map_or("", Type::as_str), column.kind());
        known.notices.push(format!("column {} of table {} widened from {was} to {is}", column.name, table.name));
        widened.push(column.name.to_string());
    }
    for place in changes.add.into_iter().chain(changes.widen) {
        table.columns[place].applied();
    }
    table.exists = true;
    let columns = table.columns.iter();
    let columns = columns.map(|column| ColumnEntry { name: column.name.to_string(), kind: column.kind() }).collect();
    Ok(Filled { name: table.name.to_string(), columns, widened, parts, present })
}

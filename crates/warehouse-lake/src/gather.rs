//! From a batch to columns: which rows come to which table and partition, column by column.
//!
//! Events are planned a few at a time, so that an event is still in the processor's cache when its values are copied,
//! and memory holds values, not cells. When a column widens in the middle of a batch, what has been gathered is widened
//! with it.

use std::collections::HashSet;

use tidegate_event::value::Value;
use tidegate_event::{Event, EventKind, ViolationRecord};
use tidegate_warehouse::encoder::{Admit, Chunk as Planned, Encoder};
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::row::Group;
use tidegate_warehouse::table::{Changes, Table, Tables};

use super::encode::Values;
use super::error::LakeError;
use super::file::ColumnChunk;
use super::manifest::ColumnEntry;
use super::settings::Partition;

/// Events planned together.
const CHUNK_EVENTS: usize = 64;

/// Gathers rows by table, partition and column.
#[derive(Debug)]
pub struct Gather(pub Partition);

/// A batch as columns.
#[derive(Debug, Default)]
pub struct Gathered<'b> {
    /// By the table's place.
    tables: Vec<Vec<ColumnRows>>,
    /// The tables that get rows.
    filled: Vec<usize>,
    /// First of an id within the batch.
    seen: HashSet<(EventKind, &'b str)>,
    violations: HashSet<&'b str>,
    /// A value that no column takes.
    misfit: Option<LakeError>,
}

/// One table that gets rows.
#[derive(Debug)]
pub(super) struct Filled {
    pub name: String,
    /// All its columns.
    pub columns: Vec<ColumnEntry>,
    /// Names of those that are wider than they were.
    pub widened: Vec<String>,
    pub parts: Vec<ColumnRows>,
    /// Places of the columns that its new files have: those of the kind of table, those with a value, and those that no
    /// file has had yet.
    pub present: Vec<usize>,
}

/// The rows of one table and partition.
#[derive(Debug, Default)]
pub(super) struct ColumnRows {
    pub partition: Option<i64>,
    pub rows: usize,
    /// By place of the column; none while it has no value.
    pub chunks: Vec<Option<ColumnChunk>>,
}

impl Encoder for Gather {
    type Part<'b> = Gathered<'b>;

    const CHUNK_EVENTS: usize = CHUNK_EVENTS;
    const WHOLE: bool = true;

    fn begin<'b>(&mut self) -> Self::Part<'b> {
        Gathered::default()
    }

    fn admit<'b>(&mut self, part: &mut Gathered<'b>, event: &'b Event) -> Admit {
        let id = event.message_id();
        if !id.is_empty() && !part.seen.insert((event.kind, id)) {
            return Admit::Duplicate;
        }
        match event.body.get("messageId").is_none_or(Value::is_null) {
            true => Admit::Refused("the event has no messageId, which is the id of its rows".to_owned()),
            false => Admit::Rows,
        }
    }

    fn admit_violation<'b>(&mut self, part: &mut Gathered<'b>, record: &'b ViolationRecord) -> bool {
        part.violations.insert(&record.message_id)
    }

    fn add<'b>(&mut self, part: &mut Gathered<'b>, tables: &Tables, chunk: Planned<'b>) {
        let at = |row: usize, group: &Group<'_>| match group.rows[row].event {
            Some(event) => chunk.batch.events[event as usize].received_at_us,
            None => chunk.records.get(row).map_or(0, |record| record.received_at_us),
        };
        let spread = spread(tables, &chunk.groups, &mut part.tables, |row, group| key(at(row, group), self.0));
        part.misfit = part.misfit.take().or(spread.err());
    }

    fn is_full(&self, _part: &Gathered<'_>) -> bool {
        false
    }

    fn end(&mut self, part: &mut Gathered<'_>) {
        part.filled = (0..part.tables.len()).filter(|at| !part.tables[*at].is_empty()).collect();
    }

    fn table<'p>(&self, part: &'p Gathered<'_>, at: usize) -> Option<(usize, &'p [u32])> {
        part.filled.get(at).map(|table| (*table, &[][..]))
    }
}

impl Gathered<'_> {
    /// The tables with their columns as they are for this batch; `changes` tells what was done to each.
    pub(super) fn filled(
        mut self,
        tables: &Tables,
        mut changes: impl FnMut(&Table) -> Changes,
    ) -> Result<Vec<Filled>, LakeError> {
        if let Some(misfit) = self.misfit {
            return Err(misfit);
        }
        let mut fill =
            |at: usize| fill(&tables.list[at], &changes(&tables.list[at]), std::mem::take(&mut self.tables[at]));
        self.filled.iter().map(|at| fill(*at)).collect()
    }
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
    known: &Tables,
    groups: &[Group<'g>],
    tables: &mut Vec<Vec<ColumnRows>>,
    partition: impl Fn(usize, &Group<'g>) -> Option<i64>,
) -> Result<(), LakeError> {
    for group in groups {
        if tables.len() <= group.table {
            tables.resize_with(group.table + 1, Vec::new);
        }
        let table = &known.list[group.table];
        let parts = &mut tables[group.table];
        let mut last = usize::MAX;
        for row in 0..group.rows.len() {
            let partition = partition(row, group);
            if parts.get(last).is_none_or(|rows| rows.partition != partition) {
                last = parts.iter().position(|rows| rows.partition == partition).unwrap_or_else(|| {
                    parts.push(ColumnRows { partition, ..ColumnRows::default() });
                    parts.len() - 1
                });
            }
            add(table, group, row, &mut parts[last])?;
        }
    }
    Ok(())
}

fn add(table: &Table, group: &Group<'_>, row: usize, rows: &mut ColumnRows) -> Result<(), LakeError> {
    if rows.chunks.len() < table.columns.len() {
        rows.chunks.resize(table.columns.len(), None);
    }
    for cell in group.row(row) {
        let column = &table.columns[cell.column as usize];
        let misfit = |_| LakeError::Misfit { table: table.name.to_string(), column: column.name.to_string() };
        let kind = column.kind();
        let chunk = rows.chunks[cell.column as usize].get_or_insert_with(|| ColumnChunk::new(kind));
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
fn fill(table: &Table, changes: &Changes, mut parts: Vec<ColumnRows>) -> Result<Filled, LakeError> {
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
                || changes.add.contains(place)
                || table.base.iter().any(|base| *base as usize == *place)
                || used(*place)
        })
        .collect();
    let widened = changes.widen.iter().map(|place| table.columns[*place].name.to_string()).collect();
    let columns = table.columns.iter();
    let columns = columns.map(|column| ColumnEntry { name: column.name.to_string(), kind: column.kind() }).collect();
    Ok(Filled { name: table.name.to_string(), columns, widened, parts, present })
}

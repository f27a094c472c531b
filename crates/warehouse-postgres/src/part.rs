//! Rows on their way: as much of a batch as is copied at once.
//!
//! A part holds whole events, both rows of each, as the text that COPY reads. Which of its rows are copied is decided
//! afterwards, by their places: without the rows whose key is there already. Nothing is copied in memory.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_warehouse::encoder::{Chunk, Encoder};
use tidegate_warehouse::evolve::Scalar;
use tidegate_warehouse::row::Group;
use tidegate_warehouse::table::{ID, Table, Tables};

use super::encode::{encode, unescaped};
use super::sql::{qualified, quoted};
use super::wire::Copy;

/// Events planned together: few enough to be in the processor's cache when they are encoded.
const CHUNK_EVENTS: usize = 64;
/// Text of one part. Two are in memory at a time.
const PART_BYTES: usize = 4 << 20;
/// No value.
const NULL: &[u8] = b"\\N";

/// The columns that rows of a table are copied into; the key is the first.
#[derive(Debug)]
pub(super) struct CopyShape {
    columns: Vec<u32>,
    /// By column: its place among them.
    places: Vec<Option<u16>>,
    /// The table's name as SQL spells it.
    table: String,
    sql: Arc<str>,
}

/// The shapes of all tables, kept from batch to batch.
#[derive(Debug)]
pub struct CopyShapes {
    schema: String,
    by_table: HashMap<usize, Arc<CopyShape>>,
}

impl CopyShapes {
    pub(super) fn new(schema: &str) -> Self {
        Self { schema: schema.to_owned(), by_table: HashMap::new() }
    }

    /// The tables are looked at anew.
    pub(super) fn clear(&mut self) {
        self.by_table.clear();
    }

    /// A shape that has all columns that the group fills. Those of earlier groups are kept, so that optional fields do not
    /// make a new statement each time, until they are too many.
    fn of(&mut self, table: &Table, group: &Group<'_>) -> Arc<CopyShape> {
        let most = 2 * group.columns.len() + 16;
        let kept = self.by_table.get(&group.table).filter(|shape| shape.columns.len() <= most);
        if let Some(shape) = kept
            && group.columns.iter().all(|column| shape.places.get(*column as usize).copied().flatten().is_some())
        {
            return Arc::clone(shape);
        }
        let mut columns: Vec<u32> = group.columns.clone();
        columns.extend(kept.into_iter().flat_map(|shape| &shape.columns));
        columns.sort_unstable();
        columns.dedup();
        let key = table.base[ID];
        columns.retain(|column| *column != key);
        columns.insert(0, key);
        let mut places = vec![None; table.columns.len()];
        for (place, column) in (0..).zip(&columns) {
            places[*column as usize] = Some(place);
        }
        let names: Vec<String> = columns.iter().map(|column| quoted(&table.columns[*column as usize].name)).collect();
        let name = qualified(&self.schema, &table.name);
        let sql = format!("COPY {name} ({}) FROM STDIN", names.join(", ")).into();
        let shape = Arc::new(CopyShape { columns, places, table: name, sql });
        self.by_table.insert(group.table, Arc::clone(&shape));
        shape
    }
}

/// One row of a run; its text begins where that of the row before ended.
#[derive(Debug)]
struct RowPlace {
    /// Index of the event, or of the violation, in the batch.
    event: u32,
    end: usize,
    /// About how much of a page it takes at least.
    width: u32,
    /// Its key is there already.
    skip: bool,
}

/// Rows of one table with the same columns.
#[derive(Debug)]
pub(super) struct Run {
    /// Place in the list of tables.
    pub(super) table: usize,
    shape: Arc<CopyShape>,
    is_of_kind: bool,
    text: Vec<u8>,
    sealed: Bytes,
    rows: Vec<RowPlace>,
}

impl Run {
    fn start(&self, row: usize) -> usize {
        row.checked_sub(1).map_or(0, |before| self.rows[before].end)
    }

    /// The key of a row, escaped; the value of a first column has neither end inside.
    fn key(&self, row: usize) -> &[u8] {
        let text = &self.sealed[self.start(row)..self.rows[row].end];
        &text[..memchr::memchr2(b'\t', b'\n', text).unwrap_or(text.len())]
    }

    fn push(&mut self, event: u32, group: &Group<'_>, row: usize, cells: &mut Vec<Option<usize>>) {
        let shape = &*self.shape;
        let filled = group.row(row);
        cells.clear();
        cells.resize(shape.columns.len(), None);
        for (at, cell) in filled.iter().enumerate() {
            if let Some(place) = shape.places[cell.column as usize] {
                cells[usize::from(place)] = Some(at);
            }
        }
        let mut width = 32 + shape.places.len() / 8;
        for (place, cell) in cells.iter().enumerate() {
            if place > 0 {
                self.text.push(b'\t');
            }
            let Some(at) = *cell else {
                self.text.extend_from_slice(NULL);
                continue;
            };
            let before = self.text.len();
            let scalar = &filled[at].scalar;
            encode(scalar, &mut self.text);
            width += match scalar {
                Scalar::Boolean(_) => 1,
                Scalar::Integer(_) | Scalar::Timestamp(_) | Scalar::Respelled(_) => 8,
                // What is longer is kept elsewhere, and a pointer to it here.
                _ => (self.text.len() - before + 1).min(18),
            };
        }
        self.text.push(b'\n');
        let width = u32::try_from(width).unwrap_or(u32::MAX);
        self.rows.push(RowPlace { event, end: self.text.len(), width, skip: false });
    }
}

/// Whole events of a batch, ready to be copied.
#[derive(Debug, Default)]
pub struct CopyPart {
    pub(super) runs: Vec<Run>,
    /// The tables that it has rows for, in order.
    tables: Vec<usize>,
    /// By table: the run that further rows go to.
    open: HashMap<usize, usize>,
    bytes: usize,
    cells: Vec<Option<usize>>,
}

impl Encoder for CopyShapes {
    type Part<'b> = CopyPart;

    const CHUNK_EVENTS: usize = CHUNK_EVENTS;

    fn begin<'b>(&mut self) -> Self::Part<'b> {
        CopyPart::default()
    }

    fn add<'b>(&mut self, part: &mut CopyPart, tables: &Tables, chunk: Chunk<'b>) {
        for group in &chunk.groups {
            part.add(self, &tables.list[group.table], group, chunk.items.start);
        }
    }

    fn is_full(&self, part: &CopyPart) -> bool {
        part.bytes >= PART_BYTES
    }

    fn end(&mut self, part: &mut CopyPart) {
        for run in &mut part.runs {
            run.sealed = Bytes::from(std::mem::take(&mut run.text));
        }
        part.open.clear();
        part.tables = part.runs.iter().map(|run| run.table).collect();
        part.tables.sort_unstable();
        part.tables.dedup();
    }

    fn table<'p>(&self, part: &'p CopyPart, at: usize) -> Option<(usize, &'p [u32])> {
        part.tables.get(at).map(|table| (*table, &[][..]))
    }
}

impl CopyPart {
    /// Appends the rows of a group; rows that are no event's count from `first`.
    fn add(&mut self, shapes: &mut CopyShapes, table: &Table, group: &Group<'_>, first: usize) {
        let shape = shapes.of(table, group);
        let at = match self.open.get(&group.table) {
            Some(at) if Arc::ptr_eq(&self.runs[*at].shape, &shape) => *at,
            _ => {
                let (is_of_kind, text) = (table.family.is_of_kind(), Vec::new());
                let sealed = Bytes::new();
                self.runs.push(Run { table: group.table, shape, is_of_kind, text, sealed, rows: Vec::new() });
                self.open.insert(group.table, self.runs.len() - 1);
                self.runs.len() - 1
            }
        };
        let run = &mut self.runs[at];
        let before = run.text.len();
        for (row, planned) in group.rows.iter().enumerate() {
            let event = planned.event.unwrap_or_else(|| u32::try_from(first + row).unwrap_or(u32::MAX));
            run.push(event, group, row, &mut self.cells);
        }
        self.bytes += run.text.len() - before;
    }

    /// Events with a row that takes more than `width` of a page.
    pub(super) fn wide(&self, width: u32) -> HashSet<usize> {
        let rows = self.runs.iter().flat_map(|run| &run.rows);
        rows.filter(|row| row.width > width).map(|row| row.event as usize).collect()
    }

    /// What is to be copied.
    pub(super) fn copies(&self) -> Vec<Copy> {
        let mut copies = Vec::with_capacity(self.runs.len());
        for run in &self.runs {
            let mut rows = Vec::new();
            let mut run_of_rows: Option<Range<usize>> = None;
            for (at, row) in run.rows.iter().enumerate() {
                if row.skip {
                    rows.extend(run_of_rows.take());
                } else {
                    run_of_rows.get_or_insert(run.start(at)..0).end = row.end;
                }
            }
            rows.extend(run_of_rows);
            if !rows.is_empty() {
                let rows = rows.into_iter().map(|run_of_rows| run.sealed.slice(run_of_rows)).collect();
                copies.push(Copy { sql: Arc::clone(&run.shape.sql), rows });
            }
        }
        copies
    }

    /// The name of the table of run number `run`, as SQL spells it.
    pub(super) fn table(&self, run: usize) -> &str {
        &self.runs[run].shape.table
    }

    /// The keys of the rows in run number `run`.
    pub(super) fn keys(&self, run: usize) -> Vec<String> {
        let run = &self.runs[run];
        (0..run.rows.len()).map(|row| unescaped(run.key(row))).collect()
    }

    /// Notes which rows are not to be copied: those found (by run, numbers among its keys), and those whose key came
    /// before. How many are rows of a kind's table.
    pub(super) fn skip(&mut self, found: &[HashSet<usize>]) -> u64 {
        let mut seen: HashSet<(usize, Bytes)> = HashSet::new();
        let mut skipped = 0;
        for (run, found) in self.runs.iter_mut().zip(found) {
            for row in 0..run.rows.len() {
                let key = run.sealed.slice_ref(run.key(row));
                let skip = found.contains(&row) || !(key == NULL || seen.insert((run.table, key)));
                run.rows[row].skip = skip;
                skipped += u64::from(skip && run.is_of_kind);
            }
        }
        skipped
    }
}

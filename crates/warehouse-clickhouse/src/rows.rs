//! The rows of one table on their way out: their ids, and the body of the insert.

use std::collections::HashSet;

use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::row::Group;
use tidegate_warehouse::table::{ID, Table};

use super::encode::{ColumnShape, put, put_length, put_text, type_name};
use super::shapes::ColumnShapes;

/// Rows encoded before others get a turn on the thread.
const TURN_ROWS: usize = 512;

/// The ids of a group's rows: what the table is asked, and which rows are not sent.
#[derive(Debug)]
pub(super) struct Ids {
    /// One after the other as RowBinary.
    bytes: Vec<u8>,
    /// By row: where its id is in `bytes`, without its length.
    places: Vec<(usize, usize)>,
    /// By row: whether it stays behind.
    skipped: Vec<bool>,
}

impl Ids {
    /// The ids of all rows; of rows with the same id the first is sent.
    pub(super) fn of(table: &Table, group: &Group<'_>) -> Self {
        let id = table.base[ID];
        let mut ids = Self {
            bytes: Vec::with_capacity(group.rows.len() * 37),
            places: Vec::with_capacity(group.rows.len()),
            skipped: vec![false; group.rows.len()],
        };
        for row in 0..group.rows.len() {
            let cell = group.row(row).iter().find(|cell| cell.column == id);
            let text = cell.map(|cell| cell.scalar.text()).unwrap_or_default();
            put_text(&mut ids.bytes, &text);
            ids.places.push((ids.bytes.len() - text.len(), ids.bytes.len()));
        }
        let mut seen = HashSet::with_capacity(group.rows.len());
        for (row, (start, end)) in ids.places.iter().enumerate() {
            ids.skipped[row] = !seen.insert(&ids.bytes[*start..*end]);
        }
        ids
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Leaves out the rows whose ids the table has; false when it claims to have others than it was asked for.
    pub(super) fn skip(&mut self, there: &HashSet<&[u8]>) -> bool {
        if there.is_empty() {
            return true;
        }
        let mut found = 0;
        for (row, (start, end)) in self.places.iter().enumerate() {
            if !self.skipped[row] && there.contains(&self.bytes[*start..*end]) {
                self.skipped[row] = true;
                found += 1;
            }
        }
        found == there.len()
    }

    /// How many rows stay behind.
    pub(super) fn skipped(&self) -> usize {
        self.skipped.iter().filter(|skipped| **skipped).count()
    }
}

/// The body of the insert, with the names and types of its columns in front.
pub(super) async fn encoded(table: &Table, shapes: &ColumnShapes, group: &Group<'_>, ids: &Ids) -> Vec<u8> {
    let columns: Vec<(Type, bool)> = group
        .columns
        .iter()
        .map(|place| {
            let column = &table.columns[*place as usize];
            (column.kind(), &*column.name != "id")
        })
        .collect();
    let mut out = Vec::with_capacity(columns.len() * 48 + group.cells.len() * 14 + group.rows.len() * columns.len());
    put_length(&mut out, columns.len());
    for place in &group.columns {
        put_text(&mut out, &table.columns[*place as usize].name);
    }
    for (place, (kind, nullable)) in group.columns.iter().zip(&columns) {
        let type_text = match shapes.of(&table.name, &table.columns[*place as usize].name) {
            ColumnShape::Kept(type_text) => type_text,
            _ if !nullable => "String",
            _ => type_name(*kind),
        };
        put_text(&mut out, type_text);
    }
    let mut positions = vec![usize::MAX; table.columns.len()];
    for (position, place) in group.columns.iter().enumerate() {
        positions[*place as usize] = position;
    }
    // By position: the row that last filled it, counted from 1, and with which cell.
    let mut filled = vec![(0_usize, 0_usize); columns.len()];
    for row in 0..group.rows.len() {
        if row % TURN_ROWS == TURN_ROWS - 1 {
            tokio::task::yield_now().await;
        }
        if ids.skipped[row] {
            continue;
        }
        let cells = group.row(row);
        for (at, cell) in cells.iter().enumerate() {
            filled[positions[cell.column as usize]] = (row + 1, at);
        }
        for ((kind, nullable), (of, at)) in columns.iter().zip(&filled) {
            if *of == row + 1 {
                put(&mut out, &cells[*at].scalar, *kind, *nullable);
            } else {
                out.push(u8::from(*nullable));
            }
        }
    }
    out
}

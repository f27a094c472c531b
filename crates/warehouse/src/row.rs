//! From events to rows.
//!
//! An event becomes a row of its kind's table and, if it is a track, one of its name's table. A row is a run of cells
//! that borrow from the event; cells of a batch lie grouped by table, and the types that their columns need are
//! joined on the way. When two paths of one event share a column, one keeps it by a rule that only looks at the two
//! paths, and the other goes to the row's overflow, which mirrors the event and holds what no column took.

use std::sync::Arc;

use tidegate_event::value::{JsonObject, Value};
use tidegate_event::{Event, ViolationRecord, is_blank};

use crate::evolve::{self, Fit, Scalar, Type};
use crate::path::{CONTEXT, MESSAGE, Node, OWN, PathSlot};
use crate::table::{self, BasePlace, Family, RowTarget, Shut, Table, Tables};

/// One value of a row.
#[derive(Debug)]
pub struct Cell<'a> {
    /// Place of the column in its table.
    pub column: u32,
    node: Node,
    pub scalar: Scalar<'a>,
}

/// No path: a base column or the overflow.
const NO_NODE: Node = Node::MAX;

/// One row; its cells end at `end` and begin where those of the row before ended.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// Index into the events of the batch; `None` for a violation.
    pub event: Option<u32>,
    pub end: usize,
}

/// The rows of one table.
#[derive(Debug)]
pub struct Group<'a> {
    /// Place in [`Tables::list`].
    pub table: usize,
    pub rows: Vec<Row>,
    pub cells: Vec<Cell<'a>>,
    /// Places of the columns that some row fills.
    pub columns: Vec<u32>,
}

impl<'a> Group<'a> {
    /// The cells of row number `at`.
    #[must_use]
    pub fn row(&self, at: usize) -> &[Cell<'a>] {
        let start = at.checked_sub(1).map_or(0, |before| self.rows[before].end);
        &self.cells[start..self.rows[at].end]
    }
}

/// Collects the rows of a batch.
#[derive(Debug)]
pub struct Planner<'t, 'a> {
    tables: &'t mut Tables,
    fit: Fit,
    groups: Vec<Group<'a>>,
    /// By table: its group's place.
    places: Vec<Option<usize>>,
    narrow: bool,
}

impl<'t, 'a> Planner<'t, 'a> {
    pub fn new(tables: &'t mut Tables, fit: Fit) -> Self {
        let places = vec![None; tables.list.len()];
        Self { tables, fit, groups: Vec::new(), places, narrow: false }
    }

    /// The same for rows that are too wide for the warehouse: every value without a base column goes to the overflow.
    pub fn narrow(tables: &'t mut Tables, fit: Fit) -> Self {
        Self { narrow: true, ..Self::new(tables, fit) }
    }

    /// The rows of the event with this index in the batch.
    pub fn event(&mut self, index: u32, event: &'a Event, target: &RowTarget) {
        let name = target.event.as_ref().map(|(_, name)| name);
        for table in [Some(target.kind), target.event.as_ref().map(|(table, _)| *table)].into_iter().flatten() {
            let mut builder = self.builder(table);
            if let Some(name) = name {
                builder.base(table::EVENT, Scalar::Made(Arc::clone(name)));
            }
            builder.body(&event.body);
            builder.finish(Some(index), Some(&event.body));
        }
    }

    /// The row of one violation record in the table `table`.
    pub fn violation(&mut self, record: &'a ViolationRecord, table: usize) {
        let mut builder = self.builder(table);
        let violations = serde_json::to_string(&record.violations).unwrap_or_default();
        let values = [
            Some(Scalar::Text(&record.message_id)),
            Some(Scalar::Made(instant_text(record.received_at_us).into())),
            Some(Scalar::Given(&record.payload)),
            record.event_name.as_deref().map(Scalar::Text),
            Some(Scalar::Text(record.event_type.as_str())),
            Some(Scalar::Text(&record.schema_version)),
            Some(Scalar::Boolean(record.has_undeclared_schema)),
            Some(Scalar::Boolean(record.has_undeclared_fields)),
            Some(Scalar::Boolean(record.has_schema_violated)),
            Some(Scalar::Made(violations.into())),
        ];
        for (base, value) in values.into_iter().enumerate() {
            if let Some(scalar) = value {
                builder.base(base, scalar);
            }
        }
        builder.finish(None, None);
    }

    /// The rows, grouped by table in the order in which tables came up.
    #[must_use]
    pub fn finish(self) -> Vec<Group<'a>> {
        for group in &self.groups {
            let table = &mut self.tables.list[group.table];
            (table.rows_hint, table.cells_hint) = (group.rows.len(), group.cells.len());
            for column in &group.columns {
                table.columns[*column as usize].used = false;
            }
        }
        self.groups
    }

    fn builder(&mut self, table: usize) -> Builder<'_, 'a> {
        let groups = &mut self.groups;
        let place = *self.places[table].get_or_insert_with(|| {
            let Table { rows_hint, cells_hint, columns, .. } = &self.tables.list[table];
            groups.push(Group {
                table,
                rows: Vec::with_capacity(*rows_hint),
                cells: Vec::with_capacity(*cells_hint),
                columns: Vec::with_capacity(columns.len()),
            });
            groups.len() - 1
        });
        let table = &mut self.tables.list[table];
        table.row += 1;
        let group = &mut self.groups[place];
        Builder { start: group.cells.len(), table, group, fit: self.fit, narrow: self.narrow, lost: false }
    }
}

struct Builder<'b, 'a> {
    table: &'b mut Table,
    group: &'b mut Group<'a>,
    fit: Fit,
    /// Nothing but base columns and the overflow.
    narrow: bool,
    /// Where the row's cells begin.
    start: usize,
    /// Some value has no column in this row.
    lost: bool,
}

/// What to do with a top-level field.
enum Route<'a> {
    Nothing,
    /// It stands where an id belongs and is none: the overflow keeps it.
    NoId,
    Base(usize),
    Instant(usize),
    Fields(Node, &'a JsonObject),
    /// It is a field of the message.
    Field,
}

/// The fields of one object while they are gone through.
struct FieldLevel {
    parent: Node,
    /// Where the next child of the parent is looked for first.
    at: usize,
    /// Whether columns of these fields are named with the way to them.
    prefixed: bool,
}

impl FieldLevel {
    const fn new(parent: Node, prefixed: bool) -> Self {
        Self { parent, at: 0, prefixed }
    }
}

fn route<'a>(family: Family, key: &str, value: &'a Value) -> Route<'a> {
    let place = family.place(key);
    match (place, value) {
        (BasePlace::Nowhere, _) | (_, Value::Null) => Route::Nothing,
        (_, Value::Object(fields)) if fields.is_empty() => Route::Nothing,
        (BasePlace::Id(_), Value::String(id)) if id.is_empty() => Route::Nothing,
        (BasePlace::Id(_), Value::String(id)) if is_blank(id) => Route::NoId,
        (BasePlace::Id(_), Value::Bool(_) | Value::Array(_) | Value::Object(_)) => Route::NoId,
        (BasePlace::Base(base) | BasePlace::Id(base), _) => Route::Base(base),
        (BasePlace::Instant(base), _) => Route::Instant(base),
        (BasePlace::Own, Value::Object(fields)) => Route::Fields(OWN, fields),
        (BasePlace::Context, Value::Object(fields)) => Route::Fields(CONTEXT, fields),
        _ => Route::Field,
    }
}

impl<'a> Builder<'_, 'a> {
    fn body(&mut self, body: &'a JsonObject) {
        let mut message = FieldLevel::new(MESSAGE, true);
        for (key, value) in body {
            match route(self.table.family, key, value) {
                Route::Nothing => {}
                Route::NoId => self.lost = true,
                Route::Base(base) => {
                    if let Some(scalar) = Scalar::of(value, &self.fit) {
                        self.base(base, scalar);
                    }
                }
                Route::Instant(base) => {
                    let scalar = Scalar::of_instant(value, &self.fit);
                    // What the event spells as the column does is whole, and need not be looked at again.
                    self.lost |= !matches!(scalar, Some(Scalar::Timestamp(_))) && !evolve::is_kept_whole(value);
                    if let Some(scalar) = scalar {
                        self.base(base, scalar);
                    }
                }
                Route::Fields(root, fields) => self.fields(root, fields, root != OWN),
                Route::Field => self.field(&mut message, key, value),
            }
        }
    }

    fn fields(&mut self, parent: Node, fields: &'a JsonObject, prefixed: bool) {
        let mut level = FieldLevel::new(parent, prefixed);
        for (key, value) in fields {
            self.field(&mut level, key, value);
        }
    }

    fn field(&mut self, level: &mut FieldLevel, key: &str, value: &'a Value) {
        if value.is_null() {
            return;
        }
        let node = self.table.paths.child(level.parent, key, &mut level.at);
        if let Value::Object(fields) = value
            && !fields.is_empty()
        {
            return self.fields(node, fields, level.prefixed);
        }
        if self.narrow {
            self.lost = true;
            return;
        }
        let scalar = Scalar::of_some(value, &self.fit);
        match self.table.slot(node, level.prefixed) {
            PathSlot::Column(column) => match value {
                Value::String(text) if scalar.is_respelled() && self.is_declared_text(column) => {
                    self.put(Cell { column, node, scalar: Scalar::Text(text) });
                }
                _ => {
                    self.lost |= scalar.is_respelled();
                    self.put(Cell { column, node, scalar });
                }
            },
            PathSlot::Overflow | PathSlot::Unknown => self.lost = true,
        }
    }

    /// In a column that was declared to be text, a text is what it is.
    fn is_declared_text(&self, column: u32) -> bool {
        let holder = &self.table.columns[column as usize];
        holder.pinned && holder.kind() == Type::Text
    }

    fn base(&mut self, base: usize, scalar: Scalar<'a>) {
        self.put(Cell { column: self.table.base[base], node: NO_NODE, scalar });
    }

    fn put(&mut self, cell: Cell<'a>) {
        let holder = &mut self.table.columns[cell.column as usize];
        let fits = cell.scalar.fits(&self.fit);
        if !fits || !holder.takes(cell.scalar.kind()) {
            holder.refused |= fits && holder.shut == Shut::No;
            self.lost = true;
            return;
        }
        let mark = &mut self.table.marks[cell.column as usize];
        if mark.0 == self.table.row {
            self.lost = true;
            let holder = &mut self.group.cells[self.start + mark.1 as usize];
            if cell.node != NO_NODE && self.table.paths.rank(cell.node) < self.table.paths.rank(holder.node) {
                *holder = cell;
            }
            return;
        }
        *mark = (self.table.row, u32::try_from(self.group.cells.len() - self.start).unwrap_or(u32::MAX));
        self.group.cells.push(cell);
    }

    fn finish(mut self, event: Option<u32>, body: Option<&'a JsonObject>) {
        if self.lost
            && let Some(body) = body
        {
            let lost = self.lost_of(body);
            if !lost.is_empty() {
                let column = self.table.overflow();
                let scalar = Scalar::Made(Value::Object(lost).to_string().into());
                self.put(Cell { column, node: NO_NODE, scalar });
            }
        }
        for cell in &self.group.cells[self.start..] {
            let column = &mut self.table.columns[cell.column as usize];
            match cell.scalar {
                Scalar::Made(_) | Scalar::Given(_) => column.admit_made(),
                _ => column.admit(&cell.scalar),
            }
            if !column.used {
                column.used = true;
                self.group.columns.push(cell.column);
            }
        }
        self.group.rows.push(Row { event, end: self.group.cells.len() });
    }

    /// What no column of this row took, in the shape of the event.
    fn lost_of(&self, body: &'a JsonObject) -> JsonObject {
        let mut lost = JsonObject::new();
        for (key, value) in body {
            let part = match route(self.table.family, key, value) {
                Route::Nothing => None,
                Route::NoId => Some(value.clone()),
                Route::Base(base) => (!self.holds(self.table.base[base], NO_NODE)).then(|| value.clone()),
                Route::Instant(base) => {
                    let held = self.holds(self.table.base[base], NO_NODE) && evolve::is_kept_whole(value);
                    (!held).then(|| value.clone())
                }
                Route::Fields(root, fields) => self.lost_fields(root, fields),
                Route::Field => self.lost_field(MESSAGE, key, value),
            };
            if let Some(part) = part {
                lost.insert(key.clone(), part);
            }
        }
        lost
    }

    /// Whether the row in hand has the value of this path in this column.
    fn holds(&self, column: u32, node: Node) -> bool {
        let (row, at) = self.table.marks[column as usize];
        row == self.table.row && self.group.cells[self.start + at as usize].node == node
    }

    fn is_respelled(&self, column: u32, value: &'a Value) -> bool {
        !self.is_declared_text(column) && Scalar::of(value, &self.fit).is_some_and(|scalar| scalar.is_respelled())
    }

    fn lost_fields(&self, parent: Node, fields: &'a JsonObject) -> Option<Value> {
        let mut lost = JsonObject::new();
        for (key, value) in fields {
            if let Some(part) = self.lost_field(parent, key, value) {
                lost.insert(key.clone(), part);
            }
        }
        (!lost.is_empty()).then_some(Value::Object(lost))
    }

    fn lost_field(&self, parent: Node, key: &str, value: &'a Value) -> Option<Value> {
        let node = self.table.paths.find(parent, key)?;
        match value {
            Value::Null => None,
            Value::Object(fields) if !fields.is_empty() => self.lost_fields(node, fields),
            _ => match self.table.paths.slot(node) {
                PathSlot::Column(column) => {
                    let held = self.holds(column, node) && !self.is_respelled(column, value);
                    (!held).then(|| value.clone())
                }
                PathSlot::Overflow | PathSlot::Unknown => Some(value.clone()),
            },
        }
    }
}

/// The instant as the tables spell it: UTC, six fraction digits.
fn instant_text(at_us: i64) -> String {
    jiff::Timestamp::from_microsecond(at_us)
        .map_or_else(|_| at_us.to_string(), |at| at.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string())
}

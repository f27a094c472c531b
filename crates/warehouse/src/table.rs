//! What the tables are and what is known of them.
//!
//! A **family** says which fields of an event go where; a [`Table`] is one table of a family with the columns it has
//! (`declared`) and the types they shall have once the batch in hand is written (`wanted`). The difference of the two
//! is the change the warehouse must make. The warehouse itself is the truth: it fills in what exists and is asked
//! again whenever somebody else may have altered it. This room does no I/O.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use crate::evolve::{Scalar, Type};
use crate::path::{Node, PathSlot, Paths};

mod family;

pub use family::{BasePlace, EVENT, EVENT_TEXT, Family, ID, RECEIVED_AT, TIMESTAMP};

/// The column for what has no column: lost collisions, and everything beyond a cap.
pub const OVERFLOW: &str = "_overflow";

/// The first pause before a change is tried again; each further one is twice as long, until it is eight times this.
pub const TRY_AGAIN_AFTER: Duration = Duration::from_secs(300);

/// Which values a column does not take while a change of it waits.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Shut {
    /// It takes all.
    #[default]
    No,
    /// Those that its declared type does not hold.
    Wider,
    /// All: it is not there, or it would alter them.
    All,
}

/// How wide and how many tables may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Columns of one table, base columns included.
    pub columns_max: usize,
    /// Tables for event names.
    pub tables_max: usize,
    /// Whether there are views of the latest traits.
    pub profiles: bool,
    /// How long a change that the warehouse did not make waits before it is tried again.
    pub try_again_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self { columns_max: 1000, tables_max: 1000, profiles: true, try_again_after: TRY_AGAIN_AFTER }
    }
}

/// One column.
#[derive(Debug, Clone)]
pub struct Column {
    pub name: Box<str>,
    /// The type it has in the warehouse; `None` while it does not exist.
    pub declared: Option<Type>,
    /// The type it shall have; `None` while no value has come.
    pub wanted: Option<Type>,
    /// Not when the warehouse computes it.
    pub writable: bool,
    /// Declared by somebody as binary floating point, which rounds large integers.
    pub rounds: bool,
    /// Declared by somebody so that it would alter values of its own type: it is declared anew at the first one.
    pub alters: bool,
    /// A value came that the column would alter.
    pub redeclare: bool,
    /// Its type was declared in advance; values of other types are kept in the row's overflow.
    pub pinned: bool,
    /// Such a value came since the last notice.
    pub refused: bool,
    /// What it does not take while a change of it waits.
    pub shut: Shut,
    /// Already noted among the columns of the batch in hand.
    pub used: bool,
}

impl Column {
    fn new(name: &str, wanted: Option<Type>) -> Self {
        Self {
            name: name.into(),
            declared: None,
            wanted,
            writable: true,
            rounds: false,
            alters: false,
            redeclare: false,
            pinned: false,
            refused: false,
            shut: Shut::No,
            used: false,
        }
    }

    /// A column found in the warehouse.
    #[must_use]
    pub fn found(name: &str, declared: Type, rounds: bool, writable: bool) -> Self {
        Self { declared: Some(declared), writable, rounds, ..Self::new(name, Some(declared)) }
    }

    /// Whether a value of this type may be put there.
    #[must_use]
    pub fn takes(&self, kind: Type) -> bool {
        match self.shut {
            Shut::No => !self.pinned || self.holds(kind),
            Shut::Wider => self.holds(kind),
            Shut::All => false,
        }
    }

    /// Whether values of this type do not widen it.
    fn holds(&self, kind: Type) -> bool {
        self.kind().join(kind) == self.kind()
    }

    /// Whether it is there with a type that holds all that `kind` does, and alters nothing.
    #[must_use]
    pub fn is_as_wide_as(&self, kind: Type) -> bool {
        !self.alters && !self.rounds && self.declared.is_some_and(|declared| declared.join(kind) == declared)
    }

    /// Leaves it as it is until it can be changed.
    fn shut(&mut self, shut: Shut) {
        self.shut = shut;
        self.wanted = self.declared.or(self.wanted);
        self.redeclare = false;
    }

    /// Makes room for `scalar`.
    pub fn admit(&mut self, scalar: &Scalar<'_>) {
        let kind = scalar.kind();
        self.wanted = Some(self.wanted.map_or(kind, |wanted| wanted.join(kind)));
        self.redeclare |= self.alters || (self.rounds && kind == Type::Integer);
    }

    /// Makes room for a value of the house's own making, which does not move the type.
    pub fn admit_made(&mut self) {
        self.redeclare |= self.alters;
    }

    /// The type its cells are encoded for.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.wanted.unwrap_or(Type::Text)
    }

    /// The change has been made.
    pub fn applied(&mut self) {
        // Also where no value of it fitted: what comes next does not make it narrower.
        self.wanted = Some(self.kind());
        self.declared = self.wanted;
        (self.rounds, self.alters) = (self.rounds && !self.redeclare, self.alters && !self.redeclare);
        self.redeclare = false;
    }
}

/// One table: its columns, and its memory of paths.
#[derive(Debug)]
pub struct Table {
    /// As the warehouse has it, prefix included.
    pub name: Box<str>,
    pub family: Family,
    pub exists: bool,
    pub columns: Vec<Column>,
    /// Places of the base columns.
    pub base: Vec<u32>,
    pub paths: Paths,
    /// A column was refused because there are too many.
    pub capped: bool,
    /// Last row that filled each column, and with which of its cells.
    pub(super) marks: Vec<(u64, u32)>,
    /// The row in hand.
    pub(super) row: u64,
    /// Size of the last batch's rows, as the next is likely to be.
    pub(super) rows_hint: usize,
    pub(super) cells_hint: usize,
    by_name: HashMap<Box<str>, u32>,
    columns_max: usize,
}

/// What must be done to a table before rows can be written.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    pub create: bool,
    pub add: Vec<usize>,
    pub widen: Vec<usize>,
}

impl Changes {
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        !self.create && self.add.is_empty() && self.widen.is_empty()
    }

    /// Places of the columns that it changes.
    pub fn columns(&self) -> impl Iterator<Item = usize> + '_ {
        self.add.iter().chain(&self.widen).copied()
    }

    /// What of them changes the column at this place of an existing table.
    #[must_use]
    pub fn only(&self, at: usize) -> Self {
        let of = |places: &[usize]| places.iter().copied().filter(|place| *place == at).collect();
        Self { create: false, add: of(&self.add), widen: of(&self.widen) }
    }
}

impl Table {
    /// A table with these columns found in the warehouse (none when it does not exist yet), its base columns, and
    /// those declared in advance.
    #[must_use]
    pub fn new(
        name: &str,
        family: Family,
        found: Option<Vec<Column>>,
        limits: &Limits,
        pins: Option<&BTreeMap<Box<str>, Type>>,
    ) -> Self {
        let mut table = Self {
            name: name.into(),
            family,
            exists: found.is_some(),
            columns: Vec::new(),
            base: Vec::new(),
            paths: Paths::new(family.own()),
            capped: false,
            marks: Vec::new(),
            row: 0,
            rows_hint: 0,
            cells_hint: 0,
            by_name: HashMap::new(),
            columns_max: limits.columns_max,
        };
        for column in found.unwrap_or_default() {
            table.push(column);
        }
        for (name, kind) in family.base() {
            let place = match table.by_name.get(name) {
                Some(place) => *place,
                None => table.push(Column::new(name, Some(kind))),
            };
            let column = &mut table.columns[place as usize];
            column.pinned = kind == Type::Timestamp && family.is_of_events();
            table.base.push(place);
        }
        if !table.exists && family.is_of_events() {
            // Made later, it might have to wait for others as any column may, and it is where values wait.
            table.overflow();
        }
        for (name, kind) in pins.into_iter().flatten().filter(|(name, _)| !family.is_own(name)) {
            table.pin(name, *kind);
        }
        table
    }

    /// What differs between what is and what shall be.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut changes = Changes { create: !self.exists, ..Changes::default() };
        for (at, column) in self.columns.iter().enumerate() {
            match column.declared {
                None if column.shut == Shut::All && self.exists => {}
                None => changes.add.push(at),
                Some(declared) if declared != column.kind() || column.redeclare => changes.widen.push(at),
                Some(_) => {}
            }
        }
        changes
    }

    /// The changes have been made.
    pub fn applied(&mut self, changes: &Changes) {
        for at in changes.columns() {
            self.columns[at].applied();
        }
        self.exists = true;
    }

    /// What an operator hears of a column that has become wider; types as the warehouse spells them.
    #[must_use]
    pub fn widened(&self, at: usize, was: &str, is: &str) -> String {
        format!("column {} of table {} widened from {was} to {is}", self.columns[at].name, self.name)
    }

    /// Where the values of the path `node` go; settled at the first value.
    pub(super) fn slot(&mut self, node: Node, prefixed: bool) -> PathSlot {
        let slot = self.paths.slot(node);
        if slot != PathSlot::Unknown {
            return slot;
        }
        let family = self.family;
        let name = self.paths.name(node, |name| if prefixed { name == OVERFLOW } else { family.takes(name) });
        let slot = self.column(&name);
        self.paths.settle(node, slot);
        slot
    }

    /// The column for overflow, which no cap forbids.
    pub(super) fn overflow(&mut self) -> u32 {
        match self.by_name.get(OVERFLOW) {
            Some(place) => *place,
            None => self.push(Column::new(OVERFLOW, Some(Type::Json))),
        }
    }

    fn column(&mut self, name: &str) -> PathSlot {
        if let Some(place) = self.by_name.get(name) {
            return if self.columns[*place as usize].writable { PathSlot::Column(*place) } else { PathSlot::Overflow };
        }
        let width = self.columns.len() - usize::from(self.by_name.contains_key(OVERFLOW));
        if width >= self.columns_max {
            self.capped = true;
            return PathSlot::Overflow;
        }
        PathSlot::Column(self.push(Column::new(name, None)))
    }

    /// Leaves columns as they are until they can be changed.
    pub(super) fn shut(&mut self, columns: Vec<(Box<str>, Shut)>) {
        if !self.exists {
            return;
        }
        for (name, shut) in columns {
            match self.by_name.get(&*name.to_ascii_lowercase()) {
                Some(place) => self.columns[*place as usize].shut(shut),
                // Once it has a place, no value is taken for one of another name.
                None => {
                    let place = self.push(Column::new(&name, None));
                    self.columns[place as usize].shut(shut);
                }
            }
        }
    }

    /// Fixes the type of a column in advance; one that is there already and wider stays as wide.
    fn pin(&mut self, name: &str, kind: Type) {
        if let PathSlot::Column(place) = self.column(name) {
            let column = &mut self.columns[place as usize];
            column.wanted = Some(column.declared.map_or(kind, |declared| declared.join(kind)));
            column.pinned = true;
        }
    }

    fn push(&mut self, column: Column) -> u32 {
        let place = u32::try_from(self.columns.len()).unwrap_or(u32::MAX);
        // Warehouses compare the ASCII letters of names without regard to case.
        self.by_name.insert(column.name.to_ascii_lowercase().into(), place);
        self.columns.push(column);
        self.marks.push((0, 0));
        place
    }

    /// Forgets which path belongs to which column, to free memory.
    pub fn forget_paths(&mut self) {
        self.paths = Paths::new(self.family.own());
    }
}

/// Whether a table with this key and these columns can be one of the router's own.
#[must_use]
pub fn is_ours(family: Family, key: &[String], columns: &[Column]) -> bool {
    let has = |wanted: &str| columns.iter().any(|column| column.name.eq_ignore_ascii_case(wanted));
    let writable = |column: &Column| column.writable || family.base().all(|(base, _)| *column.name != *base);
    key == ["id"]
        && has("received_at")
        && (!matches!(family, Family::Event | Family::Overflow) || has("event_text"))
        && columns.iter().all(writable)
}

/// The tables known so far.
#[derive(Debug, Default)]
pub struct Tables {
    pub list: Vec<Table>,
    by_name: HashMap<Box<str>, usize>,
}

/// Memory for paths of all tables together.
const PATHS_BYTES_MAX: usize = 64 << 20;

impl Tables {
    #[must_use]
    pub fn find(&self, name: &str) -> Option<usize> {
        self.by_name.get(name).copied()
    }

    pub fn insert(&mut self, table: Table) -> usize {
        self.by_name.insert(table.name.clone(), self.list.len());
        self.list.push(table);
        self.list.len() - 1
    }

    /// Keeps the memory for paths within its bound.
    pub fn trim(&mut self) {
        if self.list.iter().map(|table| table.paths.bytes()).sum::<usize>() > PATHS_BYTES_MAX {
            self.list.iter_mut().for_each(Table::forget_paths);
        }
    }
}

/// Where the rows of one event go: the table of its kind and, for a track, the table of its name.
#[derive(Debug, Clone)]
pub struct RowTarget {
    pub kind: usize,
    pub event: Option<(usize, Arc<str>)>,
}

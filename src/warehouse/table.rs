//! What the tables are and what is known of them.
//!
//! A **family** says which fields of an event go where; a [`Table`] is one table of a family with the columns it has
//! (`declared`) and the types they shall have once the batch in hand is written (`wanted`). The difference of the two
//! is the change the warehouse must make. The warehouse itself is the truth: it fills in what exists and is asked
//! again whenever somebody else may have altered it. This room does no I/O.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::Kind;
use crate::warehouse::evolve::{Scalar, Type};
use crate::warehouse::path::{Node, Paths, Slot};

/// The column for what has no column: lost collisions, and everything beyond a cap.
pub const OVERFLOW: &str = "_overflow";

/// How wide and how many tables may become.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Columns of one table, base columns included.
    pub columns_max: usize,
    /// Tables for event names.
    pub tables_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { columns_max: 1000, tables_max: 1000 }
    }
}

/// What a table is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Family {
    Identifies,
    Tracks,
    Pages,
    Screens,
    Groups,
    Aliases,
    /// One event name.
    Event,
    /// Events whose name gets no table of its own.
    Overflow,
    Violations,
}

/// Where a top-level field of an event goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Nowhere,
    /// The base column with this number.
    Base(usize),
    /// Its fields become columns without a prefix.
    Own,
    Context,
    /// A column `message_<name>`.
    Message,
}

/// Numbers of the base columns that all tables of events share.
pub const ID: usize = 0;
pub const TIMESTAMP: usize = 3;
pub const RECEIVED_AT: usize = 4;
/// Numbers of the two that tables of tracks have in addition.
pub const EVENT: usize = 7;
pub const EVENT_TEXT: usize = 8;

type Base = (&'static str, Type);

/// What every table of events begins with.
const COMMON: &[Base] = &[
    ("id", Type::Text),
    ("anonymous_id", Type::Text),
    ("user_id", Type::Text),
    ("timestamp", Type::Timestamp),
    ("received_at", Type::Timestamp),
    ("sent_at", Type::Timestamp),
    ("original_timestamp", Type::Timestamp),
];

const VIOLATIONS: &[Base] = &[
    ("id", Type::Text),
    ("received_at", Type::Timestamp),
    ("payload", Type::Json),
    ("event_name", Type::Text),
    ("event_type", Type::Text),
    ("schema_version", Type::Text),
    ("has_undeclared_schema", Type::Boolean),
    ("has_undeclared_fields", Type::Boolean),
    ("has_schema_violated", Type::Boolean),
    ("violations", Type::Json),
];

impl Family {
    /// The tables with a name of their own. An event of that name gives way.
    pub const FIXED: [&'static str; 7] =
        ["identifies", "tracks", "pages", "screens", "groups", "aliases", "event_violations"];

    #[must_use]
    pub const fn of(kind: Kind) -> Self {
        match kind {
            Kind::Identify => Self::Identifies,
            Kind::Track => Self::Tracks,
            Kind::Page => Self::Pages,
            Kind::Screen => Self::Screens,
            Kind::Group => Self::Groups,
            Kind::Alias => Self::Aliases,
        }
    }

    /// The name of its only table; tables of events are named by the event.
    #[must_use]
    pub const fn table(self) -> Option<&'static str> {
        match self {
            Self::Identifies => Some("identifies"),
            Self::Tracks => Some("tracks"),
            Self::Pages => Some("pages"),
            Self::Screens => Some("screens"),
            Self::Groups => Some("groups"),
            Self::Aliases => Some("aliases"),
            Self::Violations => Some("event_violations"),
            Self::Overflow => Some(OVERFLOW),
            Self::Event => None,
        }
    }

    /// Whether it holds one row for each event of a kind, so that counting its rows counts events.
    #[must_use]
    pub const fn is_of_kind(self) -> bool {
        !matches!(self, Self::Event | Self::Overflow | Self::Violations)
    }

    /// The columns that every such table has from the start, by number.
    pub fn base(self) -> impl Iterator<Item = Base> {
        let (first, more): (&[Base], &[Base]) = match self {
            Self::Identifies => (COMMON, &[]),
            Self::Tracks | Self::Event => (COMMON, &[("event", Type::Text), ("event_text", Type::Text)]),
            Self::Overflow => {
                (COMMON, &[("event", Type::Text), ("event_text", Type::Text), ("properties", Type::Json)])
            }
            Self::Pages | Self::Screens => (COMMON, &[("name", Type::Text), ("category", Type::Text)]),
            Self::Groups => (COMMON, &[("group_id", Type::Text)]),
            Self::Aliases => (COMMON, &[("previous_id", Type::Text)]),
            Self::Violations => (VIOLATIONS, &[]),
        };
        first.iter().chain(more).copied()
    }

    /// The container whose fields become columns without a prefix.
    #[must_use]
    pub const fn own(self) -> &'static str {
        match self {
            Self::Identifies | Self::Groups => "traits",
            Self::Pages | Self::Screens | Self::Event => "properties",
            Self::Tracks | Self::Aliases | Self::Overflow | Self::Violations => "",
        }
    }

    /// Where the top-level field `key` goes in such a table.
    #[must_use]
    pub fn place(self, key: &str) -> Place {
        match key {
            "type" | "writeKey" | "_metadata" => Place::Nowhere,
            "messageId" => Place::Base(ID),
            "anonymousId" => Place::Base(1),
            "userId" => Place::Base(2),
            "timestamp" => Place::Base(TIMESTAMP),
            "receivedAt" => Place::Base(RECEIVED_AT),
            "sentAt" => Place::Base(5),
            "originalTimestamp" => Place::Base(6),
            "context" => Place::Context,
            _ if key == self.own() => Place::Own,
            _ => match (self, key) {
                // The table of the event has them.
                (Self::Tracks, "properties") => Place::Nowhere,
                (Self::Tracks | Self::Event | Self::Overflow, "event") => Place::Base(EVENT_TEXT),
                (Self::Overflow, "properties") => Place::Base(9),
                (Self::Pages | Self::Screens, "name") | (Self::Groups, "groupId") | (Self::Aliases, "previousId") => {
                    Place::Base(7)
                }
                (Self::Pages | Self::Screens, "category") => Place::Base(8),
                _ => Place::Message,
            },
        }
    }

    /// Whether the table wants the column `name` for something other than a field of its own container.
    fn takes(self, name: &str) -> bool {
        name == OVERFLOW
            || name.starts_with("context_")
            || name.starts_with("message_")
            || self.base().any(|(base, _)| base == name)
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
    /// An integer came to a column that rounds.
    pub redeclare: bool,
    /// Already noted among the columns of the batch in hand.
    pub used: bool,
}

impl Column {
    fn new(name: &str, wanted: Option<Type>) -> Self {
        let name = name.into();
        Self { name, declared: None, wanted, writable: true, rounds: false, redeclare: false, used: false }
    }

    /// A column found in the warehouse.
    #[must_use]
    pub fn found(name: &str, declared: Type, rounds: bool, writable: bool) -> Self {
        Self { declared: Some(declared), writable, rounds, ..Self::new(name, Some(declared)) }
    }

    /// Makes room for `scalar`.
    pub fn admit(&mut self, scalar: &Scalar<'_>) {
        let kind = scalar.kind();
        self.wanted = Some(self.wanted.map_or(kind, |wanted| wanted.join(kind)));
        self.redeclare |= self.rounds && kind == Type::Integer;
    }

    /// The type its cells are encoded for.
    #[must_use]
    pub fn kind(&self) -> Type {
        self.wanted.unwrap_or(Type::Text)
    }

    /// The change has been made.
    pub fn applied(&mut self) {
        self.declared = Some(self.kind());
        (self.rounds, self.redeclare) = (self.rounds && !self.redeclare, false);
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
    by_name: HashMap<Box<str>, u32>,
    columns_max: usize,
}

/// What must be done to a table before rows can be written.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Changes {
    pub create: bool,
    pub add: Vec<usize>,
    pub widen: Vec<usize>,
}

impl Table {
    /// A table with these columns found in the warehouse (none when it does not exist yet) and its base columns.
    #[must_use]
    pub fn new(name: &str, family: Family, found: Option<Vec<Column>>, limits: &Limits) -> Self {
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
            table.base.push(place);
        }
        table
    }

    /// What differs between what is and what shall be.
    #[must_use]
    pub fn changes(&self) -> Changes {
        let mut changes = Changes { create: !self.exists, ..Changes::default() };
        for (at, column) in self.columns.iter().enumerate() {
            match column.declared {
                None => changes.add.push(at),
                Some(declared) if declared != column.kind() || column.redeclare => changes.widen.push(at),
                Some(_) => {}
            }
        }
        changes
    }

    /// Where the values of the path `node` go; settled at the first value.
    pub(super) fn slot(&mut self, node: Node, prefixed: bool) -> Slot {
        let slot = self.paths.slot(node);
        if slot != Slot::Unknown {
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

    fn column(&mut self, name: &str) -> Slot {
        if let Some(place) = self.by_name.get(name) {
            return if self.columns[*place as usize].writable { Slot::Column(*place) } else { Slot::Overflow };
        }
        let width = self.columns.len() - usize::from(self.by_name.contains_key(OVERFLOW));
        if width >= self.columns_max {
            self.capped = true;
            return Slot::Overflow;
        }
        Slot::Column(self.push(Column::new(name, None)))
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
pub struct Target {
    pub kind: usize,
    pub event: Option<(usize, Arc<str>)>,
}

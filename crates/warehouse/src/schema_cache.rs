//! What is known of a warehouse between batches: its tables, and where the rows of an event go.
//!
//! Read at the first need, or found all at once, and kept until somebody else may have changed the schema or a batch
//! failed half-way. All of it can be forgotten at any time. This room does no I/O: who does tells it what there is
//! (a [`SchemaLook`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use tidegate_event::{Event, EventKind};
use tidegate_process::clock;

use crate::declared::Declared;
use crate::evolve::Type;
use crate::name;
use crate::profiles::{self, Profile, ViewOutcome};
use crate::table::{Column, Family, Limits, RowTarget, Table, Tables, is_ours};
use crate::waiting::{Refusal, Waiting};

/// Event names remembered with their tables; a longer name is worked out every time.
const NAMES_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 256;
/// Notices remembered as said.
const TOLD_MAX: usize = 100_000;
/// Notices of one delivery; what is beyond is counted.
const NOTICES_MAX: usize = 20;

/// One thing in a warehouse that has a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Object {
    /// In lower case, as the warehouse has it.
    pub name: String,
    /// Not a view, an index or the like.
    pub is_table: bool,
    /// It has the columns of an event's table, and belongs to the schema.
    pub is_event_table: bool,
}

/// Looks closer at one table.
pub trait Look {
    type Error;

    /// The columns of the table with this name. `None` when it is not one that the
    /// router could have made.
    ///
    /// # Errors
    /// The warehouse cannot be asked.
    fn columns(&mut self, name: &str, family: Family) -> Result<Option<Vec<Column>>, Self::Error>;

    /// The error that something else has the name of a fixed table.
    fn taken(&self, name: &str) -> Self::Error;
}

/// All tables of a schema, found at once.
#[derive(Debug, Clone, Default)]
pub struct FoundSchema {
    /// The schema is there, whatever is in it.
    pub has_schema: bool,
    /// By name in lower case.
    pub tables: BTreeMap<String, FoundTable>,
}

/// One table or view as found.
#[derive(Debug, Clone, Default)]
pub struct FoundTable {
    pub is_table: bool,
    /// Columns of the primary key, in lower case; where a warehouse has none, the columns that it sorts or deduplicates
    /// by.
    pub key: Vec<String>,
    pub columns: Vec<Column>,
}

impl FoundSchema {
    /// Everything that has a name.
    pub fn objects(&self) -> impl Iterator<Item = Object> + '_ {
        self.tables.iter().map(|(name, table)| Object {
            name: name.clone(),
            is_table: table.is_table,
            is_event_table: table.is_table && table.columns.iter().any(|column| &*column.name == "event_text"),
        })
    }
}

/// The name of a fixed table is taken by something that is not the router's.
#[derive(Debug, PartialEq, Eq)]
pub struct NameTaken(pub String);

impl Look for FoundSchema {
    type Error = NameTaken;

    fn columns(&mut self, name: &str, family: Family) -> Result<Option<Vec<Column>>, NameTaken> {
        let table = self.tables.get(name).filter(|table| table.is_table);
        Ok(table.filter(|table| is_ours(family, &table.key, &table.columns)).map(|table| table.columns.clone()))
    }

    fn taken(&self, name: &str) -> NameTaken {
        NameTaken(name.to_owned())
    }
}

/// Names and types of a table's columns.
type Columns = Vec<(Box<str>, Type)>;

/// The columns that are there.
fn declared_columns(table: &Table) -> impl Iterator<Item = (&Box<str>, Type)> {
    table.columns.iter().filter_map(|column| Some((&column.name, column.declared?)))
}

/// What is known.
#[derive(Debug, Default)]
pub struct SchemaCache {
    pub tables: Tables,
    /// Everything that has a name: whether it is a table.
    objects: HashMap<String, bool>,
    event_tables: usize,
    fixed: [Option<usize>; EventKind::ALL.len()],
    names: HashMap<Box<str>, (usize, Arc<str>)>,
    /// Stands before the name of every table where schemas are made so.
    prefix: String,
    limits: Limits,
    declared: Arc<Declared>,
    waiting: Waiting,
    /// By table: the columns that its view of the latest traits was made of, and when one that was not made is tried again.
    profiled: HashMap<usize, (Columns, Option<i64>)>,
    /// What an operator should hear of the batch in hand.
    pub notices: Vec<String>,
}

impl SchemaCache {
    /// Begins with what has a name; tables are looked at when events come for them.
    pub fn new(
        prefix: &str,
        objects: impl IntoIterator<Item = Object>,
        limits: Limits,
        declared: Arc<Declared>,
        waiting: &Waiting,
    ) -> Self {
        let waiting = waiting.clone();
        let mut known = Self { prefix: prefix.to_owned(), limits, declared, waiting, ..Self::default() };
        for object in objects {
            let short = object.name.strip_prefix(prefix).unwrap_or(&object.name);
            known.event_tables += usize::from(object.is_event_table && short != "tracks" && short != "_overflow");
            known.objects.insert(object.name, object.is_table);
        }
        known
    }

    /// The tables that the event goes to.
    ///
    /// # Errors
    /// A table cannot be looked at.
    pub fn target<L: Look>(&mut self, look: &mut L, event: &Event) -> Result<RowTarget, L::Error> {
        let place = event.kind as usize;
        let kind = match self.fixed[place] {
            Some(table) => table,
            None => self.fixed_table(look, Family::of(event.kind))?,
        };
        self.fixed[place] = Some(kind);
        if event.kind != EventKind::Track {
            return Ok(RowTarget { kind, event: None });
        }
        let name = event.name().unwrap_or_default();
        if let Some((table, short)) = self.names.get(name) {
            return Ok(RowTarget { kind, event: Some((*table, Arc::clone(short))) });
        }
        let short = Arc::<str>::from(self.short(&name::table(name, &Family::FIXED)));
        let table = self.event_table(look, &short)?;
        if name.len() <= NAME_BYTES_MAX {
            if self.names.len() >= NAMES_MAX {
                self.names.clear();
            }
            self.names.insert(name.into(), (table, Arc::clone(&short)));
        }
        Ok(RowTarget { kind, event: Some((table, short)) })
    }

    /// The name of an event's table, which gives way to a view of the latest traits.
    fn short(&self, name: &str) -> String {
        let is_there = self.objects.get(&[&self.prefix, name].concat()) == Some(&true);
        let gives_way = self.limits.profiles && profiles::is_name(name) && !is_there;
        format!("{}{name}", if gives_way { "_" } else { "" })
    }

    /// The view of the latest traits of table number `table`, when it is to be made; what becomes of it is to be told
    /// ([`Self::viewed`]).
    #[must_use]
    pub fn profile(&self, table: usize) -> Option<&'static Profile> {
        let of = &self.tables.list[table];
        let profile = profiles::of(of.family).filter(|_| self.limits.profiles && of.exists)?;
        let is_made = match self.profiled.get(&table) {
            Some((_, Some(again_at_us))) => clock::now_us() < *again_at_us,
            Some((columns, None)) => columns.iter().map(|(name, kind)| (name, *kind)).eq(declared_columns(of)),
            None => false,
        };
        (!is_made).then_some(profile)
    }

    /// What became of the view of table number `table`. Whether it was made just now.
    pub fn viewed(&mut self, table: usize, outcome: ViewOutcome) -> bool {
        let of = &self.tables.list[table];
        let columns = declared_columns(of).map(|(name, kind)| (name.clone(), kind)).collect();
        if let Some(profile) = profiles::of(of.family) {
            self.objects.entry(profile.beside(of)).or_insert(false);
        }
        let pause = i64::try_from(self.limits.try_again_after.as_micros()).unwrap_or(i64::MAX);
        let again_at_us = matches!(outcome, ViewOutcome::Left(_)).then(|| clock::now_us().saturating_add(pause));
        self.profiled.insert(table, (columns, again_at_us));
        let made = outcome == ViewOutcome::Made;
        if let ViewOutcome::Left(Some(notice)) = outcome {
            self.notices.push(notice);
        }
        made
    }

    /// The table of an event name, or the one for those that get none.
    fn event_table<L: Look>(&mut self, look: &mut L, short: &str) -> Result<usize, L::Error> {
        let name = [&self.prefix, short].concat();
        if let Some(table) = self.tables.find(&name) {
            return Ok(table);
        }
        if let Some(is_table) = self.objects.get(&name) {
            if *is_table && let Some(found) = look.columns(&name, Family::Event)? {
                return Ok(self.insert(short, Family::Event, Some(found)));
            }
            self.notices.push(format!("{name} exists and is not the router's: its events go to table _overflow"));
        } else if self.event_tables < self.limits.tables_max {
            self.event_tables += 1;
            return Ok(self.insert(short, Family::Event, None));
        } else {
            let most = self.limits.tables_max;
            self.notices.push(format!("{most} event names have tables: events of further names go to table _overflow"));
        }
        self.fixed_table(look, Family::Overflow)
    }

    /// The only table of `family`.
    ///
    /// # Errors
    /// It cannot be looked at, or something else has its name.
    pub fn fixed_table<L: Look>(&mut self, look: &mut L, family: Family) -> Result<usize, L::Error> {
        let short = family.table().unwrap_or_default();
        let name = [&self.prefix, short].concat();
        if let Some(table) = self.tables.find(&name) {
            return Ok(table);
        }
        let found = match self.objects.get(&name) {
            None => None,
            Some(false) => return Err(look.taken(&name)),
            Some(true) => Some(look.columns(&name, family)?.ok_or_else(|| look.taken(&name))?),
        };
        Ok(self.insert(short, family, found))
    }

    /// Looks at every table that has columns declared in advance.
    ///
    /// # Errors
    /// One cannot be looked at, or something else has the name of a fixed table.
    pub fn declared_tables<L: Look>(&mut self, look: &mut L) -> Result<(), L::Error> {
        let declared = Arc::clone(&self.declared);
        for short in declared.tables.keys() {
            let of_kind = EventKind::ALL.map(Family::of).into_iter().find(|family| family.table() == Some(&**short));
            match of_kind {
                Some(family) => self.fixed_table(look, family)?,
                None => self.event_table(look, &self.short(short))?,
            };
        }
        Ok(())
    }

    fn insert(&mut self, short: &str, family: Family, found: Option<Vec<Column>>) -> usize {
        let name = [&self.prefix, short].concat();
        let plain = short.strip_prefix('_').filter(|plain| profiles::is_name(plain));
        let declared = &self.declared.tables;
        let pins = declared.get(short).or_else(|| declared.get(plain?));
        let mut table = Table::new(&name, family, found, &self.limits, pins);
        table.shut(self.waiting.shut(&name));
        self.tables.insert(table)
    }

    /// The warehouse did not make these changes of table number `table`: they wait, and the batch is begun anew without
    /// them. Answers whether there are any.
    ///
    /// # Errors
    /// The error, when rows cannot do without the change.
    pub fn wait<E: ToString>(&self, table: usize, refused: Vec<Refusal<E>>) -> Result<bool, E> {
        let (table, waits) = (&self.tables.list[table], !refused.is_empty());
        for Refusal { columns, statement, error, .. } in refused {
            if !self.waiting.note(table, &columns, &statement, &error.to_string()) {
                return Err(error);
            }
        }
        Ok(waits)
    }

    /// What an operator should hear and has not heard before.
    pub fn fresh_notices(&mut self, told: &mut ToldNotices) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.notices);
        for table in &mut self.tables.list {
            let (name, most) = (&table.name, self.limits.columns_max);
            if table.capped {
                notices
                    .push(format!("table {name} has {most} columns and gets no more: further fields go to _overflow"));
            }
            for column in &mut table.columns {
                if std::mem::take(&mut column.refused) {
                    let (column, kind) = (&column.name, column.kind());
                    notices.push(format!(
                        "column {column} of table {name} is declared {kind}: values of other types go to _overflow"
                    ));
                }
            }
        }
        self.waiting.settle(&mut self.tables, clock::now_us(), self.limits.try_again_after);
        notices.retain(|notice| told.0.len() < TOLD_MAX && told.0.insert(notice.clone()));
        let more = notices.len().saturating_sub(NOTICES_MAX);
        notices.truncate(NOTICES_MAX);
        if more > 0 {
            notices.push(format!("and {more} more of the kind"));
        }
        // Last, for the last is the one that the status shows.
        notices.extend(self.waiting.notices().into_iter().take(NOTICES_MAX));
        notices
    }
}

/// Notices that were given already: each comes once for each opening.
#[derive(Debug, Default)]
pub struct ToldNotices(HashSet<String>);

//! What is known of the file: its tables, and where the rows of an event go.
//!
//! Read at the first need and kept until somebody else changes the schema. All of it can be forgotten at any time.

use std::collections::HashMap;
use std::sync::Arc;

use rusqlite::Connection;

use super::client::Checked;
use super::ddl::{self, quoted};
use super::error::{Trouble, doing};
use crate::event::{Event, Kind};
use crate::warehouse::name;
use crate::warehouse::row::Group;
use crate::warehouse::table::{Family, Table, Tables, Target};

/// Event names remembered with their tables; a longer name is worked out every time.
const NAMES_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 256;
/// The INSERT of one table: columns that recent batches filled, in the order of their parameters.
pub(super) struct Insert {
    columns: Vec<u32>,
    /// By column: its parameter's number, counted from 1; 0 for none.
    pub(super) parameters: Vec<u16>,
    pub(super) sql: String,
}

/// What is known of the file; forgotten when somebody else changes its schema.
#[derive(Default)]
pub(super) struct Known {
    pub(super) tables: Tables,
    /// Everything in the file that has a name, in ASCII lower case: whether it is a table.
    objects: HashMap<String, bool>,
    event_tables: usize,
    fixed: [Option<usize>; Kind::ALL.len()],
    names: HashMap<Box<str>, (usize, Arc<str>)>,
    pub(super) inserts: HashMap<usize, Insert>,
    pub(super) notices: Vec<String>,
}

impl Known {
    pub(super) fn read(connection: &Connection, settings: &Checked) -> Result<Self, Trouble> {
        let reading = doing("reading the schema");
        let mut known = Self::default();
        let mut statement = connection
            .prepare_cached("SELECT name, type = 'table', coalesce(sql, '') FROM sqlite_schema")
            .map_err(&reading)?;
        let mut rows = statement.query([]).map_err(&reading)?;
        while let Some(row) = rows.next().map_err(&reading)? {
            let get = || -> rusqlite::Result<(String, bool, String)> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
            let (name, is_table, sql) = get().map_err(&reading)?;
            let name = name.to_ascii_lowercase();
            let short = settings.short(&name);
            let is_event_table = is_table
                && sql.contains("\"event_text\"")
                && short.is_some_and(|short| short != "tracks" && short != "_overflow");
            known.event_tables += usize::from(is_event_table);
            known.objects.insert(name, is_table);
        }
        Ok(known)
    }

    /// The tables that the event goes to.
    pub(super) fn target(
        &mut self,
        connection: &Connection,
        settings: &Checked,
        event: &Event,
    ) -> Result<Target, Trouble> {
        let place = event.kind as usize;
        let kind = match self.fixed[place] {
            Some(table) => table,
            None => self.fixed_table(connection, settings, Family::of(event.kind))?,
        };
        self.fixed[place] = Some(kind);
        if event.kind != Kind::Track {
            return Ok(Target { kind, event: None });
        }
        let name = event.name().unwrap_or_default();
        if let Some((table, short)) = self.names.get(name) {
            return Ok(Target { kind, event: Some((*table, Arc::clone(short))) });
        }
        let short = Arc::<str>::from(name::table(name, &Family::FIXED));
        let table = self.event_table(connection, settings, &short)?;
        if name.len() <= NAME_BYTES_MAX {
            if self.names.len() >= NAMES_MAX {
                self.names.clear();
            }
            self.names.insert(name.into(), (table, Arc::clone(&short)));
        }
        Ok(Target { kind, event: Some((table, short)) })
    }

    /// The table of an event name, or the one for those that get none.
    fn event_table(&mut self, connection: &Connection, settings: &Checked, short: &str) -> Result<usize, Trouble> {
        let name = settings.full(short);
        if let Some(table) = self.tables.find(&name) {
            return Ok(table);
        }
        if let Some(is_table) = self.objects.get(&name) {
            if *is_table && let Some(table) = ddl::read(connection, &name, Family::Event, &settings.limits)? {
                return Ok(self.tables.insert(table));
            }
            self.notices.push(format!("{name} exists and is not the router's: its events go to table _overflow"));
        } else if self.event_tables < settings.limits.tables_max {
            self.event_tables += 1;
            return Ok(self.tables.insert(Table::new(&name, Family::Event, None, &settings.limits)));
        } else {
            let most = settings.limits.tables_max;
            self.notices.push(format!("{most} event names have tables: events of further names go to table _overflow"));
        }
        self.fixed_table(connection, settings, Family::Overflow)
    }

    pub(super) fn fixed_table(
        &mut self,
        connection: &Connection,
        settings: &Checked,
        family: Family,
    ) -> Result<usize, Trouble> {
        let name = settings.full(family.table().unwrap_or_default());
        if let Some(table) = self.tables.find(&name) {
            return Ok(table);
        }
        let table = if self.objects.contains_key(&name) {
            let found = ddl::read(connection, &name, family, &settings.limits)?;
            found.ok_or_else(|| Trouble::Taken { name: name.clone() })?
        } else {
            Table::new(&name, family, None, &settings.limits)
        };
        Ok(self.tables.insert(table))
    }

    /// Makes the tables ready for the rows of these groups.
    pub(super) fn settle(&mut self, connection: &Connection, groups: &[Group<'_>]) -> Result<(), Trouble> {
        for group in groups {
            let notices = ddl::apply(connection, &mut self.tables.list[group.table])?;
            self.notices.extend(notices);
            self.keep_insert(group);
        }
        Ok(())
    }

    /// Sees to it that the INSERT of the group's table has all columns that the group fills. It keeps those of
    /// earlier batches, so that optional fields do not make a new statement each time, until they are too many.
    fn keep_insert(&mut self, group: &Group<'_>) {
        let table = &self.tables.list[group.table];
        let kept = self.inserts.get(&group.table);
        if let Some(insert) = kept {
            let has = |column: &u32| insert.parameters.get(*column as usize).is_some_and(|parameter| *parameter > 0);
            if group.columns.iter().all(has) && insert.columns.len() <= 2 * group.columns.len() + 16 {
                return;
            }
        }
        let mut columns = group.columns.clone();
        if let Some(insert) = kept
            && insert.columns.len() <= 2 * group.columns.len() + 16
        {
            columns.extend(&insert.columns);
        }
        columns.sort_unstable();
        columns.dedup();
        let mut parameters = vec![0; table.columns.len()];
        for (parameter, column) in (1_u16..).zip(&columns) {
            parameters[*column as usize] = parameter;
        }
        let names = columns.iter().map(|column| quoted(&table.columns[*column as usize].name)).collect::<Vec<_>>();
        let sql = format!(
            "INSERT INTO {} ({}) VALUES ({}) ON CONFLICT (id) DO NOTHING",
            quoted(&table.name),
            names.join(", "),
            vec!["?"; columns.len()].join(", ")
        );
        self.inserts.insert(group.table, Insert { columns, parameters, sql });
    }
}

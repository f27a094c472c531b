//! One batch, one transaction.
//!
//! A [`Session`] is one open connection and what is known of the file through it. It is thrown away after any failure:
//! whatever the failed transaction had changed in memory goes with it.

use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OpenFlags, TransactionBehavior};
use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_warehouse::ledger;
use tidegate_warehouse::row::{Group, Planner};
use tidegate_warehouse::schema_cache::{Found, FoundTable, Look, Object, SchemaCache, Told};
use tidegate_warehouse::table::{Column, Family, Table};

use super::client::Checked;
use super::ddl;
use super::encode::{self, encode};
use super::error::{SqliteError, doing};
use super::insert::{Insert, Inserts};
use super::ledger as table;
use super::view;

/// Prepared statements kept; one for each table that events come for, plus a few.
const STATEMENTS_MAX: usize = 1024;
/// Events planned and written together, within one transaction.
const CHUNK_EVENTS: usize = 64;

/// How to write the rows of a batch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Care {
    /// Table by table; a row that SQLite refuses fails the batch.
    Swift,
    /// Each event under a savepoint, which copies every page it touches; refused events are set aside.
    OneByOne,
}

pub(super) struct Session {
    connection: Connection,
    settings: Arc<Checked>,
    known: SchemaCache,
    inserts: Inserts,
    schema_version: i32,
    told: Told,
}

impl Session {
    pub(super) fn open(settings: &Arc<Checked>) -> Result<Self, SqliteError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
        let set_up = || -> rusqlite::Result<()> {
            connection.busy_timeout(settings.busy_timeout)?;
            connection.execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA cache_size = -32768; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
            )?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            ddl::register(&connection)
        };
        // Of a newer build's file nothing is changed, not even the way its journal is kept.
        if let Some(found) = table::format(&connection).map_err(doing("opening the file"))?
            && found > table::FORMAT
        {
            return Err(SqliteError::Format { found });
        }
        set_up().map_err(doing("preparing the file"))?;
        table::prepare(&connection)?;
        let mut session = Self {
            connection,
            settings: Arc::clone(settings),
            known: SchemaCache::default(),
            inserts: Inserts::default(),
            schema_version: 0,
            told: Told::default(),
        };
        session.durable_to()?;
        session.look()?;
        Ok(session)
    }

    pub(super) fn durable_to(&mut self) -> Result<Option<u64>, SqliteError> {
        table::durable_to(&self.connection, &self.settings.sync)
    }

    /// Looks at the file anew.
    fn look(&mut self) -> Result<(), SqliteError> {
        self.schema_version = ddl::schema_version(&self.connection)?;
        self.known = know(&self.connection, &self.settings)?;
        self.inserts = Inserts::default();
        Ok(())
    }

    pub(super) fn deliver(&mut self, batch: &Batch, care: Care) -> Result<Delivery, SqliteError> {
        self.bound_log()?;
        let behavior = TransactionBehavior::Immediate;
        let (connection, settings) = (&self.connection, &*self.settings);
        let transaction =
            rusqlite::Transaction::new_unchecked(connection, behavior).map_err(doing("beginning a transaction"))?;
        // From here on nobody else can change the file.
        if ddl::schema_version(connection)? != self.schema_version {
            self.known = know(connection, settings)?;
            self.inserts = Inserts::default();
        }
        let (known, inserts) = (&mut self.known, &mut self.inserts);
        let position = ledger::position(table::durable_to(connection, &settings.sync)?, &batch.range);
        if let Some(gap) = position.gap {
            let (start, end) = (gap.start, gap.end);
            known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
        }
        let mut delivery = load(connection, known, inserts, batch, position.skip_below, care)?;
        if !delivery.rejected.is_empty() {
            return Err(SqliteError::Refused { rejected: delivery.rejected });
        }
        table::advance(connection, &settings.sync, position.next)?;
        let schema_version = ddl::schema_version(connection)?;
        fail::fail_point!("warehouse_before_commit", |_| std::process::abort());
        transaction.commit().map_err(doing("committing a batch"))?;
        fail::fail_point!("warehouse_after_commit", |_| std::process::abort());
        self.schema_version = schema_version;
        known.tables.trim();
        delivery.notices = known.fresh_notices(&mut self.told);
        Ok(delivery)
    }

    /// Waits for readers that keep the write-ahead log from starting over once it has outgrown its bound.
    fn bound_log(&self) -> Result<(), SqliteError> {
        let log = || std::fs::metadata(&self.settings.log_path).map_or(0, |metadata| metadata.len());
        if log() <= self.settings.log_bytes_max {
            return Ok(());
        }
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(doing("emptying the write-ahead log"))?;
        let bytes = log();
        if bytes > self.settings.log_bytes_max { Err(SqliteError::LogHeld { bytes }) } else { Ok(()) }
    }
}

/// Plans the batch, changes the tables and writes the rows: chunk by chunk, so that an event is still in the
/// processor's cache when its cells are bound, and memory for cells does not grow with the batch. The lattice makes
/// it the same as doing it at once.
fn load(
    connection: &Connection,
    known: &mut SchemaCache,
    inserts: &mut Inserts,
    batch: &Batch,
    skip_below: u64,
    care: Care,
) -> Result<Delivery, SqliteError> {
    let mut delivery = Delivery::default();
    let mut targets = Vec::with_capacity(CHUNK_EVENTS);
    let mut first = 0_u32;
    for events in batch.events.chunks(CHUNK_EVENTS) {
        targets.clear();
        for event in events {
            let fresh = event.offset >= skip_below;
            targets.push(if fresh { Some(known.target(&mut Pragmas(connection), event)?) } else { None });
        }
        let mut planner = Planner::new(&mut known.tables, encode::FIT);
        for (index, (event, target)) in (first..).zip(events.iter().zip(&targets)) {
            match target {
                Some(target) => planner.event(index, event, target),
                None => delivery.duplicates += 1,
            }
        }
        let groups = planner.finish();
        settle(connection, known, inserts, &groups)?;
        write(connection, (known, inserts), &groups, care, &mut delivery)?;
        first += u32::try_from(events.len()).unwrap_or(u32::MAX);
    }
    for records in batch.violations.chunks(CHUNK_EVENTS) {
        let table = known.fixed_table(&mut Pragmas(connection), Family::Violations)?;
        let mut planner = Planner::new(&mut known.tables, encode::FIT);
        for record in records.iter().filter(|record| record.offset >= skip_below) {
            planner.violation(record, table);
        }
        let groups = planner.finish();
        settle(connection, known, inserts, &groups)?;
        write(connection, (known, inserts), &groups, care, &mut delivery)?;
    }
    delivery.delivered = batch.events.len() as u64;
    Ok(delivery)
}

/// What there is in the file.
fn know(connection: &Connection, settings: &Checked) -> Result<SchemaCache, SqliteError> {
    let (objects, declared) = (objects(connection, settings)?, Arc::clone(&settings.declared));
    Ok(SchemaCache::new(&settings.prefix, objects, settings.limits, declared, &settings.waiting))
}

fn objects(connection: &Connection, settings: &Checked) -> Result<Vec<Object>, SqliteError> {
    let read = || -> rusqlite::Result<Vec<Object>> {
        let sql = "SELECT name, type = 'table', coalesce(sql, '') FROM sqlite_schema";
        let mut statement = connection.prepare_cached(sql)?;
        let object = |row: &rusqlite::Row<'_>| {
            let (name, is_table, sql): (String, bool, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
            let name = name.to_ascii_lowercase();
            let is_event_table = is_table && sql.contains("\"event_text\"") && settings.short(&name).is_some();
            Ok(Object { name, is_table, is_event_table })
        };
        statement.query_map([], object)?.collect()
    };
    read().map_err(doing("reading the schema"))
}

/// All that is in the file, read without changing it.
pub(super) fn find(settings: &Checked) -> Result<Found, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
    let mut found = Found::default();
    // What belongs to other schemas cannot be in anybody's way.
    for object in objects(&connection, settings)?.into_iter().filter(|object| settings.short(&object.name).is_some()) {
        let (key, columns) = ddl::definition_of(&connection, &object.name)?;
        found.tables.insert(object.name, FoundTable { is_table: object.is_table, key, columns });
    }
    Ok(found)
}

/// Asks the file about its tables.
struct Pragmas<'c>(&'c Connection);

impl Look for Pragmas<'_> {
    type Error = SqliteError;

    fn columns(&mut self, name: &str, family: Family) -> Result<Option<Vec<Column>>, SqliteError> {
        ddl::read(self.0, name, family)
    }

    fn taken(&self, name: &str) -> SqliteError {
        SqliteError::Taken { name: name.to_owned() }
    }
}

/// Makes the tables ready for the rows of these groups. When a change must wait, the batch is begun anew without it.
fn settle(
    connection: &Connection,
    known: &mut SchemaCache,
    inserts: &mut Inserts,
    groups: &[Group<'_>],
) -> Result<(), SqliteError> {
    let mut waits = false;
    for group in groups {
        let table = &mut known.tables.list[group.table];
        let applied = ddl::apply(connection, table)?;
        inserts.keep(table, group);
        known.notices.extend(applied.notices);
        waits |= known.wait(group.table, applied.refused)?;
        if let Some(profile) = known.profile(group.table) {
            let outcome = view::keep(connection, profile, &known.tables.list[group.table])?;
            known.viewed(group.table, outcome);
        }
    }
    if waits { Err(SqliteError::Waits) } else { Ok(()) }
}

/// The tables and the statements that write to them.
type Tools<'k> = (&'k SchemaCache, &'k Inserts);

fn write(
    connection: &Connection,
    known: Tools<'_>,
    groups: &[Group<'_>],
    care: Care,
    delivery: &mut Delivery,
) -> Result<(), SqliteError> {
    match care {
        Care::Swift => delivery.duplicates += write_groups(connection, known, groups)?,
        Care::OneByOne => {
            let (duplicates, rejected) = write_events(connection, known, groups)?;
            delivery.duplicates += duplicates;
            delivery.rejected.extend(rejected);
        }
    }
    Ok(())
}

fn write_groups(connection: &Connection, known: Tools<'_>, groups: &[Group<'_>]) -> Result<u64, SqliteError> {
    let mut duplicates = 0;
    for group in groups {
        let mut writer = Writer::new(connection, known, group)?;
        for row in 0..group.rows.len() {
            duplicates += u64::from(writer.row(row)?);
        }
    }
    Ok(duplicates)
}

fn write_events(
    connection: &Connection,
    known: Tools<'_>,
    groups: &[Group<'_>],
) -> Result<(u64, Vec<Rejected>), SqliteError> {
    let mut rows = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        rows.extend(group.rows.iter().enumerate().map(|(at, row)| (row.event, place, at)));
    }
    rows.sort_unstable();
    let (mut duplicates, mut rejected) = (0, Vec::new());
    for event in rows.chunk_by(|(a, ..), (b, ..)| a.is_some() && a == b) {
        connection.execute_batch("SAVEPOINT event").map_err(doing("setting a savepoint"))?;
        let write = || -> Result<u64, SqliteError> {
            let mut duplicates = 0;
            for (_, place, at) in event {
                duplicates += u64::from(Writer::new(connection, known, &groups[*place])?.row(*at)?);
            }
            Ok(duplicates)
        };
        match (write(), event[0].0) {
            (Ok(more), _) => duplicates += more,
            (Err(error), Some(index)) if error.is_of_row() => {
                connection.execute_batch("ROLLBACK TO event").map_err(doing("setting an event aside"))?;
                let reason = error.to_string();
                rejected.push(Rejected { index: index as usize, code: "row_refused".into(), reason, detail: None });
            }
            (Err(error), _) => return Err(error),
        }
        connection.execute_batch("RELEASE event").map_err(doing("releasing a savepoint"))?;
    }
    Ok((duplicates, rejected))
}

/// Writes rows of one group.
struct Writer<'w, 'a> {
    statement: CachedStatement<'w>,
    insert: &'w Insert,
    table: &'w Table,
    group: &'w Group<'a>,
}

impl<'w, 'a> Writer<'w, 'a> {
    fn new(connection: &'w Connection, (known, inserts): Tools<'w>, group: &'w Group<'a>) -> Result<Self, SqliteError> {
        let table = &known.tables.list[group.table];
        let insert = inserts.get(group.table).ok_or(SqliteError::Gone)?;
        let statement = connection.prepare_cached(&insert.sql).map_err(doing("preparing to write rows"))?;
        Ok(Self { statement, insert, table, group })
    }

    /// Whether the row was a duplicate that counts.
    fn row(&mut self, at: usize) -> Result<bool, SqliteError> {
        let writing = doing("writing a row");
        self.statement.clear_bindings();
        for cell in self.group.row(at) {
            let parameter = usize::from(self.insert.parameters[cell.column as usize]);
            let value = encode(&cell.scalar, self.table.columns[cell.column as usize].kind());
            self.statement.raw_bind_parameter(parameter, value).map_err(&writing)?;
        }
        let written = self.statement.raw_execute().map_err(&writing)?;
        Ok(written == 0 && self.table.family.is_of_kind())
    }
}

//! One batch, one transaction.
//!
//! A [`Link`] is one open connection and what is known of the file through it. It is thrown away after any failure:
//! whatever the failed transaction had changed in memory goes with it.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OpenFlags, OptionalExtension, TransactionBehavior};

use super::client::Checked;
use super::ddl::{self, quoted};
use super::encode::{self, encode};
use super::error::{Trouble, doing};
use crate::destination::{Batch, Delivery, Rejected};
use crate::event::{Event, Kind};
use crate::warehouse::ledger;
use crate::warehouse::name;
use crate::warehouse::row::{Group, Planner};
use crate::warehouse::table::{Family, Limits, Table, Tables, Target};

/// Event names remembered with their tables; a longer name is worked out every time.
const NAMES_MAX: usize = 10_000;
const NAME_BYTES_MAX: usize = 256;
/// Prepared statements kept; one for each table that events come for, plus a few.
const STATEMENTS_MAX: usize = 256;
/// Notices of one delivery; what is beyond is counted.
const NOTICES_MAX: usize = 20;

const LEDGER: &str = "CREATE TABLE IF NOT EXISTS _tidegate_ledger \
    (sync TEXT PRIMARY KEY NOT NULL, log_offset INTEGER NOT NULL, updated_at TEXT NOT NULL)";

/// Something in the file that has a name.
struct Object {
    is_table: bool,
    is_event_table: bool,
}

/// The INSERT of one table: columns that recent batches filled, in the order of their parameters.
struct Insert {
    columns: Vec<u32>,
    /// By column: its parameter's number, counted from 1; 0 for none.
    parameters: Vec<u16>,
    sql: String,
}

pub(super) struct Link {
    connection: Connection,
    settings: Arc<Checked>,
    known: Known,
    schema_version: i32,
    /// What has been said already: notices come once for each opening.
    told: HashSet<String>,
}

/// What is known of the file; forgotten when somebody else changes its schema.
#[derive(Default)]
struct Known {
    tables: Tables,
    objects: HashMap<String, Object>,
    event_tables: usize,
    fixed: [Option<usize>; Kind::ALL.len()],
    names: HashMap<Box<str>, (usize, Arc<str>)>,
    inserts: HashMap<usize, Insert>,
    notices: Vec<String>,
}

impl Link {
    pub(super) fn open(settings: &Arc<Checked>) -> Result<Self, Trouble> {
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
        let set_up = || -> rusqlite::Result<()> {
            connection.busy_timeout(settings.busy_timeout)?;
            connection.execute_batch(
                "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                 PRAGMA cache_size = -32768; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF;",
            )?;
            connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
            ddl::register(&connection)?;
            connection.execute_batch(LEDGER)
        };
        set_up().map_err(doing("preparing the file"))?;
        let mut link = Self {
            connection,
            settings: Arc::clone(settings),
            known: Known::default(),
            schema_version: 0,
            told: HashSet::new(),
        };
        link.durable_to()?;
        link.look()?;
        Ok(link)
    }

    pub(super) fn durable_to(&mut self) -> Result<Option<u64>, Trouble> {
        durable_to(&self.connection, &self.settings.sync)
    }

    /// Looks at the file anew.
    fn look(&mut self) -> Result<(), Trouble> {
        self.schema_version = ddl::schema_version(&self.connection)?;
        self.known = Known::read(&self.connection, &self.settings)?;
        Ok(())
    }

    pub(super) fn deliver(&mut self, batch: &Batch) -> Result<Delivery, Trouble> {
        self.bound_log()?;
        let behavior = TransactionBehavior::Immediate;
        let (connection, settings) = (&self.connection, &*self.settings);
        let transaction =
            rusqlite::Transaction::new_unchecked(connection, behavior).map_err(doing("beginning a transaction"))?;
        // From here on nobody else can change the file.
        if ddl::schema_version(connection)? != self.schema_version {
            self.known = Known::read(connection, settings)?;
        }
        let known = &mut self.known;
        let standing = ledger::standing(durable_to(connection, &settings.sync)?, &batch.range);
        if let Some(gap) = standing.gap {
            let (start, end) = (gap.start, gap.end);
            known.notices.push(format!("offsets {start} to {end} of the log never reached this warehouse"));
        }
        let mut delivery = load(connection, settings, known, batch, standing.skip_below)?;
        let next = i64::try_from(standing.next).map_err(|_| Trouble::Ledger)?;
        connection
            .prepare_cached(
                "INSERT INTO _tidegate_ledger VALUES (?1, ?2, strftime('%Y-%m-%dT%H:%M:%fZ', 'now')) \
                 ON CONFLICT (sync) DO UPDATE SET log_offset = excluded.log_offset, updated_at = excluded.updated_at",
            )
            .and_then(|mut statement| statement.execute((&settings.sync, next)))
            .map_err(doing("writing the ledger"))?;
        let schema_version = ddl::schema_version(connection)?;
        fail::fail_point!("warehouse_before_commit");
        transaction.commit().map_err(doing("committing a batch"))?;
        fail::fail_point!("warehouse_after_commit");
        self.schema_version = schema_version;
        known.tables.trim();
        delivery.notices = self.fresh_notices();
        Ok(delivery)
    }

    /// Waits for readers that keep the write-ahead log from starting over once it has outgrown its bound.
    fn bound_log(&self) -> Result<(), Trouble> {
        let log = || std::fs::metadata(&self.settings.log_path).map_or(0, |metadata| metadata.len());
        if log() <= self.settings.log_bytes_max {
            return Ok(());
        }
        self.connection
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(doing("emptying the write-ahead log"))?;
        let bytes = log();
        if bytes > self.settings.log_bytes_max { Err(Trouble::LogHeld { bytes }) } else { Ok(()) }
    }

    fn fresh_notices(&mut self) -> Vec<String> {
        let mut notices = std::mem::take(&mut self.known.notices);
        for table in self.known.tables.list.iter().filter(|table| table.capped) {
            let (name, most) = (&table.name, self.settings.limits.columns_max);
            notices.push(format!("table {name} has {most} columns and gets no more: further fields go to _overflow"));
        }
        notices.retain(|notice| self.told.len() < 10 * NAMES_MAX && self.told.insert(notice.clone()));
        let more = notices.len().saturating_sub(NOTICES_MAX);
        notices.truncate(NOTICES_MAX);
        if more > 0 {
            notices.push(format!("and {more} more of the kind"));
        }
        notices
    }
}

fn durable_to(connection: &Connection, sync: &str) -> Result<Option<u64>, Trouble> {
    let offset = connection
        .prepare_cached("SELECT log_offset FROM _tidegate_ledger WHERE sync = ?1")
        .and_then(|mut statement| statement.query_row([sync], |row| row.get::<_, i64>(0)).optional())
        .map_err(doing("reading the ledger"))?;
    offset.map(|offset| u64::try_from(offset).map_err(|_| Trouble::Ledger)).transpose()
}

/// Plans the batch, changes the tables and writes the rows.
fn load(
    connection: &Connection,
    settings: &Checked,
    known: &mut Known,
    batch: &Batch,
    skip_below: u64,
) -> Result<Delivery, Trouble> {
    let mut targets = Vec::with_capacity(batch.events.len());
    for event in &batch.events {
        let fresh = event.offset >= skip_below;
        targets.push(if fresh { Some(known.target(connection, settings, event)?) } else { None });
    }
    let violations = batch.violations.iter().filter(|record| record.offset >= skip_below).collect::<Vec<_>>();
    let violations_table = match violations.is_empty() {
        true => None,
        false => Some(known.fixed_table(connection, settings, Family::Violations)?),
    };
    let mut planner = Planner::new(&mut known.tables, encode::FIT);
    for (index, (event, target)) in (0_u32..).zip(batch.events.iter().zip(&targets)) {
        if let Some(target) = target {
            planner.event(index, event, target);
        }
    }
    for (record, table) in violations.into_iter().zip(violations_table.into_iter().cycle()) {
        planner.violation(record, table);
    }
    let groups = planner.finish();
    for group in &groups {
        let notices = ddl::apply(connection, &mut known.tables.list[group.table])?;
        known.notices.extend(notices);
        known.keep_insert(group);
    }
    let skipped = targets.iter().filter(|target| target.is_none()).count();
    let (duplicates, rejected) = write(connection, known, &groups)?;
    Ok(Delivery {
        delivered: (batch.events.len() - rejected.len()) as u64,
        duplicates: duplicates + skipped as u64,
        rejected,
        notices: Vec::new(),
    })
}

/// Writes all rows; if SQLite refuses one, starts over event by event and sets aside those that it refuses.
fn write(connection: &Connection, known: &Known, groups: &[Group<'_>]) -> Result<(u64, Vec<Rejected>), Trouble> {
    let at = |sql| connection.execute_batch(sql).map_err(doing("setting a savepoint"));
    at("SAVEPOINT rows")?;
    match write_groups(connection, known, groups) {
        Ok(duplicates) => at("RELEASE rows").map(|()| (duplicates, Vec::new())),
        Err(trouble) if trouble.is_of_row() => {
            at("ROLLBACK TO rows")?;
            let written = write_events(connection, known, groups)?;
            at("RELEASE rows").map(|()| written)
        }
        Err(trouble) => Err(trouble),
    }
}

fn write_groups(connection: &Connection, known: &Known, groups: &[Group<'_>]) -> Result<u64, Trouble> {
    let mut duplicates = 0;
    for group in groups {
        let mut writer = Writer::new(connection, known, group)?;
        for row in 0..group.rows.len() {
            duplicates += u64::from(writer.row(row)?);
        }
    }
    Ok(duplicates)
}

fn write_events(connection: &Connection, known: &Known, groups: &[Group<'_>]) -> Result<(u64, Vec<Rejected>), Trouble> {
    let mut rows = Vec::new();
    for (place, group) in groups.iter().enumerate() {
        rows.extend(group.rows.iter().enumerate().map(|(at, row)| (row.event, place, at)));
    }
    rows.sort_unstable();
    let (mut duplicates, mut rejected) = (0, Vec::new());
    for event in rows.chunk_by(|(a, ..), (b, ..)| a.is_some() && a == b) {
        connection.execute_batch("SAVEPOINT event").map_err(doing("setting a savepoint"))?;
        let write = || -> Result<u64, Trouble> {
            let mut duplicates = 0;
            for (_, place, at) in event {
                duplicates += u64::from(Writer::new(connection, known, &groups[*place])?.row(*at)?);
            }
            Ok(duplicates)
        };
        match (write(), event[0].0) {
            (Ok(more), _) => duplicates += more,
            (Err(trouble), Some(index)) if trouble.is_of_row() => {
                connection.execute_batch("ROLLBACK TO event").map_err(doing("setting an event aside"))?;
                let reason = trouble.to_string();
                rejected.push(Rejected { index: index as usize, code: "row_refused", reason });
            }
            (Err(trouble), _) => return Err(trouble),
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
    fn new(connection: &'w Connection, known: &'w Known, group: &'w Group<'a>) -> Result<Self, Trouble> {
        let table = &known.tables.list[group.table];
        let insert = known.inserts.get(&group.table).ok_or(Trouble::Gone)?;
        let statement = connection.prepare_cached(&insert.sql).map_err(doing("preparing to write rows"))?;
        Ok(Self { statement, insert, table, group })
    }

    /// Whether the row was a duplicate that counts.
    fn row(&mut self, at: usize) -> Result<bool, Trouble> {
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

impl Known {
    fn read(connection: &Connection, settings: &Checked) -> Result<Self, Trouble> {
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
            known.objects.insert(name, Object { is_table, is_event_table });
        }
        Ok(known)
    }

    /// The tables that the event goes to.
    fn target(&mut self, connection: &Connection, settings: &Checked, event: &Event) -> Result<Target, Trouble> {
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
        let object = self.objects.get(&name);
        if let Some(object) = object {
            if object.is_table
                && let Some(table) = ddl::read(connection, &name, Family::Event, &settings.limits)?
            {
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

    fn fixed_table(&mut self, connection: &Connection, settings: &Checked, family: Family) -> Result<usize, Trouble> {
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

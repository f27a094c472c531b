//! One batch, one transaction.
//!
//! The connection is thrown away after any failure, and with it whatever the failed transaction had changed in memory.

use std::path::Path;
use std::sync::Arc;

use rusqlite::{CachedStatement, Connection, OpenFlags};
use tidegate_event::destination::{Batch, Failure};
use tidegate_sqlite::sqlite_check::{self, Depth};
use tidegate_warehouse::batch_load::BatchLoad;
use tidegate_warehouse::capabilities::Capabilities;
use tidegate_warehouse::encoder::{AsPlanned, Piece};
use tidegate_warehouse::loader::{LoadError, Loader, Snapshot, Stopped};
use tidegate_warehouse::profiles::{Profile, ViewOutcome};
use tidegate_warehouse::row::Group;
use tidegate_warehouse::schema_cache::{FoundSchema, FoundTable, Look, Object, SchemaCache};
use tidegate_warehouse::table::{Changes, Column, Family, Table, Tables};
use tidegate_warehouse::waiting::Refusal;

use super::capabilities::CAPABILITIES;
use super::encode::encode;
use super::error::{SqliteError, doing};
use super::insert::{Insert, Inserts};
use super::ledger as table;
use super::settings::CheckedSqlite;
use super::turns::WriteTurn;
use super::{apply, catalog, view};

/// Prepared statements kept; one for each table that events come for, plus a few.
const STATEMENTS_MAX: usize = 1024;
/// Events planned and written together, within one transaction: an event is still in the processor's cache when its cells
/// are bound, and memory for cells does not grow with the batch. The lattice makes it the same as doing it at once.
const CHUNK_EVENTS: usize = 64;

/// One file, for one sync.
pub(super) struct SqliteLoader {
    pub(super) settings: Arc<CheckedSqlite>,
    file: SqliteFile,
    /// While a batch is written.
    turn: Option<WriteTurn>,
    encoder: AsPlanned<CHUNK_EVENTS>,
    inserts: Inserts,
    /// As of what is known of the tables; none when nothing is.
    schema_version: Option<i32>,
    /// Each part is written under a savepoint, which copies every page that it touches.
    undoable: bool,
    /// Whether the file was found whole; nothing is written to one that is damaged.
    looked_at: bool,
}

impl SqliteLoader {
    pub(super) fn new(settings: Arc<CheckedSqlite>) -> Self {
        Self {
            settings,
            file: SqliteFile::default(),
            turn: None,
            encoder: AsPlanned,
            inserts: Inserts::default(),
            schema_version: None,
            undoable: false,
            looked_at: false,
        }
    }

    /// Opens the file, if it is not open.
    pub(super) fn open(&mut self) -> Result<&Connection, SqliteError> {
        if self.file.0.is_none() {
            // Whoever makes the file and the ledger writes as well.
            let _turn = self.turn.is_none().then(|| WriteTurn::at(&self.settings.path));
            self.look_at_file()?;
            let connection = connect(&self.settings)?;
            table::durable_to(&connection, &self.settings.sync)?;
            objects(&connection, &self.settings)?;
            self.file.0 = Some(connection);
        }
        self.file.connection()
    }

    /// Looks whether the file is whole before it is first written to. A large one is checked in the background by whoever
    /// keeps this warehouse.
    fn look_at_file(&mut self) -> Result<(), SqliteError> {
        let path = &self.settings.path;
        let small = path.metadata().is_ok_and(|found| found.len() <= sqlite_check::AT_START_BYTES_MAX);
        if self.looked_at || !small {
            return Ok(());
        }
        let found = sqlite_check::check(path, Depth::Quick).map_err(doing("checking the file"))?;
        match found.into_iter().next() {
            // A first page that is no database's may as well be another program's file: opening says so.
            Some(what) if !what.contains("not a database") => Err(SqliteError::Damaged { what }),
            _ => {
                self.looked_at = true;
                Ok(())
            }
        }
    }

    /// Waits for readers that keep the write-ahead log from starting over once it has outgrown its bound.
    fn bound_log(&self) -> Result<(), SqliteError> {
        let log = || std::fs::metadata(&self.settings.log_path).map_or(0, |metadata| metadata.len());
        if log() <= self.settings.log_bytes_max {
            return Ok(());
        }
        self.file
            .connection()?
            .query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
            .map_err(doing("emptying the write-ahead log"))?;
        let bytes = log();
        if bytes > self.settings.log_bytes_max { Err(SqliteError::LogHeld { bytes }) } else { Ok(()) }
    }

    /// Writes the rows of a part; how many events were there already.
    fn write_groups(&mut self, tables: &Tables, groups: &[Group<'_>]) -> Result<u64, SqliteError> {
        let connection = self.file.connection()?;
        let mut duplicates = 0;
        for group in groups {
            self.inserts.keep(&tables.list[group.table], group);
            let mut writer = RowWriter::new(connection, (tables, &self.inserts), group)?;
            for row in 0..group.rows.len() {
                duplicates += u64::from(writer.row(row)?);
            }
        }
        Ok(duplicates)
    }

    fn run(&self, what: &'static str, sql: &str) -> Result<(), SqliteError> {
        self.file.connection()?.execute_batch(sql).map_err(doing(what))
    }
}

impl Loader for SqliteLoader {
    type Error = SqliteError;
    type Catalog = SqliteFile;
    type Encoder = AsPlanned<CHUNK_EVENTS>;

    fn capabilities(&self) -> &'static Capabilities {
        &CAPABILITIES
    }

    fn place(&self) -> String {
        place(&self.settings.path)
    }

    fn failure(&self, error: SqliteError) -> Failure {
        error.failure(&self.settings.path)
    }

    fn tools(&mut self) -> (&mut SqliteFile, &mut Self::Encoder) {
        (&mut self.file, &mut self.encoder)
    }

    async fn durable_to(&mut self) -> Result<Option<u64>, SqliteError> {
        let settings = Arc::clone(&self.settings);
        table::durable_to(self.open()?, &settings.sync)
    }

    async fn snapshot(&mut self, _batch: &Batch, known: &mut SchemaCache) -> Result<Snapshot, SqliteError> {
        self.turn.get_or_insert_with(|| WriteTurn::at(&self.settings.path));
        self.open()?;
        self.bound_log()?;
        self.run("beginning a transaction", "BEGIN IMMEDIATE")?;
        // From here on nobody else can change the file.
        let connection = self.file.connection()?;
        let schema_version = Some(catalog::schema_version(connection)?);
        if schema_version != self.schema_version {
            *known = know(connection, &self.settings)?;
            (self.inserts, self.schema_version) = (Inserts::default(), schema_version);
        }
        let durable_to = table::durable_to(connection, &self.settings.sync)?;
        Ok(Snapshot { durable_to, targets: None })
    }

    async fn apply(
        &mut self,
        table: &Table,
        changes: &Changes,
        _used: &[u32],
        notices: &mut Vec<String>,
    ) -> Result<Option<Refusal<SqliteError>>, SqliteError> {
        apply::apply(self.file.connection()?, table, changes, notices)
    }

    async fn view(&mut self, profile: &Profile, table: &Table) -> Result<ViewOutcome, SqliteError> {
        view::keep(self.file.connection()?, profile, table)
    }

    async fn write<'b>(
        &mut self,
        piece: Piece<'b, Self::Encoder>,
        load: &mut BatchLoad<'_, 'b, Self::Encoder>,
    ) -> Result<(), Stopped<SqliteError>> {
        if self.undoable {
            self.run("setting a savepoint", "SAVEPOINT part")?;
        }
        match self.write_groups(load.tables(), &piece.part) {
            Ok(duplicates) => load.count(&piece.items, duplicates),
            Err(error) if self.undoable && error.is_of_row() => {
                self.run("going back to a savepoint", "ROLLBACK TO part; RELEASE part")?;
                return Err(Stopped::Part(error));
            }
            Err(error) => return Err(error.into()),
        }
        if self.undoable {
            self.run("releasing a savepoint", "RELEASE part")?;
        }
        Ok(())
    }

    async fn commit(&mut self, next: u64, _notices: &mut Vec<String>) -> Result<(), SqliteError> {
        let connection = self.file.connection()?;
        table::advance(connection, &self.settings.sync, next)?;
        let schema_version = catalog::schema_version(connection)?;
        self.run("committing a batch", "COMMIT")?;
        (self.schema_version, self.undoable, self.turn) = (Some(schema_version), false, None);
        Ok(())
    }

    fn keep_parts_undoable(&mut self) -> bool {
        !std::mem::replace(&mut self.undoable, true)
    }

    async fn close(&mut self, error: Option<&SqliteError>) {
        if let Some(SqliteError::Sqlite { source, .. }) = error
            && sqlite_check::is_damage(source)
        {
            self.looked_at = false;
        }
        self.abandon();
    }

    fn abandon(&mut self) {
        (self.file, self.schema_version) = (SqliteFile::default(), None);
        // Behind the connection, whose transaction ends with it.
        self.turn = None;
    }
}

/// How messages begin.
pub(super) fn place(file: &Path) -> String {
    format!("warehouse {}", file.display())
}

/// Opens the file and makes the ledger.
pub(super) fn connect(settings: &CheckedSqlite) -> Result<Connection, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(settings.busy_timeout)?;
        connection.execute_batch(
            "PRAGMA page_size = 8192; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
             PRAGMA cache_size = -4096; PRAGMA journal_size_limit = 67108864; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON;",
        )?;
        connection.set_prepared_statement_cache_capacity(STATEMENTS_MAX);
        apply::register(&connection)
    };
    // Of a newer build's file nothing is changed, not even the way its write-ahead log is kept.
    if let Some(found) = table::format(&connection).map_err(doing("opening the file"))?
        && found > table::FORMAT
    {
        return Err(SqliteError::Format { found, known: table::FORMAT });
    }
    set_up().map_err(doing("preparing the file"))?;
    table::prepare(&connection)?;
    Ok(connection)
}

/// What there is in the file.
fn know(connection: &Connection, settings: &CheckedSqlite) -> Result<SchemaCache, SqliteError> {
    let (objects, declared) = (objects(connection, settings)?, Arc::clone(&settings.declared));
    Ok(SchemaCache::new(&settings.prefix, objects, settings.limits, declared, &settings.waiting))
}

fn objects(connection: &Connection, settings: &CheckedSqlite) -> Result<Vec<Object>, SqliteError> {
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
pub(super) fn find(settings: &CheckedSqlite) -> Result<FoundSchema, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
    let mut found = FoundSchema::default();
    // What belongs to other schemas cannot be in anybody's way.
    for object in objects(&connection, settings)?.into_iter().filter(|object| settings.short(&object.name).is_some()) {
        let (key, columns) = catalog::definition_of(&connection, &object.name)?;
        found.tables.insert(object.name, FoundTable { is_table: object.is_table, key, columns });
    }
    Ok(found)
}

/// The file, once it is open. Asked about a table, it looks.
#[derive(Default)]
pub(super) struct SqliteFile(Option<Connection>);

impl SqliteFile {
    fn connection(&self) -> Result<&Connection, SqliteError> {
        self.0.as_ref().ok_or(SqliteError::Gone)
    }
}

impl Look for SqliteFile {
    type Error = SqliteError;

    fn columns(&mut self, name: &str, family: Family) -> Result<Option<Vec<Column>>, SqliteError> {
        catalog::read(self.connection()?, name, family)
    }

    fn taken(&self, name: &str) -> SqliteError {
        SqliteError::Taken { name: name.to_owned() }
    }
}

/// Writes rows of one group.
struct RowWriter<'w, 'a> {
    statement: CachedStatement<'w>,
    insert: &'w Insert,
    table: &'w Table,
    group: &'w Group<'a>,
}

impl<'w, 'a> RowWriter<'w, 'a> {
    fn new(
        connection: &'w Connection,
        (tables, inserts): (&'w Tables, &'w Inserts),
        group: &'w Group<'a>,
    ) -> Result<Self, SqliteError> {
        let table = &tables.list[group.table];
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

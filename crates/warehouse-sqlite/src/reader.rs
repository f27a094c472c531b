//! Reading rows: a connection and a thread of its own for what is read in order, so that a page waits while it is compared.

use std::collections::BTreeMap;
use std::sync::Arc;

use rusqlite::functions::FunctionFlags;
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, OpenFlags, Row};
use tidegate_event::destination::{Failure, Reply};
use tidegate_event::time;
use tidegate_warehouse::evolve::{Type, real_text};
use tidegate_warehouse::read_cell::{ReadCell, instant_us};
use tidegate_warehouse::table_reader::{PAGE_ROWS, ReadColumn, ReadRow, RowsWanted, TableReader};
use tokio::sync::mpsc;

use super::encode;
use super::error::{SqliteError, doing};
use super::settings::CheckedSqlite;
use super::sql::quoted;

const DAY_US: i64 = 86_400_000_000;

type SqlitePage = Result<Vec<ReadRow>, SqliteError>;

/// Reads a SQLite file; it may be written to meanwhile.
#[derive(Debug)]
pub struct SqliteReader {
    settings: Arc<CheckedSqlite>,
    /// What was begun last: the rows, and the pages as they come.
    begun: Option<(Arc<RowsWanted>, mpsc::Receiver<SqlitePage>)>,
}

impl CheckedSqlite {
    /// Prepares to read; no file is opened yet.
    #[must_use]
    pub fn reader(self) -> SqliteReader {
        SqliteReader { settings: Arc::new(self), begun: None }
    }
}

impl SqliteReader {
    fn failed(&self, error: SqliteError) -> Failure {
        error.failure(&self.settings.path)
    }

    fn begin_now(&mut self, wanted: RowsWanted) -> Result<(), SqliteError> {
        self.begun = None;
        let (pages, coming) = mpsc::channel(1);
        let (settings, wanted) = (Arc::clone(&self.settings), Arc::new(wanted));
        let of_thread = Arc::clone(&wanted);
        // It ends with its rows, or when nobody takes its pages any more.
        std::thread::Builder::new()
            .name("sqlite-read".to_owned())
            .spawn(move || {
                if let Err(error) = send_pages(&settings, &of_thread, &pages) {
                    let _ = pages.blocking_send(Err(error));
                }
            })
            .map_err(|source| SqliteError::Spawn { source })?;
        self.begun = Some((wanted, coming));
        Ok(())
    }

    fn look_up_now(&self, keys: &[String]) -> Result<Vec<ReadRow>, SqliteError> {
        let (wanted, _) = self.begun.as_ref().ok_or(SqliteError::Gone)?;
        let connection = connect(&self.settings)?;
        let reading = doing("looking rows up");
        let marks = vec!["?"; keys.len()].join(", ");
        let sql = format!("{} AND {} IN ({marks})", select(&self.settings, wanted), key(wanted));
        let mut statement = connection.prepare(&sql).map_err(&reading)?;
        let mut rows = statement.query(rusqlite::params_from_iter(keys)).map_err(&reading)?;
        let mut found = Vec::new();
        while let Some(row) = rows.next().map_err(&reading)? {
            found.push(read(row, wanted).map_err(&reading)?);
        }
        Ok(found)
    }

    fn count_without_key(&self) -> Result<u64, SqliteError> {
        let (wanted, _) = self.begun.as_ref().ok_or(SqliteError::Gone)?;
        let table = table(&self.settings, wanted);
        let sql = format!("SELECT count(*) FROM {table} WHERE {} IS NULL AND {}", key(wanted), within(wanted));
        let counted = connect(&self.settings)?.query_row(&sql, [], |row| row.get::<_, i64>(0));
        Ok(counted.map_err(doing("counting rows"))?.try_into().unwrap_or(0))
    }
}

impl TableReader for SqliteReader {
    fn tables(&mut self) -> Reply<'_, BTreeMap<String, Vec<ReadColumn>>> {
        let found = tables(&self.settings).map_err(|error| self.failed(error));
        Box::pin(async move { found })
    }

    fn begin(&mut self, wanted: RowsWanted) -> Reply<'_, ()> {
        let begun = self.begin_now(wanted).map_err(|error| self.failed(error));
        Box::pin(async move { begun })
    }

    fn page(&mut self) -> Reply<'_, Vec<ReadRow>> {
        Box::pin(async move {
            let page = match &mut self.begun {
                Some((_, pages)) => pages.recv().await,
                None => None,
            };
            // A thread that ends says so by an empty page.
            page.unwrap_or(Err(SqliteError::Gone)).map_err(|error| self.failed(error))
        })
    }

    fn look_up<'r>(&'r mut self, keys: &'r [String]) -> Reply<'r, Vec<ReadRow>> {
        let found = self.look_up_now(keys).map_err(|error| self.failed(error));
        Box::pin(async move { found })
    }

    fn without_key(&mut self) -> Reply<'_, u64> {
        let counted = self.count_without_key().map_err(|error| self.failed(error));
        Box::pin(async move { counted })
    }
}

fn connect(settings: &CheckedSqlite) -> Result<Connection, SqliteError> {
    if !settings.path.exists() {
        return Err(SqliteError::Settings { problem: "there is no such file" });
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(&settings.path, flags).map_err(doing("opening the file"))?;
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(settings.busy_timeout)?;
        let flags = FunctionFlags::SQLITE_UTF8 | FunctionFlags::SQLITE_DETERMINISTIC | FunctionFlags::SQLITE_DIRECTONLY;
        connection.create_scalar_function("tidegate_us", 1, flags, |context| {
            Ok(at_us(context.get_raw(0)).map_or(Value::Null, Value::Integer))
        })
    };
    set_up().map_err(doing("preparing to read"))?;
    Ok(connection)
}

/// Microseconds since 1970 of a stored instant.
fn at_us(value: ValueRef<'_>) -> Option<i64> {
    match value {
        ValueRef::Text(text) => instant_us(std::str::from_utf8(text).ok()?),
        ValueRef::Integer(number) => instant_us(&number.to_string()),
        ValueRef::Real(number) => instant_us(&real_text(number)),
        ValueRef::Null | ValueRef::Blob(_) => None,
    }
}

fn tables(settings: &CheckedSqlite) -> Result<BTreeMap<String, Vec<ReadColumn>>, SqliteError> {
    let connection = connect(settings)?;
    let reading = doing("reading the schema");
    let sql = "SELECT m.name, c.name, c.type FROM sqlite_schema AS m, pragma_table_xinfo(m.name) AS c \
               WHERE m.type = 'table' AND c.hidden <> 1 ORDER BY m.name, c.cid";
    let mut statement = connection.prepare(sql).map_err(&reading)?;
    let mut rows = statement.query([]).map_err(&reading)?;
    let mut found: BTreeMap<String, Vec<ReadColumn>> = BTreeMap::new();
    while let Some(row) = rows.next().map_err(&reading)? {
        let get = || -> rusqlite::Result<(String, String, String)> { Ok((row.get(0)?, row.get(1)?, row.get(2)?)) };
        let (table, name, declared) = get().map_err(&reading)?;
        let Some(short) = settings.short(&table).filter(|short| !short.starts_with("sqlite_")) else { continue };
        let column = ReadColumn { name, kind: kind(&declared), declared, fraction_digits: 6 };
        found.entry(short.to_owned()).or_default().push(column);
    }
    Ok(found)
}

/// What a declared type means to a reader: somebody who declares a `DATETIME` means an instant, whatever SQLite makes of the word.
fn kind(declared: &str) -> Type {
    let upper = declared.trim().to_ascii_uppercase();
    if let Some(own) = Type::ALL.into_iter().find(|kind| encode::declared(*kind) == upper) {
        return own;
    }
    match () {
        () if upper.contains("TIMESTAMP") || upper.contains("DATETIME") => Type::Timestamp,
        () if upper.contains("BOOL") => Type::Boolean,
        () if upper.contains("JSON") => Type::Json,
        () if upper == "DATE" || upper == "TIME" => Type::Text,
        () => encode::meaning(&upper).0,
    }
}

fn table(settings: &CheckedSqlite, wanted: &RowsWanted) -> String {
    quoted(&format!("{}{}", settings.prefix, wanted.table))
}

/// The key as text. A column that makes text of what it is given is left as it is, so that an index of it can be used.
fn key(wanted: &RowsWanted) -> String {
    let (name, declared) = (quoted(&wanted.key.name), wanted.key.declared.to_ascii_uppercase());
    let has = |words: &[&str]| words.iter().any(|word| declared.contains(word));
    let keeps_text = has(&["CHAR", "CLOB", "TEXT"]) && !has(&["INT"]);
    if keeps_text { name } else { format!("CAST({name} AS TEXT)") }
}

/// All rows with a key, whatever their time.
fn select(settings: &CheckedSqlite, wanted: &RowsWanted) -> String {
    let mut columns = vec![key(wanted), format!("tidegate_us({})", quoted(&wanted.time.name))];
    columns.extend(wanted.columns.iter().map(|column| quoted(&column.name)));
    format!("SELECT {} FROM {} WHERE {} IS NOT NULL", columns.join(", "), table(settings, wanted), key(wanted))
}

/// The rows of the time.
fn within(wanted: &RowsWanted) -> String {
    let (time_column, range) = (quoted(&wanted.time.name), &wanted.range);
    let exact = format!("tidegate_us({time_column}) BETWEEN {} AND {}", range.start, range.end.saturating_sub(1));
    if wanted.time.declared != encode::declared(Type::Timestamp) {
        return exact;
    }
    // The router's own instants begin with their day. To look at that first is cheap; an offset moves it by less than another one.
    let day = |micros: i64| time::format(micros).chars().take(10).collect::<String>();
    let (first, last) = (range.start.saturating_sub(DAY_US), range.end.saturating_add(2 * DAY_US));
    format!("{time_column} >= '{}' AND {time_column} < '{}' AND {exact}", day(first), day(last))
}

fn send_pages(
    settings: &CheckedSqlite,
    wanted: &RowsWanted,
    pages: &mpsc::Sender<SqlitePage>,
) -> Result<(), SqliteError> {
    let connection = connect(settings)?;
    let reading = doing("reading rows");
    let sql = format!("{} AND {} ORDER BY {} COLLATE BINARY", select(settings, wanted), within(wanted), key(wanted));
    let mut statement = connection.prepare(&sql).map_err(&reading)?;
    let mut rows = statement.query([]).map_err(&reading)?;
    let mut page = Vec::with_capacity(PAGE_ROWS);
    while let Some(row) = rows.next().map_err(&reading)? {
        page.push(read(row, wanted).map_err(&reading)?);
        if page.len() == PAGE_ROWS && pages.blocking_send(Ok(std::mem::take(&mut page))).is_err() {
            return Ok(());
        }
    }
    if page.is_empty() || pages.blocking_send(Ok(page)).is_ok() {
        let _ = pages.blocking_send(Ok(Vec::new()));
    }
    Ok(())
}

fn read(row: &Row<'_>, wanted: &RowsWanted) -> rusqlite::Result<ReadRow> {
    let mut cells = Vec::with_capacity(wanted.columns.len());
    for (at, column) in wanted.columns.iter().enumerate() {
        cells.push(cell(column.kind, row.get_ref(at + 2)?));
    }
    let key = match row.get_ref(0)? {
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8_lossy(text).into_owned(),
        ValueRef::Integer(number) => number.to_string(),
        ValueRef::Real(number) => real_text(number),
        ValueRef::Null => String::new(),
    };
    Ok(ReadRow { key, at_us: row.get(1)?, cells })
}

fn cell(kind: Type, value: ValueRef<'_>) -> ReadCell {
    match value {
        ValueRef::Null => ReadCell::Null,
        ValueRef::Integer(truth @ (0 | 1)) if kind == Type::Boolean => ReadCell::Boolean(truth == 1),
        ValueRef::Integer(number) if kind == Type::Timestamp => ReadCell::of(kind, number.to_string()),
        ValueRef::Integer(number) => ReadCell::Number(number.to_string()),
        // The shortest decimal that means it is the one that was written.
        ValueRef::Real(number) => ReadCell::of(Type::Decimal, real_text(number)),
        ValueRef::Text(text) | ValueRef::Blob(text) => ReadCell::of(kind, String::from_utf8_lossy(text).into_owned()),
    }
}

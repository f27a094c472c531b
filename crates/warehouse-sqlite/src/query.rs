//! A statement of somebody else, run so that it writes nothing, sees the tables of the destination and nothing else of the file, and takes no more
//! than it is given.
//!
//! The file is opened by SQLite alone and read in one transaction: to open and close it by other means would take the locks away that others in
//! this process have on it. What a statement may touch is decided while it is compiled, by SQLite's authorizer; how long it takes, while it runs.

use std::cell::Cell;
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::hooks::{AuthAction, AuthContext, Authorization};
use rusqlite::limits::Limit;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, ErrorCode, OpenFlags, Row};
use tidegate_warehouse::evolve::real_text;
use tidegate_warehouse::table::{Family, is_ours};

use super::catalog;
use super::long_functions::bound_functions;
use super::settings::SqliteSettings;
use super::statement_text::{StatementProblem, one_statement};

/// For one statement.
pub const QUERY_TIME_MAX: Duration = Duration::from_secs(5);
/// Rows of an answer.
pub const QUERY_ROWS_MAX: usize = 1_000;
/// Characters of a cell.
pub const QUERY_CELL_CHARS_MAX: usize = 4_096;
/// About the bytes of an answer.
const ANSWER_BYTES_MAX: usize = 4 << 20;
/// Bytes of a value while a statement computes: a statement has room for some hundred of them.
const VALUE_BYTES_MAX: i32 = 256 << 10;
/// Bytes of a pattern of LIKE and GLOB: long ones take time that nothing interrupts.
const PATTERN_BYTES_MAX: i32 = 256;
/// Parts of a statement that stand in one another, as the parser and as an expression count them: SQLite calls itself for each, and what overflows
/// the stack of a thread ends the process.
const PARSER_DEPTH: i32 = 300;
const EXPRESSION_DEPTH: i32 = 250;
/// Steps of SQLite's machine between two looks at the clock: about a row, since each step may be a function that takes long.
const STEPS: i32 = 50;
/// How long a file is waited for that somebody else holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(1);
/// Functions that stand where a table stands and read nothing but their arguments.
const TABLE_FUNCTIONS: [&str; 2] = ["json_each", "json_tree"];
/// What SQLite itself shows as tables.
const OF_SQLITE: [&str; 5] = ["dbstat", "bytecode", "tables_used", "completion", "carray"];
/// Functions that reach beyond their arguments, or take as long as two texts are long, one multiplied by the other.
const REFUSED: [&str; 7] =
    ["load_extension", "fts3_tokenizer", "readfile", "writefile", "edit", "json_patch", "jsonb_patch"];
/// Functions that look for a text in every place of another one. Nothing interrupts what one row asks of them.
const SEARCHING: [&str; 7] = ["like", "glob", "instr", "replace", "trim", "ltrim", "rtrim"];
/// So many of them a statement has, with the views that it reads.
const SEARCHES_MAX: usize = 64;

/// A table or a view that may be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReadableTable {
    pub name: String,
    pub columns: Vec<String>,
}

/// What a statement found.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct FoundRows {
    pub columns: Vec<String>,
    pub rows: Vec<Vec<FoundCell>>,
    /// There are more rows than an answer has.
    pub has_more: bool,
    /// Cells that have more characters than are shown.
    pub cut: u64,
}

/// One cell.
#[derive(Debug, Clone, PartialEq)]
pub enum FoundCell {
    Null,
    Integer(i64),
    Real(f64),
    Text(String),
    /// Bytes, by their number.
    Blob(usize),
}

/// Why there are no rows.
#[derive(Debug, thiserror::Error)]
pub enum QueryError {
    #[error("the destination has no file yet: nothing was delivered to it")]
    NoFile,
    #[error(transparent)]
    Statement(#[from] StatementProblem),
    #[error("{what} is not allowed here")]
    NotAllowed { what: String },
    #[error("SQLite says: {message}")]
    Wrong { message: String },
    #[error("it took longer than {} seconds and was given up", QUERY_TIME_MAX.as_secs())]
    TooSlow,
    #[error("nobody waits for it any more")]
    Cancelled,
    #[error("a value or a row that it computes has more than {} bytes", VALUE_BYTES_MAX)]
    TooLarge,
    #[error("somebody else holds the file")]
    Held,
    #[error("the file cannot be read: {message}")]
    File { message: String },
}

impl SqliteSettings {
    /// The tables and views that a query may read, with their columns, by name.
    ///
    /// # Errors
    /// There is no file, or it cannot be read.
    pub fn readable_tables(&self) -> Result<Vec<ReadableTable>, QueryError> {
        Ok(found_tables(&connect(&self.path)?)?.readable)
    }

    /// The rows of one statement that reads. It blocks, for [`QUERY_TIME_MAX`] and a little more at most, and ends when `cancelled` is set.
    ///
    /// # Errors
    /// Why there are none; see [`QueryError`].
    pub fn query(&self, sql: &str, cancelled: &Arc<AtomicBool>) -> Result<FoundRows, QueryError> {
        one_statement(sql)?;
        let connection = connect(&self.path)?;
        let until = Instant::now() + QUERY_TIME_MAX;
        let denied = Arc::new(OnceLock::new());
        let bounded = bound(&connection, until, cancelled);
        bounded.map_err(|error| file_error(&error))?;
        let judge = QueryJudge::new(found_tables(&connection)?, Arc::clone(&denied));
        let with_limits = || -> rusqlite::Result<()> {
            // Behind the look at the tables: a definition may be longer than a value of a query.
            connection.set_limit(Limit::SQLITE_LIMIT_LENGTH, VALUE_BYTES_MAX)?;
            connection.authorizer(Some(move |asked: AuthContext<'_>| judge.judge(&asked.action)))
        };
        with_limits().map_err(|error| file_error(&error))?;
        let failed = |error: rusqlite::Error| failure(&error, &denied, cancelled);
        let mut statement = connection.prepare(sql).map_err(failed)?;
        if statement.column_count() == 0 || !statement.readonly() {
            return Err(QueryError::NotAllowed { what: CHANGES.to_owned() });
        }
        let columns: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
        let mut found = FoundRows { columns, ..FoundRows::default() };
        let (mut rows, mut bytes) = (statement.raw_query(), 0);
        while let Some(row) = rows.next().map_err(failed)? {
            if found.rows.len() == QUERY_ROWS_MAX || bytes > ANSWER_BYTES_MAX {
                found.has_more = true;
                break;
            }
            let cells = cells(row, found.columns.len(), (&mut bytes, &mut found.cut)).map_err(failed)?;
            found.rows.push(cells);
        }
        Ok(found)
    }
}

/// What nothing but SELECT may do.
const CHANGES: &str = "a statement that does anything but read";

/// Opens the file so that nothing can be written, and begins to read it as it is now.
fn connect(path: &Path) -> Result<Connection, QueryError> {
    if !path.exists() {
        return Err(QueryError::NoFile);
    }
    let open = || -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags)?;
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
        connection.execute_batch(
            "PRAGMA query_only = ON; PRAGMA trusted_schema = OFF; PRAGMA cell_size_check = ON; PRAGMA cache_size = -8192; BEGIN",
        )?;
        Ok(connection)
    };
    open().map_err(|error| file_error(&error))
}

/// Bounds what a statement may take.
fn bound(connection: &Connection, until: Instant, cancelled: &Arc<AtomicBool>) -> rusqlite::Result<()> {
    connection.set_limit(Limit::SQLITE_LIMIT_ATTACHED, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_WORKER_THREADS, 0)?;
    connection.set_limit(Limit::SQLITE_LIMIT_LIKE_PATTERN_LENGTH, PATTERN_BYTES_MAX)?;
    connection.set_limit(Limit::SQLITE_LIMIT_PARSER_DEPTH, PARSER_DEPTH)?;
    connection.set_limit(Limit::SQLITE_LIMIT_EXPR_DEPTH, EXPRESSION_DEPTH)?;
    bound_functions(connection, VALUE_BYTES_MAX)?;
    let cancelled = Arc::clone(cancelled);
    let is_over = move || cancelled.load(Ordering::Relaxed) || Instant::now() >= until;
    connection.progress_handler(STEPS, Some(is_over))
}

/// What there is in a file: what may be read, and the names, in small letters, of what may not.
struct FoundTables {
    readable: Vec<ReadableTable>,
    hidden: BTreeSet<String>,
}

/// The tables that the router could have made, and all views: what a view reads is asked for by itself.
fn found_tables(connection: &Connection) -> Result<FoundTables, QueryError> {
    let names = || -> rusqlite::Result<Vec<(String, bool)>> {
        let sql = "SELECT name, type = 'view' FROM sqlite_schema WHERE type IN ('table', 'view') ORDER BY name";
        let mut statement = connection.prepare(sql)?;
        statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
    };
    let mut found = FoundTables { readable: Vec::new(), hidden: BTreeSet::new() };
    for (name, is_view) in names().map_err(|error| file_error(&error))? {
        // A view whose tables are gone has no columns.
        let (key, columns) = catalog::definition_of(connection, &name).unwrap_or_default();
        if is_view || is_ours(Family::Tracks, &key, &columns) {
            let columns = columns.iter().map(|column| column.name.to_string()).collect();
            found.readable.push(ReadableTable { name, columns });
        } else {
            found.hidden.insert(name.to_ascii_lowercase());
        }
    }
    Ok(found)
}

/// Decides while a statement is compiled.
struct QueryJudge {
    /// In small letters.
    readable: BTreeSet<String>,
    hidden: BTreeSet<String>,
    /// Functions of [`SEARCHING`] so far.
    searches: Cell<usize>,
    /// The first thing that was not allowed.
    denied: Arc<OnceLock<String>>,
}

impl QueryJudge {
    fn new(found: FoundTables, denied: Arc<OnceLock<String>>) -> Self {
        let readable = found.readable.iter().map(|table| table.name.to_ascii_lowercase()).collect();
        Self { readable, hidden: found.hidden, searches: Cell::new(0), denied }
    }

    fn judge(&self, action: &AuthAction<'_>) -> Authorization {
        match self.refused(action) {
            None => Authorization::Allow,
            Some(what) => {
                // The first one is the one that is told.
                let _ = self.denied.set(what);
                Authorization::Deny
            }
        }
    }

    /// What is not allowed.
    fn refused(&self, action: &AuthAction<'_>) -> Option<String> {
        match action {
            AuthAction::Select | AuthAction::Recursive => None,
            AuthAction::Function { function_name } => {
                let name = function_name.to_ascii_lowercase();
                if SEARCHING.contains(&name.as_str()) {
                    self.searches.set(self.searches.get() + 1);
                    let is_refused = self.searches.get() > SEARCHES_MAX;
                    return is_refused.then(|| format!("to look for texts more than {SEARCHES_MAX} times"));
                }
                REFUSED.contains(&name.as_str()).then(|| format!("the function {name}"))
            }
            AuthAction::Read { table_name, column_name } => {
                let name = table_name.to_ascii_lowercase();
                let is_refused = match column_name.is_empty() {
                    // A table of which no column is read, or the name of a part of the statement itself.
                    true => self.hidden.contains(&name) || is_of_sqlite(&name),
                    false => !self.readable.contains(&name) && !TABLE_FUNCTIONS.contains(&name.as_str()),
                };
                is_refused.then(|| format!("the table {name}, which is not one of the destination's,"))
            }
            AuthAction::Pragma { pragma_name, .. } => Some(format!("PRAGMA {pragma_name}")),
            AuthAction::Attach { .. } | AuthAction::Detach { .. } => Some("ATTACH or DETACH of other files".to_owned()),
            AuthAction::Transaction { .. } | AuthAction::Savepoint { .. } => Some("a transaction".to_owned()),
            _ => Some(CHANGES.to_owned()),
        }
    }
}

fn is_of_sqlite(name: &str) -> bool {
    name.starts_with("sqlite_") || name.starts_with("pragma_") || OF_SQLITE.contains(&name)
}

/// The cells of a row; counts their bytes, and those that are too long.
fn cells(row: &Row<'_>, count: usize, (bytes, cut): (&mut usize, &mut u64)) -> rusqlite::Result<Vec<FoundCell>> {
    let mut cells = Vec::with_capacity(count);
    for at in 0..count {
        let cell = match row.get_ref(at)? {
            ValueRef::Null => FoundCell::Null,
            ValueRef::Integer(number) => FoundCell::Integer(number),
            ValueRef::Real(number) if number.is_finite() => FoundCell::Real(number),
            ValueRef::Real(number) => FoundCell::Text(real_text(number)),
            ValueRef::Text(text) => FoundCell::Text(shortened(text, cut)),
            ValueRef::Blob(blob) => FoundCell::Blob(blob.len()),
        };
        *bytes += match &cell {
            FoundCell::Text(text) => text.len() + 8,
            _ => 16,
        };
        cells.push(cell);
    }
    Ok(cells)
}

fn shortened(text: &[u8], cut: &mut u64) -> String {
    let text = String::from_utf8_lossy(text);
    match text.char_indices().nth(QUERY_CELL_CHARS_MAX) {
        None => text.into_owned(),
        Some((at, _)) => {
            *cut += 1;
            format!("{}…", text.get(..at).unwrap_or_default())
        }
    }
}

fn file_error(error: &rusqlite::Error) -> QueryError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => QueryError::Held,
        Some(ErrorCode::OperationInterrupted) => QueryError::TooSlow,
        _ => QueryError::File { message: error.to_string() },
    }
}

/// Why a statement came to nothing.
fn failure(error: &rusqlite::Error, denied: &OnceLock<String>, cancelled: &AtomicBool) -> QueryError {
    if matches!(error, rusqlite::Error::MultipleStatement) {
        return StatementProblem::Several.into();
    }
    let is_cancelled = cancelled.load(Ordering::Relaxed);
    match (error.sqlite_error_code(), denied.get()) {
        (Some(ErrorCode::OperationInterrupted), _) if is_cancelled => QueryError::Cancelled,
        (Some(ErrorCode::OperationInterrupted), _) => QueryError::TooSlow,
        (_, Some(what)) => QueryError::NotAllowed { what: what.clone() },
        (Some(ErrorCode::AuthorizationForStatementDenied | ErrorCode::ReadOnly), None) => {
            QueryError::NotAllowed { what: CHANGES.to_owned() }
        }
        (Some(ErrorCode::TooBig | ErrorCode::OutOfMemory), _) => QueryError::TooLarge,
        (Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase | ErrorCode::SystemIoFailure), _) => {
            QueryError::File { message: error.to_string() }
        }
        (Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked), _) => QueryError::Held,
        _ => QueryError::Wrong { message: error.to_string() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file with a table of the router, its ledger, a view, and a table of somebody else.
    fn filled() -> (tempfile::TempDir, SqliteSettings) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("warehouse.db");
        let made = Connection::open(&path).unwrap();
        made.execute_batch(
            "CREATE TABLE tracks (id TEXT PRIMARY KEY NOT NULL, received_at TIMESTAMP, event TEXT, total REAL);
             INSERT INTO tracks VALUES ('a', '2026-01-01T00:00:00.000000Z', 'Bought', 1.5), ('b', '2026-01-02T00:00:00.000000Z', '<b>', NULL);
             CREATE TABLE _tidegate_ledger (sync TEXT PRIMARY KEY NOT NULL, log_offset INTEGER NOT NULL);
             INSERT INTO _tidegate_ledger VALUES ('web', 7);
             CREATE TABLE payroll (name TEXT, pay INTEGER);
             INSERT INTO payroll VALUES ('ann', 1);
             CREATE VIEW bought AS SELECT event, count(*) AS n FROM tracks GROUP BY event;
             CREATE VIEW paid AS SELECT name FROM payroll;",
        )
        .unwrap();
        (folder, SqliteSettings::new(path))
    }

    fn asked(settings: &SqliteSettings, sql: &str) -> Result<FoundRows, QueryError> {
        settings.query(sql, &Arc::new(AtomicBool::new(false)))
    }

    #[test]
    fn tables_of_the_destination_are_read_with_all_that_sql_can_do() {
        let (_folder, settings) = filled();
        let names: Vec<String> = settings.readable_tables().unwrap().into_iter().map(|table| table.name).collect();
        assert_eq!(names, ["bought", "paid", "tracks"]);
        let found = asked(&settings, "SELECT id, total, NULL, x'00ff', 7 FROM tracks ORDER BY id; -- all").unwrap();
        assert_eq!(found.columns[..2], ["id", "total"]);
        let text = |text: &str| FoundCell::Text(text.to_owned());
        let rest = [FoundCell::Null, FoundCell::Blob(2), FoundCell::Integer(7)];
        assert_eq!(found.rows[0][..2], [text("a"), FoundCell::Real(1.5)]);
        assert_eq!((&found.rows[0][2..], &found.rows[1][1]), (&rest[..], &FoundCell::Null));
        for sql in [
            "SELECT count(*) FROM tracks",
            "SELECT * FROM bought",
            "WITH t AS (SELECT event FROM tracks) SELECT count(*) FROM t",
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 10) SELECT sum(i) FROM n",
            "SELECT a.id, row_number() OVER (ORDER BY b.id) FROM tracks a JOIN main.tracks b USING (id)",
            "SELECT value FROM json_each('[1, 2]')",
            "VALUES (1), (2)",
            "EXPLAIN QUERY PLAN SELECT * FROM tracks",
        ] {
            assert!(asked(&settings, sql).is_ok(), "{sql}: {:?}", asked(&settings, sql));
        }
    }

    #[test]
    fn nothing_else_is_read_and_nothing_is_written() {
        let (folder, settings) = filled();
        let other = folder.path().join("other.db");
        Connection::open(&other).unwrap().execute_batch("CREATE TABLE t (a)").unwrap();
        let attach = format!("ATTACH '{}' AS other", other.display());
        for sql in [
            attach.as_str(),
            "DETACH main",
            "PRAGMA synchronous = OFF",
            "PRAGMA table_info(payroll)",
            "SELECT * FROM pragma_table_info('payroll')",
            "SELECT count(*) FROM pragma_database_list",
            "SELECT load_extension('x')",
            "SELECT json_patch('{}', '{}')",
            "INSERT INTO tracks (id) VALUES ('c')",
            "UPDATE tracks SET total = 1",
            "DELETE FROM tracks",
            "DROP TABLE tracks",
            "CREATE TABLE t (a)",
            "CREATE TEMP TABLE t (a)",
            "CREATE VIRTUAL TABLE t USING fts5(a)",
            "WITH t AS (SELECT 1) DELETE FROM tracks",
            "VACUUM INTO 'copy.db'",
            "REINDEX",
            "ANALYZE",
            "BEGIN IMMEDIATE",
            "SAVEPOINT a",
            "SELECT sql FROM sqlite_master",
            "SELECT count(*) FROM sqlite_schema",
            "SELECT sql FROM main.sqlite_schema",
            "SELECT name FROM sqlite_temp_master",
            "SELECT * FROM _tidegate_ledger",
            "SELECT count(*) FROM _TIDEGATE_ledger",
            "SELECT pay FROM payroll",
            "SELECT (SELECT count(*) FROM Payroll) FROM tracks",
            "SELECT name FROM paid",
            "EXPLAIN DELETE FROM tracks",
        ] {
            let refused = asked(&settings, sql);
            assert!(matches!(refused, Err(QueryError::NotAllowed { .. })), "{sql}: {refused:?}");
        }
        for sql in ["SELECT 1; DELETE FROM tracks", "-- nothing", ""] {
            assert!(matches!(asked(&settings, sql), Err(QueryError::Statement(_))), "{sql}");
        }
        for sql in ["SELECT nothing FROM tracks", "SELEKT 1", "SELECT 'open", "SELECT * FROM other.t"] {
            assert!(
                matches!(asked(&settings, sql), Err(QueryError::Wrong { .. })),
                "{sql}: {:?}",
                asked(&settings, sql)
            );
        }
        assert_eq!(asked(&settings, "SELECT count(*) FROM tracks").unwrap().rows, [[FoundCell::Integer(2)]]);
        assert!(!folder.path().join("copy.db").exists());
    }

    #[test]
    fn a_statement_takes_no_more_time_and_room_than_it_is_given() {
        let (_folder, settings) = filled();
        let endless = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT max(i) FROM n";
        assert!(matches!(asked(&settings, endless), Err(QueryError::TooSlow)));
        let cancelled = Arc::new(AtomicBool::new(true));
        assert!(matches!(settings.query(endless, &cancelled), Err(QueryError::Cancelled | QueryError::TooSlow)));
        for sql in ["SELECT length(printf('%.*c', 1000000000, 'x'))", "SELECT hex(zeroblob(1000000000))"] {
            assert!(matches!(asked(&settings, sql), Err(QueryError::TooLarge)), "{sql}: {:?}", asked(&settings, sql));
        }
        // Each of these takes seconds, or minutes, that nothing interrupts.
        let alike = |letter: char| format!("replace(hex(zeroblob(120000)), '0', '{letter}')");
        let long = [
            format!("SELECT trim({0}, {1} || '.')", alike('b'), alike('a')),
            format!("SELECT instr({0}, substr({0}, 1, 100000) || '.')", alike('b')),
            format!("SELECT replace({0}, substr({0}, 1, 100000) || '.', '')", alike('b')),
        ];
        for sql in long {
            let refused = asked(&settings, &sql);
            assert!(
                matches!(&refused, Err(QueryError::Wrong { message }) if message.contains("the second text of")),
                "{refused:?}"
            );
        }
        let patterns = vec!["id LIKE '%x'"; SEARCHES_MAX + 1].join(" OR ");
        let refused = asked(&settings, &format!("SELECT id FROM tracks WHERE {patterns}"));
        assert!(matches!(refused, Err(QueryError::NotAllowed { .. })), "{refused:?}");
        let nested = |depth: usize| format!("{}SELECT 1{}", "SELECT (".repeat(depth), ")".repeat(depth));
        assert!(asked(&settings, &nested(20)).is_ok(), "{:?}", asked(&settings, &nested(20)));
        assert!(matches!(asked(&settings, &nested(1_000)), Err(QueryError::Wrong { .. })));
        let from = format!("{}tracks{}", "SELECT * FROM (".repeat(900), ")".repeat(900));
        assert!(matches!(asked(&settings, &from), Err(QueryError::Wrong { .. })));
        let many = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT i FROM n";
        let found = asked(&settings, many).unwrap();
        assert_eq!((found.rows.len(), found.has_more), (QUERY_ROWS_MAX, true));
        let long = asked(&settings, "SELECT printf('%.*c', 10000, 'x')").unwrap();
        let FoundCell::Text(text) = &long.rows[0][0] else { panic!("{long:?}") };
        assert_eq!((text.chars().count(), long.cut), (QUERY_CELL_CHARS_MAX + 1, 1));
    }

    #[test]
    fn a_destination_without_a_file_says_so_and_none_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let settings = SqliteSettings::new(folder.path().join("none.db"));
        assert!(matches!(asked(&settings, "SELECT 1"), Err(QueryError::NoFile)));
        assert!(!folder.path().join("none.db").exists());
    }
}

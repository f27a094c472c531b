//! SQLite through its files.

use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::{Type, real_text};
use tidegate_warehouse::swap::TableSwap;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_sqlite::{SqliteSettings, encode};

use tidegate_warehouse_suite::{Act, Cells, OpenedWarehouse, Rig, TableSeen, TablesSeen, canonical};

/// One file.
pub struct Sqlite {
    pub path: PathBuf,
    /// Removed in the end.
    pub _folder: tempfile::TempDir,
}

impl Sqlite {
    pub fn run(&self, sql: &str) -> bool {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        true
    }
}

pub fn text(kind: Type, value: ValueRef<'_>) -> Option<String> {
    let text = match value {
        ValueRef::Null => return None,
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real_text(real),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8(text.to_vec()).unwrap(),
    };
    Some(canonical(kind, &text))
}

/// Opens a sync's part with these settings.
///
/// # Errors
/// The settings cannot be used; another try would fail again.
pub fn open(settings: &SqliteSettings, part: &SyncPart) -> OpenedWarehouse {
    Ok(Box::new(settings.clone().check(part)?.open()?.run()?))
}

impl Rig for Sqlite {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("warehouse.db");
        Ok(Self { path, _folder: folder })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&SqliteSettings { limits, ..SqliteSettings::new(&self.path) }, part)
    }

    fn yaml(&self) -> String {
        format!("kind: sqlite\npath: {}\n", self.path.display())
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let prefix = schema.map(|schema| format!("{schema}__")).unwrap_or_default();
        let mut tables = TablesSeen::new();
        for name in names {
            let Some(short) = name.strip_prefix(&prefix).filter(|short| *short != "_tidegate_ledger") else { continue };
            if schema.is_none() && short.trim_start_matches('_').contains("__") {
                continue;
            }
            let mut seen = TableSeen::default();
            let mut info = connection.prepare("SELECT name, type FROM pragma_table_info(?1)").unwrap();
            let columns = info.query_map([&name], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
            seen.columns =
                columns.unwrap().map(|row| row.map(|(name, kind)| (name, encode::meaning(&kind).0)).unwrap()).collect();
            let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
            let labels: Vec<String> = statement.column_names().into_iter().map(str::to_owned).collect();
            let mut rows = statement.query([]).unwrap();
            while let Some(row) = rows.next().unwrap() {
                let cells = labels.iter().enumerate().filter_map(|(at, label)| {
                    Some((label.clone(), text(seen.columns[label], row.get_ref(at).unwrap())?))
                });
                let cells: Cells = cells.collect();
                seen.insert(cells);
            }
            tables.insert(short.to_owned(), seen);
        }
        tables
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        let cells: Vec<String> = columns.iter().map(|column| format!("coalesce({column}, '-')")).collect();
        let sql = format!("SELECT {} FROM {name} ORDER BY {}", cells.join(" || '|' || "), columns[0]);
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut statement = connection.prepare(&sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        Some(statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect())
    }

    fn swap(&self, swap: &TableSwap) -> Result<(), Failure> {
        SqliteSettings::new(&self.path).swap(swap)
    }

    fn away(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let other = Connection::open(&self.path).unwrap();
        other.busy_timeout(std::time::Duration::from_secs(60)).unwrap();
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        Some(Box::new(move || other.execute_batch("COMMIT").unwrap()))
    }

    fn act(&self, act: &Act) -> bool {
        match act {
            Act::AddColumn(table, column, kind) => {
                self.run(&format!("ALTER TABLE {table} ADD COLUMN {column} {}", encode::declared(*kind)))
            }
            Act::DropColumn(table, column) => self.run(&format!("ALTER TABLE {table} DROP COLUMN {column}")),
            Act::Retype(table, column, kind) => self.run(&format!(
                "ALTER TABLE {table} RENAME COLUMN {column} TO old; ALTER TABLE {table} ADD COLUMN {column} {}; \
                 UPDATE {table} SET {column} = old; ALTER TABLE {table} DROP COLUMN old",
                encode::declared(*kind)
            )),
            Act::MakeTable(name) => self.run(&format!("CREATE TABLE {name} (name TEXT)")),
            Act::Refuse(table, column, value) => self.run(&format!(
                "CREATE TRIGGER refuse_{value} BEFORE INSERT ON {table} WHEN new.{column} = {value} \
                 BEGIN SELECT raise(ABORT, 'not {value}'); END"
            )),
            Act::Block(table, column) => self.run(&format!(
                "CREATE TRIGGER in_the_way BEFORE UPDATE OF {column} ON {table} \
                 BEGIN SELECT raise(ABORT, 'it is mine'); END"
            )),
            Act::Unblock(..) => self.run("DROP TRIGGER in_the_way"),
            // Whoever runs the tests as root may write any file.
            Act::Forbid | Act::Allow => false,
        }
    }
}

//! SQLite through its files.

use std::path::PathBuf;

use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags};
use serde_json::json;
use tidegate_event::destination::Failure;
use tidegate_warehouse::evolve::{Type, real_text};
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_sqlite::{self as sqlite, encode};

use super::disk::Disk;
use super::events::{batch, track};
use super::{Act, Cells, Rig, Subject, TableSeen, Tables, canonical, skipped, suite};
use tidegate::warehouses::WarehouseSettings;

suite!(Sqlite);

/// One file.
pub struct Sqlite {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl Sqlite {
    fn run(&self, sql: &str) -> bool {
        Connection::open(&self.path).unwrap().execute_batch(sql).unwrap_or_else(|error| panic!("{sql}: {error}"));
        true
    }
}

fn text(kind: Type, value: ValueRef<'_>) -> Option<String> {
    let text = match value {
        ValueRef::Null => return None,
        ValueRef::Integer(integer) => integer.to_string(),
        ValueRef::Real(real) => real_text(real),
        ValueRef::Text(text) | ValueRef::Blob(text) => String::from_utf8(text.to_vec()).unwrap(),
    };
    Some(canonical(kind, &text))
}

impl Rig for Sqlite {
    fn new() -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|error| error.to_string())?;
        let path = folder.path().join("warehouse.db");
        Ok(Self { _folder: folder, path })
    }

    fn settings(&self, limits: Limits) -> WarehouseSettings {
        WarehouseSettings::Sqlite(sqlite::SqliteSettings { limits, ..sqlite::SqliteSettings::new(&self.path) })
    }

    fn yaml(&self) -> String {
        format!("kind: sqlite\npath: {}\n", self.path.display())
    }

    fn seen(&self, schema: Option<&str>) -> Tables {
        let connection = Connection::open_with_flags(&self.path, OpenFlags::SQLITE_OPEN_READ_ONLY).unwrap();
        let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
        let names: Vec<String> = names.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let prefix = schema.map(|schema| format!("{schema}__")).unwrap_or_default();
        let mut tables = Tables::new();
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

/// From nothing free to enough: it is full at every stage once, and in the end each event is there once.
#[test]
fn a_full_disk_is_waited_for_and_nothing_is_lost_or_doubled() {
    let disk = match Disk::new() {
        Ok(disk) => disk,
        Err(lack) => {
            return skipped("conformance::sqlite::a_full_disk", &format!("no small disk can be mounted: {lack}"));
        }
    };
    let rig = Sqlite { _folder: tempfile::tempdir().unwrap(), path: disk.path().join("warehouse.db") };
    let mut subject = Subject::open(&rig);
    let wide = |from: u64| {
        let made = |n: u64| track(n, &format!("m{n}"), "E", json!({ "n": n, "text": "x".repeat(200) }));
        batch((from..from + 20).map(made).collect())
    };
    let (mut at, mut full) = (0, 0);
    for pages in 0..24 {
        let filler = disk.fill(pages * 8192);
        match subject.try_deliver(wide(at)) {
            Ok(delivery) => {
                assert_eq!((delivery.delivered, delivery.duplicates), (20, 0));
                at += 20;
            }
            Err(failure) => {
                assert!(matches!(failure, Failure::Retry { .. }), "{failure}");
                full += 1;
            }
        }
        std::fs::remove_file(filler).unwrap();
    }
    assert!(full > 3 && at > 0, "full {full} times, {at} events came through");
    subject.deliver(wide(at));
    let seen = rig.seen(None);
    let wanted = usize::try_from(at).unwrap() + 20;
    assert_eq!((seen["tracks"].rows.len(), seen["e"].rows.len()), (wanted, wanted));
}

//! The SQLite warehouse through real files: what arrives is what an analyst finds.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rusqlite::Connection;
use rusqlite::types::{Value as Stored, ValueRef};
use serde_json::{Value, json};
use tidegate_event::EventKind;
use tidegate_event::destination::{Batch, Destination as _, Failure};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_sqlite::{Client, SqliteSettings};

pub use tidegate_warehouse_suite::events::{batch, event, parsed, track};

mod evolution;
mod exactly_once;
mod hostile;
mod order;
mod others;

/// A file of its own for one test.
struct File {
    _folder: tempfile::TempDir,
    path: PathBuf,
}

impl File {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("warehouse.db");
        Self { _folder: folder, path }
    }

    fn client(&self) -> Client {
        self.client_of("sync", None, Limits::default())
    }

    fn client_of(&self, sync: &str, schema: Option<&str>, limits: Limits) -> Client {
        let part = SyncPart { sync: sync.to_owned(), schema: schema.map(str::to_owned), ..SyncPart::default() };
        SqliteSettings { limits, ..SqliteSettings::new(&self.path) }.check(&part).unwrap().open().unwrap()
    }

    /// As another process would open it.
    fn reader(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    /// The value of one cell, with its storage class.
    fn cell(&self, table: &str, column: &str, id: &str) -> Stored {
        let sql = format!("SELECT \"{}\" FROM \"{table}\" WHERE id = ?1", column.replace('"', "\"\""));
        self.reader().query_row(&sql, [id], |row| row.get(0)).unwrap()
    }

    fn count(&self, table: &str) -> i64 {
        self.reader().query_row(&format!("SELECT count(*) FROM \"{table}\""), [], |row| row.get(0)).unwrap()
    }

    /// The declared types of a table by column; empty when it does not exist.
    fn columns(&self, table: &str) -> BTreeMap<String, String> {
        columns(&self.reader(), table)
    }

    fn overflow(&self, table: &str, id: &str) -> Value {
        match self.cell(table, "_overflow", id) {
            Stored::Text(text) => serde_json::from_str(&text).unwrap(),
            other => panic!("the overflow is {other:?}"),
        }
    }

    fn assert_sound(&self) {
        let check = |pragma: &str| self.reader().query_row(pragma, [], |row| row.get::<_, String>(0)).unwrap();
        assert_eq!(check("PRAGMA integrity_check"), "ok");
    }
}

fn columns(connection: &Connection, table: &str) -> BTreeMap<String, String> {
    let mut statement = connection.prepare("SELECT name, type FROM pragma_table_info(?1)").unwrap();
    statement.query_map([table], |row| Ok((row.get(0)?, row.get(1)?))).unwrap().map(Result::unwrap).collect()
}

/// Every table but the ledger: declared types by column, rows by id, cells by column with storage class.
type FileTables = BTreeMap<String, (BTreeMap<String, String>, BTreeMap<String, BTreeMap<String, String>>)>;

fn tables(path: &Path) -> FileTables {
    let connection = Connection::open(path).unwrap();
    let mut names = connection.prepare("SELECT name FROM sqlite_schema WHERE type = 'table'").unwrap();
    let names = names.query_map([], |row| row.get::<_, String>(0)).unwrap().map(Result::unwrap).collect::<Vec<_>>();
    let mut tables = FileTables::new();
    for name in names.into_iter().filter(|name| name != "_tidegate_ledger") {
        let declared = columns(&connection, &name);
        let mut statement = connection.prepare(&format!("SELECT * FROM \"{name}\"")).unwrap();
        let labels = statement.column_names().into_iter().map(str::to_owned).collect::<Vec<_>>();
        let mut rows = BTreeMap::new();
        let mut found = statement.query([]).unwrap();
        while let Some(row) = found.next().unwrap() {
            let mut cells = BTreeMap::new();
            for (at, label) in labels.iter().enumerate() {
                let cell = row.get_ref(at).unwrap();
                if cell != ValueRef::Null {
                    cells.insert(label.clone(), format!("{cell:?}"));
                }
            }
            rows.insert(row.get::<_, String>("id").unwrap(), cells);
        }
        tables.insert(name, (declared, rows));
    }
    tables
}

fn text(text: &str) -> Stored {
    Stored::Text(text.to_owned())
}

#[test]
fn closing_lets_go_of_the_file_after_the_batch_in_hand() {
    let file = File::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut warehouse = file.client().run().unwrap();
    runtime.block_on(async {
        // It is at work, and nobody waits for its answer.
        let events = (0..50).map(|n| track(n, &format!("m{n}"), "E", json!({}))).collect();
        let mut delivery = warehouse.deliver(Arc::new(batch(events)));
        let _ = std::future::poll_fn(|context| std::task::Poll::Ready(delivery.as_mut().poll(context))).await;
        drop(delivery);
        warehouse.close().await.unwrap();
        assert!(warehouse.durable_to().await.is_err(), "it is closed");
    });
    let mut client = file.client();
    assert_eq!(client.durable_to().unwrap(), Some(50));
}

//! Snowflake, as an emulator has it (third-party, on DuckDB), read by Snowflake's own client for Python.
//!
//! What the emulator cannot do is named in `LACKS`, or said where a test goes without it. It knows nothing of Snowpipe
//! Streaming: `streaming` puts a stand-in before it. It keeps the history of loaded files beyond the table they were
//! loaded into, and answers with Arrow where Snowflake answers with JSON; both are survived.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, OnceLock};

use serde_json::{Value, json};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_snowflake::{Auth, Secret, SnowflakeSettings, encode};

use tidegate_warehouse_suite::{Act, Cells, OpenedWarehouse, Rig, TableSeen, TablesSeen, cache, canonical, repository};

pub mod web;

/// The emulator and the reader: a process, which has one core's worth of Python.
pub struct Bridge {
    pub port: u16,
    pub _child: Child,
    pub pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

/// That of this thread, so of this test: tests take turns with the two.
pub fn bridge() -> Result<&'static Bridge, String> {
    static BRIDGES: [OnceLock<Result<Bridge, String>>; 2] = [const { OnceLock::new() }; 2];
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static OWN: usize = THREADS.fetch_add(1, Ordering::Relaxed) % BRIDGES.len());
    BRIDGES[OWN.with(|own| *own)].get_or_init(Bridge::start).as_ref().map_err(Clone::clone)
}

impl Bridge {
    fn start() -> Result<Self, String> {
        let python = cache().join("snowflake/bin/python");
        if !python.exists() {
            return Err("the emulator is not installed; run `tests/warehouses/setup snowflake`".to_owned());
        }
        let script = repository().join("tests/warehouses/snowflake/bridge.py");
        let mut child = Command::new(python)
            .arg(script)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|error| error.to_string())?;
        let (stdin, stdout) = (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()));
        let mut bridge = Self { port: 0, _child: child, pipes: Mutex::new((stdin, stdout)) };
        let mut line = String::new();
        bridge.pipes.get_mut().unwrap().1.read_line(&mut line).map_err(|error| error.to_string())?;
        let hello: Value = serde_json::from_str(&line).map_err(|_| "the emulator does not start".to_owned())?;
        bridge.port = hello["port"].as_u64().and_then(|port| u16::try_from(port).ok()).unwrap();
        // The first answer comes when the server listens.
        bridge.ask(&json!({ "op": "run", "database": "WARM", "sql": ["SELECT 1"] }));
        Ok(bridge)
    }

    pub fn ask(&self, order: &Value) -> Value {
        let mut pipes = self.pipes.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        writeln!(pipes.0, "{order}").unwrap();
        let mut line = String::new();
        pipes.1.read_line(&mut line).unwrap();
        drop(pipes);
        let mut answer: Value = serde_json::from_str(&line).unwrap();
        assert!(answer["error"].is_null(), "{order}: {}", answer["error"]);
        answer["ok"].take()
    }

    pub fn run(&self, database: &str, sql: &[String]) {
        self.ask(&json!({ "op": "run", "database": database, "sql": sql }));
    }

    /// Columns of a table or view of the schema `PUBLIC`.
    pub fn read(&self, database: &str, name: &str, columns: &[&str]) -> Vec<String> {
        let cells: Vec<String> = columns.iter().map(|column| format!("COALESCE({column}::VARCHAR, '-')")).collect();
        let sql = format!("SELECT {} FROM PUBLIC.{name} ORDER BY {}", cells.join(" || '|' || "), columns[0]);
        let rows = self.ask(&json!({ "op": "read", "database": database, "sql": sql }));
        rows.as_array().unwrap().iter().map(|row| row.as_str().unwrap().to_owned()).collect()
    }

    pub fn seen(&self, database: &str, schema: Option<&str>) -> TablesSeen {
        let schema = schema.unwrap_or("PUBLIC").to_ascii_uppercase();
        let found = self.ask(&json!({ "op": "seen", "database": database, "schema": schema }));
        let mut tables = TablesSeen::new();
        for (name, table) in found.as_object().unwrap() {
            let mut seen = TableSeen::default();
            let mut columns = Vec::new();
            for column in table["columns"].as_array().unwrap() {
                let (name, kind) = (column[0].as_str().unwrap().to_owned(), column[1].as_str().unwrap());
                let kind = Type::ALL.into_iter().find(|of| of.as_str() == kind).unwrap();
                seen.columns.insert(name.clone(), kind);
                columns.push((name, kind));
            }
            for row in table["rows"].as_array().unwrap() {
                let cells = columns
                    .iter()
                    .zip(row.as_array().unwrap())
                    .filter_map(|((name, kind), cell)| Some((name.clone(), canonical(*kind, cell.as_str()?))));
                let cells: Cells = cells.collect();
                seen.insert(cells);
            }
            tables.insert(name.clone(), seen);
        }
        tables
    }
}

/// A database that nobody else has.
pub fn database() -> String {
    static DATABASES: AtomicUsize = AtomicUsize::new(0);
    format!("T{}", DATABASES.fetch_add(1, Ordering::Relaxed))
}

pub fn settings(port: u16, database: &str) -> SnowflakeSettings {
    let password = Auth::Password(Secret::new("not looked at"));
    SnowflakeSettings {
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        warehouse: Some("COMPUTE_WH".to_owned()),
        ..SnowflakeSettings::new("emulator", "loader", database, password)
    }
}

pub struct Snowflake {
    pub bridge: &'static Bridge,
    pub database: String,
}

impl Snowflake {
    pub fn run(&self, sql: &[String]) -> bool {
        self.bridge.run(&self.database, sql);
        true
    }
}

/// What an operator's act is in SQL; empty where Snowflake, or its emulator, has no such thing.
pub fn act(act: &Act) -> Vec<String> {
    match act {
        Act::AddColumn(table, column, kind) => {
            vec![format!("ALTER TABLE {table} ADD COLUMN {column} {}", encode::declared(*kind))]
        }
        Act::DropColumn(table, column) => vec![format!("ALTER TABLE {table} DROP COLUMN {column}")],
        Act::Retype(table, column, kind) => vec![
            format!("ALTER TABLE {table} RENAME COLUMN {column} TO was"),
            format!("ALTER TABLE {table} ADD COLUMN {column} {}", encode::declared(*kind)),
            format!("UPDATE {table} SET {column} = was"),
            format!("ALTER TABLE {table} DROP COLUMN was"),
        ],
        Act::MakeTable(name) => vec![format!("CREATE TABLE {name} (name VARCHAR)")],
        Act::Block(..) | Act::Unblock(..) | Act::Refuse(..) | Act::Forbid | Act::Allow => Vec::new(),
    }
}

/// Opens a sync's part with these settings.
///
/// # Errors
/// The settings cannot be used; another try would fail again.
pub fn open(settings: &SnowflakeSettings, part: &SyncPart) -> OpenedWarehouse {
    Ok(Box::new(settings.clone().check(part)?.open()?))
}

impl Rig for Snowflake {
    const LACKS: &'static [(&'static str, &'static str)] = &[
        (
            "a_row_that_is_refused_stands_alone",
            "Snowflake has no constraint that refuses one value; see `poison` instead",
        ),
        ("a_permission_that_is_missing_stops_and_loses_nothing", "the emulator has no roles"),
    ];

    fn new() -> Result<Self, String> {
        Ok(Self { bridge: bridge()?, database: database() })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&SnowflakeSettings { limits, ..settings(self.bridge.port, &self.database) }, part)
    }

    fn yaml(&self) -> String {
        format!(
            "kind: snowflake\nendpoint: http://127.0.0.1:{}\naccount: emulator\nuser: loader\nauth: {{password: not looked at}}\n\
             warehouse: COMPUTE_WH\ndatabase: {}\n",
            self.bridge.port, self.database
        )
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        self.bridge.seen(&self.database, schema)
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        Some(self.bridge.read(&self.database, name, columns))
    }

    fn act(&self, what: &Act) -> bool {
        let sql = act(what);
        !sql.is_empty() && self.run(&sql)
    }
}

//! ClickHouse: its engine behind an HTTP face of our own, see `tests/warehouses/clickhouse/serve.py`.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_clickhouse::{ClickHouseSettings, encode};

use tidegate_warehouse_suite::{Act, Cells, OpenedWarehouse, Rig, TableSeen, TablesSeen, cache, canonical, repository};

pub const USER: &str = "tidegate";
pub const PASSWORD: &str = "p&ss wörd";

/// The engine of this test process; it ends with the pipe to its standard input.
pub struct Engine {
    pub port: u16,
    /// Its certificate and its port for HTTPS, where the machine can make one.
    pub tls: Option<(PathBuf, u16)>,
    pub _child: Child,
    pub _data: tempfile::TempDir,
}

pub fn engine() -> Result<&'static Engine, String> {
    static ENGINE: OnceLock<Result<Engine, String>> = OnceLock::new();
    ENGINE.get_or_init(start).as_ref().map_err(Clone::clone)
}

pub fn start() -> Result<Engine, String> {
    let python = cache().join("clickhouse/bin/python");
    if !python.exists() {
        return Err(format!("{} is not there: run tests/warehouses/setup clickhouse", python.display()));
    }
    let data = tempfile::tempdir().map_err(|error| error.to_string())?;
    let certificate = data.path().join("certificate.pem");
    // Made for this run; without openssl the one test that needs it is skipped.
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2"])
        .args(["-subj", "/CN=tidegate test", "-addext", "subjectAltName=IP:127.0.0.1"])
        .args(["-addext", "basicConstraints=critical,CA:FALSE", "-keyout"])
        .arg(&certificate)
        .arg("-out")
        .arg(data.path().join("public.pem"))
        .stderr(Stdio::null())
        .status()
        .is_ok_and(|status| status.success());
    let mut command = Command::new(python);
    if made {
        let public = std::fs::read(data.path().join("public.pem")).map_err(|error| error.to_string())?;
        let key = std::fs::read(&certificate).map_err(|error| error.to_string())?;
        std::fs::write(&certificate, [key, public].concat()).map_err(|error| error.to_string())?;
    }
    let mut child = command
        .arg(repository().join("tests/warehouses/clickhouse/serve.py"))
        .args(["--user", USER, "--password", PASSWORD, "--data"])
        .arg(data.path())
        .args(made.then_some("--certificate"))
        .args(made.then_some(&certificate))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| error.to_string())?;
    let mut line = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).map_err(|error| error.to_string())?;
    let ports: Vec<u16> = line.split_whitespace().map_while(|port| port.parse().ok()).collect();
    let port = *ports.first().ok_or_else(|| format!("the engine said {line:?} instead of its port"))?;
    let tls = ports.get(1).map(|port| (data.path().join("public.pem"), *port));
    Ok(Engine { port, tls, _child: child, _data: data })
}

/// One request of a client that is not the router's.
pub fn post(port: u16, path: &str, body: &str) -> Result<String, String> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    let head = format!(
        "POST {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\nx-clickhouse-user: {USER}\r\n\
         x-clickhouse-key: {PASSWORD}\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if head.starts_with("HTTP/1.1 200") { Ok(body.to_owned()) } else { Err(body.to_owned()) }
}

pub fn sql(text: &str) -> String {
    post(engine().unwrap().port, "/?mutations_sync=2&alter_sync=2", text).unwrap_or_else(|e| panic!("{text}: {e}"))
}

pub fn lines(text: &str) -> Vec<Value> {
    let format =
        "output_format_json_quote_64bit_integers=1&output_format_json_quote_decimals=1&date_time_output_format=iso";
    let answer = post(engine().unwrap().port, &format!("/?{format}"), text).unwrap_or_else(|e| panic!("{text}: {e}"));
    answer.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// One database of the shared engine.
pub struct ClickHouse {
    pub database: String,
    pub port: u16,
}

impl ClickHouse {
    pub fn run(&self, text: &str) -> bool {
        let ledger = format!("`{}_tidegate`._tidegate_ledger", self.database);
        sql(&text.replace("LEDGER", &ledger).replace("DB.", &format!("`{}`.", self.database)));
        true
    }

    pub fn settings_of(&self) -> ClickHouseSettings {
        ClickHouseSettings {
            user: USER.to_owned(),
            password: PASSWORD.to_owned(),
            database: self.database.clone(),
            ..ClickHouseSettings::new(format!("http://127.0.0.1:{}", self.port))
        }
    }
}

/// Opens a sync's part with these settings.
///
/// # Errors
/// The settings cannot be used; another try would fail again.
pub fn open(settings: &ClickHouseSettings, part: &SyncPart) -> OpenedWarehouse {
    Ok(Box::new(settings.clone().check(part)?.open()?))
}

impl Rig for ClickHouse {
    fn new() -> Result<Self, String> {
        static PLACES: AtomicU32 = AtomicU32::new(0);
        let place = PLACES.fetch_add(1, Ordering::Relaxed);
        Ok(Self { database: format!("place_{place}"), port: engine()?.port })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&ClickHouseSettings { limits, ..self.settings_of() }, part)
    }

    fn yaml(&self) -> String {
        format!(
            "kind: clickhouse\nurl: http://127.0.0.1:{}\nuser: {USER}\npassword: {PASSWORD:?}\ndatabase: {}\n",
            self.port, self.database
        )
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        let database = schema.unwrap_or(&self.database);
        let mut tables = TablesSeen::new();
        let columns = lines(&format!(
            "SELECT table, name, type, comment FROM system.columns WHERE database = '{database}' \
             AND table != '_tidegate_ledger' AND table NOT IN (SELECT name FROM system.tables WHERE \
             database = '{database}' AND engine = 'View') FORMAT JSONCompactEachRow"
        ));
        for column in &columns {
            let [table, name, kind, comment] = [0, 1, 2, 3].map(|at| column[at].as_str().unwrap());
            let seen = tables.entry(table.to_owned()).or_default();
            seen.columns.insert(name.to_owned(), encode::meaning(kind, comment).0);
        }
        for (table, seen) in &mut tables {
            let mut rows = lines(&format!("SELECT * FROM `{database}`.`{table}` FORMAT JSONCompactEachRowWithNames"));
            let names = rows.remove(0);
            for row in rows {
                let cells: Cells =
                    names.as_array().unwrap().iter().zip(row.as_array().unwrap()).filter_map(cell(seen)).collect();
                seen.insert(cells);
            }
        }
        tables
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        let cells: Vec<String> = columns.iter().map(|column| format!("ifNull(toString({column}), '-')")).collect();
        let (cells, first, database) = (cells.join(", '|', "), columns[0], &self.database);
        let rows = sql(&format!("SELECT concat({cells}) FROM `{database}`.{name} ORDER BY {first} FORMAT TSVRaw"));
        Some(rows.lines().map(str::to_owned).collect())
    }

    fn act(&self, act: &Act) -> bool {
        match act {
            Act::AddColumn(table, column, kind) => {
                self.run(&format!("ALTER TABLE DB.{table} ADD COLUMN {column} {}", encode::declared(*kind)))
            }
            Act::DropColumn(table, column) => self.run(&format!("ALTER TABLE DB.{table} DROP COLUMN {column}")),
            Act::Retype(table, column, kind) => {
                self.run(&format!("ALTER TABLE DB.{table} MODIFY COLUMN {column} {}", encode::declared(*kind)))
            }
            Act::MakeTable(name) => {
                sql(&format!("CREATE DATABASE IF NOT EXISTS `{}`", self.database));
                self.run(&format!("CREATE TABLE DB.{name} (name String) ENGINE = MergeTree ORDER BY tuple()"))
            }
            Act::Refuse(table, column, value) => self.run(&format!(
                "ALTER TABLE DB.{table} ADD CONSTRAINT not_{value} CHECK {column} IS NULL OR {column} != {value}"
            )),
            Act::Block(table, column) => self.run(&format!(
                "ALTER TABLE DB.{table} ADD COLUMN in_the_way Nullable(Int64) MATERIALIZED {column} * 2"
            )),
            Act::Unblock(table) => self.run(&format!("ALTER TABLE DB.{table} DROP COLUMN in_the_way")),
            // The engine has no users here: the face refuses what writes to the database, in the server's words.
            Act::Forbid | Act::Allow => {
                let path = if matches!(act, Act::Forbid) { "/forbid" } else { "/allow" };
                post(self.port, &format!("{path}?database={}", self.database), "").is_ok()
            }
        }
    }
}

/// One cell of a row; `None` when it is null.
pub fn cell<'s>(seen: &'s TableSeen) -> impl Fn((&Value, &Value)) -> Option<(String, String)> + 's {
    |(name, value)| {
        let name = name.as_str().unwrap();
        let text = match value {
            Value::Null => return None,
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        Some((name.to_owned(), canonical(seen.columns[name], &text)))
    }
}

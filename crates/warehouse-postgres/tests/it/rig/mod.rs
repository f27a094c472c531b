//! PostgreSQL through psql.

use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::Value;
use tidegate_event::destination::Failure;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::evolve::Type;
use tidegate_warehouse::swap::TableSwap;
use tidegate_warehouse::table::Limits;
use tidegate_warehouse_postgres::{Address, Environment, PostgresSettings, encode};

use server::Server;
use tidegate_warehouse_suite::{Act, Cells, OpenedWarehouse, Rig, TableSeen, TablesSeen, canonical};

pub mod server;

/// One database of the shared server.
pub struct Postgres {
    pub server: &'static Server,
    pub database: String,
}

impl Postgres {
    pub fn run(&self, sql: &str) -> bool {
        self.server.psql(&self.database, sql);
        true
    }

    pub fn ask(&self, sql: &str) -> String {
        self.server.psql(&self.database, sql).trim_end().to_owned()
    }

    pub fn address(&self, more: &str) -> Address {
        address(&format!("host={} port={} {more}", self.server.folder.display(), self.server.port), &self.database)
    }

    pub fn with(&self, address: Address) -> PostgresSettings {
        PostgresSettings::new(address)
    }
}

/// A place as the role `router`, unless `text` says otherwise.
pub fn address(text: &str, database: &str) -> Address {
    let text = format!("user=router password=p@ss dbname={database} {text}");
    Address::parse(Some(&text), [], &Environment::default()).unwrap()
}

pub fn kind(declared: &str) -> Type {
    match declared {
        "boolean" => Type::Boolean,
        "bigint" | "integer" | "smallint" => Type::Integer,
        "numeric" | "double precision" => Type::Decimal,
        "timestamp with time zone" => Type::Timestamp,
        "json" | "jsonb" => Type::Json,
        _ => Type::Text,
    }
}

/// JSON as it was before it was made readable for PostgreSQL's operators, as `docs/warehouses.md` tells it.
pub fn plain(value: &Value) -> Value {
    let text = |text: &str| {
        let mut parts = text.split("u0000");
        let mut out = parts.next().unwrap().to_owned();
        for part in parts {
            let kept = out.trim_end_matches('\\').len();
            let backslashes = out.len() - kept;
            out.truncate(kept + backslashes / 2);
            out.push_str(if backslashes % 2 == 1 { "\0" } else { "u0000" });
            out.push_str(part);
        }
        out
    };
    match value {
        Value::String(spelled) => Value::from(text(spelled)),
        Value::Array(items) => items.iter().map(plain).collect(),
        Value::Object(fields) => fields.iter().map(|(key, value)| (text(key), plain(value))).collect(),
        other => other.clone(),
    }
}

/// Every table of the schema but the ledger.
pub fn seen(server: &Server, database: &str, schema: &str) -> TablesSeen {
    let columns = server.rows(
        database,
        &format!(
            "SELECT json_build_array(c.relname, a.attname, format_type(a.atttypid, a.atttypmod)) FROM pg_class c \
             JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped \
             WHERE c.relkind = 'r' AND c.relnamespace = (SELECT oid FROM pg_namespace WHERE nspname = '{schema}') \
             AND c.relname <> '_tidegate_ledger' ORDER BY c.relname, a.attnum"
        ),
    );
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let mut tables = TablesSeen::new();
    for column in &columns {
        let table = tables.entry(text(&column[0])).or_default();
        table.columns.insert(text(&column[1]), kind(&text(&column[2])));
    }
    // A row is one line: the name of its table and its cells as texts, which JSON objects of up to 100 fields hold.
    let mut script = String::new();
    let quoted = |name: &str| name.replace('"', "\"\"");
    for (name, table) in &tables {
        let names: Vec<&String> = table.columns.keys().collect();
        let objects = names.chunks(40).map(|names| {
            let pairs: Vec<String> = names
                .iter()
                .map(|name| format!("'{}', \"{}\"::text", name.replace('\'', "''"), quoted(name)))
                .collect();
            format!("json_build_object({})", pairs.join(", "))
        });
        let objects: Vec<String> = objects.collect();
        script += &format!(
            "SELECT json_build_array('{}', {}) FROM \"{schema}\".\"{}\";\n",
            name.replace('\'', "''"),
            objects.join(", "),
            quoted(name)
        );
    }
    for row in server.rows(database, &script) {
        let row = row.as_array().unwrap();
        let table: &mut TableSeen = tables.get_mut(row[0].as_str().unwrap()).unwrap();
        let cells = row[1..].iter().flat_map(|object| object.as_object().unwrap());
        let cells: Cells = cells
            .filter_map(|(name, cell)| {
                let text = canonical(table.columns[name], cell.as_str()?);
                let is_json = table.columns[name] == Type::Json && text.contains(r"\u0000");
                Some((
                    name.clone(),
                    if is_json { plain(&serde_json::from_str(&text).unwrap()).to_string() } else { text },
                ))
            })
            .collect();
        table.insert(cells);
    }
    tables
}

/// Opens a sync's part with these settings.
///
/// # Errors
/// The settings cannot be used; another try would fail again.
pub fn open(settings: &PostgresSettings, part: &SyncPart) -> OpenedWarehouse {
    Ok(Box::new(settings.check(part)?.open()))
}

impl Rig for Postgres {
    fn new() -> Result<Self, String> {
        static DATABASES: AtomicU32 = AtomicU32::new(0);
        let server = Server::shared()?;
        let database = format!("test{}", DATABASES.fetch_add(1, Ordering::Relaxed));
        server.psql("postgres", &format!("CREATE DATABASE {database} OWNER router TEMPLATE template0"));
        Ok(Self { server, database })
    }

    fn open(&self, part: &SyncPart, limits: Limits) -> OpenedWarehouse {
        open(&PostgresSettings { limits, ..self.with(self.address("")) }, part)
    }

    fn yaml(&self) -> String {
        let folder = self.server.folder.display();
        format!(
            "kind: postgres\nhost: {folder}\nport: {}\nuser: router\npassword: p@ss\ndbname: {}\n",
            self.server.port, self.database
        )
    }

    fn swap(&self, swap: &TableSwap) -> Result<(), Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(self.with(self.address("")).swap(swap))
    }

    /// Nobody is let in, and whoever is there is put out.
    fn away(&self) -> Option<Box<dyn FnOnce() + '_>> {
        let allow = |word| {
            let database = &self.database;
            let sql = format!(
                "ALTER DATABASE {database} ALLOW_CONNECTIONS {word}; \
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}'"
            );
            self.server.psql("postgres", &sql);
        };
        allow(false);
        Some(Box::new(move || allow(true)))
    }

    fn seen(&self, schema: Option<&str>) -> TablesSeen {
        seen(self.server, &self.database, schema.unwrap_or("public"))
    }

    fn read(&self, name: &str, columns: &[&str]) -> Option<Vec<String>> {
        let cells: Vec<String> = columns.iter().map(|column| format!("coalesce({column}::text, '-')")).collect();
        let sql = format!("SELECT {} FROM {name} ORDER BY {}", cells.join(" || '|' || "), columns[0]);
        Some(self.ask(&sql).lines().map(str::to_owned).collect())
    }

    fn act(&self, act: &Act) -> bool {
        match act {
            Act::AddColumn(table, column, kind) => {
                self.run(&format!("ALTER TABLE {table} ADD COLUMN {column} {}", encode::declared(*kind)))
            }
            Act::DropColumn(table, column) => self.run(&format!("ALTER TABLE {table} DROP COLUMN {column}")),
            Act::Retype(table, column, kind) => {
                let kind = encode::declared(*kind);
                self.run(&format!("ALTER TABLE {table} ALTER COLUMN {column} TYPE {kind} USING {column}::{kind}"))
            }
            Act::MakeTable(name) => self.run(&format!("CREATE TABLE {name} (name text)")),
            Act::Refuse(table, column, value) => {
                self.run(&format!("ALTER TABLE {table} ADD CONSTRAINT refuse_{value} CHECK ({column} <> {value})"))
            }
            Act::Block(table, column) => self.run(&format!("CREATE VIEW in_the_way AS SELECT {column} FROM {table}")),
            Act::Unblock(..) => self.run("DROP VIEW in_the_way"),
            Act::Forbid => self.run("REVOKE INSERT ON ALL TABLES IN SCHEMA public FROM router"),
            Act::Allow => self.run("GRANT INSERT ON ALL TABLES IN SCHEMA public TO router"),
        }
    }
}

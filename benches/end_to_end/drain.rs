//! The whole path of many events, sent as fast as they are answered: until the last is where it belongs, on cores that load,
//! server and database share.
//!
//! `cargo bench --bench end_to_end -- --drain [--events 600000] [--only TEXT] [--function COMPONENT] [--chain COMPONENT]
//! [--webhook COMPONENT] [--long]`: with `--long` also 32 syncs, 400 columns, and a dedup window of 50 million ids.

use std::fs;
use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::load::{self, Load};
use crate::process::{self, Process};

/// What a path did with its events.
struct Drained {
    events_a_second: f64,
    /// CPU seconds for a million events, of the server alone.
    cpu_s: f64,
    peak_mib: u64,
}

/// Prints the rows whose names hold what `--only` says.
struct Table<'a> {
    runtime: &'a Runtime,
    events: u64,
    only: String,
}

/// Ids in the window of the last row.
const WINDOW_IDS: u64 = 50_000_000;

pub fn measure(runtime: &Runtime) {
    let events: u64 = process::argument("--events").and_then(|text| text.parse().ok()).unwrap_or(600_000);
    let table = Table { runtime, events, only: process::argument("--only").unwrap_or_default() };
    let is_long = std::env::args().any(|argument| argument == "--long");
    println!("\n== the whole path, {events} tracks in batches of 100, two rows an event; CPU of the server alone");
    println!("{:<48} {:>9} {:>9} {:>9}", "", "events/s", "CPU-s/M", "peak MiB");
    if table.wants("bare insert") {
        let rate = bare_insert(events / 4);
        println!("{:<48} {rate:>9.0}", "floor: bare insert of the same rows into SQLite");
    }
    let one = table.row("to SQLite", events, Process::workspace);
    for syncs in [4, 8, 32].into_iter().filter(|syncs| is_long || *syncs < 32) {
        let several = table.row(&format!("to {syncs} SQLite files"), events / u64::from(syncs) * 4, || {
            let workspace = Process::workspace();
            (2..=syncs).for_each(|number| add_sync(workspace.path(), number));
            workspace
        });
        if let (Some(one), Some(several)) = (&one, several) {
            let further = f64::from(syncs - 1);
            let cpu_s = (several.cpu_s - one.cpu_s) / further;
            let mib = several.peak_mib.saturating_sub(one.peak_mib) as f64 / further;
            println!("{:<48} {cpu_s:>19.1} {mib:>9.0}", "  each further one");
        }
    }
    table.postgres();
    table.functions(one.as_ref());
    table.webhooks();
    table.columns(if is_long { &[40, 400] } else { &[40] });
    if is_long {
        table.window();
    }
}

impl Table<'_> {
    fn wants(&self, name: &str) -> bool {
        name.contains(&self.only)
    }

    /// Measures one path, if it is wanted.
    fn row(&self, name: &str, events: u64, workspace: impl FnOnce() -> TempDir) -> Option<Drained> {
        self.row_of(name, events, workspace, Load::batch)
    }

    fn row_of(
        &self,
        name: &str,
        events: u64,
        workspace: impl FnOnce() -> TempDir,
        load: impl FnOnce(&str, &str) -> Load,
    ) -> Option<Drained> {
        if !self.wants(name) {
            return None;
        }
        let events = events / 1_600 * 1_600;
        let server = Process::serve(workspace());
        let drained = self.drained(&server, events, load);
        let Drained { events_a_second, cpu_s, peak_mib } = &drained;
        println!("{name:<48} {events_a_second:>9.0} {cpu_s:>9.1} {peak_mib:>9}");
        Some(drained)
    }

    fn drained(&self, server: &Process, events: u64, load: impl FnOnce(&str, &str) -> Load) -> Drained {
        let (before, started) = (server.usage().0, Instant::now());
        let sent = self.runtime.block_on(load(&server.address, &server.key).count(16, events));
        assert_eq!(sent.events, events, "all of them are answered");
        server.drained(events);
        let wall = started.elapsed().as_secs_f64();
        let (cpu, rss) = server.usage();
        let cpu_s = (cpu - before) * 1e6 / events as f64;
        Drained { events_a_second: events as f64 / wall, cpu_s, peak_mib: rss >> 20 }
    }

    fn postgres(&self) {
        const NAME: &str = "to PostgreSQL on the same cores";
        if !self.wants(NAME) {
            return;
        }
        match process::workspace_of_postgres("drain") {
            Ok((_server, workspace)) => drop(self.row(NAME, self.events, || workspace)),
            Err(lack) => println!("skipped: PostgreSQL: {lack}"),
        }
    }

    fn functions(&self, one: Option<&Drained>) {
        let Some(component) = process::argument("--function") else {
            return println!("skipped: functions: no --function COMPONENT");
        };
        self.row("through a function, to SQLite", self.events / 3, || {
            let workspace = Process::workspace();
            add_functions(workspace.path(), Path::new(&component), 1);
            workspace
        });
        let Some(link) = process::argument("--chain") else {
            return println!("skipped: chains of functions: no --chain COMPONENT");
        };
        for functions in [1, 20, 100] {
            let chain = self.row(&format!("through a chain of {functions}, to SQLite"), self.events / 6, || {
                let workspace = Process::workspace();
                add_functions(workspace.path(), Path::new(&link), functions);
                workspace
            });
            if let (Some(one), Some(chain)) = (one, chain) {
                println!("{:<48} {:>19.2}", "  each of them", (chain.cpu_s - one.cpu_s) / f64::from(functions));
            }
        }
    }

    /// To a receiver that answers at once, on the same cores; its CPU is not in the table.
    fn webhooks(&self) {
        let Some(component) = process::argument("--webhook") else {
            return println!("skipped: webhooks: no --webhook COMPONENT");
        };
        let function = process::argument("--function");
        for array_max in [1, 100] {
            let name = format!("to a webhook, {array_max} a request");
            let webhook = |function: Option<&String>| {
                let receiver = Process::floor();
                let workspace = Process::workspace();
                if let Some(function) = function {
                    add_functions(workspace.path(), Path::new(function), 1);
                }
                send_to_webhook(workspace.path(), Path::new(&component), &receiver.address, array_max);
                (receiver, workspace)
            };
            if self.wants(&name) {
                let (_receiver, workspace) = webhook(None);
                self.row(&name, self.events / 6, || workspace);
            }
            let name = format!("through a function, to a webhook, {array_max} a request");
            if function.is_some() && self.wants(&name) {
                let (_receiver, workspace) = webhook(function.as_ref());
                self.row(&name, self.events / 6, || workspace);
            }
        }
    }

    fn columns(&self, counts: &[u64]) {
        for &columns in counts {
            let (name, events) =
                (format!("{columns} properties an event, to SQLite"), self.events * 10 / columns.max(40));
            let wide = self.row_of(&name, events, Process::workspace, |address, key| {
                Load::batches_of(address, key, &load::wide(columns))
            });
            if let Some(wide) = wide {
                println!("{:<48} {:>19.3}", "  each property", wide.cpu_s / columns as f64);
            }
        }
    }

    /// The same events to SQLite after many others, whose ids are in the dedup window and whose rows the sync does not take.
    fn window(&self) {
        const NAME: &str = "to SQLite, 50 million ids in the dedup window";
        if !self.wants(NAME) {
            return;
        }
        let workspace = Process::workspace();
        let sync = workspace.path().join("w/syncs/web-to-warehouse.yaml");
        let before = fs::read_to_string(&sync).expect("a sync");
        fs::write(&sync, format!("{before}\nfilter: {{except_events: [{}]}}\n", load::FILLER)).expect("a sync");
        let server = Process::serve(workspace);
        let filler = Load::batches_of(&server.address, &server.key, &load::filler()).numbered_from(1 << 40);
        let filled = self.runtime.block_on(filler.count(16, WINDOW_IDS));
        assert_eq!(filled.events, WINDOW_IDS / 1_600 * 1_600);
        server.filtered(filled.events);
        let (before, ids) = (server.usage().1 >> 20, filled.events);
        let drained = self.drained(&server, self.events / 1_600 * 1_600, Load::batch);
        println!("{NAME:<48} {:>9.0} {:>9.1} {:>9}", drained.events_a_second, drained.cpu_s, drained.peak_mib);
        println!("{:<48} {ids} ids, peak {before} MiB before", "");
    }
}

/// Rows of these tracks into two tables of SQLite, prepared and in transactions as large as a batch, and nothing else: events a
/// second.
fn bare_insert(events: u64) -> f64 {
    let dir = tempfile::tempdir_in(process::scratch()).expect("a temporary folder");
    let mut db = rusqlite::Connection::open(dir.path().join("bare.db")).expect("a file");
    let columns: Vec<String> = (0..22).map(|column| format!("c{column}")).collect();
    let (names, places) = (columns.join(", "), vec!["?"; 22].join(", "));
    db.execute_batch(&format!(
        "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; CREATE TABLE kind (id TEXT PRIMARY KEY, {names}) WITHOUT ROWID; \
         CREATE TABLE name (id TEXT PRIMARY KEY, {names}) WITHOUT ROWID"
    ))
    .expect("two tables");
    let values: Vec<String> = (0..22).map(|column| "v".repeat(8 + column)).collect();
    let started = Instant::now();
    for from in (0..events).step_by(2_048) {
        let transaction = db.transaction().expect("a transaction");
        for table in ["kind", "name"] {
            let sql = format!("INSERT INTO {table} VALUES (?, {places})");
            let mut insert = transaction.prepare_cached(&sql).expect("a statement");
            for event in from..from + 2_048 {
                let id = format!("bench-{event:016}");
                let row = std::iter::once(&id).chain(&values);
                insert.execute(rusqlite::params_from_iter(row)).expect("a row");
            }
        }
        transaction.commit().expect("a commit");
    }
    events as f64 / started.elapsed().as_secs_f64()
}

/// Another sync of the same source, to a file of its own.
fn add_sync(dir: &Path, number: u32) {
    let (destination, sync) =
        (format!("w/destinations/more-{number}.yaml"), format!("w/syncs/web-to-more-{number}.yaml"));
    fs::write(dir.join(destination), format!("kind: sqlite\npath: data/more-{number}.db\n")).expect("a file");
    fs::write(dir.join(sync), format!("source: web\ndestination: more-{number}\n")).expect("a file");
}

/// The sync sends to this address instead.
fn send_to_webhook(dir: &Path, component: &Path, address: &str, array_max: u32) {
    let workspace = dir.join("w");
    fs::copy(component, workspace.join("webhook.component.wasm")).expect("a component");
    let array_max = if array_max > 1 { format!("\n  array_max: {array_max}") } else { String::new() };
    let destination = format!(
        "kind: plugin\ncomponent: webhook.component.wasm\nsettings:\n  endpoint: http://{address}\n  \
         signing_secret: 0123456789abcdef{array_max}\nallow_hosts: [\"http://{address}\"]\nallow_private_hosts: [127.0.0.1]\n"
    );
    fs::write(workspace.join("destinations/warehouse.yaml"), destination).expect("a destination");
    let sync = "source: web\ndestination: warehouse\nstart: beginning\n";
    fs::write(workspace.join("syncs/web-to-warehouse.yaml"), sync).expect("a sync");
}

/// Lets the source have so many functions of this component, one after the other.
pub fn add_functions(dir: &Path, component: &Path, count: u32) {
    let workspace = dir.join("w");
    fs::copy(component, workspace.join("functions/bench.component.wasm")).expect("a component");
    let names: Vec<String> = (0..count).map(|number| format!("bench-{number}")).collect();
    for name in &names {
        let function = "component: functions/bench.component.wasm\n";
        fs::write(workspace.join(format!("functions/{name}.yaml")), function).expect("a function");
    }
    let source = workspace.join("sources/web.yaml");
    let before = fs::read_to_string(&source).expect("a source");
    fs::write(source, format!("{before}\nfunctions: [{}]\n", names.join(", "))).expect("a source");
}

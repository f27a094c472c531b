//! The whole path of many events, sent as fast as they are answered: until the last is where it belongs, on cores that load,
//! server and database share.
//!
//! `cargo bench --bench end_to_end -- --drain [--events 600000] [--function COMPONENT]`

use std::path::Path;
use std::time::Instant;

use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::load::Load;
use crate::process::{self, Process};

/// What a path did with its events.
struct Drained {
    events_a_second: f64,
    /// CPU seconds for a million events, of the server alone.
    cpu_s: f64,
    peak_mib: u64,
}

pub fn measure(runtime: &Runtime) {
    let events: u64 = process::argument("--events").and_then(|text| text.parse().ok()).unwrap_or(600_000);
    println!("\n== the whole path, {events} tracks in batches of 100, two rows an event; CPU of the server alone");
    println!("{:<44} {:>9} {:>9} {:>9}", "", "events/s", "CPU-s/M", "peak MiB");
    let one = drained(runtime, events, Process::workspace());
    row("to SQLite", &one, "");
    for syncs in [4, 8] {
        let workspace = Process::workspace();
        (2..=syncs).for_each(|number| add_sync(workspace.path(), number));
        let several = drained(runtime, events, workspace);
        let further = f64::from(syncs - 1);
        let cpu_s = (several.cpu_s - one.cpu_s) / further;
        let mib = several.peak_mib.saturating_sub(one.peak_mib) as f64 / further;
        row(&format!("to {syncs} SQLite files"), &several, &format!("each further one {cpu_s:.1} CPU-s, {mib:.0} MiB"));
    }
    match process::workspace_of_postgres("drain") {
        Ok((_server, workspace)) => {
            row("to PostgreSQL on the same cores", &drained(runtime, events, workspace), "");
        }
        Err(lack) => println!("skipped: Postgres: {lack}"),
    }
    match process::argument("--function") {
        Some(component) => {
            let workspace = Process::workspace();
            add_function(workspace.path(), Path::new(&component));
            row("a function (JavaScript in make bench), to SQLite", &drained(runtime, events / 3, workspace), "");
        }
        None => println!("skipped: a function: no --function COMPONENT"),
    }
}

fn row(name: &str, drained: &Drained, more: &str) {
    let Drained { events_a_second, cpu_s, peak_mib } = drained;
    println!("{name:<44} {events_a_second:>9.0} {cpu_s:>9.1} {peak_mib:>9}  {more}");
}

fn drained(runtime: &Runtime, events: u64, workspace: TempDir) -> Drained {
    let server = Process::serve(workspace);
    let started = Instant::now();
    let sent = runtime.block_on(Load::batch(&server.address, &server.key).count(16, events));
    assert_eq!(sent.events, events, "all of them are answered");
    server.drained(events);
    let wall = started.elapsed().as_secs_f64();
    let (cpu, rss) = server.usage();
    Drained { events_a_second: events as f64 / wall, cpu_s: cpu * 1e6 / events as f64, peak_mib: rss >> 20 }
}

/// Another sync of the same source, to a file of its own.
fn add_sync(dir: &Path, number: u32) {
    let (destination, sync) =
        (format!("w/destinations/more-{number}.yaml"), format!("w/syncs/web-to-more-{number}.yaml"));
    std::fs::write(dir.join(destination), format!("kind: sqlite\npath: data/more-{number}.db\n")).expect("a file");
    std::fs::write(dir.join(sync), format!("source: web\ndestination: more-{number}\n")).expect("a file");
}

/// Lets the source have this function.
pub fn add_function(dir: &Path, component: &Path) {
    let workspace = dir.join("w");
    std::fs::copy(component, workspace.join("functions/bench.component.wasm")).expect("a component");
    let function = "component: functions/bench.component.wasm\n";
    std::fs::write(workspace.join("functions/bench.yaml"), function).expect("a function");
    let source = workspace.join("sources/web.yaml");
    let before = std::fs::read_to_string(&source).expect("a source");
    std::fs::write(source, format!("{before}\nfunctions: [bench]\n")).expect("a source");
}

//! What it costs to count what becomes of every event: the same events through two servers in turns, one that counts and one that does not, by the fail
//! point `fates_off`. CPU of the servers alone; bytes of `state.db`, without what is free in it.
//!
//! * batches of 100 with one name, two rows an event into SQLite: what most servers do;
//! * the same with 10,000 names, of which an hour keeps 256: each log range has many keys then; nothing is delivered, for each name would be a table;
//! * one event a request at 2,000 a second: log ranges are short, and many are in one row.
//!
//! `cargo bench --features failpoints --bench fates -- [--events 600000] [--rounds 7] [--ratio 1.03] [--bytes 8]`. It ends with 1 when the medians of the
//! first are above that ratio, any of them has more bytes an event, or the server cannot be told not to count.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on should say where")]

#[path = "end_to_end/load.rs"]
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
mod load;
#[path = "end_to_end/process.rs"]
#[allow(dead_code, reason = "shared with another bench, which uses more of it")]
mod process;
/// For `process`, which may start one.
#[path = "../crates/warehouse-postgres/tests/it/rig/server.rs"]
#[allow(dead_code, reason = "the tests use more of it")]
mod server;
#[path = "../tests/it/support/mod.rs"]
#[allow(dead_code, reason = "shared with the tests, which use more of it")]
mod support;

use std::path::Path;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::Value;
use tokio::runtime::Runtime;

use load::Load;
use support::{Workspace, run};

/// What keeps a server from counting.
const OFF: &str = "fates_off=return";
const CONNECTIONS: usize = 16;
/// Of one event a request.
const SLOW_RATE: f64 = 2_000.0;

/// What is sent.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    OneName,
    ManyNames,
    Slow,
}

impl Kind {
    const fn what(self) -> &'static str {
        match self {
            Self::OneName => "batches of 100, one name, to SQLite",
            Self::ManyNames => "batches of 100, 10,000 names, filtered",
            Self::Slow => "one event a request, 2,000/s, to SQLite",
        }
    }
}

/// What one server took.
struct Taken {
    events: u64,
    cpu_s: f64,
    state_bytes: u64,
}

/// CPU seconds of a process so far.
fn cpu(pid: u32) -> f64 {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or("").split_whitespace().collect();
    let ticks = |at: usize| fields.get(at).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

fn workspace(kind: Kind) -> Workspace {
    let dir = tempfile::tempdir_in(process::scratch()).unwrap();
    let output = run(&["init", dir.path().join("w").to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workspace = Workspace { write_key: answer["write_key"].as_str().unwrap().to_owned(), dir };
    if kind == Kind::ManyNames {
        workspace.append("syncs/web-to-warehouse.yaml", "\nfilter: {events: [Nothing]}\n");
    }
    workspace
}

fn many_names() -> String {
    // Both numbers of `load`: that of the user makes the name.
    r#"{"type":"track","event":"Viewed by user-0000","messageId":"bench-0000000000000000","userId":"u","properties":{"plan":"pro","position":7}}"#
        .to_owned()
}

/// Sends events of a kind through a new server until they are settled.
fn through(runtime: &Runtime, kind: Kind, events: u64, failpoints: &[&str]) -> Taken {
    let workspace = workspace(kind);
    let server = workspace.serve_with(failpoints);
    let (address, key) = (server.address.clone(), server.key.clone());
    let before = cpu(server.pid());
    let sent = match kind {
        Kind::OneName => runtime.block_on(Load::batch(&address, &key).count(CONNECTIONS, events)),
        Kind::ManyNames => {
            let load = Load::batches_of(&address, &key, &many_names());
            runtime.block_on(load.count(CONNECTIONS, events))
        }
        Kind::Slow => {
            let length = Duration::from_secs_f64(events as f64 / SLOW_RATE);
            runtime.block_on(Load::single(&address, &key).open(CONNECTIONS, length, SLOW_RATE))
        }
    };
    assert_eq!(sent.refused, 0, "all of them are answered");
    let column = if kind == Kind::ManyNames { "filtered" } else { "delivered" };
    settled(&workspace, column, sent.events);
    let cpu_s = cpu(server.pid()) - before;
    server.stop();
    let data = workspace.data();
    let is_counted = rows(&data.join("state.db"), "fate_hours") > 0;
    assert_eq!(is_counted, failpoints.is_empty(), "the server counts as it was told: build with --features failpoints");
    Taken { events: sent.events, cpu_s, state_bytes: whole_bytes(&data) }
}

/// Waits until a count of the sync is as large.
fn settled(workspace: &Workspace, column: &str, events: u64) {
    let deadline = Instant::now() + Duration::from_secs(600);
    let data = workspace.data().join("state.db");
    let counted = || -> Option<i64> {
        let state = Connection::open(&data).ok()?;
        state.query_row(&format!("SELECT min({column}) FROM syncs"), [], |row| row.get(0)).ok()?
    };
    while counted().is_none_or(|counted| counted < events.cast_signed()) {
        assert!(Instant::now() < deadline, "{events} events were not settled: {:?}", counted());
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

fn rows(state: &Path, table: &str) -> u64 {
    let state = Connection::open(state).unwrap();
    state.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get::<_, i64>(0)).unwrap().unsigned_abs()
}

/// Bytes of the state without what is free in it.
fn whole_bytes(data: &Path) -> u64 {
    let whole = data.join("whole.db");
    let state = Connection::open(data.join("state.db")).unwrap();
    state.execute("VACUUM INTO ?1", [whole.to_str().unwrap()]).unwrap();
    std::fs::metadata(whole).unwrap().len()
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Measures a kind in turns; answers the ratio of CPU and the bytes an event.
fn measure(runtime: &Runtime, kind: Kind, events: u64, rounds: u64) -> (f64, f64) {
    let (mut on, mut off, mut bytes) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..rounds {
        let mut counted = None;
        let mut uncounted = None;
        // Whoever is first finds the machine another one.
        for turn in 0..2 {
            if (round + turn).is_multiple_of(2) {
                counted = Some(through(runtime, kind, events, &[]));
            } else {
                uncounted = Some(through(runtime, kind, events, &[OFF]));
            }
        }
        let (Some(counted), Some(uncounted)) = (counted, uncounted) else { continue };
        on.push(counted.cpu_s * 1e6 / counted.events as f64);
        off.push(uncounted.cpu_s * 1e6 / uncounted.events as f64);
        bytes.push((counted.state_bytes as f64 - uncounted.state_bytes as f64) / counted.events as f64);
    }
    let ratios: Vec<f64> = on.iter().zip(&off).map(|(on, off)| on / off).collect();
    let (ratio, bytes) = (median(ratios.clone()), median(bytes));
    let (least, most) =
        ratios.iter().fold((f64::MAX, 0.0_f64), |(least, most), ratio| (least.min(*ratio), most.max(*ratio)));
    println!(
        "{:<42} {:>7.2} {:>7.2} {ratio:>7.3} {least:>7.3} {most:>7.3} {bytes:>10.2}",
        kind.what(),
        median(on),
        median(off)
    );
    (ratio, bytes)
}

fn main() -> ExitCode {
    let number = |name: &str| process::argument(name).and_then(|text| text.parse::<f64>().ok());
    let events = number("--events").unwrap_or(600_000.0) as u64 / 1_600 * 1_600;
    let rounds = number("--rounds").unwrap_or(7.0) as u64;
    let (ratio_max, bytes_max) = (number("--ratio").unwrap_or(1.03), number("--bytes").unwrap_or(8.0));
    process::describe_machine();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    println!("{events} events, {rounds} rounds in turns; CPU-seconds a million, counted and not, and their ratio");
    println!("{:<42} {:>7} {:>7} {:>7} {:>7} {:>7} {:>10}", "", "counted", "not", "ratio", "least", "most", "bytes");
    let (ratio, bytes) = measure(&runtime, Kind::OneName, events, rounds);
    let (_, bytes_of_many) = measure(&runtime, Kind::ManyNames, events, rounds.min(3));
    let (_, bytes_of_slow) = measure(&runtime, Kind::Slow, 20_000, 1);
    let bytes = bytes.max(bytes_of_many).max(bytes_of_slow);
    println!("goal: a ratio of {ratio_max:.3}, found {ratio:.3}; {bytes_max:.1} bytes an event, found {bytes:.2}");
    if ratio <= ratio_max && bytes <= bytes_max { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

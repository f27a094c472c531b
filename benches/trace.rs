//! How long it takes to find one event in a large log: the admin API and the command line are asked by `messageId`, for ids spread over the log and for
//! ids that are not there.
//!
//! The log is filled by the log's own crate, in groups of 100 records as the door writes them of a request of 100 events, because 50 million
//! events over HTTP would take longer than everything else here. A server then refines all of it, delivers one in 64 (the filter of the sync leaves out
//! the rest, whose rows would be most of the disk) and indexes it. What is measured is a whole answer: the search, and what became of the event.
//! Each look is on one connection that is kept open; before a cold look the kernel gives up what it has of the files of the log.
//!
//! `cargo bench --bench trace -- [--events 2000000] [--looks 200] [--cold 20] [--goal-ms 100]`; 50 million events take about 9 GB.
//! It ends with 1 when an event is not found, one is found that is not there, or p99 of looks that are not cold is above the goal.

#![allow(clippy::unwrap_used, clippy::panic, reason = "a bench that cannot go on should say where")]

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

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_event::record::Record;
use tidegate_log::{Frames, LogSettings, SegmentLog};
use tidegate_process::clock;

use support::http::Kept;
use support::{Workspace, run};

/// Records that share what their request had.
const GROUP: u64 = 100;
/// Groups that are appended at once.
const GROUPS: u64 = 100;
/// One of so many events is delivered.
const DELIVERED: u64 = 64;
const PAUSE: Duration = Duration::from_millis(500);

fn id(n: u64) -> String {
    format!("trace-{n:016}")
}

fn event(n: u64) -> String {
    let name = if n.is_multiple_of(DELIVERED) { "Order Completed" } else { "Filler" };
    format!(
        r#"{{"type":"track","event":"{name}","messageId":"{}","userId":"user-{}","properties":{{"n":{n},"plan":"pro"}}}}"#,
        id(n),
        n % 10_000
    )
}

/// A new workspace on the disk that the target directory is on, whose server was started once, so that all its files are there.
fn workspace() -> (Workspace, String) {
    let dir = tempfile::tempdir_in(process::scratch()).unwrap();
    let output = run(&["init", dir.path().join("w").to_str().unwrap(), "--json"]);
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let workspace = Workspace { write_key: answer["write_key"].as_str().unwrap().to_owned(), dir };
    workspace.append("tidegate.yaml", "\nlog: {retention_bytes: 100 GiB}\n");
    workspace.append("syncs/web-to-warehouse.yaml", "\nfilter: {except_events: [Filler]}\n");
    let token = workspace.admin_token();
    workspace.serve().stop();
    (workspace, token)
}

/// What the door keeps of an event of a request that says nothing else.
fn record(received_at_us: i64, event: &[u8]) -> Record<'_> {
    Record {
        problem: None,
        route: None,
        received_at_us,
        source: "web",
        ip: "127.0.0.1",
        message_id: "",
        sent_at: "",
        context: b"",
        integrations: b"",
        event,
    }
}

/// Appends the events to the log of a server that does not run; answers how many bytes they take there.
fn fill(log: &Path, events: u64) -> u64 {
    let floor = tidegate_log::end(log).unwrap();
    let (log, writer, _) = SegmentLog::open(log, LogSettings::default(), floor, clock::now_us()).unwrap();
    let writing = writer.run().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let (mut next, mut bytes) = (0, 0);
    while next < events {
        let received_at_us = clock::now_us();
        let mut frames = Frames::with_capacity((GROUP * GROUPS * 200) as usize);
        for _ in 0..GROUPS {
            let last = events.min(next + GROUP);
            if next == last {
                break;
            }
            frames.begin(|out| record(received_at_us, b"").write_shared(out));
            for n in next..last {
                let event = event(n);
                frames.push(|out| record(received_at_us, event.as_bytes()).write_own(out));
            }
            next = last;
        }
        bytes += frames.bytes() as u64;
        runtime.block_on(log.append_in_lane(0, frames)).unwrap();
    }
    log.close();
    writing.join().unwrap();
    bytes
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    paths.filter(|path| path.extension().is_some_and(|extension| extension == ending)).collect()
}

fn bytes_of(paths: &[PathBuf]) -> u64 {
    paths.iter().map(|path| std::fs::metadata(path).map_or(0, |found| found.len())).sum()
}

/// Waits until it is so; says how far it is now and then.
fn until(what: &str, patience: Duration, mut left: impl FnMut() -> u64) {
    let (began, mut told) = (Instant::now(), Instant::now());
    loop {
        let left = left();
        if left == 0 {
            println!("{what}: {:.0} s", began.elapsed().as_secs_f64());
            return;
        }
        assert!(began.elapsed() < patience, "{what}: {left} are left after {} s", patience.as_secs());
        if told.elapsed() > Duration::from_secs(30) {
            println!("{what}: {left} are left");
            told = Instant::now();
        }
        std::thread::park_timeout(PAUSE);
    }
}

/// Times of looks, milliseconds.
struct LookTimes(Vec<f64>);

impl LookTimes {
    fn quantile(&self, share: f64) -> f64 {
        self.0.get((self.0.len().saturating_sub(1) as f64 * share).round() as usize).copied().unwrap_or(0.0)
    }

    fn print(&self, what: &str) {
        println!(
            "{what:<52} {:>5} looks: median {:>7.2}, p99 {:>7.2}, most {:>7.2} ms",
            self.0.len(),
            self.quantile(0.5),
            self.quantile(0.99),
            self.quantile(1.0)
        );
    }
}

/// Asks for an id.
type Ask = fn(&mut Asker, &str) -> Value;

/// Who asks.
struct Asker {
    address: String,
    token: String,
    connection: Kept,
    /// Answers that were wrong.
    wrong: u64,
}

impl Asker {
    fn over_http(&mut self, id: &str) -> Value {
        let Self { address, token, connection, .. } = self;
        connection.write(
            format!(
                "GET /api/v1/trace?message_id={id} HTTP/1.1\r\nhost: {address}\r\nauthorization: Bearer {token}\r\n\r\n"
            )
            .as_bytes(),
        );
        let reply = connection.read();
        assert_eq!(reply.status, 200, "{}", reply.text());
        reply.json()
    }

    fn over_command(&mut self, id: &str) -> Value {
        let url = format!("http://{}", self.address);
        let output = run(&["trace", id, "--server", &url, "--token", &self.token, "--json"]);
        // Of what is not there it says so, and ends with another code.
        serde_json::from_slice(&output.stdout).unwrap_or(Value::Null)
    }

    /// Looks for ids, one after the other; each is there or none is.
    fn look(&mut self, ids: &[String], are_there: bool, (before, ask): (&dyn Fn(), Ask)) -> LookTimes {
        let mut times = Vec::new();
        for id in ids {
            before();
            let began = Instant::now();
            let answer = ask(self, id);
            times.push(began.elapsed().as_secs_f64() * 1e3);
            let records = answer["records"].as_array().cloned().unwrap_or_default();
            let is_right = match are_there {
                true => records.len() == 1 && records[0]["message_id"] == id.as_str(),
                false => records.is_empty(),
            };
            let is_whole = answer["not_looked_at"].as_array().is_none_or(Vec::is_empty);
            if !(is_right && is_whole) {
                self.wrong += 1;
                println!("wrong: {id}: {answer}");
            }
        }
        times.sort_by(f64::total_cmp);
        LookTimes(times)
    }
}

/// Has the kernel give up what it keeps of these files.
fn forget(paths: &[PathBuf]) {
    for path in paths {
        let input = format!("if={}", path.display());
        let _ = Command::new("dd").args([input.as_str(), "iflag=nocache", "count=0", "status=none"]).status();
    }
}

fn main() -> ExitCode {
    let number = |name: &str, usual: u64| process::argument(name).and_then(|text| text.parse().ok()).unwrap_or(usual);
    let (events, looks, cold) = (number("--events", 2_000_000), number("--looks", 200), number("--cold", 20));
    let goal_ms = number("--goal-ms", 100) as f64;
    process::describe_machine();
    let (workspace, token) = workspace();
    let log = workspace.data().join("log");
    let began = Instant::now();
    let bytes = fill(&log, events);
    println!("{events} events appended: {:.0} s", began.elapsed().as_secs_f64());
    let server = workspace.serve();
    let patience = Duration::from_secs(600 + events / 5_000);
    until("refined, and one in 64 delivered", patience, || {
        workspace.status()["syncs"]["web-to-warehouse"]["lag"].as_u64().unwrap_or(u64::MAX)
    });
    until("indexed", patience, || {
        let sealed = files(&log, "log").len().saturating_sub(1);
        sealed.saturating_sub(files(&log, "keys").len()) as u64
    });
    let (segments, indexes) = (files(&log, "log"), files(&log, "keys"));
    let an_event = |bytes: u64| bytes as f64 / events as f64;
    println!(
        "{} segments; the log has {:.1} bytes an event, its indexes {:.1}",
        segments.len(),
        an_event(bytes),
        an_event(bytes_of(&indexes))
    );
    let connection = Kept::open(&server.admin);
    let mut asker = Asker { address: server.admin.clone(), token, connection, wrong: 0 };
    // Spread over the log, delivered ones and others; and such that are not there.
    let spread = |looks: u64| -> Vec<String> {
        let step = (events / looks.max(1)).max(1);
        (0..looks.min(events)).map(|look| id((look * step + look % DELIVERED).min(events - 1))).collect()
    };
    let absent = |looks: u64| -> Vec<String> { (0..looks).map(|look| format!("nobody-{look:016}")).collect() };
    let nothing: &dyn Fn() = &|| {};
    let all: Vec<PathBuf> = segments.iter().chain(&indexes).cloned().collect();
    let forgets: &dyn Fn() = &|| forget(&all);
    asker.look(&absent(1), false, (nothing, Asker::over_http)).print("the first look after the start");
    let there = asker.look(&spread(looks), true, (nothing, Asker::over_http));
    there.print("GET /api/v1/trace, ids over the whole log");
    let not_there = asker.look(&absent(looks), false, (nothing, Asker::over_http));
    not_there.print("GET /api/v1/trace, ids that are not there");
    let some = (looks / 10).clamp(1, 50);
    asker.look(&spread(some), true, (nothing, Asker::over_command)).print("tidegate trace, ids over the whole log");
    if cold > 0 {
        let what = "the same over HTTP, nothing of the log in memory";
        asker.look(&spread(cold), true, (forgets, Asker::over_http)).print(what);
        let what = "of ids that are not there, nothing in memory";
        asker.look(&absent(cold), false, (forgets, Asker::over_http)).print(what);
    }
    let worst = there.quantile(0.99).max(not_there.quantile(0.99));
    println!("goal: p99 {goal_ms:.0} ms, found {worst:.1} ms; {} answers were wrong", asker.wrong);
    let wrong = asker.wrong;
    drop(asker);
    server.stop();
    if wrong == 0 && worst <= goal_ms { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

//! What the stories of big sizes have in common: many events into a server, as fast as it takes them, jobs that are waited for, and an end.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control::Control;
use crate::server::{ServerProcess, log_file};
use crate::soak::conserves;
use crate::support::Workspace;
use crate::support::http::{basic, try_request};
use crate::{Found, pass};

/// Events in a batch.
const BATCH: u64 = 500;
const SENDERS: u64 = 4;
/// For one batch to be taken.
const BATCH_MAX: Duration = Duration::from_secs(120);
/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(100);

/// How long so many events may take on a slow machine, to whatever place.
pub fn patience(events: u64) -> Duration {
    Duration::from_secs(300 + events / 500)
}

/// Sends the events from 0 on; a sentence when a batch is not taken.
pub fn fill((address, key): (&str, &str), events: u64, event: &(dyn Fn(u64) -> Value + Sync)) -> Result<(), String> {
    let next = AtomicU64::new(0);
    let authorization = basic(key);
    std::thread::scope(|scope| {
        let send = || -> Result<(), String> {
            loop {
                let first = next.fetch_add(BATCH, Ordering::Relaxed);
                if first >= events {
                    return Ok(());
                }
                let batch: Vec<Value> = (first..events.min(first + BATCH)).map(event).collect();
                taken(address, &authorization, &json!({ "batch": batch }).to_string())?;
            }
        };
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(send)).collect();
        senders.into_iter().try_for_each(|sender| sender.join().map_err(|_| "a sender has failed".to_owned())?)
    })
}

/// Sends a batch until it is answered with 200.
fn taken(address: &str, authorization: &str, body: &str) -> Result<(), String> {
    let headers = [("authorization", authorization), ("content-type", "application/json")];
    let deadline = Instant::now() + BATCH_MAX;
    loop {
        let said = match try_request(address, "POST", "/v1/batch", &headers, body.as_bytes()) {
            Ok(reply) if reply.status == 200 => return Ok(()),
            Ok(reply) => format!("{} {}", reply.status, reply.text()),
            Err(error) => error.to_string(),
        };
        if Instant::now() > deadline {
            return Err(format!("a batch is not taken: {said}"));
        }
        pass(Duration::from_millis(20));
    }
}

/// What the admin API answers with 200.
pub fn asked(control: &Control, (method, path): (&str, &str), body: &Value) -> Result<Value, String> {
    let answered = control.ask(method, path, body)?;
    if answered.status == 200 { Ok(answered.body) } else { Err(format!("{method} {path}: {}", answered.body)) }
}

/// A job, once it runs no more.
pub fn ended(control: &Control, path: &str, patience: Duration) -> Result<Value, String> {
    let deadline = Instant::now() + patience;
    loop {
        let job = asked(control, ("GET", path), &Value::Null)?;
        if job["state"] != "running" {
            return Ok(job);
        }
        if Instant::now() > deadline {
            return Err(format!("{path} does not end: {job}"));
        }
        pass(LOOK);
    }
}

/// Waits until what `tidegate status` says is so.
pub fn until(
    workspace: &Workspace,
    (what, patience): (&str, Duration),
    is_so: impl Fn(&Value) -> bool,
) -> Result<(), String> {
    let deadline = Instant::now() + patience;
    loop {
        let status = workspace.status();
        if is_so(&status) {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!("not within {} s: {what}: {status}", patience.as_secs()));
        }
        pass(2 * LOOK);
    }
}

/// Nothing waits for any sync, and nothing is pending.
pub fn is_drained(status: &Value) -> bool {
    let syncs = status["syncs"].as_object();
    let is_through = |sync: &Value| sync["lag"] == 0 && (sync["pending"].is_null() || sync["pending"] == 0);
    syncs.is_some_and(|syncs| syncs.values().all(is_through))
}

/// Stops the server; whether it ends in time, has not panicked, and every event is accounted for.
pub fn stopped(server: ServerProcess, workspace: &Workspace, found: &mut Found) {
    let ended = server.stop(Duration::from_secs(120));
    if !ended.is_some_and(|status| status.success()) {
        broken(found, format!("the last stop ended with {ended:?}"));
    }
    let log = std::fs::read(log_file(&workspace.path())).unwrap_or_default();
    if let Some(line) = String::from_utf8_lossy(&log).lines().find(|line| line.contains("panicked")) {
        broken(found, format!("a server panicked: {line}"));
    }
    conserves(workspace, found);
}

/// A promise that did not hold.
pub fn broken(found: &mut Found, note: String) {
    found.broken += 1;
    found.notes.push(note);
}

/// Keeps the folder of a story that failed, and says where.
pub fn kept(workspace: Workspace, found: &mut Found) {
    if !found.is_clean() {
        let kept = workspace.dir.keep();
        found.notes.push(format!("kept: {} (its log: {})", kept.display(), log_file(&kept.join("w")).display()));
    }
}

/// The machine that a figure was measured on.
pub fn machine() -> String {
    let cpu = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or(": unknown");
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    format!("machine: {cores} cores, {}", model.trim_start_matches([' ', '\t', ':']))
}

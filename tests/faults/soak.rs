//! Rounds of random faults: kills, stops, torn and failed writes, a full disk, a locked warehouse, starved cores, a webhook
//! that misbehaves. Each round has a workspace of its own, ends with a drain, and is judged.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use serde_json::json;

use crate::ledger::Ledger;
use crate::load::Load;
use crate::server::{ServerProcess, log_file};
use crate::support::far::{Act, Far, Received};
use crate::support::{Workspace, guests};
use crate::{Dice, Found, Plan, pass};

const ROUND: Duration = Duration::from_secs(60);
const RATE: u64 = 2_500;

/// Stops that were not over after 12 seconds, two more than is promised.
const LATE_STOPS: &str = "stops that took too long";

/// Fail points that a life of the server may have, as names and actions.
const LIVES: [&str; 16] = [
    "",
    "",
    "",
    "intake_write_torn=0.3%return",
    "intake_write=3%return",
    "intake_sync=0.3%return",
    "refine_before_commit=1%return",
    "refine_after_commit=1%return",
    "dedup_run_write=20%return",
    "dedup_manifest_write=20%return",
    "dedup_tail_write=2%return",
    "sync_before_cursor=1%return",
    "warehouse_before_commit=2%return",
    "warehouse_after_commit=2%return",
    "delivery_before_resolve=1%return",
    "transformed_before_commit=2%return",
];

pub fn run(plan: &Plan) -> Found {
    let mut sum = Found::default();
    let mut counts: HashMap<&'static str, u64> = HashMap::new();
    let started = Instant::now();
    let mut rounds = 0;
    while started.elapsed() < plan.length {
        let seed = plan.seed.wrapping_add(rounds);
        let length = ROUND.min(plan.length.saturating_sub(started.elapsed()).max(Duration::from_secs(5)));
        let found = round(seed, length, &mut counts);
        rounds += 1;
        if !found.is_clean() {
            sum.notes.push(format!(
                "round {rounds}, seed {seed}: {} lost, {} double, {} altered, {} promises broken",
                found.lost, found.double, found.altered, found.broken
            ));
        }
        sum.acked += found.acked;
        sum.lost += found.lost;
        sum.double += found.double;
        sum.altered += found.altered;
        sum.broken += found.broken;
        sum.notes.extend(found.notes.into_iter().map(|note| format!("round {rounds}: {note}")));
    }
    if let Some(late) = counts.get(LATE_STOPS) {
        sum.broken += late;
    }
    let mut counts: Vec<_> = counts.into_iter().collect();
    counts.sort_unstable();
    let counts: Vec<String> = counts.into_iter().map(|(fault, count)| format!("{count} {fault}")).collect();
    sum.notes.push(format!("{rounds} rounds: {}", counts.join(", ")));
    sum
}

/// A far side that takes events, and now and then does not.
fn webhook(seed: u64) -> (Far, Arc<Mutex<HashMap<String, u64>>>) {
    let taken: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
    let (requests, shared) = (AtomicU64::new(seed), Arc::clone(&taken));
    let far =
        Far::new(move |received: &Received| match Dice::new(requests.fetch_add(1, Ordering::Relaxed)).roll() % 12 {
            0 => Act::status(500),
            1 => Act::Reset,
            2 => Act::Reply(429, vec![("retry-after", "0".to_owned())], Vec::new()),
            3 => Act::Broken,
            _ => {
                let events: Vec<serde_json::Value> = serde_json::from_slice(&received.body).unwrap_or_default();
                let mut taken = shared.lock().expect("nobody panics with it");
                for event in &events {
                    *taken.entry(event["messageId"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
                }
                Act::status(200)
            }
        });
    (far, taken)
}

fn workspace(far: &Far) -> Workspace {
    let workspace = Workspace::new();
    let manifest = json!({
        "name": "courier", "kind": "destination",
        "settings": {"type": "object", "required": ["endpoint"], "properties": {
            "endpoint": {"type": "string"}, "per_request": {"type": "integer"},
            "key": {"type": "string", "secret": true}}},
        "hosts": ["{{settings.endpoint}}"],
        "batch": {"events_max": 200, "age_max": "20 ms"},
        "traffic": {"timeout": "2 s"},
        "retry": {"age_max": "60 min", "pause_min": "10 ms", "pause_max": "200 ms"},
    });
    let component = guests::destination("hostile/destination", &manifest);
    std::fs::write(workspace.path().join("courier.wasm"), component).expect("a file");
    let origin = far.origin();
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: courier.wasm\nsettings:\n  endpoint: {origin}\n  per_request: 50\n  key: k\n\
             allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"
        ),
    );
    workspace.write("syncs/web-to-crm.yaml", "source: web\ndestination: crm\n");
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 4 MiB}\ndedup: {entries_max: 400000}\n");
    workspace
}

fn round(seed: u64, length: Duration, counts: &mut HashMap<&'static str, u64>) -> Found {
    let mut dice = Dice::new(seed);
    let (far, taken) = webhook(seed);
    let workspace = workspace(&far);
    let ledger = Arc::new(Ledger::new(seed, 4));
    let mut load = Load::start(Arc::clone(&ledger), &workspace.write_key, RATE);
    let until = Instant::now() + length;
    let mut server: Option<ServerProcess> = None;
    let mut failed_starts = 0;
    while Instant::now() < until {
        if server.as_mut().is_none_or(ServerProcess::has_ended) {
            let life = LIVES[dice.between(0, LIVES.len() as u64) as usize];
            server = match ServerProcess::start(&workspace.path(), life) {
                Ok(server) => Some(server),
                Err(said) if life.is_empty() => {
                    failed_starts += 1;
                    if failed_starts > 3 {
                        let notes = vec![format!("seed {seed}: the server does not start any more: {said}")];
                        return Found { acked: ledger.acked(), lost: ledger.acked(), notes, ..Found::default() };
                    }
                    None
                }
                // A fail point of start-up work is a death like any other.
                Err(_) => None,
            };
            *counts.entry("lives").or_default() += 1;
        }
        let Some(running) = server.take() else { continue };
        load.turn_to(&running.address);
        pass(dice.millis(200, 2500));
        let (fault, left) = fault(&mut dice, running, &workspace);
        *counts.entry(fault).or_default() += 1;
        server = left;
    }
    drop(server);
    let mut found = finish(workspace, &mut load);
    judge_webhook(&ledger, &taken, &mut found);
    found
}

/// Does one bad thing; answers its name and the server, if it is still there.
fn fault(dice: &mut Dice, server: ServerProcess, workspace: &Workspace) -> (&'static str, Option<ServerProcess>) {
    match dice.between(0, 10) {
        0..3 => {
            server.kill();
            ("kills", None)
        }
        3 => {
            let ended = server.stop(Duration::from_secs(12)).is_some();
            (if ended { "stops" } else { LATE_STOPS }, None)
        }
        4 | 5 => {
            server.signal("STOP");
            pass(dice.millis(100, 3000));
            server.signal("CONT");
            ("freezes", Some(server))
        }
        6 => {
            // Another program holds the warehouse's lock, as an analyst's tool may.
            let path = workspace.data().join("warehouse.db");
            if let Ok(connection) = Connection::open(path) {
                let _ = connection.execute_batch("BEGIN IMMEDIATE");
                pass(dice.millis(200, 4000));
                let _ = connection.execute_batch("ROLLBACK");
            }
            ("locked warehouses", Some(server))
        }
        7 => {
            let until = Instant::now() + dice.millis(300, 2000);
            let burning: Vec<_> = (0..8)
                .map(|_| {
                    std::thread::spawn(move || {
                        while Instant::now() < until {
                            std::hint::spin_loop();
                        }
                    })
                })
                .collect();
            for thread in burning {
                let _ = thread.join();
            }
            ("starved cores", Some(server))
        }
        _ => ("quiet spells", Some(server)),
    }
}

/// Lets the clients end against a whole server, drains it, and holds the tables against the ledger.
pub fn finish(workspace: Workspace, load: &mut Load) -> Found {
    let whole = |workspace: &Workspace| ServerProcess::start(&workspace.path(), "");
    let server = match whole(&workspace) {
        Ok(server) => server,
        Err(said) => {
            let notes = vec![format!("the server did not start at the end: {said}")];
            return Found { acked: load.ledger.acked(), lost: load.ledger.acked(), notes, ..Found::default() };
        }
    };
    load.turn_to(&server.address);
    load.stop();
    let drained = drain(&workspace);
    let ended = server.stop(Duration::from_secs(30));
    let mut found = load.ledger.judge(&workspace.data().join("warehouse.db"));
    found.notes.push(format!("{} requests were sent again", load.retries.load(Ordering::Relaxed)));
    if !drained {
        found.broken += 1;
        found.notes.push(format!("not everything was delivered in the end: {}", workspace.status()));
    }
    if !ended.is_some_and(|status| status.success()) {
        found.broken += 1;
        found.notes.push(format!("the last stop ended with {ended:?}"));
    }
    conserves(&workspace, &mut found);
    let log = std::fs::read(log_file(&workspace.path())).unwrap_or_default();
    if let Some(line) = String::from_utf8_lossy(&log).lines().find(|line| line.contains("panicked")) {
        found.broken += 1;
        found.notes.push(format!("a server panicked: {line}"));
    }
    let quarantined = workspace.quarantined();
    if !quarantined.is_empty() {
        found.altered += quarantined.len() as u64;
        let first = quarantined.first().cloned().unwrap_or_default();
        found.notes.push(format!("{} good events are in quarantine, the first as {first}", quarantined.len()));
    }
    if !found.is_clean() {
        let kept = workspace.dir.keep();
        found.notes.push(format!("kept: {} (its log: {})", kept.display(), log_file(&kept.join("w")).display()));
    }
    found
}

/// Holds what was accepted against what became of it, by the command itself.
pub fn conserves(workspace: &Workspace, found: &mut Found) {
    let (code, report) = workspace.conservation(&[]);
    if code != 0 {
        found.broken += 1;
        found.notes.push(format!("events are not accounted for (exit code {code}): {report}"));
    }
}

/// Waits until no sync lags and nothing is pending.
fn drain(workspace: &Workspace) -> bool {
    let patience = Instant::now() + Duration::from_secs(180);
    while Instant::now() < patience {
        let status = workspace.status();
        let syncs = status["syncs"].as_object().cloned().unwrap_or_default();
        if syncs.values().all(|sync| sync["lag"] == 0 && (sync["pending"].is_null() || sync["pending"] == 0)) {
            return true;
        }
        pass(Duration::from_millis(100));
    }
    false
}

/// A webhook gets each event at least once; more than once only because an answer was lost.
fn judge_webhook(ledger: &Ledger, taken: &Mutex<HashMap<String, u64>>, found: &mut Found) {
    let taken = taken.lock().expect("nobody panics with it");
    let mut lost = 0;
    for (client, numbers) in ledger.each() {
        lost += numbers.iter().filter(|n| !taken.contains_key(&ledger.id(client, **n))).count() as u64;
    }
    let again: u64 = taken.values().map(|count| count - 1).sum();
    found.lost += lost;
    if lost > 0 {
        found.notes.push(format!("the webhook lacks {lost} events"));
    }
    let strange = taken.keys().filter(|id| ledger.place(id).is_none()).count() as u64;
    found.altered += strange;
    if again * 20 > found.acked {
        found.notes.push(format!("the webhook got {again} events again"));
    }
}

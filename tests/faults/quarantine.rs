//! Many quarantined events are retried once their contract is mended, while others arrive, and the server is killed in the middle of it: each is in
//! the table once, and so is each that arrived meanwhile.

use std::sync::Arc;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control::Control;
use crate::filled::{asked, broken, ended, fill, is_drained, kept, machine, patience, stopped, until};
use crate::ledger::Ledger;
use crate::load::Load;
use crate::server::ServerProcess;
use crate::support::Workspace;
use crate::{Found, Plan, pass};

const LIVE_KEY: &str = "fedcba9876543210fedcba9876543210";
const JOB: &str = "/api/v1/quarantine/jobs";
/// Parts of the job after each of which the server is killed, of so many.
const KILLS: u64 = 2;
/// Events a second that arrive meanwhile.
const LIVE_RATE: u64 = 3_000;

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    workspace.write("events/domains/shop/domain.yaml", "name: Shop\nonUndeclaredSchema: ALLOW_EVENT\nsources: [web]\n");
    workspace.write("events/domains/shop/strict.yaml", &rule("integer"));
    // What arrives meanwhile has a warehouse of its own, so that a ledger is held against its tables.
    workspace.write("sources/live.yaml", &format!("kind: http\nwrite_key: {LIVE_KEY}\n"));
    workspace.write("destinations/live.yaml", "kind: sqlite\npath: data/live.db\n");
    workspace.write("syncs/live.yaml", "source: live\ndestination: live\n");
    workspace.append("tidegate.yaml", "\nquarantine: {bytes: 8 GiB}\n");
    let ledger = Arc::new(Ledger::new(plan.seed, 4));
    let mut story = RetryStory {
        control: Control::new(&workspace),
        load: Load::start(Arc::clone(&ledger), LIVE_KEY, LIVE_RATE),
        events: plan.quarantined,
        workspace,
        found: Found::default(),
    };
    // Until there is something to retry nothing arrives.
    story.load.rest(true);
    let ended = story.go();
    let RetryStory { workspace, mut load, mut found, events, .. } = story;
    match ended {
        Ok(server) => stopped(server, &workspace, &mut found),
        Err(said) => {
            broken(&mut found, said);
            load.stop();
        }
    }
    judge_retried(&workspace, events, &mut found);
    let live = ledger.judge(&workspace.data().join("live.db"));
    found.acked = events + live.acked;
    found.lost += live.lost;
    found.double += live.double;
    found.altered += live.altered;
    found.notes.extend(live.notes);
    kept(workspace, &mut found);
    found
}

struct RetryStory {
    workspace: Workspace,
    control: Control,
    load: Load,
    events: u64,
    found: Found,
}

impl RetryStory {
    /// Everything up to the end of the job and of what arrived; answers the server that runs then.
    fn go(&mut self) -> Result<ServerProcess, String> {
        let (events, patience) = (self.events, patience(self.events));
        let server = self.start()?;
        let began = Instant::now();
        fill((&server.address, &self.workspace.write_key), events, &strict)?;
        let is_in = |status: &Value| status["quarantine"]["events"] == events;
        until(&self.workspace, ("all are in quarantine", patience), is_in)?;
        let quarantined = began.elapsed();
        self.workspace.write("events/domains/shop/strict.yaml", &rule("string"));
        asked(&self.control, ("POST", "/admin/reload"), &json!({}))?;
        self.load.turn_to(&server.address);
        self.load.rest(false);
        // Slow enough that it is killed in the middle.
        let order = json!({"entries": {"all": true}, "rate": (events / 10).clamp(50, 100_000)});
        let job = asked(&self.control, ("POST", "/api/v1/quarantine/retry"), &order)?;
        let (job, began) = (format!("{JOB}/{}", job["id"]), Instant::now());
        let mut server = Some(server);
        for part in 1..=KILLS {
            self.until_sent(&job, events * part / (KILLS + 1))?;
            if let Some(server) = server.take() {
                server.kill();
            }
            server = Some(self.start()?);
        }
        let done = ended(&self.control, &job, patience)?;
        let is_out = |status: &Value| status["quarantine"]["events"] == 0;
        until(&self.workspace, ("all have left the quarantine", patience), is_out)?;
        let retried = began.elapsed();
        self.load.stop();
        until(&self.workspace, ("everything is delivered", patience), is_drained)?;
        if done["state"] != "done" || done["matched"] != events {
            broken(&mut self.found, format!("the job has not done its work: {done}"));
        }
        self.found.notes.push(format!(
            "{}; {events} quarantined in {:.1} s, retried in {:.1} s with {KILLS} kills while about {LIVE_RATE} a second arrived",
            machine(),
            quarantined.as_secs_f64(),
            retried.as_secs_f64()
        ));
        server.ok_or_else(|| "there is no server".to_owned())
    }

    fn start(&mut self) -> Result<ServerProcess, String> {
        let server = ServerProcess::start(&self.workspace.path(), "")?;
        self.control.address.clone_from(&server.admin);
        self.load.turn_to(&server.address);
        Ok(server)
    }

    /// Waits until the job has sent so many, and says so when it has ended by then.
    fn until_sent(&mut self, job: &str, events: u64) -> Result<(), String> {
        let deadline = Instant::now() + patience(self.events);
        loop {
            let now = asked(&self.control, ("GET", job), &Value::Null)?;
            if now["state"] != "running" {
                broken(&mut self.found, format!("the job was over before the server was killed: {now}"));
                return Ok(());
            }
            if now["sent"].as_u64().is_some_and(|sent| sent >= events) {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the job sends nothing more: {now}"));
            }
            pass(Duration::from_millis(20));
        }
    }
}

/// The contract of an event whose `n` has this type; what is otherwise is quarantined.
fn rule(kind: &str) -> String {
    format!(
        "type: track\nname: Strict\nonSchemaViolation: BLOCK_EVENT\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      type: object\n      properties:\n        n: {{ type: {kind} }}\n"
    )
}

fn strict(n: u64) -> Value {
    json!({"type": "track", "event": "Strict", "messageId": format!("s{n}"), "userId": format!("u{}", n % 997),
        "properties": {"n": format!("text of s{n}")}})
}

/// Each retried event is one row of its own table and one of `tracks`.
fn judge_retried(workspace: &Workspace, events: u64, found: &mut Found) {
    let warehouse = workspace.warehouse();
    for table in ["strict", "tracks"] {
        if !warehouse.has(table) {
            found.lost += events;
            found.notes.push(format!("there is no table {table}"));
            continue;
        }
        let told = warehouse.rows(&format!("SELECT count(*), count(DISTINCT id) FROM {table}"));
        let mut numbers = told[0].split('|').filter_map(|number| number.parse::<u64>().ok());
        let (rows, ids) = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
        found.double += rows - ids;
        found.lost += events.saturating_sub(ids);
        if ids != events {
            found.notes.push(format!("{table} has {ids} of {events} events"));
        }
        found.altered += ids.saturating_sub(events);
    }
    if warehouse.has("strict") {
        let altered = warehouse.rows("SELECT count(*) FROM strict WHERE n IS NULL OR n <> 'text of ' || id");
        found.altered += altered[0].parse::<u64>().unwrap_or(1);
    }
}

//! The whole log goes once more to each kind of warehouse, twice: what knows events by their ids is the same afterwards to the last cell, a lake has
//! each row as often as it was told to store it, and a tool gets each event once more.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use serde_json::{Value, json};

use crate::control::Control;
use crate::filled::{asked, broken, ended, fill, is_drained, kept, machine, patience, stopped, until};
use crate::fingerprints::{self, Fingerprints, difference};
use crate::ledger::said;
use crate::postgres_server::Server;
use crate::server::ServerProcess;
use crate::support::far::{Act, Far, Received};
use crate::support::{Workspace, guests};
use crate::{Found, Plan, clickhouse_rig, lake_reader};

/// The database of PostgreSQL, and that of ClickHouse.
const DATABASE: &str = "replayed";
/// How often everything is replayed to each place.
const REPLAYS: u64 = 2;
const SQLITE: &str = "web-to-warehouse";
const TOOL: &str = "to-crm";

pub fn run(plan: &Plan) -> Found {
    let mut story = ReplayStory::new(plan);
    match story.go() {
        Ok(server) => {
            let ReplayStory { workspace, found, .. } = &mut story;
            stopped(server, workspace, found);
        }
        Err(said) => broken(&mut story.found, said),
    }
    let ReplayStory { workspace, mut found, .. } = story;
    kept(workspace, &mut found);
    found
}

/// Where a sync delivers.
enum ReplayedPlace {
    Sqlite,
    Postgres(&'static Server),
    ClickHouse,
    /// Stores again what is sent again.
    Lake,
}

impl ReplayedPlace {
    fn fingerprints(&self, workspace: &Workspace) -> Result<Fingerprints, String> {
        match self {
            Self::Sqlite => fingerprints::sqlite(&workspace.data().join("warehouse.db"), None),
            Self::Postgres(server) => fingerprints::postgres(server, DATABASE),
            Self::ClickHouse => fingerprints::clickhouse(DATABASE),
            Self::Lake => fingerprints::lake(&workspace.path().join("lake")),
        }
    }
}

struct ReplayStory {
    workspace: Workspace,
    control: Control,
    /// Each with its sync.
    places: Vec<(&'static str, ReplayedPlace)>,
    /// How often the tool got each event.
    taken: Arc<Mutex<HashMap<String, u64>>>,
    _far: Far,
    events: u64,
    seed: u64,
    found: Found,
}

impl ReplayStory {
    fn new(plan: &Plan) -> Self {
        let workspace = Workspace::new();
        let taken: Arc<Mutex<HashMap<String, u64>>> = Arc::default();
        let shared = Arc::clone(&taken);
        let far = Far::forgetful(move |received: &Received| {
            let events: Vec<Value> = serde_json::from_slice(&received.body).unwrap_or_default();
            let mut taken = shared.lock().expect("nobody panics with it");
            for event in &events {
                *taken.entry(event["messageId"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
            }
            Act::status(200)
        });
        send_to_tool(&workspace, &far);
        let control = Control::new(&workspace);
        let mut story = Self {
            workspace,
            control,
            places: vec![(SQLITE, ReplayedPlace::Sqlite)],
            taken,
            _far: far,
            events: plan.replayed,
            seed: plan.seed,
            found: Found::default(),
        };
        story.further_places();
        story
    }

    /// Warehouses that this machine may have.
    fn further_places(&mut self) {
        match Server::shared() {
            Ok(server) => {
                server.psql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER router TEMPLATE template0"));
                let (folder, port) = (server.folder.display(), server.port);
                let yaml = format!(
                    "kind: postgres\nhost: {folder}\nport: {port}\nuser: router\npassword: p@ss\ndbname: {DATABASE}\n"
                );
                self.place(("to-postgres", ReplayedPlace::Postgres(server)), &yaml);
            }
            Err(lack) => self.lacks("PostgreSQL", &lack),
        }
        match clickhouse_rig::engine() {
            Ok(engine) => {
                let (port, user, password) = (engine.port, clickhouse_rig::USER, clickhouse_rig::PASSWORD);
                let yaml = format!(
                    "kind: clickhouse\nurl: http://127.0.0.1:{port}\nuser: {user}\npassword: {password:?}\ndatabase: {DATABASE}\n"
                );
                self.place(("to-clickhouse", ReplayedPlace::ClickHouse), &yaml);
            }
            Err(lack) => self.lacks("ClickHouse", &lack),
        }
        match lake_reader::ready() {
            Ok(()) => {
                let folder = self.workspace.path().join("lake");
                std::fs::create_dir_all(&folder).expect("a folder");
                let yaml = format!("kind: lake\nurl: {}\n", folder.display());
                self.place(("to-lake", ReplayedPlace::Lake), &yaml);
            }
            Err(lack) => self.lacks("a lake", &lack),
        }
    }

    fn place(&mut self, (sync, place): (&'static str, ReplayedPlace), destination: &str) {
        self.workspace.write(&format!("destinations/{sync}.yaml"), destination);
        self.workspace.write(
            &format!("syncs/{sync}.yaml"),
            &format!("source: web\ndestination: {sync}\nbatch: {{age_max: 1 s}}\n"),
        );
        self.places.push((sync, place));
    }

    fn lacks(&mut self, what: &str, lack: &str) {
        tidegate_warehouse_suite::skipped(&format!("faults: replay: {what}"), lack);
        self.found.notes.push(format!("skipped: {what}: {}", lack.lines().next().unwrap_or_default()));
    }

    fn go(&mut self) -> Result<ServerProcess, String> {
        let (events, patience, seed) = (self.events, patience(6 * self.events), self.seed);
        let server = ServerProcess::start(&self.workspace.path(), "")?;
        self.control.address.clone_from(&server.admin);
        let began = Instant::now();
        fill((&server.address, &self.workspace.write_key), events, &|n| bought(seed, n))?;
        // What has delivered nothing yet is not told of.
        let places = self.places.len() + 1;
        let is_there = |status: &Value| status["syncs"].as_object().is_some_and(|syncs| syncs.len() == places);
        until(&self.workspace, ("everything is delivered", patience), |status| is_there(status) && is_drained(status))?;
        self.found.acked = events;
        self.found.notes.push(format!(
            "{}; {events} events to {} places in {:.1} s",
            machine(),
            self.places.len() + 1,
            began.elapsed().as_secs_f64()
        ));
        for (sync, place) in std::mem::take(&mut self.places) {
            self.replayed_to(sync, &place)?;
        }
        self.replayed_to_tool()?;
        Ok(server)
    }

    fn replayed_to(&mut self, sync: &str, place: &ReplayedPlace) -> Result<(), String> {
        let before = place.fingerprints(&self.workspace)?;
        let rows: u64 = before.values().map(|table| table.rows).sum();
        if rows != 2 * self.events {
            self.found.lost += (2 * self.events).saturating_sub(rows);
            broken(&mut self.found, format!("{sync}: {rows} rows before a replay, of two an event: {before:?}"));
        }
        let is_lake = matches!(place, ReplayedPlace::Lake);
        if is_lake {
            let order = json!({"sync": sync, "from": "beginning"});
            let refused = self.control.ask("POST", "/api/v1/replays", &order)?;
            if refused.body["code"] != "would-double" {
                broken(&mut self.found, format!("{sync}: a replay is not refused: {}", refused.body));
            }
        }
        for replay in 1..=REPLAYS {
            let took = self.replay(sync, is_lake)?;
            let wanted = if is_lake { fingerprints::times(&before, 1 + replay)? } else { before.clone() };
            let after = place.fingerprints(&self.workspace)?;
            if let Some(difference) = difference(&wanted, &after) {
                self.found.altered += 1;
                self.found.notes.push(format!("{sync}: replay {replay} has changed something: {difference}"));
            }
            self.found
                .notes
                .push(format!("{sync}: replay {replay} took {took:.1} s, {:.0} events/s", self.events as f64 / took));
        }
        Ok(())
    }

    fn replayed_to_tool(&mut self) -> Result<(), String> {
        for replay in 0..=REPLAYS {
            if replay > 0 {
                let took = self.replay(TOOL, false)?;
                self.found.notes.push(format!(
                    "{TOOL}: replay {replay} took {took:.1} s, {:.0} events/s",
                    self.events as f64 / took
                ));
            }
            let taken = self.taken.lock().expect("nobody panics with it");
            let wanted = |n: u64| taken.get(&id(self.seed, n)).copied().unwrap_or(0);
            let (mut lost, mut double) = (0, 0);
            for n in 0..self.events {
                lost += (1 + replay).saturating_sub(wanted(n));
                double += wanted(n).saturating_sub(1 + replay);
            }
            let others = (taken.len() as u64).saturating_sub(self.events);
            drop(taken);
            self.found.lost += lost;
            self.found.double += double;
            self.found.altered += others;
            if lost + double + others > 0 {
                let note =
                    format!("{TOOL}: after {replay} replays {lost} lack, {double} are too many, {others} are others");
                self.found.notes.push(note);
            }
        }
        Ok(())
    }

    /// Replays everything; answers how many seconds that took.
    fn replay(&mut self, sync: &str, allow_doubles: bool) -> Result<f64, String> {
        let began = Instant::now();
        let order = json!({"sync": sync, "from": "beginning", "allow_doubles": allow_doubles});
        let begun = asked(&self.control, ("POST", "/api/v1/replays"), &order)?;
        let path = format!("/api/v1/replays/{}", begun["id"]);
        let replay = ended(&self.control, &path, patience(self.events))?;
        let count = |name: &str| replay["report"]["counts"][name].as_u64().unwrap_or(0);
        let settled: u64 = ["delivered", "refused", "skipped", "pending", "abandoned"].map(count).iter().sum();
        let came_through = [count("came"), count("sent"), count("delivered"), settled];
        if replay["state"] != "done" || came_through != [self.events; 4] {
            broken(&mut self.found, format!("{sync}: a replay has not done its work: {replay}"));
        }
        Ok(began.elapsed().as_secs_f64())
    }
}

fn id(seed: u64, n: u64) -> String {
    format!("r{seed:x}-{n}")
}

fn bought(seed: u64, n: u64) -> Value {
    json!({"type": "track", "event": "Bought", "messageId": id(seed, n), "userId": format!("u{}", n % 997),
        "properties": {"n": n, "total": n as f64 / 4.0, "at": "2026-01-02T03:04:05.000Z", "note": said(0, n)}})
}

/// A sync into a plugin that sends to the far side.
fn send_to_tool(workspace: &Workspace, far: &Far) {
    let manifest = json!({
        "name": "courier", "kind": "destination",
        "settings": {"type": "object", "required": ["endpoint"], "properties": {
            "endpoint": {"type": "string"}, "per_request": {"type": "integer"},
            "key": {"type": "string", "secret": true}}},
        "hosts": ["{{settings.endpoint}}"],
        "batch": {"events_max": 500, "age_max": "20 ms"},
        "traffic": {"timeout": "60 s"},
        "retry": {"age_max": "60 min", "pause_min": "10 ms", "pause_max": "200 ms"},
    });
    let component = guests::destination("hostile/destination", &manifest);
    std::fs::write(workspace.path().join("courier.wasm"), component).expect("a file");
    let origin = far.origin();
    workspace.write(
        "destinations/crm.yaml",
        &format!(
            "kind: plugin\ncomponent: courier.wasm\nsettings:\n  endpoint: {origin}\n  per_request: 100\n  key: k\n\
             allow_hosts: [\"{origin}\"]\nallow_private_hosts: [127.0.0.1]\n"
        ),
    );
    workspace.write(&format!("syncs/{TOOL}.yaml"), "source: web\ndestination: crm\nstart: beginning\n");
}

//! Changes of every kind, one after the other, under a steady load and kills: whatever is changed, every event that was answered for
//! is in the tables of the syncs that were there all along exactly once, as the contract of the revision that judged it says.
//!
//! The log, `state.db` and the tables are held against one another after the last stop.

mod change_kind;
mod changing;
mod contract_variant;
mod elsewhere;
mod logged;
mod passing;
mod scene;
mod tables;

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control::{Control, words};
use crate::ledger::Ledger;
use crate::load::Load;
use crate::postgres_server::Server;
use crate::server::{ServerProcess, log_file};
use crate::soak::conserves;
use crate::support::far::{Act, Far, Received};
use crate::support::guests;
use crate::support::held::HeldByProcess;
use crate::{Dice, Found, Plan, pass};
use change_kind::{KINDS, schedule};
use changing::{Changing, Clients};
use contract_variant::{ContractVariant, MARKED};
use logged::LoggedEvents;
use scene::{APP_KEY, CONTRACT_OF_APP, CONTRACT_OF_WEB, Scene};
use tables::{SqlitePlace, StampsSeen, judge_log, judge_postgres, judge_sqlite};

/// What is in the story's database of PostgreSQL.
const DATABASE: &str = "changes";

/// How much the far side got of each event, by id.
type TakenEvents = Arc<Mutex<HashMap<String, u64>>>;

pub fn run(plan: &Plan) -> Found {
    let short = plan.length < Duration::from_secs(60);
    let (rate, kills) = if short { (2_000, 1) } else { (20_000, 10) };
    let (far, taken, far_is_down) = far_side();
    let (postgres, lack) = match database() {
        Ok(server) => (Some(server), None),
        Err(lack) => (None, Some(lack)),
    };
    let scene = Scene::new(&far, postgres.map(destination));
    let ledgers = [0, 1].map(|number| {
        let clients = if number == 0 { 4 } else { 1 };
        let ledger = Ledger::new(plan.seed.wrapping_add(number), clients);
        Arc::new(ledger.with_properties(MARKED, ContractVariant::marks()))
    });
    let control = Control::new(&scene.workspace);
    let mut server = match ServerProcess::start(&scene.workspace.path(), "") {
        Ok(server) => server,
        Err(said) => return Found { lost: 1, notes: vec![said], ..Found::default() },
    };
    let clients = Clients {
        web: Load::start(Arc::clone(&ledgers[0]), &scene.workspace.write_key, rate),
        app: Load::start(Arc::clone(&ledgers[1]), APP_KEY, rate / 20),
    };
    let mut changing = Changing::new(scene, control, clients, far_is_down, plan.seed);
    turn_to(&mut changing, &server);
    changing.prepare(&[version("one"), version("two")]);
    let mut story = ChangeStory { plan, dice: Dice::new(plan.seed), found: Found::default(), measured: None };
    if let Some(lack) = lack {
        tidegate_warehouse_suite::skipped("faults: changes: a sync into PostgreSQL", &lack);
    }
    let ended = story.changes(&mut changing, &mut server, kills);
    let mut found = match ended {
        Ok(()) => story.end(&mut changing, server),
        Err(said) => {
            story.found.broken += 1;
            story.found.notes.push(said);
            drop(server);
            changing.clients.web.stop();
            changing.clients.app.stop();
            story.found
        }
    };
    changing.judge(&mut found);
    judge(&changing, &ledgers, (postgres, &*taken), &mut found);
    if !found.is_clean() {
        let kept = changing.scene.workspace.dir.keep();
        found.notes.push(format!("kept: {} (its log: {})", kept.display(), log_file(&kept.join("w")).display()));
    }
    found
}

/// A far side that takes everything, until it is told to be down.
fn far_side() -> (Far, TakenEvents, Arc<AtomicBool>) {
    let (taken, is_down): (TakenEvents, Arc<AtomicBool>) = (Arc::default(), Arc::default());
    let (shared, down) = (Arc::clone(&taken), Arc::clone(&is_down));
    let far = Far::new(move |received: &Received| {
        if down.load(Ordering::Relaxed) {
            return Act::Reset;
        }
        let events: Vec<Value> = serde_json::from_slice(&received.body).unwrap_or_default();
        let mut taken = shared.lock().expect("nobody panics with it");
        for event in &events {
            *taken.entry(event["messageId"].as_str().unwrap_or_default().to_owned()).or_default() += 1;
        }
        Act::status(200)
    });
    (far, taken, is_down)
}

/// The shared server of PostgreSQL with a database of its own, or what this machine lacks.
fn database() -> Result<&'static Server, String> {
    let server = Server::shared()?;
    server.psql("postgres", &format!("CREATE DATABASE {DATABASE} OWNER router TEMPLATE template0"));
    Ok(server)
}

fn destination(server: &Server) -> String {
    let (folder, port) = (server.folder.display(), server.port);
    format!("kind: postgres\nhost: {folder}\nport: {port}\nuser: router\npassword: p@ss\ndbname: {DATABASE}\n")
}

/// A version of the function `stamp`; its settings say what it stamps.
fn version(note: &str) -> Vec<u8> {
    let manifest = json!({
        "name": "stamp", "kind": "fields", "description": note,
        "settings": {"type": "object", "properties": {"stamp": {"type": "string"}}},
    });
    let component = std::fs::read(guests::component("hostile/stamp")).expect("a component");
    tidegate_plugin::embed(&component, &manifest, &[])
}

fn turn_to(changing: &mut Changing, server: &ServerProcess) {
    changing.control.address.clone_from(&server.admin);
    changing.address.clone_from(&server.address);
    changing.clients.web.turn_to(&server.address);
    changing.clients.app.turn_to(&server.address);
}

/// Threads and files by which a server may differ between two times at which nothing waits: those that come and go by themselves, as
/// threads for files, connections that are kept for the next request, files of the index that recognises retries. They do not grow with
/// the number of changes.
const HELD_MORE: HeldByProcess = HeldByProcess { threads: 8, files: 24 };

struct ChangeStory<'a> {
    plan: &'a Plan,
    dice: Dice,
    found: Found,
    /// What the process held that was not killed any more, and how many changes it has seen since.
    measured: Option<(HeldByProcess, usize)>,
}

impl ChangeStory<'_> {
    /// All changes, and the kills between them.
    fn changes(&mut self, changing: &mut Changing, server: &mut ServerProcess, kills: usize) -> Result<(), String> {
        let count = self.plan.changes.max(KINDS.len());
        let schedule = schedule(&mut self.dice, count);
        // The last life is long enough to tell whether something grows with the changes.
        let last_kill = count * 2 / 5;
        let kill_at: Vec<usize> = (1..=kills).map(|kill| kill * last_kill / kills).collect();
        for (number, kind) in schedule.into_iter().enumerate() {
            changing.change(kind);
            if server.has_ended() {
                return Err(format!("the server ended by itself at change {number}, {kind:?}"));
            }
            if kill_at.contains(&number) {
                self.kill(changing, server)?;
                if number == last_kill {
                    changing.calm();
                    let held = self.at_rest(changing, server);
                    self.measured = Some((held, count - number));
                    changing.clients.web.rest(false);
                    changing.clients.app.rest(false);
                }
            }
            let short = self.plan.length < Duration::from_secs(60);
            pass(if short { self.dice.millis(10, 60) } else { self.dice.millis(50, 400) });
        }
        self.found.notes.push(format!("{count} changes, {kills} kills"));
        Ok(())
    }

    /// Ends the server in the middle of a change, and starts it again.
    fn kill(&mut self, changing: &mut Changing, server: &mut ServerProcess) -> Result<(), String> {
        let asking = changing.cut_off();
        pass(self.dice.millis(0, 250));
        server.kill_at_once();
        asking.join().map_err(|_| "who asked panicked".to_owned())?;
        let path = changing.scene.workspace.path();
        *server =
            ServerProcess::start(&path, "").map_err(|said| format!("the server does not start any more: {said}"))?;
        turn_to(changing, server);
        Ok(())
    }

    /// What the process holds when the clients rest and everything is delivered: a sync that drains under a load has a thread, and files,
    /// for as long as it lags.
    fn at_rest(&mut self, changing: &Changing, server: &ServerProcess) -> HeldByProcess {
        changing.clients.web.rest(true);
        changing.clients.app.rest(true);
        self.drain(changing);
        let patience = Instant::now() + Duration::from_secs(120);
        while Instant::now() < patience {
            let status = changing.scene.workspace.status();
            if status["configuration"]["objects"] == json!([]) && status["endings"]["ending"] == json!({}) {
                // Threads for files end ten seconds after their work.
                pass(Duration::from_secs(11));
                return server.held();
            }
            pass(Duration::from_millis(100));
        }
        self.found.broken += 1;
        let status = changing.scene.workspace.status();
        let (configuration, endings) = (&status["configuration"], &status["endings"]["ending"]);
        self.found.notes.push(format!(
            "after two minutes not everything runs as it is wanted, or has not ended: {configuration}, {endings}"
        ));
        server.held()
    }

    /// Everything is mended, the clients end, what waits is delivered, and the server stops.
    fn end(mut self, changing: &mut Changing, server: ServerProcess) -> Found {
        changing.calm();
        let held = self.at_rest(changing, &server);
        if let Some((before, changes)) = self.measured {
            self.judge_held(before, held, changes);
        }
        changing.clients.web.stop();
        changing.clients.app.stop();
        let unknown =
            [&changing.clients.web, &changing.clients.app].map(|load| load.unknown_keys.load(Ordering::Relaxed));
        if unknown != [0, 0] {
            self.found.broken += 1;
            self.found
                .notes
                .push(format!("{unknown:?} requests were answered with 401 although their clients moved in time"));
        }
        self.found.notes.push(format!(
            "{} requests were sent again",
            changing.clients.web.retries.load(Ordering::Relaxed) + changing.clients.app.retries.load(Ordering::Relaxed)
        ));
        self.drain(changing);
        let verified = changing.control.command(&["audit", "verify"]);
        if !verified.status.success() {
            self.found.broken += 1;
            self.found.notes.push(format!("the audit log is not whole: {}", words(&verified)));
        }
        let ended = server.stop(Duration::from_secs(60));
        if !ended.is_some_and(|status| status.success()) {
            self.found.broken += 1;
            self.found.notes.push(format!("the last stop ended with {ended:?}"));
        }
        conserves(&changing.scene.workspace, &mut self.found);
        let log = std::fs::read(log_file(&changing.scene.workspace.path())).unwrap_or_default();
        if let Some(line) = String::from_utf8_lossy(&log).lines().find(|line| line.contains("panicked")) {
            self.found.broken += 1;
            self.found.notes.push(format!("a server panicked: {line}"));
        }
        self.found
    }

    /// Threads and files must not grow with the changes.
    fn judge_held(&mut self, before: HeldByProcess, after: HeldByProcess, changes: usize) {
        self.found.notes.push(format!("{before:?} became {after:?} with {changes} changes"));
        let HeldByProcess { threads, files } = HELD_MORE;
        let counts =
            [("threads", before.threads + threads, after.threads), ("files", before.files + files, after.files)];
        for (what, most, after) in counts {
            if after > most {
                self.found.broken += 1;
                self.found.notes.push(format!("{what} grow with the changes"));
            }
        }
    }

    /// Waits until nothing waits any more.
    fn drain(&mut self, changing: &Changing) {
        let patience = Instant::now() + self.plan.length.max(Duration::from_secs(300));
        while Instant::now() < patience {
            let status = changing.scene.workspace.status();
            let syncs = status["syncs"].as_object().cloned().unwrap_or_default();
            let is_through = |sync: &Value| sync["lag"] == 0 && (sync["pending"].is_null() || sync["pending"] == 0);
            if syncs.values().all(is_through) {
                return;
            }
            pass(Duration::from_millis(100));
        }
        self.found.broken += 1;
        let status = changing.scene.workspace.status();
        self.found.notes.push(format!("not everything was delivered in the end: {status}"));
    }
}

/// Log, state and tables against one another.
fn judge(
    changing: &Changing,
    ledgers: &[Arc<Ledger>; 2],
    (postgres, taken): (Option<&Server>, &Mutex<HashMap<String, u64>>),
    found: &mut Found,
) {
    let data = changing.scene.workspace.data();
    let mut events = [LoggedEvents::new(&ledgers[0], CONTRACT_OF_WEB), LoggedEvents::new(&ledgers[1], CONTRACT_OF_APP)];
    logged::read(&data, &mut events, found);
    for events in &events {
        found.acked += events.ledger.acked();
        judge_log(events, found);
        found.notes.push(format!(
            "{}: {} revisions, {} events",
            events.contract,
            events.revisions,
            events.each().count()
        ));
        if events.revisions < 2 {
            found.broken += 1;
            found.notes.push("its contract was never in force: the changes did not reach what runs".to_owned());
        }
    }
    let [web, app] = &events;
    let (warehouse, second) = (data.join("warehouse.db"), data.join("second.db"));
    let mut stamps = StampsSeen::default();
    let first = SqlitePlace { sync: "web-to-warehouse", file: &warehouse, prefix: "" };
    judge_sqlite(web, &first, &mut stamps, found);
    judge_sqlite(web, &SqlitePlace { sync: "web-second", file: &second, prefix: "" }, &mut stamps, found);
    if let Some(server) = postgres {
        judge_postgres(web, (server, DATABASE), &mut stamps, found);
    }
    let of_app = SqlitePlace { sync: "app-second", file: &second, prefix: "app__" };
    judge_sqlite(app, &of_app, &mut StampsSeen::default(), found);
    changing.passing.judge(&data, found);
    judge_far(app, taken, found);
}

/// The far side gets each event that no contract blocked at least once.
fn judge_far(events: &LoggedEvents<'_>, taken: &Mutex<HashMap<String, u64>>, found: &mut Found) {
    let taken = taken.lock().expect("nobody panics with it");
    let ledger = events.ledger;
    let wanted = events.each().filter(|(_, _, end)| !end.is_blocked());
    let lost = wanted.filter(|(client, n, _)| !taken.contains_key(&ledger.id(*client, *n))).count();
    found.lost += lost as u64;
    if lost > 0 {
        found.notes.push(format!("the far side lacks {lost} events"));
    }
    let strange = taken.keys().filter(|id| ledger.place(id).is_none()).count();
    found.altered += strange as u64;
    let again: u64 = taken.values().map(|count| count - 1).sum();
    found.notes.push(format!("the far side got {} events, {again} of them again", taken.len()));
}

//! Makes the changes, one after the other, and notes what was answered to each.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::{Value, json};

use super::change_kind::ChangeKind;
use super::contract_variant::ContractVariant;
use super::elsewhere::ElsewhereFolder;
use super::passing::Passing;
use super::scene::{CONTRACT_OF_APP, Scene};
use crate::control::{Answered, Control, words};
use crate::load::Load;
use crate::{Dice, Found};

/// How the clients of a source are told where to go, and by which key.
pub struct Clients {
    pub web: Load,
    pub app: Load,
}

/// Whoever makes the changes.
pub struct Changing {
    pub scene: Scene,
    pub control: Control,
    pub clients: Clients,
    /// Of the door.
    pub address: String,
    pub passing: Passing,
    elsewhere: ElsewhereFolder,
    /// The far side of the destination plugin takes nothing.
    pub far_is_down: Arc<AtomicBool>,
    dice: Dice,
    /// How often each kind had its turn.
    turns: BTreeMap<ChangeKind, u64>,
    /// Versions of the function `stamp` in the store.
    versions: Vec<String>,
    /// Ids of objects that the API made, by kind and name.
    made: BTreeMap<String, String>,
    /// The name of the write key of `web` that the API made last, which clients show.
    api_key: Option<String>,
    /// What was paused: kind and name.
    paused: Vec<(&'static str, &'static str)>,
    /// How often each answer was given, by what was asked.
    answers: BTreeMap<String, u64>,
    unexpected: Vec<String>,
}

const DONE: [u16; 2] = [200, 201];
/// What takes longer goes on behind the answer.
const BEGUN: [u16; 2] = [200, 202];

impl Changing {
    pub fn new(scene: Scene, control: Control, clients: Clients, far_is_down: Arc<AtomicBool>, seed: u64) -> Self {
        Self {
            scene,
            control,
            clients,
            address: String::new(),
            passing: Passing::new(seed),
            elsewhere: ElsewhereFolder::default(),
            far_is_down,
            dice: Dice::new(seed ^ 0x6368_616e_6765),
            turns: BTreeMap::new(),
            versions: Vec::new(),
            made: BTreeMap::new(),
            api_key: None,
            paused: Vec::new(),
            answers: BTreeMap::new(),
            unexpected: Vec::new(),
        }
    }

    /// What is there before the first change: two versions of a function in the store, and a contract that the API makes.
    pub fn prepare(&mut self, versions: &[Vec<u8>]) {
        for version in versions {
            let sent = self.control.send("POST", "/admin/functions/stamp/versions", version);
            let build = self.expect("a version is sent", sent, &[202])["build"].as_str().unwrap_or_default().to_owned();
            let path = format!("/admin/builds/{build}?wait_ms=25000");
            for _ in 0..12 {
                let built = self.control.ask("GET", &path, &Value::Null);
                let built = self.expect("a build is asked for", built, &[200]);
                if let Some(sha256) = built["version"]["sha256"].as_str() {
                    self.versions.push(sha256.to_owned());
                    break;
                }
            }
        }
        self.make("domain", "domains/app/domain.yaml", json!({"name": "App", "sources": ["app"]}));
        self.make("event", CONTRACT_OF_APP, ContractVariant::default().document());
    }

    /// One step of a kind.
    pub fn change(&mut self, kind: ChangeKind) {
        let turn = self.turns.entry(kind).or_default();
        let step = *turn;
        *turn += 1;
        match kind {
            ChangeKind::ContractOfFolder => {
                self.scene.contract = ContractVariant::variant(self.dice.between(0, 8));
                self.commit(kind);
            }
            ChangeKind::ContractOfApi => {
                let document = ContractVariant::variant(self.dice.between(0, 8)).document();
                self.say("event", CONTRACT_OF_APP, document);
            }
            ChangeKind::FunctionOfFolder => {
                self.scene.stamp = [Some("a"), Some("b"), None][self.pick(3)];
                self.commit(kind);
            }
            ChangeKind::FunctionOfStore => self.function_of_store(step),
            ChangeKind::KeyOfFolder => self.key_of_folder(step),
            ChangeKind::KeyOfApi => self.key_of_api(step),
            ChangeKind::SyncPaused => self.pause(step, ("sync", "web-second")),
            ChangeKind::SourcePaused => self.pause(step, ("source", "app")),
            ChangeKind::WarehouseBroken => {
                self.scene.second_is_broken = !self.scene.second_is_broken;
                self.commit(kind);
            }
            ChangeKind::PluginBroken => {
                self.scene.crm_is_lost = !self.scene.crm_is_lost;
                self.commit(kind);
            }
            ChangeKind::PluginSettings => {
                self.scene.crm_per_request = self.dice.between(10, 100);
                self.commit(kind);
            }
            ChangeKind::SourcePasses | ChangeKind::SyncPasses => self.pass_by(kind),
            ChangeKind::LookupFile => {
                self.scene.lookup_entries = 1 + self.scene.lookup_entries % 50;
                self.commit(kind);
            }
            ChangeKind::RateLimits => {
                self.scene.rate = self.dice.between(40_000, 80_000);
                self.commit(kind);
            }
            ChangeKind::SyncBatches => {
                self.scene.events_max = self.dice.between(500, 5_000);
                self.commit(kind);
            }
            ChangeKind::ObjectOfApi => self.object_of_api(step),
            ChangeKind::SyncOfApi => self.sync_of_api(step),
            ChangeKind::FolderApplied => self.folder_applied(),
            ChangeKind::FolderWrong => self.folder_is_wrong(step),
        }
        if self.dice.between(0, 15) == 0 {
            self.far_is_down.fetch_xor(true, Ordering::Relaxed);
        }
    }

    fn pick(&mut self, of: u64) -> usize {
        usize::try_from(self.dice.between(0, of)).expect("a small number")
    }

    /// Writes the folder, and has it read again.
    fn commit(&mut self, kind: ChangeKind) {
        self.scene.write();
        self.reload(&format!("{kind:?}"), &json!({}), &[200]);
    }

    fn reload(&mut self, what: &str, endings: &Value, wanted: &[u16]) {
        let answer = self.control.ask("POST", "/admin/reload", endings);
        self.expect(what, answer, wanted);
    }

    /// Applies the folder that is elsewhere; `endings` are arguments.
    fn apply(&mut self, what: &str, endings: &[&str]) {
        let path = self.elsewhere.write(&self.scene.workspace);
        let Some(folder) = path.to_str() else { return };
        let output = self.control.command(&[&["apply", folder, "--prune"], endings].concat());
        let answer = format!("exit code {}", output.status.code().unwrap_or(-1));
        // 2: it is applied, and something does not run yet: a destination is broken just now.
        let is_done = matches!(output.status.code(), Some(0 | 2));
        self.note(what.to_owned(), &answer, is_done, || words(&output));
    }

    fn folder_applied(&mut self) {
        if let Some(sync) = self.elsewhere.go_on() {
            self.apply("a folder is applied that has a sync no more", &["--drain", &sync]);
        } else {
            self.apply("a folder is applied", &[]);
        }
    }

    fn function_of_store(&mut self, step: u64) {
        let version = |at: u64| self.versions.get(usize::try_from(at).unwrap_or(0)).cloned().unwrap_or_default();
        let settings = |stamp: &str| json!({ "stamp": stamp });
        let (path, body) = match step % 4 {
            0 => ("live", json!({"sha256": version(0), "settings": settings("c")})),
            1 => ("attach", json!({"source": "web"})),
            2 => ("live", json!({"sha256": version(1), "settings": settings("d")})),
            _ => ("detach", json!({"source": "web"})),
        };
        let answer = self.control.ask("POST", &format!("/admin/functions/stamp/{path}"), &body);
        self.expect(&format!("a function of the store: {path}"), answer, &[200]);
    }

    fn key_of_folder(&mut self, step: u64) {
        let keys = &mut self.scene.app_keys;
        if keys.len() == 1 {
            keys.push((format!("k{step}"), format!("app-key-of-{step}-0123456789")));
        } else {
            keys.remove(0);
        }
        self.commit(ChangeKind::KeyOfFolder);
        // Both count now, or only this one does and clients show it already.
        if let Some((_, key)) = self.scene.app_keys.last() {
            self.clients.app.show(key);
        }
    }

    fn key_of_api(&mut self, step: u64) {
        const KEYS: &str = "/api/v1/sources/web/write-keys";
        let answered = match (&self.api_key, step % 3) {
            (None, _) | (_, 0) => {
                let name = format!("api-{step}");
                let answer = self.control.ask("POST", KEYS, &json!({ "name": name }));
                self.expect("a write key is made", answer, &DONE)
            }
            (Some(name), 1) => {
                let path = format!("{KEYS}/{name}/rotate");
                let answer =
                    self.control.ask("POST", &path, &json!({"name": format!("api-{step}"), "grace_seconds": 3_600}));
                self.expect("a write key is replaced", answer, &DONE)
            }
            (Some(name), _) => {
                let path = format!("{KEYS}/{name}");
                self.clients.web.show(&self.scene.workspace.write_key);
                let answer = self.control.ask("DELETE", &path, &Value::Null);
                self.expect("a write key is revoked", answer, &DONE);
                self.api_key = None;
                return;
            }
        };
        if let Some(key) = answered["key"].as_str() {
            self.clients.web.show(key);
            self.api_key = Some(format!("api-{step}"));
        }
    }

    fn pause(&mut self, step: u64, object: (&'static str, &'static str)) {
        let word = if step.is_multiple_of(2) { "pause" } else { "resume" };
        let (kind, name) = object;
        let answer = self.control.ask("POST", &format!("/api/v1/objects/{kind}/{name}/{word}"), &Value::Null);
        self.expect(&format!("{kind} {name}: {word}"), answer, &BEGUN);
        self.paused.retain(|paused| *paused != object);
        if word == "pause" {
            self.paused.push(object);
        }
    }

    /// A source or a sync comes; or the one that is there goes.
    fn pass_by(&mut self, kind: ChangeKind) {
        if self.scene.passing.is_some() {
            return self.pass_away();
        }
        let has_source = kind == ChangeKind::SourcePasses;
        self.scene.passing = Some(self.passing.next(has_source));
        self.commit(kind);
        let address = self.address.clone();
        if let Some(passing) = &self.scene.passing {
            self.passing.send(&address, passing);
        }
    }

    fn pass_away(&mut self) {
        let Some(passing) = self.scene.passing.take() else { return };
        let is_drained = self.dice.between(0, 2) == 0;
        let ending = if is_drained { "drain" } else { "abandon" };
        self.scene.write();
        // The source and its sync have one name.
        self.reload(&format!("what passes goes: {ending}"), &json!({ ending: [passing.name] }), &[200]);
        self.passing.ended(&passing, is_drained);
    }

    fn object_of_api(&mut self, step: u64) {
        let name = format!("api-{}", step / 3);
        let spec = |value: u64| json!({"kind": "table", "entries": {"a": value.to_string()}});
        match step % 3 {
            0 => self.make("lookup", &name, spec(step)),
            1 => self.say("lookup", &name, spec(step)),
            _ => self.delete("lookup", &name, ""),
        }
    }

    fn sync_of_api(&mut self, step: u64) {
        let round = step / 3;
        let name = format!("api-{round}");
        let spec = |types: Value| {
            json!({"source": "web", "destination": "warehouse", "schema": format!("api_{round}"), "start": "now",
                "filter": {"types": types}})
        };
        match step % 3 {
            0 => self.make("sync", &name, spec(json!(["track"]))),
            1 => self.say("sync", &name, spec(json!(["track", "page"]))),
            _ => {
                let ending = if round.is_multiple_of(2) { "?drain=true" } else { "?abandon=true" };
                self.delete("sync", &name, ending);
            }
        }
    }

    /// Makes an object over the API.
    fn make(&mut self, kind: &str, name: &str, spec: Value) {
        let body = json!({"name": name, "spec": spec});
        let answer = self.control.ask("POST", &format!("/api/v1/objects/{kind}"), &body);
        let done = self.expect(&format!("{kind} of the API: made"), answer, &[201]);
        let id = done["objects"][0]["id"].as_str().unwrap_or_default();
        self.made.insert(format!("{kind} {name}"), id.to_owned());
    }

    fn say(&mut self, kind: &str, name: &str, spec: Value) {
        let id = self.made.get(&format!("{kind} {name}")).cloned().unwrap_or_default();
        let body = json!({"name": name, "spec": spec});
        let answer = self.control.ask("PUT", &format!("/api/v1/objects/{kind}/{id}"), &body);
        self.expect(&format!("{kind} of the API: changed"), answer, &[200]);
    }

    fn delete(&mut self, kind: &str, name: &str, ending: &str) {
        let id = self.made.remove(&format!("{kind} {name}")).unwrap_or_default();
        let answer = self.control.ask("DELETE", &format!("/api/v1/objects/{kind}/{id}{ending}"), &Value::Null);
        self.expect(&format!("{kind} of the API: deleted{ending}"), answer, &BEGUN);
    }

    fn folder_is_wrong(&mut self, step: u64) {
        let (file, text) = match step % 4 {
            0 => ("sources/wrong.yaml", "kind: http\nwrite_key: short\n"),
            1 => ("syncs/wrong.yaml", "source: web\ndestination: nowhere\n"),
            2 => ("lookups/wrong.yaml", "kind: table\npath: gone.csv\n"),
            _ => ("events/domains/wrong.yaml", "a: [\n"),
        };
        self.scene.workspace.write(file, text);
        self.reload("FolderWrong", &json!({}), &[422]);
        let path = self.scene.workspace.path().join(file);
        std::fs::remove_file(path).expect("it is removed");
    }

    /// Everything is mended, nothing is paused, and what passes by goes.
    pub fn calm(&mut self) {
        self.far_is_down.store(false, Ordering::Relaxed);
        for (kind, name) in std::mem::take(&mut self.paused) {
            *self
                .turns
                .entry(if kind == "sync" { ChangeKind::SyncPaused } else { ChangeKind::SourcePaused })
                .or_default() = 0;
            let answer = self.control.ask("POST", &format!("/api/v1/objects/{kind}/{name}/resume"), &Value::Null);
            self.expect(&format!("{kind} {name}: resume"), answer, &BEGUN);
        }
        let syncs: Vec<String> =
            self.made.keys().filter_map(|key| key.strip_prefix("sync ").map(str::to_owned)).collect();
        for name in syncs {
            self.delete("sync", &name, "?drain=true");
            // The next turn makes another one.
            let turn = self.turns.entry(ChangeKind::SyncOfApi).or_default();
            *turn = turn.next_multiple_of(3);
        }
        (self.scene.second_is_broken, self.scene.crm_is_lost) = (false, false);
        (self.scene.contract, self.scene.stamp) = (ContractVariant::default(), Some("a"));
        self.pass_away();
        if self.elsewhere.has_sync() {
            self.elsewhere.end_round();
            let sync = self.elsewhere.sync();
            self.apply("a folder is applied that has a sync no more", &["--drain", &sync]);
        }
        self.scene.write();
        self.reload("everything is mended", &json!({}), &[200]);
    }

    /// The change that a kill may cut off: whatever becomes of it, its files are there at the next start.
    pub fn cut_off(&mut self) -> std::thread::JoinHandle<()> {
        self.scene.contract = ContractVariant::variant(self.dice.between(0, 8));
        self.scene.write();
        let control = self.control.clone();
        std::thread::spawn(move || {
            let _ = control.ask("POST", "/admin/reload", &json!({}));
        })
    }

    /// Notes an answer, which must have one of these statuses; its body.
    fn expect(&mut self, what: &str, answer: Result<Answered, String>, wanted: &[u16]) -> Value {
        match answer {
            Ok(Answered { status, body }) => {
                self.note(what.to_owned(), &status.to_string(), wanted.contains(&status), || body.to_string());
                body
            }
            Err(error) => {
                self.note(what.to_owned(), "no answer", false, || error);
                Value::Null
            }
        }
    }

    fn note(&mut self, what: String, answer: &str, is_expected: bool, said: impl FnOnce() -> String) {
        if !is_expected && self.unexpected.len() < 20 {
            self.unexpected.push(format!("{what}: {answer}: {}", said()));
        }
        *self.answers.entry(format!("{what}: {answer}")).or_default() += 1;
    }

    /// What was answered otherwise than expected, and how often everything was.
    pub fn judge(&self, found: &mut Found) {
        found.broken += self.unexpected.len() as u64;
        found.notes.extend(self.unexpected.iter().map(|unexpected| format!("not expected: {unexpected}")));
        let answers: Vec<String> = self.answers.iter().map(|(what, count)| format!("{count} {what}")).collect();
        found.notes.push(format!("answers: {}", answers.join("; ")));
    }
}

//! One of many people is forgotten: no byte of what only they had is left in any file, nobody else's rows have changed, and forgetting them once more
//! does nothing.

use std::path::PathBuf;
use std::time::Instant;

use serde_json::{Value, json};

use crate::control::Control;
use crate::filled::{asked, broken, ended, fill, is_drained, kept, machine, patience, stopped, until};
use crate::fingerprints::{self, difference};
use crate::marked_files::MarkedFiles;
use crate::server::ServerProcess;
use crate::support::{Workspace, run as run_program};
use crate::{Dice, Found, Plan};

/// One of so many events is of them.
const EVERY: u64 = 100;
/// People besides.
const OTHERS: u64 = 1_000;

pub fn run(plan: &Plan) -> Found {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nlog: {segment_bytes: 16 MiB}\n");
    let mut dice = Dice::new(plan.seed);
    let mut text = |what: &str| format!("{what}-{:016x}", dice.roll());
    let markers = [text("someone"), text("secret"), text("mail")];
    let mut story = ForgetStory {
        control: Control::new(&workspace),
        events: plan.forgotten,
        found: Found { acked: plan.forgotten + FURTHER, ..Found::default() },
        markers,
        workspace,
    };
    match story.go() {
        Ok(server) => story.end(server),
        Err(said) => broken(&mut story.found, said),
    }
    let ForgetStory { workspace, mut found, .. } = story;
    kept(workspace, &mut found);
    found
}

/// Events besides: an identify and one that is quarantined, of them and of somebody else.
const FURTHER: u64 = 4;

struct ForgetStory {
    workspace: Workspace,
    control: Control,
    events: u64,
    /// Stands in each of their events: their id, a text, and a part of their address.
    markers: [String; 3],
    found: Found,
}

impl ForgetStory {
    fn go(&mut self) -> Result<ServerProcess, String> {
        let patience = patience(self.events);
        let server = ServerProcess::start(&self.workspace.path(), "")?;
        self.control.address.clone_from(&server.admin);
        let markers = self.markers.clone();
        let to = (server.address.as_str(), self.workspace.write_key.as_str());
        fill(to, FURTHER, &|n| further(&markers, n))?;
        fill(to, self.events, &|n| track(&markers, n))?;
        until(&self.workspace, ("everything is delivered", patience), is_drained)?;
        let (there, _) = self.marked()?;
        if there.is_empty() {
            return Err(
                "nothing is found of them before they are forgotten, so nothing found later says nothing".to_owned()
            );
        }
        let warehouse = self.workspace.data().join("warehouse.db");
        let before = fingerprints::sqlite(&warehouse, Some(self.markers[0].as_str()))?;
        let began = Instant::now();
        let job = self.forget()?;
        self.found.notes.push(format!(
            "{}; {} events, one in {EVERY} of them; they stood in {} files; forgotten in {:.1} s",
            machine(),
            self.events,
            there.len(),
            began.elapsed().as_secs_f64()
        ));
        let in_log = place(&job, "log");
        let theirs = self.events.div_ceil(EVERY) + FURTHER / 2;
        if (&in_log["found"], &in_log["removed"]) != (&json!(theirs), &json!(theirs)) {
            broken(&mut self.found, format!("the log had {theirs} records of them, and the job says {in_log}"));
        }
        self.forget_tables()?;
        let after = fingerprints::sqlite(&warehouse, None)?;
        if let Some(difference) = difference(&before, &after) {
            self.found.altered += 1;
            self.found.notes.push(format!("rows of others have changed: {difference}"));
        }
        let again = self.forget()?;
        let in_log = place(&again, "log");
        if in_log["found"] != 0 || again["report"]["segments"] != json!([]) {
            broken(&mut self.found, format!("forgetting them once more does something: {again}"));
        }
        self.exported()?;
        until(&self.workspace, ("everything is delivered", patience), is_drained)?;
        Ok(server)
    }

    /// What is left once the server has written everything that it ever will.
    fn end(&mut self, server: ServerProcess) {
        stopped(server, &self.workspace, &mut self.found);
        match self.marked() {
            Ok((left, not_read)) if left.is_empty() && not_read.is_empty() => {}
            Ok((left, not_read)) => {
                let note = format!("something of them is left in {left:?}, and {not_read:?} could not be looked into");
                broken(&mut self.found, note);
            }
            Err(said) => broken(&mut self.found, said),
        }
    }

    /// Files of the workspace (data directory, warehouse, log, exports) in which one of the markers is, and those that nobody can read now.
    fn marked(&mut self) -> Result<(Vec<PathBuf>, Vec<PathBuf>), String> {
        let mut files = MarkedFiles::new(&self.markers);
        files.look(&self.workspace.path()).map_err(|error| error.to_string())?;
        let read = format!("{} files looked through, {} MB as they were read", files.count, files.bytes / 1_000_000);
        self.found.notes.push(read);
        Ok((files.found, files.not_read))
    }

    fn forget(&self) -> Result<Value, String> {
        let order = json!({"subjects": [{"kind": "user", "value": self.markers[0]}]});
        let begun = asked(&self.control, ("POST", "/api/v1/privacy/forget"), &order)?;
        let job = ended(&self.control, &format!("/api/v1/privacy/jobs/{}", begun["id"]), patience(self.events))?;
        if job["state"] == "done" { Ok(job) } else { Err(format!("they are not forgotten: {job}")) }
    }

    /// As an operator does.
    fn forget_tables(&self) -> Result<(), String> {
        let path = self.workspace.path();
        let path = path.to_str().ok_or("a path of text")?;
        let output =
            run_program(&["privacy", "warehouses", path, "--user", self.markers[0].as_str(), "--run", "--json"]);
        if output.status.success() { Ok(()) } else { Err(crate::control::words(&output)) }
    }

    /// What can be taken out of the server now lies beside everything else, to be looked through too.
    fn exported(&self) -> Result<(), String> {
        let folder = self.workspace.path().join("exports");
        std::fs::create_dir_all(&folder).map_err(|error| error.to_string())?;
        for (name, path) in [
            ("quarantine.json", "/api/v1/quarantine/export?source=web".to_owned()),
            ("trace.json", format!("/api/v1/trace?user={}", self.markers[0])),
            ("audit.json", "/api/v1/audit?workspace=default".to_owned()),
            ("jobs.json", "/api/v1/privacy/jobs".to_owned()),
        ] {
            let said = asked(&self.control, ("GET", &path), &Value::Null)?;
            std::fs::write(folder.join(name), said.to_string()).map_err(|error| error.to_string())?;
        }
        Ok(())
    }
}

static NOTHING: Value = Value::Null;

fn place<'j>(job: &'j Value, name: &str) -> &'j Value {
    let places = job["report"]["places"].as_array();
    places.and_then(|places| places.iter().find(|place| place["place"] == name)).unwrap_or(&NOTHING)
}

fn track([someone, secret, _]: &[String; 3], n: u64) -> Value {
    let is_theirs = n.is_multiple_of(EVERY);
    let (user, note) = match is_theirs {
        true => (someone.clone(), format!("{secret}-{n}")),
        false => (format!("user-{}", n % OTHERS), format!("note {n}")),
    };
    json!({"type": "track", "event": "Bought", "messageId": format!("m{n}"), "userId": user,
        "properties": {"n": n, "note": note, "total": n as f64 / 4.0}})
}

/// Two that say who somebody is, and two without a type, which are quarantined.
fn further([someone, _, mail]: &[String; 3], n: u64) -> Value {
    let user = if n.is_multiple_of(2) { someone.as_str() } else { "user-1" };
    let address = if n.is_multiple_of(2) { format!("{mail}@example.com") } else { "one@example.com".to_owned() };
    match n / 2 {
        0 => json!({"type": "identify", "messageId": format!("i{n}"), "userId": user, "traits": {"email": address}}),
        _ => json!({"messageId": format!("q{n}"), "userId": user, "traits": {"email": address}}),
    }
}

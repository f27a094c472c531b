//! SIGKILL in the middle of applies, again and again: two folders are applied from elsewhere in turns, and after each death the catalog
//! says what one of them says, whole, and what runs is that.

mod folder_side;
mod left_catalog;

use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::control::{Control, words};
use crate::server::{ServerProcess, log_file};
use crate::support::Workspace;
use crate::support::http::{basic, request};
use crate::support::tidegate;
use crate::{Dice, Found, Plan, pass};
use folder_side::FolderSide;
use left_catalog::LeftCatalog;

/// In a third of the lives the server waits between the commit of the catalog and what follows, so that many of them end there.
const WAITING: &str = "catalog_committed=sleep(1500)";
/// One apply, on a machine that does much else.
const APPLY_MAX: Duration = Duration::from_secs(120);

pub fn run(plan: &Plan) -> Found {
    let mut story = ApplyStory {
        workspace: Workspace::new(),
        sides: [FolderSide::new('a'), FolderSide::new('b')],
        dice: Dice::new(plan.seed),
        found: Found::default(),
        answered: 0,
    };
    if let Err(said) = story.go(plan.applies) {
        story.found.broken += 1;
        story.found.notes.push(said);
    }
    let ApplyStory { workspace, mut found, answered, .. } = story;
    found.notes.push(format!("{} kills, {answered} applies were answered before them", plan.applies));
    if !found.is_clean() {
        let kept = workspace.dir.keep();
        found.notes.push(format!("kept: {} (its log: {})", kept.display(), log_file(&kept.join("w")).display()));
    }
    found
}

struct ApplyStory {
    workspace: Workspace,
    sides: [FolderSide; 2],
    dice: Dice,
    found: Found,
    /// Applies that were answered before the server died.
    answered: u64,
}

impl ApplyStory {
    fn go(&mut self, kills: u64) -> Result<(), String> {
        let path = self.workspace.path();
        for side in &self.sides {
            side.write(&self.workspace.dir.path().join(side.folder()));
        }
        let mut control = Control::new(&self.workspace);
        // What the catalog says of each side when nothing is cut off, and how long an apply takes.
        let mut wanted: [Option<LeftCatalog>; 2] = [None, None];
        let mut usual = Duration::ZERO;
        for side in [1, 0] {
            let server = ServerProcess::start(&path, "")?;
            control.address.clone_from(&server.admin);
            self.keep_keys(&control)?;
            let started = Instant::now();
            let mut apply = self.apply(&control, side)?;
            let ended = wait(&mut apply).ok_or("an apply does not come to its end")?;
            usual = usual.max(started.elapsed());
            if !is_applied(ended) {
                return Err(format!("an apply with nothing in its way ended with {ended}"));
            }
            server.kill();
            wanted[side] = Some(LeftCatalog::read(&self.workspace.data())?);
        }
        let [Some(a), Some(b)] = wanted else { return Err("an apply changed nothing".to_owned()) };
        let wanted = [a, b];
        if wanted[0] == wanted[1] || wanted.iter().any(|side| side.objects() < FolderSide::OBJECTS) {
            return Err(format!("the catalog has {} and {} objects", wanted[0].objects(), wanted[1].objects()));
        }
        let mut there = 0;
        for number in 0..kills {
            there =
                self.cycle(&mut control, &wanted, (there, usual)).map_err(|said| format!("kill {number}: {said}"))?;
            self.found.acked += 1;
        }
        Ok(())
    }

    /// Applies the other side, and ends the server meanwhile; answers which side the catalog has then.
    fn cycle(
        &mut self,
        control: &mut Control,
        wanted: &[LeftCatalog; 2],
        (there, usual): (usize, Duration),
    ) -> Result<usize, String> {
        let path = self.workspace.path();
        let waits = self.dice.between(0, 3) == 0;
        let mut server = ServerProcess::start(&path, if waits { WAITING } else { "" })?;
        control.address.clone_from(&server.admin);
        let next = 1 - there;
        let mut apply = self.apply(control, next)?;
        let usual = u64::try_from(usual.as_millis() * 5 / 4).unwrap_or(u64::MAX).max(20);
        pass(self.dice.millis(0, usual + if waits { 1_500 } else { 0 }));
        server.kill_at_once();
        let ended = wait(&mut apply).ok_or("an apply outlives its server")?;
        let left = LeftCatalog::read(&self.workspace.data())?;
        let Some(now) = wanted.iter().position(|side| *side == left) else {
            self.found.altered += 1;
            return Err(format!(
                "the catalog says neither what one folder says nor what the other one says:\n{}",
                left.difference(wanted)
            ));
        };
        if is_applied(ended) {
            self.answered += 1;
            if now != next {
                self.found.lost += 1;
                self.found.notes.push("an apply was answered, and the catalog has lost it".to_owned());
            }
        }
        self.look(control, wanted, now)?;
        Ok(now)
    }

    /// Starts the server again: its catalog is whole and the same, and what runs is what it says.
    fn look(&mut self, control: &mut Control, wanted: &[LeftCatalog; 2], now: usize) -> Result<(), String> {
        let path = self.workspace.path();
        let server = ServerProcess::start(&path, "")?;
        control.address.clone_from(&server.admin);
        let verified = control.command(&["audit", "verify"]);
        if !verified.status.success() {
            self.found.altered += 1;
            self.found.notes.push(format!("the audit log is not whole: {}", words(&verified)));
        }
        let folder = self.workspace.dir.path().join(self.sides[now].folder());
        let planned = control.command(&["plan", folder.to_str().unwrap_or_default(), "--prune"]);
        if !planned.status.success() {
            self.found.altered += 1;
            self.found.notes.push(format!("the folder that was applied does not plan empty: {}", words(&planned)));
        }
        let exported = tempfile::tempdir().map_err(|error| error.to_string())?;
        let folder = exported.path().join("exported");
        let said = control.command(&["export", folder.to_str().unwrap_or_default()]);
        if !said.status.success() || !self.sides[now].is_exported(&folder) {
            self.found.altered += 1;
            self.found.notes.push(format!("what is exported is not side {now}: {}", words(&said)));
        }
        let keys = self.sides[now].write_keys().into_iter().map(|key| (key, true));
        // Not more: an address that guesses is told to wait.
        let other = self.sides[1 - now].write_keys().into_iter().take(1).map(|key| (key, false));
        for (key, is_known) in keys.chain(other) {
            let body = json!({"type": "page", "userId": "u"}).to_string();
            let authorization = basic(&key);
            let headers = [("authorization", authorization.as_str())];
            let status = request(&server.address, "POST", "/v1/page", &headers, body.as_bytes()).status;
            if (status == 200) != is_known {
                self.found.broken += 1;
                self.found.notes.push(format!("the key {key} is answered with {status} beside side {now}"));
            }
        }
        let configuration = self.workspace.status()["configuration"].clone();
        if configuration["objects"] != json!([]) || configuration["files_differ"] != json!([]) {
            self.found.broken += 1;
            self.found.notes.push(format!("what runs is not what the catalog says: {configuration}"));
        }
        self.wait_for_delivery()?;
        server.kill();
        let left = LeftCatalog::read(&self.workspace.data())?;
        if left != wanted[now] {
            self.found.altered += 1;
            self.found.notes.push(format!("a start changed the catalog:\n{}", left.difference(wanted)));
        }
        Ok(())
    }

    /// Write keys are in no applied folder: the catalog keeps them, and files name them.
    fn keep_keys(&self, control: &Control) -> Result<(), String> {
        for (name, key) in self.sides.iter().flat_map(FolderSide::secrets) {
            let answer = control.ask("PUT", &format!("/api/v1/secrets/{name}"), &json!({ "value": key }))?;
            if answer.status != 200 {
                return Err(format!("the secret {name} is not kept: {}", answer.body));
            }
        }
        Ok(())
    }

    /// An apply takes no sync away for which something waits.
    fn wait_for_delivery(&self) -> Result<(), String> {
        let patience = Instant::now() + APPLY_MAX;
        let mut status = Value::Null;
        while Instant::now() < patience {
            status = self.workspace.status();
            let syncs = status["syncs"].as_object().cloned().unwrap_or_default();
            if syncs.values().all(|sync| sync["lag"] == 0) {
                return Ok(());
            }
            pass(Duration::from_millis(20));
        }
        Err(format!("not everything was delivered: {status}"))
    }

    /// Starts an apply of a side.
    fn apply(&self, control: &Control, side: usize) -> Result<Child, String> {
        let folder = self.workspace.dir.path().join(self.sides[side].folder());
        let mut command = tidegate();
        command.arg("apply").arg(folder).arg("--prune").args(control.arguments());
        command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().map_err(|error| error.to_string())
    }
}

/// Whether the command said that the folder is applied, whatever runs by then.
fn is_applied(ended: ExitStatus) -> bool {
    matches!(ended.code(), Some(0 | 2))
}

/// Waits for the end of an apply; nothing when it does not come.
fn wait(apply: &mut Child) -> Option<ExitStatus> {
    let patience = Instant::now() + APPLY_MAX;
    while Instant::now() < patience {
        if let Ok(Some(status)) = apply.try_wait() {
            return Some(status);
        }
        pass(Duration::from_millis(1));
    }
    let _ = apply.kill();
    None
}

//! A folder that is applied from elsewhere: what it has, the server's own folder has not.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::Workspace;

/// What it says now. Each round has a sync of a new name, in three steps: it comes, it changes, it is there no more.
#[derive(Default)]
pub struct ElsewhereFolder {
    step: u64,
}

const STEPS: u64 = 3;

impl ElsewhereFolder {
    /// The next step; the sync that goes with it, if one does.
    pub fn go_on(&mut self) -> Option<String> {
        self.step += 1;
        (!self.has_sync()).then(|| self.sync())
    }

    pub fn has_sync(&self) -> bool {
        !self.step.is_multiple_of(STEPS)
    }

    /// Goes to the end of the round.
    pub fn end_round(&mut self) {
        self.step = self.step.next_multiple_of(STEPS);
    }

    /// The sync of this round.
    pub fn sync(&self) -> String {
        format!("applied-{}", self.step.saturating_sub(1) / STEPS)
    }

    /// Writes the folder; its path.
    pub fn write(&self, workspace: &Workspace) -> PathBuf {
        let folder = workspace.dir.path().join("elsewhere");
        let _ = std::fs::remove_dir_all(&folder);
        let write = |file: &str, text: String| {
            let path = folder.join(file);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
            std::fs::write(path, text).expect("a file");
        };
        let yaml = |document: Value| format!("{document:#}\n");
        write("tidegate.yaml", "# What each default is, `tidegate init` shows.\n".to_owned());
        write("applied.csv", format!("old,new\nApplied,Step {}\n", self.step));
        let table = json!({"kind": "table", "path": "applied.csv", "key": "old", "value": "new"});
        write("lookups/applied.yaml", yaml(table));
        write("destinations/applied.yaml", yaml(json!({"kind": "sqlite", "path": "DATA/applied.db"})));
        if self.has_sync() {
            let sync = json!({
                "source": "web", "destination": "applied", "schema": self.sync().replace('-', "_"), "start": "now",
                "batch": {"events_max": 1_000 + self.step},
            });
            write(&format!("syncs/{}.yaml", self.sync()), yaml(sync));
        }
        folder
    }
}

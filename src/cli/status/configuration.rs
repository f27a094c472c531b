//! What runs, by the data directory: its revision, whether the folder's files still say the same, and what does not run as it shall.

use std::collections::BTreeSet;
use std::path::Path;

use serde_json::{Value, json};
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};

use crate::app::paths;
use crate::app::running_report::{self, RunningReport};
use crate::cli::{reload, style};
use crate::config;

/// What ran last, and which files differ from those it was made of.
pub(super) struct RunningConfiguration {
    report: RunningReport,
    /// Unknown where the folder is none.
    files_differ: Option<BTreeSet<String>>,
}

impl RunningConfiguration {
    /// Of the server of `data`, compared with the workspace in `dir`; `None` when no server has said.
    pub(super) fn read(data: &Path, dir: &Path) -> Option<Self> {
        let path = paths::running(data);
        let report = running_report::read(&path).unwrap_or_else(|error| {
            tracing::warn!(file = %path.display(), error = %error, "what runs is not known");
            None
        })?;
        let files_differ = config::differing_files(dir, &report.files, &report.salt);
        Some(Self { report, files_differ })
    }

    /// The revision of the catalog that was put in place last.
    pub(super) const fn catalog_revision(&self) -> u64 {
        self.report.catalog_revision
    }

    /// Where a sync delivers, and of which kind that is; none of a sync that does not run.
    pub(super) fn destination_of(&self, sync: &str) -> Option<(&str, &str)> {
        let found = self.report.syncs.get(sync)?;
        Some((&found.destination, &found.kind))
    }

    /// Whether a sync delivers nothing for now: it is paused, or its destination is.
    pub(super) fn is_sync_paused(&self, sync: &str) -> bool {
        let is_paused = |kind, key: &str| self.report.paused.contains(&ObjectRef::new(kind, key));
        is_paused(ObjectRefKind::Sync, sync)
            || self.destination_of(sync).is_some_and(|(name, _)| is_paused(ObjectRefKind::Destination, name))
    }

    /// Objects that do not run as they are wanted.
    pub(super) fn behind(&self) -> usize {
        self.report.behind().len()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "revision": self.report.revision, "since": self.report.since, "files_differ": self.files_differ,
            "catalog_revision": self.report.catalog_revision,
            "objects": self.report.behind(), "needs_restart": self.report.needs_restart,
            "paused": self.report.paused,
        })
    }

    pub(super) fn print(&self) {
        const NAMES_MAX: usize = 5;
        let files = match &self.files_differ {
            None => "the folder is not a workspace".to_owned(),
            Some(differ) if differ.is_empty() => "files: as running".to_owned(),
            Some(differ) => {
                let named: Vec<String> = differ.iter().take(NAMES_MAX).map(|name| style::plain(name, 200)).collect();
                let more = differ.len().saturating_sub(NAMES_MAX);
                let more = if more > 0 { format!(" and {more} more") } else { String::new() };
                format!(
                    "files: {} differ: {}{more} (`tidegate reload`)",
                    style::count(differ.len() as u64),
                    named.join(", ")
                )
            }
        };
        println!("revision {}, in place since {}; {files}", style::count(self.report.revision), self.report.since);
        if !self.report.needs_restart.is_empty() {
            let names = style::plain(&self.report.needs_restart.join(", "), 500);
            println!("{} {names}: counts from the next start", style::bold("restart:"));
        }
        if !self.report.paused.is_empty() {
            let names: Vec<String> =
                self.report.paused.iter().map(|object| style::plain(&object.to_string(), 200)).collect();
            println!("{} {}", style::bold("paused:"), names.join(", "));
        }
        reload::print_behind(&self.report.behind());
    }
}

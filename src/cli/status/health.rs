//! Whether all is well, by the data directory: what `tidegate status` exits with.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_process::clock;
use tidegate_state::{Charge, FateBreach, PendingCount, SyncReport};

use super::configuration::RunningConfiguration;
use crate::app::findings::Finding;
use crate::cli::style;

/// Events that wait longer than this for another try are late.
const LATE_US: i64 = 15 * 60 * 1_000_000;

/// What is not well, a sentence each. Names are those of the workspace; there is nothing of an event in it.
#[derive(Debug, Default)]
pub(super) struct StatusHealth {
    reasons: Vec<String>,
}

impl StatusHealth {
    pub(super) fn add(&mut self, reason: impl Into<String>) {
        self.reasons.push(reason.into());
    }

    /// Takes what another environment says.
    pub(super) fn add_environment(&mut self, name: &str, of: Self) {
        self.reasons.extend(of.reasons.into_iter().map(|reason| format!("environment {name}: {reason}")));
    }

    /// What is paused fails at nothing.
    pub(super) fn add_syncs(
        &mut self,
        reports: &[(SyncReport, PendingCount)],
        configuration: Option<&RunningConfiguration>,
    ) {
        let now_us = clock::now_us();
        let is_paused = |sync: &str| configuration.is_some_and(|configuration| configuration.is_sync_paused(sync));
        for (report, pending) in reports.iter().filter(|(report, _)| !is_paused(&report.sync)) {
            if report.failure.is_some() {
                self.add(format!("sync {} fails", report.sync));
            }
            if pending.events > 0 && now_us.saturating_sub(pending.oldest_at_us) > LATE_US {
                self.add(format!("sync {}: events wait for another try for more than 15 minutes", report.sync));
            }
        }
    }

    /// `live` are the versions that are live in the store, by name.
    pub(super) fn add_functions(&mut self, functions: &[(Charge, Option<String>)], live: &BTreeMap<String, String>) {
        for (charge, stopped) in functions {
            let is_live = live.get(&charge.function).is_none_or(|version| *version == charge.version);
            if is_live && stopped.is_some() {
                self.add(format!("function {} is stopped", charge.function));
            }
            if is_live && charge.fails_most() {
                self.add(format!("function {} fails most of its events", charge.function));
            }
        }
    }

    /// The same of destinations; what stands in a file has no version.
    pub(super) fn add_destinations(&mut self, destinations: &[Charge], live: &BTreeMap<String, String>) {
        for charge in destinations {
            let is_live = live.get(&charge.function).map_or("", String::as_str) == charge.version;
            if is_live && charge.fails_most() {
                self.add(format!("most events of destination {} are quarantined", charge.function));
            }
        }
    }

    pub(super) fn add_data(&mut self, damage: &[Finding], breaches: &[FateBreach]) {
        if !damage.is_empty() {
            self.add(format!("{} damaged files or places in the data directory", damage.len()));
        }
        if !breaches.is_empty() {
            self.add(format!("{} places where events are not accounted for", breaches.len()));
        }
    }

    pub(super) fn to_json(&self) -> Value {
        json!({"well": self.reasons.is_empty(), "reasons": self.reasons})
    }

    pub(super) fn print(&self) {
        for reason in &self.reasons {
            println!("{} {}", style::bold("not well:"), style::plain(reason, 500));
        }
    }

    pub(super) fn exit_code(&self) -> ExitCode {
        if self.reasons.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

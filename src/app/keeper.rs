//! Work on the data directory that can wait: the quarantine's bounds, consent that was withdrawn of what is pending, what write keys are used for, whether events are conserved, and the check of files that are too
//! large to be checked before the start.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tidegate_process::clock;
use tidegate_process::task;
use tidegate_source::http::Entrance;
use tidegate_sqlite::sqlite_check::{self, Depth};
use tidegate_state::{self as state, Expired, QuarantineBounds, State};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::findings::{self, Finding};
use super::key_uses::KeyUsesWriter;
use super::waiting_consents::WaitingConsents;
use super::{paths, startup};
use crate::api::WorkspaceNames;
use crate::config::{DestinationKind, Workspace};
use crate::warehouses::WarehouseSettings;

/// Between two looks at the size of the quarantine and at the uses of write keys.
const INTERVAL: Duration = Duration::from_secs(5);
/// Batches in one look; the rest is left for the next, so that a stop is never far.
const BATCHES_MAX: usize = 256;
/// Looks between two that go over all counts of what became of events: ten minutes.
const LOOKS_A_CHECK: u64 = 120;

/// Keeps the quarantine within its bounds, and what write keys are used for.
pub(super) struct Keeper {
    state: State,
    bounds: watch::Receiver<QuarantineBounds>,
    /// Its size is counted anew before the first entry goes, for a wrong one would cost entries.
    counted: bool,
    uses: KeyUsesWriter,
    /// Whether what was accepted is not the sum of what became of it.
    has_breach: watch::Sender<bool>,
    /// Looks until all counts are looked over again.
    looks_left: u64,
    consents: WaitingConsents,
}

impl Keeper {
    pub(super) fn new(
        state: State,
        bounds: watch::Receiver<QuarantineBounds>,
        entrance: watch::Receiver<Arc<Entrance>>,
        has_breach: watch::Sender<bool>,
        names: watch::Receiver<Arc<WorkspaceNames>>,
    ) -> Self {
        let (uses, consents) = (KeyUsesWriter::new(entrance), WaitingConsents::new(names));
        Self { state, bounds, counted: false, uses, has_breach, looks_left: 0, consents }
    }

    /// Looks every few seconds, until `stop` turns true; itself then, for [`Keeper::end`].
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Option<Self> {
        let mut interval = tokio::time::interval(interval());
        interval.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return Some(self),
                _ = interval.tick() => {}
            }
            // Off the threads that answer clients.
            let done = tokio::task::spawn_blocking(move || {
                self.keep_uses();
                self.look();
                self.withhold();
                self.check_fates();
                self
            });
            match done.await {
                Ok(keeper) => self = keeper,
                Err(_) => return None,
            }
        }
    }

    /// Keeps what write keys were used for, once no request is under way any more. `running` is of [`Keeper::run`].
    pub(super) async fn end(running: JoinHandle<Option<Self>>) {
        if let Ok(Some(mut keeper)) = running.await {
            let _ = tokio::task::spawn_blocking(move || keeper.keep_uses()).await;
        }
    }

    fn keep_uses(&mut self) {
        if let Err(error) = self.uses.keep(&mut self.state) {
            tracing::warn!(error = %error, "what write keys were used for could not be kept; it is tried again");
        }
    }

    fn look(&mut self) {
        fail::fail_point!("keeper_looks");
        match self.expire() {
            Ok(Expired { by_age: 0, by_bytes: 0 }) => {}
            Ok(expired) => self.tell(expired),
            Err(error) => tracing::error!(error = %error, "the quarantine could not be kept within its bounds"),
        }
    }

    fn withhold(&mut self) {
        if let Err(error) = self.consents.look(&mut self.state) {
            tracing::error!(error = %error, "what is pending could not be held against what people consent to");
        }
    }

    /// Whether a breach is kept, at each look; now and then all counts are looked over.
    fn check_fates(&mut self) {
        let found = if self.looks_left == 0 {
            self.looks_left = LOOKS_A_CHECK;
            self.state.check_fates(clock::now_us())
        } else {
            self.looks_left -= 1;
            self.state.fate_breaches().map(|breaches| !breaches.is_empty())
        };
        match found {
            Ok(found) => {
                self.has_breach.send_replace(found);
            }
            Err(error) => tracing::error!(error = %error, "whether events are conserved could not be looked at"),
        }
    }

    fn expire(&mut self) -> Result<Expired, tidegate_state::StateError> {
        let bounds = self.bounds.borrow().clone();
        let mut expired = Expired::default();
        let now_us = clock::now_us();
        for _ in 0..BATCHES_MAX {
            if !self.counted && self.state.quarantine_size()?.bytes > bounds.bytes {
                self.state.recount_quarantine()?;
                self.counted = true;
            }
            let batch = self.state.expire_quarantine(&bounds, now_us)?;
            expired.by_age += batch.by_age;
            expired.by_bytes += batch.by_bytes;
            if batch == Expired::default() {
                break;
            }
            while self.state.give_back()? {}
        }
        Ok(expired)
    }

    fn tell(&self, expired: Expired) {
        if expired.by_bytes > 0 {
            tracing::warn!(
                events = expired.by_bytes,
                bytes_max = self.bounds.borrow().bytes,
                "the quarantine was full: its oldest events were removed, perhaps before anybody saw them. Raise \
                 quarantine.bytes in tidegate.yaml, or mend what fills it (`tidegate quarantine` shows the codes)"
            );
        }
        if expired.by_age > 0 {
            let age_s = self.bounds.borrow().age_us / 1_000_000;
            tracing::info!(events = expired.by_age, age_s, "quarantined events older than quarantine.age were removed");
        }
    }
}

fn interval() -> Duration {
    fail::fail_point!("keeper_in_haste", |_| Duration::from_millis(20));
    INTERVAL
}

/// The SQLite files of a workspace: the state, and warehouses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct CheckedFile {
    pub(super) path: PathBuf,
    pub(super) is_state: bool,
}

pub(super) fn sqlite_files(workspace: &Workspace) -> Vec<CheckedFile> {
    let mut files = vec![CheckedFile { path: paths::state(&workspace.data), is_state: true }];
    for destination in workspace.destinations.values() {
        if let DestinationKind::Warehouse(warehouse) = &destination.kind
            && let WarehouseSettings::Sqlite(settings) = &**warehouse
        {
            let file = CheckedFile { path: settings.path.clone(), is_state: false };
            if !files.contains(&file) {
                files.push(file);
            }
        }
    }
    files
}

/// Checks those that are too large for the start, on a thread that takes what all others leave; what it finds is said
/// and kept for `tidegate status`. The thread ends with the process.
pub(super) fn check_in_background(data: &Path, files: Vec<CheckedFile>, known: Vec<Finding>) -> std::io::Result<()> {
    let kept = paths::findings(data);
    known.iter().for_each(tell);
    findings::write(&kept, &known)?;
    let large: Vec<CheckedFile> =
        files.into_iter().filter(|file| file.path.exists() && !startup::at_start(&file.path)).collect();
    if large.is_empty() {
        return Ok(());
    }
    let work = move || {
        task::give_way_to_all();
        let mut found = known;
        for file in large {
            let more = check(&file);
            more.iter().for_each(tell);
            found.extend(more);
        }
        if let Err(error) = findings::write(&kept, &found) {
            tracing::warn!(error = %error, "what the check found could not be kept for the status");
        }
    };
    std::thread::Builder::new().name("check".to_owned()).spawn(work).map(drop)
}

fn tell(finding: &Finding) {
    let Finding { file, what, follows, remedy } = finding;
    tracing::error!(file, what, follows, remedy, "a file of the data directory is damaged");
}

fn check(file: &CheckedFile) -> Vec<Finding> {
    let path = &file.path;
    let unread = |error: &dyn std::error::Error| {
        tracing::warn!(file = %path.display(), error = %error, "a file could not be checked");
        Vec::new()
    };
    if !file.is_state {
        return match sqlite_check::check(path, Depth::Quick) {
            Ok(damage) => damage.into_iter().take(1).map(|what| findings::of_warehouse(path, what)).collect(),
            Err(error) => unread(&error),
        };
    }
    match state::verify(path, Depth::Full) {
        Ok(found) => {
            let damage = found.damage.into_iter().take(1).map(|what| findings::of_state(path, what));
            let rows = found.damaged.iter().map(|row| {
                let what = format!("table {}: {}: its checksum is wrong", row.table, row.which);
                if row.is_needed() { findings::of_state(path, what) } else { findings::of_row(path, what) }
            });
            damage.chain(rows).collect()
        }
        Err(error) => unread(&error),
    }
}

//! The state file at the start: looked at before anything is written to it, refused when it is damaged or another
//! directory's, made anew when it was lost.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use tidegate_process::clock;
use tidegate_sqlite::sqlite_check::{self, Depth};
use tidegate_state::{self as state, Identity, State};

use super::continuity::{self, Past};
use super::findings::{self, Finding};
use super::kept_json::KeptJsonError;
use super::running_report;
use super::{AppError, data_id, paths, restored};
use crate::config::{KeptDocuments, Workspace, needs_plugin};

/// The state, and what is known of its past.
pub(super) struct StartedState {
    pub(super) state: State,
    pub(super) past: Past,
    pub(super) identity: Identity,
    /// Damage that the server can go on with: events in quarantine, pending events.
    pub(super) findings: Vec<Finding>,
}

/// What a start without the right state would do.
const REBUILD: &str = "Start with `tidegate serve --rebuild-state`";

/// Opens the state of a workspace, beside which the syncs of `kept` drain.
pub(super) fn open(workspace: &Workspace, kept: &KeptDocuments) -> Result<StartedState, AppError> {
    let path = paths::state(&workspace.data);
    let plugins = plugin_syncs(workspace, kept);
    refuse_newer_findings(paths::findings(&workspace.data))?;
    refuse_newer_report(paths::running(&workspace.data))?;
    let beside = of_directory(&workspace.data)?;
    let was_there = path.metadata().is_ok_and(|found| found.len() > 0);
    let mut findings = Vec::new();
    let moved = match damage(&path, &mut findings)? {
        Some(what) if workspace.rebuild_state => {
            tracing::error!(file = %path.display(), what, "the state file is damaged");
            Some(move_away(&path)?)
        }
        Some(what) => return Err(AppError::StateDamaged { path, what, follows: follows(&plugins) }),
        None => None,
    };
    let lost = moved.is_some() || (!was_there && (beside.is_some() || has_segments(&paths::log(&workspace.data))));
    let own = if was_there && moved.is_none() { known_identity(&path)? } else { None };
    let past = past(lost, was_there, own.as_ref(), beside.as_ref(), &path)?;
    let repeated = continuity::repeats(past, &plugins);
    if !repeated.is_empty() && !workspace.rebuild_state {
        let what = if past == Past::Lost { "is not there, and a log is" } else { "is an older copy" };
        return Err(AppError::StateLost { path, what, syncs: repeated.join(", ") });
    }
    let known = own.into_iter().chain(beside.clone()).max_by_key(|identity| identity.generation);
    let identity = known.unwrap_or_else(|| Identity { generation: 1, ..data_id::fresh() });
    if past == Past::Lost && beside.is_none() {
        // Should this start be cut off from here on, the next one still knows that the state is not the old one.
        let file = paths::id(&workspace.data);
        data_id::write(&file, &identity).map_err(|cause| AppError::Io {
            action: "could not write",
            path: file,
            cause,
        })?;
    }
    let mut state = State::open(&path)?;
    if matches!(past, Past::Lost | Past::Older) {
        // How many jobs there were nobody knows; there was not one a second.
        state.number_jobs_above(u64::try_from(clock::now_us() / 1_000_000).unwrap_or(0))?;
    }
    if let Some(old) = &moved {
        let salvaged = state.salvage(old)?;
        tracing::warn!(
            kept = %old.display(), cursors = salvaged.cursors, pending = salvaged.pending,
            quarantined = salvaged.quarantined,
            "the damaged state file was moved away; its rows with a right checksum were carried over"
        );
    } else if workspace.rebuild_state && matches!(past, Past::Known | Past::New) {
        tracing::info!("the state is whole and belongs here; --rebuild-state has nothing to do");
    }
    if moved.is_some() {
        findings.clear();
    }
    let told = restored::told(&workspace.data, &plugins, &state.reports()?);
    let told = told.map_err(|(path, reason)| AppError::Foreign { path, reason })?;
    told.iter().for_each(|line| tracing::warn!("{line}"));
    Ok(StartedState { state, past, identity, findings })
}

/// Marks that the state goes on from here: an older copy of it will be told by this. The state's own word is durable
/// first, so that the file beside is never ahead of it by accident.
pub(super) fn advance(state: &mut State, identity: &mut Identity, data: &Path) -> Result<(), AppError> {
    identity.generation = identity.generation.saturating_add(1);
    state.set_identity(identity)?;
    let path = paths::id(data);
    data_id::write(&path, identity).map_err(|cause| AppError::Io { action: "could not write", path, cause })?;
    let io = |cause| AppError::Io { action: "could not remove `restored.json` from", path: data.to_owned(), cause };
    restored::forget(data).map_err(io)
}

/// What a newer build found is not overwritten.
fn refuse_newer_findings(path: PathBuf) -> Result<(), AppError> {
    let Some(found) = findings::newer_format(&path) else { return Ok(()) };
    let reason = format!(
        "format {found}, and this build supports up to {}; use the newer build that wrote it. Nothing was changed",
        findings::FORMAT
    );
    Err(AppError::Foreign { path, reason })
}

/// The same of what a newer build ran. One that is damaged is written anew.
fn refuse_newer_report(path: PathBuf) -> Result<(), AppError> {
    match running_report::read(&path) {
        Err(error @ KeptJsonError::Newer { .. }) => Err(AppError::Foreign { path, reason: error.to_string() }),
        _ => Ok(()),
    }
}

fn of_directory(data: &Path) -> Result<Option<Identity>, AppError> {
    let path = paths::id(data);
    match data_id::read(&path) {
        Ok(found) => Ok(found),
        Err(data_id::DataIdError::Damaged { reason }) => {
            tracing::warn!(file = %path.display(), reason, "the file that names this data directory is damaged; it is made anew from the state, and an older copy of the state is not told this once");
            Ok(None)
        }
        Err(data_id::DataIdError::Io(cause)) => Err(AppError::Io { action: "could not read", path, cause }),
        Err(error @ data_id::DataIdError::Newer { .. }) => Err(AppError::Foreign { path, reason: error.to_string() }),
    }
}

fn past(
    lost: bool,
    was_there: bool,
    own: Option<&Identity>,
    beside: Option<&Identity>,
    path: &Path,
) -> Result<Past, AppError> {
    if lost {
        return Ok(Past::Lost);
    }
    if !was_there {
        return Ok(Past::New);
    }
    match (own, beside) {
        (Some(own), Some(beside)) if own.id != beside.id => Err(AppError::StateOfAnother { path: path.to_owned() }),
        (Some(own), Some(beside)) if own.generation < beside.generation => Ok(Past::Older),
        // A copy of a build without identities was put back.
        (None, Some(_)) => Ok(Past::Older),
        _ => Ok(Past::Known),
    }
}

/// What is wrong with the state file, so that it cannot be used; a large one is looked at in the background later.
fn damage(path: &Path, findings: &mut Vec<Finding>) -> Result<Option<String>, AppError> {
    if !path.metadata().is_ok_and(|found| found.len() > 0) {
        return Ok(None);
    }
    if at_start(path) {
        let found = state::verify(path, Depth::Full)?;
        let needed = found.damaged.iter().find(|row| row.is_needed()).map(|row| row.which.clone());
        if let Some(first) = found.damage.into_iter().next().or(needed) {
            return Ok(Some(first));
        }
        let of = |row: &state::DamagedRow| {
            findings::of_row(path, format!("table {}: {}: its checksum is wrong", row.table, row.which))
        };
        findings.extend(found.damaged.iter().map(of));
    }
    // What has checksums and is needed to go on.
    let read = State::open(path).and_then(|mut state| {
        state.identity()?;
        state.reports()?;
        state.quarantine_size()?;
        for partition in 0..state.partitions()? {
            state = state.of_partition(partition);
            state.refined_to()?;
            state.function_chains()?;
        }
        Ok(())
    });
    match read {
        Ok(()) => Ok(None),
        Err(state::StateError::Damaged { what, .. }) => Ok(Some(what)),
        Err(error) => Err(error.into()),
    }
}

/// Whether a file is small enough to be checked before the start.
pub(super) fn at_start(path: &Path) -> bool {
    fail::fail_point!("check_in_background", |_| false);
    path.metadata().is_ok_and(|found| found.len() <= sqlite_check::AT_START_BYTES_MAX)
}

fn known_identity(path: &Path) -> Result<Option<Identity>, AppError> {
    Ok(State::read(path)?.identity()?)
}

/// Gives the damaged file another name, with what belongs to it.
fn move_away(path: &Path) -> Result<PathBuf, AppError> {
    let named = |suffix: &str| {
        let mut name: OsString = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let away = format!(".damaged-{}", clock::now_us());
    for part in ["-wal", "-shm", ""] {
        let (from, to) = (named(part), named(&format!("{away}{part}")));
        match std::fs::rename(&from, &to) {
            Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
                return Err(AppError::Io { action: "could not move away", path: from, cause });
            }
            _ => {}
        }
    }
    Ok(named(&away))
}

/// The syncs whose cursors are in the state alone.
fn plugin_syncs<'s>(workspace: &'s Workspace, kept: &'s KeptDocuments) -> Vec<&'s str> {
    let is_in_state = |destination: &str| {
        workspace.destinations.get(destination).is_some_and(|found| found.kind.has_cursor_in_state())
    };
    let syncs = workspace.syncs.iter().filter(|(_, sync)| is_in_state(&sync.destination.0));
    let draining = kept.iter().filter(|(_, documents)| needs_plugin(documents));
    let names: BTreeSet<&str> =
        syncs.map(|(name, _)| name.as_str()).chain(draining.map(|(name, _)| name.as_str())).collect();
    names.into_iter().collect()
}

/// What is lost with the state file.
fn follows(plugins: &[&str]) -> String {
    let repeated = if plugins.is_empty() {
        String::new()
    } else {
        format!(
            ", the events that wait for another try, and how far the plugins of {} were (those whose row is not whole get \
             again what the log keeps)",
            plugins.join(", ")
        )
    };
    format!(
        "It holds the dedup window (made again from the log), the quarantine and the counters{repeated}. {REBUILD} to move \
         it away and go on: it is made anew from the log, and its rows whose checksum is right are carried over"
    )
}

/// Whether there is a log already.
pub(super) fn has_segments(log: &Path) -> bool {
    let Ok(entries) = std::fs::read_dir(log) else { return false };
    entries.flatten().any(|entry| entry.path().extension().is_some_and(|extension| extension == "log"))
}

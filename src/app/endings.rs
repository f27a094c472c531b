//! Syncs that end: what they need is kept in the file `endings.json` until they have delivered what was accepted for them, so that they go
//! on over a restart although neither the folder nor the catalog says so any more.
//!
//! How far each has to come stands in the state, and there alone it ends. The order makes that safe, whenever the process dies: what a sync
//! needs is written before its end and taken away before it is ended. So a sync with an end and without what it needs has nothing
//! more to deliver, or was given up; one without an end and with what it needs has just begun to drain. Both are written before the catalog
//! is changed, where that was ordered, with an object that changes by it: where the catalog has no such version of it, nothing of it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_catalog::{Committed, EditDone, ObjectId};
use tidegate_event::Position;
use tidegate_event::record::LoggedRecord;
use tidegate_log::{self as intake, Log};
use tidegate_process::{clock, whole_file};
use tidegate_state::{EndingKind, State, StateError, SyncEnd};

use super::catalog::FolderCatalog;
use super::kept_json::{self, KeptJsonError};
use super::running_syncs::SyncPlace;
use super::{AppError, paths};
use crate::config::{KeptDocuments, folder_kind};

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;
/// For counting what a sync gives up; beyond it the count is the most that it can be.
const COUNTING_MAX: Duration = Duration::from_secs(10);
const CHUNK_BYTES: usize = 1 << 20;
const CHUNK_RECORDS: usize = 10_000;

/// `endings.json`.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct EndingsFile {
    format: u32,
    syncs: KeptDocuments,
    /// What ends by a change of the catalog that may not have been made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    uncommitted: Option<UncommittedEndings>,
}

/// Syncs that end if a change of the catalog was made.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncommittedEndings {
    change: MarkedChange,
    /// Did not end before.
    begun: BTreeSet<String>,
    /// Drained before.
    given_up: BTreeSet<String>,
}

/// What tells a change of the catalog that was made from one that was not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MarkedChange {
    /// Of the catalog before anybody else changed it meanwhile: the change makes this one, or a later one.
    revision: u64,
    /// It has a version of that revision or of a later one then. One that runs, of which nobody else makes one: changes of those come one
    /// by one.
    object: ObjectId,
}

impl MarkedChange {
    /// Of a change that would come to this; none where nothing differs.
    pub(super) fn of(preview: &Committed) -> Option<Self> {
        let changed = preview.objects.iter().filter(|object| object.done != EditDone::Unchanged);
        let changed = changed.min_by_key(|object| folder_kind(object.kind).is_none())?;
        Some(Self { revision: preview.revision, object: changed.id.clone() })
    }
}

/// Why `endings.json` does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum EndingsError {
    #[error(
        "it is damaged: {0}. Nothing was changed. It holds what the syncs need that are draining: put a backup of it back, or \
         remove it, and what waits for them is given up and counted"
    )]
    Damaged(#[source] serde_json::Error),
    #[error(transparent)]
    Other(KeptJsonError),
}

impl From<KeptJsonError> for EndingsError {
    fn from(error: KeptJsonError) -> Self {
        match error {
            KeptJsonError::Damaged(cause) => Self::Damaged(cause),
            error => Self::Other(error),
        }
    }
}

/// What the syncs need that drain, as it is kept in the file at `path`; nothing when there is no such file.
///
/// # Errors
/// The file cannot be read or not understood.
pub fn read(path: &Path) -> Result<KeptDocuments, EndingsError> {
    Ok(read_file(path)?.map(|file| file.syncs).unwrap_or_default())
}

fn read_file(path: &Path) -> Result<Option<EndingsFile>, EndingsError> {
    Ok(kept_json::read(path, FORMAT)?)
}

/// What the syncs need that a server before has let drain; also of those that may not, where the catalog has not what it was to have.
pub(super) fn kept_at_start(data: &Path) -> Result<KeptDocuments, AppError> {
    Ok(read_at_start(data)?.map(|file| file.syncs).unwrap_or_default())
}

fn read_at_start(data: &Path) -> Result<Option<EndingsFile>, AppError> {
    let path = paths::endings(data);
    read_file(&path).map_err(|error| AppError::Foreign { reason: error.to_string(), path })
}

/// The syncs that drain: what they need, and how far they have to come.
#[derive(Debug, Clone)]
pub(super) struct DrainingSyncs {
    file: PathBuf,
    kept: KeptDocuments,
    ends: BTreeMap<String, Vec<Position>>,
}

impl DrainingSyncs {
    /// As a server before has left them. Syncs that it has given up are ended, and so is one of which nobody knows any more what it
    /// needs. What ends by a change that the `catalog` does not have, does not. Nothing of the log is open yet.
    pub(super) async fn open(
        data: &Path,
        state: &mut State,
        catalog: Option<&FolderCatalog>,
    ) -> Result<Self, AppError> {
        let uncommitted = read_at_start(data)?.and_then(|kept| kept.uncommitted);
        let is_made = match (uncommitted, catalog) {
            (Some(UncommittedEndings { change, .. }), Some(catalog)) => {
                catalog.has_version(&change.object, change.revision).await?
            }
            (Some(_), None) => false,
            (None, _) => true,
        };
        Self::as_left(data, state, is_made)
    }

    /// The same, where it is known whether the change was made that is marked.
    fn as_left(data: &Path, state: &mut State, is_made: bool) -> Result<Self, AppError> {
        let kept = read_at_start(data)?;
        let (kept, uncommitted) = kept.map(|kept| (kept.syncs, kept.uncommitted)).unwrap_or_default();
        let mut draining = Self { file: paths::endings(data), kept, ends: BTreeMap::new() };
        if let Some(uncommitted) = uncommitted.filter(|_| !is_made) {
            draining.undo(uncommitted, state)?;
        }
        let mut given_up = BTreeSet::new();
        for SyncEnd { sync, kind, ends } in state.endings()? {
            if kind == EndingKind::Drain && draining.kept.contains_key(&sync) {
                draining.ends.insert(sync, ends);
                continue;
            }
            let abandoned = unread(data, &sync, &ends)?;
            if let Some(ended) = state.end_sync(&sync, abandoned, clock::now_us())? {
                tracing::info!(
                    sync,
                    abandoned = ended.abandoned,
                    "a sync has ended that was ending when the server stopped"
                );
            }
            given_up.insert(sync);
        }
        let kept = draining.without(&given_up);
        draining.put(kept).map_err(|cause| draining.failed(cause))?;
        let begun: Vec<String> =
            draining.kept.keys().filter(|sync| !draining.ends.contains_key(*sync)).cloned().collect();
        for sync in begun {
            let dir = paths::log(data);
            let end = |partition| {
                let end = intake::end(&intake::partition_dir(&dir, partition))?;
                Ok::<_, intake::LogError>(Position::new(partition, end))
            };
            let ends: Vec<Position> = (0..state.partitions()?).map(end).collect::<Result<_, _>>()?;
            state.begin_ending(&sync, EndingKind::Drain, &ends)?;
            draining.ends.insert(sync, ends);
        }
        Ok(draining)
    }

    fn failed(&self, cause: std::io::Error) -> AppError {
        AppError::Io { action: "could not write", path: self.file.clone(), cause }
    }

    /// Takes back what was to end by a change that was not made.
    fn undo(&mut self, uncommitted: UncommittedEndings, state: &mut State) -> Result<(), AppError> {
        let UncommittedEndings { begun, given_up, .. } = uncommitted;
        let begun_names: Vec<&str> = begun.iter().map(String::as_str).collect();
        state.forget_endings(&begun_names)?;
        for SyncEnd { sync, ends, .. } in state.endings()?.into_iter().filter(|end| given_up.contains(&end.sync)) {
            state.begin_ending(&sync, EndingKind::Drain, &ends)?;
        }
        self.put(self.without(&begun)).map_err(|cause| self.failed(cause))
    }

    /// Why a server does not start with what drains.
    pub(super) fn refused(&self, error: AppError) -> AppError {
        let problems = match error {
            AppError::Problems(problems) => problems,
            error => return error,
        };
        let told: Vec<String> =
            problems.iter().map(|problem| format!("{}; {}", problem.message, problem.fix)).collect();
        let syncs: Vec<&str> = self.kept.keys().map(String::as_str).collect();
        let reason = format!(
            "the syncs that drain ({}) cannot go on beside what the folder says: {}. Nothing was started. Mend that; or remove the \
             file, and what waits for them is given up and counted",
            syncs.join(", "),
            told.join("; ")
        );
        AppError::Foreign { path: self.file.clone(), reason }
    }

    pub(super) const fn kept(&self) -> &KeptDocuments {
        &self.kept
    }

    /// What is kept without these syncs.
    pub(super) fn without(&self, syncs: &BTreeSet<String>) -> KeptDocuments {
        let kept = self.kept.iter().filter(|(sync, _)| !syncs.contains(*sync));
        kept.map(|(sync, documents)| (sync.clone(), documents.clone())).collect()
    }

    /// How far a sync that drains has to come, in each partition.
    pub(super) fn ends(&self) -> impl Iterator<Item = (&str, &[Position])> {
        self.ends.iter().map(|(sync, ends)| (sync.as_str(), ends.as_slice()))
    }

    /// Keeps this and nothing else, durably.
    pub(super) fn put(&mut self, kept: KeptDocuments) -> std::io::Result<()> {
        self.write(&kept, None)?;
        self.ends.retain(|sync, _| kept.contains_key(sync));
        self.kept = kept;
        Ok(())
    }

    /// Writes down what is in place.
    pub(super) fn write_again(&self) -> std::io::Result<()> {
        self.write(&self.kept, None)
    }

    /// Lets these syncs end where the log does now: what those need that drain is kept first. Durable, and not put in place before
    /// [`DrainingSyncs::put`]. It blocks.
    pub(super) fn begin(&self, begun: &BegunEndings, state: &Path) -> Result<(), String> {
        let all = self.kept.iter().chain(&begun.kept).map(|(sync, documents)| (sync.clone(), documents.clone()));
        let written = self.write(&all.collect(), self.uncommitted(begun));
        written.map_err(|error| format!("{} could not be written: {error}", self.file.display()))?;
        let record = || {
            let mut state = State::open(state)?;
            begun.syncs.iter().try_for_each(|(sync, kind)| state.begin_ending(sync, *kind, &begun.ends))
        };
        record().map_err(|error: StateError| error.to_string())
    }

    /// What is not true before the catalog has a change.
    fn uncommitted(&self, begun: &BegunEndings) -> Option<UncommittedEndings> {
        let change = begun.change.clone()?;
        let (given_up, begun) = begun.syncs.keys().cloned().partition(|sync| self.kept.contains_key(sync));
        Some(UncommittedEndings { change, begun, given_up })
    }

    /// Puts in place what [`DrainingSyncs::begin`] has written.
    pub(super) fn begun(&mut self, begun: BegunEndings) -> std::io::Result<()> {
        let BegunEndings { kept, ends, .. } = begun;
        for sync in kept.keys() {
            self.ends.entry(sync.clone()).or_insert_with(|| ends.clone());
        }
        self.ends.retain(|sync, _| kept.contains_key(sync));
        self.kept = kept;
        self.write_again()
    }

    /// Takes back what [`DrainingSyncs::begin`] has written. It blocks.
    pub(super) fn take_back(&self, begun: &BegunEndings, state: &Path) {
        if begun.syncs.is_empty() {
            return;
        }
        let take_back = || -> Result<(), StateError> {
            let mut state = State::open(state)?;
            let syncs: Vec<&str> = begun.syncs.keys().map(String::as_str).collect();
            state.forget_endings(&syncs)?;
            for (sync, ends) in begun.syncs.keys().filter_map(|sync| Some((sync, self.ends.get(sync)?))) {
                state.begin_ending(sync, EndingKind::Drain, ends)?;
            }
            Ok(())
        };
        let error = match (take_back(), self.write(&self.kept, None)) {
            (Err(error), _) => error.to_string(),
            (_, Err(error)) => error.to_string(),
            (Ok(()), Ok(())) => return,
        };
        tracing::error!(error, "that syncs end could not be taken back; the next start ends them");
    }

    fn write(&self, kept: &KeptDocuments, uncommitted: Option<UncommittedEndings>) -> std::io::Result<()> {
        if kept.is_empty() && uncommitted.is_none() {
            return whole_file::remove(&self.file);
        }
        let file = EndingsFile { format: FORMAT, syncs: kept.clone(), uncommitted };
        whole_file::replace(&self.file, &serde_json::to_vec(&file)?)
    }
}

/// Syncs that begin to end.
#[derive(Debug, Clone, Default)]
pub(super) struct BegunEndings {
    /// What is kept from now on, for all that drain.
    pub(super) kept: KeptDocuments,
    /// Those that end, by name.
    pub(super) syncs: BTreeMap<String, EndingKind>,
    /// The log as it ends now, in each partition.
    pub(super) ends: Vec<Position>,
    /// The change of the catalog that makes it true; none where the catalog is not changed by it.
    pub(super) change: Option<MarkedChange>,
}

/// Records that a sync has not had, by the files of a data directory: the most that there can be.
fn unread(data: &Path, sync: &str, ends: &[Position]) -> Result<u64, AppError> {
    let mut records = 0;
    for end in ends {
        let state = State::read(&paths::state(data))?.of_partition(end.partition);
        let log = intake::overview(&intake::partition_dir(&paths::log(data), end.partition))?;
        records += log.records(next_of(&state, sync)?, end.offset);
    }
    Ok(records)
}

/// The first record in a partition that a sync has not had and that is for it.
fn next_of(state: &State, sync: &str) -> Result<u64, StateError> {
    let first = state.starts()?.get(sync).copied().unwrap_or(0);
    Ok(state.cursor(sync)?.unwrap_or(0).max(first))
}

/// Ends a sync in the state, none of whose workers is there any more. What it had not had of `source` is counted where it is given up.
/// It blocks.
pub(super) fn end_sync(places: &[SyncPlace], sync: &str, source: Option<&str>) -> Result<(), StateError> {
    let Some(first) = places.first() else { return Ok(()) };
    let mut state = first.state()?;
    let ending = state.endings()?.into_iter().find(|ending| ending.sync == sync);
    let mut records = 0;
    if let Some(SyncEnd { kind: EndingKind::Abandon, ends, .. }) = ending {
        for end in ends {
            let Some(place) = places.get(usize::from(end.partition)) else { continue };
            let next = next_of(&place.state()?, sync)?;
            records += records_of(&*place.log, next..end.offset, source);
        }
    }
    if let Some(ended) = state.end_sync(sync, records, clock::now_us())? {
        let (delivered, abandoned) = (ended.delivered, ended.abandoned);
        tracing::info!(sync, delivered, abandoned, "a sync has ended");
    }
    Ok(())
}

/// Records of a source in a range of the log; of all sources where that cannot be told.
fn records_of(log: &dyn Log, range: Range<u64>, source: Option<&str>) -> u64 {
    if range.is_empty() {
        return 0;
    }
    let counted = source.and_then(|source| counted(log, &range, source));
    counted.unwrap_or_else(|| log.records(range.start, range.end))
}

/// `None` when the records cannot be read, or there are too many.
fn counted(log: &dyn Log, range: &Range<u64>, source: &str) -> Option<u64> {
    let until = Instant::now() + COUNTING_MAX;
    let mut reader = log.reader(range.start.max(log.oldest())).ok()?;
    let mut records = 0;
    while reader.next() < range.end {
        let before = reader.next();
        let chunk = reader.read(CHUNK_BYTES, CHUNK_RECORDS).ok()?;
        if Instant::now() > until {
            return None;
        }
        let within = chunk.records.iter().take_while(|entry| entry.offset < range.end);
        let of_source = |shared: &[u8], own: &[u8]| {
            LoggedRecord::read(shared, own).is_ok_and(|read| read.record().source == source)
        };
        records += within.filter(|entry| of_source(&entry.shared, &entry.own)).count() as u64;
        if chunk.next <= before {
            break;
        }
    }
    Some(records)
}

#[cfg(test)]
mod tests;

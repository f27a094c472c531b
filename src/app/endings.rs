//! Syncs that end: what they need is kept in the file `endings.json` until they have delivered what was accepted for them, so that they go
//! on over a restart although neither the folder nor the catalog says so any more.
//!
//! How far each has to come stands in the state, and there alone it ends. The order makes that safe, whenever the process dies: what a sync
//! needs is written before its end and taken away before it is ended. So a sync with an end and without what it needs has nothing
//! more to deliver, or was given up; one without an end and with what it needs has just begun to drain. Both are written before the catalog
//! is changed, where that was ordered, with the revision which that makes: where the catalog has not come to it, nothing of it is true.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use tidegate_event::Position;
use tidegate_event::record::Record;
use tidegate_log::{self as intake, Log};
use tidegate_process::{clock, whole_file};
use tidegate_state::{EndingKind, State, StateError, SyncEnd};

use super::running_syncs::SyncPlace;
use super::{AppError, paths};
use crate::config::KeptDocuments;

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

/// Syncs that end if the catalog has come to a revision.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct UncommittedEndings {
    revision: u64,
    /// Did not end before.
    begun: BTreeSet<String>,
    /// Drained before.
    given_up: BTreeSet<String>,
}

/// Why `endings.json` does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum EndingsError {
    #[error(
        "format {found}, and this build supports up to {FORMAT}; use the newer build that wrote it. Nothing was changed"
    )]
    Newer { found: u64 },
    #[error(
        "it is damaged: {0}. Nothing was changed. It holds what the syncs need that are draining: put a backup of it back, or \
         remove it, and what waits for them is given up and counted"
    )]
    Damaged(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the syncs need that drain, as it is kept in the file at `path`; nothing when there is no such file.
///
/// # Errors
/// The file cannot be read or not understood.
pub fn read(path: &Path) -> Result<KeptDocuments, EndingsError> {
    Ok(read_file(path)?.map(|file| file.syncs).unwrap_or_default())
}

fn read_file(path: &Path) -> Result<Option<EndingsFile>, EndingsError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let value: serde_json::Value = serde_json::from_slice(&bytes)?;
    if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
        return Err(EndingsError::Newer { found });
    }
    Ok(Some(serde_json::from_value(value)?))
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
    /// needs. What ends by a change of the catalog that was not made, by its `revision`, does not. Nothing of the log is open yet.
    pub(super) fn open(data: &Path, state: &mut State, revision: u64) -> Result<Self, AppError> {
        let file = paths::endings(data);
        let foreign = |error: EndingsError| AppError::Foreign { path: file.clone(), reason: error.to_string() };
        let kept = read_file(&file).map_err(foreign)?;
        let (kept, uncommitted) = kept.map(|kept| (kept.syncs, kept.uncommitted)).unwrap_or_default();
        let mut draining = Self { file, kept, ends: BTreeMap::new() };
        if let Some(uncommitted) = uncommitted.filter(|uncommitted| revision < uncommitted.revision) {
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

    /// What is not true before the catalog has come to a revision.
    fn uncommitted(&self, begun: &BegunEndings) -> Option<UncommittedEndings> {
        let revision = begun.revision?;
        let (given_up, begun) = begun.syncs.keys().cloned().partition(|sync| self.kept.contains_key(sync));
        Some(UncommittedEndings { revision, begun, given_up })
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
            return match std::fs::remove_file(&self.file) {
                Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
                _ => Ok(()),
            };
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
    /// The revision of the catalog that makes it true; none where the catalog is not changed by it.
    pub(super) revision: Option<u64>,
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
        let of_source =
            |shared: &[u8], own: &[u8]| Record::read(shared, own).is_ok_and(|record| record.source == source);
        records += within.filter(|entry| of_source(&entry.shared, &entry.own)).count() as u64;
        if chunk.next <= before {
            break;
        }
    }
    Some(records)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
    use tidegate_log::{Frames, LogSettings, SegmentLog};

    use super::*;
    use crate::config::KeptDocument;

    fn kept(sync: &str) -> KeptDocuments {
        let object = ObjectRef::new(ObjectRefKind::Sync, sync);
        let document = serde_json::json!({"source": "web"});
        let document = KeptDocument { object, document, replaces: true, catalog: None };
        KeptDocuments::from([(sync.to_owned(), vec![document])])
    }

    fn begun(sync: &str, kind: EndingKind, kept: KeptDocuments) -> BegunEndings {
        let syncs = BTreeMap::from([(sync.to_owned(), kind)]);
        BegunEndings { kept, syncs, ends: vec![Position::new(0, 5)], revision: None }
    }

    #[test]
    fn a_drain_is_found_again_and_what_was_given_up_is_ended() {
        let dir = tempfile::tempdir().unwrap();
        let state = paths::state(dir.path());
        let mut opened = State::open(&state).unwrap();
        opened.record_starts(&[("crm", 0), ("ads", 2)]).unwrap();
        let mut draining = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        assert!(draining.kept().is_empty() && !paths::endings(dir.path()).exists());
        let drain = begun("crm", EndingKind::Drain, kept("crm"));
        draining.begin(&drain, &state).unwrap();
        draining.begun(drain).unwrap();
        let abandon = begun("ads", EndingKind::Abandon, draining.kept().clone());
        draining.begin(&abandon, &state).unwrap();
        let again = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        assert_eq!(again.kept(), &kept("crm"));
        assert_eq!(again.ends().collect::<Vec<_>>(), [("crm", &[Position::new(0, 5)][..])]);
        let ended = opened.ended_syncs().unwrap();
        assert_eq!((ended[0].sync.as_str(), ended[0].abandoned), ("ads", 3));
        // What it needs is gone: it has nothing more to deliver, or nobody can.
        std::fs::remove_file(paths::endings(dir.path())).unwrap();
        let last = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        assert!(last.kept().is_empty() && opened.endings().unwrap().is_empty());
        assert_eq!(opened.ended_syncs().unwrap()[1].abandoned, 5);
    }

    #[test]
    fn a_drain_that_had_just_begun_goes_on_and_one_that_is_taken_back_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let state = paths::state(dir.path());
        let mut opened = State::open(&state).unwrap();
        let mut draining = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        draining.put(kept("crm")).unwrap();
        let again = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        assert_eq!(again.ends().count(), 1);
        assert_eq!(opened.endings().unwrap().len(), 1);
        // It is given up, and then not.
        let abandon = begun("crm", EndingKind::Abandon, KeptDocuments::new());
        again.begin(&abandon, &state).unwrap();
        assert_eq!(opened.endings().unwrap()[0].kind, EndingKind::Abandon);
        again.take_back(&abandon, &state);
        assert_eq!(opened.endings().unwrap()[0].kind, EndingKind::Drain);
        assert_eq!(read(&paths::endings(dir.path())).unwrap(), kept("crm"));
    }

    #[test]
    fn what_ends_by_a_change_of_the_catalog_that_was_not_made_does_not_end() {
        let dir = tempfile::tempdir().unwrap();
        let state = paths::state(dir.path());
        let mut opened = State::open(&state).unwrap();
        opened.record_starts(&[("crm", 0), ("ads", 2)]).unwrap();
        let mut draining = DrainingSyncs::open(dir.path(), &mut opened, 0).unwrap();
        let drain = begun("crm", EndingKind::Drain, kept("crm"));
        draining.begin(&drain, &state).unwrap();
        draining.begun(drain).unwrap();
        let both = BTreeMap::from([("crm", EndingKind::Abandon), ("ads", EndingKind::Drain)]);
        let order = BegunEndings {
            kept: kept("ads"),
            syncs: both.into_iter().map(|(sync, kind)| (sync.to_owned(), kind)).collect(),
            ends: vec![Position::new(0, 5)],
            revision: Some(8),
        };
        draining.begin(&order, &state).unwrap();
        // The server was killed before the catalog had it.
        let again = DrainingSyncs::open(dir.path(), &mut opened, 7).unwrap();
        assert_eq!(again.kept(), &kept("crm"));
        let ends = opened.endings().unwrap();
        assert_eq!(
            ends.iter().map(|end| (end.sync.as_str(), end.kind)).collect::<Vec<_>>(),
            [("crm", EndingKind::Drain)]
        );
        assert!(opened.ended_syncs().unwrap().is_empty());
        // And now after.
        again.begin(&order, &state).unwrap();
        let last = DrainingSyncs::open(dir.path(), &mut opened, 8).unwrap();
        assert_eq!(last.kept(), &kept("ads"));
        assert_eq!(opened.ended_syncs().unwrap()[0].sync, "crm");
    }

    #[test]
    fn a_file_of_a_newer_build_is_refused_by_its_number() {
        let dir = tempfile::tempdir().unwrap();
        let path = paths::endings(dir.path());
        std::fs::write(&path, r#"{"format": 2, "how": "else"}"#).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("format 2, and this build supports up to 1"));
        std::fs::write(&path, "{").unwrap();
        assert!(matches!(read(&path), Err(EndingsError::Damaged(_))));
    }

    #[test]
    fn what_is_given_up_is_counted_by_its_source() {
        let dir = tempfile::tempdir().unwrap();
        let (log, writer, _) = SegmentLog::open(dir.path(), LogSettings::default(), 0, 0).unwrap();
        let writer = writer.run().unwrap();
        let log: Arc<dyn Log> = Arc::new(log);
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for source in ["web", "app", "web", "web"] {
            let record = Record {
                problem: None,
                route: None,
                received_at_us: 1,
                source,
                ip: "",
                message_id: "",
                sent_at: "",
                context: b"",
                integrations: b"",
                event: b"{}",
            };
            let (mut shared, mut own) = (Vec::new(), Vec::new());
            record.write_shared(&mut shared);
            record.write_own(&mut own);
            let mut frames = Frames::default();
            frames.begin(|out| out.extend_from_slice(&shared));
            frames.push(|out| out.extend_from_slice(&own));
            runtime.block_on(log.append(0, frames)).unwrap();
        }
        assert_eq!(records_of(&*log, 0..4, Some("web")), 3);
        assert_eq!(records_of(&*log, 1..3, Some("web")), 1);
        assert_eq!(records_of(&*log, 0..4, None), 4);
        assert_eq!(records_of(&*log, Range { start: 4, end: 2 }, Some("web")), 0);
        log.close();
        drop(log);
        writer.join().unwrap();
    }
}

//! The archive of a log: segments are copied to it before the log gives them up, and fetched from it for whoever needs them.
//!
//! Nouns: an **archived segment** (its file, the index beside it, and a **record** that names both with their checksums), the **owner** (the data
//! directory that the archive is of), a **turn** (whoever copies, puts back or erases has it, one at a time).
//!
//! Guarantees: a segment counts as archived when its copy was read back and its record is there, so whoever dies before copies it again. The log
//! gives nothing up before, but what `hard_cap_bytes` forces, and that is kept and told. A segment that was written anew without somebody has
//! another name than before, and the one before is deleted. Nothing is read whose checksum is not that of the record.

mod copying;
mod fetching;
pub mod kept;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tidegate_document::problem::shortened;
use tidegate_log::{Log as _, LogError, SegmentLog};
use tidegate_object_store::{ObjectError, OpenedPlace, sentence};
use tidegate_state::State;

use super::kept_json::KeptJsonError;
use super::{AppError, paths};
use crate::config::ArchiveSettings;
pub(super) use fetching::{HeldSegment, unless_stopped};
use kept::{ArchivedSegment, KeptArchive};

/// Characters of a failure that are kept.
const FAILURE_CHARS_MAX: usize = 1_000;

/// Why the archive does not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveError {
    #[error("{}", sentence(.0))]
    Object(#[from] ObjectError),
    #[error(transparent)]
    Log(#[from] LogError),
    #[error("the archive {place} is of another data directory; name a folder or a prefix of its own in `log.archive`")]
    Foreign { place: String },
    #[error(
        "the archive {place} does not say any more whose it is: is the folder mounted, is it the right bucket? Nothing is copied until it is back. If it was emptied on purpose, stop the server and remove {file}"
    )]
    Emptied { place: String, file: String },
    #[error("{object} of the archive {place} cannot be used: {reason}")]
    Damaged { place: String, object: String, reason: String },
    #[error("{path}: {cause}")]
    Disk { path: String, cause: std::io::Error },
    #[error(
        "the archive {place} has another segment as {object}, which this log has not written: was the data directory put back from an older copy? Name a folder or a prefix of its own in `log.archive`"
    )]
    OtherSegment { place: String, object: String },
    #[error("a task of the archive ended before its work")]
    Gone,
}

/// The archive of the log of one environment.
pub(super) struct LogArchive {
    place: OpenedPlace,
    /// The place as people write it.
    shown: String,
    keep_us: Option<i64>,
    /// The data directory's id.
    owner: String,
    /// By partition.
    logs: Vec<SegmentLog>,
    /// From where on the state knows what became of records, by partition.
    known_from: Vec<u64>,
    /// The file of what is kept.
    file: PathBuf,
    kept: Mutex<KeptArchive>,
    /// Whether what is kept is what the archive has.
    is_known: AtomicBool,
    turn: tokio::sync::Mutex<()>,
    fetching: tokio::sync::Mutex<()>,
    /// How many need each segment that was fetched.
    held: Mutex<BTreeMap<(u16, u64), usize>>,
}

impl LogArchive {
    /// Opens what is known of the archive, and asks nothing of it. `logs` are the partitions, with a connection to the state of each.
    pub(super) fn open(
        settings: &ArchiveSettings,
        (owner, data): (&str, &std::path::Path),
        logs: Vec<(SegmentLog, &State)>,
    ) -> Result<Arc<Self>, AppError> {
        let file = paths::archive(data);
        let failed = |cause: std::io::Error| AppError::Io {
            action: "could not open the archive of the log",
            path: file.clone(),
            cause,
        };
        let place = OpenedPlace::open(&settings.place, &settings.options, &settings.web);
        let place = place.map_err(|error| failed(std::io::Error::other(error)))?;
        let shown = settings.place.to_string();
        let kept = kept::read(&file).or_else(|error| match error {
            KeptJsonError::Damaged(_) => {
                tracing::warn!(file = %file.display(), error = %error, "what the archive has is read from it once more");
                Ok(None)
            }
            error => Err(failed(std::io::Error::other(error))),
        })?;
        let kept = kept.filter(|kept| kept.place == shown);
        let mut kept = kept.unwrap_or_else(|| KeptArchive::of(&shown));
        // Where the log or this file is an older copy, the archive itself is asked what it has.
        kept.is_known &= !(0..)
            .zip(&logs)
            .any(|(partition, (log, _))| kept.has_others(partition, log) || kept.lacks_some(partition, log));
        if !kept.is_known {
            kept.partitions.values_mut().for_each(|part| part.segments.clear());
        }
        let is_known = kept.is_known;
        let mut known_from = Vec::new();
        for (log, state) in &logs {
            log.prepare_fetched()?;
            known_from.push(state.log_ranges_from()?.unwrap_or(state.refined_to()?));
        }
        let archive = Self {
            place,
            keep_us: settings.keep_us,
            owner: owner.to_owned(),
            logs: logs.into_iter().map(|(log, _)| log).collect(),
            known_from,
            kept: Mutex::new(kept),
            shown,
            file,
            is_known: AtomicBool::new(is_known),
            turn: tokio::sync::Mutex::default(),
            fetching: tokio::sync::Mutex::default(),
            held: Mutex::default(),
        };
        archive.tell_logs();
        Ok(Arc::new(archive))
    }

    /// Whether it is known what the archive has.
    pub(super) fn is_known(&self) -> bool {
        self.is_known.load(Ordering::Acquire)
    }

    /// Tells the log of each partition what the archive has.
    fn tell_logs(&self) {
        let kept = self.kept.lock();
        for ((partition, log), known_from) in (0_u16..).zip(&self.logs).zip(&self.known_from) {
            if !self.is_known() {
                log.set_archived(0..0);
                continue;
            }
            let segments = kept.partitions.get(&partition).map(|part| &part.segments);
            let first = segments.and_then(|segments| segments.keys().next().copied());
            let end = segments.and_then(|segments| segments.values().next_back()).map_or(0, |last| last.end);
            log.set_archived(first.map_or(u64::MAX, |first| first.max(*known_from))..end);
        }
    }

    fn log_of(&self, partition: u16) -> Option<&SegmentLog> {
        self.logs.get(usize::from(partition))
    }

    /// The archived segments of a partition that have offsets of `range`, oldest first.
    pub(super) fn segments(&self, partition: u16, range: &Range<u64>) -> Vec<ArchivedSegment> {
        let kept = self.kept.lock();
        let Some(part) = kept.partitions.get(&partition) else { return Vec::new() };
        let before = part.segments.range(..=range.start).next_back().map_or(range.start, |(first, _)| *first);
        if before >= range.end {
            return Vec::new();
        }
        let found = part.segments.range(before..range.end).map(|(_, segment)| segment);
        found.filter(|segment| segment.end > range.start).cloned().collect()
    }

    /// The same, and the segment before where none of them has the start of `range`, and the one behind where none has its end, unless the log has
    /// that: numbers may never have been given there, or the log had to give up what had them.
    pub(super) fn covering(&self, partition: u16, range: &Range<u64>) -> Vec<ArchivedSegment> {
        let mut found = self.segments(partition, range);
        let oldest = self.log_of(partition).map_or(0, |log| log.oldest());
        let kept = self.kept.lock();
        let Some(part) = kept.partitions.get(&partition) else { return found };
        if found.first().is_none_or(|first| first.first > range.start)
            && let Some((_, before)) = part.segments.range(..=range.start).next_back()
        {
            found.insert(0, before.clone());
        }
        if found.last().is_none_or(|last| last.end < range.end)
            && let Some((_, behind)) = part.segments.range(range.end..oldest.max(range.end)).next()
        {
            found.push(behind.clone());
        }
        found
    }

    /// The first archived segment of a partition that has offsets of `range`.
    pub(super) fn first_in(&self, partition: u16, range: &Range<u64>) -> Option<ArchivedSegment> {
        let kept = self.kept.lock();
        let segments = &kept.partitions.get(&partition)?.segments;
        let before = segments.range(..=range.start).next_back().filter(|(_, segment)| segment.end > range.start);
        let (_, found) = before.or_else(|| segments.range(range.start..).next())?;
        (found.first < range.end && !range.is_empty()).then(|| found.clone())
    }

    /// A segment has nothing that came before then, microseconds since the epoch, for the one before it was sealed; `None` where that is not known.
    pub(super) fn begun_us(&self, segment: &ArchivedSegment) -> Option<i64> {
        let kept = self.kept.lock();
        let part = kept.partitions.get(&segment.partition)?;
        part.segments.range(..segment.first).next_back().map(|(_, before)| before.sealed_at_us)
    }

    /// The first archived segment of a partition that begins at `from` or later.
    fn first_from(&self, partition: u16, from: u64) -> Option<ArchivedSegment> {
        let kept = self.kept.lock();
        let (_, segment) = kept.partitions.get(&partition)?.segments.range(from..).next()?;
        Some(segment.clone())
    }

    /// Records of a range, at most, that the log had to give up before they were copied.
    pub(super) fn lost(&self, partition: u16, range: &Range<u64>) -> u64 {
        let kept = self.kept.lock();
        let Some((part, log)) = kept.partitions.get(&partition).zip(self.log_of(partition)) else { return 0 };
        let within = |(from, to): &(u64, u64)| {
            let (from, to) = ((*from).max(range.start), (*to).min(range.end));
            if from < to { log.records(from, to) } else { 0 }
        };
        part.lost.iter().map(within).sum()
    }

    /// Keeps that the log gave this up before it was copied.
    pub(super) fn note_lost(&self, partition: u16, (from, to): (u64, u64)) {
        let mut kept = self.kept.lock();
        kept.note_lost(partition, from, to);
        if let Err(error) = kept.write(&self.file) {
            tracing::error!(partition, from, to, error = %error, "what the archive has lost could not be kept");
        }
    }

    /// Keeps why copying does not go on; says so once.
    fn note_failure(&self, failure: Option<&ArchiveError>) {
        let failure = failure.map(|error| {
            let advice = match error {
                ArchiveError::Object(error) => error.advice(&self.shown),
                _ => None,
            };
            let text = advice.map_or_else(|| error.to_string(), |advice| format!("{error}; {advice}"));
            shortened(&text, FAILURE_CHARS_MAX)
        });
        let mut kept = self.kept.lock();
        if kept.failure == failure {
            return;
        }
        match &failure {
            Some(failure) => {
                tracing::warn!(archive = %self.shown, error = failure, "segments of the log cannot be archived; they stay in the log, and it is tried again")
            }
            None => tracing::info!(archive = %self.shown, "segments of the log are archived again"),
        }
        kept.failure = failure;
        if let Err(error) = kept.write(&self.file) {
            tracing::warn!(error = %error, "how the archive is could not be kept");
        }
    }
}

/// The folder of a partition.
fn folder(partition: u16) -> String {
    format!("partition-{partition}")
}

/// The record of a segment.
fn record_name(partition: u16, first: u64) -> String {
    format!("{}/{first:020}.json", folder(partition))
}

/// The file of a segment, and its index.
fn object_names(segment: &ArchivedSegment) -> [String; 2] {
    let ArchivedSegment { partition, first, generation, .. } = segment;
    let stem = format!("{}/{first:020}-{generation}", folder(*partition));
    [format!("{stem}.log"), format!("{stem}.keys")]
}

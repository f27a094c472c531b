//! The partitions of the log: how many, and one of each opened with everything that stands behind it.
//!
//! A partition has a log, a refiner, a dedup window, and a worker and a cursor for each sync, of its own; they share the
//! HTTP source, the state file, the pool of functions and the live versions. So what the others do never holds one up.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use futures_util::future::select_all;
use tidegate_dedup::DedupSettings;
use tidegate_log::{self as intake, Log, LogSettings, SegmentLog, Trimmed};
use tidegate_metrics::EngineMetrics;
use tidegate_pipeline::refine::{RefineSettings, Refiner, RefinerHandle, SourceFunctions};
use tidegate_pipeline::sync::Start;
use tidegate_pipeline::tap::EventTaps;
use tidegate_process::clock;
use tidegate_state::{State, StateError};
use tokio::sync::watch;

use super::archive::LogArchive;
use super::continuity::{Ledger, Past, Stand};
use super::live::Live;
use super::sync_cursors::SyncCursors;
use super::{AppError, compare, entry_originals, paths, restored, starts};
use crate::config::Workspace;

/// Any request fits into this.
const PENDING_BYTES_MIN: usize = 32 << 20;
/// Between two looks at what the log may give up.
const TRIM_INTERVAL: Duration = Duration::from_secs(60);
/// Times in a row that the log is not trimmed because records of the quarantine could not be kept. Then it is all the same: a log
/// that is never trimmed fills the disk, and nothing can be kept any more.
const UNKEPT_MAX: u32 = 5;

/// How many partitions the log has: as many as the workspace says. Events that lie in another number of them would lose the
/// order of their users, and retries of them would come through, so that is refused.
pub(super) fn settle(workspace: &Workspace, past: Past, state: &mut State) -> Result<u16, AppError> {
    let (dir, wanted) = (paths::log(&workspace.data), workspace.partitions);
    let in_directory = intake::partitions_in(&dir);
    let found = match past {
        Past::Known | Past::Older => state.partitions()?,
        Past::New | Past::Lost => in_directory,
    };
    if found != wanted {
        // A log that cannot be read says so itself when it is opened; there may be events in it.
        let has_records = |partition| intake::end(&intake::partition_dir(&dir, partition)).map_or(true, |end| end > 0);
        if state.refined_to()? > 0 || (0..in_directory).any(has_records) {
            return Err(AppError::Partitions { path: dir, found, wanted });
        }
        // Nothing was ever in them.
        remove(&paths::dedup(&workspace.data, 0))?;
        for partition in wanted..in_directory {
            remove(&intake::partition_dir(&dir, partition))?;
        }
    }
    state.set_partitions(wanted)?;
    Ok(wanted)
}

fn remove(dir: &Path) -> Result<(), AppError> {
    match std::fs::remove_dir_all(dir) {
        Err(cause) if cause.kind() != std::io::ErrorKind::NotFound => {
            Err(AppError::Io { action: "could not remove", path: dir.to_owned(), cause })
        }
        _ => Ok(()),
    }
}

/// Threads of one partition that decode records; what comes behind decoding is one thread's work.
const DECODERS_MAX: usize = 4;

/// What one of `count` partitions gets of what all of them may have.
pub(super) fn share(settings: &LogSettings, count: u16) -> LogSettings {
    let count_bytes = u64::from(count);
    LogSettings {
        pending_bytes_max: (settings.pending_bytes_max / usize::from(count))
            .max(PENDING_BYTES_MIN.min(settings.pending_bytes_max)),
        retention_bytes: settings.retention_bytes / count_bytes,
        hard_cap_bytes: settings.hard_cap_bytes.map(|bytes| bytes / count_bytes),
        ..settings.clone()
    }
}

/// What all partitions are opened with.
pub(super) struct PartitionParts<'w> {
    pub(super) workspace: &'w Workspace,
    pub(super) past: Past,
    pub(super) count: u16,
    /// Syncs that ran before cannot run now, so nobody asks how far they are.
    pub(super) has_left_out_syncs: bool,
    pub(super) live: &'w Arc<Live>,
    pub(super) workers: tidegate_wasm::function::Workers,
    /// Where events are offered to whoever listens.
    pub(super) taps: EventTaps,
    pub(super) metrics: EngineMetrics,
}

/// One partition, with its threads at work.
pub(super) struct OpenPartition {
    pub(super) log: Arc<dyn Log>,
    /// The same, for its archive.
    pub(super) segments: SegmentLog,
    pub(super) writer: JoinHandle<()>,
    pub(super) refiner: JoinHandle<()>,
    /// As long as somebody has it the refiner works.
    pub(super) handle: RefinerHandle,
    /// Where each sync begins.
    pub(super) starts: BTreeMap<String, Start>,
    pub(super) state: State,
    /// Records that are kept, and of those the ones that not every sync has had.
    pub(super) records: (u64, u64),
    /// Bytes of an unfinished write that were cut.
    pub(super) bytes_cut: u64,
    /// Segments of an older format that were carried over.
    pub(super) carried_over: u64,
}

impl PartitionParts<'_> {
    /// A connection to the state file for `partition`.
    pub(super) fn state(&self, partition: u16) -> Result<State, StateError> {
        Ok(State::open(&paths::state(&self.workspace.data))?.of_partition(partition))
    }

    /// Opens `partition`, of whose syncs the destinations say this.
    pub(super) fn open(&self, partition: u16, ledgers: &BTreeMap<String, Ledger>) -> Result<OpenPartition, AppError> {
        let (workspace, mut state) = (self.workspace, self.state(partition)?);
        let mut stand = compare::stand(workspace, &state, self.past, ledgers)?;
        let handed_to = compare::handed_to(workspace, &stand);
        let floor = self.floor(&stand, &state)?;
        let dir = intake::partition_dir(&paths::log(&workspace.data), partition);
        let (log, writer, recovery) =
            SegmentLog::open(&dir, share(&workspace.log, self.count), floor, clock::now_us())?;
        super::report(&recovery);
        let segments = log.clone();
        let log: Arc<dyn Log> = Arc::new(log);
        let of_partition = (self.count > 1).then_some(partition);
        compare::settle(&mut stand, &*log, &mut state, of_partition)?;
        let starts = starts::settle(workspace, self.past, &handed_to, &*log, &mut state)?;
        drop(stand);
        let records = log.records(log.oldest(), recovery.next);
        let undelivered = handed_to.values().min().map_or(records, |least| log.records(*least, recovery.next));
        let writer = writer.run().map_err(AppError::Thread)?;
        let (handle, refiner) = self.refiner(&log, partition, handed_to)?;
        let (bytes_cut, carried_over) = (recovery.torn_bytes, recovery.carried);
        Ok(OpenPartition {
            log,
            segments,
            writer,
            refiner,
            handle,
            starts,
            state,
            records: (records, undelivered),
            bytes_cut,
            carried_over,
        })
    }

    /// No new record may get an offset below this. Behind a restore a ledger that cannot be asked now may be ahead of everything here: what would
    /// get offsets that it has seen would count as delivered.
    fn floor(&self, stand: &Stand<'_>, state: &State) -> Result<u64, AppError> {
        let floor = compare::floor(stand, state)?;
        let unasked = compare::unasked(self.workspace, stand);
        if unasked.is_empty() && !self.has_left_out_syncs {
            return Ok(floor);
        }
        let Some(leap) = restored::leap(&self.workspace.data, clock::now_us()) else { return Ok(floor) };
        // A log whose end cannot be read says so itself when it is opened.
        let end = Some(stand.log.end).filter(|end| *end < u64::MAX).unwrap_or(0);
        let floor = floor.max(end).saturating_add(leap);
        tracing::warn!(
            partition = state.partition(),
            syncs = unasked.join(", "),
            floor,
            "the data directory was restored from a backup, and not every sync's ledger can be asked how far it is: new records get \
             offsets from `floor` on, above all that it can have seen. The lag of such a sync counts the numbers between until it goes on"
        );
        Ok(floor)
    }

    fn refiner(
        &self,
        log: &Arc<dyn Log>,
        partition: u16,
        handed_to: HashMap<Arc<str>, u64>,
    ) -> Result<(RefinerHandle, JoinHandle<()>), AppError> {
        // Loaders and functions need the other cores more; where there are few, one thread refines.
        let threads = (self.workers.cores() / 4 / usize::from(self.count)).clamp(1, DECODERS_MAX);
        let settings = RefineSettings { threads, ..RefineSettings::default() };
        let mut state = self.state(partition)?;
        let DedupSettings { window_us, entries_max } = self.workspace.dedup;
        let dedup = DedupSettings { window_us, entries_max: entries_max / u64::from(self.count) };
        let dedup = state.dedup(&paths::dedup(&self.workspace.data, partition), dedup)?;
        let refiner = Refiner::open(Arc::clone(log), state, dedup, self.live.rules(), settings)?;
        let of_sources = SourceFunctions {
            workers: self.workers.clone(),
            recall: self.live.recall(),
            handed_to,
            taps: self.taps.clone(),
            metrics: self.metrics.clone(),
        };
        Ok(refiner.run(of_sources, self.state(partition)?)?)
    }
}

/// A partition while the server runs.
pub(super) struct KeptPartition {
    /// The directory of its dedup index.
    pub(super) dedup: PathBuf,
    pub(super) log: Arc<dyn Log>,
    /// Of all syncs.
    pub(super) cursors: Arc<SyncCursors>,
    pub(super) state: State,
    /// Times in a row that records of the quarantine could not be kept.
    pub(super) unkept: u32,
    pub(super) archive: Option<Arc<LogArchive>>,
}

/// Waits for the order to stop or for a failed disk, and trims the log meanwhile.
pub(super) async fn watch_over(mut partitions: Vec<KeptPartition>, mut stop: watch::Receiver<bool>) {
    let fails = |log: Arc<dyn Log>| {
        Box::pin(async move {
            let mut committed = log.follow();
            while !log.is_poisoned() && committed.changed().await.is_ok() {}
        })
    };
    let mut failed = select_all(partitions.iter().map(|one| fails(Arc::clone(&one.log))));
    let mut trim = tokio::time::interval(trim_interval());
    loop {
        let is_over = tokio::select! {
            _ = stop.wait_for(|stop| *stop) => true,
            _ = trim.tick() => false,
            _ = &mut failed => true,
        };
        if is_over {
            return;
        }
        // Off the threads that answer clients.
        let stops = stop.clone();
        let work = move || {
            let is_over = || *stops.borrow();
            for partition in &mut partitions {
                if is_over() {
                    break;
                }
                partition.trim(&is_over);
            }
            partitions
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(same) => partitions = same,
            Err(error) => match error.try_into_panic() {
                // Nothing would trim the log any more: whoever panics here ends all, and not as if that had been ordered.
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => return,
            },
        }
    }
}

fn trim_interval() -> Duration {
    fail::fail_point!("trim_in_haste", |_| Duration::from_millis(20));
    TRIM_INTERVAL
}

impl KeptPartition {
    fn trim(&mut self, is_over: &dyn Fn() -> bool) {
        let slowest = self.cursors.floor(self.state.partition());
        let refined = self.state.refined_to().unwrap_or(0);
        let floor = slowest.map_or(refined, |slowest| slowest.min(refined));
        match self.trim_to(floor, is_over) {
            Ok(Trimmed { records_lost, unarchived, .. }) => {
                if records_lost > 0 {
                    tracing::error!(
                        records = records_lost,
                        "log.hard_cap_bytes is reached: records were removed that not every sync had delivered"
                    );
                }
                if let Some(unarchived) = unarchived {
                    self.note_unarchived(unarchived);
                }
            }
            Err(error) => tracing::error!(error = %error, "the log could not be trimmed"),
        }
    }

    /// Says and keeps that records were removed that the archive does not have.
    fn note_unarchived(&self, (from, to): (u64, u64)) {
        let (partition, records) = (self.state.partition(), self.log.records(from, to));
        tracing::error!(
            partition,
            from,
            to,
            records,
            "log.hard_cap_bytes is reached: records were removed before they were archived"
        );
        if let Some(archive) = &self.archive {
            archive.note_lost(partition, (from, to));
        }
    }

    fn trim_to(&mut self, floor: u64, is_over: &dyn Fn() -> bool) -> Result<Trimmed, AppError> {
        // What the log gives up cannot be read from it again.
        tidegate_dedup::sync(&self.dedup)?;
        let now_us = clock::now_us();
        let due_to = self.log.due_to(floor, now_us);
        let kept_to = due_to.min(self.state.refined_to()?);
        match entry_originals::keep(&*self.log, &mut self.state, kept_to, is_over) {
            Ok(true) => self.unkept = 0,
            Ok(false) => return Ok(Trimmed::default()),
            Err(error) => {
                self.unkept = self.unkept.saturating_add(1);
                if self.unkept < UNKEPT_MAX {
                    return Err(error);
                }
                tracing::warn!(error = %error, "records of quarantined events cannot be kept; those that the log gives up cannot be retried");
            }
        }
        // With what the state knows of them, records are replayed that the archive has.
        self.state.forget_below(self.log.readable_from())?;
        fail::fail_point!("trim_slowly");
        // What has come meanwhile may have made more due, whose records nobody has kept.
        Ok(self.log.trim_below((floor, due_to), now_us)?)
    }
}

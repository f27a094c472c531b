//! The thread behind the index: makes runs of tails, merges runs, and removes what is too old.
//!
//! Runs have levels: the run of a tail has level 0, and [`FANOUT`] runs of a level that follow one another become one of the
//! next, up to a part of the window. So an id is written few times, runs are few, and the oldest can go by itself.

use std::error::Error as _;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tidegate_process::task;

use crate::manifest::DedupManifest;
use crate::run::{MarkRun, Merged, RunHead, RunWriter, base_us};
use crate::tail::MarkTail;
use crate::{DedupError, DedupSettings, remove_unlisted};

/// Runs of a level that become one of the next.
const FANOUT: usize = 4;
/// No run has more than this part of what the window may hold: the oldest one goes whole.
const RUN_PART: u64 = 6;
/// Until what failed is tried again.
const PAUSE: Duration = Duration::from_secs(1);
/// The same for merging, which saves time later and is not waited for.
const MERGE_PAUSE: Duration = Duration::from_secs(60);
/// Marks between two looks at whether to stop.
const STOP_INTERVAL: u64 = 16 << 10;

/// All that is no longer in the active tail.
#[derive(Debug, Clone)]
pub(crate) struct Levels {
    /// The oldest first.
    pub(crate) runs: Vec<Arc<MarkRun>>,
    /// Full tails that are becoming runs, the oldest first.
    pub(crate) frozen: Vec<Arc<MarkTail>>,
    /// Below this offset ids are in runs, or too old.
    pub(crate) covered_to: u64,
}

/// What the index and its thread share.
pub(crate) struct Shared {
    pub(crate) dir: PathBuf,
    pub(crate) settings: DedupSettings,
    pub(crate) key_check: u64,
    pub(crate) now: Mutex<Now>,
    pub(crate) changed: Condvar,
}

pub(crate) struct Now {
    pub(crate) levels: Arc<Levels>,
    /// The newest time of an id; microseconds since the epoch.
    pub(crate) newest_us: i64,
    /// What the thread fails at.
    pub(crate) failure: Option<DedupError>,
    pub(crate) stop: bool,
}

/// What there is to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Job {
    /// The oldest frozen tail becomes a run.
    Seal,
    /// The oldest run goes.
    Drop { is_expired: bool },
    /// These runs become one.
    Merge(Range<usize>),
}

pub(crate) fn run(shared: Arc<Shared>) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name("dedup".into()).spawn(move || {
        task::give_way();
        while let Some((levels, newest_us, job)) = shared.wait() {
            let done = shared.work(&levels, newest_us, &job);
            let mut now = shared.now.lock();
            match done {
                Ok(next) => {
                    let frozen = now.levels.frozen.iter().skip(usize::from(job == Job::Seal)).cloned().collect();
                    now.levels = Arc::new(Levels { frozen, ..next });
                    now.failure = None;
                    drop(now);
                    shared.remove_unused(&levels, &job);
                }
                Err(_) if now.stop => return,
                Err(error) => {
                    if now.failure.is_none() {
                        let cause = error.source().map(ToString::to_string);
                        tracing::error!(error = %error, cause, "the dedup index could not be written; it is tried again");
                    }
                    now.failure = Some(error);
                    shared.remove_unfinished(&levels);
                    shared.changed.notify_all();
                    // A tail that becomes full ends the pause.
                    shared.changed.wait_for(&mut now, if job == Job::Seal { PAUSE } else { MERGE_PAUSE });
                }
            }
            shared.changed.notify_all();
        }
    })
}

impl Shared {
    /// Waits for something to do; `None` when it is time to stop.
    fn wait(&self) -> Option<(Arc<Levels>, i64, Job)> {
        let mut now = self.now.lock();
        loop {
            if now.stop {
                return None;
            }
            if let Some(job) = plan(&now.levels, &self.settings, now.newest_us) {
                return Some((Arc::clone(&now.levels), now.newest_us, job));
            }
            self.changed.wait(&mut now);
        }
    }

    /// What there is when `job` is done; on disk, the manifest included.
    fn work(&self, levels: &Levels, newest_us: i64, job: &Job) -> Result<Levels, DedupError> {
        let mut next = Levels { frozen: Vec::new(), ..levels.clone() };
        match job {
            Job::Seal => {
                let Some(tail) = levels.frozen.first() else { return Ok(next) };
                next.runs.push(Arc::new(self.seal(tail)?));
                next.covered_to = tail.range.end;
            }
            Job::Drop { is_expired } => {
                let dropped = next.runs.remove(0);
                if !is_expired {
                    let window_s = newest_us.saturating_sub(dropped.newest_us) / 1_000_000;
                    tracing::warn!(
                        entries_max = self.settings.entries_max,
                        window_s,
                        "the dedup window holds as many ids as it may; it is shortened, and older retries may come through"
                    );
                }
            }
            Job::Merge(which) => {
                let merged = self.merge(&levels.runs[which.clone()], newest_us)?;
                next.runs.splice(which.clone(), [Arc::new(merged)]);
            }
        }
        self.manifest(&next).write(&self.dir)?;
        Ok(next)
    }

    pub(crate) fn manifest(&self, levels: &Levels) -> DedupManifest {
        let runs = levels.runs.iter().map(|run| run.head.range.clone()).collect();
        DedupManifest { key_check: self.key_check, covered_to: levels.covered_to, runs }
    }

    fn seal(&self, tail: &MarkTail) -> Result<MarkRun, DedupError> {
        let marks = tail.sorted();
        let times = || marks.iter().map(|mark| mark.received_at_us);
        let base_us = base_us(times().min().unwrap_or(0), times().max().unwrap_or(0));
        let head = RunHead { range: tail.range.clone(), level: 0, base_us, key_check: self.key_check };
        let mut writer = RunWriter::create(&self.dir, head, marks.len() as u64)?;
        marks.into_iter().try_for_each(|mark| writer.push(mark))?;
        writer.finish()
    }

    /// Leaves out what is too old by now.
    fn merge(&self, runs: &[Arc<MarkRun>], newest_us: i64) -> Result<MarkRun, DedupError> {
        let count_max = runs.iter().map(|run| run.count).sum();
        let oldest_us = runs.iter().map(|run| run.head.base_us).min().unwrap_or(0);
        // What is too old by now is left out, so it need not fit.
        let oldest_us = oldest_us.max(newest_us.saturating_sub(self.settings.window_us));
        let base_us = base_us(oldest_us, runs.iter().map(|run| run.newest_us).max().unwrap_or(0));
        let level = runs.iter().map(|run| run.head.level).max().unwrap_or(0) + 1;
        let start = runs.first().map_or(0, |run| run.head.range.start);
        let end = runs.last().map_or(0, |run| run.head.range.end);
        let head = RunHead { range: start..end, level, base_us, key_check: self.key_check };
        let mut writer = RunWriter::create(&self.dir, head, count_max)?;
        let mut merged = Merged::new(runs)?;
        let mut read = 0_u64;
        while let Some(mark) = merged.next()? {
            if mark.received_at_us.saturating_add(self.settings.window_us) >= newest_us {
                writer.push(mark)?;
            }
            read += 1;
            if read.is_multiple_of(STOP_INTERVAL) && self.now.lock().stop {
                return Err(DedupError::Behind("it is being closed".to_owned()));
            }
        }
        writer.finish()
    }

    /// Gives back the room of what could not be written.
    fn remove_unfinished(&self, levels: &Levels) {
        // Whatever is left is removed at the next start.
        let _ = remove_unlisted(&self.dir, &levels.runs);
    }

    /// Removes the files of what a job has made useless. What is left is removed at the next start.
    fn remove_unused(&self, before: &Levels, job: &Job) {
        let runs = match job {
            Job::Seal => return before.frozen.iter().take(1).for_each(|tail| tail.remove_file()),
            Job::Drop { .. } => 0..1,
            Job::Merge(which) => which.clone(),
        };
        for run in &before.runs[runs] {
            let _ = std::fs::remove_file(run.path());
        }
    }
}

/// Tails first: they are what the index waits for.
pub(crate) fn plan(levels: &Levels, settings: &DedupSettings, newest_us: i64) -> Option<Job> {
    if !levels.frozen.is_empty() {
        return Some(Job::Seal);
    }
    if let Some(oldest) = levels.runs.first() {
        let is_expired = oldest.newest_us.saturating_add(settings.window_us) < newest_us;
        let count: u64 = levels.runs.iter().map(|run| run.count).sum();
        if is_expired || (levels.runs.len() > 1 && count > settings.entries_max) {
            return Some(Job::Drop { is_expired });
        }
    }
    let run_max = settings.entries_max / RUN_PART;
    let groups = levels.runs.windows(FANOUT).enumerate().rev();
    let mergeable = |runs: &[Arc<MarkRun>]| {
        runs.iter().all(|run| run.head.level == runs[0].head.level)
            && runs.iter().map(|run| run.count).sum::<u64>() <= run_max
    };
    groups.into_iter().find(|(_, runs)| mergeable(runs)).map(|(at, _)| Job::Merge(at..at + FANOUT))
}

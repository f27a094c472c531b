//! Erases what is older than its source keeps events, pass by pass, while everything else goes on.
//!
//! A pass takes sources that keep events equally long together. First goes what may be retried: entries of the quarantine and pending events. Then
//! the log, from where the pass before came to, segment by segment, up to the first record of theirs that is young enough. A step is one segment,
//! and how far it is erased is kept with it: whoever dies makes the step again, which finds less to do. What is being written is sealed when some
//! of it is too old, once in a pass at most. Nothing is erased that is not refined, for it is not counted yet.
//!
//! A record that is old and lies behind younger ones, as that of a retried event does, goes when those before it do.
//!
//! What the log does not have any more and its archive has is fetched, erased and put back in the same way; a pass waits while the archive is away.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::record::{ErasedRecord, LoggedRecord};
use tidegate_log::{Eraser, Erasing, Log, LogEntry, LogError, LogPartitions};
use tidegate_process::clock;
use tidegate_state::{ExpiredRows, State};
use tokio::sync::watch;
use tokio::time::sleep;

use super::AppError;
use super::archive::{LogArchive, unless_stopped};
use crate::config::Workspace;

/// Between two passes: a tenth of the shortest time that any source keeps events, within these.
const PAUSE_MIN: Duration = Duration::from_secs(1);
const PAUSE_MAX: Duration = Duration::from_secs(3_600);
const PAUSE_PARTS: u32 = 10;
/// After a failure, and while the log takes nothing.
const FAILED_PAUSE: Duration = Duration::from_secs(2);
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_024;

/// Erases what is too old, in one environment.
pub(super) struct RetentionPasses {
    state: State,
    log: LogPartitions,
    archive: Option<Arc<LogArchive>>,
    workspace: watch::Receiver<Arc<Workspace>>,
    pass: Option<RetentionPass>,
}

/// Sources that keep events equally long.
struct RetentionGroup {
    /// Events that were received before are too old, microseconds since the epoch.
    before_us: i64,
    /// Each with its syncs.
    sources: BTreeMap<String, Vec<String>>,
}

/// What is left to do of a pass.
struct RetentionPass {
    /// The last one is worked on.
    groups: Vec<RetentionGroup>,
    /// What of it is in quarantine or pending is gone.
    is_state_done: bool,
    partition: u16,
    /// What is being written of the partition was sealed.
    is_sealed: bool,
    pause: Duration,
}

/// What is to be done next.
enum PassStep {
    /// Nothing for so long; for ever where no source keeps events for a time of its own.
    Idle(Option<Duration>),
    Next,
    /// Something is in the way.
    Busy,
}

/// What was found in a part of the log.
#[derive(Default)]
struct OldRecords {
    /// Behind the last one that is too old.
    reached: Option<u64>,
    /// The first of these sources that is young enough.
    first_young: Option<u64>,
    /// Some were erased before: by a pass that may not have put them back into the archive.
    has_erased: bool,
}

impl RetentionPasses {
    pub(super) fn new(
        (state, log, archive): (State, LogPartitions, Option<Arc<LogArchive>>),
        workspace: watch::Receiver<Arc<Workspace>>,
    ) -> Self {
        Self { state, log, archive, workspace, pass: None }
    }

    /// Works until `stop` turns true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut changes = self.workspace.clone();
        while !*stop.borrow() {
            // What changes while a pass is under way is for the next.
            if self.pass.is_none() {
                changes.mark_unchanged();
            }
            let stops = stop.clone();
            // Off the threads that answer clients.
            let work = move || {
                let step = self.step(&stops).map_err(|error| error.to_string());
                (self, step)
            };
            let Ok((same, step)) = tokio::task::spawn_blocking(work).await else { return };
            self = same;
            let step = step.unwrap_or_else(|error| {
                tracing::warn!(
                    error,
                    "what is older than its source keeps events could not be erased; it is tried again"
                );
                PassStep::Busy
            });
            let pause = match step {
                PassStep::Next => continue,
                PassStep::Busy => FAILED_PAUSE,
                PassStep::Idle(pause) => pause.unwrap_or(PAUSE_MAX),
            };
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                changed = changes.changed() => if changed.is_err() { return },
                () = sleep(pause) => {}
            }
        }
    }

    fn step(&mut self, stop: &watch::Receiver<bool>) -> Result<PassStep, AppError> {
        let mut pass = match self.pass.take() {
            Some(pass) => pass,
            None => match self.begun() {
                Some(pass) => pass,
                None => return Ok(PassStep::Idle(None)),
            },
        };
        let step = self.step_of(&mut pass, stop);
        // After a failure the pass goes on where it is.
        if !matches!(step, Ok(PassStep::Idle(_))) {
            self.pass = Some(pass);
        }
        step
    }

    /// A new pass; none where no source says how long it keeps events.
    fn begun(&self) -> Option<RetentionPass> {
        let workspace = Arc::clone(&self.workspace.borrow());
        let now_us = clock::now_us();
        let mut groups: BTreeMap<i64, RetentionGroup> = BTreeMap::new();
        for (name, source) in &workspace.sources {
            let Some(retention_us) = source.retention_us else { continue };
            let syncs = workspace.syncs.iter().filter(|(_, sync)| sync.source.0 == *name);
            let syncs = syncs.map(|(sync, _)| sync.clone()).collect();
            let before_us = now_us.saturating_sub(retention_us);
            let group =
                groups.entry(retention_us).or_insert_with(|| RetentionGroup { before_us, sources: BTreeMap::new() });
            group.sources.insert(name.clone(), syncs);
        }
        let shortest = groups.keys().next().copied()?;
        let shortest = Duration::from_micros(u64::try_from(shortest).unwrap_or_default());
        let pause = (shortest / PAUSE_PARTS).clamp(PAUSE_MIN, PAUSE_MAX);
        let groups = groups.into_values().collect();
        Some(RetentionPass { groups, is_state_done: false, partition: 0, is_sealed: false, pause })
    }

    fn step_of(&mut self, pass: &mut RetentionPass, stop: &watch::Receiver<bool>) -> Result<PassStep, AppError> {
        let Some(group) = pass.groups.last() else { return Ok(PassStep::Idle(Some(pass.pause))) };
        if !pass.is_state_done {
            let mut expired = ExpiredRows::default();
            for (source, syncs) in &group.sources {
                let more = self.state.expire_of_source(source, syncs, group.before_us)?;
                expired.quarantined += more.quarantined;
                expired.pending += more.pending;
            }
            pass.is_state_done = expired == ExpiredRows::default();
            return Ok(PassStep::Next);
        }
        let found = self.log.iter().find(|(number, _)| *number == pass.partition).map(|(_, log)| Arc::clone(log));
        let Some(log) = found else {
            pass.groups.pop();
            (pass.is_state_done, pass.partition, pass.is_sealed) = (false, 0, false);
            return Ok(PassStep::Next);
        };
        let step = self.log_step(&*log, (group, pass.partition, pass.is_sealed), stop)?;
        match step {
            LogStep::Next => Ok(PassStep::Next),
            LogStep::Sealed => {
                pass.is_sealed = true;
                Ok(PassStep::Next)
            }
            LogStep::Done => {
                self.state.keep_erased_to(&group.names(), pass.partition, group.before_us)?;
                (pass.partition, pass.is_sealed) = (pass.partition.saturating_add(1), false);
                Ok(PassStep::Next)
            }
            LogStep::Busy => Ok(PassStep::Busy),
        }
    }

    /// The next segment of a partition.
    fn log_step(
        &mut self,
        log: &dyn Log,
        (group, partition, is_sealed): (&RetentionGroup, u16, bool),
        stop: &watch::Receiver<bool>,
    ) -> Result<LogStep, AppError> {
        let names = group.names();
        let mut next = u64::MAX;
        for name in &names {
            next = next.min(self.state.erased_below(name, partition)?);
        }
        let archive = self.archive.clone();
        let turn = match &archive {
            // What is erased in the log alone would be in the archive for ever.
            Some(archive) if !archive.is_known() => return Ok(LogStep::Busy),
            // Nobody copies a segment while records of it are erased.
            Some(archive) => match unless_stopped(archive.turn(), stop) {
                Some(turn) => Some(turn),
                None => return Ok(LogStep::Busy),
            },
            None => None,
        };
        let archived = archive.as_ref().and_then(|archive| {
            let of_archive = next..log.oldest();
            archive.first_in(partition, &of_archive).map(|segment| (archive, segment))
        });
        let held = match &archived {
            // Then nothing in it is old enough, nor behind it.
            Some((archive, segment)) if archive.begun_us(segment) >= Some(group.before_us) => return Ok(LogStep::Done),
            Some((archive, segment)) => match unless_stopped(archive.fetch(segment), stop) {
                Some(fetched) => Some(fetched?),
                None => return Ok(LogStep::Busy),
            },
            None => None,
        };
        let from = next.max(held.as_ref().map_or_else(|| log.oldest(), |held| held.range().start));
        let to = log.committed().min(self.state.refined_to_of(partition)?.unwrap_or(0));
        if from >= to {
            return Ok(LogStep::Done);
        }
        let sealed = match &held {
            Some(held) => Some(held.range()),
            None => log.sealed().into_iter().find(|part| part.end > from).filter(|part| part.start < to),
        };
        let range = sealed.as_ref().map_or(from..to, |part| from.max(part.start)..part.end.min(to));
        let Some(found) = old_in(log, &range, group, stop)? else { return Ok(LogStep::Busy) };
        // Trimmed meanwhile: then the archive has it.
        let is_gone = || archive.is_some() && held.is_none() && log.oldest() > range.start;
        if is_gone() {
            return Ok(LogStep::Next);
        }
        if let Some(reached) = found.reached {
            let Some(part) = &sealed else {
                // It was sealed a moment ago: what is left is for the next pass.
                if is_sealed {
                    return Ok(LogStep::Done);
                }
                // Where that is refused it goes on when the log does.
                return Ok(if log.seal().is_ok() { LogStep::Sealed } else { LogStep::Busy });
            };
            // First what says that they are missing for that reason.
            self.state.begin_erasing(&names, partition, reached)?;
            fail::fail_point!("retention_begun", |_| std::process::abort());
            let mut eraser = OldEraser { group, end: range.end };
            let erased = log.erase(part.start, &mut eraser)?;
            if let Some(erased) = &erased {
                tracing::debug!(partition, segment = part.start, records = erased.records, "too old, and erased");
            }
            if erased.is_none() && is_gone() {
                return Ok(LogStep::Next);
            }
            if erased.is_none() && (held.is_some() || log.oldest() <= part.start) {
                return Ok(LogStep::Busy);
            }
            fail::fail_point!("retention_erased", |_| std::process::abort());
        }
        if let Some((turn, part)) = turn.as_ref().zip(sealed.as_ref())
            && (found.reached.is_some() || found.has_erased)
            && !turn.put_back((partition, part.start, held.is_some()), stop)?
        {
            return Ok(LogStep::Busy);
        }
        self.state.keep_erased(&names, partition, found.first_young.unwrap_or(range.end))?;
        Ok(if found.first_young.is_some() { LogStep::Done } else { LogStep::Next })
    }
}

/// What came of a segment.
enum LogStep {
    Next,
    /// What was being written is sealed now, and is looked at again.
    Sealed,
    /// Nothing of the partition is left that is too old.
    Done,
    Busy,
}

impl RetentionGroup {
    fn names(&self) -> Vec<&str> {
        self.sources.keys().map(String::as_str).collect()
    }

    /// Whether a record is too old; `None` for one of another source, one that is erased, and one that cannot be read.
    fn is_old(&self, entry: &LogEntry) -> Option<bool> {
        if ErasedRecord::read(&entry.shared, &entry.own).is_some() {
            return None;
        }
        let read = LoggedRecord::read(&entry.shared, &entry.own).ok()?;
        let record = read.record();
        self.sources.contains_key(record.source).then_some(record.received_at_us < self.before_us)
    }
}

/// What of a part of the log is too old; `None` when the server stops.
fn old_in(
    log: &dyn Log,
    range: &Range<u64>,
    group: &RetentionGroup,
    stop: &watch::Receiver<bool>,
) -> Result<Option<OldRecords>, AppError> {
    let mut found = OldRecords::default();
    let mut reader = match log.reader(range.start) {
        Err(LogError::Trimmed { .. }) => return Ok(Some(found)),
        reader => reader?,
    };
    loop {
        if *stop.borrow() {
            return Ok(None);
        }
        let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
        for entry in chunk.records.iter().filter(|entry| entry.offset < range.end) {
            match group.is_old(entry) {
                Some(true) => found.reached = Some(entry.offset.saturating_add(1)),
                Some(false) => found.first_young = found.first_young.or(Some(entry.offset)),
                None => found.has_erased |= ErasedRecord::read(&entry.shared, &entry.own).is_some(),
            }
        }
        let is_end = chunk.records.is_empty() && chunk.damage.is_empty();
        if is_end || chunk.next >= range.end {
            return Ok(Some(found));
        }
    }
}

/// Erases the records that are too old.
struct OldEraser<'a> {
    group: &'a RetentionGroup,
    /// What lies there or behind is not refined, and stays.
    end: u64,
}

impl Eraser for OldEraser<'_> {
    fn record(&mut self, entry: &LogEntry) -> Erasing {
        if ErasedRecord::read(&entry.shared, &entry.own).is_some() {
            return Erasing::IsErased;
        }
        if entry.offset >= self.end || self.group.is_old(entry) != Some(true) {
            return Erasing::Stays;
        }
        match ErasedRecord::of(&entry.shared, &entry.own, ErasedRecord::BY_RETENTION) {
            Some(erased) => Erasing::With(erased.own(entry.shared.is_empty())),
            None => Erasing::Stays,
        }
    }

    fn shared(&mut self, shared: &[u8]) -> Option<Vec<u8>> {
        ErasedRecord::shared(shared)
    }

    fn lost(&mut self, _: &[u8]) -> bool {
        false
    }
}

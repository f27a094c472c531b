//! Sends quarantined events into the log once more, job by job, beside what arrives.
//!
//! A step marks some entries and moves the job in one transaction (`step_retry_job`); then their records are appended, each with a mark
//! that says which entry it is. After a start everything that is marked is appended again: refining takes the entry out for the first
//! record, and knows any other for a duplicate. Live events come first: there is a rate, few entries are on their way at once, none is
//! sent while many live events wait to be refined, and the log has a lane for them. None is sent either while a job that forgets somebody looks
//! through the log: it would come behind what was looked through, with somebody whom only the record of the entry names.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::record::{LoggedRecord, Record, RecordProblem};
use tidegate_event::{Position, RetryMark, decode, in_partition};
use tidegate_log::{AppendError, Frames, LogPartitions};
use tidegate_process::clock;
use tidegate_state::{BegunRetry, EntryFilter, KeptEntry, KeptOriginal, QuarantineStage, RetryJob, RetryStep, State};
use tokio::sync::{Mutex, Notify, watch};
use tokio::time::sleep;

use super::{AppError, entry_originals, forget_jobs};
use crate::api::{WorkspaceNames, entry_filter_of};

/// The lane of the log: no source has so many.
const LANE: u32 = u32::MAX;
/// Entries that are marked at once.
const STEP_MAX: usize = 256;
/// About the bytes of records that are appended at once: any log takes so many.
const STEP_BYTES: usize = 4 << 20;
/// Entries that may be marked and not refined yet.
const UNDER_WAY_MAX: u64 = 2_000;
/// Records that may wait to be refined, of all partitions, while entries are sent: two log ranges.
const LIVE_WAITING_MAX: u64 = 2_048;
/// Between two looks for a job, when nobody says that there is one.
const IDLE: Duration = Duration::from_secs(5);
/// Between two steps at least; until there is room.
const STEP_PAUSE: Duration = Duration::from_millis(50);
/// Between two looks whether a job that forgets somebody is through the log.
const FORGETTING_PAUSE: Duration = Duration::from_millis(500);
/// After a failure.
const FAILED_PAUSE: Duration = Duration::from_secs(2);

/// Works on the jobs of one environment.
pub(super) struct EntryRetries {
    state: State,
    log: LogPartitions,
    names: watch::Receiver<Arc<WorkspaceNames>>,
    wake: Arc<Notify>,
    /// Held from when entries are read until the log has them.
    sending: Arc<Mutex<()>>,
    /// Everything that was marked before the start is appended up to this entry; `None` when all is.
    resumed_to: Option<u64>,
}

/// What is to be done next.
enum NextStep {
    Idle,
    Wait(Duration),
    Append(Vec<(u16, Frames)>, Duration),
}

/// Why an entry cannot be retried: the words of answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum NotRetried {
    /// It holds no event; edited it may become one.
    NoEvent,
    Damaged,
    /// The log has given its record up, and nobody has kept it.
    NoOriginal,
    NoSource,
    NoSync,
    /// The batch that it was in is not delivered yet.
    NotSettled,
}

impl NotRetried {
    const fn as_str(self) -> &'static str {
        match self {
            Self::NoEvent => "no-event",
            Self::Damaged => "damaged",
            Self::NoOriginal => "no-original",
            Self::NoSource => "no-source",
            Self::NoSync => "no-sync",
            Self::NotSettled => "not-settled",
        }
    }
}

/// An entry that can be retried.
struct RetriableEntry {
    kept: KeptEntry,
    original: KeptOriginal,
    /// The one sync that it is for.
    for_sync: Option<String>,
}

impl RetriableEntry {
    /// About those of its record, with an event in the place of its own.
    fn bytes(&self, edited: Option<&[u8]>) -> usize {
        self.original.shared.len() + self.original.own.len() + edited.map_or(0, <[u8]>::len)
    }
}

impl EntryRetries {
    pub(super) fn new(
        (state, log): (State, LogPartitions),
        names: watch::Receiver<Arc<WorkspaceNames>>,
        wake: Arc<Notify>,
        sending: Arc<Mutex<()>>,
    ) -> Self {
        Self { state, log, names, wake, sending, resumed_to: Some(0) }
    }

    /// Works until `stop` turns true, or the log takes nothing more.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let (wake, sending) = (Arc::clone(&self.wake), Arc::clone(&self.sending));
        loop {
            let sends = sending.lock().await;
            // Off the threads that answer clients.
            let work = move || {
                let step = self.step().map_err(|error| error.to_string());
                (self, step)
            };
            let Ok((same, step)) = tokio::task::spawn_blocking(work).await else { return };
            self = same;
            let step = step.unwrap_or_else(|error| {
                tracing::warn!(error, "events of the quarantine could not be retried; it is tried again");
                NextStep::Wait(FAILED_PAUSE)
            });
            let pause = match step {
                NextStep::Idle => {
                    drop(sends);
                    tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return,
                        () = wake.notified() => {}
                        () = sleep(IDLE) => {}
                    }
                    continue;
                }
                NextStep::Wait(pause) => pause,
                NextStep::Append(parts, pause) => {
                    let appended = tokio::select! {
                        _ = stop.wait_for(|stop| *stop) => return,
                        appended = append(&self.log, parts) => appended,
                    };
                    if let Err(error) = appended {
                        tracing::warn!(error = %error, "events of the quarantine are not retried: the log takes nothing more");
                        return;
                    }
                    fail::fail_point!("retries_appended", |_| std::process::abort());
                    pause
                }
            };
            drop(sends);
            tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                () = sleep(pause) => {}
            }
        }
    }

    fn step(&mut self) -> Result<NextStep, AppError> {
        if forget_jobs::is_in_log(&self.state)? {
            return Ok(NextStep::Wait(FORGETTING_PAUSE));
        }
        if let Some(from) = self.resumed_to {
            return self.resume(from);
        }
        let Some(job) = self.state.running_retry_job()? else { return Ok(NextStep::Idle) };
        if self.state.retries_under_way()? >= UNDER_WAY_MAX || self.unrefined()? > LIVE_WAITING_MAX {
            return Ok(NextStep::Wait(STEP_PAUSE));
        }
        self.advance(&job)
    }

    /// Records of the log that wait to be refined.
    fn unrefined(&self) -> Result<u64, AppError> {
        let mut records = 0;
        for (partition, log) in self.log.iter() {
            let committed = log.committed();
            let refined_to = self.state.refined_to_of(partition)?.unwrap_or(committed);
            records += log.records(refined_to.min(committed), committed);
        }
        Ok(records)
    }

    /// Appends what was marked by an earlier life, which may have died before it had appended it.
    fn resume(&mut self, from: u64) -> Result<NextStep, AppError> {
        let retries = self.state.begun_retries(from, STEP_MAX as u64)?;
        if retries.is_empty() {
            self.resumed_to = None;
            return Ok(NextStep::Wait(Duration::ZERO));
        }
        let (mut parts, mut bytes, mut to) = (BTreeMap::new(), 0, from);
        for retry in retries {
            if bytes > STEP_BYTES {
                break;
            }
            to = retry.entry;
            let filter = EntryFilter { id: Some(retry.entry), ..EntryFilter::default() };
            let page = self.state.entries(&filter, (retry.entry.saturating_sub(1), retry.entry), 1)?;
            match page.entries.into_iter().next().map(|kept| self.retriable(kept, retry.edited.is_some())) {
                Some(Ok(Ok(entry))) => {
                    bytes += entry.bytes(retry.edited.as_deref());
                    self.push(&mut parts, &entry, &retry);
                }
                Some(Err(error)) => return Err(error),
                // What it needs is gone meanwhile: it stays what it is.
                Some(Ok(Err(_))) | None => self.state.give_up_retry(retry.entry)?,
            }
        }
        // Not before: a step that failed is made again.
        self.resumed_to = Some(to);
        Ok(NextStep::Append(parts.into_iter().collect(), STEP_PAUSE))
    }

    fn advance(&mut self, job: &RetryJob) -> Result<NextStep, AppError> {
        let rate = job.asked.rate.max(1);
        let step_max = usize::try_from(rate / 10).unwrap_or(STEP_MAX).clamp(1, STEP_MAX);
        let filter = entry_filter_of(&job.asked.filter);
        let page = self.state.entries(&filter, (job.at_id, job.until_id), step_max)?;
        let mut skipped: BTreeMap<String, u64> = serde_json::from_str(&job.skipped).unwrap_or_default();
        let (mut entries, mut retries) = (BTreeMap::new(), Vec::new());
        let (mut last, mut bytes, mut next) = (None, 0, page.next);
        for kept in page.entries {
            if bytes > STEP_BYTES {
                next = last;
                break;
            }
            last = Some(kept.id);
            match self.retriable(kept, job.asked.edited.is_some())? {
                Ok(entry) => {
                    bytes += entry.bytes(job.asked.edited.as_deref());
                    let attempt = entry.kept.attempts.saturating_add(1);
                    retries.push(BegunRetry { entry: entry.kept.id, attempt, edited: job.asked.edited.clone() });
                    entries.insert(entry.kept.id, entry);
                }
                Err(reason) => *skipped.entry(reason.as_str().to_owned()).or_default() += 1,
            }
        }
        let is_end = next.is_none();
        let step = RetryStep {
            retries,
            at_id: next.or(last).unwrap_or(job.until_id),
            skipped: serde_json::to_string(&skipped).unwrap_or_default(),
            ended_at_us: is_end.then(clock::now_us),
        };
        let marked = self.state.step_retry_job(job.id, &step)?;
        fail::fail_point!("retries_marked", |_| std::process::abort());
        let mut parts = BTreeMap::new();
        for retry in &marked {
            if let Some(entry) = entries.get(&retry.entry) {
                self.push(&mut parts, entry, retry);
            }
        }
        let pause = Duration::from_secs(1) * u32::try_from(marked.len()).unwrap_or(u32::MAX) / rate;
        if parts.is_empty() {
            return Ok(NextStep::Wait(Duration::ZERO));
        }
        Ok(NextStep::Append(parts.into_iter().collect(), pause))
    }

    /// What an entry needs to be refined once more, or why it cannot be.
    fn retriable(&self, kept: KeptEntry, is_edited: bool) -> Result<Result<RetriableEntry, NotRetried>, AppError> {
        if !kept.is_whole {
            return Ok(Err(NotRetried::Damaged));
        }
        if kept.entry.stage == QuarantineStage::Log.as_str() {
            return Ok(Err(NotRetried::NoEvent));
        }
        let at = kept.entry.id.position;
        let Some(original) = entry_originals::original(&self.log, &self.state, at)? else {
            return Ok(Err(NotRetried::NoOriginal));
        };
        let Ok(read) = LoggedRecord::read(&original.shared, &original.own) else {
            return Ok(Err(NotRetried::NoOriginal));
        };
        let record = read.record();
        if record.problem.is_some() && !is_edited {
            return Ok(Err(NotRetried::NoEvent));
        }
        let names = Arc::clone(&self.names.borrow());
        if !names.sources.contains(record.source) {
            return Ok(Err(NotRetried::NoSource));
        }
        let for_sync = one_sync(&kept, record.source);
        if let Some(sync) = &for_sync {
            if names.sync_sources.get(sync).is_none_or(|source| source != record.source) {
                return Ok(Err(NotRetried::NoSync));
            }
            // Before that its batch may be gathered once more, with this event.
            let cursor = self.state.cursor(&in_partition(sync, at.partition))?;
            if cursor.is_none_or(|cursor| cursor <= at.offset) {
                return Ok(Err(NotRetried::NotSettled));
            }
        }
        Ok(Ok(RetriableEntry { kept, original, for_sync }))
    }
}

/// The one sync that an entry is for. Earlier builds did not say it of what the functions of a sync had stopped.
pub(super) fn one_sync(kept: &KeptEntry, source: &str) -> Option<String> {
    let is_of_function = kept.entry.stage == QuarantineStage::Function.as_str();
    let of_sync = || (is_of_function && kept.entry.scope != source).then(|| kept.entry.scope.clone());
    kept.for_sync.clone().or_else(of_sync)
}

impl EntryRetries {
    /// Adds the record of an entry to those of its partition.
    fn push(&self, parts: &mut BTreeMap<u16, Frames>, entry: &RetriableEntry, retry: &BegunRetry) {
        let RetriableEntry { kept, original, for_sync } = entry;
        let Ok(read) = LoggedRecord::read(&original.shared, &original.own) else { return };
        let id = kept.entry.id;
        let (record, partition) = match retry.edited.as_deref() {
            Some(event) => {
                let record = edited(read.record(), event);
                let partition = self.partition_of_user(&record, id.position);
                (record, partition)
            }
            None => (read.record(), id.position.partition),
        };
        let mark = RetryMark {
            position: id.position,
            part: id.part,
            attempt: retry.attempt,
            stage: kept.entry.stage,
            scope: &kept.entry.scope,
            for_sync: for_sync.as_deref().unwrap_or_default(),
        };
        let frames = parts.entry(partition).or_insert_with(|| Frames::with_capacity(64 << 10));
        frames.begin(|out| record.write_shared(out));
        frames.push(|out| {
            mark.write(out);
            record.write_own(out);
        });
    }

    /// The partition of the user whose event an edit has made, where the door puts what a client sends of that user: the ids of both are looked
    /// for in one place then, and each user's events stay in order. What is nobody's stays where it was.
    fn partition_of_user(&self, record: &Record<'_>, at: Position) -> u16 {
        let partitioner = self.log.partitioner();
        if partitioner.is_one() {
            return at.partition;
        }
        let event = decode::decode(record, record.source.into(), at).ok();
        let user = event.as_ref().and_then(|event| event.user());
        user.map_or(at.partition, |user| partitioner.choose(record.source, user.as_bytes()))
    }
}

/// The record with another event. What says beside it why it was none goes.
fn edited<'a>(record: Record<'a>, event: &'a [u8]) -> Record<'a> {
    let tells_why = record.problem.is_some_and(|problem| problem.is_shared() || problem == RecordProblem::Unmappable);
    let context = if tells_why { &b""[..] } else { record.context };
    Record { problem: None, event, context, ..record }
}

/// Appends, as often as it takes until there is room. What was accepted of a part that is appended again is a duplicate.
async fn append(log: &LogPartitions, parts: Vec<(u16, Frames)>) -> Result<(), AppendError> {
    loop {
        match log.append(LANE, parts.clone()).await {
            Err(AppendError::Overloaded | AppendError::DiskFull) => sleep(FAILED_PAUSE).await,
            appended => return appended,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use tidegate_event::EventId;
    use tidegate_event::subject::SubjectKind;
    use tidegate_log::{Log, LogSettings, SegmentLog};
    use tidegate_state::{ClearSubject, NewForgetJob, NewRetryJob, Quarantined};

    use super::*;

    /// An entry that does not name whom its record names, with that record.
    fn kept_entry(state: &mut State) {
        let entry = Quarantined {
            id: EventId::new(Position::new(0, 3), 0),
            stage: QuarantineStage::Contract.as_str(),
            scope: "web".to_owned(),
            code: "schema-violation".to_owned(),
            message: "no".to_owned(),
            event: br#"{"type":"track"}"#.to_vec(),
            at_us: 1,
            detail: None,
        };
        state.quarantine(&[entry]).unwrap();
        let record = Record {
            problem: None,
            route: None,
            received_at_us: 1,
            source: "web",
            ip: "",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: br#"{"type":"track","event":"Sold","userId":"ann","messageId":"m"}"#,
        };
        let (mut shared, mut own) = (Vec::new(), Vec::new());
        record.write_shared(&mut shared);
        record.write_own(&mut own);
        state.keep_originals(&[KeptOriginal { offset: 3, shared, own }]).unwrap();
    }

    fn sends(retries: &mut EntryRetries) -> bool {
        (0..3).any(|_| matches!(retries.step().unwrap(), NextStep::Append(..)))
    }

    #[test]
    fn no_entry_is_sent_while_somebody_is_looked_for_in_the_log() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("state.db");
        let mut state = State::open(&path).unwrap();
        kept_entry(&mut state);
        let (log, _writer, _) = SegmentLog::open(&dir.path().join("log"), LogSettings::default(), 0, 1).unwrap();
        let log: Arc<dyn Log> = Arc::new(log);
        let log = LogPartitions::new(vec![log]);
        let sources = BTreeSet::from(["web".to_owned()]);
        let (_names, names) = watch::channel(Arc::new(WorkspaceNames { sources, ..WorkspaceNames::default() }));
        let own = State::open(&path).unwrap();
        let mut retries = EntryRetries::new((own, log), names, Arc::default(), Arc::default());
        let ann = ClearSubject { kind: SubjectKind::User, trait_name: String::new(), value: "ann".to_owned() };
        let subjects = state.hashed(&[ann]).unwrap();
        let forget = NewForgetJob { subjects, ..NewForgetJob::default() };
        let forget = state.begin_forget_job(&forget, &[]).unwrap().unwrap();
        state.begin_retry_job(&NewRetryJob { filter: "{}".to_owned(), rate: 100, ..NewRetryJob::default() }).unwrap();
        for progress in ["", r#"{"step":"log"}"#] {
            state.step_forget_job(forget, progress, None).unwrap();
            assert!(!sends(&mut retries), "{progress}");
            assert_eq!(state.retries_under_way().unwrap(), 0);
        }
        // It is through: what is left is about nobody whom it forgets.
        state.step_forget_job(forget, r#"{"step":"tools"}"#, None).unwrap();
        assert!(sends(&mut retries));
    }
}

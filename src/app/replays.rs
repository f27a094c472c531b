//! Gives parts of the log to syncs once more, job by job, while everything else goes on.
//!
//! A replay is a second worker of a sync, for events that the sync had: it has a connection to the destination of its own, a ledger of its own
//! there, and a place in the log of its own that nothing is trimmed above. A step is one batch: it is durable at the destination, and then
//! the job is, with what is pending of it. Whoever dies in between finds the batch in the ledger, or delivers it again. What a destination
//! refuses is counted and in no quarantine: the event is the sync's, and has come to its end there.

mod reading;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::replay::{ReplayOrder, ReplayReport};
use tidegate_event::EventId;
use tidegate_event::destination::{Batch, Destination, Failure};
use tidegate_pipeline::replay::{ReplayBounds, ReplayFilter, ReplaySource, ReplayedCounts, ReplayedPart};
use tidegate_pipeline::sync::pending;
use tidegate_process::{clock, telemetry};
use tidegate_state::{ReplayJob, ReplayJobState, ReplayStep, State, StateError, SuppressList};
use tokio::sync::{Notify, watch};
use tokio::time::{sleep, timeout};

use super::active_runtimes::ActiveRuntimes;
use super::archive::LogArchive;
use super::replay_archive::ReplayArchive;
use super::replay_batches::{HandedBatch, add_counted, add_notices, name_refused, refusals};
use super::replay_parts::{OpenReplay, part_of, times_of};
use super::running_syncs::{SyncPlace, WorkerPlaces};
use super::sync_cursors::HeldPlace;
use super::{AppError, destinations};
use crate::config::{SyncConfig, Workspace};

/// Between two looks for a job, when nobody says that there is one.
const IDLE: Duration = Duration::from_secs(5);
/// Between two looks whether a job that is worked on was cancelled, and at what is pending.
const LOOK: Duration = Duration::from_millis(250);
/// After a failure.
const FAILED_PAUSE_MIN: Duration = Duration::from_millis(200);
const FAILED_PAUSE_MAX: Duration = Duration::from_secs(30);
/// While a sync is paused.
const PAUSED: Duration = Duration::from_secs(2);
/// For the round of retries that a destination is at.
const CLOSING_MAX: Duration = Duration::from_secs(15);

/// Works on the jobs of one environment.
pub(super) struct Replays {
    worker: ReplayWorker,
    /// Sees that a job is over while it is worked on.
    watching: State,
    wake: Arc<Notify>,
}

struct ReplayWorker {
    state: State,
    places: WorkerPlaces,
    archive: ReplayArchive,
    workspace: watch::Receiver<Arc<Workspace>>,
    runtimes: Arc<ActiveRuntimes>,
    /// Who is left out, as of the last batch.
    suppressed: SuppressList,
    /// What the log keeps for the job, by partition.
    held: BTreeMap<u16, HeldPlace>,
}

/// How the work on a job, or on a part of it, has ended.
enum ReplayTurn {
    Done,
    /// It begins anew where it is, for what runs has changed.
    Again,
    /// It does not run any more.
    Over,
    Wait(Duration),
}

impl Replays {
    pub(super) fn new(
        (state, watching, archive): (State, State, Option<Arc<LogArchive>>),
        places: WorkerPlaces,
        (workspace, runtimes): (watch::Receiver<Arc<Workspace>>, Arc<ActiveRuntimes>),
        wake: Arc<Notify>,
    ) -> Self {
        let mut worker = ReplayWorker {
            state,
            places,
            archive: ReplayArchive::new(archive),
            workspace,
            runtimes,
            suppressed: SuppressList::default(),
            held: BTreeMap::new(),
        };
        if let Err(error) = worker.hold_as_before() {
            tracing::warn!(error = %error, "what the log keeps for replays could not be read");
        }
        Self { worker, watching, wake }
    }

    /// Works until `stop` turns true. What is under way then is left where it is, and goes on with the next start.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => {}
            () = self.work() => {}
        }
    }

    async fn work(self) {
        let Self { mut worker, mut watching, wake } = self;
        let mut failed_pause = FAILED_PAUSE_MIN;
        loop {
            let turn = match worker.state.running_replay_job() {
                Ok(Some(job)) => {
                    let turn = tokio::select! {
                        biased;
                        turn = worker.run(&job) => turn,
                        () = until_over(&mut watching, job.id) => Ok(ReplayTurn::Over),
                    };
                    if let Err(error) = &turn {
                        tracing::warn!(replay = job.id, error = %error, "a replay could not go on; it is tried again");
                        worker.note_failure(&job, error);
                    }
                    turn
                }
                Ok(None) => {
                    worker.let_go();
                    Ok(ReplayTurn::Wait(IDLE))
                }
                Err(error) => Err(error.into()),
            };
            let pause = match turn {
                Ok(ReplayTurn::Wait(pause)) => pause,
                Ok(ReplayTurn::Done | ReplayTurn::Again) => {
                    failed_pause = FAILED_PAUSE_MIN;
                    continue;
                }
                Ok(ReplayTurn::Over) => {
                    worker.let_go();
                    continue;
                }
                Err(_) => {
                    failed_pause = (failed_pause * 2).min(FAILED_PAUSE_MAX);
                    failed_pause
                }
            };
            tokio::select! {
                () = wake.notified() => {}
                () = sleep(pause) => {}
            }
        }
    }
}

/// Waits until a job does not run any more.
async fn until_over(state: &mut State, id: u64) {
    loop {
        sleep(LOOK).await;
        let job = state.replay_job(id);
        if job.is_ok_and(|job| job.is_none_or(|job| job.state != ReplayJobState::Running)) {
            return;
        }
    }
}

fn report_of(job: &ReplayJob) -> ReplayReport {
    serde_json::from_str(&job.progress).unwrap_or_default()
}

impl ReplayWorker {
    /// Has the log keep what a job needs that ran before the start.
    fn hold_as_before(&mut self) -> Result<(), StateError> {
        self.state.sweep_replays()?;
        if let Some(job) = self.state.running_replay_job()? {
            for part in report_of(&job).parts.iter().filter(|part| part.at < part.to) {
                self.hold(part.partition, part.at);
            }
        }
        Ok(())
    }

    /// Keeps how far a job is; false when it does not run any more.
    fn keep(&mut self, job: &ReplayJob, report: &ReplayReport) -> Result<bool, StateError> {
        let progress = serde_json::to_string(report).unwrap_or_default();
        self.state.step_replay_job(job, &ReplayStep { progress: &progress, pending: &[], end: None })
    }

    fn end(&mut self, job: &ReplayJob, report: &ReplayReport, state: ReplayJobState) -> Result<(), StateError> {
        let progress = serde_json::to_string(report).unwrap_or_default();
        let end = Some((state, clock::now_us()));
        self.state.step_replay_job(job, &ReplayStep { progress: &progress, pending: &[], end })?;
        let (sync, delivered) = (&*job.asked.sync, report.counts.delivered);
        tracing::info!(replay = job.id, sync, delivered, state = state.as_str(), "a replay has ended");
        self.let_go();
        Ok(())
    }

    fn note_failure(&mut self, job: &ReplayJob, error: &AppError) {
        let noted = self.state.replay_job(job.id).and_then(|found| {
            let Some(found) = found else { return Ok(false) };
            let report = ReplayReport { failure: Some(telemetry::with_causes(error)), ..report_of(&found) };
            self.keep(job, &report)
        });
        if let Err(error) = noted {
            tracing::debug!(error = %error, "why a replay fails could not be recorded");
        }
    }

    async fn run(&mut self, job: &ReplayJob) -> Result<ReplayTurn, AppError> {
        let workspace = Arc::clone(&self.workspace.borrow_and_update());
        let order: ReplayOrder = serde_json::from_str(&job.asked.order).unwrap_or_default();
        let mut report = report_of(job);
        let Some(config) = workspace.syncs.get(&job.asked.sync) else {
            report.failure = Some("there is no such sync any more".to_owned());
            self.end(job, &report, ReplayJobState::Failed)?;
            return Ok(ReplayTurn::Over);
        };
        if !order.dry_run && workspace.is_sync_paused(&job.asked.sync) {
            report.failure = Some("the sync is paused; the replay goes on when that does".to_owned());
            self.keep(job, &report)?;
            return Ok(ReplayTurn::Wait(PAUSED));
        }
        if !self.archive.is_known() {
            report.failure =
                Some("what the archive of the log has is not known yet: `tidegate status` says why".to_owned());
            self.keep(job, &report)?;
            return Ok(ReplayTurn::Wait(PAUSED));
        }
        if report.step.is_empty() {
            self.find_parts((job, config), &order, &mut report).await?;
            "events".clone_into(&mut report.step);
            self.keep(job, &report)?;
        }
        let only = ReplayFilter {
            names: order.events.iter().cloned().collect(),
            subjects: self.state.subject_set(&job.asked.subjects)?,
            received: times_of(&order),
        };
        let open = OpenReplay { job, order, workspace: Arc::clone(&workspace), only };
        let places = Arc::clone(&self.places.places);
        for at in 0..report.parts.len() {
            let partition = report.parts[at].partition;
            let Some(place) = places.get(usize::from(partition)) else { continue };
            let source = open.source((place, config))?;
            let turn = match open.order.dry_run {
                true => self.count(&open, (&source, config, place), (&mut report, at)).await?,
                false => self.part(&open, (&source, config, place), (&mut report, at)).await?,
            };
            if !matches!(turn, ReplayTurn::Done) {
                return Ok(turn);
            }
            self.held.remove(&partition);
            self.archive.clear();
        }
        "done".clone_into(&mut report.step);
        report.failure = None;
        self.end(job, &report, ReplayJobState::Done)?;
        Ok(ReplayTurn::Over)
    }

    /// Finds the parts of the log that a job is about.
    async fn find_parts(
        &mut self,
        (job, config): (&ReplayJob, &SyncConfig),
        order: &ReplayOrder,
        report: &mut ReplayReport,
    ) -> Result<(), AppError> {
        let places = Arc::clone(&self.places.places);
        (report.parts, report.notes) = (Vec::new(), Vec::new());
        for place in places.iter() {
            self.hold(place.refiner.partition(), place.log.oldest());
            let cursor = place.state()?.cursor(&job.asked.sync)?.unwrap_or(0);
            // What no sync had, the functions of the source have not been over.
            let settled = cursor.min(place.refiner.handed_to(&config.source.0));
            let part = part_of(order, (place, settled), &self.archive, &mut report.notes).await?;
            report.parts.extend(part);
        }
        self.held.clear();
        for part in &report.parts {
            if let Some(place) = places.get(usize::from(part.partition)) {
                self.hold_next(place, part.from);
            }
        }
        Ok(())
    }

    /// Counts what would be sent of a part.
    async fn count(
        &mut self,
        open: &OpenReplay<'_>,
        (source, config, place): (&ReplaySource, &SyncConfig, &SyncPlace),
        (report, index): (&mut ReplayReport, usize),
    ) -> Result<ReplayTurn, AppError> {
        let (bounds, mut state) = (open.bounds(config), place.state()?);
        while report.parts[index].at < report.parts[index].to {
            self.places.give_way(&mut self.state).await?;
            let to = report.parts[index].to;
            let Some(end) = self.step_end((place, &mut state), &mut report.parts[index], to).await? else { continue };
            let range = report.parts[index].at..end;
            self.state.follow_suppress_list(&mut self.suppressed)?;
            let counted = source.count(range, bounds, &self.suppressed.subjects).await?;
            add_counted(report, &counted);
            report.parts[index].at = counted.batch.range.end;
            if !self.keep(open.job, report)? {
                return Ok(ReplayTurn::Over);
            }
            self.hold_next(place, report.parts[index].at);
        }
        Ok(ReplayTurn::Done)
    }

    /// Delivers a part, to its end.
    async fn part(
        &mut self,
        open: &OpenReplay<'_>,
        (source, config, place): (&ReplaySource, &SyncConfig, &SyncPlace),
        (report, index): (&mut ReplayReport, usize),
    ) -> Result<ReplayTurn, AppError> {
        let (sync, name) = (&*open.job.asked.sync, open.job.name());
        let names = (sync, &*name);
        let mut destination =
            destinations::destination_of_replay(&open.workspace, &self.runtimes, names, place.state()?)?;
        let kind = open.workspace.destinations.get(&config.destination.0).map(|found| &found.kind);
        let keeps_ledger = kind.is_some_and(|kind| !kind.has_cursor_in_state());
        let mut turn = match self.locate(open, &mut *destination, report).await? {
            Some(durable) if keeps_ledger => {
                let counted = (source, place, open.bounds(config));
                self.count_by_ledger(durable, counted, (&mut *report, index)).await?;
                ReplayTurn::Done
            }
            Some(_) => ReplayTurn::Done,
            None => ReplayTurn::Again,
        };
        if matches!(turn, ReplayTurn::Done) {
            turn = self.deliver_all(open, (source, config, place), &mut *destination, (report, index)).await?;
        }
        if timeout(CLOSING_MAX, destination.close()).await.is_err() {
            tracing::warn!(replay = open.job.id, "the destination of a replay does not close");
        }
        Ok(turn)
    }

    /// How far the ledger of the destination says that the replay is, 0 where it says nothing; `None` when what runs has changed.
    async fn locate(
        &mut self,
        open: &OpenReplay<'_>,
        destination: &mut dyn Destination,
        report: &mut ReplayReport,
    ) -> Result<Option<u64>, AppError> {
        let mut pause = FAILED_PAUSE_MIN;
        loop {
            match destination.durable_to().await {
                Ok(durable) => return Ok(Some(durable.unwrap_or(0))),
                Err(failure) => {
                    if !self.failed(open, &failure, report, &mut pause).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Waits after a failure; false when what runs has changed.
    async fn failed(
        &mut self,
        open: &OpenReplay<'_>,
        failure: &Failure,
        report: &mut ReplayReport,
        pause: &mut Duration,
    ) -> Result<bool, AppError> {
        let reason = telemetry::with_causes(failure);
        if report.failure.as_ref() != Some(&reason) {
            tracing::warn!(replay = open.job.id, error = reason, "a replay fails at its destination; it tries again");
            report.failure = Some(reason);
            self.keep(open.job, report)?;
        }
        sleep(*pause).await;
        *pause = (*pause * 2).min(FAILED_PAUSE_MAX);
        Ok(!self.workspace.has_changed().unwrap_or(false))
    }

    /// Counts what the destination has by its ledger and the job did not hear of: the server was stopped in between.
    async fn count_by_ledger(
        &mut self,
        durable: u64,
        (source, place, bounds): (&ReplaySource, &SyncPlace, ReplayBounds),
        (report, index): (&mut ReplayReport, usize),
    ) -> Result<(), AppError> {
        let part = &mut report.parts[index];
        let durable = durable.clamp(part.from.min(part.to), part.to);
        // An older copy of the warehouse lacks what the job has delivered since.
        part.at = part.at.min(durable);
        let mut state = place.state()?;
        while report.parts[index].at < durable {
            let reached = self.step_end((place, &mut state), &mut report.parts[index], durable).await?;
            let Some(end) = reached else { continue };
            let range = report.parts[index].at..end;
            self.state.follow_suppress_list(&mut self.suppressed)?;
            let counted = source.count(range, bounds, &self.suppressed.subjects).await?;
            add_counted(report, &counted);
            let ReplayedCounts { came, suppressed, filtered, .. } = counted.counts;
            report.counts.by_ledger += came - suppressed - filtered;
            report.parts[index].at = counted.batch.range.end;
        }
        Ok(())
    }

    async fn deliver_all(
        &mut self,
        open: &OpenReplay<'_>,
        (source, config, place): (&ReplaySource, &SyncConfig, &SyncPlace),
        destination: &mut dyn Destination,
        (report, index): (&mut ReplayReport, usize),
    ) -> Result<ReplayTurn, AppError> {
        let mut state = place.state()?;
        let bounds = open.bounds(config);
        loop {
            let (at, to) = (report.parts[index].at, report.parts[index].to);
            if at >= to {
                break;
            }
            if self.workspace.has_changed().unwrap_or(false) {
                return Ok(ReplayTurn::Again);
            }
            self.places.give_way(&mut self.state).await?;
            let end = open.order.rate.map_or(to, |rate| at.saturating_add(u64::from(rate.max(1))).min(to));
            // `hard_cap_bytes` is above what replays need, and so is what the archive keeps.
            let reached = self.step_end((place, &mut state), &mut report.parts[index], end).await?;
            let Some(end) = reached else { continue };
            self.state.follow_suppress_list(&mut self.suppressed)?;
            let part = source.next(at..end, bounds, &self.suppressed.subjects).await?;
            let Some(handed) = self.deliver(open, part, destination, report).await? else {
                return Ok(ReplayTurn::Again);
            };
            fail::fail_point!("replay_delivered", |_| std::process::abort());
            let HandedBatch { batch, delivery } = handed;
            let pending = pending(&batch, &delivery);
            report.parts[index].at = batch.range.end;
            report.failure = None;
            let progress = serde_json::to_string(report).unwrap_or_default();
            if !state.step_replay_job(open.job, &ReplayStep { progress: &progress, pending: &pending, end: None })? {
                return Ok(ReplayTurn::Over);
            }
            fail::fail_point!("replay_stepped", |_| std::process::abort());
            destination.recorded();
            self.hold_next(place, batch.range.end);
            if let Some(rate) = open.order.rate {
                let records = u32::try_from(place.log.records(at, batch.range.end)).unwrap_or(u32::MAX);
                sleep(Duration::from_secs(1) * records / rate.max(1)).await;
            }
        }
        self.settle_pending(open, report).await
    }

    /// Waits until nothing is pending any more.
    async fn settle_pending(
        &mut self,
        open: &OpenReplay<'_>,
        report: &mut ReplayReport,
    ) -> Result<ReplayTurn, AppError> {
        let mut is_told = false;
        while self.state.replay_retries(open.job)?.pending > 0 {
            if !std::mem::replace(&mut is_told, true) {
                "pending".clone_into(&mut report.step);
                self.keep(open.job, report)?;
            }
            if self.workspace.has_changed().unwrap_or(false) {
                return Ok(ReplayTurn::Again);
            }
            sleep(LOOK).await;
        }
        Ok(ReplayTurn::Done)
    }

    /// Tries until a batch is durable at the destination, and counts what became of it; `None` when what runs has changed before.
    async fn deliver(
        &mut self,
        open: &OpenReplay<'_>,
        part: ReplayedPart,
        destination: &mut dyn Destination,
        report: &mut ReplayReport,
    ) -> Result<Option<HandedBatch>, AppError> {
        let sent = part.batch.events.len() as u64;
        let mut refused: Vec<(EventId, String)> =
            part.stopped.iter().map(|entry| (entry.id, entry.code.clone())).collect();
        let (stopped, mut pause) = (refused.len(), FAILED_PAUSE_MIN);
        let counted = ReplayedPart { batch: Batch::default(), stopped: Vec::new(), ..part };
        let mut batch = Arc::new(part.batch);
        loop {
            match destination.deliver(Arc::clone(&batch)).await {
                Ok(delivery) => {
                    refused.extend(refusals(&batch, &delivery.rejected));
                    add_counted(report, &counted);
                    let counts = &mut report.counts;
                    // What waits already was counted when it came.
                    counts.sent += sent - delivery.waiting.len() as u64;
                    counts.delivered += delivery.delivered;
                    counts.duplicates += delivery.duplicates;
                    counts.skipped += delivery.skipped.len() as u64;
                    counts.pending += delivery.deferred.len() as u64;
                    counts.refused += (refused.len() - stopped) as u64;
                    name_refused(&mut report.refused, refused);
                    add_notices(&mut report.notices, &delivery.notices);
                    return Ok(Some(HandedBatch { batch, delivery }));
                }
                Err(Failure::Refused { rejected }) if !rejected.is_empty() => {
                    refused.extend(refusals(&batch, &rejected));
                    batch = Arc::new(batch.without(&rejected));
                }
                Err(failure) => {
                    if !self.failed(open, &failure, report, &mut pause).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

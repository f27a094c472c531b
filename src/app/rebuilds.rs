//! Makes the tables of syncs anew beside the old ones, job by job, and has them take the place of those.
//!
//! A rebuild is a reader of the log that follows its sync: it delivers what the sync has delivered, by the contract and functions of now, to
//! tables of its own with a ledger of its own, and never goes beyond the sync. To swap, it waits until nobody writes to the old tables, comes
//! to the very offset that the sync is at, and the warehouse exchanges the tables with their rows of the ledger in one transaction. Whoever
//! dies in between finds one or the other. It works in turns, so that one that waits holds up no other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::rebuild::RebuildReport;
use tidegate_event::destination::{Batch, Destination, Failure};
use tidegate_process::{clock, telemetry};
use tidegate_state::{RebuildJob, RebuildJobState, State, StateError, SuppressList};
use tokio::sync::{Notify, watch};
use tokio::time::{Instant, sleep, timeout};

use super::AppError;
use super::active_runtimes::ActiveRuntimes;
use super::rebuild_batches::{
    at_by_ledger, deliver, delivered_to, durable_to, may_swap, note_expired, part_of, report_of, schemas_in_the_way,
    swap_tables, swapped_at, until_over, wait_for_consent,
};
use super::rebuild_target::{OpenRebuild, RebuiltSchemas};
use super::replay_batches::{add_counts, note};
use super::running_syncs::{SyncPlace, WorkerPlaces};
use super::sync_cursors::HeldPlace;
use super::unopened::Unopened;
use crate::config::Workspace;

/// Between two looks for a job, when nobody says that there is one.
const IDLE: Duration = Duration::from_secs(5);
/// Between two turns of jobs that have nothing to do but to follow their syncs.
const FOLLOWING: Duration = Duration::from_millis(500);
/// Batches of one turn.
const BATCHES_MAX: usize = 16;
/// For deliveries of the sync that are under way when tables are to be swapped.
const LOCK_MAX: Duration = Duration::from_secs(10);
/// After a swap that could not be done, so that others have their turn.
const SWAP_PAUSE: Duration = Duration::from_secs(30);
/// For a destination that is closed.
const CLOSING_MAX: Duration = Duration::from_secs(15);

/// Works on the jobs of one environment.
pub(super) struct Rebuilds {
    worker: RebuildWorker,
    /// Sees that a job is over while it is worked on.
    watching: State,
    wake: Arc<Notify>,
}

/// A job and a partition.
type RebuildKey = (u64, u16);

struct RebuildWorker {
    state: State,
    places: WorkerPlaces,
    workspace: watch::Receiver<Arc<Workspace>>,
    runtimes: Arc<ActiveRuntimes>,
    /// Who is left out, as of the last batch.
    suppressed: SuppressList,
    /// What the log keeps for the jobs.
    held: BTreeMap<RebuildKey, HeldPlace>,
    /// Their new tables.
    opened: BTreeMap<RebuildKey, Unopened>,
    /// When those try again to swap that could not.
    swap_again_at: BTreeMap<u64, Instant>,
}

/// How a turn, or a part of one, has ended.
enum RebuildTurn {
    /// There is more to do.
    Busy,
    /// It is as far as the sync.
    Ready,
    /// It waits for something that its report names, or for somebody.
    Waits,
    /// It does not run any more.
    Over,
}

impl Rebuilds {
    pub(super) fn new(
        (state, watching): (State, State),
        places: WorkerPlaces,
        (workspace, runtimes): (watch::Receiver<Arc<Workspace>>, Arc<ActiveRuntimes>),
        wake: Arc<Notify>,
    ) -> Self {
        let mut worker = RebuildWorker {
            state,
            places,
            workspace,
            runtimes,
            suppressed: SuppressList::default(),
            held: BTreeMap::new(),
            opened: BTreeMap::new(),
            swap_again_at: BTreeMap::new(),
        };
        if let Err(error) = worker.hold_as_before() {
            tracing::warn!(error = %error, "what the log keeps for rebuilds could not be read");
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
        loop {
            let jobs = match worker.state.running_rebuild_jobs() {
                Ok(jobs) => jobs,
                Err(error) => {
                    // What the log keeps for them stays kept.
                    tracing::warn!(error = %error, "the rebuilds could not be read");
                    sleep(IDLE).await;
                    continue;
                }
            };
            worker.forget_all_but(&jobs).await;
            let mut is_busy = false;
            for job in &jobs {
                let turn = tokio::select! {
                    biased;
                    turn = worker.turn(job) => turn,
                    () = until_over(&mut watching, job.id) => Ok(RebuildTurn::Over),
                };
                match turn {
                    Ok(turn) => is_busy |= matches!(turn, RebuildTurn::Busy | RebuildTurn::Over),
                    Err(error) => worker.note_failure(job, &telemetry::with_causes(&error)),
                }
            }
            if is_busy {
                continue;
            }
            tokio::select! {
                () = wake.notified() => {}
                () = sleep(if jobs.is_empty() { IDLE } else { FOLLOWING }) => {}
            }
        }
    }
}

impl RebuildWorker {
    /// Has the log keep what jobs need that ran before the start.
    fn hold_as_before(&mut self) -> Result<(), StateError> {
        for job in self.state.running_rebuild_jobs()? {
            for part in report_of(&job).parts {
                self.hold((job.id, part.partition), part.at);
            }
        }
        Ok(())
    }

    /// Has the log of a partition keep what is at or above an offset.
    fn hold(&mut self, key: RebuildKey, offset: u64) {
        match self.held.get(&key) {
            Some(held) => held.move_to(offset),
            None => drop(self.held.insert(key, self.places.hold(key.1, offset))),
        }
    }

    /// Forgets what is kept for jobs that do not run any more.
    async fn forget_all_but(&mut self, jobs: &[RebuildJob]) {
        let runs = |key: &RebuildKey| jobs.iter().any(|job| job.id == key.0);
        self.held.retain(|key, _| runs(key));
        self.swap_again_at.retain(|id, _| runs(&(*id, 0)));
        let gone: Vec<RebuildKey> = self.opened.keys().filter(|key| !runs(key)).copied().collect();
        for key in gone {
            self.close(key).await;
        }
    }

    async fn close(&mut self, key: RebuildKey) {
        let Some(mut opened) = self.opened.remove(&key) else { return };
        if timeout(CLOSING_MAX, opened.close()).await.is_err() {
            tracing::warn!(rebuild = key.0, "the new tables of a rebuild are not closed");
        }
    }

    /// Keeps how far a job is, and how; false when it does not run any more.
    fn keep(&mut self, job: &RebuildJob, report: &RebuildReport, state: RebuildJobState) -> Result<bool, StateError> {
        let progress = serde_json::to_string(report).unwrap_or_default();
        self.state.step_rebuild_job(job.id, &progress, (state, clock::now_us()))
    }

    fn end(&mut self, job: &RebuildJob, report: &RebuildReport, state: RebuildJobState) -> Result<(), StateError> {
        self.keep(job, report, state)?;
        let (sync, delivered) = (&*job.asked.sync, report.counts.delivered);
        tracing::info!(rebuild = job.id, sync, delivered, state = state.as_str(), "a rebuild has ended");
        Ok(())
    }

    fn fail(&mut self, job: &RebuildJob, report: RebuildReport, reason: String) -> Result<RebuildTurn, AppError> {
        let report = RebuildReport { failure: Some(reason), ..report };
        self.end(job, &report, RebuildJobState::Failed)?;
        Ok(RebuildTurn::Over)
    }

    /// Keeps why a job could not go on, once for each reason.
    fn note_failure(&mut self, job: &RebuildJob, reason: &str) {
        let noted = self.state.rebuild_job(job.id).and_then(|found| {
            let Some(found) = found.filter(|found| found.state.runs()) else { return Ok(false) };
            let report = report_of(&found);
            if report.failure.as_deref() == Some(reason) {
                return Ok(false);
            }
            tracing::warn!(rebuild = job.id, error = reason, "a rebuild could not go on; it is tried again");
            let report = RebuildReport { failure: Some(reason.to_owned()), ..report };
            self.keep(job, &report, found.state)
        });
        if let Err(error) = noted {
            tracing::debug!(error = %error, "why a rebuild fails could not be recorded");
        }
    }

    /// What cannot be done now is tried again with the next turn.
    fn waits(
        &mut self,
        open: &OpenRebuild,
        report: &mut RebuildReport,
        reason: String,
    ) -> Result<RebuildTurn, AppError> {
        if report.failure.as_ref() != Some(&reason) {
            tracing::warn!(rebuild = open.job.id, error = reason, "a rebuild waits; it tries again");
            report.failure = Some(reason);
            if !self.keep(&open.job, report, RebuildJobState::Running)? {
                return Ok(RebuildTurn::Over);
            }
        }
        Ok(RebuildTurn::Waits)
    }

    /// Goes on with a job for a while.
    async fn turn(&mut self, job: &RebuildJob) -> Result<RebuildTurn, AppError> {
        if self.workspace.has_changed().unwrap_or(false) {
            self.forget_opened().await;
        }
        let workspace = Arc::clone(&self.workspace.borrow_and_update());
        let mut report = report_of(job);
        let open = match OpenRebuild::of(job, &workspace) {
            Ok(open) => open,
            Err(reason) => return self.fail(job, report, reason),
        };
        if report.step.is_empty() {
            return self.begin(&open, report).await;
        }
        if let Some(reason) = open.in_the_way(&report) {
            return self.fail(job, report, reason);
        }
        if job.state == RebuildJobState::Swapping {
            return self.resume_swap(&open, report).await;
        }
        if open.order.dry_run {
            return self.count(&open, report).await;
        }
        if workspace.is_sync_paused(&job.asked.sync) {
            let reason = "the sync is paused; the rebuild goes on when that does".to_owned();
            return self.waits(&open, &mut report, reason);
        }
        let places = Arc::clone(&self.places.places);
        for at in 0..report.parts.len() {
            let Some(place) = places.get(usize::from(report.parts[at].partition)) else { continue };
            report.parts[at].to = delivered_to(&open, place)?.max(report.parts[at].at);
            let turn = self.follow(&open, place, (&mut report, at)).await?;
            if !matches!(turn, RebuildTurn::Ready) {
                return Ok(turn);
            }
        }
        if self.swap_again_at.get(&job.id).is_some_and(|at| Instant::now() < *at) {
            return Ok(RebuildTurn::Waits);
        }
        if report.step != "ready" || report.failure.is_some() {
            "ready".clone_into(&mut report.step);
            report.failure = None;
            if !self.keep(job, &report, RebuildJobState::Running)? {
                return Ok(RebuildTurn::Over);
            }
        }
        if job.is_swap_asked || (open.order.swap && report.waits_for.is_none()) {
            return self.swap(&open, report).await;
        }
        Ok(RebuildTurn::Waits)
    }

    /// They are opened anew, as the workspace says now.
    async fn forget_opened(&mut self) {
        let keys: Vec<RebuildKey> = self.opened.keys().copied().collect();
        for key in keys {
            self.close(key).await;
        }
    }

    /// Finds what a job is about, and what is in its way, before anything is written.
    async fn begin(&mut self, open: &OpenRebuild, mut report: RebuildReport) -> Result<RebuildTurn, AppError> {
        let job = &open.job;
        let RebuiltSchemas { rebuilt, before } = RebuiltSchemas::of(open.schema(), &open.order, job);
        (report.rebuilt, report.before) = (rebuilt, before);
        report.destination.clone_from(&open.config.destination.0);
        report.schema = open.schema().unwrap_or_default().to_owned();
        let others = self.state.running_rebuild_jobs()?;
        if let Some(reason) = open.in_the_way(&report).or_else(|| open.taken_by(&others, &report)) {
            return self.fail(job, report, reason);
        }
        match schemas_in_the_way(open, &report).await {
            Ok(None) => {}
            Ok(Some(reason)) => return self.fail(job, report, reason),
            Err(failure) => {
                // Nothing is kept of the report: it begins anew.
                self.note_failure(job, &telemetry::with_causes(&failure));
                return Ok(RebuildTurn::Waits);
            }
        }
        let places = Arc::clone(&self.places.places);
        report.parts.clear();
        for place in places.iter() {
            let partition = place.refiner.partition();
            self.hold((job.id, partition), place.log.oldest());
            let part = part_of(open, place, &mut report).await?;
            self.hold((job.id, partition), part.from);
            report.parts.push(part);
        }
        "events".clone_into(&mut report.step);
        report.failure = None;
        let runs = self.keep(job, &report, RebuildJobState::Running)?;
        Ok(if runs { RebuildTurn::Busy } else { RebuildTurn::Over })
    }

    /// Counts what would be written, to its end.
    async fn count(&mut self, open: &OpenRebuild, mut report: RebuildReport) -> Result<RebuildTurn, AppError> {
        let places = Arc::clone(&self.places.places);
        let bounds = open.bounds();
        let mut batches = 0;
        for index in 0..report.parts.len() {
            let Some(place) = places.get(usize::from(report.parts[index].partition)) else { continue };
            let source = open.source(place);
            while report.parts[index].at < report.parts[index].to {
                if batches == BATCHES_MAX {
                    return Ok(RebuildTurn::Busy);
                }
                batches += 1;
                self.places.give_way(&mut self.state).await?;
                self.state.follow_suppress_list(&mut self.suppressed)?;
                let range = report.parts[index].at..report.parts[index].to;
                let counted = source.count(range, bounds, &self.suppressed.subjects).await?;
                add_counts(&mut report.counts, &counted.counts);
                report.parts[index].at = counted.batch.range.end;
                if !self.keep(&open.job, &report, RebuildJobState::Running)? {
                    return Ok(RebuildTurn::Over);
                }
                self.hold((open.job.id, report.parts[index].partition), report.parts[index].at);
            }
        }
        "done".clone_into(&mut report.step);
        self.end(&open.job, &report, RebuildJobState::Done)?;
        Ok(RebuildTurn::Over)
    }

    /// The new tables in a partition, and how far their ledger says that they are.
    async fn new_tables(
        &mut self,
        open: &OpenRebuild,
        report: &mut RebuildReport,
        index: usize,
    ) -> Result<Unopened, Failure> {
        let partition = report.parts[index].partition;
        let key = (open.job.id, partition);
        if let Some(opened) = self.opened.remove(&key) {
            return Ok(opened);
        }
        let mut opened = open.rebuilt(report, partition);
        let durable = opened.durable_to().await?;
        let part = &mut report.parts[index];
        part.at = at_by_ledger(part, durable)?;
        part.to = part.to.max(part.at);
        Ok(opened)
    }

    /// Brings a part to where its report says that the sync is, or nearer to it.
    async fn follow(
        &mut self,
        open: &OpenRebuild,
        place: &SyncPlace,
        (report, index): (&mut RebuildReport, usize),
    ) -> Result<RebuildTurn, AppError> {
        let key = (open.job.id, report.parts[index].partition);
        let mut tables = match self.new_tables(open, report, index).await {
            Ok(tables) => tables,
            Err(failure) => return self.waits(open, report, telemetry::with_causes(&failure)),
        };
        let (source, bounds) = (open.source(place), open.bounds());
        for _ in 0..BATCHES_MAX {
            let (at, to) = (report.parts[index].at, report.parts[index].to);
            if at >= to {
                self.opened.insert(key, tables);
                return Ok(RebuildTurn::Ready);
            }
            self.places.give_way(&mut self.state).await?;
            let oldest = place.log.oldest().min(to);
            if oldest > at {
                // `hard_cap_bytes` is above what rebuilds need.
                report.parts[index].missing += place.log.records(at, oldest);
                report.parts[index].at = oldest;
                wait_for_consent(report);
                continue;
            }
            self.state.follow_suppress_list(&mut self.suppressed)?;
            let part = source.next(at..to, bounds, &self.suppressed.subjects).await?;
            note_expired(open, &self.state, (key.1, at), report)?;
            if let Err(failure) = deliver(&mut tables, part, (&mut *report, index)).await {
                self.opened.insert(key, tables);
                return self.waits(open, report, telemetry::with_causes(&failure));
            }
            fail::fail_point!("rebuild_delivered", |_| std::process::abort());
            report.failure = None;
            if !self.keep(&open.job, report, RebuildJobState::Running)? {
                self.opened.insert(key, tables);
                return Ok(RebuildTurn::Over);
            }
            fail::fail_point!("rebuild_stepped", |_| std::process::abort());
            self.hold(key, report.parts[index].at);
        }
        self.opened.insert(key, tables);
        let part = &report.parts[index];
        Ok(if part.at < part.to { RebuildTurn::Busy } else { RebuildTurn::Ready })
    }

    /// Has the new tables take the place of the old ones, while nobody writes to those.
    async fn swap(&mut self, open: &OpenRebuild, mut report: RebuildReport) -> Result<RebuildTurn, AppError> {
        let lock = self.runtimes.swap_locks().of(&open.job.asked.sync);
        let Ok(swaps) = timeout(LOCK_MAX, lock.write_owned()).await else {
            self.swap_again_at.insert(open.job.id, Instant::now() + SWAP_PAUSE);
            let reason = "a batch of the sync is on its way to the old tables, and that takes long".to_owned();
            return self.waits(open, &mut report, reason);
        };
        let places = Arc::clone(&self.places.places);
        let mut offsets = Vec::new();
        for index in 0..report.parts.len() {
            let partition = report.parts[index].partition;
            let Some(place) = places.get(usize::from(partition)) else { continue };
            let ledger = match durable_to(open.read(partition)).await {
                Ok(ledger) => ledger,
                Err(failure) => return self.waits(open, &mut report, telemetry::with_causes(&failure)),
            };
            let Some(to) = swapped_at(open, place, ledger)? else {
                let reason = "the functions of the source have not been over all that the sync has passed".to_owned();
                return self.waits(open, &mut report, reason);
            };
            report.parts[index].to = to.max(report.parts[index].at);
            let turn = self.follow(open, place, (&mut report, index)).await?;
            if !matches!(turn, RebuildTurn::Ready) {
                return Ok(turn);
            }
            match self.settle_ledger(open, &mut report, index).await {
                Ok(offset) => offsets.push((partition, offset)),
                Err(failure) => return self.waits(open, &mut report, telemetry::with_causes(&failure)),
            }
        }
        if !may_swap(open, &self.state, &mut report)? {
            let runs = self.keep(&open.job, &report, RebuildJobState::Running)?;
            return Ok(if runs { RebuildTurn::Waits } else { RebuildTurn::Over });
        }
        let swap = open.swap(&report, &offsets);
        fail::fail_point!("rebuild_before_swap", |_| std::process::abort());
        if !self.keep(&open.job, &report, RebuildJobState::Swapping)? {
            return Ok(RebuildTurn::Over);
        }
        fail::fail_point!("rebuild_swapping", |_| std::process::abort());
        // It goes on to its end, whoever waits for it: nobody may write before that.
        let swapped = tokio::spawn(swap_tables(open.settings.clone(), swap, swaps)).await;
        let reason = match swapped {
            Ok(Ok(())) => None,
            Ok(Err(failure)) => Some(telemetry::with_causes(&failure)),
            Err(error) => Some(format!("the swap broke off: {error}")),
        };
        if let Some(reason) = reason {
            self.swap_again_at.insert(open.job.id, Instant::now() + SWAP_PAUSE);
            // It may be done though nobody has heard so: the ledger is asked before anything else.
            self.note_failure(&open.job, &reason);
            return Ok(RebuildTurn::Waits);
        }
        fail::fail_point!("rebuild_swapped", |_| std::process::abort());
        self.swapped(open, report)
    }

    /// Makes sure that the ledger of the new tables says how far a part is, also where there was nothing to deliver.
    async fn settle_ledger(
        &mut self,
        open: &OpenRebuild,
        report: &mut RebuildReport,
        index: usize,
    ) -> Result<u64, Failure> {
        let mut tables = self.new_tables(open, report, index).await?;
        let (at, partition) = (report.parts[index].at, report.parts[index].partition);
        if tables.durable_to().await? != Some(at) {
            tables.deliver(Arc::new(Batch { range: at..at, ..Batch::default() })).await?;
        }
        self.opened.insert((open.job.id, partition), tables);
        Ok(at)
    }

    /// Goes on with a job that a stop has met while it swapped tables: they are swapped, or they are not.
    async fn resume_swap(&mut self, open: &OpenRebuild, mut report: RebuildReport) -> Result<RebuildTurn, AppError> {
        for index in 0..report.parts.len() {
            match durable_to(open.rebuilt(&report, report.parts[index].partition)).await {
                Ok(None) => {}
                Ok(Some(_)) => {
                    let runs = self.keep(&open.job, &report, RebuildJobState::Running)?;
                    return Ok(if runs { RebuildTurn::Busy } else { RebuildTurn::Over });
                }
                Err(failure) => {
                    self.note_failure(&open.job, &telemetry::with_causes(&failure));
                    return Ok(RebuildTurn::Waits);
                }
            }
        }
        report.failure = None;
        self.swapped(open, report)
    }

    fn swapped(&mut self, open: &OpenRebuild, mut report: RebuildReport) -> Result<RebuildTurn, AppError> {
        "done".clone_into(&mut report.step);
        (report.failure, report.waits_for) = (None, None);
        let text = format!(
            "the old tables are in {:?}: remove them when nobody needs them; what others made of them (indexes, and views of PostgreSQL) \
             is to be made of the new ones",
            report.before
        );
        note(&mut report.notes, &text);
        self.end(&open.job, &report, RebuildJobState::Done)?;
        Ok(RebuildTurn::Over)
    }
}

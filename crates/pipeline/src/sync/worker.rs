//! Delivers batches, one at a time, until told to stop.

use std::sync::Arc;
use std::time::Duration;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Rejected};
use tidegate_event::in_partition;
use tidegate_log::Log;
use tidegate_process::clock;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::{self as state, Pending, QuarantineStage, Quarantined, SettledBatch, State, SyncProgress};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::backlog::{Backlog, BacklogLine};
use super::gather::{GatheredBatch, Gatherer, NextBatch};
use super::stop_order::{StopOrder, ordered, out_of_patience};
use super::{Sync, SyncSettings};
use crate::refine::RefinerHandle;

/// A sync with its cursor read; run it to deliver.
pub struct Worker {
    name: Arc<str>,
    label: Arc<str>,
    destination: Box<dyn Destination>,
    gatherer: Gatherer,
    settings: SyncSettings,
    state: State,
    read_from: u64,
    in_hand: Option<GatheredBatch>,
    cursor: watch::Sender<u64>,
}

/// What is left of a worker that has ended.
pub struct EndedWorker {
    pub destination: Box<dyn Destination>,
    /// A batch of which a part may be at the destination. The next worker delivers it first, as it is, however the sync has changed
    /// meanwhile. Any other is gathered anew.
    pub in_hand: Option<GatheredBatch>,
}

impl Worker {
    /// Makes a sync ready. Where it goes on is asked when it runs: its destination may be away now. `in_hand` is what the worker
    /// before has left.
    #[must_use]
    pub fn open(
        sync: Sync,
        refiner: RefinerHandle,
        log: Arc<dyn Log>,
        state: State,
        in_hand: Option<GatheredBatch>,
    ) -> Self {
        let Sync { name, source, filter, mapping, start, settings, destination } = sync;
        let cursor = watch::Sender::new(log.oldest());
        let label: Arc<str> = in_partition(&name, refiner.partition()).into();
        // Of one that has come anywhere, all below was handed out.
        let may_leave_gap = state.cursor(&name).ok().flatten().unwrap_or(0) == 0;
        let gatherer = Gatherer {
            name: Arc::clone(&name),
            label: Arc::clone(&label),
            source,
            filter,
            mapping,
            first: start.first,
            may_leave_gap,
            settings: settings.clone(),
            refiner,
            log,
        };
        Self { name, label, destination, gatherer, settings, state, read_from: start.read_from, in_hand, cursor }
    }

    /// The name of the sync.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.name)
    }

    /// Follows the cursor: everything below it is durable at the destination.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<u64> {
        self.cursor.subscribe()
    }

    /// Starts delivering. Ends as `stop` orders, or when the refiner stops.
    #[must_use]
    pub fn run(self, stop: watch::Receiver<StopOrder>) -> JoinHandle<EndedWorker> {
        let Self { name, label, destination, gatherer, settings, state, read_from, in_hand, cursor } = self;
        let log = Arc::clone(&gatherer.log);
        // No record that is here already has an offset beyond this.
        let committed = log.committed();
        let backlog = Backlog::default();
        let streak = Streak::default();
        let mut deliverer = Deliverer { name, label, destination, settings, state, cursor, stop, log, backlog, streak };
        tokio::spawn(async move {
            let in_hand = match deliverer.locate(committed, read_from).await {
                Some(durable) => deliverer.work(gatherer, durable, in_hand).await,
                None => in_hand,
            };
            EndedWorker { destination: deliverer.destination, in_hand }
        })
    }
}

struct Deliverer {
    name: Arc<str>,
    /// Its name in log lines, with the partition where there are several.
    label: Arc<str>,
    destination: Box<dyn Destination>,
    settings: SyncSettings,
    state: State,
    cursor: watch::Sender<u64>,
    stop: watch::Receiver<StopOrder>,
    log: Arc<dyn Log>,
    backlog: Backlog,
    /// Failures since the last success.
    streak: Streak,
}

impl Deliverer {
    /// Finds where the sync left off: what the destination's own ledger says. A destination that has never seen the
    /// sync (a new one, or one that was made anew) is read from `read_from` on. `None` when told to stop before.
    async fn locate(&mut self, committed: u64, read_from: u64) -> Option<u64> {
        let mut pause = self.settings.retry_pause_min;
        loop {
            let mut stop = self.stop.clone();
            let answer = tokio::select! {
                biased;
                _ = ordered(&mut stop) => return None,
                answer = self.destination.durable_to() => answer,
            };
            let failure = match answer {
                Ok(durable) if durable.unwrap_or(0) <= committed => {
                    let durable = durable.unwrap_or(read_from);
                    self.healed(durable);
                    return Some(durable);
                }
                Ok(durable) => ahead(durable.unwrap_or(0), committed),
                Err(failure) => failure,
            };
            if !self.failed(&failure, &mut pause, "the destination could not say how far it is").await {
                return None;
            }
        }
    }

    /// Reports a failure and waits before the next try; false when told to stop meanwhile.
    async fn failed(&mut self, failure: &Failure, pause: &mut Duration, what: &str) -> bool {
        let wait = if matches!(failure, Failure::Stop { .. }) { self.settings.retry_pause_max } else { *pause };
        self.tell_failure(&tidegate_process::telemetry::with_causes(failure), wait, what);
        self.record("could not record a failure", |state, name| state.fail(name, &failure.to_string()));
        *pause = (*pause * 2).min(self.settings.retry_pause_max);
        self.wait(wait).await
    }

    /// One line when a run of failures begins or its reason changes; the attempts are for those who look closely.
    fn tell_failure(&mut self, reason: &str, wait: Duration, what: &str) {
        let sync = &*self.label;
        let retry_in_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
        if self.streak.fails(reason, std::time::Instant::now()) {
            let pause_max_s = self.settings.retry_pause_max.as_secs();
            tracing::error!(
                sync,
                error = reason,
                retry_in_ms,
                pause_max_s,
                "{what}: the sync fails; its events wait in the log, and it tries again until they are taken"
            );
        } else {
            tracing::debug!(sync, error = reason, retry_in_ms, "{what}");
        }
    }

    /// Says that a run of failures is over, if there was one. `cursor` is where the sync stands.
    fn healed(&mut self, cursor: u64) {
        if let Some(Healed { seconds, attempts }) = self.streak.heals(std::time::Instant::now()) {
            let records_waiting = self.log.records(cursor, self.log.committed());
            tracing::info!(
                sync = &*self.label,
                failed_for_s = seconds,
                attempts,
                records_waiting,
                "the sync has healed: its destination takes events again"
            );
        }
    }

    /// Delivers from `durable` on until told to stop; what the next worker must deliver first.
    async fn work(
        &mut self,
        gatherer: Gatherer,
        durable: u64,
        in_hand: Option<GatheredBatch>,
    ) -> Option<GatheredBatch> {
        let mut cursor = durable.max(self.log.oldest());
        self.cursor.send_replace(cursor);
        match in_hand {
            Some(before) if before.batch.range.start <= cursor => {
                cursor = cursor.max(before.batch.range.end);
                if let Err(before) = self.settle(before).await {
                    // Its part is still there, whatever this destination knows of it.
                    return Some(before);
                }
            }
            Some(before) => tracing::warn!(
                sync = &*self.label,
                cursor,
                from = before.batch.range.start,
                "the destination's ledger went back; a batch that was there in part is gathered anew"
            ),
            None => {}
        }
        let (sender, batches) = mpsc::channel(1);
        // Ends with this task, whoever ends that.
        let mut gathering = JoinSet::new();
        gathering.spawn(gatherer.run(cursor, sender));
        let in_hand = self.deliver_all(batches).await;
        gathering.shutdown().await;
        in_hand
    }

    /// Delivers what is gathered until told to stop; a batch of which a part may be there then.
    async fn deliver_all(&mut self, mut batches: mpsc::Receiver<NextBatch>) -> Option<GatheredBatch> {
        loop {
            let mut stop = self.stop.clone();
            let gathered = tokio::select! {
                biased;
                _ = ordered(&mut stop) => return None,
                gathered = batches.recv() => gathered,
            };
            match gathered {
                Some(Ok(gathered)) => {
                    if let Err(cut) = self.settle(gathered).await {
                        return self.destination.holds_part().then_some(cut);
                    }
                }
                // The next delivery takes it back.
                Some(Err(reason)) => self.record("could not record a failure", |state, name| state.fail(name, &reason)),
                None => return None,
            }
        }
    }

    /// Delivers one batch, however long it takes; gives it back when told to stop before that.
    async fn settle(&mut self, gathered: GatheredBatch) -> Result<(), GatheredBatch> {
        let GatheredBatch { batch, mut quarantined, filtered } = gathered;
        let mut batch = Arc::new(batch);
        let delivery = self.deliver(&mut batch, &mut quarantined).await;
        let is_settled = match delivery {
            Some(delivery) => self.record_delivery(&batch, &delivery, (quarantined.len() as u64, filtered)).await,
            None => false,
        };
        if is_settled {
            return Ok(());
        }
        Err(GatheredBatch { batch: Arc::unwrap_or_clone(batch), quarantined, filtered })
    }

    /// Tries until the batch is durable at the destination; what is refused goes from `batch` to `quarantined`. `None` when told to
    /// stop before that.
    async fn deliver(&mut self, batch: &mut Arc<Batch>, quarantined: &mut Vec<Quarantined>) -> Option<Delivery> {
        // What goes no further is kept before the destination's ledger can pass it.
        if !self.keep_quarantined(quarantined).await {
            return None;
        }
        let mut pause = self.settings.retry_pause_min;
        // One for all tries.
        let mut patience = std::pin::pin!(out_of_patience(self.stop.clone()));
        loop {
            let answer = tokio::select! {
                biased;
                answer = self.destination.deliver(Arc::clone(batch)) => answer,
                () = &mut patience => return None,
            };
            match answer {
                Ok(delivery) => {
                    self.healed(batch.range.end);
                    return Some(delivery);
                }
                Err(Failure::Refused { rejected }) if !rejected.is_empty() => {
                    let entries = self.entries(batch, &rejected);
                    if !self.keep_quarantined(&entries).await {
                        return None;
                    }
                    quarantined.extend(entries);
                    *batch = Arc::new(batch.without(&rejected));
                }
                Err(failure) => {
                    if !self.failed(&failure, &mut pause, "a batch could not be delivered").await {
                        return None;
                    }
                }
            }
        }
    }

    /// Records what became of a batch, of which so many events were quarantined and filtered before; then the cursor moves. False when
    /// told to stop before that.
    async fn record_delivery(
        &mut self,
        batch: &Batch,
        delivery: &Delivery,
        (quarantined, filtered): (u64, u64),
    ) -> bool {
        fail::fail_point!("sync_before_cursor", |_| std::process::abort());
        let end = batch.range.end;
        let entries = self.entries(batch, &delivery.rejected);
        let pending = pending(batch, delivery);
        for notice in &delivery.notices {
            tracing::warn!(sync = &*self.label, "{notice}");
        }
        let progress = SyncProgress {
            cursor: end,
            delivered: delivery.delivered,
            duplicates: delivery.duplicates,
            rejected: quarantined + entries.len() as u64,
            filtered: filtered + delivery.skipped,
            notices: delivery.notices.clone(),
        };
        let settled = SettledBatch { progress: &progress, quarantined: &entries, pending: &pending };
        while let Err(error) = self.state.settle(&self.name, &settled, clock::now_us()) {
            self.tell_failure(&error.to_string(), self.settings.retry_pause_min, "a delivery could not be recorded");
            if !self.wait(self.settings.retry_pause_min).await {
                return false;
            }
        }
        self.healed(end);
        self.destination.recorded();
        self.cursor.send_replace(end);
        self.tell_backlog(end);
        true
    }

    /// Keeps events in quarantine, durably; false when told to stop before that.
    async fn keep_quarantined(&mut self, entries: &[Quarantined]) -> bool {
        while let Err(error) = self.state.quarantine(entries) {
            let pause = self.settings.retry_pause_min;
            self.tell_failure(&error.to_string(), pause, "events could not be quarantined");
            if !self.wait(self.settings.retry_pause_min).await {
                return false;
            }
        }
        true
    }

    fn entries(&self, batch: &Batch, rejected: &[Rejected]) -> Vec<Quarantined> {
        let entry = |rejected: &Rejected| {
            let event = batch.events.get(rejected.index)?;
            Some(Quarantined {
                id: event.id,
                stage: QuarantineStage::Destination.as_str(),
                scope: self.name.to_string(),
                code: rejected.code.to_string(),
                message: rejected.reason.clone(),
                event: event.to_json().into_bytes(),
                at_us: event.received_at_us,
                detail: rejected.detail.clone(),
            })
        };
        rejected.iter().filter_map(entry).collect()
    }

    /// Says now and then how far the sync is behind, and for how long.
    fn tell_backlog(&mut self, end: u64) {
        let sync = &*self.label;
        match self.backlog.line(self.log.records(end, self.log.committed()), Instant::now()) {
            Some(BacklogLine::Behind { records, seconds: Some(seconds) }) => {
                tracing::info!(
                    sync,
                    records,
                    seconds,
                    "catching up: so many records are left, for about so many seconds"
                );
            }
            Some(BacklogLine::Behind { records, seconds: None }) => {
                tracing::warn!(sync, records, "falling behind: events come faster than the destination takes them");
            }
            Some(BacklogLine::CaughtUp) => tracing::info!(sync, "caught up"),
            None => {}
        }
    }

    fn record(&mut self, what: &str, write: impl FnOnce(&mut State, &str) -> Result<(), state::StateError>) {
        if let Err(error) = write(&mut self.state, &self.name) {
            tracing::warn!(sync = &*self.label, error = %error, "{what}");
        }
    }

    /// Waits; false when told to stop meanwhile.
    async fn wait(&mut self, pause: Duration) -> bool {
        let mut stop = self.stop.clone();
        tokio::select! {
            _ = ordered(&mut stop) => false,
            () = tokio::time::sleep(pause) => true,
        }
    }
}

/// The destination has more than the log ever held: its ledger or the log is another one.
fn ahead(durable: u64, committed: u64) -> Failure {
    Failure::Stop {
        reason: format!("the destination's ledger says {durable}, and the log ends at {committed}"),
        advice: format!(
            "if the data directory was lost or is not the one that belongs to this warehouse, give it back; otherwise \
             set the sync's row in _tidegate_ledger to {committed} (docs/warehouses.md says where that table is)"
        ),
        cause: None,
    }
}

/// What the destination deferred, as the state keeps it.
fn pending(batch: &Batch, delivery: &Delivery) -> Vec<Pending> {
    let entry = |deferred: &tidegate_event::destination::Deferred| {
        let event = batch.events.get(deferred.index)?;
        Some(Pending {
            id: event.id,
            user: deferred.user.clone(),
            event: event.to_json(),
            received_at_us: event.received_at_us,
            first_tried_at_us: deferred.tried_at_us,
            attempts: deferred.attempts,
            next_at_us: deferred.next_at_us,
            error: deferred.error.clone(),
        })
    };
    delivery.deferred.iter().filter_map(entry).collect()
}

#[cfg(test)]
mod tests;

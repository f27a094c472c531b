//! Delivers batches, one at a time, until told to stop.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tidegate_event::destination::{Batch, Delivery, Destination, Failure, Rejected};
use tidegate_event::in_partition;
use tidegate_log::Log;
use tidegate_metrics::{EngineMetrics, SyncNumbers};
use tidegate_process::clock;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::{
    self as state, BatchFates, FateCounts, Pending, QuarantineStage, Quarantined, SettledBatch, State, SyncProgress,
};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;

use super::backlog::{Backlog, BacklogLine};
use super::gather::{GatheredBatch, Gatherer, JudgedConsents, NextBatch};
use super::stop_order::{StopOrder, ordered, out_of_patience};
use super::{Consent, Sync, SyncSettings};
use crate::fates::{key_of, key_of_entry};
use crate::refine::{RefinerHandle, tell_not_made};

mod by_ledger;
mod told;
mod withdrawn;

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
    metrics: EngineMetrics,
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
        let metrics = refiner.metrics().clone();
        // Of one that has come anywhere, all below was handed out.
        let may_leave_gap = state.cursor(&name).ok().flatten().unwrap_or(0) == 0;
        let gatherer = Gatherer {
            name: Arc::clone(&name),
            label: Arc::clone(&label),
            source,
            filter,
            mapping,
            first: start.first,
            // Where it cannot be read, the state says so as soon as anything is recorded.
            counted_from: state.counted_from().unwrap_or(0),
            may_leave_gap,
            settings: settings.clone(),
            refiner,
            log,
        };
        Self {
            name,
            label,
            destination,
            gatherer,
            settings,
            state,
            read_from: start.read_from,
            in_hand,
            cursor,
            metrics,
        }
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
        let Self { name, label, destination, gatherer, settings, state, read_from, in_hand, cursor, metrics } = self;
        let numbers = metrics.syncs.of(&[&*name]);
        let log = Arc::clone(&gatherer.log);
        // No record that is here already has an offset beyond this.
        let committed = log.committed();
        let backlog = Backlog::default();
        let (streak, counted_from) = (Streak::default(), gatherer.counted_from);
        let mut deliverer = Deliverer {
            name,
            label,
            destination,
            settings,
            state,
            cursor,
            stop,
            log,
            backlog,
            streak,
            counted_from,
            is_of_ledger: false,
            numbers,
            metrics,
            consent: gatherer.filter.consent.clone(),
            is_withdrawn: false,
        };
        tokio::spawn(async move {
            let (mut in_hand, mut committed) = (in_hand, committed);
            while let Some(durable) = deliverer.locate(committed, read_from).await {
                in_hand = deliverer.work(gatherer.clone(), durable, in_hand).await;
                if !std::mem::take(&mut deliverer.is_withdrawn) {
                    break;
                }
                committed = deliverer.log.committed();
            }
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
    /// What became of events is counted from this offset on.
    counted_from: u64,
    /// Where it goes on is what the ledger of the destination says.
    is_of_ledger: bool,
    numbers: Arc<SyncNumbers>,
    metrics: EngineMetrics,
    consent: Consent,
    /// Consent to an event of the batch in hand was withdrawn since it was gathered: it is gathered anew.
    is_withdrawn: bool,
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
                    self.is_of_ledger = durable.is_some();
                    let durable = durable.unwrap_or(read_from);
                    self.healed(durable);
                    return Some(durable);
                }
                Ok(durable) => by_ledger::ahead(durable.unwrap_or(0), committed),
                Err(failure) => failure,
            };
            if !self.failed(&failure, &mut pause, "the destination could not say how far it is").await {
                return None;
            }
        }
    }

    /// Reports a failure and waits before the next try; false when told to stop meanwhile.
    async fn failed(&mut self, failure: &Failure, pause: &mut Duration, what: &str) -> bool {
        self.numbers.failures.fetch_add(1, Ordering::Relaxed);
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
        let held_from = in_hand.as_ref().map_or(cursor, |before| before.batch.range.start.min(cursor));
        self.count_by_ledger(&gatherer, held_from).await;
        match in_hand {
            Some(mut before) if before.batch.range.start <= cursor => {
                cursor = cursor.max(before.batch.range.end);
                // Whatever anybody has withdrawn: a part of it is there.
                before.consents = JudgedConsents::default();
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
        let GatheredBatch { batch, mut quarantined, filtered, ended_retries, mut fates, mut consents } = gathered;
        let mut batch = Arc::new(batch);
        let (before, began_us) = (quarantined.len(), clock::now_us());
        let delivery = self.deliver(&mut batch, &mut quarantined, &mut consents).await;
        // Those that the destination refused.
        for entry in quarantined.iter().skip(before).filter(|entry| self.is_counted(entry.id.position.offset)) {
            let (hour, name) = key_of_entry(entry);
            changed(&mut fates, (hour, &name), |counts| &mut counts.quarantined);
        }
        let is_settled = match delivery {
            Some(delivery) => {
                let before = SyncProgress {
                    rejected: quarantined.len() as u64,
                    filtered,
                    ended_retries: ended_retries.clone(),
                    fates: Some(self.fates_of(&batch, &delivery, &fates)),
                    ..SyncProgress::default()
                };
                let is_recorded = self.record_delivery(&batch, &delivery, before).await;
                if is_recorded {
                    self.tell_spans(&batch, began_us);
                }
                is_recorded
            }
            None => false,
        };
        if is_settled {
            return Ok(());
        }
        Err(GatheredBatch { batch: Arc::unwrap_or_clone(batch), quarantined, filtered, ended_retries, fates, consents })
    }

    /// Tries until the batch is durable at the destination; what is refused goes from `batch` to `quarantined`. `None` when told to
    /// stop before that, or when consent to an event of it is withdrawn.
    async fn deliver(
        &mut self,
        batch: &mut Arc<Batch>,
        quarantined: &mut Vec<Quarantined>,
        consents: &mut JudgedConsents,
    ) -> Option<Delivery> {
        // What goes no further is kept before the destination's ledger can pass it.
        if !self.keep_quarantined(quarantined).await {
            return None;
        }
        let mut pause = self.settings.retry_pause_min;
        // One for all tries.
        let mut patience = std::pin::pin!(out_of_patience(self.stop.clone()));
        loop {
            if self.has_withdrawn(consents) {
                self.is_withdrawn = true;
                return None;
            }
            let began = Instant::now();
            let answer = tokio::select! {
                biased;
                answer = self.destination.deliver(Arc::clone(batch)) => answer,
                () = &mut patience => return None,
            };
            match answer {
                Ok(delivery) => {
                    self.numbers.load.observe(began.elapsed());
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

    /// Records what became of a batch, `before` what was quarantined and filtered of it before; then the cursor moves. False when told to
    /// stop before that.
    async fn record_delivery(&mut self, batch: &Batch, delivery: &Delivery, before: SyncProgress) -> bool {
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
            rejected: before.rejected + entries.len() as u64,
            filtered: before.filtered + delivery.skipped.len() as u64,
            notices: delivery.notices.clone(),
            ended_retries: before.ended_retries,
            fates: before.fates,
        };
        let settled = SettledBatch { progress: &progress, quarantined: &entries, pending: &pending };
        while let Err(error) = self.state.settle(&self.name, &settled, clock::now_us()) {
            self.tell_failure(&error.to_string(), self.settings.retry_pause_min, "a delivery could not be recorded");
            if !self.wait(self.settings.retry_pause_min).await {
                return false;
            }
        }
        tell_not_made(&self.label, &progress.ended_retries);
        self.healed(end);
        self.destination.recorded();
        self.cursor.send_replace(end);
        self.tell_freshness(batch, delivery);
        self.tell_backlog(end);
        true
    }

    /// What became of a batch that was delivered: `gathered` counts all of it as delivered.
    fn fates_of(&self, batch: &Batch, delivery: &Delivery, gathered: &BatchFates) -> BatchFates {
        let mut fates = BatchFates { told: delivery.delivered, ..gathered.clone() };
        let event = |index: usize| batch.events.get(index).filter(|event| self.is_counted(event.id.position.offset));
        for event in delivery.rejected.iter().filter_map(|rejected| event(rejected.index)) {
            changed(&mut fates, key_of(event), |counts| &mut counts.quarantined);
        }
        for event in delivery.deferred.iter().filter_map(|deferred| event(deferred.index)) {
            changed(&mut fates, key_of(event), |counts| &mut counts.pending);
        }
        for event in delivery.skipped.iter().filter_map(|index| event(*index)) {
            changed(&mut fates, key_of(event), |counts| &mut counts.filtered);
        }
        // These were counted when they came before.
        for event in delivery.waiting.iter().filter_map(|index| event(*index)) {
            fates.tally.add(key_of(event), |counts| {
                counts.came -= 1;
                counts.delivered -= 1;
            });
            fates.left_out += 1;
        }
        fates
    }

    const fn is_counted(&self, offset: u64) -> bool {
        offset >= self.counted_from
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

/// An event that was counted as delivered is something else.
fn changed(fates: &mut BatchFates, key: (i64, &str), fate: impl Fn(&mut FateCounts) -> &mut i64) {
    fates.tally.add(key, |counts| {
        counts.delivered -= 1;
        *fate(counts) += 1;
    });
}

/// What the destination deferred, as the state keeps it.
#[must_use]
pub fn pending(batch: &Batch, delivery: &Delivery) -> Vec<Pending> {
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

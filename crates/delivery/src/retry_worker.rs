//! The retry worker: events that wait are tried again when their time comes, until they are delivered or too old.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use tidegate_event::{EventId, time};
use tidegate_process::clock;
use tidegate_state::{self as state, Pending, QuarantineStage, Quarantined, Resolved, State};
use tokio::sync::watch;

use super::active::ActiveRuntime;
use super::outcome::DeliveryOutcome;
use super::outgoing_event::OutgoingEvent;
use super::runtime::DestinationRuntime;
use super::{SharedRetry, micros};

pub(super) struct RetryWorker {
    pub(super) active: Arc<ActiveRuntime>,
    pub(super) shared: Arc<SharedRetry>,
    pub(super) sync: Arc<str>,
    pub(super) state: State,
}

/// After a failure of the state file.
const STATE_PAUSE: Duration = Duration::from_secs(1);
/// The wall clock may jump; nobody waits for it longer than this.
const NAP_MAX: Duration = Duration::from_secs(60);

impl RetryWorker {
    /// Tries until `stop` turns true, and ends the round that it is at then.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let shared = Arc::clone(&self.shared);
        let mut held = self.active.follow();
        let mut told = false;
        while !*stop.borrow_and_update() {
            let runtime = held.borrow_and_update().clone();
            let Some(runtime) = runtime else {
                let vacancy = self.active.vacancy();
                told = self.tell(&vacancy);
                tokio::select! { _ = held.changed() => {}, _ = stop.changed() => {} }
                continue;
            };
            let (deferred, stands_still) = (shared.deferred.notified(), runtime.stop_notified());
            if let Some(reason) = runtime.stopped() {
                told = self.tell(&reason.to_string());
                // Each delivery that was under way clears the failure, so it is written again after each.
                tokio::select! { () = deferred => {}, _ = held.changed() => {}, _ = stop.changed() => {} }
                continue;
            }
            if std::mem::take(&mut told)
                && let Err(error) = self.state.mended(&self.sync)
            {
                tracing::warn!(sync = &*self.sync, error = %error, "could not take a failure back");
            }
            self.write_down(&runtime);
            let batching = runtime.batching();
            let now_us = clock::now_us();
            let due = {
                let mut retry_index = self.shared.retry_index();
                retry_index.keep(runtime.order());
                retry_index.wait_no_longer(now_us.saturating_add(micros(runtime.effective.retry.pause_max)));
                retry_index.due(now_us, batching.events_max, batching.bytes_max)
            };
            match due {
                Ok(keys) => {
                    if let Err(error) = self.again(&runtime, &keys).await {
                        tracing::error!(sync = &*self.sync, error = %error, "what is pending could not be settled; trying again");
                        let _ = tokio::time::timeout(STATE_PAUSE, stop.changed()).await;
                    }
                }
                Err(next_at_us) => {
                    let nap = next_at_us.map_or(NAP_MAX, |at| {
                        Duration::from_micros(u64::try_from(at.saturating_sub(now_us)).unwrap_or(0)).min(NAP_MAX)
                    });
                    tokio::select! {
                        () = deferred => {}
                        () = stands_still => {}
                        _ = held.changed() => {}
                        _ = stop.changed() => {}
                        () = tokio::time::sleep(nap) => {}
                    }
                }
            }
        }
    }

    /// What versions did with events is for people alone: what is lost in a crash is not counted.
    fn write_down(&mut self, runtime: &DestinationRuntime) {
        if let Some(charge) = runtime.unwritten()
            && let Err(error) = self.state.carried(&charge)
        {
            tracing::warn!(sync = &*self.sync, error = %error, "could not record what a destination did");
        }
    }

    /// Shows in the sync's status why it stands still; true.
    fn tell(&mut self, failure: &str) -> bool {
        if let Err(error) = self.state.fail(&self.sync, failure) {
            tracing::warn!(sync = &*self.sync, error = %error, "could not record a failure");
        }
        true
    }

    /// Tries the events with these keys, and records what came of it before anything else.
    async fn again(&mut self, runtime: &Arc<DestinationRuntime>, ids: &[EventId]) -> Result<(), state::StateError> {
        let found = self.state.pending_events(&self.sync, ids)?;
        for entry in &found.damaged {
            tracing::error!(
                sync = &*self.sync,
                offset = %entry.id.position,
                "a pending event is damaged in the state file; it is quarantined and not delivered"
            );
        }
        let pending = found.whole;
        let outgoing: Arc<[OutgoingEvent]> = pending.iter().map(OutgoingEvent::of_pending).collect();
        let outcomes = runtime.carry(&outgoing, false).await;
        fail::fail_point!("delivery_before_resolve", |_| std::process::abort());
        let now_us = clock::now_us();
        let mut resolved = Resolved { quarantined: found.damaged, ..Resolved::default() };
        for (event, outcome) in pending.iter().zip(outcomes) {
            let id = event.id;
            match outcome {
                DeliveryOutcome::Delivered => resolved.delivered.push(id),
                DeliveryOutcome::Skipped => resolved.filtered.push(id),
                DeliveryOutcome::Rejected { code, reason, detail } => {
                    resolved.quarantined.push(self.quarantine(event, code, reason, detail));
                }
                // Its turn comes with that of the one before it.
                DeliveryOutcome::Behind => resolved.again.push((id, event.attempts, now_us, event.error.clone())),
                DeliveryOutcome::Again { tries, after, error, detail } => {
                    let next_at_us = now_us.saturating_add(micros(runtime.pause(tries, after)));
                    let tried = tries > event.attempts;
                    let ends_at_us = event.first_tried_at_us.saturating_add(micros(runtime.effective.retry.age_max));
                    if tried && next_at_us > ends_at_us {
                        let since = time::format(event.first_tried_at_us);
                        let reason = format!("tried {tries} times since {since}; the last time: {error}");
                        resolved.quarantined.push(self.quarantine(event, "retry-age".to_owned(), reason, detail));
                    } else {
                        resolved.again.push((id, tries, next_at_us, error));
                    }
                }
            }
        }
        self.state.resolve(&self.sync, &resolved, now_us)?;
        let mut retry_index = self.shared.retry_index();
        for (id, _, next_at_us, _) in &resolved.again {
            retry_index.postpone(*id, *next_at_us);
        }
        let stays: HashSet<EventId> = resolved.again.iter().map(|(id, ..)| *id).collect();
        // What the state file does not know any more has nothing to wait for either.
        for id in ids.iter().filter(|id| !stays.contains(id)) {
            retry_index.leave(*id);
        }
        drop(retry_index);
        self.shared.room.notify_waiters();
        Ok(())
    }

    fn quarantine(&self, event: &Pending, code: String, message: String, detail: Option<String>) -> Quarantined {
        Quarantined {
            id: event.id,
            stage: QuarantineStage::Destination.as_str(),
            scope: self.sync.to_string(),
            code,
            message,
            event: event.event.clone().into_bytes(),
            at_us: event.received_at_us,
            detail,
        }
    }
}

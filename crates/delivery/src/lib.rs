//! Destination plugins at work: guests plan requests, this room sends them and sees to it that every event comes to an
//! end.
//!
//! Nouns: the **effective policy** (what a manifest asks and a workspace grants, checked against each other), a
//! **destination runtime** (one version of one destination: the compiled plugin, its connections, its rate limiter), the
//! **active runtime** (which of them delivers for a destination now; shared by the syncs that use it), an **outgoing
//! event**, a **chunk** (outgoing events that are planned together), a **delivery outcome** (what one try made of an event),
//! the **retry index** (which events of a sync wait for another try), the **retry worker** (the task that tries them
//! again).
//!
//! What holds:
//! * An event that was handed over is delivered, skipped by the plugin on purpose, quarantined with request and answer,
//!   or waits in the state file. It gets there in one transaction with the sync's cursor, so no crash loses it; a
//!   crash before that makes it come again (at least once: the far side tells by `messageId`).
//! * Nobody waits for a failing neighbour: what cannot be delivered is deferred, and the rest goes on. What is deferred is
//!   bounded in events and bytes; when it is full the sync waits and the log keeps what comes.
//! * With `order: user` an event is not sent while an earlier one of its user waits. Others go on.
//! * A plugin sees no secret, chooses no address, and cannot make the host send more than its bounds allow.
//!
//! This room does not know where events come from, nor what they mean to the far side.

mod body;
mod retry_index;
mod runtime;
mod exchange;
mod outcome;
mod outgoing_event;
mod grant;
mod bisect;
mod destination_logs;
mod rate_limiter;
mod plan;
mod active;
mod dry_run;
mod retry_task;
mod retry_worker;
mod signer;
mod tally;
mod effective_policy;
mod carry;
mod deletion;
mod chunk_run;

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

pub use active::ActiveRuntime;
pub use deletion::AskedDeletion;
pub use destination_logs::{DestinationLogs, Logged};
pub use dry_run::{DryPlan, refusals};
pub use effective_policy::{CheckedPolicy, EffectivePolicy, PendingLimits, PolicyProblem};
pub use grant::Grant;
pub use runtime::{DestinationRuntime, OpenError};

use outcome::DeliveryOutcome;
use outgoing_event::OutgoingEvent;
use retry_index::RetryIndex;
use retry_task::RetryTask;
use tidegate_event::destination::{Batch, Deferred, Delivery, Destination, Failure, Rejected, Reply};
use tidegate_plugin::Order;
use tidegate_process::clock;
use tidegate_state::{self as state, PendingMark, State};

/// How long an end waits for the round that the retry worker is at.
const ROUND_PATIENCE: Duration = Duration::from_secs(10);

/// A destination plugin for one sync. Dropping it cuts its retry worker off; what waits stays in the state file.
pub struct PluginDestination {
    /// Keeps its end of the channel.
    _active: Arc<ActiveRuntime>,
    held: watch::Receiver<Option<Arc<DestinationRuntime>>>,
    shared: Arc<SharedRetry>,
    sync: Arc<str>,
    /// As the caller has recorded it.
    cursor: Option<u64>,
    /// Where the last delivery ended, and what it deferred, as long as the caller has not recorded it.
    unrecorded: (Option<u64>, Vec<PendingMark>),
    retry_worker: RetryTask,
}

/// What deliveries and the retry worker share.
struct SharedRetry {
    retry_index: Mutex<RetryIndex>,
    /// Something was deferred.
    deferred: Notify,
    /// Something left the retry index.
    room: Notify,
}

impl SharedRetry {
    fn retry_index(&self) -> parking_lot::MutexGuard<'_, RetryIndex> {
        self.retry_index.lock()
    }
}

impl PluginDestination {
    /// Finds what waits for another try, and starts trying. `state` is a connection of its own.
    ///
    /// # Errors
    /// The state file cannot be read.
    pub fn run(active: Arc<ActiveRuntime>, sync: &str, state: State) -> Result<Self, state::StateError> {
        // A sync that has failed only is in the state with 0.
        let cursor = state.cursor(sync)?.filter(|cursor| *cursor > 0);
        // The order is that of whoever carries.
        let retry_index = RetryIndex::new(Order::None, state.pending_marks(sync)?);
        let shared = Arc::new(SharedRetry {
            retry_index: Mutex::new(retry_index),
            deferred: Notify::new(),
            room: Notify::new(),
        });
        let sync: Arc<str> = sync.into();
        let round = retry_worker::RetryWorker {
            active: Arc::clone(&active),
            shared: Arc::clone(&shared),
            sync: Arc::clone(&sync),
            state,
        };
        let retry_worker = RetryTask::spawn(|stop| round.run(stop));
        let held = active.follow();
        Ok(Self { _active: active, held, shared, sync, cursor, unrecorded: Default::default(), retry_worker })
    }

    async fn hand_over(&mut self, batch: &Batch) -> Result<Delivery, Failure> {
        self.unrecorded = Default::default();
        let runtime = self.wait_for_room(batch).await?;
        let mut delivery = Delivery::default();
        let (mut indexes, mut outgoing_events) = (Vec::new(), Vec::new());
        let now_us = clock::now_us();
        {
            let retry_index = self.shared.retry_index();
            for (index, event) in batch.events.iter().enumerate() {
                let outgoing = OutgoingEvent::new(event);
                if retry_index.holds(event.id) {
                    // The batch comes for another time.
                    delivery.waiting.push(index);
                } else if runtime.order() == Order::User && retry_index.has_user(&outgoing.user) {
                    delivery.deferred.push(behind(index, outgoing.user, now_us));
                } else {
                    indexes.push(index);
                    outgoing_events.push(outgoing);
                }
            }
        }
        let outgoing_events = outgoing_events.into();
        let outcomes = runtime.carry(&outgoing_events, true).await;
        for ((index, outgoing), outcome) in indexes.into_iter().zip(outgoing_events.iter()).zip(outcomes) {
            match outcome {
                DeliveryOutcome::Delivered => delivery.delivered += 1,
                DeliveryOutcome::Skipped => delivery.skipped.push(index),
                DeliveryOutcome::Rejected { code, reason, detail } => {
                    delivery.rejected.push(Rejected { index, code: code.into(), reason, detail });
                }
                DeliveryOutcome::Behind => delivery.deferred.push(behind(index, outgoing.user.clone(), now_us)),
                DeliveryOutcome::Again { tries, after, error, .. } => {
                    let pause = runtime.pause(tries, after);
                    delivery.deferred.push(Deferred {
                        index,
                        user: outgoing.user.clone(),
                        attempts: tries,
                        tried_at_us: now_us,
                        next_at_us: clock::now_us().saturating_add(micros(pause)),
                        error,
                    });
                }
            }
        }
        delivery.deferred.sort_unstable_by_key(|deferred| deferred.index);
        let marks = delivery.deferred.iter().filter_map(|deferred| mark(batch, deferred)).collect();
        self.unrecorded = (Some(batch.range.end), marks);
        if let Some(stop) = runtime.stopped() {
            delivery.notices.push(stop.to_string());
        }
        Ok(delivery)
    }

    /// The active runtime, once there is one and everything of the batch could be deferred; a stopped destination takes
    /// nothing.
    async fn wait_for_room(&mut self, batch: &Batch) -> Result<Arc<DestinationRuntime>, Failure> {
        let events = batch.events.len() as u64;
        let (shared, sync) = (&self.shared, &self.sync);
        loop {
            let runtime = self.held.borrow_and_update().clone();
            let Some(runtime) = runtime else {
                tracing::debug!(sync = &**sync, "no version of the destination is live yet; waiting");
                // The active runtime keeps its end of the channel for as long as anybody asks.
                let _ = self.held.changed().await;
                continue;
            };
            // Asked for before the look, so that nothing that changes in between is missed.
            let (room, stop) = (shared.room.notified(), runtime.stop_notified());
            if events > 0
                && let Some(stop) = runtime.stopped()
            {
                return Err(Failure::Stop { reason: stop.reason, advice: stop.advice, cause: None });
            }
            if events == 0 || shared.retry_index().has_room(events, runtime.pending()) {
                drop((room, stop));
                return Ok(runtime);
            }
            tracing::debug!(sync = &**sync, "too much is pending; waiting");
            tokio::select! { () = room => {}, () = stop => {}, _ = self.held.changed() => {} }
        }
    }
}

fn behind(index: usize, user: String, now_us: i64) -> Deferred {
    let error = "waits for an earlier event of its user".to_owned();
    Deferred { index, user, attempts: 0, tried_at_us: now_us, next_at_us: now_us, error }
}

fn mark(batch: &Batch, deferred: &Deferred) -> Option<PendingMark> {
    let event = batch.events.get(deferred.index)?;
    Some(PendingMark {
        id: event.id,
        user: deferred.user.clone(),
        bytes: event.to_json().len() as u64,
        next_at_us: deferred.next_at_us,
    })
}

fn micros(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX)
}

impl Destination for PluginDestination {
    fn durable_to(&mut self) -> Reply<'_, Option<u64>> {
        let cursor = self.cursor;
        Box::pin(async move { Ok(cursor) })
    }

    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery> {
        Box::pin(async move { self.hand_over(&batch).await })
    }

    fn recorded(&mut self) {
        let (end, marks) = std::mem::take(&mut self.unrecorded);
        // Another worker may go on with this destination.
        self.cursor = end.or(self.cursor);
        if !marks.is_empty() {
            self.shared.retry_index().enter(marks);
        }
        // Also when nothing was deferred: a destination that was stopped has to be reported after each delivery.
        self.shared.deferred.notify_one();
    }

    /// Ends the retry worker after the round that it is at. One that takes too long is cut off, and what it has sent goes again.
    fn close(&mut self) -> Reply<'_, ()> {
        Box::pin(async {
            if !self.retry_worker.close(ROUND_PATIENCE).await {
                tracing::warn!(
                    sync = &*self.sync,
                    patience_s = ROUND_PATIENCE.as_secs(),
                    "another try of pending events was cut off; those that it has sent may go a second time"
                );
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Waits until the status of the sync says this.
    async fn said(state: &State, words: &str) {
        let is_said = async {
            let failure = || state.reports().unwrap().into_iter().find_map(|report| report.failure);
            while !failure().is_some_and(|failure| failure.contains(words)) {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), is_said).await.unwrap();
    }

    #[test]
    fn why_no_version_runs_is_said_by_the_sync_that_waits_for_one() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let open = || State::open(&dir.path().join("state.db")).unwrap();
            let active = ActiveRuntime::new("crm");
            let mut destination = PluginDestination::run(Arc::clone(&active), "sync", open()).unwrap();
            said(&open(), "no version of destination crm is live yet").await;
            assert!(active.refuse("no-endpoint") && active.is_refused() && active.is_vacant());
            said(&open(), "destination crm cannot run: no-endpoint").await;
            assert!(!active.refuse("no-endpoint"), "it is told once");
            destination.close().await.unwrap();
            // That it said something is not that it has had events.
            let mut again = PluginDestination::run(active, "sync", open()).unwrap();
            assert_eq!(again.durable_to().await.unwrap(), None);
        });
    }

    #[test]
    fn a_destination_that_is_handed_on_goes_on_where_the_state_is() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async {
            let dir = tempfile::tempdir().unwrap();
            let open = || State::open(&dir.path().join("state.db")).unwrap();
            let active = ActiveRuntime::new("crm");
            let mut destination = PluginDestination::run(active, "sync", open()).unwrap();
            assert_eq!(destination.durable_to().await.unwrap(), None);
            // As a delivery leaves it, that the caller records.
            destination.unrecorded = (Some(7), Vec::new());
            assert_eq!(destination.durable_to().await.unwrap(), None);
            destination.recorded();
            assert_eq!(destination.durable_to().await.unwrap(), Some(7));
            // One that the caller did not record.
            destination.unrecorded = (Some(9), Vec::new());
            assert_eq!(destination.durable_to().await.unwrap(), Some(7));
            // No version is live, so that its retry worker waits for one.
            tokio::time::timeout(Duration::from_secs(60), destination.close()).await.unwrap().unwrap();
        });
    }
}

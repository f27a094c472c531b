//! One destination at work: batches to plans, plans to requests, answers to outcomes.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_event::Event;
use tidegate_net::outbound::{OutboundClient, OutboundSettings};
use tidegate_net::trust::TrustError;
use tidegate_plugin::{Batching, Order};
use tidegate_process::clock;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::{Charge, Pending};
use tidegate_wasm::{Call, CallFailure, CallLog, CallStage, GuestError, GuestPlan, Module, Services, StopReason};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;
use tokio::task::JoinSet;

use super::chunk_run::ChunkRun;
use super::destination_logs::Page;
use super::effective_policy::CheckedPolicy;
use super::exchange::FAILURES_IN_A_ROW_MAX;
use super::outcome::DeliveryOutcome;
use super::rate_limiter::{self, RateLimiter};
use super::signer::SigningKeys;
use super::tally::{DeliveryCounts, RuntimeTally};

/// Tries after which an event is no longer sent together with others.
const TRIES_IN_COMPANY_MAX: u32 = 5;

/// An event on its way.
#[derive(Debug, Clone)]
pub(super) struct OutgoingEvent {
    pub(super) user: String,
    pub(super) json: String,
    /// Tries that failed before.
    pub(super) tries: u32,
}

impl OutgoingEvent {
    pub(super) fn new(event: &Event) -> Self {
        Self { user: event.user().unwrap_or_default().to_owned(), json: event.to_json(), tries: 0 }
    }

    pub(super) fn again(pending: &Pending) -> Self {
        Self { user: pending.user.clone(), json: pending.event.clone(), tries: pending.attempts }
    }
}

/// Why a destination takes nothing more until an operator acts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the destination has stopped: {reason}; {advice}")]
pub(super) struct RuntimeStop {
    pub(super) reason: String,
    pub(super) advice: String,
}

/// A destination that cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    #[error(transparent)]
    Trust(#[from] TrustError),
    #[error("the plugin does not take its settings: {0}")]
    Settings(String),
}

/// One destination: the compiled plugin, its connections and its rate limiter. Syncs share it.
pub struct DestinationRuntime {
    name: Arc<str>,
    module: Module,
    pub(super) effective: CheckedPolicy,
    services: Services,
    pub(super) client: OutboundClient,
    pub(super) rate_limiter: RateLimiter,
    /// Tries that failed since one settled its events.
    pub(super) failures: AtomicU32,
    /// The run of failures that people have heard of.
    streak: Mutex<Streak>,
    stop: Mutex<Option<RuntimeStop>>,
    stopped: Notify,
    page: Page,
    tally: RuntimeTally,
}

impl std::fmt::Debug for DestinationRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its effective policy holds secrets.
        f.debug_struct("DestinationRuntime").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DestinationRuntime {
    /// Makes the client of a plugin; connects to nothing.
    ///
    /// # Errors
    /// The plugin refuses its settings.
    pub async fn open(
        module: Module,
        name: &str,
        effective: CheckedPolicy,
        page: Page,
    ) -> Result<Arc<Self>, OpenError> {
        let mut settings = OutboundSettings::new(effective.policy.clone(), effective.traffic.timeout);
        settings.secrets = effective.secrets.clone();
        settings.authentication = effective.authentication.clone();
        let runtime = Self {
            name: name.into(),
            module,
            services: Services {
                signer: Some(Arc::new(SigningKeys(effective.secrets.clone()))),
                ..Services::default()
            },
            client: OutboundClient::open(settings)?,
            rate_limiter: RateLimiter::new(&effective.traffic),
            failures: AtomicU32::new(0),
            streak: Mutex::default(),
            stop: Mutex::new(None),
            stopped: Notify::new(),
            page,
            tally: RuntimeTally::default(),
            effective,
        };
        // Wrong settings show now rather than at the first event.
        match runtime.prepare(&[]).await {
            Err(CallFailure::Configure(guest_error)) => Err(OpenError::Settings(said(&guest_error))),
            Err(CallFailure::Stopped {
                stage: CallStage::Instantiate | CallStage::Configure,
                message,
                stop_reason,
            }) if stop_reason != StopReason::Starved => Err(OpenError::Settings(message)),
            _ => Ok(Arc::new(runtime)),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) const fn order(&self) -> Order {
        self.effective.order
    }

    pub(super) const fn batching(&self) -> Batching {
        self.effective.batching
    }

    /// How long to wait after this many failed tries.
    pub(super) fn pause(&self, tries: u32, after: Option<Duration>) -> Duration {
        rate_limiter::pause(&self.effective.retry, tries, after)
    }

    /// So many tries in a row have failed that the far side counts as away; people hear of it once.
    pub(super) fn is_away(&self, error: &str) {
        let mut streak = self.streak.lock();
        if streak.fails(error, Instant::now()) {
            let destination = self.name();
            let pause_max_s = self.effective.retry.pause_max.as_secs();
            tracing::error!(
                destination,
                error,
                pause_max_s,
                "the destination fails; its events are kept and tried again with growing pauses"
            );
        }
    }

    /// The far side has settled a request.
    pub(super) fn is_back(&self) {
        let healed = self.streak.lock().heals(Instant::now());
        if let Some(Healed { seconds, attempts }) = healed {
            tracing::info!(
                destination = self.name(),
                failed_for_s = seconds,
                attempts,
                "the destination has healed: it takes events again"
            );
        }
    }

    pub(super) fn stopped(&self) -> Option<RuntimeStop> {
        self.stop.lock().clone()
    }

    pub(super) fn stop_notified(&self) -> Notified<'_> {
        self.stopped.notified()
    }

    pub(super) fn stop(&self, reason: String, advice: &str) {
        tracing::error!(destination = self.name(), reason, "the destination stops; what it has not taken is kept");
        let advice = format!("{advice}, then start tidegate again or make a version live");
        *self.stop.lock() = Some(RuntimeStop { reason, advice });
        self.stopped.notify_waiters();
    }

    /// Tries each outgoing event once (at first, a few times in quick succession) and says what came of each.
    pub(super) async fn carry(
        self: &Arc<Self>,
        outgoing: Arc<[OutgoingEvent]>,
        is_first_try: bool,
    ) -> Vec<(OutgoingEvent, DeliveryOutcome)> {
        let mut outcomes: Vec<Option<DeliveryOutcome>> = vec![None; outgoing.len()];
        let mut settle = |found: Vec<(usize, DeliveryOutcome)>| {
            for (index, outcome) in found {
                let slot = &mut outcomes[index];
                *slot = Some(match slot.take() {
                    Some(other) => other.and(outcome),
                    None => outcome,
                });
            }
        };
        let chunk_run = |outgoing| ChunkRun { runtime: Arc::clone(self), outgoing, is_first_try };
        let chunks = self.chunks(&outgoing, is_first_try);
        if self.order() == Order::User {
            let mut stuck = HashSet::new();
            for chunk in chunks {
                settle(chunk_run(Arc::clone(&outgoing)).run(chunk, &mut stuck).await);
            }
        } else {
            let mut at_once = JoinSet::new();
            for chunk in chunks {
                if at_once.len() >= self.effective.traffic.requests_at_once_max {
                    at_once.join_next().await.into_iter().flatten().for_each(&mut settle);
                }
                let chunk_run = chunk_run(Arc::clone(&outgoing));
                at_once.spawn(async move { chunk_run.run(chunk, &mut HashSet::new()).await });
            }
            while let Some(found) = at_once.join_next().await {
                found.into_iter().for_each(&mut settle);
            }
        }
        let lost = |outgoing: &OutgoingEvent| DeliveryOutcome::Again {
            tries: outgoing.tries.saturating_add(1),
            after: None,
            error: "the delivery ended without a word".to_owned(),
            detail: None,
        };
        let settled = outgoing
            .iter()
            .zip(outcomes)
            .map(|(outgoing, outcome)| (outgoing.clone(), outcome.unwrap_or_else(|| lost(outgoing))));
        let settled: Vec<(OutgoingEvent, DeliveryOutcome)> = settled.collect();
        if let Some(failing) = self.tally.note(settled.iter().map(|(_, outcome)| outcome), Instant::now()) {
            self.warn_of(&failing);
        }
        settled
    }

    /// What goes to quarantine is noticed late otherwise.
    fn warn_of(&self, DeliveryCounts { events, rejected, reason }: &DeliveryCounts) {
        let (destination, version) = (self.name(), self.page.version());
        tracing::warn!(
            destination,
            version,
            events,
            failed = rejected,
            error = reason.as_deref().unwrap_or_default(),
            "a destination fails most of its events, which go to quarantine; `tidegate quarantine` shows them with request \
             and answer, `tidegate destination rollback {destination}` goes back if its version is to blame"
        );
    }

    /// What its version did with events since the last time that somebody asked, to be written down.
    pub(super) fn unwritten(&self) -> Option<Charge> {
        let DeliveryCounts { events, rejected, reason } = self.tally.take()?;
        let version = self.page.version().to_owned();
        Some(Charge {
            function: self.name().to_owned(),
            version,
            events,
            failed: rejected,
            error: reason,
            ..Charge::default()
        })
    }

    /// Indexes of outgoing events, cut by count and bytes. What has failed for a while goes alone, so that one event which the
    /// far side chokes on does not keep those in its company; when everything fails only the first does, as a probe.
    fn chunks(&self, outgoing: &[OutgoingEvent], is_first_try: bool) -> Vec<Vec<usize>> {
        let away = self.failures.load(Ordering::Relaxed) >= FAILURES_IN_A_ROW_MAX;
        let alone = |index: usize, outgoing: &OutgoingEvent| {
            !is_first_try && outgoing.tries >= TRIES_IN_COMPANY_MAX && (index == 0 || !away)
        };
        let mut after_one_alone = false;
        let Batching { events_max, bytes_max, .. } = self.effective.batching;
        let (mut chunks, mut bytes): (Vec<Vec<usize>>, usize) = (Vec::new(), 0);
        for (index, outgoing) in outgoing.iter().enumerate() {
            let alone = alone(index, outgoing);
            let apart = std::mem::replace(&mut after_one_alone, alone) || alone;
            match chunks.last_mut() {
                Some(chunk) if !apart && chunk.len() < events_max && bytes + outgoing.json.len() <= bytes_max => {
                    bytes += outgoing.json.len();
                    chunk.push(index);
                }
                _ => {
                    bytes = outgoing.json.len();
                    chunks.push(vec![index]);
                }
            }
        }
        chunks
    }

    pub(super) async fn prepare(&self, batch: &[String]) -> Result<GuestPlan, CallFailure> {
        let mut call_log = CallLog::default();
        let limits = Arc::new(self.effective.limits.clone());
        let called = self.module.prepare(&limits, self.call(), batch, &mut call_log).await;
        self.log(&call_log);
        called.answer
    }

    /// What a guest is told about its call. Its clock is the wall clock: signatures carry the time.
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            settings_json: &self.effective.settings_json,
            revision: 1,
            now_ms: u64::try_from(clock::now_us() / 1_000).unwrap_or(0),
            seed: u64::from_le_bytes(clock::random::<8>()),
            deadline: None,
            services: &self.services,
            numbers: self.effective.numbers,
        }
    }

    pub(super) const fn module(&self) -> &Module {
        &self.module
    }

    pub(super) fn log(&self, call_log: &CallLog) {
        self.page.write(call_log);
        for line in &call_log.lines {
            tracing::debug!(destination = self.name(), level = ?line.level, "{}", line.text);
        }
    }
}

/// The same try again, not counted as one.
pub(super) fn again(outgoing: &OutgoingEvent, error: String) -> DeliveryOutcome {
    DeliveryOutcome::Again { tries: outgoing.tries, after: None, error, detail: None }
}

pub(super) fn said(guest_error: &GuestError) -> String {
    format!("{}: {}", guest_error.code, guest_error.message)
}

//! One destination at work: the compiled plugin, its connections, and whether it works, fails or has stopped.

use std::sync::Arc;
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_metrics::{DestinationNumbers, EngineMetrics};
use tidegate_net::outbound::{OutboundClient, OutboundSettings};
use tidegate_net::trust::TrustError;
use tidegate_plugin::{Batching, Order};
use tidegate_process::clock;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::Charge;
use tidegate_wasm::{
    AnsweredRequest, Call, CallFailure, CallLimits, CallLog, CallStage, DeliveryVerdict, DestinationExport, GuestPlan,
    Module, Services, StopReason,
};
use tokio::sync::Notify;
use tokio::sync::futures::Notified;

use super::destination_logs::Page;
use super::effective_policy::{CheckedPolicy, PendingLimits};
use super::outcome::DeliveryOutcome;
use super::rate_limiter::{self, RateLimiter};
use super::signer::SigningKeys;
use super::tally::{DeliveryCounts, RuntimeTally};

/// Instances that plan requests are never those that read answers.
const REVISION: u64 = 1;
const READER_REVISION: u64 = 2;
/// Answers that one instance reads.
const ANSWERS_PER_INSTANCE: u32 = 64;

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
    /// Which export of it is asked.
    export: DestinationExport,
    limits: Arc<CallLimits>,
    /// The same for instances that read one answer after the other.
    reader_limits: Arc<CallLimits>,
    pub(super) effective: CheckedPolicy,
    services: Services,
    pub(super) client: OutboundClient,
    pub(super) rate_limiter: Arc<RateLimiter>,
    /// Tries that failed since one settled its events.
    pub(super) failures: AtomicU32,
    /// The run of failures that people have heard of.
    streak: Mutex<Streak>,
    stop: Mutex<Option<RuntimeStop>>,
    stopped: Notify,
    page: Page,
    tally: RuntimeTally,
    pub(super) numbers: Arc<DestinationNumbers>,
}

impl std::fmt::Debug for DestinationRuntime {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Its effective policy holds secrets.
        f.debug_struct("DestinationRuntime").field("name", &self.name).finish_non_exhaustive()
    }
}

impl DestinationRuntime {
    /// Makes the client of a plugin; connects to nothing. What it sends is counted in `metrics`.
    ///
    /// # Errors
    /// The plugin refuses its settings.
    pub async fn open(
        module: Module,
        name: &str,
        effective: CheckedPolicy,
        page: Page,
        metrics: &EngineMetrics,
    ) -> Result<Arc<Self>, OpenError> {
        let rate_limiter = Arc::new(RateLimiter::new(&effective.traffic));
        let shared = (page, rate_limiter, metrics.destinations.of(&[name]));
        // Several destinations may have the same version, each with settings of its own.
        let module = module.of_its_own();
        let runtime = Self::of((module, DestinationExport::Destination), name.into(), effective, shared)?;
        // Wrong settings show now rather than at the first event.
        match runtime.prepare(&[]).await {
            Err(CallFailure::Configure(guest_error)) => Err(OpenError::Settings(guest_error.to_string())),
            Err(CallFailure::Stopped {
                stage: CallStage::Instantiate | CallStage::Configure,
                message,
                stop_reason,
            }) if stop_reason != StopReason::Starved => Err(OpenError::Settings(message)),
            _ => Ok(Arc::new(runtime)),
        }
    }

    /// A runtime beside this one that has the tool delete people: what fails or stops there is nothing to events. Its requests count for
    /// the same rate.
    pub(super) fn to_forget(&self) -> Result<Arc<Self>, OpenError> {
        let module = (self.module.clone(), DestinationExport::Forget);
        let shared = (self.page.clone(), Arc::clone(&self.rate_limiter), Arc::clone(&self.numbers));
        Self::of(module, Arc::clone(&self.name), self.effective.clone(), shared).map(Arc::new)
    }

    fn of(
        (module, export): (Module, DestinationExport),
        name: Arc<str>,
        effective: CheckedPolicy,
        (page, rate_limiter, numbers): (Page, Arc<RateLimiter>, Arc<DestinationNumbers>),
    ) -> Result<Self, OpenError> {
        let mut settings = OutboundSettings::new(effective.policy.clone(), effective.traffic.timeout);
        settings.secrets = effective.secrets.clone();
        settings.authentication = effective.authentication.clone();
        Ok(Self {
            name,
            module,
            export,
            reader_limits: Arc::new(CallLimits {
                calls_per_instance_max: ANSWERS_PER_INSTANCE,
                ..effective.limits.clone()
            }),
            limits: Arc::new(effective.limits.clone()),
            services: Services {
                signer: Some(Arc::new(SigningKeys(effective.secrets.clone()))),
                ..Services::default()
            },
            client: OutboundClient::open(settings)?,
            rate_limiter,
            failures: AtomicU32::new(0),
            streak: Mutex::default(),
            stop: Mutex::new(None),
            stopped: Notify::new(),
            page,
            tally: RuntimeTally::default(),
            numbers,
            effective,
        })
    }

    /// Whether its tool can be asked to delete people.
    #[must_use]
    pub fn can_forget(&self) -> bool {
        self.module.can_forget()
    }

    /// Whether it delivers events: of a deletion whoever asked for it tells.
    fn delivers(&self) -> bool {
        self.export == DestinationExport::Destination
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

    /// How much of one sync may wait for another try.
    pub(super) const fn pending(&self) -> PendingLimits {
        self.effective.pending
    }

    /// How long to wait after this many failed tries.
    pub(super) fn pause(&self, tries: u32, after: Option<Duration>) -> Duration {
        rate_limiter::pause(&self.effective.retry, tries, after)
    }

    /// So many tries in a row have failed that the far side counts as away; people hear of it once.
    pub(super) fn is_away(&self, error: &str) {
        if !self.delivers() {
            return;
        }
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
        if self.delivers() {
            tracing::error!(destination = self.name(), reason, "the destination stops; what it has not taken is kept");
        }
        let advice = format!("{advice}, then run `tidegate reload` or make a version live");
        *self.stop.lock() = Some(RuntimeStop { reason, advice });
        self.stopped.notify_waiters();
    }

    /// Counts what came of some events, and warns when most of them fail: what goes to quarantine is noticed late otherwise.
    pub(super) fn note<'a>(&self, outcomes: impl Iterator<Item = &'a DeliveryOutcome>) {
        if let Some(failing) = self.tally.note(outcomes, Instant::now())
            && self.delivers()
        {
            self.warn_of(&failing);
        }
    }

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

    pub(super) async fn prepare(&self, batch: &[String]) -> Result<GuestPlan, CallFailure> {
        let mut call_log = CallLog::default();
        let called = self.module.prepare_for(self.call(), (self.export, batch), &mut call_log).await;
        self.log(&call_log);
        called.answer
    }

    /// The same for a look, of which nothing is logged.
    pub(super) async fn prepare_quietly(&self, batch: &[String]) -> Result<GuestPlan, CallFailure> {
        self.module.prepare(self.call(), batch, &mut CallLog::default()).await.answer
    }

    /// What a guest is told about its call. Its clock is the wall clock: signatures carry the time.
    pub(super) fn call(&self) -> Call<'_> {
        Call {
            limits: &self.limits,
            settings_json: &self.effective.settings_json,
            revision: REVISION,
            now_ms: u64::try_from(clock::now_us() / 1_000).unwrap_or(0),
            seed: u64::from_le_bytes(clock::random::<8>()),
            deadline: None,
            services: &self.services,
            numbers: self.effective.numbers,
        }
    }

    /// Lets the guest say what an answer means. An instance reads several answers, because to make one for each takes longer
    /// than reading; what it breaks on is read once more by a new one.
    pub(super) async fn classify(&self, answered: AnsweredRequest<'_>) -> Result<DeliveryVerdict, CallFailure> {
        let reading = Call { limits: &self.reader_limits, revision: READER_REVISION, ..self.call() };
        let mut call_log = CallLog::default();
        let answered = (self.export, answered);
        let mut called = self.module.classify_for(reading, answered, &mut call_log).await;
        if matches!(&called.answer, Err(CallFailure::Stopped { stop_reason, .. }) if *stop_reason != StopReason::Starved)
        {
            call_log = CallLog::default();
            called = self.module.classify_for(self.call(), answered, &mut call_log).await;
        }
        self.log(&call_log);
        called.answer
    }

    pub(super) fn log(&self, call_log: &CallLog) {
        // Nothing of whoever is forgotten is kept.
        if !self.delivers() {
            return;
        }
        self.page.write(call_log);
        for line in &call_log.lines {
            tracing::debug!(destination = self.name(), level = ?line.level, "{}", line.text);
        }
    }
}

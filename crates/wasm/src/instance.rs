//! An instance of a plugin: a store in which every limit is set, and the guest in it, started once.

use tokio::sync::OwnedSemaphorePermit;
use wasmtime::{Store, UpdateDeadline};

use super::call::Call;
use super::call_failure::CallFailure;
use super::call_log::CallLog;
use super::delivery::{AnsweredRequest, DeliveryVerdict, DestinationExport, GuestPlan};
use super::editing::Editing;
use super::engine::Engine;
use super::guest::{CallBudget, Guest};
use super::guest_answer::GuestAnswer;
use super::pre::{Pre, StartedGuest};

/// What a call asks of an instance.
#[derive(Clone, Copy)]
pub(super) enum CallJob<'a> {
    Transform(&'a [String]),
    /// So many events, of about so many bytes as text.
    Edit {
        events: usize,
        bytes: usize,
    },
    Prepare(DestinationExport, &'a [String]),
    Classify(DestinationExport, AnsweredRequest<'a>),
}

pub(super) enum CallDone {
    Answers(Vec<GuestAnswer>),
    Edited,
    /// And whether the guest signed anything.
    Plan(GuestPlan, bool),
    Verdict(DeliveryVerdict),
}

impl CallJob<'_> {
    /// Events and bytes that it is about: the budgets of its call grow with them.
    fn size(&self) -> (usize, usize) {
        match self {
            Self::Transform(batch) | Self::Prepare(_, batch) => (batch.len(), batch.iter().map(String::len).sum()),
            Self::Edit { events, bytes } => (*events, *bytes),
            Self::Classify(_, answered) => (answered.events.len(), answered.response.body.len()),
        }
    }
}

/// An instance with its store and its slot of the pool.
pub(super) struct Instance {
    store: Store<Guest>,
    started: Option<StartedGuest>,
    /// Of the settings that it is configured with.
    revision: u64,
    /// Calls that it has ended.
    pub(super) calls: u32,
    /// Given back when the instance is dropped.
    slot: Option<OwnedSemaphorePermit>,
}

impl Instance {
    /// An instance in this `slot` of the pool, whose guest is stopped at a tick when a budget is gone. Nothing of the guest
    /// has run yet.
    pub(super) fn new(engine: &Engine, call: &Call<'_>, slot: Option<OwnedSemaphorePermit>) -> Self {
        let mut store = Store::new(engine.raw(), Guest::new(call, engine.limits()));
        store.limiter(|guest| &mut guest.memory);
        store.epoch_deadline_callback(|store| match store.data().budget.exceeded() {
            Some(trap) => Err(trap.into()),
            None => Ok(UpdateDeadline::Yield(1)),
        });
        Self { store, started: None, revision: call.revision, calls: 0, slot }
    }

    #[must_use]
    pub(super) fn revision(&self) -> u64 {
        self.revision
    }

    pub(super) fn guest(&mut self) -> &mut Guest {
        self.store.data_mut()
    }

    /// Sets every limit anew for the next call; answers what it may spend.
    pub(super) fn begin(
        &mut self,
        call: &Call<'_>,
        job: &CallJob<'_>,
        editing: Editing,
        call_log: CallLog,
    ) -> CallBudget {
        debug_assert!(self.slot.is_some());
        let (events, bytes) = job.size();
        self.store.set_hostcall_fuel(call.limits.output_budget_bytes(bytes));
        self.store.set_epoch_deadline(1);
        let budget = CallBudget::of(call, events);
        self.guest().begin(call, budget.clone(), editing, call_log);
        budget
    }

    /// Has the guest do `job`; starts it first where that is not done.
    pub(super) async fn work(&mut self, pre: &Pre, call: &Call<'_>, job: CallJob<'_>) -> Result<CallDone, CallFailure> {
        let store = &mut self.store;
        let started = match &self.started {
            Some(started) => started,
            None => self.started.insert(pre.start(store, call).await?),
        };
        match (started, job) {
            (StartedGuest::Transform(plugin), CallJob::Transform(batch)) => {
                match plugin.tidegate_plugin_transformer().call_transform(&mut *store, batch).await {
                    Ok(Ok(outcomes)) => Ok(CallDone::Answers(outcomes.into_iter().map(GuestAnswer::from).collect())),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Fields(plugin), CallJob::Edit { .. }) => {
                let events = store.data().editing.len();
                match plugin.tidegate_plugin_field_transformer().call_transform(&mut *store, events).await {
                    Ok(Ok(())) => Ok(CallDone::Edited),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Destination(plugin, _), CallJob::Prepare(DestinationExport::Destination, batch)) => {
                match plugin.tidegate_plugin_destination().call_prepare(&mut *store, batch).await {
                    Ok(Ok(plan)) => Ok(CallDone::Plan(plan.into(), store.data().has_signed)),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (
                StartedGuest::Destination(plugin, _),
                CallJob::Classify(DestinationExport::Destination, AnsweredRequest { tag, events, response }),
            ) => {
                let plugin = plugin.tidegate_plugin_destination();
                match plugin.call_classify(&mut *store, tag, events, &response.into()).await {
                    Ok(verdict) => Ok(CallDone::Verdict(verdict.into())),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Destination(_, Some(forget)), CallJob::Prepare(DestinationExport::Forget, people)) => {
                match forget.prepare(store, people).await {
                    Ok(Ok(plan)) => Ok(CallDone::Plan(plan.into(), store.data().has_signed)),
                    Ok(Err(error)) => Err(error.into()),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            (StartedGuest::Destination(_, Some(forget)), CallJob::Classify(DestinationExport::Forget, answered)) => {
                match forget.classify(store, answered).await {
                    Ok(verdict) => Ok(CallDone::Verdict(verdict.into())),
                    Err(error) => Err(store.data().failure(&error)),
                }
            }
            _ => Err(CallFailure::wrong_world()),
        }
    }
}

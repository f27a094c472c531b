//! The calls of a module: one batch through one instance, within every limit.

use std::time::Instant;

use tidegate_event::digits;
use tidegate_event::value::JsonObject;

use super::call::{Call, Called};
use super::call_failure::CallFailure;
use super::call_log::CallLog;
use super::delivery::{AnsweredRequest, DeliveryVerdict, DestinationExport, GuestPlan};
use super::editing::{Editing, Mark};
use super::guest::CallBudget;
use super::guest_answer::GuestAnswer;
use super::host_trap::HostTrap;
use super::instance::{CallDone, CallJob, Instance};
use super::module::Module;
use super::stop_reason::StopReason;

impl Module {
    /// Runs the texts of `batch` through `transform` on a fresh instance. Log lines and counters go to `call_log`, also
    /// when the call fails.
    pub async fn transform(
        &self,
        call: Call<'_>,
        batch: &[String],
        call_log: &mut CallLog,
    ) -> Called<Vec<GuestAnswer>> {
        let (called, _) = self.call(call, CallJob::Transform(batch), Editing::default(), call_log).await;
        called.map(|done| if let CallDone::Answers(answers) = done { Some(answers) } else { None })
    }

    /// Lets a guest of the fields world edit `events` in place; `input_bytes` is about what they were as text. When the
    /// call fails the events come back as they were.
    pub async fn edit(
        &self,
        call: Call<'_>,
        events: Vec<JsonObject>,
        input_bytes: usize,
        call_log: &mut CallLog,
    ) -> (Vec<JsonObject>, Called<Vec<Mark>>) {
        let job = CallJob::Edit { events: events.len(), bytes: input_bytes };
        let editing = Editing::new(events, call.limits.output_budget_bytes(input_bytes), call.numbers);
        let (called, editing) = self.call(call, job, editing, call_log).await;
        let Called { answer, cpu, memory_peak_bytes } = called;
        match answer {
            Ok(_) => {
                let (events, marks) = editing.finish();
                (events, Called { answer: Ok(marks), cpu, memory_peak_bytes })
            }
            Err(failure) => (editing.undone(), Called { answer: Err(failure), cpu, memory_peak_bytes }),
        }
    }

    /// Asks a destination plugin which requests deliver `batch`. Their bodies have the digits of the events.
    pub async fn prepare(&self, call: Call<'_>, batch: &[String], call_log: &mut CallLog) -> Called<GuestPlan> {
        self.prepare_for(call, (DestinationExport::Destination, batch), call_log).await
    }

    /// The same by one of its exports: `batch` is the events, or the people that it is to forget.
    pub async fn prepare_for(
        &self,
        call: Call<'_>,
        (export, batch): (DestinationExport, &[String]),
        call_log: &mut CallLog,
    ) -> Called<GuestPlan> {
        let called = self.ask(call, CallJob::Prepare(export, batch), call_log).await;
        called.map(|done| {
            let CallDone::Plan(mut plan, has_signed) = done else { return None };
            // What was signed must be sent as it was signed.
            if !has_signed {
                plan.restore_digits(batch, &call_log.given, call.numbers);
            }
            Some(plan)
        })
    }

    /// Asks a destination plugin what the response means for the request that was answered.
    pub async fn classify(
        &self,
        call: Call<'_>,
        answered: AnsweredRequest<'_>,
        call_log: &mut CallLog,
    ) -> Called<DeliveryVerdict> {
        self.classify_for(call, (DestinationExport::Destination, answered), call_log).await
    }

    /// The same for a request that one of its exports has planned.
    pub async fn classify_for(
        &self,
        call: Call<'_>,
        (export, answered): (DestinationExport, AnsweredRequest<'_>),
        call_log: &mut CallLog,
    ) -> Called<DeliveryVerdict> {
        let called = self.ask(call, CallJob::Classify(export, answered), call_log).await;
        called.map(|done| if let CallDone::Verdict(verdict) = done { Some(verdict) } else { None })
    }

    /// One call of a destination plugin, and again while the machine stands still: no event of it is to blame for that.
    async fn ask(&self, call: Call<'_>, job: CallJob<'_>, call_log: &mut CallLog) -> Called<CallDone> {
        let mut retries = 0;
        loop {
            let (called, _) = self.call(call, job, Editing::default(), call_log).await;
            let starved = matches!(called.answer, Err(CallFailure::Stopped { stop_reason: StopReason::Starved, .. }));
            if !starved || retries >= call.limits.retries_max {
                return called;
            }
            retries += 1;
        }
    }

    async fn call(
        &self,
        call: Call<'_>,
        job: CallJob<'_>,
        editing: Editing,
        call_log: &mut CallLog,
    ) -> (Called<CallDone>, Editing) {
        if call_log.given.is_empty() && digits::is_lossy_for(call.settings_json, call.numbers) {
            call_log.give(call.settings_json);
        }
        let mut instance = match self.warm().take(call.revision) {
            Some(warm) => warm,
            None => {
                // The semaphore is never closed, so there is a permit or there is patience.
                let slot = self.engine().slots().acquire_owned().await.ok();
                Instance::new(self.engine(), &call, slot)
            }
        };
        let began = Instant::now();
        let CallBudget { meter, wall, .. } = instance.begin(&call, &job, editing, std::mem::take(call_log));
        // Boxed, because every await on the way here copies the future of what it calls, and this is the largest.
        let work = Box::pin(instance.work(self.pre(), &call, job));
        // The callback of the store sees the wall limit at a tick; the timeout sees it when nothing runs at all.
        let answer = match tokio::time::timeout_at(wall.into(), meter.time(work)).await {
            Ok(answer) => answer,
            Err(_elapsed) => Err(instance.guest().stopped(StopReason::WallLimit, HostTrap::Wall.to_string())),
        };
        let cpu = meter.used();
        let answer = answer.map_err(|failure| match failure {
            CallFailure::Stopped { stop_reason: StopReason::WallLimit, stage, .. } if cpu < began.elapsed() / 2 => {
                let message = "the machine stood still until the wall limit was reached".to_owned();
                CallFailure::Stopped { stop_reason: StopReason::Starved, stage, message }
            }
            failure => failure,
        });
        let guest = instance.guest();
        *call_log = std::mem::take(&mut guest.call_log);
        call_log.finish_line(call.limits);
        let editing = std::mem::take(&mut guest.editing);
        let called = Called { answer, cpu, memory_peak_bytes: guest.memory.peak_bytes };
        instance.calls += 1;
        // Only after a clean answer: whatever trapped, ran out or complained is thrown away with all that it knew.
        let may_serve_again = called.answer.is_ok() && instance.calls < call.limits.calls_per_instance_max;
        // What is kept holds a slot that nobody else can have, so half of them are never kept.
        if may_serve_again && self.engine().has_slots_to_spare() {
            self.warm().put(instance);
        }
        (called, editing)
    }
}

impl Called<CallDone> {
    fn map<T>(self, take: impl FnOnce(CallDone) -> Option<T>) -> Called<T> {
        let Self { answer, cpu, memory_peak_bytes } = self;
        let answer = answer.and_then(|done| take(done).ok_or_else(CallFailure::wrong_world));
        Called { answer, cpu, memory_peak_bytes }
    }
}

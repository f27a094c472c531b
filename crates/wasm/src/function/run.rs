//! One run of a function: its events in calls, each call again where that may help, each poison event found.

use std::ops::Range;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tidegate_event::value::JsonObject;

use super::isolate::Isolation;
use super::verdict::{RunVerdict, Spent, verdict, wrong_count};
use super::{CallLimits, FailKind, Function, FunctionError, FunctionErrorCode, FunctionRan, Outcome, RunContext};
use crate::{Call, CallFailure, Called, GuestAnswer, GuestError, HiddenTexts, Mark};

/// A call that needed more of its CPU budget than this sends its function to the slow lane, as one that was stopped does.
const SLOW_SHARE: f64 = 0.25;

/// Calls that must go well before the function is back in the quick lane.
const CALLS_WATCHED: u8 = 64;

/// The events of a run: texts, or parsed events to be edited where they are.
pub(super) enum RunWork<'a> {
    Texts(&'a [String]),
    Bodies { bodies: &'a mut [JsonObject], each_bytes: usize },
}

/// A run of a function under way.
pub(super) struct FunctionRun<'a> {
    function: &'a Function,
    work: RunWork<'a>,
    cx: RunContext,
    /// What came of it so far.
    ran: FunctionRan,
    spent: Spent,
}

impl<'a> FunctionRun<'a> {
    /// A run that is to begin.
    pub(super) fn new(function: &'a Function, work: RunWork<'a>, cx: RunContext) -> Self {
        Self { function, work, cx, ran: FunctionRan::default(), spent: Spent::default() }
    }

    /// Runs all of the events.
    pub(super) async fn all(mut self) -> FunctionRan {
        let events = self.work.len();
        self.ran.outcomes.reserve_exact(events);
        let mut from = 0;
        while from < events {
            let chunk = from..from + self.chunk_len(from);
            from = chunk.end;
            self.chunk(chunk).await;
        }
        let hidden = &self.function.hidden;
        if !hidden.is_empty() {
            self.ran.outcomes.iter_mut().for_each(|outcome| outcome.clean(hidden));
            hidden.clean_log(&mut self.ran.call_log);
        }
        self.ran
    }

    /// How many events from `from` on fit into one call; at least one.
    fn chunk_len(&self, from: usize) -> usize {
        let mut bytes = 0_usize;
        let fits = |event: &usize| {
            bytes = bytes.saturating_add(self.work.bytes(*event));
            bytes <= self.function.limits.batch_bytes_max
        };
        (from..self.work.len()).take(self.function.limits.batch_events_max).take_while(fits).count().max(1)
    }

    async fn chunk(&mut self, chunk: Range<usize>) {
        let mut isolation = Isolation::new(chunk.len());
        let mut first = true;
        while let Some(range) = isolation.next() {
            if !self.in_time(Duration::ZERO) {
                isolation.everybody(
                    range,
                    FunctionError { code: FunctionErrorCode::WallLimit, message: "the run is out of time".into() },
                );
                continue;
            }
            let exhausted = (!first).then(|| self.spent.exhausted(&self.function.limits, chunk.len())).flatten();
            if let Some(why) = exhausted {
                isolation.give_up(range, why);
                continue;
            }
            let (part, began) = (chunk.start + range.start..chunk.start + range.end, Instant::now());
            let (answer, cpu) = self.call_with_retries(part).await;
            if !first {
                self.spent.attempts += 1;
                self.spent.cpu += cpu;
                self.spent.wall += began.elapsed();
            }
            first = false;
            match answer {
                Ok(outcomes) => isolation.answered(range, outcomes),
                Err(RunVerdict::Suspect(error)) => isolation.failed_alone(range, error),
                Err(RunVerdict::Everybody(error) | RunVerdict::Again(error, _)) => isolation.everybody(range, error),
            }
        }
        self.ran.outcomes.append(&mut isolation.into_outcomes());
    }

    /// One call, and again when the function asks for it or the machine stood still, as often as the run allows.
    async fn call_with_retries(&mut self, part: Range<usize>) -> (Result<Vec<Outcome>, RunVerdict>, Duration) {
        let limits = &self.function.limits;
        let mut cpu = Duration::ZERO;
        loop {
            let called = self.call(part.clone()).await;
            cpu += called.cpu;
            self.account(part.len(), &called);
            let verdict = match called.answer {
                Ok(outcomes) if outcomes.len() == part.len() => {
                    if let Some(share) = self.work.output_share(&part, &outcomes, limits) {
                        self.ran.stats.output_share_max = self.ran.stats.output_share_max.max(share);
                    }
                    return (Ok(outcomes), cpu);
                }
                Ok(outcomes) => RunVerdict::Suspect(wrong_count(part.len(), outcomes.len())),
                Err(failure) => verdict(failure, limits),
            };
            self.ran.stats.calls_failed += 1;
            match verdict {
                RunVerdict::Again(_, pause) if self.spent.retries < limits.retries_max && self.in_time(pause) => {
                    self.spent.retries += 1;
                    self.ran.stats.retries += 1;
                    tokio::time::sleep(pause).await;
                }
                RunVerdict::Again(error, _) => return (Err(RunVerdict::Suspect(error)), cpu),
                verdict => return (Err(verdict), cpu),
            }
        }
    }

    /// One call over `part` of the events.
    pub(super) async fn call(&mut self, part: Range<usize>) -> Called<Vec<Outcome>> {
        let function = self.function;
        let call = Call {
            limits: &function.limits,
            settings_json: &function.given_json,
            revision: function.revision,
            now_ms: self.cx.now_ms,
            seed: self.cx.seed,
            deadline: self.cx.deadline,
            services: &function.services,
            numbers: function.numbers,
        };
        let call_log = &mut self.ran.call_log;
        match &mut self.work {
            RunWork::Texts(batch) => {
                let called = function.module.transform(call, &batch[part], call_log).await;
                let outcomes =
                    |answers: Vec<GuestAnswer>| answers.into_iter().map(|answer| function.outcome(answer)).collect();
                called.map_answer(outcomes)
            }
            RunWork::Bodies { bodies, each_bytes } => {
                let bytes = part.len().saturating_mul(*each_bytes);
                let granted: Vec<_> = bodies[part.clone()].iter_mut().map(std::mem::take).collect();
                let (back, called) = function.module.edit(call, granted, bytes, call_log).await;
                for (place, body) in bodies[part].iter_mut().zip(back) {
                    *place = body;
                }
                called.map_answer(|marks| marks.into_iter().map(marked).collect())
            }
        }
    }

    fn account<T>(&mut self, events: usize, called: &Called<T>) {
        let (function, stats) = (self.function, &mut self.ran.stats);
        stats.calls += 1;
        stats.cpu += called.cpu;
        stats.memory_peak_bytes = stats.memory_peak_bytes.max(called.memory_peak_bytes);
        let budget = function.limits.cpu_budget(events);
        let used = share(called.cpu.as_secs_f64(), budget.as_secs_f64());
        stats.cpu_share_max = stats.cpu_share_max.max(used);
        let stopped = matches!(called.answer, Err(CallFailure::Stopped { .. }));
        let calls_watched = if stopped || used > SLOW_SHARE {
            CALLS_WATCHED
        } else {
            function.calls_watched.load(Ordering::Relaxed).saturating_sub(1)
        };
        // Two calls that end at once may count as one, which keeps it watched a little longer.
        function.calls_watched.store(calls_watched, Ordering::Relaxed);
    }

    /// Whether a pause of this length ends before the run must.
    fn in_time(&self, pause: Duration) -> bool {
        self.cx.deadline.is_none_or(|deadline| Instant::now() + pause < deadline)
    }
}

impl Function {
    fn outcome(&self, answer: GuestAnswer) -> Outcome {
        match answer {
            GuestAnswer::Keep => Outcome::Keep,
            GuestAnswer::Replace(event) => Outcome::Replace(event),
            GuestAnswer::Emit(events) if events.len() > self.limits.emitted_events_max => Outcome::Error {
                code: FunctionErrorCode::OutputLimit,
                message: format!(
                    "one event became {}; at most {} are allowed",
                    events.len(),
                    self.limits.emitted_events_max
                ),
            },
            GuestAnswer::Emit(events) => Outcome::Emit(events),
            GuestAnswer::Drop(reason) => Outcome::Drop(reason),
            GuestAnswer::Fail(GuestError { kind, code, message }) => Outcome::Fail { kind, code, message },
        }
    }
}

impl Outcome {
    /// Takes secrets out of what is a word of the function. An event is left as it is.
    fn clean(&mut self, hidden: &HiddenTexts) {
        match self {
            Self::Keep | Self::Edited | Self::Replace(_) | Self::Emit(_) => {}
            Self::Drop(reason) => hidden.clean(reason),
            Self::Fail { code, message, .. } => {
                hidden.clean(code);
                hidden.clean(message);
            }
            Self::Error { message, .. } => hidden.clean(message),
        }
    }
}

impl RunWork<'_> {
    fn len(&self) -> usize {
        match self {
            Self::Texts(texts) => texts.len(),
            Self::Bodies { bodies, .. } => bodies.len(),
        }
    }

    fn bytes(&self, event: usize) -> usize {
        match self {
            Self::Texts(texts) => texts.get(event).map_or(0, String::len),
            Self::Bodies { each_bytes, .. } => *each_bytes,
        }
    }

    /// How much of its output budget a call over `part` used; not known where nothing is copied back.
    fn output_share(&self, part: &Range<usize>, outcomes: &[Outcome], limits: &CallLimits) -> Option<f64> {
        let Self::Texts(texts) = self else { return None };
        let input_bytes = texts[part.clone()].iter().map(String::len).sum();
        let output_bytes: usize = outcomes.iter().map(outcome_bytes).sum();
        Some(share(output_bytes as f64, limits.output_budget_bytes(input_bytes) as f64))
    }
}

fn marked(mark: Mark) -> Outcome {
    match mark {
        Mark::Untouched => Outcome::Keep,
        Mark::Edited => Outcome::Edited,
        Mark::Dropped(reason) => Outcome::Drop(reason),
        Mark::Failed(code, message) => Outcome::Fail { kind: FailKind::InvalidEvent, code, message },
    }
}

fn outcome_bytes(outcome: &Outcome) -> usize {
    match outcome {
        Outcome::Keep | Outcome::Edited | Outcome::Error { .. } => 0,
        Outcome::Replace(event) | Outcome::Drop(event) => event.len(),
        Outcome::Emit(events) => events.iter().map(String::len).sum(),
        Outcome::Fail { code, message, .. } => code.len() + message.len(),
    }
}

fn share(used: f64, budget: f64) -> f64 {
    if budget > 0.0 { used / budget } else { 0.0 }
}

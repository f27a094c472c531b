//! A function chain over the events of one source or one sync.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use tidegate_event::value::JsonObject;
use tidegate_event::{Event, Position, decode};
use tidegate_state::{Charge, LoggedRun, OF_SEVERAL_DETAIL, QuarantineStage, Quarantined};
use tidegate_wasm::function::{Function, FunctionRan, Lane, Outcome, RunContext, UnfinishedRun, Workers};

use super::FunctionChain;
use super::shadow::{Comparison, compare};
use crate::tap::{ChosenListeners, EventHead, EventTaps, TapOutcome, TapPicks, TapStage};

/// What a function chain made of a batch.
#[derive(Debug, Default)]
pub struct ChainOutput {
    pub events: Vec<Event>,
    pub quarantined: Vec<Quarantined>,
    /// Filtered on purpose: how many, by function and reason code.
    pub dropped: HashMap<String, u64>,
    /// What each function used, in order.
    pub charges: Vec<Charge>,
    /// The functions that used it.
    pub charged: Vec<Arc<Function>>,
    /// What the functions logged.
    pub logs: Vec<LoggedRun>,
    /// What candidates would have done otherwise.
    pub comparisons: Vec<Comparison>,
    /// Records of which there are several events.
    multiplied: HashSet<Position>,
}

/// What stays the same whenever the same batch is run.
#[derive(Debug, Clone, Default)]
pub struct BatchContext {
    /// The source or the sync, for the quarantine.
    pub scope: Arc<str>,
    /// What the functions see as the time, Unix milliseconds.
    pub now_ms: u64,
    pub seed: u64,
    /// About what the events were as text.
    pub bytes: usize,
    /// When to say that it was quarantined, microseconds since the epoch.
    pub at_us: i64,
    /// Who sees what each function makes of it, if anybody does.
    pub tap: Option<FunctionTap>,
}

/// Where what functions make of events is offered.
#[derive(Debug, Clone)]
pub struct FunctionTap {
    pub taps: EventTaps,
    /// The sync whose functions run; none for those of a source.
    pub sync: Option<Arc<str>>,
}

impl FunctionTap {
    /// What is to be shown of what a function will make of these; `None` where nobody wants to see it.
    fn pick(&self, function: &str, events: &[Event]) -> Option<FunctionPicks> {
        let stage = TapStage::Function { name: function.to_owned(), sync: self.sync.clone() };
        let picks = self.taps.pick(&stage, events.iter().map(Some))?;
        let before = picks.places().filter_map(|at| Some((at, events.get(at)?.clone()))).collect();
        Some(FunctionPicks { picks, before })
    }
}

/// What is shown of what a function makes of a batch.
struct FunctionPicks {
    picks: TapPicks,
    /// The events that are shown, as they were before, by their places.
    before: BTreeMap<usize, Event>,
}

/// What is known of one event when the function has answered, and nothing has come of the answer yet.
struct AnsweredEvent {
    at: usize,
    head: EventHead,
    /// As it was before, where somebody is to see it.
    before: Option<Event>,
    chosen: ChosenListeners,
    /// Why it was dropped.
    reason: Option<String>,
}

impl FunctionPicks {
    /// `event` is as the function has left it.
    fn answered(&self, at: usize, event: &Event, outcome: &Outcome) -> AnsweredEvent {
        let (reason, chosen) = match outcome {
            Outcome::Drop(reason) => (Some(reason.clone()), self.picks.chosen_error(at, event)),
            Outcome::Emit(events) if events.is_empty() => (None, self.picks.chosen_error(at, event)),
            _ => (None, self.picks.chosen(at)),
        };
        let before = self.before.get(&at).cloned().or_else(|| chosen.is_anybody().then(|| event.clone()));
        AnsweredEvent { at, head: EventHead::of(event), before, chosen, reason }
    }

    /// Shows what has come of the answer: what goes on, or the entry of the quarantine.
    fn show(&self, answered: AnsweredEvent, after: &[Event], quarantined: Option<&Quarantined>) {
        let AnsweredEvent { at, head, before, chosen, reason } = answered;
        let texts = || after.iter().map(Event::to_json).collect::<Vec<String>>();
        if let Some(entry) = quarantined {
            let outcome = TapOutcome::Quarantined(entry.code.clone());
            if let Some(before) = before.or_else(|| head.with_text(&entry.event)) {
                self.picks.show(at, &before, &outcome, &texts);
            }
            return;
        }
        let Some(before) = before else { return };
        let outcome =
            if after.is_empty() { TapOutcome::Dropped(reason.unwrap_or_default()) } else { TapOutcome::Passed };
        self.picks.give(chosen, &before, &outcome, &texts);
    }
}

/// Events that go through a function chain together. A larger batch is cut, always at the same places, and its parts run beside
/// one another. Starting an instance costs a Python function as much as 30 events; a part makes that little. Another number would
/// give other seeds to what is refined once more: a canary would choose otherwise for events that were handed out.
const PART_EVENTS: usize = 256;

/// Runs `function_chain` in order over `events` on the threads of `workers`, in parts where they are many: as many parts at a time
/// as there are cores. What comes of them is in the order of the events.
///
/// # Errors
/// The pool has stopped, or the host panicked.
pub async fn chain_in_parts(
    workers: &Workers,
    function_chain: &Arc<FunctionChain>,
    events: Vec<Event>,
    batch: &BatchContext,
) -> Result<ChainOutput, UnfinishedRun> {
    let bytes_each = batch.bytes / events.len().max(1);
    let mut rest = events.into_iter();
    let mut whole = ChainOutput::default();
    let mut running = VecDeque::new();
    // The first part is what a batch of few events is: the whole.
    let mut seed = Some(batch.seed);
    loop {
        let part: Vec<Event> = rest.by_ref().take(PART_EVENTS).collect();
        let Some(first) = part.first() else { break };
        let seed = seed.take().unwrap_or_else(|| seed_of(first));
        let own = BatchContext { seed, bytes: bytes_each * part.len(), ..batch.clone() };
        let function_chain = Arc::clone(function_chain);
        let lane = function_chain.lane();
        // Who is slow gets no more of the slow lane than another source there.
        let parts_max = if lane == Lane::Slow { 1 } else { workers.cores() };
        if running.len() >= parts_max
            && let Some(oldest) = running.pop_front()
        {
            whole.append(oldest.await?);
        }
        running.push_back(workers.run(lane, async move { chain(&function_chain, part, &own).await }));
    }
    for part in running {
        whole.append(part.await?);
    }
    Ok(whole)
}

/// The seed of a part of a batch that is not its first.
fn seed_of(first: &Event) -> u64 {
    first.id.position.bits() ^ u64::from(first.id.part).rotate_left(32)
}

/// The seed of the part that the event at this place of a batch is in.
pub(super) fn seed_of_part(seed: u64, events: &[Event], at: usize) -> u64 {
    match events.get(at / PART_EVENTS * PART_EVENTS) {
        Some(first) if at >= PART_EVENTS => seed_of(first),
        _ => seed,
    }
}

/// Runs one function over one event, and counts nothing.
pub(super) async fn one(function: &Function, event: Event, batch: &BatchContext) -> ChainOutput {
    let (events, outcomes, _) = run(function, vec![event], batch).await;
    let mut chain_output = ChainOutput::default();
    for (event, outcome) in events.into_iter().zip(outcomes) {
        apply(&mut chain_output, function, event, outcome, batch);
    }
    chain_output
}

impl ChainOutput {
    /// Adds what came of the next part of the batch.
    fn append(&mut self, next: Self) {
        self.events.extend(next.events);
        self.quarantined.extend(next.quarantined);
        for (reason, dropped) in next.dropped {
            *self.dropped.entry(reason).or_default() += dropped;
        }
        for (charge, function) in next.charges.into_iter().zip(next.charged) {
            let known = self.charged.iter().position(|known| Arc::ptr_eq(known, &function));
            match known.and_then(|at| self.charges.get_mut(at)) {
                Some(known) => known.add(charge),
                None => {
                    self.charges.push(charge);
                    self.charged.push(function);
                }
            }
        }
        self.logs.extend(next.logs);
        for comparison in next.comparisons {
            match self.comparisons.iter_mut().find(|known| known.is_of_same(&comparison)) {
                Some(known) => known.add(comparison),
                None => self.comparisons.push(comparison),
            }
        }
    }
}

/// Runs `function_chain` in order over `events`, which come in log order and stay in it.
pub async fn chain(function_chain: &FunctionChain, events: Vec<Event>, batch: &BatchContext) -> ChainOutput {
    let multiplied = events.iter().filter(|event| event.id.part > 0).map(|event| event.id.position).collect();
    let mut chain_output = ChainOutput { events, multiplied, ..ChainOutput::default() };
    for slot in function_chain.slots() {
        if chain_output.events.is_empty() {
            break;
        }
        let function = slot.choose(batch.seed);
        let candidate = slot.shadow().map(|candidate| (candidate, chain_output.events.clone()));
        let events = std::mem::take(&mut chain_output.events);
        let picks = batch.tap.as_ref().and_then(|tap| tap.pick(function.name(), &events));
        let (events, outcomes, ran) = run(function, events, batch).await;
        if let Some((candidate, copies)) = candidate {
            let (theirs, their_outcomes, _) = run(candidate, copies, batch).await;
            chain_output.comparisons.push(compare(
                function,
                candidate,
                (&events, &outcomes),
                (&theirs, &their_outcomes),
            ));
        }
        note(&mut chain_output, function, &events, &outcomes, ran);
        for (at, (event, outcome)) in events.into_iter().zip(outcomes).enumerate() {
            let (passed, kept) = (chain_output.events.len(), chain_output.quarantined.len());
            let answered = picks.as_ref().map(|picks| picks.answered(at, &event, &outcome));
            apply(&mut chain_output, function, event, outcome, batch);
            if let (Some(picks), Some(answered)) = (&picks, answered) {
                picks.show(answered, &chain_output.events[passed..], chain_output.quarantined.get(kept));
            }
        }
    }
    chain_output
}

/// One function over `events`; of the fields world, what was edited is in the events that come back.
async fn run(
    function: &Function,
    mut events: Vec<Event>,
    batch: &BatchContext,
) -> (Vec<Event>, Vec<Outcome>, FunctionRan) {
    let cx = RunContext { now_ms: batch.now_ms, seed: batch.seed, ..RunContext::default() };
    let mut ran = if function.edits() {
        let mut bodies: Vec<JsonObject> = events.iter_mut().map(|event| std::mem::take(&mut event.body)).collect();
        let ran = function.edit(&mut bodies, batch.bytes, cx).await;
        for (event, body) in events.iter_mut().zip(bodies) {
            event.body = body;
        }
        ran
    } else {
        let texts: Vec<String> = events.iter().map(Event::to_json).collect();
        function.run(&texts, cx).await
    };
    let mut outcomes = std::mem::take(&mut ran.outcomes);
    for (outcome, event) in outcomes.iter_mut().zip(&events) {
        function.restore(outcome, &event.body, &ran.call_log.given);
    }
    (events, outcomes, ran)
}

fn note(
    chain_output: &mut ChainOutput,
    function: &Arc<Function>,
    events: &[Event],
    outcomes: &[Outcome],
    ran: FunctionRan,
) {
    let count = |what: fn(&Outcome) -> bool| outcomes.iter().filter(|outcome| what(outcome)).count() as u64;
    let errors = count(|outcome| matches!(outcome, Outcome::Error { .. }));
    let error = outcomes.iter().find_map(|outcome| match outcome {
        Outcome::Error { code, message } => Some(format!("{code}: {message}")),
        _ => None,
    });
    chain_output.charges.push(Charge {
        function: function.name().to_owned(),
        version: function.version().to_owned(),
        batches: 1,
        calls: ran.stats.calls.into(),
        calls_failed: ran.stats.calls_failed.into(),
        events: events.len() as u64,
        errors,
        failed: count(|outcome| matches!(outcome, Outcome::Fail { .. })),
        dropped: count(|outcome| matches!(outcome, Outcome::Drop(_))),
        cpu_us: u64::try_from(ran.stats.cpu.as_micros()).unwrap_or(u64::MAX),
        memory_peak_bytes: ran.stats.memory_peak_bytes as u64,
        error,
    });
    chain_output.charged.push(Arc::clone(function));
    let (Some(first), Some(last)) = (events.first(), events.last()) else { return };
    if ran.call_log.lines.is_empty() {
        return;
    }
    chain_output.logs.push(LoggedRun {
        function: function.name().to_owned(),
        version: function.version().to_owned(),
        at_us: first.received_at_us,
        positions: first.id.position..last.id.position.behind(),
        message_ids: events.iter().map(|event| event.message_id().to_owned()).collect(),
        lines: ran.call_log.lines.into_iter().map(|line| (line.level.as_str(), line.text)).collect(),
        lines_dropped: ran.call_log.lines_dropped,
    });
}

fn apply(chain_output: &mut ChainOutput, function: &Function, event: Event, outcome: Outcome, batch: &BatchContext) {
    let name = function.name();
    // The first of several has the number of the whole, and must be told from it.
    let is_of_several = chain_output.multiplied.contains(&event.id.position);
    let quarantine = |code: &str, message: &str, event: &Event| Quarantined {
        id: event.id,
        stage: QuarantineStage::Function.as_str(),
        scope: batch.scope.to_string(),
        code: code.to_owned(),
        // What is no event is perhaps quoted.
        message: function.cleaned(&format!("function {name}: {message}")),
        event: event.to_json().into_bytes(),
        at_us: batch.at_us,
        detail: is_of_several.then(|| OF_SEVERAL_DETAIL.to_owned()),
    };
    match outcome {
        Outcome::Keep => chain_output.events.push(event),
        Outcome::Edited => {
            let mut event = event;
            let body = std::mem::take(&mut event.body);
            match decode::edited(body, &event) {
                Ok(edited) => chain_output.events.push(edited),
                Err((refusal, body)) => {
                    event.body = body;
                    chain_output.quarantined.push(quarantine(refusal.code, &refusal.message, &event));
                }
            }
        }
        Outcome::Replace(json) => match decode::revised(&json, &event, event.id.part) {
            Ok(revised) => chain_output.events.push(revised),
            Err(refusal) => chain_output.quarantined.push(quarantine(refusal.code, &refusal.message, &event)),
        },
        Outcome::Emit(children) => {
            let revised: Result<Vec<Event>, _> = children
                .iter()
                .zip(0..)
                .map(|(json, n)| decode::revised(json, &event, child(event.id.part, n)))
                .collect();
            match revised {
                Ok(revised) if revised.is_empty() => {
                    *chain_output.dropped.entry(format!("{name}/emitted-nothing")).or_default() += 1;
                }
                Ok(revised) => {
                    if revised.len() > 1 {
                        chain_output.multiplied.insert(event.id.position);
                    }
                    chain_output.events.extend(revised);
                }
                // All or none: half a fan-out would be neither the event nor what the function meant.
                Err(refusal) => chain_output.quarantined.push(quarantine(refusal.code, &refusal.message, &event)),
            }
        }
        Outcome::Drop(reason) => *chain_output.dropped.entry(format!("{name}/{reason}")).or_default() += 1,
        Outcome::Fail { code, message, .. } => chain_output.quarantined.push(quarantine(&code, &message, &event)),
        Outcome::Error { code, message } => chain_output.quarantined.push(quarantine(code.as_str(), &message, &event)),
    }
}

/// Parts of parts stay distinct for a few rounds of fan-out; beyond that ids still differ by their suffixes.
fn child(parent: u32, n: u32) -> u32 {
    parent.saturating_mul(1024).saturating_add(n)
}

//! The functions of each source, over its part of each log range.
//!
//! Each source has a place of its own, so a slow or stopped function holds its own source and nobody else's. Which
//! function chain a log range goes through is decided when it is first run, and remembered by offset: whoever asks for the
//! log range again, after a restart too, gets what that function chain makes of it. So every event is transformed by exactly one
//! version of each function.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::{Mutex, RwLock};
use tidegate_event::{Event, Position};
use tidegate_metrics::EngineMetrics;
use tidegate_state::{Charge, Compared, EndedRetry, FateTally, KnownConsents, State, Transformed, TransformedRange};
use tidegate_wasm::function::Workers;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::breaker::{Breakers, Failing};
use super::function_chain;
use super::functions::{BatchContext, ChainOutput, FunctionTap, chain_in_parts};
use super::log_range::{LogRange, Refined};
use super::open_retries::{not_made, tell_not_made};
use super::{FunctionChain, RefineError, RefinerHandle, RuleSet};
use crate::fates::{FateInputs, key_of, key_of_entry, made};
use crate::tap::EventTaps;

/// Makes a function chain of old again from its key, or says in a sentence why it cannot.
pub type Recall = dyn Fn(&str) -> Result<Arc<FunctionChain>, String> + Send + Sync;

/// The counter of retried parts of events that functions do not make any more.
const NOT_MADE: &str = "dropped by retries/not-made";

/// What function chains run on, and where those of old come from.
pub struct SourceFunctions {
    pub workers: Workers,
    pub recall: Arc<Recall>,
    /// How far each source was handed out in earlier lives, for those that had no functions: the furthest cursor of
    /// its syncs.
    pub handed_to: HashMap<Arc<str>, u64>,
    /// Where events are offered to whoever listens.
    pub taps: EventTaps,
    /// Where what is done is counted.
    pub metrics: EngineMetrics,
}

/// The places of all sources that were ever asked for.
pub(super) struct Stages {
    workers: Workers,
    breakers: Breakers,
    failing: Failing,
    recall: Arc<Recall>,
    rules: watch::Receiver<Arc<RuleSet>>,
    sources: RwLock<HashMap<Arc<str>, Arc<SourcePlace>>>,
    state: Mutex<State>,
    remembered_bytes_max: usize,
    taps: EventTaps,
    metrics: EngineMetrics,
}

#[derive(Default)]
struct SourcePlace {
    /// Everything below was handed out.
    handed_to: AtomicU64,
    inner: AsyncMutex<StageInner>,
}

/// What is known of one source.
#[derive(Default)]
struct StageInner {
    /// From which offset on which function chain, oldest first; nothing before the first.
    history: Vec<(u64, Arc<str>)>,
    /// Function chains of the history, made again; with the rules that were in place then, for tables and secrets are those of now.
    recalled: Option<(Arc<RuleSet>, Arc<FunctionChain>)>,
    remembered: VecDeque<Arc<Refined>>,
}

impl Stages {
    /// Reads how far each source has come.
    pub(super) fn open(
        functions: SourceFunctions,
        rules: watch::Receiver<Arc<RuleSet>>,
        state: State,
        remembered_bytes_max: usize,
    ) -> Result<Self, RefineError> {
        let SourceFunctions { workers, recall, mut handed_to, taps, metrics } = functions;
        let (cursors, function_chains) = state.function_chains()?;
        // Of sources that are not there now as well: they may come back.
        for (source, to) in cursors {
            let furthest = handed_to.entry(source.into()).or_default();
            *furthest = to.max(*furthest);
        }
        let mut history: HashMap<Arc<str>, Vec<(u64, Arc<str>)>> = HashMap::new();
        for (source, from, key) in function_chains {
            handed_to.entry(source.as_str().into()).or_default();
            history.entry(source.into()).or_default().push((from, key.into()));
        }
        let place = |(source, handed_to)| {
            let history = history.remove(&source).unwrap_or_default();
            let inner = AsyncMutex::new(StageInner { history, ..StageInner::default() });
            (source, Arc::new(SourcePlace { handed_to: AtomicU64::new(handed_to), inner }))
        };
        let sources = RwLock::new(handed_to.into_iter().map(place).collect());
        let (breakers, failing) = (Breakers::default(), Failing::default());
        let state = Mutex::new(state);
        Ok(Self { workers, breakers, failing, recall, rules, sources, state, remembered_bytes_max, taps, metrics })
    }

    /// The place of `source`; it is made when somebody first asks, and stays.
    fn place(&self, source: &str) -> Arc<SourcePlace> {
        if let Some(place) = self.sources.read().get(source) {
            return Arc::clone(place);
        }
        Arc::clone(self.sources.write().entry(source.into()).or_default())
    }

    /// Where events are offered to whoever listens.
    pub(super) const fn taps(&self) -> &EventTaps {
        &self.taps
    }

    /// Where what is done is counted.
    pub(super) const fn metrics(&self) -> &EngineMetrics {
        &self.metrics
    }

    /// Everything of `source` below this offset was handed out.
    pub(super) fn handed_to(&self, source: &str) -> u64 {
        self.place(source).handed_to.load(Ordering::Acquire)
    }

    /// The functions of a sync that are live now.
    pub(super) fn functions_of_sync(&self, sync: &str) -> Arc<FunctionChain> {
        self.rules.borrow().of_sync(sync)
    }

    /// What the functions of `source` make of `log_range`.
    pub(super) async fn refined(
        &self,
        handle: &RefinerHandle,
        source: &str,
        mut log_range: Arc<LogRange>,
    ) -> Result<Arc<Refined>, RefineError> {
        let place = self.place(source);
        let mut inner = place.inner.lock().await;
        let from = log_range.range.start;
        // What was made of it before records were erased is not handed out any more.
        let erasures = log_range.erasures;
        let is_it = |known: &&Arc<Refined>| known.range.start == from && known.erasures == erasures;
        if let Some(known) = inner.remembered.iter().find(is_it) {
            return Ok(Arc::clone(known));
        }
        let first = from >= place.handed_to.load(Ordering::Acquire);
        let mut rules = self.rules.clone();
        loop {
            let function_chain = if first {
                rules.borrow_and_update().of_source(source)
            } else {
                self.function_chain_at(&mut inner, from)?
            };
            if function_chain.is_empty() && (inner.history.is_empty() || !first) {
                place.handed_to.fetch_max(log_range.range.end, Ordering::AcqRel);
                if log_range.part(source).is_none_or(|part| part.share().is_some()) {
                    return Ok(Arc::new(log_range.plain(source)));
                }
                log_range = handle.afresh(from).await?;
                continue;
            }
            if first && let Some(until) = self.breakers.open_until(&function_chain) {
                self.hold(&mut rules, until).await;
                continue;
            }
            let Some(events) = log_range.part(source).map_or_else(|| Some(Vec::new()), |part| part.take()) else {
                log_range = handle.afresh(from).await?;
                continue;
            };
            let frame = log_range.frame(source);
            let batch = BatchContext {
                scope: source.into(),
                now_ms: frame.now_ms,
                seed: Position::new(handle.partition, from).bits(),
                bytes: log_range.log_bytes,
                at_us: log_range.part(source).map_or(0, |part| part.received_at_us),
                tap: self.taps.listened().filter(|_| first).map(|taps| FunctionTap { taps, sync: None }),
            };
            let mut open = frame.open_for_source(&events);
            let mut inputs = FateInputs::default();
            if first {
                events.iter().for_each(|event| inputs.add(event));
            }
            let mut chain_output = chain_in_parts(&self.workers, &function_chain, events, &batch).await?;
            if first {
                if self.tripped(&chain_output) {
                    continue;
                }
                chain_output.events.iter().for_each(|event| open.goes_on(event.id));
                chain_output.quarantined.iter().for_each(|entry| open.is_stopped(entry.id));
                let ended = open.ended();
                let took_over = inner.history.last().is_none_or(|(_, key)| **key != *function_chain.key());
                let fates = transformed(&frame, &inputs, &chain_output);
                let done = (&chain_output, &*ended, &fates);
                self.commit((source, &log_range), done, took_over.then_some(function_chain.key()))?;
                tell_not_made(source, &ended);
                if took_over {
                    inner.history.push((from, function_chain.key().into()));
                }
                place.handed_to.fetch_max(log_range.range.end, Ordering::AcqRel);
            }
            let events = std::mem::take(&mut chain_output.events).into_iter().map(Arc::new).collect();
            let refined = Arc::new(Refined { events, ..frame });
            inner.remember(&refined, self.remembered_bytes_max);
            return Ok(refined);
        }
    }

    /// What the functions of `source` that are live now make of `log_range`, which was handed out before: with the breaker, charged and
    /// logged, but not remembered. What they stop is left out.
    pub(super) async fn refined_by_rules_of_now(
        &self,
        partition: u16,
        source: &str,
        log_range: &LogRange,
    ) -> Result<Arc<Refined>, RefineError> {
        let mut rules = self.rules.clone();
        loop {
            let function_chain = rules.borrow_and_update().of_source(source);
            if function_chain.is_empty() {
                return Ok(Arc::new(log_range.plain(source)));
            }
            if let Some(until) = self.breakers.open_until(&function_chain) {
                self.hold(&mut rules, until).await;
                continue;
            }
            let frame = log_range.frame(source);
            let part = log_range.part(source);
            let shared = part.and_then(super::log_range::SourcePart::share).unwrap_or_default();
            let events = shared.iter().map(|event| tidegate_event::Event::clone(event)).collect();
            let batch = BatchContext {
                scope: source.into(),
                now_ms: frame.now_ms,
                seed: Position::new(partition, log_range.range.start).bits(),
                bytes: log_range.log_bytes,
                at_us: part.map_or(0, |part| part.received_at_us),
                tap: None,
            };
            let mut chain_output = chain_in_parts(&self.workers, &function_chain, events, &batch).await?;
            if self.tripped(&chain_output) {
                continue;
            }
            let done =
                Transformed { charges: &chain_output.charges, logs: &chain_output.logs, ..Transformed::default() };
            self.state().transformed(&done)?;
            let events = std::mem::take(&mut chain_output.events).into_iter().map(Arc::new).collect();
            return Ok(Arc::new(Refined { events, ..frame }));
        }
    }

    /// A sync's own functions over `events`: with the breaker, charged and logged, but not remembered, because what a
    /// sync delivers it delivers once.
    pub(super) async fn of_sync(
        &self,
        events: Vec<tidegate_event::Event>,
        batch: &BatchContext,
    ) -> Result<ChainOutput, RefineError> {
        let mut rules = self.rules.clone();
        loop {
            let function_chain = rules.borrow_and_update().of_sync(&batch.scope);
            if let Some(until) = self.breakers.open_until(&function_chain) {
                self.hold(&mut rules, until).await;
                continue;
            }
            let chain_output = chain_in_parts(&self.workers, &function_chain, events.clone(), batch).await?;
            if self.tripped(&chain_output) {
                continue;
            }
            let done =
                Transformed { charges: &chain_output.charges, logs: &chain_output.logs, ..Transformed::default() };
            self.state().transformed(&done)?;
            self.keep_comparisons(&chain_output)?;
            return Ok(chain_output);
        }
    }

    /// What is known of consent to any of `categories`, of those that events are about.
    pub(super) fn known_consents(
        &self,
        events: &[Arc<Event>],
        categories: &[String],
    ) -> Result<KnownConsents, RefineError> {
        let bodies = events.iter().map(|event| (event.id, &event.body));
        Ok(self.state().known_consents(bodies, categories)?)
    }

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The function chain that a log range handed out before went through.
    fn function_chain_at(&self, inner: &mut StageInner, from: u64) -> Result<Arc<FunctionChain>, RefineError> {
        let Some((_, key)) = inner.history.iter().rev().find(|(start, _)| *start <= from) else {
            return Ok(Arc::default());
        };
        let now = Arc::clone(&self.rules.borrow());
        match &inner.recalled {
            Some((rules, function_chain)) if Arc::ptr_eq(rules, &now) && *function_chain.key() == **key => {
                Ok(Arc::clone(function_chain))
            }
            _ => {
                let function_chain = (self.recall)(key).map_err(RefineError::Recall)?;
                inner.recalled = Some((now, Arc::clone(&function_chain)));
                Ok(function_chain)
            }
        }
    }

    /// Waits until other rules are in place or a stopped version may be tried again.
    async fn hold(&self, rules: &mut watch::Receiver<Arc<RuleSet>>, until: Instant) {
        tokio::select! {
            // When nobody can change the rules any more, time alone can.
            changed = rules.changed() => if changed.is_err() { tokio::time::sleep_until(until.into()).await },
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }

    /// Takes note of what the batch did to each function; true when one is stopped now.
    fn tripped(&self, chain_output: &ChainOutput) -> bool {
        let mut tripped = false;
        for (charge, function) in chain_output.charges.iter().zip(&chain_output.charged) {
            self.warn_of(charge);
            let took = Duration::from_micros(charge.cpu_us);
            self.metrics.functions.of(&[charge.function.as_str()]).observe(took);
            let bad = charge.events > 0 && charge.errors * 2 > charge.events;
            if !self.breakers.note(|| function_chain::key_of(function), bad) {
                continue;
            }
            tripped = true;
            let error = charge.error.as_deref().unwrap_or("unknown");
            tracing::error!(
                function = charge.function,
                version = charge.version,
                error,
                "a function broke on {} batches in a row and is stopped; its events wait in the log. Roll it back with \
                 `tidegate function rollback {}`, or push a version that works",
                super::breaker::BAD_BATCHES_MAX,
                charge.function
            );
            let mut state = self.state();
            let done = Transformed { charges: std::slice::from_ref(charge), ..Transformed::default() };
            let said =
                state.transformed(&done).and_then(|()| state.stopped(&charge.function, &charge.version, Some(error)));
            if let Err(error) = said {
                tracing::warn!(error = %error, "could not record that a function is stopped");
            }
        }
        tripped
    }

    /// Says, now and then, that a version fails most of its events: what goes to quarantine is noticed late.
    fn warn_of(&self, charge: &Charge) {
        let Charge { function, version, events, errors, failed, .. } = charge;
        if !charge.fails_most() || !self.failing.is_news(function, version, Instant::now()) {
            return;
        }
        tracing::warn!(
            function,
            version,
            events,
            failed = errors + failed,
            error = charge.error.as_deref().unwrap_or("the function refuses them"),
            "a function fails most of its events, which go to quarantine; `tidegate function rollback {function}` goes back, \
             `tidegate function logs {function}` shows what it says"
        );
    }

    fn commit(
        &self,
        (source, log_range): (&str, &LogRange),
        (chain_output, ended, fates): (&ChainOutput, &[EndedRetry], &TransformedRange),
        function_chain: Option<&str>,
    ) -> Result<(), RefineError> {
        let mut counts = vec![("quarantined".to_owned(), chain_output.quarantined.len() as u64)];
        counts.extend(chain_output.dropped.iter().map(|(reason, dropped)| (format!("dropped by {reason}"), *dropped)));
        counts.push((NOT_MADE.to_owned(), not_made(ended)));
        let done = Transformed {
            source,
            to: log_range.range.end,
            quarantined: &chain_output.quarantined,
            ended_retries: ended,
            counts: &counts,
            charges: &chain_output.charges,
            logs: &chain_output.logs,
            function_chain: function_chain.map(|key| (log_range.range.start, key)),
            fates: Some(fates),
        };
        self.state().transformed(&done)?;
        self.keep_comparisons(chain_output)
    }

    fn keep_comparisons(&self, chain_output: &ChainOutput) -> Result<(), RefineError> {
        for found in &chain_output.comparisons {
            let samples: serde_json::Map<String, serde_json::Value> =
                found.samples.iter().map(|(id, fields)| (id.clone(), fields.clone().into())).collect();
            let compared = Compared {
                live: found.live.clone(),
                candidate: found.candidate.clone(),
                same: found.same,
                different: found.different,
                samples_json: serde_json::Value::Object(samples).to_string(),
            };
            self.state().compared(&found.function, &compared)?;
        }
        Ok(())
    }
}

impl StageInner {
    fn remember(&mut self, refined: &Arc<Refined>, bytes_max: usize) {
        self.remembered.push_back(Arc::clone(refined));
        while self.remembered.len() > 1
            && self.remembered.iter().map(|known| known.log_bytes).sum::<usize>() > bytes_max
        {
            self.remembered.pop_front();
        }
    }
}

/// What the functions made of `inputs`, which were counted as going on. Of an event that is retried, parts that were there before count for
/// nothing; one that only one sync has not had counts for that one where it goes no further.
fn transformed(frame: &Refined, inputs: &FateInputs, output: &ChainOutput) -> TransformedRange {
    let (mut tally, mut of_syncs) = (FateTally::default(), HashMap::<String, FateTally>::new());
    let mut stopped = |only_for: &str, key: (i64, &str), is_dropped: bool| {
        of_syncs.entry(only_for.to_owned()).or_default().add(key, |counts| {
            counts.came += 1;
            *(if is_dropped { &mut counts.dropped } else { &mut counts.quarantined }) += 1;
        });
    };
    for input in inputs.iter().filter(|input| frame.only_for(input.offset).is_none()) {
        tally.add(input.key(), |counts| {
            counts.made -= 1;
            counts.went_on -= 1;
        });
    }
    for event in output.events.iter().filter(|event| frame.takes(event.id)) {
        if frame.only_for(event.id.position.offset).is_none() {
            made(&mut tally, key_of(event), |counts| &mut counts.went_on);
        }
    }
    for entry in output.quarantined.iter().filter(|entry| frame.concerns(entry.id)) {
        let (hour, name) = key_of_entry(entry);
        match frame.only_for(entry.id.position.offset) {
            Some(sync) => stopped(sync, (hour, &name), false),
            None => made(&mut tally, (hour, &name), |counts| &mut counts.quarantined),
        }
    }
    let events = output.events.iter().map(|event| event.id).filter(|id| frame.counts_among(*id, &output.events));
    let quarantined = output.quarantined.iter().map(|entry| entry.id).filter(|id| frame.concerns(*id));
    let came_of: Vec<u64> = events.chain(quarantined).map(|id| id.position.offset).collect();
    for input in inputs.gone(came_of.iter().copied()) {
        match frame.only_for(input.offset) {
            Some(sync) => stopped(sync, input.key(), true),
            None => made(&mut tally, input.key(), |counts| &mut counts.dropped),
        }
    }
    // Each of these will count as one that came to the sync, and one alone has left its quarantine.
    for input in inputs.iter() {
        let Some(sync) = frame.only_for(input.offset) else { continue };
        let counted = came_of.iter().filter(|offset| **offset == input.offset).count();
        let more = i64::try_from(counted.saturating_sub(1)).unwrap_or(0);
        if more > 0 {
            of_syncs.entry(sync.to_owned()).or_default().add(input.key(), |counts| {
                counts.came -= more;
                counts.made += more;
            });
        }
    }
    TransformedRange {
        start: frame.range.start,
        came: inputs.iter().count() as u64,
        at_us: i64::try_from(frame.now_ms).unwrap_or(0).saturating_mul(1000),
        went_on: output.events.len() as u64,
        tally,
        of_syncs: of_syncs.into_iter().collect(),
    }
}

#[cfg(test)]
mod tests {
    use tidegate_event::{Event, EventId, EventKind, RetriedParts};

    use super::*;
    use crate::refine::log_range::RetriedRecord;

    fn event(part: u32) -> Event {
        let body = r#"{"type":"track","event":"E"}"#.parse().unwrap();
        let id = EventId::new(Position::new(0, 7), part);
        Event { source: "web".into(), id, kind: EventKind::Track, received_at_us: 0, body }
    }

    #[test]
    fn of_a_retry_for_one_sync_one_has_come_to_it_whatever_functions_make_of_it_now() {
        for (part, made) in
            [(0, vec![0]), (2, vec![0, 1, 2]), (2, vec![0]), (2, vec![2_048, 2_049]), (2, vec![1]), (2, vec![])]
        {
            let parts = RetriedParts::of("destination", part);
            let retried = vec![RetriedRecord { offset: 7, for_sync: Some("crm".into()), parts }];
            let frame = Refined { range: 7..8, retried, ..Refined::default() };
            let mut inputs = FateInputs::default();
            inputs.add(&event(0));
            let mut output = ChainOutput::default();
            output.events = made.iter().map(|part| event(*part)).collect();
            let done = transformed(&frame, &inputs, &output);
            let of_crm: i64 = done.of_syncs.iter().map(|(_, tally)| tally.total().came).sum();
            let handed_out: Vec<_> = output.events.into_iter().map(Arc::new).collect();
            let refined = Refined { events: handed_out, ..frame };
            let counted = refined.events.iter().filter(|event| refined.counts(event.id)).count();
            assert_eq!(of_crm + i64::try_from(counted).unwrap(), 1, "{part} of {made:?}");
            assert!(done.of_syncs.iter().all(|(_, tally)| tally.total().expected() == tally.total().found()));
            assert_eq!((done.tally.total(), done.came), (tidegate_state::FateCounts::default(), 1));
        }
    }
}

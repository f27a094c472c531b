//! The functions of each source, over its part of each log range.
//!
//! Each source has a place of its own, so a slow or stopped function holds its own source and nobody else's. Which
//! function chain a log range goes through is decided when it is first run, and remembered by offset: whoever asks for the
//! log range again, after a restart too, gets what that function chain makes of it. So every event is transformed by exactly one
//! version of each function.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use parking_lot::{Mutex, RwLock};
use tidegate_event::Position;
use tidegate_state::{Charge, Compared, State, Transformed};
use tidegate_wasm::function::Workers;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::breaker::{Breakers, Failing};
use super::function_chain::key_of;
use super::functions::{BatchContext, ChainOutput, chain_in_parts};
use super::log_range::{LogRange, Refined};
use super::{FunctionChain, RefineError, RefinerHandle, RuleSet};

/// Makes a function chain of old again from its key, or says in a sentence why it cannot.
pub type Recall = dyn Fn(&str) -> Result<Arc<FunctionChain>, String> + Send + Sync;

/// What function chains run on, and where those of old come from.
pub struct SourceFunctions {
    pub workers: Workers,
    pub recall: Arc<Recall>,
    /// How far each source was handed out in earlier lives, for those that had no functions: the furthest cursor of
    /// its syncs.
    pub handed_to: HashMap<Arc<str>, u64>,
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
    /// Function chains of the history, made again.
    recalled: Option<Arc<FunctionChain>>,
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
        let SourceFunctions { workers, recall, mut handed_to } = functions;
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
        Ok(Self { workers, breakers, failing, recall, rules, sources, state: Mutex::new(state), remembered_bytes_max })
    }

    /// The place of `source`; it is made when somebody first asks, and stays.
    fn place(&self, source: &str) -> Arc<SourcePlace> {
        if let Some(place) = self.sources.read().get(source) {
            return Arc::clone(place);
        }
        Arc::clone(self.sources.write().entry(source.into()).or_default())
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
        if let Some(known) = inner.remembered.iter().find(|known| known.range.start == from) {
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
                    return plain(&log_range, source);
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
            };
            let mut chain_output = chain_in_parts(&self.workers, &function_chain, events, &batch).await?;
            if first {
                if self.tripped(&chain_output) {
                    continue;
                }
                let took_over = inner.history.last().is_none_or(|(_, key)| **key != *function_chain.key());
                self.commit(source, &log_range, &chain_output, took_over.then_some(function_chain.key()))?;
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

    fn state(&self) -> parking_lot::MutexGuard<'_, State> {
        self.state.lock()
    }

    /// The function chain that a log range handed out before went through.
    fn function_chain_at(&self, inner: &mut StageInner, from: u64) -> Result<Arc<FunctionChain>, RefineError> {
        let Some((_, key)) = inner.history.iter().rev().find(|(start, _)| *start <= from) else {
            return Ok(Arc::default());
        };
        match &inner.recalled {
            Some(function_chain) if *function_chain.key() == **key => Ok(Arc::clone(function_chain)),
            _ => {
                let function_chain = (self.recall)(key).map_err(RefineError::Recall)?;
                inner.recalled = Some(Arc::clone(&function_chain));
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
            let bad = charge.events > 0 && charge.errors * 2 > charge.events;
            if !self.breakers.note(|| key_of(function), bad) {
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
        source: &str,
        log_range: &LogRange,
        chain_output: &ChainOutput,
        function_chain: Option<&str>,
    ) -> Result<(), RefineError> {
        let mut counts = vec![("quarantined".to_owned(), chain_output.quarantined.len() as u64)];
        counts.extend(chain_output.dropped.iter().map(|(reason, dropped)| (format!("dropped by {reason}"), *dropped)));
        let done = Transformed {
            source,
            to: log_range.range.end,
            quarantined: &chain_output.quarantined,
            counts: &counts,
            charges: &chain_output.charges,
            logs: &chain_output.logs,
            function_chain: function_chain.map(|key| (log_range.range.start, key)),
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

/// A log range that goes through no function.
fn plain(log_range: &LogRange, source: &str) -> Result<Arc<Refined>, RefineError> {
    let events = log_range.part(source).and_then(super::log_range::SourcePart::share).unwrap_or_default();
    Ok(Arc::new(Refined { events, ..log_range.frame(source) }))
}

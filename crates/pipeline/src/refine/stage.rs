//! The functions of each source, over its part of each log range.
//!
//! Each source has a place of its own, so a slow or stopped function holds its own source and nobody else's. Which
//! function chain a log range goes through is decided when it is first run, and remembered by offset: whoever asks for the
//! log range again, after a restart too, gets what that function chain makes of it. So every event is transformed by exactly one
//! version of each function.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tidegate_event::Position;
use tidegate_state::{Charge, Compared, State, Transformed};
use tidegate_wasm::function::Workers;
use tokio::sync::{Mutex as AsyncMutex, watch};

use super::breaker::{Breakers, Failing};
use super::functions::{BatchContext, ChainOutput, chain_in_parts};
use super::log_range::{LogRange, Refined};
use super::{FunctionChain, RefineError, RefinerHandle};

/// Makes a function chain of old again from its key, or says in a sentence why it cannot.
pub type Recall = dyn Fn(&str) -> Result<Arc<FunctionChain>, String> + Send + Sync;

/// Where function chains come from.
pub struct SourceFunctions {
    pub workers: Workers,
    /// The live function chain of each source; it may change at any time.
    pub live: HashMap<Arc<str>, watch::Receiver<Arc<FunctionChain>>>,
    pub recall: Arc<Recall>,
    /// How far each source was handed out in earlier lives, for those that had no functions: the furthest cursor of
    /// its syncs.
    pub handed_to: HashMap<Arc<str>, u64>,
}

/// The places of all sources.
pub(super) struct Stages {
    workers: Workers,
    breakers: Breakers,
    failing: Failing,
    recall: Arc<Recall>,
    sources: HashMap<Arc<str>, SourcePlace>,
    state: Mutex<State>,
    remembered_bytes_max: usize,
}

struct SourcePlace {
    live: watch::Receiver<Arc<FunctionChain>>,
    inner: AsyncMutex<StageInner>,
}

/// What is known of one source.
#[derive(Default)]
struct StageInner {
    /// Everything below was handed out.
    handed_to: u64,
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
        state: State,
        remembered_bytes_max: usize,
    ) -> Result<Self, RefineError> {
        let SourceFunctions { workers, live, recall, handed_to } = functions;
        let (cursors, function_chains) = state.function_chains()?;
        let mut sources = HashMap::new();
        for (source, live) in live {
            let mut inner =
                StageInner { handed_to: handed_to.get(&source).copied().unwrap_or(0), ..StageInner::default() };
            for (_, to) in cursors.iter().filter(|(name, _)| **name == *source) {
                inner.handed_to = inner.handed_to.max(*to);
            }
            let own = function_chains.iter().filter(|(name, ..)| **name == *source);
            inner.history = own.map(|(_, from, key)| (*from, key.as_str().into())).collect();
            sources.insert(source, SourcePlace { live, inner: AsyncMutex::new(inner) });
        }
        let (breakers, failing) = (Breakers::default(), Failing::default());
        Ok(Self { workers, breakers, failing, recall, sources, state: Mutex::new(state), remembered_bytes_max })
    }

    /// What the functions of `source` make of `log_range`.
    pub(super) async fn refined(
        &self,
        handle: &RefinerHandle,
        source: &str,
        mut log_range: Arc<LogRange>,
    ) -> Result<Arc<Refined>, RefineError> {
        let Some(place) = self.sources.get(source) else { return plain(&log_range, source) };
        let mut inner = place.inner.lock().await;
        let from = log_range.range.start;
        if let Some(known) = inner.remembered.iter().find(|known| known.range.start == from) {
            return Ok(Arc::clone(known));
        }
        let first = from >= inner.handed_to;
        let mut live = place.live.clone();
        loop {
            let function_chain =
                if first { live.borrow_and_update().clone() } else { self.function_chain_at(&mut inner, from)? };
            if function_chain.is_empty() && (inner.history.is_empty() || !first) {
                inner.handed_to = inner.handed_to.max(log_range.range.end);
                if log_range.part(source).is_none_or(|part| part.share().is_some()) {
                    return plain(&log_range, source);
                }
                log_range = handle.afresh(from).await?;
                continue;
            }
            if first && let Some(until) = self.breakers.open_until(&function_chain) {
                self.hold(&mut live, until).await;
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
                if self.tripped(&chain_output.charges) {
                    continue;
                }
                let took_over = inner.history.last().is_none_or(|(_, key)| **key != *function_chain.key());
                self.commit(source, &log_range, &chain_output, took_over.then_some(function_chain.key()))?;
                if took_over {
                    inner.history.push((from, function_chain.key().into()));
                }
                inner.handed_to = inner.handed_to.max(log_range.range.end);
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
        live: &mut watch::Receiver<Arc<FunctionChain>>,
        events: Vec<tidegate_event::Event>,
        batch: &BatchContext,
    ) -> Result<ChainOutput, RefineError> {
        loop {
            let function_chain = live.borrow_and_update().clone();
            if let Some(until) = self.breakers.open_until(&function_chain) {
                self.hold(live, until).await;
                continue;
            }
            let chain_output = chain_in_parts(&self.workers, &function_chain, events.clone(), batch).await?;
            if self.tripped(&chain_output.charges) {
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

    /// Waits until another function chain is live or a stopped version may be tried again.
    async fn hold(&self, live: &mut watch::Receiver<Arc<FunctionChain>>, until: Instant) {
        tokio::select! {
            // When nobody can change the function chain any more, time alone can.
            changed = live.changed() => if changed.is_err() { tokio::time::sleep_until(until.into()).await },
            () = tokio::time::sleep_until(until.into()) => {}
        }
    }

    /// Takes note of what the batch did to each function; true when one is stopped now.
    fn tripped(&self, charges: &[Charge]) -> bool {
        let mut tripped = false;
        for charge in charges {
            self.warn_of(charge);
            let bad = charge.events > 0 && charge.errors * 2 > charge.events;
            if !self.breakers.note(&charge.function, &charge.version, bad) {
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

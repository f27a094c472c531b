//! Deduplication, contract and source functions over a log range: once, for all syncs.
//!
//! Nouns: a **log range** (a range of the log and what became of it), the **rule set** (the contract and the functions of each source,
//! with a number), the **refiner** (a thread with the refine cursor; syncs ask it for the log range at their own cursor), a **function chain** (the
//! versions of functions that are live for a source), a **stage** (a source's function chain at work on its part of a log range).
//!
//! Guarantees:
//! * Each record is parsed once. A log range is computed once and shared; a sync that lags behind what is remembered
//!   has it computed again from the log, with the same bounds, the same verdicts on duplicates and the contracts that judged it
//!   then, whatever they are now. Who is ahead waits for those
//!   right behind, within bounds (`range_cache`).
//! * Duplicates, quarantine and the refine cursor move in one transaction; the dedup index follows, and what it has lost of the
//!   log is marked again before it is asked. What does not go on to the syncs is in
//!   quarantine with a reason, is a duplicate, or was dropped by a function on purpose and counted.
//! * Each event goes through exactly one function chain, whoever asks for it and however often: releases take effect between
//!   log ranges and are remembered by offset. A slow or stopped function holds its own source alone.
//! * Memory is bounded: a log range by records and bytes, the remembered log ranges by bytes.

mod breaker;
mod functions;
mod judge;
mod open_retries;
mod judge_tally;
mod judged;
mod left_out;
mod function_chain;
mod shadow;
/// What whoever listens is shown of a log range.
mod tapped_range;
mod stage;
mod log_range;
mod range_cache;
mod retrace;
mod rule_set;
mod serve;

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use tokio::sync::{mpsc, oneshot, watch};

pub use function_chain::{Candidate, ChainSlot, FunctionChain, RecalledFunction};
pub use functions::{BatchContext, ChainOutput, FunctionTap, chain};
pub use judged::{Judged, judged};
use log_range::LogRange;
pub use log_range::Refined;
pub use open_retries::{OpenRetries, not_made, tell_not_made};
use range_cache::{AskerId, Askers, RangeCache};
pub use retrace::{ChainAt, FunctionStep, RecordTrace, chain_at, chain_steps, trace_record};
use rule_set::EarlierRules;
pub use rule_set::{RuleSet, SourceRules, contract_text};
use stage::Stages;
pub use stage::{Recall, SourceFunctions};

use tidegate_dedup::{DedupError, DedupIndex};
use tidegate_event::Event;
use tidegate_log::{self as intake, Log, LogReader};
use tidegate_metrics::{EngineMetrics, Histogram, SpanKind};
use tidegate_process::{clock, task};
use tidegate_state::{self as state, KnownConsents, State, SuppressList};
use tidegate_wasm::function::UnfinishedRun;

use crate::tap::EventTaps;

/// Bounds on the refiner's memory, and its threads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefineSettings {
    pub log_range_records_max: usize,
    pub log_range_bytes_max: usize,
    /// Log bytes whose log ranges are remembered for other syncs.
    pub remembered_bytes_max: usize,
    /// Threads that decode the records of a log range, this one included.
    pub threads: usize,
}

impl Default for RefineSettings {
    fn default() -> Self {
        Self { log_range_records_max: 1024, log_range_bytes_max: 2 << 20, remembered_bytes_max: 2 << 20, threads: 1 }
    }
}

/// A log range could not be refined; asking again may help.
#[derive(Debug, Clone, thiserror::Error)]
pub enum RefineError {
    #[error(transparent)]
    Log(#[from] Arc<intake::LogError>),
    #[error(transparent)]
    State(#[from] Arc<state::StateError>),
    #[error(transparent)]
    Dedup(#[from] Arc<DedupError>),
    #[error("the refiner has stopped")]
    Stopped,
    #[error(transparent)]
    Functions(#[from] UnfinishedRun),
    #[error("the functions that these events went through before cannot be had again: {0}")]
    Recall(String),
    #[error("the contracts that these events were judged by cannot be made again by this build: {0}")]
    Contracts(String),
}

impl From<intake::LogError> for RefineError {
    fn from(error: intake::LogError) -> Self {
        Self::Log(Arc::new(error))
    }
}

impl From<DedupError> for RefineError {
    fn from(error: DedupError) -> Self {
        Self::Dedup(Arc::new(error))
    }
}

impl From<state::StateError> for RefineError {
    fn from(error: state::StateError) -> Self {
        Self::State(Arc::new(error))
    }
}

/// Asks the refiner in the name of one sync; clones share it. When the last of them is gone nobody is held for it any more.
#[derive(Clone)]
pub struct RefinerHandle {
    partition: u16,
    asker: Arc<AskerGuard>,
    asks: mpsc::Sender<RefineRequest>,
    stages: Arc<Stages>,
    askers: Arc<AtomicU64>,
}

/// Somebody who asks.
struct AskerGuard {
    id: AskerId,
    asks: mpsc::Sender<RefineRequest>,
}

impl Drop for AskerGuard {
    fn drop(&mut self) {
        // A refiner that has too much to do to hear it holds others for this one, once and for a second, and keeps its place.
        let _ = self.asks.try_send(RefineRequest::Gone(self.id));
    }
}

enum RefineRequest {
    Range(RangeRequest),
    /// This one asks for nothing more.
    Gone(AskerId),
}

/// How a log range is had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum RangeManner {
    /// As it is remembered, or as the rules of then make it.
    Remembered,
    /// Computed once more by the rules of then, whatever is remembered.
    Afresh,
    /// Computed once more by the rules of now; the verdicts on duplicates are those of then.
    ByRulesOfNow,
}

struct RangeRequest {
    from: u64,
    asker: AskerId,
    manner: RangeManner,
    reply: oneshot::Sender<Result<Arc<LogRange>, RefineError>>,
}

impl RefinerHandle {
    /// The partition of the log that it refines.
    #[must_use]
    pub const fn partition(&self) -> u16 {
        self.partition
    }

    /// A handle for another sync.
    #[must_use]
    pub fn for_sync(&self) -> Self {
        let id = AskerId(self.askers.fetch_add(1, Ordering::Relaxed) + 1);
        Self { asker: Arc::new(AskerGuard { id, asks: self.asks.clone() }), ..self.clone() }
    }

    /// Where events are offered to whoever listens.
    #[must_use]
    pub fn taps(&self) -> &EventTaps {
        self.stages.taps()
    }

    /// Where what is done is counted.
    #[must_use]
    pub fn metrics(&self) -> &EngineMetrics {
        self.stages.metrics()
    }

    /// Everything of `source` below this offset was handed out to some sync: its functions have been over it.
    #[must_use]
    pub fn handed_to(&self, source: &str) -> u64 {
        self.stages.handed_to(source)
    }

    /// The functions of a sync that are live now.
    #[must_use]
    pub fn functions_of_sync(&self, sync: &str) -> Arc<FunctionChain> {
        self.stages.functions_of_sync(sync)
    }

    /// What goes on of `source` in the log range that holds `from`; waits until the log has one. It may begin before
    /// `from`.
    ///
    /// # Errors
    /// The log or the state cannot be read, a function of old cannot be had again, or the refiner has stopped.
    pub async fn refined(&self, source: &str, from: u64) -> Result<Arc<Refined>, RefineError> {
        let log_range = self.ask(from, RangeManner::Remembered).await?;
        self.stages.refined(self, source, log_range).await
    }

    /// The same by the contract and the functions of now. Nothing is remembered or counted of it, but for what functions used; what they or
    /// the contract stop is left out. For what was handed out before alone.
    ///
    /// # Errors
    /// As of [`RefinerHandle::refined`].
    pub async fn refined_by_rules_of_now(&self, source: &str, from: u64) -> Result<Arc<Refined>, RefineError> {
        let log_range = self.ask(from, RangeManner::ByRulesOfNow).await?;
        self.stages.refined_by_rules_of_now(self.partition, source, &log_range).await
    }

    /// Runs the functions of the sync that `batch` is of, those that are live now, over `events`.
    ///
    /// # Errors
    /// The state cannot be written, or the pool of the functions has stopped.
    pub async fn run(&self, events: Vec<Event>, batch: &BatchContext) -> Result<ChainOutput, RefineError> {
        self.stages.of_sync(events, batch).await
    }

    /// What is known by now of consent to any of `categories`, of those that events are about; nothing where no category is asked for.
    pub(crate) fn known_consents(
        &self,
        events: &[Arc<Event>],
        categories: &[String],
    ) -> Result<KnownConsents, RefineError> {
        if categories.is_empty() {
            return Ok(KnownConsents::default());
        }
        self.stages.known_consents(events, categories)
    }

    /// The log range that holds `from`, with all its events even when they were taken before.
    async fn afresh(&self, from: u64) -> Result<Arc<LogRange>, RefineError> {
        self.ask(from, RangeManner::Afresh).await
    }

    async fn ask(&self, from: u64, manner: RangeManner) -> Result<Arc<LogRange>, RefineError> {
        let (reply, answer) = oneshot::channel();
        let request = RangeRequest { from, asker: self.asker.id, manner, reply };
        self.asks.send(RefineRequest::Range(request)).await.map_err(|_| RefineError::Stopped)?;
        answer.await.map_err(|_| RefineError::Stopped)?
    }
}

/// The refiner cannot start.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    #[error(transparent)]
    Refine(#[from] RefineError),
    #[error("could not start the thread of the refiner: {0}")]
    Thread(#[from] std::io::Error),
}

/// The refiner of one partition: opened, then run on a thread of its own.
pub struct Refiner {
    partition: u16,
    log: Arc<dyn Log>,
    state: State,
    dedup: DedupIndex,
    rules: watch::Receiver<Arc<RuleSet>>,
    earlier_rules: EarlierRules,
    /// Who is left out, as of the last log range.
    suppressed: SuppressList,
    settings: RefineSettings,
    refined_to: u64,
    /// Reads at the refine cursor.
    head: Option<Box<dyn LogReader>>,
    /// Readers of lagging syncs, each at the offset that one of them will ask for next. They are closed when nobody will: a reader
    /// keeps its segment's file open, and with it the disk space of a segment that is trimmed.
    laggards: VecDeque<Box<dyn LogReader>>,
    /// What was refined last, and what was computed again for several syncs that lag together.
    latest: RangeCache,
    earlier: RangeCache,
    askers: Askers,
    /// Everything below was handed out.
    handed_to: u64,
    /// Where refining ahead failed.
    failed_at: Option<u64>,
    taps: EventTaps,
    metrics: EngineMetrics,
    /// How long log ranges take.
    times: Arc<Histogram>,
}

/// Ranges that a sync may be behind another and still be near enough to share some with it.
const NEAR_RANGES: u64 = 8;
/// Lagging syncs whose place in the log is kept open.
const LAGGARDS_MAX: usize = 16;

impl Refiner {
    /// Reads the refine cursor; spawns nothing. `state` and `dedup` are of the partition that `log` is; `rules` may change at any
    /// time, and a log range is judged by those that are in place when it has been read.
    ///
    /// # Errors
    /// The state cannot be read.
    pub fn open(
        log: Arc<dyn Log>,
        state: State,
        dedup: DedupIndex,
        rules: watch::Receiver<Arc<RuleSet>>,
        settings: RefineSettings,
    ) -> Result<Self, RefineError> {
        let partition = state.partition();
        let refined_to = state.refined_to()?;
        let askers = Askers::new(NEAR_RANGES * settings.log_range_records_max as u64);
        let [latest, earlier] = [settings.remembered_bytes_max; 2].map(RangeCache::new);
        Ok(Self {
            partition,
            log,
            state,
            dedup,
            rules,
            earlier_rules: EarlierRules::default(),
            suppressed: SuppressList::default(),
            settings,
            refined_to,
            head: None,
            laggards: VecDeque::new(),
            latest,
            earlier,
            askers,
            handed_to: 0,
            failed_at: None,
            taps: EventTaps::default(),
            metrics: EngineMetrics::default(),
            times: Arc::default(),
        })
    }

    /// Starts the thread; it ends when all handles are gone. `functions` work on what it judged, on the threads of
    /// whoever asks.
    ///
    /// # Errors
    /// The state cannot be read, or the operating system refused a thread.
    pub fn run(
        mut self,
        functions: SourceFunctions,
        state: State,
    ) -> Result<(RefinerHandle, JoinHandle<()>), RunError> {
        self.taps = functions.taps.clone();
        self.metrics = functions.metrics.clone();
        self.times = self.metrics.refine.of(&[self.partition.to_string().as_str()]);
        let stages = Stages::open(functions, self.rules.clone(), state, self.settings.remembered_bytes_max)?;
        let partition = self.partition;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let (asks, asked) = mpsc::channel(64);
        let work = move || {
            task::give_way();
            runtime.block_on(self.serve(asked));
        };
        let thread = std::thread::Builder::new().name("refine".into()).spawn(work)?;
        let asker = Arc::new(AskerGuard { id: AskerId(0), asks: asks.clone() });
        Ok((RefinerHandle { partition, asker, asks, stages: Arc::new(stages), askers: Arc::default() }, thread))
    }

    /// Refines the log range at the refine cursor and moves the cursor over it.
    fn forward(&mut self) -> Result<LogRange, RefineError> {
        let refined = self.refine_next();
        if let Err(RefineError::Dedup(error)) = &refined
            && let DedupError::Damaged { path, .. } = &**error
        {
            // Whoever asks again finds an index that is whole.
            tracing::error!(error = %error, "the dedup index is damaged; it is made anew from the log");
            self.dedup.forget_from(path, self.refined_to)?;
        }
        refined
    }

    fn refine_next(&mut self) -> Result<LogRange, RefineError> {
        self.prepare_dedup()?;
        let (began, began_us) = (Instant::now(), clock::now_us());
        let mut reader = match self.head.take() {
            Some(reader) if reader.next() == self.refined_to => reader,
            _ => self.reader(self.refined_to)?,
        };
        let erasures = self.log.erasures();
        let chunk = reader.read(self.settings.log_range_bytes_max, self.settings.log_range_records_max)?;
        let range = self.refined_to..chunk.next;
        // After the read: what is accepted once new rules are in place is never judged by the old ones.
        let rules = self.rules.borrow().clone();
        let work = judge::RangeWork::new(&rules, (self.partition, range), &chunk, self.settings.threads);
        let beside = (&mut self.suppressed, &self.taps);
        let mut log_range = work.refine_first(&mut self.state, &mut self.dedup, beside)?;
        log_range.erasures = erasures;
        self.refined_to = log_range.range.end;
        self.head = Some(reader);
        self.times.observe(began.elapsed());
        self.tell_spans(&log_range, began_us);
        Ok(log_range)
    }

    /// The spans of the requests that are followed, whose events are in the log range.
    fn tell_spans(&self, log_range: &LogRange, began_us: i64) {
        let spans = &self.metrics.spans;
        if !spans.is_following() {
            return;
        }
        let times = (began_us, clock::now_us());
        for part in &log_range.parts {
            part.look(|events| {
                for group in spans.groups(events.map(|event| (event.received_at_us, &*event.source, event))) {
                    let span = group.trace.below("refine", SpanKind::Internal, times);
                    let span = span.number("tidegate.partition", self.partition.into());
                    let span = span.number("messaging.batch.message_count", group.count);
                    spans.finish(span.text("messaging.message.id", group.first.message_id()));
                }
            });
        }
    }

    /// Brings the dedup index to the refine cursor: marks from the log what it has lost, and lets what is full become a run.
    fn prepare_dedup(&mut self) -> Result<(), RefineError> {
        self.freeze_when_full()?;
        let known_to = self.dedup.known_to();
        if known_to >= self.refined_to {
            return Ok(());
        }
        let (from, to) = (known_to.max(self.log.oldest()), self.refined_to);
        let records = self.log.records(from, to);
        tracing::info!(partition = self.partition, from, to, records, "reading ids from the log for the dedup index");
        let mut reader = self.reader(from)?;
        let rules = self.rules.borrow().clone();
        while self.dedup.known_to() < to {
            let start = self.dedup.known_to();
            let mut chunk = reader.read(self.settings.log_range_bytes_max, self.settings.log_range_records_max)?;
            // What the state has seen of the log may be lost, and other records come behind it.
            let is_end = chunk.records.is_empty() && chunk.damage.is_empty();
            let end = if is_end { to } else { chunk.next.min(to) };
            cut(&mut chunk, to);
            judge::RangeWork::new(&rules, (self.partition, start..end), &chunk, self.settings.threads)
                .mark_again(&mut self.dedup)?;
            self.freeze_when_full()?;
        }
        Ok(())
    }

    fn freeze_when_full(&mut self) -> Result<(), RefineError> {
        if self.dedup.is_full() {
            self.state.make_durable()?;
            self.dedup.freeze()?;
        }
        Ok(())
    }

    /// Computes the log range that holds `from` once more.
    fn again(&mut self, from: u64, manner: RangeManner) -> Result<Arc<LogRange>, RefineError> {
        let settings = &self.settings;
        let known = self.state.log_range_at(from)?;
        // Its bounds are only unknown when the records before it are trimmed away.
        let (range, revision) =
            known.unwrap_or((from..self.refined_to.min(from + settings.log_range_records_max as u64), 0));
        let now = self.rules.borrow().clone();
        let rules = match manner {
            RangeManner::ByRulesOfNow => now,
            RangeManner::Remembered | RangeManner::Afresh => self.earlier_rules.of(revision, &now, &self.state)?,
        };
        let mut reader = match self.laggards.iter().position(|reader| reader.next() == range.start) {
            Some(at) => self.laggards.remove(at).map_or_else(|| self.reader(range.start), Ok)?,
            None => self.reader(range.start)?,
        };
        let mut chunk = intake::ReadChunk { next: range.start, ..intake::ReadChunk::default() };
        let erasures = self.log.erasures();
        while chunk.next < range.end {
            let left = usize::try_from(range.end - chunk.next).unwrap_or(usize::MAX);
            let more = reader.read(settings.log_range_bytes_max, left)?;
            if more.next == chunk.next {
                break;
            }
            chunk.records.extend(more.records);
            chunk.damage.extend(more.damage);
            chunk.next = more.next;
        }
        cut(&mut chunk, range.end);
        self.laggards.push_back(reader);
        if self.laggards.len() > LAGGARDS_MAX {
            self.laggards.pop_front();
        }
        let work = judge::RangeWork::new(&rules, (self.partition, range), &chunk, self.settings.threads);
        let mut log_range = work.refine_again(&self.state)?;
        log_range.erasures = erasures;
        Ok(Arc::new(log_range))
    }

    /// Closes the readers at places that nobody will ask for any more: who was there has caught up, or is gone.
    fn close_left_places(&mut self) {
        let askers = &self.askers;
        self.laggards.retain(|reader| askers.will_ask_for(reader.next()));
    }

    /// A reader at `offset`, or at the oldest record that is left.
    fn reader(&self, offset: u64) -> Result<Box<dyn LogReader>, RefineError> {
        match self.log.reader(offset) {
            Err(intake::LogError::Trimmed { wanted, oldest }) => {
                tracing::error!(
                    partition = self.partition,
                    wanted,
                    oldest,
                    "records were trimmed away before they were delivered; reading on from the oldest"
                );
                Ok(self.log.reader(oldest)?)
            }
            other => Ok(other?),
        }
    }
}

/// Leaves what begins below `end`.
fn cut(chunk: &mut intake::ReadChunk, end: u64) {
    chunk.records.retain(|record| record.offset < end);
    chunk.damage.retain(|damage| damage.missing.start < end);
}

#[cfg(test)]
pub(crate) mod tests;

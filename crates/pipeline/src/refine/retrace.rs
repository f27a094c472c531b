//! What became of one record before any sync had it, found out once more: nothing is written, and nobody else is asked.

use std::ops::Range;
use std::sync::Arc;

use tidegate_contract::Contract;
use tidegate_event::decode::{self, DecodeRefusal};
use tidegate_event::record::LoggedRecord;
use tidegate_event::{Event, EventId, Position, ViolationRecord};
use tidegate_log::{Log, LogError};
use tidegate_state::{Quarantined, State, StateError};

use super::RefineError;
use super::function_chain::FunctionChain;
use super::functions::{self, BatchContext, ChainOutput};
use super::judged::{Judged, judged};
use super::left_out::{ErasedEntry, RecordVerdict};
use super::rule_set::{EarlierRules, RuleSet};

/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;

/// What became of a record in its log range.
#[derive(Debug, Default)]
pub struct RecordTrace {
    /// The log range that it was refined in.
    pub range: Range<u64>,
    /// Under which it was judged; 0 where that is not known.
    pub revision: u64,
    pub is_duplicate: bool,
    /// It is about somebody who was left out when it was refined.
    pub is_suppressed: bool,
    /// Its event was erased since.
    pub is_erased: bool,
    /// That was because its source keeps events no longer.
    pub is_expired: bool,
    /// The event before the contract, or why it is none.
    pub decoded: Option<Result<Event, DecodeRefusal>>,
    pub has_contract: bool,
    pub violation: Option<ViolationRecord>,
    /// By the contract.
    pub quarantined: Option<Quarantined>,
    /// As the contract lets it pass.
    pub event: Option<Event>,
    /// What its functions ran with.
    pub batch: BatchContext,
}

/// Finds out what became of the record at `offset` of the partition that `state` is of; `None` when it is not refined yet. `now` are the rules that
/// judge what is new.
///
/// # Errors
/// The log or the state cannot be read, or the contracts of then cannot be made again.
pub fn trace_record(
    log: &dyn Log,
    state: &State,
    now: &Arc<RuleSet>,
    offset: u64,
) -> Result<Option<RecordTrace>, RefineError> {
    let refined_to = state.refined_to()?;
    if offset >= refined_to {
        return Ok(None);
    }
    let (range, revision) = state.log_range_at(offset)?.unwrap_or((offset..offset.saturating_add(1), 0));
    let rules = EarlierRules::default().of(revision, now, state)?;
    let (duplicates, suppressed) = (state.duplicates_in(&range)?, state.suppressed_in(&range)?);
    let again = |offset: u64| RecordVerdict::again(offset, (duplicates.as_slice(), suppressed.as_slice()));
    let verdict = again(offset);
    let mut trace = RecordTrace {
        is_duplicate: verdict == RecordVerdict::Duplicate,
        is_suppressed: verdict == RecordVerdict::Suppressed,
        range: range.clone(),
        revision,
        ..RecordTrace::default()
    };
    // All events of its source in the log range: from where functions begin anew decides what a canary takes.
    let (mut before, mut bytes): (Vec<Event>, usize) = (Vec::new(), 0);
    let mut source: Option<Arc<str>> = None;
    let (mut others, mut erased) = (Vec::new(), Vec::new());
    let mut reader = match log.reader(range.start) {
        Err(LogError::Trimmed { oldest, .. }) => log.reader(oldest)?,
        reader => reader?,
    };
    let mut next = reader.next();
    while next < range.end {
        let chunk = reader.read(READ_BYTES, usize::try_from(range.end - next).unwrap_or(usize::MAX))?;
        if chunk.next <= next {
            break;
        }
        next = chunk.next;
        for entry in chunk.records.iter().filter(|entry| entry.offset < range.end) {
            bytes += entry.shared.len() + entry.own.len();
            if let Some(of) = ErasedEntry::of(entry) {
                trace.is_erased |= entry.offset == offset;
                trace.is_expired |= entry.offset == offset && of.as_ref().is_ok_and(|erased| erased.is_expired);
                erased.extend(of.ok().filter(|_| again(entry.offset) == RecordVerdict::GoesOn));
                continue;
            }
            let Ok(read) = LoggedRecord::read(&entry.shared, &entry.own) else { continue };
            let record = read.record();
            if entry.offset != offset && again(entry.offset) != RecordVerdict::GoesOn {
                continue;
            }
            let position = Position::new(state.partition(), entry.offset);
            let decoded = decode::decode(&record, record.source.into(), position);
            if entry.offset == offset {
                source = Some(record.source.into());
                trace.decoded = Some(decoded);
            } else if let Ok(event) = decoded {
                others.push(event);
            }
        }
    }
    let Some(source) = source else { return Ok(Some(trace)) };
    let contract = rules.sources.get(&source).and_then(|rules| rules.contract.as_ref());
    trace.has_contract = contract.is_some();
    let own = EventId::new(Position::new(state.partition(), offset), 0);
    others.retain(|event| event.source == source);
    let own_event =
        trace.decoded.as_ref().and_then(|decoded| decoded.as_ref().ok()).filter(|_| verdict == RecordVerdict::GoesOn);
    others.extend(own_event.cloned());
    others.sort_by_key(|event| event.id);
    for event in others {
        let is_own = event.id == own;
        let Judged { event, violation, quarantined, .. } = pass(contract, event);
        if is_own {
            (trace.violation, trace.quarantined, trace.event) = (violation, quarantined, event.clone());
        }
        before.extend(event);
    }
    let at = before.iter().position(|event| event.id == own).unwrap_or(0);
    // Functions see the time of the first event, though it was erased since.
    let erased =
        erased.iter().filter(|entry| *entry.source == *source).map(|entry| (entry.offset, entry.received_at_us));
    let times = before.iter().map(|event| (event.id.position.offset, event.received_at_us)).chain(erased);
    let received_at_us = times.min_by_key(|(offset, _)| *offset).map_or(0, |(_, at_us)| at_us);
    trace.batch = BatchContext {
        scope: source,
        now_ms: u64::try_from(received_at_us / 1000).unwrap_or(0),
        seed: Position::new(state.partition(), range.start).bits(),
        bytes,
        at_us: received_at_us,
        tap: None,
    };
    trace.batch.seed = functions::seed_of_part(trace.batch.seed, &before, at);
    Ok(Some(trace))
}

fn pass(contract: Option<&Arc<Contract>>, event: Event) -> Judged {
    match contract {
        Some(contract) => judged(contract, event),
        None => Judged::unbroken(event),
    }
}

/// Through which functions the events of a source went.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ChainAt {
    /// Its functions have been over everything below; 0 while it has had none.
    pub transformed_to: u64,
    /// The key of the function chain; `None` when there was none.
    pub key: Option<String>,
}

/// Through which functions the events of `source` went that were refined in the log range beginning at `from`.
///
/// # Errors
/// The state cannot be read.
pub fn chain_at(state: &State, source: &str, from: u64) -> Result<ChainAt, StateError> {
    let (cursors, chains) = state.function_chains()?;
    let transformed_to = cursors.iter().find(|(name, _)| name == source).map_or(0, |(_, to)| *to);
    let of_source = chains.into_iter().filter(|(name, start, _)| name == source && *start <= from);
    let key = of_source.max_by_key(|(_, start, _)| *start).map(|(.., key)| key);
    Ok(ChainAt { transformed_to, key })
}

/// What one function made of one event.
#[derive(Debug, Clone)]
pub struct FunctionStep {
    pub function: String,
    pub version: String,
    pub before: Event,
    pub after: Vec<Event>,
    /// It left the event out, with this reason.
    pub dropped: Option<String>,
    pub quarantined: Option<Quarantined>,
}

/// Runs `function_chain` over one event, function by function, without counting anything. `batch.seed` is that of its part of the log range.
pub async fn chain_steps(
    function_chain: &FunctionChain,
    event: Event,
    batch: &BatchContext,
) -> (Vec<FunctionStep>, Vec<Event>) {
    let mut steps = Vec::new();
    let mut events = vec![event];
    for slot in function_chain.slots() {
        let function = slot.choose(batch.seed);
        let mut passed = Vec::new();
        for before in std::mem::take(&mut events) {
            let done = functions::one(function, before.clone(), batch).await;
            let ChainOutput { events: after, mut quarantined, dropped, .. } = done;
            passed.extend(after.iter().cloned());
            steps.push(FunctionStep {
                function: function.name().to_owned(),
                version: function.version().to_owned(),
                before,
                after,
                dropped: dropped.into_keys().next(),
                quarantined: quarantined.pop(),
            });
        }
        events = passed;
    }
    (steps, events)
}

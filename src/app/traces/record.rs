//! What became of one record before any sync had it.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api_types::fate::EventFate;
use tidegate_api_types::trace::{
    TracedChanges, TracedDuplicate, TracedEntry, TracedFunction, TracedRecord, TracedRetry, TracedVerdict,
};
use tidegate_event::record::LoggedRecord;
use tidegate_event::undecoded::without_write_key;
use tidegate_event::{Event, Position, RetryMark, record_id, time};
use tidegate_pipeline::refine::{self, ChainAt, FunctionChain, FunctionStep, RecordTrace, RuleSet};
use tidegate_process::telemetry::with_causes;
use tidegate_state::{EntryScope, KeptEntry, State, StateError};
use tidegate_wasm::HiddenTexts;

use super::EventTracer;
use super::search::TraceHit;
use crate::api::TryRefusal;
use crate::app::field_changes::{changes, shown};
use crate::config::Workspace;

/// What is known of a record while it is looked at.
pub(super) struct TracedParts {
    pub(super) state: State,
    pub(super) rules: Arc<RuleSet>,
    pub(super) trace: RecordTrace,
    /// Its entries of the quarantine.
    pub(super) entries: Vec<KeptEntry>,
    /// Retries of its event for one sync each: where they are in the log, and for which sync.
    pub(super) retries: Vec<(Position, String)>,
    /// What goes on to the syncs.
    pub(super) events: Vec<Event>,
    /// Secrets that its functions were given.
    pub(super) hidden: HiddenTexts,
}

/// What the functions of a source made of an event.
struct FunctionsDone {
    events: Vec<Event>,
    fate: Option<(EventFate, String)>,
}

fn failed(error: &(dyn std::error::Error + 'static)) -> TryRefusal {
    TryRefusal::Failed(with_causes(error))
}

impl EventTracer {
    /// What became of a record. `same` are the records with its id, itself among them.
    pub(super) async fn record(
        &self,
        workspace: &Arc<Workspace>,
        same: &[TraceHit],
        found: &TraceHit,
    ) -> Result<TracedRecord, TryRefusal> {
        let Some(log) = self.log.iter().find(|(number, _)| *number == found.partition).map(|(_, log)| log) else {
            return Ok(TracedRecord::default());
        };
        let state = State::read(&self.state).map_err(|error| failed(&error))?.of_partition(found.partition);
        let rules = self.live.rules().borrow().clone();
        let mut record = came(found);
        let entries = state.entries_at(found.position()).map_err(|error| failed(&error))?;
        record.quarantine = entries.iter().map(traced_entry).collect();
        let for_sync = record.retry.as_ref().and_then(|retry| retry.for_sync.clone());
        let trace = match refine::trace_record(&**log, &state, &rules, found.entry.offset) {
            Ok(Some(trace)) => trace,
            Ok(None) => {
                record.fate = Some(EventFate::Pending);
                record.why = Some("it is in the log, and not refined yet".to_owned());
                return Ok(record);
            }
            Err(error) => {
                record.notes.push(format!("what became of it cannot be found out: {}", with_causes(&error)));
                return Ok(record);
            }
        };
        if trace.is_erased || trace.is_suppressed {
            left_out(&mut record, &trace);
            return Ok(record);
        }
        if trace.is_duplicate {
            duplicate(&mut record, &state, same, found).map_err(|error| failed(&error))?;
            return Ok(record);
        }
        let (hidden, retries) = (HiddenTexts::default(), retries_for_syncs(same, found));
        let mut parts = TracedParts { state, rules, trace, entries, retries, events: Vec::new(), hidden };
        if let Some(Err(refusal)) = &parts.trace.decoded {
            let why = format!("{}: {}", refusal.code, refusal.message);
            stopped(&mut record, why, &parts.entries, retried_as(same, found));
            return Ok(record);
        }
        verdict(&mut record, &parts);
        if let Some(entry) = &parts.trace.quarantined {
            let why = format!("the contract does not let it pass: {}", entry.code);
            stopped(&mut record, why, &parts.entries, retried_as(same, found));
            return Ok(record);
        }
        let FunctionsDone { events, fate } = self.functions(&mut record, &mut parts).await?;
        parts.events = events;
        record.passed_on = parts.events.iter().map(|event| shown(event, &parts.hidden)).collect();
        match fate {
            Some((EventFate::Quarantined, why)) if parts.events.is_empty() => {
                stopped(&mut record, why, &parts.entries, retried_as(same, found));
            }
            Some((fate, why)) if parts.events.is_empty() => {
                (record.fate, record.why) = (Some(fate), Some(why));
            }
            Some(_) | None => {
                // The other syncs had the event of a retry for one of them before, and what they made of it is of that record.
                let is_for = |name: &str| for_sync.as_deref().is_none_or(|only| only == name);
                for (name, sync) in workspace.syncs.iter().filter(|(_, sync)| sync.source.0 == record.source) {
                    if is_for(name) {
                        record.syncs.push(self.sync(workspace, (name, sync), &parts).await);
                    }
                }
                if record.syncs.is_empty() {
                    record.notes.push("no sync takes the events of this source now".to_owned());
                }
            }
        }
        Ok(record)
    }

    /// What the functions of its source make of it, run again under the versions of then.
    async fn functions(&self, record: &mut TracedRecord, parts: &mut TracedParts) -> Result<FunctionsDone, TryRefusal> {
        let Some(event) = parts.trace.event.clone() else {
            return Ok(FunctionsDone { events: Vec::new(), fate: None });
        };
        let offset = event.id.position.offset;
        let chain = refine::chain_at(&parts.state, &record.source, parts.trace.range.start);
        let ChainAt { transformed_to, key } = chain.map_err(|error| failed(&error))?;
        let waits = |events| {
            let why = "its functions have not been over it yet: no sync has come so far".to_owned();
            FunctionsDone { events, fate: Some((EventFate::Pending, why)) }
        };
        let Some(key) = key else {
            let is_handed_out = parts.rules.of_source(&record.source).is_empty();
            return Ok(if is_handed_out {
                FunctionsDone { events: vec![event], fate: None }
            } else {
                waits(Vec::new())
            });
        };
        if offset >= transformed_to {
            return Ok(waits(Vec::new()));
        }
        let function_chain: Arc<FunctionChain> = match (self.live.recall())(&key) {
            Ok(function_chain) => function_chain,
            Err(reason) => {
                let note = format!("its functions cannot be run again: {reason}; what follows is without them");
                record.notes.push(note);
                return Ok(FunctionsDone { events: vec![event], fate: None });
            }
        };
        for function in function_chain.functions() {
            parts.hidden = parts.hidden.joined(function.hidden());
        }
        let (steps, events) = refine::chain_steps(&function_chain, event, &parts.trace.batch).await;
        record.functions = steps.iter().map(|step| traced_function(step, &parts.hidden)).collect();
        Ok(FunctionsDone { fate: stopped_by(&steps), events })
    }
}

/// What stopped an event on its way through functions, if anything did: the last that did.
pub(super) fn stopped_by(steps: &[FunctionStep]) -> Option<(EventFate, String)> {
    steps.iter().rev().find_map(|step| {
        let by = &step.function;
        match (&step.quarantined, &step.dropped) {
            (Some(entry), _) => Some((EventFate::Quarantined, format!("function {by} stops it: {}", entry.code))),
            (None, Some(reason)) => Some((EventFate::Dropped, format!("dropped by {reason}"))),
            (None, None) => None,
        }
    })
}

pub(super) fn traced_function(step: &FunctionStep, hidden: &HiddenTexts) -> TracedFunction {
    let before = shown(&step.before, hidden);
    let (outcome, why) = match (&step.quarantined, &step.dropped) {
        (Some(entry), _) => ("quarantined", Some(format!("{}: {}", entry.code, entry.message))),
        (None, Some(reason)) => ("dropped", Some(reason.clone())),
        (None, None) => ("passed", None),
    };
    let made = |after: &Event| TracedChanges { changes: changes(&before, &shown(after, hidden)) };
    TracedFunction {
        name: step.function.clone(),
        version: step.version.clone(),
        outcome: outcome.to_owned(),
        why,
        made: step.after.iter().map(made).collect(),
    }
}

/// Says of a record that it went nowhere, because of whom it is about, or that nothing is left of it.
fn left_out(record: &mut TracedRecord, trace: &RecordTrace) {
    record.fate = Some(if trace.is_expired { EventFate::Expired } else { EventFate::Suppressed });
    if trace.is_erased {
        // It was in the log when it was looked for.
        (record.original, record.decoded, record.message_id) = (None, None, None);
        (record.ip, record.library) = (None, None);
    }
    let why = if trace.is_expired {
        "its event is older than its source keeps events (`retention`), and was erased; what syncs had delivered by then stays where it is"
    } else if trace.is_erased {
        "its event was forgotten: the log has nothing of it but when it came, and to which source"
    } else {
        "it is about somebody who was suppressed when it was refined"
    };
    record.why = Some(why.to_owned());
}

/// Says which record a duplicate is one of: the last one before it that was no duplicate itself.
fn duplicate(record: &mut TracedRecord, state: &State, same: &[TraceHit], found: &TraceHit) -> Result<(), StateError> {
    record.fate = Some(EventFate::Duplicate);
    if record.retry.is_some() {
        let why = "its entry of the quarantine was not there any more, or an event with its id has come since";
        record.why = Some(why.to_owned());
        return Ok(());
    }
    // The dedup window is that of the partition.
    let before = same.iter().rev().filter(|other| {
        other.partition == found.partition
            && is_of_same(other, found)
            && (other.received_at_us, other.position()) < (found.received_at_us, found.position())
    });
    let mut first = None;
    for other in before {
        let offset = other.entry.offset;
        if state.duplicates_in(&(offset..offset.saturating_add(1)))?.is_empty() {
            first = Some(other);
            break;
        }
    }
    let Some(first) = first else {
        record.why = Some("an event with its id came before; the log does not have that one any more".to_owned());
        return Ok(());
    };
    record.why = Some("an event with its id came before".to_owned());
    record.duplicate_of = Some(TracedDuplicate {
        position: first.position().to_string(),
        received_at: time::format(first.received_at_us),
        is_same: event_bytes(first) == event_bytes(found),
    });
    Ok(())
}

/// Of a record whose event went into quarantine before any sync had it: whether it is still there.
fn stopped(record: &mut TracedRecord, why: String, entries: &[KeptEntry], retried: Option<String>) {
    let (fate, why) = match retried {
        _ if !entries.is_empty() => (EventFate::Quarantined, why),
        Some(position) => (EventFate::Expired, format!("{why}; it was retried, and is in the log again as {position}")),
        None => (EventFate::Expired, format!("{why}; its entry of the quarantine is gone")),
    };
    (record.fate, record.why) = (Some(fate), Some(why));
}

/// The retries of the event of a record, as far as they are known: where each is in the log, and for which sync; empty for all.
fn retries<'s>(same: &'s [TraceHit], found: &TraceHit) -> impl Iterator<Item = (Position, &'s str)> {
    let of = found.position();
    same.iter().filter_map(move |other| {
        let (mark, _) = RetryMark::split(&other.entry.own)?;
        mark.filter(|mark| mark.position == of).map(|mark| (other.position(), mark.for_sync))
    })
}

/// Where the event of a record is in the log again, if no sync has had it.
fn retried_as(same: &[TraceHit], found: &TraceHit) -> Option<String> {
    retries(same, found).last().map(|(position, _)| position.to_string())
}

fn retries_for_syncs(same: &[TraceHit], found: &TraceHit) -> Vec<(Position, String)> {
    let for_one = retries(same, found).filter(|(_, only)| !only.is_empty());
    for_one.map(|(position, only)| (position, only.to_owned())).collect()
}

/// Whether two records have one id, of one source.
fn is_of_same(one: &TraceHit, two: &TraceHit) -> bool {
    let source = |found: &TraceHit| {
        LoggedRecord::read(&found.entry.shared, &found.entry.own).ok().map(|read| read.record().source.to_owned())
    };
    let id = |found: &TraceHit| {
        record_id::message_id(&found.entry.shared, &found.entry.own).map(std::borrow::Cow::into_owned)
    };
    id(one).is_some() && id(one) == id(two) && source(one) == source(two)
}

fn event_bytes(found: &TraceHit) -> Vec<u8> {
    LoggedRecord::read(&found.entry.shared, &found.entry.own)
        .map(|read| read.record().event.to_vec())
        .unwrap_or_default()
}

/// A record as it came.
fn came(found: &TraceHit) -> TracedRecord {
    let mut traced = TracedRecord {
        position: found.position().to_string(),
        received_at: time::format(found.received_at_us),
        ..TracedRecord::default()
    };
    let Ok(read) = LoggedRecord::read(&found.entry.shared, &found.entry.own) else { return traced };
    let record = read.record();
    let id = record_id::message_id(&found.entry.shared, &found.entry.own);
    traced.source = record.source.to_owned();
    traced.message_id = id.map(|id| String::from_utf8_lossy(&id).into_owned());
    traced.ip = (!record.ip.is_empty()).then(|| record.ip.to_owned());
    traced.bytes = record.event.len() as u64;
    traced.original = Some(readable(&without_write_key(record.event)));
    let decoded = tidegate_event::decode::decode(&record, record.source.into(), found.position()).ok();
    let decoded = decoded.map(|event| shown(&event, &HiddenTexts::default()));
    traced.library = decoded.as_ref().and_then(library);
    traced.decoded = decoded;
    let mark = RetryMark::split(&found.entry.own).and_then(|(mark, _)| mark);
    traced.retry = mark.map(|mark| TracedRetry {
        position: mark.position.to_string(),
        attempt: mark.attempt,
        for_sync: (!mark.for_sync.is_empty()).then(|| mark.for_sync.to_owned()),
    });
    traced
}

/// JSON as it is, other bytes as text.
fn readable(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).unwrap_or_else(|_| String::from_utf8_lossy(bytes).into_owned().into())
}

/// The SDK that sent an event.
fn library(event: &Value) -> Option<String> {
    let library = &event["context"]["library"];
    let name = library["name"].as_str()?;
    Some(library["version"].as_str().map_or_else(|| name.to_owned(), |version| format!("{name} {version}")))
}

fn verdict(record: &mut TracedRecord, parts: &TracedParts) {
    let trace = &parts.trace;
    if !trace.has_contract {
        return;
    }
    let plain = |event: &Event| shown(event, &HiddenTexts::default());
    let before = trace.decoded.as_ref().and_then(|decoded| decoded.as_ref().ok()).map(plain);
    let changed = match (before, trace.event.as_ref().map(plain)) {
        (Some(before), Some(after)) => changes(&before, &after),
        _ => Vec::new(),
    };
    record.contract = Some(TracedVerdict {
        revision: Some(trace.revision).filter(|revision| *revision > 0),
        allowed: trace.quarantined.is_none(),
        code: trace.quarantined.as_ref().map(|entry| entry.code.clone()),
        violations: trace.violation.iter().flat_map(|violation| violation.violations.clone()).collect(),
        changes: changed,
    });
    if trace.revision == 0 {
        record.notes.push("which contract judged it is not known any more: the verdict is that of now".to_owned());
    }
}

fn traced_entry(kept: &KeptEntry) -> TracedEntry {
    let EntryScope { name: scope, is_sync } = kept.whose();
    TracedEntry {
        id: kept.id,
        stage: kept.entry.stage.to_owned(),
        scope,
        is_of_sync: is_sync,
        code: kept.entry.code.clone(),
        quarantined_at: time::format(kept.kept_at_us),
        attempts: kept.attempts,
        message: Some(kept.entry.message.clone()),
        detail: kept.entry.detail.as_deref().and_then(|text| serde_json::from_str(text).ok()),
    }
}

//! A chain of functions over the events of one source or one sync.

use std::collections::HashMap;
use std::sync::Arc;

use crate::event::{Event, decode};
use crate::function::{Function, Outcome, RunContext};
use crate::state::{QuarantineStage, Quarantined};

/// What a chain made of a batch.
#[derive(Debug, Default)]
pub struct Chained {
    pub events: Vec<Event>,
    pub quarantined: Vec<Quarantined>,
    /// Filtered on purpose: how many, by function and reason code.
    pub dropped: HashMap<String, u64>,
}

/// Runs `functions` in order over `events`, which come in log order and stay in it. `scope` is the source or the
/// sync, for the quarantine. Time and seed are those of the batch, so that running it again gives the same.
pub async fn chain(functions: &[Arc<Function>], events: Vec<Event>, scope: &str, at_us: i64) -> Chained {
    let mut chained = Chained { events, ..Chained::default() };
    for function in functions {
        let events = std::mem::take(&mut chained.events);
        let Some(first) = events.first() else { break };
        let now_ms = first.received_at_us.unsigned_abs() / 1000;
        let cx = RunContext { now_ms, seed: first.offset, ..RunContext::default() };
        let texts: Vec<String> = events.iter().map(Event::to_json).collect();
        let ran = function.run(&texts, cx).await;
        for ((event, text), outcome) in events.into_iter().zip(texts).zip(ran.outcomes) {
            apply(&mut chained, function.name(), event, text, outcome, scope, at_us);
        }
    }
    chained
}

fn apply(chained: &mut Chained, name: &str, event: Event, text: String, outcome: Outcome, scope: &str, at_us: i64) {
    let set_aside = |code: &str, message: &str, event: &Event, text: String| Quarantined {
        offset: event.offset,
        part: event.part,
        stage: QuarantineStage::Function.as_str(),
        scope: scope.to_owned(),
        code: code.to_owned(),
        message: format!("function {name}: {message}"),
        event: text.into_bytes(),
        at_us,
        detail: None,
    };
    match outcome {
        Outcome::Keep => chained.events.push(event),
        Outcome::Replace(json) => match decode::revised(&json, &event, event.part) {
            Ok(revised) => chained.events.push(revised),
            Err(refusal) => {
                chained.quarantined.push(set_aside(refusal.code, &refusal.message, &event, text));
            }
        },
        Outcome::Emit(children) => {
            let revised: Result<Vec<Event>, _> =
                children.iter().zip(0..).map(|(json, n)| decode::revised(json, &event, child(event.part, n))).collect();
            match revised {
                Ok(revised) if revised.is_empty() => {
                    *chained.dropped.entry(format!("{name}/emitted-nothing")).or_default() += 1;
                }
                Ok(revised) => chained.events.extend(revised),
                // All or none: half a fan-out would be neither the event nor what the function meant.
                Err(refusal) => chained.quarantined.push(set_aside(refusal.code, &refusal.message, &event, text)),
            }
        }
        Outcome::Drop(reason) => *chained.dropped.entry(format!("{name}/{reason}")).or_default() += 1,
        Outcome::Fail { code, message, .. } => {
            chained.quarantined.push(set_aside(&code, &message, &event, text));
        }
        Outcome::Fault { code, message } => {
            chained.quarantined.push(set_aside(code.as_str(), &message, &event, text));
        }
    }
}

/// Parts of parts stay distinct for a few rounds of fan-out; beyond that ids still differ by their suffixes.
fn child(parent: u32, n: u32) -> u32 {
    parent.saturating_mul(1024).saturating_add(n)
}

//! What a change of contracts does: to recorded events, and to the files themselves.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_event::EventKind;
use tidegate_event::value::JsonObject;

use super::Action;
use super::compile::Contract;
use super::findings::{EventFinding, Examined};
use super::schema::{clip, escape};

/// Kinds of difference that are kept; further ones are counted together.
const KEYS_MAX: usize = 1_000;
/// Events that are named for one of them.
const SAMPLES_MAX: usize = 5;
/// Differences between files that are listed.
const DIFFERENCES_MAX: usize = 1_000;

/// What the new contract does otherwise with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ContrastOutcome {
    /// It blocks what the old one let through.
    NewlyBlocked,
    /// It lets through what the old one blocked.
    NewlyLetThrough,
    /// It finds something new and lets the event through, as the old one did; or takes fields out of it.
    NewlyFound,
    /// It finds less, and the event goes on as before.
    NoLongerFound,
}

impl ContrastOutcome {
    pub const ALL: [Self; 4] = [Self::NewlyBlocked, Self::NewlyLetThrough, Self::NewlyFound, Self::NoLongerFound];

    /// For programs.
    #[must_use]
    pub const fn word(self) -> &'static str {
        match self {
            Self::NewlyBlocked => "newly-blocked",
            Self::NewlyLetThrough => "newly-let-through",
            Self::NewlyFound => "newly-found",
            Self::NoLongerFound => "no-longer-found",
        }
    }
}

/// Differences that are counted together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ContrastKey {
    pub outcome: ContrastOutcome,
    /// `track "Order Completed"`.
    pub event: String,
    /// Where and what, without values of events; empty where neither contract says why.
    pub finding: String,
}

/// How many events there are of them, and which.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContrastCount {
    pub events: u64,
    /// `messageId`s of the first ones.
    pub samples: Vec<String>,
    /// Their findings with values.
    pub values: Vec<String>,
}

/// What a change does to the events that were compared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContrastReport {
    pub events: u64,
    /// How many events have each outcome.
    pub outcomes: BTreeMap<ContrastOutcome, u64>,
    pub counts: BTreeMap<ContrastKey, ContrastCount>,
    /// Differences of kinds for which there was no room.
    pub uncounted: u64,
}

impl ContrastReport {
    /// Compares what two contracts say of an event; a source without a contract has none.
    pub fn compare(
        &mut self,
        (old, new): (Option<&Contract>, Option<&Contract>),
        kind: EventKind,
        body: &JsonObject,
        message_id: &str,
    ) {
        self.events += 1;
        let (old, new) = (examine(old, kind, body), examine(new, kind, body));
        let outcome = match (old.action, new.action) {
            (Action::Allow, Action::Block) => ContrastOutcome::NewlyBlocked,
            (Action::Block, Action::Allow) => ContrastOutcome::NewlyLetThrough,
            _ if has_more(&old, &new) || (new.omitted && !old.omitted) => ContrastOutcome::NewlyFound,
            _ if has_more(&new, &old) => ContrastOutcome::NoLongerFound,
            _ => return,
        };
        *self.outcomes.entry(outcome).or_default() += 1;
        let is_loss = matches!(outcome, ContrastOutcome::NewlyBlocked | ContrastOutcome::NewlyFound);
        let (before, after) = if is_loss { (&old, &new) } else { (&new, &old) };
        let mut telling: Vec<&EventFinding> = after.findings.iter().filter(|finding| !is_in(before, finding)).collect();
        if telling.is_empty() {
            // What was found before has another policy now.
            telling = after.findings.iter().collect();
        }
        let event = Contract::name_event(kind, body);
        let mut said: BTreeMap<String, Vec<&EventFinding>> = BTreeMap::new();
        for finding in telling {
            said.entry(sentence(&finding.place, &finding.says)).or_default().push(finding);
        }
        if said.is_empty() {
            said.insert(String::new(), Vec::new());
        }
        for (finding, of_event) in said {
            let key = ContrastKey { outcome, event: event.clone(), finding };
            if self.counts.len() >= KEYS_MAX && !self.counts.contains_key(&key) {
                self.uncounted += 1;
                continue;
            }
            let count = self.counts.entry(key).or_default();
            count.events += 1;
            if count.samples.len() < SAMPLES_MAX {
                count.samples.push(clip(message_id).to_owned());
                let first = of_event.first().map(|finding| sentence(&finding.place, &finding.whole));
                count.values.extend(first);
            }
        }
    }
}

fn examine(contract: Option<&Contract>, kind: EventKind, body: &JsonObject) -> Examined {
    let nothing = || Examined { action: Action::Allow, omitted: false, findings: Vec::new() };
    contract.map_or_else(nothing, |contract| contract.examine(kind, body))
}

fn is_in(examined: &Examined, finding: &EventFinding) -> bool {
    examined.findings.iter().any(|known| known.place == finding.place && known.says == finding.says)
}

/// Whether the second says something that the first does not.
fn has_more(first: &Examined, second: &Examined) -> bool {
    second.findings.iter().any(|finding| !is_in(first, finding))
}

fn sentence(place: &str, says: &str) -> String {
    if place.is_empty() { says.to_owned() } else { format!("{place}: {says}") }
}

/// What is different between the files of two contract repositories, a line each: `shop/sold.yaml /schema/type: "object" is gone`.
#[must_use]
pub fn differences(old: &BTreeMap<String, Value>, new: &BTreeMap<String, Value>) -> Vec<String> {
    let mut found = Vec::new();
    let paths: BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    for path in paths {
        match (old.get(path), new.get(path)) {
            (Some(_), None) => found.push(format!("{path} is gone")),
            (None, Some(_)) => found.push(format!("{path} is new")),
            (Some(old), Some(new)) => different(path, "", (old, new), &mut found),
            (None, None) => {}
        }
    }
    if found.len() > DIFFERENCES_MAX {
        let more = found.len() - DIFFERENCES_MAX;
        found.truncate(DIFFERENCES_MAX);
        found.push(format!("... and {more} more"));
    }
    found
}

fn different(file: &str, pointer: &str, (old, new): (&Value, &Value), found: &mut Vec<String>) {
    if old == new {
        return;
    }
    let (Value::Object(olds), Value::Object(news)) = (old, new) else {
        let at = if pointer.is_empty() { String::new() } else { format!(" {pointer}") };
        found.push(format!("{file}{at}: {} becomes {}", short(old), short(new)));
        return;
    };
    let keys: BTreeSet<&String> = olds.keys().chain(news.keys()).collect();
    for key in keys {
        let below = format!("{pointer}/{}", escape(key));
        match (olds.get(key), news.get(key)) {
            (Some(old), Some(new)) => different(file, &below, (old, new), found),
            (Some(old), None) => found.push(format!("{file} {below}: {} is gone", short(old))),
            (None, Some(new)) => found.push(format!("{file} {below}: {} is new", short(new))),
            (None, None) => {}
        }
    }
}

fn short(value: &Value) -> String {
    let text = value.to_string();
    let end = text.floor_char_boundary(120);
    if end < text.len() { format!("{}...", &text[..end]) } else { text }
}

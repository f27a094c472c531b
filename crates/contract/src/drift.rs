//! Fields that move away from their contract: what they are instead, in which share of the events, and since which version of
//! the app or the SDK that sends them.

use std::collections::BTreeMap;

use tidegate_event::value::JsonObject;
use tidegate_event::{EventKind, UNDECLARED_EVENT, UNDECLARED_FIELD, UNDECLARED_VERSION};

use super::client_release::client_release;
use super::compile::Contract;
use super::schema::clip;

/// Events by type and name that are watched.
const EVENTS_MAX: usize = 1_000;
/// Drifting fields of one event.
const FIELDS_MAX: usize = 500;
/// Senders of one event: an operating system or a library with a version.
const SENDERS_MAX: usize = 200;

/// Drifting fields by their senders, of all events together.
const COUNTS_MAX: usize = 50_000;

/// Who sent an event, as far as its context says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DriftSender {
    /// `iOS`, or the name of a library.
    family: String,
    version: SenderVersion,
}

/// Versions in their order: 4.10 comes after 4.9.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct SenderVersion {
    numbers: Vec<u64>,
    text: String,
}

impl SenderVersion {
    fn of(text: &str) -> Self {
        let parts = text.split(|c: char| !c.is_ascii_digit()).filter(|part| !part.is_empty());
        Self { numbers: parts.filter_map(|part| part.parse().ok()).take(8).collect(), text: clip(text).to_owned() }
    }
}

/// One way in which a field is not what its contract says.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct DriftKey {
    place: String,
    keyword: String,
    found: &'static str,
    says: String,
}

#[derive(Debug, Default)]
struct WatchedEvent {
    seen: u64,
    senders: BTreeMap<DriftSender, u64>,
    fields: BTreeMap<DriftKey, BTreeMap<DriftSender, u64>>,
}

/// Gathers what drifts.
#[derive(Debug, Default)]
pub struct DriftWatch {
    events: BTreeMap<String, WatchedEvent>,
    /// Drifting fields by their senders.
    counts: usize,
    /// Events or findings for which there was no room.
    uncounted: u64,
}

/// One field that drifts.
#[derive(Debug, Clone, PartialEq)]
pub struct DriftLine {
    /// `track "Order Completed"`.
    pub event: String,
    /// A JSON pointer with a star for each item of a list.
    pub place: String,
    /// The keyword of the schema that does not hold, or `undeclaredField` and the like.
    pub keyword: String,
    /// `` `price` is a text since iOS 4.2, 3.1 % of events ``.
    pub sentence: String,
    pub events: u64,
    pub seen: u64,
    /// `iOS 4.2`: where it began, of each sender in which earlier versions do not have it.
    pub since: Vec<String>,
}

impl DriftWatch {
    /// Adds one event.
    pub fn observe(&mut self, contract: &Contract, kind: EventKind, body: &JsonObject) {
        let name = Contract::name_event(kind, body);
        if self.events.len() >= EVENTS_MAX && !self.events.contains_key(&name) {
            self.uncounted += 1;
            return;
        }
        let event = self.events.entry(name).or_default();
        event.seen += 1;
        let mut sender = sender(body);
        if event.senders.len() >= SENDERS_MAX && !event.senders.contains_key(&sender) {
            sender = unknown_sender();
        }
        *event.senders.entry(sender.clone()).or_default() += 1;
        let mut counted: Vec<DriftKey> = Vec::new();
        for finding in contract.examine(kind, body).findings {
            let (place, keyword, found, says) = (finding.place, finding.keyword, finding.found, finding.says);
            let key = DriftKey { place, keyword, found, says };
            // Of the items of a list each may have it.
            if counted.contains(&key) {
                continue;
            }
            let senders = event.fields.get(&key);
            let is_new = senders.is_none_or(|senders| !senders.contains_key(&sender));
            if (senders.is_none() && event.fields.len() >= FIELDS_MAX) || (is_new && self.counts >= COUNTS_MAX) {
                self.uncounted += 1;
                continue;
            }
            self.counts += usize::from(is_new);
            *event.fields.entry(key.clone()).or_default().entry(sender.clone()).or_default() += 1;
            counted.push(key);
        }
    }

    /// What drifts, what most events have first. The number says for how many events or findings there was no room.
    #[must_use]
    pub fn lines(&self) -> (Vec<DriftLine>, u64) {
        let mut lines = Vec::new();
        for (name, event) in &self.events {
            for (key, senders) in &event.fields {
                lines.push(line(name, event, key, senders));
            }
        }
        lines.sort_by(|one, other| {
            let order = other.events.cmp(&one.events);
            order.then_with(|| one.event.cmp(&other.event)).then_with(|| one.place.cmp(&other.place))
        });
        (lines, self.uncounted)
    }
}

#[allow(clippy::cast_precision_loss, reason = "a share of counts that are far below 2^53")]
fn line(name: &str, event: &WatchedEvent, key: &DriftKey, senders: &BTreeMap<DriftSender, u64>) -> DriftLine {
    let events: u64 = senders.values().sum();
    let mut families: BTreeMap<&str, &DriftSender> = BTreeMap::new();
    for sender in senders.keys().filter(|sender| !sender.family.is_empty()) {
        // The first is the earliest: senders are in the order of their versions.
        families.entry(&sender.family).or_insert(sender);
    }
    let (mut since, mut always) = (Vec::new(), Vec::new());
    for (family, first) in families {
        let is_new = event.senders.keys().any(|sender| sender.family == family && sender.version < first.version);
        match is_new {
            true => since.push(format!("{family} {}", first.version.text)),
            false => always.push(family),
        }
    }
    let mut sentence = what(key);
    if !since.is_empty() {
        sentence = format!("{sentence} since {}", since.join(", "));
    }
    if !always.is_empty() {
        let and = if since.is_empty() { "in every version seen of" } else { "and in every version seen of" };
        sentence = format!("{sentence} {and} {}", always.join(", "));
    }
    let share = 100.0 * events as f64 / event.seen.max(1) as f64;
    sentence = format!("{sentence}, {share:.1} % of events");
    DriftLine {
        event: name.to_owned(),
        place: key.place.clone(),
        keyword: key.keyword.clone(),
        sentence,
        events,
        seen: event.seen,
        since,
    }
}

/// What a field is instead.
fn what(key: &DriftKey) -> String {
    let field = field(&key.place);
    match key.keyword.as_str() {
        UNDECLARED_EVENT | UNDECLARED_VERSION => format!("the event is not declared: {}", key.says),
        UNDECLARED_FIELD => format!("`{field}` is not declared"),
        "required" => format!("`{field}` is missing"),
        "type" => format!("`{field}` is {}", a_type(key.found)),
        "enum" => format!("`{field}` has a value that is not listed"),
        _ => format!("`{field}`: {}", key.says),
    }
}

/// `/properties/items/*/price` as people say it: `items[].price`.
fn field(place: &str) -> String {
    let below = ["/properties/", "/traits/"].iter().find_map(|part| place.strip_prefix(part));
    let below = below.unwrap_or_else(|| place.trim_start_matches('/'));
    below.replace("/*", "[]").replace('/', ".").replace("~1", "/").replace("~0", "~")
}

fn a_type(word: &str) -> &'static str {
    match word {
        "null" => "null",
        "boolean" => "true or false",
        "integer" => "a whole number",
        "number" => "a number",
        "string" => "a text",
        "array" => "a list",
        "object" => "an object",
        _ => "nothing",
    }
}

fn unknown_sender() -> DriftSender {
    DriftSender { family: String::new(), version: SenderVersion::of("") }
}

fn sender(body: &JsonObject) -> DriftSender {
    let Some((family, version)) = client_release(body.get("context")) else { return unknown_sender() };
    DriftSender { family: clip(family).to_owned(), version: SenderVersion::of(version) }
}

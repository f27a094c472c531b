//! The events of one source, counted by name and by what their contract finds. Whatever is counted has a bound.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;
use tidegate_api_types::traffic::{
    EventHistory, EventTraffic, SourceTraffic, TrafficDifference, TrafficFinding, TrafficSender,
};
use tidegate_contract::{
    Action, Contract, ContrastOutcome, ContrastReport, EventRule, Examined, InferLimits, InferSettings, Inference,
    Proposal, client_release,
};
use tidegate_event::value::JsonObject;
use tidegate_event::{Event, EventKind, UNDECLARED_EVENT, UNDECLARED_FIELD, UNDECLARED_VERSION, time};

/// Events by type and name.
const EVENTS_MAX: usize = 500;
/// Findings of one of them.
const FINDINGS_MAX: usize = 100;
/// Senders of an event or of a finding.
const SENDERS_MAX: usize = 20;
const SAMPLES_MAX: usize = 5;
/// Differences that are told.
const DIFFERENCES_MAX: usize = 200;
/// Bytes of a name, a version or a `messageId`.
const NAME_BYTES_MAX: usize = 200;

/// Stands for the senders for which there is no room.
const OTHER_SENDERS: &str = "(others)";

/// By type and name. All of which the names are masked are one, without a type.
type TrafficKey = (&'static str, Option<String>);

/// Watches the events of one source.
pub(super) struct SourceWatch {
    pub(super) source: Arc<str>,
    /// Whoever asks may not see its events.
    pub(super) is_masked: bool,
    pub(super) contract: Option<Contract>,
    /// Why there is none that judges.
    pub(super) problem: Option<String>,
    /// The contract as it would be, where one is proposed.
    pub(super) proposed: Option<Option<Contract>>,
    /// Records that are no events.
    pub(super) unreadable: u64,
    inference: Option<Inference>,
    contrast: ContrastReport,
    events: BTreeMap<TrafficKey, WatchedTraffic>,
    read: u64,
    oldest_us: Option<i64>,
    uncounted: u64,
}

/// One event by its name.
#[derive(Default)]
struct WatchedTraffic {
    seen: u64,
    declared: bool,
    violating: u64,
    blocked: u64,
    omitted: u64,
    first_us: i64,
    last_us: i64,
    senders: BTreeMap<String, u64>,
    /// By place, keyword and sentence.
    findings: BTreeMap<(String, String, String), WatchedFinding>,
}

#[derive(Default)]
struct WatchedFinding {
    events: u64,
    senders: BTreeMap<String, u64>,
    samples: Vec<String>,
}

impl SourceWatch {
    pub(super) fn new(source: &str, is_masked: bool) -> Self {
        Self {
            source: source.into(),
            is_masked,
            contract: None,
            problem: None,
            proposed: None,
            unreadable: 0,
            inference: None,
            contrast: ContrastReport::default(),
            events: BTreeMap::new(),
            read: 0,
            oldest_us: None,
            uncounted: 0,
        }
    }

    /// Also says which schema takes what comes. It is made of values of events.
    pub(super) fn infer(&mut self) {
        if !self.is_masked {
            self.inference = Some(Inference::new(InferLimits::default()));
        }
    }

    /// Whether the contract has a track of this name.
    pub(super) fn declares(&self, name: &str) -> bool {
        self.contract.as_ref().is_some_and(|contract| contract.tracks().0.contains(&name))
    }

    /// Adds one event.
    pub(super) fn observe(&mut self, event: &Event) {
        self.read += 1;
        let at_us = event.received_at_us;
        self.oldest_us = Some(self.oldest_us.map_or(at_us, |oldest| oldest.min(at_us)));
        if let Some(inference) = &mut self.inference {
            inference.observe(event.kind, &event.body);
        }
        if let Some(proposed) = &self.proposed {
            let contracts = (self.contract.as_ref(), proposed.as_ref());
            self.contrast.compare(contracts, event.kind, &event.body, event.message_id());
        }
        let examined = self.contract.as_ref().map(|contract| contract.examine(event.kind, &event.body));
        let is_undeclared =
            examined.as_ref().is_none_or(|it| it.findings.iter().any(|one| one.keyword == UNDECLARED_EVENT));
        let key = match is_undeclared && self.is_masked {
            true => ("", None),
            false => (event.kind.as_str(), self.told_name(event).map(clipped)),
        };
        if self.events.len() >= EVENTS_MAX && !self.events.contains_key(&key) {
            self.uncounted += 1;
            return;
        }
        let sender = if self.is_masked { String::new() } else { sender(&event.body) };
        let watched = self.events.entry(key).or_default();
        let is_first = watched.seen == 0;
        watched.seen += 1;
        watched.declared = !is_undeclared;
        watched.first_us = if is_first { at_us } else { watched.first_us.min(at_us) };
        watched.last_us = if is_first { at_us } else { watched.last_us.max(at_us) };
        count_sender(&mut watched.senders, &sender);
        if let Some(examined) = examined {
            let id = if self.is_masked { "" } else { event.message_id() };
            self.uncounted += watched.judge(examined, (sender.as_str(), id), self.is_masked);
        }
    }

    /// The name of an event, as far as whoever asks may know it: a rule for all names has none of them.
    fn told_name<'e>(&self, event: &'e Event) -> Option<&'e str> {
        let contract = self.contract.as_ref();
        let name = name_of(event.kind, &event.body);
        name.filter(|name| !self.is_masked || contract.is_some_and(|contract| contract.has_name(event.kind, name)))
    }

    /// As it is answered.
    pub(super) fn shown(self, source: String, history: Vec<EventHistory>) -> SourceTraffic {
        let proposal = self.inference.map(|inference| inference.propose(&source, &InferSettings::default()));
        let mut events: Vec<EventTraffic> = Vec::with_capacity(self.events.len());
        for ((kind, name), watched) in self.events {
            let schema = schema_of(proposal.as_ref(), kind, name.as_ref());
            events.push(EventTraffic { schema, ..watched.shown(kind, name) });
        }
        events.sort_by_key(|event| std::cmp::Reverse(event.seen));
        let outcome_of = |outcome: &ContrastOutcome| self.contrast.outcomes.get(outcome).copied().unwrap_or(0);
        let outcomes = match self.proposed.is_some() {
            true => ContrastOutcome::ALL.iter().map(|one| (one.word().to_owned(), outcome_of(one))).collect(),
            false => BTreeMap::new(),
        };
        let told = if self.is_masked { 0 } else { DIFFERENCES_MAX };
        let differences = self.contrast.counts.iter().take(told).map(|(key, count)| TrafficDifference {
            outcome: key.outcome.word().to_owned(),
            event: key.event.clone(),
            finding: key.finding.clone(),
            events: count.events,
            samples: count.samples.clone(),
        });
        let differences = differences.collect();
        SourceTraffic {
            source,
            has_contract: self.contract.is_some(),
            problem: self.problem,
            read: self.read,
            unreadable: self.unreadable,
            oldest_at: self.oldest_us.map(time::format),
            masked: self.is_masked,
            events,
            history,
            uncounted: self.uncounted,
            outcomes,
            differences,
        }
    }
}

impl WatchedTraffic {
    /// Adds what the contract finds in one event; answers for how many findings there was no room.
    fn judge(&mut self, examined: Examined, (sender, id): (&str, &str), is_masked: bool) -> u64 {
        let Examined { action, omitted, findings } = examined;
        let is_blocked = action == Action::Block;
        // What is undeclared and allowed breaks nothing.
        let breaks = is_blocked || omitted || findings.iter().any(|one| !one.keyword.starts_with("undeclared"));
        self.violating += u64::from(breaks);
        self.blocked += u64::from(is_blocked);
        self.omitted += u64::from(omitted);
        let mut found: Vec<(String, String, String)> = Vec::new();
        for finding in findings {
            let (place, says) = match finding.keyword.as_str() {
                UNDECLARED_EVENT if is_masked => (finding.place, "the event is not declared".to_owned()),
                UNDECLARED_VERSION if is_masked => {
                    (finding.place, "this version of the event is not declared".to_owned())
                }
                // Whoever sends it has chosen its name.
                UNDECLARED_FIELD if is_masked => (String::new(), "a field is not declared".to_owned()),
                _ => (finding.place, finding.says),
            };
            let key = (place, finding.keyword, says);
            // Of the items of a list each may have it.
            if !found.contains(&key) {
                found.push(key);
            }
        }
        let mut uncounted = 0;
        for key in found {
            if self.findings.len() >= FINDINGS_MAX && !self.findings.contains_key(&key) {
                uncounted += 1;
                continue;
            }
            let watched = self.findings.entry(key).or_default();
            watched.events += 1;
            count_sender(&mut watched.senders, sender);
            if !id.is_empty() {
                if watched.samples.len() >= SAMPLES_MAX {
                    watched.samples.remove(0);
                }
                watched.samples.push(clipped(id));
            }
        }
        uncounted
    }

    fn shown(self, kind: &str, name: Option<String>) -> EventTraffic {
        let finding = |((place, keyword, says), watched): ((String, String, String), WatchedFinding)| TrafficFinding {
            keyword,
            place,
            says,
            events: watched.events,
            senders: senders(watched.senders),
            samples: watched.samples,
        };
        let mut findings: Vec<TrafficFinding> = self.findings.into_iter().map(finding).collect();
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.events));
        EventTraffic {
            kind: kind.to_owned(),
            name,
            seen: self.seen,
            declared: self.declared,
            violating: self.violating,
            blocked: self.blocked,
            omitted: self.omitted,
            first_at: time::format(self.first_us),
            last_at: time::format(self.last_us),
            senders: senders(self.senders),
            findings,
            schema: None,
        }
    }
}

/// What is proposed for an event; of a page or a screen perhaps for all names.
fn schema_of(proposal: Option<&Proposal>, kind: &str, name: Option<&String>) -> Option<Value> {
    let rules = proposal?.events.iter().map(|event| &event.rule);
    let of_kind: Vec<&EventRule> = rules.filter(|rule| rule.kind.as_str() == kind).collect();
    let named = of_kind.iter().find(|rule| rule.name.as_ref() == name);
    let found = named.or_else(|| of_kind.iter().find(|rule| rule.name.is_none()))?;
    Some(found.schema.clone())
}

fn count_sender(senders: &mut BTreeMap<String, u64>, sender: &str) {
    let is_full = senders.len() >= SENDERS_MAX && !senders.contains_key(sender);
    let sender = if is_full { OTHER_SENDERS } else { sender };
    *senders.entry(sender.to_owned()).or_default() += 1;
}

fn senders(counted: BTreeMap<String, u64>) -> Vec<TrafficSender> {
    let mut senders: Vec<TrafficSender> =
        counted.into_iter().map(|(sender, events)| TrafficSender { sender, events }).collect();
    senders.sort_by_key(|sender| std::cmp::Reverse(sender.events));
    senders
}

fn name_of(kind: EventKind, body: &JsonObject) -> Option<&str> {
    let field = match kind {
        EventKind::Track => "event",
        EventKind::Page | EventKind::Screen => "name",
        EventKind::Identify | EventKind::Group | EventKind::Alias => return None,
    };
    body.get(field)?.as_str().filter(|name| !name.is_empty())
}

/// The release that sent it. Nothing where the event does not say.
fn sender(body: &JsonObject) -> String {
    let Some((family, version)) = client_release(body.get("context")) else { return String::new() };
    clipped(&format!("{family} {version}"))
}

fn clipped(text: &str) -> String {
    text[..text.floor_char_boundary(NAME_BYTES_MAX)].to_owned()
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap as Files;

    use serde_json::json;
    use tidegate_contract::{ContractLimits, Domain};
    use tidegate_event::record::Record;
    use tidegate_event::{Position, decode};

    use super::*;

    fn event(text: &str, number: u64) -> Event {
        let record = Record {
            problem: None,
            route: None,
            received_at_us: i64::try_from(number).unwrap(),
            source: "web",
            ip: "192.0.2.1",
            message_id: "",
            sent_at: "",
            context: b"",
            integrations: b"",
            event: text.as_bytes(),
        };
        decode::decode(&record, "web".into(), Position::new(0, number)).unwrap()
    }

    fn watch(is_masked: bool) -> SourceWatch {
        let schema = json!({"type": "object", "properties": {"properties": {"type": "object", "properties": {"price": {"type": "number"}}}}});
        let files = Files::from([
            ("domains/shop/domain.yaml".to_owned(), json!({"name": "Shop"})),
            ("domains/shop/sold.yaml".to_owned(), json!({"type": "track", "name": "Sold", "schema": schema})),
        ]);
        let domains = Domain::from_files(&files, "web").unwrap();
        let contract = Contract::compile(&domains, ContractLimits::default()).ok();
        let mut watch = SourceWatch::new("web", is_masked);
        watch.contract = contract;
        for (number, price) in (1..).zip(["12.5", "\"12\"", "\"13\""]) {
            let context = r#"{"os": {"name": "iOS"}, "app": {"version": "4.2"}}"#;
            let text = format!(
                r#"{{"type": "track", "event": "Sold", "messageId": "m{number}", "userId": "u", "properties": {{"price": {price}}}, "context": {context}}}"#
            );
            watch.observe(&event(&text, number));
        }
        watch.observe(&event(r#"{"type": "track", "event": "ann@example.com", "messageId": "m9", "userId": "u"}"#, 9));
        watch
    }

    #[test]
    fn events_are_counted_by_name_and_by_what_their_contract_finds() {
        let shown = watch(false).shown("web".to_owned(), Vec::new());
        assert_eq!((shown.read, shown.events.len(), shown.uncounted), (4, 2, 0));
        let sold = &shown.events[0];
        assert_eq!((sold.name.as_deref(), sold.seen, sold.declared), (Some("Sold"), 3, true));
        assert_eq!((sold.violating, sold.blocked), (2, 2));
        let [finding] = &sold.findings[..] else { panic!("{sold:?}") };
        assert_eq!(
            (finding.place.as_str(), finding.keyword.as_str(), finding.events),
            ("/properties/price", "type", 2)
        );
        assert_eq!(finding.samples, ["m2", "m3"]);
        assert_eq!(finding.senders, [TrafficSender { sender: "iOS 4.2".to_owned(), events: 2 }]);
        let other = &shown.events[1];
        assert_eq!((other.name.as_deref(), other.declared, other.violating), (Some("ann@example.com"), false, 0));
    }

    #[test]
    fn who_may_not_see_events_gets_no_name_that_the_contract_has_not_and_no_sample() {
        let watch = watch(true);
        assert!(watch.declares("Sold") && !watch.declares("ann@example.com"));
        let shown = watch.shown("web".to_owned(), Vec::new());
        let text = serde_json::to_string(&shown).unwrap();
        assert!(!text.contains("ann@") && !text.contains("m2") && !text.contains("iOS"), "{text}");
        assert!(text.contains("Sold") && text.contains("/properties/price"), "{text}");
    }

    #[test]
    fn a_field_that_is_not_declared_is_named_to_nobody_who_may_not_see_events() {
        for (is_masked, place) in [(false, "/properties/ann@example.com"), (true, "")] {
            let mut watch = watch(is_masked);
            let text = r#"{"type": "track", "event": "Sold", "messageId": "m8", "userId": "u", "properties": {"ann@example.com": 1}}"#;
            watch.observe(&event(text, 8));
            let shown = watch.shown("web".to_owned(), Vec::new());
            let sold = shown.events.iter().find(|one| one.name.as_deref() == Some("Sold")).unwrap();
            let finding = sold.findings.iter().find(|one| one.keyword == UNDECLARED_FIELD).unwrap();
            assert_eq!((finding.place.as_str(), finding.events), (place, 1));
            assert_eq!(serde_json::to_string(sold).unwrap().contains("ann@"), !is_masked);
        }
    }
}

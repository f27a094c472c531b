//! The objects of contracts by domain and event, and what arrives of each event.

use std::collections::BTreeMap;

use serde_json::Value;
use tidegate_api_types::object::{Objects, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::traffic::{ContractTraffic, EventTraffic, SourceTraffic};

use super::ask::{PageRefusal, PageRequest};

const PAGE: &str = "1000";
/// Pages of objects that are read.
const PAGES_MAX: usize = 10;

/// The place of a part of a contract: the slug of its domain, and that of the event where it is one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PartPlace {
    pub(super) domain: String,
    pub(super) event: Option<String>,
}

impl PartPlace {
    /// Of the name of an object, in one of the two layouts. Components are no parts here.
    pub(super) fn of(name: &str) -> Option<Self> {
        let steps: Vec<&str> = name.strip_suffix(".yaml")?.split('/').collect();
        let (domain, event) = match steps.as_slice() {
            ["domains", domain, "domain"] | ["contracts", domain] => (*domain, None),
            ["domains" | "contracts", domain, event] => (*domain, Some((*event).to_owned())),
            _ => return None,
        };
        Some(Self { domain: domain.to_owned(), event })
    }
}

/// Whether the workspace has the older layout.
pub(super) fn is_older_layout(domains: &[ShownObject]) -> bool {
    domains.iter().any(|domain| domain.name.starts_with("contracts/"))
}

/// The names that the object of a domain, and one of its events, have.
pub(super) fn part_names(is_older: bool, domain: &str, event: &str) -> (String, String) {
    match is_older {
        true => (format!("contracts/{domain}.yaml"), format!("contracts/{domain}/{event}.yaml")),
        false => (format!("domains/{domain}/domain.yaml"), format!("domains/{domain}/{event}.yaml")),
    }
}

/// The objects of a kind that the reader may view.
pub(super) async fn parts(request: &PageRequest, kind: &str) -> Result<Vec<ShownObject>, PageRefusal> {
    let (mut found, mut cursor) = (Vec::new(), String::new());
    for _ in 0..PAGES_MAX {
        let fields = [("limit", PAGE), ("cursor", cursor.as_str())];
        let page: Objects = request.ask(&path::OBJECTS.replace("{kind}", kind), &fields).await?;
        found.extend(page.objects);
        match page.next {
            Some(next) => cursor = next,
            None => break,
        }
    }
    Ok(found)
}

/// What the newest records of the log have, by source.
pub(super) async fn traffic(request: &PageRequest, fields: &[(&str, &str)]) -> Result<ContractTraffic, PageRefusal> {
    let found: Option<ContractTraffic> = request.ask_if_there(path::CONTRACT_TRAFFIC, fields).await?;
    // Of a workspace that does not run here there is nothing.
    Ok(found.unwrap_or_default())
}

/// What arrived of one event, of all sources together.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct ArrivedEvent {
    pub(super) seen: u64,
    pub(super) violating: u64,
    pub(super) blocked: u64,
    /// Events by the keyword of the schema that does not hold.
    pub(super) kinds: BTreeMap<String, u64>,
    /// Since counting began, where that is counted by name.
    pub(super) total: Option<i64>,
    pub(super) first_at: Option<String>,
    pub(super) last_at: Option<String>,
}

impl ArrivedEvent {
    /// Of an event by its type and name.
    pub(super) fn of(traffic: &ContractTraffic, kind: &str, name: Option<&str>) -> Self {
        let mut arrived = Self::default();
        for source in &traffic.sources {
            for event in events_of(source, kind, name) {
                arrived.add(event);
            }
            let counted_as = if kind == "track" { name.map(str::to_owned) } else { Some(format!("({kind})")) };
            let is_counted = kind == "track" || name.is_none();
            let counted = counted_as.filter(|_| is_counted);
            for history in source.history.iter().filter(|one| Some(&one.name) == counted.as_ref()) {
                arrived.total = Some(arrived.total.unwrap_or(0).saturating_add(history.events));
                arrived.between(&history.first_at, &history.last_at);
            }
        }
        arrived
    }

    fn add(&mut self, event: &EventTraffic) {
        self.seen += event.seen;
        self.violating += event.violating;
        self.blocked += event.blocked;
        for finding in &event.findings {
            *self.kinds.entry(finding.keyword.clone()).or_default() += finding.events;
        }
        self.between(&event.first_at, &event.last_at);
    }

    /// Times are written alike, so that their texts have their order.
    fn between(&mut self, first_at: &str, last_at: &str) {
        if self.first_at.as_deref().is_none_or(|first| first_at < first) {
            self.first_at = Some(first_at.to_owned());
        }
        if self.last_at.as_deref().is_none_or(|last| last_at > last) {
            self.last_at = Some(last_at.to_owned());
        }
    }

    /// Of a hundred events, so many break their contract; with one digit behind the point.
    pub(super) fn share(&self) -> String {
        let tenths = self.violating.saturating_mul(1_000) / self.seen.max(1);
        format!("{}.{} %", tenths / 10, tenths % 10)
    }
}

/// The events of a source that a rule of this type and name is for: of a page or a screen without a name all.
pub(super) fn events_of<'t>(
    source: &'t SourceTraffic,
    kind: &'t str,
    name: Option<&'t str>,
) -> impl Iterator<Item = &'t EventTraffic> {
    let takes_all = name.is_none() || !matches!(kind, "track" | "page" | "screen");
    source
        .events
        .iter()
        .filter(move |event| event.kind == kind && event.declared && (takes_all || event.name.as_deref() == name))
}

/// A text of a spec; nothing where there is none.
pub(super) fn text<'s>(spec: &'s Value, field: &str) -> &'s str {
    spec[field].as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use tidegate_api_types::traffic::EventHistory;

    use super::*;

    #[test]
    fn a_part_is_placed_by_its_name_in_both_layouts() {
        let of = |name: &str| PartPlace::of(name).map(|place| (place.domain, place.event));
        assert_eq!(of("domains/shop/domain.yaml"), Some(("shop".to_owned(), None)));
        assert_eq!(of("domains/shop/sold.yaml"), Some(("shop".to_owned(), Some("sold".to_owned()))));
        assert_eq!(of("contracts/shop.yaml"), Some(("shop".to_owned(), None)));
        assert_eq!(of("contracts/shop/sold.yaml"), Some(("shop".to_owned(), Some("sold".to_owned()))));
        assert_eq!(of("domains/shop/components/price.yaml"), None);
        assert_eq!(of("domains/shop/sold.yml"), None);
    }

    #[test]
    fn what_arrived_of_an_event_is_the_sum_over_its_sources() {
        let event = EventTraffic {
            kind: "track".to_owned(),
            name: Some("Sold".to_owned()),
            seen: 8,
            declared: true,
            violating: 1,
            first_at: "2026-02-01".to_owned(),
            last_at: "2026-02-03".to_owned(),
            ..EventTraffic::default()
        };
        let history = EventHistory {
            name: "Sold".to_owned(),
            events: 90,
            first_at: "2026-01-01".to_owned(),
            last_at: "2026-02-02".to_owned(),
        };
        let source = SourceTraffic { events: vec![event], history: vec![history], ..SourceTraffic::default() };
        let traffic = ContractTraffic { sources: vec![source.clone(), source] };
        let arrived = ArrivedEvent::of(&traffic, "track", Some("Sold"));
        assert_eq!((arrived.seen, arrived.total, arrived.share().as_str()), (16, Some(180), "12.5 %"));
        assert_eq!((arrived.first_at.as_deref(), arrived.last_at.as_deref()), (Some("2026-01-01"), Some("2026-02-03")));
        assert_eq!(ArrivedEvent::of(&traffic, "track", Some("Else")), ArrivedEvent::default());
    }
}

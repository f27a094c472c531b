//! Tracking plans of Segment, RudderStack and Avo.

use serde_json::Value;
use tidegate_event::EventKind;

use super::parts::{EventDraft, PlanDraft, PlanFile};

/// The component of what a plan of Segment asks of every event.
const SHARED: &str = "every-event";

/// Segment: `{"data": {"rules": [{"type": "TRACK", "key", "jsonSchema", "version"}], "pagination"}}` of the Public API, or
/// `{"rules": {"events": [{"name", "description", "rules", "version"}], "identify", "group", "global"}}` of the older Config API.
pub(super) fn segment(file: &PlanFile, draft: &mut PlanDraft) {
    let (value, top) = match file.value.get("data") {
        Some(data) => (data, "/data"),
        None => (&file.value, ""),
    };
    let plan = value.get("trackingPlan").unwrap_or(value);
    draft.called(text(plan, "name").or_else(|| text(plan, "display_name")));
    if value.get("pagination").and_then(|pages| text(pages, "next")).is_some() {
        let lost =
            "the list has more pages than this file: ask the API with `pagination.count` for all, or import each page";
        draft.lose(file, &format!("{top}/pagination/next"), lost);
    }
    match value.get("rules") {
        Some(Value::Array(rules)) => {
            let mut shared: Option<(&Value, String)> = None;
            for (at, rule) in rules.iter().enumerate() {
                let pointer = format!("{top}/rules/{at}");
                match text(rule, "type") {
                    Some("COMMON") => {
                        if let Some((_, before)) = shared.replace((rule, pointer)) {
                            draft.lose(file, &before, "what the rule asks of every event: a later rule counts");
                        }
                    }
                    _ => segment_rule(file, rule, &pointer, draft),
                }
            }
            if let Some((rule, pointer)) = shared
                && let Some(schema) = rule.get("jsonSchema")
            {
                draft.share(SHARED, schema, (file, format!("{pointer}/jsonSchema").as_str()));
            }
        }
        Some(rules @ Value::Object(_)) => segment_config(file, rules, &format!("{top}/rules"), draft),
        _ => draft.lose(file, top, "there are no `rules` here, as a tracking plan of Segment has them"),
    }
}

fn segment_rule(file: &PlanFile, rule: &Value, pointer: &str, draft: &mut PlanDraft) {
    let word = text(rule, "type").unwrap_or("TRACK").to_lowercase();
    let Some(kind) = EventKind::parse(&word) else {
        draft.lose(file, &format!("{pointer}/type"), format!("rules of the type {word:?}"));
        return;
    };
    let Some(schema) = rule.get("jsonSchema") else {
        draft.lose(file, pointer, "a rule without a `jsonSchema`");
        return;
    };
    if text(rule, "deprecatedAt").is_some() {
        draft.lose(
            file,
            &format!("{pointer}/deprecatedAt"),
            "that the event is deprecated: it is declared like any other",
        );
    }
    let number = rule.get("version").and_then(Value::as_u64).unwrap_or(1);
    draft.add(EventDraft {
        kind,
        name: text(rule, "key").map(str::to_owned),
        version: vec![number],
        version_text: number.to_string(),
        description: text(schema, "description").map(str::to_owned),
        schema,
        at: (file, format!("{pointer}/jsonSchema")),
    });
}

fn segment_config(file: &PlanFile, rules: &Value, top: &str, draft: &mut PlanDraft) {
    for (at, event) in rules.get("events").and_then(Value::as_array).into_iter().flatten().enumerate() {
        let pointer = format!("{top}/events/{at}");
        let Some(schema) = event.get("rules") else {
            draft.lose(file, &pointer, "an event without `rules`");
            continue;
        };
        let number = event.get("version").and_then(Value::as_u64).unwrap_or(1);
        draft.add(EventDraft {
            kind: EventKind::Track,
            name: text(event, "name").map(str::to_owned),
            version: vec![number],
            version_text: number.to_string(),
            description: text(event, "description").map(str::to_owned),
            schema,
            at: (file, format!("{pointer}/rules")),
        });
    }
    for (word, kind) in [("identify", EventKind::Identify), ("group", EventKind::Group)] {
        if let Some(schema) = rules.get(word).filter(|schema| schema.as_object().is_some_and(|map| !map.is_empty())) {
            let at = (file, format!("{top}/{word}"));
            draft.add(EventDraft {
                kind,
                name: None,
                version: vec![1],
                version_text: "1".to_owned(),
                description: None,
                schema,
                at,
            });
        }
    }
    if let Some(schema) = rules.get("global").filter(|schema| schema.as_object().is_some_and(|map| !map.is_empty())) {
        draft.share(SHARED, schema, (file, format!("{top}/global").as_str()));
    }
    for word in ["identify_traits", "group_traits"] {
        if rules.get(word).and_then(Value::as_array).is_some_and(|traits| !traits.is_empty()) {
            let lost = format!("`{word}`, names of traits without a schema");
            draft.lose(file, &format!("{top}/{word}"), lost);
        }
    }
}

/// RudderStack: `{"name", "events": [{"name", "description", "eventType", "identitySection", "rules"}]}`.
pub(super) fn rudderstack(file: &PlanFile, draft: &mut PlanDraft) {
    let value = &file.value;
    draft.called(text(value, "name"));
    let nested = value.get("rules").and_then(|rules| rules.get("events"));
    let (events, top) = match (value.get("events").or_else(|| value.get("data")), nested) {
        (Some(Value::Array(events)), _) if value.get("events").is_some() => (events, "/events"),
        (Some(Value::Array(events)), _) => (events, "/data"),
        (_, Some(Value::Array(events))) => (events, "/rules/events"),
        _ => {
            draft.lose(file, "", "there are no `events` here, as a tracking plan of RudderStack has them");
            return;
        }
    };
    for setting in ["config", "sourceConfig", "connections"] {
        if value.get(setting).is_some_and(|found| !found.is_null()) {
            let lost = format!(
                "`{setting}`: say what becomes of violations with onUndeclaredSchema, onUndeclaredFields and onSchemaViolation"
            );
            draft.lose(file, &format!("/{setting}"), lost);
        }
    }
    for (at, event) in events.iter().enumerate() {
        let pointer = format!("{top}/{at}");
        let word = text(event, "eventType").or_else(|| text(event, "type")).unwrap_or("track").to_lowercase();
        let Some(kind) = EventKind::parse(&word) else {
            draft.lose(file, &format!("{pointer}/eventType"), format!("events of the type {word:?}"));
            continue;
        };
        let Some(schema) = event.get("rules") else {
            draft.lose(file, &pointer, "an event without `rules`");
            continue;
        };
        if event.get("categoryId").is_some_and(|category| !category.is_null()) {
            draft.lose(file, &format!("{pointer}/categoryId"), "the category of the event");
        }
        draft.add(EventDraft {
            kind,
            name: text(event, "name")
                .filter(|_| kind != EventKind::Identify && kind != EventKind::Group)
                .map(str::to_owned),
            version: vec![1],
            version_text: String::new(),
            description: text(event, "description").map(str::to_owned),
            schema,
            at: (file, format!("{pointer}/rules")),
        });
    }
}

/// Avo: `{"name", "events": [{"id", "name", "description", "actions", "sources", "rules"}]}`, where the rules are over an envelope of
/// Avo's own: `{"properties": {"name": …, "properties": {…}}}`.
pub(super) fn avo(file: &PlanFile, draft: &mut PlanDraft) {
    let value = &file.value;
    draft.called(text(value, "name"));
    let Some(events) = value.get("events").and_then(Value::as_array) else {
        draft.lose(file, "", "there are no `events` here, as an export of Avo has them");
        return;
    };
    for (at, event) in events.iter().enumerate() {
        let pointer = format!("/events/{at}");
        let Some(rules) = event.get("rules") else {
            draft.lose(file, &pointer, "an event without `rules`");
            continue;
        };
        let actions: Vec<&str> =
            event.get("actions").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        let kind = if actions.contains(&"page") { EventKind::Page } else { EventKind::Track };
        for action in actions.iter().filter(|action| !["page", "logEvent", "skipLogEvent"].contains(*action)) {
            let lost = format!("the action {action:?}: declare the event that your code sends for it by itself");
            draft.lose(file, &format!("{pointer}/actions"), lost);
        }
        if event.get("sources").and_then(Value::as_array).is_some_and(|sources| !sources.is_empty()) {
            let lost = "which sources send the event: `sources` of domain.yaml says it for all events of a domain";
            draft.lose(file, &format!("{pointer}/sources"), lost);
        }
        for part in ["userProperties", "groups", "systemProperties"] {
            if rules.get("properties").and_then(|parts| parts.get(part)).is_some() {
                draft.lose(file, &format!("{pointer}/rules/properties/{part}"), format!("`{part}` of the event"));
            }
        }
        let inner = rules.get("properties").and_then(|parts| parts.get("properties"));
        let (schema, place) = match inner.filter(|inner| inner.get("properties").is_some()) {
            Some(inner) => (inner, format!("{pointer}/rules/properties/properties")),
            None => (rules, format!("{pointer}/rules")),
        };
        draft.add(EventDraft {
            kind,
            name: text(event, "name").map(str::to_owned),
            version: vec![1],
            version_text: String::new(),
            description: text(event, "description").map(str::to_owned),
            schema,
            at: (file, place),
        });
    }
}

fn text<'v>(value: &'v Value, field: &str) -> Option<&'v str> {
    value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty())
}

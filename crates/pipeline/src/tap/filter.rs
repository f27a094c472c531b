//! Which steps somebody wants to see.

use std::collections::BTreeSet;

use tidegate_event::value::Value;
use tidegate_event::{Event, EventKind};

use super::step::TapStage;

/// Which steps somebody wants to see; each condition that is there must hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TapFilter {
    pub source: Option<String>,
    pub sync: Option<String>,
    /// The name of a track, a page or a screen, or the kind of any other event.
    pub event: Option<String>,
    pub kind: Option<EventKind>,
    /// The `userId` or the `anonymousId`.
    pub user: Option<String>,
    /// The steps of a JSON pointer, and the text of the value there.
    pub place: Option<(Vec<String>, String)>,
    /// Every step, and not only how events enter, or reach the sync that is named.
    pub has_steps: bool,
    /// Of these sources alone; of all where there is none.
    pub sources: Option<BTreeSet<String>>,
    /// Of the steps on the way of a sync, those of these syncs alone; of all where there is none.
    pub syncs: Option<BTreeSet<String>>,
}

impl TapFilter {
    /// Whether steps of this part of the way are wanted, of some events.
    pub(super) fn wants(&self, stage: &TapStage) -> bool {
        let is_stage_wanted = match (stage, &self.sync) {
            (TapStage::Accepted, None) => true,
            (TapStage::Accepted, Some(_)) | (TapStage::Function { sync: None, .. }, _) => self.has_steps,
            (TapStage::Function { sync: Some(_), .. } | TapStage::Sync(_), None) => self.has_steps,
            (TapStage::Function { sync: Some(of), .. }, Some(wanted)) => self.has_steps && **of == **wanted,
            (TapStage::Sync(of), Some(wanted)) => **of == **wanted,
        };
        let is_of_syncs = |syncs: &BTreeSet<String>| stage.sync().is_none_or(|sync| syncs.contains(sync));
        is_stage_wanted && self.syncs.as_ref().is_none_or(is_of_syncs)
    }

    /// Whether the event is one of those.
    pub(super) fn fits(&self, event: &Event) -> bool {
        self.source.as_deref().is_none_or(|source| *source == *event.source)
            && self.sources.as_ref().is_none_or(|sources| sources.contains(&*event.source))
            && self.kind.is_none_or(|kind| kind == event.kind)
            && self.event.as_deref().is_none_or(|name| event.name().unwrap_or(event.kind.as_str()) == name)
            && self.user.as_deref().is_none_or(|user| is_of_user(event, user))
            && self.place.as_ref().is_none_or(|(steps, text)| has_value(event, steps, text))
    }
}

/// Whether an event is of a user, by one of its two ids.
#[must_use]
pub fn is_of_user(event: &Event, user: &str) -> bool {
    ["userId", "anonymousId"].into_iter().any(|field| event.id(field) == Some(user))
}

fn has_value(event: &Event, steps: &[String], text: &str) -> bool {
    let Some((first, rest)) = steps.split_first() else { return false };
    let found =
        event.body.get(first.as_str()).and_then(|value| rest.iter().try_fold(value, |value, step| inner(value, step)));
    match found {
        Some(Value::String(found)) => found == text,
        Some(found) => {
            let spelled = found.to_string();
            spelled == text
        }
        None => false,
    }
}

fn inner<'v>(value: &'v Value, step: &str) -> Option<&'v Value> {
    match value {
        Value::Object(fields) => fields.get(step),
        Value::Array(items) => items.get(step.parse::<usize>().ok()?),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use tidegate_event::{EventId, Position};

    use super::*;

    #[test]
    fn a_listener_gets_what_it_asks_for() {
        let body = r#"{"event":"Paid","userId":"ann","properties":{"a/b":[{"n":1.50}],"plan":"pro"}}"#;
        let of = Event {
            source: "web".into(),
            id: EventId::new(Position::new(0, 1), 0),
            kind: EventKind::Track,
            received_at_us: 1,
            body: body.parse().unwrap(),
        };
        let function = |sync: Option<&str>| TapStage::Function { name: "f".to_owned(), sync: sync.map(Arc::from) };
        let text = |text: &str| Some(text.to_owned());
        let place = |steps: &[&str], text: &str| {
            let steps: Vec<String> = steps.iter().map(|step| (*step).to_owned()).collect();
            TapFilter { place: Some((steps, text.to_owned())), ..TapFilter::default() }
        };
        let plain = TapFilter::default();
        let steps = TapFilter { has_steps: true, ..TapFilter::default() };
        let crm = TapFilter { sync: text("crm"), ..TapFilter::default() };
        let crm_steps = TapFilter { has_steps: true, ..crm.clone() };
        let stages = [
            TapStage::Accepted,
            function(None),
            function(Some("crm")),
            function(Some("b")),
            TapStage::Sync("crm".into()),
            TapStage::Sync("b".into()),
        ];
        for (filter, wanted) in [
            (&plain, [true, false, false, false, false, false]),
            (&steps, [true; 6]),
            (&crm, [false, false, false, false, true, false]),
            (&crm_steps, [true, true, true, false, true, false]),
        ] {
            assert_eq!(stages.each_ref().map(|stage| filter.wants(stage)), wanted, "{filter:?}");
        }
        let of_crm = TapFilter { syncs: Some(BTreeSet::from(["crm".to_owned()])), has_steps: true, ..plain.clone() };
        let wanted = [true, true, true, false, true, false];
        assert_eq!(stages.each_ref().map(|stage| of_crm.wants(stage)), wanted, "no step of another sync");
        for (filter, wanted) in [
            (TapFilter { source: text("web"), ..TapFilter::default() }, true),
            (TapFilter { source: text("app"), ..TapFilter::default() }, false),
            (TapFilter { sources: Some(BTreeSet::new()), ..TapFilter::default() }, false),
            (TapFilter { event: text("Paid"), ..TapFilter::default() }, true),
            (TapFilter { event: text("paid"), ..TapFilter::default() }, false),
            (TapFilter { kind: Some(EventKind::Track), ..TapFilter::default() }, true),
            (TapFilter { kind: Some(EventKind::Page), ..TapFilter::default() }, false),
            (TapFilter { user: text("ann"), ..TapFilter::default() }, true),
            (TapFilter { user: text("bob"), ..TapFilter::default() }, false),
            (place(&["properties", "plan"], "pro"), true),
            (place(&["properties", "a/b", "0", "n"], "1.50"), true),
            (place(&["properties", "a/b", "1", "n"], "1.50"), false),
            (place(&["properties", "plan", "x"], "pro"), false),
            (place(&[], ""), false),
        ] {
            assert_eq!(filter.fits(&of), wanted, "{filter:?}");
        }
    }
}

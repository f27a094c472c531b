//! What events say of consent: `context.consent.categoryPreferences`.

use std::collections::BTreeSet;

use tidegate_event::Event;
use tidegate_event::value::{JsonObject, Value};
use tidegate_state::{RefineStage, StateError};

/// What an event says of the categories of consent that it names.
pub(crate) fn preferences(body: &JsonObject) -> Option<&JsonObject> {
    body.get("context")?.get("consent")?.get("categoryPreferences")?.as_object()
}

/// Whether `value` is `truth`, or its text: the values of a pixel are texts.
pub(crate) fn says(value: &Value, truth: bool) -> bool {
    match value {
        Value::Bool(is) => *is == truth,
        Value::String(text) => text.eq_ignore_ascii_case(if truth { "true" } else { "false" }),
        _ => false,
    }
}

/// Keeps what an event says of these categories, in the transaction of its log range: what waits for a sync is held against it.
pub(crate) fn note(
    stage: &mut RefineStage<'_>,
    event: &Event,
    categories: &BTreeSet<String>,
) -> Result<(), StateError> {
    if categories.is_empty() {
        return Ok(());
    }
    let Some(preferences) = preferences(&event.body) else { return Ok(()) };
    let told = categories.iter().filter_map(|category| Some((category.as_str(), preferences.get(category)?)));
    let said: Vec<(&str, bool)> = told.map(|(category, preference)| (category, says(preference, true))).collect();
    if said.is_empty() {
        return Ok(());
    }
    stage.say_consents(&event.body, &said, event.received_at_us)
}

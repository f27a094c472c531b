//! What a server would quarantine of what a function answered: an event that is no event any more.

use tidegate_event::decode::{self, DecodeRefusal, KEPT};
use tidegate_event::record::Record;
use tidegate_event::value::JsonObject;
use tidegate_event::{Event, Position};
use tidegate_wasm::function::Outcome;

/// The event of a fixture as a server would have it; `None` when a server would take no event from this text.
fn parent(text: &str, now_ms: u64) -> Option<Event> {
    let received_at_us = i64::try_from(now_ms).ok()?.checked_mul(1_000)?;
    let record = Record {
        problem: None,
        route: None,
        received_at_us,
        source: "fixture",
        ip: "",
        message_id: "fixture",
        sent_at: "",
        context: b"",
        integrations: b"",
        event: text.as_bytes(),
    };
    decode::decode(&record, "fixture".into(), Position::default()).ok()
}

fn said(index: usize, refusal: &DecodeRefusal) -> String {
    format!("what came of event {index} would be quarantined: {}: {}", refusal.code, refusal.message)
}

/// The refusals of what a function made of `events`.
pub(super) fn of_outcomes(events: &[String], outcomes: &[Outcome], now_ms: u64) -> Vec<String> {
    let mut refused = Vec::new();
    for (index, (text, outcome)) in events.iter().zip(outcomes).enumerate() {
        let texts: &[String] = match outcome {
            Outcome::Replace(text) => std::slice::from_ref(text),
            Outcome::Emit(texts) => texts,
            _ => continue,
        };
        let Some(parent) = parent(text, now_ms) else { continue };
        let found = texts.iter().find_map(|text| decode::revised(text, &parent, 0).err());
        refused.extend(found.map(|refusal| said(index, &refusal)));
    }
    refused
}

/// The same for an event that was edited in place. What the input itself lacks, the server would have put there.
pub(super) fn of_edit(index: usize, text: &str, body: &JsonObject, now_ms: u64) -> Option<String> {
    let parent = parent(text, now_ms)?;
    let input: JsonObject = text.parse().unwrap_or_default();
    let mut body = body.clone();
    for field in KEPT.into_iter().filter(|field| !input.contains_key(field)) {
        if let Some(value) = parent.body.get(field) {
            body.entry(field).or_insert_with(|| value.clone());
        }
    }
    // The server stamps the time of arrival over what a client says.
    body.insert("receivedAt", parent.body.get("receivedAt").cloned().unwrap_or_default());
    decode::edited(body, &parent).err().map(|(refusal, _)| said(index, &refusal))
}

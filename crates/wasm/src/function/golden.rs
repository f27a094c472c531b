//! How outcomes, plans and verdicts are spelled in fixtures.

use base64::Engine as _;
use serde_json::{Map, Value, json};
use tidegate_event::value::JsonObject;

use super::Outcome;
use crate::{CallFailure, CallStage, DeliveryVerdict, GuestPlan, GuestRequest, GuestResponse, Mark};

/// The time that a plugin sees in its tests, so that golden outputs stay golden: 2026-01-01T00:00:00Z.
pub const NOW_MS: u64 = 1_767_225_600_000;

/// What is no JSON stays visible as the text that it is.
fn event(text: &String) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| json!({ "not-json": text }))
}

/// What became of one event, without the words that explain it.
#[must_use]
pub fn outcome(outcome: &Outcome) -> Value {
    match outcome {
        // An edited event is shown by whoever has it.
        Outcome::Keep | Outcome::Edited => json!({ "keep": true }),
        Outcome::Replace(text) => json!({ "replace": event(text) }),
        Outcome::Emit(texts) => json!({ "emit": texts.iter().map(event).collect::<Vec<_>>() }),
        Outcome::Drop(reason) => json!({ "drop": reason }),
        Outcome::Fail { code, .. } => json!({ "fail": { "code": code } }),
        Outcome::Error { code, .. } => json!({ "error": { "code": code.as_str() } }),
    }
}

/// The same for an event that was edited in place.
#[must_use]
pub fn mark(mark: &Mark, event: &JsonObject) -> Value {
    match mark {
        Mark::Untouched => json!({ "keep": true }),
        Mark::Edited => json!({ "replace": event }),
        Mark::Dropped(reason) => json!({ "drop": reason }),
        Mark::Failed(code, _) => json!({ "fail": { "code": code } }),
    }
}

fn request(request: &GuestRequest) -> Value {
    let headers: Map<String, Value> =
        request.headers.iter().map(|(name, value)| (name.to_ascii_lowercase(), value.as_str().into())).collect();
    let mut shown = json!({"method": request.method.as_str(), "url": request.url, "headers": headers,
        "body": body(&request.body), "events": request.events});
    if !request.tag.is_empty() {
        shown["tag"] = request.tag.as_str().into();
    }
    shown
}

/// JSON as JSON, other text as text, and bytes that are no text as base 64.
fn body(bytes: &[u8]) -> Value {
    if bytes.is_empty() {
        return Value::Null;
    }
    if let Ok(value @ (Value::Object(_) | Value::Array(_))) = serde_json::from_slice(bytes) {
        return value;
    }
    match std::str::from_utf8(bytes) {
        Ok(text) => text.into(),
        Err(_) => json!({ "base64": base64::prelude::BASE64_STANDARD.encode(bytes) }),
    }
}

/// The requests that a destination wants sent, and what it left out.
#[must_use]
pub fn plan(plan: &GuestPlan) -> Value {
    let skipped = plan.skipped.iter().map(|(event, reason)| json!({"event": event, "reason": reason}));
    let failed = plan.failed.iter().map(|(event, guest_error)| json!({"event": event, "code": guest_error.code}));
    json!({
        "requests": plan.requests.iter().map(request).collect::<Vec<_>>(),
        "skipped": skipped.collect::<Vec<_>>(),
        "failed": failed.collect::<Vec<_>>(),
    })
}

/// What a destination makes of an answer.
#[must_use]
pub fn verdict(verdict: &DeliveryVerdict) -> Value {
    match verdict {
        DeliveryVerdict::Delivered => "delivered".into(),
        DeliveryVerdict::Reauthenticate => "reauthenticate".into(),
        DeliveryVerdict::Retry(after) => json!({ "retry": after.map(|after| after.as_millis() as u64) }),
        DeliveryVerdict::Rejected(guest_error) => json!({ "rejected": guest_error.code }),
        DeliveryVerdict::Partial(events) => json!({ "partial": events }),
        DeliveryVerdict::Disable(guest_error) => json!({ "disable": guest_error.code }),
        DeliveryVerdict::Bisect(guest_error) => json!({ "bisect": guest_error.code }),
    }
}

/// A recorded response, as `*.responses.json` has it.
#[must_use]
pub fn response(recorded: &Value) -> GuestResponse {
    let headers = recorded["headers"].as_object().into_iter().flatten();
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    GuestResponse {
        status: recorded["status"].as_u64().and_then(|status| u16::try_from(status).ok()).unwrap_or(200),
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase(), text(value))).collect(),
        body: if recorded["body"].is_null() { Vec::new() } else { text(&recorded["body"]).into_bytes() },
        attempt: recorded["attempt"].as_u64().and_then(|attempt| u32::try_from(attempt).ok()).unwrap_or(1),
    }
}

/// Code and message of a call without an answer.
#[must_use]
pub fn said(failure: &CallFailure) -> (String, String) {
    match failure {
        CallFailure::Stopped { stop_reason, stage, message } => {
            let when = match stage {
                CallStage::Instantiate => "while being started: ",
                CallStage::Configure => "while being configured: ",
                CallStage::Transform => "",
            };
            (stop_reason.as_str().to_owned(), format!("{when}{message}"))
        }
        CallFailure::Configure(guest_error) => ("configure-failed".to_owned(), guest_error.to_string()),
        CallFailure::Retryable(guest_error, _) | CallFailure::Fatal(guest_error) => {
            ("batch-fatal".to_owned(), guest_error.to_string())
        }
    }
}

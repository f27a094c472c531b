mod heap;

use exports::tidegate::plugin::destination::{
    self, BatchError, Failed, Method, Plan, Request, Response, Skipped, Verdict,
};
use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use serde_json::{Value, json};
use tidegate::plugin::types::ErrorKind;

wit_bindgen::generate!({ path: "wit", world: "destination-plugin" });

#[global_allocator]
static HEAP: heap::Heap = heap::Heap::new();

struct Plugin;

impl lifecycle::Guest for Plugin {
    fn configure(_setup: Setup) -> Result<(), PluginError> {
        Ok(())
    }
}

impl destination::Guest for Plugin {
    fn prepare(batch: Vec<String>) -> Result<Plan, BatchError> {
        let mut plan = Plan { requests: Vec::new(), skipped: Vec::new(), failed: Vec::new() };
        let (mut carried, mut bodies) = (Vec::new(), Vec::new());
        for (index, text) in (0..).zip(&batch) {
            match body(text) {
                Ok(Some(body)) => {
                    carried.push(index);
                    bodies.push(body);
                }
                Ok(None) => plan.skipped.push(Skipped { event: index, reason: "not-tracked".to_owned() }),
                Err(error) => plan.failed.push(Failed { event: index, error }),
            }
        }
        if !carried.is_empty() {
            plan.requests.push(Request {
                method: Method::Post,
                url: "https://api.example.com/v1/events".to_owned(),
                headers: vec![("content-type".to_owned(), "application/json".to_owned())],
                body: json!({ "events": bodies }).to_string().into_bytes(),
                events: carried,
                tag: String::new(),
            });
        }
        Ok(plan)
    }

    /// What most APIs mean by their status codes.
    fn classify(_tag: String, _events: Vec<u32>, response: Response) -> Verdict {
        let header = |wanted: &str| {
            let found = response.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
            found.map(|(_, value)| value.as_str())
        };
        match response.status {
            200..=299 => Verdict::Delivered,
            401 => Verdict::Reauthenticate,
            408 | 425 | 429 | 500.. => {
                let seconds = header("retry-after").and_then(|value| value.parse::<u32>().ok());
                Verdict::Retry(seconds.map(|seconds| seconds.saturating_mul(1000)))
            }
            status => {
                let message = String::from_utf8_lossy(&response.body).into_owned();
                Verdict::Rejected(complaint(&format!("http-{status}"), &message))
            }
        }
    }
}

/// What the API wants to know of an event; nothing when it is none of its business.
fn body(text: &str) -> Result<Option<Value>, PluginError> {
    let event: Value = serde_json::from_str(text).map_err(|error| complaint("no-json", &error.to_string()))?;
    if event["type"] != "track" {
        return Ok(None);
    }
    let Some(user) = event["userId"].as_str() else {
        return Err(complaint("missing-user", "Example knows users by their userId"));
    };
    let properties = if event["properties"].is_null() { json!({}) } else { event["properties"].clone() };
    Ok(Some(json!({
        "id": event["messageId"], "name": event["event"], "user": user, "at": event["timestamp"],
        "properties": properties,
    })))
}

fn complaint(code: &str, message: &str) -> PluginError {
    PluginError { kind: ErrorKind::InvalidEvent, code: code.to_owned(), message: message.to_owned() }
}

export!(Plugin);

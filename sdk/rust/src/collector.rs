//! Forwarding to a collector that speaks the Segment batch format: Segment, RudderStack, Hightouch, another Tidegate.

use serde_json::Value;

use crate::delivery::{Plan, Refusal, Request, join};
use crate::event::{self, Event};

/// What is around the events of a request.
const AROUND_BYTES: usize = 100;

/// What a collector takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Collector {
    pub url: String,
    /// Of one event, in JSON.
    pub event_bytes_max: usize,
    /// Of a request.
    pub request_bytes_max: usize,
    /// Of a request.
    pub events_max: usize,
}

impl Collector {
    /// Whether a request has room for an event of the largest size.
    pub const fn fits(&self) -> bool {
        self.request_bytes_max >= self.event_bytes_max + AROUND_BYTES
    }

    /// As few requests as the limits allow, the events in their order. `check` may refuse an event.
    pub fn plan(&self, batch: &[String], check: impl Fn(&Event) -> Result<(), Refusal>) -> Plan {
        let mut plan = Plan::default();
        let entries = plan.records(batch, |event| {
            check(&event)?;
            let event = outgoing(event)?.to_string();
            if event.len() > self.event_bytes_max {
                return Err(Refusal::fail("too-large", format!("the event has {} bytes", event.len())));
            }
            Ok(event)
        });
        for chunk in plan.chunks(entries, self.events_max, self.request_bytes_max.saturating_sub(AROUND_BYTES)) {
            let (events, places) = join(chunk, ",");
            plan.requests.push(Request::json(&self.url, format!(r#"{{"batch":[{events}]}}"#), places));
        }
        plan
    }
}

/// The event as a collector gets it: as it came, with ids as text, and with the same `timestamp` for the receiver however
/// long it waited.
///
/// A receiver computes `timestamp` as its own time of receipt - (`sentAt` - `originalTimestamp`), where the wait would count
/// as if the event had happened later. So `originalTimestamp` is the `timestamp`, and there is no `sentAt`.
///
/// # Errors
/// An event without a user.
fn outgoing(mut event: Event) -> Result<Value, Refusal> {
    if event::user(&event).is_none() {
        return Err(Refusal::fail("no-user", "collectors need `userId` or `anonymousId`"));
    }
    for name in ["userId", "anonymousId", "groupId", "previousId", "messageId"] {
        match event::id(event.get(name)) {
            Some(id) => event.insert(name.to_owned(), Value::from(id)),
            // Blank, or no id at all.
            None => event.remove(name),
        };
    }
    if event::time(&event).is_some() {
        event.remove("sentAt");
        if let Some(timestamp) = event.get("timestamp").cloned() {
            event.insert("originalTimestamp".to_owned(), timestamp);
        }
    }
    // The far side stamps the time of its own receipt.
    event.remove("receivedAt");
    Ok(Value::Object(event))
}

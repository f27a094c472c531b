use serde_json::json;
use tidegate_sdk::delivery::{classify_by_status, join};
use tidegate_sdk::{Context, Destination, Event, Plan, Refusal, Request, Response, Verdict, event};

/// The limits of the API.
const EVENTS_MAX: usize = 100;
const BYTES_MAX: usize = 500_000;

struct Plugin;

impl Destination for Plugin {
    fn configure(_settings_json: &str) -> Result<Self, String> {
        Ok(Self)
    }

    fn prepare(&self, batch: &[String], _context: Context) -> Plan {
        let mut plan = Plan::default();
        let records = plan.records(batch, |event| record(&event));
        for chunk in plan.chunks(records, EVENTS_MAX, BYTES_MAX) {
            let (records, carried) = join(chunk, ",");
            let body = format!(r#"{{"events":[{records}]}}"#);
            plan.requests.push(Request::json("https://api.example.com/v1/events", body, carried));
        }
        plan
    }

    /// What most APIs mean by their status codes; write your own when this one means something else.
    fn classify(&self, _tag: &str, _events: &[u32], response: &Response) -> Verdict {
        classify_by_status(response)
    }
}

/// What the API wants to know of an event.
fn record(event: &Event) -> Result<String, Refusal> {
    if event::kind(event) != "track" {
        return Err(Refusal::skip("not-tracked"));
    }
    let Some(user) = event::user_id(event) else {
        return Err(Refusal::fail("missing-user", "Example knows users by their userId"));
    };
    let record = json!({
        "id": event.get("messageId"), "name": event.get("event"), "user": user, "at": event.get("timestamp"),
        "properties": event::properties(event),
    });
    Ok(record.to_string())
}

tidegate_sdk::destination!(crate::Plugin, "wit");

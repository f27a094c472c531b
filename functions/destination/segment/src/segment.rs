//! Events in Segment's own format, in requests of the size that Segment takes.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::plan::{Failure, Plan, Request, Verdict, excerpt, retry_after_ms};

/// Of one event.
const EVENT_BYTES_MAX: usize = 32 * 1024;
/// Of a request, with room for what is around the events.
const REQUEST_BYTES_MAX: usize = 500_000 - 100;
const EVENTS_MAX: usize = 2_500;

#[derive(Debug, Deserialize)]
pub struct Settings {
    #[serde(default)]
    region: Region,
}

#[derive(Debug, Clone, Copy, Default, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Region {
    #[default]
    Us,
    Eu,
}

impl Settings {
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(json: &str) -> Result<Self, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    const fn url(&self) -> &'static str {
        match self.region {
            Region::Us => "https://api.segment.io/v1/batch",
            Region::Eu => "https://events.eu1.segmentapis.com/v1/batch",
        }
    }
}

enum Fate {
    Sent(String),
    Skipped(String),
    Failed(Failure),
}

/// As few requests as Segment's limits allow.
pub fn prepare(batch: &[String], settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let (mut open, mut bytes): (Vec<(u32, String)>, usize) = (Vec::new(), 0);
    for (position, text) in (0..).zip(batch) {
        match fate(text) {
            Fate::Sent(event) => {
                if bytes + event.len() >= REQUEST_BYTES_MAX || open.len() == EVENTS_MAX {
                    plan.requests.extend(request(&mut open, settings));
                    bytes = 0;
                }
                bytes += event.len() + 1;
                open.push((position, event));
            }
            Fate::Skipped(reason) => plan.skipped.push((position, reason)),
            Fate::Failed(failure) => plan.failed.push((position, failure)),
        }
    }
    plan.requests.extend(request(&mut open, settings));
    plan
}

fn fate(text: &str) -> Fate {
    let failed = |code, message: &str| Fate::Failed(Failure::new(code, message));
    let Ok(mut event) = serde_json::from_str::<Map<String, Value>>(text) else {
        return failed("not-an-object", "the event is no JSON object");
    };
    let text_at = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text_at("type").unwrap_or_default();
    match kind {
        "track" if text_at("event").is_none() => return failed("no-event-name", "a track event needs `event`"),
        "group" if text_at("groupId").is_none() => return failed("no-group-id", "a group event needs `groupId`"),
        "alias" if text_at("previousId").is_none() => return failed("no-previous-id", "an alias needs `previousId`"),
        "track" | "identify" | "page" | "screen" | "group" | "alias" => {}
        other => return Fate::Skipped(format!("Segment has no type {other:?}")),
    }
    if text_at("userId").is_none() && text_at("anonymousId").is_none() {
        return failed("no-user", "Segment needs `userId` or `anonymousId`");
    }
    // Segment stamps the time of its own receipt.
    event.remove("receivedAt");
    let event = Value::Object(event).to_string();
    if event.len() > EVENT_BYTES_MAX {
        return failed("too-large", "Segment takes events of up to 32 KiB");
    }
    Fate::Sent(event)
}

fn request(open: &mut Vec<(u32, String)>, settings: &Settings) -> Option<Request> {
    let (events, texts): (Vec<u32>, Vec<String>) = open.drain(..).unzip();
    if events.is_empty() {
        return None;
    }
    Some(Request {
        url: settings.url().to_owned(),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: format!(r#"{{"batch":[{}]}}"#, texts.join(",")),
        events,
    })
}

/// What an answer means. Segment takes or refuses a request as a whole.
pub fn classify(_events: &[u32], status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    let failure = |code: &str| Failure::new(code, format!("Segment answered {status}: {}", excerpt(body)));
    match status {
        200..=299 => Verdict::Delivered,
        408 | 429 | 500..=599 => Verdict::Retry(retry_after_ms(headers)),
        401 | 403 => Verdict::Disable(failure("wrong-write-key")),
        413 => Verdict::Rejected(failure("too-large")),
        _ => Verdict::Rejected(failure("refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(batch: &[String]) -> Plan {
        prepare(batch, &Settings::parse(r#"{"write_key":"{{secret.write_key}}"}"#).unwrap())
    }

    #[test]
    fn numbers_and_unknown_fields_survive_and_receivedat_goes() {
        let event = r#"{"type":"track","event":"A","userId":"u","n":1.50,"receivedAt":"2026-03-01T12:30:45Z","z":{}}"#;
        let body = &plan(&[event.to_owned()]).requests[0].body;
        assert_eq!(body, r#"{"batch":[{"event":"A","n":1.50,"type":"track","userId":"u","z":{}}]}"#);
    }

    #[test]
    fn requests_stay_within_the_limits_and_carry_every_event_once() {
        let event = |bytes: usize| format!(r#"{{"type":"page","userId":"u","p":"{}"}}"#, "x".repeat(bytes));
        let batch: Vec<String> = (0..60).map(|_| event(30_000)).chain([event(40_000)]).collect();
        let plan = plan(&batch);
        assert_eq!(plan.failed[0].0, 60);
        assert!(plan.requests.len() > 1 && plan.requests.iter().all(|request| request.body.len() <= 500_000));
        let carried: Vec<u32> = plan.requests.iter().flat_map(|request| request.events.clone()).collect();
        assert_eq!(carried, (0..60).collect::<Vec<u32>>());
        let many: Vec<String> = (0..2_501).map(|_| event(1)).collect();
        assert_eq!(prepare(&many, &Settings { region: Region::Eu }).requests.len(), 2);
    }

    #[test]
    fn an_event_that_segment_would_drop_fails_here() {
        let bad = ["[]", r#"{"type":"track","userId":"u"}"#, r#"{"type":"page"}"#, r#"{"type":"alias","userId":"u"}"#];
        let plan = plan(&bad.map(str::to_owned));
        let codes: Vec<&str> = plan.failed.iter().map(|(_, failure)| failure.code.as_str()).collect();
        assert_eq!(codes, ["not-an-object", "no-event-name", "no-user", "no-previous-id"]);
        assert_eq!(plan.requests, []);
    }
}

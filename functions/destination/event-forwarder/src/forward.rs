//! Events as they came, in requests of the size that the collector takes.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::plan::{Failure, Plan, Request, Verdict, excerpt, retry_after_ms};

/// What is around the events of a request.
const AROUND_BYTES: usize = 100;

#[derive(Debug, Deserialize)]
pub struct Settings {
    /// `https://acme.dataplane.rudderstack.com`.
    endpoint: String,
    #[serde(default = "path")]
    path: String,
    /// Event types to forward; all when empty.
    #[serde(default)]
    types: Vec<String>,
    /// RudderStack documents 32 KB for an event and 4 MB for a request.
    #[serde(default = "event_bytes_max")]
    event_bytes_max: usize,
    #[serde(default = "request_bytes_max")]
    request_bytes_max: usize,
}

fn path() -> String {
    "/v1/batch".to_owned()
}

const fn event_bytes_max() -> usize {
    32 * 1024
}

const fn request_bytes_max() -> usize {
    4_000_000
}

impl Settings {
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if !settings.path.starts_with('/') {
            return Err("`path` must begin with `/`".to_owned());
        }
        if settings.request_bytes_max < settings.event_bytes_max + AROUND_BYTES {
            return Err("`request_bytes_max` leaves no room for an event of `event_bytes_max`".to_owned());
        }
        Ok(settings)
    }
}

enum Fate {
    Sent(String),
    Skipped(String),
    Failed(Failure),
}

/// As few requests as the limits allow, the events in their order.
pub fn prepare(batch: &[String], settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let (mut open, mut bytes): (Vec<(u32, String)>, usize) = (Vec::new(), 0);
    for (position, text) in (0..).zip(batch) {
        match fate(text, settings) {
            Fate::Sent(event) => {
                if bytes + event.len() + AROUND_BYTES > settings.request_bytes_max {
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

fn fate(text: &str, settings: &Settings) -> Fate {
    let failed = |code, message: String| Fate::Failed(Failure::new(code, message));
    let Ok(mut event) = serde_json::from_str::<Map<String, Value>>(text) else {
        return failed("not-an-object", "the event is no JSON object".to_owned());
    };
    let text_at = |name: &str| event.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let kind = text_at("type").unwrap_or_default();
    if kind.is_empty() {
        return failed("no-type", "the event has no `type`".to_owned());
    }
    if !settings.types.is_empty() && !settings.types.iter().any(|wanted| wanted == kind) {
        return Fate::Skipped(format!("the type {kind:?} is not among `types`"));
    }
    if text_at("userId").is_none() && text_at("anonymousId").is_none() {
        return failed("no-user", "collectors need `userId` or `anonymousId`".to_owned());
    }
    // The far side stamps the time of its own receipt.
    event.remove("receivedAt");
    let event = Value::Object(event).to_string();
    if event.len() > settings.event_bytes_max {
        return failed("too-large", format!("the event has {} bytes", event.len()));
    }
    Fate::Sent(event)
}

fn request(open: &mut Vec<(u32, String)>, settings: &Settings) -> Option<Request> {
    let (events, texts): (Vec<u32>, Vec<String>) = open.drain(..).unzip();
    if events.is_empty() {
        return None;
    }
    Some(Request {
        url: format!("{}{}", settings.endpoint.trim_end_matches('/'), settings.path),
        headers: vec![("content-type".to_owned(), "application/json".to_owned())],
        body: format!(r#"{{"batch":[{}]}}"#, texts.join(",")),
        events,
    })
}

/// What an answer means. A collector takes or refuses a request as a whole.
pub fn classify(_events: &[u32], status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    let failure = |code: &str| Failure::new(code, format!("the collector answered {status}: {}", excerpt(body)));
    match status {
        200..=299 => Verdict::Delivered,
        408 | 429 | 500..=599 => Verdict::Retry(retry_after_ms(headers)),
        401 | 403 => Verdict::Disable(failure("wrong-write-key")),
        // RudderStack: the source of this write key is switched off or gone.
        404 => Verdict::Disable(failure("no-such-source")),
        413 => Verdict::Rejected(failure("too-large")),
        _ => Verdict::Rejected(failure("refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"{"endpoint":"https://rs.example/","event_bytes_max":1000,"request_bytes_max":2000}"#;

    fn event(bytes: usize) -> String {
        format!(r#"{{"type":"page","userId":"u","p":"{}"}}"#, "x".repeat(bytes))
    }

    #[test]
    fn requests_stay_within_the_limits_and_carry_every_event_once() {
        let batch: Vec<String> = (0..10).map(|n| event(100 * n)).chain([event(2_000)]).collect();
        let plan = prepare(&batch, &Settings::parse(SETTINGS).unwrap());
        assert_eq!(plan.failed[0].0, 10);
        assert!(plan.requests.iter().all(|request| request.body.len() <= 2_000));
        let carried: Vec<u32> = plan.requests.iter().flat_map(|request| request.events.clone()).collect();
        assert_eq!(carried, (0..10).collect::<Vec<u32>>());
        assert_eq!(plan.requests[0].url, "https://rs.example/v1/batch");
    }

    #[test]
    fn types_that_are_not_wanted_are_skipped() {
        let settings = Settings::parse(r#"{"endpoint":"https://rs.example","types":["track"]}"#).unwrap();
        let plan = prepare(&[event(1), r#"{"type":"track","anonymousId":"a"}"#.to_owned()], &settings);
        assert_eq!((plan.skipped[0].0, &plan.requests[0].events[..]), (0, &[1][..]));
    }

    #[test]
    fn wrong_settings_are_explained() {
        let tight = r#"{"endpoint":"https://rs.example","request_bytes_max":1000}"#;
        assert!(Settings::parse(tight).unwrap_err().contains("no room"));
        assert!(Settings::parse(r#"{"endpoint":"https://rs.example","path":"v1"}"#).unwrap_err().contains("begin"));
    }
}

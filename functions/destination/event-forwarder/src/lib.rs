//! Forwards events to a collector that speaks the Segment batch format, in requests of the size that it takes.

use serde::Deserialize;
use tidegate_sdk::collector::Collector;
use tidegate_sdk::delivery::classify_by_status;
use tidegate_sdk::event::{self, Event};
use tidegate_sdk::{Context, Destination, Failure, Plan, Refusal, Response, Verdict};

#[derive(Debug, Deserialize)]
pub struct EventForwarder {
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

impl EventForwarder {
    fn collector(&self) -> Collector {
        Collector {
            url: format!("{}{}", self.endpoint.trim_end_matches('/'), self.path),
            event_bytes_max: self.event_bytes_max,
            request_bytes_max: self.request_bytes_max,
            events_max: usize::MAX,
        }
    }

    fn check(&self, event: &Event) -> Result<(), Refusal> {
        match event::kind(event) {
            "" => Err(Refusal::fail("no-type", "the event has no `type`")),
            kind if !self.types.is_empty() && !self.types.iter().any(|wanted| wanted == kind) => {
                Err(Refusal::skip(format!("the type {kind:?} is not among `types`")))
            }
            _ => Ok(()),
        }
    }
}

impl Destination for EventForwarder {
    fn configure(settings_json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(settings_json).map_err(|error| error.to_string())?;
        if !settings.path.starts_with('/') {
            return Err("`path` must begin with `/`".to_owned());
        }
        if !settings.collector().fits() {
            return Err("`request_bytes_max` leaves no room for an event of `event_bytes_max`".to_owned());
        }
        Ok(settings)
    }

    fn prepare(&self, batch: &[String], _context: Context) -> Plan {
        self.collector().plan(batch, |event| self.check(event))
    }

    /// A collector takes or refuses a request as a whole.
    fn classify(&self, _tag: &str, _events: &[u32], response: &Response) -> Verdict {
        let said = format!("the collector answered {}: {}", response.status, response.excerpt());
        match response.status {
            401 => Verdict::Disable(Failure::new("wrong-write-key", said)),
            403 if !response.is_of_proxy() => Verdict::Disable(Failure::new("wrong-write-key", said)),
            // RudderStack says so when the source of this write key is switched off or gone; a proxy on the way does not.
            404 if says_source(response) => Verdict::Disable(Failure::new("no-such-source", said)),
            404 => Verdict::Retry(response.retry_after_ms()),
            413 => Verdict::Bisect(Failure::new("too-large", said)),
            _ => classify_by_status(response),
        }
    }
}

/// "source is disabled", "Source does not exist for this write key".
fn says_source(response: &Response) -> bool {
    let body = response.excerpt().to_lowercase();
    body.contains("source") && !body.contains('<')
}

tidegate_sdk::destination!(crate::EventForwarder, "../../../wit");

#[cfg(test)]
mod tests {
    use super::*;

    const SETTINGS: &str = r#"{"endpoint":"https://rs.example/","event_bytes_max":1000,"request_bytes_max":2000}"#;

    fn event(bytes: usize) -> String {
        format!(r#"{{"type":"page","userId":"u","p":"{}"}}"#, "x".repeat(bytes))
    }

    fn plan(settings: &str, batch: &[String]) -> Plan {
        EventForwarder::configure(settings).unwrap().prepare(batch, Context { now_ms: 0, seed: 0 })
    }

    #[test]
    fn requests_stay_within_the_limits_and_carry_every_event_once() {
        let batch: Vec<String> = (0..10).map(|n| event(100 * n)).chain([event(2_000)]).collect();
        let plan = plan(SETTINGS, &batch);
        assert_eq!(plan.failed[0].0, 10);
        assert!(plan.requests.iter().all(|request| request.body.len() <= 2_000));
        let carried: Vec<u32> = plan.requests.iter().flat_map(|request| request.events.clone()).collect();
        assert_eq!(carried, (0..10).collect::<Vec<u32>>());
        assert_eq!(plan.requests[0].url, "https://rs.example/v1/batch");
    }

    #[test]
    fn types_that_are_not_wanted_are_skipped() {
        let settings = r#"{"endpoint":"https://rs.example","types":["track"]}"#;
        let plan = plan(settings, &[event(1), r#"{"type":"track","anonymousId":"a"}"#.to_owned()]);
        assert_eq!((plan.skipped[0].0, &plan.requests[0].events[..]), (0, &[1][..]));
    }

    #[test]
    fn wrong_settings_are_explained() {
        let tight = r#"{"endpoint":"https://rs.example","request_bytes_max":1000}"#;
        assert!(EventForwarder::configure(tight).unwrap_err().contains("no room"));
        let path = r#"{"endpoint":"https://rs.example","path":"v1"}"#;
        assert!(EventForwarder::configure(path).unwrap_err().contains("begin"));
    }

    #[test]
    fn a_404_stops_the_destination_only_when_it_speaks_of_the_source() {
        let forwarder = EventForwarder::configure(SETTINGS).unwrap();
        let verdict = |body: &str| {
            let response = Response { status: 404, body: body.as_bytes().to_vec(), ..Response::default() };
            forwarder.classify("", &[0], &response)
        };
        assert!(matches!(verdict("source is disabled"), Verdict::Disable(_)));
        assert_eq!(verdict("default backend - 404"), Verdict::Retry(None));
        assert_eq!(verdict("<html>no resource</html>"), Verdict::Retry(None));
    }
}

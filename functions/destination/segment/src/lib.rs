//! Forwards events to a Segment source through `/v1/batch`, in requests of the size that Segment takes.

use serde::Deserialize;
use tidegate_sdk::collector::Collector;
use tidegate_sdk::delivery::classify_by_status;
use tidegate_sdk::event::{self, Event};
use tidegate_sdk::{Context, Destination, Failure, Plan, Refusal, Response, Verdict};

#[derive(Debug, Deserialize)]
pub struct Segment {
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

impl Segment {
    fn collector(&self) -> Collector {
        let url = match self.region {
            Region::Us => "https://api.segment.io/v1/batch",
            Region::Eu => "https://events.eu1.segmentapis.com/v1/batch",
        };
        Collector { url: url.to_owned(), event_bytes_max: 32 * 1024, request_bytes_max: 500_000, events_max: 2_500 }
    }
}

/// Segment answers 200 to what it drops.
fn check(event: &Event) -> Result<(), Refusal> {
    match event::kind(event) {
        "track" if event::name(event).is_none() => Err(Refusal::fail("no-event-name", "a track event needs `event`")),
        "group" if event::group_id(event).is_none() => {
            Err(Refusal::fail("no-group-id", "a group event needs `groupId`"))
        }
        "alias" if event::previous_id(event).is_none() => {
            Err(Refusal::fail("no-previous-id", "an alias needs `previousId`"))
        }
        "track" | "identify" | "page" | "screen" | "group" | "alias" => Ok(()),
        other => Err(Refusal::skip(format!("Segment has no type {other:?}"))),
    }
}

impl Destination for Segment {
    fn configure(settings_json: &str) -> Result<Self, String> {
        serde_json::from_str(settings_json).map_err(|error| error.to_string())
    }

    fn prepare(&self, batch: &[String], _context: Context) -> Plan {
        self.collector().plan(batch, check)
    }

    /// Segment takes or refuses a request as a whole.
    fn classify(&self, _tag: &str, _events: &[u32], response: &Response) -> Verdict {
        let failure =
            |code| Failure::new(code, format!("Segment answered {}: {}", response.status, response.excerpt()));
        match response.status {
            401 => Verdict::Disable(failure("wrong-write-key")),
            403 if !response.is_of_proxy() => Verdict::Disable(failure("wrong-write-key")),
            413 => Verdict::Bisect(failure("too-large")),
            _ => classify_by_status(response),
        }
    }
}

tidegate_sdk::destination!(crate::Segment, "../../../wit");

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(batch: &[String]) -> Plan {
        let segment = Segment::configure(r#"{"write_key":"{{secret.write_key}}"}"#).unwrap();
        segment.prepare(batch, Context { now_ms: 0, seed: 0 })
    }

    #[test]
    fn numbers_and_unknown_fields_survive() {
        let event = r#"{"type":"track","event":"A","userId":"u","n":1.50,"receivedAt":"2026-03-01T12:30:45Z","z":{}}"#;
        let body = &plan(&[event.to_owned()]).requests[0].body;
        assert_eq!(body, r#"{"batch":[{"event":"A","n":1.50,"type":"track","userId":"u","z":{}}]}"#);
    }

    /// `timestamp` of a receiver is its time of receipt - (`sentAt` - `originalTimestamp`), or what was sent when there is
    /// no `sentAt`.
    #[test]
    fn the_receiver_computes_the_same_timestamp_however_long_the_event_waited() {
        let event = r#"{"type":"page","userId":9007199254740993,"anonymousId":"","timestamp":"2026-03-01T12:00:00.136646+00:00",
            "originalTimestamp":"2026-03-01T12:05:00Z","sentAt":"2026-03-01T12:05:01Z","receivedAt":"2026-03-01T12:00:01Z"}"#;
        let body = &plan(&[event.to_owned()]).requests[0].body;
        let at = "2026-03-01T12:00:00.136646+00:00";
        let expected = format!(
            r#"{{"batch":[{{"originalTimestamp":"{at}","timestamp":"{at}","type":"page","userId":"9007199254740993"}}]}}"#
        );
        assert_eq!(*body, expected);
    }

    #[test]
    fn requests_stay_within_the_limits_and_carry_every_event_once() {
        let event = |bytes: usize| format!(r#"{{"type":"page","userId":"u","p":"{}"}}"#, "x".repeat(bytes));
        let batch: Vec<String> = (0..60).map(|_| event(30_000)).chain([event(40_000)]).collect();
        let large = plan(&batch);
        assert_eq!(large.failed[0].0, 60);
        assert!(large.requests.len() > 1 && large.requests.iter().all(|request| request.body.len() <= 500_000));
        let carried: Vec<u32> = large.requests.iter().flat_map(|request| request.events.clone()).collect();
        assert_eq!(carried, (0..60).collect::<Vec<u32>>());
        let many: Vec<String> = (0..2_501).map(|_| event(1)).collect();
        assert_eq!(plan(&many).requests.len(), 2);
    }

    #[test]
    fn an_event_that_segment_would_drop_fails_here() {
        let bad = [
            "[]",
            r#"{"type":"track","userId":"u"}"#,
            r#"{"type":"page","userId":" "}"#,
            r#"{"type":"alias","userId":"u"}"#,
        ];
        let plan = plan(&bad.map(str::to_owned));
        let codes: Vec<&str> = plan.failed.iter().map(|(_, failure)| failure.code.as_str()).collect();
        assert_eq!(codes, ["not-an-object", "no-event-name", "no-user", "no-previous-id"]);
        assert_eq!(plan.requests, []);
    }
}

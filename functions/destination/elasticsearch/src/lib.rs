//! Indexes events in Elasticsearch or OpenSearch through `_bulk`: lines of a bulk request, and what its answer says of each.

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tidegate_sdk::delivery::{classify_by_status, join};
use tidegate_sdk::event::{self, Event};
use tidegate_sdk::{Context, Destination, Failure, Method, Plan, Refusal, Request, Response, Verdict};

#[derive(Debug, Deserialize)]
pub struct Elasticsearch {
    /// `https://search.example.com:9200`.
    endpoint: String,
    /// May hold `{{type}}` and `{{date}}`.
    index: String,
    /// An ingest pipeline of the cluster.
    #[serde(default)]
    ingest: Option<String>,
}

impl Destination for Elasticsearch {
    fn configure(settings_json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(settings_json).map_err(|error| error.to_string())?;
        let name = settings.index.replace("{{type}}", "").replace("{{date}}", "");
        let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '-' | '_' | '.');
        if settings.index.is_empty() || settings.index.starts_with(['-', '_', '.']) || !name.chars().all(fits) {
            return Err(format!("`index` is {:?}; use a-z, 0-9, -, _, {{{{type}}}} and {{{{date}}}}", settings.index));
        }
        let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
        match &settings.ingest {
            Some(ingest) if !ingest.chars().all(fits) => Err(format!("`ingest` is {ingest:?}, which is no name")),
            _ => Ok(settings),
        }
    }

    /// One request for the whole batch: the host has bounded it already.
    fn prepare(&self, batch: &[String], _context: Context) -> Plan {
        let mut plan = Plan::default();
        let (body, events) = join(plan.records(batch, |event| lines(event, self)), "");
        if events.is_empty() {
            return plan;
        }
        // Only what `classify` reads: a whole answer would not fit into what the host keeps of one.
        let mut url = format!(
            "{}/_bulk?filter_path=errors,items.*.status,items.*.error.type",
            self.endpoint.trim_end_matches('/')
        );
        if let Some(ingest) = &self.ingest {
            // The cluster's own word for it.
            url.push_str(&format!("&pipeline={ingest}"));
        }
        let headers = vec![("content-type".to_owned(), "application/x-ndjson".to_owned())];
        plan.requests.push(Request { method: Method::Post, url, headers, body, events, tag: String::new() });
        plan
    }

    /// For each event, in the order of the request.
    fn classify(&self, _tag: &str, events: &[u32], response: &Response) -> Verdict {
        let failure =
            |code| Failure::new(code, format!("the cluster answered {}: {}", response.status, response.excerpt()));
        match response.status {
            200..=299 => items(events, &response.body),
            401 => Verdict::Disable(failure("unauthorized")),
            403 if !response.is_of_proxy() => Verdict::Disable(failure("unauthorized")),
            413 => Verdict::Bisect(failure("too-large")),
            _ => classify_by_status(response),
        }
    }
}

/// The action and the document.
fn lines(mut event: Event, settings: &Elasticsearch) -> Result<String, Refusal> {
    let timestamp = event.get("timestamp").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = event::kind(&event);
    // The day in UTC, whatever the offset.
    let date = event::time(&event).map(|at| at.text[..10].to_owned()).unwrap_or_default();
    if settings.index.contains("{{date}}") && date.is_empty() {
        return Err(Refusal::fail("no-timestamp", "`index` has {{date}}, but the event has no timestamp"));
    }
    if settings.index.contains("{{type}}") && (kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_lowercase())) {
        return Err(Refusal::fail("no-type", "`index` has {{type}}, but the event has no type that fits into a name"));
    }
    let index = settings.index.replace("{{type}}", kind).replace("{{date}}", &date);
    // `create` with an id of ours: sent twice, the second answer is a conflict, and the document is there once.
    let action = match event::message_id(&event).filter(|id| id.len() <= 512) {
        Some(id) => json!({"create": {"_index": index, "_id": id}}),
        None => json!({"create": {"_index": index}}),
    };
    // Data streams demand it.
    event.entry("@timestamp").or_insert(Value::from(timestamp));
    Ok(format!("{action}\n{}\n", Value::Object(event)))
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: bool,
    #[serde(default)]
    items: Vec<Map<String, Value>>,
}

fn items(events: &[u32], body: &[u8]) -> Verdict {
    // To send again what arrived is harmless, because of the ids; to believe half an answer is not.
    let Ok(answer) = serde_json::from_slice::<Answer>(body) else { return Verdict::Retry(None) };
    if !answer.errors {
        return Verdict::Delivered;
    }
    if answer.items.len() != events.len() {
        return Verdict::Retry(None);
    }
    let status = |item: &Map<String, Value>| item.values().next().and_then(|result| result["status"].as_u64());
    let undelivered = |(event, item): (&u32, &Map<String, Value>)| match status(item) {
        // 409: the document is there already.
        Some(200..=299 | 409) => None,
        Some(429 | 500..=599) | None => Some((*event, true)),
        Some(_) => Some((*event, false)),
    };
    let undelivered: Vec<(u32, bool)> = events.iter().zip(&answer.items).filter_map(undelivered).collect();
    if undelivered.is_empty() { Verdict::Delivered } else { Verdict::Partial(undelivered) }
}

tidegate_sdk::destination!(crate::Elasticsearch, "../../../wit");

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(index: &str) -> Result<Elasticsearch, String> {
        Elasticsearch::configure(&json!({"endpoint": "https://es.example:9200/", "index": index}).to_string())
    }

    fn prepare(batch: &[&str], index: &str) -> Plan {
        let batch: Vec<String> = batch.iter().map(|&event| event.to_owned()).collect();
        settings(index).unwrap().prepare(&batch, Context { now_ms: 0, seed: 0 })
    }

    #[test]
    fn an_event_is_an_action_and_a_document() {
        let event = r#"{"type":"track","messageId":"m-1","timestamp":"2026-03-01T12:30:45.123Z","n":1.50}"#;
        let plan = prepare(&[event, "7"], "events-{{type}}-{{date}}");
        let lines: Vec<&str> = plan.requests[0].body.lines().collect();
        assert_eq!(lines[0], r#"{"create":{"_id":"m-1","_index":"events-track-2026-03-01"}}"#);
        assert!(lines[1].contains(r#""n":1.50"#) && lines[1].contains(r#""@timestamp":"2026-03-01T12:30:45.123Z""#));
        assert_eq!(plan.failed[0].0, 1);
        assert!(plan.requests[0].url.starts_with("https://es.example:9200/_bulk?"));
    }

    #[test]
    fn an_index_is_a_name_and_an_event_cannot_change_it() {
        for bad in ["", "_all", "Events", "a/b", "a,b", "{{other}}"] {
            assert!(settings(bad).is_err(), "{bad}");
        }
        for event in [r#"{"type":"../x","timestamp":"2026-03-01T"}"#, r#"{"type":"track","timestamp":"2026/03/01"}"#] {
            assert_eq!(prepare(&[event], "e-{{type}}-{{date}}").requests, [], "{event}");
        }
    }

    #[test]
    fn each_item_has_its_own_outcome() {
        let body = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409}},
            {"create":{"status":429}},{"create":{"status":400}}]}"#;
        assert_eq!(items(&[0, 2, 3, 5], body), Verdict::Partial(vec![(3, true), (5, false)]));
        assert_eq!(items(&[0], br#"{"errors":false}"#), Verdict::Delivered);
        let known = br#"{"errors":true,"items":[{"create":{"status":409}}]}"#;
        assert_eq!(items(&[0], known), Verdict::Delivered);
        assert_eq!(items(&[0, 1], known), Verdict::Retry(None));
        assert_eq!(items(&[0], br#"{"errors":tr"#), Verdict::Retry(None));
    }

    #[test]
    fn the_day_is_that_of_utc_and_a_numeric_id_is_text() {
        let event = r#"{"type":"page","messageId":7,"timestamp":"2026-03-01T23:30:00.136646-08:00"}"#;
        let body = &prepare(&[event], "e-{{date}}").requests[0].body;
        assert!(body.starts_with(r#"{"create":{"_id":"7","_index":"e-2026-03-02"}}"#), "{body}");
    }

    #[test]
    fn a_cluster_behind_a_proxy_that_has_no_route_yet_is_tried_again() {
        let response = Response { status: 404, body: b"<html>".to_vec(), ..Response::default() };
        assert_eq!(settings("e").unwrap().classify("", &[0], &response), Verdict::Retry(None));
        let refused = Response { status: 400, body: b"{}".to_vec(), ..Response::default() };
        let verdict = settings("e").unwrap().classify("", &[0, 1], &refused);
        assert!(matches!(&verdict, Verdict::Bisect(failure) if failure.code == "http-400"), "{verdict:?}");
    }
}

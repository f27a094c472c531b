//! Lines of a bulk request, and what its answer says of each of them.

use serde::Deserialize;
use serde_json::{Map, Value, json};

use crate::plan::{Failure, Plan, Request, Verdict, excerpt, retry_after_ms};

#[derive(Debug, Deserialize)]
pub struct Settings {
    /// `https://search.example.com:9200`.
    endpoint: String,
    /// May hold `{{type}}` and `{{date}}`.
    index: String,
    /// An ingest pipeline of the cluster.
    #[serde(default)]
    ingest: Option<String>,
}

impl Settings {
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
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
}

/// One request for the whole batch: the host has bounded it already.
pub fn prepare(batch: &[String], settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let (mut body, mut events) = (String::new(), Vec::new());
    for (position, text) in (0..).zip(batch) {
        match lines(text, settings) {
            Ok(lines) => {
                body.push_str(&lines);
                events.push(position);
            }
            Err(failure) => plan.failed.push((position, failure)),
        }
    }
    if events.is_empty() {
        return plan;
    }
    // Only what `classify` reads: a whole answer would not fit into what the host keeps of one.
    let mut url = format!(
        "{}/_bulk?filter_path=errors,items.*.status,items.*.error.type",
        settings.endpoint.trim_end_matches('/')
    );
    if let Some(ingest) = &settings.ingest {
        // The cluster's own word for it.
        url.push_str(&format!("&pipeline={ingest}"));
    }
    let headers = vec![("content-type".to_owned(), "application/x-ndjson".to_owned())];
    plan.requests.push(Request { url, headers, body, events });
    plan
}

/// The action and the document.
fn lines(text: &str, settings: &Settings) -> Result<String, Failure> {
    let mut event: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Failure::new("not-an-object", "the event is no JSON object"))?;
    let timestamp = event.get("timestamp").and_then(Value::as_str).unwrap_or_default().to_owned();
    let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
    let date = timestamp.get(..10).unwrap_or_default();
    if settings.index.contains("{{date}}") && !is_date(date) {
        return Err(Failure::new("no-timestamp", "`index` has {{date}}, but the event has no timestamp"));
    }
    if settings.index.contains("{{type}}") && (kind.is_empty() || !kind.bytes().all(|b| b.is_ascii_lowercase())) {
        return Err(Failure::new("no-type", "`index` has {{type}}, but the event has no type that fits into a name"));
    }
    let index = settings.index.replace("{{type}}", kind).replace("{{date}}", date);
    // `create` with an id of ours: sent twice, the second answer is a conflict, and the document is there once.
    let action = match event.get("messageId").and_then(Value::as_str).filter(|id| id.len() <= 512) {
        Some(id) => json!({"create": {"_index": index, "_id": id}}),
        None => json!({"create": {"_index": index}}),
    };
    // Data streams demand it.
    event.entry("@timestamp").or_insert(Value::from(timestamp));
    Ok(format!("{action}\n{}\n", Value::Object(event)))
}

fn is_date(text: &str) -> bool {
    text.len() == 10
        && text.bytes().enumerate().all(|(at, b)| if matches!(at, 4 | 7) { b == b'-' } else { b.is_ascii_digit() })
}

#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    errors: bool,
    #[serde(default)]
    items: Vec<Map<String, Value>>,
}

/// What an answer means: for each event, in the order of the request.
pub fn classify(events: &[u32], status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    let failure = |code: &str| Failure::new(code, format!("the cluster answered {status}: {}", excerpt(body)));
    match status {
        200..=299 => items(events, body),
        408 | 429 | 500..=599 => Verdict::Retry(retry_after_ms(headers)),
        401 | 403 => Verdict::Disable(failure("unauthorized")),
        413 => Verdict::Rejected(failure("too-large")),
        _ => Verdict::Rejected(failure("refused")),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(index: &str) -> Result<Settings, String> {
        Settings::parse(&json!({"endpoint": "https://es.example:9200/", "index": index}).to_string())
    }

    #[test]
    fn an_event_is_an_action_and_a_document() {
        let event = r#"{"type":"track","messageId":"m-1","timestamp":"2026-03-01T12:30:45.123Z","n":1.50}"#;
        let plan = prepare(&[event.to_owned(), "7".to_owned()], &settings("events-{{type}}-{{date}}").unwrap());
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
            assert!(lines(event, &settings("e-{{type}}-{{date}}").unwrap()).is_err(), "{event}");
        }
    }

    #[test]
    fn each_item_has_its_own_fate() {
        let body = br#"{"errors":true,"items":[{"create":{"status":201}},{"create":{"status":409}},
            {"create":{"status":429}},{"create":{"status":400}}]}"#;
        assert_eq!(classify(&[0, 2, 3, 5], 200, &[], body), Verdict::Partial(vec![(3, true), (5, false)]));
        assert_eq!(classify(&[0], 200, &[], br#"{"errors":false}"#), Verdict::Delivered);
        let known = br#"{"errors":true,"items":[{"create":{"status":409}}]}"#;
        assert_eq!(classify(&[0], 200, &[], known), Verdict::Delivered);
        assert_eq!(classify(&[0, 1], 200, &[], known), Verdict::Retry(None));
        assert_eq!(classify(&[0], 200, &[], br#"{"errors":tr"#), Verdict::Retry(None));
    }
}

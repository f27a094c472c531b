//! Which requests a batch becomes, and what the answers mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use crate::plan::{Failure, Method, Plan, Request, Verdict, excerpt, retry_after_ms};
use crate::template::{self, Place};

#[derive(Debug, Deserialize)]
pub struct Settings {
    /// `https://hooks.example.com`, and no more: the path is a template of its own.
    endpoint: String,
    #[serde(default)]
    path: String,
    #[serde(default = "post")]
    method: Method,
    #[serde(default)]
    headers: BTreeMap<String, String>,
    /// A JSON template, or a text template when it is a text; the event itself when absent.
    body: Option<Value>,
    /// Event types to send; all when empty.
    #[serde(default)]
    types: Vec<String>,
    /// Names of `track` events to send; all when empty.
    #[serde(default)]
    events: Vec<String>,
    /// How many events one request carries as a JSON array; one event, without array, when absent.
    array_max: Option<usize>,
    /// Only there to be refused from the body; the host signs.
    #[serde(rename = "signing_secret")]
    _signing_secret: Option<String>,
    /// The value of the header `authorization`; a placeholder here.
    authorization: Option<String>,
}

const fn post() -> Method {
    Method::Post
}

impl Settings {
    /// # Errors
    /// A sentence about what is wrong.
    pub fn parse(json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        if !settings.path.is_empty() && !settings.path.starts_with('/') {
            return Err("`path` must begin with `/`".to_owned());
        }
        if settings.array_max.is_some() && settings.path.contains("{{") {
            return Err("`path` cannot be a template when `array_max` puts several events into one request".to_owned());
        }
        Ok(settings)
    }

    fn skips(&self, event: &Value) -> Option<String> {
        let kind = event["type"].as_str().unwrap_or_default();
        let name = event["event"].as_str().unwrap_or_default();
        if !self.types.is_empty() && !self.types.iter().any(|wanted| wanted == kind) {
            return Some(format!("the type {kind:?} is not among `types`"));
        }
        let unwanted = kind == "track" && !self.events.is_empty() && !self.events.iter().any(|wanted| wanted == name);
        unwanted.then(|| format!("the event {name:?} is not among `events`"))
    }
}

/// The requests for a batch.
pub fn prepare(batch: &[String], settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let mut bodies = Vec::new();
    for (position, text) in (0..).zip(batch) {
        match serde_json::from_str::<Value>(text) {
            Ok(event) if event.is_object() => match settings.skips(&event) {
                Some(reason) => plan.skipped.push((position, reason)),
                None if settings.array_max.is_some() => bodies.push((position, body(&event, settings))),
                None => match request(position, &event, settings) {
                    Ok(request) => plan.requests.push(request),
                    Err(failure) => plan.failed.push((position, failure)),
                },
            },
            _ => plan.failed.push((position, Failure::new("not-an-object", "the event is no JSON object"))),
        }
    }
    for chunk in bodies.chunks(settings.array_max.unwrap_or(1).max(1)) {
        let items: Vec<&str> = chunk.iter().map(|(_, body)| body.as_str()).collect();
        // Headers are templates of one event; for several there is none to fill them in from.
        let headers = headers(&Value::Null, settings);
        let events = chunk.iter().map(|(position, _)| *position).collect();
        let url = format!("{}{}", settings.endpoint.trim_end_matches('/'), settings.path);
        let body = format!("[{}]", items.join(","));
        plan.requests.push(Request { method: settings.method, url, headers, body, events });
    }
    plan
}

fn request(position: u32, event: &Value, settings: &Settings) -> Result<Request, Failure> {
    let path = template::text(&settings.path, event, Place::Url).map_err(|path| {
        Failure::new("missing-value", format!("`path` needs {path:?}, which the event does not have"))
    })?;
    let mut headers = headers(event, settings);
    // The receiver can tell by it that it has the event already.
    if let Some(id) = event["messageId"].as_str() {
        headers.push((
            "webhook-id".to_owned(),
            template::text("{{id}}", &serde_json::json!({"id": id}), Place::Header).unwrap_or_default(),
        ));
    }
    let url = format!("{}{path}", settings.endpoint.trim_end_matches('/'));
    Ok(Request { method: settings.method, url, headers, body: body(event, settings), events: vec![position] })
}

fn headers(event: &Value, settings: &Settings) -> Vec<(String, String)> {
    let content_type = if matches!(settings.body, Some(Value::String(_))) && settings.array_max.is_none() {
        "text/plain; charset=utf-8"
    } else {
        "application/json"
    };
    let mut headers = vec![("content-type".to_owned(), content_type.to_owned())];
    headers.extend(settings.authorization.clone().map(|value| ("authorization".to_owned(), value)));
    for (name, value) in &settings.headers {
        let name = name.to_ascii_lowercase();
        headers.retain(|(known, _)| *known != name);
        headers.push((name, template::text(value, event, Place::Header).unwrap_or_default()));
    }
    headers
}

fn body(event: &Value, settings: &Settings) -> String {
    match &settings.body {
        None => template::guarded(&event.to_string()),
        Some(Value::String(text)) if settings.array_max.is_none() => {
            template::text(text, event, Place::Text).unwrap_or_default()
        }
        Some(template) => {
            let mut out = String::new();
            template::json(template, event, &mut out);
            out
        }
    }
}

/// What an answer means.
pub fn classify(_events: &[u32], status: u16, headers: &[(String, String)], body: &[u8]) -> Verdict {
    let failure = |code: &str| Failure::new(code, format!("answered {status}: {}", excerpt(body)));
    match status {
        200..=299 => Verdict::Delivered,
        408 | 425 | 429 | 500..=599 => Verdict::Retry(retry_after_ms(headers)),
        401 | 403 => Verdict::Disable(failure("unauthorized")),
        410 => Verdict::Disable(failure("gone")),
        413 => Verdict::Rejected(failure("too-large")),
        300..=399 => Verdict::Rejected(failure("redirected")),
        _ => Verdict::Rejected(failure("refused")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(settings: &str, batch: &[&str]) -> Plan {
        let batch: Vec<String> = batch.iter().map(|&event| event.to_owned()).collect();
        prepare(&batch, &Settings::parse(settings).unwrap())
    }

    #[test]
    fn an_event_goes_out_as_it_is_and_is_known_by_its_id() {
        let plan = plan(r#"{"endpoint":"https://a.example/"}"#, &[r#"{"messageId":"m\r\n1","n":1.50,"type":"page"}"#]);
        assert_eq!(plan.requests[0].url, "https://a.example");
        assert_eq!(plan.requests[0].body, r#"{"messageId":"m\r\n1","n":1.50,"type":"page"}"#);
        assert!(plan.requests[0].headers.contains(&("webhook-id".into(), "m  1".into())));
    }

    #[test]
    fn several_events_share_a_request_when_asked() {
        let settings = r#"{"endpoint":"https://a.example","path":"/in","array_max":2,"types":["track"]}"#;
        let track = r#"{"event":"A","type":"track"}"#;
        let plan = plan(settings, &[track, r#"{"type":"page"}"#, track, track, "[]"]);
        let carried: Vec<&[u32]> = plan.requests.iter().map(|request| &request.events[..]).collect();
        assert_eq!(carried, [&[0, 2][..], &[3]]);
        assert_eq!(plan.requests[0].body, format!("[{track},{track}]"));
        assert_eq!((plan.skipped[0].0, plan.failed[0].0), (1, 4));
    }

    #[test]
    fn wrong_settings_are_explained() {
        assert!(Settings::parse(r#"{"endpoint":"https://a.example","path":"x"}"#).unwrap_err().contains("begin with"));
        let both = r#"{"endpoint":"https://a.example","path":"/{{type}}","array_max":2}"#;
        assert!(Settings::parse(both).unwrap_err().contains("array_max"));
    }

    #[test]
    fn answers() {
        let retry_after = [("Retry-After".to_owned(), "7".to_owned())];
        assert_eq!(classify(&[0], 204, &[], b""), Verdict::Delivered);
        assert_eq!(classify(&[0], 429, &retry_after, b""), Verdict::Retry(Some(7000)));
        assert_eq!(classify(&[0], 503, &[], b""), Verdict::Retry(None));
        let Verdict::Rejected(failure) = classify(&[0], 422, &[], b"no such order") else { panic!("not rejected") };
        assert!(failure.message.contains("no such order"));
        assert!(matches!(classify(&[0], 410, &[], b""), Verdict::Disable(_)));
    }
}

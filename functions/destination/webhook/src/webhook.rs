//! Which requests a batch becomes, and what the answers mean.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value;

use tidegate_sdk::delivery::classify_by_status;
use tidegate_sdk::{Context, Destination, Failure, Forget, Plan, Request, Response, Verdict, event};

use crate::template::{self, Place};

#[derive(Debug, Deserialize)]
pub struct Webhook {
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
    /// The path to which people to forget are posted.
    forget: Option<String>,
}

const fn post() -> Method {
    Method::Post
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Method {
    Post,
    Put,
    Patch,
}

impl From<Method> for tidegate_sdk::Method {
    fn from(method: Method) -> Self {
        match method {
            Method::Post => Self::Post,
            Method::Put => Self::Put,
            Method::Patch => Self::Patch,
        }
    }
}

impl Webhook {
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

impl Destination for Webhook {
    fn configure(settings_json: &str) -> Result<Self, String> {
        let settings: Self = serde_json::from_str(settings_json).map_err(|error| error.to_string())?;
        if !settings.path.is_empty() && !settings.path.starts_with('/') {
            return Err("`path` must begin with `/`".to_owned());
        }
        if settings.forget.as_ref().is_some_and(|path| !path.starts_with('/')) {
            return Err("`forget` must begin with `/`".to_owned());
        }
        if settings.array_max.is_some() && settings.path.contains("{{") {
            return Err("`path` cannot be a template when `array_max` puts several events into one request".to_owned());
        }
        Ok(settings)
    }

    fn prepare(&self, batch: &[String], _context: Context) -> Plan {
        let mut plan = Plan::default();
        let mut bodies = Vec::new();
        for (position, text) in (0..).zip(batch) {
            match serde_json::from_str::<Value>(text) {
                Ok(event) if event.is_object() => match self.skips(&event) {
                    Some(reason) => plan.skipped.push((position, reason)),
                    None if self.array_max.is_some() => bodies.push((position, body(&event, self))),
                    None => match request(position, &event, self) {
                        Ok(request) => plan.requests.push(request),
                        Err(failure) => plan.failed.push((position, failure)),
                    },
                },
                _ => plan.failed.push((position, Failure::new("not-an-object", "the event is no JSON object"))),
            }
        }
        for chunk in bodies.chunks(self.array_max.unwrap_or(1).max(1)) {
            let items: Vec<&str> = chunk.iter().map(|(_, body)| body.as_str()).collect();
            let url = format!("{}{}", self.endpoint.trim_end_matches('/'), self.path);
            let events = chunk.iter().map(|(position, _)| *position).collect();
            plan.requests.push(Request {
                method: self.method.into(),
                // Headers are templates of one event; for several there is none to fill them in from.
                headers: headers(&Value::Null, self),
                ..Request::json(url, format!("[{}]", items.join(",")), events)
            });
        }
        plan
    }

    fn classify(&self, _tag: &str, _events: &[u32], response: &Response) -> Verdict {
        let failure = |code| Failure::new(code, format!("answered {}: {}", response.status, response.excerpt()));
        match response.status {
            401 => Verdict::Disable(failure("unauthorized")),
            403 if !response.is_of_proxy() => Verdict::Disable(failure("unauthorized")),
            410 => Verdict::Disable(failure("gone")),
            300..=399 => Verdict::Rejected(failure("redirected")),
            _ => classify_by_status(response),
        }
    }
}

impl Forget for Webhook {
    fn forget(&self, people: &[String], _context: Context) -> Plan {
        let mut plan = Plan::default();
        for (position, person) in (0..).zip(people) {
            let Some(path) = &self.forget else {
                plan.skipped.push((position, "the setting `forget` names no path".to_owned()));
                continue;
            };
            let url = format!("{}{path}", self.endpoint.trim_end_matches('/'));
            let mut request = Request::json(url, template::guarded(person), vec![position]);
            request.headers.extend(self.authorization.clone().map(|value| ("authorization".to_owned(), value)));
            plan.requests.push(request);
        }
        plan
    }
}

fn request(position: u32, event: &Value, settings: &Webhook) -> Result<Request, Failure> {
    let path = template::text(&settings.path, event, Place::Url).map_err(|path| {
        Failure::new("missing-value", format!("`path` needs {path:?}, which the event does not have"))
    })?;
    let mut headers = headers(event, settings);
    // The receiver can tell by it that it has the event already.
    if let Some(id) = event::id(event.get("messageId")) {
        headers.push((
            "webhook-id".to_owned(),
            template::text("{{id}}", &serde_json::json!({"id": id}), Place::Header).unwrap_or_default(),
        ));
    }
    let url = format!("{}{path}", settings.endpoint.trim_end_matches('/'));
    Ok(Request { method: settings.method.into(), headers, ..Request::json(url, body(event, settings), vec![position]) })
}

fn headers(event: &Value, settings: &Webhook) -> Vec<(String, String)> {
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

fn body(event: &Value, settings: &Webhook) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(settings: &str, batch: &[&str]) -> Plan {
        let batch: Vec<String> = batch.iter().map(|&event| event.to_owned()).collect();
        Webhook::configure(settings).unwrap().prepare(&batch, Context { now_ms: 0, seed: 0 })
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
    fn people_to_forget_are_told_of_where_the_settings_say_where() {
        let people = [r#"{"type":"forget","userId":"ann"}"#.to_owned()];
        let plan =
            |settings: &str| Webhook::configure(settings).unwrap().forget(&people, Context { now_ms: 0, seed: 0 });
        let quiet = plan(r#"{"endpoint":"https://a.example"}"#);
        assert_eq!((quiet.requests.len(), quiet.skipped.len()), (0, 1));
        let told = plan(r#"{"endpoint":"https://a.example/","path":"/in","forget":"/forget"}"#);
        assert_eq!(told.requests[0].url, "https://a.example/forget");
        assert_eq!(told.requests[0].body, people[0]);
        assert!(Webhook::configure(r#"{"endpoint":"https://a.example","forget":"x"}"#).is_err());
    }

    #[test]
    fn wrong_settings_are_explained() {
        assert!(
            Webhook::configure(r#"{"endpoint":"https://a.example","path":"x"}"#).unwrap_err().contains("begin with")
        );
        let both = r#"{"endpoint":"https://a.example","path":"/{{type}}","array_max":2}"#;
        assert!(Webhook::configure(both).unwrap_err().contains("array_max"));
    }

    #[test]
    fn answers() {
        let webhook = Webhook::configure(r#"{"endpoint":"https://a.example"}"#).unwrap();
        let verdict = |status, body: &str| {
            let headers = vec![("Retry-After".to_owned(), "7".to_owned())];
            let response = Response { status, headers, body: body.as_bytes().to_vec(), ..Response::default() };
            webhook.classify("", &[0], &response)
        };
        assert_eq!(verdict(204, ""), Verdict::Delivered);
        assert_eq!(verdict(429, ""), Verdict::Retry(Some(7000)));
        assert_eq!(verdict(404, "<html>no backend</html>"), Verdict::Retry(Some(7000)));
        let Verdict::Bisect(failure) = verdict(422, "no such order") else { panic!("not refused") };
        assert!(failure.message.contains("no such order"));
        assert!(matches!(verdict(410, ""), Verdict::Disable(_)));
    }
}

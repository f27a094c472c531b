//! The event with its campaign and its referrer worked out.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::referrer::{self, Kind};

#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Hosts of one's own, for themselves and their subdomains.
    #[serde(default)]
    pub internal_hosts: Vec<String>,
}

impl Settings {
    /// Settings from JSON, or a sentence about what is wrong with them.
    pub fn parse(json: &str) -> Result<Self, String> {
        let mut settings: Self = serde_json::from_str(json).map_err(|error| error.to_string())?;
        for host in &mut settings.internal_hosts {
            *host = host.trim().to_lowercase();
            if host.is_empty() || host.contains(['/', ':', '@', '*']) {
                return Err(format!("`internal_hosts` takes host names such as example.com, not {host:?}"));
            }
        }
        Ok(settings)
    }
}

/// UTM parameters and the fields of `context.campaign` that hold them.
const CAMPAIGN: [(&str, &str); 6] = [
    ("utm_campaign", "name"),
    ("utm_source", "source"),
    ("utm_medium", "medium"),
    ("utm_term", "term"),
    ("utm_content", "content"),
    ("utm_id", "id"),
];

/// The event with `context.campaign` and `context.referrer` filled in, or `None` when there was nothing to add.
///
/// What the event says already is never overwritten.
///
/// # Errors
/// When `event` is not a JSON object.
pub fn attribute(event: &str, settings: &Settings) -> Result<Option<String>, serde_json::Error> {
    let mut event: Map<String, Value> = serde_json::from_str(event)?;
    let Some(context) = event.get_mut("context").and_then(Value::as_object_mut) else { return Ok(None) };
    let Some(page) = context.get("page").and_then(Value::as_object) else { return Ok(None) };
    let (campaign, referrer) = (campaign(page), referrer(page, settings));
    let changed = fill(context, "campaign", campaign) | fill(context, "referrer", referrer);
    if changed { serde_json::to_string(&event).map(Some) } else { Ok(None) }
}

fn text<'a>(page: &'a Map<String, Value>, field: &str) -> &'a str {
    page.get(field).and_then(Value::as_str).unwrap_or_default()
}

/// UTM parameters of the page's `search`, or else of its `url`. The first of several counts.
fn campaign(page: &Map<String, Value>) -> Vec<(&'static str, String)> {
    let url = text(page, "url").split('#').next().unwrap_or_default();
    let query = match text(page, "search") {
        "" => url.split_once('?').map(|(_, query)| query).unwrap_or_default(),
        search => search.trim_start_matches('?'),
    };
    let mut found: Vec<(&'static str, String)> = Vec::new();
    for (key, value) in form_urlencoded::parse(query.as_bytes()) {
        let field =
            CAMPAIGN.iter().find(|(parameter, _)| parameter.eq_ignore_ascii_case(&key)).map(|(_, field)| *field);
        if let Some(field) = field.filter(|field| !value.is_empty() && found.iter().all(|(seen, _)| seen != field)) {
            found.push((field, value.into_owned()));
        }
    }
    found
}

fn referrer(page: &Map<String, Value>, settings: &Settings) -> Vec<(&'static str, String)> {
    let url = text(page, "referrer").trim();
    if url.is_empty() || url == "$direct" {
        return vec![("type", Kind::Direct.as_str().to_owned())];
    }
    let Some(host) = referrer::host(url) else {
        return vec![("url", url.to_owned()), ("type", Kind::Referral.as_str().to_owned())];
    };
    let own = referrer::host(text(page, "url"));
    let internal = settings.internal_hosts.iter().map(String::as_str).chain(own.as_deref());
    let (kind, name) = referrer::classify(&host, internal);
    let mut found = vec![("url", url.to_owned()), ("host", host), ("type", kind.as_str().to_owned())];
    found.extend(name.map(|name| ("name", name.to_owned())));
    found
}

/// Adds what `context.<object>` does not say already; says whether anything was added.
fn fill(context: &mut Map<String, Value>, object: &str, found: Vec<(&'static str, String)>) -> bool {
    if found.is_empty() {
        return false;
    }
    let slot = context.entry(object).or_insert_with(|| Value::Object(Map::new()));
    // Something else under this name is the customer's own.
    let Some(fields) = slot.as_object_mut() else { return false };
    let before = fields.len();
    for (field, value) in found {
        fields.entry(field).or_insert(Value::String(value));
    }
    fields.len() > before
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(page: &str) -> Value {
        let event = format!(r#"{{"context":{{"page":{page}}}}}"#);
        let done = attribute(&event, &Settings::default()).unwrap().unwrap();
        serde_json::from_str::<Value>(&done).unwrap()["context"].take()
    }

    #[test]
    fn utm_parameters_are_decoded_and_the_first_counts() {
        let context = context(
            r#"{"url":"https://a.example/?utm_source=news+letter&UTM_Medium=e%2Dmail&utm_source=later&utm_term=#utm_id=7"}"#,
        );
        assert_eq!(context["campaign"].to_string(), r#"{"medium":"e-mail","source":"news letter"}"#);
    }

    #[test]
    fn the_search_of_the_page_comes_before_its_url() {
        let context = context(r#"{"url":"https://a.example/?utm_source=b","search":"?utm_source=c"}"#);
        assert_eq!(context["campaign"]["source"], "c");
    }

    #[test]
    fn what_the_event_says_is_not_overwritten() {
        let event = r#"{"context":{"page":{"search":"?utm_source=b"},"campaign":{"source":"mine"},"referrer":"mine"}}"#;
        assert_eq!(attribute(event, &Settings::default()).unwrap(), None);
    }

    #[test]
    fn no_page_no_change() {
        for event in ["{}", r#"{"context":{}}"#, r#"{"context":{"page":"home"}}"#] {
            assert_eq!(attribute(event, &Settings::default()).unwrap(), None, "{event}");
        }
        assert!(attribute("[]", &Settings::default()).is_err());
    }

    #[test]
    fn a_referrer_is_named() {
        let context = context(r#"{"url":"https://a.example/","referrer":"https://www.google.com/search?q=mug"}"#);
        let expected =
            r#"{"host":"www.google.com","name":"Google","type":"search","url":"https://www.google.com/search?q=mug"}"#;
        assert_eq!(context["referrer"].to_string(), expected);
    }

    #[test]
    fn wrong_settings_are_explained() {
        assert!(Settings::parse(r#"{"internal_hosts":["https://a.example"]}"#).unwrap_err().contains("https"));
        assert!(Settings::parse(r#"{"hosts":[]}"#).unwrap_err().contains("hosts"));
    }
}

//! The work itself, free of any binding.
#![cfg_attr(not(target_arch = "wasm32"), allow(dead_code))]

use serde::Deserialize;
use serde_json::{Map, Value, json};

/// What the workspace may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    #[serde(default)]
    internal: Vec<String>,
}

const SEARCH: [&str; 8] = ["google", "bing", "duckduckgo", "yahoo", "ecosia", "qwant", "baidu", "yandex"];
const SOCIAL: [&str; 10] =
    ["facebook", "instagram", "linkedin", "reddit", "tiktok", "twitter", "x", "pinterest", "youtube", "mastodon"];
const EMAIL: [&str; 3] = ["mail", "outlook", "gmail"];

impl Settings {
    /// The event with campaign and referrer filled in; `None` when there is nothing to fill.
    pub fn apply(&self, event: &str) -> Result<Option<String>, serde_json::Error> {
        let mut event: Map<String, Value> = serde_json::from_str(event)?;
        let Some(context) = event.get_mut("context").and_then(Value::as_object_mut) else { return Ok(None) };
        let Some(page) = context.get("page").and_then(Value::as_object) else { return Ok(None) };
        let text = |field: &str| page.get(field).and_then(Value::as_str).unwrap_or_default().to_owned();
        let (url, search, referrer) = (text("url"), text("search"), text("referrer"));
        let query = url.split_once('?').map_or(search.trim_start_matches('?'), |(_, query)| query);
        let query = query.split('#').next().unwrap_or_default();
        let mut changed = false;
        let campaign = campaign(query);
        if !campaign.is_empty() && !context.contains_key("campaign") {
            context.insert("campaign".to_owned(), Value::Object(campaign));
            changed = true;
        }
        if !context.contains_key("referrer") {
            context.insert("referrer".to_owned(), self.referrer(&referrer, host(&url)));
            changed = true;
        }
        if changed { serde_json::to_string(&event).map(Some) } else { Ok(None) }
    }

    fn referrer(&self, url: &str, own: &str) -> Value {
        let host = host(url);
        if host.is_empty() {
            return json!({"type": "direct"});
        }
        let ours = host == own || self.internal.iter().any(|known| host == known || host.ends_with(&format!(".{known}")));
        let named = |names: &[&str]| host.split('.').find(|label| names.contains(label)).map(str::to_owned);
        let (kind, name) = if ours {
            ("internal", None)
        } else if let Some(name) = named(&EMAIL) {
            ("email", Some(name))
        } else if let Some(name) = named(&SEARCH) {
            ("search", Some(name))
        } else if let Some(name) = named(&SOCIAL) {
            ("social", Some(name))
        } else {
            ("external", None)
        };
        let mut referrer = json!({"type": kind, "url": url, "host": host});
        if let Some(name) = name {
            referrer["name"] = Value::String(name);
        }
        referrer
    }
}

/// `utm_source=x` becomes `source: x`; `utm_campaign` becomes `name`, as the SDKs have it.
fn campaign(query: &str) -> Map<String, Value> {
    form_urlencoded::parse(query.as_bytes())
        .filter_map(|(key, value)| Some((key.strip_prefix("utm_")?.to_owned(), value.into_owned())))
        .filter(|(key, value)| !key.is_empty() && !value.is_empty())
        .map(|(key, value)| (if key == "campaign" { "name".to_owned() } else { key }, Value::String(value)))
        .collect()
}

/// The host of an address, without `www.` and port.
fn host(url: &str) -> &str {
    let Some((_, rest)) = url.split_once("://") else { return "" };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit('@').next().unwrap_or_default();
    host.split(':').next().unwrap_or_default().trim_start_matches("www.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn context(event: &str) -> Option<Value> {
        let settings: Settings = serde_json::from_str(r#"{"internal":["shop.example"]}"#).unwrap();
        let event = settings.apply(event).unwrap()?;
        Some(serde_json::from_str::<Value>(&event).unwrap()["context"].clone())
    }

    #[test]
    fn campaign_and_referrer_are_read() {
        let event = r#"{"context":{"page":{"url":"https://www.shop.example/a?utm_source=news+letter&utm_campaign=spring%20sale&x=1#top","referrer":"https://www.google.com:443/search?q=a"}}}"#;
        let got = context(event).unwrap();
        assert_eq!(got["campaign"], json!({"name": "spring sale", "source": "news letter"}));
        let want = json!({"type": "search", "name": "google", "host": "google.com", "url": "https://www.google.com:443/search?q=a"});
        assert_eq!(got["referrer"], want);
    }

    #[test]
    fn kinds_of_referrer() {
        for (referrer, kind) in [
            ("", "direct"),
            ("https://blog.shop.example/x", "internal"),
            ("https://mail.google.com/", "email"),
            ("https://old.reddit.com/r/x", "social"),
            ("https://example.org", "external"),
        ] {
            let event = json!({"context": {"page": {"url": "https://shop.example/", "referrer": referrer}}});
            assert_eq!(context(&event.to_string()).unwrap()["referrer"]["type"], kind, "{referrer}");
        }
    }

    #[test]
    fn what_the_client_said_stays() {
        assert!(context(r#"{"context":{"page":{"url":"https://a/?utm_source=b"},"campaign":{},"referrer":{}}}"#).is_none());
        assert!(context(r#"{"type":"track"}"#).is_none());
    }
}

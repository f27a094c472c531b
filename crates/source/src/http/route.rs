//! Paths to routes. Trailing and doubled slashes are tolerated, as the SDKs' configurations produce them.

use std::borrow::Cow;

use tidegate_event::EventKind;

use super::browser_cookies::{CookieCall, CookieFamily, CookieWork};
use super::browser_sdk::{self, SdkFile};

/// What a path asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HttpRoute {
    /// One event a request.
    Single(EventKind),
    /// `{"batch": [...]}`.
    Batch,
    /// An image whose query string is an event.
    Pixel(EventKind),
    /// Telemetry of the SDKs about themselves.
    Discard,
    /// Remote settings of the Segment family, for this write key.
    Settings(String),
    /// The list of destinations that the consent manager asks for.
    Integrations(String),
    /// A message of somebody else's server.
    Webhook(WebhookPath),
    /// Remote settings of the RudderStack family.
    SourceConfig,
    /// The browser SDK.
    Sdk(SdkFile),
    /// Cookies that live longer.
    Cookies(CookieCall),
    Health,
    /// Whether what was accepted is the sum of what became of it.
    Conservation,
    Version,
    Robots,
    Index,
    Unknown,
}

/// What the path of a webhook says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WebhookPath {
    /// Without one, the write key says it.
    pub(super) source: Option<String>,
    pub(super) key: Option<String>,
}

/// Finds the route of a path.
pub(super) fn find(path: &str) -> HttpRoute {
    let path = tidy(path);
    match &*path {
        "/v1/identify" | "/v1/i" => HttpRoute::Single(EventKind::Identify),
        "/v1/track" | "/v1/t" => HttpRoute::Single(EventKind::Track),
        "/v1/page" | "/v1/p" => HttpRoute::Single(EventKind::Page),
        "/v1/screen" | "/v1/s" => HttpRoute::Single(EventKind::Screen),
        "/v1/group" | "/v1/g" => HttpRoute::Single(EventKind::Group),
        "/v1/alias" | "/v1/a" => HttpRoute::Single(EventKind::Alias),
        "/v1/batch" | "/v1/b" | "/v1/import" | "/beacon/v1/batch" => HttpRoute::Batch,
        "/pixel/v1/track" => HttpRoute::Pixel(EventKind::Track),
        "/pixel/v1/page" => HttpRoute::Pixel(EventKind::Page),
        "/v1/m" | "/m" | "/rsaRequest" | "/rsaMetrics" => HttpRoute::Discard,
        "/sourceConfig" => HttpRoute::SourceConfig,
        "/v1/webhook" => HttpRoute::Webhook(WebhookPath { source: None, key: None }),
        "/sdk/v1/cookies/renew" => cookies(CookieFamily::Tidegate, CookieWork::Renew),
        "/sdk/v1/cookies/clear" => cookies(CookieFamily::Tidegate, CookieWork::Clear),
        "/ht/renew" => cookies(CookieFamily::Hightouch, CookieWork::Renew),
        "/ht/clear" => cookies(CookieFamily::Hightouch, CookieWork::Clear),
        "/health" => HttpRoute::Health,
        "/health/conservation" => HttpRoute::Conservation,
        "/version" => HttpRoute::Version,
        "/robots.txt" => HttpRoute::Robots,
        "" => HttpRoute::Index,
        other => project(other).or_else(|| webhook(other)).or_else(|| sdk(other)).unwrap_or(HttpRoute::Unknown),
    }
}

/// `/v1/projects/{writeKey}/settings` and its relatives.
fn project(path: &str) -> Option<HttpRoute> {
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/projects/")?;
    let (key, what) = path.split_once('/')?;
    let key = decoded(key)?;
    match what {
        "settings" => Some(HttpRoute::Settings(key)),
        "integrations" => Some(HttpRoute::Integrations(key)),
        _ => None,
    }
}

/// `/v1/webhook/{source}` and `/hooks/{source}/{writeKey}`.
fn webhook(path: &str) -> Option<HttpRoute> {
    let (source, key) = match path.strip_prefix("/v1/webhook/") {
        Some(source) => (source, None),
        None => path.strip_prefix("/hooks/")?.split_once('/').map(|(source, key)| (source, Some(key)))?,
    };
    if source.is_empty() || source.contains('/') || key.is_some_and(|key| key.is_empty() || key.contains('/')) {
        return None;
    }
    let key = match key {
        Some(key) => Some(decoded(key)?),
        None => None,
    };
    Some(HttpRoute::Webhook(WebhookPath { source: Some(decoded(source)?), key }))
}

/// `/sdk/v1/{file}`.
fn sdk(path: &str) -> Option<HttpRoute> {
    browser_sdk::find(path.strip_prefix("/sdk/v1/")?).map(HttpRoute::Sdk)
}

const fn cookies(family: CookieFamily, work: CookieWork) -> HttpRoute {
    HttpRoute::Cookies(CookieCall { family, work })
}

fn decoded(step: &str) -> Option<String> {
    percent_encoding::percent_decode_str(step).decode_utf8().ok().map(Cow::into_owned)
}

fn tidy(path: &str) -> Cow<'_, str> {
    let path = path.trim_end_matches('/');
    if !path.contains("//") {
        return Cow::Borrowed(path);
    }
    let mut out = String::with_capacity(path.len());
    for part in path.split('/').filter(|part| !part.is_empty()) {
        out.push('/');
        out.push_str(part);
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_dialect_has_its_route() {
        assert_eq!(find("/v1/t"), HttpRoute::Single(EventKind::Track));
        assert_eq!(find("//v1//track/"), HttpRoute::Single(EventKind::Track));
        assert_eq!(find("/v1/batch/"), HttpRoute::Batch);
        assert_eq!(find("/v1/import/"), HttpRoute::Batch);
        assert_eq!(find("/"), HttpRoute::Index);
        assert_eq!(find("/v1/projects/k%2F1/settings"), HttpRoute::Settings("k/1".into()));
        assert_eq!(find("/projects/k/settings/"), HttpRoute::Settings("k".into()));
        assert_eq!(find("/v1/projects/k/integrations"), HttpRoute::Integrations("k".into()));
        assert_eq!(find("/v1/nope"), HttpRoute::Unknown);
        assert_eq!(find("/v1/projects//settings"), HttpRoute::Unknown);
        assert_eq!(find("/sdk/v1/tidegate.js"), HttpRoute::Sdk(SdkFile::Newest));
        assert_eq!(
            find("/sdk/v1/tidegate.0123456789abcdef.js"),
            HttpRoute::Sdk(SdkFile::Hashed("0123456789abcdef".into()))
        );
        assert_eq!(find("/ht/renew/"), cookies(CookieFamily::Hightouch, CookieWork::Renew));
        assert_eq!(find("/sdk/v1/cookies/clear"), cookies(CookieFamily::Tidegate, CookieWork::Clear));
        assert_eq!(find("/sdk/v1/other.js"), HttpRoute::Unknown);
        let webhook = |source: Option<&str>, key: Option<&str>| {
            HttpRoute::Webhook(WebhookPath { source: source.map(str::to_owned), key: key.map(str::to_owned) })
        };
        assert_eq!(find("/v1/webhook"), webhook(None, None));
        assert_eq!(find("/v1/webhook/git/"), webhook(Some("git"), None));
        assert_eq!(find("/hooks/git/k%2F1"), webhook(Some("git"), Some("k/1")));
        for path in ["/hooks/git", "/hooks//k", "/hooks/git/k/more", "/v1/webhook/git/k"] {
            assert_eq!(find(path), HttpRoute::Unknown, "{path}");
        }
    }
}

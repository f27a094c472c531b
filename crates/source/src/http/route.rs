//! Paths to routes. Trailing and doubled slashes are tolerated, as the SDKs' configurations produce them.

use std::borrow::Cow;

use tidegate_event::EventKind;

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
    /// Remote settings of the RudderStack family.
    SourceConfig,
    Health,
    Version,
    Robots,
    Index,
    Unknown,
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
        "/health" => HttpRoute::Health,
        "/version" => HttpRoute::Version,
        "/robots.txt" => HttpRoute::Robots,
        "" => HttpRoute::Index,
        other => project(other).unwrap_or(HttpRoute::Unknown),
    }
}

/// `/v1/projects/{writeKey}/settings` and its relatives.
fn project(path: &str) -> Option<HttpRoute> {
    let path = path.strip_prefix("/v1").unwrap_or(path).strip_prefix("/projects/")?;
    let (key, what) = path.split_once('/')?;
    let key = percent_encoding::percent_decode_str(key).decode_utf8().ok()?.into_owned();
    match what {
        "settings" => Some(HttpRoute::Settings(key)),
        "integrations" => Some(HttpRoute::Integrations(key)),
        _ => None,
    }
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
    }
}

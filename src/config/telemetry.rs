//! `metrics` and `traces` of `tidegate.yaml`: who may read the numbers of the server, and where spans of requests go.

use std::time::Duration;

use tidegate_catalog::SecretValue;
use tidegate_document::fields::Fields;
use tidegate_net::WebSettings;
use url::Url;

use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

/// A shorter token could be guessed.
const TOKEN_CHARS_MIN: usize = 16;
/// No token that is shown is read any further.
const TOKEN_CHARS_MAX: usize = 256;
const HEADERS_MAX: usize = 16;
const SHARE_PERCENT_DEFAULT: u8 = 1;
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(5);
const TIMEOUT_MAX: Duration = Duration::from_secs(60);
const SERVICE_NAME_DEFAULT: &str = "tidegate";

/// Who may read `/metrics` besides those who hold the admin token.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Everybody who reaches the port.
    pub open: bool,
    /// Whoever shows this.
    pub token: Option<SecretValue>,
}

/// Where spans go, and of which requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracesConfig {
    /// The collector takes spans here.
    pub url: Url,
    pub headers: Vec<(String, SecretValue)>,
    /// Of requests that say nothing themselves, so many in a hundred are followed.
    pub share_percent: u8,
    pub timeout: Duration,
    pub service_name: String,
    pub web: WebSettings,
}

/// Reads `metrics`.
pub(super) fn metrics(fields: &mut Fields<'_>) -> MetricsConfig {
    let read = |f: &mut Fields<'_>| {
        let (open, token) = (f.flag("open").unwrap_or(false), f.text("token"));
        let fits = |token: &String| {
            (TOKEN_CHARS_MIN..=TOKEN_CHARS_MAX).contains(&token.len())
                && token.bytes().all(|byte| byte.is_ascii_graphic())
        };
        if token.as_ref().is_some_and(|token| !fits(token)) {
            let message = format!("`metrics.token` is not {TOKEN_CHARS_MIN} to {TOKEN_CHARS_MAX} letters and digits");
            f.problem("token", message, "make one with `openssl rand -hex 16`, and write `token: ${METRICS_TOKEN}`");
        }
        if open && token.is_some() {
            f.problem("token", "`metrics.token` opens nothing that `open: true` does not", "leave one of them out");
        }
        MetricsConfig { open, token: token.map(SecretValue::from) }
    };
    fields.within("metrics", read).unwrap_or_default()
}

/// Reads `traces`; none where it is not there, or has problems.
pub(super) fn traces(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<TracesConfig> {
    fields.within("traces", |f| {
        let endpoint = f.required("endpoint", "http://127.0.0.1:4318");
        let share_percent = f.number_up_to("share_percent", 0, 100).unwrap_or(SHARE_PERCENT_DEFAULT);
        let timeout = f.duration("timeout").unwrap_or(TIMEOUT_DEFAULT);
        if timeout.is_zero() || timeout > TIMEOUT_MAX {
            f.problem("timeout", "`traces.timeout` is not from 1 ms to 60 s", "write `timeout: 5 s`, or leave it out");
        }
        let service_name = f.text("service_name").unwrap_or_else(|| SERVICE_NAME_DEFAULT.to_owned());
        let headers = f.each("headers", "value", header);
        if headers.len() > HEADERS_MAX {
            let message = format!("`traces.headers` has more than {HEADERS_MAX}");
            f.problem("headers", message, "leave some of them out");
        }
        let headers = headers.into_iter().flatten().collect();
        let web = outgoing.of_destination(f, inputs);
        let endpoint = endpoint?;
        let Some(url) = traces_url(&endpoint) else {
            let fix = "write where the collector takes OTLP over HTTP, e.g. http://127.0.0.1:4318";
            f.problem("endpoint", "`traces.endpoint` is no address of a server", fix);
            return None;
        };
        Some(TracesConfig { url, headers, share_percent, timeout, service_name, web })
    })?
}

/// A header of requests to the collector.
fn header(name: &str, f: &mut Fields<'_>) -> Option<(String, SecretValue)> {
    let value = f.required("value", "${OTLP_AUTHORIZATION}")?;
    let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
    if !is_name || !is_value {
        f.problem("", "it is no header that can be sent", "write it as in `authorization: ${OTLP_AUTHORIZATION}`");
        return None;
    }
    Some((name.to_owned(), SecretValue::from(value)))
}

/// Where a collector takes spans: below its endpoint, unless that says so itself.
fn traces_url(endpoint: &str) -> Option<Url> {
    let url = Url::parse(endpoint).ok()?;
    let fits = matches!(url.scheme(), "http" | "https")
        && url.has_host()
        && url.username().is_empty()
        && url.password().is_none()
        && url.query().is_none()
        && url.fragment().is_none();
    let path = url.path().trim_end_matches('/');
    let whole = if path.ends_with("/v1/traces") { path.to_owned() } else { format!("{path}/v1/traces") };
    let mut url = url.clone();
    url.set_path(&whole);
    fits.then_some(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_go_below_the_endpoint_of_a_collector() {
        for (endpoint, url) in [
            ("http://127.0.0.1:4318", "http://127.0.0.1:4318/v1/traces"),
            ("https://otel.example.com/own/", "https://otel.example.com/own/v1/traces"),
            ("https://otel.example.com/v1/traces", "https://otel.example.com/v1/traces"),
        ] {
            assert_eq!(traces_url(endpoint).unwrap().as_str(), url);
        }
        for wrong in ["collector:4318", "ftp://x", "http://me:secret@x", "http://x?a=b", ""] {
            assert_eq!(traces_url(wrong), None, "{wrong}");
        }
    }
}

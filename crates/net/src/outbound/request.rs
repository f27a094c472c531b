//! From what a guest planned to what goes over the wire.

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, USER_AGENT};
use hyper::{Method, http};

use super::placeholder::has_placeholder;
use super::policy::{Policy, PolicyRefusal, shown};
use super::secret::{Secrets, Spelling};

const HEADERS_MAX: usize = 64;
const HEADER_BYTES_MAX: usize = 32 << 10;
/// One request alone; a plan is bounded by its reader.
const BODY_BYTES_MAX: usize = 16 << 20;

/// What this program calls itself where a guest says nothing else.
const AGENT: &str = concat!("tidegate/", env!("CARGO_PKG_VERSION"));

/// One request with its secrets still as placeholders: fit to be kept and shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundRequest {
    pub method: Method,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Bytes,
}

pub(super) type WireRequest = http::Request<Full<Bytes>>;

impl OutboundRequest {
    /// Whether it could go over the wire, as far as that can be told without sending it.
    ///
    /// # Errors
    /// Why not.
    pub fn check(&self, policy: &Policy, secrets: &Secrets) -> Result<(), PolicyRefusal> {
        self.prepare(policy, secrets, &[]).map(drop)
    }

    /// Checks the place, then everything else, then puts the secrets in. `reserved` are headers that the host sets.
    pub(super) fn prepare(
        &self,
        policy: &Policy,
        secrets: &Secrets,
        reserved: &[HeaderName],
    ) -> Result<(WireRequest, Bytes), PolicyRefusal> {
        let checked = policy.check(&self.method, &self.url)?;
        if self.body.len() > BODY_BYTES_MAX {
            let reason = format!("the body has {} bytes; at most {BODY_BYTES_MAX} are allowed", self.body.len());
            return Err(PolicyRefusal::new("body-too-large", reason));
        }
        let headers = self.headers(secrets, reserved)?;
        let body = self.body(secrets, headers.get(CONTENT_TYPE))?;
        let filled = secrets.fill(&self.url, Spelling::Percent, "the URL")?;
        let mut url = url::Url::parse(&filled).map_err(|_| PolicyRefusal::new("bad-url", "the URL cannot be read"))?;
        // Encoded values cannot reach the authority; should that ever be wrong, nothing is sent.
        if url.origin() != checked.origin() {
            return Err(PolicyRefusal::new("secret-misplaced", "a secret changed where the request goes"));
        }
        url.set_fragment(None);
        let uri: http::Uri =
            url.as_str().parse().map_err(|_| PolicyRefusal::new("bad-url", "the URL is none that HTTP can carry"))?;
        let mut wire = http::Request::new(Full::new(body.clone()));
        *wire.method_mut() = self.method.clone();
        *wire.uri_mut() = uri;
        *wire.headers_mut() = headers;
        Ok((wire, body))
    }

    fn headers(&self, secrets: &Secrets, reserved: &[HeaderName]) -> Result<HeaderMap, PolicyRefusal> {
        let bytes: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        if self.headers.len() > HEADERS_MAX || bytes > HEADER_BYTES_MAX {
            let reason = format!(
                "{} headers of {bytes} bytes; at most {HEADERS_MAX} of {HEADER_BYTES_MAX} are allowed",
                self.headers.len()
            );
            return Err(PolicyRefusal::new("headers-too-large", reason));
        }
        let mut headers = HeaderMap::with_capacity(self.headers.len() + 2);
        for (name, value) in &self.headers {
            if has_placeholder(name) {
                let reason = format!("the header name {} asks for a secret", shown(name));
                return Err(PolicyRefusal::new("secret-misplaced", reason));
            }
            let bad = |what: &str| PolicyRefusal::new("bad-header", format!("the header {} {what}", shown(name)));
            let known = HeaderName::try_from(name.as_str()).map_err(|_| bad("has a name that is none"))?;
            if is_ours(&known) || reserved.contains(&known) {
                let reason = format!("the header {known} is for the host to set");
                return Err(PolicyRefusal::new("header-forbidden", reason));
            }
            let filled = secrets.fill(value, Spelling::Plain, &format!("the header {known}"))?;
            let mut filled = HeaderValue::from_str(&filled)
                .map_err(|_| bad("has a value with line breaks or other bytes that no header may hold"))?;
            filled.set_sensitive(has_placeholder(value));
            headers.append(known, filled);
        }
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(AGENT));
        Ok(headers)
    }

    fn body(&self, secrets: &Secrets, content_type: Option<&HeaderValue>) -> Result<Bytes, PolicyRefusal> {
        let marked = memchr::memmem::find(&self.body, b"{{secret.").is_some();
        if secrets.is_empty() || !marked {
            return Ok(self.body.clone());
        }
        let media = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media = media.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
        let spelling = match media.as_str() {
            "application/x-www-form-urlencoded" => Spelling::Percent,
            "application/json" | "application/x-ndjson" => Spelling::Json,
            media if media.ends_with("+json") => Spelling::Json,
            media if media.starts_with("text/") => Spelling::Plain,
            _ => {
                let reason = format!(
                    "the body asks for a secret, but its content-type {} is not text, JSON or a form",
                    shown(&media)
                );
                return Err(PolicyRefusal::new("secret-misplaced", reason));
            }
        };
        let text = std::str::from_utf8(&self.body).map_err(|_| {
            PolicyRefusal::new("secret-misplaced", "the body asks for a secret, but it is not UTF-8 text")
        })?;
        Ok(secrets.fill(text, spelling, "the body")?.into())
    }
}

/// Headers that speak about the connection or the message's bounds, and so belong to whoever makes them.
fn is_ours(name: &HeaderName) -> bool {
    let name = name.as_str();
    name.starts_with("proxy-")
        || matches!(
            name,
            "host"
                | "content-length"
                | "connection"
                | "keep-alive"
                | "transfer-encoding"
                | "te"
                | "trailer"
                | "upgrade"
                | "expect"
        )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::outbound::OutboundRule;

    fn prepare(headers: &[(&str, &str)], body: &'static str) -> Result<(WireRequest, Bytes), PolicyRefusal> {
        let origin: crate::outbound::AllowedOrigin = "https://a.com".parse().unwrap();
        let policy = Policy {
            asked: vec![OutboundRule { origin: origin.clone(), methods: vec![Method::POST] }],
            granted: vec![origin],
            private_hosts: Vec::new(),
            ca_file: None,
        };
        let secrets = Secrets::new([
            ("key".to_owned(), "../a\"b@evil.net".to_owned()),
            ("lines".to_owned(), "a\r\nb".to_owned()),
        ]);
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let url = "https://a.com/{{secret.key}}?k={{secret.key}}#{{secret.key}}".to_owned();
        let request = OutboundRequest { method: Method::POST, url, headers, body: body.into() };
        request.prepare(&policy, &secrets, &[hyper::header::AUTHORIZATION])
    }

    fn code(headers: &[(&str, &str)], body: &'static str) -> &'static str {
        prepare(headers, body).map_or_else(|refusal| refusal.code, |_| "fine")
    }

    #[test]
    fn secrets_reach_path_query_headers_and_text_bodies_and_nothing_else() {
        let body = "{\"k\": \"{{secret.key}}\"}";
        let (wire, body) =
            prepare(&[("x-key", "k {{secret.key}}"), ("content-type", "application/json; charset=utf-8")], body)
                .unwrap();
        assert_eq!(wire.uri().to_string(), "https://a.com/%2E%2E%2Fa%22b%40evil%2Enet?k=%2E%2E%2Fa%22b%40evil%2Enet");
        assert_eq!(wire.headers()["x-key"], "k ../a\"b@evil.net");
        assert_eq!(body, "{\"k\": \"../a\\\"b@evil.net\"}");
        assert_eq!(code(&[("x-{{secret.key}}", "v")], ""), "secret-misplaced");
        assert_eq!(code(&[("content-type", "application/octet-stream")], "{{secret.key}}"), "secret-misplaced");
        assert_eq!(code(&[("x-key", "{{secret.absent}}")], ""), "secret-unknown");
        assert_eq!(code(&[("x-key", "{{secret.lines}}")], ""), "bad-header");
    }

    #[test]
    fn the_message_is_the_hosts_to_frame() {
        for name in
            ["Host", "content-length", "Transfer-Encoding", "proxy-authorization", "connection", "Authorization"]
        {
            assert_eq!(code(&[(name, "x")], ""), "header-forbidden", "{name}");
        }
        assert_eq!(code(&[("x-a", "b\r\nhost: evil")], ""), "bad-header");
        assert_eq!(code(&[("x a", "b")], ""), "bad-header");
        let many: Vec<(&str, &str)> = vec![("x-a", "b"); 65];
        assert_eq!(code(&many, ""), "headers-too-large");
    }
}

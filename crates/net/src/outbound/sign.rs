//! How the host signs a destination's requests: headers made of secrets, and tokens that it fetches.

use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use data_encoding::HEXLOWER;
use hmac::{Hmac, Mac};
use hyper::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::sync::Mutex;

use super::answer::{OutboundError, OutboundResponse};
use super::request::OutboundRequest;

/// How requests are signed. It holds secrets and never prints.
#[derive(Clone)]
pub enum RequestSigning {
    /// A header as it is.
    Header { name: HeaderName, value: String },
    /// `header: prefix + hex(HMAC(key, body))`.
    Hmac { header: HeaderName, prefix: String, key: String, digest: SigningDigest },
    /// Client credentials for a token.
    OAuth2 { token_url: String, client_id: String, client_secret: String, scopes: Vec<String> },
}

impl RequestSigning {
    /// `Authorization: Bearer ...`.
    #[must_use]
    pub fn bearer(secret: &str) -> Self {
        Self::Header { name: AUTHORIZATION, value: format!("Bearer {secret}") }
    }

    /// `Authorization: Basic ...`.
    #[must_use]
    pub fn basic(user: &str, password: &str) -> Self {
        Self::Header { name: AUTHORIZATION, value: basic(user, password) }
    }

    /// The header that it sets, which a guest may not.
    pub(super) fn header(&self) -> HeaderName {
        match self {
            Self::Header { name, .. } => name.clone(),
            Self::Hmac { header, .. } => header.clone(),
            Self::OAuth2 { .. } => AUTHORIZATION,
        }
    }
}

fn basic(user: &str, password: &str) -> String {
    format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SigningDigest {
    Sha1,
    Sha256,
    Sha512,
}

/// The HMAC of `data` under `key`.
#[must_use]
pub fn mac(digest: SigningDigest, key: &[u8], data: &[u8]) -> Vec<u8> {
    fn of<M: Mac + hmac::digest::KeyInit>(key: &[u8], data: &[u8]) -> Vec<u8> {
        // A key of any length is taken.
        let Ok(mut mac) = <M as hmac::digest::KeyInit>::new_from_slice(key) else { return Vec::new() };
        mac.update(data);
        mac.finalize().into_bytes().to_vec()
    }
    match digest {
        SigningDigest::Sha1 => of::<Hmac<sha1::Sha1>>(key, data),
        SigningDigest::Sha256 => of::<Hmac<sha2::Sha256>>(key, data),
        SigningDigest::Sha512 => of::<Hmac<sha2::Sha512>>(key, data),
    }
}

/// The header value for a body of these bytes.
pub(super) fn hmac_header(
    prefix: &str,
    key: &str,
    digest: SigningDigest,
    body: &[u8],
) -> Result<HeaderValue, OutboundError> {
    sensitive(&format!("{prefix}{}", HEXLOWER.encode(&mac(digest, key.as_bytes(), body))))
}

pub(super) fn sensitive(value: &str) -> Result<HeaderValue, OutboundError> {
    let mut value = HeaderValue::from_str(value).map_err(|_| OutboundError::SignIn {
        reason: "a secret holds bytes that no header may hold; it may have been copied with a line break".to_owned(),
        permanent: true,
    })?;
    value.set_sensitive(true);
    Ok(value)
}

/// Life of a token that does not say how long it lives.
const LIFE_DEFAULT: Duration = Duration::from_secs(3_600);

/// One token for a destination, fetched once however many requests wait for it.
#[derive(Default)]
pub(super) struct TokenCache {
    held: Mutex<HeldToken>,
}

#[derive(Default)]
struct HeldToken {
    token: Option<AccessToken>,
    /// The far side wants the credentials in the body.
    in_body: bool,
}

struct AccessToken {
    value: String,
    renew_at: Instant,
}

impl TokenCache {
    /// The token, from the cache or from `fetch`. Whoever comes meanwhile waits for the same answer.
    pub(super) async fn get<F, A>(&self, fetch: F) -> Result<String, OutboundError>
    where
        F: Fn(bool) -> A,
        A: Future<Output = Result<OutboundResponse, OutboundError>>,
    {
        let mut held = self.held.lock().await;
        if let Some(token) = held.token.as_ref().filter(|token| Instant::now() < token.renew_at) {
            return Ok(token.value.clone());
        }
        held.token = None;
        let mut response = fetch(held.in_body).await?;
        if !held.in_body && matches!(response.status, 400 | 401) {
            // The standard's first way is a header; some servers know only its second.
            response = fetch(true).await?;
            held.in_body = response.status == 200;
        }
        let token = read(&response)?;
        let value = token.value.clone();
        held.token = Some(token);
        Ok(value)
    }

    /// Forgets the token, unless a newer one has taken its place.
    pub(super) async fn forget(&self, value: &str) {
        let mut held = self.held.lock().await;
        if held.token.as_ref().is_some_and(|token| token.value == value) {
            held.token = None;
        }
    }

    /// The token that there is now.
    pub(super) async fn current(&self) -> Option<String> {
        self.held.lock().await.token.as_ref().map(|token| token.value.clone())
    }
}

fn read(response: &OutboundResponse) -> Result<AccessToken, OutboundError> {
    let permanent = matches!(response.status, 400 | 401 | 403);
    if response.status != 200 {
        let said = String::from_utf8_lossy(&response.body).chars().take(200).collect::<String>();
        let reason = format!("the token was refused with status {}: {said}", response.status);
        return Err(OutboundError::SignIn { reason, permanent });
    }
    let wrong = |reason: &str| OutboundError::SignIn { reason: reason.to_owned(), permanent: false };
    let body: serde_json::Value =
        serde_json::from_slice(&response.body).map_err(|_| wrong("the answer to the token request is no JSON"))?;
    let value = body["access_token"].as_str().filter(|token| !token.is_empty());
    let value = value.ok_or_else(|| wrong("the answer to the token request has no access_token"))?.to_owned();
    let life = body["expires_in"].as_f64().filter(|seconds| (0.0..1e9).contains(seconds));
    let life = life.map_or(LIFE_DEFAULT, Duration::from_secs_f64);
    // Renewed early, so that no request leaves with a token that ends on the way.
    let early = (life / 10).min(Duration::from_secs(60));
    Ok(AccessToken { value, renew_at: Instant::now() + (life - early) })
}

/// The request for a token.
pub(super) fn token_request(
    token_url: &str,
    client_id: &str,
    client_secret: &str,
    scopes: &[String],
    in_body: bool,
) -> OutboundRequest {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    if !scopes.is_empty() {
        form.append_pair("scope", &scopes.join(" "));
    }
    let mut headers = vec![
        ("content-type".to_owned(), "application/x-www-form-urlencoded".to_owned()),
        ("accept".to_owned(), "application/json".to_owned()),
    ];
    if in_body {
        form.append_pair("client_id", client_id).append_pair("client_secret", client_secret);
    } else {
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect::<String>();
        headers.push(("authorization".to_owned(), basic(&encoded(client_id), &encoded(client_secret))));
    }
    let body = form.finish().into();
    OutboundRequest { method: hyper::Method::POST, url: token_url.to_owned(), headers, body }
}

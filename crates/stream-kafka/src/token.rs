//! Tokens of OAUTHBEARER from an endpoint of OAuth 2.0, with the grant of client credentials.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::auth::OAuthBearerToken;
use reqwest::{Client, StatusCode};
use serde_json::Value;
use tidegate_net::WebSettings;
use tidegate_process::clock;
use tokio::sync::OnceCell;
use url::form_urlencoded;
use zeroize::Zeroizing;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of an error that an endpoint names.
const SHOWN_CHARS_MAX: usize = 200;

/// Where tokens are made, and for whom.
pub struct TokenEndpoint {
    pub url: String,
    pub client_id: String,
    pub client_secret: Zeroizing<String>,
    pub scope: Option<String>,
    pub web: WebSettings,
    client: OnceCell<Client>,
}

impl TokenEndpoint {
    #[must_use]
    pub fn new(url: String, client_id: String, client_secret: String) -> Self {
        let client_secret = Zeroizing::new(client_secret);
        Self { url, client_id, client_secret, scope: None, web: WebSettings::default(), client: OnceCell::new() }
    }

    /// A new token.
    pub(crate) async fn token(&self) -> krafka::Result<OAuthBearerToken> {
        let client = self.client.get_or_try_init(|| async { self.new_client() }).await?;
        let mut form = String::from("grant_type=client_credentials");
        if let Some(scope) = &self.scope {
            form.push_str("&scope=");
            form.push_str(&encoded(scope));
        }
        let asked_us = clock::now_us();
        let mut response = client
            .post(&self.url)
            // RFC 6749 section 2.3.1: both are encoded as in a form before they are joined.
            .basic_auth(encoded(&self.client_id), Some(encoded(&self.client_secret)))
            .header("content-type", "application/x-www-form-urlencoded")
            .header("accept", "application/json")
            .timeout(EXCHANGE_TIME_MAX)
            .body(form)
            .send()
            .await
            .map_err(|error| self.unreachable(error))?;
        let status = response.status();
        let mut bytes = Zeroizing::new(Vec::<u8>::new());
        while let Some(chunk) = response.chunk().await.map_err(|error| self.unreachable(error))? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                return Err(self.error("answers with more than 1 MiB"));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.read(status, &bytes, asked_us)
    }

    fn new_client(&self) -> krafka::Result<Client> {
        let builder = self.web.client().map_err(|error| self.error(&error.to_string()))?;
        builder.connect_timeout(CONNECT_TIME_MAX).build().map_err(|error| self.error(&error.to_string()))
    }

    fn read(&self, status: StatusCode, bytes: &[u8], asked_us: i64) -> krafka::Result<OAuthBearerToken> {
        let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
        let text = |name: &str| body.get(name).and_then(Value::as_str);
        if !status.is_success() {
            let named = text("error_description").or_else(|| text("error")).unwrap_or_default();
            let named: String = named.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
            let problem = format!("answers {} {named}", status.as_u16());
            let is_busy = status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS;
            return Err(if is_busy { self.away(&problem) } else { self.error(&problem) });
        }
        let token = text("access_token").ok_or_else(|| self.error("answers without access_token"))?;
        let token = OAuthBearerToken::new(token);
        // Some write the seconds as text.
        let seconds = body.get("expires_in").and_then(|value| value.as_i64().or_else(|| value.as_str()?.parse().ok()));
        Ok(match seconds {
            Some(seconds) => token.with_lifetime_ms((asked_us / 1_000).saturating_add(seconds.saturating_mul(1_000))),
            None => token,
        })
    }

    fn unreachable(&self, error: reqwest::Error) -> KrafkaError {
        let error = error.without_url();
        if error.is_connect() || error.is_timeout() || error.is_request() || error.is_body() {
            self.away(&format!("cannot be reached: {error}"))
        } else {
            self.error(&format!("cannot be asked: {error}"))
        }
    }

    /// Worth another try.
    fn away(&self, problem: &str) -> KrafkaError {
        KrafkaError::Network(Arc::new(io::Error::other(format!("`sasl.token_url` {} {problem}", self.url))))
    }

    fn error(&self, problem: &str) -> KrafkaError {
        KrafkaError::Auth { message: format!("`sasl.token_url` {} {problem}", self.url), source: None }
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

impl fmt::Debug for TokenEndpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenEndpoint")
            .field("url", &self.url)
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

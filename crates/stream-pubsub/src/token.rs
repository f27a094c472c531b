//! Tokens for Google: made or fetched when they are needed, kept until shortly before their end.

use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tidegate_net::WebSettings;
use tidegate_process::clock;
use tidegate_stream::StreamError;
use tokio::sync::Mutex;
use url::form_urlencoded;
use zeroize::Zeroizing;

use crate::credentials::{ExternalAccount, GoogleCredentials, SIGNED_LIFE_SECONDS, UserAccount};

const METADATA_URL: &str = "http://metadata.google.internal/computeMetadata/v1/instance/service-accounts/default/token";
/// What a token may be used for that is no signed one.
const SCOPE_PUBSUB: &str = "https://www.googleapis.com/auth/pubsub";
/// What is needed to impersonate a service account.
const SCOPE_CLOUD: &str = "https://www.googleapis.com/auth/cloud-platform";
/// Another token is asked for so long before the end of one; the metadata server has a new one by then.
const EARLY_SECONDS: i64 = 225;
const LIFE_SECONDS_DEFAULT: i64 = 300;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(15);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of an error that a server names.
const SHOWN_CHARS_MAX: usize = 200;

/// Gives tokens to whoever asks Google.
pub(crate) struct TokenSource {
    credentials: GoogleCredentials,
    client: Client,
    cached: Mutex<Option<CachedToken>>,
}

#[derive(Clone)]
struct CachedToken {
    text: Arc<Zeroizing<String>>,
    /// In seconds since the Unix epoch.
    ends_at: i64,
}

impl TokenSource {
    /// # Errors
    /// TLS cannot be set up.
    pub(crate) fn new(credentials: GoogleCredentials, web: &WebSettings) -> Result<Self, StreamError> {
        let setup = |problem: String| StreamError::Stop {
            reason: problem,
            advice: "correct `ca_file`, or the list of authorities of the machine".to_owned(),
        };
        let builder = web.client().map_err(|error| setup(error.to_string()))?;
        let client = builder.connect_timeout(CONNECT_TIME_MAX).timeout(EXCHANGE_TIME_MAX).build();
        let client = client.map_err(|error| setup(error.to_string()))?;
        Ok(Self { credentials, client, cached: Mutex::new(None) })
    }

    /// A token that is good for some minutes.
    ///
    /// # Errors
    /// There is none to be had.
    pub(crate) async fn token(&self) -> Result<Arc<Zeroizing<String>>, StreamError> {
        let mut cached = self.cached.lock().await;
        let now = clock::now_us() / 1_000_000;
        if let Some(token) = cached.as_ref().filter(|token| token.ends_at - EARLY_SECONDS > now) {
            return Ok(Arc::clone(&token.text));
        }
        match self.fetch(now).await {
            Ok(token) => {
                let text = Arc::clone(&token.text);
                *cached = Some(token);
                Ok(text)
            }
            // The one before is still good.
            Err(StreamError::Retry(_)) if cached.as_ref().is_some_and(|token| token.ends_at > now) => {
                let text = cached.as_ref().map(|token| Arc::clone(&token.text));
                text.ok_or_else(|| StreamError::Retry("there is no token".to_owned()))
            }
            Err(error) => Err(error),
        }
    }

    /// Google did not take this token: the next one is another.
    pub(crate) async fn forget(&self, refused: &Arc<Zeroizing<String>>) {
        let mut cached = self.cached.lock().await;
        if cached.as_ref().is_some_and(|token| Arc::ptr_eq(&token.text, refused)) {
            *cached = None;
        }
    }

    async fn fetch(&self, now: i64) -> Result<CachedToken, StreamError> {
        match &self.credentials {
            GoogleCredentials::Key(key) => {
                Ok(CachedToken { text: Arc::new(key.sign(now)?), ends_at: now.saturating_add(SIGNED_LIFE_SECONDS) })
            }
            GoogleCredentials::Machine => {
                let request = self.client.get(METADATA_URL).header("Metadata-Flavor", "Google");
                let answer = ask(request, "the machine's metadata server").await?;
                of_answer(&answer, now, "the machine's metadata server")
            }
            GoogleCredentials::User(user) => self.refreshed(user, now).await,
            GoogleCredentials::External(account) => self.exchanged(account, now).await,
        }
    }

    async fn refreshed(&self, user: &UserAccount, now: i64) -> Result<CachedToken, StreamError> {
        let form = form(&[
            ("grant_type", "refresh_token"),
            ("client_id", user.client_id.as_str()),
            ("client_secret", user.client_secret.as_str()),
            ("refresh_token", user.refresh_token.as_str()),
        ]);
        let answer = ask(self.form_to(&user.token_url, form), &user.token_url).await?;
        of_answer(&answer, now, &user.token_url)
    }

    async fn exchanged(&self, account: &ExternalAccount, now: i64) -> Result<CachedToken, StreamError> {
        let subject = account.subject_token()?;
        let scope = if account.impersonation_url.is_some() { SCOPE_CLOUD } else { SCOPE_PUBSUB };
        let form = form(&[
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("requested_token_type", "urn:ietf:params:oauth:token-type:access_token"),
            ("audience", account.audience.as_str()),
            ("scope", scope),
            ("subject_token_type", account.subject_token_type.as_str()),
            ("subject_token", subject.as_str()),
        ]);
        let answer = ask(self.form_to(&account.token_url, form), &account.token_url).await?;
        let token = of_answer(&answer, now, &account.token_url)?;
        let Some(url) = &account.impersonation_url else { return Ok(token) };
        let request = self.client.post(url).bearer_auth(token.text.as_str());
        let body = json!({"scope": [SCOPE_PUBSUB], "lifetime": "3600s"}).to_string();
        let answer = ask(request.header("content-type", "application/json").body(body), url).await?;
        let text = answer.get("accessToken").and_then(Value::as_str);
        let text = text.ok_or_else(|| StreamError::Retry(format!("{url} answers without accessToken")))?;
        Ok(CachedToken { text: Arc::new(Zeroizing::new(text.to_owned())), ends_at: now.saturating_add(3_600) })
    }

    fn form_to(&self, url: &str, form: String) -> RequestBuilder {
        self.client.post(url).header("content-type", "application/x-www-form-urlencoded").body(form)
    }
}

fn form(pairs: &[(&str, &str)]) -> String {
    form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish()
}

/// The JSON that a server answers with; `whom` is how messages call it.
async fn ask(request: RequestBuilder, whom: &str) -> Result<Value, StreamError> {
    let away = |error: reqwest::Error| {
        let causes = tidegate_process::telemetry::with_causes(&error.without_url());
        StreamError::Retry(format!("a token could not be had from {whom}: {causes}"))
    };
    let mut response = request.header("accept", "application/json").send().await.map_err(away)?;
    let status = response.status();
    let mut bytes = Zeroizing::new(Vec::<u8>::new());
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(StreamError::Retry(format!("{whom} answers with more than {ANSWER_BYTES_MAX} bytes")));
        }
        bytes.extend_from_slice(&chunk);
    }
    let answer: Value = serde_json::from_slice(&bytes).unwrap_or_default();
    if status.is_success() {
        return Ok(answer);
    }
    let text = |name: &str| answer.get(name).and_then(Value::as_str).map(str::to_owned);
    let nested = || answer.get("error")?.get("message")?.as_str().map(str::to_owned);
    let named = text("error_description").or_else(nested).or_else(|| text("error")).unwrap_or_default();
    let named: String = named.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    let reason = format!("{whom} gives no token: it answers {} {named}", status.as_u16());
    if status.is_server_error() || status.as_u16() == 429 {
        return Err(StreamError::Retry(reason));
    }
    let advice = "see to the file that `credentials` names, or to the service account of the machine: make a new key, or log in again";
    Err(StreamError::Stop { reason, advice: advice.to_owned() })
}

fn of_answer(answer: &Value, now: i64, whom: &str) -> Result<CachedToken, StreamError> {
    let text = answer.get("access_token").and_then(Value::as_str);
    let text = text.ok_or_else(|| StreamError::Retry(format!("{whom} answers without access_token")))?;
    let life = answer.get("expires_in").and_then(Value::as_i64).unwrap_or(LIFE_SECONDS_DEFAULT);
    Ok(CachedToken { text: Arc::new(Zeroizing::new(text.to_owned())), ends_at: now.saturating_add(life) })
}

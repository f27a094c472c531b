//! One destination's connections, and one exchange over them.

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{AUTHORIZATION, HeaderName};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};

use super::answer::{OutboundError, OutboundResponse};
use super::policy::{Policy, PolicyRefusal};
use super::request::{OutboundRequest, WireRequest};
use super::resolve::{Guarded, Resolve, SystemResolver};
use super::secret::Secrets;
use super::sign::{RequestSigning, TokenCache, hmac_header, sensitive, token_request};
use crate::trust::{self, RefusedCertificate, TrustError};

/// Of an answer, this much is kept.
const KEPT_BYTES_MAX: usize = 64 << 10;
/// And this much is read so that the connection can be used again; beyond it the connection is closed.
const READ_BYTES_MAX: usize = 1 << 20;
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const IDLE_TIMEOUT: Duration = Duration::from_secs(60);
const IDLE_CONNECTIONS_MAX: usize = 16;
const RESPONSE_HEADERS_MAX: usize = 64;
/// How a workspace names authorities.
pub(super) const CA_SETTING: &str = "`ca_file` of the destination, or of `net` in tidegate.yaml";
/// What the far side may send before its headers end.
const HEAD_BYTES_MAX: usize = 64 << 10;

/// What a client is made of.
pub struct OutboundSettings {
    pub policy: Policy,
    pub secrets: Secrets,
    pub authentication: Option<RequestSigning>,
    /// One exchange, from the first look-up to the last byte read.
    pub timeout: Duration,
    pub resolver: Arc<dyn Resolve>,
}

impl OutboundSettings {
    /// Settings with the system's resolver, without secrets.
    #[must_use]
    pub fn new(policy: Policy, timeout: Duration) -> Self {
        Self { policy, secrets: Secrets::default(), authentication: None, timeout, resolver: Arc::new(SystemResolver) }
    }
}

type Connections = legacy::Client<HttpsConnector<HttpConnector<Guarded>>, Full<Bytes>>;

/// What makes connections, to addresses that the policy grants alone.
pub(super) fn connector(
    policy: Arc<Policy>,
    resolver: Arc<dyn Resolve>,
    timeout: Duration,
) -> Result<HttpsConnector<HttpConnector<Guarded>>, TrustError> {
    let tls = trust::client_config(policy.ca_file.as_deref())?;
    let mut http = HttpConnector::new_with_resolver(Guarded { resolver, policy });
    http.enforce_http(false);
    http.set_connect_timeout(Some(CONNECT_TIMEOUT.min(timeout)));
    http.set_nodelay(true);
    Ok(HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1().wrap_connector(http))
}

/// A pool of connections with the rules of one destination.
pub struct OutboundClient {
    connections: Connections,
    policy: Arc<Policy>,
    secrets: Secrets,
    authentication: Option<RequestSigning>,
    reserved: Vec<HeaderName>,
    tokens: TokenCache,
    timeout: Duration,
}

impl OutboundClient {
    /// Makes a client; nothing is connected yet.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn open(settings: OutboundSettings) -> Result<Self, TrustError> {
        let OutboundSettings { policy, mut secrets, authentication, timeout, resolver } = settings;
        let policy = Arc::new(policy);
        let https = connector(Arc::clone(&policy), resolver, timeout)?;
        let connections = legacy::Client::builder(TokioExecutor::new())
            .timer(TokioTimer::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE_TIMEOUT)
            .pool_max_idle_per_host(IDLE_CONNECTIONS_MAX)
            .http1_max_buf_size(HEAD_BYTES_MAX)
            .build(https);
        let mut reserved = Vec::new();
        if let Some(authentication) = &authentication {
            reserved.extend([AUTHORIZATION, authentication.header()]);
            if let RequestSigning::Header { value, .. } = authentication {
                // `Basic dXNlcjpw` tells as much as the secret that it is made of.
                let credential = value.split_once(' ').map_or(value.as_str(), |(_, credential)| credential);
                secrets.hide("{{secret}}", credential);
            }
        }
        let tokens = TokenCache::default();
        Ok(Self { connections, policy, secrets, authentication, reserved, tokens, timeout })
    }

    /// Sends `request` and reads the answer, both within the time limit.
    ///
    /// # Errors
    /// It must not be sent, or there is no answer.
    pub async fn send(&self, request: &OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        self.in_time(self.exchange(request)).await
    }

    /// The secrets that it puts in.
    #[must_use]
    pub fn secrets(&self) -> &Secrets {
        &self.secrets
    }

    /// Forgets the token that it signs in with; the next request fetches a new one.
    pub async fn forget_token(&self) {
        if let Some(token) = self.tokens.current().await {
            self.tokens.forget(&token).await;
        }
    }

    /// `text` with every secret taken out, the current token included.
    pub async fn redact(&self, bytes: &[u8]) -> Vec<u8> {
        let clean = self.secrets.redact(bytes);
        match self.tokens.current().await {
            Some(token) => {
                let mut secrets = Secrets::default();
                secrets.hide("{{token}}", &token);
                secrets.redact(&clean)
            }
            None => clean,
        }
    }

    async fn in_time<T>(&self, work: impl Future<Output = Result<T, OutboundError>>) -> Result<T, OutboundError> {
        tokio::time::timeout(self.timeout, work).await.unwrap_or(Err(OutboundError::Slow(self.timeout)))
    }

    async fn exchange(&self, request: &OutboundRequest) -> Result<OutboundResponse, OutboundError> {
        // What must not be sent is refused before a token is asked for.
        let (mut wire, body) = request.prepare(&self.policy, &self.secrets, &self.reserved)?;
        self.sign(&mut wire, &body).await?;
        let response = self.raw(wire).await?;
        let mut clean = OutboundResponse { status: response.status, ..OutboundResponse::default() };
        for (name, value) in &response.headers {
            let value = self.redact(value.as_bytes()).await;
            clean.headers.push((name.clone(), String::from_utf8_lossy(&value).into_owned()));
        }
        clean.body = self.redact(&response.body).await;
        clean.body.truncate(KEPT_BYTES_MAX);
        Ok(clean)
    }

    async fn sign(&self, wire: &mut WireRequest, body: &[u8]) -> Result<(), OutboundError> {
        let (name, value) = match &self.authentication {
            None => return Ok(()),
            Some(RequestSigning::Header { name, value }) => (name, sensitive(value)?),
            Some(RequestSigning::Hmac { header, prefix, key, digest }) => {
                (header, hmac_header(prefix, key, *digest, body)?)
            }
            Some(RequestSigning::OAuth2 { token_url, client_id, client_secret, scopes }) => {
                let fetch = async |in_body| {
                    let request = token_request(token_url, client_id, client_secret, scopes, in_body);
                    let (wire, _) = request.prepare(&self.policy, &Secrets::default(), &[])?;
                    let mut response = self.raw(wire).await?;
                    if response.status != 200 {
                        response.body = self.secrets.redact(&response.body);
                    }
                    Ok(response)
                };
                let token = self.tokens.get(fetch).await?;
                (&AUTHORIZATION, sensitive(&format!("Bearer {token}"))?)
            }
        };
        wire.headers_mut().insert(name.clone(), value);
        Ok(())
    }

    /// One exchange, unredacted.
    async fn raw(&self, wire: WireRequest) -> Result<OutboundResponse, OutboundError> {
        let response = self.connections.request(wire).await.map_err(|error| self.error(&error))?;
        let status = response.status().as_u16();
        let headers = response.headers().iter().take(RESPONSE_HEADERS_MAX);
        let headers = headers
            .map(|(name, value)| (name.as_str().to_owned(), String::from_utf8_lossy(value.as_bytes()).into_owned()))
            .collect();
        let body = self.body(response.into_body()).await?;
        Ok(OutboundResponse { status, headers, body })
    }

    async fn body(&self, mut body: Incoming) -> Result<Vec<u8>, OutboundError> {
        let (mut kept, mut read) = (Vec::new(), 0_usize);
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| OutboundError::Away(format!("the answer broke off: {error}")))?;
            let Some(data) = frame.data_ref() else { continue };
            read += data.len();
            let room = KEPT_BYTES_MAX.saturating_sub(kept.len()).min(data.len());
            kept.extend_from_slice(data.get(..room).unwrap_or_default());
            if read > READ_BYTES_MAX {
                // Dropping the body closes the connection; what was said so far is the answer.
                break;
            }
        }
        Ok(kept)
    }

    /// A certificate that is not trusted says what to do. The refusal of our own resolver comes back wrapped in what the
    /// connection says about it.
    fn error(&self, error: &legacy::Error) -> OutboundError {
        if let Some(refused) = RefusedCertificate::in_causes(error) {
            return OutboundError::Away(refused.advice(CA_SETTING));
        }
        let mut reason = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            if let Some(refusal) = error.downcast_ref::<PolicyRefusal>() {
                return OutboundError::Refused(refusal.clone());
            }
            reason = format!("{reason}: {error}");
            cause = error.source();
        }
        OutboundError::Away(self.secrets.redact_text(&reason))
    }
}

//! Requests and answers, bounded in time and size.

use std::io::Read as _;
use std::sync::Arc;
use std::time::Duration;

use reqwest::{Client, RequestBuilder, Response, StatusCode};
use serde_json::Value;
use tidegate_net::WebSettings;

use super::error::{SnowflakeError, doing};

/// An answer beyond this is refused.
const ANSWER_BYTES_MAX: usize = 64 << 20;
const CONNECT_TIME_MAX: Duration = Duration::from_secs(15);
/// Snowflake answers within 45 seconds, if only to say that a statement still runs.
const ANSWER_TIME_MAX: Duration = Duration::from_secs(120);
/// What is shown of an answer that is no JSON.
const SHOWN_CHARS_MAX: usize = 200;

/// Connections to one account.
#[derive(Debug, Clone)]
pub(super) struct Http {
    pub(super) client: Client,
    /// Scheme, host and port.
    pub(super) base: Arc<str>,
    web: WebSettings,
}

impl Http {
    /// Makes a client; connects to nothing yet.
    ///
    /// # Errors
    /// The file of authorities cannot be used.
    pub(super) fn new(base: &str, web: &WebSettings) -> Result<Self, SnowflakeError> {
        let wrong = |problem: String| SnowflakeError::Settings { problem };
        let builder = web.client().map_err(|error| wrong(error.to_string()))?;
        let client = builder
            .user_agent(concat!("Tidegate/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(ANSWER_TIME_MAX)
            .build()
            .map_err(|error| wrong(error.to_string()))?;
        Ok(Self { client, base: base.into(), web: web.clone() })
    }

    /// The same with connections of its own, for another runtime.
    ///
    /// # Errors
    /// See [`Self::new`].
    pub(super) fn anew(&self) -> Result<Self, SnowflakeError> {
        Self::new(&self.base, &self.web)
    }

    /// Whether files may travel without encryption: only where an operator configured an endpoint without it.
    pub(super) fn is_plain(&self) -> bool {
        self.base.starts_with("http://")
    }
}

/// Sends a request and reads the whole answer, whatever its status.
pub(super) async fn send(request: RequestBuilder, what: &'static str) -> Result<(StatusCode, Vec<u8>), SnowflakeError> {
    let response = request.send().await.map_err(doing(what))?;
    let status = response.status();
    Ok((status, body(response, what).await?))
}

/// Sends a request whose answer is JSON; another status than 200 is an error unless the answer is JSON that says more.
pub(super) async fn json(request: RequestBuilder, what: &'static str) -> Result<Value, SnowflakeError> {
    let (status, body) = send(request.header("Accept", "application/json"), what).await?;
    if status.is_server_error() {
        return Err(unexpected(status, &body, what));
    }
    match serde_json::from_slice::<Value>(&body) {
        Ok(answer) if status.is_success() || answer["code"].is_string() => Ok(answer),
        Err(error) if status.is_success() => Err(SnowflakeError::Answer { doing: what, problem: error.to_string() }),
        _ => Err(unexpected(status, &body, what)),
    }
}

/// The error of a status that is not a success.
pub(super) fn unexpected(status: StatusCode, body: &[u8], doing: &'static str) -> SnowflakeError {
    let body: String =
        String::from_utf8_lossy(body).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect();
    SnowflakeError::Status { doing, status: status.as_u16(), body }
}

async fn body(mut response: Response, what: &'static str) -> Result<Vec<u8>, SnowflakeError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(doing(what))? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(SnowflakeError::Answer {
                doing: what,
                problem: format!("it is larger than {ANSWER_BYTES_MAX} bytes"),
            });
        }
        body.extend_from_slice(&chunk);
    }
    if !body.starts_with(&[0x1f, 0x8b]) {
        return Ok(body);
    }
    let mut plain = Vec::new();
    let most = ANSWER_BYTES_MAX as u64 + 1;
    let read = flate2::read::MultiGzDecoder::new(&*body).take(most).read_to_end(&mut plain);
    match read {
        Ok(_) if plain.len() <= ANSWER_BYTES_MAX => Ok(plain),
        Ok(_) => {
            Err(SnowflakeError::Answer { doing: what, problem: format!("it is larger than {ANSWER_BYTES_MAX} bytes") })
        }
        Err(error) => Err(SnowflakeError::Answer { doing: what, problem: error.to_string() }),
    }
}

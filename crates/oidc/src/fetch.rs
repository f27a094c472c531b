//! One exchange with a provider, bounded in time and bytes.

use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::Value;
use tidegate_net::WebSettings;

use crate::error::OidcError;

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 1 << 20;
/// Of an error and its description, which are shown to people.
const SHOWN_CHARS_MAX: usize = 200;

/// What came back: the status, and a body that is JSON, or null.
pub(crate) struct ProviderAnswer {
    url: String,
    status: u16,
    body: Result<Value, String>,
}

/// A client that trusts as the settings say and follows no redirect.
pub(crate) fn client(settings: &WebSettings) -> Result<Client, OidcError> {
    let setup = |error: &dyn std::fmt::Display| OidcError::Setup(error.to_string());
    let builder = settings.client().map_err(|error| setup(&error))?;
    builder.connect_timeout(CONNECT_TIME_MAX).build().map_err(|error| setup(&error))
}

/// Sends a request and reads the whole answer. `url` is what messages say.
pub(crate) async fn send(request: RequestBuilder, url: &str) -> Result<ProviderAnswer, OidcError> {
    let unreachable =
        |error: reqwest::Error| OidcError::Unreachable { url: url.to_owned(), reason: innermost(&error.without_url()) };
    let mut response = request.timeout(EXCHANGE_TIME_MAX).send().await.map_err(unreachable)?;
    let status = response.status().as_u16();
    let mut bytes = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
        if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(OidcError::TooLarge { url: url.to_owned(), bytes_max: ANSWER_BYTES_MAX });
        }
        bytes.extend_from_slice(&chunk);
    }
    let body = serde_json::from_slice(&bytes).map_err(|error| error.to_string());
    Ok(ProviderAnswer { url: url.to_owned(), status, body })
}

impl ProviderAnswer {
    /// The body of an answer that says yes. An error that the provider names (RFC 6749) is told as it is named.
    pub(crate) fn taken(self) -> Result<Value, OidcError> {
        let Self { url, status, body } = self;
        if !(200..300).contains(&status) {
            let named = body.ok().and_then(|body| {
                let text = |name: &str| body.get(name).and_then(Value::as_str).map(shown);
                Some(OidcError::Refused {
                    error: text("error")?,
                    description: text("error_description").unwrap_or_default(),
                })
            });
            return Err(named.unwrap_or(OidcError::Status { url, status }));
        }
        body.map_err(|reason| OidcError::Answer { url, reason })
    }
}

/// A text of a provider as messages may repeat it.
pub(crate) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// What wraps the first cause says little.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

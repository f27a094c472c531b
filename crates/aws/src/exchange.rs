//! One request to whoever gives keys: bounded in bytes and in time.

use std::time::Duration;

use reqwest::RequestBuilder;
use zeroize::Zeroizing;

use crate::error::AwsError;

pub(crate) const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
pub(crate) const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);
const ANSWER_BYTES_MAX: usize = 64 << 10;
const SHOWN_CHARS_MAX: usize = 200;

/// What came back.
pub(crate) struct KeyAnswer {
    pub(crate) status: u16,
    pub(crate) body: Zeroizing<Vec<u8>>,
}

impl KeyAnswer {
    pub(crate) fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// Worth another try.
    pub(crate) fn is_busy(&self) -> bool {
        self.status >= 500 || self.status == 429
    }

    /// The beginning of what an error says. Answers with keys are never shown.
    pub(crate) fn shown(&self) -> String {
        String::from_utf8_lossy(&self.body).chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
    }
}

/// Sends a request and reads the whole answer, whatever its status.
pub(crate) async fn exchange(request: RequestBuilder, whose: &str) -> Result<KeyAnswer, AwsError> {
    let away = |error: reqwest::Error| AwsError::Away(format!("{whose} cannot be reached: {}", error.without_url()));
    let mut response = request.send().await.map_err(away)?;
    let status = response.status().as_u16();
    let mut body = Zeroizing::new(Vec::<u8>::new());
    while let Some(chunk) = response.chunk().await.map_err(away)? {
        if body.len() + chunk.len() > ANSWER_BYTES_MAX {
            return Err(AwsError::Away(format!("{whose} answers with more than {ANSWER_BYTES_MAX} bytes")));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(KeyAnswer { status, body })
}

//! Keys, which never print.

use std::fmt;

use serde::Deserialize;
use tidegate_event::time;
use zeroize::Zeroizing;

use crate::error::AwsError;

/// An access key and its secret.
#[derive(Clone)]
pub struct AwsKeys {
    pub access_key_id: String,
    pub secret_access_key: Zeroizing<String>,
    /// Of keys that end.
    pub session_token: Option<Zeroizing<String>>,
}

impl AwsKeys {
    #[must_use]
    pub fn new(access_key_id: String, secret_access_key: String, session_token: Option<String>) -> Self {
        let secret_access_key = Zeroizing::new(secret_access_key);
        Self { access_key_id, secret_access_key, session_token: session_token.map(Zeroizing::new) }
    }

    /// Whether a header can carry them: without, they were copied with a line break.
    pub(crate) fn check(&self) -> Result<(), AwsError> {
        let is_plain = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic());
        let token = self.session_token.as_ref().map_or("-", |token| token.as_str());
        if is_plain(&self.access_key_id) && is_plain(&self.secret_access_key) && is_plain(token) {
            return Ok(());
        }
        Err(AwsError::no_keys(
            "the AWS keys are empty, or hold a space, a line break or another character that no key has",
            "copy the access key id, the secret and the session token anew",
        ))
    }
}

impl fmt::Debug for AwsKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AwsKeys").field("access_key_id", &self.access_key_id).finish_non_exhaustive()
    }
}

/// Keys, and when they end or are to be read again, in microseconds since the Unix epoch.
#[derive(Debug, Clone)]
pub(crate) struct FoundKeys {
    pub(crate) keys: AwsKeys,
    pub(crate) ends_at_us: Option<i64>,
}

/// As containers and machines are told of their keys.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct KeysAnswer {
    access_key_id: String,
    secret_access_key: String,
    token: Option<String>,
    expiration: Option<String>,
}

/// The keys of an answer in JSON.
pub(crate) fn of_json(bytes: &[u8], whose: &str) -> Result<FoundKeys, AwsError> {
    let unreadable = || AwsError::Away(format!("{whose} answers with something else than keys"));
    let answer: KeysAnswer = serde_json::from_slice(bytes).map_err(|_| unreadable())?;
    let ends_at_us = match answer.expiration {
        Some(text) => Some(time::parse(&text).ok_or_else(unreadable)?),
        None => None,
    };
    let keys = AwsKeys::new(answer.access_key_id, answer.secret_access_key, answer.token);
    Ok(FoundKeys { keys, ends_at_us })
}

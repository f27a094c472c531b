//! Why there are no keys.

/// No text of it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AwsError {
    /// Worth trying again: whoever gives keys is busy or away.
    #[error("{0}")]
    Away(String),
    /// No retry will help until an operator acts; `advice` says how.
    #[error("{reason}; {advice}")]
    NoKeys { reason: String, advice: String },
}

impl AwsError {
    pub(crate) fn no_keys(reason: impl Into<String>, advice: impl Into<String>) -> Self {
        Self::NoKeys { reason: reason.into(), advice: advice.into() }
    }
}

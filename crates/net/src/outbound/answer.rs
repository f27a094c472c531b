//! What became of a request: an answer, or why there is none.

use std::time::Duration;

use super::policy::PolicyRefusal;

/// An answer, with every secret taken out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OutboundResponse {
    pub status: u16,
    /// Names in lower case; the first 64.
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB.
    pub body: Vec<u8>,
}

impl OutboundResponse {
    /// The first header of this name, given in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// Why a request has no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// It must not be sent, now or later.
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    /// The far side could not be reached, or broke off.
    #[error("{0}")]
    Away(String),
    #[error("no whole answer within {} ms", .0.as_millis())]
    Slow(Duration),
    /// The host could not sign in. `permanent` when the credentials themselves were refused.
    #[error("could not sign in: {reason}")]
    SignIn { reason: String, permanent: bool },
}

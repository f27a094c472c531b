//! Why a carrier could not do what it was asked to.

use std::future::Future;
use std::pin::Pin;

/// A boxed future, so that one caller can hold any carrier.
pub type StreamReply<'a, T> = Pin<Box<dyn Future<Output = Result<T, StreamError>> + Send + 'a>>;

/// Nothing of what was asked counts as done. No text of it has a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StreamError {
    /// Worth trying again: busy, away, moved.
    #[error("{0}")]
    Retry(String),
    /// No retry will help until an operator acts; `advice` says how.
    #[error("{reason}; {advice}")]
    Stop { reason: String, advice: String },
}

impl StreamError {
    /// A ledger that another server keeps: what its log has at an offset is not what ours has there.
    #[must_use]
    pub fn ledger_of_another(place: &str, ledger: &str) -> Self {
        Self::Stop {
            reason: format!("{place}: the ledger {ledger} belongs to a server with another data directory"),
            advice: "give this destination a `ledger` of its own: what this server's log has is written under that name. A data directory \
                     that was moved, or put back from a backup, goes on with its ledgers by itself"
                .to_owned(),
        }
    }
}

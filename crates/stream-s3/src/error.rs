//! What can go wrong, and what an operator should do about it.

use tidegate_object_store::{ObjectError, sentence};
use tidegate_stream::StreamError;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub(crate) enum FilesError {
    #[error(transparent)]
    Object(#[from] ObjectError),
    #[error("compressing a file: {0}")]
    Encode(std::io::Error),
    #[error("{path} cannot be read: {source}")]
    Ledger { path: String, source: serde_json::Error },
    #[error("{path} has format {format}, and this build supports up to {newest}; nothing was changed")]
    Format { path: String, format: u32, newest: u32 },
    #[error("another writer has taken over {path}")]
    Replaced { path: String },
    #[error("others take over {path} faster than this writer can")]
    Contended { path: String },
    #[error("the batch took too long to write")]
    Late,
    #[error("there is no such bucket")]
    NoBucket,
    #[error("a task ended before its work")]
    Gone,
}

impl FilesError {
    /// The error as who waits is told it, for files in `place`.
    pub(crate) fn of_stream(&self, place: &str) -> StreamError {
        let reason = format!("files in {place}: {}", sentence(self));
        let advice = match self {
            Self::Object(error) => error.advice(place),
            Self::Ledger { path, .. } => Some(format!(
                "restore {path} from a backup of {place}, or delete it: then the sync goes on where the server's own state says that it is"
            )),
            Self::Format { .. } => Some("use the newer build that wrote it last".to_owned()),
            Self::NoBucket => Some(format!("create the bucket of {place}")),
            Self::Encode(_) | Self::Replaced { .. } | Self::Contended { .. } | Self::Late | Self::Gone => None,
        };
        match advice {
            Some(advice) => StreamError::Stop { reason, advice },
            None => StreamError::Retry(reason),
        }
    }
}

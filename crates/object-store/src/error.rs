//! What can go wrong, and what an operator should do about it.
//!
//! What a store says is passed on; it names the object and the status, never a key.

use std::error::Error;
use std::io::ErrorKind;

use tidegate_net::trust::RefusedCertificate;

/// Why an object was not read or written.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    #[error("{doing}: {source}")]
    Store { doing: &'static str, source: object_store::Error },
    #[error("{doing}: {source}")]
    Disk { doing: &'static str, source: std::io::Error },
    #[error("{path} is gone: somebody else has replaced it")]
    Vanished { path: String },
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: String },
    #[error("a task of the store ended before its work")]
    Gone,
}

/// Names what was being done when the store refused.
pub(crate) fn doing(doing: &'static str) -> impl Fn(object_store::Error) -> ObjectError {
    move |source| ObjectError::Store { doing, source }
}

/// Names what was being done when the disk refused.
pub(crate) fn disk(doing: &'static str) -> impl Fn(std::io::Error) -> ObjectError {
    move |source| ObjectError::Disk { doing, source }
}

impl ObjectError {
    /// What an operator has to do, for objects in `place`; none where another try may help.
    #[must_use]
    pub fn advice(&self, place: &str) -> Option<String> {
        match self {
            Self::Store { source, .. } => store_advice(source, place),
            Self::Disk { source, .. } => disk_advice(source.kind(), place),
            Self::Settings { .. } => Some(format!("correct the settings of {place}")),
            Self::Vanished { .. } | Self::Gone => None,
        }
    }
}

/// What happened and why, down to the first cause. The first two errors are one sentence already.
#[must_use]
pub fn sentence(error: &(dyn Error + 'static)) -> String {
    let mut sentence = error.to_string();
    let mut cause = error.source().and_then(Error::source);
    while let Some(inner) = cause {
        let text = inner.to_string();
        if !sentence.contains(&text) {
            sentence.push_str(": ");
            sentence.push_str(&text);
        }
        cause = inner.source();
    }
    sentence
}

fn store_advice(error: &object_store::Error, place: &str) -> Option<String> {
    use object_store::Error as Store;
    // A certificate does not become trusted by waiting.
    if let Some(refused) = RefusedCertificate::in_causes(error) {
        return Some(refused.advice("`ca_file`"));
    }
    match error {
        Store::PermissionDenied { .. } => {
            Some(format!("let the credentials read, write, list and delete below {place}"))
        }
        Store::Unauthenticated { .. } => Some(format!("correct the credentials of {place}")),
        Store::NotFound { .. } => Some(format!("create the bucket or container of {place}")),
        Store::NotImplemented { .. } | Store::NotSupported { .. } => Some(format!(
            "{place} does not support what is needed (conditional writes, above all); use a store that does"
        )),
        Store::InvalidPath { .. } => Some(format!("name a place whose path is plain text, unlike {place}")),
        _ => {
            let kind = io_kind(error)?;
            disk_advice(kind, place)
        }
    }
}

/// The operating system's word on it, if the error came from a disk.
fn io_kind(error: &object_store::Error) -> Option<ErrorKind> {
    let mut cause = error.source();
    while let Some(inner) = cause {
        if let Some(io) = inner.downcast_ref::<std::io::Error>() {
            return Some(io.kind());
        }
        cause = inner.source();
    }
    None
}

fn disk_advice(kind: ErrorKind, place: &str) -> Option<String> {
    match kind {
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            Some(format!("let the process write {place} and everything in it"))
        }
        ErrorKind::NotADirectory | ErrorKind::IsADirectory => {
            Some(format!("something in {place} is a file where a folder should be, or the reverse: move it away"))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_disk_and_an_absent_store_are_worth_another_try_and_a_missing_permission_is_not() {
        let of = |source| doing("writing a file")(source).advice("s3://lake");
        let io = |kind: ErrorKind| object_store::Error::Generic {
            store: "S3",
            source: Box::new(std::io::Error::from(kind)),
        };
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::TimedOut, ErrorKind::ConnectionReset]
        {
            assert_eq!(of(io(kind)), None, "{kind}");
        }
        assert!(of(io(ErrorKind::PermissionDenied)).is_some());
        let source = || Box::new(std::io::Error::other("403"));
        let denied = object_store::Error::PermissionDenied { path: "x".to_owned(), source: source() };
        assert!(of(denied).is_some_and(|advice| advice.contains("s3://lake")));
        let missing = object_store::Error::NotFound { path: "x".to_owned(), source: source() };
        assert!(of(missing).is_some_and(|advice| advice.starts_with("create the bucket")));
    }
}

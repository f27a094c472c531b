//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`LakeError::failure`], which alone decides between trying again and stopping.
//! What a store says is passed on; it names the object and the status, never a key.

use std::error::Error;
use std::io::ErrorKind;

use tidegate_event::destination::Failure;
use tidegate_net::trust::RefusedCertificate;
use tidegate_warehouse::loader::LoadError;
use tidegate_warehouse::schema_cache::NameTaken;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error("{doing}: {source}")]
    Store { doing: &'static str, source: object_store::Error },
    #[error("{doing}: {source}")]
    Disk { doing: &'static str, source: std::io::Error },
    #[error("{doing}: {source}")]
    Parquet { doing: &'static str, source: parquet::errors::ParquetError },
    #[error("{path} cannot be read: {source}")]
    Manifest { path: String, source: serde_json::Error },
    #[error(
        "{}: format {format}, and this build supports up to {}; nothing was changed",
        super::manifest::ROOT,
        super::manifest::FORMAT
    )]
    Format { format: u32 },
    #[error("{path} is gone: somebody else has replaced it")]
    Vanished { path: String },
    #[error("table {name} of the lake is not one of the router's")]
    Taken { name: String },
    #[error("others commit to the lake faster than this sync can")]
    Contended,
    #[error("others have changed the lake so that the batch does not go with it")]
    Overtaken,
    #[error("the batch took too long to write")]
    Late,
    #[error("a value does not go with the type of column {column} of table {table}")]
    Misfit { table: String, column: String },
    #[error("the settings cannot be used: {problem}")]
    Settings { problem: String },
    #[error("a task of the lake ended before its work")]
    Gone,
}

/// Names what was being done when the store refused.
pub(super) fn doing(doing: &'static str) -> impl Fn(object_store::Error) -> LakeError {
    move |source| LakeError::Store { doing, source }
}

/// Names what was being done when the disk refused.
pub(super) fn disk(doing: &'static str) -> impl Fn(std::io::Error) -> LakeError {
    move |source| LakeError::Disk { doing, source }
}

impl From<NameTaken> for LakeError {
    fn from(NameTaken(name): NameTaken) -> Self {
        Self::Taken { name }
    }
}

impl LoadError for LakeError {
    /// What a lake does not take is seen before it is written.
    fn is_of_row(&self) -> bool {
        false
    }

    fn is_of_schema(&self) -> bool {
        matches!(self, Self::Overtaken)
    }

    fn is_of_session(&self, _reused: bool) -> bool {
        false
    }

    fn words(&self) -> String {
        self.to_string()
    }
}

impl LakeError {
    /// The failure to report for the lake at `place`.
    pub(super) fn failure(self, place: &str) -> Failure {
        let reason = format!("lake {place}: {}", self.sentence());
        let advice = match &self {
            Self::Store { source, .. } => store_advice(source, place),
            Self::Disk { source, .. } => disk_advice(source.kind(), place),
            // What is half there now may be whole at the next try; a file that is broken for good is the operator's.
            Self::Parquet { .. } => Some(format!(
                "a data file of the lake is damaged: restore it from a backup of {place}, or take its line out of the \
                 manifest of its table"
            )),
            Self::Manifest { path, .. } => Some(format!("restore {path} from a backup of {place}")),
            Self::Taken { name } => {
                Some(format!("take {name} out of the root of {place}, or give the sync another schema"))
            }
            Self::Format { .. } => Some("use the newer build that wrote the lake last".to_owned()),
            Self::Misfit { .. } => Some("report this: it is an error of tidegate".to_owned()),
            Self::Settings { .. } => Some("correct the settings of the lake".to_owned()),
            Self::Vanished { .. } | Self::Contended | Self::Overtaken | Self::Late | Self::Gone => None,
        };
        let cause: Option<Box<dyn Error + Send + Sync>> = Some(Box::new(self));
        match advice {
            None => Failure::Retry { reason, cause },
            Some(advice) => Failure::Stop { reason, advice, cause },
        }
    }

    /// What happened and why, down to the first cause.
    fn sentence(&self) -> String {
        let mut sentence = self.to_string();
        let mut cause = self.source().and_then(Error::source);
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
        Store::Unauthenticated { .. } => Some("correct the credentials of the lake".to_owned()),
        Store::NotFound { .. } => Some(format!("create the bucket or container of {place}")),
        Store::NotImplemented { .. } | Store::NotSupported { .. } => Some(format!(
            "{place} does not support what a lake needs (conditional writes, above all); use a store that does"
        )),
        Store::InvalidPath { .. } => Some(format!("give the lake a place whose path is plain text, unlike {place}")),
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
        let of = |source| doing("writing a file")(source).failure("s3://lake");
        let io = |kind: ErrorKind| object_store::Error::Generic {
            store: "S3",
            source: Box::new(std::io::Error::from(kind)),
        };
        for kind in [ErrorKind::StorageFull, ErrorKind::QuotaExceeded, ErrorKind::TimedOut, ErrorKind::ConnectionReset]
        {
            assert!(matches!(of(io(kind)), Failure::Retry { .. }), "{kind}");
        }
        assert!(matches!(of(io(ErrorKind::PermissionDenied)), Failure::Stop { .. }));
        let source = || Box::new(std::io::Error::other("403"));
        let denied = object_store::Error::PermissionDenied { path: "x".to_owned(), source: source() };
        assert!(matches!(of(denied), Failure::Stop { advice, .. } if advice.contains("s3://lake")));
        let missing = object_store::Error::NotFound { path: "x".to_owned(), source: source() };
        assert!(matches!(of(missing), Failure::Stop { advice, .. } if advice.starts_with("create the bucket")));
    }
}

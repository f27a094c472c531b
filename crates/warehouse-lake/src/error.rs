//! What can go wrong, and what an operator should do about it.
//!
//! Every error becomes a [`Failure`] in [`LakeError::failure`], which alone decides between trying again and stopping.
//! What a store says is passed on; it names the object and the status, never a key.

use std::error::Error;

use tidegate_event::destination::Failure;
use tidegate_object_store::{ObjectError, sentence};
use tidegate_warehouse::loader::LoadError;
use tidegate_warehouse::schema_cache::NameTaken;

/// Why a batch did not become durable.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    #[error(transparent)]
    Object(ObjectError),
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

impl From<ObjectError> for LakeError {
    fn from(error: ObjectError) -> Self {
        match error {
            ObjectError::Vanished { path } => Self::Vanished { path },
            ObjectError::Settings { problem } => Self::Settings { problem },
            ObjectError::Gone => Self::Gone,
            error @ (ObjectError::Store { .. } | ObjectError::Disk { .. }) => Self::Object(error),
        }
    }
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
        let reason = format!("lake {place}: {}", sentence(&self));
        let advice = match &self {
            Self::Object(error) => error.advice(place),
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
}

//! Looking into the archive of a log, as it is asked for here. Who knows the archive is not known here.

use std::pin::Pin;

use tidegate_api_types::privacy::ForgottenVerified;

/// A look on its way; it fails with a sentence.
pub type LookingIntoArchive = Pin<Box<dyn Future<Output = Result<ForgottenVerified, String>> + Send>>;

/// Looks for texts in every segment of the archive.
pub type LookIntoArchive = Box<dyn Fn(Vec<String>) -> LookingIntoArchive + Send + Sync>;

//! The format number of the store's JSON files. A later one is refused before anything else in the file is looked at.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::RegistryError;

/// Raised when an older build could not read the files any more.
pub(super) const FORMAT: u32 = 2;

/// The number as it stands in a file; always this build's in memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct FormatNumber(u32);

impl Default for FormatNumber {
    fn default() -> Self {
        Self(FORMAT)
    }
}

/// The value in a file, if it is of this format.
pub(super) fn read<'b, T: Deserialize<'b>>(path: &Path, bytes: &'b [u8]) -> Result<T, RegistryError> {
    #[derive(Deserialize)]
    struct Outline {
        #[serde(default)]
        format: Option<u64>,
    }
    let damaged =
        |error: serde_json::Error| RegistryError::Damaged { path: path.to_owned(), reason: error.to_string() };
    let outline: Outline = serde_json::from_slice(bytes).map_err(damaged)?;
    match outline.format {
        Some(found) if found > FORMAT.into() => Err(RegistryError::Newer { path: path.to_owned(), found }),
        _ => serde_json::from_slice(bytes).map_err(damaged),
    }
}

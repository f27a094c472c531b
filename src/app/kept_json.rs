//! Files of JSON beside the state that say in a field `format` which builds can read them. They are written whole (`whole_file`).

use std::io;
use std::path::Path;

use serde::de::DeserializeOwned;

/// Why such a file does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum KeptJsonError {
    #[error(
        "format {found}, and this build supports up to {known}; use the newer build that wrote it. Nothing was changed"
    )]
    Newer { found: u64, known: u32 },
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// What a file says whose format is `known` at most; `None` when there is no such file.
///
/// # Errors
/// The file cannot be read or not understood, or a newer build wrote it.
pub(super) fn read<T: DeserializeOwned>(path: &Path, known: u32) -> Result<Option<T>, KeptJsonError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    // The number comes first: of a newer format nothing else is known.
    let value: serde_json::Value = serde_json::from_slice(&bytes)?;
    if let Some(found) = value["format"].as_u64().filter(|found| *found > known.into()) {
        return Err(KeptJsonError::Newer { found, known });
    }
    Ok(Some(serde_json::from_value(value)?))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn a_file_of_a_newer_build_is_refused_by_its_number_and_a_damaged_one_as_such() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("kept.json");
        let read_it = || read::<BTreeMap<String, u64>>(&path, 1);
        assert!(read_it().unwrap().is_none());
        std::fs::write(&path, r#"{"format": 1, "n": 7}"#).unwrap();
        assert_eq!(read_it().unwrap().unwrap()["n"], 7);
        std::fs::write(&path, r#"{"format": 2, "how": "else"}"#).unwrap();
        assert!(read_it().unwrap_err().to_string().starts_with("format 2, and this build supports up to 1"));
        for damaged in ["{", "[]", r#"{"format": 1, "how": "else"}"#] {
            std::fs::write(&path, damaged).unwrap();
            assert!(matches!(read_it(), Err(KeptJsonError::Damaged(_))), "{damaged}");
        }
    }
}

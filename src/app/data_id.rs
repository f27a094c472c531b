//! The file `id` of the data directory: which directory it is, and how often its state was opened.
//!
//! It ties the state file to the directory. The state says the same of itself ([`Identity`]); where the two differ, the
//! state is another directory's or an older copy.

use std::path::Path;

use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};
use tidegate_process::{clock, whole_file};
use tidegate_state::Identity;

/// Raised when an older build could not read the file any more.
pub const FORMAT: u32 = 1;

#[derive(Serialize, Deserialize)]
struct KeptId {
    format: u32,
    id: String,
    generation: u64,
    /// CRC-32C of the two values.
    sum: u32,
}

/// Why the file does not say what it should.
#[derive(Debug, thiserror::Error)]
pub enum DataIdError {
    #[error(
        "format {found}, and this build supports up to {FORMAT}; use the newer build that wrote it. Nothing was changed"
    )]
    Newer { found: u64 },
    #[error("it is damaged: {reason}")]
    Damaged { reason: String },
    #[error(transparent)]
    Io(#[from] std::io::Error),
}

/// What the file says; `None` when there is none.
///
/// # Errors
/// It cannot be read, or not understood.
pub fn read(path: &Path) -> Result<Option<Identity>, DataIdError> {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error.into()),
    };
    let damaged = |reason: String| DataIdError::Damaged { reason };
    let value: serde_json::Value = serde_json::from_slice(&bytes).map_err(|error| damaged(error.to_string()))?;
    if let Some(found) = value["format"].as_u64().filter(|found| *found > FORMAT.into()) {
        return Err(DataIdError::Newer { found });
    }
    let kept: KeptId = serde_json::from_value(value).map_err(|error| damaged(error.to_string()))?;
    if kept.format != FORMAT || kept.sum != sum(&kept.id, kept.generation) {
        return Err(damaged("its checksum is wrong".to_owned()));
    }
    Ok(Some(Identity { id: kept.id, generation: kept.generation }))
}

/// Replaces the file as a whole, durably.
///
/// # Errors
/// The file is as it was.
pub fn write(path: &Path, identity: &Identity) -> std::io::Result<()> {
    let Identity { id, generation } = identity.clone();
    let kept = KeptId { format: FORMAT, sum: sum(&id, generation), id, generation };
    whole_file::replace(path, &serde_json::to_vec(&kept)?)
}

/// The identity of a new directory.
#[must_use]
pub fn fresh() -> Identity {
    Identity { id: HEXLOWER.encode(&clock::random::<16>()), generation: 0 }
}

fn sum(id: &str, generation: u64) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(id.as_bytes()), &generation.to_le_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_says_what_was_written_or_that_it_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id");
        assert_eq!(read(&path).unwrap(), None);
        let identity = Identity { generation: 7, ..fresh() };
        write(&path, &identity).unwrap();
        assert_eq!(read(&path).unwrap(), Some(identity));
        let whole = std::fs::read(&path).unwrap();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            std::fs::write(&path, &bytes).unwrap();
            assert!(read(&path).is_err(), "bit {bit}");
        }
        std::fs::write(&path, r#"{"format": 2, "else": true}"#).unwrap();
        assert!(read(&path).unwrap_err().to_string().starts_with("format 2, and this build supports up to 1"));
    }
}

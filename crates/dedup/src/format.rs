//! What the files of the index have in common: the first 16 bytes, and what is wrong with a file.
//!
//! Magic, 8 bytes · format number u32 · CRC-32C of these 12 bytes u32. They stay the same in every format to come.

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// The format of all files of this build.
pub(crate) const FORMAT: u32 = 1;
pub(crate) const PREAMBLE_BYTES: usize = 16;

pub(crate) fn preamble(magic: &[u8; 8]) -> [u8; PREAMBLE_BYTES] {
    let mut bytes = [0; PREAMBLE_BYTES];
    bytes[..8].copy_from_slice(magic);
    bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
    let sum = crc32c::crc32c(&bytes[..12]);
    bytes[12..].copy_from_slice(&sum.to_le_bytes());
    bytes
}

/// Whether `bytes` begin as a file of this kind and format does.
pub(crate) fn check(path: &Path, magic: &[u8; 8], bytes: &[u8]) -> Result<(), DedupError> {
    let damaged = || DedupError::damaged(path, "it does not begin as such a file does");
    let head: &[u8; PREAMBLE_BYTES] = bytes.first_chunk().ok_or_else(damaged)?;
    let sum = crc32c::crc32c(&head[..12]).to_le_bytes();
    if head[..8] != magic[..] || head[12..] != sum {
        return Err(damaged());
    }
    let found = u32::from_le_bytes([head[8], head[9], head[10], head[11]]);
    if found > FORMAT {
        return Err(DedupError::Newer { path: path.to_owned(), found });
    }
    Ok(())
}

/// An open file whose bytes do not come is as good as one with wrong bytes: its ids are in the log.
pub(crate) fn unreadable(path: &Path, error: &io::Error) -> DedupError {
    DedupError::damaged(path, format!("it cannot be read: {error}"))
}

/// All bytes of the file at `path`. Why it cannot be opened says nothing about the file, and is no damage.
pub(crate) fn read(path: &Path) -> Result<Vec<u8>, DedupError> {
    let mut file = File::open(path).map_err(DedupError::io("could not open", path))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(|error| unreadable(path, &error))?;
    Ok(bytes)
}

/// A new empty file in the place of what is there; its owner's alone.
pub(crate) fn create(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path)
}

pub(crate) fn create_dir(dir: &Path) -> Result<(), DedupError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
    made.map_err(DedupError::io("could not create", dir))
}

/// The index cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DedupError {
    #[error("{}: {action}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: io::Error,
    },
    #[error("{}: the file is damaged: {what}", path.display())]
    Damaged { path: PathBuf, what: String },
    #[error("{}: format {found}, and this build supports up to {FORMAT}; use the newer build that wrote it. Nothing was changed", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("the dedup index cannot be written, and what waits for it is as much as may: {0}")]
    Behind(String),
}

impl DedupError {
    pub(crate) fn damaged(path: &Path, what: impl Into<String>) -> Self {
        Self::Damaged { path: path.to_owned(), what: what.into() }
    }

    /// Whether it says that the file is not there.
    pub(crate) fn is_absent(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind() == io::ErrorKind::NotFound)
    }

    pub(crate) fn io(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self + use<> {
        let path = path.to_owned();
        move |cause| Self::Io { action, path, cause }
    }
}

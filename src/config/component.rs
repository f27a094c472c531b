//! The component of a function or a destination, read once: what its object is compared by is what runs.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_document::file;

use super::surroundings::ObjectInputs;

/// A `.wasm` file as it was when the workspace was read.
#[derive(Clone)]
pub struct ComponentFile {
    pub path: PathBuf,
    pub bytes: Arc<[u8]>,
}

impl fmt::Debug for ComponentFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ComponentFile").field("path", &self.path).field("bytes", &self.bytes.len()).finish()
    }
}

impl ComponentFile {
    pub(super) fn read(inputs: &ObjectInputs<'_>, path: &Path) -> io::Result<Self> {
        file::stays_within(inputs.dir(), path)?;
        let bytes = inputs.read(path, file::COMPONENT_BYTES_MAX)?;
        Ok(Self { path: path.to_owned(), bytes: bytes.into() })
    }

    /// One that cannot be read, which has been said.
    pub(super) fn unread(path: PathBuf) -> Self {
        Self { path, bytes: Arc::default() }
    }
}

//! Takes over the ids that an earlier build kept elsewhere.

use std::path::{Path, PathBuf};

use crate::manifest::DedupManifest;
use crate::mark::{IdKey, IdMark};
use crate::run::{RunHead, RunWriter};
use crate::{DedupError, format};

/// An index that is being made of marks in order of their hashes. It counts when it is finished; one that is there is replaced.
pub struct Import {
    dir: PathBuf,
    manifest: DedupManifest,
}

impl Import {
    /// # Errors
    /// The directory cannot be made.
    pub fn begin(dir: &Path, key: IdKey) -> Result<Self, DedupError> {
        format::create_dir(dir)?;
        let manifest = DedupManifest { key_check: key.check(), ..DedupManifest::default() };
        manifest.write(dir)?;
        Ok(Self { dir: dir.to_owned(), manifest })
    }

    /// Adds `count` marks at most, none of them older than `base_us`; the next ones are newer, and reach to `refined_to`.
    ///
    /// # Errors
    /// They cannot be written.
    pub fn add(
        &mut self,
        marks: impl Iterator<Item = IdMark>,
        count: u64,
        base_us: i64,
        refined_to: u64,
    ) -> Result<(), DedupError> {
        let range = self.manifest.covered_to..refined_to;
        let head = RunHead { range: range.clone(), level: u32::MAX, base_us, key_check: self.manifest.key_check };
        let mut writer = RunWriter::create(&self.dir, head, count)?;
        for mark in marks {
            writer.push(mark)?;
        }
        writer.finish()?;
        self.manifest.covered_to = refined_to;
        self.manifest.runs.push(range);
        Ok(())
    }

    /// # Errors
    /// It cannot be written.
    pub fn finish(self) -> Result<(), DedupError> {
        self.manifest.write(&self.dir)
    }
}

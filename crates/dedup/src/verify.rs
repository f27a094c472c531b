//! Reads the whole index without changing it, beside a running server as well.

use std::path::{Path, PathBuf};

use crate::manifest::DedupManifest;
use crate::run::{MarkRun, name_of};
use crate::{DedupError, files, tail};

/// What was found.
#[derive(Debug, Default)]
pub struct VerifiedIndex {
    /// Runs that were read.
    pub runs: u64,
    pub marks: u64,
    pub bytes: u64,
    /// Each file that is not what was written, and what is wrong with it.
    pub damage: Vec<(PathBuf, String)>,
}

/// Holds the manifest and all runs of the index in `dir` against their checksums; `None` when there is none. A tail file may end
/// anywhere: what it lacks is in the log.
///
/// # Errors
/// A file cannot be read, or is of a newer build.
pub fn verify(dir: &Path) -> Result<Option<VerifiedIndex>, DedupError> {
    if !dir.is_dir() {
        return Ok(None);
    }
    let mut found = VerifiedIndex::default();
    let manifest = match DedupManifest::read(dir) {
        Ok(Some(manifest)) => manifest,
        Ok(None) => return Ok(None),
        Err(DedupError::Damaged { path, what }) => {
            found.damage.push((path, what));
            return Ok(Some(found));
        }
        Err(other) => return Err(other),
    };
    for range in &manifest.runs {
        let path = dir.join(name_of(range));
        match MarkRun::open(&path).and_then(|run| run.verify().map(|()| run.count)) {
            Ok(marks) => {
                found.runs += 1;
                found.marks += marks;
                found.bytes += path.metadata().map_or(0, |file| file.len());
            }
            Err(DedupError::Damaged { path, what }) => found.damage.push((path, what)),
            // Merged meanwhile, by a server; if not, the manifest still names it.
            Err(error) if error.is_absent() => {
                let still = DedupManifest::read(dir)?.is_some_and(|manifest| manifest.runs.contains(range));
                if still {
                    found.damage.push((path, "it is missing".to_owned()));
                }
            }
            Err(other) => return Err(other),
        }
    }
    let tails = files(dir)?.into_iter().filter(|path| tail::first_of(path).is_some());
    found.bytes += tails.filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum::<u64>();
    Ok(Some(found))
}

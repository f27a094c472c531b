//! The index as it is at one moment, held open to be copied while a server uses it.

use std::path::Path;

use tidegate_process::held_file::HeldFile;

use crate::manifest::{self, DedupManifest};
use crate::run::name_of;
use crate::{DedupError, files, format, tail};

/// Holds the files of the index in `dir`; none when there is no index, or one that a server would make anew as well. What a copy of them lacks is
/// marked again from the log when it is opened, as far as the log goes back: hold the index first and the log later.
///
/// # Errors
/// A file cannot be read, or is of a newer build.
pub fn hold(dir: &Path) -> Result<Vec<HeldFile>, DedupError> {
    const TRIES: usize = 50;
    for _ in 0..TRIES {
        match hold_now(dir) {
            Ok(Some(held)) => return Ok(held),
            // Runs were merged, or a tail has become one, between two looks.
            Ok(None) => {}
            Err(error) if error.is_absent() => {}
            Err(DedupError::Damaged { .. }) => return Ok(Vec::new()),
            Err(other) => return Err(other),
        }
    }
    Ok(Vec::new())
}

/// `None` when the index was changed meanwhile.
fn hold_now(dir: &Path) -> Result<Option<Vec<HeldFile>>, DedupError> {
    let path = dir.join(manifest::NAME);
    if !path.exists() {
        return Ok(Some(Vec::new()));
    }
    let before = format::read(&path)?;
    let Some(listed) = DedupManifest::read(dir)? else { return Ok(None) };
    let mut held = vec![HeldFile::of_bytes(manifest::NAME.to_owned(), before.clone())];
    for name in listed.runs.iter().map(name_of) {
        let path = dir.join(&name);
        held.push(HeldFile::whole(&path, name).map_err(DedupError::io("could not open", &path))?);
    }
    for path in files(dir)?.into_iter().filter(|path| tail::first_of(path).is_some()) {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        held.push(HeldFile::whole(&path, name).map_err(DedupError::io("could not open", &path))?);
    }
    Ok((format::read(&path)? == before).then_some(held))
}

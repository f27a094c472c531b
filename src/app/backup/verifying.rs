//! Whether a backup is what was written.

use std::path::Path;

use super::backup_error::BackupError;
use super::contents::{self, BackedUpFile, BackupContents};
use super::file_digest::{self, FileDigest};

/// Damaged files that are named; there may be more.
const NAMED_MAX: usize = 20;

/// Reads every file of the backup in `from` and holds it against its SHA-256; `told` hears of each. Changes nothing.
///
/// # Errors
/// It is no backup, or one that a newer build made, or a file of it is missing, cut short or another one.
pub fn verify(from: &Path, told: &mut dyn FnMut(&str)) -> Result<BackupContents, BackupError> {
    let contents = contents::read(from)?;
    let mut damage = Vec::new();
    for file in &contents.files {
        told(&file.path);
        damage.extend(wrong(from, file));
        if damage.len() == NAMED_MAX {
            break;
        }
    }
    if damage.is_empty() { Ok(contents) } else { Err(BackupError::Damaged(damage)) }
}

/// What is wrong with a file.
fn wrong(from: &Path, file: &BackedUpFile) -> Option<String> {
    let path = from.join(&file.path);
    let said = match path.symlink_metadata() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => "it is missing".to_owned(),
        Err(error) => format!("it cannot be read: {error}"),
        Ok(found) if !found.is_file() => "it is no file".to_owned(),
        Ok(found) if found.len() != file.bytes => {
            format!("it has {} bytes, and it had {}", found.len(), file.bytes)
        }
        Ok(_) => match file_digest::of_file(&path, None) {
            Err(error) => format!("it cannot be read: {error}"),
            Ok(found) => return differs(file, &found).map(|what| format!("{}: {what}", file.path)),
        },
    };
    Some(format!("{}: {said}", file.path))
}

/// What is wrong with the bytes of a file.
pub(super) fn differs(file: &BackedUpFile, found: &FileDigest) -> Option<String> {
    let is_same = (file.bytes, &file.sha256) == (found.bytes, &found.sha256);
    (!is_same).then(|| "its SHA-256 is another than it was".to_owned())
}

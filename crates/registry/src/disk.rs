//! Files that are there whole or not at all.

use std::fs::File;
use std::io::{self, Write as _};
use std::path::Path;

/// Writes beside, syncs, renames, syncs the folder: after a crash the file is the old one or the new one. Only the
/// owner may read it.
pub(super) fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = folder(path);
    let mut file = tempfile::NamedTempFile::new_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    fail::fail_point!("store_before_rename", |_| std::process::abort());
    file.persist(path).map_err(|error| error.error)?;
    fail::fail_point!("store_after_rename", |_| std::process::abort());
    sync_folder(folder)
}

/// The content of a file, if there is one; at most `bytes_max` of it.
pub(super) fn read(path: &Path, bytes_max: u64) -> io::Result<Option<Vec<u8>>> {
    use std::io::Read as _;
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let length = file.metadata()?.len().min(bytes_max);
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    file.take(bytes_max.saturating_add(1)).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        return Err(io::Error::new(io::ErrorKind::InvalidData, format!("more than {bytes_max} bytes")));
    }
    Ok(Some(bytes))
}

fn folder(path: &Path) -> &Path {
    path.parent().unwrap_or(Path::new("."))
}

fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_read_whole_or_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a");
        assert_eq!(read(&path, 3).unwrap(), None);
        replace(&path, b"abc").unwrap();
        assert_eq!(read(&path, 3).unwrap().as_deref(), Some(&b"abc"[..]));
        assert_eq!(read(&path, u64::MAX).unwrap().as_deref(), Some(&b"abc"[..]));
        assert!(read(&path, 2).is_err());
    }
}

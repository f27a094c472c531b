//! Who may read the data directory: its owner. It holds personal data, write keys and the key that seals code.
//!
//! New files get their modes from the umask of the process. This mends what an earlier build, a copy or a restored backup
//! left open.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

const FOLDER: u32 = 0o700;
const FILE: u32 = 0o600;
/// Folders within folders that are looked at.
const DEPTH_MAX: usize = 8;

/// What of the data directory is the server's own. Whatever else lies there is protected by the directory.
const OWN: [&str; 14] = [
    "log",
    "dedup",
    "store",
    "lock",
    "admin.json",
    "instance.key",
    "catalog.db",
    "catalog.db-wal",
    "catalog.db-shm",
    "state.db",
    "state.db-wal",
    "state.db-shm",
    "warehouse.db",
    "warehouse.db-wal",
];

/// Takes everybody else's rights on the data directory away, and says so once where there were any.
pub(super) fn mend(data: &Path) {
    let mut mended = Mended::default();
    mended.entry(data);
    for name in OWN {
        mended.tree(&data.join(name), DEPTH_MAX);
    }
    if let Some((path, error)) = mended.failed {
        tracing::warn!(
            path = %path.display(),
            error = %error,
            "others may read the data directory, and that could not be changed; make its owner the user that runs tidegate"
        );
    }
    if mended.count > 0 {
        tracing::info!(
            data = %data.display(),
            entries = mended.count,
            "others could read the data directory; now its folders have mode 0700 and its files 0600"
        );
    }
}

#[derive(Default)]
struct Mended {
    count: u64,
    failed: Option<(PathBuf, std::io::Error)>,
}

impl Mended {
    /// One folder or file; true for a folder.
    fn entry(&mut self, path: &Path) -> bool {
        let Ok(found) = fs::metadata(path) else { return false };
        if !found.is_dir() && !found.is_file() {
            return false;
        }
        // Rights that are less than these are somebody's wish.
        let allowed = if found.is_dir() { FOLDER } else { FILE };
        let mode = found.permissions().mode() & 0o7777;
        if mode & !allowed & 0o077 != 0 {
            match fs::set_permissions(path, fs::Permissions::from_mode(mode & !0o077)) {
                Ok(()) => self.count += 1,
                Err(error) => drop(self.failed.get_or_insert((path.to_owned(), error))),
            }
        }
        found.is_dir()
    }

    fn tree(&mut self, path: &Path, depth_left: usize) {
        // What a link leads to is not ours to change.
        if fs::symlink_metadata(path).is_ok_and(|found| found.is_symlink()) {
            return;
        }
        if !self.entry(path) || depth_left == 0 {
            return;
        }
        let Ok(entries) = fs::read_dir(path) else { return };
        for entry in entries.flatten() {
            self.tree(&entry.path(), depth_left - 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_of_others_are_taken_away_and_links_are_left() {
        let dir = tempfile::tempdir().unwrap();
        let data = dir.path().join("data");
        let outside = dir.path().join("outside");
        fs::create_dir_all(data.join("store/artefacts")).unwrap();
        for path in [&outside, &data.join("state.db"), &data.join("store/artefacts/a")] {
            fs::write(path, "x").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        }
        fs::set_permissions(&data, fs::Permissions::from_mode(0o755)).unwrap();
        std::os::unix::fs::symlink(&outside, data.join("admin.json")).unwrap();
        mend(&data);
        let mode = |path: PathBuf| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(data.clone()), mode(data.join("store")), mode(data.join("store/artefacts"))], [0o700; 3]);
        assert_eq!([mode(data.join("state.db")), mode(data.join("store/artefacts/a"))], [0o600; 2]);
        assert_eq!(mode(outside), 0o644);
    }
}

//! Components of the workspace's files, kept beside the versions for as long as events may have to go through them again.

use std::collections::BTreeSet;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;

use super::{RegistryError, Sha, VersionStore, disk};

/// As much as a component may have.
const BYTES_MAX: u64 = 32 << 20;

impl VersionStore {
    fn kept_folder(&self) -> PathBuf {
        self.0.dir.join("components")
    }

    fn kept_path(&self, sha256: Sha) -> PathBuf {
        self.kept_folder().join(format!("{sha256}.wasm"))
    }

    /// Keeps a component that a file of the workspace holds now, and another may tomorrow.
    ///
    /// # Errors
    /// The disk fails.
    pub fn keep_component(&self, bytes: &[u8]) -> Result<(), RegistryError> {
        let path = self.kept_path(Sha::of(bytes));
        // Whether it is whole is asked when it is needed; then it is as good as gone.
        if path.metadata().is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(());
        }
        let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(self.kept_folder());
        made.and_then(|()| disk::replace(&path, bytes)).map_err(|cause| RegistryError::File { path, cause })
    }

    /// A component that was kept, with its path; `None` when it is not there or not what was kept.
    #[must_use]
    pub fn kept_component(&self, sha256: Sha) -> Option<(PathBuf, Vec<u8>)> {
        let path = self.kept_path(sha256);
        let bytes = disk::read(&path, BYTES_MAX).ok().flatten()?;
        (Sha::of(&bytes) == sha256).then_some((path, bytes))
    }

    /// Removes the components that nobody names any more.
    pub fn forget_components(&self, named: &BTreeSet<Sha>) {
        for entry in std::fs::read_dir(self.kept_folder()).into_iter().flatten().flatten() {
            let path = entry.path();
            let sha256 = path.file_stem().and_then(|name| name.to_str()?.parse().ok());
            if sha256.is_none_or(|sha256: Sha| !named.contains(&sha256)) {
                let _ = std::fs::remove_file(path);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::RegistrySettings;

    #[test]
    fn a_component_is_kept_for_as_long_as_it_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let (store, _builds) = VersionStore::open(dir.path(), RegistrySettings::default()).unwrap();
        let (old, new) = (Sha::of(b"old"), Sha::of(b"new"));
        assert_eq!(store.kept_component(old), None);
        store.forget_components(&BTreeSet::new());
        store.keep_component(b"old").unwrap();
        store.keep_component(b"new").unwrap();
        assert_eq!(store.kept_component(old).unwrap().1, b"old");
        store.forget_components(&BTreeSet::from([new]));
        assert_eq!((store.kept_component(old), store.kept_component(new).unwrap().1), (None, b"new".to_vec()));
        // What is not what was kept is never run.
        std::fs::write(store.kept_path(new), b"net").unwrap();
        assert_eq!(store.kept_component(new), None);
        let (_, damage) = crate::verify(dir.path(), &mut |_| {}).unwrap();
        assert_eq!(damage.iter().map(|found| &found.path).collect::<Vec<_>>(), [&store.kept_path(new)]);
    }
}

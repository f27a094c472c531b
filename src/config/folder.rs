//! The folders of a workspace: which files are objects, and what they are called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The main file of a workspace.
pub(super) const MAIN_FILE: &str = "tidegate.yaml";
/// The data directory, unless `tidegate.yaml` says otherwise.
pub(super) const DATA_DEFAULT: &str = "data";

/// The files of a folder by the names of their objects, unread.
pub(super) fn files(dir: &Path, folder: &str) -> BTreeMap<String, PathBuf> {
    let named = yaml_files(dir, folder).map(|path| (object_name(&path), path));
    named.filter(|(name, _)| is_name(name)).collect()
}

pub(super) fn yaml_files(dir: &Path, folder: &str) -> impl Iterator<Item = PathBuf> {
    entries(&dir.join(folder)).filter(|path| is_yaml(path))
}

/// What lies in a folder; nothing where it cannot be read.
pub(super) fn entries(dir: &Path) -> impl Iterator<Item = PathBuf> + use<> {
    std::fs::read_dir(dir).into_iter().flatten().flatten().map(|entry| entry.path())
}

/// Whether a file is read, by its name.
pub(super) fn is_yaml(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "yaml" || extension == "yml")
}

pub(super) fn object_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether an object, or a part of one, may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 63 && name.chars().all(fits)
}

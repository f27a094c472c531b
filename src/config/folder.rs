//! The folders of a workspace: which files are objects, and what they are called.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use tidegate_document::fields::Fields;
use tidegate_document::problem::Problem;

use super::read_file;

/// Reads every `*.yaml` in a folder; a missing folder is an empty one.
pub(super) fn read_folder<T>(
    dir: &Path,
    folder: &str,
    problems: &mut Vec<Problem>,
    mut read: impl FnMut(&mut Fields<'_>) -> Option<T>,
) -> BTreeMap<String, T> {
    let mut objects = BTreeMap::new();
    let mut paths: Vec<PathBuf> = yaml_files(dir, folder).collect();
    paths.sort();
    let mut before: Option<&Path> = None;
    for path in &paths {
        let name = object_name(path);
        if let Some(other) = before.replace(path).filter(|other| object_name(other) == name) {
            let other = other.file_name().unwrap_or_default().to_string_lossy();
            let message = format!("{name:?} stands in {other} too, and a name is one object");
            problems.push(Problem::of_file(path, 0, message, "keep one of the two files"));
            continue;
        }
        if !is_name(&name) {
            let message = format!("the file's name is the object's name, and {name:?} cannot be one");
            problems.push(Problem::of_file(path, 0, message, "use up to 63 letters, digits, - and _ before .yaml"));
            continue;
        }
        if let Some(object) = read_file(dir, path, problems, &mut read).flatten() {
            objects.insert(name, object);
        }
    }
    objects
}

/// The files of a folder by the names of their objects, unread.
pub(super) fn files(dir: &Path, folder: &str) -> BTreeMap<String, PathBuf> {
    let named = yaml_files(dir, folder).map(|path| (object_name(&path), path));
    named.filter(|(name, _)| is_name(name)).collect()
}

fn yaml_files(dir: &Path, folder: &str) -> impl Iterator<Item = PathBuf> {
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

fn object_name(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}

/// Whether an object, or a part of one, may be called so.
pub(super) fn is_name(name: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    !name.is_empty() && name.len() <= 63 && name.chars().all(fits)
}

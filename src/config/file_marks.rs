//! Which files of a workspace are others than those that were read: a mark for each, which tells its content from others and nothing
//! else.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate_document::file;

use super::documents::WorkspaceDocuments;
use super::folder::MAIN_FILE;
use super::spec_hash::ContentHash;

/// The marks of all files that were read, by their paths from the workspace's folder where they lie there.
pub type FileMarks = BTreeMap<String, String>;

/// The marks of files with these contents, under a salt of the caller's.
#[must_use]
pub fn marks_of_files<'a>(files: impl IntoIterator<Item = (&'a PathBuf, &'a ContentHash)>, salt: &str) -> FileMarks {
    let mark = |(path, hash): (&PathBuf, &ContentHash)| (path.display().to_string(), hash.salted(salt.as_bytes()));
    files.into_iter().map(mark).collect()
}

/// The files that differ from those that were read under this salt, new YAML files of the workspace in `dir` among them; `None` when
/// there is no workspace. An environment has no `tidegate.yaml` of its own, and its folder need not be there.
#[must_use]
pub fn differing_files(dir: &Path, before: &FileMarks, salt: &str) -> Option<BTreeSet<String>> {
    let documents = match before.contains_key(MAIN_FILE) {
        true => WorkspaceDocuments::read(dir).ok()?,
        false => WorkspaceDocuments::of_objects(dir),
    };
    let now = marks_of_files(&documents.files, salt);
    let changed = before.iter().filter(|(path, mark)| match now.get(*path) {
        Some(now) => now != *mark,
        None => mark_of_file(dir, path, salt) != **mark,
    });
    let new = now.keys().filter(|path| !before.contains_key(*path));
    Some(changed.map(|(path, _)| path).chain(new).cloned().collect())
}

/// The marks that the files have now which differ; `None` when none does, or when there is no workspace.
#[must_use]
pub fn differing_marks(dir: &Path, before: &FileMarks, salt: &str) -> Option<FileMarks> {
    let differing = differing_files(dir, before, salt).filter(|names| !names.is_empty())?;
    let marks = differing.into_iter().map(|name| {
        let mark = mark_of_file(dir, &name, salt);
        (name, mark)
    });
    Some(marks.collect())
}

fn mark_of_file(dir: &Path, path: &str, salt: &str) -> String {
    let found = file::open(&dir.join(path)).and_then(ContentHash::of_reader);
    found.unwrap_or(ContentHash::ABSENT).salted(salt.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_changed_came_or_went_are_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("tidegate.yaml", "{}");
        write("sources/a.yaml", "kind: http\n");
        write("sources/b.yaml", "kind: http\n");
        write("ca.pem", "one");
        let mut files = WorkspaceDocuments::read(dir.path()).unwrap().files;
        files.insert("ca.pem".into(), ContentHash::of(b"one"));
        let before = marks_of_files(&files, "salt");
        let differ = || differing_files(dir.path(), &before, "salt").unwrap().into_iter().collect::<Vec<_>>();
        assert!(differ().is_empty(), "{:?}", differ());
        write("ca.pem", "two");
        write("sources/a.yaml", "kind: http # still\n");
        std::fs::remove_file(dir.path().join("sources/b.yaml")).unwrap();
        write("syncs/new.yaml", "source: a\n");
        assert_eq!(differ(), ["ca.pem", "sources/a.yaml", "sources/b.yaml", "syncs/new.yaml"]);
        assert_eq!(differing_files(&dir.path().join("nowhere"), &before, "salt"), None);
        let marks = differing_marks(dir.path(), &before, "salt").unwrap();
        assert_eq!(marks.len(), 4);
        write("ca.pem", "three");
        let later = differing_marks(dir.path(), &before, "salt").unwrap();
        assert!(marks["ca.pem"] != later["ca.pem"] && marks["syncs/new.yaml"] == later["syncs/new.yaml"]);
    }
}

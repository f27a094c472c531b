//! The files that documents of a folder name and that are sent with them: components, tables of lookups.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;

use data_encoding::HEXLOWER;
use sha2::{Digest as _, Sha256};
use tidegate_api_types::workspace::FolderDocument;
use tidegate_document::file;
use tidegate_document::problem::Problem;

use crate::config::{catalog_kind, folder_file, named_file};

/// The hashes of the files that documents name, by the paths that they have there, and what is wrong with those that cannot be read.
pub(super) fn hashes(dir: &Path, documents: &[FolderDocument]) -> (BTreeMap<String, String>, Vec<Problem>) {
    let (mut files, mut problems) = (BTreeMap::new(), Vec::new());
    for document in documents {
        let kind = catalog_kind(document.kind, &document.key);
        let Some(path) = named_file(kind, &document.document).filter(|path| !files.contains_key(path)) else {
            continue;
        };
        match read(dir, &path) {
            Ok(content) => drop(files.insert(path, HEXLOWER.encode(&Sha256::digest(&content)))),
            Err(error) => {
                let of = dir.join(folder_file(kind, &document.key).unwrap_or_default());
                let message = format!("the file {path} cannot be read: {error}");
                let fix = "write a path from the workspace's folder, or put the file there";
                problems.push(Problem::of_file(of, 0, message, fix));
            }
        }
    }
    (files, problems)
}

/// A file that a document names, whole.
pub(super) fn read(dir: &Path, path: &str) -> io::Result<Vec<u8>> {
    let path = dir.join(path);
    file::stays_within(dir, &path)?;
    file::read(&path, file::COMPONENT_BYTES_MAX)
}

//! What a workspace is resolved in: its folder, the environment, the store. Whatever an object reads of it is written down, so that
//! it can be told later whether it is still the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};
use tidegate_catalog::SecretValue;
use tidegate_document::fields::{Fields, SecretText, Variables};
use tidegate_document::file;

use super::documents::CatalogOrigin;
use super::folder::is_yaml;
use super::live_version::{LiveVersion, LookUpLive};
use super::spec_hash::{ContentHash, ObjectSpec, SpecInput};

/// What documents refer to and do not hold.
pub struct Surroundings<'a> {
    /// The workspace's folder: its paths count from here.
    pub dir: &'a Path,
    /// The data directory, where it is not the one that the workspace names.
    pub data: Option<&'a Path>,
    /// The environment.
    pub variables: Variables<'a>,
    /// Knows the store in the data directory.
    pub look_up_live: LookUpLive,
    /// What the server's catalog has for documents.
    pub catalog: CatalogInputs<'a>,
}

/// What a catalog has for documents.
#[derive(Clone, Copy, Default)]
pub struct CatalogInputs<'a> {
    /// The secrets that documents name, by their names. None where there is no catalog to be asked: whatever is said by a secret is
    /// then taken for right, and an object that cannot do without is left out.
    pub secrets: Option<&'a BTreeMap<String, SecretValue>>,
    /// The folder of the files that were sent with documents.
    pub files: Option<&'a Path>,
    /// What belongs to other environments: objects of the catalog reach nothing there.
    pub closed: &'a [PathBuf],
}

/// What one object reads of its surroundings.
pub(super) struct ObjectInputs<'a> {
    surroundings: &'a Surroundings<'a>,
    /// What paths count from.
    dir: &'a Path,
    origin: Option<&'a CatalogOrigin>,
    read: RefCell<BTreeMap<SpecInput, ContentHash>>,
    /// Fields of the document that nothing runs by.
    idle: RefCell<Vec<&'static str>>,
}

impl<'a> ObjectInputs<'a> {
    /// For a document of a file, or of the catalog.
    pub(super) fn new(surroundings: &'a Surroundings<'a>, origin: Option<&'a CatalogOrigin>) -> Self {
        Self { surroundings, dir: surroundings.dir, origin, read: RefCell::default(), idle: RefCell::default() }
    }

    /// For a document that lies elsewhere.
    pub(super) fn within(self, dir: &'a Path) -> Self {
        Self { dir, ..self }
    }

    /// Whether the catalog says the object, and no file of the folder.
    pub(super) const fn is_of_catalog(&self) -> bool {
        self.origin.is_some()
    }

    /// Where a file is that a field of the document names: what was sent with it, or what lies in the workspace's folder. Of the latter
    /// the catalog reaches nothing that holds other objects or data, or that lies elsewhere, but what the folder's own file names.
    pub(super) fn place(&self, fields: &mut Fields<'_>, field: &str, written: &str) -> Option<PathBuf> {
        let sent = self.origin.and_then(|origin| origin.files.get(written)).zip(self.surroundings.catalog.files);
        if let Some((sha256, files)) = sent {
            return Some(files.join(sha256));
        }
        let path = self.dir().join(written);
        let is_allowed =
            |origin: &CatalogOrigin| origin.own_file.as_deref() == Some(written) || self.is_open(written, &path);
        if self.origin.is_some_and(|origin| !is_allowed(origin)) {
            let message = format!("`{}` names a file that was not sent with it", fields.at(field));
            fields.problem(field, message, "send it: apply a folder that has it with `tidegate apply`");
            return None;
        }
        Some(path)
    }

    /// Whether a path leads to something of the folder that objects of the catalog may name.
    fn is_open(&self, written: &str, path: &Path) -> bool {
        let stays =
            Path::new(written).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        let is_data = self.surroundings.data.is_some_and(|data| path.starts_with(data));
        let is_closed = self.surroundings.catalog.closed.iter().any(|closed| path.starts_with(closed));
        stays && !is_data && !is_closed && !is_yaml(path)
    }

    /// A secret of the catalog.
    pub(super) fn secret(&self, name: &str) -> SecretText {
        let Some(secrets) = self.surroundings.catalog.secrets else { return SecretText::NotAtHand };
        let value = secrets.get(name).and_then(SecretValue::expose_text);
        let hash = value.map_or(ContentHash::ABSENT, |value| ContentHash::of(value.as_bytes()));
        self.note(SpecInput::Secret(name.to_owned()), hash);
        value.map_or(SecretText::Absent, |value| SecretText::Known(value.to_owned()))
    }

    /// The folder of the workspace, or of the server.
    pub(super) fn dir(&self) -> &'a Path {
        self.dir
    }

    /// A variable of the environment.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        let value = (self.surroundings.variables)(name);
        let hash = value.as_ref().map_or(ContentHash::ABSENT, |value| ContentHash::of(value.as_bytes()));
        self.note(SpecInput::Variable(name.to_owned()), hash);
        value
    }

    /// The bytes of a file.
    pub(super) fn read(&self, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
        let bytes = file::read(path, bytes_max);
        let hash = bytes.as_ref().map_or(ContentHash::ABSENT, |bytes| ContentHash::of(bytes));
        self.note(self.file(path), hash);
        bytes
    }

    /// A file that somebody else reads.
    pub(super) fn depends_on(&self, path: &Path, bytes_max: u64) {
        // Who reads it says what is wrong with it.
        let hash = file::open(path).and_then(|file| ContentHash::of_reader(file.take(bytes_max)));
        self.note(self.file(path), hash.unwrap_or(ContentHash::ABSENT));
    }

    /// A setting of `tidegate.yaml`.
    pub(super) fn setting(&self, name: &'static str, text: &str) {
        self.note(SpecInput::Setting(name), ContentHash::of(text.as_bytes()));
    }

    /// The version that is live in the store of a data directory.
    pub(super) fn live_version(&self, data: &Path, name: &str) -> Result<Option<LiveVersion>, String> {
        let found = (self.surroundings.look_up_live)(data, name)?;
        if let Some(LiveVersion { sha256, settings, .. }) = &found {
            let content = json!([sha256, settings]).to_string();
            self.note(SpecInput::LiveVersion, ContentHash::of(content.as_bytes()));
        }
        Ok(found)
    }

    /// Nothing runs by these fields, nor by the files that were read for them.
    pub(super) fn leave_out(&self, fields: &[&'static str], files: &[&Path]) {
        self.idle.borrow_mut().extend(fields);
        let mut read = self.read.borrow_mut();
        for path in files {
            read.remove(&self.file(path));
        }
    }

    /// What the object is made of, with this document.
    pub(super) fn spec(self, mut document: Value) -> ObjectSpec {
        if let Value::Object(fields) = &mut document {
            fields.retain(|name, _| !self.idle.borrow().contains(&name.as_str()));
        }
        ObjectSpec::new(&document, self.read.into_inner())
    }

    fn file(&self, path: &Path) -> SpecInput {
        let sent = self.surroundings.catalog.files.and_then(|files| path.strip_prefix(files).ok());
        let is_it = |sha256: &str| sent.is_some_and(|sent| sent == Path::new(sha256));
        let sent_files = self.origin.into_iter().flat_map(|origin| &origin.files);
        if let Some((written, _)) = sent_files.into_iter().find(|(_, sha256)| is_it(sha256)) {
            return SpecInput::Sent(written.clone());
        }
        SpecInput::File(path.strip_prefix(self.dir()).unwrap_or(path).to_owned())
    }

    fn note(&self, input: SpecInput, hash: ContentHash) {
        self.read.borrow_mut().insert(input, hash);
    }
}

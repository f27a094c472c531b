//! What a workspace is resolved in: its folder, the environment, the store. Whatever an object reads of it is written down, so that
//! it can be told later whether it is still the same.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::{self, Read as _};
use std::path::Path;

use serde_json::{Value, json};
use tidegate_document::fields::Variables;
use tidegate_document::file;

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
}

/// What one object reads of its surroundings.
pub(super) struct ObjectInputs<'a> {
    surroundings: &'a Surroundings<'a>,
    read: RefCell<BTreeMap<SpecInput, ContentHash>>,
    /// Fields of the document that nothing runs by.
    idle: RefCell<Vec<&'static str>>,
}

impl<'a> ObjectInputs<'a> {
    pub(super) fn new(surroundings: &'a Surroundings<'a>) -> Self {
        Self { surroundings, read: RefCell::default(), idle: RefCell::default() }
    }

    /// The workspace's folder.
    pub(super) fn dir(&self) -> &'a Path {
        self.surroundings.dir
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
        SpecInput::File(path.strip_prefix(self.dir()).unwrap_or(path).to_owned())
    }

    fn note(&self, input: SpecInput, hash: ContentHash) {
        self.read.borrow_mut().insert(input, hash);
    }
}

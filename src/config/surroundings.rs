//! What a workspace is resolved in: its folder, the environment, the store. Whatever an object reads of it is written down, so that
//! it can be told later whether it is still the same.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read as _};
use std::path::{Component, Path, PathBuf};

use serde_json::{Value, json};
use tidegate_catalog::SecretValue;
use tidegate_document::fields::{Fields, SecretText, Variables};
use tidegate_document::file;
use tidegate_document::problem::Problem;

use super::documents::CatalogOrigin;
use super::live_version::{LiveVersion, LookUpLive};
use super::spec_hash::{ContentHash, ObjectSpec, SpecInput};

/// How files end that objects of the catalog may name though they were not sent: components, tables, schemas, certificates.
const COMPONENTS: [&str; 1] = ["wasm"];
const TABLES: [&str; 2] = ["csv", "mmdb"];
const SCHEMAS: [&str; 6] = ["avsc", "proto", "pb", "binpb", "desc", "protoset"];
const CERTIFICATES: [&str; 3] = ["pem", "crt", "cer"];

/// What the server has in its data directory: names, and beginnings of names.
const OF_SERVER: [&str; 6] = ["log", "dedup", "store", "id", "lock", "environments"];
const OF_SERVER_BEGINNINGS: [&str; 9] = [
    "catalog.db",
    "state.db",
    "admin.json",
    "running.json",
    "endings.json",
    "findings.json",
    "streams.json",
    "tls.json",
    "instance.key",
];

/// Whether a path below the data directory is of nothing that the server has there.
fn is_free(below: &str) -> bool {
    let parts: Vec<Component<'_>> = Path::new(below).components().collect();
    let Some(Component::Normal(first)) = parts.first() else { return false };
    let first = first.to_string_lossy().to_lowercase();
    let is_servers = OF_SERVER.contains(&&*first)
        || first.starts_with('.')
        || OF_SERVER_BEGINNINGS.iter().any(|beginning| first.starts_with(*beginning));
    !is_servers && parts.iter().all(|part| matches!(part, Component::Normal(_)))
}

/// So much of the beginning of a value counts as the value: messages shorten what is long. What has less is found by nobody.
const QUOTED_CHARS: std::ops::RangeInclusive<usize> = 4..=16;

/// Whether a text has a value in it, as it is or as messages quote it, or how it begins.
fn is_quoted(value: &str, text: &str) -> bool {
    let escaped = value.escape_debug().to_string();
    let beginnings = [value, &escaped].map(|of| of.chars().take(*QUOTED_CHARS.end()).collect::<String>());
    beginnings.iter().any(|of| of.chars().count() >= *QUOTED_CHARS.start() && text.contains(of.as_str()))
}

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
    /// Variables that `tidegate.yaml` lets every object of the catalog name.
    open_variables: &'a BTreeSet<String>,
    read: RefCell<BTreeMap<SpecInput, ContentHash>>,
    /// Values that no problem may quote: those of secrets, and of variables that objects of the catalog name.
    hidden: RefCell<Vec<String>>,
    /// Fields of the document that nothing runs by.
    idle: RefCell<Vec<&'static str>>,
}

impl<'a> ObjectInputs<'a> {
    /// For a document of a file, or of the catalog.
    pub(super) fn new(
        surroundings: &'a Surroundings<'a>,
        origin: Option<&'a CatalogOrigin>,
        open_variables: &'a BTreeSet<String>,
    ) -> Self {
        let (read, hidden, idle) = (RefCell::default(), RefCell::default(), RefCell::default());
        Self { surroundings, dir: surroundings.dir, origin, open_variables, read, hidden, idle }
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
    /// the catalog reaches components, tables and schemas alone, and nothing that holds data or lies elsewhere, but what the folder's own file names.
    pub(super) fn place(&self, fields: &mut Fields<'_>, field: &str, written: &str) -> Option<PathBuf> {
        let sent = self.origin.and_then(|origin| origin.files.get(written)).zip(self.surroundings.catalog.files);
        if let Some((sha256, files)) = sent {
            return Some(files.join(sha256));
        }
        let path = self.dir().join(written);
        let endings: &[&str] = match field {
            "component" => &COMPONENTS,
            "file" => &SCHEMAS,
            _ => &TABLES,
        };
        let is_allowed =
            |origin: &CatalogOrigin| origin.own_file.as_deref() == Some(written) || self.is_open(written, endings);
        if self.origin.is_some_and(|origin| !is_allowed(origin)) {
            let message = format!("`{}` names a file that was not sent with it", fields.at(field));
            fields.problem(field, message, "send it: apply a folder that has it with `tidegate apply`");
            return None;
        }
        Some(path)
    }

    /// Whether a path leads to something of the folder that objects of the catalog may name: keys and other secrets may lie there as well.
    fn is_open(&self, written: &str, endings: &[&str]) -> bool {
        let is_plain = |part: Component<'_>| match part {
            Component::Normal(name) => !name.to_string_lossy().starts_with('.'),
            Component::CurDir => true,
            _ => false,
        };
        let (path, written) = (self.dir().join(written), Path::new(written));
        let is_data = self.surroundings.data.is_some_and(|data| path.starts_with(data));
        let is_closed = self.surroundings.catalog.closed.iter().any(|closed| path.starts_with(closed));
        let ending = written.extension().map(|ending| ending.to_string_lossy().to_lowercase());
        let is_named = ending.is_some_and(|ending| endings.contains(&&*ending));
        written.components().all(is_plain) && !is_data && !is_closed && is_named
    }

    /// Whether the catalog says the object, and the folder's own file of it does not name this file.
    fn is_foreign(&self, written: &str) -> bool {
        self.origin.is_some_and(|origin| !origin.own_files.contains(written))
    }

    /// Whether the value of a field is that of the folder's own file.
    pub(super) fn is_filled(&self, place: &str) -> bool {
        self.origin.is_some_and(|origin| origin.filled.contains(place))
    }

    /// A file of the server that may hold something secret. Objects of the catalog name none but what the folder's own file names.
    pub(super) fn secret_file(&self, fields: &mut Fields<'_>, field: &str, written: &str) -> Option<PathBuf> {
        if self.is_foreign(written) {
            let message =
                format!("`{}` names a file of the server, which objects of the catalog may not", fields.at(field));
            let fix = "keep what is in it with PUT /api/v1/secrets/NAME and write `secret:NAME` into a field that takes the value; \
                       or write the object into the folder of the server";
            fields.problem(field, message, fix);
            return None;
        }
        Some(self.dir().join(written))
    }

    /// A file of certificates. Objects of the catalog name one that lies in the folder of the server.
    pub(super) fn certificates(&self, fields: &mut Fields<'_>, field: &str, written: &str) -> Option<PathBuf> {
        if self.is_foreign(written) && !self.is_open(written, &CERTIFICATES) {
            let message = format!("`{}` names no file of certificates in the folder of the server", fields.at(field));
            let fix = "put a .pem, .crt or .cer file there, and name it by its path from there";
            fields.problem(field, message, fix);
            return None;
        }
        Some(self.dir().join(written))
    }

    /// Where a warehouse of files lies, as a field names it: `DATA/` is the data directory. Objects of the catalog get a place there that nothing
    /// of the server has.
    pub(super) fn storage(
        &self,
        fields: &mut Fields<'_>,
        (field, written): (&str, &str),
        data: &Path,
    ) -> Option<PathBuf> {
        let below = written.strip_prefix("DATA/");
        if self.is_foreign(written) && !below.is_some_and(is_free) {
            let message = format!("`{}` names a place that objects of the catalog may not write to", fields.at(field));
            fields.problem(
                field,
                message,
                "write `DATA/` and a name that nothing of the server has, such as DATA/shop.db",
            );
            return None;
        }
        Some(below.map_or_else(|| self.dir().join(written), |rest| data.join(rest)))
    }

    /// A secret of the catalog.
    pub(super) fn secret(&self, name: &str) -> SecretText {
        let Some(secrets) = self.surroundings.catalog.secrets else { return SecretText::NotAtHand };
        let value = secrets.get(name).and_then(SecretValue::expose_text);
        let hash = value.map_or(ContentHash::ABSENT, |value| ContentHash::of(value.as_bytes()));
        self.note(SpecInput::Secret(name.to_owned()), hash);
        self.hidden.borrow_mut().extend(value.map(str::to_owned));
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
        self.hidden.borrow_mut().extend(value.clone().filter(|_| self.is_of_catalog()));
        value
    }

    /// A variable that no field asks for by its name, such as `PGPASSWORD`.
    pub(super) fn ambient(&self, name: &str) -> Option<String> {
        if self.is_withheld(name) { None } else { self.variable(name) }
    }

    /// Whether the document may not name a variable: whoever may make a destination could have its value sent to themselves.
    pub(super) fn is_withheld(&self, name: &str) -> bool {
        let has_own = |origin: &CatalogOrigin| origin.own_variables.contains(name);
        self.origin.is_some_and(|origin| !has_own(origin) && !self.open_variables.contains(name))
    }

    /// Takes values out of problems that nobody may read there: a message may quote what does not fit.
    pub(super) fn hide_values(&self, problems: &mut [Problem]) {
        let hidden = self.hidden.borrow();
        let quotes = |text: &str| hidden.iter().any(|value| is_quoted(value, text));
        for problem in problems.iter_mut().filter(|problem| quotes(&problem.message) || quotes(&problem.fix)) {
            let place = if problem.place.is_empty() { "a field".to_owned() } else { format!("`{}`", problem.place) };
            problem.message =
                format!("{place} has a value that does not fit; it is a secret or a variable, and not shown");
            problem.fix =
                "write the secret anew with PUT /api/v1/secrets/NAME, or set the variable, to a value that fits"
                    .to_owned();
        }
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

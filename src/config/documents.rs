//! A workspace as it is written: its objects as documents that nobody has resolved, so `${NAME}` is `${NAME}`, and no secret is read.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use tidegate_api_types::workspace::{FolderDocument, ObjectRef, ObjectRefKind};
use tidegate_document::node::{DocumentNode, Tree};
use tidegate_document::problem::Problem;
use tidegate_document::{file, yaml};

use super::folder::{MAIN_FILE, is_name, is_yaml, object_name, yaml_files};
use super::secret_masks::is_reference;
use super::spec_hash::ContentHash;

/// The text of a workspace, parsed.
#[derive(Clone)]
pub struct WorkspaceDocuments {
    pub objects: BTreeMap<ObjectRef, ObjectDocument>,
    /// Every file that was read, by its path from the workspace's folder.
    pub files: BTreeMap<PathBuf, ContentHash>,
    /// `tidegate.yaml`; `None` when it is not YAML.
    pub main: Option<DocumentNode>,
    /// Where `tidegate.yaml` is, when it is not where the objects are: those are an environment's.
    pub(super) server_dir: Option<PathBuf>,
    /// Objects whose files are there and hold no document.
    pub(super) unread: BTreeSet<ObjectRef>,
    pub(super) problems: Vec<Problem>,
}

/// One object, unresolved.
#[derive(Clone, PartialEq)]
pub struct ObjectDocument {
    pub node: DocumentNode,
    /// From the workspace's folder; of what the catalog says, what stands for a file in problems.
    pub file: PathBuf,
    /// Where the catalog says it, and no file of the folder.
    pub catalog: Option<CatalogOrigin>,
}

/// What belongs to a document that the catalog has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct CatalogOrigin {
    /// Files that were sent with it, by their paths there: the SHA-256 of each, in hexadecimal digits.
    pub files: BTreeMap<String, String>,
    /// Fields whose values the folder's own file has, by their places.
    pub filled: BTreeSet<String>,
    /// The file that the folder's own document of the object names.
    pub own_file: Option<String>,
    /// Other files of the server that it names.
    pub own_files: BTreeSet<String>,
    /// Variables of the environment that it names.
    pub own_variables: BTreeSet<String>,
}

impl fmt::Debug for WorkspaceDocuments {
    /// The documents may hold secrets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WorkspaceDocuments").field("objects", &self.objects.keys()).finish_non_exhaustive()
    }
}

impl fmt::Debug for ObjectDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectDocument").field("file", &self.file).finish_non_exhaustive()
    }
}

impl WorkspaceDocuments {
    /// Reads the text of the workspace in `dir`. What is wrong with single files is said when the documents are resolved, with
    /// everything else.
    ///
    /// # Errors
    /// There is no workspace.
    pub fn read(dir: &Path) -> Result<Self, Vec<Problem>> {
        let main = dir.join(MAIN_FILE);
        if !main.exists() {
            return Err(vec![no_workspace(dir)]);
        }
        let mut documents = Self::of_objects(dir);
        documents.main = documents.document(dir, &main);
        Ok(documents)
    }

    /// The same of an environment in `dir`, which need not be there: its settings are those of the server in `server`.
    ///
    /// # Errors
    /// There is no workspace in `server`.
    pub fn read_environment(dir: &Path, server: &Path) -> Result<Self, Vec<Problem>> {
        let main = server.join(MAIN_FILE);
        if !main.exists() {
            return Err(vec![no_workspace(server)]);
        }
        let mut documents = Self::of_objects(dir);
        let settings = dir.join(MAIN_FILE);
        if settings.exists() {
            let message = "settings are the server's, and this is the folder of one of its environments";
            let fix = format!("write them into {}, and remove this file", main.display());
            documents.problems.push(Problem::of_file(settings, 0, message, fix));
        }
        documents.main = read_tree(server, &main, &mut documents.problems);
        // Its files are named as such, for they do not lie in the folder of the environment.
        documents.server_dir = Some(std::path::absolute(server).unwrap_or_else(|_| server.to_owned()));
        Ok(documents)
    }

    /// The objects of a folder, which need not be there.
    pub(super) fn of_objects(dir: &Path) -> Self {
        let mut documents = Self {
            objects: BTreeMap::new(),
            files: BTreeMap::new(),
            main: None,
            server_dir: None,
            unread: BTreeSet::new(),
            problems: Vec::new(),
        };
        for kind in ObjectRefKind::OF_FOLDERS {
            documents.read_folder(dir, kind);
        }
        let root = dir.join(ObjectRefKind::ContractFile.folder());
        if root.is_dir() {
            documents.gather(dir, &root, 0);
        }
        documents
    }

    /// The objects of a kind, in the order of their keys.
    pub fn of_kind(&self, kind: ObjectRefKind) -> impl Iterator<Item = (&str, &ObjectDocument)> {
        let of_kind = self.objects.iter().filter(move |(object, _)| object.kind == kind);
        of_kind.map(|(object, document)| (object.key.as_str(), document))
    }

    /// The objects as the catalog of a server may be told of them: without write keys that are written down.
    ///
    /// # Errors
    /// What is wrong with single files.
    pub fn of_folder(&self) -> Result<Vec<FolderDocument>, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems.clone());
        }
        let documents = self.objects.iter().map(|(object, document)| {
            let mut document = as_written(&document.node);
            if let (ObjectRefKind::Source, Value::Object(fields)) = (object.kind, &mut document) {
                keep_references(fields);
            }
            FolderDocument { kind: object.kind, key: object.key.clone(), document }
        });
        Ok(documents.collect())
    }

    /// The objects as they are written, all of them.
    ///
    /// # Errors
    /// What is wrong with single files.
    pub fn as_written(&self) -> Result<Vec<FolderDocument>, Vec<Problem>> {
        if !self.problems.is_empty() {
            return Err(self.problems.clone());
        }
        let documents = self.objects.iter().map(|(object, document)| FolderDocument {
            kind: object.kind,
            key: object.key.clone(),
            document: as_written(&document.node),
        });
        Ok(documents.collect())
    }

    /// What problems of an object name as its file.
    pub(super) fn file_of(&self, dir: &Path, kind: ObjectRefKind, key: &str) -> PathBuf {
        let ending = if kind == ObjectRefKind::ContractFile { "" } else { ".yaml" };
        match self.objects.get(&ObjectRef::new(kind, key)) {
            Some(document) => document.place(dir),
            None => dir.join(format!("{}/{key}{ending}", kind.folder())),
        }
    }

    /// Whether a file of this name is there, readable or not.
    pub(super) fn has(&self, kind: ObjectRefKind, key: &str) -> bool {
        let object = ObjectRef::new(kind, key);
        self.objects.contains_key(&object) || self.unread.contains(&object)
    }

    /// Reads every file of a folder; a missing folder is an empty one.
    fn read_folder(&mut self, dir: &Path, kind: ObjectRefKind) {
        let mut paths: Vec<PathBuf> = yaml_files(dir, kind.folder()).collect();
        paths.sort();
        let mut before: Option<&Path> = None;
        for path in &paths {
            let name = object_name(path);
            if let Some(other) = before.replace(path).filter(|other| object_name(other) == name) {
                let other = other.file_name().unwrap_or_default().to_string_lossy();
                let message = format!("{name:?} stands in {other} too, and a name is one object");
                self.problems.push(Problem::of_file(path, 0, message, "keep one of the two files"));
                continue;
            }
            let object = ObjectRef::new(kind, name.as_str());
            if !is_name(&name) {
                let message = format!("the file's name is the object's name, and {name:?} cannot be one");
                let fix = "use up to 63 letters, digits, - and _ before .yaml";
                self.problems.push(Problem::of_file(path, 0, message, fix));
                self.unread.insert(object);
                continue;
            }
            self.add(dir, object, path);
        }
    }

    /// Reads all YAML files below `folder`, which are contract files.
    fn gather(&mut self, dir: &Path, folder: &Path, depth: usize) {
        let Ok(entries) = std::fs::read_dir(folder) else { return };
        for entry in entries.flatten().take(EVENT_FILES_MAX) {
            let path = entry.path();
            let is_yaml = is_yaml(&path);
            if path.is_dir() && depth < 8 && !is_yaml {
                // A link to a folder elsewhere would bring files in that nobody sees here.
                if file::stays_within(dir, &path).is_ok() {
                    self.gather(dir, &path, depth + 1);
                } else {
                    let message = "a link leads out of the workspace".to_owned();
                    let fix = "put the folder into the workspace".to_owned();
                    self.problems.push(Problem::of_file(path, 0, message, fix));
                }
            } else if is_yaml && let Ok(relative) = path.strip_prefix(dir.join(ObjectRefKind::ContractFile.folder())) {
                let name: Vec<_> = relative.components().map(|part| part.as_os_str().to_string_lossy()).collect();
                self.add(dir, ObjectRef::new(ObjectRefKind::ContractFile, name.join("/")), &path);
            }
        }
    }

    fn add(&mut self, dir: &Path, object: ObjectRef, path: &Path) {
        match self.document(dir, path) {
            Some(node) => {
                drop(self.objects.insert(object, ObjectDocument { node, file: within(dir, path), catalog: None }))
            }
            None => drop(self.unread.insert(object)),
        }
    }

    fn document(&mut self, dir: &Path, path: &Path) -> Option<DocumentNode> {
        let text = read_text(dir, path, &mut self.problems)?;
        self.files.insert(within(dir, path), ContentHash::of(text.as_bytes()));
        parse(path, &text, &mut self.problems)
    }
}

impl ObjectDocument {
    /// What problems name as its file, where the workspace is in `dir`.
    #[must_use]
    pub fn place(&self, dir: &Path) -> PathBuf {
        if self.catalog.is_some() { self.file.clone() } else { dir.join(&self.file) }
    }
}

/// Fields of a source that hold its write keys.
pub const WRITE_KEYS: [&str; 2] = ["write_key", "write_keys"];

/// Takes the write keys away that are written down. Names of variables and of secrets stay.
fn keep_references(source: &mut Map<String, Value>) {
    let is_kept = |value: &Value| value.as_str().is_some_and(is_reference);
    let [alone, named] = WRITE_KEYS;
    if !source.get(alone).is_some_and(is_kept) {
        source.remove(alone);
    }
    if let Some(Value::Object(keys)) = source.get_mut(named) {
        keys.retain(|_, key| is_kept(key) || key.get("key").is_some_and(is_kept));
    }
    let has_named = source.get(named).and_then(Value::as_object).is_some_and(|keys| !keys.is_empty());
    if !has_named {
        source.remove(named);
    }
}

/// Folders and files below `events/` that are looked at.
const EVENT_FILES_MAX: usize = 100_000;

fn within(dir: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(dir).unwrap_or(path).to_owned()
}

pub(super) fn no_workspace(dir: &Path) -> Problem {
    let message = "there is no tidegate.yaml here";
    let fix = format!("run `tidegate init {}` to make a workspace, or name the folder of one", dir.display());
    Problem::of_file(dir.join(MAIN_FILE), 0, message, fix)
}

/// A file of the workspace in `dir`, parsed.
pub(super) fn read_tree(dir: &Path, path: &Path, problems: &mut Vec<Problem>) -> Option<DocumentNode> {
    let text = read_text(dir, path, problems)?;
    parse(path, &text, problems)
}

/// A file of the workspace in `dir`: an ordinary one, of bounded size, that lies where it seems to lie.
fn read_text(dir: &Path, path: &Path, problems: &mut Vec<Problem>) -> Option<String> {
    let read = file::stays_within(dir, path).and_then(|()| file::read_text(path, file::TEXT_BYTES_MAX));
    let note = |error: &std::io::Error| {
        let fix = "make it an ordinary, readable UTF-8 text file within the workspace";
        problems.push(Problem::of_file(path, 0, format!("the file cannot be read: {error}"), fix));
    };
    read.inspect_err(note).ok()
}

fn parse(path: &Path, text: &str, problems: &mut Vec<Problem>) -> Option<DocumentNode> {
    let parsed = yaml::parse(text).map_err(|error| {
        let message = format!("this is not YAML: {}", error.message);
        problems.push(Problem::of_file(path, error.line, message, "mend the line, or the one before it"));
    });
    parsed.ok()
}

/// A document as JSON for comparing: a number that is written in a way that JSON has not is the text that it is written as, for
/// as that it may be read.
pub(super) fn as_written(node: &DocumentNode) -> Value {
    match &node.value {
        Tree::Spelled(_, written) => Value::String(written.clone()),
        Tree::List(items) => Value::Array(items.iter().map(as_written).collect()),
        Tree::Map(fields) => {
            let fields = fields.iter().map(|field| (field.name.clone(), as_written(&field.node)));
            Value::Object(fields.collect::<Map<_, _>>())
        }
        _ => node.to_json(),
    }
}

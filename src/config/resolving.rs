//! Documents become objects: each is read with what surrounds it, all problems are gathered, and what each is made of.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_document::fields::Fields;
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::Problem;

use super::documents::{CatalogOrigin, ObjectDocument, WorkspaceDocuments, as_written};
use super::folder::MAIN_FILE;
use super::server::{Server, server};
use super::spec_hash::{ContentHash, ObjectSpec, SpecInput};
use super::surroundings::{ObjectInputs, Surroundings};

/// One document, and where it is from.
struct UnresolvedDocument<'d> {
    /// What its paths count from, where that is another folder than the workspace's.
    dir: Option<&'d Path>,
    file: &'d Path,
    node: &'d DocumentNode,
    catalog: Option<&'d CatalogOrigin>,
}

impl<'d> UnresolvedDocument<'d> {
    fn of(document: &'d ObjectDocument) -> Self {
        Self { dir: None, file: &document.file, node: &document.node, catalog: document.catalog.as_ref() }
    }
}

/// A workspace on its way to being resolved.
pub(super) struct Resolving<'a> {
    documents: &'a WorkspaceDocuments,
    surroundings: &'a Surroundings<'a>,
    /// Variables that every object of the catalog may name.
    open_variables: BTreeSet<String>,
    pub(super) problems: Vec<Problem>,
    pub(super) specs: BTreeMap<ObjectRef, ObjectSpec>,
    pub(super) files: BTreeMap<PathBuf, ContentHash>,
}

impl<'a> Resolving<'a> {
    pub(super) fn new(documents: &'a WorkspaceDocuments, surroundings: &'a Surroundings<'a>) -> Self {
        let (problems, files) = (documents.problems.clone(), documents.files.clone());
        Self { documents, surroundings, open_variables: BTreeSet::new(), problems, specs: BTreeMap::new(), files }
    }

    /// What `tidegate.yaml` says.
    pub(super) fn server(&mut self) -> Option<Server> {
        let node = self.documents.main.as_ref()?;
        let dir = self.documents.server_dir.as_deref();
        let main = UnresolvedDocument { dir, file: Path::new(MAIN_FILE), node, catalog: None };
        let (server, _) = self.document(main, server);
        self.open_variables.clone_from(&server.catalog_variables);
        Some(server)
    }

    /// The objects of a kind, read by `read`.
    pub(super) fn each<T>(
        &mut self,
        kind: ObjectRefKind,
        mut read: impl FnMut(&mut Fields<'_>, &ObjectInputs<'_>) -> Option<T>,
    ) -> BTreeMap<String, T> {
        let mut objects = BTreeMap::new();
        for (key, document) in self.documents.of_kind(kind) {
            let (object, spec) = self.document(UnresolvedDocument::of(document), &mut read);
            self.specs.insert(ObjectRef::new(kind, key), spec);
            objects.extend(object.map(|object| (key.to_owned(), object)));
        }
        objects
    }

    /// Contract files refer to nothing but one another.
    pub(super) fn contract_files(&mut self) {
        for (key, document) in self.documents.of_kind(ObjectRefKind::ContractFile) {
            let spec = ObjectSpec::new(&as_written(&document.node), BTreeMap::new());
            self.specs.insert(ObjectRef::new(ObjectRefKind::ContractFile, key), spec);
        }
    }

    fn document<T>(
        &mut self,
        UnresolvedDocument { dir, file, node, catalog }: UnresolvedDocument<'_>,
        read: impl FnOnce(&mut Fields<'_>, &ObjectInputs<'_>) -> T,
    ) -> (T, ObjectSpec) {
        let is_elsewhere = dir.is_some();
        let dir = dir.unwrap_or(self.surroundings.dir);
        let path = if catalog.is_some() { file.to_owned() } else { dir.join(file) };
        let inputs = ObjectInputs::new(self.surroundings, catalog, &self.open_variables).within(dir);
        let variables = |name: &str| inputs.variable(name);
        let is_withheld = |name: &str| inputs.is_withheld(name);
        let secrets = |name: &str| inputs.secret(name);
        let before = self.problems.len();
        let fields = Fields::new(&path, node, &mut self.problems);
        let mut fields = fields.with_variables(&variables).with_withheld(&is_withheld).with_secrets(&secrets);
        let value = read(&mut fields, &inputs);
        fields.finish();
        if let Some(met) = self.problems.get_mut(before..) {
            inputs.hide_values(met);
        }
        let spec = inputs.spec(as_written(node));
        let files = spec.inputs.iter().filter_map(|(input, hash)| match input {
            SpecInput::File(path) if !is_elsewhere => Some((path.clone(), *hash)),
            _ => None,
        });
        self.files.extend(files);
        (value, spec)
    }
}

//! Objects that neither the folder nor the catalog has any more and that go on until their syncs have ended: as they were written, with their
//! references unresolved, laid over what the two say.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::Problem;

use super::Workspace;
use super::documents::{CatalogOrigin, ObjectDocument, WorkspaceDocuments, as_written};
use super::streams::StreamKind;
use super::surroundings::Surroundings;

/// One object that is kept.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeptDocument {
    pub object: ObjectRef,
    pub document: Value,
    /// It counts even where there is one of its name.
    pub replaces: bool,
    /// Where the catalog had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub catalog: Option<CatalogOrigin>,
}

impl fmt::Debug for KeptDocument {
    /// The document may hold a secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeptDocument").field("object", &self.object).finish_non_exhaustive()
    }
}

/// Of each sync that is kept, what it cannot do without.
pub type KeptDocuments = BTreeMap<String, Vec<KeptDocument>>;

/// What goes on although neither the folder nor the catalog says so.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct EndingObjects {
    /// Syncs that end; there may be others of their names.
    pub syncs: BTreeSet<String>,
    /// Sources that take nothing in any more.
    pub sources: BTreeSet<String>,
}

/// What a kept sync needs, beside what it can find in the folder and the catalog.
#[derive(Debug, Clone, Default)]
pub struct KeptNeeds<'a> {
    /// What the key begins with that stands in the place of the write keys of a source, which may be another's by now. It opens nothing.
    pub closed_key: &'a str,
    /// Destinations that are there as another kind of thing.
    pub replaced: BTreeSet<ObjectRef>,
}

impl Workspace {
    /// Resolves documents with what is kept laid over them.
    ///
    /// # Errors
    /// All problems, sorted by file and line.
    pub(super) fn resolve_with_kept(
        told: &WorkspaceDocuments,
        kept: &KeptDocuments,
        surroundings: &Surroundings<'_>,
    ) -> Result<(WorkspaceDocuments, Self), Vec<Problem>> {
        let documents = told.with_kept(kept);
        let mut workspace = Self::resolve_beside(&documents, told, surroundings)?;
        let is_gone = |source: &&String| !told.has(ObjectRefKind::Source, source);
        workspace.ending = EndingObjects {
            syncs: kept.keys().cloned().collect(),
            sources: workspace.sources.keys().filter(is_gone).cloned().collect(),
        };
        Ok((documents, workspace))
    }

    /// The objects that the sync `name` cannot do without, contracts aside.
    fn needs_of(&self, name: &str) -> BTreeSet<ObjectRef> {
        let Some(sync) = self.syncs.get(name) else { return BTreeSet::new() };
        let mut needed = BTreeSet::from([
            ObjectRef::new(ObjectRefKind::Sync, name),
            ObjectRef::new(ObjectRefKind::Source, sync.source.0.as_str()),
            ObjectRef::new(ObjectRefKind::Destination, sync.destination.0.as_str()),
        ]);
        let of_source = self.sources.get(&sync.source.0).into_iter().flat_map(|source| &source.functions);
        for (function, _) in sync.functions.iter().chain(of_source) {
            needed.insert(ObjectRef::new(ObjectRefKind::Function, function.as_str()));
            let borrowed = self.functions.get(function).into_iter().flat_map(|function| &function.lookups);
            let tables = borrowed.filter_map(|borrowed| borrowed.table.as_deref());
            needed.extend(tables.map(|table| ObjectRef::new(ObjectRefKind::Lookup, table)));
        }
        needed
    }

    /// What is kept of `documents`, of which this workspace was made, for the sync `name` to go on.
    #[must_use]
    pub fn kept_for(&self, documents: &WorkspaceDocuments, name: &str, needs: &KeptNeeds<'_>) -> Vec<KeptDocument> {
        let needed = self.needs_of(name);
        let contracts = self.syncs.get(name).map(|sync| documents.contracts_of(&sync.source.0)).unwrap_or_default();
        let of_objects = needed.into_iter().filter_map(|object| {
            let known = documents.objects.get(&object)?;
            let mut document = as_written(&known.node);
            if let (ObjectRefKind::Source, Value::Object(fields)) = (object.kind, &mut document) {
                fields.remove("write_keys");
                let kind = fields.get("kind").and_then(Value::as_str).unwrap_or_default();
                // Nobody sends to a source that reads a stream.
                if StreamKind::of(kind).is_none() {
                    fields.insert("write_key".to_owned(), format!("{}-{}", needs.closed_key, object.key).into());
                }
            }
            let replaces = object.kind == ObjectRefKind::Sync || needs.replaced.contains(&object);
            Some(KeptDocument { object, document, replaces, catalog: known.catalog.clone() })
        });
        of_objects.chain(contracts).collect()
    }
}

impl WorkspaceDocuments {
    /// These, with what is kept laid over them.
    #[must_use]
    pub fn with_kept(&self, kept: &KeptDocuments) -> Self {
        let mut documents = self.clone();
        for KeptDocument { object, document, replaces, catalog } in kept.values().flatten() {
            let is_there = match object.kind {
                // A domain is of one piece.
                ObjectRefKind::ContractFile => self.has_domain(domain(&object.key)),
                _ => self.has(object.kind, &object.key),
            };
            if *replaces || !is_there {
                let (node, catalog) = (DocumentNode::from_json(document), catalog.clone());
                let file = file(object, catalog.is_some());
                documents.objects.insert(object.clone(), ObjectDocument { node, file, catalog });
            }
        }
        documents
    }

    fn has_domain(&self, wanted: &str) -> bool {
        self.of_kind(ObjectRefKind::ContractFile).any(|(key, _)| domain(key) == wanted)
    }

    /// The domains that name a source, for it alone.
    fn contracts_of(&self, source: &str) -> Vec<KeptDocument> {
        let names = |document: &ObjectDocument| {
            let sources = as_written(&document.node).get("sources").cloned().unwrap_or_default();
            sources.as_array().is_some_and(|sources| sources.iter().any(|name| name == source))
        };
        let files = || self.of_kind(ObjectRefKind::ContractFile);
        let domains: BTreeSet<&str> = files()
            .filter(|(key, document)| is_of_domain(key) && names(document))
            .map(|(key, _)| domain(key))
            .collect();
        let kept = files().filter(|(key, _)| domains.contains(domain(key)));
        let kept = kept.map(|(key, known)| {
            let mut document = as_written(&known.node);
            if let (true, Value::Object(fields)) = (is_of_domain(key), &mut document) {
                fields.insert("sources".to_owned(), json!([source]));
            }
            let object = ObjectRef::new(ObjectRefKind::ContractFile, key);
            KeptDocument { object, document, replaces: false, catalog: known.catalog.clone() }
        });
        kept.collect()
    }
}

/// Whether what is kept of a sync has a destination that is a plugin.
#[must_use]
pub fn needs_plugin(kept: &[KeptDocument]) -> bool {
    let is_plugin =
        |kept: &KeptDocument| kept.object.kind == ObjectRefKind::Destination && kept.document["kind"] == "plugin";
    kept.iter().any(is_plugin)
}

/// Where a file would be that says the same; of what the catalog had, what stands for a file in problems.
fn file(object: &ObjectRef, is_of_catalog: bool) -> PathBuf {
    let ending = if object.kind == ObjectRefKind::ContractFile { "" } else { ".yaml" };
    let of_catalog = if is_of_catalog { " (draining)" } else { "" };
    format!("{}/{}{ending}{of_catalog}", object.kind.folder(), object.key).into()
}

/// The folder of a domain: `domains/shop` of `domains/shop/sold.yaml`.
fn domain(key: &str) -> &str {
    key.match_indices('/').nth(1).and_then(|(at, _)| key.get(..at)).unwrap_or(key)
}

/// Whether a contract file is the one that says what its domain is for.
fn is_of_domain(key: &str) -> bool {
    key.ends_with("/domain.yaml")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tempfile::TempDir;

    use super::*;
    use crate::config::CatalogInputs;

    fn folder(files: &[(&str, &str)]) -> (TempDir, WorkspaceDocuments) {
        let dir = tempfile::tempdir().unwrap();
        for (name, text) in [("tidegate.yaml", "{}")].iter().chain(files) {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let read = WorkspaceDocuments::read(dir.path()).unwrap();
        (dir, read)
    }

    fn resolved(
        dir: &Path,
        documents: &WorkspaceDocuments,
        kept: &KeptDocuments,
    ) -> Result<(WorkspaceDocuments, Workspace), Vec<Problem>> {
        let variables = |name: &str| (name == "KEY").then(|| "key-0123456789abcdef".to_owned());
        let catalog = CatalogInputs::default();
        let surroundings =
            Surroundings { dir, data: None, variables: &variables, look_up_live: |_, _| Ok(None), catalog };
        Workspace::resolve_with_kept(documents, kept, &surroundings)
    }

    const WEB: (&str, &str) = ("sources/web.yaml", "kind: http\nwrite_key: ${KEY}\n");
    const DB: (&str, &str) = ("destinations/db.yaml", "kind: sqlite\n");
    const SYNC: (&str, &str) = ("syncs/crm.yaml", "source: web\ndestination: db\n");
    const DOMAIN: (&str, &str) = ("events/domains/shop/domain.yaml", "name: Shop\nsources: [web, app]\n");
    const SOLD: (&str, &str) = (
        "events/domains/shop/sold.yaml",
        "type: track\nname: Sold\nonUndeclaredFields: ALLOW_EVENT\nschema:\n  type: object\n  properties:\n    properties:\n      \
         type: object\n      properties:\n        price: {type: number}\n",
    );
    const CLOSED: KeptNeeds<'static> = KeptNeeds { closed_key: "closed-0123456789abcdef", replaced: BTreeSet::new() };

    #[test]
    fn what_a_sync_needs_goes_on_beside_a_folder_that_has_none_of_it() {
        let (dir, before) = folder(&[WEB, DB, SYNC, DOMAIN, SOLD]);
        let (before, workspace) = resolved(dir.path(), &before, &KeptDocuments::new()).unwrap();
        let kept = workspace.kept_for(&before, "crm", &CLOSED);
        assert!(!needs_plugin(&kept));
        let text = serde_json::to_string(&kept).unwrap();
        assert!(!text.contains("${KEY}") && text.contains(CLOSED.closed_key), "{text}");
        let kept = KeptDocuments::from([("crm".to_owned(), serde_json::from_str(&text).unwrap())]);
        // The key is another source's now, and the domain is gone.
        let (dir, after) = folder(&[("sources/app.yaml", WEB.1)]);
        let (documents, workspace) = resolved(dir.path(), &after, &kept).unwrap();
        assert_eq!(workspace.syncs.keys().collect::<Vec<_>>(), ["crm"]);
        assert_eq!(workspace.sources.keys().collect::<Vec<_>>(), ["app", "web"]);
        let ending = EndingObjects { syncs: BTreeSet::from(["crm".into()]), sources: BTreeSet::from(["web".into()]) };
        assert_eq!(workspace.ending, ending);
        assert_eq!(workspace.contracts.keys().collect::<Vec<_>>(), ["web"], "it is judged as before, and app is not");
        assert!(documents.objects.len() > 5);
        let (_, without) = resolved(dir.path(), &after, &KeptDocuments::new()).unwrap();
        assert!(without.syncs.is_empty() && without.ending == EndingObjects::default());
    }

    #[test]
    fn what_the_catalog_had_stays_of_the_catalog() {
        let (dir, before) = folder(&[WEB, DB, SYNC]);
        let (mut before, workspace) = resolved(dir.path(), &before, &KeptDocuments::new()).unwrap();
        let files = BTreeMap::from([("a.wasm".to_owned(), "0".repeat(64))]);
        let origin = CatalogOrigin { files, ..CatalogOrigin::default() };
        let sync = ObjectRef::new(ObjectRefKind::Sync, "crm");
        before.objects.get_mut(&sync).unwrap().catalog = Some(origin.clone());
        let text = serde_json::to_string(&workspace.kept_for(&before, "crm", &CLOSED)).unwrap();
        let kept = KeptDocuments::from([("crm".to_owned(), serde_json::from_str(&text).unwrap())]);
        let (dir, after) = folder(&[]);
        let (documents, _) = resolved(dir.path(), &after, &kept).unwrap();
        let object = |kind, key| &documents.objects[&ObjectRef::new(kind, key)];
        assert_eq!(object(ObjectRefKind::Sync, "crm").catalog, Some(origin));
        assert_eq!(object(ObjectRefKind::Source, "web").catalog, None);
    }

    #[test]
    fn what_the_folder_says_counts_but_for_the_sync_that_ends() {
        let (dir, before) = folder(&[WEB, DB, SYNC]);
        let (before, workspace) = resolved(dir.path(), &before, &KeptDocuments::new()).unwrap();
        let kept = KeptDocuments::from([("crm".to_owned(), workspace.kept_for(&before, "crm", &CLOSED))]);
        let changed = [
            ("sources/web.yaml", "kind: http\nwrite_key: ${KEY}\nrate: 5/s\n"),
            ("sources/app.yaml", "kind: http\nwrite_key: another-0123456789abcdef\n"),
            DB,
            ("syncs/crm.yaml", "source: app\ndestination: db\n"),
        ];
        let (dir, after) = folder(&changed);
        let (_, workspace) = resolved(dir.path(), &after, &kept).unwrap();
        assert_eq!(workspace.syncs["crm"].source.0, "web", "the old one goes on");
        assert_eq!(workspace.sources["web"].rate.events, Some(5.0));
        assert!(workspace.ending.sources.is_empty());
    }
}

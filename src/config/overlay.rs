//! What runs: the documents of the folder, and over them what the catalog says of objects that no file of the folder manages.
//!
//! Of an object that the server's own folder manages, its file counts: it holds the literal secrets and write keys. Of every other object
//! the spec of the catalog counts, also where the folder has a file of that name. Where a spec has the fingerprint of a secret, or no
//! write keys, that file still gives the value. An object of the catalog that cannot run may be left out, with what names it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use serde_json::Value;
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{CatalogObject, CatalogSnapshot, ManagingFolder, ObjectKind};
use tidegate_document::node::{DocumentNode, MapField, Tree};
use tidegate_document::problem::{NAME_CHARS_MAX, Problem, shortened};
use tidegate_document::revealed::SECRET_PREFIX;

use super::Workspace;
use super::catalog_specs::{
    FILES_FIELD, catalog_kind, folder_file, folder_kind, is_masked, may_hold_secrets, named_file,
};
use super::destinations::DestinationKind;
use super::documents::{CatalogOrigin, ObjectDocument, WRITE_KEYS, WorkspaceDocuments};
use super::file_secrets::{FileSecrets, open_variables};
use super::folder::{is_name, is_yaml};
use super::kept_documents::KeptDocuments;
use super::secret_masks::is_reference;
use super::streams::StreamKind;
use super::surroundings::Surroundings;

/// A workspace that runs, and what it could not have.
pub struct ResolvedOverlay {
    /// What the folder and the catalog say, without what is left out.
    pub overlaid: WorkspaceDocuments,
    /// The same, with what is kept laid over it.
    pub documents: WorkspaceDocuments,
    pub workspace: Workspace,
    /// Objects that cannot run, each with the reason.
    pub left_out: BTreeMap<ObjectRef, String>,
}

/// Which objects may be left out when they have problems.
#[derive(Clone, Copy)]
pub enum MayBeLeftOut<'a> {
    /// All of the catalog, and then whatever names them.
    OfCatalog,
    These(&'a BTreeSet<ObjectRef>),
}

impl WorkspaceDocuments {
    /// These documents of the server's folder, and over them the objects of the catalog that no file of it manages.
    #[must_use]
    pub fn overlaid(&self, snapshot: &CatalogSnapshot) -> Self {
        let mut documents = self.clone();
        let others = snapshot.objects.iter().filter(|object| object.folder() != Some(ManagingFolder::Server));
        for object in others {
            if let Some(kind) = folder_kind(object.content.kind) {
                documents.put(ObjectRef::new(kind, object.content.name.as_str()), object);
            }
        }
        documents
    }

    /// The names of all secrets that texts of the documents may ask for.
    #[must_use]
    pub fn secrets_named(&self) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        let nodes = self.objects.values().map(|document| &document.node);
        nodes.chain(self.main.as_ref()).for_each(|node| collect_secrets(node, &mut found));
        found
    }

    fn put(&mut self, named: ObjectRef, object: &CatalogObject) {
        let content = &object.content;
        let file = folder_file(content.kind, &shortened(&content.name, NAME_CHARS_MAX)).unwrap_or_default();
        let file = PathBuf::from(format!("{file} (catalog)"));
        let mut spec = content.spec.clone();
        let mut origin = CatalogOrigin { files: take_files(&mut spec), ..CatalogOrigin::default() };
        let mut node = DocumentNode::from_json(&spec);
        if let Some(message) = unfit_name(content.kind, &named) {
            let fix = "make it under another name";
            self.problems.push(Problem::of_file(&file, 0, message, fix));
        }
        let own = self.objects.get(&named).map(|document| document.node.clone());
        if let Some(own) = &own {
            origin.own_file = named_file(content.kind, &own.to_json());
            collect_own(own, "", &mut origin);
        }
        if let (ObjectRefKind::Source, Some(own)) = (named.kind, &own) {
            take_write_keys(&mut node, own);
        }
        if may_hold_secrets(content.kind) {
            let mut missing = Vec::new();
            fill(&mut node, own.as_ref(), "", &mut Filling { filled: &mut origin.filled, missing: &mut missing });
            self.problems.extend(missing.into_iter().map(|place| Problem {
                file: file.clone(),
                line: 0,
                message: format!("`{place}` has the fingerprint of a secret, and the secret is nowhere"),
                place,
                fix: "keep the value with PUT /api/v1/secrets/NAME, and write `secret:NAME` here".to_owned(),
            }));
        }
        if let Some(own) = &own {
            let open = &open_variables(self.main.as_ref());
            let led = FileSecrets { own, origin: &origin, open }.led_elsewhere(content.kind, &spec);
            self.problems.extend(led.map(|led| led.problem(&file)));
        }
        self.unread.remove(&named);
        self.objects.insert(named, ObjectDocument { node, file, catalog: Some(origin) });
    }

    /// Takes objects out, with what was wrong with them.
    fn leave_out(&mut self, gone: &BTreeMap<ObjectRef, String>) {
        for object in gone.keys() {
            if let Some(document) = self.objects.remove(object) {
                self.problems.retain(|problem| problem.file != document.file);
            }
        }
    }
}

/// Resolves what runs: `overlaid` are the documents of `folder` with the catalog over them, and what is `kept` is laid over those. What may
/// be left out and has problems is left out, and so is what names it. What is `unloadable` is left out from the beginning.
///
/// # Errors
/// All problems, sorted by file and line, where something has any that must run.
pub fn resolve_what_runs(
    mut overlaid: WorkspaceDocuments,
    (folder, kept): (&WorkspaceDocuments, &KeptDocuments),
    surroundings: &Surroundings<'_>,
    may: MayBeLeftOut<'_>,
    unloadable: &BTreeMap<ObjectRef, String>,
) -> Result<ResolvedOverlay, Vec<Problem>> {
    let mut left_out = unloadable.clone();
    left_out.retain(|object, _| overlaid.objects.contains_key(object));
    overlaid.leave_out(&left_out);
    loop {
        let problems = match resolved(&overlaid, kept, surroundings) {
            Ok((documents, workspace)) => return Ok(ResolvedOverlay { overlaid, documents, workspace, left_out }),
            Err(problems) => problems,
        };
        let is_first = left_out.is_empty();
        let (mut gone, mut files) = (BTreeMap::new(), BTreeSet::new());
        for (object, document) in &overlaid.objects {
            let may_go = match may {
                MayBeLeftOut::OfCatalog => document.catalog.is_some() || !is_first,
                MayBeLeftOut::These(objects) => objects.contains(object),
            };
            let place = document.place(surroundings.dir);
            let found = problems.iter().find(|problem| may_go && problem.file == place);
            if let Some(problem) = found {
                gone.insert(object.clone(), problem.message.clone());
                files.insert(place);
            }
        }
        // At a start, what else is wrong may have come of these.
        let is_enough = matches!(may, MayBeLeftOut::OfCatalog) || problems.iter().all(|one| files.contains(&one.file));
        if is_enough && !gone.is_empty() {
            overlaid.leave_out(&gone);
            left_out.extend(gone);
            continue;
        }
        if !matches!(may, MayBeLeftOut::OfCatalog) {
            return Err(problems);
        }
        // What the folder says by itself runs, if it is right by itself.
        let (documents, workspace) = resolved(folder, kept, surroundings)?;
        let first = problems.first().map(|problem| problem.message.clone()).unwrap_or_default();
        let reason = format!("what the catalog has does not go with the folder: {first}");
        let of_catalog = overlaid.objects.iter().filter(|(_, document)| document.catalog.is_some());
        left_out.extend(of_catalog.map(|(object, _)| (object.clone(), reason.clone())));
        // Released objects run as their files say.
        left_out.retain(|object, _| !folder.objects.contains_key(object));
        return Ok(ResolvedOverlay { overlaid: folder.clone(), documents, workspace, left_out });
    }
}

/// The workspace, unless a secret is written down where a manifest says that there is one.
fn resolved(
    overlaid: &WorkspaceDocuments,
    kept: &KeptDocuments,
    surroundings: &Surroundings<'_>,
) -> Result<(WorkspaceDocuments, Workspace), Vec<Problem>> {
    let (documents, workspace) = Workspace::resolve_with_kept(overlaid, kept, surroundings)?;
    let problems = written_settings(&documents, &workspace);
    if problems.is_empty() { Ok((documents, workspace)) } else { Err(problems) }
}

/// Settings of the catalog's destinations that the manifests of their plugins call secret, and that are written down.
fn written_settings(documents: &WorkspaceDocuments, workspace: &Workspace) -> Vec<Problem> {
    let mut problems = Vec::new();
    for (name, document) in documents.of_kind(ObjectRefKind::Destination) {
        let Some(origin) = &document.catalog else { continue };
        let Some(DestinationKind::Plugin(plugin)) = workspace.destinations.get(name).map(|it| &it.kind) else {
            continue;
        };
        let settings = document.node.to_json();
        for setting in &plugin.secret_settings {
            let place = format!("settings.{setting}");
            let value = settings.get("settings").and_then(|settings| settings.get(setting));
            let is_written = match value {
                None | Some(Value::Null) => false,
                Some(Value::String(text)) => !is_reference(text),
                Some(_) => true,
            };
            if is_written && !origin.filled.contains(&place) {
                let message = format!("`{place}` is a secret, and it is written down");
                let fix = "write `secret:NAME`, or `${NAME}` for a variable of the server's environment".to_owned();
                problems.push(Problem { file: document.file.clone(), line: 0, place, message, fix });
            }
        }
    }
    problems
}

fn collect_secrets(node: &DocumentNode, found: &mut BTreeSet<String>) {
    match &node.value {
        Tree::Text(text) => found.extend(text.strip_prefix(SECRET_PREFIX).map(str::to_owned)),
        Tree::List(items) => items.iter().for_each(|item| collect_secrets(item, found)),
        Tree::Map(fields) => fields.iter().for_each(|field| collect_secrets(&field.node, found)),
        _ => {}
    }
}

/// Fields of destinations that name files of the server, or a place for one.
const OF_FILES: [&str; 9] = [
    "ca_file",
    "private_key_file",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "passfile",
    "service_account_path",
    "path",
    "url",
];

/// Notes which variables and files of the server the folder's own document of an object names: the catalog may name them in it as well.
fn collect_own(node: &DocumentNode, field: &str, origin: &mut CatalogOrigin) {
    match &node.value {
        Tree::Text(text) => {
            let variable = text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}'));
            origin.own_variables.extend(variable.map(str::to_owned));
            // An address may hold a password, and what is noted here is kept.
            if OF_FILES.contains(&field) && !text.contains(['@', '=', '?']) {
                origin.own_files.insert(text.clone());
            }
        }
        Tree::List(items) => items.iter().for_each(|item| collect_own(item, field, origin)),
        Tree::Map(fields) => fields.iter().for_each(|inner| collect_own(&inner.node, &inner.name, origin)),
        _ => {}
    }
}

/// Takes the field out that says which files were sent. What is no SHA-256 is no file.
fn take_files(spec: &mut Value) -> BTreeMap<String, String> {
    let files = spec.as_object_mut().and_then(|fields| fields.remove(FILES_FIELD));
    let Some(Value::Object(files)) = files else { return BTreeMap::new() };
    let is_hash = |text: &str| text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
    let named = files.into_iter().filter_map(|(path, sha256)| {
        let sha256 = sha256.as_str().filter(|sha256| is_hash(sha256))?.to_owned();
        Some((path, sha256))
    });
    named.collect()
}

/// Why an object of this name cannot run.
fn unfit_name(kind: ObjectKind, named: &ObjectRef) -> Option<String> {
    let name = &named.key;
    let shown = shortened(name, NAME_CHARS_MAX);
    if named.kind != ObjectRefKind::ContractFile {
        let message = format!("{shown:?} cannot run: a name that runs has up to 63 letters, digits, - and _");
        return (!is_name(name)).then_some(message);
    }
    let is_plain = |step: &str| !matches!(step, "" | "." | "..");
    let is_path = is_yaml(name.as_ref()) && name.split('/').all(is_plain);
    let message = format!(
        "{shown:?} cannot run as {kind}: its name is the path of its file below events/, e.g. domains/shop/domain.yaml for a domain, \
         domains/shop/order-completed.yaml for an event, domains/shop/components/price.yaml for a component"
    );
    (!is_path || catalog_kind(named.kind, name) != kind).then_some(message)
}

/// Takes the write keys of the folder's file, where the spec has none: they are in no catalog. A source that reads a stream has none.
fn take_write_keys(node: &mut DocumentNode, own: &DocumentNode) {
    let (Tree::Map(fields), Tree::Map(own)) = (&mut node.value, &own.value) else { return };
    let is_key = |name: &str| WRITE_KEYS.contains(&name);
    let is_stream = |field: &MapField| {
        field.name == "kind" && matches!(&field.node.value, Tree::Text(kind) if StreamKind::of(kind).is_some())
    };
    if fields.iter().any(is_stream) {
        return;
    }
    if !fields.iter().any(|field| is_key(&field.name)) {
        fields.extend(own.iter().filter(|field| is_key(&field.name)).cloned());
    }
}

/// What became of fingerprints, by the places of their fields.
struct Filling<'a> {
    filled: &'a mut BTreeSet<String>,
    missing: &'a mut Vec<String>,
}

/// Puts what the folder's file says where a spec has a fingerprint.
fn fill(node: &mut DocumentNode, own: Option<&DocumentNode>, place: &str, filling: &mut Filling<'_>) {
    if matches!(&node.value, Tree::Text(text) if is_masked(text)) {
        match own.map(|own| &own.value) {
            Some(value @ (Tree::Text(_) | Tree::Number(_) | Tree::Spelled(..))) => {
                node.value = value.clone();
                filling.filled.insert(place.to_owned());
            }
            _ => filling.missing.push(place.to_owned()),
        }
        return;
    }
    match &mut node.value {
        Tree::Map(fields) => {
            for field in fields {
                let own = own.and_then(|own| match &own.value {
                    Tree::Map(fields) => fields.iter().find(|known| known.name == field.name).map(|known| &known.node),
                    _ => None,
                });
                let place = if place.is_empty() { field.name.clone() } else { format!("{place}.{}", field.name) };
                fill(&mut field.node, own, &place, filling);
            }
        }
        Tree::List(items) => {
            for (at, item) in items.iter_mut().enumerate() {
                let own = own.and_then(|own| match &own.value {
                    Tree::List(items) => items.get(at),
                    _ => None,
                });
                fill(item, own, &format!("{place}[{at}]"), filling);
            }
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use serde_json::json;
    use tidegate_catalog::{ManagedBy, ObjectContent, ObjectId, SecretValue};

    use super::*;
    use crate::config::CatalogInputs;

    /// A folder with a source, a warehouse and a sync between them.
    fn folder() -> (tempfile::TempDir, WorkspaceDocuments) {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = dir.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        };
        write("tidegate.yaml", "{}");
        write("sources/web.yaml", "kind: http\nwrite_key: 0123456789abcdef-web\n");
        write("destinations/db.yaml", "kind: sqlite\n");
        write("syncs/a.yaml", "source: web\ndestination: db\n");
        let documents = WorkspaceDocuments::read(dir.path()).unwrap();
        (dir, documents)
    }

    fn object(kind: ObjectKind, name: &str, spec: Value) -> CatalogObject {
        let id = ObjectId::parse(&format!("{}_{:0>20}", kind.prefix(), name.len())).unwrap();
        let content = ObjectContent { kind, name: name.to_owned(), labels: BTreeMap::new(), owner: None, spec };
        let (workspace, managed_by) = ("default".to_owned(), ManagedBy::Nobody);
        CatalogObject {
            id,
            workspace,
            content,
            created_at_us: 0,
            updated_at_us: 0,
            revision: 1,
            managed_by,
            is_paused: false,
        }
    }

    fn snapshot(objects: Vec<CatalogObject>) -> CatalogSnapshot {
        CatalogSnapshot { workspace: "default".to_owned(), revision: 1, objects }
    }

    fn resolve(
        dir: &Path,
        folder: &WorkspaceDocuments,
        objects: Vec<CatalogObject>,
        may: MayBeLeftOut<'_>,
    ) -> Result<ResolvedOverlay, Vec<Problem>> {
        let secrets = BTreeMap::new();
        let surroundings = Surroundings {
            dir,
            data: None,
            variables: &|_| None,
            look_up_live: |_, _| Ok(None),
            catalog: CatalogInputs { secrets: Some(&secrets), files: None, closed: &[] },
        };
        let (overlaid, kept) = (folder.overlaid(&snapshot(objects)), KeptDocuments::new());
        resolve_what_runs(overlaid, (folder, &kept), &surroundings, may, &BTreeMap::new())
    }

    fn left_out(resolved: &ResolvedOverlay) -> Vec<String> {
        resolved.left_out.keys().map(ToString::to_string).collect()
    }

    #[test]
    fn what_nobody_manages_runs_as_the_catalog_says_with_the_keys_of_its_file() {
        let (dir, folder) = folder();
        let objects = vec![
            object(ObjectKind::Source, "app", json!({"kind": "http"})),
            object(ObjectKind::Source, "web", json!({"kind": "http", "rate": "7/s"})),
        ];
        let resolved = resolve(dir.path(), &folder, objects, MayBeLeftOut::OfCatalog).unwrap();
        let (web, app) = (&resolved.workspace.sources["web"], &resolved.workspace.sources["app"]);
        assert_eq!((web.rate.events, web.write_keys.len(), app.write_keys.len()), (Some(7.0), 1, 0));
        assert_eq!(left_out(&resolved), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_run_is_left_out_at_a_start_with_what_names_it_and_refused_otherwise() {
        let (dir, folder) = folder();
        let objects = || {
            vec![
                object(ObjectKind::Destination, "far", json!({"kind": "nosuch"})),
                object(ObjectKind::Sync, "to-far", json!({"source": "web", "destination": "far"})),
                object(ObjectKind::Sync, "b", json!({"source": "web", "destination": "db", "schema": "b"})),
            ]
        };
        let resolved = resolve(dir.path(), &folder, objects(), MayBeLeftOut::OfCatalog).unwrap();
        assert_eq!(left_out(&resolved), ["destination far", "sync to-far"]);
        assert_eq!(resolved.workspace.syncs.keys().collect::<Vec<_>>(), ["a", "b"]);
        let nothing = BTreeSet::new();
        let problems = resolve(dir.path(), &folder, objects(), MayBeLeftOut::These(&nothing)).err().unwrap();
        assert_eq!(problems[0].file, Path::new("destinations/far.yaml (catalog)"));
        let known: BTreeSet<ObjectRef> = resolved.left_out.keys().cloned().collect();
        assert!(resolve(dir.path(), &folder, objects(), MayBeLeftOut::These(&known)).is_ok());
    }

    #[test]
    fn what_does_not_go_with_the_folder_gives_way_to_it() {
        let (dir, folder) = folder();
        // It writes into the tables of the folder's sync, and its name comes first.
        let objects = vec![object(ObjectKind::Sync, "0", json!({"source": "web", "destination": "db"}))];
        let resolved = resolve(dir.path(), &folder, objects, MayBeLeftOut::OfCatalog).unwrap();
        assert_eq!(left_out(&resolved), ["sync 0"]);
        assert_eq!(resolved.workspace.syncs.keys().collect::<Vec<_>>(), ["a"]);
    }

    #[test]
    fn an_object_of_the_catalog_reaches_no_file_place_or_variable_of_the_server_that_is_not_given_to_it() {
        let (dir, _) = folder();
        let postgres = |field: &str, value: &str| json!({"kind": "postgres", "host": "h", "user": "u", "dbname": "d", field: value});
        std::fs::write(dir.path().join("tidegate.yaml"), "catalog_variables: [OPEN]\n").unwrap();
        let own = postgres("passfile", "keys/pass");
        std::fs::write(dir.path().join("destinations/own.yaml"), own.to_string()).unwrap();
        let folder = WorkspaceDocuments::read(dir.path()).unwrap();
        let sqlite = |path: &str| json!({"kind": "sqlite", "path": path});
        let lake = |url: &str| json!({"kind": "lake", "url": url});
        let reason = |name: &str, spec: &Value| {
            let objects = vec![object(ObjectKind::Destination, name, spec.clone())];
            let resolved = resolve(dir.path(), &folder, objects, MayBeLeftOut::OfCatalog).unwrap();
            resolved.left_out.values().next().cloned()
        };
        for spec in [
            sqlite("DATA/catalog.db"),
            sqlite("DATA/State.db-wal"),
            sqlite("DATA/./catalog.db"),
            sqlite("DATA/x/../catalog.db"),
            sqlite("DATA//tmp/x.db"),
            sqlite("DATA/store/x.db"),
            sqlite("DATA/environments/staging/x.db"),
            sqlite("x.db"),
            lake("file:///tmp/x"),
            lake("DATA/log"),
            lake("../x"),
            json!({"kind": "lake", "url": "gs://b", "service_account_path": "/run/key.json"}),
            postgres("passfile", "keys/pass"),
            postgres("sslrootcert", "/etc/ssl/cert.pem"),
            postgres("sslrootcert", ".hidden/ca.pem"),
            postgres("sslrootcert", "key.p8"),
            json!({"kind": "postgres", "url": "postgres://u@h/d?passfile=/root/.pgpass"}),
            json!({"kind": "snowflake", "account": "a", "user": "u", "database": "d", "warehouse": "w",
                "auth": {"private_key_file": "rsa_key.p8"}}),
            postgres("password", "${AWS_SECRET_ACCESS_KEY}"),
        ] {
            let reason = reason("far", &spec).unwrap_or_else(|| panic!("{spec} runs"));
            assert!(reason.contains("may not") || reason.contains("no file of certificates"), "{spec}: {reason}");
        }
        let open = reason("far", &postgres("password", "${OPEN}")).unwrap();
        assert!(open.contains("OPEN, which is not set"), "{open}");
        assert_eq!(reason("far", &sqlite("DATA/far/shop.db")), None);
        assert_eq!(reason("own", &own), None, "what its own file names");
    }

    #[test]
    fn a_secret_that_does_not_fit_where_it_is_named_is_not_quoted() {
        let (dir, folder) = folder();
        let secrets = BTreeMap::from([("key".to_owned(), SecretValue::from("hunter2 \"of ann\"".to_owned()))]);
        let surroundings = Surroundings {
            dir: dir.path(),
            data: None,
            variables: &|_| None,
            look_up_live: |_, _| Ok(None),
            catalog: CatalogInputs { secrets: Some(&secrets), files: None, closed: &[] },
        };
        for spec in [
            json!({"kind": "secret:key"}),
            json!({"kind": "postgres", "host": "h", "user": "u", "sslmode": "secret:key"}),
            json!({"kind": "clickhouse", "url": "secret:key"}),
            json!({"kind": "lake", "url": "secret:key"}),
            json!({"kind": "clickhouse", "url": "https://c.example", "proxy": "secret:key"}),
        ] {
            let far = snapshot(vec![object(ObjectKind::Destination, "far", spec.clone())]);
            let (kept, far) = (KeptDocuments::new(), folder.overlaid(&far));
            let may = MayBeLeftOut::OfCatalog;
            let resolved = resolve_what_runs(far, (&folder, &kept), &surroundings, may, &BTreeMap::new()).unwrap();
            let reason = resolved.left_out.values().next().unwrap_or_else(|| panic!("{spec} runs"));
            assert!(!reason.contains("hunter2"), "{spec}: {reason}");
        }
    }

    #[test]
    fn secrets_that_are_not_there_fingerprints_and_names_that_cannot_run_are_problems() {
        let (dir, folder) = folder();
        let pg =
            |password: &str| json!({"kind": "postgres", "host": "h", "user": "u", "dbname": "d", "password": password});
        let objects = vec![
            object(ObjectKind::Destination, "one", pg("secret:nosuch")),
            object(ObjectKind::Destination, "two", pg("(secret 0123abcd)")),
            object(ObjectKind::Source, "no/name", json!({"kind": "http"})),
            object(ObjectKind::Event, "order", json!({})),
        ];
        let resolved = resolve(dir.path(), &folder, objects, MayBeLeftOut::OfCatalog).unwrap();
        let reasons: Vec<&str> = resolved.left_out.values().map(String::as_str).collect();
        assert_eq!(reasons.len(), 4, "{reasons:?}");
        for words in ["asks for the secret", "fingerprint of a secret", "up to 63 letters", "path of its file"] {
            assert!(reasons.iter().any(|reason| reason.contains(words)), "{words}: {reasons:?}");
        }
    }
}

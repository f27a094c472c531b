//! What runs: the server's own folder, and over it what the catalog says of objects that no file of it manages. For any of both.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use serde_json::{Value, json};
use tidegate::config::{
    CatalogInputs, MayBeLeftOut, ResolvedOverlay, Surroundings, WorkspaceDocuments, resolve_what_runs,
};
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{CatalogObject, CatalogSnapshot, Entropy, ObjectId, ObjectKind, SecretValue};

const KINDS: [(ObjectRefKind, ObjectKind); 4] = [
    (ObjectRefKind::Source, ObjectKind::Source),
    (ObjectRefKind::Destination, ObjectKind::Destination),
    (ObjectRefKind::Lookup, ObjectKind::Lookup),
    (ObjectRefKind::Sync, ObjectKind::Sync),
];

/// One object of the catalog.
#[derive(Debug, Clone)]
struct OverlayObject {
    object: ObjectRef,
    spec: Value,
    /// A file of the server's own folder manages it.
    is_of_server: bool,
}

/// What a folder says, and what the catalog has.
#[derive(Debug, Clone)]
struct OverlayCase {
    folder: BTreeMap<ObjectRef, Value>,
    catalog: Vec<OverlayObject>,
}

/// Counts up, so that every id is another one.
struct CountingEntropy(AtomicU64);

impl Entropy for CountingEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        let next = self.0.fetch_add(1, Ordering::Relaxed);
        for (at, byte) in bytes.iter_mut().enumerate() {
            *byte = next.to_le_bytes()[at % 8];
        }
    }
}

/// A document of a kind; with the value 3 it cannot run.
fn document(kind: ObjectRefKind, name: &str, value: u8, ends: (u8, u8)) -> Value {
    if value == 3 {
        return json!({"kind": "nosuch"});
    }
    match kind {
        ObjectRefKind::Source => json!({"kind": "http", "rate": format!("{}/s", 10 + value)}),
        ObjectRefKind::Destination => json!({"kind": "sqlite", "path": format!("DATA/{name}-{value}.db")}),
        ObjectRefKind::Lookup => json!({"kind": "table", "entries": {"value": value}}),
        _ => json!({
            "source": format!("n{}", ends.0), "destination": format!("n{}", ends.1), "schema": format!("of_{name}"),
            "batch": {"events_max": 100 + u32::from(value)},
        }),
    }
}

/// Few names, so that both have many in common. The folder is right by itself.
fn cases() -> impl Strategy<Value = OverlayCase> {
    let object = || (prop::sample::select(KINDS.to_vec()), 0..4_u8, 0..4_u8, (0..4_u8, 0..4_u8), any::<bool>());
    (prop::collection::vec(object(), 0..12), prop::collection::vec(object(), 0..12)).prop_map(|(files, objects)| {
        let named = |kind: ObjectRefKind, name: u8| ObjectRef::new(kind, format!("n{name}"));
        let mut folder = BTreeMap::new();
        for ((kind, _), name, value, ends, _) in &files {
            let object = named(*kind, *name);
            let document = document(*kind, &object.key, value % 3, *ends);
            folder.insert(object, document);
        }
        for (object, document) in &mut folder {
            if object.kind == ObjectRefKind::Source {
                document["write_key"] = json!(format!("key-of-{}-0123456789", object.key));
            }
        }
        let there: BTreeSet<ObjectRef> = folder.keys().cloned().collect();
        folder.retain(|object, document| {
            let has = |kind, field: &str| there.contains(&ObjectRef::new(kind, document[field].as_str().unwrap()));
            object.kind != ObjectRefKind::Sync
                || (has(ObjectRefKind::Source, "source") && has(ObjectRefKind::Destination, "destination"))
        });
        let mut catalog: BTreeMap<ObjectRef, OverlayObject> = BTreeMap::new();
        for ((kind, _), name, value, ends, is_of_server) in objects {
            let object = named(kind, name);
            let spec = document(kind, &object.key, value, ends);
            // The folder manages what it has, and nothing else.
            let is_of_server = is_of_server && folder.contains_key(&object);
            catalog.insert(object.clone(), OverlayObject { object, spec, is_of_server });
        }
        OverlayCase { folder, catalog: catalog.into_values().collect() }
    })
}

fn snapshot(case: &OverlayCase) -> CatalogSnapshot {
    let entropy = CountingEntropy(AtomicU64::new(1));
    let object = |object: &OverlayObject| {
        let kind = KINDS.iter().find(|(kind, _)| *kind == object.object.kind).unwrap().1;
        let managed_by = match object.is_of_server {
            true => json!({"folder": {"applied_revision": 1, "folder": "server"}}),
            false => json!("nobody"),
        };
        let written = json!({
            "id": ObjectId::new(kind, &entropy), "workspace": "default", "created_at_us": 0, "updated_at_us": 0,
            "revision": 1, "managed_by": managed_by, "is_paused": false,
            "content": {"kind": kind, "name": object.object.key, "spec": object.spec},
        });
        serde_json::from_value::<CatalogObject>(written).unwrap()
    };
    let mut objects: Vec<CatalogObject> = case.catalog.iter().map(object).collect();
    objects.sort_by(|a, b| a.key().cmp(&b.key()));
    CatalogSnapshot { workspace: "default".to_owned(), revision: 1, objects }
}

/// The folder on disk, read.
fn read(case: &OverlayCase) -> (tempfile::TempDir, WorkspaceDocuments) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("tidegate.yaml"), "{}").unwrap();
    for (object, document) in &case.folder {
        let folder = dir.path().join(object.kind.folder());
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join(format!("{}.yaml", object.key)), document.to_string()).unwrap();
    }
    let documents = WorkspaceDocuments::read(dir.path()).unwrap_or_else(|problems| panic!("{problems:?}"));
    (dir, documents)
}

fn resolved(case: &OverlayCase) -> (WorkspaceDocuments, ResolvedOverlay) {
    let (dir, folder) = read(case);
    let secrets = BTreeMap::new();
    let surroundings = Surroundings {
        dir: dir.path(),
        data: None,
        variables: &|_| None,
        look_up_live: |_, _| Ok(None),
        catalog: CatalogInputs { secrets: Some(&secrets), files: None, closed: &[] },
    };
    let overlaid = folder.overlaid(&snapshot(case));
    let (kept, may, unloadable) = (BTreeMap::new(), MayBeLeftOut::OfCatalog, BTreeMap::new());
    let what_runs = resolve_what_runs(overlaid.clone(), (&folder, &kept), &surroundings, may, &unloadable);
    (overlaid, what_runs.unwrap_or_else(|problems| panic!("the folder is right by itself: {problems:?}")))
}

/// What panics print at most.
#[test]
fn no_value_of_a_secret_is_in_what_is_resolved_when_that_is_printed() {
    const VALUE: &str = "canary-9Qr2kXw5-0123456789";
    let dir = tempfile::tempdir().unwrap();
    let component = dir.path().join("f.wasm");
    std::fs::write(&component, "not looked at").unwrap();
    for (file, text) in [
        ("tidegate.yaml", "{}"),
        ("sources/web.yaml", "kind: http\nwrite_key: secret:a\nfunctions: [f]\n"),
        ("functions/f.yaml", "component: f.wasm\nsettings: {key: secret:a}\n"),
        ("lookups/keys.yaml", "kind: table\nentries: {key: secret:a}\n"),
        ("destinations/pg.yaml", "kind: postgres\nhost: h\nuser: u\ndbname: d\npassword: secret:a\n"),
        ("destinations/ch.yaml", "kind: clickhouse\nurl: https://db.example\nuser: ann\npassword: secret:a\n"),
    ] {
        let path = dir.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    let folder = WorkspaceDocuments::read(dir.path()).unwrap_or_else(|problems| panic!("{problems:?}"));
    let secrets = BTreeMap::from([("a".to_owned(), SecretValue::from(VALUE.to_owned()))]);
    let surroundings = Surroundings {
        dir: dir.path(),
        data: None,
        variables: &|_| None,
        look_up_live: |_, _| Ok(None),
        catalog: CatalogInputs { secrets: Some(&secrets), files: None, closed: &[] },
    };
    let (kept, may, unloadable) = (BTreeMap::new(), MayBeLeftOut::OfCatalog, BTreeMap::new());
    let resolved = resolve_what_runs(folder.clone(), (&folder, &kept), &surroundings, may, &unloadable);
    let mut resolved = resolved.unwrap_or_else(|problems| panic!("{problems:?}"));
    let known = secrets.iter().map(|(name, value)| (name.clone(), Some(value.clone())));
    resolved.workspace.secrets = Some(known.collect());
    assert_eq!(resolved.workspace.functions["f"].settings.given()["key"], VALUE);
    let printed = format!("{:?} {:#?}", resolved.workspace, resolved.documents);
    assert!(!printed.contains("canary-"), "{printed}");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn of_each_object_one_counts_and_nothing_is_lost_or_made_up(case in cases()) {
        let (_dir, folder) = read(&case);
        let overlaid = folder.overlaid(&snapshot(&case));
        let of_catalog: BTreeMap<&ObjectRef, &Value> =
            case.catalog.iter().filter(|it| !it.is_of_server).map(|it| (&it.object, &it.spec)).collect();
        let wanted: BTreeSet<&ObjectRef> = case.folder.keys().chain(of_catalog.keys().copied()).collect();
        prop_assert_eq!(overlaid.objects.keys().collect::<BTreeSet<_>>(), wanted);
        for (object, document) in &overlaid.objects {
            let mut says = document.node.to_json();
            match of_catalog.get(object) {
                None => prop_assert_eq!(Some(document), folder.objects.get(object)),
                Some(spec) => {
                    // The catalog has no write keys: those of the file stay.
                    let key = says.as_object_mut().unwrap().remove("write_key");
                    let of_file = case.folder.get(object).and_then(|file| file.get("write_key"));
                    prop_assert_eq!(key.as_ref(), of_file);
                    prop_assert_eq!(&says, *spec);
                }
            }
        }
    }

    #[test]
    fn what_is_managed_by_the_folder_alone_changes_nothing(case in cases()) {
        let (_dir, folder) = read(&case);
        let mut case = case;
        case.catalog.retain(|object| object.is_of_server);
        let overlaid = folder.overlaid(&snapshot(&case));
        prop_assert_eq!(&overlaid.objects, &folder.objects);
    }

    #[test]
    fn what_cannot_run_is_left_out_with_what_names_it_and_nothing_else(case in cases()) {
        let (overlaid, what_runs) = resolved(&case);
        let left_out: BTreeSet<&ObjectRef> = what_runs.left_out.keys().collect();
        let runs: BTreeSet<&ObjectRef> = what_runs.documents.objects.keys().collect();
        prop_assert!(runs.is_disjoint(&left_out));
        let both: BTreeSet<&ObjectRef> = runs.union(&left_out).copied().collect();
        prop_assert_eq!(both, overlaid.objects.keys().collect::<BTreeSet<_>>());
        for sync in what_runs.workspace.syncs.values() {
            prop_assert!(what_runs.workspace.sources.contains_key(&sync.source.0));
            prop_assert!(what_runs.workspace.destinations.contains_key(&sync.destination.0));
        }
        // What the folder says, and the catalog does not say otherwise, runs unless what it names does not.
        let of_catalog: BTreeSet<&ObjectRef> =
            case.catalog.iter().filter(|it| !it.is_of_server).map(|it| &it.object).collect();
        for object in left_out.iter().filter(|object| !of_catalog.contains(*object)) {
            let document = &case.folder[*object];
            let is_left_out = |kind, field: &str| {
                let name = document[field].as_str().unwrap_or_default();
                left_out.contains(&ObjectRef::new(kind, name))
            };
            prop_assert!(
                is_left_out(ObjectRefKind::Source, "source") || is_left_out(ObjectRefKind::Destination, "destination"),
                "{object:?} is left out: {:?}", what_runs.left_out
            );
        }
    }
}

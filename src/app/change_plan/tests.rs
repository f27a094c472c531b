use std::collections::BTreeMap;
use std::path::Path;

use data_encoding::HEXLOWER;
use proptest::prelude::*;
use proptest::sample::{Index, subsequence};
use serde_json::json;
use tempfile::TempDir;
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::Problem;
use tidegate_plugin::{Manifest, embed};

use super::*;
use crate::config::{CatalogInputs, LiveVersion, SpecInput, Surroundings, WorkspaceDocuments};

/// Files of a workspace by name; what is `None` is taken away.
type Files<'a> = &'a [(&'a str, Option<&'a str>)];

/// One of everything, and for each kind one that nothing uses.
const BASE: Files<'static> = &[
    ("tidegate.yaml", Some("listen: 127.0.0.1:0\n")),
    ("sources/web.yaml", Some("kind: http\nwrite_key: key-of-web-0123456789\nfunctions: [clean]\n")),
    ("sources/app.yaml", Some("kind: http\nwrite_key: key-of-app-0123456789\n")),
    ("functions/clean.yaml", Some("component: clean.wasm\nlookups: {geo: geo}\n")),
    ("functions/late.yaml", Some("component: late.wasm\n")),
    ("functions/idle.yaml", Some("component: idle.wasm\n")),
    ("clean.wasm", Some("clean 1")),
    ("late.wasm", Some("late 1")),
    ("idle.wasm", Some("idle 1")),
    ("lookups/geo.yaml", Some("kind: table\npath: geo.json\n")),
    ("lookups/names.yaml", Some("kind: table\npath: names.json\ngrant_to: [pushed]\n")),
    ("lookups/idle.yaml", Some("kind: table\npath: idle.json\n")),
    ("geo.json", Some("{}")),
    ("names.json", Some("{}")),
    ("idle.json", Some("{}")),
    ("destinations/db.yaml", Some("kind: sqlite\npath: a.db\n")),
    (
        "destinations/pg.yaml",
        Some(
            "kind: postgres\nhost: db.example.com\nuser: ann\npassword: ${PG}\nsslmode: verify-ca\nsslrootcert: ca.pem\n",
        ),
    ),
    ("destinations/tool.yaml", Some("kind: plugin\n")),
    ("destinations/idle.yaml", Some("kind: plugin\n")),
    ("ca.pem", Some("ca 1")),
    ("data/live-tool", Some("age_max: 1 s")),
    ("syncs/web-db.yaml", Some("source: web\ndestination: db\n")),
    ("syncs/web-tool.yaml", Some("source: web\ndestination: tool\n")),
    ("syncs/app-pg.yaml", Some("source: app\ndestination: pg\nfunctions: [late]\n")),
    ("events/domains/shop/domain.yaml", Some("name: Shop\nsources: [web]\n")),
    ("events/domains/shop/sold.yaml", Some(SOLD)),
];

const SOLD: &str = "type: track
name: Sold
onUndeclaredFields: ALLOW_EVENT
schema:
  type: object
  properties:
    properties:
      type: object
      properties:
        price: {type: number}
";

fn write(dir: &Path, files: Files<'_>) {
    for (name, text) in files {
        let path = dir.join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        match text {
            Some(text) => std::fs::write(path, text).unwrap(),
            None => std::fs::remove_file(path).unwrap(),
        }
    }
}

/// A version of a destination is live where there is a file `live-NAME` that says how long its events wait.
fn look_up_live(data: &Path, name: &str) -> Result<Option<LiveVersion>, String> {
    let Ok(said) = std::fs::read_to_string(data.join(format!("live-{name}"))) else { return Ok(None) };
    let manifest = json!({
        "name": "acme", "kind": "destination", "hosts": ["https://acme.example.com"],
        "batch": {"age_max": said.trim_start_matches("age_max: ")},
    });
    let manifest = Manifest::from_json(&manifest).map_err(|problems| format!("{problems:?}"))?;
    Ok(Some(LiveVersion {
        sha256: format!("{:0>64}", HEXLOWER.encode(said.as_bytes())),
        manifest,
        settings: serde_json::Map::new(),
    }))
}

fn resolve(documents: &WorkspaceDocuments, dir: &Path, password: &str) -> Result<Workspace, Vec<Problem>> {
    let variables = |name: &str| (name == "PG").then(|| password.to_owned());
    let catalog = CatalogInputs::default();
    Workspace::resolve(documents, &Surroundings { dir, data: None, variables: &variables, look_up_live, catalog })
}

fn read(dir: &Path, password: &str) -> Workspace {
    resolve(&WorkspaceDocuments::read(dir).unwrap(), dir, password).unwrap()
}

/// The base with other files.
fn workspace(files: Files<'_>) -> (TempDir, Workspace) {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), BASE);
    write(dir.path(), files);
    let workspace = read(dir.path(), "secret");
    (dir, workspace)
}

/// Under the name `pushed` a function is live that sees the events of `web`.
fn releases() -> Releases {
    let placed = json!({"sha256": "0".repeat(64), "settings": {}});
    let release = json!({"live": placed, "previous": null, "canary": null, "attached": ["web"]});
    serde_json::from_value(json!({"revision": 1, "functions": {"pushed": release}})).unwrap()
}

fn plan(files: Files<'_>) -> ChangePlan {
    let ((_old, before), (_new, after)) = (workspace(&[]), workspace(files));
    ChangePlan::between(&before, &after, &releases())
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|name| (*name).to_owned()).collect()
}

fn of_sync(name: &str, change: SyncChange) -> ChangePlan {
    ChangePlan { syncs: BTreeMap::from([(name.to_owned(), change)]), ..ChangePlan::default() }
}

fn of_rules() -> ChangePlan {
    ChangePlan { rules: true, ..ChangePlan::default() }
}

fn of_functions(function: &str) -> ChangePlan {
    ChangePlan { functions: names(&[function]), ..of_rules() }
}

#[test]
fn what_says_the_same_changes_nothing() {
    assert_eq!(plan(&[]), ChangePlan::default());
    let web = "# A comment.\nfunctions: [\"clean\"]\nwrite_key: 'key-of-web-0123456789'\n\nkind: http\n";
    assert!(plan(&[("sources/web.yaml", Some(web))]).is_empty());
    // The same object from a file of the other ending.
    let sync = [("syncs/web-db.yaml", None), ("syncs/web-db.yml", Some("source: web\ndestination: db\n"))];
    assert!(plan(&sync).is_empty());
}

#[test]
fn a_sync_that_was_ending_gives_way_to_another_of_its_name_that_says_the_same() {
    let ((_old, mut before), (_new, mut after)) = (workspace(&[]), workspace(&[]));
    before.ending.syncs.insert("web-db".to_owned());
    assert_eq!(ChangePlan::between(&before, &after, &releases()), of_sync("web-db", SyncChange::Replace));
    after.ending.syncs.insert("web-db".to_owned());
    assert!(ChangePlan::between(&before, &after, &releases()).is_empty());
    // One that begins to end goes on as it is.
    before.ending.syncs.clear();
    assert!(ChangePlan::between(&before, &after, &releases()).is_empty());
}

#[test]
fn a_source_is_of_the_door_and_its_functions_are_of_the_rules() {
    let door = ChangePlan { door: true, ..ChangePlan::default() };
    let web = "kind: http\nfunctions: [clean]\nwrite_key: ";
    assert_eq!(plan(&[("sources/web.yaml", Some(&format!("{web}another-key-0123456789\n")))]), door);
    let limited = format!("{web}key-of-web-0123456789\nrate: 10/s\n");
    assert_eq!(plan(&[("sources/web.yaml", Some(&limited))]), door);
    let both = ChangePlan { door: true, ..of_rules() };
    let without = "kind: http\nwrite_key: key-of-web-0123456789\n";
    assert_eq!(plan(&[("sources/web.yaml", Some(without))]), both);
    assert_eq!(plan(&[("sources/new.yaml", Some("kind: http\nwrite_key: a-third-key-0123456789\n"))]), both);
}

#[test]
fn a_contract_is_of_the_rules_and_reopens_whose_columns_it_declares() {
    let file = "events/domains/shop/sold.yaml";
    assert_eq!(plan(&[(file, Some(&SOLD.replace("ALLOW_EVENT", "BLOCK_EVENT")))]), of_rules());
    let reopened = ChangePlan { rules: true, ..of_sync("web-db", SyncChange::Reopen) };
    assert_eq!(plan(&[(file, Some(&SOLD.replace("number", "string")))]), reopened);
    assert_eq!(plan(&[(file, None)]), reopened);
}

#[test]
fn a_function_is_of_the_rules_where_a_chain_names_it() {
    assert_eq!(plan(&[("clean.wasm", Some("clean 2"))]), of_functions("clean"));
    assert_eq!(plan(&[("late.wasm", Some("late 2"))]), of_functions("late"));
    let settings = "component: late.wasm\nsettings: {a: 1}\n";
    assert_eq!(plan(&[("functions/late.yaml", Some(settings))]), of_functions("late"));
    let idle = plan(&[("idle.wasm", Some("idle 2"))]);
    assert_eq!(idle, ChangePlan { rules: false, ..of_functions("idle") });
}

#[test]
fn a_lookup_changes_what_borrows_it() {
    let geo = ChangePlan { lookups: names(&["geo"]), ..of_functions("clean") };
    assert_eq!(plan(&[("geo.json", Some("{\"a\": 1}"))]), geo);
    let granted = ChangePlan { lookups: names(&["names"]), ..of_rules() };
    assert_eq!(plan(&[("names.json", Some("{\"a\": 1}"))]), granted);
    // Nobody may borrow it any more.
    assert_eq!(plan(&[("lookups/names.yaml", Some("kind: table\npath: names.json\n"))]), of_rules());
    assert_eq!(plan(&[("lookups/names.yaml", None)]), of_rules());
    assert!(plan(&[("idle.json", Some("{\"a\": 1}"))]).is_empty());
    // What is granted to a function that is not there is nobody's.
    let ((_old, before), (_new, after)) = (workspace(&[]), workspace(&[("names.json", Some("[]"))]));
    assert!(ChangePlan::between(&before, &after, &Releases::default()).is_empty());
}

#[test]
fn a_warehouse_reopens_each_sync_that_names_it() {
    let db = of_sync("web-db", SyncChange::Reopen);
    assert_eq!(plan(&[("destinations/db.yaml", Some("kind: sqlite\npath: b.db\n"))]), db);
    assert_eq!(plan(&[("ca.pem", Some("ca 2"))]), of_sync("app-pg", SyncChange::Reopen));
    assert_eq!(plan(&[("ca.pem", None)]), of_sync("app-pg", SyncChange::Reopen));
    let (dir, before) = workspace(&[]);
    let after = read(dir.path(), "another secret");
    let of_variable = ChangePlan::between(&before, &after, &releases());
    assert_eq!(of_variable, of_sync("app-pg", SyncChange::Reopen));
}

#[test]
fn authorities_of_net_are_of_every_destination_that_trusts_them() {
    let pem = || rcgen::generate_simple_self_signed(vec!["db.example.com".to_owned()]).unwrap().cert.pem();
    let main = ("tidegate.yaml", Some("listen: 127.0.0.1:0\nnet: {ca_file: net.pem}\n"));
    let (dir, before) = workspace(&[main, ("net.pem", Some(&pem()))]);
    write(dir.path(), &[("net.pem", Some(&pem()))]);
    let after = read(dir.path(), "secret");
    let both = ChangePlan { runtimes: names(&["tool"]), ..of_sync("app-pg", SyncChange::Reopen) };
    assert_eq!(ChangePlan::between(&before, &after, &releases()), both);
    let tool = ObjectRef::new(ObjectRefKind::Destination, "tool");
    assert!(after.specs[&tool].inputs.contains_key(&SpecInput::File("net.pem".into())), "{:?}", after.specs[&tool]);
}

#[test]
fn a_plugin_changes_its_runtime_and_how_events_are_gathered_for_it() {
    let runtime = ChangePlan { runtimes: names(&["tool"]), ..ChangePlan::default() };
    let both = ChangePlan { runtimes: names(&["tool"]), ..of_sync("web-tool", SyncChange::Regather) };
    let tool = "destinations/tool.yaml";
    assert_eq!(plan(&[(tool, Some("kind: plugin\nretry: {age_max: 1 h}\n"))]), runtime);
    assert_eq!(plan(&[(tool, Some("kind: plugin\npending: {events_max: 7}\n"))]), both);
    assert_eq!(plan(&[("data/live-tool", Some("age_max: 2 s"))]), both);
    assert_eq!(plan(&[("data/live-tool", Some("age_max: 1000 ms"))]), runtime);
    assert!(plan(&[("destinations/idle.yaml", Some("kind: plugin\nretry: {age_max: 1 h}\n"))]).is_empty());
}

#[test]
fn a_file_of_a_plugin_has_no_say_while_a_pushed_version_is_live() {
    let manifest = json!({
        "name": "acme", "kind": "destination", "hosts": ["https://acme.example.com"],
        "settings": {"type": "object", "properties": {"region": {"type": "string"}, "key": {"secret": true}}},
    });
    let component = |text: &str| embed(&wat::parse_str(text).unwrap(), &manifest, &[]);
    let (dir, _) = workspace(&[]);
    let write_tool = |region: &str, component: &[u8]| {
        let text = format!("kind: plugin\ncomponent: tool.wasm\nsettings: {{region: {region}, key: hidden}}\n");
        write(dir.path(), &[("destinations/tool.yaml", Some(&text))]);
        std::fs::write(dir.path().join("tool.wasm"), component).unwrap();
        read(dir.path(), "secret")
    };
    let [one, other] = ["(component)", "(component (core module))"].map(component);
    let between = |before: &Workspace, after: &Workspace| ChangePlan::between(before, after, &releases());
    let before = write_tool("eu", &one);
    assert!(between(&before, &write_tool("us", &other)).is_empty());
    let plugin = |of: &Workspace| match &of.destinations["tool"].kind {
        DestinationKind::Plugin(plugin) => plugin.secret_settings.clone(),
        DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => Vec::new(),
    };
    assert_eq!(plugin(&before), ["key"]);
    write(dir.path(), &[("data/live-tool", None)]);
    let runtime = ChangePlan { runtimes: names(&["tool"]), ..ChangePlan::default() };
    let before = write_tool("eu", &one);
    assert_eq!(between(&before, &write_tool("us", &one)), runtime);
    assert_eq!(between(&before, &write_tool("eu", &other)), runtime);
}

#[test]
fn a_sync_is_changed_as_little_as_it_takes() {
    let sync = |more: &str| plan(&[("syncs/web-db.yaml", Some(&format!("source: web\ndestination: db\n{more}\n")))]);
    for more in [
        "filter: {types: [track]}",
        "filter: {except_events: [Ping]}",
        "mapping: {remove: [/context/ip]}",
        "batch: {events_max: 7}",
        "start: now",
    ] {
        assert_eq!(sync(more), of_sync("web-db", SyncChange::Regather), "{more}");
    }
    let chain = ChangePlan { rules: true, ..of_sync("web-db", SyncChange::Regather) };
    // What events say of the categories is kept where they are refined.
    assert_eq!(sync("consent: {categories: [Ads]}"), chain);
    assert_eq!(sync("functions: [idle]"), chain);
    assert_eq!(sync("schema: other"), of_sync("web-db", SyncChange::Reopen));
    assert!(sync("start: beginning").is_empty());
    let to = |source: &str, destination: &str| {
        plan(&[("syncs/web-db.yaml", Some(&format!("source: {source}\ndestination: {destination}\n")))])
    };
    assert_eq!(to("web", "pg\nschema: other"), of_sync("web-db", SyncChange::Reopen));
    assert_eq!(to("app", "db"), of_sync("web-db", SyncChange::Replace));
    assert_eq!(to("web", "tool"), of_sync("web-db", SyncChange::Replace));
    let idle = ChangePlan { runtimes: names(&["idle"]), ..of_sync("web-db", SyncChange::Replace) };
    assert_eq!(to("web", "idle"), idle);
}

#[test]
fn what_is_paused_stops_goes_on_and_is_left_alone_meanwhile() {
    const PAUSED: (&str, Option<&str>) =
        ("syncs/web-db.yaml", Some("source: web\ndestination: db\nfilter: {types: [track]}\npaused: true\n"));
    assert_eq!(plan(&[PAUSED]), of_sync("web-db", SyncChange::Pause));
    let destination = plan(&[("destinations/db.yaml", Some("kind: sqlite\npath: a.db\npaused: true\n"))]);
    assert_eq!(destination, of_sync("web-db", SyncChange::Pause));
    let source = "kind: http\nwrite_key: key-of-web-0123456789\nfunctions: [clean]\npaused: true\n";
    assert_eq!(plan(&[("sources/web.yaml", Some(source))]), ChangePlan { door: true, ..ChangePlan::default() });
    let between = |files: Files<'_>| {
        let ((_old, before), (_new, after)) = (workspace(&[PAUSED]), workspace(files));
        ChangePlan::between(&before, &after, &releases())
    };
    assert_eq!(between(&[]), of_sync("web-db", SyncChange::Resume));
    let other = ("syncs/web-db.yaml", Some("source: web\ndestination: db\nschema: other\npaused: true\n"));
    assert!(between(&[other]).is_empty(), "it is as it shall be once it goes on");
    let replaced = ("syncs/web-db.yaml", Some("source: app\ndestination: db\npaused: true\n"));
    assert_eq!(between(&[replaced]), of_sync("web-db", SyncChange::Replace));
    // Somebody has done it, and no file says so.
    let by_hand = |kind, key: &str| {
        let ((_old, before), (_new, mut after)) = (workspace(&[]), workspace(&[]));
        after.paused_by_hand = BTreeSet::from([ObjectRef::new(kind, key)]);
        ChangePlan::between(&before, &after, &releases())
    };
    assert_eq!(by_hand(ObjectRefKind::Destination, "db"), of_sync("web-db", SyncChange::Pause));
    assert!(by_hand(ObjectRefKind::Source, "app").door);
}

#[test]
fn a_warehouse_that_becomes_a_plugin_replaces_its_syncs() {
    let plugin = plan(&[("destinations/db.yaml", Some("kind: plugin\n"))]);
    assert_eq!(plugin, ChangePlan { runtimes: names(&["db"]), ..of_sync("web-db", SyncChange::Replace) });
    let warehouse = plan(&[("destinations/tool.yaml", Some("kind: sqlite\npath: c.db\n"))]);
    assert_eq!(warehouse, of_sync("web-tool", SyncChange::Replace));
}

#[test]
fn a_sync_comes_and_goes() {
    let new = plan(&[("syncs/new.yaml", Some("source: app\ndestination: idle\n"))]);
    assert_eq!(new, ChangePlan { runtimes: names(&["idle"]), ..of_sync("new", SyncChange::Start) });
    assert_eq!(plan(&[("syncs/web-db.yaml", None)]), of_sync("web-db", SyncChange::End));
    let with_functions = plan(&[("syncs/app-pg.yaml", None)]);
    assert_eq!(with_functions, ChangePlan { rules: true, ..of_sync("app-pg", SyncChange::End) });
}

#[test]
fn settings_of_the_server_count_from_the_next_start() {
    for (setting, name) in [
        ("admin: {listen: 127.0.0.1:0}", "admin"),
        ("admin: {tls: {certificate: a.pem, key: a.key}}", "admin"),
        ("tls: {certificate: a.pem, key: a.key, client_ca: b.pem}", "tls"),
        ("data: elsewhere", "data"),
        ("limits: {request_events_max: 7}", "limits"),
        ("limits: {idle_timeout: 7 s}", "limits"),
        ("trusted_proxies: [10.0.0.0/8]", "trusted_proxies"),
        ("login: {public_url: https://admin.example.com}", "login"),
        ("public_url: https://events.example.com", "public_url"),
        ("browser_cookies: {origins: [https://www.example.com], domain: example.com}", "browser_cookies"),
        ("log: {partitions: 2}", "log"),
        ("log: {retention_bytes: 1 GiB}", "log"),
        ("dedup: {window: 1 h}", "dedup"),
        ("instance_key: {file: elsewhere.key}", "instance_key"),
        ("instance_key: {command: [/usr/bin/kms, read, tidegate]}", "instance_key"),
        ("leases: {url: postgres://tidegate@db.example.com/tidegate}", "leases"),
        ("metrics: {open: true}", "metrics"),
        ("traces: {endpoint: \"http://127.0.0.1:4318\"}", "traces"),
        ("slots: {pagemap_scan: true}", "slots"),
    ] {
        let text = format!("listen: 127.0.0.1:0\n{setting}\n");
        // The same store, wherever the workspace says that it is.
        let live = ("elsewhere/live-tool", Some("age_max: 1 s"));
        let key = ("elsewhere.key", Some("0123456789abcdef0123456789abcdef"));
        let changed = plan(&[("tidegate.yaml", Some(&text)), live, key]);
        assert_eq!(changed, ChangePlan { needs_restart: vec![name], ..ChangePlan::default() }, "{setting}");
    }
    assert_eq!(plan(&[("tidegate.yaml", Some("listen: 127.0.0.1:1\n"))]).needs_restart, ["listen"]);
    let quarantine = plan(&[("tidegate.yaml", Some("listen: 127.0.0.1:0\nquarantine: {age: 1 d}\n"))]);
    assert_eq!(quarantine, ChangePlan { quarantine: true, ..ChangePlan::default() });
}

#[test]
fn documents_that_were_kept_as_json_resolve_to_the_same() {
    let (dir, workspace) = workspace(&[]);
    let mut documents = WorkspaceDocuments::read(dir.path()).unwrap();
    for document in documents.objects.values_mut() {
        document.node = DocumentNode::from_json(&document.node.to_json());
    }
    assert_eq!(resolve(&documents, dir.path(), "secret").unwrap().specs, workspace.specs);
}

#[test]
fn a_document_holds_the_name_of_a_variable_and_not_what_it_says() {
    let (dir, workspace) = workspace(&[]);
    let documents = WorkspaceDocuments::read(dir.path()).unwrap();
    let object = ObjectRef::new(ObjectRefKind::Destination, "pg");
    assert_eq!(documents.objects[&object].node.to_json()["password"], "${PG}");
    assert!(workspace.specs[&object].inputs.contains_key(&SpecInput::Variable("PG".to_owned())));
    let files = workspace.files.keys().filter_map(|path| path.to_str());
    let files: BTreeSet<&str> = files.collect();
    for name in ["tidegate.yaml", "sources/web.yaml", "clean.wasm", "geo.json", "ca.pem"] {
        assert!(files.contains(name), "{name} in {files:?}");
    }
    // A comment is another file, and the same object.
    write(dir.path(), &[("lookups/idle.yaml", Some("# Nobody asks.\nkind: table\npath: idle.json\n"))]);
    let commented = read(dir.path(), "secret");
    assert_ne!(commented.files[Path::new("lookups/idle.yaml")], workspace.files[Path::new("lookups/idle.yaml")]);
    assert_eq!(commented.specs, workspace.specs);
}

#[test]
fn problems_of_reading_and_of_resolving_are_told_together() {
    let (dir, _) = workspace(&[]);
    write(dir.path(), &[("syncs/broken.yaml", Some("source: [1\n")), ("syncs/web-db.yaml", Some("source: wbe\n"))]);
    let documents = WorkspaceDocuments::read(dir.path()).unwrap();
    let problems = resolve(&documents, dir.path(), "secret").unwrap_err();
    let files: BTreeSet<_> = problems.iter().filter_map(|problem| problem.file.file_name()?.to_str()).collect();
    assert_eq!(files, BTreeSet::from(["broken.yaml", "web-db.yaml"]), "{problems:?}");
}

/// Files that one workspace has otherwise than the base.
const EDITS: Files<'static> = &[
    ("sources/app.yaml", Some("kind: http\nwrite_key: key-of-app-0123456789\nrate: 10/s\n")),
    ("sources/new.yaml", Some("kind: http\nwrite_key: a-third-key-0123456789\n")),
    ("clean.wasm", Some("clean 2")),
    ("geo.json", Some("{\"a\": 1}")),
    ("lookups/names.yaml", None),
    ("destinations/db.yaml", Some("kind: sqlite\npath: b.db\n")),
    ("ca.pem", Some("ca 2")),
    ("data/live-tool", Some("age_max: 2 s")),
    ("syncs/web-tool.yaml", None),
    ("syncs/app-pg.yaml", Some("source: app\ndestination: pg\nfunctions: [late, idle]\n")),
    ("syncs/late.yaml", Some("source: app\ndestination: idle\n")),
    ("events/domains/shop/sold.yaml", None),
    ("tidegate.yaml", Some("dedup: {window: 1 h}\n")),
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn a_plan_does_not_depend_on_the_order_of_files_and_of_the_same_there_is_none(
        edits in subsequence(EDITS, 0..=EDITS.len()),
        order in proptest::collection::vec(any::<Index>(), BASE.len()),
    ) {
        let mut shuffled = BASE.to_vec();
        for (at, index) in order.iter().enumerate() {
            shuffled.swap(at, index.index(BASE.len()));
        }
        let reversed: Vec<_> = edits.iter().rev().copied().collect();
        let of = |base: Files<'_>, edits: Files<'_>| {
            let dir = tempfile::tempdir().unwrap();
            write(dir.path(), base);
            write(dir.path(), edits);
            let workspace = read(dir.path(), "secret");
            (dir, workspace)
        };
        let (_before, before) = workspace(&[]);
        let ((_one, one), (_other, other)) = (of(BASE, &edits), of(&shuffled, &reversed));
        prop_assert_eq!(&one.specs, &other.specs);
        let plan = ChangePlan::between(&before, &one, &releases());
        prop_assert_eq!(&plan, &ChangePlan::between(&before, &other, &releases()));
        prop_assert_eq!(plan.is_empty(), edits.is_empty(), "{:?}", plan);
        for workspace in [&before, &one, &other] {
            prop_assert!(ChangePlan::between(workspace, workspace, &releases()).is_empty());
        }
    }
}

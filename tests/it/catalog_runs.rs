//! What runs follows the catalog: what is made over the API runs when it is answered, and after the next start.

mod applied;
mod ended;
mod left_out;
mod named_secrets;

use serde_json::{Value, json};

use crate::process::Running;
use crate::reload::Reloading;
use crate::support::{Reply, Warehouse, Workspace, run};

const KEY: &str = "app-key-0123456789";

/// A server, and its catalog over HTTP.
struct CatalogRun(Reloading);

impl CatalogRun {
    fn new() -> Self {
        Self(Reloading::new())
    }

    fn ask(&self, method: &str, path: &str, body: &Value) -> Reply {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        self.0.admin.ask(method, &format!("/api/v1{path}"), body.as_bytes())
    }

    #[track_caller]
    fn done(&self, method: &str, path: &str, body: &Value) -> Value {
        let reply = self.ask(method, path, body);
        assert!(reply.status < 300, "{method} {path}: {}", reply.text());
        reply.json()
    }

    #[track_caller]
    fn make(&self, kind: &str, name: &str, spec: &Value) {
        self.done("POST", &format!("/objects/{kind}"), &json!({"name": name, "spec": spec}));
    }

    #[track_caller]
    fn secret(&self, name: &str, value: &str) {
        self.done("PUT", &format!("/secrets/{name}"), &json!({"value": value}));
    }

    fn revision(&self) -> u64 {
        self.0.workspace.status()["catalog"]["revision"].as_u64().unwrap()
    }

    /// A source `app` with a key, a warehouse `db` in a file, and a sync between them.
    fn with_app(path: &str) -> Self {
        let run = Self::new();
        run.secret("app-key", KEY);
        run.secret("place", path);
        run.make("source", "app", &json!({"kind": "http", "write_key": "secret:app-key"}));
        run.make("destination", "db", &json!({"kind": "sqlite", "path": "secret:place"}));
        run.make("sync", "app-to-db", &json!({"source": "app", "destination": "db"}));
        run
    }

    #[track_caller]
    fn page(&self, id: &str) {
        assert_eq!(self.0.page(KEY, id), 200);
    }

    /// Stops the server and starts it again.
    fn again(self) -> Self {
        let Reloading { workspace, server, .. } = self.0;
        server.stop();
        Self(Reloading::of(workspace))
    }

    /// Stops the server; the pages that a warehouse has then.
    fn pages(self, file: &str) -> Vec<String> {
        let Reloading { workspace, server, .. } = self.0;
        server.stop();
        Warehouse::open(&workspace.data().join(file)).rows("SELECT id FROM pages ORDER BY id")
    }
}

#[test]
fn what_is_made_over_the_api_delivers_at_once_and_after_a_restart() {
    let run = CatalogRun::with_app("DATA/other.db");
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    let run = run.again();
    run.page("b");
    assert_eq!(run.pages("other.db"), ["a", "b"]);
}

#[test]
fn a_spec_that_cannot_run_is_refused_and_nothing_changes() {
    let run = CatalogRun::new();
    let before = run.revision();
    let body = json!({"name": "far", "spec": {"kind": "nosuch"}});
    for path in ["/objects/destination", "/objects/destination?dry_run=true"] {
        let refused = run.ask("POST", path, &body);
        assert_eq!(refused.code(), "422 problems", "{}", refused.text());
        let problem = refused.json()["problems"][0].clone();
        assert_eq!(problem["file"], "destinations/far.yaml (catalog)", "{problem}");
        assert!(problem["message"].as_str().unwrap().contains("nosuch"), "{problem}");
    }
    assert_eq!(run.ask("GET", "/objects/destination/far", &Value::Null).status, 404);
    assert_eq!(run.revision(), before);
    assert_eq!(
        run.ask("POST", "/objects/source", &json!({"name": "a b", "spec": {"kind": "http"}})).code(),
        "422 problems"
    );
    run.0.server.stop();
}

#[test]
fn no_warehouse_is_made_of_what_the_server_keeps_for_itself() {
    let run = CatalogRun::new();
    for spec in [
        json!({"kind": "sqlite", "path": "DATA/catalog.db"}),
        json!({"kind": "lake", "url": "DATA/store"}),
        json!({"kind": "postgres", "host": "h", "user": "u", "dbname": "d", "password": "${PATH}"}),
        json!({"kind": "clickhouse", "url": "https://c.example:8443", "ca_file": "/etc/hostname"}),
    ] {
        let refused = run.ask("POST", "/objects/destination", &json!({"name": "far", "spec": spec}));
        assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    }
    run.secret("place", "DATA/admin.json");
    let spec = json!({"kind": "sqlite", "path": "secret:place"});
    let refused = run.ask("POST", "/objects/destination", &json!({"name": "far", "spec": spec}));
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    run.0.server.stop();
}

#[test]
fn a_secret_is_not_read_out_of_what_is_wrong_with_an_object_that_names_it() {
    let run = CatalogRun::new();
    run.secret("canary", "canary-hunter2-canary");
    for (kind, spec) in [
        ("destination", json!({"kind": "secret:canary"})),
        ("destination", json!({"kind": "postgres", "host": "h", "user": "u", "sslmode": "secret:canary"})),
        ("source", json!({"kind": "secret:canary"})),
        ("lookup", json!({"kind": "secret:canary"})),
    ] {
        for way in ["", "?dry_run=true"] {
            let path = format!("/objects/{kind}{way}");
            let refused = run.ask("POST", &path, &json!({"name": "far", "spec": spec}));
            assert_eq!(refused.code(), "422 problems", "{}", refused.text());
            assert!(!refused.text().contains("canary-"), "{}", refused.text());
        }
    }
    let said = run.0.server.stop();
    assert!(!said.contains("canary-"), "{said}");
}

#[test]
fn a_secret_that_is_rotated_reopens_what_names_it() {
    let run = CatalogRun::with_app("DATA/one.db");
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    run.secret("place", "DATA/two.db");
    run.page("b");
    // A place that has never seen the sync gets what the log keeps.
    assert_eq!(run.pages("two.db"), ["a", "b"]);
}

#[test]
fn an_object_that_was_released_runs_as_the_catalog_says() {
    let run = CatalogRun::new();
    run.done("POST", "/objects/sync/web-to-warehouse/release", &Value::Null);
    let mut spec = run.done("GET", "/objects/sync/web-to-warehouse", &Value::Null)["spec"].clone();
    spec["filter"] = json!({"types": ["track"]});
    run.done("PUT", "/objects/sync/web-to-warehouse", &json!({"name": "web-to-warehouse", "spec": spec}));
    let send = |run: &CatalogRun, id: &str| {
        let page = json!({"type": "page", "messageId": format!("page-{id}"), "userId": "u"});
        let track = json!({"type": "track", "event": "Seen", "messageId": format!("track-{id}"), "userId": "u"});
        assert_eq!(run.0.server.batch(&[page, track]).status, 200);
    };
    send(&run, "1");
    let run = run.again();
    send(&run, "2");
    run.0.reload();
    send(&run, "3");
    let Reloading { workspace, server, .. } = run.0;
    let said = server.stop();
    assert!(!said.contains("no folder manages"), "{said}");
    let warehouse = workspace.warehouse();
    assert_eq!(warehouse.count("seen"), 3);
    assert!(!warehouse.has("pages"), "pages are filtered");
}

#[test]
fn what_is_deleted_over_the_api_ends() {
    let run = CatalogRun::with_app("DATA/other.db");
    run.page("a");
    run.0.wait_for_delivered("app-to-db", 1);
    let source = run.ask("DELETE", "/objects/source/app", &Value::Null);
    assert_eq!(source.code(), "409 in-use", "{}", source.text());
    run.done("DELETE", "/objects/sync/app-to-db", &Value::Null);
    run.page("b");
    run.done("DELETE", "/objects/source/app", &Value::Null);
    assert_eq!(run.0.page(KEY, "c"), 401);
    assert_eq!(run.pages("other.db"), ["a"]);
}

#[test]
fn tables_that_the_folder_does_not_know_are_named_where_somebody_is_forgotten() {
    let catalog_run = CatalogRun::with_app("DATA/other.db");
    catalog_run.page("a");
    catalog_run.0.wait_for_delivered("app-to-db", 1);
    let folder = catalog_run.0.workspace.path().to_str().unwrap().to_owned();
    let output = run(&["privacy", "warehouses", &folder, "--user", "u", "--json"]);
    assert_eq!(output.status.code(), Some(1), "{}", String::from_utf8_lossy(&output.stderr));
    let all: Value = serde_json::from_slice(&output.stdout).unwrap();
    let looked_at: Vec<(&str, bool)> = all
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["sync"].as_str().unwrap(), one["looked_at"].as_bool().unwrap()))
        .collect();
    assert_eq!(looked_at, [("web-to-warehouse", true), ("app-to-db", false)], "{all}");
    assert!(all[1]["left"].as_str().unwrap().contains("tidegate export"), "{all}");
    catalog_run.0.server.stop();
}

#[test]
fn a_start_leaves_out_what_cannot_run_any_more_and_says_so() {
    let run = CatalogRun::with_app("DATA/other.db");
    run.0.workspace.write("names.csv", "old,new\na,b\n");
    let names = json!({"kind": "table", "path": "names.csv", "key": "old", "value": "new"});
    run.make("lookup", "names", &names);
    run.0.remove("names.csv");
    let run = run.again();
    run.page("a");
    let objects = run.0.configuration()["objects"].clone();
    assert_eq!((&objects[0]["kind"], &objects[0]["key"]), (&json!("lookup"), &json!("names")), "{objects}");
    assert!(objects[0]["error"].as_str().unwrap().contains("names.csv"), "{objects}");
    // It is in nobody's way, and it may be mended.
    run.make("source", "third", &json!({"kind": "http"}));
    run.done("PUT", "/objects/lookup/names", &json!({"name": "names", "spec": {"kind": "table", "entries": {}}}));
    assert_eq!(run.0.configuration()["objects"], json!([]));
    let said = run.0.server.stop();
    assert!(said.contains("cannot run, and is left out"), "{said}");
}

#[test]
fn a_source_of_the_catalog_needs_no_write_key_and_a_secret_that_is_not_there_is_told() {
    let run = CatalogRun::new();
    run.make("source", "silent", &json!({"kind": "http"}));
    let spec = json!({"kind": "sqlite", "path": "secret:nosuch"});
    // The catalog itself knows which secrets there are.
    let refused = run.ask("POST", "/objects/destination", &json!({"name": "x", "spec": spec}));
    assert_eq!(refused.code(), "422 dangling", "{}", refused.text());
    run.0.workspace.write("destinations/far.yaml", "kind: sqlite\npath: secret:nosuch\n");
    let refused = run.0.ask();
    assert_eq!(refused.code(), "422 problems");
    let problem = refused.json()["problems"][0].clone();
    assert_eq!(problem["line"], 2, "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("the secret \"nosuch\""), "{problem}");
    run.secret("nosuch", "DATA/far.db");
    run.0.reload();
    let status = run.0.workspace.status();
    assert_eq!(status["configuration"]["catalog_revision"], status["catalog"]["revision"], "{status}");
    let running = run.done("GET", "/running", &Value::Null);
    assert_eq!(running["catalog_revision"], running["newest_catalog_revision"], "{running}");
    run.0.server.stop();
}

#[test]
fn a_change_whose_server_is_killed_between_its_commit_and_its_place_runs_after_the_next_start() {
    let workspace = Workspace::new();
    let run = CatalogRun(Reloading::with(workspace, &["catalog_committed=panic"]));
    let body = json!({"name": "late", "spec": {"kind": "http", "rate": "7/s"}});
    let reply = run.ask("POST", "/objects/source", &body);
    assert_eq!(reply.status, 503, "{}", reply.text());
    let Reloading { workspace, server, .. } = run.0;
    server.kill();
    let run = CatalogRun(Reloading::of(workspace));
    assert_eq!(run.done("GET", "/objects/source/late", &Value::Null)["spec"]["rate"], "7/s");
    run.secret("late-key", KEY);
    let spec = json!({"kind": "http", "rate": "7/s", "write_key": "secret:late-key"});
    run.done("PUT", "/objects/source/late", &json!({"name": "late", "spec": spec}));
    run.page("a");
    run.0.server.stop();
}

#[test]
fn a_watched_folder_is_read_again_once_its_files_lie_still_and_each_problem_is_said_once() {
    let workspace = Workspace::new();
    let mut server = Running::start(&workspace, &["--watch"]);
    let post = |server: &Running| server.post(KEY, &[json!({"type": "page", "messageId": "a", "userId": "u"})]).status;
    assert_eq!(post(&server), 401);
    workspace.write("sources/app.yaml", "kind: http\nwrite_key: short\n");
    server.wait_for_line("the running configuration goes on");
    workspace.write("sources/app.yaml", &format!("kind: http\nwrite_key: {KEY}\n"));
    server.wait_for("the new source takes events", |server| (post(server) == 200).then_some(()));
    assert_eq!(server.log().matches("the running configuration goes on").count(), 1, "{}", server.log());
}

#[test]
fn two_destinations_do_not_have_one_file() {
    let run = CatalogRun::with_app("DATA/other.db");
    let body = json!({"name": "twin", "spec": {"kind": "sqlite", "path": "DATA/other.db"}});
    let refused = run.ask("POST", "/objects/destination", &body);
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    let said = refused.json()["problems"][0]["message"].as_str().unwrap().to_owned();
    assert!(said.contains("destination twin") && said.contains("destination db"), "{said}");
    // What has no `path` has the file of the folder's own.
    let refused = run.ask("POST", "/objects/destination", &json!({"name": "twin", "spec": {"kind": "sqlite"}}));
    let problem = refused.json()["problems"][0].clone();
    assert_eq!(problem["file"], "destinations/twin.yaml (catalog)", "{problem}");
    assert!(problem["message"].as_str().unwrap().contains("destination warehouse"), "{problem}");
    run.make("destination", "twin", &json!({"kind": "sqlite", "path": "DATA/twin.db"}));
    run.0.workspace.write("destinations/same.yaml", "kind: sqlite\npath: data/../data/warehouse.db\n");
    let refused = run.0.ask();
    assert_eq!(refused.status, 422, "{}", refused.text());
    assert!(refused.text().contains("destination warehouse and destination same"), "{}", refused.text());
    run.0.server.stop();
}

#[test]
fn a_secret_of_a_file_is_sent_to_no_other_host_than_the_file_says() {
    let run = CatalogRun::new();
    let postgres = "kind: postgres\nuser: u\ndbname: d\nhost: db.example\n";
    run.0.workspace.write("destinations/literal.yaml", &format!("{postgres}password: hunter2-canary-01\n"));
    run.0.workspace.write("destinations/variable.yaml", &format!("{postgres}password: ${{PATH}}\n"));
    run.0.reload();
    for name in ["literal", "variable"] {
        let path = format!("/objects/destination/{name}");
        run.done("POST", &format!("{path}/release"), &Value::Null);
        let spec = run.done("GET", &path, &Value::Null)["spec"].clone();
        assert!(!spec.to_string().contains("hunter2"), "{spec}");
        let with = |changes: Value| {
            let mut spec = spec.clone();
            spec.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
            json!({"name": name, "spec": spec})
        };
        for elsewhere in [json!({"host": "evil.example"}), json!({"port": 6543}), json!({"sslmode": "disable"})] {
            let refused = run.ask("PUT", &path, &with(elsewhere.clone()));
            assert_eq!(refused.code(), "422 problems", "{elsewhere}: {}", refused.text());
            let problem = refused.json()["problems"][0].clone();
            let field = elsewhere.as_object().unwrap().keys().next().unwrap().clone();
            assert!(problem["message"].as_str().unwrap().starts_with(&format!("`{field}`")), "{problem}");
            assert!(problem["fix"].as_str().unwrap().contains("as `password`"), "{problem}");
        }
        run.done("PUT", &path, &with(json!({"columns_max": 500})));
        run.secret("own", "a-password-of-ones-own");
        run.done("PUT", &path, &with(json!({"host": "other.example", "password": "secret:own"})));
    }
    run.0.server.stop();
}

//! A folder that is applied from elsewhere.

use std::path::PathBuf;
use std::process::Output;

use serde_json::{Value, json};

use super::{CatalogRun, KEY};
use crate::reload::Reloading;
use crate::support::admin::Admin;
use crate::support::{Warehouse, basic, guests, request, tidegate};

/// A folder beside that of the server, and the commands that send it.
struct AppliedFolder {
    dir: tempfile::TempDir,
    token: String,
}

impl AppliedFolder {
    fn new(run: &mut CatalogRun) -> Self {
        let mut folder = Self { dir: tempfile::tempdir().unwrap(), token: String::new() };
        folder.write("tidegate.yaml", b"{}");
        folder.admit(run);
        folder
    }

    /// Takes a new token for both, which only the last one is.
    fn admit(&mut self, run: &mut CatalogRun) {
        self.token = run.0.workspace.admin_token();
        run.0.admin = Admin::new(&run.0.server, &self.token);
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn write(&self, name: &str, content: &[u8]) {
        let path = self.path(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    fn run(&self, run: &CatalogRun, command: &str, dir: &str, more: &[&str]) -> Output {
        let url = format!("http://{}", run.0.server.admin);
        let mut program = tidegate();
        program.args([command, dir, "--server", &url]).args(more).env("TIDEGATE_ADMIN_TOKEN", &self.token);
        program.output().unwrap()
    }

    #[track_caller]
    fn json(&self, run: &CatalogRun, command: &str, more: &[&str], code: i32) -> Value {
        let dir = self.dir.path().to_str().unwrap();
        let output = self.run(run, command, dir, &[more, &["--json"]].concat());
        assert_eq!(output.status.code(), Some(code), "{command}: {}", text(&output));
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{command}: {}", text(&output)))
    }

    #[track_caller]
    fn apply(&self, run: &CatalogRun, more: &[&str], code: i32) -> Value {
        self.json(run, "apply", more, code)
    }

    /// A source with a secret for its key, and a sync from it into a file.
    fn with_shop(&self, run: &CatalogRun, source: &str) {
        run.secret("shop-key", KEY);
        self.write("sources/shop.yaml", format!("kind: http\nwrite_key: secret:shop-key\n{source}").as_bytes());
        self.write("destinations/shop.yaml", b"kind: sqlite\npath: DATA/shop.db\n");
        self.write("syncs/shop.yaml", b"source: shop\ndestination: shop\n");
    }
}

/// A server, and a folder with a shop that is not applied yet.
fn with_shop() -> (CatalogRun, AppliedFolder) {
    let mut run = CatalogRun::new();
    let folder = AppliedFolder::new(&mut run);
    folder.with_shop(&run, "");
    (run, folder)
}

/// The same, applied: one page is delivered, and one waits for as long as the connection holds the file of the warehouse.
fn with_held_shop() -> (CatalogRun, AppliedFolder, rusqlite::Connection) {
    let (run, folder) = with_shop();
    folder.apply(&run, &[], 0);
    run.page("a");
    run.0.wait_for_delivered("shop", 1);
    let held = rusqlite::Connection::open(run.0.workspace.data().join("shop.db")).unwrap();
    held.execute_batch("BEGIN EXCLUSIVE").unwrap();
    run.page("b");
    (run, folder, held)
}

fn text(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

#[test]
fn an_applied_folder_brings_its_files_and_runs_after_a_restart_too() {
    let mut run = CatalogRun::new();
    let mut folder = AppliedFolder::new(&mut run);
    folder.with_shop(&run, "functions: [rename]\n");
    let component = std::fs::read(guests::component("transform/rename")).unwrap();
    folder.write("functions/rename.wasm", &component);
    let function = "component: functions/rename.wasm\nlookups: {renames: none}\n\
                    settings: {fields: {/properties/sku: /properties/product_id}}\n";
    folder.write("functions/rename.yaml", function.as_bytes());
    let planned = folder.json(&run, "plan", &[], 2);
    assert_eq!(planned["changes"].as_array().unwrap().len(), 4, "{planned}");
    let applied = folder.apply(&run, &[], 0);
    assert_eq!((&applied["created"], &applied["running"]["behind"]), (&json!(4), &json!([])), "{applied}");
    assert_eq!(folder.json(&run, "plan", &[], 0)["changes"], json!([]));
    assert_eq!(folder.apply(&run, &[], 0)["created"], 0);
    let shown = run.done("GET", "/objects/function/rename", &Value::Null);
    assert_eq!((&shown["managed_by"]["applied"], &shown["managed_by"]["drifted"]), (&json!(true), &json!(false)));
    let track = |run: &CatalogRun, id: &str| {
        let event = json!({"type": "track", "event": "Seen", "messageId": id, "userId": "u",
            "properties": {"sku": "MUG-1"}});
        let body = json!({"batch": [event]}).to_string();
        let (address, key) = (&run.0.server.address, basic(KEY));
        let reply = request(address, "POST", "/v1/batch", &[("authorization", &key)], body.as_bytes());
        assert_eq!(reply.status, 200, "{}", reply.text());
    };
    track(&run, "a");
    run.0.wait_for_delivered("shop", 1);
    // The server's own folder names none of it, and leaves it alone.
    let mut run = run.again();
    folder.admit(&mut run);
    track(&run, "b");
    let exported = folder.path("exported");
    let exported = exported.to_str().unwrap();
    let said = folder.run(&run, "export", exported, &[]);
    assert!(said.status.success(), "{}", text(&said));
    assert_eq!(std::fs::read(folder.path("exported/functions/rename.wasm")).unwrap(), component);
    let planned = folder.run(&run, "plan", exported, &[]);
    assert_eq!(planned.status.code(), Some(0), "{}", text(&planned));
    folder.write("functions/rename.wasm", b"something else");
    let planned = folder.json(&run, "plan", &[], 2);
    assert!(planned["changes"][0]["fields"][0]["field"].as_str().unwrap().contains("$files"), "{planned}");
    let broken = folder.apply(&run, &[], 1);
    assert!(broken["error"].as_str().unwrap().contains("nothing was changed"), "{broken}");
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    let warehouse = Warehouse::open(&workspace.data().join("shop.db"));
    let rows = warehouse.rows("SELECT id, product_id FROM seen ORDER BY id");
    assert_eq!(rows, ["a|MUG-1", "b|MUG-1"]);
}

#[test]
fn a_folder_that_is_not_right_changes_nothing() {
    let (run, folder) = with_shop();
    let before = run.revision();
    folder.write("syncs/shop.yaml", b"source: shop\ndestination: nosuch\n");
    folder.apply(&run, &[], 1);
    folder.write("syncs/shop.yaml", b"source: shop\ndestination: shop\nfilter: {types: [nosuch]}\n");
    let refused = folder.apply(&run, &[], 1);
    assert_eq!(refused["problems"][0]["file"], "syncs/shop.yaml (catalog)", "{refused}");
    let tried = folder.apply(&run, &["--dry-run"], 1);
    assert_eq!(tried["problems"], refused["problems"]);
    folder.write("syncs/shop.yaml", b"source: shop\ndestination: shop\n");
    folder.write("sources/shop.yaml", b"kind: http\nwrite_key: canary-hunter2-canary\n");
    let dir = folder.dir.path().to_str().unwrap();
    let output = folder.run(&run, "apply", dir, &[]);
    let said = text(&output);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("sources/shop.yaml:2") && said.contains("tidegate write-key create"), "{said}");
    assert!(!said.contains("canary"), "{said}");
    // The same of a program that does not look.
    let document =
        json!({"kind": "source", "key": "shop", "document": {"kind": "http", "write_key": "canary-hunter2"}});
    let refused = run.ask("POST", "/apply", &json!({"documents": [document]}));
    assert_eq!(refused.code(), "422 problems", "{}", refused.text());
    assert!(!refused.text().contains("canary"), "{}", refused.text());
    assert_eq!(run.revision(), before);
    run.0.server.stop();
}

#[test]
fn of_two_applies_from_one_revision_the_second_is_stale() {
    let (run, folder) = with_shop();
    let base = folder.json(&run, "plan", &[], 2)["base_revision"].to_string();
    let tried = folder.apply(&run, &["--expect", &base, "--dry-run"], 0);
    assert_eq!((&tried["dry_run"], &tried["created"]), (&json!(true), &json!(3)), "{tried}");
    folder.apply(&run, &["--expect", &base], 0);
    folder.write("syncs/shop.yaml", b"source: shop\ndestination: shop\nschema: shop\n");
    let dir = folder.dir.path().to_str().unwrap();
    let stale = folder.run(&run, "apply", dir, &["--expect", &base]);
    assert_eq!(stale.status.code(), Some(1), "{}", text(&stale));
    assert!(text(&stale).contains("was applied meanwhile by"), "{}", text(&stale));
    let asked = run.ask("POST", "/apply", &json!({"documents": [], "base_revision": 1}));
    assert_eq!(asked.code(), "412 stale-plan");
    run.0.server.stop();
}

#[test]
fn what_the_own_folder_manages_is_taken_over_when_that_is_asked_for_alone() {
    let mut run = CatalogRun::new();
    let folder = AppliedFolder::new(&mut run);
    let text_of_sync = "source: web\ndestination: warehouse\nfilter: {types: [track]}\n";
    folder.write("sources/web.yaml", b"kind: http\nwrite_key: ${HOME}\n");
    folder.write("destinations/warehouse.yaml", b"kind: sqlite\n");
    folder.write("syncs/web-to-warehouse.yaml", text_of_sync.as_bytes());
    let refused = folder.apply(&run, &[], 1);
    assert!(refused["problems"][0]["message"].as_str().unwrap().contains("own folder"), "{refused}");
    // Deleted is what an applied folder brought alone.
    std::fs::remove_file(folder.path("sources/web.yaml")).unwrap();
    std::fs::remove_file(folder.path("destinations/warehouse.yaml")).unwrap();
    let taken = folder.apply(&run, &["--take-over", "--prune"], 0);
    assert_eq!((&taken["updated"], &taken["deleted"]), (&json!(1), &json!(0)), "{taken}");
    let run = run.again();
    let page = json!({"type": "page", "messageId": "p", "userId": "u"});
    let track = json!({"type": "track", "event": "Seen", "messageId": "t", "userId": "u"});
    assert_eq!(run.0.server.batch(&[page, track]).status, 200);
    let Reloading { workspace, server, .. } = run.0;
    server.stop();
    assert!(!workspace.warehouse().has("pages") && workspace.warehouse().count("seen") == 1);
}

#[test]
fn a_folder_that_has_a_sync_no_more_says_what_becomes_of_what_waits() {
    let (run, folder, held) = with_held_shop();
    for file in ["sources/shop.yaml", "destinations/shop.yaml", "syncs/shop.yaml"] {
        std::fs::remove_file(folder.path(file)).unwrap();
    }
    let refused = folder.apply(&run, &["--prune"], 1);
    assert!(refused["error"].as_str().unwrap().contains("--drain shop"), "{refused}");
    folder.apply(&run, &["--prune", "--drain", "shop", "--abandon", "shop"], 1);
    let applied = folder.apply(&run, &["--prune", "--drain", "shop"], 0);
    assert_eq!((&applied["deleted"], &applied["running"]["draining"]), (&json!(3), &json!(["shop"])), "{applied}");
    assert_eq!(run.0.page(KEY, "c"), 401, "the door is shut");
    held.execute_batch("ROLLBACK").unwrap();
    drop(held);
    run.0.wait("it ends", |status| status["endings"]["ended"][0]["delivered"] == 2);
    assert_eq!(run.pages("shop.db"), ["a", "b"]);
}

#[test]
fn a_drain_is_given_up_by_a_folder_of_which_nothing_is_different() {
    let (run, folder, held) = with_held_shop();
    std::fs::remove_file(folder.path("syncs/shop.yaml")).unwrap();
    folder.apply(&run, &["--prune", "--drain", "shop"], 0);
    folder.apply(&run, &["--abandon", "nosuch"], 1);
    let tried = folder.apply(&run, &["--abandon", "shop", "--dry-run"], 0);
    assert_eq!(tried["running"]["draining"], json!(["shop"]), "{tried}");
    let applied = folder.apply(&run, &["--abandon", "shop"], 0);
    assert_eq!((&applied["deleted"], &applied["running"]["draining"]), (&json!(0), &json!([])), "{applied}");
    run.0.wait("it ends", |status| status["endings"]["ended"][0]["abandoned"] == 1);
    drop(held);
    run.0.server.stop();
}

//! Events that a contract blocked when they came, in a replay by the rules of then and by those of now.

use serde_json::{Value, json};

use super::{mend, quarantine, shop};
use crate::reliability::SYNC;
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::waiting::{PATIENCE, within};

fn replayed(admin: &Admin, rules: &str) -> Value {
    let reply = admin.post("/api/v1/replays", &json!({"sync": SYNC, "from": "beginning", "rules": rules}));
    assert_eq!(reply.status, 200, "{}", reply.text());
    within(PATIENCE, "the replay ends", || {
        let replay = admin.get(&format!("/api/v1/replays/{}", reply.json()["id"]));
        if replay["state"] == "running" { Err(replay.to_string()) } else { Ok(replay) }
    })
}

#[test]
fn what_was_blocked_then_is_only_replayed_by_the_rules_of_now() {
    let workspace: Workspace = shop();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    quarantine(&workspace, &server, 0..50);
    mend(&workspace, &admin);
    let by_then = replayed(&admin, "then");
    assert_eq!((&by_then["state"], &by_then["report"]["counts"]["came"]), (&json!("done"), &json!(0)), "{by_then:#}");
    let by_now = replayed(&admin, "now");
    let counts = &by_now["report"]["counts"];
    assert_eq!((&counts["came"], &counts["delivered"], &counts["duplicates"]), (&json!(50), &json!(50), &json!(0)));
    assert_eq!(workspace.quarantined().len(), 50, "a replay takes nothing out of the quarantine");
    server.stop();
    assert_eq!(workspace.warehouse().count("strict"), 50);
    workspace.conserves();
}

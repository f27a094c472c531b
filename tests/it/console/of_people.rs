//! Users, groups, roles, tokens, drafts and files of single events, by their pages.

use serde_json::json;

use super::{NONE, PASSWORD, SCRIPT, ServedConsole, made_user, out_of_place, page};
use crate::support::browser::CookieJar;

/// An admin of the server: users and groups belong to it.
fn signed_in_boss(served: &ServedConsole) -> CookieJar {
    made_user(&served.admin, "boss", "viewer");
    let user = served.admin.get("/api/v1/objects/user/boss")["id"].clone();
    let group = json!({"name": "bosses of all", "spec": {"members": [user], "roles": {"*": "admin"}}});
    assert_eq!(served.admin.post("/api/v1/objects/group", &group).status, 201);
    served.signed_in("boss")
}

#[test]
fn people_are_made_put_into_groups_and_let_in_no_more_by_forms() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (signed_in_boss(&served), served.signed_in("vera"));
    let taken = root.form("/people/users", "name=vera&email=%3Cb%3E");
    assert_eq!(taken.status, 409, "{}", taken.text());
    assert!(taken.text().contains("value=\"&lt;b&gt;\"") && !taken.text().contains("<b>"), "{}", taken.text());
    assert_eq!(root.form("/people/users", "name=ann&email=%3Cscript%3Ealert(3)%3C/script%3E").status, 303);
    let html = page(&mut root, "/people");
    assert!(html.contains("&lt;script&gt;alert(3)") && html.contains("draft_editor"), "{html}");
    assert_eq!(out_of_place(&html), None, "{html}");
    assert_eq!(root.form("/people/groups", "group=team&role=viewer&where=default").status, 303);
    assert_eq!(root.form("/people/groups/team/add", "user=ann").status, 303);
    let user = served.admin.get("/api/v1/objects/user/ann")["id"].clone();
    let members = |served: &ServedConsole| served.admin.get("/api/v1/objects/group/team")["spec"]["members"].clone();
    assert_eq!(members(&served), json!([user]));
    assert_eq!(root.form("/people/groups/team/remove", "user=ann").status, 303);
    assert_eq!(members(&served), json!([]));
    assert_eq!(root.form("/people/users/ann/disable", "").status, 303);
    assert_eq!(served.admin.get("/api/v1/objects/user/ann")["spec"]["is_disabled"], true);
    assert_eq!(root.form("/people/users/ann/enable", "").status, 303);
    assert_eq!(root.form("/people/users/ann/else", "").status, 404);
    let seen = page(&mut vera, "/people");
    assert!(!seen.contains("/people/users") && !seen.contains("/people/groups"), "{seen}");
    assert!(matches!(vera.form("/people/users", "name=eve").status, 403 | 404));
    assert!(matches!(vera.form("/people/groups/team/add", "user=vera").status, 403 | 404));
    assert_eq!(served.admin.ask("GET", "/api/v1/objects/user/eve", b"").status, 404);
    assert_eq!(root.form_from("https://evil.example", "/people/users", "name=eve").status, 403);
    served.server.stop();
}

#[test]
fn a_token_is_shown_once_and_a_password_changes_with_the_old_one() {
    let served = ServedConsole::open();
    let mut vera = served.signed_in("vera");
    let wrong = vera.form("/people/tokens", "name=ci&days=many");
    assert_eq!(wrong.status, 422);
    assert!(wrong.text().contains("id=\"wrong-days\"") && wrong.text().contains("value=\"many\""), "{}", wrong.text());
    let made = vera.form("/people/tokens", "name=ci&form=service&days=7");
    assert_eq!(made.status, 200, "{}", made.text());
    let html = made.text();
    let token = html.split("<pre class=\"data\" tabindex=\"0\">").nth(1).unwrap().split('<').next().unwrap().to_owned();
    assert!(token.starts_with("tgs_"), "{html}");
    let shown = page(&mut vera, "/people");
    assert!(shown.contains("/people/tokens/ci/revoke") && !shown.contains(&token), "{shown}");
    assert_eq!(vera.form("/people/tokens/ci/revoke", "").status, 303);
    assert!(!page(&mut vera, "/people").contains("/people/tokens/ci/revoke"));
    let wrong = vera.form("/people/password", "old=wrong&password=another+horse+battery");
    assert_eq!(wrong.status, 422, "{}", wrong.text());
    assert!(wrong.text().contains("id=\"wrong-old\"") && !wrong.text().contains("another horse"), "{}", wrong.text());
    let old = PASSWORD.replace(' ', "+");
    assert_eq!(vera.form("/people/password", &format!("old={old}&password=another+horse+battery")).status, 303);
    assert!(page(&mut vera, "/people").contains("Sign out"), "the session goes on");
    let mut again = CookieJar::new(&served.server);
    assert_eq!(again.sign_in("vera", PASSWORD).status, 401);
    assert_eq!(again.sign_in("vera", "another horse battery").status, 200);
    served.server.stop();
}

#[test]
fn a_draft_is_shown_with_what_it_does_and_approved_by_somebody_else() {
    let served = ServedConsole::open();
    made_user(&served.admin, "dora", "draft_editor");
    let (mut root, mut dora, mut vera) = (served.signed_in("root"), served.signed_in("dora"), served.signed_in("vera"));
    let edit = json!({"action": "create", "kind": "lookup", "content": {"name": "geo", "spec": {"kind": "table", "entries": {"a": "<i>"}}}});
    let proposed = dora.ask("POST", "/api/v1/drafts", &json!({"title": SCRIPT, "edits": [edit]}));
    assert_eq!(proposed.status, 200, "{}", proposed.text());
    let place = format!("/drafts/{}", proposed.json()["id"].as_str().unwrap());
    let list = page(&mut root, "/drafts");
    assert!(list.contains("&lt;script&gt;alert(1)") && list.contains(&place), "{list}");
    let shown = page(&mut root, &place);
    assert!(shown.contains("geo") && shown.contains("&lt;i&gt;") && !shown.contains("<i>"), "{shown}");
    assert_eq!(out_of_place(&shown), None, "{shown}");
    assert!(shown.contains("/approve") && shown.contains("/close"), "{shown}");
    let proposed = page(&mut dora, &place);
    assert!(!proposed.contains("/approve") && proposed.contains("/close"), "who proposes takes it back: {proposed}");
    let seen = vera.ask("GET", &place, &NONE).text();
    assert!(!seen.contains("/approve") && !seen.contains("/close"), "{seen}");
    let own = dora.form(&format!("{place}/approve"), "");
    assert_eq!(own.status, 403, "{}", own.text());
    assert_eq!(root.form_from("https://evil.example", &format!("{place}/approve"), "").status, 403);
    assert_eq!(root.form(&format!("{place}/approve"), "drain=&abandon=").status, 303);
    assert!(page(&mut root, &place).contains(">approved<"));
    assert_eq!(served.admin.get("/api/v1/objects/lookup/geo")["name"], "geo");
    assert_eq!(root.form(&format!("{place}/approve"), "").status, 409);
    assert_eq!(root.ask("GET", "/drafts/drf_none", &NONE).status, 404);
    served.server.stop();
}

#[test]
fn an_event_becomes_a_file_of_fixtures_for_whoever_may_see_it() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    assert!(page(&mut root, "/trace?message_id=hostile").contains("/trace/fixture?message_id=hostile"));
    let file = root.ask("GET", "/trace/fixture?message_id=hostile", &NONE);
    assert_eq!(file.header("content-disposition"), Some("attachment; filename=\"event.in.json\""));
    assert_eq!((&file.json()["messageId"], &file.json()["event"]), (&json!("hostile"), &json!(SCRIPT)));
    assert_eq!(vera.ask("GET", "/trace/fixture?message_id=hostile", &NONE).status, 403);
    assert_eq!(root.ask("GET", "/trace/fixture?message_id=none", &NONE).status, 404);
    served.server.stop();
}

//! People sign in with a password and out again, over HTTP and on the command line, and nobody else does.

use std::os::unix::fs::PermissionsExt as _;

use rusqlite::Connection;
use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::browser::CookieJar;
use crate::support::home::{HomeCommands, said};
use crate::support::{Server, Workspace};

const PASSWORD: &str = "correct horse battery";
const NONE: Value = Value::Null;
const WHO: &str = "/api/v1/whoami";

/// A server, whoever holds its admin token, and the user `ann` with a password, who may view everything in `default`.
fn served_to_ann() -> (Workspace, Server, Admin) {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    made_user(&admin, "ann", "viewer");
    (workspace, server, admin)
}

fn made_user(admin: &Admin, name: &str, role: &str) {
    let made = admin.post("/api/v1/objects/user", &json!({"name": name, "spec": {}}));
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["objects"][0]["id"].clone();
    let group = json!({"name": format!("{name}s"), "spec": {"members": [id], "roles": {"default": role}}});
    assert_eq!(admin.post("/api/v1/objects/group", &group).status, 201);
    assert_eq!(set_password(admin, name, PASSWORD), "204");
}

fn set_password(admin: &Admin, name: &str, password: &str) -> String {
    let body = json!({"password": password}).to_string();
    admin.ask("PUT", &format!("/api/v1/users/{name}/password"), body.as_bytes()).code()
}

fn signed_in(server: &Server, name: &str) -> CookieJar {
    let mut browser = CookieJar::new(server);
    let reply = browser.sign_in(name, PASSWORD);
    assert_eq!(reply.status, 200, "{}", reply.text());
    browser
}

/// What the audit log has of an action: results with names and details.
fn audited(admin: &Admin, action: &str) -> Vec<(String, Value, Value)> {
    let entries = admin.get(&format!("/api/v1/audit?action={action}"))["entries"].clone();
    let entry =
        |entry: &Value| (entry["result"].as_str().unwrap().to_owned(), entry["name"].clone(), entry["detail"].clone());
    entries.as_array().unwrap().iter().map(entry).collect()
}

#[test]
fn a_password_opens_a_session_that_signing_out_ends() {
    let (_workspace, server, admin) = served_to_ann();
    let mut browser = CookieJar::new(&server);
    assert_eq!(browser.ask("GET", WHO, &NONE).code(), "401 no-token");
    let ways = browser.ask("GET", "/api/v1/login", &NONE).json();
    assert_eq!(ways, json!({"password": true, "providers": []}));
    let reply = browser.sign_in("ann", PASSWORD);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let who = reply.json();
    assert_eq!((&who["name"], &who["session"], &who["admin"]), (&json!("ann"), &json!(true), &json!(false)));
    assert_eq!((&who["groups"], &who["roles"]), (&json!(["anns"]), &json!({"default": ["viewer"]})));
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("tidegate_session="), "{cookie}");
    for attribute in ["; Path=/", "; HttpOnly", "; SameSite=Lax", "; Max-Age=604800"] {
        assert!(cookie.contains(attribute), "{cookie}");
    }
    assert_eq!(browser.ask("GET", WHO, &NONE).json(), who);
    assert_eq!(browser.ask("GET", "/api/v1/objects/source", &NONE).json()["objects"][0]["name"], "web");
    let made =
        browser.ask("POST", "/api/v1/objects/lookup", &json!({"name": "a", "spec": {"kind": "table", "entries": {}}}));
    assert_eq!(made.code(), "403 forbidden", "a session has the rights of its user");
    let kept = browser.cookies.clone();
    let out = browser.ask("DELETE", "/api/v1/session", &NONE);
    assert_eq!((out.status, out.json()), (200, json!({"end_session_url": null})));
    assert!(browser.cookies.is_empty(), "{:?}", browser.cookies);
    browser.cookies = kept;
    assert_eq!(browser.ask("GET", WHO, &NONE).code(), "401 session-over");
    assert_eq!(audited(&admin, "signed_out").len(), 1);
    let entries = audited(&admin, "signed_in");
    assert_eq!((entries.len(), entries[0].0.as_str()), (1, "done"));
    server.stop();
}

#[test]
fn a_session_changes_nothing_for_a_page_of_another_site() {
    let (_workspace, server, admin) = served_to_ann();
    made_user(&admin, "ed", "editor");
    let mut browser = signed_in(&server, "ed");
    let own = format!("http://{}", server.admin);
    let own = own.as_str();
    let lookup = |name: &str| json!({"name": name, "spec": {"kind": "table", "entries": {}}});
    let at = "/api/v1/objects/lookup";
    let foreign: [&[(&str, &str)]; 7] = [
        &[],
        &[("origin", "https://evil.example")],
        &[("origin", "null")],
        &[("origin", "http://127.0.0.1:1")],
        &[("origin", own), ("sec-fetch-site", "cross-site")],
        &[("sec-fetch-site", "same-site")],
        &[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")],
    ];
    for headers in foreign {
        assert_eq!(browser.send("POST", at, headers, &lookup("a")).code(), "403 cross-site", "{headers:?}");
        assert_eq!(browser.send("DELETE", "/api/v1/session", headers, &NONE).code(), "403 cross-site", "{headers:?}");
    }
    let own_pages: [&[(&str, &str)]; 3] =
        [&[("origin", own)], &[("sec-fetch-site", "same-origin")], &[("origin", own), ("sec-fetch-site", "none")]];
    for (at_name, headers) in own_pages.into_iter().enumerate() {
        assert_eq!(browser.send("POST", at, headers, &lookup(&format!("l{at_name}"))).status, 201, "{headers:?}");
    }
    // To look is no change, and a token in a header is sent by no page.
    assert_eq!(browser.send("GET", WHO, &[("sec-fetch-site", "cross-site")], &NONE).status, 200);
    assert_eq!(admin.post(at, &lookup("b")).status, 201);
    // Nobody is signed in by another site's page either, into an account of its own choice.
    let mut other = CookieJar::new(&server);
    let body = json!({"name": "ed", "password": PASSWORD});
    let evil = [("origin", "https://evil.example")];
    assert_eq!(other.send("POST", "/api/v1/login", &evil, &body).code(), "403 cross-site");
    assert!(other.cookies.is_empty());
    server.stop();
}

#[test]
fn every_sign_in_has_a_session_of_its_own_and_ends_the_one_before() {
    let (_workspace, server, _admin) = served_to_ann();
    let mut browser = signed_in(&server, "ann");
    let first = browser.cookies.clone();
    assert_eq!(browser.sign_in("ann", PASSWORD).status, 200);
    assert_ne!(browser.cookies, first);
    assert_eq!(browser.ask("GET", WHO, &NONE).status, 200);
    let mut before = CookieJar::new(&server);
    before.cookies = first;
    assert_eq!(before.ask("GET", WHO, &NONE).code(), "401 session-over");
    before.cookies.insert("tidegate_session".into(), "x".into());
    assert_eq!(before.ask("GET", WHO, &NONE).code(), "401 session-over");
    // Of a cookie and a token the token counts.
    let reply = browser.send("GET", WHO, &[("authorization", "Bearer tgp_x")], &NONE);
    assert_eq!(reply.code(), "401 wrong-token");
    server.stop();
}

#[test]
fn a_session_ends_when_nothing_comes_for_half_a_day_and_anyhow_after_a_week() {
    let (workspace, server, _admin) = served_to_ann();
    let (mut idle, mut old, mut fresh) =
        (signed_in(&server, "ann"), signed_in(&server, "ann"), signed_in(&server, "ann"));
    server.stop();
    let catalog = Connection::open(workspace.data().join("catalog.db")).unwrap();
    let hour_us = 3_600_i64 * 1_000_000;
    let rows = |sql: &str, by: i64| assert_eq!(catalog.execute(sql, [by]).unwrap(), 1, "{sql}");
    let by_order = "WHERE hash = (SELECT hash FROM session ORDER BY opened_at_us LIMIT 1 OFFSET";
    rows(&format!("UPDATE session SET seen_at_us = seen_at_us - ?1 {by_order} 0)"), 12 * hour_us);
    rows(&format!("UPDATE session SET opened_at_us = opened_at_us - ?1 {by_order} 1)"), 7 * 24 * hour_us);
    drop(catalog);
    let server = workspace.serve();
    for browser in [&mut idle, &mut old, &mut fresh] {
        browser.address.clone_from(&server.admin);
    }
    assert_eq!(idle.ask("GET", WHO, &NONE).code(), "401 session-over");
    assert_eq!(old.ask("GET", WHO, &NONE).code(), "401 session-over");
    assert_eq!(fresh.ask("GET", WHO, &NONE).status, 200, "a session outlives a restart");
    server.stop();
}

#[test]
fn whoever_signs_in_with_the_admin_token_is_told_which_one_is_meant() {
    let (_workspace, server, _admin) = served_to_ann();
    let refused = CookieJar::new(&server).sign_in("ann", "tg_not_the_admin_token");
    assert_eq!(refused.code(), "401 wrong-password");
    assert!(refused.text().contains("begins with tgp_"), "{}", refused.text());
}

#[test]
fn wrong_passwords_of_an_account_have_everybody_wait_whether_there_is_one_or_not() {
    let (_workspace, server, admin) = served_to_ann();
    let mut browser = CookieJar::new(&server);
    for name in ["ann", "nobody"] {
        for _ in 0..10 {
            assert_eq!(browser.sign_in(name, "not the password").code(), "401 wrong-password", "{name}");
        }
        for password in ["not the password", PASSWORD] {
            let waits = browser.sign_in(name, password);
            assert_eq!(waits.code(), "429 too-many-tries", "{name}");
            let seconds: u64 = waits.header("retry-after").unwrap().parse().unwrap();
            assert!((1..=30).contains(&seconds), "{seconds}");
        }
    }
    let same = |name: &str| browser_answer(&server, name);
    assert_eq!(same("somebody"), same("carl"), "an answer tells nobody who there is");
    let locked = audited(&admin, "sign_in_locked");
    let of_account = |name: &str| ("denied".to_owned(), json!(name), json!({"by": "account", "wait_s": 30}));
    assert_eq!(locked, [of_account("nobody"), of_account("ann")]);
    assert_eq!(audited(&admin, "signed_in").len(), 22, "nothing was tried while it waits");
    server.stop();
}

fn browser_answer(server: &Server, name: &str) -> (u16, Value) {
    let reply = CookieJar::new(server).sign_in(name, "not the password");
    (reply.status, reply.json())
}

#[test]
fn wrong_passwords_of_an_address_have_it_wait_whatever_names_it_tries() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\ntrusted_proxies: [127.0.0.1]\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    made_user(&admin, "ann", "viewer");
    let mut browser = CookieJar::new(&server);
    let mut tried = |name: &str, password: &str, from: &str| {
        let body = json!({"name": name, "password": password});
        browser.send("POST", "/api/v1/login", &[("x-forwarded-for", from)], &body).code()
    };
    for n in 0..30 {
        assert_eq!(tried(&format!("user {n}"), "x", "192.0.2.1"), "401 wrong-password", "{n}");
    }
    assert_eq!(tried("ann", PASSWORD, "192.0.2.1"), "429 too-many-tries");
    assert_eq!(tried("ann", PASSWORD, "192.0.2.2"), "200", "another address does not wait");
    assert_eq!(audited(&admin, "sign_in_locked").len(), 1);
    server.stop();
}

#[test]
fn a_new_password_ends_the_other_sessions_and_takes_the_one_before() {
    let (_workspace, server, admin) = served_to_ann();
    let (mut browser, mut other) = (signed_in(&server, "ann"), signed_in(&server, "ann"));
    let at = "/api/v1/users/ann/password";
    for (old, code) in [(NONE, "422 old"), (json!("not the password"), "422 old")] {
        let reply = browser.ask("PUT", at, &json!({"password": "another long password", "old": old}));
        assert_eq!(reply.code(), code, "{}", reply.text());
    }
    let short = browser.ask("PUT", at, &json!({"password": "short", "old": PASSWORD}));
    assert_eq!(short.code(), "422 credential", "{}", short.text());
    assert_eq!(other.ask("GET", WHO, &NONE).status, 200, "nothing was changed");
    let set = browser.ask("PUT", at, &json!({"password": "another long password", "old": PASSWORD}));
    assert_eq!(set.status, 204, "{}", set.text());
    assert_eq!(browser.ask("GET", WHO, &NONE).status, 200, "whoever set it goes on");
    assert_eq!(other.ask("GET", WHO, &NONE).code(), "401 session-over");
    assert_eq!(other.sign_in("ann", PASSWORD).code(), "401 wrong-password");
    assert_eq!(other.sign_in("ann", "another long password").status, 200);
    // That of somebody else takes the right to change them; an admin needs no old one.
    made_user(&admin, "ed", "editor");
    let mut editor = signed_in(&server, "ed");
    let reply = editor.ask("PUT", at, &json!({"password": "another long password"}));
    assert!(["403 forbidden", "404 no-such-object"].contains(&&*reply.code()), "{}", reply.text());
    assert_eq!(set_password(&admin, "ann", PASSWORD), "204");
    assert_eq!(browser.ask("GET", WHO, &NONE).code(), "401 session-over");
    let entries = audited(&admin, "password_set");
    assert_eq!(entries.iter().filter(|(result, ..)| result == "denied").count(), 1, "{entries:?}");
    server.stop();
}

#[test]
fn a_user_who_is_disabled_or_deleted_is_out_at_once() {
    let (_workspace, server, admin) = served_to_ann();
    made_user(&admin, "bob", "viewer");
    let (mut ann, mut bob) = (signed_in(&server, "ann"), signed_in(&server, "bob"));
    let made = ann.ask("POST", "/api/v1/tokens", &json!({"name": "laptop"}));
    assert_eq!(made.status, 201, "{}", made.text());
    let token = Admin::new(&server, made.json()["token"].as_str().unwrap());
    assert_eq!(token.get(WHO)["name"], "ann");
    let disable = json!({"name": "ann", "spec": {"is_disabled": true}}).to_string();
    assert_eq!(admin.ask("PUT", "/api/v1/objects/user/ann", disable.as_bytes()).status, 200);
    assert_eq!(ann.ask("GET", WHO, &NONE).code(), "401 session-over");
    assert_eq!(token.ask("GET", WHO, b"").code(), "401 wrong-token");
    assert_eq!(ann.sign_in("ann", PASSWORD).code(), "401 wrong-password");
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/group/bobs", b"").status, 200);
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/user/bob", b"").status, 200);
    assert_eq!(bob.ask("GET", WHO, &NONE).code(), "401 session-over");
    server.stop();
}

#[test]
fn a_cookie_is_for_tls_where_a_trusted_proxy_says_so() {
    let workspace = Workspace::new();
    workspace
        .append("tidegate.yaml", "\ntrusted_proxies: [127.0.0.1]\nlogin: {public_url: https://admin.example.com}\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    made_user(&Admin::new(&server, &token), "ann", "viewer");
    let mut browser = CookieJar::new(&server);
    let https = [("x-forwarded-proto", "https"), ("origin", "https://admin.example.com")];
    let body = json!({"name": "ann", "password": PASSWORD});
    let reply = browser.send("POST", "/api/v1/login", &https, &body);
    assert_eq!(reply.status, 200, "{}", reply.text());
    let cookie = reply.header("set-cookie").unwrap();
    assert!(cookie.starts_with("__Host-tidegate=") && cookie.ends_with("; Secure"), "{cookie}");
    assert_eq!(browser.send("GET", WHO, &https, &NONE).status, 200);
    assert_eq!(browser.send("GET", WHO, &[], &NONE).code(), "401 no-token", "without TLS it does not count");
    assert_eq!(browser.send("DELETE", "/api/v1/session", &https, &NONE).status, 200);
    server.stop();
    // Nobody else's word counts.
    let (_workspace, server, _admin) = served_to_ann();
    let own = format!("http://{}", server.admin);
    let mut browser = CookieJar::new(&server);
    let headers = [("x-forwarded-proto", "https"), ("origin", own.as_str())];
    let reply = browser.send("POST", "/api/v1/login", &headers, &body);
    assert!(reply.header("set-cookie").unwrap().starts_with("tidegate_session="));
    server.stop();
}

#[test]
fn the_token_of_the_first_admin_manages_users_and_groups() {
    let (_workspace, server, admin) = served_to_ann();
    let made = admin.post("/api/v1/tokens", &json!({"name": "mine", "user": "admin"}));
    let first = Admin::new(&server, made.json()["token"].as_str().unwrap());
    made_user(&first, "bob", "editor");
    assert_eq!(signed_in(&server, "bob").ask("GET", WHO, &NONE).json()["roles"], json!({"default": ["editor"]}));
    // A program's token stays where it was made.
    let made = admin.post("/api/v1/tokens", &json!({"name": "ci", "user": "admin", "form": "service"}));
    let service = Admin::new(&server, made.json()["token"].as_str().unwrap());
    assert_eq!(service.get("/api/v1/objects/source")["objects"][0]["name"], "web");
    let refused = service.post("/api/v1/objects/user", &json!({"name": "carl", "spec": {}}));
    assert!(matches!(refused.status, 403 | 404), "{}", refused.text());
    server.stop();
}

#[test]
fn a_role_that_is_gone_keeps_nobody_from_signing_in_where_they_have_one() {
    let (workspace, server, admin) = served_to_ann();
    let id = admin.post("/api/v1/objects/user", &json!({"name": "eve", "spec": {}})).json()["objects"][0]["id"].clone();
    let group = json!({"members": [id], "roles": {"default": "gone", "elsewhere": "viewer"}});
    assert_eq!(admin.post("/api/v1/objects/group", &json!({"name": "eves", "spec": group})).status, 201);
    assert_eq!(set_password(&admin, "eve", PASSWORD), "204");
    assert_eq!(signed_in(&server, "eve").ask("GET", WHO, &NONE).json()["roles"], json!({"elsewhere": ["viewer"]}));
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let login = ["login", "--server", &url, "--user", "eve"];
    assert_eq!(HomeCommands { home: &home }.json(&login, &format!("{PASSWORD}\n"))["user"], "eve");
    server.stop();
}

#[test]
fn a_token_ends_what_its_person_may_end_and_makes_none() {
    let (workspace, server, admin) = served_to_ann();
    let made = |name: &str, form: &str, user: &str| {
        let made = admin.post("/api/v1/tokens", &json!({"name": name, "user": user, "form": form}));
        made.json()["token"].as_str().unwrap_or_else(|| panic!("{}", made.text())).to_owned()
    };
    let (first, laptop) = (made("desk", "person", "admin"), made("laptop", "person", "ann"));
    for (name, form, user) in [("phone", "person", "ann"), ("ci", "service", "admin"), ("spare", "service", "admin")] {
        made(name, form, user);
    }
    let program = Admin::new(&server, &made("program", "service", "admin"));
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let token = |words: &[&'static str], shown: &str| {
        let access = ["--server", url.as_str(), "--token", shown];
        commands.run(&[&["token"][..], words, &access].concat(), "")
    };
    // None is made, and the refusal says how one is.
    for words in [&["create", "more"][..], &["create", "more", "--user", "ann"], &["create", "more", "--service"]] {
        let refused = token(words, &first);
        assert!(!refused.status.success() && said(&refused).contains("/people"), "{words:?}: {}", said(&refused));
        assert!(said(&refused).contains("--token tg_"), "{words:?}: {}", said(&refused));
    }
    // Of her own ann ends each, of others none; an admin ends any; a program none.
    assert!(!token(&["revoke", "ci"], &laptop).status.success());
    let ended = token(&["revoke", "phone"], &laptop);
    assert!(ended.status.success(), "{}", said(&ended));
    assert_eq!(program.ask("DELETE", "/api/v1/objects/token/spare", b"").code(), "403 forbidden");
    for words in [["revoke", "ci"], ["revoke", "laptop"]] {
        let ended = token(&words, &first);
        assert!(ended.status.success(), "{words:?}: {}", said(&ended));
    }
    assert_eq!(Admin::new(&server, &laptop).ask("GET", WHO, b"").code(), "401 wrong-token");
    let there = admin.get("/api/v1/tokens").to_string();
    assert!(there.contains("spare") && !there.contains("phone") && !there.contains("laptop"), "{there}");
    server.stop();
}

#[test]
fn a_command_signs_in_once_and_later_ones_need_neither_address_nor_token() {
    let (workspace, server, admin) = served_to_ann();
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let without = commands.fails(&["object", "list", "source", "--server", &url]);
    assert!(without.contains(&format!("tidegate login --server {url}")), "{without}");
    let wrong = commands.run(&["login", "--server", &url, "--user", "ann"], "not the password\n");
    assert!(!wrong.status.success() && said(&wrong).contains("the name or the password is wrong"), "{}", said(&wrong));
    let typed = format!("{PASSWORD}\n");
    let login = commands.json(&["login", "--server", &url, "--user", "ann", "--context", "shop"], &typed);
    assert_eq!((&login["context"], &login["user"]), (&json!("shop"), &json!("ann")));
    assert_eq!(commands.json(&["object", "list", "source"], "")[0]["name"], "web");
    let file = home.join("tidegate/contexts.json");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    assert_eq!((&kept["format"], &kept["current"]), (&json!(2), &json!("shop")));
    let token = kept["contexts"]["shop"]["token"].as_str().unwrap().to_owned();
    // A token goes to its own server alone.
    assert!(commands.fails(&["object", "list", "source", "--server", "http://127.0.0.1:1"]).contains("no token"));
    let both = commands.fails(&["object", "list", "source", "--context", "shop", "--server", "http://127.0.0.1:1"]);
    assert!(both.contains("leave one of them out"), "{both}");
    // A folder is of its own server, and of none without a tidegate.yaml.
    let folder = workspace.dir.path().join("other");
    std::fs::create_dir(&folder).unwrap();
    let reload = ["reload", folder.to_str().unwrap()];
    assert!(!commands.run(&reload, "").status.success(), "it is no folder of a server");
    std::fs::write(folder.join("tidegate.yaml"), "admin: {listen: \"127.0.0.1:1\"}\n").unwrap();
    let of_folder = commands.fails(&reload);
    assert!(of_folder.contains("no token for http://127.0.0.1:1"), "{of_folder}");
    // One that is there already; what is shown holds none of them.
    let made = admin.post("/api/v1/tokens", &json!({"name": "root", "user": "admin"}));
    let other = made.json()["token"].as_str().unwrap().to_owned();
    let login = commands.json(&["login", "--server", &url, "--token", "--context", "root"], &format!("{other}\n"));
    assert_eq!(login["user"], "admin");
    let kept: Value = serde_json::from_slice(&std::fs::read(&file).unwrap()).unwrap();
    for (context, token) in [("root", &other), ("shop", &token)] {
        let end = kept["contexts"][context]["expires_at"].as_str().unwrap_or_else(|| panic!("{context} has no end"));
        assert_eq!(Admin::new(&server, token).get(WHO)["expires_at"], end);
        let listed = commands.run(&["context", "list"], "");
        assert!(said(&listed).contains(&end[..10]), "{}", said(&listed));
    }
    let listed = commands.run(&["context", "list"], "");
    assert!(said(&listed).contains("root") && said(&listed).contains("shop"), "{}", said(&listed));
    let shown = commands.run(&["context", "show"], "");
    for output in [&listed, &shown] {
        assert!(!said(output).contains(&token) && !said(output).contains(&other), "{}", said(output));
    }
    assert_eq!(commands.json(&["context", "show"], "")["user"], "admin");
    assert_eq!(commands.json(&["context", "show", "shop"], "")["user"], "ann");
    commands.json(&["user", "create", "carl"], "");
    let refused = commands.fails(&["user", "create", "dora", "--context", "shop"]);
    assert!(refused.contains("the server says"), "{refused}");
    commands.json(&["context", "use", "shop"], "");
    assert!(commands.fails(&["context", "use", "nowhere"]).contains("there are: root, shop"));
    let out = commands.json(&["logout"], "");
    assert_eq!(out, json!({"context": "shop", "token_ended": true}));
    assert_eq!(Admin::new(&server, &token).ask("GET", WHO, b"").code(), "401 wrong-token");
    commands.json(&["context", "remove", "root"], "");
    assert_eq!(Admin::new(&server, &other).get(WHO)["name"], "admin", "what was only forgotten is good still");
    assert!(commands.fails(&["logout"]).contains("nobody is signed in"));
    std::fs::write(&file, "{\"format\": 3}").unwrap();
    assert!(commands.fails(&["context", "list"]).contains("supports up to 2"));
    server.stop();
}

#[test]
fn an_admin_sets_passwords_and_puts_people_into_groups_by_commands() {
    let (workspace, server, admin) = served_to_ann();
    let made = admin.post("/api/v1/tokens", &json!({"name": "root", "user": "admin"}));
    let token = made.json()["token"].as_str().unwrap().to_owned();
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let access = ["--server", url.as_str(), "--token", token.as_str()];
    let of_user = |words: &[&'static str], typed: &str| commands.json(&[&["user"][..], words, &access].concat(), typed);
    of_user(&["create", "bob"], "");
    assert_eq!(of_user(&["password", "bob"], "another long password\n"), json!({"user": "bob"}));
    let mut bob = CookieJar::new(&server);
    assert_eq!(bob.sign_in("bob", "another long password").status, 200);
    // The first password of an admin takes no old one, any later one does.
    of_user(&["password", "admin", "--own"], "\nthe password of an admin\n");
    let again = [&["user", "password", "admin", "--own"][..], &access].concat();
    let wrong = commands.run(&again, "not the password\nanother long password\n");
    assert!(!wrong.status.success() && said(&wrong).contains("`old` is not the password"), "{}", said(&wrong));
    of_user(&["password", "admin", "--own"], "the password of an admin\nanother long password\n");
    of_user(&["disable", "bob"], "");
    assert_eq!(bob.ask("GET", WHO, &NONE).code(), "401 session-over");
    of_user(&["enable", "bob"], "");
    assert_eq!(bob.sign_in("bob", "another long password").status, 200);
    server.stop();
}

#[test]
fn a_command_that_is_used_wrongly_says_how_it_is_used() {
    let (workspace, server, admin) = served_to_ann();
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let at = |words: &[&str]| commands.fails(&[words, &["--server", url.as_str()]].concat());
    let login = |words: &[&str]| at(&[&["login"][..], words].concat());
    assert!(login(&["--token"]).contains("tidegate login --token < token.txt"));
    assert!(login(&["--user", "ann"]).contains("there is no password"));
    assert!(login(&["--user", ""]).contains("--user is empty"));
    assert!(login(&["--user", "ann", "--context", " "]).contains("--context is empty"));
    let without_scheme = ["object", "list", "source", "--server", &server.admin, "--token", "x"];
    assert!(commands.fails(&without_scheme).contains("write it with http:// or https://"));
    assert!(at(&["object", "list", "source", "--token", "x"]).contains("`tidegate login` gets a token"));
    assert!(commands.fails(&["logout"]).contains("tidegate context list"));
    let made = admin.post("/api/v1/tokens", &json!({"name": "root", "user": "admin"}));
    let token = format!("{}\n", made.json()["token"].as_str().unwrap());
    commands.json(&["login", "--server", &url, "--token"], &token);
    for (words, told) in [
        (vec!["object", "delete", "sync", "crm"], "`tidegate object list sync`"),
        (vec!["object", "pause", "source", "crm"], "`tidegate object list source`"),
        (vec!["object", "pause", "function", "crm"], "write one of source, sync, destination"),
        (vec!["object", "delete", "source", "web"], "run `tidegate reload`"),
        (vec!["write-key", "list", "crm"], "there is no source \"crm\""),
        (vec!["write-key", "rotate", "web", "crm"], "`tidegate write-key list web`"),
        (vec!["write-key", "create", "web", "crm", "--value-file", "nowhere"], "--value-file nowhere"),
        (vec!["user", "password", "bob"], "there is no user \"bob\""),
        (vec!["user", "enable", "bob"], "there is no user \"bob\""),
        (vec!["user", "groups", "ann", "--add", "crm"], "there is no group \"crm\""),
        (vec!["user", "grant", "ann", "--role", "viwer"], "write one of admin, editor"),
        (vec!["user", "grant", "ann", "--role", "viewer", "--workspace", "No Such"], "is no name of a workspace"),
        (vec!["user", "grant", "ann", "--role", "viewer", "--workspace", "prodution"], "write one of default"),
    ] {
        let said = commands.fails(&words);
        assert!(said.contains(told), "{words:?}: {said}");
    }
    let groups = admin.get("/api/v1/objects/group");
    assert!(!groups.to_string().contains("viwer") && !groups.to_string().contains("prodution"), "{groups}");
    server.stop();
}

#[test]
fn granting_a_role_grants_it_or_says_that_it_does_not() {
    let (workspace, server, admin) = served_to_ann();
    let token = workspace.admin_token();
    drop(admin);
    let admin = Admin::new(&server, &token);
    let url = format!("http://{}", server.admin);
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let access = ["--server", url.as_str(), "--token", token.as_str()];
    // A group with the usual name that gives something else.
    let group = json!({"name": "default editor", "spec": {"members": [], "roles": {"default": "viewer"}}});
    assert_eq!(admin.post("/api/v1/objects/group", &group).status, 201);
    let refused = commands.fails(&[&["user", "grant", "ann", "--role", "editor"][..], &access].concat());
    assert!(refused.contains("nothing was granted"), "{refused}");
    let roles = |browser: &mut CookieJar| browser.ask("GET", WHO, &NONE).json()["roles"].clone();
    let mut browser = signed_in(&server, "ann");
    assert_eq!(roles(&mut browser), json!({"default": ["viewer"]}));
    // One with another name that gives just that, though it has no members yet.
    let group = json!({"name": "writers", "spec": {"roles": {"default": "editor"}}});
    assert_eq!(admin.post("/api/v1/objects/group", &group).status, 201);
    commands.json(&[&["user", "grant", "ann", "--role", "editor"][..], &access].concat(), "");
    assert_eq!(roles(&mut browser), json!({"default": ["editor", "viewer"]}));
    let groups = commands.json(&[&["user", "groups", "ann", "--remove", "writers"][..], &access].concat(), "");
    assert_eq!(groups, json!([{"group": "anns", "roles": {"default": "viewer"}}]));
    assert_eq!(roles(&mut browser), json!({"default": ["viewer"]}));
    server.stop();
}

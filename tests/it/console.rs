//! The web console: its pages as a plain client gets them, who gets which, what hostile events do to them, and in a browser.

mod forms;
mod functions;
mod of_people;
mod operations;
mod refused;
mod visited;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use serde_json::{Value, json};

use crate::reliability::{bad, drained};
use crate::support::admin::Admin;
use crate::support::browser::CookieJar;
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Reply, Server, Workspace};

const PASSWORD: &str = "correct horse battery";
const NONE: Value = Value::Null;
const SCRIPT: &str = "<script>alert(1)</script>";
/// Turns the direction of what follows.
const TURNED: &str = "\u{202e}gnp.exe";

/// The pages that everybody with a role sees.
const PAGES: [&str; 17] = [
    "/",
    "/live",
    "/trace?message_id=hostile",
    "/sources",
    "/sources/web",
    "/contracts",
    "/destinations",
    "/destinations/warehouse",
    "/syncs",
    "/syncs/web-to-warehouse",
    "/quarantine",
    "/replay",
    "/alerts",
    "/sql",
    "/people",
    "/drafts",
    "/updates?of=syncs",
];

/// A server with a hostile event that was delivered and one in quarantine, and people: `root` may do everything, `vera` looks.
struct ServedConsole {
    workspace: Workspace,
    server: Server,
    admin: Admin,
}

impl ServedConsole {
    fn open() -> Self {
        let workspace = Workspace::new();
        let token = workspace.admin_token();
        let server = workspace.serve();
        let admin = Admin::new(&server, &token);
        made_user(&admin, "root", "admin");
        made_user(&admin, "vera", "viewer");
        let hostile = json!({"type": "track", "event": SCRIPT, "messageId": "hostile", "userId": TURNED,
            "properties": {"plan": "hunter2", "long": "z".repeat(20_000), "\"><img src=x>": "' onload='x"}});
        let mut stopped = bad(0);
        stopped["pad"] = json!(format!("{SCRIPT}{TURNED}"));
        assert_eq!(server.batch(&[hostile, stopped]).status, 200);
        drained(&workspace);
        Self { workspace, server, admin }
    }

    fn signed_in(&self, name: &str) -> CookieJar {
        let mut browser = CookieJar::new(&self.server);
        let reply = browser.form("/sign-in", &format!("name={name}&password={}&then=%2F", PASSWORD.replace(' ', "+")));
        assert_eq!((reply.status, reply.header("location")), (303, Some("/")), "{}", reply.text());
        browser
    }
}

fn made_user(admin: &Admin, name: &str, role: &str) {
    let made = admin.post("/api/v1/objects/user", &json!({"name": name, "spec": {}}));
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["objects"][0]["id"].clone();
    let group = json!({"name": format!("{name}s"), "spec": {"members": [id], "roles": {"default": role}}});
    assert_eq!(admin.post("/api/v1/objects/group", &group).status, 201);
    let body = json!({"password": PASSWORD}).to_string();
    assert_eq!(admin.ask("PUT", &format!("/api/v1/users/{name}/password"), body.as_bytes()).code(), "204");
}

fn page(browser: &mut CookieJar, path: &str) -> String {
    let reply = browser.ask("GET", path, &NONE);
    assert_eq!(reply.status, 200, "{path}: {}", reply.text());
    reply.text()
}

/// Elements that have no end.
const VOID: [&str; 4] = ["input", "link", "meta", "!DOCTYPE"];

/// The first tag that is not where it may be. Texts have no `<`, so every one begins a tag.
fn out_of_place(html: &str) -> Option<String> {
    let mut open: Vec<&str> = Vec::new();
    for tag in html.split('<').skip(1) {
        let Some((tag, _)) = tag.split_once('>') else { return Some(tag.to_owned()) };
        let name = tag.trim_start_matches('/').split_whitespace().next().unwrap_or_default();
        if tag.starts_with('/') {
            if open.pop() != Some(name) {
                return Some(tag.to_owned());
            }
        } else if !VOID.contains(&name) {
            open.push(name);
        }
    }
    open.pop().map(str::to_owned)
}

fn assert_guarded(path: &str, reply: &Reply) {
    let policy = reply.header("content-security-policy").unwrap_or_else(|| panic!("{path} has no policy"));
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"), "{policy}");
    assert!(!policy.contains("unsafe") && policy.contains("frame-ancestors 'none'"), "{policy}");
    for (name, value) in
        [("x-content-type-options", "nosniff"), ("x-frame-options", "DENY"), ("cache-control", "no-store")]
    {
        assert_eq!(reply.header(name), Some(value), "{path}: {name}");
    }
}

#[test]
fn whoever_has_not_signed_in_is_sent_to_sign_in_and_back() {
    let served = ServedConsole::open();
    let mut browser = CookieJar::new(&served.server);
    let others = ["/audit", "/privacy", "/trace/fixture?message_id=hostile", "/quarantine/entries/1"];
    for path in PAGES.into_iter().chain(others) {
        let reply = browser.ask("GET", path, &NONE);
        assert_eq!(reply.status, 303, "{path}: {}", reply.text());
        assert!(reply.header("location").unwrap().starts_with("/sign-in"), "{path}");
        assert!(reply.body.is_empty(), "{path}: {}", reply.text());
        assert_guarded(path, &reply);
    }
    assert_eq!(
        browser.ask("GET", "/live?source=web", &NONE).header("location"),
        Some("/sign-in?then=%2Flive%3Fsource%3Dweb")
    );
    assert_eq!(browser.form("/quarantine/retry", "code=x").header("location"), Some("/sign-in"));
    let shown = page(&mut browser, "/sign-in?then=%2Flive%3Fsource%3Dweb");
    assert!(shown.contains("value=\"/live?source=web\"") && shown.contains("type=\"password\""), "{shown}");
    assert_eq!(out_of_place(&shown), None);
    let wrong = browser.form("/sign-in", &format!("name={}&password=wrong&then=//evil.example", "%3Cscript%3E"));
    assert_eq!(wrong.status, 401);
    assert!(wrong.text().contains("name or the password is wrong"), "{}", wrong.text());
    assert!(wrong.text().contains("value=\"&lt;script&gt;\""), "{}", wrong.text());
    assert!(!wrong.text().contains("evil.example") && browser.cookies.is_empty());
    let fields = format!("name=vera&password={}", PASSWORD.replace(' ', "+"));
    let foreign = browser.form_from("https://evil.example", "/sign-in", &fields);
    assert_eq!(foreign.status, 403, "{}", foreign.text());
    assert!(browser.cookies.is_empty(), "no page of another site signs anybody in");
    let elsewhere = browser.form("/sign-in", &format!("{fields}&then=%2F%2Fevil.example"));
    assert_eq!((elsewhere.status, elsewhere.header("location")), (303, Some("/")));
    let back = browser.form("/sign-in", &format!("{fields}&then=%2Flive%3Fsource%3Dweb"));
    assert_eq!((back.status, back.header("location")), (303, Some("/live?source=web")));
    assert!(page(&mut browser, "/").contains("Sign out"));
    assert_eq!(browser.form_from("https://evil.example", "/sign-out", "").status, 403);
    let out = browser.form("/sign-out", "");
    assert_eq!(out.status, 200, "{}", out.text());
    assert!(out.text().contains("You are signed out") && browser.cookies.is_empty(), "{}", out.text());
    assert_eq!(browser.ask("GET", "/", &NONE).status, 303);
    served.server.stop();
}

#[test]
fn every_page_is_whole_html_and_lets_nothing_else_in() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("root");
    let entry = served.admin.get("/api/v1/quarantine")["entries"][0]["id"].clone();
    let entry = format!("/quarantine/entries/{entry}");
    let others = ["/audit", "/privacy", "/alerts/new", entry.as_str(), "/sign-in"];
    for path in PAGES.into_iter().filter(|path| !path.starts_with("/updates")).chain(others) {
        let reply = browser.ask("GET", path, &NONE);
        let html = reply.text();
        assert_eq!(reply.status, 200, "{path}: {html}");
        assert_eq!(reply.header("content-type"), Some("text/html; charset=utf-8"));
        assert_guarded(path, &reply);
        assert!(html.starts_with("<!DOCTYPE html><html lang=\"en\""), "{path}: {html}");
        assert_eq!(out_of_place(&html), None, "{path}: {html}");
        for wrong in [" style=", "<script>", "<style", "javascript:", "http-equiv", " onclick=", " onload=\""] {
            assert!(!html.contains(wrong), "{path} has {wrong}: {html}");
        }
        assert!(html.contains("<code>tidegate "), "{path} names no command: {html}");
    }
    let absent = browser.ask("GET", "/sources/nothing", &NONE);
    assert_eq!(absent.status, 404);
    assert_eq!(out_of_place(&absent.text()), None, "{}", absent.text());
    assert_eq!(browser.ask("GET", "/live/else", &NONE).status, 404);
    // What is no page is still the API's.
    assert_eq!(browser.ask("GET", "/api/v1/nothing", &NONE).code(), "404 not-found");
    assert_eq!(browser.ask("GET", "/nothing", &NONE).code(), "404 not-found");
    served.server.stop();
}

#[test]
fn each_cell_of_a_table_with_long_texts_says_of_which_column_it_is() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("root");
    for path in ["/", "/audit", "/quarantine"] {
        let html = page(&mut browser, path);
        let table = html.split("<table class=\"stacked\">").nth(1).unwrap_or_else(|| panic!("{path}: {html}"));
        let table = table.split("</table>").next().unwrap();
        let columns: Vec<&str> = table.split("<th scope=\"col\">").skip(1).map(until_tag).collect();
        let cells: Vec<&str> = table.split("<td").skip(1).collect();
        assert!(!cells.is_empty() && !columns.is_empty(), "{path}: {table}");
        for cell in cells {
            let of = cell.split_once(" data-of=\"").map(|(_, rest)| rest.split('"').next().unwrap());
            assert!(of.is_some_and(|of| columns.contains(&of)), "{path}: {cell}");
        }
    }
    served.server.stop();
}

fn until_tag(text: &str) -> &str {
    text.split('<').next().unwrap()
}

#[test]
fn an_asset_is_kept_for_good_under_its_hash_and_under_no_other() {
    let served = ServedConsole::open();
    let mut browser = CookieJar::new(&served.server);
    let html = page(&mut browser, "/sign-in");
    let style =
        html.split("href=\"").find(|part| part.starts_with("/assets/") && part.contains("console.css")).unwrap();
    let style = style.split('"').next().unwrap();
    let hash = style.split('/').nth(2).unwrap();
    for (name, kind) in [
        ("console.css", "text/css"),
        ("console.js", "text/javascript"),
        ("functions.js", "text/javascript"),
        ("live.js", "text/javascript"),
        ("palette.js", "text/javascript"),
        ("icon.svg", "image/svg+xml"),
    ] {
        let reply = browser.ask("GET", &format!("/assets/{hash}/{name}"), &NONE);
        assert_eq!(reply.status, 200, "{name}");
        assert!(reply.header("content-type").unwrap().starts_with(kind), "{name}");
        assert_eq!(reply.header("cache-control"), Some("public, max-age=31536000, immutable"), "{name}");
        assert_eq!(reply.header("x-content-type-options"), Some("nosniff"));
    }
    for path in
        ["/assets/0000000000000000/console.css", &format!("/assets/{hash}/else.js"), "/assets/..%2F..%2Fapi.rs/x"]
    {
        let reply = browser.ask("GET", path, &NONE);
        assert_eq!(reply.status, 404, "{path}");
        assert_eq!(reply.header("cache-control"), Some("no-store"));
    }
    served.server.stop();
}

#[test]
fn nothing_that_stands_in_an_event_becomes_a_part_of_a_page() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("root");
    let entry = served.admin.get("/api/v1/quarantine")["entries"][0]["id"].clone();
    let entry = format!("/quarantine/entries/{entry}");
    for path in ["/trace?message_id=hostile", "/quarantine", entry.as_str()] {
        let html = page(&mut browser, path);
        assert!(html.contains("&lt;script&gt;alert(1)&lt;/script&gt;"), "{path}: {html}");
        assert!(html.contains("\\u{202e}gnp.exe"), "{path}: {html}");
        assert!(!html.contains('\u{202e}') && !html.contains("<img"), "{path}: {html}");
    }
    // What somebody asks for is repeated as a text, too.
    let asked = page(&mut browser, "/trace?event=%22%3E%3Cscript%3Ealert(2)%3C%2Fscript%3E&user=%27x");
    assert!(asked.contains("&quot;&gt;&lt;script&gt;alert(2)"), "{asked}");
    assert_eq!(out_of_place(&asked), None, "{asked}");
    let tried = browser.form("/quarantine/try", "text=%3Cscript%3E");
    assert_eq!(tried.status, 200, "{}", tried.text());
    assert!(tried.text().contains("&lt;script&gt;"), "{}", tried.text());
    assert_eq!(out_of_place(&tried.text()), None, "{}", tried.text());
    served.server.stop();
}

#[test]
fn a_viewer_is_shown_neither_values_nor_what_they_may_not_do() {
    let served = ServedConsole::open();
    let (mut root, mut vera) = (served.signed_in("root"), served.signed_in("vera"));
    assert!(page(&mut root, "/trace?message_id=hostile").contains("hunter2"));
    let masked = page(&mut vera, "/trace?message_id=hostile");
    assert!(masked.contains("You may not see the values") && !masked.contains("hunter2"), "{masked}");
    assert!(!masked.contains("Copy as curl"), "{masked}");
    for (path, what) in
        [("/syncs", "/objects/sync/"), ("/sources/web", "/objects/source/"), ("/quarantine", "/quarantine/retry")]
    {
        assert!(page(&mut root, path).contains(what), "{path}");
        assert!(!page(&mut vera, path).contains(what), "{path}");
    }
    assert!(page(&mut root, "/replay").contains("/replay/try") && !page(&mut vera, "/replay").contains("/replay/try"));
    assert!(page(&mut root, "/").contains("href=\"/audit\"") && !page(&mut vera, "/").contains("href=\"/audit\""));
    assert_eq!(vera.ask("GET", "/audit", &NONE).status, 403);
    // What a page does not show, its form does not do either.
    assert_eq!(vera.form("/objects/sync/web-to-warehouse/pause", "").status, 403);
    assert_eq!(vera.form("/quarantine/retry", "source=web").status, 403);
    // Somebody without a role in an environment has no page of it.
    made_user(&served.admin, "none", "viewer");
    let spec = json!({"name": "nones", "spec": {"members": []}});
    assert_eq!(served.admin.ask("PUT", "/api/v1/objects/group/nones", spec.to_string().as_bytes()).status, 200);
    let mut none = served.signed_in("none");
    assert_eq!(none.ask("GET", "/", &NONE).status, 404);
    let denied = served.admin.get("/api/v1/audit?result=denied&action=read_audit")["entries"].as_array().unwrap().len();
    assert_eq!(denied, 1, "a page asks only for what its reader may have, but for the one that was asked for by name");
    served.server.stop();
}

#[test]
fn a_form_does_what_its_button_says_and_nothing_for_another_site() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("root");
    let paused = |served: &ServedConsole| served.admin.get("/api/v1/objects/sync/web-to-warehouse")["paused"].clone();
    let at = "/objects/sync/web-to-warehouse/pause";
    assert_eq!(browser.form_from("https://evil.example", at, "").status, 403);
    assert_eq!(paused(&served), false);
    let reply = browser.form(at, "back=list");
    assert_eq!((reply.status, reply.header("location")), (303, Some("/syncs")), "{}", reply.text());
    assert_eq!(paused(&served), true);
    assert!(page(&mut browser, "/syncs").contains("/objects/sync/web-to-warehouse/resume"));
    assert_eq!(browser.form("/objects/sync/web-to-warehouse/resume", "").status, 303);
    assert_eq!(paused(&served), false);
    assert_eq!(browser.form("/objects/sync/web-to-warehouse/delete", "").status, 404);
    assert_eq!(browser.form("/objects/user/root/pause", "").status, 404);
    let job = browser.form("/quarantine/retry", "source=web");
    assert_eq!(job.status, 303, "{}", job.text());
    let shown = within(PATIENCE, "the job is done", || {
        let html = page(&mut browser, "/quarantine");
        if html.contains(">done<") { Ok(html) } else { Err(html) }
    });
    assert!(shown.contains(" of 1 sent"), "{shown}");
    let large = format!("code={}", "x".repeat(100_000));
    assert_eq!(browser.form("/quarantine/retry", &large).status, 413);
    served.server.stop();
}

#[test]
fn the_numbers_of_the_overview_are_those_of_the_events_that_came() {
    let served = ServedConsole::open();
    let activity = served.admin.get("/api/v1/activity");
    let counts = &activity["sources"][0]["hours"];
    let came: i64 = counts.as_array().unwrap().iter().map(|hour| hour["counts"]["came"].as_i64().unwrap()).sum();
    assert_eq!((&activity["sources"][0]["source"], came), (&json!("web"), 2), "{activity}");
    let sync = &activity["syncs"][0];
    assert_eq!((&sync["sync"], &sync["waiting"], &sync["pending"]), (&json!("web-to-warehouse"), &json!(0), &json!(0)));
    assert!(sync["delivered_at"].is_string() && sync["failing"] == false, "{activity}");
    assert_eq!(activity["events_url"], served.server.url());
    assert!(activity["disk"]["free_bytes"].as_u64().unwrap() > 0, "{activity}");
    let by_week = served.admin.get("/api/v1/activity?hours=168");
    assert_eq!(by_week["hours"], 168);
    assert_eq!(served.admin.ask("GET", "/api/v1/activity?hours=169", b"").code(), "400 query");
    let mut browser = served.signed_in("vera");
    let html = page(&mut browser, "/");
    assert!(html.contains("2 in 24 h") && html.contains("Nothing is failing"), "{html}");
    assert!(html.contains(">expired</th>"), "every fate is there, so that they sum up: {html}");
    assert!(html.contains("<path class=\"line in\""), "{html}");
    let source = page(&mut browser, "/sources/web");
    assert!(source.contains("Events have come") && source.contains(&served.server.url()), "{source}");
    assert!(!source.contains(&served.workspace.write_key), "no page has a write key");
    // A source that nothing has come to says what it waits for.
    let made = served.admin.post("/api/v1/objects/source", &json!({"name": "app", "spec": {"kind": "http"}}));
    assert_eq!(made.status, 201, "{}", made.text());
    until("the source runs", || page(&mut browser, "/sources/app").contains("Waiting for your first event"));
    served.server.stop();
}

/// The connection of a page that a browser has asked for.
fn asked_page(browser: &CookieJar, path: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&browser.address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let head = format!("GET {path} HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\n\r\n", browser.address, cookies.join("; "));
    stream.write_all(head.as_bytes()).unwrap();
    stream
}

/// A page that is open in a browser: the connection, which has begun to answer.
fn open_page(browser: &CookieJar, path: &str) -> TcpStream {
    let mut stream = asked_page(browser, path);
    let mut begun = Vec::new();
    while !begun.windows(12).any(|window| window == b"retry: 5000\n") {
        let mut some = [0; 256];
        let read = stream.read(&mut some).unwrap();
        assert!(read > 0, "{}", String::from_utf8_lossy(&begun));
        begun.extend_from_slice(&some[..read]);
    }
    stream
}

#[test]
fn however_many_pages_are_open_the_api_answers_and_one_more_page_asks_now_and_then() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("vera");
    let mut open: Vec<TcpStream> = (0..32).map(|_| open_page(&browser, "/updates?of=syncs")).collect();
    let more = browser.ask("GET", "/updates?of=syncs", &NONE);
    assert_eq!((more.status, more.header("content-type")), (200, Some("text/event-stream")), "{}", more.text());
    assert!(more.text().contains("retry: 15000\n") && more.text().contains("event: content\n"), "{}", more.text());
    assert_guarded("/updates", &more);
    let authorization = format!("Bearer {}", served.admin.token());
    let headers = [("authorization", authorization.as_str()), ("accept", "text/event-stream")];
    let tap = crate::support::request(&served.server.admin, "GET", "/api/v1/tap", &headers, b"");
    assert_eq!(tap.code(), "503 too-busy", "{}", tap.text());
    assert!(page(&mut browser, "/").contains("Sign out"));
    // A page that is closed leaves its room.
    open.clear();
    until("there is room again", || {
        let reply = crate::support::http::try_request(&served.server.admin, "HEAD", "/api/v1/tap", &headers, b"");
        reply.is_ok_and(|reply| reply.status == 200)
    });
    served.server.stop();
}

#[test]
fn a_page_that_is_opened_is_sent_what_is_so_now_and_not_only_what_changes_later() {
    let served = ServedConsole::open();
    let browser = served.signed_in("vera");
    let mut lines = BufReader::new(asked_page(&browser, "/updates?of=syncs")).lines().map(Result::unwrap);
    assert!(lines.any(|line| line == "retry: 5000"));
    let said = lines.find(|line| line.starts_with("event: ") || line.starts_with(": "));
    assert_eq!(said.as_deref(), Some("event: content"), "the page was made before, and may be older");
    served.server.stop();
}

#[test]
fn whoever_signs_out_hears_no_more_of_events() {
    let served = ServedConsole::open();
    let mut browser = served.signed_in("root");
    let cookies: Vec<String> = browser.cookies.iter().map(|(name, value)| format!("{name}={value}")).collect();
    let mut listening = TcpStream::connect(&served.server.admin).unwrap();
    listening.set_read_timeout(Some(PATIENCE)).unwrap();
    let head = format!(
        "GET /api/v1/tap HTTP/1.1\r\nhost: {}\r\ncookie: {}\r\naccept: text/event-stream\r\n\r\n",
        served.server.admin,
        cookies.join("; ")
    );
    listening.write_all(head.as_bytes()).unwrap();
    let mut lines = BufReader::new(listening).lines();
    assert!(lines.by_ref().map(Result::unwrap).any(|line| line.contains(": listening")));
    assert_eq!(browser.form("/sign-out", "").status, 200);
    // The last chunk of the answer, or the end of the connection; reading fails where neither comes.
    let goes_on = lines.map(Result::unwrap).take_while(|line| line != "0").count();
    assert!(goes_on < 20, "{goes_on} lines came");
    served.server.stop();
}

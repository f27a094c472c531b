//! Alerts from outside: what begins to hold is told once to everybody who is to be told, and so is its recovery; a restart, a mute or a channel that
//! is dead changes nothing of that, and no secret is said.

mod conditions;
mod mail;
mod managed;
mod parts;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use serde_json::{Value, json};

use crate::delivery::{Route, event, send};
use crate::support::admin::Admin;
use crate::support::far::{Act, Far, Received};
use crate::support::waiting::{PATIENCE, until, within};
use crate::support::{Server, Workspace, run};
use mail::MailDouble;

const HASTE: &[&str] = &["alerts_in_haste=return"];
/// What no log and no answer may hold.
const SECRET: &str = "s3cr3t-word-0123456789";

/// Everybody who is told over HTTP: they take everything.
fn people() -> Far {
    Far::new(|_| Act::status(200))
}

/// What came to a path, in order.
fn to(far: &Far, path: &str) -> Vec<Received> {
    far.seen().into_iter().filter(|received| received.path.starts_with(path)).collect()
}

/// The status of each message of a webhook.
fn statuses(far: &Far, path: &str) -> Vec<String> {
    to(far, path).iter().map(|received| received.json()["status"].as_str().unwrap().to_owned()).collect()
}

/// A tool that may be away, and a workspace that delivers to it.
fn breakable() -> (Route, Arc<AtomicBool>) {
    let is_away = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&is_away);
    let far = Far::new(move |_| Act::status(if seen.load(Ordering::Relaxed) { 503 } else { 200 }));
    (Route::new(&far), is_away)
}

fn alert(workspace: &Workspace, name: &str, text: &str) {
    let quick = "for: 1 ms\nrecover_after: 2 s\ngroup_wait: 1 ms\n";
    workspace.write(&format!("alerts/{name}.yaml"), &format!("{text}\n{quick}"));
}

fn one(admin: &Admin, name: &str) -> Value {
    let all = admin.get("/api/v1/alerts");
    all["alerts"].as_array().unwrap().iter().find(|alert| alert["name"] == name).cloned().unwrap_or(Value::Null)
}

/// Waits until an alert is in a state.
fn is(admin: &Admin, name: &str, state: &str) -> Value {
    within(PATIENCE, "the alert is in its state", || {
        let alert = one(admin, name);
        if alert["state"] == state { Ok(alert) } else { Err(alert.to_string()) }
    })
}

fn events(admin: &Admin, name: &str) -> Vec<String> {
    let history = admin.get(&format!("/api/v1/alert-history?alert={name}"));
    let mut found: Vec<String> =
        history["entries"].as_array().unwrap().iter().map(|entry| entry["what"].as_str().unwrap().to_owned()).collect();
    found.reverse();
    found
}

#[test]
fn a_sync_that_fails_is_told_once_to_everybody_and_so_is_its_recovery() {
    let (people, mail) = (people(), MailDouble::new());
    let (route, is_away) = breakable();
    let origin = people.origin();
    alert(
        &route.workspace,
        "crm",
        &format!(
            "condition: sync_failing\nsync: web-to-crm\nowner: data team\nlabels: {{team: data}}\nnotify:\n  \
             hook: {{webhook: \"{origin}/hook\", signing_secret: {SECRET}, allow_private_hosts: [127.0.0.1]}}\n  \
             chat: {{slack: \"{origin}/chat/{SECRET}\", allow_private_hosts: [127.0.0.1]}}\n  \
             duty: {{pagerduty: {SECRET}, url: \"{origin}/duty\", allow_private_hosts: [127.0.0.1]}}\n  \
             prometheus: {{alertmanager: \"{origin}/am\", allow_private_hosts: [127.0.0.1]}}\n  \
             mail: {{email: [ops@example.com], from: tide@example.com, host: 127.0.0.1, port: {}, tls: none, allow_private_hosts: [127.0.0.1]}}",
            mail.port
        ),
    );
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    is(&admin, "crm", "ok");
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    is(&admin, "crm", "firing");
    let activity = admin.get("/api/v1/activity");
    assert_eq!(activity["syncs"][0]["failing"], true, "what is shown says so as well: {activity:#}");
    let paths = ["/hook", "/chat", "/duty", "/am/api/v2/alerts"];
    until("everybody is told", || paths.iter().all(|path| !to(&people, path).is_empty()) && mail.mails().len() == 1);
    is_away.store(false, Ordering::Relaxed);
    is(&admin, "crm", "ok");
    until("everybody is told of the recovery", || {
        paths.iter().all(|path| to(&people, path).len() > 1) && mail.mails().len() > 1
    });
    assert_eq!(statuses(&people, "/hook"), ["firing", "resolved"]);
    assert_eq!(to(&people, "/chat").len(), 2);
    assert_eq!(mail.mails().len(), 2);
    let hook = to(&people, "/hook");
    let first = hook[0].json();
    assert_eq!(first["alerts"][0]["labels"]["team"], "data");
    assert_eq!(first["alerts"][0]["labels"]["object"], "sync web-to-crm");
    assert!(first["text"].as_str().unwrap().contains("What to do: "), "{first:#}");
    assert!(hook[0].header("x-tidegate-signature").is_some_and(|signature| signature.starts_with("sha256=")));
    let actions: Vec<Value> =
        to(&people, "/duty").iter().map(|received| received.json()["event_action"].clone()).collect();
    assert_eq!(actions, ["trigger", "resolve"]);
    assert!(mail.mails()[0].contains("FIRING crm: sync web-to-crm"), "{}", mail.mails()[0]);
    until("it is in the history", || events(&admin, "crm").iter().filter(|what| *what == "told").count() == 10);
    assert_eq!(events(&admin, "crm").iter().filter(|what| *what == "firing").count(), 1);
    let said = [
        admin.get("/api/v1/alerts").to_string(),
        admin.get("/api/v1/alert-history").to_string(),
        admin.get("/api/v1/objects/alert/crm").to_string(),
        route.workspace.status().to_string(),
        hook[0].text(),
        server.stop(),
    ];
    assert!(!said.concat().contains(SECRET), "a secret was said");
}

#[test]
fn a_restart_in_the_middle_tells_nothing_twice_and_forgets_no_recovery() {
    let people = people();
    let (route, is_away) = breakable();
    let hook = format!(
        "condition: sync_failing\nnotify:\n  hook: {{webhook: \"{}/hook\", allow_private_hosts: [127.0.0.1]}}",
        people.origin()
    );
    alert(&route.workspace, "crm", &hook);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(HASTE);
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    let admin = Admin::new(&server, &token);
    until("it is told", || events(&admin, "crm").contains(&"told".to_owned()));
    server.kill();
    for _ in 0..2 {
        let server = route.workspace.serve_with(HASTE);
        let admin = Admin::new(&server, &token);
        is(&admin, "crm", "firing");
        let muted = admin.post("/api/v1/alerts/crm/unmute", &json!({}));
        assert_eq!(muted.status, 200, "it is looked at once more: {}", muted.text());
        assert_eq!(statuses(&people, "/hook"), ["firing"]);
        server.kill();
    }
    is_away.store(false, Ordering::Relaxed);
    let server = route.workspace.serve_with(HASTE);
    until("the recovery is told", || statuses(&people, "/hook").len() > 1);
    let admin = Admin::new(&server, &token);
    is(&admin, "crm", "ok");
    assert_eq!(statuses(&people, "/hook"), ["firing", "resolved"]);
    server.stop();
}

#[test]
fn while_an_alert_is_muted_nobody_is_told_and_afterwards_what_still_fires() {
    let people = people();
    let (route, is_away) = breakable();
    let hook = |path: &str, more: &str| {
        format!(
            "condition: sync_failing\n{more}notify:\n  hook: {{webhook: \"{}/{path}\", allow_private_hosts: [127.0.0.1]}}",
            people.origin()
        )
    };
    alert(&route.workspace, "crm", &hook("by-hand", ""));
    alert(&route.workspace, "filed", &hook("by-file", "mute: true\n"));
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    let muted = admin.post("/api/v1/alerts/crm/mute", &json!({"for": "2 h", "reason": "it is moved"}));
    assert_eq!(muted.status, 200, "{}", muted.text());
    assert!(muted.json()["muted_until"].is_string(), "{}", muted.text());
    assert_eq!(admin.post("/api/v1/alerts/crm/mute", &json!({"for": "2 hours"})).code(), "422 for");
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    is(&admin, "crm", "muted");
    is(&admin, "filed", "muted");
    assert!(to(&people, "/").is_empty());
    let address = format!("http://{}", server.admin);
    let output = run(&["alert", "unmute", "crm", "--server", &address, "--token", &token, "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    until("it is told", || !to(&people, "/by-hand").is_empty());
    assert_eq!(statuses(&people, "/by-hand"), ["firing"]);
    assert!(to(&people, "/by-file").is_empty(), "its file says that nobody is told");
    until("it is in the history", || events(&admin, "crm") == ["muted", "firing", "unmuted", "told"]);
    server.stop();
}

#[test]
fn alertmanager_hears_while_an_alert_is_muted_that_it_still_fires() {
    let people = people();
    let (route, is_away) = breakable();
    let origin = people.origin();
    let text = format!(
        "condition: sync_failing\nnotify:\n  prometheus: {{alertmanager: \"{origin}/am\", allow_private_hosts: [127.0.0.1]}}"
    );
    alert(&route.workspace, "crm", &text);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(&["alerts_in_haste=return", "alerts_repeated_in_haste=return"]);
    let admin = Admin::new(&server, &token);
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    until("it is told", || events(&admin, "crm").contains(&"told".to_owned()));
    let muted = admin.post("/api/v1/alerts/crm/mute", &json!({}));
    assert_eq!(muted.status, 200, "{}", muted.text());
    let known = to(&people, "/am").len();
    // What is said no more ends there by itself, and people would hear of a recovery. One may have been on its way.
    until("it is said again", || to(&people, "/am").len() > known + 2);
    assert_eq!(one(&admin, "crm")["state"], "muted");
    server.stop();
}

#[test]
fn what_alertmanager_hears_last_of_an_alert_that_has_recovered_is_that_it_has() {
    // Whether repeats are answered late, and whether somebody was told of the recovery.
    let heard = Arc::new((Mutex::new((false, false)), Condvar::new()));
    let (told, is_resolved) = (Arc::clone(&heard), |received: &Received| {
        let ends = received.json()[0]["endsAt"].as_str().unwrap().to_owned();
        ends < jiff::Timestamp::now().to_string()
    });
    let far = Far::new(move |received| {
        let (state, changed) = &*told;
        let mut state = state.lock().unwrap();
        if is_resolved(received) {
            state.1 = true;
            changed.notify_all();
        } else if state.0 {
            // Longer than it takes to recover: the recovery comes meanwhile, unless it waits.
            drop(changed.wait_timeout_while(state, Duration::from_secs(5), |state| !state.1).unwrap());
        }
        Act::status(200)
    });
    let (route, is_away) = breakable();
    let text = format!(
        "condition: sync_failing\nnotify:\n  prometheus: {{alertmanager: \"{}/am\", allow_private_hosts: [127.0.0.1]}}",
        far.origin()
    );
    alert(&route.workspace, "crm", &text);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(&["alerts_in_haste=return", "alerts_repeated_in_haste=return"]);
    let admin = Admin::new(&server, &token);
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    until("it is told", || events(&admin, "crm").contains(&"told".to_owned()));
    heard.0.lock().unwrap().0 = true;
    is_away.store(false, Ordering::Relaxed);
    until("both are told", || events(&admin, "crm").iter().filter(|what| *what == "told").count() == 2);
    // Another look says nothing of it any more.
    assert_eq!(admin.post("/api/v1/alerts/crm/unmute", &json!({})).status, 200);
    server.stop();
    let all = to(&far, "/am");
    assert!(
        all.len() > 2 && all.last().is_some_and(is_resolved),
        "{:#?}",
        all.iter().map(Received::json).collect::<Vec<_>>()
    );
}

#[test]
fn a_receiver_whose_mail_is_not_taken_for_now_gets_it_later_in_order_and_nobody_gets_it_twice() {
    let mail = MailDouble::new();
    mail.is_full.store(true, Ordering::Relaxed);
    let (route, is_away) = breakable();
    let text = format!(
        "condition: sync_failing\nnotify:\n  mail: {{email: [ops@example.com, full@example.com], from: tide@example.com, host: 127.0.0.1, \
         port: {}, tls: none, allow_private_hosts: [127.0.0.1]}}",
        mail.port
    );
    alert(&route.workspace, "crm", &text);
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    until("one of them is told", || events(&admin, "crm").contains(&"told".to_owned()));
    assert_eq!((mail.mails_to("ops@example.com").len(), mail.mails_to("full@example.com").len()), (1, 0));
    mail.is_full.store(false, Ordering::Relaxed);
    is_away.store(false, Ordering::Relaxed);
    until("everything is told", || events(&admin, "crm").iter().filter(|what| *what == "told").count() == 4);
    for receiver in ["ops@example.com", "full@example.com"] {
        let mails = mail.mails_to(receiver);
        let first: Vec<&str> = mails.iter().map(|text| text.split_once(' ').unwrap().0).collect();
        assert_eq!(first, ["FIRING", "RECOVERED"], "{receiver}");
    }
    server.stop();
}

#[test]
fn a_channel_that_is_dead_keeps_nobody_else_from_being_told_and_its_messages_wait() {
    let people = people();
    let dead = Far::new(|_| Act::Hang);
    let (route, is_away) = breakable();
    alert(
        &route.workspace,
        "crm",
        &format!(
            "condition: sync_failing\nnotify:\n  dead: {{slack: \"{}/{SECRET}\", allow_private_hosts: [127.0.0.1]}}\n  \
             inside: {{webhook: \"http://127.0.0.1:9/{SECRET}\"}}\n  \
             hook: {{webhook: \"{}/hook\", allow_private_hosts: [127.0.0.1]}}",
            dead.origin(),
            people.origin()
        ),
    );
    let token = route.workspace.admin_token();
    let server = route.workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    is_away.store(true, Ordering::Relaxed);
    send(&server, &[event("one", "u", json!({}))]);
    until("the others are told", || statuses(&people, "/hook") == ["firing"]);
    let shown = within(PATIENCE, "the dead channels are said", || {
        let alert = one(&admin, "crm");
        let failing = alert["channels"].as_array().into_iter().flatten().filter(|one| one["error"].is_string());
        if failing.count() == 2 { Ok(alert) } else { Err(alert.to_string()) }
    });
    assert!(shown.to_string().contains("allow_private_hosts"), "{shown:#}");
    // Events go on meanwhile.
    is_away.store(false, Ordering::Relaxed);
    route.wait_for_end(1);
    let tested = admin.post("/api/v1/alerts/crm/test", &json!({})).json();
    let errors: Vec<bool> =
        tested["channels"].as_array().unwrap().iter().map(|channel| channel["error"].is_string()).collect();
    assert_eq!(errors.iter().filter(|failed| **failed).count(), 2, "{tested:#}");
    // The recovery may have come meanwhile.
    let hooks: Vec<Value> = to(&people, "/hook").iter().map(Received::json).collect();
    assert_eq!(hooks.iter().filter(|hook| hook["test"] == true).count(), 1, "{hooks:#?}");
    let said = [shown.to_string(), tested.to_string(), admin.get("/api/v1/alert-history").to_string(), server.stop()];
    assert!(!said.concat().contains(SECRET), "a secret was said");
}

#[test]
fn a_folder_of_alerts_is_read_and_the_history_of_an_alert_that_there_is_not_is_refused() {
    let workspace = Workspace::new();
    workspace.write("alerts/channels.yaml", "notify:\n  ops: {webhook: https://far.example/in}\n");
    let checked = run(&["check", workspace.path().to_str().unwrap(), "--json"]);
    let checked: Value = serde_json::from_slice(&checked.stdout).unwrap();
    assert!(!checked["notes"].to_string().contains("nothing of it is read"), "{checked:#}");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let known = admin.get("/api/v1/alert-history?alert=channels");
    assert_eq!(known["entries"], json!([]));
    let absent = admin.ask("GET", "/api/v1/alert-history?alert=nobody", b"");
    assert_eq!(absent.status, 404, "{}", absent.text());
    server.stop();
}

#[test]
fn a_workspace_without_alerts_has_those_that_everybody_needs_and_says_so() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve_with(&["alerts_in_haste=return", "alerts_disk_full=return"]);
    let admin = Admin::new(&server, &token);
    until("all are watched", || admin.get("/api/v1/alerts")["alerts"].as_array().unwrap().len() == 3);
    let shown = admin.get("/api/v1/alerts");
    assert!(shown["alerts"].as_array().unwrap().iter().all(|alert| alert["is_default"] == true), "{shown:#}");
    let disk = is(&admin, "default.disk", "firing");
    assert!(disk["objects"][0]["text"].as_str().unwrap().starts_with("5 % of the disk are free"), "{disk:#}");
    let status = workspace.status();
    assert_eq!(status["alerts"][0]["alert"], "default.disk", "{status:#}");
    let said = server.stop();
    assert!(said.contains("an alert fires") && said.contains("default.disk"), "{said}");
    let shown = run(&["status", workspace.path().to_str().unwrap()]);
    assert!(String::from_utf8_lossy(&shown.stdout).contains("alert: default.disk"), "the status says it");
}

/// Sends events that end in quarantine.
fn quarantined(server: &Server, from: usize, count: usize) {
    let events: Vec<Value> = (from..from + count).map(crate::reliability::bad).collect();
    assert_eq!(server.batch(&events).status, 200);
}

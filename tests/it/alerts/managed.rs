//! Alerts are objects: made over the API, applied from a folder, and for those who may.

use serde_json::{Value, json};

use super::mail::{MailDouble, PASSWORD};
use super::{HASTE, SECRET, is, one, people, to};
use crate::support::Workspace;
use crate::support::admin::Admin;
use crate::support::far::{Act, Far};
use crate::support::tls::TlsFront;
use crate::support::waiting::until;

fn made(admin: &Admin, name: &str, spec: &Value) -> crate::support::Reply {
    admin.post("/api/v1/objects/alert", &json!({"name": name, "spec": spec}))
}

#[test]
fn an_alert_that_is_made_over_the_api_is_watched_at_once_and_its_channel_is_a_secret() {
    let (workspace, people) = (Workspace::new(), people());
    let token = workspace.admin_token();
    let server = workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    let address = format!("{}/chat", people.origin());
    let kept = admin.ask("PUT", "/api/v1/secrets/chat", json!({"value": address}).to_string().as_bytes());
    assert_eq!(kept.status, 200, "{}", kept.text());
    let channel = |slack: &str| json!({"ops": {"slack": slack, "allow_private_hosts": ["127.0.0.1"]}});
    let written = made(&admin, "written", &json!({"condition": "disk", "notify": channel(&address)}));
    assert_eq!(written.status, 422, "an address that is written down is refused: {}", written.text());
    let holder = made(&admin, "channels", &json!({"notify": channel("secret:chat")}));
    assert_eq!(holder.status, 201, "{}", holder.text());
    let spec = json!({"condition": "source_silent", "source": "web", "channels_of": "channels"});
    let alert = made(&admin, "quiet", &spec);
    assert_eq!(alert.status, 201, "{}", alert.text());
    let shown = is(&admin, "quiet", "ok");
    assert_eq!((&shown["channels"][0]["name"], &shown["channels"][0]["kind"]), (&json!("ops"), &json!("slack")));
    let tested = admin.post("/api/v1/alerts/quiet/test", &json!({}));
    assert_eq!((tested.status, &tested.json()["channels"][0]["error"]), (200, &Value::Null), "{}", tested.text());
    until("it has arrived", || to(&people, "/chat").len() == 1);
    assert!(to(&people, "/chat")[0].json()["text"].as_str().unwrap().starts_with("TEST quiet"));
    for wrong in [
        json!({"condition": "nosuch"}),
        json!({"condition": "disk", "channels_of": "nosuch"}),
        json!({"condition": "source_silent", "source": "nosuch"}),
        json!({"condition": "sync_failing", "sync": "nosuch"}),
    ] {
        let refused = made(&admin, "wrong", &wrong);
        assert_eq!(refused.status, 422, "{wrong}: {}", refused.text());
    }
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/alert/channels", b"").code(), "409 in-use");
    assert_eq!(admin.post("/api/v1/alerts/nosuch/test", &json!({})).status, 404);
    assert_eq!(admin.ask("DELETE", "/api/v1/objects/alert/quiet", b"").status, 200);
    until("it is gone", || one(&admin, "quiet").is_null());
    server.stop();
}

#[test]
fn a_mail_goes_over_tls_with_a_password_and_nobody_reads_a_wrong_one() {
    let (workspace, mail) = (Workspace::new(), MailDouble::new());
    let front = TlsFront::before(([127, 0, 0, 1], mail.port).into());
    for (name, password) in [("right", PASSWORD), ("wrong", "wr0ng-word-0123456789")] {
        let text = format!(
            "condition: conservation\nnotify:\n  mail: {{email: ops@example.com, from: tide@example.com, host: localhost, port: {}, tls: implicit, \
             user: tide, password: {password}, ca_file: {}, allow_private_hosts: [localhost]}}\n",
            front.port,
            front.ca_file().display()
        );
        workspace.write(&format!("alerts/{name}.yaml"), &text);
    }
    let token = workspace.admin_token();
    let server = workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    let tested = |name: &str| admin.post(&format!("/api/v1/alerts/{name}/test"), &json!({})).json();
    let (right, wrong) = (tested("right"), tested("wrong"));
    assert_eq!(right["channels"][0]["error"], Value::Null, "{right:#}");
    let said = wrong["channels"][0]["error"].as_str().unwrap();
    assert!(said.contains("535 no to the login") && !said.contains("wr0ng"), "{said}");
    assert_eq!(mail.mails().len(), 1);
    assert!(mail.mails()[0].starts_with("TEST right"), "{}", mail.mails()[0]);
    server.stop();
}

#[test]
fn a_channel_that_repeats_what_it_was_sent_with_is_quoted_without_it() {
    // What is quoted of an answer ends within the secret.
    let said = format!("no such token, {}: {SECRET}", "x".repeat(170));
    let far = Far::new(move |_| Act::Reply(401, Vec::new(), said.clone().into_bytes()));
    let workspace = Workspace::new();
    let channel = format!(
        "{{webhook: \"{}/in\", headers: {{authorization: \"Bearer {SECRET}\"}}, allow_private_hosts: [127.0.0.1]}}",
        far.origin()
    );
    workspace.write("alerts/hook.yaml", &format!("condition: disk\nnotify:\n  hook: {channel}\n"));
    let token = workspace.admin_token();
    let server = workspace.serve_with(HASTE);
    let admin = Admin::new(&server, &token);
    let tested = admin.post("/api/v1/alerts/hook/test", &json!({})).json();
    let error = tested["channels"][0]["error"].as_str().unwrap();
    assert!(error.starts_with("it answers 401: no such token") && !error.contains("s3cr3t"), "{error}");
    server.stop();
}

//! Whom connections to warehouses trust and which proxy they go through, as `tidegate check --connect` shows it.
//!
//! The far side lets nobody in: whoever hears so has reached it.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::far::{Act, Far, Received};
use crate::support::tls::TlsFront;
use crate::support::{Workspace, tidegate};

const KINDS: [&str; 3] = ["clickhouse", "snowflake", "lake"];

/// What each kind of warehouse says to unknown clients.
fn closed() -> Far {
    Far::new(|received| match kind_of(received) {
        "clickhouse" => {
            let code = vec![("x-clickhouse-exception-code", "516".to_owned())];
            Act::Reply(403, code, b"Code: 516. DB::Exception: Authentication failed".to_vec())
        }
        "snowflake" => {
            let body = br#"{"success": false, "code": "390100", "message": "Incorrect username", "data": null}"#;
            Act::Reply(200, Vec::new(), body.to_vec())
        }
        _ => Act::Reply(403, Vec::new(), b"<Error><Code>AccessDenied</Code></Error>".to_vec()),
    })
}

fn kind_of(received: &Received) -> &'static str {
    match () {
        () if received.path.contains("/session/") => "snowflake",
        () if received.path.contains("/bucket/") => "lake",
        () => "clickhouse",
    }
}

/// The fix that a warehouse names when it was reached and let nobody in.
fn fix_of(kind: &str) -> &'static str {
    match kind {
        "clickhouse" => "correct user and password",
        "snowflake" => "correct `account`, `user`",
        _ => "let the credentials read",
    }
}

/// A workspace with a warehouse of each kind at `url`; `more` stands at the end of their files.
fn workspace(url: &str, more: &str) -> Workspace {
    let workspace = Workspace::new();
    let files = [
        ("clickhouse", format!("kind: clickhouse\nurl: {url}\nuser: me\npassword: s3cr3t\n{more}")),
        (
            "snowflake",
            format!(
                "kind: snowflake\naccount: acme\nuser: ME\ndatabase: D\nwarehouse: W\nendpoint: {url}\nauth:\n  token: \
                 s3cr3t\n{more}"
            ),
        ),
        (
            "lake",
            format!(
                "kind: lake\nurl: s3://bucket/lake\nendpoint: {url}\nregion: us-east-1\naccess_key_id: me\nsecret_access_key: \
                 s3cr3t\n{more}"
            ),
        ),
    ];
    for (kind, text) in files {
        workspace.write(&format!("destinations/{kind}.yaml"), &text);
        workspace.write(&format!("syncs/{kind}.yaml"), &format!("source: web\ndestination: {kind}\n"));
    }
    workspace
}

/// What `check --connect` says of each warehouse; nothing else of the environment is about proxies.
fn said(workspace: &Workspace, variables: &[(&str, &str)]) -> BTreeMap<String, String> {
    let mut command = tidegate();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.arg("check").arg(workspace.path()).args(["--connect", "--json"]).envs(variables.iter().copied());
    let output = command.output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let answer: Value = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}"));
    let tried = answer["destinations"].as_array().unwrap_or_else(|| panic!("{answer}"));
    let said = tried.iter().map(|one| (one["destination"].as_str().unwrap(), one["says"].as_str().unwrap()));
    said.map(|(kind, says)| (kind.to_owned(), says.to_owned())).collect()
}

fn assert_reached(said: &BTreeMap<String, String>, far: &Far) {
    for kind in KINDS {
        assert!(said[kind].contains(fix_of(kind)), "{kind}: {}", said[kind]);
        assert!(far.seen().iter().any(|received| kind_of(received) == kind), "{kind}");
    }
}

#[test]
fn a_warehouse_behind_a_company_s_authority_is_reached_when_the_authority_is_named_for_all() {
    let far = closed();
    let front = TlsFront::before(([127, 0, 0, 1], far.port).into());
    let workspace = workspace(&front.url(), "");
    let unknown = said(&workspace, &[]);
    for kind in KINDS {
        let says = &unknown[kind];
        assert!(says.contains("is not trusted") && says.contains("with `ca_file`"), "{kind}: {says}");
    }
    assert!(far.seen().is_empty(), "nothing was sent to a server that nobody vouches for");
    std::fs::copy(front.ca_file(), workspace.path().join("ca.pem")).unwrap();
    workspace.append("tidegate.yaml", "net:\n  ca_file: ca.pem\n");
    assert_reached(&said(&workspace, &[]), &far);
}

#[test]
fn a_warehouse_may_name_an_authority_of_its_own() {
    let far = closed();
    let (front, other) =
        (TlsFront::before(([127, 0, 0, 1], far.port).into()), TlsFront::before(([127, 0, 0, 1], far.port).into()));
    let workspace = workspace(&front.url(), "ca_file: own.pem\n");
    std::fs::copy(front.ca_file(), workspace.path().join("own.pem")).unwrap();
    std::fs::copy(other.ca_file(), workspace.path().join("all.pem")).unwrap();
    workspace.append("tidegate.yaml", "net:\n  ca_file: all.pem\n");
    assert_reached(&said(&workspace, &[]), &far);
}

#[test]
fn a_file_without_authorities_is_a_problem_of_its_line() {
    let workspace = workspace("https://localhost:1", "ca_file: none.pem\nproxy: socks5://me:s3cr3t@one\n");
    workspace.append("tidegate.yaml", "net:\n  ca_file: sources/web.yaml\n");
    workspace.write("destinations/folder.yaml", "kind: lake\nca_file: none.pem\n");
    let output = tidegate().arg("check").arg(workspace.path()).arg("--json").output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    for part in [
        "none.pem: No such file",
        "sources/web.yaml: it holds no certificate",
        "proxy is not the address of a proxy",
        "`proxy: none`",
        "`ca_file` says nothing to a lake in",
    ] {
        assert!(text.contains(part), "{text} does not say {part}");
    }
    assert!(!text.contains("s3cr3t"), "{text}");
}

#[test]
fn warehouses_are_reached_through_the_proxy_that_is_named_and_else_that_of_the_environment() {
    let far = closed();
    // Nobody but the proxy knows this name.
    let url = "http://warehouse.invalid:8123";
    let of_environment = workspace(url, "");
    assert_reached(&said(&of_environment, &[("HTTP_PROXY", &far.origin())]), &far);
    assert!(far.seen().iter().all(|received| received.path.starts_with(url)), "{:?}", far.seen());

    let dead = ("HTTP_PROXY", "http://127.0.0.1:1");
    let named = closed();
    let workspace = workspace(url, "");
    workspace.append("tidegate.yaml", &format!("net:\n  proxy: {}\n", named.origin()));
    assert_reached(&said(&workspace, &[dead]), &named);

    // A destination's own word counts before that of the workspace.
    workspace.append("destinations/clickhouse.yaml", "proxy: none\n");
    let before = named.seen().len();
    let says = said(&workspace, &[]);
    assert!(!says["clickhouse"].contains(fix_of("clickhouse")), "{says:?}");
    assert!(says["lake"].contains(fix_of("lake")), "{says:?}");
    assert!(named.seen()[before..].iter().all(|received| kind_of(received) != "clickhouse"));
    let wrong = said_wrong(&of_environment, ("HTTP_PROXY", "socks5://me:s3cr3t@one"));
    assert!(wrong.contains("HTTP_PROXY") && !wrong.contains("s3cr3t"), "{wrong}");
}

/// What `check` says of a workspace that cannot be used with this variable.
fn said_wrong(workspace: &Workspace, (name, value): (&str, &str)) -> String {
    let output = tidegate().arg("check").arg(workspace.path()).arg("--json").env(name, value).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

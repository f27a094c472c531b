//! The command line as a client: over TLS, through proxies, and with its token kept to itself.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;

use crate::support::far::{Act, Far};
use crate::support::tls::TlsFront;
use crate::support::waiting::seldom;
use crate::support::{Workspace, tidegate};

const TOKEN: &str = "tg_0123456789abcdef";

/// `tidegate function list` with these arguments and variables; nothing else of the environment is about proxies or trust.
fn list(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = tidegate();
    for name in ["http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY", "NO_PROXY"] {
        command.env_remove(name);
    }
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR");
    command.args(["function", "list"]).args(arguments).envs(variables.iter().copied()).output().unwrap()
}

/// What a command that failed says; never the token.
fn refused(output: &Output) -> String {
    let said = format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.code() == Some(1) && !said.contains(TOKEN), "{said}");
    said
}

fn answers(far: &Far) -> usize {
    far.seen().len()
}

/// A far side that has no functions.
fn no_functions() -> Far {
    Far::new(|_| Act::Reply(200, Vec::new(), br#"{"functions":[],"revision":0,"sources":[],"granted":{}}"#.to_vec()))
}

#[test]
fn a_server_behind_tls_is_spoken_to_when_its_authority_is_named() {
    let workspace = Workspace::new();
    let token = workspace.admin_token();
    let server = workspace.serve();
    let front = TlsFront::before(server.admin.parse().unwrap());
    let ca_file = front.ca_file();
    let ca = ["--ca-file", ca_file.to_str().unwrap()];
    let at = |token: &str| {
        let mut arguments = vec!["--json".to_owned(), "--server".to_owned(), front.url()];
        arguments.extend(["--token".to_owned(), token.to_owned()]);
        arguments
    };
    let with = |token: &str, more: &[&str]| {
        let arguments = at(token);
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).chain(more.iter().copied()).collect();
        list(&arguments, &[])
    };
    let output = with(&token, &ca);
    assert!(output.status.success(), "{}", refused(&output));
    let listed: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(listed["functions"], serde_json::json!([]), "{listed}");
    let said = refused(&with(TOKEN, &ca));
    assert!(said.contains("the token opens nothing") && said.contains("fix:"), "{said}");
    let said = refused(&with(TOKEN, &[]));
    assert!(said.contains("is not trusted") && said.contains("--ca-file"), "{said}");
    let said = refused(&with(TOKEN, &["--ca-file", "/none.pem"]));
    assert!(said.contains("--ca-file /none.pem") && said.contains("PEM"), "{said}");

    // What the machine trusts is trusted, and a list that is named and not there is not replaced by another.
    let (arguments, own) = (at(&token), ca_file.to_str().unwrap());
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let output = list(&arguments, &[("SSL_CERT_FILE", own)]);
    assert!(output.status.success(), "{}", refused(&output));
    let said = refused(&list(&arguments, &[("SSL_CERT_FILE", "/none.pem")]));
    assert!(said.contains("SSL_CERT_FILE") && said.contains("/none.pem"), "{said}");

    let events = TlsFront::before(server.address.parse().unwrap());
    let send = |ca_file: &Path| {
        let (url, ca_file) = (events.url(), ca_file.to_str().unwrap().to_owned());
        let arguments = ["send", "--generate", "3", "--to", &url, "--write-key", &server.key, "--ca-file", &ca_file];
        tidegate().args(arguments).arg("--json").output().unwrap()
    };
    let sent: Value = serde_json::from_slice(&send(&events.ca_file()).stdout).unwrap();
    assert_eq!(sent["accepted"], 3, "{sent}");
    // Two authorities of the same making are two.
    let said = refused(&send(&front.ca_file()));
    assert!(said.contains("is not trusted") && said.contains("--ca-file"), "{said}");
}

#[test]
fn the_token_goes_over_http_to_this_machine_alone_unless_somebody_says_so() {
    let proxy = no_functions();
    let variables = [("HTTP_PROXY", &*proxy.origin())];
    let far = ["--server", "http://tidegate.example:8089", "--token", TOKEN];
    let said = refused(&list(&far, &variables));
    for part in ["http://tidegate.example:8089", "https://", "--allow-http"] {
        assert!(said.contains(part), "{said} does not say {part}");
    }
    assert_eq!(answers(&proxy), 0, "nothing was sent");
    let output = list(&[&far[..], &["--allow-http"]].concat(), &variables);
    assert!(output.status.success(), "{}", refused(&output));
    let seen = proxy.seen();
    assert_eq!(seen[0].path, "http://tidegate.example:8089/admin/functions");
    assert_eq!(seen[0].header("authorization"), Some(&*format!("Bearer {TOKEN}")));
}

#[test]
fn a_server_on_this_machine_is_reached_without_the_proxies_of_the_environment() {
    let server = no_functions();
    let base = format!("{}/tide/", server.origin());
    let output = list(&["--server", &base, "--token", TOKEN], &[("ALL_PROXY", "http://127.0.0.1:1")]);
    assert!(output.status.success(), "{}", refused(&output));
    assert_eq!(server.seen()[0].path, "/tide/admin/functions", "the address may have a path");
    let said = refused(&list(&["--server", &base, "--token", TOKEN], &[("HTTPS_PROXY", "socks5://me:pw@x")]));
    assert!(said.contains("HTTPS_PROXY") && !said.contains("pw@x"), "{said}");
}

#[test]
fn what_answers_without_being_an_admin_api_is_told_apart() {
    let moved = Far::new(|_| Act::Reply(301, vec![("location", "https://tidegate.example/".to_owned())], Vec::new()));
    let other = Far::new(|_| Act::Reply(502, Vec::new(), b"<html>Bad Gateway</html>".to_vec()));
    let older = Far::new(|_| Act::Reply(200, Vec::new(), br#"{"functions": 7}"#.to_vec()));
    for (far, part) in
        [(&moved, "https://tidegate.example/"), (&other, "is this its admin address?"), (&older, "of another version")]
    {
        let said = refused(&list(&["--server", &far.origin(), "--token", TOKEN], &[]));
        assert!(said.contains(part), "{said} does not say {part}");
        assert_eq!(answers(far), 1, "no redirect is followed and nothing is asked twice");
    }
    let plain = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://{}", plain.local_addr().unwrap());
    std::thread::spawn(move || {
        // As a server does that is greeted with TLS and speaks HTTP.
        let (mut client, _) = plain.accept()?;
        client.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")?;
        client.read_to_end(&mut Vec::new())
    });
    let said = refused(&list(&["--server", &address, "--token", TOKEN], &[]));
    assert!(said.contains("does not speak TLS"), "{said}");
    let said = refused(&list(&["--server", "http://me:s3cr3t@127.0.0.1", "--token", TOKEN], &[]));
    assert!(said.contains("user or a password") && !said.contains("s3cr3t"), "{said}");
}

#[test]
fn what_is_sent_to_nobody_ends_and_so_does_what_is_sent_with_a_wrong_key() {
    // More than waits for the senders.
    let send = |to: &str| {
        let mut sending = tidegate()
            .args(["send", "--generate", "10000", "--batch", "10", "--write-key", "wrong", "--to", to])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        seldom("it ends", || sending.try_wait().unwrap().map(drop).ok_or_else(|| "it is still at it".to_owned()));
        refused(&sending.wait_with_output().unwrap())
    };
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let said = send(&format!("http://{nobody}"));
    assert!(said.contains("could not reach") && !said.contains("accepted"), "{said}");
    let closed = Far::new(|_| Act::Reply(401, Vec::new(), br#"{"code":"unknown-write-key"}"#.to_vec()));
    let said = send(&closed.origin());
    assert!(said.contains("unknown-write-key") && said.contains("the rest was not sent"), "{said}");
    assert!(answers(&closed) <= 4, "one for each connection");
}

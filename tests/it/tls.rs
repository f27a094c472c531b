//! The ports over TLS: clients that trust the authority are served while certificates are replaced under them, and nobody else is.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::os::unix::fs::PermissionsExt as _;
use std::process::Command;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use jiff::ToSpan as _;
use rcgen::{CertificateParams, date_time_ymd};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};

use crate::sdk;
use crate::support::home::{HomeCommands, said};
use crate::support::http::ask;
use crate::support::tls::{TestAuthority, TlsClient, TlsConnection, shown_certificate};
use crate::support::waiting::{seldom, until};
use crate::support::{Reply, Server, Workspace, basic, request, tidegate};

const FILES: &str = "{certificate: tls/server.pem, key: tls/server.key}";

/// A workspace whose two ports speak TLS with a certificate for `localhost` and `admin.example.com`; `more` stands in `tidegate.yaml` besides.
fn workspace(authority: &TestAuthority, more: &str) -> Workspace {
    let workspace = Workspace::new();
    put(&workspace, &authority.sign(&["localhost", "admin.example.com"]));
    workspace.append("tidegate.yaml", &format!("\ntls: {FILES}\nadmin: {{tls: {FILES}}}\n{more}"));
    workspace
}

fn put(workspace: &Workspace, (certificate, key): &(String, String)) {
    put_key(workspace, key);
    workspace.write("tls/server.pem", certificate);
}

fn put_key(workspace: &Workspace, key: &str) {
    workspace.write("tls/server.key", key);
    let file = workspace.path().join("tls/server.key");
    std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o600)).unwrap();
}

fn of_pem(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}

fn port(address: &str) -> &str {
    address.rsplit_once(':').unwrap().1
}

/// Posts an event on a connection that is there.
fn send(stream: &mut TlsConnection, server: &Server, n: u64) -> std::io::Result<Reply> {
    let body = json!({"type": "track", "event": "Served", "messageId": format!("served-{n}")}).to_string();
    let authorization = basic(&server.key);
    ask(stream, ("POST", "/v1/track", "localhost"), &[("authorization", &authorization)], body.as_bytes())
}

/// The same on a connection of its own; it is accepted.
fn sent(client: &TlsClient, server: &Server, n: u64) {
    let mut stream = client.connect(&server.address).unwrap_or_else(|error| panic!("event {n}: {error}"));
    let reply = send(&mut stream, server, n).unwrap_or_else(|error| panic!("event {n}: {error}"));
    assert_eq!(reply.code(), "200", "event {n}: {}", reply.text());
}

/// Asks `tidegate status` until it is so.
fn until_status(workspace: &Workspace, what: &str, so: impl Fn(&Value) -> bool) {
    seldom(what, || {
        let status = workspace.status();
        if so(&status) { Ok(()) } else { Err(format!("{} {}", status["tls"], status["syncs"])) }
    });
}

/// Ends what runs until it is told, whatever comes.
struct EndsLoad<'a>(&'a AtomicBool);

impl Drop for EndsLoad<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

fn shown(client: &TlsClient, server: &Server) -> Vec<u8> {
    shown_certificate(&client.connect(&server.address).unwrap())
}

/// `tidegate function list` at `https://localhost`, with these arguments.
fn list(server: &Server, token: &str, arguments: &[&str]) -> (bool, String) {
    let url = format!("https://localhost:{}", port(&server.admin));
    let mut command = tidegate();
    command.env_remove("SSL_CERT_FILE").env_remove("SSL_CERT_DIR").args(["function", "list", "--json"]);
    let output = command.args(["--server", &url, "--token", token]).args(arguments).output().unwrap();
    let said = said(&output);
    assert!(!said.contains(token), "{said}");
    (output.status.success(), said)
}

fn curl(arguments: &[&str]) -> (bool, String) {
    let output = Command::new("curl").args(["-sS", "--noproxy", "*"]).args(arguments).output().unwrap();
    (output.status.success(), said(&output))
}

#[test]
fn both_ports_speak_tls_to_clients_that_trust_the_authority() {
    let authority = TestAuthority::new();
    let (workspace, ca_file) = (workspace(&authority, ""), authority.ca_file());
    let (token, ca) = (workspace.admin_token(), ca_file.to_str().unwrap());
    let server = workspace.serve();
    sent(&TlsClient::new(&ca_file, None), &server, 1);
    let (events, admin) = (port(&server.address), port(&server.admin));
    let url = format!("https://localhost:{events}/v1/track");
    let (user, event) = (format!("{}:", server.key), r#"{"type": "track", "event": "Curled"}"#);
    let with_curl = |more: &[&str]| curl(&[&["--cacert", ca, "-u", &user, "-d", event, &url][..], more].concat());
    let (is_served, said) = with_curl(&["--http2", "-w", " %{http_version}"]);
    assert!(is_served && said.contains(r#""success":true"#) && said.ends_with(" 1.1"), "{said}");
    assert!(with_curl(&["--tls-max", "1.2"]).0);
    assert!(!with_curl(&["--tls-max", "1.1", "--ciphers", "DEFAULT:@SECLEVEL=0"]).0, "TLS 1.1 is not spoken");

    let url = format!("https://localhost:{events}");
    let made = ["send", "--generate", "3", "--to", &url, "--write-key", &server.key, "--ca", ca];
    assert!(tidegate().args(made).output().unwrap().status.success());
    let (is_listed, said) = list(&server, &token, &["--ca", ca]);
    assert!(is_listed && said.contains("functions"), "{said}");
    let (is_listed, said) = list(&server, &token, &[]);
    assert!(!is_listed && said.contains("is not trusted") && said.contains("--ca-file"), "{said}");

    // A browser comes over TLS alone from then on, but not to what every machine calls itself.
    let of_name = format!("admin.example.com:{admin}:127.0.0.1");
    let at = |host: &str| {
        let url = format!("https://{host}:{admin}/api/v1/login");
        let (is_answered, said) = curl(&["--cacert", ca, "--resolve", &of_name, "-i", &url]);
        assert!(is_answered, "{said}");
        said.to_ascii_lowercase().contains("strict-transport-security: max-age=31536000")
    };
    assert_eq!((at("admin.example.com"), at("localhost")), (true, false));
    server.stop();
    workspace.conserves();
}

#[test]
fn sdks_send_over_tls_with_what_their_languages_trust() {
    let authority = TestAuthority::new();
    let (workspace, ca_file) = (workspace(&authority, ""), authority.ca_file());
    let server = workspace.serve();
    let ready = sdk::clients().0;
    for name in ["segment-node", "segment-python"].into_iter().filter(|name| ready.iter().any(|ready| ready == name)) {
        let mut command = Command::new(sdk::folder().join(name).join("run"));
        command.env("NODE_EXTRA_CA_CERTS", &ca_file).env("REQUESTS_CA_BUNDLE", &ca_file).env("SSL_CERT_FILE", &ca_file);
        command.env("TIDEGATE_URL", format!("https://localhost:{}", port(&server.address)));
        let output = command.env("TIDEGATE_WRITE_KEY", &server.key).env("TIDEGATE_RUN", name).output().unwrap();
        assert!(output.status.success(), "{name}: {}", said(&output));
    }
    server.stop();
    workspace.conserves();
}

#[test]
fn certificates_are_replaced_under_load_and_no_request_is_lost() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "limits: {header_timeout: 200 s, idle_timeout: 200 s}\n");
    let server = workspace.serve();
    let client = TlsClient::new(&authority.ca_file(), None);
    let mut before = client.connect(&server.address).unwrap();
    let (is_over, events) = (AtomicBool::new(false), AtomicU64::new(0));
    let mut last = (String::new(), String::new());
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                while !is_over.load(Relaxed) {
                    sent(&client, &server, events.fetch_add(1, Relaxed));
                }
            });
        }
        let _ends = EndsLoad(&is_over);
        for round in 0..3 {
            last = authority.sign(&["localhost"]);
            let next = of_pem(&last.0);
            // Never both at once, and each may come first.
            if round % 2 == 0 {
                workspace.write("tls/server.pem", &last.0);
                sent(&client, &server, events.fetch_add(1, Relaxed));
                put_key(&workspace, &last.1);
            } else {
                put_key(&workspace, &last.1);
                sent(&client, &server, events.fetch_add(1, Relaxed));
                workspace.write("tls/server.pem", &last.0);
            }
            until("the new certificate is shown", || shown(&client, &server) == next);
        }
        // One that does not fit is told, and the one before goes on.
        let (_, key) = authority.sign(&["localhost"]);
        put_key(&workspace, &key);
        until_status(&workspace, "the pair is refused", |status| status["tls"]["events"]["refused"].is_string());
        assert_eq!(shown(&client, &server), of_pem(&last.0));
        put_key(&workspace, &last.1);
        until_status(&workspace, "the pair is right again", |status| status["tls"]["events"]["refused"].is_null());
    });
    let reply = send(&mut before, &server, events.fetch_add(1, Relaxed)).unwrap();
    assert_eq!(reply.code(), "200", "a connection of the first certificate goes on");
    let sent = events.load(Relaxed);
    until_status(&workspace, "all are delivered", |status| status["syncs"]["web-to-warehouse"]["delivered"] == sent);
    let log = server.stop();
    assert!(
        log.contains("cannot be used") && log.contains("server.key") && log.contains("not the key of the certificate"),
        "{log}"
    );
    let secret = last.1.lines().nth(1).unwrap();
    assert!(!log.contains(secret), "the log tells a key");
    let rows = workspace.warehouse().rows("SELECT count(DISTINCT id) FROM tracks");
    assert_eq!(rows, [sent.to_string()]);
    workspace.conserves();
}

#[test]
fn clients_refuse_certificates_that_have_ended_or_are_of_another_name() {
    let authority = TestAuthority::new();
    let (workspace, ca_file) = (workspace(&authority, ""), authority.ca_file());
    let (token, ca) = (workspace.admin_token(), ["--ca-file", ca_file.to_str().unwrap()]);
    put(&workspace, &authority.sign(&["events.example.com"]));
    let server = workspace.serve();
    let (is_listed, said) = list(&server, &token, &ca);
    assert!(!is_listed && said.contains("for another name") && said.contains("events.example.com"), "{said}");
    let ended = |params: &mut CertificateParams| {
        params.not_before = date_time_ymd(2019, 1, 1);
        params.not_after = date_time_ymd(2020, 1, 1);
    };
    let ended = authority.sign_with(&["localhost"], ended);
    // It takes no other's place.
    put(&workspace, &ended);
    until_status(&workspace, "it is refused", |status| status["tls"]["admin"]["refused"].is_string());
    server.stop();
    // Where there is no other the server starts all the same, and says so.
    let server = workspace.serve();
    let (is_listed, said) = list(&server, &token, &ca);
    assert!(!is_listed && said.contains("is not valid") && said.contains("expired"), "{said}");
    let status = workspace.status();
    let warning = status["tls"]["events"]["warning"].as_str().unwrap();
    assert!(warning.contains("has ended") && warning.contains("2020-01-01"), "{status}");
    assert!(server.stop().contains("the TLS certificate has ended"));
}

#[test]
fn a_certificate_that_ends_within_thirty_days_is_told() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "");
    let end = jiff::Timestamp::now().to_zoned(jiff::tz::TimeZone::UTC).date().checked_add(10.days()).unwrap();
    let (year, month, day) = (i32::from(end.year()), end.month().unsigned_abs(), end.day().unsigned_abs());
    put(&workspace, &authority.sign_with(&["localhost"], |params| params.not_after = date_time_ymd(year, month, day)));
    std::fs::set_permissions(workspace.path().join("tls/server.key"), std::fs::Permissions::from_mode(0o644)).unwrap();
    let checked = tidegate().args(["check", workspace.path().to_str().unwrap()]).output().unwrap();
    let notes = said(&checked);
    assert!(checked.status.success() && notes.contains("chmod 600") && notes.contains(&end.to_string()), "{notes}");
    let server = workspace.serve();
    let tls = workspace.status()["tls"]["events"].clone();
    assert_eq!(
        (&tls["names"], &tls["refused"], &tls["asks_clients"]),
        (&json!(["localhost"]), &Value::Null, &json!(false))
    );
    assert!(tls["warning"].as_str().unwrap().contains("ends in 9 days") && tls["days_left"] == 9, "{tls}");
    let printed = tidegate().args(["status", workspace.path().to_str().unwrap()]).output().unwrap();
    assert!(said(&printed).contains("The port admin speaks TLS for localhost"), "{}", said(&printed));
    let log = server.stop();
    assert!(log.contains("the TLS certificate ends soon") && log.contains("chmod 600"), "{log}");
}

#[test]
fn clients_without_a_certificate_are_not_spoken_to_where_one_is_asked_for() {
    let (authority, clients, others) = (TestAuthority::new(), TestAuthority::new(), TestAuthority::new());
    let workspace = workspace(&authority, "");
    let token = workspace.admin_token();
    let asking = "{certificate: tls/server.pem, key: tls/server.key, client_ca: tls/clients.pem}";
    let text = std::fs::read_to_string(workspace.path().join("tidegate.yaml")).unwrap().replace(FILES, asking);
    workspace.write("tidegate.yaml", &text);
    workspace.write("tls/clients.pem", &std::fs::read_to_string(clients.ca_file()).unwrap());
    let server = workspace.serve();
    let (ca_file, own) = (authority.ca_file(), clients.sign(&["robot"]));
    sent(&TlsClient::new(&ca_file, Some(&own)), &server, 1);
    for own in [None, Some(&others.sign(&["robot"]))] {
        let client = TlsClient::new(&ca_file, own);
        // With TLS 1.3 a client hears of it when it reads.
        let answer = client.connect(&server.address).and_then(|mut stream| send(&mut stream, &server, 2));
        assert!(answer.is_err(), "{answer:?}");
    }
    workspace.write("own.pem", &own.0);
    workspace.write("own.key", &own.1);
    let [certificate, key] = ["own.pem", "own.key"].map(|name| workspace.path().join(name).display().to_string());
    let ca = ["--ca-file", ca_file.to_str().unwrap()];
    let shows = ["--client-certificate", &certificate, "--client-key", &key];
    assert!(list(&server, &token, &[ca, [shows[0], shows[1]], [shows[2], shows[3]]].concat()).0);
    let (is_listed, said) = list(&server, &token, &ca);
    assert!(!is_listed && said.contains("asks for a certificate") && said.contains("--client-certificate"), "{said}");
    assert_eq!(workspace.status()["tls"]["admin"]["asks_clients"], true);
    server.stop();
    assert_eq!(workspace.warehouse().count("tracks"), 1);
}

#[test]
fn slow_handshakes_hold_nobody_up_and_have_an_end() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "limits: {handshakes_max: 16, handshake_timeout: 2 s}\n");
    let server = workspace.serve();
    let client = TlsClient::new(&authority.ca_file(), None);
    // Some say nothing, some begin.
    let slow: Vec<TcpStream> = (0..200)
        .map(|n| {
            let mut stream = TcpStream::connect(&server.address).unwrap();
            stream.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
            if n % 2 == 0 {
                // It may be closed already for one that came later.
                let _ = stream.write_all(b"\x16\x03\x01\x02\x00\x01");
            }
            stream
        })
        .collect();
    (0..50).for_each(|n| sent(&client, &server, n));
    for mut stream in slow {
        let ended = stream.read_to_end(&mut Vec::new());
        let is_kept = ended.as_ref().is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        assert!(!is_kept, "the server kept a handshake that has no end");
    }
    (50..60).for_each(|n| sent(&client, &server, n));
    server.stop();
    assert_eq!(workspace.warehouse().count("tracks"), 60);
}

#[test]
fn http_without_tls_is_told_to_use_https() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let body = vec![b'x'; 100_000];
    for address in [&server.address, &server.admin] {
        let reply = request(address, "POST", "/v1/track", &[("authorization", &basic(&server.key))], &body);
        assert_eq!(reply.code(), "400 tls-required");
        assert!(reply.text().contains("this port speaks TLS: use https://"), "{}", reply.text());
    }
    let url = format!("http://{}", server.admin);
    let output = tidegate().args(["function", "list", "--server", &url, "--token", &token]).output().unwrap();
    assert!(!output.status.success() && said(&output).contains("use https://"), "{}", said(&output));
    server.stop();
}

#[test]
fn files_that_cannot_be_used_stop_the_start_and_are_named_with_their_line() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "");
    let (_, other) = authority.sign(&["localhost"]);
    put_key(&workspace, &other);
    for said in [
        workspace.try_serve_with(&[]).err().unwrap(),
        said(&tidegate().args(["check", workspace.path().to_str().unwrap(), "--json"]).output().unwrap()),
    ] {
        for part in ["tidegate.yaml", "`tls.key`", "`admin.tls.key`", "server.key", "not the key of the certificate"] {
            assert!(said.contains(part), "{said} does not say {part}");
        }
        assert!(!said.contains(other.lines().nth(1).unwrap()), "a key is told");
    }
    workspace.write("tidegate.yaml", "tls: {certificate: tls/server.pem}\n");
    let said = workspace.try_serve_with(&[]).err().unwrap();
    assert!(said.contains("`tls.key` is missing"), "{said}");
}

#[test]
fn a_context_keeps_the_authority_and_the_folder_knows_the_scheme() {
    let authority = TestAuthority::new();
    let workspace = workspace(&authority, "");
    put(&workspace, &authority.sign(&["localhost", "127.0.0.1"]));
    let token = workspace.admin_token();
    let server = workspace.serve();
    let home = workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    let (url, ca_file) = (format!("https://localhost:{}", port(&server.admin)), authority.ca_file());
    let (ca, typed) = (ca_file.to_str().unwrap(), format!("{token}\n"));
    let login = commands.json(&["login", "--server", &url, "--token", "--context", "shop", "--ca", ca], &typed);
    assert_eq!(login["context"], "shop");
    assert_eq!(commands.json(&["function", "list", "--server", &url], "")["functions"], json!([]));
    assert_eq!(commands.json(&["context", "show"], "")["ca_file"], ca);
    // The address of the folder is that of the port, which the test has not; what is said shows the scheme.
    let listen = format!("admin: {{listen: \"{}\", tls: {FILES}}}\n", server.admin);
    workspace.write("tidegate.yaml", &listen);
    let folder = workspace.path();
    let reload = ["reload", folder.to_str().unwrap(), "--token", &token, "--ca", ca];
    let output = tidegate().args(reload).env("XDG_CONFIG_HOME", workspace.dir.path().join("nobody")).output().unwrap();
    assert!(output.status.success(), "{}", said(&output));
    server.stop();
}

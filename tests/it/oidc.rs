//! People sign in at a provider of OpenID Connect: a real one, with a real browser, and one that lies.
//!
//! `tests/sdk/setup oidc` installs the provider; where it is not there, the tests say so and are skipped.

use std::io::{BufRead as _, BufReader, Read as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};

use crate::support::admin::Admin;
use crate::support::browser::CookieJar;
use crate::support::home::HomeCommands;
use crate::support::http::request;
use crate::support::{Server, Workspace};

const NONE: Value = Value::Null;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sdk")
}

/// Whether the provider and the browser are there.
fn is_ready() -> bool {
    let output = Command::new(folder().join("setup")).args(["--list", "oidc"]).output().unwrap();
    let is_ready = String::from_utf8_lossy(&output.stdout).contains("oidc-provider");
    if !is_ready {
        println!("skipped: oidc-provider: not installed; `tests/sdk/setup oidc` says why");
    }
    is_ready
}

fn node(script: &str) -> Command {
    let cache = std::env::var_os("TIDEGATE_SDK_CACHE").map_or_else(
        || PathBuf::from(std::env::var_os("HOME").unwrap_or_default()).join(".cache/tidegate/sdk"),
        PathBuf::from,
    );
    let mut command = Command::new("node");
    command.arg(folder().join("oidc").join(script)).env("NODE_PATH", cache.join("oidc/node_modules"));
    for name in ["http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"] {
        command.env_remove(name);
    }
    command
}

/// A provider that runs; killed when dropped.
struct RunningProvider {
    child: Child,
    address: String,
}

impl RunningProvider {
    fn start(mut command: Command) -> Option<Self> {
        let mut child = match command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn() {
            Ok(child) => child,
            Err(error) => {
                println!("skipped: a provider of our own: node: {error}");
                return None;
            }
        };
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        assert!(line.starts_with("http://127.0.0.1:"), "the provider did not start: {line}");
        Some(Self { child, address: line.trim().to_owned() })
    }
}

impl Drop for RunningProvider {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A server whose people sign in at `corp`, with the provider, who is there, and whoever holds the admin token.
struct SignInHouse {
    workspace: Workspace,
    server: Server,
    provider: RunningProvider,
    admin: Admin,
}

impl SignInHouse {
    fn open() -> Option<Self> {
        if !is_ready() {
            return None;
        }
        let workspace = Workspace::new();
        let users = workspace.dir.path().join("users.json");
        std::fs::write(&users, r#"{"alice": ["tidegate-admins", "web"], "bob": ["web"]}"#).unwrap();
        let mut command = node("provider.mjs");
        command.arg(&users);
        let provider = RunningProvider::start(command)?;
        let login = format!(
            "\nlogin:\n  providers:\n    corp:\n      issuer: {}\n      client_id: tidegate\n      client_secret: {{file: client.secret}}\n      \
             scopes: [openid, profile, email, groups]\n      groups: {{tidegate-admins: admins}}\n      create_users: true\n",
            provider.address
        );
        workspace.append("tidegate.yaml", &login);
        workspace.write("client.secret", "the secret of the client\n");
        let token = workspace.admin_token();
        let server = workspace.serve();
        let admin = Admin::new(&server, &token);
        Some(Self { workspace, server, provider, admin })
    }

    /// What a browser saw.
    fn driven(&self, flow: &str, address: &str, user: &str) -> Value {
        let output = node("drive.mjs").args([flow, address, user]).output().unwrap();
        assert!(output.status.success(), "{flow} {user}: {}", String::from_utf8_lossy(&output.stderr));
        serde_json::from_slice(&output.stdout).unwrap()
    }

    fn url(&self) -> String {
        format!("http://{}", self.server.admin)
    }

    fn names(&self, kind: &str) -> Vec<String> {
        let listed = self.admin.get(&format!("/api/v1/objects/{kind}"));
        let objects = listed["objects"].as_array().unwrap().iter();
        objects.map(|object| object["name"].as_str().unwrap().to_owned()).collect()
    }
}

#[test]
fn a_browser_signs_in_at_a_provider_and_gets_the_roles_of_the_groups_that_it_names() {
    let Some(house) = SignInHouse::open() else { return };
    let seen = house.driven("code", &house.url(), "alice");
    let who = &seen["who"];
    assert_eq!((&who["name"], &who["session"], &who["admin"]), (&json!("alice"), &json!(true), &json!(true)), "{seen}");
    assert_eq!((&who["groups"], &who["roles"]), (&json!(["admins"]), &json!({"*": ["admin"]})));
    let cookies = seen["cookies"].as_array().unwrap();
    let session = json!({"name": "tidegate_session", "httpOnly": true, "sameSite": "Lax"});
    assert!(cookies.contains(&session), "{seen}");
    assert!(cookies.iter().all(|cookie| cookie["name"] != "tidegate_login"), "{seen}");
    assert_eq!(seen["created"], 201);
    // The browser sent the cookie along, or it would be 401, and it did not help.
    assert_eq!(seen["foreign"], 403);
    assert_eq!(house.names("lookup"), ["of-own-page"]);
    let end = seen["out"]["end_session_url"].as_str().unwrap();
    assert!(end.starts_with(&format!("{}/session/end?client_id=tidegate", house.provider.address)), "{end}");
    assert_eq!(seen["after"], 401);
    // Somebody who is in none of the groups has no role.
    let seen = house.driven("code", &house.url(), "bob");
    assert_eq!((&seen["who"]["groups"], &seen["who"]["roles"]), (&json!([]), &json!({})));
    assert!(matches!(seen["created"].as_u64(), Some(403 | 404)), "{seen}");
    // Who leaves a group at the provider leaves it here at the next sign-in, and is the same user.
    std::fs::write(house.workspace.dir.path().join("users.json"), r#"{"alice": ["web"]}"#).unwrap();
    let seen = house.driven("code", &house.url(), "alice");
    assert_eq!(seen["who"]["groups"], json!([]));
    assert!(matches!(seen["created"].as_u64(), Some(403 | 404)), "{seen}");
    assert_eq!(house.names("user"), ["admin", "alice", "bob"]);
    let spec = house.admin.get("/api/v1/objects/user/alice")["spec"].clone();
    assert_eq!(spec["identities"], json!([{"issuer": house.provider.address, "subject": "alice"}]));
    assert_eq!(spec["email"], "alice@example.test");
    let entries = house.admin.get("/api/v1/audit?action=signed_in")["entries"].clone();
    let with: Vec<&Value> = entries.as_array().unwrap().iter().map(|entry| &entry["detail"]["with"]).collect();
    assert_eq!(with, [&json!("corp"), &json!("corp"), &json!("corp")]);
    house.server.stop();
}

#[test]
fn a_command_signs_in_by_a_code_that_its_user_types_into_a_browser() {
    let Some(house) = SignInHouse::open() else { return };
    let home = house.workspace.dir.path().join("home");
    let commands = HomeCommands { home: &home };
    // One provider is meant where nothing else is said.
    let mut child = commands.spawn(&["login", "--server", &house.url(), "--json"]);
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    let mut told = String::new();
    let complete = loop {
        let mut line = String::new();
        assert!(stderr.read_line(&mut line).unwrap() > 0, "the command ended: {told}");
        told.push_str(&line);
        if let Some(complete) = line.trim().strip_prefix("or open ") {
            break complete.to_owned();
        }
    };
    assert!(told.contains("and type the code"), "{told}");
    house.driven("device", &complete, "alice");
    let output = child.wait_with_output().unwrap();
    stderr.read_to_string(&mut told).unwrap();
    assert!(output.status.success(), "{told}");
    let said: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(said["user"], "alice");
    assert!(said["expires_at"].is_string(), "{said}");
    commands.json(&["user", "create", "carl"], "");
    assert!(house.names("user").contains(&"carl".to_owned()));
    let tokens = house.admin.get("/api/v1/tokens")["tokens"].clone();
    let of_login = |tokens: &Value| {
        let tokens = tokens.as_array().unwrap().iter();
        tokens
            .filter(|token| token["name"].as_str().unwrap().starts_with("login ") && token["form"] == "person")
            .count()
    };
    assert_eq!(of_login(&tokens), 1, "{tokens}");
    assert_eq!(commands.json(&["logout"], "")["token_ended"], true);
    assert_eq!(of_login(&house.admin.get("/api/v1/tokens")["tokens"]), 0);
    house.server.stop();
}

/// The ways in which the provider lies, with what is said of each.
const LIES: [(&str, &str); 8] = [
    ("wrong-key", "the signature of the ID token is not the provider's"),
    ("no-signature", "is signed with \"none\""),
    ("shared-key", "is signed with \"HS256\""),
    ("expired", "has expired"),
    ("other-nonce", "nonce"),
    ("other-audience", "for another client"),
    ("other-issuer", "of another issuer"),
    ("two-audiences", "azp"),
];

/// Goes to a provider and comes back: the path of the callback.
fn been_at(browser: &mut CookieJar, provider: &str) -> String {
    let start = browser.ask("GET", &format!("/api/v1/login/{provider}"), &NONE);
    assert_eq!(start.status, 303, "{provider}: {}", start.text());
    let to = start.header("location").unwrap().strip_prefix("http://").unwrap().to_owned();
    assert!(to.contains("code_challenge_method=S256") && to.contains("nonce="), "{to}");
    let (address, path) = to.split_once('/').unwrap();
    let back = request(address, "GET", &format!("/{path}"), &[], b"");
    let back = back.header("location").unwrap();
    back.strip_prefix(&format!("http://{}", browser.address)).unwrap_or_else(|| panic!("{back}")).to_owned()
}

#[test]
fn nobody_is_signed_in_by_a_provider_that_lies() {
    let Some(provider) = RunningProvider::start(node("liar.mjs")) else { return };
    let workspace = Workspace::new();
    let mut login = "\nlogin:\n  providers:\n".to_owned();
    let ways = LIES.iter().map(|(way, _)| (*way, *way)).chain([
        ("honest", "honest"),
        ("strict", "honest"),
        ("closed", "honest"),
    ]);
    for (name, way) in ways {
        let more = match name {
            "strict" => "      create_users: true\n      required_claims: {hd: example.com}\n",
            "closed" => "      create_users: false\n",
            _ => "      create_users: true\n      groups: {admins: admins}\n",
        };
        let issuer = format!("{}/{way}", provider.address);
        login += &format!("    {name}:\n      issuer: {issuer}\n      client_id: tidegate\n{more}");
    }
    workspace.append("tidegate.yaml", &login);
    let token = workspace.admin_token();
    let server = workspace.serve();
    let admin = Admin::new(&server, &token);
    let mut browser = CookieJar::new(&server);
    for (way, told) in LIES {
        let back = been_at(&mut browser, way);
        let reply = browser.ask("GET", &back, &NONE);
        assert_eq!(reply.code(), "403 not-signed-in", "{way}: {}", reply.text());
        assert!(reply.json()["detail"].as_str().unwrap().contains(told), "{way}: {}", reply.text());
        assert!(!browser.cookies.contains_key("tidegate_session"), "{way}");
    }
    let back = been_at(&mut browser, "strict");
    let reply = browser.ask("GET", &back, &NONE);
    assert!(reply.json()["detail"].as_str().unwrap().contains("`hd`"), "{}", reply.text());
    let back = been_at(&mut browser, "closed");
    assert_eq!(browser.ask("GET", &back, &NONE).code(), "403 no-such-user");
    let users = admin.get("/api/v1/objects/user");
    assert_eq!(users["objects"].as_array().unwrap().len(), 1, "{users}");
    // An answer is of the sign-in that this browser has begun, and of no other.
    let back = been_at(&mut browser, "honest");
    assert_eq!(CookieJar::new(&server).ask("GET", &back, &NONE).code(), "400 sign-in-over", "another browser");
    let other_state = back.replace("state=", "state=x");
    assert_eq!(browser.ask("GET", &other_state, &NONE).code(), "400 sign-in-over");
    let other_provider = back.replace("/honest/", "/expired/");
    assert_eq!(browser.ask("GET", &other_provider, &NONE).code(), "400 sign-in-over");
    let denied = back.replace("code=", "error=access_denied&x=");
    assert_eq!(browser.ask("GET", &denied, &NONE).code(), "403 not-signed-in");
    let reply = browser.ask("GET", &back, &NONE);
    assert_eq!((reply.status, reply.header("location")), (303, Some("/api/v1/whoami")), "{}", reply.text());
    let who = browser.ask("GET", "/api/v1/whoami", &NONE).json();
    assert_eq!((&who["name"], &who["groups"]), (&json!("mallory"), &json!(["admins"])));
    assert!(!browser.cookies.contains_key("tidegate_login"));
    // Who is known may sign in where nobody is made.
    let back = been_at(&mut browser, "closed");
    assert_eq!(browser.ask("GET", &back, &NONE).status, 303);
    let away = browser.ask("GET", "/api/v1/login/honest?then=//evil.example", &NONE);
    assert_eq!(away.code(), "400 then");
    assert_eq!(
        browser.ask("POST", "/api/v1/login/honest/device", &NONE).code(),
        "403 not-signed-in",
        "it has no device flow"
    );
    let entries = admin.get("/api/v1/audit?action=signed_in&result=denied")["entries"].clone();
    assert_eq!(entries.as_array().unwrap().len(), LIES.len() + 3, "{entries}");
    server.stop();
}

//! Who may do what over HTTP: every operation that the document of a running server has, asked by everybody, held against a committed
//! file. What the requests say comes from the document; a table knows better where a request has to make sense.

use std::fmt::Write as _;

use rusqlite::Connection;
use serde_json::{Value, json};

use super::ApiCaller;
use crate::support::http::{Reply, request};
use crate::support::{Server, Workspace};

/// Who asks, from those who may do nothing to who may do everything: what somebody changes is seen by those after them.
const CALLERS: [&str; 15] = [
    "nobody",
    "revoked",
    "expired",
    "disabled",
    "elsewhere",
    "nothing",
    "creates",
    "views",
    "connects",
    "manages",
    "labelled",
    "viewer",
    "draft-editor",
    "editor",
    "chief",
];
/// Who holds the admin token comes last.
const HOLDER: &str = "holder";
/// Those who are let in nowhere.
const LET_IN_NOWHERE: [&str; 4] = ["nobody", "revoked", "expired", "disabled"];
/// Those who may change nothing in the workspace `default`.
const CHANGES_NOTHING: [&str; 7] = ["nobody", "revoked", "expired", "disabled", "nothing", "views", "viewer"];

/// What is asked about: a word for it, its workspace, its kind and its name. `kept-one` has the label that a role is about.
const TARGETS: [(&str, &str, &str, &str); 4] = [
    ("one", "default", "lookup", "kept-one"),
    ("another", "default", "lookup", "kept-another"),
    ("source", "default", "source", "web"),
    ("far", "elsewhere", "lookup", "kept-far"),
];

/// Names of objects that somebody of another workspace never reads.
const OF_DEFAULT: [&str; 2] = ["kept-one", "kept-another"];

const NO_DRAFT: &str = "drf_00000000000000000000";

/// One operation of the document.
struct DocumentedOperation {
    method: String,
    path: String,
    described: Value,
}

impl DocumentedOperation {
    /// Those below `/api/v1`.
    fn all(document: &Value) -> Vec<Self> {
        let mut found = Vec::new();
        for (path, operations) in document["paths"].as_object().unwrap() {
            if path.starts_with("/api/v1/") {
                found.extend(operations.as_object().unwrap().iter().map(|(method, described)| Self {
                    method: method.to_uppercase(),
                    path: path.clone(),
                    described: described.clone(),
                }));
            }
        }
        // The one makes those who come often wait, the other ends the token that asks.
        found.retain(|one: &Self| !["POST /api/v1/login", "DELETE /api/v1/session"].contains(&one.name().as_str()));
        found.sort_by(|a, b| (&a.path, &a.method).cmp(&(&b.path, &b.method)));
        found
    }

    fn name(&self) -> String {
        format!("{} {}", self.method, self.path)
    }

    /// Whether it is answered to those who are not let in: where people sign in.
    fn is_open(&self) -> bool {
        let security = self.described["security"].as_array();
        let says_so = security.is_some_and(|all| all.is_empty() || all.contains(&json!({})));
        says_so || self.path.starts_with("/api/v1/login")
    }

    /// All targets where the path names an object; else one in each workspace.
    fn targets(&self) -> impl Iterator<Item = &'static (&'static str, &'static str, &'static str, &'static str)> {
        let is_of_kind = self.path.contains("{kind}");
        TARGETS.iter().filter(move |(word, ..)| is_of_kind || matches!(*word, "one" | "far"))
    }

    /// Its path with everything that it names, and its query. A change is a dry run where that can be said.
    fn place(&self, &(_, workspace, kind, name): &(&str, &str, &str, &str)) -> String {
        let steps = self.path.split('/').map(|step| {
            let named = match step.strip_prefix('{').and_then(|step| step.strip_suffix('}')) {
                None => return step.to_owned(),
                Some("kind") => kind,
                Some("name") if self.path.contains("/objects/") => name,
                Some("name") if self.path.contains("/secrets/") => "crm",
                Some("name") if self.path.contains("/drafts/") => NO_DRAFT,
                Some("name") => "web",
                Some("id") => "shop",
                Some("sha256") => return "00".repeat(32),
                Some(_) => "none",
            };
            named.to_owned()
        });
        let path = steps.collect::<Vec<_>>().join("/");
        let mut query = Vec::new();
        for parameter in self.described["parameters"].as_array().into_iter().flatten().filter(|it| it["in"] == "query")
        {
            match parameter["name"].as_str().unwrap() {
                "workspace" => query.push(format!("workspace={workspace}")),
                "dry_run" => query.push("dry_run=true".to_owned()),
                needed if parameter["required"] == true => query.push(format!("{needed}=1")),
                _ => {}
            }
        }
        if query.is_empty() { path } else { format!("{path}?{}", query.join("&")) }
    }

    /// A body that makes sense, for whoever asks as the `at`th.
    fn body(&self, &(word, _, kind, name): &(&str, &str, &str, &str), at: usize, document: &Value) -> Value {
        let spec = if kind == "source" { json!({"kind": "http"}) } else { json!({"kind": "table", "entries": {}}) };
        let object = |name: &str| json!({"name": name, "labels": {"team": "shop"}, "spec": spec});
        let new = format!("new-{at}-{word}");
        match self.name().as_str() {
            "POST /api/v1/objects/{kind}" => object(&new),
            "PUT /api/v1/objects/{kind}/{name}" => object(name),
            "PUT /api/v1/secrets/{name}" => json!({"value": format!("value {at} {word}")}),
            "POST /api/v1/plans" | "POST /api/v1/apply" => json!({"documents": []}),
            "POST /api/v1/promotions" => json!({"from": "default", "to": "elsewhere", "dry_run": true}),
            "POST /api/v1/drafts" => {
                json!({"title": "t", "edits": [{"action": "create", "kind": "lookup", "content": object(&new)}]})
            }
            "POST /api/v1/tokens" => json!({"name": new}),
            "POST /api/v1/audit/verify" => json!({}),
            "POST /api/v1/events/domains" | "POST /api/v1/events/contracts" => json!({"name": new}),
            "PATCH /api/v1/events/domains/{id}" | "PATCH /api/v1/events/contracts/{id}" => {
                json!({"description": format!("by {at}")})
            }
            _ => match &self.described["requestBody"]["content"]["application/json"]["schema"] {
                Value::Null => Value::Null,
                schema => sample(schema, document, 0),
            },
        }
    }
}

/// Something that fits a schema: of an object what it must have.
fn sample(schema: &Value, document: &Value, depth: usize) -> Value {
    if depth > 8 {
        return Value::Null;
    }
    if let Some(pointer) = schema["$ref"].as_str().and_then(|reference| reference.strip_prefix('#')) {
        return sample(document.pointer(pointer).unwrap(), document, depth + 1);
    }
    if let Some(first) = schema["enum"].get(0) {
        return first.clone();
    }
    for choice in ["oneOf", "anyOf", "allOf"] {
        if let Some(first) = schema[choice].get(0) {
            return sample(first, document, depth + 1);
        }
    }
    let kind = schema["type"].as_str().or_else(|| schema["type"].get(0).and_then(Value::as_str));
    match kind {
        Some("string") => json!("a"),
        Some("integer" | "number") => json!(1),
        Some("boolean") => json!(false),
        Some("array") => json!([]),
        Some("null") => Value::Null,
        _ => {
            let needed = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
            needed.map(|name| (name.to_owned(), sample(&schema["properties"][name], document, depth + 1))).collect()
        }
    }
}

/// Everybody's token.
struct MatrixTokens {
    holder: String,
    of: Vec<(&'static str, String)>,
}

/// Makes what is asked about, and everybody who asks.
fn set_up(admin: &ApiCaller) -> MatrixTokens {
    let label = json!({"team": "shop"});
    let mut one = String::new();
    for (_, workspace, kind, name) in TARGETS.iter().filter(|(word, ..)| *word != "source") {
        let labels = if *name == "kept-another" { json!({}) } else { label.clone() };
        let body = json!({"name": name, "labels": labels, "spec": {"kind": "table", "entries": {}}});
        let made = admin.ask("POST", &format!("/api/v1/objects/{kind}?workspace={workspace}"), &body);
        assert_eq!(made.status, 201, "{}", made.text());
        if *name == "kept-one" {
            one = made.json()["objects"][0]["id"].as_str().unwrap().to_owned();
        }
    }
    for workspace in ["default", "elsewhere"] {
        let kept = admin.ask("PUT", &format!("/api/v1/secrets/crm?workspace={workspace}"), &json!({"value": "x"}));
        assert_eq!(kept.status, 200, "{}", kept.text());
        let made =
            admin.ask("POST", &format!("/api/v1/events/domains?workspace={workspace}"), &json!({"name": "Shop"}));
        assert_eq!(made.status, 200, "{}", made.text());
    }
    let web = json!({"name": "web", "spec": {"kind": "http"}});
    let made = admin.ask("POST", "/api/v1/objects/source?workspace=elsewhere", &web);
    assert_eq!(made.status, 201, "{}", made.text());
    let on_one = |level: &str| json!({"access": [{"level": level, "on": {"object": one}}]});
    let roles = [
        ("nothing", json!({})),
        ("creates", json!({"create": ["source"]})),
        ("views", on_one("view")),
        ("connects", on_one("connect")),
        ("manages", on_one("manage")),
        ("labelled", json!({"access": [{"level": "manage", "on": {"label": "team=shop"}}]})),
    ];
    for (name, grants) in &roles {
        admin.made("role", name, grants.clone());
    }
    let mut of = Vec::new();
    for name in CALLERS.into_iter().filter(|name| *name != "nobody") {
        let (workspace, role) = match name {
            "elsewhere" => ("elsewhere", "admin"),
            "revoked" | "expired" | "disabled" => ("default", "editor"),
            "draft-editor" => ("default", "draft_editor"),
            "chief" => ("default", "admin"),
            role => ("default", role),
        };
        let id = admin.made("user", name, json!({}));
        admin.made("group", &format!("group of {name}"), json!({"members": [id], "roles": {workspace: role}}));
        of.push((name, admin.token_of(name, workspace)));
    }
    let revoked = admin.ask("DELETE", "/api/v1/objects/token/of%20revoked", &Value::Null);
    assert_eq!(revoked.status, 200, "{}", revoked.text());
    let disable = json!({"name": "disabled", "spec": {"is_disabled": true}});
    assert_eq!(admin.ask("PUT", "/api/v1/objects/user/disabled", &disable).status, 200);
    MatrixTokens { holder: admin.token.clone(), of }
}

/// Nobody can make a token that ends at once: the catalog is told so while nobody looks.
fn let_expire(workspace: &Workspace) {
    let catalog = Connection::open(workspace.data().join("catalog.db")).unwrap();
    let changed = catalog
        .execute(
            "UPDATE version SET spec = json_set(spec, '$.expires_at_us', 1) WHERE kind = 'token' AND name = 'of expired'",
            [],
        )
        .unwrap();
    assert_eq!(changed, 1);
}

fn ask(server: &Server, token: Option<&str>, (method, path): (&str, &str), body: &Value) -> Reply {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let authorization = token.map(|token| format!("Bearer {token}"));
    let headers: Vec<(&str, &str)> = authorization.iter().map(|value| ("authorization", value.as_str())).collect();
    request(&server.admin, method, path, &headers, body.as_bytes())
}

/// A letter for an answer: not let in, denied, not there, or anything else, which is allowed.
const fn letter(status: u16) -> char {
    match status {
        401 => 'u',
        403 => 'd',
        404 => 'h',
        _ => 'A',
    }
}

/// Rows of the matrix under construction, and what must not be, whatever the committed file says.
#[derive(Default)]
struct MatrixFound {
    /// By operation and target: a letter for each caller.
    rows: Vec<(String, String)>,
    wrong: Vec<String>,
}

impl MatrixFound {
    fn note(&mut self, (operation, word): (&DocumentedOperation, &str), caller: &str, reply: &Reply) {
        let row = format!("{} [{word}]", operation.name());
        match self.rows.iter_mut().find(|(known, _)| *known == row) {
            Some((_, letters)) => letters.push(letter(reply.status)),
            None => self.rows.push((row.clone(), letter(reply.status).to_string())),
        }
        let mut wrong = |what: &str| self.wrong.push(format!("{row} as {caller}: {what}: {}", reply.text()));
        if reply.status >= 500 || reply.status == 0 {
            wrong("the server failed");
        }
        if reply.status == 405 || reply.status == 429 {
            wrong("it was not answered");
        }
        if LET_IN_NOWHERE.contains(&caller) && !operation.is_open() && reply.status != 401 {
            wrong("somebody was let in");
        }
        let is_of_others = caller == "elsewhere" && word != "far";
        let names_nothing = !operation.path.contains("{name}");
        if is_of_others && names_nothing && OF_DEFAULT.iter().any(|name| reply.text().contains(name)) {
            wrong("an object of another workspace is named");
        }
        if is_of_others && !names_nothing && !matches!(reply.status, 401 | 403 | 404) {
            wrong("something of another workspace was answered");
        }
    }

    fn text(&self) -> String {
        let wide = self.rows.iter().map(|(row, _)| row.len()).max().unwrap_or(0);
        let mut text = String::from("# u: not let in, d: denied (403), h: not there (404), A: anything else\n");
        let mut callers = CALLERS.to_vec();
        callers.push(HOLDER);
        for (at, caller) in callers.iter().enumerate() {
            writeln!(text, "# {:wide$} {}{caller}", "", " ".repeat(at)).unwrap();
        }
        for (row, letters) in &self.rows {
            writeln!(text, "{row:wide$}   {letters}").unwrap();
        }
        text
    }
}

#[test]
fn everybody_is_answered_as_the_committed_matrix_says() {
    let workspace = Workspace::new();
    workspace.append("tidegate.yaml", "\nadmin:\n  wrong_tokens_max: 1000000\n");
    let token = workspace.admin_token();
    let server = workspace.serve();
    let tokens = set_up(&ApiCaller::new(&server, &token));
    server.stop();
    let_expire(&workspace);
    let server = workspace.serve();
    let document = ApiCaller::new(&server, &token).get("/api/openapi.json");
    let operations = DocumentedOperation::all(&document);
    assert!(operations.len() >= 31, "the document has lost operations");
    let mut found = MatrixFound::default();
    let callers = CALLERS.into_iter().chain([HOLDER]);
    for (at, caller) in callers.enumerate() {
        let token = if caller == HOLDER {
            Some(tokens.holder.as_str())
        } else {
            tokens.of.iter().find(|(name, _)| *name == caller).map(|(_, token)| token.as_str())
        };
        let revision = workspace.status()["catalog"]["revision"].clone();
        for operation in &operations {
            for target in operation.targets() {
                let body = operation.body(target, at, &document);
                let reply = ask(&server, token, (&operation.method, &operation.place(target)), &body);
                found.note((operation, target.0), caller, &reply);
            }
        }
        let after = workspace.status()["catalog"]["revision"].clone();
        if CHANGES_NOTHING.contains(&caller) && revision != after {
            found.wrong.push(format!("{caller} has changed the catalog: {revision} became {after}"));
        }
    }
    server.stop();
    assert!(found.wrong.is_empty(), "{:#?}", found.wrong);
    let committed_file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/cases/role-matrix.txt");
    let (text, committed) = (found.text(), std::fs::read_to_string(committed_file).unwrap_or_default());
    if text != committed {
        let path = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("role-matrix.txt");
        std::fs::write(&path, &text).unwrap();
        let differs = |line: &&str, other: &str| !other.lines().any(|known| known == *line);
        let gone = committed.lines().filter(|line| differs(line, &text)).map(|line| format!("- {line}"));
        let new = text.lines().filter(|line| differs(line, &committed)).map(|line| format!("+ {line}"));
        let lines: Vec<String> = gone.chain(new).take(40).collect();
        panic!(
            "who may do what differs from cases/role-matrix.txt; what it is now is in {}\n{}",
            path.display(),
            lines.join("\n")
        );
    }
}

#[test]
fn what_may_not_be_viewed_is_answered_as_what_is_not_there() {
    let (_workspace, server, admin) = super::served();
    admin.made("lookup", "kept-one", json!({"kind": "table", "entries": {}}));
    let other = admin.user(&server, "noa", None);
    for (method, below) in [
        ("GET", ""),
        ("PUT", ""),
        ("DELETE", ""),
        ("GET", "/history"),
        ("GET", "/diff"),
        ("GET", "/used-by"),
        ("POST", "/release"),
        ("POST", "/adopt"),
        ("POST", "/pause"),
        ("POST", "/resume"),
        ("POST", "/test"),
    ] {
        let answer = |name: &str| {
            let body = if method == "PUT" { json!({"name": name, "spec": {}}) } else { Value::Null };
            let reply = other.ask(method, &format!("/api/v1/objects/lookup/{name}{below}"), &body);
            (reply.status, reply.json())
        };
        let (hidden, absent) = (answer("kept-one"), answer("kept-none"));
        assert_eq!(hidden, absent, "{method} {below}");
        assert_eq!(hidden.0, 404, "{method} {below}");
    }
    server.stop();
}

//! A schema registry of the tests' own: what Confluent's answers, as far as producers and readers ask.

use std::sync::{Arc, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use super::far::{Act, Far, Received};

#[derive(Default)]
struct RegistryState {
    /// The id of the first is 1: subject, version, and what is answered.
    schemas: Vec<(String, u64, Value)>,
    /// What everybody is answered in the place of an answer: a status, or 0 for no answer at all.
    away: Option<u16>,
    /// As the header has it.
    login: Option<String>,
}

/// A running registry. Its threads end with their connections.
pub struct RegistryDouble {
    far: Far,
    state: Arc<Mutex<RegistryState>>,
}

impl RegistryDouble {
    pub fn new() -> Self {
        let state: Arc<Mutex<RegistryState>> = Arc::default();
        let shared = Arc::clone(&state);
        Self { far: Far::new(move |received| answer(&mut shared.lock().unwrap(), received)), state }
    }

    pub fn url(&self) -> String {
        self.far.origin()
    }

    /// Keeps a schema as the next version of a subject; `kind` is `AVRO`, `PROTOBUF` or `JSON`. Answers its id.
    pub fn add(&self, subject: &str, kind: &str, text: &str, references: Value) -> u64 {
        add(
            &mut self.state.lock().unwrap(),
            subject,
            &json!({"schema": text, "schemaType": kind, "references": references}),
        )
    }

    /// From now on everybody is answered with this status; 0 is no answer at all.
    pub fn go_away(&self, status: u16) {
        self.state.lock().unwrap().away = Some(status);
    }

    pub fn come_back(&self) {
        self.state.lock().unwrap().away = None;
    }

    /// From now on it asks for a user and a password.
    pub fn ask_for(&self, user: &str, password: &str) {
        self.state.lock().unwrap().login = Some(format!("Basic {}", STANDARD.encode(format!("{user}:{password}"))));
    }

    /// How often a schema was asked for by its id.
    pub fn asked(&self) -> usize {
        self.far.seen().iter().filter(|received| received.path.starts_with("/schemas/ids/")).count()
    }
}

fn add(state: &mut RegistryState, subject: &str, schema: &Value) -> u64 {
    let version = 1 + state.schemas.iter().filter(|(known, _, _)| known == subject).count() as u64;
    state.schemas.push((subject.to_owned(), version, schema.clone()));
    state.schemas.len() as u64
}

/// The id of a schema that a subject has already.
fn id_of(state: &RegistryState, subject: &str, schema: &Value) -> Option<u64> {
    let is_same = |(known, _, kept): &(String, u64, Value)| known == subject && kept["schema"] == schema["schema"];
    state.schemas.iter().position(is_same).map(|at| at as u64 + 1)
}

fn reply(status: u16, body: &Value) -> Act {
    let kind = ("content-type", "application/vnd.schemaregistry.v1+json".to_owned());
    Act::Reply(status, vec![kind], body.to_string().into_bytes())
}

fn not_found(code: u64, message: &str) -> Act {
    reply(404, &json!({"error_code": code, "message": message}))
}

fn answer(state: &mut RegistryState, received: &Received) -> Act {
    match state.away {
        Some(0) => return Act::Reset,
        Some(status) => {
            return reply(status, &json!({"error_code": 50001, "message": "Error in the backend data store"}));
        }
        None => {}
    }
    if state.login.as_deref().is_some_and(|login| received.header("authorization") != Some(login)) {
        return reply(401, &json!({"error_code": 40101, "message": "Unauthorized"}));
    }
    let path = received.path.split('?').next().unwrap_or_default();
    let words: Vec<&str> = path.trim_matches('/').split('/').collect();
    match (received.method.as_str(), &words[..]) {
        ("GET", ["schemas", "ids", id]) => {
            let found = id.parse::<usize>().ok().and_then(|id| state.schemas.get(id.checked_sub(1)?));
            found.map_or_else(|| not_found(40403, "Schema not found"), |(_, _, schema)| reply(200, &shown(schema)))
        }
        ("POST", ["subjects", subject, "versions"]) => {
            let schema = received.json();
            let id = id_of(state, subject, &schema).unwrap_or_else(|| add(state, subject, &schema));
            reply(200, &json!({ "id": id }))
        }
        ("POST", ["subjects", subject]) => match id_of(state, subject, &received.json()) {
            Some(id) => reply(200, &json!({"subject": subject, "id": id, "version": 1})),
            None => not_found(40403, "Schema not found"),
        },
        ("GET", ["subjects"]) => {
            let mut names: Vec<&str> = state.schemas.iter().map(|(subject, _, _)| subject.as_str()).collect();
            names.sort_unstable();
            names.dedup();
            reply(200, &json!(names))
        }
        ("GET", ["subjects", subject, "versions", version]) => {
            let mut of_subject = state.schemas.iter().enumerate().filter(|(_, (known, _, _))| known == subject);
            let found = of_subject.rfind(|(_, (_, of, _))| *version == "latest" || version.parse() == Ok(*of));
            found.map_or_else(
                || not_found(40401, "Subject not found"),
                |(at, (_, of, schema))| {
                    let mut body = shown(schema);
                    (body["subject"], body["version"], body["id"]) = (json!(subject), json!(of), json!(at + 1));
                    reply(200, &body)
                },
            )
        }
        _ => not_found(404, "HTTP 404 Not Found"),
    }
}

/// A schema as it is answered: its type is left out where it is Avro, and references where there are none.
fn shown(schema: &Value) -> Value {
    let mut body = json!({"schema": schema["schema"]});
    if let Some(kind) = schema["schemaType"].as_str().filter(|kind| *kind != "AVRO") {
        body["schemaType"] = json!(kind);
    }
    if schema["references"].as_array().is_some_and(|references| !references.is_empty()) {
        body["references"] = schema["references"].clone();
    }
    body
}

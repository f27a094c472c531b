//! `plugin.yaml`, read.

mod authentication;
mod language;

use std::path::Path;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_document::fields::Fields;
use tidegate_document::node::DocumentNode;
use tidegate_document::problem::{NAME_CHARS_MAX, Problem, QUOTED_CHARS_MAX, shortened};
use tidegate_event::digits::Numbers;

use authentication::authentication;
pub use authentication::{Authentication, Digest};
pub use language::Language;

/// The version of `tidegate:plugin` that this host speaks. There is one until 1.0.
pub struct ApiVersion;

impl ApiVersion {
    pub const VERSION: &str = "0.1.0";
}

/// What a plugin is and what it asks for.
#[derive(Debug, Clone, PartialEq)]
pub struct Manifest {
    /// Up to 63 of a-z, 0-9 and `-`.
    pub name: String,
    pub kind: ManifestKind,
    /// The version of `tidegate:plugin` that it was written for.
    pub api: String,
    /// One sentence for people; may be empty.
    pub description: String,
    /// Other names by which `integrations` of an event may know the tool; destinations only.
    pub integrations: Vec<String>,
    /// What `build` drives; `None` for a component that another tool compiled.
    pub language: Option<Language>,
    /// What it is written in, in the author's words.
    pub language_named: Option<String>,
    /// The file that `build` starts from, relative to the manifest; the language's own default when `None`.
    pub entry: Option<String>,
    /// JSON Schema of the settings, an object schema. Properties marked `secret: true` never reach the guest.
    pub settings: Map<String, Value>,
    /// Where it may send; destinations only.
    pub hosts: Vec<HostRule>,
    /// Tables that it wants to look up.
    pub lookups: Vec<String>,
    pub asked: AskedLimits,
    pub batching: Batching,
    /// Destinations only.
    pub authentication: Option<Authentication>,
    pub traffic: Traffic,
    pub retry: Retry,
    pub order: Order,
    /// Whether it has its tool delete people; destinations only.
    pub forget: bool,
}

/// The world that a plugin implements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ManifestKind {
    Transform,
    Fields,
    Destination,
}

impl ManifestKind {
    pub const ALL: [(&str, Self); 3] =
        [("transform", Self::Transform), ("fields", Self::Fields), ("destination", Self::Destination)];

    /// The word in a manifest.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Fields => "fields",
            Self::Destination => "destination",
        }
    }

    /// The world of `wit/plugin.wit`.
    #[must_use]
    pub const fn world(self) -> &'static str {
        match self {
            Self::Transform => "transform",
            Self::Fields => "transform-fields",
            Self::Destination => "destination-plugin",
        }
    }
}

impl Manifest {
    /// What the numbers of an event become in it.
    #[must_use]
    pub const fn numbers(&self) -> Numbers {
        match self.language {
            Some(Language::Js | Language::Ts) => Numbers::Doubles,
            Some(Language::Python) => Numbers::ExactIntegers,
            Some(Language::Rust | Language::Go | Language::C) => Numbers::Exact,
            None => Numbers::Unknown,
        }
    }
}

/// Limits that a plugin asks for; `None` means the host's default.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AskedLimits {
    pub memory_bytes_max: Option<usize>,
    /// CPU time of one batch.
    pub cpu_batch_max: Option<Duration>,
}

/// How events are grouped into calls (and, for destinations, how long they may wait for company).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Batching {
    pub events_max: usize,
    pub bytes_max: usize,
    /// Destinations only: how long an event may wait for others.
    pub age_max: Duration,
}

/// A place that a destination may send to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRule {
    /// `https://api.example.com`, `https://*.example.com:8443`, or `{{settings.NAME}}` for an origin that the owner of
    /// the workspace gives as a setting. Nothing but scheme, host and port.
    pub origin: String,
    /// At least one.
    pub methods: Vec<SigningMethod>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SigningMethod {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

impl SigningMethod {
    pub const ALL: [(&str, Self); 5] = [
        ("get", Self::Get),
        ("post", Self::Post),
        ("put", Self::Put),
        ("patch", Self::Patch),
        ("delete", Self::Delete),
    ];

    /// As in a request line.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// How hard a destination may be driven.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Traffic {
    pub requests_per_second: Option<f64>,
    pub requests_at_once_max: usize,
    /// One request, from the first byte sent to the last byte read.
    pub timeout: Duration,
}

/// What happens to an event that could not be delivered yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Retry {
    /// After this it goes to quarantine.
    pub age_max: Duration,
    pub pause_min: Duration,
    pub pause_max: Duration,
}

/// What must stay in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Nothing: a late event may overtake.
    None,
    /// Events of one user (`userId`, else `anonymousId`): a later one waits for an earlier one that is being retried.
    User,
}

/// Of `language`, which is for people.
const LANGUAGE_BYTES_MAX: usize = 60;

impl Manifest {
    /// Reads a manifest that a component or a request carries.
    ///
    /// # Errors
    /// Every problem at once, bounded as [`Fields`] bounds them.
    pub fn from_json(value: &Value) -> Result<Self, Vec<Problem>> {
        Self::from_document(Path::new(""), &DocumentNode::from_json(value))
    }

    /// Reads a manifest that stands in `file`.
    ///
    /// # Errors
    /// The same, each with its line.
    pub fn from_document(file: &Path, document: &DocumentNode) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        let mut fields = Fields::new(file, document, &mut problems);
        let manifest = read(&mut fields);
        fields.finish();
        match manifest {
            Some(manifest) if problems.is_empty() => Ok(manifest),
            _ => Err(problems),
        }
    }

    /// The world of `wit/plugin.wit` that it implements.
    #[must_use]
    pub const fn world(&self) -> &'static str {
        if self.forget { "forgetting-destination" } else { self.kind.world() }
    }

    /// Names of the settings that are secret.
    pub fn secrets(&self) -> impl Iterator<Item = &str> {
        let properties = self.settings.get("properties").and_then(Value::as_object);
        let secret = |schema: &Value| schema.get("secret") == Some(&Value::Bool(true));
        properties.into_iter().flatten().filter(move |(_, schema)| secret(schema)).map(|(name, _)| name.as_str())
    }

    /// Whether a guest starts a runtime of its own before it sees an event: so does one in a language that nobody here knows.
    #[must_use]
    pub fn starts_a_runtime(&self) -> bool {
        self.language.map_or(self.language_named.is_some(), Language::starts_a_runtime)
    }

    /// Whether a guest carries an interpreter, or may.
    #[must_use]
    pub fn is_interpreted(&self) -> bool {
        self.language.map_or(self.language_named.is_some(), Language::is_interpreted)
    }

    /// Whether `name` is a property of the settings.
    #[must_use]
    pub fn has_setting(&self, name: &str) -> bool {
        self.settings.get("properties").and_then(|properties| properties.get(name)).is_some()
    }
}

fn read(fields: &mut Fields<'_>) -> Option<Manifest> {
    let name = fields.required("name", "my-plugin");
    if let Some(name) = &name
        && (name.is_empty() || name.len() > 63 || !name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-')))
    {
        fields.problem(
            "name",
            format!("{:?} cannot be a name", shortened(name, NAME_CHARS_MAX)),
            "use up to 63 of a-z, 0-9 and -",
        );
    }
    let kind = fields.required("kind", "transform").and_then(|_| fields.word("kind", &ManifestKind::ALL));
    // `0.1` is a number in YAML; what was meant is plain.
    let api = match fields.json("api") {
        None => ApiVersion::VERSION.to_owned(),
        Some(Value::String(text)) => text,
        Some(other) => other.to_string(),
    };
    if api != ApiVersion::VERSION {
        let (api, spoken) = (shortened(&api, NAME_CHARS_MAX), ApiVersion::VERSION);
        let problem = format!("the plugin is written for tidegate:plugin@{api}; this host speaks {spoken}");
        fields.problem(
            "api",
            problem,
            format!("build it against {} and write `api: {}`", ApiVersion::VERSION, ApiVersion::VERSION),
        );
    }
    let description = fields.text("description").unwrap_or_default();
    let language_named = fields.text("language");
    if let Some(named) = language_named.as_ref().filter(|named| named.is_empty() || named.len() > LANGUAGE_BYTES_MAX) {
        let problem = format!("`language` has {} bytes", named.len());
        fields.problem("language", problem, format!("say in 1 to {LANGUAGE_BYTES_MAX} what it is written in"));
    }
    let language = language_named.as_deref().and_then(Language::of);
    let entry = fields.text("entry");
    if let Some(entry) = &entry
        && (entry.starts_with('/') || entry.split(['/', '\\']).any(|part| part == ".."))
    {
        fields.problem("entry", "`entry` leads out of the plugin's folder", "name a file inside it");
    }
    let settings = settings(fields);
    let hosts = hosts(fields);
    let integrations = fields.texts("integrations");
    let lookups = fields.texts("lookups");
    let asked = fields.within("limits", |limits| AskedLimits {
        memory_bytes_max: limits.bytes("memory_bytes_max"),
        cpu_batch_max: limits.duration("cpu_batch_max"),
    });
    let batching = fields.within("batch", batching).unwrap_or_default();
    let authentication = fields.within("authentication", authentication).flatten();
    let traffic = fields.within("traffic", traffic).unwrap_or_else(default_traffic);
    let retry = fields.within("retry", retry).unwrap_or_else(default_retry);
    let order = fields.word("order", &[("none", Order::None), ("user", Order::User)]).unwrap_or(Order::None);
    let forget = fields.flag("forget").unwrap_or(false);
    if kind.is_some_and(|kind| kind != ManifestKind::Destination) {
        for name in ["integrations", "hosts", "authentication", "traffic", "retry", "order", "forget"] {
            if fields.has(name) {
                fields.problem(name, format!("`{name}` is for destinations alone"), "take it away");
            }
        }
    }
    let manifest = Manifest {
        name: name?,
        kind: kind?,
        api,
        description,
        integrations,
        language,
        language_named,
        entry,
        settings,
        hosts,
        lookups,
        asked: asked.unwrap_or_default(),
        batching,
        authentication,
        traffic,
        retry,
        order,
        forget,
    };
    check(fields, &manifest);
    Some(manifest)
}

/// What concerns several fields.
fn check(fields: &mut Fields<'_>, manifest: &Manifest) {
    if manifest.kind == ManifestKind::Destination && manifest.hosts.is_empty() && !fields.has("hosts") {
        fields.problem(
            "hosts",
            "a destination without `hosts` can send nothing",
            "add `hosts: [https://api.example.com]`",
        );
    }
    if manifest.kind != ManifestKind::Destination
        && let Some(secret) = manifest.secrets().next()
    {
        let place = format!("settings.properties.{secret}");
        let problem = format!("`{place}` is secret, but only a destination can use a secret");
        fields.problem("settings", problem, "take `secret: true` away");
    }
    if manifest.forget && matches!(manifest.language, Some(Language::Go | Language::C)) {
        let problem =
            "`forget` is for plugins in Rust, JavaScript, TypeScript and Python, and for components of other tools";
        fields.problem("forget", problem, "take it away, or write the plugin in one of these");
    }
    let named: Vec<&String> = match &manifest.authentication {
        None => Vec::new(),
        Some(
            Authentication::ApiKey { secret, .. }
            | Authentication::Bearer { secret }
            | Authentication::Hmac { secret, .. },
        ) => {
            vec![secret]
        }
        Some(Authentication::Basic { user, password }) => std::iter::once(user).chain(password).collect(),
        Some(Authentication::OAuth2 { client_id, client_secret, .. }) => vec![client_id, client_secret],
    };
    for name in named {
        if !manifest.has_setting(name) {
            let problem = format!("`authentication` names the setting {name:?}, which `settings` does not have");
            fields.problem("authentication", problem, "add it under `settings.properties`, with `secret: true`");
        }
    }
}

fn settings(fields: &mut Fields<'_>) -> Map<String, Value> {
    let empty = || {
        let mut schema = Map::new();
        schema.insert("type".to_owned(), "object".into());
        schema.insert("additionalProperties".to_owned(), false.into());
        schema
    };
    let schema = match fields.json("settings") {
        None => return empty(),
        Some(schema @ Value::Object(_)) => schema,
        Some(_) => {
            let fix = "write `settings: {type: object, properties: {...}}`";
            fields.problem("settings", "`settings` is no JSON Schema", fix);
            return empty();
        }
    };
    if schema.get("type").and_then(Value::as_str) != Some("object") {
        fields.problem("settings", "`settings` must describe an object", "add `type: object`");
    }
    // What is refused here would fail later where nobody looks; remote references are refused with it.
    if let Err(error) = jsonschema::validator_for(&schema) {
        let error = shortened(&error.to_string(), QUOTED_CHARS_MAX);
        let message = format!("`settings` is no valid JSON Schema: {error}");
        fields.problem("settings", message, "see https://json-schema.org");
    }
    match schema {
        Value::Object(schema) => schema,
        _ => empty(),
    }
}

fn hosts(fields: &mut Fields<'_>) -> Vec<HostRule> {
    let mut rules = Vec::new();
    for item in fields.list("hosts") {
        let rule = item.to_json();
        let (origin, methods) = match &rule {
            Value::String(origin) => (Some(origin.clone()), vec![SigningMethod::Post]),
            Value::Object(rule) => {
                let unknown = rule.keys().any(|key| key != "origin" && key != "methods");
                let methods: Option<Vec<SigningMethod>> =
                    rule.get("methods").and_then(Value::as_array).map_or(Some(vec![SigningMethod::Post]), |words| {
                        let method = |word: &Value| {
                            let word = word.as_str()?.to_ascii_lowercase();
                            SigningMethod::ALL.iter().find(|(name, _)| *name == word).map(|(_, method)| *method)
                        };
                        words.iter().map(method).collect()
                    });
                let origin = rule.get("origin").and_then(Value::as_str).map(str::to_owned);
                (origin.filter(|_| !unknown), methods.unwrap_or_default())
            }
            _ => (None, Vec::new()),
        };
        match origin {
            Some(origin) if is_origin(&origin) && !methods.is_empty() => rules.push(HostRule { origin, methods }),
            _ => {
                let rule = shortened(&rule.to_string(), QUOTED_CHARS_MAX);
                let message = format!("`hosts` has {rule}, which is no place to send to");
                let fix =
                    "write `- origin: https://api.example.com` and `  methods: [post]`; only scheme, host and port";
                fields.problem_at("hosts", item.line, message, fix);
            }
        }
    }
    rules
}

/// Scheme, host and port and nothing else; or a setting that holds such.
fn is_origin(text: &str) -> bool {
    if let Some(name) = text.strip_prefix("{{settings.").and_then(|rest| rest.strip_suffix("}}")) {
        return !name.is_empty();
    }
    let Some(rest) = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")) else { return false };
    let (host, port) = rest.rsplit_once(':').map_or((rest, None), |(host, port)| (host, Some(port)));
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let name = host.strip_prefix("*.").unwrap_or(host);
    let named = !name.is_empty() && name.contains('.') | (name == "localhost") && name.bytes().all(fits);
    named && port.is_none_or(|port| port.parse::<u16>().is_ok_and(|port| port > 0))
}

impl Default for Batching {
    fn default() -> Self {
        Self { events_max: 500, bytes_max: 4 << 20, age_max: Duration::from_secs(1) }
    }
}

fn batching(fields: &mut Fields<'_>) -> Batching {
    let default = Batching::default();
    Batching {
        events_max: fields.number_up_to("events_max", 1, 10_000).unwrap_or(default.events_max),
        bytes_max: fields.bytes("bytes_max").unwrap_or(default.bytes_max),
        age_max: fields.duration("age_max").unwrap_or(default.age_max),
    }
}

fn default_traffic() -> Traffic {
    Traffic { requests_per_second: None, requests_at_once_max: 4, timeout: Duration::from_secs(30) }
}

fn traffic(fields: &mut Fields<'_>) -> Traffic {
    let default = default_traffic();
    let at_once = fields.number_up_to("requests_at_once_max", 1, 256);
    Traffic {
        requests_per_second: fields.rate("requests_per_second"),
        requests_at_once_max: at_once.unwrap_or(default.requests_at_once_max),
        timeout: fields.duration("timeout").unwrap_or(default.timeout),
    }
}

fn default_retry() -> Retry {
    Retry {
        age_max: Duration::from_secs(24 * 3600),
        pause_min: Duration::from_secs(1),
        pause_max: Duration::from_secs(15 * 60),
    }
}

fn retry(fields: &mut Fields<'_>) -> Retry {
    let default = default_retry();
    let retry = Retry {
        age_max: fields.duration("age_max").unwrap_or(default.age_max),
        pause_min: fields.duration("pause_min").unwrap_or(default.pause_min),
        pause_max: fields.duration("pause_max").unwrap_or(default.pause_max),
    };
    if retry.pause_min > retry.pause_max {
        fields.problem("pause_min", "`retry.pause_min` is longer than `retry.pause_max`", "make it shorter");
    }
    retry
}

#[cfg(test)]
mod tests;

//! A registry over HTTP, bounded in time and bytes.

use std::fmt;
use std::time::Duration;

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};
use tidegate_message::{
    SCHEMA_BYTES_MAX, SchemaFetchError, SchemaId, SchemaKind, SchemaReference, SchemaRegistry, SchemaReply, SchemaText,
};
use url::Url;

use super::settings::{RegistryLogin, SchemaRegistrySettings};

const CONNECT_TIME_MAX: Duration = Duration::from_secs(5);
const EXCHANGE_TIME_MAX: Duration = Duration::from_secs(10);
/// A schema as text of JSON is longer than it is, and has its name and references around it.
const ANSWER_BYTES_MAX: usize = 3 * SCHEMA_BYTES_MAX;
const SHOWN_CHARS_MAX: usize = 200;
const ACCEPT: &str = "application/vnd.schemaregistry.v1+json, application/json";
const SENT: &str = "application/vnd.schemaregistry.v1+json";
/// Of a 404: what is asked for is not there. Servers of something else do not say so.
const NOT_THERE: std::ops::RangeInclusive<i64> = 40_400..=40_499;

/// A registry that speaks Confluent's HTTP API.
pub(super) struct HttpSchemaRegistry {
    client: Client,
    base: Url,
    login: RegistryLogin,
}

impl fmt::Debug for HttpSchemaRegistry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSchemaRegistry").field("base", &self.base.as_str()).finish_non_exhaustive()
    }
}

impl HttpSchemaRegistry {
    /// Makes a client; connects to nothing yet.
    pub(super) fn new(settings: &SchemaRegistrySettings) -> Result<Self, SchemaFetchError> {
        let refused = |reason: String| SchemaFetchError::Refused {
            reason: format!("the client for the schema registry cannot be set up: {reason}"),
            advice: "look at `ca_file` and `proxy` of `schema_registry`".to_owned(),
        };
        let builder = settings.web.client().map_err(|error| refused(error.to_string()))?;
        let client = builder
            .connect_timeout(CONNECT_TIME_MAX)
            .timeout(EXCHANGE_TIME_MAX)
            .build()
            .map_err(|error| refused(error.to_string()))?;
        Ok(Self { client, base: settings.url.clone(), login: settings.login.clone() })
    }

    fn url(&self, path: &[&str]) -> Url {
        let mut url = self.base.clone();
        if let Ok(mut segments) = url.path_segments_mut() {
            segments.pop_if_empty().extend(path);
        }
        url
    }

    async fn get(&self, path: &[&str], query: Option<&str>) -> Result<Value, SchemaFetchError> {
        let mut url = self.url(path);
        url.set_query(query);
        self.exchange(self.client.get(url)).await
    }

    /// The id of a schema of Avro under a subject. It is registered there if it is not yet, where `registers` says so.
    pub(super) async fn id_of(
        &self,
        subject: &str,
        schema_text: &str,
        registers: bool,
    ) -> Result<SchemaId, SchemaFetchError> {
        let versions = ["subjects", subject, "versions"];
        let path = if registers { &versions[..] } else { &versions[..2] };
        // Where no type is said it is Avro, also for registries that know no other.
        let body = json!({ "schema": schema_text }).to_string();
        let request = self.client.post(self.url(path)).header("Content-Type", SENT).body(body);
        let answer = self.exchange(request).await?;
        let id = answer.get("id").and_then(Value::as_u64).and_then(|id| u32::try_from(id).ok());
        id.map(SchemaId).ok_or_else(|| self.away("answers without the id of the schema".to_owned()))
    }

    async fn exchange(&self, request: RequestBuilder) -> Result<Value, SchemaFetchError> {
        let request = request.header("Accept", ACCEPT);
        let request = match &self.login {
            RegistryLogin::Open => request,
            RegistryLogin::Basic { user, password } => request.basic_auth(user, Some(password)),
            RegistryLogin::Bearer(token) => request.bearer_auth(token),
        };
        let away = |error: reqwest::Error| self.away(format!("cannot be reached: {}", innermost(&error.without_url())));
        let mut response = request.send().await.map_err(away)?;
        let status = response.status().as_u16();
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(away)? {
            if bytes.len() + chunk.len() > ANSWER_BYTES_MAX {
                let place = self.place();
                let reason = format!("the answer of the {place} is longer than {ANSWER_BYTES_MAX} bytes");
                return Err(SchemaFetchError::Unusable(reason));
            }
            bytes.extend_from_slice(&chunk);
        }
        self.judged(status, serde_json::from_slice(&bytes).ok())
    }

    /// What an answer says.
    fn judged(&self, status: u16, body: Option<Value>) -> Result<Value, SchemaFetchError> {
        let code = body.as_ref().and_then(|body| body.get("error_code")?.as_i64());
        let message = body.as_ref().and_then(|body| body.get("message")?.as_str()).map(shown);
        let said = message.map_or_else(String::new, |message| format!(": {message}"));
        match (status, body) {
            (200, Some(body)) => Ok(body),
            (200, None) => Err(self.away("answers something else than JSON".to_owned())),
            (401 | 403, _) => Err(SchemaFetchError::Refused {
                reason: format!("the {} answers {status}{said}", self.place()),
                advice: "look at `user` and `password`, or `token`, of `schema_registry`".to_owned(),
            }),
            (404, _) if code.is_some_and(|code| NOT_THERE.contains(&code)) => {
                Err(SchemaFetchError::Unusable(format!("the {} does not have it{said}", self.place())))
            }
            // A version that does not go with those before it, or nothing that it takes for a schema.
            (409 | 422, _) => Err(SchemaFetchError::Unusable(format!("the {} refuses it{said}", self.place()))),
            (404, _) => {
                Err(self.away("answers 404 as a server does that is no schema registry; look at its `url`".to_owned()))
            }
            _ => Err(self.away(format!("answers {status}{said}"))),
        }
    }

    fn away(&self, what: String) -> SchemaFetchError {
        SchemaFetchError::Away(format!("the {} {what}", self.place()))
    }
}

impl SchemaRegistry for HttpSchemaRegistry {
    fn place(&self) -> String {
        format!("schema registry at {}", self.base)
    }

    fn schema(&self, id: SchemaId) -> SchemaReply<'_, SchemaText> {
        Box::pin(async move {
            let answer = self.get(&["schemas", "ids", &id.to_string()], None).await?;
            schema_text(&answer).map_err(SchemaFetchError::Unusable)
        })
    }

    fn referenced<'a>(&'a self, reference: &'a SchemaReference) -> SchemaReply<'a, SchemaText> {
        Box::pin(async move {
            let SchemaReference { name, subject, version } = reference;
            // Those that nothing may be written by any more are there for what was.
            let version = version.to_string();
            let path: [&str; 4] = ["subjects", subject, "versions", &version];
            let answer = self.get(&path, Some("deleted=true")).await;
            let about = |reason: String| format!("what it refers to as {}: {reason}", shown(name));
            match answer {
                Ok(answer) => schema_text(&answer).map_err(|reason| SchemaFetchError::Unusable(about(reason))),
                Err(SchemaFetchError::Unusable(reason)) => Err(SchemaFetchError::Unusable(about(reason))),
                Err(other) => Err(other),
            }
        })
    }

    fn check(&self) -> SchemaReply<'_, Vec<String>> {
        Box::pin(async move {
            let answer = self.get(&["subjects"], None).await?;
            let subjects = answer.as_array().map(Vec::len);
            let subjects = subjects.ok_or_else(|| self.away("answers no list of subjects".to_owned()))?;
            Ok(vec![format!("the {} answers and has {subjects} subjects", self.place())])
        })
    }
}

/// A schema as a registry answers it.
fn schema_text(answer: &Value) -> Result<SchemaText, String> {
    let text = answer.get("schema").and_then(Value::as_str).ok_or("the registry gave no `schema`")?;
    if text.len() > SCHEMA_BYTES_MAX {
        return Err(format!("it has {} bytes, and no more than {SCHEMA_BYTES_MAX} are read", text.len()));
    }
    // Where nothing is said it is Avro, which registries knew first.
    let word = answer.get("schemaType").and_then(Value::as_str).unwrap_or("AVRO");
    let kind = SchemaKind::WORDS.iter().find(|(known, _)| known.eq_ignore_ascii_case(word)).map(|(_, kind)| *kind);
    let kind = kind.ok_or_else(|| format!("it is of the type {:?}, which is not known", shown(word)))?;
    let mut references = Vec::new();
    for reference in answer.get("references").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default() {
        let field = |name: &str| reference.get(name).and_then(Value::as_str).map(str::to_owned);
        let version = reference.get("version").and_then(Value::as_u64).and_then(|number| u32::try_from(number).ok());
        match (field("name"), field("subject"), version) {
            (Some(name), Some(subject), Some(version)) => references.push(SchemaReference { name, subject, version }),
            _ => return Err("the registry gave a reference without name, subject or version".to_owned()),
        }
    }
    Ok(SchemaText { kind, text: text.to_owned(), references })
}

/// A text of a registry as messages may repeat it.
fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

/// What wraps the first cause says little.
fn innermost(error: &(dyn std::error::Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

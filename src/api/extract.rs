//! What handlers take from a request: the name in its path, its query, its body. Everything is bounded and typed, and what
//! does not fit is refused in a sentence that names the field.

use std::sync::Arc;

use axum::extract::{FromRequest, FromRequestParts, RawPathParams, Request};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt as _;
use hyper::StatusCode;
use hyper::body::Body as _;
use hyper::http::request::Parts;
use serde::de::DeserializeOwned;

use super::SharedApi;
use super::refusal::ApiRefusal;

/// How a name in a path is described.
#[derive(utoipa::IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "it stands for `Name` in the document")]
pub(super) struct NameInPath {
    #[param(pattern = "^[a-z0-9-]{1,63}$")]
    name: String,
}

/// The parameter of a path: a name of the workspace, or an id.
pub(super) struct Name(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Name {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        let name = params.iter().next().map(|(_, value)| value).unwrap_or_default();
        let fits = |b: u8| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'-');
        if name.is_empty() || name.len() > 63 || !name.bytes().all(fits) {
            return Err(ApiRefusal::name(format!("{name:?} is not a name")));
        }
        Ok(Self(name.to_owned()))
    }
}

/// The parameter of a path as it is: whoever looks it up says whether there is such a thing.
pub(super) struct IdInPath(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for IdInPath {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiRefusal> {
        let params = RawPathParams::from_request_parts(parts, state).await.map_err(|_| ApiRefusal::not_found())?;
        Ok(Self(params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default()))
    }
}

/// The part behind `?`.
pub(super) struct Query<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Query<T> {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiRefusal> {
        let pairs = url::form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes());
        let query = serde_urlencoded::Deserializer::new(pairs);
        serde_path_to_error::deserialize(query).map(Self).map_err(|error| {
            let (field, reason) = (error.path().to_string(), error.into_inner());
            let detail = format!("the query does not fit: {}", at(&field, &reason));
            ApiRefusal::bad(code(&field, "query"), detail, "see docs/admin-api.md for what it takes")
        })
    }
}

/// A JSON body; none at all counts as `{}`.
pub(super) struct Json<T>(pub(super) T);

impl<T: DeserializeOwned> FromRequest<Arc<SharedApi>> for Json<T> {
    type Rejection = ApiRefusal;

    async fn from_request(request: Request, shared: &Arc<SharedApi>) -> Result<Self, ApiRefusal> {
        let bytes = body(shared, request, shared.settings.limits.json_bytes_max, "a JSON body").await?;
        parsed(&bytes).map(Self)
    }
}

/// A JSON body as what it should be; none at all counts as `{}`.
pub(super) fn parsed<T: DeserializeOwned>(bytes: &Bytes) -> Result<T, ApiRefusal> {
    let bytes = if bytes.is_empty() { &b"{}"[..] } else { &bytes[..] };
    // First whether it is JSON at all: the sentence about a field would name the wrong thing.
    let value: serde_json::Value = serde_json::from_slice(bytes)
        .map_err(|error| ApiRefusal::bad("json", format!("the body is not JSON: {error}"), "send a JSON object"))?;
    if !value.is_object() {
        return Err(ApiRefusal::bad("json", "the body is no object", "send a JSON object"));
    }
    serde_path_to_error::deserialize(value).map_err(|error| {
        let (field, reason) = (error.path().to_string(), error.into_inner());
        let detail = format!("the body does not fit: {}", at(&field, &reason));
        let refusal = ApiRefusal::bad(code(&field, "body"), detail, "see docs/admin-api.md for what it takes");
        if is_field(&field) { refusal.in_field(field) } else { refusal }
    })
}

fn at(field: &str, reason: &dyn std::fmt::Display) -> String {
    let reason = without_text(&reason.to_string());
    if is_field(field) { format!("`{field}`: {reason}") } else { reason }
}

/// A reason without the text that was sent: it may be a secret that stands in the wrong field.
pub(super) fn without_text(reason: &str) -> String {
    for (before_text, after_text, instead) in
        [("string \"", "\", expected", "a text"), ("unknown variant `", "`, expected", "an unknown word")]
    {
        let parts = reason.split_once(before_text);
        if let Some((before, (_, after))) =
            parts.and_then(|(before, rest)| Some((before, rest.rsplit_once(after_text)?)))
        {
            return format!("{before}{instead}, expected{after}");
        }
    }
    reason.to_owned()
}

/// Whether a path names a field, and not the whole.
fn is_field(path: &str) -> bool {
    !matches!(path, "." | "?" | "")
}

/// The fields of requests whose names are codes of refusals as well.
fn code(field: &str, otherwise: &'static str) -> &'static str {
    let known =
        ["sha256", "settings", "share", "shadow", "source", "force", "off", "level", "limit", "wait_ms", "from"];
    known.into_iter().find(|known| *known == field).unwrap_or(otherwise)
}

/// Reads a body of at most `bytes_max` bytes; `what` names it in refusals.
pub(super) async fn body(
    shared: &SharedApi,
    request: Request,
    bytes_max: usize,
    what: &str,
) -> Result<Bytes, ApiRefusal> {
    let too_large = || {
        let detail = format!("{what} may have {bytes_max} bytes at most");
        ApiRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, "make it smaller")
    };
    let mut body = request.into_body();
    if body.size_hint().lower() > bytes_max as u64 {
        return Err(too_large());
    }
    let collect = async {
        let mut bytes = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let broken = |_| ApiRefusal::bad("broken-body", "the connection broke off in the body", "send it again");
            let Ok(data) = frame.map_err(broken)?.into_data() else { continue };
            if bytes.len() + data.len() > bytes_max {
                return Err(too_large());
            }
            bytes.extend_from_slice(&data);
        }
        Ok(bytes.freeze())
    };
    tokio::time::timeout(shared.settings.limits.body_timeout, collect)
        .await
        .unwrap_or_else(|_| Err(ApiRefusal::too_slow()))
}

/// Runs what waits for a disk or a compiler away from the threads that serve.
pub(super) async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, ApiRefusal> {
    tokio::task::spawn_blocking(work).await.map_err(|error| ApiRefusal::failed("the request broke off", &error))
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[serde(rename_all = "lowercase")]
    enum Word {
        One,
        Two,
    }

    #[test]
    fn what_was_sent_in_the_wrong_field_is_not_said_again() {
        let secret = "hunter2\", expected `hunter2`, expected";
        let value = serde_json::Value::from(secret);
        let number = u64::deserialize(&value).unwrap_err().to_string();
        let Err(word) = Word::deserialize(&value) else { panic!("it is no word") };
        assert_eq!(without_text(&number), "invalid type: a text, expected u64");
        assert_eq!(without_text(&word.to_string()), "an unknown word, expected `one` or `two`");
        assert!(matches!(Word::deserialize(serde_json::json!("two")), Ok(Word::Two)));
        assert!(matches!(Word::deserialize(serde_json::json!("one")), Ok(Word::One)));
        assert_eq!(without_text("missing field `name`"), "missing field `name`");
    }
}

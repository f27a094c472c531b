//! Replies of the admin API.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use serde_json::{Value, json};
use tidegate_registry::Error;

use super::access::Stranger;

pub(super) use tidegate_net::Reply;

/// What there is to say.
#[derive(Debug)]
pub(super) struct Answer {
    status: StatusCode,
    body: Value,
    retry_after: Option<Duration>,
}

impl Answer {
    pub(super) fn ok(body: Value) -> Self {
        Self { status: StatusCode::OK, body, retry_after: None }
    }

    /// It was taken, and will be done.
    pub(super) fn accepted(body: Value) -> Self {
        Self { status: StatusCode::ACCEPTED, body, retry_after: None }
    }

    pub(super) fn error(status: StatusCode, code: &str, message: impl Into<String>, fix: &str) -> Self {
        let body = json!({"error": {"code": code, "message": message.into(), "fix": fix}});
        Self { status, body, retry_after: None }
    }

    pub(super) fn bad(code: &str, message: impl Into<String>, fix: &str) -> Self {
        Self::error(StatusCode::BAD_REQUEST, code, message, fix)
    }

    pub(super) fn forbidden() -> Self {
        Self::error(StatusCode::FORBIDDEN, "forbidden", "this token may not do that", "ask for a token that may")
    }

    pub(super) fn not_found(message: impl Into<String>) -> Self {
        Self::error(StatusCode::NOT_FOUND, "not-found", message, "see docs/admin-api.md for what there is")
    }

    /// Something here failed; the details are in the log.
    pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %error, "{what}");
        let message = format!("{what}: {error}");
        Self::error(StatusCode::INTERNAL_SERVER_ERROR, "failed", message, "the server's log says more")
    }

    fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }

    pub(super) fn into_reply(self) -> Reply {
        let mut reply = Response::new(Full::new(Bytes::from(self.body.to_string())));
        *reply.status_mut() = self.status;
        let headers = reply.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        reply
    }
}

impl From<Stranger> for Answer {
    fn from(stranger: Stranger) -> Self {
        let unknown = |code, message| {
            let fix = "send `Authorization: Bearer <the admin token>`; `tidegate admin token --reset` makes a new one";
            Self::error(StatusCode::UNAUTHORIZED, code, message, fix)
        };
        match stranger {
            Stranger::NoToken => unknown("no-token", "the request has no admin token"),
            Stranger::WrongToken => unknown("wrong-token", "the admin token is wrong"),
            Stranger::TooOften(wait) => Self::error(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-wrong-tokens",
                "there were too many wrong admin tokens from this address in the last minute",
                "send the right one, which always works, or wait",
            )
            .after(wait),
            Stranger::NoHash => Self::error(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-token-made",
                "the server has no readable admin.json in its data directory",
                "run `tidegate admin token --reset`",
            ),
        }
    }
}

impl From<Error> for Answer {
    fn from(error: Error) -> Self {
        let message = error.to_string();
        let (status, code, fix) = match &error {
            Error::Busy { .. } => (StatusCode::SERVICE_UNAVAILABLE, "too-busy", "send it again after Retry-After"),
            Error::Full { .. } => (StatusCode::INSUFFICIENT_STORAGE, "store-full", "remove versions that nobody needs"),
            Error::NoSuchName { .. } => (StatusCode::NOT_FOUND, "no-such-name", "push a version of it first"),
            Error::NoSuchVersion { .. } => (StatusCode::NOT_FOUND, "no-such-version", "use a sha256 of its versions"),
            Error::NoPrevious { .. } => (StatusCode::CONFLICT, "no-previous", "make the version live that you want"),
            Error::NotGranted { .. } => {
                let fix = "write that into its file under destinations/ and start the server again";
                (StatusCode::UNPROCESSABLE_ENTITY, "not-granted", fix)
            }
            Error::NotLive { .. } => (StatusCode::CONFLICT, "not-live", "make a version live first"),
            Error::NotAttached { .. } => (StatusCode::CONFLICT, "not-attached", "name a source that it is attached to"),
            Error::AlreadyLive => (StatusCode::CONFLICT, "already-live", "try another version"),
            Error::Settings { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "settings", "send settings that fit `settings` of its plugin.yaml")
            }
            Error::Share => (StatusCode::BAD_REQUEST, "share", "send a number from 1 to 99"),
            Error::File { .. }
            | Error::Damaged { .. }
            | Error::Newer { .. }
            | Error::Engine(_)
            | Error::Load(_)
            | Error::Compile(_) => {
                return Self::failed("the store could not do it", &error);
            }
        };
        let answer = Self::error(status, code, message, fix);
        if matches!(error, Error::Busy { .. }) { answer.after(Duration::from_secs(5)) } else { answer }
    }
}

//! Refusals of the admin API.

use std::time::Duration;

use axum::response::IntoResponse;
use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{Response, StatusCode};
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_registry::RegistryError;

use super::access::AuthError;

/// What a program is told that may not do something.
pub const TOKEN_MAY_NOT: &str = "this token may not do that";

/// Why something is not done, for whoever asked.
#[derive(Debug)]
pub(super) struct ApiRefusal {
    status: StatusCode,
    code: &'static str,
    detail: String,
    fix: String,
    problems: Box<[WorkspaceProblem]>,
    field: Option<Box<str>>,
    retry_after: Option<Duration>,
}

impl ApiRefusal {
    pub(super) fn new(
        status: StatusCode,
        code: &'static str,
        detail: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            status,
            code,
            detail: detail.into(),
            fix: fix.into(),
            problems: Box::default(),
            field: None,
            retry_after: None,
        }
    }

    pub(super) fn bad(code: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, code, detail, fix)
    }

    /// A name in a path that is none.
    pub(super) fn name(detail: impl Into<String>) -> Self {
        Self::bad("name", detail, "use up to 63 of a-z, 0-9 and -")
    }

    pub(super) fn unprocessable(code: &'static str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::new(StatusCode::UNPROCESSABLE_ENTITY, code, detail, fix)
    }

    pub(super) fn session_over() -> Self {
        let detail = "the session is over";
        Self::new(StatusCode::UNAUTHORIZED, "session-over", detail, "sign in again: POST /api/v1/login")
    }

    pub(super) fn forbidden() -> Self {
        Self::new(StatusCode::FORBIDDEN, "forbidden", TOKEN_MAY_NOT, "ask for a token that may")
    }

    pub(super) fn not_found() -> Self {
        let fix = "see docs/admin-api.md or /api/openapi.json for what there is";
        Self::new(StatusCode::NOT_FOUND, "not-found", "there is no such path", fix)
    }

    pub(super) fn wrong_method() -> Self {
        let fix = "the header Allow says which it takes; see docs/admin-api.md";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", "this path does not take this method", fix)
    }

    pub(super) fn too_slow() -> Self {
        Self::new(StatusCode::REQUEST_TIMEOUT, "body-timeout", "the body came too slowly", "send it again")
    }

    /// Something here failed; the details are in the log.
    pub(super) fn failed(what: &str, error: &dyn std::fmt::Display) -> Self {
        tracing::error!(error = %error, "{what}");
        let detail = format!("{what}: {error}");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", detail, "the server's log says more")
    }

    /// Each of these is in the way.
    pub(super) fn with_problems(self, problems: Vec<WorkspaceProblem>) -> Self {
        Self { problems: problems.into(), ..self }
    }

    /// Names the field of the request that it is about.
    pub(super) fn in_field(self, field: impl Into<String>) -> Self {
        Self { field: Some(field.into().into()), ..self }
    }

    /// HTTP's status.
    pub(super) const fn status(&self) -> StatusCode {
        self.status
    }

    /// What happened.
    pub(super) fn detail(&self) -> &str {
        &self.detail
    }

    pub(super) fn after(self, wait: Duration) -> Self {
        Self { retry_after: Some(wait), ..self }
    }
}

impl ApiRefusal {
    /// The whole answer.
    pub(super) fn into_answer(self) -> Response<Bytes> {
        let problem = ProblemDetails {
            kind: ProblemDetails::kind_of(self.code),
            title: self.status.canonical_reason().unwrap_or_default().to_owned(),
            status: self.status.as_u16(),
            detail: self.detail,
            code: self.code.to_owned(),
            fix: self.fix,
            problems: self.problems.into(),
            field: self.field.map(Into::into),
        };
        let mut answer = Response::new(serde_json::to_vec(&problem).map(Bytes::from).unwrap_or_default());
        *answer.status_mut() = self.status;
        let headers = answer.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(ProblemDetails::MEDIA_TYPE));
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(wait) = self.retry_after {
            headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
        }
        answer
    }
}

impl IntoResponse for ApiRefusal {
    fn into_response(self) -> axum::response::Response {
        self.into_answer().map(axum::body::Body::from)
    }
}

impl From<AuthError> for ApiRefusal {
    fn from(error: AuthError) -> Self {
        let unknown = |code, detail| {
            let fix = "send `Authorization: Bearer <token>` with an API token or the admin token; `tidegate admin token --reset` \
                makes a new admin token";
            Self::new(StatusCode::UNAUTHORIZED, code, detail, fix)
        };
        match error {
            AuthError::NoToken => unknown("no-token", "the request has no token"),
            AuthError::WrongToken => unknown(
                "wrong-token",
                "the token opens nothing: it is unknown, it has expired or was revoked, or its user is disabled",
            ),
            AuthError::TooOften(wait) => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "too-many-wrong-tokens",
                "there were too many wrong tokens from this address in the last minute",
                "send the right one, which always works, or wait",
            )
            .after(wait),
            AuthError::NoHash => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "no-token-made",
                "the server has no readable admin.json in its data directory",
                "run `tidegate admin token --reset`",
            ),
        }
    }
}

impl From<RegistryError> for ApiRefusal {
    fn from(error: RegistryError) -> Self {
        let detail = error.to_string();
        let (status, code, fix) = match &error {
            RegistryError::Busy { .. } => {
                (StatusCode::SERVICE_UNAVAILABLE, "too-busy", "send it again after Retry-After")
            }
            RegistryError::Full { .. } => {
                (StatusCode::INSUFFICIENT_STORAGE, "store-full", "remove versions that nobody needs")
            }
            RegistryError::NoSuchName { .. } => (StatusCode::NOT_FOUND, "no-such-name", "push a version of it first"),
            RegistryError::NoSuchVersion { .. } => {
                (StatusCode::NOT_FOUND, "no-such-version", "use a sha256 of its versions")
            }
            RegistryError::NoPrevious { .. } => {
                (StatusCode::CONFLICT, "no-previous", "make the version live that you want")
            }
            RegistryError::NotGranted { .. } => {
                let fix = "write that into its file under destinations/ and run `tidegate reload`";
                (StatusCode::UNPROCESSABLE_ENTITY, "not-granted", fix)
            }
            RegistryError::NotLive { .. } => (StatusCode::CONFLICT, "not-live", "make a version live first"),
            RegistryError::NoRollout { .. } => {
                (StatusCode::CONFLICT, "no-rollout", "`push --canary` and `push --shadow` begin a rollout")
            }
            RegistryError::NotAttached { .. } => {
                (StatusCode::CONFLICT, "not-attached", "name a source that it is attached to")
            }
            RegistryError::AlreadyLive => (StatusCode::CONFLICT, "already-live", "try another version"),
            RegistryError::Settings { .. } => {
                (StatusCode::UNPROCESSABLE_ENTITY, "settings", "send settings that fit `settings` of its plugin.yaml")
            }
            RegistryError::NoInterpreter { .. } => {
                let fix = "`make plugins` builds it there, and packages carry it; or build the function and push it: tidegate function push DIR";
                (StatusCode::CONFLICT, "no-interpreter", fix)
            }
            RegistryError::Script(_) | RegistryError::TypeScript(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "script", "change it as the detail says")
            }
            RegistryError::Share => (StatusCode::BAD_REQUEST, "share", "send a number from 1 to 99"),
            RegistryError::File { .. }
            | RegistryError::Damaged { .. }
            | RegistryError::Newer { .. }
            | RegistryError::Engine(_)
            | RegistryError::Load(_)
            | RegistryError::Compile(_) => {
                return Self::failed("the store could not do it", &error);
            }
        };
        let refusal = Self::new(status, code, detail, fix);
        if matches!(error, RegistryError::Busy { .. }) { refusal.after(Duration::from_secs(5)) } else { refusal }
    }
}

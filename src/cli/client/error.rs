//! What can go wrong between a command and a server, in sentences that say what to do.

use std::error::Error;
use std::path::PathBuf;
use std::time::Duration;

use tidegate_api_types::ProblemDetails;
use tidegate_net::trust::{self, RefusedCertificate, TrustError};
use tidegate_net::{OwnCertificateError, ProxyError};

/// Why there is no good answer.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum ClientError {
    #[error("{text:?} is not the address of a server; write it with http:// or https://, such as {usual}")]
    Address { text: String, usual: &'static str },
    #[error("the address of the server has a user or a password; write {usual}")]
    User { usual: &'static str },
    #[error("{name:?} is not a name; use up to 63 of a-z, 0-9 and -")]
    Name { name: String },
    #[error(
        "{origin} is not on this machine, and what is sent there over http can be read on the way, the admin token too\n  \
         fix: write https:// (a proxy that speaks TLS stands before the server), or use a tunnel, e.g. ssh -L; in a network \
         that you trust, --allow-http sends it all the same"
    )]
    OpenToOthers { origin: String },
    #[error(
        "the admin token holds something else than visible ASCII; look at --token, --token-file, TIDEGATE_ADMIN_TOKEN"
    )]
    Token,
    #[error("--ca-file {}: {problem}; name a PEM file of the authority's certificates", path.display())]
    CaFile { path: PathBuf, problem: String },
    #[error("the environment variable {0}; set it to one, or unset it")]
    Proxy(#[from] ProxyError),
    #[error("{0}")]
    Setup(String),
    #[error("could not reach {origin}: {cause}; is `tidegate serve` running there?")]
    Connect { origin: String, cause: String },
    #[error("could not reach {origin}: {advice}")]
    Certificate { origin: String, advice: String },
    #[error("could not reach {origin}: it does not speak TLS there; write http:// if it is this machine or a tunnel")]
    NoTls { origin: String },
    #[error(
        "could not reach {origin}: it asks for a certificate of the client; give --client-certificate and --client-key"
    )]
    NoCertificate { origin: String },
    #[error("no answer from {origin} within {} seconds", .limit.as_secs())]
    TimedOut { origin: String, limit: Duration },
    #[error("the request to {origin} failed: {cause}")]
    Broken { origin: String, cause: String },
    #[error("{}", told(.0))]
    Refused(Box<ProblemDetails>),
    #[error("the server answered {status} and no reason; is this its admin address?")]
    Unexpected { status: u16 },
    #[error("the server answered {status} and points to {to}; use the address that it points to")]
    Elsewhere { status: u16, to: String },
    #[error(
        "the answer of {origin} cannot be understood: {problem}; is the server of another version than this command?"
    )]
    Answer { origin: String, problem: String },
}

impl ClientError {
    /// The status of the answer that said no.
    pub(in crate::cli) fn status(&self) -> Option<u16> {
        match self {
            Self::Refused(problem) => Some(problem.status),
            Self::Unexpected { status } | Self::Elsewhere { status, .. } => Some(*status),
            _ => None,
        }
    }

    /// Whether it may be over without anybody doing anything about the command: a server that starts, or is too busy.
    pub(in crate::cli) fn may_pass(&self) -> bool {
        match self {
            Self::Connect { .. } | Self::TimedOut { .. } | Self::Broken { .. } => true,
            _ => self.status().is_some_and(|status| status == 429 || status >= 500),
        }
    }

    /// The same, in words for a command: which object is not there, and how to find the right one.
    pub(super) fn about(self, kind: &str, name: &str) -> Self {
        let fix = format!("`tidegate object list {kind}` shows which there are; are the name and --workspace right?");
        self.or_absent(format!("there is no {kind} {name:?} that you may see"), fix)
    }

    /// The same about a write key of a source, or about the source.
    pub(super) fn about_key(self, source: &str, key: &str) -> Self {
        let fix = format!(
            "`tidegate write-key list {source}` shows which there are; `tidegate object list source` shows the sources"
        );
        self.or_absent(format!("there is no write key {key:?} of a source {source:?} that you may see"), fix)
    }

    fn or_absent(self, detail: String, fix: String) -> Self {
        match self {
            Self::Refused(problem) if problem.code == "no-such-object" => {
                Self::Refused(Box::new(ProblemDetails { detail, fix, ..*problem }))
            }
            other => other,
        }
    }

    /// Why a request to `origin` had no answer.
    pub(super) fn of(error: &reqwest::Error, origin: String, limit: Duration) -> Self {
        if let Some(refused) = RefusedCertificate::in_causes(error) {
            return Self::Certificate { origin, advice: refused.advice("--ca-file") };
        }
        if trust::is_without_tls(error) {
            return Self::NoTls { origin };
        }
        if trust::asks_for_certificate(error) {
            return Self::NoCertificate { origin };
        }
        match () {
            () if error.is_connect() => Self::Connect { origin, cause: innermost(error) },
            () if error.is_timeout() => Self::TimedOut { origin, limit },
            () => Self::Broken { origin, cause: innermost(error) },
        }
    }
}

impl From<TrustError> for ClientError {
    fn from(error: TrustError) -> Self {
        match error {
            TrustError::CaFile { path, source } => Self::CaFile { path, problem: source.to_string() },
            TrustError::Machine { .. } | TrustError::Tls(_) => Self::Setup(error.to_string()),
        }
    }
}

impl From<OwnCertificateError> for ClientError {
    fn from(error: OwnCertificateError) -> Self {
        match error {
            OwnCertificateError::Files(error) => Self::Setup(format!("the certificate of the client: {error}")),
            OwnCertificateError::Trust(error) => error.into(),
        }
    }
}

/// What wraps the first cause repeats the URL or says nothing.
fn innermost(error: &(dyn Error + 'static)) -> String {
    let mut cause = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}

/// The API speaks of its bodies; a person at a terminal has flags.
fn told(problem: &ProblemDetails) -> String {
    let fix = match problem.code.as_str() {
        "settings" => "--settings FILE, a JSON file with settings that fit plugin.yaml",
        "no-token" | "wrong-token" | "session-over" => {
            "`tidegate login` gets a token; the page /people makes one, or `tidegate token create` with the admin token, and \
             `tidegate admin token --reset`, where the server is, makes a new admin token"
        }
        "managed-by-file" if problem.fix.contains("force=true") => {
            "change that file and run `tidegate reload`, or `tidegate apply` where the folder lies elsewhere"
        }
        "forbidden" if problem.fix.contains("/api/v1/drafts") => {
            "propose it for somebody else to approve: `tidegate object create`, `update` and `delete` take `--draft TITLE`"
        }
        _ => &problem.fix,
    };
    let field = problem.field.as_ref().map(|field| format!("\n  field: {field}")).unwrap_or_default();
    format!("the server says: {}{field}\n  fix: {fix}", problem.detail)
}

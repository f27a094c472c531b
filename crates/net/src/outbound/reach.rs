//! Whether an origin can be reached: resolved, connected to, TLS agreed upon, and left again without a word.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tower_service::Service as _;

use super::client::{CA_SETTING, connector};
use super::policy::{AllowedOrigin, Policy, PolicyRefusal};
use super::resolve::{Resolve, UnknownName};
use crate::trust::RefusedCertificate;

/// Why an origin cannot be reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unreachable {
    #[error(transparent)]
    Refused(#[from] PolicyRefusal),
    #[error("the name {host} is not known: {reason}")]
    UnknownName { host: String, reason: String },
    #[error("{host} refuses connections on port {port}")]
    PortClosed { host: String, port: u16 },
    #[error("{host}: {advice}")]
    Certificate { host: String, advice: String },
    #[error("{host} cannot prove who it is, or does not speak TLS: {reason}")]
    Tls { host: String, reason: String },
    #[error("no connection within {} s", .0.as_secs())]
    Slow(Duration),
    #[error("{0}")]
    Away(String),
}

/// Connects to `origin` as far as a request would before its first byte, within `patience`.
///
/// # Errors
/// What is in the way.
pub async fn reach(
    origin: &AllowedOrigin,
    policy: Policy,
    resolver: Arc<dyn Resolve>,
    patience: Duration,
) -> Result<(), Unreachable> {
    let url = format!("{origin}/");
    if let Some(method) =
        policy.asked.iter().find(|rule| rule.origin.covers(origin)).and_then(|rule| rule.methods.first())
    {
        policy.check(method, &url)?;
    }
    let uri = url.parse().map_err(|error: hyper::http::uri::InvalidUri| Unreachable::Away(error.to_string()))?;
    let mut connector =
        connector(Arc::new(policy), resolver, patience).map_err(|error| Unreachable::Away(error.to_string()))?;
    match tokio::time::timeout(patience, connector.call(uri)).await {
        Ok(Ok(_connection)) => Ok(()),
        Ok(Err(error)) => Err(told(origin, &*error)),
        Err(_elapsed) => Err(Unreachable::Slow(patience)),
    }
}

/// The innermost cause says what it is.
fn told(origin: &AllowedOrigin, error: &(dyn Error + 'static)) -> Unreachable {
    let host = || origin.host().to_owned();
    if let Some(refused) = RefusedCertificate::in_causes(error) {
        return Unreachable::Certificate { host: host(), advice: refused.advice(CA_SETTING) };
    }
    let (mut reason, mut cause) = (String::new(), Some(error));
    while let Some(error) = cause {
        if let Some(refusal) = error.downcast_ref::<PolicyRefusal>() {
            return Unreachable::Refused(refusal.clone());
        }
        if let Some(unknown) = error.downcast_ref::<UnknownName>() {
            return Unreachable::UnknownName { host: host(), reason: unknown.to_string() };
        }
        if let Some(tls) = error.downcast_ref::<rustls::Error>() {
            return Unreachable::Tls { host: host(), reason: tls.to_string() };
        }
        match error.downcast_ref::<io::Error>().map(io::Error::kind) {
            Some(io::ErrorKind::ConnectionRefused) => {
                return Unreachable::PortClosed { host: host(), port: origin.port() };
            }
            // Hung up, or said something else, in the middle of the greeting.
            Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::InvalidData) if origin.is_secure() => {
                return Unreachable::Tls { host: host(), reason: error.to_string() };
            }
            _ => {}
        }
        reason = error.to_string();
        // What an I/O error wraps is not its source, whose source it gives.
        let wrapped = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = wrapped.map(|inner| inner as &(dyn Error + 'static)).or_else(|| error.source());
    }
    Unreachable::Away(reason)
}

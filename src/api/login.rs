//! What signing in needs between two requests: the providers, the key that texts are sealed under, and what is remembered of tries.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use hyper::StatusCode;
use hyper::header::{self, HeaderMap};
use tidegate_net::{Caller, Network, Peer, WrongTries};
use tidegate_oidc::{LoginSettings, OidcError, OidcProvider, Sealer};
use tidegate_source::http::client_address;
use url::{Host, Url};

use super::cookies::OverTls;
use super::refusal::ApiRefusal;
use super::sign_in_tries::SignInTries;

/// Questions to providers in a minute that one address may cause; a device that waits asks twelve times.
const PROVIDER_CALLS_MAX: u32 = 60;

/// Everything about signing in.
pub(super) struct LoginState {
    pub(super) public_url: Option<Url>,
    pub(super) providers: BTreeMap<String, OidcProvider>,
    pub(super) sealer: Sealer,
    pub(super) tries: SignInTries,
    calls: WrongTries,
    trusted_proxies: Vec<Network>,
}

impl LoginState {
    pub(super) fn new(settings: LoginSettings, key: &[u8; 32], trusted_proxies: Vec<Network>) -> Self {
        let LoginSettings { public_url, providers } = settings;
        let providers = providers.into_iter().map(|(name, settings)| (name, OidcProvider::new(settings)));
        Self {
            public_url,
            providers: providers.collect(),
            sealer: Sealer::new(key),
            tries: SignInTries::default(),
            calls: WrongTries::new(PROVIDER_CALLS_MAX),
            trusted_proxies,
        }
    }

    /// The address that a request came from: the peer's, or what a trusted proxy says.
    pub(super) fn address(&self, headers: &HeaderMap, peer: IpAddr) -> IpAddr {
        client_address(headers, peer, &self.trusted_proxies)
    }

    /// Whether the browser speaks TLS: with this port, or a trusted proxy says so, or it asks for the public address, which is of https.
    pub(super) fn over_tls(&self, headers: &HeaderMap, peer: Peer) -> OverTls {
        let is_trusted = self.trusted_proxies.iter().any(|network| network.holds(peer.address.ip()));
        let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let is_forwarded = is_trusted && text("x-forwarded-proto").is_some_and(|scheme| scheme.trim() == "https");
        let public = self.public_url.as_ref().filter(|public| public.scheme() == "https");
        let asked = asked_url(headers, "https");
        let is_public = public.zip(asked).is_some_and(|(public, asked)| public.origin() == asked.origin());
        OverTls(peer.over_tls || is_forwarded || is_public)
    }

    /// A provider by its name.
    pub(super) fn provider(&self, name: &str) -> Result<&OidcProvider, ApiRefusal> {
        self.providers.get(name).ok_or_else(|| {
            let names: Vec<&str> = self.providers.keys().map(String::as_str).collect();
            let fix = if names.is_empty() {
                "write one into `login.providers` of tidegate.yaml".to_owned()
            } else {
                format!("there are: {}", names.join(", "))
            };
            ApiRefusal::new(StatusCode::NOT_FOUND, "no-such-provider", "there is no such provider", fix)
        })
    }

    /// Counts a question to a provider that somebody unknown causes.
    pub(super) fn count_call(&self, caller: Caller) -> Result<(), ApiRefusal> {
        match self.calls.note(caller, Instant::now()) {
            (_, None) => Ok(()),
            (_, Some(wait)) => Err(too_many("there were too many sign-ins from this address in the last minute", wait)),
        }
    }

    /// Where browsers reach this server. Without `login.public_url` that is known on this machine alone.
    pub(super) fn base(&self, headers: &HeaderMap, OverTls(over_tls): OverTls) -> Result<Url, ApiRefusal> {
        if let Some(public) = &self.public_url {
            return Ok(public.clone());
        }
        asked_url(headers, if over_tls { "https" } else { "http" }).filter(is_here).ok_or_else(|| {
            let detail = "`login.public_url` is not set, so the provider cannot be told where to send people back to";
            let fix = "write `login: {public_url: https://admin.example.com}` in tidegate.yaml";
            ApiRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "no-public-url", detail, fix)
        })
    }
}

/// The address that a request asks for, with a scheme.
fn asked_url(headers: &HeaderMap, scheme: &str) -> Option<Url> {
    let host = headers.get(header::HOST)?.to_str().ok()?;
    Url::parse(&format!("{scheme}://{host}")).ok()
}

/// Whether a request asks for this machine by a name that every machine has.
pub(super) fn is_of_this_machine(headers: &HeaderMap) -> bool {
    asked_url(headers, "https").as_ref().is_some_and(is_here)
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// A page of this server below its address.
pub(super) fn page(base: &Url, path: &str) -> String {
    format!("{}{path}", base.as_str().trim_end_matches('/'))
}

/// Somebody has to wait.
pub(super) fn too_many(detail: &str, wait: Duration) -> ApiRefusal {
    let fix = "wait as long as Retry-After says, and try again";
    ApiRefusal::new(StatusCode::TOO_MANY_REQUESTS, "too-many-tries", detail, fix).after(wait)
}

/// What a provider did, for whoever wanted to sign in.
pub(super) fn refused_by(provider: &str, error: &OidcError) -> ApiRefusal {
    tracing::warn!(provider, error = %error, "nobody was signed in by a provider");
    if error.is_about_the_person() {
        let fix = "sign in again; if that does not help, an admin of the provider or of this server can";
        return ApiRefusal::new(StatusCode::FORBIDDEN, "not-signed-in", error.to_string(), fix);
    }
    let fix = "look at `login.providers` of tidegate.yaml, and whether this server reaches the provider";
    ApiRefusal::new(StatusCode::BAD_GATEWAY, "provider", error.to_string(), fix)
}

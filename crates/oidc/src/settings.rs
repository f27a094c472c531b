//! What `login` of `tidegate.yaml` says, checked.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;

use tidegate_net::WebSettings;
use tidegate_net::outbound::is_global;
use url::{Host, Url};
use zeroize::Zeroizing;

use crate::error::OidcError;

/// How people sign in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoginSettings {
    /// Where browsers reach the admin API, with the path of a proxy if it has one.
    pub public_url: Option<Url>,
    /// By name.
    pub providers: BTreeMap<String, ProviderSettings>,
}

/// One provider.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProviderSettings {
    /// As it names itself, to the letter.
    pub issuer: String,
    pub client_id: String,
    /// None of a client that has none, which PKCE protects alone.
    pub client_secret: Option<ClientSecret>,
    /// `openid` is among them.
    pub scopes: Vec<String>,
    /// The claim with the groups of a person; `realm_access.roles` is one within another.
    pub groups_claim: String,
    /// What a claim must be, or hold if it is a list.
    pub required_claims: BTreeMap<String, String>,
    /// By a value of the groups claim: the group of the catalog.
    pub groups: BTreeMap<String, String>,
    /// Whether somebody who is not known yet becomes a user.
    pub create_users: bool,
    pub web: WebSettings,
}

/// What a client is known by at its provider. It is printed by nobody.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSecret(Zeroizing<String>);

impl ClientSecret {
    #[must_use]
    pub fn new(text: String) -> Self {
        Self(Zeroizing::new(text))
    }

    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for ClientSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("(a secret)")
    }
}

/// Why a text is no issuer; none when it is one. Only on this machine it may be without TLS.
#[must_use]
pub fn issuer_problem(text: &str) -> Option<&'static str> {
    let Ok(url) = Url::parse(text) else { return Some("it is no URL") };
    if url.query().is_some() || url.fragment().is_some() || !url.username().is_empty() || url.password().is_some() {
        return Some("it has a query, a fragment or a user");
    }
    match url.scheme() {
        "https" if url.has_host() => None,
        "http" if is_here(&url) => None,
        _ => Some("it is not https"),
    }
}

fn is_here(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost",
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// An endpoint that a provider names of itself: on the issuer's own host, or over https on a host that is none of this network by its
/// very name. The operator named the issuer; what the issuer names must not reach into the house.
pub(crate) fn endpoint(issuer: &Url, text: &str) -> Result<Url, OidcError> {
    let wrong = |why: &str| OidcError::Discovery(format!("the endpoint {text:?} {why}"));
    let url = Url::parse(text).map_err(|_| wrong("is no URL"))?;
    if !url.username().is_empty() || url.password().is_some() || url.fragment().is_some() {
        return Err(wrong("has a user or a fragment"));
    }
    let is_of_issuer = url.scheme() == issuer.scheme() && url.host() == issuer.host();
    if is_of_issuer {
        return Ok(url);
    }
    if url.scheme() != "https" {
        return Err(wrong("is not https"));
    }
    let is_outside = match url.host() {
        Some(Host::Domain(name)) => name != "localhost" && !name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => is_global(IpAddr::V4(address)),
        Some(Host::Ipv6(address)) => is_global(IpAddr::V6(address)),
        None => false,
    };
    if is_outside { Ok(url) } else { Err(wrong("is an address of this network, and not the issuer's")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_issuer_is_https_or_on_this_machine() {
        for good in ["https://accounts.example.com", "https://a.example/realms/shop", "http://127.0.0.1:18090"] {
            assert_eq!(issuer_problem(good), None, "{good}");
        }
        for wrong in ["", "accounts.example.com", "http://a.example", "https://a.example?x=1", "https://me@a.example"] {
            assert!(issuer_problem(wrong).is_some(), "{wrong}");
        }
    }

    #[test]
    fn an_issuer_outside_names_no_endpoint_within() {
        let issuer = Url::parse("https://accounts.example.com").unwrap();
        let allowed = |text: &str| endpoint(&issuer, text).is_ok();
        assert!(allowed("https://accounts.example.com:8443/token") && allowed("https://keys.example.org/jwks"));
        for wrong in [
            "http://accounts.example.com/token",
            "http://127.0.0.1:8089/admin/reload",
            "https://169.254.169.254/latest",
            "https://[::1]/x",
            "https://localhost/x",
            "ftp://accounts.example.com",
        ] {
            assert!(!allowed(wrong), "{wrong}");
        }
        let here = Url::parse("http://127.0.0.1:18090").unwrap();
        assert!(endpoint(&here, "http://127.0.0.1:18090/token").is_ok());
        assert!(endpoint(&here, "http://127.0.0.2:18090/token").is_err());
    }

    #[test]
    fn the_secret_of_a_client_is_not_printed() {
        assert_eq!(format!("{:?}", ClientSecret::new("hunter2".to_owned())), "(a secret)");
    }
}

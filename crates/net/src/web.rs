//! HTTP clients for servers that an operator names: warehouses, the admin API.
//!
//! Every such client trusts as [`trust`] says and reads no proxy from the environment by itself: it is told. A proxy is
//! never asked for this machine, nor for the addresses at which clouds tell a machine about itself.

use std::fmt;
use std::path::PathBuf;

use reqwest::{ClientBuilder, NoProxy, Proxy};
use url::Url;

use super::tls_files::{OwnCertificateError, TlsFiles};
use super::trust::{self, TrustError};

/// How a client connects.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WebSettings {
    /// Authorities to trust besides the machine's, a PEM file.
    pub ca_file: Option<PathBuf>,
    pub proxies: Proxies,
}

impl WebSettings {
    /// A client over HTTP/1.1 that follows no redirects; timeouts are the caller's to set.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn client(&self) -> Result<ClientBuilder, TrustError> {
        let mut builder = ClientBuilder::new()
            .tls_backend_preconfigured(trust::client_config(self.ca_file.as_deref())?)
            .http1_only()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy();
        for proxy in self.proxies.rules() {
            builder = builder.proxy(proxy);
        }
        Ok(builder)
    }

    /// The same, which shows a certificate of its own where a server asks for one.
    ///
    /// # Errors
    /// TLS cannot be set up, or the certificate cannot be used.
    pub fn client_with(&self, own: &TlsFiles) -> Result<ClientBuilder, OwnCertificateError> {
        let tls = own.client_config(self.ca_file.as_deref())?;
        Ok(self.client()?.tls_backend_preconfigured(tls))
    }

    /// A client over HTTP/2 alone, also to addresses without TLS; it follows no redirects, and timeouts are the caller's to set.
    ///
    /// # Errors
    /// TLS cannot be set up.
    pub fn http2_client(&self) -> Result<ClientBuilder, TrustError> {
        let mut tls = trust::client_config(self.ca_file.as_deref())?;
        // A client takes a finished configuration as it is, without its own protocols.
        tls.alpn_protocols = vec![b"h2".to_vec()];
        Ok(self.client()?.tls_backend_preconfigured(tls).http2_prior_knowledge())
    }
}

/// The proxies of a client: none, one for all, or those of the environment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    http: Option<Url>,
    https: Option<Url>,
    /// Hosts, domains and ranges that are reached without, separated by commas.
    except: String,
}

/// Text that is not the address of a proxy. The text may hold a password and is not repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{name} is not the address of a proxy, such as http://proxy.example.com:3128")]
pub struct ProxyError {
    /// The setting or the variable.
    pub name: String,
}

/// Never behind a proxy: this machine, and what clouds answer to their machines alone.
const NEVER: &str = "localhost,127.0.0.0/8,0.0.0.0,::1,::,169.254.0.0/16,fd00:ec2::254,metadata.google.internal";

impl Proxies {
    /// One proxy for every server; `name` is the setting, for errors.
    ///
    /// # Errors
    /// It is not `http://` or `https://` with a host.
    pub fn all(name: &str, text: &str) -> Result<Self, ProxyError> {
        let url = address(name, text)?;
        Ok(Self { http: Some(url.clone()), https: Some(url), except: String::new() })
    }

    /// What `HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY` and `NO_PROXY` say, or the same in lower case, which count first.
    ///
    /// # Errors
    /// One of them is not the address of a proxy.
    pub fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self, ProxyError> {
        let set = |name: &str| {
            let names = [name.to_ascii_lowercase(), name.to_owned()];
            names.into_iter().find_map(|name| Some((variable(&name).filter(|text| !text.is_empty())?, name)))
        };
        let proxy = |name: &str| {
            let found = set(name).or_else(|| set("ALL_PROXY"));
            found.map(|(text, name)| address(&name, &text)).transpose()
        };
        let except = set("NO_PROXY").map(|(text, _)| text).unwrap_or_default();
        Ok(Self { http: proxy("HTTP_PROXY")?, https: proxy("HTTPS_PROXY")?, except })
    }

    fn rules(&self) -> Vec<Proxy> {
        let except = NoProxy::from_string(&format!("{NEVER},{}", self.except));
        let http = self.http.clone().map(Proxy::http);
        let https = self.https.clone().map(Proxy::https);
        // Both addresses were looked at.
        http.into_iter().chain(https).flatten().map(|proxy| proxy.no_proxy(except.clone())).collect()
    }
}

fn address(name: &str, text: &str) -> Result<Url, ProxyError> {
    let wrong = || ProxyError { name: name.to_owned() };
    // `proxy.example.com:3128` is written as often.
    let whole = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let url = Url::parse(&whole).map_err(|_| wrong())?;
    if matches!(url.scheme(), "http" | "https") && url.has_host() { Ok(url) } else { Err(wrong()) }
}

impl fmt::Debug for Proxies {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // User and password never print.
        let shown = |url: &Option<Url>| {
            let url = url.as_ref()?;
            Some(format!("{}://{}:{}", url.scheme(), url.host_str()?, url.port_or_known_default()?))
        };
        f.debug_struct("Proxies")
            .field("http", &shown(&self.http))
            .field("https", &shown(&self.https))
            .field("except", &self.except)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proxies_are_read_from_the_usual_variables_and_their_passwords_never_print() {
        let of = |pairs: &[(&str, &str)]| {
            let pairs = pairs.to_vec();
            Proxies::from_variables(move |name| {
                pairs.iter().find(|(known, _)| *known == name).map(|(_, text)| (*text).to_owned())
            })
        };
        assert_eq!(of(&[("HTTPS_PROXY", "")]), Ok(Proxies::default()));
        let one = of(&[("ALL_PROXY", "http://me:s3cr3t@one:3128"), ("https_proxy", "two:8080"), ("NO_PROXY", ".in")]);
        let shown = format!("{:?}", one.unwrap());
        for part in ["http://one:3128", "http://two:8080", ".in"] {
            assert!(shown.contains(part), "{shown}");
        }
        assert!(!shown.contains("s3cr3t"), "{shown}");
        let error = of(&[("HTTPS_PROXY", "socks5://me:s3cr3t@one")]).unwrap_err().to_string();
        assert!(error.starts_with("HTTPS_PROXY is not") && !error.contains("s3cr3t"), "{error}");
        assert!(Proxies::all("proxy", "http://").is_err() && Proxies::all("proxy", "one:3128").is_ok());
    }
}

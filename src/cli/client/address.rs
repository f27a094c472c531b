//! Addresses of servers.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};
use tidegate_net::TlsFiles;
use url::{Host, Url};

use super::error::ClientError;

/// How a server is reached, for every command that speaks to one.
#[derive(Debug, Clone, Default, PartialEq, Eq, clap::Args, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in crate::cli) struct ConnectArgs {
    /// For https: authorities to trust besides the machine's, a PEM file
    #[arg(long, visible_alias = "ca", value_name = "FILE")]
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(in crate::cli) ca_file: Option<PathBuf>,
    /// For a server that asks clients for a certificate: a PEM file of it
    #[arg(long, value_name = "FILE", requires = "client_key")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_certificate: Option<PathBuf>,
    /// A PEM file of its key
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    #[serde(skip_serializing_if = "Option::is_none")]
    client_key: Option<PathBuf>,
}

impl ConnectArgs {
    /// Whether nothing is said.
    pub(super) fn is_usual(&self) -> bool {
        *self == Self::default()
    }

    /// The same, and what a context has kept where nothing is said.
    pub(in crate::cli) fn or(&self, kept: &Self) -> Self {
        let own = if self.client_certificate.is_some() { self } else { kept };
        Self {
            ca_file: self.ca_file.clone().or_else(|| kept.ca_file.clone()),
            client_certificate: own.client_certificate.clone(),
            client_key: own.client_key.clone(),
        }
    }

    /// The same with whole paths, which lead to the same files from everywhere.
    pub(in crate::cli) fn made_whole(&self) -> Self {
        let whole = |path: &Option<PathBuf>| {
            path.as_ref().map(|path| std::path::absolute(path).unwrap_or_else(|_| path.clone()))
        };
        Self {
            ca_file: whole(&self.ca_file),
            client_certificate: whole(&self.client_certificate),
            client_key: whole(&self.client_key),
        }
    }

    /// The certificate that the client shows.
    pub(super) fn own_certificate(&self) -> Option<TlsFiles> {
        let (certificate, key) = self.client_certificate.clone().zip(self.client_key.clone())?;
        Some(TlsFiles { certificate, key, client_ca: None })
    }
}

/// Reads an address; `usual` is how one looks.
pub(super) fn parse(text: &str, usual: &'static str) -> Result<Url, ClientError> {
    let fits = |url: &Url| {
        matches!(url.scheme(), "http" | "https") && url.has_host() && url.query().is_none() && url.fragment().is_none()
    };
    let is_anonymous = |url: &Url| url.username().is_empty() && url.password().is_none();
    match Url::parse(text).ok().filter(fits) {
        Some(url) if is_anonymous(&url) => Ok(url),
        // It may hold a password.
        Some(_) => Err(ClientError::User { usual }),
        None => Err(ClientError::Address { text: text.to_owned(), usual }),
    }
}

/// Whether what is sent there can be read on the way: it is not encrypted and leaves this machine.
pub(super) fn is_open_to_others(url: &Url) -> bool {
    let is_here = match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback() || address.is_unspecified(),
        Some(Host::Ipv6(address)) => address.is_loopback() || address.is_unspecified(),
        None => false,
    };
    url.scheme() == "http" && !is_here
}

/// Scheme, host and port, for messages.
pub(super) fn origin(url: &Url) -> String {
    url.origin().ascii_serialization()
}

/// The URL of a path below an address, whose `{..}` is replaced by `parameter`.
pub(super) fn join(base: &Url, path: &str, parameter: &str) -> Result<Url, ClientError> {
    let mut url = base.clone();
    let wrong = || ClientError::Name { name: parameter.to_owned() };
    if path.contains('{') && matches!(parameter, "" | "." | "..") {
        return Err(wrong());
    }
    let mut segments = url.path_segments_mut().map_err(|()| wrong())?;
    segments.pop_if_empty();
    for segment in path.split('/').skip(1) {
        segments.push(if segment.starts_with('{') { parameter } else { segment });
    }
    drop(segments);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_this_machine_unencrypted_is_told_from_what_does_not() {
        let is_open = |text: &str| is_open_to_others(&parse(text, "http://127.0.0.1:8089").unwrap());
        for text in ["http://localhost:1", "http://127.1.2.3", "http://[::1]:8089", "https://far.example"] {
            assert!(!is_open(text), "{text}");
        }
        for text in ["http://far.example", "http://10.0.0.1", "http://localhost.far.example", "http://[fd00::1]"] {
            assert!(is_open(text), "{text}");
        }
    }

    #[test]
    fn a_name_is_one_segment_of_a_path_whatever_it_holds() {
        let base = parse("https://far.example/tide/", "https://far.example").unwrap();
        let of = |name: &str| join(&base, "/admin/functions/{name}/live", name).map(String::from);
        assert_eq!(of("redact").unwrap(), "https://far.example/tide/admin/functions/redact/live");
        assert_eq!(of("a/../b?c").unwrap(), "https://far.example/tide/admin/functions/a%2F..%2Fb%3Fc/live");
        assert!(of("..").is_err() && of("").is_err());
        for text in ["ftp://x", "x", "http://x?y", "http://me:s3cr3t@x"] {
            let error = parse(text, "http://127.0.0.1:8089").unwrap_err().to_string();
            assert!(error.contains("http://127.0.0.1:8089") && !error.contains("s3cr3t"), "{error}");
        }
    }
}

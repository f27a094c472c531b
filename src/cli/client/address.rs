//! Addresses of servers.

use std::path::PathBuf;

use url::{Host, Url};

use super::error::ClientError;

/// How a server is reached, for every command that speaks to one.
#[derive(Debug, Clone, Default, clap::Args)]
pub(in crate::cli) struct ConnectArgs {
    /// For https: authorities to trust besides the machine's, a PEM file
    #[arg(long, value_name = "FILE")]
    pub(super) ca_file: Option<PathBuf>,
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

//! Under which name SDKs are told to reach us. Some replace their configured host by the one in their settings, so
//! nothing is repeated that a client or a cache between may have made up.

use std::net::{IpAddr, SocketAddr};

use url::Url;

/// `https://events.example.com/ingest` as SDKs want it: without scheme and without a slash at its end.
///
/// # Errors
/// What is wrong with it.
pub fn public(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no URL: {error}"))?;
    let plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() || !plain || url.password().is_some() {
        return Err(format!("{text:?} is not an http or https URL of host and path alone"));
    }
    let host = url.host_str().unwrap_or_default();
    let port = url.port().map(|port| format!(":{port}")).unwrap_or_default();
    Ok(format!("{host}{port}{}", url.path().trim_end_matches('/')))
}

/// Whether a `Host` header names this server as `local`, the address that the connection reached, or this machine.
pub(super) fn is_ours(host: &str, local: SocketAddr) -> bool {
    let (name, port) = match host.rsplit_once(':') {
        Some((name, port)) if !port.contains(']') => match port.parse::<u16>() {
            Ok(number) if port.bytes().all(|byte| byte.is_ascii_digit()) => (name, number),
            _ => return false,
        },
        _ => (host, 80),
    };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    let Ok(address) = bare.parse::<IpAddr>() else { return false };
    let bracketed = name.starts_with('[');
    let address_fits = address.is_loopback() || address == local.ip().to_canonical() && port == local.port();
    bracketed == address.is_ipv6() && address_fits
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_ours_when_it_names_us() {
        let local = "192.0.2.1:8080".parse().unwrap();
        for host in ["192.0.2.1:8080", "localhost", "LOCALHOST:1", "127.0.0.1:9", "[::1]:8080", "[::1]"] {
            assert!(is_ours(host, local), "{host}");
        }
        for host in [
            "",
            "evil.example",
            "192.0.2.1",
            "192.0.2.1:81",
            "192.0.2.1:8080\"",
            "localhost:",
            "localhost:+1",
            "a b:80",
            "::1",
            "192.0.2.1:8080:8080",
            "[192.0.2.1]:8080",
            "localhost@evil.example",
            "localhost.evil.example",
        ] {
            assert!(!is_ours(host, local), "{host}");
        }
        assert!(is_ours("192.0.2.1", "192.0.2.1:80".parse().unwrap()));
        assert!(is_ours("192.0.2.1", "[::ffff:192.0.2.1]:80".parse().unwrap()));
    }

    #[test]
    fn a_public_url_is_host_and_path() {
        assert_eq!(public("https://Events.example.com/").unwrap(), "events.example.com");
        assert_eq!(public("http://e.example:8080/in/").unwrap(), "e.example:8080/in");
        for text in
            ["events.example.com", "ftp://e.example", "https://u@e.example", "https://e.example?a", "https:///x y"]
        {
            assert!(public(text).is_err(), "{text}");
        }
    }
}

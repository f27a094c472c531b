//! Whose request it is: the peer, or what a trusted proxy says.
//!
//! `X-Forwarded-For` is read from its right end, past addresses of trusted proxies, and only when the peer itself is one;
//! anything else would let a client choose its own address. The first hop that is no address ends the reading: the client
//! is then the last hop that was known, never a value further left. Without `X-Forwarded-For` the same goes for `Forwarded`
//! (RFC 7239). When both are there, `X-Forwarded-For` counts, because that is what proxies write unless told otherwise: a
//! proxy that writes it passes a client's own `Forwarded` on.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use hyper::header::{HeaderMap, HeaderValue};
use tidegate_net::Network;

/// The client's address.
#[must_use]
pub fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut client = peer.to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let (name, node): (_, fn(&str) -> Option<IpAddr>) =
        if headers.contains_key("x-forwarded-for") { ("x-forwarded-for", address) } else { ("forwarded", forwarded) };
    // A value that is no text is a hop that is no address.
    let text = |value: &HeaderValue| value.to_str().unwrap_or("?").to_owned();
    let values: Vec<String> = headers.get_all(name).into_iter().map(text).collect();
    for hop in values.iter().rev().flat_map(|value| hops(value)) {
        match node(hop) {
            Some(hop) => client = hop.to_canonical(),
            None => break,
        }
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// The elements of a list from right to left; commas in quotes part nothing. From the right, because what a client
/// wrote stands on the left, and an open quote there must not drop what the proxy added.
fn hops(value: &str) -> impl Iterator<Item = &str> {
    let mut rest = Some(value);
    std::iter::from_fn(move || {
        let list = rest?;
        let mut quoted = false;
        let comma = list.bytes().enumerate().rev().find(|(_, byte)| {
            quoted ^= *byte == b'"';
            *byte == b',' && !quoted
        });
        let (left, hop) = comma.map_or((None, list), |(at, _)| (Some(&list[..at]), &list[at + 1..]));
        rest = left;
        Some(hop.trim())
    })
}

/// One element of `Forwarded`: the address of its one `for`. `unknown` and `_hidden` are none.
fn forwarded(element: &str) -> Option<IpAddr> {
    let pairs = element.split(';').filter_map(|pair| pair.trim().split_once('='));
    let mut nodes = pairs.filter(|(name, _)| name.eq_ignore_ascii_case("for")).map(|(_, node)| node);
    let (node, None) = (nodes.next()?, nodes.next()) else { return None };
    let plain = node.strip_prefix('"').map_or(Some(node), |node| node.strip_suffix('"'))?;
    address(plain)
}

/// `192.0.2.1`, `192.0.2.1:80`, `2001:db8::1`, `[2001:db8::1]`, `[2001:db8::1]:80`.
fn address(text: &str) -> Option<IpAddr> {
    if let Ok(address) = text.parse() {
        return Some(address);
    }
    let is_port = |port: &str| !port.is_empty() && port.len() <= 5 && port.bytes().all(|byte| byte.is_ascii_digit());
    if let Some((inner, port)) = text.strip_prefix('[').and_then(|text| text.split_once(']')) {
        let fits = port.is_empty() || port.strip_prefix(':').is_some_and(is_port);
        return inner.parse::<Ipv6Addr>().ok().filter(|_| fits).map(IpAddr::V6);
    }
    let (host, port) = text.split_once(':')?;
    host.parse::<Ipv4Addr>().ok().filter(|_| is_port(port)).map(IpAddr::V4)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(peer: &str, lines: &[(&'static str, &str)]) -> String {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap(), "2001:db8:ffff::/48".parse().unwrap()];
        client(&headers, peer.parse().unwrap(), &trusted).to_string()
    }

    fn xff(value: &str) -> String {
        seen("10.9.9.9", &[("x-forwarded-for", value)])
    }

    fn forwarded_as(value: &str) -> String {
        seen("10.9.9.9", &[("forwarded", value)])
    }

    #[test]
    fn only_a_trusted_peer_may_name_the_client() {
        let line = ("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.2.3");
        assert_eq!(seen("10.9.9.9", &[line]), "203.0.113.9");
        assert_eq!(seen("::ffff:10.9.9.9", &[line]), "203.0.113.9");
        assert_eq!(seen("192.0.2.1", &[line]), "192.0.2.1");
        assert_eq!(seen("192.0.2.1", &[("forwarded", "for=6.6.6.6")]), "192.0.2.1");
    }

    #[test]
    fn a_hop_may_have_a_port() {
        for (value, want) in [
            ("8.8.8.8, 203.0.113.7:51234", "203.0.113.7"),
            ("203.0.113.7:51234", "203.0.113.7"),
            ("[2001:db8::7]:51234", "2001:db8::7"),
            ("[2001:db8::7]", "2001:db8::7"),
            ("2001:db8::7", "2001:db8::7"),
            ("203.0.113.7, [2001:db8:ffff::1]:443,10.0.0.1:80", "203.0.113.7"),
            ("[::ffff:203.0.113.7]:1", "203.0.113.7"),
        ] {
            assert_eq!(xff(value), want, "{value}");
        }
    }

    #[test]
    fn a_hop_that_is_no_address_ends_the_reading() {
        for value in
            ["8.8.8.8, x", "8.8.8.8, ", "8.8.8.8, unknown", "8.8.8.8,[::1", "8.8.8.8, 1.2.3.4:", "8.8.8.8, 1.2.3.4:x"]
        {
            assert_eq!(xff(value), "10.9.9.9", "{value}");
            assert_eq!(xff(&format!("{value}, 10.1.1.1")), "10.1.1.1", "{value}");
        }
        let lines = [("x-forwarded-for", "8.8.8.8"), ("x-forwarded-for", "x"), ("x-forwarded-for", "10.1.1.1")];
        assert_eq!(seen("10.9.9.9", &lines), "10.1.1.1", "lines are one list");
        assert_eq!(seen("10.9.9.9", &lines[..1]), "8.8.8.8");
    }

    #[test]
    fn forwarded_is_read_alike() {
        for (value, want) in [
            ("for=203.0.113.7", "203.0.113.7"),
            ("For=\"203.0.113.7:47\";proto=https;by=10.0.0.1", "203.0.113.7"),
            ("for=8.8.8.8, for=\"[2001:db8::7]:4711\"", "2001:db8::7"),
            ("for=\"[2001:db8::7]\", for=10.1.1.1", "2001:db8::7"),
            ("for=8.8.8.8, for=_hidden, for=10.1.1.1", "10.1.1.1"),
            ("for=8.8.8.8, for=unknown", "10.9.9.9"),
            ("for=8.8.8.8, proto=https", "10.9.9.9"),
            ("for=8.8.8.8, for=1.1.1.1;for=2.2.2.2", "10.9.9.9"),
            ("for=\"8.8.8.8, for=203.0.113.7", "203.0.113.7"),
            ("for=203.0.113.7;host=\"a,b\"", "203.0.113.7"),
        ] {
            assert_eq!(forwarded_as(value), want, "{value}");
        }
        let both = [("forwarded", "for=8.8.8.8"), ("x-forwarded-for", "203.0.113.7")];
        assert_eq!(seen("10.9.9.9", &both), "203.0.113.7");
    }

    proptest! {
        // Whatever a client writes on the left, what the proxy adds on the right is what counts.
        #[test]
        fn nobody_chooses_an_address(left in "[ -~]{0,40}", port in proptest::option::of(0_u16..), v6 in any::<bool>()) {
            let (bare, want) = if v6 { ("[2001:db8::7]", "2001:db8::7") } else { ("203.0.113.7", "203.0.113.7") };
            let hop = port.map_or_else(|| bare.to_owned(), |port| format!("{bare}:{port}"));
            prop_assert_eq!(xff(&format!("{left},{hop}")), want);
            prop_assert_eq!(forwarded_as(&format!("{left},for=\"{hop}\"")), want);
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(value in proptest::collection::vec(any::<u8>(), 0..60)) {
            if let Ok(value) = HeaderValue::from_bytes(&value) {
                for name in ["x-forwarded-for", "forwarded"] {
                    let mut headers = HeaderMap::new();
                    headers.insert(name, value.clone());
                    let _ = client(&headers, "10.1.1.1".parse().unwrap(), &["10.0.0.0/8".parse().unwrap()]);
                }
            }
        }

        // An address that is found is one of the hops, and every hop to its right is a trusted proxy.
        #[test]
        fn what_is_found_stands_behind_trusted_proxies(hops in proptest::collection::vec("(10\\.0\\.0\\.[1-9]|8\\.8\\.8\\.[1-9]|x)", 1..6)) {
            let found = xff(&hops.join(", "));
            let untrusted = hops.iter().rposition(|hop| !hop.starts_with("10."));
            let want = match untrusted {
                Some(at) if hops[at] != "x" => hops[at].clone(),
                Some(at) => hops.get(at + 1).cloned().unwrap_or_else(|| "10.9.9.9".to_owned()),
                None => hops[0].clone(),
            };
            prop_assert_eq!(found, want);
        }
    }
}

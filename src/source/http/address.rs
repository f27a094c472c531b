//! Whose request it is: the peer, or what a trusted proxy says.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::str::FromStr;

use hyper::header::HeaderMap;

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address: IpAddr = address.parse().map_err(|_| format!("{address:?} is no IP address"))?;
        let widest = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            Some(bits) => bits
                .parse()
                .ok()
                .filter(|bits| *bits <= widest)
                .ok_or_else(|| format!("{bits:?} is no prefix length; it goes from 0 to {widest}"))?,
            None => widest,
        };
        Ok(Self { address, bits })
    }
}

impl Network {
    fn holds(&self, other: IpAddr) -> bool {
        let differ = match (self.address, other.to_canonical()) {
            (IpAddr::V4(a), IpAddr::V4(b)) => u128::from(a.to_bits() ^ b.to_bits()) << 96,
            (IpAddr::V6(a), IpAddr::V6(b)) => a.to_bits() ^ b.to_bits(),
            _ => return false,
        };
        differ.leading_zeros() >= u32::from(self.bits)
    }
}

/// The client's address as text. `X-Forwarded-For` is read from its right end, past addresses of trusted proxies,
/// and only when the peer itself is one; anything else would let a client choose its own address.
pub(super) fn client(headers: &HeaderMap, peer: IpAddr, trusted: &[Network]) -> String {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut client = peer.to_canonical();
    if is_trusted(client) {
        let hops = headers.get_all("x-forwarded-for").into_iter().filter_map(|value| value.to_str().ok());
        let hops: Vec<IpAddr> =
            hops.flat_map(|value| value.split(',')).filter_map(|hop| hop.trim().parse().ok()).collect();
        for hop in hops.into_iter().rev() {
            client = hop.to_canonical();
            if !is_trusted(client) {
                break;
            }
        }
    }
    let mut text = String::with_capacity(15);
    // Writing to a String cannot fail.
    let _ = write!(text, "{client}");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_trusted_peer_may_name_the_client() {
        let mut headers = HeaderMap::new();
        headers.insert("x-forwarded-for", "6.6.6.6, 203.0.113.9, 10.1.2.3".parse().unwrap());
        let trusted = ["10.0.0.0/8".parse().unwrap(), "::1".parse().unwrap()];
        let from = |peer: &str| client(&headers, peer.parse().unwrap(), &trusted);
        assert_eq!(from("10.9.9.9"), "203.0.113.9");
        assert_eq!(from("::ffff:10.9.9.9"), "203.0.113.9");
        assert_eq!(from("192.0.2.1"), "192.0.2.1");
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "x".parse::<Network>().is_err());
        assert!("0.0.0.0/0".parse::<Network>().unwrap().holds("1.2.3.4".parse().unwrap()));
    }
}

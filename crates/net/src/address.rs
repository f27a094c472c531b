//! Ranges of addresses, and who counts as one caller.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use ipnet::IpNet;

/// A range of addresses, `10.0.0.0/8` or a single address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Network(IpNet);

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        // `IpNet` would read 010.0.0.1 too, which is 8.0.0.1 to some and 10.0.0.1 to others.
        let single: IpNet = address.parse::<IpAddr>().map_err(|_| format!("{address:?} is no IP address"))?.into();
        let Some(bits) = bits else { return Ok(Self(single)) };
        let network = bits.parse().ok().and_then(|bits| IpNet::new(single.addr(), bits).ok());
        network
            .map(Self)
            .ok_or_else(|| format!("{bits:?} is no prefix length; it goes from 0 to {}", single.max_prefix_len()))
    }
}

impl Network {
    /// Whether the range holds `other`; an IPv4 address mapped into IPv6 counts as IPv4.
    #[must_use]
    pub fn holds(&self, other: IpAddr) -> bool {
        self.0.contains(&other.to_canonical())
    }
}

/// Who counts as one: an IPv4 address, or the /64 of an IPv6 address, all of which one subscriber has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Caller(IpAddr);

impl From<IpAddr> for Caller {
    fn from(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V6(address) => Self(Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into()),
            address => Self(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_hold_their_addresses() {
        let holds = |network: &str, address: &str| network.parse::<Network>().unwrap().holds(address.parse().unwrap());
        assert!(holds("0.0.0.0/0", "1.2.3.4") && holds("10.0.0.0/8", "::ffff:10.1.1.1"));
        assert!(!holds("10.0.0.0/8", "11.0.0.1") && !holds("::/0", "1.2.3.4") && holds("::1", "::1"));
        assert!("10.0.0.0/33".parse::<Network>().is_err() && "x".parse::<Network>().is_err());
        // Octal to some, decimal to others.
        assert!("010.0.0.1/8".parse::<Network>().is_err());
    }

    #[test]
    fn a_subscriber_of_ipv6_is_one_caller() {
        let caller = |text: &str| Caller::from(text.parse::<IpAddr>().unwrap());
        assert_eq!(caller("2001:db8:1:2::1"), caller("2001:db8:1:2:ffff::9"));
        assert_ne!(caller("2001:db8:1:2::1"), caller("2001:db8:1:3::1"));
        assert_eq!(caller("::ffff:192.0.2.1"), caller("192.0.2.1"));
        assert_ne!(caller("192.0.2.2"), caller("192.0.2.1"));
    }
}

//! Where requests may go.

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;

use hyper::Method;
use url::{Host, Url};

use super::address::is_global;
use super::placeholder::has_placeholder;

const URL_BYTES_MAX: usize = 8 << 10;

/// A request that must not be sent. The sentence says what would let it through, if anything may.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PolicyRefusal {
    /// Stable, for the quarantine.
    pub code: &'static str,
    pub reason: String,
}

impl PolicyRefusal {
    pub(super) fn new(code: &'static str, reason: impl Into<String>) -> Self {
        Self { code, reason: reason.into() }
    }
}

/// Scheme, host and port. The host may be `*.` and a domain: every name below that domain, not the domain itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AllowedOrigin {
    secure: bool,
    /// As `url` spells it: lower case, punycode, addresses in their one form.
    host: String,
    below: bool,
    port: u16,
}

impl AllowedOrigin {
    /// The origin of a whole URL, whatever its path.
    #[must_use]
    pub fn of_url(text: &str) -> Option<Self> {
        Self::read(&Url::parse(text).ok()?, false)
    }

    fn read(url: &Url, below: bool) -> Option<Self> {
        let secure = match url.scheme() {
            "https" => true,
            "http" => false,
            _ => return None,
        };
        let host = url.host_str()?.to_owned();
        Some(Self { secure, host, below, port: url.port_or_known_default()? })
    }

    /// True when requests to it are encrypted.
    #[must_use]
    pub const fn is_secure(&self) -> bool {
        self.secure
    }

    /// The host, without any `*.`.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    #[must_use]
    pub const fn port(&self) -> u16 {
        self.port
    }

    /// Whether it stands for all hosts below one.
    #[must_use]
    pub const fn is_many(&self) -> bool {
        self.below
    }

    /// True when a URL with the origin `other` is within this one.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let host = if self.below {
            let below = other.host.strip_suffix(self.host.as_str()).and_then(|rest| rest.strip_suffix('.'));
            below.is_some_and(|labels| !labels.is_empty() && !labels.starts_with('.'))
                || (other.below && other.host == self.host)
        } else {
            !other.below && self.host == other.host
        };
        host && self.secure == other.secure && self.port == other.port
    }
}

impl std::fmt::Display for AllowedOrigin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (scheme, known) = if self.secure { ("https", 443) } else { ("http", 80) };
        let below = if self.below { "*." } else { "" };
        write!(f, "{scheme}://{below}{}", self.host)?;
        if self.port == known { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is no origin; write https://api.example.com, nothing behind host and port");
        let (scheme, rest) = text.split_once("://").ok_or_else(wrong)?;
        let (below, rest) = rest.strip_prefix("*.").map_or((false, rest), |rest| (true, rest));
        let url = Url::parse(&format!("{scheme}://{rest}")).map_err(|_| wrong())?;
        let bare = matches!(url.path(), "" | "/")
            && url.query().is_none()
            && url.fragment().is_none()
            && url.username().is_empty()
            && url.password().is_none();
        // An address has no names below it, and `*.com` is nobody's to grant.
        let domain = matches!(url.host(), Some(Host::Domain(name)) if name.contains('.'));
        if !bare || (below && !domain) || rest.contains('*') {
            return Err(wrong());
        }
        Self::read(&url, below).ok_or_else(wrong)
    }
}

/// One place that a plugin asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboundRule {
    pub origin: AllowedOrigin,
    pub methods: Vec<Method>,
}

/// What a plugin asks for and what the workspace grants. A request must be within both.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Policy {
    pub asked: Vec<OutboundRule>,
    pub granted: Vec<AllowedOrigin>,
    /// Hosts of private networks that the workspace grants, as they stand in URLs.
    pub private_hosts: Vec<String>,
    /// Authorities that the workspace trusts besides the machine's, a PEM file.
    pub ca_file: Option<PathBuf>,
}

impl Policy {
    /// Checks everything about a place that can be known without a look-up.
    ///
    /// # Errors
    /// It must not be sent there.
    pub fn check(&self, method: &Method, text: &str) -> Result<Url, PolicyRefusal> {
        if text.len() > URL_BYTES_MAX {
            let reason = format!("the URL has {} bytes; at most {URL_BYTES_MAX} are allowed", text.len());
            return Err(PolicyRefusal::new("url-too-long", reason));
        }
        let bad = |why: &str| PolicyRefusal::new("bad-url", format!("the URL {} {why}", shown(text)));
        // `url` would take these out or read them as slashes; what was meant is then anybody's guess.
        if text.chars().any(|c| c.is_control() || c == ' ' || c == '\\') {
            return Err(bad("holds a space, a control character or a backslash; percent-encode it"));
        }
        let authority = text.split_once("://").map_or(text, |(_, rest)| rest);
        let authority = authority.split(['/', '?', '#']).next().unwrap_or_default();
        if has_placeholder(authority) || authority.contains("{{") {
            let reason = format!("the URL {} asks for a secret in its host", shown(text));
            return Err(PolicyRefusal::new("secret-misplaced", reason));
        }
        let url = Url::parse(text).map_err(|error| bad(&format!("cannot be read: {error}")))?;
        if !url.username().is_empty() || url.password().is_some() {
            return Err(bad("holds a user or a password; use `authentication` of the manifest"));
        }
        let origin = AllowedOrigin::read(&url, false).ok_or_else(|| bad("is neither https nor http"))?;
        self.check_origin(method, &origin)?;
        if let Some(address) = literal(&url)
            && !is_global(address)
            && !self.grants(&origin.host)
        {
            return Err(private(&origin.host, &[address]));
        }
        Ok(url)
    }

    fn check_origin(&self, method: &Method, origin: &AllowedOrigin) -> Result<(), PolicyRefusal> {
        let mut rules = self.asked.iter().filter(|rule| rule.origin.covers(origin)).peekable();
        if rules.peek().is_none() {
            let asked: Vec<String> = self.asked.iter().map(|rule| rule.origin.to_string()).collect();
            let reason = format!("the plugin's manifest does not ask for {origin}; its `hosts` are {}", list(&asked));
            return Err(PolicyRefusal::new("host-not-asked", reason));
        }
        if !rules.any(|rule| rule.methods.contains(method)) {
            let reason = format!("the plugin's manifest does not ask for {method} to {origin}");
            return Err(PolicyRefusal::new("method-not-asked", reason));
        }
        if !self.granted.iter().any(|granted| granted.covers(origin)) {
            let reason = format!(
                "the workspace does not grant {origin}; add `allow_hosts: [{origin}]` to the destination if it should"
            );
            return Err(PolicyRefusal::new("host-not-granted", reason));
        }
        Ok(())
    }

    /// Whether the workspace grants this host although its address is private.
    #[must_use]
    pub fn grants(&self, host: &str) -> bool {
        let plain = |host: &str| host.trim_matches(['[', ']']).trim_end_matches('.').to_ascii_lowercase();
        self.private_hosts.iter().any(|granted| plain(granted) == plain(host))
    }
}

fn literal(url: &Url) -> Option<IpAddr> {
    match url.host()? {
        Host::Ipv4(address) => Some(address.into()),
        Host::Ipv6(address) => Some(address.into()),
        Host::Domain(_) => None,
    }
}

/// The refusal of a host that is in somebody's house.
pub(super) fn private(host: &str, addresses: &[IpAddr]) -> PolicyRefusal {
    let addresses: Vec<String> = addresses.iter().map(ToString::to_string).collect();
    let reason = format!(
        "{host} is at {}, which is no address on the internet; add `allow_private_hosts: [\"{host}\"]` to the \
         destination if that host is meant",
        list(&addresses)
    );
    PolicyRefusal::new("private-address", reason)
}

fn list(texts: &[String]) -> String {
    if texts.is_empty() { "none".to_owned() } else { texts.join(", ") }
}

/// Text of a guest for a sentence: short, and without control characters.
pub(super) fn shown(text: &str) -> String {
    let mut out: String = text.chars().take(200).flat_map(char::escape_default).collect();
    if text.chars().nth(200).is_some() {
        out.push_str("...");
    }
    format!("\"{out}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn policy(asked: &str, granted: &str, private: &[&str]) -> Policy {
        Policy {
            asked: vec![OutboundRule { origin: asked.parse().unwrap(), methods: vec![Method::POST] }],
            granted: vec![granted.parse().unwrap()],
            private_hosts: private.iter().map(|&host| host.to_owned()).collect(),
            ca_file: None,
        }
    }

    fn code(policy: &Policy, url: &str) -> &'static str {
        policy.check(&Method::POST, url).map_or_else(|refusal| refusal.code, |_| "fine")
    }

    #[test]
    fn a_request_stays_within_what_is_asked_and_granted() {
        let narrow = policy("https://*.acme.com", "https://eu.acme.com", &[]);
        for (url, want) in [
            ("https://eu.acme.com/v1?x=1", "fine"),
            ("https://EU.acme.com:443/", "fine"),
            ("https://us.acme.com/", "host-not-granted"),
            ("https://acme.com/", "host-not-asked"),
            ("https://evilacme.com/", "host-not-asked"),
            ("https://eu.acme.com.evil.net/", "host-not-asked"),
            ("https://eu.acme.com:8443/", "host-not-asked"),
            ("http://eu.acme.com/", "host-not-asked"),
            ("https://eu.acme.com@evil.net/", "bad-url"),
            ("https://u:p@eu.acme.com/", "bad-url"),
            ("https://evil.net\\@eu.acme.com/", "bad-url"),
            ("https://eu.acme.com\t/", "bad-url"),
            ("https://{{secret.key}}.acme.com/", "secret-misplaced"),
            ("file:///etc/passwd", "bad-url"),
            ("//eu.acme.com/", "bad-url"),
            ("", "bad-url"),
        ] {
            assert_eq!(code(&narrow, url), want, "{url}");
        }
        assert_eq!(code(&narrow, &format!("https://eu.acme.com/{}", "x".repeat(9_000))), "url-too-long");
        let refused = narrow.check(&Method::DELETE, "https://eu.acme.com/").unwrap_err();
        assert_eq!(refused.code, "method-not-asked");
    }

    #[test]
    fn every_spelling_of_a_private_address_is_refused_by_host_and_setting() {
        for host in
            ["127.0.0.1", "2130706433", "0x7f.1", "0177.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "169.254.169.254"]
        {
            let url = format!("https://{host}/");
            let open = policy(&url, &url, &[]);
            let refused = open.check(&Method::POST, &url).expect_err(host);
            assert_eq!(refused.code, "private-address", "{host}");
            assert!(refused.reason.contains("allow_private_hosts"), "{refused}");
        }
        assert_eq!(
            code(&policy("http://127.0.0.1:99", "http://127.0.0.1:99", &["127.0.0.1"]), "http://127.0.0.1:99/x"),
            "fine"
        );
        assert_eq!(code(&policy("https://[::1]", "https://[::1]", &["::1"]), "https://[::1]/x"), "fine");
    }

    #[test]
    fn an_origin_is_nothing_but_scheme_host_and_port() {
        for bad in [
            "https://a.com/x",
            "https://*",
            "https://*.com",
            "https://a.*.com",
            "ftp://a.com",
            "a.com",
            "https://u@a.com",
        ] {
            assert!(bad.parse::<AllowedOrigin>().is_err(), "{bad}");
        }
        assert_eq!("https://*.A.com:443".parse::<AllowedOrigin>().unwrap().to_string(), "https://*.a.com");
        assert_eq!(AllowedOrigin::of_url("https://a.com:8443/x?y").unwrap().to_string(), "https://a.com:8443");
    }
}

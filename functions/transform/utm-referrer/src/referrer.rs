//! Where a visitor came from, by the host of the referrer.

/// What kind of place a visitor came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Search,
    Social,
    Email,
    /// Another page of the same site.
    Internal,
    /// No referrer: an address typed in, a bookmark, an application.
    Direct,
    /// Any other site.
    Referral,
}

impl Kind {
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Search => "search",
            Self::Social => "social",
            Self::Email => "email",
            Self::Internal => "internal",
            Self::Direct => "direct",
            Self::Referral => "referral",
        }
    }
}

/// Known places: a host (for itself and its subdomains), what it is, its name. The first that fits counts, so the mail
/// of a search engine stands before its search. A host that ends in a dot fits any top-level domain after it.
const PLACES: [(&str, Kind, &str); 30] = [
    ("mail.google.com", Kind::Email, "Gmail"),
    ("mail.yahoo.com", Kind::Email, "Yahoo Mail"),
    ("outlook.live.com", Kind::Email, "Outlook"),
    ("outlook.office.com", Kind::Email, "Outlook"),
    ("outlook.office365.com", Kind::Email, "Outlook"),
    ("mail.proton.me", Kind::Email, "Proton Mail"),
    ("mail.aol.com", Kind::Email, "AOL Mail"),
    ("google.", Kind::Search, "Google"),
    ("bing.com", Kind::Search, "Bing"),
    ("duckduckgo.com", Kind::Search, "DuckDuckGo"),
    ("yahoo.", Kind::Search, "Yahoo"),
    ("ecosia.org", Kind::Search, "Ecosia"),
    ("baidu.com", Kind::Search, "Baidu"),
    ("yandex.", Kind::Search, "Yandex"),
    ("search.brave.com", Kind::Search, "Brave"),
    ("startpage.com", Kind::Search, "Startpage"),
    ("qwant.com", Kind::Search, "Qwant"),
    ("facebook.com", Kind::Social, "Facebook"),
    ("instagram.com", Kind::Social, "Instagram"),
    ("linkedin.com", Kind::Social, "LinkedIn"),
    ("lnkd.in", Kind::Social, "LinkedIn"),
    ("t.co", Kind::Social, "X"),
    ("x.com", Kind::Social, "X"),
    ("twitter.com", Kind::Social, "X"),
    ("reddit.com", Kind::Social, "Reddit"),
    ("youtube.com", Kind::Social, "YouTube"),
    ("tiktok.com", Kind::Social, "TikTok"),
    ("pinterest.", Kind::Social, "Pinterest"),
    ("bsky.app", Kind::Social, "Bluesky"),
    ("news.ycombinator.com", Kind::Social, "Hacker News"),
];

/// What `host` is, and the name of the place when it is known.
#[must_use]
pub fn classify<'a>(host: &str, internal_hosts: impl IntoIterator<Item = &'a str>) -> (Kind, Option<&'static str>) {
    if internal_hosts.into_iter().any(|internal| is_under(host, internal)) {
        return (Kind::Internal, None);
    }
    match PLACES.iter().find(|(place, _, _)| fits(host, place)) {
        Some((_, kind, name)) => (*kind, Some(name)),
        None => (Kind::Referral, None),
    }
}

/// The host of a URL, in lower case and without user, port and final dot.
#[must_use]
pub fn host(url: &str) -> Option<String> {
    let (scheme, rest) = url.trim().split_once("://")?;
    let authority = rest.split(['/', '?', '#', '\\']).next()?;
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // The colons between brackets are an address of version 6; the one after them begins the port.
    let host = match host.find(']') {
        Some(end) => host.get(..=end)?,
        None => host.split(':').next()?,
    };
    let host = host.trim_end_matches('.').to_lowercase();
    let web = scheme.eq_ignore_ascii_case("http") || scheme.eq_ignore_ascii_case("https");
    // An application names itself in place of a host: android-app://com.google.android.gm.
    (!host.is_empty() && (web || scheme.eq_ignore_ascii_case("android-app"))).then_some(host)
}

fn is_under(host: &str, parent: &str) -> bool {
    let below = |rest: &str| rest.is_empty() || rest.ends_with('.');
    !parent.is_empty() && host.strip_suffix(parent).is_some_and(below)
}

fn fits(host: &str, place: &str) -> bool {
    if !place.ends_with('.') {
        return is_under(host, place);
    }
    // `google.` fits google.com, www.google.co.uk, google.de; not google.evil.example.com.
    let at = if host.starts_with(place) { Some(0) } else { host.find(&format!(".{place}")).map(|at| at + 1) };
    let Some(top_level) = at.and_then(|at| host.get(at + place.len()..)) else { return false };
    top_level.split('.').count() <= 2 && top_level.split('.').all(|label| (2..=3).contains(&label.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_known_by_their_host() {
        let kind = |host: &str| classify(host, ["shop.example.com"]).0;
        assert_eq!(kind("www.google.co.uk"), Kind::Search);
        assert_eq!(kind("mail.google.com"), Kind::Email);
        assert_eq!(kind("l.facebook.com"), Kind::Social);
        assert_eq!(kind("t.co"), Kind::Social);
        assert_eq!(kind("not-t.co"), Kind::Referral);
        assert_eq!(kind("google.evil.example.com"), Kind::Referral);
        assert_eq!(kind("shop.example.com"), Kind::Internal);
        assert_eq!(kind("eu.shop.example.com"), Kind::Internal);
        assert_eq!(kind("example.com"), Kind::Referral);
        assert_eq!(kind("evilshop.example.com"), Kind::Referral);
    }

    #[test]
    fn a_host_is_read_from_any_url() {
        assert_eq!(host("https://User:pw@WWW.Example.com.:8443/a?b#c").as_deref(), Some("www.example.com"));
        assert_eq!(host("http://[2001:db8::1]:80/").as_deref(), Some("[2001:db8::1]"));
        assert_eq!(host("android-app://com.google.android.gm").as_deref(), Some("com.google.android.gm"));
        assert_eq!(host("https://good.example\\@evil.example/").as_deref(), Some("good.example"));
        for url in ["", "/relative", "mailto:a@example.com", "javascript://x", "https://"] {
            assert_eq!(host(url), None, "{url}");
        }
    }
}

//! Cookies of browsers, and whether it was a page of this server that had a request sent.
//!
//! A session is kept in `__Host-tidegate` where the browser speaks TLS, and in `tidegate_session` where it does not; each counts in its
//! own place alone, because without TLS anybody on the way may set the second.

use hyper::header::{self, HeaderMap, HeaderValue};
use url::Url;

/// Whether the browser speaks TLS: to a proxy that is trusted, or at the public address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct OverTls(pub(super) bool);

/// What a cookie is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieUse {
    Session,
    /// A sign-in that is under way at a provider.
    PendingSignIn,
}

/// Seconds that a browser keeps them. The server has ends of its own.
const SESSION_S: u64 = 7 * 24 * 3_600;
pub(super) const PENDING_S: u64 = 600;

impl CookieUse {
    const fn name(self, OverTls(over_tls): OverTls) -> &'static str {
        match (self, over_tls) {
            (Self::Session, true) => "__Host-tidegate",
            (Self::Session, false) => "tidegate_session",
            (Self::PendingSignIn, true) => "__Host-tidegate-login",
            (Self::PendingSignIn, false) => "tidegate_login",
        }
    }

    /// The value that a browser has kept.
    pub(super) fn of(self, headers: &HeaderMap, over_tls: OverTls) -> Option<&str> {
        let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
        let pairs = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().split_once('='));
        pairs.into_iter().find(|(name, _)| *name == self.name(over_tls)).map(|(_, value)| value)
    }

    /// Has a browser keep a value, which is text of base64url and dots.
    pub(super) fn kept(self, value: &str, over_tls: OverTls) -> HeaderValue {
        let seconds = match self {
            Self::Session => SESSION_S,
            Self::PendingSignIn => PENDING_S,
        };
        self.header(value, seconds, over_tls)
    }

    /// Has a browser forget it.
    pub(super) fn forgotten(self, over_tls: OverTls) -> HeaderValue {
        self.header("", 0, over_tls)
    }

    /// `Lax`, because a provider sends the browser back from another site, and the answer to that must find its cookies.
    fn header(self, value: &str, seconds: u64, over_tls: OverTls) -> HeaderValue {
        let secure = if over_tls.0 { "; Secure" } else { "" };
        let name = self.name(over_tls);
        let text = format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Lax{secure}");
        let mut header = HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""));
        header.set_sensitive(true);
        header
    }
}

/// Which page had a request sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestOrigin {
    /// One of this server.
    Own,
    /// One of another site, or of another port of this host.
    Foreign,
    /// The request says nothing of it: no browser of today sends it.
    Untold,
}

impl RequestOrigin {
    /// What `Sec-Fetch-Site` and `Origin` say; each that is there must agree. `public` is where browsers reach the server.
    pub(super) fn of(headers: &HeaderMap, public: Option<&Url>, OverTls(over_tls): OverTls) -> Self {
        let text = |name: &str| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
        let (site, origin) = (text("sec-fetch-site"), text(header::ORIGIN.as_str()));
        if site.is_some_and(|site| !matches!(site, "same-origin" | "none")) {
            return Self::Foreign;
        }
        let Some(origin) = origin else { return if site.is_some() { Self::Own } else { Self::Untold } };
        let is_public = public.is_some_and(|public| public.origin().ascii_serialization() == origin);
        let of_https = origin.strip_prefix("https://");
        let authority = if over_tls { of_https } else { of_https.or_else(|| origin.strip_prefix("http://")) };
        let is_host =
            authority.zip(text(header::HOST.as_str())).is_some_and(|(one, two)| one.eq_ignore_ascii_case(two));
        if is_public || is_host { Self::Own } else { Self::Foreign }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), HeaderValue::from_static(value))).collect()
    }

    #[test]
    fn a_cookie_counts_only_where_it_was_set() {
        let found = headers(&[("cookie", "a=b; tidegate_session=one"), ("cookie", "__Host-tidegate=two;x")]);
        assert_eq!(CookieUse::Session.of(&found, OverTls(false)), Some("one"));
        assert_eq!(CookieUse::Session.of(&found, OverTls(true)), Some("two"));
        assert_eq!(CookieUse::PendingSignIn.of(&found, OverTls(true)), None);
        let kept = CookieUse::Session.kept("x", OverTls(true));
        let text = "__Host-tidegate=x; Path=/; Max-Age=604800; HttpOnly; SameSite=Lax; Secure";
        assert_eq!(kept.to_str().unwrap(), text);
        assert!(!format!("{kept:?}").contains("=x"));
        assert!(CookieUse::Session.forgotten(OverTls(false)).to_str().unwrap().contains("Max-Age=0"));
    }

    #[test]
    fn a_page_of_another_origin_is_told_from_our_own() {
        let public = Url::parse("https://admin.example").unwrap();
        let of = |pairs: &[(&'static str, &'static str)], over_tls: bool| {
            let pairs = [pairs, &[("host", "127.0.0.1:8089")]].concat();
            RequestOrigin::of(&headers(&pairs), Some(&public), OverTls(over_tls))
        };
        let cases: [(&[(&'static str, &'static str)], RequestOrigin); 13] = [
            (&[], RequestOrigin::Untold),
            (&[("origin", "http://127.0.0.1:8089")], RequestOrigin::Own),
            (&[("origin", "https://admin.example")], RequestOrigin::Own),
            (&[("sec-fetch-site", "same-origin")], RequestOrigin::Own),
            (&[("sec-fetch-site", "none")], RequestOrigin::Own),
            (&[("sec-fetch-site", "same-site")], RequestOrigin::Foreign),
            (&[("sec-fetch-site", "cross-site")], RequestOrigin::Foreign),
            (&[("origin", "http://127.0.0.1:8080")], RequestOrigin::Foreign),
            (&[("origin", "http://127.0.0.1:80890")], RequestOrigin::Foreign),
            (&[("origin", "https://admin.example.org")], RequestOrigin::Foreign),
            (&[("origin", "null")], RequestOrigin::Foreign),
            (&[("origin", "http://127.0.0.1:8089"), ("sec-fetch-site", "cross-site")], RequestOrigin::Foreign),
            (&[("origin", "https://evil.example"), ("sec-fetch-site", "same-origin")], RequestOrigin::Foreign),
        ];
        for (pairs, origin) in cases {
            assert_eq!(of(pairs, false), origin, "{pairs:?}");
        }
        assert_eq!(of(&[("origin", "http://127.0.0.1:8089")], true), RequestOrigin::Foreign, "TLS is not spoken there");
        assert_eq!(of(&[("origin", "https://127.0.0.1:8089")], true), RequestOrigin::Own);
    }
}

//! The cookie service of browser SDKs: cookies that a server sets live longer than those of scripts.
//!
//! Browsers delete what a script has written into `document.cookie` after a week or a day. So a page asks to **renew** its ids: the cookie of
//! the script is written once more as one that no script can read, and where the browser has deleted the first, it is made of the second.
//! To **clear** takes the second away. A value is copied as it came, and nothing else is known of it here; values are bounded and of the
//! bytes that a cookie may have. Pages of the server's own origin may ask, and those of the origins that are named; nobody else.

use std::time::Duration;

use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use url::{Host, Url};

use super::answer::{HttpAnswer, PreparedAnswer};

/// A longer value of a cookie is taken for none.
const VALUE_BYTES_MAX: usize = 512;
/// Browsers keep no cookie longer: 400 days.
pub const COOKIE_AGE_MAX: Duration = Duration::from_secs(400 * 86_400);
const COOKIE_AGE_DEFAULT: Duration = Duration::from_secs(365 * 86_400);

/// Which pages may use the cookie service, and how its cookies are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrowserCookies {
    /// Origins whose pages may ask, beside the server's own.
    pub origins: Vec<String>,
    /// The domain that pages and server have in common; without one, a cookie is for the host that was asked alone.
    pub domain: Option<String>,
    /// How long a cookie lives after it was renewed.
    pub age_max: Duration,
}

impl Default for BrowserCookies {
    fn default() -> Self {
        Self { origins: Vec::new(), domain: None, age_max: COOKIE_AGE_DEFAULT }
    }
}

/// `https://Shop.example.com/` as browsers name it in `Origin`.
///
/// # Errors
/// What is wrong with it.
pub fn cookie_origin(text: &str) -> Result<String, String> {
    let url = Url::parse(text).map_err(|error| format!("{text:?} is no origin: {error}"))?;
    let is_plain = url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    if !matches!(url.scheme(), "http" | "https") || url.path() != "/" || !is_plain || url.password().is_some() {
        return Err(format!("{text:?} is not an http or https URL of host and port alone"));
    }
    Ok(url.origin().ascii_serialization())
}

/// `Example.com` as it stands in a cookie.
///
/// # Errors
/// What is wrong with it.
pub fn cookie_domain(text: &str) -> Result<String, String> {
    match Host::parse(text) {
        Ok(Host::Domain(domain)) if domain.trim_matches('.').contains('.') && domain.bytes().all(is_of_name) => {
            Ok(domain.trim_matches('.').to_owned())
        }
        Ok(_) => Err(format!("{text:?} is no domain that may have cookies of its subdomains")),
        Err(error) => Err(format!("{text:?} is no domain: {error}")),
    }
}

fn is_of_name(byte: u8) -> bool {
    matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.')
}

/// What a page asks of the cookie service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct CookieCall {
    pub(super) family: CookieFamily,
    pub(super) work: CookieWork,
}

/// Whose cookies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieFamily {
    Tidegate,
    Hightouch,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum CookieWork {
    Renew,
    Clear,
}

/// A cookie that scripts read and write, and the one that they do not see.
struct CookiePair {
    of_script: &'static str,
    of_server: &'static str,
}

const TIDEGATE: [CookiePair; 2] = [
    CookiePair { of_script: "tg_anonymous_id", of_server: "tg_anonymous_id_srvr" },
    CookiePair { of_script: "tg_user_id", of_server: "tg_user_id_srvr" },
];
const HIGHTOUCH: [CookiePair; 2] = [
    CookiePair { of_script: "htjs_anonymous_id", of_server: "htjs_anonymous_id_srvr" },
    CookiePair { of_script: "htjs_user_id", of_server: "htjs_user_id_srvr" },
];

impl CookieFamily {
    const fn pairs(self) -> &'static [CookiePair; 2] {
        match self {
            Self::Tidegate => &TIDEGATE,
            Self::Hightouch => &HIGHTOUCH,
        }
    }
}

impl BrowserCookies {
    /// Whether whoever sent these headers is a page that may use the cookie service.
    pub(super) fn admits(&self, headers: &HeaderMap) -> bool {
        // Browsers write it, and no script can.
        let site = text(headers, "sec-fetch-site");
        if site == Some("same-origin") {
            return true;
        }
        let Some(origin) = text(headers, "origin") else { return false };
        let is_own = site.is_none() && text(headers, "host").is_some_and(|host| is_at(origin, host));
        is_own || self.origins.iter().any(|known| known == origin)
    }

    /// The domain, where the page is within it.
    fn domain_of(&self, page: Option<&str>) -> Option<&str> {
        let domain = self.domain.as_deref()?;
        let host = page?;
        let is_within = host == domain || host.strip_suffix(domain).is_some_and(|rest| rest.ends_with('.'));
        is_within.then_some(domain)
    }

    /// What all cookies of an answer to these headers end with.
    fn place(&self, headers: &HeaderMap) -> String {
        let page = text(headers, "origin").and_then(|origin| Url::parse(origin).ok());
        // A page without TLS cannot have cookies that are for TLS alone.
        let secure = if page.as_ref().is_some_and(|page| page.scheme() == "http") { "" } else { "; Secure" };
        let domain = self.domain_of(page.as_ref().and_then(Url::host_str));
        let domain = domain.map(|domain| format!("; Domain={domain}")).unwrap_or_default();
        format!("; Path=/; SameSite=Lax{domain}{secure}")
    }

    /// Answers a page.
    pub(super) fn answer(&self, call: CookieCall, headers: &HeaderMap) -> HttpAnswer {
        if !self.admits(headers) {
            return HttpAnswer::OriginNotAllowed;
        }
        let place = self.place(headers);
        let seconds = self.age_max.as_secs();
        let mut cookies = Vec::new();
        for CookiePair { of_script, of_server } in call.family.pairs() {
            if call.work == CookieWork::Clear {
                cookies.push(format!("{of_server}=; Max-Age=0; HttpOnly{place}"));
                continue;
            }
            let shown = value(headers, of_script);
            let Some(id) = shown.or_else(|| value(headers, of_server)) else { continue };
            cookies.push(format!("{of_server}={id}; Max-Age={seconds}; HttpOnly{place}"));
            if shown.is_none() {
                cookies.push(format!("{of_script}={id}; Max-Age={seconds}{place}"));
            }
        }
        let mut answered = HeaderMap::new();
        answered.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        for cookie in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
            answered.append(header::SET_COOKIE, cookie);
        }
        HttpAnswer::Prepared(Box::new(PreparedAnswer {
            status: StatusCode::OK,
            kind: "application/json; charset=utf-8",
            headers: answered,
            body: b"{\"success\":true}".as_slice().into(),
        }))
    }
}

/// Whether an origin is that of this `Host`.
fn is_at(origin: &str, host: &str) -> bool {
    origin.split_once("://").is_some_and(|(_, at)| at.eq_ignore_ascii_case(host))
}

/// The value of a header, if it is text.
fn text<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    headers.get(name).and_then(|value| value.to_str().ok())
}

/// The value of a cookie: the first that is fit to be copied. Others may have any bytes.
fn value<'h>(headers: &'h HeaderMap, name: &str) -> Option<&'h str> {
    let lines = headers.get_all(header::COOKIE).into_iter();
    let mut pairs = lines.flat_map(|line| line.as_bytes().split(|byte| *byte == b';'));
    pairs.find_map(|pair| plain(pair.trim_ascii().strip_prefix(name.as_bytes())?.strip_prefix(b"=")?))
}

/// A value as RFC 6265 has it, without quotes.
fn plain(value: &[u8]) -> Option<&str> {
    let fits = |byte: &u8| matches!(byte, 0x21 | 0x23..=0x2b | 0x2d..=0x3a | 0x3c..=0x5b | 0x5d..=0x7e);
    if value.is_empty() || value.len() > VALUE_BYTES_MAX || !value.iter().all(fits) {
        return None;
    }
    std::str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn pages_of_the_own_origin_and_of_named_ones_may_ask_and_no_others() {
        let cookies =
            BrowserCookies { origins: vec!["https://www.example.com".to_owned()], ..BrowserCookies::default() };
        let host = ("host", "events.example.com");
        for (lines, may) in [
            (vec![host, ("sec-fetch-site", "same-origin")], true),
            (vec![host, ("sec-fetch-site", "same-site"), ("origin", "https://www.example.com")], true),
            (vec![host, ("origin", "https://events.example.com")], true),
            (vec![host], false),
            (vec![host, ("origin", "null")], false),
            (vec![host, ("origin", "https://evil.example")], false),
            (vec![host, ("origin", "http://www.example.com")], false),
            (vec![host, ("origin", "https://www.example.com.evil.example")], false),
            (vec![host, ("sec-fetch-site", "same-site"), ("origin", "https://users.example.com")], false),
            (vec![host, ("sec-fetch-site", "cross-site"), ("origin", "https://events.example.com")], false),
        ] {
            assert_eq!(cookies.admits(&headers(&lines)), may, "{lines:?}");
        }
    }

    #[test]
    fn a_value_is_copied_when_it_is_one_and_short_enough() {
        let longest = "x".repeat(VALUE_BYTES_MAX);
        let (fits, is_longer) = (format!("a={longest}"), format!("a={longest}x"));
        for (line, found) in [
            ("a=1", Some("1")),
            ("b=2; a=1;c=3", Some("1")),
            ("a=%22x%22", Some("%22x%22")),
            ("aa=2; a_=3", None),
            ("a=; a=\"q\"; a=x y; a=x,y; a=x\\y", None),
            ("a=\"q\"; a=1", Some("1")),
            (fits.as_str(), Some(longest.as_str())),
            (is_longer.as_str(), None),
        ] {
            assert_eq!(value(&headers(&[("cookie", line)]), "a"), found, "{line}");
        }
        let mut strange = headers(&[("cookie", "b=1")]);
        strange.append(header::COOKIE, HeaderValue::from_bytes(b"c=\xff; a=1").unwrap());
        assert_eq!(value(&strange, "a"), Some("1"), "what is no text hides no other cookie");
        strange.insert(header::COOKIE, HeaderValue::from_bytes(b"a=\xe4").unwrap());
        assert_eq!(value(&strange, "a"), None);
    }

    #[test]
    fn a_cookie_is_for_the_domain_where_the_page_is_within_it() {
        let cookies = BrowserCookies { domain: Some("example.com".to_owned()), ..BrowserCookies::default() };
        let place = |origin: &str| cookies.place(&headers(&[("origin", origin)]));
        assert_eq!(place("https://www.example.com"), "; Path=/; SameSite=Lax; Domain=example.com; Secure");
        assert_eq!(place("https://example.com:8443"), "; Path=/; SameSite=Lax; Domain=example.com; Secure");
        assert_eq!(place("https://badexample.com"), "; Path=/; SameSite=Lax; Secure");
        assert_eq!(place("http://localhost:8080"), "; Path=/; SameSite=Lax");
        assert_eq!(cookies.place(&HeaderMap::new()), "; Path=/; SameSite=Lax; Secure");
    }

    #[test]
    fn settings_name_origins_and_a_domain_as_browsers_do() {
        assert_eq!(cookie_origin("https://Shop.example.com/").unwrap(), "https://shop.example.com");
        assert_eq!(cookie_origin("http://localhost:8000").unwrap(), "http://localhost:8000");
        for text in
            ["*", "null", "shop.example.com", "https://a.example/shop", "https://u@a.example", "ftp://a.example"]
        {
            assert!(cookie_origin(text).is_err(), "{text}");
        }
        assert_eq!(cookie_domain("Example.com").unwrap(), "example.com");
        for text in ["com", "localhost", "127.0.0.1", "[::1]", "example.com; Secure", "https://example.com", ""] {
            assert!(cookie_domain(text).is_err(), "{text}");
        }
    }
}

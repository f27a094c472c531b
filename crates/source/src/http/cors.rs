//! Cross-origin rules for browser SDKs: any origin may send. Cookies are read by the cookie service alone, which has rules of its own.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::answer::{HttpAnswer, HttpReply};
use super::browser_cookies::BrowserCookies;
use super::fixed;
use super::route::{self, HttpRoute};

const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// The origin whose pages may read the answer to a request for this path.
pub(super) fn reader(request: &HeaderMap, path: &str, cookies: &BrowserCookies) -> Option<HeaderValue> {
    let origin = request.get(header::ORIGIN)?;
    let may_read = match route::find(path) {
        HttpRoute::Cookies(_) => cookies.admits(request),
        // Everybody may, and a cache may give one answer to all.
        HttpRoute::Sdk(_) => false,
        _ => true,
    };
    may_read.then(|| origin.clone())
}

/// Answers a preflight: whatever headers it asks for are fine.
pub(super) fn preflight(request: &HeaderMap, reader: Option<HeaderValue>) -> HttpReply {
    let mut reply = HttpAnswer::Text("").into_reply(false);
    let headers = reply.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, fixed("GET, POST, HEAD, OPTIONS"));
    headers.insert(header::ACCESS_CONTROL_MAX_AGE, fixed("900"));
    if let Some(asked) = request.get(header::ACCESS_CONTROL_REQUEST_HEADERS) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked.clone());
    }
    if request.contains_key(PRIVATE_NETWORK_ASKED) {
        headers.insert(PRIVATE_NETWORK, fixed("true"));
    }
    if let Some(origin) = reader {
        allow(headers, origin);
    }
    reply
}

/// Lets `origin` read the reply.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, fixed("true"));
    // The SDK waits as long as it is told to.
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, fixed("Retry-After"));
    headers.insert(header::VARY, fixed("Origin"));
}

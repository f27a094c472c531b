//! Cross-origin rules for browser SDKs: any origin may send, no cookie of ours exists that could be abused.

use hyper::header::{self, HeaderMap, HeaderName, HeaderValue};

use super::answer::{HttpAnswer, HttpReply};
use super::fixed;

const PRIVATE_NETWORK_ASKED: HeaderName = HeaderName::from_static("access-control-request-private-network");
const PRIVATE_NETWORK: HeaderName = HeaderName::from_static("access-control-allow-private-network");

/// Answers a preflight: whatever headers it asks for are fine.
pub(super) fn preflight(request: &HeaderMap) -> HttpReply {
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
    if let Some(origin) = request.get(header::ORIGIN) {
        allow(headers, origin.clone());
    }
    reply
}

/// Lets `origin` read the reply.
pub(super) fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, fixed("true"));
    headers.insert(header::VARY, fixed("Origin"));
}

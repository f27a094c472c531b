//! Replies, with the exact shapes that the SDKs need.
//!
//! Success is status 200 with a JSON object: PHP resends for ever on any other status below 400, Ruby and Java
//! parse the body. A body that is too large is 400, because several SDKs retry 413 without end; 413 is for what no SDK
//! makes, a small body that grows.

use std::time::Duration;

use bytes::Bytes;
use hyper::header::HeaderMap;
use hyper::{Response, StatusCode, header};

use super::fixed;

pub(super) use tidegate_net::HttpReply;
use tidegate_net::ReplyBody;

/// What there is to say to a client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum HttpAnswer {
    Success,
    Json(Bytes),
    Text(&'static str),
    Gif,
    /// The request can never be taken as it is.
    Bad {
        code: &'static str,
        message: String,
    },
    /// The same, for a request that grows too large in here.
    TooLarge {
        code: &'static str,
        message: String,
    },
    UnknownKey,
    /// A webhook is not signed as its source says, for this reason.
    WrongSignature(String),
    /// What somebody asked for, as text.
    Echo(String),
    /// The key is in a body that nobody reads for an unknown client.
    KeyOutside,
    /// The path has a write key that no source has.
    NoSource,
    /// An address has sent too many wrong keys; try again after this.
    TooManyWrongKeys(Duration),
    NotFound(&'static str),
    WrongMethod,
    /// The body did not come in time.
    Slow,
    /// Not now, for this reason.
    TooBusy(&'static str),
    /// The source has sent more than its rate; try again after this.
    RateLimited(Duration),
    /// The client has too many requests in flight behind its proxy.
    TooManyRequests,
    /// The source takes nothing for now.
    SourcePaused,
    DiskFull,
    Stopping,
    /// Events are not accounted for.
    Breach,
    /// A page of another origin asks for what its own may have.
    OriginNotAllowed,
    /// What has headers of its own.
    Prepared(Box<PreparedAnswer>),
}

/// An answer that knows its headers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PreparedAnswer {
    pub(super) status: StatusCode,
    /// Its media type.
    pub(super) kind: &'static str,
    pub(super) headers: HeaderMap,
    pub(super) body: Bytes,
}

/// The smallest transparent GIF.
const PIXEL: &[u8] =
    b"GIF89a\x01\0\x01\0\x80\0\0\0\0\0\xff\xff\xff!\xf9\x04\x01\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";

const TEXT: &str = "text/plain; charset=utf-8";

impl HttpAnswer {
    pub(super) fn bad(code: &'static str, message: impl Into<String>) -> Self {
        Self::Bad { code, message: message.into() }
    }

    /// The code of a request whose events were not taken; `None` of any other.
    pub(super) fn refusal(&self) -> Option<&'static str> {
        match self {
            Self::Bad { code, .. } | Self::TooLarge { code, .. } => Some(*code),
            Self::UnknownKey | Self::KeyOutside | Self::NoSource => Some("unknown-write-key"),
            Self::WrongSignature(_) => Some("wrong-signature"),
            Self::TooManyWrongKeys(_) => Some("too-many-wrong-keys"),
            Self::Slow => Some("body-timeout"),
            Self::TooBusy(_) => Some("too-busy"),
            Self::RateLimited(_) => Some("rate-limited"),
            Self::TooManyRequests => Some("too-many-requests"),
            Self::SourcePaused => Some("source-paused"),
            Self::DiskFull => Some("disk-full"),
            Self::Stopping => Some("stopping"),
            Self::Success
            | Self::Json(_)
            | Self::Text(_)
            | Self::Gif
            | Self::Echo(_)
            | Self::NotFound(_)
            | Self::WrongMethod
            | Self::Breach
            | Self::OriginNotAllowed
            | Self::Prepared(_) => None,
        }
    }

    /// `head` leaves the body out.
    pub(super) fn into_reply(mut self, head: bool) -> HttpReply {
        let own = match &mut self {
            Self::Prepared(prepared) => std::mem::take(&mut prepared.headers),
            _ => HeaderMap::new(),
        };
        let (status, retry_after, kind, body) = self.parts();
        let mut reply = Response::new(ReplyBody::whole(if head { Bytes::new() } else { body }));
        *reply.status_mut() = status;
        reply.headers_mut().insert(header::CONTENT_TYPE, fixed(kind));
        if let Some(seconds) = retry_after {
            reply.headers_mut().insert(header::RETRY_AFTER, seconds.into());
        }
        if kind == TEXT {
            // What was asked for comes from outside, and is no page.
            reply.headers_mut().insert(header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
        }
        if kind == "image/gif" {
            reply.headers_mut().insert(header::CACHE_CONTROL, fixed("no-store"));
        }
        reply.headers_mut().extend(own);
        reply
    }

    fn parts(self) -> (StatusCode, Option<u64>, &'static str, Bytes) {
        const JSON: &str = "application/json; charset=utf-8";
        let error = |status, retry_after, code: &str, message: &str| {
            let body = serde_json::json!({"error": message, "code": code, "message": message}).to_string();
            (status, retry_after, JSON, Bytes::from(body))
        };
        match self {
            Self::Success => (StatusCode::OK, None, JSON, Bytes::from_static(b"{\"success\":true}")),
            Self::Json(body) => (StatusCode::OK, None, JSON, body),
            Self::Text(body) => (StatusCode::OK, None, TEXT, Bytes::from_static(body.as_bytes())),
            Self::Gif => (StatusCode::OK, None, "image/gif", Bytes::from_static(PIXEL)),
            Self::Bad { code, message } => error(StatusCode::BAD_REQUEST, None, code, &message),
            Self::TooLarge { code, message } => error(StatusCode::PAYLOAD_TOO_LARGE, None, code, &message),
            Self::KeyOutside => error(
                StatusCode::UNAUTHORIZED,
                None,
                "unknown-write-key",
                "a body in brotli or zstd needs its write key in the Authorization header (Basic) or in ?writeKey=; \
                 only plain, gzip and deflate bodies may carry it inside",
            ),
            Self::UnknownKey => error(
                StatusCode::UNAUTHORIZED,
                None,
                "unknown-write-key",
                "no source has this write key; it goes into the Authorization header (Basic), the body or ?writeKey=",
            ),
            Self::WrongSignature(reason) => error(StatusCode::UNAUTHORIZED, None, "wrong-signature", &reason),
            Self::Echo(text) => (StatusCode::OK, None, TEXT, Bytes::from(text)),
            Self::NoSource => error(StatusCode::NOT_FOUND, None, "not-found", "no source has this write key"),
            Self::TooManyWrongKeys(wait) => error(
                StatusCode::TOO_MANY_REQUESTS,
                Some(seconds(wait)),
                "too-many-wrong-keys",
                "too many wrong write keys came from this address in the last minute; a right one works at once",
            ),
            Self::RateLimited(wait) => error(
                StatusCode::TOO_MANY_REQUESTS,
                Some(seconds(wait)),
                "rate-limited",
                "this source has sent more than its rate allows; send the same again after Retry-After",
            ),
            Self::TooManyRequests => error(
                StatusCode::TOO_MANY_REQUESTS,
                Some(1),
                "too-many-requests",
                "this address has too many requests in flight; wait for some of them",
            ),
            Self::NotFound(message) => error(StatusCode::NOT_FOUND, None, "not-found", message),
            Self::WrongMethod => {
                error(StatusCode::METHOD_NOT_ALLOWED, None, "wrong-method", "this path does not take this method")
            }
            Self::Slow => error(StatusCode::REQUEST_TIMEOUT, None, "body-timeout", "the body took too long to arrive"),
            Self::TooBusy(message) => error(StatusCode::TOO_MANY_REQUESTS, Some(1), "too-busy", message),
            Self::SourcePaused => error(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(60),
                "source-paused",
                "this source is paused; nothing was accepted, so send the same again later",
            ),
            Self::DiskFull => {
                error(StatusCode::SERVICE_UNAVAILABLE, Some(30), "disk-full", "the disk is full; nothing was accepted")
            }
            Self::Stopping => error(
                StatusCode::SERVICE_UNAVAILABLE,
                Some(5),
                "stopping",
                "the server is stopping; nothing was accepted",
            ),
            Self::OriginNotAllowed => error(
                StatusCode::FORBIDDEN,
                None,
                "origin-not-allowed",
                "only pages of this server's own origin may ask for that, and those that `browser_cookies.origins` of tidegate.yaml names",
            ),
            Self::Prepared(prepared) => (prepared.status, None, prepared.kind, prepared.body),
            Self::Breach => error(
                StatusCode::SERVICE_UNAVAILABLE,
                None,
                "breach",
                "what was accepted is not the sum of what became of it: `tidegate audit conservation` shows where. Events are \
                 accepted and delivered as before",
            ),
        }
    }
}

/// Whole seconds, of which there is at least one.
fn seconds(wait: Duration) -> u64 {
    wait.as_secs() + u64::from(wait.subsec_nanos() > 0).max(u64::from(wait.is_zero()))
}

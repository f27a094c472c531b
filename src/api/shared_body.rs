//! The body of a request, read by its handler and thrown away by the door, and what every answer of the port says of itself.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use hyper::header::{self, HeaderValue};
use hyper::http::response::Parts;
use parking_lot::Mutex;
use tidegate_net::{HttpReply, ReplyBody, RequestBody};

/// A body that is still there when its handler has gone.
#[derive(Clone)]
pub(super) struct SharedBody(pub(super) Arc<Mutex<RequestBody>>);

impl Body for SharedBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut body = self.0.lock();
        Pin::new(&mut *body).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.0.lock().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.lock().size_hint()
    }
}

/// Nothing that is said here is kept on the way, but for what says itself that it may be.
pub(super) fn reply(mut head: Parts, body: ReplyBody) -> HttpReply {
    head.headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    HttpReply::from_parts(head, body)
}

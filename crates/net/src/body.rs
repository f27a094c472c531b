//! A request's body, which notes how long its client lets it wait.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use super::connection::Connection;

/// A body as it comes in.
pub struct RequestBody {
    incoming: Incoming,
    connection: Arc<Connection>,
}

impl RequestBody {
    pub(super) fn new(incoming: Incoming, connection: Arc<Connection>) -> Self {
        Self { incoming, connection }
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let frame = Pin::new(&mut self.incoming).poll_frame(cx);
        match &frame {
            Poll::Pending => self.connection.body_waits(),
            Poll::Ready(Some(Ok(frame))) => self.connection.body_came(frame.data_ref().map_or(0, Bytes::len)),
            Poll::Ready(_) => self.connection.body_came(0),
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl Drop for RequestBody {
    fn drop(&mut self) {
        // Nobody waits for it any more.
        self.connection.body_came(0);
    }
}

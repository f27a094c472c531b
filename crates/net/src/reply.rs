//! What a client gets: a small body, whole, or one that comes piece by piece for as long as somebody has something to say.

use std::error::Error;
use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Body, Frame, SizeHint};

use super::connection::Connection;

/// Why a body that comes piece by piece broke off.
pub type ReplyError = Box<dyn Error + Send + Sync>;

/// The body of an answer.
pub struct ReplyBody(ReplyKind);

enum ReplyKind {
    Whole(Full<Bytes>),
    Streamed {
        body: UnsyncBoxBody<Bytes, ReplyError>,
        /// Whose client reads it, once it is on its way.
        connection: Option<Arc<Connection>>,
    },
}

impl fmt::Debug for ReplyBody {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0 {
            ReplyKind::Whole(_) => "whole",
            ReplyKind::Streamed { .. } => "streamed",
        };
        f.debug_tuple("ReplyBody").field(&kind).finish()
    }
}

impl ReplyBody {
    /// All of it.
    #[must_use]
    pub fn whole(body: Bytes) -> Self {
        Self(ReplyKind::Whole(Full::new(body)))
    }

    /// Piece by piece. It should say something at least four times in [`idle_timeout`](super::ConnectionLimits::idle_timeout), so that its client is
    /// not taken for idle. It ends when the port stops.
    pub fn streamed<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<ReplyError>,
    {
        Self(ReplyKind::Streamed { body: body.map_err(Into::into).boxed_unsync(), connection: None })
    }

    /// The same, on its way to the client of a connection.
    pub(super) fn over(self, connection: &Arc<Connection>) -> Self {
        match self.0 {
            ReplyKind::Streamed { body, .. } => {
                Self(ReplyKind::Streamed { body, connection: Some(Arc::clone(connection)) })
            }
            whole @ ReplyKind::Whole(_) => Self(whole),
        }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = ReplyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, ReplyError>>> {
        match &mut self.0 {
            ReplyKind::Whole(body) => Pin::new(body).poll_frame(cx).map_err(|never| match never {}),
            ReplyKind::Streamed { body, connection } => {
                let connection = connection.as_deref();
                if connection.is_some_and(Connection::is_stopping) {
                    return Poll::Ready(None);
                }
                let frame = Pin::new(body).poll_frame(cx);
                if let (Poll::Ready(Some(_)), Some(connection)) = (&frame, connection) {
                    // Its client is one who is being answered, and no idle one.
                    connection.answered();
                }
                frame
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            ReplyKind::Whole(body) => body.is_end_stream(),
            ReplyKind::Streamed { body, .. } => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            ReplyKind::Whole(body) => body.size_hint(),
            ReplyKind::Streamed { body, .. } => body.size_hint(),
        }
    }
}

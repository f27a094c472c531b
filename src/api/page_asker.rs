//! How pages for people get what they show: they ask the API, in the name of whoever asked for the page.
//!
//! What a page asks passes the same checks as what comes over the network: whose session it is, from which page it was sent, and whether they may.
//! So a page never has anything that its reader could not have asked for.

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Request, Response};
use tidegate_net::Peer;

use super::ApiDoor;
use super::open_streams::StreamRoom;
use super::refusal::ApiRefusal;

/// Pages that are served beside the API.
pub struct AdminPages {
    /// Its handlers find a [`PageAsker`] in the extensions of each request.
    pub router: Router,
    /// Whether it has something at a path. Everything else is the API's.
    pub has: fn(&str) -> bool,
}

/// Asks the API in the name of whoever asked for a page.
#[derive(Clone)]
pub struct PageAsker {
    door: Arc<ApiDoor>,
    headers: HeaderMap,
    peer: Peer,
}

impl PageAsker {
    /// For a request that came from `peer`.
    pub(super) fn new(door: &Arc<ApiDoor>, head: &Parts, peer: Peer) -> Self {
        let mut headers = head.headers.clone();
        // These are of the request for the page alone, and not of whoever sends it.
        let of_request = [
            header::ACCEPT,
            header::CONNECTION,
            header::CONTENT_ENCODING,
            header::CONTENT_LENGTH,
            header::CONTENT_TYPE,
            header::EXPECT,
            header::TRANSFER_ENCODING,
        ];
        for name in of_request {
            headers.remove(name);
        }
        Self { door: Arc::clone(door), headers, peer }
    }

    /// Room for a page that goes on, until it is dropped; none when as many answers go on as may.
    #[must_use]
    pub fn stream_room(&self) -> Option<StreamRoom> {
        self.door.shared.streams.room()
    }

    /// The whole answer to a request with a JSON body, or with none. `place` is a path with its query. Streams that go on are not for this.
    pub async fn ask(&self, method: Method, place: &str, body: Bytes) -> Response<Bytes> {
        self.ask_if(method, place, None, body).await
    }

    /// The same, of what is still as the ETag `if_match` stands for.
    pub async fn ask_if(
        &self,
        method: Method,
        place: &str,
        if_match: Option<HeaderValue>,
        body: Bytes,
    ) -> Response<Bytes> {
        let request = Request::builder().method(method).uri(place).body(Body::from(body));
        let Ok(request) = request else { return ApiRefusal::not_found().into_answer() };
        let (mut head, body) = request.into_parts();
        head.headers = self.headers.clone();
        head.headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        head.headers.remove(header::IF_MATCH);
        if let Some(tag) = if_match {
            head.headers.insert(header::IF_MATCH, tag);
        }
        let (head, body) = self.door.call(head, body, self.peer).await.into_parts();
        Response::from_parts(head, body.collect().await.map(|body| body.to_bytes()).unwrap_or_default())
    }
}

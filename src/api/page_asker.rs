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
    /// Whether it has something at a path. Everything else is the API's, but for a wrong address that somebody has opened in a browser.
    pub has: fn(&str) -> bool,
}

/// The first steps of paths that are for programs alone, the last one of those that send events: what is wrong with them is always JSON.
const STEPS_OF_PROGRAMS: [&str; 6] = ["admin", "api", "livez", "metrics", "readyz", "v1"];

impl AdminPages {
    /// Whether a request is answered with a page.
    pub(super) fn are_at(&self, head: &Parts) -> bool {
        let path = head.uri.path();
        let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
        (self.has)(path) || (wants_page(&head.headers) && !STEPS_OF_PROGRAMS.contains(&first))
    }
}

/// Whether somebody looks at the answer in a browser: it says so by its name, which programs that take anything do not.
#[must_use]
pub fn wants_page(headers: &HeaderMap) -> bool {
    let texts = headers.get_all(header::ACCEPT).into_iter().filter_map(|value| value.to_str().ok());
    let mut kinds =
        texts.flat_map(|text| text.split(',')).map(|kind| kind.split(';').next().unwrap_or_default().trim());
    kinds.any(|kind| kind.eq_ignore_ascii_case("text/html"))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_address_is_a_page_in_a_browser_and_json_everywhere_else() {
        let pages = AdminPages { router: Router::new(), has: |path| path == "/live" };
        let is_page = |path: &str, accept: &'static str| {
            let mut head = Request::new(()).into_parts().0;
            head.uri = path.parse().unwrap();
            head.headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
            pages.are_at(&head)
        };
        let browser = "text/html,application/xhtml+xml;q=0.9,*/*;q=0.8";
        for accept in ["*/*", "application/json", browser] {
            assert!(is_page("/live", accept), "{accept}");
            for path in ["/api/v1/nothing", "/admin/nothing", "/v1/track", "/metrics", "/livez", "/readyz", "/api"] {
                assert!(!is_page(path, accept), "{path} {accept}");
            }
        }
        for path in ["/nonsense", "/live2", "/apis/v1", "/favicon.ico"] {
            assert!(is_page(path, browser) && is_page(path, "application/json, Text/HTML ;q=0.1"), "{path}");
            assert!(!is_page(path, "*/*") && !is_page(path, "application/json, text/plain, */*"), "{path}");
        }
    }
}

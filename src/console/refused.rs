//! A page that is not there, or not for its reader: what is around every page stands around the reason, too.

use axum::extract::{FromRequestParts as _, Request};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header;
use maud::html;
use tidegate_api_types::ProblemDetails;

use super::ask::{ABSENT, PageRefusal, PageRequest};
use super::layout::{ConsolePage, PAGES, RefusedPage, problem};
use super::text::short;
use crate::api::wants_page;

/// Shows whoever has signed in a refusal in the layout of the pages, with a way on. Everything else stays as it is.
pub(super) async fn in_layout(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let mut asked = head.clone();
    let mut response = next.run(Request::from_parts(head, body)).await;
    let status = response.status();
    let is_refused = status.is_client_error() || status.is_server_error();
    if is_refused && !is_page(&response) && wants_page(&asked.headers) {
        response = PageRefusal::of_status(status).into_response();
    }
    let Some(RefusedPage(found)) = response.extensions().get::<RefusedPage>().cloned() else { return response };
    let Ok(request) = PageRequest::from_request_parts(&mut asked, &()).await else { return response };
    shown(&found, asked.uri.path(), &request.where_it_can_go_on())
}

fn is_page(response: &Response) -> bool {
    let kind = response.headers().get(header::CONTENT_TYPE);
    kind.is_some_and(|kind| kind.as_bytes().starts_with(b"text/html"))
}

fn shown(found: &ProblemDetails, path: &str, request: &PageRequest) -> Response {
    let mut told = found.clone();
    if told.code == ABSENT {
        told.detail = format!("there is no page {}", short(path));
    }
    let of = page_of(path, request);
    let above = of.filter(|(place, _)| *place != path);
    let content = html! {
        (problem(&told))
        @if let Some((place, name)) = above {
            p { a href=(request.to(place, &[])) { "To " (name) } }
        }
        p { a href=(request.to("/", &[])) { "To the overview" } }
    };
    let (title, at) = (told.title.as_str(), of.map_or("", |(place, _)| place));
    let command = "tidegate status".to_owned();
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    ConsolePage { title, at, command, updates: None, content }.show_as(status, request)
}

/// The page of the bar that an address begins with, where the reader has it: its path and its name.
fn page_of(path: &str, request: &PageRequest) -> Option<(&'static str, &'static str)> {
    let (place, name, _, of_admins) = PAGES.into_iter().find(|(place, ..)| is_below(path, place))?;
    (!of_admins || request.is_admin()).then_some((place, name))
}

fn is_below(path: &str, place: &str) -> bool {
    place != "/" && path.strip_prefix(place).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_belongs_to_the_page_that_it_begins_with() {
        assert!(is_below("/functions/nobody", "/functions") && is_below("/audit", "/audit"));
        for (path, place) in [("/functions2", "/functions"), ("/", "/"), ("/nonsense", "/"), ("/new/sync", "/syncs")] {
            assert!(!is_below(path, place), "{path} {place}");
        }
    }
}

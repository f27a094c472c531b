//! The web console: pages for people, on the port of the admin API.
//!
//! Nouns: a **page** (made by the server, whole without script), its **content** (the part that is replaced while it is open), a **form** (what a page
//! has the API do).
//!
//! What holds:
//! * A page is made of answers of the API, which it asks in the name of its reader ([`PageAsker`](crate::api::PageAsker)): it has no data of its own, and
//!   what somebody may not see cannot stand in it.
//! * A form changes something by asking the API, which refuses what a page of another site has sent.
//! * Templates are checked by the compiler and escape everything; texts of others pass [`text::visible`] first, which spells out what hides or turns text.
//! * Nothing is inline: scripts and styles are files of ours, under an address with their hash, and the policy of each page allows no others.
//!
//! This room knows the paths and types of the API, and nothing of what is behind it.

mod alerts;
mod ask;
mod assets;
mod changes;
mod contract_event;
mod contract_form;
mod contract_parts;
mod contracts;
mod destinations;
mod drafts;
mod fields;
mod form_answer;
mod form_fields;
mod function_forms;
mod functions;
mod layout;
mod live;
mod objects;
mod overview;
mod people;
mod plot;
mod privacy;
mod quarantine;
mod refused;
mod replay;
mod script_editor;
mod settings_form;
mod sign_in;
mod snippets;
mod sources;
mod sql;
mod sync_form;
mod syncs;
mod text;
mod trace;
mod tried;
mod violations;

use std::convert::Infallible;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::middleware;
use axum::response::Response;
use axum::routing::{get, post};
use bytes::Bytes;
use futures_util::stream;
use hyper::header::{self, HeaderName, HeaderValue};
use maud::Markup;
use tidegate_process::clock;
use tokio::time::Instant;

use crate::api::{AdminPages, StreamRoom};
use ask::{PageRefusal, PageRequest};

/// The first steps of the paths of pages.
const STEPS: [&str; 22] = [
    "alerts",
    "assets",
    "audit",
    "contracts",
    "destinations",
    "drafts",
    "function-editor",
    "functions",
    "live",
    "new",
    "objects",
    "people",
    "privacy",
    "quarantine",
    "replay",
    "sign-in",
    "sign-out",
    "sources",
    "sql",
    "syncs",
    "trace",
    "updates",
];

/// What a page may load, and who may show it: everything is of this server.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; \
    base-uri 'none'; form-action 'self'; frame-ancestors 'none'";

/// Between two looks at what a page that is open shows.
const LOOK: Duration = Duration::from_secs(5);
/// A page that is open asks again after this: whoever may not see it any more ends then.
const OPEN_MAX: Duration = Duration::from_secs(600);
/// A browser whose connection breaks asks again after so many milliseconds.
const RETRY_MS: u64 = 5_000;
/// A browser whose page finds no room to stay open asks again after so many milliseconds.
const BUSY_RETRY_MS: u64 = 15_000;
/// As `crate::api` knows answers that go on.
const EVENT_STREAM: &str = "text/event-stream";

/// The pages, to be served beside the API.
#[must_use]
pub fn pages() -> AdminPages {
    AdminPages { router: router(), has }
}

fn has(path: &str) -> bool {
    let first = path.strip_prefix('/').unwrap_or(path).split('/').next().unwrap_or_default();
    path == "/" || STEPS.contains(&first)
}

fn router() -> Router {
    Router::new()
        .route("/", get(overview::show))
        .route("/assets/{hash}/{name}", get(assets::show))
        .route("/audit", get(changes::show))
        .route("/live", get(live::show))
        .route("/trace", get(trace::show))
        .route("/trace/fixture", get(trace::fixture))
        .route("/sources", get(sources::list))
        .route("/sources/{name}", get(sources::show))
        .route("/contracts", get(contracts::show))
        .route("/contracts/{domain}", get(contracts::domain))
        .route("/contracts/{domain}/{event}", get(contract_event::show).post(contract_event::update))
        .route("/new/contract", get(contract_event::new).post(contract_event::create))
        .route("/destinations", get(destinations::list))
        .route("/destinations/{name}", get(destinations::show).post(destinations::update))
        .route("/new/destination", get(destinations::new).post(destinations::create))
        .route("/syncs", get(syncs::show))
        .route("/functions", get(functions::list))
        .route("/functions/{name}", get(functions::show))
        .route("/functions/{name}/settings", post(function_forms::settings))
        .route("/functions/{name}/{verb}", post(function_forms::change))
        .route("/function-editor", get(script_editor::show).post(script_editor::change))
        .route("/syncs/{name}", get(sync_form::show).post(sync_form::update))
        .route("/syncs/{name}/delete", post(sync_form::delete))
        .route("/new/sync", get(sync_form::new).post(sync_form::create))
        .route("/objects/{kind}/{name}/{verb}", post(objects::change))
        .route("/quarantine", get(quarantine::show))
        .route("/quarantine/try", post(quarantine::try_out))
        .route("/quarantine/retry", post(quarantine::retry))
        .route("/quarantine/entries/{id}", get(quarantine::entry))
        .route("/quarantine/jobs/{id}/cancel", post(quarantine::cancel))
        .route("/alerts", get(alerts::show))
        .route("/alerts/new", get(alerts::new).post(alerts::create))
        .route("/alerts/{name}/edit", get(alerts::edit).post(alerts::save))
        .route("/alerts/{name}/{verb}", post(alerts::act))
        .route("/replay", get(replay::show).post(replay::start))
        .route("/replay/try", post(replay::try_out))
        .route("/replay/{id}", get(replay::job))
        .route("/replay/{id}/cancel", post(replay::cancel))
        .route("/privacy", get(privacy::show).post(privacy::act))
        .route("/privacy/try", post(privacy::try_out))
        .route("/privacy/jobs/{id}", get(privacy::job))
        .route("/sql", get(sql::show).post(sql::run))
        .route("/sql/csv", post(sql::csv))
        .route("/drafts", get(drafts::list))
        .route("/drafts/{id}", get(drafts::show))
        .route("/drafts/{id}/{verb}", post(drafts::act))
        .merge(of_people())
        .route("/sign-in", get(sign_in::show).post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/updates", get(updates))
        .fallback(async || PageRefusal::absent())
        .method_not_allowed_fallback(async || PageRefusal::wrong_method())
        .layer(middleware::from_fn(refused::in_layout))
        .layer(middleware::map_response(guarded))
}

/// Who may do what.
fn of_people() -> Router {
    Router::new()
        .route("/people", get(people::show))
        .route("/people/users", post(people::make_user))
        .route("/people/users/{name}/{verb}", post(people::change_user))
        .route("/people/groups", post(people::make_group))
        .route("/people/groups/{name}/{verb}", post(people::change_group))
        .route("/people/tokens", post(people::make_token))
        .route("/people/tokens/{name}/revoke", post(people::revoke_token))
        .route("/people/password", post(people::set_password))
}

/// What a browser is told of every page.
async fn guarded(mut response: Response) -> Response {
    let said = [
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::X_FRAME_OPTIONS, "DENY"),
        // A form of a page must say where it came from.
        (header::REFERRER_POLICY, "same-origin"),
        (HeaderName::from_static("permissions-policy"), "camera=(), geolocation=(), microphone=(), payment=(), usb=()"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in said {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// The content of a page by its name.
async fn content(request: &PageRequest, of: &str) -> Result<Markup, PageRefusal> {
    if let Some(name) = of.strip_prefix("source/") {
        return sources::body(request, name).await;
    }
    if let Some(id) = of.strip_prefix("replay/") {
        return replay::body(request, id).await;
    }
    if let Some(id) = of.strip_prefix("forget/") {
        return privacy::body(request, id).await;
    }
    match of {
        "alerts" => alerts::body(request).await,
        "replays" => replay::jobs(request).await,
        "forgets" => privacy::jobs(request).await,
        "overview" => overview::body(request).await,
        "syncs" => syncs::body(request).await,
        "jobs" => quarantine::jobs(request).await,
        _ => Err(PageRefusal::absent()),
    }
}

/// The content of a page as it is now, and whenever it is another one: server-sent events, each with HTML as a text of JSON. Where as many answers go on as
/// may, it is sent once, and the browser asks again now and then.
async fn updates(request: PageRequest) -> Result<Response, PageRefusal> {
    let of = request.text("of").to_owned();
    let last = content(&request, &of).await?.into_string();
    let body = match request.stream_room() {
        None => Body::from(format!("retry: {BUSY_RETRY_MS}\n\n{}", content_event(&last))),
        Some(room) => {
            let until = Instant::now() + OPEN_MAX;
            let open = OpenPage { request, of, last, until, has_begun: false, _room: room };
            Body::from_stream(stream::unfold(open, OpenPage::next))
        }
    };
    let mut response = Response::new(body);
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(EVENT_STREAM));
    response.headers_mut().insert(HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no"));
    Ok(response)
}

/// A content as a server-sent event.
fn content_event(html: &str) -> String {
    format!("event: content\ndata: {}\n\n", serde_json::Value::from(html))
}

/// A page that is open in a browser.
struct OpenPage {
    request: PageRequest,
    of: String,
    /// What it shows.
    last: String,
    until: Instant,
    has_begun: bool,
    /// Until this is dropped, one more answer goes on.
    _room: StreamRoom,
}

impl OpenPage {
    /// The next piece, and itself. It ends with the right to see the page.
    async fn next(mut self) -> Option<(Result<Bytes, Infallible>, Self)> {
        if Instant::now() >= self.until {
            return None;
        }
        if !self.has_begun {
            self.has_begun = true;
            // What the browser shows may be older than this: the page was made before, or nobody has looked at it for a while.
            let text = format!("retry: {RETRY_MS}\n\n{}", content_event(&self.last));
            return Some((Ok(Bytes::from(text)), self));
        }
        tokio::time::sleep(LOOK).await;
        self.request.now_us = clock::now_us();
        let now = content(&self.request, &self.of).await.ok()?.into_string();
        if now == self.last {
            return Some((Ok(Bytes::from_static(b": as it was\n\n")), self));
        }
        let text = content_event(&now);
        self.last = now;
        Some((Ok(Bytes::from(text)), self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_that_is_no_page_is_left_to_the_api() {
        for path in [
            "/",
            "/live",
            "/sources/web",
            "/assets/x/console.css",
            "/quarantine/entries/7",
            "/sql/csv",
            "/new/sync",
            "/people/users",
        ] {
            assert!(has(path), "{path}");
        }
        for path in ["/api/v1/whoami", "/admin/functions", "/metrics", "/livez", "", "/lively", "/sqlite"] {
            assert!(!has(path), "{path}");
        }
    }

    #[test]
    fn every_page_of_the_bar_is_one() {
        assert!(layout::PAGES.iter().all(|(path, ..)| has(path)));
    }
}

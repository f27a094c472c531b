//! What is around every page.

use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use maud::{DOCTYPE, Markup, html};
use tidegate_api_types::ProblemDetails;
use url::form_urlencoded;

use super::ask::{PageRefusal, PageRequest};
use super::assets;
use super::text::{command, short, visible};

/// Characters of what the API says against something.
const DETAIL_CHARS_MAX: usize = 2_000;

/// The pages of the bar: their paths, their names, the letter that goes there behind `g`, and whether they are for admins.
pub(super) const PAGES: [(&str, &str, &str, bool); 15] = [
    ("/", "Overview", "o", false),
    ("/live", "Live", "l", false),
    ("/sources", "Sources", "s", false),
    ("/contracts", "Contracts", "c", false),
    ("/destinations", "Destinations", "d", false),
    ("/syncs", "Syncs", "y", false),
    ("/quarantine", "Quarantine", "q", false),
    ("/functions", "Functions", "f", true),
    ("/replay", "Replay", "r", false),
    ("/alerts", "Alerts", "e", false),
    ("/sql", "SQL", "w", false),
    ("/drafts", "Drafts", "t", false),
    ("/people", "People", "u", false),
    ("/privacy", "Privacy", "v", true),
    ("/audit", "Audit", "a", true),
];

/// A page.
pub(super) struct ConsolePage<'p> {
    pub(super) title: &'p str,
    /// The page of the bar that it belongs to; empty where it belongs to none.
    pub(super) at: &'p str,
    /// The command that does the same.
    pub(super) command: String,
    /// The name of its content, where that is replaced while the page is open.
    pub(super) updates: Option<String>,
    pub(super) content: Markup,
}

impl ConsolePage<'_> {
    /// The whole of it, for whoever has asked.
    pub(super) fn show(self, request: &PageRequest) -> Response {
        self.show_as(StatusCode::OK, request)
    }

    /// The same for whoever has sent a form: what is said against it stands in the content.
    pub(super) fn show_after(self, problem: Option<&ProblemDetails>, request: &PageRequest) -> Response {
        let status = problem.map(|problem| StatusCode::from_u16(problem.status));
        self.show_as(status.and_then(Result::ok).unwrap_or(StatusCode::OK), request)
    }

    /// The same as the answer to a form.
    pub(super) fn show_as(self, status: StatusCode, request: &PageRequest) -> Response {
        let ConsolePage { title, at, command: line, updates, content } = self;
        let updates = updates.map(|of| request.to("/updates", &[("of", of.as_str())]));
        let shown = frame(
            title,
            request.theme,
            &html! {
                header.bar {
                    a.brand href=(request.to("/", &[])) { "Tidegate" }
                    nav aria-label="Pages" {
                        @for (path, name, key, of_admins) in PAGES {
                            @if !of_admins || request.is_admin() {
                                a href=(request.to(path, &[])) aria-current=[(path == at).then_some("page")] data-key=(key) { (name) }
                            }
                        }
                    }
                    (environments(request, at))
                    button.plain #palette-open type="button" hidden title="Go to (Ctrl+K)" { "Go to…" }
                    button.plain #theme type="button" hidden { "Dark or light" }
                    (signed_in(request))
                }
                main #main tabindex="-1" {
                    div.head {
                        h1 { (title) }
                        @if updates.is_some() {
                            button.plain #pause type="button" hidden aria-pressed="false" { "Pause" }
                            span #updated.quiet role="status" {}
                        }
                    }
                    @match &updates {
                        Some(address) => { div #updates data-updates=(address) { (content) } }
                        None => { (content) }
                    }
                }
                footer { (command(&line)) }
            },
        );
        page(status, shown)
    }
}

fn environments(request: &PageRequest, at: &str) -> Markup {
    let known = &request.who.environments;
    html! {
        @if known.len() > 1 {
            form.environment method="get" action=(if at.is_empty() { "/" } else { at }) {
                label {
                    span.unseen { "Environment" }
                    select #environment name="workspace" {
                        @for name in known {
                            option value=(name) selected[*name == request.workspace] { (short(name)) }
                        }
                    }
                }
                button.plain type="submit" { "Change" }
            }
        }
    }
}

fn signed_in(request: &PageRequest) -> Markup {
    let name = request.who.name.as_deref().unwrap_or("the admin token");
    html! {
        span.who title="Signed in as" { (short(name)) }
        @if request.who.session {
            form method="post" action="/sign-out" { button.plain type="submit" { "Sign out" } }
        }
    }
}

/// A page for whoever is not known yet.
pub(super) fn bare(status: StatusCode, title: &str, theme: Option<&'static str>, content: &Markup) -> Response {
    let shown = frame(
        title,
        theme,
        &html! {
            header.bar { a.brand href="/" { "Tidegate" } }
            main #main.narrow tabindex="-1" { h1 { (title) } (content) }
        },
    );
    page(status, shown)
}

fn frame(title: &str, theme: Option<&'static str>, body: &Markup) -> Markup {
    html! {
        (DOCTYPE)
        html lang="en" data-theme=[theme] {
            head {
                meta charset="utf-8";
                meta name="viewport" content="width=device-width, initial-scale=1";
                meta name="robots" content="noindex";
                title { (title) " · Tidegate" }
                link rel="icon" type="image/svg+xml" href=(assets::address("icon.svg"));
                link rel="stylesheet" href=(assets::address("console.css"));
                script type="module" src=(assets::address("console.js")) {}
            }
            body {
                a.skip href="#main" { "To the content" }
                (body)
            }
        }
    }
}

fn page(status: StatusCode, shown: Markup) -> Response {
    let kind = HeaderValue::from_static("text/html; charset=utf-8");
    (status, [(header::CONTENT_TYPE, kind)], shown.into_string()).into_response()
}

/// What the API says against something.
pub(super) fn problem(problem: &ProblemDetails) -> Markup {
    html! {
        div.problem role="alert" {
            p { (visible(&problem.detail, DETAIL_CHARS_MAX)) }
            p.quiet { "What to do: " (visible(&problem.fix, DETAIL_CHARS_MAX)) }
            @if !problem.problems.is_empty() {
                ul {
                    @for one in &problem.problems {
                        li { (short(&one.file)) ":" (one.line) ": " (short(&one.message)) " – " (short(&one.fix)) }
                    }
                }
            }
        }
    }
}

/// Sends a browser to a page of the console, after a form.
pub(super) fn go_to(place: &str) -> Response {
    let location = HeaderValue::try_from(place).unwrap_or_else(|_| HeaderValue::from_static("/"));
    (StatusCode::SEE_OTHER, [(header::LOCATION, location)]).into_response()
}

/// Why there is no page. It goes with the bare one that whoever has not signed in is shown.
#[derive(Clone)]
pub(super) struct RefusedPage(pub(super) Arc<ProblemDetails>);

impl IntoResponse for PageRefusal {
    fn into_response(self) -> Response {
        match self {
            Self::SignIn(place) => {
                let mut query = form_urlencoded::Serializer::new(String::new());
                if place != "/" {
                    query.append_pair("then", &place);
                }
                let query = query.finish();
                go_to(&if query.is_empty() { "/sign-in".to_owned() } else { format!("/sign-in?{query}") })
            }
            Self::Problem(found) => {
                let status = StatusCode::from_u16(found.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
                let content = html! {
                    (problem(&found))
                    p { a href="/" { "To the overview" } }
                };
                let mut shown = bare(status, &found.title, None, &content);
                shown.extensions_mut().insert(RefusedPage(Arc::from(found)));
                shown
            }
        }
    }
}

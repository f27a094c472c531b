//! A request for a page: who reads it, in which environment, and what it asks the API.

use axum::body::to_bytes;
use axum::extract::{FromRequest, FromRequestParts, Request};
use bytes::Bytes;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use hyper::{Method, Response, StatusCode};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::control::WhoAmI;
use tidegate_api_types::object::ChangeDone;
use tidegate_api_types::path;
use tidegate_process::clock;
use url::form_urlencoded;

use crate::api::{PageAsker, StreamRoom, TOKEN_MAY_NOT, WORKSPACE_DEFAULT};

/// Bytes of a form.
const FORM_BYTES_MAX: usize = 64 << 10;
/// The same of a form that holds a script: each byte of it may become three.
const SCRIPT_FORM_BYTES_MAX: usize = 768 << 10;
/// The code of what is not there at all, at the API and here.
pub(super) const ABSENT: &str = "not-found";
const GO_ON: &str = "check the address, or go on from the overview";
/// Where users and groups are.
const SERVER_PLACE: &str = "_server";
/// The cookie that says which colours somebody wants; it is no secret.
const THEME_COOKIE: &str = "tidegate_theme=";

/// Why there is no page.
#[derive(Debug)]
pub(super) enum PageRefusal {
    /// Nobody has signed in; afterwards this place is wanted.
    SignIn(String),
    /// The API says why.
    Problem(Box<ProblemDetails>),
}

impl PageRefusal {
    /// What a form says against what it was sent with; everything else goes on as it is.
    pub(super) fn into_problem(self) -> Result<Box<ProblemDetails>, Self> {
        match self {
            Self::Problem(problem) if problem.status != 404 => Ok(problem),
            other => Err(other),
        }
    }

    pub(super) fn new(status: StatusCode, code: &str, detail: impl Into<String>, fix: impl Into<String>) -> Self {
        Self::Problem(Box::new(ProblemDetails {
            kind: ProblemDetails::kind_of(code),
            title: status.canonical_reason().unwrap_or_default().to_owned(),
            status: status.as_u16(),
            detail: detail.into(),
            code: code.to_owned(),
            fix: fix.into(),
            problems: Vec::new(),
            field: None,
        }))
    }

    /// What the API says against a form, so that the form can say it; anything else goes on.
    pub(super) fn of_form(self) -> Result<Box<ProblemDetails>, Self> {
        match self {
            Self::Problem(problem) => Ok(problem),
            other @ Self::SignIn(_) => Err(other),
        }
    }

    /// A field of a form that is wrong, before the API is asked.
    pub(super) fn field(name: &str, detail: impl Into<String>, fix: &str) -> Self {
        match Self::new(StatusCode::UNPROCESSABLE_ENTITY, "form", detail, fix) {
            Self::Problem(mut problem) => {
                problem.field = Some(name.to_owned());
                Self::Problem(problem)
            }
            other @ Self::SignIn(_) => other,
        }
    }

    pub(super) fn absent() -> Self {
        Self::new(StatusCode::NOT_FOUND, ABSENT, "there is no such page", GO_ON)
    }

    /// A form has another address than a page, and some addresses take one of them alone.
    pub(super) fn wrong_method() -> Self {
        let detail = "this address has no page to be opened, or takes no form";
        Self::new(StatusCode::METHOD_NOT_ALLOWED, "wrong-method", detail, GO_ON)
    }

    /// What cannot be read of an address, or was refused without a reason.
    pub(super) fn of_status(status: StatusCode) -> Self {
        if status == StatusCode::NOT_FOUND {
            return Self::absent();
        }
        Self::new(status, "address", "this address cannot be read", GO_ON)
    }

    fn broken(what: &str) -> Self {
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "failed", what, "the server's log says more")
    }
}

/// A request for a page of somebody who has signed in.
#[derive(Clone)]
pub(super) struct PageRequest {
    asker: PageAsker,
    /// Where it is, with its query.
    place: String,
    query: PagePairs,
    pub(super) who: WhoAmI,
    /// The environment that the page is about.
    pub(super) workspace: String,
    /// `light` or `dark`, where somebody has said so.
    pub(super) theme: Option<&'static str>,
    /// The host that the browser asked, with its port.
    pub(super) host: String,
    /// Microseconds since the Unix epoch, UTC.
    pub(super) now_us: i64,
}

/// The fields of a query or a form.
#[derive(Clone, Default)]
pub(super) struct PagePairs(Vec<(String, String)>);

impl PagePairs {
    pub(super) fn read(bytes: &[u8]) -> Self {
        Self(form_urlencoded::parse(bytes).into_owned().collect())
    }

    /// Adds a field.
    pub(super) fn add(&mut self, name: &str, value: &str) {
        self.0.push((name.to_owned(), value.to_owned()));
    }

    /// Says a field anew.
    pub(super) fn put(&mut self, name: &str, value: &str) {
        self.0.retain(|(known, _)| known != name);
        self.add(name, value);
    }

    /// These fields, for a form that is not sent yet.
    pub(super) fn of(fields: &[(&str, String)]) -> Self {
        Self(fields.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect())
    }

    /// What is said of a field; a field that was left empty is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        let found = self.0.iter().find(|(known, _)| known == name).map(|(_, value)| value.trim());
        found.filter(|value| !value.is_empty())
    }

    /// The same, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.get(name).unwrap_or_default()
    }

    /// Everything that is said of a field that may be there several times.
    pub(super) fn all<'p>(&'p self, name: &'p str) -> impl Iterator<Item = &'p str> {
        self.0.iter().filter(move |(known, _)| known == name).map(|(_, value)| value.trim())
    }

    /// What stands on the lines of a field, without those that are empty.
    pub(super) fn lines(&self, name: &str) -> Vec<&str> {
        self.whole(name).lines().map(str::trim).filter(|line| !line.is_empty()).collect()
    }

    /// The same, with the spaces around it.
    pub(super) fn whole(&self, name: &str) -> &str {
        self.0.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }
}

/// Which colours a browser wants.
pub(super) fn theme(headers: &HeaderMap) -> Option<&'static str> {
    let texts = headers.get_all(header::COOKIE).into_iter().filter_map(|value| value.to_str().ok());
    let mut said = texts.flat_map(|text| text.split(';')).filter_map(|pair| pair.trim().strip_prefix(THEME_COOKIE));
    match said.next()? {
        "light" => Some("light"),
        "dark" => Some("dark"),
        _ => None,
    }
}

/// Who asks the API for a page, whoever reads it.
pub(super) fn asker(parts: &Parts) -> Result<PageAsker, PageRefusal> {
    parts.extensions.get::<PageAsker>().cloned().ok_or_else(|| PageRefusal::broken("nobody answers pages"))
}

impl<S: Send + Sync> FromRequestParts<S> for PageRequest {
    type Rejection = PageRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, PageRefusal> {
        let asker = asker(parts)?;
        let query = PagePairs::read(parts.uri.query().unwrap_or_default().as_bytes());
        let place = if parts.method.is_safe() { parts.uri.path_and_query().map_or("/", |it| it.as_str()) } else { "/" };
        let place = place.to_owned();
        let host = parts.headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        let (host, theme) = (host.to_owned(), theme(&parts.headers));
        let answer = asker.ask(Method::GET, path::WHO_AM_I, Bytes::new()).await;
        let who: WhoAmI = answered(&answer, &place)?;
        let workspace = query.get("workspace").unwrap_or(usual_workspace(&who)).to_owned();
        Ok(Self { asker, place, query, who, workspace, theme, host, now_us: clock::now_us() })
    }
}

/// The environment of a page that names none.
fn usual_workspace(who: &WhoAmI) -> &str {
    let first = who.environments.first().map_or(WORKSPACE_DEFAULT, String::as_str);
    let is_default_there = who.environments.iter().any(|name| name == WORKSPACE_DEFAULT);
    if is_default_there { WORKSPACE_DEFAULT } else { first }
}

impl PageRequest {
    /// The same in an environment that there is, so that its links lead somewhere.
    pub(super) fn where_it_can_go_on(mut self) -> Self {
        if !self.who.environments.contains(&self.workspace) {
            self.workspace = usual_workspace(&self.who).to_owned();
        }
        self
    }

    /// A field of the query; one that was left empty is none.
    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.query.get(name)
    }

    /// The same, or nothing.
    pub(super) fn text(&self, name: &str) -> &str {
        self.query.text(name)
    }

    /// Whether a role of the reader in the environment is one of these.
    fn has_role(&self, is_it: impl Fn(&str) -> bool) -> bool {
        let places = ["*", self.workspace.as_str()].into_iter();
        let mut roles = places.filter_map(|place| self.who.roles.get(place)).flatten();
        // Whoever holds the admin token is nobody of the catalog and may do everything.
        self.who.user.is_none() || roles.any(|role| is_it(role))
    }

    /// Whether the reader is an admin of the environment.
    pub(super) fn is_admin(&self) -> bool {
        self.has_role(|role| role == "admin")
    }

    /// Whether the reader is an admin of the server, to which users and groups belong.
    pub(super) fn is_server_admin(&self) -> bool {
        let places = ["*", SERVER_PLACE].into_iter();
        let mut roles = places.filter_map(|place| self.who.roles.get(place)).flatten();
        self.who.user.is_none() || roles.any(|role| role == "admin")
    }

    /// Whether the reader may perhaps change something there. The API knows it for each change.
    pub(super) fn may_change(&self) -> bool {
        self.has_role(|role| !matches!(role, "viewer" | "draft_editor"))
    }

    /// Whether the reader may perhaps propose a change that somebody else approves.
    pub(super) fn may_propose(&self) -> bool {
        // A draft has an author, and the admin token is nobody.
        self.who.user.is_some() && self.has_role(|role| role != "viewer")
    }

    /// Whether the reader may perhaps change something, or propose it.
    pub(super) fn may_propose_or_change(&self) -> bool {
        self.may_change() || self.may_propose()
    }

    /// Whether the reader may perhaps see what stands in events. The prebuilt roles but one give it to nobody.
    pub(super) fn may_see_events(&self) -> bool {
        self.has_role(|role| !matches!(role, "viewer" | "editor" | "draft_editor"))
    }

    /// A page of the console in the same environment. Fields that are empty are left out.
    pub(super) fn to(&self, page: &str, fields: &[(&str, &str)]) -> String {
        let is_usual = self.workspace == WORKSPACE_DEFAULT;
        with_query(page, [("workspace", if is_usual { "" } else { self.workspace.as_str() })].iter().chain(fields))
    }

    /// Asks for something of the environment.
    pub(super) async fn ask<T: DeserializeOwned>(&self, path: &str, fields: &[(&str, &str)]) -> Result<T, PageRefusal> {
        let answer = self.asker.ask(Method::GET, &self.api_place(path, fields), Bytes::new()).await;
        answered(&answer, &self.place)
    }

    /// Asks for what may not be there, or not for the reader.
    pub(super) async fn ask_if_there<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<Option<T>, PageRefusal> {
        match self.ask(path, fields).await {
            Ok(found) => Ok(Some(found)),
            Err(PageRefusal::Problem(problem)) if matches!(problem.status, 403 | 404 | 422) => Ok(None),
            Err(refusal) => Err(refusal),
        }
    }

    /// Has something done in the environment.
    pub(super) async fn order<T: DeserializeOwned>(&self, path: &str, body: &impl Serialize) -> Result<T, PageRefusal> {
        let body = serde_json::to_vec(body).map(Bytes::from).unwrap_or_default();
        let answer = self.asker.ask(Method::POST, &self.api_place(path, &[]), body).await;
        answered(&answer, &self.place)
    }

    /// Says anew what something of the environment is, if it is still at this revision.
    pub(super) async fn put<T: DeserializeOwned>(
        &self,
        path: &str,
        revision: Option<&str>,
        body: &impl Serialize,
    ) -> Result<T, PageRefusal> {
        let body = serde_json::to_vec(body).map(Bytes::from).unwrap_or_default();
        let tag = revision.and_then(|revision| HeaderValue::try_from(format!("\"{revision}\"")).ok());
        let answer = self.asker.ask_if(Method::PUT, &self.api_place(path, &[]), tag, body).await;
        answered(&answer, &self.place)
    }

    /// Deletes something of the environment.
    pub(super) async fn delete<T: DeserializeOwned>(
        &self,
        path: &str,
        fields: &[(&str, &str)],
    ) -> Result<T, PageRefusal> {
        let answer = self.asker.ask(Method::DELETE, &self.api_place(path, fields), Bytes::new()).await;
        answered(&answer, &self.place)
    }

    /// The same with any method and with fields of a query, as it is answered.
    pub(super) async fn send(&self, method: Method, place: &str, body: &impl Serialize) -> Response<Bytes> {
        let body = serde_json::to_vec(body).map(Bytes::from).unwrap_or_default();
        self.asker.ask(method, place, body).await
    }

    /// Makes an object what a form says, or deletes it.
    pub(super) async fn change(
        &self,
        method: Method,
        path: &str,
        body: &impl Serialize,
    ) -> Result<ChangeDone, PageRefusal> {
        answered(&self.send(method, &self.api_place(path, &[]), body).await, &self.place)
    }

    /// Room for a page that goes on, until it is dropped; none when as many answers go on as may.
    pub(super) fn stream_room(&self) -> Option<StreamRoom> {
        self.asker.stream_room()
    }

    /// A place of the API in the environment.
    pub(super) fn api_place(&self, path: &str, fields: &[(&str, &str)]) -> String {
        with_query(path, [("workspace", self.workspace.as_str())].iter().chain(fields))
    }
}

/// The fields of the place of another page of a list: all by which the list is chosen, and where that page begins.
pub(super) fn from_there<'f>(chosen: &[(&'f str, &'f str)], there: (&'f str, &'f str)) -> Vec<(&'f str, &'f str)> {
    let others = chosen.iter().copied().filter(|(name, _)| *name != there.0);
    others.chain([there]).collect()
}

fn with_query<'f>(page: &str, fields: impl Iterator<Item = &'f (&'f str, &'f str)>) -> String {
    let mut query = form_urlencoded::Serializer::new(String::new());
    let mut is_empty = true;
    for (name, value) in fields.filter(|(_, value)| !value.is_empty()) {
        query.append_pair(name, value);
        is_empty = false;
    }
    if is_empty { page.to_owned() } else { format!("{page}?{}", query.finish()) }
}

/// A name as a segment of a path.
pub(super) fn segment(name: &str) -> String {
    let mut shown = String::new();
    for byte in name.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            shown.push(char::from(byte));
        } else {
            shown.push_str(&format!("%{byte:02X}"));
        }
    }
    shown
}

/// What the API has answered. `place` is where the reader wanted to be.
pub(super) fn answered<T: DeserializeOwned>(answer: &Response<Bytes>, place: &str) -> Result<T, PageRefusal> {
    if answer.status() == StatusCode::UNAUTHORIZED {
        return Err(PageRefusal::SignIn(place.to_owned()));
    }
    let unreadable = |_| PageRefusal::broken("an answer of the API could not be read");
    if answer.status().is_success() {
        return serde_json::from_slice(answer.body()).map_err(unreadable);
    }
    let problem: ProblemDetails = serde_json::from_slice(answer.body()).map_err(unreadable)?;
    Err(PageRefusal::Problem(Box::new(for_people(problem))))
}

/// What a program is told of a conflict is about a header, which whoever fills in a form has not sent; of rights about its token, and of a wrong path
/// about the documents of the API.
fn for_people(mut problem: ProblemDetails) -> ProblemDetails {
    if problem.status == StatusCode::PRECONDITION_FAILED.as_u16() {
        problem.detail = "somebody has changed it since this page was loaded; nothing was saved".to_owned();
        problem.fix = "load the page again, look at what is there now, and make your change in that".to_owned();
    } else if problem.status == StatusCode::FORBIDDEN.as_u16() && problem.detail == TOKEN_MAY_NOT {
        problem.detail = "you may not see or do that".to_owned();
        problem.fix = "ask an admin for a role that may; the page People shows who has which".to_owned();
    } else if problem.code == ABSENT {
        problem.detail = "there is no such page".to_owned();
        problem.fix = GO_ON.to_owned();
    }
    problem
}

/// A form that was sent. Whether a page of this server has sent it, the API looks at when the form has it do something.
pub(super) struct PageForm {
    pub(super) request: PageRequest,
    pub(super) fields: PagePairs,
}

impl<S: Send + Sync> FromRequest<S> for PageForm {
    type Rejection = PageRefusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageRefusal> {
        let (mut parts, body) = request.into_parts();
        let request = PageRequest::from_request_parts(&mut parts, state).await?;
        let fields = form(body).await?;
        Ok(Self { request, fields })
    }
}

/// The same, of a form that holds a script.
pub(super) struct ScriptForm {
    pub(super) request: PageRequest,
    pub(super) fields: PagePairs,
}

impl<S: Send + Sync> FromRequest<S> for ScriptForm {
    type Rejection = PageRefusal;

    async fn from_request(request: Request, state: &S) -> Result<Self, PageRefusal> {
        let (mut parts, body) = request.into_parts();
        let request = PageRequest::from_request_parts(&mut parts, state).await?;
        let fields = form_of(body, SCRIPT_FORM_BYTES_MAX).await?;
        Ok(Self { request, fields })
    }
}

/// The fields of a form.
pub(super) async fn form(body: axum::body::Body) -> Result<PagePairs, PageRefusal> {
    form_of(body, FORM_BYTES_MAX).await
}

async fn form_of(body: axum::body::Body, bytes_max: usize) -> Result<PagePairs, PageRefusal> {
    let bytes = to_bytes(body, bytes_max).await.map_err(|_| {
        let detail = format!("a form has {bytes_max} bytes at most");
        PageRefusal::new(StatusCode::PAYLOAD_TOO_LARGE, "too-large", detail, "send less")
    })?;
    Ok(PagePairs::read(&bytes))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn fields_that_are_empty_are_none_and_names_stay_one_segment() {
        let pairs = PagePairs::read(b"a=+x+&b=&c=%3Cscript%3E");
        assert_eq!((pairs.get("a"), pairs.get("b"), pairs.text("c")), (Some("x"), None, "<script>"));
        let fields = [("q", "a b&c"), ("empty", "")];
        assert_eq!(with_query("/live", fields.iter()), "/live?q=a+b%26c");
        assert_eq!(with_query("/live", [].iter()), "/live");
        assert_eq!(segment("a/../b?c"), "a%2F%2E%2E%2Fb%3Fc");
    }

    #[test]
    fn another_page_of_a_list_is_chosen_by_all_that_the_list_is_chosen_by() {
        let chosen = [("event", "Sold"), ("source", "web"), ("since", "2026-01-01T00:00:00Z"), ("until", "")];
        assert_eq!(
            from_there(&chosen, ("until", "2026-02-01T00:00:00Z")),
            [
                ("event", "Sold"),
                ("source", "web"),
                ("since", "2026-01-01T00:00:00Z"),
                ("until", "2026-02-01T00:00:00Z")
            ]
        );
        assert_eq!(from_there(&chosen[..1], ("from", "7")), [("event", "Sold"), ("from", "7")]);
    }

    #[test]
    fn only_two_themes_are_known() {
        let theme =
            |cookie: &'static str| theme(&[(header::COOKIE, HeaderValue::from_static(cookie))].into_iter().collect());
        assert_eq!(theme("a=b; tidegate_theme=dark"), Some("dark"));
        assert_eq!(theme("tidegate_theme=\"><script>"), None);
        assert_eq!(theme("a=b"), None);
    }

    #[test]
    fn whoever_is_not_let_in_is_sent_to_sign_in_and_a_problem_stays_one() {
        let answer = |status: u16, body: &'static str| {
            Response::builder().status(status).body(Bytes::from_static(body.as_bytes())).unwrap()
        };
        let refused = answered::<Vec<u64>>(&answer(401, "{}"), "/live").unwrap_err();
        assert!(matches!(refused, PageRefusal::SignIn(place) if place == "/live"));
        let refused = answered::<Vec<u64>>(&answer(500, "no JSON"), "/").unwrap_err();
        assert!(matches!(refused, PageRefusal::Problem(problem) if problem.code == "failed"));
        assert_eq!(answered::<Vec<u64>>(&answer(200, "[1]"), "/").unwrap(), [1]);
    }

    #[test]
    fn a_conflict_is_told_to_people_without_the_header_of_programs() {
        let problem = r#"{"type": "about:blank", "title": "Precondition Failed", "status": 412, "detail": "read it again",
            "code": "conflict", "fix": "send If-Match with its ETag", "problems": []}"#;
        let answer = Response::builder().status(412).body(Bytes::from_static(problem.as_bytes())).unwrap();
        let PageRefusal::Problem(told) = answered::<Vec<u64>>(&answer, "/").unwrap_err() else {
            panic!("a conflict is a problem");
        };
        assert!(
            told.detail.contains("somebody has changed it") && told.fix.contains("load the page again"),
            "{told:?}"
        );
        assert_eq!((told.status, told.code.as_str()), (412, "conflict"));
    }
}

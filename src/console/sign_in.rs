//! Signing in and out: forms for what the API does.

use axum::extract::Request;
use axum::response::Response;
use bytes::Bytes;
use hyper::header::{self, HeaderMap};
use hyper::{Method, StatusCode};
use maud::{Markup, html};
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::control::WhoAmI;
use tidegate_api_types::path;
use tidegate_api_types::sign_in::{LoginWays, SignIn, SignedOut};

use super::ask::{PagePairs, PageRefusal, answered, asker, form, segment, theme};
use super::layout::{bare, go_to, problem};
use super::text::{command, short};
use crate::api::PageAsker;

const THEN_BYTES_MAX: usize = 500;
const TITLE: &str = "Sign in";

/// How people may sign in.
pub(super) async fn show(request: Request) -> Result<Response, PageRefusal> {
    let (parts, _) = request.into_parts();
    let query = PagePairs::read(parts.uri.query().unwrap_or_default().as_bytes());
    let asker = asker(&parts)?;
    let content = ways(&asker, ("", own_page(query.text("then"))), None).await?;
    Ok(bare(StatusCode::OK, TITLE, theme(&parts.headers), &content))
}

/// Signs in with a name and a password.
pub(super) async fn sign_in(request: Request) -> Result<Response, PageRefusal> {
    let (parts, body) = request.into_parts();
    let (asker, fields) = (asker(&parts)?, form(body).await?);
    // A password may begin or end with a space.
    let order = SignIn { name: fields.text("name").to_owned(), password: fields.whole("password").to_owned() };
    let order = serde_json::to_vec(&order).map(Bytes::from).unwrap_or_default();
    let then = own_page(fields.text("then"));
    let answer = asker.ask(Method::POST, path::LOGIN, order).await;
    if answer.status().is_success() {
        let _: WhoAmI = answered(&answer, then)?;
        return Ok(with_cookies(go_to(then), answer.headers()));
    }
    let Ok(refused) = serde_json::from_slice::<ProblemDetails>(answer.body()) else {
        return Err(PageRefusal::absent());
    };
    let content = ways(&asker, (fields.text("name"), then), Some(&refused)).await?;
    let mut response = bare(answer.status(), TITLE, theme(&parts.headers), &content);
    if let Some(wait) = answer.headers().get(header::RETRY_AFTER) {
        response.headers_mut().insert(header::RETRY_AFTER, wait.clone());
    }
    Ok(response)
}

/// Ends the session of the browser.
pub(super) async fn sign_out(request: Request) -> Result<Response, PageRefusal> {
    let (parts, _) = request.into_parts();
    let answer = asker(&parts)?.ask(Method::DELETE, path::SESSION, Bytes::new()).await;
    let done: SignedOut = answered(&answer, "/")?;
    let provider = done.end_session_url.filter(|url| url.starts_with("https://") || url.starts_with("http://"));
    let content = html! {
        p role="status" { "You are signed out." }
        @if let Some(url) = &provider { p { a href=(url) rel="noreferrer" { "Sign out at the provider, too" } } }
        p { a href="/sign-in" { "Sign in again" } }
    };
    let response = bare(StatusCode::OK, "Signed out", theme(&parts.headers), &content);
    Ok(with_cookies(response, answer.headers()))
}

/// The page, for somebody of this name who goes to `then` afterwards.
async fn ways(
    asker: &PageAsker,
    (name, then): (&str, &str),
    refused: Option<&ProblemDetails>,
) -> Result<Markup, PageRefusal> {
    let answer = asker.ask(Method::GET, path::LOGIN, Bytes::new()).await;
    let LoginWays { password, providers } = answered(&answer, "/")?;
    let then_of = |provider: &str| {
        let query: String = url::form_urlencoded::Serializer::new(String::new()).append_pair("then", then).finish();
        format!("{}?{query}", path::LOGIN_PROVIDER.replace("{provider}", &segment(provider)))
    };
    Ok(html! {
        @if let Some(refused) = refused { (problem(refused)) }
        @if password {
            form.sign-in method="post" action="/sign-in" {
                input type="hidden" name="then" value=(then);
                label { "Name" input name="name" value=(name) autocomplete="username" required autofocus; }
                label { "Password" input name="password" type="password" autocomplete="current-password" required; }
                button type="submit" { "Sign in" }
            }
        }
        @if !providers.is_empty() {
            ul.providers { @for provider in &providers { li { a.button href=(then_of(provider)) { "Sign in with " (short(provider)) } } } }
        }
        (command("tidegate login --server ADDRESS"))
        p.quiet { "The first start makes the user " code { "admin" } " and shows a token, which may stand in place of the password here; " code { "tidegate user password admin" } " gives it one." }
    })
}

/// A page of the console to go to: a browser is sent nowhere else.
fn own_page(text: &str) -> &str {
    let is_plain = text.len() <= THEN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_plain && text.starts_with('/') && !text.starts_with("//") { text } else { "/" }
}

pub(super) fn with_cookies(mut response: Response, headers: &HeaderMap) -> Response {
    for cookie in headers.get_all(header::SET_COOKIE) {
        response.headers_mut().append(header::SET_COOKIE, cookie.clone());
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_pages_of_the_console_alone() {
        assert_eq!(own_page("/live?source=web"), "/live?source=web");
        for wrong in ["", "x", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ä"] {
            assert_eq!(own_page(wrong), "/", "{wrong:?}");
        }
    }
}

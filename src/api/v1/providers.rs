//! Signing in at a provider: a browser goes there and comes back with a code.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use data_encoding::BASE64URL_NOPAD;
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use serde::{Deserialize, Serialize};
use tidegate_api_types::path;
use tidegate_api_types::sign_in::{CallbackQuery, StartQuery};
use tidegate_oidc::{CodeRequest, OidcError};
use tidegate_process::clock;

use super::asker::OfApi;
use super::visitor::Visitor;
use crate::api::SharedApi;
use crate::api::cookies::{CookieUse, PENDING_S};
use crate::api::extract::{Name, Query};
use crate::api::login::{page, refused_by};
use crate::api::refusal::ApiRefusal;

/// What a browser keeps while its user is at the provider, sealed.
#[derive(Serialize, Deserialize)]
struct PendingSignIn {
    provider: String,
    state: String,
    nonce: String,
    verifier: String,
    redirect_uri: String,
    then: String,
    /// Microseconds since the Unix epoch, UTC.
    until_us: i64,
}

const PURPOSE: &str = "sign-in";
const SECOND_US: i64 = 1_000_000;
const THEN_BYTES_MAX: usize = 500;
/// Of what a provider says of an error.
const SHOWN_CHARS_MAX: usize = 200;

/// Sends a browser to a provider. The provider sends it back to `callback`.
#[utoipa::path(get, path = path::LOGIN_PROVIDER, tag = "access", operation_id = "start_sign_in", security(()),
    params(("provider" = String, Path), StartQuery), responses((status = 303, description = "To the provider"), ApiRefusal))]
pub(super) async fn start(
    State(shared): OfApi,
    visitor: Visitor,
    Name(name): Name,
    Query(query): Query<StartQuery>,
) -> Result<Response, ApiRefusal> {
    let provider = shared.login.provider(&name)?;
    shared.login.count_call(visitor.caller)?;
    let then = query.then.map_or_else(|| Ok(path::WHO_AM_I.to_owned()), own_page)?;
    let base = shared.login.base(&visitor.headers, visitor.over_tls)?;
    let request = CodeRequest {
        redirect_uri: page(&base, &path::LOGIN_CALLBACK.replace("{provider}", &name)),
        state: drawn(),
        nonce: drawn(),
        verifier: drawn(),
    };
    let url = provider.authorization_url(&request, visitor.at_us).await;
    let url = url.map_err(|error| refused_by(&name, &error))?;
    let CodeRequest { redirect_uri, state, nonce, verifier } = request;
    let until_us = visitor.at_us + i64::try_from(PENDING_S).unwrap_or(0) * SECOND_US;
    let pending = PendingSignIn { provider: name, state, nonce, verifier, redirect_uri, then, until_us };
    let bytes = serde_json::to_vec(&pending).unwrap_or_default();
    let sealed = shared.login.sealer.seal(PURPOSE, &bytes, clock::random());
    let sealed = sealed.ok_or_else(|| ApiRefusal::failed("the sign-in could not be kept", &"it is too long"))?;
    Ok(redirect(url.as_str(), [CookieUse::PendingSignIn.kept(&sealed, visitor.over_tls)]))
}

/// Where a provider sends a browser back to. The answer sets the cookie of a session and sends the browser on.
#[utoipa::path(get, path = path::LOGIN_CALLBACK, tag = "access", operation_id = "finish_sign_in", security(()),
    params(("provider" = String, Path), CallbackQuery), responses((status = 303, description = "Signed in, and sent on"), ApiRefusal))]
pub(super) async fn finish(
    State(shared): OfApi,
    visitor: Visitor,
    Name(name): Name,
    Query(query): Query<CallbackQuery>,
) -> Result<Response, ApiRefusal> {
    let provider = shared.login.provider(&name)?;
    shared.login.count_call(visitor.caller)?;
    let pending = pending(&shared, &visitor, &name, query.state.as_deref())?;
    let PendingSignIn { state, nonce, verifier, redirect_uri, then, .. } = pending;
    let request = CodeRequest { redirect_uri, state, nonce, verifier };
    let proven = match (query.code, query.error) {
        (Some(code), None) => provider.redeem(&request, &code, query.iss.as_deref(), visitor.at_us).await,
        (_, error) => Err(OidcError::Refused {
            error: shortened(&error.unwrap_or_else(|| "nothing".to_owned())),
            description: shortened(&query.error_description.unwrap_or_default()),
        }),
    };
    let user = shared.enter_by(&visitor, &name, proven).await?;
    let opened = shared.open_session(&visitor, &user, Some(&name)).await;
    let (_, cookie) = opened.map_err(|error| shared.refused(error))?;
    Ok(redirect(&then, [cookie, CookieUse::PendingSignIn.forgotten(visitor.over_tls)]))
}

/// The sign-in that this browser has begun, which the answer of the provider must be of.
fn pending(
    shared: &SharedApi,
    visitor: &Visitor,
    provider: &str,
    state: Option<&str>,
) -> Result<PendingSignIn, ApiRefusal> {
    let sealed = CookieUse::PendingSignIn.of(&visitor.headers, visitor.over_tls);
    let opened = sealed.and_then(|sealed| shared.login.sealer.open(PURPOSE, sealed));
    let pending: Option<PendingSignIn> = opened.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let is_this = |pending: &PendingSignIn| {
        pending.provider == provider && state == Some(pending.state.as_str()) && visitor.at_us < pending.until_us
    };
    pending.filter(is_this).ok_or_else(|| {
        let detail = "no such sign-in is under way in this browser, or it took more than ten minutes";
        let fix = format!("begin again at {}", path::LOGIN_PROVIDER.replace("{provider}", provider));
        ApiRefusal::bad("sign-in-over", detail, fix)
    })
}

/// 256 random bits.
fn drawn() -> String {
    BASE64URL_NOPAD.encode(&clock::random::<32>())
}

/// A path of this server: a browser is sent nowhere else.
fn own_page(text: String) -> Result<String, ApiRefusal> {
    let is_plain = text.len() <= THEN_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\');
    if is_plain && text.starts_with('/') && !text.starts_with("//") {
        return Ok(text);
    }
    Err(ApiRefusal::bad("then", "`then` is no path of this server", "write a path such as `/`").in_field("then"))
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(SHOWN_CHARS_MAX).collect()
}

fn redirect(to: &str, cookies: impl IntoIterator<Item = HeaderValue>) -> Response {
    let mut answer = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::try_from(to).unwrap_or_else(|_| HeaderValue::from_static("/"));
    answer.headers_mut().insert(header::LOCATION, location);
    for cookie in cookies {
        answer.headers_mut().append(header::SET_COOKIE, cookie);
    }
    answer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_is_sent_to_pages_of_this_server_alone() {
        for good in ["/", "/api/v1/whoami", "/objects?kind=source#x"] {
            assert_eq!(own_page(good.to_owned()).unwrap(), good);
        }
        for wrong in ["", "x", "//evil.example", "/\\evil.example", "https://evil.example", "/a\r\nb", "/ä"] {
            assert!(own_page(wrong.to_owned()).is_err(), "{wrong:?}");
        }
    }
}

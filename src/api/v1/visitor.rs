//! Whoever asks without being known yet, for the handlers by which people sign in.

use std::net::IpAddr;

use axum::extract::FromRequestParts;
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::http::request::Parts;
use tidegate_catalog::{Actor, CatalogError, ObjectId};
use tidegate_net::Caller;
use tidegate_process::clock;

use super::asker::AskedFrom;
use crate::api::SharedApi;
use crate::api::cookies::{CookieUse, OverTls, RequestOrigin};
use crate::api::refusal::ApiRefusal;

/// The session that a request showed. It is printed by nobody.
#[derive(Clone)]
pub(in crate::api) struct ShownSession(pub(in crate::api) String);

/// A request of somebody, whoever it is.
pub(super) struct Visitor {
    pub(super) caller: Caller,
    pub(super) over_tls: OverTls,
    pub(super) headers: HeaderMap,
    pub(super) actor: Actor,
    pub(super) at_us: i64,
    /// The session that it was let in with, if it was.
    pub(super) session: Option<ShownSession>,
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = ApiRefusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiRefusal> {
        let text = |name| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
        let address = parts.extensions.get::<AskedFrom>().map(|from| from.0.clone());
        let ip: Option<IpAddr> = address.as_ref().and_then(|address| address.parse().ok());
        let (agent, request) = (text(header::USER_AGENT.as_str()), text("x-request-id"));
        Ok(Self {
            caller: ip.ok_or_else(ApiRefusal::forbidden)?.into(),
            over_tls: parts.extensions.get::<OverTls>().copied().unwrap_or(OverTls(false)),
            actor: Actor { address, agent, request, ..Actor::default() },
            at_us: clock::now_us(),
            session: parts.extensions.get::<ShownSession>().cloned(),
            headers: parts.headers.clone(),
        })
    }
}

impl Visitor {
    /// A page of another site has nobody sign in here.
    pub(super) fn refuse_foreign(&self, shared: &SharedApi) -> Result<(), ApiRefusal> {
        match RequestOrigin::of(&self.headers, shared.login.public_url.as_ref(), self.over_tls) {
            RequestOrigin::Foreign => Err(cross_site()),
            RequestOrigin::Own | RequestOrigin::Untold => Ok(()),
        }
    }

    /// The same request, in the name of somebody who is known now.
    pub(super) fn acting_as(&self, user: &ObjectId) -> Actor {
        Actor { principal: Some(user.clone()), ..self.actor.clone() }
    }
}

impl SharedApi {
    /// Opens a session for somebody who has signed in, at this provider if at one, and ends the one that the browser had.
    pub(super) async fn open_session(
        &self,
        visitor: &Visitor,
        user: &ObjectId,
        provider: Option<&str>,
    ) -> Result<(String, HeaderValue), CatalogError> {
        let catalog = &self.settings.catalog.catalog;
        if let Some(before) = CookieUse::Session.of(&visitor.headers, visitor.over_tls) {
            catalog.end_session(session_of(before).0).await?;
        }
        let opened = catalog.open_session(user, visitor.at_us).await?;
        let session = opened.expose_text().unwrap_or_default().to_owned();
        let value = provider.map_or_else(|| session.clone(), |provider| format!("{session}.{provider}"));
        Ok((session, CookieUse::Session.kept(&value, visitor.over_tls)))
    }
}

/// What a cookie holds: a session, and the name of the provider at which its user signed in.
pub(in crate::api) fn session_of(cookie: &str) -> (&str, Option<&str>) {
    cookie.split_once('.').map_or((cookie, None), |(session, provider)| (session, Some(provider)))
}

/// A browser sent it because of a page of another site.
pub(in crate::api) fn cross_site() -> ApiRefusal {
    let detail = "the request came from a page of another site";
    let fix = "send it from a page of this server (behind a proxy, `login.public_url` says where that is), or with an API token";
    ApiRefusal::new(StatusCode::FORBIDDEN, "cross-site", detail, fix)
}

//! Signing in with a password, and out.

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header;
use serde_json::json;
use std::time::Instant;
use tidegate_api_types::control::WhoAmI;
use tidegate_api_types::path;
use tidegate_api_types::sign_in::{LoginWays, SignIn, SignedOut};
use tidegate_catalog::{
    ActingPrincipal, Actor, AuditRecord, AuditResult, CatalogError, CredentialProblem, ObjectId, ObjectKind,
    SERVER_WORKSPACE, SecretValue,
};
use tidegate_event::time;

use super::asker::{OfApi, Requester};
use super::visitor::{Visitor, session_of};
use crate::api::SharedApi;
use crate::api::access::{WORKSPACE_DEFAULT, is_admin};
use crate::api::cookies::CookieUse;
use crate::api::extract::Json;
use crate::api::login::{page, too_many};
use crate::api::refusal::ApiRefusal;
use crate::api::sign_in_tries::{SignInWait, TriesBy};

/// No user's name is longer; a longer one is nobody's.
const NAME_CHARS_MAX: usize = 201;
/// What the admin token begins with, and no token of a person.
const ADMIN_TOKEN: &str = "tg_";

/// How people may sign in.
#[utoipa::path(get, path = path::LOGIN, tag = "access", operation_id = "list_login_ways", security(()),
    responses((status = 200, body = LoginWays), ApiRefusal))]
pub(super) async fn ways(State(shared): OfApi) -> axum::Json<LoginWays> {
    axum::Json(LoginWays { password: true, providers: shared.login.providers.keys().cloned().collect() })
}

/// Signs in with a name and a password. The answer sets the cookie of a session, which every sign-in makes anew.
#[utoipa::path(post, path = path::LOGIN, tag = "access", operation_id = "sign_in", security(()),
    request_body = SignIn, responses((status = 200, body = WhoAmI), ApiRefusal))]
pub(super) async fn sign_in(
    State(shared): OfApi,
    visitor: Visitor,
    Json(asked): Json<SignIn>,
) -> Result<Response, ApiRefusal> {
    visitor.refuse_foreign(&shared)?;
    let name: String = asked.name.chars().take(NAME_CHARS_MAX).collect();
    let password = SecretValue::from(asked.password);
    let user = shared.let_in(&visitor, &name, &password).await?;
    let opened = shared.open_session(&visitor, &user, None).await;
    let (session, cookie) = opened.map_err(|error| shared.refused(error))?;
    let catalog = &shared.settings.catalog.catalog;
    let acting = catalog.session(&session, visitor.at_us).await.map_err(|error| shared.refused(error))?;
    let who = shared.who(Some(&acting), true).await?;
    Ok(([(header::SET_COOKIE, cookie)], axum::Json(who)).into_response())
}

/// Ends what the request was let in with: the session of a browser, or the API token of a program. The admin token stays.
#[utoipa::path(delete, path = path::SESSION, tag = "access", operation_id = "sign_out",
    responses((status = 200, body = SignedOut), ApiRefusal))]
pub(super) async fn sign_out(State(shared): OfApi, asker: Requester, visitor: Visitor) -> Result<Response, ApiRefusal> {
    let catalog = &shared.settings.catalog.catalog;
    let Some(acting) = asker.acting() else {
        let detail = "the admin token is no session";
        return Err(ApiRefusal::unprocessable(
            "no-session",
            detail,
            "`tidegate admin token --reset` makes another one",
        ));
    };
    let Some(session) = &visitor.session else {
        let ended = catalog.end_token(&acting.id, &asker.actor, asker.at_us).await;
        ended.map_err(|error| shared.refused(error))?;
        return Ok(axum::Json(SignedOut { end_session_url: None }).into_response());
    };
    catalog.end_session(&session.0).await.map_err(|error| shared.refused(error))?;
    let record = of_user("signed_out", AuditResult::Done, Some(&acting.person), json!({}));
    catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| shared.refused(error))?;
    let cookie = CookieUse::Session.of(&visitor.headers, visitor.over_tls).unwrap_or_default();
    let end_session_url = shared.end_session_url(session_of(cookie).1, &visitor, asker.at_us).await;
    let forgotten = CookieUse::Session.forgotten(visitor.over_tls);
    Ok(([(header::SET_COOKIE, forgotten)], axum::Json(SignedOut { end_session_url })).into_response())
}

impl SharedApi {
    /// The user whose name and password these are. Wrong ones are counted, and told to wait when there are too many; right ones too then,
    /// so that nobody learns more by waiting for the answer.
    pub(super) async fn let_in(
        &self,
        visitor: &Visitor,
        name: &str,
        password: &SecretValue,
    ) -> Result<ObjectId, ApiRefusal> {
        let tries = &self.login.tries;
        let next = tries.begin(name, visitor.caller, Instant::now());
        let next = next.map_err(|waits| too_many("there were too many wrong passwords", waits.wait))?;
        let checked = self.settings.catalog.catalog.check_password(name, password, &visitor.actor, visitor.at_us).await;
        match checked {
            Ok(user) => {
                tries.was_right(name, visitor.caller);
                Ok(user)
            }
            Err(CatalogError::Credential(CredentialProblem::Unknown)) => {
                if let Some(waits) = next {
                    self.note_wait(&visitor.actor, visitor.at_us, (name, waits)).await?;
                }
                let fix = match password.expose_text() {
                    Some(text) if text.starts_with(ADMIN_TOKEN) => {
                        "this is the admin token, which programs send; sign in as `admin` with the token that begins with tgp_, which the first \
                         start has shown, or as a user with a password"
                    }
                    _ => "look at both; an admin can set another password: `tidegate user password NAME`",
                };
                let detail = "the name or the password is wrong";
                Err(ApiRefusal::new(StatusCode::UNAUTHORIZED, "wrong-password", detail, fix))
            }
            Err(error) => {
                tries.was_none(name, visitor.caller);
                Err(self.refused(error))
            }
        }
    }

    /// Too many wrong passwords are told in the audit log, once for each wait.
    pub(super) async fn note_wait(
        &self,
        actor: &Actor,
        at_us: i64,
        (name, waits): (&str, SignInWait),
    ) -> Result<(), ApiRefusal> {
        let by = match waits.by {
            TriesBy::Account => "account",
            TriesBy::Address => "address",
        };
        tracing::warn!(by, wait_s = waits.wait.as_secs(), "there were too many wrong passwords");
        let detail = json!({ "by": by, "wait_s": waits.wait.as_secs() });
        let record =
            AuditRecord { name: Some(name.to_owned()), ..of_user("sign_in_locked", AuditResult::Denied, None, detail) };
        self.settings.catalog.catalog.record(actor, at_us, record).await.map_err(|error| self.refused(error))
    }

    /// Who asks, for themselves.
    pub(super) async fn who(&self, acting: Option<&ActingPrincipal>, is_session: bool) -> Result<WhoAmI, ApiRefusal> {
        let mut who = WhoAmI {
            user: acting.map(|acting| acting.person.to_string()),
            name: None,
            token: acting.filter(|acting| acting.is_token()).map(|acting| acting.id.to_string()),
            expires_at: acting.and_then(|acting| acting.expires_at_us).map(time::format),
            session: is_session,
            admin: acting.is_none_or(|acting| is_admin(acting, WORKSPACE_DEFAULT)),
            groups: Vec::new(),
            roles: Default::default(),
            environments: Vec::new(),
        };
        let environments = self.settings.engines.keys();
        let has_role = |name: &&String| acting.is_none_or(|acting| acting.has_role_in(name));
        who.environments = environments.filter(has_role).cloned().collect();
        if let Some(acting) = acting {
            let membership = self.settings.catalog.catalog.membership(&acting.person).await;
            let membership = membership.map_err(|error| self.refused(error))?.unwrap_or_default();
            who.name = Some(membership.name);
            who.groups = membership.groups.into_iter().collect();
            let roles = membership.roles.into_iter();
            who.roles = roles.map(|(workspace, roles)| (workspace, roles.into_iter().collect())).collect();
        }
        Ok(who)
    }

    /// Where a browser signs out at its provider. A provider that cannot be asked keeps nobody signed in here.
    async fn end_session_url(&self, provider: Option<&str>, visitor: &Visitor, at_us: i64) -> Option<String> {
        let provider = self.login.providers.get(provider?)?;
        let back = self.login.base(&visitor.headers, visitor.over_tls).ok().map(|base| page(&base, "/"));
        let asked = provider.end_session_url(back.as_deref(), at_us).await;
        asked.ok().flatten().map(String::from)
    }
}

/// An entry of the audit log about a user.
pub(super) fn of_user(
    action: &str,
    result: AuditResult,
    user: Option<&ObjectId>,
    detail: serde_json::Value,
) -> AuditRecord {
    AuditRecord {
        workspace: SERVER_WORKSPACE.to_owned(),
        action: action.to_owned(),
        kind: Some(ObjectKind::User),
        object: user.cloned(),
        name: None,
        result,
        revision: None,
        detail,
    }
}

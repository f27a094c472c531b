//! Passwords of users are set.

use std::time::Instant;

use axum::extract::{RawPathParams, State};
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header;
use tidegate_api_types::path;
use tidegate_api_types::sign_in::SetPassword;
use tidegate_catalog::{
    ActingPrincipal, Authority, CatalogObject, NewPassword, ObjectKind, SERVER_WORKSPACE, SecretValue, Verb,
};

use super::asker::{OfApi, Requester};
use super::permit::may;
use super::visitor::Visitor;
use crate::api::SharedApi;
use crate::api::extract::Json;
use crate::api::login::too_many;
use crate::api::refusal::ApiRefusal;

/// Sets the password of a user and ends their sessions; the one that asks goes on under a new cookie. One's own takes the one before;
/// that of somebody else takes the right to change that user.
#[utoipa::path(put, path = path::USER_PASSWORD, tag = "access", operation_id = "set_password",
    params(("name" = String, Path)), request_body = SetPassword, responses((status = 204, description = "It is set"), ApiRefusal))]
pub(super) async fn set(
    State(shared): OfApi,
    asker: Requester,
    visitor: Visitor,
    params: RawPathParams,
    Json(asked): Json<SetPassword>,
) -> Result<Response, ApiRefusal> {
    let name = params.iter().next().map(|(_, value)| value.to_owned()).unwrap_or_default();
    let user = shared.object(SERVER_WORKSPACE, ObjectKind::User, &name).await?;
    let own = asker.acting().filter(|acting| acting.person == user.id);
    let authority = match own {
        Some(acting) => {
            shared.check_old(&visitor, (&**acting, &user), asked.old).await?;
            Authority::Principal(acting.person.clone())
        }
        None => asker.authority(),
    };
    let new = NewPassword {
        user: user.id.clone(),
        password: SecretValue::from(asked.password),
        authority,
        actor: asker.actor.clone(),
        at_us: asker.at_us,
    };
    shared.settings.catalog.catalog.set_password(&new).await.map_err(|error| shared.refused(error))?;
    if own.is_none() || visitor.session.is_none() {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    let opened = shared.open_session(&visitor, &user.id, None).await;
    let (_, cookie) = opened.map_err(|error| shared.refused(error))?;
    Ok((StatusCode::NO_CONTENT, [(header::SET_COOKIE, cookie)]).into_response())
}

impl SharedApi {
    /// Whoever holds somebody's session or token does not hold the account. Wrong ones count as those of a sign-in.
    async fn check_old(
        &self,
        visitor: &Visitor,
        (acting, user): (&ActingPrincipal, &CatalogObject),
        old: Option<String>,
    ) -> Result<(), ApiRefusal> {
        let (tries, name) = (&self.login.tries, user.content.name.as_str());
        let next = tries.begin(name, visitor.caller, Instant::now());
        let next = next.map_err(|waits| too_many("there were too many wrong passwords", waits.wait))?;
        let given = SecretValue::from(old.clone().unwrap_or_default());
        let is_right = self.settings.catalog.catalog.is_password(&user.id, &given).await;
        let is_right = is_right.map_err(|error| {
            tries.was_none(name, visitor.caller);
            self.refused(error)
        })?;
        let refused = |code, detail: &str, fix: &str| Err(ApiRefusal::unprocessable(code, detail, fix).in_field("old"));
        match is_right {
            Some(true) => tries.was_right(name, visitor.caller),
            // The first password of an admin.
            None if may(acting, Verb::Update, user, None).is_ok() => tries.was_none(name, visitor.caller),
            None => {
                tries.was_none(name, visitor.caller);
                let fix = "ask an admin to set the first one";
                return refused("no-password", "you have no password yet", fix);
            }
            Some(false) if old.is_none() => {
                tries.was_none(name, visitor.caller);
                return refused("old", "`old` is missing", "send the password that you have, as `old`");
            }
            Some(false) => {
                if let Some(waits) = next {
                    self.note_wait(&visitor.actor, visitor.at_us, (name, waits)).await?;
                }
                return refused("old", "`old` is not the password", "send the password that you have, as `old`");
            }
        }
        Ok(())
    }
}

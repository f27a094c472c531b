//! The device flow: a command shows a code, its user types it into a browser, and the command gets an API token.

use axum::extract::State;
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use serde::{Deserialize, Serialize};
use tidegate_api_types::path;
use tidegate_api_types::sign_in::{PollDevice, PolledDevice, StartedDevice};
use tidegate_catalog::{Membership, NewToken, ObjectId, TokenForm};
use tidegate_event::time;
use tidegate_oidc::{DevicePoll, OidcError};
use tidegate_process::clock;

use super::asker::OfApi;
use super::visitor::Visitor;
use crate::api::SharedApi;
use crate::api::access::WORKSPACE_DEFAULT;
use crate::api::extract::{Json, Name};
use crate::api::login::refused_by;
use crate::api::refusal::ApiRefusal;

/// What a command keeps between two questions, sealed.
#[derive(Serialize, Deserialize)]
struct DeviceHandle {
    provider: String,
    device_code: String,
    /// Microseconds since the Unix epoch, UTC.
    until_us: i64,
}

const PURPOSE: &str = "device";
const SECOND_US: i64 = 1_000_000;
/// Of the token that a command gets.
const TOKEN_LIFE_US: i64 = 30 * 24 * 3_600 * SECOND_US;
/// Every role counts there.
const EVERYWHERE: &str = "*";

/// Begins a device flow: the answer has the code for the person, and a handle to ask with.
#[utoipa::path(post, path = path::LOGIN_DEVICE, tag = "access", operation_id = "start_device", security(()),
    params(("provider" = String, Path)), responses((status = 200, body = StartedDevice), ApiRefusal))]
pub(super) async fn start(
    State(shared): OfApi,
    visitor: Visitor,
    Name(name): Name,
) -> Result<axum::Json<StartedDevice>, ApiRefusal> {
    visitor.refuse_foreign(&shared)?;
    let provider = shared.login.provider(&name)?;
    shared.login.count_call(visitor.caller)?;
    let started = provider.start_device(visitor.at_us).await.map_err(|error| refused_by(&name, &error))?;
    let until_us = visitor.at_us + i64::try_from(started.expires_in_s).unwrap_or(0) * SECOND_US;
    let handle = DeviceHandle { provider: name, device_code: started.device_code, until_us };
    let bytes = serde_json::to_vec(&handle).unwrap_or_default();
    let sealed = shared.login.sealer.seal(PURPOSE, &bytes, clock::random());
    let handle = sealed.ok_or_else(|| ApiRefusal::failed("the sign-in could not be kept", &"it is too long"))?;
    Ok(axum::Json(StartedDevice {
        user_code: started.user_code,
        verification_uri: started.verification_uri,
        verification_uri_complete: started.verification_uri_complete,
        interval: started.interval_s,
        expires_in: started.expires_in_s,
        handle,
    }))
}

/// Asks whether the code was typed. Once it was, the answer has an API token of the person, for 30 days.
#[utoipa::path(post, path = path::LOGIN_DEVICE_POLL, tag = "access", operation_id = "poll_device", security(()),
    params(("provider" = String, Path)), request_body = PollDevice,
    responses((status = 200, body = PolledDevice), ApiRefusal))]
pub(super) async fn poll(
    State(shared): OfApi,
    visitor: Visitor,
    Name(name): Name,
    Json(asked): Json<PollDevice>,
) -> Result<axum::Json<PolledDevice>, ApiRefusal> {
    visitor.refuse_foreign(&shared)?;
    let provider = shared.login.provider(&name)?;
    shared.login.count_call(visitor.caller)?;
    let opened = shared.login.sealer.open(PURPOSE, &asked.handle);
    let handle: Option<DeviceHandle> = opened.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let is_good = |handle: &DeviceHandle| handle.provider == name && visitor.at_us < handle.until_us;
    let handle = handle.filter(is_good).ok_or_else(|| {
        let detail = "no such sign-in is under way, or its code has expired";
        ApiRefusal::bad("sign-in-over", detail, "begin again: `tidegate login`").in_field("handle")
    })?;
    let proven = match provider.poll_device(&handle.device_code, visitor.at_us).await {
        Ok(DevicePoll::Pending { slow_down }) => {
            let (token, user, expires_at) = (None, None, None);
            return Ok(axum::Json(PolledDevice { pending: true, slow_down, token, user, expires_at }));
        }
        Ok(DevicePoll::Proven(proven)) => Ok(proven),
        // The same question may be asked again.
        Err(error) if !error.is_about_the_person() => return Err(refused_by(&name, &error)),
        Err(error) => Err::<_, OidcError>(error),
    };
    let user = shared.enter_by(&visitor, &name, proven).await?;
    shared.token_for(&visitor, &user).await.map(axum::Json)
}

impl SharedApi {
    /// A token of a person, for a command.
    async fn token_for(&self, visitor: &Visitor, user: &ObjectId) -> Result<PolledDevice, ApiRefusal> {
        let catalog = &self.settings.catalog.catalog;
        let membership = catalog.membership(user).await.map_err(|error| self.refused(error))?.unwrap_or_default();
        let new = NewToken {
            workspace: workspace_of(&membership)?,
            name: format!("login {}", HEXLOWER.encode(&clock::random::<6>())),
            form: TokenForm::Person,
            grants: None,
            life_us: Some(TOKEN_LIFE_US),
            maker: user.clone(),
            actor: visitor.acting_as(user),
            at_us: visitor.at_us,
        };
        let issued = catalog.create_token(&new).await.map_err(|error| self.refused(error))?;
        Ok(PolledDevice {
            pending: false,
            slow_down: false,
            token: issued.value.expose_text().map(str::to_owned),
            user: Some(membership.name),
            expires_at: Some(time::format(visitor.at_us + TOKEN_LIFE_US)),
        })
    }
}

/// A workspace in which the user has a role, for a token is kept in one.
fn workspace_of(membership: &Membership) -> Result<String, ApiRefusal> {
    let roles = &membership.roles;
    if roles.contains_key(EVERYWHERE) || roles.contains_key(WORKSPACE_DEFAULT) {
        return Ok(WORKSPACE_DEFAULT.to_owned());
    }
    roles.keys().next().cloned().ok_or_else(|| {
        let detail = format!(
            "{:?} is signed in and has no role yet, so there is nothing that a token could do",
            membership.name
        );
        let fix = "ask an admin to put you into a group with a role: `tidegate user grant NAME --role viewer`";
        ApiRefusal::new(StatusCode::FORBIDDEN, "no-role", detail, fix)
    })
}

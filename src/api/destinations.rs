//! Destinations: what there is, and what is changed.

use axum::extract::Request;
use hyper::StatusCode;
use tidegate_api_types::build::{PushQuery, Pushed};
use tidegate_api_types::destination::{DestinationSummary, Destinations, ShownDestination};
use tidegate_api_types::logs::{LogQuery, Logs};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::version::{ChangeSettings, MakeLive, RollBack};
use tidegate_registry::PluginKind;

use super::builds;
use super::change::{self, ReleaseChange, object, sha};
use super::engines::AskedEngine;
use super::extract::{Json, Name, NameInPath, Query};
use super::refusal::ApiRefusal;

type DestinationAnswer<T> = Result<axum::Json<T>, ApiRefusal>;

/// All destinations whose versions were uploaded.
#[utoipa::path(get, path = path::DESTINATIONS, tag = "destinations", operation_id = "list_destinations",
    params(WorkspaceQuery), responses((status = 200, body = Destinations), ApiRefusal))]
pub(super) async fn list(environment: AskedEngine) -> axum::Json<Destinations> {
    let (engine, releases) = (&environment.engine, environment.engine.store.releases());
    let names = engine.names();
    let summary = |name: String| {
        let release = releases.of_kind(PluginKind::Destinations).get(&name).cloned().unwrap_or_default();
        DestinationSummary {
            versions: engine.store.versions(PluginKind::Destinations, &name).len() as u64,
            live: release.live.map(|placed| placed.sha256.to_string()),
            previous: release.previous.map(|placed| placed.sha256.to_string()),
            syncs: names.syncs.get(&name).cloned(),
            name,
        }
    };
    axum::Json(Destinations {
        destinations: engine.store.names(PluginKind::Destinations).into_iter().map(summary).collect(),
        revision: releases.revision,
    })
}

/// One destination with its versions, which of them carries, and what became of events.
#[utoipa::path(get, path = path::DESTINATION, tag = "destinations", operation_id = "show_destination",
    params(NameInPath, WorkspaceQuery), responses((status = 200, body = ShownDestination), ApiRefusal))]
pub(super) async fn show(environment: AskedEngine, Name(name): Name) -> DestinationAnswer<ShownDestination> {
    let versions = environment.versions(PluginKind::Destinations, &name)?;
    let mut shown = environment.destination(&name, &environment.engine.store.releases());
    shown.versions = Some(versions);
    shown.meters = Some(environment.destination_meters(&name)?);
    Ok(axum::Json(shown))
}

/// Uploads a component: a version of the destination, when it passes every check.
#[utoipa::path(post, path = path::DESTINATION_VERSIONS, tag = "destinations", operation_id = "push_destination",
    params(NameInPath, PushQuery), request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 202, body = Pushed), ApiRefusal))]
pub(super) async fn push(
    environment: AskedEngine,
    Name(name): Name,
    Query(query): Query<PushQuery>,
    request: Request,
) -> Result<(StatusCode, axum::Json<Pushed>), ApiRefusal> {
    builds::push(&environment, request, PluginKind::Destinations, name, query.force).await
}

/// Makes a version live: the syncs that name the destination take it with their next batch.
#[utoipa::path(post, path = path::DESTINATION_LIVE, tag = "destinations", operation_id = "make_destination_live",
    params(NameInPath, WorkspaceQuery), request_body = MakeLive, responses((status = 200, body = ShownDestination), ApiRefusal))]
pub(super) async fn live(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<MakeLive>,
) -> DestinationAnswer<ShownDestination> {
    let (sha256, settings) = (sha(&asked.sha256)?, object(asked.settings)?);
    changed(&environment, name, "live", change::live(PluginKind::Destinations, sha256, settings)).await
}

/// Goes back to the version before.
#[utoipa::path(post, path = path::DESTINATION_ROLLBACK, tag = "destinations", operation_id = "roll_destination_back",
    params(NameInPath, WorkspaceQuery), request_body = RollBack, responses((status = 200, body = ShownDestination), ApiRefusal))]
pub(super) async fn rollback(
    environment: AskedEngine,
    Name(name): Name,
    Json(_): Json<RollBack>,
) -> DestinationAnswer<ShownDestination> {
    changed(&environment, name, "rollback", change::rollback(PluginKind::Destinations)).await
}

/// Changes the settings of the live version.
#[utoipa::path(post, path = path::DESTINATION_SETTINGS, tag = "destinations",
    operation_id = "change_destination_settings", params(NameInPath, WorkspaceQuery), request_body = ChangeSettings,
    responses((status = 200, body = ShownDestination), ApiRefusal))]
pub(super) async fn settings(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<ChangeSettings>,
) -> DestinationAnswer<ShownDestination> {
    changed(&environment, name, "settings", change::settings(PluginKind::Destinations, asked)?).await
}

/// What it logged since the server started, newest last.
#[utoipa::path(get, path = path::DESTINATION_LOGS, tag = "destinations", operation_id = "destination_logs",
    params(NameInPath, LogQuery), responses((status = 200, body = Logs), ApiRefusal))]
pub(super) async fn logs(
    environment: AskedEngine,
    Name(name): Name,
    Query(query): Query<LogQuery>,
) -> DestinationAnswer<Logs> {
    environment.destination_logs(name, &query).map(axum::Json)
}

async fn changed(
    environment: &AskedEngine,
    name: String,
    what: &'static str,
    change: ReleaseChange,
) -> DestinationAnswer<ShownDestination> {
    let releases = environment.change(PluginKind::Destinations, name.clone(), what, change).await?;
    Ok(axum::Json(environment.destination(&name, &releases)))
}

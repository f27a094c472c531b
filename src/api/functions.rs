//! Functions: what there is, and what is changed.

use axum::extract::Request;
use hyper::StatusCode;
use tidegate_api_types::build::{PushQuery, Pushed};
use tidegate_api_types::function::{ChangeCanary, FunctionSummary, Functions, OfSource, ShownFunction};
use tidegate_api_types::logs::{LogQuery, Logs};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::version::{ChangeSettings, MakeLive, RollBack};
use tidegate_registry::{PluginKind, VersionStore};
use tidegate_wasm::function::RolloutMode;

use super::builds;
use super::change::{self, ReleaseChange, object, sha};
use super::engines::AskedEngine;
use super::extract::{Json, Name, NameInPath, Query};
use super::refusal::ApiRefusal;

type FunctionAnswer<T> = Result<axum::Json<T>, ApiRefusal>;

/// All functions.
#[utoipa::path(get, path = path::FUNCTIONS, tag = "functions", operation_id = "list_functions",
    params(WorkspaceQuery), responses((status = 200, body = Functions), ApiRefusal))]
pub(super) async fn list(environment: AskedEngine) -> axum::Json<Functions> {
    let (engine, releases) = (&environment.engine, environment.engine.store.releases());
    let summary = |name: String| {
        let release = releases.of_kind(PluginKind::Functions).get(&name).cloned().unwrap_or_default();
        FunctionSummary {
            versions: engine.store.versions(PluginKind::Functions, &name).len() as u64,
            live: release.live.map(|placed| placed.sha256.to_string()),
            previous: release.previous.map(|placed| placed.sha256.to_string()),
            canary: release.canary.map(|canary| canary.placed.sha256.to_string()),
            attached: release.attached.into_iter().collect(),
            name,
        }
    };
    let names = engine.names();
    axum::Json(Functions {
        functions: engine.store.names(PluginKind::Functions).into_iter().map(summary).collect(),
        revision: releases.revision,
        sources: names.sources.clone(),
        granted: names.granted.clone(),
    })
}

/// One function with its versions, which of them are in use, and what they did.
#[utoipa::path(get, path = path::FUNCTION, tag = "functions", operation_id = "show_function",
    params(NameInPath, WorkspaceQuery), responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn show(environment: AskedEngine, Name(name): Name) -> FunctionAnswer<ShownFunction> {
    let versions = environment.versions(PluginKind::Functions, &name)?;
    let mut shown = environment.function(&name, &environment.engine.store.releases());
    shown.versions = Some(versions);
    shown.meters = Some(environment.function_meters(&name)?);
    Ok(axum::Json(shown))
}

/// Uploads a component: a version of the function, when it passes every check.
#[utoipa::path(post, path = path::FUNCTION_VERSIONS, tag = "functions", operation_id = "push_function",
    params(NameInPath, PushQuery), request_body(content = Vec<u8>, content_type = "application/wasm"),
    responses((status = 202, body = Pushed), ApiRefusal))]
pub(super) async fn push(
    environment: AskedEngine,
    Name(name): Name,
    Query(query): Query<PushQuery>,
    request: Request,
) -> Result<(StatusCode, axum::Json<Pushed>), ApiRefusal> {
    builds::push(&environment, request, PluginKind::Functions, name, query.force).await
}

/// Makes a version live; the answer comes when the next event goes through it.
#[utoipa::path(post, path = path::FUNCTION_LIVE, tag = "functions", operation_id = "make_function_live",
    params(NameInPath, WorkspaceQuery), request_body = MakeLive, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn live(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<MakeLive>,
) -> FunctionAnswer<ShownFunction> {
    let (sha256, settings) = (sha(&asked.sha256)?, object(asked.settings)?);
    environment.grants(&name, sha256, asked.force)?;
    changed(&environment, name, "live", change::live(PluginKind::Functions, sha256, settings)).await
}

/// Ends the canary or shadow that there is; where there is none, goes back to the version before.
#[utoipa::path(post, path = path::FUNCTION_ROLLBACK, tag = "functions", operation_id = "roll_function_back",
    params(NameInPath, WorkspaceQuery), request_body = RollBack, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn rollback(
    environment: AskedEngine,
    Name(name): Name,
    Json(_): Json<RollBack>,
) -> FunctionAnswer<ShownFunction> {
    changed(&environment, name, "rollback", change::rollback(PluginKind::Functions)).await
}

/// Begins or ends a canary: a version that is tried beside the live one.
#[utoipa::path(post, path = path::FUNCTION_CANARY, tag = "functions", operation_id = "change_canary",
    params(NameInPath, WorkspaceQuery), request_body = ChangeCanary, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn canary(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<ChangeCanary>,
) -> FunctionAnswer<ShownFunction> {
    let ChangeCanary { sha256, settings, share, shadow, off, force } = asked;
    if off == Some(true) {
        if sha256.is_some() || settings.is_some() || share.is_some() || shadow.is_some() {
            return Err(ApiRefusal::bad("off", "`off` stands alone", r#"send {"off": true}"#));
        }
        let change = |store: &VersionStore, name: &str| store.set_canary(PluginKind::Functions, name, None);
        return changed(&environment, name, "canary", Box::new(change)).await;
    }
    let fix = r#"send {"sha256": "..."} with either "share": 10 or "shadow": true"#;
    let mode = match (share, shadow.unwrap_or(false)) {
        (None, true) => RolloutMode::Shadow,
        (Some(share), false) => RolloutMode::Share(share),
        _ => return Err(ApiRefusal::bad("canary", "a canary is a share or a shadow", fix)),
    };
    let sha256 = sha256.ok_or_else(|| ApiRefusal::bad("sha256", "`sha256` is missing", fix))?;
    let (sha256, settings) = (sha(&sha256)?, object(settings)?);
    environment.grants(&name, sha256, force)?;
    let tried = Some((sha256, mode, settings));
    let change = move |store: &VersionStore, name: &str| store.set_canary(PluginKind::Functions, name, tried);
    changed(&environment, name, "canary", Box::new(change)).await
}

/// Changes the settings of the live version.
#[utoipa::path(post, path = path::FUNCTION_SETTINGS, tag = "functions", operation_id = "change_function_settings",
    params(NameInPath, WorkspaceQuery), request_body = ChangeSettings, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn settings(
    environment: AskedEngine,
    Name(name): Name,
    Json(asked): Json<ChangeSettings>,
) -> FunctionAnswer<ShownFunction> {
    changed(&environment, name, "settings", change::settings(PluginKind::Functions, asked)?).await
}

/// Lets it see the events of a source.
#[utoipa::path(post, path = path::FUNCTION_ATTACH, tag = "functions", operation_id = "attach_function",
    params(NameInPath, WorkspaceQuery), request_body = OfSource, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn attach(
    environment: AskedEngine,
    Name(name): Name,
    Json(of): Json<OfSource>,
) -> FunctionAnswer<ShownFunction> {
    let names = environment.engine.names();
    if !names.sources.contains(&of.source) {
        let known: Vec<&str> = names.sources.iter().map(String::as_str).collect();
        let detail = format!("there is no source {:?}; there are {}", of.source, known.join(", "));
        return Err(ApiRefusal::bad("no-such-source", detail, "name a source of the workspace"));
    }
    changed(&environment, name, "attach", Box::new(move |store, name| store.attach(name, &of.source))).await
}

/// Lets it see the events of a source no more.
#[utoipa::path(post, path = path::FUNCTION_DETACH, tag = "functions", operation_id = "detach_function",
    params(NameInPath, WorkspaceQuery), request_body = OfSource, responses((status = 200, body = ShownFunction), ApiRefusal))]
pub(super) async fn detach(
    environment: AskedEngine,
    Name(name): Name,
    Json(of): Json<OfSource>,
) -> FunctionAnswer<ShownFunction> {
    changed(&environment, name, "detach", Box::new(move |store, name| store.detach(name, &of.source))).await
}

/// What it logged, newest last.
#[utoipa::path(get, path = path::FUNCTION_LOGS, tag = "functions", operation_id = "function_logs",
    params(NameInPath, LogQuery), responses((status = 200, body = Logs), ApiRefusal))]
pub(super) async fn logs(
    environment: AskedEngine,
    Name(name): Name,
    Query(query): Query<LogQuery>,
) -> FunctionAnswer<Logs> {
    environment.function_logs(name, query).await.map(axum::Json)
}

async fn changed(
    environment: &AskedEngine,
    name: String,
    what: &'static str,
    change: ReleaseChange,
) -> FunctionAnswer<ShownFunction> {
    let releases = environment.change(PluginKind::Functions, name.clone(), what, change).await?;
    Ok(axum::Json(environment.function(&name, &releases)))
}

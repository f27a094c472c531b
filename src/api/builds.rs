//! Uploads and builds.

use std::time::Duration;

use axum::extract::Request;
use hyper::StatusCode;
use tidegate_api_types::build::{Build, BuildQuery, BuildRefusal, BuildState, Pushed};
use tidegate_api_types::path;
use tidegate_registry::{BuildId, BuildProgress, PluginKind};

use super::change::version;
use super::engines::AskedEngine;
use super::extract::{Name, Query, blocking, body};
use super::refusal::ApiRefusal;

/// Takes a component into the queue.
pub(super) async fn push(
    environment: &AskedEngine,
    request: Request,
    plugin_kind: PluginKind,
    name: String,
    force: bool,
) -> Result<(StatusCode, axum::Json<Pushed>), ApiRefusal> {
    // The place first: no more bytes are held than may wait.
    let store = &environment.engine.store;
    let (place, bytes_max) = (store.place()?, store.limits().component_bytes_max);
    let bytes = body(&environment.shared, request, bytes_max, "a component").await?;
    let id = blocking(move || place.forced(force).take(plugin_kind, &name, &bytes)).await??;
    Ok((StatusCode::ACCEPTED, axum::Json(pushed(environment, &id))))
}

/// What is answered to an upload: how it is followed.
pub(super) fn pushed(environment: &AskedEngine, id: &BuildId) -> Pushed {
    let mut follow = path::BUILD.replace("{id}", id.as_ref());
    if let Some(workspace) = &environment.workspace {
        follow.push_str(&format!("?workspace={workspace}"));
    }
    Pushed { build: id.to_string(), follow }
}

/// How far a build is; waits for its end, or for news.
#[utoipa::path(get, path = path::BUILD, tag = "builds", operation_id = "show_build",
    params(("id" = String, Path), BuildQuery), responses((status = 200, body = Build), ApiRefusal))]
pub(super) async fn show(
    environment: AskedEngine,
    Name(id): Name,
    Query(query): Query<BuildQuery>,
) -> Result<axum::Json<Build>, ApiRefusal> {
    let unknown = || {
        ApiRefusal::new(
            StatusCode::NOT_FOUND,
            "no-such-build",
            "no build has this id; the last 256 since the server started are known",
            "push again: a version that is there already is ready at once",
        )
    };
    let mut progress = environment.engine.store.build(&id).ok_or_else(unknown)?;
    let wait = Duration::from_millis(query.wait_ms).min(environment.limits().wait_max);
    let from = query.from;
    let news = |progress: &BuildProgress| {
        progress.is_end() || from.as_deref().is_some_and(|from| from != state(progress).as_str())
    };
    // Out of time is an answer too: how far it is now.
    let _ = tokio::time::timeout(wait, progress.wait_for(news)).await;
    let mut now = progress.borrow().clone();
    if !now.is_end() && progress.has_changed().is_err() {
        let reason = "the build broke off, or the server is stopping; push again".to_owned();
        now = BuildProgress::Failed { code: "broke-off", reason };
    }
    Ok(axum::Json(shown(id, &now)))
}

const fn state(progress: &BuildProgress) -> BuildState {
    match progress {
        BuildProgress::Queued => BuildState::Queued,
        BuildProgress::Inspecting => BuildState::Inspecting,
        BuildProgress::Compiling { .. } => BuildState::Compiling,
        BuildProgress::Smoke => BuildState::Smoke,
        BuildProgress::Ready(_) => BuildState::Ready,
        BuildProgress::Failed { .. } => BuildState::Failed,
    }
}

fn shown(build: String, progress: &BuildProgress) -> Build {
    let mut shown = Build { build, state: state(progress), seconds: None, version: None, error: None };
    match progress {
        BuildProgress::Compiling { since } => shown.seconds = Some(since.elapsed().as_secs()),
        BuildProgress::Ready(metadata) => shown.version = Some(version(metadata)),
        BuildProgress::Failed { code, reason } => {
            let fix = "change the plugin as the message says, build it and push again".to_owned();
            shown.error = Some(BuildRefusal { code: (*code).to_owned(), message: reason.clone(), fix });
        }
        BuildProgress::Queued | BuildProgress::Inspecting | BuildProgress::Smoke => {}
    }
    shown
}

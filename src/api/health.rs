//! Whether the process answers, and whether it can accept events: for whoever starts it, without a token.
//!
//! A destination that is away makes nothing unready: its events wait in the log, and clients should not be turned away for it.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::path;

use super::refusal::ApiRefusal;
use super::{EngineSettings, SharedApi};

/// With less room on the disk the log will refuse events soon.
const DISK_FREE_MIN: u64 = 64 << 20;

/// Whether a request to this path is answered to everybody.
pub(super) fn is_probe(asked: &str) -> bool {
    asked == path::LIVE || asked == path::READY
}

/// The process answers.
pub(super) async fn live() -> Response {
    axum::Json(json!({"status": "live"})).into_response()
}

/// It can accept events; else which part cannot, and why.
pub(super) async fn ready(State(shared): State<Arc<SharedApi>>) -> Result<Response, ApiRefusal> {
    let of = Arc::clone(&shared);
    let parts = shared.unready.or_make(move || unready(&of)).await?;
    if parts.is_empty() {
        return Ok(axum::Json(json!({"status": "ready"})).into_response());
    }
    let answer = json!({"status": "not ready", "parts": parts});
    Ok((StatusCode::SERVICE_UNAVAILABLE, axum::Json(answer)).into_response())
}

fn unready(shared: &SharedApi) -> Vec<Value> {
    let mut parts = Vec::new();
    for (environment, engine) in &shared.settings.engines {
        for (part, reason) in unready_parts(engine) {
            parts.push(json!({"environment": environment, "part": part, "reason": reason}));
        }
    }
    parts
}

fn unready_parts(engine: &EngineSettings) -> Vec<(&'static str, String)> {
    let mut parts = Vec::new();
    if engine.log.is_poisoned() {
        let reason =
            "the disk failed under the log, which takes nothing more; check the disk, then start the server again";
        parts.push(("log", reason.to_owned()));
    }
    // Nobody in particular asks: why it cannot be read is in the text of the server.
    if (engine.open_state)().is_err() {
        parts.push(("state", "the state file cannot be read; what the server logs says why".to_owned()));
    }
    match rustix::fs::statvfs(engine.data.as_path()) {
        Ok(disk) => {
            let free = disk.f_bavail.saturating_mul(disk.f_frsize);
            if free < DISK_FREE_MIN {
                let (free, min) = (free >> 20, DISK_FREE_MIN >> 20);
                parts.push(("disk", format!("{free} MiB are free where the data directory is, less than {min} MiB")));
            }
        }
        Err(error) => parts.push(("disk", format!("the data directory cannot be looked at: {error}"))),
    }
    parts
}

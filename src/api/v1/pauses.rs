//! Pausing objects, and letting them go on.

use axum::extract::State;
use hyper::StatusCode;
use tidegate_api_types::object::{ChangeDone, ChangeQuery};
use tidegate_api_types::path;
use tidegate_api_types::reload::{ObjectRunning, Reloaded};
use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_catalog::{CatalogObject, ObjectEdit, ObjectKind};

use super::asker::OfApi;
use super::changes::{AskedEdit, Changed};
use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;

/// Stops a source, a sync or a destination for now: a source takes nothing in (503, so that SDKs send again), a sync delivers nothing
/// and the log keeps what waits for it, a destination stops all its syncs. It is answered when that is so; what takes longer is answered
/// with 202.
#[utoipa::path(post, path = path::OBJECT_PAUSE, tag = "objects", operation_id = "pause_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), (status = 202, body = ChangeDone), ApiRefusal))]
pub(super) async fn pause(State(shared): OfApi, asked: AskedEdit) -> Changed {
    shared.pause_object(asked, true).await
}

/// Lets a source, a sync or a destination go on where it stopped.
#[utoipa::path(post, path = path::OBJECT_RESUME, tag = "objects", operation_id = "resume_object",
    params(("kind" = String, Path), ("name" = String, Path), ChangeQuery, ("If-Match" = Option<String>, Header)),
    responses((status = 200, body = ChangeDone), (status = 202, body = ChangeDone), ApiRefusal))]
pub(super) async fn resume(State(shared): OfApi, asked: AskedEdit) -> Changed {
    shared.pause_object(asked, false).await
}

impl SharedApi {
    /// Makes the change, which what runs follows; 202 where a part of it is still on its way.
    async fn pause_object(&self, asked: AskedEdit, is_paused: bool) -> Changed {
        let edit = ObjectEdit::Pause { id: asked.id(), expected: asked.expected, is_paused };
        let AskedEdit { asker, object, query, .. } = asked;
        let is_dry_run = query.dry_run;
        let changed = self.change_and_follow(&asker, &object.workspace, edit, query.into()).await?;
        let ((status, headers, done), running) = changed;
        let has_followed = is_dry_run || running.is_none_or(|running| follows(&running, &object));
        Ok((if has_followed { status } else { StatusCode::ACCEPTED }, headers, done))
    }
}

/// Whether no sync is still on its way that stops and goes on with the object. Which those of a destination are is not known here: none may be.
fn follows(running: &Reloaded, object: &CatalogObject) -> bool {
    let is_it = |one: &ObjectRunning| {
        let is_any = object.content.kind != ObjectKind::Sync;
        one.object.kind == ObjectRefKind::Sync && (is_any || one.object.key == object.content.name)
    };
    !running.behind.iter().any(is_it)
}

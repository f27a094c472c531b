//! Secrets: written, named by other objects, and shown by nobody.

use std::sync::Arc;

use axum::extract::State;
use hyper::StatusCode;
use tidegate_api_types::object::{ChangeDone, WorkspaceQuery, WriteSecret};
use tidegate_api_types::path;
use tidegate_catalog::{CatalogOrder, ObjectKind, SecretValue, SecretWrite};

use super::asker::{Requester, workspace_of};
use super::shown::done;
use crate::api::SharedApi;
use crate::api::extract::{Json, Name, NameInPath, Query};
use crate::api::refusal::ApiRefusal;

/// Keeps a value under a name, sealed; the one before it is gone, also from what runs. The same value again changes nothing. `used-by` of the object lists
/// what refers to it.
#[utoipa::path(put, path = path::SECRET, tag = "secrets", operation_id = "write_secret",
    params(NameInPath, WorkspaceQuery), request_body = WriteSecret,
    responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn write(
    State(shared): State<Arc<SharedApi>>,
    asker: Requester,
    Name(name): Name,
    Query(query): Query<WorkspaceQuery>,
    Json(asked): Json<WriteSecret>,
) -> Result<(StatusCode, axum::Json<ChangeDone>), ApiRefusal> {
    let write = SecretWrite {
        workspace: workspace_of(ObjectKind::Secret, query.workspace.as_deref()),
        name,
        value: SecretValue::from(asked.value),
        authority: asker.authority(),
        actor: asker.actor.clone(),
        at_us: asker.at_us,
    };
    let ordered = shared.execute(CatalogOrder::Write(write), false).await?;
    Ok((StatusCode::OK, axum::Json(done(ordered.committed, false))))
}

//! Plans: what would have to change so that the catalog says what a folder says. Nothing is changed.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use tidegate_api_types::control::{PlanFolder, ShownCatalogPlan};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_catalog::{
    CatalogObject, ManagingFolder, ObjectId, ObjectKind, PlanOptions, PlannedChange, Verb, WantedObject, plan,
};

use super::asker::{Requester, workspace_of};
use super::folders::{FOLDER_BYTES_MAX, planned_object, wanted};
use super::permit::may;
use super::shown::name;
use crate::api::SharedApi;
use crate::api::extract::{Query, body, parsed};
use crate::api::refusal::ApiRefusal;

/// Holds a folder against the catalog.
#[utoipa::path(post, path = path::PLANS, tag = "plans", operation_id = "make_plan",
    params(WorkspaceQuery), request_body = PlanFolder,
    responses((status = 200, body = ShownCatalogPlan), ApiRefusal))]
pub(super) async fn make(
    State(shared): State<Arc<SharedApi>>,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> Result<axum::Json<ShownCatalogPlan>, ApiRefusal> {
    let asked: PlanFolder = parsed(&body(&shared, request, FOLDER_BYTES_MAX, "a folder").await?)?;
    let workspace = workspace_of(ObjectKind::Source, query.workspace.as_deref());
    let settings = &shared.settings.catalog;
    let snapshot = settings.catalog.snapshot(&workspace, None).await.map_err(|error| shared.refused(error))?;
    let wanted = wanted(settings, &snapshot, (&asked.documents, &asked.files), asked.take_over);
    // What the server's own folder has is in a copy of that, or of all that there is; another folder leaves it alone, as an apply does.
    let is_servers = |want: &WantedObject| {
        snapshot.named(want.kind, &want.name).and_then(CatalogObject::folder) == Some(ManagingFolder::Server)
    };
    let folder = (!wanted.iter().any(is_servers)).then_some(ManagingFolder::Applied);
    let options = PlanOptions { prune: asked.prune, take_over: asked.take_over, folder };
    let planned = plan(&snapshot, &wanted, options);
    let is_visible = |object: Option<&CatalogObject>| match (asker.acting(), object) {
        (Some(acting), Some(object)) => may(acting, Verb::View, object, Some(&snapshot)).is_ok(),
        _ => true,
    };
    let by_id: HashMap<&ObjectId, &CatalogObject> =
        snapshot.objects.iter().map(|object| (&object.id, object)).collect();
    // What is hidden counts whether it would be changed or not: else a guess at it could be tried.
    let is_hidden = |want: &&WantedObject| !is_visible(snapshot.named(want.kind, &want.name));
    let mut hidden = wanted.iter().filter(is_hidden).count() as u64;
    let (mut changes, mut of_server, mut kept_by_server) = (Vec::new(), Vec::new(), Vec::new());
    for change in planned.changes {
        let before = id(&change).and_then(|id| by_id.get(id).copied());
        let is_of_server = before.filter(|object| object.folder() == Some(ManagingFolder::Server));
        let is_deleted = matches!(change, PlannedChange::Delete { .. });
        if let (Some(object), true) = (is_of_server, is_deleted) {
            // No apply deletes it, so it is no change.
            let seen = is_visible(before).then(|| name(object.content.kind, &object.content.name));
            kept_by_server.extend(seen);
        } else if is_visible(before) {
            of_server.extend(is_of_server.map(|object| name(object.content.kind, &object.content.name)));
            changes.push(planned_object(change));
        } else if is_deleted {
            hidden += 1;
        }
    }
    let mut left = Vec::new();
    for (kind, of) in &planned.left {
        let object = snapshot.named(*kind, of);
        if is_visible(object) {
            let is_of_server = object.and_then(CatalogObject::folder) == Some(ManagingFolder::Server);
            let all = if is_of_server { &mut kept_by_server } else { &mut left };
            all.push(name(*kind, of));
        }
    }
    Ok(axum::Json(ShownCatalogPlan {
        workspace,
        base_revision: planned.base_revision,
        changes,
        left,
        of_server,
        kept_by_server,
        problems: planned.problems.iter().map(ToString::to_string).collect(),
        hidden,
    }))
}

/// Of an object that is there.
const fn id(change: &PlannedChange) -> Option<&ObjectId> {
    match change {
        PlannedChange::Create { .. } => None,
        PlannedChange::Update { id, .. } | PlannedChange::Delete { id, .. } => Some(id),
    }
}

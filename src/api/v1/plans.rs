//! Plans: what would have to change so that the catalog says what a folder says. Nothing is changed.

use std::collections::HashMap;
use std::sync::Arc;

use axum::extract::{Request, State};
use tidegate_api_types::control::{PlanFolder, PlannedObject, ShownCatalogPlan};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::workspace::ObjectChangeKind;
use tidegate_catalog::{CatalogObject, ObjectId, ObjectKind, PlanOptions, PlannedChange, Verb, field_changes, plan};

use super::asker::{Requester, workspace_of};
use super::permit::may;
use super::shown::{fields, name};
use crate::api::SharedApi;
use crate::api::extract::{Query, body, parsed};
use crate::api::refusal::ApiRefusal;

/// The documents of a folder.
const FOLDER_BYTES_MAX: usize = 32 << 20;

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
    let wanted: Vec<_> = asked.documents.iter().map(|document| (settings.wanted)(document)).collect();
    let planned = plan(&snapshot, &wanted, PlanOptions { prune: asked.prune, take_over: asked.take_over });
    let is_visible = |object: Option<&CatalogObject>| match (asker.acting(), object) {
        (Some(acting), Some(object)) => may(acting, Verb::View, object, Some(&snapshot)).is_ok(),
        _ => true,
    };
    let by_id: HashMap<&ObjectId, &CatalogObject> =
        snapshot.objects.iter().map(|object| (&object.id, object)).collect();
    let (mut changes, mut hidden) = (Vec::new(), 0);
    for change in planned.changes {
        let before = id(&change).and_then(|id| by_id.get(id).copied());
        if is_visible(before) {
            changes.push(shown(change));
        } else {
            hidden += 1;
        }
    }
    let left = planned.left.iter().filter(|(kind, name)| is_visible(snapshot.named(*kind, name)));
    Ok(axum::Json(ShownCatalogPlan {
        workspace,
        base_revision: planned.base_revision,
        changes,
        left: left.map(|(kind, of)| name(*kind, of)).collect(),
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

fn shown(change: PlannedChange) -> PlannedObject {
    match change {
        PlannedChange::Create { content } => PlannedObject {
            fields: fields(field_changes(None, Some(&content))),
            kind: content.kind.name().to_owned(),
            name: content.name,
            change: ObjectChangeKind::Added,
            takes_over: false,
            drifted: false,
        },
        PlannedChange::Update { content, fields: changed, takes_over, had_drifted, .. } => PlannedObject {
            kind: content.kind.name().to_owned(),
            name: content.name,
            change: ObjectChangeKind::Changed,
            fields: fields(changed),
            takes_over,
            drifted: had_drifted,
        },
        PlannedChange::Delete { kind, name, .. } => PlannedObject {
            kind: kind.name().to_owned(),
            name,
            change: ObjectChangeKind::Removed,
            fields: Vec::new(),
            takes_over: false,
            drifted: false,
        },
    }
}

//! What roles allow: the prebuilt ones, and those of a workspace.

use axum::extract::State;
use tidegate_api_types::control::{Roles, ShownRole};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_catalog::{ListQuery, ObjectKind, prebuilt_roles};

use super::asker::{OfApi, Requester, workspace_of};
use super::refused::absent;
use super::shown::limit;
use crate::api::extract::Query;
use crate::api::refusal::ApiRefusal;

const ROLES_MAX: u64 = 1_000;
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";

/// What roles allow in a workspace: those that are always there, and its own that one may view, at most 1,000.
#[utoipa::path(get, path = path::ROLES, tag = "access", operation_id = "list_roles",
    params(WorkspaceQuery), responses((status = 200, body = Roles), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<Roles>, ApiRefusal> {
    let workspace = workspace_of(ObjectKind::Role, query.workspace.as_deref());
    if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
        return Err(absent(NO_ENVIRONMENT));
    }
    let asked = ListQuery {
        workspace: workspace.clone(),
        kind: Some(ObjectKind::Role),
        limit: limit(Some(ROLES_MAX)),
        ..ListQuery::default()
    };
    let page = shared.settings.catalog.catalog.list(&asked).await.map_err(|error| shared.refused(error))?;
    let own = shared.visible(&asker, &workspace, page.objects).await?;
    let prebuilt = prebuilt_roles().into_iter().map(|(name, grants)| ShownRole {
        name: name.to_owned(),
        prebuilt: true,
        admin: grants.is_admin,
        grants: serde_json::to_value(&grants).unwrap_or_default(),
    });
    let own = own.into_iter().map(|object| ShownRole {
        name: object.content.name,
        prebuilt: false,
        admin: false,
        grants: object.content.spec,
    });
    Ok(axum::Json(Roles { roles: prebuilt.chain(own).collect() }))
}

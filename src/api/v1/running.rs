//! What runs, beside what the catalog says.

use axum::extract::State;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::reload::{Reloaded, RunningNow};
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{ActingPrincipal, CatalogSnapshot, ObjectKind, Verb};

use super::asker::{OfApi, Requester, workspace_of};
use super::permit::may;
use super::refused::absent;
use crate::api::SharedApi;
use crate::api::extract::Query;
use crate::api::refusal::ApiRefusal;

/// What runs of a workspace is for whoever has a role in it.
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";

/// What runs: its revision, the revision of the catalog that was put in place last, and what does not run as it is wanted.
#[utoipa::path(get, path = path::RUNNING, tag = "workspace", operation_id = "show_running", params(WorkspaceQuery),
    responses((status = 200, body = RunningNow), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<RunningNow>, ApiRefusal> {
    let workspace = workspace_of(ObjectKind::Source, query.workspace.as_deref());
    if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
        return Err(absent(NO_ENVIRONMENT));
    }
    let catalog = &shared.settings.catalog.catalog;
    let report = shared.engine(&workspace)?.running.report.borrow().clone();
    let mut now = RunningNow::clone(&report);
    now.newest_catalog_revision = catalog.revision().await.map_err(|error| shared.refused(error))?;
    if let Some(acting) = asker.acting() {
        let snapshot = catalog.snapshot(&workspace, None).await.map_err(|error| shared.refused(error))?;
        now.behind.retain(|one| is_visible(acting, &snapshot, &one.object));
    }
    Ok(axum::Json(now))
}

impl SharedApi {
    /// What was put in place, as far as whoever asks may view it: as the workspace was `before`, or as it is now.
    pub(super) async fn visible_running(
        &self,
        asker: &Requester,
        before: &CatalogSnapshot,
        mut running: Reloaded,
    ) -> Reloaded {
        let Some(acting) = asker.acting() else { return running };
        // The change is made: what cannot be told to be visible is left out.
        let now = self.settings.catalog.catalog.snapshot(&before.workspace, None).await.unwrap_or_default();
        let is_seen = |object: &ObjectRef| is_visible(acting, before, object) || is_visible(acting, &now, object);
        let is_sync_seen = |name: &str| is_seen(&ObjectRef::new(ObjectRefKind::Sync, name));
        running.changed.retain(|one| is_seen(&one.object));
        running.behind.retain(|one| is_seen(&one.object));
        running.draining.retain(|name| is_sync_seen(name));
        running.syncs.retain(|name, _| is_sync_seen(name));
        running
    }
}

/// Whether somebody may view an object of the workspace that runs.
fn is_visible(acting: &ActingPrincipal, snapshot: &CatalogSnapshot, object: &ObjectRef) -> bool {
    let mut named = kinds(object.kind).iter().filter_map(|kind| snapshot.named(*kind, &object.key));
    named.any(|object| may(acting, Verb::View, object, Some(snapshot)).is_ok())
}

/// What an object of a workspace may be in the catalog.
const fn kinds(kind: ObjectRefKind) -> &'static [ObjectKind] {
    match kind {
        ObjectRefKind::Source => &[ObjectKind::Source],
        ObjectRefKind::Function => &[ObjectKind::Function],
        ObjectRefKind::Lookup => &[ObjectKind::Lookup],
        ObjectRefKind::Destination => &[ObjectKind::Destination],
        ObjectRefKind::Sync => &[ObjectKind::Sync],
        ObjectRefKind::Alert => &[ObjectKind::Alert],
        ObjectRefKind::ContractFile => &[ObjectKind::Domain, ObjectKind::Component, ObjectKind::Event],
    }
}

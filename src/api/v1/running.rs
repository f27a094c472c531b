//! What runs, beside what the catalog says.

use axum::extract::State;
use tidegate_api_types::path;
use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::ObjectRefKind;
use tidegate_catalog::{ObjectKind, Verb};

use super::asker::{OfApi, Requester};
use super::permit::may;
use crate::api::access::WORKSPACE_DEFAULT;
use crate::api::refusal::ApiRefusal;

/// What runs: its revision, the revision of the catalog that was put in place last, and what does not run as it is wanted.
#[utoipa::path(get, path = path::RUNNING, tag = "workspace", operation_id = "show_running",
    responses((status = 200, body = RunningNow), ApiRefusal))]
pub(super) async fn show(State(shared): OfApi, asker: Requester) -> Result<axum::Json<RunningNow>, ApiRefusal> {
    let catalog = &shared.settings.catalog.catalog;
    let report = shared.settings.running.report.borrow().clone();
    let mut now = RunningNow::clone(&report);
    now.newest_catalog_revision = catalog.revision().await.map_err(|error| shared.refused(error))?;
    if let Some(acting) = asker.acting() {
        let snapshot = catalog.snapshot(WORKSPACE_DEFAULT, None).await.map_err(|error| shared.refused(error))?;
        now.behind.retain(|one| {
            let mut named = kinds(one.object.kind).iter().filter_map(|kind| snapshot.named(*kind, &one.object.key));
            named.any(|object| may(acting, Verb::View, object, Some(&snapshot)).is_ok())
        });
    }
    Ok(axum::Json(now))
}

/// What an object of a workspace may be in the catalog.
const fn kinds(kind: ObjectRefKind) -> &'static [ObjectKind] {
    match kind {
        ObjectRefKind::Source => &[ObjectKind::Source],
        ObjectRefKind::Function => &[ObjectKind::Function],
        ObjectRefKind::Lookup => &[ObjectKind::Lookup],
        ObjectRefKind::Destination => &[ObjectKind::Destination],
        ObjectRefKind::Sync => &[ObjectKind::Sync],
        ObjectRefKind::ContractFile => &[ObjectKind::Domain, ObjectKind::Component, ObjectKind::Event],
    }
}

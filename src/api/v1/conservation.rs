//! Whether what was accepted is the sum of its fates.

use axum::extract::State;
use tidegate_api_types::conservation::{ConservationQuery, ConservationReport};
use tidegate_api_types::path;
use tidegate_catalog::ObjectKind;

use super::asker::{OfApi, workspace_of};
use crate::api::conservation::{conservation_report, fate_query};
use crate::api::extract::{Query, blocking};
use crate::api::refusal::ApiRefusal;

/// What was accepted, and what became of it: by source and by sync, with every sum that is wrong. With `deep` the records of the log are counted
/// once more, which takes as long as reading them.
#[utoipa::path(get, path = path::CONSERVATION, tag = "audit", operation_id = "audit_conservation",
    params(ConservationQuery), responses((status = 200, body = ConservationReport), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    Query(query): Query<ConservationQuery>,
) -> Result<axum::Json<ConservationReport>, ApiRefusal> {
    let asked = fate_query(&query).map_err(|field| {
        let detail = format!("`{field}` is no time with its offset from UTC");
        ApiRefusal::bad("query", detail, "write it as 2026-12-31T00:00:00Z").in_field(field)
    })?;
    let engine = shared.engine(&workspace_of(ObjectKind::Source, query.workspace.as_deref()))?;
    let is_deep = query.deep == Some(true);
    let read = move || -> Result<ConservationReport, ApiRefusal> {
        let unreadable = |error: &dyn std::fmt::Display| ApiRefusal::failed("the counts could not be read", error);
        let state = (engine.open_state)().map_err(|error| unreadable(&error))?;
        let report = conservation_report(&state, &asked, &engine.names().sync_sources);
        let mut report = report.map_err(|error| unreadable(&error))?;
        if is_deep {
            let recount = (engine.recount)(state).map_err(|error| unreadable(&error))?;
            report.holds &= recount.differences.is_empty();
            report.recount = Some(recount);
        }
        Ok(report)
    };
    blocking(read).await?.map(axum::Json)
}

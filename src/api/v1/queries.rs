//! Reading the tables of embedded warehouses by SQL.
//!
//! It takes the right to see the events of the destination, and of every sync that writes to it: nothing can be masked in what a statement
//! has computed, so whoever has any of it masked gets none of it.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::query::{QueriedRows, QueriedTables, QueryDestination};
use tidegate_catalog::{AuditRecord, AuditResult, CatalogObject, ObjectKind, Verb};
use tokio::time::timeout;

use super::asker::{OfApi, Requester};
use super::permit::{AskedThing, NamedObject, denied_in_log, may};
use crate::api::SharedApi;
use crate::api::extract::{Json, Query, blocking};
use crate::api::queries::EndWithAsker;
use crate::api::refusal::ApiRefusal;

/// For an answer: a statement has five seconds, and a step of it may take longer.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Bytes of a statement that the audit log keeps. None that is run is longer.
const AUDITED_BYTES_MAX: usize = 16 << 10;

/// The tables and views of an embedded warehouse that may be read, with their columns.
#[utoipa::path(get, path = path::DESTINATION_QUERY, tag = "warehouses", operation_id = "list_queried_tables",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = QueriedTables), ApiRefusal))]
pub(super) async fn tables(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<axum::Json<QueriedTables>, ApiRefusal> {
    shared.may_query(&asker, &object).await?;
    let (engine, destination) = (shared.engine(&object.workspace)?, object.content.name.clone());
    let name = destination.clone();
    let tables = blocking(move || (engine.queries.tables)(&name)).await??;
    Ok(axum::Json(QueriedTables { destination, tables }))
}

/// The rows of one statement that reads the tables of an embedded warehouse. Nothing is written; it has five seconds, and ends with whoever
/// asked.
#[utoipa::path(post, path = path::DESTINATION_QUERY, tag = "warehouses", operation_id = "query_destination",
    params(("name" = String, Path), WorkspaceQuery), request_body = QueryDestination,
    responses((status = 200, body = QueriedRows), ApiRefusal))]
pub(super) async fn query(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    (Query(_), Json(asked)): (Query<WorkspaceQuery>, Json<QueryDestination>),
) -> Result<axum::Json<QueriedRows>, ApiRefusal> {
    shared.may_query(&asker, &object).await?;
    let engine = shared.engine(&object.workspace)?;
    let reader = asker.asked_by();
    let turn = engine.queries.turn(&reader)?;
    // Whoever has seen events is in the audit log before they are answered.
    let audited = asked.sql.get(..asked.sql.floor_char_boundary(AUDITED_BYTES_MAX)).unwrap_or_default();
    let record = AuditRecord {
        workspace: object.workspace.clone(),
        action: "queried".to_owned(),
        kind: Some(ObjectKind::Destination),
        object: Some(object.id.clone()),
        name: Some(object.content.name.clone()),
        result: AuditResult::Done,
        revision: None,
        detail: json!({ "sql": audited }),
    };
    let catalog = &shared.settings.catalog.catalog;
    catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| shared.refused(error))?;
    let cancelled = Arc::new(AtomicBool::new(false));
    let _ends = EndWithAsker(Arc::clone(&cancelled));
    let name = object.content.name.clone();
    let work = move || {
        let _turn = turn;
        (engine.queries.rows)(&name, &asked.sql, &cancelled)
    };
    let done = timeout(ANSWER_MAX, blocking(work)).await.map_err(|_| too_slow())?;
    Ok(axum::Json(done??))
}

fn too_slow() -> ApiRefusal {
    let (detail, fix) = ("a step of it takes longer than it has", "ask for less: fewer rows, shorter texts");
    ApiRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "too-slow", detail, fix).in_field("sql")
}

impl SharedApi {
    /// Refuses whoever may not see all of the events of each sync that writes to a destination. That of the destination itself was asked before.
    async fn may_query(&self, asker: &Requester, destination: &CatalogObject) -> Result<(), ApiRefusal> {
        let workspace = &destination.workspace;
        let acting = match asker.acting() {
            Some(acting) if !asker.is_admin(workspace) => acting,
            _ => return Ok(()),
        };
        if self.settings.engines.get(workspace).is_some_and(|engine| !engine.masked_for(false).is_empty()) {
            let detail = "some fields of events are for admins alone, and nobody can tell which columns have them";
            let fix = "ask an admin of the workspace, or have `privacy: mask` of tidegate.yaml name none";
            return Err(ApiRefusal::new(StatusCode::FORBIDDEN, "forbidden", detail, fix));
        }
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let writes = |object: &&CatalogObject| {
            let content = &object.content;
            content.kind == ObjectKind::Sync && content.spec["destination"] == *destination.content.name
        };
        for sync in snapshot.objects.iter().filter(writes) {
            if let Err(denial) = may(acting, Verb::SeePayloads, sync, Some(&snapshot)) {
                let asked = AskedThing { workspace, verb: Verb::SeePayloads, object: Some(sync) };
                return Err(denied_in_log(self, asker, asked, denial).await);
            }
        }
        Ok(())
    }
}

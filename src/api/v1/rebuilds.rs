//! Tables of a sync that are made anew beside the old ones: for whoever may replay events of the sync.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::rebuild::{RebuildOrder, RebuildReport, RebuildSync, ShownRebuild, ShownRebuilds};
use tidegate_event::time;
use tidegate_state::{NewRebuildJob, RebuildJob, RebuildRefusal, StateError};

use super::asker::{OfApi, Requester};
use super::event_rights::EventRights;
use super::owned_jobs::OwnedJobs;
use super::refused::{absent, failed};
use super::tries::MASK;
use crate::api::extract::{IdInPath, Json, Query, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::{MaskedField, SyncRepeats};

const SCHEMA_BYTES_MAX: usize = 40;
/// Jobs of one answer.
const JOBS_MAX: u64 = 100;
/// When to ask again, while too many jobs run.
const BUSY_PAUSE: Duration = Duration::from_secs(60);
const NO_JOB: &str = "there is no such rebuild";
const NO_SYNC: &str = "there is no such sync that runs";
const BEGINNING: &str = "beginning";

const REBUILDS: OwnedJobs<RebuildJob> = OwnedJobs {
    absent: NO_JOB,
    noted: ("rebuild_cancelled", "rebuild"),
    id: |job| job.id,
    asked_by: |job| job.asked.asked_by.as_str(),
    newest: |state| state.rebuild_jobs(JOBS_MAX),
    find: |state, id| state.rebuild_job(id),
    cancel: |job, state, now_us| state.cancel_rebuild_job(job.id, now_us),
    wake: |engine| engine.rebuilds.notify_one(),
    failed,
};

/// Makes the tables of a sync anew beside the old ones, in the background, by the contracts and functions of now. The sync goes on in the old
/// ones until the new ones take their place.
#[utoipa::path(post, path = path::SYNC_REBUILD, tag = "rebuilds", operation_id = "rebuild_sync",
    params(("name" = String, Path), WorkspaceQuery), request_body = RebuildSync,
    responses((status = 200, body = ShownRebuild), ApiRefusal))]
pub(in crate::api::v1) async fn create(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(sync): IdInPath,
    (Query(query), Json(asked)): (Query<WorkspaceQuery>, Json<RebuildSync>),
) -> Result<axum::Json<ShownRebuild>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of(&asker, query.workspace.as_deref(), NO_JOB)?;
    shared.may_replay(&asker, &workspace, &sync).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let repeats = engine.names.borrow().repeats.get(&sync).copied().ok_or_else(|| absent(NO_SYNC))?;
    if matches!(repeats, SyncRepeats::WrittenAgain | SyncRepeats::SentAgain) {
        let detail = "the destination of the sync is no warehouse: it has no tables that could be made anew";
        let fix = "send a part of the log there once more: `tidegate replay`";
        return Err(ApiRefusal::unprocessable("no-tables", detail, fix));
    }
    let order = order_of(&asked)?;
    let detail = json!({ "sync": sync, "from": asked.from, "schema": asked.schema, "swap": asked.swap });
    let action = if order.dry_run { "rebuild_tried" } else { "rebuilt" };
    shared.note_done(&asker, &workspace, (action, detail)).await?;
    let order = serde_json::to_string(&order).unwrap_or_default();
    let job = NewRebuildJob { at_us: asker.at_us, asked_by: asker.asked_by(), sync, order };
    let rebuilds = Arc::clone(&engine.rebuilds);
    let begin = move || -> Result<Result<Option<RebuildJob>, RebuildRefusal>, StateError> {
        let mut state = (engine.open_state)()?;
        match state.begin_rebuild_job(&job)? {
            Ok(id) => Ok(Ok(state.rebuild_job(id)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    };
    let begun = blocking(begin).await?.map_err(|error| failed(&error))?.map_err(not_begun)?;
    rebuilds.notify_one();
    let begun = begun.ok_or_else(|| absent(NO_JOB))?;
    shared.with_asker(seen(shown(&begun), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// Has the new tables of a sync take the place of the old ones as soon as they are as far as those.
#[utoipa::path(post, path = path::SYNC_SWAP, tag = "rebuilds", operation_id = "swap_sync",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownRebuild), ApiRefusal))]
pub(in crate::api::v1) async fn swap(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(sync): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRebuild>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of(&asker, query.workspace.as_deref(), NO_JOB)?;
    shared.may_replay(&asker, &workspace, &sync).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    if !engine.names.borrow().repeats.contains_key(&sync) {
        return Err(absent(NO_SYNC));
    }
    shared.note_done(&asker, &workspace, ("swap_asked", json!({ "sync": sync }))).await?;
    let rebuilds = Arc::clone(&engine.rebuilds);
    let ask = move || -> Result<Option<RebuildJob>, StateError> {
        let mut state = (engine.open_state)()?;
        let is_meant = |job: &RebuildJob| job.asked.sync == sync && !order_in(job).dry_run;
        let Some(job) = state.running_rebuild_jobs()?.into_iter().find(is_meant) else { return Ok(None) };
        state.ask_for_swap(job.id)?;
        state.rebuild_job(job.id)
    };
    let asked = blocking(ask).await?.map_err(|error| failed(&error))?;
    rebuilds.notify_one();
    let asked = asked.ok_or_else(|| {
        let detail = "no rebuild of this sync runs, so there are no tables to swap";
        ApiRefusal::new(
            StatusCode::CONFLICT,
            "no-rebuild",
            detail,
            "begin one: `tidegate sync rebuild SYNC --from beginning`",
        )
    })?;
    shared.with_asker(seen(shown(&asked), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// Rebuilds, newest first: one's own, and all of them for admins of the workspace.
#[utoipa::path(get, path = path::REBUILDS, tag = "rebuilds", operation_id = "list_rebuilds",
    params(WorkspaceQuery), responses((status = 200, body = ShownRebuilds), ApiRefusal))]
pub(in crate::api::v1) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRebuilds>, ApiRefusal> {
    let found = REBUILDS.seen((&shared, &asker), query.workspace.as_deref()).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let rebuilds = found.iter().map(|job| seen(shown(job), &of.rights, &of.masked)).collect();
    Ok(axum::Json(ShownRebuilds { rebuilds: shared.with_askers(rebuilds, asker_of).await? }))
}

/// How far a rebuild is, and where its tables are.
#[utoipa::path(get, path = path::REBUILD, tag = "rebuilds", operation_id = "show_rebuild",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownRebuild), ApiRefusal))]
pub(in crate::api::v1) async fn show(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRebuild>, ApiRefusal> {
    let job = REBUILDS.one((&shared, &asker), query.workspace.as_deref(), &id).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    shared.with_asker(seen(shown(&job), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// Ends a rebuild before its end. The sync goes on in the tables that it has; the new ones stay where they are.
#[utoipa::path(post, path = path::REBUILD_CANCEL, tag = "rebuilds", operation_id = "cancel_rebuild",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownRebuild), ApiRefusal))]
pub(in crate::api::v1) async fn cancel(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRebuild>, ApiRefusal> {
    let job = REBUILDS.cancelled((&shared, &asker), query.workspace.as_deref(), &id).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    shared.with_asker(seen(shown(&job), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

fn not_begun(refusal: RebuildRefusal) -> ApiRefusal {
    match refusal {
        RebuildRefusal::OfSameSync(id) => {
            let detail = format!("rebuild {id} of this sync runs");
            let fix = "wait for its end, swap it, or cancel it";
            ApiRefusal::new(StatusCode::CONFLICT, "rebuild-runs", detail, fix)
        }
        RebuildRefusal::TooMany => {
            let (detail, fix) = ("too many rebuilds run", "wait for some, or cancel them");
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
        }
    }
}

/// What is asked for, checked.
fn order_of(asked: &RebuildSync) -> Result<RebuildOrder, ApiRefusal> {
    let from_us = if asked.from == BEGINNING {
        None
    } else {
        let at_us = time::parse(&asked.from).ok_or_else(|| {
            let detail = "`from` is no time with its offset from UTC";
            let fix = "write it as 2026-12-31T00:00:00Z, or `beginning`";
            ApiRefusal::unprocessable("range", detail, fix).in_field("from")
        })?;
        Some(at_us)
    };
    let is_fit = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let is_schema = |schema: &str| {
        schema.starts_with(|c: char| c.is_ascii_lowercase())
            && schema.len() <= SCHEMA_BYTES_MAX
            && schema.chars().all(is_fit)
            && !schema.contains("__")
            && !schema.ends_with('_')
    };
    if asked.schema.as_deref().is_some_and(|schema| !is_schema(schema)) {
        let detail = "`schema` cannot be the name of a schema";
        let fix = format!("use up to {SCHEMA_BYTES_MAX} of a-z, 0-9 and single _, with a letter first and no _ last");
        return Err(ApiRefusal::unprocessable("schema", detail, fix).in_field("schema"));
    }
    Ok(RebuildOrder { from_us, schema: asked.schema.clone(), swap: asked.swap, dry_run: asked.dry_run })
}

fn order_in(job: &RebuildJob) -> RebuildOrder {
    serde_json::from_str(&job.asked.order).unwrap_or_default()
}

fn shown(job: &RebuildJob) -> ShownRebuild {
    let order = order_in(job);
    let report: RebuildReport = serde_json::from_str(&job.progress).unwrap_or_default();
    ShownRebuild {
        id: job.id,
        state: job.state.as_str().to_owned(),
        sync: job.asked.sync.clone(),
        asked_at: time::format(job.asked.at_us),
        asked_by: job.asked.asked_by.clone(),
        asked_by_name: None,
        ended_at: job.ended_at_us.map(time::format),
        name: job.name(),
        from: order.from_us.map_or_else(|| BEGINNING.to_owned(), time::format),
        swap: order.swap || job.is_swap_asked,
        dry_run: order.dry_run,
        report,
    }
}

fn asker_of(rebuild: &mut ShownRebuild) -> (&str, &mut Option<String>) {
    (&rebuild.asked_by, &mut rebuild.asked_by_name)
}

/// A rebuild as somebody may see it: what its destination said may have names and values of events, and is for those who may see all of them.
fn seen(mut rebuild: ShownRebuild, rights: &EventRights, masked: &[MaskedField]) -> ShownRebuild {
    if !masked.is_empty() || !rights.sees(&rebuild.sync, true) {
        rebuild.report.failure = rebuild.report.failure.map(|_| MASK.to_owned());
        rebuild.report.notices.clear();
    }
    rebuild
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_destination_said_is_for_whoever_sees_all_of_the_events() {
        let report = RebuildReport {
            notes: vec!["of the log".to_owned()],
            notices: vec!["no column for ann".to_owned()],
            failure: Some("could not take ann".to_owned()),
            ..RebuildReport::default()
        };
        let rebuild = ShownRebuild { sync: "lake".to_owned(), report, ..ShownRebuild::default() };
        let others = EventRights::of(&[("lake", true)], &[("crm", true)]);
        let sees = EventRights::of(&[("lake", true)], &[("lake", true)]);
        let masked = [MaskedField::new("properties.card")];
        for (rights, masked, has_said) in [
            (&EventRights::All, &[][..], true),
            (&sees, &[][..], true),
            (&sees, &masked[..], false),
            (&others, &[][..], false),
        ] {
            let found = seen(rebuild.clone(), rights, masked).report;
            assert_eq!(found.notices.len(), usize::from(has_said), "{masked:?}");
            assert_eq!(found.failure.as_deref() == Some(MASK), !has_said, "{masked:?}");
            assert_eq!(found.notes, ["of the log"]);
        }
    }
}

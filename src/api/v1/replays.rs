//! Parts of the log that go to one sync once more: for whoever may replay events of the sync.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::replay::{
    ReplayBound, ReplayEvents, ReplayOrder, ReplayPosition, ReplayReport, ReplayedName, ShownReplay, ShownReplays,
};
use tidegate_catalog::{ObjectKind, Verb};
use tidegate_event::subject::SubjectKind;
use tidegate_event::{Position, time};
use tidegate_state::{ClearSubject, NewReplayJob, ReplayJob, ReplayRetries, StateError};

use super::asker::{OfApi, Requester};
use super::event_rights::EventRights;
use super::owned_jobs::OwnedJobs;
use super::permit::{AskedThing, denied_in_log, may};
use super::refused::{absent, failed};
use super::tries::MASK;
use crate::api::extract::{IdInPath, Json, Query, blocking};
use crate::api::masked_fields::covers_pointer;
use crate::api::refusal::ApiRefusal;
use crate::api::{MaskedField, SharedApi, SyncRepeats};

const RATE_MAX: u32 = 1_000_000;
const NAMES_MAX: usize = 100;
const NAME_BYTES_MAX: usize = 256;
const USER_BYTES_MAX: usize = 1_024;
/// Jobs of one answer.
const JOBS_MAX: u64 = 100;
/// When to ask again, while too many jobs wait.
const BUSY_PAUSE: Duration = Duration::from_secs(5);
const NO_JOB: &str = "there is no such job of the sync";
const NO_SYNC: &str = "there is no such sync that runs";
const BEGINNING: &str = "beginning";

const REPLAYS: OwnedJobs<CountedReplay> = OwnedJobs {
    absent: NO_JOB,
    noted: ("replay_cancelled", "replay"),
    id: |replay| replay.job.id,
    asked_by: |replay| replay.job.asked.asked_by.as_str(),
    newest: |state| state.replay_jobs(JOBS_MAX)?.into_iter().map(|job| counted(state, job)).collect(),
    find: |state, id| state.replay_job(id)?.map(|job| counted(state, job)).transpose(),
    cancel: |replay, state, now_us| state.cancel_replay_job(&replay.job, now_us),
    wake: |engine| engine.replays.notify_one(),
    failed,
};

/// Gives a part of the log to a sync once more, in the background. A warehouse that knows events by their ids has none twice by it; for a
/// stream or a plugin they are sent again, with their ids.
#[utoipa::path(post, path = path::REPLAYS, tag = "replays", operation_id = "replay_events",
    params(WorkspaceQuery), request_body = ReplayEvents, responses((status = 200, body = ShownReplay), ApiRefusal))]
pub(in crate::api::v1) async fn create(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(asked): Json<ReplayEvents>,
) -> Result<axum::Json<ShownReplay>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of(&asker, query.workspace.as_deref(), NO_JOB)?;
    shared.may_replay(&asker, &workspace, &asked.sync).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    // How many events there are of a name or of somebody tells what stands in them.
    let is_of_values = asked.user.is_some() || !asked.events.is_empty();
    if (is_of_values && !of.rights.sees(&asked.sync, true)) || is_of_masked(&asked, &of.masked) {
        return Err(ApiRefusal::forbidden());
    }
    let repeats = engine.names.borrow().repeats.get(&asked.sync).copied();
    let repeats = repeats.ok_or_else(|| absent(NO_SYNC))?;
    let order = ReplayOrder { warning: warning(repeats, &asked)?, ..order_of(&asked)? };
    let detail = json!({
        "sync": asked.sync, "from": asked.from, "to": asked.to, "events": asked.events, "of_one_user": asked.user.is_some(),
        "by_rules_of_now": order.by_rules_of_now, "rate": order.rate,
    });
    let action = if order.dry_run { "replay_tried" } else { "replayed" };
    shared.note_done(&asker, &workspace, (action, detail)).await?;
    let replays = Arc::clone(&engine.replays);
    let (asked_by, at_us) = (asker.asked_by(), asker.at_us);
    let begin = move || -> Result<Result<Option<ShownReplay>, ApiRefusal>, StateError> {
        let mut state = (engine.open_state)()?;
        let partitions = state.partitions()?;
        if let Err(refusal) = in_log(&order, partitions) {
            return Ok(Err(refusal));
        }
        let user = asked.user.iter().flat_map(|user| subjects(user)).collect::<Vec<ClearSubject>>();
        let subjects = if user.is_empty() { Vec::new() } else { state.hashed(&user)? };
        let order = serde_json::to_string(&order).unwrap_or_default();
        let job = NewReplayJob { at_us, asked_by, sync: asked.sync, order, subjects };
        let Some(id) = state.begin_replay_job(&job)? else { return Ok(Ok(None)) };
        let Some(job) = state.replay_job(id)? else { return Ok(Ok(None)) };
        Ok(Ok(Some(shown(&CountedReplay { job, retries: ReplayRetries::default() }))))
    };
    let begun = blocking(begin).await?.map_err(|error| failed(&error))??;
    replays.notify_one();
    let begun = begun.ok_or_else(|| {
        let (detail, fix) = ("too many replays wait for their turn", "wait for some, or cancel them");
        ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
    })?;
    shared.with_asker(seen(begun, &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// Replays, newest first: one's own, and all of them for admins of the workspace.
#[utoipa::path(get, path = path::REPLAYS, tag = "replays", operation_id = "list_replays",
    params(WorkspaceQuery), responses((status = 200, body = ShownReplays), ApiRefusal))]
pub(in crate::api::v1) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownReplays>, ApiRefusal> {
    let found = REPLAYS.seen((&shared, &asker), query.workspace.as_deref()).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let replays = found.iter().map(|replay| seen(shown(replay), &of.rights, &of.masked)).collect();
    Ok(axum::Json(ShownReplays { replays: shared.with_askers(replays, asker_of).await? }))
}

/// How far a replay is, and what became of its events.
#[utoipa::path(get, path = path::REPLAY, tag = "replays", operation_id = "show_replay",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownReplay), ApiRefusal))]
pub(in crate::api::v1) async fn show(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownReplay>, ApiRefusal> {
    let found = REPLAYS.one((&shared, &asker), query.workspace.as_deref(), &id).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    shared.with_asker(seen(shown(&found), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// Ends a replay before its end. What it has delivered stays; what is pending of it is given up.
#[utoipa::path(post, path = path::REPLAY_CANCEL, tag = "replays", operation_id = "cancel_replay",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownReplay), ApiRefusal))]
pub(in crate::api::v1) async fn cancel(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownReplay>, ApiRefusal> {
    let found = REPLAYS.cancelled((&shared, &asker), query.workspace.as_deref(), &id).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    shared.with_asker(seen(shown(&found), &of.rights, &of.masked), asker_of).await.map(axum::Json)
}

/// A replay with what became of its events that had to wait.
struct CountedReplay {
    job: ReplayJob,
    retries: ReplayRetries,
}

fn counted(state: &tidegate_state::State, job: ReplayJob) -> Result<CountedReplay, StateError> {
    let retries = state.replay_retries(&job)?;
    Ok(CountedReplay { job, retries })
}

/// What is asked for, checked.
fn order_of(asked: &ReplayEvents) -> Result<ReplayOrder, ApiRefusal> {
    let from = bound("from", &asked.from)?;
    let to = asked.to.as_deref().map(|to| bound("to", to)).transpose()?.unwrap_or_default();
    let is_empty = match (from.time_us.zip(to.time_us), from.position.zip(to.position)) {
        (Some((from, to)), _) => from >= to,
        (_, Some((from, to))) => from.partition == to.partition && from.offset >= to.offset,
        (None, None) => false,
    };
    if is_empty {
        let (detail, fix) = ("`to` is not behind `from`: nothing is between them", "send a later `to`");
        return Err(ApiRefusal::unprocessable("empty-range", detail, fix).in_field("to"));
    }
    if from.position.zip(to.position).is_some_and(|(from, to)| from.partition != to.partition) {
        let (detail, fix) = ("the positions are of two partitions", "replay each partition by itself, or name times");
        return Err(ApiRefusal::unprocessable("two-partitions", detail, fix).in_field("to"));
    }
    let is_name = |name: &String| !name.is_empty() && name.len() <= NAME_BYTES_MAX;
    if asked.events.len() > NAMES_MAX || !asked.events.iter().all(is_name) {
        let detail = format!("`events` has {NAMES_MAX} names at most, each of 1 to {NAME_BYTES_MAX} bytes");
        return Err(ApiRefusal::unprocessable("events", detail, "name fewer, or leave them away").in_field("events"));
    }
    if asked.user.as_ref().is_some_and(|user| user.trim().is_empty() || user.len() > USER_BYTES_MAX) {
        let detail = format!("`user` is an id of 1 to {USER_BYTES_MAX} bytes that is not blank");
        return Err(ApiRefusal::unprocessable("user", detail, "write the id").in_field("user"));
    }
    if asked.rate.is_some_and(|rate| !(1..=RATE_MAX).contains(&rate)) {
        let detail = format!("`rate` is from 1 to {RATE_MAX} records a second");
        return Err(ApiRefusal::unprocessable("rate", detail, "send a rate within these").in_field("rate"));
    }
    let by_rules_of_now = match asked.rules.as_deref() {
        None | Some("then") => false,
        Some("now") => true,
        Some(_) => {
            let (detail, fix) = ("`rules` is neither `then` nor `now`", "send one of them, or leave it away");
            return Err(ApiRefusal::unprocessable("rules", detail, fix).in_field("rules"));
        }
    };
    let events: BTreeSet<String> = asked.events.iter().cloned().collect();
    let (events, rate, dry_run) = (events.into_iter().collect(), asked.rate, asked.dry_run);
    Ok(ReplayOrder { from, to, events, by_rules_of_now, rate, dry_run, warning: None })
}

/// A time, a position, or the beginning of the log.
fn bound(field: &'static str, text: &str) -> Result<ReplayBound, ApiRefusal> {
    if text == BEGINNING && field == "from" {
        return Ok(ReplayBound::default());
    }
    if let Ok(Position { partition, offset }) = text.parse::<Position>() {
        return Ok(ReplayBound { time_us: None, position: Some(ReplayPosition { partition, offset }) });
    }
    let time_us = time::parse(text).ok_or_else(|| {
        let detail = format!("`{field}` is neither a time with its offset from UTC nor a position of the log");
        let fix = "write it as 2026-12-31T00:00:00Z, or as 7 or 2/7; `from` may be `beginning`";
        ApiRefusal::unprocessable("range", detail, fix).in_field(field)
    })?;
    Ok(ReplayBound { time_us: Some(time_us), position: None })
}

/// Refuses positions of partitions that the log does not have.
fn in_log(order: &ReplayOrder, partitions: u16) -> Result<(), ApiRefusal> {
    for (field, bound) in [("from", order.from), ("to", order.to)] {
        if bound.position.is_some_and(|position| position.partition >= partitions) {
            let detail = format!("`{field}` is of a partition that the log does not have: it has {partitions}");
            let fix = "write PARTITION/OFFSET, with partitions from 0 on";
            return Err(ApiRefusal::unprocessable("range", detail, fix).in_field(field));
        }
    }
    Ok(())
}

/// What somebody should know of a destination before events go there once more; a refusal where they would be there twice.
fn warning(repeats: SyncRepeats, asked: &ReplayEvents) -> Result<Option<String>, ApiRefusal> {
    let text = match repeats {
        SyncRepeats::KnownById => return Ok(None),
        SyncRepeats::StoredAgain => {
            let detail = "the warehouse of the sync does not know events by their ids: those that it has are stored a second time";
            if !asked.allow_doubles && !asked.dry_run {
                let fix = "remove the rows of this time from its tables first, then send `allow_doubles`";
                return Err(ApiRefusal::unprocessable("would-double", detail, fix).in_field("allow_doubles"));
            }
            detail
        }
        SyncRepeats::WrittenAgain => {
            "the stream of the sync gets messages that it has a second time, under the same `messageId`: whoever reads it must know them \
             by that"
        }
        SyncRepeats::SentAgain => {
            "the tool behind the plugin gets events that it has a second time: they are sent with their `messageId`, and whether it drops \
             them is up to it"
        }
    };
    Ok(Some(text.to_owned()))
}

fn subjects(user: &str) -> [ClearSubject; 2] {
    [SubjectKind::User, SubjectKind::Anonymous].map(|kind| ClearSubject {
        kind,
        trait_name: String::new(),
        value: user.to_owned(),
    })
}

fn bound_text(bound: ReplayBound, without: &str) -> String {
    match bound {
        ReplayBound { position: Some(ReplayPosition { partition, offset }), .. } => {
            Position::new(partition, offset).to_string()
        }
        ReplayBound { time_us: Some(time_us), .. } => time::format(time_us),
        ReplayBound { .. } => without.to_owned(),
    }
}

fn shown(CountedReplay { job, retries }: &CountedReplay) -> ShownReplay {
    let order: ReplayOrder = serde_json::from_str(&job.asked.order).unwrap_or_default();
    let mut report: ReplayReport = serde_json::from_str(&job.progress).unwrap_or_default();
    let counts = &mut report.counts;
    counts.delivered += retries.delivered;
    counts.refused += retries.refused;
    counts.skipped += retries.skipped;
    (counts.pending, counts.abandoned) = (retries.pending, job.abandoned);
    ShownReplay {
        id: job.id,
        state: job.state.as_str().to_owned(),
        sync: job.asked.sync.clone(),
        asked_at: time::format(job.asked.at_us),
        asked_by: job.asked.asked_by.clone(),
        asked_by_name: None,
        ended_at: job.ended_at_us.map(time::format),
        name: job.name(),
        from: bound_text(order.from, BEGINNING),
        to: bound_text(order.to, &time::format(job.asked.at_us)),
        events: order.events,
        user: job.asked.subjects.first().map(tidegate_state::HashedSubject::short),
        rules: if order.by_rules_of_now { "now" } else { "then" }.to_owned(),
        rate: order.rate,
        dry_run: order.dry_run,
        warning: order.warning,
        report,
    }
}

fn asker_of(replay: &mut ShownReplay) -> (&str, &mut Option<String>) {
    (&replay.asked_by, &mut replay.asked_by_name)
}

/// Whether a condition is of a field that stays masked.
fn is_of_masked(asked: &ReplayEvents, masked: &[MaskedField]) -> bool {
    let is_of_user = asked.user.is_some() && ["/userId", "/anonymousId"].iter().any(|at| covers_pointer(masked, at));
    is_of_user || (!asked.events.is_empty() && are_names_masked(masked))
}

fn are_names_masked(masked: &[MaskedField]) -> bool {
    ["/event", "/name"].iter().any(|at| covers_pointer(masked, at))
}

/// A replay as somebody may see it: the names of events, and what their destination said of them, are of those who may see events of the sync.
/// What a destination said may quote a field that stays masked, unless there is none.
fn seen(mut replay: ShownReplay, rights: &EventRights, masked: &[MaskedField]) -> ShownReplay {
    let sees = rights.sees(&replay.sync, true);
    if !sees || !masked.is_empty() {
        replay.report.failure = replay.report.failure.map(|_| MASK.to_owned());
        replay.report.notices.clear();
    }
    if sees && !are_names_masked(masked) {
        return replay;
    }
    let mut all = ReplayedName::default();
    for name in std::mem::take(&mut replay.report.names).into_values() {
        all.events += name.events;
        all.bytes += name.bytes;
    }
    if all.events > 0 {
        replay.report.names.insert(MASK.to_owned(), all);
    }
    replay.events.iter_mut().for_each(|name| MASK.clone_into(name));
    replay
}

impl SharedApi {
    /// Refuses whoever may not replay events of a sync.
    pub(super) async fn may_replay(&self, asker: &Requester, workspace: &str, sync: &str) -> Result<(), ApiRefusal> {
        let acting = match asker.acting() {
            Some(acting) if !asker.is_admin(workspace) => acting,
            _ => return Ok(()),
        };
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let object = snapshot.named(ObjectKind::Sync, sync).ok_or_else(|| absent(NO_SYNC))?;
        match may(acting, Verb::Replay, object, Some(&snapshot)) {
            Ok(()) => Ok(()),
            Err(denial) => {
                let asked = AskedThing { workspace, verb: Verb::Replay, object: Some(object) };
                Err(denied_in_log(self, asker, asked, denial).await)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_destination_said_and_names_are_for_whoever_sees_all_of_the_events() {
        let report = ReplayReport {
            names: [("Bought".to_owned(), ReplayedName { events: 2, bytes: 9 })].into(),
            notes: vec!["of the log".to_owned()],
            notices: vec!["no column for ann".to_owned()],
            failure: Some("could not take ann".to_owned()),
            ..ReplayReport::default()
        };
        let replay =
            ShownReplay { sync: "crm".to_owned(), events: vec!["Bought".to_owned()], report, ..ShownReplay::default() };
        let others = EventRights::of(&[("crm", true)], &[("lake", true)]);
        let sees = EventRights::of(&[("crm", true)], &[("crm", true)]);
        let cases = [
            (&EventRights::All, &[][..], (true, true)),
            (&sees, &[][..], (true, true)),
            (&sees, &["properties.card"][..], (true, false)),
            (&sees, &["event"][..], (false, false)),
            (&others, &[][..], (false, false)),
        ];
        for (rights, masked, (has_names, has_said)) in cases {
            let masked: Vec<MaskedField> = masked.iter().map(|path| MaskedField::new(path)).collect();
            let found = seen(replay.clone(), rights, &masked);
            let names: Vec<&str> = found.report.names.keys().map(String::as_str).collect();
            let name = if has_names { "Bought" } else { MASK };
            assert_eq!((names, &*found.events[0]), (vec![name], name), "{masked:?}");
            assert_eq!(found.report.notices.len(), usize::from(has_said), "{masked:?}");
            assert_eq!(found.report.failure.as_deref() == Some(MASK), !has_said, "{masked:?}");
            assert_eq!(found.report.notes, ["of the log"]);
        }
    }

    #[test]
    fn a_condition_of_a_masked_field_is_known() {
        let of_user = ReplayEvents { user: Some("ann".to_owned()), ..ReplayEvents::default() };
        let of_name = ReplayEvents { events: vec!["Bought".to_owned()], ..ReplayEvents::default() };
        for (path, user, name) in
            [("userId", true, false), ("anonymousId", true, false), ("event", false, true), ("traits", false, false)]
        {
            let masked = [MaskedField::new(path)];
            let found = [&of_user, &of_name, &ReplayEvents::default()].map(|asked| is_of_masked(asked, &masked));
            assert_eq!(found, [user, name, false], "{path}");
        }
    }
}

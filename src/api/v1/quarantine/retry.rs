//! What is done with quarantined events: retried, edited, purged.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::quarantine::{
    EditEntry, EntriesPurged, EntrySelection, PurgeEntries, RetryEntries, RetryJobs, ShownRetryJob,
};
use tidegate_catalog::Verb;
use tidegate_event::time;
use tidegate_process::clock;
use tidegate_state::{NewRetryJob, OUTCOME_QUARANTINED, OUTCOME_REFINED, RetryJob, StateError};

use super::NO_ENTRY;
use super::asked::{AskedEntries, entry_id, is_of_all, unreadable};
use crate::api::SharedApi;
use crate::api::extract::{IdInPath, Json, Query, blocking};
use crate::api::masked_fields::unmask;
use crate::api::quarantine::entry_filter_text;
use crate::api::refusal::ApiRefusal;
use crate::api::v1::asker::{OfApi, Requester};
use crate::api::v1::owned_jobs::OwnedJobs;
use crate::api::v1::refused::absent;

/// Events a second, when nobody says how many.
const RATE_DEFAULT: u32 = 500;
const RATE_MAX: u32 = 100_000;
/// Bytes of an event that is put in the place of another.
const EVENT_BYTES_MAX: usize = 128 << 10;
/// When to ask again, while too many jobs wait.
const BUSY_PAUSE: Duration = Duration::from_secs(5);

const RETRIES: OwnedJobs<RetryJob> = OwnedJobs {
    absent: "there is no such job",
    noted: ("quarantine_retry_cancelled", "job"),
    id: |job| job.id,
    asked_by: |job| job.asked.asked_by.as_str(),
    newest: |state| state.retry_jobs(),
    find: |state, id| state.retry_job(id),
    cancel: |job, state, now_us| state.cancel_retry_job(job.id, now_us),
    // Whoever works on one looks at it again before each step.
    wake: |_| {},
    failed: |error| unreadable(error),
};

/// Sends quarantined events into the log once more, in the background: past the dedup window, with their ids and times, and only to the syncs
/// that have not had them. What fails again is the same entry again.
#[utoipa::path(post, path = path::QUARANTINE_RETRY, tag = "quarantine", operation_id = "retry_quarantine",
    params(WorkspaceQuery), request_body = RetryEntries, responses((status = 200, body = ShownRetryJob), ApiRefusal))]
pub(in crate::api::v1) async fn retry(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<RetryEntries>,
) -> Result<axum::Json<ShownRetryJob>, ApiRefusal> {
    let RetryEntries { entries, rate } = order;
    let asked = shared.named_entries(&asker, query.workspace.as_deref(), (&entries, Verb::Replay)).await?;
    let rate = rate.unwrap_or(RATE_DEFAULT);
    if !(1..=RATE_MAX).contains(&rate) {
        let detail = format!("`rate` is from 1 to {RATE_MAX} events a second");
        return Err(ApiRefusal::unprocessable("rate", detail, "send a rate within these").in_field("rate"));
    }
    let job = NewRetryJob { rate, ..shared.new_job(&asker) };
    let detail = json!({ "entries": selection_detail(&entries), "rate": rate });
    shared.begun(&asker, asked, (job, "quarantine_retried", detail)).await
}

/// Puts another event in the place of the one of an entry, and sends that into the log. Who does it must be allowed to see the event. A part
/// that functions made beside an event is not edited: the others have gone on.
#[utoipa::path(post, path = path::QUARANTINE_ENTRY_EDIT, tag = "quarantine", operation_id = "edit_quarantined",
    params(("id" = String, Path), WorkspaceQuery), request_body = EditEntry,
    responses((status = 200, body = ShownRetryJob), ApiRefusal))]
pub(in crate::api::v1) async fn edit(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    (Query(query), Json(edit)): (Query<WorkspaceQuery>, Json<EditEntry>),
) -> Result<axum::Json<ShownRetryJob>, ApiRefusal> {
    let mut asked = shared.asked_entry(&asker, query.workspace.as_deref(), (entry_id(&id)?, Verb::Replay)).await?;
    asked.only_seen();
    let found = move || -> Result<_, ApiRefusal> {
        let state = (asked.engine.open_state)().map_err(|error| unreadable(&error))?;
        let kept = asked.one(&state)?;
        Ok((asked, kept))
    };
    let (asked, kept) = blocking(found).await??;
    let kept = kept.ok_or_else(|| absent(NO_ENTRY))?;
    if kept.is_of_several() {
        let detail = "functions made this event of another one beside others, which have gone on: what is put in its place would go through \
                      the functions whole, and change or double those";
        let fix = "mend what stopped it and retry it; or send what it should be as an event of its own, with another `messageId`, and \
                   purge the entry";
        return Err(ApiRefusal::unprocessable("part-of-event", detail, fix));
    }
    let Value::Object(mut event) = edit.event else {
        let detail = "an event is a JSON object";
        return Err(ApiRefusal::unprocessable("no-event", detail, "send it as an SDK would").in_field("event"));
    };
    event.remove("writeKey");
    let before: Option<Value> = serde_json::from_slice(&kept.entry.event).ok();
    // The id is what the event is known by: another one would make another event of it.
    if let Some(id) = before.as_ref().and_then(|before| before.get("messageId")).filter(|id| id.is_string()) {
        event.entry("messageId").or_insert_with(|| id.clone());
    }
    let mut edited = Value::Object(event);
    if let Some(before) = before.filter(|_| !asked.masked.is_empty()) {
        let mut seen = before.clone();
        asked.masked.iter().for_each(|field| field.mask(&mut seen));
        if !unmask(&mut edited, &before, &seen) {
            let detail = "a list in which fields stay masked for you was changed: nobody can tell which of its items had which of their values";
            let fix = "leave the items that have masked fields, and their number, as you saw them; or ask an admin of the workspace to edit it";
            return Err(ApiRefusal::unprocessable("masked-list", detail, fix).in_field("event"));
        }
    }
    let edited = edited.to_string().into_bytes();
    if edited.len() > EVENT_BYTES_MAX {
        let detail = format!("an event may have {EVENT_BYTES_MAX} bytes at most");
        return Err(ApiRefusal::unprocessable("event-too-large", detail, "make it smaller").in_field("event"));
    }
    let detail = json!({
        "entry": kept.id, "scope": kept.entry.scope, "code": kept.entry.code,
        "before": shared.event_fingerprint(&kept.entry.event), "after": shared.event_fingerprint(&edited),
    });
    let job = NewRetryJob { rate: RATE_DEFAULT, edited: Some(edited), ..shared.new_job(&asker) };
    shared.begun(&asker, asked, (job, "quarantine_edited", detail)).await
}

/// Removes quarantined events for good. Those that are on their way into the log stay.
#[utoipa::path(post, path = path::QUARANTINE_PURGE, tag = "quarantine", operation_id = "purge_quarantine",
    params(WorkspaceQuery), request_body = PurgeEntries, responses((status = 200, body = EntriesPurged), ApiRefusal))]
pub(in crate::api::v1) async fn purge(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<PurgeEntries>,
) -> Result<axum::Json<EntriesPurged>, ApiRefusal> {
    let PurgeEntries { entries, dry_run } = order;
    let asked = shared.named_entries(&asker, query.workspace.as_deref(), (&entries, Verb::Delete)).await?;
    let workspace = asked.workspace.clone();
    if !dry_run {
        // Who removes something for good is in the log before it is gone.
        let detail = json!({ "entries": selection_detail(&entries) });
        shared.note_done(&asker, &workspace, ("quarantine_purged", detail)).await?;
    }
    let work = move || -> Result<EntriesPurged, StateError> {
        let mut state = (asked.engine.open_state)()?;
        let mut done = EntriesPurged { dry_run, matched: state.count_entries(&asked.filter)?, purged: 0 };
        // What comes meanwhile was not asked about.
        while !dry_run && done.purged < done.matched {
            match state.purge_entries(&asked.filter)? {
                0 => break,
                some => done.purged += some,
            }
        }
        Ok(done)
    };
    blocking(work).await?.map(axum::Json).map_err(|error| unreadable(&error))
}

/// Jobs that retry quarantined events, newest first: one's own, and all of them for admins of the workspace.
#[utoipa::path(get, path = path::QUARANTINE_JOBS, tag = "quarantine", operation_id = "list_quarantine_jobs",
    params(WorkspaceQuery), responses((status = 200, body = RetryJobs), ApiRefusal))]
pub(in crate::api::v1) async fn jobs(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<RetryJobs>, ApiRefusal> {
    let found = RETRIES.seen((&shared, &asker), query.workspace.as_deref()).await?;
    let jobs = shared.with_askers(found.into_iter().map(shown).collect(), asker_of).await?;
    Ok(axum::Json(RetryJobs { jobs }))
}

/// How far a job is.
#[utoipa::path(get, path = path::QUARANTINE_JOB, tag = "quarantine", operation_id = "show_quarantine_job",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownRetryJob), ApiRefusal))]
pub(in crate::api::v1) async fn job(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRetryJob>, ApiRefusal> {
    let job = RETRIES.one((&shared, &asker), query.workspace.as_deref(), &id).await?;
    shared.with_asker(shown(job), asker_of).await.map(axum::Json)
}

/// Ends a job before its end. What it has sent goes on.
#[utoipa::path(post, path = path::QUARANTINE_JOB_CANCEL, tag = "quarantine", operation_id = "cancel_quarantine_job",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownRetryJob), ApiRefusal))]
pub(in crate::api::v1) async fn cancel(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownRetryJob>, ApiRefusal> {
    let job = RETRIES.cancelled((&shared, &asker), query.workspace.as_deref(), &id).await?;
    shared.with_asker(shown(job), asker_of).await.map(axum::Json)
}

/// Which entries were meant, for the audit log: of a text that was looked for only that there was one, for it may be of an event.
fn selection_detail(selection: &EntrySelection) -> Value {
    let mut detail = json!(EntrySelection { text: None, ..selection.clone() });
    if let Some(text) = &selection.text {
        detail["text"] = json!({ "bytes": text.len() });
    }
    detail
}

/// Nobody means all entries by leaving everything away.
fn refuse_unnamed(selection: &EntrySelection) -> Result<(), ApiRefusal> {
    if is_of_all(selection) && !selection.all {
        let detail = "no condition says which entries are meant";
        let fix = "send a condition, or `all` for every entry";
        return Err(ApiRefusal::unprocessable("which-entries", detail, fix).in_field("entries"));
    }
    Ok(())
}

fn shown(job: RetryJob) -> ShownRetryJob {
    let RetryJob { id, asked, state, sent, skipped, outcomes, ended_at_us, .. } = job;
    let mut outcomes: BTreeMap<String, u64> = serde_json::from_str(&outcomes).unwrap_or_default();
    ShownRetryJob {
        id,
        state: state.as_str().to_owned(),
        asked_at: time::format(asked.at_us),
        asked_by: asked.asked_by,
        asked_by_name: None,
        ended_at: ended_at_us.map(time::format),
        matched: asked.matched,
        sent,
        skipped: serde_json::from_str(&skipped).unwrap_or_default(),
        refined: outcomes.remove(OUTCOME_REFINED).unwrap_or_default(),
        quarantined: outcomes.remove(OUTCOME_QUARANTINED).unwrap_or_default(),
        filtered: outcomes,
        rate: asked.rate,
    }
}

fn asker_of(job: &mut ShownRetryJob) -> (&str, &mut Option<String>) {
    (&job.asked_by, &mut job.asked_by_name)
}

impl SharedApi {
    /// The entries that somebody asks for, who must name some condition or say that all are meant.
    async fn named_entries(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
        (entries, verb): (&EntrySelection, Verb),
    ) -> Result<AskedEntries, ApiRefusal> {
        let asked = self.asked_entries(asker, workspace, (entries, verb)).await?;
        refuse_unnamed(entries)?;
        Ok(asked)
    }

    fn new_job(&self, asker: &Requester) -> NewRetryJob {
        NewRetryJob { at_us: clock::now_us(), asked_by: asker.asked_by(), ..NewRetryJob::default() }
    }

    /// Begins a job, and tells whoever works on it. It is in the audit log before it begins.
    async fn begun(
        &self,
        asker: &Requester,
        asked: AskedEntries,
        (job, action, detail): (NewRetryJob, &str, Value),
    ) -> Result<axum::Json<ShownRetryJob>, ApiRefusal> {
        self.note_done(asker, &asked.workspace, (action, detail)).await?;
        let AskedEntries { engine, filter, .. } = asked;
        let retries = Arc::clone(&engine.retries);
        let begin = move || -> Result<Option<RetryJob>, StateError> {
            let mut state = (engine.open_state)()?;
            let matched = state.count_entries(&filter)?;
            let job = NewRetryJob { filter: entry_filter_text(&filter), matched, ..job };
            match state.begin_retry_job(&job)? {
                Some(id) => state.retry_job(id),
                None => Ok(None),
            }
        };
        let begun = blocking(begin).await?.map_err(|error| unreadable(&error))?;
        retries.notify_one();
        let begun = begun.ok_or_else(|| {
            let (detail, fix) = ("too many jobs wait for their turn", "wait for some, or cancel them");
            ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
        })?;
        self.with_asker(shown(begun), asker_of).await.map(axum::Json)
    }

    /// By what an event is told from others in the audit log, which has nothing of what stands in it.
    fn event_fingerprint(&self, event: &[u8]) -> String {
        let key = self.settings.catalog.catalog.derived_key("events of the quarantine");
        let digest = format!("{:x}", Sha256::new().chain_update(key.as_slice()).chain_update(event).finalize());
        digest.chars().take(16).collect()
    }
}

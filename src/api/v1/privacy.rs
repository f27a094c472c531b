//! Who is left out, and who is forgotten. For admins of the workspace alone.
//!
//! Requests name people in bodies, never in a path or a query; answers, jobs and the audit log have keyed hashes.

pub(super) mod consent;
pub(super) mod verify;

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::privacy::{
    ForgetSubjects, HashedName, NamedSubject, ShownForgetJob, ShownForgetJobs, ShownSuppressed, SubjectsSuppressed,
    SuppressSubjects, SuppressedNames,
};
use tidegate_event::subject::SubjectKind;
use tidegate_event::time;
use tidegate_state::{ClearSubject, ForgetJob, HashedSubject, NewForgetJob, StateError, SuppressedSubject};

use super::asker::{OfApi, Requester};
use super::refused::{absent, failed};
use crate::api::extract::{IdInPath, Json, Query, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::{EngineSettings, SharedApi};

/// Subjects of one request.
const SUBJECTS_MAX: usize = 1_000;
const VALUE_BYTES_MAX: usize = 1_024;
const NAME_BYTES_MAX: usize = 128;
/// Jobs of one answer.
const JOBS_MAX: u64 = 100;
/// When to ask again, while too many jobs wait.
const BUSY_PAUSE: Duration = Duration::from_secs(5);
const NO_JOB: &str = "there is no such job";
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";

/// Who is left out.
#[utoipa::path(get, path = path::PRIVACY_SUPPRESSED, tag = "privacy", operation_id = "list_suppressed",
    params(WorkspaceQuery), responses((status = 200, body = SuppressedNames), ApiRefusal))]
pub(in crate::api::v1) async fn suppressed(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<SuppressedNames>, ApiRefusal> {
    let (_, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let read = move || -> Result<Vec<SuppressedSubject>, StateError> { (engine.open_state)()?.suppressed_subjects() };
    let found = blocking(read).await?.map_err(|error| failed(&error))?;
    let shown = |suppressed: SuppressedSubject| ShownSuppressed {
        subject: hashed_name(&suppressed.subject),
        since: time::format(suppressed.at_us),
        asked_by: suppressed.asked_by,
        asked_by_name: None,
    };
    let subjects = shared.with_askers(found.into_iter().map(shown).collect(), asker_of_suppressed).await?;
    Ok(axum::Json(SuppressedNames { subjects }))
}

/// Leaves subjects out from now on: what is refined after the answer and is about any of them goes nowhere, and is counted as suppressed.
/// What waits for another try at a destination plugin is removed. What is refined already is delivered.
#[utoipa::path(post, path = path::PRIVACY_SUPPRESS, tag = "privacy", operation_id = "suppress_subjects",
    params(WorkspaceQuery), request_body = SuppressSubjects,
    responses((status = 200, body = SubjectsSuppressed), ApiRefusal))]
pub(in crate::api::v1) async fn suppress(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<SuppressSubjects>,
) -> Result<axum::Json<SubjectsSuppressed>, ApiRefusal> {
    shared.change_suppressed(&asker, query.workspace.as_deref(), (&order, true)).await.map(axum::Json)
}

/// Lets events about subjects pass again. What was left out meanwhile stays left out.
#[utoipa::path(post, path = path::PRIVACY_UNSUPPRESS, tag = "privacy", operation_id = "unsuppress_subjects",
    params(WorkspaceQuery), request_body = SuppressSubjects,
    responses((status = 200, body = SubjectsSuppressed), ApiRefusal))]
pub(in crate::api::v1) async fn unsuppress(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<SuppressSubjects>,
) -> Result<axum::Json<SubjectsSuppressed>, ApiRefusal> {
    shared.change_suppressed(&asker, query.workspace.as_deref(), (&order, false)).await.map(axum::Json)
}

/// Removes what there is about subjects, in the background: from the log, the quarantine, what is pending, and what functions have logged.
/// They are left out from now on as well, unless that is not wanted. Asked for again before it has begun, it is the same job.
#[utoipa::path(post, path = path::PRIVACY_FORGET, tag = "privacy", operation_id = "forget_subjects",
    params(WorkspaceQuery), request_body = ForgetSubjects, responses((status = 200, body = ShownForgetJob), ApiRefusal))]
pub(in crate::api::v1) async fn forget(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(order): Json<ForgetSubjects>,
) -> Result<axum::Json<ShownForgetJob>, ApiRefusal> {
    let (workspace, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let subjects = clear_subjects(&order.subjects)?;
    let ForgetSubjects { dry_run, keep_accepting, .. } = order;
    // A tool knows nobody by our hashes. Without one to ask, nobody is kept in clear.
    let has_tools = engine.names.borrow().syncs.values().any(|syncs| !syncs.is_empty());
    let people = if has_tools && !dry_run { subjects.clone() } else { Vec::new() };
    let hashed = hashed(&engine, subjects).await?;
    let action = if dry_run { "privacy_forget_tried" } else { "privacy_forgotten" };
    // Who removes something for good is in the log before it is gone.
    shared.note_done(&asker, &workspace, (action, names_detail(&hashed))).await?;
    let forgets = Arc::clone(&engine.forgets);
    let (asked_by, now_us) = (asker.asked_by(), asker.at_us);
    let begin = move || -> Result<Option<ForgetJob>, StateError> {
        let mut state = (engine.open_state)()?;
        if !dry_run && !keep_accepting {
            state.suppress(&hashed, &asked_by, now_us)?;
        }
        let job = NewForgetJob { at_us: now_us, asked_by, subjects: hashed, dry_run };
        match state.begin_forget_job(&job, &people)? {
            Some(id) => state.forget_job(id),
            None => Ok(None),
        }
    };
    let begun = blocking(begin).await?.map_err(|error| failed(&error))?;
    forgets.notify_one();
    let begun = begun.ok_or_else(|| {
        let (detail, fix) = ("too many jobs wait for their turn", "wait for some");
        ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(BUSY_PAUSE)
    })?;
    shared.with_asker(shown(&begun), asker_of).await.map(axum::Json)
}

/// Jobs that forget, newest first.
#[utoipa::path(get, path = path::PRIVACY_JOBS, tag = "privacy", operation_id = "list_forget_jobs",
    params(WorkspaceQuery), responses((status = 200, body = ShownForgetJobs), ApiRefusal))]
pub(in crate::api::v1) async fn jobs(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownForgetJobs>, ApiRefusal> {
    let (_, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let read = move || -> Result<Vec<ForgetJob>, StateError> { (engine.open_state)()?.forget_jobs(JOBS_MAX) };
    let found = blocking(read).await?.map_err(|error| failed(&error))?;
    let jobs = shared.with_askers(found.iter().map(shown).collect(), asker_of).await?;
    Ok(axum::Json(ShownForgetJobs { jobs }))
}

/// How far a job is, and what it did where.
#[utoipa::path(get, path = path::PRIVACY_JOB, tag = "privacy", operation_id = "show_forget_job",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownForgetJob), ApiRefusal))]
pub(in crate::api::v1) async fn job(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownForgetJob>, ApiRefusal> {
    let (_, engine) = shared.engine_of_privacy(&asker, query.workspace.as_deref())?;
    let id: u64 = id.parse().map_err(|_| absent(NO_JOB))?;
    let read = move || -> Result<Option<ForgetJob>, StateError> { (engine.open_state)()?.forget_job(id) };
    let found = blocking(read).await?.map_err(|error| failed(&error))?;
    let found = found.ok_or_else(|| absent(NO_JOB))?;
    shared.with_asker(shown(&found), asker_of).await.map(axum::Json)
}

/// The subjects that a request names.
fn clear_subjects(named: &[NamedSubject]) -> Result<Vec<ClearSubject>, ApiRefusal> {
    if named.is_empty() || named.len() > SUBJECTS_MAX {
        let detail = format!("`subjects` has 1 to {SUBJECTS_MAX} subjects");
        return Err(ApiRefusal::unprocessable("subjects", detail, "name so many, and others in another request")
            .in_field("subjects"));
    }
    named.iter().enumerate().map(|(at, named)| clear_subject(at, named)).collect()
}

fn clear_subject(at: usize, named: &NamedSubject) -> Result<ClearSubject, ApiRefusal> {
    let field = |name: &str| format!("subjects.{at}.{name}");
    let Some(kind) = SubjectKind::parse(&named.kind) else {
        let (detail, fix) = ("there is no such kind of subject", "name `user`, `anonymous`, `group` or `trait`");
        return Err(ApiRefusal::unprocessable("subject-kind", detail, fix).in_field(field("kind")));
    };
    let is_trait = kind == SubjectKind::Trait;
    let name = named.name.as_deref().unwrap_or_default();
    let is_name = !name.is_empty() && name.len() <= NAME_BYTES_MAX && !name.chars().any(char::is_control);
    if is_trait != is_name {
        let (detail, fix) = ("a trait has a name of 1 to 128 bytes, and nothing else has one", "name it, e.g. `email`");
        return Err(ApiRefusal::unprocessable("subject-name", detail, fix).in_field(field("name")));
    }
    let value = &named.value;
    if value.trim().is_empty() || value.len() > VALUE_BYTES_MAX {
        let detail = format!("a subject has a value of 1 to {VALUE_BYTES_MAX} bytes that is not blank");
        return Err(ApiRefusal::unprocessable("subject-value", detail, "write the id").in_field(field("value")));
    }
    Ok(ClearSubject { kind, trait_name: name.to_owned(), value: value.clone() })
}

/// The hashes of subjects, under the key of the environment.
async fn hashed(engine: &Arc<EngineSettings>, subjects: Vec<ClearSubject>) -> Result<Vec<HashedSubject>, ApiRefusal> {
    let engine = Arc::clone(engine);
    let work = move || -> Result<Vec<HashedSubject>, StateError> { (engine.open_state)()?.hashed(&subjects) };
    blocking(work).await?.map_err(|error| failed(&error))
}

fn hashed_name(subject: &HashedSubject) -> HashedName {
    let name = Some(subject.trait_name.clone()).filter(|name| !name.is_empty());
    HashedName { kind: subject.kind.as_str().to_owned(), name, hash: subject.short() }
}

fn names_detail(subjects: &[HashedSubject]) -> Value {
    json!({ "subjects": subjects.iter().map(hashed_name).collect::<Vec<_>>() })
}

/// How many of the subjects are on the list, or are not.
fn count_named(list: &[SuppressedSubject], subjects: &[HashedSubject], on_it: bool) -> u64 {
    let is_on = |subject: &&HashedSubject| list.iter().any(|listed| listed.subject == **subject) == on_it;
    subjects.iter().filter(is_on).count() as u64
}

fn shown(job: &ForgetJob) -> ShownForgetJob {
    let ForgetJob { id, asked, state, progress, ended_at_us } = job;
    ShownForgetJob {
        id: *id,
        state: state.as_str().to_owned(),
        dry_run: asked.dry_run,
        asked_at: time::format(asked.at_us),
        asked_by: asked.asked_by.clone(),
        asked_by_name: None,
        ended_at: ended_at_us.map(time::format),
        subjects: asked.subjects.iter().map(hashed_name).collect(),
        report: serde_json::from_str(progress).unwrap_or_default(),
    }
}

fn asker_of(job: &mut ShownForgetJob) -> (&str, &mut Option<String>) {
    (&job.asked_by, &mut job.asked_by_name)
}

fn asker_of_suppressed(one: &mut ShownSuppressed) -> (&str, &mut Option<String>) {
    (&one.asked_by, &mut one.asked_by_name)
}

impl SharedApi {
    /// Puts subjects on the list of those who are left out, or takes them off it.
    async fn change_suppressed(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
        (order, is_on): (&SuppressSubjects, bool),
    ) -> Result<SubjectsSuppressed, ApiRefusal> {
        let (workspace, engine) = self.engine_of_privacy(asker, workspace)?;
        let subjects = clear_subjects(&order.subjects)?;
        let dry_run = order.dry_run;
        let hashed = hashed(&engine, subjects).await?;
        if !dry_run {
            let action = if is_on { "privacy_suppressed" } else { "privacy_unsuppressed" };
            self.note_done(asker, &workspace, (action, names_detail(&hashed))).await?;
        }
        let (asked_by, now_us) = (asker.asked_by(), asker.at_us);
        let work = move || -> Result<SubjectsSuppressed, StateError> {
            let mut state = (engine.open_state)()?;
            // What waits of those who come on the list goes.
            let gone = is_on.then(|| state.subject_set(&hashed)).transpose()?;
            let changed = match (dry_run, is_on) {
                (true, _) => count_named(&state.suppressed_subjects()?, &hashed, !is_on),
                (false, true) => state.suppress(&hashed, &asked_by, now_us)?,
                (false, false) => state.unsuppress(&hashed)?,
            };
            let pending = match gone {
                Some(gone) => state.forget_pending(&gone, dry_run)?.found,
                None => 0,
            };
            let subjects = hashed.iter().map(hashed_name).collect();
            Ok(SubjectsSuppressed { dry_run, subjects, changed, pending })
        };
        blocking(work).await?.map_err(|error| failed(&error))
    }

    /// The environment of an admin.
    fn engine_of_privacy(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
    ) -> Result<(String, Arc<EngineSettings>), ApiRefusal> {
        let (workspace, engine) = self.engine_of(asker, workspace, NO_ENVIRONMENT)?;
        if !asker.is_admin(&workspace) {
            return Err(ApiRefusal::forbidden());
        }
        Ok((workspace, engine))
    }
}

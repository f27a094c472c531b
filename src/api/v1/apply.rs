//! A folder that is applied from elsewhere: the catalog says what the folder says, and what runs follows, all of it or nothing.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Request, State};
use hyper::StatusCode;
use tidegate_api_types::control::{ApplyFolder, ApplyQuery, FolderApplied};
use tidegate_api_types::path;
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_api_types::workspace::{FolderDocument, SyncEnding};
use tidegate_catalog::{
    CatalogObject, CatalogOrder, CatalogPlan, CatalogSnapshot, ManagingFolder, ObjectKind, PlanOptions, PlannedChange,
    Verb, WantedObject, plan,
};

use super::asker::{OfApi, Requester, workspace_of};
use super::blobs::{KnownBlobs, SEND_BLOB, has_blob, is_sha256, named_blobs};
use super::folders::{FOLDER_BYTES_MAX, planned_object, wanted};
use super::permit::{AskedThing, denied_in_log, may};
use super::shown::name;
use crate::api::extract::{Query, body, parsed};
use crate::api::refusal::ApiRefusal;
use crate::api::reload::endings;
use crate::api::{CatalogSettings, SharedApi};

/// Makes the catalog say what a folder says. Objects are managed by it from then on. Nothing is changed when anything of it is refused.
#[utoipa::path(post, path = path::APPLY, tag = "plans", operation_id = "apply_folder",
    params(ApplyQuery), request_body = ApplyFolder,
    responses((status = 200, body = FolderApplied), ApiRefusal))]
pub(super) async fn apply(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<ApplyQuery>,
    request: Request,
) -> Result<axum::Json<FolderApplied>, ApiRefusal> {
    let asked: ApplyFolder = parsed(&body(&shared, request, FOLDER_BYTES_MAX, "a folder").await?)?;
    let endings = endings(asked.drain.clone(), asked.abandon.clone())?;
    let workspace = workspace_of(ObjectKind::Source, query.workspace.as_deref());
    let settings = &shared.settings.catalog;
    let snapshot = settings.catalog.snapshot(&workspace, None).await.map_err(|error| shared.refused(error))?;
    if asked.base_revision.is_some_and(|expected| expected != snapshot.revision) {
        return Err(stale(&shared, snapshot.revision).await?);
    }
    let wanted = wanted(settings, &snapshot, (&asked.documents, &asked.files), asked.take_over);
    let there = wanted.iter().filter_map(|want| snapshot.named(want.kind, &want.name)).collect();
    shared.refuse_hidden(&asker, &snapshot, there).await?;
    refuse(written(settings, &asked.documents, &wanted), |count| {
        let detail = format!("secrets are written down in {count} fields of the folder, and nothing was changed");
        ApiRefusal::unprocessable("problems", detail, "correct what `problems` names")
    })?;
    let named = wanted.iter().flat_map(|want| named_blobs(settings, &want.spec));
    let named = named.chain(asked.files.iter().map(|(path, sha256)| (path.as_str(), sha256.as_str())));
    refuse(missing(settings, named, &shared.known_blobs(&asker, &snapshot)), |count| {
        let detail = format!("{count} files of the folder are not there, and nothing was changed");
        ApiRefusal::unprocessable("missing-files", detail, "send what `problems` names, then apply again")
    })?;
    let options = PlanOptions { prune: asked.prune, take_over: asked.take_over, folder: Some(ManagingFolder::Applied) };
    let planned = plan(&snapshot, &wanted, options);
    let to_apply = PlanToApply { snapshot: &snapshot, planned, endings, is_dry_run: query.dry_run };
    shared.apply_plan(&asker, to_apply).await.map(axum::Json)
}

/// A plan for a workspace as it is in a snapshot.
pub(super) struct PlanToApply<'s> {
    pub(super) snapshot: &'s CatalogSnapshot,
    pub(super) planned: CatalogPlan,
    /// What becomes of what waits for syncs that end.
    pub(super) endings: BTreeMap<String, SyncEnding>,
    /// Say what would be done, and do nothing.
    pub(super) is_dry_run: bool,
}

impl SharedApi {
    /// Refuses whoever may not view all of these objects, which are to be changed. Else the answer would tell whether a guess at what one
    /// may not view is right.
    pub(super) async fn refuse_hidden(
        &self,
        asker: &Requester,
        snapshot: &CatalogSnapshot,
        objects: Vec<&CatalogObject>,
    ) -> Result<(), ApiRefusal> {
        let Some(acting) = asker.acting() else { return Ok(()) };
        for object in objects {
            if let Err(denial) = may(acting, Verb::View, object, Some(snapshot)) {
                let asked = AskedThing { workspace: &snapshot.workspace, verb: Verb::Update, object: Some(object) };
                return Err(denied_in_log(self, asker, asked, denial).await);
            }
        }
        Ok(())
    }

    /// Does what a plan says. Nothing is changed when it has problems.
    pub(super) async fn apply_plan(
        &self,
        asker: &Requester,
        PlanToApply { snapshot, planned, endings, is_dry_run }: PlanToApply<'_>,
    ) -> Result<FolderApplied, ApiRefusal> {
        let settings = &self.settings.catalog;
        refuse(problems(settings, &planned), |count| {
            let detail = format!("the plan has {count} problems, and nothing was changed");
            ApiRefusal::unprocessable("problems", detail, "correct what `problems` names")
        })?;
        let is_visible = |kind, of: &str| match (asker.acting(), snapshot.named(kind, of)) {
            (Some(acting), Some(object)) => may(acting, Verb::View, object, Some(snapshot)).is_ok(),
            _ => true,
        };
        let left = planned.left.iter().filter(|(kind, of)| is_visible(*kind, of)).map(|(kind, of)| name(*kind, of));
        let (created, updated, deleted) = planned.counts();
        let mut applied = FolderApplied {
            revision: snapshot.revision,
            dry_run: is_dry_run,
            created: created as u64,
            updated: updated as u64,
            deleted: deleted as u64,
            changes: Vec::new(),
            left: left.collect(),
            running: None,
        };
        if planned.changes.is_empty() && endings.is_empty() {
            return Ok(applied);
        }
        let is_strange =
            |(name, ending): &(&String, &SyncEnding)| **ending == SyncEnding::Abandon && !touches(&planned, name);
        let strange = endings.iter().find(is_strange).filter(|_| !asker.is_admin(&snapshot.workspace));
        if let Some((name, _)) = strange {
            return Err(of_no_change(name, "the plan"));
        }
        let change = settings.catalog.change_of(&planned, asker.authority(), asker.actor.clone(), asker.at_us);
        let change = change.ok_or_else(|| ApiRefusal::failed("the plan was not applied", &"it has problems"))?;
        let ordered = self.execute_with(CatalogOrder::Change(change), endings, is_dry_run).await?;
        applied.revision = ordered.committed.revision;
        applied.running = match ordered.running {
            Some(running) => Some(self.visible_running(asker, snapshot, running).await),
            None => None,
        };
        applied.changes = planned.changes.into_iter().map(planned_object).collect();
        Ok(applied)
    }
}

/// Whether a plan changes or deletes the sync or the source of this name: the rights to do so are asked for with the change.
fn touches(planned: &CatalogPlan, name: &str) -> bool {
    planned.changes.iter().any(|change| {
        let (kind, of) = match change {
            PlannedChange::Create { .. } => return false,
            PlannedChange::Update { content, .. } => (content.kind, &content.name),
            PlannedChange::Delete { kind, name, .. } => (*kind, name),
        };
        matches!(kind, ObjectKind::Sync | ObjectKind::Source) && of == name
    })
}

/// Why somebody may not give up what waits for a sync that `change` does not touch.
pub(super) fn of_no_change(name: &str, change: &str) -> ApiRefusal {
    let detail =
        format!("{change} changes nothing of {name:?}, and what drains is given up by admins of the workspace");
    ApiRefusal::new(StatusCode::FORBIDDEN, "forbidden", detail, "ask an admin to give it up")
}

/// Why a plan of another revision is not applied.
pub(super) async fn stale(shared: &SharedApi, revision: u64) -> Result<ApiRefusal, ApiRefusal> {
    let maker = shared.settings.catalog.catalog.maker_of(revision).await.map_err(|error| shared.refused(error))?;
    let maker = maker.map(|maker| maker.to_string());
    let name = shared.names_of(maker.as_deref().into_iter().collect()).await?.of(maker.as_deref());
    let by = name.or(maker).unwrap_or_else(|| "the server or whoever has its admin token".to_owned());
    let detail = format!("revision {revision} was applied meanwhile by {by}");
    Ok(ApiRefusal::new(StatusCode::PRECONDITION_FAILED, "stale-plan", detail, "plan again").in_field("base_revision"))
}

/// With problems, the refusal that tells how many there are.
pub(super) fn refuse(
    problems: Vec<WorkspaceProblem>,
    refusal: impl FnOnce(usize) -> ApiRefusal,
) -> Result<(), ApiRefusal> {
    if problems.is_empty() { Ok(()) } else { Err(refusal(problems.len()).with_problems(problems)) }
}

/// Secrets that are written down in documents.
pub(super) fn written(
    settings: &CatalogSettings,
    documents: &[FolderDocument],
    wanted: &[WantedObject],
) -> Vec<WorkspaceProblem> {
    let found = documents.iter().zip(wanted).filter_map(|(document, wanted)| {
        let field = (settings.written_secret)(wanted.kind, &document.document)?;
        let instead = if field.starts_with("write_key") {
            "take it away and make one with `tidegate write-key create`"
        } else {
            "write `secret:NAME` for a value that is kept with PUT /api/v1/secrets/NAME"
        };
        Some(WorkspaceProblem {
            file: stated_file(settings, wanted.kind, &wanted.name),
            line: 0,
            message: format!("`{field}` holds a secret that is written down"),
            fix: format!(
                "{instead}; or write `${{NAME}}` for a variable that `catalog_variables` in tidegate.yaml lists"
            ),
        })
    });
    found.collect()
}

/// Files that the server does not have, or not from whoever asks: both are answered alike.
pub(super) fn missing<'n>(
    settings: &CatalogSettings,
    named: impl Iterator<Item = (&'n str, &'n str)>,
    known: &KnownBlobs<'_>,
) -> Vec<WorkspaceProblem> {
    let is_missing = |sha256: &str| !is_sha256(sha256) || !known.has(sha256) || !has_blob(&settings.files, sha256);
    let absent: BTreeSet<(&str, &str)> = named.filter(|(_, sha256)| is_missing(sha256)).collect();
    let problem = |(path, sha256): (&str, &str)| WorkspaceProblem {
        file: path.to_owned(),
        line: 0,
        message: format!("the server does not have the content {sha256:?} from you"),
        fix: SEND_BLOB.to_owned(),
    };
    absent.into_iter().map(problem).collect()
}

pub(super) fn problems(settings: &CatalogSettings, planned: &CatalogPlan) -> Vec<WorkspaceProblem> {
    use tidegate_catalog::PlanProblem::{Cycle, NotManaged, NotOfFolder, OfOtherFolder, Twice};
    let problem = |problem: &tidegate_catalog::PlanProblem| {
        let (of, fix) = match problem {
            NotManaged { kind, name } | OfOtherFolder { kind, name, .. } => {
                (stated_file(settings, *kind, name), "apply with `take_over`, or take it out of the folder")
            }
            NotOfFolder { kind, name } | Twice { kind, name } => {
                (stated_file(settings, *kind, name), "take it out of the folder")
            }
            Cycle(_) => (String::new(), "rename in two steps"),
        };
        WorkspaceProblem { file: of, line: 0, message: problem.to_string(), fix: fix.to_owned() }
    };
    planned.problems.iter().map(problem).collect()
}

/// What problems of an object name as its file.
pub(super) fn stated_file(settings: &CatalogSettings, kind: ObjectKind, name: &str) -> String {
    (settings.folder_file)(kind, name).unwrap_or_else(|| format!("{kind} {name}"))
}

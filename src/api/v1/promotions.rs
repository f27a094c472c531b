//! Promotions: a workspace gets what another one has, all of it or nothing, as if it were applied from a folder.
//!
//! Write keys stay where they are, and so do the values of secrets: a spec that says `secret:NAME` means the secret of its own workspace,
//! which has to be there. What stands in files of a folder goes, and who may do what does not.

use std::path::{Component, Path};

use axum::extract::State;
use data_encoding::HEXLOWER;
use hyper::StatusCode;
use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_api_types::control::FolderApplied;
use tidegate_api_types::object::ObjectName;
use tidegate_api_types::path;
use tidegate_api_types::promotion::PromoteObjects;
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_catalog::{
    CatalogObject, CatalogSnapshot, ManagingFolder, ObjectContent, ObjectKind, PlanOptions, PlannedChange, Verb,
    WantedObject, plan, references,
};
use tidegate_document::file;

use super::apply::{PlanToApply, refuse, stale, stated_file};
use super::asker::{OfApi, Requester};
use super::blobs::{BLOB_BYTES_MAX, keep};
use super::permit::{may, named_kind};
use super::refused::{NO_OBJECT, absent};
use crate::api::extract::{Json, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::reload::endings;
use crate::api::{CatalogSettings, SharedApi};

/// Gives a workspace what another one has. Its objects are managed as those of an applied folder from then on. Nothing is changed when
/// anything of it is refused.
#[utoipa::path(post, path = path::PROMOTIONS, tag = "plans", operation_id = "promote_objects",
    request_body = PromoteObjects, responses((status = 200, body = FolderApplied), ApiRefusal))]
pub(super) async fn promote(
    State(shared): OfApi,
    asker: Requester,
    Json(asked): Json<PromoteObjects>,
) -> Result<axum::Json<FolderApplied>, ApiRefusal> {
    refuse_nonsense(&asked)?;
    let endings = endings(asked.drain.clone(), asked.abandon.clone())?;
    let settings = &shared.settings.catalog;
    let has_no_role = |workspace: &str| asker.acting().is_some_and(|acting| !acting.has_role_in(workspace));
    if has_no_role(&asked.from) || has_no_role(&asked.to) {
        return Err(absent("there is no such workspace that you may see"));
    }
    let (from, to) = (shared.snapshot_of(&asked.from).await?, shared.snapshot_of(&asked.to).await?);
    // To promote the nothing of a mistyped name would be to prune everything there.
    if !from.objects.iter().any(|object| is_of_folder(settings, object)) {
        shared.engine(&asked.from).map_err(|refusal| refusal.in_field("from"))?;
    }
    if asked.base_revision.is_some_and(|expected| expected != to.revision) {
        return Err(stale(&shared, to.revision).await?);
    }
    let promoted = promoted(settings, &asker, &asked, &from)?;
    let there = promoted.iter().filter_map(|object| to.named(object.content.kind, &object.content.name)).collect();
    shared.refuse_hidden(&asker, &to, there).await?;
    let mut wanted = Vec::new();
    for object in promoted {
        let there = to.named(object.content.kind, &object.content.name);
        let mut want = wanted_of(settings, object, there);
        let is_of_server = there.and_then(CatalogObject::folder) == Some(ManagingFolder::Server);
        // The folder of that environment has the file beside its own.
        if asked.take_over || !is_of_server {
            shared.send_file(object, &mut want).await?;
        }
        wanted.push(want);
    }
    let options = PlanOptions { prune: asked.prune, take_over: asked.take_over, folder: Some(ManagingFolder::Applied) };
    let planned = plan(&to, &wanted, options);
    let unfit = planned.changes.iter().filter_map(content).flat_map(|content| unfit(settings, content, (&asked, &to)));
    refuse(unfit.collect(), |count| {
        let detail = format!("{count} things are missing in {:?} or cannot leave {:?}", asked.to, asked.from);
        ApiRefusal::unprocessable("problems", detail, "correct what `problems` names")
    })?;
    let to_apply = PlanToApply { snapshot: &to, planned, endings, is_dry_run: asked.dry_run };
    shared.apply_plan(&asker, to_apply).await.map(axum::Json)
}

/// What cannot be meant.
fn refuse_nonsense(asked: &PromoteObjects) -> Result<(), ApiRefusal> {
    if asked.from == asked.to {
        let detail = "`from` and `to` are one workspace";
        return Err(ApiRefusal::unprocessable("one-workspace", detail, "name two").in_field("to"));
    }
    if asked.prune && !asked.objects.is_empty() {
        let detail = "`prune` deletes what `from` does not have, and `objects` names some of what it has";
        return Err(ApiRefusal::unprocessable("prune-of-some", detail, "leave one of them away").in_field("prune"));
    }
    Ok(())
}

/// The objects of `from` that are to go, which whoever asks may view.
fn promoted<'s>(
    settings: &CatalogSettings,
    asker: &Requester,
    asked: &PromoteObjects,
    from: &'s CatalogSnapshot,
) -> Result<Vec<&'s CatalogObject>, ApiRefusal> {
    let is_visible = |object: &CatalogObject| {
        asker.acting().is_none_or(|acting| may(acting, Verb::View, object, Some(from)).is_ok())
    };
    let (seen, hidden): (Vec<&CatalogObject>, Vec<&CatalogObject>) =
        from.objects.iter().filter(|object| is_of_folder(settings, object)).partition(|object| is_visible(object));
    if asked.prune && !hidden.is_empty() {
        let detail = "there are objects that you may not view, and they would be taken for missing";
        let fix = "leave `prune` away, or ask somebody who may view all of them";
        return Err(ApiRefusal::new(StatusCode::FORBIDDEN, "hidden-objects", detail, fix).in_field("prune"));
    }
    if asked.objects.is_empty() {
        return if seen.is_empty() && !hidden.is_empty() { Err(absent(NO_OBJECT)) } else { Ok(seen) };
    }
    let named = |named: &ObjectName| {
        let kind = named_kind(&named.kind)?;
        let found = seen.iter().find(|object| object.key() == (kind, named.name.as_str()));
        found.copied().ok_or_else(|| absent(NO_OBJECT).in_field("objects"))
    };
    asked.objects.iter().map(named).collect()
}

/// Whether an object is of a kind that stands in files of a folder.
fn is_of_folder(settings: &CatalogSettings, object: &CatalogObject) -> bool {
    let ObjectContent { kind, name, .. } = &object.content;
    (settings.folder_file)(*kind, name).is_some()
}

/// What an object wants of the other workspace, where `there` has its name.
fn wanted_of(settings: &CatalogSettings, object: &CatalogObject, there: Option<&CatalogObject>) -> WantedObject {
    let ObjectContent { kind, name, labels, spec, .. } = object.content.clone();
    let mut want = WantedObject { kind, name, was: None, labels, owner: None, spec };
    if let (ObjectKind::Source, Value::Object(fields)) = (kind, &mut want.spec) {
        let own = there.and_then(|there| there.content.spec.as_object());
        keep_keys(settings, fields, own);
    }
    want
}

/// Puts the write keys that the source has there in the place of those that it has here.
fn keep_keys(settings: &CatalogSettings, fields: &mut Map<String, Value>, own: Option<&Map<String, Value>>) {
    for field in settings.write_key_fields {
        fields.remove(field);
        if let Some(keys) = own.and_then(|own| own.get(field)) {
            fields.insert(field.to_owned(), keys.clone());
        }
    }
}

/// What an object shall say after a change.
const fn content(change: &PlannedChange) -> Option<&ObjectContent> {
    match change {
        PlannedChange::Create { content } | PlannedChange::Update { content, .. } => Some(content),
        PlannedChange::Delete { .. } => None,
    }
}

/// Why an object cannot be there as it is here.
fn unfit(
    settings: &CatalogSettings,
    content: &ObjectContent,
    (asked, to): (&PromoteObjects, &CatalogSnapshot),
) -> Vec<WorkspaceProblem> {
    let PromoteObjects { from, to: there, .. } = asked;
    let file = stated_file(settings, content.kind, &content.name);
    let problem = |message: String, fix: String| WorkspaceProblem { file: file.clone(), line: 0, message, fix };
    let named = references(content).into_iter().filter(|named| named.kind == ObjectKind::Secret);
    let missing = named.filter(|named| to.named(ObjectKind::Secret, &named.name).is_none()).map(|named| {
        let message = format!("it asks for the secret {:?}, which the workspace {there:?} does not have", named.name);
        problem(message, format!("keep its value there: PUT /api/v1/secrets/{}?workspace={there}", named.name))
    });
    let mut problems: Vec<WorkspaceProblem> = missing.collect();
    if let Some(field) = (settings.masked_field)(&content.spec) {
        let message = format!("`{field}` holds a secret that is written down in a file of {from:?}, and stays there");
        let fix = "write `secret:NAME` for a secret that each workspace has a value of its own for";
        problems.push(problem(message, fix.to_owned()));
    }
    let sent = content.spec.get(settings.files_field);
    let named_file = (settings.named_file)(content.kind, &content.spec);
    if let Some(path) = named_file.filter(|path| sent.and_then(|sent| sent.get(path)).is_none()) {
        let message = format!("it names {path}, which was not sent with it and lies in the folder of {from:?}");
        let fix = "apply a folder that has the file, or write the object into the folder";
        problems.push(problem(message, fix.to_owned()));
    }
    problems
}

impl SharedApi {
    async fn snapshot_of(&self, workspace: &str) -> Result<CatalogSnapshot, ApiRefusal> {
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        snapshot.map_err(|error| self.refused(error))
    }

    /// Keeps the file that an object of an environment's folder names, so that it goes with the object. What is not a file of that
    /// folder is left out, and found to be missing later.
    async fn send_file(&self, object: &CatalogObject, want: &mut WantedObject) -> Result<(), ApiRefusal> {
        let settings = &self.settings.catalog;
        let named = (settings.named_file)(want.kind, &want.spec);
        let (Some(named), Some(engine)) = (named, self.settings.engines.get(&object.workspace)) else { return Ok(()) };
        let is_of_server = object.folder() == Some(ManagingFolder::Server);
        let stays = Path::new(&named).components().all(|part| matches!(part, Component::Normal(_) | Component::CurDir));
        if want.spec.get(settings.files_field).is_some() || !is_of_server || !stays {
            return Ok(());
        }
        let (folder, files) = (engine.folder.clone(), settings.files.clone());
        let path = folder.join(&named);
        let kept = blocking(move || keep_file(&folder, &path, &files)).await?;
        let sha256 = kept.map_err(|error| {
            let detail = format!("{named}, which {} {:?} names, could not be kept: {error}", want.kind, want.name);
            ApiRefusal::unprocessable("missing-files", detail, "put the file back, or mend what the message says")
        })?;
        if let Value::Object(fields) = &mut want.spec {
            fields.insert(settings.files_field.to_owned(), json!({ named: sha256 }));
        }
        Ok(())
    }
}

/// Keeps a file of a folder by its content; answers its SHA-256.
fn keep_file(folder: &Path, path: &Path, files: &Path) -> std::io::Result<String> {
    file::stays_within(folder, path)?;
    let content = file::read(path, BLOB_BYTES_MAX as u64)?;
    let sha256 = HEXLOWER.encode(&Sha256::digest(&content));
    keep(files, &sha256, &content)?;
    Ok(sha256)
}

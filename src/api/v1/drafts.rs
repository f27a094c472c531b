//! Drafts: changes that somebody else approves.

use axum::extract::State;
use hyper::StatusCode;
use tidegate_api_types::control::{
    ApproveDraft, ApproveQuery, DraftAction, DraftEdit, DraftQuery, Drafts, ProposeDraft, ShownDraft, ShownDraftState,
    ShownDraftedObject,
};
use tidegate_api_types::object::{ChangeDone, WorkspaceQuery};
use tidegate_api_types::path;
use tidegate_catalog::{
    Authority, CatalogChange, CatalogDraft, CatalogOrder, CatalogSnapshot, DraftDecision, DraftState, ObjectEdit,
    ObjectKind, RightsTarget, Verb, authorise,
};
use tidegate_event::time;

use super::apply::of_no_change;
use super::asker::{OfApi, Requester};
use super::permit::named_kind;
use super::refused::absent;
use super::shown::{done, fields, name};
use crate::api::SharedApi;
use crate::api::access::WORKSPACE_DEFAULT;
use crate::api::extract::{IdInPath, Json, Query};
use crate::api::refusal::ApiRefusal;
use crate::api::reload::{ALL_THAT_END, endings};

/// What a body says.
const EDITS_FIX: &str = "send `edits` such as [{\"action\": \"create\", \"kind\": \"lookup\", \"content\": {\"name\": …, \"spec\": {…}}}]; \
     to update takes `object` and `content`, to delete `object`";

type DraftAnswer<T> = Result<axum::Json<T>, ApiRefusal>;

/// The latest drafts of a workspace, newest first, at most 200: one's own, and those whose objects one may view.
#[utoipa::path(get, path = path::DRAFTS, tag = "drafts", operation_id = "list_drafts",
    params(DraftQuery), responses((status = 200, body = Drafts), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<DraftQuery>,
) -> DraftAnswer<Drafts> {
    let workspace = workspace(query.workspace.as_deref());
    let catalog = &shared.settings.catalog.catalog;
    let state = query.state.map(|state| match state {
        ShownDraftState::Open => DraftState::Open,
        ShownDraftState::Approved => DraftState::Approved,
        ShownDraftState::Declined => DraftState::Declined,
        ShownDraftState::Withdrawn => DraftState::Withdrawn,
    });
    let drafts = catalog.drafts(&workspace, state).await.map_err(|error| shared.refused(error))?;
    let snapshot = shared.touched(&asker, &workspace, &drafts).await?;
    let visible = drafts.into_iter().filter(|draft| is_visible(&asker, draft, &snapshot));
    let mut drafts: Vec<ShownDraft> = visible.map(shown).collect();
    shared.name_people(&mut drafts).await?;
    Ok(axum::Json(Drafts { drafts }))
}

/// One draft with what it would do, field by field.
#[utoipa::path(get, path = path::DRAFT, tag = "drafts", operation_id = "show_draft",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownDraft), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> DraftAnswer<ShownDraft> {
    let workspace = workspace(query.workspace.as_deref());
    let catalog = &shared.settings.catalog.catalog;
    let draft = catalog.draft(&workspace, &id).await.map_err(|error| shared.refused(error))?;
    let snapshot = shared.touched(&asker, &workspace, std::slice::from_ref(&draft)).await?;
    if is_visible(&asker, &draft, &snapshot) {
        shared.named(draft).await
    } else {
        Err(absent(format!("there is no draft {id:?}")))
    }
}

/// Proposes a change. Each edit counts for what its object is now.
#[utoipa::path(post, path = path::DRAFTS, tag = "drafts", operation_id = "propose_draft",
    params(WorkspaceQuery), request_body = ProposeDraft, responses((status = 200, body = ShownDraft), ApiRefusal))]
pub(super) async fn propose(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    Json(asked): Json<ProposeDraft>,
) -> DraftAnswer<ShownDraft> {
    asker.person()?;
    if asked.edits.is_empty() {
        let detail = "`edits` is empty, and a draft of nothing has nothing to approve";
        return Err(ApiRefusal::unprocessable("body", detail, EDITS_FIX).in_field("edits"));
    }
    let workspace = workspace(query.workspace.as_deref());
    let mut edits = Vec::with_capacity(asked.edits.len());
    for (at, edit) in asked.edits.into_iter().enumerate() {
        if let Some(content) = &edit.content {
            shared.refuse_unknown_blobs(&asker, &workspace, &content.spec).await?;
        }
        edits.push(shared.edit(&workspace, edit, at).await?);
    }
    let change = asker.change(&workspace, edits, false);
    let catalog = &shared.settings.catalog.catalog;
    // Whoever may not propose it hears that alone.
    if catalog.check_proposal(&change).await.is_ok() {
        shared.refuse_what_cannot_run(&change).await?;
    }
    let draft = catalog.propose(&asked.title, &change).await;
    shared.named(draft.map_err(|error| shared.refused(error))?).await
}

/// Makes the change of a draft, with the rights of whoever approves it, who is not its author. Where events wait for syncs that end by it,
/// the body says by their names what becomes of them, or `drain` or `abandon` of the query of all of them.
#[utoipa::path(post, path = path::DRAFT_APPROVE, tag = "drafts", operation_id = "approve_draft",
    params(("name" = String, Path), ApproveQuery), request_body = ApproveDraft, responses((status = 200, body = ChangeDone), ApiRefusal))]
pub(super) async fn approve(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(ApproveQuery { workspace, drain, abandon }): Query<ApproveQuery>,
    Json(named): Json<ApproveDraft>,
) -> DraftAnswer<ChangeDone> {
    let with_all = |mut names: Vec<String>, is_asked: bool| {
        names.extend(is_asked.then(|| ALL_THAT_END.to_owned()));
        names
    };
    let decision = decision(&asker, id, &WorkspaceQuery { workspace })?;
    shared.refuse_to_give_up_others(&asker, &decision, &named.abandon).await?;
    let endings = endings(with_all(named.drain, drain), with_all(named.abandon, abandon))?;
    let ordered = shared.execute_with(CatalogOrder::Approve(decision), endings, false).await?;
    Ok(axum::Json(done(ordered.committed, false)))
}

/// Ends a draft without its change: its author takes it back, or somebody who could approve it turns it down.
#[utoipa::path(post, path = path::DRAFT_CLOSE, tag = "drafts", operation_id = "close_draft",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownDraft), ApiRefusal))]
pub(super) async fn close(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> DraftAnswer<ShownDraft> {
    let decision = decision(&asker, id, &query)?;
    let catalog = &shared.settings.catalog.catalog;
    catalog.close_draft(&decision).await.map_err(|error| shared.refused(error))?;
    let draft = catalog.draft(&decision.workspace, &decision.id).await;
    shared.named(draft.map_err(|error| shared.refused(error))?).await
}

impl SharedApi {
    /// A draft as it is shown, with the names of who proposed and decided it.
    async fn named(&self, draft: CatalogDraft) -> DraftAnswer<ShownDraft> {
        let mut draft = shown(draft);
        self.name_people(std::slice::from_mut(&mut draft)).await?;
        Ok(axum::Json(draft))
    }

    async fn name_people(&self, drafts: &mut [ShownDraft]) -> Result<(), ApiRefusal> {
        let decided = drafts.iter().filter_map(|draft| draft.decided_by.as_deref());
        let ids = drafts.iter().map(|draft| draft.author.as_str()).chain(decided).collect();
        let names = self.names_of(ids).await?;
        for draft in drafts {
            draft.author_name = names.of(Some(&draft.author));
            draft.decided_by_name = names.of(draft.decided_by.as_deref());
        }
        Ok(())
    }

    /// What cannot run would be refused to whoever approves, and is told to the author. That events wait, or that something else is being
    /// changed, is another matter by then.
    async fn refuse_what_cannot_run(&self, change: &CatalogChange) -> Result<(), ApiRefusal> {
        let change = CatalogChange { authority: Authority::Program, ..change.clone() };
        match self.execute(CatalogOrder::Change(change), true).await {
            Err(refusal) if refusal.status() == StatusCode::UNPROCESSABLE_ENTITY => Err(refusal),
            _ => Ok(()),
        }
    }

    /// Refuses to give up what a draft does not touch, but to admins: a sync that drains is in no catalog any more, and nobody has rights on it.
    async fn refuse_to_give_up_others(
        &self,
        asker: &Requester,
        decision: &DraftDecision,
        abandoned: &[String],
    ) -> Result<(), ApiRefusal> {
        if abandoned.is_empty() || asker.is_admin(&decision.workspace) {
            return Ok(());
        }
        let draft = self.settings.catalog.catalog.draft(&decision.workspace, &decision.id).await;
        let draft = draft.map_err(|error| self.refused(error))?;
        let touches = |name: &str| {
            let ends = |kind| matches!(kind, ObjectKind::Sync | ObjectKind::Source);
            draft.objects.iter().any(|object| ends(object.kind) && object.name == name)
        };
        match abandoned.iter().find(|name| !touches(name)) {
            Some(name) => Err(of_no_change(name, "the draft")),
            None => Ok(()),
        }
    }

    /// The objects that say whether drafts may be seen; none where that is known without them.
    async fn touched(
        &self,
        asker: &Requester,
        workspace: &str,
        drafts: &[CatalogDraft],
    ) -> Result<CatalogSnapshot, ApiRefusal> {
        if drafts.iter().all(|draft| is_at_once_visible(asker, draft)) {
            return Ok(CatalogSnapshot::default());
        }
        self.settings.catalog.catalog.snapshot(workspace, None).await.map_err(|error| self.refused(error))
    }

    async fn edit(&self, workspace: &str, edit: DraftEdit, at: usize) -> Result<ObjectEdit, ApiRefusal> {
        let kind = named_kind(&edit.kind)?;
        let lacks = |field: &str| {
            let detail = format!("edit {at} lacks `{field}`");
            ApiRefusal::unprocessable("body", detail, EDITS_FIX).in_field(format!("edits[{at}].{field}"))
        };
        let content = edit.content.map(|content| self.content(kind, content)).transpose()?;
        if edit.action == DraftAction::Create {
            let id = self.settings.catalog.catalog.new_id(kind);
            return Ok(ObjectEdit::Create { id, content: content.ok_or_else(|| lacks("content"))? });
        }
        let named = edit.object.ok_or_else(|| lacks("object"))?;
        let id = self.object(workspace, kind, &named).await?.id;
        match edit.action {
            DraftAction::Delete => Ok(ObjectEdit::Delete { id, expected: None }),
            _ => Ok(ObjectEdit::Update { id, expected: None, content: content.ok_or_else(|| lacks("content"))? }),
        }
    }
}

fn workspace(asked: Option<&str>) -> String {
    asked.unwrap_or(WORKSPACE_DEFAULT).to_owned()
}

fn decision(asker: &Requester, id: String, query: &WorkspaceQuery) -> Result<DraftDecision, ApiRefusal> {
    Ok(DraftDecision {
        workspace: workspace(query.workspace.as_deref()),
        id,
        by: asker.person()?,
        actor: asker.actor.clone(),
        at_us: asker.at_us,
    })
}

/// Whether a draft is somebody's own, or nobody is asked about.
fn is_at_once_visible(asker: &Requester, draft: &CatalogDraft) -> bool {
    asker.acting().is_none_or(|acting| [&acting.id, &acting.person].contains(&&draft.author))
}

/// Whether somebody may see a draft: it is theirs, or they may view everything that it touches.
fn is_visible(asker: &Requester, draft: &CatalogDraft, snapshot: &CatalogSnapshot) -> bool {
    let Some(acting) = asker.acting().filter(|_| !is_at_once_visible(asker, draft)) else { return true };
    draft.edits.iter().all(|edit| {
        let there = edit.id().and_then(|id| snapshot.objects.iter().find(|object| object.id == *id));
        let target = match (there, edit.content()) {
            (Some(object), _) => RightsTarget::of(object, |kind, name| snapshot.named(kind, name)),
            (None, Some(content)) => {
                RightsTarget::of_new(&draft.workspace, content, |kind, name| snapshot.named(kind, name))
            }
            (None, None) => RightsTarget::of_workspace(&draft.workspace),
        };
        authorise(acting, Verb::View.into(), &target).is_ok()
    })
}

fn shown(draft: CatalogDraft) -> ShownDraft {
    let state = match draft.state {
        DraftState::Open => ShownDraftState::Open,
        DraftState::Approved => ShownDraftState::Approved,
        DraftState::Declined => ShownDraftState::Declined,
        DraftState::Withdrawn => ShownDraftState::Withdrawn,
    };
    let objects = draft.objects.into_iter().map(|object| ShownDraftedObject {
        kind: object.kind.name().to_owned(),
        name: object.name,
        action: object.action,
        fields: fields(object.fields),
    });
    ShownDraft {
        id: draft.id,
        workspace: draft.workspace,
        title: draft.title,
        author: draft.author.to_string(),
        author_name: None,
        state,
        base_revision: draft.base_revision,
        objects: objects.collect(),
        proposed_at: time::format(draft.proposed_at_us),
        decided_by: draft.decided_by.map(String::from),
        decided_by_name: None,
        decided_at: draft.decided_at_us.map(time::format),
        revision: draft.revision,
        stale: draft.stale.map(|(kind, of)| name(kind, &of)),
    }
}

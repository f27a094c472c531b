//! Drafts: changes that are proposed, shown field by field, and made when somebody else who may make them approves.

mod row;

use serde_json::json;

pub use row::{CatalogDraft, DraftState, DraftedObject};

use self::row::DRAFT_COLUMNS;
use crate::audit::{Actor, Attempt, AuditRecord, AuditResult, append};
use crate::catalog::Catalog;
use crate::commit::{Authority, CatalogChange, Committed, ObjectEdit, PreparedChange, SettledEdit, apply, prepare};
use crate::entropy::base62;
use crate::error::CatalogError;
use crate::fields::field_changes;
use crate::object::{ObjectId, ObjectKind};
use crate::read::directory;
use crate::store::{CatalogTransaction, StoreAccess};

const TITLE_CHARS_MAX: usize = 200;
const EDITS_MAX: usize = 1_000;
/// Drafts of one page.
const PAGE_MAX: usize = 200;

/// Who decides a draft, and when.
#[derive(Debug, Clone)]
pub struct DraftDecision {
    pub workspace: String,
    /// Of the draft.
    pub id: String,
    /// A user, or a token in a user's name.
    pub by: ObjectId,
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

impl Catalog {
    /// Keeps a change for somebody else to approve. It meets everything that a change must meet; of the author it takes the right to
    /// propose it. Each edit counts for the revision that its object has now.
    ///
    /// # Errors
    /// The change could not be made as it is, or may not be proposed.
    pub async fn propose(&self, title: &str, change: &CatalogChange) -> Result<CatalogDraft, CatalogError> {
        let found = change.edits.len();
        if found > EDITS_MAX {
            return Err(CatalogError::TooMany { what: "edits of one draft", found, max: EDITS_MAX });
        }
        let Authority::Principal(author) = &change.authority else {
            return Err(CatalogError::Nothing { what: "author of the draft".to_owned() });
        };
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = self.propose_in(transaction.as_mut(), title, change, author).await;
        let attempt = attempt(&change.actor, change.at_us, &change.workspace, "draft_proposed");
        self.conclude(transaction, outcome, attempt).await
    }

    /// Whether a change may be proposed, and holds against everything that is asked of it then. Nothing is kept.
    ///
    /// # Errors
    /// Why it would not be kept.
    pub async fn check_proposal(&self, change: &CatalogChange) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        prepare(transaction.as_mut(), change, true).await.map(drop)
    }

    async fn propose_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        title: &str,
        change: &CatalogChange,
        author: &ObjectId,
    ) -> Result<CatalogDraft, CatalogError> {
        let prepared = prepare(transaction, change, true).await?;
        let draft = CatalogDraft {
            id: format!("drf_{}", base62(self.entropy(), 20)),
            workspace: change.workspace.clone(),
            author: author.clone(),
            title: title.chars().filter(|c| !c.is_control()).take(TITLE_CHARS_MAX).collect(),
            base_revision: prepared.base,
            edits: pinned(&change.edits, &prepared),
            objects: drafted(self, &prepared),
            state: DraftState::Open,
            proposed_at_us: change.at_us,
            decided_by: None,
            decided_at_us: None,
            revision: None,
            stale: None,
        };
        row::insert(transaction, &draft).await?;
        let record = record(&draft, "draft_proposed", AuditResult::Done);
        append(transaction, self.keys(), &change.actor, change.at_us, vec![record]).await?;
        Ok(draft)
    }

    /// A draft as it is now, with whether an object of it has changed since.
    ///
    /// # Errors
    /// There is no such draft.
    pub async fn draft(&self, workspace: &str, id: &str) -> Result<CatalogDraft, CatalogError> {
        read(self.begin(StoreAccess::Read).await?.as_mut(), workspace, id).await
    }

    /// The latest drafts of a workspace, newest first, at most 200.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn drafts(&self, workspace: &str, state: Option<DraftState>) -> Result<Vec<CatalogDraft>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = format!(
            "SELECT {DRAFT_COLUMNS} FROM draft WHERE workspace = $1 AND (state = $2 OR $2 = '') \
             ORDER BY proposed_at_us DESC, id LIMIT {PAGE_MAX}"
        );
        let state = state.map_or("", DraftState::name);
        let rows = transaction.run(&sql, vec![workspace.into(), state.into()]).await?;
        let mut drafts: Vec<CatalogDraft> = rows.iter().map(row::read).collect::<Result<_, _>>()?;
        for draft in &mut drafts {
            draft.stale = stale(transaction.as_mut(), draft).await?;
        }
        Ok(drafts)
    }

    /// Makes the change of a draft, with the rights of who approves it.
    ///
    /// # Errors
    /// It is decided already or stale, it is the approver's own, or they may not make the change. Nothing was changed.
    pub async fn approve_draft(&self, decision: &DraftDecision) -> Result<Committed, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = self.approve_in(transaction.as_mut(), decision).await;
        let attempt = attempt(&decision.actor, decision.at_us, &decision.workspace, "draft_approved");
        self.conclude(transaction, outcome, attempt).await
    }

    pub(crate) async fn approve_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        decision: &DraftDecision,
    ) -> Result<Committed, CatalogError> {
        let draft = open(transaction, decision).await?;
        let directory = directory(transaction).await?;
        let approver = directory.principal(&decision.by, decision.at_us)?;
        let author = directory.principal(&draft.author, decision.at_us);
        if approver.person == draft.author || author.is_ok_and(|author| author.person == approver.person) {
            return Err(CatalogError::OwnDraft);
        }
        if let Some((kind, name)) = draft.stale.clone() {
            return Err(CatalogError::DraftStale { id: draft.id, kind, name });
        }
        let change = CatalogChange {
            actor: decision.actor.clone(),
            ..CatalogChange::by(&decision.by, &draft.workspace, draft.edits.clone(), decision.at_us)
        };
        let committed = apply(self, transaction, &change).await?;
        row::decide(transaction, &draft.id, DraftState::Approved, decision, Some(committed.revision)).await?;
        let record = record(&draft, "draft_approved", AuditResult::Done);
        append(transaction, self.keys(), &decision.actor, decision.at_us, vec![record]).await?;
        Ok(committed)
    }

    /// Ends a draft without making its change: its author takes it back, or somebody who could approve it turns it down.
    ///
    /// # Errors
    /// It is decided already, or who asks may do neither.
    pub async fn close_draft(&self, decision: &DraftDecision) -> Result<DraftState, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = self.close_in(transaction.as_mut(), decision).await;
        let attempt = attempt(&decision.actor, decision.at_us, &decision.workspace, "draft_closed");
        self.conclude(transaction, outcome, attempt).await
    }

    async fn close_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        decision: &DraftDecision,
    ) -> Result<DraftState, CatalogError> {
        let draft = open(transaction, decision).await?;
        let closer = directory(transaction).await?.principal(&decision.by, decision.at_us)?;
        let state = if [&closer.id, &closer.person].contains(&&draft.author) {
            DraftState::Withdrawn
        } else {
            // Stale or not: only the rights count.
            let edits = draft.edits.iter().map(without_expected).collect();
            let change = CatalogChange::by(&decision.by, &draft.workspace, edits, decision.at_us);
            if let Err(error @ CatalogError::Denied(_)) = prepare(transaction, &change, false).await {
                return Err(error);
            }
            DraftState::Declined
        };
        row::decide(transaction, &draft.id, state, decision, None).await?;
        let record = record(&draft, "draft_closed", AuditResult::Done);
        append(transaction, self.keys(), &decision.actor, decision.at_us, vec![record]).await?;
        Ok(state)
    }
}

const fn attempt<'a>(actor: &'a Actor, at_us: i64, workspace: &'a str, action: &'a str) -> Attempt<'a> {
    Attempt { actor, at_us, workspace, action, kind: None, object: None, name: None }
}

async fn read(
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
    id: &str,
) -> Result<CatalogDraft, CatalogError> {
    let sql = format!("SELECT {DRAFT_COLUMNS} FROM draft WHERE id = $1 AND workspace = $2");
    let found = transaction.run(&sql, vec![id.into(), workspace.into()]).await?;
    let absent = || CatalogError::Nothing { what: format!("draft {id:?}") };
    let mut draft = row::read(found.first().ok_or_else(absent)?)?;
    draft.stale = stale(transaction, &draft).await?;
    Ok(draft)
}

async fn open(
    transaction: &mut dyn CatalogTransaction,
    decision: &DraftDecision,
) -> Result<CatalogDraft, CatalogError> {
    let draft = read(transaction, &decision.workspace, &decision.id).await?;
    match draft.state {
        DraftState::Open => Ok(draft),
        state => Err(CatalogError::DraftDecided { id: draft.id, state: state.name() }),
    }
}

/// The first object of an open draft that is not as it was when the draft was proposed.
async fn stale(
    transaction: &mut dyn CatalogTransaction,
    draft: &CatalogDraft,
) -> Result<Option<(ObjectKind, String)>, CatalogError> {
    if draft.state != DraftState::Open {
        return Ok(None);
    }
    for (edit, object) in draft.edits.iter().zip(&draft.objects) {
        let (Some(id), Some(expected)) = (edit.id(), edit.expected()) else { continue };
        let sql = "SELECT revision FROM living WHERE id = $1";
        let found = transaction.run(sql, vec![id.as_str().into()]).await?;
        let revision = found.first().map(|row| row.unsigned(0)).transpose()?;
        if revision != Some(expected) {
            return Ok(Some((object.kind, object.name.clone())));
        }
    }
    Ok(None)
}

/// The edits for the revisions that the objects have now, with the owners that they would get.
fn pinned(edits: &[ObjectEdit], prepared: &PreparedChange) -> Vec<ObjectEdit> {
    let pin = |(edit, settled): (&ObjectEdit, &SettledEdit)| {
        let now = settled.before.as_ref().map(|object| object.revision);
        let mut edit = edit.clone();
        match &mut edit {
            ObjectEdit::Create { content, .. } => {
                content.owner = settled.after.as_ref().and_then(|object| object.content.owner.clone());
            }
            ObjectEdit::Update { expected, .. }
            | ObjectEdit::Delete { expected, .. }
            | ObjectEdit::Adopt { expected, .. }
            | ObjectEdit::Release { expected, .. }
            | ObjectEdit::Pause { expected, .. } => *expected = now,
        }
        edit
    };
    edits.iter().zip(&prepared.settled).map(pin).collect()
}

fn without_expected(edit: &ObjectEdit) -> ObjectEdit {
    let mut edit = edit.clone();
    match &mut edit {
        ObjectEdit::Create { .. } => {}
        ObjectEdit::Update { expected, .. }
        | ObjectEdit::Delete { expected, .. }
        | ObjectEdit::Adopt { expected, .. }
        | ObjectEdit::Release { expected, .. }
        | ObjectEdit::Pause { expected, .. } => *expected = None,
    }
    edit
}

/// What the draft would do, as it is shown to who decides: secrets are fingerprints.
fn drafted(catalog: &Catalog, prepared: &PreparedChange) -> Vec<DraftedObject> {
    let shown = prepared.settled.iter().filter_map(|edit| {
        let (before, after) = (edit.before.as_ref(), edit.after.as_ref());
        let object = after.or(before)?;
        let fields = field_changes(before.map(|object| &object.content), after.map(|object| &object.content));
        let (kind, name, action) = (object.content.kind, object.content.name.clone(), edit.done.to_owned());
        Some(DraftedObject { kind, name, action, fields: catalog.masked(fields) })
    });
    shown.collect()
}

fn record(draft: &CatalogDraft, action: &str, result: AuditResult) -> AuditRecord {
    let objects = draft.objects.iter().map(|object| json!({ "kind": object.kind, "name": object.name }));
    let objects: Vec<_> = objects.collect();
    AuditRecord {
        workspace: draft.workspace.clone(),
        action: action.to_owned(),
        kind: None,
        object: None,
        name: Some(draft.id.clone()),
        result,
        revision: None,
        detail: json!({ "title": draft.title, "author": draft.author, "objects": objects }),
    }
}

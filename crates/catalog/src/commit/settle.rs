//! What each edit comes to: the object before and after it.

use std::collections::BTreeSet;

use super::edit::{Authority, CatalogChange, ChangeOrigin, CommittedObject, EditDone, ObjectEdit};
use super::loaded::LoadedObjects;
use super::of_content;
use crate::error::CatalogError;
use crate::object::{CatalogObject, ContentProblem, ManagedBy, ManagingFolder, ObjectContent, ObjectId, ObjectKind};
use crate::rights::TokenSpec;
use crate::specs::check_spec;
use crate::store::CatalogTransaction;

/// An edit with the object before and after. Both are there when it is updated.
pub(crate) struct SettledEdit {
    pub(crate) before: Option<CatalogObject>,
    pub(crate) after: Option<CatalogObject>,
    pub(crate) done: &'static str,
    pub(super) expected: Option<u64>,
}

impl SettledEdit {
    /// Whether there is something to write.
    pub(super) fn differs(&self) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => {
                let is_same = before.content == after.content
                    && before.folder() == after.folder()
                    && before.is_paused == after.is_paused;
                // What a folder says again of an object that has drifted settles it.
                let is_settled = !before.is_drifted() || before.managed_by == after.managed_by;
                !(is_same && is_settled)
            }
            _ => true,
        }
    }

    /// Either of both.
    pub(super) fn object(&self) -> Option<&CatalogObject> {
        self.after.as_ref().or(self.before.as_ref())
    }

    /// For the revision of the change.
    pub(super) fn committed(&self, revision: u64) -> Option<CommittedObject> {
        let object = self.object()?;
        let (done, revision) = match (&self.before, &self.after) {
            (Some(before), Some(_)) if !self.differs() => (EditDone::Unchanged, before.revision),
            (None, _) => (EditDone::Created, revision),
            (Some(_), Some(_)) => (EditDone::Updated, revision),
            (Some(_), None) => (EditDone::Deleted, revision),
        };
        let (kind, name) = (object.content.kind, object.content.name.clone());
        Some(CommittedObject { id: object.id.clone(), kind, name, revision, done })
    }
}

/// Settles every edit for the revision that the change would make.
pub(super) async fn settle(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    loaded: &mut LoadedObjects,
    revision: u64,
) -> Result<Vec<SettledEdit>, CatalogError> {
    let (mut settled, mut ids) = (Vec::with_capacity(change.edits.len()), BTreeSet::new());
    let maker = maker(transaction, &change.authority).await?;
    for edit in &change.edits {
        let Some(id) = edit.id() else { continue };
        if !ids.insert(id.clone()) {
            return Err(CatalogError::Twice { id: id.clone() });
        }
        let before = loaded.id(transaction, id).await?;
        let before = match (edit, before) {
            (ObjectEdit::Create { .. }, None) => None,
            (ObjectEdit::Create { .. }, Some(_)) => return Err(CatalogError::Twice { id: id.clone() }),
            (_, Some(before)) => Some(before),
            (_, None) => return Err(CatalogError::Absent { workspace: change.workspace.clone(), id: id.clone() }),
        };
        let after = after(change, edit, before.as_ref(), (revision, maker.as_ref()));
        settled.push(SettledEdit { before, after, done: edit.done(), expected: edit.expected() });
    }
    Ok(settled)
}

fn after(
    change: &CatalogChange,
    edit: &ObjectEdit,
    before: Option<&CatalogObject>,
    (revision, maker): (u64, Option<&ObjectId>),
) -> Option<CatalogObject> {
    let applied = |folder| ManagedBy::Folder { applied_revision: revision, folder };
    let was_managed_by = before.map_or(ManagedBy::Nobody, |before| before.managed_by);
    let (content, managed_by) = match edit {
        ObjectEdit::Delete { .. } => return None,
        ObjectEdit::Adopt { .. } => (
            before?.content.clone(),
            if before?.is_managed() { was_managed_by } else { applied(ManagingFolder::Server) },
        ),
        ObjectEdit::Release { .. } => (before?.content.clone(), ManagedBy::Nobody),
        ObjectEdit::Pause { .. } => {
            let before = before?;
            // It says what its files say as before.
            let of_folder = before.folder().filter(|_| !before.is_drifted());
            (before.content.clone(), of_folder.map_or(was_managed_by, applied))
        }
        ObjectEdit::Create { content, .. } | ObjectEdit::Update { content, .. } => {
            (content.clone(), change.origin.folder().map_or(was_managed_by, applied))
        }
    };
    let is_paused = match edit {
        ObjectEdit::Pause { is_paused, .. } => *is_paused,
        _ => before.is_some_and(|before| before.is_paused),
    };
    Some(CatalogObject {
        id: edit.id()?.clone(),
        workspace: change.workspace.clone(),
        content: owned(content, before, maker),
        created_at_us: before.map_or(change.at_us, |before| before.created_at_us),
        updated_at_us: change.at_us,
        revision,
        managed_by,
        is_paused,
    })
}

/// Whoever makes an object owns it, unless they say who does.
fn owned(mut content: ObjectContent, before: Option<&CatalogObject>, maker: Option<&ObjectId>) -> ObjectContent {
    if content.owner.is_none() {
        content.owner = match before {
            Some(before) => before.content.owner.clone(),
            None => maker.cloned(),
        };
    }
    content
}

/// Who makes what a change makes. The token of a sign-in ends soon; its person stays.
async fn maker(
    transaction: &mut dyn CatalogTransaction,
    authority: &Authority,
) -> Result<Option<ObjectId>, CatalogError> {
    let Authority::Principal(id) = authority else { return Ok(None) };
    if id.kind() != ObjectKind::Token {
        return Ok(Some(id.clone()));
    }
    let found = transaction.run("SELECT spec FROM object WHERE id = $1", vec![id.as_str().into()]).await?;
    let spec = found.first().map(|row| row.text(0)).transpose()?.unwrap_or_default();
    let token = serde_json::from_str::<TokenSpec>(&spec).ok().filter(TokenSpec::stands_for_person);
    Ok(Some(token.map_or_else(|| id.clone(), |token| token.maker)))
}

/// What each edit must meet by itself: its revision, its content, and that no folder manages the object.
pub(super) fn check(change: &CatalogChange, edit: &SettledEdit) -> Result<(), CatalogError> {
    if let (Some(before), Some(expected)) = (&edit.before, edit.expected)
        && before.revision != expected
    {
        let (kind, name, id) = (before.content.kind, before.content.name.clone(), before.id.clone());
        return Err(CatalogError::Conflict { kind, name, id, expected, found: before.revision });
    }
    if let Some(after) = &edit.after {
        let checked = after.content.check(&change.workspace).and_then(|()| check_spec(&after.content));
        checked.map_err(|problem| of_content(&after.content, problem))?;
        check_id(after, edit.before.as_ref())?;
        check_pause(after, edit.done)?;
    }
    let is_of_api = change.origin == ChangeOrigin::Api { is_forced: false };
    let is_of_no_file = matches!(edit.done, "adopted" | "released" | "paused" | "resumed");
    match &edit.before {
        Some(before) if before.is_managed() && is_of_api && !is_of_no_file && edit.differs() => {
            Err(CatalogError::Managed { kind: before.content.kind, name: before.content.name.clone() })
        }
        _ => Ok(()),
    }
}

/// What takes events in or passes them on stops and goes on; nothing else does.
fn check_pause(after: &CatalogObject, done: &str) -> Result<(), CatalogError> {
    let may_stop = matches!(after.content.kind, ObjectKind::Source | ObjectKind::Sync | ObjectKind::Destination);
    if may_stop || !matches!(done, "paused" | "resumed") {
        return Ok(());
    }
    let problem = "sources, syncs and destinations can be paused, and nothing else".to_owned();
    Err(of_content(&after.content, ContentProblem::Spec { field: "kind".to_owned(), problem }))
}

/// The kind is told by the id, and stays.
fn check_id(after: &CatalogObject, before: Option<&CatalogObject>) -> Result<(), CatalogError> {
    let (kind, problem) = (after.content.kind, |problem: &str| {
        let problem = ContentProblem::Spec { field: "kind".to_owned(), problem: problem.to_owned() };
        of_content(&after.content, problem)
    });
    if after.id.kind() != kind {
        return Err(problem("its id is of another kind"));
    }
    let has_fixed_name = kind == ObjectKind::Secret;
    match before {
        Some(before) if has_fixed_name && before.content.name != after.content.name => {
            Err(problem("a secret keeps its name, which its value is sealed with; make another one"))
        }
        _ => Ok(()),
    }
}

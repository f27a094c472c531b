//! Changing the catalog: a list of edits, all or nothing, in one transaction with the audit entries that tell of it.

mod apply;
mod edit;
mod idempotency;
mod loaded;
mod settle;
mod write;

pub use edit::{
    Authority, CatalogChange, ChangeOrigin, Committed, CommittedObject, EditDone, IdempotencyKey, ObjectEdit,
};

use crate::audit::Attempt;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{ContentProblem, ObjectContent, ObjectId, ObjectKind};
use crate::store::StoreAccess;

pub(crate) use apply::{PreparedChange, apply, prepare};
pub(crate) use settle::SettledEdit;

impl Catalog {
    /// Makes a change. What the answer tells is on disk. A denial is in the audit log as well.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn commit(&self, change: &CatalogChange) -> Result<Committed, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = apply(self, transaction.as_mut(), change).await;
        let named = change.edits.first().filter(|_| change.edits.len() == 1);
        let content = named.and_then(ObjectEdit::content);
        let id = named.and_then(ObjectEdit::id);
        let attempt = Attempt {
            actor: &change.actor,
            at_us: change.at_us,
            workspace: &change.workspace,
            action: named.map_or("changed", ObjectEdit::done),
            kind: id.map(ObjectId::kind),
            object: id,
            name: content.map(|content| content.name.as_str()),
        };
        self.conclude(transaction, outcome, attempt).await
    }

    /// What a change would do; nothing is changed, and nothing is in the audit log.
    ///
    /// # Errors
    /// Why the change would not be made.
    pub async fn dry_run(&self, change: &CatalogChange) -> Result<Committed, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        apply(self, transaction.as_mut(), change).await
    }

    /// A new id for an object that is about to be made.
    #[must_use]
    pub fn new_id(&self, kind: ObjectKind) -> ObjectId {
        ObjectId::new(kind, self.entropy())
    }
}

/// A problem of an object's content, with its name.
pub(crate) fn of_content(content: &ObjectContent, problem: ContentProblem) -> CatalogError {
    CatalogError::Content { kind: content.kind, name: content.name.clone(), problem }
}

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

use crate::audit::{AuditRecord, AuditResult};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{ContentProblem, ObjectContent, ObjectId, ObjectKind};
use crate::rights::Denial;
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
        match apply(self, transaction.as_mut(), change).await {
            Ok(committed) => {
                transaction.commit().await?;
                Ok(committed)
            }
            Err(error) => {
                drop(transaction);
                if let CatalogError::Denied(denial) = &error {
                    self.record_denial(change, denial).await?;
                }
                Err(error)
            }
        }
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

    async fn record_denial(&self, change: &CatalogChange, denial: &Denial) -> Result<(), CatalogError> {
        let named = change.edits.first().filter(|_| change.edits.len() == 1);
        let content = named.and_then(ObjectEdit::content);
        let record = AuditRecord {
            workspace: change.workspace.clone(),
            action: named.map_or("changed", ObjectEdit::done).to_owned(),
            kind: content.map(|content| content.kind),
            object: named.and_then(ObjectEdit::id).cloned(),
            name: content.map(|content| content.name.clone()),
            result: AuditResult::Denied,
            revision: None,
            detail: serde_json::json!({ "missing": denial.missing.to_string() }),
        };
        self.record(&change.actor, change.at_us, record).await
    }
}

/// A problem of an object's content, with its name.
pub(crate) fn of_content(content: &ObjectContent, problem: ContentProblem) -> CatalogError {
    CatalogError::Content { kind: content.kind, name: content.name.clone(), problem }
}

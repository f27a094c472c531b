//! The end of what somebody tried to change: committed, or undone and, when it was denied, in the log.

use serde_json::json;

use super::entry::{Actor, AuditRecord, AuditResult};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::{ObjectId, ObjectKind};
use crate::store::CatalogTransaction;

/// What was tried.
pub(crate) struct Attempt<'a> {
    pub(crate) actor: &'a Actor,
    pub(crate) at_us: i64,
    pub(crate) workspace: &'a str,
    /// As for an entry: a verb in the past.
    pub(crate) action: &'a str,
    pub(crate) kind: Option<ObjectKind>,
    pub(crate) object: Option<&'a ObjectId>,
    pub(crate) name: Option<&'a str>,
}

impl Catalog {
    /// Commits what was done. Otherwise nothing of it is kept but that it was denied.
    pub(crate) async fn conclude<T>(
        &self,
        transaction: Box<dyn CatalogTransaction>,
        outcome: Result<T, CatalogError>,
        attempt: Attempt<'_>,
    ) -> Result<T, CatalogError> {
        if outcome.is_ok() {
            transaction.commit().await?;
            return outcome;
        }
        drop(transaction);
        if let Err(CatalogError::Denied(denial)) = &outcome {
            let record = AuditRecord {
                workspace: attempt.workspace.to_owned(),
                action: attempt.action.to_owned(),
                kind: attempt.kind,
                object: attempt.object.cloned(),
                name: attempt.name.map(str::to_owned),
                result: AuditResult::Denied,
                revision: None,
                detail: json!({ "missing": denial.missing.to_string() }),
            };
            self.record(attempt.actor, attempt.at_us, record).await?;
        }
        outcome
    }
}

//! Changes of every form as one value, and what would come of them: for a server that makes sure first that what a change
//! leads to can run.

use crate::audit::Attempt;
use crate::catalog::Catalog;
use crate::commit::{CatalogChange, Committed, ObjectEdit, apply};
use crate::draft::DraftDecision;
use crate::error::CatalogError;
use crate::object::{CatalogSnapshot, ObjectId, ObjectKind};
use crate::read::snapshot;
use crate::secret::SecretWrite;
use crate::store::{CatalogTransaction, StoreAccess};

/// Something that changes the catalog.
#[derive(Debug, Clone)]
pub enum CatalogOrder {
    Change(CatalogChange),
    /// The change of a draft.
    Approve(DraftDecision),
    /// The value of a secret.
    Write(SecretWrite),
}

/// What an order would come to.
#[derive(Debug, Clone, PartialEq)]
pub struct OrderPreview {
    pub committed: Committed,
    /// Its workspace as it would be.
    pub snapshot: CatalogSnapshot,
}

impl CatalogOrder {
    /// The workspace that it changes.
    #[must_use]
    pub fn workspace(&self) -> &str {
        match self {
            Self::Change(change) => &change.workspace,
            Self::Approve(decision) => &decision.workspace,
            Self::Write(write) => &write.workspace,
        }
    }

    fn attempt(&self) -> Attempt<'_> {
        match self {
            Self::Change(change) => {
                let named = change.edits.first().filter(|_| change.edits.len() == 1);
                let id = named.and_then(ObjectEdit::id);
                Attempt {
                    actor: &change.actor,
                    at_us: change.at_us,
                    workspace: &change.workspace,
                    action: named.map_or("changed", ObjectEdit::done),
                    kind: id.map(ObjectId::kind),
                    object: id,
                    name: named.and_then(ObjectEdit::content).map(|content| content.name.as_str()),
                }
            }
            Self::Approve(decision) => Attempt {
                actor: &decision.actor,
                at_us: decision.at_us,
                workspace: &decision.workspace,
                action: "draft_approved",
                kind: None,
                object: None,
                name: None,
            },
            Self::Write(write) => Attempt {
                actor: &write.actor,
                at_us: write.at_us,
                workspace: &write.workspace,
                action: "updated",
                kind: Some(ObjectKind::Secret),
                object: None,
                name: Some(&write.name),
            },
        }
    }
}

impl Catalog {
    /// What an order would do. Nothing is changed; a denial is in the audit log.
    ///
    /// # Errors
    /// Why the order would not be carried out.
    pub async fn preview(&self, order: &CatalogOrder) -> Result<OrderPreview, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        match self.preview_in(transaction.as_mut(), order).await {
            // The transaction ends without a commit.
            Ok(preview) => Ok(preview),
            Err(error) => self.conclude(transaction, Err(error), order.attempt()).await,
        }
    }

    /// Carries an order out. What the answer tells is on disk.
    ///
    /// # Errors
    /// Nothing was changed, and why.
    pub async fn execute(&self, order: &CatalogOrder) -> Result<Committed, CatalogError> {
        match order {
            CatalogOrder::Change(change) => self.commit(change).await,
            CatalogOrder::Approve(decision) => self.approve_draft(decision).await,
            CatalogOrder::Write(write) => self.set_secret(write).await,
        }
    }

    async fn preview_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        order: &CatalogOrder,
    ) -> Result<OrderPreview, CatalogError> {
        let committed = match order {
            CatalogOrder::Change(change) => apply(self, transaction, change).await?,
            CatalogOrder::Approve(decision) => self.approve_in(transaction, decision).await?,
            CatalogOrder::Write(write) => self.set_secret_in(transaction, write).await?,
        };
        let snapshot = snapshot(transaction, order.workspace()).await?;
        Ok(OrderPreview { committed, snapshot })
    }
}

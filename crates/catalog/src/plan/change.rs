//! A plan as a change of the catalog.

use super::{CatalogPlan, PlannedChange};
use crate::audit::Actor;
use crate::catalog::Catalog;
use crate::commit::{Authority, CatalogChange, ChangeOrigin, ObjectEdit};
use crate::entropy::Entropy;
use crate::object::{ManagingFolder, ObjectId};

impl CatalogPlan {
    /// The change that carries the plan out, on its base revision or not at all. None when the plan has problems.
    #[must_use]
    pub fn change(
        &self,
        authority: Authority,
        actor: Actor,
        at_us: i64,
        entropy: &dyn Entropy,
    ) -> Option<CatalogChange> {
        let edits = self.changes.iter().map(|change| edit(change, entropy)).collect();
        self.problems.is_empty().then(|| CatalogChange {
            workspace: self.workspace.clone(),
            edits,
            expected_revision: Some(self.base_revision),
            origin: match self.folder {
                Some(ManagingFolder::Applied) => ChangeOrigin::Applied,
                Some(ManagingFolder::Server) | None => ChangeOrigin::Folder,
            },
            authority,
            actor,
            at_us,
            idempotency: None,
        })
    }
}

impl Catalog {
    /// The change that carries a plan out, with ids of this catalog's making. None when the plan has problems.
    #[must_use]
    pub fn change_of(
        &self,
        plan: &CatalogPlan,
        authority: Authority,
        actor: Actor,
        at_us: i64,
    ) -> Option<CatalogChange> {
        plan.change(authority, actor, at_us, self.entropy())
    }
}

fn edit(change: &PlannedChange, entropy: &dyn Entropy) -> ObjectEdit {
    match change.clone() {
        PlannedChange::Create { content } => ObjectEdit::Create { id: ObjectId::new(content.kind, entropy), content },
        PlannedChange::Update { id, revision, content, .. } => {
            ObjectEdit::Update { id, expected: Some(revision), content }
        }
        PlannedChange::Delete { id, revision, .. } => ObjectEdit::Delete { id, expected: Some(revision) },
    }
}

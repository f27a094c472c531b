//! Changes of what runs: they are live when they are answered.

use std::collections::BTreeMap;

use tidegate_api_types::reload::Reloaded;
use tidegate_api_types::workspace::SyncEnding;
use tidegate_catalog::{CatalogOrder, Committed, ObjectEdit, ObjectId, ObjectKind};

use crate::api::SharedApi;
use crate::api::refusal::ApiRefusal;

/// A change that was made.
pub(super) struct DoneOrder {
    pub(super) committed: Committed,
    /// None where nothing of it runs.
    pub(super) running: Option<Reloaded>,
}

impl SharedApi {
    /// Changes the catalog, or says why that cannot be. What runs follows before this answers, and what cannot run is refused.
    pub(super) async fn execute(&self, order: CatalogOrder, dry_run: bool) -> Result<DoneOrder, ApiRefusal> {
        self.execute_with(order, BTreeMap::new(), dry_run).await
    }

    /// The same, where somebody says what becomes of what waits for syncs that end by it: by the names of them or of their sources.
    pub(super) async fn execute_with(
        &self,
        order: CatalogOrder,
        endings: BTreeMap<String, SyncEnding>,
        dry_run: bool,
    ) -> Result<DoneOrder, ApiRefusal> {
        let runs_here = self.settings.engines.contains_key(order.workspace());
        if !runs_here && !endings.is_empty() {
            let detail = format!("nothing of the workspace {:?} runs, and so nothing waits", order.workspace());
            return Err(ApiRefusal::unprocessable("no-ending", detail, "leave `drain` and `abandon` away"));
        }
        // What drains is given up without any change of the catalog.
        if runs_here && (may_change_what_runs(&order) || !endings.is_empty()) {
            let done = self.order(order, endings, dry_run).await?;
            let committed = done.committed.ok_or_else(|| {
                ApiRefusal::failed("the change was not made", &"nobody has said what became of the catalog")
            })?;
            return Ok(DoneOrder { committed, running: Some(done.running) });
        }
        let catalog = &self.settings.catalog.catalog;
        let committed = if dry_run {
            catalog.preview(&order).await.map(|preview| preview.committed)
        } else {
            catalog.execute(&order).await
        };
        Ok(DoneOrder { committed: committed.map_err(|error| self.refused(error))?, running: None })
    }
}

/// Whether what runs may change with an order. Which objects a draft is about is known to the catalog, and every secret may be named, also by
/// what nobody but the running server knows: a sync that drains.
fn may_change_what_runs(order: &CatalogOrder) -> bool {
    match order {
        CatalogOrder::Change(change) => change.edits.iter().filter_map(ObjectEdit::id).any(is_of_what_runs),
        CatalogOrder::Approve(_) | CatalogOrder::Write(_) => true,
    }
}

fn is_of_what_runs(id: &ObjectId) -> bool {
    matches!(
        id.kind(),
        ObjectKind::Source
            | ObjectKind::Function
            | ObjectKind::Lookup
            | ObjectKind::Destination
            | ObjectKind::Sync
            | ObjectKind::Alert
            | ObjectKind::Domain
            | ObjectKind::Event
            | ObjectKind::Component
            | ObjectKind::Secret
    )
}

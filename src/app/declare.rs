//! Types that contracts declare for fields, as columns of a sync's tables.

use std::sync::Arc;

use tidegate_contract::JsonType;
use tidegate_event::in_partition;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::declared::Declared;
use tidegate_warehouse::evolve::Type;

use crate::config::Workspace;

/// The part of its warehouse that the sync `name` has for a partition of the log: its tables, with the columns that the contract of its source
/// declares. What a function or a mapping later does to a field is not foreseen: its column is there all the same.
#[must_use]
pub fn part(workspace: &Workspace, name: &str, partition: u16) -> SyncPart {
    let Some(sync) = workspace.syncs.get(name) else { return SyncPart::default() };
    let mut declared = Declared::default();
    for field in workspace.contracts.get(&sync.source.0).into_iter().flat_map(|contract| contract.types()) {
        let kinds = field.types.iter().map(|kind| match kind {
            JsonType::Boolean => Type::Boolean,
            JsonType::Integer => Type::Integer,
            JsonType::Number => Type::Decimal,
            JsonType::String => Type::Text,
            JsonType::Instant => Type::Timestamp,
            JsonType::Array => Type::Json,
        });
        if let Some(kind) = kinds.reduce(Type::join) {
            declared.field(field.kind, field.name.as_deref(), &field.path, kind);
        }
    }
    SyncPart {
        sync: in_partition(name, partition).into_owned(),
        schema: sync.schema.clone(),
        declared: Arc::new(declared),
    }
}

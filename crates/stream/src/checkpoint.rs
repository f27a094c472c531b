//! Positions of sources whose carrier keeps none, and what else has to outlive a reader.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::error::StreamError;
use crate::leases::ShardLeases;

/// Keeps positions of one source, durably. A key with a slash is no upstream partition: carriers keep other things under those.
pub trait StreamCheckpoints: Send + Sync {
    /// All of them, by upstream partition.
    ///
    /// # Errors
    /// They cannot be read.
    fn load(&self) -> Result<BTreeMap<String, String>, StreamError>;

    /// Puts these in place, in one transaction; `None` takes one away.
    ///
    /// # Errors
    /// They cannot be written; then none is.
    fn save(&self, changed: &BTreeMap<String, Option<String>>) -> Result<(), StreamError>;

    /// The leases that are kept under this key, which says what topic they are of, where servers share its upstream partitions; then they
    /// keep the positions. None where this server reads alone.
    fn leases(&self, _topic: &str) -> Option<Arc<dyn ShardLeases>> {
        None
    }
}

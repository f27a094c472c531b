//! Instances between calls, for plugins that opt in to being used again.
//!
//! The default is a fresh instance for every call. A plugin that opts in gives up that guarantee for itself alone: an
//! instance never changes its module or its settings, and a module has one owner.

use std::sync::{Mutex, PoisonError};

use super::call::Instance;

/// Instances that one module keeps warm: each holds a slot of the pool.
const PARKED_MAX: usize = 2;

#[derive(Default)]
pub(super) struct Parked(Mutex<Vec<Instance>>);

impl Parked {
    /// An instance that is configured with the settings of this revision.
    pub(super) fn take(&self, revision: u64) -> Option<Instance> {
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let at = parked.iter().position(|instance| instance.revision() == revision)?;
        Some(parked.swap_remove(at))
    }

    /// Keeps `instance`, or drops it when enough are kept.
    pub(super) fn put(&self, instance: Instance) {
        let mut parked = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if parked.len() >= PARKED_MAX {
            // The oldest may be configured with settings that nobody has any more.
            parked.remove(0);
        }
        parked.push(instance);
    }
}

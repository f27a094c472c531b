//! Instances between calls, for callers that let an instance be used again.
//!
//! The default is a fresh instance for every call. Who lets one serve several calls does so for its own calls alone: an instance
//! never changes its module or its settings, and is kept by one owner (see [`Module::of_its_own`](super::Module::of_its_own)).

use parking_lot::Mutex;

use super::instance::Instance;

/// Instances that one module keeps warm: each holds a slot of the pool.
const WARM_MAX: usize = 2;

#[derive(Default)]
pub(super) struct WarmInstances(Mutex<Vec<Instance>>);

impl WarmInstances {
    /// An instance that is configured with the settings of this revision.
    pub(super) fn take(&self, revision: u64) -> Option<Instance> {
        let mut warm = self.0.lock();
        let at = warm.iter().position(|instance| instance.revision() == revision)?;
        Some(warm.swap_remove(at))
    }

    /// Keeps `instance`, or drops it when enough are kept.
    pub(super) fn put(&self, instance: Instance) {
        let mut warm = self.0.lock();
        if warm.len() >= WARM_MAX {
            // The oldest may be configured with settings that nobody has any more.
            warm.remove(0);
        }
        warm.push(instance);
    }
}

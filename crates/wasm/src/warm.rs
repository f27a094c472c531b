//! Instances between calls, for plugins that opt in to being used again.
//!
//! The default is a fresh instance for every call. A plugin that opts in gives up that guarantee for itself alone: an
//! instance never changes its module or its settings, and a module has one owner.

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

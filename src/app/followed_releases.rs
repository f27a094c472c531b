//! The releases of the store, for whoever puts in place what is live.

use std::sync::Arc;

use tidegate_registry::{Releases, VersionStore};
use tokio::sync::watch;

/// The releases of a store, time after time, until the server stops.
pub(super) struct FollowedReleases {
    releases: watch::Receiver<Arc<Releases>>,
    stop: watch::Receiver<bool>,
}

impl FollowedReleases {
    /// Follows the releases of `store` until `stop` turns true.
    pub(super) fn new(store: &VersionStore, stop: watch::Receiver<bool>) -> Self {
        let mut releases = store.follow();
        // What moved between the start and now counts as well.
        releases.mark_changed();
        Self { releases, stop }
    }

    /// The releases as they are: at once the first time, then when they have changed. `None` when it is time to stop.
    pub(super) async fn next(&mut self) -> Option<Arc<Releases>> {
        tokio::select! {
            _ = self.stop.wait_for(|stop| *stop) => return None,
            changed = self.releases.changed() => changed.ok()?,
        }
        Some(Arc::clone(&self.releases.borrow_and_update()))
    }
}

//! The post of a destination: nobody holds it before a version is live, and another courier takes over when the pointer
//! moves. Whoever has begun a batch ends it; the next one goes with the courier that holds the post by then.

use std::sync::Arc;

use tokio::sync::watch;

use super::courier::Courier;
use super::terms::PendingLimits;

/// Who carries for a destination now. Syncs share it.
#[derive(Debug)]
pub struct Post {
    name: Arc<str>,
    pub(super) pending: PendingLimits,
    held: watch::Sender<Option<Arc<Courier>>>,
}

impl Post {
    /// A post that nobody holds yet.
    #[must_use]
    pub fn new(name: &str, pending: PendingLimits) -> Arc<Self> {
        Arc::new(Self { name: name.into(), pending, held: watch::Sender::new(None) })
    }

    /// Lets `courier` carry from the next batch on.
    pub fn take_over(&self, courier: Arc<Courier>) {
        self.held.send_replace(Some(courier));
    }

    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<Courier>>> {
        self.held.subscribe()
    }

    /// What a sync that waits for its first courier says.
    pub(super) fn vacancy(&self) -> String {
        let name = &self.name;
        format!(
            "no version of destination {name} is live yet, so its events wait in the log; \
             `tidegate destination push` one, or name a `component` in destinations/{name}.yaml"
        )
    }
}

//! The active runtime of a destination: there is none before a version is live, and a release puts another in its place. A
//! batch that has begun ends with the runtime that it began with; the next one goes with the one that is active by then.

use std::sync::Arc;

use tokio::sync::watch;

use super::effective_policy::PendingLimits;
use super::runtime::DestinationRuntime;

/// The runtime that delivers for a destination now. Syncs share it.
#[derive(Debug)]
pub struct ActiveRuntime {
    name: Arc<str>,
    pub(super) pending: PendingLimits,
    held: watch::Sender<Option<Arc<DestinationRuntime>>>,
}

impl ActiveRuntime {
    /// Without a runtime yet.
    #[must_use]
    pub fn new(name: &str, pending: PendingLimits) -> Arc<Self> {
        Arc::new(Self { name: name.into(), pending, held: watch::Sender::new(None) })
    }

    /// Lets `runtime` deliver from the next batch on.
    pub fn take_over(&self, runtime: Arc<DestinationRuntime>) {
        self.held.send_replace(Some(runtime));
    }

    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<DestinationRuntime>>> {
        self.held.subscribe()
    }

    /// What a sync that waits for its first runtime says.
    pub(super) fn vacancy(&self) -> String {
        let name = &self.name;
        format!(
            "no version of destination {name} is live yet, so its events wait in the log; \
             `tidegate destination push` one, or name a `component` in destinations/{name}.yaml"
        )
    }
}

//! The active runtime of a destination: there is none before a version is live, and a release puts another in its place. A
//! batch that has begun ends with the runtime that it began with; the next one goes with the one that is active by then.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::watch;

use super::runtime::DestinationRuntime;

/// The runtime that delivers for a destination now. Syncs share it.
#[derive(Debug)]
pub struct ActiveRuntime {
    name: Arc<str>,
    held: watch::Sender<Option<Arc<DestinationRuntime>>>,
    /// Why there is none, where one was tried.
    refused: Mutex<Option<String>>,
}

impl ActiveRuntime {
    /// Without a runtime yet.
    #[must_use]
    pub fn new(name: &str) -> Arc<Self> {
        Arc::new(Self { name: name.into(), held: watch::Sender::new(None), refused: Mutex::default() })
    }

    /// Lets `runtime` deliver from the next batch on.
    pub fn take_over(&self, runtime: Arc<DestinationRuntime>) {
        *self.refused.lock() = None;
        self.held.send_replace(Some(runtime));
    }

    /// There is no runtime, for this reason, which its syncs say from now on; whether that is new.
    pub fn refuse(&self, reason: &str) -> bool {
        let before = self.refused.lock().replace(reason.to_owned());
        let is_new = before.as_deref() != Some(reason);
        if is_new {
            // Those that wait for a runtime look again.
            self.held.send_modify(|_| {});
        }
        is_new
    }

    /// Whether there is no runtime, and one was tried.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.refused.lock().is_some()
    }

    /// Whether the runtime has stopped, and takes nothing until there is another one.
    #[must_use]
    pub fn is_stopped(&self) -> bool {
        self.held.borrow().as_ref().is_some_and(|runtime| runtime.stopped().is_some())
    }

    /// Whether there is no runtime.
    #[must_use]
    pub fn is_vacant(&self) -> bool {
        self.held.borrow().is_none()
    }

    /// The runtime that delivers now.
    ///
    /// # Errors
    /// There is none; a sentence that says why.
    pub fn current(&self) -> Result<Arc<DestinationRuntime>, String> {
        let held = self.held.borrow().clone();
        held.ok_or_else(|| self.vacancy())
    }

    pub(super) fn follow(&self) -> watch::Receiver<Option<Arc<DestinationRuntime>>> {
        self.held.subscribe()
    }

    /// What a sync that waits for its first runtime says.
    pub(super) fn vacancy(&self) -> String {
        let name = &self.name;
        if let Some(reason) = &*self.refused.lock() {
            return format!(
                "destination {name} cannot run: {reason}; its events wait in the log. It is tried again now and then; if its file is \
                 at fault, correct destinations/{name}.yaml and run `tidegate reload`, or make another version live"
            );
        }
        format!(
            "no version of destination {name} is live yet, so its events wait in the log; \
             `tidegate destination push` one, or name a `component` in destinations/{name}.yaml"
        )
    }
}

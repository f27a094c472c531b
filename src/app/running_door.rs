//! The door while it is open: the entrance that requests take now, and those of before, as long as a request is under way that they
//! let in.

use std::collections::HashSet;
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use tidegate_source::http::{Entrance, KeyHasher};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::door;
use crate::config::Workspace;

/// Between two looks at whether a request is still under way: nothing tells of its end.
const PAUSE: Duration = Duration::from_millis(5);

pub(super) struct RunningDoor {
    /// The same for all entrances, so that they know each other's keys.
    hasher: KeyHasher,
    entrance: watch::Sender<Arc<Entrance>>,
    earlier: Vec<Weak<Entrance>>,
}

impl RunningDoor {
    /// The first entrance. With `cores`, one source never has all of them for its large bodies.
    pub(super) fn new(workspace: &Workspace, cores: usize) -> Self {
        let hasher = door::hasher();
        let settings = door::entrance(workspace, &hasher, HashSet::new());
        let entrance = watch::Sender::new(Arc::new(Entrance::new(settings, cores, Instant::now())));
        Self { hasher, entrance, earlier: Vec::new() }
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<Entrance>> {
        self.entrance.subscribe()
    }

    /// Requests are taken as `workspace` says from now on, those of `paused` sources not at all.
    pub(super) fn put(&mut self, workspace: &Workspace, paused: HashSet<Arc<str>>) {
        let settings = door::entrance(workspace, &self.hasher, paused);
        let next = self.entrance.borrow().followed_by(settings, Instant::now());
        let before = self.entrance.send_replace(Arc::new(next));
        self.earlier.retain(|earlier| earlier.strong_count() > 0);
        self.earlier.push(Arc::downgrade(&before));
    }

    /// Waits until everything that an earlier entrance let in is in the log or refused; false when that takes longer than `most`.
    pub(super) async fn earlier_are_gone(&mut self, most: Duration) -> bool {
        let gone = async {
            while self.earlier.iter().any(|earlier| earlier.strong_count() > 0) {
                sleep(PAUSE).await;
            }
        };
        timeout(most, gone).await.is_ok()
    }
}

//! The write keys of the catalog on their way to the doors of all environments: read again when somebody has changed them over the API,
//! who waits for it, and when the catalog has changed in another way.

use std::sync::Arc;
use std::time::Duration;

use tidegate_catalog::{Catalog, CatalogError, WriteKeyTable};
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::door::CatalogWriteKeys;
use super::running_door::RunningDoor;
use crate::api::KeyOrder;

/// Between two looks at whether the catalog has changed.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// Whoever waits is answered by then.
const READ_MAX: Duration = Duration::from_secs(4);

/// Keys as of a revision of the catalog.
struct KeysAt {
    revision: u64,
    keys: WriteKeyTable,
}

pub(super) struct KeyFollower {
    catalog: Arc<Catalog>,
    doors: Vec<RunningDoor>,
    asked: mpsc::Receiver<KeyOrder>,
    /// The doors have the keys of this revision of the catalog, or of a later one.
    revision: u64,
    /// The last look failed, and that was said.
    is_failing: bool,
}

/// The write keys of the catalog as they are now, unless nothing has changed since the revision `known`.
async fn newer(catalog: &Catalog, known: Option<u64>) -> Result<Option<KeysAt>, CatalogError> {
    // What is committed between the two questions is read, and found to be new at the next look.
    let revision = catalog.revision().await?;
    if known == Some(revision) {
        return Ok(None);
    }
    Ok(Some(KeysAt { revision, keys: catalog.write_keys().await? }))
}

impl KeyFollower {
    pub(super) fn new(catalog: Arc<Catalog>, doors: Vec<RunningDoor>, asked: mpsc::Receiver<KeyOrder>) -> Self {
        Self { catalog, doors, asked, revision: 0, is_failing: false }
    }

    /// Follows until `stop` turns true.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let mut look = interval(LOOK_INTERVAL);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let order = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                Some(order) = self.asked.recv() => Some(order),
                _ = look.tick() => None,
            };
            let mut orders: Vec<KeyOrder> = order.into_iter().collect();
            // One reading answers all that came before it.
            while let Ok(order) = self.asked.try_recv() {
                orders.push(order);
            }
            let done = self.look(orders.is_empty()).await;
            self.tell(&done);
            for order in orders {
                // Whoever asked may have gone.
                let _ = order.send(done.clone());
            }
        }
    }

    /// Puts the keys in place. Without `is_idle` somebody waits for them.
    async fn look(&mut self, is_idle: bool) -> Result<(), String> {
        let found = timeout(READ_MAX, newer(&self.catalog, is_idle.then_some(self.revision))).await;
        let found = found.map_err(|_| format!("the catalog did not answer within {} seconds", READ_MAX.as_secs()))?;
        if let Some(KeysAt { revision, keys }) = found.map_err(|error| error.to_string())? {
            for door in &self.doors {
                door.put_keys(CatalogWriteKeys::of(&keys, door.environment()));
            }
            self.revision = revision;
        }
        Ok(())
    }

    fn tell(&mut self, done: &Result<(), String>) {
        match done {
            Ok(()) => self.is_failing = false,
            Err(error) if !self.is_failing => {
                self.is_failing = true;
                tracing::error!(
                    error = &**error,
                    "the write keys of the catalog could not be read: changes of them do not count yet; it is tried again every second"
                );
            }
            Err(_) => {}
        }
    }
}

//! The door of one environment while it is open: the entrance that requests take now, and those of before, as long as a request is under
//! way that they let in.
//!
//! What an entrance is made of changes in two ways: the workspace is read again, or somebody has changed write keys over the API. Both
//! may happen at once, so whoever changes one half holds the lock, and the other half is as it was left last.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tidegate_catalog::{Catalog, CatalogError};
use tidegate_source::http::{Entrance, KeyHasher, KeyUses, WriteKey};
use tidegate_state::KeyUse;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

use super::door::{CatalogWriteKeys, FolderEntrance};
use super::key_uses::key_in_state;
use crate::config::Workspace;

/// Between two looks at whether a request is still under way: nothing tells of its end.
const PAUSE: Duration = Duration::from_millis(5);

/// Clones are the same door.
#[derive(Clone)]
pub(super) struct RunningDoor(Arc<SharedDoor>);

struct SharedDoor {
    /// Of the keys of files; the same for all entrances, so that they know each other's keys, and for all environments.
    hasher: KeyHasher,
    /// The environment, as the catalog names it.
    environment: String,
    entrance: watch::Sender<Arc<Entrance>>,
    parts: Mutex<DoorParts>,
}

/// What the entrance is made of, and the entrances before it.
struct DoorParts {
    folder: FolderEntrance,
    catalog: CatalogWriteKeys,
    earlier: Vec<Weak<Entrance>>,
}

impl RunningDoor {
    /// The first entrance, whose keys go on being counted where they were counted before. With `cores`, one source never has all of them
    /// for its large bodies.
    pub(super) async fn open(
        workspace: &Workspace,
        (environment, hasher): (&str, KeyHasher),
        cores: usize,
        catalog: &Catalog,
        uses: &[KeyUse],
    ) -> Result<Self, CatalogError> {
        let mut catalog = CatalogWriteKeys::read(catalog, environment).await?;
        let mut folder = FolderEntrance::of(workspace, &hasher, HashSet::new());
        let uses: HashMap<(String, String), &KeyUse> =
            uses.iter().map(|used| ((used.source.clone(), used.key.clone()), used)).collect();
        folder.keys.iter_mut().chain(&mut catalog.keys).for_each(|key| count_on(key, &uses));
        catalog.warn_of_both(workspace);
        let settings = folder.settings(&hasher, &catalog);
        let entrance = watch::Sender::new(Arc::new(Entrance::new(settings, cores, Instant::now())));
        let parts = Mutex::new(DoorParts { folder, catalog, earlier: Vec::new() });
        Ok(Self(Arc::new(SharedDoor { hasher, environment: environment.to_owned(), entrance, parts })))
    }

    /// The environment whose sources it opens.
    pub(super) fn environment(&self) -> &str {
        &self.0.environment
    }

    pub(super) fn follow(&self) -> watch::Receiver<Arc<Entrance>> {
        self.0.entrance.subscribe()
    }

    /// Requests are taken as `workspace` says from now on, those of `paused` sources not at all.
    pub(super) fn put(&self, workspace: &Workspace, paused: HashSet<Arc<str>>) {
        let folder = FolderEntrance::of(workspace, &self.0.hasher, paused);
        let mut parts = self.0.parts.lock();
        parts.catalog.warn_of_both(workspace);
        parts.folder = folder;
        self.swap(&mut parts);
    }

    /// The keys of the catalog are these from now on: those that are not among them open nothing when this returns.
    pub(super) fn put_keys(&self, catalog: CatalogWriteKeys) {
        let mut parts = self.0.parts.lock();
        if !parts.catalog.are(&catalog) {
            parts.catalog = catalog;
            self.swap(&mut parts);
        }
    }

    /// Puts the next entrance in place.
    fn swap(&self, parts: &mut DoorParts) {
        let settings = parts.folder.settings(&self.0.hasher, &parts.catalog);
        let next = self.0.entrance.borrow().followed_by(settings, Instant::now());
        let before = self.0.entrance.send_replace(Arc::new(next));
        parts.earlier.retain(|earlier| earlier.strong_count() > 0);
        parts.earlier.push(Arc::downgrade(&before));
    }

    /// Waits until everything that an earlier entrance let in is in the log or refused; false when that takes longer than `most`.
    pub(super) async fn earlier_are_gone(&self, most: Duration) -> bool {
        let gone = async {
            while self.has_earlier() {
                sleep(PAUSE).await;
            }
        };
        timeout(most, gone).await.is_ok()
    }

    fn has_earlier(&self) -> bool {
        self.0.parts.lock().earlier.iter().any(|earlier| earlier.strong_count() > 0)
    }
}

/// Has a key go on being counted from what the state has of it.
fn count_on(key: &mut WriteKey, uses: &HashMap<(String, String), &KeyUse>) {
    if let Some(used) = uses.get(&key_in_state(key)) {
        key.uses = Arc::new(KeyUses::kept(used.events, used.first_at_us, used.last_at_us));
    }
}

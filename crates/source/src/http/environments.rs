//! The environments behind one door. Each has write keys, meters and a log of its own, and a write key opens a source of one of them.
//!
//! A key is looked for in one environment after the other, in their order. They are few, and where there is one nothing more is done than
//! if it were alone.

use std::sync::Arc;

use tidegate_log::LogPartitions;
use tidegate_metrics::EngineMetrics;
use tokio::sync::watch;

use super::answer::HttpAnswer;
use super::entrance::Entrance;
use super::key::{CANDIDATES_MAX, WriteKey};
use super::rate::Meter;

/// One environment behind the door.
#[derive(Clone)]
pub struct DoorEnvironment {
    /// Who may send and how much; what is sent here counts for the next request, and for those that are under way.
    pub entrance: watch::Receiver<Arc<Entrance>>,
    /// Where its events go.
    pub log: LogPartitions,
    /// Turns true when what was accepted is not the sum of what became of it.
    pub has_breach: watch::Receiver<bool>,
    /// Where what it accepts is counted.
    pub metrics: EngineMetrics,
}

/// All of them, in the order in which keys are looked for; clones share them.
#[derive(Clone)]
pub(super) struct DoorEnvironments(Arc<[DoorEnvironment]>);

/// What a key has opened: a source of one environment.
pub(super) struct OpenedSource {
    /// Which environment it is of.
    pub(super) at: usize,
    /// What let the request in.
    pub(super) entrance: Arc<Entrance>,
    pub(super) key: Arc<WriteKey>,
}

impl DoorEnvironments {
    /// At least one.
    pub(super) fn new(environments: Vec<DoorEnvironment>) -> Self {
        assert!(!environments.is_empty(), "behind a door there is an environment");
        Self(environments.into())
    }

    /// The environment of an [`OpenedSource`].
    pub(super) fn at(&self, at: usize) -> &DoorEnvironment {
        &self.0[at]
    }

    /// The source of the first of `candidates` that opens one, if one does; those behind the eighth are not looked at.
    ///
    /// # Errors
    /// The source is paused.
    pub(super) fn open(&self, candidates: &[String], now_us: i64) -> Result<Option<OpenedSource>, HttpAnswer> {
        for candidate in candidates.iter().take(CANDIDATES_MAX) {
            for (at, environment) in self.0.iter().enumerate() {
                let entrance = environment.now();
                if let Some(key) = entrance.open(candidate, now_us)? {
                    return Ok(Some(OpenedSource { at, entrance, key }));
                }
            }
        }
        Ok(None)
    }

    /// The entrance of each environment as it is now, with the number of the environment.
    pub(super) fn entrances(&self) -> impl Iterator<Item = (usize, Arc<Entrance>)> {
        self.0.iter().map(DoorEnvironment::now).enumerate()
    }

    /// The key that is this text, whichever environment it is of; it counts as no use.
    pub(super) fn find(&self, key: &str, now_us: i64) -> Option<Arc<WriteKey>> {
        self.0.iter().find_map(|environment| environment.now().find(key, now_us).cloned())
    }

    /// The meter of requests whose source is not known before their body is read: one for all environments.
    pub(super) fn meter_of_unknown(&self) -> Arc<Meter> {
        Arc::clone(self.0[0].entrance.borrow().meter(None))
    }

    /// Whether the log of one of them has failed.
    pub(super) fn is_poisoned(&self) -> bool {
        self.0.iter().any(|environment| environment.log.is_poisoned())
    }

    /// Whether events of one of them are not accounted for.
    pub(super) fn has_breach(&self) -> bool {
        self.0.iter().any(|environment| *environment.has_breach.borrow())
    }
}

impl DoorEnvironment {
    /// Who may send now, and how much.
    fn now(&self) -> Arc<Entrance> {
        Arc::clone(&self.entrance.borrow())
    }
}

impl OpenedSource {
    /// The meter of the source.
    pub(super) fn meter(&self) -> Arc<Meter> {
        Arc::clone(self.entrance.meter(Some(&self.key.source)))
    }
}

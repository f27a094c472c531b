//! The syncs at work: a worker for each of them in each partition.
//!
//! A worker is not changed. It is ended, by itself or with others, and another one takes its place, with the destination that it
//! has handed back or with a new one. An end has a bound, whoever does not answer, and says how it went: where a worker does not
//! end at all, nobody may take its place.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_event::destination::Destination;
use tidegate_log::Log;
use tidegate_pipeline::refine::RefinerHandle;
use tidegate_pipeline::sync::{EndedWorker, Mapping, Start, StopOrder, Sync, SyncFilter, SyncSettings, Worker};
use tidegate_state::{State, StateError};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::destinations;
use super::sync_cursors::{HeldCursor, SyncCursors};
use crate::config::Workspace;

/// What a sync is, whoever delivers it.
pub(super) struct SyncSpec {
    name: Arc<str>,
    source: Arc<str>,
    filter: SyncFilter,
    mapping: Mapping,
    settings: SyncSettings,
}

impl SyncSpec {
    /// Each sync of `workspace`.
    pub(super) fn all(workspace: &Workspace) -> Vec<Self> {
        let of = |(name, config): (&String, _)| Self::of(workspace, name, config);
        workspace.syncs.iter().map(of).collect()
    }

    fn of(workspace: &Workspace, name: &str, config: &crate::config::SyncConfig) -> Self {
        Self {
            name: name.into(),
            source: config.source.0.as_str().into(),
            filter: destinations::filter(workspace, config),
            mapping: config.mapping.clone(),
            settings: destinations::settings(workspace, config),
        }
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }
}

/// Where workers of a partition read, and keep their cursors.
pub(super) struct SyncPlace {
    pub(super) log: Arc<dyn Log>,
    pub(super) refiner: RefinerHandle,
    /// The state file.
    pub(super) state: PathBuf,
}

/// What a worker begins with.
pub(super) struct WorkerStart {
    pub(super) from: EndedWorker,
    pub(super) start: Start,
}

impl WorkerStart {
    /// For a sync that no worker has delivered in this process.
    pub(super) const fn first(destination: Box<dyn Destination>, start: Start) -> Self {
        Self { from: EndedWorker { destination, in_hand: None }, start }
    }
}

/// A worker that does not run yet. What it will read is kept for it.
pub(super) struct ReadyWorker {
    log: Arc<dyn Log>,
    held: HeldCursor,
    worker: Worker,
}

/// A sync in a partition: how far it has come.
pub(super) struct Delivering {
    pub(super) sync: Arc<str>,
    pub(super) log: Arc<dyn Log>,
    pub(super) cursor: watch::Receiver<u64>,
}

impl Delivering {
    pub(super) fn waiting(&self) -> u64 {
        self.log.records(*self.cursor.borrow(), self.log.committed())
    }
}

impl ReadyWorker {
    pub(super) fn delivering(&self) -> Delivering {
        Delivering { sync: self.worker.name(), log: Arc::clone(&self.log), cursor: self.worker.follow() }
    }
}

/// How long the end of a worker may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct EndBounds {
    /// For the batch in hand.
    pub(super) patience: Duration,
    /// For all else that it does at its end; then it is cut off.
    pub(super) ending_max: Duration,
    /// For what is cut off to be gone.
    pub(super) cut_max: Duration,
}

/// How the end of a worker went.
pub(super) enum WorkerEnd {
    Ended(EndedWorker),
    /// It was cut off, and its destination is gone with it.
    Cut,
    /// It has not ended. It keeps its place until it has.
    Stuck,
}

struct RunningWorker {
    delivering: Delivering,
    _held: HeldCursor,
    stop: watch::Sender<StopOrder>,
    /// Until it has ended.
    task: Option<JoinHandle<EndedWorker>>,
}

impl RunningWorker {
    async fn end(&mut self, bounds: EndBounds) -> WorkerEnd {
        let EndBounds { patience, ending_max, cut_max } = bounds;
        let Some(task) = &mut self.task else { return WorkerEnd::Cut };
        self.stop.send_replace(StopOrder::End { patience });
        let mut ended = timeout(patience + ending_max, &mut *task).await;
        if ended.is_err() {
            task.abort();
            ended = timeout(cut_max, &mut *task).await;
        }
        let Ok(ended) = ended else { return WorkerEnd::Stuck };
        self.task = None;
        ended.map_or(WorkerEnd::Cut, WorkerEnd::Ended)
    }
}

/// All syncs, and what their workers need.
pub(super) struct RunningSyncs {
    /// Of each partition, in order.
    places: Vec<SyncPlace>,
    cursors: Arc<SyncCursors>,
    background: Handle,
    /// Of each sync, those of its partitions in order.
    workers: BTreeMap<Arc<str>, Vec<RunningWorker>>,
}

impl RunningSyncs {
    /// None yet. They will run on `background`.
    pub(super) fn new(places: Vec<SyncPlace>, background: Handle) -> Self {
        Self { places, cursors: Arc::default(), background, workers: BTreeMap::new() }
    }

    /// The cursors below which the log may be trimmed.
    pub(super) fn cursors(&self) -> Arc<SyncCursors> {
        Arc::clone(&self.cursors)
    }

    /// Makes the workers of a sync, of which `starts` has one for each partition.
    pub(super) fn open(
        &self,
        spec: &SyncSpec,
        starts: impl IntoIterator<Item = WorkerStart>,
    ) -> Result<Vec<ReadyWorker>, StateError> {
        self.places.iter().zip(starts).map(|(place, start)| self.worker(place, spec, start)).collect()
    }

    fn worker(&self, place: &SyncPlace, spec: &SyncSpec, start: WorkerStart) -> Result<ReadyWorker, StateError> {
        let partition = place.refiner.partition();
        let WorkerStart { from: EndedWorker { destination, in_hand }, start } = start;
        let sync = Sync {
            name: Arc::clone(&spec.name),
            source: Arc::clone(&spec.source),
            filter: spec.filter.clone(),
            mapping: spec.mapping.clone(),
            start,
            settings: spec.settings.clone(),
            destination,
        };
        let (log, state) = (Arc::clone(&place.log), State::open(&place.state)?.of_partition(partition));
        let worker = Worker::open(sync, place.refiner.for_sync(), Arc::clone(&log), state, in_hand);
        Ok(ReadyWorker { held: self.cursors.hold(partition, worker.follow()), log, worker })
    }

    /// Starts the workers of a sync. They take the place of those that it had, which have ended.
    pub(super) fn run(&mut self, workers: Vec<ReadyWorker>) {
        let _entered = self.background.enter();
        let Some(sync) = workers.first().map(|first| first.worker.name()) else { return };
        let run = |ready: ReadyWorker| {
            let (stop, stopped) = watch::channel(StopOrder::Run);
            let delivering = ready.delivering();
            RunningWorker { delivering, _held: ready.held, stop, task: Some(ready.worker.run(stopped)) }
        };
        self.workers.insert(sync, workers.into_iter().map(run).collect());
    }

    /// How far each sync has come in each partition.
    pub(super) fn delivering(&self) -> Vec<Delivering> {
        let of = |worker: &RunningWorker| {
            let Delivering { sync, log, cursor } = &worker.delivering;
            Delivering { sync: Arc::clone(sync), log: Arc::clone(log), cursor: cursor.clone() }
        };
        self.workers.values().flatten().map(of).collect()
    }

    /// Ends the workers of the syncs that are meant, all at once; of each sync how it went in each partition. What they have not
    /// delivered is kept for those that take their places.
    pub(super) async fn end(
        &mut self,
        is_meant: impl Fn(&str) -> bool,
        bounds: EndBounds,
    ) -> BTreeMap<Arc<str>, Vec<WorkerEnd>> {
        let meant = self.workers.iter_mut().filter(|(sync, _)| is_meant(sync));
        let ending = meant.map(async |(sync, workers)| {
            let ended = join_all(workers.iter_mut().map(|worker| worker.end(bounds))).await;
            (Arc::clone(sync), ended)
        });
        join_all(ending).await.into_iter().collect()
    }

    /// Closes destinations with which nobody goes on, where that holds up nobody's thread. It takes as long as they do.
    pub(super) async fn close(&self, ended: impl IntoIterator<Item = EndedWorker>) {
        let close = |mut ended: EndedWorker| {
            self.background.spawn(async move {
                if let Err(error) = ended.destination.close().await {
                    tracing::warn!(error = %error, "a destination could not be closed");
                }
            })
        };
        join_all(ended.into_iter().map(close).collect::<Vec<_>>()).await;
    }
}

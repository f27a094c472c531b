//! The syncs at work: a worker for each of them in each partition.
//!
//! A worker is not changed. It is ended, by itself or with others, and another one takes its place, with the destination that it
//! has left or with a new one. An end has a bound, whoever does not answer, and says how it went: where a worker does not
//! end at all, nobody may take its place. Each sync is changed by a task of its own that may be dropped wherever it waits: what is
//! left of a worker stays in the worker's place until another one begins with it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_event::destination::Destination;
use tidegate_log::Log;
use tidegate_pipeline::refine::RefinerHandle;
use tidegate_pipeline::sync::{
    EndedWorker, GatheredBatch, Mapping, Start, StopOrder, Sync, SyncFilter, SyncSettings, Worker,
};
use tidegate_state::{State, StateError};
use tokio::runtime::Handle;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

use super::destinations;
use super::sync_cursors::{HeldCursor, HeldPlace, SyncCursors};
use crate::config::Workspace;

/// Records that may wait to be refined while somebody reads on beside the syncs, who waits for so many looks at most.
const LIVE_WAITING_MAX: u64 = 2_048;
const LIVE_LOOKS_MAX: u32 = 20;
const LIVE_PAUSE: Duration = Duration::from_millis(50);

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
        workspace.syncs.keys().filter_map(|name| Self::of(workspace, name)).collect()
    }

    /// The sync `name`; none where the workspace has no such.
    pub(super) fn of(workspace: &Workspace, name: &str) -> Option<Self> {
        let config = workspace.syncs.get(name)?;
        Some(Self {
            name: name.into(),
            source: config.source.0.as_str().into(),
            filter: destinations::filter(workspace, config),
            mapping: config.mapping.clone(),
            settings: destinations::settings(workspace, config),
        })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    pub(super) fn source(&self) -> &str {
        &self.source
    }
}

/// Where workers of a partition read, and keep their cursors.
pub(super) struct SyncPlace {
    pub(super) log: Arc<dyn Log>,
    pub(super) refiner: RefinerHandle,
    /// The state file.
    pub(super) state: PathBuf,
}

impl SyncPlace {
    /// A connection to the state file for this partition.
    pub(super) fn state(&self) -> Result<State, StateError> {
        Ok(State::open(&self.state)?.of_partition(self.refiner.partition()))
    }
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
#[derive(Clone)]
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
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum WorkerEnd {
    /// What it has left waits in its place.
    Ended,
    /// It was cut off, and its destination is gone with it.
    Cut,
    /// It has not ended. It keeps its place until it has.
    Stuck,
}

/// What waits in the place of a worker that has ended.
#[derive(Default)]
struct WorkerRest {
    destination: Option<Box<dyn Destination>>,
    in_hand: Option<GatheredBatch>,
}

struct RunningWorker {
    delivering: Delivering,
    _held: HeldCursor,
    stop: watch::Sender<StopOrder>,
    /// Until it has ended.
    task: Option<JoinHandle<EndedWorker>>,
    left: WorkerRest,
}

impl RunningWorker {
    fn run(ready: ReadyWorker) -> Self {
        let (stop, stopped) = watch::channel(StopOrder::Run);
        let delivering = ready.delivering();
        let task = Some(ready.worker.run(stopped));
        Self { delivering, _held: ready.held, stop, task, left: WorkerRest::default() }
    }

    async fn end(&mut self, bounds: EndBounds) -> WorkerEnd {
        let EndBounds { patience, ending_max, cut_max } = bounds;
        if let Some(task) = &mut self.task {
            self.stop.send_replace(StopOrder::End { patience });
            let mut ended = timeout(patience + ending_max, &mut *task).await;
            if ended.is_err() {
                task.abort();
                ended = timeout(cut_max, &mut *task).await;
            }
            let Ok(ended) = ended else { return WorkerEnd::Stuck };
            self.task = None;
            if let Ok(EndedWorker { destination, in_hand }) = ended {
                self.left = WorkerRest { destination: Some(destination), in_hand };
            }
        }
        if self.left.destination.is_some() { WorkerEnd::Ended } else { WorkerEnd::Cut }
    }

    /// Closes the destination that it has left, with which nobody goes on.
    async fn close(&mut self) {
        if let Some(destination) = &mut self.left.destination
            && let Err(error) = destination.close().await
        {
            tracing::warn!(sync = &*self.delivering.sync, error = %error, "a destination could not be closed");
        }
        self.left.destination = None;
    }
}

/// What a worker needs that may be refused.
pub(super) struct WorkerNeeds {
    pub(super) state: State,
    /// Where the worker before has left none.
    pub(super) destination: Option<Box<dyn Destination>>,
}

/// One sync, whose workers may be changing hands.
#[derive(Default)]
pub(super) struct RunningSync {
    /// Of its partitions in order.
    workers: Mutex<Vec<RunningWorker>>,
    /// Of those that run, or have run last.
    delivering: parking_lot::Mutex<Vec<Delivering>>,
    /// What the log keeps for it while it has no workers.
    held: parking_lot::Mutex<Vec<HeldCursor>>,
    /// It has ended, and whoever begins next is another one of its name.
    has_ended: AtomicBool,
}

impl RunningSync {
    /// Ends its workers, all at once; of each partition how it went.
    pub(super) async fn end(&self, bounds: EndBounds) -> Vec<WorkerEnd> {
        let mut workers = self.workers.lock().await;
        join_all(workers.iter_mut().map(|worker| worker.end(bounds))).await
    }

    /// Closes the destinations that its workers have left. It takes as long as they do.
    pub(super) async fn close(&self) {
        let mut workers = self.workers.lock().await;
        join_all(workers.iter_mut().map(RunningWorker::close)).await;
    }

    /// Starts workers in the place of those that have ended: `prepare` opens what one of a partition needs, with a destination where
    /// it is asked for one, and `open` makes it of that and of what the worker before has left.
    pub(super) async fn go_on(
        &self,
        partitions: usize,
        prepare: impl Fn(usize, bool) -> Result<WorkerNeeds, StateError>,
        open: impl Fn(usize, State, EndedWorker) -> ReadyWorker,
    ) -> Result<(), StateError> {
        let mut workers = self.workers.lock().await;
        let has_left =
            |partition: usize| workers.get(partition).is_some_and(|worker| worker.left.destination.is_some());
        // What may fail comes before anything is taken from the workers of before: a batch of which a part may be at its
        // destination has to come again as it is.
        let needs = (0..partitions).map(|partition| prepare(partition, !has_left(partition)));
        let needs: Vec<WorkerNeeds> = needs.collect::<Result<_, _>>()?;
        let left = workers.iter_mut().map(|worker| std::mem::take(&mut worker.left));
        let left = left.chain(std::iter::repeat_with(WorkerRest::default));
        let ready = needs.into_iter().zip(left).enumerate().filter_map(|(partition, (needs, left))| {
            // One of both is there.
            let destination = left.destination.or(needs.destination)?;
            Some(open(partition, needs.state, EndedWorker { destination, in_hand: left.in_hand }))
        });
        let ready = ready.collect();
        self.put(&mut workers, ready);
        Ok(())
    }

    fn put(&self, workers: &mut Vec<RunningWorker>, ready: Vec<ReadyWorker>) {
        *workers = ready.into_iter().map(RunningWorker::run).collect();
        *self.delivering.lock() = workers.iter().map(|worker| worker.delivering.clone()).collect();
        self.has_ended.store(false, Ordering::Release);
        self.held.lock().clear();
    }

    /// Whether workers of it run, or have left their places to the next.
    pub(super) async fn has_workers(&self) -> bool {
        !self.workers.lock().await.is_empty()
    }

    /// Keeps what the log has from `cursors` on, one for each partition in order, for a sync that does not run.
    pub(super) fn hold(&self, places: &WorkerPlaces, name: &str, cursors: &[u64]) {
        let sync: Arc<str> = name.into();
        let (mut delivering, mut held) = (Vec::new(), Vec::new());
        for (place, cursor) in places.places.iter().zip(cursors) {
            let (_, cursor) = watch::channel(*cursor);
            held.push(places.cursors.hold(place.refiner.partition(), cursor.clone()));
            delivering.push(Delivering { sync: Arc::clone(&sync), log: Arc::clone(&place.log), cursor });
        }
        *self.delivering.lock() = delivering;
        *self.held.lock() = held;
        self.has_ended.store(false, Ordering::Release);
    }

    /// Forgets its workers, which have ended, and all that they have left: the sync is at its end.
    pub(super) async fn forget(&self) {
        self.workers.lock().await.clear();
        self.delivering.lock().clear();
        self.held.lock().clear();
        self.has_ended.store(true, Ordering::Release);
    }

    /// Whether it is at its end, and nobody has begun in its place.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.load(Ordering::Acquire)
    }

    /// How far it has come in each partition.
    pub(super) fn delivering(&self) -> Vec<Delivering> {
        self.delivering.lock().clone()
    }
}

/// All syncs, and what their workers need.
pub(super) struct RunningSyncs {
    /// Of each partition, in order.
    places: Arc<[SyncPlace]>,
    cursors: Arc<SyncCursors>,
    background: Handle,
    syncs: BTreeMap<Arc<str>, Arc<RunningSync>>,
}

/// Makes workers.
#[derive(Clone)]
pub(super) struct WorkerPlaces {
    pub(super) places: Arc<[SyncPlace]>,
    cursors: Arc<SyncCursors>,
}

impl WorkerPlaces {
    /// Has the log of a partition keep what is at or above `offset`.
    pub(super) fn hold(&self, partition: u16, offset: u64) -> HeldPlace {
        self.cursors.hold_place(partition, offset)
    }

    /// Lets what arrives come first, for a while, before whoever reads the log beside the syncs reads on.
    pub(super) async fn give_way(&self, state: &mut State) -> Result<(), StateError> {
        for _ in 0..LIVE_LOOKS_MAX {
            let mut waiting = 0;
            for place in self.places.iter() {
                let committed = place.log.committed();
                let refined_to = state.refined_to_of(place.refiner.partition())?.unwrap_or(committed);
                waiting += place.log.records(refined_to.min(committed), committed);
            }
            if waiting <= LIVE_WAITING_MAX {
                break;
            }
            sleep(LIVE_PAUSE).await;
        }
        Ok(())
    }

    /// A worker of a sync in a partition. What it will read is kept from here on.
    pub(super) fn worker(&self, place: &SyncPlace, spec: &SyncSpec, start: WorkerStart, state: State) -> ReadyWorker {
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
        let log = Arc::clone(&place.log);
        let worker = Worker::open(sync, place.refiner.for_sync(), Arc::clone(&log), state, in_hand);
        ReadyWorker { held: self.cursors.hold(place.refiner.partition(), worker.follow()), log, worker }
    }
}

impl RunningSyncs {
    /// None yet. They will run on `background`.
    pub(super) fn new(places: Vec<SyncPlace>, background: Handle) -> Self {
        Self { places: places.into(), cursors: Arc::default(), background, syncs: BTreeMap::new() }
    }

    /// The cursors below which the log may be trimmed.
    pub(super) fn cursors(&self) -> Arc<SyncCursors> {
        Arc::clone(&self.cursors)
    }

    /// What makes workers.
    pub(super) fn places(&self) -> WorkerPlaces {
        WorkerPlaces { places: Arc::clone(&self.places), cursors: Arc::clone(&self.cursors) }
    }

    /// Makes the workers of a sync, of which `starts` has one for each partition.
    pub(super) fn open(
        &self,
        spec: &SyncSpec,
        starts: impl IntoIterator<Item = WorkerStart>,
    ) -> Result<Vec<ReadyWorker>, StateError> {
        let places = self.places();
        let starts = self.places.iter().zip(starts);
        starts.map(|(place, start)| Ok(places.worker(place, spec, start, place.state()?))).collect()
    }

    /// Starts the workers of a sync that had none.
    pub(super) fn run(&mut self, workers: Vec<ReadyWorker>) {
        let _entered = self.background.enter();
        let Some(name) = workers.first().map(|first| first.worker.name()) else { return };
        let sync = RunningSync::default();
        if let Ok(mut none) = sync.workers.try_lock() {
            sync.put(&mut none, workers);
        }
        self.syncs.insert(name, Arc::new(sync));
    }

    /// Keeps a place in the log for a sync that does not run, of each partition in order.
    pub(super) fn hold(&mut self, name: &str, cursors: &[u64]) {
        let places = self.places();
        self.sync(name).hold(&places, name, cursors);
    }

    /// The sync of this name, which has no workers yet if it is new.
    pub(super) fn sync(&mut self, name: &str) -> Arc<RunningSync> {
        Arc::clone(self.syncs.entry(name.into()).or_default())
    }

    /// Forgets a sync that has ended: nothing is kept for it any more.
    pub(super) fn remove(&mut self, name: &str) {
        self.syncs.remove(name);
    }

    /// How far each sync has come in each partition.
    pub(super) fn delivering(&self) -> Vec<Delivering> {
        self.syncs.values().flat_map(|sync| sync.delivering()).collect()
    }

    /// How far one sync has come in each partition, in order.
    pub(super) fn delivering_of(&self, sync: &str) -> Vec<Delivering> {
        self.syncs.get(sync).map(|sync| sync.delivering()).unwrap_or_default()
    }

    /// Ends the workers of all syncs at once; of each sync how it went in each partition. What they have not delivered is kept.
    pub(super) async fn end(&self, bounds: EndBounds) -> Vec<(Arc<str>, Vec<WorkerEnd>)> {
        let all = self.syncs.iter();
        join_all(all.map(async |(name, sync)| (Arc::clone(name), sync.end(bounds).await))).await
    }

    /// Closes what the workers have left, where that holds up nobody's thread. It takes as long as they do.
    pub(super) async fn close(&self) {
        let close = |sync: &Arc<RunningSync>| {
            let sync = Arc::clone(sync);
            self.background.spawn(async move { sync.close().await })
        };
        join_all(self.syncs.values().map(close).collect::<Vec<_>>()).await;
    }
}

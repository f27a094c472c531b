//! What runs one environment: its log, state, dedup window, store, functions, destinations and syncs.
//!
//! An engine is opened in steps, and every environment takes one before any takes the next: what shall run is **resolved**; the data is
//! **opened**; the catalog hears of it, and its part of the door is made; then it **begins**, which is the first step that changes what a later
//! start finds. So a start that is refused, whichever environment is to blame, has changed nothing of any.

mod running;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_catalog::CatalogError;
use tidegate_log::LogPartitions;
use tidegate_metrics::{EngineMetrics, SpanBoard};
use tidegate_pipeline::tap::EventTaps;
use tidegate_registry::{self as store, BuildQueue, VersionStore};
use tidegate_source::http::{DoorEnvironment, KeyHasher};
use tidegate_state::{Identity, State};
use tidegate_wasm as wasm;
use tidegate_wasm::function::Workers;
use tokio::runtime::Handle;
use tokio::sync::{Notify, Semaphore, mpsc, watch};

use super::active_runtimes::{self, ActiveRuntimes};
use super::alerts::{AlertEnds, AlertParts, Alerts};
use super::archive::LogArchive;
use super::catalog::{FolderCatalog, OpenedCatalog};
use super::endings::{self, DrainingSyncs};
use super::entry_originals;
use super::entry_retries::EntryRetries;
use super::findings::Finding;
use super::followers::Followers;
use super::forget_jobs::ForgetJobs;
use super::keeper::{self, CheckedFile, Keeper};
use super::live::Live;
use super::log_times;
use super::partitions::{self, OpenPartition, PartitionParts};
use super::rebuilds::Rebuilds;
use super::recount::recount;
use super::replays::Replays;
use super::retention::RetentionPasses;
use super::running_door::RunningDoor;
use super::running_environments::RunningEnvironments;
use super::running_parts::{PartsAtStart, RunningParts};
use super::running_streams::{RunningStreams, StreamParts};
use super::running_syncs::{Delivering, ReadyWorker, RunningSyncs};
use super::shared_leases::SharedLeases;
use super::store_secrets::SecretReader;
use super::traces::EventTracer;
use super::tries::ObjectTries;
use super::unloadable::UnloadedRules;
use super::warehouse_queries;
use super::what_runs::{self, WantedWorkspace, WorkspacePlace, WorkspaceReader};
use super::{AppError, background, destinations, first_workers, modes, paths, startup};
use crate::api::{self, AskedAlerts};
use crate::config::{KeptDocuments, ReadEnvironment, Workspace, WorkspaceDocuments, fingerprint};
pub(super) use running::EndedEngine;

/// Orders to change what runs that may wait for one another, in one environment.
const RELOADS_MAX: usize = 8;
/// The same of orders to alerts.
const ALERT_ORDERS_MAX: usize = 8;

/// What the engines of a process have in common.
pub(super) struct SharedEngineParts {
    /// Where syncs and their destinations run.
    pub(super) background: Handle,
    /// The threads of the functions.
    pub(super) workers: Workers,
    pub(super) cores: usize,
    /// Of the write keys of files.
    pub(super) hasher: KeyHasher,
    pub(super) environments: RunningEnvironments,
    /// Of those who try objects out.
    pub(super) tries: Arc<Semaphore>,
    /// Where requests are followed.
    pub(super) spans: SpanBoard,
    /// Where servers share streams whose carriers part nothing themselves.
    pub(super) leases: Option<SharedLeases>,
}

/// An environment whose workspace is resolved; nothing of its data is open.
pub(super) struct ResolvedEnvironment {
    name: String,
    place: WorkspacePlace,
    folder: Arc<WorkspaceDocuments>,
    told: Workspace,
    catalog: Option<FolderCatalog>,
    wanted: WantedWorkspace,
}

impl ResolvedEnvironment {
    /// What the environment shall run: its folder, with the catalog over it, if there is one already.
    pub(super) async fn resolve(
        read: ReadEnvironment,
        place: WorkspacePlace,
        known: Option<&OpenedCatalog>,
    ) -> Result<Self, AppError> {
        let ReadEnvironment { name, documents, workspace: told } = read;
        let catalog = known.map(|known| known.of_environment(&name, &told));
        let (folder, kept) = (Arc::new(documents), KeptDocuments::new());
        let nothing = BTreeMap::new();
        let wanted = what_runs::at_start(catalog.as_ref(), Arc::clone(&folder), kept, (&told, &place), nothing).await?;
        Ok(Self { name, place, folder, told, catalog, wanted })
    }

    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// What shall run.
    pub(super) const fn workspace(&self) -> &Arc<Workspace> {
        &self.wanted.whole.1
    }

    /// Opens everything that the workspace names. Nothing flows yet but the log's writer.
    pub(super) async fn open(self, shared: &SharedEngineParts) -> Result<OpenedEngine, AppError> {
        let name = self.name.clone();
        self.open_data(shared).await.map_err(|error| error.of_environment(&name))
    }

    async fn open_data(self, shared: &SharedEngineParts) -> Result<OpenedEngine, AppError> {
        let Self { name, place, folder, told, catalog, mut wanted } = self;
        let data = told.data.clone();
        let failed = |cause| AppError::Io { action: "could not make the data directory", path: data.clone(), cause };
        std::fs::create_dir_all(&data).map_err(failed)?;
        modes::mend(&data);
        let startup::StartedState { mut state, past, identity, findings } =
            startup::open(&wanted.whole.1, &endings::kept_at_start(&data)?)?;
        let draining = DrainingSyncs::open(&data, &mut state, catalog.as_ref()).await?;
        if !draining.kept().is_empty() {
            let kept = draining.kept().clone();
            let (known, nothing) = (catalog.as_ref(), BTreeMap::new());
            let beside = what_runs::at_start(known, Arc::clone(&folder), kept, (&told, &place), nothing).await;
            wanted = beside.map_err(|error| draining.refused(error))?;
        }
        let workspace = Arc::clone(&wanted.whole.1);
        let limits = wasm::CallLimits { pagemap_scan: workspace.pagemap_scan, ..wasm::CallLimits::default() };
        let followers = Followers::new(&workspace);
        let secrets = SecretReader::default();
        if let Some(catalog) = &catalog {
            secrets.connect(catalog);
        }
        let of_store = store::RegistrySettings {
            admits: active_runtimes::admission(followers.grants.subscribe()),
            secrets: secrets.for_store(),
            limits,
            ..store::RegistrySettings::default()
        };
        let store = VersionStore::open(&paths::store(&data), of_store)?;
        let key = identity.id.clone();
        let live = loop {
            let workspace = &wanted.whole.1;
            let print = fingerprint(&workspace.specs, &key);
            let opened = Live::open(workspace, store.0.clone(), print, secrets.clone()).await;
            let objects = match opened {
                Ok(live) => break live,
                // Of the catalog they are left out, with what names them.
                Err(UnloadedRules::Objects(objects)) if objects.are_all(|object| wanted.is_of_catalog(object)) => {
                    objects
                }
                Err(error) => return Err(error.into_error(&wanted.of_catalog())),
            };
            let mut unloadable = objects.reasons();
            unloadable.extend(wanted.unloadable);
            let (known, kept) = (catalog.as_ref(), draining.kept().clone());
            wanted = what_runs::at_start(known, Arc::clone(&folder), kept, (&told, &place), unloadable).await?;
            followers.follow(&wanted.whole.1);
        };
        wanted.warn_of_left_out();
        let workspace = Arc::clone(&wanted.whole.1);
        let metrics = EngineMetrics::new(shared.spans.clone());
        let runtimes = ActiveRuntimes::open(&workspace, &store.0, secrets.clone(), metrics.clone()).await;
        let count = partitions::settle(&workspace, past, &mut state)?;
        live.record(State::open(&paths::state(&data))?).await?;
        let (workers, taps) = (shared.workers.clone(), EventTaps::default());
        let parts = PartitionParts {
            workspace: &workspace,
            past,
            count,
            has_left_out_syncs: wanted.has_left_out_syncs(),
            live: &live,
            workers,
            taps: taps.clone(),
            metrics: metrics.clone(),
        };
        let opening = destinations::open(&workspace, &runtimes, count, &key, |partition| parts.state(partition));
        let destinations = background::within(&shared.background, opening).await?;
        let mut opened = Vec::new();
        for (partition, destinations) in (0..).zip(&destinations) {
            let ledgers = destinations.iter().map(|(sync, opened)| (sync.clone(), opened.ledger)).collect();
            opened.push(parts.open(partition, &ledgers)?);
        }
        let handle = shared.background.clone();
        let (mut syncs, workers) = first_workers::ready(&workspace, &mut opened, destinations, handle)?;
        first_workers::hold_left_out(&mut syncs, &wanted.left_out, &workspace, &opened)?;
        let sum = |of: fn(&OpenPartition) -> u64| opened.iter().map(of).sum::<u64>();
        let (records, undelivered) = (sum(|one| one.records.0), sum(|one| one.records.1));
        let (bytes_cut, carried_over) = (sum(|one| one.bytes_cut), sum(|one| one.carried_over));
        let environment = &*name;
        tracing::info!(
            environment,
            partitions = count,
            records,
            undelivered,
            bytes_cut,
            carried_over,
            "the log is open"
        );
        let log = LogPartitions::new(opened.iter().map(|one| Arc::clone(&one.log)).collect());
        let archive = match &workspace.archive {
            Some(settings) => {
                let logs = opened.iter().map(|one| (one.segments.clone(), &one.state)).collect();
                Some(LogArchive::open(settings, (&key, &data), logs)?)
            }
            None => {
                opened.iter().try_for_each(|one| one.segments.remove_all_fetched())?;
                None
            }
        };
        let (of_keeper, of_retries, of_forgets) = (parts.state(0)?, parts.state(0)?, parts.state(0)?);
        let of_replays = (parts.state(0)?, parts.state(0)?);
        let of_alerts = (parts.state(0)?, parts.state(0)?);
        let of_rebuilds = (parts.state(0)?, parts.state(0)?);
        let of_retention = parts.state(0)?;
        let identity = (identity, data);
        let syncs = (syncs, workers);
        Ok(OpenedEngine {
            name,
            place,
            wanted,
            draining,
            key,
            findings,
            followers,
            store,
            secrets,
            live,
            runtimes,
            partitions: opened,
            log,
            archive,
            syncs,
            state,
            of_keeper,
            of_retries,
            taps,
            metrics,
            of_forgets,
            of_replays,
            of_alerts,
            of_rebuilds,
            of_retention,
            identity,
        })
    }
}

/// An engine whose data is open.
pub(super) struct OpenedEngine {
    name: String,
    place: WorkspacePlace,
    wanted: WantedWorkspace,
    draining: DrainingSyncs,
    /// What fingerprints are made under.
    key: String,
    findings: Vec<Finding>,
    followers: Followers,
    store: (VersionStore, BuildQueue),
    /// For functions of the store.
    secrets: SecretReader,
    live: Arc<Live>,
    runtimes: Arc<ActiveRuntimes>,
    partitions: Vec<OpenPartition>,
    log: LogPartitions,
    /// Where the log has one.
    archive: Option<Arc<LogArchive>>,
    /// With the workers of each sync, which do not run yet.
    syncs: (RunningSyncs, Vec<Vec<ReadyWorker>>),
    state: State,
    of_keeper: State,
    of_retries: State,
    /// Where events are offered to whoever listens.
    taps: EventTaps,
    /// Where what it does is counted.
    metrics: EngineMetrics,
    of_forgets: State,
    of_replays: (State, State),
    of_alerts: (State, State),
    of_rebuilds: (State, State),
    of_retention: State,
    identity: (Identity, PathBuf),
}

impl OpenedEngine {
    /// Tells the catalog what the folder says.
    pub(super) async fn tell(&self, catalog: &OpenedCatalog) -> Result<FolderCatalog, CatalogError> {
        let folder = catalog.of_environment(&self.name, &self.wanted.whole.1);
        folder.begin(&self.wanted.told.folder).await?;
        Ok(folder)
    }

    /// Makes its part of the door, and its part of the admin API. The catalog is at `revision`.
    pub(super) async fn connect(
        mut self,
        (catalog, revision): (FolderCatalog, u64),
        shared: &SharedEngineParts,
    ) -> Result<ConnectedEngine, AppError> {
        self.wanted.revision = revision;
        self.secrets.connect(&catalog);
        let workspace = Arc::clone(&self.wanted.whole.1);
        let of_door = (&*self.name, shared.hasher.clone());
        let uses = self.state.key_uses()?;
        let door = RunningDoor::open(&workspace, of_door, shared.cores, catalog.catalog(), &uses).await?;
        let streams = RunningStreams::new(StreamParts {
            log: self.log.clone(),
            entrance: door.follow(),
            data: workspace.data.clone(),
            leases: shared.leases.as_ref().map(|leases| leases.of_environment(&self.name, &self.key)),
            cores: shared.cores,
            background: shared.background.clone(),
        });
        let (reloads, asked) = mpsc::channel(RELOADS_MAX);
        let state = paths::state(&workspace.data);
        let reader = WorkspaceReader { place: self.place.clone(), catalog: catalog.clone() };
        let tried = (reader, self.followers.folder.subscribe());
        let tries = ObjectTries::new(tried, (self.store.0.clone(), self.log.clone()), Arc::clone(&shared.tries));
        let tries = Arc::new(tries);
        let traces = EventTracer {
            tries: Arc::clone(&tries),
            log: self.log.clone(),
            state: state.clone(),
            live: Arc::clone(&self.live),
            runtimes: Arc::clone(&self.runtimes),
            turns: Arc::clone(&shared.tries),
            archive: self.archive.clone(),
        };
        let function_tries = tries.for_functions();
        let (tries, entry_tries) = tries.for_api();
        let (shown, (alert_orders, orders)) = (watch::Sender::new(Arc::default()), mpsc::channel(ALERT_ORDERS_MAX));
        let alerts = AskedAlerts { shown: shown.subscribe(), orders: alert_orders };
        let alert_ends = AlertEnds { shown, orders };
        let (log, counted_log, timed_log) = (self.log.clone(), self.log.clone(), self.log.clone());
        let archive = self.archive.clone();
        let api = Arc::new(api::EngineSettings {
            folder: workspace.dir.clone(),
            entrance: door.follow(),
            names: self.followers.names.subscribe(),
            reloads,
            tries,
            function_tries,
            entry_tries,
            traces: traces.for_api(),
            taps: self.taps.clone(),
            metrics: self.metrics.clone(),
            log: self.log.clone(),
            received_at: Box::new(move |partition, offset| {
                let log = timed_log.iter().find(|(number, _)| *number == partition)?.1;
                log_times::received_at(&**log, offset).ok().flatten()
            }),
            originals: Box::new(move |state, at| {
                entry_originals::original(&log, state, at).map_err(|error| error.to_string())
            }),
            recount: Box::new(move |state| recount(&counted_log, &state).map_err(|error| error.to_string())),
            archive: archive.map(LogArchive::for_api),
            retries: Arc::new(Notify::new()),
            forgets: Arc::new(Notify::new()),
            replays: Arc::new(Notify::new()),
            alerts,
            rebuilds: Arc::new(Notify::new()),
            queries: warehouse_queries::for_api(self.followers.workspace.subscribe()),
            data: workspace.data.clone(),
            streams: streams.sources(),
            store: self.store.0.clone(),
            running: api::Running {
                functions: self.live.taken(),
                destinations: self.runtimes.taken(),
                destination_logs: self.runtimes.destination_logs(),
                report: self.followers.report.subscribe(),
            },
            open_state: Box::new(move || State::read(&state)),
        });
        let environments = shared.environments.clone();
        let has_breach = watch::Sender::new(false);
        Ok(ConnectedEngine { opened: self, catalog, door, streams, api, asked, environments, has_breach, alert_ends })
    }
}

/// An engine that the door and the admin API can ask.
pub(super) struct ConnectedEngine {
    opened: OpenedEngine,
    catalog: FolderCatalog,
    pub(super) door: RunningDoor,
    streams: RunningStreams,
    pub(super) api: Arc<api::EngineSettings>,
    asked: mpsc::Receiver<api::ReloadRequest>,
    environments: RunningEnvironments,
    /// Whether events are not accounted for, as the keeper finds.
    has_breach: watch::Sender<bool>,
    alert_ends: AlertEnds,
}

impl ConnectedEngine {
    pub(super) fn name(&self) -> &str {
        &self.opened.name
    }

    /// The catalog, as its folder is put into it.
    pub(super) const fn catalog(&self) -> &FolderCatalog {
        &self.catalog
    }

    /// What is behind the door for it.
    pub(super) fn behind_door(&self) -> DoorEnvironment {
        DoorEnvironment {
            entrance: self.door.follow(),
            log: self.opened.log.clone(),
            has_breach: self.has_breach.subscribe(),
            metrics: self.opened.metrics.clone(),
        }
    }

    /// Marks that the data goes on from here: a start that is refused changes nothing of this.
    pub(super) fn advance(&mut self) -> Result<(), AppError> {
        let (identity, data) = &mut self.opened.identity;
        let advanced = startup::advance(&mut self.opened.state, identity, data);
        advanced.map_err(|error| error.of_environment(&self.opened.name))
    }

    /// An engine that can run.
    pub(super) fn begin(self) -> WorkspaceEngine {
        let Self { opened, catalog, door, streams, api, asked, environments, has_breach, alert_ends } = self;
        let workspace = Arc::clone(&opened.wanted.whole.1);
        let data = opened.identity.1.clone();
        let sqlite_files = keeper::sqlite_files(&workspace);
        let bounds = opened.followers.quarantine.subscribe();
        let followed_breach = has_breach.subscribe();
        let names = opened.followers.names.subscribe();
        let keeper = Keeper::new(opened.of_keeper, bounds, door.follow(), has_breach, names);
        let of_retries = (opened.of_retries, opened.log.clone());
        let (names, sending) = (opened.followers.names.subscribe(), Arc::default());
        let retries = EntryRetries::new(of_retries, names, Arc::clone(&api.retries), Arc::clone(&sending));
        let of_forgets = (opened.of_forgets, opened.log.clone(), opened.archive.clone());
        let names = opened.followers.names.subscribe();
        let names = (names, Arc::clone(&opened.runtimes));
        let forgets = ForgetJobs::new(of_forgets, data.clone(), names, Arc::clone(&api.forgets), sending);
        let (syncs, workers) = opened.syncs;
        let of_retention = (opened.of_retention, opened.log.clone(), opened.archive.clone());
        let retention = RetentionPasses::new(of_retention, opened.followers.workspace.subscribe());
        let followed = (opened.followers.workspace.subscribe(), Arc::clone(&opened.runtimes));
        let archive = opened.archive.clone();
        let of_replays = (opened.of_replays.0, opened.of_replays.1, archive);
        let replays = Replays::new(of_replays, syncs.places(), followed, Arc::clone(&api.replays));
        let followed = (opened.followers.workspace.subscribe(), Arc::clone(&opened.runtimes));
        let rebuilds = Rebuilds::new(opened.of_rebuilds, syncs.places(), followed, Arc::clone(&api.rebuilds));
        let alerts = Alerts::new(AlertParts {
            name: opened.name.clone(),
            states: opened.of_alerts,
            workspace: opened.followers.workspace.subscribe(),
            running: opened.followers.report.subscribe(),
            has_breach: followed_breach,
            live: Arc::clone(&opened.live),
            places: syncs.places(),
            data: data.clone(),
            asked: alert_ends,
        });
        let parts = RunningParts::new(PartsAtStart {
            name: opened.name,
            environments,
            wanted: opened.wanted,
            draining: opened.draining,
            key: opened.key,
            live: Arc::clone(&opened.live),
            runtimes: Arc::clone(&opened.runtimes),
            syncs,
            door,
            streams: streams.clone(),
            followers: opened.followers,
            reader: WorkspaceReader { place: opened.place, catalog },
            files: (paths::running(&data), paths::state(&data)),
        });
        WorkspaceEngine {
            log: opened.log,
            archive: opened.archive,
            partitions: opened.partitions,
            streams,
            parts: (parts, workers, asked),
            state: opened.state,
            live: opened.live,
            runtimes: opened.runtimes,
            builder: opened.store.1,
            identity: opened.identity,
            keeper,
            retries,
            forgets,
            replays,
            alerts,
            rebuilds,
            retention,
            to_check: (sqlite_files, opened.findings),
        }
    }
}

/// An engine with everything open.
pub(super) struct WorkspaceEngine {
    log: LogPartitions,
    archive: Option<Arc<LogArchive>>,
    partitions: Vec<OpenPartition>,
    streams: RunningStreams,
    /// With the workers of each sync, which do not run yet, and where orders to change come from.
    parts: (RunningParts, Vec<Vec<ReadyWorker>>, mpsc::Receiver<api::ReloadRequest>),
    state: State,
    live: Arc<Live>,
    runtimes: Arc<ActiveRuntimes>,
    /// Builds what is uploaded.
    builder: BuildQueue,
    identity: (Identity, PathBuf),
    keeper: Keeper,
    retries: EntryRetries,
    forgets: ForgetJobs,
    replays: Replays,
    alerts: Alerts,
    rebuilds: Rebuilds,
    retention: RetentionPasses,
    /// Checked in the background, and what is known to be damaged already.
    to_check: (Vec<CheckedFile>, Vec<Finding>),
}

impl WorkspaceEngine {
    /// What each sync has still to deliver.
    pub(super) fn delivering(&self) -> impl Iterator<Item = Delivering> + '_ {
        self.parts.1.iter().flatten().map(ReadyWorker::delivering)
    }
}

//! What runs one environment: its log, state, dedup window, store, functions, destinations and syncs.
//!
//! An engine is opened in steps, and every environment takes one before any takes the next: what shall run is **resolved**; the data is
//! **opened**; the catalog hears of it, and its part of the door is made; then it **begins**, which is the first step that changes what a later
//! start finds. So a start that is refused, whichever environment is to blame, has changed nothing of any.

mod running;

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_catalog::CatalogError;
use tidegate_log::LogPartitions;
use tidegate_registry::{self as store, BuildQueue, VersionStore};
use tidegate_source::http::{DoorEnvironment, KeyHasher};
use tidegate_state::{Identity, State};
use tidegate_wasm as wasm;
use tidegate_wasm::function::Workers;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, mpsc};

use super::active_runtimes::{self, ActiveRuntimes};
use super::catalog::{FolderCatalog, OpenedCatalog};
use super::endings::{self, DrainingSyncs};
use super::findings::Finding;
use super::followers::Followers;
use super::keeper::{self, CheckedFile, Keeper};
use super::live::Live;
use super::partitions::{self, OpenPartition, PartitionParts};
use super::running_door::RunningDoor;
use super::running_environments::RunningEnvironments;
use super::running_parts::{PartsAtStart, RunningParts};
use super::running_syncs::{Delivering, ReadyWorker, RunningSyncs};
use super::tries::ObjectTries;
use super::what_runs::{self, WantedWorkspace, WorkspacePlace, WorkspaceReader};
use super::{AppError, background, destinations, first_workers, modes, paths, startup};
use crate::api;
use crate::config::{KeptDocuments, ReadEnvironment, Workspace, WorkspaceDocuments, fingerprint};
pub(super) use running::EndedEngine;

/// Orders to change what runs that may wait for one another, in one environment.
const RELOADS_MAX: usize = 8;

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
        let wanted = what_runs::at_start(catalog.as_ref(), Arc::clone(&folder), kept, (&told, &place)).await?;
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
            let beside = what_runs::at_start(catalog.as_ref(), folder, kept, (&told, &place)).await;
            wanted = beside.map_err(|error| draining.refused(error))?;
        }
        wanted.warn_of_left_out();
        let workspace = Arc::clone(&wanted.whole.1);
        let limits = wasm::CallLimits { pagemap_scan: workspace.pagemap_scan, ..wasm::CallLimits::default() };
        let followers = Followers::new(&workspace);
        let of_store = store::RegistrySettings {
            admits: active_runtimes::admission(followers.grants.subscribe()),
            limits,
            ..store::RegistrySettings::default()
        };
        let store = VersionStore::open(&paths::store(&data), of_store)?;
        let key = identity.id.clone();
        let live = Live::open(&workspace, store.0.clone(), fingerprint(&workspace.specs, &key)).await?;
        let runtimes = ActiveRuntimes::open(&workspace, &store.0).await;
        let count = partitions::settle(&workspace, past, &mut state)?;
        live.record(State::open(&paths::state(&data))?)?;
        let parts = PartitionParts { workspace: &workspace, past, count, live: &live, workers: shared.workers.clone() };
        let opening = destinations::open(&workspace, &runtimes, count, |partition| parts.state(partition));
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
        let of_keeper = parts.state(0)?;
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
            live,
            runtimes,
            partitions: opened,
            log,
            syncs,
            state,
            of_keeper,
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
    live: Arc<Live>,
    runtimes: Arc<ActiveRuntimes>,
    partitions: Vec<OpenPartition>,
    log: LogPartitions,
    /// With the workers of each sync, which do not run yet.
    syncs: (RunningSyncs, Vec<Vec<ReadyWorker>>),
    state: State,
    of_keeper: State,
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
        let workspace = Arc::clone(&self.wanted.whole.1);
        let of_door = (&*self.name, shared.hasher.clone());
        let uses = self.state.key_uses()?;
        let door = RunningDoor::open(&workspace, of_door, shared.cores, catalog.catalog(), &uses).await?;
        let (reloads, asked) = mpsc::channel(RELOADS_MAX);
        let state = paths::state(&workspace.data);
        let reader = WorkspaceReader { place: self.place.clone(), catalog: catalog.clone() };
        let tried = (reader, self.followers.folder.subscribe());
        let tries = ObjectTries::new(tried, (self.store.0.clone(), self.log.clone()), Arc::clone(&shared.tries));
        let api = Arc::new(api::EngineSettings {
            folder: workspace.dir.clone(),
            entrance: door.follow(),
            names: self.followers.names.subscribe(),
            reloads,
            tries: tries.for_api(),
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
        Ok(ConnectedEngine { opened: self, catalog, door, api, asked, environments })
    }
}

/// An engine that the door and the admin API can ask.
pub(super) struct ConnectedEngine {
    opened: OpenedEngine,
    catalog: FolderCatalog,
    pub(super) door: RunningDoor,
    pub(super) api: Arc<api::EngineSettings>,
    asked: mpsc::Receiver<api::ReloadRequest>,
    environments: RunningEnvironments,
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
        DoorEnvironment { entrance: self.door.follow(), log: self.opened.log.clone() }
    }

    /// Marks that the data goes on from here: a start that is refused changes nothing of this.
    pub(super) fn advance(&mut self) -> Result<(), AppError> {
        let (identity, data) = &mut self.opened.identity;
        let advanced = startup::advance(&mut self.opened.state, identity, data);
        advanced.map_err(|error| error.of_environment(&self.opened.name))
    }

    /// An engine that can run.
    pub(super) fn begin(self) -> WorkspaceEngine {
        let Self { opened, catalog, door, api: _, asked, environments } = self;
        let workspace = Arc::clone(&opened.wanted.whole.1);
        let data = opened.identity.1.clone();
        let sqlite_files = keeper::sqlite_files(&workspace);
        let keeper = Keeper::new(opened.of_keeper, opened.followers.quarantine.subscribe(), door.follow());
        let (syncs, workers) = opened.syncs;
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
            followers: opened.followers,
            reader: WorkspaceReader { place: opened.place, catalog },
            files: (paths::running(&data), paths::state(&data)),
        });
        WorkspaceEngine {
            log: opened.log,
            partitions: opened.partitions,
            parts: (parts, workers, asked),
            state: opened.state,
            live: opened.live,
            runtimes: opened.runtimes,
            builder: opened.store.1,
            identity: opened.identity,
            keeper,
            to_check: (sqlite_files, opened.findings),
        }
    }
}

/// An engine with everything open.
pub(super) struct WorkspaceEngine {
    log: LogPartitions,
    partitions: Vec<OpenPartition>,
    /// With the workers of each sync, which do not run yet, and where orders to change come from.
    parts: (RunningParts, Vec<Vec<ReadyWorker>>, mpsc::Receiver<api::ReloadRequest>),
    state: State,
    live: Arc<Live>,
    runtimes: Arc<ActiveRuntimes>,
    /// Builds what is uploaded.
    builder: BuildQueue,
    identity: (Identity, PathBuf),
    keeper: Keeper,
    /// Checked in the background, and what is known to be damaged already.
    to_check: (Vec<CheckedFile>, Vec<Finding>),
}

impl WorkspaceEngine {
    /// What each sync has still to deliver.
    pub(super) fn delivering(&self) -> impl Iterator<Item = Delivering> + '_ {
        self.parts.1.iter().flatten().map(ReadyWorker::delivering)
    }
}

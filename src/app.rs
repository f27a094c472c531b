//! Wires the parts: opens them in the order of their floors, starts them, changes them while they run, stops them in the order in
//! which events flow, so that whatever was accepted has a place to go.

mod admin;
mod background;
pub mod catalog;
pub mod change_plan;
mod compare;
mod continuity;
mod data_lock;
pub mod data_id;
pub mod declare;
mod destinations;
mod door;
pub mod endings;
pub mod findings;
pub mod folder_watch;
mod first_workers;
mod followed_releases;
mod followers;
pub mod inspect;
mod keeper;
mod key_follower;
mod key_uses;
mod granted_tables;
mod live;
pub mod live_versions;
mod modes;
mod active_runtimes;
mod partitions;
mod removals;
mod running_door;
mod running_parts;
pub mod running_report;
mod running_syncs;
pub mod sample;
mod starts;
mod startup;
mod stop;
mod sync_cursors;
mod sync_restart;
mod told_changes;
mod unopened;
mod what_runs;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use tidegate_catalog::SecretValue;
use tidegate_document::problem::Problem;
use tidegate_log::{self as intake, Log, LogPartitions};
use tidegate_net::{self as net, descriptors};
use tidegate_pipeline::refine;
use tidegate_registry::{self as store, VersionStore};
use tidegate_source::http::{DoorEnvironment, IngestServer, IntakeCounts};
use tidegate_state::{self as state, Identity, State};
use tidegate_wasm as wasm;
use tidegate_wasm::function::Pool;
use tidegate_wasm::lookup;
use tokio::sync::{mpsc, watch};

use crate::api;
use crate::config::{KeptDocuments, Workspace, WorkspaceDocuments, fingerprint};
use active_runtimes::ActiveRuntimes;
use admin::{Admin, AdminPortSettings};
use background::Background;
use catalog::OpenedCatalog;
use endings::DrainingSyncs;
use findings::Finding;
use followers::Followers;
use keeper::{CheckedFile, Keeper};
use live::Live;
use partitions::{KeptPartition, OpenPartition, PartitionParts, watch_over};
use running_door::RunningDoor;
use running_parts::{PartsAtStart, RunningParts};
use running_syncs::{Delivering, ReadyWorker};
use stop::Budget;
use what_runs::WorkspaceReader;

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    #[error("{}: {action}: {cause}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{}: another tidegate process is using this data directory; stop it, or give this one a `--data` of its own", path.display())]
    InUse { path: PathBuf },
    #[error("could not listen on {address}: {cause}; is another program using it? Try `--listen 127.0.0.1:0`")]
    Listen {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    #[error("the workspace has {} problems", .0.len())]
    Problems(Vec<Problem>),
    #[error(transparent)]
    Log(#[from] intake::LogError),
    #[error(transparent)]
    State(#[from] state::StateError),
    #[error(transparent)]
    Dedup(#[from] tidegate_dedup::DedupError),
    #[error(transparent)]
    Refine(#[from] refine::RefineError),
    #[error(transparent)]
    Catalog(#[from] tidegate_catalog::CatalogError),
    #[error(transparent)]
    Store(#[from] store::RegistryError),
    #[error(
        "the admin API could not listen on {address}: {cause}; is another server running? Give this one `admin: {{listen: 127.0.0.1:0}}` in tidegate.yaml, or an address of its own"
    )]
    ListenAdmin {
        address: SocketAddr,
        #[source]
        cause: std::io::Error,
    },
    #[error(transparent)]
    RunRefiner(#[from] refine::RunError),
    #[error("function {name}: {cause}")]
    Function { name: String, cause: Box<dyn std::error::Error + Send + std::marker::Sync> },
    #[error("lookup {name}: {cause}")]
    Lookup {
        name: String,
        #[source]
        cause: lookup::LookupError,
    },
    #[error("{}: the file is damaged: {what}. Nothing was started and nothing was changed. {follows}. Or put a backup of it back; `tidegate check --deep` shows what else is damaged", path.display())]
    StateDamaged { path: PathBuf, what: String, follows: String },
    #[error("{}: the state {what}. Nothing was started: how far the plugins of {syncs} were is kept in it alone, so they would get events a second time. Put the right state.db back, or start with `tidegate serve --rebuild-state`, which goes on from the log and lets that happen", path.display())]
    StateLost { path: PathBuf, what: &'static str, syncs: String },
    #[error("{}: this state belongs to another data directory (its id is not the one in the file `id` beside it). Nothing was started and nothing was changed. Put the state.db of this directory back; or, if it was lost, move this one away and start with `tidegate serve --rebuild-state`", path.display())]
    StateOfAnother { path: PathBuf },
    #[error("{}: the log has {found} partitions, and tidegate.yaml says {wanted}. Nothing was started and nothing was changed: events of one user would lose their order, and retries of what is there would come through. Write `log: {{partitions: {found}}}`; for another number begin with an empty data directory", path.display())]
    Partitions { path: PathBuf, found: u16, wanted: u16 },
    #[error("{}: {reason}", path.display())]
    Foreign { path: PathBuf, reason: String },
    #[error("could not start a thread: {0}")]
    Thread(std::io::Error),
    #[error("the disk failed; nothing accepted since is on it. Check the disk, then start again: the log recovers")]
    Poisoned,
}

/// Files in the data directory.
pub mod paths {
    use std::path::{Path, PathBuf};

    #[must_use]
    pub fn log(data: &Path) -> PathBuf {
        data.join("log")
    }

    /// The dedup index of a partition.
    #[must_use]
    pub fn dedup(data: &Path, partition: u16) -> PathBuf {
        tidegate_log::partition_dir(&data.join("dedup"), partition)
    }

    #[must_use]
    pub fn state(data: &Path) -> PathBuf {
        data.join("state.db")
    }

    #[must_use]
    pub fn store(data: &Path) -> PathBuf {
        data.join("store")
    }

    /// Files that were sent with documents, by their contents.
    #[must_use]
    pub fn sent_files(data: &Path) -> PathBuf {
        store(data).join("files")
    }

    /// Which data directory it is.
    #[must_use]
    pub fn id(data: &Path) -> PathBuf {
        data.join("id")
    }

    /// What the last check found damaged.
    #[must_use]
    pub fn findings(data: &Path) -> PathBuf {
        data.join("findings.json")
    }

    /// What runs, and as of which revision.
    #[must_use]
    pub fn running(data: &Path) -> PathBuf {
        data.join("running.json")
    }

    /// What the syncs need that drain.
    #[must_use]
    pub fn endings(data: &Path) -> PathBuf {
        data.join("endings.json")
    }

    /// What there is, and who may do what with it.
    #[must_use]
    pub fn catalog(data: &Path) -> PathBuf {
        data.join("catalog.db")
    }

    /// What the secrets of the catalog are sealed under.
    #[must_use]
    pub fn instance_key(data: &Path) -> PathBuf {
        data.join("instance.key")
    }

    /// The hash of the admin token.
    #[must_use]
    pub fn admin(data: &Path) -> PathBuf {
        data.join("admin.json")
    }
}

pub use stop::STOP_MAX;

/// A server with everything open; nothing flows yet but the log's writer.
pub struct App {
    server: IngestServer,
    address: SocketAddr,
    log: LogPartitions,
    partitions: Vec<OpenPartition>,
    /// With the workers of each sync, which do not run yet, and where orders to change come from.
    parts: (RunningParts, Vec<Vec<ReadyWorker>>, mpsc::Receiver<api::ReloadRequest>),
    state: State,
    counts: Arc<IntakeCounts>,
    /// Kept until the last batch is through: the threads of the functions, and the far end of the rules.
    functions: (Pool, Arc<Live>),
    /// Where syncs and their destinations run.
    background: Background,
    active_runtimes: Arc<ActiveRuntimes>,
    admin: Admin,
    /// Of the catalog: a token of the first admin, if that was made at this start, and the threads that have it open.
    catalog: (Option<SecretValue>, Vec<JoinHandle<()>>),
    identity: (Identity, PathBuf),
    keeper: Keeper,
    /// Checked in the background, and what is known to be damaged already.
    to_check: (Vec<CheckedFile>, Vec<Finding>),
    /// Held for as long as the process uses the data directory.
    _lock: File,
}

/// Orders to read the workspace again that may wait for one another.
const RELOADS_MAX: usize = 8;

impl App {
    /// Opens everything that the workspace names, which was made of `documents`, and that its catalog has beside.
    ///
    /// # Errors
    /// The first thing that cannot be opened.
    pub async fn open(
        (documents, told): (WorkspaceDocuments, Workspace),
        listen: Option<SocketAddr>,
    ) -> Result<Self, AppError> {
        let descriptors = descriptors::raise();
        let data = told.data.clone();
        let lock = data_lock::lock(&data)?;
        modes::mend(&data);
        let known = OpenedCatalog::open_known(&told).await?;
        let catalog = known.as_ref().map(|known| &known.folder);
        let folder = Arc::new(documents);
        let mut wanted = what_runs::at_start(catalog, Arc::clone(&folder), KeptDocuments::new(), &told).await?;
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let background = Background::start(threads).map_err(AppError::Thread)?;
        let startup::StartedState { mut state, past, mut identity, findings } = startup::open(&wanted.whole.1)?;
        let draining = DrainingSyncs::open(&data, &mut state, wanted.revision)?;
        if !draining.kept().is_empty() {
            let beside = what_runs::at_start(catalog, folder, draining.kept().clone(), &told).await;
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
        let (store, builder) = VersionStore::open(&paths::store(&data), of_store)?;
        let key = identity.id.clone();
        let live = Live::open(&workspace, store.clone(), fingerprint(&workspace.specs, &key)).await?;
        let active_runtimes = ActiveRuntimes::open(&workspace, &store).await;
        let pool = Pool::start(threads).map_err(AppError::Thread)?;
        let count = partitions::settle(&workspace, past, &mut state)?;
        live.record(State::open(&paths::state(&data))?)?;
        let parts = PartitionParts { workspace: &workspace, past, count, live: &live, workers: pool.workers() };
        let opening = destinations::open(&workspace, &active_runtimes, count, |partition| parts.state(partition));
        let destinations = background::within(&background.handle(), opening).await?;
        let mut opened = Vec::new();
        for (partition, destinations) in (0..).zip(&destinations) {
            let ledgers = destinations.iter().map(|(sync, opened)| (sync.clone(), opened.ledger)).collect();
            opened.push(parts.open(partition, &ledgers)?);
        }
        let (syncs, workers) = first_workers::ready(&workspace, &mut opened, destinations, background.handle())?;
        let sum = |of: fn(&OpenPartition) -> u64| opened.iter().map(of).sum::<u64>();
        let (records, undelivered) = (sum(|one| one.records.0), sum(|one| one.records.1));
        let (bytes_cut, carried_over) = (sum(|one| one.bytes_cut), sum(|one| one.carried_over));
        tracing::info!(partitions = count, records, undelivered, bytes_cut, carried_over, "the log is open");
        let log = LogPartitions::new(opened.iter().map(|one| Arc::clone(&one.log)).collect());
        let (catalog, revision) = OpenedCatalog::begin(known, &wanted.told.folder, &workspace).await?;
        wanted.revision = revision;
        let (connections, admin_connections) = connections(&workspace, descriptors);
        let mut admin_limits = api::AdminLimits::default();
        admin_limits.wrong_tokens_max = workspace.wrong_tokens_max.unwrap_or(admin_limits.wrong_tokens_max);
        let door = RunningDoor::open(&workspace, threads, &catalog, &state.key_uses()?).await?;
        let (reloads, asked) = mpsc::channel(RELOADS_MAX);
        let workspace_admin = AdminPortSettings {
            listen: workspace.admin_listen,
            data: data.clone(),
            door: door.clone(),
            names: followers.names.subscribe(),
            reloads,
            running: api::Running {
                functions: live.taken(),
                destinations: active_runtimes.taken(),
                destination_logs: active_runtimes.destination_logs(),
                report: followers.report.subscribe(),
            },
            login: workspace.login.clone(),
            trusted_proxies: workspace.trusted_proxies.clone(),
            limits: admin_limits,
            connections: admin_connections,
        };
        let sqlite_files = keeper::sqlite_files(&workspace);
        let counts = Arc::new(IntakeCounts::default());
        let listen = listen.unwrap_or(workspace.listen);
        let settings = door::settings(&workspace, connections);
        let behind = vec![DoorEnvironment { entrance: door.follow(), log: log.clone() }];
        let bound = IngestServer::open(listen, settings, behind, Arc::clone(&counts));
        let server = bound.map_err(|cause| AppError::Listen { address: listen, cause })?;
        let address = server.address().map_err(|cause| AppError::Listen { address: listen, cause })?;
        let admin = Admin::open(&workspace_admin, (store, builder), &catalog)?;
        let first_token = catalog.first_token().await?;
        // Last of all: a start that is refused changes nothing of this.
        startup::advance(&mut state, &mut identity, &data)?;
        let keeper = Keeper::new(parts.state(0)?, followers.quarantine.subscribe(), door.follow());
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workspace = %workspace.dir.display(),
            data = %data.display(),
            address = %address,
            admin = %admin.address,
            sources = workspace.sources.len(),
            syncs = workspace.syncs.len(),
            "tidegate has started"
        );
        let parts = RunningParts::new(PartsAtStart {
            wanted,
            draining,
            key,
            live: Arc::clone(&live),
            runtimes: Arc::clone(&active_runtimes),
            syncs,
            door,
            followers,
            reader: WorkspaceReader { dir: workspace.dir.clone(), data: data.clone(), catalog: catalog.folder.clone() },
            files: (paths::running(&data), paths::state(&data)),
        });
        Ok(Self {
            server,
            address,
            log,
            partitions: opened,
            parts: (parts, workers, asked),
            state,
            counts,
            functions: (pool, live),
            background,
            active_runtimes,
            admin,
            catalog: (first_token, catalog.threads),
            identity: (identity, data),
            keeper,
            to_check: (sqlite_files, findings),
            _lock: lock,
        })
    }

    /// The address that it listens on.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the admin API.
    #[must_use]
    pub fn admin_address(&self) -> SocketAddr {
        self.admin.address
    }

    /// The admin token, if it was made at this start; it is shown once.
    pub fn take_admin_token(&mut self) -> Option<String> {
        self.admin.token.take()
    }

    /// A token of the first admin, if that one was made at this start; it is shown once.
    pub fn take_first_token(&mut self) -> Option<SecretValue> {
        self.catalog.0.take()
    }

    /// Each partition of the log that events enter, with the cursor of each sync.
    #[must_use]
    pub fn follow(&self) -> Vec<(Arc<dyn Log>, watch::Receiver<u64>)> {
        let of = |ready: &ReadyWorker| {
            let Delivering { log, cursor, .. } = ready.delivering();
            (log, cursor)
        };
        self.parts.1.iter().flatten().map(of).collect()
    }

    /// What came through the door.
    #[must_use]
    pub fn counts(&self) -> Arc<IntakeCounts> {
        Arc::clone(&self.counts)
    }

    /// Serves, and reads the workspace again as often as `hung_up` asks for it, until `stop` turns true, then drains: requests in flight are answered, what was accepted is delivered
    /// while the time lasts; the log keeps the rest. All of that ends within [`STOP_MAX`], whoever does not.
    ///
    /// # Errors
    /// The disk failed meanwhile.
    pub async fn run(self, stop: watch::Receiver<bool>, hung_up: mpsc::Receiver<()>) -> Result<(), AppError> {
        let Self { server, log, partitions, mut state, functions, background, active_runtimes, admin, keeper, .. } =
            self;
        let (_, catalog_threads) = self.catalog;
        let (mut identity, data) = self.identity;
        let (mut parts, ready, asked) = self.parts;
        if let Err(error) = keeper::check_in_background(&data, self.to_check.0, self.to_check.1) {
            tracing::warn!(error = %error, "large files of the data directory are not checked");
        }
        let (stop_server, server_stops) = watch::channel(false);
        let background_handle = background.handle();
        admin.run(Arc::clone(&functions.1), &background_handle, &server_stops);
        tokio::spawn(active_runtimes.follow(server_stops.clone()));
        let keeping = background_handle.spawn(keeper.run(server_stops.clone()));
        let serving = tokio::spawn(server.run(server_stops.clone()));
        let (mut kept, mut writers, mut refiners) = (Vec::new(), Vec::new(), Vec::new());
        for OpenPartition { log, writer, refiner, state, .. } in partitions {
            let dedup = paths::dedup(&data, state.partition());
            kept.push(KeptPartition { dedup, log, cursors: parts.syncs().cursors(), state });
            writers.push(writer);
            refiners.push(refiner);
        }
        ready.into_iter().for_each(|workers| parts.syncs().run(workers));
        let parts = background_handle.spawn(parts.serve(asked, hung_up, server_stops));
        watch_over(kept, stop).await;
        let mut time = Budget::start();
        // New events stop first, then what was accepted flows out.
        stop_server.send_replace(true);
        time.step("connections of clients", stop::SERVING_MAX, serving).await;
        time.step("what write keys were used for", stop::KEEPER_MAX, Keeper::end(keeping)).await;
        log.close();
        let poisoned = log.is_poisoned();
        time.step("the writer of the log", stop::WRITER_MAX, join(writers)).await;
        // They change no more since the order to stop.
        let syncs = tokio::time::timeout(stop::PARTS_MAX, parts).await.ok().and_then(Result::ok);
        if let Some(syncs) = syncs.as_ref().filter(|_| !poisoned) {
            time.drain(&syncs.delivering()).await;
        }
        // With the last handle of the refiners, which end then.
        let records_waiting = match syncs {
            Some(syncs) => time.end(syncs).await,
            None => {
                tracing::warn!(
                    "left behind at the stop: a change of what runs did not end in time; what was not delivered waits in the log"
                );
                0
            }
        };
        time.step("the refiner", stop::REFINER_MAX, join(refiners)).await;
        drop(functions);
        let ending = tokio::task::spawn_blocking(move || background.end(stop::BACKGROUND_MAX));
        time.step("what worked in the background", stop::BACKGROUND_MAX, ending).await;
        time.step("the catalog", stop::CATALOG_MAX, join(catalog_threads)).await;
        // A copy of the state that was made while this process ran is an older one from now on.
        if let Err(error) = startup::advance(&mut state, &mut identity, &data) {
            tracing::warn!(error = %error, "could not mark the state as the latest");
        }
        if poisoned {
            return Err(AppError::Poisoned);
        }
        tracing::info!(milliseconds = time.spent_ms(), records_waiting, "tidegate has stopped");
        Ok(())
    }
}

/// Says what opening the log found.
fn report(recovery: &intake::Recovery) {
    for note in &recovery.notes {
        match note.severity {
            intake::Severity::Info => tracing::info!("{}", note.text),
            intake::Severity::Warning => tracing::warn!("{}", note.text),
            intake::Severity::Error => tracing::error!("{}", note.text),
        }
    }
    if let Some(kept) = &recovery.torn_kept {
        tracing::warn!(bytes = recovery.torn_bytes, kept = %kept.display(), "the log ended in an unfinished write, which nobody was answered for; it was cut and kept");
    }
    if recovery.damaged > 0 {
        tracing::error!(ranges = recovery.damaged, "the log has damaged ranges; their bytes go to quarantine");
    }
}

async fn join(threads: Vec<JoinHandle<()>>) {
    let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
    let _ = tokio::task::spawn_blocking(join).await;
}

/// Limits of connections of both ports, as far as there are descriptors for them.
fn connections(workspace: &Workspace, descriptors: u64) -> (net::ConnectionLimits, net::ConnectionLimits) {
    let asked = workspace.connections.connections_max;
    let shares = descriptors::shares(descriptors, asked, api::CONNECTIONS_MAX);
    if shares.ingest < asked {
        tracing::warn!(
            connections_max = asked,
            connections = shares.ingest,
            descriptors = shares.limit,
            "the process may have too few open files for limits.connections_max, so fewer connections are taken; raise the limit (ulimit -n, LimitNOFILE) or lower connections_max"
        );
    }
    let ingest = net::ConnectionLimits { connections_max: shares.ingest, ..workspace.connections.clone() };
    // This machine's programs ask here, all from one address.
    let admin = net::ConnectionLimits {
        connections_max: shares.admin,
        connections_address_max: shares.admin,
        ..workspace.connections.clone()
    };
    (ingest, admin)
}

//! Wires the parts: opens them in the order of their floors, starts them, changes them while they run, stops them in the order in
//! which events flow, so that whatever was accepted has a place to go. What is there once in a process is here: the two ports, the catalog,
//! the threads. What each environment has is in its [`engine`].

mod admin;
mod background;
pub mod catalog;
pub mod change_plan;
mod compare;
pub mod connect;
mod continuity;
mod data_lock;
pub mod data_id;
pub mod declare;
mod destinations;
mod door;
pub mod endings;
mod engine;
pub mod findings;
pub mod folder_watch;
mod first_workers;
mod followed_releases;
mod followers;
pub mod inspect;
mod instance_key;
mod keeper;
mod key_follower;
mod key_uses;
mod granted_tables;
mod live;
pub mod live_versions;
mod modes;
mod active_runtimes;
mod partitions;
pub mod rekey;
mod removals;
mod running_door;
mod running_environments;
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
mod tries;
mod unopened;
mod what_runs;

use std::fs::File;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;

use futures_util::future::{join_all, try_join_all};
use tidegate_catalog::SecretValue;
use tidegate_document::problem::Problem;
use tidegate_log::{self as intake, Log};
use tidegate_net::{self as net, descriptors};
use tidegate_pipeline::refine;
use tidegate_registry as store;
use tidegate_source::http::{IngestServer, IntakeCounts};
use tidegate_state as state;
use tidegate_wasm::function::Pool;
use tidegate_wasm::lookup;
use tokio::sync::{mpsc, watch};

use crate::api;
use crate::config::{MAIN_ENVIRONMENT, ReadEnvironment, Workspace};
use admin::{Admin, AdminPortSettings};
use background::Background;
use catalog::OpenedCatalog;
use engine::{ConnectedEngine, EndedEngine, ResolvedEnvironment, SharedEngineParts, WorkspaceEngine};
use partitions::watch_over;
use running_environments::RunningEnvironments;
use running_syncs::Delivering;
use stop::Budget;
use what_runs::WorkspacePlace;

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
    #[error("there is no workspace to run")]
    NoWorkspace,
    #[error("environment {name}: {cause}")]
    Environment {
        name: String,
        #[source]
        cause: Box<AppError>,
    },
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

impl AppError {
    /// The same, of an environment. What is the server's own is said without.
    fn of_environment(self, name: &str) -> Self {
        match self {
            Self::Problems(_) => self,
            error if name == MAIN_ENVIRONMENT => error,
            error => Self::Environment { name: name.to_owned(), cause: Box::new(error) },
        }
    }
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

/// A server with everything open; nothing flows yet but the writers of the logs.
pub struct App {
    server: IngestServer,
    address: SocketAddr,
    /// That of the server's own folder first.
    engines: Vec<WorkspaceEngine>,
    counts: Arc<IntakeCounts>,
    /// The threads of the functions, kept until the last batch is through.
    functions: Pool,
    /// Where syncs and their destinations run.
    background: Background,
    admin: Admin,
    /// Of the catalog: a token of the first admin, if that was made at this start, and the threads that have it open.
    catalog: (Option<SecretValue>, Vec<JoinHandle<()>>),
    /// Held for as long as the process uses the data directory.
    _lock: File,
}

impl App {
    /// Opens everything that the workspaces name, and that the catalog has beside them: that of the server's own folder, which comes
    /// first, and those of its environments.
    ///
    /// # Errors
    /// The first thing that cannot be opened. Nothing is started then, whichever environment it is of.
    pub async fn open(environments: Vec<ReadEnvironment>, listen: Option<SocketAddr>) -> Result<Self, AppError> {
        let descriptors = descriptors::raise();
        let Some(main) = environments.first().map(|main| &main.workspace) else { return Err(AppError::NoWorkspace) };
        let (data, listen) = (main.data.clone(), listen.unwrap_or(main.listen));
        let lock = data_lock::lock(&data)?;
        modes::mend(&data);
        let known = OpenedCatalog::open_known(main).await?;
        let places = places(&environments);
        let (running, mut resolved) = (RunningEnvironments::default(), Vec::new());
        for (environment, place) in environments.into_iter().zip(places) {
            resolved.push(ResolvedEnvironment::resolve(environment, place, known.as_ref()).await?);
        }
        let made = match &known {
            Some(known) => Some(known.folder.catalog().write_keys().await?),
            None => None,
        };
        for one in &resolved {
            let taken = made.as_ref().map(|made| door::keys_of_others(made, one.name(), one.workspace()));
            taken.filter(|taken| !taken.is_empty()).map_or(Ok(()), |taken| Err(AppError::Problems(taken)))?;
            running.claim(one.name(), one.workspace()).map_err(AppError::Problems)?;
        }
        let Some(workspace) = resolved.first().map(|main| Arc::clone(main.workspace())) else {
            return Err(AppError::NoWorkspace);
        };
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let background = Background::start(cores).map_err(AppError::Thread)?;
        let functions = Pool::start(cores).map_err(AppError::Thread)?;
        let shared = SharedEngineParts {
            background: background.handle(),
            workers: functions.workers(),
            cores,
            hasher: door::hasher(),
            environments: running,
            tries: tries::turns(),
        };
        // Together: a destination that is away is waited for once.
        let opened = try_join_all(resolved.into_iter().map(|one| one.open(&shared))).await?;
        let catalog = OpenedCatalog::known_or_new(known, &workspace).await?;
        let mut folders = Vec::new();
        for one in &opened {
            folders.push(one.tell(&catalog).await?);
        }
        let (revision, mut engines) = (catalog.begun().await?, Vec::new());
        for (one, folder) in opened.into_iter().zip(folders) {
            engines.push(one.connect((folder, revision), &shared).await?);
        }
        let (connections, admin_connections) = connections(&workspace, descriptors);
        let counts = Arc::new(IntakeCounts::default());
        let behind_door = engines.iter().map(ConnectedEngine::behind_door).collect();
        let settings = door::settings(&workspace, connections);
        let bound = IngestServer::open(listen, settings, behind_door, Arc::clone(&counts));
        let server = bound.map_err(|cause| AppError::Listen { address: listen, cause })?;
        let address = server.address().map_err(|cause| AppError::Listen { address: listen, cause })?;
        let admin = Admin::open(AdminPortSettings::of(&workspace, admin_connections), &engines, &catalog)?;
        let first_token = catalog.first_token().await?;
        // Last of all: a start that is refused changes nothing of this.
        engines.iter_mut().try_for_each(ConnectedEngine::advance)?;
        tracing::info!(
            version = env!("CARGO_PKG_VERSION"),
            workspace = %workspace.dir.display(),
            data = %data.display(),
            address = %address,
            admin = %admin.address,
            sources = workspace.sources.len(),
            syncs = workspace.syncs.len(),
            environments = engines.len(),
            "tidegate has started"
        );
        Ok(Self {
            server,
            address,
            engines: engines.into_iter().map(ConnectedEngine::begin).collect(),
            counts,
            functions,
            background,
            admin,
            catalog: (first_token, catalog.threads),
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

    /// Each partition of each log that events enter, with the cursor of each sync.
    #[must_use]
    pub fn follow(&self) -> Vec<(Arc<dyn Log>, watch::Receiver<u64>)> {
        let delivering = self.engines.iter().flat_map(WorkspaceEngine::delivering);
        delivering.map(|Delivering { log, cursor, .. }| (log, cursor)).collect()
    }

    /// What came through the door.
    #[must_use]
    pub fn counts(&self) -> Arc<IntakeCounts> {
        Arc::clone(&self.counts)
    }

    /// Serves, and reads the workspaces again as often as `hung_up` asks for it, until `stop` turns true, then drains: requests in flight are
    /// answered, what was accepted is delivered while the time lasts; the logs keep the rest. All of that ends within [`STOP_MAX`], whoever
    /// does not.
    ///
    /// # Errors
    /// The disk failed meanwhile.
    pub async fn run(self, stop: watch::Receiver<bool>, hung_up: mpsc::Receiver<()>) -> Result<(), AppError> {
        let Self { server, engines, functions, background, admin, catalog, .. } = self;
        let (stop_server, server_stops) = watch::channel(false);
        let handle = background.handle();
        admin.run(&handle, &server_stops);
        let serving = tokio::spawn(server.run(server_stops.clone()));
        let (mut running, mut kept, mut orders) = (Vec::new(), Vec::new(), Vec::new());
        for engine in engines {
            let (order, asked) = mpsc::channel(1);
            let (engine, partitions) = engine.run(&handle, asked, &server_stops);
            running.push(engine);
            kept.extend(partitions);
            orders.push(order);
        }
        tokio::spawn(hand_on(hung_up, orders));
        watch_over(kept, stop).await;
        let mut time = Budget::start();
        // New events stop first, then what was accepted flows out, of all environments at once.
        stop_server.send_replace(true);
        time.step("connections of clients", stop::SERVING_MAX, serving).await;
        let ended = join_all(running.into_iter().map(|engine| engine.end(time))).await;
        drop(functions);
        let ending = tokio::task::spawn_blocking(move || background.end(stop::BACKGROUND_MAX));
        time.step("what worked in the background", stop::BACKGROUND_MAX, ending).await;
        time.step("the catalog", stop::CATALOG_MAX, stop::join(catalog.1)).await;
        let is_poisoned = ended.iter().any(|engine| engine.is_poisoned);
        let records_waiting = ended.iter().map(|engine| engine.records_waiting).max().unwrap_or(0);
        ended.into_iter().for_each(EndedEngine::advance);
        if is_poisoned {
            return Err(AppError::Poisoned);
        }
        tracing::info!(milliseconds = time.spent_ms(), records_waiting, "tidegate has stopped");
        Ok(())
    }
}

/// Where the files of each environment are.
fn places(environments: &[ReadEnvironment]) -> Vec<WorkspacePlace> {
    let Some(main) = environments.first().map(|main| &main.workspace) else { return Vec::new() };
    let place = |one: &ReadEnvironment| {
        let is_main = one.workspace.dir == main.dir;
        let others = environments.iter().filter(|other| other.name != one.name && other.workspace.dir != main.dir);
        let mut closed: Vec<PathBuf> = others.map(|other| other.workspace.dir.clone()).collect();
        closed.push(main.data.clone());
        WorkspacePlace {
            dir: one.workspace.dir.clone(),
            data: one.workspace.data.clone(),
            server_dir: (!is_main).then(|| main.dir.clone()),
            sent_files: paths::sent_files(&main.data),
            closed,
        }
    };
    environments.iter().map(place).collect()
}

/// Hands every order to read the workspaces again on to all engines. One that has not begun with the order before needs no other.
async fn hand_on(mut orders: mpsc::Receiver<()>, engines: Vec<mpsc::Sender<()>>) {
    while orders.recv().await.is_some() {
        for engine in &engines {
            let _ = engine.try_send(());
        }
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

//! Wires the parts: opens them in the order of their floors, starts them, changes them while they run, stops them in the order in
//! which events flow, so that whatever was accepted has a place to go. What is there once in a process is here: the two ports, the catalog,
//! the threads. What each environment has is in its [`engine`].

mod admin;
mod alert_messages;
mod alert_snapshot;
mod alerts;
pub mod archive;
mod background;
pub mod backup;
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
mod entry_originals;
mod entry_retries;
mod engine;
mod field_changes;
pub mod findings;
pub mod folder_watch;
mod first_workers;
mod followed_releases;
mod followers;
mod forget_jobs;
pub mod inspect;
mod instance_key;
mod keeper;
pub mod kept_json;
mod key_follower;
mod key_uses;
mod granted_tables;
mod live;
pub mod live_versions;
mod log_times;
mod modes;
mod active_runtimes;
mod partitions;
pub mod paths;
pub mod rekey;
mod recount;
mod rebuild_batches;
mod rebuild_target;
mod rebuilds;
mod replay_archive;
mod replay_batches;
mod replay_parts;
mod replays;
mod retention;
mod removals;
mod restored;
mod running_door;
mod running_environments;
mod running_parts;
pub mod running_report;
mod running_streams;
mod running_syncs;
pub mod sample;
mod shared_leases;
mod span_export;
mod starts;
mod startup;
mod stop;
mod store_secrets;
mod swap_locks;
mod stream_checkpoints;
pub mod stream_report;
mod sync_cursors;
mod sync_restart;
pub mod table_comparison;
mod tls_ports;
pub mod tls_report;
mod told_changes;
mod tool_deletions;
mod traces;
mod tries;
mod unloadable;
mod unopened;
mod waiting_consents;
mod warehouse_queries;
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
use tidegate_process::clock;
use tidegate_registry as store;
use tidegate_source::http::{IngestServer, IntakeCounts};
use tidegate_state as state;
use tidegate_wasm::function::Pool;
use tidegate_wasm::lookup;
use tokio::sync::{mpsc, watch};

use crate::api;
use crate::config::{MAIN_ENVIRONMENT, ReadEnvironment, Workspace};
use admin::{Admin, AdminPortSettings, ProcessCounts};
use background::Background;
use catalog::OpenedCatalog;
use engine::{ConnectedEngine, EndedEngine, ResolvedEnvironment, SharedEngineParts, WorkspaceEngine};
use partitions::watch_over;
use running_environments::RunningEnvironments;
use running_syncs::Delivering;
use shared_leases::SharedLeases;
use span_export::SpanExport;
use stop::Budget;
use tls_ports::TlsPorts;
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
    Archive(#[from] archive::ArchiveError),
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
    #[error("spans cannot be sent: {0}; mend `traces` in tidegate.yaml")]
    Traces(String),
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
    /// On their way to a collector.
    spans: Option<SpanExport>,
    tls: TlsPorts,
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
        let tls = TlsPorts::open(main).map_err(AppError::Problems)?;
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
        let spans = workspace.traces.as_ref().map(SpanExport::open).transpose().map_err(AppError::Traces)?;
        let shared = SharedEngineParts {
            background: background.handle(),
            workers: functions.workers(),
            cores,
            hasher: door::hasher(),
            environments: running,
            tries: tries::turns(),
            leases: workspace.leases.as_ref().map(SharedLeases::new),
            spans: spans.as_ref().map(SpanExport::board).unwrap_or_default(),
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
        let settings = door::settings(&workspace, connections, tls.ingest.clone());
        let bound = IngestServer::open(listen, settings, behind_door, Arc::clone(&counts));
        let server = bound.map_err(|cause| AppError::Listen { address: listen, cause })?;
        let address = server.address().map_err(|cause| AppError::Listen { address: listen, cause })?;
        let (intake, of_process) = (Arc::clone(&counts), shared.spans.clone());
        let counted = ProcessCounts { intake, spans: of_process, started_us: clock::now_us() };
        let door = (address, tls.ingest.is_some());
        let admin = AdminPortSettings::of(&workspace, admin_connections, counted, tls.admin.clone(), door);
        let admin = Admin::open(admin, &engines, &catalog)?;
        let first_token = catalog.first_token().await?;
        tls.begin();
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
            spans,
            tls,
            catalog: (first_token, catalog.threads),
            _lock: lock,
        })
    }

    /// Where it takes events.
    #[must_use]
    pub fn url(&self) -> String {
        tls_ports::url(self.address, self.tls.ingest.is_some())
    }

    /// Where the admin API is.
    #[must_use]
    pub fn admin_url(&self) -> String {
        tls_ports::url(self.admin.address, self.tls.admin.is_some())
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
        let Self { server, engines, functions, background, admin, spans, tls, catalog, .. } = self;
        let (stop_server, server_stops) = watch::channel(false);
        let handle = background.handle();
        admin.run(&handle, &server_stops);
        let (stop_spans, spans_stop) = watch::channel(false);
        let sending = spans.map(|spans| handle.spawn(spans.run(spans_stop)));
        handle.spawn(tls.follow_files(server_stops.clone()));
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
        stop_spans.send_replace(true);
        if let Some(sending) = sending {
            time.step("spans of requests", stop::SPANS_MAX, sending).await;
        }
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

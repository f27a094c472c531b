//! Wires the rooms: opens them in the order of their floors, starts them, stops them in the order in which events
//! flow, so that whatever was accepted has a place to go.

mod admin;
pub mod declare;
mod destinations;
mod lend;
mod live;
mod modes;
mod posts;
mod stop;

use std::collections::HashMap;
use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;

use crate::clock;
use crate::config::Workspace;
use crate::function::Pool;
use crate::intake::{self, Log};
use crate::lookup;
use crate::refine::{self, Refiner, Rules};
use crate::source::http::{Counts, Keys, Server, Settings};
use crate::state::{self, State};
use crate::store::{self, Store};
use crate::sync::{Sync, Worker};
use crate::wasm;
use admin::{Admin, AdminSettings};
use live::Live;
use posts::Posts;
use stop::{Budget, Delivering};

/// Why a server did not start, or did not end well.
#[derive(Debug, thiserror::Error)]
pub enum Error {
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
    #[error(transparent)]
    Log(#[from] intake::Error),
    #[error(transparent)]
    State(#[from] state::Error),
    #[error(transparent)]
    Refine(#[from] refine::Error),
    #[error(transparent)]
    Store(#[from] store::Error),
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
        cause: lookup::Error,
    },
    #[error("sync {name}: {cause}")]
    Sync { name: String, cause: Box<dyn std::error::Error + Send + std::marker::Sync> },
    #[error("destination {name}: {cause}")]
    Destination { name: String, cause: Box<dyn std::error::Error + Send + std::marker::Sync> },
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

    #[must_use]
    pub fn state(data: &Path) -> PathBuf {
        data.join("state.db")
    }

    #[must_use]
    pub fn store(data: &Path) -> PathBuf {
        data.join("store")
    }

    /// The hash of the admin token.
    #[must_use]
    pub fn admin(data: &Path) -> PathBuf {
        data.join("admin.json")
    }
}

pub use stop::STOP_MAX;
const TRIM_INTERVAL: Duration = Duration::from_secs(60);

/// A server with everything open; nothing flows yet but the log's writer.
pub struct App {
    server: Server,
    address: SocketAddr,
    log: Log,
    log_writer: JoinHandle<()>,
    refiner: JoinHandle<()>,
    workers: Vec<Worker>,
    state: State,
    counts: Arc<Counts>,
    /// Kept until the last batch is through: the threads of the functions, and the far ends of their lineups.
    functions: (Pool, Arc<Live>),
    posts: Arc<Posts>,
    admin: Admin,
    /// Held for as long as the process uses the data directory.
    _lock: File,
}

impl App {
    /// Opens everything that `workspace` names.
    ///
    /// # Errors
    /// The first thing that cannot be opened.
    pub async fn open(workspace: Workspace, listen: Option<SocketAddr>) -> Result<Self, Error> {
        let data = workspace.data.clone();
        let lock = lock(&data)?;
        modes::mend(&data);
        let open_state = || State::open(&paths::state(&data), workspace.window.clone());
        let state = open_state()?;
        let limits = wasm::Limits { pagemap_scan: workspace.pagemap_scan, ..wasm::Limits::default() };
        let of_store = store::Settings { admits: posts::admission(&workspace), limits, ..store::Settings::default() };
        let (store, builder) = Store::open(&paths::store(&data), of_store)?;
        let live = Live::open(&workspace, store.clone()).await?;
        let mut handed_to: HashMap<Arc<str>, u64> = HashMap::new();
        let posts = Posts::open(&workspace, &store).await?;
        let destinations = destinations::open(&workspace, &posts, open_state).await?;
        let mut floor = state.refined_to()?;
        for report in state.reports()? {
            floor = floor.max(report.cursor);
            if let Some(sync) = workspace.syncs.get(&report.sync) {
                furthest(&mut handed_to, &sync.source.0, report.cursor);
            }
        }
        let (destinations, durable): (Vec<_>, Vec<_>) = destinations.into_iter().unzip();
        for (sync, durable) in workspace.syncs.values().zip(durable) {
            floor = floor.max(durable);
            furthest(&mut handed_to, &sync.source.0, durable);
        }
        let (log, writer, recovery) = Log::open(&paths::log(&data), workspace.log.clone(), floor, clock::now_us())?;
        if let Some(kept) = &recovery.torn_kept {
            tracing::warn!(bytes = recovery.torn_bytes, kept = %kept.display(), "the log ended in an unfinished write, which nobody was answered for; it was cut and kept");
        }
        let records = recovery.next.saturating_sub(log.oldest());
        let undelivered = handed_to.values().min().map_or(records, |least| recovery.next.saturating_sub(*least));
        tracing::info!(records, undelivered, bytes_cut = recovery.torn_bytes, "the log is open");
        if recovery.damaged > 0 {
            tracing::error!(
                stretches = recovery.damaged,
                "the log has damaged stretches; their bytes go to quarantine"
            );
        }
        let log_writer = writer.run().map_err(Error::Thread)?;
        let refiner = Refiner::open(log.clone(), open_state()?, rules(&workspace), refine::Settings::default())?;
        let threads = std::thread::available_parallelism().map_or(2, std::num::NonZeroUsize::get);
        let pool = Pool::start(threads).map_err(Error::Thread)?;
        let of_sources =
            refine::Functions { workers: pool.workers(), live: live.of_sources(), recall: live.recall(), handed_to };
        let (handle, refiner) = refiner.run(of_sources, open_state()?)?;
        let mut workers = Vec::new();
        for ((name, config), destination) in workspace.syncs.iter().zip(destinations) {
            let sync = Sync {
                name: name.as_str().into(),
                source: config.source.0.as_str().into(),
                filter: config.filter.clone(),
                functions: live.of_sync(name),
                mapping: config.mapping.clone(),
                settings: destinations::settings(&workspace, config),
                destination,
            };
            workers.push(Worker::open(sync, handle.clone(), log.clone(), open_state()?));
        }
        let workspace_admin = AdminSettings {
            listen: workspace.admin_listen,
            data: data.clone(),
            sources: workspace.sources.keys().cloned().collect(),
            functions: workspace.functions.keys().cloned().collect(),
            syncs: posts::used(&workspace),
            lent: lend::lent(&workspace),
        };
        let keys = Keys::new(workspace.sources.iter().map(|(name, source)| (source.write_key.as_str(), name.as_str())));
        let settings = Settings { limits: workspace.limits, trusted_proxies: workspace.trusted_proxies, keys };
        let counts = Arc::new(Counts::default());
        let listen = listen.unwrap_or(workspace.listen);
        let bound = Server::open(listen, settings, log.clone(), Arc::clone(&counts)).await;
        let server = bound.map_err(|cause| Error::Listen { address: listen, cause })?;
        let address = server.address().map_err(|cause| Error::Listen { address: listen, cause })?;
        let admin = Admin::open(&workspace_admin, store, builder).await?;
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
        Ok(Self {
            server,
            address,
            log,
            log_writer,
            refiner,
            workers,
            state,
            counts,
            functions: (pool, live),
            posts,
            admin,
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

    /// The log that events enter.
    #[must_use]
    pub fn log(&self) -> Log {
        self.log.clone()
    }

    /// Follows each sync's cursor.
    #[must_use]
    pub fn follow(&self) -> Vec<watch::Receiver<u64>> {
        self.workers.iter().map(Worker::follow).collect()
    }

    /// What came through the door.
    #[must_use]
    pub fn counts(&self) -> Arc<Counts> {
        Arc::clone(&self.counts)
    }

    /// Serves until `stop` turns true, then drains: requests in flight are answered, what was accepted is delivered
    /// while the time lasts; the log keeps the rest. All of that ends within [`STOP_MAX`], whoever does not.
    ///
    /// # Errors
    /// The disk failed meanwhile.
    pub async fn run(self, stop: watch::Receiver<bool>) -> Result<(), Error> {
        let Self { server, log, log_writer, refiner, workers, mut state, functions, posts, admin, .. } = self;
        let (stop_server, server_stops) = watch::channel(false);
        let (stop_workers, workers_stop) = watch::channel(false);
        admin.run(Arc::clone(&functions.1), &server_stops);
        tokio::spawn(posts.follow(server_stops.clone()));
        let serving = tokio::spawn(server.run(server_stops));
        let cursors: Vec<watch::Receiver<u64>> = workers.iter().map(Worker::follow).collect();
        let start = |worker: Worker| Delivering {
            sync: worker.name(),
            cursor: worker.follow(),
            task: worker.run(workers_stop.clone()),
        };
        let delivering: Vec<Delivering> = workers.into_iter().map(start).collect();
        watch_over(&log, &cursors, &mut state, stop).await;
        let mut time = Budget::start();
        // New events stop first, then what was accepted flows out.
        stop_server.send_replace(true);
        time.step("connections of clients", stop::SERVING_MAX, serving).await;
        log.close();
        let poisoned = log.is_poisoned();
        time.step("the writer of the log", stop::WRITER_MAX, join(log_writer)).await;
        let end = log.committed();
        if !poisoned {
            time.drain(end, &delivering).await;
        }
        stop_workers.send_replace(true);
        let records_waiting = time.end(end, delivering).await;
        time.step("the refiner", stop::REFINER_MAX, join(refiner)).await;
        drop(functions);
        if poisoned {
            return Err(Error::Poisoned);
        }
        tracing::info!(milliseconds = time.spent_ms(), records_waiting, "tidegate has stopped");
        Ok(())
    }
}

/// Waits for the order to stop or for a failed disk, and trims the log meanwhile.
async fn watch_over(log: &Log, cursors: &[watch::Receiver<u64>], state: &mut State, mut stop: watch::Receiver<bool>) {
    let mut committed = log.follow();
    let mut trim = tokio::time::interval(TRIM_INTERVAL);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            _ = trim.tick() => {
                let slowest = cursors.iter().map(|cursor| *cursor.borrow()).min();
                let refined = state.refined_to().unwrap_or(0);
                let floor = slowest.map_or(refined, |slowest| slowest.min(refined));
                if let Err(error) = trim_log(log, state, floor) {
                    tracing::error!(error = %error, "the log could not be trimmed");
                }
            }
            _ = committed.changed() => {
                if log.is_poisoned() {
                    return;
                }
            }
        }
    }
}

fn trim_log(log: &Log, state: &mut State, floor: u64) -> Result<(), Error> {
    state.forget_below(log.oldest())?;
    let trimmed = log.trim(floor, clock::now_us())?;
    if trimmed.records_lost > 0 {
        tracing::error!(
            records = trimmed.records_lost,
            "log.hard_cap_bytes is reached: records were removed that not every sync had delivered"
        );
    }
    Ok(())
}

async fn join(thread: JoinHandle<()>) {
    let _ = tokio::task::spawn_blocking(move || thread.join()).await;
}

/// Takes the data directory for this process alone.
fn lock(data: &Path) -> Result<File, Error> {
    let io = |action, path: &Path| {
        let path = path.to_owned();
        move |cause| Error::Io { action, path, cause }
    };
    std::fs::create_dir_all(data).map_err(io("could not make the data directory", data))?;
    let path = data.join("lock");
    let file =
        File::options().create(true).truncate(false).write(true).open(&path).map_err(io("could not open", &path))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(Error::InUse { path: data.to_owned() }),
        Err(TryLockError::Error(cause)) => Err(io("could not lock", &path)(cause)),
    }
}

fn furthest(handed_to: &mut HashMap<Arc<str>, u64>, source: &str, offset: u64) {
    let furthest = handed_to.entry(source.into()).or_default();
    *furthest = offset.max(*furthest);
}

fn rules(workspace: &Workspace) -> Vec<Rules> {
    let rules =
        |name: &String| Rules { source: name.as_str().into(), contract: workspace.contracts.get(name).cloned() };
    workspace.sources.keys().map(rules).collect()
}

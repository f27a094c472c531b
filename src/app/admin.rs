//! The admin API with the engines behind it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_metrics::SpanBoard;
use tidegate_net as net;
use tidegate_oidc::LoginSettings;
use tidegate_source::http::IntakeCounts;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::catalog::OpenedCatalog;
use super::engine::ConnectedEngine;
use super::key_follower::KeyFollower;
use super::{AppError, paths};
use crate::api::{self, AdminApi};
use crate::config::{MetricsConfig, Workspace};
use crate::console;

/// What is counted for the whole process.
pub(super) struct ProcessCounts {
    pub(super) intake: Arc<IntakeCounts>,
    pub(super) spans: SpanBoard,
    /// When it started, microseconds since the epoch.
    pub(super) started_us: i64,
}

/// What it needs of the server.
pub(super) struct AdminPortSettings {
    listen: SocketAddr,
    events_url: String,
    data: PathBuf,
    login: LoginSettings,
    trusted_proxies: Vec<net::Network>,
    limits: api::AdminLimits,
    connections: net::ConnectionLimits,
    metrics: api::MetricsSettings,
    tls: Option<Arc<net::PortTls>>,
}

impl AdminPortSettings {
    /// As the server's own folder says; `door` is where events are taken, and whether it speaks TLS.
    pub(super) fn of(
        workspace: &Workspace,
        connections: net::ConnectionLimits,
        counted: ProcessCounts,
        tls: Option<Arc<net::PortTls>>,
        door: (SocketAddr, bool),
    ) -> Self {
        let mut limits = api::AdminLimits::default();
        limits.wrong_tokens_max = workspace.wrong_tokens_max.unwrap_or(limits.wrong_tokens_max);
        let ProcessCounts { intake, spans, started_us } = counted;
        let MetricsConfig { open, token } = workspace.metrics.clone();
        Self {
            listen: workspace.admin_listen,
            events_url: events_url(workspace.public_host.as_deref(), door),
            data: workspace.data.clone(),
            login: workspace.login.clone(),
            trusted_proxies: workspace.trusted_proxies.clone(),
            limits,
            connections,
            metrics: api::MetricsSettings { open, token, intake, spans, started_us },
            tls,
        }
    }
}

/// Where people are told to send events to: the public address, or that of the door.
fn events_url(public_host: Option<&str>, (door, speaks_tls): (SocketAddr, bool)) -> String {
    let is_here = |host: &str| host.starts_with("localhost") || host.starts_with("127.");
    match public_host {
        None if speaks_tls => format!("https://{door}"),
        None => format!("http://{door}"),
        Some(host) if is_here(host) && !speaks_tls => format!("http://{host}"),
        Some(host) => format!("https://{host}"),
    }
}

/// Changes of write keys that wait for the door.
const KEY_ORDERS_MAX: usize = 64;

/// The API, bound, and what brings write keys to the door.
pub(super) struct Admin {
    api: AdminApi,
    keys: KeyFollower,
    pub(super) address: SocketAddr,
    /// Made at this start, if any.
    pub(super) token: Option<String>,
}

impl Admin {
    pub(super) fn open(
        settings: AdminPortSettings,
        engines: &[ConnectedEngine],
        catalog: &OpenedCatalog,
    ) -> Result<Self, AppError> {
        let AdminPortSettings { listen, events_url, data, login, trusted_proxies, limits, connections, metrics, tls } =
            settings;
        let token_file = paths::admin(&data);
        let token = api::access::ensure(&token_file).map_err(|cause| AppError::Io {
            action: "the hash of the admin token",
            path: token_file.clone(),
            cause,
        })?;
        let catalog = catalog.settings(engines.iter().map(ConnectedEngine::catalog), paths::sent_files(&data));
        let (write_keys, asked) = mpsc::channel(KEY_ORDERS_MAX);
        let doors = engines.iter().map(|engine| engine.door.clone()).collect();
        let keys = KeyFollower::new(Arc::clone(&catalog.catalog), doors, asked);
        let engines: BTreeMap<String, Arc<api::EngineSettings>> =
            engines.iter().map(|engine| (engine.name().to_owned(), Arc::clone(&engine.api))).collect();
        let of_api = api::AdminSettings {
            token_file,
            engines,
            write_keys,
            catalog,
            login,
            events_url,
            trusted_proxies,
            limits,
            connections,
            metrics,
            tls,
        };
        let refused = |cause| AppError::ListenAdmin { address: listen, cause };
        let api = AdminApi::open(listen, of_api, console::pages()).map_err(refused)?;
        let address = api.address().map_err(refused)?;
        Ok(Self { api, keys, address, token })
    }

    /// Serves until `stop` turns true.
    pub(super) fn run(self, background: &Handle, stop: &watch::Receiver<bool>) {
        // Its requests read files and SQLite where they stand.
        background.spawn(self.api.run(stop.clone()));
        background.spawn(self.keys.run(stop.clone()));
    }
}

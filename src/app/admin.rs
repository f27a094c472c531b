//! The admin API with the store behind it.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_net as net;
use tidegate_oidc::LoginSettings;
use tidegate_registry::{BuildQueue, VersionStore};
use tidegate_state::State;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, watch};

use super::catalog::OpenedCatalog;
use super::key_follower::KeyFollower;
use super::live::Live;
use super::running_door::RunningDoor;
use super::{AppError, paths};
use crate::api::{self, AdminApi};

/// What it needs of the workspace.
pub(super) struct AdminPortSettings {
    pub(super) listen: SocketAddr,
    pub(super) data: PathBuf,
    pub(super) door: RunningDoor,
    pub(super) names: watch::Receiver<Arc<api::WorkspaceNames>>,
    pub(super) reloads: mpsc::Sender<api::ReloadRequest>,
    pub(super) running: api::Running,
    pub(super) tries: api::TryObjects,
    pub(super) login: LoginSettings,
    pub(super) trusted_proxies: Vec<net::Network>,
    pub(super) limits: api::AdminLimits,
    pub(super) connections: net::ConnectionLimits,
}

/// Changes of write keys that wait for the door.
const KEY_ORDERS_MAX: usize = 64;

/// The API, bound, the builder of uploads, and what brings write keys to the door.
pub(super) struct Admin {
    api: AdminApi,
    builder: BuildQueue,
    keys: KeyFollower,
    pub(super) address: SocketAddr,
    /// Made at this start, if any.
    pub(super) token: Option<String>,
}

impl Admin {
    pub(super) fn open(
        settings: AdminPortSettings,
        (store, builder): (VersionStore, BuildQueue),
        catalog: &OpenedCatalog,
    ) -> Result<Self, AppError> {
        let token_file = paths::admin(&settings.data);
        let token = api::access::ensure(&token_file).map_err(|cause| AppError::Io {
            action: "the hash of the admin token",
            path: token_file.clone(),
            cause,
        })?;
        let state = paths::state(&settings.data);
        let open_state = move || State::read(&state);
        let catalog = catalog.settings(paths::sent_files(&settings.data));
        let (write_keys, asked) = mpsc::channel(KEY_ORDERS_MAX);
        let keys = KeyFollower::new(Arc::clone(&catalog.catalog), settings.door.clone(), asked);
        let of_api = api::AdminSettings {
            token_file,
            entrance: settings.door.follow(),
            write_keys,
            names: settings.names,
            reloads: settings.reloads,
            tries: settings.tries,
            store,
            catalog,
            running: settings.running,
            open_state: Box::new(open_state),
            login: settings.login,
            trusted_proxies: settings.trusted_proxies,
            limits: settings.limits,
            connections: settings.connections,
        };
        let refused = |cause| AppError::ListenAdmin { address: settings.listen, cause };
        let api = AdminApi::open(settings.listen, of_api).map_err(refused)?;
        let address = api.address().map_err(refused)?;
        Ok(Self { api, builder, keys, address, token })
    }

    /// Serves, builds, and lets what is live follow the releases, until `stop` turns true.
    pub(super) fn run(self, live: Arc<Live>, background: &Handle, stop: &watch::Receiver<bool>) {
        // Its requests read files and SQLite where they stand.
        background.spawn(self.api.run(stop.clone()));
        background.spawn(self.builder.run(stop.clone()));
        background.spawn(self.keys.run(stop.clone()));
        // Whoever was told that a version is live may send its first event at once: this gives way to nobody.
        tokio::spawn(live.follow(stop.clone()));
    }
}

//! The active version of each destination plugin: what is live in the store, else the component of its file. After a
//! release, the next batch goes with the new version. A destination of which no version can run says so, holds its own syncs alone,
//! and is tried again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tidegate_delivery::{ActiveRuntime, DestinationLogs, DestinationRuntime};
use tidegate_plugin::{Manifest, ManifestKind};
use tidegate_registry::{Admission, Placed, PluginKind, Releases, VersionStore};
use tokio::sync::{Mutex, watch};

use super::followed_releases::FollowedReleases;
use crate::api::TakenRevision;
use crate::config::{DestinationKind, PluginConfig, Workspace, effective_policy};

type RuntimeCause = Box<dyn std::error::Error + Send + Sync>;

/// Pauses between two tries to open what cannot run: they double.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(320);

/// An active version for each destination plugin that a sync uses.
pub(super) struct ActiveRuntimes {
    store: VersionStore,
    active_runtimes: BTreeMap<String, HeldRuntime>,
    destination_logs: DestinationLogs,
    taken: watch::Sender<TakenRevision>,
}

struct HeldRuntime {
    active: Arc<ActiveRuntime>,
    config: PluginConfig,
    /// The active version, where it is one of the store.
    placed: Mutex<Option<Placed>>,
}

impl ActiveRuntimes {
    /// Opens the active version of each destination that has one. Of those that cannot run the syncs say why.
    pub(super) async fn open(workspace: &Workspace, store: &VersionStore) -> Arc<Self> {
        let releases = store.releases();
        let (destination_logs, taken) = (DestinationLogs::default(), watch::Sender::default());
        let mut active_runtimes =
            Self { store: store.clone(), active_runtimes: BTreeMap::new(), destination_logs, taken };
        let used = |name: &str| workspace.syncs.values().any(|sync| sync.destination.0 == name);
        for (name, config) in workspace.destinations.iter().filter(|(name, _)| used(name)) {
            let DestinationKind::Plugin(config) = &config.kind else { continue };
            let active = ActiveRuntime::new(name, config.grant.pending);
            let held = HeldRuntime { active, config: PluginConfig::clone(config), placed: Mutex::default() };
            if live(&releases, name).is_none() && config.first.is_none() {
                tracing::warn!(
                    destination = name,
                    "no version is live yet; what its syncs take waits in the log until one is pushed"
                );
            } else if let Err(error) = active_runtimes.fill(name, &held, &releases).await {
                refuse(name, &held, &error.to_string());
            }
            active_runtimes.active_runtimes.insert(name.clone(), held);
        }
        Arc::new(active_runtimes)
    }

    /// Opens the version that shall be active where none is yet.
    async fn fill(&self, name: &str, held: &HeldRuntime, releases: &Releases) -> Result<(), RuntimeCause> {
        match (live(releases, name), &held.config.first) {
            (Some(placed), _) => self.hand_over(name, held, placed).await,
            (None, Some(_)) => {
                held.active.take_over(self.first(name, &held.config).await?);
                Ok(())
            }
            (None, None) => Ok(()),
        }
    }

    /// How far it has followed the releases.
    pub(super) fn taken(&self) -> watch::Receiver<TakenRevision> {
        self.taken.subscribe()
    }

    /// What the plugins log.
    pub(super) fn destination_logs(&self) -> DestinationLogs {
        self.destination_logs.clone()
    }

    pub(super) fn of(&self, destination: &str) -> Arc<ActiveRuntime> {
        Arc::clone(&self.active_runtimes[destination].active)
    }

    /// Lets active versions change hands as releases change, until `stop` turns true.
    pub(super) async fn follow(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut releases = FollowedReleases::new(&self.store, stop);
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let is_refused = self.active_runtimes.values().any(|held| held.active.is_refused());
            let now = tokio::select! {
                now = releases.next() => now,
                () = tokio::time::sleep(pause), if is_refused => {
                    pause = (pause * 2).min(RETRY_PAUSE_MAX);
                    self.fill_again().await;
                    continue;
                }
            };
            let Some(now) = now else { return };
            pause = RETRY_PAUSE_MIN;
            fail::fail_point!("destinations_follow");
            let mut taken = TakenRevision { revision: now.revision, ..TakenRevision::default() };
            for (name, held) in &self.active_runtimes {
                let Some(placed) = live(&now, name) else { continue };
                if held.placed.lock().await.as_ref() == Some(placed) {
                    continue;
                }
                match self.hand_over(name, held, placed).await {
                    Ok(()) => tracing::info!(
                        destination = name,
                        version = %placed.sha256,
                        "another version carries from the next batch on"
                    ),
                    Err(error) => {
                        if held.active.is_vacant() {
                            refuse(name, held, &error.to_string());
                        } else {
                            tracing::error!(
                                destination = name,
                                error = %error,
                                "the active version changed, but it cannot run, and the version before goes on"
                            );
                        }
                        taken.refused.insert(name.clone(), error.to_string());
                    }
                }
            }
            self.taken.send_replace(taken);
        }
    }

    /// Tries those again that could not run.
    async fn fill_again(&self) {
        let releases = self.store.releases();
        for (name, held) in &self.active_runtimes {
            if !held.active.is_refused() {
                continue;
            }
            match self.fill(name, held, &releases).await {
                Ok(()) => {
                    tracing::info!(destination = name, "the destination can run now, and takes what waits for it");
                    self.taken.send_modify(|taken| drop(taken.refused.remove(name)));
                }
                Err(error) => refuse(name, held, &error.to_string()),
            }
        }
    }

    /// Opens a version of the store and makes it the active one.
    async fn hand_over(&self, name: &str, held: &HeldRuntime, placed: &Placed) -> Result<(), RuntimeCause> {
        let (store, sha256) = (self.store.clone(), placed.sha256);
        // A version whose code is gone is compiled again, which is nothing for a thread that serves.
        let loaded = tokio::task::spawn_blocking(move || store.load(sha256)).await??;
        let settings = placed.settings.as_object().cloned().unwrap_or_default();
        let effective_policy =
            effective_policy(&held.config.grant, loaded.manifest.clone(), settings).check().map_err(|problems| {
                let problems: Vec<String> =
                    problems.into_iter().map(|problem| format!("{}; {}", problem.problem, problem.fix)).collect();
                problems.join(" · ")
            })?;
        let page = self.destination_logs.page(name, &sha256.to_string());
        held.active.take_over(DestinationRuntime::open(loaded.module.clone(), name, effective_policy, page).await?);
        *held.placed.lock().await = Some(placed.clone());
        Ok(())
    }

    /// The runtime of the file's component.
    async fn first(&self, name: &str, config: &PluginConfig) -> Result<Arc<DestinationRuntime>, RuntimeCause> {
        let Some((component, effective_policy)) = &config.first else {
            return Err("the file names no component".into());
        };
        let (store, component) = (self.store.clone(), component.clone());
        let load = move || store.module(&component.path, &component.bytes, ManifestKind::Destination);
        let module = tokio::task::spawn_blocking(load).await??;
        let page = self.destination_logs.page(name, "");
        Ok(DestinationRuntime::open(module, name, effective_policy.clone(), page).await?)
    }
}

/// No version of this destination can run, for this reason.
fn refuse(name: &str, held: &HeldRuntime, error: &str) {
    if held.active.refused(error) {
        tracing::error!(
            destination = name,
            error,
            "a destination cannot run; what its syncs take waits in the log, and it is tried again"
        );
    }
}

fn live<'a>(releases: &'a Releases, name: &str) -> Option<&'a Placed> {
    releases.of_kind(PluginKind::Destinations).get(name)?.live.as_ref()
}

/// Lets nothing go live that the destination's file does not grant what it needs.
pub(super) fn admission(workspace: &Workspace) -> Admission {
    let grants: BTreeMap<String, _> = workspace
        .destinations
        .iter()
        .filter_map(|(name, config)| match &config.kind {
            DestinationKind::Plugin(config) => Some((name.clone(), config.grant.clone())),
            DestinationKind::Warehouse(_) => None,
        })
        .collect();
    Admission::new(move |plugin_kind, name, manifest: &Manifest, settings| {
        let Some(grant) = grants.get(name).filter(|_| plugin_kind == PluginKind::Destinations) else { return Ok(()) };
        let settings = settings.as_object().cloned().unwrap_or_default();
        effective_policy(grant, manifest.clone(), settings).check().map(drop).map_err(|problems| {
            let problems: Vec<String> =
                problems.into_iter().map(|problem| format!("{} ({})", problem.problem, problem.fix)).collect();
            problems.join("; ")
        })
    })
}

/// The syncs that use each destination plugin of the workspace.
pub(super) fn used(workspace: &Workspace) -> BTreeMap<String, Vec<String>> {
    let plugins = workspace.destinations.iter().filter(|(_, config)| matches!(config.kind, DestinationKind::Plugin(_)));
    let syncs = |name: &String| -> Vec<String> {
        let uses = workspace.syncs.iter().filter(|(_, sync)| sync.destination.0 == *name);
        uses.map(|(sync, _)| sync.clone()).collect()
    };
    plugins.map(|(name, _)| (name.clone(), syncs(name))).collect()
}

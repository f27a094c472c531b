//! The active version of each destination plugin: what is live in the store, else the component of its file. After a
//! release, the next batch goes with the new version. A destination of which no version can run says so, holds its own syncs alone,
//! and is tried again.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::{Mutex, RwLock};

use tidegate_delivery::{ActiveRuntime, DestinationLogs, DestinationRuntime, Grant};
use tidegate_metrics::EngineMetrics;
use tidegate_plugin::{Manifest, ManifestKind};
use tidegate_registry::{Admission, Placed, PluginKind, Releases, VersionStore};
use tidegate_wasm::{HiddenTexts, RevealedJson};
use tokio::sync::{Notify, watch};
use tokio::time::timeout;

use super::followed_releases::FollowedReleases;
use super::store_secrets::SecretReader;
use super::swap_locks::SwapLocks;
use crate::api::TakenRevision;
use crate::config::{PluginConfig, Workspace, effective_policy};

type RuntimeCause = Box<dyn std::error::Error + Send + Sync>;

/// Pauses between two tries to open what cannot run: they double.
const RETRY_PAUSE_MIN: Duration = Duration::from_secs(5);
const RETRY_PAUSE_MAX: Duration = Duration::from_secs(320);

/// How long opening one may take, compiling included.
const OPENING_MAX: Duration = Duration::from_secs(60);

/// An active version for each destination plugin that a sync uses.
pub(super) struct ActiveRuntimes {
    store: VersionStore,
    secrets: SecretReader,
    active_runtimes: RwLock<BTreeMap<String, Arc<HeldRuntime>>>,
    destination_logs: DestinationLogs,
    /// Where what destinations send is counted.
    metrics: EngineMetrics,
    taken: watch::Sender<TakenRevision>,
    /// Held by whoever lets runtimes change hands: releases and the workspace do not change at once.
    changing: tokio::sync::Mutex<()>,
    /// One could not be opened.
    refused: Notify,
    /// Where whoever swaps tables meets those who write to them.
    swap_locks: SwapLocks,
}

struct HeldRuntime {
    active: Arc<ActiveRuntime>,
    config: PluginConfig,
    /// The active version, where it is one of the store.
    placed: Mutex<Option<Placed>>,
    /// Why what shall run does not.
    error: Mutex<Option<String>>,
}

impl HeldRuntime {
    fn new(active: Arc<ActiveRuntime>, config: PluginConfig, placed: Option<Placed>) -> Self {
        Self { active, config, placed: Mutex::new(placed), error: Mutex::default() }
    }

    /// Whether what shall run does not: nothing does, or what was there before goes on.
    fn is_behind(&self) -> bool {
        self.error.lock().is_some()
    }

    /// Keeps why what shall run does not; whether that is new.
    fn note_error(&self, error: &str) -> bool {
        let before = self.error.lock().replace(error.to_owned());
        before.as_deref() != Some(error)
    }
}

/// Why a destination goes on by what it ran as before, when its file names nothing to run any more.
const NOTHING_TO_RUN: &str = "no version is live, and the file names no component any more; it goes on as before";

/// A runtime that is open and delivers nothing yet, or why there is none.
pub(super) struct NextRuntime {
    config: PluginConfig,
    opened: Result<Option<OpenedRuntime>, String>,
}

type OpenedRuntime = (Arc<DestinationRuntime>, Option<Placed>);

impl ActiveRuntimes {
    /// Opens the active version of each destination that has one. Of those that cannot run the syncs say why.
    pub(super) async fn open(
        workspace: &Workspace,
        store: &VersionStore,
        secrets: SecretReader,
        metrics: EngineMetrics,
    ) -> Arc<Self> {
        let releases = store.releases();
        let (destination_logs, taken) = (DestinationLogs::default(), watch::Sender::default());
        let active_runtimes = Self {
            store: store.clone(),
            secrets,
            active_runtimes: RwLock::default(),
            destination_logs,
            metrics,
            taken,
            changing: tokio::sync::Mutex::new(()),
            refused: Notify::new(),
            swap_locks: SwapLocks::default(),
        };
        let used = |name: &str| workspace.syncs.values().any(|sync| sync.destination.0 == name);
        for (name, config) in workspace.destinations.iter().filter(|(name, _)| used(name)) {
            let Some(config) = config.plugin() else { continue };
            let held = HeldRuntime::new(ActiveRuntime::new(name), config.clone(), None);
            if live(&releases, name).is_none() && held.config.first.is_none() {
                tracing::warn!(
                    destination = name,
                    "no version is live yet; what its syncs take waits in the log until one is pushed"
                );
            } else if let Err(error) = active_runtimes.fill(name, &held, &releases).await {
                refuse(name, &held, &error.to_string());
            }
            active_runtimes.active_runtimes.write().insert(name.clone(), Arc::new(held));
        }
        Arc::new(active_runtimes)
    }

    /// Of each sync, what its deliveries share with whoever swaps its tables.
    pub(super) const fn swap_locks(&self) -> &SwapLocks {
        &self.swap_locks
    }

    /// Opens the version that shall be active.
    async fn fill(&self, name: &str, held: &HeldRuntime, releases: &Releases) -> Result<(), RuntimeCause> {
        match self.opened(name, &held.config, releases).await? {
            Some((runtime, placed)) => {
                held.active.take_over(runtime);
                *held.placed.lock() = placed;
            }
            None if held.active.is_vacant() => {}
            None => return Err(NOTHING_TO_RUN.into()),
        }
        *held.error.lock() = None;
        Ok(())
    }

    /// Opens the version that shall be active under this configuration; none where there is none yet.
    async fn opened(
        &self,
        name: &str,
        config: &PluginConfig,
        releases: &Releases,
    ) -> Result<Option<OpenedRuntime>, RuntimeCause> {
        let opening = async {
            Ok::<_, RuntimeCause>(match (live(releases, name), &config.first) {
                (Some(placed), _) => Some((self.version(name, config, placed).await?, Some(placed.clone()))),
                (None, Some(_)) => Some((self.first(name, config).await?, None)),
                (None, None) => None,
            })
        };
        let late = |_| format!("it was not open within {} seconds", OPENING_MAX.as_secs());
        timeout(OPENING_MAX, opening).await.map_err(late)?
    }

    /// Until it is dropped releases change nothing, and only the holder does.
    pub(super) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Opens what a destination shall run by from now on. Nothing changes by this.
    pub(super) async fn next(&self, name: &str, config: &PluginConfig) -> NextRuntime {
        let opened = self.opened(name, config, &self.store.releases()).await.map_err(|error| error.to_string());
        NextRuntime { config: config.clone(), opened }
    }

    /// Lets a runtime deliver from the next batch on. Where it could not be opened the one before goes on, if there is one.
    pub(super) fn put(&self, name: &str, next: NextRuntime) {
        let NextRuntime { config, opened } = next;
        let mut all = self.active_runtimes.write();
        let before = all.get(name);
        let active = before.map_or_else(|| ActiveRuntime::new(name), |before| Arc::clone(&before.active));
        let placed = before.and_then(|before| before.placed.lock().clone());
        let held = Arc::new(HeldRuntime::new(active, config, placed));
        all.insert(name.to_owned(), Arc::clone(&held));
        drop(all);
        match opened {
            Ok(Some((runtime, placed))) => {
                *held.placed.lock() = placed;
                held.active.take_over(runtime);
            }
            Ok(None) if held.active.is_vacant() => {}
            Ok(None) => *held.error.lock() = Some(NOTHING_TO_RUN.to_owned()),
            Err(error) => {
                if held.active.is_vacant() {
                    refuse(name, &held, &error);
                } else {
                    held.note_error(&error);
                    tracing::error!(
                        destination = name,
                        error,
                        "the destination changed, but it cannot run so, and it goes on as before; it is tried again"
                    );
                }
                self.refused.notify_one();
            }
        }
    }

    /// Takes what the file of a destination says where it runs by that already.
    pub(super) fn note(&self, name: &str, config: &PluginConfig) {
        let mut all = self.active_runtimes.write();
        if let Some(before) = all.get(name) {
            let (active, placed) = (Arc::clone(&before.active), before.placed.lock().clone());
            let held = HeldRuntime::new(active, config.clone(), placed);
            *held.error.lock() = before.error.lock().clone();
            all.insert(name.to_owned(), Arc::new(held));
        }
    }

    /// Forgets all but these destinations.
    pub(super) fn retain(&self, used: &BTreeSet<&str>) {
        self.active_runtimes.write().retain(|name, _| used.contains(name.as_str()));
    }

    /// Those that have stopped or do not run as they shall: another try may help.
    pub(super) fn idle(&self) -> BTreeSet<String> {
        let is_idle = |held: &HeldRuntime| held.active.is_stopped() || held.is_behind();
        let idle = self.held().into_iter().filter(|(_, held)| is_idle(held));
        idle.map(|(name, _)| name).collect()
    }

    /// Of each destination that does not run as it shall, why.
    pub(super) fn errors(&self) -> BTreeMap<String, String> {
        let error = |(name, held): (String, Arc<HeldRuntime>)| Some((name, held.error.lock().clone()?));
        self.held().into_iter().filter_map(error).collect()
    }

    fn held(&self) -> Vec<(String, Arc<HeldRuntime>)> {
        self.active_runtimes.read().iter().map(|(name, held)| (name.clone(), Arc::clone(held))).collect()
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
        let known = self.active_runtimes.read().get(destination).map(|held| Arc::clone(&held.active));
        // One that nobody has opened has no version, and its syncs say so.
        known.unwrap_or_else(|| ActiveRuntime::new(destination))
    }

    /// Those of all destination plugins that a sync uses, by their names.
    pub(super) fn all(&self) -> Vec<(String, Arc<ActiveRuntime>)> {
        self.held().into_iter().map(|(name, held)| (name, Arc::clone(&held.active))).collect()
    }

    /// Lets active versions change hands as releases change, until `stop` turns true.
    pub(super) async fn follow(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut releases = FollowedReleases::new(&self.store, stop);
        let mut pause = RETRY_PAUSE_MIN;
        loop {
            let is_behind = self.held().iter().any(|(_, held)| held.is_behind());
            let now = tokio::select! {
                now = releases.next() => now,
                () = self.refused.notified() => {
                    // Another one than those that were tried before.
                    pause = RETRY_PAUSE_MIN;
                    continue;
                }
                () = tokio::time::sleep(pause), if is_behind => {
                    let any_runs = self.fill_again().await;
                    pause = if any_runs { RETRY_PAUSE_MIN } else { (pause * 2).min(RETRY_PAUSE_MAX) };
                    continue;
                }
            };
            let Some(now) = now else { return };
            pause = RETRY_PAUSE_MIN;
            fail::fail_point!("destinations_follow");
            let mut taken = TakenRevision { revision: now.revision, ..TakenRevision::default() };
            let _held = self.hold().await;
            for (name, held) in &self.held() {
                let Some(placed) = live(&now, name) else { continue };
                if held.placed.lock().as_ref() == Some(placed) {
                    continue;
                }
                match self.fill(name, held, &now).await {
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

    /// Tries those again that do not run as they shall; whether any of them does now.
    async fn fill_again(&self) -> bool {
        let _held = self.hold().await;
        let releases = self.store.releases();
        let mut any_runs = false;
        for (name, held) in &self.held() {
            if !held.is_behind() {
                continue;
            }
            match self.fill(name, held, &releases).await {
                Ok(()) => {
                    any_runs = true;
                    tracing::info!(
                        destination = name,
                        "the destination runs as it shall now, and takes what waits for it"
                    );
                    self.taken.send_modify(|taken| drop(taken.refused.remove(name)));
                }
                Err(error) if held.active.is_vacant() => refuse(name, held, &error.to_string()),
                Err(error) => {
                    if held.note_error(&error.to_string()) {
                        tracing::error!(destination = name, error = %error, "the destination goes on as before");
                    }
                }
            }
        }
        any_runs
    }

    /// The runtime of a version of the store.
    async fn version(
        &self,
        name: &str,
        config: &PluginConfig,
        placed: &Placed,
    ) -> Result<Arc<DestinationRuntime>, RuntimeCause> {
        let (store, sha256) = (self.store.clone(), placed.sha256);
        // A version whose code is gone is compiled again, which is nothing for a thread that serves.
        let loaded = tokio::task::spawn_blocking(move || store.load(sha256)).await??;
        // A secret that is written now is in the workspace before it is in the catalog.
        let known = config.live_settings.as_ref().filter(|known| *known.written() == placed.settings);
        let revealed = match known {
            Some(known) => known.clone(),
            None => self.secrets.reveal(&placed.settings).await?,
        };
        let settings = revealed.given().as_object().cloned().unwrap_or_default();
        let effective_policy =
            effective_policy(&config.grant, loaded.manifest.clone(), settings).check().map_err(|problems| {
                let problems: Vec<String> =
                    problems.into_iter().map(|problem| format!("{}; {}", problem.problem, problem.fix)).collect();
                problems.join(" · ")
            })?;
        let page = self.destination_logs.page(name, &sha256.to_string());
        let opened = DestinationRuntime::open(loaded.module.clone(), name, effective_policy, page, &self.metrics).await;
        Ok(opened.map_err(|error| without_secrets(&revealed, error.to_string()))?)
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
        Ok(DestinationRuntime::open(module, name, effective_policy.clone(), page, &self.metrics).await?)
    }
}

/// What a plugin says of its settings, without the secrets that they name.
fn without_secrets(settings: &RevealedJson, mut said: String) -> String {
    HiddenTexts::default().and(settings.hidden()).clean(&mut said);
    said
}

/// No version of this destination can run, for this reason.
fn refuse(name: &str, held: &HeldRuntime, error: &str) {
    held.note_error(error);
    if held.active.refuse(error) {
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

/// What each destination plugin is granted.
pub(super) type WorkspaceGrants = BTreeMap<String, Grant>;

pub(super) fn grants(workspace: &Workspace) -> WorkspaceGrants {
    workspace
        .destinations
        .iter()
        .filter_map(|(name, config)| Some((name.clone(), config.plugin()?.grant.clone())))
        .collect()
}

/// Lets nothing go live that the destination's file does not grant what it needs.
pub(super) fn admission(grants: watch::Receiver<Arc<WorkspaceGrants>>) -> Admission {
    Admission::new(move |plugin_kind, name, manifest: &Manifest, settings| {
        let grants = Arc::clone(&grants.borrow());
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
    let plugins = workspace.destinations.iter().filter(|(_, config)| config.plugin().is_some());
    let syncs = |name: &String| -> Vec<String> {
        let uses = workspace.syncs.iter().filter(|(_, sync)| sync.destination.0 == *name);
        uses.map(|(sync, _)| sync.clone()).collect()
    };
    plugins.map(|(name, _)| (name.clone(), syncs(name))).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_plugin_says_of_its_settings_has_no_secret_in_it() {
        let read = |name: &str| (name == "region").then(|| "hunter2hunter2".to_owned());
        let settings = RevealedJson::read(json!({"region": "secret:region"}), &read).unwrap();
        let said = without_secrets(&settings, "there is no region \"hunter2hunter2\"".to_owned());
        assert!(said.starts_with("there is no region") && !said.contains("hunter2"), "{said}");
    }
}

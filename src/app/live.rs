//! Which functions are live: those of the workspace's files, then those of the store that are attached, and how both
//! become function chains when a release changes.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tidegate_document::file;
use tidegate_event::digits::Numbers;
use tidegate_pipeline::refine::{self, Candidate, ChainSlot, FunctionChain};
use tidegate_plugin::Package;
use tidegate_registry::{self as store, Placed, PluginKind, Release, Releases, Sha, VersionStore};
use tidegate_wasm as wasm;
use tidegate_wasm::function::{Function, RolloutMode};
use tokio::sync::watch;

use super::AppError;
use super::followed_releases::FollowedReleases;
use super::granted_tables::{self, WorkspaceTables};
use crate::api::TakenRevision;
use crate::config::Workspace;

type LiveFunctions = BTreeMap<String, Arc<Function>>;

/// A function chain for each source and each sync.
pub(super) struct Live {
    store: VersionStore,
    tables: WorkspaceTables,
    /// Of the workspace's files, by source.
    fixed: HashMap<Arc<str>, Vec<Arc<Function>>>,
    sources: HashMap<Arc<str>, watch::Sender<Arc<FunctionChain>>>,
    syncs: HashMap<Arc<str>, watch::Sender<Arc<FunctionChain>>>,
    taken: watch::Sender<TakenRevision>,
}

impl Live {
    /// Loads everything that is live.
    pub(super) async fn open(workspace: &Workspace, store: VersionStore) -> Result<Arc<Self>, AppError> {
        let tables = granted_tables::tables(workspace)?;
        let functions = functions(workspace, &store, &tables).await?;
        let chosen = |names: &[(String, usize)]| -> Vec<Arc<Function>> {
            names.iter().filter_map(|(name, _)| functions.get(name).cloned()).collect()
        };
        let fixed: HashMap<Arc<str>, Vec<Arc<Function>>> =
            workspace.sources.iter().map(|(name, source)| (name.as_str().into(), chosen(&source.functions))).collect();
        let of_sync = |names: &[(String, usize)]| watch::Sender::new(Arc::new(FunctionChain::of(chosen(names))));
        let syncs = workspace.syncs.iter().map(|(name, sync)| (name.as_str().into(), of_sync(&sync.functions)));
        let releases = store.releases();
        let mut live = Self {
            store,
            tables,
            syncs: syncs.collect(),
            sources: HashMap::new(),
            fixed,
            taken: watch::Sender::default(),
        };
        for name in live.fixed.keys() {
            // A function that is live and cannot be loaded must not be left out in silence: it may be what removes names.
            let function_chain = live.function_chain(name, &releases)?;
            live.sources.insert(Arc::clone(name), watch::Sender::new(Arc::new(function_chain)));
        }
        Ok(Arc::new(live))
    }

    pub(super) fn of_sources(&self) -> HashMap<Arc<str>, watch::Receiver<Arc<FunctionChain>>> {
        self.sources.iter().map(|(name, function_chain)| (Arc::clone(name), function_chain.subscribe())).collect()
    }

    pub(super) fn of_sync(&self, name: &str) -> watch::Receiver<Arc<FunctionChain>> {
        self.syncs.get(name).map_or_else(|| watch::Sender::new(Arc::default()).subscribe(), watch::Sender::subscribe)
    }

    /// Makes function chains of old again: their versions are in the store, or among the workspace's files as they are now.
    pub(super) fn recall(self: &Arc<Self>) -> Arc<refine::Recall> {
        let live = Arc::clone(self);
        Arc::new(move |key| FunctionChain::recalled(key, &|name, version| live.find(name, version)).map(Arc::new))
    }

    /// Puts new function chains in place as releases change, until `stop` turns true.
    pub(super) async fn follow(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut releases = FollowedReleases::new(&self.store, stop);
        while let Some(now) = releases.next().await {
            let live = Arc::clone(&self);
            // A version whose code is gone is compiled again, which is nothing for a thread that serves.
            let _ = tokio::task::spawn_blocking(move || live.take(&now)).await;
        }
    }

    /// How far it has followed the releases.
    pub(super) fn taken(&self) -> watch::Receiver<TakenRevision> {
        self.taken.subscribe()
    }

    fn take(&self, releases: &Releases) {
        fail::fail_point!("functions_follow");
        let mut taken = TakenRevision { revision: releases.revision, ..TakenRevision::default() };
        for (name, sender) in &self.sources {
            match self.function_chain(name, releases) {
                Ok(function_chain)
                    if function_chain.key() != sender.borrow().key()
                        || has_shadow(&function_chain)
                        || has_shadow(&sender.borrow()) =>
                {
                    sender.send_replace(Arc::new(function_chain));
                }
                Ok(_) => {}
                Err(error) => {
                    tracing::error!(source = &**name, error = %error, "active versions changed, but they cannot run, and the versions before go on");
                    if let AppError::Function { name, cause } = error {
                        taken.refused.insert(name, cause.to_string());
                    }
                }
            }
        }
        self.taken.send_replace(taken);
    }

    /// The functions of `source`, in order: the workspace's files, then the attached ones by name.
    fn function_chain(&self, source: &str, releases: &Releases) -> Result<FunctionChain, AppError> {
        let fixed = self.fixed.get(source).into_iter().flatten();
        let mut slots: Vec<ChainSlot> =
            fixed.map(|function| ChainSlot { function: Arc::clone(function), canary: None }).collect();
        for (name, release) in releases.of_kind(PluginKind::Functions) {
            let Release { live: Some(live), canary, attached, .. } = release else { continue };
            if !attached.contains(source) {
                continue;
            }
            let canary = canary.as_ref().map(|canary| {
                let function = self.function(name, &canary.placed)?;
                Ok::<_, AppError>(Candidate { function, mode: canary.mode })
            });
            slots.push(ChainSlot { function: self.function(name, live)?, canary: canary.transpose()? });
        }
        Ok(FunctionChain::new(slots))
    }

    fn function(&self, name: &str, placed: &Placed) -> Result<Arc<Function>, AppError> {
        self.version(name, placed.sha256, placed.settings.to_string()).map_err(|error| failed(name, error))
    }

    fn version(&self, name: &str, sha256: Sha, settings: String) -> Result<Arc<Function>, store::RegistryError> {
        let loaded = self.store.load(sha256)?;
        let limits = loaded.limits(self.store.limits());
        let function = Function::of(loaded.module.clone(), name, settings, limits);
        let services = self.tables.granted_to(name, &loaded.manifest.lookups);
        let function = function.with_services(services).with_numbers(loaded.manifest.numbers());
        Ok(Arc::new(function.with_version(&sha256.to_string())))
    }

    /// A version by its name, with whatever settings.
    fn find(&self, name: &str, version: &str) -> Option<Arc<Function>> {
        let fits = |function: &&Arc<Function>| function.name() == name && function.version() == version;
        if let Some(function) = self.fixed.values().flatten().find(fits) {
            return Some(Arc::clone(function));
        }
        let found = self.version(name, version.parse().ok()?, "{}".to_owned());
        found.inspect_err(|error| tracing::error!(function = name, error = %error, "a version of old is gone")).ok()
    }
}

/// A shadow is no part of a function chain's key, because it changes no event.
fn has_shadow(function_chain: &FunctionChain) -> bool {
    function_chain
        .slots()
        .iter()
        .any(|slot| slot.canary.as_ref().is_some_and(|canary| canary.mode == RolloutMode::Shadow))
}

fn failed(name: &str, cause: impl std::error::Error + Send + Sync + 'static) -> AppError {
    AppError::Function { name: name.to_owned(), cause: Box::new(cause) }
}

/// The functions of the workspace's files: compiled once, then loaded as artifacts at every start.
async fn functions(
    workspace: &Workspace,
    store: &VersionStore,
    tables: &WorkspaceTables,
) -> Result<LiveFunctions, AppError> {
    let mut functions = LiveFunctions::new();
    for (name, config) in &workspace.functions {
        let (path, action) = (config.component.clone(), "could not read");
        let read = file::read(&path, file::COMPONENT_BYTES_MAX);
        let bytes = read.map_err(|cause| AppError::Io { action, path, cause })?;
        let mut limits = wasm::CallLimits::default();
        if let Some(bytes) = config.memory_bytes_max {
            limits.memory_bytes_max = bytes;
        }
        if let Some(time) = config.cpu_batch_max {
            limits.cpu_max = time;
        }
        let module = store.module_of_functions(&config.component, &bytes).map_err(|error| failed(name, error))?;
        let function = Function::of(module, name, config.settings_json.clone(), limits);
        let function = function.with_services(granted_tables::services(name, config, &bytes, tables)?);
        let numbers = Package::read(&bytes).map_or(Numbers::Unknown, |package| package.manifest.numbers());
        let function = function.with_numbers(numbers);
        // Wrong settings show now rather than at the first event.
        function.check().await.map_err(|error| failed(name, error))?;
        functions.insert(name.clone(), Arc::new(function.with_version(&Sha::of(&bytes).to_string())));
    }
    Ok(functions)
}

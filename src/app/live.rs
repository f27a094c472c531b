//! The rules that are live: the contract of each source, and the functions of each source and sync, which are those of the
//! workspace's files and then those of the store that are attached. When a release changes they are put in place anew, as one
//! value, under a number that the state has recorded first.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::Mutex;

use tidegate_event::digits::Numbers;
use tidegate_pipeline::refine::{self, Candidate, ChainSlot, FunctionChain, RuleSet, SourceRules};
use tidegate_plugin::Package;
use tidegate_process::clock;
use tidegate_registry::{self as store, Placed, PluginKind, Release, Releases, Sha, VersionStore};
use tidegate_state::{ContractText, RunRevision, State, StateError};
use tidegate_wasm as wasm;
use tidegate_wasm::Services;
use tidegate_wasm::function::Function;
use tokio::sync::watch;

use super::AppError;
use super::followed_releases::FollowedReleases;
use super::granted_tables::{self, WorkspaceTables};
use crate::api::TakenRevision;
use crate::config::{ComponentFile, FunctionConfig, Workspace};

type LiveFunctions = BTreeMap<String, Arc<Function>>;

/// The rules, and what they are made of.
pub(super) struct Live {
    store: VersionStore,
    tables: WorkspaceTables,
    /// Of the workspace's files, by source.
    fixed: HashMap<Arc<str>, Vec<Arc<Function>>>,
    /// What those files say, by the functions' names.
    files: BTreeMap<String, FunctionConfig>,
    contracts: Option<ContractText>,
    rules: watch::Sender<Arc<RuleSet>>,
    /// Where revisions are recorded; nowhere for a sample.
    state: Mutex<Option<State>>,
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
        let of_sync = |names: &[(String, usize)]| Arc::new(FunctionChain::of(chosen(names)));
        let syncs = workspace.syncs.iter().map(|(name, sync)| (name.as_str().into(), of_sync(&sync.functions)));
        let contracts = (!workspace.contracts.is_empty())
            .then(|| refine::contract_text(&workspace.contract_files, workspace.contracts.keys()));
        let mut rules = RuleSet {
            contracts_sha256: contracts.as_ref().map(|contracts| contracts.sha256().into()),
            syncs: syncs.collect(),
            ..RuleSet::default()
        };
        let releases = store.releases();
        let live = Self {
            store,
            tables,
            fixed,
            files: workspace.functions.clone(),
            contracts,
            rules: watch::Sender::default(),
            state: Mutex::new(None),
            taken: watch::Sender::default(),
        };
        for name in live.fixed.keys() {
            // A function that is live and cannot be loaded must not be left out in silence: it may be what removes names.
            let functions = Arc::new(live.function_chain(name, &releases, &FunctionChain::default())?);
            let contract = workspace.contracts.get(&**name).cloned();
            rules.sources.insert(Arc::clone(name), SourceRules { contract, functions });
        }
        live.rules.send_replace(Arc::new(rules));
        Ok(Arc::new(live))
    }

    /// Has `state` record the rules that are in place and all that come after them.
    pub(super) fn record(&self, state: State) -> Result<(), AppError> {
        let state = self.forget_components(state)?;
        *self.state.lock() = Some(state);
        let mut rules = RuleSet::clone(&self.rules.borrow());
        rules.revision = self.begin(&rules)?;
        self.rules.send_replace(Arc::new(rules));
        Ok(())
    }

    /// Leaves the components that events may have to go through again.
    fn forget_components(&self, mut state: State) -> Result<State, AppError> {
        let now = self.fixed.values().flatten().map(|function| function.version().to_owned());
        let mut named: BTreeSet<Sha> = now.filter_map(|version| version.parse().ok()).collect();
        for partition in 0..state.partitions()? {
            state = state.of_partition(partition);
            let (_, chains) = state.function_chains()?;
            let versions = chains.iter().flat_map(|(.., key)| FunctionChain::versions(key));
            named.extend(versions.filter_map(|version| version.parse::<Sha>().ok()));
        }
        self.store.forget_components(&named);
        Ok(state.of_partition(0))
    }

    /// What events go through; it changes when a release takes effect.
    pub(super) fn rules(&self) -> watch::Receiver<Arc<RuleSet>> {
        self.rules.subscribe()
    }

    /// The number of these rules, recorded.
    fn begin(&self, rules: &RuleSet) -> Result<u64, StateError> {
        let mut state = self.state.lock();
        let Some(state) = &mut *state else { return Ok(rules.revision) };
        let sources: BTreeMap<&str, &str> =
            rules.sources.iter().map(|(name, rules)| (&**name, rules.functions.key())).collect();
        let syncs: BTreeMap<&str, &str> =
            rules.syncs.iter().map(|(name, functions)| (&**name, functions.key())).collect();
        let contracts = self.contracts.as_ref().map(ContractText::sha256);
        let spec = serde_json::json!({"contracts": contracts, "sources": sources, "syncs": syncs}).to_string();
        let spec = Sha::of(spec.as_bytes()).to_string();
        let revision = RunRevision { spec: &spec, contracts: self.contracts.as_ref(), catalog_revision: None };
        state.begin_revision(&revision, clock::now_us())
    }

    /// Makes function chains of old again: their versions are in the store, or are or were among the workspace's files.
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
        let mut next = RuleSet::clone(&self.rules.borrow());
        let mut differs = false;
        for (name, rules) in &mut next.sources {
            match self.function_chain(name, releases, &rules.functions) {
                Ok(functions) if functions.is_same(&rules.functions) => {}
                Ok(functions) => {
                    rules.functions = Arc::new(functions);
                    differs = true;
                }
                Err(error) => {
                    tracing::error!(source = &**name, error = %error, "active versions changed, but they cannot run, and the versions before go on");
                    if let AppError::Function { name, cause } = error {
                        taken.refused.insert(name, cause.to_string());
                    }
                }
            }
        }
        if differs {
            match self.begin(&next) {
                Ok(revision) => next.revision = revision,
                // A version that is taken back must not go on because of this. The contracts are the same, and which functions
                // events went through is known by their offsets.
                Err(error) => {
                    tracing::error!(error = %error, "active versions changed, and their revision could not be recorded; they take effect under the one before")
                }
            }
            self.rules.send_replace(Arc::new(next));
        }
        self.taken.send_replace(taken);
    }

    /// The functions of `source`, in order: the workspace's files, then the attached ones by name. Those that are the same as
    /// `before` are the very same.
    fn function_chain(
        &self,
        source: &str,
        releases: &Releases,
        before: &FunctionChain,
    ) -> Result<FunctionChain, AppError> {
        let fixed = self.fixed.get(source).into_iter().flatten();
        let mut slots: Vec<ChainSlot> =
            fixed.map(|function| ChainSlot { function: Arc::clone(function), canary: None }).collect();
        for (name, release) in releases.of_kind(PluginKind::Functions) {
            let Release { live: Some(live), canary, attached, .. } = release else { continue };
            if !attached.contains(source) {
                continue;
            }
            let canary = canary.as_ref().map(|canary| {
                let function = self.function(name, &canary.placed, before)?;
                Ok::<_, AppError>(Candidate { function, mode: canary.mode })
            });
            slots.push(ChainSlot { function: self.function(name, live, before)?, canary: canary.transpose()? });
        }
        Ok(FunctionChain::new(slots))
    }

    fn function(&self, name: &str, placed: &Placed, before: &FunctionChain) -> Result<Arc<Function>, AppError> {
        let (version, settings) = (placed.sha256.to_string(), placed.settings.to_string());
        // Tables are the same for as long as the process runs.
        let is_same = |known: &&Arc<Function>| {
            known.name() == name && known.version() == version && known.settings_json() == settings
        };
        if let Some(known) = before.functions().find(is_same) {
            return Ok(Arc::clone(known));
        }
        self.version(name, placed.sha256, settings).map_err(|error| failed(name, error))
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
        let sha256: Sha = version.parse().ok()?;
        let of_store = || self.version(name, sha256, "{}".to_owned()).map_err(|error| failed(name, error));
        let kept = || {
            let (path, bytes) = self.store.kept_component(sha256)?;
            let function = of_file(name, self.files.get(name), (&path, &bytes), &self.store, &self.tables);
            Some(function.map(Arc::new))
        };
        let found = match self.files.contains_key(name) {
            true => kept().unwrap_or_else(of_store),
            false => of_store().or_else(|error| kept().unwrap_or(Err(error))),
        };
        found.inspect_err(|error| tracing::error!(function = name, error = %error, "a version of old is gone")).ok()
    }
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
        let ComponentFile { path, bytes } = &config.component;
        let function = of_file(name, Some(config), (path, bytes), store, tables)?;
        // Wrong settings show now rather than at the first event.
        function.check().await.map_err(|error| failed(name, error))?;
        if let Err(error) = store.keep_component(bytes) {
            tracing::warn!(function = name, error = %error, "a copy of the component could not be kept; when its file is replaced, syncs that lag wait for it to come back");
        }
        functions.insert(name.clone(), Arc::new(function));
    }
    Ok(functions)
}

/// The function `name` of this component, which lies at a path and has this content, as its file has it; one that has no file
/// any more has no settings and no tables.
fn of_file(
    name: &str,
    config: Option<&FunctionConfig>,
    (path, bytes): (&Path, &[u8]),
    store: &VersionStore,
    tables: &WorkspaceTables,
) -> Result<Function, AppError> {
    let mut limits = wasm::CallLimits::default();
    if let Some(bytes) = config.and_then(|config| config.memory_bytes_max) {
        limits.memory_bytes_max = bytes;
    }
    if let Some(time) = config.and_then(|config| config.cpu_batch_max) {
        limits.cpu_max = time;
    }
    let settings = config.map_or_else(|| "{}".to_owned(), |config| config.settings_json.clone());
    let services = match config {
        Some(config) => granted_tables::services(name, config, bytes, tables)?,
        None => Services::default(),
    };
    let module = store.module_of_functions(path, bytes).map_err(|error| failed(name, error))?;
    let numbers = Package::read(bytes).map_or(Numbers::Unknown, |package| package.manifest.numbers());
    let function = Function::of(module, name, settings, limits).with_services(services).with_numbers(numbers);
    Ok(function.with_version(&Sha::of(bytes).to_string()))
}

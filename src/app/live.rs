//! The rules that are live: the contract of each source, and the functions of each source and sync, which are those of the
//! workspace's files and then those of the store that are attached. When a release or the workspace changes they are put in place
//! anew, as one value, under a number that the state has recorded first. What is the same in a workspace is not loaded again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
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
use super::change_plan::ChangePlan;
use super::followed_releases::FollowedReleases;
use super::granted_tables::{self, WorkspaceTables};
use crate::api::TakenRevision;
use crate::config::{ComponentFile, FunctionConfig, ObjectSpec, Workspace};

type LiveFunctions = BTreeMap<String, Arc<Function>>;

/// The rules, and what they are made of.
pub(super) struct Live {
    store: VersionStore,
    parts: RwLock<Arc<LiveParts>>,
    rules: watch::Sender<Arc<RuleSet>>,
    /// Where revisions are recorded; nowhere for a sample.
    state: Mutex<Option<State>>,
    taken: watch::Sender<TakenRevision>,
    /// Held by whoever puts rules in place: releases and the workspace do not change at once.
    changing: tokio::sync::Mutex<()>,
}

/// What the workspace gives to the rules.
struct LiveParts {
    tables: WorkspaceTables,
    /// Of the workspace's files, by name.
    functions: LiveFunctions,
    /// Of each source, those of files.
    fixed: HashMap<Arc<str>, Vec<Arc<Function>>>,
    /// What their files say, by the functions' names.
    files: BTreeMap<String, FunctionConfig>,
    contracts: Option<ContractText>,
    specs: BTreeMap<ObjectRef, ObjectSpec>,
    /// Tells the workspace from others that give the same rules.
    fingerprint: String,
}

/// Rules that can take the place of those that are live. Nothing of them is seen yet.
pub(super) struct NextLive {
    parts: LiveParts,
    rules: RuleSet,
}

/// What is the same in the workspace of before and need not be made again.
struct Unchanged<'a> {
    parts: &'a LiveParts,
    plan: &'a ChangePlan,
}

impl LiveParts {
    /// Loads what `workspace` names, but what is unchanged.
    async fn load(
        workspace: &Workspace,
        store: &VersionStore,
        fingerprint: String,
        unchanged: Option<Unchanged<'_>>,
    ) -> Result<Self, AppError> {
        let unchanged = unchanged.as_ref();
        let tables = granted_tables::tables(workspace, |table| {
            let parts = unchanged?.parts;
            let object = ObjectRef::new(ObjectRefKind::Lookup, table);
            let is_same = parts.specs.get(&object)?.hash == workspace.specs.get(&object)?.hash;
            is_same.then(|| parts.tables.get(table)).flatten()
        })?;
        let kept = |name: &str| {
            let Unchanged { parts, .. } = unchanged.filter(|unchanged| !unchanged.plan.functions.contains(name))?;
            parts.functions.get(name).cloned()
        };
        let functions = functions(workspace, store, &tables, kept).await?;
        let fixed = workspace
            .sources
            .iter()
            .map(|(name, source)| (name.as_str().into(), chosen(&functions, &source.functions)));
        let contracts = (!workspace.contracts.is_empty())
            .then(|| refine::contract_text(&workspace.contract_files, workspace.contracts.keys()));
        Ok(Self {
            fixed: fixed.collect(),
            files: workspace.functions.clone(),
            specs: workspace.specs.clone(),
            tables,
            functions,
            contracts,
            fingerprint,
        })
    }

    /// The rules of `workspace`, from which this was loaded. Functions that are the same as in `before` are the very same.
    fn rules(
        &self,
        workspace: &Workspace,
        store: &VersionStore,
        releases: &Releases,
        before: &RuleSet,
    ) -> Result<RuleSet, AppError> {
        let mut rules = RuleSet {
            contracts_sha256: self.contracts.as_ref().map(|contracts| contracts.sha256().into()),
            revision: before.revision,
            ..RuleSet::default()
        };
        for (name, sync) in &workspace.syncs {
            let functions = FunctionChain::of(chosen(&self.functions, &sync.functions));
            let before = before.of_sync(name);
            let functions = if functions.is_same(&before) { before } else { Arc::new(functions) };
            rules.syncs.insert(name.as_str().into(), functions);
        }
        for name in self.fixed.keys() {
            // A function that is live and cannot be loaded must not be left out in silence: it may be what removes names.
            let before = before.of_source(name);
            let functions = self.function_chain(name, store, releases, &before)?;
            let functions = if functions.is_same(&before) { before } else { Arc::new(functions) };
            let contract = workspace.contracts.get(&**name).cloned();
            rules.sources.insert(Arc::clone(name), SourceRules { contract, functions });
        }
        Ok(rules)
    }

    /// The functions of `source`, in order: the workspace's files, then the attached ones by name. Those that are the same as
    /// `before` are the very same.
    fn function_chain(
        &self,
        source: &str,
        store: &VersionStore,
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
                let function = self.function(name, &canary.placed, store, before)?;
                Ok::<_, AppError>(Candidate { function, mode: canary.mode })
            });
            slots.push(ChainSlot { function: self.function(name, live, store, before)?, canary: canary.transpose()? });
        }
        Ok(FunctionChain::new(slots))
    }

    /// A version of the store, which is the very same as `before` where all of it is, the tables that it borrows too.
    fn function(
        &self,
        name: &str,
        placed: &Placed,
        store: &VersionStore,
        before: &FunctionChain,
    ) -> Result<Arc<Function>, AppError> {
        let (version, settings) = (placed.sha256.to_string(), placed.settings.to_string());
        let is_same = |known: &&Arc<Function>| {
            known.name() == name && known.version() == version && known.settings_json() == settings
        };
        let known = before.functions().find(is_same);
        if let Some(known) = known.filter(|known| known.tables().is_none() && !self.tables.has_grants_to(name)) {
            return Ok(Arc::clone(known));
        }
        let function = self.version(name, placed.sha256, settings, store).map_err(|error| failed(name, error))?;
        Ok(known.filter(|known| known.tables() == function.tables()).map_or(function, Arc::clone))
    }

    fn version(
        &self,
        name: &str,
        sha256: Sha,
        settings: String,
        store: &VersionStore,
    ) -> Result<Arc<Function>, store::RegistryError> {
        let loaded = store.load(sha256)?;
        let limits = loaded.limits(store.limits());
        let function = Function::of(loaded.module.clone(), name, settings, limits);
        let services = self.tables.granted_to(name, &loaded.manifest.lookups);
        let function = function.with_services(services).with_numbers(loaded.manifest.numbers());
        Ok(Arc::new(function.with_version(&sha256.to_string())))
    }
}

/// The functions of these names, in order.
fn chosen(functions: &LiveFunctions, names: &[(String, usize)]) -> Vec<Arc<Function>> {
    names.iter().filter_map(|(name, _)| functions.get(name).cloned()).collect()
}

impl Live {
    /// Loads everything that is live. `fingerprint` is the workspace's.
    pub(super) async fn open(
        workspace: &Workspace,
        store: VersionStore,
        fingerprint: String,
    ) -> Result<Arc<Self>, AppError> {
        let parts = LiveParts::load(workspace, &store, fingerprint, None).await?;
        let rules = parts.rules(workspace, &store, &store.releases(), &RuleSet::default())?;
        Ok(Arc::new(Self {
            store,
            parts: RwLock::new(Arc::new(parts)),
            rules: watch::Sender::new(Arc::new(rules)),
            state: Mutex::new(None),
            taken: watch::Sender::default(),
            changing: tokio::sync::Mutex::new(()),
        }))
    }

    /// Until it is dropped releases change nothing, and only the holder does.
    pub(super) async fn hold(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.changing.lock().await
    }

    /// Loads what `workspace` says anew, as far as `plan` says that it is different. Nothing changes by this; what is returned is good
    /// for as long as [`Live::hold`] is held.
    pub(super) async fn next(
        &self,
        workspace: &Workspace,
        plan: &ChangePlan,
        fingerprint: String,
    ) -> Result<NextLive, AppError> {
        let before = self.parts();
        let unchanged = Unchanged { parts: &before, plan };
        let parts = LiveParts::load(workspace, &self.store, fingerprint, Some(unchanged)).await?;
        let rules = parts.rules(workspace, &self.store, &self.store.releases(), &self.rules.borrow().clone())?;
        Ok(NextLive { parts, rules })
    }

    /// Puts rules in place, under a number that is recorded first.
    pub(super) fn put(&self, next: NextLive) -> Result<u64, AppError> {
        fail::fail_point!("rules_recorded", |_| Err(AppError::Io {
            action: "could not write",
            path: "state.db".into(),
            cause: std::io::ErrorKind::StorageFull.into(),
        }));
        let NextLive { parts, mut rules } = next;
        rules.revision = self.begin(&parts, &rules)?;
        let revision = rules.revision;
        *self.parts.write() = Arc::new(parts);
        self.rules.send_replace(Arc::new(rules));
        Ok(revision)
    }

    /// What is live in the store.
    pub(super) fn releases(&self) -> Arc<Releases> {
        self.store.releases()
    }

    fn parts(&self) -> Arc<LiveParts> {
        Arc::clone(&self.parts.read())
    }

    /// Has `state` record the rules that are in place and all that come after them.
    pub(super) fn record(&self, state: State) -> Result<(), AppError> {
        let state = self.forget_components(state)?;
        *self.state.lock() = Some(state);
        let mut rules = RuleSet::clone(&self.rules.borrow());
        rules.revision = self.begin(&self.parts(), &rules)?;
        self.rules.send_replace(Arc::new(rules));
        Ok(())
    }

    /// Leaves the components that events may have to go through again.
    fn forget_components(&self, mut state: State) -> Result<State, AppError> {
        let parts = self.parts();
        let now = parts.fixed.values().flatten().map(|function| function.version().to_owned());
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

    /// What events go through; it changes when a release takes effect, or another workspace.
    pub(super) fn rules(&self) -> watch::Receiver<Arc<RuleSet>> {
        self.rules.subscribe()
    }

    /// The number of these rules, recorded.
    fn begin(&self, parts: &LiveParts, rules: &RuleSet) -> Result<u64, StateError> {
        let mut state = self.state.lock();
        let Some(state) = &mut *state else { return Ok(rules.revision) };
        let sources: BTreeMap<&str, &str> =
            rules.sources.iter().map(|(name, rules)| (&**name, rules.functions.key())).collect();
        let syncs: BTreeMap<&str, &str> =
            rules.syncs.iter().map(|(name, functions)| (&**name, functions.key())).collect();
        let contracts = parts.contracts.as_ref().map(ContractText::sha256);
        let spec = serde_json::json!({
            "contracts": contracts, "sources": sources, "syncs": syncs, "workspace": parts.fingerprint,
        });
        let spec = spec.to_string();
        let spec = Sha::of(spec.as_bytes()).to_string();
        let revision = RunRevision { spec: &spec, contracts: parts.contracts.as_ref(), catalog_revision: None };
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
            let (live, _held) = (Arc::clone(&self), self.hold().await);
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
        let (parts, mut next) = (self.parts(), RuleSet::clone(&self.rules.borrow()));
        let mut differs = false;
        for (name, rules) in &mut next.sources {
            match parts.function_chain(name, &self.store, releases, &rules.functions) {
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
            match self.begin(&parts, &next) {
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

    /// A version by its name, with whatever settings.
    fn find(&self, name: &str, version: &str) -> Option<Arc<Function>> {
        let (store, parts) = (&self.store, self.parts());
        let fits = |function: &&Arc<Function>| function.name() == name && function.version() == version;
        if let Some(function) = parts.functions.values().find(fits) {
            return Some(Arc::clone(function));
        }
        let sha256: Sha = version.parse().ok()?;
        let of_store = || parts.version(name, sha256, "{}".to_owned(), store).map_err(|error| failed(name, error));
        let kept = || {
            let (path, bytes) = store.kept_component(sha256)?;
            let function = of_file(name, parts.files.get(name), (&path, &bytes), store, &parts.tables);
            Some(function.map(Arc::new))
        };
        let found = match parts.files.contains_key(name) {
            true => kept().unwrap_or_else(of_store),
            false => of_store().or_else(|error| kept().unwrap_or(Err(error))),
        };
        found.inspect_err(|error| tracing::error!(function = name, error = %error, "a version of old is gone")).ok()
    }
}

fn failed(name: &str, cause: impl std::error::Error + Send + Sync + 'static) -> AppError {
    AppError::Function { name: name.to_owned(), cause: Box::new(cause) }
}

/// The functions of the workspace's files, but those that are kept: compiled once, then loaded as artifacts at every start.
async fn functions(
    workspace: &Workspace,
    store: &VersionStore,
    tables: &WorkspaceTables,
    kept: impl Fn(&str) -> Option<Arc<Function>>,
) -> Result<LiveFunctions, AppError> {
    let mut functions = LiveFunctions::new();
    for (name, config) in &workspace.functions {
        if let Some(function) = kept(name) {
            functions.insert(name.clone(), function);
            continue;
        }
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

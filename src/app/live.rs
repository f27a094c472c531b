//! The rules that are live: the contract of each source, and the functions of each source and sync, which are those of the
//! workspace's files and then those of the store that are attached. When a release or the workspace changes they are put in place
//! anew, as one value, under a number that the state has recorded first. What is the same in a workspace is not loaded again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::path::Path;
use std::sync::Arc;

use parking_lot::{Mutex, RwLock};
use serde_json::Value;

use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_event::digits::Numbers;
use tidegate_pipeline::refine::{self, Candidate, ChainSlot, FunctionChain, RecalledFunction, RuleSet, SourceRules};
use tidegate_plugin::Package;
use tidegate_process::clock;
use tidegate_registry::{self as store, Placed, PluginKind, Release, Releases, Sha, VersionStore};
use tidegate_state::{ContractText, RunRevision, State, StateError};
use tidegate_wasm as wasm;
use tidegate_wasm::function::Function;
use tidegate_wasm::{RevealedJson, Services};
use tokio::sync::watch;

use super::AppError;
use super::change_plan::ChangePlan;
use super::followed_releases::FollowedReleases;
use super::granted_tables::{self, WorkspaceTables};
use super::store_secrets::{KnownSecrets, SecretReader};
use super::unloadable::{Unloadable, UnloadedRules};
use crate::api::TakenRevision;
use crate::config::{ComponentFile, FunctionConfig, ObjectSpec, Workspace};

type LiveFunctions = BTreeMap<String, Arc<Function>>;

/// The rules, and what they are made of.
pub(super) struct Live {
    store: VersionStore,
    parts: RwLock<Arc<LiveParts>>,
    rules: watch::Sender<Arc<RuleSet>>,
    /// Where secrets come from that a release names and nobody has read.
    reader: SecretReader,
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
    /// For functions of the store.
    secrets: KnownSecrets,
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
    ) -> Result<Self, Unloadable> {
        let unchanged = unchanged.as_ref();
        let (tables, mut unloadable) = granted_tables::tables(workspace, |table| {
            let parts = unchanged?.parts;
            let object = ObjectRef::new(ObjectRefKind::Lookup, table);
            let is_same = parts.specs.get(&object)?.hash == workspace.specs.get(&object)?.hash;
            is_same.then(|| parts.tables.get(table)).flatten()
        });
        let kept = |name: &str| {
            let Unchanged { parts, .. } = unchanged.filter(|unchanged| !unchanged.plan.functions.contains(name))?;
            parts.functions.get(name).cloned()
        };
        let (functions, refusing) = functions(workspace, store, &tables, kept).await;
        unloadable.extend(refusing);
        if !unloadable.is_empty() {
            return Err(unloadable);
        }
        let fixed = workspace
            .sources
            .iter()
            .map(|(name, source)| (name.as_str().into(), chosen(&functions, &source.functions)));
        let contracts = (!workspace.contracts.is_empty())
            .then(|| refine::contract_text(&workspace.contract_files, workspace.contracts.keys()));
        let before = unchanged.map(|unchanged| &unchanged.parts.secrets);
        Ok(Self {
            fixed: fixed.collect(),
            secrets: KnownSecrets::new(workspace.secrets.as_ref(), before),
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
        let asked = workspace.syncs.values().flat_map(|sync| &sync.filter.consent.categories);
        rules.consents = asked.cloned().collect();
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
        let settings = self.secrets.reveal(&placed.settings).map_err(|error| failed(name, error))?;
        let version = placed.sha256.to_string();
        let is_same = |known: &&Arc<Function>| {
            known.name() == name && known.version() == version && known.has_settings(&settings)
        };
        let known = before.functions().find(is_same);
        if let Some(known) = known.filter(|known| known.tables().is_none() && !self.tables.has_grants_to(name)) {
            return Ok(Arc::clone(known));
        }
        let function = self.version(name, placed.sha256, &settings, store).map_err(|error| failed(name, error))?;
        Ok(known.filter(|known| known.is_given_the_same(&function)).map_or(function, Arc::clone))
    }

    fn version(
        &self,
        name: &str,
        sha256: Sha,
        settings: &RevealedJson,
        store: &VersionStore,
    ) -> Result<Arc<Function>, store::RegistryError> {
        let loaded = store.load(sha256)?;
        let limits = loaded.limits(store.limits());
        let function = Function::of(loaded.module.clone(), name, String::new(), limits).with_settings(settings);
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
    /// Loads everything that is live. `fingerprint` is the workspace's; `reader` reads what releases name later.
    pub(super) async fn open(
        workspace: &Workspace,
        store: VersionStore,
        fingerprint: String,
        reader: SecretReader,
    ) -> Result<Arc<Self>, UnloadedRules> {
        let parts = LiveParts::load(workspace, &store, fingerprint, None).await?;
        let rules = parts.rules(workspace, &store, &store.releases(), &RuleSet::default())?;
        Ok(Arc::new(Self {
            store,
            parts: RwLock::new(Arc::new(parts)),
            rules: watch::Sender::new(Arc::new(rules)),
            reader,
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
    ) -> Result<NextLive, UnloadedRules> {
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

    /// The versions of functions that events go through: those that are live, and candidates.
    pub(super) fn versions(&self) -> BTreeSet<(String, String)> {
        let (parts, releases) = (self.parts(), self.store.releases());
        let of_files = parts.functions.iter().map(|(name, function)| (name.clone(), function.version().to_owned()));
        let of_store = releases.of_kind(PluginKind::Functions).iter().flat_map(|(name, release)| {
            let candidate = release.canary.as_ref().map(|canary| &canary.placed);
            let placed = release.live.iter().chain(candidate);
            placed.map(move |placed| (name.clone(), placed.sha256.to_string()))
        });
        of_files.chain(of_store).collect()
    }

    fn parts(&self) -> Arc<LiveParts> {
        Arc::clone(&self.parts.read())
    }

    /// Has `state` record the rules that are in place and all that come after them.
    pub(super) async fn record(&self, state: State) -> Result<(), AppError> {
        let (state, secrets) = self.forget_components(state)?;
        self.parts().secrets.read(secrets, &self.reader).await;
        *self.state.lock() = Some(state);
        let mut rules = RuleSet::clone(&self.rules.borrow());
        rules.revision = self.begin(&self.parts(), &rules)?;
        self.rules.send_replace(Arc::new(rules));
        Ok(())
    }

    /// Leaves the components that events may have to go through again, and says which secrets their settings name.
    fn forget_components(&self, mut state: State) -> Result<(State, BTreeSet<String>), AppError> {
        let parts = self.parts();
        let now = parts.fixed.values().flatten().map(|function| function.version().to_owned());
        let mut named: BTreeSet<Sha> = now.filter_map(|version| version.parse().ok()).collect();
        let mut secrets = BTreeSet::new();
        for partition in 0..state.partitions()? {
            state = state.of_partition(partition);
            let (_, chains) = state.function_chains()?;
            let versions = chains.iter().flat_map(|(.., key)| FunctionChain::versions(key));
            named.extend(versions.filter_map(|version| version.parse::<Sha>().ok()));
            let settings = chains.iter().flat_map(|(.., key)| FunctionChain::settings(key));
            secrets.extend(settings.flat_map(|settings| RevealedJson::names_in(&json(&settings))));
        }
        self.store.forget_components(&named);
        Ok((state.of_partition(0), secrets))
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
        let revision = state.begin_revision(&revision, clock::now_us())?;
        // Of those in the store whoever asks sees which one is live.
        for (name, function) in &parts.functions {
            state.took_over(name, function.version())?;
        }
        Ok(revision)
    }

    /// Makes function chains of old again: their versions are in the store, or are or were among the workspace's files.
    pub(super) fn recall(self: &Arc<Self>) -> Arc<refine::Recall> {
        let live = Arc::clone(self);
        Arc::new(move |key| FunctionChain::recalled(key, &|function| live.find(function)).map(Arc::new))
    }

    /// Puts new function chains in place as releases change, until `stop` turns true.
    pub(super) async fn follow(self: Arc<Self>, stop: watch::Receiver<bool>) {
        let mut releases = FollowedReleases::new(&self.store, stop);
        while let Some(now) = releases.next().await {
            let (live, _held) = (Arc::clone(&self), self.hold().await);
            let named = now.users_of_secrets().into_keys().collect();
            self.parts().secrets.read(named, &self.reader).await;
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

    /// A version as it was, with the secrets of now.
    fn find(&self, asked: &RecalledFunction<'_>) -> Result<Arc<Function>, String> {
        let RecalledFunction { name, version, settings } = *asked;
        let gone = || format!("version {version} of function {name} is gone; bring its component back");
        let found = self.find_version(name, version).ok_or_else(gone)?;
        if found.settings_json() == settings {
            return Ok(found);
        }
        let revealed = self.parts().secrets.reveal(&json(settings));
        let revealed = revealed.map_err(|error| format!("version {version} of function {name}: {error}"))?;
        Ok(Arc::new(Function::clone(&found).with_settings(&revealed)))
    }

    /// A version by its name, with whatever settings.
    fn find_version(&self, name: &str, version: &str) -> Option<Arc<Function>> {
        let (store, parts) = (&self.store, self.parts());
        let fits = |function: &&Arc<Function>| function.name() == name && function.version() == version;
        if let Some(function) = parts.functions.values().find(fits) {
            return Some(Arc::clone(function));
        }
        let sha256: Sha = version.parse().ok()?;
        let nothing = RevealedJson::from(json("{}"));
        let of_store = || parts.version(name, sha256, &nothing, store).map_err(|error| failed(name, error));
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

/// Settings as a function chain's key has them.
fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_default()
}

fn failed(name: &str, cause: impl std::error::Error + Send + Sync + 'static) -> AppError {
    AppError::Function { name: name.to_owned(), cause: Box::new(cause) }
}

/// The functions of the workspace's files, but those that are kept: compiled once, then loaded as artifacts at every start. With those that
/// cannot be loaded; one that borrows a table which is not there is neither.
async fn functions(
    workspace: &Workspace,
    store: &VersionStore,
    tables: &WorkspaceTables,
    kept: impl Fn(&str) -> Option<Arc<Function>>,
) -> (LiveFunctions, Unloadable) {
    let (mut functions, mut unloadable) = (LiveFunctions::new(), Unloadable::default());
    for (name, config) in workspace.functions.iter().filter(|(_, config)| tables.has_all_of(config)) {
        let loaded = match kept(name) {
            Some(function) => Ok(function),
            None => checked(name, config, store, tables).await,
        };
        match loaded {
            Ok(function) => _ = functions.insert(name.clone(), function),
            Err(error) => unloadable.add(ObjectRefKind::Function, name, error),
        }
    }
    (functions, unloadable)
}

/// A function of a file, tried with its settings.
async fn checked(
    name: &str,
    config: &FunctionConfig,
    store: &VersionStore,
    tables: &WorkspaceTables,
) -> Result<Arc<Function>, AppError> {
    let ComponentFile { path, bytes } = &config.component;
    let function = of_file(name, Some(config), (path, bytes), store, tables)?;
    // Wrong settings show now rather than at the first event.
    function.check().await.map_err(|error| failed(name, error))?;
    if let Err(error) = store.keep_component(bytes) {
        tracing::warn!(function = name, error = %error, "a copy of the component could not be kept; when its file is replaced, syncs that lag wait for it to come back");
    }
    Ok(Arc::new(function))
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
    let settings = config.map_or_else(|| RevealedJson::from(json("{}")), |config| config.settings.clone());
    let services = match config {
        Some(config) => granted_tables::services(name, config, bytes, tables)?,
        None => Services::default(),
    };
    let module = store.module_of_functions(path, bytes).map_err(|error| failed(name, error))?;
    let numbers = Package::read(bytes).map_or(Numbers::Unknown, |package| package.manifest.numbers());
    let function = Function::of(module, name, String::new(), limits).with_settings(&settings);
    let function = function.with_services(services).with_numbers(numbers);
    Ok(function.with_version(&Sha::of(bytes).to_string()))
}

//! Versions of functions and destinations: taken, checked, compiled, kept, and pointed at.
//!
//! Nouns: a **version** (a component that is within every limit, named by its sha-256 and never changed), its **metadata**, a
//! **kind** (functions or destinations), a **release** (which version is live under a name, which one was before, which
//! one is the candidate), a **build** (an upload on its way to being a version), an **artifact** (its compiled code, which
//! can be made again at any time).
//!
//! What holds, whatever is uploaded and whenever the process dies:
//! * A version counts only when its bytes and metadata are on disk; a half one is swept away at the next start.
//! * Going live is one atomic replacement of one file. After a crash the releases are the old or the new ones.
//! * Bytes from outside are compiled in a child with limits. This process has no compiler, and loads only code that it
//!   sealed itself; an artifact with any error is compiled again. TypeScript is read in such a child, too.
//! * A version's code is loaded before a release makes it active, and the previous one stays loaded.
//! * Uploads wait in a bounded queue, on disk, and are built one at a time.
//!
//! On disk: `key`, `versions/<sha256>.wasm` and `.json`, `artefacts/<sha256>.cwasm`, `incoming/`, `pointers.json`. This
//! room does not know how events reach a function; whoever runs them follows the releases.

mod admission;
mod build;
mod artifact_cache;
mod compile;
mod disk;
mod format;
mod glance;
mod jail;
mod kept_components;
mod releases;
mod scripts;
mod settings_secrets;
mod sha;
mod shipped;
mod smoke;
mod strip_types;
mod verify;
mod version;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;
use serde_json::Value;
use tokio::sync::{mpsc, watch};

use tidegate_plugin::{Manifest, ScriptError};
use tidegate_process::clock;
use tidegate_wasm::function::RolloutMode;
use tidegate_wasm::{self as wasm, Engine, EngineError, ModuleError, RevealedJson, Seal};

pub use admission::Admission;
pub use build::{BuildId, BuildPlace, BuildProgress, BuildQueue};
pub use compile::{COMMAND as COMPILE_COMMAND, CompileError, CompileLimits, child as compile_child, own_program};
pub use glance::{glance, glance_releases};
pub use releases::{Placed, PluginKind, Release, Releases, Rollout};
pub use scripts::{NewScript, WrittenScript};
pub use settings_secrets::{SettingsSecrets, absent_secret};
pub use sha::{NotASha, Sha};
pub use shipped::{shipped_component, shipped_places};
pub use strip_types::{COMMAND as STRIP_COMMAND, child as strip_child};
pub use verify::{VersionDamage, verify};
pub use version::{Loaded, Smoke, VersionMetadata, check_settings, shown_settings};

/// What a store needs to know.
#[derive(Debug, Clone)]
pub struct RegistrySettings {
    /// Bounds on components and guests.
    pub limits: wasm::CallLimits,
    pub compile: CompileLimits,
    /// Uploads that may wait for their turn; further ones are refused. Default 8.
    pub waiting_max: usize,
    /// Versions kept of all names together. Default 10,000.
    pub versions_max: usize,
    /// The workspace's word on what may go live.
    pub admits: Admission,
    /// The values of secrets that settings name.
    pub secrets: SettingsSecrets,
    /// The program that is run to compile: this one.
    pub program: PathBuf,
}

impl Default for RegistrySettings {
    fn default() -> Self {
        Self {
            limits: wasm::CallLimits::default(),
            compile: CompileLimits::default(),
            waiting_max: 8,
            versions_max: 10_000,
            admits: Admission::default(),
            secrets: SettingsSecrets::default(),
            program: own_program(),
        }
    }
}

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum RegistryError {
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} is damaged: {reason}; put a copy of it back, or remove it and make versions live again", path.display())]
    Damaged { path: PathBuf, reason: String },
    #[error("{}: format {found}, and this build supports up to {}; use the newer build that wrote it. Nothing was changed", path.display(), format::FORMAT)]
    Newer { path: PathBuf, found: u64 },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Load(#[from] ModuleError),
    #[error(transparent)]
    Compile(#[from] CompileError),
    #[error("{waiting} uploads wait already, which is as many as may; try again in a moment")]
    Busy { waiting: usize },
    #[error("the store keeps {max} versions, which is as many as it may")]
    Full { max: usize },
    #[error("there is no {} {name:?}; push a version of it first", plugin_kind.one())]
    NoSuchName { plugin_kind: PluginKind, name: String },
    #[error("{} {name:?} has no version {sha256}; `tidegate {} versions {name}` lists them", plugin_kind.one(), plugin_kind.one())]
    NoSuchVersion { plugin_kind: PluginKind, name: String, sha256: Sha },
    #[error("{} {name:?} has no earlier version to go back to: what was rolled back is not gone back to", plugin_kind.one())]
    NoPrevious { plugin_kind: PluginKind, name: String },
    #[error("no version of {} {name:?} is live; make one live first", plugin_kind.one())]
    NotLive { plugin_kind: PluginKind, name: String },
    #[error("function {name:?} is not attached to {source_name:?}; it is attached to {attached}")]
    NotAttached { name: String, source_name: String, attached: String },
    #[error("nothing is tried beside the live version of {} {name:?}", plugin_kind.one())]
    NoRollout { plugin_kind: PluginKind, name: String },
    #[error("the settings do not fit the version: {problems}")]
    Settings { problems: String },
    #[error("the workspace does not grant {} {name:?} what it needs: {problems}", plugin_kind.one())]
    NotGranted { plugin_kind: PluginKind, name: String, problems: String },
    #[error("a share is a percentage from 1 to 99")]
    Share,
    #[error("the version is live already; there is nothing to try")]
    AlreadyLive,
    #[error("there is nothing here that runs scripts: no {file} in {places}")]
    NoInterpreter { file: &'static str, places: String },
    #[error(transparent)]
    Script(#[from] ScriptError),
    /// What is wrong with TypeScript, with its line and column.
    #[error("{0}")]
    TypeScript(String),
}

/// The store. Clones are the same store.
#[derive(Clone)]
pub struct VersionStore(Arc<RegistryInner>);

struct RegistryInner {
    dir: PathBuf,
    settings: RegistrySettings,
    engine: Engine,
    seal: Seal,
    /// The compiler whose artifacts are loaded.
    compiler: u64,
    versions: Mutex<HashMap<Sha, Arc<VersionMetadata>>>,
    releases: watch::Sender<Arc<Releases>>,
    /// Held while releases change, so that the file and what is followed agree.
    flipping: Mutex<()>,
    loaded: Mutex<HashMap<Sha, Arc<Loaded>>>,
    /// Held while something is compiled: one at a time.
    compiling: Mutex<()>,
    /// The same while types are taken from a script, which takes no longer than a moment.
    stripping: Mutex<()>,
    builds: build::Builds,
    jobs: mpsc::Sender<build::BuildJob>,
}

impl std::fmt::Debug for VersionStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("dir", &self.0.dir).finish_non_exhaustive()
    }
}

impl VersionStore {
    /// Opens the store in `dir`, or makes one there. Nothing is built until the [`BuildQueue`] runs.
    ///
    /// # Errors
    /// The folder cannot be used, or its releases are damaged.
    pub fn open(dir: &Path, settings: RegistrySettings) -> Result<(Self, BuildQueue), RegistryError> {
        use std::os::unix::fs::DirBuilderExt as _;
        // Read before anything is made or swept: of a newer build's store nothing is changed.
        let releases = watch::Sender::new(Arc::new(Releases::read(&dir.join("pointers.json"))?));
        artifact_cache::refuse_newer(&dir.join("versions"))?;
        for folder in ["versions", "artefacts", "incoming"].map(|name| dir.join(name)) {
            let made = std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&folder);
            made.map_err(|cause| RegistryError::File { path: folder, cause })?;
        }
        sweep(&dir.join("incoming"), "");
        // What a write left behind that was cut off before its renaming.
        sweep(dir, ".tmp");
        sweep(&dir.join("artefacts"), ".tmp");
        let seal = artifact_cache::key(&dir.join("key"))?;
        let engine = Engine::serving(&settings.limits)?;
        let compiler = wasm::compiler_id()?;
        let versions = Mutex::new(artifact_cache::versions(&dir.join("versions"))?);
        let (jobs, waiting) = mpsc::channel(settings.waiting_max.max(1));
        let store = Self(Arc::new(RegistryInner {
            dir: dir.to_owned(),
            settings,
            engine,
            seal,
            compiler,
            versions,
            releases,
            flipping: Mutex::default(),
            loaded: Mutex::default(),
            compiling: Mutex::default(),
            stripping: Mutex::default(),
            builds: build::Builds::default(),
            jobs,
        }));
        Ok((store.clone(), BuildQueue::new(store, waiting)))
    }

    /// The engine that everything here is loaded into.
    #[must_use]
    pub fn engine(&self) -> &Engine {
        &self.0.engine
    }

    /// Bounds on components and guests.
    #[must_use]
    pub fn limits(&self) -> &wasm::CallLimits {
        &self.0.settings.limits
    }

    /// The releases as they are, and every change of them.
    #[must_use]
    pub fn follow(&self) -> watch::Receiver<Arc<Releases>> {
        self.0.releases.subscribe()
    }

    /// The releases as they are.
    #[must_use]
    pub fn releases(&self) -> Arc<Releases> {
        Arc::clone(&self.0.releases.borrow())
    }

    /// The versions of `name`, newest first.
    #[must_use]
    pub fn versions(&self, plugin_kind: PluginKind, name: &str) -> Vec<Arc<VersionMetadata>> {
        let versions = self.0.versions.lock();
        let ours = |metadata: &&Arc<VersionMetadata>| metadata.name == name && metadata.plugin_kind() == plugin_kind;
        let mut found: Vec<Arc<VersionMetadata>> = versions.values().filter(ours).cloned().collect();
        found.sort_by_key(|metadata| (std::cmp::Reverse(metadata.uploaded_at_us), metadata.sha256));
        found
    }

    /// The names on a kind, in order.
    #[must_use]
    pub fn names(&self, plugin_kind: PluginKind) -> Vec<String> {
        let versions = self.0.versions.lock();
        let mut names: Vec<String> = versions
            .values()
            .filter(|metadata| metadata.plugin_kind() == plugin_kind)
            .map(|metadata| metadata.name.clone())
            .collect();
        names.sort_unstable();
        names.dedup();
        names
    }

    /// Makes a version live with `settings`, or with those that are live already. Its code is loaded before the release
    /// moves. Blocks on the disk; seconds when the code must be compiled again.
    ///
    /// # Errors
    /// There is no such version, its settings do not fit, or the disk fails; then nothing has changed.
    pub fn set_live(
        &self,
        plugin_kind: PluginKind,
        name: &str,
        sha256: Sha,
        settings: Option<Value>,
    ) -> Result<Arc<Releases>, RegistryError> {
        let loaded = self.version(plugin_kind, name, sha256)?;
        self.change(plugin_kind, name, |release| {
            let placed = self.placed(plugin_kind, &loaded, settings, release)?;
            if release.live.as_ref() != Some(&placed) {
                release.advance(placed);
            }
            if release.canary.as_ref().is_some_and(|canary| canary.placed.sha256 == sha256) {
                release.canary = None;
            }
            Ok(())
        })
    }

    /// Ends what is tried beside the live version; where nothing is, goes back to the version that was live before, with the
    /// settings that it had. What was left that way is never gone back to.
    ///
    /// # Errors
    /// There is neither, or the disk fails; then nothing has changed.
    pub fn rollback(&self, plugin_kind: PluginKind, name: &str) -> Result<Arc<Releases>, RegistryError> {
        let no_previous = || RegistryError::NoPrevious { plugin_kind, name: name.to_owned() };
        self.known(plugin_kind, name)?;
        let releases = self.releases();
        let release = releases.of_kind(plugin_kind).get(name).ok_or_else(no_previous)?;
        if release.canary.is_none() {
            let previous = release.previous.as_ref().ok_or_else(no_previous)?;
            let given = self.given(&previous.settings)?;
            self.admit(plugin_kind, &self.load(previous.sha256)?.manifest, given.given())?;
        }
        self.change(plugin_kind, name, |release| match release.canary.take() {
            Some(_) => Ok(()),
            None => release.retreat().map(drop).ok_or_else(no_previous),
        })
    }

    /// Tries a version beside the live one, or ends the rollout with `None`.
    ///
    /// # Errors
    /// As for [`VersionStore::set_live`]; and nothing is live to be tried beside, or there is no rollout to end.
    pub fn set_canary(
        &self,
        plugin_kind: PluginKind,
        name: &str,
        canary: Option<(Sha, RolloutMode, Option<Value>)>,
    ) -> Result<Arc<Releases>, RegistryError> {
        let loaded = canary.as_ref().map(|(sha256, ..)| self.version(plugin_kind, name, *sha256)).transpose()?;
        if let Some((_, RolloutMode::Share(share), _)) = canary
            && !(1..=99).contains(&share)
        {
            return Err(RegistryError::Share);
        }
        self.change(plugin_kind, name, |release| {
            let live =
                release.live.as_ref().ok_or_else(|| RegistryError::NotLive { plugin_kind, name: name.to_owned() })?;
            release.canary = match (canary, loaded) {
                (Some((_, mode, settings)), Some(loaded)) => {
                    let placed = self.placed(plugin_kind, &loaded, settings, release)?;
                    if placed == *live {
                        return Err(RegistryError::AlreadyLive);
                    }
                    Some(Rollout { placed, mode })
                }
                _ if release.canary.is_none() => {
                    return Err(RegistryError::NoRollout { plugin_kind, name: name.to_owned() });
                }
                _ => None,
            };
            Ok(())
        })
    }

    /// Replaces the settings of the live version. The old ones stay those of the previous version to roll back to.
    ///
    /// # Errors
    /// They do not fit the live version's schema, or nothing is live.
    pub fn set_settings(
        &self,
        plugin_kind: PluginKind,
        name: &str,
        settings: Value,
    ) -> Result<Arc<Releases>, RegistryError> {
        let releases = self.releases();
        let live = releases.of_kind(plugin_kind).get(name).and_then(|release| release.live.as_ref());
        let live = live.ok_or_else(|| RegistryError::NotLive { plugin_kind, name: name.to_owned() })?.sha256;
        self.set_live(plugin_kind, name, live, Some(settings))
    }

    /// Lets a function see the events of a source.
    ///
    /// # Errors
    /// There is no such function, or the disk fails.
    pub fn attach(&self, name: &str, source: &str) -> Result<Arc<Releases>, RegistryError> {
        self.known(PluginKind::Functions, name)?;
        self.change(PluginKind::Functions, name, |release| {
            release.attached.insert(source.to_owned());
            Ok(())
        })
    }

    /// The opposite of [`VersionStore::attach`].
    ///
    /// # Errors
    /// There is no such function, it does not see that source, or the disk fails.
    pub fn detach(&self, name: &str, source: &str) -> Result<Arc<Releases>, RegistryError> {
        self.known(PluginKind::Functions, name)?;
        self.change(PluginKind::Functions, name, |release| {
            if release.attached.remove(source) {
                return Ok(());
            }
            let attached: Vec<&str> = release.attached.iter().map(String::as_str).collect();
            let attached = if attached.is_empty() { "no source".to_owned() } else { attached.join(", ") };
            Err(RegistryError::NotAttached { name: name.to_owned(), source_name: source.to_owned(), attached })
        })
    }

    fn known(&self, plugin_kind: PluginKind, name: &str) -> Result<(), RegistryError> {
        let found = self
            .0
            .versions
            .lock()
            .values()
            .any(|metadata| metadata.name == name && metadata.plugin_kind() == plugin_kind);
        if found { Ok(()) } else { Err(RegistryError::NoSuchName { plugin_kind, name: name.to_owned() }) }
    }

    /// A version of this name, loaded.
    fn version(&self, plugin_kind: PluginKind, name: &str, sha256: Sha) -> Result<Arc<Loaded>, RegistryError> {
        self.known(plugin_kind, name)?;
        let metadata = self.0.versions.lock().get(&sha256).cloned();
        match metadata {
            Some(metadata) if metadata.name == name && metadata.plugin_kind() == plugin_kind => self.load(sha256),
            _ => Err(RegistryError::NoSuchVersion { plugin_kind, name: name.to_owned(), sha256 }),
        }
    }

    /// What goes live: the version with the settings given, else those that are live, else none. They must fit its
    /// schema, and the plugin itself must take them.
    fn placed(
        &self,
        plugin_kind: PluginKind,
        loaded: &Loaded,
        settings: Option<Value>,
        release: &Release,
    ) -> Result<Placed, RegistryError> {
        let current = || release.live.as_ref().map(|placed| placed.settings.clone());
        let settings = settings.or_else(current).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
        let given = self.given(&settings)?;
        check_settings(&loaded.manifest, given.given()).map_err(|problems| RegistryError::Settings { problems })?;
        self.admit(plugin_kind, &loaded.manifest, given.given())?;
        let io = |cause| RegistryError::File { path: self.0.dir.clone(), cause };
        // Whoever calls this may block, so a runtime of its own is no harm.
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().map_err(io)?;
        let takes = smoke::takes(&loaded.module, &loaded.manifest, self.limits(), &given);
        let refused = |reason| RegistryError::Settings { problems: format!("the plugin refuses them: {reason}") };
        runtime.block_on(takes).map_err(refused)?;
        Ok(Placed { sha256: loaded.sha256, settings })
    }

    /// Settings with the secrets that they name, which must be there.
    fn given(&self, settings: &Value) -> Result<RevealedJson, RegistryError> {
        let given = self.0.settings.secrets.reveal(settings);
        given.map_err(|problems| RegistryError::Settings { problems })
    }

    /// Whether the workspace lets it run; its manifest carries the name.
    fn admit(&self, plugin_kind: PluginKind, manifest: &Manifest, settings: &Value) -> Result<(), RegistryError> {
        let admitted = self.0.settings.admits.check(plugin_kind, &manifest.name, manifest, settings);
        admitted.map_err(|problems| RegistryError::NotGranted { plugin_kind, name: manifest.name.clone(), problems })
    }

    /// Changes one release: on disk first, then for those who follow.
    fn change(
        &self,
        plugin_kind: PluginKind,
        name: &str,
        change: impl FnOnce(&mut Release) -> Result<(), RegistryError>,
    ) -> Result<Arc<Releases>, RegistryError> {
        let _one_at_a_time = self.0.flipping.lock();
        let old = self.releases();
        let mut new = Releases::clone(&old);
        change(new.of_kind_mut(plugin_kind).entry(name.to_owned()).or_default())?;
        if new == *old {
            return Ok(old);
        }
        new.revision += 1;
        new.write(&self.0.dir.join("pointers.json"))?;
        let new = Arc::new(new);
        self.0.releases.send_replace(Arc::clone(&new));
        self.forget_unnamed(&new);
        Ok(new)
    }
}

/// What was on its way when the process ended is gone; whoever sent it has no answer and sends it again.
fn sweep(folder: &Path, prefix: &str) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        if entry.file_name().as_encoded_bytes().starts_with(prefix.as_bytes()) {
            let _ = std::fs::remove_file(entry.path());
        }
    }
}

/// Now, as the metadata spell it.
fn now_us() -> i64 {
    clock::now_us()
}

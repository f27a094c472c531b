//! An upload's way to being a version: queue, limits, compiling, smoke.

use std::collections::VecDeque;
use std::fmt::Display;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use parking_lot::Mutex;
use tempfile::NamedTempFile;
use tidegate_plugin::{ManifestKind, Package};
use tidegate_process::clock;
use tidegate_wasm::inspect;
use tokio::sync::{mpsc, watch};

use super::version::{Smoke, VersionMetadata};
use super::{PluginKind, RegistryError, Sha, VersionStore, disk, now_us, smoke};

/// Names a build, for as long as the process remembers it.
pub type BuildId = Arc<str>;

/// Builds that are remembered.
const BUILDS_MAX: usize = 256;

/// How far a build is.
#[derive(Debug, Clone)]
pub enum BuildProgress {
    Queued,
    Inspecting,
    Compiling { since: Instant },
    Smoke,
    Ready(Arc<VersionMetadata>),
    Failed { code: &'static str, reason: String },
}

impl BuildProgress {
    /// Whether nothing more will come.
    #[must_use]
    pub const fn is_end(&self) -> bool {
        matches!(self, Self::Ready(_) | Self::Failed { .. })
    }
}

/// The builds that are remembered, oldest first.
#[derive(Default)]
pub(super) struct Builds(Mutex<VecDeque<(BuildId, watch::Receiver<BuildProgress>)>>);

impl Builds {
    fn add(&self, id: &BuildId, progress: watch::Receiver<BuildProgress>) {
        let mut builds = self.0.lock();
        if builds.len() >= BUILDS_MAX {
            builds.pop_front();
        }
        builds.push_back((Arc::clone(id), progress));
    }

    fn find(&self, id: &str) -> Option<watch::Receiver<BuildProgress>> {
        self.0.lock().iter().find(|(known, _)| **known == *id).map(|(_, progress)| progress.clone())
    }
}

/// One upload that waits for its turn.
pub(super) struct BuildJob {
    plugin_kind: PluginKind,
    name: String,
    /// Whether a fixture that fails is only noted.
    force: bool,
    /// Holds the bytes; swept away with the job.
    file: NamedTempFile,
    progress: watch::Sender<BuildProgress>,
}

/// A place in the queue: taken before the bytes come, so that no more of them come than may wait.
pub struct BuildPlace {
    store: VersionStore,
    permit: mpsc::OwnedPermit<BuildJob>,
    force: bool,
}

impl VersionStore {
    /// A place in the queue.
    ///
    /// # Errors
    /// The queue is full, or the store is.
    pub fn place(&self) -> Result<BuildPlace, RegistryError> {
        let max = self.0.settings.versions_max;
        if self.0.versions.lock().len() >= max {
            return Err(RegistryError::Full { max });
        }
        let permit = self.0.jobs.clone().try_reserve_owned();
        let permit = permit.map_err(|_| RegistryError::Busy { waiting: self.0.settings.waiting_max })?;
        Ok(BuildPlace { store: self.clone(), permit, force: false })
    }

    /// Takes `bytes` as a new version of `name`, if there is a place in the queue.
    ///
    /// # Errors
    /// The queue is full, or the disk is.
    pub fn upload(&self, plugin_kind: PluginKind, name: &str, bytes: &[u8]) -> Result<BuildId, RegistryError> {
        self.place()?.take(plugin_kind, name, bytes)
    }

    /// Follows a build; `None` when nobody remembers it.
    #[must_use]
    pub fn build(&self, id: &str) -> Option<watch::Receiver<BuildProgress>> {
        self.0.builds.find(id)
    }
}

impl BuildPlace {
    /// The same place for a version that is taken although it fails its fixtures.
    #[must_use]
    pub fn forced(self, force: bool) -> Self {
        Self { force, ..self }
    }

    /// Fills the place. Blocks on the disk.
    ///
    /// # Errors
    /// The disk is full.
    pub fn take(self, plugin_kind: PluginKind, name: &str, bytes: &[u8]) -> Result<BuildId, RegistryError> {
        let incoming = self.store.0.dir.join("incoming");
        let file = NamedTempFile::new_in(&incoming)
            .and_then(|mut file| std::io::Write::write_all(&mut file, bytes).map(|()| file))
            .map_err(|cause| RegistryError::File { path: incoming, cause })?;
        let id: BuildId = clock::uuid().into();
        let (progress, follow) = watch::channel(BuildProgress::Queued);
        self.store.0.builds.add(&id, follow);
        self.permit.send(BuildJob { plugin_kind, name: name.to_owned(), force: self.force, file, progress });
        Ok(id)
    }
}

/// Builds one upload after the other.
pub struct BuildQueue {
    store: VersionStore,
    waiting: mpsc::Receiver<BuildJob>,
}

impl BuildQueue {
    pub(super) fn new(store: VersionStore, waiting: mpsc::Receiver<BuildJob>) -> Self {
        Self { store, waiting }
    }

    /// Builds until `stop` turns true. What waits then is not built; a build under way is left to its end.
    pub async fn run(mut self, mut stop: watch::Receiver<bool>) {
        loop {
            let job = tokio::select! {
                _ = stop.wait_for(|stop| *stop) => return,
                job = self.waiting.recv() => job,
            };
            let Some(job) = job else { return };
            let store = self.store.clone();
            let runtime = tokio::runtime::Handle::current();
            let done = tokio::task::spawn_blocking(move || {
                let ended = store.built(&job, &runtime).unwrap_or_else(|refused| refused);
                if let BuildProgress::Failed { code, reason } = &ended {
                    tracing::info!(name = job.name, code, reason, "an upload is refused");
                }
                job.progress.send_replace(ended);
            });
            if done.await.is_err() {
                tracing::error!("a build ended without an answer");
            }
        }
    }
}

fn refused(code: &'static str, reason: impl Display) -> BuildProgress {
    BuildProgress::Failed { code, reason: reason.to_string() }
}

impl VersionStore {
    /// One build, from inspecting the component to its end.
    fn built(&self, job: &BuildJob, runtime: &tokio::runtime::Handle) -> Result<BuildProgress, BuildProgress> {
        job.progress.send_replace(BuildProgress::Inspecting);
        let limits = self.limits();
        let path = job.file.path();
        let io = |error: std::io::Error| refused("store-failed", format!("the store's disk failed: {error}"));
        let bytes = disk::read(path, u64::MAX).map_err(io)?.unwrap_or_default();
        let sha256 = Sha::of(&bytes);
        if let Some(metadata) = self.0.versions.lock().get(&sha256).cloned()
            && metadata.name == job.name
            && metadata.plugin_kind() == job.plugin_kind
        {
            return match metadata.smoke.failed.clone().filter(|_| !job.force) {
                Some(difference) => Err(refused("smoke", difference)),
                None => Ok(BuildProgress::Ready(metadata)),
            };
        }
        let package = self.component_limits(job, &bytes, limits)?;
        job.progress.send_replace(BuildProgress::Compiling { since: Instant::now() });
        let compiled = self.compiled(sha256, path, &bytes, package.manifest.kind);
        let compiled = compiled.map_err(|error| refused("compile", error))?;
        job.progress.send_replace(BuildProgress::Smoke);
        let smoke = match runtime.block_on(smoke::run(&compiled.module, &package, limits)) {
            Ok(smoke) => smoke,
            Err(difference) if job.force => Smoke { failed: Some(difference), ..Smoke::default() },
            Err(difference) => {
                self.forget_artifact(sha256);
                return Err(refused("smoke", difference));
            }
        };
        let metadata = VersionMetadata {
            format: super::format::FormatNumber::default(),
            sha256,
            name: package.manifest.name.clone(),
            kind: package.manifest.kind.as_str().to_owned(),
            bytes: bytes.len(),
            code_bytes: compiled.code_bytes,
            uploaded_at_us: now_us(),
            compile_ms: compiled.compile_ms,
            smoke,
            manifest: package.manifest_json,
        };
        self.keep(job, metadata).map_err(|error| refused("store-failed", error))
    }

    /// Everything that can be said without compiling.
    fn component_limits(
        &self,
        job: &BuildJob,
        bytes: &[u8],
        limits: &tidegate_wasm::CallLimits,
    ) -> Result<Package, BuildProgress> {
        // The outline first: it is bounded, and what follows reads the bytes with fewer doubts.
        inspect(bytes, limits, None).map_err(|error| refused("limits", error))?;
        let package = Package::read(bytes).map_err(|error| refused("manifest", error))?;
        let (kind, name) = (package.manifest.kind, &package.manifest.name);
        let plugin_kind =
            if kind == ManifestKind::Destination { PluginKind::Destinations } else { PluginKind::Functions };
        if plugin_kind != job.plugin_kind {
            return Err(refused(
                "wrong-kind",
                format!(
                    "its manifest says `kind: {}`, which is a {}; use `tidegate {} push`, or change the kind",
                    kind.as_str(),
                    plugin_kind.one(),
                    plugin_kind.one()
                ),
            ));
        }
        if *name != job.name {
            return Err(refused(
                "wrong-name",
                format!(
                    "its manifest says `name: {name}`, but it was sent as {:?}; send it as {name:?}, or change `name` in \
                     plugin.yaml and build again",
                    job.name
                ),
            ));
        }
        inspect(bytes, limits, Some(kind)).map_err(|error| refused("limits", error))?;
        Ok(package)
    }

    /// Makes the version count: bytes, then metadata, each synced with its folder.
    fn keep(&self, job: &BuildJob, metadata: VersionMetadata) -> Result<BuildProgress, RegistryError> {
        let path = self.version_path(metadata.sha256);
        let failed = |path: &PathBuf| {
            let path = path.clone();
            move |cause| RegistryError::File { path, cause }
        };
        let bytes = std::fs::read(job.file.path()).map_err(failed(&path))?;
        disk::replace(&path, &bytes).map_err(failed(&path))?;
        let metadata_path = path.with_extension("json");
        let text = serde_json::to_vec_pretty(&metadata).map_err(|error| failed(&metadata_path)(error.into()))?;
        disk::replace(&metadata_path, &text).map_err(failed(&metadata_path))?;
        let metadata = Arc::new(metadata);
        self.0.versions.lock().insert(metadata.sha256, Arc::clone(&metadata));
        Ok(BuildProgress::Ready(metadata))
    }
}

//! From bytes to code that can be called: artifacts, and what is loaded.

use std::collections::{HashMap, HashSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use tidegate_plugin::{Manifest, ManifestKind};
use tidegate_process::{clock, whole_file};
use tidegate_wasm::{ArtifactError, ArtifactOrigin, Module, ModuleError, Seal, inspect};

use super::compile::compile;
use super::version::{Loaded, VersionMetadata};
use super::{RegistryError, Releases, Sha, VersionStore, disk, format};

/// The key that seals artifacts; made when there is none. A new key only means that everything is compiled again.
pub(super) fn key(path: &Path) -> Result<Seal, RegistryError> {
    let failed = |cause| RegistryError::File { path: path.to_owned(), cause };
    let known = disk::read(path, 1 << 10).map_err(failed)?.and_then(|bytes| <[u8; 32]>::try_from(bytes).ok());
    if let Some(key) = known {
        return Ok(Seal::new(key));
    }
    let key = clock::random::<32>();
    disk::replace(path, &key).map_err(failed)?;
    Ok(Seal::new(key))
}

/// The versions in a folder. What is not whole is no version: it was never acknowledged.
pub(super) fn versions(folder: &Path) -> Result<HashMap<Sha, Arc<VersionMetadata>>, RegistryError> {
    let mut versions = HashMap::new();
    let failed = |cause| RegistryError::File { path: folder.to_owned(), cause };
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let sha = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse::<Sha>().ok());
        match (sha, path.extension().and_then(|extension| extension.to_str())) {
            (Some(sha), Some("json")) => match metadata(&path, sha) {
                Ok(metadata) => drop(versions.insert(sha, Arc::new(metadata))),
                Err(reason) => {
                    tracing::error!(file = %path.display(), reason, "a version cannot be read and is left out")
                }
            },
            // Bytes without metadata: the process ended before they counted.
            (Some(_), Some("wasm")) if !path.with_extension("json").exists() => drop(std::fs::remove_file(&path)),
            (Some(_), Some("wasm")) => {}
            _ => drop(std::fs::remove_file(&path)),
        }
    }
    Ok(versions)
}

/// Refuses a folder with a version that a newer build wrote: left out, its function would not run.
pub(super) fn refuse_newer(folder: &Path) -> Result<(), RegistryError> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Ok(()) };
    for path in entries.flatten().map(|entry| entry.path()) {
        if path.extension().is_some_and(|extension| extension == "json")
            && let Ok(Some(bytes)) = disk::read(&path, METADATA_BYTES_MAX)
            && let Err(error @ RegistryError::Newer { .. }) = format::read::<serde_json::Value>(&path, &bytes)
        {
            return Err(error);
        }
    }
    Ok(())
}

const METADATA_BYTES_MAX: u64 = 8 << 20;

pub(super) fn metadata(path: &Path, sha: Sha) -> Result<VersionMetadata, String> {
    let bytes = disk::read(path, METADATA_BYTES_MAX).map_err(|error| error.to_string())?.unwrap_or_default();
    let metadata: VersionMetadata = format::read(path, &bytes).map_err(|error| error.to_string())?;
    if metadata.sha256 != sha {
        return Err("it is about another version".to_owned());
    }
    if !path.with_extension("wasm").is_file() {
        return Err("its component is missing".to_owned());
    }
    Ok(metadata)
}

/// Whether a component is of the fields world.
fn exports_fields(bytes: &[u8]) -> bool {
    let limits = tidegate_wasm::CallLimits::default();
    inspect(bytes, &limits, Some(ManifestKind::Fields)).is_ok()
}

/// Code, and what it took to have it.
pub(super) struct Compiled {
    pub(super) module: Module,
    pub(super) code_bytes: usize,
    /// Zero when there was an artifact already.
    pub(super) compile_ms: u64,
}

/// Where tests have compiled code of a component for one another, when they name a folder: most of their time went into compiling the same.
fn of_tests(sha256: Sha, compiler: u64) -> Option<PathBuf> {
    fail::fail_point!("compiled_code", |folder| {
        folder.map(|folder| Path::new(&folder).join(format!("{sha256}-{compiler:016x}")))
    });
    let _ = (sha256, compiler);
    None
}

impl VersionStore {
    /// A version, loaded; compiled again when its artifact is gone or has an error.
    ///
    /// # Errors
    /// There is no such version, or it cannot be made to run.
    pub fn load(&self, sha256: Sha) -> Result<Arc<Loaded>, RegistryError> {
        if let Some(loaded) = self.0.loaded.lock().get(&sha256) {
            return Ok(Arc::clone(loaded));
        }
        let path = self.version_path(sha256);
        let metadata = self.0.versions.lock().get(&sha256).cloned();
        let damaged = |reason: String| RegistryError::Damaged { path: path.clone(), reason };
        let metadata = metadata.ok_or_else(|| damaged("there are no metadata about this version".to_owned()))?;
        let manifest = Manifest::from_json(&metadata.manifest).map_err(|problems| {
            damaged(
                problems.first().map_or_else(|| "its manifest is wrong".to_owned(), |problem| problem.message.clone()),
            )
        })?;
        let module = match self.artifact(sha256, manifest.kind) {
            Some((module, _)) => module,
            None => {
                let bytes = self.version_bytes(sha256)?;
                self.compiled(sha256, &path, &bytes, manifest.kind)?.module
            }
        };
        let loaded = Arc::new(Loaded { sha256, manifest, module });
        Ok(Arc::clone(self.0.loaded.lock().entry(sha256).or_insert(loaded)))
    }

    /// The module of a component that somebody has on disk: checked, compiled in a child and kept as an artifact like a
    /// version, without becoming one. Blocks for seconds when it is new.
    ///
    /// # Errors
    /// It is beyond a limit, or it does not compile.
    pub fn module(&self, path: &Path, bytes: &[u8], kind: ManifestKind) -> Result<Module, RegistryError> {
        inspect(bytes, self.limits(), Some(kind))?;
        let sha256 = Sha::of(bytes);
        match self.artifact(sha256, kind) {
            Some((module, _)) => Ok(module),
            None => Ok(self.compiled(sha256, path, bytes, kind)?.module),
        }
    }

    /// The same for a function: of the fields kind if it says so or exports it, else of the transform kind.
    ///
    /// # Errors
    /// As for [`VersionStore::module`].
    pub fn module_of_functions(&self, path: &Path, bytes: &[u8]) -> Result<Module, RegistryError> {
        match self.module(path, bytes, ManifestKind::Transform) {
            Err(RegistryError::Load(ModuleError::MissingExport { .. } | ModuleError::ForbiddenImport { .. }))
                if exports_fields(bytes) =>
            {
                self.module(path, bytes, ManifestKind::Fields)
            }
            done => done,
        }
    }

    /// Compiles the component at `path`, which has the content `bytes`, unless somebody just did.
    pub(super) fn compiled(
        &self,
        sha256: Sha,
        path: &Path,
        bytes: &[u8],
        kind: ManifestKind,
    ) -> Result<Compiled, RegistryError> {
        let _one_at_a_time = self.0.compiling.lock();
        if let Some((module, code_bytes)) = self.artifact(sha256, kind) {
            return Ok(Compiled { module, code_bytes, compile_ms: 0 });
        }
        // The child reads the file itself; a copy that nobody else writes to makes sure that it reads these very bytes.
        let copy = tempfile::NamedTempFile::new_in(self.0.dir.join("incoming"))
            .and_then(|copy| std::fs::write(copy.path(), bytes).map(|()| copy))
            .map_err(|cause| RegistryError::File { path: path.to_owned(), cause })?;
        let began = Instant::now();
        let of_tests = of_tests(sha256, self.0.compiler);
        let (compiler, code) = match of_tests.as_deref().and_then(|path| std::fs::read(path).ok()) {
            Some(code) => (self.0.compiler, code),
            None => compile(&self.0.settings.program, copy.path(), &self.0.settings.compile)?,
        };
        if let Some(path) = of_tests.filter(|path| !path.exists()) {
            let _ = whole_file::replace_quickly(&path, &code);
        }
        let compile_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let origin = ArtifactOrigin { component: sha256.bytes(), compiler };
        let artifact = self.0.seal.seal(origin, code);
        let code = self.0.seal.open(&artifact, ArtifactOrigin { compiler: self.0.compiler, ..origin });
        let code = code.map_err(|error| ModuleError::Stale { reason: error.to_string() })?;
        let module = Module::load(&self.0.engine, &code, kind)?;
        let kept = self.artifact_path(sha256);
        if let Err(error) = whole_file::replace_quickly(&kept, &artifact) {
            tracing::warn!(file = %kept.display(), error = %error, "compiled code could not be kept; it will be compiled again");
        }
        Ok(Compiled { module, code_bytes: artifact.len(), compile_ms })
    }

    /// The code of a component if it is there, sealed by us and takes its place in the engine.
    fn artifact(&self, sha256: Sha, kind: ManifestKind) -> Option<(Module, usize)> {
        let path = self.artifact_path(sha256);
        let began = Instant::now();
        let bytes_max = self.0.settings.compile.code_bytes_max + (1 << 10);
        let length = match path.metadata() {
            Ok(found) if found.len() <= bytes_max => usize::try_from(found.len()).unwrap_or(usize::MAX),
            Ok(found) => {
                tracing::warn!(file = %path.display(), bytes = found.len(), "compiled code is too large; it is compiled again");
                return None;
            }
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(file = %path.display(), error = %error, "compiled code cannot be read; it is compiled again");
                return None;
            }
        };
        let opened =
            self.0.seal.open_file(&path, ArtifactOrigin { component: sha256.bytes(), compiler: self.0.compiler });
        let verified = began.elapsed();
        let loaded = match opened {
            Ok(code) => Module::load(&self.0.engine, &code, kind).map_err(|error| error.to_string()),
            Err(error @ ArtifactError::Seal) => {
                tracing::error!(file = %path.display(), error = %error, "compiled code is not ours; it is compiled again");
                return None;
            }
            Err(error) => Err(error.to_string()),
        };
        match loaded {
            Ok(module) => {
                let us = |duration: std::time::Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
                tracing::debug!(
                    version = %sha256, bytes = length, verify_us = us(verified),
                    load_us = us(began.elapsed() - verified), "compiled code is loaded"
                );
                Some((module, length))
            }
            Err(reason) => {
                tracing::warn!(file = %path.display(), reason, "compiled code does not fit; it is compiled again");
                None
            }
        }
    }

    /// The component of a version, which is what its name says or an error.
    pub(super) fn version_bytes(&self, sha256: Sha) -> Result<Vec<u8>, RegistryError> {
        let path = self.version_path(sha256);
        let bytes = disk::read(&path, self.limits().component_bytes_max as u64);
        let bytes = bytes.map_err(|cause| RegistryError::File { path: path.clone(), cause })?;
        match bytes {
            Some(bytes) if Sha::of(&bytes) == sha256 => Ok(bytes),
            Some(_) => Err(RegistryError::Damaged { path, reason: "its sha-256 is another than its name".to_owned() }),
            None => Err(RegistryError::Damaged { path, reason: "it is missing".to_owned() }),
        }
    }

    /// Lets go of the code that no release names, or of nothing.
    pub(super) fn forget_unnamed(&self, releases: &Releases) {
        let named: HashSet<Sha> = releases.named().collect();
        self.0.loaded.lock().retain(|sha, _| named.contains(sha));
    }

    /// Removes the code of what did not become a version.
    pub(super) fn forget_artifact(&self, sha256: Sha) {
        let _ = std::fs::remove_file(self.artifact_path(sha256));
    }

    pub(super) fn version_path(&self, sha256: Sha) -> PathBuf {
        self.0.dir.join("versions").join(format!("{sha256}.wasm"))
    }

    fn artifact_path(&self, sha256: Sha) -> PathBuf {
        self.0.dir.join("artefacts").join(format!("{sha256}.cwasm"))
    }
}

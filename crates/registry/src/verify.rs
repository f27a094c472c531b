//! Reads a whole store, without opening it, and says what in it is not what was stored.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use tidegate_wasm::{ArtifactError, Seal};

use super::{PluginKind, RegistryError, Releases, Sha, artifact_cache, disk};

/// One damaged file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VersionDamage {
    pub path: PathBuf,
    pub what: String,
    pub follows: String,
    pub remedy: String,
}

/// Larger files are no components.
const FILE_BYTES_MAX: u64 = 1 << 30;

/// Looks at the store in `dir`: releases, the metadata and the component of each version, the components that were kept of the
/// workspace's files, the seals of compiled code.
/// Answers how many files it read; `told` hears of each.
///
/// # Errors
/// A folder cannot be listed.
pub fn verify(dir: &Path, told: &mut dyn FnMut(&Path)) -> Result<(u64, Vec<VersionDamage>), RegistryError> {
    let (mut files, mut damage) = (0, Vec::new());
    let mut live = BTreeSet::new();
    let path = dir.join("pointers.json");
    if path.exists() {
        files += 1;
        match Releases::read(&path) {
            Ok(releases) => {
                for plugin_kind in [PluginKind::Functions, PluginKind::Destinations] {
                    live.extend(
                        releases
                            .of_kind(plugin_kind)
                            .values()
                            .filter_map(|release| release.live.as_ref())
                            .map(|p| p.sha256),
                    );
                }
            }
            Err(error) => damage.push(VersionDamage {
                path,
                what: reason(error),
                follows: "which versions are live is not known, and the server does not start".to_owned(),
                remedy: "put a copy of it back, or remove it and make versions live again".to_owned(),
            }),
        }
    }
    for path in list(&dir.join("versions"))? {
        told(&path);
        files += 1;
        damage.extend(version(&path, &live));
    }
    for path in list(&dir.join("components"))? {
        told(&path);
        files += 1;
        damage.extend(kept_component(&path));
    }
    let seal = disk::read(&dir.join("key"), 1 << 10).ok().flatten().and_then(|key| <[u8; 32]>::try_from(key).ok());
    for path in list(&dir.join("artefacts"))? {
        told(&path);
        files += 1;
        damage.extend(artifact(&path, seal.map(Seal::new).as_ref()));
    }
    Ok((files, damage))
}

fn list(folder: &Path) -> Result<Vec<PathBuf>, RegistryError> {
    let failed = |cause| RegistryError::File { path: folder.to_owned(), cause };
    if !folder.exists() {
        return Ok(Vec::new());
    }
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(failed)? {
        paths.push(entry.map_err(failed)?.path());
    }
    paths.sort();
    Ok(paths)
}

fn version(path: &Path, live: &BTreeSet<Sha>) -> Option<VersionDamage> {
    let sha: Sha = path.file_stem()?.to_str()?.parse().ok()?;
    let what = match path.extension()?.to_str()? {
        "json" => artifact_cache::metadata(path, sha).err()?,
        "wasm" => other_content(path, sha)?,
        _ => return None,
    };
    let follows = if live.contains(&sha) {
        "it is live: once its compiled code must be made again, the server does not start"
    } else {
        "the version cannot be made live again"
    };
    let remedy = "put a copy of the file back, or push the plugin again and make the new version live";
    Some(VersionDamage { path: path.to_owned(), what, follows: follows.to_owned(), remedy: remedy.to_owned() })
}

/// What is wrong with a component whose hash should be this.
fn other_content(path: &Path, sha: Sha) -> Option<String> {
    match disk::read(path, FILE_BYTES_MAX) {
        Ok(Some(bytes)) if Sha::of(&bytes) == sha => None,
        Ok(_) => Some("its sha-256 is another than its name".to_owned()),
        Err(error) => Some(error.to_string()),
    }
}

fn kept_component(path: &Path) -> Option<VersionDamage> {
    let sha: Sha = path.file_stem()?.to_str()?.parse().ok()?;
    Some(VersionDamage {
        path: path.to_owned(),
        what: other_content(path, sha)?,
        follows: "a sync that lags waits when its events went through this component and the workspace's file is another by now"
            .to_owned(),
        remedy: "remove the file: it is made again at the next start if it is what the workspace's file holds".to_owned(),
    })
}

fn artifact(path: &Path, seal: Option<&Seal>) -> Option<VersionDamage> {
    // Code of another compiler or component is made again anyway; only what is not as it was sealed is damage.
    let what = match seal?.check_file(path) {
        Ok(()) | Err(ArtifactError::Format) => return None,
        Err(error) => error.to_string(),
    };
    Some(VersionDamage {
        path: path.to_owned(),
        what,
        follows: "nothing: it is compiled again when it is needed".to_owned(),
        remedy: "remove the file, if you want".to_owned(),
    })
}

/// The reason without the path, which stands beside it.
fn reason(error: RegistryError) -> String {
    match error {
        RegistryError::Damaged { reason, .. } => reason,
        other => other.to_string(),
    }
}

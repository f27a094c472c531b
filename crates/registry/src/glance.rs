//! What is live in a store, for who does not open it: a check of the workspace, beside a running server or without one.

use std::path::Path;

use tidegate_plugin::Manifest;

use super::{Placed, PluginKind, RegistryError, Releases, artifact_cache};

/// The live version of `name` in the store at `dir` and its manifest; nothing is loaded. A store that is not there has
/// nothing live.
///
/// # Errors
/// The store cannot be read.
pub fn glance(dir: &Path, plugin_kind: PluginKind, name: &str) -> Result<Option<(Placed, Manifest)>, RegistryError> {
    let releases = glance_releases(dir)?;
    let Some(placed) = releases.of_kind(plugin_kind).get(name).and_then(|release| release.live.clone()) else {
        return Ok(None);
    };
    let path = dir.join("versions").join(format!("{}.json", placed.sha256));
    let damaged = |reason| RegistryError::Damaged { path: path.clone(), reason };
    let metadata = artifact_cache::metadata(&path, placed.sha256).map_err(damaged)?;
    let manifest = Manifest::from_json(&metadata.manifest).map_err(|problems| {
        damaged(problems.first().map_or_else(|| "its manifest is wrong".to_owned(), |problem| problem.message.clone()))
    })?;
    Ok(Some((placed, manifest)))
}

/// What runs under which name in the store at `dir`; nothing in one that is not there.
///
/// # Errors
/// The store cannot be read.
pub fn glance_releases(dir: &Path) -> Result<Releases, RegistryError> {
    Releases::read(&dir.join("pointers.json"))
}

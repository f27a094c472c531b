//! What is live in the store of a data directory, for a look at the workspace: no server need run, and nothing is opened.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use tidegate_registry::{self as store, PluginKind, Releases};

use super::paths;
use crate::config::LiveVersion;

/// The version of a destination that a start or a reload would take.
///
/// # Errors
/// The store cannot be read.
pub fn destination(data: &Path, name: &str) -> Result<Option<LiveVersion>, String> {
    let found =
        store::glance(&paths::store(data), PluginKind::Destinations, name).map_err(|error| error.to_string())?;
    Ok(found.map(|(placed, manifest)| LiveVersion {
        sha256: placed.sha256.to_string(),
        manifest,
        settings: placed.settings.as_object().cloned().unwrap_or_default(),
    }))
}

/// Whether a version of a function is live. A store that cannot be read says so where it is needed.
#[must_use]
pub fn has_function(data: &Path, name: &str) -> bool {
    store::glance(&paths::store(data), PluginKind::Functions, name).map_or(true, |found| found.is_some())
}

/// Who names which secrets in their settings, by the names of the secrets. A store that cannot be read says so where it is needed.
#[must_use]
pub fn users_of_secrets(data: &Path) -> BTreeMap<String, BTreeSet<(PluginKind, String)>> {
    releases(data).map(|releases| releases.users_of_secrets()).unwrap_or_default()
}

/// All that runs under which name.
///
/// # Errors
/// The store cannot be read.
pub fn releases(data: &Path) -> Result<Releases, String> {
    store::glance_releases(&paths::store(data)).map_err(|error| error.to_string())
}

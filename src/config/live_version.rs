//! What a destination needs to know of the version that is live in the server's store. Who reads a workspace looks it up: the
//! configuration never reads the store.

use std::path::Path;

use serde_json::{Map, Value};
use tidegate_plugin::Manifest;

/// A version that was pushed and is live, with the settings that it runs with.
pub struct LiveVersion {
    pub sha256: String,
    pub manifest: Manifest,
    pub settings: Map<String, Value>,
}

impl std::fmt::Debug for LiveVersion {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings may hold secrets.
        f.debug_struct("LiveVersion").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// Looks up the live version of a destination in the store of a data directory, by the destination's name; the error says why
/// the store cannot be read.
pub type LookUpLive = fn(data: &Path, name: &str) -> Result<Option<LiveVersion>, String>;

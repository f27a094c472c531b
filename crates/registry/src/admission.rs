//! The workspace's word on what may go live: the store asks, and does not know why.

use std::sync::Arc;

use serde_json::Value;
use tidegate_plugin::Manifest;

use super::PluginKind;

type AdmissionCheck = dyn Fn(PluginKind, &str, &Manifest, &Value) -> Result<(), String> + Send + Sync;

/// Whether a version with its settings may be live under a name. Without a word everything may.
#[derive(Clone, Default)]
pub struct Admission(Option<Arc<AdmissionCheck>>);

impl std::fmt::Debug for Admission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Admission").field(&self.0.is_some()).finish()
    }
}

impl Admission {
    /// Asks `ask`, which answers what stands against it.
    pub fn new(
        ask: impl Fn(PluginKind, &str, &Manifest, &Value) -> Result<(), String> + Send + Sync + 'static,
    ) -> Self {
        Self(Some(Arc::new(ask)))
    }

    pub(super) fn check(
        &self,
        plugin_kind: PluginKind,
        name: &str,
        manifest: &Manifest,
        settings: &Value,
    ) -> Result<(), String> {
        self.0.as_ref().map_or(Ok(()), |ask| ask(plugin_kind, name, manifest, settings))
    }
}

//! What functions and destinations have in common: how they are shown, and how their releases change.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api_types::destination::ShownDestination;
use tidegate_api_types::function::ShownFunction;
use tidegate_api_types::version::{Canary, ChangeSettings, ShownPlaced as Shown, ShownSmoke, Version};
use tidegate_event::time;
use tidegate_plugin::Manifest;
use tidegate_registry::{
    Placed, PluginKind, RegistryError, Releases, Sha, VersionMetadata, VersionStore, shown_settings,
};
use tidegate_wasm::function::RolloutMode;

use super::engines::AskedEngine;
use super::extract::blocking;
use super::refusal::ApiRefusal;

/// A change of the store's releases under a name.
pub(super) type ReleaseChange = Box<dyn FnOnce(&VersionStore, &str) -> Result<Arc<Releases>, RegistryError> + Send>;

pub(super) fn sha(text: &str) -> Result<Sha, ApiRefusal> {
    let wrong = |error: tidegate_registry::NotASha| {
        ApiRefusal::bad("sha256", error.to_string(), r#"send {"sha256": "<64 hexadecimal digits>"}"#)
    };
    text.parse().map_err(wrong)
}

/// Settings, which are an object.
pub(super) fn object(settings: Option<Value>) -> Result<Option<Value>, ApiRefusal> {
    match settings {
        None | Some(Value::Null) => Ok(None),
        Some(settings @ Value::Object(_)) => Ok(Some(settings)),
        Some(_) => Err(ApiRefusal::bad("settings", "`settings` is no object", r#"send {"settings": {...}}"#)),
    }
}

pub(super) fn live(plugin_kind: PluginKind, sha256: Sha, settings: Option<Value>) -> ReleaseChange {
    Box::new(move |store, name| store.set_live(plugin_kind, name, sha256, settings))
}

pub(super) fn rollback(plugin_kind: PluginKind) -> ReleaseChange {
    Box::new(move |store, name| store.rollback(plugin_kind, name))
}

pub(super) fn settings(plugin_kind: PluginKind, asked: ChangeSettings) -> Result<ReleaseChange, ApiRefusal> {
    let settings = object(Some(asked.settings))?.unwrap_or_default();
    Ok(Box::new(move |store, name| store.set_settings(plugin_kind, name, settings)))
}

impl AskedEngine {
    /// Changes releases and waits until what runs has followed: whoever is answered may send the first event.
    pub(super) async fn change(
        &self,
        plugin_kind: PluginKind,
        name: String,
        what: &'static str,
        change: ReleaseChange,
    ) -> Result<Arc<Releases>, ApiRefusal> {
        let (store, of) = (self.engine.store.clone(), name.clone());
        let releases = blocking(move || change(&store, &of)).await??;
        tracing::info!(kind = plugin_kind.all(), name, revision = releases.revision, "releases changed: {what}");
        self.in_place(plugin_kind, &name, releases.revision).await?;
        Ok(releases)
    }

    async fn in_place(&self, plugin_kind: PluginKind, name: &str, revision: u64) -> Result<(), ApiRefusal> {
        let mut taken = match plugin_kind {
            PluginKind::Functions => self.engine.running.functions.clone(),
            PluginKind::Destinations => self.engine.running.destinations.clone(),
        };
        let followed = taken.wait_for(|taken| taken.revision >= revision);
        let Ok(followed) = tokio::time::timeout(self.limits().wait_max, followed).await else {
            tracing::warn!(name, revision, "the releases changed, and what runs has not followed yet");
            return Ok(());
        };
        // An error says that the server is stopping.
        let refused = followed.ok().and_then(|taken| taken.refused.get(name).cloned());
        refused.map_or(Ok(()), |reason| {
            let detail = format!(
                "the active version changed, but it cannot be put in place, and the one before it goes on: {reason}"
            );
            Err(ApiRefusal::unprocessable("not-in-place", detail, "mend what the message says, or roll back"))
        })
    }

    /// Whether the workspace grants a version of a function every table that it asks for.
    pub(super) fn grants(&self, name: &str, sha256: Sha, forced: bool) -> Result<(), ApiRefusal> {
        if forced {
            return Ok(());
        }
        let missing = self.lookups_missing(name, sha256);
        let Some(table) = missing.first() else { return Ok(()) };
        let detail = format!("function {name:?} looks up {}, which nobody grants it", missing.join(", "));
        let fix = format!(
            "write lookups/{table}.yaml with `grant_to: [{name}]` and run `tidegate reload`; or go on without it: \
             `\"force\": true`, on the command line --force"
        );
        Err(ApiRefusal::unprocessable("lookups-missing", detail, fix))
    }

    /// The tables that a version asks for and the workspace does not grant.
    fn lookups_missing(&self, name: &str, sha256: Sha) -> Vec<String> {
        let asked =
            self.manifest(PluginKind::Functions, name, sha256).map(|manifest| manifest.lookups).unwrap_or_default();
        let names = self.engine.names();
        let granted = names.granted.get(name);
        asked.into_iter().filter(|table| granted.is_none_or(|granted| !granted.contains(table))).collect()
    }

    fn manifest(&self, plugin_kind: PluginKind, name: &str, sha256: Sha) -> Option<Manifest> {
        let versions = self.engine.store.versions(plugin_kind, name);
        let metadata = versions.iter().find(|metadata| metadata.sha256 == sha256)?;
        Manifest::from_json(&metadata.manifest).ok()
    }

    /// The versions of a name, newest first; a name without any is none.
    pub(super) fn versions(&self, plugin_kind: PluginKind, name: &str) -> Result<Vec<Version>, ApiRefusal> {
        let versions: Vec<Version> =
            self.engine.store.versions(plugin_kind, name).iter().map(|metadata| version(metadata)).collect();
        if versions.is_empty() {
            return Err(RegistryError::NoSuchName { plugin_kind, name: name.to_owned() }.into());
        }
        Ok(versions)
    }

    /// Without its manifest nobody knows which settings are secret, so none is shown.
    fn placed(&self, plugin_kind: PluginKind, name: &str, placed: &Placed) -> Shown {
        let manifest = self.manifest(plugin_kind, name, placed.sha256);
        let settings = manifest.map(|manifest| shown_settings(&manifest, &placed.settings));
        Shown { sha256: placed.sha256.to_string(), settings }
    }

    /// Where the releases of a function stand, and what that means in this workspace.
    pub(super) fn function(&self, name: &str, releases: &Releases) -> ShownFunction {
        let plugin_kind = PluginKind::Functions;
        let release = releases.of_kind(plugin_kind).get(name).cloned().unwrap_or_default();
        let canary = release.canary.map(|canary| {
            let Shown { sha256, settings } = self.placed(plugin_kind, name, &canary.placed);
            let (share, shadow) = match canary.mode {
                RolloutMode::Share(share) => (Some(share), None),
                RolloutMode::Shadow => (None, Some(true)),
            };
            Canary { sha256, settings, share, shadow }
        });
        let missing = release.live.as_ref().map(|live| self.lookups_missing(name, live.sha256));
        ShownFunction {
            name: name.to_owned(),
            revision: releases.revision,
            live: release.live.as_ref().map(|live| self.placed(plugin_kind, name, live)),
            previous: release.previous.as_ref().map(|previous| self.placed(plugin_kind, name, previous)),
            canary,
            attached: release.attached.into_iter().collect(),
            lookups_missing: missing.unwrap_or_default(),
            versions: None,
            meters: None,
        }
    }

    /// The same of a destination.
    pub(super) fn destination(&self, name: &str, releases: &Releases) -> ShownDestination {
        let plugin_kind = PluginKind::Destinations;
        let release = releases.of_kind(plugin_kind).get(name).cloned().unwrap_or_default();
        ShownDestination {
            name: name.to_owned(),
            revision: releases.revision,
            live: release.live.as_ref().map(|live| self.placed(plugin_kind, name, live)),
            previous: release.previous.as_ref().map(|previous| self.placed(plugin_kind, name, previous)),
            syncs: self.engine.names().syncs.get(name).cloned(),
            versions: None,
            meters: None,
        }
    }
}

/// A version as the API shows it.
pub(super) fn version(metadata: &VersionMetadata) -> Version {
    let tidegate_registry::Smoke { passed, ran, ms, failed } = metadata.smoke.clone();
    Version {
        sha256: metadata.sha256.to_string(),
        name: metadata.name.clone(),
        kind: metadata.kind.clone(),
        bytes: metadata.bytes as u64,
        code_bytes: metadata.code_bytes as u64,
        uploaded_at: time::format(metadata.uploaded_at_us),
        compile_ms: metadata.compile_ms,
        smoke: ShownSmoke { passed: passed as u64, ran: ran as u64, ms, failed },
        description: metadata.manifest["description"].as_str().map(str::to_owned),
        settings_schema: metadata.manifest.get("settings").filter(|schema| schema.is_object()).cloned(),
    }
}

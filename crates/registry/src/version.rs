//! What is known of a version, and the version loaded.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_plugin::{Manifest, ManifestKind, settings_problems};
use tidegate_wasm::function::granted;
use tidegate_wasm::{CallLimits, Module};

use super::{PluginKind, Sha, format};

/// The metadata of a version, written once when it was taken.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct VersionMetadata {
    /// Missing in files of builds that had no formats, which are of the first.
    #[serde(default)]
    pub(super) format: format::FormatNumber,
    pub sha256: Sha,
    pub name: String,
    /// `transform`, `fields` or `destination`.
    pub kind: String,
    pub bytes: usize,
    pub code_bytes: usize,
    /// When it came, microseconds since the epoch.
    pub uploaded_at_us: i64,
    /// How long compiling took.
    pub compile_ms: u64,
    pub smoke: Smoke,
    /// `plugin.yaml` as it stands in the component.
    pub manifest: Value,
}

/// What the fixtures that a version carries came to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Smoke {
    /// Fixtures that were run and compared.
    pub passed: usize,
    /// Fixtures without an expectation: they were run, and did not break it.
    pub ran: usize,
    pub ms: u64,
    /// Which fixture failed, of a version that was taken all the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub failed: Option<String>,
}

impl VersionMetadata {
    /// Which kind it stands on.
    #[must_use]
    pub fn plugin_kind(&self) -> PluginKind {
        if self.kind == ManifestKind::Destination.as_str() { PluginKind::Destinations } else { PluginKind::Functions }
    }
}

/// A version that is ready to run.
#[derive(Debug)]
pub struct Loaded {
    pub sha256: Sha,
    pub manifest: Manifest,
    pub module: Module,
}

impl Loaded {
    /// The limits of its calls: what its manifest asks for, as far as `host` allows.
    #[must_use]
    pub fn limits(&self, host: &CallLimits) -> CallLimits {
        granted(&self.manifest, host)
    }
}

/// Whether `settings` fit the schema of a manifest.
///
/// # Errors
/// Every problem with its place; never a value, which may be a secret.
pub fn check_settings(manifest: &Manifest, settings: &Value) -> Result<(), String> {
    let problems: Vec<String> = settings_problems(manifest, settings)?
        .into_iter()
        .map(|(place, problem)| format!("{}: {problem}", if place.is_empty() { "settings" } else { place.as_str() }))
        .collect();
    if problems.is_empty() { Ok(()) } else { Err(problems.join("; ")) }
}

/// Settings as they may be shown: a secret is there or not, and no more.
#[must_use]
pub fn shown_settings(manifest: &Manifest, settings: &Value) -> Value {
    let mut shown = settings.clone();
    for secret in manifest.secrets() {
        if let Some(value) = shown.get_mut(secret) {
            *value = "(secret)".into();
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_secret_is_neither_shown_nor_repeated() {
        let manifest = Manifest::from_json(&json!({
            "name": "d", "kind": "destination", "hosts": ["https://a.example"],
            "settings": {
                "type": "object", "required": ["key"],
                "properties": {"key": {"type": "string", "secret": true, "maxLength": 4}, "n": {"type": "integer"}},
            },
        }))
        .unwrap();
        let settings = json!({"key": "hush-hush", "n": 1});
        assert_eq!(shown_settings(&manifest, &settings), json!({"key": "(secret)", "n": 1}));
        let problems = check_settings(&manifest, &settings).unwrap_err();
        assert!(problems.starts_with("/key: ") && !problems.contains("hush"), "{problems}");
        assert!(check_settings(&manifest, &json!({})).unwrap_err().contains("key"));
        assert_eq!(check_settings(&manifest, &json!({"key": "ok"})), Ok(()));
        let placed = crate::Placed { sha256: Sha::of(b""), settings };
        assert!(!format!("{placed:?}").contains("hush"));
    }
}

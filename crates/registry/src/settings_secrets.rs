//! Secrets that settings of functions and destinations name: the store asks for their values, and does not know where they are kept.

use std::sync::Arc;

use serde_json::Value;
use tidegate_wasm::RevealedJson;

/// The value of a secret by its name, if there is one. Whoever asks may wait.
type SecretOfName = dyn Fn(&str) -> Option<String> + Send + Sync;

/// What settings are given for the secrets that they name. Where nobody says, a name is a text like any other.
#[derive(Clone, Default)]
pub struct SettingsSecrets(Option<Arc<SecretOfName>>);

impl std::fmt::Debug for SettingsSecrets {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("SettingsSecrets").field(&self.0.is_some()).finish()
    }
}

impl SettingsSecrets {
    /// Asks `read`.
    pub fn new(read: impl Fn(&str) -> Option<String> + Send + Sync + 'static) -> Self {
        Self(Some(Arc::new(read)))
    }

    /// Settings with the secrets that they name.
    ///
    /// # Errors
    /// One is not there; a sentence.
    pub(super) fn reveal(&self, settings: &Value) -> Result<RevealedJson, String> {
        let Some(read) = &self.0 else { return Ok(RevealedJson::from(settings.clone())) };
        RevealedJson::read(settings.clone(), &**read).map_err(|name| absent_secret(&name))
    }
}

/// What is wrong with settings that name a secret which is not there, and what to do.
#[must_use]
pub fn absent_secret(name: &str) -> String {
    let name: String = name.chars().take(NAME_CHARS_MAX).collect();
    format!(
        "they ask for the secret {name:?}, which is not there; keep its value with PUT /api/v1/secrets/{name}, or name another one"
    )
}

/// Of a name in a message. Names of secrets have fewer.
const NAME_CHARS_MAX: usize = 80;

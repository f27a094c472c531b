//! Secrets of the catalog for functions and destinations of the store, whose settings stand in no document: read when a release names one that nobody has
//! read yet.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::RwLock;
use serde_json::Value;
use tidegate_catalog::SecretValue;
use tidegate_registry::{SettingsSecrets, absent_secret};
use tidegate_wasm::RevealedJson;
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::catalog::FolderCatalog;

/// For the catalog to answer.
const READING_MAX: Duration = Duration::from_secs(10);

/// Reads secrets of the catalog, once there is one. Clones read the same.
#[derive(Clone, Default)]
pub(super) struct SecretReader(Arc<OnceLock<FolderCatalog>>);

impl SecretReader {
    /// Reads this catalog from now on. The first counts: all that come are the same.
    pub(super) fn connect(&self, catalog: &FolderCatalog) {
        self.0.get_or_init(|| catalog.clone());
    }

    /// The secrets of these names, as far as they are there and the catalog answers.
    async fn read(&self, names: BTreeSet<String>) -> BTreeMap<String, SecretValue> {
        let Some(catalog) = self.0.get() else { return BTreeMap::new() };
        let error = match timeout(READING_MAX, catalog.secrets(names)).await {
            Ok(Ok(secrets)) => return secrets,
            Ok(Err(error)) => error.to_string(),
            Err(_) => format!("the catalog did not answer within {} seconds", READING_MAX.as_secs()),
        };
        tracing::error!(error, "secrets that settings name could not be read");
        BTreeMap::new()
    }

    /// Settings with the secrets that they name. Where no catalog can be asked, a name is a text like any other.
    pub(super) async fn reveal(&self, settings: &Value) -> Result<RevealedJson, AbsentSecret> {
        if self.0.get().is_none() {
            return Ok(RevealedJson::from(settings.clone()));
        }
        let secrets = self.read(RevealedJson::names_in(settings)).await;
        let read = |name: &str| text(secrets.get(name)?);
        RevealedJson::read(settings.clone(), &read).map_err(|name| AbsentSecret(absent_secret(&name)))
    }

    /// The same for the store, which asks where it may wait.
    pub(super) fn for_store(&self) -> SettingsSecrets {
        let reader = self.clone();
        SettingsSecrets::new(move |name| {
            let handle = Handle::try_current().ok()?;
            let found = handle.block_on(reader.read(BTreeSet::from([name.to_owned()])));
            text(found.get(name)?)
        })
    }
}

/// Secrets that are read, by their names; without a value, those that are gone.
pub(super) struct KnownSecrets(RwLock<Option<BTreeMap<String, Option<SecretValue>>>>);

impl KnownSecrets {
    /// What a workspace knows, and what was known before and it says nothing of.
    pub(super) fn new(of_workspace: Option<&BTreeMap<String, Option<SecretValue>>>, before: Option<&Self>) -> Self {
        let Some(of_workspace) = of_workspace else { return Self(RwLock::new(None)) };
        let mut known = before.and_then(|before| before.0.read().clone()).unwrap_or_default();
        known.extend(of_workspace.clone());
        Self(RwLock::new(Some(known)))
    }

    /// Reads those of these names that are not known.
    pub(super) async fn read(&self, mut names: BTreeSet<String>, reader: &SecretReader) {
        match &*self.0.read() {
            Some(known) => names.retain(|name| known.get(name).is_none_or(Option::is_none)),
            None => return,
        }
        if names.is_empty() {
            return;
        }
        let found = reader.read(names).await;
        if let Some(known) = &mut *self.0.write() {
            known.extend(found.into_iter().map(|(name, value)| (name, Some(value))));
        }
    }

    /// Settings with the secrets that they name. Where no catalog can be asked, a name is a text like any other.
    pub(super) fn reveal(&self, settings: &Value) -> Result<RevealedJson, AbsentSecret> {
        let known = self.0.read();
        let Some(known) = &*known else { return Ok(RevealedJson::from(settings.clone())) };
        let read = |name: &str| text(known.get(name)?.as_ref()?);
        RevealedJson::read(settings.clone(), &read).map_err(|name| AbsentSecret(absent_secret(&name)))
    }
}

/// Settings ask for a secret that is not there.
#[derive(Debug, thiserror::Error)]
#[error("the settings do not fit: {0}")]
pub(super) struct AbsentSecret(String);

fn text(secret: &SecretValue) -> Option<String> {
    secret.expose_text().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn secrets(of: &[(&str, Option<&str>)]) -> BTreeMap<String, Option<SecretValue>> {
        of.iter().map(|(name, value)| ((*name).to_owned(), value.map(|value| value.to_owned().into()))).collect()
    }

    #[test]
    fn what_a_workspace_says_of_a_secret_counts_and_what_it_says_nothing_of_stays() {
        let before = KnownSecrets::new(Some(&secrets(&[("a", Some("1")), ("b", Some("2")), ("c", Some("3"))])), None);
        let now = KnownSecrets::new(Some(&secrets(&[("a", Some("new")), ("b", None)])), Some(&before));
        let given = |name: &str| now.reveal(&json!({"key": format!("secret:{name}")}));
        assert_eq!(given("a").unwrap().given(), &json!({"key": "new"}));
        assert_eq!(given("c").unwrap().given(), &json!({"key": "3"}));
        let refused = given("b").unwrap_err().to_string();
        assert!(refused.contains("ask for the secret \"b\", which is not there"), "{refused}");
        let nobody = KnownSecrets::new(None, Some(&before));
        assert_eq!(nobody.reveal(&json!("secret:a")).unwrap().given(), &json!("secret:a"));
    }
}

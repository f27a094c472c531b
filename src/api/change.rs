//! What functions and destinations have in common: how they are shown, and how their pointers move.

use std::sync::Arc;

use serde_json::Value;
use tidegate_api_types::destination::Destination;
use tidegate_api_types::function::Function;
use tidegate_api_types::version::{Canary, ChangeSettings, Placed as Shown, Smoke, Version};
use tidegate_event::time;
use tidegate_plugin::Manifest;
use tidegate_registry::{Error, Facts, Placed, Pointers, Sha, Shelf, Store, Trial, shown_settings};

use super::Shared;
use super::extract::blocking;
use super::refusal::Refusal;

/// A change of the store's pointers under a name.
pub(super) type Change = Box<dyn FnOnce(&Store, &str) -> Result<Arc<Pointers>, Error> + Send>;

pub(super) fn sha(text: &str) -> Result<Sha, Refusal> {
    let wrong = |error: tidegate_registry::NotASha| {
        Refusal::bad("sha256", error.to_string(), r#"send {"sha256": "<64 hexadecimal digits>"}"#)
    };
    text.parse().map_err(wrong)
}

/// Settings, which are an object.
pub(super) fn object(settings: Option<Value>) -> Result<Option<Value>, Refusal> {
    match settings {
        None | Some(Value::Null) => Ok(None),
        Some(settings @ Value::Object(_)) => Ok(Some(settings)),
        Some(_) => Err(Refusal::bad("settings", "`settings` is no object", r#"send {"settings": {...}}"#)),
    }
}

pub(super) fn live(shelf: Shelf, sha256: Sha, settings: Option<Value>) -> Change {
    Box::new(move |store, name| store.set_live(shelf, name, sha256, settings))
}

pub(super) fn rollback(shelf: Shelf) -> Change {
    Box::new(move |store, name| store.rollback(shelf, name))
}

pub(super) fn settings(shelf: Shelf, asked: ChangeSettings) -> Result<Change, Refusal> {
    let settings = object(Some(asked.settings))?.unwrap_or_default();
    Ok(Box::new(move |store, name| store.set_settings(shelf, name, settings)))
}

impl Shared {
    /// Changes pointers and waits until what runs has followed: whoever is answered may send the first event.
    pub(super) async fn change(
        &self,
        shelf: Shelf,
        name: String,
        what: &'static str,
        change: Change,
    ) -> Result<Arc<Pointers>, Refusal> {
        let (store, of) = (self.settings.store.clone(), name.clone());
        let pointers = blocking(move || change(&store, &of)).await??;
        tracing::info!(shelf = shelf.all(), name, revision = pointers.revision, "pointers changed: {what}");
        self.in_place(shelf, &name, pointers.revision).await?;
        Ok(pointers)
    }

    async fn in_place(&self, shelf: Shelf, name: &str, revision: u64) -> Result<(), Refusal> {
        let mut taken = match shelf {
            Shelf::Functions => self.settings.running.functions.clone(),
            Shelf::Destinations => self.settings.running.destinations.clone(),
        };
        let followed = taken.wait_for(|taken| taken.revision >= revision);
        let Ok(followed) = tokio::time::timeout(self.settings.limits.wait_max, followed).await else {
            tracing::warn!(name, revision, "the pointers changed, and what runs has not followed yet");
            return Ok(());
        };
        // An error says that the server is stopping.
        let refused = followed.ok().and_then(|taken| taken.refused.get(name).cloned());
        refused.map_or(Ok(()), |reason| {
            let detail = format!(
                "the pointer moved, but the version cannot be put in place, and the one before it goes on: {reason}"
            );
            Err(Refusal::unprocessable("not-in-place", detail, "mend what the message says, or roll back"))
        })
    }

    /// Whether the workspace lends a version of a function every table that it asks for.
    pub(super) fn lends(&self, name: &str, sha256: Sha, forced: bool) -> Result<(), Refusal> {
        if forced {
            return Ok(());
        }
        let missing = self.lookups_missing(name, sha256);
        let Some(table) = missing.first() else { return Ok(()) };
        let detail = format!("function {name:?} looks up {}, which nobody lends it", missing.join(", "));
        let fix = format!(
            "write lookups/{table}.yaml with `lend_to: [{name}]` and start the server again; or go on without it: \
             `\"force\": true`, on the command line --force"
        );
        Err(Refusal::unprocessable("lookups-missing", detail, fix))
    }

    /// The tables that a version asks for and the workspace does not lend.
    fn lookups_missing(&self, name: &str, sha256: Sha) -> Vec<String> {
        let asked = self.manifest(Shelf::Functions, name, sha256).map(|manifest| manifest.lookups).unwrap_or_default();
        let lent = self.settings.lent.get(name);
        asked.into_iter().filter(|table| lent.is_none_or(|lent| !lent.contains(table))).collect()
    }

    fn manifest(&self, shelf: Shelf, name: &str, sha256: Sha) -> Option<Manifest> {
        let versions = self.settings.store.versions(shelf, name);
        let facts = versions.iter().find(|facts| facts.sha256 == sha256)?;
        Manifest::from_json(&facts.manifest).ok()
    }

    /// The versions of a name, newest first; a name without any is none.
    pub(super) fn versions(&self, shelf: Shelf, name: &str) -> Result<Vec<Version>, Refusal> {
        let versions: Vec<Version> =
            self.settings.store.versions(shelf, name).iter().map(|facts| version(facts)).collect();
        if versions.is_empty() {
            return Err(Error::NoSuchName { shelf, name: name.to_owned() }.into());
        }
        Ok(versions)
    }

    /// Without its manifest nobody knows which settings are secret, so none is shown.
    fn placed(&self, shelf: Shelf, name: &str, placed: &Placed) -> Shown {
        let manifest = self.manifest(shelf, name, placed.sha256);
        let settings = manifest.map(|manifest| shown_settings(&manifest, &placed.settings));
        Shown { sha256: placed.sha256.to_string(), settings }
    }

    /// Where the pointers of a function stand, and what that means in this workspace.
    pub(super) fn function(&self, name: &str, pointers: &Pointers) -> Function {
        let shelf = Shelf::Functions;
        let pointer = pointers.shelf(shelf).get(name).cloned().unwrap_or_default();
        let canary = pointer.canary.map(|canary| {
            let Shown { sha256, settings } = self.placed(shelf, name, &canary.placed);
            let (share, shadow) = match canary.trial {
                Trial::Share(share) => (Some(share), None),
                Trial::Shadow => (None, Some(true)),
            };
            Canary { sha256, settings, share, shadow }
        });
        let missing = pointer.live.as_ref().map(|live| self.lookups_missing(name, live.sha256));
        Function {
            name: name.to_owned(),
            revision: pointers.revision,
            live: pointer.live.as_ref().map(|live| self.placed(shelf, name, live)),
            previous: pointer.previous.as_ref().map(|previous| self.placed(shelf, name, previous)),
            canary,
            attached: pointer.attached.into_iter().collect(),
            lookups_missing: missing.unwrap_or_default(),
            versions: None,
            meters: None,
        }
    }

    /// The same of a destination.
    pub(super) fn destination(&self, name: &str, pointers: &Pointers) -> Destination {
        let shelf = Shelf::Destinations;
        let pointer = pointers.shelf(shelf).get(name).cloned().unwrap_or_default();
        Destination {
            name: name.to_owned(),
            revision: pointers.revision,
            live: pointer.live.as_ref().map(|live| self.placed(shelf, name, live)),
            previous: pointer.previous.as_ref().map(|previous| self.placed(shelf, name, previous)),
            syncs: self.settings.syncs.get(name).cloned(),
            versions: None,
            meters: None,
        }
    }
}

/// A version as the API shows it.
pub(super) fn version(facts: &Facts) -> Version {
    let tidegate_registry::Smoke { passed, ran, ms, failed } = facts.smoke.clone();
    Version {
        sha256: facts.sha256.to_string(),
        name: facts.name.clone(),
        kind: facts.kind.clone(),
        bytes: facts.bytes as u64,
        code_bytes: facts.code_bytes as u64,
        uploaded_at: time::format(facts.uploaded_at_us),
        compile_ms: facts.compile_ms,
        smoke: Smoke { passed: passed as u64, ran: ran as u64, ms, failed },
        description: facts.manifest["description"].as_str().map(str::to_owned),
    }
}

//! Which version of what is live: one file, replaced as a whole.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use tidegate_wasm::RevealedJson;
use tidegate_wasm::function::RolloutMode;

use super::{RegistryError, Sha, disk, format};

/// The two kinds of things that are stored; a name stands for one thing of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PluginKind {
    Functions,
    Destinations,
}

impl PluginKind {
    /// One thing of this kind, in words.
    #[must_use]
    pub const fn one(self) -> &'static str {
        match self {
            Self::Functions => "function",
            Self::Destinations => "destination",
        }
    }

    /// The kind as paths spell it.
    #[must_use]
    pub const fn all(self) -> &'static str {
        match self {
            Self::Functions => "functions",
            Self::Destinations => "destinations",
        }
    }
}

/// Every release of the store at one moment.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Releases {
    /// Missing in files of builds that had no formats, which are of the first.
    #[serde(default)]
    format: format::FormatNumber,
    /// Grows by one with each change.
    pub revision: u64,
    #[serde(default)]
    pub functions: BTreeMap<String, Release>,
    #[serde(default)]
    pub destinations: BTreeMap<String, Release>,
}

/// What runs under one name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Release {
    pub live: Option<Placed>,
    /// What `rollback` goes back to.
    pub previous: Option<Placed>,
    /// What was live before that and was not rolled back, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub earlier: Vec<Placed>,
    /// What is tried beside the live version.
    pub canary: Option<Rollout>,
    /// Sources whose events a function sees, in the order in which they were attached.
    #[serde(default)]
    pub attached: BTreeSet<String>,
}

/// What is remembered to walk back to.
const EARLIER_MAX: usize = 20;

impl Release {
    /// Puts `placed` in the place of the live version, which can be gone back to.
    pub(super) fn advance(&mut self, placed: Placed) {
        if let Some(left) = self.live.replace(placed) {
            self.earlier.extend(self.previous.replace(left));
            let forgotten = self.earlier.len().saturating_sub(EARLIER_MAX);
            self.earlier.drain(..forgotten);
        }
    }

    /// Goes back one step, and answers what was live. It is gone for good: no later step leads to it again.
    pub(super) fn retreat(&mut self) -> Option<Placed> {
        let back = self.previous.take()?;
        let left = self.live.replace(back);
        self.earlier.retain(|placed| Some(placed) != left.as_ref() && Some(placed) != self.live.as_ref());
        self.previous = self.earlier.pop();
        left
    }
}

/// A version with the settings that it runs with: they change together, so that a rollback always fits.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Placed {
    pub sha256: Sha,
    pub settings: Value,
}

impl std::fmt::Debug for Placed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Settings may hold secrets.
        f.debug_struct("Placed").field("sha256", &self.sha256).finish_non_exhaustive()
    }
}

/// A candidate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rollout {
    pub placed: Placed,
    #[serde(rename = "trial")]
    pub mode: RolloutMode,
}

impl Releases {
    /// The releases of a kind.
    #[must_use]
    pub fn of_kind(&self, plugin_kind: PluginKind) -> &BTreeMap<String, Release> {
        match plugin_kind {
            PluginKind::Functions => &self.functions,
            PluginKind::Destinations => &self.destinations,
        }
    }

    pub(super) fn of_kind_mut(&mut self, plugin_kind: PluginKind) -> &mut BTreeMap<String, Release> {
        match plugin_kind {
            PluginKind::Functions => &mut self.functions,
            PluginKind::Destinations => &mut self.destinations,
        }
    }

    /// Who names which secrets in the settings of a version that is live or tried beside that: by the name of the secret.
    #[must_use]
    pub fn users_of_secrets(&self) -> BTreeMap<String, BTreeSet<(PluginKind, String)>> {
        let mut users: BTreeMap<String, BTreeSet<_>> = BTreeMap::new();
        for kind in [PluginKind::Functions, PluginKind::Destinations] {
            for (name, release) in self.of_kind(kind) {
                let tried = release.canary.as_ref().map(|canary| &canary.placed);
                let placed = release.live.iter().chain(tried);
                for secret in placed.flat_map(|placed| RevealedJson::names_in(&placed.settings)) {
                    users.entry(secret).or_default().insert((kind, name.clone()));
                }
            }
        }
        users
    }

    /// Every version that something points at.
    pub fn named(&self) -> impl Iterator<Item = Sha> {
        self.functions.values().chain(self.destinations.values()).flat_map(|release| {
            let canary = release.canary.as_ref().map(|canary| &canary.placed);
            release.live.iter().chain(&release.previous).chain(canary).map(|placed| placed.sha256)
        })
    }

    pub(super) fn read(path: &Path) -> Result<Self, RegistryError> {
        let failed = |cause| RegistryError::File { path: path.to_owned(), cause };
        let Some(bytes) = disk::read(path, 64 << 20).map_err(failed)? else { return Ok(Self::default()) };
        // What is written from now on is of this build's format.
        Ok(Self { format: format::FormatNumber::default(), ..format::read(path, &bytes)? })
    }

    pub(super) fn write(&self, path: &Path) -> Result<(), RegistryError> {
        let failed = |cause| RegistryError::File { path: path.to_owned(), cause };
        let bytes = serde_json::to_vec_pretty(self).map_err(|error| failed(error.into()))?;
        disk::replace(path, &bytes).map_err(failed)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn placed(of: &str) -> Placed {
        Placed { sha256: Sha::of(of.as_bytes()), settings: json!({}) }
    }

    #[test]
    fn walking_back_never_leads_to_what_was_left_that_way() {
        let mut release = Release::default();
        for of in ["a", "b", "a", "c", "b"] {
            release.advance(placed(of));
        }
        let mut seen = Vec::new();
        while release.retreat().is_some() {
            seen.push(release.live.clone().unwrap());
        }
        assert_eq!(seen, [placed("c"), placed("a")], "b was left first, and a stands there once");
        assert_eq!((release.previous.as_ref(), release.earlier.len()), (None, 0));
        release.advance(placed("d"));
        assert_eq!((release.retreat(), release.live), (Some(placed("d")), Some(placed("a"))));
    }

    #[test]
    fn a_secret_is_used_by_what_is_live_and_by_what_is_tried() {
        let of = |settings: Value| Placed { sha256: Sha::of(b""), settings };
        let release = Release {
            live: Some(of(json!({"key": "secret:one"}))),
            previous: Some(of(json!({"key": "secret:old"}))),
            canary: Some(Rollout { placed: of(json!({"keys": ["secret:two"]})), mode: RolloutMode::Shadow }),
            ..Release::default()
        };
        let tool = Release { live: Some(of(json!({"token": "secret:one"}))), ..Release::default() };
        let (functions, destinations) = ([("f".to_owned(), release)].into(), [("crm".to_owned(), tool)].into());
        let releases = Releases { functions, destinations, ..Releases::default() };
        let users = releases.users_of_secrets();
        assert_eq!(users.keys().collect::<Vec<_>>(), ["one", "two"]);
        let both = [(PluginKind::Functions, "f".to_owned()), (PluginKind::Destinations, "crm".to_owned())];
        assert_eq!(users["one"], BTreeSet::from(both));
    }

    #[test]
    fn what_is_remembered_is_bounded() {
        let mut release = Release::default();
        for of in 0..100 {
            release.advance(placed(&of.to_string()));
        }
        assert_eq!((release.earlier.len(), release.earlier[0].clone()), (EARLIER_MAX, placed("78")));
    }
}

//! Functions and destinations as the admin API shows them, and what commands ask of either.

use std::collections::BTreeSet;

use serde::Serialize;
use serde_json::Value;
use tidegate_api_types::destination::{Destinations, ShownDestination};
use tidegate_api_types::function::{CanaryComparison, Functions, ShownFunction};
use tidegate_api_types::version::{Canary, ShownPlaced, Version};

/// One function or destination.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Shown {
    Function(ShownFunction),
    Destination(ShownDestination),
}

/// What a version did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Charged<'a> {
    pub(super) version: &'a str,
    pub(super) events: u64,
    /// Errors of a function; events that a destination did not deliver.
    pub(super) errors: u64,
    /// Events that came to nothing, whatever the reason.
    pub(super) failed: u64,
    /// The last error, in words.
    pub(super) error: Option<&'a str>,
}

impl Shown {
    pub(super) fn name(&self) -> &str {
        match self {
            Self::Function(function) => &function.name,
            Self::Destination(destination) => &destination.name,
        }
    }

    pub(super) fn live(&self) -> Option<&ShownPlaced> {
        match self {
            Self::Function(function) => function.live.as_ref(),
            Self::Destination(destination) => destination.live.as_ref(),
        }
    }

    /// The sha-256 of the live version.
    pub(super) fn live_sha(&self) -> Option<&str> {
        self.live().map(|placed| placed.sha256.as_str())
    }

    pub(super) fn previous_sha(&self) -> Option<&str> {
        let previous = match self {
            Self::Function(function) => &function.previous,
            Self::Destination(destination) => &destination.previous,
        };
        previous.as_ref().map(|placed| placed.sha256.as_str())
    }

    /// A destination is not tried beside itself.
    pub(super) fn canary(&self) -> Option<&Canary> {
        match self {
            Self::Function(function) => function.canary.as_ref(),
            Self::Destination(_) => None,
        }
    }

    pub(super) fn versions(&self) -> &[Version] {
        let versions = match self {
            Self::Function(function) => &function.versions,
            Self::Destination(destination) => &destination.versions,
        };
        versions.as_deref().unwrap_or_default()
    }

    /// The sources that a function is attached to.
    pub(super) fn attached(&self) -> &[String] {
        match self {
            Self::Function(function) => &function.attached,
            Self::Destination(_) => &[],
        }
    }

    /// The syncs that use a destination; `None` for a function, and where the workspace has no file for it.
    pub(super) fn syncs(&self) -> Option<&[String]> {
        match self {
            Self::Function(_) => None,
            Self::Destination(destination) => destination.syncs.as_deref(),
        }
    }

    /// Tables that a function looks up and nobody grants; `None` for a destination.
    pub(super) fn lookups_missing(&self) -> Option<&[String]> {
        match self {
            Self::Function(function) => Some(&function.lookups_missing),
            Self::Destination(_) => None,
        }
    }

    pub(super) fn charges(&self) -> Vec<Charged<'_>> {
        match self {
            Self::Function(function) => {
                let charges = function.meters.iter().flat_map(|meters| &meters.charges);
                let charged = charges.map(|charge| Charged {
                    version: &charge.version,
                    events: charge.events,
                    errors: charge.errors,
                    failed: charge.errors + charge.failed,
                    error: charge.error.as_deref(),
                });
                charged.collect()
            }
            Self::Destination(destination) => {
                let charges = destination.meters.iter().flat_map(|meters| &meters.charges);
                let charged = charges.map(|charge| Charged {
                    version: &charge.version,
                    events: charge.events,
                    errors: charge.failed,
                    failed: charge.failed,
                    error: charge.error.as_deref(),
                });
                charged.collect()
            }
        }
    }

    pub(super) fn comparisons(&self) -> &[CanaryComparison] {
        match self {
            Self::Function(function) => function.meters.as_ref().map_or(&[], |meters| &meters.comparisons),
            Self::Destination(_) => &[],
        }
    }
}

/// All functions or destinations.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub(super) enum Listed {
    Functions(Functions),
    Destinations(Destinations),
}

/// One of them, without its details.
#[derive(Debug, Clone, Copy)]
pub(super) struct ShownRow<'a> {
    pub(super) name: &'a str,
    pub(super) versions: u64,
    pub(super) live: Option<&'a str>,
    pub(super) previous: Option<&'a str>,
    pub(super) canary: Option<&'a str>,
    /// Sources of a function, syncs of a destination.
    pub(super) users: &'a [String],
}

impl Listed {
    pub(super) fn rows(&self) -> Vec<ShownRow<'_>> {
        match self {
            Self::Functions(all) => {
                let rows = all.functions.iter().map(|one| ShownRow {
                    name: &one.name,
                    versions: one.versions,
                    live: one.live.as_deref(),
                    previous: one.previous.as_deref(),
                    canary: one.canary.as_deref(),
                    users: &one.attached,
                });
                rows.collect()
            }
            Self::Destinations(all) => {
                let rows = all.destinations.iter().map(|one| ShownRow {
                    name: &one.name,
                    versions: one.versions,
                    live: one.live.as_deref(),
                    previous: one.previous.as_deref(),
                    canary: None,
                    users: one.syncs.as_deref().unwrap_or_default(),
                });
                rows.collect()
            }
        }
    }

    /// The sources that a function may be attached to; `None` of destinations.
    pub(super) const fn sources(&self) -> Option<&BTreeSet<String>> {
        match self {
            Self::Functions(all) => Some(&all.sources),
            Self::Destinations(_) => None,
        }
    }

    /// Whether the workspace grants a function this table.
    pub(super) fn grants(&self, name: &str, table: &str) -> bool {
        match self {
            Self::Functions(all) => all.granted.get(name).is_some_and(|tables| tables.contains(table)),
            Self::Destinations(_) => false,
        }
    }
}

/// What `--json` prints: the answer of the server, its fields in the order of their names.
pub(super) fn json(shown: &impl Serialize) -> Value {
    serde_json::to_value(shown).unwrap_or_default()
}

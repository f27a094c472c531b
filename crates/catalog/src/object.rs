//! What the catalog keeps: objects with a kind, a stable id, a workspace, a name and a spec.
//!
//! An object is a value. A change makes another value under a higher revision; the earlier one is kept.

mod check;
mod id;
mod kind;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use check::{ContentProblem, check_workspace};
pub use id::{NotAnObjectId, ObjectId};
pub use kind::{ObjectKind, UnknownKind};

/// The workspace of what belongs to the whole server: users and groups. No other workspace has a name that begins with `_`.
pub const SERVER_WORKSPACE: &str = "_server";

/// Keys and values that people choose, for filters and for grants: `team` and `web`.
pub type Labels = BTreeMap<String, String>;

/// What a person or a folder says of an object. A spec may hold a secret all the same: it is not printed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ObjectContent {
    pub kind: ObjectKind,
    /// Unique among the living of its workspace and kind.
    pub name: String,
    #[serde(default)]
    pub labels: Labels,
    /// Id of the user or token that answers for it; whoever creates an object is its first owner.
    #[serde(default)]
    pub owner: Option<ObjectId>,
    pub spec: Value,
}

impl std::fmt::Debug for ObjectContent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("ObjectContent");
        shown.field("kind", &self.kind).field("name", &self.name).field("labels", &self.labels);
        shown.field("owner", &self.owner).finish_non_exhaustive()
    }
}

/// Which folder says what an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagingFolder {
    /// The one that the server reads itself.
    #[default]
    Server,
    /// One that somebody applied from elsewhere.
    Applied,
}

/// Who decides what an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ManagedBy {
    /// Whoever has the right to.
    Nobody,
    /// The files of a folder, which were last applied to it in this revision.
    Folder {
        applied_revision: u64,
        #[serde(default)]
        folder: ManagingFolder,
    },
}

/// One object as it was in one revision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CatalogObject {
    pub id: ObjectId,
    pub workspace: String,
    pub content: ObjectContent,
    /// Microseconds since the Unix epoch, UTC.
    pub created_at_us: i64,
    /// Microseconds since the Unix epoch, UTC.
    pub updated_at_us: i64,
    /// The revision of the catalog in which it last changed.
    pub revision: u64,
    pub managed_by: ManagedBy,
    /// Somebody has stopped it for now. That is no part of what it says: no file sets it, and it makes no drift.
    #[serde(default)]
    pub is_paused: bool,
}

impl CatalogObject {
    /// Whether a folder manages it.
    #[must_use]
    pub const fn is_managed(&self) -> bool {
        matches!(self.managed_by, ManagedBy::Folder { .. })
    }

    /// The folder that manages it.
    #[must_use]
    pub const fn folder(&self) -> Option<ManagingFolder> {
        match self.managed_by {
            ManagedBy::Nobody => None,
            ManagedBy::Folder { folder, .. } => Some(folder),
        }
    }

    /// Whether it was changed by other means since its folder was applied last.
    #[must_use]
    pub const fn is_drifted(&self) -> bool {
        matches!(self.managed_by, ManagedBy::Folder { applied_revision, .. } if applied_revision < self.revision)
    }

    /// Kind and name, which no other living object of its workspace has.
    #[must_use]
    pub fn key(&self) -> (ObjectKind, &str) {
        (self.content.kind, &self.content.name)
    }
}

/// All living objects of a workspace in one revision, in the order of kind and name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct CatalogSnapshot {
    pub workspace: String,
    pub revision: u64,
    pub objects: Vec<CatalogObject>,
}

impl CatalogSnapshot {
    /// The living object of this kind and name.
    #[must_use]
    pub fn named(&self, kind: ObjectKind, name: &str) -> Option<&CatalogObject> {
        let found = self.objects.binary_search_by(|object| object.key().cmp(&(kind, name)));
        found.ok().map(|at| &self.objects[at])
    }
}

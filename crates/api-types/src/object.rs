use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::workspace::FieldDifference;

/// In which workspace something is asked; `default` when left out. Users and groups belong to the server.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct WorkspaceQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
}

/// Which objects of a kind.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ObjectQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// What names begin with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix: Option<String>,
    /// What names have in them; large and small letters of ASCII are the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub q: Option<String>,
    /// `team=web`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// `folder` or `nobody`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub managed_by: Option<ManagedByQuery>,
    /// Id of a user, whose tokens are meant as well, or of a token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
    /// At most so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// Who decides what an object says.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum ManagedByQuery {
    Nobody,
    Folder,
}

/// How a change is made.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ChangeQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Say what would be done, and do nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Change what the files of a folder manage all the same; the next apply of the folder undoes it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
}

/// How an object is deleted.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DeleteQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Say what would be done, and do nothing.
    #[serde(default, skip_serializing_if = "is_false")]
    pub dry_run: bool,
    /// Delete what the files of a folder manage all the same; the next apply of the folder undoes it.
    #[serde(default, skip_serializing_if = "is_false")]
    pub force: bool,
    /// Of a sync, or of a source with all its syncs: what waits for it is delivered first.
    #[serde(default, skip_serializing_if = "is_false")]
    pub drain: bool,
    /// The same: what waits for it is given up, and counted.
    #[serde(default, skip_serializing_if = "is_false")]
    pub abandon: bool,
}

/// Which versions of an object.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct HistoryQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// `next` of the page before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub before: Option<u64>,
    /// At most so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// Between which revisions; each stands for the last version up to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DiffQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// The version before the one that is there now, when left out; 0 for nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// Now, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

const fn is_false(value: &bool) -> bool {
    !*value
}

/// Objects, by name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Objects {
    pub objects: Vec<ShownObject>,
    /// The cursor to go on with, when there are more. A page may be short, or empty: what may not be viewed is left out.
    pub next: Option<String>,
}

/// An object as it is now. Secrets are references in its spec, or fingerprints.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CatalogObject)]
pub struct ShownObject {
    /// Stays, whatever the name becomes.
    pub id: String,
    pub kind: String,
    pub name: String,
    pub workspace: String,
    pub labels: BTreeMap<String, String>,
    /// Id of the user or token that answers for it.
    pub owner: Option<String>,
    /// Its name, where objects are asked for and not changed.
    #[serde(default)]
    pub owner_name: Option<String>,
    #[schema(value_type = BTreeMap<String, Value>)]
    pub spec: Value,
    /// Of its last change; also its ETag.
    pub revision: u64,
    pub created_at: String,
    pub updated_at: String,
    /// The files of a folder, if they say what it is.
    pub managed_by: Option<ManagingFile>,
    /// Somebody has stopped it for now. What its file says of that is in `spec`.
    #[serde(default)]
    pub paused: bool,
}

/// The file that says what an object is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = ManagedBy)]
pub struct ManagingFile {
    /// From the folder: `sources/web.yaml`.
    pub file: Option<String>,
    /// The revision in which it was applied last.
    pub applied_revision: u64,
    /// The object was changed by other means since.
    pub drifted: bool,
    /// The folder was applied from elsewhere; otherwise it is the server's own.
    #[serde(default)]
    pub applied: bool,
}

/// An object to be made.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewObject {
    pub name: String,
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// Id of a user or a token; whoever makes the object, when left out.
    #[serde(default)]
    pub owner: Option<String>,
    /// What it says. A secret is written as `secret:NAME`.
    #[schema(value_type = BTreeMap<String, Value>)]
    pub spec: Value,
}

impl fmt::Debug for NewObject {
    /// A spec may hold a secret all the same.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("NewObject").field("name", &self.name).finish_non_exhaustive()
    }
}

/// The versions of an object, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectHistory {
    pub versions: Vec<ShownObjectVersion>,
    /// What to give as `before` for the next page, when there are more.
    pub next: Option<u64>,
}

/// An object as one revision left it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = ObjectVersion)]
pub struct ShownObjectVersion {
    pub object: ShownObject,
    /// That revision deleted it; the rest is what it was last.
    pub deleted: bool,
    /// Id of the user or token; none for the server itself and the admin token.
    pub changed_by: Option<String>,
    /// `ann`, or `token laptop of ann`.
    #[serde(default)]
    pub changed_by_name: Option<String>,
}

/// What is different between two versions.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ObjectDiff {
    pub from: u64,
    pub to: u64,
    /// `field` is a JSON pointer: `/spec/rate`.
    pub fields: Vec<FieldDifference>,
}

/// A change that was made, or that would be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ChangeDone {
    /// Of the catalog afterwards.
    pub revision: u64,
    /// Nothing was changed.
    pub dry_run: bool,
    /// The answer to an earlier request with the same idempotency key.
    pub repeated: bool,
    pub objects: Vec<ObjectDone>,
}

/// One object of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ObjectDone {
    pub id: String,
    pub kind: String,
    pub name: String,
    /// Of the object; its ETag.
    pub revision: u64,
    /// `created`, `updated`, `deleted`, `unchanged`.
    pub done: String,
}

/// Names an object of the catalog.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
pub struct ObjectName {
    pub kind: String,
    pub name: String,
}

/// The objects whose specs name another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct UsedBy {
    pub objects: Vec<ObjectName>,
    /// How many more there are that may not be viewed.
    pub hidden: u64,
}

/// Secrets, by name, without their values.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct SecretList {
    pub secrets: Vec<ShownSecret>,
    /// The cursor to go on with, when there are more.
    pub next: Option<String>,
}

/// A secret: everything but its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Secret)]
pub struct ShownSecret {
    pub id: String,
    pub name: String,
    /// How many values it has had.
    pub version: u64,
    /// Tells one value from another and nothing of it.
    pub fingerprint: String,
    /// Of the catalog, when it was changed last.
    pub revision: u64,
    pub changed_at: String,
    /// Id of the user or token; none for the server itself and the admin token.
    pub changed_by: Option<String>,
    /// `ann`, or `token laptop of ann`.
    #[serde(default)]
    pub changed_by_name: Option<String>,
    /// How many objects name it, also those that may not be viewed.
    pub used_by: u64,
}

/// The value of a secret, which is kept and shown by nobody.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WriteSecret {
    #[schema(write_only)]
    pub value: String,
}

impl fmt::Debug for WriteSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("WriteSecret")
    }
}

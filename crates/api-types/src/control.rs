use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};

use super::object::{NewObject, ObjectName};
use super::reload::Reloaded;
use super::workspace::{FieldDifference, FolderDocument, ObjectChangeKind};

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// Id of the user; none for the admin token.
    pub user: Option<String>,
    /// Name of the user.
    #[serde(default)]
    pub name: Option<String>,
    /// Id of the token of the catalog.
    pub token: Option<String>,
    /// When that token ends.
    #[serde(default)]
    pub expires_at: Option<String>,
    /// It was a session of a browser that asked.
    #[serde(default)]
    pub session: bool,
    /// May do everything in the workspace `default`.
    pub admin: bool,
    /// Names of the user's groups.
    #[serde(default)]
    pub groups: Vec<String>,
    /// By workspace (`*` for all) the names of the user's roles. A token may have less.
    #[serde(default)]
    pub roles: BTreeMap<String, Vec<String>>,
    /// The environments that run here in which whoever asks has a role.
    #[serde(default)]
    pub environments: Vec<String>,
}

/// A folder, to be held against the catalog.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFolder {
    pub documents: Vec<FolderDocument>,
    /// The files that documents name, by their paths: the SHA-256 of each, in hexadecimal digits.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Also delete what the folder manages and does not name any more.
    #[serde(default)]
    pub prune: bool,
    /// Also take over what the folder names and does not manage.
    #[serde(default)]
    pub take_over: bool,
}

/// What would have to change so that the catalog says what a folder says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = CatalogPlan)]
pub struct ShownCatalogPlan {
    pub workspace: String,
    /// The revision that it was made from.
    pub base_revision: u64,
    /// In the order in which they would be made.
    pub changes: Vec<PlannedObject>,
    /// What the folder manages and does not name any more, and stays without `prune`.
    pub left: Vec<ObjectName>,
    /// Changes of what the server's own folder manages: they are made only with `take_over`.
    #[serde(default)]
    pub of_server: Vec<ObjectName>,
    /// What the server's own folder manages and this one does not name: no apply deletes it, with `prune` neither. It goes when its file is
    /// removed there.
    #[serde(default)]
    pub kept_by_server: Vec<ObjectName>,
    /// Why it could not be applied.
    pub problems: Vec<String>,
    /// Changes of objects that may not be viewed.
    pub hidden: u64,
}

/// A folder, to be applied.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApplyFolder {
    /// Without literal secrets.
    pub documents: Vec<FolderDocument>,
    /// The files that documents name, by their paths: the SHA-256 of each, in hexadecimal digits. They are there already, see
    /// `PUT /api/v1/blobs/{sha256}`.
    #[serde(default)]
    pub files: BTreeMap<String, String>,
    /// Also delete what an applied folder manages and this one does not name.
    #[serde(default)]
    pub prune: bool,
    /// Also take over what the folder names and does not manage.
    #[serde(default)]
    pub take_over: bool,
    /// Only if the catalog is at this revision.
    #[serde(default)]
    pub base_revision: Option<u64>,
    /// Syncs that the folder has no more, or sources with all their syncs: what waits for them is delivered first.
    #[serde(default)]
    pub drain: Vec<String>,
    /// The same: what waits for them is given up, and counted.
    #[serde(default)]
    pub abandon: Vec<String>,
}

/// How a folder is applied.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApplyQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
}

/// A folder that was applied, or that would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct FolderApplied {
    /// Of the catalog afterwards.
    pub revision: u64,
    /// Nothing was changed.
    pub dry_run: bool,
    pub created: u64,
    pub updated: u64,
    pub deleted: u64,
    /// In the order in which they were made.
    pub changes: Vec<PlannedObject>,
    /// What an applied folder manages and this one does not name: it stays without `prune`.
    pub left: Vec<ObjectName>,
    /// What runs now; none in a workspace that does not run, and where nothing was different.
    pub running: Option<Reloaded>,
}

/// A file that the server keeps for documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct StoredBlob {
    pub sha256: String,
    pub bytes: u64,
}

/// What would change of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct PlannedObject {
    pub kind: String,
    pub name: String,
    pub change: ObjectChangeKind,
    /// `field` is a JSON pointer: `/spec/rate`.
    pub fields: Vec<FieldDifference>,
    /// Nobody manages it now, or another folder does.
    pub takes_over: bool,
    /// It was changed by other means since the folder was applied.
    pub drifted: bool,
}

/// Which drafts.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct DraftQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// All, when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub state: Option<ShownDraftState>,
}

/// How a draft is approved.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ApproveQuery {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// What waits for syncs that end by it is delivered first.
    #[serde(default)]
    pub drain: bool,
    /// The same: what waits for them is given up, and counted.
    #[serde(default)]
    pub abandon: bool,
}

/// What becomes of what waits for syncs that end by a draft, by the names of them or of their sources. What is named by nobody goes by the
/// query.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApproveDraft {
    /// What waits for these is delivered first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain: Vec<String>,
    /// The same: what waits for these is given up, and counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandon: Vec<String>,
}

/// What became of a draft.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = DraftState)]
pub enum ShownDraftState {
    Open,
    Approved,
    Declined,
    Withdrawn,
}

/// A change that somebody else shall approve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProposeDraft {
    pub title: String,
    pub edits: Vec<DraftEdit>,
}

/// One edit of a draft.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DraftEdit {
    pub action: DraftAction,
    pub kind: String,
    /// Of an object that is there: its name, or its id.
    #[serde(default)]
    pub object: Option<String>,
    /// What is to be made, or what the object shall say.
    #[serde(default)]
    pub content: Option<NewObject>,
}

/// What an edit does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DraftAction {
    Create,
    Update,
    Delete,
}

/// Drafts, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Drafts {
    pub drafts: Vec<ShownDraft>,
}

/// A draft with what it would do.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Draft)]
pub struct ShownDraft {
    pub id: String,
    pub workspace: String,
    pub title: String,
    /// Id of a user or a token.
    pub author: String,
    /// `ann`, or `token laptop of ann`.
    #[serde(default)]
    pub author_name: Option<String>,
    pub state: ShownDraftState,
    pub base_revision: u64,
    pub objects: Vec<ShownDraftedObject>,
    pub proposed_at: String,
    pub decided_by: Option<String>,
    #[serde(default)]
    pub decided_by_name: Option<String>,
    pub decided_at: Option<String>,
    /// The revision that it made.
    pub revision: Option<u64>,
    /// The first object that has changed since: it cannot be approved any more.
    pub stale: Option<ObjectName>,
}

/// What a draft would do to one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = DraftedObject)]
pub struct ShownDraftedObject {
    pub kind: String,
    pub name: String,
    /// `created`, `updated`, `deleted`.
    pub action: String,
    pub fields: Vec<FieldDifference>,
}

/// A token to be made.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    pub name: String,
    /// Whose work it does: a person's when left out.
    #[serde(default)]
    pub form: ShownTokenForm,
    /// The grants of a role; all that its maker may do in the workspace, when left out.
    #[serde(default)]
    #[schema(value_type = Option<std::collections::BTreeMap<String, Value>>)]
    pub grants: Option<Value>,
    /// 1 to 400; 90 when left out.
    #[serde(default)]
    #[schema(minimum = 1, maximum = 400)]
    pub days: Option<u64>,
    /// The name of the user in whose name the admin token makes it; `admin` when left out.
    #[serde(default)]
    pub user: Option<String>,
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = TokenForm)]
pub enum ShownTokenForm {
    #[default]
    Person,
    Service,
}

/// A token that was made.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct CreatedToken {
    pub id: String,
    pub name: String,
    /// Shown this once.
    pub token: String,
}

impl fmt::Debug for CreatedToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CreatedToken").field("id", &self.id).field("name", &self.name).finish_non_exhaustive()
    }
}

/// Tokens, by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Tokens {
    pub tokens: Vec<ShownToken>,
    /// The cursor to go on with, when there are more.
    pub next: Option<String>,
}

/// A token: everything but the token.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = Token)]
pub struct ShownToken {
    pub id: String,
    pub name: String,
    pub form: ShownTokenForm,
    /// Id of the user.
    pub maker: String,
    #[serde(default)]
    pub maker_name: Option<String>,
    /// Its last four characters.
    pub last4: String,
    pub expires_at: String,
    pub expired: bool,
    /// To the minute.
    pub last_used: Option<String>,
}

/// What roles allow in a workspace: those that are always there first, then those of its own, by name.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Roles {
    pub roles: Vec<ShownRole>,
}

/// What a role allows.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = Role)]
pub struct ShownRole {
    pub name: String,
    /// It is always there, and cannot be changed.
    pub prebuilt: bool,
    /// It allows everything in its workspace; then `grants` says nothing.
    pub admin: bool,
    /// `create`, `access`, `reveal`, `see_payloads`, `only_proposes`, as the spec of a role has them.
    #[schema(value_type = std::collections::BTreeMap<String, Value>)]
    pub grants: Value,
}

/// Which entries of the audit log.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct AuditQuery {
    /// All workspaces, when left out, which takes an admin of the server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workspace: Option<String>,
    /// Id of a user.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<String>,
    /// `created`, `updated`, `deleted`, `signed_in`, …
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub action: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// Id of an object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(inline)]
    pub result: Option<ShownAuditResult>,
    /// RFC 3339; entries of then and later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// RFC 3339; entries before then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Of a query: `next` of the page before. Of an export: the number of the last line that is there already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<u64>,
    /// At most so many, 1 to 1,000; 100 when left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[param(minimum = 1, maximum = 1000)]
    pub limit: Option<u64>,
}

/// How it ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = AuditResult)]
pub enum ShownAuditResult {
    Done,
    Denied,
    Failed,
}

/// Entries of the audit log, newest first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct AuditEntries {
    /// Each with `seq`, `at_us`, `workspace`, `action`, `result`, and what else is known of it.
    #[schema(value_type = Vec<std::collections::BTreeMap<String, Value>>)]
    pub entries: Vec<Value>,
    pub next: Option<u64>,
}

/// Checkpoints that were kept outside, which the log must still agree with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct VerifyAudit {
    #[serde(default)]
    pub checkpoints: Vec<ShownCheckpoint>,
}

/// A place of the audit log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = AuditCheckpoint)]
pub struct ShownCheckpoint {
    /// The number of the last entry.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
}

/// Whether the audit log is as it was written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AuditVerdict {
    pub whole: bool,
    /// Entries that were read.
    pub entries: u64,
    /// The end of the log, to be kept outside.
    pub head: Option<ShownCheckpoint>,
    /// The first entry that is not as it was written.
    pub altered_at: Option<u64>,
    /// What is wrong with it.
    pub what: Option<String>,
}

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::object::ObjectName;

/// Objects of one workspace that another one shall have as well.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PromoteObjects {
    /// The workspace that has them.
    pub from: String,
    /// The workspace that shall have them.
    pub to: String,
    /// These alone; all that stand in files of a folder, when left out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<ObjectName>,
    /// Also delete what was promoted or applied there and is not in `from`.
    #[serde(default)]
    pub prune: bool,
    /// Also take over what is there and nobody manages, or the folder of that environment does.
    #[serde(default)]
    pub take_over: bool,
    /// Say what would be done, and do nothing.
    #[serde(default)]
    pub dry_run: bool,
    /// Only if the catalog is at this revision.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base_revision: Option<u64>,
    /// Syncs that end by it, or sources with all their syncs: what waits for them is delivered first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub drain: Vec<String>,
    /// The same: what waits for them is given up, and counted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abandon: Vec<String>,
}

//! What would have to change so that a workspace says what a folder says: a pure function, and the change that comes of it.
//!
//! An object that no folder manages is never deleted and, unless it is asked for, never changed. One that a folder manages is deleted
//! only when that is asked for (`prune`). What others refer to is made first, and what is deleted goes last.

mod change;
mod order;
mod rename;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use serde_json::Value;

pub use rename::RenameCycle;

use crate::fields::{FieldChange, field_changes};
use crate::object::{CatalogObject, CatalogSnapshot, Labels, ManagingFolder, ObjectContent, ObjectId, ObjectKind};

/// An object as a folder wants it. Its spec is not printed.
#[derive(Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WantedObject {
    pub kind: ObjectKind,
    pub name: String,
    /// The name that it had: it keeps its id. Counts while an object of that name is there for it, and does nothing afterwards.
    #[serde(default)]
    pub was: Option<String>,
    #[serde(default)]
    pub labels: Labels,
    /// None leaves whoever owns it now.
    #[serde(default)]
    pub owner: Option<ObjectId>,
    pub spec: Value,
}

impl std::fmt::Debug for WantedObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let mut shown = f.debug_struct("WantedObject");
        shown.field("kind", &self.kind).field("name", &self.name).field("was", &self.was).finish_non_exhaustive()
    }
}

/// How far a plan may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PlanOptions {
    /// What the folder manages and does not name any more is deleted.
    pub prune: bool,
    /// What the folder names and does not manage is taken over.
    pub take_over: bool,
    /// Which folder it is; with none, whichever folder manages an object is this one.
    pub folder: Option<ManagingFolder>,
}

impl PlanOptions {
    /// Whether the folder manages an object.
    fn is_own(self, object: &CatalogObject) -> bool {
        object.folder().is_some_and(|folder| self.folder.is_none_or(|own| own == folder))
    }
}

/// One object that changes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PlannedChange {
    Create {
        content: ObjectContent,
    },
    Update {
        id: ObjectId,
        /// The revision of the object that the plan was made from.
        revision: u64,
        content: ObjectContent,
        /// In the order of their paths. Empty when only who manages the object changes.
        fields: Vec<FieldChange>,
        /// Nobody managed it, or another folder did.
        takes_over: bool,
        /// It was changed by other means since the folder was applied last.
        had_drifted: bool,
    },
    Delete {
        id: ObjectId,
        revision: u64,
        kind: ObjectKind,
        name: String,
    },
}

/// Why a plan cannot be applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PlanProblem {
    #[error("the {kind} {name:?} is there and no folder manages it; take it over, or choose another name")]
    NotManaged { kind: ObjectKind, name: String },
    #[error("the {kind} {name:?} is managed by {by}; change it there, or take it over")]
    OfOtherFolder { kind: ObjectKind, name: String, by: &'static str },
    #[error(
        "the {kind} {name:?} cannot come from a folder: its value is never in a file; make it on the server, and refer to it"
    )]
    NotOfFolder { kind: ObjectKind, name: String },
    #[error("the folder has two {kind} objects of the name {name:?}; remove one")]
    Twice { kind: ObjectKind, name: String },
    #[error(transparent)]
    Cycle(#[from] RenameCycle),
}

/// A plan: what changes, in order, from which revision.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogPlan {
    pub workspace: String,
    /// The revision of the catalog that it was made from. It applies to no other.
    pub base_revision: u64,
    /// As the options had it.
    pub folder: Option<ManagingFolder>,
    pub changes: Vec<PlannedChange>,
    /// What the folder manages, does not name and, without `prune`, does not delete, in order.
    pub left: Vec<(ObjectKind, String)>,
    /// With any of these the plan cannot be applied.
    pub problems: Vec<PlanProblem>,
}

impl CatalogPlan {
    /// Nothing changes and nothing is wrong.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.problems.is_empty()
    }

    /// How many are created, updated and deleted.
    #[must_use]
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |wanted: fn(&PlannedChange) -> bool| self.changes.iter().filter(|change| wanted(change)).count();
        (
            count(|change| matches!(change, PlannedChange::Create { .. })),
            count(|change| matches!(change, PlannedChange::Update { .. })),
            count(|change| matches!(change, PlannedChange::Delete { .. })),
        )
    }
}

/// Plans from what is there to what is wanted. The order of `wanted` does not matter.
#[must_use]
pub fn plan(current: &CatalogSnapshot, wanted: &[WantedObject], options: PlanOptions) -> CatalogPlan {
    let mut sorted: Vec<&WantedObject> = wanted.iter().collect();
    sorted.sort_by(|a, b| (a.kind, &a.name).cmp(&(b.kind, &b.name)));
    let mut plan = CatalogPlan {
        workspace: current.workspace.clone(),
        base_revision: current.revision,
        folder: options.folder,
        changes: Vec::new(),
        left: Vec::new(),
        problems: unfit(&sorted),
    };
    let there: BTreeMap<(ObjectKind, &str), &CatalogObject> =
        current.objects.iter().map(|object| (object.key(), object)).collect();
    let renames = match rename::renames(&there, &sorted) {
        Ok(renames) => renames,
        Err(cycle) => {
            plan.problems.push(cycle.into());
            BTreeMap::new()
        }
    };
    if !plan.problems.is_empty() {
        return plan;
    }
    let (mut made, mut claimed) = (Vec::new(), BTreeSet::new());
    let leaving: BTreeSet<(ObjectKind, &str)> = renames.iter().map(|((kind, _), was)| (*kind, *was)).collect();
    for want in sorted {
        let key = (want.kind, renames.get(&(want.kind, &*want.name)).copied().unwrap_or(&want.name));
        // Who is renamed away is not there for who takes its name.
        let is_renamed = key.1 != want.name;
        let found = there.get(&key).filter(|_| is_renamed || !leaving.contains(&key));
        match found {
            None => made.push(PlannedChange::Create { content: content(want, None) }),
            Some(object) => {
                claimed.insert(&object.id);
                if options.is_own(object) || options.take_over {
                    made.extend(update(object, want, options));
                } else {
                    plan.problems.extend(not_own(object, want));
                }
            }
        }
    }
    plan.changes = order::made(made);
    let unclaimed = current.objects.iter().filter(|object| options.is_own(object) && !claimed.contains(&object.id));
    if options.prune {
        plan.changes.extend(order::deleted(unclaimed.collect()));
    } else {
        plan.left = unclaimed.map(|object| (object.content.kind, object.content.name.clone())).collect();
    }
    plan
}

/// What a folder would have to say for the workspace to stay as it is. Secrets, tokens and write keys are in no folder.
#[must_use]
pub fn exported(snapshot: &CatalogSnapshot) -> Vec<WantedObject> {
    let objects = snapshot.objects.iter().filter(|object| !is_of_server_alone(object.content.kind));
    let exported = objects.map(|object| {
        let ObjectContent { kind, name, labels, owner, spec } = object.content.clone();
        WantedObject { kind, name, was: None, labels, owner, spec }
    });
    exported.collect()
}

const fn is_of_server_alone(kind: ObjectKind) -> bool {
    matches!(kind, ObjectKind::Secret | ObjectKind::Token | ObjectKind::WriteKey)
}

fn unfit(sorted: &[&WantedObject]) -> Vec<PlanProblem> {
    let of_server = sorted.iter().filter(|want| is_of_server_alone(want.kind));
    let of_server = of_server.map(|want| PlanProblem::NotOfFolder { kind: want.kind, name: want.name.clone() });
    of_server.chain(twins(sorted)).collect()
}

fn twins(sorted: &[&WantedObject]) -> Vec<PlanProblem> {
    let same = sorted.windows(2).filter(|pair| (pair[0].kind, &pair[0].name) == (pair[1].kind, &pair[1].name));
    let mut twins: Vec<PlanProblem> =
        same.map(|pair| PlanProblem::Twice { kind: pair[0].kind, name: pair[0].name.clone() }).collect();
    twins.dedup();
    twins
}

fn content(want: &WantedObject, owner: Option<&ObjectId>) -> ObjectContent {
    ObjectContent {
        kind: want.kind,
        name: want.name.clone(),
        labels: want.labels.clone(),
        owner: want.owner.as_ref().or(owner).cloned(),
        spec: want.spec.clone(),
    }
}

/// Why an object that the folder does not manage is left as it is; nothing, where it says already what the folder wants of it.
fn not_own(object: &CatalogObject, want: &WantedObject) -> Option<PlanProblem> {
    // No folder says labels and owners.
    if object.content.name == want.name && object.content.spec == want.spec {
        return None;
    }
    let (kind, name) = (want.kind, want.name.clone());
    let by = match object.folder() {
        None => return Some(PlanProblem::NotManaged { kind, name }),
        Some(ManagingFolder::Server) => "a file of the server's own folder",
        Some(ManagingFolder::Applied) => "a folder that was applied from elsewhere",
    };
    Some(PlanProblem::OfOtherFolder { kind, name, by })
}

fn update(object: &CatalogObject, want: &WantedObject, options: PlanOptions) -> Option<PlannedChange> {
    let content = content(want, object.content.owner.as_ref());
    let fields = field_changes(Some(&object.content), Some(&content));
    let (takes_over, had_drifted) = (!options.is_own(object), object.is_drifted());
    let differs = !fields.is_empty() || takes_over || had_drifted;
    let (id, revision) = (object.id.clone(), object.revision);
    differs.then_some(PlannedChange::Update { id, revision, content, fields, takes_over, had_drifted })
}

//! Specs that the catalog itself reads: of users, groups, roles, tokens and write keys.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::object::{ContentProblem, ObjectContent, ObjectId, ObjectKind};
use crate::rights::{GroupSpec, PREBUILT_ROLES, RoleGrants, TokenSpec, UserSpec};

/// The spec of a write key. Its value is nowhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteKeySpec {
    /// The name of its source.
    pub source: String,
    pub last4: String,
    /// As it was made to end: microseconds since the Unix epoch, UTC.
    pub ends_at_us: Option<i64>,
    /// Since another one took its place: until when clients may still use it.
    pub grace_until_us: Option<i64>,
    /// The one that took its place.
    pub replaced_by: Option<ObjectId>,
}

impl WriteKeySpec {
    /// When it ends, for whichever reason.
    #[must_use]
    pub fn end_us(&self) -> Option<i64> {
        [self.ends_at_us, self.grace_until_us].into_iter().flatten().min()
    }
}

/// Holds the spec of a kind that the catalog itself reads against its shape.
pub(crate) fn check_spec(content: &ObjectContent) -> Result<(), ContentProblem> {
    let spec = &content.spec;
    match content.kind {
        ObjectKind::User => read::<UserSpec>(spec),
        ObjectKind::Group => read::<GroupSpec>(spec),
        ObjectKind::Token => read::<TokenSpec>(spec),
        ObjectKind::WriteKey => read::<WriteKeySpec>(spec),
        ObjectKind::Role if PREBUILT_ROLES.contains(&&*content.name) => {
            Err(problem("name", "it is the name of a prebuilt role"))
        }
        ObjectKind::Role => read::<RoleGrants>(spec),
        _ => Ok(()),
    }
}

fn read<T: DeserializeOwned>(spec: &Value) -> Result<(), ContentProblem> {
    T::deserialize(spec).map(drop).map_err(|error| problem("spec", &error.to_string()))
}

fn problem(field: &str, problem: &str) -> ContentProblem {
    ContentProblem::Spec { field: field.to_owned(), problem: problem.to_owned() }
}

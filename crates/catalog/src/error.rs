//! What can go wrong with the catalog, in words for whoever asked.

use crate::keys::SealError;
use crate::object::{ContentProblem, NotAnObjectId, ObjectId, ObjectKind, UnknownKind};
use crate::rights::{Denial, PrincipalProblem};
use crate::store::StoreError;

/// Why the catalog did not do what it was asked. Nothing was changed then.
#[derive(Debug, Clone, thiserror::Error)]
pub enum CatalogError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Seal(#[from] SealError),
    #[error(transparent)]
    Denied(#[from] Denial),
    #[error(transparent)]
    Principal(#[from] PrincipalProblem),
    #[error("the {kind} {name:?}: {problem}")]
    Content {
        kind: ObjectKind,
        name: String,
        #[source]
        problem: ContentProblem,
    },
    #[error(transparent)]
    Workspace(#[from] ContentProblem),
    #[error("there is no object {id} in the workspace {workspace:?}")]
    Absent { workspace: String, id: ObjectId },
    #[error("there is no {what}")]
    Nothing { what: String },
    /// Somebody has changed the object meanwhile.
    #[error(
        "the {kind} {name:?} is at revision {found}, not at {expected}: somebody has changed it meanwhile; read it again and make the change anew"
    )]
    Conflict { kind: ObjectKind, name: String, id: ObjectId, expected: u64, found: u64 },
    /// Somebody has changed something of the catalog meanwhile.
    #[error("the catalog is at revision {found}, not at {expected}: it was changed meanwhile; plan anew")]
    Moved { expected: u64, found: u64 },
    #[error("there is a {kind} {name:?} already; choose another name, or change the one that is there")]
    NameTaken { kind: ObjectKind, name: String },
    #[error("the change names the object {id} twice")]
    Twice { id: ObjectId },
    #[error(
        "the {kind} {name:?} is managed by files of a folder: change it there, release it, or force the change, which the next apply undoes"
    )]
    Managed { kind: ObjectKind, name: String },
    #[error(
        "the {kind} {name:?} names the {of_kind} {of_name:?}, which is not there; make that first, or in the same change"
    )]
    Dangling { kind: ObjectKind, name: String, of_kind: ObjectKind, of_name: String },
    #[error("the {kind} {name:?} is named by {by}; change that first, or in the same change")]
    InUse { kind: ObjectKind, name: String, by: String },
    #[error("this would leave nobody who may manage users and groups; make another admin first")]
    LastAdmin,
    #[error("the idempotency key {key:?} was used for another request; take a new one")]
    OtherRequest { key: String },
    #[error("{what}: {found}, and {max} are the most")]
    TooMany { what: &'static str, found: usize, max: usize },
    #[error("the cursor cannot be read; begin at the first page")]
    Cursor,
    #[error("the draft {id} is {state}, and only an open one can be decided")]
    DraftDecided { id: String, state: &'static str },
    #[error("the draft {id} is stale: the {kind} {name:?} has changed since it was proposed; propose it anew")]
    DraftStale { id: String, kind: ObjectKind, name: String },
    #[error("a draft is approved by somebody else than its author")]
    OwnDraft,
    #[error(transparent)]
    Credential(#[from] CredentialProblem),
    #[error("a row of the catalog cannot be read: {0}; put a backup of it back")]
    Unreadable(String),
}

/// Why what was shown lets nobody in. It says nothing of what was shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialProblem {
    #[error(
        "this is no API token; it begins with `tgp_` or `tgs_`, and its last six digits are a checksum: was it copied whole?"
    )]
    Malformed,
    #[error("nobody is let in with this")]
    Unknown,
    #[error("it has expired; make a new one")]
    Expired,
    #[error("the session is over; sign in again")]
    SessionOver,
    #[error("a password has 12 to 256 characters")]
    PasswordLength,
    #[error("a write key has 16 to 256 characters")]
    WriteKeyLength,
    #[error("too many passwords are being checked; try again in some seconds")]
    Busy,
}

impl From<NotAnObjectId> for CatalogError {
    fn from(problem: NotAnObjectId) -> Self {
        Self::Unreadable(problem.to_string())
    }
}

impl From<UnknownKind> for CatalogError {
    fn from(problem: UnknownKind) -> Self {
        Self::Unreadable(problem.to_string())
    }
}

impl From<serde_json::Error> for CatalogError {
    fn from(problem: serde_json::Error) -> Self {
        Self::Unreadable(problem.to_string())
    }
}

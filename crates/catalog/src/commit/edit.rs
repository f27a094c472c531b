//! What a change is made of, and what comes of it.

use serde::{Deserialize, Serialize};

use crate::audit::Actor;
use crate::object::{ManagingFolder, ObjectContent, ObjectId, ObjectKind};

/// One edit of one object.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectEdit {
    Create {
        id: ObjectId,
        content: ObjectContent,
    },
    /// The whole content anew; what the object is (kind, workspace) stays. With `expected`, only if that is its revision.
    Update {
        id: ObjectId,
        expected: Option<u64>,
        content: ObjectContent,
    },
    Delete {
        id: ObjectId,
        expected: Option<u64>,
    },
    /// From now on the files of a folder manage it.
    Adopt {
        id: ObjectId,
        expected: Option<u64>,
    },
    /// From now on nobody manages it.
    Release {
        id: ObjectId,
        expected: Option<u64>,
    },
    /// It stops for now, or goes on. What it says stays as it is, and so does who manages it.
    Pause {
        id: ObjectId,
        expected: Option<u64>,
        is_paused: bool,
    },
}

impl ObjectEdit {
    /// The object's id.
    #[must_use]
    pub const fn id(&self) -> Option<&ObjectId> {
        match self {
            Self::Create { id, .. }
            | Self::Update { id, .. }
            | Self::Delete { id, .. }
            | Self::Adopt { id, .. }
            | Self::Release { id, .. }
            | Self::Pause { id, .. } => Some(id),
        }
    }

    /// The content that it shall have.
    #[must_use]
    pub const fn content(&self) -> Option<&ObjectContent> {
        match self {
            Self::Create { content, .. } | Self::Update { content, .. } => Some(content),
            _ => None,
        }
    }

    pub(crate) const fn expected(&self) -> Option<u64> {
        match self {
            Self::Create { .. } => None,
            Self::Update { expected, .. }
            | Self::Delete { expected, .. }
            | Self::Adopt { expected, .. }
            | Self::Release { expected, .. }
            | Self::Pause { expected, .. } => *expected,
        }
    }

    /// As the audit log says it.
    pub(crate) const fn done(&self) -> &'static str {
        match self {
            Self::Create { .. } => "created",
            Self::Update { .. } => "updated",
            Self::Delete { .. } => "deleted",
            Self::Adopt { .. } => "adopted",
            Self::Release { .. } => "released",
            Self::Pause { is_paused: true, .. } => "paused",
            Self::Pause { is_paused: false, .. } => "resumed",
        }
    }
}

/// By which means a change comes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeOrigin {
    /// The files of the folder that the server reads: what is created and updated is managed by them from then on.
    Folder,
    /// The same of a folder that somebody applies from elsewhere.
    Applied,
    /// A person or a program, through the API. What a folder manages is read-only to it, unless it is forced; then the object has
    /// drifted.
    Api { is_forced: bool },
}

impl ChangeOrigin {
    /// The folder that manages what is created and updated.
    pub(super) const fn folder(self) -> Option<ManagingFolder> {
        match self {
            Self::Folder => Some(ManagingFolder::Server),
            Self::Applied => Some(ManagingFolder::Applied),
            Self::Api { .. } => None,
        }
    }
}

/// In whose name a change is made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Authority {
    /// The program's own: the folder at the start, the first admin. No right is asked for.
    Program,
    /// A user's or a token's. Their rights are those at the time of the change.
    Principal(ObjectId),
}

/// What tells a repeated request from a new one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the client chose it.
    pub key: String,
    /// SHA-256 of method, path and body.
    pub request_sha256: [u8; 32],
}

/// A change of one workspace.
#[derive(Debug, Clone, PartialEq)]
pub struct CatalogChange {
    pub workspace: String,
    pub edits: Vec<ObjectEdit>,
    /// Only if the catalog is at this revision.
    pub expected_revision: Option<u64>,
    pub origin: ChangeOrigin,
    pub authority: Authority,
    /// Who, for the audit log.
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
    pub idempotency: Option<IdempotencyKey>,
}

impl CatalogChange {
    /// A change by the program itself, at this time.
    #[must_use]
    pub fn by_program(workspace: &str, edits: Vec<ObjectEdit>, at_us: i64) -> Self {
        Self {
            workspace: workspace.to_owned(),
            edits,
            expected_revision: None,
            origin: ChangeOrigin::Api { is_forced: false },
            authority: Authority::Program,
            actor: Actor::default(),
            at_us,
            idempotency: None,
        }
    }

    /// A change by a user or a token, at this time.
    #[must_use]
    pub fn by(principal: &ObjectId, workspace: &str, edits: Vec<ObjectEdit>, at_us: i64) -> Self {
        let is_token = principal.kind() == ObjectKind::Token;
        let actor = Actor {
            principal: (!is_token).then(|| principal.clone()),
            token: is_token.then(|| principal.clone()),
            ..Actor::default()
        };
        let authority = Authority::Principal(principal.clone());
        Self { authority, actor, ..Self::by_program(workspace, edits, at_us) }
    }
}

/// What became of one edit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum EditDone {
    Created,
    Updated,
    Deleted,
    /// It was so already.
    Unchanged,
}

/// One object of a change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommittedObject {
    pub id: ObjectId,
    pub kind: ObjectKind,
    pub name: String,
    /// Of the object, after the change.
    pub revision: u64,
    pub done: EditDone,
}

/// A change that was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Committed {
    /// Of the catalog; where nothing differed, the one before.
    pub revision: u64,
    /// In the order of the edits.
    pub objects: Vec<CommittedObject>,
    /// The answer to an earlier request with the same idempotency key.
    #[serde(default)]
    pub is_repeated: bool,
}

//! Why somebody may not.

use super::grant::{AccessLevel, CreateRight};
use crate::object::ObjectKind;

/// The grant that is missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum MissingGrant {
    /// On an object, by kind and name.
    Access {
        level: AccessLevel,
        kind: ObjectKind,
        name: String,
    },
    /// View on the source or on the destination of a sync.
    EitherEnd {
        name: String,
    },
    Create(CreateRight),
    Reveal {
        kind: ObjectKind,
        name: String,
    },
    SeePayloads {
        kind: ObjectKind,
        name: String,
    },
    /// A role in the workspace, whichever.
    AnyRole {
        workspace: String,
    },
    Admin {
        workspace: String,
    },
    /// Only its maker or an admin may.
    Maker {
        name: String,
    },
    /// Tokens are a person's to make and to change, who signs in.
    Person,
    /// Nobody grants what he lacks: what was to be given, and where.
    Give {
        what: String,
        workspace: String,
    },
    /// There is no such verb.
    NoSuchVerb,
}

impl std::fmt::Display for MissingGrant {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Access { level, kind, name } => write!(f, "it needs `{}` on the {kind} {name:?}", level.name()),
            Self::EitherEnd { name } => {
                write!(f, "it needs `view` on the source or on the destination of the sync {name:?}")
            }
            Self::Create(right) => write!(f, "it needs the creation grant `{}` in the workspace", right.name()),
            Self::Reveal { kind, name } => write!(f, "it needs `reveal` on the {kind} {name:?}"),
            Self::SeePayloads { kind, name } => write!(f, "it needs `see_payloads` on the {kind} {name:?}"),
            Self::AnyRole { workspace } => write!(f, "it needs a role in the workspace {workspace:?}"),
            Self::Admin { workspace } => write!(f, "it needs the role `admin` in the workspace {workspace:?}"),
            Self::Maker { name } => write!(f, "only its maker or an admin may do that to {name:?}"),
            Self::Person => f.write_str(
                "a token makes and changes no tokens, and ends one only if it is a person's with all of their rights",
            ),
            Self::Give { what, workspace } => {
                write!(f, "nobody grants what they lack: it would give {what} in the workspace {workspace:?}")
            }
            Self::NoSuchVerb => f.write_str("there is no such action"),
        }
    }
}

/// An answer of no.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", self.told())]
pub struct Denial {
    pub missing: MissingGrant,
    /// The object may not even be viewed: the answer is that it is not there.
    pub is_hidden: bool,
    /// The same may be proposed as a draft.
    pub may_propose: bool,
    /// The token lacks it, whatever its maker may do.
    pub is_of_token: bool,
}

impl Denial {
    pub(super) const fn of(missing: MissingGrant) -> Self {
        Self { missing, is_hidden: false, may_propose: false, is_of_token: false }
    }

    /// HTTP's status: 404 for what may not be viewed, else 403.
    #[must_use]
    pub const fn status(&self) -> u16 {
        if self.is_hidden { 404 } else { 403 }
    }

    /// Of what may not be viewed nothing is told, not even its name.
    fn told(&self) -> String {
        if self.is_hidden {
            return "there is no such object".to_owned();
        }
        let advice = if self.may_propose {
            "; propose it as a draft for somebody else to approve"
        } else if self.is_of_token && self.missing != MissingGrant::Person {
            "; the token lacks it, whatever its maker may do"
        } else {
            ""
        };
        format!("not allowed: {}{advice}", self.missing)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_may_not_be_viewed_is_not_named() {
        let missing =
            MissingGrant::Access { level: AccessLevel::Manage, kind: ObjectKind::Source, name: "payroll".into() };
        let seen = Denial::of(missing);
        assert_eq!(
            (seen.status(), seen.to_string()),
            (403, "not allowed: it needs `manage` on the source \"payroll\"".into())
        );
        let hidden = Denial { is_hidden: true, ..seen };
        assert_eq!((hidden.status(), hidden.to_string()), (404, "there is no such object".into()));
    }
}

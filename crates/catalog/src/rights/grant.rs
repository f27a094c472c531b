//! What a role allows.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};

use super::target::TargetEnd;
use crate::object::{ObjectId, ObjectKind};

/// How much of an object somebody may use. The higher includes the lower.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum AccessLevel {
    View,
    /// To use it in a sync.
    Connect,
    Manage,
}

impl AccessLevel {
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::View => "view",
            Self::Connect => "connect",
            Self::Manage => "manage",
        }
    }
}

/// Which objects of the role's workspace: those that meet everything that is said. Nothing said is all of them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GrantScope {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<ObjectKind>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub object: Option<ObjectId>,
    /// `team=web`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
}

impl GrantScope {
    pub(super) fn matches(&self, end: &TargetEnd) -> bool {
        self.kind.is_none_or(|kind| kind == end.kind)
            && self.object.as_ref().is_none_or(|id| end.id.as_ref() == Some(id))
            && self.label.as_ref().is_none_or(|label| {
                label.split_once('=').is_some_and(|(key, value)| end.labels.get(key).is_some_and(|it| it == value))
            })
    }

    /// Whether every object of the other scope is in this one.
    pub(super) fn covers(&self, other: &Self) -> bool {
        let kind_of_other = other.kind.or_else(|| other.object.as_ref().map(ObjectId::kind));
        self.kind.is_none_or(|kind| kind_of_other == Some(kind))
            && self.object.as_ref().is_none_or(|id| other.object.as_ref() == Some(id))
            && self.label.as_ref().is_none_or(|label| other.label.as_ref() == Some(label))
    }
}

/// `{"level": "connect", "on": {"kind": "source", "label": "team=web"}}`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AccessGrant {
    pub level: AccessLevel,
    #[serde(default)]
    pub on: GrantScope,
}

/// What may be created in a workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CreateRight {
    Source,
    Destination,
    /// Domains, events and components.
    Contract,
    Function,
    Lookup,
    Secret,
    Alert,
}

impl CreateRight {
    pub(super) const ALL: [Self; 7] =
        [Self::Source, Self::Destination, Self::Contract, Self::Function, Self::Lookup, Self::Secret, Self::Alert];

    /// The grant that creating this kind needs. Syncs and write keys need those of what they belong to; users, groups and roles are
    /// an admin's; a token is made by whoever may use it.
    #[must_use]
    pub const fn of(kind: ObjectKind) -> Option<Self> {
        match kind {
            ObjectKind::Source => Some(Self::Source),
            ObjectKind::Destination => Some(Self::Destination),
            ObjectKind::Domain | ObjectKind::Event | ObjectKind::Component => Some(Self::Contract),
            ObjectKind::Function => Some(Self::Function),
            ObjectKind::Lookup => Some(Self::Lookup),
            ObjectKind::Secret => Some(Self::Secret),
            ObjectKind::Alert => Some(Self::Alert),
            ObjectKind::User
            | ObjectKind::Group
            | ObjectKind::Role
            | ObjectKind::Token
            | ObjectKind::WriteKey
            | ObjectKind::Sync => None,
        }
    }

    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Source => "source",
            Self::Destination => "destination",
            Self::Contract => "contract",
            Self::Function => "function",
            Self::Lookup => "lookup",
            Self::Secret => "secret",
            Self::Alert => "alert",
        }
    }
}

/// Everything that a role allows in a workspace: the spec of a role.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct RoleGrants {
    pub create: BTreeSet<CreateRight>,
    pub access: Vec<AccessGrant>,
    /// Secrets and write keys whose values may be read.
    pub reveal: Vec<GrantScope>,
    /// Sources and syncs whose events may be seen unmasked.
    pub see_payloads: Vec<GrantScope>,
    /// Changes are proposed, for somebody else to approve; at once one may only look.
    pub only_proposes: bool,
    /// Everything, in the prebuilt role alone.
    #[serde(skip)]
    pub is_admin: bool,
}

impl RoleGrants {
    /// The highest level that it gives on an object.
    pub(super) fn level(&self, end: &TargetEnd, is_proposal: bool) -> Option<AccessLevel> {
        let levels = self.access.iter().filter(|grant| grant.on.matches(end)).map(|grant| grant.level);
        let level = levels.max()?;
        Some(if self.only_proposes && !is_proposal { AccessLevel::View } else { level })
    }

    pub(super) fn creates(&self, right: CreateRight, is_proposal: bool) -> bool {
        self.create.contains(&right) && (is_proposal || !self.only_proposes)
    }
}

//! Who asks: a user or a token, with what their roles allow.

use std::collections::{BTreeMap, BTreeSet};

use super::grant::{AccessLevel, CreateRight, RoleGrants};
use super::target::TargetEnd;
use crate::object::ObjectId;

/// The workspace of roles that count in every workspace.
pub(super) const EVERYWHERE: &str = "*";

/// A user or a token with its roles, as they are now. Made by [`crate::rights::Directory::principal`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActingPrincipal {
    /// The user or the token.
    pub id: ObjectId,
    /// The user, or the maker of the token.
    pub person: ObjectId,
    /// When a token ends, microseconds since the epoch; a user does not.
    pub expires_at_us: Option<i64>,
    /// By workspace; under `*` those that count everywhere.
    pub(super) roles: BTreeMap<String, Vec<RoleGrants>>,
    /// What counts as made by it: its own id, and those of a user's tokens.
    pub(super) owns_as: BTreeSet<ObjectId>,
    /// Of a token: its maker, whose rights bound its own.
    pub(super) maker: Option<Box<Self>>,
    /// Of a token: it is a person's and has all of their rights, and so may end tokens that they may end.
    pub(super) ends_tokens: bool,
}

impl ActingPrincipal {
    #[must_use]
    pub const fn is_token(&self) -> bool {
        self.maker.is_some()
    }

    /// Whether any role counts in a workspace, and for a token one of its maker's too.
    #[must_use]
    pub fn has_role_in(&self, workspace: &str) -> bool {
        let is_own = self.roles_in(workspace).next().is_some();
        is_own && self.maker.as_ref().is_none_or(|maker| maker.has_role_in(workspace))
    }

    /// The roles that count in a workspace.
    pub(super) fn roles_in<'p>(&'p self, workspace: &'p str) -> impl Iterator<Item = &'p RoleGrants> {
        [EVERYWHERE, workspace].into_iter().filter_map(|place| self.roles.get(place)).flatten()
    }

    /// Whether it is an admin of the workspace, of itself: the maker of a token is asked apart.
    pub(super) fn is_admin_in(&self, workspace: &str) -> bool {
        self.roles_in(workspace).any(|role| role.is_admin)
    }

    /// Whether it may do everything in every workspace; for a token, of itself and by its maker.
    pub(crate) fn is_admin_everywhere(&self) -> bool {
        self.is_admin_in(EVERYWHERE) && self.maker.as_ref().is_none_or(|maker| maker.is_admin_in(EVERYWHERE))
    }

    /// The highest level on an object. Who has made it manages it, as long as they may make such objects.
    pub(super) fn level(&self, workspace: &str, end: &TargetEnd, is_proposal: bool) -> Option<AccessLevel> {
        let is_owner = end.owner.as_ref().is_some_and(|owner| self.owns_as.contains(owner));
        let may_make = CreateRight::of(end.kind).is_some_and(|right| self.creates(workspace, right, is_proposal));
        if is_owner && may_make {
            return Some(AccessLevel::Manage);
        }
        self.roles_in(workspace).filter_map(|role| role.level(end, is_proposal)).max()
    }

    pub(super) fn creates(&self, workspace: &str, right: CreateRight, is_proposal: bool) -> bool {
        self.roles_in(workspace).any(|role| role.creates(right, is_proposal))
    }
}

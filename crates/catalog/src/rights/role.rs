//! The roles that are there from the start.

use super::grant::{AccessGrant, AccessLevel, CreateRight, GrantScope, RoleGrants};
use crate::object::ObjectKind;

/// Their names, which no custom role may have.
pub const PREBUILT_ROLES: [&str; 4] = ["admin", "editor", "draft_editor", "viewer"];

/// Kinds that everybody with a role may look at. Tokens are their makers'.
const VIEWED: [ObjectKind; 13] = [
    ObjectKind::User,
    ObjectKind::Group,
    ObjectKind::Role,
    ObjectKind::Secret,
    ObjectKind::Lookup,
    ObjectKind::Function,
    ObjectKind::Domain,
    ObjectKind::Component,
    ObjectKind::Event,
    ObjectKind::Source,
    ObjectKind::Destination,
    ObjectKind::Alert,
    ObjectKind::Sync,
];

/// Kinds that an editor changes.
const EDITED: [ObjectKind; 9] = [
    ObjectKind::Secret,
    ObjectKind::Lookup,
    ObjectKind::Function,
    ObjectKind::Domain,
    ObjectKind::Component,
    ObjectKind::Event,
    ObjectKind::Source,
    ObjectKind::Destination,
    ObjectKind::Alert,
];

/// What a prebuilt role allows. Revealing and seeing payloads are an admin's alone; a custom role gives them to others.
pub(super) fn prebuilt(name: &str) -> Option<RoleGrants> {
    let on = |level, kinds: &[ObjectKind]| -> Vec<AccessGrant> {
        let scope = |kind: &ObjectKind| GrantScope { kind: Some(*kind), ..GrantScope::default() };
        kinds.iter().map(|kind| AccessGrant { level, on: scope(kind) }).collect()
    };
    let editor = || RoleGrants {
        create: CreateRight::ALL.into(),
        access: [on(AccessLevel::View, &VIEWED), on(AccessLevel::Manage, &EDITED)].concat(),
        ..RoleGrants::default()
    };
    match name {
        "admin" => Some(RoleGrants { is_admin: true, ..RoleGrants::default() }),
        "editor" => Some(editor()),
        "draft_editor" => Some(RoleGrants { only_proposes: true, ..editor() }),
        "viewer" => Some(RoleGrants { access: on(AccessLevel::View, &VIEWED), ..RoleGrants::default() }),
        _ => None,
    }
}

/// Every prebuilt role with what it allows.
#[must_use]
pub fn prebuilt_roles() -> Vec<(&'static str, RoleGrants)> {
    PREBUILT_ROLES.into_iter().filter_map(|name| prebuilt(name).map(|grants| (name, grants))).collect()
}

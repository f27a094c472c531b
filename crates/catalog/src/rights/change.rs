//! A change of an object: the right to it, and what it would give to others.

use std::collections::BTreeSet;

use serde::Deserialize as _;

use super::authorise::authorise;
use super::denial::{Denial, MissingGrant};
use super::directory::{Directory, GroupSpec, TokenSpec};
use super::give::may_give;
use super::principal::ActingPrincipal;
use super::target::RightsTarget;
use super::verb::{CatalogAction, Verb};
use crate::object::{CatalogObject, ObjectContent, ObjectKind};
use crate::references::{ObjectReference, judged_sources, references};

/// What a change makes of one object.
pub(crate) struct ChangedObject<'a> {
    pub(crate) workspace: &'a str,
    /// None when it is created.
    pub(crate) before: Option<&'a CatalogObject>,
    /// None when it is deleted.
    pub(crate) after: Option<&'a ObjectContent>,
    /// It passes to or from the files of a folder.
    pub(crate) is_adoption: bool,
    pub(crate) is_proposal: bool,
}

/// Whether a principal may make this change. `named` finds living objects of the workspace, and those that the same change makes.
///
/// # Errors
/// The first grant that is missing.
pub(crate) fn authorise_change<'o>(
    principal: &ActingPrincipal,
    directory: &Directory,
    change: &ChangedObject<'_>,
    named: impl Fn(ObjectKind, &str) -> Option<&'o CatalogObject> + Copy,
) -> Result<(), Denial> {
    let verb = match (change.before, change.after) {
        _ if change.is_adoption => Verb::Adopt,
        (None, _) => Verb::Create,
        (Some(_), Some(_)) => Verb::Update,
        (Some(_), None) => Verb::Delete,
    };
    let old = change.before.map(|object| RightsTarget::of(object, named));
    let new = change.after.map(|content| RightsTarget::of_new(change.workspace, content, named));
    let target = match (old, new) {
        (Some(old), Some(new)) => old.and_ends_of(new),
        (Some(target), None) | (None, Some(target)) => target,
        (None, None) => return Ok(()),
    };
    authorise(principal, CatalogAction { verb, is_proposal: change.is_proposal }, &target)?;
    names_others(principal, change, named)?;
    match target.object.kind {
        ObjectKind::Group => gives_by_group(principal, directory, change),
        ObjectKind::User => reaches_user(principal, directory, change),
        ObjectKind::Token => gives_by_token(principal, change),
        _ => Ok(()),
    }
}

/// What a spec names and did not name before, it takes `connect` to name: else a secret could be sent anywhere, and a function
/// be put before any source. A domain names the sources whose events it judges. Of a sync and a write key the ends were asked for already.
fn names_others<'o>(
    principal: &ActingPrincipal,
    change: &ChangedObject<'_>,
    named: impl Fn(ObjectKind, &str) -> Option<&'o CatalogObject> + Copy,
) -> Result<(), Denial> {
    let before = change.before.map(|object| named_by(&object.content)).unwrap_or_default();
    let Some(after) = change.after else { return Ok(()) };
    let has_ends = matches!(after.kind, ObjectKind::Sync | ObjectKind::WriteKey);
    let new = named_by(after).into_iter().filter(|reference| !before.contains(reference));
    for reference in new.filter(|reference| !has_ends || reference.kind == ObjectKind::Secret) {
        let target = RightsTarget::of_named(change.workspace, reference, named);
        let action = CatalogAction { verb: Verb::Connect, is_proposal: change.is_proposal };
        // It is the object that is changed which may be seen, or not.
        authorise(principal, action, &target).map_err(|denial| Denial { is_hidden: false, ..denial })?;
    }
    Ok(())
}

/// What it takes `connect` to name.
fn named_by(content: &ObjectContent) -> BTreeSet<ObjectReference> {
    let mut named = references(content);
    named.extend(judged_sources(content));
    named
}

/// A new member gets all roles of the group; a new role goes to all members.
fn gives_by_group(
    principal: &ActingPrincipal,
    directory: &Directory,
    change: &ChangedObject<'_>,
) -> Result<(), Denial> {
    let group = |content: &ObjectContent| GroupSpec::deserialize(&content.spec).unwrap_or_default();
    let before = change.before.map(|object| group(&object.content)).unwrap_or_default();
    let Some(after) = change.after.map(group) else { return Ok(()) };
    let has_new_member = !after.members.is_subset(&before.members);
    for (workspace, name) in &after.roles {
        if has_new_member || before.roles.get(workspace) != Some(name) {
            let role = directory.role(workspace, name).unwrap_or_default();
            may_give(principal, workspace, &role)?;
        }
    }
    Ok(())
}

/// Whoever may change a user can sign in as that user: so it takes all that the user has.
fn reaches_user(principal: &ActingPrincipal, directory: &Directory, change: &ChangedObject<'_>) -> Result<(), Denial> {
    let Some(user) = change.before else { return Ok(()) };
    for (workspace, roles) in directory.roles_of(&user.id) {
        roles.iter().try_for_each(|role| may_give(principal, &workspace, role))?;
    }
    Ok(())
}

/// A token is made by the one whose it is, gets nothing that they lack, and stays as it was made.
fn gives_by_token(principal: &ActingPrincipal, change: &ChangedObject<'_>) -> Result<(), Denial> {
    let Some(after) = change.after else { return Ok(()) };
    let lacking =
        |what: &str| Denial::of(MissingGrant::Give { what: what.to_owned(), workspace: change.workspace.to_owned() });
    let Ok(token) = TokenSpec::deserialize(&after.spec) else { return Err(lacking("a token that cannot be read")) };
    let before = change.before.and_then(|object| TokenSpec::deserialize(&object.content.spec).ok());
    if let Some(before) = before {
        let is_kept = before.grants == token.grants && before.maker == token.maker && before.form == token.form;
        return if is_kept && token.expires_at_us <= before.expires_at_us {
            Ok(())
        } else {
            Err(lacking("more to a token than it was made with; make another token"))
        };
    }
    if token.maker != principal.person {
        return Err(lacking("a token in the name of somebody else"));
    }
    token.grants.map_or(Ok(()), |grants| may_give(principal, change.workspace, &grants))
}

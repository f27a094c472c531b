//! Nobody grants what they lack.

use super::denial::{Denial, MissingGrant};
use super::grant::{AccessGrant, GrantScope, RoleGrants};
use super::principal::{ActingPrincipal, EVERYWHERE};

/// Whether a principal has all that a role would give in a workspace (`*` for all of them).
///
/// # Errors
/// Something that the role gives and the principal lacks.
pub fn may_give(principal: &ActingPrincipal, workspace: &str, role: &RoleGrants) -> Result<(), Denial> {
    if let Some(maker) = &principal.maker {
        may_give(maker, workspace, role)?;
    }
    // What counts everywhere is had by whoever has it everywhere.
    let own: Vec<&RoleGrants> = if workspace == EVERYWHERE {
        principal.roles.get(EVERYWHERE).into_iter().flatten().collect()
    } else {
        principal.roles_in(workspace).collect()
    };
    if own.iter().any(|own| own.is_admin) {
        return Ok(());
    }
    let lacking = |what: String| Denial {
        is_of_token: principal.is_token(),
        ..Denial::of(MissingGrant::Give { what, workspace: workspace.to_owned() })
    };
    if role.is_admin {
        return Err(lacking("the role `admin`".to_owned()));
    }
    let acts_at_once = |own: &&&RoleGrants| role.only_proposes || !own.only_proposes;
    for right in &role.create {
        if !own.iter().filter(acts_at_once).any(|own| own.create.contains(right)) {
            return Err(lacking(format!("the creation grant `{}`", right.name())));
        }
    }
    for grant in &role.access {
        let has = |own: &&RoleGrants| own.access.iter().any(|own| own.level >= grant.level && own.on.covers(&grant.on));
        if !own.iter().filter(acts_at_once).any(has) {
            return Err(lacking(shown(grant)));
        }
    }
    let covered = |wanted: &[GrantScope], had: fn(&RoleGrants) -> &[GrantScope]| {
        wanted.iter().all(|scope| own.iter().any(|own| had(own).iter().any(|had| had.covers(scope))))
    };
    if !covered(&role.reveal, |role| &role.reveal) {
        return Err(lacking("`reveal`".to_owned()));
    }
    if !covered(&role.see_payloads, |role| &role.see_payloads) {
        return Err(lacking("`see_payloads`".to_owned()));
    }
    Ok(())
}

fn shown(grant: &AccessGrant) -> String {
    let GrantScope { kind, object, label } = &grant.on;
    let kind = kind.map_or("all objects".to_owned(), |kind| format!("every {kind}"));
    let object = object.as_ref().map(|id| format!(" with the id {id}")).unwrap_or_default();
    let label = label.as_ref().map(|label| format!(" with the label {label:?}")).unwrap_or_default();
    format!("`{}` on {kind}{object}{label}", grant.level.name())
}

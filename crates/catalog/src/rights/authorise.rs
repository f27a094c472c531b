//! The one question.

use super::denial::{Denial, MissingGrant};
use super::grant::{AccessLevel, CreateRight};
use super::principal::ActingPrincipal;
use super::target::{RightsTarget, TargetEnd};
use super::verb::{CatalogAction, Verb};
use crate::object::ObjectKind;

/// Whether a principal may do this to an object. Of a token both are asked, the token and its maker.
///
/// # Errors
/// The first grant that is missing, and whether the object may be viewed at all.
pub fn authorise(principal: &ActingPrincipal, action: CatalogAction, target: &RightsTarget) -> Result<(), Denial> {
    if let Some(maker) = &principal.maker {
        authorise(maker, action, target)?;
    }
    let own = Asked { principal, target, is_proposal: action.is_proposal };
    own.may(action.verb).map_err(|missing| {
        let proposed = Asked { is_proposal: true, ..own };
        let may_propose =
            !action.is_proposal && is_proposable(action.verb, target.object.kind) && proposed.may(action.verb).is_ok();
        let is_hidden = own.may(Verb::View).is_err() && !own.is_of_nothing(action.verb);
        Denial { missing, is_hidden, may_propose, is_of_token: principal.is_token() }
    })
}

/// What becomes a draft: a change of what the catalog says. A value that is in no spec is in no draft.
const fn is_proposable(verb: Verb, kind: ObjectKind) -> bool {
    let has_value = matches!(kind, ObjectKind::Secret | ObjectKind::Token | ObjectKind::WriteKey);
    match verb {
        Verb::Create | Verb::Update => !has_value,
        Verb::Delete => true,
        _ => false,
    }
}

#[derive(Clone, Copy)]
struct Asked<'a> {
    principal: &'a ActingPrincipal,
    target: &'a RightsTarget,
    is_proposal: bool,
}

impl Asked<'_> {
    fn workspace(&self) -> &str {
        &self.target.workspace
    }

    /// There is no object yet that could be hidden, and the workspace itself is not.
    fn is_of_nothing(&self, verb: Verb) -> bool {
        let is_about_no_object = matches!(verb, Verb::Create | Verb::ReadAudit | Verb::PurgeAudit);
        is_about_no_object && self.principal.roles_in(self.workspace()).next().is_some()
    }

    fn may(&self, verb: Verb) -> Result<(), MissingGrant> {
        if verb == Verb::Unknown {
            return Err(MissingGrant::NoSuchVerb);
        }
        let kind = self.target.object.kind;
        if kind == ObjectKind::Token && self.principal.is_token() && !self.is_for_tokens(verb) {
            return Err(MissingGrant::Person);
        }
        if self.principal.is_admin_in(self.workspace()) {
            return Ok(());
        }
        match (kind, verb) {
            (_, Verb::ReadAudit | Verb::PurgeAudit) => Err(self.admin()),
            (ObjectKind::Sync, _) => self.may_sync(verb),
            (ObjectKind::WriteKey, _) => self.may_write_key(verb),
            (ObjectKind::Token, _) => self.may_token(verb),
            (ObjectKind::User, Verb::View) if self.target.object.id.as_ref() == Some(&self.principal.person) => Ok(()),
            (ObjectKind::User | ObjectKind::Group | ObjectKind::Role, verb) if verb != Verb::View => Err(self.admin()),
            (kind, Verb::Create) => match CreateRight::of(kind) {
                Some(right) if self.principal.creates(self.workspace(), right, self.is_proposal) => Ok(()),
                Some(right) => Err(MissingGrant::Create(right)),
                None => Err(self.admin()),
            },
            (_, verb) => self.may_end(verb, &self.target.object),
        }
    }

    /// What a token may do to tokens: none makes or changes one, and to end one that leaked takes no other way in.
    fn is_for_tokens(&self, verb: Verb) -> bool {
        verb == Verb::View || (verb == Verb::Delete && self.principal.ends_tokens)
    }

    fn admin(&self) -> MissingGrant {
        MissingGrant::Admin { workspace: self.workspace().to_owned() }
    }

    /// An object with grants of its own.
    fn may_end(&self, verb: Verb, end: &TargetEnd) -> Result<(), MissingGrant> {
        match verb {
            Verb::View => self.has(AccessLevel::View, end),
            Verb::Connect => self.has(AccessLevel::Connect, end),
            Verb::Reveal => {
                self.has(AccessLevel::View, end)?;
                let mut scopes = self.principal.roles_in(self.workspace()).flat_map(|role| &role.reveal);
                let missing = || MissingGrant::Reveal { kind: end.kind, name: end.name.clone() };
                scopes.any(|scope| scope.matches(end)).then_some(()).ok_or_else(missing)
            }
            Verb::SeePayloads => {
                self.has(AccessLevel::View, end)?;
                let mut scopes = self.principal.roles_in(self.workspace()).flat_map(|role| &role.see_payloads);
                let missing = || MissingGrant::SeePayloads { kind: end.kind, name: end.name.clone() };
                scopes.any(|scope| scope.matches(end)).then_some(()).ok_or_else(missing)
            }
            _ => self.has(AccessLevel::Manage, end),
        }
    }

    fn has(&self, level: AccessLevel, end: &TargetEnd) -> Result<(), MissingGrant> {
        let found = self.principal.level(self.workspace(), end, self.is_proposal);
        let missing = || MissingGrant::Access { level, kind: end.kind, name: end.name.clone() };
        if found.is_some_and(|found| found >= level) { Ok(()) } else { Err(missing()) }
    }

    /// A sync has no grants: those on its ends count.
    fn may_sync(&self, verb: Verb) -> Result<(), MissingGrant> {
        let ends = &self.target.ends;
        let is_end = |end: &&TargetEnd| matches!(end.kind, ObjectKind::Source | ObjectKind::Destination);
        match verb {
            Verb::View => {
                let seen = ends.iter().filter(is_end).any(|end| self.has(AccessLevel::View, end).is_ok());
                let missing = || MissingGrant::EitherEnd { name: self.target.object.name.clone() };
                if seen { Ok(()) } else { Err(missing()) }
            }
            Verb::Reveal | Verb::SeePayloads => {
                ends.iter().filter(is_end).try_for_each(|end| self.may_end(verb, end))?;
                self.has_both_ends()
            }
            _ => {
                ends.iter().try_for_each(|end| self.has(AccessLevel::Connect, end))?;
                self.has_both_ends()
            }
        }
    }

    /// A sync that names no source or no destination is nobody's but an admin's.
    fn has_both_ends(&self) -> Result<(), MissingGrant> {
        let has = |kind| self.target.ends.iter().any(|end| end.kind == kind);
        if has(ObjectKind::Source) && has(ObjectKind::Destination) { Ok(()) } else { Err(self.admin()) }
    }

    /// A write key has the grants of its source.
    fn may_write_key(&self, verb: Verb) -> Result<(), MissingGrant> {
        if self.target.ends.is_empty() {
            return Err(self.admin());
        }
        let verb = if verb == Verb::Create { Verb::Update } else { verb };
        self.target.ends.iter().try_for_each(|source| self.may_end(verb, source))
    }

    /// A token is its maker's.
    fn may_token(&self, verb: Verb) -> Result<(), MissingGrant> {
        let object = &self.target.object;
        let is_own = object.id.as_ref() == Some(&self.principal.id)
            || object.owner.as_ref().is_some_and(|owner| self.principal.owns_as.contains(owner));
        let has_role = self.principal.roles_in(self.workspace()).next().is_some();
        match verb {
            Verb::Create if has_role => Ok(()),
            Verb::Create => Err(MissingGrant::AnyRole { workspace: self.workspace().to_owned() }),
            Verb::View | Verb::Update | Verb::Delete if is_own => Ok(()),
            _ => Err(MissingGrant::Maker { name: object.name.clone() }),
        }
    }
}

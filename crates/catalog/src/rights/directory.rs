//! Users, groups, roles and tokens: who a principal is, and what its roles allow now.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::grant::RoleGrants;
use super::principal::{ActingPrincipal, EVERYWHERE};
use super::role::prebuilt;
use crate::object::{CatalogObject, ObjectId, ObjectKind, SERVER_WORKSPACE};

/// Who a user is at an identity provider. An address of mail is never an identity.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserIdentity {
    pub issuer: String,
    pub subject: String,
}

/// The spec of a user.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct UserSpec {
    pub email: Option<String>,
    pub display_name: Option<String>,
    /// May not sign in, and neither may their tokens.
    pub is_disabled: bool,
    pub identities: BTreeSet<UserIdentity>,
}

/// The spec of a group.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct GroupSpec {
    pub members: BTreeSet<ObjectId>,
    /// By workspace (`*` for all, the server's own included) the name of a role: a prebuilt one, or one of that workspace; under `*` one of
    /// the server's.
    pub roles: BTreeMap<String, String>,
}

impl GroupSpec {
    /// Whether the spec of a group names a role of a workspace. One that cannot be read names none.
    pub(crate) fn names(spec: &serde_json::Value, workspace: &str, role: &str) -> bool {
        let Ok(group) = Self::deserialize(spec) else { return false };
        group.roles.iter().any(|(place, name)| name == role && home(place) == workspace)
    }
}

/// The workspace whose role is meant where roles count: under `*` the server's own.
fn home(place: &str) -> &str {
    if place == EVERYWHERE { SERVER_WORKSPACE } else { place }
}

/// Whose a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenForm {
    /// `tgp_`: a person's, who works with programs.
    Person,
    /// `tgs_`: a program's.
    Service,
}

/// The spec of a token. What it may do is fixed when it is made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TokenSpec {
    pub form: TokenForm,
    /// The user who made it, whose rights bound it whenever it is used.
    pub maker: ObjectId,
    /// None: of a person's token all that its maker may do, in every workspace; of a program's, all that they may do in the token's.
    pub grants: Option<RoleGrants>,
    pub last4: String,
    /// Microseconds since the Unix epoch, UTC.
    pub expires_at_us: i64,
}

impl TokenSpec {
    /// Whether it is a person's with all of their rights: what is done with it is theirs.
    pub(crate) fn stands_for_person(&self) -> bool {
        self.form == TokenForm::Person && self.grants.is_none()
    }
}

/// Why somebody is no principal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrincipalProblem {
    #[error("there is no user or token {0}")]
    Absent(ObjectId),
    #[error("the user {0} is disabled")]
    Disabled(ObjectId),
    #[error("the token {0} has expired")]
    Expired(ObjectId),
    #[error("the spec of {0} cannot be read")]
    Unreadable(ObjectId),
}

/// All users, groups, roles and tokens of a server, of one revision.
#[derive(Debug, Clone, Default)]
pub struct Directory {
    users: BTreeMap<ObjectId, UserSpec>,
    groups: BTreeMap<ObjectId, GroupSpec>,
    /// By workspace and name.
    roles: BTreeMap<(String, String), RoleGrants>,
    tokens: BTreeMap<ObjectId, (String, TokenSpec)>,
    unreadable: BTreeSet<ObjectId>,
}

impl Directory {
    /// Reads the specs. One that cannot be read gives nobody a right.
    #[must_use]
    pub fn of<'o>(objects: impl IntoIterator<Item = &'o CatalogObject>) -> Self {
        let mut directory = Self::default();
        for object in objects {
            directory.add(object);
        }
        directory
    }

    fn add(&mut self, object: &CatalogObject) {
        let (id, spec) = (object.id.clone(), &object.content.spec);
        let is_read = match object.content.kind {
            ObjectKind::User => UserSpec::deserialize(spec).map(|user| _ = self.users.insert(id.clone(), user)),
            ObjectKind::Group => GroupSpec::deserialize(spec).map(|group| _ = self.groups.insert(id.clone(), group)),
            ObjectKind::Token => TokenSpec::deserialize(spec)
                .map(|token| _ = self.tokens.insert(id.clone(), (object.workspace.clone(), token))),
            ObjectKind::Role => RoleGrants::deserialize(spec).map(|role| {
                self.roles.insert((object.workspace.clone(), object.content.name.clone()), role);
            }),
            _ => Ok(()),
        };
        if is_read.is_err() {
            self.unreadable.insert(id);
        }
    }

    /// A user or a token with all that its roles allow at `now_us`.
    ///
    /// # Errors
    /// It is not there, disabled, or expired.
    pub fn principal(&self, id: &ObjectId, now_us: i64) -> Result<ActingPrincipal, PrincipalProblem> {
        if self.unreadable.contains(id) {
            return Err(PrincipalProblem::Unreadable(id.clone()));
        }
        let absent = || PrincipalProblem::Absent(id.clone());
        if let Some((workspace, token)) = self.tokens.get(id) {
            return self.token(id, workspace, token, now_us);
        }
        let user = self.users.get(id).ok_or_else(absent)?;
        if user.is_disabled {
            return Err(PrincipalProblem::Disabled(id.clone()));
        }
        let tokens = self.tokens.iter().filter(|(_, (_, token))| token.maker == *id).map(|(token, _)| token.clone());
        Ok(ActingPrincipal {
            id: id.clone(),
            person: id.clone(),
            expires_at_us: None,
            roles: self.roles_of(id),
            owns_as: tokens.chain([id.clone()]).collect(),
            maker: None,
            ends_tokens: true,
        })
    }

    fn token(
        &self,
        id: &ObjectId,
        workspace: &str,
        token: &TokenSpec,
        now_us: i64,
    ) -> Result<ActingPrincipal, PrincipalProblem> {
        if token.expires_at_us <= now_us {
            return Err(PrincipalProblem::Expired(id.clone()));
        }
        let maker = self.principal(&token.maker, now_us)?;
        let here = |roles: Vec<RoleGrants>| BTreeMap::from([(workspace.to_owned(), roles)]);
        let roles = match (&token.grants, token.form) {
            (Some(grants), _) => here(vec![grants.clone()]),
            (None, TokenForm::Person) => maker.roles.clone(),
            (None, TokenForm::Service) => here(maker.roles_in(workspace).cloned().collect()),
        };
        Ok(ActingPrincipal {
            id: id.clone(),
            person: token.maker.clone(),
            expires_at_us: Some(token.expires_at_us),
            roles,
            // With all of its maker's rights goes what its maker made.
            owns_as: if token.grants.is_some() { [id.clone()].into() } else { maker.owns_as.clone() },
            maker: Some(Box::new(maker)),
            ends_tokens: token.stands_for_person(),
        })
    }

    /// The roles of a user by workspace, from all their groups.
    pub(super) fn roles_of(&self, user: &ObjectId) -> BTreeMap<String, Vec<RoleGrants>> {
        let mut roles: BTreeMap<String, Vec<RoleGrants>> = BTreeMap::new();
        for group in self.groups.values().filter(|group| group.members.contains(user)) {
            for (workspace, name) in &group.roles {
                roles.entry(workspace.clone()).or_default().extend(self.role(workspace, name));
            }
        }
        roles
    }

    /// A role by its name in a workspace.
    #[must_use]
    pub fn role(&self, workspace: &str, name: &str) -> Option<RoleGrants> {
        prebuilt(name).or_else(|| self.roles.get(&(home(workspace).to_owned(), name.to_owned())).cloned())
    }

    /// The user of an identity. None as well when two users claim it.
    #[must_use]
    pub fn user_of(&self, identity: &UserIdentity) -> Option<&ObjectId> {
        let mut found = self.users.iter().filter(|(_, user)| user.identities.contains(identity)).map(|(id, _)| id);
        found.next().filter(|_| found.next().is_none())
    }

    /// Whether any user has this identity.
    #[must_use]
    pub fn is_claimed(&self, identity: &UserIdentity) -> bool {
        self.users.values().any(|user| user.identities.contains(identity))
    }

    /// Whether anybody may still manage users and groups.
    #[must_use]
    pub fn has_admin(&self) -> bool {
        let enabled = self.users.iter().filter(|(_, user)| !user.is_disabled);
        enabled.into_iter().any(|(id, _)| {
            let roles = self.roles_of(id);
            [EVERYWHERE, SERVER_WORKSPACE].iter().filter_map(|place| roles.get(*place)).flatten().any(|it| it.is_admin)
        })
    }
}

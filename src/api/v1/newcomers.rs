//! People whom a provider has proven: the user that they are here, made if that is wanted, and the groups that the provider says.

use std::collections::BTreeSet;

use data_encoding::HEXLOWER;
use hyper::StatusCode;
use serde::Deserialize as _;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tidegate_catalog::{
    AuditResult, CatalogChange, CatalogError, GroupSpec, Labels, ObjectContent, ObjectEdit, ObjectId, ObjectKind,
    SERVER_WORKSPACE, UserIdentity, UserSpec,
};
use tidegate_oidc::{OidcError, ProvenIdentity, ProviderSettings};

use super::login::of_user;
use super::visitor::Visitor;
use crate::api::SharedApi;
use crate::api::login::refused_by;
use crate::api::refusal::ApiRefusal;

/// Somebody else may change a group, or make a user, in the same moment.
const ATTEMPTS_MAX: usize = 4;
/// Of a name, with room for what tells two of a name apart.
const NAME_CHARS_MAX: usize = 180;

/// Why somebody did not become a user.
enum NotEntered {
    Refused(Box<ApiRefusal>),
    /// Somebody has changed the same meanwhile.
    Changed(CatalogError),
}

impl SharedApi {
    /// The user that a provider has proven, with their groups as the provider says them now. It is in the audit log either way.
    pub(super) async fn enter_by(
        &self,
        visitor: &Visitor,
        provider: &str,
        proven: Result<ProvenIdentity, OidcError>,
    ) -> Result<ObjectId, ApiRefusal> {
        let settings = self.login.provider(provider)?.settings();
        let entered = match proven {
            Ok(proven) => self.user_of(visitor, settings, &proven).await,
            Err(error) => Err(refused_by(provider, &error)),
        };
        let (actor, record) = match &entered {
            Ok(user) => {
                let detail = json!({ "with": provider });
                (visitor.acting_as(user), of_user("signed_in", AuditResult::Done, Some(user), detail))
            }
            Err(refusal) => {
                let detail = json!({ "with": provider, "why": refusal.detail() });
                (visitor.actor.clone(), of_user("signed_in", AuditResult::Denied, None, detail))
            }
        };
        let recorded = self.settings.catalog.catalog.record(&actor, visitor.at_us, record).await;
        recorded.map_err(|error| self.refused(error))?;
        entered
    }

    async fn user_of(
        &self,
        visitor: &Visitor,
        settings: &ProviderSettings,
        proven: &ProvenIdentity,
    ) -> Result<ObjectId, ApiRefusal> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.try_user_of(visitor, settings, proven).await {
                Ok(user) => return Ok(user),
                Err(NotEntered::Refused(refusal)) => return Err(*refusal),
                Err(NotEntered::Changed(error)) if attempts >= ATTEMPTS_MAX => return Err(self.refused(error)),
                Err(NotEntered::Changed(_)) => {}
            }
        }
    }

    async fn try_user_of(
        &self,
        visitor: &Visitor,
        settings: &ProviderSettings,
        proven: &ProvenIdentity,
    ) -> Result<ObjectId, NotEntered> {
        let failed = |error: CatalogError| NotEntered::Refused(Box::new(self.refused(error)));
        let catalog = &self.settings.catalog.catalog;
        let identity = UserIdentity { issuer: proven.issuer.clone(), subject: proven.subject.clone() };
        let directory = catalog.directory().await.map_err(failed)?;
        let mut edits = Vec::new();
        let user = match directory.user_of(&identity) {
            Some(user) => {
                if directory.principal(user, visitor.at_us).is_err() {
                    return Err(NotEntered::Refused(Box::new(disabled())));
                }
                user.clone()
            }
            None if directory.is_claimed(&identity) => return Err(NotEntered::Refused(Box::new(of_two()))),
            None if settings.create_users => {
                let user = catalog.new_id(ObjectKind::User);
                let content = self.new_user(proven, identity).await.map_err(failed)?;
                edits.push(ObjectEdit::Create { id: user.clone(), content });
                user
            }
            None => return Err(NotEntered::Refused(Box::new(unknown(&identity)))),
        };
        edits.extend(self.group_edits(&user, settings, proven).await.map_err(failed)?);
        if edits.is_empty() {
            return Ok(user);
        }
        let change = CatalogChange {
            actor: visitor.acting_as(&user),
            ..CatalogChange::by_program(SERVER_WORKSPACE, edits, visitor.at_us)
        };
        match catalog.commit(&change).await {
            Ok(_) => Ok(user),
            Err(error @ (CatalogError::Conflict { .. } | CatalogError::NameTaken { .. })) => {
                Err(NotEntered::Changed(error))
            }
            Err(error) => Err(failed(error)),
        }
    }

    /// A user with a name that nobody has.
    async fn new_user(&self, proven: &ProvenIdentity, identity: UserIdentity) -> Result<ObjectContent, CatalogError> {
        let subject = || proven.subject.chars().filter(|c| !c.is_control()).collect::<String>().trim().to_owned();
        let name = proven.user_name.clone().or_else(|| proven.email.clone()).unwrap_or_else(subject);
        let name: String = name.chars().take(NAME_CHARS_MAX).collect();
        let name = if name.trim().is_empty() { "user".to_owned() } else { name.trim().to_owned() };
        let there = self.settings.catalog.catalog.find(SERVER_WORKSPACE, ObjectKind::User, &name).await?;
        let name = if there.is_some() { format!("{name} ({})", told_apart(&identity)) } else { name };
        let spec = UserSpec {
            email: proven.email.clone(),
            display_name: proven.display_name.clone(),
            is_disabled: false,
            identities: BTreeSet::from([identity]),
        };
        let spec = serde_json::to_value(spec)?;
        Ok(ObjectContent { kind: ObjectKind::User, name, labels: Labels::new(), owner: None, spec })
    }

    /// Has each group that the settings name the user as a member, or not, as the provider says. Other groups stay as they are.
    async fn group_edits(
        &self,
        user: &ObjectId,
        settings: &ProviderSettings,
        proven: &ProvenIdentity,
    ) -> Result<Vec<ObjectEdit>, CatalogError> {
        let named: BTreeSet<&String> = settings.groups.values().collect();
        let given: BTreeSet<&String> =
            proven.groups.iter().filter_map(|claimed| settings.groups.get(claimed)).collect();
        let mut edits = Vec::new();
        for name in named {
            let found = self.settings.catalog.catalog.find(SERVER_WORKSPACE, ObjectKind::Group, name).await?;
            let Some(group) = found else {
                tracing::warn!(
                    group = name,
                    "`login.providers` names a group that is not in the catalog; nobody is put into it"
                );
                continue;
            };
            let mut spec = GroupSpec::deserialize(&group.content.spec)?;
            let is_changed =
                if given.contains(name) { spec.members.insert(user.clone()) } else { spec.members.remove(user) };
            if is_changed {
                let spec: Value = serde_json::to_value(spec)?;
                let content = ObjectContent { spec, ..group.content };
                edits.push(ObjectEdit::Update { id: group.id, expected: Some(group.revision), content });
            }
        }
        Ok(edits)
    }
}

/// Six hexadecimal digits of an identity.
fn told_apart(identity: &UserIdentity) -> String {
    let hash =
        Sha256::new().chain_update(&identity.issuer).chain_update([0_u8]).chain_update(&identity.subject).finalize();
    HEXLOWER.encode(&hash).chars().take(6).collect()
}

fn disabled() -> ApiRefusal {
    let detail = "the user is disabled";
    ApiRefusal::new(StatusCode::FORBIDDEN, "disabled", detail, "ask an admin of this server")
}

fn of_two() -> ApiRefusal {
    let detail = "two users have this identity";
    let fix = "an admin of this server takes it from one of them: `identities` in the spec of a user";
    ApiRefusal::new(StatusCode::CONFLICT, "two-users", detail, fix)
}

fn unknown(identity: &UserIdentity) -> ApiRefusal {
    let UserIdentity { issuer, subject } = identity;
    let detail = format!("nobody here is known as {subject:?} of {issuer}");
    let fix =
        "an admin of this server adds that to `identities` of a user, or writes `create_users: true` for the provider";
    ApiRefusal::new(StatusCode::FORBIDDEN, "no-such-user", detail, fix)
}

//! Passwords: argon2id with a salt for each, hashed on threads for blocking work, two at once; few more may wait.

use std::sync::Arc;

use argon2::password_hash::phc::PasswordHash;
use argon2::{Argon2, PasswordHasher as _, PasswordVerifier as _};
use serde_json::json;

use crate::audit::{Actor, Attempt, AuditRecord, AuditResult, append};
use crate::catalog::Catalog;
use crate::commit::Authority;
use crate::entropy::random;
use crate::error::{CatalogError, CredentialProblem};
use crate::keys::SecretValue;
use crate::object::{CatalogObject, ObjectId, ObjectKind, SERVER_WORKSPACE};
use crate::read::{directory, named};
use crate::rights::{ChangedObject, authorise_change};
use crate::store::{CatalogTransaction, StoreAccess};
use crate::token::is_token_text;

const CHARS: std::ops::RangeInclusive<usize> = 12..=256;

/// The action of the entry about a new password.
const SET: &str = "password_set";

/// Of no password: what is verified for a user who is not there, so that the answer takes as long.
const NOBODYS: &str =
    "$argon2id$v=19$m=19456,t=2,p=1$AAAAAAAAAAAAAAAAAAAAAA$AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";

/// A password that is to be set.
#[derive(Debug, Clone)]
pub struct NewPassword {
    pub user: ObjectId,
    pub password: SecretValue,
    pub authority: Authority,
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

impl Catalog {
    /// Sets the password of a user and ends all of their sessions. Users set their own; another's takes the right to change that user.
    ///
    /// # Errors
    /// The password is too short or too long, or who asks may not.
    pub async fn set_password(&self, new: &NewPassword) -> Result<(), CatalogError> {
        let NewPassword { user, password, actor, at_us, .. } = new;
        let chars = password.expose_text().map_or(0, |text| text.chars().count());
        if !CHARS.contains(&chars) {
            return Err(CredentialProblem::PasswordLength.into());
        }
        let object = self.get(SERVER_WORKSPACE, user).await?;
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let allowed = may_set(transaction.as_mut(), &object, &new.authority, *at_us).await;
        drop(transaction);
        // Nothing is hashed for who may not: that takes long, and whoever signs in waits for it.
        let hashed = match allowed {
            Ok(()) => Ok(self.hash(password.clone()).await?),
            Err(denied) => Err(denied),
        };
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = match hashed {
            Ok(phc) => self.set_in(transaction.as_mut(), new, &object, phc).await,
            Err(denied) => Err(denied),
        };
        let attempt = Attempt {
            actor,
            at_us: *at_us,
            workspace: SERVER_WORKSPACE,
            action: SET,
            kind: Some(ObjectKind::User),
            object: Some(user),
            name: Some(&object.content.name),
        };
        self.conclude(transaction, outcome, attempt).await
    }

    async fn set_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        new: &NewPassword,
        user: &CatalogObject,
        phc: String,
    ) -> Result<(), CatalogError> {
        may_set(transaction, user, &new.authority, new.at_us).await?;
        let upsert = "INSERT INTO password (id, phc, changed_at_us) VALUES ($1, $2, $3) \
             ON CONFLICT (id) DO UPDATE SET phc = excluded.phc, changed_at_us = excluded.changed_at_us";
        transaction.run(upsert, vec![user.id.as_str().into(), phc.into(), new.at_us.into()]).await?;
        transaction.run("DELETE FROM session WHERE id = $1", vec![user.id.as_str().into()]).await?;
        let record = record(user, SET, AuditResult::Done);
        append(transaction, self.keys(), &new.actor, new.at_us, vec![record]).await
    }

    /// The user of this name, if this is the password. Either way it takes as long, and is in the audit log.
    ///
    /// # Errors
    /// It is not, or the user is disabled.
    pub async fn check_password(
        &self,
        name: &str,
        password: &SecretValue,
        actor: &Actor,
        at_us: i64,
    ) -> Result<ObjectId, CatalogError> {
        let shown = password.expose_text().unwrap_or_default();
        let is_token = is_token_text(shown);
        let allowed = if is_token {
            self.admin_with_token(name, shown, at_us).await?
        } else {
            self.user_with_password(name, password, at_us).await?
        };
        let detail = json!({ "with": if is_token { "token" } else { "password" } });
        let record = match &allowed {
            Some(user) => AuditRecord { detail, ..record(user, "signed_in", AuditResult::Done) },
            None => AuditRecord {
                workspace: SERVER_WORKSPACE.to_owned(),
                action: "signed_in".to_owned(),
                kind: Some(ObjectKind::User),
                object: None,
                name: Some(name.to_owned()),
                result: AuditResult::Denied,
                revision: None,
                detail,
            },
        };
        self.record(actor, at_us, record).await?;
        allowed.map(|user| user.id).ok_or_else(|| CredentialProblem::Unknown.into())
    }

    async fn user_with_password(
        &self,
        name: &str,
        password: &SecretValue,
        at_us: i64,
    ) -> Result<Option<CatalogObject>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let user = named(transaction.as_mut(), SERVER_WORKSPACE, ObjectKind::User, name).await?;
        let id = user.as_ref().map_or("", |user| user.id.as_str());
        let found = transaction.run("SELECT phc FROM password WHERE id = $1", vec![id.into()]).await?;
        let phc = found.first().map(|row| row.text(0)).transpose()?;
        let directory = directory(transaction.as_mut()).await?;
        let may_enter = |user: &CatalogObject| phc.is_some() && directory.principal(&user.id, at_us).is_ok();
        let is_enabled = user.as_ref().is_some_and(may_enter);
        drop(transaction);
        let is_right = self.verify(password.clone(), phc.unwrap_or_else(|| NOBODYS.to_owned())).await?;
        Ok(user.filter(|_| is_right && is_enabled))
    }

    /// The user of this name, if the token is theirs and has all rights of an admin. Whoever else holds a token would get a session that may do
    /// more than it, and lives longer.
    async fn admin_with_token(
        &self,
        name: &str,
        token: &str,
        at_us: i64,
    ) -> Result<Option<CatalogObject>, CatalogError> {
        let acting = match self.authenticate_token(token, at_us).await {
            Ok(acting) => acting,
            Err(CatalogError::Credential(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let user = named(transaction.as_mut(), SERVER_WORKSPACE, ObjectKind::User, name).await?;
        Ok(user.filter(|user| user.id == acting.person && acting.is_admin_everywhere()))
    }

    /// Whether this is the password of a user. None when they have none. Nothing of it is in the audit log.
    ///
    /// # Errors
    /// It cannot be told.
    pub async fn is_password(&self, user: &ObjectId, password: &SecretValue) -> Result<Option<bool>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let found = transaction.run("SELECT phc FROM password WHERE id = $1", vec![user.as_str().into()]).await?;
        let phc = found.first().map(|row| row.text(0)).transpose()?;
        drop(transaction);
        match phc {
            Some(phc) => self.verify(password.clone(), phc).await.map(Some),
            None => Ok(None),
        }
    }

    async fn hash(&self, password: SecretValue) -> Result<String, CatalogError> {
        let salt: [u8; 16] = random(self.entropy());
        let hashing = move || {
            let hashed: Result<PasswordHash, _> = Argon2::default().hash_password_with_salt(password.expose(), &salt);
            hashed.map(|hash| hash.to_string()).ok()
        };
        let hashed = self.on_a_thread(hashing).await?;
        hashed.ok_or_else(|| CatalogError::Unreadable("the password could not be hashed".to_owned()))
    }

    async fn verify(&self, password: SecretValue, phc: String) -> Result<bool, CatalogError> {
        let verifying = move || {
            // The library compares in constant time.
            PasswordHash::new(&phc).map(|hash| Argon2::default().verify_password(password.expose(), &hash).is_ok())
        };
        let verified = self.on_a_thread(verifying).await?;
        verified.map_err(|_| CatalogError::Unreadable("the hash of a password".to_owned()))
    }

    /// Whoever asked may be gone before the thread is done: the turn goes with the work.
    async fn on_a_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, CatalogError> {
        let (turns, places) = self.hashing();
        let place = Arc::clone(places).try_acquire_owned().map_err(|_| CredentialProblem::Busy)?;
        let turn = Arc::clone(turns).acquire_owned().await.map_err(|_| CredentialProblem::Busy)?;
        let working = move || {
            let done = work();
            drop((turn, place));
            done
        };
        let done = tokio::task::spawn_blocking(working).await;
        done.map_err(|error| CatalogError::Unreadable(format!("hashing a password broke off: {error}")))
    }
}

async fn may_set(
    transaction: &mut dyn CatalogTransaction,
    user: &CatalogObject,
    authority: &Authority,
    at_us: i64,
) -> Result<(), CatalogError> {
    let Authority::Principal(id) = authority else { return Ok(()) };
    let directory = directory(transaction).await?;
    let principal = directory.principal(id, at_us)?;
    if principal.id == user.id {
        return Ok(());
    }
    let change = ChangedObject {
        workspace: SERVER_WORKSPACE,
        before: Some(user),
        after: Some(&user.content),
        is_adoption: false,
        is_proposal: false,
    };
    Ok(authorise_change(&principal, &directory, &change, |_, _| None)?)
}

fn record(user: &CatalogObject, action: &str, result: AuditResult) -> AuditRecord {
    AuditRecord {
        workspace: SERVER_WORKSPACE.to_owned(),
        action: action.to_owned(),
        kind: Some(ObjectKind::User),
        object: Some(user.id.clone()),
        name: Some(user.content.name.clone()),
        result,
        revision: None,
        detail: json!({}),
    }
}

//! Sessions of people in a browser: 256 random bits, kept as SHA-256, that end when nothing comes for a while and anyhow after a
//! week.

use data_encoding::BASE64URL_NOPAD;
use subtle::ConstantTimeEq as _;

use crate::catalog::Catalog;
use crate::entropy::random;
use crate::error::{CatalogError, CredentialProblem};
use crate::keys::{SecretValue, sha256};
use crate::object::ObjectId;
use crate::read::directory;
use crate::rights::ActingPrincipal;
use crate::store::StoreAccess;

/// 12 hours.
const IDLE_US: i64 = 12 * 3_600 * 1_000_000;
/// 7 days.
const LIFE_US: i64 = 7 * 24 * 3_600 * 1_000_000;
/// How exactly the last use is known: a minute.
const SEEN_GRAIN_US: i64 = 60_000_000;

impl Catalog {
    /// Opens a session for a user who has signed in. Every sign-in gets an id of its own.
    ///
    /// # Errors
    /// The user is not there or disabled.
    pub async fn open_session(&self, user: &ObjectId, at_us: i64) -> Result<SecretValue, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        directory(transaction.as_mut()).await?.principal(user, at_us)?;
        let text = BASE64URL_NOPAD.encode(&random::<32>(self.entropy()));
        let ended = "DELETE FROM session WHERE seen_at_us <= $1 OR opened_at_us <= $2";
        transaction.run(ended, vec![(at_us - IDLE_US).into(), (at_us - LIFE_US).into()]).await?;
        let insert = "INSERT INTO session (hash, id, opened_at_us, seen_at_us) VALUES ($1, $2, $3, $4)";
        let cells = vec![sha256(&text)[..].into(), user.as_str().into(), at_us.into(), at_us.into()];
        transaction.run(insert, cells).await?;
        transaction.commit().await?;
        Ok(SecretValue::from(text))
    }

    /// Whose session this is, with what they may do now.
    ///
    /// # Errors
    /// It is over, or the user is disabled or gone.
    pub async fn session(&self, text: &str, at_us: i64) -> Result<ActingPrincipal, CatalogError> {
        let hash = sha256(text);
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let sql = "SELECT hash, id, opened_at_us, seen_at_us FROM session WHERE hash = $1";
        let found = transaction.run(sql, vec![hash[..].into()]).await?;
        let row = found.first().ok_or(CredentialProblem::SessionOver)?;
        let (opened, seen) = (row.integer(2)?, row.integer(3)?);
        let is_over = at_us - opened >= LIFE_US || at_us - seen >= IDLE_US;
        if is_over || !bool::from(row.bytes(0)?.ct_eq(&hash[..])) {
            return Err(CredentialProblem::SessionOver.into());
        }
        let user = ObjectId::parse(&row.text(1)?)?;
        let principal = directory(transaction.as_mut()).await?.principal(&user, at_us);
        drop(transaction);
        let principal = principal.map_err(|_| CredentialProblem::SessionOver)?;
        if at_us - seen >= SEEN_GRAIN_US {
            let mut transaction = self.begin(StoreAccess::Write).await?;
            let set = "UPDATE session SET seen_at_us = $1 WHERE hash = $2";
            transaction.run(set, vec![at_us.into(), hash[..].into()]).await?;
            transaction.commit().await?;
        }
        Ok(principal)
    }

    /// Ends one session.
    ///
    /// # Errors
    /// It goes on.
    pub async fn end_session(&self, text: &str) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        transaction.run("DELETE FROM session WHERE hash = $1", vec![sha256(text)[..].into()]).await?;
        Ok(transaction.commit().await?)
    }

    /// Ends all sessions of a user.
    ///
    /// # Errors
    /// They go on.
    pub async fn end_sessions(&self, user: &ObjectId) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        transaction.run("DELETE FROM session WHERE id = $1", vec![user.as_str().into()]).await?;
        Ok(transaction.commit().await?)
    }
}

//! Write keys: several for each source, kept as keyed hashes, found by their hash, and replaced without losing a client.

use std::collections::HashMap;

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use crate::audit::{Actor, Attempt};
use crate::catalog::Catalog;
use crate::commit::{Authority, CatalogChange, ObjectEdit, apply};
use crate::credential::{self, IssuedCredential};
use crate::error::{CatalogError, CredentialProblem};
use crate::keys::{KeyedHash, SecretValue, WriteKeyHasher};
use crate::object::{Labels, ObjectContent, ObjectId, ObjectKind};
use crate::read::{OBJECT_COLUMNS, object};
use crate::specs::WriteKeySpec;
use crate::store::StoreAccess;

/// Of a key that clients have already.
const CHARS: std::ops::RangeInclusive<usize> = 16..=256;

/// A write key that is to be made.
#[derive(Debug, Clone)]
pub struct NewWriteKey {
    pub workspace: String,
    pub source: String,
    pub name: String,
    /// Microseconds since the Unix epoch, UTC.
    pub ends_at_us: Option<i64>,
    /// A key that clients have already; None makes one.
    pub value: Option<SecretValue>,
    pub authority: Authority,
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

/// One key of the table that the door asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WriteKeyEntry {
    pub id: ObjectId,
    pub name: String,
    pub workspace: String,
    pub source: String,
    /// Microseconds since the Unix epoch, UTC.
    pub end_us: Option<i64>,
    /// Microseconds since the Unix epoch, UTC.
    pub created_at_us: i64,
}

/// Why a write key opens no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WriteKeyProblem {
    #[error("there is no such write key")]
    Unknown,
    #[error("the write key {id} has ended")]
    Ended { id: ObjectId },
}

/// All write keys of a revision, by hash. What is looked up is the keyed hash of what was shown, so that the time it takes tells
/// nothing of the keys.
#[derive(Clone)]
pub struct WriteKeyTable {
    hasher: WriteKeyHasher,
    by_hash: HashMap<KeyedHash, WriteKeyEntry>,
}

impl std::fmt::Debug for WriteKeyTable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("WriteKeyTable").field("keys", &self.by_hash.len()).finish_non_exhaustive()
    }
}

impl WriteKeyTable {
    /// What hashes keys as this table has them, for a door with a table of its own.
    pub fn hasher(&self) -> impl Fn(&str) -> [u8; 32] + Send + Sync + use<> {
        let hasher = self.hasher.clone();
        move |key: &str| hasher.hash(key)
    }

    /// Every key with its hash, in no order, those whose end has come among them.
    pub fn entries(&self) -> impl Iterator<Item = (&[u8; 32], &WriteKeyEntry)> {
        self.by_hash.iter()
    }

    /// The source that a key opens at this time.
    ///
    /// # Errors
    /// None, or not any more.
    pub fn find(&self, key: &str, at_us: i64) -> Result<&WriteKeyEntry, WriteKeyProblem> {
        let hash = self.hasher.hash(key);
        let found = self.by_hash.get_key_value(&hash).filter(|(known, _)| bool::from(known[..].ct_eq(&hash[..])));
        let (_, entry) = found.ok_or(WriteKeyProblem::Unknown)?;
        match entry.end_us {
            Some(end) if end <= at_us => Err(WriteKeyProblem::Ended { id: entry.id.clone() }),
            _ => Ok(entry),
        }
    }
}

impl Catalog {
    /// Makes a write key. Its value is in the answer and nowhere else.
    ///
    /// # Errors
    /// There is no such source, who asks may not manage it, or the value is in use. Nothing was made.
    pub async fn create_write_key(&self, new: &NewWriteKey) -> Result<IssuedCredential, CatalogError> {
        self.issue(new, Vec::new(), self.new_id(ObjectKind::WriteKey)).await
    }

    /// Makes a key in the place of another one, which clients may use for `grace_us` more. 0 ends it at once.
    ///
    /// # Errors
    /// As for [`Catalog::create_write_key`]; and there is no such key.
    pub async fn rotate_write_key(
        &self,
        replaced: &ObjectId,
        new: &NewWriteKey,
        grace_us: i64,
    ) -> Result<IssuedCredential, CatalogError> {
        let id = self.new_id(ObjectKind::WriteKey);
        let old = self.get(&new.workspace, replaced).await?;
        let mut spec: WriteKeySpec = serde_json::from_value(old.content.spec.clone())?;
        spec.grace_until_us = Some(new.at_us.saturating_add(grace_us.max(0)));
        spec.replaced_by = Some(id.clone());
        let content = ObjectContent { spec: serde_json::to_value(spec)?, ..old.content };
        let end = ObjectEdit::Update { id: old.id, expected: Some(old.revision), content };
        self.issue(new, vec![end], id).await
    }

    async fn issue(
        &self,
        new: &NewWriteKey,
        mut edits: Vec<ObjectEdit>,
        id: ObjectId,
    ) -> Result<IssuedCredential, CatalogError> {
        let value = new.value.clone().unwrap_or_else(|| credential::new_text("tgw", self.entropy()).into());
        let text = value.expose_text().filter(|text| CHARS.contains(&text.len()));
        let text = text.ok_or(CredentialProblem::WriteKeyLength)?.to_owned();
        let spec = WriteKeySpec {
            source: new.source.clone(),
            last4: credential::last4(&text),
            ends_at_us: new.ends_at_us,
            grace_until_us: None,
            replaced_by: None,
        };
        let content = ObjectContent {
            kind: ObjectKind::WriteKey,
            name: new.name.clone(),
            labels: Labels::new(),
            owner: None,
            spec: serde_json::to_value(spec).unwrap_or(Value::Null),
        };
        edits.insert(0, ObjectEdit::Create { id: id.clone(), content });
        let change = CatalogChange {
            authority: new.authority.clone(),
            actor: new.actor.clone(),
            ..CatalogChange::by_program(&new.workspace, edits, new.at_us)
        };
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let hash = self.keys().write_keys().hash(&text);
        let outcome = match apply(self, transaction.as_mut(), &change).await {
            Ok(_) => credential::keep(transaction.as_mut(), &id, &hash).await,
            Err(error) => Err(error),
        };
        let attempt = Attempt {
            actor: &new.actor,
            at_us: new.at_us,
            workspace: &new.workspace,
            action: "created",
            kind: Some(ObjectKind::WriteKey),
            object: Some(&id),
            name: Some(&new.name),
        };
        self.conclude(transaction, outcome, attempt).await?;
        Ok(IssuedCredential { id, value })
    }

    /// All write keys of all workspaces, for the door.
    ///
    /// # Errors
    /// They cannot be read.
    pub async fn write_keys(&self) -> Result<WriteKeyTable, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let columns: Vec<String> = OBJECT_COLUMNS.split(',').map(|name| format!("o.{}", name.trim())).collect();
        let sql = format!(
            "SELECT {}, c.hash FROM object o JOIN credential c ON c.id = o.id WHERE o.kind = 'write_key'",
            columns.join(", ")
        );
        let (rows, mut by_hash) = (transaction.run(&sql, Vec::new()).await?, HashMap::new());
        for row in &rows {
            let object = object(row)?;
            let spec: WriteKeySpec = serde_json::from_value(object.content.spec)?;
            let hash: KeyedHash = row
                .bytes(13)?
                .try_into()
                .map_err(|_| CatalogError::Unreadable("a hash has not 32 bytes".to_owned()))?;
            let (name, workspace, end_us) = (object.content.name, object.workspace, spec.end_us());
            let (id, created_at_us) = (object.id, object.created_at_us);
            by_hash.insert(hash, WriteKeyEntry { id, name, workspace, source: spec.source, end_us, created_at_us });
        }
        Ok(WriteKeyTable { hasher: self.keys().write_keys(), by_hash })
    }
}

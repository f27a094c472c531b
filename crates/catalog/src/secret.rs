//! Secrets: sealed at rest, written and never read back by people, but by whoever has the grant to reveal them.
//!
//! The object of a secret says its version and a keyed fingerprint of its value. Other objects name it by a reference, `secret:NAME`.

use serde_json::json;
use subtle::ConstantTimeEq as _;

use crate::audit::{Actor, Attempt, AuditRecord, AuditResult, append};
use crate::catalog::{Catalog, OWN_KEY, read_own_key, write_own_key};
use crate::commit::{Authority, CatalogChange, Committed, ObjectEdit, apply};
use crate::error::CatalogError;
use crate::keys::{SealPlace, SealedValue, SecretValue};
use crate::object::{CatalogObject, ObjectContent, ObjectId, ObjectKind, SERVER_WORKSPACE};
use crate::read::{directory, named};
use crate::rights::{RightsTarget, Verb, authorise};
use crate::store::{CatalogTransaction, StoreAccess, StoredRow};

const VALUE_BYTES_MAX: usize = 64 << 10;

/// A value for a secret, new or known.
#[derive(Debug, Clone)]
pub struct SecretWrite {
    pub workspace: String,
    pub name: String,
    pub value: SecretValue,
    pub authority: Authority,
    pub actor: Actor,
    /// The time now: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

const READ: &str = "SELECT workspace, name, version, key_id, sealed FROM secret";

impl Catalog {
    /// Seals a value and keeps it under a name. The value before it is gone. The same value again changes nothing.
    ///
    /// # Errors
    /// Nothing was changed.
    pub async fn set_secret(&self, write: &SecretWrite) -> Result<Committed, CatalogError> {
        let found = write.value.expose().len();
        if found > VALUE_BYTES_MAX {
            return Err(CatalogError::TooMany { what: "bytes of a secret", found, max: VALUE_BYTES_MAX });
        }
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let outcome = self.set_secret_in(transaction.as_mut(), write).await;
        let attempt = Attempt {
            actor: &write.actor,
            at_us: write.at_us,
            workspace: &write.workspace,
            action: "updated",
            kind: Some(ObjectKind::Secret),
            object: None,
            name: Some(&write.name),
        };
        self.conclude(transaction, outcome, attempt).await
    }

    pub(crate) async fn set_secret_in(
        &self,
        transaction: &mut dyn CatalogTransaction,
        write: &SecretWrite,
    ) -> Result<Committed, CatalogError> {
        let before = named(transaction, &write.workspace, ObjectKind::Secret, &write.name).await?;
        let fingerprint = self.keys().fingerprint(write.value.expose());
        let version = before.as_ref().and_then(|object| object.content.spec["version"].as_u64()).unwrap_or(0);
        let is_same = match &before {
            Some(_) => is_kept(self, transaction, write).await?,
            None => false,
        };
        let version = if is_same { version } else { version + 1 };
        let spec = json!({ "version": version, "fingerprint": fingerprint });
        let edit = edit(self, write, before, spec);
        let change = CatalogChange {
            authority: write.authority.clone(),
            actor: write.actor.clone(),
            ..CatalogChange::by_program(&write.workspace, vec![edit], write.at_us)
        };
        let committed = apply(self, transaction, &change).await?;
        if !is_same {
            let place = SealPlace { workspace: &write.workspace, name: &write.name, version };
            let sealed = SealedValue::seal(&self.keys().instance, &place, &write.value, self.entropy())?;
            keep(transaction, &place, sealed).await?;
        }
        Ok(committed)
    }

    /// The value of a secret, for the program to use where an object refers to it.
    ///
    /// # Errors
    /// There is no such secret, or it cannot be unsealed.
    pub async fn secret(&self, workspace: &str, name: &str) -> Result<SecretValue, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        read(self, transaction.as_mut(), workspace, name).await
    }

    /// The value of a secret for a person: who has no grant to reveal it gets none, and either is in the audit log before the answer.
    ///
    /// # Errors
    /// The grant is missing, there is no such secret, or the audit log cannot be written.
    pub async fn reveal_secret(
        &self,
        principal: &ObjectId,
        actor: &Actor,
        at_us: i64,
        (workspace, name): (&str, &str),
    ) -> Result<SecretValue, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let object = named(transaction.as_mut(), workspace, ObjectKind::Secret, name).await?;
        let object = object.ok_or_else(|| CatalogError::Nothing { what: format!("secret {name:?}") })?;
        let acting = directory(transaction.as_mut()).await?.principal(principal, at_us)?;
        let allowed = authorise(&acting, Verb::Reveal.into(), &RightsTarget::of(&object, |_, _| None));
        let record = AuditRecord {
            workspace: workspace.to_owned(),
            action: "revealed".to_owned(),
            kind: Some(ObjectKind::Secret),
            object: Some(object.id),
            name: Some(name.to_owned()),
            result: if allowed.is_ok() { AuditResult::Done } else { AuditResult::Denied },
            revision: None,
            detail: json!({ "version": object.content.spec["version"] }),
        };
        append(transaction.as_mut(), self.keys(), actor, at_us, vec![record]).await?;
        let value = read(self, transaction.as_mut(), workspace, name).await;
        transaction.commit().await?;
        allowed?;
        value
    }

    /// Seals everything anew that is sealed under an earlier instance key. Answers how many secrets. Afterwards the earlier key is
    /// not needed any more.
    ///
    /// # Errors
    /// Nothing was sealed anew.
    pub async fn reseal(&self, actor: &Actor, at_us: i64) -> Result<u64, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let instance = &self.keys().instance;
        if let Some(own) = read_own_key(transaction.as_mut()).await? {
            let own = own.open(instance, &OWN_KEY)?;
            let sealed = SealedValue::seal(instance, &OWN_KEY, &own, self.entropy())?;
            write_own_key(transaction.as_mut(), sealed).await?;
        }
        let sql = format!("{READ} WHERE key_id <> $1 ORDER BY workspace, name");
        let rows = transaction.run(&sql, vec![instance.current.id().into()]).await?;
        for row in &rows {
            let (workspace, name, version) = (row.text(0)?, row.text(1)?, row.unsigned(2)?);
            let place = SealPlace { workspace: &workspace, name: &name, version };
            let value = unsealed(self, row)?;
            keep(transaction.as_mut(), &place, SealedValue::seal(instance, &place, &value, self.entropy())?).await?;
        }
        let resealed = rows.len() as u64;
        let record = AuditRecord {
            workspace: SERVER_WORKSPACE.to_owned(),
            action: "resealed".to_owned(),
            kind: None,
            object: None,
            name: None,
            result: AuditResult::Done,
            revision: None,
            detail: json!({ "key": instance.current.id(), "secrets": resealed }),
        };
        append(transaction.as_mut(), self.keys(), actor, at_us, vec![record]).await?;
        transaction.commit().await?;
        Ok(resealed)
    }
}

/// Whether this very value is there. A key that was lost is no reason to keep a new value out.
async fn is_kept(
    catalog: &Catalog,
    transaction: &mut dyn CatalogTransaction,
    write: &SecretWrite,
) -> Result<bool, CatalogError> {
    match read(catalog, transaction, &write.workspace, &write.name).await {
        Ok(known) => Ok(known.expose().ct_eq(write.value.expose()).into()),
        Err(CatalogError::Nothing { .. } | CatalogError::Seal(_)) => Ok(false),
        Err(error) => Err(error),
    }
}

fn edit(catalog: &Catalog, write: &SecretWrite, before: Option<CatalogObject>, spec: serde_json::Value) -> ObjectEdit {
    match before {
        Some(object) => ObjectEdit::Update {
            id: object.id,
            expected: Some(object.revision),
            content: ObjectContent { spec, ..object.content },
        },
        None => {
            let (kind, name, labels) = (ObjectKind::Secret, write.name.clone(), Default::default());
            let content = ObjectContent { kind, name, labels, owner: None, spec };
            ObjectEdit::Create { id: catalog.new_id(kind), content }
        }
    }
}

async fn keep(
    transaction: &mut dyn CatalogTransaction,
    place: &SealPlace<'_>,
    sealed: SealedValue,
) -> Result<(), CatalogError> {
    let upsert = "INSERT INTO secret (workspace, name, version, key_id, sealed) VALUES ($1, $2, $3, $4, $5) \
         ON CONFLICT (workspace, name) DO UPDATE \
         SET version = excluded.version, key_id = excluded.key_id, sealed = excluded.sealed";
    let cells = vec![
        place.workspace.into(),
        place.name.into(),
        place.version.into(),
        sealed.key_id.into(),
        sealed.bytes.into(),
    ];
    transaction.run(upsert, cells).await?;
    Ok(())
}

async fn read(
    catalog: &Catalog,
    transaction: &mut dyn CatalogTransaction,
    workspace: &str,
    name: &str,
) -> Result<SecretValue, CatalogError> {
    let sql = format!("{READ} WHERE workspace = $1 AND name = $2");
    let found = transaction.run(&sql, vec![workspace.into(), name.into()]).await?;
    let absent = || CatalogError::Nothing { what: format!("value of the secret {name:?}") };
    unsealed(catalog, found.first().ok_or_else(absent)?)
}

fn unsealed(catalog: &Catalog, row: &StoredRow) -> Result<SecretValue, CatalogError> {
    let (workspace, name) = (row.text(0)?, row.text(1)?);
    let place = SealPlace { workspace: &workspace, name: &name, version: row.unsigned(2)? };
    let sealed = SealedValue { key_id: row.text(3)?, bytes: row.bytes(4)? };
    Ok(sealed.open(&catalog.keys().instance, &place)?)
}

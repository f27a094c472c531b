//! Ending what is older than the retention, so that the rest still verifies.

use serde_json::{Value, json};

use super::entry::{Actor, AuditRecord, AuditResult};
use super::write::append;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::object::SERVER_WORKSPACE;
use crate::store::StoreAccess;

/// The action of the entry that a purge leaves. It says in its detail which entry was the last one, and its hash: the chain goes on from
/// there.
pub(super) const PURGED: &str = "audit_purged";

impl Catalog {
    /// Removes the oldest entries, up to the first one that is not older than `before_us`, and adds an entry that says so.
    /// Answers how many.
    ///
    /// # Errors
    /// Nothing was removed.
    pub async fn purge_audit(&self, actor: &Actor, at_us: i64, before_us: i64) -> Result<u64, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let last = "SELECT a.seq, a.hash, (SELECT min(seq) FROM audit) FROM audit a WHERE a.seq = \
             coalesce((SELECT min(seq) FROM audit WHERE at_us >= $1) - 1, (SELECT max(seq) FROM audit))";
        let found = transaction.run(last, vec![before_us.into()]).await?;
        let Some(row) = found.first() else { return Ok(0) };
        let (to, hash, from) = (row.unsigned(0)?, row.bytes(1)?, row.unsigned(2)?);
        let count = to - from + 1;
        let hash = data_encoding::HEXLOWER.encode(&hash);
        let record = record(PURGED, json!({ "from": from, "to": to, "hash": hash }));
        append(transaction.as_mut(), self.keys(), actor, at_us, vec![record]).await?;
        transaction.run("DELETE FROM audit WHERE seq <= $1", vec![to.into()]).await?;
        transaction.commit().await?;
        Ok(count)
    }

    /// Erases addresses of entries that are older than `before_us`, and adds an entry that says so. The chain holds without them.
    ///
    /// # Errors
    /// Nothing was erased.
    pub async fn erase_addresses(&self, actor: &Actor, at_us: i64, before_us: i64) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        let erase = "UPDATE audit SET address = NULL WHERE at_us < $1 AND address IS NOT NULL";
        transaction.run(erase, vec![before_us.into()]).await?;
        let record = record("addresses_erased", json!({ "before_us": before_us }));
        append(transaction.as_mut(), self.keys(), actor, at_us, vec![record]).await?;
        Ok(transaction.commit().await?)
    }
}

fn record(action: &str, detail: Value) -> AuditRecord {
    AuditRecord {
        workspace: SERVER_WORKSPACE.to_owned(),
        action: action.to_owned(),
        kind: None,
        object: None,
        name: None,
        result: AuditResult::Done,
        revision: None,
        detail,
    }
}

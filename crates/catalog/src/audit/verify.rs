//! Whether the log is as it was written.

use serde_json::Value;
use subtle::ConstantTimeEq as _;

use super::entry::{AUDIT_COLUMNS, AuditEntry};
use super::purge::PURGED;
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::store::{CatalogTransaction, StoreAccess, StoredRow};

/// Entries that are read at once.
const PAGE: usize = 1_000;

/// A place of the chain, to be kept outside of the catalog: whoever has it sees that nothing before it was altered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditCheckpoint {
    /// The number of the last entry; also how many there ever were.
    pub seq: u64,
    /// Its hash, 64 hexadecimal digits.
    pub hash: String,
    /// When the checkpoint was taken: microseconds since the Unix epoch, UTC.
    pub at_us: i64,
}

/// The first place where the log is not as it was written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the audit log was altered at entry {seq}: {what}")]
pub struct AuditBreak {
    pub seq: u64,
    pub what: &'static str,
}

/// A log without a break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VerifiedAudit {
    pub entries: u64,
    pub head: AuditCheckpoint,
}

impl Catalog {
    /// The end of the log as it is now.
    ///
    /// # Errors
    /// It cannot be read.
    pub async fn audit_checkpoint(&self, at_us: i64) -> Result<AuditCheckpoint, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        checkpoint(transaction.as_mut(), at_us).await
    }

    /// Walks the log from the oldest entry and holds it against its hashes, against the head, and against checkpoints that were
    /// kept outside. The inner error is the first break.
    ///
    /// # Errors
    /// The log cannot be read.
    pub async fn verify_audit(
        &self,
        at_us: i64,
        checkpoints: &[AuditCheckpoint],
    ) -> Result<Result<VerifiedAudit, AuditBreak>, CatalogError> {
        let mut transaction = self.begin(StoreAccess::Read).await?;
        let head = checkpoint(transaction.as_mut(), at_us).await?;
        let mut walk = Walk { catalog: self, hash: Vec::new(), next: 1, entries: 0, checkpoints };
        walk.begin(transaction.as_mut()).await?;
        loop {
            let rows = page(transaction.as_mut(), walk.next - 1).await?;
            for row in &rows {
                if let Err(found) = walk.step(&AuditEntry::read(row)?) {
                    return Ok(Err(found));
                }
            }
            if rows.len() < PAGE {
                break;
            }
        }
        Ok(walk.end(head))
    }
}

async fn checkpoint(transaction: &mut dyn CatalogTransaction, at_us: i64) -> Result<AuditCheckpoint, CatalogError> {
    let found = transaction.run("SELECT audit_seq, audit_hash FROM head WHERE id = 1", Vec::new()).await?;
    let head = found.first().ok_or_else(|| CatalogError::Unreadable("there is no head".to_owned()))?;
    Ok(AuditCheckpoint { seq: head.unsigned(0)?, hash: data_encoding::HEXLOWER.encode(&head.bytes(1)?), at_us })
}

async fn page(transaction: &mut dyn CatalogTransaction, after: u64) -> Result<Vec<StoredRow>, CatalogError> {
    let sql = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE seq > $1 ORDER BY seq LIMIT {PAGE}");
    Ok(transaction.run(&sql, vec![after.into()]).await?)
}

struct Walk<'a> {
    catalog: &'a Catalog,
    /// Of the entry before.
    hash: Vec<u8>,
    next: u64,
    entries: u64,
    checkpoints: &'a [AuditCheckpoint],
}

impl Walk<'_> {
    /// Where entries were purged, the entry that says so has the hash to go on from; it is verified with the rest.
    async fn begin(&mut self, transaction: &mut dyn CatalogTransaction) -> Result<(), CatalogError> {
        let purges = format!("SELECT {AUDIT_COLUMNS} FROM audit WHERE action = $1 ORDER BY seq DESC LIMIT 1");
        let found = transaction.run(&purges, vec![PURGED.into()]).await?;
        let Some(row) = found.first() else { return Ok(()) };
        let detail = AuditEntry::read(row)?.detail;
        let hash = detail["hash"].as_str().and_then(|hash| data_encoding::HEXLOWER.decode(hash.as_bytes()).ok());
        if let (Some(to), Some(hash)) = (detail.get("to").and_then(Value::as_u64), hash) {
            (self.next, self.hash) = (to + 1, hash);
        }
        Ok(())
    }

    fn step(&mut self, entry: &AuditEntry) -> Result<(), AuditBreak> {
        if entry.seq != self.next {
            return Err(AuditBreak { seq: self.next, what: "it is missing" });
        }
        let hash = entry.hash_behind(&self.hash, self.catalog.keys());
        if !bool::from(hash[..].ct_eq(&entry.hash)) {
            return Err(AuditBreak { seq: entry.seq, what: "its hash is another one" });
        }
        if let Some(address) = &entry.address
            && entry.address_hash.as_deref() != Some(&self.catalog.keys().address(address)[..])
        {
            return Err(AuditBreak { seq: entry.seq, what: "its address is another one" });
        }
        let hash_text = data_encoding::HEXLOWER.encode(&hash);
        if self.checkpoints.iter().any(|known| known.seq == entry.seq && known.hash != hash_text) {
            return Err(AuditBreak { seq: entry.seq, what: "a checkpoint has another hash for it" });
        }
        self.hash = hash.to_vec();
        self.next += 1;
        self.entries += 1;
        Ok(())
    }

    fn end(self, head: AuditCheckpoint) -> Result<VerifiedAudit, AuditBreak> {
        let last = self.next - 1;
        if head.seq != last || head.hash != data_encoding::HEXLOWER.encode(&self.hash) {
            return Err(AuditBreak { seq: last.max(1), what: "the head of the log names another last entry" });
        }
        let cut = self.checkpoints.iter().filter(|known| known.seq > last).map(|known| known.seq).min();
        match cut {
            Some(_) => Err(AuditBreak { seq: last + 1, what: "a checkpoint knows of it, and it is missing" }),
            None => Ok(VerifiedAudit { entries: self.entries, head }),
        }
    }
}

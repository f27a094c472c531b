//! Adding entries, in the transaction of what they tell.

use serde_json::{Value, json};

use super::entry::{AUDIT_COLUMNS, Actor, AuditEntry, AuditRecord};
use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::keys::CatalogKeys;
use crate::store::{CatalogTransaction, StoreAccess};

/// What an entry says beyond its fields; more is cut to the names of the fields.
const DETAIL_BYTES_MAX: usize = 64 << 10;
/// Of a user agent, of an id of a request, of an address.
const TEXT_CHARS_MAX: usize = 300;

/// Adds entries behind the last one.
pub(crate) async fn append(
    transaction: &mut dyn CatalogTransaction,
    keys: &CatalogKeys,
    actor: &Actor,
    at_us: i64,
    records: Vec<AuditRecord>,
) -> Result<(), CatalogError> {
    let head = transaction.run("SELECT audit_seq, audit_hash FROM head WHERE id = 1", Vec::new()).await?;
    let head = head.first().ok_or_else(|| CatalogError::Unreadable("there is no head".to_owned()))?;
    let (mut seq, mut hash) = (head.unsigned(0)?, head.bytes(1)?);
    let mut rows = Vec::with_capacity(records.len());
    for record in records {
        seq += 1;
        let mut entry = entry(record, actor, at_us, keys);
        entry.seq = seq;
        hash = entry.hash_behind(&hash, keys).to_vec();
        entry.hash.clone_from(&hash);
        rows.push(entry.cells());
    }
    let insert = format!(
        "INSERT INTO audit ({AUDIT_COLUMNS}) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17)"
    );
    transaction.run_each(&insert, rows).await?;
    let set = "UPDATE head SET audit_seq = $1, audit_hash = $2 WHERE id = 1";
    transaction.run(set, vec![seq.into(), hash.into()]).await?;
    Ok(())
}

fn entry(record: AuditRecord, actor: &Actor, at_us: i64, keys: &CatalogKeys) -> AuditEntry {
    let AuditRecord { workspace, action, kind, object, name, result, revision, detail } = record;
    let address = actor.address.as_deref().map(plain);
    let detail_text = bounded(&detail);
    AuditEntry {
        seq: 0,
        at_us,
        workspace: plain(&workspace),
        principal: actor.principal.clone().map(String::from),
        token: actor.token.clone().map(String::from),
        action: plain(&action),
        kind: kind.map(|kind| kind.name().to_owned()),
        object: object.map(String::from),
        name: name.as_deref().map(plain),
        result: result.name().to_owned(),
        revision,
        request: actor.request.as_deref().map(plain),
        agent: actor.agent.as_deref().map(plain),
        detail: Value::Null,
        detail_text,
        address_hash: address.as_deref().map(|address| keys.address(address).to_vec()),
        address,
        hash: Vec::new(),
    }
}

/// Text from outside, within bounds and without control characters, which PostgreSQL does not keep all.
fn plain(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(TEXT_CHARS_MAX).collect()
}

/// The full content is kept beside the log anyway, as a version.
fn bounded(detail: &Value) -> String {
    let text = detail.to_string();
    if text.len() <= DETAIL_BYTES_MAX {
        return text;
    }
    let paths = detail["fields"].as_array().into_iter().flatten().filter_map(|field| field["path"].as_str());
    let paths: Vec<&str> = paths.take(200).collect();
    json!({ "cut_from_bytes": text.len(), "paths": paths }).to_string()
}

impl Catalog {
    /// Adds an entry about something that changes nothing in the catalog: a sign-in, a denial, an export.
    ///
    /// # Errors
    /// It is not on disk; who fails closed does not go on then.
    pub async fn record(&self, actor: &Actor, at_us: i64, record: AuditRecord) -> Result<(), CatalogError> {
        let mut transaction = self.begin(StoreAccess::Write).await?;
        append(transaction.as_mut(), self.keys(), actor, at_us, vec![record]).await?;
        Ok(transaction.commit().await?)
    }
}

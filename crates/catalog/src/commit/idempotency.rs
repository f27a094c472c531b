//! A request that comes again with the same key gets the first answer.

use super::edit::{Authority, CatalogChange, Committed, IdempotencyKey};
use crate::error::CatalogError;
use crate::store::CatalogTransaction;

/// How long answers are kept: a day.
const KEPT_US: i64 = 24 * 3_600 * 1_000_000;

const KEY_CHARS_MAX: usize = 255;

/// The first answer, if there was one.
pub(super) async fn answered(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
) -> Result<Option<Committed>, CatalogError> {
    let Some(IdempotencyKey { key, request_sha256 }) = &change.idempotency else { return Ok(None) };
    let found = key.chars().count();
    if found > KEY_CHARS_MAX {
        return Err(CatalogError::TooMany { what: "characters of an idempotency key", found, max: KEY_CHARS_MAX });
    }
    let kept_since = change.at_us.saturating_sub(KEPT_US);
    transaction.run("DELETE FROM idempotency WHERE at_us < $1", vec![kept_since.into()]).await?;
    let sql = "SELECT request_sha256, answer FROM idempotency WHERE principal = $1 AND key = $2";
    let found = transaction.run(sql, vec![principal(change).into(), key.as_str().into()]).await?;
    let Some(row) = found.first() else { return Ok(None) };
    if row.bytes(0)? != request_sha256 {
        return Err(CatalogError::OtherRequest { key: key.clone() });
    }
    let answer: Committed = serde_json::from_str(&row.text(1)?)?;
    Ok(Some(Committed { is_repeated: true, ..answer }))
}

/// Keeps the answer for a request that comes again.
pub(super) async fn keep(
    transaction: &mut dyn CatalogTransaction,
    change: &CatalogChange,
    answer: &Committed,
) -> Result<(), CatalogError> {
    let Some(IdempotencyKey { key, request_sha256 }) = &change.idempotency else { return Ok(()) };
    let sql = "INSERT INTO idempotency (principal, key, request_sha256, answer, at_us) VALUES ($1, $2, $3, $4, $5)";
    let cells = vec![
        principal(change).into(),
        key.as_str().into(),
        request_sha256[..].into(),
        serde_json::to_string(answer)?.into(),
        change.at_us.into(),
    ];
    transaction.run(sql, cells).await?;
    Ok(())
}

/// Keys are each client's own.
fn principal(change: &CatalogChange) -> &str {
    match &change.authority {
        Authority::Program => "",
        Authority::Principal(id) => id.as_str(),
    }
}

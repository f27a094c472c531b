//! Brings a store up to this build: each migration once, in order, in one transaction, and none that was changed afterwards.

use ring::digest;

use super::{CatalogStore, CatalogTransaction, StoreAccess, StoreError};

/// One step of the schema: its number, from 1, and its statements.
pub type Migration = (i64, &'static str);

const TABLE: &str =
    "CREATE TABLE IF NOT EXISTS migration (n BIGINT PRIMARY KEY, sha256 TEXT NOT NULL, at_us BIGINT NOT NULL)";

/// Makes what is missing. `at_us` is the time now.
///
/// # Errors
/// The store is of a newer build, or was made with other migrations; then nothing was changed.
pub(crate) async fn migrate(store: &dyn CatalogStore, at_us: i64) -> Result<(), StoreError> {
    let mut transaction = store.begin(StoreAccess::Write).await?;
    transaction.run_script(TABLE).await?;
    let done = transaction.run("SELECT n, sha256 FROM migration ORDER BY n", Vec::new()).await?;
    let known = store.migrations();
    for (at, row) in done.iter().enumerate() {
        let number = row.integer(0)?;
        let Some((_, sql)) = known.get(at).filter(|(known, _)| *known == number) else {
            let (found, known) = (done.len() as i64, known.len() as i64);
            return Err(StoreError::Newer { place: store.place(), found, known });
        };
        if row.text(1)? != sha256(sql) {
            return Err(StoreError::MigrationChanged { place: store.place(), number });
        }
    }
    for (number, sql) in &known[done.len()..] {
        apply(transaction.as_mut(), *number, sql, at_us).await?;
    }
    transaction.commit().await
}

async fn apply(transaction: &mut dyn CatalogTransaction, number: i64, sql: &str, at_us: i64) -> Result<(), StoreError> {
    transaction.run_script(sql).await?;
    let insert = "INSERT INTO migration (n, sha256, at_us) VALUES ($1, $2, $3)";
    transaction.run(insert, vec![number.into(), sha256(sql).into(), at_us.into()]).await.map(drop)
}

fn sha256(sql: &str) -> String {
    data_encoding::HEXLOWER.encode(digest::digest(&digest::SHA256, sql.as_bytes()).as_ref())
}

//! The ledger's table: made when it is missing, read and written in the transaction of the rows.

use tokio_postgres::types::{ToSql, Type as Sql};

use super::ddl::{self, qualified, quoted};
use super::error::Trouble;
use super::load::Link;

type Parameter<'p> = (&'p (dyn ToSql + Sync), Sql);

impl Link {
    /// Whether the schema, and the ledger in it, exist.
    async fn exist(&self) -> Result<(bool, bool), Trouble> {
        let sql = "SELECT c.oid IS NOT NULL FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c \
            ON c.relnamespace = n.oid AND c.relname = '_tidegate_ledger' AND c.relkind IN ('r', 'p') WHERE n.nspname = $1";
        let parameters: [Parameter<'_>; 1] = [(&self.wire.schema, Sql::NAME)];
        match self.wire.ask("looking for the ledger", sql, &parameters).await?.first() {
            None => Ok((false, false)),
            Some(row) => Ok((true, self.wire.get(row, 0)?)),
        }
    }

    pub(super) async fn has_ledger(&self) -> Result<bool, Trouble> {
        Ok(self.exist().await?.1)
    }

    /// Makes what is missing. Nothing is asked to be made that exists, for that would take a permission more.
    pub(super) async fn make_ledger(&mut self) -> Result<(), Trouble> {
        if !self.exist().await?.1 {
            self.wire.begin().await?;
            // Of two who make the same at once the second would fail.
            self.wire.run("waiting for others", "SELECT pg_catalog.pg_advisory_xact_lock(8389754676)").await?;
            let (schema, ledger) = self.exist().await?;
            if !schema {
                let sql = format!("CREATE SCHEMA {}", quoted(&self.wire.schema));
                self.wire.run("creating the schema", &sql).await?;
            }
            if !ledger {
                self.wire.run("creating the ledger", &ddl::ledger(&self.wire.schema)).await?;
            }
            self.wire.commit().await?;
        }
        self.ready = true;
        Ok(())
    }

    /// Waits until no other process writes for this sync; until the end of the transaction none will.
    pub(super) async fn fence(&self) -> Result<(), Trouble> {
        let name = format!("tidegate {} {}", self.wire.schema, self.settings.sync);
        let parameters: [Parameter<'_>; 1] = [(&name, Sql::TEXT)];
        let sql = "SELECT 1 FROM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        self.wire.ask("waiting for another process with this sync", sql, &parameters).await.map(drop)
    }

    pub(super) async fn read_ledger(&self) -> Result<Option<u64>, Trouble> {
        let sql =
            format!("SELECT log_offset FROM {} WHERE sync = $1", qualified(&self.wire.schema, "_tidegate_ledger"));
        let parameters: [Parameter<'_>; 1] = [(&self.settings.sync, Sql::TEXT)];
        match self.wire.ask("reading the ledger", &sql, &parameters).await?.first() {
            None => Ok(None),
            Some(row) => u64::try_from(self.wire.get::<i64>(row, 0)?).map(Some).map_err(|_| Trouble::Ledger),
        }
    }

    pub(super) async fn write_ledger(&self, next: u64) -> Result<(), Trouble> {
        let next = i64::try_from(next).map_err(|_| Trouble::Ledger)?;
        let sql = format!(
            "INSERT INTO {} AS l (sync, log_offset, updated_at) VALUES ($1, $2, pg_catalog.now()) ON CONFLICT (sync) \
             DO UPDATE SET log_offset = excluded.log_offset, updated_at = excluded.updated_at",
            qualified(&self.wire.schema, "_tidegate_ledger")
        );
        let parameters: [Parameter<'_>; 2] = [(&self.settings.sync, Sql::TEXT), (&next, Sql::INT8)];
        self.wire.ask("writing the ledger", &sql, &parameters).await.map(drop)
    }
}

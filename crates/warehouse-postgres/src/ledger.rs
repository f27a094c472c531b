//! The ledger's table: found or made, read and written in the transaction of the rows.
//!
//! It is in a schema beside that of the tables, `shop_tidegate` for `shop`, so that who looks at the tables does not see it.
//! Earlier builds made it among the tables. It is moved from there, whole and in one transaction, by whoever may; who may
//! not goes on with it where it is. Whoever wrote to the old place meanwhile finds nothing there and looks anew. An earlier
//! build that comes back makes another one in the old place; then both are read, and the later offset counts.

use std::sync::Arc;

use tidegate_warehouse::ledger;
use tidegate_warehouse::loader::LoadError;
use tokio_postgres::types::{ToSql, Type as Sql};

use super::ddl;
use super::error::PostgresError;
use super::settings::CheckedPostgres;
use super::sql::{LEDGER, qualified, quoted};
use super::wire::PostgresWire;

type Parameter<'p> = (&'p (dyn ToSql + Sync), Sql);

/// Where there is a ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct PostgresPlaces {
    /// The schema of the tables exists.
    schema: bool,
    /// And has a ledger.
    within: bool,
    /// The schema beside it exists.
    beside_schema: bool,
    /// And has a ledger.
    beside: bool,
}

/// The ledger, for one sync, as one connection knows it.
pub(super) struct PostgresLedger {
    settings: Arc<CheckedPostgres>,
    places: PostgresPlaces,
    /// The schema and the ledger exist, the ledger where it can be.
    pub(super) is_settled: bool,
    /// Why it is not where it should be.
    pub(super) left: Option<String>,
}

impl PostgresLedger {
    pub(super) fn new(settings: Arc<CheckedPostgres>) -> Self {
        Self { settings, places: PostgresPlaces::default(), is_settled: false, left: None }
    }

    fn beside(&self) -> String {
        ledger::beside(&self.settings.schema, false)
    }

    /// Whether there is one that counts: where the tables have gone with their schema, it tells of nothing. Makes nothing.
    pub(super) async fn exists(&mut self, wire: &PostgresWire) -> Result<bool, PostgresError> {
        if !self.is_settled {
            self.places = self.locate(wire).await?;
        }
        Ok(self.places.schema && (self.places.within || self.places.beside))
    }

    async fn locate(&self, wire: &PostgresWire) -> Result<PostgresPlaces, PostgresError> {
        let sql = "SELECT n.nspname = $1, c.oid IS NOT NULL FROM pg_catalog.pg_namespace n LEFT JOIN pg_catalog.pg_class c \
            ON c.relnamespace = n.oid AND c.relname = '_tidegate_ledger' AND c.relkind IN ('r', 'p') \
            WHERE n.nspname IN ($1, $2)";
        let beside = self.beside();
        let parameters: [Parameter<'_>; 2] = [(&self.settings.schema, Sql::NAME), (&beside, Sql::NAME)];
        let mut places = PostgresPlaces::default();
        for row in wire.ask("looking for the ledger", sql, &parameters).await? {
            match (wire.get(&row, 0)?, wire.get(&row, 1)?) {
                (true, within) => (places.schema, places.within) = (true, within),
                (false, beside) => (places.beside_schema, places.beside) = (true, beside),
            }
        }
        Ok(places)
    }

    /// Makes what is missing, and moves the ledger beside the tables where that can be done. Nothing is asked to be made that
    /// exists, for that would take a permission more.
    pub(super) async fn settle(&mut self, wire: &mut PostgresWire) -> Result<(), PostgresError> {
        self.places = self.locate(wire).await?;
        if !self.places.schema || !self.places.beside {
            wire.begin().await?;
            // Of two who make the same at once the second would fail.
            wire.run("waiting for others", "SELECT pg_catalog.pg_advisory_xact_lock(8389754676)").await?;
            self.places = self.locate(wire).await?;
            if !self.places.schema {
                let sql = format!("CREATE SCHEMA {}", quoted(&self.settings.schema));
                wire.run("creating the schema", &sql).await?;
                self.places.schema = true;
                if self.places.beside {
                    // The tables are gone, and what the ledger says of them with them.
                    let sql = format!("DELETE FROM {}", qualified(&self.beside(), LEDGER));
                    wire.run("emptying the ledger of tables that are gone", &sql).await?;
                }
            }
            if !self.places.beside {
                self.found(wire).await?;
            }
            wire.commit().await?;
        }
        self.is_settled = true;
        Ok(())
    }

    /// Makes the ledger beside the tables, or moves it there; makes it among them where that is not allowed.
    async fn found(&mut self, wire: &PostgresWire) -> Result<(), PostgresError> {
        let beside = self.beside();
        let mut sql = String::new();
        if !self.places.beside_schema {
            sql += &format!("CREATE SCHEMA {} AUTHORIZATION {}; ", quoted(&beside), self.owner(wire).await?);
        }
        sql += &match self.places.within {
            true => format!("{}{}", self.move_to(&beside), self.usage(wire, &beside).await?),
            false => ddl::ledger(&beside),
        };
        wire.run("setting a savepoint", "SAVEPOINT tidegate_ledger").await?;
        match wire.run("making the ledger", &sql).await {
            Ok(()) => {
                wire.run("releasing a savepoint", "RELEASE SAVEPOINT tidegate_ledger").await?;
                (self.places.beside, self.places.within) = (true, false);
                Ok(())
            }
            Err(error) if !error.code().is_empty() && !error.is_of_connection() => {
                wire.run("going back to a savepoint", "ROLLBACK TO SAVEPOINT tidegate_ledger").await?;
                if !self.places.within {
                    wire.run("creating the ledger", &ddl::ledger(&self.settings.schema)).await?;
                    self.places.within = true;
                }
                // Somebody who writes to it now will have done so at the next opening.
                if error.code() != "55P03" && !error.is_of_race() {
                    self.left = Some(self.stays(&beside, &error));
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn move_to(&self, beside: &str) -> String {
        format!("ALTER TABLE {} SET SCHEMA {}; ", qualified(&self.settings.schema, LEDGER), quoted(beside))
    }

    fn stays(&self, beside: &str, error: &PostgresError) -> String {
        let (schema, user) = (&self.settings.schema, quoted(&self.settings.place.user));
        format!(
            "the table {LEDGER} is in schema {schema}, where whoever reads the tables sees it, because it cannot be in schema \
             {beside} ({}); let somebody who may run: CREATE SCHEMA IF NOT EXISTS {} AUTHORIZATION {user}",
            error.words(),
            quoted(beside)
        )
    }

    /// Who shall own the schema beside: who owns the ledger, else this role.
    async fn owner(&self, wire: &PostgresWire) -> Result<String, PostgresError> {
        let sql = "SELECT pg_catalog.quote_ident(pg_catalog.pg_get_userbyid(c.relowner)) FROM pg_catalog.pg_class c \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = $1 AND c.relname = '_tidegate_ledger'";
        let rows = wire.ask("looking for the ledger's owner", sql, &[(&self.settings.schema, Sql::NAME)]).await?;
        rows.first().map_or_else(|| Ok("CURRENT_USER".to_owned()), |row| wire.get(row, 0))
    }

    /// The statements that let everybody who may use the ledger use the schema that it moves to.
    async fn usage(&self, wire: &PostgresWire, beside: &str) -> Result<String, PostgresError> {
        let sql = "SELECT DISTINCT pg_catalog.format('GRANT USAGE ON SCHEMA %I TO %s', $2, CASE a.grantee WHEN 0 THEN \
            'PUBLIC' ELSE pg_catalog.quote_ident(r.rolname) END) FROM pg_catalog.pg_class c \
            JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) AS a \
            LEFT JOIN pg_catalog.pg_roles r ON r.oid = a.grantee WHERE n.nspname = $1 AND c.relname = '_tidegate_ledger' \
            AND a.grantee <> c.relowner AND (a.grantee = 0 OR r.rolname IS NOT NULL)";
        let parameters: [Parameter<'_>; 2] = [(&self.settings.schema, Sql::NAME), (&beside, Sql::TEXT)];
        let mut grants = String::new();
        for row in wire.ask("looking who uses the ledger", sql, &parameters).await? {
            grants += &format!("{}; ", wire.get::<String>(&row, 0)?);
        }
        Ok(grants)
    }

    /// Waits until no other process writes for this sync; until the end of the transaction none will.
    pub(super) async fn fence(&self, wire: &PostgresWire) -> Result<(), PostgresError> {
        let name = format!("tidegate {} {}", self.settings.schema, self.settings.sync);
        let parameters: [Parameter<'_>; 1] = [(&name, Sql::TEXT)];
        let sql = "SELECT 1 FROM pg_catalog.pg_advisory_xact_lock(pg_catalog.hashtextextended($1, 0))";
        wire.ask("waiting for another process with this sync", sql, &parameters).await.map(drop)
    }

    pub(super) async fn read(&self, wire: &PostgresWire) -> Result<Option<u64>, PostgresError> {
        let beside = self.beside();
        let places = [(self.places.beside, &beside), (self.places.within, &self.settings.schema)];
        let rows: Vec<String> = places
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, schema)| format!("SELECT log_offset FROM {} WHERE sync = $1", qualified(schema, LEDGER)))
            .collect();
        let sql = format!("{} ORDER BY log_offset DESC LIMIT 1", rows.join(" UNION ALL "));
        let parameters: [Parameter<'_>; 1] = [(&self.settings.sync, Sql::TEXT)];
        match wire.ask("reading the ledger", &sql, &parameters).await?.first() {
            None => Ok(None),
            Some(row) => u64::try_from(wire.get::<i64>(row, 0)?).map(Some).map_err(|_| PostgresError::Ledger),
        }
    }

    /// Forgets how far the sync has come, in the transaction in hand.
    pub(super) async fn remove(&self, wire: &PostgresWire) -> Result<(), PostgresError> {
        let beside = self.beside();
        let places = [(self.places.beside, &beside), (self.places.within, &self.settings.schema)];
        for (_, schema) in places.iter().filter(|(has, _)| *has) {
            let sql = format!("DELETE FROM {} WHERE sync = $1", qualified(schema, LEDGER));
            let parameters: [Parameter<'_>; 1] = [(&self.settings.sync, Sql::TEXT)];
            wire.ask("writing the ledger", &sql, &parameters).await?;
        }
        Ok(())
    }

    pub(super) async fn write(&self, wire: &PostgresWire, next: u64) -> Result<(), PostgresError> {
        let next = i64::try_from(next).map_err(|_| PostgresError::Ledger)?;
        let beside = self.beside();
        let schema = if self.places.beside { &beside } else { &self.settings.schema };
        let sql = format!(
            "INSERT INTO {} AS l (sync, log_offset, updated_at) VALUES ($1, $2, pg_catalog.now()) ON CONFLICT (sync) \
             DO UPDATE SET log_offset = excluded.log_offset, updated_at = excluded.updated_at",
            qualified(schema, LEDGER)
        );
        let parameters: [Parameter<'_>; 2] = [(&self.settings.sync, Sql::TEXT), (&next, Sql::INT8)];
        wire.ask("writing the ledger", &sql, &parameters).await.map(drop)
    }
}

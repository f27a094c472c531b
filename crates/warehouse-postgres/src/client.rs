//! What an operator may say, and the destination: it connects at the first call, and anew after every failure.
//!
//! Two doors: [`PostgresSettings::check`] does no I/O, [`CheckedPostgres::open`] neither; whoever calls the destination drives it.

use std::sync::Arc;

use tidegate_event::destination::Failure;
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::plan::FoundRow;
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::FoundSchema;
use tokio_postgres::types::{ToSql, Type as Sql};

use super::catalog;
use super::error::PostgresError;
use super::load::PostgresLoader;
use super::rights;
use super::settings::CheckedPostgres;
use super::sql::qualified;
use super::wire::PostgresWire;

impl CheckedPostgres {
    /// The second door.
    #[must_use]
    pub fn open(self) -> PostgresWarehouse {
        Driver::new(PostgresLoader::new(Arc::new(self)))
    }

    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn find(self) -> Result<FoundSchema, Failure> {
        let settings = Arc::new(self);
        let find = async {
            let wire = PostgresWire::open(&settings).await?;
            catalog::find(&wire).await
        };
        find.await.map_err(|error: PostgresError| error.failure(&settings.place))
    }
}

impl CheckedPostgres {
    /// What the role may do, asked without changing anything.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn rights(self) -> Result<Vec<Right>, Failure> {
        let settings = Arc::new(self);
        let ask = async {
            let wire = PostgresWire::open(&settings).await?;
            rights::of(&wire, &settings.place.user, &settings.place.dbname).await
        };
        ask.await.map_err(|error: PostgresError| error.failure(&settings.place))
    }
}

impl CheckedPostgres {
    /// The rows of a table that have this id, looked up without changing anything.
    ///
    /// # Errors
    /// The server cannot be asked, or has no such table.
    pub async fn rows_with_id(self, table: &str, id: &str) -> Result<Vec<FoundRow>, Failure> {
        let settings = Arc::new(self);
        let look = async {
            let wire = PostgresWire::open(&settings).await?;
            let from = qualified(&wire.schema, table);
            let rows_max = FoundRow::ROWS_MAX;
            let sql = format!("SELECT pg_catalog.to_jsonb(t)::text FROM {from} AS t WHERE t.id = $1 LIMIT {rows_max}");
            let parameters: [(&(dyn ToSql + Sync), Sql); 1] = [(&id, Sql::TEXT)];
            let mut found = Vec::new();
            for row in wire.ask("looking for rows", &sql, &parameters).await? {
                let text: String = wire.get(&row, 0)?;
                found.extend(FoundRow::of_json(table, &text));
            }
            Ok(found)
        };
        look.await.map_err(|error: PostgresError| error.failure(&settings.place))
    }

    /// Runs statements, each of which answers one number; answers those. Each is a transaction of its own.
    ///
    /// # Errors
    /// One of them failed; those before it are done.
    pub async fn numbers(self, statements: &[String]) -> Result<Vec<u64>, Failure> {
        let settings = Arc::new(self);
        let run = async {
            let wire = PostgresWire::open(&settings).await?;
            let mut numbers = Vec::with_capacity(statements.len());
            for statement in statements {
                for row in wire.ask("removing rows", statement, &[]).await? {
                    numbers.push(u64::try_from(wire.get::<i64>(&row, 0)?).unwrap_or(0));
                }
            }
            wire.close().await;
            Ok(numbers)
        };
        run.await.map_err(|error: PostgresError| error.failure(&settings.place))
    }
}

/// A PostgreSQL server as a destination.
pub type PostgresWarehouse = Driver<PostgresLoader>;

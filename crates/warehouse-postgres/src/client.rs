//! What an operator may say, and the destination: it connects at the first call, and anew after every failure.
//!
//! Two doors: [`PostgresSettings::check`] does no I/O, [`CheckedPostgres::open`] neither; whoever calls the destination drives it.

use std::sync::Arc;

use tidegate_event::destination::Failure;
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::FoundSchema;

use super::catalog;
use super::error::PostgresError;
use super::load::PostgresLoader;
use super::rights;
use super::settings::CheckedPostgres;
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

/// A PostgreSQL server as a destination.
pub type PostgresWarehouse = Driver<PostgresLoader>;

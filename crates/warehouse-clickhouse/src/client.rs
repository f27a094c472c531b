//! Settings, and the warehouse as a destination.
//!
//! Three doors: [`ClickHouseSettings::check`] does no I/O, [`CheckedClickHouse::open`] prepares the way to the server and asks nothing, the
//! first call of the destination finds out whether it is there.

use std::sync::Arc;

use tidegate_event::destination::Failure;
use tidegate_warehouse::driver::Driver;
use tidegate_warehouse::rights::Right;
use tidegate_warehouse::schema_cache::FoundSchema;

use super::catalog;
use super::error::ClickHouseError;
use super::load::ClickHouseLoader;
use super::rights;
use super::settings::CheckedClickHouse;
use super::wire::ClickHouseWire;

impl CheckedClickHouse {
    /// The second door: prepares the way to the server.
    ///
    /// # Errors
    /// The file of certificates cannot be used.
    pub fn open(self) -> Result<ClickHouse, Failure> {
        let wire = ClickHouseWire::new(&self).map_err(|error| error.failure(&self.place))?;
        Ok(Driver::new(ClickHouseLoader::new(Arc::new(self), Arc::new(wire))))
    }

    /// What exists, looked up without changing anything.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn find(self) -> Result<FoundSchema, Failure> {
        let look = async {
            let wire = ClickHouseWire::new(&self)?;
            Ok(catalog::find(&wire, &self.database).await?.0)
        };
        look.await.map_err(|error: ClickHouseError| error.failure(&self.place))
    }
}

impl CheckedClickHouse {
    /// What the user may do, asked without changing anything.
    ///
    /// # Errors
    /// The server cannot be asked.
    pub async fn rights(self) -> Result<Vec<Right>, Failure> {
        let ask = async {
            let wire = ClickHouseWire::new(&self)?;
            rights::of(&wire, &self.user, &self.database).await
        };
        ask.await.map_err(|error: ClickHouseError| error.failure(&self.place))
    }
}

/// A ClickHouse database as a destination.
pub type ClickHouse = Driver<ClickHouseLoader>;

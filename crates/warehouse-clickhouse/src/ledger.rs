//! The ledger's table: found, made or moved, read and written.
//!
//! It is in a database beside that of the tables, `shop_tidegate` for `shop`. Earlier builds made it among the tables; it is
//! moved from there by one `RENAME`, whole, by whoever may, and stays where it is otherwise. Whoever wrote to the old place
//! meanwhile finds nothing there and looks anew. An earlier build that comes back makes another one in the old place; then
//! both are read, and the later offset counts.

use std::sync::Arc;

use tidegate_warehouse::ledger;

use super::error::ClickHouseError;
use super::settings::CheckedClickHouse;
use super::sql::{LEDGER, full, literal, quoted};
use super::wire::{ClickHouseAnswer, ClickHouseWire};

/// Where there is a ledger.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
struct ClickHousePlaces {
    /// The database of the tables exists.
    database: bool,
    /// And has a ledger.
    within: bool,
    /// The database beside it has one.
    beside: bool,
}

/// The ledger, for one sync.
pub(super) struct ClickHouseLedger {
    settings: Arc<CheckedClickHouse>,
    wire: Arc<ClickHouseWire>,
    places: ClickHousePlaces,
    /// It is where it can be.
    is_settled: bool,
    /// Why it is not where it should be.
    pub(super) left: Option<String>,
}

impl ClickHouseLedger {
    pub(super) fn new(settings: Arc<CheckedClickHouse>, wire: Arc<ClickHouseWire>) -> Self {
        Self { settings, wire, places: ClickHousePlaces::default(), is_settled: false, left: None }
    }

    fn beside(&self) -> String {
        ledger::beside(&self.settings.database, false)
    }

    /// Whether there is one that counts: where the tables have gone with their database, it tells of nothing. Makes nothing.
    pub(super) async fn exists(&mut self) -> Result<bool, ClickHouseError> {
        if !self.is_settled {
            self.places = self.locate().await?;
        }
        Ok(self.places.database && (self.places.within || self.places.beside))
    }

    async fn locate(&self) -> Result<ClickHousePlaces, ClickHouseError> {
        let doing = "looking for the ledger";
        let (within, beside) = (literal(&self.settings.database), literal(&self.beside()));
        let sql = format!(
            "SELECT assumeNotNull((SELECT count() FROM system.databases WHERE name = {within})), countIf(database = {within}), \
             countIf(database = {beside}) FROM system.tables WHERE name = '{LEDGER}' AND database IN ({within}, {beside}) \
             FORMAT RowBinary"
        );
        let answer = self.wire.ask(doing, &sql, 256).await?;
        let mut answer = ClickHouseAnswer(&answer);
        let mut flag = || answer.number().map(|number| number > 0);
        let mut read = || Some(ClickHousePlaces { database: flag()?, within: flag()?, beside: flag()? });
        read().ok_or(ClickHouseError::Answer { doing })
    }

    /// Where its rows are read.
    pub(super) fn rows(&self) -> String {
        let beside = self.beside();
        let places = [(self.places.beside, beside.as_str()), (self.places.within, &*self.settings.database)];
        let rows: Vec<String> = places
            .iter()
            .filter(|(has, _)| *has)
            .map(|(_, database)| format!("SELECT sync, log_offset FROM {}", full(database, LEDGER)))
            .collect();
        format!("({})", rows.join(" UNION ALL "))
    }

    pub(super) async fn write(&self, next: u64) -> Result<(), ClickHouseError> {
        let beside = self.beside();
        let database = if self.places.beside { &beside } else { &self.settings.database };
        let (ledger, sync) = (full(database, LEDGER), literal(&self.settings.sync));
        let sql = format!("INSERT INTO {ledger} SELECT {sync}, {next}, now64(3, 'UTC')");
        self.wire.run("writing the ledger", &sql).await
    }

    /// Sees once that database and ledger are there.
    pub(super) async fn prepare(&mut self) -> Result<(), ClickHouseError> {
        if !self.is_settled {
            self.settle().await?;
            self.is_settled = true;
        }
        Ok(())
    }

    /// Makes what is missing of databases and ledger, and moves the ledger beside the tables where that can be done.
    pub(super) async fn settle(&mut self) -> Result<(), ClickHouseError> {
        self.places = self.locate().await?;
        if !self.places.database {
            if self.places.beside {
                // The tables are gone, and what the ledger says of them with them.
                let sql = format!("TRUNCATE TABLE {}", full(&self.beside(), LEDGER));
                self.wire.run("emptying the ledger of tables that are gone", &sql).await?;
            }
            let sql = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&self.settings.database));
            self.wire.run("creating the database", &sql).await?;
            self.places.database = true;
        }
        if self.places.beside {
            return Ok(());
        }
        let Err(error) = self.found().await else {
            (self.places.beside, self.places.within) = (true, false);
            return Ok(());
        };
        if !matches!(error, ClickHouseError::Server { .. }) {
            return Err(error);
        }
        // Somebody else may have been faster.
        self.places = self.locate().await?;
        if self.places.beside {
            return Ok(());
        }
        if !self.places.within {
            self.wire.run("creating the ledger", &create(&self.settings.database)).await?;
            self.places.within = true;
        }
        self.left = Some(self.stays(&error));
        Ok(())
    }

    /// Makes the ledger beside the tables, or moves it there.
    async fn found(&self) -> Result<(), ClickHouseError> {
        let beside = self.beside();
        let sql = format!("CREATE DATABASE IF NOT EXISTS {}", quoted(&beside));
        self.wire.run("creating the ledger's database", &sql).await?;
        match self.places.within {
            true => {
                let (from, to) = (full(&self.settings.database, LEDGER), full(&beside, LEDGER));
                self.wire.run("moving the ledger", &format!("RENAME TABLE {from} TO {to}")).await
            }
            false => self.wire.run("creating the ledger", &create(&beside)).await,
        }
    }

    fn stays(&self, error: &ClickHouseError) -> String {
        let (database, beside, user) = (&self.settings.database, quoted(&self.beside()), quoted(&self.settings.user));
        format!(
            "the table {LEDGER} is in database {database}, where whoever reads the tables sees it, because it cannot be in \
             database {beside} ({error}); let somebody who may run: GRANT SELECT, INSERT, TRUNCATE, CREATE TABLE, CREATE \
             DATABASE ON {beside}.* TO {user}; GRANT DROP TABLE ON {} TO {user}",
            full(database, LEDGER)
        )
    }
}

fn create(database: &str) -> String {
    format!(
        "CREATE TABLE IF NOT EXISTS {} (sync String, log_offset UInt64, updated_at DateTime64(3, 'UTC')) \
         ENGINE = ReplacingMergeTree(log_offset) ORDER BY sync",
        full(database, LEDGER)
    )
}

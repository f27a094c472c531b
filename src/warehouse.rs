//! Warehouse tables: which rows an event becomes, what the columns are called, and how their types evolve.
//!
//! Nouns: a **table** (one for each kind of event, one for each event name), a **column** (named by a pure function
//! of the path of a value, typed by the lattice), a **row**, a **cell**, a **change** (a table or column to create or
//! to widen), a **ledger** (how far a sync has come, kept beside its rows).
//!
//! Guarantees, for every warehouse:
//! * The tables depend on which events arrived, never on their order nor on how they were cut into batches (short of
//!   a cap). Names come from the path alone, types from a join that is commutative, associative and idempotent.
//! * Columns are added and widened, never dropped or narrowed. A value that has no column of its own is kept in the
//!   `_overflow` column of its row. Nobody who is in the way of such a change stops a sync: the change waits.
//! * Rows and ledger become durable in one transaction, or, where there are none, in an order that leaves each event once
//!   whenever it is broken off: nothing lost, nothing twice.
//!
//! The general rooms (`table`, `name`, `path`, `row`, `evolve`, `known`, `waiting`, `ledger`, `halves`, `sheet`) do no I/O. Each
//! warehouse is a folder with the same rooms: `client` (settings, connection), `ddl`, `encode`, `load`, `error`, `sheet`.
//! None of them knows about syncs, cursors or contracts. A new warehouse is such a folder, a line in [`Settings`] and
//! one in [`SHEETS`].

use std::sync::Arc;

use crate::destination::{Destination, Failure};
use declared::Declared;
use known::Found;
use sheet::Sheet;
use table::Limits;

/// Types that columns shall have whatever values come.
pub mod declared;
/// The lattice of column types, and what one JSON value needs.
pub mod evolve;
/// Which events of a batch a warehouse refuses, found by halving.
pub mod halves;
/// What is known of a warehouse between batches.
pub mod known;
/// How far a sync has come in a warehouse.
pub mod ledger;
/// From the path of a value to the name of its column; from an event name to the name of its table.
pub mod name;
/// Each table's memory of which path belongs to which column.
pub mod path;
/// What would be done to the tables, without doing it.
pub mod plan;
/// From events to rows.
pub mod row;
/// What each warehouse says about itself.
pub mod sheet;
/// What the tables are and what is known of them.
pub mod table;
/// Changes of tables that something is in the way of.
pub mod waiting;

/// A PostgreSQL server.
pub mod postgres;
/// ClickHouse, over its HTTP interface.
pub mod clickhouse;
/// Parquet files in a folder or a bucket.
pub mod lake;
/// Snowflake.
pub mod snowflake;
/// The embedded warehouse: one SQLite file.
pub mod sqlite;

/// One sync's part of a warehouse.
#[derive(Debug, Clone, Default)]
pub struct Part {
    /// Whose row of the ledger it is.
    pub sync: String,
    /// Where its tables are; the warehouse's own default when `None`.
    pub schema: Option<String>,
    /// Types fixed in advance.
    pub declared: Arc<Declared>,
}

/// A warehouse as an operator describes it.
#[derive(Debug, Clone)]
pub enum Settings {
    Sqlite(sqlite::Settings),
    Postgres(Box<postgres::Settings>),
    ClickHouse(clickhouse::Settings),
    Snowflake(snowflake::Settings),
    Lake(Box<lake::Settings>),
}

/// What each warehouse says about itself, in the order of the documentation.
pub const SHEETS: [&Sheet; 6] = [
    &sqlite::SHEET,
    &postgres::SHEET,
    &clickhouse::SHEET,
    &snowflake::SHEET,
    &snowflake::SHEET_STREAMING,
    &lake::SHEET,
];

impl Settings {
    /// What this kind of warehouse says about itself.
    #[must_use]
    pub fn sheet(&self) -> &'static Sheet {
        match self {
            Self::Sqlite(_) => &sqlite::SHEET,
            Self::Postgres(_) => &postgres::SHEET,
            Self::ClickHouse(_) => &clickhouse::SHEET,
            Self::Lake(_) => &lake::SHEET,
            Self::Snowflake(settings) => match settings.load {
                snowflake::Load::Staged => &snowflake::SHEET,
                snowflake::Load::Streaming => &snowflake::SHEET_STREAMING,
            },
        }
    }

    /// How wide and how many its tables may become.
    #[must_use]
    pub fn limits(&self) -> Limits {
        match self {
            Self::Sqlite(settings) => settings.limits,
            Self::Postgres(settings) => settings.limits,
            Self::ClickHouse(settings) => settings.limits,
            Self::Lake(settings) => settings.limits,
            Self::Snowflake(settings) => settings.limits,
        }
    }

    /// What stands before the names of a part's tables where the warehouse has no schemas of its own.
    #[must_use]
    pub fn prefix(&self, part: &Part) -> String {
        match (self, &part.schema) {
            (Self::Sqlite(_), Some(schema)) => format!("{schema}__"),
            _ => String::new(),
        }
    }

    /// The schema of a part as the warehouse's SQL spells it: what stands before the dot of a table's name. Empty where the
    /// schema is part of that name.
    #[must_use]
    pub fn schema_sql(&self, part: &Part) -> String {
        let named = part.schema.as_deref();
        match self {
            Self::Sqlite(_) => String::new(),
            Self::Postgres(settings) => postgres::quoted(named.unwrap_or(&settings.schema)),
            Self::ClickHouse(settings) => clickhouse::quoted(named.unwrap_or(&settings.database)),
            Self::Snowflake(settings) => settings.schema_sql(part),
            Self::Lake(settings) => named.unwrap_or(&settings.schema).to_owned(),
        }
    }

    /// The statement that makes the schema of a part where `found` does not have it.
    #[must_use]
    pub fn schema_statement(&self, part: &Part, found: &Found) -> Option<String> {
        let word = match self {
            _ if found.has_schema => return None,
            Self::Sqlite(_) | Self::Lake(_) => return None,
            Self::ClickHouse(_) => "DATABASE",
            Self::Postgres(_) => "SCHEMA",
            // An empty one is not seen.
            Self::Snowflake(_) => "SCHEMA IF NOT EXISTS",
        };
        Some(format!("CREATE {word} {}", self.schema_sql(part)))
    }

    /// A warehouse in which nothing has been made yet.
    #[must_use]
    pub fn nothing(&self, part: &Part) -> Found {
        // Every database of PostgreSQL and of Snowflake is made with it.
        let has_schema = match self {
            Self::Postgres(_) => self.schema_sql(part) == "\"public\"",
            Self::Snowflake(_) => self.schema_sql(part).ends_with(".\"PUBLIC\""),
            _ => false,
        };
        Found { has_schema, ..Found::default() }
    }

    /// Opens one sync's part. Nothing need be reachable yet: a warehouse that is away is found out at the first batch.
    ///
    /// # Errors
    /// What no waiting mends: settings that cannot be used, a file that is no warehouse.
    pub fn open(&self, part: &Part) -> Result<Box<dyn Destination>, Failure> {
        Ok(match self {
            Self::Sqlite(settings) => Box::new(settings.clone().check(part)?.open()?.run()?),
            Self::Postgres(settings) => Box::new(settings.check(part)?.open()),
            Self::ClickHouse(settings) => Box::new(settings.clone().check(part)?.open()?),
            Self::Lake(settings) => Box::new(lake::Settings::clone(settings).check(part)?.open()),
            Self::Snowflake(settings) => Box::new(settings.clone().check(part)?.open()?),
        })
    }

    /// The tables of one sync's part as they are; changes nothing.
    ///
    /// # Errors
    /// The warehouse cannot be read.
    pub async fn find(&self, part: &Part) -> Result<Found, Failure> {
        match self {
            Self::Sqlite(settings) => settings.clone().check(part)?.find(),
            Self::Postgres(settings) => settings.check(part)?.find().await,
            Self::ClickHouse(settings) => settings.clone().check(part)?.find().await,
            Self::Lake(settings) => lake::Settings::clone(settings).check(part)?.find().await,
            Self::Snowflake(settings) => settings.clone().check(part)?.open()?.find().await,
        }
    }
}

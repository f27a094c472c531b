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
//!   `_overflow` column of its row.
//! * Rows and ledger become durable in one transaction: nothing lost, nothing twice.
//!
//! The general rooms (`table`, `name`, `path`, `row`, `evolve`, `known`, `ledger`, `halves`, `sheet`) do no I/O. Each
//! warehouse is a folder with the same rooms: `client` (settings, connection), `ddl`, `encode`, `load`, `error`, `sheet`.
//! None of them knows about syncs, cursors or contracts. A new warehouse is such a folder, a line in [`Settings`] and
//! one in [`SHEETS`].

use std::sync::Arc;

use crate::destination::{Destination, Failure};
use known::Found;
use sheet::Sheet;
use table::{Declared, Limits};

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
/// From events to rows.
pub mod row;
/// What each warehouse says about itself.
pub mod sheet;
/// What the tables are and what is known of them.
pub mod table;

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
    Snowflake(snowflake::Settings),
}

/// What each warehouse says about itself, in the order of the documentation.
pub const SHEETS: [&Sheet; 2] = [&sqlite::SHEET, &snowflake::SHEET];

impl Settings {
    /// What this kind of warehouse says about itself.
    #[must_use]
    pub fn sheet(&self) -> &'static Sheet {
        match self {
            Self::Sqlite(_) => &sqlite::SHEET,
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
            Self::Snowflake(settings) => settings.limits,
        }
    }

    /// Opens one sync's part. Nothing need be reachable yet: a warehouse that is away is found out at the first batch.
    ///
    /// # Errors
    /// What no waiting mends: settings that cannot be used, a file that is no warehouse.
    pub fn open(&self, part: &Part) -> Result<Box<dyn Destination>, Failure> {
        Ok(match self {
            Self::Sqlite(settings) => Box::new(settings.clone().check(part)?.open()?.run()?),
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
            Self::Snowflake(settings) => settings.clone().check(part)?.open()?.find().await,
        }
    }
}

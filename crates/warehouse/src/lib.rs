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
//! One [`driver`] walks every batch; what differs is a [`loader::Loader`].
//!
//! This crate does no I/O, but that `rights` looks at folders. Each warehouse is a crate of its own
//! (`tidegate-warehouse-*`) with the same modules, which `docs/new-warehouse.md` lists. None of them knows about syncs,
//! cursors or contracts. A new warehouse is such a crate, and a line in each table of the program's `warehouses.rs`.

use std::sync::Arc;

use declared::Declared;

/// Types that columns shall have whatever values come.
pub mod declared;
/// The lattice of column types, and what one JSON value needs.
pub mod evolve;
/// The rows of one batch: planned, and gathered in parts.
pub mod batch_load;
/// The one driver of all warehouses.
pub mod driver;
/// From planned rows to what is written together.
pub mod encoder;
/// What removes somebody from tables.
pub mod forget;
/// What a warehouse does for one batch.
pub mod loader;
/// What is known of a warehouse between batches.
pub mod schema_cache;
/// How far a sync has come in a warehouse.
pub mod ledger;
/// From the path of a value to the name of its column; from an event name to the name of its table.
pub mod name;
/// Each table's memory of which path belongs to which column.
pub mod path;
/// What would be done to the tables, without doing it.
pub mod plan;
/// Views of the latest known traits.
pub mod profiles;
/// What may be done there.
pub mod rights;
/// One value of a row that was read.
pub mod read_cell;
/// From events to rows.
pub mod row;
/// What each warehouse says about itself.
pub mod capabilities;
/// Tables that were made anew take the place of those that are read.
pub mod swap;
/// What the tables are and what is known of them.
pub mod table;
/// Reading rows, to compare them.
pub mod table_reader;
/// Changes of tables that something is in the way of.
pub mod waiting;

/// One sync's part of a warehouse.
#[derive(Debug, Clone, Default)]
pub struct SyncPart {
    /// Whose row of the ledger it is.
    pub sync: String,
    /// Where its tables are; the warehouse's own default when `None`.
    pub schema: Option<String>,
    /// Types fixed in advance.
    pub declared: Arc<Declared>,
}

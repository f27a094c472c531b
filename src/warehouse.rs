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
//! The general rooms (`table`, `name`, `path`, `row`, `evolve`, `ledger`) do no I/O. Each warehouse is a folder with
//! the same rooms: `client` (connection and thread), `ddl`, `encode`, `load`, `error`. None of them knows about
//! syncs, cursors or contracts.

/// The lattice of column types, and what one JSON value needs.
pub mod evolve;
/// How far a sync has come in a warehouse.
pub mod ledger;
/// From the path of a value to the name of its column; from an event name to the name of its table.
pub mod name;
/// Each table's memory of which path belongs to which column.
pub mod path;
/// From events to rows.
pub mod row;
/// What the tables are and what is known of them.
pub mod table;

/// The embedded warehouse: one SQLite file.
pub mod sqlite;

//! ClickHouse, over its HTTP interface.
//!
//! Nouns: **settings** (what an operator may say), the **wire** (one HTTP exchange: a statement, a query, rows), a
//! **shape** (what a column is where it is not as the router declares it), the **session** (what is known, and the work on
//! one batch), the **warehouse** (the same behind the trait [`tidegate_event::destination::Destination`]).
//!
//! ClickHouse has no transactions, so a batch is idempotent by construction. Before the rows of a table are sent the
//! table is asked which of their ids it has, and only the others are sent, as one block, which is visible as a whole or
//! not at all. Tables of events come first, the tables of kinds (`tracks`, ...) after all of them, the ledger last. So a
//! batch that comes again, whole or cut elsewhere, after a crash at any point or after a lost answer, finds the rows that
//! it left and adds the others. A question about a table bears the same query id as the insert into it and replaces it if
//! it still runs, so that no insert of a dead predecessor lands between question and insert.
//!
//! Guarantees: what an id has once in a table stays the only row of that id, without `FINAL` and whatever is merged. A row
//! in `tracks` says that the row in the event's own table is there. Readers may see some tables of a batch before others.
//! Column types are told with the rows and compared by the server, so that a column that somebody has retyped meanwhile
//! refuses the rows rather than misreads them.

/// Settings, and the warehouse as a destination.
pub mod client;
/// What an operator may say, and whether it can be used.
mod settings;
/// Some requests at once.
mod crowd;
/// The statements that make a table what it shall be.
mod ddl;
/// Changes of a table, made.
mod apply;
/// What there is in the database.
mod catalog;
/// From scalars to RowBinary, and which declared type stands for which.
pub mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// Where the ledger is.
mod ledger;
/// One batch.
mod load;
/// Reading rows, to compare them.
mod reader;
/// What the user may do.
mod rights;
/// The rows of one table on their way out.
mod rows;
/// What ClickHouse is like.
mod capabilities;
/// Columns that are not as the router declares them.
mod shapes;
/// Names and texts as SQL spells them.
mod sql;
/// The views of the latest traits.
mod view;
/// One HTTP exchange.
mod wire;

pub use capabilities::CAPABILITIES;
pub use client::ClickHouse;
pub use reader::ClickHouseReader;
pub use settings::{CheckedClickHouse, ClickHouseSettings, LookUp};
pub use sql::quoted;

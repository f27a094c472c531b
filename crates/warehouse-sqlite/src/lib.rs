//! The embedded warehouse: one SQLite file.
//!
//! Nouns: **settings** (what an operator may say), a **client** (the open file; its calls block), the **warehouse**
//! (the same behind a thread of its own and the trait [`tidegate_event::destination::Destination`]).
//!
//! Guarantees: one transaction for each batch holds new columns, rows and the ledger; `Ok` means that SQLite has
//! synced it. Other processes may read while batches are written, and may add columns, indexes and views of their
//! own. Readers cannot make the write-ahead log grow without bound: beyond a limit the warehouse waits for them.
//!
//! Other syncs may write to the same file, each with its own ledger row. Those of one process take turns; another process is waited for, for as long
//! as the settings say, and the batch is tried again after that.

/// The open file and the thread that owns it.
pub mod client;
/// What an operator may say, and whether it can be used.
mod settings;
/// Changes of a table, made.
mod apply;
/// What there is in the file.
mod catalog;
/// The statements that make a table what it shall be.
mod ddl;
/// From scalars to SQLite values, and which declared type stands for which.
pub mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// The statements that write rows.
mod insert;
/// How far each sync has come, beside its rows.
pub mod ledger;
/// One batch, one transaction.
mod load;
/// A statement of somebody else that reads.
pub mod query;
/// Functions of SQLite that would take long, bounded.
mod long_functions;
/// Reading rows, to compare them.
mod reader;
/// What SQLite is like.
mod capabilities;
/// Names as SQL spells them.
mod sql;
/// Whether a text is one statement.
mod statement_text;
/// Tables that were made anew take the place of those that are read.
mod swap;
/// Who writes into a file, and who waits.
mod turns;
/// The views of the latest traits.
mod view;

pub use capabilities::CAPABILITIES;
pub use client::{Client, SqliteWarehouse};
pub use reader::SqliteReader;
pub use settings::{CheckedSqlite, SqliteSettings};
pub use statement_text::{STATEMENT_BYTES_MAX, StatementProblem};

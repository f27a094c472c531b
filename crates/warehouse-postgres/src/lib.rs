//! PostgreSQL, 14 or newer, over its own protocol.
//!
//! Nouns: an **address** (where the server is and how to trust it), a **wire** (one connection), a **part** (as much of a
//! batch as is copied at once), a **run** (rows of one table with the same columns, as COPY spells them), a **shape**
//! (the columns of a run), a **fingerprint** (by which an alteration of a table shows).
//!
//! Guarantees: one transaction for each batch holds new columns, rows and the ledger; `Ok` means that the server has
//! committed it. The tables are locked against alteration and compared with what is known of them before a row is
//! encoded. Two processes with the same sync take turns, and the second finds in the ledger what the first has written.
//! Rows are copied straight into the tables; where a key is there already, the keys of that part are looked up first, so
//! that each event is there once and keeps its first row.
//!
//! Other people may read, add columns, indexes and views, and change types. What they declared narrower than a value needs
//! is declared anew before the value is written.

/// Where the server is.
pub mod address;
/// What there is in the database.
mod catalog;
/// What an operator may say, and the destination.
pub mod client;
/// What an operator may say, and whether it can be used.
mod settings;
/// How a connection comes about.
mod connect;
/// Changes of a table, made.
mod apply;
/// The statements that make a table what it shall be.
mod ddl;
/// From scalars to the text that COPY reads, and which declared type stands for which.
pub mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// JSON that the operators of PostgreSQL can read.
mod json;
/// How far each sync has come.
mod ledger;
/// One batch, one transaction.
mod load;
/// Rows on their way.
mod part;
/// Passwords from a file.
mod pgpass;
/// Reading rows, to compare them.
mod reader;
/// Other ways for rows that are refused.
mod recover;
/// What the role may do.
mod rights;
/// What PostgreSQL is like.
mod capabilities;
/// Whom to trust.
mod tls;
/// One connection, and what is known through it.
mod session;
/// Names as SQL spells them.
mod sql;
/// Tables that were made anew take the place of those that are read.
mod swap;
/// The views of the latest traits.
mod view;
/// The connection, and what is said over it.
mod wire;

pub use address::{Address, Environment, VARIABLES};
pub use capabilities::CAPABILITIES;
pub use client::PostgresWarehouse;
pub use reader::PostgresReader;
pub use settings::{CheckedPostgres, PostgresSettings};
pub use sql::quoted;

//! Snowflake, by its own HTTP interface.
//!
//! Nouns: **settings** (what an operator may say), a **session** (somebody logged in), a **stage** (where files are put),
//! the **load table** (one sync's rows before they are merged), a **channel** (one sync's stream into one table), the
//! **ledger** (`_TIDEGATE_LEDGER`, in a schema beside that of the tables).
//!
//! Two ways of loading. *Staged*, the usual one: the rows of a batch become one file, which is put into an internal stage
//! and copied into the load table; then one transaction moves the ledger and the rows of all tables. *Streaming*: see
//! `streaming`.
//!
//! Guarantees of staged loading, and what each crash or lost answer leaves:
//! * Statements that change tables commit by themselves, so all come first. A crash among them leaves tables that are wide
//!   enough, or a column half rebuilt, which the next look at the table brings to an end (`rebuild`).
//! * The load table is made anew for every file, whose name nobody has had before. A crash before, in or after the upload
//!   or the copy leaves at most a file, removed at the next start, and rows that nobody reads.
//! * The transaction begins with the ledger: `UPDATE ... WHERE LOG_OFFSET = <what was read> AND <the load table holds as
//!   many rows as were written>`. It takes the lock that all loads of the schema queue for, so that what follows sees
//!   everything that others have committed; and it changes no row if the ledger has moved or if a file was copied twice or
//!   in part. Then nothing is committed, and the ledger is read anew.
//! * Rows go to a table only where their id is not there; the first of an id wins. Both rows of an event, the rows of all
//!   tables and the ledger become visible at once.
//! * `COMMIT` without an answer: the next login reads the ledger, which knows.
//! * A transaction that nobody ends holds the lock. A session that is dropped inside one closes itself; after a crash of
//!   the process Snowflake ends it when somebody waits for the lock (five minutes). Batches are tried again until then.
//!
//! A value that Snowflake refuses is found by loading halves of the batch and rolling them back.
//!
//! This room refuses to know anything of Snowflake's drivers; see `docs/decisions/017-own-snowflake-client.md`.

/// Where to log in, and how.
mod account;
/// What a statement answers.
mod answer;
/// Changes of a table, made.
mod apply;
/// What there is in the schema.
mod catalog;
/// Settings, and the trait of every destination.
pub mod client;
/// The statements that make a table what it shall be.
mod ddl;
/// From scalars to rows of JSON.
pub mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// Requests and answers, bounded.
mod http;
/// The token that a key pair signs.
mod jwt;
/// Where the ledger is.
mod ledger;
/// One batch.
mod load;
/// Where a sync's tables are.
mod place;
/// From a batch to rows.
mod plan;
/// A column that gets another type.
mod rebuild;
/// What the role may do.
mod rights;
/// Somebody logged in.
mod session;
/// What an operator may say.
mod settings;
/// What Snowflake is like.
mod capabilities;
/// Names and texts as SQL spells them.
mod sql;
/// Files on their way into a stage.
mod stage;
/// One batch by way of a file.
mod staged;
/// One batch by way of channels.
mod streaming;
/// The views of the latest traits.
mod view;

pub use capabilities::{CAPABILITIES, CAPABILITIES_STREAMING};
pub use client::SnowflakeWarehouse;
pub use settings::{Auth, CheckedSnowflake, LoadMode, Secret, SnowflakeSettings};

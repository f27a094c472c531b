//! Parquet files in a folder or a bucket: a lake that any engine reads.
//!
//! Nouns: the **lake** (a folder or the prefix of a bucket), the **root** (which tables there are; the one object that is
//! ever replaced), a **manifest** (which files make up one table, as of one commit), a **part** (the rows of one batch for
//! one table and partition), an **edit** (what a commit does to a table).
//!
//! Guarantees: data files and manifests are written first, under names that nobody else uses, and become part of the
//! lake when the root is replaced, in one put that fails if somebody else has replaced it meanwhile. The root holds the
//! ledger; so rows and ledger become durable together, and a reader that begins at the root sees whole batches only.
//! Several syncs and processes may write to one lake. All files of a table agree on the types of the columns that they
//! have; a column that a file does not have is null there. An id that comes again at a later offset is stored again.
//!
//! Nothing is locked while files are written. What a reader may still be at stays for a while; what a crash left behind
//! is found by its age.

/// Settings, and the trait [`tidegate_event::destination::Destination`].
pub mod client;
/// What an operator may say, and whether it can be used.
mod settings;
/// Where a file of rows is.
mod data_file;
/// What changes of a table come to.
mod ddl;
/// From scalars to the values of Parquet columns.
pub mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// One Parquet file.
mod file;
/// From a batch to columns.
mod gather;
/// Manifests, laid onto a root.
mod lay;
/// One batch, one commit.
mod load;
/// What a lake says of itself.
pub mod manifest;
/// Files written anew for a wider column.
mod rewrite;
/// What a lake is like.
mod capabilities;
/// The files of a batch, written before anybody can see them.
mod stage;
/// The objects of a lake, and its root.
mod store;
/// Merging small files and deleting old ones.
mod tidy;
/// The lake as views of DuckDB.
mod views;

pub use capabilities::CAPABILITIES;
pub use client::Lake;
pub use settings::{CheckedLake, LakeSettings, Partition};
pub use tidegate_object_store::{ObjectOptions, ObjectPlace};
pub use tidy::Tidied;

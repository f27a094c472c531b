//! Files of events in a bucket or a folder: one JSON text a line, compressed, in a folder for each hour.
//!
//! Nouns: a **folder** (what a message is published to: the path below which its file is), a **ledger** (an object that says how far a sync
//! has come, and which files it is about to write), a **generation** (how often a writer has taken the ledger over).
//!
//! Guarantees:
//! * A batch is announced in the ledger, then written, then counted in the ledger. Each step replaces the ledger as it was, so that a writer
//!   that was replaced goes no further.
//! * Who takes a ledger over that announces files counts them when all of them are there, and deletes them when not.
//! * No two writers ever use one name: the generation is in it. So nobody deletes or overwrites what another one has written.
//! * A file is there whole or not at all.
//!
//! This room knows no event and no configuration text.

/// From messages to the bytes of files.
mod encode;
/// What can go wrong, and what an operator should do about it.
mod error;
/// Where files may be, and how they are called.
mod folder;
/// How far a sync has come, and what it is about to write.
mod ledger;
/// Where files go.
mod target;
/// One batch, one commit.
mod writer;

pub use encode::FileCompression;
pub use folder::{FOLDER_BYTES_MAX, illegal_folder};
pub use target::S3Target;

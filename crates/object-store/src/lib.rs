//! Objects in a folder or a bucket.
//!
//! Nouns: a **place** (a folder, or the prefix of a bucket), a **record** (an object that is replaced, by who knows what it replaces), a
//! **tag** (which record was read).
//!
//! Guarantees: an object is there whole or not at all, and durable when the call has ended. A record is replaced in one put that fails if
//! somebody else has replaced it meanwhile. Every request has a time limit, and few are tried again here: who calls does that.
//!
//! This room knows nothing of what is in an object.

/// What can go wrong, and what an operator should do about it.
mod error;
/// Objects that are too large to be held in memory.
mod large;
/// The objects of a place.
mod opened;
/// Where a place is, and what its store is told.
mod place;

pub use error::{ObjectError, sentence};
pub use large::PART_BYTES;
pub use opened::{ObjectTag, OpenedPlace, Replacement};
pub use place::{ObjectOptions, ObjectPlace};

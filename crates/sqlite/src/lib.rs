//! Whether a SQLite file is whole, and copies of one that others write to.

/// Whether a SQLite file is whole.
pub mod sqlite_check;
/// Copies of a SQLite file that others write to.
pub mod sqlite_copy;

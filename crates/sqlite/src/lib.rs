//! Whether a SQLite file is whole.

/// Whether a SQLite file is whole.
pub mod sqlite_check;

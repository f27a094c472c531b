//! Text that people write: files read within bounds, YAML that knows its lines, JSON pointers, sizes and times, names with a
//! typo.

/// YAML text to a tree that knows its lines.
pub mod yaml;
/// Files that people name, read within bounds.
pub mod file;
/// What a name with a typo was meant to be.
pub mod nearest;
/// JSON pointers.
pub mod pointer;
/// Sizes and times.
pub mod units;

//! Text that people write: files read within bounds, YAML and JSON as fields that know their line, what is wrong with them,
//! JSON pointers, sizes and times, names with a typo.

/// A map of YAML or JSON, read field by field.
pub mod fields;
/// Files that people name, read within bounds.
pub mod file;
/// What a name with a typo was meant to be.
pub mod nearest;
/// What a document holds: values that know their lines.
pub mod node;
/// JSON pointers.
pub mod pointer;
/// What is wrong with a document.
pub mod problem;
/// JSON in which texts name secrets.
pub mod revealed;
/// Sizes and times.
pub mod units;
/// YAML text to values that know their lines.
pub mod yaml;

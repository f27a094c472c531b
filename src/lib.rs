//! Tidegate: a self-hosted customer-event router.
//!
//! An accepted event is appended once to a durable log and answered only then; everything after the log is a
//! reader with a cursor. What it is made of are the crates in `crates/`; this is the program around them (`docs/ARCHITECTURE.md`).

/// The admin API: uploads, pointers, logs, behind one token.
pub mod api;

/// The web pages: what the API answers, for people.
pub mod console;
/// The warehouses that there are.
pub mod warehouses;
/// Text to a configuration that cannot be wrong.
pub mod config;
/// Wires the parts; ordered start and stop.
pub mod app;
/// The command line.
pub mod cli;

//! Tidegate: a self-hosted customer-event router.
//!
//! An accepted event is appended once to a durable log and answered only then; everything after the log is a
//! reader with a cursor. The rooms, in the order in which an event meets them:

/// Where events enter: HTTP dialects, write keys, limits, replies.
pub mod source;
/// Connections: one server loop for every port, limits in both directions, who is who among addresses.
pub mod net;
/// The durable log: segments, group commit, cursors. Knows bytes and offsets, not events.
pub mod intake;
/// What an event is: kinds, decoding, clock skew, the record that the log holds.
pub mod event;
/// Data contracts: judge an event, name its violations.
pub mod contract;
/// What a plugin says about itself: its manifest, and the package that carries it.
pub mod plugin;
/// The one room that knows wasmtime: engine, limits, module loading.
pub mod wasm;
/// Tables that a workspace lends to plugins: addresses, names.
pub mod lookup;
/// The `transform` world: run a function over a batch of events.
pub mod function;
/// Versions of functions and destinations: uploaded, checked, compiled, kept, pointed at.
pub mod store;
/// A plugin's folder: made from a template, built, tested, measured, checked.
pub mod project;
/// Deduplication, contract and source functions over a stretch of the log, once for all syncs.
pub mod refine;
/// One route from a source to a destination: worker, filter, functions, batch, cursor.
pub mod sync;
/// What a destination promises: the trait, batches and deliveries.
pub mod destination;
/// The way out: requests to far hosts on behalf of guests, checked, signed and bounded.
pub mod outbound;
/// Destination plugins: what they plan is sent, tried again, or set aside.
pub mod delivery;
/// Warehouse tables: naming, rows, schema evolution, and one folder for each warehouse.
pub mod warehouse;
/// What was set aside and why, the dedup window and the refine cursor: the state file beside the log.
pub mod state;

/// The admin API: uploads, pointers, logs, behind one token.
pub mod api;

/// Text to a configuration that cannot be wrong.
pub mod config;
/// Wires the rooms; ordered start and stop.
pub mod app;
/// The command line.
pub mod cli;

/// Files that people name, read within bounds.
pub mod file;
/// YAML text to a tree that knows its lines.
pub mod yaml;
/// What a name with a typo was meant to be.
pub mod nearest;
/// Wall clock and randomness; nobody else reads them.
pub mod clock;
/// Threads and their turn on the processor.
pub mod task;
/// Whether a SQLite file is whole.
pub mod sqlite_check;
/// What people read of a running program: the log, and text made harmless.
pub mod telemetry;

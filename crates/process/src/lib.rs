//! What every part needs of the process: wall clock and randomness, threads, the text of the log, files that are replaced whole or held open to be copied.

/// Wall clock and randomness; nobody else reads them.
pub mod clock;
/// Files that are held open as they are, to be copied.
pub mod held_file;
/// Threads and their turn on the processor.
pub mod task;
/// What people read of a running program: the log, and text made harmless.
pub mod telemetry;
/// Files that are there whole or not at all.
pub mod whole_file;

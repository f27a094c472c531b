//! Everything behind the log: a range of it refined once for all, and one worker for each sync.

/// Deduplication, contract and source functions over a log range, once for all syncs.
pub mod refine;
/// One route from a source to a destination: worker, filter, functions, batch, cursor.
pub mod sync;

//! Everything behind the log: a range of it refined once for all, and one worker for each sync.

mod consents;
mod fates;
/// Deduplication, contract and source functions over a log range, once for all syncs.
pub mod refine;
/// A part of the log for one sync once more.
pub mod replay;
/// One route from a source to a destination: worker, filter, functions, batch, cursor.
pub mod sync;
/// Listening to events while they pass.
pub mod tap;

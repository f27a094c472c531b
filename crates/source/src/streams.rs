//! Streams of other systems as sources: messages are read, mapped, appended to the log, and acknowledged upstream after that.
//!
//! Nouns: a **board** (what a stream says of itself while it runs), a **batch** (what was read at once), an **order** (to stop, or to go on
//! elsewhere). What carries the messages implements the traits of the crate `stream`; this room knows no carrier.
//!
//! What holds:
//! * A receipt is given back when everything of its read is durable in the log, in the order of the reads, and never before.
//! * Whatever is read becomes a record: an event, or the message as it came with the reason why it is none. One that cannot be
//!   mapped costs no neighbour.
//! * A message that comes again has the same position, which is the id of what has none: the dedup window finds it.
//! * Batches are appended in the order of the reads. What the log has no room for waits, and nothing more is read meanwhile.
//! * Memory is bounded: [`BATCHES_MAX`] batches, and about [`BYTES_MAX`] bytes of messages, are on their way at once.

mod appender;
mod batch;
mod board;
mod framing;
mod mapping;
mod orders;
mod reading;
mod runner;
mod settings;
mod sources;

pub use batch::{BATCHES_MAX, BYTES_MAX};
pub use board::{StreamBoard, StreamReport, StreamState};
pub use orders::{SeekOrder, StreamOrders};
pub use runner::StreamRunner;
pub use settings::{StreamSettings, TombstoneRule, stream_mapping};
pub use sources::{SeekProblem, StreamSources};

#[cfg(test)]
mod tests;

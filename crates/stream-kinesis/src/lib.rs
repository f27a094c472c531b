//! Kinesis Data Streams, read and written over its HTTP interface.
//!
//! Nouns: a **stream** (a topic), a **shard** (an upstream partition), a **parent** and its **children** (shards that a split or a merge
//! closes and opens), a **sequence number** (where a record stands in its shard), an **aggregate** (a record in which the Kinesis Producer
//! Library has packed several; what it holds stands at `sequence:sub`), a **feed** (a shard that is read), a **place** (from where a shard is
//! read on), a **mark** (what the checkpoints keep of a shard).
//!
//! Guarantees:
//! * A child is read when everything of its parents is in the log, so that records of one key keep their order across splits and merges.
//! * A mark is saved only after its receipt came. Without a mark a shard is read from its beginning.
//! * No more is asked of a shard than it may be asked: five answers and 2 MB a second.
//! * What has the magic number of an aggregate and is none is a record like any other.
//! * Written records of one key keep their order: what was refused for now is written again with all of its key that came after it.
//!
//! * Where servers share a stream by leases, a mark counts only under the lease that its shard was read under. Who has lost the lease
//!   of a shard reads no more of it, and acknowledges nothing of it.
//!
//! Without leases each server that has the source reads all of it. This room knows no mapping, no log and no configuration text.

mod aggregate;
mod answers;
mod client;
mod connection;
mod error;
mod origin;
mod pace;
mod place;
mod put_queue;
mod reader;
mod shards;
mod target;
mod writer;

pub use connection::{KinesisConnection, is_stream_name};
pub use origin::KinesisOrigin;
pub use reader::KinesisStart;
pub use target::KinesisTarget;

//! Streams of other systems: messages that are read from them, and messages that are written to them.
//!
//! Nouns: a **carrier** (Kafka, Pub/Sub, Kinesis), a **topic** (what a message is published to; a stream of Kinesis is one too), an
//! **upstream partition** (messages in one order), a **position** (where a message stands in it, the same when it is delivered again), a
//! **receipt** (what is given back when everything of a read is in the log).
//!
//! [`ShardLeases`] say which of several servers reads which upstream partition, where the carrier does not say it itself.
//!
//! [`StreamReader`] and [`StreamWriter`] are what a carrier implements, each in a crate of its own (`stream-kafka`, ...). This room
//! knows no carrier, no mapping and no log: what reads from a stream into the log is in `source`. [`StreamDestination`] is what a sync
//! delivers to: it makes messages of events, and writes them with any carrier.

mod checkpoint;
mod destination;
mod error;
mod leases;
mod message;
mod reader;
mod writer;

pub use checkpoint::StreamCheckpoints;
pub use destination::{
    FILLED_BYTES_MAX, MessageShape, MessageTemplate, PayloadFormat, StreamDestination, TEMPLATE_BYTES_MAX,
    TemplateError,
};
pub use error::{StreamError, StreamReply};
pub use leases::{LeaseClaim, LeaseHolder, LeaseHolding, LeaseRenewal, LeaseSeek, ShardLease, ShardLeases};
pub use message::{OutgoingMessage, StreamMessage};
pub use reader::{PartitionProgress, SeekTarget, StreamBatch, StreamOrigin, StreamReader, StreamReceipt};
pub use writer::{FixedTopics, RefusedMessage, StreamFlush, StreamTarget, StreamWriter};

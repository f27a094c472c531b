//! What a carrier offers to who reads from it.
//!
//! The contract of [`StreamReader`], for everyone who implements it:
//! * One caller at a time. A `read` that is dropped before its end loses no message: the next one has them.
//! * What was read is not acknowledged upstream before its receipt comes. Receipts come in the order of the reads.
//! * A receipt for an upstream partition that was taken away meanwhile changes nothing there: whoever has it now reads from the last
//!   position that was acknowledged.
//! * A message that was never acknowledged comes again, after a crash or a `seek` at the latest, with the same position.
//! * Memory is bounded: no more is fetched ahead than one more read would give.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use crate::checkpoint::StreamCheckpoints;
use crate::error::StreamReply;
use crate::message::StreamMessage;

/// Reads messages of one source.
pub trait StreamReader: Send {
    /// The messages that are there, at most a few thousand or a few MiB, in the order of their partitions. Waits up to about a second for the
    /// first; none is a legal answer. Without messages the receipt comes back as well, unless it is no newer than the one before.
    fn read(&mut self) -> StreamReply<'_, StreamBatch>;

    /// Everything of the read with this receipt is in the log.
    fn acknowledge(&mut self, receipt: StreamReceipt) -> StreamReply<'_, ()>;

    /// Called about every second while messages wait for the log and nothing is read: keeps upstream from taking them for lost.
    fn keep_alive(&mut self) -> StreamReply<'_, ()>;

    /// Goes on from there, in all partitions or one. Receipts that are still out count no more.
    fn seek(&mut self, to: SeekTarget) -> StreamReply<'_, ()>;

    /// How far each partition that is read here is, as known without asking.
    fn progress(&self) -> Vec<PartitionProgress>;

    /// What is wrong with a part of it while the rest is read, one sentence each: a topic that is not there, messages that were deleted
    /// before they were read. Bounded by what is read.
    fn notices(&self) -> Vec<String> {
        Vec::new()
    }

    /// Gives up what it holds upstream. Nothing is asked of it after that; to drop one that was not closed loses nothing.
    fn close(&mut self) -> StreamReply<'_, ()>;
}

/// Where the messages of a source are: settings that can open a reader.
pub trait StreamOrigin: Send + Sync + fmt::Debug {
    /// The kind of the source: `kafka`, `pubsub`, `kinesis`. The field of `context` that says where an event is from.
    fn kind(&self) -> &'static str;

    /// How messages about it begin: `kafka at broker:9092`. Without secrets.
    fn place(&self) -> String;

    /// What another reader that says the same would take away from this one, a text for each: a topic of a group, a subscription. None
    /// where each reader has all messages.
    fn shared_reads(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it would take away what another reader says so, though it does not say the same itself: a pattern fits names.
    fn takes(&self, _shared_read: &str) -> bool {
        false
    }

    /// Whether messages that somebody writes to a topic at these servers come to this source.
    fn reads_topic(&self, _servers: &[String], _topic: &str) -> bool {
        false
    }

    /// A reader for the source of this name. `checkpoints` are for carriers that keep no positions themselves.
    fn open(&self, source: &str, checkpoints: Arc<dyn StreamCheckpoints>) -> StreamReply<'_, Box<dyn StreamReader>>;

    /// Whether it can be read, without reading or changing anything: what was found, one sentence each.
    fn check(&self) -> StreamReply<'_, Vec<String>>;
}

/// Messages that were read at once.
#[derive(Debug, Default)]
pub struct StreamBatch {
    pub messages: Vec<StreamMessage>,
    pub receipt: StreamReceipt,
}

/// Given back when everything of a read is in the log. It grows with each read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Hash)]
pub struct StreamReceipt(pub u64);

/// From where to go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SeekTarget {
    Earliest,
    /// Behind everything that is there now.
    Latest,
    /// The first messages that were published at that time or later, in microseconds since the Unix epoch.
    Time(i64),
    /// The message at this position comes next in its partition.
    Position {
        topic: String,
        partition: String,
        at: String,
    },
}

/// How far an upstream partition is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionProgress {
    pub topic: Arc<str>,
    pub partition: Arc<str>,
    /// The position that was acknowledged last, as upstream writes it; empty before the first.
    pub acknowledged: String,
    /// Messages that are there and not acknowledged.
    pub lag: Option<u64>,
    /// How long ago the oldest message that is not acknowledged was published, where the carrier says so.
    pub behind: Option<Duration>,
    /// The name of the server that reads it, where several share the source.
    pub holder: Option<Arc<str>>,
}

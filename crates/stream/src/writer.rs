//! What a carrier offers to who writes to it.
//!
//! The contract of [`StreamWriter`]:
//! * One caller at a time; batches of one sync come in log order.
//! * `write` answers `Ok` only when every message is durable at the far side, or refused by itself.
//! * A far side with transactions keeps the ledger in them: `durable_to` is the `next` of the last write that was committed, and a writer
//!   that was replaced cannot commit any more. Others answer `None`: then a batch that comes again is written again.
//! * A writer with a ledger that refuses a message makes none durable, and its ledger stays where it is: whoever called keeps what was refused,
//!   and the others come again without it. A writer without a ledger makes the others durable.
//! * After an error nothing that was handed over is under way any more, but for a commit whose answer is missing; the writer is
//!   dropped then, and another one is opened.

use std::fmt;
use std::time::Duration;

use crate::error::StreamReply;
use crate::message::OutgoingMessage;

/// Writes messages of one sync.
pub trait StreamWriter: Send {
    /// Whose server this is, said before anything else is asked. Where a ledger is kept it says so from the next write on, and
    /// `durable_to` of one that is another server's is an error.
    fn own(&mut self, _owner: &str) {}

    /// The log offset up to which everything is durable there, by the far side's own ledger; `None` without one.
    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>>;

    /// Makes the messages durable, those of a key in their order, and moves the ledger to `next`, also where there are no messages. Says which
    /// can never be taken.
    fn write(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> StreamReply<'_, Vec<RefusedMessage>>;

    /// Nothing is asked of it after that.
    fn close(&mut self) -> StreamReply<'_, ()>;
}

/// Where the messages of a destination go: settings that can open a writer.
pub trait StreamTarget: Send + Sync + fmt::Debug {
    /// The kind of the destination: `kafka`, `pubsub`, `kinesis`, `s3`.
    fn kind(&self) -> &'static str;

    /// How messages about it begin. Without secrets.
    fn place(&self) -> String;

    /// Whether the far side keeps a ledger in the transactions that write the messages.
    fn keeps_ledger(&self) -> bool {
        false
    }

    /// The topics that are known to be written to, whatever the events say.
    fn fixed_topics(&self) -> FixedTopics {
        FixedTopics::default()
    }

    /// How many events are best written at once, and how long they may wait for that.
    fn flush(&self) -> StreamFlush {
        StreamFlush::default()
    }

    /// A writer for the sync and the log partition that `ledger` names, unique in the server.
    fn open(&self, ledger: &str) -> StreamReply<'_, Box<dyn StreamWriter>>;

    /// Whether it can be written to, without writing anything: what was found, one sentence each.
    fn check(&self) -> StreamReply<'_, Vec<String>>;
}

/// Topics that are written to whatever the events say.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct FixedTopics {
    /// By what the far side is reached, as settings name it.
    pub servers: Vec<String>,
    /// Of messages.
    pub topics: Vec<String>,
    /// Of the ledger, where it has a topic.
    pub ledger: Option<String>,
}

/// A message that the far side can never take.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusedMessage {
    /// Of its event.
    pub index: usize,
    pub reason: String,
}

/// What is best written at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StreamFlush {
    pub events: usize,
    pub bytes: usize,
    /// How long events may wait for others.
    pub age: Duration,
}

/// For a broker: soon, and many where there are many.
impl Default for StreamFlush {
    fn default() -> Self {
        Self { events: 5_000, bytes: 8 << 20, age: Duration::from_millis(200) }
    }
}

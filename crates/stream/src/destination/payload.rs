//! What an event's message holds where that is not the event as JSON.

use std::collections::BTreeSet;
use std::fmt;

use bytes::Bytes;
use tidegate_event::Event;

use crate::error::StreamReply;

/// Makes the payloads of events.
///
/// What it needs of elsewhere (the id of a schema) it asks for in `prepare`, so that `payload` waits for nobody.
pub trait PayloadFormat: Send + Sync + fmt::Debug {
    /// Asks for what payloads for these topics need, unless it is at hand. Comes before `payload`.
    fn prepare<'a>(&'a self, topics: &'a BTreeSet<String>) -> StreamReply<'a, ()>;

    /// The payload of an event that goes to a topic.
    ///
    /// # Errors
    /// There is none, and this is why, as a sentence without its point.
    fn payload(&self, topic: &str, event: &Event) -> Result<Bytes, String>;

    /// The same for somebody who only looks: without what must be asked for elsewhere.
    ///
    /// # Errors
    /// As of [`Self::payload`].
    fn sample(&self, event: &Event) -> Result<Bytes, String>;

    /// Whether what it needs is there: what was found, one sentence each.
    fn check(&self) -> StreamReply<'_, Vec<String>>;
}

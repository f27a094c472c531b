//! A far side in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::Mutex;
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamTarget, StreamWriter};

/// What is at the far side. Topics whose name holds a space are refused.
#[derive(Debug, Default, Clone)]
pub struct MemoryStream {
    topics: Arc<Mutex<MemoryTopics>>,
}

#[derive(Debug, Default)]
struct MemoryTopics {
    messages: Vec<OutgoingMessage>,
    /// By name: what it says, and the number of the writer that may move it.
    ledgers: BTreeMap<String, (Option<u64>, u64)>,
    /// Whose each is, by name.
    owners: BTreeMap<String, String>,
}

/// Opens writers to a far side in memory.
#[derive(Debug, Clone)]
pub struct MemoryTarget {
    pub stream: MemoryStream,
    pub keeps_ledger: bool,
}

struct MemoryWriter {
    target: MemoryTarget,
    ledger: String,
    number: u64,
    owner: Option<String>,
}

impl MemoryStream {
    /// The payloads in a topic.
    #[must_use]
    pub fn payloads(&self, topic: &str) -> Vec<String> {
        let topics = self.topics.lock();
        let of_topic = topics.messages.iter().filter(|message| message.topic == topic);
        of_topic.map(|message| String::from_utf8_lossy(&message.payload).into_owned()).collect()
    }
}

impl MemoryWriter {
    fn is_ours(&self) -> Result<(), StreamError> {
        let topics = self.target.stream.topics.lock();
        match (&self.owner, topics.owners.get(&self.ledger)) {
            (Some(own), Some(owner)) if own != owner => Err(StreamError::ledger_of_another("memory", &self.ledger)),
            _ => Ok(()),
        }
    }

    async fn put(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> Result<Vec<RefusedMessage>, StreamError> {
        // Whoever is cut off is cut off here, before anything counts, or below, when everything does.
        tokio::task::yield_now().await;
        let is_refused = |message: &OutgoingMessage| message.topic.contains(' ');
        let refused = messages.iter().filter(|message| is_refused(message)).map(|message| RefusedMessage {
            index: message.index,
            reason: format!("there can be no topic {:?}", message.topic),
        });
        let refused: Vec<RefusedMessage> = refused.collect();
        {
            let mut topics = self.target.stream.topics.lock();
            if self.target.keeps_ledger {
                let (durable, number) = topics.ledgers.entry(self.ledger.clone()).or_default();
                if *number != self.number {
                    return Err(StreamError::Retry("memory: another writer has taken over".to_owned()));
                }
                if !refused.is_empty() {
                    return Ok(refused);
                }
                *durable = Some(next);
                if let Some(owner) = &self.owner {
                    topics.owners.insert(self.ledger.clone(), owner.clone());
                }
            }
            topics.messages.extend(messages.into_iter().filter(|message| !is_refused(message)));
        }
        tokio::task::yield_now().await;
        Ok(refused)
    }
}

impl StreamWriter for MemoryWriter {
    fn own(&mut self, owner: &str) {
        self.owner = Some(owner.to_owned());
    }

    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async move {
            if !self.target.keeps_ledger {
                return Ok(None);
            }
            self.is_ours()?;
            Ok(self.target.stream.topics.lock().ledgers.get(&self.ledger).and_then(|(durable, _)| *durable))
        })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(self.put(messages, next))
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

impl StreamTarget for MemoryTarget {
    fn kind(&self) -> &'static str {
        "memory"
    }

    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn keeps_ledger(&self) -> bool {
        self.keeps_ledger
    }

    fn open(&self, ledger: &str) -> StreamReply<'_, Box<dyn StreamWriter>> {
        let ledger = ledger.to_owned();
        Box::pin(async move {
            let number = {
                let mut topics = self.stream.topics.lock();
                let (_, number) = topics.ledgers.entry(ledger.clone()).or_default();
                *number += 1;
                *number
            };
            let writer: Box<dyn StreamWriter> =
                Box::new(MemoryWriter { target: self.clone(), ledger, number, owner: None });
            Ok(writer)
        })
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(async { Ok(vec!["it is in memory".to_owned()]) })
    }
}

//! Writes without transactions: a message that was written is there, and one whose answer was lost may be there twice.
//!
//! What the brokers refuse is sent once more alone, to know it from what travelled with it. Only then can a message of the same key
//! that came later be there before it.

use std::collections::HashSet;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::producer::Producer;
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamWriter};
use tokio::runtime::Handle;

use crate::writer::{BATCH_BYTES, CLOSE_TIME_MAX, WriterParts, closing, record, refusal_of_broker, refusal_of_client};

/// A writer whose far side keeps no ledger.
pub(crate) struct PlainWriter {
    parts: WriterParts,
    producer: Option<Producer>,
}

impl PlainWriter {
    pub(crate) async fn open(mut parts: WriterParts) -> Result<Self, StreamError> {
        match parts.producer(BATCH_BYTES).build().await {
            Ok(producer) => Ok(Self { parts, producer: Some(producer) }),
            Err(error) => Err(parts.failed(&error)),
        }
    }

    async fn put(&mut self, messages: Vec<OutgoingMessage>) -> Result<Vec<RefusedMessage>, StreamError> {
        let mut refused = self.parts.admit(&messages).await?;
        let illegal: HashSet<usize> = refused.iter().map(|refused| refused.index).collect();
        let legal: Vec<&OutgoingMessage> =
            messages.iter().filter(|message| !illegal.contains(&message.index)).collect();
        match self.send(&legal).await {
            Ok(more) => refused.extend(more),
            Err(error) => return Err(self.parts.failed(&error)),
        }
        refused.sort_unstable_by_key(|refused| refused.index);
        Ok(refused)
    }

    async fn send(&self, messages: &[&OutgoingMessage]) -> Result<Vec<RefusedMessage>, KrafkaError> {
        let Some(producer) = &self.producer else { return Err(KrafkaError::closed("the writer is closed")) };
        let mut refused = Vec::new();
        let mut under_way = Vec::with_capacity(messages.len());
        for message in messages {
            match producer.enqueue(record(message)).await {
                Ok(handle) => under_way.push((*message, handle)),
                Err(error) => match refusal_of_client(&error) {
                    Some(reason) => refused.push(RefusedMessage { index: message.index, reason }),
                    None => return Err(error),
                },
            }
        }
        producer.flush().await?;
        let mut suspects = Vec::new();
        let mut failure = None;
        for (message, handle) in under_way {
            match handle.await {
                Ok(_) => {}
                Err(error) if refusal_of_broker(&error).is_some() => suspects.push(message),
                Err(error) => {
                    failure.get_or_insert(error);
                }
            }
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        for message in suspects {
            match producer.send(record(message)).await {
                Ok(_) => {}
                Err(error) => match refusal_of_broker(&error) {
                    Some(reason) => refused.push(RefusedMessage { index: message.index, reason }),
                    None => return Err(error),
                },
            }
        }
        Ok(refused)
    }

    async fn end(&mut self, time: Duration) {
        if let Some(producer) = self.producer.take()
            && let Err(error) = producer.close_with(closing(time)).await
        {
            tracing::debug!(%error, "a producer was not closed in time");
        }
    }
}

impl StreamWriter for PlainWriter {
    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async { Ok(None) })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, _next: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(async move {
            let written = self.put(messages).await;
            if written.is_err() {
                // It comes again, so that nothing of it may be under way any more.
                self.end(Duration::ZERO).await;
            }
            written
        })
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(async move {
            self.end(CLOSE_TIME_MAX).await;
            Ok(())
        })
    }
}

/// What a writer that was cut off has not sent is not sent any more: it comes again.
impl Drop for PlainWriter {
    fn drop(&mut self) {
        if let (Some(producer), Ok(runtime)) = (self.producer.take(), Handle::try_current()) {
            runtime.spawn(async move { producer.close_with(closing(Duration::ZERO)).await });
        }
    }
}

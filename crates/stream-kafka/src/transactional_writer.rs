//! Writes each message once: messages and ledger in one transaction, and whoever opens a writer fences the one before.

use std::time::Duration;

use krafka::KrafkaError;
use krafka::producer::{TransactionState, TransactionalProducer};
use tidegate_stream::{OutgoingMessage, RefusedMessage, StreamError, StreamReply, StreamWriter};
use tokio::runtime::Handle;

use crate::ledger_topic::{self, KafkaLedger};
use crate::writer::{
    BATCH_BYTES, CLOSE_TIME_MAX, GIVE_UP_TIME_MAX, TRANSACTION_TIME_MAX, WriterParts, closing, record,
    refusal_of_broker, refusal_of_client,
};

/// How often a commit is sent whose answer does not come.
const COMMITS_MAX: u32 = 3;

/// A writer whose far side keeps the ledger.
pub(crate) struct TransactionalWriter {
    parts: WriterParts,
    /// The key of its record in the ledger, and the transactional id.
    ledger: String,
    /// Whose ledger it is to be.
    owner: Option<String>,
    producer: Option<TransactionalProducer>,
    /// What the ledger says, as far as known here.
    durable: Option<u64>,
    /// Each record travels alone, so that one that is refused is known.
    is_narrow: bool,
}

/// A message that was refused, by its place among the messages.
type SuspectedMessage = (usize, String);

impl TransactionalWriter {
    /// Fences whoever wrote under this name before.
    pub(crate) async fn open(mut parts: WriterParts, ledger: String) -> Result<Self, StreamError> {
        ledger_topic::ensure(&parts.admin, &parts.place, &parts.ledger_topic).await?;
        let producer = match build(&parts, &ledger, false).await {
            Ok(producer) => Some(producer),
            Err(error) => return Err(parts.failed(&error)),
        };
        Ok(Self { parts, ledger, owner: None, producer, durable: None, is_narrow: false })
    }

    async fn put(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> Result<Vec<RefusedMessage>, StreamError> {
        let illegal = self.parts.admit(&messages).await?;
        if !illegal.is_empty() {
            return Ok(illegal);
        }
        loop {
            if self.producer.is_none() {
                self.reopen().await?;
            }
            let attempt = self.attempt(&messages, next).await;
            let suspects = attempt.map_err(|error| self.parts.failed(&error))?;
            match suspects.len() {
                0 => {
                    self.durable = Some(next);
                    if std::mem::take(&mut self.is_narrow) {
                        // The next one travels with others again.
                        self.end(CLOSE_TIME_MAX).await;
                    }
                    return Ok(Vec::new());
                }
                1 => return Ok(refused(&messages, suspects)),
                _ if self.is_narrow => return Ok(refused(&messages, suspects)),
                _ => {
                    self.end(CLOSE_TIME_MAX).await;
                    self.is_narrow = true;
                }
            }
        }
    }

    /// Another producer fences the one before, which may be that of another writer by now: then the ledger is not where it was.
    async fn reopen(&mut self) -> Result<(), StreamError> {
        let producer = match build(&self.parts, &self.ledger, self.is_narrow).await {
            Ok(producer) => producer,
            Err(error) => return Err(self.parts.failed(&error)),
        };
        self.producer = Some(producer);
        if self.read().await? == self.durable {
            return Ok(());
        }
        let WriterParts { place, .. } = &self.parts;
        Err(StreamError::Retry(format!("{place}: another writer has taken over the name {}", self.ledger)))
    }

    async fn read(&self) -> Result<Option<u64>, StreamError> {
        let WriterParts { kafka, place, ledger_topic, .. } = &self.parts;
        let Some(found) = ledger_topic::read(kafka, place, ledger_topic, &self.ledger).await? else { return Ok(None) };
        match (&self.owner, &found.owner) {
            (Some(own), Some(owner)) if own != owner => Err(StreamError::ledger_of_another(place, &self.ledger)),
            _ => Ok(Some(found.next)),
        }
    }

    /// One transaction. When messages are suspected of being refused, nothing of it counts; one of them is.
    async fn attempt(&self, messages: &[OutgoingMessage], next: u64) -> Result<Vec<SuspectedMessage>, KrafkaError> {
        let Some(producer) = &self.producer else { return Err(KrafkaError::illegal_state("there is no producer")) };
        producer.begin()?;
        let ledger = KafkaLedger { next, owner: self.owner.clone() };
        let ledger = ledger.record(&self.parts.ledger_topic, &self.ledger);
        let (suspects, failure) = send(producer, messages, ledger).await;
        if suspects.is_empty() && failure.is_none() {
            fail::fail_point!("stream_before_commit", |_| std::process::abort());
            commit(producer).await?;
            fail::fail_point!("stream_after_commit", |_| std::process::abort());
            return Ok(Vec::new());
        }
        let aborted = producer.abort().await;
        match failure.filter(|_| suspects.is_empty()) {
            Some(failure) => Err(failure),
            None => aborted.map(|()| suspects),
        }
    }

    async fn end(&mut self, time: Duration) {
        if let Some(producer) = self.producer.take()
            && let Err(error) = producer.close_with(closing(time)).await
        {
            tracing::debug!(%error, ledger = self.ledger, "a producer was not closed in time");
        }
    }
}

async fn build(parts: &WriterParts, ledger: &str, is_narrow: bool) -> Result<TransactionalProducer, KrafkaError> {
    let batch_bytes = if is_narrow { 1 } else { BATCH_BYTES };
    parts.producer(batch_bytes).transaction_timeout(TRANSACTION_TIME_MAX).build_transactional(ledger).await
}

/// Sends everything, and waits until it is there: messages that may be what is refused, and the first other error.
async fn send(
    producer: &TransactionalProducer,
    messages: &[OutgoingMessage],
    ledger: krafka::Record,
) -> (Vec<SuspectedMessage>, Option<KrafkaError>) {
    let (mut suspects, mut failure) = (Vec::new(), None);
    let mut under_way = Vec::with_capacity(messages.len() + 1);
    for (at, message) in messages.iter().enumerate() {
        match producer.enqueue(record(message)).await {
            Ok(handle) => under_way.push((Some(at), handle)),
            Err(error) => match refusal_of_client(&error) {
                Some(reason) => suspects.push((at, reason)),
                None => {
                    failure = Some(error);
                    break;
                }
            },
        }
    }
    if suspects.is_empty() && failure.is_none() {
        match producer.enqueue(ledger).await {
            Ok(handle) => under_way.push((None, handle)),
            Err(error) => failure = Some(error),
        }
    }
    if let Err(error) = producer.flush().await {
        failure.get_or_insert(error);
    }
    for (at, handle) in under_way {
        let Err(error) = handle.await else { continue };
        match (at, refusal_of_broker(&error)) {
            (Some(at), Some(reason)) => suspects.push((at, reason)),
            _ => {
                failure.get_or_insert(error);
            }
        }
    }
    suspects.sort_unstable_by_key(|(at, _)| *at);
    (suspects, failure)
}

/// Commits. One whose answer did not come is sent again, which does no harm; whether it counted in the end is in the ledger.
async fn commit(producer: &TransactionalProducer) -> Result<(), KrafkaError> {
    let mut sent = 1;
    loop {
        match producer.commit().await {
            Ok(()) => return Ok(()),
            Err(_) if producer.state() == TransactionState::CommitUnknown && sent < COMMITS_MAX => sent += 1,
            Err(error) => return Err(error),
        }
    }
}

fn refused(messages: &[OutgoingMessage], suspects: Vec<SuspectedMessage>) -> Vec<RefusedMessage> {
    let of_message = |(at, reason): SuspectedMessage| Some(RefusedMessage { index: messages.get(at)?.index, reason });
    suspects.into_iter().filter_map(of_message).collect()
}

impl StreamWriter for TransactionalWriter {
    fn own(&mut self, owner: &str) {
        self.owner = Some(owner.to_owned());
    }

    fn durable_to(&mut self) -> StreamReply<'_, Option<u64>> {
        Box::pin(async move {
            self.durable = self.read().await?;
            Ok(self.durable)
        })
    }

    fn write(&mut self, messages: Vec<OutgoingMessage>, next: u64) -> StreamReply<'_, Vec<RefusedMessage>> {
        Box::pin(async move {
            let written = self.put(messages, next).await;
            if written.is_err() {
                self.end(GIVE_UP_TIME_MAX).await;
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

/// A writer that was cut off leaves no transaction open for longer than it takes to say so.
impl Drop for TransactionalWriter {
    fn drop(&mut self) {
        if let (Some(producer), Ok(runtime)) = (self.producer.take(), Handle::try_current()) {
            runtime.spawn(async move { producer.close_with(closing(CLOSE_TIME_MAX)).await });
        }
    }
}

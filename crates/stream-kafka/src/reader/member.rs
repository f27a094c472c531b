//! This reader as a member of its consumer group: the client of Kafka, under the protocol that the brokers take.

use std::sync::Arc;
use std::time::Duration;

use krafka::consumer::{AutoOffsetReset, Consumer, GroupProtocol, IsolationLevel, PartitionAssignmentStrategy};
use krafka::error::{ErrorCode, ProtocolErrorKind};
use krafka::{CloseOptions, ConsumerRecord, Kafka, KrafkaError};
use tokio::task::JoinHandle;

use super::commits::{Handover, HeldClaims};

/// Messages that one poll gives at most, and that are unpacked for the next one meanwhile.
const POLL_MESSAGES_MAX: i32 = 2_000;
const AHEAD_MESSAGES_MAX: i32 = 500;
/// How long a broker may wait for new messages of its partitions. A poll waits for the slowest broker, so that idle partitions with a long
/// wait would slow down busy ones.
const FETCH_WAIT_MAX: Duration = Duration::from_millis(20);
/// Bytes that a broker answers with at once, and of one partition, as they are packed. A larger batch comes alone. All of it is unpacked at once.
const FETCH_BYTES_MAX: i32 = 2 << 20;
const PARTITION_BYTES_MAX: i32 = 512 << 10;
/// What a batch of messages may have unpacked: unpacking ends there. The partition of a larger one stands still, and says so.
pub(super) const BATCH_BYTES_MAX: usize = 32 << 20;
/// Without a poll for so long the member leaves its group. There is one about every second, whatever the log does.
const POLL_INTERVAL_MAX: Duration = Duration::from_secs(120);
const LEAVE_TIME_MAX: Duration = Duration::from_secs(2);

/// A member of a group.
pub(super) struct Member {
    kafka: Kafka,
    group: String,
    protocol: GroupProtocol,
    claims: Arc<HeldClaims>,
    topics: Vec<String>,
    consumer: Option<Arc<Consumer>>,
    /// A poll runs to its end even when nobody waits for it any more: it may be in the middle of giving partitions away.
    polling: Option<JoinHandle<Result<Vec<ConsumerRecord>, KrafkaError>>>,
}

impl Member {
    pub(super) fn new(kafka: Kafka, group: String, claims: Arc<HeldClaims>) -> Self {
        let protocol = GroupProtocol::Consumer;
        Self { kafka, group, protocol, claims, topics: Vec::new(), consumer: None, polling: None }
    }

    /// The client, when there is one.
    pub(super) fn current(&self) -> Option<Arc<Consumer>> {
        self.consumer.clone()
    }

    pub(super) fn topics(&self) -> &[String] {
        &self.topics
    }

    pub(super) const fn is_polling(&self) -> bool {
        self.polling.is_some()
    }

    /// Reads these topics and no others.
    pub(super) async fn subscribe(&mut self, topics: Vec<String>) -> Result<(), KrafkaError> {
        if let Some(consumer) = &self.consumer {
            if topics.is_empty() {
                consumer.unsubscribe().await?;
            } else {
                consumer.subscribe(&topics).await?;
            }
        }
        self.topics = topics;
        Ok(())
    }

    /// What there is, waiting so long for the first. A poll that is under way already is waited for instead.
    pub(super) async fn poll(&mut self, wait: Duration) -> Result<Vec<ConsumerRecord>, KrafkaError> {
        if self.polling.is_none() {
            let consumer = self.consumer().await?;
            self.polling = Some(tokio::spawn(async move { consumer.poll(wait).await }));
        }
        let Some(polling) = self.polling.as_mut() else { return Ok(Vec::new()) };
        let polled = polling.await;
        self.polling = None;
        polled.unwrap_or_else(|error| Err(KrafkaError::IllegalState { message: format!("a poll has ended: {error}") }))
    }

    /// Has a poll that is under way come to its end now. What it has read comes again.
    pub(super) async fn interrupt(&mut self) {
        if self.polling.is_some()
            && let Some(consumer) = &self.consumer
        {
            consumer.wakeup();
            let _ = self.poll(Duration::ZERO).await;
        }
    }

    /// Goes on under the classic protocol.
    pub(super) async fn fall_back(&mut self) {
        tracing::info!(
            group = self.group,
            "the brokers offer no groups of the protocol `consumer`: joining under `classic`"
        );
        self.protocol = GroupProtocol::Classic;
        self.leave().await;
    }

    /// Whether the brokers take no member under the protocol that it has.
    pub(super) fn is_refused(&self, error: &KrafkaError) -> bool {
        let is_refusal = match error {
            KrafkaError::Protocol { kind, .. } => *kind == ProtocolErrorKind::UnknownApiVersion,
            KrafkaError::Broker { code, .. } => matches!(
                code,
                ErrorCode::UnsupportedVersion | ErrorCode::InconsistentGroupProtocol | ErrorCode::GroupIdNotFound
            ),
            _ => false,
        };
        is_refusal && self.protocol == GroupProtocol::Consumer
    }

    /// Leaves the group. A later poll joins it again.
    pub(super) async fn leave(&mut self) {
        let Some(consumer) = self.consumer.take() else { return };
        if let Err(error) = consumer.close_with(CloseOptions::new().timeout(LEAVE_TIME_MAX)).await {
            tracing::debug!(%error, "the group was not told that this member leaves it; it will see that");
        }
        self.claims.lock().give_up_all();
    }

    async fn consumer(&mut self) -> Result<Arc<Consumer>, KrafkaError> {
        if let Some(consumer) = self.consumer.as_ref().filter(|consumer| !consumer.is_closed()) {
            return Ok(Arc::clone(consumer));
        }
        self.claims.lock().give_up_all();
        let handover = Arc::new(Handover::new(Arc::clone(&self.claims)));
        let consumer = self
            .kafka
            .consumer(self.group.as_str())
            .group_protocol(self.protocol)
            .partition_assignment_strategy(PartitionAssignmentStrategy::CooperativeSticky)
            // Where a partition begins, and what was skipped of it, is told by us.
            .auto_offset_reset(AutoOffsetReset::None)
            .enable_auto_commit(false)
            .isolation_level(IsolationLevel::ReadCommitted)
            .fetch_max_wait(FETCH_WAIT_MAX)
            .fetch_max_bytes(FETCH_BYTES_MAX)
            .max_partition_fetch_bytes(PARTITION_BYTES_MAX)
            .max_decompressed_size(BATCH_BYTES_MAX)
            .max_poll_records(POLL_MESSAGES_MAX)
            .max_buffered_records(AHEAD_MESSAGES_MAX)
            .max_poll_interval(POLL_INTERVAL_MAX)
            .metrics_push(false)
            .rebalance_listener(Arc::clone(&handover))
            .build()
            .await?;
        let consumer = Arc::new(consumer);
        handover.commit_with(&consumer);
        if !self.topics.is_empty()
            && let Err(error) = consumer.subscribe(&self.topics).await
        {
            // It has joined nothing: this only keeps it from warning.
            let _ = consumer.close().await;
            return Err(error);
        }
        self.consumer = Some(Arc::clone(&consumer));
        Ok(consumer)
    }
}

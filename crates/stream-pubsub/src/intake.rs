//! What runs in the background for a reader: pulls, as long as there is room for what they bring, and the extending of leases.
//!
//! Pulls are several at once where a subscription is not ordered. With ordering there is one: of two answers nobody knows which one was first.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use parking_lot::Mutex;
use tidegate_stream::{StreamBatch, StreamError, StreamMessage, StreamReceipt};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout_at};

use crate::error::{READING, stream_error};
use crate::grpc::GrpcError;
use crate::held::{HeldKey, HeldMessages};
use crate::proto::{PubsubMessage, ReceivedMessage};
use crate::subscription::{AckOutcome, PulledSubscription, pieces};

/// Pulls of a subscription at once.
pub(crate) const PULLS: usize = 4;
/// Of one pull. Pub/Sub gives no more.
const PULL_MESSAGES_MAX: i32 = 1_000;
/// Nothing more is pulled while so much waits to be given; what is on its way then comes on top of it.
const READY_MESSAGES_MAX: usize = 2_000;
const READY_BYTES_MAX: usize = 8 << 20;
/// After a pull that brought nothing.
const EMPTY_PAUSE: Duration = Duration::from_millis(50);
/// Between two tries.
const PAUSE_MIN: Duration = Duration::from_millis(250);
const PAUSE_MAX: Duration = Duration::from_secs(5);
/// Before a subscription is tried again that an operator has to see to.
const STOPPED_PAUSE: Duration = Duration::from_secs(30);
/// Pulls that fail for so long are told to whoever reads.
const PATIENCE: Duration = Duration::from_secs(30);
/// Leases are looked at so often.
const KEEP_TICK: Duration = Duration::from_secs(1);

/// Pulled messages, between those who pull and who reads.
pub(crate) struct Intake {
    pub(crate) place: String,
    /// How many there are.
    subscriptions: usize,
    state: Mutex<IntakeState>,
    arrived: Notify,
    room: Notify,
}

#[derive(Default)]
struct IntakeState {
    held: HeldMessages,
    failure: Option<StreamError>,
    /// Why subscriptions cannot be read until an operator acts, by their numbers.
    stopped: BTreeMap<usize, StreamError>,
    /// How often the reader went elsewhere. What a pull brings that began before is given back.
    seeks: u64,
}

impl Intake {
    pub(crate) fn new(place: String, subscriptions: usize) -> Self {
        Self { place, subscriptions, state: Mutex::default(), arrived: Notify::new(), room: Notify::new() }
    }

    /// Messages, or none after that time.
    pub(crate) async fn give(
        &self,
        messages_max: usize,
        bytes_max: usize,
        until: Instant,
    ) -> Result<StreamBatch, StreamError> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(batch) = self.try_give(messages_max, bytes_max)? {
                return Ok(batch);
            }
            if timeout_at(until, arrived).await.is_err() {
                return Ok(self.state.lock().held.give(0, 0));
            }
        }
    }

    fn try_give(&self, messages_max: usize, bytes_max: usize) -> Result<Option<StreamBatch>, StreamError> {
        let mut state = self.state.lock();
        if let Some(error) = state.failure.take() {
            return Err(error);
        }
        if state.held.ready().0 == 0 {
            return Ok(None);
        }
        let batch = state.held.give(messages_max, bytes_max);
        drop(state);
        self.room.notify_waiters();
        Ok(Some(batch))
    }

    /// What went wrong in the background.
    pub(crate) fn failure(&self) -> Result<(), StreamError> {
        self.state.lock().failure.take().map_or(Ok(()), Err)
    }

    /// A subscription cannot be read until an operator acts. Whether others are read; with the last of them all fails.
    pub(crate) fn stop(&self, subscription: usize, error: StreamError) -> bool {
        let mut state = self.state.lock();
        if state.stopped.insert(subscription, error.clone()).is_none() {
            tracing::warn!(error = %error, "a subscription cannot be read");
        }
        let are_others_read = state.stopped.len() < self.subscriptions;
        drop(state);
        if !are_others_read {
            self.fail(error);
        }
        are_others_read
    }

    pub(crate) fn is_stopped(&self, subscription: usize) -> bool {
        self.state.lock().stopped.contains_key(&subscription)
    }

    /// Why some subscriptions cannot be read.
    pub(crate) fn stopped(&self) -> Vec<String> {
        self.state.lock().stopped.values().map(StreamError::to_string).collect()
    }

    fn goes_on(&self, subscription: usize) {
        self.state.lock().stopped.remove(&subscription);
    }

    fn fail(&self, error: StreamError) {
        self.state.lock().failure = Some(error);
        self.arrived.notify_waiters();
    }

    /// What is due for a receipt, of the subscription with this number.
    pub(crate) fn due(&self, receipt: StreamReceipt, subscription: usize) -> Vec<(HeldKey, String)> {
        let mut due = self.state.lock().held.due(receipt);
        due.retain(|(key, _)| key.subscription == subscription);
        due
    }

    /// What became of ack ids that were to be acknowledged. Returns the message that was acknowledged last.
    pub(crate) fn acknowledged(&self, asked: &[(HeldKey, String)], outcome: &AckOutcome) -> Option<String> {
        let mut state = self.state.lock();
        let mut last = None;
        for (key, ack_id) in asked {
            if outcome.lost.contains(ack_id) {
                // It was given, so that nothing waits behind it.
                state.held.lose(key, ack_id);
            } else if !outcome.again.contains(ack_id) {
                state.held.settled(key, ack_id);
                last = Some(key);
            }
        }
        last.map(|key| key.id.to_string())
    }

    /// Says how many messages of this receipt and those before come again.
    pub(crate) fn close_reads(&self, receipt: StreamReceipt) -> usize {
        self.state.lock().held.close_reads(receipt)
    }

    /// Everything is given up, and what pulls bring that are under way is given back. The ack ids, by subscription.
    pub(crate) fn give_up(&self) -> Vec<(usize, Vec<String>)> {
        let mut state = self.state.lock();
        state.seeks += 1;
        let given_up = state.held.give_up();
        drop(state);
        self.room.notify_waiters();
        given_up.into_iter().collect()
    }

    pub(crate) fn oldest_us(&self, subscription: usize) -> Option<i64> {
        self.state.lock().held.oldest_us(subscription)
    }

    /// Waits until there is room for what a pull brings. Returns how often the reader had gone elsewhere by then.
    async fn wait_for_room(&self) -> u64 {
        loop {
            let room = self.room.notified();
            if let Some(seeks) = self.seeks_if_there_is_room() {
                return seeks;
            }
            room.await;
        }
    }

    fn seeks_if_there_is_room(&self) -> Option<u64> {
        let state = self.state.lock();
        let (messages, bytes) = state.held.ready();
        (messages < READY_MESSAGES_MAX && bytes < READY_BYTES_MAX).then_some(state.seeks)
    }

    /// Takes what a pull brought; the ack ids that come back are to be given back.
    fn take_in(
        &self,
        seeks: u64,
        received: Vec<(HeldKey, String, StreamMessage)>,
        lease_until: Instant,
    ) -> Vec<String> {
        let mut state = self.state.lock();
        if state.seeks != seeks {
            return received.into_iter().map(|(_, ack_id, _)| ack_id).collect();
        }
        for (key, ack_id, message) in received {
            state.held.take_in(key, ack_id, lease_until, message);
        }
        drop(state);
        self.arrived.notify_waiters();
        Vec::new()
    }

    fn ending(&self, subscription: usize, until: Instant) -> Vec<(HeldKey, String)> {
        self.state.lock().held.ending(subscription, until)
    }

    /// What became of extended leases: the ack ids that are to be given back.
    fn extended(&self, asked: &[(HeldKey, String)], outcome: &AckOutcome, until: Instant) -> Vec<String> {
        let mut state = self.state.lock();
        let mut given_back = Vec::new();
        for (key, ack_id) in asked {
            if outcome.lost.contains(ack_id) {
                given_back.extend(state.held.lose(key, ack_id));
            } else if !outcome.again.contains(ack_id) {
                state.held.extended(key, ack_id, until);
            }
        }
        given_back
    }
}

/// Pulls from the subscription with this number, until it is dropped or something goes wrong that no try mends.
pub(crate) async fn pull_on(intake: Arc<Intake>, subscription: Arc<PulledSubscription>, number: usize) {
    let (mut messages_max, mut pause, mut failing_since) = (PULL_MESSAGES_MAX, PAUSE_MIN, None);
    loop {
        let seeks = intake.wait_for_room().await;
        let error = match subscription.pull(messages_max).await {
            Ok(answer) => {
                (pause, failing_since) = (PAUSE_MIN, None);
                intake.goes_on(number);
                let is_empty = answer.received_messages.is_empty();
                let received = answer.received_messages.into_iter();
                let received = received.filter_map(|received| delivered(&subscription, number, received)).collect();
                let seconds = u64::try_from(subscription.settings.deadline_seconds).unwrap_or_default();
                let unwanted = intake.take_in(seeks, received, Instant::now() + Duration::from_secs(seconds));
                subscription.give_back(unwanted).await;
                if is_empty {
                    sleep(EMPTY_PAUSE).await;
                }
                continue;
            }
            // It is bounded by messages alone.
            Err(GrpcError::TooLarge) if messages_max > 1 => {
                messages_max = (messages_max / 4).max(1);
                continue;
            }
            Err(error) => stream_error(&intake.place, &subscription.name, &error, READING),
        };
        let since = *failing_since.get_or_insert_with(Instant::now);
        if matches!(error, StreamError::Stop { .. }) {
            failing_since = None;
            pause = if intake.stop(number, error) { STOPPED_PAUSE } else { PAUSE_MAX };
            sleep(pause).await;
            continue;
        }
        if since.elapsed() >= PATIENCE {
            intake.fail(error);
            // Whoever reads may ask again without another reader.
            failing_since = None;
            pause = PAUSE_MAX;
        } else {
            tracing::debug!(subscription = subscription.name, error = %error, "a pull is tried again");
        }
        sleep(pause).await;
        pause = (pause * 2).min(PAUSE_MAX);
    }
}

/// A message as whoever reads gets it. One without an id or an ack id is none that anybody could acknowledge.
fn delivered(
    subscription: &PulledSubscription,
    number: usize,
    received: ReceivedMessage,
) -> Option<(HeldKey, String, StreamMessage)> {
    let ReceivedMessage { ack_id, message } = received;
    let PubsubMessage { data, attributes, message_id, publish_time, ordering_key } = message?;
    if message_id.is_empty() || ack_id.is_empty() {
        return None;
    }
    let key = HeldKey { subscription: number, id: message_id.as_str().into() };
    let message = StreamMessage {
        topic: Arc::clone(&subscription.short),
        topic_mark: None,
        partition: Arc::from(""),
        at: message_id,
        key: (!ordering_key.is_empty()).then(|| Bytes::from(ordering_key)),
        payload: Some(data),
        headers: attributes.into_iter().map(|(name, value)| (name.to_lowercase(), value)).collect(),
        published_at_us: publish_time.map(|time| time.us()),
    };
    Some((key, ack_id, message))
}

/// Extends the leases of what is held of the subscription with this number, each when half of it is over.
pub(crate) async fn keep_on(intake: Arc<Intake>, subscription: Arc<PulledSubscription>, number: usize) {
    let seconds = subscription.settings.lease_seconds();
    let lease = Duration::from_secs(u64::try_from(seconds).unwrap_or_default());
    loop {
        sleep(KEEP_TICK).await;
        let mut ending = intake.ending(number, Instant::now() + lease / 2);
        for piece in pieces(ending.iter().map(|(_, ack_id)| ack_id.clone()).collect()) {
            let rest = ending.split_off(piece.len().min(ending.len()));
            let asked = std::mem::replace(&mut ending, rest);
            let asked_at = Instant::now();
            match subscription.extend(piece, seconds).await {
                Ok(outcome) => {
                    let given_back = intake.extended(&asked, &outcome, asked_at + lease);
                    subscription.give_back(given_back).await;
                }
                Err(error) => match stream_error(&intake.place, &subscription.name, &error, READING) {
                    StreamError::Retry(error) => {
                        tracing::debug!(subscription = subscription.name, error, "leases could not be extended");
                    }
                    error => {
                        intake.stop(number, error);
                        break;
                    }
                },
            }
        }
    }
}

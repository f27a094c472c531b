//! What was pulled and is not acknowledged: which messages are ours, until when, and which of them were given to whoever reads.
//!
//! Time is an argument. Nothing is asked or sent here.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use tidegate_stream::{StreamBatch, StreamMessage, StreamReceipt};
use tokio::time::Instant;

/// Which message of which subscription: the number of the subscription, and the message's id.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct HeldKey {
    pub(crate) subscription: usize,
    pub(crate) id: Arc<str>,
}

/// A message of upstream.
#[derive(Debug)]
struct HeldMessage {
    /// By what its newest delivery is acknowledged. None when it is not ours any more, and was not delivered again.
    ack_id: Option<String>,
    lease_until: Instant,
    published_at_us: Option<i64>,
}

#[derive(Debug)]
struct ReadyMessage {
    key: HeldKey,
    message: StreamMessage,
}

/// What was pulled and is not acknowledged.
#[derive(Debug, Default)]
pub(crate) struct HeldMessages {
    held: HashMap<HeldKey, HeldMessage>,
    /// Pulled, and not given yet.
    ready: VecDeque<ReadyMessage>,
    ready_bytes: usize,
    /// What was given with each receipt.
    reads: BTreeMap<StreamReceipt, Vec<HeldKey>>,
    last: StreamReceipt,
}

impl HeldMessages {
    /// A message that was delivered. One that is held already is not given twice: its new delivery is the one to acknowledge.
    pub(crate) fn take_in(&mut self, key: HeldKey, ack_id: String, lease_until: Instant, message: StreamMessage) {
        if let Some(held) = self.held.get_mut(&key) {
            (held.ack_id, held.lease_until) = (Some(ack_id), lease_until);
            return;
        }
        let held = HeldMessage { ack_id: Some(ack_id), lease_until, published_at_us: message.published_at_us };
        self.held.insert(key.clone(), held);
        self.ready_bytes += size(&message);
        self.ready.push_back(ReadyMessage { key, message });
    }

    /// How many messages and bytes are there to be given.
    pub(crate) fn ready(&self) -> (usize, usize) {
        (self.ready.len(), self.ready_bytes)
    }

    /// Gives messages, at least one where there is one. Each batch has another receipt, also one without messages.
    pub(crate) fn give(&mut self, messages_max: usize, bytes_max: usize) -> StreamBatch {
        self.last = StreamReceipt(self.last.0 + 1);
        let (mut messages, mut keys, mut bytes) = (Vec::new(), Vec::new(), 0);
        while messages.len() < messages_max && (bytes < bytes_max || messages.is_empty()) {
            let Some(ReadyMessage { key, message }) = self.ready.pop_front() else { break };
            bytes += size(&message);
            messages.push(message);
            keys.push(key);
        }
        self.ready_bytes = self.ready_bytes.saturating_sub(bytes);
        if !keys.is_empty() {
            self.reads.insert(self.last, keys);
        }
        StreamBatch { messages, receipt: self.last }
    }

    /// What has to be acknowledged for this receipt and those before.
    pub(crate) fn due(&self, receipt: StreamReceipt) -> Vec<(HeldKey, String)> {
        let keys = self.reads.range(..=receipt).flat_map(|(_, keys)| keys);
        let due = keys.filter_map(|key| Some((key.clone(), self.held.get(key)?.ack_id.clone()?)));
        due.collect()
    }

    /// Upstream has taken it, or it comes again: in either way it is done with, unless it was delivered again meanwhile.
    pub(crate) fn settled(&mut self, key: &HeldKey, ack_id: &str) {
        if self.held.get(key).is_some_and(|held| held.ack_id.as_deref() == Some(ack_id)) {
            self.held.remove(key);
        }
    }

    /// Nothing is due for this receipt and those before any more. Says how many of their messages come again since they were not ours any more.
    pub(crate) fn close_reads(&mut self, receipt: StreamReceipt) -> usize {
        let later = self.reads.split_off(&StreamReceipt(receipt.0.saturating_add(1)));
        let closed = std::mem::replace(&mut self.reads, later);
        closed.values().flatten().filter(|key| self.held.remove(*key).is_some()).count()
    }

    /// Messages of a subscription whose leases end before `until`.
    pub(crate) fn ending(&self, subscription: usize, until: Instant) -> Vec<(HeldKey, String)> {
        let of_it = self.held.iter().filter(|(key, held)| key.subscription == subscription && held.lease_until < until);
        of_it.filter_map(|(key, held)| Some((key.clone(), held.ack_id.clone()?))).collect()
    }

    /// The lease of a delivery was extended.
    pub(crate) fn extended(&mut self, key: &HeldKey, ack_id: &str, until: Instant) {
        if let Some(held) = self.held.get_mut(key).filter(|held| held.ack_id.as_deref() == Some(ack_id)) {
            held.lease_until = until;
        }
    }

    /// A delivery is not ours any more. What was not given yet is not given, nor is what comes after it under the same ordering key: that must not
    /// overtake it. Returns the ack ids of those, which are to be given back.
    pub(crate) fn lose(&mut self, key: &HeldKey, ack_id: &str) -> Vec<String> {
        let Some(held) = self.held.get_mut(key).filter(|held| held.ack_id.as_deref() == Some(ack_id)) else {
            return Vec::new();
        };
        let Some(at) = self.ready.iter().position(|ready| ready.key == *key) else {
            // On its way to the log: when it comes again before it is there, that delivery is acknowledged.
            held.ack_id = None;
            return Vec::new();
        };
        let ordering_key = self.ready.get(at).and_then(|ready| ready.message.key.clone());
        let is_behind = |number: usize, ready: &ReadyMessage| {
            let is_of_key = ordering_key.is_some() && ready.message.key == ordering_key;
            number > at && is_of_key && ready.key.subscription == key.subscription
        };
        let behind = self.ready.iter().enumerate().filter(|&(number, ready)| is_behind(number, ready));
        let mut taken: HashSet<HeldKey> = behind.map(|(_, ready)| ready.key.clone()).collect();
        let given_back = taken.iter().filter_map(|key| self.held.remove(key)?.ack_id).collect();
        self.held.remove(key);
        taken.insert(key.clone());
        self.ready.retain(|ready| !taken.contains(&ready.key));
        self.ready_bytes = self.ready.iter().map(|ready| size(&ready.message)).sum();
        given_back
    }

    /// Gives everything up, with all receipts: the ack ids by subscription.
    pub(crate) fn give_up(&mut self) -> BTreeMap<usize, Vec<String>> {
        let mut given_up: BTreeMap<usize, Vec<String>> = BTreeMap::new();
        for (key, held) in self.held.drain() {
            given_up.entry(key.subscription).or_default().extend(held.ack_id);
        }
        self.ready.clear();
        self.ready_bytes = 0;
        self.reads.clear();
        given_up
    }

    /// When the oldest message of a subscription was published that is held, in microseconds since the Unix epoch.
    pub(crate) fn oldest_us(&self, subscription: usize) -> Option<i64> {
        let of_it = self.held.iter().filter(|(key, _)| key.subscription == subscription);
        of_it.filter_map(|(_, held)| held.published_at_us).min()
    }
}

/// What a message takes of memory, about.
fn size(message: &StreamMessage) -> usize {
    let headers: usize = message.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
    message.payload.as_ref().map_or(0, Bytes::len) + headers + message.at.len()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn key(id: &str) -> HeldKey {
        HeldKey { subscription: 0, id: id.into() }
    }

    fn message(id: &str, ordering_key: Option<&str>) -> StreamMessage {
        StreamMessage {
            topic: "s".into(),
            topic_mark: None,
            partition: "".into(),
            at: id.to_owned(),
            key: ordering_key.map(|key| Bytes::copy_from_slice(key.as_bytes())),
            payload: Some(Bytes::from_static(b"{}")),
            headers: Vec::new(),
            published_at_us: Some(i64::from(id.as_bytes()[0])),
        }
    }

    /// Holds these messages; the ack id of the first delivery of `a` is `a1`.
    fn held(ids: &[(&str, Option<&str>)], until: Instant) -> HeldMessages {
        let mut held = HeldMessages::default();
        for (id, ordering_key) in ids {
            held.take_in(key(id), format!("{id}1"), until, message(id, *ordering_key));
        }
        held
    }

    fn ids(batch: &StreamBatch) -> Vec<&str> {
        batch.messages.iter().map(|message| message.at.as_str()).collect()
    }

    fn ack_ids(due: &[(HeldKey, String)]) -> Vec<&str> {
        due.iter().map(|(_, ack_id)| ack_id.as_str()).collect()
    }

    #[test]
    fn a_message_is_due_when_its_receipt_has_come_and_not_before() {
        let mut held = held(&[("a", None), ("b", None), ("c", None)], Instant::now());
        let (first, second) = (held.give(2, 1_000), held.give(2, 1_000));
        assert_eq!((ids(&first), ids(&second)), (vec!["a", "b"], vec!["c"]));
        assert!(first.receipt < second.receipt && held.ready() == (0, 0));
        let due = held.due(first.receipt);
        assert_eq!(ack_ids(&due), ["a1", "b1"]);
        for (key, ack_id) in &due {
            held.settled(key, ack_id);
        }
        assert_eq!(held.close_reads(first.receipt), 0);
        assert_eq!((held.oldest_us(0), ack_ids(&held.due(second.receipt))), (Some(i64::from(b'c')), vec!["c1"]));
    }

    #[test]
    fn a_message_that_comes_again_while_it_is_held_is_not_given_twice_and_its_new_delivery_is_acknowledged() {
        let now = Instant::now();
        let mut held = held(&[("a", None)], now);
        let batch = held.give(10, 1_000);
        held.take_in(key("a"), "a2".to_owned(), now, message("a", None));
        assert_eq!(held.ready(), (0, 0));
        assert_eq!(ack_ids(&held.due(batch.receipt)), ["a2"]);
        // An answer about the first delivery says nothing of the second.
        held.settled(&key("a"), "a1");
        assert_eq!(ack_ids(&held.due(batch.receipt)), ["a2"]);
    }

    #[test]
    fn what_was_lost_on_its_way_to_the_log_is_acknowledged_only_if_it_came_again() {
        let now = Instant::now();
        let mut held = held(&[("a", None), ("b", None)], now);
        let batch = held.give(10, 1_000);
        assert!(held.lose(&key("a"), "a1").is_empty() && held.lose(&key("b"), "b1").is_empty());
        held.take_in(key("b"), "b2".to_owned(), now, message("b", None));
        assert_eq!(ack_ids(&held.due(batch.receipt)), ["b2"]);
        held.settled(&key("b"), "b2");
        assert_eq!(held.close_reads(batch.receipt), 1, "a comes again");
        held.take_in(key("a"), "a2".to_owned(), now, message("a", None));
        assert_eq!(ids(&held.give(10, 1_000)), ["a"]);
    }

    #[test]
    fn nothing_of_an_ordering_key_is_given_past_a_message_that_was_lost() {
        let mut held = held(&[("a", Some("k")), ("b", Some("l")), ("c", Some("k")), ("d", None)], Instant::now());
        assert_eq!(held.lose(&key("a"), "a1"), ["c1"]);
        assert_eq!(ids(&held.give(10, 1_000)), ["b", "d"]);
        // Without an ordering key nothing waits.
        let mut held = super::tests::held(&[("a", None), ("b", None)], Instant::now());
        assert!(held.lose(&key("a"), "a1").is_empty());
        assert_eq!(ids(&held.give(10, 1_000)), ["b"]);
    }

    #[test]
    fn leases_are_due_before_they_end_and_a_seek_gives_everything_up() {
        let now = Instant::now();
        let mut held = held(&[("a", None), ("b", None)], now + Duration::from_secs(10));
        let batch = held.give(1, 1_000);
        assert!(held.ending(0, now + Duration::from_secs(5)).is_empty());
        assert_eq!(held.ending(0, now + Duration::from_secs(11)).len(), 2);
        held.extended(&key("a"), "a1", now + Duration::from_secs(20));
        assert_eq!(ack_ids(&held.ending(0, now + Duration::from_secs(11))), ["b1"]);
        let given_up = held.give_up();
        assert_eq!(given_up.get(&0).map(Vec::len), Some(2));
        assert!(held.due(batch.receipt).is_empty() && held.give(10, 1_000).messages.is_empty());
        assert!(held.give(1, 1).receipt > batch.receipt);
    }
}

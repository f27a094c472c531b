//! The partitions that the group has given to this member, how far each is, and the reads that wait for their receipts.
//!
//! A partition that is taken away and given again is another claim, with another epoch, and so is one that was sought in. A receipt
//! acknowledges only under the claims that it was read under: what somebody else may have moved meanwhile is not touched.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use krafka::consumer::{OffsetAndMetadata, TopicPartition};
use tidegate_stream::{PartitionProgress, StreamReceipt};

/// A topic and the number of a partition of it.
pub(super) type PartitionName = (Arc<str>, i32);

/// Everything that this member holds.
#[derive(Debug, Default)]
pub(super) struct Claims {
    held: BTreeMap<PartitionName, Claim>,
    /// Topics that are held, and of which the group takes no offsets now: why.
    refused: BTreeMap<Arc<str>, String>,
    /// Of the claim that was made last.
    epoch: u64,
    /// In the order of their receipts.
    waiting: VecDeque<WaitingRead>,
    /// The receipt that was given last.
    receipt: u64,
}

/// A partition that is read here.
#[derive(Debug)]
struct Claim {
    epoch: u64,
    /// The number as text, shared by all messages.
    shown: Arc<str>,
    /// Where reading began.
    begin: Option<i64>,
    /// What comes next after everything that is in the log.
    acknowledged: Option<Acknowledged>,
    /// The same, as the group was told last.
    committed: Option<i64>,
    /// The group is told nothing of it before this receipt is back: what was read of the partition before would be passed over.
    waits_for: Option<u64>,
    /// Behind the last message that may be read.
    end: Option<i64>,
    /// The next offset that the client hands out, as seen last.
    position: Option<i64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Acknowledged {
    next: i64,
    /// Of the message before, by which the broker knows its log again; none where it is not known.
    leader_epoch: Option<i32>,
}

/// Messages that were handed out at once.
#[derive(Debug)]
struct WaitingRead {
    receipt: u64,
    parts: Vec<WaitingPart>,
}

/// Those of one partition.
#[derive(Debug)]
struct WaitingPart {
    name: PartitionName,
    epoch: u64,
    /// The offset of the first.
    first: i64,
    upto: Acknowledged,
    /// When the first was published, in microseconds since the Unix epoch.
    first_us: Option<i64>,
}

/// A message that is handed out, as far as claims go.
#[derive(Debug, Clone)]
pub(super) struct HandedOut {
    pub(super) name: PartitionName,
    pub(super) epoch: u64,
    pub(super) offset: i64,
    pub(super) leader_epoch: Option<i32>,
    pub(super) published_us: Option<i64>,
}

/// An offset that the group is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct DueCommit {
    pub(super) name: PartitionName,
    epoch: u64,
    pub(super) offset: i64,
    leader_epoch: Option<i32>,
}

impl DueCommit {
    pub(super) fn offsets(&self) -> (TopicPartition, OffsetAndMetadata) {
        let (topic, partition) = &self.name;
        let offset = match self.leader_epoch {
            Some(epoch) => OffsetAndMetadata::with_epoch(self.offset, epoch),
            None => OffsetAndMetadata::new(self.offset),
        };
        (TopicPartition::new(&**topic, *partition), offset)
    }
}

pub(super) fn name_of(partition: &TopicPartition) -> PartitionName {
    (Arc::from(partition.topic.as_str()), partition.partition)
}

impl Claims {
    /// The group has given these.
    pub(super) fn assign(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            self.claim(name_of(partition));
        }
    }

    /// They are not read here any more.
    pub(super) fn give_up(&mut self, partitions: &[TopicPartition]) {
        let Self { held, refused, .. } = self;
        for partition in partitions {
            held.remove(&name_of(partition));
        }
        refused.retain(|topic, _| held.keys().any(|(name, _)| name == topic));
    }

    pub(super) fn give_up_all(&mut self) {
        self.held.clear();
        self.refused.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    pub(super) fn names(&self) -> Vec<PartitionName> {
        self.held.keys().cloned().collect()
    }

    /// The epoch of a partition and its number as text. What is read is held, even where nobody has said so.
    pub(super) fn of_read(&mut self, name: &PartitionName) -> (u64, Arc<str>) {
        if !self.held.contains_key(name) {
            self.claim(name.clone());
        }
        self.held.get(name).map(|claim| (claim.epoch, Arc::clone(&claim.shown))).unwrap_or_default()
    }

    /// Whether a message that was read under this epoch may still be handed out.
    pub(super) fn is_current(&self, name: &PartitionName, epoch: u64) -> bool {
        self.held.get(name).is_some_and(|claim| claim.epoch == epoch)
    }

    /// Reading begins here, `is_kept` when the group is to remember it.
    pub(super) fn begin_at(&mut self, name: &PartitionName, offset: i64, is_kept: bool) {
        let Some(claim) = self.held.get_mut(name) else { return };
        claim.begin = Some(offset);
        if is_kept {
            claim.acknowledged = Some(Acknowledged { next: offset, leader_epoch: None });
            claim.committed = None;
        }
    }

    /// Goes on from there under a claim of its own. What was read of the partition before may be on its way to the log still: a place
    /// behind that is told to the group when it is there.
    pub(super) fn seek(&mut self, name: &PartitionName, offset: i64) {
        let is_passed = |part: &WaitingPart| part.name == *name && part.first < offset;
        let passed = self.waiting.iter().rev().find(|read| read.parts.iter().any(is_passed));
        let waits_for = passed.map(|read| read.receipt);
        self.claim(name.clone());
        self.begin_at(name, offset, true);
        if let Some(claim) = self.held.get_mut(name) {
            claim.waits_for = waits_for;
        }
    }

    /// Whether a message is one that comes before what this claim has given already: the client has gone back by itself.
    pub(super) fn is_behind(&self, name: &PartitionName, offset: i64) -> bool {
        self.held.get(name).and_then(|claim| claim.position).is_some_and(|position| offset < position)
    }

    /// These are handed out, those of a partition in their order.
    pub(super) fn hand_out(&mut self, messages: &[HandedOut]) -> StreamReceipt {
        let mut parts: Vec<WaitingPart> = Vec::new();
        for message in messages {
            let upto = Acknowledged { next: message.offset.saturating_add(1), leader_epoch: message.leader_epoch };
            match parts.iter_mut().rev().find(|part| part.name == message.name) {
                Some(part) => part.upto = upto,
                None => parts.push(WaitingPart {
                    name: message.name.clone(),
                    epoch: message.epoch,
                    first: message.offset,
                    upto,
                    first_us: message.published_us,
                }),
            }
        }
        self.receipt = self.receipt.saturating_add(1);
        if !parts.is_empty() {
            self.waiting.push_back(WaitingRead { receipt: self.receipt, parts });
        }
        StreamReceipt(self.receipt)
    }

    /// Everything up to this receipt is in the log.
    pub(super) fn acknowledge(&mut self, receipt: StreamReceipt) {
        for claim in self.held.values_mut() {
            claim.waits_for = claim.waits_for.filter(|last| *last > receipt.0);
        }
        while self.waiting.front().is_some_and(|read| read.receipt <= receipt.0) {
            let Some(read) = self.waiting.pop_front() else { return };
            for part in read.parts {
                let claim = self.held.get_mut(&part.name).filter(|claim| claim.epoch == part.epoch);
                if let Some(claim) = claim {
                    claim.acknowledged = Some(part.upto);
                }
            }
        }
    }

    /// What the group is not told yet: of all partitions, or of `only`.
    pub(super) fn due(&self, only: Option<&[TopicPartition]>) -> Vec<DueCommit> {
        let is_asked = |name: &PartitionName| {
            only.is_none_or(|only| only.iter().any(|one| one.topic.as_str() == &*name.0 && one.partition == name.1))
        };
        let due = self.held.iter().filter_map(|(name, claim)| {
            let Acknowledged { next, leader_epoch } = claim.acknowledged.filter(|_| claim.waits_for.is_none())?;
            let is_due = claim.committed != Some(next) && is_asked(name);
            is_due.then(|| DueCommit { name: name.clone(), epoch: claim.epoch, offset: next, leader_epoch })
        });
        due.collect()
    }

    /// The group was told these.
    pub(super) fn committed(&mut self, told: &[DueCommit]) {
        for one in told {
            self.refused.remove(&one.name.0);
            if let Some(claim) = self.held.get_mut(&one.name).filter(|claim| claim.epoch == one.epoch) {
                claim.committed = Some(one.offset);
            }
        }
    }

    /// The group takes no offsets of this topic. Says whether that is new.
    pub(super) fn refuse(&mut self, topic: &Arc<str>, why: String) -> bool {
        self.refused.insert(Arc::clone(topic), why).is_none()
    }

    /// Why the group takes no offsets of topics, a sentence for each.
    pub(super) fn refused(&self) -> impl Iterator<Item = &String> {
        self.refused.values()
    }

    /// How far upstream is: the end of a partition, and what the client reads next. `is_read_ahead` when messages of it were read and not
    /// handed out. Answers from where the client has gone back by itself, if it has.
    pub(super) fn observe(&mut self, name: &PartitionName, seen: SeenPartition, is_read_ahead: bool) -> Option<i64> {
        let is_waiting =
            is_read_ahead || self.waiting.iter().any(|read| read.parts.iter().any(|part| part.name == *name));
        let claim = self.held.get_mut(name)?;
        claim.end = seen.end.or(claim.end);
        let position = seen.position?;
        let before = claim.position.replace(position);
        let begin = *claim.begin.get_or_insert(position);
        // Behind the last message may be marks of transactions, which are nobody's to acknowledge.
        let next = claim.acknowledged.map_or(begin, |acknowledged| acknowledged.next);
        if !is_waiting && position > next {
            claim.acknowledged = Some(Acknowledged { next: position, leader_epoch: None });
        }
        before.filter(|before| position < *before)
    }

    pub(super) fn set_end(&mut self, name: &PartitionName, end: i64) {
        if let Some(claim) = self.held.get_mut(name) {
            claim.end = Some(end);
        }
    }

    pub(super) fn progress(&self, now_us: i64) -> Vec<PartitionProgress> {
        let of = |(name, claim): (&PartitionName, &Claim)| {
            let next = claim.acknowledged.map(|acknowledged| acknowledged.next);
            let from = next.or(claim.begin);
            let lag = claim.end.zip(from).map(|(end, from)| u64::try_from(end.saturating_sub(from)).unwrap_or(0));
            let parts = self.waiting.iter().flat_map(|read| &read.parts);
            let mut of_claim = parts.filter(|part| part.name == *name && part.epoch == claim.epoch);
            let oldest_us = of_claim.next().and_then(|part| part.first_us);
            PartitionProgress {
                topic: Arc::clone(&name.0),
                partition: Arc::clone(&claim.shown),
                acknowledged: next.filter(|next| *next > 0).map_or_else(String::new, |next| (next - 1).to_string()),
                lag,
                behind: oldest_us
                    .map(|us| Duration::from_micros(u64::try_from(now_us.saturating_sub(us)).unwrap_or(0))),
                holder: None,
            }
        };
        self.held.iter().map(of).collect()
    }

    fn claim(&mut self, name: PartitionName) {
        self.epoch = self.epoch.saturating_add(1);
        let shown = Arc::from(name.1.to_string().as_str());
        let end = self.held.get(&name).and_then(|claim| claim.end);
        let claim = Claim {
            epoch: self.epoch,
            shown,
            begin: None,
            acknowledged: None,
            committed: None,
            waits_for: None,
            end,
            position: None,
        };
        self.held.insert(name, claim);
    }
}

/// What the client knows of a partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct SeenPartition {
    /// The next offset that it hands out.
    pub(super) position: Option<i64>,
    /// Behind the last message that may be read.
    pub(super) end: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn partition(number: i32) -> TopicPartition {
        TopicPartition::new("orders", number)
    }

    fn read(claims: &mut Claims, number: i32, offset: i64) -> StreamReceipt {
        let name = name_of(&partition(number));
        let (epoch, _) = claims.of_read(&name);
        claims.hand_out(&[HandedOut { name, epoch, offset, leader_epoch: Some(0), published_us: Some(1_000_000) }])
    }

    fn due(claims: &Claims) -> Vec<(i32, i64)> {
        claims.due(None).iter().map(|due| (due.name.1, due.offset)).collect()
    }

    #[test]
    fn a_receipt_of_a_partition_that_was_taken_away_and_given_again_commits_nothing_there() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0), partition(1)]);
        read(&mut claims, 0, 9);
        let receipt = read(&mut claims, 1, 4);
        claims.give_up(&[partition(0)]);
        claims.assign(&[partition(0)]);
        claims.acknowledge(receipt);
        assert_eq!(due(&claims), [(1, 5)]);
        // What is read under the new claim counts.
        let receipt = read(&mut claims, 0, 2);
        claims.acknowledge(receipt);
        assert_eq!(due(&claims), [(0, 3), (1, 5)]);
        let told = claims.due(None);
        claims.committed(&told);
        assert!(due(&claims).is_empty());
    }

    #[test]
    fn a_commit_that_was_under_way_while_its_partition_changed_hands_does_not_count_for_the_new_claim() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0)]);
        let receipt = read(&mut claims, 0, 4);
        claims.acknowledge(receipt);
        let told = claims.due(None);
        claims.give_up(&[partition(0)]);
        claims.assign(&[partition(0)]);
        let receipt = read(&mut claims, 0, 4);
        claims.acknowledge(receipt);
        claims.committed(&told);
        assert_eq!(due(&claims), [(0, 5)]);
    }

    #[test]
    fn a_topic_whose_offsets_are_refused_is_told_once_until_they_are_taken_or_it_is_given_up() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0), partition(1)]);
        let topic: Arc<str> = "orders".into();
        let receipt = read(&mut claims, 0, 4);
        claims.acknowledge(receipt);
        assert!(claims.refuse(&topic, "deleted".to_owned()) && !claims.refuse(&topic, "gone".to_owned()));
        assert_eq!(claims.refused().collect::<Vec<_>>(), ["gone"]);
        let told = claims.due(None);
        claims.committed(&told);
        assert_eq!(claims.refused().count(), 0);
        assert!(claims.refuse(&topic, "deleted".to_owned()), "it is new again");
        claims.give_up(&[partition(0)]);
        assert_eq!(claims.refused().count(), 1);
        claims.give_up(&[partition(1)]);
        assert_eq!(claims.refused().count(), 0);
    }

    #[test]
    fn a_seek_is_kept_at_once_and_receipts_from_before_it_count_no_more() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0)]);
        let receipt = read(&mut claims, 0, 9);
        claims.seek(&name_of(&partition(0)), 3);
        claims.acknowledge(receipt);
        assert_eq!(due(&claims), [(0, 3)]);
    }

    #[test]
    fn a_place_behind_what_is_on_its_way_to_the_log_is_told_to_the_group_when_that_is_there() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0), partition(1)]);
        let name = name_of(&partition(0));
        let first = read(&mut claims, 0, 5);
        let last = read(&mut claims, 0, 9);
        claims.seek(&name, 20);
        assert!(due(&claims).is_empty(), "a crash now would lose what was read");
        claims.acknowledge(first);
        assert!(due(&claims).is_empty());
        // Gone elsewhere once more, it waits still.
        claims.seek(&name, 30);
        assert!(due(&claims).is_empty());
        claims.acknowledge(last);
        assert_eq!(due(&claims), [(0, 30)]);
        // What comes again anyway need not wait.
        read(&mut claims, 0, 30);
        claims.seek(&name, 30);
        assert_eq!(due(&claims), [(0, 30)]);
        read(&mut claims, 0, 30);
        claims.seek(&name, 3);
        assert_eq!(due(&claims), [(0, 3)]);
    }

    #[test]
    fn lag_counts_what_is_not_acknowledged_and_age_is_that_of_the_oldest_message_of_it() {
        let mut claims = Claims::default();
        claims.assign(&[partition(0)]);
        let name = name_of(&partition(0));
        claims.observe(&name, SeenPartition { position: Some(5), end: Some(10) }, false);
        let shown = |claims: &Claims| {
            let progress = claims.progress(3_000_000).remove(0);
            (progress.acknowledged, progress.lag, progress.behind)
        };
        assert_eq!(shown(&claims), (String::new(), Some(5), None));
        let receipt = read(&mut claims, 0, 8);
        claims.observe(&name, SeenPartition { position: Some(9), end: Some(10) }, false);
        assert_eq!(shown(&claims), (String::new(), Some(5), Some(Duration::from_secs(2))));
        claims.acknowledge(receipt);
        assert_eq!(shown(&claims), ("8".to_owned(), Some(1), None));
        // The mark of a transaction is behind the last message.
        claims.observe(&name, SeenPartition { position: Some(10), end: Some(10) }, false);
        assert_eq!(shown(&claims), ("9".to_owned(), Some(0), None));
        assert_eq!(due(&claims), [(0, 10)]);
        let gone_back = SeenPartition { position: Some(7), end: Some(7) };
        assert_eq!(claims.observe(&name, gone_back, false), Some(10));
    }
}

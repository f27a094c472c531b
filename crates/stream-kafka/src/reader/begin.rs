//! Where a partition begins: without a position of its group, and where what comes next is not there any more.
//!
//! Only a group without any position begins as `start` says. A partition that a group meets later (a new topic, a topic that has grown) is
//! read from its first message, since all of it was published while the group was there. That is why a group that begins at the end
//! remembers the ends of all partitions at once; where it has begun without any topic to read, it remembers the beginnings of those that came
//! since.
//!
//! A partition whose brokers do not say where it begins, since it has no leader, holds up no other: the client finds its beginning when it has
//! one again.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use krafka::KrafkaError;
use krafka::admin::{
    AdminClient, AlterConsumerGroupOffsetsOptions, ListConsumerGroupOffsetsOptions, ListOffsetsOptions, OffsetSpec,
    TopicPartition,
};
use krafka::consumer::Consumer;

use super::claims::PartitionName;
use super::commits::HeldClaims;
use crate::topics::{ASK_TIME_MAX, FoundTopic};

/// The time that asks for the first offset of a partition, and for the end.
pub(super) const FIRST: i64 = -2;
pub(super) const END: i64 = -1;

/// Where a group begins that has no position yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaStart {
    #[default]
    Earliest,
    Latest,
}

/// A partition as the client of Kafka names it.
pub(super) type OwnedPartition = (String, i32);

/// What a partition without a usable position does.
#[derive(Debug, Clone, Copy)]
pub(super) struct BeginRule<'a> {
    pub(super) start: KafkaStart,
    /// Those that begin at their ends where the group has no position of them.
    pub(super) at_end: &'a HashSet<OwnedPartition>,
    /// Topics that have taken the place of others: nothing of them was there when the group began.
    pub(super) anew: &'a HashSet<String>,
}

impl BeginRule<'_> {
    /// Whether a partition goes on at its end, which `was` to be read from another offset, if from any.
    fn is_at_end(&self, partition: &OwnedPartition, was: Option<i64>, end: i64) -> bool {
        match was {
            // Of what was deleted before it was read, everything that is left is read.
            Some(was) => was > end && self.start == KafkaStart::Latest && !self.anew.contains(&partition.0),
            None => self.at_end.contains(partition),
        }
    }
}

/// What became of partitions that had no usable position; texts are for people.
#[derive(Debug, Default)]
pub(super) struct SettledPartitions {
    /// Those of which messages were skipped.
    pub(super) skipped: Vec<(PartitionName, String)>,
    /// Those of which nobody says where they begin. The client asks on.
    pub(super) unknown: Vec<(PartitionName, String)>,
}

/// Has a group without any position begin at the ends of these topics, and at the first messages of those that are `new`. Answers the
/// partitions of which the group could not be told: they begin at their ends where they are read.
///
/// # Errors
/// The brokers do not say what there is.
pub(super) async fn remember_ends(
    admin: &AdminClient,
    group: &str,
    topics: &[FoundTopic],
    new: &HashSet<String>,
) -> Result<HashSet<OwnedPartition>, KrafkaError> {
    let known = admin.list_consumer_group_offsets(group, ListConsumerGroupOffsetsOptions::default()).await?;
    if known.values().any(|known| known.as_ref().is_ok_and(|known| known.offset.is_some())) {
        return Ok(HashSet::new());
    }
    let mut partitions = Vec::new();
    for FoundTopic { name, partitions: count, .. } in topics {
        let numbers = 0..i32::try_from(*count).unwrap_or(i32::MAX);
        let begin = if new.contains(name) { OffsetSpec::Earliest } else { OffsetSpec::Latest };
        partitions.extend(numbers.map(|number| (TopicPartition::new(name.as_str(), number), begin)));
    }
    let options = ListOffsetsOptions::default().read_committed(true).timeout(ASK_TIME_MAX);
    let listed = admin.list_offsets(partitions, options).await?;
    let (mut ends, mut untold) = (Vec::with_capacity(listed.len()), HashSet::new());
    for (partition, end) in listed {
        match end {
            Ok(end) => ends.push((partition, end.offset)),
            // It is read from its first message without that.
            Err(error) if new.contains(&partition.topic) => {
                tracing::debug!(%error, "a new partition does not say where it begins");
            }
            Err(error) => {
                tracing::warn!(%error, "a partition does not say where it ends; it begins at its end once it does");
                untold.insert((partition.topic, partition.partition));
            }
        }
    }
    if ends.is_empty() {
        return Ok(untold);
    }
    let told = admin.alter_consumer_group_offsets(group, ends, AlterConsumerGroupOffsetsOptions::default()).await?;
    let refused = told.into_iter().filter(|(partition, told)| told.is_err() && !new.contains(&partition.topic));
    untold.extend(refused.map(|(partition, _)| (partition.topic, partition.partition)));
    Ok(untold)
}

/// Gives these partitions a position.
pub(super) async fn settle(
    consumer: &Consumer,
    claims: &HeldClaims,
    partitions: &[OwnedPartition],
    rule: BeginRule<'_>,
) -> SettledPartitions {
    let asked: Vec<(&str, i32)> = partitions.iter().map(|(topic, number)| (topic.as_str(), *number)).collect();
    let firsts = consumer.offsets_for_times(&asked, FIRST).await;
    let ends = consumer.offsets_for_times(&asked, END).await;
    let mut settled = SettledPartitions::default();
    for partition in partitions {
        let (topic, number) = partition;
        let name: PartitionName = (Arc::from(topic.as_str()), *number);
        let was = consumer.position(topic, *number).await;
        let (first, end) = match (offset_in(&firsts, partition), offset_in(&ends, partition)) {
            (Ok(first), Ok(end)) => (first, end),
            (Err(error), _) | (_, Err(error)) => {
                if was.is_none() {
                    leave_to_client(consumer, partition, rule.at_end.contains(partition)).await;
                }
                let text = format!(
                    "partition {number} of {topic} is not read: nobody says where it begins ({error}); it is asked again"
                );
                settled.unknown.push((name, text));
                continue;
            }
        };
        if let Some(was) = was.filter(|was| (first..=end).contains(was)) {
            // A broker that was behind has said otherwise. Nothing is missing, and what is on its way to the log stays so.
            if let Err(error) = consumer.seek(topic, *number, was).await {
                tracing::debug!(topic, partition = number, %error, "a partition is read elsewhere by now");
            }
            continue;
        }
        let is_at_end = rule.is_at_end(partition, was, end);
        let to = if is_at_end { end } else { first };
        if let Err(error) = consumer.seek(topic, *number, to).await {
            tracing::debug!(topic, partition = number, %error, "a partition is read elsewhere by now");
            continue;
        }
        match was {
            Some(was) => {
                claims.lock().seek(&name, to);
                settled.skipped.push((name, tell_skipped(partition, was, (first, end), to)));
            }
            None => claims.lock().begin_at(&name, to, is_at_end),
        }
    }
    settled
}

/// Without a position the client would give messages of no partition. It looks for this one's itself, again and again.
async fn leave_to_client(consumer: &Consumer, (topic, number): &OwnedPartition, begins_at_end: bool) {
    let asked = if begins_at_end {
        consumer.seek_to_end(topic, *number).await
    } else {
        consumer.seek_to_beginning(topic, *number).await
    };
    if let Err(error) = asked {
        tracing::debug!(topic, partition = number, %error, "a partition is read elsewhere by now");
    }
}

fn tell_skipped((topic, number): &(String, i32), was: i64, (first, end): (i64, i64), to: i64) -> String {
    let text = if was < first {
        format!(
            "partition {number} of {topic}: the messages from offset {was} to {} were deleted before they were read, and \
             reading goes on at {to}, up to {} messages later; keep messages for longer (`retention.ms`), or read faster",
            first.saturating_sub(1),
            to.saturating_sub(was)
        )
    } else {
        format!(
            "partition {number} of {topic}: offset {was} comes next and is not there, the partition ends at {end}; the topic was \
             made anew or has lost messages, and reading goes on at {to}"
        )
    };
    tracing::warn!(topic, partition = number, expected = was, first, end, continued = to, "{text}");
    text
}

/// The client goes back where the brokers' log ends before its position.
pub(super) fn tell_gone_back((topic, number): &PartitionName, from: i64, to: i64) -> String {
    let text = format!(
        "partition {number} of {topic} ends at offset {to}, and {from} was to come next: the brokers have lost messages, or the topic was \
         made anew; what a new topic has before {to} is read after a seek to the earliest message"
    );
    tracing::warn!(topic = &**topic, partition = number, expected = from, continued = to, "{text}");
    text
}

pub(super) fn offset_in(
    found: &HashMap<(String, i32), Result<i64, KrafkaError>>,
    partition: &(String, i32),
) -> Result<i64, KrafkaError> {
    match found.get(partition) {
        Some(Ok(offset)) => Ok(*offset),
        Some(Err(error)) => Err(error.clone()),
        None => Err(KrafkaError::UnknownTopic { topic: partition.0.clone() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_new_or_was_made_anew_goes_on_at_the_end() {
        let (known, new) = (("orders".to_owned(), 0), ("orders".to_owned(), 1));
        let (at_end, anew) = (HashSet::from([new.clone()]), HashSet::from(["refunds".to_owned()]));
        for start in [KafkaStart::Earliest, KafkaStart::Latest] {
            let rule = BeginRule { start, at_end: &at_end, anew: &anew };
            assert!(!rule.is_at_end(&("refunds".to_owned(), 0), Some(12), 9), "all of it is new");
            assert!(rule.is_at_end(&new, None, 9) && !rule.is_at_end(&known, None, 9));
            assert!(!rule.is_at_end(&known, Some(3), 9), "messages from the first on are there");
            assert_eq!(rule.is_at_end(&known, Some(12), 9), start == KafkaStart::Latest);
        }
    }
}

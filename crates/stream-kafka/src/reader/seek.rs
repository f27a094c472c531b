//! Going on from another place.

use std::sync::Arc;
use std::time::Duration;

use krafka::KrafkaError;
use krafka::consumer::{Consumer, TopicPartition};
use tidegate_stream::{SeekTarget, StreamError};

use super::KafkaReader;
use super::begin::{END, FIRST, offset_in};
use super::claims::PartitionName;

/// How long the group may take to give this member its partitions before a seek.
const JOIN_POLLS_MAX: usize = 50;
const JOIN_POLL_TIME: Duration = Duration::from_millis(200);

impl KafkaReader {
    /// Goes on from there in the partitions that this member has. The group is told at once, so that a start after a crash begins there too.
    pub(super) async fn go_to(&mut self, to: SeekTarget) -> Result<(), StreamError> {
        self.join().await?;
        let Some(consumer) = self.member.current() else { return Err(self.not_joined()) };
        let held = self.claims.lock().names();
        let held: Vec<(String, i32)> = held.into_iter().map(|(topic, number)| (topic.to_string(), number)).collect();
        let targets = match to {
            SeekTarget::Earliest => found(&consumer, &held, FIRST).await,
            SeekTarget::Latest => found(&consumer, &held, END).await,
            SeekTarget::Time(us) => of_time(&consumer, &held, us).await,
            SeekTarget::Position { topic, partition, at } => {
                Ok(vec![one(&held, self.identities.named(&topic), &partition, &at)?])
            }
        };
        let targets = targets.map_err(|error| self.error(&error))?;
        let mut offsets = Vec::with_capacity(targets.len());
        for ((topic, number), to) in &targets {
            offsets.push((TopicPartition::new(topic.as_str(), *number), *to));
        }
        consumer
            .seek_many(offsets)
            .await
            .map_err(|error| StreamError::Retry(format!("{}: {error}", self.plan.place)))?;
        {
            let mut claims = self.claims.lock();
            for ((topic, number), to) in &targets {
                let name: PartitionName = (Arc::from(topic.as_str()), *number);
                claims.seek(&name, *to);
                self.damaged.remove(&name);
            }
        }
        self.is_paused = true;
        self.commit_now().await
    }

    /// A member that has just been opened has no partitions yet.
    async fn join(&mut self) -> Result<(), StreamError> {
        self.look_for_topics().await?;
        if self.member.is_polling() {
            self.poll(Duration::ZERO).await?;
        }
        for _ in 0..JOIN_POLLS_MAX {
            if !self.claims.lock().is_empty() {
                return Ok(());
            }
            self.poll(JOIN_POLL_TIME).await?;
        }
        Err(self.not_joined())
    }

    fn not_joined(&self) -> StreamError {
        let Self { plan, .. } = self;
        StreamError::Retry(format!("{}: the group {} has given no partition to this server", plan.place, plan.group))
    }
}

type SoughtPartition = ((String, i32), i64);

async fn found(
    consumer: &Consumer,
    partitions: &[(String, i32)],
    time: i64,
) -> Result<Vec<SoughtPartition>, KrafkaError> {
    let asked: Vec<(&str, i32)> = partitions.iter().map(|(topic, number)| (topic.as_str(), *number)).collect();
    let found = consumer.offsets_for_times(&asked, time).await;
    let of = |partition: &(String, i32)| offset_in(&found, partition).map(|offset| (partition.clone(), offset));
    partitions.iter().map(of).collect()
}

/// Partitions without a message of that time or later go on at their ends.
async fn of_time(
    consumer: &Consumer,
    partitions: &[(String, i32)],
    us: i64,
) -> Result<Vec<SoughtPartition>, KrafkaError> {
    // Kafka counts in milliseconds. Times below zero ask for something else.
    let ms = us.max(0).saturating_add(999) / 1_000;
    let mut targets = found(consumer, partitions, ms).await?;
    let without: Vec<(String, i32)> =
        targets.iter().filter(|(_, offset)| *offset < 0).map(|(partition, _)| partition.clone()).collect();
    if !without.is_empty() {
        targets.retain(|(_, offset)| *offset >= 0);
        targets.extend(found(consumer, &without, END).await?);
    }
    Ok(targets)
}

fn one(held: &[(String, i32)], topic: &str, partition: &str, at: &str) -> Result<SoughtPartition, StreamError> {
    let wrong = |reason: String| StreamError::Stop {
        reason,
        advice: "write the position as messages have it: topic/partition/offset".to_owned(),
    };
    let number: i32 = partition.parse().map_err(|_| wrong(format!("{partition:?} is no partition of Kafka")))?;
    let offset = at.parse().ok().filter(|offset: &i64| *offset >= 0);
    let offset = offset.ok_or_else(|| wrong(format!("{at:?} is no offset of Kafka")))?;
    let partition = (topic.to_owned(), number);
    if held.contains(&partition) {
        Ok((partition, offset))
    } else {
        Err(StreamError::Stop {
            reason: format!("partition {number} of {topic} is not read by this server now"),
            advice: "seek at the server whose status shows the partition".to_owned(),
        })
    }
}

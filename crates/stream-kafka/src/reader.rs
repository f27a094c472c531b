//! Reads the messages of some topics as a member of a consumer group.
//!
//! What was read stays here until it is handed out: a `read` that is dropped loses nothing. Offsets are committed about ten times a second,
//! when partitions are taken away, and at the end; never those of messages without a receipt.

mod begin;
mod claims;
mod commits;
mod identities;
mod member;
mod record;
mod seek;

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use krafka::admin::AdminClient;
use krafka::error::ErrorCode;
use krafka::{ConsumerRecord, Kafka, KrafkaError};
use tidegate_process::clock;
use tidegate_stream::{
    PartitionProgress, SeekTarget, StreamBatch, StreamCheckpoints, StreamError, StreamReader, StreamReceipt,
    StreamReply,
};
use tokio::time::Instant;

pub use begin::KafkaStart;

use crate::error::{ACL_OF_TOPIC, stream_error};
use crate::topics::{KafkaTopics, TopicProblem};
use begin::{BeginRule, END, OwnedPartition};
use claims::{PartitionName, SeenPartition, name_of};
use commits::{HeldClaims, commit};
use identities::TopicIdentities;
use member::{BATCH_BYTES_MAX, Member};
use record::{MessageRoom, PartitionOfRecords, ReadRecord};

/// How long a read waits for the first message.
const READ_TIME_MAX: Duration = Duration::from_secs(1);
/// What one read hands out: the message that goes beyond the bytes is the last.
const READ_MESSAGES_MAX: usize = 5_000;
const READ_BYTES_MAX: usize = 2 << 20;
/// Between two looks at which topics there are.
const TOPICS_EVERY: Duration = Duration::from_secs(30);
/// Between two questions for the ends of partitions while nothing is read.
const ENDS_EVERY: Duration = Duration::from_secs(10);
/// Between two commits.
const COMMIT_EVERY: Duration = Duration::from_millis(100);
/// Commits may fail for so long. What is not committed comes again, at worst.
const COMMIT_FAILING_MAX: Duration = Duration::from_secs(30);
/// Polls of one read, of which all but the last find something to settle first.
const POLLS_MAX: usize = 20;

/// What a reader reads, and as whom.
#[derive(Debug, Clone)]
pub(crate) struct ReadPlan {
    /// How messages about it begin.
    pub(crate) place: String,
    pub(crate) topics: KafkaTopics,
    pub(crate) group: String,
    pub(crate) start: KafkaStart,
}

pub(crate) struct KafkaReader {
    plan: ReadPlan,
    admin: AdminClient,
    claims: Arc<HeldClaims>,
    member: Member,
    /// What was read and not handed out.
    stash: VecDeque<ReadRecord>,
    room: MessageRoom,
    identities: TopicIdentities,
    /// See [`BeginRule`].
    at_end: HashSet<OwnedPartition>,
    is_paused: bool,
    topics_at: Option<Instant>,
    ends_at: Option<Instant>,
    committed_at: Option<Instant>,
    commits_fail_since: Option<Instant>,
    topic_problems: Vec<TopicProblem>,
    /// What was skipped last in each partition.
    skipped: BTreeMap<PartitionName, String>,
    /// Partitions that stand still before something that cannot be decoded.
    damaged: BTreeMap<PartitionName, String>,
    /// Partitions of which nobody says where they begin.
    unknown: BTreeMap<PartitionName, String>,
}

impl KafkaReader {
    /// Joins nothing yet, but asks which topics there are. `checkpoints` keep which topics those are.
    pub(crate) async fn open(
        kafka: Kafka,
        plan: ReadPlan,
        checkpoints: Arc<dyn StreamCheckpoints>,
    ) -> Result<Self, StreamError> {
        let admin = kafka.admin();
        let claims = Arc::new(HeldClaims::default());
        let member = Member::new(kafka, plan.group.clone(), Arc::clone(&claims));
        let mut reader = Self {
            plan,
            admin,
            claims,
            member,
            stash: VecDeque::new(),
            room: MessageRoom::default(),
            identities: TopicIdentities::new(checkpoints),
            at_end: HashSet::new(),
            is_paused: false,
            topics_at: None,
            ends_at: None,
            committed_at: None,
            commits_fail_since: None,
            topic_problems: Vec::new(),
            skipped: BTreeMap::new(),
            damaged: BTreeMap::new(),
            unknown: BTreeMap::new(),
        };
        reader.look_for_topics().await?;
        Ok(reader)
    }

    fn error(&self, error: &KrafkaError) -> StreamError {
        stream_error(&self.plan.place, error)
    }

    async fn read_batch(&mut self) -> Result<StreamBatch, StreamError> {
        self.commit_when_due().await?;
        if !self.member.is_polling() {
            self.look_for_topics().await?;
        }
        if self.stash.is_empty() {
            self.resume().await;
            self.poll(READ_TIME_MAX).await?;
        }
        Ok(self.hand_out())
    }

    /// Whatever a receipt says is known at once; the group is told of it now or soon.
    async fn take_receipt(&mut self, receipt: StreamReceipt) -> Result<(), StreamError> {
        self.claims.lock().acknowledge(receipt);
        self.commit_when_due().await
    }

    /// Stays in the group while nothing is read.
    async fn hold(&mut self) -> Result<(), StreamError> {
        self.commit_when_due().await?;
        self.pause().await;
        self.poll(Duration::ZERO).await?;
        self.look_at_ends().await;
        Ok(())
    }

    async fn leave(&mut self) -> Result<(), StreamError> {
        self.member.interrupt().await;
        let told = self.commit_now().await;
        self.member.leave().await;
        self.stash.clear();
        told
    }

    /// Subscribes to the topics that are there. With none, there is nothing to read.
    async fn look_for_topics(&mut self) -> Result<(), StreamError> {
        if self.topics_at.is_some_and(|at| at.elapsed() < TOPICS_EVERY) {
            return Ok(());
        }
        let found = match self.plan.topics.find(&self.admin).await {
            Ok(found) => found,
            // What is read already is read on.
            Err(error) if !self.member.topics().is_empty() => {
                tracing::debug!(%error, "the brokers do not say which topics there are");
                self.topics_at = Some(Instant::now());
                return Ok(());
            }
            Err(error) => return Err(self.error(&error)),
        };
        let is_first = self.member.topics().is_empty() && self.topics_at.is_none();
        if is_first && self.plan.start == KafkaStart::Latest {
            let ReadPlan { place, group, .. } = &self.plan;
            let new = self.identities.new_since_begin(group, place, &found.readable).await?;
            let told = begin::remember_ends(&self.admin, group, &found.readable, &new).await;
            self.at_end = told.map_err(|error| self.error(&error))?;
        }
        for problem in &found.problems {
            // With nothing else to read, it is told as why this reader ends.
            if !found.readable.is_empty() && !self.topic_problems.contains(problem) {
                tracing::warn!(group = self.plan.group, "{}: {}", self.plan.place, problem.text);
            }
        }
        self.topic_problems = found.problems;
        self.identities.meet(&found.readable).await?;
        if is_first && (!found.readable.is_empty() || !self.is_forbidden()) {
            // What comes into being from now on is new, also where there is nothing to read yet.
            self.identities.begin(&self.plan.group, &self.plan.place).await?;
        }
        let topics: Vec<String> = found.readable.into_iter().map(|topic| topic.name).collect();
        if topics != self.member.topics() {
            self.member.subscribe(topics).await.map_err(|error| self.error(&error))?;
        }
        if self.member.topics().is_empty() {
            return Err(self.nothing_to_read());
        }
        self.topics_at = Some(Instant::now());
        self.try_damaged().await;
        Ok(())
    }

    /// Tries once more what stands still: perhaps it was damaged on its way alone. Of what is read elsewhere by now nothing is said here.
    async fn try_damaged(&mut self) {
        let held = self.claims.lock().names();
        self.damaged.retain(|name, _| held.contains(name));
        self.unknown.retain(|name, _| held.contains(name));
        let Some(consumer) = self.member.current() else { return };
        for (topic, number) in self.damaged.keys() {
            consumer.resume(topic, &[*number]).await;
        }
    }

    fn nothing_to_read(&self) -> StreamError {
        let place = &self.plan.place;
        let texts: Vec<&str> = self.topic_problems.iter().map(|problem| problem.text.as_str()).collect();
        let reason = match texts.as_slice() {
            [] => format!("{place}: there are no {}", self.plan.topics.shown()),
            texts => format!("{place}: {}", texts.join("; ")),
        };
        if self.is_forbidden() {
            StreamError::Stop { reason, advice: ACL_OF_TOPIC.to_owned() }
        } else {
            StreamError::Retry(reason)
        }
    }

    /// Whether every topic that is asked for is there, and forbidden.
    fn is_forbidden(&self) -> bool {
        let problems = &self.topic_problems;
        !problems.is_empty() && problems.iter().all(|problem| problem.is_forbidden)
    }

    /// Reads into the stash.
    async fn poll(&mut self, wait: Duration) -> Result<(), StreamError> {
        for _ in 0..POLLS_MAX {
            let error = match self.member.poll(wait).await {
                Ok(records) => {
                    if self.has_gone_back(&records) {
                        self.look_again().await?;
                    }
                    self.keep(records);
                    self.observe().await;
                    return Ok(());
                }
                Err(error) => error,
            };
            match &error {
                KrafkaError::NoOffset { partitions } => self.settle(partitions).await?,
                refused if self.member.is_refused(refused) => self.member.fall_back().await,
                KrafkaError::Protocol { .. } => self.leave_standing(&error).await?,
                KrafkaError::Broker { code: ErrorCode::TopicAuthorizationFailed, .. } => {
                    // Whether that is all of them, the next look will tell; the others are read on.
                    self.topics_at = None;
                    return Err(StreamError::Retry(format!("{}: {error}", self.plan.place)));
                }
                _ => return Err(self.error(&error)),
            }
        }
        Err(StreamError::Retry(format!("{}: the brokers do not say where partitions begin", self.plan.place)))
    }

    /// A partition that cannot be decoded stands still; the others are read on.
    async fn leave_standing(&mut self, error: &KrafkaError) -> Result<(), StreamError> {
        let mut text = error.to_string();
        if text.contains("exceeds maximum") {
            let _ = write!(
                text,
                " (a batch of messages that has more than {BATCH_BYTES_MAX} bytes unpacked is not read: have its \
                producer make smaller batches, `batch.size`, and seek behind this one)"
            );
        }
        let (Some(name), Some(consumer)) = (damaged_partition(&text), self.member.current()) else {
            return Err(self.error(error));
        };
        tracing::error!(topic = &*name.0, partition = name.1, error = text, "a partition stands still");
        consumer.pause(&name.0, &[name.1]).await;
        self.damaged.insert(name, text);
        Ok(())
    }

    async fn settle(&mut self, partitions: &[(String, i32)]) -> Result<(), StreamError> {
        let Some(consumer) = self.member.current() else { return Ok(()) };
        if self.plan.start == KafkaStart::Latest {
            self.look_again().await?;
        }
        let anew = self.identities.anew();
        let rule = BeginRule { start: self.plan.start, at_end: &self.at_end, anew: &anew };
        let settled = begin::settle(&consumer, &self.claims, partitions, rule).await;
        for (name, text) in settled.unknown {
            if !self.unknown.contains_key(&name) {
                tracing::warn!(topic = &*name.0, partition = name.1, "{text}");
            }
            self.unknown.insert(name, text);
        }
        if !settled.skipped.is_empty() {
            self.skipped.extend(settled.skipped);
            self.look_again().await?;
        }
        Ok(())
    }

    /// A partition is not what it was: whether it is of another topic by now is known before anything of it is handed out.
    async fn look_again(&mut self) -> Result<(), StreamError> {
        let found = self.plan.topics.find(&self.admin).await.map_err(|error| self.error(&error))?;
        self.identities.meet(&found.readable).await
    }

    /// Whether the client gives messages again that it has given before, without having been told to.
    fn has_gone_back(&self, records: &[ConsumerRecord]) -> bool {
        let claims = self.claims.lock();
        let partitions = records.chunk_by(|one, next| one.partition == next.partition && one.topic == next.topic);
        let mut firsts = partitions.filter_map(|of_partition| of_partition.first());
        firsts.any(|first| claims.is_behind(&(Arc::clone(&first.topic), first.partition), first.offset))
    }

    fn keep(&mut self, records: Vec<ConsumerRecord>) {
        let mut claims = self.claims.lock();
        let mut last: Option<PartitionOfRecords> = None;
        for record in records {
            let is_of = |name: &PartitionName| name.1 == record.partition && name.0 == record.topic;
            if !last.as_ref().is_some_and(|last| is_of(&last.name)) {
                let name = (Arc::clone(&record.topic), record.partition);
                let (epoch, shown) = claims.of_read(&name);
                self.damaged.remove(&name);
                let mark = self.identities.mark_of(&name.0);
                last = Some(PartitionOfRecords { name, epoch, shown, mark });
            }
            if let Some(of) = &last {
                self.stash.push_back(ReadRecord::new(record, of, &mut self.room));
            }
        }
    }

    fn hand_out(&mut self) -> StreamBatch {
        let mut claims = self.claims.lock();
        let (mut messages, mut handed_out, mut bytes) = (Vec::new(), Vec::new(), 0_usize);
        while messages.len() < READ_MESSAGES_MAX && bytes < READ_BYTES_MAX {
            let Some(record) = self.stash.pop_front() else { break };
            // Of a partition that was taken away since, somebody else reads it.
            if claims.is_current(&record.claim.name, record.claim.epoch) {
                bytes = bytes.saturating_add(record.bytes());
                handed_out.push(record.claim);
                messages.push(record.message);
            }
        }
        let receipt = claims.hand_out(&handed_out);
        StreamBatch { messages, receipt }
    }

    /// Notes how far the partitions are upstream.
    async fn observe(&mut self) {
        let Some(consumer) = self.member.current() else { return };
        let seen = consumer.lag().await;
        let stashed: HashSet<&PartitionName> = self.stash.iter().map(|record| &record.claim.name).collect();
        let mut claims = self.claims.lock();
        for (partition, lag) in seen {
            let name = name_of(&partition);
            if lag.position.is_some() {
                self.unknown.remove(&name);
            }
            let end = lag.last_stable_offset.filter(|end| *end >= 0).or(lag.high_watermark);
            let seen = SeenPartition { position: lag.position, end };
            if let Some(from) = claims.observe(&name, seen, stashed.contains(&name)) {
                let text = begin::tell_gone_back(&name, from, lag.position.unwrap_or_default());
                self.skipped.insert(name, text);
            }
        }
    }

    /// Asks for the ends of partitions that are not read now.
    async fn look_at_ends(&mut self) {
        if self.ends_at.is_some_and(|at| at.elapsed() < ENDS_EVERY) {
            return;
        }
        self.ends_at = Some(Instant::now());
        let Some(consumer) = self.member.current() else { return };
        let names = self.claims.lock().names();
        let asked: Vec<(&str, i32)> = names.iter().map(|(topic, number)| (&**topic, *number)).collect();
        let found = consumer.offsets_for_times(&asked, END).await;
        let mut claims = self.claims.lock();
        for ((topic, number), end) in found {
            if let Ok(end) = end {
                claims.set_end(&(Arc::from(topic.as_str()), number), end);
            }
        }
    }

    async fn pause(&mut self) {
        let Some(consumer) = self.member.current().filter(|_| !self.member.is_polling()) else { return };
        self.is_paused = true;
        for (topic, partitions) in consumer.assignment().await {
            consumer.pause(&topic, &partitions).await;
        }
    }

    async fn resume(&mut self) {
        let Some(consumer) = self.member.current().filter(|_| self.is_paused) else { return };
        for (topic, mut partitions) in consumer.assignment().await {
            let is_damaged = |number: i32| self.damaged.contains_key(&(Arc::from(topic.as_str()), number));
            partitions.retain(|number| !is_damaged(*number));
            consumer.resume(&topic, &partitions).await;
        }
        self.is_paused = false;
    }

    async fn commit_when_due(&mut self) -> Result<(), StreamError> {
        if self.committed_at.is_some_and(|at| at.elapsed() < COMMIT_EVERY) {
            return Ok(());
        }
        self.commit_now().await
    }

    async fn commit_now(&mut self) -> Result<(), StreamError> {
        let Some(consumer) = self.member.current() else { return Ok(()) };
        self.committed_at = Some(Instant::now());
        let error = match commit(&consumer, &self.claims, None).await {
            Ok(is_refused_anew) => {
                self.commits_fail_since = None;
                if is_refused_anew {
                    // Whether the topic is there at all, the next look tells.
                    self.topics_at = None;
                }
                return Ok(());
            }
            Err(error) => error,
        };
        let since = *self.commits_fail_since.get_or_insert_with(Instant::now);
        match self.error(&error) {
            StreamError::Retry(reason) if since.elapsed() < COMMIT_FAILING_MAX => {
                tracing::debug!(reason, "offsets are not committed now");
                Ok(())
            }
            error => Err(error),
        }
    }
}

/// The partition that an error of the client names, whose batch cannot be decoded. The client says it in words alone.
fn damaged_partition(text: &str) -> Option<PartitionName> {
    let (_, rest) = text.split_once("undecodable record batch at ")?;
    let (partition, _) = rest.split_once(" offset ")?;
    let (topic, number) = partition.rsplit_once('-')?;
    Some((Arc::from(topic), number.parse().ok()?))
}

impl StreamReader for KafkaReader {
    fn read(&mut self) -> StreamReply<'_, StreamBatch> {
        Box::pin(self.read_batch())
    }

    fn acknowledge(&mut self, receipt: StreamReceipt) -> StreamReply<'_, ()> {
        Box::pin(self.take_receipt(receipt))
    }

    fn keep_alive(&mut self) -> StreamReply<'_, ()> {
        Box::pin(self.hold())
    }

    fn seek(&mut self, to: SeekTarget) -> StreamReply<'_, ()> {
        Box::pin(self.go_to(to))
    }

    fn progress(&self) -> Vec<PartitionProgress> {
        self.claims.lock().progress(clock::now_us())
    }

    fn notices(&self) -> Vec<String> {
        let of_topics = self.topic_problems.iter().map(|problem| problem.text.clone());
        let of_partitions = self.skipped.values().chain(self.damaged.values()).chain(self.unknown.values()).cloned();
        let of_commits: Vec<String> = self.claims.lock().refused().cloned().collect();
        of_topics.chain(self.identities.notices()).chain(of_partitions).chain(of_commits).collect()
    }

    fn close(&mut self) -> StreamReply<'_, ()> {
        Box::pin(self.leave())
    }
}

//! A source of Kafka: where its messages are, and as whom they are read.

use std::sync::Arc;

use krafka::KrafkaError;
use krafka::admin::{
    AdminClient, ConsumerGroupDescription, DescribeConsumerGroupsOptions, ListConsumerGroupOffsetsOptions,
};
use krafka::error::ErrorCode;
use tidegate_stream::{StreamCheckpoints, StreamError, StreamOrigin, StreamReader, StreamReply};

use crate::connection::KafkaConnection;
use crate::error::{ACL_OF_GROUP, ACL_OF_TOPIC, stream_error};
use crate::reader::{KafkaReader, KafkaStart, ReadPlan};
use crate::topics::{FoundTopic, FoundTopics, KafkaTopics, READ_BIT};

/// Topics of a cluster, read as a member of a consumer group.
#[derive(Debug, Clone)]
pub struct KafkaOrigin {
    pub connection: KafkaConnection,
    pub topics: KafkaTopics,
    pub group: String,
    pub start: KafkaStart,
}

impl KafkaOrigin {
    async fn reader(
        &self,
        source: &str,
        checkpoints: Arc<dyn StreamCheckpoints>,
    ) -> Result<Box<dyn StreamReader>, StreamError> {
        let kafka = self.connection.connect(&format!("tidegate-{source}")).await?;
        let plan = ReadPlan {
            place: self.connection.place(),
            topics: self.topics.clone(),
            group: self.group.clone(),
            start: self.start,
        };
        Ok(Box::new(KafkaReader::open(kafka, plan, checkpoints).await?))
    }

    /// As what topics are read, behind their names.
    fn of_group(&self) -> String {
        format!(" as the group {} of {}", self.group, self.connection.place())
    }

    async fn look(&self) -> Result<Vec<String>, StreamError> {
        let kafka = self.connection.connect("tidegate-check").await?;
        let admin = kafka.admin();
        let wrong = |error: KrafkaError| stream_error(&self.connection.place(), &error);
        let mut said = vec![format!("{} lets us in", self.connection.place())];
        if self.connection.shows_secrets() {
            said.push(
                "the password or token can be read on the way: write `tls: true` where the brokers speak TLS"
                    .to_owned(),
            );
        }
        let found = self.topics.find(&admin).await.map_err(wrong)?;
        said.extend(self.tell_topics(found)?);
        said.push(self.tell_group(&admin).await?);
        Ok(said)
    }

    fn tell_topics(&self, found: FoundTopics) -> Result<Vec<String>, StreamError> {
        let place = self.connection.place();
        let problems = found.problems.iter().map(|problem| problem.text.clone());
        if found.readable.is_empty() {
            let problems: Vec<String> = problems.collect();
            let reason = match problems.as_slice() {
                [] => format!("{place}: there are no {}", self.topics.shown()),
                problems => format!("{place}: {}", problems.join("; ")),
            };
            let is_forbidden = found.problems.iter().any(|problem| problem.is_forbidden);
            let advice =
                if is_forbidden { ACL_OF_TOPIC } else { "create the topics, or correct `topics` or `topic_pattern`" };
            return Err(StreamError::Stop { reason, advice: advice.to_owned() });
        }
        let readable = found.readable.iter().map(|FoundTopic { name, partitions, .. }| {
            let noun = if *partitions == 1 { "partition" } else { "partitions" };
            format!("topic {name} has {partitions} {noun}")
        });
        Ok(readable.chain(problems).collect())
    }

    async fn tell_group(&self, admin: &AdminClient) -> Result<String, StreamError> {
        let (place, group) = (self.connection.place(), &self.group);
        let wrong = |error: &KrafkaError| stream_error(&place, error);
        let options = DescribeConsumerGroupsOptions::default().include_authorized_operations(true);
        let described = admin.describe_consumer_groups([group], options).await.map_err(|error| wrong(&error))?;
        let members = match described.into_values().next() {
            Some(Ok(described)) if is_forbidden(&described) => {
                let reason = format!("{place}: this client's user may not READ the group {group}");
                return Err(StreamError::Stop { reason, advice: ACL_OF_GROUP.to_owned() });
            }
            Some(Ok(described)) => described.members.len(),
            Some(Err(KrafkaError::Broker { code: ErrorCode::GroupIdNotFound, .. })) | None => 0,
            Some(Err(error)) => return Err(wrong(&error)),
        };
        let offsets =
            admin.list_consumer_group_offsets(group.as_str(), ListConsumerGroupOffsetsOptions::default()).await;
        let positions = match offsets {
            Ok(offsets) => {
                offsets.values().filter(|known| known.as_ref().is_ok_and(|known| known.offset.is_some())).count()
            }
            Err(KrafkaError::Broker { code: ErrorCode::GroupIdNotFound, .. }) => 0,
            Err(error) => return Err(wrong(&error)),
        };
        let begin = match (positions, self.start) {
            (0, KafkaStart::Earliest) => "it has no positions yet and begins at the first messages".to_owned(),
            (0, KafkaStart::Latest) => "it has no positions yet and begins behind the last messages".to_owned(),
            (positions, _) => format!("it has positions in {positions} partitions and goes on there"),
        };
        let members = match members {
            0 => "no members".to_owned(),
            1 => "one member".to_owned(),
            members => format!("{members} members"),
        };
        Ok(format!("group {group} has {members} now; {begin}"))
    }
}

fn is_forbidden(group: &ConsumerGroupDescription) -> bool {
    // A broker without authorization says nothing; one that does not know says the least number.
    group.authorized_operations.is_some_and(|operations| operations != i32::MIN && operations & READ_BIT == 0)
}

impl StreamOrigin for KafkaOrigin {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn place(&self) -> String {
        self.connection.place()
    }

    /// A group gives each partition to one of its members.
    fn shared_reads(&self) -> Vec<String> {
        let of_group = self.of_group();
        match &self.topics {
            KafkaTopics::Named(names) => names.iter().map(|name| format!("{name}{of_group}")).collect(),
            KafkaTopics::Pattern(_) => vec![format!("{}{of_group}", self.topics.shown())],
        }
    }

    fn takes(&self, shared_read: &str) -> bool {
        let topic = shared_read.strip_suffix(self.of_group().as_str());
        matches!(self.topics, KafkaTopics::Pattern(_)) && topic.is_some_and(|topic| self.topics.reads(topic))
    }

    fn reads_topic(&self, servers: &[String], topic: &str) -> bool {
        self.connection.brokers.iter().any(|broker| servers.contains(broker)) && self.topics.reads(topic)
    }

    /// The group keeps the positions; the checkpoints, of which topics they are.
    fn open(&self, source: &str, checkpoints: Arc<dyn StreamCheckpoints>) -> StreamReply<'_, Box<dyn StreamReader>> {
        let source = source.to_owned();
        Box::pin(async move { self.reader(&source, checkpoints).await })
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.look())
    }
}

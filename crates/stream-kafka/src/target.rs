//! A cluster that messages go to.

use krafka::Compression;
use krafka::KrafkaError;
use krafka::admin::{AdminClient, DescribeTopicsOptions, ListTopicsOptions};
use krafka::error::ErrorCode;
use tidegate_stream::{FixedTopics, StreamError, StreamReply, StreamTarget, StreamWriter};

use crate::connection::KafkaConnection;
use crate::error::stream_error;
use crate::ledger_topic;
use crate::plain_writer::PlainWriter;
use crate::transactional_writer::TransactionalWriter;
use crate::writer::WriterParts;
use crate::written_topics::{WrittenTopics, is_missing};

/// How the client is called at the brokers.
const CLIENT: &str = "tidegate";

/// A cluster that messages go to.
#[derive(Debug, Clone)]
pub struct KafkaTarget {
    pub connection: KafkaConnection,
    /// Each message is there once. Without, one whose answer was lost may be there twice.
    pub transactions: bool,
    /// The topic that keeps the ledger of transactions.
    pub ledger_topic: String,
    /// Topics that are missing are made with so many partitions; none is made when `None`.
    pub partitions: Option<i32>,
    pub compression: KafkaCompression,
    /// Topics that are known to be written to, for a check.
    pub topics: Vec<String>,
}

/// How batches of messages are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum KafkaCompression {
    None,
    Gzip,
    Snappy,
    #[default]
    Lz4,
}

impl KafkaCompression {
    pub(crate) const fn codec(self) -> Compression {
        match self {
            Self::None => Compression::None,
            Self::Gzip => Compression::Gzip,
            Self::Snappy => Compression::Snappy,
            Self::Lz4 => Compression::Lz4,
        }
    }
}

impl KafkaTarget {
    async fn writer(&self, ledger: String) -> Result<Box<dyn StreamWriter>, StreamError> {
        let kafka = self.connection.connect(CLIENT).await?;
        let parts = WriterParts {
            admin: kafka.admin(),
            kafka,
            place: self.connection.place(),
            ledger_topic: self.ledger_topic.clone(),
            partitions: self.partitions,
            compression: self.compression.codec(),
            topics: WrittenTopics::default(),
        };
        let writer: Box<dyn StreamWriter> = if self.transactions {
            Box::new(TransactionalWriter::open(parts, ledger).await?)
        } else {
            Box::new(PlainWriter::open(parts).await?)
        };
        Ok(writer)
    }

    async fn look(&self) -> Result<Vec<String>, StreamError> {
        let kafka = self.connection.connect(CLIENT).await?;
        let (admin, place) = (kafka.admin(), self.connection.place());
        let failed = |error: KrafkaError| stream_error(&place, &error);
        let topics = admin.list_topics(ListTopicsOptions::default()).await.map_err(failed)?;
        let mut found = vec![format!("it answers, and shows {} topics", topics.len())];
        if self.transactions {
            let topic = &self.ledger_topic;
            let is_there = ledger_topic::is_there(&admin, topic).await.map_err(failed)?;
            found.push(if is_there {
                format!("the ledger is in the topic {topic}")
            } else {
                format!("the topic {topic} for the ledger is made when the sync first runs")
            });
        }
        found.extend(self.look_at_topics(&admin, &place).await?);
        Ok(found)
    }

    async fn look_at_topics(&self, admin: &AdminClient, place: &str) -> Result<Vec<String>, StreamError> {
        if self.topics.is_empty() {
            return Ok(Vec::new());
        }
        let described = admin.describe_topics(&self.topics, DescribeTopicsOptions::default()).await;
        let described = described.map_err(|error| stream_error(place, &error))?;
        let mut found = Vec::new();
        for (topic, outcome) in described {
            found.push(match (outcome, self.partitions) {
                (Ok(topic), _) => format!("the topic {} has {} partitions", topic.name, topic.partitions.len()),
                (Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }), Some(partitions)) => {
                    format!("the topic {topic} is made with {partitions} partitions when the first message comes")
                }
                (Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }), None) => {
                    return Err(is_missing(place, &topic));
                }
                (Err(error), _) => return Err(stream_error(place, &error)),
            });
        }
        found.sort_unstable();
        Ok(found)
    }
}

impl StreamTarget for KafkaTarget {
    fn kind(&self) -> &'static str {
        "kafka"
    }

    fn place(&self) -> String {
        self.connection.place()
    }

    fn keeps_ledger(&self) -> bool {
        self.transactions
    }

    fn fixed_topics(&self) -> FixedTopics {
        FixedTopics {
            servers: self.connection.brokers.clone(),
            topics: self.topics.clone(),
            ledger: self.transactions.then(|| self.ledger_topic.clone()),
        }
    }

    fn open(&self, ledger: &str) -> StreamReply<'_, Box<dyn StreamWriter>> {
        Box::pin(self.writer(ledger.to_owned()))
    }

    fn check(&self) -> StreamReply<'_, Vec<String>> {
        Box::pin(self.look())
    }
}

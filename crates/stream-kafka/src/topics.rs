//! Which topics are read: named ones, or those whose names fit a pattern.

use std::time::Duration;

use krafka::KrafkaError;
use krafka::admin::{AdminClient, DescribeTopicsOptions, ListTopicsOptions, TopicDescription};
use krafka::error::ErrorCode;
use regex::Regex;

/// The bit of an operation among those that a broker allows: `READ` of Kafka's `AclOperation`.
pub(crate) const READ_BIT: i32 = 1 << 3;
/// How long the brokers may take to say which topics there are.
pub(crate) const ASK_TIME_MAX: Duration = Duration::from_secs(10);
/// Where the ledgers of destinations are, unless they say otherwise.
pub const LEDGER_TOPIC: &str = "tidegate_ledger";
/// How the names of topics begin that are Kafka's own, or a vendor's.
const RESERVED: &str = "__";
/// Topics that one pattern may fit.
pub const TOPICS_MAX: usize = 1_000;

/// Which topics are read.
#[derive(Debug, Clone)]
pub enum KafkaTopics {
    Named(Vec<String>),
    /// Topics whose whole name fits; those of Kafka itself and [`LEDGER_TOPIC`] never do.
    Pattern(Regex),
}

/// What the brokers say of them.
#[derive(Debug, Default)]
pub(crate) struct FoundTopics {
    /// Those that can be read; sorted.
    pub(crate) readable: Vec<FoundTopic>,
    pub(crate) problems: Vec<TopicProblem>,
}

/// A topic that can be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FoundTopic {
    pub(crate) name: String,
    /// How many it has.
    pub(crate) partitions: usize,
    /// Made with the topic, and no other topic of any cluster has it; zeros where the brokers know none.
    pub(crate) id: [u8; 16],
}

/// Why a topic is not read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TopicProblem {
    pub(crate) text: String,
    /// Whether only an operator can help.
    pub(crate) is_forbidden: bool,
}

impl KafkaTopics {
    /// A pattern for whole names.
    ///
    /// # Errors
    /// It is no regular expression; the text says why.
    pub fn pattern(text: &str) -> Result<Self, String> {
        let whole = format!("^(?:{text})$");
        Regex::new(&whole).map(Self::Pattern).map_err(|error| error.to_string())
    }

    /// Whether a topic of this name is read.
    pub(crate) fn reads(&self, name: &str) -> bool {
        match self {
            Self::Named(names) => names.iter().any(|named| named == name),
            Self::Pattern(pattern) => !name.starts_with(RESERVED) && name != LEDGER_TOPIC && pattern.is_match(name),
        }
    }

    /// For messages.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Named(names) => names.join(", "),
            Self::Pattern(pattern) => format!("topics that fit {}", pattern.as_str()),
        }
    }

    /// Asks the brokers.
    pub(crate) async fn find(&self, admin: &AdminClient) -> Result<FoundTopics, KrafkaError> {
        let mut found = FoundTopics::default();
        let names = match self {
            Self::Named(names) => names.clone(),
            Self::Pattern(_) => {
                let all = admin.list_topics(ListTopicsOptions::default().timeout(ASK_TIME_MAX)).await?;
                let mut fitting: Vec<String> = all.into_iter().filter(|name| self.reads(name)).collect();
                if fitting.len() > TOPICS_MAX {
                    let text = format!(
                        "{} topics fit `topic_pattern`, and the first {TOPICS_MAX} are read: write a narrower one, and a source for the rest",
                        fitting.len()
                    );
                    found.problems.push(TopicProblem { text, is_forbidden: false });
                    fitting.truncate(TOPICS_MAX);
                }
                fitting
            }
        };
        if names.is_empty() {
            return Ok(found);
        }
        let mut described: Vec<_> = admin
            .describe_topics(&names, DescribeTopicsOptions::default().timeout(ASK_TIME_MAX))
            .await?
            .into_iter()
            .collect();
        described.sort_by(|(one, _), (other, _)| one.cmp(other));
        for (name, topic) in described {
            match topic {
                Ok(topic) if is_readable(&topic) => {
                    let (partitions, id) = (topic.partitions.len(), topic.topic_id);
                    found.readable.push(FoundTopic { name, partitions, id });
                }
                Ok(_) => found.problems.push(forbidden(&name, "READ")),
                Err(KrafkaError::Broker { code: ErrorCode::TopicAuthorizationFailed, .. }) => {
                    found.problems.push(forbidden(&name, "READ and DESCRIBE"));
                }
                Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }) => {
                    let text = format!(
                        "topic {name} does not exist, or this client's user may not DESCRIBE it; it is read as soon as it is there"
                    );
                    found.problems.push(TopicProblem { text, is_forbidden: false });
                }
                // Without an answer nothing is known of it, so nothing changes.
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }
}

fn is_readable(topic: &TopicDescription) -> bool {
    topic.authorized_operations.is_none_or(|operations| operations & READ_BIT != 0)
}

fn forbidden(name: &str, operations: &str) -> TopicProblem {
    let text = format!("topic {name} is not read: this client's user may not {operations} it");
    TopicProblem { text, is_forbidden: true }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_fits_whole_names() {
        let pattern = KafkaTopics::pattern("orders-.*|refunds").unwrap();
        let fits = |name: &str| pattern.reads(name);
        assert!(fits("orders-eu") && fits("refunds"));
        assert!(!fits("old-orders-eu") && !fits("refunds-2") && !fits("my-refunds"));
        assert!(KafkaTopics::pattern("(").is_err());
    }

    #[test]
    fn no_pattern_fits_what_is_not_for_sources() {
        let all = KafkaTopics::pattern(".*").unwrap();
        assert!(all.reads("orders") && all.reads("_orders"));
        for name in ["__consumer_offsets", "__amazon_msk_canary", LEDGER_TOPIC] {
            assert!(!all.reads(name), "{name}");
        }
        assert!(KafkaTopics::Named(vec![LEDGER_TOPIC.to_owned()]).reads(LEDGER_TOPIC), "who names it means it");
    }
}

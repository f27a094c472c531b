//! The topics that are written to: which names can be, and that they are there.

use std::collections::{BTreeSet, HashSet};

use krafka::KrafkaError;
use krafka::admin::{AdminClient, CreateTopicsOptions, DescribeTopicsOptions, NewTopic};
use krafka::error::ErrorCode;
use tidegate_stream::StreamError;

use crate::error::stream_error;

/// The most characters of a name.
const NAME_CHARS_MAX: usize = 249;
/// Topics that one writer may write to. Their names may come out of events.
const WRITTEN_MAX: usize = 1_000;

/// Topics that a writer has found to be there.
#[derive(Debug, Default)]
pub(crate) struct WrittenTopics {
    found: HashSet<String>,
}

/// Why no message can be written to a topic of this name; `None` where one can.
pub(crate) fn illegal(topic: &str, ledger_topic: &str) -> Option<String> {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let why = if topic.is_empty() || topic.len() > NAME_CHARS_MAX {
        "a topic's name has 1 to 249 characters"
    } else if !topic.chars().all(fits) || topic == "." || topic == ".." {
        "a topic's name is made of a-z, A-Z, 0-9, `.`, `_` and `-`"
    } else if topic.starts_with("__") {
        "topics whose names begin so are Kafka's own"
    } else if topic == ledger_topic {
        "the ledger is kept there"
    } else {
        return None;
    };
    Some(format!("the topic {topic:?}: {why}"))
}

impl WrittenTopics {
    /// Makes sure that all of `topics` are there; those that are not are made with `partitions`, where that is allowed.
    pub(crate) async fn ensure(
        &mut self,
        admin: &AdminClient,
        place: &str,
        topics: BTreeSet<&str>,
        partitions: Option<i32>,
    ) -> Result<(), StreamError> {
        let new: Vec<&str> = topics.into_iter().filter(|topic| !self.found.contains(*topic)).collect();
        if new.is_empty() {
            return Ok(());
        }
        if self.found.len() + new.len() > WRITTEN_MAX {
            return Err(StreamError::Stop {
                reason: format!("{place}: its events are for more than {WRITTEN_MAX} topics"),
                advice: "write a `topic` that names fewer".to_owned(),
            });
        }
        let failed = |error: KrafkaError| stream_error(place, &error);
        let described = admin.describe_topics(&new, DescribeTopicsOptions::default()).await.map_err(failed)?;
        let mut missing = Vec::new();
        for (topic, found) in described {
            match found {
                Ok(_) => {
                    self.found.insert(topic);
                }
                Err(KrafkaError::Broker { code: ErrorCode::UnknownTopicOrPartition, .. }) => missing.push(topic),
                Err(error) => return Err(failed(error)),
            }
        }
        missing.sort_unstable();
        let Some(first) = missing.first() else { return Ok(()) };
        let Some(partitions) = partitions else { return Err(is_missing(place, first)) };
        let wanted: Result<Vec<NewTopic>, KrafkaError> =
            missing.iter().map(|topic| NewTopic::new(topic.as_str(), partitions, -1)).collect();
        let made =
            admin.create_topics(wanted.map_err(failed)?, CreateTopicsOptions::default()).await.map_err(failed)?;
        for (topic, made) in made {
            match made {
                Ok(()) => tracing::info!(topic, partitions, "{place}: a topic was made"),
                Err(KrafkaError::Broker { code: ErrorCode::TopicAlreadyExists, .. }) => {}
                Err(error) if error.is_retriable() => return Err(failed(error)),
                Err(error) => {
                    return Err(StreamError::Stop {
                        reason: format!("{place}: the topic {topic} cannot be made: {error}"),
                        advice: "make it yourself, or allow this client's user to CREATE topics".to_owned(),
                    });
                }
            }
            self.found.insert(topic);
        }
        Ok(())
    }

    /// Asks again: a topic may have been taken away.
    pub(crate) fn forget(&mut self) {
        self.found.clear();
    }
}

/// A topic is not there and may not be made.
pub(crate) fn is_missing(place: &str, topic: &str) -> StreamError {
    StreamError::Stop {
        reason: format!("{place}: there is no topic {topic}"),
        advice: format!(
            "make it (`kafka-topics --create --topic {topic}`), or have topics made: `partitions: 6` says of how many partitions"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_no_topic_can_have_say_why() {
        for (name, words) in [
            ("orders", None),
            ("Orders.2026_11-30", None),
            ("", Some("characters")),
            (&*"x".repeat(250), Some("characters")),
            ("Order Done", Some("made of")),
            ("..", Some("made of")),
            ("größe", Some("made of")),
            ("__consumer_offsets", Some("Kafka's own")),
            ("tidegate_ledger", Some("ledger")),
        ] {
            let said = illegal(name, "tidegate_ledger");
            assert_eq!(said.is_some(), words.is_some(), "{name}: {said:?}");
            assert!(said.unwrap_or_default().contains(words.unwrap_or_default()), "{name}");
        }
    }
}

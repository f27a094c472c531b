//! `kind: kafka` of a source: which topics it reads, as which group, and how the cluster is reached.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::StreamOrigin;
use tidegate_stream_kafka::{KafkaOrigin, KafkaStart, KafkaTopics};

use crate::config::kafka_connection;
use crate::config::outgoing::Outgoing;
use crate::config::surroundings::ObjectInputs;

/// Topics that a source may name.
const TOPICS_MAX: usize = 1_000;
/// What Kafka takes for the name of a topic or a group.
const NAME_CHARS_MAX: usize = 249;
const STARTS: [(&str, KafkaStart); 2] = [("earliest", KafkaStart::Earliest), ("latest", KafkaStart::Latest)];

/// None where something is wrong, or a secret is not at hand.
pub(super) fn kafka(
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<Arc<dyn StreamOrigin>> {
    let connection = kafka_connection::connection(f, inputs, outgoing);
    let topics = topics(f);
    let start = f.word("start", &STARTS).unwrap_or_default();
    let group = match f.text("group") {
        Some(group) if group.is_empty() || group.chars().count() > NAME_CHARS_MAX => {
            let message = format!("`group` has {} characters", group.chars().count());
            f.problem(
                "group",
                message,
                format!("write 1 to {NAME_CHARS_MAX}, or leave it out for tidegate-{}", f.name()),
            );
            None
        }
        Some(group) => Some(group),
        None if f.has("group") => None,
        None => Some(format!("tidegate-{}", f.name())),
    };
    Some(Arc::new(KafkaOrigin { connection: connection?, topics: topics?, group: group?, start }))
}

/// `topics` or `topic_pattern`.
fn topics(f: &mut Fields<'_>) -> Option<KafkaTopics> {
    const FIX: &str = "write `topics: [orders]`, or `topic_pattern: \"orders-.*\"` for all whose whole names fit";
    let named = f.texts_and_lines("topics");
    let pattern = f.text("topic_pattern");
    match (f.has("topics"), f.has("topic_pattern")) {
        (true, true) => {
            f.problem("topic_pattern", "`topics` and `topic_pattern` are both there", "take one of them away");
            None
        }
        (false, false) => {
            f.problem("topics", "nothing says which topics are read", FIX);
            None
        }
        (true, false) => named_topics(f, named, FIX),
        (false, true) => match KafkaTopics::pattern(&pattern?) {
            Ok(topics) => Some(topics),
            Err(error) => {
                let message = format!("`topic_pattern` is no regular expression: {error}");
                f.problem("topic_pattern", message, "correct it; it must fit the whole name, as `orders-.*` does");
                None
            }
        },
    }
}

fn named_topics(f: &mut Fields<'_>, named: Vec<(String, usize)>, fix: &str) -> Option<KafkaTopics> {
    if named.is_empty() || named.len() > TOPICS_MAX {
        let message = format!("`topics` names {} topics", named.len());
        f.problem("topics", message, format!("{fix}; at most {TOPICS_MAX} are read by one source"));
        return None;
    }
    let mut names = Vec::with_capacity(named.len());
    let mut is_right = true;
    for (name, line) in named {
        let is_name = (1..=NAME_CHARS_MAX).contains(&name.len())
            && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-'));
        if !is_name {
            let message = format!("`topics` has {:?}, which is no name of a topic", shortened(&name, QUOTED_CHARS_MAX));
            let fix = "names have letters, digits, `.`, `_` and `-`; for several by a rule write `topic_pattern`";
            f.problem_at("topics", line, message, fix);
            is_right = false;
        } else if !names.contains(&name) {
            names.push(name);
        }
    }
    is_right.then_some(KafkaTopics::Named(names))
}

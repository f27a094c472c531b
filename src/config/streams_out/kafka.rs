//! `kind: kafka` of a destination: which cluster messages go to, and how.

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::{MessageTemplate, StreamTarget};
use tidegate_stream_kafka::{KafkaCompression, KafkaTarget, LEDGER_TOPIC};

use crate::config::around::Around;
use crate::config::kafka_connection;

/// The most characters of a topic's name.
const NAME_CHARS_MAX: usize = 249;
/// Of a topic that is made.
const PARTITIONS_MAX: i64 = 10_000;
const COMPRESSIONS: [(&str, KafkaCompression); 4] = [
    ("none", KafkaCompression::None),
    ("gzip", KafkaCompression::Gzip),
    ("snappy", KafkaCompression::Snappy),
    ("lz4", KafkaCompression::Lz4),
];

/// None where something is wrong, or a secret is not at hand.
pub(super) fn kafka(f: &mut Fields<'_>, around: &Around<'_>) -> Option<Arc<dyn StreamTarget>> {
    let connection = kafka_connection::connection(f, around.inputs, around.outgoing);
    let transactions = f.flag("transactions").unwrap_or(true);
    let ledger_topic = match f.text("ledger_topic") {
        Some(name) => is_topic(f, "ledger_topic", &name).then_some(name),
        None if f.has("ledger_topic") => None,
        None => Some(LEDGER_TOPIC.to_owned()),
    };
    let partitions = f.number_up_to("partitions", 1, PARTITIONS_MAX);
    let compression = f.word("compression", &COMPRESSIONS).unwrap_or_default();
    // What is wrong with them as templates is told elsewhere.
    let topics = [fixed(f, "topic"), f.text("violations_topic")];
    let mut are_right = true;
    for (name, topic) in ["topic", "violations_topic"].into_iter().zip(&topics) {
        if let Some(topic) = topic {
            are_right = is_topic(f, name, topic) && are_right;
        }
    }
    let (connection, ledger_topic) = (connection?, ledger_topic?);
    if !are_right {
        return None;
    }
    let topics = topics.into_iter().flatten().collect();
    Some(Arc::new(KafkaTarget { connection, transactions, ledger_topic, partitions, compression, topics }))
}

/// A template that says the same of every event.
fn fixed(f: &mut Fields<'_>, name: &'static str) -> Option<String> {
    let text = f.text(name)?;
    let template = text.parse::<MessageTemplate>().ok()?;
    template.is_fixed().then_some(text)
}

fn is_topic(f: &mut Fields<'_>, name: &str, topic: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let is_name = !topic.is_empty() && topic.len() <= NAME_CHARS_MAX && topic.chars().all(fits);
    if is_name && topic != "." && topic != ".." && !topic.starts_with("__") {
        return true;
    }
    let message =
        format!("`{name}` is {:?}, which no topic of yours can be called", shortened(topic, QUOTED_CHARS_MAX));
    let fix = format!("use up to {NAME_CHARS_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`, not `__` first");
    f.problem(name, message, fix);
    false
}

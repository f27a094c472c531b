//! `kind: kafka`, `pubsub` or `kinesis` of a source: where its messages are, and how they become events.

mod kafka;
mod kinesis;
mod pubsub;
pub(super) mod schemas;

use std::collections::BTreeSet;
use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_message::{MessageFormat, MessagePlace};
use tidegate_source::streams::{StreamSettings, TombstoneRule, stream_mapping};
use tidegate_stream::StreamOrigin;

use super::mapping;
use super::outgoing::Outgoing;
use super::surroundings::ObjectInputs;

/// A source that is a stream.
#[derive(Debug, Clone)]
pub struct StreamSourceConfig {
    /// Where its messages are.
    pub origin: Arc<dyn StreamOrigin>,
    pub settings: Arc<StreamSettings>,
}

/// Whose streams a source may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StreamKind {
    Kafka,
    Pubsub,
    Kinesis,
}

impl StreamKind {
    const WORDS: [(&'static str, Self); 3] =
        [("kafka", Self::Kafka), ("pubsub", Self::Pubsub), ("kinesis", Self::Kinesis)];

    /// That of `kind`, if it is one.
    pub(super) fn of(word: &str) -> Option<Self> {
        Self::WORDS.iter().find(|(known, _)| *known == word).map(|(_, kind)| *kind)
    }
}

/// What two sources read that each would take a part of from the other.
pub(super) fn read_by_both(one: &StreamSourceConfig, other: &StreamSourceConfig) -> Option<String> {
    let of_one: BTreeSet<String> = one.origin.shared_reads().into_iter().collect();
    let of_other: BTreeSet<String> = other.origin.shared_reads().into_iter().collect();
    let both = of_one.iter().find(|read| of_other.contains(*read) || other.origin.takes(read));
    both.or_else(|| of_other.iter().find(|read| one.origin.takes(read))).cloned()
}

/// None where something is wrong, or a secret is not at hand.
pub(super) fn stream(
    kind: StreamKind,
    f: &mut Fields<'_>,
    inputs: &ObjectInputs<'_>,
    outgoing: &Outgoing,
) -> Option<StreamSourceConfig> {
    for name in super::documents::WRITE_KEYS {
        if f.has(name) {
            let message = format!("`{name}` is there, and nobody sends to a source that reads a stream");
            f.problem(name, message, "take it away; for SDKs make a source of `kind: http`");
            f.json(name);
        }
    }
    let settings = settings(f, inputs, outgoing);
    let origin = match kind {
        StreamKind::Kafka => kafka::kafka(f, inputs, outgoing),
        StreamKind::Pubsub => pubsub::pubsub(f, inputs, outgoing),
        StreamKind::Kinesis => kinesis::kinesis(f, inputs, outgoing),
    };
    Some(StreamSourceConfig { origin: origin?, settings: Arc::new(settings?) })
}

/// How messages become events, whatever carries them.
fn settings(f: &mut Fields<'_>, inputs: &ObjectInputs<'_>, outgoing: &Outgoing) -> Option<StreamSettings> {
    let mut mapping = stream_mapping();
    mapping.format = f.word("format", &MessageFormat::WORDS).unwrap_or_default();
    mapping.pass_events = f.flag("pass_events").unwrap_or(mapping.pass_events);
    mapping.rules = mapping::mappings(f);
    let tombstones = f.word("tombstones", &TombstoneRule::WORDS).unwrap_or_default();
    let kept_headers = kept_headers(f);
    let schemas::ReadSchemas { place, registry } = schemas::schemas(f, inputs, outgoing, mapping.format)?;
    mapping.schemas = place;
    Some(StreamSettings { mapping, kept_headers, tombstones, registry })
}

/// Names of headers, in lower case.
fn kept_headers(f: &mut Fields<'_>) -> Vec<String> {
    let mut names = Vec::new();
    for (text, line) in f.texts_and_lines("headers") {
        match MessagePlace::parse(&format!("header:{text}")) {
            Ok(MessagePlace::Header(name)) => names.push(name),
            _ => {
                let message = format!("`headers` has {:?}, which names no header", shortened(&text, QUOTED_CHARS_MAX));
                f.problem_at("headers", line, message, "write the name as whoever publishes the messages writes it");
            }
        }
    }
    names
}

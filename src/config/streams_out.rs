//! `destinations/<name>.yaml` of `kind: kafka`, `pubsub`, `kinesis` or `s3`: where messages go, and how events become messages.

mod avro;
mod kafka;
mod kinesis;
mod pubsub;
mod s3;

use std::sync::Arc;

use tidegate_document::fields::Fields;
use tidegate_document::problem::{QUOTED_CHARS_MAX, shortened};
use tidegate_stream::{MessageShape, MessageTemplate, PayloadFormat, StreamTarget};

use super::around::Around;

/// The kinds of destinations that are streams.
pub(super) const STREAM_OUT_KINDS: [&str; 4] = ["kafka", "pubsub", "kinesis", "s3"];

/// How the names of ledgers begin, unless the file says otherwise.
const LEDGER_DEFAULT: &str = "tidegate";
const LEDGER_CHARS_MAX: usize = 100;
/// Headers that every message has.
const HEADERS_MAX: usize = 50;
const HEADER_BYTES_MAX: usize = 200;
const TOPIC_DEFAULT: &str = "events-{source}";

/// What messages hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum WrittenFormat {
    Json,
    Avro,
}

impl WrittenFormat {
    const WORDS: [(&'static str, Self); 2] = [("json", Self::Json), ("avro", Self::Avro)];
    const OF_FILES: [(&'static str, Self); 1] = [("json", Self::Json)];
}

/// A destination that is a stream.
#[derive(Debug, Clone)]
pub struct StreamDestinationConfig {
    pub target: Arc<dyn StreamTarget>,
    pub shape: Arc<MessageShape>,
    ledger: String,
}

impl StreamDestinationConfig {
    /// Under what name a sync's progress is kept at the far side, where it is kept there.
    #[must_use]
    pub fn ledger_of(&self, sync: &str) -> String {
        format!("{}-{sync}", self.ledger)
    }

    /// Where that is, as a text that no two syncs may have; none where the far side keeps none.
    pub(super) fn ledger_place(&self, sync: &str) -> Option<String> {
        self.target.keeps_ledger().then(|| format!("{} {}", self.target.place(), self.ledger_of(sync)))
    }
}

/// None where something is wrong, or a secret is not at hand.
pub(super) fn stream(fields: &mut Fields<'_>, kind: &str, around: &Around<'_>) -> Option<StreamDestinationConfig> {
    let is_files = kind == "s3";
    let shape = if is_files { s3::shape(fields) } else { shape(fields) };
    let ledger = ledger(fields);
    let words: &[(&str, WrittenFormat)] = if is_files { &WrittenFormat::OF_FILES } else { &WrittenFormat::WORDS };
    let format = match fields.word("format", words) {
        Some(WrittenFormat::Avro) => {
            let topic = shape.as_ref().filter(|shape| shape.topic.is_fixed()).map(|shape| shape.topic.to_string());
            let format = avro::avro(fields, kind, topic.as_deref(), around);
            format.map(|format| Some(Arc::new(format) as Arc<dyn PayloadFormat>))
        }
        Some(WrittenFormat::Json) => Some(None),
        None => (!fields.has("format")).then_some(None),
    };
    let target = match kind {
        "kafka" => kafka::kafka(fields, around),
        "pubsub" => pubsub::pubsub(fields, around),
        "kinesis" => kinesis::kinesis(fields, around),
        _ => s3::s3(fields, around),
    };
    let shape = MessageShape { format: format?, ..shape? };
    Some(StreamDestinationConfig { target: target?, shape: Arc::new(shape), ledger: ledger? })
}

fn shape(f: &mut Fields<'_>) -> Option<MessageShape> {
    let line = f.line_of("topic");
    let topic = match f.text("topic") {
        Some(text) => template(f, ("topic", line), &text),
        None if f.has("topic") => None,
        None => TOPIC_DEFAULT.parse().ok(),
    };
    let key = match f.text("key") {
        None => Some(None),
        Some(text) => key(f, &text).map(Some),
    };
    let headers = headers(f);
    let violations_topic = f.text("violations_topic");
    Some(MessageShape { topic: topic?, key: key?, headers, violations_topic, format: None })
}

/// `userId` and `anonymousId` need no braces.
fn key(f: &mut Fields<'_>, text: &str) -> Option<MessageTemplate> {
    let line = f.line_of("key");
    match text {
        "userId" => template(f, ("key", line), "{userId}"),
        "anonymousId" => template(f, ("key", line), "{anonymousId}"),
        _ => {
            let key = template(f, ("key", line), text)?;
            if key.is_fixed() {
                let message = format!("the key {:?} is the same for all messages", shortened(text, QUOTED_CHARS_MAX));
                f.problem("key", message, "name fields between braces, such as `{userId}`, or take it away");
                return None;
            }
            Some(key)
        }
    }
}

fn headers(f: &mut Fields<'_>) -> Vec<(String, MessageTemplate)> {
    let written = f.pairs("headers");
    if written.len() > HEADERS_MAX {
        let message = format!("`headers` has {} entries, more than {HEADERS_MAX}", written.len());
        f.problem("headers", message, "leave out what is in the event itself");
        return Vec::new();
    }
    let mut headers = Vec::with_capacity(written.len());
    for (name, text, line) in written {
        if name.is_empty() || name.len() > HEADER_BYTES_MAX {
            let message = format!("`headers` has a name of {} bytes", name.len());
            f.problem_at("headers", line, message, format!("write a name of 1 to {HEADER_BYTES_MAX} bytes"));
            continue;
        }
        headers.extend(template(f, ("headers", line), &text).map(|template| (name, template)));
    }
    headers
}

fn template(f: &mut Fields<'_>, (field, line): (&str, usize), text: &str) -> Option<MessageTemplate> {
    match text.parse::<MessageTemplate>() {
        Ok(template) => Some(template),
        Err(why) => {
            let message = format!("`{field}` has {:?}: {why}", shortened(text, QUOTED_CHARS_MAX));
            let fix = "write text with fields of the event between braces, such as \"events-{source}\" or \"{properties.plan|type}\"";
            f.problem_at(field, line, message, fix);
            None
        }
    }
}

fn ledger(f: &mut Fields<'_>) -> Option<String> {
    let Some(name) = f.text("ledger") else {
        return (!f.has("ledger")).then(|| LEDGER_DEFAULT.to_owned());
    };
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    if name.is_empty() || name.len() > LEDGER_CHARS_MAX || !name.chars().all(fits) {
        let message = format!("the ledger {:?} has no name that can be", shortened(&name, QUOTED_CHARS_MAX));
        f.problem("ledger", message, format!("use up to {LEDGER_CHARS_MAX} of a-z, A-Z, 0-9, `.`, `_` and `-`"));
        return None;
    }
    Some(name)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tidegate_document::problem::Problem;

    use super::*;

    fn read(yaml: &str) -> (Option<MessageShape>, Vec<Problem>) {
        let node = tidegate_document::yaml::parse(yaml).unwrap();
        let mut problems = Vec::new();
        let mut fields = Fields::new(Path::new("destinations/k.yaml"), &node, &mut problems);
        let shape = shape(&mut fields);
        fields.finish();
        (shape, problems)
    }

    #[test]
    fn a_message_goes_by_source_and_user_unless_the_file_says_otherwise() {
        let (shape, problems) = read("{}");
        let shape = shape.unwrap();
        assert!(problems.is_empty() && shape.key.is_none() && shape.headers.is_empty());
        assert_eq!(shape.topic.to_string(), TOPIC_DEFAULT);
        let (shape, problems) =
            read("topic: \"{event|type}\"\nkey: anonymousId\nheaders: {plan: \"{properties.plan}\"}\n");
        let shape = shape.unwrap();
        assert!(problems.is_empty(), "{problems:?}");
        assert_eq!(shape.key.unwrap().to_string(), "{anonymousId}");
        assert_eq!(shape.headers[0].0, "plan");
    }

    #[test]
    fn what_is_no_template_is_told_with_its_line() {
        for (yaml, line, words) in [
            ("topic: \"events-{source\"\n", 1, "not closed"),
            ("topic: events\nkey: orders\n", 2, "the same for all"),
            ("topic: events\nheaders:\n  a: b\n  c: \"}\"\n", 4, "not opened"),
        ] {
            let (_, problems) = read(yaml);
            let [problem] = &problems[..] else { panic!("{yaml}: {problems:?}") };
            assert!(problem.line == line && problem.message.contains(words), "{problem:?}");
        }
    }
}

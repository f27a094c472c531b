//! A message as it came, in which format it is, and what of it is kept beside its events.

use tidegate_event::json;
use tidegate_event::value::{JsonObject, Value};

use crate::schema_text::SchemaKind;

/// A message as it came.
#[derive(Debug, Clone, Copy)]
pub struct UpstreamMessage<'m> {
    pub bytes: &'m [u8],
    /// As its carrier says; empty when it does not.
    pub content_type: &'m str,
    /// Names in lower case.
    pub headers: &'m [(String, String)],
    /// What else the carrier says of it: a topic, a partition, an address.
    pub meta: &'m JsonObject,
    /// It came over HTTP, where the attributes of a CloudEvent are percent-encoded in headers; elsewhere they are as they are.
    pub is_http: bool,
    /// By what its carrier tells it from others, the same when it is delivered again; empty when there is nothing of the kind.
    pub position: &'m str,
}

impl UpstreamMessage<'_> {
    /// How headers begin that are attributes of a CloudEvent over Kafka.
    pub(crate) const KAFKA_ATTRIBUTES: &'static str = "ce_";

    /// How headers begin that are attributes of a CloudEvent, if this is one.
    pub(crate) fn attribute_prefix(&self) -> Option<&'static str> {
        let both = [("ce-specversion", "ce-"), ("ce_specversion", Self::KAFKA_ATTRIBUTES)];
        both.into_iter().find_map(|(version, prefix)| self.header(version).map(|_| prefix))
    }

    /// What the carrier says of it, or else a header: carriers of bytes have no place of their own for it.
    pub(crate) fn content_type(&self) -> &str {
        if self.content_type.is_empty() { self.header("content-type").unwrap_or_default() } else { self.content_type }
    }

    /// The first header of a name, which is in lower case.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }
}

/// How the bytes of a message are read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum MessageFormat {
    /// As its content type says; JSON when that says nothing of use.
    #[default]
    Detected,
    /// One JSON value, which is one event.
    Json,
    /// A JSON value on each line.
    JsonLines,
    /// A JSON array, each element an event.
    JsonArray,
    /// `application/x-www-form-urlencoded`; a lone `payload` is JSON within.
    Form,
    /// A CloudEvent: an envelope in JSON, several of them, or attributes in headers beginning with `ce-`, or `ce_` over Kafka.
    CloudEvents,
    /// Text as it is.
    Text,
    /// Avro by a schema.
    Avro,
    /// Protobuf by a schema.
    Protobuf,
}

impl MessageFormat {
    /// The words of settings, of messages that need no schema.
    pub const WORDS_WITHOUT_SCHEMA: [(&'static str, Self); 7] = [
        ("detected", Self::Detected),
        ("json", Self::Json),
        ("json_lines", Self::JsonLines),
        ("json_array", Self::JsonArray),
        ("form", Self::Form),
        ("cloud_events", Self::CloudEvents),
        ("text", Self::Text),
    ];

    /// The words of settings.
    pub const WORDS: [(&'static str, Self); 9] = {
        let [detected, json, json_lines, json_array, form, cloud_events, text] = Self::WORDS_WITHOUT_SCHEMA;
        let (avro, protobuf) = (("avro", Self::Avro), ("protobuf", Self::Protobuf));
        [detected, json, json_lines, json_array, form, cloud_events, text, avro, protobuf]
    };

    /// The kind of the schema that messages in it must have; none where it says nothing about that.
    #[must_use]
    pub const fn schema_kind(self) -> Option<SchemaKind> {
        match self {
            Self::Avro => Some(SchemaKind::Avro),
            Self::Protobuf => Some(SchemaKind::Protobuf),
            Self::Json => Some(SchemaKind::Json),
            Self::Detected | Self::JsonLines | Self::JsonArray | Self::Form | Self::CloudEvents | Self::Text => None,
        }
    }

    /// Whether messages in it may name a schema of a registry.
    #[must_use]
    pub const fn may_name_schema(self) -> bool {
        matches!(self, Self::Detected | Self::Json | Self::Avro | Self::Protobuf | Self::CloudEvents)
    }

    /// The format of a message, where nothing else is said about it.
    pub(crate) fn of(self, message: &UpstreamMessage<'_>) -> Self {
        if self != Self::Detected {
            return self;
        }
        let media = media_type(message.content_type());
        let first = message.bytes.get(json::space(message.bytes, 0));
        let json = if first == Some(&b'[') { Self::JsonArray } else { Self::Json };
        match media.as_str() {
            _ if message.attribute_prefix().is_some() => Self::CloudEvents,
            "application/cloudevents+json" | "application/cloudevents-batch+json" => Self::CloudEvents,
            "application/x-www-form-urlencoded" => Self::Form,
            "application/x-ndjson" | "application/ndjson" | "application/jsonl" | "application/x-jsonlines" => {
                Self::JsonLines
            }
            // Many say so of their JSON.
            "text/plain" if !matches!(first, Some(b'{' | b'[')) => Self::Text,
            _ => json,
        }
    }
}

/// A content type without its parameters, in lower case.
pub(crate) fn media_type(content_type: &str) -> String {
    content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// What an event keeps of where it is from, as the JSON text of a `context`: `{"<kind>": {...}}`. `reason` says why there is no event.
#[must_use]
pub fn context(kind: &str, mut kept: JsonObject, reason: Option<&str>) -> String {
    if let Some(reason) = reason {
        kept.insert("reason", reason.into());
    }
    let context: JsonObject = [(kind, Value::Object(kept))].into_iter().collect();
    context.to_string()
}

//! From the bytes of a message to its parts, and from a part to a value.

use std::ops::Range;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_event::json;
use tidegate_event::value::{JsonObject, Value};

use crate::frame::SchemaFrame;
use crate::json_value::json_value;
use crate::limits::{MessageLimits, TooManyParts};
use crate::schema::MessageSchema;
use crate::upstream::{MessageFormat, UpstreamMessage, media_type};
use crate::{form, json_parts};

/// What of a message becomes one event, before it is read.
pub(crate) struct UnreadPart<'m> {
    pub(crate) bytes: &'m [u8],
    shape: PartShape<'m>,
}

enum PartShape<'m> {
    Json,
    /// A JSON value that is the envelope of a CloudEvent.
    Envelope,
    /// The data of a CloudEvent whose attributes are headers.
    Attributed,
    Form,
    Text,
    /// Bytes that a schema gives names to; data of a CloudEvent where the attributes of one are headers.
    Encoded(EncodedPart<'m>),
    /// It has no readable bounds, for this reason.
    Broken(String),
}

/// Bytes and the schema that they are read by.
pub(crate) struct EncodedPart<'m> {
    pub(crate) schema: Arc<MessageSchema>,
    pub(crate) payload: &'m [u8],
    /// The payload stood behind the id of the schema.
    pub(crate) is_framed: bool,
    /// It is the data of a CloudEvent.
    pub(crate) is_data: bool,
}

/// A part as a value, and the id that it has by its format.
pub(crate) struct PartValue {
    pub(crate) value: Value,
    pub(crate) id: Option<String>,
}

/// The parts of a message. One that holds nothing has one part, which cannot be read.
///
/// # Errors
/// There are more than the limits allow.
pub(crate) fn split<'m>(
    message: &UpstreamMessage<'m>,
    format: MessageFormat,
    limits: &MessageLimits,
) -> Result<Vec<UnreadPart<'m>>, TooManyParts> {
    let all = message.bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(message.bytes);
    let part = |bytes, shape| UnreadPart { bytes, shape };
    let mut parts = match format.of(message) {
        // It is never left undetected.
        MessageFormat::Json | MessageFormat::Detected => vec![part(all, PartShape::Json)],
        MessageFormat::JsonLines => {
            json_parts::lines(all, limits.parts_max).into_iter().map(|line| part(line, PartShape::Json)).collect()
        }
        MessageFormat::JsonArray => elements(all, limits, || PartShape::Json),
        MessageFormat::CloudEvents if message.attribute_prefix().is_some() => vec![part(all, PartShape::Attributed)],
        MessageFormat::CloudEvents if all.get(json::space(all, 0)) == Some(&b'[') => {
            elements(all, limits, || PartShape::Envelope)
        }
        MessageFormat::CloudEvents => vec![part(all, PartShape::Envelope)],
        MessageFormat::Form => vec![part(all, PartShape::Form)],
        MessageFormat::Text => vec![part(all, PartShape::Text)],
        MessageFormat::Avro | MessageFormat::Protobuf => {
            vec![part(all, PartShape::Broken("nothing says which schema it is to be read by".to_owned()))]
        }
    };
    if parts.len() > limits.parts_max {
        return Err(TooManyParts(limits.parts_max));
    }
    if parts.is_empty() {
        parts.push(part(all, PartShape::Broken("it holds no event".to_owned())));
    }
    Ok(parts)
}

fn elements<'m>(all: &'m [u8], limits: &MessageLimits, shape: impl Fn() -> PartShape<'m>) -> Vec<UnreadPart<'m>> {
    match json_parts::elements(all, limits.parts_max) {
        Ok(spans) => {
            let part = |span: Range<usize>| UnreadPart { bytes: all.get(span).unwrap_or_default(), shape: shape() };
            spans.into_iter().map(part).collect()
        }
        Err(error) => {
            let reason = format!("it is no array whose elements can be told apart: it is {error}");
            vec![UnreadPart { bytes: all, shape: PartShape::Broken(reason) }]
        }
    }
}

impl<'m> UnreadPart<'m> {
    /// A message that is read by a schema, or for this reason cannot be.
    pub(crate) fn by_schema(bytes: &'m [u8], found: Result<EncodedPart<'m>, String>) -> Self {
        Self { bytes, shape: found.map_or_else(PartShape::Broken, PartShape::Encoded) }
    }

    /// The JSON text of a part that is an event already and has this value. A CloudEvent is none, whatever its `type` says.
    pub(crate) fn passed(&self, value: &Value) -> Option<Vec<u8>> {
        match &self.shape {
            PartShape::Json => Some(self.bytes.to_vec()),
            PartShape::Form => Some(value.to_string().into_bytes()),
            PartShape::Encoded(part) => (!part.is_data).then(|| value.to_string().into_bytes()),
            PartShape::Envelope | PartShape::Attributed | PartShape::Text | PartShape::Broken(_) => None,
        }
    }

    /// The value of the part.
    ///
    /// # Errors
    /// It cannot be read, and this is why.
    pub(crate) fn read(&self, message: &UpstreamMessage<'_>, limits: &MessageLimits) -> Result<PartValue, String> {
        if self.bytes.len() > limits.bytes_max {
            let (bytes, max) = (self.bytes.len(), limits.bytes_max);
            return Err(format!("it has {bytes} bytes, and no more than {max} are read of one event"));
        }
        let plain = |value| PartValue { value, id: None };
        match &self.shape {
            PartShape::Json => json_value(self.bytes, limits).map(plain).map_err(|reason| self.hinted(reason)),
            PartShape::Encoded(part) => {
                let value = part.schema.read(part.payload, part.is_framed, limits)?;
                if !part.is_data {
                    return Ok(plain(value));
                }
                let mut envelope = attributes(message)?;
                envelope.insert("data", value);
                enveloped(envelope.into())
            }
            PartShape::Envelope => json_value(self.bytes, limits).and_then(enveloped),
            PartShape::Attributed => attributed(self.bytes, message, limits).and_then(enveloped),
            PartShape::Form => form::read(self.bytes, limits).map(plain),
            PartShape::Text => {
                let text = std::str::from_utf8(self.bytes).map_err(|error| {
                    let at = error.valid_up_to();
                    format!("it is not UTF-8 at byte {at}")
                })?;
                Ok(plain(text.into()))
            }
            PartShape::Broken(reason) => Err(reason.clone()),
        }
    }

    /// Why it is no JSON, and what it looks like instead.
    fn hinted(&self, reason: String) -> String {
        match SchemaFrame::of(self.bytes) {
            Some(SchemaFrame { id, .. }) => format!(
                "{reason}; it begins as messages of a schema registry do (schema {id}), which `schema_registry` would read"
            ),
            None => reason,
        }
    }
}

/// A CloudEvent as an envelope: it is told from others by its source and its id.
fn enveloped(value: Value) -> Result<PartValue, String> {
    let text = |field: &str| value.get(field).and_then(Value::as_str).filter(|text| !text.is_empty());
    let (Some(id), Some(source), Some(_)) = (text("id"), text("source"), text("specversion")) else {
        return Err("it is no CloudEvent: one has `specversion`, `id` and `source`".to_owned());
    };
    let id = format!("{source}/{id}");
    Ok(PartValue { value, id: Some(id) })
}

/// The attributes of a CloudEvent that are headers. Over HTTP they are percent-encoded, over Kafka and Pub/Sub they are as they are.
fn attributes(message: &UpstreamMessage<'_>) -> Result<JsonObject, String> {
    let mut envelope = JsonObject::new();
    let prefix = message.attribute_prefix().unwrap_or_default();
    for (header, value) in message.headers {
        let Some(name) = header.strip_prefix(prefix) else { continue };
        if !message.is_http || prefix == UpstreamMessage::KAFKA_ATTRIBUTES {
            envelope.insert(name, value.into());
            continue;
        }
        let decoded = percent_encoding::percent_decode_str(value).decode_utf8();
        let decoded = decoded.map_err(|_| format!("its header {header} is not UTF-8"))?;
        envelope.insert(name, decoded.into());
    }
    let content_type = message.content_type();
    if !media_type(content_type).is_empty() {
        envelope.insert("datacontenttype", content_type.into());
    }
    Ok(envelope)
}

/// The envelope of a CloudEvent whose attributes are headers and whose data is the body.
fn attributed(bytes: &[u8], message: &UpstreamMessage<'_>, limits: &MessageLimits) -> Result<Value, String> {
    let mut envelope = attributes(message)?;
    if bytes.is_empty() {
        return Ok(Value::Object(envelope));
    }
    let media = media_type(message.content_type());
    let is_json = media.is_empty() || media == "application/json" || media.ends_with("+json");
    match std::str::from_utf8(bytes) {
        _ if is_json => envelope.insert("data", json_value(bytes, limits)?),
        Ok(text) => envelope.insert("data", text.into()),
        Err(_) => envelope.insert("data_base64", STANDARD.encode(bytes).into()),
    };
    Ok(Value::Object(envelope))
}

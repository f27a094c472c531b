//! From a value to the bytes of a message.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_event::decode::DEPTH_MAX;
use tidegate_event::value::{JsonObject, Text, Value};

use super::node::{AvroField, AvroMeaning, AvroNode};
use super::parse::AvroSchema;
use crate::{numbers, times};

/// Writes values by a schema of Avro.
#[derive(Debug, Clone, PartialEq)]
pub struct AvroEncoder {
    schema: AvroSchema,
}

/// A value that the schema has no room for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AvroEncodeError {
    /// Where: names and places with points between them; empty for the whole value.
    pub field: String,
    pub reason: String,
}

impl std::fmt::Display for AvroEncodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { field, reason } = self;
        if field.is_empty() { f.write_str(reason) } else { write!(f, "the field {field} {reason}") }
    }
}

impl std::error::Error for AvroEncodeError {}

impl AvroEncodeError {
    fn new(reason: impl Into<String>) -> Self {
        Self { field: String::new(), reason: reason.into() }
    }

    fn within(mut self, name: &str) -> Self {
        let inner = std::mem::take(&mut self.field);
        self.field = if inner.is_empty() { name.to_owned() } else { format!("{name}.{inner}") };
        self
    }
}

impl AvroEncoder {
    /// For a schema that is written so.
    ///
    /// # Errors
    /// It is no schema of Avro, and this is why.
    pub fn new(schema_text: &str) -> Result<Self, String> {
        let schema = AvroSchema::parse(schema_text, [])?.with_event_defaults()?;
        Ok(Self { schema })
    }

    /// The bytes of a value, without the id of a schema before them. A list or an object becomes its JSON text where the schema has a text.
    ///
    /// # Errors
    /// A field of the value has no place in the schema, one of the schema is missing, or a value does not fit.
    pub fn encode(&self, value: &Value) -> Result<Vec<u8>, AvroEncodeError> {
        let mut out = Vec::new();
        self.write(value, self.schema.root, &mut out, DEPTH_MAX)?;
        Ok(out)
    }

    fn write(&self, value: &Value, place: usize, out: &mut Vec<u8>, depth: usize) -> Result<(), AvroEncodeError> {
        let Some(depth) = depth.checked_sub(1) else {
            return Err(AvroEncodeError::new(format!("is nested more than {DEPTH_MAX} levels deep")));
        };
        let wrong = |expected: &str| AvroEncodeError::new(format!("is {}, and must be {expected}", kind(value)));
        match self.schema.nodes.get(place) {
            None => return Err(AvroEncodeError::new("has no type")),
            Some(AvroNode::Null) if value.is_null() => {}
            Some(AvroNode::Null) => return Err(wrong("null")),
            Some(AvroNode::Boolean) => out.push(u8::from(value.as_bool().ok_or_else(|| wrong("true or false"))?)),
            Some(AvroNode::Int(meaning)) => {
                let number = counted(value, *meaning).and_then(|number| i32::try_from(number).ok());
                push_number(number.ok_or_else(|| wrong(&expected(*meaning, 32)))?.into(), out);
            }
            Some(AvroNode::Long(meaning)) => {
                push_number(counted(value, *meaning).ok_or_else(|| wrong(&expected(*meaning, 64)))?, out);
            }
            Some(AvroNode::Float) => {
                // What 32 bits can hold of it is what the schema asks for.
                let double = numbers::as_double(value).ok_or_else(|| wrong("a number"))?;
                let number = double as f32;
                if double.is_finite() && number.is_infinite() {
                    return Err(wrong("a number of 32 bits"));
                }
                out.extend_from_slice(&number.to_le_bytes());
            }
            Some(AvroNode::Double) => {
                out.extend_from_slice(&numbers::as_double(value).ok_or_else(|| wrong("a number"))?.to_le_bytes());
            }
            Some(AvroNode::Bytes(meaning)) => {
                let bytes = bytes_of(value, *meaning).ok_or_else(|| wrong(&expected(*meaning, 0)))?;
                push_measured(&bytes, out);
            }
            Some(AvroNode::Text) => match value {
                Value::String(text) => push_measured(text.as_bytes(), out),
                Value::Array(_) | Value::Object(_) => push_measured(value.to_string().as_bytes(), out),
                _ => return Err(wrong("a text")),
            },
            Some(AvroNode::Array(inner)) => {
                let items = value.as_array().ok_or_else(|| wrong("a list"))?;
                push_count(items.len(), out);
                for (at, item) in items.iter().enumerate() {
                    self.write(item, *inner, out, depth).map_err(|error| error.within(&at.to_string()))?;
                }
                push_end(items.len(), out);
            }
            Some(AvroNode::Map(inner)) => {
                let object = value.as_object().ok_or_else(|| wrong("an object"))?;
                push_count(object.len(), out);
                for (key, item) in object {
                    push_measured(key.as_bytes(), out);
                    self.write(item, *inner, out, depth).map_err(|error| error.within(key))?;
                }
                push_end(object.len(), out);
            }
            Some(AvroNode::Union(branches)) => self.union(value, branches, out, depth)?,
            Some(AvroNode::Record(fields)) => {
                let object = value.as_object().ok_or_else(|| wrong("an object"))?;
                self.record(object, fields, out, depth)?;
            }
            Some(AvroNode::Enum(symbols)) => {
                let at = value.as_str().and_then(|text| symbols.iter().position(|symbol| symbol == text));
                push_count(at.ok_or_else(|| wrong("one of the symbols of its enum"))?, out);
            }
            Some(AvroNode::Fixed(size, meaning)) => {
                let bytes = bytes_of(value, *meaning).and_then(|bytes| sized(bytes, *size, *meaning));
                out.extend_from_slice(&bytes.ok_or_else(|| wrong(&format!("{size} bytes in Base64")))?);
            }
        }
        Ok(())
    }

    fn record(
        &self,
        object: &JsonObject,
        fields: &[AvroField],
        out: &mut Vec<u8>,
        depth: usize,
    ) -> Result<(), AvroEncodeError> {
        let is_of_schema = |key: &Text| fields.iter().any(|field| field.name == *key);
        if let Some(key) = object.keys().find(|key| !is_of_schema(key)) {
            return Err(AvroEncodeError::new("has no place in the schema").within(key));
        }
        for field in fields {
            let value = object.get(&field.name).or(field.default.as_ref());
            let written = match value {
                Some(value) => self.write(value, field.node, out, depth),
                None => self.write(&Value::Null, field.node, out, depth).map_err(|_| {
                    AvroEncodeError::new("is missing, and the schema has neither a default nor null for it")
                }),
            };
            written.map_err(|error| error.within(&field.name))?;
        }
        Ok(())
    }

    /// The first branch that the value fits.
    fn union(&self, value: &Value, branches: &[usize], out: &mut Vec<u8>, depth: usize) -> Result<(), AvroEncodeError> {
        let (start, mut first) = (out.len(), None);
        for (at, branch) in branches.iter().enumerate() {
            push_count(at, out);
            match self.write(value, *branch, out, depth) {
                Ok(()) => return Ok(()),
                // Of null and something else the something says what is wrong.
                Err(error) if !matches!(self.schema.nodes.get(*branch), Some(AvroNode::Null)) => {
                    first = first.or(Some(error));
                }
                Err(_) => {}
            }
            out.truncate(start);
        }
        Err(first.unwrap_or_else(|| AvroEncodeError::new("fits no branch of its union")))
    }
}

fn push_number(number: i64, out: &mut Vec<u8>) {
    let mut rest = ((number << 1) ^ (number >> 63)).cast_unsigned();
    while rest > 0x7f {
        out.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    out.push(rest as u8);
}

fn push_count(count: usize, out: &mut Vec<u8>) {
    // What memory holds is less than that.
    push_number(i64::try_from(count).unwrap_or(i64::MAX), out);
}

/// The end of the items of a list or a map: a block of none, which an empty one was already.
fn push_end(count: usize, out: &mut Vec<u8>) {
    if count > 0 {
        out.push(0);
    }
}

fn push_measured(bytes: &[u8], out: &mut Vec<u8>) {
    push_count(bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// The number that a value is, by what the number means.
fn counted(value: &Value, meaning: AvroMeaning) -> Option<i64> {
    if let Some(number) = value.as_number() {
        return number.as_i64();
    }
    let text = value.as_str()?;
    match meaning {
        AvroMeaning::Date => times::days_of(text),
        AvroMeaning::TimeOfDay(unit) => times::count_of_day(text, unit),
        AvroMeaning::Timestamp(unit) => times::count_of_instant(text, unit),
        AvroMeaning::LocalTimestamp(unit) => times::count_of_moment(text, unit),
        _ => None,
    }
}

fn bytes_of(value: &Value, meaning: AvroMeaning) -> Option<Vec<u8>> {
    match meaning {
        AvroMeaning::Decimal { scale, precision } => numbers::unscaled(value.as_number()?.as_str(), (scale, precision)),
        AvroMeaning::Uuid => Some(uuid::Uuid::parse_str(value.as_str()?).ok()?.as_bytes().to_vec()),
        // Nothing that is sent has them.
        AvroMeaning::BigDecimal | AvroMeaning::Duration => None,
        _ => STANDARD.decode(value.as_str()?).ok(),
    }
}

/// Bytes of exactly this size: a decimal is filled up in front.
fn sized(bytes: Vec<u8>, size: usize, meaning: AvroMeaning) -> Option<Vec<u8>> {
    if !matches!(meaning, AvroMeaning::Decimal { .. }) {
        return (bytes.len() == size).then_some(bytes);
    }
    let missing = size.checked_sub(bytes.len())?;
    let fill = if bytes.first().is_some_and(|first| first & 0x80 != 0) { 0xff } else { 0 };
    Some([vec![fill; missing], bytes].concat())
}

fn expected(meaning: AvroMeaning, bits: u8) -> String {
    match meaning {
        AvroMeaning::Date => "a date such as 2026-01-31".to_owned(),
        AvroMeaning::TimeOfDay(_) => "a time such as 12:30:00, with no more digits than the schema has".to_owned(),
        AvroMeaning::Timestamp(_) => {
            "a time with its offset from UTC, with no more digits than the schema has".to_owned()
        }
        AvroMeaning::LocalTimestamp(_) => {
            "a time without an offset, with no more digits than the schema has".to_owned()
        }
        AvroMeaning::Decimal { scale, precision } => {
            format!("a number with no more than {precision} digits, {scale} of them behind the point")
        }
        AvroMeaning::Uuid => "a UUID".to_owned(),
        AvroMeaning::BigDecimal | AvroMeaning::Duration => "left out: values of this type are not written".to_owned(),
        AvroMeaning::Plain if bits > 0 => format!("a whole number of {bits} bits"),
        AvroMeaning::Plain => "bytes in Base64".to_owned(),
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "a truth",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

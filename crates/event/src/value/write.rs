//! Values as JSON text, and as what `serde` writes.

use std::fmt::{self, Write};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{JsonNumber, JsonObject, Value};
use crate::json;

impl fmt::Display for Value {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_value(f, self)
    }
}

impl fmt::Display for JsonObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_object(f, self)
    }
}

fn write_value(out: &mut impl Write, value: &Value) -> fmt::Result {
    match value {
        Value::Null => out.write_str("null"),
        Value::Bool(true) => out.write_str("true"),
        Value::Bool(false) => out.write_str("false"),
        Value::Number(number) => out.write_str(number.as_str()),
        Value::String(text) => write_text(out, text),
        Value::Array(items) => {
            let mut before = '[';
            for item in items {
                out.write_char(before)?;
                write_value(out, item)?;
                before = ',';
            }
            out.write_str(if items.is_empty() { "[]" } else { "]" })
        }
        Value::Object(object) => write_object(out, object),
    }
}

fn write_object(out: &mut impl Write, object: &JsonObject) -> fmt::Result {
    let mut before = '{';
    for (key, value) in object {
        out.write_char(before)?;
        write_text(out, key)?;
        out.write_char(':')?;
        write_value(out, value)?;
        before = ',';
    }
    out.write_str(if object.is_empty() { "{}" } else { "}" })
}

/// Writes `text` between quotes, with the escapes that JSON asks for and no others.
///
/// # Errors
/// `out` takes no more.
fn write_text(out: &mut impl Write, text: &str) -> fmt::Result {
    out.write_char('"')?;
    let mut at = 0;
    loop {
        // The bytes that end a plain part are characters of their own.
        let end = json::plain_end(text.as_bytes(), at);
        out.write_str(&text[at..end])?;
        match text.as_bytes().get(end) {
            None => return out.write_char('"'),
            Some(b'"') => out.write_str("\\\"")?,
            Some(b'\\') => out.write_str("\\\\")?,
            Some(0x8) => out.write_str("\\b")?,
            Some(0xc) => out.write_str("\\f")?,
            Some(b'\n') => out.write_str("\\n")?,
            Some(b'\r') => out.write_str("\\r")?,
            Some(b'\t') => out.write_str("\\t")?,
            Some(control) => write!(out, "\\u{control:04x}")?,
        }
        at = end + 1;
    }
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Number(number) => number.serialize(serializer),
            Self::String(text) => serializer.serialize_str(text),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Object(object) => object.serialize(serializer),
        }
    }
}

/// It copies the digits; rows and events for functions are written by `Display`, which does not.
impl Serialize for JsonNumber {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::Number::from(self).serialize(serializer)
    }
}

impl Serialize for JsonObject {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.len()))?;
        for (key, value) in self {
            map.serialize_entry(key.as_str(), value)?;
        }
        map.end()
    }
}

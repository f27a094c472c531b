//! One value of a row that was read, in a form in which values of two warehouses can be compared.
//!
//! Numbers are their digits, never binary floating point: `1`, `1.0` and `1e0` are one number, and two that differ in the
//! seventeenth digit are two. Instants are microseconds. JSON has its keys in order and its numbers in one spelling. What a
//! column holds that its type does not promise is text.

use tidegate_event::value::Value;
use tidegate_event::{json, time};

use crate::evolve::{Type, number_text};

/// How deep JSON may be that is compared as JSON; what is deeper is compared as text.
const DEPTH_MAX: usize = 256;

/// One value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReadCell {
    Null,
    Boolean(bool),
    /// In plain digits.
    Number(String),
    /// Microseconds since 1970.
    Instant(i64),
    /// Compact, the keys of each object in order.
    Json(String),
    Text(String),
}

impl ReadCell {
    /// The value that `text` spells in a column of this type.
    #[must_use]
    pub fn of(kind: Type, text: String) -> Self {
        let read = match kind {
            Type::Text => None,
            Type::Boolean => truth(&text).map(Self::Boolean),
            Type::Integer | Type::Decimal => number(&text).map(Self::Number),
            Type::Timestamp => instant_us(&text).map(Self::Instant),
            Type::Json => in_order(&text).map(Self::Json),
        };
        read.unwrap_or(Self::Text(text))
    }

    /// Whether both are the same value, whatever the types of their columns. Instants are the same when less than `within_us`
    /// microseconds are between them.
    #[must_use]
    pub fn is_same(&self, other: &Self, within_us: u64) -> bool {
        match (self, other) {
            (Self::Instant(a), Self::Instant(b)) => a.abs_diff(*b) < within_us.max(1),
            (Self::Boolean(truth), Self::Number(digits)) | (Self::Number(digits), Self::Boolean(truth)) => {
                digits == if *truth { "1" } else { "0" }
            }
            (Self::Text(a), Self::Text(b)) => a == b || are_same_container(a, b),
            (Self::Text(text), other) | (other, Self::Text(text)) => other.is_spelled(text, within_us),
            (Self::Json(json), Self::Number(digits)) | (Self::Number(digits), Self::Json(json)) => json == digits,
            (Self::Json(json), Self::Boolean(truth)) | (Self::Boolean(truth), Self::Json(json)) => {
                json == if *truth { "true" } else { "false" }
            }
            (a, b) => a == b,
        }
    }

    /// Whether a text means this value, which is no text.
    fn is_spelled(&self, text: &str, within_us: u64) -> bool {
        match self {
            Self::Null | Self::Text(_) => false,
            Self::Boolean(value) => truth(text) == Some(*value),
            Self::Number(digits) => number(text).is_some_and(|other| other == *digits),
            Self::Instant(at) => instant_us(text).is_some_and(|other| at.abs_diff(other) < within_us.max(1)),
            Self::Json(json) => {
                let as_text = Value::from(text).to_string();
                in_order(text).is_some_and(|other| other == *json) || as_text == *json
            }
        }
    }

    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(self, Self::Null)
    }

    /// Whether it is an empty text, list or object.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Text(text) => text.is_empty(),
            Self::Json(json) => json == "[]" || json == "{}",
            _ => false,
        }
    }
}

/// Microseconds since 1970 of what warehouses and clients write for an instant.
#[must_use]
pub fn instant_us(text: &str) -> Option<i64> {
    time::read(&Value::from(text)).map(|(micros, _)| micros)
}

fn truth(text: &str) -> Option<bool> {
    match text {
        "true" | "t" | "1" => Some(true),
        "false" | "f" | "0" => Some(false),
        _ => None,
    }
}

/// A number in plain digits, or what warehouses keep beside numbers, in one spelling.
fn number(text: &str) -> Option<String> {
    if let Ok(Value::Number(number)) = json::parse(text.as_bytes(), 1) {
        return Some(number_text(number.as_str()).into_owned());
    }
    let word = match text.to_ascii_lowercase().as_str() {
        "nan" => "NaN",
        "inf" | "infinity" => "Infinity",
        "-inf" | "-infinity" => "-Infinity",
        _ => return None,
    };
    Some(word.to_owned())
}

/// Two texts that are JSON objects or lists, and mean the same.
fn are_same_container(a: &str, b: &str) -> bool {
    let is_container = |text: &str| text.trim_start().starts_with(['{', '[']);
    is_container(a) && is_container(b) && in_order(a).is_some_and(|a| in_order(b).is_some_and(|b| a == b))
}

fn in_order(text: &str) -> Option<String> {
    let value = json::parse(text.as_bytes(), DEPTH_MAX).ok()?;
    let mut out = String::with_capacity(text.len());
    spell(&value, &mut out);
    Some(out)
}

/// Objects have their fields in the order of the keys already.
fn spell(value: &Value, out: &mut String) {
    match value {
        Value::Number(number) => out.push_str(&number_text(number.as_str())),
        Value::Array(items) => {
            for (at, item) in items.iter().enumerate() {
                out.push(if at == 0 { '[' } else { ',' });
                spell(item, out);
            }
            out.push_str(if items.is_empty() { "[]" } else { "]" });
        }
        Value::Object(fields) => {
            for (at, (key, field)) in fields.iter().enumerate() {
                out.push(if at == 0 { '{' } else { ',' });
                out.push_str(&Value::from(key).to_string());
                out.push(':');
                spell(field, out);
            }
            out.push_str(if fields.is_empty() { "{}" } else { "}" });
        }
        other => out.push_str(&other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(kind: Type, text: &str) -> ReadCell {
        ReadCell::of(kind, text.to_owned())
    }

    #[test]
    fn one_value_is_the_same_however_it_is_spelled_and_typed() {
        for (a, b) in [
            (of(Type::Integer, "1"), of(Type::Decimal, "1.0")),
            (of(Type::Decimal, "1e2"), of(Type::Text, "100")),
            (of(Type::Decimal, "12345678901234567.10"), of(Type::Decimal, "12345678901234567.1")),
            (of(Type::Boolean, "t"), of(Type::Integer, "1")),
            (of(Type::Boolean, "false"), of(Type::Text, "false")),
            (of(Type::Timestamp, "2026-11-01T10:00:00.120Z"), of(Type::Timestamp, "2026-11-01 10:00:00.12+00")),
            (of(Type::Timestamp, "2026-11-01T10:00:00Z"), of(Type::Text, "2026-11-01T11:00:00+01:00")),
            (of(Type::Timestamp, "2026-11-01 10:00:00"), of(Type::Timestamp, "2026-11-01T10:00:00.000000Z")),
            (of(Type::Json, r#"{"b":[1.0],"a":"x"}"#), of(Type::Text, r#"{ "a": "x", "b": [1] }"#)),
            (of(Type::Text, r#"[{"b":1,"a":2}]"#), of(Type::Text, r#"[{"a":2,"b":1}]"#)),
            (of(Type::Json, "5.0"), of(Type::Integer, "5")),
            (of(Type::Json, r#""x""#), of(Type::Text, "x")),
            (of(Type::Decimal, "NaN"), of(Type::Decimal, "nan")),
            (of(Type::Decimal, "-inf"), of(Type::Decimal, "-Infinity")),
            (of(Type::Decimal, "-0.0"), of(Type::Integer, "0")),
            (of(Type::Decimal, "1e50"), of(Type::Decimal, "100000000000000000000000000000000000000000000000000")),
        ] {
            assert!(a.is_same(&b, 1) && b.is_same(&a, 1), "{a:?} {b:?}");
        }
    }

    #[test]
    fn what_differs_in_the_last_digit_differs() {
        for (a, b) in [
            (of(Type::Integer, "9007199254740993"), of(Type::Integer, "9007199254740992")),
            (of(Type::Decimal, "0.12345678901234567"), of(Type::Decimal, "0.12345678901234568")),
            (of(Type::Timestamp, "2026-11-01T10:00:00.001Z"), of(Type::Timestamp, "2026-11-01T10:00:00.002Z")),
            (of(Type::Text, "1"), of(Type::Text, "1.0")),
            (of(Type::Text, ""), ReadCell::Null),
            (of(Type::Text, "a "), of(Type::Text, "a")),
            (of(Type::Decimal, "nan"), ReadCell::Null),
            (of(Type::Json, "[1,2]"), of(Type::Json, "[2,1]")),
            (of(Type::Boolean, "true"), of(Type::Integer, "2")),
        ] {
            assert!(!a.is_same(&b, 1) && !b.is_same(&a, 1), "{a:?} {b:?}");
        }
    }

    #[test]
    fn a_coarser_clock_and_a_tolerance_leave_room() {
        let (whole, fine) = (ReadCell::Instant(1_000_000), ReadCell::Instant(1_999_999));
        assert!(whole.is_same(&fine, 1_000_000) && !whole.is_same(&fine, 1_000));
        assert!(!whole.is_same(&ReadCell::Instant(2_000_000), 1_000_000));
    }
}

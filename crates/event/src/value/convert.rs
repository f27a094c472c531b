//! From and to other forms: texts, numbers, and the values of `serde_json`.

use std::str::FromStr;

use super::{JsonNumber, JsonObject, List, Text, Value};
use crate::decode::DEPTH_MAX;
use crate::json::{self, JsonError};

macro_rules! from_texts {
    ($($text:ty),*) => {$(
        impl From<$text> for Value {
            fn from(text: $text) -> Self {
                Self::String(text.into())
            }
        }
    )*};
}

from_texts!(&str, String, &String, Text, &Text, std::borrow::Cow<'_, str>);

macro_rules! from_whole_numbers {
    ($($number:ty),*) => {$(
        impl From<$number> for Value {
            fn from(number: $number) -> Self {
                Self::Number(JsonNumber::from_digits(number.to_string()))
            }
        }

        impl PartialEq<$number> for Value {
            fn eq(&self, other: &$number) -> bool {
                self.as_number().is_some_and(|number| number.as_str().parse() == Ok(*other))
            }
        }
    )*};
}

from_whole_numbers!(u8, u16, u32, u64, usize, i32, i64);

impl From<bool> for Value {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

/// What no JSON number can be becomes `null`.
impl From<f64> for Value {
    fn from(number: f64) -> Self {
        serde_json::Value::from(number).into()
    }
}

impl From<JsonObject> for Value {
    fn from(object: JsonObject) -> Self {
        Self::Object(object)
    }
}

impl<T: Into<Self>> From<Vec<T>> for Value {
    fn from(items: Vec<T>) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect())
    }
}

impl<T: Into<Self>> FromIterator<T> for Value {
    fn from_iter<I: IntoIterator<Item = T>>(items: I) -> Self {
        Self::Array(items.into_iter().map(Into::into).collect::<List>())
    }
}

impl From<serde_json::Value> for Value {
    fn from(value: serde_json::Value) -> Self {
        match value {
            serde_json::Value::Null => Self::Null,
            serde_json::Value::Bool(value) => Self::Bool(value),
            serde_json::Value::Number(number) => Self::Number(JsonNumber::from_digits(number.as_str())),
            serde_json::Value::String(text) => Self::String(text.into()),
            serde_json::Value::Array(items) => items.into_iter().collect(),
            serde_json::Value::Object(fields) => Self::Object(fields.into()),
        }
    }
}

impl From<serde_json::Map<String, serde_json::Value>> for JsonObject {
    fn from(fields: serde_json::Map<String, serde_json::Value>) -> Self {
        fields.into_iter().map(|(key, value)| (key, value.into())).collect()
    }
}

impl From<&Value> for serde_json::Value {
    fn from(value: &Value) -> Self {
        match value {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => Self::Number(number.into()),
            Value::String(text) => Self::String(text.into()),
            Value::Array(items) => items.iter().map(Self::from).collect(),
            Value::Object(object) => Self::Object(object.into()),
        }
    }
}

impl From<&JsonObject> for serde_json::Map<String, serde_json::Value> {
    fn from(object: &JsonObject) -> Self {
        object.iter().map(|(key, value)| (key.to_string(), value.into())).collect()
    }
}

impl From<&JsonNumber> for serde_json::Number {
    fn from(number: &JsonNumber) -> Self {
        Self::from_string_unchecked(number.as_str().to_owned())
    }
}

/// Reads JSON text, every digit and at most [`DEPTH_MAX`] levels of it.
impl FromStr for Value {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, JsonError> {
        json::parse(text.as_bytes(), DEPTH_MAX)
    }
}

/// Reads the JSON text of an object; of anything else it says [`JsonError::Malformed`].
impl FromStr for JsonObject {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Self, JsonError> {
        match text.parse()? {
            Value::Object(object) => Ok(object),
            _ => Err(JsonError::Malformed(0)),
        }
    }
}

impl PartialEq<str> for Value {
    fn eq(&self, other: &str) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<&str> for Value {
    fn eq(&self, other: &&str) -> bool {
        self.as_str() == Some(*other)
    }
}

impl PartialEq<String> for Value {
    fn eq(&self, other: &String) -> bool {
        self.as_str() == Some(other)
    }
}

impl PartialEq<bool> for Value {
    fn eq(&self, other: &bool) -> bool {
        self.as_bool() == Some(*other)
    }
}

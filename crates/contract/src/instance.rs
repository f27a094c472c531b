//! Events as `jsonschema` reads them: where they lie, without a copy.

use std::borrow::Cow;

use jsonschema::JsonType;
use jsonschema::json::{self, Json, JsonNumber, Node, NodeIdentity, cmp};
use tidegate_event::value::{JsonNumber as EventNumber, JsonObject, Text, Value};

/// The form of values that events have.
pub(super) struct EventJson;

impl Json for EventJson {
    type Node<'a> = &'a Value;
    type PreparedKey = String;
    type StringBuffer = Value;

    // As for the maps of `serde_json`: a look-up compares a few keys.
    const KEYS_PER_LOOKUP: usize = 2;

    fn prepare_key(key: &str) -> String {
        key.to_owned()
    }

    fn with_string_node<T>(buffer: &mut Value, string: &str, f: impl FnOnce(&Value) -> T) -> T {
        *buffer = string.into();
        f(buffer)
    }
}

impl<'a> Node<'a, EventJson> for &'a Value {
    type Object = &'a JsonObject;
    type Array = &'a [Value];
    type Number = InstanceNumber<'a>;

    fn as_object(&self) -> Option<&'a JsonObject> {
        Value::as_object(self)
    }

    fn as_array(&self) -> Option<&'a [Value]> {
        Value::as_array(self)
    }

    fn as_string(&self) -> Option<Cow<'a, str>> {
        Value::as_str(self).map(Cow::Borrowed)
    }

    fn as_number(&self) -> Option<InstanceNumber<'a>> {
        Value::as_number(self).map(InstanceNumber)
    }

    fn as_boolean(&self) -> Option<bool> {
        Value::as_bool(self)
    }

    fn is_null(&self) -> bool {
        Value::is_null(self)
    }

    fn json_type(&self) -> JsonType {
        match self {
            Value::Null => JsonType::Null,
            Value::Bool(_) => JsonType::Boolean,
            Value::Number(_) => JsonType::Number,
            Value::String(_) => JsonType::String,
            Value::Array(_) => JsonType::Array,
            Value::Object(_) => JsonType::Object,
        }
    }

    fn equals_value(&self, expected: &serde_json::Value) -> bool {
        match (self, expected) {
            (Value::Null, serde_json::Value::Null) => true,
            (Value::Bool(own), serde_json::Value::Bool(other)) => own == other,
            (Value::String(own), serde_json::Value::String(other)) => own == other,
            (Value::Number(own), serde_json::Value::Number(other)) => cmp::equal_numbers(&InstanceNumber(own), other),
            (Value::Array(_), serde_json::Value::Array(_)) | (Value::Object(_), serde_json::Value::Object(_)) => {
                cmp::equal(&self.to_value(), expected)
            }
            _ => false,
        }
    }

    fn to_value(&self) -> Cow<'a, serde_json::Value> {
        Cow::Owned(serde_json::Value::from(*self))
    }

    fn identity(&self) -> Option<NodeIdentity> {
        Some(NodeIdentity::new(std::ptr::from_ref::<Value>(self) as usize))
    }
}

impl<'a> json::Object<'a, EventJson> for &'a JsonObject {
    type Node = &'a Value;
    type MemberName = &'a str;
    type MembersIter = Members<'a>;

    fn len(&self) -> usize {
        JsonObject::len(self)
    }

    fn get(&self, key: &String) -> Option<&'a Value> {
        JsonObject::get(self, key)
    }

    fn members(&self) -> Members<'a> {
        self.iter().map(|(key, value)| (key, value))
    }
}

/// The fields of an object with their names.
type Members<'a> =
    std::iter::Map<tidegate_event::value::ObjectFields<'a>, for<'f> fn((&'f Text, &'f Value)) -> (&'f str, &'f Value)>;

impl<'a> json::Array<'a, EventJson> for &'a [Value] {
    type Node = &'a Value;
    type ElementsIter = std::slice::Iter<'a, Value>;

    fn len(&self) -> usize {
        <[Value]>::len(self)
    }

    fn elements(&self) -> Self::ElementsIter {
        self.iter()
    }
}

/// A number of an event.
pub(super) struct InstanceNumber<'a>(&'a EventNumber);

impl JsonNumber for InstanceNumber<'_> {
    fn as_u64(&self) -> Option<u64> {
        self.0.as_u64()
    }

    fn as_i64(&self) -> Option<i64> {
        self.0.as_i64()
    }

    fn as_f64(&self) -> Option<f64> {
        self.0.as_f64()
    }

    fn as_str(&self) -> Cow<'_, str> {
        Cow::Borrowed(self.0.as_str())
    }

    fn to_number(&self) -> Cow<'_, serde_json::Number> {
        Cow::Owned(self.0.into())
    }

    fn is_integer(&self) -> bool {
        self.0.is_spelled_whole() || JsonNumber::is_integer(&*self.to_number())
    }
}

//! From the bytes of a message to a value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use prost_reflect::{DynamicMessage, Kind, MapKey, MessageDescriptor, ReflectMessage as _, Value as FieldValue};
use tidegate_event::value::{JsonObject, List, Text, Value};

use super::compile::ProtobufSchema;
use super::well_known::{self, WellKnown};
use crate::budget::ReadBudget;
use crate::limits::MessageLimits;
use crate::{frame, numbers};

/// The bytes of fields that the schema does not know. No field can be called so.
const UNKNOWN: &str = "$unknown";

impl ProtobufSchema {
    /// The value of a message. One of a registry says by numbers before it which message of the schema it is.
    ///
    /// # Errors
    /// The bytes do not fit the schema, or hold more than is read.
    pub(crate) fn read(&self, bytes: &[u8], is_framed: bool, limits: &MessageLimits) -> Result<Value, String> {
        let (descriptor, body) = if is_framed {
            let (indexes, body) =
                frame::message_indexes(bytes).ok_or("it does not say which message of its Protobuf schema it is")?;
            let found = self.numbered(&indexes);
            (found.ok_or_else(|| format!("its Protobuf schema has no message {indexes:?}"))?, body)
        } else {
            (self.message().ok_or("its Protobuf schema has no message")?, bytes)
        };
        let mut reader = ProtobufReader { budget: ReadBudget::new(limits, bytes.len()) };
        let name = descriptor.full_name().to_owned();
        let read = decoded(descriptor, body).and_then(|message| reader.message(&message));
        read.map_err(|reason| format!("it does not fit {name} of its Protobuf schema: {reason}"))
    }
}

fn decoded(descriptor: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(descriptor, bytes).map_err(|error| error.to_string())
}

/// Makes values of messages.
struct ProtobufReader {
    budget: ReadBudget,
}

impl ProtobufReader {
    fn message(&mut self, message: &DynamicMessage) -> Result<Value, String> {
        self.budget.enter()?;
        // A field more than Google knows would be lost in the short form.
        let is_whole = message.unknown_fields().next().is_none();
        let known = if is_whole { well_known::of(message) } else { WellKnown::None };
        let value = match known {
            WellKnown::Is(value) => value,
            WellKnown::Field(number) => self.only(message, number)?,
            WellKnown::Any { url, bytes } => self.any(message, &url, &bytes)?,
            WellKnown::None => self.fields(message)?.into(),
        };
        self.budget.leave();
        Ok(value)
    }

    /// The fields by their names. What a message cannot leave out is there with its default.
    fn fields(&mut self, message: &DynamicMessage) -> Result<JsonObject, String> {
        let mut object = JsonObject::new();
        for field in message.descriptor().fields() {
            let is_always_there = field.is_list() || field.is_map() || !field.supports_presence();
            if is_always_there || message.has_field(&field) {
                self.budget.key()?;
                let value = self.value(&message.get_field(&field), &field.kind())?;
                object.insert(field.name(), value);
            }
        }
        for (extension, value) in message.extensions() {
            self.budget.key()?;
            let value = self.value(value, &extension.kind())?;
            object.insert(format!("[{}]", extension.full_name()), value);
        }
        let mut unknown = Vec::new();
        for field in message.unknown_fields() {
            field.encode(&mut unknown);
        }
        if !unknown.is_empty() {
            self.budget.key()?;
            object.insert(UNKNOWN, STANDARD.encode(&unknown).into());
        }
        Ok(object)
    }

    /// The value of the one field that a message stands for.
    fn only(&mut self, message: &DynamicMessage, number: u32) -> Result<Value, String> {
        match message.descriptor().get_field(number) {
            Some(field) => self.value(&message.get_field(&field), &field.kind()),
            None => Ok(Value::Null),
        }
    }

    fn value(&mut self, value: &FieldValue, kind: &Kind) -> Result<Value, String> {
        Ok(match value {
            FieldValue::Bool(truth) => (*truth).into(),
            FieldValue::I32(number) => (*number).into(),
            FieldValue::I64(number) => (*number).into(),
            FieldValue::U32(number) => (*number).into(),
            FieldValue::U64(number) => (*number).into(),
            FieldValue::F32(number) => numbers::float(*number),
            FieldValue::F64(number) => numbers::double(*number),
            FieldValue::String(text) => text.into(),
            FieldValue::Bytes(bytes) => STANDARD.encode(bytes).into(),
            FieldValue::EnumNumber(number) => well_known::symbol(*number, kind),
            FieldValue::Message(message) => self.message(message)?,
            FieldValue::List(items) => {
                self.budget.enter()?;
                let mut list = List::new();
                for item in items {
                    self.budget.item()?;
                    list.push(self.value(item, kind)?);
                }
                self.budget.leave();
                Value::Array(list)
            }
            FieldValue::Map(entries) => {
                self.budget.enter()?;
                // A map is a list of messages of two fields.
                let kind = kind.as_message().map_or_else(|| kind.clone(), |entry| entry.map_entry_value_field().kind());
                let mut object = JsonObject::new();
                for (key, item) in entries {
                    self.budget.key()?;
                    let value = self.value(item, &kind)?;
                    object.insert(key_text(key), value);
                }
                self.budget.leave();
                object.into()
            }
        })
    }

    /// A message of a type that it names itself. One that the schema does not have stays bytes.
    fn any(&mut self, message: &DynamicMessage, url: &str, bytes: &[u8]) -> Result<Value, String> {
        let name = url.rsplit('/').next().unwrap_or_default();
        let descriptor = message.descriptor().parent_pool().get_message_by_name(name);
        let inner = descriptor.and_then(|descriptor| decoded(descriptor, bytes).ok());
        let mut object = match inner {
            None => JsonObject::from_iter([("value", Value::from(STANDARD.encode(bytes)))]),
            Some(inner) => {
                let has_own_form = !matches!(well_known::of(&inner), WellKnown::None);
                match self.message(&inner)? {
                    Value::Object(fields) if !has_own_form => fields,
                    value => JsonObject::from_iter([("value", value)]),
                }
            }
        };
        self.budget.key()?;
        object.insert("@type", url.into());
        Ok(object.into())
    }
}

fn key_text(key: &MapKey) -> Text {
    match key {
        MapKey::Bool(truth) => truth.to_string().into(),
        MapKey::I32(number) => number.to_string().into(),
        MapKey::I64(number) => number.to_string().into(),
        MapKey::U32(number) => number.to_string().into(),
        MapKey::U64(number) => number.to_string().into(),
        MapKey::String(text) => text.into(),
    }
}

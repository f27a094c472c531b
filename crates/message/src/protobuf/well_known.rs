//! Messages and enums of Google that have a form of their own in JSON, and the decimal of Confluent. A schema may give their names to messages
//! of another shape, which are then what they are.

use std::borrow::Cow;

use prost_reflect::{DynamicMessage, Kind, ReflectMessage as _, Value as FieldValue};
use tidegate_event::value::Value;

use crate::{numbers, times};

/// The form of a message.
pub(super) enum WellKnown {
    /// It has none of its own: an object of its fields.
    None,
    Is(Value),
    /// That of one field.
    Field(u32),
    /// Another message, in bytes.
    Any {
        url: String,
        bytes: Vec<u8>,
    },
}

pub(super) fn of(message: &DynamicMessage) -> WellKnown {
    let descriptor = message.descriptor();
    let found = match descriptor.full_name() {
        "google.protobuf.Timestamp" => timestamp(message).map(WellKnown::Is),
        "google.protobuf.Duration" => duration(message).map(WellKnown::Is),
        "google.protobuf.DoubleValue"
        | "google.protobuf.FloatValue"
        | "google.protobuf.Int64Value"
        | "google.protobuf.UInt64Value"
        | "google.protobuf.Int32Value"
        | "google.protobuf.UInt32Value"
        | "google.protobuf.BoolValue"
        | "google.protobuf.StringValue"
        | "google.protobuf.BytesValue"
        | "google.protobuf.Struct"
        | "google.protobuf.ListValue" => (descriptor.fields().len() == 1).then_some(WellKnown::Field(1)),
        "google.protobuf.Value" => {
            let set = message.fields().next().map(|(field, _)| field.number());
            Some(set.map_or(WellKnown::Is(Value::Null), WellKnown::Field))
        }
        "google.protobuf.FieldMask" => field_mask(message).map(WellKnown::Is),
        "google.protobuf.Any" => any(message),
        "confluent.type.Decimal" => decimal(message).map(WellKnown::Is),
        _ => None,
    };
    found.unwrap_or(WellKnown::None)
}

/// The name of a number of an enum. A number without one stays what it is.
pub(super) fn symbol(number: i32, kind: &Kind) -> Value {
    let Some(symbols) = kind.as_enum() else { return number.into() };
    if symbols.full_name() == "google.protobuf.NullValue" && number == 0 {
        return Value::Null;
    }
    symbols.get_value(number).map_or_else(|| number.into(), |symbol| symbol.name().into())
}

fn field(message: &DynamicMessage, number: u32) -> Option<Cow<'_, FieldValue>> {
    message.get_field_by_number(number)
}

fn seconds_and_nanos(message: &DynamicMessage) -> Option<(i64, i32)> {
    Some((field(message, 1)?.as_i64()?, field(message, 2)?.as_i32()?))
}

fn timestamp(message: &DynamicMessage) -> Option<Value> {
    let (seconds, nanos) = seconds_and_nanos(message)?;
    let nanos = u32::try_from(nanos).ok().filter(|nanos| *nanos < 1_000_000_000)?;
    Some(format!("{}Z", times::moment_of_seconds(seconds, nanos)?).into())
}

fn duration(message: &DynamicMessage) -> Option<Value> {
    let (seconds, nanos) = seconds_and_nanos(message)?;
    // Both parts have one sign.
    let is_valid = nanos.unsigned_abs() < 1_000_000_000 && (seconds == 0 || nanos == 0 || (seconds < 0) == (nanos < 0));
    let sign = if seconds < 0 || nanos < 0 { "-" } else { "" };
    let text = format!("{sign}{}{}s", seconds.unsigned_abs(), times::fraction(nanos.unsigned_abs()));
    is_valid.then(|| text.into())
}

fn field_mask(message: &DynamicMessage) -> Option<Value> {
    let paths = field(message, 1)?;
    let paths: Option<Vec<&str>> = paths.as_list()?.iter().map(FieldValue::as_str).collect();
    Some(paths?.join(",").into())
}

fn any(message: &DynamicMessage) -> Option<WellKnown> {
    let url = field(message, 1)?.as_str()?.to_owned();
    let bytes = field(message, 2)?.as_bytes()?.to_vec();
    (!url.is_empty()).then_some(WellKnown::Any { url, bytes })
}

fn decimal(message: &DynamicMessage) -> Option<Value> {
    let scale = field(message, 3)?.as_i32()?;
    numbers::decimal(field(message, 1)?.as_bytes()?, scale.into()).ok()
}

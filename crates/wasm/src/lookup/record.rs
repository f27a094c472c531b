//! A record of a database as JSON, within bounds: a small file may point at itself and decode to a very large value.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

/// Levels of a record.
pub(super) const DEPTH_MAX: usize = 32;

/// Values in a record, and bytes of its texts together.
const VALUES_MAX: usize = 4_096;
const TEXT_BYTES_MAX: usize = 64 << 10;

/// A decoded record.
pub(super) struct MaxMindRecord(pub(super) Value);

impl<'de> serde::Deserialize<'de> for MaxMindRecord {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let left = Left { values: Cell::new(VALUES_MAX), text_bytes: Cell::new(TEXT_BYTES_MAX) };
        RecordPart { left: &left, depth: 0 }.deserialize(deserializer).map(Self)
    }
}

/// What may still be decoded.
struct Left {
    values: Cell<usize>,
    text_bytes: Cell<usize>,
}

#[derive(Clone, Copy)]
struct RecordPart<'a> {
    left: &'a Left,
    depth: usize,
}

impl RecordPart<'_> {
    fn inner(self) -> Self {
        Self { depth: self.depth + 1, ..self }
    }

    fn spend<E: Error>(cell: &Cell<usize>, amount: usize) -> Result<(), E> {
        let left = cell.get().checked_sub(amount).ok_or_else(|| E::custom("the record is too large"))?;
        cell.set(left);
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for RecordPart<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        if self.depth > DEPTH_MAX {
            return Err(D::Error::custom("the record is nested too deeply"));
        }
        Self::spend(&self.left.values, 1)?;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for RecordPart<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value of a record")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u128<E: Error>(self, value: u128) -> Result<Value, E> {
        // Readers of JSON lose the digits of a number this large.
        Ok(Value::String(value.to_string()))
    }

    fn visit_f32<E: Error>(self, value: f32) -> Result<Value, E> {
        self.visit_f64(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        Ok(Number::from_f64(value).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        Self::spend(&self.left.text_bytes, value.len())?;
        Ok(Value::String(value.to_owned()))
    }

    fn visit_bytes<E: Error>(self, _: &[u8]) -> Result<Value, E> {
        // Bytes have no form in JSON, and no record that people use has any.
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self.inner())? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            Self::spend(&self.left.text_bytes, key.len())?;
            map.insert(key, entries.next_value_seed(self.inner())?);
        }
        Ok(Value::Object(map))
    }
}

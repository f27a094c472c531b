//! From the bytes of a message to a value.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_event::value::{JsonObject, List, Value};

use super::node::{AvroField, AvroMeaning, AvroNode};
use super::parse::AvroSchema;
use crate::budget::ReadBudget;
use crate::limits::MessageLimits;
use crate::{frame, numbers, times};

impl AvroSchema {
    /// The value of a message that was written with this schema.
    ///
    /// # Errors
    /// The bytes do not fit the schema, or hold more than is read.
    pub(crate) fn read(&self, bytes: &[u8], limits: &MessageLimits) -> Result<Value, String> {
        let budget = ReadBudget::new(limits, bytes.len());
        let mut reader = AvroReader { nodes: &self.nodes, rest: bytes, budget };
        let value = reader.value(self.root).map_err(|reason| {
            let at = bytes.len() - reader.rest.len();
            format!("it does not fit its Avro schema: at byte {at} {reason}")
        })?;
        match reader.rest.len() {
            0 => Ok(value),
            left => Err(format!("it does not fit its Avro schema: {left} bytes are left behind it")),
        }
    }

    /// The value of a message that is nothing but its bytes.
    pub(crate) fn plain(&self, bytes: &[u8]) -> Value {
        STANDARD.encode(bytes).into()
    }
}

/// Reads one value after another.
struct AvroReader<'r> {
    nodes: &'r [AvroNode],
    rest: &'r [u8],
    budget: ReadBudget,
}

impl<'r> AvroReader<'r> {
    fn value(&mut self, place: usize) -> Result<Value, String> {
        let nodes = self.nodes;
        match nodes.get(place) {
            None => Err("the schema has no such type".to_owned()),
            Some(AvroNode::Null) => Ok(Value::Null),
            Some(AvroNode::Boolean) => match self.take(1)? {
                [0] => Ok(false.into()),
                [1] => Ok(true.into()),
                _ => Err("a truth is neither 0 nor 1".to_owned()),
            },
            Some(AvroNode::Int(meaning)) => {
                let number = i32::try_from(self.number()?).map_err(|_| "a number has more than 32 bits")?;
                Ok(meant(number.into(), *meaning))
            }
            Some(AvroNode::Long(meaning)) => Ok(meant(self.number()?, *meaning)),
            Some(AvroNode::Float) => Ok(numbers::float(f32::from_le_bytes(self.array()?))),
            Some(AvroNode::Double) => Ok(numbers::double(f64::from_le_bytes(self.array()?))),
            Some(AvroNode::Bytes(meaning)) => {
                let bytes = self.measured()?;
                meant_bytes(bytes, *meaning)
            }
            Some(AvroNode::Text) => self.text().map(Value::from),
            Some(AvroNode::Array(inner)) => self.array_of(*inner),
            Some(AvroNode::Map(inner)) => self.map_of(*inner),
            Some(AvroNode::Union(branches)) => {
                let at = usize::try_from(self.number()?).ok();
                let branch = at.and_then(|at| branches.get(at)).ok_or("a union has no such branch")?;
                self.value(*branch)
            }
            Some(AvroNode::Record(fields)) => self.record(fields),
            Some(AvroNode::Enum(symbols)) => {
                let at = usize::try_from(self.number()?).ok();
                let symbol = at.and_then(|at| symbols.get(at)).ok_or("an enum has no such symbol")?;
                Ok(symbol.into())
            }
            Some(AvroNode::Fixed(size, meaning)) => {
                let bytes = self.take(*size)?;
                meant_bytes(bytes, *meaning)
            }
        }
    }

    fn record(&mut self, fields: &'r [AvroField]) -> Result<Value, String> {
        self.budget.enter()?;
        let mut object = JsonObject::new();
        for field in fields {
            self.budget.key()?;
            let value = self.value(field.node)?;
            object.insert(field.name.clone(), value);
        }
        self.budget.leave();
        Ok(object.into())
    }

    fn array_of(&mut self, inner: usize) -> Result<Value, String> {
        self.budget.enter()?;
        // Nothing is laid aside for what a block claims to have.
        let mut items = List::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                self.budget.item()?;
                items.push(self.value(inner)?);
            }
        }
        self.budget.leave();
        Ok(Value::Array(items))
    }

    fn map_of(&mut self, inner: usize) -> Result<Value, String> {
        self.budget.enter()?;
        let mut object = JsonObject::new();
        while let Some(count) = self.block()? {
            for _ in 0..count {
                self.budget.key()?;
                let key = self.text()?;
                let value = self.value(inner)?;
                if object.insert(key, value).is_some() {
                    return Err(format!("a map has the key {:?} twice", key.chars().take(80).collect::<String>()));
                }
            }
        }
        self.budget.leave();
        Ok(object.into())
    }

    /// How many items the next block has; none at the end.
    fn block(&mut self) -> Result<Option<u64>, String> {
        match self.number()? {
            0 => Ok(None),
            count if count > 0 => Ok(Some(count.unsigned_abs())),
            count => {
                // How many bytes it has, for whoever passes over it.
                self.number()?;
                Ok(Some(count.unsigned_abs()))
            }
        }
    }

    fn number(&mut self) -> Result<i64, String> {
        let (number, rest) = frame::zigzag(self.rest).ok_or("a number does not end, or has more than 64 bits")?;
        self.rest = rest;
        Ok(number)
    }

    fn take(&mut self, count: usize) -> Result<&'r [u8], String> {
        let rest = self.rest;
        let (taken, rest) = rest
            .split_at_checked(count)
            .ok_or_else(|| format!("{count} bytes should follow, and {} do", rest.len()))?;
        self.rest = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        self.take(N)?.try_into().map_err(|_| "bytes are missing".to_owned())
    }

    /// Bytes behind their length.
    fn measured(&mut self) -> Result<&'r [u8], String> {
        let count = self.number()?;
        let count = usize::try_from(count).map_err(|_| format!("a length is {count}"))?;
        self.take(count)
    }

    fn text(&mut self) -> Result<&'r str, String> {
        std::str::from_utf8(self.measured()?).map_err(|_| "a text is not UTF-8".to_owned())
    }
}

/// What a number stands for. A time that no calendar shows stays the number that it is.
fn meant(number: i64, meaning: AvroMeaning) -> Value {
    let text = match meaning {
        AvroMeaning::Date => times::day(number),
        AvroMeaning::TimeOfDay(unit) => times::time_of_day(number, unit),
        AvroMeaning::Timestamp(unit) => times::moment(number, unit).map(|moment| format!("{moment}Z")),
        AvroMeaning::LocalTimestamp(unit) => times::moment(number, unit),
        AvroMeaning::Plain
        | AvroMeaning::Decimal { .. }
        | AvroMeaning::BigDecimal
        | AvroMeaning::Uuid
        | AvroMeaning::Duration => None,
    };
    text.map_or_else(|| number.into(), Value::from)
}

pub(super) fn meant_bytes(bytes: &[u8], meaning: AvroMeaning) -> Result<Value, String> {
    match meaning {
        AvroMeaning::Decimal { scale, .. } => numbers::decimal(bytes, scale.into()),
        AvroMeaning::BigDecimal => big_decimal(bytes),
        AvroMeaning::Uuid => {
            let id = uuid::Uuid::from_slice(bytes).map_err(|_| "a UUID does not have 16 bytes")?;
            Ok(id.hyphenated().to_string().into())
        }
        AvroMeaning::Duration => duration(bytes),
        AvroMeaning::Plain
        | AvroMeaning::Date
        | AvroMeaning::TimeOfDay(_)
        | AvroMeaning::Timestamp(_)
        | AvroMeaning::LocalTimestamp(_) => Ok(STANDARD.encode(bytes).into()),
    }
}

/// A decimal that has its scale with it.
fn big_decimal(bytes: &[u8]) -> Result<Value, String> {
    let wrong = || "a decimal with a scale of its own is no such".to_owned();
    let (count, rest) = frame::zigzag(bytes).ok_or_else(wrong)?;
    let count = usize::try_from(count).map_err(|_| wrong())?;
    let (unscaled, rest) = rest.split_at_checked(count).ok_or_else(wrong)?;
    match frame::zigzag(rest) {
        Some((scale, [])) => numbers::decimal(unscaled, scale),
        _ => Err(wrong()),
    }
}

/// Months, days and milliseconds, as ISO 8601 writes them.
fn duration(bytes: &[u8]) -> Result<Value, String> {
    let part = |at: usize| {
        let part = bytes.get(at..).and_then(|bytes| bytes.first_chunk::<4>());
        part.map(|part| u32::from_le_bytes(*part)).ok_or_else(|| "a duration does not have 12 bytes".to_owned())
    };
    let (months, days, millis) = (part(0)?, part(4)?, part(8)?);
    let fraction = times::fraction(millis % 1_000 * 1_000_000);
    Ok(format!("P{months}M{days}DT{}{fraction}S", millis / 1_000).into())
}

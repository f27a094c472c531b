//! What a schema is made of.

use tidegate_event::value::{Text, Value};

use crate::times::TimeUnit;

/// A type. Those within are named by their places in the list of nodes.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum AvroNode {
    Null,
    Boolean,
    Int(AvroMeaning),
    Long(AvroMeaning),
    Float,
    Double,
    Bytes(AvroMeaning),
    Text,
    Array(usize),
    Map(usize),
    Union(Vec<usize>),
    Record(Vec<AvroField>),
    Enum(Vec<Text>),
    /// So many bytes.
    Fixed(usize, AvroMeaning),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct AvroField {
    pub(super) name: Text,
    pub(super) node: usize,
    /// What is written for it where an event has nothing: as the schema spells it, and to be written by, as events would.
    pub(super) default: Option<Value>,
}

/// What numbers and bytes stand for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AvroMeaning {
    Plain,
    Date,
    TimeOfDay(TimeUnit),
    /// An instant.
    Timestamp(TimeUnit),
    /// A date and a time, wherever that is.
    LocalTimestamp(TimeUnit),
    /// With so many digits behind the point, and so many in all.
    Decimal {
        scale: u32,
        precision: u32,
    },
    BigDecimal,
    Uuid,
    Duration,
}

impl AvroMeaning {
    /// What a logical type means of a whole number of 32 bits.
    pub(super) fn of_int(logical: &str) -> Self {
        match logical {
            "date" => Self::Date,
            "time-millis" => Self::TimeOfDay(TimeUnit::Millis),
            _ => Self::Plain,
        }
    }

    /// The same of 64 bits.
    pub(super) fn of_long(logical: &str) -> Self {
        match logical {
            "time-micros" => Self::TimeOfDay(TimeUnit::Micros),
            "timestamp-millis" => Self::Timestamp(TimeUnit::Millis),
            "timestamp-micros" => Self::Timestamp(TimeUnit::Micros),
            "timestamp-nanos" => Self::Timestamp(TimeUnit::Nanos),
            "local-timestamp-millis" => Self::LocalTimestamp(TimeUnit::Millis),
            "local-timestamp-micros" => Self::LocalTimestamp(TimeUnit::Micros),
            "local-timestamp-nanos" => Self::LocalTimestamp(TimeUnit::Nanos),
            _ => Self::Plain,
        }
    }
}

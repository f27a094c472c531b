//! The lattice of column types, and what one JSON value needs.
//!
//! A column's type is the join of the types of all values that ever reached it. The join is commutative, associative
//! and idempotent, so neither order nor batching shows in a table. Values are judged by what they mean (`1.0` and
//! `1e2` are integers), never through a floating-point number, and each has one text: the one a text column holds,
//! whether it was written there directly or was a number until the column widened.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use tidegate_event::value::Value;

mod instant;
mod number;

pub use instant::is_kept_whole;
use number::Number;
pub use number::{number_text, real_text};

/// What a column holds. `Text` is the top: everything has a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Type {
    Boolean,
    /// 64 bits, signed.
    Integer,
    /// A number with a fraction or beyond an integer, as precise as the warehouse's [`Fit`] says.
    Decimal,
    /// An instant, to the microsecond.
    Timestamp,
    /// An array or an empty object, as compact JSON text.
    Json,
    Text,
}

impl Type {
    pub const ALL: [Self; 6] = [Self::Boolean, Self::Integer, Self::Decimal, Self::Timestamp, Self::Json, Self::Text];

    /// The smallest type that holds both.
    #[must_use]
    pub const fn join(self, other: Self) -> Self {
        match (self, other) {
            (Self::Boolean, Self::Boolean) => Self::Boolean,
            (Self::Integer, Self::Integer) => Self::Integer,
            (Self::Integer | Self::Decimal, Self::Integer | Self::Decimal) => Self::Decimal,
            (Self::Timestamp, Self::Timestamp) => Self::Timestamp,
            (Self::Json, Self::Json) => Self::Json,
            _ => Self::Text,
        }
    }

    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Boolean => "BOOLEAN",
            Self::Integer => "INTEGER",
            Self::Decimal => "DECIMAL",
            Self::Timestamp => "TIMESTAMP",
            Self::Json => "JSON",
            Self::Text => "TEXT",
        }
    }
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How far a warehouse's types reach. What lies beyond is text, digit for digit.
#[derive(Debug, Clone, Copy)]
pub struct Fit {
    /// Significant digits that survive being stored and read back.
    pub decimal_digits_max: usize,
    /// Magnitude of the power of ten of the first digit.
    pub decimal_exponent_max: i64,
    /// Digits behind the point.
    pub decimal_fraction_max: i64,
    /// First and last year of an instant.
    pub years: (u32, u32),
    /// Whether text may hold the character U+0000. A value that has it where it may not is kept in the row's overflow.
    pub text_nul: bool,
}

/// One JSON value on its way into a cell; borrows from the event.
#[derive(Debug, Clone)]
pub enum Scalar<'a> {
    Boolean(bool),
    Integer(i64),
    /// The number as spelled in the event; fits the warehouse's decimal.
    Decimal(&'a str),
    /// The number as spelled in the event; fits no number of the warehouse.
    Digits(&'a str),
    /// An instant that the event spells as a column does, see [`instant`].
    Timestamp(&'a str),
    /// An instant that the event spells in another way: as a column spells it.
    Respelled(Box<str>),
    Text(&'a str),
    Json(&'a Value),
    /// Text of the house's own making, for a column of its own whose type it does not move.
    Made(Arc<str>),
    /// The same, borrowed.
    Given(&'a str),
}

impl<'a> Scalar<'a> {
    /// What `value` is. `None` for null, which is no value.
    #[must_use]
    pub fn of(value: &'a Value, fit: &Fit) -> Option<Self> {
        (!value.is_null()).then(|| Self::of_some(value, fit))
    }

    /// The same of a value that is not null.
    #[must_use]
    pub fn of_some(value: &'a Value, fit: &Fit) -> Self {
        match value {
            Value::Bool(truth) => Self::Boolean(*truth),
            Value::String(text) => instant::spelled(text, fit).map_or(Self::Text(text), Self::instant),
            Value::Null | Value::Array(_) | Value::Object(_) => Self::Json(value),
            Value::Number(spelled) => Self::of_number(spelled.as_str(), fit),
        }
    }

    /// What `value` is in a column of instants that every table of events begins with.
    #[must_use]
    pub fn of_instant(value: &'a Value, fit: &Fit) -> Option<Self> {
        if let Value::String(text) = value
            && let Some(spelled) = instant::spelled_in_full(text, fit)
        {
            return Some(Self::instant(spelled));
        }
        match (instant::read_in_full(value, fit), value) {
            (Some(read), _) => Some(Self::Respelled(read.into())),
            (None, Value::String(text)) => Some(Self::Text(text)),
            (None, other) => Self::of(other, fit),
        }
    }

    /// Whether a column gives back another text than the event has.
    #[must_use]
    pub const fn is_respelled(&self) -> bool {
        matches!(self, Self::Respelled(_))
    }

    fn instant(spelled: Cow<'a, str>) -> Self {
        match spelled {
            Cow::Borrowed(text) => Self::Timestamp(text),
            Cow::Owned(text) => Self::Respelled(text.into()),
        }
    }

    fn of_number(spelled: &'a str, fit: &Fit) -> Self {
        // Up to 18 digits always fit; `-0` parses to 0, which is its value.
        if spelled.len() <= 18
            && spelled.bytes().all(|byte| byte.is_ascii_digit() || byte == b'-')
            && let Ok(integer) = spelled.parse()
        {
            return Self::Integer(integer);
        }
        match Number::parse(spelled) {
            None => Self::Digits(spelled),
            Some(number) => match number.integer() {
                Some(integer) => Self::Integer(integer),
                None if number.fits(fit) => Self::Decimal(spelled),
                None => Self::Digits(spelled),
            },
        }
    }

    /// The smallest type that holds it.
    #[must_use]
    pub const fn kind(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::Decimal(_) => Type::Decimal,
            Self::Timestamp(_) | Self::Respelled(_) => Type::Timestamp,
            Self::Json(_) => Type::Json,
            Self::Digits(_) | Self::Text(_) | Self::Made(_) | Self::Given(_) => Type::Text,
        }
    }

    /// Whether the warehouse can hold it in some column.
    #[must_use]
    pub fn fits(&self, fit: &Fit) -> bool {
        match self {
            Self::Text(text) | Self::Given(text) => fit.text_nul || memchr::memchr(0, text.as_bytes()).is_none(),
            _ => true,
        }
    }

    /// Its text: what a text column holds.
    #[must_use]
    pub fn text(&self) -> Cow<'_, str> {
        match self {
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(integer) => Cow::Owned(integer.to_string()),
            Self::Decimal(spelled) | Self::Digits(spelled) => number_text(spelled),
            Self::Timestamp(text) | Self::Text(text) | Self::Given(text) => Cow::Borrowed(text),
            Self::Respelled(text) => Cow::Borrowed(text),
            Self::Json(value) => Cow::Owned(value.to_string()),
            Self::Made(text) => Cow::Borrowed(text),
        }
    }
}

#[cfg(test)]
mod tests;

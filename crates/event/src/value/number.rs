use std::fmt;

use super::Text;

/// A number as it is spelled: the digits are kept, whatever the number is worth.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct JsonNumber(Text);

impl JsonNumber {
    /// The number that `digits` spell, which must be a number by the grammar of JSON.
    #[must_use]
    pub fn from_digits(digits: impl Into<Text>) -> Self {
        Self(digits.into())
    }

    /// The number as it is spelled.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// A whole number in this range, spelled without fraction and exponent.
    #[must_use]
    pub fn as_i64(&self) -> Option<i64> {
        self.0.parse().ok()
    }

    /// A whole number in this range, spelled without fraction and exponent.
    #[must_use]
    pub fn as_u64(&self) -> Option<u64> {
        self.0.parse().ok()
    }

    /// The nearest double; `None` beyond their range.
    #[must_use]
    pub fn as_f64(&self) -> Option<f64> {
        self.0.parse().ok().filter(|double: &f64| double.is_finite())
    }

    /// Whether it is spelled without fraction and exponent.
    #[must_use]
    pub fn is_spelled_whole(&self) -> bool {
        is_spelled_whole(&self.0)
    }
}

/// Whether a number is spelled without fraction and exponent.
pub(crate) fn is_spelled_whole(digits: &str) -> bool {
    !digits.bytes().any(|byte| matches!(byte, b'.' | b'e' | b'E'))
}

impl fmt::Display for JsonNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

//! From scalars to SQLite values, and which declared type stands for which.
//!
//! SQLite stores what it is given, after the *affinity* of the declared type had its say. The declared types here are
//! chosen so that no affinity alters a value that is encoded for its column: integers and booleans stay integers,
//! decimals become 64-bit floating point (hence [`FIT`]), everything else is text, byte for byte.

use std::borrow::Cow;

use rusqlite::ToSql;
use rusqlite::types::{ToSqlOutput, ValueRef};
use tidegate_warehouse::evolve::{Fit, Scalar, Type, real_text};

/// What 64-bit floating point gives back digit for digit.
pub const FIT: Fit = Fit {
    decimal_digits_max: 15,
    decimal_exponent_max: 307,
    decimal_fraction_max: i64::MAX,
    years: (1, 9999),
    text_nul: true,
};

/// The type as a column declares it.
#[must_use]
pub const fn declared(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "BOOLEAN",
        Type::Integer => "INTEGER",
        Type::Decimal => "DECIMAL",
        // The word TEXT gives these text affinity; bare, they would turn `2024` into a number.
        Type::Timestamp => "TIMESTAMP TEXT",
        Type::Json => "JSON TEXT",
        Type::Text => "TEXT",
    }
}

/// What a declared type means here, and whether it rounds large integers. Types that the router did not choose are
/// read by SQLite's own affinity rules.
#[must_use]
pub fn meaning(declared_type: &str) -> (Type, bool) {
    let upper = declared_type.trim().to_ascii_uppercase();
    if let Some(kind) = Type::ALL.into_iter().find(|kind| declared(*kind) == upper) {
        return (kind, false);
    }
    let has = |words: &[&str]| words.iter().any(|word| upper.contains(word));
    if has(&["INT"]) {
        (Type::Integer, false)
    } else if upper.is_empty() || has(&["CHAR", "CLOB", "TEXT", "BLOB"]) {
        (Type::Text, false)
    } else {
        (Type::Decimal, has(&["REAL", "FLOA", "DOUB"]))
    }
}

/// A value to bind.
#[derive(Debug, Clone, PartialEq)]
pub enum Bound<'a> {
    Integer(i64),
    Real(f64),
    Text(Cow<'a, str>),
}

impl ToSql for Bound<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self {
            Self::Integer(integer) => ValueRef::Integer(*integer),
            Self::Real(real) => ValueRef::Real(*real),
            Self::Text(text) => ValueRef::Text(text.as_bytes()),
        }))
    }
}

/// The value that `scalar` is in a column of type `kind`. The lattice sees to it that the column holds it; should it
/// not, its text is stored rather than a wrong value.
#[must_use]
pub fn encode<'s>(scalar: &'s Scalar<'_>, kind: Type) -> Bound<'s> {
    match (scalar, kind) {
        (Scalar::Boolean(truth), Type::Boolean) => Bound::Integer(i64::from(*truth)),
        (Scalar::Integer(integer), Type::Integer | Type::Decimal) => Bound::Integer(*integer),
        (Scalar::Decimal(spelled), Type::Decimal) => match spelled.parse() {
            Ok(real) => Bound::Real(real),
            Err(_) => Bound::Text(scalar.text()),
        },
        _ => Bound::Text(scalar.text()),
    }
}

/// The text of a stored value whose column was of type `was`: the same that [`encode`] would have stored in a text
/// column. `None` for what has no text (null, bytes), which stays as it is.
#[must_use]
pub fn stored_text(value: ValueRef<'_>, was: &str) -> Option<String> {
    match value {
        ValueRef::Integer(truth @ (0 | 1)) if was == declared(Type::Boolean) => {
            Some(if truth == 1 { "true" } else { "false" }.to_owned())
        }
        ValueRef::Integer(integer) => Some(integer.to_string()),
        ValueRef::Real(real) => Some(real_text(real)),
        ValueRef::Null | ValueRef::Text(_) | ValueRef::Blob(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_as_itself_and_foreign_ones_by_affinity() {
        for kind in Type::ALL {
            assert_eq!(meaning(declared(kind)), (kind, false));
        }
        for (foreign, expected) in [
            ("bigint", (Type::Integer, false)),
            ("VARCHAR(20)", (Type::Text, false)),
            ("", (Type::Text, false)),
            ("BLOB", (Type::Text, false)),
            ("DOUBLE PRECISION", (Type::Decimal, true)),
            ("NUMERIC(10,2)", (Type::Decimal, false)),
            ("DATETIME", (Type::Decimal, false)),
        ] {
            assert_eq!(meaning(foreign), expected, "{foreign}");
        }
    }
}

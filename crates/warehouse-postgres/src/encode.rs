//! From scalars to the text that COPY reads, and which declared type stands for which.
//!
//! Every type reads the same text that a text column would hold ([`Scalar::text`]), so what is copied does not depend on the
//! type of the column. The one exception are the instants that the house makes itself, which always have six digits.

use std::io::Write;

use tidegate_warehouse::evolve::{Fit, Scalar, Type, number_text};

use super::json;

/// A NUMERIC gives back the digits it was given; its text is in plain notation, as the house's own is within these bounds.
pub const FIT: Fit = Fit {
    decimal_digits_max: 1000,
    decimal_exponent_max: 40,
    decimal_fraction_max: i64::MAX,
    years: (1, 9999),
    text_nul: false,
};

/// The type as a column declares it.
#[must_use]
pub const fn declared(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "boolean",
        Type::Integer => "bigint",
        Type::Decimal => "numeric",
        Type::Timestamp => "timestamp with time zone",
        Type::Json => "json",
        Type::Text => "text",
    }
}

/// What a declared type means here, and whether it is declared anew at the first value, because it would alter some.
///
/// `name` is the name of the type (of the type that a domain is made of), `modified` whether a length, precision or
/// scale is given.
#[must_use]
pub fn meaning(name: &str, modified: bool) -> (Type, bool) {
    let (kind, whole) = match name {
        "bool" => (Type::Boolean, true),
        "int8" => (Type::Integer, true),
        "int2" | "int4" => (Type::Integer, false),
        "numeric" => (Type::Decimal, true),
        "float4" | "float8" => (Type::Decimal, false),
        "timestamptz" => (Type::Timestamp, true),
        "timestamp" => (Type::Timestamp, false),
        // Somebody who made a column JSONB wants its order of keys and its spelling of numbers.
        "json" | "jsonb" => (Type::Json, true),
        "text" | "varchar" | "citext" => (Type::Text, true),
        _ => (Type::Text, false),
    };
    (kind, !whole || modified)
}

/// How the values of a column that was of type `from` are written as type `to`.
#[must_use]
pub fn rewritten(name: &str, from: Type, to: Type) -> String {
    match (from, to) {
        (Type::Timestamp, Type::Text) => {
            let at = format!("{name}::timestamptz");
            let spelled =
                |fraction| format!("to_char({at} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.{fraction}\"Z\"')");
            let within = format!("{at} >= '0001-01-01 00:00:00Z' AND {at} < '10000-01-01 00:00:00Z'");
            let (micros, millis) = (spelled("US"), spelled("MS"));
            format!(
                "CASE WHEN {within} THEN CASE WHEN date_trunc('milliseconds', {at}) = {at} THEN {millis} ELSE {micros} END \
                 ELSE {name}::text END"
            )
        }
        (Type::Decimal, Type::Text) => format!("trim_scale({name}::text::numeric)::text"),
        // A binary number's own text is the shortest that means it; a cast would keep fifteen digits.
        (Type::Decimal | Type::Integer, Type::Decimal) => format!("{name}::text::numeric"),
        (_, to) => format!("{name}::{}", declared(to)),
    }
}

/// Appends a value as COPY's text format has it.
pub fn encode(scalar: &Scalar<'_>, out: &mut Vec<u8>) {
    match scalar {
        Scalar::Boolean(true) => out.extend_from_slice(b"true"),
        Scalar::Boolean(false) => out.extend_from_slice(b"false"),
        // Writing to memory does not fail.
        Scalar::Integer(integer) => _ = write!(out, "{integer}"),
        Scalar::Decimal(spelled) | Scalar::Digits(spelled) => escape(number_text(spelled).as_bytes(), out),
        Scalar::Timestamp(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Respelled(text) => out.extend_from_slice(text.as_bytes()),
        Scalar::Text(text) => escape(text.as_bytes(), out),
        Scalar::Given(text) => made(text, out),
        Scalar::Made(text) => made(text, out),
        Scalar::Json(value) => {
            let start = out.len();
            _ = write!(Escaping(out), "{value}");
            if memchr::memmem::find(&out[start..], ESCAPED_NUL).is_some() {
                out.truncate(start);
                _ = write!(Escaping(out), "{}", json::readable(value));
            }
        }
    }
}

/// U+0000 as JSON spells it, escaped.
const ESCAPED_NUL: &[u8] = b"\\\\u0000";

/// Text of the house's own making, JSON as a rule.
fn made(text: &str, out: &mut Vec<u8>) {
    let readable = if text.contains(json::NUL) { json::readable_text(text) } else { None };
    escape(readable.as_deref().unwrap_or(text).as_bytes(), out);
}

struct Escaping<'o>(&'o mut Vec<u8>);

impl Write for Escaping<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        escape(bytes, self.0);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// What COPY would take for the end of a value, of a row or for an escape.
const fn is_special(byte: u8) -> bool {
    matches!(byte, b'\\' | b'\n' | b'\r' | b'\t')
}

fn escape(bytes: &[u8], out: &mut Vec<u8>) {
    let mut rest = bytes;
    // Long runs without anything special are copied at once.
    while let Some(at) = rest.iter().position(|byte| is_special(*byte)) {
        out.extend_from_slice(&rest[..at]);
        out.extend_from_slice(match rest[at] {
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            _ => b"\\\\",
        });
        rest = &rest[at + 1..];
    }
    out.extend_from_slice(rest);
}

/// The value that was escaped so.
#[must_use]
pub fn unescaped(bytes: &[u8]) -> String {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut rest = bytes.iter();
    while let Some(byte) = rest.next() {
        plain.push(match byte {
            b'\\' => match rest.next() {
                Some(b'n') => b'\n',
                Some(b'r') => b'\r',
                Some(b't') => b'\t',
                _ => b'\\',
            },
            other => *other,
        });
    }
    String::from_utf8_lossy(&plain).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_as_itself_and_what_alters_values_is_declared_anew() {
        for (kind, name) in [
            (Type::Boolean, "bool"),
            (Type::Integer, "int8"),
            (Type::Decimal, "numeric"),
            (Type::Timestamp, "timestamptz"),
            (Type::Json, "json"),
            (Type::Text, "text"),
        ] {
            assert_eq!(meaning(name, false), (kind, false));
        }
        for (name, modified, expected) in [
            ("int4", false, (Type::Integer, true)),
            ("float8", false, (Type::Decimal, true)),
            ("numeric", true, (Type::Decimal, true)),
            ("varchar", true, (Type::Text, true)),
            ("timestamptz", true, (Type::Timestamp, true)),
            ("date", false, (Type::Text, true)),
            ("jsonb", false, (Type::Json, false)),
            ("_text", false, (Type::Text, true)),
        ] {
            assert_eq!(meaning(name, modified), expected, "{name}");
        }
    }

    #[test]
    fn what_is_special_is_escaped_and_comes_back() {
        for text in ["", "plain", "\\N", "a\tb\nc\rd\\", "\\.", "é\u{1}\u{8}"] {
            let mut out = Vec::new();
            encode(&Scalar::Text(text), &mut out);
            assert!(!out.iter().any(|byte| matches!(byte, b'\n' | b'\r' | b'\t')));
            assert_eq!(unescaped(&out), text);
        }
    }
}

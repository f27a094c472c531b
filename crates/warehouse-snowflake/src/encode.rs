//! From scalars to rows of JSON, and which declared type stands for which.
//!
//! A row is one JSON object whose keys are the names of columns. Numbers and instants are texts in it, so that nothing
//! on the way takes them for binary floating point; Snowflake casts them. JSON travels as JSON into a VARIANT, unless
//! VARIANT would alter it ([`is_kept`]): then it travels, and is kept, as a VARIANT that holds the JSON as one string.

use std::borrow::Cow;
use std::io::Write;

use serde_json::Value;
use tidegate_warehouse::evolve::{Fit, Scalar, Type};

/// Significant digits of a number inside a VARIANT.
const VARIANT_DIGITS_MAX: usize = 38;

/// NUMBER(38,18): twenty digits before the point, eighteen behind it. Before 1583 Snowflake's calendar differs from
/// others. Whether U+0000 passes every way of loading is not documented.
pub const FIT: Fit = Fit {
    decimal_digits_max: 38,
    decimal_exponent_max: 20,
    decimal_fraction_max: 18,
    years: (1583, 9999),
    text_nul: false,
};

/// The type as a column declares it.
#[must_use]
pub const fn declared(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "BOOLEAN",
        Type::Integer => "NUMBER(19,0)",
        Type::Decimal => "NUMBER(38,18)",
        // Not TIMESTAMP_NTZ: compared with CURRENT_TIMESTAMP() that would be taken for the session's zone, silently.
        Type::Timestamp => "TIMESTAMP_TZ(6)",
        Type::Json => "VARIANT",
        Type::Text => "VARCHAR",
    }
}

/// What a type as `DESCRIBE TABLE` spells it means here. `None` for what the router cannot write without loss.
#[must_use]
pub fn meaning(described: &str) -> Option<Type> {
    let upper = described.trim().to_ascii_uppercase();
    let (name, sizes) = upper.split_once('(').unwrap_or((&upper, ""));
    let sizes: Vec<u32> = sizes.trim_end_matches(')').split(',').filter_map(|size| size.trim().parse().ok()).collect();
    Some(match name.trim() {
        "BOOLEAN" => Type::Boolean,
        "NUMBER" | "DECIMAL" | "NUMERIC" => match sizes[..] {
            [38, 18] => Type::Decimal,
            // Another scale would round. Taken for an integer's column, it is widened as soon as a fraction comes.
            _ => Type::Integer,
        },
        "INT" | "INTEGER" | "BIGINT" | "SMALLINT" | "TINYINT" | "BYTEINT" => Type::Integer,
        "TIMESTAMP_TZ" | "TIMESTAMP_NTZ" | "TIMESTAMP_LTZ" => match sizes[..] {
            [] | [6..=9] => Type::Timestamp,
            _ => return None,
        },
        "VARIANT" => Type::Json,
        "VARCHAR" | "TEXT" | "STRING" | "CHAR" => Type::Text,
        // FLOAT rounds, DATE and TIME cut.
        _ => return None,
    })
}

/// What [`declared`] makes of text `of` that SQL has at hand.
#[must_use]
pub fn cast(kind: Type, of: &str) -> String {
    match kind {
        Type::Json => of.to_owned(),
        Type::Timestamp => format!("REPLACE({of}::VARCHAR, 'Z', '+00:00')::{}", declared(kind)),
        Type::Text => format!("{of}::VARCHAR"),
        Type::Boolean | Type::Integer | Type::Decimal => format!("{of}::VARCHAR::{}", declared(kind)),
    }
}

/// SQL for what a column `name` of type `from` holds, as type `to`; as text, the one text of each value.
#[must_use]
pub fn widened(from: Type, to: Type, name: &str) -> String {
    match (from, to) {
        (Type::Decimal, Type::Text) => format!("REGEXP_REPLACE(TO_VARCHAR({name}), '[.]?0+$', '')"),
        (Type::Timestamp, Type::Text) => {
            let utc = format!("CONVERT_TIMEZONE('UTC', {name})");
            // Three digits behind the point, six for an instant with microseconds.
            let time = format!("REGEXP_REPLACE(TO_VARCHAR({utc}, 'HH24:MI:SS.FF6'), '000$', '')");
            format!("TO_VARCHAR({utc}, 'YYYY-MM-DD') || 'T' || {time} || 'Z'")
        }
        (Type::Json, Type::Text) => {
            format!("CASE WHEN TYPEOF({name}) = 'VARCHAR' THEN {name}::VARCHAR ELSE TO_JSON({name}) END")
        }
        (_, Type::Text) => format!("TO_VARCHAR({name})"),
        (_, to) => format!("{name}::{}", declared(to)),
    }
}

/// Whether VARIANT gives back every number of this JSON text as it is, and holds its characters. A number with an
/// exponent or with more than 38 digits would become a double; U+0000 may not pass.
#[must_use]
pub fn is_kept(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => {
                let start = at;
                at += 1;
                while let Some(byte) = bytes.get(at).filter(|byte| **byte != b'"') {
                    at += if *byte == b'\\' { 2 } else { 1 };
                }
                let inside = json.get(start..at).unwrap_or_default();
                if inside.contains("\\u0000") {
                    return false;
                }
                at += 1;
            }
            b'0'..=b'9' => {
                let start = at;
                while bytes.get(at).is_some_and(|byte| matches!(byte, b'0'..=b'9' | b'.' | b'e' | b'E' | b'+' | b'-')) {
                    at += 1;
                }
                let number = &bytes[start..at];
                let digits = number.iter().filter(|byte| byte.is_ascii_digit()).count();
                if digits > VARIANT_DIGITS_MAX || number.iter().any(|byte| matches!(byte, b'e' | b'E')) {
                    return false;
                }
            }
            _ => at += 1,
        }
    }
    true
}

/// Writes the value that `scalar` is in a column of type `kind`, as JSON. The lattice sees to it that the column holds
/// it.
pub fn write(out: &mut impl Write, scalar: &Scalar<'_>, kind: Type) -> std::io::Result<()> {
    if kind == Type::Boolean
        && let Scalar::Boolean(truth) = scalar
    {
        return out.write_all(if *truth { b"true" } else { b"false" });
    }
    let text: Cow<'_, str> = match (scalar, kind) {
        // The shape of a number is the cast's matter; exponents are spelled out.
        (Scalar::Made(text), _) => Cow::Borrowed(text),
        (other, _) => other.text(),
    };
    if kind == Type::Json && is_kept(&text) && is_json(scalar, &text) {
        return out.write_all(text.as_bytes());
    }
    serde_json::to_writer(out, &*text).map_err(Into::into)
}

/// Whether the text may stand in a row as JSON. What the house has made is; a payload that was kept as it came may not be.
fn is_json(scalar: &Scalar<'_>, text: &str) -> bool {
    match scalar {
        Scalar::Json(_) | Scalar::Made(_) => !text.contains('\n'),
        Scalar::Given(_) => !text.contains('\n') && serde_json::from_str::<Value>(text).is_ok(),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_is_read_back_as_itself_and_foreign_ones_only_where_nothing_is_lost() {
        for kind in Type::ALL {
            assert_eq!(meaning(declared(kind)), Some(kind));
        }
        for (foreign, expected) in [
            ("NUMBER(38,0)", Some(Type::Integer)),
            ("NUMBER(10,2)", Some(Type::Integer)),
            ("VARCHAR(16777216)", Some(Type::Text)),
            ("TIMESTAMP_NTZ(9)", Some(Type::Timestamp)),
            ("TIMESTAMP_NTZ(3)", None),
            ("DATE", None),
            ("FLOAT", None),
            ("ARRAY", None),
        ] {
            assert_eq!(meaning(foreign), expected, "{foreign}");
        }
    }

    #[test]
    fn json_that_variant_would_alter_is_told_apart() {
        let (digits, more) = ("9".repeat(38), "9".repeat(39));
        for (json, expected) in [
            ("[1,2.5,-3,\"1e400\",null]", true),
            ("{\"a\":{\"b\":[]}}", true),
            (&*format!("[{digits}]"), true),
            (&*format!("[{more}]"), false),
            ("[1e2]", false),
            ("[-1.5E-9]", false),
            ("{\"1e5\":1}", true),
            ("[\"\\u0000\"]", false),
            ("[\"\\\\\",1e5]", false),
            ("[\"\\\"\",1]", true),
        ] {
            assert_eq!(is_kept(json), expected, "{json}");
        }
    }

    #[test]
    fn rows_spell_numbers_as_texts_and_json_as_json() {
        let spelled = |scalar: Scalar<'_>, kind| {
            let mut out = Vec::new();
            write(&mut out, &scalar, kind).unwrap();
            String::from_utf8(out).unwrap()
        };
        let list = "[1.50,\"a\"]".parse().unwrap();
        let beyond = "[1e400]".parse().unwrap();
        for (scalar, kind, expected) in [
            (Scalar::Boolean(true), Type::Boolean, "true"),
            (Scalar::Boolean(true), Type::Text, "\"true\""),
            (Scalar::Decimal("2.50"), Type::Decimal, "\"2.5\""),
            (Scalar::Decimal("1.5e-9"), Type::Decimal, "\"0.0000000015\""),
            (Scalar::Text("a\"\n\u{1}"), Type::Text, "\"a\\\"\\n\\u0001\""),
            (Scalar::Json(&list), Type::Json, "[1.50,\"a\"]"),
            (Scalar::Json(&list), Type::Text, "\"[1.50,\\\"a\\\"]\""),
            (Scalar::Json(&beyond), Type::Json, "\"[1e400]\""),
            (Scalar::Given("{\"a\": 1}"), Type::Json, "{\"a\": 1}"),
            (Scalar::Given("no json"), Type::Json, "\"no json\""),
        ] {
            assert_eq!(spelled(scalar, kind), expected);
        }
    }
}

//! From scalars to RowBinary, and which declared type stands for which.
//!
//! Every column is `Nullable` but `id`. Decimals are `Decimal(76, 38)`, which holds every number with up to 38 digits on
//! either side of the point, hence [`FIT`]; instants are ticks of a microsecond. JSON is text, told from other text by
//! the column's comment: the type `JSON` of ClickHouse holds neither arrays nor scalars and does not keep digits.

use tidegate_warehouse::evolve::{Fit, Scalar, Type, number_text};

/// What the types below give back exactly. Older servers, by their documentation, clamp years outside of these.
pub const FIT: Fit = Fit {
    decimal_digits_max: 76,
    decimal_exponent_max: 38,
    decimal_fraction_max: 38,
    years: (1900, 2299),
    text_nul: true,
};

/// Digits behind the point of a decimal column.
const SCALE: usize = 38;
/// The comment that makes a text column one of JSON.
pub(super) const JSON_COMMENT: &str = "JSON";
/// The comment of a column whose instants became text and are not yet spelled as the events had them.
pub(super) const UNFINISHED_COMMENT: &str = "tidegate: instants on their way to text";

/// The type as a column declares it.
#[must_use]
pub const fn declared(kind: Type) -> &'static str {
    match kind {
        Type::Json => "Nullable(String) COMMENT 'JSON'",
        other => type_name(other),
    }
}

/// The type alone.
#[must_use]
pub const fn type_name(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "Nullable(Bool)",
        Type::Integer => "Nullable(Int64)",
        Type::Decimal => "Nullable(Decimal(76, 38))",
        Type::Timestamp => "Nullable(DateTime64(6, 'UTC'))",
        Type::Json | Type::Text => "Nullable(String)",
    }
}

/// How a column differs from what the router would have declared.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnShape {
    /// It does not.
    Own,
    /// A type of somebody else that takes the same values: it stays.
    Kept(&'static str),
    /// A type of somebody else; it becomes this one at the first value.
    Foreign(&'static str),
    /// Instants that became text, unfinished.
    Unfinished,
}

const LOW_TEXT: &str = "LowCardinality(Nullable(String))";

/// What a column with this type and comment means here.
#[must_use]
pub fn meaning(type_text: &str, comment: &str) -> (Type, ColumnShape) {
    if type_text == type_name(Type::Text) {
        return match comment {
            JSON_COMMENT => (Type::Json, ColumnShape::Own),
            UNFINISHED_COMMENT => (Type::Text, ColumnShape::Unfinished),
            _ => (Type::Text, ColumnShape::Own),
        };
    }
    if let Some(kind) = Type::ALL.into_iter().find(|kind| type_name(*kind) == type_text) {
        return (kind, ColumnShape::Own);
    }
    if type_text == LOW_TEXT {
        return (Type::Text, ColumnShape::Kept(LOW_TEXT));
    }
    if type_text == "LowCardinality(String)" {
        return (Type::Text, ColumnShape::Foreign(LOW_TEXT));
    }
    let kind = foreign(inner(inner(type_text, "LowCardinality("), "Nullable("));
    (kind, ColumnShape::Foreign(type_name(kind)))
}

fn inner<'t>(type_text: &'t str, wrap: &str) -> &'t str {
    type_text.strip_prefix(wrap).and_then(|rest| rest.strip_suffix(')')).unwrap_or(type_text)
}

/// The nearest type that takes every value of such a column unaltered. Floating-point numbers have no decimal that is
/// sure to hold them: they become text.
fn foreign(bare: &str) -> Type {
    let (name, arguments) = bare.split_once('(').unwrap_or((bare, ""));
    let numbers = || arguments.trim_end_matches(')').split(',').filter_map(|n| n.trim().parse::<u32>().ok());
    match name {
        "Bool" => Type::Boolean,
        "Int8" | "Int16" | "Int32" | "Int64" | "UInt8" | "UInt16" | "UInt32" => Type::Integer,
        "UInt64" => Type::Decimal,
        "Decimal" => {
            let mut numbers = numbers();
            match (numbers.next(), numbers.next()) {
                (Some(digits), Some(scale)) if scale <= 38 && digits.saturating_sub(scale) <= 38 => Type::Decimal,
                _ => Type::Text,
            }
        }
        "Date" | "Date32" | "DateTime" => Type::Timestamp,
        "DateTime64" if numbers().next().is_some_and(|digits| digits <= 6) => Type::Timestamp,
        _ => Type::Text,
    }
}

/// A length or a count as RowBinary spells it.
pub(super) fn put_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

pub(super) fn put_text(out: &mut Vec<u8>, text: &str) {
    put_length(out, text.len());
    out.extend_from_slice(text.as_bytes());
}

/// Appends the value that `scalar` is in a column of type `kind`, or null for what the column cannot hold, which the
/// lattice does not let happen.
pub fn put(out: &mut Vec<u8>, scalar: &Scalar<'_>, kind: Type, nullable: bool) {
    let start = out.len();
    if nullable {
        out.push(0);
    }
    let held = match (kind, scalar) {
        (Type::Json | Type::Text, Scalar::Text(text) | Scalar::Given(text)) => {
            put_text(out, text);
            true
        }
        (Type::Json | Type::Text, _) => {
            put_text(out, &scalar.text());
            true
        }
        (Type::Boolean, Scalar::Boolean(truth)) => {
            out.push(u8::from(*truth));
            true
        }
        (Type::Integer, Scalar::Integer(integer)) => {
            out.extend_from_slice(&integer.to_le_bytes());
            true
        }
        (Type::Decimal, Scalar::Integer(integer)) => put_decimal(out, &integer.to_string()),
        (Type::Decimal, Scalar::Decimal(spelled)) => {
            if spelled.contains(['e', 'E']) {
                put_decimal(out, &number_text(spelled))
            } else {
                put_decimal(out, spelled)
            }
        }
        (Type::Timestamp, _) => match instant_us(&scalar.text()) {
            Some(at_us) => {
                out.extend_from_slice(&at_us.to_le_bytes());
                true
            }
            None => false,
        },
        _ => false,
    };
    if !held {
        debug_assert!(false, "{scalar:?} in a column of {kind}");
        out.truncate(start);
        out.push(u8::from(nullable));
    }
}

/// 256 bits, little end first, in two's complement; `plain` has digits, perhaps a sign and a point.
fn put_decimal(out: &mut Vec<u8>, plain: &str) -> bool {
    let (negative, digits) = plain.strip_prefix('-').map_or((false, plain), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    // Superfluous zeros may make a fraction longer than the column's.
    let fraction = fraction.trim_end_matches('0');
    if fraction.len() > SCALE {
        return false;
    }
    let mut limbs = [0_u64; 4];
    let mut within = true;
    for part in [whole, fraction] {
        for chunk in part.as_bytes().chunks(19) {
            let mut number = 0_u64;
            for byte in chunk {
                within &= byte.is_ascii_digit();
                number = number.wrapping_mul(10).wrapping_add(u64::from(byte.wrapping_sub(b'0')));
            }
            within &= scale(&mut limbs, chunk.len(), number);
        }
    }
    let mut missing = SCALE - fraction.len();
    while missing > 0 {
        let step = missing.min(19);
        within &= scale(&mut limbs, step, 0);
        missing -= step;
    }
    if !within || limbs[3] >> 63 == 1 {
        return false;
    }
    if negative {
        let mut carry = true;
        for limb in &mut limbs {
            (*limb, carry) = (!*limb).overflowing_add(u64::from(carry));
        }
    }
    limbs.iter().for_each(|limb| out.extend_from_slice(&limb.to_le_bytes()));
    true
}

/// `limbs × 10^digits + more`; false when that is too large.
fn scale(limbs: &mut [u64; 4], digits: usize, more: u64) -> bool {
    let factor = u128::from(10_u64.pow(digits as u32));
    let mut carry = u128::from(more);
    for limb in limbs {
        let product = u128::from(*limb) * factor + carry;
        *limb = product as u64;
        carry = product >> 64;
    }
    carry == 0
}

/// Microseconds since 1970 of an instant spelled `YYYY-MM-DDTHH:MM:SS.fffZ`, with three or six digits.
fn instant_us(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !matches!(bytes.len(), 24 | 27) || !text.is_ascii() {
        return None;
    }
    let number = |from: usize, to: usize| text.get(from..to)?.parse::<i64>().ok();
    let (year, month, day) = (number(0, 4)?, number(5, 7)?, number(8, 10)?);
    // Days since 1970 in the Gregorian calendar, with years that begin in March.
    let years = if month <= 2 { year - 1 } else { year };
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = 365 * years + years.div_euclid(4) - years.div_euclid(100) + years.div_euclid(400) + of_year - 719_468;
    let seconds = ((days * 24 + number(11, 13)?) * 60 + number(14, 16)?) * 60 + number(17, 19)?;
    let fraction = number(20, bytes.len() - 1)? * if bytes.len() == 24 { 1000 } else { 1 };
    Some(seconds * 1_000_000 + fraction)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_type_is_read_back_as_itself_and_foreign_ones_by_what_they_hold() {
        for kind in Type::ALL {
            let comment = if kind == Type::Json { JSON_COMMENT } else { "somebody's note" };
            assert_eq!(meaning(type_name(kind), comment), (kind, ColumnShape::Own));
        }
        for (foreign, kind) in [
            ("Int32", Type::Integer),
            ("Nullable(UInt8)", Type::Integer),
            ("UInt64", Type::Decimal),
            ("LowCardinality(Nullable(Int16))", Type::Integer),
            ("Decimal(18, 2)", Type::Decimal),
            ("Decimal(76, 39)", Type::Text),
            ("Nullable(Float64)", Type::Text),
            ("Int128", Type::Text),
            ("Date", Type::Timestamp),
            ("DateTime('Europe/Berlin')", Type::Timestamp),
            ("DateTime64(3)", Type::Timestamp),
            ("DateTime64(9, 'UTC')", Type::Text),
            ("Enum8('a' = 1)", Type::Text),
            ("String", Type::Text),
            ("Array(String)", Type::Text),
        ] {
            assert_eq!(meaning(foreign, ""), (kind, ColumnShape::Foreign(type_name(kind))), "{foreign}");
        }
        assert_eq!(meaning(LOW_TEXT, ""), (Type::Text, ColumnShape::Kept(LOW_TEXT)));
    }

    fn decimal(spelled: &str) -> Option<Vec<u8>> {
        let mut out = Vec::new();
        put_decimal(&mut out, spelled).then_some(out)
    }

    #[test]
    fn decimals_are_exact_up_to_both_ends_and_refused_beyond() {
        let ten_to_38 = 10_i128.pow(38);
        for (spelled, unscaled) in
            [("0", 0), ("-0.00", 0), ("1", ten_to_38), ("-1", -ten_to_38), ("0.5", ten_to_38 / 2)]
        {
            let mut expected = unscaled.to_le_bytes().to_vec();
            expected.extend([if unscaled < 0 { 255 } else { 0 }; 16]);
            assert_eq!(decimal(spelled), Some(expected), "{spelled}");
        }
        let smallest = format!("0.{}1", "0".repeat(37));
        assert_eq!(decimal(&smallest).map(|bytes| bytes[0]), Some(1));
        assert!(decimal(&"9".repeat(38)).is_some());
        assert_eq!(decimal(&format!("0.{}1", "0".repeat(38))), None);
        assert_eq!(decimal(&"9".repeat(60)), None);
    }

    proptest! {
        #[test]
        fn instants_are_counted_as_a_calendar_does(at_us in -2_208_988_800_000_000_i64..10_413_792_000_000_000) {
            let instant = jiff::Timestamp::from_microsecond(at_us).unwrap();
            prop_assert_eq!(instant_us(&instant.strftime("%Y-%m-%dT%H:%M:%S%.6fZ").to_string()), Some(at_us));
            let millis = at_us.div_euclid(1000);
            let instant = jiff::Timestamp::from_millisecond(millis).unwrap();
            prop_assert_eq!(instant_us(&instant.strftime("%Y-%m-%dT%H:%M:%S%.3fZ").to_string()), Some(millis * 1000));
        }
    }
}

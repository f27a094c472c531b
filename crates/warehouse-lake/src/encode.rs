//! From scalars to the values of Parquet columns, and from a column's values to those of a wider type.
//!
//! Numbers with a fraction are decimals of 38 digits, 18 of them behind the point: whole numbers of 64 bits widen into
//! that without loss, and sums are exact. Widening a column of values gives exactly what encoding the scalars for the
//! wider type would have given; so values may be widened while a batch is gathered, and when a file is written anew.

use tidegate_warehouse::evolve::{Fit, Scalar, Type, number_text};

/// Digits behind the point.
pub const SCALE: u32 = 18;
/// Digits altogether.
pub const PRECISION: u32 = 38;

/// What the types give back digit for digit.
pub const FIT: Fit = Fit {
    decimal_digits_max: PRECISION as usize,
    decimal_exponent_max: (PRECISION - SCALE) as i64,
    decimal_fraction_max: SCALE as i64,
    years: (1, 9999),
    text_nul: true,
};

/// The type as a column declares it.
#[must_use]
pub const fn declared(kind: Type) -> &'static str {
    match kind {
        Type::Boolean => "BOOLEAN",
        Type::Integer => "INT64",
        Type::Decimal => "DECIMAL(38,18)",
        Type::Timestamp => "TIMESTAMP(MICROS,UTC)",
        Type::Json => "STRING (JSON)",
        Type::Text => "STRING",
    }
}

/// The values of one column that are not null, in the order of their rows.
#[derive(Debug, Clone, PartialEq)]
pub enum Values {
    Boolean(Vec<bool>),
    Integer(Vec<i64>),
    /// In units of 10⁻¹⁸.
    Decimal(Vec<i128>),
    /// Microseconds since 1970.
    Timestamp(Vec<i64>),
    Json(ColumnTexts),
    Text(ColumnTexts),
}

/// Texts end to end.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ColumnTexts {
    pub bytes: Vec<u8>,
    pub ends: Vec<usize>,
}

impl ColumnTexts {
    pub fn push(&mut self, text: &[u8]) {
        self.bytes.extend_from_slice(text);
        self.ends.push(self.bytes.len());
    }

    /// The texts in order.
    pub fn iter(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| &self.bytes[start..*end])
    }

    fn of(texts: impl Iterator<Item = String>) -> Self {
        let mut all = Self::default();
        texts.for_each(|text| all.push(text.as_bytes()));
        all
    }
}

/// A value that its column cannot hold, which the lattice rules out.
#[derive(Debug, PartialEq, Eq)]
pub struct Misfit;

impl Values {
    /// None yet, for a column of this type.
    #[must_use]
    pub fn new(kind: Type) -> Self {
        match kind {
            Type::Boolean => Self::Boolean(Vec::new()),
            Type::Integer => Self::Integer(Vec::new()),
            Type::Decimal => Self::Decimal(Vec::new()),
            Type::Timestamp => Self::Timestamp(Vec::new()),
            Type::Json => Self::Json(ColumnTexts::default()),
            Type::Text => Self::Text(ColumnTexts::default()),
        }
    }

    #[must_use]
    pub const fn kind(&self) -> Type {
        match self {
            Self::Boolean(_) => Type::Boolean,
            Self::Integer(_) => Type::Integer,
            Self::Decimal(_) => Type::Decimal,
            Self::Timestamp(_) => Type::Timestamp,
            Self::Json(_) => Type::Json,
            Self::Text(_) => Type::Text,
        }
    }

    /// Appends one value.
    ///
    /// # Errors
    /// The column cannot hold it.
    pub fn push(&mut self, scalar: &Scalar<'_>) -> Result<(), Misfit> {
        match (self, scalar) {
            (Self::Boolean(values), Scalar::Boolean(truth)) => values.push(*truth),
            (Self::Integer(values), Scalar::Integer(integer)) => values.push(*integer),
            (Self::Decimal(values), Scalar::Integer(integer)) => values.push(i128::from(*integer) * UNIT),
            (Self::Decimal(values), Scalar::Decimal(spelled)) => values.push(scaled(spelled).ok_or(Misfit)?),
            (Self::Timestamp(values), Scalar::Timestamp(text)) => values.push(micros(text).ok_or(Misfit)?),
            (Self::Timestamp(values), Scalar::Respelled(text)) => values.push(micros(text).ok_or(Misfit)?),
            (Self::Timestamp(values), Scalar::Made(text)) => {
                values.push(micros(text).or_else(|| text.parse().ok()).ok_or(Misfit)?);
            }
            (Self::Json(texts) | Self::Text(texts), Scalar::Text(text) | Scalar::Given(text)) => {
                texts.push(text.as_bytes());
            }
            (Self::Json(texts), Scalar::Json(_) | Scalar::Made(_)) | (Self::Text(texts), _) => {
                texts.push(scalar.text().as_bytes());
            }
            _ => return Err(Misfit),
        }
        Ok(())
    }

    /// The same values in a column of a wider type.
    ///
    /// # Errors
    /// The type is not wider.
    pub fn widen(self, wider: Type) -> Result<Self, Misfit> {
        if self.kind() == wider {
            return Ok(self);
        }
        Ok(match (self, wider) {
            (Self::Integer(values), Type::Decimal) => {
                Self::Decimal(values.into_iter().map(|integer| i128::from(integer) * UNIT).collect())
            }
            (Self::Boolean(values), Type::Text) => {
                Self::Text(ColumnTexts::of(values.into_iter().map(|truth| truth.to_string())))
            }
            (Self::Integer(values), Type::Text) => {
                Self::Text(ColumnTexts::of(values.into_iter().map(|integer| integer.to_string())))
            }
            (Self::Decimal(values), Type::Text) => Self::Text(ColumnTexts::of(values.into_iter().map(decimal_text))),
            (Self::Timestamp(values), Type::Text) => Self::Text(ColumnTexts::of(values.into_iter().map(instant_text))),
            (Self::Json(texts), Type::Text) => Self::Text(texts),
            _ => return Err(Misfit),
        })
    }
}

const UNIT: i128 = 10_i128.pow(SCALE);
/// Bytes of an instant with three fraction digits.
const SHORT: usize = 24;

/// A JSON number within [`FIT`], in units of 10⁻¹⁸.
fn scaled(spelled: &str) -> Option<i128> {
    let (negative, rest) = spelled.strip_prefix('-').map_or((false, spelled), |rest| (true, rest));
    let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
    let (mut magnitude, mut zeros, mut behind, mut is_behind) = (0_i128, 0_u32, 0_i64, false);
    for byte in mantissa.bytes() {
        match byte {
            b'.' => is_behind = true,
            b'0' => {
                // Zeros count only if another digit follows: a fraction may end in any number of them.
                zeros += 1;
                behind += i64::from(is_behind);
            }
            b'1'..=b'9' => {
                magnitude = if magnitude == 0 { 0 } else { magnitude.checked_mul(10_i128.checked_pow(zeros)?)? };
                magnitude = magnitude.checked_mul(10)?.checked_add(i128::from(byte - b'0'))?;
                zeros = 0;
                behind += i64::from(is_behind);
            }
            _ => return None,
        }
    }
    if magnitude == 0 {
        return Some(0);
    }
    let power = exponent.parse::<i64>().ok()?.checked_sub(behind)?.checked_add(i64::from(zeros) + i64::from(SCALE))?;
    let value = magnitude.checked_mul(10_i128.checked_pow(u32::try_from(power).ok()?)?)?;
    Some(if negative { -value } else { value })
}

/// The one text of a decimal in units of 10⁻¹⁸.
#[must_use]
pub fn decimal_text(value: i128) -> String {
    let (whole, fraction) = (value.unsigned_abs() / UNIT.unsigned_abs(), value.unsigned_abs() % UNIT.unsigned_abs());
    let sign = if value < 0 { "-" } else { "" };
    number_text(&format!("{sign}{whole}.{fraction:018}")).into_owned()
}

/// Microseconds since 1970 of a valid instant spelled `YYYY-MM-DDTHH:MM:SS.fff[fff]Z`.
fn micros(text: &str) -> Option<i64> {
    let bytes = text.as_bytes();
    if !matches!(bytes.len(), 24 | 27) || bytes.last() != Some(&b'Z') {
        return None;
    }
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0_i64, |number, byte| byte.is_ascii_digit().then(|| number * 10 + i64::from(byte - b'0')))
    };
    let (year, month, day) = (number(0..4)?, number(5..7)?, number(8..10)?);
    // Days since 1970 in the proleptic Gregorian calendar, years beginning in March.
    let shifted = if month <= 2 { year - 1 } else { year };
    let era = shifted.div_euclid(400);
    let of_era = shifted.rem_euclid(400);
    let of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let days = era * 146_097 + of_era * 365 + of_era / 4 - of_era / 100 + of_year - 719_468;
    let seconds = days * 86_400 + number(11..13)? * 3_600 + number(14..16)? * 60 + number(17..19)?;
    let fraction = number(20..bytes.len() - 1)?;
    Some(seconds * 1_000_000 + if bytes.len() == SHORT { fraction * 1_000 } else { fraction })
}

/// The instant as a column of text has it: three fraction digits, or six when it has microseconds; its number where the
/// calendar has no year of four digits for it.
#[must_use]
pub fn instant_text(at_us: i64) -> String {
    let (days, rest) = (at_us.div_euclid(86_400_000_000), at_us.rem_euclid(86_400_000_000));
    let (era, of_era) = ((days + 719_468).div_euclid(146_097), (days + 719_468).rem_euclid(146_097));
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * of_year + 2) / 153;
    let day = of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    if !(0..=9999).contains(&year) {
        return at_us.to_string();
    }
    let (seconds, micros) = (rest / 1_000_000, rest % 1_000_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    if micros % 1_000 == 0 {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{:03}Z", micros / 1_000)
    } else {
        format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{micros:06}Z")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tidegate_event::value::Value;

    use super::*;

    fn values(kind: Type, scalars: &[Scalar<'_>]) -> Values {
        let mut values = Values::new(kind);
        scalars.iter().for_each(|scalar| values.push(scalar).unwrap());
        values
    }

    #[test]
    fn decimals_keep_every_digit_within_reach() {
        for (spelled, expected) in [
            ("2.50", "2.5"),
            ("-0.000000000000000001", "-0.000000000000000001"),
            ("1.5e-9", "0.0000000015"),
            ("99999999999999999999.999999999999999999", "99999999999999999999.999999999999999999"),
            ("12345678901234567890", "12345678901234567890"),
            ("1e19", "10000000000000000000"),
            ("0.1e1", "1"),
            ("1.10000000000000000000000000000000000000000000000", "1.1"),
            ("1000000000000000000000000000000000000000000e-30", "1000000000000"),
            ("0.0", "0"),
        ] {
            assert_eq!(decimal_text(scaled(spelled).unwrap()), expected, "{spelled}");
        }
        assert_eq!(scaled("1e39"), None);
        assert_eq!(scaled("1e-19"), None);
    }

    #[test]
    fn instants_agree_with_the_calendar() {
        for text in [
            "0001-01-01T00:00:00.000Z",
            "1969-12-31T23:59:59.999999Z",
            "2000-02-29T12:34:56.789Z",
            "2024-03-01T00:00:00.000001Z",
            "9999-12-31T23:59:59.999Z",
        ] {
            let at = micros(text).unwrap();
            let civil: jiff::civil::DateTime = text.trim_end_matches('Z').parse().unwrap();
            let since = civil.duration_since(jiff::civil::date(1970, 1, 1).at(0, 0, 0, 0));
            assert_eq!(i128::from(at), since.as_micros(), "{text}");
            assert_eq!(instant_text(at), text);
        }
    }

    fn any_number() -> impl Strategy<Value = String> {
        prop_oneof![
            any::<i64>().prop_map(|n| n.to_string()),
            "-?(0|[1-9][0-9]{0,21})(\\.[0-9]{1,20})?(e-?[0-9]{1,2})?".prop_map(|text| text),
        ]
    }

    proptest! {
        #[test]
        fn widened_values_are_those_encoded_for_the_wider_type(
            numbers in proptest::collection::vec(any_number(), 1..20),
            at in -62_135_596_800_000_000_i64..253_402_300_799_999_999,
            whole in any::<bool>(),
        ) {
            let parsed: Vec<Value> = numbers.iter().map(|text| text.parse().unwrap()).collect();
            let scalars: Vec<_> = parsed.iter().filter_map(|value| Scalar::of(value, &FIT)).collect();
            let of = |kind: Type| scalars.iter().filter(|s| s.kind().join(kind) == kind).cloned().collect::<Vec<_>>();
            for (from, to) in [(Type::Integer, Type::Decimal), (Type::Integer, Type::Text), (Type::Decimal, Type::Text)] {
                let scalars = of(from);
                prop_assert_eq!(values(from, &scalars).widen(to).unwrap(), values(to, &scalars));
            }
            let at = if whole { at - at.rem_euclid(1000) } else { at };
            let text = instant_text(at);
            let instant = [Scalar::Timestamp(&text)];
            prop_assert_eq!(values(Type::Timestamp, &instant).widen(Type::Text), Ok(values(Type::Text, &instant)));
            let list = Value::from(vec![text.as_str()]);
            let others = [Scalar::Json(&list)];
            prop_assert_eq!(values(Type::Json, &others).widen(Type::Text), Ok(values(Type::Text, &others)));
            let truths = [Scalar::Boolean(whole)];
            prop_assert_eq!(values(Type::Boolean, &truths).widen(Type::Text), Ok(values(Type::Text, &truths)));
        }
    }
}

//! Numbers of binary formats as numbers of JSON, with every digit.

use num_bigint::BigInt;
use tidegate_event::value::{JsonNumber, Value};

/// Bytes of a decimal: 2,466 digits.
const DECIMAL_BYTES_MAX: usize = 1024;
/// A decimal with a longer fraction, or with more zeros behind it, is spelled with an exponent.
pub(crate) const SCALE_MAX: u32 = 1000;

/// The shortest spelling that reads back as the same number; text for what JSON has no number for.
pub(crate) fn double(number: f64) -> Value {
    if number.is_finite() { spelled(format!("{number:?}")) } else { no_number(number) }
}

/// The same with half the bits: 0.1 stays 0.1.
pub(crate) fn float(number: f32) -> Value {
    if number.is_finite() { spelled(format!("{number:?}")) } else { no_number(number.into()) }
}

fn spelled(digits: String) -> Value {
    Value::Number(JsonNumber::from_digits(digits))
}

fn no_number(number: f64) -> Value {
    let word = match number {
        f64::INFINITY => "Infinity",
        f64::NEG_INFINITY => "-Infinity",
        _ => "NaN",
    };
    word.into()
}

/// The number of a JSON value, or of the words that stand for what is none.
pub(crate) fn as_double(value: &Value) -> Option<f64> {
    match value {
        Value::String(word) => match word.as_str() {
            "NaN" => Some(f64::NAN),
            "Infinity" => Some(f64::INFINITY),
            "-Infinity" => Some(f64::NEG_INFINITY),
            _ => None,
        },
        other => other.as_f64(),
    }
}

/// A decimal of two parts: a whole number in two's complement, the greatest byte first, and how many of its digits are behind the point.
///
/// # Errors
/// It has too many bytes.
pub(crate) fn decimal(bytes: &[u8], scale: i64) -> Result<Value, String> {
    if bytes.len() > DECIMAL_BYTES_MAX {
        return Err(format!(
            "it has a decimal of {} bytes, and no more than {DECIMAL_BYTES_MAX} are read",
            bytes.len()
        ));
    }
    let whole = BigInt::from_signed_bytes_be(bytes).to_string();
    let (sign, digits) = whole.strip_prefix('-').map_or(("", whole.as_str()), |digits| ("-", digits));
    Ok(match usize::try_from(scale) {
        Ok(0) => spelled(whole),
        Ok(scale) if scale <= SCALE_MAX as usize => {
            let width = scale + 1;
            let padded = format!("{digits:0>width$}");
            let (before, behind) = padded.split_at(padded.len() - scale);
            spelled(format!("{sign}{before}.{behind}"))
        }
        _ => spelled(format!("{sign}{digits}e{}", -i128::from(scale))),
    })
}

/// The first part of a decimal that has so many digits behind the point, and so many in all. None where it would lose digits, or has more.
pub(crate) fn unscaled(number: &str, (scale, precision): (u32, u32)) -> Option<Vec<u8>> {
    let (mantissa, exponent) = match number.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, exponent.parse::<i64>().ok()?),
        None => (number, 0),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let behind = i64::try_from(fraction.len()).ok()?;
    let shift = exponent.checked_add(i64::from(scale))?.checked_sub(behind)?;
    let mut digits = format!("{whole}{fraction}");
    if digits.bytes().all(|byte| matches!(byte, b'-' | b'0')) {
        return Some(vec![0]);
    }
    match usize::try_from(shift) {
        Ok(zeros) if zeros <= 2 * SCALE_MAX as usize => digits.push_str(&"0".repeat(zeros)),
        Ok(_) => return None,
        Err(_) => {
            let fewer = usize::try_from(shift.unsigned_abs()).ok()?;
            let kept = digits.len().checked_sub(fewer)?;
            let (kept, lost) = digits.split_at_checked(kept)?;
            if lost.bytes().any(|byte| byte != b'0') {
                return None;
            }
            digits = kept.to_owned();
        }
    }
    // Readers may take what has more digits for nothing.
    let significant = digits.trim_start_matches(['-', '0']).len();
    if u64::try_from(significant).ok()? > u64::from(precision) {
        return None;
    }
    let bytes = digits.parse::<BigInt>().ok()?.to_signed_bytes_be();
    (bytes.len() <= DECIMAL_BYTES_MAX).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_decimal_keeps_every_digit() {
        let of = |number: i64, scale| decimal(&number.to_be_bytes(), scale).unwrap().to_string();
        assert_eq!(of(12_345, 2), "123.45");
        assert_eq!(of(-5, 3), "-0.005");
        assert_eq!(of(100, 2), "1.00");
        assert_eq!(of(0, 0), "0");
        assert_eq!(of(7, -3), "7e3");
        assert_eq!(of(7, i64::MAX), "7e-9223372036854775807");
        assert_eq!(of(7, i64::MIN), "7e9223372036854775808");
        assert_eq!(decimal(&[], 2).unwrap().to_string(), "0.00");
        assert!(decimal(&[1; 1025], 2).is_err());
        for (text, scale) in [("123.45", 2), ("-0.005", 3), ("1.00", 2), ("0", 0), ("99999999999999999999.5", 1)] {
            let bytes = unscaled(text, (scale, 21)).unwrap();
            assert_eq!(decimal(&bytes, scale.into()).unwrap().to_string(), text);
        }
        assert_eq!(decimal(&unscaled("1.5e3", (1, 5)).unwrap(), 1).unwrap().to_string(), "1500.0");
        assert_eq!(decimal(&unscaled("1500e-2", (0, 2)).unwrap(), 0).unwrap().to_string(), "15");
        assert_eq!(decimal(&unscaled("-099.5", (2, 4)).unwrap(), 2).unwrap().to_string(), "-99.50");
        for lost in ["0.001", "1e-9223372036854775808", "1e9000000000000000000", "1.5e-2", "100", "-100.00"] {
            assert_eq!(unscaled(lost, (2, 4)), None, "{lost}");
        }
    }

    #[test]
    fn floating_numbers_are_as_short_as_they_can_be() {
        assert_eq!(float(0.1).to_string(), "0.1");
        assert_eq!(double(0.1).to_string(), "0.1");
        assert_eq!(double(1.0).to_string(), "1.0");
        assert_eq!(double(-0.0).to_string(), "-0.0");
        assert_eq!(double(1e300).to_string(), "1e300");
        assert_eq!(double(f64::NAN), "NaN");
        assert_eq!(float(f32::NEG_INFINITY), "-Infinity");
    }
}

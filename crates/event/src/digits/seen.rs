//! What a guest makes of one number.

use memchr::memchr2;
use serde_json::Number;

use super::Numbers;
use crate::json;
use crate::value::is_spelled_whole;

/// So many digits survive a double whatever they are.
const DIGITS_CARRIED: usize = 15;

/// No double needs more digits than these; a guest that writes more has them from somewhere else.
const DIGITS_WRITTEN_MAX: usize = 17;

/// From here on a double skips whole numbers.
const INTEGERS_MAX: f64 = 9_007_199_254_740_992.0;

const INTEGERS_MAX_TEXT: &str = "9007199254740992";

/// Stands for `Infinity` while a guest's text is read: a JSON number that no guest can have seen.
const MARK: &str = "1e999999";

/// A number as a guest sees it: two that are equal are the same number to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum SeenNumbers<'a> {
    Text(&'a str),
    /// The bits of a double; zero has no sign.
    Double(u64),
}

impl<'a> SeenNumbers<'a> {
    /// Of a number in the input.
    pub(super) fn of(text: &'a str, numbers: Numbers) -> Self {
        if numbers == Numbers::Exact || (numbers == Numbers::ExactIntegers && is_spelled_whole(text)) {
            // A whole number that is zero has no sign.
            return Self::Text(if text == "-0" { "0" } else { text });
        }
        // The grammar of JSON is within that of a double.
        let double = text.parse::<f64>().unwrap_or_default();
        Self::Double(if double == 0.0 { 0 } else { double.to_bits() })
    }

    /// Of a number in the output: with more digits than a double asks for it does not come from one.
    pub(super) fn written(text: &'a str, numbers: Numbers) -> Self {
        let from_a_double = text.len() <= DIGITS_WRITTEN_MAX || digits(text).len() <= DIGITS_WRITTEN_MAX;
        if from_a_double { Self::of(text, numbers) } else { Self::Text(text) }
    }

    /// Whether it stands for a number beyond the range of doubles.
    pub(super) fn is_infinite(self) -> bool {
        matches!(self, Self::Double(bits) if f64::from_bits(bits).is_infinite())
    }
}

/// Whether a guest cannot see the number to the last digit.
pub(super) fn is_lossy(text: &str, numbers: Numbers) -> bool {
    // Most numbers end here.
    if text.len() <= DIGITS_CARRIED && !text.bytes().any(|byte| matches!(byte, b'e' | b'E')) {
        return false;
    }
    // So do microseconds since 1970.
    if text.len() == INTEGERS_MAX_TEXT.len() && text <= INTEGERS_MAX_TEXT && text.bytes().all(|b| b.is_ascii_digit()) {
        return false;
    }
    match SeenNumbers::of(text, numbers) {
        SeenNumbers::Text(_) => false,
        SeenNumbers::Double(bits) => {
            let double = f64::from_bits(bits);
            // Of two shortest texts that are equally near, writers choose differently: 108278026719946.62 or …63.
            let written = Number::from_f64(double).map(|written| [written.to_string(), format!("{double:e}")]);
            written.is_none_or(|texts| texts.iter().any(|written| !is_same_value(text, written)))
        }
    }
}

/// Whether it is no accident that a number of the output and one of the input, which the guest saw as `bits`, are the same:
/// nobody writes so many digits by chance.
pub(super) fn is_telling(text: &str, bits: u64) -> bool {
    f64::from_bits(bits).abs() >= INTEGERS_MAX || digits(text).len() >= DIGITS_CARRIED
}

pub(super) fn is_mark(text: &str) -> bool {
    text.strip_prefix('-').unwrap_or(text) == MARK
}

/// The text with a mark for each `Infinity` that stands outside of strings.
pub(super) fn with_marks(text: &str) -> String {
    let bytes = text.as_bytes();
    let (mut out, mut at) = (String::with_capacity(text.len()), 0);
    while let Some(found) = memchr2(b'"', b'I', &bytes[at..]) {
        let here = at + found;
        out.push_str(&text[at..here]);
        let (meant, end) = if bytes[here] == b'"' {
            let end = json::skip_string(bytes, here).unwrap_or(bytes.len());
            (&text[here..end], end)
        } else if text[here..].starts_with("Infinity") {
            (MARK, here + "Infinity".len())
        } else {
            ("I", here + 1)
        };
        out.push_str(meant);
        at = end;
    }
    out.push_str(&text[at..]);
    out
}

/// Its significant digits.
fn digits(text: &str) -> Vec<u8> {
    decimal(text).map_or_else(Vec::new, |(digits, _)| digits)
}

fn is_same_value(a: &str, b: &str) -> bool {
    let (Some((a_digits, a_point)), Some((b_digits, b_point))) = (decimal(a), decimal(b)) else { return false };
    a_digits == b_digits && (a_digits.is_empty() || (a_point == b_point && a.starts_with('-') == b.starts_with('-')))
}

/// The digits of a number without zeros at either end, and the exponent of the first; `None` for one beyond arithmetic.
fn decimal(text: &str) -> Option<(Vec<u8>, i64)> {
    let (mantissa, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let whole = whole.trim_start_matches('-').trim_start_matches('0');
    let mut digits = [whole, fraction].concat().into_bytes();
    let leading = digits.iter().take_while(|digit| **digit == b'0').count();
    digits.drain(..leading);
    let kept = digits.iter().rposition(|digit| *digit != b'0').map_or(0, |last| last + 1);
    digits.truncate(kept);
    if digits.is_empty() {
        return Some((digits, 0));
    }
    let point = i64::try_from(whole.len()).ok()?.checked_sub(i64::try_from(leading).ok()?)?;
    Some((digits, exponent.parse::<i64>().ok()?.checked_add(point)?))
}

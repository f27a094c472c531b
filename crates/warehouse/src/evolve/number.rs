//! Numbers as decimal digits: exact, whatever their size.

use std::borrow::Cow;

use super::Fit;

/// Plain notation may add this many zeros to a number's own digits; beyond, the text has an exponent.
const PADDING_ZEROS_MAX: i64 = 40;

/// `±digits × 10^exponent`; digits without leading or trailing zeros, empty for zero.
pub(super) struct Number<'a> {
    negative: bool,
    digits: Cow<'a, str>,
    exponent: i64,
}

impl<'a> Number<'a> {
    /// Reads the spelling of a JSON number. `None` for an exponent beyond all arithmetic.
    pub(super) fn parse(spelled: &'a str) -> Option<Self> {
        let (negative, rest) = spelled.strip_prefix('-').map_or((false, spelled), |rest| (true, rest));
        let (mantissa, exponent) = rest.split_once(['e', 'E']).unwrap_or((rest, "0"));
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let mut digits = match (whole.trim_start_matches('0'), fraction) {
            (whole, "") => Cow::Borrowed(whole),
            ("", fraction) => Cow::Borrowed(fraction.trim_start_matches('0')),
            (whole, fraction) => Cow::Owned([whole, fraction].concat()),
        };
        let kept = digits.trim_end_matches('0').len();
        if kept == 0 {
            return Some(Self { negative: false, digits: Cow::Borrowed(""), exponent: 0 });
        }
        let exponent = exponent
            .parse::<i64>()
            .ok()?
            .checked_sub(i64::try_from(fraction.len()).ok()?)?
            .checked_add(i64::try_from(digits.len() - kept).ok()?)?;
        match &mut digits {
            Cow::Borrowed(text) => *text = &text[..kept],
            Cow::Owned(text) => text.truncate(kept),
        }
        Some(Self { negative, digits, exponent })
    }

    /// Its value as an integer of 64 bits, if it is one.
    pub(super) fn integer(&self) -> Option<i64> {
        if self.digits.is_empty() {
            return Some(0);
        }
        if !(0..=18).contains(&self.exponent) || self.digits.len() > 19 {
            return None;
        }
        let magnitude = self.digits.parse::<i128>().ok()? * 10_i128.pow(u32::try_from(self.exponent).ok()?);
        i64::try_from(if self.negative { -magnitude } else { magnitude }).ok()
    }

    /// Whether the warehouse's decimal gives it back digit for digit.
    pub(super) fn fits(&self, fit: &Fit) -> bool {
        let leading = i64::try_from(self.digits.len()).unwrap_or(i64::MAX).saturating_add(self.exponent);
        self.digits.len() <= fit.decimal_digits_max
            && leading.saturating_abs() <= fit.decimal_exponent_max
            && self.exponent.saturating_neg() <= fit.decimal_fraction_max
    }

    fn text(&self) -> String {
        let digits = &*self.digits;
        let len = i64::try_from(digits.len()).unwrap_or(i64::MAX);
        let mut text = String::with_capacity(digits.len() + 48);
        if self.negative {
            text.push('-');
        }
        let point = len.saturating_add(self.exponent);
        let zeros = |n: i64| std::iter::repeat_n('0', usize::try_from(n).unwrap_or(0));
        if digits.is_empty() {
            text.push('0');
        } else if (0..=PADDING_ZEROS_MAX).contains(&self.exponent) {
            text.push_str(digits);
            text.extend(zeros(self.exponent));
        } else if self.exponent < 0 && point > 0 {
            let (whole, fraction) = digits.split_at(usize::try_from(point).unwrap_or(0));
            text.extend([whole, ".", fraction]);
        } else if (-PADDING_ZEROS_MAX..=0).contains(&point) {
            text.push_str("0.");
            text.extend(zeros(-point));
            text.push_str(digits);
        } else {
            let (first, rest) = digits.split_at(1);
            text.push_str(first);
            if !rest.is_empty() {
                text.extend([".", rest]);
            }
            text.push('e');
            text.push_str(&point.saturating_sub(1).to_string());
        }
        text
    }
}

/// The one text of the number that JSON spells so: plain decimal notation without superfluous zeros (`0`, `-1.5`,
/// `100`), or one digit, fraction and exponent (`1e999`) where plain notation would take more than forty zeros.
#[must_use]
pub fn number_text(spelled: &str) -> Cow<'_, str> {
    match Number::parse(spelled) {
        Some(number) => Cow::Owned(number.text()),
        None => Cow::Borrowed(spelled),
    }
}

/// The same text, from a binary floating-point number that once was a decimal of at most fifteen digits: the shortest
/// decimal that means it is that decimal.
#[must_use]
pub fn real_text(real: f64) -> String {
    if real.is_finite() { number_text(&format!("{real:e}")).into_owned() } else { real.to_string() }
}

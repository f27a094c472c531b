//! Instants as text: which texts are instants, and how a column spells them.
//!
//! A text is an instant when RFC 3339 says so, whatever its fraction and offset. A column keeps the instant, to the
//! microsecond, so it gives back one spelling for it: UTC, three fraction digits as JavaScript writes them, or six when the
//! instant has microseconds. A text that is spelled in any other way is kept in the row's overflow as well.

use std::borrow::Cow;

use serde_json::Value;
use tidegate_event::time;

use super::Fit;

/// The instant `text` as a column of values spells it; `None` when it is none, or beyond the warehouse's years.
#[must_use]
pub fn spelled<'a>(text: &'a str, fit: &Fit) -> Option<Cow<'a, str>> {
    if is_plain(text, 3, fit) {
        return Some(Cow::Borrowed(text));
    }
    let mut micros = respelled(text, fit)?;
    if micros.ends_with("000Z") {
        micros.truncate(micros.len() - 4);
        micros.push('Z');
    }
    Some(if micros == text { Cow::Borrowed(text) } else { Cow::Owned(micros) })
}

/// The same for the columns that every table of events begins with: always six fraction digits, so that the order of
/// texts is the order of instants.
#[must_use]
pub fn spelled_in_full<'a>(text: &'a str, fit: &Fit) -> Option<Cow<'a, str>> {
    if is_plain(text, 6, fit) {
        return Some(Cow::Borrowed(text));
    }
    respelled(text, fit).map(Cow::Owned)
}

/// An instant that is spelled in another way than RFC 3339's and can be read all the same, in full.
#[must_use]
pub fn read_in_full(value: &Value, fit: &Fit) -> Option<String> {
    time::read(value).and_then(|(micros, _)| within(micros, fit))
}

/// Whether a column that every table of events begins with says all that `value` says of an instant.
#[must_use]
pub fn is_kept_whole(value: &Value) -> bool {
    matches!(value, Value::String(text) if has_shape(text.as_bytes()) && !is_finer(text))
}

/// Whether the instant `text` is finer than a microsecond.
fn is_finer(text: &str) -> bool {
    let fraction = text.split_once('.').map_or("", |(_, rest)| rest);
    let digits = fraction.bytes().take_while(u8::is_ascii_digit);
    digits.skip(6).any(|digit| digit != b'0')
}

/// Six fraction digits, UTC.
fn respelled(text: &str, fit: &Fit) -> Option<String> {
    if !has_shape(text.as_bytes()) {
        return None;
    }
    within(time::parse(text)?, fit)
}

/// The same of an instant within the warehouse's years.
fn within(micros: i64, fit: &Fit) -> Option<String> {
    let micros = time::format(micros);
    let year = micros.get(..4)?.parse().ok()?;
    (fit.years.0..=fit.years.1).contains(&year).then_some(micros)
}

/// `YYYY-MM-DDTHH:MM:SS`, perhaps a fraction, then `Z` or an offset. No leap second: a clock of
/// microseconds since 1970 does not know it.
fn has_shape(bytes: &[u8]) -> bool {
    let digit = |at: usize| bytes.get(at).is_some_and(u8::is_ascii_digit);
    let is = |at: usize, one: u8| bytes.get(at).is_some_and(|byte| byte.eq_ignore_ascii_case(&one));
    let digits = [0, 1, 2, 3, 5, 6, 8, 9, 11, 12, 14, 15, 17, 18];
    if !(is(4, b'-') && is(7, b'-') && is(10, b'T') && is(13, b':') && is(16, b':') && digits.into_iter().all(digit)) {
        return false;
    }
    if bytes.get(17..19) == Some(b"60") {
        return false;
    }
    let mut at = 19;
    if is(at, b'.') {
        let fraction = bytes[20..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if fraction == 0 {
            return false;
        }
        at += 1 + fraction;
    }
    match bytes.get(at) {
        Some(b'Z' | b'z') => bytes.len() == at + 1,
        Some(b'+' | b'-') => {
            bytes.len() == at + 6 && is(at + 3, b':') && [1, 2, 4, 5].into_iter().all(|digits| digit(at + digits))
        }
        _ => false,
    }
}

/// Whether `text` is a valid UTC instant within reach, spelled `YYYY-MM-DDTHH:MM:SS.fffZ` with so many fraction digits.
fn is_plain(text: &str, fraction_digits: usize, fit: &Fit) -> bool {
    let bytes = text.as_bytes();
    if bytes.len() != 21 + fraction_digits || bytes[bytes.len() - 1] != b'Z' {
        return false;
    }
    let shape = |(at, byte): (usize, &u8)| match at {
        4 | 7 => *byte == b'-',
        10 => *byte == b'T',
        13 | 16 => *byte == b':',
        19 => *byte == b'.',
        _ => byte.is_ascii_digit(),
    };
    if !bytes[..bytes.len() - 1].iter().enumerate().all(shape) {
        return false;
    }
    let number = |at: usize, len: usize| bytes[at..at + len].iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    (fit.years.0..=fit.years.1).contains(&year)
        && (1..=days).contains(&day)
        && number(11, 2) < 24
        && number(14, 2) < 60
        && number(17, 2) < 60
}

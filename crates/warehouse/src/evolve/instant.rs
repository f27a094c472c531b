//! Instants as text: which texts are instants, and how a column spells them.
//!
//! A text is an instant when RFC 3339 says so, whatever its fraction and offset. A column keeps the instant, to the
//! microsecond, so it gives back one spelling for it: UTC, three fraction digits as JavaScript writes them, or six when the
//! instant has microseconds. A text that is spelled in any other way is kept in the row's overflow as well.

use std::borrow::Cow;

use tidegate_event::time;
use tidegate_event::value::Value;

use super::Fit;

/// The instant `text` as a column of values spells it; `None` when it is none, or beyond the warehouse's years.
#[inline]
#[must_use]
pub fn spelled<'a>(text: &'a str, fit: &Fit) -> Option<Cow<'a, str>> {
    // Most texts are none, and their first bytes tell.
    if !matches!(text.as_bytes(), [_, _, _, _, b'-', _, _, b'-', ..]) {
        return None;
    }
    spelled_if_valid(text, fit)
}

fn spelled_if_valid<'a>(text: &'a str, fit: &Fit) -> Option<Cow<'a, str>> {
    match plain_digits(text, fit) {
        Some(3) => return Some(Cow::Borrowed(text)),
        Some(0..3) => return Some(Cow::Owned(filled(text, ".000Z"))),
        Some(6) if !text.ends_with("000Z") => return Some(Cow::Borrowed(text)),
        _ => {}
    }
    let mut micros = respelled(text, fit)?;
    if micros.ends_with("000Z") {
        micros.truncate(micros.len() - 4);
        micros.push('Z');
    }
    Some(Cow::Owned(micros))
}

/// The same for the columns that every table of events begins with: always six fraction digits, so that the order of
/// texts is the order of instants.
#[must_use]
pub fn spelled_in_full<'a>(text: &'a str, fit: &Fit) -> Option<Cow<'a, str>> {
    match plain_digits(text, fit) {
        Some(6) => Some(Cow::Borrowed(text)),
        Some(0..6) => Some(Cow::Owned(filled(text, ".000000Z"))),
        _ => respelled(text, fit).map(Cow::Owned),
    }
}

/// An instant that is spelled in another way than RFC 3339's and can be read all the same, in full.
#[must_use]
pub fn read_in_full(value: &Value, fit: &Fit) -> Option<String> {
    time::read(value).and_then(|(micros, _)| within(micros, fit))
}

/// Whether a column that every table of events begins with says all that `value` says of an instant.
#[must_use]
pub fn is_kept_whole(value: &Value) -> bool {
    let is_whole = |text: &str| has_shape(text.as_bytes()) && !is_finer(text) && !names_leap_second(text);
    matches!(value, Value::String(text) if is_whole(text))
}

/// Whether `text`, of the right shape, is finer than a microsecond.
fn is_finer(text: &str) -> bool {
    let fraction = text.bytes().skip(20).take_while(u8::is_ascii_digit);
    fraction.skip(6).any(|digit| digit != b'0')
}

/// Six fraction digits, UTC.
fn respelled(text: &str, fit: &Fit) -> Option<String> {
    if !has_shape(text.as_bytes()) {
        return None;
    }
    let spelled = within(time::parse(text)?, fit)?;
    let is_valid = !names_leap_second(text) || LEAP_SECONDS_AFTER.contains(&&spelled[4..19]);
    is_valid.then_some(spelled)
}

/// The seconds of a year that a leap second may follow (RFC 3339, section 5.7). A clock of microseconds since 1970 does not
/// know it: it is there as a part of the second before, and the row's overflow has it as it came.
const LEAP_SECONDS_AFTER: [&str; 2] = ["-06-30T23:59:59", "-12-31T23:59:59"];

/// Whether a text of the right shape says second 60.
fn names_leap_second(text: &str) -> bool {
    text.get(17..19) == Some("60")
}

/// The same of an instant within the warehouse's years.
fn within(micros: i64, fit: &Fit) -> Option<String> {
    let micros = time::format(micros);
    let year = micros.get(..4)?.parse().ok()?;
    (fit.years.0..=fit.years.1).contains(&year).then_some(micros)
}

/// `YYYY-MM-DDTHH:MM:SS`, perhaps a fraction, then `Z` or an offset.
fn has_shape(bytes: &[u8]) -> bool {
    let Some((head, rest)) = bytes.split_first_chunk() else { return false };
    if !is_date_and_time(head) {
        return false;
    }
    let zone = match rest {
        [b'.', rest @ ..] => {
            let fraction = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if fraction == 0 {
                return false;
            }
            &rest[fraction..]
        }
        _ => rest,
    };
    match zone {
        [b'Z' | b'z'] => true,
        [b'+' | b'-', a, b, b':', c, d] => [a, b, c, d].into_iter().all(u8::is_ascii_digit),
        _ => false,
    }
}

/// Whether this is `YYYY-MM-DDTHH:MM:SS`, whatever the digits.
fn is_date_and_time(head: &[u8; 19]) -> bool {
    let shape = b"0000-00-00T00:00:00";
    let fits = |(byte, shape): (&u8, &u8)| match shape {
        b'0' => byte.is_ascii_digit(),
        b'T' => matches!(byte, b'T' | b't'),
        _ => byte == shape,
    };
    head.iter().zip(shape).all(fits)
}

/// How many fraction digits `text` has, at most six, if it is a valid UTC instant within reach, spelled
/// `YYYY-MM-DDTHH:MM:SSZ` or with a fraction: what nearly all clients send, read without the calendar's parser.
fn plain_digits(text: &str, fit: &Fit) -> Option<usize> {
    let (head, rest) = text.as_bytes().split_first_chunk()?;
    let fraction: &[u8] = match rest {
        [b'Z'] => &[],
        [b'.', fraction @ .., b'Z'] if (1..=6).contains(&fraction.len()) => fraction,
        _ => return None,
    };
    if !is_date_and_time(head) || head[10] != b'T' || !fraction.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let number = |at: usize, len: usize| head[at..at + len].iter().fold(0_u32, |n, b| n * 10 + u32::from(b - b'0'));
    let (year, month, day) = (number(0, 4), number(5, 2), number(8, 2));
    let leap = year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400));
    let days = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if leap => 29,
        2 => 28,
        _ => 0,
    };
    let is_valid = (fit.years.0..=fit.years.1).contains(&year)
        && (1..=days).contains(&day)
        && number(11, 2) < 24
        && number(14, 2) < 60
        && number(17, 2) < 60;
    is_valid.then_some(fraction.len())
}

/// A plain instant with as many fraction digits as `end` has.
fn filled(text: &str, end: &str) -> String {
    let whole = text.len() - 1;
    [&text[..whole], &end[whole - 19..]].concat()
}

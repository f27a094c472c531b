//! Digits that a guest could not see, put back where it left a number alone.
//!
//! A guest whose language reads a number as a double sees 9007199254740992 where the event says 9007199254740993, and
//! writes it so. It cannot tell the two apart, so where its output has the number that it saw, the event's own spelling
//! comes back. An event without such a number costs one look at its numbers.
//!
//! The same for the bodies of requests, which a destination makes of events ([`restore_in_body`]).
//!
//! Nouns: a **lossy** number (one that the guest cannot see to the last digit), a number **as seen** (what the guest makes
//! of it), the **place** of a value in the output (what stood there in the input, and how sure that is).
//!
//! What holds: a number that comes back is, to the guest, the one that it wrote; no other value of the output changes; the
//! work is linear in the texts. What cannot be told for certain stays as the guest wrote it (`docs/decisions/024`).

use crate::value::{JsonObject, Value};

use super::decode::DEPTH_MAX;
use super::json::{self, JsonError};

mod body;
mod index;
mod names;
mod seen;
mod walk;

pub use body::restore_in_body;
use seen::{is_lossy, is_mark, with_marks};
use walk::DigitsWalk;

/// What the numbers of an event become in a guest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Numbers {
    /// Text: no digit is lost.
    Exact,
    /// Whole numbers keep every digit, others are doubles; `Infinity` stands for one beyond their range. Python.
    ExactIntegers,
    /// Doubles; `Infinity` stands for one beyond their range. The SDK for JavaScript.
    Doubles,
    /// Nobody knows: doubles, and `null` may stand for one beyond their range too.
    #[default]
    Unknown,
}

/// Puts the digits of the event `input`, and of all else that the guest was `given`, back into the `texts` that it made of
/// the event, where it left a number alone. What is no event stays as it is, for the caller to find.
pub fn restore(texts: &mut [String], input: &JsonObject, given: &[Value], numbers: Numbers) {
    if numbers == Numbers::Exact || (given.is_empty() && !input.values().any(|value| has_lossy(value, numbers))) {
        return;
    }
    let mut walk = DigitsWalk::new(numbers, input.values().chain(given).collect());
    for text in texts {
        if let Some(restored) = restored(text, input, &mut walk) {
            *text = restored;
        }
    }
}

/// The text with what the walk found; `None`: it stays as it is.
fn restored<'a>(output: &str, input: &'a JsonObject, walk: &mut DigitsWalk<'a>) -> Option<String> {
    let (mut value, infinite) = read(output, DEPTH_MAX).ok()?;
    walk.begin(output.len());
    walk.entries(value.as_object_mut()?, input);
    // An infinite number that is none of the event's: the text is no JSON, and the caller will say so.
    if !walk.changed || (infinite && has_mark(&value)) {
        return None;
    }
    Some(value.to_string())
}

/// Reads the text of a value that a guest sets where `old` was, with the digits of the values that it knows, which are those
/// of the event and all else that it was given, where it left a number alone.
///
/// # Errors
/// It is no JSON, or deeper than `depth_max`.
pub fn set<'a>(
    text: &str,
    old: Option<&'a Value>,
    known: impl Iterator<Item = &'a Value>,
    numbers: Numbers,
    depth_max: usize,
) -> Result<Value, JsonError> {
    if numbers == Numbers::Exact {
        return json::parse(text.as_bytes(), depth_max);
    }
    let (mut value, infinite) = read(text, depth_max)?;
    let mut walk = DigitsWalk::new(numbers, known.collect());
    walk.begin(text.len());
    walk.whole(&mut value, old);
    if infinite && has_mark(&value) { json::parse(text.as_bytes(), depth_max) } else { Ok(value) }
}

/// Whether a guest loses digits of a number in the JSON `text`. Parses nothing.
#[must_use]
pub fn is_lossy_for(text: &str, numbers: Numbers) -> bool {
    if numbers == Numbers::Exact {
        return false;
    }
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at = match byte {
            b'"' => json::skip_string(bytes, at).unwrap_or(bytes.len()),
            b'-' | b'0'..=b'9' => {
                let is_number = |byte: &u8| matches!(byte, b'0'..=b'9' | b'-' | b'+' | b'.' | b'e' | b'E');
                let end = at + bytes[at..].iter().take_while(|byte| is_number(byte)).count();
                if is_lossy(&text[at..end], numbers) {
                    return true;
                }
                end
            }
            _ => at + 1,
        };
    }
    false
}

/// Whether a guest loses digits of `value`.
fn has_lossy(value: &Value, numbers: Numbers) -> bool {
    match value {
        Value::Number(number) => is_lossy(number.as_str(), numbers),
        Value::Array(items) => items.iter().any(|item| has_lossy(item, numbers)),
        Value::Object(entries) => entries.values().any(|value| has_lossy(value, numbers)),
        _ => false,
    }
}

fn has_mark(value: &Value) -> bool {
    match value {
        Value::Number(number) => is_mark(number.as_str()),
        Value::Array(items) => items.iter().any(has_mark),
        Value::Object(entries) => entries.values().any(has_mark),
        _ => false,
    }
}

/// Parses JSON that may say `Infinity`, and whether it does; a mark stands for it then.
fn read(text: &str, depth_max: usize) -> Result<(Value, bool), JsonError> {
    match json::parse(text.as_bytes(), depth_max) {
        Err(JsonError::Malformed(at)) if text.as_bytes()[at..].starts_with(b"Infinity") => {
            json::parse(with_marks(text).as_bytes(), depth_max).map(|value| (value, true))
        }
        parsed => parsed.map(|value| (value, false)),
    }
}

#[cfg(test)]
mod tests;

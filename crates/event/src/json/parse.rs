//! From text to a value.

use std::borrow::Cow;
use std::collections::HashSet;

use super::{JsonError, literal, number, read_text, scan, space, text};
use crate::value::{JsonNumber, JsonObject, List, Text, Value};

/// Parses a whole text into one value, at most `depth_max` containers deep.
pub fn parse(bytes: &[u8], depth_max: usize) -> Result<Value, JsonError> {
    let text = std::str::from_utf8(bytes).map_err(|error| not_utf8(bytes, error.valid_up_to()))?;
    let mut parser = Parser { text, bytes, fields: Vec::with_capacity(FIELDS_OPEN), items: Vec::new() };
    let (value, at) = parser.value(space(bytes, 0), depth_max)?;
    let at = space(bytes, at);
    if at == bytes.len() { Ok(value) } else { Err(JsonError::Malformed(at)) }
}

/// What is wrong with bytes that are text up to `at` alone: whatever comes first.
#[cold]
fn not_utf8(bytes: &[u8], at: usize) -> JsonError {
    scan(bytes, 0).err().filter(|error| error.at() < at).unwrap_or(JsonError::NotUtf8(at))
}

/// Room for the fields of open objects; it grows where it has to.
const FIELDS_OPEN: usize = 32;

/// One walk through a text. What open objects and arrays hold so far lies on two stacks, so that each becomes one vector
/// of the right size when it ends.
struct Parser<'a> {
    text: &'a str,
    /// Its bytes.
    bytes: &'a [u8],
    fields: Vec<(Text, Value)>,
    items: Vec<Value>,
}

impl<'a> Parser<'a> {
    fn string(&self, at: usize) -> Result<(Cow<'a, str>, usize), JsonError> {
        let text = self.text;
        read_text(self.bytes, at, |from, at| text.get(from..at).ok_or(JsonError::Malformed(from)))
    }

    fn value(&mut self, at: usize, depth_left: usize) -> Result<(Value, usize), JsonError> {
        let bytes = self.bytes;
        match bytes.get(at) {
            Some(b'{') => self.object(at, depth_left),
            Some(b'[') => self.array(at, depth_left),
            Some(b'"') => self.string(at).map(|(text, at)| (Value::String(text.into()), at)),
            Some(b'-' | b'0'..=b'9') => {
                let end = number(bytes, at)?;
                let digits = self.text.get(at..end).ok_or(JsonError::Malformed(at))?;
                Ok((Value::Number(JsonNumber::from_digits(digits)), end))
            }
            _ => {
                let end = literal(bytes, at)?;
                let value = match bytes[at] {
                    b't' => Value::Bool(true),
                    b'f' => Value::Bool(false),
                    _ => Value::Null,
                };
                Ok((value, end))
            }
        }
    }

    fn object(&mut self, start: usize, depth_left: usize) -> Result<(Value, usize), JsonError> {
        let depth_left = depth_left.checked_sub(1).ok_or(JsonError::TooDeep(start))?;
        let bytes = self.bytes;
        let first = self.fields.len();
        let mut at = space(bytes, start + 1);
        if bytes.get(at) == Some(&b'}') {
            return Ok((Value::Object(JsonObject::new()), at + 1));
        }
        loop {
            if bytes.get(at) != Some(&b'"') {
                return Err(JsonError::Malformed(at));
            }
            let (name, next) = self.string(at)?;
            let name = Text::from(name);
            at = space(bytes, next);
            if bytes.get(at) != Some(&b':') {
                return Err(JsonError::Malformed(at));
            }
            let (item, next) = self.value(space(bytes, at + 1), depth_left)?;
            self.fields.push((name, item));
            at = space(bytes, next);
            match bytes.get(at) {
                Some(b',') => at = space(bytes, at + 1),
                Some(b'}') => break,
                _ => return Err(JsonError::Malformed(at)),
            }
        }
        let object = JsonObject::of_fields(&mut self.fields, first).ok_or_else(|| double_key(bytes, start))?;
        Ok((Value::Object(object), at + 1))
    }

    fn array(&mut self, at: usize, depth_left: usize) -> Result<(Value, usize), JsonError> {
        let depth_left = depth_left.checked_sub(1).ok_or(JsonError::TooDeep(at))?;
        let bytes = self.bytes;
        let first = self.items.len();
        let mut at = space(bytes, at + 1);
        if bytes.get(at) == Some(&b']') {
            return Ok((Value::Array(List::new()), at + 1));
        }
        loop {
            let (item, next) = self.value(at, depth_left)?;
            self.items.push(item);
            at = space(bytes, next);
            match bytes.get(at) {
                Some(b',') => at = space(bytes, at + 1),
                Some(b']') => return Ok((Value::Array(self.items.drain(first..).collect()), at + 1)),
                _ => return Err(JsonError::Malformed(at)),
            }
        }
    }
}

/// Where the first key stands twice in the object at `start`, which has been read whole.
#[cold]
fn double_key(bytes: &[u8], start: usize) -> JsonError {
    let mut seen = HashSet::new();
    let mut at = space(bytes, start + 1);
    while let Ok((name, next)) = text(bytes, at) {
        let colon = space(bytes, next);
        let Ok(value) = scan(bytes, colon + 1) else { break };
        if !seen.insert(name) {
            return JsonError::DuplicateKey(value.end);
        }
        at = space(bytes, space(bytes, value.end) + 1);
    }
    JsonError::DuplicateKey(start)
}

//! JSON as it comes over the wire: a strict scanner and a parser that share one reading of the grammar.
//!
//! The scanner walks bytes once, iteratively, builds nothing and reports what the door needs: where a value ends,
//! how deep it goes, how many keys it has. The parser builds a [`Value`](super::value::Value); it keeps every digit of a number and
//! refuses an object that names a key twice, because any winner would be a silent alteration. (`serde_json`'s own
//! parser takes the last one, and with `arbitrary_precision` reads some objects of one key as numbers; it is not
//! fit for bytes from outside here.)

use std::borrow::Cow;

use memchr::memchr2;

mod parse;

pub use parse::parse;

/// Why bytes are not JSON that we take. The position is in bytes from the start of the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum JsonError {
    #[error("not JSON at byte {0}")]
    Malformed(usize),
    #[error("not UTF-8 at byte {0}")]
    NotUtf8(usize),
    #[error("a lone surrogate (\\uD800 to \\uDFFF without its partner) at byte {0}")]
    LoneSurrogate(usize),
    #[error("nested too deeply at byte {0}")]
    TooDeep(usize),
    #[error("an object key that stands twice, the second time before byte {0}")]
    DuplicateKey(usize),
}

impl JsonError {
    /// Its place, in bytes from the start of the text.
    #[must_use]
    pub const fn at(self) -> usize {
        match self {
            Self::Malformed(at)
            | Self::NotUtf8(at)
            | Self::LoneSurrogate(at)
            | Self::TooDeep(at)
            | Self::DuplicateKey(at) => at,
        }
    }
}

/// What a scan saw of one value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SeenValue {
    /// The byte after the value.
    pub end: usize,
    /// 0 for a scalar, 1 for a flat object or array.
    pub depth: usize,
    /// Object keys at any depth.
    pub keys: usize,
}

/// Skips white space.
#[inline]
#[must_use]
pub fn space(bytes: &[u8], mut at: usize) -> usize {
    while let Some(b' ' | b'\n' | b'\r' | b'\t') = bytes.get(at) {
        at += 1;
    }
    at
}

/// Scans one value that starts at `at` (leading white space allowed). UTF-8 is the caller's to check.
pub fn scan(bytes: &[u8], at: usize) -> Result<SeenValue, JsonError> {
    let mut nest = Nest::default();
    let mut keys = 0;
    let mut at = space(bytes, at);
    loop {
        // One value, or the opening of one.
        match bytes.get(at) {
            Some(b'{') => {
                nest.push(true);
                at = space(bytes, at + 1);
                if bytes.get(at) == Some(&b'}') {
                    nest.pop();
                    at += 1;
                } else {
                    keys += 1;
                    at = key(bytes, at)?;
                    continue;
                }
            }
            Some(b'[') => {
                nest.push(false);
                at = space(bytes, at + 1);
                if bytes.get(at) == Some(&b']') {
                    nest.pop();
                    at += 1;
                } else {
                    continue;
                }
            }
            Some(b'"') => at = string(bytes, at)?,
            Some(b'-' | b'0'..=b'9') => at = number(bytes, at)?,
            _ => at = literal(bytes, at)?,
        }
        // What follows a value: the end, a comma, or closings.
        loop {
            let Some(in_object) = nest.top() else {
                return Ok(SeenValue { end: at, depth: nest.deepest, keys });
            };
            at = space(bytes, at);
            match (bytes.get(at), in_object) {
                (Some(b','), true) => {
                    keys += 1;
                    at = key(bytes, space(bytes, at + 1))?;
                    break;
                }
                (Some(b','), false) => {
                    at = space(bytes, at + 1);
                    break;
                }
                (Some(b'}'), true) | (Some(b']'), false) => {
                    nest.pop();
                    at += 1;
                }
                _ => return Err(JsonError::Malformed(at)),
            }
        }
    }
}

/// Finds the end of a value that [`scan`] refused, by strings and brackets alone, so that the neighbours of one
/// bad array element can still be read: the comma or closing bracket that it does not hold itself. `None` when the
/// text ends first.
#[must_use]
pub fn skip_malformed(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = space(bytes, at);
    let mut depth = 0_usize;
    loop {
        match bytes.get(at)? {
            b'"' => {
                at = skip_string(bytes, at)?;
                continue;
            }
            b'{' | b'[' => depth += 1,
            b'}' | b']' | b',' if depth == 0 => return Some(at),
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
}

/// The byte after a string's closing quote, whatever the string holds.
#[must_use]
pub fn skip_string(bytes: &[u8], at: usize) -> Option<usize> {
    let mut at = at + 1;
    loop {
        at += memchr2(b'"', b'\\', bytes.get(at..)?)?;
        if bytes[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Whether all that follows `at` has bounds of its own: every string ends and every bracket has its partner.
#[must_use]
pub fn is_bounded(bytes: &[u8], at: usize) -> bool {
    let mut at = at;
    let mut depth = 0_usize;
    while let Some(byte) = bytes.get(at) {
        match byte {
            b'"' => match skip_string(bytes, at) {
                Some(end) => {
                    at = end;
                    continue;
                }
                None => return false,
            },
            b'{' | b'[' => depth += 1,
            b'}' | b']' if depth == 0 => return false,
            b'}' | b']' => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    depth == 0
}

/// The end of `bytes` without the white space behind its last other byte, not below `start`.
#[must_use]
pub fn trim_end(bytes: &[u8], start: usize) -> usize {
    let mut end = bytes.len();
    while end > start && matches!(bytes[end - 1], b' ' | b'\n' | b'\r' | b'\t') {
        end -= 1;
    }
    end
}

/// The text of an object's key, whose quotes are the first and last byte of `key`; `None` when it is no text.
#[must_use]
pub fn key_text(key: &[u8]) -> Option<Cow<'_, str>> {
    let inner = key.get(1..key.len().checked_sub(1)?)?;
    if !is_plain(inner) {
        return text(key, 0).ok().map(|(text, _)| Cow::Owned(text));
    }
    std::str::from_utf8(inner).ok().map(Cow::Borrowed)
}

/// Open containers, one bit each (object or array), so that depth costs no stack and little memory.
#[derive(Default)]
struct Nest {
    bits: Vec<u64>,
    now: u64,
    depth: usize,
    deepest: usize,
}

impl Nest {
    fn push(&mut self, object: bool) {
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.bits.push(self.now);
        }
        self.now = (self.now << 1) | u64::from(object);
        self.depth += 1;
        self.deepest = self.deepest.max(self.depth);
    }

    fn pop(&mut self) {
        self.depth -= 1;
        if self.depth > 0 && self.depth.is_multiple_of(64) {
            self.now = self.bits.pop().unwrap_or_default();
        } else {
            self.now >>= 1;
        }
    }

    fn top(&self) -> Option<bool> {
        (self.depth > 0).then_some(self.now & 1 == 1)
    }
}

/// A key, its colon, and the white space after it.
fn key(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    if bytes.get(at) != Some(&b'"') {
        return Err(JsonError::Malformed(at));
    }
    let at = space(bytes, string(bytes, at)?);
    if bytes.get(at) != Some(&b':') {
        return Err(JsonError::Malformed(at));
    }
    Ok(space(bytes, at + 1))
}

/// Bytes that end the plain part of a string: the quote, the backslash and the control characters.
static STOPS: [bool; 256] = {
    let mut stops = [false; 256];
    let mut byte = 0;
    while byte < 0x20 {
        stops[byte] = true;
        byte += 1;
    }
    stops[b'"' as usize] = true;
    stops[b'\\' as usize] = true;
    stops
};

/// Where the plain part of a string that goes on at `at` ends: the first of [`STOPS`], or the end of the text.
///
/// It reads eight bytes at a time, because finding the ends of strings is most of what scanning a body costs. In each word
/// the highest bit of a byte is set when the byte is a stop. A borrow can set it wrongly only above a right one, and the
/// lowest one counts.
#[inline]
pub(crate) fn plain_end(bytes: &[u8], mut at: usize) -> usize {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    while let Some(word) = bytes.get(at..).and_then(<[u8]>::first_chunk) {
        let word = u64::from_le_bytes(*word);
        let is = |byte: u8| {
            let other = word ^ (ONES * u64::from(byte));
            other.wrapping_sub(ONES) & !other
        };
        let is_control = word.wrapping_sub(ONES * 0x20) & !word;
        let stops = (is_control | is(b'"') | is(b'\\')) & (ONES << 7);
        if stops != 0 {
            return at + (stops.trailing_zeros() / 8) as usize;
        }
        at += 8;
    }
    while bytes.get(at).is_some_and(|byte| !STOPS[*byte as usize]) {
        at += 1;
    }
    at
}

/// Whether the bytes between the quotes of a string are its text: it has no escapes and no control characters.
#[inline]
#[must_use]
pub fn is_plain(inner: &[u8]) -> bool {
    plain_end(inner, 0) == inner.len()
}

/// Scans the string whose opening quote is at `at`; answers the byte after its closing quote. UTF-8 is the caller's to check.
///
/// # Errors
/// The string has no end, a wrong escape, a lone surrogate or a control character.
#[inline]
pub fn string(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let mut at = at + 1;
    loop {
        at = plain_end(bytes, at);
        match bytes.get(at) {
            Some(b'"') => return Ok(at + 1),
            Some(b'\\') => at = escape(bytes, at)?.1,
            _ => return Err(JsonError::Malformed(at)),
        }
    }
}

/// Reads one escape from its backslash: the character and the byte after it.
fn escape(bytes: &[u8], at: usize) -> Result<(char, usize), JsonError> {
    let plain = |c| Ok((c, at + 2));
    match bytes.get(at + 1) {
        Some(b'"') => plain('"'),
        Some(b'\\') => plain('\\'),
        Some(b'/') => plain('/'),
        Some(b'b') => plain('\u{8}'),
        Some(b'f') => plain('\u{c}'),
        Some(b'n') => plain('\n'),
        Some(b'r') => plain('\r'),
        Some(b't') => plain('\t'),
        Some(b'u') => {
            let first = hex4(bytes, at + 2)?;
            if let Some(c) = char::from_u32(first) {
                return Ok((c, at + 6));
            }
            if first >= 0xDC00 || bytes.get(at + 6) != Some(&b'\\') || bytes.get(at + 7) != Some(&b'u') {
                return Err(JsonError::LoneSurrogate(at));
            }
            let second = hex4(bytes, at + 8)?;
            if !(0xDC00..0xE000).contains(&second) {
                return Err(JsonError::LoneSurrogate(at));
            }
            let joined = 0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00);
            char::from_u32(joined).map(|c| (c, at + 12)).ok_or(JsonError::LoneSurrogate(at))
        }
        _ => Err(JsonError::Malformed(at)),
    }
}

fn hex4(bytes: &[u8], at: usize) -> Result<u32, JsonError> {
    let digits = bytes.get(at..at + 4).ok_or(JsonError::Malformed(at))?;
    let mut value = 0;
    for digit in digits {
        value = value * 16 + char::from(*digit).to_digit(16).ok_or(JsonError::Malformed(at))?;
    }
    Ok(value)
}

/// Scans a number by the JSON grammar: no leading zeros, no bare point, no `NaN`.
fn number(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let digits = |mut at: usize| {
        let start = at;
        while matches!(bytes.get(at), Some(b'0'..=b'9')) {
            at += 1;
        }
        if at == start { Err(JsonError::Malformed(at)) } else { Ok(at) }
    };
    let mut at = at + usize::from(bytes.get(at) == Some(&b'-'));
    at = if bytes.get(at) == Some(&b'0') { at + 1 } else { digits(at)? };
    if bytes.get(at) == Some(&b'.') {
        at = digits(at + 1)?;
    }
    if let Some(b'e' | b'E') = bytes.get(at) {
        at += 1;
        at += usize::from(matches!(bytes.get(at), Some(b'+' | b'-')));
        at = digits(at)?;
    }
    match bytes.get(at) {
        Some(b'0'..=b'9' | b'.' | b'-' | b'+' | b'a'..=b'z' | b'A'..=b'Z') => Err(JsonError::Malformed(at)),
        _ => Ok(at),
    }
}

fn literal(bytes: &[u8], at: usize) -> Result<usize, JsonError> {
    let rest = bytes.get(at..).unwrap_or_default();
    for word in [&b"true"[..], b"false", b"null"] {
        if rest.starts_with(word) {
            return Ok(at + word.len());
        }
    }
    Err(JsonError::Malformed(at))
}

/// Reads the string that starts at `at` into text. The bytes must have been scanned and be UTF-8.
pub fn text(bytes: &[u8], at: usize) -> Result<(String, usize), JsonError> {
    let plain = |from: usize, at: usize| {
        std::str::from_utf8(&bytes[from..at]).map_err(|error| JsonError::NotUtf8(from + error.valid_up_to()))
    };
    let (text, end) = read_text(bytes, at, plain)?;
    Ok((text.into_owned(), end))
}

/// The same, without a copy where the string has no escapes; `plain` makes text of bytes without any.
fn read_text<'a>(
    bytes: &'a [u8],
    at: usize,
    plain: impl Fn(usize, usize) -> Result<&'a str, JsonError>,
) -> Result<(Cow<'a, str>, usize), JsonError> {
    let mut out = String::new();
    let mut from = at + 1;
    let mut at = from;
    loop {
        at = plain_end(bytes, at);
        let Some(byte) = bytes.get(at) else { return Err(JsonError::Malformed(at)) };
        let plain = plain(from, at)?;
        match byte {
            b'"' => {
                if out.is_empty() {
                    return Ok((Cow::Borrowed(plain), at + 1));
                }
                out.push_str(plain);
                return Ok((Cow::Owned(out), at + 1));
            }
            b'\\' => {
                let (c, next) = escape(bytes, at)?;
                out.push_str(plain);
                out.push(c);
                at = next;
                from = next;
            }
            _ => return Err(JsonError::Malformed(at)),
        }
    }
}

#[cfg(test)]
mod tests;

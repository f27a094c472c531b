//! Whom an event is about, for those who are to be left out or forgotten.
//!
//! Nouns: a **subject** (somebody, by one id: a user, a visitor without a name, a group, or whoever has a trait such as an email address).
//! This room knows where such ids stand in an event, and not who is asked for.

use std::borrow::Cow;
use std::io::{self, Read};

use memchr::memmem::Finder;

use super::value::{JsonObject, Value};
use super::{is_blank, json};

/// By what somebody is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SubjectKind {
    /// `userId`
    User,
    /// `anonymousId`
    Anonymous,
    /// `groupId`
    Group,
    /// A trait with a name.
    Trait,
}

impl SubjectKind {
    pub const ALL: [Self; 4] = [Self::User, Self::Anonymous, Self::Group, Self::Trait];

    /// The word in requests and on disk.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Anonymous => "anonymous",
            Self::Group => "group",
            Self::Trait => "trait",
        }
    }

    /// The kind that a word names.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == word)
    }
}

/// The fields of an event that have ids.
const IDS: [(&str, &[SubjectKind]); 4] = [
    ("userId", &[SubjectKind::User]),
    ("anonymousId", &[SubjectKind::Anonymous]),
    ("groupId", &[SubjectKind::Group]),
    // An alias may be of either.
    ("previousId", &[SubjectKind::User, SubjectKind::Anonymous]),
];
/// Texts of bytes that are no event which are looked at; a longer one is no id.
const TEXT_BYTES_MAX: usize = 1_024;
/// Bytes that are searched at once.
const SEARCHED_BYTES: usize = 1 << 20;

/// A trait as it is compared: without white space around it, in small letters.
#[must_use]
pub fn normalised(text: &str) -> String {
    text.trim().to_lowercase()
}

/// An id as text: a text that is not blank, or a number as it is spelled.
fn id_text(value: &Value) -> Option<&str> {
    match value {
        Value::String(id) if !is_blank(id) => Some(id),
        Value::Number(id) => Some(id.as_str()),
        _ => None,
    }
}

/// Shows `is_asked_for` each id of an event, and each of these traits with its name, until it says yes; whether it did.
pub fn any_subject(
    body: &JsonObject,
    traits: &[String],
    is_asked_for: &mut dyn FnMut(SubjectKind, &str, &str) -> bool,
) -> bool {
    for (field, kinds) in IDS {
        let Some(id) = body.get(field).and_then(id_text) else { continue };
        if kinds.iter().any(|kind| is_asked_for(*kind, "", id)) {
            return true;
        }
    }
    let context = body.get("context").and_then(Value::as_object);
    let group = context.and_then(|context| context.get("groupId")).and_then(id_text);
    if group.is_some_and(|group| is_asked_for(SubjectKind::Group, "", group)) {
        return true;
    }
    let of_context = context.and_then(|context| context.get("traits")).and_then(Value::as_object);
    let of_event = ["traits", "properties"].into_iter().filter_map(|field| body.get(field).and_then(Value::as_object));
    for fields in of_event.chain(of_context) {
        for name in traits {
            let value = fields.get(name.as_str()).and_then(id_text);
            if value.is_some_and(|value| is_asked_for(SubjectKind::Trait, name, value)) {
                return true;
            }
        }
    }
    false
}

/// Shows `is_asked_for` what stands behind the name of each id, and of each of these traits, in bytes that are no event, until it says yes;
/// whether it did. Such bytes are JSON that is broken, or pairs of names and values.
pub fn any_named_text(
    bytes: &[u8],
    traits: &[String],
    is_asked_for: &mut dyn FnMut(SubjectKind, &str, &str) -> bool,
) -> bool {
    for (field, kinds) in IDS {
        let is_one = &mut |text: &str| kinds.iter().any(|kind| is_asked_for(*kind, "", text));
        if any_behind(bytes, field, is_one) {
            return true;
        }
    }
    traits.iter().any(|name| any_behind(bytes, name, &mut |text| is_asked_for(SubjectKind::Trait, name, text)))
}

fn any_behind(bytes: &[u8], name: &str, is_one: &mut dyn FnMut(&str) -> bool) -> bool {
    memchr::memmem::find_iter(bytes, name).any(|at| {
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        let is_within = before.is_some_and(|byte| byte.is_ascii_alphanumeric() || *byte == b'_');
        let behind = bytes.get(at + name.len()..).unwrap_or_default();
        !is_within && value_behind(behind).is_some_and(|value| is_one(&value))
    })
}

/// The value behind `:` or `=`: in quotation marks, or up to where a bare one ends.
fn value_behind(behind: &[u8]) -> Option<Cow<'_, str>> {
    let unquoted = behind.strip_prefix(b"\"").or_else(|| behind.strip_prefix(b"'")).unwrap_or(behind);
    let (sign, value) = unquoted.trim_ascii_start().split_first()?;
    if !matches!(sign, b':' | b'=') {
        return None;
    }
    let value = value.trim_ascii_start();
    let quote = value.first().copied().filter(|byte| matches!(byte, b'"' | b'\''));
    // JSON may spell each byte with six.
    let (text, bytes_max) = match quote {
        Some(_) => (value.get(1..).unwrap_or_default(), 6 * TEXT_BYTES_MAX),
        None => (value, TEXT_BYTES_MAX),
    };
    let is_longer = text.len() > bytes_max;
    let text = text.get(..bytes_max).unwrap_or(text);
    let mut is_escaped = false;
    let end = text.iter().position(|byte| match quote {
        Some(quote) => {
            let is_end = *byte == quote && !is_escaped;
            is_escaped = *byte == b'\\' && !is_escaped;
            is_end
        }
        None => byte.is_ascii_whitespace() || b",;&}])".contains(byte),
    });
    let end = end.or_else(|| (!is_longer).then_some(text.len()))?;
    let text = std::str::from_utf8(text.get(..end)?).ok()?;
    if !text.contains('\\') {
        return Some(Cow::Borrowed(text));
    }
    match json::parse(format!("\"{text}\"").as_bytes(), 1) {
        Ok(Value::String(text)) => Some(Cow::Owned(text.as_str().to_owned())),
        _ => Some(Cow::Borrowed(text)),
    }
}

/// Shows `is_asked_for` each text of bytes that may be no event, until it says yes; whether it did. A text is what stands between two
/// quotation marks, or what has no white space in it.
pub fn any_text(bytes: &[u8], is_asked_for: &mut dyn FnMut(&str) -> bool) -> bool {
    let mut look = |part: &[u8]| {
        let text = Some(part).filter(|part| !part.is_empty() && part.len() <= TEXT_BYTES_MAX);
        text.and_then(|part| std::str::from_utf8(part).ok()).is_some_and(&mut *is_asked_for)
    };
    if bytes.split(|byte| matches!(byte, b'"' | b'\'')).any(&mut look) {
        return true;
    }
    let is_apart = |byte: &u8| byte.is_ascii_whitespace() || b"\"'`,;:=()[]{}<>".contains(byte);
    bytes.split(is_apart).any(|part| look(part) || look(part.strip_suffix(b".").unwrap_or_default()))
}

/// Counts how often any of `texts` stands in what is read, in bounded memory. Texts are looked for as they are and as JSON spells them.
///
/// # Errors
/// It cannot be read.
pub fn count_texts(from: &mut dyn Read, texts: &[String]) -> io::Result<u64> {
    let mut spelled: Vec<Cow<'_, str>> = Vec::new();
    for text in texts.iter().filter(|text| !text.is_empty()) {
        spelled.push(Cow::Borrowed(text.as_str()));
        let json = Value::from(text.as_str()).to_string();
        let inner = json.strip_prefix('"').and_then(|json| json.strip_suffix('"')).unwrap_or_default();
        if inner != text.as_str() && !inner.is_empty() {
            spelled.push(Cow::Owned(inner.to_owned()));
        }
    }
    let longest = spelled.iter().map(|text| text.len()).max().unwrap_or(0);
    if longest == 0 {
        return Ok(0);
    }
    let finders: Vec<Finder<'_>> = spelled.iter().map(|text| Finder::new(text.as_bytes())).collect();
    let (mut buffer, mut kept, mut count) = (vec![0; SEARCHED_BYTES + longest], 0, 0);
    loop {
        let read = match from.read(&mut buffer[kept..]) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            read => read?,
        };
        if read == 0 {
            return Ok(count);
        }
        let end = kept + read;
        for finder in &finders {
            // What ends in what was kept was counted before.
            let length = finder.needle().len();
            count += finder.find_iter(&buffer[..end]).filter(|at| at + length > kept).count() as u64;
        }
        let start = end.saturating_sub(longest - 1);
        buffer.copy_within(start..end, 0);
        kept = end - start;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(body: &str) -> Vec<String> {
        let (body, mut found): (JsonObject, Vec<String>) = (body.parse().unwrap(), Vec::new());
        any_subject(&body, &["email".to_owned()], &mut |kind, name, value| {
            found.push(format!("{} {name} {value}", kind.as_str()));
            false
        });
        found
    }

    #[test]
    fn ids_are_found_where_events_have_them() {
        assert_eq!(found(r#"{"userId":"u","anonymousId":7,"groupId":" "}"#), ["user  u", "anonymous  7"]);
        assert_eq!(found(r#"{"previousId":"p"}"#), ["user  p", "anonymous  p"]);
        assert_eq!(
            found(
                r#"{"traits":{"email":"a"},"context":{"groupId":"g","traits":{"email":"b","x":1}},"properties":{"email":"c"}}"#
            ),
            ["group  g", "trait email a", "trait email c", "trait email b"]
        );
    }

    #[test]
    fn a_text_is_found_in_bytes_that_are_no_event() {
        let has = |bytes: &str, wanted: &str| any_text(bytes.as_bytes(), &mut |text| text == wanted);
        assert!(has(r#"{"userId":"ann b","#, "ann b"));
        assert!(has("the user ann-1 was refused.", "ann-1"));
        assert!(has("refused: ann-1.", "ann-1"));
        assert!(!has("banana", "ana"));
    }

    #[test]
    fn in_bytes_that_are_no_event_an_id_is_what_stands_behind_its_name() {
        let found = |bytes: &str| {
            let mut found: Vec<String> = Vec::new();
            any_named_text(bytes.as_bytes(), &["email".to_owned()], &mut |kind, name, value| {
                found.push(format!("{} {name} {value}", kind.as_str()));
                false
            });
            found
        };
        assert_eq!(
            found(r#"{"userId" : "ann b","properties":{"n":1,"anonymousId":7}"#),
            ["user  ann b", "anonymous  7"]
        );
        assert_eq!(found(r#"{"userId":"a\"b","email":"\u0041@b"#), [r#"user  a"b"#, "trait email A@b"]);
        assert_eq!(found("userId=ann&email=a@b&otherUserId=x&my_email=y"), ["user  ann", "trait email a@b"]);
        for none in [r#"{"n":1,"userId""#, r#"{"userId"}"#, "userId ann", "", "userId:"] {
            assert!(found(none).iter().all(|one| one == "user  "), "{none}");
        }
        assert_eq!(found(&format!("userId={}", "x".repeat(2_000))), [""; 0]);
        assert_eq!(found(&"userId=".repeat(100_000)).len(), 147);
    }

    #[test]
    fn a_text_is_counted_once_wherever_a_read_ends() {
        struct Slow<'a>(&'a [u8], usize);
        impl Read for Slow<'_> {
            fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
                let some = self.1.min(self.0.len()).min(out.len());
                out[..some].copy_from_slice(&self.0[..some]);
                self.0 = &self.0[some..];
                Ok(some)
            }
        }
        let texts = ["marker".to_owned(), "a\"b".to_owned()];
        for step in 1..20 {
            let mut from = Slow(br#"marker, markermarker; a"b and a\"b"#, step);
            assert_eq!(count_texts(&mut from, &texts).unwrap(), 5, "{step}");
        }
    }
}

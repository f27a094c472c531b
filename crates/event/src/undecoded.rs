//! What quarantine keeps of an event that cannot be decoded: its bytes as they came, without the write key, and what
//! stood beside it in its request.

use std::ops::Range;
use std::sync::LazyLock;

use crate::value::{JsonObject, Value};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use regex::bytes::Regex;

use super::decode::DEPTH_MAX;
use super::json;
use super::record::{Record, RecordProblem};

/// Stands where a write key stood.
const REMOVED: &[u8] = b"\"[removed]\"";

/// A member called `writeKey` in bytes that are no JSON: its letters plain or escaped, in whatever quotes, and its
/// value up to the closing quote or, without quotes, to the next delimiter. Bytes without meaning have no top level,
/// so one at any depth counts.
static MEMBER: LazyLock<Option<Regex>> = LazyLock::new(|| {
    let letters: String = "writeKey".chars().map(|c| format!(r"(?:{c}|\\u00(?i:{:02x}))", c as u32)).collect();
    let value = r#"("(?:[^"\\]|\\.)*"?|'(?:[^'\\]|\\.)*'?|[^\s"',}\]]+)"#;
    Regex::new(&format!(r#"(?s-u){letters}["'\\\s]*[:=][\\\s]*{value}"#)).ok()
});

/// Where the values of `writeKey` lie: at the top level of a JSON object, anywhere in other bytes.
#[must_use]
pub fn write_keys(bytes: &[u8]) -> Vec<Range<usize>> {
    if let Some(spans) = members(bytes) {
        return spans;
    }
    let Some(member) = &*MEMBER else { return Vec::new() };
    member.captures_iter(bytes).filter_map(|found| found.get(1)).map(|value| value.range()).collect()
}

/// The same of bytes that are one JSON object; `None` when they are not.
fn members(bytes: &[u8]) -> Option<Vec<Range<usize>>> {
    let mut at = json::space(bytes, 0);
    let whole = json::scan(bytes, at).ok()?;
    if bytes.get(at) != Some(&b'{') || json::space(bytes, whole.end) != bytes.len() {
        return None;
    }
    let mut spans = Vec::new();
    loop {
        at = json::space(bytes, at + 1);
        if bytes.get(at) == Some(&b'}') {
            return Some(spans);
        }
        let key_end = json::skip_string(bytes, at)?;
        let value = json::space(bytes, json::space(bytes, key_end) + 1);
        let end = json::scan(bytes, value).ok()?.end;
        if json::key_text(&bytes[at..key_end]).is_some_and(|key| key == "writeKey") {
            spans.push(value..end);
        }
        at = json::space(bytes, end);
        if bytes.get(at) != Some(&b',') {
            return Some(spans);
        }
    }
}

/// The bytes with every value of `writeKey` replaced.
#[must_use]
pub fn without_write_key(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len());
    let mut from = 0;
    for span in write_keys(bytes) {
        out.extend_from_slice(&bytes[from..span.start]);
        out.extend_from_slice(REMOVED);
        from = span.end;
    }
    out.extend_from_slice(&bytes[from..]);
    out
}

/// The bytes of an event that cannot be decoded: without the write key, unless they are a message of somebody who knows of none.
#[must_use]
pub fn kept(record: &Record<'_>) -> Vec<u8> {
    match record.problem {
        Some(RecordProblem::Unmappable) => record.event.to_vec(),
        _ => without_write_key(record.event),
    }
}

/// By what it is told from others: the bytes themselves, so that a retry of them is the same event. A message has a position for that.
#[must_use]
pub fn identity(record: &Record<'_>) -> Vec<u8> {
    match record.problem {
        Some(RecordProblem::Unmappable) if !record.message_id.is_empty() => {
            [b"\0message", record.message_id.as_bytes()].concat()
        }
        _ => [b"\0raw", record.event].concat(),
    }
}

/// What the request said beside the event, as JSON text: `context`, `integrations`, `sentAt`; or all of it under
/// `shared`, when that is what is wrong. `None` when there was nothing.
#[must_use]
pub fn beside(record: &Record<'_>) -> Option<String> {
    let mut beside = JsonObject::new();
    let mut add = |name: &str, value: Value| {
        beside.insert(name.to_owned(), value);
    };
    if record.problem.is_some_and(RecordProblem::is_shared) {
        add("shared", exact(record.context));
    } else {
        for (name, text) in [("context", record.context), ("integrations", record.integrations)] {
            if !text.is_empty() {
                add(name, exact(text));
            }
        }
        if !record.sent_at.is_empty() {
            add("sentAt", record.sent_at.into());
        }
    }
    (!beside.is_empty()).then(|| Value::Object(beside).to_string())
}

/// A value when the bytes are one, else their text, else their Base64: nothing is altered.
fn exact(bytes: &[u8]) -> Value {
    match (json::parse(bytes, DEPTH_MAX), std::str::from_utf8(bytes)) {
        (Ok(value), _) => value,
        (Err(_), Ok(text)) => text.into(),
        (Err(_), Err(_)) => Value::Object([("base64", STANDARD.encode(bytes).into())].into_iter().collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, decode};

    #[test]
    fn a_write_key_is_cut_out_of_whatever_bytes() {
        let cut = |text: &str| String::from_utf8(without_write_key(text.as_bytes())).unwrap();
        assert_eq!(cut(r#"{"a":1,"writeKey":"secret","b":2}"#), r#"{"a":1,"writeKey":"[removed]","b":2}"#);
        assert_eq!(cut(r#"{"writ\u0065Key" : 5}"#), r#"{"writ\u0065Key" : "[removed]"}"#);
        // What the user calls so is the user's.
        assert_eq!(cut(r#"{"properties":{"writeKey":"mine"}}"#), r#"{"properties":{"writeKey":"mine"}}"#);
        for bad in [
            r#"{"a":tru,"writeKey":"secret"}"#,
            r#"{"writeKey":"secret","a":"\ud800"}"#,
            r#"{"write\u004bey" :"sec\"secret","a":tru}"#,
            "{'writeKey':'secret'}",
            "{writeKey: secret, a: 1}",
            r#"{"writeKey":"a"} {"writeKey":"secret"}"#,
            r#"{"writeKey":"secret"#,
            r#""{\"writeKey\": \"secret\"}"#,
        ] {
            assert!(!cut(bad).contains("secret"), "{bad}: {}", cut(bad));
        }
        assert_eq!(without_write_key(b"\xff{\"writeKey\":\"\xfe\"}"), b"\xff{\"writeKey\":\"[removed]\"}");
        assert_eq!(cut("[1]"), "[1]");
    }

    #[test]
    fn a_message_stays_as_it_came_and_is_told_from_others_by_its_position() {
        let event = br#"{"writeKey":"theirs"}"#;
        let record = |problem, message_id| Record {
            problem: Some(problem),
            route: None,
            received_at_us: 0,
            source: "hooks",
            ip: "",
            message_id,
            sent_at: "",
            context: br#"{"webhook":{"reason":"it is blue"}}"#,
            integrations: b"",
            event,
        };
        let message = record(RecordProblem::Unmappable, "d-1");
        assert_eq!(kept(&message), event);
        assert_eq!(identity(&message), b"\0messaged-1");
        assert_eq!(beside(&message).as_deref(), Some(r#"{"context":{"webhook":{"reason":"it is blue"}}}"#));
        let why = |record: &Record<'_>| {
            decode::decode(record, "hooks".into(), Position::new(0, 0)).map(drop).unwrap_err().message
        };
        assert_eq!(why(&message), "the message cannot be mapped to an event: it is blue");
        assert_eq!(why(&Record { context: b"", ..message }), "the message cannot be mapped to an event");
        assert_eq!(why(&record(RecordProblem::Malformed, "made")), "the event is not valid JSON");
        let nameless = record(RecordProblem::Unmappable, "");
        assert_eq!(identity(&nameless), [b"\0raw", &event[..]].concat());
        let other = record(RecordProblem::Malformed, "made");
        assert_eq!(kept(&other), br#"{"writeKey":"[removed]"}"#);
        assert_eq!(identity(&other), identity(&nameless));
    }
}

//! The pixel: an event in a query string, for places where no script runs.
//!
//! Each parameter is a field, dots lead inwards (`properties.plan=pro`), values are text. A query that cannot be read
//! so, each parameter in its place, is an event all the same: quarantined as it came under the code that a JSON body
//! would have.

use serde_json::{Map, Value};
use tidegate_event::EventKind;
use tidegate_event::record::RecordProblem;

use super::answer::HttpAnswer;
use super::scan::{self, RequestScan};
use super::{RequestLimits, key};

/// The event's bytes and what a walk over them found.
pub(super) fn scan(query: &str, kind: EventKind, limits: &RequestLimits) -> Result<(Vec<u8>, RequestScan), HttpAnswer> {
    match event(query, limits) {
        Ok(text) => {
            let scan = scan::scan(text.as_bytes(), Some(kind), limits)?;
            Ok((text.into_bytes(), scan))
        }
        Err(problem) => {
            let kept: Vec<&str> = query.split('&').filter(|pair| !key::is_write_key(parameter(pair).0)).collect();
            let bytes = kept.join("&").into_bytes();
            let scan = RequestScan::of_malformed(bytes.len(), problem);
            Ok((bytes, scan))
        }
    }
}

/// A parameter's name and value, still encoded.
fn parameter(pair: &str) -> (&str, &str) {
    pair.split_once('=').unwrap_or((pair, ""))
}

/// The event as JSON text.
fn event(query: &str, limits: &RequestLimits) -> Result<String, RecordProblem> {
    let mut event = Map::new();
    let mut keys = 0;
    let mut write_keys = 0;
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let (name, value) = parameter(pair);
        if key::is_write_key(name) {
            write_keys += 1;
            continue;
        }
        let (name, value) = (decode(name)?, decode(value)?);
        let steps = name.matches('.').count() + 1;
        // Each step is an object, and the event itself is one.
        if steps > limits.event_depth_max {
            return Err(RecordProblem::TooDeep);
        }
        put(&mut event, &name, value, &mut keys)?;
        if keys > limits.event_keys_max {
            return Err(RecordProblem::TooManyKeys);
        }
    }
    if write_keys > 1 {
        return Err(RecordProblem::DuplicateKey);
    }
    Ok(Value::Object(event).to_string())
}

/// Sets the field that `path` leads to; `keys` counts the new ones. A field that is set already, or stands in the way,
/// is named twice.
fn put(object: &mut Map<String, Value>, path: &str, value: String, keys: &mut usize) -> Result<(), RecordProblem> {
    let (mut object, mut path) = (object, path);
    while let Some((step, rest)) = path.split_once('.') {
        let inner = object.entry(step).or_insert_with(|| {
            *keys += 1;
            Value::Object(Map::new())
        });
        let Value::Object(inner) = inner else { return Err(RecordProblem::DuplicateKey) };
        (object, path) = (inner, rest);
    }
    *keys += 1;
    match object.insert(path.to_owned(), Value::String(value)) {
        None => Ok(()),
        Some(_) => Err(RecordProblem::DuplicateKey),
    }
}

/// Text without its percent encoding; nothing is replaced.
fn decode(text: &str) -> Result<String, RecordProblem> {
    let bytes = text.as_bytes();
    for (at, _) in bytes.iter().enumerate().filter(|(_, byte)| **byte == b'%') {
        if !bytes.get(at + 1..at + 3).is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit)) {
            return Err(RecordProblem::Malformed);
        }
    }
    let spaced = text.replace('+', " ");
    let decoded: Vec<u8> = percent_encoding::percent_decode_str(&spaced).collect();
    String::from_utf8(decoded).map_err(|_| RecordProblem::NotUtf8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_lead_inwards_and_nothing_is_lost() {
        let limits = RequestLimits { event_depth_max: 3, event_keys_max: 6, ..RequestLimits::default() };
        let event = |query: &str| super::event(query, &limits);
        assert_eq!(
            event("writeKey=k&event=Email+Opened&properties.plan=a%26b&properties.n=2&flag&=e"),
            Ok(r#"{"":"e","event":"Email Opened","flag":"","properties":{"n":"2","plan":"a&b"}}"#.to_owned())
        );
        for (query, problem) in [
            ("a=%E9", RecordProblem::NotUtf8),
            ("%ED%A0%80=1", RecordProblem::NotUtf8),
            ("a=%E", RecordProblem::Malformed),
            ("a=%zz", RecordProblem::Malformed),
            ("a=1&a=2", RecordProblem::DuplicateKey),
            ("a=1&%61=1", RecordProblem::DuplicateKey),
            ("a=1&a.b=2", RecordProblem::DuplicateKey),
            ("a.b=1&a=2", RecordProblem::DuplicateKey),
            ("writeKey=k&write%4Bey=l", RecordProblem::DuplicateKey),
            ("a.b.c.d=1", RecordProblem::TooDeep),
            ("a=1&b=1&c=1&d=1&e=1&f=1&g=1", RecordProblem::TooManyKeys),
        ] {
            assert_eq!(event(query), Err(problem), "{query}");
        }
        let (bytes, scan) =
            super::scan("a=%E9&writeKey=secret&write%4bey=secret&b", EventKind::Track, &limits).unwrap();
        assert_eq!(bytes, b"a=%E9&b");
        assert_eq!(scan.events[0].problem, Some(RecordProblem::NotUtf8));
    }
}

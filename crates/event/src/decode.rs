//! From a record of the log to an [`Event`]: one parse, the dialects' differences ironed out, nothing guessed.
//!
//! What is added: `messageId` (when the client sent none: the one that the door made), `receivedAt`, `timestamp`
//! corrected for the client's clock, `originalTimestamp` and `sentAt` where the client gave them in other places,
//! `context.ip` when absent, the request's default `context` (merged deeply) and `integrations`, `type` when the route
//! named it, the `traits` of an identify that has them in `context.traits` alone, `context.timestampReadAs` and
//! `context.sentAtReadAs` when a time of the client is not spelled as RFC 3339 asks (see [`ReadAs`]).
//! What is changed: `[]` where an object is meant, PHP's spelling of an empty one, is `{}`. A `context` that is no object stands in one under
//! `body` where there is a default one: what that says, such as where a message is from, has no other place.
//! What is taken away: `writeKey`. Everything else stays as it came.

use std::sync::Arc;

use crate::value::{JsonObject, Value};

use super::json::{self, JsonError};
use super::record::{Record, RecordProblem};
use super::time::ReadAs;
use super::{Event, EventId, EventKind, Position, time};

/// Why an accepted event cannot be delivered as it is; it goes to quarantine under `code`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DecodeRefusal {
    /// Stable, for machines.
    pub code: &'static str,
    /// One sentence, for people.
    pub message: String,
}

impl DecodeRefusal {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }
}

impl From<JsonError> for DecodeRefusal {
    fn from(error: JsonError) -> Self {
        let code = match error {
            JsonError::Malformed(_) => RecordProblem::Malformed.code(),
            JsonError::NotUtf8(_) => RecordProblem::NotUtf8.code(),
            JsonError::LoneSurrogate(_) => RecordProblem::LoneSurrogate.code(),
            JsonError::TooDeep(_) => RecordProblem::TooDeep.code(),
            JsonError::DuplicateKey(_) => "duplicate-key",
        };
        let message = match error {
            JsonError::DuplicateKey(_) => format!("the event has {error}"),
            _ => format!("the event is {error}"),
        };
        Self::new(code, message)
    }
}

/// Deeper than any configured limit: the door has counted already, this bounds the parser's stack whatever happens.
pub const DEPTH_MAX: usize = 256;
/// Of a messageId. PostgreSQL's index takes 2,704 bytes; what functions make of an event has this id and a number.
const MESSAGE_ID_BYTES_MAX: usize = 1_024;

/// Decodes one record.
pub fn decode(record: &Record<'_>, source: Arc<str>, position: Position) -> Result<Event, DecodeRefusal> {
    if let Some(problem) = record.problem {
        let what = problem.message();
        let why = if problem == RecordProblem::Unmappable { unmappable(record.context) } else { None };
        let message = why.map_or_else(|| what.to_owned(), |why| format!("{what}: {why}"));
        return Err(DecodeRefusal::new(problem.code(), message));
    }
    let Value::Object(mut body) = json::parse(record.event, DEPTH_MAX)? else {
        return Err(DecodeRefusal::new(RecordProblem::NotAnObject.code(), RecordProblem::NotAnObject.message()));
    };
    body.remove("writeKey");
    let kind = kind(&mut body, record.route)?;
    name(&body, kind)?;
    message_id(&mut body, record.message_id)?;
    empty_objects(&mut body);
    defaults(&mut body, "context", record.context)?;
    defaults(&mut body, "integrations", record.integrations)?;
    if !record.ip.is_empty() {
        let context = body.entry("context").or_insert_with(|| Value::Object(JsonObject::new()));
        if let Value::Object(context) = context {
            context.entry("ip").or_insert_with(|| record.ip.into());
        }
    }
    traits(&mut body, kind);
    timestamps(&mut body, record);
    Ok(Event { source, id: EventId::new(position, 0), kind, received_at_us: record.received_at_us, body })
}

/// Why a message cannot be mapped to an event, which stands in its context beside where it is from.
fn unmappable(context: &[u8]) -> Option<String> {
    let Value::Object(context) = json::parse(context, DEPTH_MAX).ok()? else { return None };
    context.values().next()?.get("reason").and_then(Value::as_str).map(str::to_owned)
}

/// An event that a function returned: it must still be one. Fields of the original that the function may not
/// take away (`messageId`, `receivedAt`, `timestamp`) are restored when absent. `part` tells fan-out apart: an
/// event that keeps its parent's `messageId` gets `#part` behind it, so that no two events share one.
pub fn revised(json_text: &str, parent: &Event, part: u32) -> Result<Event, DecodeRefusal> {
    let Value::Object(mut body) = json::parse(json_text.as_bytes(), DEPTH_MAX).map_err(returned(json_text))? else {
        return Err(DecodeRefusal::new("invalid-output", "the function returned something other than a JSON object"));
    };
    for field in KEPT {
        if !body.contains_key(field)
            && let Some(value) = parent.body.get(field)
        {
            body.insert(field, value.clone());
        }
    }
    checked(body, parent, part)
}

/// Why what a function returned is no event; `NaN` and `Infinity` are what most often makes it so.
fn returned(json_text: &str) -> impl FnOnce(JsonError) -> DecodeRefusal {
    move |error| {
        let DecodeRefusal { code, .. } = error.into();
        let said = match error {
            JsonError::Malformed(at) => {
                let there: String = json_text.get(at..).unwrap_or_default().chars().take(8).collect();
                format!("the function returned an event that is not JSON at byte {at}, where it says {there:?}")
            }
            error => format!("the function returned an event that is {error}"),
        };
        DecodeRefusal::new(code, said)
    }
}

/// Fields that an event is known by: a function may give them other values but not take them away.
pub const KEPT: [&str; 3] = ["messageId", "receivedAt", "timestamp"];

/// An event whose body a function edited where it is: it must still be one. `parent` is the event without its body.
///
/// # Errors
/// What it is now cannot be delivered; the body comes back for the quarantine.
pub fn edited(body: JsonObject, parent: &Event) -> Result<Event, (DecodeRefusal, JsonObject)> {
    let (kind, message_id) = (body.get("type").and_then(Value::as_str), body.get("messageId").and_then(Value::as_str));
    let fits = match kind.and_then(EventKind::parse) {
        None => Err(DecodeRefusal::new("unknown-type", "the function left a type that is none of the six kinds")),
        Some(kind) => name(&body, kind).map(|()| kind),
    };
    let fits = fits.and_then(|kind| match message_id {
        Some(id) if !id.is_empty() => is_key(id).and_then(|()| instants(&body)).map(|()| kind),
        _ => Err(DecodeRefusal::new("invalid-message-id", "the function left no messageId")),
    });
    match fits {
        Ok(kind) => Ok(Event { kind, body, source: Arc::clone(&parent.source), ..*parent }),
        Err(refusal) => Err((refusal, body)),
    }
}

fn instants(body: &JsonObject) -> Result<(), DecodeRefusal> {
    for field in ["receivedAt", "timestamp"] {
        if body.get(field).and_then(Value::as_str).and_then(time::parse).is_none() {
            return Err(DecodeRefusal::new(
                "invalid-output",
                format!("the function returned a {field} that is no instant"),
            ));
        }
    }
    Ok(())
}

fn checked(mut body: JsonObject, parent: &Event, part: u32) -> Result<Event, DecodeRefusal> {
    let kind = kind(&mut body, Some(parent.kind))?;
    name(&body, kind)?;
    message_id(&mut body, parent.message_id())?;
    if part > 0 && body.get("messageId").and_then(Value::as_str) == Some(parent.message_id()) {
        body.insert("messageId", format!("{}#{part}", parent.message_id()).into());
    }
    instants(&body)?;
    Ok(Event {
        source: Arc::clone(&parent.source),
        id: EventId::new(parent.id.position, part),
        kind,
        received_at_us: parent.received_at_us,
        body,
    })
}

fn kind(body: &mut JsonObject, route: Option<EventKind>) -> Result<EventKind, DecodeRefusal> {
    match (body.get("type"), route) {
        (Some(Value::String(word)), _) => EventKind::parse(word).ok_or_else(|| {
            DecodeRefusal::new("unknown-type", format!("the type {:?} is none of the six kinds", clip(word)))
        }),
        (None | Some(Value::Null), Some(kind)) => {
            body.insert("type", kind.as_str().into());
            Ok(kind)
        }
        (None | Some(Value::Null), None) => Err(DecodeRefusal::new("missing-type", "the event has no type")),
        (Some(_), _) => Err(DecodeRefusal::new("unknown-type", "the type is not a string")),
    }
}

fn name(body: &JsonObject, kind: EventKind) -> Result<(), DecodeRefusal> {
    if kind != EventKind::Track {
        return Ok(());
    }
    match body.get("event") {
        Some(Value::String(name)) if !name.is_empty() => Ok(()),
        Some(Value::String(_)) | None | Some(Value::Null) => {
            Err(DecodeRefusal::new("missing-event-name", "a track event needs a name in `event`"))
        }
        Some(_) => Err(DecodeRefusal::new("missing-event-name", "the name in `event` is not a string")),
    }
}

/// What every warehouse can have as the key of a row.
fn is_key(id: &str) -> Result<(), DecodeRefusal> {
    let refused = |message: String| Err(DecodeRefusal::new("invalid-message-id", message));
    if id.contains('\0') {
        return refused("the messageId has the character U+0000".to_owned());
    }
    if id.len() > MESSAGE_ID_BYTES_MAX {
        return refused(format!("the messageId has {} bytes, and may have {MESSAGE_ID_BYTES_MAX}", id.len()));
    }
    Ok(())
}

/// Leaves a non-empty string as it is, spells a number, and fills a gap with the door's id.
fn message_id(body: &mut JsonObject, fallback: &str) -> Result<(), DecodeRefusal> {
    let id = match body.get("messageId") {
        Some(Value::String(id)) if !id.is_empty() => return is_key(id),
        Some(Value::Number(number)) => number.to_string(),
        None | Some(Value::Null | Value::String(_)) if !fallback.is_empty() => fallback.to_owned(),
        _ => return Err(DecodeRefusal::new("invalid-message-id", "the messageId is neither a string nor a number")),
    };
    is_key(&id)?;
    body.insert("messageId", id.into());
    Ok(())
}

/// The request's defaults fill what the event does not say, key by key.
fn defaults(body: &mut JsonObject, field: &str, text: &[u8]) -> Result<(), DecodeRefusal> {
    if text.is_empty() {
        return Ok(());
    }
    let parsed = json::parse(text, DEPTH_MAX).map_err(|error| {
        let DecodeRefusal { code, .. } = error.into();
        DecodeRefusal::new(code, format!("the request's `{field}` is {error}"))
    })?;
    let Value::Object(defaults) = parsed else { return Ok(()) };
    if defaults.is_empty() {
        return Ok(());
    }
    match body.get_mut(field) {
        Some(Value::Object(own)) => fill(own, defaults),
        None | Some(Value::Null) => {
            body.insert(field, Value::Object(defaults));
        }
        Some(own) if field == "context" => {
            let mut context: JsonObject = [("body", std::mem::replace(own, Value::Null))].into_iter().collect();
            fill(&mut context, defaults);
            *own = Value::Object(context);
        }
        Some(_) => {}
    }
    Ok(())
}

/// An event's own values win, at every depth; the parser has bounded it. A list is one value.
fn fill(own: &mut JsonObject, defaults: JsonObject) {
    for (key, default) in defaults {
        match (own.get_mut(&key), default) {
            (Some(Value::Object(own)), Value::Object(defaults)) => fill(own, defaults),
            // PHP's spelling of an empty object, again.
            (Some(own @ Value::Array(_)), Value::Object(defaults)) if is_empty_list(own) => {
                *own = Value::Object(defaults)
            }
            (Some(_), _) => {}
            (None, default) => _ = own.insert(key, default),
        }
    }
}

/// Where Segment's specification has an object, PHP's `json_encode` writes an empty one as `[]`.
fn empty_objects(body: &mut JsonObject) {
    let mend = |value: &mut Value| {
        if is_empty_list(value) {
            *value = Value::Object(JsonObject::new());
        }
    };
    for field in ["context", "properties", "traits", "integrations"] {
        body.get_mut(field).map(mend);
    }
    body.get_mut("context").and_then(|context| context.get_mut("traits")).map(mend);
}

fn is_empty_list(value: &Value) -> bool {
    value.as_array().is_some_and(<[Value]>::is_empty)
}

/// RudderStack's SDKs put the traits of an identify into `context.traits` alone; they are its traits all the same.
fn traits(body: &mut JsonObject, kind: EventKind) {
    if kind != EventKind::Identify || matches!(body.get("traits"), Some(Value::Object(traits)) if !traits.is_empty()) {
        return;
    }
    if let Some(Value::Object(traits)) = body.get("context").and_then(|context| context.get("traits")).cloned() {
        body.insert("traits", Value::Object(traits));
    }
}

/// A time that the client gave.
#[derive(Clone, Copy)]
struct TimeRead {
    /// Microseconds since the epoch; `None` when it cannot be read.
    instant_us: Option<i64>,
    read_as: ReadAs,
}

/// The time in a top-level field; `None` when there is none.
fn read(body: &JsonObject, field: &str) -> Option<TimeRead> {
    let value = body.get(field).filter(|value| !value.is_null())?;
    Some(match time::read(value) {
        Some((at, read_as)) => TimeRead { instant_us: Some(at), read_as },
        None => TimeRead { instant_us: None, read_as: ReadAs::Unreadable },
    })
}

fn timestamps(body: &mut JsonObject, record: &Record<'_>) {
    if !record.sent_at.is_empty() && matches!(body.get("sentAt"), None | Some(Value::Null)) {
        body.insert("sentAt", record.sent_at.into());
    }
    // SDKs call the client's clock `timestamp`, the HTTP interface calls it `originalTimestamp`.
    if let Some(client) = body.remove("timestamp").filter(|value| !value.is_null()) {
        match body.get("originalTimestamp") {
            None | Some(Value::Null) => {
                body.insert("originalTimestamp", client);
            }
            // The place is needed for the corrected instant; what the client said there is still kept.
            Some(original) if *original != client => {
                body.insert("clientTimestamp", client);
            }
            Some(_) => {}
        }
    }
    let original = read(body, "originalTimestamp");
    let sent = read(body, "sentAt");
    let instant = |read: Option<TimeRead>| read.and_then(|read| read.instant_us);
    let happened = time::corrected(record.received_at_us, instant(sent), instant(original));
    for (field, read) in [(time::TIMESTAMP_READ_AS, original), (time::SENT_AT_READ_AS, sent)] {
        if let Some(word) = read.and_then(|read| read.read_as.as_str())
            && let Value::Object(context) = body.entry("context").or_insert_with(|| Value::Object(JsonObject::new()))
        {
            context.insert(field, word.into());
        }
    }
    body.insert("timestamp", time::format(happened).into());
    body.insert("receivedAt", time::format(record.received_at_us).into());
}

/// Text from outside, short enough for a message.
fn clip(text: &str) -> &str {
    let mut end = text.len().min(80);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    const RECEIVED: i64 = 1_700_000_000_000_000;

    fn record(event: &[u8]) -> Record<'_> {
        Record {
            problem: None,
            route: None,
            received_at_us: RECEIVED,
            source: "web",
            ip: "10.0.0.1",
            message_id: "made",
            sent_at: "",
            context: b"",
            integrations: b"",
            event,
        }
    }

    fn body(record: &Record<'_>) -> Value {
        Value::Object(decode(record, "web".into(), Position::new(0, 7)).unwrap().body)
    }

    fn refused(event: &str) -> &'static str {
        let mut record = record(event.as_bytes());
        record.message_id = "";
        decode(&record, "web".into(), Position::new(0, 7)).unwrap_err().code
    }

    #[test]
    fn a_bare_event_is_completed() {
        let mut record = record(br#"{"writeKey":"k","userId":"u","x":1.10}"#);
        record.route = Some(EventKind::Identify);
        record.sent_at = "2023-11-14T22:13:30Z";
        record.context = br#"{"library":{"name":"l"},"ip":"1.2.3.4"}"#;
        let got = body(&record);
        let want = r#"{"context":{"ip":"1.2.3.4","library":{"name":"l"}},"messageId":"made","receivedAt":"2023-11-14T22:13:20.000000Z","sentAt":"2023-11-14T22:13:30Z","timestamp":"2023-11-14T22:13:20.000000Z","type":"identify","userId":"u","x":1.10}"#;
        assert_eq!(got.to_string(), want);
    }

    #[test]
    fn the_client_clock_is_corrected_and_both_originals_kept() {
        let got = body(&record(
            br#"{"type":"page","messageId":"m","timestamp":"2030-01-01T00:00:00.000Z","sentAt":"2030-01-01T00:00:05.000Z"}"#,
        ));
        assert_eq!(got["originalTimestamp"], "2030-01-01T00:00:00.000Z");
        assert_eq!(got["sentAt"], "2030-01-01T00:00:05.000Z");
        assert_eq!(got["timestamp"], time::format(RECEIVED - 5_000_000));
        assert_eq!(got["context"]["ip"], "10.0.0.1");
        assert_eq!(got["messageId"], "m");
        let numeric = body(&record(br#"{"type":"page","messageId":12345678901234567890123}"#));
        assert_eq!(numeric["messageId"], "12345678901234567890123");
    }

    #[test]
    fn a_time_that_rfc_3339_does_not_know_is_read_and_the_event_says_so() {
        for (original, sent, happened, read_as) in [
            (r#""2023-11-14T22:13:10Z""#, r#""2023-11-14T22:13:20Z""#, RECEIVED - 10_000_000, Value::Null),
            (r#""2023-11-14T22:13:10.5""#, r#""2023-11-14T22:13:20""#, RECEIVED - 9_500_000, "utc".into()),
            ("1699999990", "1700000000", RECEIVED - 10_000_000, "epoch-seconds".into()),
            ("1699999990123", "null", RECEIVED - 9_877_000, "epoch-milliseconds".into()),
            (r#""yesterday""#, "null", RECEIVED, "unreadable".into()),
            ("null", "null", RECEIVED, Value::Null),
        ] {
            let event = format!(r#"{{"type":"page","timestamp":{original},"sentAt":{sent}}}"#);
            let got = body(&record(event.as_bytes()));
            assert_eq!(got["timestamp"], time::format(happened), "{original}");
            assert_eq!(got["context"].get("timestampReadAs").unwrap_or(&Value::Null), &read_as, "{original}");
            assert_eq!(got["originalTimestamp"].to_string(), original, "what came is kept");
        }
    }

    #[test]
    fn a_sent_at_that_cannot_be_read_corrects_nothing_and_the_event_says_so() {
        let said = r#""2023-11-14T22:13:10Z""#;
        let original = RECEIVED - 10_000_000;
        for (sent, happened, read_as) in [
            (r#""2023-11-14T22:13:30Z""#, original - 10_000_000, Value::Null),
            ("1700000010", original - 10_000_000, "epoch-seconds".into()),
            (r#""soon""#, original, "unreadable".into()),
            ("{}", original, "unreadable".into()),
            ("null", original, Value::Null),
        ] {
            let got = body(&record(format!(r#"{{"type":"page","timestamp":{said},"sentAt":{sent}}}"#).as_bytes()));
            assert_eq!(got["timestamp"], time::format(happened), "{sent}");
            assert_eq!(got["context"].get("sentAtReadAs").unwrap_or(&Value::Null), &read_as, "{sent}");
            assert_eq!(got["sentAt"].to_string(), sent, "what came is kept");
        }
    }

    #[test]
    fn what_a_client_says_in_the_place_of_the_corrected_time_is_kept() {
        for (original, client, kept) in [
            (r#""2023-11-14T22:13:10Z""#, r#""2023-11-14T22:13:11Z""#, Some("2023-11-14T22:13:11Z")),
            (r#""2023-11-14T22:13:10Z""#, r#""2023-11-14T22:13:10Z""#, None),
            ("null", r#""2023-11-14T22:13:11Z""#, None),
        ] {
            let event = format!(r#"{{"type":"page","originalTimestamp":{original},"timestamp":{client}}}"#);
            let got = body(&record(event.as_bytes()));
            assert_eq!(got.get("clientTimestamp").and_then(Value::as_str), kept, "{original}");
        }
    }

    #[test]
    fn a_requests_context_is_merged_deeply_and_phps_empty_lists_are_objects() {
        let mut record = record(
            br#"{"type":"track","event":"E","context":{"app":{"name":"mine","ids":[1]},"os":[],"page":7},"properties":[],"integrations":[]}"#,
        );
        record.context =
            br#"{"app":{"name":"theirs","version":"2","ids":[2,3]},"page":{"path":"/"},"os":{"name":"x"}}"#;
        let got = body(&record);
        let want = r#"{"app":{"ids":[1],"name":"mine","version":"2"},"ip":"10.0.0.1","os":{"name":"x"},"page":7}"#;
        assert_eq!(got["context"].to_string(), want);
        assert_eq!(
            (got["properties"].to_string(), got["integrations"].to_string()),
            ("{}".to_owned(), "{}".to_owned())
        );
        let empty = body(&self::record(br#"{"type":"identify","traits":[],"context":[]}"#));
        assert_eq!(
            (&empty["traits"], empty["context"].to_string()),
            (&crate::json!({}), r#"{"ip":"10.0.0.1"}"#.to_owned())
        );
    }

    #[test]
    fn a_context_that_is_no_object_takes_no_room_from_where_an_event_is_from() {
        for kind in ["webhook", "kafka", "pubsub", "kinesis"] {
            let from = format!(r#"{{"{kind}":{{"offset":7}}}}"#);
            for own in ["\"mine\"", "[1]", "7", "true"] {
                let event = format!(r#"{{"type":"page","context":{own}}}"#);
                let got = body(&Record { context: from.as_bytes(), ..record(event.as_bytes()) });
                let want = format!(r#"{{"body":{own},"ip":"10.0.0.1","{kind}":{{"offset":7}}}}"#);
                assert_eq!(got["context"], want.parse::<Value>().unwrap());
            }
        }
        let alone = body(&record(br#"{"type":"page","context":"mine"}"#));
        assert_eq!(alone["context"], "mine");
    }

    #[test]
    fn what_cannot_be_an_event_is_refused_by_code() {
        assert_eq!(refused("[1]"), "not-an-object");
        assert_eq!(refused("{"), "malformed-json");
        assert_eq!(refused(r#"{"type":"track","event":"a","event":"b"}"#), "duplicate-key");
        assert_eq!(refused(r#"{"type":"order"}"#), "unknown-type");
        assert_eq!(refused(r#"{"type":7}"#), "unknown-type");
        assert_eq!(refused("{}"), "missing-type");
        assert_eq!(refused(r#"{"type":"track"}"#), "missing-event-name");
        assert_eq!(refused(r#"{"type":"track","event":{}}"#), "missing-event-name");
        assert_eq!(refused(r#"{"type":"page","messageId":{}}"#), "invalid-message-id");
        assert_eq!(refused(r#"{"type":"page","messageId":"a\u0000b"}"#), "invalid-message-id");
        let of_length = |length| format!(r#"{{"type":"page","messageId":"{}"}}"#, "m".repeat(length));
        assert_eq!(refused(&of_length(MESSAGE_ID_BYTES_MAX + 1)), "invalid-message-id");
        let longest = of_length(MESSAGE_ID_BYTES_MAX);
        assert!(decode(&record(longest.as_bytes()), "web".into(), Position::new(0, 7)).is_ok());
    }

    #[test]
    fn a_function_cannot_take_identity_away() {
        let parent = decode(&record(br#"{"type":"page","messageId":"m"}"#), "web".into(), Position::new(0, 7)).unwrap();
        let child = revised(r#"{"type":"track","event":"x"}"#, &parent, 2).unwrap();
        assert_eq!((child.message_id(), child.kind, child.id.part), ("m#2", EventKind::Track, 2));
        assert_eq!(revised(r#"{"messageId":"n"}"#, &parent, 1).unwrap().message_id(), "n");
        assert_eq!(revised("[]", &parent, 0).unwrap_err().code, "invalid-output");
        assert_eq!(revised(r#"{"timestamp":5}"#, &parent, 0).unwrap_err().code, "invalid-output");
    }
}

//! The walk itself: strict where a value keeps to the grammar, by strings, brackets and commas where it does not.

use std::borrow::Cow;
use std::ops::Range;

use tidegate_event::json::{self, JsonError};
use tidegate_event::record::RecordProblem;

use super::{FoundEvent, IdSpan, RequestScan};
use crate::http::RequestLimits;
use crate::http::answer::HttpAnswer;

pub(super) enum WalkStop {
    JsonError(JsonError),
    Answer(HttpAnswer),
}

impl From<JsonError> for WalkStop {
    fn from(error: JsonError) -> Self {
        Self::JsonError(error)
    }
}

/// A body and how it is read.
pub(super) struct RequestWalk<'a> {
    pub(super) body: &'a [u8],
    /// Most bodies are UTF-8 as a whole, and then their parts need no look of their own.
    pub(super) utf8: bool,
    pub(super) limits: &'a RequestLimits,
}

/// A field beside the batch that its events take, or the batch itself.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum SharedField {
    Context,
    Integrations,
    SentAt,
    WriteKey,
    Batch,
}

impl SharedField {
    fn of(name: &str) -> Option<Self> {
        match name {
            "context" => Some(Self::Context),
            "integrations" => Some(Self::Integrations),
            "sentAt" => Some(Self::SentAt),
            "writeKey" => Some(Self::WriteKey),
            "batch" => Some(Self::Batch),
            _ => None,
        }
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Context => "context",
            Self::Integrations => "integrations",
            Self::SentAt => "sentAt",
            Self::WriteKey => "writeKey",
            Self::Batch => "batch",
        }
    }
}

/// What stands beside a batch while it is being read.
#[derive(Default)]
pub(super) struct Beside {
    pub(super) members: Vec<(SharedField, Range<usize>)>,
    pub(super) problem: Option<RecordProblem>,
    has_batch: bool,
}

impl RequestWalk<'_> {
    fn is_utf8(&self, span: Range<usize>) -> bool {
        self.utf8 || std::str::from_utf8(&self.body[span]).is_ok()
    }

    /// A body that is one event.
    pub(super) fn single(&self, at: usize) -> Result<FoundEvent, JsonError> {
        let end = json::trim_end(self.body, at);
        let error = match self.strict(at) {
            Ok((found, found_end)) if found_end == end => return Ok(found),
            Ok((_, found_end)) => JsonError::Malformed(json::space(self.body, found_end)),
            Err(error) => error,
        };
        if at < end && json::is_bounded(self.body, at) { Ok(self.malformed(at..end, error)) } else { Err(error) }
    }

    /// A body that is `{"batch": [...]}`.
    pub(super) fn request(&self, at: usize) -> Result<RequestScan, WalkStop> {
        let body = self.body;
        if body.get(at) != Some(&b'{') {
            json::scan(body, at)?;
            return Err(WalkStop::Answer(HttpAnswer::bad("not-an-object", "the body must be a JSON object")));
        }
        let (mut scan, mut beside) = (RequestScan::default(), Beside::default());
        let mut at = json::space(body, at + 1);
        while body.get(at) != Some(&b'}') {
            let key_end = match body.get(at) {
                Some(b'"') => json::skip_string(body, at).ok_or(JsonError::Malformed(body.len()))?,
                _ => return Err(JsonError::Malformed(at).into()),
            };
            let colon = json::space(body, key_end);
            if body.get(colon) != Some(&b':') {
                return Err(JsonError::Malformed(colon).into());
            }
            let field = json::key_text(&body[at..key_end]).and_then(|name| SharedField::of(&name));
            let value = json::space(body, colon + 1);
            let end = match field {
                Some(SharedField::Batch) => self.elements(value, &mut scan.events, &mut beside)?,
                _ => self.member(value, field, &mut beside)?,
            };
            match body.get(end) {
                Some(b',') => at = json::space(body, end + 1),
                Some(b'}') => at = end,
                _ => return Err(JsonError::Malformed(end).into()),
            }
            if body[end] == b',' && body.get(at) == Some(&b'}') {
                return Err(JsonError::Malformed(at).into());
            }
        }
        let end = json::space(body, at + 1);
        if end < body.len() {
            return Err(JsonError::Malformed(end).into());
        }
        if !beside.has_batch {
            return Err(WalkStop::Answer(HttpAnswer::bad("no-batch", "the body has no array `batch`")));
        }
        scan.take(body, beside);
        Ok(scan)
    }

    /// The value of a field beside the batch; answers where the comma or bracket behind it stands.
    fn member(&self, value: usize, field: Option<SharedField>, beside: &mut Beside) -> Result<usize, JsonError> {
        let scanned = json::scan(self.body, value).and_then(|seen| {
            let next = json::space(self.body, seen.end);
            if matches!(self.body.get(next), Some(b',' | b'}')) {
                Ok((seen, next))
            } else {
                Err(JsonError::Malformed(next))
            }
        });
        let (span, next, error) = match scanned {
            Ok((seen, next)) => (value..seen.end, next, self.shared_problem(value, seen, field)),
            Err(error) => {
                let next = json::skip_malformed(self.body, value).ok_or(error)?;
                let end = json::trim_end(&self.body[..next], value);
                let problem = match error {
                    JsonError::LoneSurrogate(_) => RecordProblem::SharedLoneSurrogate,
                    _ if !self.is_utf8(value..end) => RecordProblem::SharedNotUtf8,
                    _ => RecordProblem::SharedMalformed,
                };
                (value..end, next, Some(problem))
            }
        };
        // Fields that no event takes are nobody's business.
        if let Some(field) = field {
            beside.add(field, span, error);
        }
        Ok(next)
    }

    fn shared_problem(&self, value: usize, seen: json::SeenValue, field: Option<SharedField>) -> Option<RecordProblem> {
        let text = &self.body[value..seen.end];
        match field? {
            _ if !self.is_utf8(value..seen.end) => Some(RecordProblem::SharedNotUtf8),
            _ if seen.depth >= self.limits.event_depth_max => Some(RecordProblem::SharedTooDeep),
            _ if seen.keys > self.limits.event_keys_max => Some(RecordProblem::SharedTooManyKeys),
            // An empty array is how PHP spells an empty object.
            SharedField::Context | SharedField::Integrations if !is_object(text) && !is_nothing(text) => {
                Some(RecordProblem::SharedNotAnObject)
            }
            _ => None,
        }
    }

    /// The array of events; answers where the comma or bracket behind it stands.
    fn elements(&self, array: usize, events: &mut Vec<FoundEvent>, beside: &mut Beside) -> Result<usize, WalkStop> {
        if self.body.get(array) != Some(&b'[') {
            return Ok(self.member(array, Some(SharedField::Batch), beside)?);
        }
        let mut at = json::space(self.body, array + 1);
        let mut more = self.body.get(at) != Some(&b']');
        while more {
            if events.len() == self.limits.request_events_max {
                let max = self.limits.request_events_max;
                let message = format!("the batch has more than {max} events");
                return Err(WalkStop::Answer(HttpAnswer::bad("too-many-events", message)));
            }
            let (found, end) = self.element(at)?;
            events.push(found);
            more = match self.body.get(end) {
                Some(b',') => true,
                Some(b']') => false,
                _ => return Err(JsonError::Malformed(end).into()),
            };
            at = if more { json::space(self.body, end + 1) } else { end };
        }
        let twice = beside.has_batch || beside.members.iter().any(|(known, _)| *known == SharedField::Batch);
        beside.has_batch = true;
        if twice {
            beside.blame(RecordProblem::SharedDuplicateKey);
        }
        let next = json::space(self.body, at + 1);
        if matches!(self.body.get(next), Some(b',' | b'}')) {
            return Ok(next);
        }
        // A second value without a comma before it: the events have bounds, their request does not say what it is.
        let error = JsonError::Malformed(next);
        let end = json::skip_malformed(self.body, next).ok_or(error)?;
        beside.add(
            SharedField::Batch,
            next..json::trim_end(&self.body[..end], next),
            Some(RecordProblem::SharedMalformed),
        );
        Ok(end)
    }

    /// One element of a batch; answers where the comma or bracket behind it stands.
    fn element(&self, at: usize) -> Result<(FoundEvent, usize), JsonError> {
        let error = match self.strict(at) {
            Ok((found, end)) => {
                let next = json::space(self.body, end);
                if matches!(self.body.get(next), Some(b',' | b']')) {
                    return Ok((found, next));
                }
                JsonError::Malformed(next)
            }
            Err(error) => error,
        };
        let next = json::skip_malformed(self.body, at).ok_or(error)?;
        Ok((self.malformed(at..json::trim_end(&self.body[..next], at), error), next))
    }

    /// One value that keeps to the grammar; answers it and its end.
    fn strict(&self, at: usize) -> Result<(FoundEvent, usize), JsonError> {
        let body = self.body;
        if body.get(at) != Some(&b'{') {
            let end = json::scan(body, at)?.end;
            let problem = if self.is_utf8(at..end) { RecordProblem::NotAnObject } else { RecordProblem::NotUtf8 };
            return Ok((FoundEvent::malformed(at..end, problem), end));
        }
        let (mut depth, mut keys, mut has_id, mut write_key) = (1, 0, false, None);
        let mut ids = [None; 3];
        let end = entries(body, at, |key, value| {
            let seen = json::scan(body, value)?;
            depth = depth.max(seen.depth + 1);
            keys += seen.keys + 1;
            match &*name_of(key) {
                b"userId" => ids[0] = IdSpan::new(value, seen.end),
                b"anonymousId" => ids[1] = IdSpan::new(value, seen.end),
                b"messageId" => {
                    ids[2] = IdSpan::new(value, seen.end);
                    has_id = matches!(&body[value..seen.end], [b'"', _, _, ..] | [b'-' | b'0'..=b'9', ..]);
                }
                b"writeKey" if body[value] == b'"' => write_key = Some(value..seen.end),
                _ => {}
            }
            Ok(seen.end)
        })?;
        let problem = if end - at > self.limits.event_bytes_max {
            Some(RecordProblem::TooLarge)
        } else if depth > self.limits.event_depth_max {
            Some(RecordProblem::TooDeep)
        } else if keys > self.limits.event_keys_max {
            Some(RecordProblem::TooManyKeys)
        } else if self.is_utf8(at..end) {
            None
        } else {
            Some(RecordProblem::NotUtf8)
        };
        Ok((FoundEvent { span: at..end, problem, has_id, write_key, ids }, end))
    }

    /// An event with bounds and no grammar.
    fn malformed(&self, span: Range<usize>, error: JsonError) -> FoundEvent {
        let problem = match error {
            JsonError::LoneSurrogate(_) => RecordProblem::LoneSurrogate,
            _ if !self.is_utf8(span.clone()) => RecordProblem::NotUtf8,
            _ => RecordProblem::Malformed,
        };
        FoundEvent::malformed(span, problem)
    }
}

/// The text of a key between its quotes; the bytes themselves when it is no text.
fn name_of(key: &[u8]) -> Cow<'_, [u8]> {
    let inner = &key[1..key.len() - 1];
    if json::is_plain(inner) {
        return Cow::Borrowed(inner);
    }
    json::key_text(key).map_or(Cow::Borrowed(inner), |text| Cow::Owned(text.into_owned().into_bytes()))
}

/// Calls `entry` for each key of an object (with its quotes) and the position of its value; it answers the value's end.
fn entries(
    body: &[u8],
    at: usize,
    mut entry: impl FnMut(&[u8], usize) -> Result<usize, JsonError>,
) -> Result<usize, JsonError> {
    let mut at = json::space(body, at + 1);
    if body.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    loop {
        if body.get(at) != Some(&b'"') {
            return Err(JsonError::Malformed(at));
        }
        let key_end = json::string(body, at)?;
        let colon = json::space(body, key_end);
        if body.get(colon) != Some(&b':') {
            return Err(JsonError::Malformed(colon));
        }
        let end = entry(&body[at..key_end], json::space(body, colon + 1))?;
        at = json::space(body, end);
        match body.get(at) {
            Some(b',') => at = json::space(body, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return Err(JsonError::Malformed(at)),
        }
    }
}

pub(super) fn is_object(text: &[u8]) -> bool {
    text.first() == Some(&b'{')
}

fn is_nothing(text: &[u8]) -> bool {
    matches!(text, b"null" | b"\"\"")
        || matches!(text, [b'[', inner @ .., b']'] if json::space(inner, 0) == inner.len())
}

impl Beside {
    fn add(&mut self, field: SharedField, span: Range<usize>, problem: Option<RecordProblem>) {
        let twice = self.members.iter().any(|(known, _)| *known == field)
            || (field == SharedField::Batch && self.has_batch && problem.is_none());
        self.members.push((field, span));
        // A malformed write key opens nothing, and says nothing about the events.
        let problem = problem.filter(|_| field != SharedField::WriteKey);
        if let Some(problem) = problem.or(twice.then_some(RecordProblem::SharedDuplicateKey)) {
            self.blame(problem);
        }
    }

    /// The first error names them all.
    fn blame(&mut self, problem: RecordProblem) {
        self.problem = self.problem.or(Some(problem));
    }
}

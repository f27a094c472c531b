//! One walk over a body finds the events, their bounds and what is plainly wrong with each.
//!
//! What has bounds (strings that end, brackets that have partners, commas between elements) is an event, however
//! malformed, on every route alike; what has none is refused as a whole. An error beside the batch is an error of every
//! event that would have taken that field.

mod walk;

use std::borrow::Cow;
use std::num::NonZeroU32;
use std::ops::Range;

use tidegate_event::json::{self, JsonError};
use tidegate_event::record::RecordProblem;
use tidegate_event::{EventKind, is_blank, undecoded};

use super::RequestLimits;
use super::answer::HttpAnswer;
use walk::{Beside, RequestWalk, SharedField, WalkStop, is_object};

/// What a walk over a body found.
#[derive(Debug, Default)]
pub(super) struct RequestScan {
    pub(super) events: Vec<FoundEvent>,
    /// What is wrong with the fields beside the batch, and so with every event.
    pub(super) shared: Option<RecordProblem>,
    /// Those fields as they came, in an object of their own, when something is wrong with them.
    shared_text: Vec<u8>,
    /// The body's own `writeKey`s, as spans of JSON strings.
    write_keys: Vec<Range<usize>>,
    sent_at: Option<Range<usize>>,
    context: Option<Range<usize>>,
    integrations: Option<Range<usize>>,
}

/// One event within a body.
#[derive(Debug)]
pub(super) struct FoundEvent {
    pub(super) span: Range<usize>,
    pub(super) problem: Option<RecordProblem>,
    pub(super) has_id: bool,
    write_key: Option<Range<usize>>,
    /// The values of its `userId`, `anonymousId` and `messageId`.
    ids: [Option<IdSpan>; 3],
}

/// Where a value lies in a body; small, for there is one for each event. A body has far less than 4 GiB.
#[derive(Debug, Clone, Copy)]
struct IdSpan {
    start: u32,
    /// 0 is no length of a value.
    length: NonZeroU32,
}

impl IdSpan {
    fn new(start: usize, end: usize) -> Option<Self> {
        let length = NonZeroU32::new(u32::try_from(end.checked_sub(start)?).ok()?)?;
        Some(Self { start: u32::try_from(start).ok()?, length })
    }

    fn of(self, body: &[u8]) -> &[u8] {
        let start = self.start as usize;
        &body[start..start + self.length.get() as usize]
    }
}

/// Walks a body: one event when the route names a kind, else `{"batch": [...]}`.
pub(super) fn scan(body: &[u8], kind: Option<EventKind>, limits: &RequestLimits) -> Result<RequestScan, HttpAnswer> {
    let walk = RequestWalk { body, utf8: std::str::from_utf8(body).is_ok(), limits };
    let at = json::space(body, if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 });
    match kind {
        Some(_) => {
            let found = walk.single(at).map_err(malformed)?;
            Ok(RequestScan { events: vec![found], ..RequestScan::default() })
        }
        None => match walk.request(at) {
            Ok(scan) => Ok(scan),
            Err(WalkStop::JsonError(error)) => Err(malformed(error)),
            Err(WalkStop::Answer(answer)) => Err(answer),
        },
    }
}

fn malformed(error: JsonError) -> HttpAnswer {
    HttpAnswer::bad("malformed-json", format!("the body is {error}"))
}

impl FoundEvent {
    /// One that is quarantined as it is.
    fn malformed(span: Range<usize>, problem: RecordProblem) -> Self {
        Self { span, problem: Some(problem), has_id: true, write_key: None, ids: Default::default() }
    }

    /// Whose event it is, so that all of one user's go the same way: [`tidegate_event::Event::user`], found without reading
    /// more. What is nobody's goes by its own id, so that it goes the same way when it is sent again.
    pub(super) fn partition_key<'b>(&self, body: &'b [u8]) -> Cow<'b, [u8]> {
        self.user_or(body, &body[self.span.clone()])
    }

    /// The same, where `own` is by what an event without any id is told from others.
    pub(super) fn user_or<'b>(&self, body: &'b [u8], own: &'b [u8]) -> Cow<'b, [u8]> {
        let id = |span: &Option<IdSpan>| {
            let value = (*span)?.of(body);
            match value {
                [b'"', inner @ .., b'"'] if !inner.contains(&b'\\') => Some(Cow::Borrowed(inner)),
                [b'"', ..] => json::text(value, 0).ok().map(|(text, _)| Cow::Owned(text.into_bytes())),
                [b'-' | b'0'..=b'9', ..] => Some(Cow::Borrowed(value)),
                _ => None,
            }
            .filter(|id| !std::str::from_utf8(id).is_ok_and(is_blank))
        };
        self.ids.iter().find_map(id).unwrap_or(Cow::Borrowed(own))
    }
}

impl RequestScan {
    /// A body of one event that is known to be malformed.
    pub(super) fn of_malformed(bytes: usize, problem: RecordProblem) -> Self {
        let found = FoundEvent::malformed(0..bytes, problem);
        Self { events: vec![found], ..Self::default() }
    }

    fn take(&mut self, body: &[u8], beside: Beside) {
        self.shared = beside.problem;
        if beside.problem.is_some() {
            self.shared_text.push(b'{');
        }
        for (field, span) in beside.members {
            if field == SharedField::WriteKey {
                self.write_keys.push(span);
                continue;
            }
            if beside.problem.is_some() {
                let comma = if self.shared_text.len() > 1 { "," } else { "" };
                self.shared_text.extend_from_slice(format!("{comma}\"{}\":", field.name()).as_bytes());
                self.shared_text.extend_from_slice(&body[span]);
                continue;
            }
            let text = &body[span.clone()];
            match field {
                SharedField::Context if is_object(text) => self.context = Some(span),
                SharedField::Integrations if is_object(text) => self.integrations = Some(span),
                SharedField::SentAt if text != b"null" => self.sent_at = Some(span),
                _ => {}
            }
        }
        if beside.problem.is_some() {
            self.shared_text.push(b'}');
        }
    }

    /// Write keys inside the body: its own, then that of its first event.
    pub(super) fn write_keys(&self, body: &[u8]) -> Vec<String> {
        let mut spans = self.write_keys.clone();
        if let Some(first) = self.events.first() {
            match &first.write_key {
                Some(span) => spans.push(span.clone()),
                // A malformed event came from somebody, too.
                None if first.problem.is_some() => {
                    let found = undecoded::write_keys(&body[first.span.clone()]);
                    spans.extend(found.iter().map(|key| first.span.start + key.start..first.span.start + key.end));
                }
                None => {}
            }
        }
        let strings = spans.iter().filter(|span| body.get(span.start) == Some(&b'"'));
        strings.filter_map(|span| json::text(body, span.start).ok()).map(|(key, _)| key).collect()
    }

    /// The default `context` of all events; all that stood beside the batch when that is malformed.
    pub(super) fn context<'a>(&'a self, body: &'a [u8]) -> &'a [u8] {
        if self.shared.is_some() {
            return &self.shared_text;
        }
        self.context.clone().map_or(&[], |span| &body[span])
    }

    pub(super) fn integrations<'a>(&self, body: &'a [u8]) -> &'a [u8] {
        self.integrations.clone().map_or(&[], |span| &body[span])
    }

    /// The text of `sentAt`; of anything but a string its JSON.
    pub(super) fn sent_at<'a>(&self, body: &'a [u8]) -> Cow<'a, str> {
        let Some(span) = self.sent_at.clone() else { return Cow::Borrowed("") };
        match json::text(body, span.start) {
            Ok((text, _)) if body[span.start] == b'"' => Cow::Owned(text),
            _ => String::from_utf8_lossy(&body[span]),
        }
    }
}

#[cfg(test)]
mod tests;

//! From a body to framed records: one walk over the bytes finds the events, their bounds and what is plainly wrong
//! with each; nothing is built and nothing is judged.

use std::ops::Range;

use super::Limits;
use super::answer::Answer;
use crate::clock;
use crate::event::Kind;
use crate::event::json::{self, Flaw};
use crate::event::record::{Problem, Record};
use crate::intake::Frames;

/// What a walk over a body found.
#[derive(Debug, Default)]
pub(super) struct Survey {
    events: Vec<Found>,
    /// The body's own `writeKey`, as a span of a JSON string.
    write_key: Option<Range<usize>>,
    sent_at: Option<Range<usize>>,
    context: Option<Range<usize>>,
    integrations: Option<Range<usize>>,
}

#[derive(Debug)]
struct Found {
    span: Range<usize>,
    problem: Option<Problem>,
    has_id: bool,
    write_key: Option<Range<usize>>,
}

/// Records ready for the log.
#[derive(Debug)]
pub(super) struct Accepted {
    pub(super) frames: Frames,
    pub(super) flawed: u64,
}

/// What the door adds to every event of a request.
pub(super) struct Stamp<'a> {
    pub(super) source: &'a str,
    pub(super) ip: &'a str,
    pub(super) received_at_us: i64,
    pub(super) route: Option<Kind>,
}

/// Walks a body: one event when the route names a kind, else `{"batch": [...]}`.
pub(super) fn survey(body: &[u8], kind: Option<Kind>, limits: &Limits) -> Result<Survey, Answer> {
    let start = if body.starts_with(b"\xef\xbb\xbf") { 3 } else { 0 };
    let utf8 = std::str::from_utf8(&body[start..]).is_ok();
    let at = json::space(body, start);
    if body.get(at) != Some(&b'{') {
        json::scan(body, at).map_err(malformed)?;
        return Err(Answer::bad("not-an-object", "the body must be a JSON object"));
    }
    let (survey, end) = match kind {
        Some(_) => {
            let (found, end) = element(body, at, utf8, limits).map_err(malformed)?;
            (Survey { events: vec![found], ..Survey::default() }, end)
        }
        None => batch(body, at, utf8, limits)?,
    };
    let end = json::space(body, end);
    if end < body.len() {
        return Err(malformed(Flaw::Malformed(end)));
    }
    Ok(survey)
}

fn malformed(flaw: Flaw) -> Answer {
    Answer::bad("malformed-json", format!("the body is {flaw}"))
}

/// Calls `entry` for each key (its raw bytes) with the position of its value; it answers the value's end.
fn entries<E: From<Flaw>>(
    body: &[u8],
    at: usize,
    mut entry: impl FnMut(&[u8], usize) -> Result<usize, E>,
) -> Result<usize, E> {
    let mut at = json::space(body, at + 1);
    if body.get(at) == Some(&b'}') {
        return Ok(at + 1);
    }
    loop {
        if body.get(at) != Some(&b'"') {
            return Err(Flaw::Malformed(at).into());
        }
        let key_end = json::scan(body, at)?.end;
        let colon = json::space(body, key_end);
        if body.get(colon) != Some(&b':') {
            return Err(Flaw::Malformed(colon).into());
        }
        let end = entry(&body[at + 1..key_end - 1], json::space(body, colon + 1))?;
        at = json::space(body, end);
        match body.get(at) {
            Some(b',') => at = json::space(body, at + 1),
            Some(b'}') => return Ok(at + 1),
            _ => return Err(Flaw::Malformed(at).into()),
        }
    }
}

/// One event object; answers it and its end.
fn element(body: &[u8], at: usize, utf8: bool, limits: &Limits) -> Result<(Found, usize), Flaw> {
    let (mut depth, mut keys, mut has_id, mut write_key) = (1, 0, false, None);
    let end = entries::<Flaw>(body, at, |key, value| {
        let seen = json::scan(body, value)?;
        depth = depth.max(seen.depth + 1);
        keys += seen.keys + 1;
        match key {
            b"messageId" => has_id = matches!(&body[value..seen.end], [b'"', _, _, ..] | [b'-' | b'0'..=b'9', ..]),
            b"writeKey" if body[value] == b'"' => write_key = Some(value..seen.end),
            _ => {}
        }
        Ok(seen.end)
    })?;
    let problem = if end - at > limits.event_bytes_max {
        Some(Problem::TooLarge)
    } else if depth > limits.event_depth_max {
        Some(Problem::TooDeep)
    } else if keys > limits.event_keys_max {
        Some(Problem::TooManyKeys)
    } else if !utf8 && std::str::from_utf8(&body[at..end]).is_err() {
        Some(Problem::NotUtf8)
    } else {
        None
    };
    Ok((Found { span: at..end, problem, has_id, write_key }, end))
}

enum Stop {
    Flaw(Flaw),
    Answer(Answer),
}

impl From<Flaw> for Stop {
    fn from(flaw: Flaw) -> Self {
        Self::Flaw(flaw)
    }
}

fn batch(body: &[u8], at: usize, utf8: bool, limits: &Limits) -> Result<(Survey, usize), Answer> {
    let mut survey = Survey::default();
    let mut found_batch = false;
    let end = entries::<Stop>(body, at, |key, value| {
        if key == b"batch" && body.get(value) == Some(&b'[') {
            found_batch = true;
            return elements(body, value, utf8, limits, &mut survey.events);
        }
        let seen = json::scan(body, value)?;
        let object = body[value] == b'{';
        if object && (seen.depth >= limits.event_depth_max || seen.keys > limits.event_keys_max) {
            return Err(Stop::Answer(Answer::bad(
                "too-deep",
                "a field beside the batch is nested too deeply or has too many keys",
            )));
        }
        match key {
            b"writeKey" if body[value] == b'"' => survey.write_key = Some(value..seen.end),
            b"sentAt" if body[value] == b'"' => survey.sent_at = Some(value..seen.end),
            b"context" if object => survey.context = Some(value..seen.end),
            b"integrations" if object => survey.integrations = Some(value..seen.end),
            _ => {}
        }
        Ok(seen.end)
    });
    match end {
        Ok(_) if !found_batch => Err(Answer::bad("no-batch", "the body has no array `batch`")),
        Ok(end) => Ok((survey, end)),
        Err(Stop::Flaw(flaw)) => Err(malformed(flaw)),
        Err(Stop::Answer(answer)) => Err(answer),
    }
}

fn elements(body: &[u8], at: usize, utf8: bool, limits: &Limits, events: &mut Vec<Found>) -> Result<usize, Stop> {
    let mut at = json::space(body, at + 1);
    if body.get(at) == Some(&b']') {
        return Ok(at + 1);
    }
    loop {
        if events.len() == limits.request_events_max {
            let max = limits.request_events_max;
            return Err(Stop::Answer(Answer::bad("too-many-events", format!("the batch has more than {max} events"))));
        }
        let (found, end) = any_element(body, at, utf8, limits)?;
        events.push(found);
        at = json::space(body, end);
        match body.get(at) {
            Some(b',') => at = json::space(body, at + 1),
            Some(b']') => return Ok(at + 1),
            _ => return Err(Flaw::Malformed(at).into()),
        }
    }
}

/// One element of a batch. A flawed one is stepped over by its brackets and kept with its problem.
fn any_element(body: &[u8], at: usize, utf8: bool, limits: &Limits) -> Result<(Found, usize), Flaw> {
    let walked = if body.get(at) == Some(&b'{') {
        element(body, at, utf8, limits)
    } else {
        json::scan(body, at).map(|seen| {
            let problem = Some(Problem::NotAnObject);
            (Found { span: at..seen.end, problem, has_id: true, write_key: None }, seen.end)
        })
    };
    walked.or_else(|flaw| {
        let end = json::skip_flawed(body, at).filter(|end| *end > at).ok_or(flaw)?;
        let problem = match flaw {
            Flaw::LoneSurrogate(_) => Problem::LoneSurrogate,
            _ if !utf8 && std::str::from_utf8(&body[at..end]).is_err() => Problem::NotUtf8,
            _ => Problem::Malformed,
        };
        Ok((Found { span: at..end, problem: Some(problem), has_id: true, write_key: None }, end))
    })
}

impl Survey {
    /// Write keys inside the body: its own, then that of its first event.
    pub(super) fn write_keys(&self, body: &[u8]) -> Vec<String> {
        let first = self.events.first().and_then(|found| found.write_key.as_ref());
        let spans = self.write_key.iter().chain(first);
        spans.filter_map(|span| json::text(body, span.start).ok()).map(|(key, _)| key).collect()
    }

    /// Frames one record for each event.
    pub(super) fn frames(&self, body: &[u8], stamp: &Stamp<'_>, limits: &Limits) -> Accepted {
        let span = |span: &Option<Range<usize>>| span.clone().map_or(&[][..], |span| &body[span]);
        let (context, integrations) = (span(&self.context), span(&self.integrations));
        let sent_at = self.sent_at.as_ref().and_then(|span| json::text(body, span.start).ok());
        let sent_at = sent_at.map(|(text, _)| text).unwrap_or_default();
        let of_request = Record {
            problem: None,
            route: stamp.route,
            received_at_us: stamp.received_at_us,
            source: stamp.source,
            ip: stamp.ip,
            message_id: "",
            sent_at: &sent_at,
            context,
            integrations,
            event: b"",
        };
        // An id that is made has 36 bytes.
        let own: usize = self.events.iter().map(|found| found.span.len() + 40).sum();
        let mut frames = Frames::with_capacity(of_request.shared_len() + own);
        frames.begin(|out| of_request.write_shared(out));
        let mut flawed = 0;
        for found in &self.events {
            let event = &body[found.span.clone()];
            // Defaults count towards the size of each event that they are merged into: else a small request could
            // multiply a large default.
            let swollen = event.len() + context.len() + integrations.len() > limits.event_bytes_max;
            let problem = found.problem.or(swollen.then_some(Problem::TooLarge));
            flawed += u64::from(problem.is_some());
            let made = if found.has_id { String::new() } else { clock::uuid() };
            let record = Record { problem, message_id: &made, event, ..of_request };
            frames.push(|out| record.write_own(out));
        }
        Accepted { frames, flawed }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problems(body: &[u8]) -> Vec<(Option<Problem>, bool)> {
        let limits = Limits { event_bytes_max: 60, event_depth_max: 3, event_keys_max: 4, ..Limits::default() };
        survey(body, None, &limits).unwrap().events.iter().map(|f| (f.problem, f.has_id)).collect()
    }

    #[test]
    fn one_bad_event_never_costs_its_neighbours() {
        let mut body = br#"{"batch":[{"messageId":"a"},{"a":NaN},7,{"a":"\ud800"},{"a":"#.to_vec();
        body.extend_from_slice(b"\"\xff\"},{\"a\":[[[1]]]},");
        body.extend_from_slice(br#"{"a":1,"b":2,"c":3,"d":4,"e":5},{"messageId":""},{"x":"0123456789012345678901234567890123456789012345678901234567890"},{"messageId":5}],"sentAt":"x"}"#);
        let want = [
            (None, true),
            (Some(Problem::Malformed), true),
            (Some(Problem::NotAnObject), true),
            (Some(Problem::LoneSurrogate), true),
            (Some(Problem::NotUtf8), false),
            (Some(Problem::TooDeep), false),
            (Some(Problem::TooManyKeys), false),
            (None, false),
            (Some(Problem::TooLarge), false),
            (None, true),
        ];
        assert_eq!(problems(&body), want);
    }

    #[test]
    fn a_body_that_is_no_batch_is_refused() {
        for (body, want) in [
            ("", "malformed-json"),
            ("[]", "not-an-object"),
            ("{}", "no-batch"),
            (r#"{"batch":{}}"#, "no-batch"),
            (r#"{"batch":[{}"#, "malformed-json"),
            (r#"{"batch":[{]}"#, "malformed-json"),
            (r#"{"batch":[]} x"#, "malformed-json"),
            (r#"{"batch":[],"a":01}"#, "malformed-json"),
        ] {
            let Err(Answer::Bad { code, .. }) = survey(body.as_bytes(), None, &Limits::default()) else {
                panic!("{body} was taken");
            };
            assert_eq!(code, want, "{body}");
        }
        assert!(survey(b"\xef\xbb\xbf {\"batch\":[]}", None, &Limits::default()).is_ok());
    }

    #[test]
    fn write_keys_are_found_in_their_places() {
        let body = br#"{"batch":[{"writeKey":"b\u0031"}],"writeKey":"a"}"#;
        let keys = survey(body, None, &Limits::default()).unwrap().write_keys(body);
        assert_eq!(keys, ["a", "b1"]);
    }
}

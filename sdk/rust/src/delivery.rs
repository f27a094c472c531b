//! Events to requests within a tool's limits, and answers to verdicts.

use serde_json::Value;

use crate::event::{Event, instant};

/// The requests that deliver a batch, and the events that need none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub requests: Vec<Request>,
    /// Event and reason: left out on purpose.
    pub skipped: Vec<(u32, String)>,
    /// Event and what is wrong with it.
    pub failed: Vec<(u32, Failure)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
    Put,
    Patch,
    Delete,
}

#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub method: Method,
    pub url: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Positions in the batch.
    pub events: Vec<u32>,
    /// Handed back to `classify`.
    pub tag: String,
}

impl Request {
    /// A POST of JSON.
    pub fn json(url: impl Into<String>, body: String, events: Vec<u32>) -> Self {
        let headers = vec![("content-type".to_owned(), "application/json".to_owned())];
        Self { method: Method::Post, url: url.into(), headers, body, events, tag: String::new() }
    }
}

/// What is wrong, for machines and for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable.
    pub code: String,
    /// One sentence.
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

/// Why a tool gets no record of an event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It does not apply here; the text is the reason.
    Skip(String),
    /// It goes to quarantine.
    Fail(Failure),
}

impl Refusal {
    pub fn skip(reason: impl Into<String>) -> Self {
        Self::Skip(reason.into())
    }

    pub fn fail(code: &str, message: impl Into<String>) -> Self {
        Self::Fail(Failure::new(code, message))
    }
}

/// What the tool gets of some events of the batch, nearly always of one.
#[derive(Debug, PartialEq, Eq)]
pub struct Entry {
    pub events: Vec<u32>,
    /// JSON, or a line of whatever the tool takes.
    pub text: String,
}

impl Plan {
    /// The tool's record of each event, as text. What `record` refuses is noted here.
    pub fn records(&mut self, batch: &[String], record: impl Fn(Event) -> Result<String, Refusal>) -> Vec<Entry> {
        let mut entries = Vec::new();
        for (position, text) in (0..).zip(batch) {
            let event: Result<Event, _> = serde_json::from_str(text);
            let made =
                event.map_err(|_| Refusal::fail("not-an-object", "the event is no JSON object")).and_then(&record);
            match made {
                Ok(text) => entries.push(Entry { events: vec![position], text }),
                Err(Refusal::Skip(reason)) => self.skipped.push((position, reason)),
                Err(Refusal::Fail(failure)) => self.failed.push((position, failure)),
            }
        }
        entries
    }

    /// Runs of at most `count_max` entries whose texts, with a byte between them, have at most `bytes_max` bytes. An entry
    /// that is larger alone fails with the code `too-large`.
    pub fn chunks(&mut self, entries: Vec<Entry>, count_max: usize, bytes_max: usize) -> Vec<Vec<Entry>> {
        let (mut chunks, mut used): (Vec<Vec<Entry>>, usize) = (Vec::new(), 0);
        for entry in entries {
            let size = entry.text.len();
            if size > bytes_max {
                let message = format!("the tool takes {bytes_max} bytes; this event has {size}");
                let failures = entry.events.iter().map(|event| (*event, Failure::new("too-large", message.clone())));
                self.failed.extend(failures);
                continue;
            }
            match chunks.last_mut() {
                Some(chunk) if chunk.len() < count_max && used + 1 + size <= bytes_max => {
                    used += 1 + size;
                    chunk.push(entry);
                }
                _ => {
                    used = size;
                    chunks.push(vec![entry]);
                }
            }
        }
        chunks
    }
}

/// The texts of a chunk with `separator` between them, and the events that they carry.
pub fn join(chunk: Vec<Entry>, separator: &str) -> (String, Vec<u32>) {
    let (events, texts): (Vec<Vec<u32>>, Vec<String>) =
        chunk.into_iter().map(|entry| (entry.events, entry.text)).unzip();
    (texts.join(separator), events.concat())
}

/// What came back for one request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB.
    pub body: Vec<u8>,
    /// Counted from 1.
    pub attempt: u32,
    /// When it came, in Unix milliseconds.
    pub now_ms: u64,
}

impl Response {
    /// A header by its name, in any case; `None` when there is none.
    pub fn header(&self, wanted: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(wanted));
        found.map(|(_, value)| value.as_str())
    }

    /// The beginning of the body, for people.
    pub fn excerpt(&self) -> String {
        String::from_utf8_lossy(&self.body).trim().chars().take(300).collect()
    }

    /// The body as a JSON object; `None` when it is none.
    pub fn answer(&self) -> Option<serde_json::Map<String, Value>> {
        serde_json::from_slice(&self.body).ok()
    }

    /// Whether a 403 or 404 comes from a proxy or firewall on the way: the tool's own have a JSON object for a body.
    pub fn is_of_proxy(&self) -> bool {
        matches!(self.status, 403 | 404) && self.answer().is_none()
    }

    /// Milliseconds that `Retry-After` asks to wait, given as seconds or as a date; `None` when it says nothing readable.
    pub fn retry_after_ms(&self) -> Option<u32> {
        let said = self.header("retry-after")?.trim();
        if !said.is_empty() && said.bytes().all(|byte| byte.is_ascii_digit()) {
            return Some(said.parse::<u32>().unwrap_or(u32::MAX).saturating_mul(1000));
        }
        let ms = http_date_ms(said)?.checked_sub_unsigned(self.now_ms)?;
        Some(u32::try_from(ms.max(0)).unwrap_or(u32::MAX))
    }
}

/// `Sun, 06 Nov 1994 08:49:37 GMT` in Unix milliseconds.
fn http_date_ms(text: &str) -> Option<i64> {
    const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    let parts: Vec<&str> = text.split_once(", ")?.1.split(' ').collect();
    let [day, month, year, time, "GMT"] = parts[..] else { return None };
    let month = MONTHS.iter().position(|name| *name == month)? + 1;
    instant(Some(&Value::from(format!("{year}-{month:02}-{day}T{time}Z")))).map(|instant| instant.ms)
}

/// What a response means for the events of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Not before this many milliseconds; `None` leaves it to the host.
    Retry(Option<u32>),
    /// Forget cached credentials, then try again.
    Reauthenticate,
    /// All go to quarantine.
    Rejected(Failure),
    /// Event and whether to retry it (else it is rejected); the others were delivered.
    Partial(Vec<(u32, bool)>),
    /// Nothing will be taken until somebody acts.
    Disable(Failure),
    /// The tool refused the whole request, took nothing of it and names nobody. The host sends the events again in halves, at
    /// once; an event that is refused alone goes to quarantine with this failure.
    Bisect(Failure),
}

/// What most HTTP interfaces mean by their status codes.
///
/// 2xx delivered; 401 sign in again; 408, 423, 425, 429 and 5xx later, as `Retry-After` says; a 403 or 404 whose body is no
/// JSON comes from a proxy on the way and is tried later; anything else is [`Verdict::Bisect`].
pub fn classify_by_status(response: &Response) -> Verdict {
    match response.status {
        200..=299 => Verdict::Delivered,
        401 => Verdict::Reauthenticate,
        408 | 423 | 425 | 429 | 500.. => Verdict::Retry(response.retry_after_ms()),
        _ if response.is_of_proxy() => Verdict::Retry(response.retry_after_ms()),
        status => {
            let message = format!("answered {status}: {}", response.excerpt());
            Verdict::Bisect(Failure::new(&format!("http-{status}"), message))
        }
    }
}

/// What the answer to a deletion means: a 404 in JSON says that the tool has nobody of that name, so that nothing is left to
/// delete; 401, and a 403 in JSON, that the key may not delete. Anything else is read by its status.
pub fn classify_deletion(response: &Response) -> Verdict {
    match response.status {
        404 if !response.is_of_proxy() => Verdict::Delivered,
        401 | 403 if !response.is_of_proxy() => {
            let message = format!("answered {}: {}", response.status, response.excerpt());
            Verdict::Disable(Failure::new("unauthorized", message))
        }
        _ => classify_by_status(response),
    }
}

//! What a destination plugin plans and how it reads the answers, apart from any wire format.

use std::time::Duration;

use tidegate_event::decode::DEPTH_MAX;
use tidegate_event::digits::{self, Numbers};
use tidegate_event::json;
use tidegate_event::value::Value;
use tidegate_plugin::SigningMethod;

use super::bindings::destination::exports::tidegate::plugin::destination as wit;
use super::guest_answer::GuestError;

/// Which export of a destination plugin is asked.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum DestinationExport {
    /// Events are delivered.
    #[default]
    Destination,
    /// People are deleted in the tool. Not every plugin has it.
    Forget,
}

impl DestinationExport {
    /// The export that a batch of fixtures is for: people to forget are told by their type, and do not come with events.
    #[must_use]
    pub fn of_fixtures(batch: &[String]) -> Self {
        let is_person = |text: &String| {
            let parsed: serde_json::Value = serde_json::from_str(text).unwrap_or_default();
            parsed.get("type").is_some_and(|kind| kind == "forget")
        };
        if !batch.is_empty() && batch.iter().all(is_person) { Self::Forget } else { Self::Destination }
    }
}

/// The requests that deliver a batch. Nothing in it is checked: indexes, URLs and sizes are the guest's word.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestPlan {
    pub requests: Vec<GuestRequest>,
    /// Event and reason: filtered on purpose.
    pub skipped: Vec<(u32, String)>,
    /// Event and error: for the quarantine.
    pub failed: Vec<(u32, GuestError)>,
}

/// One request, secrets still as placeholders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GuestRequest {
    pub method: SigningMethod,
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    /// Which events of the batch it carries.
    pub events: Vec<u32>,
    /// Handed back to `classify`.
    pub tag: String,
}

/// An answer, for `classify` to read.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GuestResponse {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    /// The first 64 KiB.
    pub body: Vec<u8>,
    /// From 1.
    pub attempt: u32,
}

/// A request of a plan that was answered, for `classify` to read.
#[derive(Debug, Clone, Copy)]
pub struct AnsweredRequest<'a> {
    /// What the plan gave the request to be known by.
    pub tag: &'a str,
    /// Which events of the batch it carried.
    pub events: &'a [u32],
    pub response: &'a GuestResponse,
}

/// What an answer means for the events of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DeliveryVerdict {
    Delivered,
    /// Not before this long.
    Retry(Option<Duration>),
    /// The credentials are stale: fetch new ones, then retry.
    Reauthenticate,
    Rejected(GuestError),
    /// Event of the batch and whether it is to be retried (else it is rejected); the others are delivered.
    Partial(Vec<(u32, bool)>),
    /// Nothing more will be taken until an operator acts.
    Disable(GuestError),
    /// Refused as a whole, and nobody knows for which event: to be sent again in halves.
    Bisect(GuestError),
}

/// A header with one of these in its name is about the bytes of the body.
const OF_THE_BYTES: [&str; 5] = ["encoding", "digest", "md5", "sha256", "signature"];

impl GuestPlan {
    /// Puts the digits of the events of `batch`, and of all else that the guest was `given`, back into the bodies that it made
    /// of them, where it could not see them.
    pub(super) fn restore_digits(&mut self, batch: &[String], given: &[Value], numbers: Numbers) {
        let lossy: Vec<bool> = batch.iter().map(|event| digits::is_lossy_for(event, numbers)).collect();
        if given.is_empty() && !lossy.contains(&true) {
            return;
        }
        // Other readers spell 1e400 anew.
        let parsed = |event: &String| json::parse(event.as_bytes(), DEPTH_MAX).unwrap_or_default();
        let events: Vec<Value> = batch.iter().map(parsed).collect();
        for request in &mut self.requests {
            let carried = || request.events.iter().filter_map(|event| usize::try_from(*event).ok());
            let is_lossy = !given.is_empty() || carried().any(|event| lossy.get(event) == Some(&true));
            let is_bound = |name: &str| OF_THE_BYTES.iter().any(|part| name.to_ascii_lowercase().contains(part));
            if !is_lossy || request.headers.iter().any(|(name, _)| is_bound(name)) {
                continue;
            }
            let carried: Vec<&Value> = carried().filter_map(|event| events.get(event)).collect();
            restore_in(&mut request.body, |text| digits::restore_in_body(text, &carried, given, numbers));
        }
    }
}

/// A body is one JSON text, or one in each line.
fn restore_in(body: &mut Vec<u8>, restored: impl Fn(&str) -> Option<String>) {
    let Ok(text) = std::str::from_utf8(body) else { return };
    if !text.trim_start().starts_with(['{', '[']) {
        return;
    }
    let made = restored(text).unwrap_or_else(|| {
        let lines = text.split_inclusive('\n');
        lines.map(|line| restored(line).unwrap_or_else(|| line.to_owned())).collect()
    });
    *body = made.into_bytes();
}

impl From<wit::Plan> for GuestPlan {
    fn from(plan: wit::Plan) -> Self {
        let request = |request: wit::Request| GuestRequest {
            method: match request.method {
                wit::Method::Get => SigningMethod::Get,
                wit::Method::Post => SigningMethod::Post,
                wit::Method::Put => SigningMethod::Put,
                wit::Method::Patch => SigningMethod::Patch,
                wit::Method::Delete => SigningMethod::Delete,
            },
            url: request.url,
            headers: request.headers,
            body: request.body,
            events: request.events,
            tag: request.tag,
        };
        Self {
            requests: plan.requests.into_iter().map(request).collect(),
            skipped: plan.skipped.into_iter().map(|skipped| (skipped.event, skipped.reason)).collect(),
            failed: plan.failed.into_iter().map(|failed| (failed.event, failed.error.into())).collect(),
        }
    }
}

impl From<&GuestResponse> for wit::Response {
    fn from(response: &GuestResponse) -> Self {
        Self {
            status: response.status,
            headers: response.headers.clone(),
            body: response.body.clone(),
            attempt: response.attempt,
        }
    }
}

impl From<wit::Verdict> for DeliveryVerdict {
    fn from(verdict: wit::Verdict) -> Self {
        match verdict {
            wit::Verdict::Delivered => Self::Delivered,
            wit::Verdict::Retry(after_ms) => Self::Retry(after_ms.map(|ms| Duration::from_millis(ms.into()))),
            wit::Verdict::Reauthenticate => Self::Reauthenticate,
            wit::Verdict::Rejected(error) => Self::Rejected(error.into()),
            wit::Verdict::Partial(events) => Self::Partial(events),
            wit::Verdict::Disable(error) => Self::Disable(error.into()),
            wit::Verdict::Bisect(error) => Self::Bisect(error.into()),
        }
    }
}

//! What a batch becomes and what an answer means, apart from any binding, so that tests run natively.

/// The requests that deliver a batch, and the events that need none.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Plan {
    pub requests: Vec<Request>,
    /// Event and reason: left out on purpose.
    pub skipped: Vec<(u32, String)>,
    /// Event and what is wrong with it.
    pub failed: Vec<(u32, Failure)>,
}

/// A POST.
#[derive(Debug, PartialEq, Eq)]
pub struct Request {
    pub url: String,
    pub headers: Vec<(String, String)>,
    pub body: String,
    /// Positions in the batch.
    pub events: Vec<u32>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Stable, for machines.
    pub code: String,
    /// One sentence, for people.
    pub message: String,
}

impl Failure {
    pub fn new(code: &str, message: impl Into<String>) -> Self {
        Self { code: code.to_owned(), message: message.into() }
    }
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    Delivered,
    /// Not before this many milliseconds.
    Retry(Option<u32>),
    Rejected(Failure),
    /// Event and whether to retry it; the others were delivered.
    Partial(Vec<(u32, bool)>),
    /// Nothing will be taken until somebody acts.
    Disable(Failure),
}

/// The pause that a `Retry-After` header in seconds asks for, in milliseconds. A date is left to the host's own pauses.
pub fn retry_after_ms(headers: &[(String, String)]) -> Option<u32> {
    let (_, value) = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("retry-after"))?;
    value.trim().parse::<u32>().ok().map(|seconds| seconds.saturating_mul(1000))
}

/// The beginning of an answer's body, as text for people.
pub fn excerpt(body: &[u8]) -> String {
    String::from_utf8_lossy(body).trim().chars().take(200).collect()
}

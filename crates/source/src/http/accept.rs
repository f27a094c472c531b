//! From a scan to framed records: nothing is built and nothing is judged.

use tidegate_event::EventKind;
use tidegate_event::record::{Record, RecordProblem};
use tidegate_log::{Frames, Partitioner};
use tidegate_process::clock;

use super::RequestLimits;
use super::answer::HttpAnswer;
use super::scan::RequestScan;

/// Records ready for the log.
#[derive(Debug)]
pub(super) struct Accepted {
    /// By partition.
    pub(super) parts: Vec<(u16, Frames)>,
    pub(super) malformed: u64,
}

/// What the door adds to every event of a request.
pub(super) struct Stamp<'a> {
    pub(super) source: &'a str,
    /// Where records go.
    pub(super) partitioner: Partitioner,
    pub(super) ip: &'a str,
    pub(super) received_at_us: i64,
    pub(super) route: Option<EventKind>,
}

impl Accepted {
    pub(super) fn events(&self) -> u64 {
        self.parts.iter().map(|(_, frames)| frames.count()).sum()
    }

    pub(super) fn bytes(&self) -> usize {
        self.parts.iter().map(|(_, frames)| frames.bytes()).sum()
    }
}

impl RequestScan {
    /// Frames one record for each event, unless the events grow too far when each takes what they share.
    pub(super) fn frames_within(
        &self,
        body: &[u8],
        stamp: &Stamp<'_>,
        limits: &RequestLimits,
    ) -> Result<Accepted, HttpAnswer> {
        let shared = self.context(body).len() + self.integrations(body).len() + self.sent_at(body).len();
        let own: usize = self.events.iter().map(|found| found.span.len()).sum();
        let bytes = own.saturating_add(shared.saturating_mul(self.events.len()));
        if bytes <= limits.request_expanded_bytes_max {
            return Ok(self.frames(body, stamp, limits));
        }
        let (events, max) = (self.events.len(), limits.request_expanded_bytes_max);
        Err(HttpAnswer::TooLarge {
            code: "expands-too-far",
            message: format!(
                "{events} events with the batch's context and integrations in each come to {bytes} bytes; more than \
                 {max} are never taken in one request, so send smaller batches or a smaller context"
            ),
        })
    }

    /// Frames one record for each event.
    fn frames(&self, body: &[u8], stamp: &Stamp<'_>, limits: &RequestLimits) -> Accepted {
        let (context, integrations) = (self.context(body), self.integrations(body));
        let sent_at = self.sent_at(body);
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
        let count = usize::from(stamp.partitioner.count());
        let mut parts: Vec<(u16, Frames)> = Vec::with_capacity(count.min(self.events.len()));
        let room = of_request.shared_len() + own / count;
        let mut malformed = 0;
        for found in &self.events {
            let event = &body[found.span.clone()];
            // Defaults count towards the size of each event that they are merged into: else a small request could
            // multiply a large default.
            let swollen = event.len() + context.len() + integrations.len() > limits.event_bytes_max;
            let problem = self.shared.or(found.problem).or(swollen.then_some(RecordProblem::TooLarge));
            malformed += u64::from(problem.is_some());
            let made = if found.has_id { String::new() } else { clock::uuid() };
            let record = Record { problem, message_id: &made, event, ..of_request };
            let partition = if stamp.partitioner.is_one() {
                0
            } else {
                stamp.partitioner.choose(stamp.source, &found.partition_key(body))
            };
            let at = parts.iter().position(|(known, _)| *known == partition).unwrap_or_else(|| {
                let mut frames = Frames::with_capacity(room);
                frames.begin(|out| of_request.write_shared(out));
                parts.push((partition, frames));
                parts.len() - 1
            });
            parts[at].1.push(|out| record.write_own(out));
        }
        Accepted { parts, malformed }
    }
}

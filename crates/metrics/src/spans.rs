//! Requests that are followed: which, and the spans of their events.
//!
//! A request is followed when its `traceparent` says that it is sampled, or, without one, by chance. Its events are known again by their source
//! and by when they were received, which the log keeps of each: so a trace goes on behind the log without a byte more in it. What is being
//! followed is forgotten at a stop, or when much has come since.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use parking_lot::Mutex;
use tidegate_process::clock;

/// Requests that are followed at once; the oldest are forgotten.
const OPEN_MAX: usize = 4_096;
/// Spans that wait to be taken.
const FINISHED_MAX: usize = 8_192;
/// Requests a second that are followed because clients say so.
const ASKED_A_SECOND_MAX: u32 = 100;
const SECOND_US: i64 = 1_000_000;

/// Where requests are followed; clones share it. By default nothing is.
#[derive(Debug, Clone, Default)]
pub struct SpanBoard(Option<Arc<SharedSpans>>);

#[derive(Debug)]
struct SharedSpans {
    /// Of the requests that say nothing themselves: a trace is followed whose random number is below this.
    below: u64,
    count: AtomicUsize,
    open: Mutex<FollowedRequests>,
    finished: Mutex<VecDeque<FinishedSpan>>,
    sent: AtomicU64,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct FollowedRequests {
    /// By when they were received, with their source.
    traces: HashMap<i64, (Box<str>, TraceContext)>,
    order: VecDeque<i64>,
    /// A second, and requests of it that are followed because clients say so.
    asked: (i64, u32),
}

/// The trace that a request is part of, and its own span.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TraceContext {
    pub trace_id: [u8; 16],
    /// Of the span that everything behind the log hangs under.
    pub span_id: [u8; 8],
    /// The span of the client.
    pub parent_id: Option<[u8; 8]>,
}

/// Events of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TracedGroup<E> {
    pub trace: TraceContext,
    /// The first of them.
    pub first: E,
    pub count: u64,
}

/// What a part of the way is to OpenTelemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SpanKind {
    /// It answers a request.
    Server,
    Internal,
    /// It hands something to somebody else.
    Producer,
}

/// What is said of a span.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SpanValue {
    Text(String),
    Number(u64),
}

/// A span that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FinishedSpan {
    pub name: &'static str,
    pub kind: SpanKind,
    pub trace_id: [u8; 16],
    pub span_id: [u8; 8],
    pub parent_id: Option<[u8; 8]>,
    /// Microseconds since the epoch.
    pub began_us: i64,
    pub ended_us: i64,
    pub attributes: Vec<(&'static str, SpanValue)>,
    /// What went wrong.
    pub error: Option<String>,
}

/// What became of spans.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SpanCounts {
    pub sent: u64,
    pub dropped: u64,
}

impl TraceContext {
    /// A trace of its own.
    fn new() -> Self {
        Self { trace_id: clock::random(), span_id: clock::random(), parent_id: None }
    }

    /// What `traceparent` says (W3C Trace Context), with a span of its own below that of the client; and whether the trace is sampled. `None` when
    /// it is no such header.
    fn read(traceparent: &str) -> Option<(Self, bool)> {
        let mut parts = traceparent.trim().split('-');
        let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        // Later versions may say more behind these.
        let is_known = version.len() == 2 && version != "ff" && (version != "00" || parts.next().is_none());
        let bytes = |text: &str| HEXLOWER_PERMISSIVE.decode(text.as_bytes()).ok();
        let trace_id: [u8; 16] = bytes(trace)?.try_into().ok()?;
        let parent_id: [u8; 8] = bytes(parent)?.try_into().ok()?;
        let flags: [u8; 1] = bytes(flags)?.try_into().ok()?;
        let is_there = trace_id != [0; 16] && parent_id != [0; 8];
        let context = Self { trace_id, span_id: clock::random(), parent_id: Some(parent_id) };
        (is_known && is_there).then_some((context, flags.iter().any(|flag| flag & 1 == 1)))
    }

    /// A span below that of the request.
    #[must_use]
    pub fn below(&self, name: &'static str, kind: SpanKind, (began_us, ended_us): (i64, i64)) -> FinishedSpan {
        FinishedSpan {
            name,
            kind,
            trace_id: self.trace_id,
            span_id: clock::random(),
            parent_id: Some(self.span_id),
            began_us,
            ended_us,
            attributes: Vec::new(),
            error: None,
        }
    }

    /// The span of the request itself.
    #[must_use]
    pub fn own(&self, name: &'static str, times: (i64, i64)) -> FinishedSpan {
        let (span_id, parent_id) = (self.span_id, self.parent_id);
        FinishedSpan { span_id, parent_id, ..self.below(name, SpanKind::Server, times) }
    }
}

impl FinishedSpan {
    #[must_use]
    pub fn text(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.attributes.push((name, SpanValue::Text(value.into())));
        self
    }

    #[must_use]
    pub fn number(mut self, name: &'static str, value: u64) -> Self {
        self.attributes.push((name, SpanValue::Number(value)));
        self
    }

    /// The trace in hexadecimal.
    #[must_use]
    pub fn trace(&self) -> String {
        HEXLOWER.encode(&self.trace_id)
    }
}

impl SpanBoard {
    /// Follows this share of the requests that say nothing themselves, from 0 to 1.
    #[must_use]
    pub fn following(share: f64) -> Self {
        // Beyond the last digit of the share nothing is lost.
        let below = (share.clamp(0.0, 1.0) * u64::MAX as f64) as u64;
        Self(Some(Arc::new(SharedSpans {
            below,
            count: AtomicUsize::new(0),
            open: Mutex::default(),
            finished: Mutex::default(),
            sent: AtomicU64::new(0),
            dropped: AtomicU64::new(0),
        })))
    }

    /// Whether requests may be followed at all.
    #[must_use]
    pub const fn is_on(&self) -> bool {
        self.0.is_some()
    }

    /// Follows a request that was received at this time, in microseconds since the epoch, if it is to be. To be asked before its events are in the
    /// log.
    #[must_use]
    pub fn begin(&self, traceparent: Option<&str>, source: &str, received_at_us: i64) -> Option<TraceContext> {
        let shared = self.0.as_ref()?;
        let told = traceparent.and_then(TraceContext::read);
        let trace = match told {
            Some((_, false)) => return None,
            Some((trace, true)) => trace,
            None if u64::from_be_bytes(clock::random()) < shared.below => TraceContext::new(),
            None => return None,
        };
        let mut open = shared.open.lock();
        if told.is_some() && !open.may_be_asked(received_at_us / SECOND_US) {
            return None;
        }
        // Of two requests in one microsecond the first is followed.
        if open.traces.contains_key(&received_at_us) {
            return None;
        }
        open.traces.insert(received_at_us, (source.into(), trace));
        open.order.push_back(received_at_us);
        while open.order.len() > OPEN_MAX {
            if let Some(oldest) = open.order.pop_front() {
                open.traces.remove(&oldest);
            }
        }
        shared.count.store(open.order.len(), Ordering::Relaxed);
        Some(trace)
    }

    /// Whether any request is followed: without, a batch costs this load.
    #[must_use]
    pub fn is_following(&self) -> bool {
        self.0.as_ref().is_some_and(|shared| shared.count.load(Ordering::Relaxed) > 0)
    }

    /// The requests that are followed among these events: of each when it was received, and its source.
    pub fn groups<'e, E>(&self, events: impl Iterator<Item = (i64, &'e str, E)>) -> Vec<TracedGroup<E>> {
        let mut groups: Vec<TracedGroup<E>> = Vec::new();
        let Some(shared) = &self.0 else { return groups };
        let open = shared.open.lock();
        for (received_at_us, source, event) in events {
            let Some((_, trace)) = open.traces.get(&received_at_us).filter(|(of, _)| **of == *source) else { continue };
            // Events of a request mostly follow each other.
            match groups.iter_mut().rev().find(|group| group.trace == *trace) {
                Some(group) => group.count += 1,
                None => groups.push(TracedGroup { trace: *trace, first: event, count: 1 }),
            }
        }
        groups
    }

    /// Keeps a span until somebody takes it.
    pub fn finish(&self, span: FinishedSpan) {
        let Some(shared) = &self.0 else { return };
        let mut finished = shared.finished.lock();
        if finished.len() >= FINISHED_MAX {
            shared.dropped.fetch_add(1, Ordering::Relaxed);
            return;
        }
        finished.push_back(span);
    }

    /// The oldest spans that are over, at most so many.
    #[must_use]
    pub fn take(&self, spans_max: usize) -> Vec<FinishedSpan> {
        let Some(shared) = &self.0 else { return Vec::new() };
        let mut finished = shared.finished.lock();
        let taken = finished.len().min(spans_max);
        finished.drain(..taken).collect()
    }

    /// Takes note of what became of spans that were taken.
    pub fn note(&self, of: SpanCounts) {
        if let Some(shared) = &self.0 {
            shared.sent.fetch_add(of.sent, Ordering::Relaxed);
            shared.dropped.fetch_add(of.dropped, Ordering::Relaxed);
        }
    }

    /// What became of spans since the start.
    #[must_use]
    pub fn counts(&self) -> SpanCounts {
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let shared = self.0.as_ref();
        shared.map_or_else(SpanCounts::default, |shared| SpanCounts {
            sent: read(&shared.sent),
            dropped: read(&shared.dropped),
        })
    }
}

impl FollowedRequests {
    fn may_be_asked(&mut self, second: i64) -> bool {
        if self.asked.0 != second {
            self.asked = (second, 0);
        }
        self.asked.1 += 1;
        self.asked.1 <= ASKED_A_SECOND_MAX
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLED: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    #[test]
    fn a_client_that_is_sampled_is_followed_and_one_that_is_not_is_not() {
        let spans = SpanBoard::following(0.0);
        let trace = spans.begin(Some(SAMPLED), "web", 1).unwrap();
        assert_eq!(HEXLOWER.encode(&trace.trace_id), "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(trace.parent_id.map(|id| HEXLOWER.encode(&id)).as_deref(), Some("00f067aa0ba902b7"));
        let not_sampled = SAMPLED.replace("-01", "-00");
        let nothing = SAMPLED.replace("00f067aa0ba902b7", "0000000000000000");
        let long = format!("{SAMPLED}-more");
        for (at, told) in (2..).zip([&*not_sampled, &nothing, &long, "", "00-zz-zz-01", "ff"]) {
            assert_eq!(spans.begin(Some(told), "web", at), None, "{told}");
        }
        assert_eq!(spans.begin(None, "web", 9), None);
        assert!(SpanBoard::following(1.0).begin(None, "web", 9).is_some());
        assert_eq!(SpanBoard::default().begin(Some(SAMPLED), "web", 1), None);
    }

    #[test]
    fn events_are_known_again_by_their_source_and_time_and_clients_cannot_have_everything_followed() {
        let spans = SpanBoard::following(0.0);
        assert!(!spans.is_following());
        let trace = spans.begin(Some(SAMPLED), "web", 5).unwrap();
        assert!(spans.is_following());
        let groups = spans.groups([(5, "web", 'a'), (5, "app", 'b'), (6, "web", 'c'), (5, "web", 'd')].into_iter());
        assert_eq!(groups, [TracedGroup { trace, first: 'a', count: 2 }]);
        let followed = (10..1_000).filter(|at| spans.begin(Some(SAMPLED), "web", *at).is_some()).count();
        assert_eq!(followed, 99);
        assert!(spans.begin(Some(SAMPLED), "web", SECOND_US).is_some());
    }

    #[test]
    fn what_nobody_takes_is_dropped_and_counted() {
        let spans = SpanBoard::following(1.0);
        let trace = spans.begin(None, "web", 1).unwrap();
        for _ in 0..FINISHED_MAX + 2 {
            spans.finish(trace.own("accept", (1, 2)));
        }
        assert_eq!(spans.counts(), SpanCounts { sent: 0, dropped: 2 });
        let taken = spans.take(3);
        assert_eq!((taken.len(), taken[0].span_id, taken[0].kind), (3, trace.span_id, SpanKind::Server));
        assert_eq!(spans.take(usize::MAX).len(), FINISHED_MAX - 3);
    }
}

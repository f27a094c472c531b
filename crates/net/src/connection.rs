//! How far a connection has come, and since when it waits for its client.
//!
//! Its own task writes, the table reads; all in relaxed atomics, for nothing depends on two of them together. A table that
//! reads between two writes is wrong by one moment, and the task looks again before it acts.

use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, AtomicUsize};
use std::task::Waker;
use std::time::{Duration, Instant};

use futures_util::task::AtomicWaker;

use super::{ConnectionLimits, Peer};

/// A rate says nothing before this much waiting.
const RATE_GRACE_MS: u64 = 5_000;
/// Unknown clients who have waited less than this may be about to send their first request.
const SHORT_WAIT_MS: u64 = 1_000;
/// How much a moment counts of one that has never sent a request, of one in the middle of one, and of one between two.
const WEIGHT_OF_NEWCOMERS: u64 = 16;
const WEIGHT_OF_REQUESTS: u64 = 4;
const WEIGHT_OF_KNOWN: u64 = 1;

const IDLE: u8 = 0;
const HEAD: u8 = 1;
const SERVING: u8 = 2;
const WRITING: u8 = 3;
const HANDSHAKE: u8 = 4;

/// One connection of a port.
pub(super) struct Connection {
    pub(super) peer: Peer,
    /// How many connections its caller has; `None` for a trusted proxy.
    pub(super) crowd: Option<Arc<AtomicUsize>>,
    /// What its task has been told and has not seen yet, in bits.
    signals: AtomicU8,
    task: AtomicWaker,
    epoch: Instant,
    phase: AtomicU8,
    phase_since: AtomicU64,
    /// It has had an answer.
    served: AtomicBool,
    read_at: AtomicU64,
    /// Since when a body is waited for; 0 when none is.
    body_since: AtomicU64,
    /// How long this body was waited for before that.
    body_waited: AtomicU64,
    body_bytes: AtomicU64,
    /// Since when an answer waits for its client to read; 0 when none does.
    stalled_since: AtomicU64,
    stalled_bytes: AtomicU64,
    written_at: AtomicU64,
    /// The port stops.
    stopping: AtomicBool,
}

/// What the task of a connection is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    /// End it, unless its request is being worked on: then after that.
    Close = 1,
    /// The body comes too slowly.
    SlowBody = 2,
    /// The port stops: end it when the request in flight is answered, and soon.
    Stop = 4,
}

/// How willingly a connection is given up: the larger, the sooner. First those of callers that have many, for nobody else
/// should feel that somebody has too many.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Idleness {
    crowd: usize,
    weighed_ms: u64,
    is_silent_newcomer: bool,
}

impl Idleness {
    /// It had its time to send a first request.
    pub(super) fn is_silent_newcomer(&self) -> bool {
        self.is_silent_newcomer
    }
}

impl Connection {
    /// Times are milliseconds since `epoch`, which lies in the past.
    pub(super) fn new(peer: Peer, crowd: Option<Arc<AtomicUsize>>, epoch: Instant) -> Self {
        let connection = Self {
            peer,
            crowd,
            signals: AtomicU8::new(0),
            task: AtomicWaker::new(),
            epoch,
            phase: AtomicU8::new(IDLE),
            phase_since: AtomicU64::new(0),
            served: AtomicBool::new(false),
            read_at: AtomicU64::new(0),
            body_since: AtomicU64::new(0),
            body_waited: AtomicU64::new(0),
            body_bytes: AtomicU64::new(0),
            stalled_since: AtomicU64::new(0),
            stalled_bytes: AtomicU64::new(0),
            written_at: AtomicU64::new(0),
            stopping: AtomicBool::new(false),
        };
        connection.enter(if peer.over_tls { HANDSHAKE } else { IDLE });
        connection
    }

    fn now(&self) -> u64 {
        moment(self.epoch, Instant::now())
    }

    fn enter(&self, phase: u8) {
        self.phase_since.store(self.now(), Relaxed);
        self.phase.store(phase, Relaxed);
    }

    /// Tells its task.
    pub(super) fn tell(&self, signal: Signal) {
        if signal == Signal::Stop {
            self.stopping.store(true, Relaxed);
        }
        self.signals.fetch_or(signal as u8, AcqRel);
        self.task.wake();
    }

    /// Whether the port stops: what could go on for ever ends.
    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Relaxed)
    }

    /// Has what is told from now on wake its task.
    pub(super) fn listen(&self, task: &Waker) {
        self.task.register(task);
    }

    /// Whether its task was told; it is told once.
    pub(super) fn heard(&self, signal: Signal) -> bool {
        let bit = signal as u8;
        self.signals.load(Acquire) & bit != 0 && self.signals.fetch_and(!bit, AcqRel) & bit != 0
    }

    /// The TLS handshake is not over.
    pub(super) fn is_shaking_hands(&self) -> bool {
        self.phase.load(Relaxed) == HANDSHAKE
    }

    /// The TLS handshake is over, and the first request is waited for.
    pub(super) fn shook_hands(&self) {
        self.enter(IDLE);
    }

    /// Bytes have come.
    pub(super) fn read(&self) {
        if self.phase.load(Relaxed) == IDLE {
            self.enter(HEAD);
        }
        self.read_at.store(self.now(), Relaxed);
    }

    /// A head is whole, and its request is being answered.
    pub(super) fn begin(&self) {
        // What was said of the body before is of no matter to this one.
        self.heard(Signal::SlowBody);
        self.body_since.store(0, Relaxed);
        self.body_waited.store(0, Relaxed);
        self.body_bytes.store(0, Relaxed);
        self.enter(SERVING);
    }

    /// The answer is there.
    pub(super) fn answered(&self) {
        self.enter(WRITING);
    }

    /// The service asks for more of the body, and nothing is there.
    pub(super) fn body_waits(&self) {
        if self.body_since.load(Relaxed) == 0 {
            self.body_since.store(self.now(), Relaxed);
        }
    }

    /// More of the body came, or its end.
    pub(super) fn body_came(&self, bytes: usize) {
        let since = self.body_since.swap(0, Relaxed);
        if since != 0 {
            self.body_waited.fetch_add(self.now().saturating_sub(since), Relaxed);
        }
        self.body_bytes.fetch_add(bytes as u64, Relaxed);
    }

    /// The client takes no more bytes for now.
    pub(super) fn stalls(&self) {
        if self.stalled_since.load(Relaxed) == 0 {
            let now = self.now();
            self.stalled_bytes.store(0, Relaxed);
            self.written_at.store(now, Relaxed);
            self.stalled_since.store(now, Relaxed);
        }
    }

    /// The client has taken bytes.
    pub(super) fn wrote(&self, bytes: usize) {
        if self.stalled_since.load(Relaxed) != 0 {
            self.stalled_bytes.fetch_add(bytes as u64, Relaxed);
            self.written_at.store(self.now(), Relaxed);
        }
    }

    /// Nothing waits to be written.
    pub(super) fn flushed(&self) {
        self.stalled_since.store(0, Relaxed);
        if self.phase.load(Relaxed) == WRITING {
            self.served.store(true, Relaxed);
            self.enter(IDLE);
        }
    }

    /// An answer waits for its client to read.
    pub(super) fn is_stalled(&self) -> bool {
        self.stalled_since.load(Relaxed) != 0
    }

    /// A body is waited for.
    pub(super) fn is_receiving(&self) -> bool {
        self.phase.load(Relaxed) == SERVING && self.body_since.load(Relaxed) != 0
    }

    /// The request is whole and its answer is being made.
    pub(super) fn is_worked_on(&self) -> bool {
        self.phase.load(Relaxed) == SERVING && self.body_since.load(Relaxed) == 0
    }

    fn body_waited(&self, now: u64) -> u64 {
        match self.body_since.load(Relaxed) {
            0 => 0,
            since => self.body_waited.load(Relaxed) + now.saturating_sub(since),
        }
    }

    /// What its task is to be told when its client has taken too long.
    pub(super) fn overdue(&self, now: u64, limits: &ConnectionLimits) -> Option<Signal> {
        if self.is_shaking_hands() {
            let age = now.saturating_sub(self.phase_since.load(Relaxed));
            return (age > millis(limits.handshake_timeout)).then_some(Signal::Close);
        }
        let stalled_since = self.stalled_since.load(Relaxed);
        if stalled_since != 0 {
            let stalled = now.saturating_sub(stalled_since);
            let silent = now.saturating_sub(self.written_at.load(Relaxed)) > millis(limits.write_timeout);
            let slow = is_slow(self.stalled_bytes.load(Relaxed), stalled, limits);
            return (silent || slow).then_some(Signal::Close);
        }
        let age = now.saturating_sub(self.phase_since.load(Relaxed));
        match self.phase.load(Relaxed) {
            IDLE if self.served.load(Relaxed) => (age > millis(limits.idle_timeout)).then_some(Signal::Close),
            IDLE | HEAD => (age > millis(limits.head_timeout)).then_some(Signal::Close),
            SERVING => {
                let since = self.body_since.load(Relaxed);
                if since == 0 {
                    return None;
                }
                let silent = now.saturating_sub(since.max(self.read_at.load(Relaxed))) > millis(limits.read_timeout);
                let slow = is_slow(self.body_bytes.load(Relaxed), self.body_waited(now), limits);
                (silent || slow).then_some(Signal::SlowBody)
            }
            _ => None,
        }
    }

    /// How willingly it is given up for another; `None` when it may not be, because we work on its request or its answer
    /// is being written. A connection that has only just come must not be the first to go: its request is on the way,
    /// while others have let us wait for longer.
    pub(super) fn idleness(&self, now: u64) -> Option<Idleness> {
        let age = now.saturating_sub(self.phase_since.load(Relaxed));
        let phase = self.phase.load(Relaxed);
        let is_newcomer = !self.served.load(Relaxed) && matches!(phase, IDLE | HEAD | HANDSHAKE);
        let (waited_ms, weight) = match phase {
            HANDSHAKE => (age, WEIGHT_OF_NEWCOMERS),
            SERVING if self.is_worked_on() => return None,
            // Progress of an answer counts for its client, but not that of a body: every drip would be progress.
            _ if self.is_stalled() => (now.saturating_sub(self.written_at.load(Relaxed)), WEIGHT_OF_REQUESTS),
            SERVING => (self.body_waited(now), WEIGHT_OF_REQUESTS),
            IDLE | HEAD if is_newcomer => (age, WEIGHT_OF_NEWCOMERS),
            HEAD => (age, WEIGHT_OF_REQUESTS),
            IDLE => (age, WEIGHT_OF_KNOWN),
            _ => return None,
        };
        let crowd = self.crowd.as_ref().map_or(0, |crowd| crowd.load(Relaxed));
        let is_silent_newcomer = is_newcomer && waited_ms > SHORT_WAIT_MS;
        Some(Idleness { crowd, weighed_ms: waited_ms.saturating_mul(weight), is_silent_newcomer })
    }
}

fn is_slow(bytes: u64, waited_ms: u64, limits: &ConnectionLimits) -> bool {
    waited_ms > RATE_GRACE_MS && bytes.saturating_mul(1000) / waited_ms < limits.rate_min
}

/// A point in time as milliseconds since `epoch`, never 0.
pub(super) fn moment(epoch: Instant, now: Instant) -> u64 {
    millis(now.duration_since(epoch)) + 1
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection() -> Connection {
        let address = "192.0.2.1:1".parse().unwrap();
        Connection::new(Peer { address, local: address, over_tls: false }, None, Instant::now())
    }

    #[test]
    fn every_wait_for_a_client_has_an_end() {
        let limits = ConnectionLimits::default();
        let (soon, late) = (9_000, 11_000);
        let fresh = connection();
        assert_eq!((fresh.overdue(soon, &limits), fresh.overdue(late, &limits)), (None, Some(Signal::Close)));
        fresh.read();
        assert_eq!((fresh.overdue(soon, &limits), fresh.overdue(late, &limits)), (None, Some(Signal::Close)));
        fresh.begin();
        assert_eq!(fresh.overdue(1 << 40, &limits), None, "what we work on is not its client's wait");
        fresh.body_waits();
        assert_eq!(fresh.overdue(4_000, &limits), None);
        assert_eq!(fresh.overdue(6_000, &limits), Some(Signal::SlowBody), "below the least rate");
        fresh.body_bytes.store(1 << 20, Relaxed);
        assert_eq!((fresh.overdue(soon, &limits), fresh.overdue(late, &limits)), (None, Some(Signal::SlowBody)));
        fresh.body_came(1);
        fresh.answered();
        fresh.stalls();
        assert_eq!((fresh.overdue(4_000, &limits), fresh.overdue(6_000, &limits)), (None, Some(Signal::Close)));
        fresh.wrote(1 << 20);
        assert_eq!((fresh.overdue(soon, &limits), fresh.overdue(late, &limits)), (None, Some(Signal::Close)));
        fresh.flushed();
        assert_eq!((fresh.overdue(59_000, &limits), fresh.overdue(61_000, &limits)), (None, Some(Signal::Close)));
    }

    #[test]
    fn a_handshake_has_an_end_whatever_comes_of_it() {
        let limits = ConnectionLimits::default();
        let address = "192.0.2.1:1".parse().unwrap();
        let new = Connection::new(Peer { address, local: address, over_tls: true }, None, Instant::now());
        // Each byte is progress, and an answer that is not read is none; the end is the same.
        new.read();
        new.stalls();
        assert_eq!((new.overdue(9_000, &limits), new.overdue(11_000, &limits)), (None, Some(Signal::Close)));
        assert!(new.idleness(2_000).is_some_and(|idleness| idleness.is_silent_newcomer()));
        new.flushed();
        assert!(new.is_shaking_hands());
        new.shook_hands();
        assert!(!new.is_shaking_hands());
        assert_eq!((new.overdue(9_000, &limits), new.overdue(11_000, &limits)), (None, Some(Signal::Close)));
    }

    #[test]
    fn newcomers_go_first_and_work_never() {
        let (newcomer, known, busy) = (connection(), connection(), connection());
        known.begin();
        known.answered();
        known.flushed();
        busy.begin();
        assert_eq!(busy.idleness(1 << 40), None);
        assert!(newcomer.idleness(1_000) > known.idleness(10_000));
        let receiving = connection();
        receiving.begin();
        receiving.body_waits();
        assert!(receiving.idleness(2_000) > known.idleness(2_000));
        assert!(newcomer.idleness(2_000) > receiving.idleness(2_000));
        assert!(receiving.idleness(2_000) > newcomer.idleness(100), "who has only just come is not the first to go");
        receiving.body_came(1);
        assert_eq!(receiving.idleness(1 << 40), None, "its request is whole");
    }
}

//! What a destination promises.
//!
//! Nouns: a **batch** (what one sync hands over: the events and violations of a range of the log), a **delivery**
//! (what became of it), a **failure** (nothing became of it, and whether to try again).
//!
//! The contract of [`Destination`], for everyone who implements it:
//! * One caller at a time; batches of one sync come in log order, without gaps: each `range` starts where the last
//!   durable one ended.
//! * `deliver` answers `Ok` only when the far side says that every event of the batch is durable there, or is in
//!   [`Delivery::rejected`], which the caller quarantines. The caller advances its cursor on nothing else.
//! * A destination that keeps a ledger names what it can never take in [`Failure::Refused`], before anything of the batch
//!   counts: the caller quarantines those events durably and delivers the others. Named after the ledger has moved, they
//!   would be lost by a crash in between.
//! * A batch may come again after a failure, a crash or a lost answer, cut at other places. A destination that keeps
//!   a ledger must leave no event twice: it skips what lies below its [`Destination::durable_to`].
//! * An empty batch is legal and moves the ledger.
//! * What it defers counts as settled: the caller keeps those events in the same transaction that moves the cursor, and
//!   then says [`Destination::recorded`].
//! * Dropping a `deliver` before its end is allowed at any point; the batch comes again.
//! * While [`Destination::holds_part`] is true, that very batch comes next, with the same events but for those that were refused: rows of
//!   another one would stand beside the part that is there already.

use std::borrow::Cow;
use std::collections::HashSet;
use std::future::Future;
use std::ops::Range;
use std::pin::Pin;
use std::sync::Arc;

use crate::{Event, ViolationRecord};

/// A boxed future, so that a sync can hold any destination.
pub type Reply<'a, T> = Pin<Box<dyn Future<Output = Result<T, Failure>> + Send + 'a>>;

/// A far side that takes batches.
pub trait Destination: Send {
    /// The log offset up to which (exclusive) everything of this sync is durable at the far side, by its own
    /// ledger; `None` when it has never seen this sync.
    fn durable_to(&mut self) -> Reply<'_, Option<u64>>;

    /// Makes `batch` durable, exactly once where the far side keeps a ledger.
    fn deliver(&mut self, batch: Arc<Batch>) -> Reply<'_, Delivery>;

    /// The caller has recorded the last delivery: the cursor has moved and what was deferred is kept.
    fn recorded(&mut self) {}

    /// Whether a part of the batch that did not come to its end may be at the far side, and stays there.
    fn holds_part(&self) -> bool {
        false
    }

    /// Ends what works beside the caller, and gives up what is held open. Nothing is asked of the destination after it. To
    /// drop one that was not closed, or to drop the call, loses nothing: at the worst, events go twice where there is no ledger.
    fn close(&mut self) -> Reply<'_, ()> {
        Box::pin(async { Ok(()) })
    }
}

/// What one sync hands over at once.
#[derive(Debug, Default, Clone)]
pub struct Batch {
    /// Offsets of the log that this batch settles: start inclusive, end exclusive.
    pub range: Range<u64>,
    /// In log order. Several may share an offset (fan-out); then `part` differs.
    pub events: Vec<Arc<Event>>,
    pub violations: Vec<Arc<ViolationRecord>>,
}

impl Batch {
    /// The same log range without these events.
    #[must_use]
    pub fn without(&self, rejected: &[Rejected]) -> Self {
        let gone: HashSet<usize> = rejected.iter().map(|rejected| rejected.index).collect();
        let kept = self.events.iter().enumerate().filter(|(index, _)| !gone.contains(index));
        let events = kept.map(|(_, event)| Arc::clone(event)).collect();
        Self { range: self.range.clone(), events, violations: self.violations.clone() }
    }
}

/// A batch that is durable at the far side.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// Events of the batch now at the far side, duplicates included.
    pub delivered: u64,
    /// Events that were there already (same `messageId`), by the far side's own key.
    pub duplicates: u64,
    /// Events that the far side can never take, of a destination without a ledger.
    pub rejected: Vec<Rejected>,
    /// Events that the destination did not want, on purpose: indexes into [`Batch::events`].
    pub skipped: Vec<usize>,
    /// Events that wait for another try already: the batch came before. Indexes as well.
    pub waiting: Vec<usize>,
    /// Events that could not be delivered yet and must not hold the others up.
    pub deferred: Vec<Deferred>,
    /// Things an operator should hear, one sentence each (a column widened, a cap reached).
    pub notices: Vec<String>,
}

/// One event that the far side can never take.
#[derive(Debug, PartialEq, Eq)]
pub struct Rejected {
    /// Index into [`Batch::events`].
    pub index: usize,
    pub code: Cow<'static, str>,
    pub reason: String,
    /// What else is known, as JSON text without any secret.
    pub detail: Option<String>,
}

/// One event that waits for another try. The caller keeps it, in one transaction with the cursor; who deferred it tries
/// it again.
#[derive(Debug, PartialEq, Eq)]
pub struct Deferred {
    pub index: usize,
    /// Whose event it is; empty when nobody's.
    pub user: String,
    pub attempts: u32,
    pub tried_at_us: i64,
    pub next_at_us: i64,
    pub error: String,
}

/// Nothing of the batch counts as delivered.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Worth trying again: busy, full, away.
    #[error("{reason}")]
    Retry {
        reason: String,
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
    /// These events can never be taken; the others can, once these are quarantined.
    #[error("{} events are refused, the first because: {}", rejected.len(), rejected.first().map_or("", |first| &first.reason))]
    Refused { rejected: Vec<Rejected> },
    /// No retry will help until an operator acts; `advice` says how.
    #[error("{reason}; {advice}")]
    Stop {
        reason: String,
        advice: String,
        #[source]
        cause: Option<Box<dyn std::error::Error + Send + Sync>>,
    },
}

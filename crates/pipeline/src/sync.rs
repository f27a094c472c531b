//! One route from a source to a destination.
//!
//! Nouns: a **sync** (its source, its destination, what it takes and how it changes it), a **gatherer** (turns
//! log ranges into batches), a **worker** (delivers them). The two overlap: while one batch is being made durable, the
//! next is gathered. A worker is never changed: it ends by a **stop order** and hands back its destination, and another one goes on
//! from the ledger.
//!
//! Guarantees: batches are delivered in log order, one at a time; the cursor moves only over what the destination
//! called durable; what the destination rejects is in quarantine before the cursor moves over it. A failing
//! destination is tried again with growing pauses and delays nobody else: the log keeps what it has not taken. A batch of which
//! a part may be at the destination comes again as it is, before anything else, to the next worker too.

mod backlog;
mod choice;
mod filter;
mod gather;
mod mapping;
mod stop_order;
mod worker;

use std::sync::Arc;
use std::time::Duration;

pub use choice::{Consent, spelling};
pub use filter::{FilteredBy, SyncFilter};
pub use gather::GatheredBatch;
pub use mapping::{Mapping, Pointer};
pub use stop_order::StopOrder;
pub use worker::{EndedWorker, Worker, pending};

use tidegate_event::destination::Destination;

/// A sync, checked.
pub struct Sync {
    pub name: Arc<str>,
    pub source: Arc<str>,
    pub filter: SyncFilter,
    pub mapping: Mapping,
    pub start: Start,
    pub settings: SyncSettings,
    pub destination: Box<dyn Destination>,
}

/// Where a sync begins.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Start {
    /// Events below this offset are not for it.
    pub first: u64,
    /// It reads the log from here on when its destination has never seen it; not beyond what the source's functions
    /// have been through, for they go over the log in order.
    pub read_from: u64,
}

/// How large batches grow and how patient retries are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SyncSettings {
    pub batch_events_max: usize,
    pub batch_bytes_max: usize,
    /// How long events may wait for others, and how many are company enough. Nobody waits by default.
    pub company: Company,
    pub retry_pause_min: Duration,
    pub retry_pause_max: Duration,
}

/// What a small batch waits for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Company {
    pub events: usize,
    pub age_max: Duration,
}

impl Default for SyncSettings {
    fn default() -> Self {
        Self {
            batch_events_max: 3072,
            batch_bytes_max: 8 << 20,
            company: Company::default(),
            retry_pause_min: Duration::from_millis(100),
            retry_pause_max: Duration::from_secs(30),
        }
    }
}

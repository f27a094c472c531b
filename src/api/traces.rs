//! What has become of single events, as it is asked for here. Who knows the log and what runs is not known here.

use std::collections::BTreeSet;
use std::pin::Pin;

use tidegate_api_types::trace::EventTraces;

use super::tries::TryRefusal;

/// An order to find records of the log, and what became of them. Nothing is changed by it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TraceOrder {
    /// All records with this id; where there is none, the newest that the other conditions let through.
    pub message_id: Option<String>,
    pub user: Option<String>,
    pub event: Option<String>,
    pub source: Option<String>,
    /// Microseconds since the epoch.
    pub since_us: Option<i64>,
    /// Microseconds since the epoch, exclusive.
    pub until_us: Option<i64>,
    pub limit: usize,
    /// Look into the archive of the log as well.
    pub archive: bool,
    /// Of these sources alone; of all where there is none.
    pub sources: Option<BTreeSet<String>>,
}

/// A search on its way.
pub type TracingEvents = Pin<Box<dyn Future<Output = Result<EventTraces, TryRefusal>> + Send>>;

/// Finds out what has become of events.
pub type TraceEvents = Box<dyn Fn(TraceOrder) -> TracingEvents + Send + Sync>;

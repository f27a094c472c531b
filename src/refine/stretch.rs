//! A refined range of the log.

use std::ops::Range;
use std::sync::Arc;

use crate::event::{Event, ViolationRecord};

/// What became of a range of the log, for every sync to take from.
#[derive(Debug, Default)]
pub struct Stretch {
    pub range: Range<u64>,
    /// What goes on, of all sources, by offset and part.
    pub events: Vec<Arc<Event>>,
    /// What the contracts found, of all sources, by offset.
    pub violations: Vec<Arc<ViolationRecord>>,
    /// Bytes of the log that it came from.
    pub log_bytes: usize,
}

//! What of a log range goes nowhere: duplicates, what is about somebody who is suppressed, and records that were erased since.

use std::sync::Arc;

use tidegate_event::record::{ErasedRecord, Unreadable};
use tidegate_log::LogEntry;

use super::log_range::SourcePart;

/// What becomes of a record before anybody judges it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RecordVerdict {
    GoesOn,
    Duplicate,
    Suppressed,
    /// It was erased, for it was older than its source keeps events.
    Expired,
}

impl RecordVerdict {
    /// As it was decided when the range was refined first; both are in order.
    pub(super) fn again(offset: u64, (duplicates, suppressed): (&[u64], &[u64])) -> Self {
        if duplicates.binary_search(&offset).is_ok() {
            Self::Duplicate
        } else if suppressed.binary_search(&offset).is_ok() {
            Self::Suppressed
        } else {
            Self::GoesOn
        }
    }
}

/// What is left of a record that was erased.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ErasedEntry {
    pub(super) offset: u64,
    pub(super) source: Arc<str>,
    pub(super) received_at_us: i64,
    /// It was counted when it came first.
    pub(super) was_retry: bool,
    /// It was older than its source keeps events; otherwise somebody was forgotten.
    pub(super) is_expired: bool,
}

impl ErasedEntry {
    /// `None` for a record that was not erased.
    pub(super) fn of(entry: &LogEntry) -> Option<Result<Self, Unreadable>> {
        let read = ErasedRecord::read(&entry.shared, &entry.own)?;
        Some(read.map(|erased| Self {
            offset: entry.offset,
            source: Arc::from(erased.source),
            received_at_us: erased.received_at_us,
            was_retry: erased.was_retry,
            is_expired: erased.is_expired(),
        }))
    }
}

/// Functions see the time of the first event of a part. That of one which went on and was erased since stays it.
pub(super) fn keep_times(parts: &mut Vec<SourcePart>, erased: &[ErasedEntry]) {
    for entry in erased {
        let found = parts.iter().position(|part| part.is_of(&entry.source));
        let at = found.unwrap_or_else(|| {
            parts.push(SourcePart::new(Arc::clone(&entry.source), Vec::new(), None));
            parts.len() - 1
        });
        if let Some(part) = parts.get_mut(at) {
            part.began_with(entry.offset, entry.received_at_us);
        }
    }
}

//! What became of a batch of a replay, for its report and for the state.

use std::sync::Arc;

use tidegate_api_types::replay::ReplayReport;
use tidegate_event::EventId;
use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_pipeline::replay::ReplayedPart;

/// What a report has of each.
const NAMES_MAX: usize = 500;
const NOTICES_MAX: usize = 50;
/// All names behind those.
const FURTHER: &str = "(others)";

/// A batch that is durable at the destination.
pub(super) struct HandedBatch {
    pub(super) batch: Arc<Batch>,
    pub(super) delivery: Delivery,
}

/// Adds what was counted before anything was delivered.
pub(super) fn add_counted(report: &mut ReplayReport, part: &ReplayedPart) {
    let counts = &mut report.counts;
    counts.came += part.counts.came;
    counts.suppressed += part.counts.suppressed;
    counts.had_before += part.counts.had_before;
    counts.filtered += part.counts.filtered;
    counts.dropped += part.counts.dropped;
    counts.stopped += part.counts.stopped;
    for (name, counted) in &part.names {
        let is_further = report.names.len() >= NAMES_MAX && !report.names.contains_key(name);
        let name = if is_further { FURTHER } else { name.as_str() };
        let known = report.names.entry(name.to_owned()).or_default();
        known.events += counted.events;
        known.bytes += counted.bytes;
    }
}

/// Keeps what a destination said, each sentence once.
pub(super) fn add_notices(known: &mut Vec<String>, said: &[String]) {
    for notice in said {
        if known.len() < NOTICES_MAX && !known.contains(notice) {
            known.push(notice.clone());
        }
    }
}

/// Which events of a batch were refused, and by which code.
pub(super) fn refusals(batch: &Batch, rejected: &[Rejected]) -> Vec<(EventId, String)> {
    let refused = rejected.iter().filter_map(|one| Some((batch.events.get(one.index)?.id, one.code.to_string())));
    refused.collect()
}

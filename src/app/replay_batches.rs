//! What became of a batch of a replay, for its report and for the state. A rebuild reports in the same way.

use std::sync::Arc;

use tidegate_api_types::replay::{ReplayCounts, ReplayRefusal, ReplayReport};
use tidegate_event::EventId;
use tidegate_event::destination::{Batch, Delivery, Rejected};
use tidegate_pipeline::replay::{ReplayedCounts, ReplayedPart};

/// What a report has of each.
const NAMES_MAX: usize = 500;
const NOTES_MAX: usize = 50;
const REFUSED_MAX: usize = 20;
/// All names behind those.
const FURTHER: &str = "(others)";

/// A batch that is durable at the destination.
pub(super) struct HandedBatch {
    pub(super) batch: Arc<Batch>,
    pub(super) delivery: Delivery,
}

/// Adds what was counted before anything was delivered.
pub(super) fn add_counts(counts: &mut ReplayCounts, counted: &ReplayedCounts) {
    counts.came += counted.came;
    counts.suppressed += counted.suppressed;
    counts.had_before += counted.had_before;
    counts.filtered += counted.filtered;
    counts.dropped += counted.dropped;
    counts.stopped += counted.stopped;
}

/// The same, with how many there were of each name.
pub(super) fn add_counted(report: &mut ReplayReport, part: &ReplayedPart) {
    add_counts(&mut report.counts, &part.counts);
    for (name, counted) in &part.names {
        let is_further = report.names.len() >= NAMES_MAX && !report.names.contains_key(name);
        let name = if is_further { FURTHER } else { name.as_str() };
        let known = report.names.entry(name.to_owned()).or_default();
        known.events += counted.events;
        known.bytes += counted.bytes;
    }
}

/// Says something once.
pub(super) fn note(notes: &mut Vec<String>, text: &str) {
    if notes.len() < NOTES_MAX && !notes.iter().any(|known| known == text) {
        notes.push(text.to_owned());
    }
}

/// Keeps what a destination said, each sentence once.
pub(super) fn add_notices(known: &mut Vec<String>, said: &[String]) {
    said.iter().for_each(|notice| note(known, notice));
}

/// Which events of a batch were refused, and by which code.
pub(super) fn refusals(batch: &Batch, rejected: &[Rejected]) -> Vec<(EventId, String)> {
    let refused = rejected.iter().filter_map(|one| Some((batch.events.get(one.index)?.id, one.code.to_string())));
    refused.collect()
}

/// Names events that were refused, the first ones.
pub(super) fn name_refused(named: &mut Vec<ReplayRefusal>, refused: Vec<(EventId, String)>) {
    named.extend(refused.into_iter().map(|(id, code)| ReplayRefusal { position: id.position.to_string(), code }));
    named.truncate(REFUSED_MAX);
}

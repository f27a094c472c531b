//! What a destination has by its own ledger, and the state has not heard of: a crash was between the two. It is counted, so that nothing is
//! missing from what became of events.

use std::collections::HashMap;

use tidegate_event::EventId;
use tidegate_event::destination::Failure;
use tidegate_state::{BatchFates, Quarantined, SyncProgress};

use super::super::gather::Gatherer;
use super::super::stop_order::ordered;
use super::Deliverer;
use crate::fates::{FateInputs, key_of_entry, made};
use crate::refine::RefineError;

/// Whose entries of the quarantine are read at once.
const OFFSETS_AT_ONCE: u64 = 16_384;

impl Deliverer {
    /// Counts what is there below `to`, and has the cursor come after. What cannot be looked at stays uncounted, and the state says so.
    pub(super) async fn count_by_ledger(&mut self, gatherer: &Gatherer, to: u64) {
        let known = self.state.cursor(&self.name).ok().flatten().filter(|cursor| *cursor > 0);
        let mut from = match known {
            Some(cursor) => cursor,
            // Its first batch.
            None if self.is_of_ledger && !self.had_another_life() => gatherer.first.max(self.log.oldest()),
            None => return self.begin_at_ledger(gatherer, to).await,
        };
        if from < self.log.oldest() {
            return;
        }
        while from < to {
            let mut stop = self.stop.clone();
            let end = to.min(from.saturating_add(OFFSETS_AT_ONCE));
            let entries = match self.state.quarantined_of_sync(&self.name, from..end) {
                Ok(entries) => entries,
                Err(error) => return self.tell_uncounted(&error),
            };
            let counted = tokio::select! {
                biased;
                _ = ordered(&mut stop) => return,
                counted = gatherer.by_ledger((from, end), &entries) => counted,
            };
            let (fates, end) = match counted {
                Ok(counted) => counted,
                Err(error) => return self.tell_uncounted(&error),
            };
            let progress = SyncProgress { cursor: end, fates: Some(fates), ..SyncProgress::default() };
            if let Err(error) = self.state.count_known(&self.name, &progress) {
                return self.tell_uncounted(&error);
            }
            from = end;
        }
    }

    /// Has the cursor come after a ledger of an earlier life of the name, of which nothing is counted: else all of it would look as if it
    /// waited until the next event comes.
    async fn begin_at_ledger(&mut self, gatherer: &Gatherer, to: u64) {
        if !self.is_of_ledger || to == 0 {
            return;
        }
        let mut stop = self.stop.clone();
        // Before the cursor: of a sync that has one, all below it was handed out.
        let closed = tokio::select! {
            biased;
            _ = ordered(&mut stop) => return,
            closed = gatherer.close_gap(to) => closed,
        };
        if let Err(error) = closed {
            return self.tell_uncounted(&error);
        }
        let progress = SyncProgress { cursor: to, ..SyncProgress::default() };
        if let Err(error) = self.state.count_known(&self.name, &progress) {
            self.tell_uncounted(&error);
        }
    }

    /// Whether the ledger may be that of an earlier sync of its name.
    fn had_another_life(&self) -> bool {
        self.state.ended_syncs().map_or(true, |ended| ended.iter().any(|ended| *ended.sync == *self.name))
    }

    fn tell_uncounted(&self, error: &dyn std::fmt::Display) {
        tracing::warn!(
            sync = &*self.label,
            error = %error,
            "what the destination has by its own ledger could not be counted"
        );
    }
}

impl Gatherer {
    /// What became of the events from an offset on, in one log range, by the ledger of the destination, and where that ends: at `to` at the
    /// latest. `entries` are those that were quarantined on the way.
    async fn by_ledger(
        &self,
        (from, to): (u64, u64),
        entries: &[Quarantined],
    ) -> Result<(BatchFates, u64), RefineError> {
        let refined = self.refiner.refined(&self.source, from).await?;
        let end = refined.range.end.min(to);
        let mut fates = BatchFates {
            source: self.source.to_string(),
            from,
            first: self.first,
            ranges_from: refined.range.start,
            left_out: refined.events.len() as u64,
            ..BatchFates::default()
        };
        let known = self.refiner.known_consents(&refined.events, &self.filter.consent.categories)?;
        let first = from.max(self.first).max(self.counted_from);
        let is_of_it = |id: EventId| (first..end).contains(&id.position.offset) && refined.takes(id);
        let mut inputs = FateInputs::default();
        let mut filtered: HashMap<u64, u64> = HashMap::new();
        for event in &refined.events {
            let offset = event.id.position.offset;
            if !(first..end).contains(&offset) || !refined.counts(event.id) || !refined.is_for(offset, &self.name) {
                continue;
            }
            fates.left_out -= 1;
            inputs.add(event);
            if self.filter.left_out_knowing(event, known.of(event.id)).is_some() {
                *filtered.entry(offset).or_default() += 1;
            }
        }
        for input in inputs.iter() {
            fates.tally.add(input.key(), |counts| {
                counts.came += 1;
                counts.made -= 1;
            });
        }
        let entries: Vec<&Quarantined> = entries.iter().filter(|entry| is_of_it(entry.id)).collect();
        for entry in &entries {
            let (hour, name) = key_of_entry(entry);
            made(&mut fates.tally, (hour, &name), |counts| &mut counts.quarantined);
        }
        for input in inputs.gone(entries.iter().map(|entry| entry.id.position.offset)) {
            match filtered.get_mut(&input.offset).filter(|left| **left > 0) {
                Some(left) => {
                    *left -= 1;
                    made(&mut fates.tally, input.key(), |counts| &mut counts.filtered);
                }
                None => made(&mut fates.tally, input.key(), |counts| &mut counts.by_ledger),
            }
        }
        Ok((fates, end))
    }
}

/// The destination has more than the log ever held: its ledger or the log is another one.
pub(super) fn ahead(durable: u64, committed: u64) -> Failure {
    Failure::Stop {
        reason: format!("the destination's ledger says {durable}, and the log ends at {committed}"),
        advice: format!(
            "if the data directory was lost or is not the one that belongs to this warehouse, give it back; otherwise \
             set the sync's row in _tidegate_ledger to {committed} (docs/warehouses.md says where that table is; of a stream, give \
             the destination another `ledger`)"
        ),
        cause: None,
    }
}

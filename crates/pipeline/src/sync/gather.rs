//! From log ranges to batches: filter, functions, mapping.

use std::sync::Arc;

use tidegate_event::destination::Batch;
use tidegate_event::{Event, Position};
use tidegate_log::Log;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::Quarantined;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{Mapping, SyncFilter, SyncSettings};
use crate::refine::{self, BatchContext, Refined, RefinerHandle};

/// A batch, and what was quarantined or left out of it on its way.
#[derive(Debug, Default)]
pub struct GatheredBatch {
    pub(super) batch: Batch,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) filtered: u64,
}

/// A batch, or in words why there is none for now.
pub(super) type NextBatch = Result<GatheredBatch, String>;

pub(super) struct Gatherer {
    pub(super) name: Arc<str>,
    /// The name in log lines.
    pub(super) label: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) filter: SyncFilter,
    pub(super) mapping: Mapping,
    /// Events below this offset are not for this sync.
    pub(super) first: u64,
    /// Its source may not have been handed out as far as it begins: its destination has a ledger of an earlier life of its name.
    pub(super) may_leave_gap: bool,
    pub(super) settings: SyncSettings,
    pub(super) refiner: RefinerHandle,
    pub(super) log: Arc<dyn Log>,
}

impl Gatherer {
    /// Gathers from `cursor` on until the refiner stops or nobody takes batches any more.
    pub(super) async fn run(mut self, mut cursor: u64, batches: mpsc::Sender<NextBatch>) {
        let mut pause = self.settings.retry_pause_min;
        let mut streak = Streak::default();
        loop {
            // A place first: no more than one batch waits while another is delivered.
            let Ok(place) = batches.reserve().await else { return };
            match self.next(cursor).await {
                Ok(gathered) => {
                    if let Some(Healed { seconds, attempts }) = streak.heals(std::time::Instant::now()) {
                        tracing::info!(
                            sync = &*self.label,
                            failed_for_s = seconds,
                            attempts,
                            "the log can be refined again"
                        );
                    }
                    cursor = gathered.batch.range.end;
                    pause = self.settings.retry_pause_min;
                    place.send(Ok(gathered));
                }
                Err(refine::RefineError::Stopped) => return,
                Err(error) => {
                    let reason = error.to_string();
                    if streak.fails(&reason, std::time::Instant::now()) {
                        tracing::error!(
                            sync = &*self.label,
                            error = reason,
                            "the log could not be refined; the sync waits and tries again"
                        );
                        place.send(Err(format!("the log could not be refined: {reason}")));
                    } else {
                        tracing::debug!(sync = &*self.label, error = reason, "the log could not be refined");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.settings.retry_pause_max);
                }
            }
        }
    }

    /// Has the source handed out up to `cursor`. Who skips what nobody had would leave it without its functions: other syncs that come by
    /// later would get what the functions keep back, and nothing would be in quarantine.
    async fn close_gap(&self, cursor: u64) -> Result<(), refine::RefineError> {
        let mut from = self.refiner.handed_to(&self.source).max(self.log.oldest());
        while from < cursor {
            from = self.refiner.refined(&self.source, from).await?.range.end;
        }
        Ok(())
    }

    /// One batch that starts at `cursor`: whatever is there now, up to the bounds; at least one log range.
    async fn next(&mut self, cursor: u64) -> Result<GatheredBatch, refine::RefineError> {
        if self.may_leave_gap {
            self.close_gap(cursor).await?;
            self.may_leave_gap = false;
        }
        let mut gathered = GatheredBatch::default();
        gathered.batch.range = cursor..cursor;
        let (mut bytes, mut first_at) = (0, None);
        loop {
            let refined = self.refiner.refined(&self.source, gathered.batch.range.end).await?;
            bytes += refined.log_bytes;
            self.take(&refined, &mut gathered).await?;
            gathered.batch.range.end = refined.range.end;
            let full =
                gathered.batch.events.len() >= self.settings.batch_events_max || bytes >= self.settings.batch_bytes_max;
            let at_end = gathered.batch.range.end >= self.log.committed();
            if full || (at_end && !self.company_comes(&gathered.batch, &mut first_at).await) {
                return Ok(gathered);
            }
        }
    }

    /// Waits for further records while a batch is small; false when it goes as it is. Its age counts from its first
    /// event: before there is one, nothing waits.
    async fn company_comes(&self, batch: &Batch, first_at: &mut Option<Instant>) -> bool {
        let company = self.settings.company;
        if company.age_max.is_zero() || batch.events.is_empty() || batch.events.len() >= company.events {
            return false;
        }
        let first_at = *first_at.get_or_insert_with(Instant::now);
        let mut committed = self.log.follow();
        let more = committed.wait_for(|committed| *committed > batch.range.end);
        matches!(tokio::time::timeout_at(first_at + company.age_max, more).await, Ok(Ok(_)))
    }

    async fn take(&mut self, refined: &Refined, gathered: &mut GatheredBatch) -> Result<(), refine::RefineError> {
        let from = gathered.batch.range.end.max(self.first);
        gathered
            .batch
            .violations
            .extend(refined.violations.iter().filter(|found| found.position.offset >= from).cloned());
        let events = refined.events.iter().filter(|event| event.id.position.offset >= from);
        let plain = self.refiner.functions_of_sync(&self.name).is_empty();
        if self.filter.takes_all() && plain && self.mapping.is_empty() {
            gathered.batch.events.extend(events.cloned());
            return Ok(());
        }
        let (taken, filtered): (Vec<_>, Vec<_>) = events.partition(|event| self.filter.takes(event));
        gathered.filtered += filtered.len() as u64;
        if plain && self.mapping.is_empty() {
            gathered.batch.events.extend(taken.into_iter().cloned());
            return Ok(());
        }
        let mut events: Vec<Event> = taken.into_iter().map(|event| Event::clone(event)).collect();
        if !plain && !events.is_empty() {
            let batch = BatchContext {
                scope: Arc::clone(&self.name),
                now_ms: refined.now_ms,
                seed: Position::new(self.refiner.partition(), refined.range.start).bits(),
                bytes: refined.log_bytes,
                at_us: events.first().map_or(0, |event| event.received_at_us),
            };
            let chain_output = self.refiner.run(events, &batch).await?;
            gathered.quarantined.extend(chain_output.quarantined);
            gathered.filtered += chain_output.dropped.values().sum::<u64>();
            events = chain_output.events;
        }
        gathered.batch.events.extend(events.into_iter().map(|mut event| {
            self.mapping.apply(&mut event.body);
            Arc::new(event)
        }));
        Ok(())
    }
}

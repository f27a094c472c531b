//! From log ranges to batches: filter, functions, mapping.

use std::sync::Arc;

use tidegate_event::destination::Batch;
use tidegate_event::{Event, Position};
use tidegate_log::Log;
use tidegate_process::telemetry::{Healed, Streak};
use tidegate_state::{BatchFates, EndedRetry, FateCounts, KeyedEvents, Quarantined};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::{FilteredBy, Mapping, SyncFilter, SyncSettings};
use crate::fates::{FateInputs, key_of, key_of_entry, key_of_unmapped, made};
use crate::refine::{self, BatchContext, FunctionTap, OpenRetries, Refined, RefinerHandle};
use crate::tap::{EventTaps, TapOutcome, TapPicks, TapStage};

/// A batch, and what was quarantined or left out of it on its way.
#[derive(Debug, Default)]
pub struct GatheredBatch {
    pub(super) batch: Batch,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) filtered: u64,
    /// What became of its events, where the destination takes all that it is handed.
    pub(super) fates: BatchFates,
    /// Retried events that are for this sync alone, of which nothing goes on.
    pub(super) ended_retries: Vec<EndedRetry>,
    pub(super) consents: JudgedConsents,
}

/// By which consent events of a batch were let through.
#[derive(Debug, Default)]
pub(super) struct JudgedConsents {
    /// How often what is known had changed by then; `None` where the sync asks for no consent.
    pub(super) generation: Option<u64>,
    /// As they were before functions and mapping.
    pub(super) events: Vec<Arc<Event>>,
}

impl GatheredBatch {
    /// Takes note of the retried events that are still open at the end.
    fn end(&mut self, open: OpenRetries) {
        let ended = open.ended();
        self.filtered += refine::not_made(&ended);
        self.ended_retries.extend(ended);
    }
}

/// A batch, or in words why there is none for now.
pub(super) type NextBatch = Result<GatheredBatch, String>;

#[derive(Clone)]
pub(super) struct Gatherer {
    pub(super) name: Arc<str>,
    /// The name in log lines.
    pub(super) label: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) filter: SyncFilter,
    pub(super) mapping: Mapping,
    /// Events below this offset are not for this sync.
    pub(super) first: u64,
    /// What became of events is counted from this offset on.
    pub(super) counted_from: u64,
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
    pub(super) async fn close_gap(&self, cursor: u64) -> Result<(), refine::RefineError> {
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
        gathered.fates =
            BatchFates { source: self.source.to_string(), from: cursor, first: self.first, ..BatchFates::default() };
        let mut is_begun = false;
        let (mut bytes, mut first_at) = (0, None);
        loop {
            let refined = self.refiner.refined(&self.source, gathered.batch.range.end).await?;
            bytes += refined.log_bytes;
            if !std::mem::replace(&mut is_begun, true) {
                gathered.fates.ranges_from = refined.range.start;
            }
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

    /// Whether all of a log range goes on as it is and counts, from the offset where it is taken on: then none of its events need be looked at.
    fn takes_as_it_is(&self, refined: &Refined, from: u64) -> bool {
        refined.range.start >= from.max(self.counted_from)
            && self.filter.takes_all()
            && self.mapping.is_empty()
            && self.refiner.functions_of_sync(&self.name).is_empty()
    }

    async fn take(&mut self, refined: &Refined, gathered: &mut GatheredBatch) -> Result<(), refine::RefineError> {
        let from = gathered.batch.range.end.max(self.first);
        let is_for_it = |offset: u64| offset >= from && refined.is_for(offset, &self.name);
        gathered
            .batch
            .violations
            .extend(refined.violations.iter().filter(|found| is_for_it(found.position.offset)).cloned());
        // Of a retry, what this sync has had is not run again.
        let is_new = |event: &&Arc<Event>| is_for_it(event.id.position.offset) && refined.counts(event.id);
        let events = refined.events.iter().filter(is_new);
        let tap =
            self.refiner.taps().listened().map(|taps| SyncTap { taps, stage: TapStage::Sync(Arc::clone(&self.name)) });
        if let Some(keys) = refined.keys.as_deref().filter(|_| self.takes_as_it_is(refined, from)) {
            for KeyedEvents { hour, name, events } in keys {
                gathered.fates.tally.add((*hour, name), |counts| {
                    counts.came += events;
                    counts.delivered += events;
                });
            }
            gathered.batch.events.extend(refined.events.iter().cloned());
            if let Some(tap) = &tap {
                tap.passed(&refined.events);
            }
            return Ok(());
        }
        let known = self.refiner.known_consents(&refined.events, &self.filter.consent.categories)?;
        let takes = |event: &Event| self.filter.left_out_knowing(event, known.of(event.id)).is_none();
        let mut open = refined.open_for_sync(&self.name, from, takes);
        let is_counted = |offset: u64| offset >= self.counted_from;
        let fates = &mut gathered.fates;
        let mut left_out = refined.events.len() as u64;
        let mut came = |fates: &mut BatchFates, event: &Event, fate: fn(&mut FateCounts)| {
            if is_counted(event.id.position.offset) {
                left_out -= 1;
                fates.tally.add(key_of_unmapped(event), |counts| {
                    counts.came += 1;
                    fate(counts);
                });
            }
        };
        let plain = self.refiner.functions_of_sync(&self.name).is_empty();
        let start = gathered.batch.events.len();
        let (taken, filtered): (Vec<_>, Vec<_>) = if self.filter.takes_all() {
            (events.collect(), Vec::new())
        } else {
            events.partition(|event| takes(event))
        };
        if !self.filter.consent.categories.is_empty() {
            gathered.consents.generation.get_or_insert(known.generation);
            gathered.consents.events.extend(taken.iter().copied().cloned());
        }
        gathered.filtered += filtered.len() as u64;
        if let Some(tap) = &tap {
            tap.filtered(&filtered, |event| self.filter.left_out_knowing(event, known.of(event.id)));
        }
        filtered.into_iter().for_each(|event| came(fates, event, |counts| counts.filtered += 1));
        if plain && self.mapping.is_empty() {
            for event in taken {
                open.goes_on(event.id);
                if refined.takes(event.id) {
                    came(fates, event, |counts| counts.delivered += 1);
                    gathered.batch.events.push(Arc::clone(event));
                } else {
                    // Functions of this sync made the part, and there are none any more.
                    came(fates, event, |counts| counts.filtered += 1);
                }
            }
            fates.left_out += left_out;
            if let Some(tap) = &tap {
                tap.passed(&gathered.batch.events[start..]);
            }
            gathered.end(open);
            return Ok(());
        }
        // What comes out may have other names: each is one less here, and what it becomes is made.
        let mut inputs = FateInputs::default();
        for event in &taken {
            came(fates, event, |counts| counts.made -= 1);
            if is_counted(event.id.position.offset) {
                inputs.add(event);
            }
        }
        fates.left_out += left_out;
        let mut events: Vec<Event> = taken.into_iter().map(|event| Event::clone(event)).collect();
        let mut stopped = Vec::new();
        if !plain && !events.is_empty() {
            let batch = BatchContext {
                scope: Arc::clone(&self.name),
                now_ms: refined.now_ms,
                seed: Position::new(self.refiner.partition(), refined.range.start).bits(),
                bytes: refined.log_bytes,
                at_us: events.first().map_or(0, |event| event.received_at_us),
                tap: tap.as_ref().map(|tap| tap.of_functions(&self.name)),
            };
            let chain_output = self.refiner.run(events, &batch).await?;
            let quarantined = chain_output.quarantined.into_iter().filter(|entry| refined.concerns_sync(entry.id));
            stopped.extend(quarantined.inspect(|entry| open.is_stopped(entry.id)));
            gathered.filtered += chain_output.dropped.values().sum::<u64>();
            events = chain_output.events;
        }
        events.iter().for_each(|event| open.goes_on(event.id));
        events.retain(|event| refined.takes(event.id));
        let came_of = events.iter().map(|event| event.id).chain(stopped.iter().map(|entry| entry.id));
        for input in inputs.gone(came_of.map(|id| id.position.offset)) {
            made(&mut gathered.fates.tally, input.key(), |counts| &mut counts.dropped);
        }
        for entry in stopped.iter().filter(|entry| is_counted(entry.id.position.offset)) {
            let (hour, name) = key_of_entry(entry);
            made(&mut gathered.fates.tally, (hour, &name), |counts| &mut counts.quarantined);
        }
        gathered.quarantined.extend(stopped);
        let picks = tap.as_ref().and_then(|tap| tap.pick(events.iter()));
        for (at, mut event) in events.into_iter().enumerate() {
            let before = picks.as_ref().filter(|picks| picks.has(at)).map(|_| event.clone());
            self.mapping.apply(&mut event.body);
            if let (Some(picks), Some(before)) = (&picks, &before) {
                picks.show(at, before, &TapOutcome::Passed, &|| vec![event.to_json()]);
            }
            if is_counted(event.id.position.offset) {
                made(&mut gathered.fates.tally, key_of(&event), |counts| &mut counts.delivered);
            }
            gathered.batch.events.push(Arc::new(event));
        }
        gathered.end(open);
        Ok(())
    }
}

/// Where what a sync makes of events is offered.
struct SyncTap {
    taps: EventTaps,
    stage: TapStage,
}

impl SyncTap {
    /// Chooses among events before the mapping; `None` where nobody wants to see them.
    fn pick<'e>(&self, events: impl Iterator<Item = &'e Event> + Clone) -> Option<TapPicks> {
        self.taps.pick(&self.stage, events.map(Some))
    }

    fn passed(&self, events: &[Arc<Event>]) {
        let Some(picks) = self.pick(events.iter().map(|event| &**event)) else { return };
        for (at, event) in picks.places().filter_map(|at| Some((at, events.get(at)?))) {
            picks.show(at, event, &TapOutcome::Passed, &Vec::<String>::new);
        }
    }

    fn filtered(&self, events: &[&Arc<Event>], why: impl Fn(&Event) -> Option<FilteredBy>) {
        let Some(picks) = self.pick(events.iter().map(|event| &***event)) else { return };
        for (at, event) in picks.places().filter_map(|at| Some((at, events.get(at)?))) {
            let why = why(event).map(|by| by.as_str().to_owned()).unwrap_or_default();
            picks.show(at, event, &TapOutcome::Filtered(why), &Vec::<String>::new);
        }
    }

    fn of_functions(&self, sync: &Arc<str>) -> FunctionTap {
        FunctionTap { taps: self.taps.clone(), sync: Some(Arc::clone(sync)) }
    }
}

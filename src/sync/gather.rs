//! From stretches to batches: filter, functions, mapping.

use std::sync::Arc;

use tokio::sync::mpsc;

use super::{Filter, Mapping, Settings};
use crate::destination::Batch;
use crate::event::Event;
use crate::function::Function;
use crate::intake::Log;
use crate::refine::{self, Handle, Stretch, chain};
use crate::state::Quarantined;

/// A batch, and what was set aside or left out while it was gathered.
#[derive(Debug, Default)]
pub(super) struct Gathered {
    pub(super) batch: Batch,
    pub(super) quarantined: Vec<Quarantined>,
    pub(super) filtered: u64,
}

pub(super) struct Gatherer {
    pub(super) name: Arc<str>,
    pub(super) source: Arc<str>,
    pub(super) filter: Filter,
    pub(super) functions: Vec<Arc<Function>>,
    pub(super) mapping: Mapping,
    pub(super) settings: Settings,
    pub(super) refiner: Handle,
    pub(super) log: Log,
}

impl Gatherer {
    /// Gathers from `cursor` on until the refiner stops or nobody takes batches any more.
    pub(super) async fn run(self, mut cursor: u64, batches: mpsc::Sender<Gathered>) {
        let mut pause = self.settings.retry_pause_min;
        loop {
            // A place first: no more than one batch waits while another is delivered.
            let Ok(place) = batches.reserve().await else { return };
            match self.next(cursor).await {
                Ok(gathered) => {
                    cursor = gathered.batch.range.end;
                    pause = self.settings.retry_pause_min;
                    place.send(gathered);
                }
                Err(refine::Error::Stopped) => return,
                Err(error) => {
                    tracing::error!(sync = &*self.name, error = %error, "the log could not be refined; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(self.settings.retry_pause_max);
                }
            }
        }
    }

    /// One batch that starts at `cursor`: whatever is there now, up to the bounds; at least one stretch.
    async fn next(&self, cursor: u64) -> Result<Gathered, refine::Error> {
        let mut gathered = Gathered::default();
        gathered.batch.range = cursor..cursor;
        let (mut bytes, mut waiting_since) = (0, None);
        loop {
            let asked = self.refiner.stretch(gathered.batch.range.end);
            let stretch = match waiting_since {
                None => asked.await?,
                Some(since) => match tokio::time::timeout_at(since + self.settings.company.age_max, asked).await {
                    Ok(stretch) => stretch?,
                    Err(_alone) => return Ok(gathered),
                },
            };
            bytes += stretch.log_bytes;
            self.take(&stretch, &mut gathered).await;
            gathered.batch.range.end = stretch.range.end;
            let full =
                gathered.batch.events.len() >= self.settings.batch_events_max || bytes >= self.settings.batch_bytes_max;
            if full {
                return Ok(gathered);
            }
            let at_end = gathered.batch.range.end >= self.log.committed();
            let lonely = gathered.batch.events.len() < self.settings.company.events;
            if at_end && lonely && !self.settings.company.age_max.is_zero() {
                // Age counts from the first event; before there is one, nothing waits.
                waiting_since =
                    waiting_since.or_else(|| (!gathered.batch.events.is_empty()).then(tokio::time::Instant::now));
                if waiting_since.is_none() {
                    return Ok(gathered);
                }
            } else if at_end {
                return Ok(gathered);
            }
        }
    }

    async fn take(&self, stretch: &Stretch, gathered: &mut Gathered) {
        let from = gathered.batch.range.end;
        let ours = |source: &Arc<str>, offset: u64| *source == self.source && offset >= from;
        let violations = stretch.violations.iter().filter(|violation| ours(&violation.source, violation.offset));
        gathered.batch.violations.extend(violations.cloned());
        let events = stretch.events.iter().filter(|event| ours(&event.source, event.offset));
        if self.filter.takes_all() && self.functions.is_empty() && self.mapping.is_empty() {
            gathered.batch.events.extend(events.cloned());
            return;
        }
        let (taken, filtered): (Vec<_>, Vec<_>) = events.partition(|event| self.filter.takes(event));
        gathered.filtered += filtered.len() as u64;
        if self.functions.is_empty() && self.mapping.is_empty() {
            gathered.batch.events.extend(taken.into_iter().cloned());
            return;
        }
        let events: Vec<Event> = taken.into_iter().map(|event| Event::clone(event)).collect();
        let at_us = events.first().map_or(0, |event| event.received_at_us);
        let chained = chain(&self.functions, events, &self.name, at_us).await;
        gathered.quarantined.extend(chained.quarantined);
        gathered.filtered += chained.dropped.values().sum::<u64>();
        gathered.batch.events.extend(chained.events.into_iter().map(|mut event| {
            self.mapping.apply(&mut event.body);
            Arc::new(event)
        }));
    }
}

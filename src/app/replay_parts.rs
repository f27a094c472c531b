//! What a replay reads: which part of the log, in each partition, what of that is not there any more, and as which sync.

use std::ops::Range;
use std::sync::Arc;

use tidegate_api_types::replay::{ReplayOrder, ReplayPart};
use tidegate_event::{Position, time};
use tidegate_log::LogError;
use tidegate_pipeline::replay::{ReplayBounds, ReplayFilter, ReplayRules, ReplaySource};
use tidegate_state::{ReplayJob, StateError};

use super::replay_archive::ReplayArchive;
use super::running_syncs::SyncPlace;
use super::{AppError, destinations, log_times};
use crate::config::{SyncConfig, Workspace};

/// A job that is worked on.
pub(super) struct OpenReplay<'j> {
    pub(super) job: &'j ReplayJob,
    pub(super) order: ReplayOrder,
    pub(super) workspace: Arc<Workspace>,
    pub(super) only: ReplayFilter,
}

impl OpenReplay<'_> {
    /// What is read of a partition, and what the sync makes of it.
    pub(super) fn source(&self, (place, config): (&SyncPlace, &SyncConfig)) -> Result<ReplaySource, StateError> {
        let sync = &*self.job.asked.sync;
        Ok(ReplaySource {
            refiner: place.refiner.for_sync(),
            sync: sync.into(),
            source: config.source.0.as_str().into(),
            filter: destinations::filter(&self.workspace, config),
            mapping: config.mapping.clone(),
            only: self.only.clone(),
            rules: if self.order.by_rules_of_now { ReplayRules::Now } else { ReplayRules::Then },
            first: place.state()?.starts()?.get(sync).copied().unwrap_or(0),
        })
    }

    /// How large its batches grow: as those of the sync.
    pub(super) fn bounds(&self, config: &SyncConfig) -> ReplayBounds {
        let settings = destinations::settings(&self.workspace, config);
        ReplayBounds { events_max: settings.batch_events_max, bytes_max: settings.batch_bytes_max }
    }
}

/// When the events of an order were received, microseconds since the epoch; nothing where it names no time.
pub(super) fn times_of(order: &ReplayOrder) -> Range<i64> {
    match (order.from.time_us, order.to.time_us) {
        (None, None) => 0..0,
        (from, to) => from.unwrap_or(i64::MIN)..to.unwrap_or(i64::MAX),
    }
}

/// The part of an order in one partition; none where it is about another one. The sync had everything that is for it below `settled`: what
/// comes behind is delivered to it yet. `notes` say what is not as it was asked for.
pub(super) async fn part_of(
    order: &ReplayOrder,
    (place, settled): (&SyncPlace, u64),
    archive: &ReplayArchive,
    notes: &mut Vec<String>,
) -> Result<Option<ReplayPart>, AppError> {
    let partition = place.refiner.partition();
    let positions = [order.from.position, order.to.position];
    if positions.into_iter().flatten().any(|position| position.partition != partition) {
        return Ok(None);
    }
    // With what the archive has.
    let (log, oldest) = (&*place.log, place.log.readable_from());
    let asked_from = order.from.position.map_or(0, |position| position.offset);
    let asked_to = order.to.position.map_or(u64::MAX, |position| position.offset);
    let to = asked_to.min(settled).max(oldest);
    let mut range = asked_from.max(oldest).min(to)..to;
    let mut missing = 0;
    if order.from.position.is_some() && asked_from < oldest {
        missing = log.records(asked_from, oldest.min(asked_to).max(asked_from));
        let (from, begins) = (Position::new(partition, asked_from), Position::new(partition, oldest));
        notes.push(format!(
            "the log does not have the records from {from} on any more, {missing} at most: it begins at {begins}"
        ));
    } else if let Some(note) = times_note(order, place)? {
        notes.push(note);
    }
    let waiting = log.records(settled.max(oldest), log.committed().min(asked_to).max(settled).max(oldest));
    if waiting > 0 && order.to.time_us.is_none() {
        let next = Position::new(partition, settled);
        notes.push(format!(
            "what the sync has not had yet is not part of it, and comes to the sync by itself: {waiting} records from {next} on"
        ));
    }
    let times = times_of(order);
    if !times.is_empty() {
        let start = range.start;
        range = archive.received_within(place, range, &times).await?.unwrap_or(start..start);
    }
    let lost = archive.lost(partition, &range);
    if lost > 0 {
        missing += lost;
        notes.push(format!("{lost} records, at most, were given up by the log before they were archived"));
    }
    Ok(Some(ReplayPart { partition, from: range.start, to: range.end, at: range.start, missing }))
}

/// That the log begins later than the time that is asked for, where records were given up.
fn times_note(order: &ReplayOrder, place: &SyncPlace) -> Result<Option<String>, LogError> {
    let oldest = place.log.readable_from();
    if oldest == 0 || order.from.position.is_some() {
        return Ok(None);
    }
    let begins_us = log_times::received_at(&*place.log, place.log.oldest())?;
    if begins_us.is_some_and(|begins_us| order.from.time_us.is_some_and(|from_us| from_us >= begins_us)) {
        return Ok(None);
    }
    let begins = Position::new(place.refiner.partition(), oldest);
    let received = begins_us
        .filter(|_| oldest == place.log.oldest())
        .map(|begins_us| format!(", received at {}", time::format(begins_us)))
        .unwrap_or_default();
    Ok(Some(format!("the log begins at {begins}{received}: what came before is not there any more")))
}

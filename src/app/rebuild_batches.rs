//! What a rebuild reads of the log, what it writes, and what became of that.

use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::rebuild::RebuildReport;
use tidegate_api_types::replay::ReplayPart;
use tidegate_event::destination::{Destination, Failure};
use tidegate_event::{EventId, Position, time};
use tidegate_pipeline::replay::ReplayedPart;
use tidegate_state::{RebuildJob, State, StateError};
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::swap::TableSwap;
use tokio::sync::OwnedRwLockWriteGuard;
use tokio::time::{sleep, timeout};

use super::rebuild_target::OpenRebuild;
use super::replay_batches::{add_counts, add_notices, name_refused, note, refusals};
use super::running_syncs::SyncPlace;
use super::unopened::Unopened;
use super::{AppError, log_times};
use crate::warehouses::WarehouseSettings;

/// For tables that are closed.
const CLOSING_MAX: Duration = Duration::from_secs(15);
/// Between two looks whether a job that is worked on was cancelled.
const LOOK: Duration = Duration::from_millis(250);

/// Waits until a job does not run any more.
pub(super) async fn until_over(state: &mut State, id: u64) {
    loop {
        sleep(LOOK).await;
        if state.rebuild_job(id).is_ok_and(|job| job.is_none_or(|job| !job.state.runs())) {
            return;
        }
    }
}

/// How far a job says that it is.
pub(super) fn report_of(job: &RebuildJob) -> RebuildReport {
    serde_json::from_str(&job.progress).unwrap_or_default()
}

/// How far a rebuild may follow its sync: behind that, the functions of the source have not been over the log.
pub(super) fn delivered_to(open: &OpenRebuild, place: &SyncPlace) -> Result<u64, StateError> {
    let cursor = place.state()?.cursor(&open.job.asked.sync)?.unwrap_or(0);
    Ok(cursor.min(place.refiner.handed_to(&open.config.source.0)))
}

/// The offset that both ledgers have to say in a swap. A batch may be durable in the old tables of which the state has not heard yet.
pub(super) fn swapped_at(
    open: &OpenRebuild,
    place: &SyncPlace,
    ledger: Option<u64>,
) -> Result<Option<u64>, StateError> {
    let cursor = place.state()?.cursor(&open.job.asked.sync)?.unwrap_or(0);
    let at = cursor.max(ledger.unwrap_or(0));
    Ok((at <= place.refiner.handed_to(&open.config.source.0)).then_some(at))
}

/// The part of the log of a partition, from where it is asked for to where the sync is. The log has to be kept from its oldest record on.
pub(super) async fn part_of(
    open: &OpenRebuild,
    place: &SyncPlace,
    report: &mut RebuildReport,
) -> Result<ReplayPart, AppError> {
    let partition = place.refiner.partition();
    let (log, oldest) = (&*place.log, place.log.oldest());
    let to = delivered_to(open, place)?.max(oldest);
    let begins_us = log_times::received_at(log, oldest)?;
    let from_us = open.order.from_us;
    let has_all = oldest == 0 || from_us.is_some_and(|from_us| begins_us.is_some_and(|begins_us| begins_us <= from_us));
    let mut missing = 0;
    if !has_all {
        missing = log.records(0, oldest);
        let begins = Position::new(partition, oldest);
        let received =
            begins_us.map(|begins_us| format!(", received at {}", time::format(begins_us))).unwrap_or_default();
        let text = format!("the log begins at {begins}{received}: rows of what came before are not in the new tables");
        note(&mut report.notes, &text);
        wait_for_consent(report);
    }
    let from = match from_us {
        None => oldest,
        Some(from_us) => {
            let found = log_times::received_within(log, oldest..to, &(from_us..i64::MAX)).await?;
            found.map_or(to, |found| found.start)
        }
    };
    note_expired(open, &place.state()?, (partition, from), report)?;
    Ok(ReplayPart { partition, from, to, at: from, missing })
}

/// Has a job not swap by itself where events at this offset of a partition, or behind it, may be erased because their source keeps them no
/// longer.
pub(super) fn note_expired(
    open: &OpenRebuild,
    state: &State,
    (partition, at): (u16, u64),
    report: &mut RebuildReport,
) -> Result<(), StateError> {
    let source = &*open.config.source.0;
    if state.may_be_erased_below(source, partition)? > at {
        let text = format!(
            "some of what was asked for is erased, for it is older than the source {source} keeps events (`retention`): rows of that are not \
             in the new tables"
        );
        note(&mut report.notes, &text);
        wait_for_consent(report);
    }
    Ok(())
}

/// Has a job not swap by itself: something that was asked for is missing in the new tables.
pub(super) fn wait_for_consent(report: &mut RebuildReport) {
    let text = "the log does not have everything that was asked for, so the new tables may have fewer rows: look at them, and say \
                `tidegate sync swap` if that is right";
    report.waits_for = Some(text.to_owned());
}

/// Whether tables may be swapped: somebody has said so, or nothing is missing in them and nobody was forgotten while they were made.
pub(super) fn may_swap(open: &OpenRebuild, state: &State, report: &mut RebuildReport) -> Result<bool, StateError> {
    if state.has_forgotten_since(open.job.asked.at_us)? {
        let text = "somebody was forgotten while the new tables were made, which may have rows about them: swap them with `tidegate sync \
                    swap` and remove the rows as `tidegate privacy warehouses` says, or cancel this rebuild and begin another one";
        note(&mut report.notes, text);
        report.waits_for.get_or_insert_with(|| text.to_owned());
    }
    Ok(open.job.is_swap_asked || report.waits_for.is_none())
}

/// Whether there is something where the new tables shall be, or the old ones; a sentence.
pub(super) async fn schemas_in_the_way(open: &OpenRebuild, report: &RebuildReport) -> Result<Option<String>, Failure> {
    for schema in [&report.rebuilt, &report.before] {
        let part = SyncPart { schema: Some(schema.clone()), ..open.rebuilt_part(report, 0) };
        match open.settings.find(&part).await {
            Ok(found) if found.tables.is_empty() => {}
            Ok(_) => {
                let reason = format!("there are tables in {schema:?} already; name another schema, or remove them");
                return Ok(Some(reason));
            }
            Err(failure @ Failure::Stop { .. }) => return Ok(Some(failure.to_string())),
            Err(failure) => return Err(failure),
        }
    }
    Ok(None)
}

/// Where a part goes on whose new tables have this ledger. It counts whatever the job knows: the warehouse may be an older copy, which lacks rows
/// that the job has delivered.
pub(super) fn at_by_ledger(part: &ReplayPart, durable: Option<u64>) -> Result<u64, Failure> {
    match durable {
        Some(durable) => Ok(durable.max(part.from)),
        None if part.at <= part.from => Ok(part.from),
        // What comes from here on would be all that the sync's tables have after a swap.
        None => Err(Failure::Stop {
            reason: "the new tables are gone, or took the place of the old ones already".to_owned(),
            advice: "look at the tables of the sync, cancel this rebuild, and begin another one if it is needed"
                .to_owned(),
            cause: None,
        }),
    }
}

/// Delivers a part of the log, and counts what became of it.
pub(super) async fn deliver(
    tables: &mut Unopened,
    part: ReplayedPart,
    (report, index): (&mut RebuildReport, usize),
) -> Result<(), Failure> {
    let sent = part.batch.events.len() as u64;
    let mut refused: Vec<(EventId, String)> = part.stopped.iter().map(|entry| (entry.id, entry.code.clone())).collect();
    let stopped = refused.len();
    let mut batch = Arc::new(part.batch);
    let delivery = loop {
        match tables.deliver(Arc::clone(&batch)).await {
            Ok(delivery) => break delivery,
            Err(Failure::Refused { rejected }) if !rejected.is_empty() => {
                refused.extend(refusals(&batch, &rejected));
                batch = Arc::new(batch.without(&rejected));
            }
            Err(failure) => return Err(failure),
        }
    };
    add_counts(&mut report.counts, &part.counts);
    report.counts.sent += sent;
    report.counts.delivered += delivery.delivered;
    report.counts.duplicates += delivery.duplicates;
    report.counts.refused += (refused.len() - stopped) as u64;
    name_refused(&mut report.refused, refused);
    add_notices(&mut report.notices, &delivery.notices);
    report.parts[index].at = batch.range.end;
    tables.recorded();
    Ok(())
}

/// How far a ledger says that tables are.
pub(super) async fn durable_to(mut tables: Unopened) -> Result<Option<u64>, Failure> {
    let durable = tables.durable_to().await;
    if timeout(CLOSING_MAX, tables.close()).await.is_err() {
        tracing::debug!("tables whose ledger was read are not closed");
    }
    durable
}

/// Swaps tables, to its end, and lets nobody write before that.
pub(super) async fn swap_tables(
    settings: WarehouseSettings,
    swap: TableSwap,
    mut swaps: OwnedRwLockWriteGuard<u64>,
) -> Result<(), Failure> {
    let swapped = settings.swap(&swap).await;
    // It may be done though nobody has heard so.
    *swaps += 1;
    swapped
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_goes_on_where_its_tables_are_whatever_the_job_knows() {
        let part = ReplayPart { from: 3, at: 9, to: 20, ..ReplayPart::default() };
        let at = [Some(12), Some(9), Some(5), Some(1), None].map(|durable| at_by_ledger(&part, durable).ok());
        assert_eq!(at, [Some(12), Some(9), Some(5), Some(3), None]);
        let new = ReplayPart { at: 3, ..part };
        assert_eq!(at_by_ledger(&new, None).ok(), Some(3));
    }
}

//! How much comes, what becomes of it, and how far everything is.
//!
//! Who may view a source or a sync may know of its numbers; what a destination says of a failure is for who may see events.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::extract::State;
use rustix::fs::statvfs;
use tidegate_api_types::activity::{
    ActivityQuery, DiskActivity, EventTotals, HourActivity, ShownActivity, SourceActivity, SyncActivity,
};
use tidegate_api_types::path;
use tidegate_event::time;
use tidegate_state::{
    FateCounts, PendingCount, State as StateFile, StateError, SyncReport, fate_hour, fate_hour_begins_us,
};
use tokio::sync::Mutex;

use super::asker::{OfApi, Requester};
use super::event_rights::{AskedEvents, EventRights};
use crate::api::EngineSettings;
use crate::api::conservation::numbers;
use crate::api::extract::{Query, blocking};
use crate::api::refusal::ApiRefusal;

/// How long an answer is given again.
const KEPT: Duration = Duration::from_secs(1);
const HOURS_DEFAULT: u64 = 24;
const HOURS_MAX: u64 = 168;

/// How much came to each source hour by hour, what became of it, and how far each sync is: those that one may view. An hour counts the events that
/// were received in it, and what has become of them by now.
#[utoipa::path(get, path = path::ACTIVITY, tag = "workspace", operation_id = "show_activity", params(ActivityQuery),
    responses((status = 200, body = ShownActivity), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<ActivityQuery>,
) -> Result<axum::Json<ShownActivity>, ApiRefusal> {
    let hours = query.hours.unwrap_or(HOURS_DEFAULT);
    if !(1..=HOURS_MAX).contains(&hours) {
        let detail = format!("`hours` is not a number from 1 to {HOURS_MAX}");
        return Err(ApiRefusal::bad("query", detail, format!("send 1 to {HOURS_MAX}")).in_field("hours"));
    }
    let asked = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let AskedEvents { engine, workspace, rights, masked } = asked;
    let (events_url, at_us) = (shared.settings.events_url.clone(), asker.at_us);
    let read = move || activity(&engine, events_url, (hours, at_us));
    let all = shared.activities.or_make((workspace, hours), read).await?;
    Ok(axum::Json(seen(&all, &rights, masked.is_empty())))
}

/// Which environment, and how many hours.
type ActivityKey = (String, u64);

/// What was answered of late, of everything that there is: however many look at the same time, it is read once for all of them.
#[derive(Default)]
pub(in crate::api) struct RecentActivities(Mutex<BTreeMap<ActivityKey, (Instant, Arc<ShownActivity>)>>);

impl RecentActivities {
    async fn or_make(
        &self,
        key: ActivityKey,
        make: impl FnOnce() -> Result<ShownActivity, StateError> + Send + 'static,
    ) -> Result<Arc<ShownActivity>, ApiRefusal> {
        let mut kept = self.0.lock().await;
        kept.retain(|_, (at, _)| at.elapsed() < KEPT);
        if let Some((_, activity)) = kept.get(&key) {
            return Ok(Arc::clone(activity));
        }
        let made = blocking(make).await?;
        let made = made.map_err(|error| ApiRefusal::failed("the counts could not be read", &error))?;
        let made = Arc::new(made);
        kept.insert(key, (Instant::now(), Arc::clone(&made)));
        Ok(made)
    }
}

/// What somebody may see of it: what failed may quote a field that stays masked, unless there is none.
fn seen(all: &ShownActivity, rights: &EventRights, has_no_masks: bool) -> ShownActivity {
    let mut shown = all.clone();
    shown.sources.retain(|source| rights.views(&source.source, false));
    shown.syncs.retain(|sync| rights.views(&sync.sync, true));
    for sync in shown.syncs.iter_mut().filter(|sync| !(has_no_masks && rights.sees(&sync.sync, true))) {
        sync.failure = None;
        sync.notices.clear();
    }
    shown
}

fn activity(
    engine: &EngineSettings,
    events_url: String,
    (hours, at_us): (u64, i64),
) -> Result<ShownActivity, StateError> {
    let end = fate_hour(at_us).saturating_add(1);
    let range = end.saturating_sub(i64::try_from(hours).unwrap_or(0))..end;
    let (state, names) = ((engine.open_state)()?, engine.names());
    let (reports, pending, counters) = (state.reports()?, state.pending_counts()?, state.counters()?);
    let mut shown = ShownActivity {
        events_url,
        at: time::format(at_us),
        from: time::format(fate_hour_begins_us(range.start)),
        hours,
        ..ShownActivity::default()
    };
    for source in &names.sources {
        let hours = by_hour(state.fates_by_hour((source, false), range.clone())?);
        let (totals, violations) = totals_of_source(&counters, source);
        shown.sources.push(SourceActivity { source: source.clone(), violations, totals, hours });
    }
    for (sync, source) in &names.sync_sources {
        let report = reports.iter().find(|report| report.sync == *sync);
        let waits = pending.iter().find(|count| count.sync == *sync).filter(|count| count.events > 0);
        let retried = || waits.and_then(PendingCount::failure);
        let failure = report.and_then(|report| report.failure.clone()).or_else(retried);
        shown.syncs.push(SyncActivity {
            sync: sync.clone(),
            source: source.clone(),
            totals: report.map(totals_of_sync).unwrap_or_default(),
            hours: by_hour(state.fates_by_hour((sync, true), range.clone())?),
            waiting: state.waiting_for(sync, source)?,
            waiting_since: None,
            pending: waits.map_or(0, |count| count.events),
            pending_since: waits.map(|count| time::format(count.oldest_at_us)),
            delivered_at: report.and_then(|report| report.delivered_at_us).map(time::format),
            paused: names.paused_syncs.contains(sync),
            failing: failure.is_some() && !names.paused_syncs.contains(sync),
            failure,
            notices: report.map(|report| report.notices.clone()).unwrap_or_default(),
        });
    }
    let oldest = oldest_us(engine, state, &reports)?;
    for sync in &mut shown.syncs {
        sync.waiting_since = oldest.get(&sync.sync).copied().map(time::format);
    }
    shown.disk = statvfs(&engine.data).ok().map(|space| DiskActivity {
        free_bytes: space.f_bavail.saturating_mul(space.f_frsize),
        bytes: space.f_blocks.saturating_mul(space.f_frsize),
    });
    Ok(shown)
}

/// What is counted of a source, and how many events broke their contract.
fn totals_of_source(counters: &[(String, String, u64)], source: &str) -> (EventTotals, u64) {
    let (mut totals, mut violations) = (EventTotals::default(), 0);
    for (_, name, events) in counters.iter().filter(|(scope, ..)| scope == source) {
        match name.as_str() {
            "accepted" => totals.accepted = *events,
            "duplicates" => totals.duplicates = *events,
            "suppressed" => totals.suppressed = *events,
            "quarantined" => totals.quarantined = *events,
            "violations" => violations = *events,
            // They are events all the same, and are counted above.
            "retried" | "unreadable times" | "duplicates of quarantined" => {}
            _ => totals.dropped += *events,
        }
    }
    (totals, violations)
}

fn totals_of_sync(report: &SyncReport) -> EventTotals {
    EventTotals {
        delivered: report.delivered,
        duplicates: report.duplicates,
        quarantined: report.rejected,
        filtered: report.filtered,
        ..EventTotals::default()
    }
}

/// Of each sync that has not come to the end of the log, when the oldest record before it was received, microseconds since the epoch.
fn oldest_us(
    engine: &EngineSettings,
    mut state: StateFile,
    reports: &[SyncReport],
) -> Result<BTreeMap<String, i64>, StateError> {
    let (names, mut oldest) = (engine.names(), BTreeMap::<String, i64>::new());
    for (partition, log) in engine.log.iter() {
        state = state.of_partition(partition);
        let (starts, end) = (state.starts()?, log.committed());
        for sync in names.sync_sources.keys() {
            let report = reports.iter().find(|report| report.sync == *sync);
            let cursors = report.map(|report| report.cursors.as_slice()).unwrap_or_default();
            let cursor = cursors.iter().find(|cursor| cursor.partition == partition).map_or(0, |cursor| cursor.offset);
            let from = cursor.max(starts.get(sync).copied().unwrap_or(0)).max(log.oldest());
            let at_us =
                if from < end && log.records(from, end) > 0 { (engine.received_at)(partition, from) } else { None };
            if let Some(at_us) = at_us {
                oldest.entry(sync.clone()).and_modify(|known| *known = (*known).min(at_us)).or_insert(at_us);
            }
        }
    }
    Ok(oldest)
}

fn by_hour(found: Vec<(i64, FateCounts)>) -> Vec<HourActivity> {
    let shown = |(hour, counts): (i64, FateCounts)| HourActivity {
        hour: time::format(fate_hour_begins_us(hour)),
        counts: numbers(&counts),
    };
    found.into_iter().map(shown).collect()
}

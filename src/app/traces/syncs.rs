//! What has become of an event for one sync, and what it is at the destination.

use std::time::Duration;

use tidegate_api_types::fate::EventFate;
use tidegate_api_types::trace::{TracedCell, TracedPending, TracedRequest, TracedRow, TracedSync};
use tidegate_event::{Event, EventId, Position, time};
use tidegate_pipeline::refine::{self, BatchContext};
use tidegate_pipeline::sync::SyncFilter;
use tidegate_state::{EntryScope, FateQuery, KeptEntry, Pending, State};
use tidegate_wasm::HiddenTexts;
use tokio::time::timeout;

use super::EventTracer;
use super::record::{TracedParts, stopped_by, traced_function};
use crate::app::field_changes::{changes, shown};
use crate::app::sample::Sampled;
use crate::app::{declare, destinations, tries};
use crate::config::{DestinationKind, SyncConfig, Workspace};
use crate::warehouses::WarehouseSettings;

/// How long one warehouse is asked.
const WAREHOUSE_MAX: Duration = Duration::from_secs(3);
const DAY_US: i64 = 86_400_000_000;
/// About the bytes of a body that is shown.
const BODY_BYTES_MAX: usize = 64 << 10;

impl EventTracer {
    /// What has become of the events of a record for one sync.
    pub(super) async fn sync(
        &self,
        workspace: &Workspace,
        (name, sync): (&String, &SyncConfig),
        parts: &TracedParts,
    ) -> TracedSync {
        let kind = workspace.destinations.get(&sync.destination.0).map_or("", |destination| destination.kind.word());
        let mut traced = TracedSync {
            sync: name.clone(),
            destination: sync.destination.0.clone(),
            kind: kind.to_owned(),
            fate: EventFate::Delivered,
            why: None,
            cursor: parts.state.cursor(name).ok().flatten(),
            functions: Vec::new(),
            mapped: Vec::new(),
            delivered: Vec::new(),
            rows: Vec::new(),
            found: Vec::new(),
            sql: Vec::new(),
            requests: Vec::new(),
            messages: Vec::new(),
            pending: Vec::new(),
            notes: Vec::new(),
            masked: false,
        };
        let ids = parts.events.iter().map(|event| event.id).collect::<Vec<EventId>>();
        let offset = ids.first().map_or(0, |id| id.position.offset);
        if parts.state.starts().ok().and_then(|starts| starts.get(name).copied()).is_some_and(|first| offset < first) {
            left_out(
                &mut traced,
                EventFate::Filtered,
                "it was accepted before the sync began, which takes what comes later",
            );
            return traced;
        }
        let revision = parts.rules.revision;
        if parts.trace.revision != revision {
            traced.notes.push(format!(
                "shown by the rules of now (revision {revision}); the event was refined under revision {}",
                parts.trace.revision
            ));
        }
        if workspace.is_sync_paused(name) {
            traced.notes.push("the sync is paused, or its destination is".to_owned());
        }
        let function_chain = parts.rules.of_sync(name);
        let mut hidden = parts.hidden.clone();
        for function in function_chain.functions() {
            hidden = hidden.joined(function.hidden());
        }
        let (events, stopped) = self.passed(&mut traced, (workspace, sync), (parts, &hidden)).await;
        let stands = known(&mut traced, parts, &ids, stopped);
        if parts.trace.revision != revision && matches!(traced.fate, EventFate::Filtered | EventFate::Dropped) {
            let why = traced.why.take().unwrap_or_default();
            traced.why = Some(format!("{why}; so say the rules of now, and those of then may have let it pass"));
        }
        let at_destination = AtDestination { workspace, name, events: &events, hidden };
        self.show(&mut traced, &at_destination, stands).await;
        if traced.fate == EventFate::Delivered && traced.found.is_empty() {
            let received_at_us = parts.events.first().map_or(0, |event| event.received_at_us);
            let expired = expired_about(&parts.state, name, received_at_us);
            if expired > 0 {
                traced.notes.push(format!(
                    "{expired} events of this sync that came on that day were quarantined and removed since: it may be one of them"
                ));
            }
        }
        traced
    }

    /// What filter, functions and mapping of the sync make of the events, and what stops them, if anything does.
    async fn passed(
        &self,
        traced: &mut TracedSync,
        (workspace, sync): (&Workspace, &SyncConfig),
        (parts, hidden): (&TracedParts, &HiddenTexts),
    ) -> (Vec<Event>, Option<(EventFate, String)>) {
        let filter = destinations::filter(workspace, sync);
        let (mut passed, mut stopped) = (Vec::new(), None);
        let function_chain = parts.rules.of_sync(&traced.sync);
        let batch = BatchContext {
            scope: traced.sync.as_str().into(),
            seed: Position::new(parts.state.partition(), parts.trace.range.start).bits(),
            ..parts.trace.batch.clone()
        };
        traced.notes.extend(consent_note(&filter, parts));
        for event in &parts.events {
            if let Some(by) = filter.left_out_by(event) {
                stopped = Some((EventFate::Filtered, by.as_str().to_owned()));
                continue;
            }
            let (steps, events) = refine::chain_steps(&function_chain, event.clone(), &batch).await;
            traced.functions.extend(steps.iter().map(|step| traced_function(step, hidden)));
            stopped = stopped_by(&steps).or(stopped);
            for mut event in events {
                let before = shown(&event, hidden);
                sync.mapping.apply(&mut event.body);
                let after = shown(&event, hidden);
                traced.mapped.extend(changes(&before, &after));
                traced.delivered.push(after);
                passed.push(event);
            }
        }
        let stopped = stopped.filter(|_| passed.is_empty());
        (passed, stopped)
    }

    /// What the events are at the destination.
    async fn show(&self, traced: &mut TracedSync, at: &AtDestination<'_>, is_there: bool) {
        let Some(destination) = at.workspace.destinations.get(&traced.destination) else { return };
        match &destination.kind {
            DestinationKind::Warehouse(settings) => at.warehouse(traced, settings, is_there).await,
            DestinationKind::Plugin(_) => self.requests(traced, at).await,
            DestinationKind::Stream(_) => {
                if let Some(shape) = tries::shape(at.workspace, at.name) {
                    let hidden = at.hidden.clone();
                    let mut sampled = Sampled { events: at.events.to_vec(), hidden, ..Sampled::default() };
                    traced.messages = tries::messages(shape, &mut sampled);
                }
            }
        }
    }

    /// What a plugin plans for each event, alone.
    async fn requests(&self, traced: &mut TracedSync, at: &AtDestination<'_>) {
        if at.events.is_empty() {
            return;
        }
        let note =
            "the requests are planned again, for this event alone and by the version that is active now; none is sent";
        traced.notes.push(note.to_owned());
        let active = self.runtimes.of(&traced.destination);
        for event in at.events {
            let planned = match active.planned(event).await {
                Ok(planned) => planned,
                Err(mut reason) => {
                    at.hidden.clean(&mut reason);
                    traced.notes.push(format!("the plugin does not plan it now: {reason}"));
                    continue;
                }
            };
            if let Some(mut reason) = planned.skipped
                && traced.fate == EventFate::Delivered
            {
                at.hidden.clean(&mut reason);
                traced.fate = EventFate::Filtered;
                traced.why = Some(format!("the plugin leaves it out: {reason}"));
            }
            if let Some(mut reason) = planned.refused {
                at.hidden.clean(&mut reason);
                traced.notes.push(format!("the plugin cannot take it now: {reason}"));
            }
            for request in planned.requests {
                let mut body = String::from_utf8_lossy(&request.body).into_owned();
                // Before it is cut: of half a secret nobody can tell what it was.
                at.hidden.clean(&mut body);
                let end = body.char_indices().map(|(end, _)| end).find(|end| *end >= BODY_BYTES_MAX);
                if let Some(end) = end {
                    body.truncate(end);
                    body.push('…');
                }
                let mut url = request.url;
                at.hidden.clean(&mut url);
                let headers = request.headers.into_iter().map(|(name, mut value)| {
                    at.hidden.clean(&mut value);
                    [name, value]
                });
                traced.requests.push(TracedRequest {
                    method: request.method.to_string(),
                    url,
                    headers: headers.collect(),
                    body,
                });
            }
        }
    }
}

/// What is known of the consent of whom the events are about, where it is another than they say themselves. Whether it was known when they were
/// delivered nobody can tell.
fn consent_note(filter: &SyncFilter, parts: &TracedParts) -> Option<String> {
    let categories = &filter.consent.categories;
    if categories.is_empty() {
        return None;
    }
    let bodies = parts.events.iter().map(|event| (event.id, &event.body));
    let known = parts.state.known_consents(bodies, categories).ok()?;
    let is_other = |event: &&Event| {
        let by_itself = filter.left_out_by(event).is_none();
        by_itself != filter.left_out_knowing(event, known.of(event.id)).is_none()
    };
    let event = parts.events.iter().find(is_other)?;
    let since_us = known.of(event.id).iter().map(|known| known.at_us).max()?;
    Some(format!(
        "by what is known of its person since {}, the consent that the sync needs is another than the event says: what waited then was \
         judged by that, and what was delivered before stays delivered",
        time::format(since_us)
    ))
}

fn left_out(traced: &mut TracedSync, fate: EventFate, why: &str) {
    (traced.fate, traced.why) = (fate, Some(why.to_owned()));
}

/// How many events of a sync, received on the day up to then, were removed from quarantine. Which ones is not known.
fn expired_about(state: &State, sync: &str, received_at_us: i64) -> i64 {
    let query = FateQuery {
        since_us: Some(received_at_us.saturating_sub(DAY_US)),
        until_us: Some(received_at_us.saturating_add(1)),
        sync: Some(sync.to_owned()),
        ..FateQuery::default()
    };
    let found = state.conservation(&query).map(|found| found.syncs).unwrap_or_default();
    found.iter().map(|of| of.counts.expired).sum()
}

/// Finds out the fate: what waits and what is in quarantine the state knows; what was delivered, the cursor. Whether the destination has it.
fn known(traced: &mut TracedSync, parts: &TracedParts, ids: &[EventId], stopped: Option<(EventFate, String)>) -> bool {
    let offset = ids.first().map_or(0, |id| id.position.offset);
    let waiting = parts.state.pending_events(&traced.sync, ids).map(|found| found.whole).unwrap_or_default();
    let scope = EntryScope { name: traced.sync.clone(), is_sync: true };
    let entry = parts.entries.iter().find(|entry| entry.whose() == scope);
    if let Some(first) = waiting.first() {
        traced.pending = waiting.iter().map(traced_pending).collect();
        let why = match first.attempts {
            0 => "an earlier event of its user waits for another try".to_owned(),
            tries => format!("it waits for another try, after {tries} that failed"),
        };
        (traced.fate, traced.why) = (EventFate::Pending, Some(why));
        return false;
    }
    if let Some(KeptEntry { entry, id, .. }) = entry {
        let why = format!("{} (entry {id} of the quarantine)", entry.code);
        (traced.fate, traced.why) = (EventFate::Quarantined, Some(why));
        return false;
    }
    if traced.cursor.is_none_or(|cursor| offset >= cursor) {
        let report = parts.state.reports().ok().into_iter().flatten().find(|report| report.sync == traced.sync);
        let failure = report.and_then(|report| report.failure);
        let why = failure.map_or_else(
            || "it is in the log, and its turn has not come".to_owned(),
            |failure| format!("it is in the log; the sync fails: {failure}"),
        );
        (traced.fate, traced.why) = (EventFate::Pending, Some(why));
        return false;
    }
    let retried = parts.retries.iter().rev().find(|(_, only)| *only == traced.sync);
    let again = retried.map(|(position, _)| format!("it was retried, and is in the log again as {position}"));
    match (stopped, again) {
        (Some((EventFate::Quarantined, why)), again) => {
            let gone = again.unwrap_or_else(|| "its entry of the quarantine is gone".to_owned());
            (traced.fate, traced.why) = (EventFate::Expired, Some(format!("{why}; {gone}")));
            false
        }
        (None, Some(again)) if ids.len() <= 1 => {
            (traced.fate, traced.why) = (EventFate::Expired, Some(format!("it was in quarantine; {again}")));
            false
        }
        (Some((fate, why)), _) => {
            (traced.fate, traced.why) = (fate, Some(why));
            false
        }
        (None, again) => {
            traced.notes.extend(again.map(|again| format!("of its events one was in quarantine; {again}")));
            true
        }
    }
}

fn traced_pending(pending: &Pending) -> TracedPending {
    TracedPending {
        attempts: pending.attempts,
        first_tried_at: time::format(pending.first_tried_at_us),
        next_at: time::format(pending.next_at_us),
        error: (!pending.error.is_empty()).then(|| pending.error.clone()),
    }
}

/// Events as a sync gives them to its destination.
struct AtDestination<'a> {
    workspace: &'a Workspace,
    name: &'a str,
    events: &'a [Event],
    hidden: HiddenTexts,
}

impl AtDestination<'_> {
    /// A value of a row, without the secrets that functions were given.
    fn cell(&self, name: String, mut value: String) -> TracedCell {
        self.hidden.clean(&mut value);
        TracedCell { name, value }
    }

    /// The rows that they become, and those that are there.
    async fn warehouse(&self, traced: &mut TracedSync, settings: &WarehouseSettings, is_there: bool) {
        if self.events.is_empty() {
            return;
        }
        let Some(mut plan) = tries::plan(self.workspace, self.name).await else { return };
        let partition = self.events.first().map_or(0, |event| event.id.position.partition);
        let part = declare::part(self.workspace, self.name, partition);
        let mut asks = true;
        for event in self.events {
            let rows = match plan.rows(event) {
                Ok(rows) => rows,
                Err(taken) => {
                    traced.notes.push(format!("{} is there already, and is not the router's", taken.0));
                    continue;
                }
            };
            for row in rows {
                let (table, id) = (row.table.clone(), event.message_id());
                traced.sql.push(settings.id_query(&part, &table, id));
                traced.rows.push(tries::shown(row, &self.hidden));
                if !asks || !is_there {
                    continue;
                }
                match timeout(WAREHOUSE_MAX, settings.rows_with_id(&part, &table, id)).await {
                    Ok(Ok(Some(found))) => {
                        if found.is_empty() {
                            traced
                                .notes
                                .push(format!("{table} has no row with this id: it was removed, or never written"));
                        }
                        traced.found.extend(found.into_iter().map(|row| TracedRow {
                            table: row.table,
                            columns: row.cells.into_iter().map(|(name, value)| self.cell(name, value)).collect(),
                        }));
                    }
                    Ok(Ok(None)) => {
                        asks = false;
                        traced
                            .notes
                            .push("this warehouse is not asked for single rows: `sql` says how to ask".to_owned());
                    }
                    Ok(Err(failure)) => {
                        asks = false;
                        traced.notes.push(format!("the warehouse could not be asked: {failure}"));
                    }
                    Err(_) => {
                        asks = false;
                        traced.notes.push("the warehouse did not answer in time".to_owned());
                    }
                }
            }
        }
    }
}

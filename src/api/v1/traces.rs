//! What has become of single events.
//!
//! Who may view a source may know of its records and what became of them; who may see its events sees those as well. What one sync made of an
//! event is for whoever may view that sync.

use std::collections::BTreeSet;

use axum::extract::State;
use serde_json::{Value, json};
use tidegate_api_types::path;
use tidegate_api_types::trace::{
    EventTraces, TraceQuery, TracedChange, TracedFunction, TracedRecord, TracedRequest, TracedSync,
};
use tidegate_api_types::tried::TriedMessage;
use tidegate_event::time;

use super::asker::{OfApi, Requester};
use super::event_rights::{AskedEvents, EventRights};
use super::tries::{MASK, mask_value};
use crate::api::MaskedField;
use crate::api::extract::Query;
use crate::api::masked_fields::covers_pointer;
use crate::api::refusal::ApiRefusal;
use crate::api::traces::TraceOrder;

/// Records of one answer.
const RECORDS_DEFAULT: u64 = 10;
const RECORDS_MAX: u64 = 100;

/// What has become of the events with an id, of a user or with a name: as they came, what contract and functions made of them, and what each sync
/// did. Who may not see events gets their fields without the values.
#[utoipa::path(get, path = path::TRACE, tag = "traces", operation_id = "trace_events",
    params(TraceQuery), responses((status = 200, body = EventTraces), ApiRefusal))]
pub(super) async fn trace(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<TraceQuery>,
) -> Result<axum::Json<EventTraces>, ApiRefusal> {
    let asked = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let order = order(&query, &asked)?;
    let mut traces = (asked.engine.traces)(order).await.map_err(|refusal| shared.not_tried(refusal))?;
    for record in &mut traces.records {
        restrict(record, &asked.rights);
        if !asked.masked.is_empty() {
            mask_fields(record, &asked.masked);
        }
        traces.masked |= record.masked || record.syncs.iter().any(|sync| sync.masked);
    }
    // Whoever has seen events is in the audit log before they are answered.
    let detail = json!({ "events": traces.records.len(), "masked": traces.masked });
    shared.note_done(&asker, &asked.workspace, ("events_traced", detail)).await?;
    Ok(axum::Json(traces))
}

fn order(query: &TraceQuery, asked: &AskedEvents) -> Result<TraceOrder, ApiRefusal> {
    if query.message_id.is_none() && query.user.is_none() && query.event.is_none() {
        let fix = "name one of `message_id`, `user` and `event`";
        return Err(ApiRefusal::bad("query", "the query does not say which events", fix).in_field("message_id"));
    }
    if query.message_id.as_deref().is_some_and(str::is_empty) {
        let fix = "send the `messageId` of an event";
        return Err(ApiRefusal::bad("query", "no event has an empty `messageId`", fix).in_field("message_id"));
    }
    let archive = query.archive.unwrap_or(false);
    if archive && query.message_id.is_none() {
        let fix = "name a `message_id`, or leave `archive` out";
        let detail = "the archive is searched by `message_id` alone";
        return Err(ApiRefusal::bad("query", detail, fix).in_field("archive"));
    }
    let limit = query.limit.unwrap_or(RECORDS_DEFAULT);
    if !(1..=RECORDS_MAX).contains(&limit) {
        let detail = format!("`limit` is not a number from 1 to {RECORDS_MAX}");
        return Err(ApiRefusal::bad("limit", detail, format!("send 1 to {RECORDS_MAX}")).in_field("limit"));
    }
    // Whether something is found would tell what stands in an event.
    let is_of_values = query.user.is_some() || query.event.is_some();
    Ok(TraceOrder {
        message_id: query.message_id.clone(),
        user: query.user.clone(),
        event: query.event.clone(),
        source: query.source.clone(),
        since_us: moment("since", query.since.as_deref())?,
        until_us: moment("until", query.until.as_deref())?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
        archive,
        sources: if is_of_masked(query, &asked.masked) {
            Some(BTreeSet::new())
        } else {
            asked.rights.sources(is_of_values)
        },
    })
}

/// Whether a condition is of a field that stays masked: what is found would tell what stands there.
fn is_of_masked(query: &TraceQuery, masked: &[MaskedField]) -> bool {
    let any = |pointers: &[&str]| pointers.iter().any(|pointer| covers_pointer(masked, pointer));
    (query.user.is_some() && any(&["/userId", "/anonymousId"])) || (query.event.is_some() && any(&["/event", "/name"]))
}

fn moment(field: &'static str, text: Option<&str>) -> Result<Option<i64>, ApiRefusal> {
    let Some(text) = text else { return Ok(None) };
    let wrong = || {
        let detail = format!("`{field}` is no time with its offset from UTC");
        ApiRefusal::bad("query", detail, "write it as 2026-12-31T00:00:00Z").in_field(field)
    };
    time::parse(text).map(Some).ok_or_else(wrong)
}

/// Takes out what somebody may not know, and the values of what they may not see.
fn restrict(record: &mut TracedRecord, rights: &EventRights) {
    let is_seen = rights.sees(&record.source, false);
    record.syncs.retain(|sync| rights.views(&sync.sync, true));
    record.quarantine.retain(|entry| rights.views(&entry.scope, entry.is_of_sync));
    for entry in &mut record.quarantine {
        // What is quarantined on the way of a sync quotes what its functions made, and what its destination said.
        if !is_seen || !rights.sees(&entry.scope, entry.is_of_sync) {
            (entry.message, entry.detail) = (None, None);
        }
    }
    if let Some(retry) = &mut record.retry {
        retry.for_sync = retry.for_sync.take().filter(|sync| rights.views(sync, true));
    }
    for sync in &mut record.syncs {
        if !is_seen || !rights.sees(&sync.sync, true) {
            mask_sync(sync);
        }
    }
    if !is_seen {
        mask_record(record);
    }
}

fn mask_record(record: &mut TracedRecord) {
    record.masked = true;
    (record.ip, record.library, record.why) = (None, None, None);
    for value in record.original.iter_mut().chain(&mut record.decoded).chain(&mut record.passed_on) {
        mask_value(value);
    }
    if let Some(verdict) = &mut record.contract {
        // These quote the event.
        verdict.violations.clear();
        mask_changes(&mut verdict.changes);
    }
    mask_functions(&mut record.functions);
}

fn mask_functions(functions: &mut [TracedFunction]) {
    for function in functions {
        function.why = None;
        function.made.iter_mut().for_each(|made| mask_changes(&mut made.changes));
    }
}

fn mask_changes(changes: &mut [TracedChange]) {
    changes.iter_mut().for_each(mask_change);
}

fn mask_change(change: &mut TracedChange) {
    let TracedChange { path: _, before, after } = change;
    before.iter_mut().chain(after).for_each(mask_value);
}

/// Takes the values of some fields out of what somebody may see otherwise, and whatever may quote them.
fn mask_fields(record: &mut TracedRecord, fields: &[MaskedField]) {
    let mask = |value: &mut Value| fields.iter().for_each(|field| field.mask(value));
    let covers = |change: &TracedChange| covers_pointer(fields, &change.path);
    if covers_pointer(fields, "/context/ip") {
        record.ip = None;
    }
    record.why = None;
    record.original.iter_mut().chain(&mut record.decoded).chain(&mut record.passed_on).for_each(mask);
    for entry in &mut record.quarantine {
        (entry.message, entry.detail) = (None, None);
    }
    if let Some(verdict) = &mut record.contract {
        verdict.violations.clear();
        verdict.changes.iter_mut().filter(|change| covers(change)).for_each(mask_change);
    }
    for function in &mut record.functions {
        function.why = None;
        let changes = function.made.iter_mut().flat_map(|made| &mut made.changes);
        changes.filter(|change| covers(change)).for_each(mask_change);
    }
    for sync in record.syncs.iter_mut().filter(|sync| !sync.masked) {
        let mut delivered = std::mem::take(&mut sync.delivered);
        delivered.iter_mut().for_each(mask);
        mask_sync(sync);
        (sync.delivered, sync.masked) = (delivered, false);
    }
}

fn mask_sync(sync: &mut TracedSync) {
    sync.masked = true;
    sync.why = None;
    // What plugins and warehouses say quotes events, and the statements have the id as functions have left it.
    sync.notes.clear();
    sync.sql.clear();
    mask_functions(&mut sync.functions);
    mask_changes(&mut sync.mapped);
    sync.delivered.iter_mut().for_each(mask_value);
    // A table is named after its event.
    for row in &mut sync.rows {
        MASK.clone_into(&mut row.table);
        row.columns.iter_mut().for_each(|column| MASK.clone_into(&mut column.value));
    }
    for row in &mut sync.found {
        MASK.clone_into(&mut row.table);
        row.columns.iter_mut().for_each(|cell| MASK.clone_into(&mut cell.value));
    }
    for TracedRequest { method: _, url, headers, body } in &mut sync.requests {
        for text in [url, body].into_iter().chain(headers.iter_mut().map(|[_, value]| value)) {
            MASK.clone_into(text);
        }
    }
    for TriedMessage { topic, key, headers, payload, is_base64: _ } in &mut sync.messages {
        for text in [topic, key, payload].into_iter().chain(headers.values_mut()) {
            MASK.clone_into(text);
        }
    }
    sync.pending.iter_mut().for_each(|pending| pending.error = None);
}

#[cfg(test)]
mod tests {
    use tidegate_api_types::fate::EventFate;
    use tidegate_api_types::trace::{TracedEntry, TracedRetry};

    use super::*;

    fn entry(scope: &str, is_of_sync: bool) -> TracedEntry {
        TracedEntry {
            stage: "function".to_owned(),
            scope: scope.to_owned(),
            is_of_sync,
            message: Some("quotes hunter2".to_owned()),
            detail: Some(json!({"event": "hunter2"})),
            ..TracedEntry::default()
        }
    }

    #[test]
    fn an_entry_is_shown_by_the_rights_on_whatever_has_stopped_its_event() {
        let mut record = TracedRecord {
            source: "web".to_owned(),
            fate: Some(EventFate::Quarantined),
            // A source and a sync may have one name.
            quarantine: vec![entry("web", false), entry("web", true), entry("crm", true)],
            retry: Some(TracedRetry { for_sync: Some("hidden".to_owned()), ..TracedRetry::default() }),
            ..TracedRecord::default()
        };
        restrict(&mut record, &EventRights::of(&[("web", false), ("crm", true)], &[("web", false)]));
        let told: Vec<(&str, bool, bool, bool)> = record
            .quarantine
            .iter()
            .map(|entry| (entry.scope.as_str(), entry.is_of_sync, entry.message.is_some(), entry.detail.is_some()))
            .collect();
        assert_eq!(told, [("web", false, true, true), ("crm", true, false, false)]);
        assert_eq!(record.retry.unwrap().for_sync, None, "nobody is told of a sync that they may not view");
        assert!(!record.masked);
    }
}

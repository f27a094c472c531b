//! Quarantined events: listed, counted, shown, tried, exported.
//!
//! An entry is of a source, or of one sync. Who may view that may see that there is one, and why; who may see its events sees those as well.

mod asked;
mod entry;
mod proposed;
pub(super) mod retry;

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Request, State};
use serde_json::json;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::quarantine::{
    EntriesExported, EntriesTried, EntryCount, EntryCounts, EntrySelection, QuarantineEntries, QuarantineQuery,
    ShownEntry, TryEntries,
};
use tidegate_catalog::Verb;
use tidegate_state::{KeptEntry, StateError};

use super::asker::{OfApi, Requester};
use super::folders::FOLDER_BYTES_MAX;
use super::refused::absent;
use super::shown::limit;
use super::tries::MASK;
use crate::api::EngineSettings;
use crate::api::extract::{IdInPath, Query, blocking, body, parsed};
use crate::api::masked_fields::covers_pointer;
use crate::api::quarantine::TryEntriesOrder;
use crate::api::refusal::ApiRefusal;
use asked::{AskedEntries, entry_id, unreadable};
use entry::EntryMask;

/// Entries on a page at most.
const PAGE_MAX: usize = 1_000;
/// Entries that are tried at once.
const TRIED_DEFAULT: u64 = 100;
const TRIED_MAX: u64 = 200;
/// About the bytes of records that are read for one answer.
const ORIGINALS_BYTES: usize = 8 << 20;
/// Pages that are read to count.
const PAGES_COUNTED_MAX: u64 = 200;
/// There is no such entry, or none that may be seen.
pub(super) const NO_ENTRY: &str = "there is no such entry in quarantine";

/// Quarantined events, oldest first, of the sources and syncs that one may view. Who may not see events gets their fields without the values.
#[utoipa::path(get, path = path::QUARANTINE, tag = "quarantine", operation_id = "list_quarantine",
    params(EntrySelection, QuarantineQuery), responses((status = 200, body = QuarantineEntries), ApiRefusal))]
pub(in crate::api::v1) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<QuarantineQuery>,
) -> Result<axum::Json<QuarantineEntries>, ApiRefusal> {
    let asked = shared.asked_entries(&asker, query.workspace.as_deref(), (&query.entries, Verb::View)).await?;
    let (from, most) = (query.from.unwrap_or(0), limit(query.limit).clamp(1, PAGE_MAX));
    let read = move || -> Result<QuarantineEntries, StateError> {
        let state = (asked.engine.open_state)()?;
        let page = state.entries(&asked.filter, (from, u64::MAX), most)?;
        let mut entries = Vec::with_capacity(page.entries.len());
        for kept in &page.entries {
            let is_masked = !asked.payloads.sees(&kept.whose());
            let mask = EntryMask { is_masked, fields: &asked.masked };
            entries.push(entry::shown(kept, state.is_retried(kept.id)?, &mask));
        }
        Ok(QuarantineEntries { entries, next: page.next })
    };
    blocking(read).await?.map(axum::Json).map_err(|error| unreadable(&error))
}

/// How many quarantined events there are, by source or sync, stage, code and the name of the event. `limit` counts for nothing.
#[utoipa::path(get, path = path::QUARANTINE_COUNTS, tag = "quarantine", operation_id = "count_quarantine",
    params(EntrySelection, QuarantineQuery), responses((status = 200, body = EntryCounts), ApiRefusal))]
pub(in crate::api::v1) async fn count(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<QuarantineQuery>,
) -> Result<axum::Json<EntryCounts>, ApiRefusal> {
    let asked = shared.asked_entries(&asker, query.workspace.as_deref(), (&query.entries, Verb::View)).await?;
    let from = query.from.unwrap_or(0);
    let counted = blocking(move || counted(&asked, from)).await?;
    counted.map(axum::Json).map_err(|error| unreadable(&error))
}

fn counted(asked: &AskedEntries, from: u64) -> Result<EntryCounts, StateError> {
    let state = (asked.engine.open_state)()?;
    let size = state.quarantine_size()?;
    let mut counts = EntryCounts { expired: size.expired, purged: size.purged, ..EntryCounts::default() };
    let mut groups: BTreeMap<(String, &'static str, String, Option<String>), u64> = BTreeMap::new();
    let mut next = Some(from);
    for _ in 0..PAGES_COUNTED_MAX {
        let Some(from) = next else { break };
        let page = state.entries(&asked.filter, (from, u64::MAX), PAGE_MAX)?;
        for kept in page.entries {
            let is_seen = asked.payloads.sees(&kept.whose()) && !covers_pointer(&asked.masked, "/event");
            let name = is_seen.then(|| entry::event_name(&kept)).flatten();
            counts.total += 1;
            *groups.entry((kept.entry.scope, kept.entry.stage, kept.entry.code, name)).or_default() += 1;
        }
        next = page.next;
    }
    counts.next = next;
    let shown = |((scope, stage, code, event_name), entries): ((String, &'static str, String, Option<String>), u64)| {
        EntryCount { scope, stage: stage.to_owned(), code, event_name, entries }
    };
    counts.groups = groups.into_iter().map(shown).collect();
    Ok(counts)
}

/// One quarantined event, with the event as it came.
#[utoipa::path(get, path = path::QUARANTINE_ENTRY, tag = "quarantine", operation_id = "show_quarantined",
    params(("id" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownEntry), ApiRefusal))]
pub(in crate::api::v1) async fn show(
    State(shared): OfApi,
    asker: Requester,
    IdInPath(id): IdInPath,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownEntry>, ApiRefusal> {
    let asked = shared.asked_entry(&asker, query.workspace.as_deref(), (entry_id(&id)?, Verb::View)).await?;
    let read = move || -> Result<Option<ShownEntry>, ApiRefusal> {
        let state = (asked.engine.open_state)().map_err(|error| unreadable(&error))?;
        let Some(kept) = asked.one(&state)? else { return Ok(None) };
        let is_masked = !asked.payloads.sees(&kept.whose());
        let is_retried = state.is_retried(kept.id).map_err(|error| unreadable(&error))?;
        let mut shown = entry::shown(&kept, is_retried, &EntryMask { is_masked, fields: &asked.masked });
        if !is_masked {
            let original = (asked.engine.originals)(&state, kept.entry.id.position);
            shown.original =
                original.map_err(|error| unreadable(&error))?.and_then(|found| entry::original(&found, &asked.masked));
        }
        Ok(Some(shown))
    };
    blocking(read).await??.map(axum::Json).ok_or_else(|| absent(NO_ENTRY))
}

/// Events that `tidegate send` could take elsewhere, of those that one may see.
#[utoipa::path(get, path = path::QUARANTINE_EXPORT, tag = "quarantine", operation_id = "export_quarantine",
    params(EntrySelection, QuarantineQuery), responses((status = 200, body = EntriesExported), ApiRefusal))]
pub(in crate::api::v1) async fn export(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<QuarantineQuery>,
) -> Result<axum::Json<EntriesExported>, ApiRefusal> {
    let selected = (&query.entries, Verb::View);
    let mut asked = shared.asked_entries(&asker, query.workspace.as_deref(), selected).await?;
    asked.only_seen();
    let workspace = asked.workspace.clone();
    let (from, most) = (query.from.unwrap_or(0), limit(query.limit).clamp(1, PAGE_MAX));
    let read = move || -> Result<EntriesExported, ApiRefusal> {
        let mut exported = EntriesExported::default();
        let (entries, next) = with_originals(&asked, from, most)?;
        let state = (asked.engine.open_state)().map_err(|error| unreadable(&error))?;
        for (kept, original) in entries {
            let Some(event) = entry::exported(&kept, original.as_ref(), &asked.masked) else {
                exported.left_out += 1;
                continue;
            };
            // What several syncs have stopped is one event: whoever takes it elsewhere wants it once.
            let of_event =
                state.scopes_at(kept.entry.id.position, &asked.filter).map_err(|error| unreadable(&error))?;
            if of_event.first().is_none_or(|(first, _)| *first == kept.id) {
                exported.events.push(event);
                exported.scopes.push(scopes_of(kept, of_event));
            }
        }
        exported.next = next;
        Ok(exported)
    };
    let exported = blocking(read).await??;
    let detail = json!({ "events": exported.events.len(), "from": from });
    shared.note_done(&asker, &workspace, ("quarantine_exported", detail)).await?;
    Ok(axum::Json(exported))
}

/// Whose entries an event has, each once.
fn scopes_of(kept: KeptEntry, of_event: Vec<(u64, String)>) -> Vec<String> {
    let others = of_event.into_iter().map(|(_, scope)| scope);
    others.chain([kept.entry.scope]).collect::<BTreeSet<_>>().into_iter().collect()
}

/// What would become of quarantined events now: with what runs, with an object as it would be, or with what a folder says. Nothing is
/// delivered, and nothing is changed.
#[utoipa::path(post, path = path::QUARANTINE_TRY, tag = "quarantine", operation_id = "try_quarantine",
    params(WorkspaceQuery), request_body = TryEntries, responses((status = 200, body = EntriesTried), ApiRefusal))]
pub(in crate::api::v1) async fn attempt(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
    request: Request,
) -> Result<axum::Json<EntriesTried>, ApiRefusal> {
    let tried: TryEntries = parsed(&body(&shared, request, FOLDER_BYTES_MAX, "a folder").await?)?;
    let selected = (&tried.entries, Verb::View);
    let asked = shared.asked_entries(&asker, query.workspace.as_deref(), selected).await?;
    let (workspace, payloads, fields) = (asked.workspace.clone(), asked.payloads.clone(), asked.masked.clone());
    let change = shared.proposed(&asker, &workspace, (tried.change, tried.folder)).await?;
    let most = usize::try_from(tried.limit.unwrap_or(TRIED_DEFAULT).clamp(1, TRIED_MAX)).unwrap_or(1);
    let from = tried.from.unwrap_or(0);
    let (entries, next) = blocking(move || with_originals(&asked, from, most)).await??;
    let masked: Vec<bool> = entries.iter().map(|(kept, _)| !payloads.sees(&kept.whose())).collect();
    let mut done = match entries.is_empty() && change.is_none() {
        true => EntriesTried::default(),
        false => shared.tried_entries(&workspace, TryEntriesOrder { change, entries }).await?,
    };
    done.next = next;
    for (entry, is_masked) in done.entries.iter_mut().zip(masked) {
        if is_masked {
            done.masked = true;
            entry.message_id = entry.message_id.take().map(|_| MASK.to_owned());
            entry.reason = None;
            entry.delivered.iter_mut().for_each(super::tries::mask_value);
        } else if !fields.is_empty() {
            entry.reason = None;
            entry.delivered.iter_mut().for_each(|event| fields.iter().for_each(|field| field.mask(event)));
        }
    }
    let detail = json!({ "events": done.entries.len(), "summary": done.summary });
    shared.note_done(&asker, &workspace, ("quarantine_tried", detail)).await?;
    Ok(axum::Json(done))
}

/// Some entries, each with the record that its event came in, and where to go on.
type EntriesWithOriginals = (Vec<(KeptEntry, Option<tidegate_state::KeptOriginal>)>, Option<u64>);

fn with_originals(asked: &AskedEntries, from: u64, most: usize) -> Result<EntriesWithOriginals, ApiRefusal> {
    let engine: &EngineSettings = &asked.engine;
    let state = (engine.open_state)().map_err(|error| unreadable(&error))?;
    let page = state.entries(&asked.filter, (from, u64::MAX), most).map_err(|error| unreadable(&error))?;
    let mut entries = Vec::with_capacity(page.entries.len());
    let (mut bytes, mut last, mut next) = (0, None, page.next);
    for kept in page.entries {
        if bytes > ORIGINALS_BYTES {
            next = last;
            break;
        }
        last = Some(kept.id);
        let original = (engine.originals)(&state, kept.entry.id.position).map_err(|error| unreadable(&error))?;
        bytes += original.as_ref().map_or(0, |original| original.shared.len() + original.own.len());
        entries.push((kept, original));
    }
    Ok((entries, next))
}

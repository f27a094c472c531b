//! Alerts: how they are, what happened, whether messages arrive, and that nobody is told for a while.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use hyper::StatusCode;
use serde_json::{Value, json};
use tidegate_api_types::alert::{
    AlertHistory, AlertHistoryQuery, AlertTested, MuteAlert, ShownAlert, ShownAlertEvent, ShownAlerts,
};
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_catalog::{AuditRecord, AuditResult, CatalogObject, ObjectKind, Verb};
use tidegate_document::units;
use tidegate_event::time;
use tidegate_state::{AlertEvent, AlertHistoryPart, AlertMuting, StateError};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::asker::{OfApi, Requester, workspace_of};
use super::event_rights::{AskedEvents, EventRights};
use super::permit::{NamedObject, may};
use super::refused::{NO_OBJECT, absent, failed};
use super::tries::MASK;
use crate::api::alerts::AlertOrder;
use crate::api::extract::{Json, Query, blocking};
use crate::api::refusal::ApiRefusal;
use crate::api::{EngineSettings, MaskedField, SharedApi};

/// For a test of all channels of an alert.
const TEST_MAX: Duration = Duration::from_secs(35);
/// For a look at all alerts.
const LOOK_MAX: Duration = Duration::from_secs(5);
/// Entries of a page.
const PAGE: u64 = 100;
const PAGE_MAX: u64 = 1_000;
const REASON_CHARS_MAX: usize = 300;
/// What somebody does to an alert, by the word of the history.
const DONE: [&str; 3] = ["tested", "muted", "unmuted"];
const NO_ENVIRONMENT: &str = "there is no such environment that you may see";

/// Alerts of a workspace: how each is, what it fires for, and whether messages wait. As of the last look, which is made every 15 seconds.
#[utoipa::path(get, path = path::ALERTS, tag = "alerts", operation_id = "list_alerts",
    params(WorkspaceQuery), responses((status = 200, body = ShownAlerts), ApiRefusal))]
pub(super) async fn list(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownAlerts>, ApiRefusal> {
    let (engine, visible) = shared.visible_alerts(&asker, query.workspace.as_deref()).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let all = Arc::clone(&engine.alerts.shown.borrow());
    let is_seen =
        |alert: &&ShownAlert| visible.as_ref().is_none_or(|visible| visible.contains(&alert.name)) || alert.is_default;
    let alerts = all.iter().filter(is_seen).map(|alert| seen(alert.clone(), &of.rights, &of.masked));
    let mut alerts: Vec<ShownAlert> = alerts.collect();
    shared.name_muters(&mut alerts).await?;
    Ok(axum::Json(ShownAlerts { alerts }))
}

/// What happened to alerts, newest first: what fired and recovered, what was told, who muted what.
#[utoipa::path(get, path = path::ALERT_HISTORY, tag = "alerts", operation_id = "alert_history",
    params(AlertHistoryQuery), responses((status = 200, body = AlertHistory), ApiRefusal))]
pub(super) async fn history(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<AlertHistoryQuery>,
) -> Result<axum::Json<AlertHistory>, ApiRefusal> {
    let (engine, visible) = shared.visible_alerts(&asker, query.workspace.as_deref()).await?;
    let of = shared.asked_events(&asker, query.workspace.as_deref()).await?;
    let entries_max = query.limit.unwrap_or(PAGE).clamp(1, PAGE_MAX);
    // One that was deleted is in the history alone.
    let (shown, asked) = (Arc::clone(&engine.alerts.shown.borrow()), query.alert.clone());
    let asked = asked.filter(|_| query.before.is_none());
    let part = AlertHistoryPart { alert: query.alert, before: query.before, entries_max };
    let read = move || -> Result<Vec<AlertEvent>, StateError> { (engine.open_state)()?.alert_history(&part) };
    let found = blocking(read).await?.map_err(|error| failed(&error))?;
    let is_full = found.len() as u64 == entries_max;
    let next = found.last().map(|event| event.id).filter(|_| is_full);
    let is_seen = |event: &AlertEvent| visible.as_ref().is_none_or(|visible| visible.contains(&event.alert));
    let entries = found.into_iter().filter(is_seen).map(|event| ShownAlertEvent {
        at: time::format(event.at_us),
        text: seen_text((&of.rights, &of.masked), &event.object, event.text),
        alert: event.alert,
        object: event.object,
        what: event.what,
        by: None,
        by_name: None,
    });
    let mut entries: Vec<ShownAlertEvent> = entries.collect();
    shared.name_doers(&mut entries).await?;
    if let Some(alert) = asked.filter(|_| entries.is_empty()) {
        let is_own = |shown: &ShownAlert| visible.is_none() || shown.is_default;
        let is_shown = shown.iter().any(|shown| shown.name == alert && is_own(shown));
        match &visible {
            _ if is_shown => {}
            Some(visible) if visible.contains(&alert) => {}
            Some(_) => return Err(absent(NO_OBJECT)),
            // It may have been made just now.
            None => {
                let workspace = workspace_of(ObjectKind::Alert, query.workspace.as_deref());
                shared.object(&workspace, ObjectKind::Alert, &alert).await?;
            }
        }
    }
    Ok(axum::Json(AlertHistory { entries, next }))
}

/// Sends a test message to each channel of an alert, and says of each whether it has arrived. It is marked as a test, and changes nothing.
#[utoipa::path(post, path = path::ALERT_TEST, tag = "alerts", operation_id = "test_alert",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = AlertTested), ApiRefusal))]
pub(super) async fn test(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<axum::Json<AlertTested>, ApiRefusal> {
    let (name, engine) = (object.content.name.clone(), shared.engine(&object.workspace)?);
    let (answer, answered) = oneshot::channel();
    let order = AlertOrder::Test { alert: name.clone(), answer };
    let sent = timeout(TEST_MAX, async {
        engine.alerts.orders.send(order).await.ok()?;
        answered.await.ok()
    });
    let sent = sent.await.ok().flatten().ok_or_else(too_busy)?;
    let channels = sent.ok_or_else(not_running)?;
    let failed = channels.iter().filter(|channel| channel.error.is_some()).count();
    let text = format!("{} of {} channels took a test message", channels.len() - failed, channels.len());
    let event = event(&asker, &name, ("tested", text));
    note(&engine, event).await?;
    shared
        .note_alert(&asker, &object, ("alert_tested", json!({ "channels": channels.len(), "failed": failed })))
        .await?;
    Ok(axum::Json(AlertTested { alert: name, channels }))
}

/// Has nobody be told of an alert for a while, or until somebody says otherwise. What fires then is told afterwards, if it still does.
#[utoipa::path(post, path = path::ALERT_MUTE, tag = "alerts", operation_id = "mute_alert",
    params(("name" = String, Path), WorkspaceQuery), request_body = MuteAlert,
    responses((status = 200, body = ShownAlert), ApiRefusal))]
pub(super) async fn mute(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    (Query(_), Json(asked)): (Query<WorkspaceQuery>, Json<MuteAlert>),
) -> Result<axum::Json<ShownAlert>, ApiRefusal> {
    let (name, engine) = (object.content.name.clone(), shared.engine(&object.workspace)?);
    let until_us = match asked.length.as_deref() {
        None => None,
        Some(text) => {
            let length = units::duration(text).ok_or_else(|| {
                let (detail, fix) = ("`for` is no time", "write it as 30 min, 2 h or 7 d, or leave it away");
                ApiRefusal::unprocessable("for", detail, fix).in_field("for")
            })?;
            Some(asker.at_us.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX)))
        }
    };
    if asked.reason.as_ref().is_some_and(|reason| reason.chars().count() > REASON_CHARS_MAX) {
        let detail = format!("`reason` has more than {REASON_CHARS_MAX} characters");
        return Err(ApiRefusal::unprocessable("reason", detail, "write a shorter one").in_field("reason"));
    }
    let muting = AlertMuting { alert: name.clone(), until_us, asked_by: asker.asked_by(), at_us: asker.at_us };
    let until = until_us
        .map_or_else(|| "until somebody says otherwise".to_owned(), |at_us| format!("until {}", time::format(at_us)));
    let why = asked.reason.as_ref().map(|reason| format!(": {reason}")).unwrap_or_default();
    let event = event(&asker, &name, ("muted", format!("{until}{why}")));
    let state = Arc::clone(&engine);
    let write = move || -> Result<(), StateError> { (state.open_state)()?.mute_alert(&muting, &event) };
    blocking(write).await?.map_err(|error| failed(&error))?;
    shared.note_alert(&asker, &object, ("alert_muted", json!({ "until": until, "reason": asked.reason }))).await?;
    let of = shared.asked_events(&asker, Some(&object.workspace)).await?;
    let axum::Json(mut alert) = shown_anew(&engine, &name, &of).await?;
    shared.name_muters(std::slice::from_mut(&mut alert)).await?;
    Ok(axum::Json(alert))
}

/// Has people be told of an alert again. A mute that its file says stays.
#[utoipa::path(post, path = path::ALERT_UNMUTE, tag = "alerts", operation_id = "unmute_alert",
    params(("name" = String, Path), WorkspaceQuery), responses((status = 200, body = ShownAlert), ApiRefusal))]
pub(super) async fn unmute(
    State(shared): OfApi,
    asker: Requester,
    NamedObject(object): NamedObject,
    Query(_): Query<WorkspaceQuery>,
) -> Result<axum::Json<ShownAlert>, ApiRefusal> {
    let (name, engine) = (object.content.name.clone(), shared.engine(&object.workspace)?);
    let event = event(&asker, &name, ("unmuted", String::new()));
    let (state, alert) = (Arc::clone(&engine), name.clone());
    let write = move || -> Result<bool, StateError> { (state.open_state)()?.unmute_alert(&alert, &event) };
    if blocking(write).await?.map_err(|error| failed(&error))? {
        shared.note_alert(&asker, &object, ("alert_unmuted", json!({}))).await?;
    }
    let of = shared.asked_events(&asker, Some(&object.workspace)).await?;
    shown_anew(&engine, &name, &of).await
}

/// An alert as somebody may see it. What everybody has may be about syncs that are not for them.
fn seen(mut alert: ShownAlert, rights: &EventRights, masked: &[MaskedField]) -> ShownAlert {
    if alert.is_default {
        let is_viewed = |object: &str| object.strip_prefix("sync ").is_none_or(|sync| rights.views(sync, true));
        alert.objects.retain(|one| is_viewed(&one.object));
    }
    for one in &mut alert.objects {
        one.text = seen_text((rights, masked), &one.object, std::mem::take(&mut one.text));
    }
    alert
}

/// A text without what a destination or a function says, for whoever may not see all of the events there: it may quote them.
fn seen_text((rights, masked): (&EventRights, &[MaskedField]), object: &str, text: String) -> String {
    let is_seen = match object.split_once(' ') {
        Some(("sync", name)) => masked.is_empty() && rights.sees(name, true),
        Some(("function", _)) => matches!(rights, EventRights::All),
        _ => true,
    };
    match text.split_once(": ").filter(|_| !is_seen) {
        Some((own, _)) => format!("{own}: {MASK}"),
        None => text,
    }
}

/// An alert after another look.
async fn shown_anew(
    engine: &EngineSettings,
    name: &str,
    of: &AskedEvents,
) -> Result<axum::Json<ShownAlert>, ApiRefusal> {
    let (done, looked) = oneshot::channel();
    let order = AlertOrder::Look { done };
    let look = timeout(LOOK_MAX, async {
        engine.alerts.orders.send(order).await.ok()?;
        looked.await.ok()
    });
    look.await.ok().flatten().ok_or_else(too_busy)?;
    let all = Arc::clone(&engine.alerts.shown.borrow());
    let found = all.iter().find(|alert| alert.name == name).cloned();
    found.map(|alert| axum::Json(seen(alert, &of.rights, &of.masked))).ok_or_else(not_running)
}

async fn note(engine: &Arc<EngineSettings>, event: AlertEvent) -> Result<(), ApiRefusal> {
    let state = Arc::clone(engine);
    let write = move || -> Result<(), StateError> { (state.open_state)()?.note_alert(&event) };
    blocking(write).await?.map_err(|error| failed(&error))
}

fn event(asker: &Requester, alert: &str, (what, text): (&str, String)) -> AlertEvent {
    let by = asker.asked_by();
    let text = if text.is_empty() { format!("by {by}") } else { format!("by {by}, {text}") };
    AlertEvent {
        id: 0,
        at_us: asker.at_us,
        alert: alert.to_owned(),
        object: String::new(),
        what: what.to_owned(),
        text,
    }
}

/// Who has done something to an alert: what is kept of it begins with that.
fn doer(entry: &ShownAlertEvent) -> Option<&str> {
    let is_of_somebody = entry.object.is_empty() && DONE.contains(&entry.what.as_str());
    let said = entry.text.strip_prefix("by ").filter(|_| is_of_somebody)?;
    Some(said.split_once(", ").map_or(said, |(by, _)| by))
}

fn too_busy() -> ApiRefusal {
    let (detail, fix) = ("alerts are busy, or the server is stopping", "send it again after Retry-After");
    ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix).after(LOOK_MAX)
}

fn not_running() -> ApiRefusal {
    let detail = "the alert does not run: it has channels alone, or what it names is not there";
    ApiRefusal::unprocessable("not-running", detail, "`tidegate status` shows what does not run, and why")
}

impl SharedApi {
    /// The alerts of an environment that whoever asks may view, by name; none for all.
    async fn visible_alerts(
        &self,
        asker: &Requester,
        workspace: Option<&str>,
    ) -> Result<(Arc<EngineSettings>, Option<BTreeSet<String>>), ApiRefusal> {
        let workspace = workspace_of(ObjectKind::Alert, workspace);
        if asker.acting().is_some_and(|acting| !acting.has_role_in(&workspace)) {
            return Err(absent(NO_ENVIRONMENT));
        }
        let engine = self.engine(&workspace)?;
        let acting = match asker.acting() {
            Some(acting) if !asker.is_admin(&workspace) => acting,
            _ => return Ok((engine, None)),
        };
        let snapshot = self.settings.catalog.catalog.snapshot(&workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let alerts = snapshot.objects.iter().filter(|object| object.content.kind == ObjectKind::Alert);
        let seen = alerts.filter(|object| may(acting, Verb::View, object, Some(&snapshot)).is_ok());
        let names = seen.map(|object| object.content.name.clone()).collect();
        Ok((engine, Some(names)))
    }

    /// Says by name who has muted alerts.
    async fn name_muters(&self, alerts: &mut [ShownAlert]) -> Result<(), ApiRefusal> {
        let names = self.names_of(alerts.iter().filter_map(|alert| alert.muted_by.as_deref()).collect()).await?;
        for alert in alerts {
            alert.muted_by_name = names.of(alert.muted_by.as_deref());
        }
        Ok(())
    }

    /// Says by name who has muted, unmuted or tested alerts.
    async fn name_doers(&self, entries: &mut [ShownAlertEvent]) -> Result<(), ApiRefusal> {
        for entry in entries.iter_mut() {
            entry.by = doer(entry).map(str::to_owned);
        }
        let names = self.names_of(entries.iter().filter_map(|entry| entry.by.as_deref()).collect()).await?;
        for entry in entries {
            let (Some(by), Some(name)) = (&entry.by, names.of(entry.by.as_deref())) else { continue };
            entry.text = entry.text.replacen(by.as_str(), &name, 1);
            entry.by_name = Some(name);
        }
        Ok(())
    }

    /// Writes what somebody has done to an alert into the audit log.
    async fn note_alert(
        &self,
        asker: &Requester,
        object: &CatalogObject,
        (action, detail): (&str, Value),
    ) -> Result<(), ApiRefusal> {
        let record = AuditRecord {
            workspace: object.workspace.clone(),
            action: action.to_owned(),
            kind: Some(object.content.kind),
            object: Some(object.id.clone()),
            name: Some(object.content.name.clone()),
            result: AuditResult::Done,
            revision: None,
            detail,
        };
        let catalog = &self.settings.catalog.catalog;
        catalog.record(&asker.actor, asker.at_us, record).await.map_err(|error| self.refused(error))
    }
}

#[cfg(test)]
mod tests {
    use tidegate_api_types::alert::ShownAlertObject;

    use super::*;

    #[test]
    fn what_a_destination_says_is_for_who_may_see_its_events_and_default_alerts_name_no_sync_of_others() {
        let one = |object: &str, text: &str| ShownAlertObject {
            object: object.to_owned(),
            text: text.to_owned(),
            ..ShownAlertObject::default()
        };
        let objects = vec![
            one("sync crm", "it fails: no ann@example.com: 400"),
            one("sync lake", "it fails: no ann@example.com"),
            one("function f", "it is stopped, and its events wait in the log: fatal: ann@example.com"),
            one("the disk", "5 % of the disk are free"),
        ];
        let alert = ShownAlert { objects, ..ShownAlert::default() };
        let rights = EventRights::of(&[("crm", true), ("lake", true)], &[("lake", true)]);
        let texts = |alert: ShownAlert| -> Vec<String> { alert.objects.into_iter().map(|one| one.text).collect() };
        assert_eq!(
            texts(seen(alert.clone(), &rights, &[])),
            [
                "it fails: ***",
                "it fails: no ann@example.com",
                "it is stopped, and its events wait in the log: ***",
                "5 % of the disk are free"
            ]
        );
        assert_eq!(texts(seen(alert.clone(), &EventRights::All, &[])), texts(alert.clone()));
        // It may quote a field that stays masked for who else sees the events.
        let masked = [MaskedField::new("traits.email")];
        assert_eq!(texts(seen(alert.clone(), &rights, &masked))[1], "it fails: ***");
        let rights = EventRights::of(&[("lake", true)], &[]);
        let of_everybody = seen(ShownAlert { is_default: true, ..alert }, &rights, &[]);
        let names: Vec<&str> = of_everybody.objects.iter().map(|one| one.object.as_str()).collect();
        assert_eq!(names, ["sync lake", "function f", "the disk"]);
    }
}

//! Syncs and destinations: which one is not keeping up, since when, and why.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::activity::{ShownActivity, SyncActivity};
use tidegate_api_types::conservation::FateNumbers;
use tidegate_api_types::object::{Objects, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::workspace::ObjectRefKind;

use super::ask::{PageRefusal, PageRequest, segment};
use super::layout::ConsolePage;
use super::objects::{pause_form, state};
use super::text::{amount, count, moment, moment_or, short, visible};

const OBJECTS_MAX: &str = "1000";
const HOURS: &str = "24";
const FAILURE_CHARS_MAX: usize = 2_000;

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let content = body(&request).await?;
    let command = "tidegate status".to_owned();
    let updates = Some("syncs".to_owned());
    Ok(ConsolePage { title: "Syncs and destinations", at: "/syncs", command, updates, content }.show(&request))
}

/// What is replaced while the page is open.
pub(super) async fn body(request: &PageRequest) -> Result<Markup, PageRefusal> {
    let all = |kind: &str| path::OBJECTS.replace("{kind}", kind);
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", HOURS)]).await?;
    let syncs: Objects = request.ask(&all("sync"), &[("limit", OBJECTS_MAX)]).await?;
    let destinations: Objects = request.ask(&all("destination"), &[("limit", OBJECTS_MAX)]).await?;
    let running: Option<RunningNow> = request.ask_if_there(path::RUNNING, &[]).await?;
    let running = running.unwrap_or_default();
    let of_name = |name: &str| activity.syncs.iter().find(|sync| sync.sync == name);
    let behind = |kind: ObjectRefKind, name: &str| {
        let mut all = running.behind.iter().filter(|one| one.object.kind == kind && one.object.key == name);
        all.find_map(|one| one.error.as_deref())
    };
    Ok(html! {
        section {
            h2 { "Syncs" }
            @if request.may_change() { p { a.button href=(request.to("/new/sync", &[])) { "New sync" } } }
            @if syncs.objects.is_empty() { p.quiet { "There is no sync here that you may see." } }
            @for object in &syncs.objects {
                article.card {
                    h3 { a href=(request.to(&format!("/syncs/{}", segment(&object.name)), &[])) { (short(&object.name)) } " " (sync_state(object, of_name(&object.name))) }
                    p.quiet { (field(object, "source")) " → " (field(object, "destination")) }
                    @if let Some(why) = behind(ObjectRefKind::Sync, &object.name) { p.problem { bdi { (visible(why, FAILURE_CHARS_MAX)) } } }
                    @if let Some(sync) = of_name(&object.name) { (progress(sync, request)) }
                    (pause_form(request, object, Some("list")))
                    @if request.may_change() { p { a href=(request.to("/replay", &[("sync", object.name.as_str())])) { "Replay events to it" } } }
                }
            }
        }
        section {
            h2 { "Destinations" }
            @if destinations.objects.is_empty() { p.quiet { "There is no destination here that you may see." } }
            @for object in &destinations.objects {
                article.card {
                    h3 { a href=(request.to(&format!("/destinations/{}", segment(&object.name)), &[])) { (short(&object.name)) } " " (state(object)) }
                    p.quiet { (field(object, "kind")) " · changed " (moment(&object.updated_at, request.now_us)) }
                    @if let Some(why) = behind(ObjectRefKind::Destination, &object.name) { p.problem { bdi { (visible(why, FAILURE_CHARS_MAX)) } } }
                    (pause_form(request, object, Some("list")))
                }
            }
        }
    })
}

fn field(object: &ShownObject, name: &str) -> String {
    match &object.spec[name] {
        Value::String(text) => short(text),
        _ => "–".to_owned(),
    }
}

pub(super) fn sync_state(object: &ShownObject, activity: Option<&SyncActivity>) -> Markup {
    html! {
        @match activity {
            Some(activity) if activity.failing => { span.badge.bad { "failing" } }
            Some(activity) if activity.paused && !object.paused && object.spec["paused"] != true => { span.badge.bad { "paused with its destination" } }
            None if !object.paused => { span.badge { "does not run here" } }
            _ => { (state(object)) }
        }
    }
}

pub(super) fn progress(sync: &SyncActivity, request: &PageRequest) -> Markup {
    let now_us = request.now_us;
    let sum = |of: fn(&FateNumbers) -> i64| -> i64 { sync.hours.iter().map(|hour| of(&hour.counts)).sum() };
    let delivered = sum(|counts| counts.delivered + counts.delivered_by_ledger);
    html! {
        dl.of-record {
            div { dt { "Last delivery" } dd { (moment_or(sync.delivered_at.as_deref(), "none yet", now_us)) } }
            div { dt { "Waiting in the log" } dd { (amount(sync.waiting)) } }
            div { dt { "Pending" } dd { (amount(sync.pending)) @if let Some(since) = &sync.pending_since { ", since " (moment(since, now_us)) } } }
            div { dt { "Delivered, of 24 h" } dd { (count(delivered)) } }
            div { dt { "Filtered" } dd { (count(sum(|counts| counts.filtered))) } }
            div {
                dt { "Quarantined" }
                dd { a href=(request.to("/quarantine", &[("sync", sync.sync.as_str())])) { (count(sum(|counts| counts.quarantined))) } }
            }
        }
        @if sync.failing {
            div.problem {
                p { "It is trying again:" }
                p { bdi { (visible(sync.failure.as_deref().unwrap_or("what has failed is for those who may see its events"), FAILURE_CHARS_MAX)) } }
            }
        }
        @for notice in &sync.notices { p.notice { bdi { (visible(notice, FAILURE_CHARS_MAX)) } } }
    }
}

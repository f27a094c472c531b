//! Where events enter: which sources there are, how each is set up, and whether anything has come.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use tidegate_api_types::activity::{ShownActivity, SourceActivity};
use tidegate_api_types::object::{Objects, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::stream::{STREAM_KINDS, ShownStream};
use tidegate_api_types::write_key::{SourceWriteKey, SourceWriteKeys};

use super::ask::{PageRefusal, PageRequest, segment};
use super::layout::ConsolePage;
use super::objects::{pause_form, state};
use super::plot::{PlotHours, PlotLine, plot};
use super::snippets::{SNIPPETS, SnippetPlace, snippet};
use super::text::{amount, count, moment, moment_or, short, visible};

const SOURCES_MAX: &str = "1000";
/// The hours that a list and a source show.
const HOURS: &str = "24";
const ERROR_CHARS_MAX: usize = 500;

pub(super) async fn list(request: PageRequest) -> Result<Response, PageRefusal> {
    let found: Objects = request.ask(&path::OBJECTS.replace("{kind}", "source"), &[("limit", SOURCES_MAX)]).await?;
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", HOURS)]).await?;
    let of = |name: &str| activity.sources.iter().find(|source| source.source == name);
    let came =
        |name: &str| of(name).map_or(0_i64, |source| source.hours.iter().map(|hour| hour.counts.came).sum::<i64>());
    let content = html! {
        @if found.objects.is_empty() {
            p { "There is no source here that you may see." }
            p.quiet { "A source is a file: " code { "sources/web.yaml" } " with " code { "kind: http" } "; or " code { "tidegate object create source web" } "." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Sources" {
                table {
                    thead { tr {
                        th scope="col" { "Source" } th scope="col" { "Kind" } th.number scope="col" { "In 24 h" }
                        th.number scope="col" { "Violations" } th scope="col" { "State" } th scope="col" { "Changed" }
                    } }
                    tbody {
                        @for object in &found.objects {
                            tr {
                                th scope="row" { a href=(request.to(&format!("/sources/{}", segment(&object.name)), &[])) { (short(&object.name)) } }
                                td { (kind_of(object)) }
                                td.number { (count(came(&object.name))) }
                                td.number { (amount(of(&object.name).map_or(0, |source| source.violations))) }
                                td { (state(object)) }
                                td { (moment(&object.updated_at, request.now_us)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let command = "tidegate object list source".to_owned();
    Ok(ConsolePage { title: "Sources", at: "/sources", command, updates: None, content }.show(&request))
}

pub(super) async fn show(Path(name): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let content = body(&request, &name).await?;
    let (title, command) = (format!("Source {}", short(&name)), format!("tidegate write-key list {}", short(&name)));
    let updates = Some(format!("source/{name}"));
    Ok(ConsolePage { title: &title, at: "/sources", command, updates, content }.show(&request))
}

/// What is replaced while the page of a source is open.
pub(super) async fn body(request: &PageRequest, name: &str) -> Result<Markup, PageRefusal> {
    let at = |path: &str| path.replace("{kind}", "source").replace("{name}", &segment(name));
    let object: ShownObject = request.ask(&at(path::OBJECT), &[]).await?;
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", HOURS)]).await?;
    let is_stream = STREAM_KINDS.contains(&kind_of(&object).as_str());
    let keys: Option<SourceWriteKeys> = request.ask_if_there(&at(path::SOURCE_WRITE_KEYS), &[]).await?;
    let keys = keys.map_or_else(Vec::new, |keys| keys.write_keys);
    let stream: Option<ShownStream> =
        if is_stream { request.ask_if_there(&at(path::SOURCE_STREAM), &[]).await? } else { None };
    let found = activity.sources.iter().find(|source| source.source == object.name).cloned().unwrap_or_default();
    let came: i64 = found.hours.iter().map(|hour| hour.counts.came).sum();
    let sent: u64 = keys.iter().map(|key| key.events).sum();
    let place = SnippetPlace::new(&activity.events_url, &request.host);
    Ok(html! {
        p { (kind_of(&object)) " · " (state(&object)) " · changed " (moment(&object.updated_at, request.now_us)) @if let Some(file) = object.managed_by.as_ref().and_then(|by| by.file.as_deref()) { " · " code { (short(file)) } } }
        (pause_form(request, &object, None))
        @if came > 0 || sent > 0 || found.totals.accepted > 0 {
            p.good role="status" { "Events have come: " (count(came)) " in the last 24 h. " a href=(request.to("/live", &[("source", object.name.as_str())])) { "Watch them pass" } }
        } @else {
            p.waiting role="status" { "Waiting for your first event …" }
        }
        (came_by_hour(&activity, &found))
        @if let Some(stream) = &stream { (stream_state(stream, request)) }
        @if !is_stream {
            section {
                h2 { "Write keys" }
                (write_keys(&keys, request))
            }
        }
        @if matches!(kind_of(&object).as_str(), "" | "http") {
            section {
                h2 { "Send events" }
                p.quiet { "Put a write key in the place of " code { "WRITE_KEY" } ". Keys are shown once, when they are made." }
                @for (group, of) in SNIPPETS {
                    details {
                        summary { (group) }
                        @for (client, text) in of {
                            @let text = snippet(text, &place);
                            h3 { (client) }
                            pre.data tabindex="0" { (text) }
                            button.copy.plain type="button" data-copy=(text) hidden { "Copy" }
                        }
                    }
                }
            }
        }
    })
}

fn kind_of(object: &ShownObject) -> String {
    object.spec["kind"].as_str().map(short).unwrap_or_default()
}

fn came_by_hour(activity: &ShownActivity, found: &SourceActivity) -> Markup {
    let hours = PlotHours::new(&activity.from, activity.hours);
    let (mut came, mut stopped) = (Vec::new(), Vec::new());
    hours.add(&mut came, &found.hours, |counts| counts.came);
    hours.add(&mut stopped, &found.hours, |counts| counts.quarantined);
    let lines = [
        PlotLine { name: "accepted", class: "in", values: came },
        PlotLine { name: "quarantined", class: "bad", values: stopped },
    ];
    plot("Events by the hour, last 24 h", &hours, &lines)
}

fn write_keys(keys: &[SourceWriteKey], request: &PageRequest) -> Markup {
    let now_us = request.now_us;
    html! {
        @if keys.is_empty() {
            p.quiet { "There is none. " code { "tidegate write-key create SOURCE NAME" } " makes one." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Write keys" {
                table {
                    thead { tr {
                        th scope="col" { "Name" } th scope="col" { "Ends in" } th.number scope="col" { "Events" }
                        th scope="col" { "First used" } th scope="col" { "Last used" } th scope="col" { "State" }
                    } }
                    tbody {
                        @for key in keys {
                            tr {
                                th scope="row" { (short(&key.name)) }
                                td { @match &key.last4 { Some(last4) => { code { "…" (short(last4)) } } None => { span.quiet { (short(key.file.as_deref().unwrap_or("a file"))) } } } }
                                td.number { (amount(key.events)) }
                                td { (moment_or(key.first_used.as_deref(), "never", now_us)) }
                                td { (moment_or(key.last_used.as_deref(), "never", now_us)) }
                                td { @if key.ended { span.badge.bad { "ended" } } @else if key.grace_until.is_some() { span.badge { "in its grace" } } @else { span.badge.good { "open" } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn stream_state(stream: &ShownStream, request: &PageRequest) -> Markup {
    html! {
        section {
            h2 { "The stream" }
            p { (short(&stream.kind)) " " bdi { (short(&stream.place)) } ": " b { (short(&stream.state)) } ", " (amount(stream.messages)) " messages since the start" @if let Some(lag) = stream.lag { ", " (amount(lag)) " behind" } "." }
            @if let Some(error) = &stream.error {
                p.problem { bdi { (visible(error, ERROR_CHARS_MAX)) } " " (moment_or(stream.error_at.as_deref(), "", request.now_us)) }
            }
            @for notice in &stream.notices { p.notice { bdi { (visible(notice, ERROR_CHARS_MAX)) } } }
        }
    }
}

//! What has become of single events, hop by hop.

use axum::response::{IntoResponse as _, Response};
use hyper::StatusCode;
use hyper::header::{self, HeaderValue};
use maud::{Markup, html};
use tidegate_api_types::path;
use tidegate_api_types::trace::{
    EventTraces, TracedChange, TracedEntry, TracedFunction, TracedRecord, TracedRequest, TracedSync, TracedVerdict,
};
use tidegate_api_types::tried::{TriedMessage, TriedRow};

use super::ask::{PageRefusal, PageRequest, from_there};
use super::layout::ConsolePage;
use super::live::{finder, quoted};
use super::text::{amount, compact, moment, plain_json, pretty, short, visible};

/// Characters of a reason, a request, a statement.
const TEXT_CHARS_MAX: usize = 8 << 10;

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let fields = ["message_id", "user", "event", "source", "since", "until"].map(|name| (name, request.text(name)));
    let is_asked = fields.iter().take(3).any(|(_, value)| !value.is_empty());
    let found: Option<EventTraces> = if is_asked { Some(request.ask(path::TRACE, &fields).await?) } else { None };
    let content = html! {
        (finder(&request))
        @match &found {
            None => { p.quiet { "Say which events: by their id, their user or their name." } }
            Some(found) => {
                (traces(found, &request))
                @if let Some(until) = &found.continue_until {
                    p { a href=(request.to("/trace", &from_there(&fields, ("until", until.as_str())))) { "Look at what is older" } }
                }
            }
        }
    };
    let mut command = "tidegate trace".to_owned();
    for (option, name) in [(" ", "message_id"), (" --user ", "user"), (" --event ", "event")] {
        if let Some(value) = request.get(name) {
            command.push_str(&format!("{option}{}", quoted(value)));
        }
    }
    Ok(ConsolePage { title: "Trace", at: "/live", command, updates: None, content }.show(&request))
}

/// The event as functions are given it, as a file of their fixtures.
pub(super) async fn fixture(request: PageRequest) -> Result<Response, PageRefusal> {
    let fields = [("message_id", request.text("message_id")), ("limit", "1")];
    let found: EventTraces = request.ask(path::TRACE, &fields).await?;
    let record = found.records.first().ok_or_else(PageRefusal::absent)?;
    if record.masked {
        let (detail, fix) = ("you may not see the values of this event", "ask for `see_payloads` on its source");
        return Err(PageRefusal::new(StatusCode::FORBIDDEN, "masked", detail, fix));
    }
    let event = record.decoded.as_ref().or(record.original.as_ref()).ok_or_else(PageRefusal::absent)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CONTENT_DISPOSITION, HeaderValue::from_static("attachment; filename=\"event.in.json\"")),
    ];
    let text = serde_json::to_string_pretty(event).unwrap_or_default();
    Ok((headers, format!("{text}\n")).into_response())
}

fn traces(found: &EventTraces, request: &PageRequest) -> Markup {
    html! {
        @if found.masked {
            p.notice { "You may not see the values of some of these events: each stands for itself by its type." }
        }
        @if found.records.is_empty() {
            p { "The log has no such event" @if let Some(since) = &found.log_since { "; it goes back to " (moment(since, request.now_us)) } "." }
        }
        @for record in &found.records { (one(record, request)) }
        @if found.more { p.quiet { "There may be more of them." } }
        @for sentence in &found.not_looked_at { p.quiet { (short(sentence)) } }
    }
}

fn one(record: &TracedRecord, request: &PageRequest) -> Markup {
    html! {
        article.record {
            h2 { bdi { (record.message_id.as_deref().map_or_else(|| "no id".to_owned(), short)) } }
            dl.of-record {
                div { dt { "Received" } dd { (moment(&record.received_at, request.now_us)) " " span.quiet { (record.received_at) } } }
                div { dt { "Source" } dd { (short(&record.source)) } }
                div { dt { "In the log at" } dd { (record.position) ", " (amount(record.bytes)) " bytes" } }
                @if let Some(ip) = &record.ip { div { dt { "From" } dd { (short(ip)) } } }
                @if let Some(library) = &record.library { div { dt { "SDK" } dd { bdi { (short(library)) } } } }
                @if let Some(retry) = &record.retry {
                    div { dt { "A retry of" } dd { (short(&retry.position)) ", attempt " (retry.attempt) } }
                }
            }
            @if let Some(id) = record.message_id.as_deref().filter(|_| !record.masked) {
                p { a href=(request.to("/trace/fixture", &[("message_id", id)])) download="event.in.json" { "Save as a fixture of a function" } }
            }
            ol.hops {
                li { h3 { "It came" } @if let Some(original) = &record.original { (event(original, !record.masked)) } }
                @if record.decoded.is_some() && record.decoded != record.original {
                    li { h3 { "It was decoded" } @if let Some(decoded) = &record.decoded { (event(decoded, false)) } }
                }
                @if let Some(duplicate) = &record.duplicate_of {
                    li { h3 { "It repeats " (short(&duplicate.position)) } p { @if duplicate.is_same { "With the same bytes." } @else { "With other bytes." } } }
                }
                @if let Some(verdict) = &record.contract { li { (contract(verdict)) } }
                @for function in &record.functions { li { (of_function(function)) } }
                @if let Some(fate) = record.fate {
                    li { h3 { "It ended here: " span.badge.bad { (fate.name()) } } @if let Some(why) = &record.why { p { bdi { (visible(why, TEXT_CHARS_MAX)) } } } }
                } @else {
                    li { h3 { "It went on to the syncs" } @for passed in &record.passed_on { (event(passed, false)) } }
                }
                @for entry in &record.quarantine { li { (quarantined(entry, request)) } }
                @for sync in &record.syncs { li { (of_sync(sync, request)) } }
            }
            @for note in &record.notes { p.quiet { (visible(note, TEXT_CHARS_MAX)) } }
        }
    }
}

/// An event whole, behind one line; `can_be_sent` where sending it would make sense.
fn event(value: &serde_json::Value, can_be_sent: bool) -> Markup {
    let text = pretty(value);
    html! {
        details {
            summary { code { bdi { (compact(value)) } } }
            pre.data tabindex="0" { (text) }
            button.copy.plain type="button" data-copy=(text) hidden { "Copy" }
            @if can_be_sent { button.copy.plain type="button" data-copy=(curl(value)) hidden { "Copy as curl" } }
        }
    }
}

/// The command that sends an event once more. The key is for whoever runs it to put in.
fn curl(value: &serde_json::Value) -> String {
    let body = plain_json(&serde_json::json!({ "batch": [value] }));
    format!(
        "curl -sS \"$TIDEGATE_URL/v1/batch\" -u \"$WRITE_KEY:\" -H 'content-type: application/json' -d {}",
        quoted(&body)
    )
}

pub(super) fn changes(changes: &[TracedChange]) -> Markup {
    html! {
        @if !changes.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="What changed" {
                table {
                    thead { tr { th scope="col" { "Place" } th scope="col" { "Before" } th scope="col" { "After" } } }
                    tbody {
                        @for TracedChange { path, before, after } in changes {
                            tr {
                                th scope="row" { bdi { (short(path)) } }
                                td.before { bdi { (before.as_ref().map_or_else(|| "–".to_owned(), compact)) } }
                                td.after { bdi { (after.as_ref().map_or_else(|| "–".to_owned(), compact)) } }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn contract(verdict: &TracedVerdict) -> Markup {
    html! {
        h3 {
            "Its contract " @if verdict.allowed { span.badge.good { "allowed it" } } @else { span.badge.bad { "did not allow it" } }
            @if let Some(revision) = verdict.revision { " " span.quiet { "revision " (revision) } }
        }
        @if !verdict.violations.is_empty() {
            ul { @for violation in &verdict.violations { li { bdi { (visible(violation, TEXT_CHARS_MAX)) } } } }
        }
        (changes(&verdict.changes))
    }
}

fn of_function(function: &TracedFunction) -> Markup {
    html! {
        h3 {
            "Function " (short(&function.name)) " "
            span.badge.bad[function.outcome != "passed"] { (short(&function.outcome)) }
            " " code.quiet { (function.version.chars().take(12).collect::<String>()) }
        }
        @if let Some(why) = &function.why { p { bdi { (visible(why, TEXT_CHARS_MAX)) } } }
        @for made in &function.made { (changes(&made.changes)) }
    }
}

fn quarantined(entry: &TracedEntry, request: &PageRequest) -> Markup {
    let place = request.to(&format!("/quarantine/entries/{}", entry.id), &[]);
    html! {
        h3 { "In quarantine: " a href=(place) { (short(&entry.code)) } " " span.quiet { (short(&entry.stage)) " of " (short(&entry.scope)) } }
        p { (moment(&entry.quarantined_at, request.now_us)) ", " (entry.attempts) " retries" }
        @if let Some(message) = &entry.message { p { bdi { (visible(message, TEXT_CHARS_MAX)) } } }
        @if let Some(detail) = &entry.detail { (event(detail, false)) }
    }
}

fn of_sync(sync: &TracedSync, request: &PageRequest) -> Markup {
    html! {
        h3 { "Sync " (short(&sync.sync)) " → " (short(&sync.destination)) " " span.badge { (sync.fate.name()) } " " span.quiet { (short(&sync.kind)) } }
        @if sync.masked { p.notice { "You may not see the events of this sync." } }
        @if let Some(why) = &sync.why { p { bdi { (visible(why, TEXT_CHARS_MAX)) } } }
        @for function in &sync.functions { (of_function(function)) }
        (changes(&sync.mapped))
        @for delivered in &sync.delivered { (event(delivered, false)) }
        @for row in &sync.rows { (would_be(row)) }
        @for row in &sync.found {
            h4 { "There is a row in " (short(&row.table)) }
            (cells(row.columns.iter().map(|cell| (cell.name.as_str(), cell.value.as_str()))))
        }
        @for statement in &sync.sql { pre.data tabindex="0" { (visible(statement, TEXT_CHARS_MAX)) } }
        @for planned in &sync.requests { (exchange(planned)) }
        @for message in &sync.messages { (sent(message)) }
        @for pending in &sync.pending {
            p { "Waits for another try " (moment(&pending.next_at, request.now_us)) ", after " (pending.attempts) ", first " (moment(&pending.first_tried_at, request.now_us)) "." }
            @if let Some(error) = &pending.error { p { bdi { (visible(error, TEXT_CHARS_MAX)) } } }
        }
        @for note in &sync.notes { p.quiet { bdi { (visible(note, TEXT_CHARS_MAX)) } } }
    }
}

fn would_be(row: &TriedRow) -> Markup {
    html! {
        h4 { "It becomes a row of " (short(&row.table)) }
        (cells(row.columns.iter().map(|column| (column.name.as_str(), column.value.as_str()))))
    }
}

fn cells<'c>(cells: impl Iterator<Item = (&'c str, &'c str)>) -> Markup {
    html! {
        dl.cells { @for (name, value) in cells { div { dt { bdi { (short(name)) } } dd { bdi { (visible(value, TEXT_CHARS_MAX)) } } } } }
    }
}

fn exchange(planned: &TracedRequest) -> Markup {
    let body = visible(&planned.body, TEXT_CHARS_MAX);
    html! {
        details {
            summary { "It becomes a request: " code { bdi { (short(&planned.method)) " " (short(&planned.url)) } } }
            pre.data tabindex="0" { @for [name, value] in &planned.headers { (short(name)) ": " (short(value)) "\n" } "\n" (body) }
        }
    }
}

fn sent(message: &TriedMessage) -> Markup {
    html! {
        details {
            summary { "It becomes a message of " (short(&message.topic)) " " span.quiet { "key " bdi { (short(&message.key)) } } }
            pre.data tabindex="0" { (visible(&message.payload, TEXT_CHARS_MAX)) }
        }
    }
}

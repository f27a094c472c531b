//! Entries of the audit log.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::control::AuditEntries;
use tidegate_api_types::path;
use tidegate_event::time;

use super::ask::{PageRefusal, PageRequest, from_there};
use super::layout::ConsolePage;
use super::text::{compact, moment, short};

const LIMIT: &str = "100";

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let (action, result) = (request.text("action"), request.text("result"));
    let chosen = [("action", action), ("result", result)];
    let page = [&chosen[..], &[("limit", LIMIT), ("from", request.text("from"))]].concat();
    let found: AuditEntries = request.ask(path::AUDIT, &page).await?;
    let content = html! {
        form.filter method="get" action="/audit" {
            input type="hidden" name="workspace" value=(request.workspace);
            label { "Action" input name="action" value=(action) placeholder="created" autocomplete="off"; }
            label {
                "Result"
                select name="result" {
                    @for (value, name) in [("", "all"), ("done", "done"), ("denied", "denied"), ("failed", "failed")] {
                        option value=(value) selected[value == result] { (name) }
                    }
                }
            }
            button type="submit" { "Show" }
        }
        @if found.entries.is_empty() {
            p.quiet { "Nothing of that is in the log." }
        } @else {
            (changes(&found.entries, request.now_us))
        }
        @if let Some(next) = found.next {
            p { a href=(request.to("/audit", &from_there(&chosen, ("from", next.to_string().as_str())))) { "Older ones" } }
        }
    };
    let command = "tidegate audit export".to_owned();
    Ok(ConsolePage { title: "Audit", at: "/audit", command, updates: None, content }.show(&request))
}

/// Entries, newest first.
pub(super) fn changes(entries: &[Value], now_us: i64) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Entries of the audit log" {
            table.stacked {
                thead { tr {
                    th scope="col" { "When" } th scope="col" { "Who" } th scope="col" { "What" } th scope="col" { "Of" }
                    th scope="col" { "Result" } th scope="col" { "Detail" }
                } }
                tbody {
                    @for entry in entries {
                        tr {
                            td data-of="When" { (moment(&at(entry), now_us)) }
                            td data-of="Who" { bdi { (who(entry)) } @if let Some(address) = entry["address"].as_str() { " " span.quiet { (short(address)) } } }
                            td data-of="What" { (field(entry, "action")) }
                            td data-of="Of" { (field(entry, "kind")) " " bdi { (name_of(entry)) } }
                            td data-of="Result" { span.badge.bad[entry["result"] != "done"] { (field(entry, "result")) } }
                            @let told = detail(entry);
                            td.detail data-of="Detail" { @if !told.is_empty() { bdi { (told) } } }
                        }
                    }
                }
            }
        }
    }
}

fn at(entry: &Value) -> String {
    entry["at_us"].as_i64().map(time::format).unwrap_or_default()
}

fn field(entry: &Value, name: &str) -> String {
    entry[name].as_str().map(short).unwrap_or_default()
}

/// By name where that is known.
fn who(entry: &Value) -> String {
    let who = field(entry, "who");
    if who.is_empty() { field(entry, "principal") } else { who }
}

fn name_of(entry: &Value) -> String {
    let name = field(entry, "name");
    if name.is_empty() { field(entry, "object") } else { name }
}

fn detail(entry: &Value) -> String {
    match &entry["detail"] {
        Value::Null => String::new(),
        Value::Object(fields) if fields.is_empty() => String::new(),
        detail => compact(detail),
    }
}

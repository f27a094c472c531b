//! What arrives against what was declared.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use tidegate_api_types::object::ShownObject;
use tidegate_api_types::traffic::{ContractTraffic, EventTraffic, SourceTraffic};

use super::ask::{PageRefusal, PageRequest, segment};
use super::contract_parts::{ArrivedEvent, PartPlace, parts, text, traffic};
use super::layout::ConsolePage;
use super::live::quoted;
use super::text::{amount, count, moment, moment_or, short};
use super::violations::ViolationsView;

/// Senders that are named of an event.
const SENDERS_MAX: usize = 3;

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let (domains, events) = (parts(&request, "domain").await?, parts(&request, "event").await?);
    let found = traffic(&request, &[]).await?;
    let over_time = ViolationsView { here: "/contracts", of: &[] }.shown(&request).await?;
    let content = html! {
        (looked_at(&found, &request))
        @if domains.is_empty() {
            p { "No contract is declared that you may see." }
            p.quiet { "Contracts are files below " code { "events/domains/" } "; " code { "tidegate contract infer" } " proposes some from what was recorded." }
        }
        @for domain in &domains { (one_domain(domain, (events.as_slice(), &found), &request)) }
        (undeclared(&found, &request))
        (over_time)
    };
    let command = "tidegate contract drift".to_owned();
    Ok(ConsolePage { title: "Contracts", at: "/contracts", command, updates: None, content }.show(&request))
}

/// One domain: its events, and how often its contracts were broken.
pub(super) async fn domain(Path(domain): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let (domains, events) = (parts(&request, "domain").await?, parts(&request, "event").await?);
    let place = PartPlace { domain, event: None };
    let object = domains.iter().find(|one| PartPlace::of(&one.name).as_ref() == Some(&place));
    let object = object.ok_or_else(PageRefusal::absent)?;
    let found = traffic(&request, &[]).await?;
    let (here, of) = (domain_page(&place.domain), [("domain", place.domain.as_str())]);
    let over_time = ViolationsView { here: &here, of: &of }.shown(&request).await?;
    let content = html! {
        (looked_at(&found, &request))
        (one_domain(object, (events.as_slice(), &found), &request))
        (over_time)
    };
    let title = format!("Domain {}", short(&place.domain));
    let command = format!("tidegate object get domain {}", quoted(&object.name));
    Ok(ConsolePage { title: &title, at: "/contracts", command, updates: None, content }.show(&request))
}

fn domain_page(domain: &str) -> String {
    format!("/contracts/{}", segment(domain))
}

/// Which events the numbers are of.
fn looked_at(found: &ContractTraffic, request: &PageRequest) -> Markup {
    html! {
        @for source in &found.sources {
            p.quiet {
                (short(&source.source)) ": " (amount(source.read)) " events were looked at, among the newest records of the log"
                @if let Some(oldest) = &source.oldest_at { ", the oldest of " (moment(oldest, request.now_us)) }
                "."
                @if !source.has_contract { " No contract applies to it." }
                @if source.unreadable > 0 { " " (amount(source.unreadable)) " records are no events." }
            }
            @if let Some(problem) = &source.problem { p.problem { "Its contract judges nothing here: " (short(problem)) } }
        }
        @if found.sources.iter().any(|source| source.masked) {
            p.notice { "You may not see the events of some sources: names that no contract has, and samples, are left out." }
        }
    }
}

fn one_domain(
    domain: &ShownObject,
    (events, found): (&[ShownObject], &ContractTraffic),
    request: &PageRequest,
) -> Markup {
    let Some(place) = PartPlace::of(&domain.name) else { return html! {} };
    let of_domain: Vec<(&ShownObject, String)> = events
        .iter()
        .filter_map(|event| {
            let part = PartPlace::of(&event.name).filter(|part| part.domain == place.domain)?;
            Some((event, part.event?))
        })
        .collect();
    let name = if text(&domain.spec, "name").is_empty() { place.domain.as_str() } else { text(&domain.spec, "name") };
    let blocks = domain.spec["onUndeclaredSchema"] == "BLOCK_EVENT";
    html! {
        section {
            h2 { a href=(request.to(&domain_page(&place.domain), &[])) { (short(name)) } }
            p.quiet {
                "Events that it does not declare are " @if blocks { "blocked" } @else { "let through" } "."
                @if let Some(file) = domain.managed_by.as_ref().and_then(|by| by.file.as_deref()) { " " code { (short(file)) } }
            }
            @if of_domain.is_empty() { p.quiet { "It declares no event." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label={ "Events of " (short(name)) } {
                    table {
                        thead { tr {
                            th scope="col" { "Event" } th scope="col" { "Type" } th.number scope="col" { "Looked at" } th.number scope="col" { "Violations" }
                            th scope="col" { "Of which kind" } th.number scope="col" { "Counted" } th scope="col" { "First seen" } th scope="col" { "Last seen" }
                        } }
                        tbody {
                            @for (event, slug) in &of_domain {
                                @let kind = text(&event.spec, "type");
                                @let name = event.spec["name"].as_str().filter(|name| !name.is_empty());
                                @let arrived = ArrivedEvent::of(found, kind, name);
                                tr {
                                    th scope="row" {
                                        a href=(request.to(&format!("/contracts/{}/{}", segment(&place.domain), segment(slug)), &[])) { (short(name.unwrap_or(slug))) }
                                        @if arrived.seen == 0 && arrived.total.is_none() { " " span.badge { "never seen" } }
                                    }
                                    td { (short(kind)) }
                                    td.number { (amount(arrived.seen)) }
                                    td.number { @if arrived.violating > 0 { span.badge.bad { (arrived.share()) } } @else { (arrived.share()) } }
                                    td { @for (kind, events) in &arrived.kinds { (short(kind)) " " (amount(*events)) " " } }
                                    td.number { (arrived.total.map_or_else(|| "–".to_owned(), count)) }
                                    td { (moment_or(arrived.first_at.as_deref(), "never", request.now_us)) }
                                    td { (moment_or(arrived.last_at.as_deref(), "never", request.now_us)) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn undeclared(found: &ContractTraffic, request: &PageRequest) -> Markup {
    let all: Vec<(&SourceTraffic, &EventTraffic)> = found
        .sources
        .iter()
        .flat_map(|source| source.events.iter().map(move |event| (source, event)))
        .filter(|(_, event)| !event.declared)
        .collect();
    html! {
        section {
            h2 { "Arrives, and is not declared" }
            @if all.is_empty() { p.good { "Everything that was looked at is declared." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Events that are not declared" {
                    table {
                        thead { tr {
                            th scope="col" { "Event" } th scope="col" { "Type" } th scope="col" { "Source" } th.number scope="col" { "Looked at" }
                            th.number scope="col" { "Blocked" } th scope="col" { "Sent by" } th scope="col" { "Last seen" } th scope="col" { "Declare it" }
                        } }
                        tbody {
                            @for (source, event) in &all {
                                tr {
                                    th scope="row" { bdi { (event_name(event)) } }
                                    td { (short(&event.kind)) }
                                    td { (short(&source.source)) }
                                    td.number { (amount(event.seen)) }
                                    td.number { (amount(event.blocked)) }
                                    td { (senders(event)) }
                                    td { (moment(&event.last_at, request.now_us)) }
                                    td {
                                        @if request.may_propose_or_change() && !event.kind.is_empty() {
                                            @let fields = [("source", source.source.as_str()), ("type", event.kind.as_str()), ("name", event.name.as_deref().unwrap_or_default())];
                                            a href=(request.to("/new/contract", &fields)) { "Infer a contract" span.unseen { " for " (event_name(event)) } }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn event_name(event: &EventTraffic) -> String {
    match (&event.name, event.kind.is_empty()) {
        (Some(name), _) => short(name),
        (None, false) => "–".to_owned(),
        (None, true) => "names that you may not see".to_owned(),
    }
}

/// Who sends most of an event.
pub(super) fn senders(event: &EventTraffic) -> String {
    let named = event.senders.iter().filter(|sender| !sender.sender.is_empty()).take(SENDERS_MAX);
    let named: Vec<String> =
        named.map(|sender| format!("{} ({})", short(&sender.sender), amount(sender.events))).collect();
    if named.is_empty() { "–".to_owned() } else { named.join(", ") }
}

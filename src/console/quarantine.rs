//! What is kept with a reason, and its way on.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::object::WorkspaceQuery;
use tidegate_api_types::path;
use tidegate_api_types::quarantine::{
    EntriesTried, EntryCount, EntryCounts, EntryOriginal, EntrySelection, QuarantineEntries, RetryEntries, RetryJobs,
    ShownEntry, ShownRetryJob, TryEntries,
};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, from_there, segment};
use super::layout::{ConsolePage, go_to};
use super::live::quoted;
use super::text::{amount, compact, moment, pretty, short, visible};

/// Entries of a page, and of a try.
const ENTRIES: &str = "50";
const TRIED: u64 = 50;
/// Jobs that are shown.
const JOBS_MAX: usize = 5;
const REASON_CHARS_MAX: usize = 2_000;
/// The fields by which entries are chosen.
const FIELDS: [&str; 8] = ["id", "code", "stage", "source", "sync", "since", "until", "text"];

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let chosen = FIELDS.map(|name| (name, request.text(name)));
    let page: Vec<(&str, &str)> =
        chosen.iter().copied().chain([("limit", ENTRIES), ("from", request.text("from"))]).collect();
    let found: QuarantineEntries = request.ask(path::QUARANTINE, &page).await?;
    let (groups, jobs) = (groups(&request, &chosen).await?, jobs(&request).await?);
    let next_place = found.next.map(|next| {
        let next = next.to_string();
        request.to("/quarantine", &from_there(&chosen, ("from", next.as_str())))
    });
    let content = html! {
        div #updates data-updates=(request.to("/updates", &[("of", "jobs")])) { (jobs) }
        (filter(&request))
        section {
            h2 { "Groups" }
            (groups)
        }
        section {
            h2 { "Entries" }
            (for_all(&request, &chosen))
            (entries(&found, &request))
            @if let Some(place) = &next_place { p { a href=(place) { "The next ones" } } }
        }
    };
    let line = format!("tidegate quarantine list{}", options(&chosen));
    Ok(ConsolePage { title: "Quarantine", at: "/quarantine", command: line, updates: None, content }.show(&request))
}

/// The options of a command that choose the same entries.
fn options(chosen: &[(&str, &str)]) -> String {
    let said = chosen.iter().filter(|(_, value)| !value.is_empty());
    said.map(|(name, value)| format!(" --{name} {}", quoted(value))).collect()
}

fn filter(request: &PageRequest) -> Markup {
    let fields = [("code", "Code"), ("source", "Source"), ("sync", "Sync"), ("text", "Text")];
    html! {
        form.filter method="get" action="/quarantine" {
            input type="hidden" name="workspace" value=(request.workspace);
            @for (name, label) in fields {
                label { (label) input name=(name) value=(request.text(name)) autocomplete="off"; }
            }
            button type="submit" { "Show" }
        }
    }
}

async fn groups(request: &PageRequest, chosen: &[(&str, &str)]) -> Result<Markup, PageRefusal> {
    let counts: EntryCounts = request.ask(path::QUARANTINE_COUNTS, chosen).await?;
    Ok(html! {
        p.quiet { (amount(counts.total)) @if counts.next.is_some() { " and more" } " in quarantine; " (amount(counts.expired)) " expired and " (amount(counts.purged)) " purged so far." }
        @if counts.groups.is_empty() {
            p.good { "Nothing of that is in quarantine." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Groups" {
                table {
                    thead { tr {
                        th scope="col" { "Source or sync" } th scope="col" { "Stage" } th scope="col" { "Code" } th scope="col" { "Event" } th.number scope="col" { "Entries" }
                    } }
                    tbody { @for group in &counts.groups { (group_row(group, request)) } }
                }
            }
        }
    })
}

fn group_row(group: &EntryCount, request: &PageRequest) -> Markup {
    // What a destination has stopped is of a sync, and what a contract has stopped of a source. Functions may be of either.
    let (scope, name) = match group.stage.as_str() {
        "destination" => ("sync", group.scope.as_str()),
        "function" => ("source", ""),
        _ => ("source", group.scope.as_str()),
    };
    let fields = [("code", group.code.as_str()), ("stage", group.stage.as_str()), (scope, name)];
    let place = request.to("/quarantine", &fields);
    html! {
        tr {
            th scope="row" { (short(&group.scope)) }
            td { (short(&group.stage)) }
            td { a href=(place) { (short(&group.code)) } }
            td { bdi { (group.event_name.as_deref().map_or_else(|| "–".to_owned(), short)) } }
            td.number { (amount(group.entries)) }
        }
    }
}

/// Tries or retries everything that is chosen.
fn for_all(request: &PageRequest, chosen: &[(&str, &str)]) -> Markup {
    let hidden = html! {
        @for (name, value) in chosen.iter().filter(|(_, value)| !value.is_empty()) { input type="hidden" name=(name) value=(value); }
    };
    html! {
        div.actions {
            form.action method="post" action=(request.to("/quarantine/try", &[])) { (hidden) button type="submit" { "Try these: what would become of them now" } }
            @if request.may_change() {
                form.action method="post" action=(request.to("/quarantine/retry", &[])) data-confirm="Send all of these into the log once more?" { (hidden) button type="submit" { "Retry these" } }
            }
        }
    }
}

fn entries(found: &QuarantineEntries, request: &PageRequest) -> Markup {
    html! {
        @if found.entries.is_empty() {
            p.quiet { "None here." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Entries" {
                table.stacked {
                    thead { tr {
                        th scope="col" { "Id" } th scope="col" { "Received" } th scope="col" { "Of" } th scope="col" { "Code" } th scope="col" { "Why" } th scope="col" { "Event" }
                    } }
                    tbody {
                        @for entry in &found.entries {
                            tr {
                                th scope="row" { a href=(request.to(&format!("/quarantine/entries/{}", entry.id), &[])) { (entry.id) } @if entry.retrying { " " span.badge { "on its way" } } }
                                td data-of="Received" { (moment(&entry.received_at, request.now_us)) }
                                td data-of="Of" { (short(&entry.scope)) " " span.quiet { (short(&entry.stage)) } }
                                td data-of="Code" { (short(&entry.code)) @if entry.attempts > 0 { " " span.quiet { (entry.attempts) " retries" } } }
                                td.detail data-of="Why" { bdi { (entry.message.as_deref().map_or_else(|| "–".to_owned(), short)) } }
                                td.detail data-of="Event" { code { bdi { (entry.event.as_ref().map_or_else(|| "–".to_owned(), compact)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The jobs that retry, newest first.
pub(super) async fn jobs(request: &PageRequest) -> Result<Markup, PageRefusal> {
    let found: Option<RetryJobs> = request.ask_if_there(path::QUARANTINE_JOBS, &[]).await?;
    let jobs = found.unwrap_or_default().jobs;
    Ok(html! {
        @if !jobs.is_empty() {
            section {
                h2 { "Retries" }
                ul.jobs { @for job in jobs.iter().take(JOBS_MAX) { li { (one_job(job, request)) } } }
            }
        }
    })
}

fn one_job(job: &ShownRetryJob, request: &PageRequest) -> Markup {
    let is_running = job.state == "running";
    let sum = |of: &std::collections::BTreeMap<String, u64>| -> u64 { of.values().sum() };
    html! {
        p {
            b { "Job " (job.id) } " " span.badge.good[job.state == "done"] { (short(&job.state)) }
            " " (moment(&job.asked_at, request.now_us)) " by " bdi { (short(job.asked_by_name.as_ref().unwrap_or(&job.asked_by))) }
        }
        progress max=(job.matched.max(1)) value=(job.sent.saturating_add(sum(&job.skipped))) aria-label={ "Sent of job " (job.id) } {}
        p.quiet {
            (amount(job.sent)) " of " (amount(job.matched)) " sent, " (amount(job.refined)) " through, "
            (amount(job.quarantined)) " in quarantine again, " (amount(sum(&job.filtered))) " left out"
            @for (why, entries) in &job.skipped { ", " (amount(*entries)) " not retried (" (short(why)) ")" }
        }
        @if is_running && request.may_change() {
            form.action method="post" action=(request.to(&format!("/quarantine/jobs/{}/cancel", job.id), &[])) { button type="submit" { "Cancel" } }
        }
    }
}

/// One entry whole.
pub(super) async fn entry(Path(id): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let place = path::QUARANTINE_ENTRY.replace("{id}", &segment(&id));
    let found: ShownEntry = request.ask(&place, &[]).await?;
    let shown_id = found.id.to_string();
    let message_id = found.event.as_ref().and_then(|event| event["messageId"].as_str()).unwrap_or_default();
    let content = html! {
        dl.of-record {
            div { dt { "Of" } dd { (short(&found.scope)) ", " (short(&found.stage)) } }
            div { dt { "Code" } dd { (short(&found.code)) } }
            div { dt { "Received" } dd { (moment(&found.received_at, request.now_us)) } }
            div { dt { "In quarantine" } dd { (moment(&found.quarantined_at, request.now_us)) } }
            div { dt { "Retries" } dd { (found.attempts) @if found.retrying { ", one on its way" } } }
            div { dt { "In the log at" } dd { (short(&found.position)) @if found.part > 0 { ", part " (found.part) } } }
            @if let Some(sync) = &found.for_sync { div { dt { "For the sync" } dd { (short(sync)) } } }
        }
        @if found.masked { p.notice { "You may not see the values of this event: each stands for itself by its type." } }
        @if let Some(message) = &found.message { p.problem { bdi { (visible(message, REASON_CHARS_MAX)) } } }
        (for_all(&request, &[("id", shown_id.as_str())]))
        @if !message_id.is_empty() && !found.masked {
            p { a href=(request.to("/trace", &[("message_id", message_id)])) { "Trace it: every hop" } }
        }
        (value("The event at that stage", found.event.as_ref()))
        (value("Request and answer", found.detail.as_ref()))
        @if let Some(EntryOriginal { source, ip, event, context, .. }) = &found.original {
            p.quiet { "It came to " (short(source)) @if let Some(ip) = ip { " from " (short(ip)) } "." }
            (value("As it came", Some(event)))
            (value("Beside it in its request", context.as_ref()))
        }
    };
    let (title, line) = (format!("Quarantined event {}", found.id), format!("tidegate quarantine show {}", found.id));
    Ok(ConsolePage { title: &title, at: "/quarantine", command: line, updates: None, content }.show(&request))
}

fn value(title: &str, value: Option<&Value>) -> Markup {
    html! {
        @if let Some(value) = value {
            @let text = pretty(value);
            h2 { (title) }
            pre.data tabindex="0" { (text) }
            button.copy.plain type="button" data-copy=(text) hidden { "Copy" }
        }
    }
}

/// Which entries a form has chosen.
fn selection(fields: &PagePairs) -> EntrySelection {
    let text = |name: &str| fields.get(name).map(str::to_owned);
    let chosen = EntrySelection {
        id: fields.get("id").and_then(|id| id.parse().ok()),
        code: text("code"),
        stage: text("stage"),
        source: text("source"),
        sync: text("sync"),
        since: text("since"),
        until: text("until"),
        text: text("text"),
        all: false,
    };
    // What was chosen and cannot be read chooses nothing, and not everything.
    let is_any = FIELDS.iter().all(|name| fields.get(name).is_none());
    EntrySelection { all: is_any, ..chosen }
}

/// Says what would become of entries.
pub(super) async fn try_out(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let order = TryEntries { entries: selection(&fields), limit: Some(TRIED), ..TryEntries::default() };
    let found: EntriesTried = request.order(path::QUARANTINE_TRY, &order).await?;
    let chosen = FIELDS.map(|name| (name, fields.text(name)));
    let content = html! {
        p { "What would become of these now. Nothing is delivered, and nothing is changed." }
        ul.outcomes { @for (outcome, entries) in &found.summary { li { b { (amount(*entries)) } " " (short(outcome)) } } }
        @if found.next.is_some() { p.quiet { "These are the first " (TRIED) "." } }
        div.scroll tabindex="0" role="region" aria-label="What would become of them" {
            table.stacked {
                thead { tr { th scope="col" { "Id" } th scope="col" { "Was" } th scope="col" { "Would be" } th scope="col" { "Why" } th scope="col" { "Goes on as" } } }
                tbody {
                    @for tried in &found.entries {
                        tr {
                            th scope="row" { a href=(request.to(&format!("/quarantine/entries/{}", tried.id), &[])) { (tried.id) } }
                            td data-of="Was" { (short(&tried.was)) }
                            td data-of="Would be" { span.badge { (tried.outcome.as_str()) } @if let Some(code) = &tried.code { " " (short(code)) } }
                            td.detail data-of="Why" { bdi { (tried.reason.as_deref().map_or_else(|| "–".to_owned(), short)) } }
                            td.detail data-of="Goes on as" { @for event in &tried.delivered { code { bdi { (compact(event)) } } " " } }
                        }
                    }
                }
            }
        }
        (for_all(&request, &chosen))
        p { a href=(request.to("/quarantine", &chosen)) { "Back to the entries" } }
    };
    let line = format!("tidegate quarantine try{}", options(&chosen));
    Ok(ConsolePage { title: "Tried", at: "/quarantine", command: line, updates: None, content }.show(&request))
}

/// Sends entries on.
pub(super) async fn retry(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let order = RetryEntries { entries: selection(&fields), rate: None };
    let job: ShownRetryJob = request.order(path::QUARANTINE_RETRY, &order).await?;
    Ok(go_to(&request.to("/quarantine", &[("job", job.id.to_string().as_str())])))
}

/// Ends a job that sends entries on.
pub(super) async fn cancel(Path(id): Path<String>, form: PageForm) -> Result<Response, PageRefusal> {
    let place = path::QUARANTINE_JOB_CANCEL.replace("{id}", &segment(&id));
    let _: ShownRetryJob = form.request.order(&place, &WorkspaceQuery::default()).await?;
    Ok(go_to(&form.request.to("/quarantine", &[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_that_chooses_nothing_chooses_everything() {
        let of = |text: &str| selection(&PagePairs::read(text.as_bytes()));
        assert_eq!(of("code=&source="), EntrySelection { all: true, ..EntrySelection::default() });
        assert_eq!(of("id=all"), EntrySelection::default());
        let by_code = EntrySelection { code: Some("x".to_owned()), id: Some(7), ..EntrySelection::default() };
        assert_eq!(of("code=x&id=7"), by_code);
        assert_eq!(options(&[("code", "a b"), ("sync", "")]), " --code 'a b'");
    }
}

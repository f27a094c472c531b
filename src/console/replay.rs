//! Parts of the log that go to a sync once more: counted first, then sent.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use tidegate_api_types::object::Objects;
use tidegate_api_types::path;
use tidegate_api_types::replay::{ReplayEvents, ReplayReport, ShownReplay, ShownReplays};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::fields::{FormState, again};
use super::layout::{ConsolePage, go_to};
use super::live::quoted;
use super::text::{amount, moment, moment_or, short, size, visible};

const OBJECTS_MAX: &str = "1000";
/// Jobs that a list shows.
const JOBS_MAX: usize = 20;
const TEXT_CHARS_MAX: usize = 1_000;
/// Looks at a count before the page is shown without its end.
const LOOKS: usize = 20;
const LOOK: Duration = Duration::from_millis(300);
const FIELDS: [&str; 8] = ["sync", "from", "to", "events", "user", "rules", "rate", "allow_doubles"];
const RULES: [(&str, &str); 2] = [("then", "of then"), ("now", "of now")];

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let sync = request.text("sync").to_owned();
    let values = PagePairs::of(&[("sync", sync), ("rules", "then".to_owned())]);
    page(&request, FormState::new(&values, None)).await
}

async fn page(request: &PageRequest, form: FormState<'_>) -> Result<Response, PageRefusal> {
    let all: Objects = request.ask(&path::OBJECTS.replace("{kind}", "sync"), &[("limit", OBJECTS_MAX)]).await?;
    let jobs = jobs(request).await?;
    let names = all.objects.iter().map(|sync| (sync.name.as_str(), sync.name.as_str()));
    let content = html! {
        div #updates data-updates=(request.to("/updates", &[("of", "replays")])) { (jobs) }
        section {
            h2 { "Give events to a sync once more" }
            p.quiet { "The sync goes on meanwhile. A warehouse that knows events by their ids has none twice; a stream or a tool gets them again, under their ids." }
            (form.top(&FIELDS))
            @if !request.may_change() {
                p.notice { "It takes a role that may replay events." }
            } @else if all.objects.is_empty() {
                p { "There is no sync here that you may see." }
            } @else {
                form.fields method="post" action=(request.to("/replay/try", &[])) {
                    (form.choice("sync", "Sync", names))
                    (form.text("from", "From: a time, a position of the log, or `beginning`", "2026-01-31T00:00:00Z"))
                    (form.text("to", "To: a time or a position; now when left out", "2026-02-01T00:00:00Z"))
                    (form.area("events", "Only events of these names, one in a line", "2"))
                    (form.text("user", "Only of this userId or anonymousId", ""))
                    (form.choice("rules", "By the contract and the functions", RULES))
                    (form.text("rate", "Records a second, at most", "50"))
                    (form.check("allow_doubles", "also where the warehouse stores an event a second time"))
                    button type="submit" { "Count what would be sent" }
                }
            }
        }
    };
    let command = "tidegate replay SYNC --from TIME --dry-run".to_owned();
    Ok(ConsolePage { title: "Replay", at: "/replay", command, updates: None, content }
        .show_after(form.problem, request))
}

/// The jobs, newest first.
pub(super) async fn jobs(request: &PageRequest) -> Result<Markup, PageRefusal> {
    let found: ShownReplays = request.ask(path::REPLAYS, &[]).await?;
    Ok(html! {
        section {
            h2 { "Replays" }
            @if found.replays.is_empty() { p.quiet { "There are none that you may see." } }
            ul.jobs { @for job in found.replays.iter().take(JOBS_MAX) { li { (one(job, request)) } } }
        }
    })
}

fn one(job: &ShownReplay, request: &PageRequest) -> Markup {
    let (done, all) = progress(&job.report);
    html! {
        p {
            a href=(request.to(&format!("/replay/{}", job.id), &[])) { "Replay " (job.id) } " to " b { (short(&job.sync)) } " "
            span.badge.good[job.state == "done"].bad[job.state == "failed"] { (short(&job.state)) }
            @if job.dry_run { " " span.badge { "only counted" } }
            " " (moment(&job.asked_at, request.now_us)) " by " bdi { (short(job.asked_by_name.as_ref().unwrap_or(&job.asked_by))) }
        }
        progress max=(all.max(1)) value=(done) aria-label={ "Done of replay " (job.id) } {}
        p.quiet { (short(&job.from)) " to " (short(&job.to)) ": " (amount(job.report.counts.came)) " events meant, " (amount(job.report.counts.sent)) " sent, " (amount(job.report.counts.delivered)) " delivered" }
        (failure(job))
        (cancel_form(job, request))
    }
}

fn cancel_form(job: &ShownReplay, request: &PageRequest) -> Markup {
    html! {
        @if job.state == "running" {
            form.action method="post" action=(request.to(&format!("/replay/{}/cancel", job.id), &[])) { button type="submit" { "Cancel" } }
        }
    }
}

/// The offsets that are done, of how many.
fn progress(report: &ReplayReport) -> (u64, u64) {
    report.parts.iter().fold((0, 0), |(done, all), part| {
        let of_part = part.at.min(part.to).saturating_sub(part.from);
        (done + of_part, all + part.to.saturating_sub(part.from))
    })
}

/// What a form says.
fn order(fields: &PagePairs, dry_run: bool) -> Result<ReplayEvents, PageRefusal> {
    let text = |name: &str| fields.get(name).map(str::to_owned);
    let rate = fields.get("rate").map(|rate| {
        let wrong =
            |_| PageRefusal::field("rate", "the rate is not a whole number", "write records a second, such as 50");
        rate.parse::<u32>().map_err(wrong)
    });
    Ok(ReplayEvents {
        sync: fields.text("sync").to_owned(),
        from: fields.text("from").to_owned(),
        to: text("to"),
        events: fields.lines("events").into_iter().map(str::to_owned).collect(),
        user: text("user"),
        rules: text("rules"),
        rate: rate.transpose()?,
        dry_run,
        allow_doubles: fields.text("allow_doubles") == "true",
    })
}

async fn begin(request: &PageRequest, fields: &PagePairs, dry_run: bool) -> Result<ShownReplay, PageRefusal> {
    request.order(path::REPLAYS, &order(fields, dry_run)?).await
}

/// Counts what would be sent.
pub(super) async fn try_out(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let mut job = match begin(&request, &fields, true).await {
        Ok(job) => job,
        Err(error) => return refused(&request, &fields, error).await,
    };
    for _ in 0..LOOKS {
        if job.state != "running" {
            break;
        }
        tokio::time::sleep(LOOK).await;
        job = request.ask(&path::REPLAY.replace("{id}", &job.id.to_string()), &[]).await?;
    }
    let content = html! {
        @if job.state == "running" {
            p.notice { "It is still counting: " a href=(request.to(&format!("/replay/{}", job.id), &[])) { "replay " (job.id) } " says how far it is." }
        }
        (counted(&job))
        (details(&job))
        div.actions {
            @if !is_broken_off(&job) {
                form.action method="post" action=(request.to("/replay", &[])) data-confirm="Send these events once more?" {
                    (again(&fields, &FIELDS))
                    button type="submit" { "Send them once more" }
                }
            }
            a href=(request.to("/replay", &[])) { "Do not" }
        }
    };
    let line = command(&fields);
    Ok(ConsolePage { title: "What would be sent", at: "/replay", command: line, updates: None, content }.show(&request))
}

/// Whether a job ended before it was through: what it has counted is not all.
fn is_broken_off(job: &ShownReplay) -> bool {
    matches!(job.state.as_str(), "failed" | "cancelled")
}

/// What a count has found, and what it fails at.
fn counted(job: &ShownReplay) -> Markup {
    let counts = &job.report.counts;
    let left = counts.came.saturating_sub(counts.suppressed + counts.filtered);
    html! {
        @if is_broken_off(job) { p.problem role="alert" { "The count has not come to its end: the job is " (short(&job.state)) ". Nothing was sent." } }
        (failure(job))
        @if !is_broken_off(job) {
            p { b { (amount(left)) } " events would be handed to the functions of the sync " b { (short(&job.sync)) } ". Nothing was sent." }
        }
    }
}

/// What a job is failing at, or has failed at.
fn failure(job: &ShownReplay) -> Markup {
    html! {
        @if let Some(failure) = &job.report.failure { p.problem { bdi { (visible(failure, TEXT_CHARS_MAX)) } } }
    }
}

/// Sends them.
pub(super) async fn start(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    match begin(&request, &fields, false).await {
        Ok(job) => Ok(go_to(&request.to(&format!("/replay/{}", job.id), &[]))),
        Err(error) => refused(&request, &fields, error).await,
    }
}

async fn refused(request: &PageRequest, fields: &PagePairs, error: PageRefusal) -> Result<Response, PageRefusal> {
    let problem = error.of_form()?;
    page(request, FormState::new(fields, Some(&problem))).await
}

/// The command that does the same. A user is left for whoever runs it to put in.
fn command(fields: &PagePairs) -> String {
    let mut line = format!("tidegate replay {} --from {}", quoted(fields.text("sync")), quoted(fields.text("from")));
    for (option, name) in [(" --to ", "to"), (" --rules ", "rules"), (" --rate ", "rate")] {
        if let Some(value) = fields.get(name) {
            line.push_str(&format!("{option}{}", quoted(value)));
        }
    }
    for name in fields.lines("events") {
        line.push_str(&format!(" --event {}", quoted(name)));
    }
    if fields.get("user").is_some() {
        line.push_str(" --user ID");
    }
    line
}

pub(super) async fn job(Path(id): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let content = body(&request, &id).await?;
    let (title, command) = (format!("Replay {}", short(&id)), format!("tidegate replays show {}", short(&id)));
    let updates = Some(format!("replay/{id}"));
    Ok(ConsolePage { title: &title, at: "/replay", command, updates, content }.show(&request))
}

/// What is replaced while the page of a job is open.
pub(super) async fn body(request: &PageRequest, id: &str) -> Result<Markup, PageRefusal> {
    let job: ShownReplay = request.ask(&path::REPLAY.replace("{id}", &segment(id)), &[]).await?;
    Ok(html! {
        (one(&job, request))
        dl.of-record {
            div { dt { "Ended" } dd { (moment_or(job.ended_at.as_deref(), "not yet", request.now_us)) } }
            div { dt { "By the contract and functions of" } dd { (short(&job.rules)) } }
            @if let Some(rate) = job.rate { div { dt { "Records a second" } dd { (rate) } } }
            @if let Some(user) = &job.user { div { dt { "User, by hash" } dd { (short(user)) } } }
            @if !job.events.is_empty() { div { dt { "Events" } dd { @for name in &job.events { bdi { (short(name)) } " " } } } }
        }
        (details(&job))
    })
}

fn details(job: &ShownReplay) -> Markup {
    let counts = &job.report.counts;
    let numbers = [
        ("meant", counts.came),
        ("of suppressed people", counts.suppressed),
        ("filtered", counts.filtered),
        ("had before", counts.had_before),
        ("dropped by functions", counts.dropped),
        ("stopped by functions", counts.stopped),
        ("sent", counts.sent),
        ("delivered", counts.delivered),
        ("there already", counts.duplicates),
        ("there by the ledger", counts.by_ledger),
        ("refused", counts.refused),
        ("skipped by the plugin", counts.skipped),
        ("pending", counts.pending),
        ("given up", counts.abandoned),
    ];
    html! {
        @for note in job.warning.iter().chain(&job.report.notes).chain(&job.report.notices) { p.notice { (visible(note, TEXT_CHARS_MAX)) } }
        dl.numbers {
            @for (what, number) in numbers.into_iter().filter(|(what, number)| *number > 0 || *what == "meant") {
                div { dt { (what) } dd { (amount(number)) } }
            }
        }
        @if !job.report.names.is_empty() {
            div.scroll tabindex="0" role="region" aria-label="By name" {
                table {
                    thead { tr { th scope="col" { "Event" } th.number scope="col" { "Events" } th.number scope="col" { "Size" } } }
                    tbody {
                        @for (name, of_name) in &job.report.names {
                            tr { th scope="row" { bdi { (short(name)) } } td.number { (amount(of_name.events)) } td.number { (size(of_name.bytes)) } }
                        }
                    }
                }
            }
        }
        @if !job.report.refused.is_empty() {
            h2 { "The first that were refused" }
            ul { @for refused in &job.report.refused { li { code { (short(&refused.position)) } " " (short(&refused.code)) } } }
        }
    }
}

/// Ends a job.
pub(super) async fn cancel(Path(id): Path<String>, form: PageForm) -> Result<Response, PageRefusal> {
    let place = path::REPLAY_CANCEL.replace("{id}", &segment(&id));
    let _: ShownReplay = form.request.order(&place, &json!({})).await?;
    Ok(go_to(&form.request.to(&format!("/replay/{}", segment(&id)), &[])))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_count_that_fails_is_shown_with_its_failure_and_without_a_number_of_events() {
        let report = ReplayReport { failure: Some("<no> such sync".to_owned()), ..ReplayReport::default() };
        let of =
            |state: &str| ShownReplay { state: state.to_owned(), report: report.clone(), ..ShownReplay::default() };
        let failed = counted(&of("failed")).into_string();
        assert!(failed.contains("the job is failed") && failed.contains("&lt;no&gt; such sync"), "{failed}");
        assert!(!failed.contains("would be handed") && is_broken_off(&of("failed")), "{failed}");
        let running = counted(&of("running")).into_string();
        assert!(running.contains("&lt;no&gt; such sync") && running.contains("would be handed"), "{running}");
        let done = ShownReplay { state: "done".to_owned(), ..ShownReplay::default() };
        assert!(!counted(&done).into_string().contains("problem") && !is_broken_off(&done));
    }

    #[test]
    fn a_form_asks_for_what_its_fields_say() {
        let fields = PagePairs::read(
            b"sync=crm&from=7&to=&events=Bought%0D%0A%0D%0A(page)&rate=50&rules=now&allow_doubles=true&user=ann",
        );
        let asked = order(&fields, true).unwrap();
        assert_eq!((asked.sync.as_str(), asked.to, asked.rate, asked.dry_run), ("crm", None, Some(50), true));
        assert_eq!((asked.events, asked.allow_doubles), (vec!["Bought".to_owned(), "(page)".to_owned()], true));
        assert_eq!(
            command(&fields),
            "tidegate replay crm --from 7 --rules now --rate 50 --event Bought --event '(page)' --user ID"
        );
        let refused = order(&PagePairs::read(b"rate=fast"), true).unwrap_err();
        assert!(matches!(refused, PageRefusal::Problem(problem) if problem.field.as_deref() == Some("rate")));
    }
}

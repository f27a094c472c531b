//! Leaving somebody out, and forgetting them: counted first, then done. For admins.
//!
//! Who is meant stands in bodies of forms alone, never in an address.

use std::time::Duration;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use tidegate_api_types::path;
use tidegate_api_types::privacy::{
    ForgetSubjects, ForgottenVerified, HashedName, NamedSubject, ShownForgetJob, ShownForgetJobs, SubjectsSuppressed,
    SuppressSubjects, SuppressedNames, VerifyForgotten,
};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::fields::{FormState, again};
use super::layout::{ConsolePage, go_to};
use super::text::{amount, moment, moment_or, short, size, visible};

const JOBS_MAX: usize = 20;
/// People who are left out, as a page shows them.
const SHOWN_MAX: usize = 200;
/// Files and segments that are named.
const NAMED_MAX: usize = 100;
const TEXT_CHARS_MAX: usize = 1_000;
/// Looks at a count before the page is shown without its end.
const LOOKS: usize = 20;
const LOOK: Duration = Duration::from_millis(300);
const FIELDS: [&str; 3] = ["subjects", "what", "keep_accepting"];
const WHATS: [(&str, &str); 4] = [
    ("suppress", "leave their events out from now on"),
    ("unsuppress", "let their events pass again"),
    ("forget", "remove what there is about them, and leave them out"),
    ("verify", "look for them in every file"),
];

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let values = PagePairs::default();
    page(&request, FormState::new(&values, None)).await
}

async fn page(request: &PageRequest, form: FormState<'_>) -> Result<Response, PageRefusal> {
    let found: SuppressedNames = request.ask(path::PRIVACY_SUPPRESSED, &[]).await?;
    let jobs = jobs(request).await?;
    let content = html! {
        div #updates data-updates=(request.to("/updates", &[("of", "forgets")])) { (jobs) }
        section {
            h2 { "Somebody" }
            (form.top(&FIELDS))
            form.fields method="post" action=(request.to("/privacy/try", &[])) {
                (form.area("subjects", "Who, one id in a line: `user ID`, `anonymous ID`, `group ID` or `trait NAME=VALUE`", "4"))
                (form.choice("what", "What to do", WHATS))
                (form.check("keep_accepting", "when they are forgotten: take later events of theirs like any other"))
                button type="submit" { "Say what would be done" }
            }
        }
        section {
            h2 { "Who is left out" }
            p.quiet { "Ids are kept as hashes alone. " (amount(found.subjects.len() as u64)) " are left out." }
            @if !found.subjects.is_empty() {
                div.scroll tabindex="0" role="region" aria-label="Who is left out" {
                    table {
                        thead { tr { th scope="col" { "Hash" } th scope="col" { "Kind" } th scope="col" { "Since" } th scope="col" { "By" } } }
                        tbody {
                            @for one in found.subjects.iter().take(SHOWN_MAX) {
                                tr {
                                    th scope="row" { code { (short(&one.subject.hash)) } }
                                    td { (kind(&one.subject)) }
                                    td { (moment(&one.since, request.now_us)) }
                                    td { bdi { (short(one.asked_by_name.as_ref().unwrap_or(&one.asked_by))) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    };
    let command = "tidegate privacy list".to_owned();
    Ok(ConsolePage { title: "Privacy", at: "/privacy", command, updates: None, content }
        .show_after(form.problem, request))
}

fn kind(subject: &HashedName) -> Markup {
    html! { (short(&subject.kind)) @if let Some(name) = &subject.name { " " (short(name)) } }
}

/// The jobs that forget, newest first.
pub(super) async fn jobs(request: &PageRequest) -> Result<Markup, PageRefusal> {
    let found: ShownForgetJobs = request.ask(path::PRIVACY_JOBS, &[]).await?;
    Ok(html! {
        section {
            h2 { "Jobs that forget" }
            @if found.jobs.is_empty() { p.quiet { "There are none." } }
            ul.jobs { @for job in found.jobs.iter().take(JOBS_MAX) { li { (one(job, request)) } } }
        }
    })
}

fn one(job: &ShownForgetJob, request: &PageRequest) -> Markup {
    let (all, done) = (job.report.to.unwrap_or(0), job.report.next);
    html! {
        p {
            a href=(request.to(&format!("/privacy/jobs/{}", job.id), &[])) { "Job " (job.id) } " "
            span.badge.good[job.state == "done"] { (short(&job.state)) }
            @if job.dry_run { " " span.badge { "only counted" } }
            " " (moment(&job.asked_at, request.now_us)) " by " bdi { (short(job.asked_by_name.as_ref().unwrap_or(&job.asked_by))) } ", " (amount(job.subjects.len() as u64)) " ids"
        }
        @if job.state == "done" {
            progress max="1" value="1" aria-label={ "Done of job " (job.id) } {}
        } @else {
            progress max=(all.max(1)) value=(done.min(all)) aria-label={ "Done of job " (job.id) } {}
            p.quiet { "At " (short(&job.report.step)) ", partition " (job.report.partition) " of the log" }
        }
    }
}

/// The ids that the lines of a form name.
fn subjects(fields: &PagePairs) -> Result<Vec<NamedSubject>, PageRefusal> {
    let wrong = |at: usize| {
        let detail = format!("line {at} names nobody");
        PageRefusal::field("subjects", detail, "write `user ID`, `anonymous ID`, `group ID` or `trait NAME=VALUE`")
    };
    let lines = fields.lines("subjects");
    let read = lines.iter().enumerate().map(|(at, line)| -> Result<NamedSubject, PageRefusal> {
        let (kind, value) = line.split_once(char::is_whitespace).ok_or_else(|| wrong(at + 1))?;
        let (name, value) = match kind {
            "trait" => {
                value.trim().split_once('=').map(|(name, value)| (Some(name), value)).ok_or_else(|| wrong(at + 1))?
            }
            _ => (None, value.trim()),
        };
        Ok(NamedSubject { kind: kind.to_owned(), name: name.map(str::to_owned), value: value.to_owned() })
    });
    read.collect()
}

/// Says what would be done.
pub(super) async fn try_out(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    match tried(&request, &fields).await {
        Ok(content) => {
            let line = format!("tidegate privacy {} --file -", fields.text("what"));
            Ok(ConsolePage { title: "What would be done", at: "/privacy", command: line, updates: None, content }
                .show(&request))
        }
        Err(error) => refused(&request, &fields, error).await,
    }
}

async fn refused(request: &PageRequest, fields: &PagePairs, error: PageRefusal) -> Result<Response, PageRefusal> {
    let problem = error.of_form()?;
    page(request, FormState::new(fields, Some(&problem))).await
}

async fn tried(request: &PageRequest, fields: &PagePairs) -> Result<Markup, PageRefusal> {
    let subjects = subjects(fields)?;
    let order = SuppressSubjects { subjects, dry_run: true };
    match fields.text("what") {
        "suppress" => {
            let found: SubjectsSuppressed = request.order(path::PRIVACY_SUPPRESS, &order).await?;
            Ok(confirmed(request, fields, &suppressed(&found, "would be left out who are not yet")))
        }
        "unsuppress" => {
            let found: SubjectsSuppressed = request.order(path::PRIVACY_UNSUPPRESS, &order).await?;
            Ok(confirmed(request, fields, &suppressed(&found, "would be let through again")))
        }
        "forget" => {
            let job = counted(request, order.subjects).await?;
            Ok(confirmed(request, fields, &html! { (one(&job, request)) (report(&job)) }))
        }
        "verify" => {
            let order = VerifyForgotten { subjects: order.subjects };
            let found: ForgottenVerified = request.order(path::PRIVACY_VERIFY, &order).await?;
            Ok(html! { (verified(&found)) p { a href=(request.to("/privacy", &[])) { "Back" } } })
        }
        _ => Err(PageRefusal::field("what", "there is no such thing to do", "choose one of the list")),
    }
}

/// A dry run, when it is done or has taken some seconds.
async fn counted(request: &PageRequest, subjects: Vec<NamedSubject>) -> Result<ShownForgetJob, PageRefusal> {
    let order = ForgetSubjects { subjects, dry_run: true, keep_accepting: false };
    let mut job: ShownForgetJob = request.order(path::PRIVACY_FORGET, &order).await?;
    for _ in 0..LOOKS {
        if job.state == "done" {
            break;
        }
        tokio::time::sleep(LOOK).await;
        job = request.ask(&path::PRIVACY_JOB.replace("{id}", &job.id.to_string()), &[]).await?;
    }
    Ok(job)
}

/// What a dry run has found, and the form that does it.
fn confirmed(request: &PageRequest, fields: &PagePairs, found: &Markup) -> Markup {
    let is_forgetting = fields.text("what") == "forget";
    html! {
        (found)
        @if is_forgetting { p.notice { "What is removed cannot be brought back. Warehouses and the far sides of plugins are not part of it: docs/privacy.md says what is left." } }
        div.actions {
            form.action method="post" action=(request.to("/privacy", &[])) data-confirm="Do it now?" {
                (again(fields, &FIELDS))
                button type="submit" { @if is_forgetting { "Forget them now" } @else { "Do it" } }
            }
            a href=(request.to("/privacy", &[])) { "Do not" }
        }
    }
}

fn suppressed(found: &SubjectsSuppressed, what: &str) -> Markup {
    html! {
        p { b { (amount(found.changed)) } " of " (amount(found.subjects.len() as u64)) " ids " (what) ". Nothing was changed." }
        @if found.pending > 0 { p { (amount(found.pending)) " events that are pending for plugins would go nowhere." } }
    }
}

fn verified(found: &ForgottenVerified) -> Markup {
    html! {
        p { (amount(found.files)) " files of " (size(found.bytes)) " were read." }
        @if found.found.is_empty() { p.good { "None of these ids stands in any of them." } } @else { p.problem { "They still stand in some." } }
        ul { @for one in found.found.iter().take(NAMED_MAX) { li { code { bdi { (short(&one.file)) } } ", " (amount(one.count)) " times" } } }
        @for text in &found.left_out { p.notice { (visible(text, TEXT_CHARS_MAX)) } }
    }
}

fn report(job: &ShownForgetJob) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="Places" {
            table.stacked {
                thead { tr { th scope="col" { "Place" } th.number scope="col" { "Looked at" } th.number scope="col" { "Found" } th.number scope="col" { "Removed" } th scope="col" { "Left" } } }
                tbody {
                    @for place in &job.report.places {
                        tr {
                            th scope="row" { (short(&place.place)) }
                            td.number data-of="Looked at" { (amount(place.looked_at)) }
                            td.number data-of="Found" { (amount(place.found)) }
                            td.number data-of="Removed" { (amount(place.removed)) }
                            td.detail data-of="Left" { @if let Some(left) = &place.left { (visible(left, TEXT_CHARS_MAX)) } }
                        }
                    }
                }
            }
        }
        @if !job.report.segments.is_empty() {
            details {
                summary { "Segments of the log that were written anew, as proof" }
                ul.jobs {
                    @for segment in job.report.segments.iter().take(NAMED_MAX) {
                        li { "partition " (segment.partition) ", segment " (segment.segment) ", " (amount(segment.records)) " records: " code { (short(&segment.sha256_before)) } " became " code { (short(&segment.sha256_after)) } }
                    }
                }
            }
        }
    }
}

/// Does it.
pub(super) async fn act(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    match done(&request, &fields).await {
        Ok(place) => Ok(go_to(&request.to(&place, &[]))),
        Err(error) => refused(&request, &fields, error).await,
    }
}

/// Where it goes on.
async fn done(request: &PageRequest, fields: &PagePairs) -> Result<String, PageRefusal> {
    let subjects = subjects(fields)?;
    let path = match fields.text("what") {
        "suppress" => path::PRIVACY_SUPPRESS,
        "unsuppress" => path::PRIVACY_UNSUPPRESS,
        "forget" => {
            let keep_accepting = fields.text("keep_accepting") == "true";
            let order = ForgetSubjects { subjects, dry_run: false, keep_accepting };
            let job: ShownForgetJob = request.order(path::PRIVACY_FORGET, &order).await?;
            return Ok(format!("/privacy/jobs/{}", job.id));
        }
        _ => return Err(PageRefusal::field("what", "there is no such thing to do", "choose one of the list")),
    };
    let _: SubjectsSuppressed = request.order(path, &SuppressSubjects { subjects, dry_run: false }).await?;
    Ok("/privacy".to_owned())
}

pub(super) async fn job(Path(id): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let content = body(&request, &id).await?;
    let (title, command) =
        (format!("Forgetting, job {}", short(&id)), format!("tidegate privacy report {}", short(&id)));
    let updates = Some(format!("forget/{id}"));
    Ok(ConsolePage { title: &title, at: "/privacy", command, updates, content }.show(&request))
}

/// What is replaced while the page of a job is open.
pub(super) async fn body(request: &PageRequest, id: &str) -> Result<Markup, PageRefusal> {
    let job: ShownForgetJob = request.ask(&path::PRIVACY_JOB.replace("{id}", &segment(id)), &[]).await?;
    Ok(html! {
        (one(&job, request))
        dl.of-record {
            div { dt { "Ended" } dd { (moment_or(job.ended_at.as_deref(), "not yet", request.now_us)) } }
            div { dt { "Ids, by hash" } dd { @for subject in job.subjects.iter().take(NAMED_MAX) { (kind(subject)) " " code { (short(&subject.hash)) } " " } } }
        }
        (report(&job))
        p { "Whether they still stand in a file: choose `look for them in every file` with their ids on the page before." }
        p { a href=(request.to("/privacy", &[])) { "Back" } }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_name_people_and_a_line_that_names_nobody_is_said() {
        let fields = PagePairs::read(b"subjects=user+ann%0D%0A+trait+email%3Da%40b.c%3Dd%0D%0A%0D%0Agroup+the+team");
        let found = subjects(&fields).unwrap();
        let shown: Vec<(&str, Option<&str>, &str)> =
            found.iter().map(|one| (one.kind.as_str(), one.name.as_deref(), one.value.as_str())).collect();
        assert_eq!(shown, [("user", None, "ann"), ("trait", Some("email"), "a@b.c=d"), ("group", None, "the team")]);
        let PageRefusal::Problem(problem) = subjects(&PagePairs::read(b"subjects=user+ann%0Abob")).unwrap_err() else {
            panic!("it is a problem")
        };
        assert_eq!((problem.detail.as_str(), problem.field.as_deref()), ("line 2 names nobody", Some("subjects")));
        assert!(subjects(&PagePairs::read(b"subjects=trait+email")).is_err());
    }
}

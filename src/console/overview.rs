//! Whether anything is lost, late or growing.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::activity::{DiskActivity, HourActivity, ShownActivity, SyncActivity};
use tidegate_api_types::conservation::FateNumbers;
use tidegate_api_types::control::AuditEntries;
use tidegate_api_types::path;
use tidegate_api_types::quarantine::EntryCounts;
use tidegate_api_types::reload::RunningNow;
use tidegate_event::time;

use super::ask::{PageRefusal, PageRequest};
use super::changes::changes;
use super::layout::ConsolePage;
use super::plot::{PlotHours, PlotLine, plot};
use super::text::{amount, count, moment_or, rate, short, size, visible};

/// The hours of a week, which are asked for.
const WEEK: &str = "168";
const DAY: usize = 24;
/// Changes that are shown.
const CHANGES: &str = "8";
/// A disk with less of it free, of a hundred, is told of.
const FREE_PERCENT_MIN: u64 = 10;
const SECOND_US: i64 = 1_000_000;
const FAILURE_CHARS_MAX: usize = 500;

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let content = body(&request).await?;
    let of = ConsolePage {
        title: "Overview",
        at: "/",
        command: "tidegate status".to_owned(),
        updates: Some("overview".to_owned()),
        content,
    };
    Ok(of.show(&request))
}

/// What is replaced while the page is open.
pub(super) async fn body(request: &PageRequest) -> Result<Markup, PageRefusal> {
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", WEEK)]).await?;
    let quarantine: Option<EntryCounts> = request.ask_if_there(path::QUARANTINE_COUNTS, &[]).await?;
    let running: Option<RunningNow> = request.ask_if_there(path::RUNNING, &[]).await?;
    let audit: Option<AuditEntries> =
        if request.is_admin() { request.ask_if_there(path::AUDIT, &[("limit", CHANGES)]).await? } else { None };
    let (week, quarantine) = (PlotHours::new(&activity.from, activity.hours), quarantine.unwrap_or_default());
    let day = week.last(DAY);
    let mut wrong = errors(&activity, running.as_ref());
    if let Some(disk) = activity.disk.as_ref().filter(|disk| disk.free_bytes < disk.bytes / 100 * FREE_PERCENT_MIN) {
        wrong.push(("the disk".to_owned(), format!("{} are free", size(disk.free_bytes))));
    }
    Ok(html! {
        (wrong_things(&wrong))
        (numbers(&activity, &quarantine, request))
        div.plots {
            (plot("Events by the hour, last 24 h", &day, &lines(&activity, &day)))
            (plot("Events by the hour, last 7 d", &week, &lines(&activity, &week)))
        }
        section {
            h2 { "What became of the events of the last 24 h" }
            (fates(&activity, &day))
        }
        section {
            h2 { "How far the syncs are" }
            (syncs(&activity.syncs, request))
        }
        @if let Some(AuditEntries { entries, .. }) = &audit {
            section {
                h2 { "What changed lately" }
                (latest(entries, request))
                p { a href=(request.to("/audit", &[])) { "The audit log" } }
            }
        }
    })
}

/// What does not run as it should: what, and why.
fn errors(activity: &ShownActivity, running: Option<&RunningNow>) -> Vec<(String, String)> {
    let failing = activity.syncs.iter().filter(|sync| sync.failing).map(|sync| {
        let why = sync.failure.clone().unwrap_or_else(|| "it is trying again what has failed".to_owned());
        (format!("sync {}", sync.sync), why)
    });
    let behind = running.iter().flat_map(|running| &running.behind);
    let behind = behind.filter_map(|one| Some((one.object.to_string(), one.error.clone()?)));
    failing.chain(behind).collect()
}

fn wrong_things(wrong: &[(String, String)]) -> Markup {
    html! {
        @if wrong.is_empty() {
            p.good role="status" { "Nothing is failing." }
        } @else {
            div.problem role="status" {
                h2 { (amount(wrong.len() as u64)) " failing" }
                ul { @for (what, why) in wrong { li { b { (short(what)) } ": " bdi { (visible(why, FAILURE_CHARS_MAX)) } } } }
            }
        }
    }
}

/// The sum of `of` over the last hours that `hours` has.
fn sum<'h>(
    all: impl Iterator<Item = &'h Vec<HourActivity>>,
    hours: &PlotHours,
    of: impl Fn(&FateNumbers) -> i64,
) -> i64 {
    let mut values = Vec::new();
    all.for_each(|found| hours.add(&mut values, found, &of));
    values.iter().sum()
}

const fn delivered(counts: &FateNumbers) -> i64 {
    counts.delivered + counts.delivered_by_ledger
}

fn lines(activity: &ShownActivity, hours: &PlotHours) -> [PlotLine; 3] {
    let mut lines = [("accepted", "in"), ("delivered, by all syncs", "out"), ("quarantined", "bad")]
        .map(|(name, class)| PlotLine { name, class, values: Vec::new() });
    let [came, went, stopped] = &mut lines;
    for source in &activity.sources {
        hours.add(&mut came.values, &source.hours, |counts| counts.came);
        hours.add(&mut stopped.values, &source.hours, |counts| counts.quarantined);
    }
    for sync in &activity.syncs {
        hours.add(&mut went.values, &sync.hours, delivered);
        hours.add(&mut stopped.values, &sync.hours, |counts| counts.quarantined);
    }
    for line in [came, went, stopped] {
        hours.add(&mut line.values, &[], |_| 0);
    }
    lines
}

fn numbers(activity: &ShownActivity, quarantine: &EntryCounts, request: &PageRequest) -> Markup {
    let hours = PlotHours::new(&activity.from, activity.hours);
    let (day, hour) = (hours.last(DAY), hours.last(1));
    let sources = || activity.sources.iter().map(|source| &source.hours);
    let syncs = || activity.syncs.iter().map(|sync| &sync.hours);
    // What is over of the hour that is running.
    let seconds = time::parse(&activity.at).map_or(1, |at_us| at_us.rem_euclid(3_600 * SECOND_US) / SECOND_US);
    let (came, went) = (sum(sources(), &hour, |counts| counts.came), sum(syncs(), &hour, delivered));
    let violations: u64 = activity.sources.iter().map(|source| source.violations).sum();
    let more = if quarantine.next.is_some() { "+" } else { "" };
    html! {
        dl.numbers {
            div { dt { "In" } dd { (rate(came, seconds)) small { " a second, this hour" } } dd.quiet { (count(sum(sources(), &day, |counts| counts.came))) " in 24 h" } }
            div { dt { "Out" } dd { (rate(went, seconds)) small { " a second, this hour" } } dd.quiet { (count(sum(syncs(), &day, delivered))) " in 24 h" } }
            div { dt { "Waiting in the log" } dd { (amount(activity.syncs.iter().map(|sync| sync.waiting).sum())) } dd.quiet { "events, for all syncs" } }
            div { dt { "Waiting for another try" } dd { (amount(activity.syncs.iter().map(|sync| sync.pending).sum())) } dd.quiet { "events" } }
            div {
                dt { a href=(request.to("/quarantine", &[])) { "In quarantine" } }
                dd { (amount(quarantine.total)) (more) }
                dd.quiet { (amount(of_contracts(quarantine))) " by their contract" }
            }
            div { dt { "Violations" } dd { (amount(violations)) } dd.quiet { "since counting began" } }
            (disk_left(activity.disk.as_ref()))
        }
    }
}

fn of_contracts(quarantine: &EntryCounts) -> u64 {
    quarantine.groups.iter().filter(|group| group.stage == "contract").map(|group| group.entries).sum()
}

fn disk_left(disk: Option<&DiskActivity>) -> Markup {
    html! {
        @if let Some(DiskActivity { free_bytes, bytes }) = disk {
            div {
                dt { "Disk" }
                dd { (size(*free_bytes)) small { " free" } }
                dd.quiet { meter min="0" max=(bytes) value=(bytes.saturating_sub(*free_bytes)) aria-label="Used of the disk" {} }
            }
        }
    }
}

/// What became of the events of each source and each sync.
fn fates(activity: &ShownActivity, hours: &PlotHours) -> Markup {
    type Fate = (&'static str, fn(&FateNumbers) -> i64);
    let columns: [Fate; 10] = [
        ("came", |counts| counts.came),
        ("delivered", delivered),
        ("went on", |counts| counts.went_on),
        ("filtered", |counts| counts.filtered),
        ("dropped", |counts| counts.dropped),
        ("duplicate", |counts| counts.duplicate),
        ("suppressed", |counts| counts.suppressed),
        ("expired", |counts| counts.expired),
        ("pending", |counts| counts.pending),
        ("quarantined", |counts| counts.quarantined),
    ];
    let sources = activity.sources.iter().map(|source| ("source", &source.source, &source.hours));
    let syncs = activity.syncs.iter().map(|sync| ("sync", &sync.sync, &sync.hours));
    html! {
        div.scroll tabindex="0" role="region" aria-label="What became of events" {
            table {
                thead { tr { th scope="col" { "Of" } @for (name, _) in &columns { th.number scope="col" { (name) } } } }
                tbody {
                    @for (kind, name, found) in sources.chain(syncs) {
                        tr {
                            th scope="row" { span.quiet { (kind) " " } (short(name)) }
                            @for (_, of) in &columns { td.number { (count(sum(std::iter::once(found), hours, of))) } }
                        }
                    }
                }
            }
        }
    }
}

fn syncs(syncs: &[SyncActivity], request: &PageRequest) -> Markup {
    let now_us = request.now_us;
    html! {
        @if syncs.is_empty() {
            p.quiet { "There is no sync here that you may see." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="How far the syncs are" {
                table {
                    thead { tr {
                        th scope="col" { "Sync" } th scope="col" { "From" } th.number scope="col" { "Waiting" }
                        th.number scope="col" { "Pending" } th scope="col" { "Pending since" } th scope="col" { "Last delivery" }
                    } }
                    tbody {
                        @for sync in syncs {
                            tr {
                                th scope="row" { a href=(request.to("/syncs", &[])) { (short(&sync.sync)) } @if sync.failing { " " span.badge.bad { "failing" } } }
                                td { (short(&sync.source)) }
                                td.number { (amount(sync.waiting)) }
                                td.number { (amount(sync.pending)) }
                                td { (moment_or(sync.pending_since.as_deref(), "–", now_us)) }
                                td { (moment_or(sync.delivered_at.as_deref(), "none yet", now_us)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn latest(entries: &[Value], request: &PageRequest) -> Markup {
    html! {
        @if entries.is_empty() {
            p.quiet { "Nothing was changed in this environment yet." }
        } @else {
            (changes(entries, request.now_us))
        }
    }
}

//! Functions: which version of each runs, what it costs, and whether it fails.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use tidegate_api_types::function::{
    CanaryComparison, FunctionMeters, FunctionTimes, Functions, ShownCharge, ShownFunction,
};
use tidegate_api_types::logs::Logs;
use tidegate_api_types::path;
use tidegate_api_types::version::{Canary, ShownPlaced, Version};

use super::ask::{PageRefusal, PageRequest, segment};
use super::assets;
use super::function_forms::{at, attach_form, live_button, page_of, rollback_form, rollout_form, upload_form};
use super::layout::ConsolePage;
use super::live::quoted;
use super::settings_form::settings_form;
use super::text::{amount, moment, pretty, short, size, visible};

/// Functions whose meters a list asks for.
const METERS_MAX: usize = 100;
const LINES: &str = "100";
const ERROR_CHARS_MAX: usize = 2_000;
/// Of a version's name, which is long.
const SHA_CHARS: usize = 12;

/// A version by the beginning of its name.
fn sha(sha256: &str) -> Markup {
    let shown: String = sha256.chars().take(SHA_CHARS).collect();
    html! { code title=(sha256) { (shown) } }
}

pub(super) async fn list(request: PageRequest) -> Result<Response, PageRefusal> {
    let found: Functions = request.ask(path::FUNCTIONS, &[]).await?;
    let mut functions = Vec::with_capacity(found.functions.len());
    for (number, summary) in found.functions.into_iter().enumerate() {
        let meters = match number {
            ..METERS_MAX => {
                let shown: Option<ShownFunction> =
                    request.ask_if_there(&at(path::FUNCTION, &summary.name), &[]).await?;
                shown.and_then(|shown| shown.meters)
            }
            _ => None,
        };
        functions.push((summary, meters));
    }
    let content = html! {
        @if functions.is_empty() {
            p { "No function was sent to this server yet. Functions of the workspace's files are not here: they run as their files say." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Functions" {
                table {
                    thead { tr {
                        th scope="col" { "Function" } th scope="col" { "Live" } th scope="col" { "Sees" } th.number scope="col" { "Events" }
                        th.number scope="col" { "CPU an event" } th.number scope="col" { "Errors" } th.number scope="col" { "Failed calls" }
                        th.number scope="col" { "Memory" } th.number scope="col" { "Batch, p50" } th.number scope="col" { "Batch, p99" }
                        th scope="col" { "State" }
                    } }
                    tbody {
                        @for (summary, meters) in &functions {
                            @let charge = summary.live.as_deref().and_then(|live| charge_of(meters.as_ref(), live));
                            @let times = meters.as_ref().map(|meters| meters.times).unwrap_or_default();
                            tr {
                                th scope="row" { a href=(page_of(&request, &summary.name)) { (short(&summary.name)) } }
                                td { @if let Some(live) = &summary.live { (sha(live)) } @else { span.quiet { "none" } } }
                                td { (sees(&summary.attached)) }
                                (costs(charge))
                                td.number { (at_most(times, times.p50_us)) }
                                td.number { (at_most(times, times.p99_us)) }
                                td {
                                    @if let Some(charge) = charge.filter(|charge| charge.stopped.is_some()) { span.badge.bad title=[charge.stopped.as_deref()] { "stopped" } }
                                    @else if summary.canary.is_some() { span.badge { "a version is tried" } }
                                    @else if summary.live.is_some() && summary.attached.is_empty() { span.badge { "live, attached to nothing" } }
                                    @else if summary.live.is_some() { span.badge.good { "live" } }
                                    @else { span.badge { "not live" } }
                                }
                            }
                        }
                    }
                }
            }
        }
        section {
            h2 { "A new function" }
            form.filter method="get" action="/function-editor" {
                input type="hidden" name="workspace" value=(request.workspace);
                label { "Name" input name="name" required pattern="[a-z0-9\\-]{1,63}" autocomplete="off" placeholder="drop-staff"; }
                button type="submit" { "Write it" }
            }
            p.quiet { "Written here it is JavaScript in one file. " code { "tidegate function new NAME" } " begins one in any language." }
        }
    };
    let command = "tidegate function list".to_owned();
    Ok(ConsolePage { title: "Functions", at: "/functions", command, updates: None, content }.show(&request))
}

fn sees(attached: &[String]) -> String {
    if attached.is_empty() { "–".to_owned() } else { short(&attached.join(", ")) }
}

fn charge_of<'m>(meters: Option<&'m FunctionMeters>, version: &str) -> Option<&'m ShownCharge> {
    meters?.charges.iter().find(|charge| charge.version == version)
}

/// What it used, as cells of a table.
fn costs(charge: Option<&ShownCharge>) -> Markup {
    html! {
        @match charge {
            Some(charge) => {
                td.number { (amount(charge.events)) }
                td.number { (each(charge)) }
                td.number { (amount(charge.errors)) }
                td.number { (amount(charge.calls_failed)) }
                td.number { (size(charge.memory_peak_bytes)) }
            }
            None => { @for _ in 0..5 { td.number { "–" } } }
        }
    }
}

/// CPU time of one event.
fn each(charge: &ShownCharge) -> String {
    match charge.cpu_us.checked_div(charge.events) {
        Some(us) => format!("{} µs", amount(us)),
        None => "–".to_owned(),
    }
}

/// How long a batch took, by the end of a bucket of the histogram, of which the last one has none.
fn at_most(times: FunctionTimes, end_us: Option<u64>) -> String {
    let (unit_us, unit) = match end_us {
        None if times.batches == 0 => return "–".to_owned(),
        None => return "> 2 h".to_owned(),
        Some(..1_000_000) => (1_000, "ms"),
        Some(_) => (1_000_000, "s"),
    };
    let end_us = end_us.unwrap_or_default();
    let (whole, tenth) = (end_us / unit_us, end_us % unit_us * 10 / unit_us);
    let tenth = if tenth > 0 { format!(".{tenth}") } else { String::new() };
    format!("≤ {}{tenth} {unit}", amount(whole))
}

pub(super) async fn show(Path(name): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let found: ShownFunction = request.ask(&at(path::FUNCTION, &name), &[]).await?;
    let all: Functions = request.ask(path::FUNCTIONS, &[]).await?;
    let level = request.text("level");
    let asked = [("limit", LINES), ("level", level), ("text", request.text("text"))];
    let logs: Option<Logs> = request.ask_if_there(&at(path::FUNCTION_LOGS, &name), &asked).await?;
    let versions = found.versions.clone().unwrap_or_default();
    let meters = found.meters.as_ref();
    let editor = request.to("/function-editor", &[("name", name.as_str())]);
    let schema = found.live.as_ref().and_then(|live| {
        versions
            .iter()
            .find(|version| version.sha256 == live.sha256)
            .and_then(|version| version.settings_schema.as_ref())
    });
    let content = html! {
        (states(&found, meters))
        p { a.button href=(editor) { "Edit or try" } }
        section {
            h2 { "Versions" }
            (versions_table(&found, &versions, &request))
            (rollback_form(&found, &request))
        }
        section {
            h2 { "Try a version beside the live one" }
            (rollout_form(&found, &versions, &request))
            @for comparison in meters.map(|meters| meters.comparisons.as_slice()).unwrap_or_default() { (compared(comparison)) }
        }
        section {
            h2 { "Sources" }
            (attach_form(&found, &all.sources, &request))
        }
        section {
            h2 { "Settings" }
            (settings_form(&name, schema, found.live.as_ref().and_then(|live| live.settings.as_ref()), &request))
        }
        section {
            h2 { "Upload" }
            (upload_form(&name, &request))
        }
        section {
            h2 { "Log" }
            (lines(&name, logs.as_ref(), &request))
        }
        script type="module" src=(assets::address("functions.js")) {}
    };
    let (title, command) =
        (format!("Function {}", short(&name)), format!("tidegate function versions {}", quoted(&short(&name))));
    Ok(ConsolePage { title: &title, at: "/functions", command, updates: None, content }.show(&request))
}

fn states(found: &ShownFunction, meters: Option<&FunctionMeters>) -> Markup {
    let charge = found.live.as_ref().and_then(|live| charge_of(meters, &live.sha256));
    let times = meters.map(|meters| meters.times).unwrap_or_default();
    html! {
        dl.of-record {
            div { dt { "Live" } dd { (placed(found.live.as_ref())) } }
            div { dt { "Before" } dd { (placed(found.previous.as_ref())) } }
            @if let Some(canary) = &found.canary { div { dt { "Tried beside it" } dd { (sha(&canary.sha256)) " " (mode(canary)) } } }
            div { dt { "Sees the events of" } dd { (sees(&found.attached)) } }
            @if let Some(charge) = charge {
                div { dt { "Events" } dd { (amount(charge.events)) " in " (amount(charge.calls)) " calls" } }
                div { dt { "CPU an event" } dd { (each(charge)) } }
                div { dt { "CPU a batch, of all versions" } dd { (at_most(times, times.p50_us)) " (p50), " (at_most(times, times.p99_us)) " (p99)" } }
                div { dt { "Memory at most" } dd { (size(charge.memory_peak_bytes)) } }
                div { dt { "Dropped" } dd { (amount(charge.dropped)) } }
                div { dt { "Refused" } dd { (amount(charge.failed)) } }
                div { dt { "Errors" } dd { (amount(charge.errors)) } }
                div { dt { "Failed calls" } dd { (amount(charge.calls_failed)) } }
            }
        }
        @if found.live.is_some() && found.attached.is_empty() {
            p.problem role="status" { "No event goes through it: attach it to a source." }
        }
        @if !found.lookups_missing.is_empty() {
            p.problem { "It looks up what nobody grants it: " (short(&found.lookups_missing.join(", "))) "." }
        }
        @if let Some(why) = charge.and_then(|charge| charge.stopped.as_deref()) {
            p.problem { "It is stopped: " bdi { (visible(why, ERROR_CHARS_MAX)) } }
        }
        @if let Some(error) = charge.and_then(|charge| charge.error.as_deref()) {
            h2 { "Its last error" }
            pre.data tabindex="0" { (visible(error, ERROR_CHARS_MAX)) }
        }
    }
}

fn placed(placed: Option<&ShownPlaced>) -> Markup {
    html! { @if let Some(placed) = placed { (sha(&placed.sha256)) } @else { span.quiet { "none" } } }
}

fn mode(canary: &Canary) -> Markup {
    html! {
        @match canary.share {
            Some(share) => { span.badge { (share) " % of the batches" } }
            None => { span.badge { "shadow: compared, not used" } }
        }
    }
}

fn versions_table(found: &ShownFunction, versions: &[Version], request: &PageRequest) -> Markup {
    let meters = found.meters.as_ref();
    let is =
        |placed: Option<&ShownPlaced>, version: &Version| placed.is_some_and(|placed| placed.sha256 == version.sha256);
    html! {
        div.scroll tabindex="0" role="region" aria-label="Versions" {
            table {
                thead { tr {
                    th scope="col" { "Version" } th scope="col" { "Came" } th scope="col" { "About" } th.number scope="col" { "Events" }
                    th.number scope="col" { "CPU an event" } th.number scope="col" { "Errors" } th.number scope="col" { "Failed calls" }
                    th.number scope="col" { "Memory" } th scope="col" { "In use" }
                } }
                tbody {
                    @for version in versions {
                        tr {
                            th scope="row" { (sha(&version.sha256)) }
                            td { (moment(&version.uploaded_at, request.now_us)) }
                            td.detail {
                                bdi { (version.description.as_deref().map_or_else(|| "–".to_owned(), short)) }
                                " " span.quiet { (short(&version.kind)) ", " (size(version.bytes)) ", compiled in " (amount(version.compile_ms)) " ms" }
                                @if let Some(failed) = &version.smoke.failed { " " span.badge.bad title=(short(failed)) { "a fixture fails" } }
                            }
                            (costs(charge_of(meters, &version.sha256)))
                            td {
                                @if is(found.live.as_ref(), version) { span.badge.good { "live" } }
                                @else {
                                    @if is(found.previous.as_ref(), version) { span.badge { "before" } " " }
                                    (live_button(&found.name, version, request))
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn compared(comparison: &CanaryComparison) -> Markup {
    let samples = comparison.samples.as_array().map(Vec::as_slice).unwrap_or_default();
    html! {
        article.card {
            h3 { (sha(&comparison.live)) " and " (sha(&comparison.canary)) }
            p { (amount(comparison.same)) " events came out the same, " b { (amount(comparison.different)) } " otherwise." }
            @for sample in samples { details { summary { "An event that came out otherwise" } pre.data tabindex="0" { (pretty(sample)) } } }
        }
    }
}

fn lines(name: &str, logs: Option<&Logs>, request: &PageRequest) -> Markup {
    let level = request.text("level");
    html! {
        form.filter method="get" action={ "/functions/" (segment(name)) } {
            input type="hidden" name="workspace" value=(request.workspace);
            label {
                "At least"
                select name="level" {
                    @for word in ["debug", "info", "warn", "error"] { option value=(word) selected[word == level] { (word) } }
                }
            }
            label { "Text" input name="text" value=(request.text("text")) autocomplete="off"; }
            button type="submit" { "Show" }
        }
        @let lines = logs.map(|logs| logs.lines.as_slice()).unwrap_or_default();
        @if lines.is_empty() {
            p.quiet { "It logged nothing of that." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Log" {
                table.stacked {
                    thead { tr { th scope="col" { "When" } th scope="col" { "Level" } th scope="col" { "Version" } th scope="col" { "Line" } } }
                    tbody {
                        @for line in lines.iter().rev() {
                            tr {
                                td data-of="When" { (moment(&line.at, request.now_us)) }
                                td data-of="Level" { span.badge.bad[line.level == "error"] { (short(&line.level)) } }
                                td data-of="Version" { (sha(&line.version)) }
                                td.detail data-of="Line" { code { bdi { (visible(&line.text, ERROR_CHARS_MAX)) } } }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_of_a_batch_is_shown_by_the_end_of_its_bucket() {
        let some = FunctionTimes { batches: 1, ..FunctionTimes::default() };
        let shown = [1_000, 2_500, 500_000, 2_500_000, 7_200_000_000].map(|end_us| at_most(some, Some(end_us)));
        assert_eq!(shown, ["≤ 1 ms", "≤ 2.5 ms", "≤ 500 ms", "≤ 2.5 s", "≤ 7,200 s"]);
        assert_eq!((at_most(some, None), at_most(FunctionTimes::default(), None)), ("> 2 h".into(), "–".into()));
    }
}

//! What is firing, since when, who was told, and what happened.

use axum::extract::Path;
use axum::response::Response;
use hyper::Method;
use maud::{Markup, html};
use serde_json::{Value, json};
use tidegate_api_types::ProblemDetails;
use tidegate_api_types::alert::{AlertHistory, AlertTested, MuteAlert, ShownAlert, ShownAlerts};
use tidegate_api_types::object::{ChangeDone, NewObject, ShownObject};
use tidegate_api_types::path;

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::fields::FormState;
use super::layout::{ConsolePage, go_to};
use super::text::{amount, moment, short, visible};

/// Entries of the history.
const HISTORY: &str = "100";
const TEXT_CHARS_MAX: usize = 1_000;
const KIND: &str = "alert";
/// Conditions, with what each is about.
const CONDITIONS: [(&str, &str); 12] = [
    ("sync_failing", "sync"),
    ("sync_late", "sync"),
    ("delivery_errors", "destination"),
    ("source_silent", "source"),
    ("volume_drop", "source"),
    ("volume_spike", "source"),
    ("violations", "source"),
    ("quarantine_growth", ""),
    ("function_failing", "function"),
    ("disk", ""),
    ("certificate", ""),
    ("conservation", ""),
];
const SEVERITIES: [(&str, &str); 5] =
    [("", "by the condition"), ("info", "info"), ("warning", "warning"), ("error", "error"), ("critical", "critical")];
const CHANNELS: [(&str, &str); 5] = [
    ("", "nobody yet"),
    ("slack", "Slack"),
    ("pagerduty", "PagerDuty"),
    ("webhook", "a webhook"),
    ("alertmanager", "Alertmanager"),
];
/// Fields of a new alert that are texts of its spec under the same name.
const TEXTS: [&str; 5] = ["window", "for", "severity", "owner", "runbook"];
/// All fields of that form.
const NEW_FIELDS: [&str; 12] = [
    "name",
    "condition",
    "object",
    "threshold",
    "window",
    "for",
    "severity",
    "owner",
    "runbook",
    "channel",
    "channel_name",
    "address",
];

/// What was said of one alert, and what the API says against it.
struct SaidOfAlert<'s> {
    alert: &'s str,
    form: FormState<'s>,
}

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    page(&request, None).await
}

async fn page(request: &PageRequest, said: Option<SaidOfAlert<'_>>) -> Result<Response, PageRefusal> {
    let content = content(request, said.as_ref()).await?;
    let command = "tidegate alert list".to_owned();
    // What is said of a form, and what was written into it, stands until the page is loaded again.
    let updates = said.is_none().then(|| "alerts".to_owned());
    let problem = said.and_then(|said| said.form.problem);
    Ok(ConsolePage { title: "Alerts", at: "/alerts", command, updates, content }.show_after(problem, request))
}

/// What is replaced while the page is open.
pub(super) async fn body(request: &PageRequest) -> Result<Markup, PageRefusal> {
    content(request, None).await
}

async fn content(request: &PageRequest, said: Option<&SaidOfAlert<'_>>) -> Result<Markup, PageRefusal> {
    let found: ShownAlerts = request.ask(path::ALERTS, &[]).await?;
    let history: AlertHistory = request.ask(path::ALERT_HISTORY, &[("limit", HISTORY)]).await?;
    let is_loud = |alert: &&ShownAlert| alert.state != "ok";
    let loud = found.alerts.iter().filter(is_loud).count();
    Ok(html! {
        @if loud == 0 { p.good role="status" { "Nothing is firing." } }
        @if found.alerts.iter().any(|alert| alert.is_default) {
            p.notice { "These are watched because nobody has written an alert, and nobody is told." }
        }
        @if request.may_change() { p { a.button href=(request.to("/alerts/new", &[])) { "New alert" } } }
        section {
            h2 { "What is watched" }
            @for alert in found.alerts.iter().filter(is_loud).chain(found.alerts.iter().filter(|alert| alert.state == "ok")) {
                (card(alert, said.filter(|said| said.alert == alert.name), request))
            }
        }
        section {
            h2 { "History" }
            @if history.entries.is_empty() { p.quiet { "Nothing has happened." } } @else { (happened(&history, request)) }
        }
    })
}

fn card(alert: &ShownAlert, said: Option<&SaidOfAlert<'_>>, request: &PageRequest) -> Markup {
    let until = alert.muted_until.as_deref();
    let is_bad = alert.state == "firing";
    html! {
        article.card {
            h3 {
                (short(&alert.name)) " " span.badge.good[alert.state == "ok"].bad[is_bad] { (short(&alert.state)) }
                @if alert.is_muted { " " span.badge { "muted" @if let Some(until) = until { " until " (short(until)) } @if let Some(by) = alert.muted_by_name.as_ref().or(alert.muted_by.as_ref()) { " by " bdi { (short(by)) } } } }
            }
            p.quiet { (short(&alert.condition)) ", " (short(&alert.severity)) ", " (amount(alert.objects_watched)) " watched" @if let Some(owner) = &alert.owner { ", owner " (short(owner)) } }
            @for object in &alert.objects {
                div.problem[object.state == "firing"].notice[object.state != "firing"] {
                    p { b { (short(&object.object)) } " is " (short(&object.state)) ", since " (moment(&object.since, request.now_us)) @if object.is_told { ", told" } @else { ", not told yet" } }
                    p { bdi { (visible(&object.text, TEXT_CHARS_MAX)) } }
                }
            }
            @if is_bad { p { "What to do: " (visible(&alert.what_to_do, TEXT_CHARS_MAX)) } }
            @if let Some(runbook) = &alert.runbook { p { "Runbook: " bdi { (short(runbook)) } } }
            (channels(alert))
            @if !alert.is_default && request.may_change() { (forms(alert, said, request)) }
        }
    }
}

fn channels(alert: &ShownAlert) -> Markup {
    html! {
        @if alert.channels.is_empty() {
            p.quiet { "Nobody is told." }
        } @else {
            ul {
                @for channel in &alert.channels {
                    li {
                        (short(&channel.name)) " " span.quiet { (short(&channel.kind)) @if channel.waiting > 0 { ", " (amount(channel.waiting)) " messages wait" } }
                        @if let Some(error) = &channel.error { p.problem { bdi { (visible(error, TEXT_CHARS_MAX)) } } }
                    }
                }
            }
        }
    }
}

fn forms(alert: &ShownAlert, said: Option<&SaidOfAlert<'_>>, request: &PageRequest) -> Markup {
    let to = |verb: &str| request.to(&format!("/alerts/{}/{verb}", segment(&alert.name)), &[]);
    let empty = PagePairs::default();
    let form = said.map_or(FormState::new(&empty, None), |said| said.form);
    html! {
        (form.top(&["for", "reason"]))
        div.actions {
            form.action method="post" action=(to("test")) { button type="submit" { "Send a test message" } }
            @if alert.is_muted {
                form.action method="post" action=(to("unmute")) { button type="submit" { "Tell people again" } }
            }
            a href=(to("edit")) { "Edit" }
        }
        @if !alert.is_muted {
            form.filter method="post" action=(to("mute")) {
                (form.text("for", "Mute for", "2 h"))
                (form.text("reason", "Reason", ""))
                button type="submit" { "Mute" }
            }
        }
    }
}

fn happened(history: &AlertHistory, request: &PageRequest) -> Markup {
    html! {
        div.scroll tabindex="0" role="region" aria-label="History" {
            table.stacked {
                thead { tr { th scope="col" { "When" } th scope="col" { "Alert" } th scope="col" { "What" } th scope="col" { "Of" } th scope="col" { "Detail" } } }
                tbody {
                    @for entry in &history.entries {
                        tr {
                            td data-of="When" { (moment(&entry.at, request.now_us)) }
                            th scope="row" { (short(&entry.alert)) }
                            td data-of="What" { span.badge.bad[matches!(entry.what.as_str(), "firing" | "undelivered")] { (short(&entry.what)) } }
                            td data-of="Of" { (short(&entry.object)) }
                            td.detail data-of="Detail" { bdi { (visible(&entry.text, TEXT_CHARS_MAX)) } }
                        }
                    }
                }
            }
        }
    }
}

/// Tests, mutes, unmutes.
pub(super) async fn act(
    Path((name, verb)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let at = |path: &str| path.replace("{name}", &segment(&name));
    let done = match verb.as_str() {
        "test" => {
            let tested = request.order::<AlertTested>(&at(path::ALERT_TEST), &json!({})).await;
            match tested {
                Ok(tested) => return Ok(test_page(&tested, &request)),
                Err(error) => Err(error),
            }
        }
        "mute" => {
            let text = |name: &str| fields.get(name).map(str::to_owned);
            let asked = MuteAlert { length: text("for"), reason: text("reason") };
            request.order::<ShownAlert>(&at(path::ALERT_MUTE), &asked).await.map(drop)
        }
        "unmute" => request.order::<ShownAlert>(&at(path::ALERT_UNMUTE), &json!({})).await.map(drop),
        _ => return Err(PageRefusal::absent()),
    };
    match done {
        Ok(()) => Ok(go_to(&request.to("/alerts", &[]))),
        Err(error) => {
            let problem = error.of_form()?;
            if matches!(problem.status, 403 | 404) {
                return Err(PageRefusal::Problem(problem));
            }
            let form = FormState::new(&fields, Some(&problem));
            page(&request, Some(SaidOfAlert { alert: &name, form })).await
        }
    }
}

fn test_page(tested: &AlertTested, request: &PageRequest) -> Response {
    let title = format!("Test of {}", short(&tested.alert));
    let content = html! {
        @if tested.channels.is_empty() { p.notice { "It has no channel: nobody is told." } }
        ul {
            @for channel in &tested.channels {
                li {
                    (short(&channel.channel)) " (" (short(&channel.kind)) ") "
                    @match &channel.error {
                        None => { span.badge.good { "arrived" } " in " (amount(channel.took_ms)) " ms" }
                        Some(error) => { span.badge.bad { "not delivered" } " " bdi { (visible(error, TEXT_CHARS_MAX)) } }
                    }
                }
            }
        }
        p { a href=(request.to("/alerts", &[])) { "Back to the alerts" } }
    };
    let command = format!("tidegate alert test {}", tested.alert);
    ConsolePage { title: &title, at: "/alerts", command, updates: None, content }.show(request)
}

pub(super) async fn new(request: PageRequest) -> Response {
    let values = PagePairs::default();
    new_page(&request, FormState::new(&values, None))
}

fn new_page(request: &PageRequest, form: FormState<'_>) -> Response {
    let content = html! {
        (form.top(&NEW_FIELDS))
        form.fields method="post" action=(request.to("/alerts/new", &[])) {
            (form.text("name", "Name", "crm-failing"))
            (form.choice("condition", "Condition", CONDITIONS.map(|(word, _)| (word, word))))
            (form.text("object", "Only this source, sync, function or destination", "all of them"))
            (form.text("threshold", "Threshold, as the condition counts it", "as docs/alerts.md says"))
            (form.text("window", "Window", "15 min"))
            (form.text("for", "So long before anybody is told", "10 min"))
            (form.choice("severity", "Severity", SEVERITIES))
            (form.text("owner", "Owner", "data team"))
            (form.text("runbook", "Runbook", "https://wiki.example.com/crm"))
            (form.choice("channel", "Who is told", CHANNELS))
            (form.text("channel_name", "Name of the channel", "chat"))
            (form.text("address", "Its address or key", "secret:ops-chat"))
            button type="submit" { "Make it" }
        }
        p.quiet { "An address that is secret is kept first: " code { "tidegate secret set ops-chat" } ", and named " code { "secret:ops-chat" } " here. Further channels, labels and e-mail are written where the alert is edited." }
    };
    let command = "tidegate object create alert NAME -f FILE".to_owned();
    ConsolePage { title: "New alert", at: "/alerts", command, updates: None, content }.show_after(form.problem, request)
}

/// Makes an alert.
pub(super) async fn create(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let new = NewObject {
        name: fields.text("name").to_owned(),
        labels: Default::default(),
        owner: None,
        spec: spec_of(&fields),
    };
    let made = request.change(Method::POST, &path::OBJECTS.replace("{kind}", KIND), &new).await;
    match made {
        Ok(_) => Ok(go_to(&request.to("/alerts", &[]))),
        Err(error) => {
            let problem = error.of_form()?;
            Ok(new_page(&request, FormState::new(&fields, Some(&problem))))
        }
    }
}

/// The spec that a form says. What is left out is as the condition has it.
fn spec_of(fields: &PagePairs) -> Value {
    let condition = fields.text("condition");
    let mut spec = json!({ "condition": condition });
    for name in TEXTS {
        if let Some(text) = fields.get(name) {
            spec[name] = text.into();
        }
    }
    if let Some(threshold) = fields.get("threshold") {
        // Some are numbers, and some are times.
        spec["threshold"] = threshold.parse::<u64>().map_or_else(|_| Value::from(threshold), Value::from);
    }
    if let Some(object) = fields.get("object") {
        let about = CONDITIONS.iter().find(|(word, _)| *word == condition).map_or("", |(_, about)| about);
        // A condition that is about nothing in particular says so.
        spec[if about.is_empty() { "source" } else { about }] = object.into();
    }
    if let Some(channel) = fields.get("channel") {
        let name = fields.get("channel_name").unwrap_or(channel);
        spec["notify"] = json!({ name: { channel: fields.text("address") } });
    }
    spec
}

pub(super) async fn edit(Path(name): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let object = object(&request, &name).await?;
    let values = PagePairs::of(&[("spec", pretty_json(&object.spec)), ("revision", object.revision.to_string())]);
    Ok(edit_page(&request, &object, FormState::new(&values, None)))
}

async fn object(request: &PageRequest, name: &str) -> Result<ShownObject, PageRefusal> {
    request.ask(&path::OBJECT.replace("{kind}", KIND).replace("{name}", &segment(name)), &[]).await
}

fn pretty_json(value: &Value) -> String {
    serde_json::to_string_pretty(value).unwrap_or_default()
}

fn edit_page(request: &PageRequest, object: &ShownObject, form: FormState<'_>) -> Response {
    let title = format!("Alert {}", short(&object.name));
    let file = object.managed_by.as_ref().and_then(|by| by.file.as_deref());
    let content = html! {
        @if let Some(file) = file { p.notice { "The file " code { (short(file)) } " says what it is: change it there, or release it first." } }
        (form.top(&["spec"]))
        form.fields method="post" action=(request.to(&format!("/alerts/{}/edit", segment(&object.name)), &[])) {
            input type="hidden" name="revision" value=(form.values.text("revision"));
            (form.area("spec", "What it says, as JSON", "24"))
            button type="submit" { "Save" }
        }
        p { a href=(request.to("/alerts", &[])) { "Back to the alerts" } }
    };
    let command = format!("tidegate object edit alert {}", object.name);
    ConsolePage { title: &title, at: "/alerts", command, updates: None, content }.show_after(form.problem, request)
}

/// Says anew what an alert is.
pub(super) async fn save(
    Path(name): Path<String>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let object = object(&request, &name).await?;
    match saved(&request, &object, &fields).await {
        Ok(_) => Ok(go_to(&request.to("/alerts", &[]))),
        Err(error) => {
            let problem: Box<ProblemDetails> = error.of_form()?;
            Ok(edit_page(&request, &object, FormState::new(&fields, Some(&problem))))
        }
    }
}

async fn saved(request: &PageRequest, object: &ShownObject, fields: &PagePairs) -> Result<ChangeDone, PageRefusal> {
    if fields.text("revision") != object.revision.to_string() {
        let detail = "somebody has changed it since this page was loaded";
        return Err(PageRefusal::field("spec", detail, "load the page again, and write your change into that"));
    }
    let spec: Value = serde_json::from_str(fields.whole("spec"))
        .map_err(|error| PageRefusal::field("spec", format!("it is not JSON: {error}"), "mend it at that place"))?;
    let new = NewObject { name: object.name.clone(), labels: object.labels.clone(), owner: object.owner.clone(), spec };
    let place = path::OBJECT.replace("{kind}", KIND).replace("{name}", &segment(&object.name));
    request.put(&place, fields.get("revision"), &new).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_says_what_its_file_would() {
        let fields = PagePairs::read(
            b"name=x&condition=sync_late&object=crm&threshold=15+min&for=&channel=slack&channel_name=chat&address=secret%3Aops",
        );
        let spec = json!({"condition": "sync_late", "sync": "crm", "threshold": "15 min", "notify": {"chat": {"slack": "secret:ops"}}});
        assert_eq!(spec_of(&fields), spec);
        let fields = PagePairs::read(b"condition=violations&threshold=7&channel=");
        assert_eq!(spec_of(&fields), json!({"condition": "violations", "threshold": 7}));
    }
}

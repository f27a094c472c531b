//! A function that is written in the browser: its text, what it would make of events, and its way to being live.

use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use tidegate_api_types::build::{Build, BuildRefusal, BuildState, Pushed};
use tidegate_api_types::function::{Functions, ShownFunction};
use tidegate_api_types::path;
use tidegate_api_types::script::{
    EventTransformed, FunctionTried, PushScript, ScriptLanguage, ShownScript, TryFunction,
};
use tidegate_api_types::version::MakeLive;

use super::ask::{PagePairs, PageRefusal, PageRequest, ScriptForm, segment};
use super::assets;
use super::function_forms::{at, page_of};
use super::layout::{ConsolePage, go_to, problem};
use super::live::quoted;
use super::settings_form::{whole_of, whole_text};
use super::text::{amount, compact, pretty, short, visible};
use super::trace::changes;

/// Events that are tried, and the most of them.
const EVENTS: u64 = 20;
const EVENTS_MAX: u64 = 200;
/// How long one request waits for a build, and how often.
const WAIT_MS: &str = "20000";
const WAITS_MAX: usize = 3;
const LINE_CHARS_MAX: usize = 2_000;

const LANGUAGES: [(ScriptLanguage, &str); 2] =
    [(ScriptLanguage::JavaScript, "JavaScript"), (ScriptLanguage::TypeScript, "TypeScript")];

const EXAMPLE: &str = r#"import { drop, log } from "tidegate";

export function transform(event, { settings }) {
  if (event.properties?.email?.endsWith("@example.com")) return drop("staff");
  log.debug("seen", event.messageId);
  event.context = { ...event.context, seen_by: "a script" };
  return event;
}
"#;

/// What stands in the editor.
struct EditedScript {
    name: String,
    text: String,
    language: ScriptLanguage,
    description: String,
    /// JSON, as it is written.
    settings: String,
    /// JSON Schema of the settings, of a script that has one.
    schema: Option<Value>,
    /// The version that the text is of.
    of: Option<String>,
    /// A version is live that was built elsewhere: it has no text.
    is_built: bool,
}

/// What is asked of the events that are tried.
struct ScriptEvents {
    source: String,
    count: u64,
    given: String,
}

impl ScriptEvents {
    fn of(fields: &PagePairs, sources: &[String]) -> Self {
        let first = sources.first().cloned().unwrap_or_default();
        Self {
            source: fields.get("source").map_or(first, str::to_owned),
            count: fields.get("count").and_then(|count| count.parse().ok()).unwrap_or(EVENTS).min(EVENTS_MAX),
            given: fields.whole("events").to_owned(),
        }
    }
}

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let name = request.get("name").ok_or_else(PageRefusal::absent)?.to_owned();
    let edited = now(&request, name).await?;
    let sources = sources(&request).await?;
    let events = ScriptEvents::of(&PagePairs::default(), &sources);
    Ok(page(&request, &edited, (&events, sources.as_slice()), html! {}))
}

/// The script of the live version, or one to begin with.
async fn now(request: &PageRequest, name: String) -> Result<EditedScript, PageRefusal> {
    let found: Option<ShownFunction> = request.ask_if_there(&at(path::FUNCTION, &name), &[]).await?;
    let live = found.as_ref().and_then(|found| found.live.clone());
    let script: Option<ShownScript> = match &live {
        Some(_) => request.ask_if_there(&at(path::FUNCTION_SCRIPT, &name), &[]).await?,
        None => None,
    };
    let language = script.as_ref().and_then(|shown| shown.language).unwrap_or_default();
    let text = script.and_then(|shown| shown.script);
    let versions = found.and_then(|found| found.versions).unwrap_or_default();
    let of = live.as_ref().map(|live| live.sha256.clone());
    let version = versions.iter().find(|version| Some(&version.sha256) == of.as_ref());
    let is_built = live.is_some() && text.is_none();
    let settings = live.and_then(|live| live.settings).unwrap_or_else(|| json!({}));
    Ok(EditedScript {
        name,
        is_built,
        text: text.unwrap_or_else(|| EXAMPLE.to_owned()),
        language,
        description: version.and_then(|version| version.description.clone()).unwrap_or_default(),
        settings: serde_json::to_string_pretty(&settings).unwrap_or_default(),
        schema: version.and_then(|version| version.settings_schema.clone()).filter(|_| !is_built),
        of,
    })
}

async fn sources(request: &PageRequest) -> Result<Vec<String>, PageRefusal> {
    let all: Functions = request.ask(path::FUNCTIONS, &[]).await?;
    Ok(all.sources.into_iter().collect())
}

/// Tries what was written, or makes a version of it.
pub(super) async fn change(ScriptForm { request, fields }: ScriptForm) -> Result<Response, PageRefusal> {
    let name = fields.get("name").ok_or_else(PageRefusal::absent)?.to_owned();
    let before = now(&request, name).await?;
    // A form sends the ends of lines as two characters each.
    let text = fields.whole("script").replace("\r\n", "\n");
    let (description, settings) = (fields.text("description").to_owned(), fields.whole("settings").to_owned());
    let said = fields.get("language");
    let language = LANGUAGES.iter().map(|(language, _)| *language).find(|language| Some(language.as_str()) == said);
    let language = language.unwrap_or(before.language);
    // What was written stays there, whatever becomes of it.
    let edited = EditedScript { text, language, description, settings, ..before };
    let sources = sources(&request).await?;
    let events = ScriptEvents::of(&fields, &sources);
    let done = match (fields.text("do"), whole_of(&fields)) {
        (_, Err(refusal)) => Err(refusal),
        ("publish", Ok(settings)) => published(&request, &edited, settings, fields.get("stays").is_some()).await,
        (_, Ok(settings)) => tried(&request, &edited, &events, settings).await.map(EditorDone::Shown),
    };
    match done {
        Ok(EditorDone::Live) => Ok(go_to(&page_of(&request, &edited.name))),
        Ok(EditorDone::Shown(shown)) => Ok(page(&request, &edited, (&events, sources.as_slice()), shown)),
        Err(PageRefusal::Problem(found)) => {
            let shown = html! { section #result aria-label="Result" { (problem(&found)) } };
            Ok(page(&request, &edited, (&events, sources.as_slice()), shown))
        }
        Err(refusal) => Err(refusal),
    }
}

/// What came of a form.
enum EditorDone {
    Live,
    Shown(Markup),
}

async fn tried(
    request: &PageRequest,
    edited: &EditedScript,
    events: &ScriptEvents,
    settings: Value,
) -> Result<Markup, PageRefusal> {
    let given = match events.given.trim() {
        "" => None,
        text => Some(events_of(text)?),
    };
    let order = TryFunction {
        script: Some(edited.text.clone()),
        language: Some(edited.language),
        settings: Some(settings),
        source: Some(events.source.clone()).filter(|source| given.is_none() && !source.is_empty()),
        count: given.is_none().then_some(events.count),
        events: given,
        sha256: None,
    };
    let found: FunctionTried = request.order(&at(path::FUNCTION_TRY, &edited.name), &order).await?;
    Ok(html! {
        section #result aria-label="Result" {
            h2 { "What it would make of them" }
            @if let Some(error) = &found.error {
                div.problem role="alert" { p { bdi { (visible(error, LINE_CHARS_MAX)) } } }
            } @else {
                p.quiet { (amount(found.events.len() as u64)) " events, " (amount(found.cpu_us)) " µs of CPU time. Nothing is delivered, and nothing is changed." }
                @if found.events.is_empty() { p { "There is no event: choose a source that has some, or paste one." } }
            }
            @for event in &found.events { (outcome(event)) }
            @if !found.lines.is_empty() {
                h3 { "Log" }
                ol.hops { @for line in &found.lines { li { span.badge.bad[line.level == "error"] { (short(&line.level)) } " " code { bdi { (visible(&line.text, LINE_CHARS_MAX)) } } } } }
            }
        }
    })
}

/// Events that were pasted: one, or a list.
fn events_of(text: &str) -> Result<Vec<Value>, PageRefusal> {
    let wrong = |detail: String| {
        let status = hyper::StatusCode::UNPROCESSABLE_ENTITY;
        PageRefusal::new(status, "events", detail, "paste an event as JSON, or a list of events")
    };
    let events: Value = serde_json::from_str(text).map_err(|error| wrong(format!("the events: {error}")))?;
    match events {
        Value::Array(events) => Ok(events),
        event @ Value::Object(_) => Ok(vec![event]),
        _ => Err(wrong("an event is an object".to_owned())),
    }
}

fn outcome(event: &EventTransformed) -> Markup {
    let is_bad = matches!(event.outcome.as_str(), "error" | "failed");
    let id = event.before["messageId"].as_str().unwrap_or_default();
    html! {
        article.card {
            h3 {
                span.badge.bad[is_bad] { (short(&event.outcome)) } " "
                bdi { (short(event.before["event"].as_str().or(event.before["type"].as_str()).unwrap_or("event"))) } " "
                span.quiet { (short(id)) }
            }
            @if let Some(reason) = &event.reason {
                p { @if let Some(code) = &event.code { code { (short(code)) } ": " } bdi { (visible(reason, LINE_CHARS_MAX)) } }
            }
            (changes(&event.changes))
            details { summary { "Before: " code { bdi { (compact(&event.before)) } } } pre.data tabindex="0" { (pretty(&event.before)) } }
            @for after in &event.after { details { summary { "After: " code { bdi { (compact(after)) } } } pre.data tabindex="0" { (pretty(after)) } } }
        }
    }
}

/// Makes a version of the script, and makes it live unless what is live `stays`.
async fn published(
    request: &PageRequest,
    edited: &EditedScript,
    settings: Value,
    stays: bool,
) -> Result<EditorDone, PageRefusal> {
    let order = PushScript {
        script: edited.text.clone(),
        language: Some(edited.language),
        description: Some(edited.description.clone()).filter(|text| !text.is_empty()),
        settings_schema: edited.schema.clone(),
    };
    let pushed: Pushed = request.order(&at(path::FUNCTION_SCRIPT, &edited.name), &order).await?;
    let place = path::BUILD.replace("{id}", &segment(&pushed.build));
    let mut build: Build = request.ask(&place, &[("wait_ms", WAIT_MS)]).await?;
    for _ in 1..WAITS_MAX {
        if matches!(build.state, BuildState::Ready | BuildState::Failed) {
            break;
        }
        build = request.ask(&place, &[("wait_ms", WAIT_MS)]).await?;
    }
    let version = match (build.version, build.error) {
        (Some(version), _) => version,
        (None, Some(BuildRefusal { code, message, fix })) => {
            return Err(PageRefusal::new(hyper::StatusCode::UNPROCESSABLE_ENTITY, &code, message, fix));
        }
        (None, None) => {
            let (detail, fix) = ("the version is still being made", "look at the versions of the function in a moment");
            return Err(PageRefusal::new(hyper::StatusCode::SERVICE_UNAVAILABLE, "too-slow", detail, fix));
        }
    };
    if !stays {
        let live = MakeLive { sha256: version.sha256, settings: Some(settings), force: false };
        let _: ShownFunction = request.order(&at(path::FUNCTION_LIVE, &edited.name), &live).await?;
    }
    Ok(EditorDone::Live)
}

fn page(
    request: &PageRequest,
    edited: &EditedScript,
    (events, sources): (&ScriptEvents, &[String]),
    result: Markup,
) -> Response {
    let EditedScript { name, text, language, description, settings, schema: _, of, is_built } = edited;
    let content = html! {
        @if *is_built {
            p.notice { "The version that is live was built elsewhere, and its source is not here. A script that goes live takes its place; a rollback brings it back." }
        }
        form.editor method="post" action=(request.to("/function-editor", &[])) {
            input type="hidden" name="name" value=(name);
            label {
                "Script"
                textarea #script name="script" rows="22" cols="100" spellcheck="false" autocomplete="off" autocapitalize="off" { "\n" (text) }
            }
            p #caret.quiet {}
            div.filter {
                label {
                    "Language"
                    select name="language" {
                        @for (one, shown) in LANGUAGES { option value=(one.as_str()) selected[one == *language] { (shown) } }
                    }
                }
                label {
                    "Newest events of"
                    select name="source" { @for source in sources { option value=(source) selected[*source == events.source] { (short(source)) } } }
                }
                label { "At most" input name="count" value=(events.count) inputmode="numeric" autocomplete="off"; }
                label { "About it" input name="description" value=(description) autocomplete="off" maxlength="200"; }
            }
            details open[!events.given.trim().is_empty()] {
                summary { "Events of your own, in their place" }
                label { "JSON" textarea name="events" rows="6" spellcheck="false" autocomplete="off" { "\n" (events.given) } }
            }
            (whole_text(settings))
            p.quiet { "The try uses them, and so does the version when it goes live. Secrets and tables that it looks up are not there in a try." }
            div.actions {
                button #try-it type="submit" name="do" value="try" { "Try on events" }
                button type="submit" name="do" value="publish" data-confirm="Make a version of this?" { "Publish" }
                label.check { input type="checkbox" name="stays" value="true"; " but do not make it live" }
                a href=(page_of(request, name)) { "To the function" }
            }
        }
        (result)
        p.quiet {
            "A script is one file: it imports from " code { "\"tidegate\"" } " alone, exports a function " code { "transform" } ", and has no "
            code { "async" } ". Types of TypeScript are taken away and not checked; imports of types say " code { "import type" } ". "
            code { "tidegate function new" } " begins a project without these bounds."
        }
        script type="module" src=(assets::address("functions.js")) {}
    };
    let title = match of {
        Some(_) => format!("Edit {}", short(name)),
        None => format!("New function {}", short(name)),
    };
    let command = format!("tidegate function push {}", quoted(&short(name)));
    ConsolePage { title: &title, at: "/functions", command, updates: None, content }.show(request)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_event_or_a_list_may_be_pasted() {
        assert_eq!(events_of("{\"a\": 1}").unwrap(), [json!({"a": 1})]);
        assert_eq!(events_of("[{}, {}]").unwrap().len(), 2);
        for wrong in ["7", "{", ""] {
            assert!(events_of(wrong).is_err(), "{wrong}");
        }
        let fields = PagePairs::read(b"count=5000&events=+");
        let asked = ScriptEvents::of(&fields, &["web".to_owned()]);
        assert_eq!((asked.source.as_str(), asked.count, asked.given.as_str()), ("web", EVENTS_MAX, " "));
    }
}

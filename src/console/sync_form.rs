//! One sync: how it is, which events it takes and as what, what it would make of recorded events, and its end.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use tidegate_api_types::activity::ShownActivity;
use tidegate_api_types::object::{ChangeDone, NewObject, Objects, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::tried::{ObjectTried, TryObject};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::form_answer::FormAnswer;
use super::form_fields::{FormProblems, WrongField};
use super::layout::{ConsolePage, go_to};
use super::objects::{as_asked, managed, pause_form};
use super::syncs::{progress, sync_state};
use super::text::{moment, pretty, short};

const OBJECTS_MAX: &str = "1000";
const HOURS: &str = "24";
/// Recorded events that a preview shows.
const PREVIEWED: u64 = 10;
/// Events that somebody has written, as text.
const EVENTS_MAX: usize = 20;
const SYNC: &str = "sync";
const TYPES: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];
/// Between the places of a line that renames.
const ARROW: &str = "->";

fn place(path: &str, name: &str) -> String {
    path.replace("{kind}", SYNC).replace("{name}", &segment(name))
}

/// What the form of a sync shows: its spec, or what was written.
struct SyncForm {
    name: String,
    spec: Value,
    sources: Vec<String>,
    destinations: Vec<String>,
    /// Events that are tried in the place of recorded ones.
    events: String,
}

impl SyncForm {
    async fn of(request: &PageRequest, name: &str, spec: Value) -> Result<Self, PageRefusal> {
        let (sources, destinations) = (names(request, "source").await?, names(request, "destination").await?);
        Ok(Self { name: name.to_owned(), spec, sources, destinations, events: String::new() })
    }

    /// Takes what was written. What does not fit is left as it was.
    fn write(&mut self, written: &PagePairs) -> Vec<WrongField> {
        let mut wrong = Vec::new();
        written.whole("events.tried").clone_into(&mut self.events);
        let mut spec = self.spec.as_object().cloned().unwrap_or_default();
        for name in ["source", "destination", "schema"] {
            put(&mut spec, name, written.get(name).map(Value::from));
        }
        put(&mut spec, "start", started(written).map(Value::from));
        let types: Vec<&str> = written.all("type").filter(|word| TYPES.contains(word)).collect();
        let mut filter = below(&spec, "filter");
        put_list(&mut filter, "types", &types);
        put_list(&mut filter, "events", &written.lines("events"));
        put_list(&mut filter, "except_events", &written.lines("except_events"));
        put_below(&mut spec, "filter", filter);
        put_list(&mut spec, "functions", &written.lines("functions"));
        let mut consent = below(&spec, "consent");
        put_list(&mut consent, "categories", &written.lines("categories"));
        let without = written.get("without").filter(|_| consent.contains_key("categories"));
        put(&mut consent, "without", without.map(Value::from));
        put_below(&mut spec, "consent", consent);
        let mut mapping = below(&spec, "mapping");
        put_list(&mut mapping, "remove", &written.lines("remove"));
        let mut rename = Map::new();
        for line in written.lines("rename") {
            match line.split_once(ARROW) {
                Some((from, to)) => drop(rename.insert(from.trim().to_owned(), to.trim().into())),
                None => wrong.push(WrongField::new("rename", format!("{line:?} has no {ARROW} in it"))),
            }
        }
        put_below(&mut mapping, "rename", rename);
        put_below(&mut spec, "mapping", mapping);
        self.spec = Value::Object(spec);
        wrong
    }

    fn text(&self, name: &str) -> &str {
        self.spec[name].as_str().unwrap_or_default()
    }

    fn shown(&self, is_new: bool, problems: &FormProblems<'_>) -> Markup {
        let (filter, mapping, consent) = (&self.spec["filter"], &self.spec["mapping"], &self.spec["consent"]);
        let types: Vec<&str> = texts(&filter["types"]);
        let rename = mapping["rename"].as_object().into_iter().flatten();
        let rename: Vec<String> =
            rename.map(|(from, to)| format!("{from} {ARROW} {}", to.as_str().unwrap_or_default())).collect();
        let start = self.text("start");
        let (word, since) = if matches!(start, "" | "now" | "beginning") { (start, "") } else { ("since", start) };
        html! {
            @if is_new { (input(("name", "name (needed)"), &self.name, "", problems)) }
            (select(("source", "source (needed)"), self.text("source"), &self.sources, problems))
            (select(("destination", "destination (needed)"), self.text("destination"), &self.destinations, problems))
            (input(("schema", "schema"), self.text("schema"), "A prefix for its tables, where several sources write into one warehouse.", problems))
            div.field {
                label {
                    span { "start" }
                    select name="start" aria-describedby=[problems.id("start")] {
                        @for (value, says) in [("", "as is usual for the destination"), ("beginning", "all that the log keeps"), ("now", "what is accepted from now on"), ("since", "what was received since")] {
                            option value=(value) selected[value == word] { (says) }
                        }
                    }
                }
                label { span { "since" } input name="since" value=(since) placeholder="2026-01-31T00:00:00Z" autocomplete="off"; }
                span.quiet { "It counts for a sync that has never run." }
                (problems.beside("start"))
            }
            fieldset {
                legend { "Filter" }
                div.actions {
                    @for word in TYPES {
                        label.check { input type="checkbox" name="type" value=(word) checked[types.contains(&word)]; " " (word) }
                    }
                }
                span.quiet { "Types of events; none chosen takes all." }
                (problems.beside("types"))
                (lines(("events", "events"), &texts(&filter["events"]).join("\n"), "Names of track events, one on each line; all when empty.", problems))
                (lines(("except_events", "except_events"), &texts(&filter["except_events"]).join("\n"), "Names that are left out.", problems))
                (lines(("categories", "consent categories"), &texts(&consent["categories"]).join("\n"), "An event must bear consent to all of these.", problems))
                div.field {
                    label {
                        span { "what says nothing of consent" }
                        select name="without" {
                            @for (value, says) in [("", "–"), ("send", "is sent"), ("filter", "is left out")] { option value=(value) selected[consent["without"] == value || (value.is_empty() && consent["without"].is_null())] { (says) } }
                        }
                    }
                }
            }
            fieldset {
                legend { "Functions and mapping" }
                (lines(("functions", "functions"), &texts(&self.spec["functions"]).join("\n"), "In this order, one on each line.", problems))
                (lines(("remove", "remove"), &texts(&mapping["remove"]).join("\n"), "Places that are taken away: /context/ip, one on each line.", problems))
                (lines(("rename", "rename"), &rename.join("\n"), "/properties/order_id -> /properties/orderId, one on each line.", problems))
            }
            fieldset {
                legend { "Preview" }
                (lines(("events.tried", "events to try"), &self.events, "One JSON event on each line; the newest recorded ones when empty.", problems))
            }
            div.actions {
                button type="submit" name="do" value="save" { "Save" }
                button.plain type="submit" name="do" value="try" { "Preview: what would become of events" }
            }
        }
    }
}

fn started(written: &PagePairs) -> Option<&str> {
    match written.get("start")? {
        "since" => written.get("since"),
        word => Some(word),
    }
}

/// The texts of a list; one alone may stand without it.
fn texts(list: &Value) -> Vec<&str> {
    match list {
        Value::String(text) => vec![text.as_str()],
        list => list.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
    }
}

fn below(spec: &Map<String, Value>, name: &str) -> Map<String, Value> {
    spec.get(name).and_then(Value::as_object).cloned().unwrap_or_default()
}

fn put(spec: &mut Map<String, Value>, name: &str, value: Option<Value>) {
    match value {
        Some(value) => drop(spec.insert(name.to_owned(), value)),
        None => drop(spec.remove(name)),
    }
}

fn put_list(spec: &mut Map<String, Value>, name: &str, list: &[&str]) {
    put(spec, name, (!list.is_empty()).then(|| json!(list)));
}

fn put_below(spec: &mut Map<String, Value>, name: &str, fields: Map<String, Value>) {
    put(spec, name, (!fields.is_empty()).then_some(Value::Object(fields)));
}

fn input((name, label): (&str, &str), value: &str, says: &str, problems: &FormProblems<'_>) -> Markup {
    html! {
        div.field {
            label { span { (label) } input name=(name) value=(value) autocomplete="off" spellcheck="false" aria-describedby=[problems.id(name)]; }
            @if !says.is_empty() { span.quiet { (says) } }
            (problems.beside(name))
        }
    }
}

fn lines((name, label): (&str, &str), value: &str, says: &str, problems: &FormProblems<'_>) -> Markup {
    html! {
        div.field {
            label { span { (label) } textarea name=(name) rows="3" spellcheck="false" aria-describedby=[problems.id(name)] { "\n" (value) } }
            span.quiet { (says) }
            (problems.beside(name))
        }
    }
}

fn select((name, label): (&str, &str), value: &str, known: &[String], problems: &FormProblems<'_>) -> Markup {
    html! {
        div.field {
            label {
                span { (label) }
                select name=(name) aria-describedby=[problems.id(name)] {
                    @if value.is_empty() { option value="" selected { "–" } }
                    @for one in known { option value=(one) selected[one == value] { (short(one)) } }
                    @if !value.is_empty() && !known.iter().any(|one| one == value) { option value=(value) selected { (short(value)) } }
                }
            }
            (problems.beside(name))
        }
    }
}

async fn names(request: &PageRequest, kind: &str) -> Result<Vec<String>, PageRefusal> {
    let found: Objects = request.ask(&path::OBJECTS.replace("{kind}", kind), &[("limit", OBJECTS_MAX)]).await?;
    Ok(found.objects.into_iter().map(|object| object.name).collect())
}

/// Does what the button of a form says: none where it is saved.
async fn ordered(
    request: &PageRequest,
    form: &SyncForm,
    (object, fields): (Option<&ShownObject>, &PagePairs),
) -> Result<Option<FormAnswer>, PageRefusal> {
    let done = if fields.get("do") == Some("try") {
        let events = match written_events(&form.events) {
            Ok(events) => events,
            Err(wrong) => return Ok(Some(FormAnswer::of_wrong(vec![wrong]))),
        };
        let count = events.is_none().then_some(PREVIEWED);
        let order = TryObject { spec: Some(form.spec.clone()), events, count };
        let tried: Result<ObjectTried, PageRefusal> =
            request.order(&place(path::OBJECT_TEST, &form.name), &order).await;
        tried.map(Some)
    } else {
        let (labels, owner) = object.map(|object| (object.labels.clone(), object.owner.clone())).unwrap_or_default();
        let new = NewObject { name: form.name.clone(), labels, owner, spec: form.spec.clone() };
        let saved: Result<ChangeDone, PageRefusal> = match object {
            Some(_) => request.put(&place(path::OBJECT, &form.name), fields.get("revision"), &new).await,
            None => request.order(&path::OBJECTS.replace("{kind}", SYNC), &new).await,
        };
        saved.map(|_| None)
    };
    FormAnswer::of(done)
}

/// Events as somebody has written them, one on each line; none where nothing was written.
fn written_events(text: &str) -> Result<Option<Vec<Value>>, WrongField> {
    let mut events = Vec::new();
    for (at, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let number = at + 1;
        if events.len() >= EVENTS_MAX {
            return Err(WrongField::new("events.tried", format!("at most {EVENTS_MAX} events are tried here")));
        }
        match serde_json::from_str::<Value>(line) {
            Ok(event) if event.is_object() => events.push(event),
            Ok(_) => return Err(WrongField::new("events.tried", format!("line {number} is no JSON object"))),
            Err(error) => {
                return Err(WrongField::new("events.tried", format!("line {number} is not JSON: {error}")));
            }
        }
    }
    Ok((!events.is_empty()).then_some(events))
}

pub(super) async fn new(request: PageRequest) -> Result<Response, PageRefusal> {
    let mut spec = Map::new();
    for name in ["source", "destination"] {
        put(&mut spec, name, request.get(name).map(Value::from));
    }
    let form = SyncForm::of(&request, "", Value::Object(spec)).await?;
    Ok(new_page(&request, &form, FormAnswer::default()))
}

fn new_page(request: &PageRequest, form: &SyncForm, answer: FormAnswer) -> Response {
    let (above, status) = (answer.above(), answer.status());
    let FormAnswer { wrong, found, .. } = answer;
    let problems = FormProblems::new(wrong, found.as_deref());
    let content = html! {
        (above)
        form.settings method="post" action=(request.to("/new/sync", &[])) { (form.shown(true, &problems)) }
    };
    let command = "tidegate object create sync NAME --file FILE".to_owned();
    ConsolePage { title: "New sync", at: "/syncs", command, updates: None, content }.show_as(status, request)
}

pub(super) async fn create(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let mut form = SyncForm::of(&request, fields.text("name"), Value::Null).await?;
    let mut wrong = form.write(&fields);
    if form.name.is_empty() {
        wrong.push(WrongField::new("name", "it needs a name"));
    }
    let answer = match wrong.is_empty() {
        false => Some(FormAnswer::of_wrong(wrong)),
        true => ordered(&request, &form, (None, &fields)).await?,
    };
    match answer {
        Some(answer) => Ok(new_page(&request, &form, answer)),
        None => Ok(go_to(&request.to(&format!("/syncs/{}", segment(&form.name)), &[]))),
    }
}

pub(super) async fn show(Path(name): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let object: ShownObject = request.ask(&place(path::OBJECT, &name), &[]).await?;
    let form = SyncForm::of(&request, &object.name, object.spec.clone()).await?;
    one_page(&request, &object, &form, FormAnswer::default()).await
}

pub(super) async fn update(
    Path(name): Path<String>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let object = as_asked(request.ask(&place(path::OBJECT, &name), &[]).await?, &fields);
    let mut form = SyncForm::of(&request, &object.name, object.spec.clone()).await?;
    let wrong = form.write(&fields);
    let answer = match wrong.is_empty() {
        false => Some(FormAnswer::of_wrong(wrong)),
        true => ordered(&request, &form, (Some(&object), &fields)).await?,
    };
    match answer {
        Some(answer) => one_page(&request, &object, &form, answer).await,
        None => Ok(go_to(&request.to(&format!("/syncs/{}", segment(&object.name)), &[]))),
    }
}

async fn one_page(
    request: &PageRequest,
    object: &ShownObject,
    form: &SyncForm,
    answer: FormAnswer,
) -> Result<Response, PageRefusal> {
    let (above, status) = (answer.above(), answer.status());
    let FormAnswer { wrong, found, .. } = answer;
    let problems = FormProblems::new(wrong, found.as_deref());
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", HOURS)]).await?;
    let of_sync = activity.syncs.iter().find(|sync| sync.sync == object.name);
    let here = format!("/syncs/{}", segment(&object.name));
    let destination = form.text("destination");
    let content = html! {
        p {
            (sync_state(object, of_sync)) " · " a href=(request.to(&format!("/sources/{}", segment(form.text("source"))), &[])) { (short(form.text("source"))) }
            " → " a href=(request.to(&format!("/destinations/{}", segment(destination)), &[])) { (short(destination)) }
            " · changed " (moment(&object.updated_at, request.now_us))
        }
        (pause_form(request, object, None))
        (above)
        @if let Some(sync) = of_sync { (progress(sync, request)) }
        section {
            h2 { "Filter and mapping" }
            @match (managed(object), request.may_change()) {
                (None, true) => {
                    form.settings method="post" action=(request.to(&here, &[])) {
                        input type="hidden" name="revision" value=(object.revision);
                        (form.shown(false, &problems))
                    }
                }
                (managed, _) => {
                    @if let Some(managed) = managed { (managed) }
                    pre.data tabindex="0" { (pretty(&object.spec)) }
                }
            }
        }
        @if object.managed_by.is_none() && request.may_change() { (end_form(request, &here)) }
    };
    let title = format!("Sync {}", short(&object.name));
    let command = format!("tidegate object test sync {}", short(&object.name));
    let page = ConsolePage { title: &title, at: "/syncs", command, updates: None, content };
    Ok(page.show_as(status, request))
}

fn end_form(request: &PageRequest, here: &str) -> Markup {
    html! {
        section {
            h2 { "End it" }
            form.action method="post" action=(request.to(&format!("{here}/delete"), &[])) data-confirm="End this sync?" {
                label {
                    span { "what waits for it" }
                    select name="ending" {
                        option value="" { "nothing may wait" }
                        option value="drain" { "is delivered first" }
                        option value="abandon" { "is given up, and counted" }
                    }
                }
                button type="submit" { "Delete" }
            }
        }
    }
}

/// Ends a sync.
pub(super) async fn delete(
    Path(name): Path<String>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let ending: &[(&str, &str)] = match fields.text("ending") {
        "drain" => &[("drain", "true")],
        "abandon" => &[("abandon", "true")],
        _ => &[],
    };
    let done: Result<ChangeDone, PageRefusal> = request.delete(&place(path::OBJECT, &name), ending).await;
    match done {
        Ok(_) => Ok(go_to(&request.to("/syncs", &[]))),
        Err(refusal) => {
            let answer = FormAnswer { found: Some(refusal.into_problem()?), ..FormAnswer::default() };
            let object: ShownObject = request.ask(&place(path::OBJECT, &name), &[]).await?;
            let form = SyncForm::of(&request, &object.name, object.spec.clone()).await?;
            one_page(&request, &object, &form, answer).await
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn form(spec: Value) -> SyncForm {
        SyncForm {
            name: "crm".to_owned(),
            spec,
            sources: vec!["web".to_owned()],
            destinations: vec![],
            events: String::new(),
        }
    }

    #[test]
    fn what_was_written_becomes_a_spec_and_what_the_form_does_not_know_stays() {
        let mut form = form(json!({"source": "web", "destination": "a", "batch": {"events_max": 5}, "start": "now"}));
        let written = "source=web&destination=b&type=track&type=else&events=Sold%0D%0A&rename=%2Fa+-%3E+%2Fb&start=since&since=2026-01-31T00%3A00%3A00Z";
        assert!(form.write(&PagePairs::read(written.as_bytes())).is_empty());
        let wanted = json!({"source": "web", "destination": "b", "batch": {"events_max": 5}, "start": "2026-01-31T00:00:00Z",
            "filter": {"types": ["track"], "events": ["Sold"]}, "mapping": {"rename": {"/a": "/b"}}});
        assert_eq!(form.spec, wanted);
        let html = form.shown(false, &FormProblems::default()).into_string();
        assert!(html.contains("/a -&gt; /b") && html.contains("value=\"track\" checked"), "{html}");
        let wrong = form.write(&PagePairs::read(b"rename=%3Cscript%3E"));
        let html = form.shown(false, &FormProblems::new(wrong, None)).into_string();
        assert!(html.contains("has no -&gt; in it") && !html.contains("<script>"), "{html}");
    }

    #[test]
    fn a_text_that_stands_without_a_list_is_not_lost() {
        let spec = json!({"source": "web", "destination": "a", "functions": "drop-staff", "filter": {"types": "track", "events": "Sold"},
            "consent": {"categories": "Ads"}, "mapping": {"remove": "/context/ip"}});
        let html = form(spec).shown(false, &FormProblems::default()).into_string();
        assert!(html.contains("value=\"track\" checked"), "{html}");
        for part in ["\ndrop-staff</textarea>", "\nSold</textarea>", "\nAds</textarea>", "\n/context/ip</textarea>"] {
            assert!(html.contains(part), "{part}: {html}");
        }
    }

    #[test]
    fn events_that_are_written_are_json_one_on_each_line() {
        assert_eq!(written_events("\n \n"), Ok(None));
        assert_eq!(written_events("{\"a\": 1}\n\n{}"), Ok(Some(vec![json!({"a": 1}), json!({})])));
        assert!(written_events("[1]").is_err() && written_events("{}\n{").is_err());
        assert!(written_events(&"{}\n".repeat(21)).is_err());
    }
}

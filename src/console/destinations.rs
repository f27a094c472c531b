//! Destinations: which there can be, which there are, how each is, and its settings.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Map, Value, json};
use tidegate_api_types::activity::{ShownActivity, SyncActivity};
use tidegate_api_types::destination_kind::{DestinationKinds, ShownDestinationKind};
use tidegate_api_types::object::{ChangeDone, NewObject, ObjectName, Objects, SecretList, ShownObject, UsedBy};
use tidegate_api_types::path;
use tidegate_api_types::quarantine::{EntryCounts, QuarantineEntries};
use tidegate_api_types::reload::RunningNow;
use tidegate_api_types::tried::{ObjectTried, TryObject};
use tidegate_api_types::workspace::ObjectRefKind;

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::form_answer::FormAnswer;
use super::form_fields::{
    FormField, FormProblems, SettingsPlace, TypedSecret, WrongField, fields_of, form_as_written, form_of_settings,
    new_secrets, write_references, written_settings,
};
use super::layout::{ConsolePage, go_to};
use super::objects::{as_asked, managed, pause_form, state};
use super::text::{amount, moment, moment_or, pretty, short, visible};

const OBJECTS_MAX: &str = "1000";
const HOURS: &str = "24";
/// Quarantined events that are shown of each sync.
const SAMPLES: &str = "3";
const FAILURE_CHARS_MAX: usize = 2_000;
const DESTINATION: &str = "destination";
const PLUGIN: &str = "plugin";
/// Groups of kinds, with what stands above each.
const GROUPS: [(&str, &str); 3] = [("warehouse", "Warehouses"), ("stream", "Streams and files"), ("tool", "Tools")];

fn all() -> String {
    path::OBJECTS.replace("{kind}", DESTINATION)
}

fn place(path: &str, name: &str) -> String {
    path.replace("{kind}", DESTINATION).replace("{name}", &segment(name))
}

pub(super) async fn list(request: PageRequest) -> Result<Response, PageRefusal> {
    let found: Objects = request.ask(&all(), &[("limit", OBJECTS_MAX)]).await?;
    let kinds: DestinationKinds = request.ask(path::DESTINATION_KINDS, &[]).await?;
    let content = html! {
        section {
            h2 { "There are" }
            @if found.objects.is_empty() { p.quiet { "There is no destination here that you may see." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="Destinations" {
                    table {
                        thead { tr { th scope="col" { "Destination" } th scope="col" { "Kind" } th scope="col" { "State" } th scope="col" { "Changed" } } }
                        tbody {
                            @for object in &found.objects {
                                tr {
                                    th scope="row" { a href=(request.to(&format!("/destinations/{}", segment(&object.name)), &[])) { (short(&object.name)) } }
                                    td { (kind_word(&object.spec)) }
                                    td { (state(object)) }
                                    td { (moment(&object.updated_at, request.now_us)) }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if request.may_change() {
            @for (group, title) in GROUPS {
                section {
                    h2 { (title) }
                    ul.kinds {
                        @for kind in kinds.kinds.iter().filter(|kind| kind.group == group) {
                            li.card {
                                h3 { a href=(request.to("/new/destination", &[("kind", kind.kind.as_str()), (PLUGIN, kind.plugin.as_deref().unwrap_or_default())])) { (short(&kind.title)) } }
                                p.quiet { (short(&kind.description)) }
                            }
                        }
                    }
                }
            }
        }
    };
    let command = "tidegate object list destination".to_owned();
    Ok(ConsolePage { title: "Destinations", at: "/destinations", command, updates: None, content }.show(&request))
}

/// `postgres`, or of a plugin its name too.
fn kind_word(spec: &Value) -> String {
    let kind = spec["kind"].as_str().map(short).unwrap_or_default();
    plugin_of(spec).map_or_else(|| kind.clone(), |plugin| format!("{kind} {}", short(plugin)))
}

/// Which plugin it is, by the name of its component: `components/slack.component.wasm`.
fn plugin_of(spec: &Value) -> Option<&str> {
    let component = spec["component"].as_str()?;
    component.rsplit('/').next()?.split('.').next().filter(|name| !name.is_empty())
}

/// What a form of a destination is about.
struct DestinationForm {
    kind: ShownDestinationKind,
    fields: Vec<FormField>,
}

impl DestinationForm {
    /// The kind of this name. Of one that is not known the settings are written as they are.
    async fn of(request: &PageRequest, kind: &str, plugin: Option<&str>) -> Result<Option<Self>, PageRefusal> {
        let known: DestinationKinds = request.ask(path::DESTINATION_KINDS, &[]).await?;
        let mut found = known.kinds.into_iter().filter(|one| one.kind == kind);
        let kind = found.find(|one| one.plugin.as_deref() == plugin.filter(|_| one.plugin.is_some()));
        Ok(kind.map(|kind| Self { fields: fields_of(&kind.settings, SettingsPlace::Spec), kind }))
    }

    fn is_plugin(&self) -> bool {
        self.kind.plugin.is_some()
    }

    /// The settings of a spec.
    fn settings<'s>(&self, spec: &'s Value) -> &'s Value {
        if self.is_plugin() { &spec["settings"] } else { spec }
    }

    /// The spec as it was written, and the new values of its secrets with the names of those.
    fn written(&self, name: &str, written: &PagePairs, before: &Value) -> Result<WrittenSpec, Vec<WrongField>> {
        let fields = |value: &Value| value.as_object().cloned().unwrap_or_default();
        let mut settings = written_settings(&self.fields, written, &fields(self.settings(before)))?;
        let secrets = new_secrets(&self.fields, written, (name, &mut settings));
        let mut spec: Map<String, Value> = if self.is_plugin() {
            let mut spec = fields(before);
            spec.insert("settings".to_owned(), Value::Object(settings));
            if let Some(component) = written.get("component") {
                spec.insert("component".to_owned(), component.into());
            }
            let hosts = written.lines("allow_hosts");
            if hosts.is_empty() {
                spec.remove("allow_hosts");
            } else {
                spec.insert("allow_hosts".to_owned(), json!(hosts));
            }
            spec
        } else {
            settings
        };
        spec.insert("kind".to_owned(), self.kind.kind.as_str().into());
        Ok(WrittenSpec { spec: Value::Object(spec), secrets })
    }

    fn shown(&self, name: &str, (spec, written): (&Value, Option<&PagePairs>), problems: &FormProblems<'_>) -> Markup {
        let component = format!("components/{}.component.wasm", self.kind.plugin.as_deref().unwrap_or_default());
        let component = spec["component"].as_str().unwrap_or(&component);
        let component = written.and_then(|written| written.get("component")).unwrap_or(component);
        let hosts = match &spec["allow_hosts"] {
            Value::String(host) => vec![host.as_str()],
            hosts => hosts.as_array().into_iter().flatten().filter_map(Value::as_str).collect(),
        };
        let hosts = written.map_or_else(|| hosts.join("\n"), |written| written.whole("allow_hosts").to_owned());
        html! {
            @if self.is_plugin() {
                div.field {
                    label { span { "component (needed)" } input name="component" value=(component) autocomplete="off" spellcheck="false" aria-describedby=[problems.id("component")]; }
                    span.quiet { "A file in the folder of the server. " code { "tidegate destination add " (short(self.kind.plugin.as_deref().unwrap_or(name))) " DIR" } " brings it." }
                    (problems.beside("component"))
                }
            }
            @match written {
                Some(written) => { (form_as_written(&self.fields, written, problems)) }
                None => { (form_of_settings(&self.fields, self.settings(spec), problems)) }
            }
            @if self.is_plugin() && (self.kind.needs_hosts || !hosts.is_empty()) {
                div.field {
                    label { span { "allow_hosts" } textarea name="allow_hosts" rows="2" spellcheck="false" aria-describedby=[problems.id("allow_hosts")] { "\n" (hosts) } }
                    span.quiet { "Origins that it may send to, one on each line: its address is a setting, and is granted here." }
                    (problems.beside("allow_hosts"))
                }
            }
        }
    }
}

/// A spec with the new values of its secrets.
struct WrittenSpec {
    spec: Value,
    secrets: Vec<TypedSecret>,
}

impl WrittenSpec {
    /// Keeps the values, which stand in no spec. A secret that nobody has named here is not written over: others may use it.
    async fn keep_secrets(&self, request: &PageRequest) -> Result<(), PageRefusal> {
        for TypedSecret { name, made_for, .. } in &self.secrets {
            let Some(field) = made_for else { continue };
            let found: SecretList =
                request.ask(path::SECRETS, &[("prefix", name.as_str()), ("limit", OBJECTS_MAX)]).await?;
            if found.secrets.iter().any(|secret| secret.name == *name) {
                let detail = format!("there is a secret {name} already");
                let fix = format!("write secret:{name} here if that is meant, or the name of another one");
                return Err(PageRefusal::field(field, detail, &fix));
            }
        }
        for TypedSecret { name, value, .. } in &self.secrets {
            let place = path::SECRET.replace("{name}", &segment(name));
            let _: ChangeDone = request.put(&place, None, &json!({ "value": value })).await?;
        }
        Ok(())
    }
}

pub(super) async fn new(request: PageRequest) -> Result<Response, PageRefusal> {
    let form = DestinationForm::of(&request, request.text("kind"), request.get(PLUGIN)).await?;
    let form = form.ok_or_else(PageRefusal::absent)?;
    let name = form.kind.plugin.clone().unwrap_or_else(|| form.kind.kind.clone());
    Ok(new_page(&request, &form, (&name, None), FormAnswer::default()))
}

fn new_page(
    request: &PageRequest,
    form: &DestinationForm,
    (name, written): (&str, Option<&PagePairs>),
    answer: FormAnswer,
) -> Response {
    let (above, status) = (answer.above(), answer.status());
    let FormAnswer { wrong, found, .. } = answer;
    let problems = FormProblems::new(wrong, found.as_deref());
    let fields = [("kind", form.kind.kind.as_str()), (PLUGIN, form.kind.plugin.as_deref().unwrap_or_default())];
    let content = html! {
        p.quiet { (short(&form.kind.description)) }
        (above)
        form.settings method="post" action=(request.to("/new/destination", &fields)) {
            div.field {
                label { span { "name (needed)" } input name="name" value=(name) required autocomplete="off" aria-describedby=[problems.id("name")]; }
                (problems.beside("name"))
            }
            (form.shown(name, (&Value::Null, written), &problems))
            (buttons("Save"))
        }
    };
    let title = format!("New destination: {}", short(&form.kind.title));
    let command = format!("tidegate object create destination {} --file FILE", short(name));
    ConsolePage { title: &title, at: "/destinations", command, updates: None, content }.show_as(status, request)
}

fn buttons(save: &str) -> Markup {
    html! {
        p.quiet { "A value that is typed for a secret is kept as that secret first, also for a test, and is shown to nobody." }
        div.actions {
            button type="submit" name="do" value="save" { (save) }
            button.plain type="submit" name="do" value="test" { "Test the connection" }
        }
    }
}

pub(super) async fn create(PageForm { request, mut fields }: PageForm) -> Result<Response, PageRefusal> {
    let form = DestinationForm::of(&request, request.text("kind"), request.get(PLUGIN)).await?;
    let form = form.ok_or_else(PageRefusal::absent)?;
    let name = fields.text("name").to_owned();
    let is_named = if name.is_empty() { Err(vec![WrongField::new("name", "it needs a name")]) } else { Ok(()) };
    let answer = match is_named.and_then(|()| form.written(&name, &fields, &Value::Null)) {
        Err(wrong) => Some(FormAnswer::of_wrong(wrong)),
        Ok(written) => FormAnswer::of(ordered(&request, (&name, None), &mut fields, written).await)?,
    };
    match answer {
        Some(answer) => Ok(new_page(&request, &form, (&name, Some(&fields)), answer)),
        None => Ok(go_to(&request.to(&format!("/destinations/{}", segment(&name)), &[]))),
    }
}

/// Does what the button of the form says: a try answers, a save does not.
async fn ordered(
    request: &PageRequest,
    (name, object): (&str, Option<&ShownObject>),
    fields: &mut PagePairs,
    written: WrittenSpec,
) -> Result<Option<ObjectTried>, PageRefusal> {
    written.keep_secrets(request).await?;
    write_references(fields, &written.secrets);
    let spec = written.spec;
    if fields.get("do") == Some("test") {
        let order = TryObject { spec: Some(spec), events: None, count: None };
        return request.order(&place(path::OBJECT_TEST, name), &order).await.map(Some);
    }
    let (labels, owner) = object.map(|object| (object.labels.clone(), object.owner.clone())).unwrap_or_default();
    let new = NewObject { name: name.to_owned(), labels, owner, spec };
    let _: ChangeDone = match object {
        Some(_) => request.put(&place(path::OBJECT, name), fields.get("revision"), &new).await?,
        None => request.order(&all(), &new).await?,
    };
    Ok(None)
}

pub(super) async fn show(Path(name): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let object: ShownObject = request.ask(&place(path::OBJECT, &name), &[]).await?;
    one_page(&request, &object, None, FormAnswer::default()).await
}

pub(super) async fn update(
    Path(name): Path<String>,
    PageForm { request, mut fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let object = as_asked(request.ask(&place(path::OBJECT, &name), &[]).await?, &fields);
    let form = DestinationForm::of(&request, object.spec["kind"].as_str().unwrap_or_default(), plugin_of(&object.spec));
    let form = form.await?.ok_or_else(PageRefusal::absent)?;
    let answer = match form.written(&name, &fields, &object.spec) {
        Err(wrong) => Some(FormAnswer::of_wrong(wrong)),
        Ok(written) => FormAnswer::of(ordered(&request, (&name, Some(&object)), &mut fields, written).await)?,
    };
    match answer {
        Some(answer) => one_page(&request, &object, Some(&fields), answer).await,
        None => Ok(go_to(&request.to(&format!("/destinations/{}", segment(&name)), &[]))),
    }
}

/// How a destination is, and its settings.
async fn one_page(
    request: &PageRequest,
    object: &ShownObject,
    written: Option<&PagePairs>,
    answer: FormAnswer,
) -> Result<Response, PageRefusal> {
    let (above, status) = (answer.above(), answer.status());
    let FormAnswer { wrong, found, .. } = answer;
    let problems = FormProblems::new(wrong, found.as_deref());
    let kind = object.spec["kind"].as_str().unwrap_or_default();
    let form = DestinationForm::of(request, kind, plugin_of(&object.spec)).await?;
    let users: Option<UsedBy> = request.ask_if_there(&place(path::OBJECT_USED_BY, &object.name), &[]).await?;
    let users = users.map(|users| users.objects).unwrap_or_default();
    let how = how(request, object, &users).await?;
    let settings = html! {
        @match (managed(object), &form, request.may_change()) {
            (None, Some(form), true) => {
                form.settings method="post" action=(request.to(&format!("/destinations/{}", segment(&object.name)), &[])) {
                    input type="hidden" name="revision" value=(object.revision);
                    (form.shown(&object.name, (&object.spec, written), &problems))
                    (buttons("Save"))
                }
            }
            (managed, ..) => {
                @if let Some(managed) = managed { (managed) }
                pre.data tabindex="0" { (pretty(&object.spec)) }
            }
        }
    };
    let content = html! {
        p { (kind_word(&object.spec)) " · " (state(object)) " · changed " (moment(&object.updated_at, request.now_us)) }
        (pause_form(request, object, None))
        (above)
        (how)
        section { h2 { "Settings" } (settings) }
    };
    let title = format!("Destination {}", short(&object.name));
    let command = format!("tidegate object test destination {}", short(&object.name));
    let page = ConsolePage { title: &title, at: "/destinations", command, updates: None, content };
    Ok(page.show_as(status, request))
}

/// Whether it runs, who uses it, what waits for it and what it has refused.
async fn how(request: &PageRequest, object: &ShownObject, users: &[ObjectName]) -> Result<Markup, PageRefusal> {
    let activity: ShownActivity = request.ask(path::ACTIVITY, &[("hours", HOURS)]).await?;
    let running: Option<RunningNow> = request.ask_if_there(path::RUNNING, &[]).await?;
    let running = running.unwrap_or_default();
    let behind: Vec<&str> = running
        .behind
        .iter()
        .filter(|one| one.object.kind == ObjectRefKind::Destination && one.object.key == object.name)
        .filter_map(|one| one.error.as_deref())
        .collect();
    let mut syncs = Vec::new();
    for user in users.iter().filter(|user| user.kind == "sync") {
        let of_sync = activity.syncs.iter().find(|sync| sync.sync == user.name);
        syncs.push((user.name.as_str(), of_sync, refused(request, &user.name).await?));
    }
    Ok(html! {
        @for why in behind { p.problem { bdi { (visible(why, FAILURE_CHARS_MAX)) } } }
        section {
            h2 { "Where it is used" }
            @if syncs.is_empty() { p.quiet { "No sync delivers to it. " a href=(request.to("/new/sync", &[(DESTINATION, object.name.as_str())])) { "Make one" } } }
            @for (name, of_sync, refused) in &syncs {
                article.card {
                    h3 { a href=(request.to(&format!("/syncs/{}", segment(name)), &[])) { (short(name)) } }
                    @match of_sync { Some(sync) => { (progress(sync, request)) } None => { p.quiet { "It does not run here." } } }
                    (refused)
                }
            }
        }
    })
}

fn progress(sync: &SyncActivity, request: &PageRequest) -> Markup {
    html! {
        dl.of-record {
            div { dt { "State" } dd { @if sync.failing { span.badge.bad { "failing" } } @else if sync.paused { span.badge.bad { "paused" } } @else { span.badge.good { "delivers" } } } }
            div { dt { "Last delivery" } dd { (moment_or(sync.delivered_at.as_deref(), "none yet", request.now_us)) } }
            div { dt { "Waiting in the log" } dd { (amount(sync.waiting)) } }
            div { dt { "Waiting for another try" } dd { (amount(sync.pending)) @if let Some(since) = &sync.pending_since { ", since " (moment(since, request.now_us)) } } }
        }
        @if sync.failing {
            p.problem { bdi { (visible(sync.failure.as_deref().unwrap_or("what has failed is for those who may see its events"), FAILURE_CHARS_MAX)) } }
        }
    }
}

/// What a sync has in quarantine, by reason, with a few events.
async fn refused(request: &PageRequest, sync: &str) -> Result<Markup, PageRefusal> {
    let counts: Option<EntryCounts> = request.ask_if_there(path::QUARANTINE_COUNTS, &[("sync", sync)]).await?;
    let groups = counts.unwrap_or_default().groups;
    if groups.is_empty() {
        return Ok(html! { p.quiet { "Nothing of it is in quarantine." } });
    }
    let entries: Option<QuarantineEntries> =
        request.ask_if_there(path::QUARANTINE, &[("sync", sync), ("limit", SAMPLES)]).await?;
    let entries = entries.map(|found| found.entries).unwrap_or_default();
    Ok(html! {
        h4 { "In quarantine, by reason" }
        ul {
            @for group in &groups {
                li {
                    a href=(request.to("/quarantine", &[("sync", sync), ("code", group.code.as_str())])) { (short(&group.code)) }
                    ": " (amount(group.entries)) @if let Some(event) = &group.event_name { " of " bdi { (short(event)) } }
                }
            }
        }
        @if !entries.is_empty() {
            p.quiet { "Such as" }
            ul {
                @for entry in &entries {
                    li {
                        a href=(request.to(&format!("/quarantine/entries/{}", entry.id), &[])) { "entry " (entry.id) }
                        @if let Some(message) = &entry.message { ": " bdi { (short(message)) } }
                    }
                }
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plugin_is_known_by_the_name_of_its_component() {
        let of = |component: &str| json!({"kind": "plugin", "component": component});
        assert_eq!(plugin_of(&of("components/slack.component.wasm")), Some("slack"));
        assert_eq!(plugin_of(&of("webhook.wasm")), Some("webhook"));
        assert_eq!(plugin_of(&of("")), None);
        assert_eq!(plugin_of(&json!({"kind": "postgres"})), None);
        assert_eq!(kind_word(&of("components/slack.component.wasm")), "plugin slack");
    }
}

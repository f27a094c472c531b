//! One event of a contract: its schema, what arrives of it, and a change of it, compared with recorded events before it is published.

use std::collections::BTreeMap;

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::{Value, json};
use tidegate_api_types::contract::{CreateDomain, EventDomain};
use tidegate_api_types::control::{DraftAction, DraftEdit, ProposeDraft, ShownDraft};
use tidegate_api_types::object::{ChangeDone, NewObject, ShownObject};
use tidegate_api_types::path;
use tidegate_api_types::traffic::{CompareTraffic, ContractTraffic, ProposedPart, SourceTraffic, TrafficFinding};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::contract_form::{EventForm, schema_tree};
use super::contract_parts::{ArrivedEvent, PartPlace, events_of, is_older_layout, part_names, parts, text, traffic};
use super::form_answer::FormAnswer;
use super::form_fields::{FormProblems, WrongField};
use super::layout::{ConsolePage, go_to};
use super::objects::{as_asked, managed};
use super::text::{amount, count, moment_or, pretty, short};
use super::violations::ViolationsView;

const EVENT: &str = "event";
const SLUG_CHARS_MAX: usize = 70;

/// What a page shows of a try: above the form, and in it.
#[derive(Default)]
struct EventAnswer {
    form: FormAnswer,
    compared: Option<ContractTraffic>,
    /// A sentence about what was done.
    notice: Option<String>,
}

impl EventAnswer {
    fn of_wrong(wrong: WrongField) -> Self {
        Self { form: FormAnswer::of_wrong(vec![wrong]), ..Self::default() }
    }

    fn of_refusal(refusal: PageRefusal) -> Result<Self, PageRefusal> {
        let found = Some(refusal.into_problem()?);
        Ok(Self { form: FormAnswer { found, ..FormAnswer::default() }, ..Self::default() })
    }

    fn above(&self, request: &PageRequest) -> Markup {
        html! {
            (self.form.above())
            @if let Some(notice) = &self.notice { p.good role="status" { (short(notice)) } }
            @if let Some(compared) = &self.compared { (compared_with(compared, request)) }
        }
    }
}

/// What a change would do to recorded events.
fn compared_with(found: &ContractTraffic, request: &PageRequest) -> Markup {
    html! {
        section role="status" {
            h2 { "Against recorded events" }
            @for source in &found.sources {
                p {
                    b { (short(&source.source)) } ": of " (amount(source.read)) " events "
                    @for (outcome, events) in &source.outcomes { span.badge.bad[outcome == "newly-blocked" && *events > 0] { (amount(*events)) " " (short(&outcome.replace('-', " "))) } " " }
                }
                @if source.masked { p.notice { "You may not see the events of this source: what is different is not told." } }
                @if !source.differences.is_empty() {
                    ul {
                        @for one in &source.differences {
                            li {
                                (amount(one.events)) " " b { (short(&one.outcome.replace('-', " "))) } ": " bdi { (short(&one.event)) }
                                @if one.finding.is_empty() { ", by its policy" } @else { ", " bdi { (short(&one.finding)) } }
                                (samples(&one.samples, request))
                            }
                        }
                    }
                }
            }
        }
    }
}

fn samples(ids: &[String], request: &PageRequest) -> Markup {
    html! {
        @if !ids.is_empty() {
            " – such as "
            @for id in ids { a href=(request.to("/trace", &[("message_id", id.as_str())])) { (short(id)) } " " }
        }
    }
}

/// The object of an event, by the slugs of its domain and its own.
async fn found(request: &PageRequest, domain: &str, event: &str) -> Result<ShownObject, PageRefusal> {
    let place = PartPlace { domain: domain.to_owned(), event: Some(event.to_owned()) };
    let all = parts(request, EVENT).await?;
    all.into_iter().find(|one| PartPlace::of(&one.name).as_ref() == Some(&place)).ok_or_else(PageRefusal::absent)
}

pub(super) async fn show(
    Path((domain, event)): Path<(String, String)>,
    request: PageRequest,
) -> Result<Response, PageRefusal> {
    let object = found(&request, &domain, &event).await?;
    one_page(&request, &object, &EventForm::of(&object.spec), EventAnswer::default()).await
}

pub(super) async fn update(
    Path((domain, event)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let object = as_asked(found(&request, &domain, &event).await?, &fields);
    let mut form = EventForm::of(&object.spec);
    form.write(&fields);
    let answer = match fields.text("do") {
        "infer" => inferred(&request, &mut form, None).await,
        action => match form.spec() {
            Err(wrong) => return one_page(&request, &object, &form, EventAnswer::of_wrong(wrong)).await,
            Ok(spec) if action == "compare" => compare(&request, vec![(object.name.clone(), spec)]).await,
            Ok(spec) => publish(&request, &object, (spec, &fields)).await,
        },
    };
    let answer = match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => {
            let here = format!("/contracts/{}/{}", segment(&domain), segment(&event));
            return Ok(go_to(&request.to(&here, &[])));
        }
        Err(refusal) => EventAnswer::of_refusal(refusal)?,
    };
    one_page(&request, &object, &form, answer).await
}

/// Holds contracts as they would be against recorded events.
async fn compare(request: &PageRequest, parts: Vec<(String, Value)>) -> Result<Option<EventAnswer>, PageRefusal> {
    let proposed = parts.into_iter().map(|(name, spec)| ProposedPart { name, spec }).collect();
    let compared: ContractTraffic = request.order(path::CONTRACT_TRAFFIC, &CompareTraffic { proposed }).await?;
    Ok(Some(EventAnswer { compared: Some(compared), ..EventAnswer::default() }))
}

/// Writes the schema that takes what was recorded into the form.
async fn inferred(
    request: &PageRequest,
    form: &mut EventForm,
    source: Option<&str>,
) -> Result<Option<EventAnswer>, PageRefusal> {
    let found = traffic(request, &[("infer", "true"), ("source", source.unwrap_or_default())]).await?;
    let (kind, name) = (form.text("type").to_owned(), form.text("name").to_owned());
    let name = Some(name).filter(|name| !name.is_empty());
    let mut all = found.sources.iter().flat_map(|source| &source.events);
    let schema = all.find_map(|event| event.schema.as_ref().filter(|_| event.kind == kind && event.name == name));
    let Some(schema) = schema else {
        let says = "no event of this type and name that you may see is among the newest records of the log";
        return Ok(Some(EventAnswer::of_wrong(WrongField::new("schema", says))));
    };
    form.schema = serde_json::to_string_pretty(schema).unwrap_or_default();
    let notice =
        Some("The schema takes all events of this name that were looked at. Nothing was changed yet.".to_owned());
    Ok(Some(EventAnswer { notice, ..EventAnswer::default() }))
}

/// Makes the event so, or proposes it to somebody else.
async fn publish(
    request: &PageRequest,
    object: &ShownObject,
    (spec, fields): (Value, &PagePairs),
) -> Result<Option<EventAnswer>, PageRefusal> {
    let (labels, owner) = (object.labels.clone(), object.owner.clone());
    let new = NewObject { name: object.name.clone(), labels, owner, spec };
    if fields.text("do") == "propose" {
        let edit = DraftEdit {
            action: DraftAction::Update,
            kind: EVENT.to_owned(),
            object: Some(object.id.clone()),
            content: Some(new),
        };
        return propose(request, &object.name, vec![edit]).await.map(Some);
    }
    let place = path::OBJECT.replace("{kind}", EVENT).replace("{name}", &segment(&object.id));
    let _: ChangeDone = request.put(&place, fields.get("revision"), &new).await?;
    Ok(None)
}

async fn propose(request: &PageRequest, name: &str, edits: Vec<DraftEdit>) -> Result<EventAnswer, PageRefusal> {
    let draft = ProposeDraft { title: format!("Contract {name}"), edits };
    let made: ShownDraft = request.order(path::DRAFTS, &draft).await?;
    let notice = Some(format!("Proposed as the draft {}. Somebody else approves it.", made.id));
    Ok(EventAnswer { notice, ..EventAnswer::default() })
}

async fn one_page(
    request: &PageRequest,
    object: &ShownObject,
    form: &EventForm,
    answer: EventAnswer,
) -> Result<Response, PageRefusal> {
    let (above, status) = (answer.above(request), answer.form.status());
    let FormAnswer { wrong, found, .. } = answer.form;
    let problems = FormProblems::new(wrong, found.as_deref());
    let arrives = traffic(request, &[]).await?;
    let kind = text(&object.spec, "type");
    let name = object.spec["name"].as_str().filter(|name| !name.is_empty());
    let place = PartPlace::of(&object.name).ok_or_else(PageRefusal::absent)?;
    let event = place.event.unwrap_or_default();
    let here = format!("/contracts/{}/{}", segment(&place.domain), segment(&event));
    // The name of any other is a label.
    let counted_as = name.filter(|_| matches!(kind, "track" | "page" | "screen")).unwrap_or_default();
    let of = [("type", kind), ("event", counted_as)];
    let over_time = ViolationsView { here: &here, of: &of }.shown(request).await?;
    let domain_page = format!("/contracts/{}", segment(&place.domain));
    let content = html! {
        p { (short(kind)) " in the domain " a href=(request.to(&domain_page, &[])) { (short(&place.domain)) } }
        (above)
        (form.doubts())
        (arrived(&ArrivedEvent::of(&arrives, kind, name), request))
        (violations(&arrives, (kind, name), request))
        (over_time)
        section { h2 { "Schema" } (schema_tree(&object.spec["schema"])) }
        section {
            h2 { "Change it" }
            @match (managed(object), request.may_propose_or_change()) {
                (None, true) => {
                    form.settings method="post" action=(request.to(&here, &[])) {
                        input type="hidden" name="revision" value=(object.revision);
                        (form.shown(false, &problems))
                        (buttons(request))
                    }
                }
                (managed, _) => {
                    @if let Some(managed) = managed { (managed) }
                    pre.data tabindex="0" { (pretty(&object.spec)) }
                }
            }
        }
    };
    let title = format!("Contract {}", short(name.unwrap_or(&event)));
    let command = "tidegate contract diff OLD NEW; tidegate contract infer".to_owned();
    let page = ConsolePage { title: &title, at: "/contracts", command, updates: None, content };
    Ok(page.show_as(status, request))
}

fn buttons(request: &PageRequest) -> Markup {
    html! {
        div.actions {
            @if request.may_change() { button type="submit" name="do" value="publish" { "Publish" } }
            @if request.may_propose() { button.plain type="submit" name="do" value="propose" { "Propose as a draft" } }
            button.plain type="submit" name="do" value="compare" { "Compare with recorded events" }
            button.plain type="submit" name="do" value="infer" { "Infer the schema from recorded events" }
        }
    }
}

fn arrived(arrived: &ArrivedEvent, request: &PageRequest) -> Markup {
    html! {
        dl.of-record {
            div { dt { "Looked at" } dd { (amount(arrived.seen)) } }
            div { dt { "Break the contract" } dd { (amount(arrived.violating)) ", " (arrived.share()) } }
            div { dt { "Blocked" } dd { (amount(arrived.blocked)) } }
            div { dt { "Counted so far" } dd { (arrived.total.map_or_else(|| "–".to_owned(), count)) } }
            div { dt { "First seen" } dd { (moment_or(arrived.first_at.as_deref(), "never", request.now_us)) } }
            div { dt { "Last seen" } dd { (moment_or(arrived.last_at.as_deref(), "never", request.now_us)) } }
        }
    }
}

fn violations(arrives: &ContractTraffic, (kind, name): (&str, Option<&str>), request: &PageRequest) -> Markup {
    let all: Vec<(&SourceTraffic, &TrafficFinding)> = arrives
        .sources
        .iter()
        .flat_map(|source| {
            events_of(source, kind, name).flat_map(move |event| event.findings.iter().map(move |one| (source, one)))
        })
        .collect();
    html! {
        section {
            h2 { "What does not fit" }
            @if all.is_empty() { p.good { "Everything that was looked at is as the contract says." } }
            @else {
                div.scroll tabindex="0" role="region" aria-label="What does not fit" {
                    table.stacked {
                        thead { tr {
                            th scope="col" { "Kind" } th scope="col" { "Where" } th scope="col" { "What" } th.number scope="col" { "Events" }
                            th scope="col" { "Sent by" } th scope="col" { "Such as" }
                        } }
                        tbody {
                            @for (source, finding) in &all {
                                tr {
                                    th scope="row" { (short(&finding.keyword)) }
                                    td data-of="Where" { code { bdi { (short(&finding.place)) } } }
                                    td.detail data-of="What" { bdi { (short(&finding.says)) } }
                                    td.number data-of="Events" { (amount(finding.events)) }
                                    td data-of="Sent by" { @for sender in finding.senders.iter().filter(|sender| !sender.sender.is_empty()) { (short(&sender.sender)) " (" (amount(sender.events)) ") " } }
                                    td data-of="Such as" {
                                        @for id in &finding.samples { a href=(request.to("/trace", &[("message_id", id.as_str())])) { (short(id)) } " " }
                                        a href=(request.to("/quarantine", &[("stage", "contract"), ("source", source.source.as_str())])) { "quarantine" }
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

/// What the form of a new event shows beside its fields.
struct NewEvent {
    source: String,
    /// The slug of a domain that is there.
    domain: String,
    /// The name of a domain that is made for it.
    new_domain: String,
    slug: String,
    domains: Vec<ShownObject>,
}

impl NewEvent {
    async fn of(request: &PageRequest, fields: &PagePairs, form: &EventForm) -> Result<Self, PageRefusal> {
        let domains = parts(request, "domain").await?;
        let slug = fields.get("slug").map_or_else(|| slug(form), str::to_owned);
        let text = |name: &str| fields.text(name).to_owned();
        Ok(Self { source: text("source"), domain: text("domain"), new_domain: text("new_domain"), slug, domains })
    }

    /// The objects that it takes: of a new domain two.
    fn made(&self, spec: &Value) -> Result<Vec<(&'static str, String, Value)>, WrongField> {
        let is_older = is_older_layout(&self.domains);
        let new_domain = if self.new_domain.is_empty() { String::new() } else { slug_of(&self.new_domain) };
        let domain = if new_domain.is_empty() { self.domain.as_str() } else { new_domain.as_str() };
        if domain.is_empty() {
            return Err(WrongField::new("domain", "choose a domain, or name a new one"));
        }
        let (domain_name, name) = part_names(is_older, domain, &self.slug);
        let mut made = Vec::new();
        if !new_domain.is_empty() {
            let sources: &[String] = if self.source.is_empty() { &[] } else { std::slice::from_ref(&self.source) };
            made.push(("domain", domain_name, json!({"name": self.new_domain, "sources": sources})));
        }
        made.push((EVENT, name, spec.clone()));
        Ok(made)
    }

    fn shown(&self, problems: &FormProblems<'_>) -> Markup {
        html! {
            input type="hidden" name="source" value=(self.source);
            div.field {
                label {
                    span { "domain" }
                    select name="domain" {
                        option value="" { "–" }
                        @for slug in self.domains.iter().filter_map(|domain| PartPlace::of(&domain.name)).map(|place| place.domain) {
                            option value=(slug) selected[slug == self.domain] { (short(&slug)) }
                        }
                    }
                }
                label { span { "or a new domain" } input name="new_domain" value=(self.new_domain) autocomplete="off"; }
                @if !self.source.is_empty() { span.quiet { "A new one applies to the source " (short(&self.source)) "." } }
                (problems.beside("domain"))
            }
            div.field {
                label { span { "file name" } input name="slug" value=(self.slug) autocomplete="off"; }
                (problems.beside("slug"))
            }
        }
    }
}

fn slug(form: &EventForm) -> String {
    slug_of(&format!("{} {}", form.text("type"), form.text("name")))
}

fn slug_of(text: &str) -> String {
    let mut slug = String::new();
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') {
            slug.push('-');
        }
    }
    // All of it is ASCII.
    slug.truncate(SLUG_CHARS_MAX);
    slug.trim_end_matches('-').to_owned()
}

pub(super) async fn new(request: PageRequest) -> Result<Response, PageRefusal> {
    let mut spec = json!({"type": "track", "onUndeclaredFields": "ALLOW_EVENT", "schema": {"type": "object"}});
    for name in ["type", "name"] {
        if let Some(value) = request.get(name) {
            spec[name] = value.into();
        }
    }
    let mut form = EventForm::of(&spec);
    let answer = inferred(&request, &mut form, request.get("source")).await?;
    let answer = answer.filter(|answer| answer.form.wrong.is_empty()).unwrap_or_default();
    let mut fields = PagePairs::default();
    fields.add("source", request.text("source"));
    let place = NewEvent::of(&request, &fields, &form).await?;
    Ok(new_page(&request, (&place, &form), answer))
}

fn new_page(request: &PageRequest, (place, form): (&NewEvent, &EventForm), answer: EventAnswer) -> Response {
    let (above, status) = (answer.above(request), answer.form.status());
    let FormAnswer { wrong, found, .. } = answer.form;
    let problems = FormProblems::new(wrong, found.as_deref());
    let content = html! {
        (above)
        (form.doubts())
        form.settings method="post" action=(request.to("/new/contract", &[])) {
            (place.shown(&problems))
            (form.shown(true, &problems))
            (buttons(request))
        }
    };
    let command = "tidegate contract infer --source NAME --out DIR".to_owned();
    ConsolePage { title: "New contract", at: "/contracts", command, updates: None, content }.show_as(status, request)
}

pub(super) async fn create(PageForm { request, fields }: PageForm) -> Result<Response, PageRefusal> {
    let mut form = EventForm::of(&json!({"schema": {}}));
    form.write(&fields);
    let place = NewEvent::of(&request, &fields, &form).await?;
    let answer = match fields.text("do") {
        "infer" => inferred(&request, &mut form, fields.get("source")).await,
        action => match form.spec().and_then(|spec| place.made(&spec)) {
            Err(wrong) => Ok(Some(EventAnswer::of_wrong(wrong))),
            Ok(made) if action == "compare" => {
                compare(&request, made.into_iter().map(|(_, name, spec)| (name, spec)).collect()).await
            }
            Ok(made) => make(&request, made, action == "propose").await,
        },
    };
    let answer = match answer {
        Ok(Some(answer)) => answer,
        Ok(None) => return Ok(go_to(&request.to("/contracts", &[]))),
        Err(refusal) => EventAnswer::of_refusal(refusal)?,
    };
    Ok(new_page(&request, (&place, &form), answer))
}

/// Makes the objects, all or none, or proposes them.
async fn make(
    request: &PageRequest,
    made: Vec<(&'static str, String, Value)>,
    is_draft: bool,
) -> Result<Option<EventAnswer>, PageRefusal> {
    let new = |name: &str, spec: &Value| NewObject {
        name: name.to_owned(),
        labels: BTreeMap::new(),
        owner: None,
        spec: spec.clone(),
    };
    if is_draft {
        let title = made.last().map(|(_, name, _)| name.clone()).unwrap_or_default();
        let edit = |(kind, name, spec): &(&str, String, Value)| DraftEdit {
            action: DraftAction::Create,
            kind: (*kind).to_owned(),
            object: None,
            content: Some(new(name, spec)),
        };
        return propose(request, &title, made.iter().map(edit).collect()).await.map(Some);
    }
    match made.as_slice() {
        // Both or none: so the API makes a domain with its events.
        [(_, domain, of_domain), (_, name, spec)] => {
            let order = whole_domain((domain.as_str(), of_domain), (name.as_str(), spec))?;
            let _: EventDomain = request.order(path::EVENT_DOMAINS, &order).await?;
        }
        others => {
            for (kind, name, spec) in others {
                let _: ChangeDone = request.order(&path::OBJECTS.replace("{kind}", kind), &new(name, spec)).await?;
            }
        }
    }
    Ok(None)
}

/// A domain with one event, in the shape in which both are made at once.
fn whole_domain(
    (domain, of_domain): (&str, &Value),
    (name, spec): (&str, &Value),
) -> Result<CreateDomain, PageRefusal> {
    let slug = |name: &str| PartPlace::of(name);
    let mut event = spec.clone();
    event["slug"] = slug(name).and_then(|place| place.event).unwrap_or_default().into();
    let order = json!({
        "name": of_domain["name"], "slug": slug(domain).map(|place| place.domain).unwrap_or_default(),
        "sources": of_domain["sources"], "events": [event],
    });
    serde_json::from_value(order).map_err(|error| {
        let status = hyper::StatusCode::UNPROCESSABLE_ENTITY;
        PageRefusal::new(status, "contract", format!("the event does not fit: {error}"), "see docs/contracts.md")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_new_event_gets_a_file_name_and_a_new_domain_its_own_object() {
        let form = EventForm::of(&json!({"type": "track", "name": "Order <Completed>!", "schema": {}}));
        assert_eq!(slug(&form), "track-order-completed");
        let place = |domain: &str, new_domain: &str| NewEvent {
            source: "web".to_owned(),
            domain: domain.to_owned(),
            new_domain: new_domain.to_owned(),
            slug: "sold".to_owned(),
            domains: Vec::new(),
        };
        let spec = json!({"type": "track", "name": "Sold", "schema": {}});
        assert!(place("", "").made(&spec).is_err());
        let made = place("shop", "").made(&spec).unwrap();
        assert_eq!(made, [(EVENT, "domains/shop/sold.yaml".to_owned(), spec.clone())]);
        let made = place("", "My Shop").made(&spec).unwrap();
        let domain = json!({"name": "My Shop", "sources": ["web"]});
        assert_eq!(made[0], ("domain", "domains/my-shop/domain.yaml".to_owned(), domain.clone()));
        let order = whole_domain((made[0].1.as_str(), &made[0].2), (made[1].1.as_str(), &made[1].2)).unwrap();
        assert_eq!((order.slug.as_deref(), order.events.unwrap()[0].slug.as_deref()), (Some("my-shop"), Some("sold")));
    }
}

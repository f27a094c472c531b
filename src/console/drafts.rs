//! Changes that wait for somebody else to approve them.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use tidegate_api_types::control::{ApproveDraft, Drafts, ShownDraft, ShownDraftState};
use tidegate_api_types::object::{ChangeDone, WorkspaceQuery};
use tidegate_api_types::path;

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::fields::FormState;
use super::layout::{ConsolePage, go_to};
use super::text::{compact, moment, moment_or, short};

const FIELDS: [&str; 2] = ["drain", "abandon"];

pub(super) async fn list(request: PageRequest) -> Result<Response, PageRefusal> {
    let found: Drafts = request.ask(path::DRAFTS, &[]).await?;
    let content = html! {
        p.quiet { "Who may only propose makes drafts; somebody else approves them, with rights of their own." }
        @if found.drafts.is_empty() {
            p { "There is no draft that you may see." }
        } @else {
            div.scroll tabindex="0" role="region" aria-label="Drafts" {
                table {
                    thead { tr { th scope="col" { "Draft" } th scope="col" { "State" } th scope="col" { "Objects" } th scope="col" { "Proposed" } th scope="col" { "Author" } } }
                    tbody {
                        @for draft in &found.drafts {
                            tr {
                                th scope="row" { a href=(request.to(&format!("/drafts/{}", segment(&draft.id)), &[])) { bdi { (short(&draft.title)) } } }
                                td { (state(draft)) }
                                td.number { (draft.objects.len()) }
                                td { (moment(&draft.proposed_at, request.now_us)) }
                                td { bdi { (short(draft.author_name.as_ref().unwrap_or(&draft.author))) } }
                            }
                        }
                    }
                }
            }
        }
    };
    let command = "tidegate draft list".to_owned();
    Ok(ConsolePage { title: "Drafts", at: "/drafts", command, updates: None, content }.show(&request))
}

fn state(draft: &ShownDraft) -> Markup {
    let word = match draft.state {
        ShownDraftState::Open => "open",
        ShownDraftState::Approved => "approved",
        ShownDraftState::Declined => "declined",
        ShownDraftState::Withdrawn => "withdrawn",
    };
    html! {
        span.badge.good[draft.state == ShownDraftState::Approved] { (word) }
        @if draft.stale.is_some() && draft.state == ShownDraftState::Open { " " span.badge.bad { "stale" } }
    }
}

pub(super) async fn show(Path(id): Path<String>, request: PageRequest) -> Result<Response, PageRefusal> {
    let values = PagePairs::default();
    page(&request, &id, FormState::new(&values, None)).await
}

async fn page(request: &PageRequest, id: &str, form: FormState<'_>) -> Result<Response, PageRefusal> {
    let draft: ShownDraft = request.ask(&path::DRAFT.replace("{name}", &segment(id)), &[]).await?;
    let is_open = draft.state == ShownDraftState::Open;
    let at = |verb: &str| request.to(&format!("/drafts/{}/{verb}", segment(&draft.id)), &[]);
    let content = html! {
        p { (state(&draft)) " proposed " (moment(&draft.proposed_at, request.now_us)) " by " bdi { (short(draft.author_name.as_ref().unwrap_or(&draft.author))) } ", from revision " (draft.base_revision) }
        @if !is_open { p { "Decided " (moment_or(draft.decided_at.as_deref(), "by nobody", request.now_us)) @if let Some(by) = draft.decided_by_name.as_ref().or(draft.decided_by.as_ref()) { " by " bdi { (short(by)) } } @if let Some(revision) = draft.revision { ", revision " (revision) } } }
        @if let Some(stale) = &draft.stale { p.problem { (short(&stale.kind)) " " (short(&stale.name)) " has changed since: it cannot be approved any more." } }
        (form.top(&FIELDS))
        h2 { "What it would do" }
        @for object in &draft.objects {
            article.card {
                h3 { (short(&object.kind)) " " bdi { (short(&object.name)) } " " span.badge.bad[object.action == "deleted"] { (short(&object.action)) } }
                @if !object.fields.is_empty() {
                    div.scroll tabindex="0" role="region" aria-label={ "Fields of " (short(&object.name)) } {
                        table {
                            thead { tr { th scope="col" { "Field" } th scope="col" { "Before" } th scope="col" { "After" } } }
                            tbody {
                                @for field in &object.fields {
                                    tr {
                                        th scope="row" { bdi { (short(&field.field)) } }
                                        td.before { bdi { (field.before.as_ref().map_or_else(|| "–".to_owned(), compact)) } }
                                        td.after { bdi { (field.after.as_ref().map_or_else(|| "–".to_owned(), compact)) } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
        @if is_open && request.may_change() {
            form.fields method="post" action=(at("approve")) data-confirm="Make this change now?" {
                (form.text("drain", "What waits for these syncs that end by it is delivered first", "names with spaces between"))
                (form.text("abandon", "What waits for these is given up", "names with spaces between"))
                button type="submit" { "Approve" }
            }
        }
        @if is_open && request.may_propose_or_change() {
            form.action method="post" action=(at("close")) { button type="submit" { "Decline, or take it back" } }
        }
        p { a href=(request.to("/drafts", &[])) { "Back to the drafts" } }
    };
    let title = format!("Draft: {}", short(&draft.title));
    let command = format!("tidegate draft show {}", short(&draft.id));
    Ok(ConsolePage { title: &title, at: "/drafts", command, updates: None, content }.show_after(form.problem, request))
}

/// Approves a draft, or ends it without.
pub(super) async fn act(
    Path((id, verb)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let at = |path: &str| path.replace("{name}", &segment(&id));
    let names = |field: &str| fields.text(field).split_whitespace().map(str::to_owned).collect::<Vec<String>>();
    let done = match verb.as_str() {
        "approve" => {
            let named = ApproveDraft { drain: names("drain"), abandon: names("abandon") };
            request.order::<ChangeDone>(&at(path::DRAFT_APPROVE), &named).await.map(drop)
        }
        "close" => request.order::<ShownDraft>(&at(path::DRAFT_CLOSE), &WorkspaceQuery::default()).await.map(drop),
        _ => return Err(PageRefusal::absent()),
    };
    match done {
        Ok(()) => Ok(go_to(&request.to(&format!("/drafts/{}", segment(&id)), &[]))),
        Err(error) => {
            let problem = error.of_form()?;
            page(&request, &id, FormState::new(&fields, Some(&problem))).await
        }
    }
}

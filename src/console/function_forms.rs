//! What is done with functions: forms, and the requests of the API that they become.

use std::collections::BTreeSet;

use axum::extract::Path;
use axum::response::Response;
use hyper::StatusCode;
use maud::{Markup, html};
use tidegate_api_types::function::{ChangeCanary, OfSource, ShownFunction};
use tidegate_api_types::path;
use tidegate_api_types::version::{ChangeSettings, MakeLive, RollBack, Version};

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::layout::go_to;
use super::settings_form::{settings_of, with_secrets_of};
use super::text::short;

/// Where the API has something of a function.
pub(super) fn at(path: &str, name: &str) -> String {
    path.replace("{name}", &segment(name))
}

/// The page of a function.
pub(super) fn page_of(request: &PageRequest, name: &str) -> String {
    request.to(&format!("/functions/{}", segment(name)), &[])
}

/// Where a form of a function goes.
fn action(request: &PageRequest, name: &str, verb: &str) -> String {
    request.to(&format!("/functions/{}/{verb}", segment(name)), &[])
}

/// Makes a version live with the settings that there are.
pub(super) fn live_button(name: &str, version: &Version, request: &PageRequest) -> Markup {
    html! {
        form.action method="post" action=(action(request, name, "live")) {
            input type="hidden" name="sha256" value=(version.sha256);
            button type="submit" { "Make live" }
        }
    }
}

/// Goes back, if there is something to go back to.
pub(super) fn rollback_form(found: &ShownFunction, request: &PageRequest) -> Markup {
    html! {
        @if found.canary.is_some() || found.previous.is_some() {
            form.action method="post" action=(action(request, &found.name, "rollback")) data-confirm="Roll back?" {
                button type="submit" {
                    @if found.canary.is_some() { "End what is tried" } @else { "Roll back to the version before" }
                }
                code.quiet { "tidegate function rollback " (short(&found.name)) }
            }
        }
    }
}

/// Begins a canary or a shadow.
pub(super) fn rollout_form(found: &ShownFunction, versions: &[Version], request: &PageRequest) -> Markup {
    let live = found.live.as_ref().map(|live| live.sha256.as_str());
    let others: Vec<&Version> = versions.iter().filter(|version| Some(version.sha256.as_str()) != live).collect();
    html! {
        @if live.is_none() {
            p.quiet { "Nothing is live yet." }
        } @else if others.is_empty() {
            p.quiet { "There is no other version." }
        } @else {
            form.filter method="post" action=(action(request, &found.name, "canary")) {
                label {
                    "Version"
                    select name="sha256" {
                        @for version in others { option value=(version.sha256) { (version.sha256.chars().take(12).collect::<String>()) } }
                    }
                }
                label {
                    "How"
                    select name="how" {
                        option value="shadow" { "shadow: compare, use nothing" }
                        option value="share" { "canary: a share of the batches" }
                    }
                }
                label { "Share, %" input name="share" value="10" inputmode="numeric" autocomplete="off"; }
                button type="submit" { "Try it" }
            }
        }
    }
}

/// Which sources it sees.
pub(super) fn attach_form(found: &ShownFunction, sources: &BTreeSet<String>, request: &PageRequest) -> Markup {
    let others: Vec<&String> = sources.iter().filter(|source| !found.attached.contains(source)).collect();
    html! {
        @for source in &found.attached {
            form.action method="post" action=(action(request, &found.name, "detach")) {
                input type="hidden" name="source" value=(source);
                button.plain type="submit" { "Detach from " (short(source)) }
            }
        }
        @if !others.is_empty() {
            form.filter method="post" action=(action(request, &found.name, "attach")) {
                label { "Source" select name="source" { @for source in others { option value=(source) { (short(source)) } } } }
                button type="submit" { "Attach" }
            }
        }
    }
}

/// Uploads a component. A form of HTML would pack the file in, which the API does not take: a module of the page sends it.
pub(super) fn upload_form(name: &str, request: &PageRequest) -> Markup {
    let (to, page) = (request.api_place(&at(path::FUNCTION_VERSIONS, name), &[]), page_of(request, name));
    html! {
        p.quiet { "A component that was built elsewhere: " code { "tidegate function build" } "." }
        div.action #upload data-to=(to) data-page=(page) hidden {
            label { "Component" input #upload-file type="file" accept=".wasm"; }
            button #upload-send type="button" { "Upload" }
            span #upload-state role="status" {}
        }
        noscript { p.notice { "To upload from here takes JavaScript. Without it: " code { "tidegate function push FILE --no-live" } } }
    }
}

/// Does what a button says.
pub(super) async fn change(
    Path((name, verb)): Path<(String, String)>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let order_at = |path: &str| at(path, &name);
    let sha256 = fields.text("sha256").to_owned();
    let source = OfSource { source: fields.text("source").to_owned() };
    let _: ShownFunction = match verb.as_str() {
        "live" => {
            let order = MakeLive { sha256, settings: None, force: false };
            request.order(&order_at(path::FUNCTION_LIVE), &order).await?
        }
        "rollback" => request.order(&order_at(path::FUNCTION_ROLLBACK), &RollBack {}).await?,
        "canary" => request.order(&order_at(path::FUNCTION_CANARY), &rollout(sha256, &fields)?).await?,
        "attach" => request.order(&order_at(path::FUNCTION_ATTACH), &source).await?,
        "detach" => request.order(&order_at(path::FUNCTION_DETACH), &source).await?,
        _ => return Err(PageRefusal::absent()),
    };
    Ok(go_to(&page_of(&request, &name)))
}

/// The canary or shadow that a form asks for.
fn rollout(sha256: String, fields: &PagePairs) -> Result<ChangeCanary, PageRefusal> {
    let order = ChangeCanary { sha256: Some(sha256), ..ChangeCanary::default() };
    if fields.text("how") != "share" {
        return Ok(ChangeCanary { shadow: Some(true), ..order });
    }
    let share = fields.get("share").and_then(|share| share.parse().ok()).ok_or_else(|| {
        let detail = "a share is a whole number of percent from 1 to 99";
        PageRefusal::new(StatusCode::UNPROCESSABLE_ENTITY, "share", detail, "go back and write one")
    })?;
    Ok(ChangeCanary { share: Some(share), ..order })
}

/// Changes the settings of the live version.
pub(super) async fn settings(
    Path(name): Path<String>,
    PageForm { request, fields }: PageForm,
) -> Result<Response, PageRefusal> {
    let found: ShownFunction = request.ask(&at(path::FUNCTION, &name), &[]).await?;
    let versions = found.versions.unwrap_or_default();
    let (live, before) = found.live.map(|live| (live.sha256, live.settings)).unwrap_or_default();
    let schema =
        versions.into_iter().find(|version| version.sha256 == live).and_then(|version| version.settings_schema);
    let settings = with_secrets_of(before.as_ref(), settings_of(schema.as_ref(), &fields)?)?;
    let order = ChangeSettings { settings };
    let _: ShownFunction = request.order(&at(path::FUNCTION_SETTINGS, &name), &order).await?;
    Ok(go_to(&page_of(&request, &name)))
}

//! Objects that stop and go on: how they are, and the button.

use axum::extract::Path;
use axum::response::Response;
use maud::{Markup, html};
use serde_json::json;
use tidegate_api_types::object::{ChangeDone, ShownObject};
use tidegate_api_types::path;

use super::ask::{PageForm, PagePairs, PageRefusal, PageRequest, segment};
use super::layout::go_to;
use super::text::short;

/// Kinds of objects that stop and go on, each with its page.
const PAUSED: [(&str, &str); 3] = [("source", "/sources"), ("sync", "/syncs"), ("destination", "/destinations")];

/// That the files of a folder say what an object is, and how it is changed then; none where it is changed here.
pub(super) fn managed(object: &ShownObject) -> Option<Markup> {
    let by = object.managed_by.as_ref()?;
    let file = by.file.as_deref().map_or_else(|| "a file of the folder".to_owned(), short);
    let how = if by.applied { "tidegate apply DIR --server …" } else { "tidegate reload" };
    Some(html! {
        p.notice {
            "A file says what this is: " code { (file) } ". Change it there, then run " code { (how) } ". To change it here instead, release it first: "
            code { "POST /api/v1/objects/" (object.kind) "/" (short(&object.name)) "/release" } "."
            @if by.drifted { " It was changed by other means since the file was read." }
        }
    })
}

/// The object for a form that comes back: of the revision that the form was made from. With that of now the next save would undo what somebody else
/// has changed meanwhile.
pub(super) fn as_asked(object: ShownObject, fields: &PagePairs) -> ShownObject {
    let revision = fields.get("revision").and_then(|revision| revision.parse().ok()).unwrap_or(object.revision);
    ShownObject { revision, ..object }
}

/// Whether it is paused, and by whom.
pub(super) fn state(object: &ShownObject) -> Markup {
    html! {
        @if object.paused {
            span.badge.bad { "paused" }
        } @else if object.spec["paused"] == true {
            span.badge.bad { "paused by its file" }
        } @else {
            span.badge.good { "running" }
        }
    }
}

/// A button that stops an object, or has it go on; `back` is `list` where it stands among others.
pub(super) fn pause_form(request: &PageRequest, object: &ShownObject, back: Option<&str>) -> Markup {
    let verb = if object.paused { "resume" } else { "pause" };
    let action = format!("/objects/{}/{}/{verb}", segment(&object.kind), segment(&object.name));
    html! {
        @if request.may_change() && object.spec["paused"] != true {
            form.action method="post" action=(request.to(&action, &[])) {
                @if let Some(back) = back { input type="hidden" name="back" value=(back); }
                button type="submit" { @if object.paused { "Resume" } @else { "Pause" } }
                code.quiet { "tidegate object " (verb) " " (object.kind) " " (short(&object.name)) }
            }
        }
    }
}

/// Stops an object for now, or has it go on.
pub(super) async fn change(
    Path((kind, name, verb)): Path<(String, String, String)>,
    form: PageForm,
) -> Result<Response, PageRefusal> {
    let (_, page) = PAUSED.into_iter().find(|(known, _)| *known == kind).ok_or_else(PageRefusal::absent)?;
    let path = match verb.as_str() {
        "pause" => path::OBJECT_PAUSE,
        "resume" => path::OBJECT_RESUME,
        _ => return Err(PageRefusal::absent()),
    };
    let place = path.replace("{kind}", &kind).replace("{name}", &segment(&name));
    let _: ChangeDone = form.request.order(&place, &json!({})).await?;
    let is_of_list = form.fields.get("back") == Some("list");
    let back = if is_of_list { page.to_owned() } else { format!("{page}/{}", segment(&name)) };
    Ok(go_to(&form.request.to(&back, &[])))
}

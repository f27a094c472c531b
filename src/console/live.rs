//! Events while they pass: a module of the page listens to the tap, and the server shows what can be asked without it.

use axum::response::Response;
use maud::html;
use tidegate_api_types::object::{Objects, ShownObject};
use tidegate_api_types::path;

use super::ask::{PageRefusal, PageRequest};
use super::assets;
use super::layout::ConsolePage;
use super::text::short;

/// Kinds of events.
const TYPES: [&str; 6] = ["track", "identify", "page", "screen", "group", "alias"];
const SOURCES_MAX: &str = "1000";
/// Steps a second that the page is sent: more than anybody reads.
const RATE: &str = "50";

pub(super) async fn show(request: PageRequest) -> Result<Response, PageRefusal> {
    let sources: Objects = request.ask(&path::OBJECTS.replace("{kind}", "source"), &[("limit", SOURCES_MAX)]).await?;
    let (source, kind) = (request.text("source"), request.text("type"));
    let (event, user, steps) = (request.text("event"), request.text("user"), request.text("steps"));
    let fields =
        [("source", source), ("type", kind), ("event", event), ("user", user), ("steps", steps), ("rate", RATE)];
    let tap = request.api_place(path::TAP, &fields);
    let content = html! {
        form.filter method="get" action="/live" {
            input type="hidden" name="workspace" value=(request.workspace);
            label {
                "Source"
                select name="source" {
                    option value="" { "all" }
                    @for ShownObject { name, .. } in &sources.objects {
                        option value=(name) selected[name == source] { (short(name)) }
                    }
                }
            }
            label {
                "Type"
                select name="type" {
                    option value="" { "all" }
                    @for name in TYPES { option value=(name) selected[name == kind] { (name) } }
                }
            }
            label { "Name" input name="event" value=(event) placeholder="Order Completed" autocomplete="off"; }
            label { "User" input name="user" value=(user) placeholder="userId or anonymousId" autocomplete="off"; }
            label.check { input type="checkbox" name="steps" value="true" checked[steps == "true"]; " every step" }
            button type="submit" { "Listen" }
        }
        noscript {
            p.problem { "To watch events pass takes JavaScript. Without it, look for events by their id, user or name below." }
        }
        section #tap data-tap=(tap) data-trace=(request.to("/trace", &[])) aria-label="Events" {
            h2.unseen { "Events that pass" }
            div.head {
                p #tap-state role="status" { "Not listening." }
                button.plain #tap-pause type="button" hidden aria-pressed="false" { "Pause" }
                button.plain #tap-clear type="button" hidden { "Clear" }
            }
            p #tap-sampled.notice hidden {}
            ol #tap-rows.rows {}
        }
        section {
            h2 { "Find events" }
            p.quiet { "What the log still has, with what became of it." }
            (finder(&request))
        }
        script type="module" src=(assets::address("live.js")) {}
    };
    let mut command = "tidegate tap".to_owned();
    for (option, value) in [(" --source ", source), (" --type ", kind), (" --event ", event), (" --user ", user)] {
        if !value.is_empty() {
            command.push_str(&format!("{option}{}", quoted(value)));
        }
    }
    Ok(ConsolePage { title: "Live", at: "/live", command, updates: None, content }.show(&request))
}

/// The form that leads to traces.
pub(super) fn finder(request: &PageRequest) -> maud::Markup {
    let fields = [("message_id", "messageId"), ("user", "User"), ("event", "Name")];
    html! {
        form.filter method="get" action="/trace" {
            input type="hidden" name="workspace" value=(request.workspace);
            @for (name, label) in fields {
                label { (label) input name=(name) value=(request.text(name)) autocomplete="off"; }
            }
            button type="submit" { "Trace" }
        }
    }
}

/// A text as a word of a shell.
pub(super) fn quoted(text: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@' | b':');
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    format!("'{}'", text.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shell_reads_a_word_as_it_was_written() {
        assert_eq!(quoted("Order"), "Order");
        assert_eq!(quoted("it's $(x)"), "'it'\\''s $(x)'");
        assert_eq!(quoted(""), "''");
    }
}

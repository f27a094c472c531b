//! What came of a try: how the far side answered, and what events would become.

use maud::{Markup, html};
use tidegate_api_types::tried::{ObjectTried, TriedConnection, TriedEvent, TryOutcome};

use super::text::{pretty, short, visible};

/// Characters of what a destination says.
const SAID_CHARS_MAX: usize = 2_000;

/// All of it.
pub(super) fn tried(found: &ObjectTried) -> Markup {
    html! {
        section.tried role="status" {
            h2 { "What came of the try" }
            p { "Nothing was delivered, and nothing was changed." }
            @for connection in &found.connections { (connection_of(connection)) }
            @if found.masked { p.notice { "You may not see the values of these events: each stands for itself by its type." } }
            @for event in &found.events { (event_of(event)) }
        }
    }
}

fn connection_of(connection: &TriedConnection) -> Markup {
    html! {
        div.good[connection.ok].problem[!connection.ok] {
            p {
                b { @if connection.ok { "It answers" } @else { "It does not work" } }
                @if let Some(sync) = &connection.sync { ", for the sync " (short(sync)) }
                ": " bdi { (visible(&connection.says, SAID_CHARS_MAX)) }
            }
            @if !connection.may.is_empty() {
                ul {
                    @for right in &connection.may {
                        li {
                            (short(&right.what)) ": "
                            @match right.can { Some(true) => { "may" } Some(false) => { "may not" @if right.needed { ", and it is needed" } } None => { "not known" } }
                            @if let Some(fix) = right.fix.as_ref().filter(|_| right.can != Some(true)) { " – " (short(fix)) }
                        }
                    }
                }
            }
        }
    }
}

fn event_of(event: &TriedEvent) -> Markup {
    html! {
        article.card {
            h3 {
                (short(event.message_id.as_deref().unwrap_or("no event"))) " "
                span.badge.good[event.outcome == TryOutcome::Delivered].bad[event.outcome == TryOutcome::Quarantined] { (event.outcome.as_str()) }
                @if let Some(code) = &event.code { " " span.quiet { (short(code)) } }
            }
            @if let Some(reason) = &event.reason { p { bdi { (visible(reason, SAID_CHARS_MAX)) } } }
            @for violation in &event.violations { p.notice { bdi { (short(violation)) } } }
            @for delivered in &event.delivered {
                details { summary { "As the destination would get it" } pre.data tabindex="0" { (pretty(delivered)) } }
            }
            @for row in &event.rows {
                details {
                    summary { "A row of " code { (short(&row.table)) } }
                    dl.cells { @for column in &row.columns { div { dt { (short(&column.name)) " " (short(&column.kind)) } dd { bdi { (short(&column.value)) } } } } }
                }
            }
            @for message in &event.messages {
                details {
                    summary { "A message to " code { (short(&message.topic)) } }
                    p { "Key " code { bdi { (short(&message.key)) } } @for (name, value) in &message.headers { ", " (short(name)) ": " bdi { (short(value)) } } }
                    pre.data tabindex="0" { (visible(&message.payload, super::text::EVENT_CHARS_MAX)) }
                }
            }
        }
    }
}

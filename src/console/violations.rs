//! How often contracts were broken over time: a plot, and by which events, fields and releases of clients, as refining has counted it.

use maud::{Markup, html};
use serde_json::Value;
use tidegate_api_types::path;
use tidegate_api_types::violations::{ContractViolations, EventViolations, FieldViolations, ReleaseViolations};
use tidegate_event::{UNDECLARED_EVENT, UNDECLARED_FIELD, UNDECLARED_VERSION, time};

use super::ask::{PageRefusal, PageRequest};
use super::live::quoted;
use super::plot::{PlotHours, PlotLine, plot};
use super::text::{amount, command, moment, short};

/// What the address of a page says for a week; a day is shown otherwise.
const WEEK: &str = "7d";
const WEEK_HOURS: i64 = 168;
const HOUR_US: i64 = 3_600_000_000;
/// Rows of a table. The command shows more.
const ROWS_MAX: usize = 50;
/// Bytes of a text that the quarantine looks for.
const TEXT_BYTES_MAX: usize = 200;
/// Stands for what found no room.
const OTHERS: &str = "(others)";

/// The violations of a page.
pub(super) struct ViolationsView<'v> {
    /// The page.
    pub(super) here: &'v str,
    /// Which violations it is about, by the names that they have in the query and as options of the command: `domain`, `type`, `event`.
    pub(super) of: &'v [(&'v str, &'v str)],
}

impl ViolationsView<'_> {
    /// As the page shows them. Its address says whether it is a day or a week, and which field or release somebody has chosen.
    pub(super) async fn shown(&self, request: &PageRequest) -> Result<Markup, PageRefusal> {
        let is_week = request.text("span") == WEEK;
        let since_us = request.now_us.saturating_sub((WEEK_HOURS - 1) * HOUR_US);
        let since = if is_week { time::format(since_us) } else { String::new() };
        let chosen = [("field", request.text("field")), ("release", request.text("release"))];
        let mut asked: Vec<(&str, &str)> = self.of.iter().copied().chain(chosen).collect();
        let line = line(&asked, is_week);
        asked.push(("since", since.as_str()));
        let found: Option<ContractViolations> = request.ask_if_there(path::CONTRACT_VIOLATIONS, &asked).await?;
        // Of a workspace that does not run here there is nothing.
        let Some(found) = found else { return Ok(html! {}) };
        let is_of_one_event = self.of.iter().any(|(name, _)| *name == "type");
        Ok(html! {
            section {
                h2 { "Violations over time" }
                (self.spans(is_week, chosen, request))
                (over_time(&found, is_week))
                @if found.masked { p.notice { "You may not see the events of some sources: releases, and names that no contract has, are left out." } }
                @if found.events > 0 {
                    @if !is_of_one_event { (events(&found.by_event, request)) }
                    (self.fields(&found, (is_week, is_of_one_event), request))
                    (self.releases(&found, is_week, request))
                }
                (command(&line))
            }
        })
    }

    /// The same page with another time, or with something chosen.
    fn place(&self, is_week: bool, chosen: &[(&str, &str)], request: &PageRequest) -> String {
        let span = [("span", if is_week { WEEK } else { "" })];
        let fields: Vec<(&str, &str)> = span.iter().chain(chosen).copied().collect();
        request.to(self.here, &fields)
    }

    fn spans(&self, is_week: bool, chosen: [(&str, &str); 2], request: &PageRequest) -> Markup {
        let [(_, field), (_, release)] = chosen;
        html! {
            p.actions {
                @for (name, is_of_week) in [("24 h", false), ("7 d", true)] {
                    a href=(self.place(is_of_week, &chosen, request)) aria-current=[(is_of_week == is_week).then_some("true")] { (name) }
                }
            }
            @if !field.is_empty() || !release.is_empty() {
                p.notice {
                    "Only"
                    @if !field.is_empty() { " of the field " code { bdi { (short(field)) } } ", each rule of which counts" }
                    @if !release.is_empty() { " by " bdi { (short(release)) } }
                    ". " a href=(self.place(is_week, &[], request)) { "Show all" }
                }
            }
        }
    }

    fn fields(
        &self,
        found: &ContractViolations,
        (is_week, is_of_one_event): (bool, bool),
        request: &PageRequest,
    ) -> Markup {
        html! {
            h3 { "By field" }
            div.scroll tabindex="0" role="region" aria-label="Violations by field" {
                table {
                    thead { tr {
                        @if !is_of_one_event { th scope="col" { "Event" } }
                        th scope="col" { "Field" } th scope="col" { "Rule" } th scope="col" { "Source" } th.number scope="col" { "Events" }
                        th scope="col" { "First seen" } th scope="col" { "Last seen" } th scope="col" { "Blocked" }
                    } }
                    tbody {
                        @for one in found.by_field.iter().take(ROWS_MAX) {
                            tr {
                                @if !is_of_one_event { td { bdi { (event_name(&one.kind, one.name.as_deref())) } } }
                                th scope="row" {
                                    @if one.field.is_empty() { span.quiet { @if one.rule == OTHERS { "others" } @else if one.rule == UNDECLARED_FIELD { "fields that you may not see" } @else { "the event" } } }
                                    @else { a href=(self.place(is_week, &[("field", one.field.as_str())], request)) { code { bdi { (short(&one.field)) } } } }
                                }
                                td { (short(&one.rule)) }
                                td { (short(&one.source)) }
                                (numbers((one.events, &one.first_at, &one.last_at), request))
                                td { a href=(quarantine_of_field(one, found, request)) { "quarantine" span.unseen { " of " (short(&one.field)) } } }
                            }
                        }
                    }
                }
            }
            @if found.more || found.by_field.len() > ROWS_MAX { p.quiet { "There are more: the command lists them." } }
        }
    }

    fn releases(&self, found: &ContractViolations, is_week: bool, request: &PageRequest) -> Markup {
        // Where releases are masked there is nothing to tell.
        let is_told = |one: &&ReleaseViolations| !found.masked || !one.release.is_empty();
        let told: Vec<&ReleaseViolations> = found.by_release.iter().filter(is_told).take(ROWS_MAX).collect();
        html! {
            @if !told.is_empty() {
                h3 { "By release" }
                div.scroll tabindex="0" role="region" aria-label="Violations by release" {
                    table {
                        thead { tr {
                            th scope="col" { "Release" } th.number scope="col" { "Events" } th scope="col" { "First seen" } th scope="col" { "Last seen" }
                            th scope="col" { "Blocked" }
                        } }
                        tbody {
                            @for one in &told {
                                tr {
                                    th scope="row" {
                                        @if one.release.is_empty() { span.quiet { "events that do not say" } }
                                        @else { a href=(self.place(is_week, &[("release", one.release.as_str())], request)) { bdi { (short(&one.release)) } } }
                                    }
                                    (numbers((one.events, &one.first_at, &one.last_at), request))
                                    td { a href=(quarantine_of_release(one, found, request)) { "quarantine" span.unseen { " of " (short(&one.release)) } } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// The command that shows the same.
fn line(asked: &[(&str, &str)], is_week: bool) -> String {
    let mut line = "tidegate contract violations".to_owned();
    for (name, value) in asked.iter().filter(|(_, value)| !value.is_empty()) {
        line.push_str(&format!(" --{name} {}", quoted(value)));
    }
    if is_week {
        line.push_str(" --since 7d");
    }
    line
}

fn over_time(found: &ContractViolations, is_week: bool) -> Markup {
    let hours = PlotHours::new(&found.from, found.hours);
    let counted = found.times.iter().map(|time| (time.at.as_str(), i64::try_from(time.events).unwrap_or(i64::MAX)));
    let lines = [PlotLine { name: "events", class: "bad", values: hours.values(counted) }];
    let label = match is_week {
        true => "Events that broke a contract, by the hour, last 7 d",
        false => "Events that broke a contract, by the hour, last 24 h",
    };
    html! {
        @if found.events == 0 { p.good { "Nothing of that broke a contract in this time." } }
        @else { (plot(label, &hours, &lines)) }
    }
}

fn events(found: &[EventViolations], request: &PageRequest) -> Markup {
    html! {
        h3 { "By event" }
        div.scroll tabindex="0" role="region" aria-label="Violations by event" {
            table {
                thead { tr {
                    th scope="col" { "Event" } th scope="col" { "Type" } th.number scope="col" { "Events" } th scope="col" { "First seen" }
                    th scope="col" { "Last seen" }
                } }
                tbody {
                    @for one in found.iter().take(ROWS_MAX) {
                        tr {
                            th scope="row" { bdi { (event_name(&one.kind, one.name.as_deref())) } }
                            td { (short(&one.kind)) }
                            (numbers((one.events, &one.first_at, &one.last_at), request))
                        }
                    }
                }
            }
        }
    }
}

fn numbers((events, first_at, last_at): (u64, &str, &str), request: &PageRequest) -> Markup {
    html! {
        td.number { (amount(events)) }
        td { (moment(first_at, request.now_us)) }
        td { (moment(last_at, request.now_us)) }
    }
}

/// Of an event that has none, or whose name is masked, its type.
fn event_name(kind: &str, name: Option<&str>) -> String {
    name.map_or_else(|| format!("({})", short(kind)), short)
}

fn quarantine_of_field(one: &FieldViolations, found: &ContractViolations, request: &PageRequest) -> String {
    let code = match one.rule.as_str() {
        UNDECLARED_EVENT | UNDECLARED_VERSION => "undeclared-event",
        // Of an event that breaks its schema as well there is another one.
        UNDECLARED_FIELD | OTHERS => "",
        _ => "schema-violation",
    };
    quarantine(&[("source", one.source.as_str()), ("code", code)], (&part_of_reason(one), found), request)
}

fn quarantine_of_release(one: &ReleaseViolations, found: &ContractViolations, request: &PageRequest) -> String {
    let version = one.release.rsplit_once(' ').map(|(_, version)| Value::from(version).to_string());
    quarantine(&[], (&version.unwrap_or_default(), found), request)
}

/// The blocked events among these. A text is looked for where the reader may see what stands in events.
fn quarantine(fields: &[(&str, &str)], (text, found): (&str, &ContractViolations), request: &PageRequest) -> String {
    let has_text = request.may_see_events() && !found.masked && text.len() <= TEXT_BYTES_MAX;
    let mut all =
        vec![("stage", "contract"), ("since", found.from.as_str()), ("text", if has_text { text } else { "" })];
    all.extend(fields);
    request.to("/quarantine", &all)
}

/// What stands in the reasons of entries with such a violation: the beginning of its sentence, as far as it is the same for all.
fn part_of_reason(one: &FieldViolations) -> String {
    let FieldViolations { field, rule, .. } = one;
    match (field.split_once("/*"), rule.as_str()) {
        _ if field.is_empty() || field == OTHERS => String::new(),
        // What is missing is named behind its object.
        (_, "required") => {
            let name = field.rsplit('/').next().unwrap_or_default();
            Value::from(name.replace("~1", "/").replace("~0", "~")).to_string()
        }
        (Some((list, _)), _) => format!("{list}/"),
        (None, _) => format!("{field}:"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reasons_of_the_quarantine_are_found_by_what_is_the_same_in_all() {
        for (field, rule, part) in [
            ("", "undeclaredEvent", ""),
            ("(others)", "type", ""),
            ("/properties/price", "type", "/properties/price:"),
            ("/properties/items/*/sku", "type", "/properties/items/"),
            ("/properties/items/*/sku", "required", "\"sku\""),
        ] {
            let (field, rule) = (field.to_owned(), rule.to_owned());
            let one = FieldViolations { field, rule, ..FieldViolations::default() };
            assert_eq!(part_of_reason(&one), part, "{one:?}");
        }
    }

    #[test]
    fn the_command_asks_for_the_same() {
        let asked = [("type", "track"), ("event", "Order Completed"), ("field", "/properties/price"), ("release", "")];
        assert_eq!(
            line(&asked, true),
            "tidegate contract violations --type track --event 'Order Completed' --field /properties/price --since 7d"
        );
        assert_eq!(line(&[], false), "tidegate contract violations");
    }
}

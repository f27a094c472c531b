//! `tidegate contract violations`.

use std::process::ExitCode;

use tidegate_api_types::violations::{ContractViolations, ViolationStep, ViolationsQuery};

use crate::cli::moments::option_time;
use crate::cli::object::{CatalogArgs, print_json};
use crate::cli::{CommandDone, runtime, style};

const NAME_CHARS_MAX: usize = 100;
const FIELD_CHARS_MAX: usize = 200;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate contract violations                                          the last 24 hours\n  tidegate contract violations --since 7d --by day --domain shop\n  tidegate contract violations --event \"Order Completed\" --field /properties/price   which release sends it?\n\nEach event that breaks its contract counts in the hour in which it was received, whatever became of it, and once for each rule that it\nbreaks at a field. Counts are kept for 30 days. No values are shown."
)]
pub(in crate::cli) struct ContractViolationsArgs {
    /// Since a time such as 2026-01-31T00:00:00Z, or an age such as 7d; the hour counts whole [default: 24 hours]
    #[arg(long, value_name = "WHEN")]
    since: Option<String>,
    /// Before a time such as 2026-01-31T00:00:00Z; the hour that it is in counts whole [default: now]
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// What each number is of
    #[arg(long, value_name = "STEP", value_parser = ["hour", "day"], default_value = "hour")]
    by: String,
    /// Only events of this source
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only events that this domain declares, by the name of its folder
    #[arg(long, value_name = "NAME")]
    domain: Option<String>,
    /// Only events of this type: track, page, identify
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only events of this name
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Only this field, as it is listed; each rule of it counts
    #[arg(long, value_name = "POINTER")]
    field: Option<String>,
    /// Only what this release of an app or an SDK has sent, as it is listed
    #[arg(long, value_name = "RELEASE")]
    release: Option<String>,
    #[command(flatten)]
    catalog: CatalogArgs,
}

pub(super) fn run(args: &ContractViolationsArgs, json: bool) -> CommandDone {
    let query = ViolationsQuery {
        workspace: None,
        since: args.since.as_deref().map(|text| option_time("--since", text)).transpose()?,
        until: args.until.clone(),
        by: Some(if args.by == "day" { ViolationStep::Day } else { ViolationStep::Hour }),
        source: args.source.clone(),
        domain: args.domain.clone(),
        kind: args.kind.clone(),
        event: args.event.clone(),
        field: args.field.clone(),
        release: args.release.clone(),
    };
    let client = args.catalog.client()?;
    let found = runtime()?.block_on(client.contract_violations(&query))?;
    if json {
        print_json(&found);
    } else {
        print(&found, args);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(found: &ContractViolations, args: &ContractViolationsArgs) {
    let what = if args.field.is_some() { "times events broke a rule of it" } else { "events broke a contract" };
    println!("{} {what} since {}", style::count(found.events), found.from);
    if found.masked {
        println!("You may not see the events of some sources: releases, and names that no contract has, are left out.");
    }
    if found.events == 0 {
        return;
    }
    let mut table = style::table(&[args.by.as_str(), "events"]);
    for time in &found.times {
        table.add_row([time.at.clone(), style::count(time.events)]);
    }
    println!("{table}");
    let mut table = style::table(&["type", "event", "events", "first seen", "last seen"]);
    for one in &found.by_event {
        let (first_at, last_at) = (one.first_at.clone(), one.last_at.clone());
        table.add_row([one.kind.clone(), name(one.name.as_deref()), style::count(one.events), first_at, last_at]);
    }
    println!("{table}");
    let mut table = style::table(&["event", "field", "rule", "source", "events", "first seen", "last seen"]);
    for one in &found.by_field {
        table.add_row([
            name(one.name.as_deref()),
            style::plain(&one.field, FIELD_CHARS_MAX),
            style::plain(&one.rule, NAME_CHARS_MAX),
            style::plain(&one.source, NAME_CHARS_MAX),
            style::count(one.events),
            one.first_at.clone(),
            one.last_at.clone(),
        ]);
    }
    println!("{table}");
    let mut table = style::table(&["release", "events", "first seen", "last seen"]);
    for one in &found.by_release {
        let (first_at, last_at) = (one.first_at.clone(), one.last_at.clone());
        table.add_row([name(Some(&one.release)), style::count(one.events), first_at, last_at]);
    }
    println!("{table}");
    if found.more {
        println!("There are more: name a source, a domain, an event, a field or a release to see the others.");
    }
}

/// A name that senders choose.
fn name(text: Option<&str>) -> String {
    style::plain(text.filter(|text| !text.is_empty()).unwrap_or("–"), NAME_CHARS_MAX)
}

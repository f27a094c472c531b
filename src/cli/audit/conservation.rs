//! `tidegate audit conservation`: whether what was accepted is the sum of what became of it.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::ExitCode;

use tidegate_api_types::conservation::{
    ConservationGap, ConservationQuery, ConservationReport, ConservedSource, ConservedSync, LogRecount,
};
use tidegate_state::State;

use crate::api::conservation::{conservation_report, fate_query};
use crate::app::{paths, running_report};
use crate::cli::object::{CatalogArgs, print_json};
use crate::cli::{CommandDone, CommandFailure, check, style};
use crate::config::Outline;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate audit conservation                                  asks the server that you are signed in at\n  tidegate audit conservation shop                             reads the data directory, whether a server runs or not\n  tidegate audit conservation --sync web-to-crm --since 2026-12-01T00:00:00Z\n  tidegate audit conservation --deep                           counts the records of the log once more\n\nExit code 0: it holds. 1: a breach, events are not accounted for. 2: it could not be told."
)]
pub(in crate::cli) struct ConservationArgs {
    /// The workspace's folder, whose data directory is read [default: a running server is asked]
    #[arg(value_name = "WORKSPACE")]
    dir: Option<PathBuf>,
    /// The data directory, with a folder [default: `data` of tidegate.yaml]
    #[arg(long, value_name = "DATA", requires = "dir")]
    data: Option<PathBuf>,
    /// Of events that were received in this hour or later, e.g. 2026-12-31T00:00:00Z
    #[arg(long, value_name = "TIME")]
    since: Option<String>,
    /// Of events that were received before; the hour counts whole
    #[arg(long, value_name = "TIME")]
    until: Option<String>,
    /// Only of this source, and its syncs
    #[arg(long, value_name = "NAME")]
    source: Option<String>,
    /// Only of this sync, and its source
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// Only of tracks with this name; (page), (identify) and so on for all others
    #[arg(long, value_name = "NAME")]
    event: Option<String>,
    /// Count the records of the log once more and compare, which takes a running server
    #[arg(long, conflicts_with = "dir")]
    deep: bool,
    /// Forget the breaches that are kept, once you have seen to them
    #[arg(long, requires = "dir")]
    forget_breaches: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
}

const BREACH: u8 = 1;
const CANNOT_TELL: u8 = 2;

pub(super) async fn run(args: &ConservationArgs, json: bool) -> CommandDone {
    let report = match asked(args).await {
        Ok(report) => report,
        Err(CommandFailure::Problems(problems)) => {
            check::report(&problems, json);
            return Ok(ExitCode::from(CANNOT_TELL));
        }
        Err(CommandFailure::Failed(message)) => {
            if json {
                println!("{}", serde_json::json!({ "error": message }));
            }
            eprintln!("{} {message}", style::error("error:"));
            return Ok(ExitCode::from(CANNOT_TELL));
        }
    };
    if json {
        print_json(&report);
    } else {
        print(&report);
    }
    Ok(if report.holds { ExitCode::SUCCESS } else { ExitCode::from(BREACH) })
}

async fn asked(args: &ConservationArgs) -> Result<ConservationReport, CommandFailure> {
    let query = ConservationQuery {
        workspace: None,
        since: args.since.clone(),
        until: args.until.clone(),
        source: args.source.clone(),
        sync: args.sync.clone(),
        event: args.event.clone(),
        deep: args.deep.then_some(true),
    };
    let asked = fate_query(&query).map_err(|field| {
        CommandFailure::Failed(format!("--{field} is no time with its offset from UTC, such as 2026-12-31T00:00:00Z"))
    })?;
    let Some(dir) = &args.dir else { return Ok(args.catalog.client()?.conservation(&query).await?) };
    let outline = Outline::read(dir, args.data.as_deref()).map_err(CommandFailure::Problems)?;
    let outline = match args.catalog.workspace() {
        Some(name) => outline.of_environment(name).map_err(CommandFailure::Problems)?,
        None => outline,
    };
    let mut state = State::read(&paths::state(&outline.data))?;
    if args.forget_breaches {
        let forgotten = state.forget_fate_breaches()?;
        eprintln!("{} breaches are forgotten; what is wrong still will be found again", style::count(forgotten));
    }
    // What ran last says which syncs there are; without it those are named of which something is counted.
    let running = running_report::read(&paths::running(&outline.data)).ok().flatten();
    let syncs = running.map(|running| running.syncs).unwrap_or_default();
    let there: BTreeMap<String, String> = syncs.into_iter().map(|(name, sync)| (name, sync.source)).collect();
    Ok(conservation_report(&state, &asked, &there)?)
}

fn print(report: &ConservationReport) {
    if report.counted_from.is_empty() {
        println!("Nothing is counted yet.");
    }
    let mut table = style::table(&[
        "source",
        "accepted",
        "made",
        "duplicate",
        "quarantined",
        "expired",
        "suppressed",
        "dropped",
        "went on",
        "",
    ]);
    for ConservedSource { source, counts, wrong } in &report.sources {
        let numbers = [
            counts.came,
            counts.made,
            counts.duplicate,
            counts.quarantined,
            counts.expired,
            counts.suppressed,
            counts.dropped,
            counts.went_on,
        ];
        table.add_row(row(source, &numbers, wrong.as_ref()));
    }
    println!("{table}");
    let mut table = style::table(&[
        "sync",
        "went on",
        "made",
        "delivered",
        "by ledger",
        "filtered",
        "dropped",
        "quarantined",
        "expired",
        "suppressed",
        "pending",
        "not for it",
        "",
    ]);
    for sync in &report.syncs {
        let counts = &sync.counts;
        let numbers = [
            sync.went_on,
            counts.made,
            counts.delivered,
            counts.delivered_by_ledger,
            counts.filtered,
            counts.dropped,
            counts.quarantined,
            counts.expired,
            counts.suppressed,
            counts.pending + sync.waiting,
            sync.not_for_it,
        ];
        table.add_row(row(&sync.sync, &numbers, sync.wrong.as_ref()));
    }
    println!("{table}");
    for ConservedSync { sync, unsure, .. } in &report.syncs {
        if let Some(unsure) = unsure {
            println!("{} sync {sync}: {}", style::bold("notice:"), style::plain(unsure, 500));
        }
    }
    let sources = report.sources.iter().map(|one| ("source", &one.source, one.wrong.as_ref()));
    let syncs = report.syncs.iter().map(|one| ("sync", &one.sync, one.wrong.as_ref()));
    for (kind, name, wrong) in sources.chain(syncs) {
        if let Some(wrong) = wrong {
            println!("{} {kind} {name}: {}", style::error("BREACH:"), told(wrong));
        }
    }
    for breach in &report.breaches {
        let kind = if breach.is_sync { "sync" } else { "source" };
        let at = match (&breach.first, &breach.end) {
            (Some(first), Some(end)) => format!(", between offset {first} and before {end} of the log"),
            _ => String::new(),
        };
        let (found_at, name) = (&breach.found_at, &breach.scope);
        println!("{} {kind} {name}: {}{at}; found {found_at}", style::error("BREACH:"), told(&breach.gap));
    }
    if let Some(recount) = &report.recount {
        print_recount(recount);
    }
    if report.holds {
        println!("{}", style::good("holds"));
    } else {
        println!("docs/fates.md says what a breach is and what to do.");
    }
}

fn row(name: &str, numbers: &[i64], wrong: Option<&ConservationGap>) -> Vec<String> {
    let verdict = if wrong.is_some() { "BREACH" } else { "holds" };
    let numbers = numbers.iter().map(|number| signed(*number));
    std::iter::once(style::plain(name, 63)).chain(numbers).chain([verdict.to_owned()]).collect()
}

fn signed(number: i64) -> String {
    let digits = style::count(number.unsigned_abs());
    if number < 0 { format!("-{digits}") } else { digits }
}

fn told(gap: &ConservationGap) -> String {
    let missing = gap.expected.abs_diff(gap.found);
    let what = if gap.found <= gap.expected { "not accounted for" } else { "too many" };
    format!("{} events of {} are {what}: {}", style::count(missing), signed(gap.expected), style::plain(&gap.what, 500))
}

fn print_recount(recount: &LogRecount) {
    let from = recount.compared_from.as_ref().map_or_else(String::new, |from| format!(", of events from {from} on"));
    println!("{} records of the log were counted once more{from}", style::count(recount.records));
    for difference in &recount.differences {
        let event = difference.event.as_deref().unwrap_or("all names");
        println!(
            "{} source {}, hour of {}, {}: {} were counted, {} are in the log",
            style::error("BREACH:"),
            difference.source,
            difference.hour,
            style::plain(event, 200),
            signed(difference.counted),
            signed(difference.in_log)
        );
    }
}

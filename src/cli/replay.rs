//! `tidegate replay`: a part of the log goes to one sync once more.

use std::process::ExitCode;

use tidegate_api_types::replay::{ReplayEvents, ShownReplay};
use tidegate_event::{Position, time};

use super::log_parts::{done, print_counts, print_parts, print_refused};
use super::moments::moment_us;
use super::object::{CatalogArgs, print_json};
use super::{CommandDone, CommandFailure, runtime, style};

/// Between two looks at a replay that is waited for.
const LOOK: std::time::Duration = std::time::Duration::from_millis(300);

/// Which events, to which sync, and how.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate replay crm --from 2026-01-31T00:00:00Z --to 2026-02-01T00:00:00Z --dry-run   count what would be sent\n  tidegate replay crm --from 3h --event \"Order Completed\" --rate 50/s\n  tidegate replay warehouse --from 12000 --to 14000 --rules now       positions of the log; 2/7 is of partition 2\n  tidegate replays list\n\nThe sync itself goes on meanwhile. Warehouses that know events by their ids have none twice by it; a stream or a plugin gets\nevents again, with their messageId. What the sync has not had yet is not part of it."
)]
pub(super) struct ReplayArgs {
    /// The sync
    #[arg(value_name = "SYNC")]
    sync: String,
    /// Events from here on: a time such as 2026-01-31T00:00:00Z, an age such as 7d, a position of the log, or `beginning`
    #[arg(long, value_name = "TIME|POSITION")]
    from: String,
    /// Events before this: a time, an age or a position [default: now]
    #[arg(long, value_name = "TIME|POSITION")]
    to: Option<String>,
    /// Only events of this name, e.g. "Order Completed" or (identify); may stand several times
    #[arg(long, value_name = "NAME")]
    event: Vec<String>,
    /// Only events with this userId or anonymousId
    #[arg(long, value_name = "ID")]
    user: Option<String>,
    /// By the contract and the functions of the source that were live when the events came, or by those of now
    #[arg(long, value_name = "WHICH", default_value = "then", value_parser = ["then", "now"])]
    rules: String,
    /// At most so many records a second
    #[arg(long, value_name = "N/s", value_parser = rate)]
    rate: Option<u32>,
    /// Count what would be sent, and send nothing
    #[arg(long)]
    dry_run: bool,
    /// Also where the warehouse stores an event once more that it has
    #[arg(long)]
    allow_doubles: bool,
    /// Do not wait until it is done
    #[arg(long)]
    no_wait: bool,
    #[command(flatten)]
    catalog: CatalogArgs,
}

#[derive(Debug, clap::Subcommand)]
pub(super) enum ReplaysCommand {
    /// List replays, newest first
    List {
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// How far a replay is, and what became of its events
    Show {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
    /// End a replay before its end; what it has delivered stays
    Cancel {
        id: u64,
        #[command(flatten)]
        catalog: CatalogArgs,
    },
}

pub(super) fn run(args: &ReplayArgs, json: bool) -> CommandDone {
    let asked = ReplayEvents {
        sync: args.sync.clone(),
        from: bound("--from", &args.from)?,
        to: args.to.as_deref().map(|to| bound("--to", to)).transpose()?,
        events: args.event.clone(),
        user: args.user.clone(),
        rules: Some(args.rules.clone()),
        rate: args.rate,
        dry_run: args.dry_run,
        allow_doubles: args.allow_doubles,
    };
    runtime()?.block_on(async {
        let client = args.catalog.client()?;
        let mut replay = client.replay(&asked).await?;
        if !json && !args.no_wait {
            eprintln!("replay {} has begun; it goes on when this command is stopped", replay.id);
        }
        while !args.no_wait && replay.state == "running" {
            tokio::time::sleep(LOOK).await;
            replay = client.shown_replay(replay.id).await?;
        }
        print_replay(&replay, json);
        Ok(code_of(&replay))
    })
}

pub(super) fn run_replays(command: &ReplaysCommand, json: bool) -> CommandDone {
    runtime()?.block_on(async {
        match command {
            ReplaysCommand::List { catalog } => list((catalog, json)).await?,
            ReplaysCommand::Show { id, catalog } => print_replay(&catalog.client()?.shown_replay(*id).await?, json),
            ReplaysCommand::Cancel { id, catalog } => print_replay(&catalog.client()?.cancel_replay(*id).await?, json),
        }
        Ok(ExitCode::SUCCESS)
    })
}

/// One that did not come to its end is a failure.
fn code_of(replay: &ShownReplay) -> ExitCode {
    let is_good = matches!(replay.state.as_str(), "running" | "done");
    if is_good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// `50/s` or `50`.
fn rate(text: &str) -> Result<u32, String> {
    let number = text.strip_suffix("/s").unwrap_or(text);
    let rate = number.parse().ok().filter(|rate| (1..=1_000_000).contains(rate));
    rate.ok_or_else(|| "write records a second, from 1 to 1000000, such as 50/s".to_owned())
}

/// One end of the part of the log, as the server takes it.
fn bound(option: &str, text: &str) -> Result<String, CommandFailure> {
    if text.parse::<Position>().is_ok() || (option == "--from" && text == "beginning") {
        return Ok(text.to_owned());
    }
    moment_us(text).map(time::format).ok_or_else(|| {
        let wrong = format!(
            "{option} {text:?} is no time such as 2026-01-31T00:00:00Z, no age such as 7d and no position such as 12000 or 2/7"
        );
        CommandFailure::Failed(wrong)
    })
}

async fn list((catalog, json): (&CatalogArgs, bool)) -> Result<(), CommandFailure> {
    let found = catalog.client()?.replays().await?;
    if json {
        print_json(&found);
        return Ok(());
    }
    if found.replays.is_empty() {
        println!("There are no replays.");
        return Ok(());
    }
    let mut table = style::table(&["replay", "sync", "state", "asked", "from", "to", "done", "delivered"]);
    for replay in &found.replays {
        let dry = if replay.dry_run { " (dry run)" } else { "" };
        table.add_row([
            replay.id.to_string(),
            replay.sync.clone(),
            format!("{}{dry}", replay.state),
            replay.asked_at.clone(),
            replay.from.clone(),
            replay.to.clone(),
            done(&replay.report.step, &replay.report.parts),
            style::count(replay.report.counts.delivered + replay.report.counts.by_ledger),
        ]);
    }
    println!("{table}");
    Ok(())
}

fn print_replay(replay: &ShownReplay, json: bool) {
    if json {
        print_json(replay);
        return;
    }
    let dry = if replay.dry_run { ", a dry run: nothing was sent" } else { "" };
    println!("{} {} to {} is {}{dry}", style::bold("replay:"), replay.id, replay.sync, replay.state);
    let report = &replay.report;
    println!("from {} to {}, {} of the log is done", replay.from, replay.to, done(&report.step, &report.parts));
    print_parts(
        &report.parts,
        replay.warning.iter().chain(&report.notes).chain(&report.notices),
        report.failure.as_deref(),
    );
    let counts = &report.counts;
    let mut rows =
        vec![("meant", counts.came), ("of suppressed people", counts.suppressed), ("filtered", counts.filtered)];
    if replay.dry_run {
        rows.push((
            "would be handed to the functions of the sync",
            counts.came.saturating_sub(counts.suppressed + counts.filtered),
        ));
        rows.push(("of these, had before", counts.had_before));
    } else {
        rows.extend([
            ("dropped by functions of the sync", counts.dropped),
            ("stopped by functions of the sync", counts.stopped),
            ("sent", counts.sent),
            ("delivered", counts.delivered),
            ("of these, there already", counts.duplicates),
            ("there by the ledger", counts.by_ledger),
            ("refused", counts.refused),
            ("skipped by the plugin", counts.skipped),
            ("pending", counts.pending),
            ("given up", counts.abandoned),
        ]);
    }
    print_counts(&rows);
    if !report.names.is_empty() {
        let mut table = style::table(&["event", "how many", "bytes"]);
        for (name, counted) in &report.names {
            let bytes = if replay.dry_run { style::count(counted.bytes) } else { String::new() };
            table.add_row([style::plain(name, 100), style::count(counted.events), bytes]);
        }
        println!("{table}");
    }
    print_refused(&report.refused);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_a_number_of_records_a_second() {
        assert_eq!((rate("50/s"), rate("7")), (Ok(50), Ok(7)));
        for wrong in ["0", "x", "-1", "1000001/s", "5/m", ""] {
            assert!(rate(wrong).is_err(), "{wrong}");
        }
    }
}

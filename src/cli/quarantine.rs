//! `tidegate quarantine`.

mod online;
mod purge;
mod tried;

use std::process::ExitCode;

use tidegate_event::{json, time};
use tidegate_state::{QuarantineFilter, State};

use super::{CommandDone, EnvironmentArgs, style};
use crate::app::paths;

#[derive(Debug, clap::Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  tidegate quarantine shop --code schema-violation --events\n  tidegate quarantine purge shop --before 7d --dry-run\n  tidegate quarantine try --code schema-violation            what would become of them now\n  tidegate quarantine retry --code schema-violation          sends them on, once what stopped them is mended\n\nThe quarantine is bounded by `quarantine: {age, bytes}` in tidegate.yaml (30 d and 1 GiB unless told otherwise): the oldest\nevents go first, are counted, and the server says so. (A workspace in a folder that has the name of a command is ./purge.)"
)]
pub(super) struct QuarantineArgs {
    #[command(subcommand)]
    command: Option<QuarantineCommand>,
    #[command(flatten)]
    workspace: EnvironmentArgs,
    /// Only those of this source or sync
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Only those with this code, e.g. schema-violation
    #[arg(long)]
    code: Option<String>,
    /// Show at most this many
    #[arg(long, value_name = "N", default_value_t = 20)]
    most: u64,
    /// Show the events whole
    #[arg(long)]
    events: bool,
}

#[derive(Debug, clap::Subcommand)]
enum QuarantineCommand {
    /// Remove entries for good, after asking
    Purge(purge::PurgeArgs),
    #[command(flatten)]
    Online(Box<online::OnlineCommand>),
}

pub(super) fn run(args: &QuarantineArgs, json: bool) -> CommandDone {
    match &args.command {
        Some(QuarantineCommand::Purge(args)) => return purge::run(args, json),
        Some(QuarantineCommand::Online(command)) => return online::run(command, json),
        None => {}
    }
    let workspace = args.workspace.outline()?;
    let state = State::read(&paths::state(&workspace.data))?;
    let filter = QuarantineFilter { scope: args.scope.clone(), code: args.code.clone(), entries_max: args.most };
    let entries = state.quarantined(&filter)?;
    let counts = state.quarantine_counts(&filter)?;
    if json {
        for entry in &entries {
            let text = String::from_utf8_lossy(&entry.event);
            let event = json::parse(&entry.event, 256).unwrap_or_else(|_| text.as_ref().into());
            let detail = entry.detail.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok());
            let line = serde_json::json!({
                "partition": entry.id.position.partition, "offset": entry.id.position.offset, "part": entry.id.part,
                "stage": entry.stage, "scope": entry.scope,
                "code": entry.code, "message": entry.message, "received_at": time::format(entry.at_us), "event": event,
                "detail": detail,
            });
            println!("{line}");
        }
        return Ok(ExitCode::SUCCESS);
    }
    if counts.is_empty() {
        let asked = args.scope.is_some() || args.code.is_some();
        println!("Nothing {}is in quarantine.", if asked { "of that " } else { "" });
        return Ok(ExitCode::SUCCESS);
    }
    let mut table = style::table(&["source or sync", "stage", "code", "events"]);
    for (scope, stage, code, count) in &counts {
        table.add_row([style::plain(scope, 63), stage.clone(), style::plain(code, 64), style::count(*count)]);
    }
    println!("{table}");
    let width = if args.events { usize::MAX } else { 60 };
    let mut table = style::table(&["offset", "code", "reason", "event"]);
    for entry in &entries {
        let event = String::from_utf8_lossy(&entry.event);
        table.add_row([
            entry.id.position.to_string(),
            style::plain(&entry.code, 64),
            style::plain(&entry.message, 200),
            style::plain(&event, width),
        ]);
    }
    println!("{table}");
    if args.events {
        for entry in &entries {
            if let Some(detail) = &entry.detail {
                println!(
                    "{} {}",
                    style::bold(&format!("request and answer of {}:", entry.id.position)),
                    style::plain(detail, usize::MAX)
                );
            }
        }
    }
    let total: u64 = counts.iter().map(|(_, _, _, count)| count).sum();
    if total > entries.len() as u64 {
        println!("{} of {}; --most shows more, --json prints them whole", entries.len(), style::count(total));
    }
    Ok(ExitCode::SUCCESS)
}

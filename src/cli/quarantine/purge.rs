//! `tidegate quarantine purge`.

use std::io::{BufRead as _, IsTerminal as _, Write as _};
use std::process::ExitCode;

use tidegate_event::Position;
use tidegate_state::{Purge, State};

use super::super::moments::option_us;
use super::super::{CommandDone, CommandFailure, EnvironmentArgs, style};
use crate::app::paths;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate quarantine purge shop --dry-run                      what would go\n  tidegate quarantine purge shop --code retry-age --before 7d\n  tidegate quarantine purge shop --scope web --before 2026-01-31T00:00:00Z --yes\n  tidegate quarantine purge shop --offset 4711\n\nA condition that is not given holds for every entry. Works while the server runs, and without it. Entries that are\npurged are gone for good; the events as they were accepted stay in the log while it keeps them."
)]
pub(in crate::cli) struct PurgeArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    /// Only those of this source or sync
    #[arg(long, value_name = "NAME")]
    scope: Option<String>,
    /// Only those with this code, e.g. schema-violation
    #[arg(long)]
    code: Option<String>,
    /// Only events received before this: a time such as 2026-01-31T00:00:00Z, or an age such as 7d
    #[arg(long, value_name = "TIME")]
    before: Option<String>,
    /// Only the entries of the event at this offset of the log (2/4711 in a log with partitions)
    #[arg(long, value_name = "N")]
    offset: Option<Position>,
    /// Count what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(args: &PurgeArgs, json: bool) -> CommandDone {
    let workspace = args.workspace.outline()?;
    let before_us = args.before.as_deref().map(|text| option_us("--before", text)).transpose()?;
    let purge = Purge { scope: args.scope.clone(), code: args.code.clone(), before_us, position: args.offset };
    let mut state = State::read(&paths::state(&workspace.data))?;
    let groups = state.purgeable(&purge)?;
    let total: u64 = groups.iter().map(|(_, _, count)| count).sum();
    if !json {
        print_groups(&groups, total);
    }
    let mut removed = 0;
    if total > 0 && !args.dry_run && confirmed(args, total)? {
        loop {
            let some = state.purge_some(&purge)?;
            removed += some;
            // What came meanwhile was not asked about.
            if some == 0 || removed >= total {
                break;
            }
        }
        while state.give_back()? {}
    }
    let left = state.quarantine_size()?;
    if json {
        let groups: Vec<_> = groups
            .iter()
            .map(|(scope, code, count)| serde_json::json!({"scope": scope, "code": code, "events": count}))
            .collect();
        println!(
            "{}",
            serde_json::json!({
                "dry_run": args.dry_run, "matched": total, "purged": removed, "groups": groups,
                "left": {"events": left.entries, "bytes": left.bytes},
            })
        );
    } else if removed > 0 {
        println!("{} {} purged; {} are left", style::good("ok"), style::count(removed), style::count(left.entries));
    } else if total > 0 {
        println!("nothing was removed");
    }
    Ok(ExitCode::SUCCESS)
}

fn print_groups(groups: &[(String, String, u64)], total: u64) {
    if groups.is_empty() {
        println!("Nothing in quarantine is like that.");
        return;
    }
    let mut table = style::table(&["source or sync", "code", "events"]);
    for (scope, code, count) in groups {
        table.add_row([style::plain(scope, 63), style::plain(code, 64), style::count(*count)]);
    }
    println!("{table}");
    println!("{} in all", style::count(total));
}

/// Asks on a terminal; elsewhere somebody must have said `--yes`.
fn confirmed(args: &PurgeArgs, total: u64) -> Result<bool, CommandFailure> {
    if args.yes {
        return Ok(true);
    }
    if !std::io::stdin().is_terminal() {
        let message = format!("{total} events would go for good; say --yes, or --dry-run to only count them");
        return Err(CommandFailure::Failed(message));
    }
    eprint!("Remove these {} events for good? [y/N] ", style::count(total));
    std::io::stderr().flush()?;
    let mut answer = String::new();
    std::io::stdin().lock().read_line(&mut answer)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

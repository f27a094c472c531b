//! `tidegate check`.

mod connect;
mod deep;

use std::process::ExitCode;

use tidegate_document::problem::Problem;

use super::{CommandDone, WorkspaceArgs, style};
use crate::app::live_versions;
use crate::config::{StartConfig, Workspace};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate check shop            the workspace: every problem, with file, line and fix\n  tidegate check shop --deep     the data as well: is everything on disk what was stored?\n  tidegate check shop --connect  the destinations as well: do they answer, and what may be done there?\n\n--deep reads the log, state.db, SQLite warehouses and the store, and changes nothing; the server may run or not. For each\ndamaged place it says what it is, what follows and what to do. docs/reliability.md says what each lost or damaged file leads to.\n\n--connect asks warehouses for the permissions that loading needs, changes nothing, and prints the statement that grants what is\nmissing. Exit code 1 when anything is damaged, away or not allowed, 3 when the workspace has problems."
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Read everything in the data directory and in SQLite warehouses, and say what is damaged
    #[arg(long)]
    deep: bool,
    /// Ask every destination whether it is there, and what the router may do in it; changes nothing
    #[arg(long, conflicts_with = "deep")]
    connect: bool,
}

pub(super) fn run(args: &CheckArgs, json: bool) -> CommandDone {
    let workspace: Workspace = args.workspace.read()?;
    if args.deep {
        return deep::run(&workspace, json);
    }
    if args.connect {
        return connect::run(&workspace, json);
    }
    let counts = [
        ("sources", workspace.sources.len()),
        ("functions", workspace.functions.len()),
        ("destinations", workspace.destinations.len()),
        ("syncs", workspace.syncs.len()),
        ("contract_events", workspace.contract_events),
    ];
    let notes = workspace.notes(|function| live_versions::has_function(&workspace.data, function));
    let syncs: Vec<(&String, StartConfig)> =
        workspace.syncs.keys().map(|name| (name, workspace.start_of(name))).collect();
    if json {
        let counts: serde_json::Map<_, _> = counts.iter().map(|(name, n)| ((*name).to_owned(), (*n).into())).collect();
        let syncs: serde_json::Map<_, _> =
            syncs.iter().map(|(name, start)| ((*name).clone(), serde_json::json!({"start": start.as_str()}))).collect();
        let answer = serde_json::json!({
            "ok": true, "problems": [], "notes": listed(&notes), "counts": counts, "syncs": syncs,
        });
        println!("{answer}");
    } else {
        for note in &notes {
            eprintln!("{} {note}", style::bold("note:"));
        }
        let counts: Vec<_> = counts.iter().map(|(name, n)| format!("{n} {}", name.replace('_', " "))).collect();
        for (name, start) in &syncs {
            println!("sync {name}: {}", told(*start));
        }
        println!("{} {}: {}", style::good("ok"), workspace.dir.display(), counts.join(", "));
    }
    Ok(ExitCode::SUCCESS)
}

fn told(start: StartConfig) -> &'static str {
    match start {
        StartConfig::Now => "starts with what is accepted once it runs (start: now)",
        StartConfig::Beginning => "starts with all that the log keeps (start: beginning)",
    }
}

fn listed(problems: &[Problem]) -> Vec<serde_json::Value> {
    let object = |problem: &Problem| {
        serde_json::json!({
            "file": problem.file.display().to_string(), "line": problem.line,
            "message": problem.message, "fix": problem.fix,
        })
    };
    problems.iter().map(object).collect()
}

/// Prints problems, whichever command met them.
pub(super) fn report(problems: &[Problem], json: bool) {
    report_with(problems, json, "nothing was started");
}

/// The same, with what follows from them.
pub(super) fn report_with(problems: &[Problem], json: bool, follows: &str) {
    if json {
        println!("{}", serde_json::json!({"ok": false, "problems": listed(problems)}));
        return;
    }
    for problem in problems {
        eprintln!("{} {problem}", style::error("problem:"));
    }
    let (count, plural) = (problems.len(), if problems.len() == 1 { "" } else { "s" });
    eprintln!("{count} problem{plural}; {follows}");
}

//! `tidegate check`.

mod connect;
mod deep;

use std::process::ExitCode;

use serde_json::{Map, Value, json};
use tidegate_document::problem::Problem;

use super::{CommandDone, CommandFailure, WorkspaceArgs, style};
use crate::app::live_versions;
use crate::config::{MAIN_ENVIRONMENT, PortTlsConfig, ReadEnvironment, StartConfig, Workspace};

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate check shop            the workspace and its environments: every problem, with file, line and fix\n  tidegate check shop --deep     the data as well: is everything on disk what was stored?\n  tidegate check shop --connect  destinations and streams as well: do they answer, and what may be done there?\n\n--deep reads the log, state.db, SQLite warehouses and the store, and changes nothing; the server may run or not. For each\ndamaged place it says what it is, what follows and what to do. docs/reliability.md says what each lost or damaged file leads to.\n\n--connect asks warehouses for the permissions that loading needs, changes nothing, and prints the statement that grants what is\nmissing. Exit code 1 when anything is damaged, away or not allowed, 3 when the workspace has problems."
)]
pub(super) struct CheckArgs {
    #[command(flatten)]
    workspace: WorkspaceArgs,
    /// Read everything in the data directory and in SQLite warehouses, and say what is damaged
    #[arg(long)]
    deep: bool,
    /// Ask every destination whether it is there, and what the router may do in it, and every stream whether it can be read; changes nothing
    #[arg(long, conflicts_with = "deep")]
    connect: bool,
}

pub(super) fn run(args: &CheckArgs, json: bool) -> CommandDone {
    let environments = args.workspace.read_environments()?;
    if args.deep {
        return deep::run(&environments, json);
    }
    if args.connect {
        return connect::run(&environments, json);
    }
    // The ports are those of the server's own folder, which comes first.
    let main = environments.iter().take(1).map(|main| &main.workspace);
    let tls = main.flat_map(|workspace| workspace.tls.iter().chain(&workspace.admin_tls));
    let problems: Vec<Problem> = tls.flat_map(PortTlsConfig::problems).collect();
    if !problems.is_empty() {
        return Err(CommandFailure::Problems(problems));
    }
    let mut answer = Map::new();
    for ReadEnvironment { name, workspace, .. } in &environments {
        let is_main = name == MAIN_ENVIRONMENT;
        if !json {
            if !is_main {
                println!();
            }
            print(workspace);
            continue;
        }
        let checked = to_json(workspace);
        if is_main {
            answer = checked;
        } else if let Value::Object(others) = answer.entry("environments").or_insert_with(|| json!({})) {
            others.insert(name.clone(), Value::Object(checked));
        }
    }
    if json {
        println!("{}", Value::Object(answer));
    }
    Ok(ExitCode::SUCCESS)
}

fn counts(workspace: &Workspace) -> [(&'static str, usize); 5] {
    [
        ("sources", workspace.sources.len()),
        ("functions", workspace.functions.len()),
        ("destinations", workspace.destinations.len()),
        ("syncs", workspace.syncs.len()),
        ("contract_events", workspace.contract_events),
    ]
}

fn notes(workspace: &Workspace) -> Vec<Problem> {
    workspace.notes(|function| live_versions::has_function(&workspace.data, function))
}

fn to_json(workspace: &Workspace) -> Map<String, Value> {
    let counts: Map<_, _> = counts(workspace).iter().map(|(name, n)| ((*name).to_owned(), (*n).into())).collect();
    let start = |name: &String| (name.clone(), json!({"start": workspace.start_of(name).text()}));
    let syncs: Map<_, _> = workspace.syncs.keys().map(start).collect();
    let mut answer = Map::new();
    answer.insert("ok".to_owned(), true.into());
    answer.insert("problems".to_owned(), json!([]));
    answer.insert("notes".to_owned(), listed(&notes(workspace)).into());
    answer.insert("counts".to_owned(), counts.into());
    answer.insert("syncs".to_owned(), syncs.into());
    answer
}

fn print(workspace: &Workspace) {
    for note in notes(workspace) {
        eprintln!("{} {note}", style::bold("note:"));
    }
    for name in workspace.syncs.keys() {
        println!("sync {name}: {}", told(workspace.start_of(name)));
    }
    let counts = counts(workspace);
    let counts: Vec<_> = counts.iter().map(|(name, n)| format!("{n} {}", name.replace('_', " "))).collect();
    println!("{} {}: {}", style::good("ok"), workspace.dir.display(), counts.join(", "));
}

fn told(start: StartConfig) -> String {
    let what = match start {
        StartConfig::Now => "what is accepted once it runs",
        StartConfig::Beginning => "all that the log keeps",
        StartConfig::Since(_) => "what was received then or later, as far as the log keeps it",
    };
    format!("starts with {what} (start: {})", start.text())
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

//! A folder held against the catalog of a running server.

use std::path::Path;
use std::process::ExitCode;

use tidegate_api_types::control::{PlanFolder, PlannedObject, ShownCatalogPlan};
use tidegate_api_types::workspace::ObjectChangeKind;

use crate::cli::client::{CatalogClient, TokenArgs};
use crate::cli::field_difference;
use crate::cli::object::print_json;
use crate::cli::{CommandDone, CommandFailure, check, runtime, sent_files, style};
use crate::config::WorkspaceDocuments;

/// Which server, and how far the plan may go.
#[derive(Debug, clap::Args)]
pub(super) struct CatalogPlanArgs {
    /// Hold the folder against the catalog of this server, at its admin API
    #[arg(long, value_name = "URL")]
    pub(super) server: Option<String>,
    /// With --server: the workspace of the catalog [default: default]
    #[arg(long, value_name = "NAME", requires = "server")]
    workspace: Option<String>,
    /// With --server: what the folder manages there and does not name any more would be deleted
    #[arg(long, requires = "server")]
    prune: bool,
    /// With --server: what the folder names and nobody manages would be taken over
    #[arg(long, requires = "server")]
    take_over: bool,
    #[command(flatten)]
    access: TokenArgs,
}

/// Something would change.
const CHANGES: u8 = 2;
const NAME_CHARS_MAX: usize = 200;

pub(super) fn run(args: &CatalogPlanArgs, server: &str, dir: &Path, json: bool) -> CommandDone {
    match plan(args, server, dir) {
        Ok(planned) => {
            if json {
                print_json(&planned);
            } else {
                print(&planned);
            }
            Ok(match (planned.problems.is_empty(), planned.changes.is_empty() && planned.hidden == 0) {
                (false, _) => ExitCode::FAILURE,
                (true, true) => ExitCode::SUCCESS,
                (true, false) => ExitCode::from(CHANGES),
            })
        }
        Err(CommandFailure::Problems(problems)) => {
            check::report(&problems, json);
            Ok(ExitCode::FAILURE)
        }
        Err(failure) => Err(failure),
    }
}

fn plan(args: &CatalogPlanArgs, server: &str, dir: &Path) -> Result<ShownCatalogPlan, CommandFailure> {
    let documents = WorkspaceDocuments::read(dir).and_then(|documents| documents.of_folder());
    let documents = documents.map_err(CommandFailure::Problems)?;
    let client = CatalogClient::new(args.access.client(server)?, args.workspace.clone());
    // What cannot be read is said by an apply.
    let (files, _) = sent_files::hashes(dir, &documents);
    let folder = PlanFolder { documents, files, prune: args.prune, take_over: args.take_over };
    Ok(runtime()?.block_on(client.plan(&folder))?)
}

fn print(planned: &ShownCatalogPlan) {
    print_planned(&planned.changes);
    for name in &planned.of_server {
        let of = style::plain(&name.name, NAME_CHARS_MAX);
        println!(
            "  {} {of} is managed by the server's own folder; an apply changes it with --take-over alone",
            name.kind
        );
    }
    for name in &planned.kept_by_server {
        let of = style::plain(&name.name, NAME_CHARS_MAX);
        println!("  {} {of} is in no file here; the server's own folder has it, and no apply deletes it", name.kind);
    }
    for name in &planned.left {
        let of = style::plain(&name.name, NAME_CHARS_MAX);
        println!("  {} {of} is in no file any more; --prune would delete it", name.kind);
    }
    for problem in &planned.problems {
        println!("{} {}", style::bold("problem:"), style::plain(problem, 400));
    }
    if planned.changes.is_empty() && planned.problems.is_empty() && planned.hidden == 0 {
        println!("nothing is different from revision {}", planned.base_revision);
        return;
    }
    let of = |change| planned.changes.iter().filter(|object| object.change == change).count();
    println!();
    println!(
        "{} to add, {} to change, {} to remove; nothing was changed. Planned from revision {} (`tidegate apply --expect {}`)",
        of(ObjectChangeKind::Added),
        of(ObjectChangeKind::Changed),
        of(ObjectChangeKind::Removed),
        planned.base_revision,
        planned.base_revision
    );
    if planned.hidden > 0 {
        println!("and {} that you may not see", planned.hidden);
    }
}

/// Planned changes, a line for each field.
pub(in crate::cli) fn print_planned(changes: &[PlannedObject]) {
    changes.iter().for_each(print_object);
}

fn print_object(object: &PlannedObject) {
    let sign = match object.change {
        ObjectChangeKind::Added => "+",
        ObjectChangeKind::Changed => "~",
        ObjectChangeKind::Removed => "-",
    };
    let note = match (object.takes_over, object.drifted) {
        (true, _) => " (it is taken over)",
        (_, true) => " (it was changed by other means)",
        _ => "",
    };
    println!("{} {} {}{note}", style::bold(sign), object.kind, style::plain(&object.name, NAME_CHARS_MAX));
    object.fields.iter().for_each(field_difference::print);
}

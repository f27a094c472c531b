//! `tidegate plan`: what would change if one folder were run in the place of another, or applied to a server.

mod server;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use serde_json::{Value, json};
use tidegate_api_types::workspace::{FieldDifference, ObjectChangeKind, ObjectDifference};
use tidegate_document::problem::Problem;
use tidegate_process::clock;

use super::field_difference::VALUE_CHARS_MAX;
use super::{CommandDone, CommandFailure, check, field_difference, style};
use crate::app::change_plan::{ChangePlan, SyncChange};
use crate::app::live_versions;
use crate::config::differences::{ReadWorkspace, WorkspaceDifferences};
use crate::config::{MAIN_ENVIRONMENT, ReadEnvironment, read_environments};
use server::CatalogPlanArgs;
pub(super) use server::print_planned;

#[derive(Debug, clap::Args)]
#[command(
    after_help = "Examples:\n  tidegate plan shop --from ../shop-before          what is different, and what it takes\n  tidegate plan shop --from ../shop-before --json   the same for programs\n  tidegate plan shop --server http://127.0.0.1:8089   what an apply would change of its catalog\n\nBoth folders are read and checked, nothing is changed and, without --server, no server is asked. What is written as\n${NAME} is shown so; secrets that are written down are shown as fingerprints, which are good for one\nanswer. What was pushed to the store of the data directory counts too.\n\nExit code 0 when nothing is different, 2 when something is, 1 when a folder has problems."
)]
pub(super) struct FolderPlanArgs {
    /// The folder that is wanted
    #[arg(default_value = ".", value_name = "DIR")]
    dir: PathBuf,
    /// The folder that is there now
    #[arg(long, value_name = "OTHER_DIR", required_unless_present = "server", conflicts_with = "server")]
    from: Option<PathBuf>,
    /// The data directory of the server [default: `data` of the tidegate.yaml that is there now]
    #[arg(long, value_name = "DATA", conflicts_with = "server")]
    data: Option<PathBuf>,
    #[command(flatten)]
    catalog: CatalogPlanArgs,
}

/// Something would change.
const CHANGES: u8 = 2;

pub(super) fn run(args: &FolderPlanArgs, json: bool) -> CommandDone {
    if let Some(server) = &args.catalog.server {
        return server::run(&args.catalog, server, &args.dir, json);
    }
    match plan(args) {
        Ok(planned) => {
            if json {
                println!("{}", answer(&planned));
            } else {
                planned.iter().for_each(print);
            }
            let is_nothing = planned.iter().all(EnvironmentPlan::is_empty);
            Ok(if is_nothing { ExitCode::SUCCESS } else { ExitCode::from(CHANGES) })
        }
        Err(CommandFailure::Problems(problems)) => {
            check::report(&problems, json);
            Ok(ExitCode::FAILURE)
        }
        Err(failure) => Err(failure),
    }
}

/// What would change in one environment.
struct EnvironmentPlan {
    name: String,
    differences: WorkspaceDifferences,
    plan: ChangePlan,
}

impl EnvironmentPlan {
    fn is_empty(&self) -> bool {
        self.differences.is_empty() && self.plan.is_empty()
    }

    fn between(old: &ReadEnvironment, new: &ReadEnvironment) -> Result<Self, CommandFailure> {
        let releases = live_versions::releases(&old.workspace.data).map_err(CommandFailure::Failed)?;
        let mut differences = WorkspaceDifferences::between(
            ReadWorkspace { documents: &old.documents, workspace: &old.workspace },
            ReadWorkspace { documents: &new.documents, workspace: &new.workspace },
            clock::random(),
        );
        let mut plan = ChangePlan::between(&old.workspace, &new.workspace, &releases);
        // Settings are the server's, and said of its own folder.
        if old.name != MAIN_ENVIRONMENT {
            differences.settings.clear();
            plan.needs_restart.clear();
        }
        Ok(Self { name: old.name.clone(), differences, plan })
    }
}

/// What would change in the folder itself, and in each environment that there is before and after.
fn plan(args: &FolderPlanArgs) -> Result<Vec<EnvironmentPlan>, CommandFailure> {
    let dir = args.from.as_deref().unwrap_or(&args.dir);
    let old = read_environments(dir, args.data.as_deref(), live_versions::destination);
    // What is live in the store of the server counts for both.
    let data = old.as_ref().ok().and_then(|old| old.first()).map(|old| old.workspace.data.clone());
    let new = read_environments(&args.dir, data.as_deref().or(args.data.as_deref()), live_versions::destination);
    let (old, new) = both(old, new)?;
    let pairs = old.iter().filter_map(|old| Some((old, new.iter().find(|new| new.name == old.name)?)));
    pairs.map(|(old, new)| EnvironmentPlan::between(old, new)).collect()
}

/// What was read of each folder, or what is wrong with both.
fn both<T>(from: Result<T, Vec<Problem>>, to: Result<T, Vec<Problem>>) -> Result<(T, T), CommandFailure> {
    match (from, to) {
        (Ok(from), Ok(to)) => Ok((from, to)),
        (from, to) => Err(CommandFailure::Problems([from.err(), to.err()].into_iter().flatten().flatten().collect())),
    }
}

/// The plan of the folder itself, and those of its environments in it.
fn answer(planned: &[EnvironmentPlan]) -> Value {
    let mut answer = json!({});
    for one in planned {
        if one.name == MAIN_ENVIRONMENT {
            answer = answer_of(one);
        } else {
            answer["environments"][&one.name] = answer_of(one);
        }
    }
    answer
}

fn answer_of(EnvironmentPlan { differences, plan, .. }: &EnvironmentPlan) -> Value {
    let syncs: serde_json::Map<_, _> =
        plan.syncs.iter().map(|(name, change)| (name.clone(), change.as_str().into())).collect();
    json!({
        "settings": differences.settings,
        "objects": differences.objects,
        "follows": {
            "lookups": plan.lookups, "functions": plan.functions, "rules": plan.rules, "door": plan.door,
            "runtimes": plan.runtimes, "syncs": syncs, "quarantine": plan.quarantine,
            "needs_restart": plan.needs_restart,
        },
    })
}

fn print(EnvironmentPlan { name, differences, plan }: &EnvironmentPlan) {
    if name != MAIN_ENVIRONMENT {
        println!();
        println!("{}", style::bold(&format!("environment {name}")));
    }
    print_differences(&differences.settings, &differences.objects);
    let follows = follows(plan);
    if !follows.is_empty() {
        println!();
        println!("What it takes:");
    }
    for line in follows {
        println!("  {line}");
    }
    let of = |change| differences.objects.iter().filter(|object| object.change == change).count();
    if differences.is_empty() && plan.is_empty() {
        println!("nothing is different");
        return;
    }
    println!();
    println!(
        "{} to add, {} to change, {} to remove; nothing was changed",
        of(ObjectChangeKind::Added),
        of(ObjectChangeKind::Changed),
        of(ObjectChangeKind::Removed)
    );
}

/// What is different, a line for each field.
pub(super) fn print_differences(settings: &[FieldDifference], objects: &[ObjectDifference]) {
    if !settings.is_empty() {
        println!("{} tidegate.yaml", style::bold("~"));
        settings.iter().for_each(field_difference::print);
    }
    objects.iter().for_each(print_object);
}

fn print_object(object: &ObjectDifference) {
    let sign = match object.change {
        ObjectChangeKind::Added => "+",
        ObjectChangeKind::Changed => "~",
        ObjectChangeKind::Removed => "-",
    };
    println!("{} {}", style::bold(sign), style::plain(&object.object.to_string(), VALUE_CHARS_MAX));
    object.fields.iter().for_each(field_difference::print);
    for input in &object.inputs {
        println!("    {} is another one", style::plain(input, VALUE_CHARS_MAX));
    }
}

/// What is done, a line for each part.
fn follows(plan: &ChangePlan) -> Vec<String> {
    let mut lines = Vec::new();
    let named = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    if !plan.needs_restart.is_empty() {
        lines.push(format!("{}: counts from the next start", plan.needs_restart.join(", ")));
    }
    if plan.quarantine {
        lines.push("the bounds of the quarantine change".to_owned());
    }
    if plan.door {
        lines.push("sources: requests are taken by the new keys and limits".to_owned());
    }
    if !plan.lookups.is_empty() {
        lines.push(format!("lookups read anew: {}", named(&plan.lookups)));
    }
    if !plan.functions.is_empty() {
        lines.push(format!("functions loaded anew: {}", named(&plan.functions)));
    }
    if plan.rules {
        lines.push("events are judged by the new contracts and run through the new functions".to_owned());
    }
    for name in &plan.runtimes {
        lines.push(format!("destination {name}: its plugin is opened anew, and the next batch goes with it"));
    }
    lines.extend(plan.syncs.iter().map(|(name, change)| format!("sync {name}: {}", told(*change))));
    lines
}

const fn told(change: SyncChange) -> &'static str {
    match change {
        SyncChange::Start => "starts",
        SyncChange::Settle => "reads no further; what is pending is tried on",
        SyncChange::Resume => "goes on where it was",
        SyncChange::Pause => "stops where it is; the log keeps what waits for it",
        SyncChange::Regather => "gathers its next batch in the new way, for the same destination",
        SyncChange::Reopen => {
            "opens its destination anew and goes on at what that has; a place without anything of it gets what the log keeps"
        }
        SyncChange::Replace => "ends and starts anew as another one; what waits for it has to be delivered or given up",
        SyncChange::End => "ends; what waits for it has to be delivered or given up",
    }
}

//! `tidegate warehouse`.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use tidegate_document::file;
use tidegate_event::Event;
use tidegate_event::record::RecordProblem;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::plan::PlanStep;
use tidegate_warehouse::schema_cache::FoundSchema;

use super::{CommandDone, CommandFailure, EnvironmentArgs, runtime, style};
use crate::app::declare;
use crate::app::sample::{LeftOut, Sampled, Sampler, sampled_event};
use crate::config::{DestinationKind, Workspace};
use crate::warehouses::WarehouseSettings;

#[derive(Debug, clap::Subcommand)]
pub(super) enum WarehouseCommand {
    /// Show the statements that would make the tables fit the contract, or a sample of events; runs none of them
    #[command(
        after_help = "Examples:\n  tidegate warehouse plan shop                       what the contract declares\n  tidegate warehouse plan shop --events sample.jsonl   what these events would make\n  tidegate warehouse plan shop --from-nothing        as if the warehouse were empty, without connecting\n\nEvents are JSON lines as SDKs send them, or one JSON array. They go through the contract, the functions, the filter and the\nmapping of the sync, as events do that are sent; what would not be delivered is counted with the reason. Tables and columns appear by themselves when events come;\nthis is for people who want to read, review or run the statements before."
    )]
    Plan(PlanArgs),
}

#[derive(Debug, clap::Args)]
pub(super) struct PlanArgs {
    #[command(flatten)]
    workspace: EnvironmentArgs,
    /// Only this sync [default: every sync to a warehouse]
    #[arg(long, value_name = "NAME")]
    sync: Option<String>,
    /// A sample of events; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    events: Option<PathBuf>,
    /// Take the warehouse for empty; connects to nothing
    #[arg(long)]
    from_nothing: bool,
}

/// What would be done for one sync.
struct ShownPlan {
    sync: String,
    kind: &'static str,
    /// The statement that makes the schema.
    schema: Option<String>,
    steps: Vec<PlanStep>,
    notices: Vec<String>,
    /// Events of the sample that would not be delivered, by the reason.
    left_out: BTreeMap<String, u64>,
}

/// Events planned together.
const CHUNK_EVENTS: usize = 1_000;

pub(super) fn run(command: &WarehouseCommand, json: bool) -> CommandDone {
    let WarehouseCommand::Plan(args) = command;
    let workspace = args.workspace.read()?;
    let syncs = syncs(&workspace, args.sync.as_deref())?;
    let sample = args.events.as_ref().map(sample).transpose()?;
    let runtime = runtime()?;
    let sampler = match &sample {
        Some(_) => Some(
            runtime.block_on(Sampler::open(&workspace)).map_err(|error| CommandFailure::Failed(error.to_string()))?,
        ),
        None => None,
    };
    let mut planned = Vec::new();
    for (sync, settings) in syncs {
        let part = declare::part(&workspace, &sync, 0);
        let found = if args.from_nothing { settings.nothing(&part) } else { find(&runtime, settings, &part)? };
        let source = &workspace.syncs[&sync].source.0;
        let (events, refused) = decoded(sample.as_deref().unwrap_or_default(), source)?;
        let mut sampled = match &sampler {
            Some(sampler) => runtime.block_on(sampler.pass(&sync, events)),
            None => Sampled::default(),
        };
        for reason in refused {
            sampled.leave_out(reason);
        }
        planned.push(plan(settings, &part, found, sampled)?);
    }
    if json {
        print_json(&planned);
    } else {
        planned.iter().for_each(print);
    }
    Ok(ExitCode::SUCCESS)
}

fn find(
    runtime: &tokio::runtime::Runtime,
    settings: &WarehouseSettings,
    part: &SyncPart,
) -> Result<FoundSchema, CommandFailure> {
    runtime.block_on(settings.find(part)).map_err(|failure| {
        CommandFailure::Failed(format!("{failure}; --from-nothing plans without looking at what is there"))
    })
}

/// The syncs to warehouses, or the one that was asked for.
fn syncs<'w>(
    workspace: &'w Workspace,
    asked: Option<&str>,
) -> Result<Vec<(String, &'w WarehouseSettings)>, CommandFailure> {
    let mut found = Vec::new();
    for (name, sync) in &workspace.syncs {
        if let DestinationKind::Warehouse(settings) = &workspace.destinations[&sync.destination.0].kind
            && asked.is_none_or(|asked| asked == name)
        {
            found.push((name.clone(), &**settings));
        }
    }
    if found.is_empty() {
        let names: Vec<&str> = workspace.syncs.keys().map(String::as_str).collect();
        return Err(CommandFailure::Failed(match asked {
            Some(asked) => format!("no sync called {asked:?} leads to a warehouse; there are {}", names.join(", ")),
            None => "no sync of this workspace leads to a warehouse; make one in syncs/".to_owned(),
        }));
    }
    Ok(found)
}

fn plan(
    settings: &WarehouseSettings,
    part: &SyncPart,
    found: FoundSchema,
    sampled: Sampled,
) -> Result<ShownPlan, CommandFailure> {
    let mut plan = settings.plan(part, found);
    let taken = |name: String| {
        let kind = settings.capabilities().title;
        CommandFailure::Failed(format!(
            "{name} exists in {kind} and is not the router's; rename it, or give the sync {} a `schema` of its own",
            part.sync
        ))
    };
    plan.declared().map_err(|name| taken(name.0))?;
    for chunk in sampled.events.chunks(CHUNK_EVENTS) {
        plan.events(chunk).map_err(|name| taken(name.0))?;
    }
    plan.violations(&sampled.violations).map_err(|name| taken(name.0))?;
    let schema = plan.schema().map(str::to_owned);
    let (steps, notices) = plan.finish();
    let left_out = sampled.left_out.into_iter().map(|(reason, count)| (reason.to_string(), count)).collect();
    let (sync, kind) = (part.sync.clone(), settings.capabilities().kind);
    Ok(ShownPlan { sync, kind, schema, steps, notices, left_out })
}

/// The lines of a sample, each an event.
fn sample(path: &PathBuf) -> Result<Vec<String>, CommandFailure> {
    let failed = |error: std::io::Error| CommandFailure::Failed(format!("{}: {error}", path.display()));
    let text = if path.as_os_str() == "-" {
        std::io::read_to_string(std::io::stdin()).map_err(failed)?
    } else {
        std::fs::read_to_string(path).map_err(failed)?
    };
    let text = file::without_mark(&text);
    if text.trim_start().starts_with('[') {
        let values: Vec<serde_json::Value> = serde_json::from_str(text)
            .map_err(|error| CommandFailure::Failed(format!("{}: no JSON array of events: {error}", path.display())))?;
        return Ok(values.iter().map(ToString::to_string).collect());
    }
    let lines = BufReader::new(text.as_bytes()).lines();
    Ok(lines.map_while(Result::ok).filter(|line| !line.trim().is_empty()).collect())
}

/// The events of a source, as the server would have them, and why it would have no more: of each the reason.
fn decoded(sample: &[String], source: &str) -> Result<(Vec<Event>, Vec<LeftOut>), CommandFailure> {
    let source: Arc<str> = source.into();
    let (mut events, mut refused) = (Vec::with_capacity(sample.len()), Vec::new());
    for (number, text) in (0..).zip(sample) {
        match sampled_event(text, &source, number) {
            Ok(event) => events.push(event),
            // No server would keep such a line apart from its neighbours.
            Err(refusal) if refusal.code == RecordProblem::Malformed.code() => {
                let message = format!("event {} of the sample: {} ({})", number + 1, refusal.message, refusal.code);
                return Err(CommandFailure::Failed(message));
            }
            Err(refusal) => {
                refused.push(LeftOut::Quarantined { code: refusal.code.to_owned(), message: refusal.message });
            }
        }
    }
    Ok((events, refused))
}

fn print(planned: &ShownPlan) {
    let ShownPlan { sync, kind, schema, steps, notices, left_out } = planned;
    let created = steps.iter().filter(|step| step.creates).count();
    let added: usize = steps.iter().filter(|step| !step.creates).map(|step| step.columns_added).sum();
    let widened: usize = steps.iter().map(|step| step.columns_widened).sum();
    let summary = if steps.is_empty() {
        "nothing to do".to_owned()
    } else {
        format!("{created} tables to create, {added} columns to add, {widened} to widen")
    };
    println!("{}", style::bold(&format!("-- {sync} ({kind}): {summary}")));
    for notice in notices {
        println!("-- {}", style::plain(notice, 500));
    }
    for (reason, count) in left_out {
        println!("-- {count} of the sample would not be delivered: {}", style::plain(reason, 500));
    }
    if let Some(schema) = schema {
        println!("{};", style::plain(schema, usize::MAX));
    }
    for statement in steps.iter().flat_map(|step| &step.statements) {
        let end = if statement.starts_with("--") { "" } else { ";" };
        println!("{}{end}", style::plain(statement, usize::MAX));
    }
}

fn print_json(planned: &[ShownPlan]) {
    let step = |step: &PlanStep| {
        serde_json::json!({
            "table": step.table, "creates": step.creates, "columns_added": step.columns_added,
            "columns_widened": step.columns_widened, "statements": step.statements,
        })
    };
    let list: Vec<_> = planned
        .iter()
        .map(|planned| {
            let steps: Vec<_> = planned.steps.iter().map(step).collect();
            serde_json::json!({
                "sync": planned.sync, "kind": planned.kind, "schema": planned.schema, "steps": steps,
                "notices": planned.notices, "left_out": planned.left_out,
            })
        })
        .collect();
    println!("{}", serde_json::Value::Array(list));
}

//! `tidegate check --connect`: asks each destination whether it is there and what may be done in it, and changes nothing.

mod plugins;

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::{join, join_all};
use tidegate_process::telemetry::with_causes;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::rights::{Can, Right};

use super::super::{CommandDone, runtime, style};
use crate::app::declare;
use crate::config::{DestinationKind, MAIN_ENVIRONMENT, ReadEnvironment, Workspace};
use crate::warehouses::WarehouseSettings;

/// A destination that has not answered by then is away.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of one try.
struct Tried {
    environment: String,
    /// `None` for a destination that no sync names.
    sync: Option<String>,
    destination: String,
    /// What it said, or why it could not be asked.
    outcome: Result<String, String>,
    /// What may be done there.
    rights: Vec<Right>,
}

impl Tried {
    fn is_fine(&self) -> bool {
        self.outcome.is_ok() && !self.rights.iter().any(Right::is_in_the_way)
    }
}

pub(super) fn run(environments: &[ReadEnvironment], json: bool) -> CommandDone {
    let runtime = runtime()?;
    let asked = environments.iter().flat_map(|one| asked(&one.workspace).into_iter().map(move |asked| (one, asked)));
    let tried = runtime.block_on(join_all(asked.map(async |(environment, (sync, destination))| {
        let ReadEnvironment { name, workspace, .. } = environment;
        let (outcome, rights) = match &workspace.destinations[destination].kind {
            DestinationKind::Warehouse(settings) => {
                // Without a sync there is no schema to look into but the destination's own.
                let alone = || SyncPart { sync: destination.to_owned(), ..SyncPart::default() };
                let part = sync.map_or_else(alone, |sync| declare::part(workspace, sync, 0));
                join(warehouse(&part, settings), rights(&part, settings)).await
            }
            DestinationKind::Plugin(config) => (plugins::plugin(config).await, Vec::new()),
        };
        Tried {
            environment: name.clone(),
            sync: sync.map(str::to_owned),
            destination: destination.to_owned(),
            outcome,
            rights,
        }
    })));
    runtime.shutdown_background();
    let is_fine = tried.iter().all(Tried::is_fine);
    if json {
        let list: Vec<_> = tried.iter().map(object).collect();
        println!("{}", serde_json::json!({"ok": is_fine, "destinations": list}));
    } else {
        tried.iter().for_each(print);
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What is asked: the destination of each sync, then each destination that no sync names.
fn asked(workspace: &Workspace) -> Vec<(Option<&str>, &str)> {
    let of_syncs = workspace.syncs.iter().map(|(name, sync)| (Some(name.as_str()), sync.destination.0.as_str()));
    let of_syncs: Vec<_> = of_syncs.collect();
    let names = workspace.destinations.keys().map(String::as_str);
    let alone = names.filter(|name| !of_syncs.iter().any(|(_, destination)| destination == name));
    of_syncs.iter().copied().chain(alone.map(|name| (None, name))).collect()
}

async fn warehouse(part: &SyncPart, settings: &WarehouseSettings) -> Result<String, String> {
    if let WarehouseSettings::Sqlite(sqlite) = settings
        && !sqlite.path.exists()
    {
        return Ok(format!("{} is made at the first start", sqlite.path.display()));
    }
    let ask = async {
        let mut destination = settings.open(part)?;
        let durable = destination.durable_to().await?;
        let found = settings.find(part).await?;
        Ok::<_, tidegate_event::destination::Failure>((durable, found.tables.len()))
    };
    let (durable, tables) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(asked) => asked.map_err(|failure| with_causes(&failure))?,
        Err(_) => return Err(format!("it has not answered within {} s", PATIENCE.as_secs())),
    };
    let tables = if tables == 1 { "1 table".to_owned() } else { format!("{} tables", style::count(tables as u64)) };
    Ok(match durable {
        Some(durable) => {
            format!("it answers: {tables}, and everything below offset {} of the log", style::count(durable))
        }
        None => format!("it answers: {tables}, and nothing of this sync yet"),
    })
}

/// What may be done there; nothing where it cannot be asked, which the other question tells.
async fn rights(part: &SyncPart, settings: &WarehouseSettings) -> Vec<Right> {
    match tokio::time::timeout(PATIENCE, settings.rights(part)).await {
        Ok(Ok(rights)) => rights,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn object(tried: &Tried) -> serde_json::Value {
    let says = match &tried.outcome {
        Ok(says) | Err(says) => says,
    };
    let rights: Vec<_> = tried.rights.iter().map(right).collect();
    serde_json::json!({
        "environment": tried.environment, "sync": tried.sync, "destination": tried.destination, "ok": tried.is_fine(), "says": says, "may": rights,
    })
}

/// `can` is null where it is not known.
fn right(right: &Right) -> serde_json::Value {
    let can = match right.can {
        Can::Yes => Some(true),
        Can::No => Some(false),
        Can::Unknown => None,
    };
    let fix = (right.can != Can::Yes).then_some(&right.fix);
    serde_json::json!({"what": right.what, "can": can, "needed": right.is_needed, "fix": fix})
}

fn print(tried: &Tried) {
    let Tried { environment, sync, destination, outcome, rights } = tried;
    let of = sync.as_ref().map_or_else(|| "no sync".to_owned(), |sync| format!("sync {sync}"));
    let of = if environment == MAIN_ENVIRONMENT { of } else { format!("{of} of {environment}") };
    match outcome {
        Ok(says) if tried.is_fine() => {
            println!("{} {destination} ({of}): {}", style::good("ok"), style::plain(says, 500));
        }
        Ok(says) | Err(says) => {
            eprintln!("{} {destination} ({of}): {}", style::error("failed:"), style::plain(says, 1_000));
        }
    }
    let may: Vec<&str> = rights.iter().filter(|right| right.can == Can::Yes).map(|right| &*right.what).collect();
    if !may.is_empty() {
        println!("   it may {}", style::plain(&may.join("; "), 2_000));
    }
    for right in rights.iter().filter(|right| right.can != Can::Yes) {
        let (start, end) = match (right.can, right.is_needed) {
            (Can::Unknown, _) => ("it is not known whether it may", ""),
            (_, true) => ("it may not", ", so nothing can be loaded"),
            (_, false) => ("it may not", ", and loads without"),
        };
        eprintln!("   {start} {}{end}: {}", style::plain(&right.what, 500), style::plain(&right.fix, 2_000));
    }
}

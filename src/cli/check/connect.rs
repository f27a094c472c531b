//! `tidegate check --connect`: asks each destination whether it is there, and changes nothing.

use std::process::ExitCode;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_process::telemetry::with_causes;

use super::super::{Done, paint, runtime};
use crate::app::declare;
use crate::config::{DestinationKind, Workspace};
use crate::warehouses::Settings;

/// A destination that has not answered by then is away.
const PATIENCE: Duration = Duration::from_secs(15);

/// What became of one try.
struct Tried {
    sync: String,
    destination: String,
    /// What it said, or why it could not be asked.
    outcome: Result<String, String>,
}

pub(super) fn run(workspace: &Workspace, json: bool) -> Done {
    let runtime = runtime()?;
    let tried = runtime.block_on(join_all(workspace.syncs.iter().map(async |(name, sync)| {
        let destination = &sync.destination.0;
        let outcome = match &workspace.destinations[destination].kind {
            DestinationKind::Warehouse(settings) => warehouse(workspace, name, settings).await,
            DestinationKind::Plugin(_) => {
                Ok("a plugin: it is tried with the first event, and nothing was sent now".to_owned())
            }
        };
        Tried { sync: name.clone(), destination: destination.clone(), outcome }
    })));
    runtime.shutdown_background();
    let is_fine = tried.iter().all(|tried| tried.outcome.is_ok());
    if json {
        let list: Vec<_> = tried.iter().map(object).collect();
        println!("{}", serde_json::json!({"ok": is_fine, "destinations": list}));
    } else {
        tried.iter().for_each(print);
    }
    Ok(if is_fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn warehouse(workspace: &Workspace, sync: &str, settings: &Settings) -> Result<String, String> {
    if let Settings::Sqlite(sqlite) = settings
        && !sqlite.path.exists()
    {
        return Ok(format!("{} is made at the first start", sqlite.path.display()));
    }
    let ask = async {
        let part = declare::part(workspace, sync);
        let mut destination = settings.open(&part)?;
        let durable = destination.durable_to().await?;
        let found = settings.find(&part).await?;
        Ok::<_, tidegate_event::destination::Failure>((durable, found.tables.len()))
    };
    let (durable, tables) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(asked) => asked.map_err(|failure| with_causes(&failure))?,
        Err(_) => return Err(format!("it has not answered within {} s", PATIENCE.as_secs())),
    };
    let tables = if tables == 1 { "1 table".to_owned() } else { format!("{} tables", paint::count(tables as u64)) };
    Ok(match durable {
        Some(durable) => {
            format!("it answers: {tables}, and everything below offset {} of the log", paint::count(durable))
        }
        None => format!("it answers: {tables}, and nothing of this sync yet"),
    })
}

fn object(tried: &Tried) -> serde_json::Value {
    let (ok, says) = match &tried.outcome {
        Ok(says) => (true, says),
        Err(says) => (false, says),
    };
    serde_json::json!({"sync": tried.sync, "destination": tried.destination, "ok": ok, "says": says})
}

fn print(tried: &Tried) {
    let Tried { sync, destination, outcome } = tried;
    match outcome {
        Ok(says) => println!("{} {destination} (sync {sync}): {}", paint::good("ok"), paint::plain(says, 500)),
        Err(says) => {
            eprintln!("{} {destination} (sync {sync}): {}", paint::error("failed:"), paint::plain(says, 1_000))
        }
    }
}

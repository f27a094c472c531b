//! Asks destinations whether they are there and what may be done in them, and streams whether they can be read. Nothing is changed.

mod plugins;

use std::time::Duration;

use futures_util::future::{join, join_all};
use tidegate_api_types::tried::{TriedConnection, TriedRight, TriedStream};
use tidegate_event::destination::Failure;
use tidegate_process::telemetry::with_causes;
use tidegate_schema_registry::RegisteredSchemas;
use tidegate_stream::StreamError;
use tidegate_warehouse::SyncPart;
use tidegate_warehouse::rights::{Can, Right};

use super::declare;
use crate::config::{DestinationKind, StreamDestinationConfig, StreamSourceConfig, Workspace};
use crate::warehouses::WarehouseSettings;

/// A destination that has not answered by then is away.
pub(super) const PATIENCE: Duration = Duration::from_secs(15);

/// How the destinations of a workspace answer: that of each sync, then each that no sync names; of these the chosen ones, by sync and
/// destination.
pub async fn connections(
    workspace: &Workspace,
    is_chosen: impl Fn(Option<&str>, &str) -> bool,
) -> Vec<TriedConnection> {
    let chosen = asked(workspace).into_iter().filter(|(sync, destination)| is_chosen(*sync, destination));
    join_all(chosen.map(|(sync, destination)| connection(workspace, sync, destination))).await
}

/// How the streams answer that the sources of a workspace read.
pub async fn streams(workspace: &Workspace) -> Vec<TriedStream> {
    let asked =
        workspace.sources.iter().filter_map(|(name, source)| Some(source_stream(name, source.stream.as_ref()?)));
    join_all(asked).await
}

async fn source_stream(name: &str, config: &StreamSourceConfig) -> TriedStream {
    let ask = async {
        let mut found = config.origin.check().await?;
        if let Some(registry) = &config.settings.registry {
            found.extend(RegisteredSchemas::open(registry)?.check().await?);
        }
        Ok::<_, StreamError>(found)
    };
    let (ok, says) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(found)) => (true, found),
        Ok(Err(error)) => (false, vec![error.to_string()]),
        Err(_) => (false, vec![format!("it has not answered within {} s", PATIENCE.as_secs())]),
    };
    TriedStream { source: name.to_owned(), place: config.origin.place(), ok, says }
}

async fn connection(workspace: &Workspace, sync: Option<&str>, destination: &str) -> TriedConnection {
    let (outcome, rights) = match &workspace.destinations[destination].kind {
        DestinationKind::Warehouse(settings) => {
            // Without a sync there is no schema to look into but the destination's own.
            let alone = || SyncPart { sync: destination.to_owned(), ..SyncPart::default() };
            let part = sync.map_or_else(alone, |sync| declare::part(workspace, sync, 0));
            join(warehouse(&part, settings), rights(&part, settings)).await
        }
        DestinationKind::Plugin(config) => (plugins::plugin(config).await, Vec::new()),
        DestinationKind::Stream(config) => (stream(config).await, Vec::new()),
    };
    let ok = outcome.is_ok() && !rights.iter().any(Right::is_in_the_way);
    let (Ok(says) | Err(says)) = outcome;
    TriedConnection {
        sync: sync.map(str::to_owned),
        destination: destination.to_owned(),
        ok,
        says,
        may: rights.into_iter().map(tried).collect(),
    }
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
        Ok::<_, Failure>((durable, found.tables.len()))
    };
    let (durable, tables) = match tokio::time::timeout(PATIENCE, ask).await {
        Ok(asked) => asked.map_err(|failure| with_causes(&failure))?,
        Err(_) => return Err(format!("it has not answered within {} s", PATIENCE.as_secs())),
    };
    let plural = if tables == 1 { "" } else { "s" };
    Ok(match durable {
        Some(durable) => {
            format!("it answers: {tables} table{plural}, and everything below offset {durable} of the log")
        }
        None => format!("it answers: {tables} table{plural}, and nothing of this sync yet"),
    })
}

async fn stream(config: &StreamDestinationConfig) -> Result<String, String> {
    let ask = async {
        let mut found = config.target.check().await?;
        if let Some(format) = &config.shape.format {
            found.extend(format.check().await?);
        }
        Ok::<_, StreamError>(found)
    };
    match tokio::time::timeout(PATIENCE, ask).await {
        Ok(Ok(found)) => Ok(found.join("; ")),
        Ok(Err(error)) => Err(error.to_string()),
        Err(_) => Err(format!("it has not answered within {} s", PATIENCE.as_secs())),
    }
}

/// What may be done there; nothing where it cannot be asked, which the other question tells.
async fn rights(part: &SyncPart, settings: &WarehouseSettings) -> Vec<Right> {
    match tokio::time::timeout(PATIENCE, settings.rights(part)).await {
        Ok(Ok(rights)) => rights,
        Ok(Err(_)) | Err(_) => Vec::new(),
    }
}

fn tried(right: Right) -> TriedRight {
    let can = match right.can {
        Can::Yes => Some(true),
        Can::No => Some(false),
        Can::Unknown => None,
    };
    let needs_fix = right.can != Can::Yes;
    let Right { what, is_needed, fix, .. } = right;
    TriedRight { what, can, needed: is_needed, fix: needs_fix.then_some(fix) }
}

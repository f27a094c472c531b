//! Opens the destinations of all syncs.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::Error;
use crate::config::{DestinationKind, PluginConfig, SyncConfig, Workspace};
use crate::delivery::{Courier, PluginDestination};
use crate::destination::Destination;
use crate::state::{self, State};
use crate::store::Store;
use crate::sync::{Company, Settings};
use crate::warehouse::sqlite::SqliteWarehouse;
use crate::warehouse::table::Limits;
use crate::wasm::World;

type Cause = Box<dyn std::error::Error + Send + Sync>;

/// The destination of each sync, in the order of the syncs, and the offset below which everything is durable there.
pub(super) async fn open(
    workspace: &Workspace,
    store: &Store,
    open_state: impl Fn() -> Result<State, state::Error>,
) -> Result<Vec<(Box<dyn Destination>, u64)>, Error> {
    let couriers = couriers(workspace, store).await?;
    let mut destinations = Vec::new();
    for (name, sync) in &workspace.syncs {
        let failed = |cause: Cause| Error::Sync { name: name.clone(), cause };
        let mut destination: Box<dyn Destination> = match &workspace.destinations[&sync.destination.0].kind {
            DestinationKind::Sqlite { path, columns_max, tables_max } => {
                let limits = Limits { columns_max: *columns_max, tables_max: *tables_max };
                let opened = SqliteWarehouse::open(path, name, sync.schema.as_deref(), limits);
                let running = opened.and_then(|client| client.run());
                Box::new(running.map_err(|error| failed(Box::new(error)))?)
            }
            DestinationKind::Plugin(_) => {
                let courier = Arc::clone(&couriers[&sync.destination.0]);
                Box::new(PluginDestination::run(courier, name, open_state()?)?)
            }
        };
        let durable = destination.durable_to().await.map_err(|error| failed(Box::new(error)))?;
        destinations.push((destination, durable.unwrap_or(0)));
    }
    Ok(destinations)
}

/// How a sync gathers for its destination: a plugin says how long its events may wait for company.
pub(super) fn settings(workspace: &Workspace, sync: &SyncConfig) -> Settings {
    let mut settings = sync.settings.clone();
    if let DestinationKind::Plugin(config) = &workspace.destinations[&sync.destination.0].kind {
        let batching = config.terms.batching();
        // What is handed over at once must find room when all of it has to wait.
        let room = usize::try_from(config.terms.pending().events_max).unwrap_or(usize::MAX);
        settings.batch_events_max = settings.batch_events_max.min(room);
        settings.company = Company { events: batching.events_max, age_max: batching.age_max };
    }
    settings
}

/// One courier for each destination plugin that a sync uses.
async fn couriers(workspace: &Workspace, store: &Store) -> Result<BTreeMap<String, Arc<Courier>>, Error> {
    let mut couriers = BTreeMap::new();
    let used = |name: &str| workspace.syncs.values().any(|sync| sync.destination.0 == name);
    let plugins: Vec<(&String, &PluginConfig)> = workspace
        .destinations
        .iter()
        .filter(|(name, _)| used(name))
        .filter_map(|(name, config)| match &config.kind {
            DestinationKind::Plugin(config) => Some((name, &**config)),
            DestinationKind::Sqlite { .. } => None,
        })
        .collect();
    let failed = |name: &str, cause: Cause| Error::Destination { name: name.to_owned(), cause };
    for (name, config) in plugins {
        let component = std::fs::read(&config.component).map_err(|cause| Error::Io {
            action: "could not read",
            path: config.component.clone(),
            cause,
        })?;
        let module = store
            .module(&config.component, &component, World::Destination)
            .map_err(|error| failed(name, Box::new(error)))?;
        let courier = Courier::open(module, name, config.terms.clone()).await;
        couriers.insert(name.clone(), courier.map_err(|error| failed(name, Box::new(error)))?);
    }
    Ok(couriers)
}

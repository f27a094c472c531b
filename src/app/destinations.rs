//! Opens the destinations of all syncs.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tidegate_delivery::PluginDestination;
use tidegate_event::destination::Destination;
use tidegate_event::in_partition;
use tidegate_pipeline::sync::{Company, SyncFilter, SyncSettings};
use tidegate_state::{self as state, State};
use tidegate_stream::StreamDestination;
use tidegate_warehouse::SyncPart;

use super::active_runtimes::ActiveRuntimes;
use super::continuity::Ledger;
use super::swap_locks::LockedDestination;
use super::unopened::Unopened;
use super::{AppError, declare};
use crate::config::{DestinationKind, SyncConfig, Workspace};
use crate::warehouses::WarehouseSettings;

/// How long a start waits for a destination to say how far it is.
const FLOOR_PATIENCE: Duration = Duration::from_secs(5);

/// The destination of a sync, and what it says of how far it is.
pub(super) struct OpenedDestination {
    pub(super) destination: Box<dyn Destination>,
    pub(super) ledger: Ledger,
}

/// The destination of each sync that runs, by its name, in each of so many partitions. `data_id` is that of the data directory.
pub(super) async fn open(
    workspace: &Workspace,
    active_runtimes: &ActiveRuntimes,
    partitions: u16,
    data_id: &str,
    open_state: impl Fn(u16) -> Result<State, state::StateError>,
) -> Result<Vec<BTreeMap<String, OpenedDestination>>, AppError> {
    let mut destinations = Vec::new();
    let of_partition = |partition| workspace.syncs.iter().map(move |sync| (partition, sync));
    for (partition, (name, sync)) in (0..partitions).flat_map(of_partition) {
        if workspace.is_sync_paused(name) {
            continue;
        }
        let destination = destination(workspace, active_runtimes, name, open_state(partition)?, Some(data_id))?;
        let is_in_state = workspace.destinations[&sync.destination.0].kind.has_cursor_in_state();
        destinations.push(((partition, name), is_in_state, destination));
    }
    // All at once, and one that is away must not keep the door shut; its sync finds its place when it is back.
    let asked = destinations.into_iter().map(async |((partition, name), is_in_state, mut destination)| {
        let ledger = match tokio::time::timeout(FLOOR_PATIENCE, destination.durable_to()).await {
            // That is the state's own cursor.
            Ok(Ok(_)) if is_in_state => Ledger::Plugin,
            Ok(Ok(durable)) => durable.map_or(Ledger::Never, Ledger::At),
            Ok(Err(failure)) => away(name, &failure.to_string()),
            Err(_) => away(name, "it does not answer"),
        };
        (partition, name.clone(), OpenedDestination { destination, ledger })
    });
    let mut opened: Vec<BTreeMap<_, _>> = (0..partitions).map(|_| BTreeMap::new()).collect();
    for (partition, name, destination) in join_all(asked).await {
        opened[usize::from(partition)].insert(name, destination);
    }
    Ok(opened)
}

fn away(sync: &str, error: &str) -> Ledger {
    tracing::error!(sync, error, "a destination is away or cannot be opened at the start; its events wait in the log");
    Ledger::Away
}

/// The destination of the sync `name` in the partition that `state` is for. Of which data directory that is, the state says where `data_id`
/// does not: one that was made just now does not know it yet.
pub(super) fn destination(
    workspace: &Workspace,
    active_runtimes: &ActiveRuntimes,
    name: &str,
    state: State,
    data_id: Option<&str>,
) -> Result<Box<dyn Destination>, state::StateError> {
    kept_as(workspace, active_runtimes, (name, name), state, data_id)
}

/// The same for a replay of the sync: in the tables of the sync, and with a name of its own for what the ledger and the state say of it.
pub(super) fn destination_of_replay(
    workspace: &Workspace,
    active_runtimes: &ActiveRuntimes,
    (name, replay): (&str, &str),
    state: State,
) -> Result<Box<dyn Destination>, state::StateError> {
    kept_as(workspace, active_runtimes, (name, replay), state, None)
}

/// The tables of a part of a warehouse.
pub(super) fn unopened(settings: &WarehouseSettings, part: &SyncPart) -> Unopened {
    let (settings, part) = (settings.clone(), part.clone());
    Unopened::new(move || settings.open(&part))
}

fn kept_as(
    workspace: &Workspace,
    active_runtimes: &ActiveRuntimes,
    (name, kept): (&str, &str),
    state: State,
    data_id: Option<&str>,
) -> Result<Box<dyn Destination>, state::StateError> {
    let named = workspace.syncs.get(name).map(|sync| sync.destination.0.as_str()).unwrap_or_default();
    Ok(match workspace.destinations.get(named).map(|it| &it.kind) {
        Some(DestinationKind::Warehouse(settings)) => {
            let sync = in_partition(kept, state.partition()).into_owned();
            let part = SyncPart { sync, ..declare::part(workspace, name, state.partition()) };
            let settings = settings.clone();
            Box::new(LockedDestination::new(active_runtimes.swap_locks().of(name), move || unopened(&settings, &part)))
        }
        Some(DestinationKind::Stream(stream)) => {
            // A sync that has failed only is in the state with 0.
            let cursor = state.cursor(kept)?.filter(|cursor| *cursor > 0);
            let ledger = in_partition(&stream.ledger_of(kept), state.partition()).into_owned();
            let owner = match data_id {
                Some(id) => Some(id.to_owned()),
                None => state.identity()?.map(|identity| identity.id),
            };
            let (target, shape) = (Arc::clone(&stream.target), Arc::clone(&stream.shape));
            Box::new(StreamDestination::new(target, shape, ledger, cursor).owned_by(owner))
        }
        _ => Box::new(PluginDestination::run(active_runtimes.of(named), kept, state)?),
    })
}

/// What a sync takes: what its file says, and for a tool what events and people allow.
pub(super) fn filter(workspace: &Workspace, sync: &SyncConfig) -> SyncFilter {
    let spellings = match &workspace.destinations[&sync.destination.0].kind {
        DestinationKind::Plugin(config) => config.spellings.clone(),
        DestinationKind::Warehouse(_) | DestinationKind::Stream(_) => Vec::new(),
    };
    SyncFilter { spellings, ..sync.filter.clone() }
}

/// How a sync gathers for its destination: each says how long events may wait for company, unless the sync does.
pub(super) fn settings(workspace: &Workspace, sync: &SyncConfig) -> SyncSettings {
    let mut settings = SyncSettings::default();
    let asked = &sync.batch;
    match &workspace.destinations[&sync.destination.0].kind {
        DestinationKind::Plugin(config) => {
            let batching = config.batching;
            // What is handed over at once must find room when all of it has to wait.
            let room = usize::try_from(config.grant.pending.events_max).unwrap_or(usize::MAX);
            settings.batch_events_max = asked.events_max.unwrap_or(settings.batch_events_max).min(room);
            settings.batch_bytes_max = asked.bytes_max.unwrap_or(settings.batch_bytes_max);
            let age_max = asked.age_max.unwrap_or(batching.age_max);
            settings.company = Company { events: batching.events_max, age_max };
        }
        DestinationKind::Warehouse(warehouse) => {
            let flush = warehouse.capabilities().flush;
            settings.batch_events_max = asked.events_max.unwrap_or(flush.events);
            settings.batch_bytes_max = asked.bytes_max.unwrap_or(flush.bytes);
            let age_max = asked.age_max.unwrap_or(flush.age);
            settings.company = Company { events: settings.batch_events_max, age_max };
        }
        DestinationKind::Stream(stream) => {
            let flush = stream.target.flush();
            settings.batch_events_max = asked.events_max.unwrap_or(flush.events);
            settings.batch_bytes_max = asked.bytes_max.unwrap_or(flush.bytes);
            let age_max = asked.age_max.unwrap_or(flush.age);
            settings.company = Company { events: settings.batch_events_max, age_max };
        }
    }
    settings
}

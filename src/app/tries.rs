//! Tries objects out for the admin API: resolves them as a change would, asks what they connect to, and passes events through a sync as far as
//! its destination. Nothing is delivered, and neither state nor catalog nor warehouse is changed.
//!
//! What a try may take is bounded: one at a time beside another, a time, a part of the log, bytes of events. It runs on a thread of its own, for functions
//! compute where they are called.

mod entries;
mod functions;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use tidegate_api_types::quarantine::EntriesTried;
use tidegate_api_types::tried::{ObjectTried, TriedColumn, TriedEvent, TriedMessage, TriedRow, TryOutcome};
use tidegate_api_types::workspace::{ObjectRef, ObjectRefKind};
use tidegate_catalog::{CatalogObject, CatalogOrder, ManagedBy, ObjectKind};
use tidegate_event::decode::{self, DecodeRefusal};
use tidegate_event::record::LoggedRecord;
use tidegate_event::{Event, Position};
use tidegate_log::{LogError, LogPartitions};
use tidegate_process::telemetry::with_causes;
use tidegate_registry::VersionStore;
use tidegate_stream::{MessageShape, OutgoingMessage};
use tidegate_warehouse::plan::{RowOutline, WarehousePlan};
use tidegate_wasm::HiddenTexts;
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use super::connect::{PATIENCE, connections};
use super::declare;
use super::followers::FollowedFolder;
use super::sample::{LeftOut, Sampled, Sampler, sampled_event};
use super::what_runs::{WantedWorkspace, WorkspaceReader};
use crate::api::{
    ReloadRefusal, TriedSample, TryEntriesOrder, TryObjects, TryOrder, TryQuarantined, TryRefusal, Trying,
    TryingEntries,
};
use crate::config::{DestinationKind, KeptDocuments, Workspace, folder_kind};

/// Tries at once, of all environments.
const TRIES_MAX: usize = 2;
/// For one of them.
const TRY_MAX: Duration = Duration::from_secs(60);
/// Records of the log among which events of a source are looked for, in all partitions together.
const RECORDS_MAX: u64 = 10_000;
/// The same in each partition at least.
const RECORDS_EACH_MIN: u64 = 100;
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_000;
/// What is read of it altogether.
const READ_BYTES_MAX: usize = 64 << 20;
/// Events of a sample, as JSON.
const SAMPLE_BYTES_MAX: usize = 2 << 20;

/// Tries objects out.
pub(super) struct ObjectTries {
    reader: WorkspaceReader,
    folder: watch::Receiver<Option<Arc<FollowedFolder>>>,
    store: VersionStore,
    log: LogPartitions,
    turns: Arc<Semaphore>,
}

/// Of whom each tries one object.
pub(super) fn turns() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(TRIES_MAX))
}

/// An event that was recorded, or why it is none.
type SampledRecord = Result<Event, DecodeRefusal>;

impl ObjectTries {
    pub(super) fn new(
        (reader, folder): (WorkspaceReader, watch::Receiver<Option<Arc<FollowedFolder>>>),
        (store, log): (VersionStore, LogPartitions),
        turns: Arc<Semaphore>,
    ) -> Self {
        Self { reader, folder, store, log, turns }
    }

    /// As the admin API calls it: for objects, and for quarantined events.
    pub(super) fn for_api(self: &Arc<Self>) -> (TryObjects, TryQuarantined) {
        let (tries, of_entries) = (Arc::clone(self), Arc::clone(self));
        (
            Box::new(move |order: TryOrder| -> Trying { Box::pin(Arc::clone(&tries).begin(order)) }),
            Box::new(move |order: TryEntriesOrder| -> TryingEntries {
                Box::pin(Arc::clone(&of_entries).begin_entries(order))
            }),
        )
    }

    async fn begin(self: Arc<Self>, order: TryOrder) -> Result<ObjectTried, TryRefusal> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| TryRefusal::Busy)?;
        let work = move || {
            let _turn = turn;
            Handle::current().block_on(async { timeout(TRY_MAX, self.tried(order)).await })
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| TryRefusal::Failed(format!("the try broke off: {error}")))?;
        done.unwrap_or(Err(TryRefusal::TooSlow(TRY_MAX.as_secs())))
    }

    async fn begin_entries(self: Arc<Self>, order: TryEntriesOrder) -> Result<EntriesTried, TryRefusal> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| TryRefusal::Busy)?;
        let work = move || {
            let _turn = turn;
            Handle::current().block_on(async { timeout(TRY_MAX, self.tried_entries(order)).await })
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| TryRefusal::Failed(format!("the try broke off: {error}")))?;
        done.unwrap_or(Err(TryRefusal::TooSlow(TRY_MAX.as_secs())))
    }

    async fn tried(&self, order: TryOrder) -> Result<ObjectTried, TryRefusal> {
        let until = Instant::now() + TRY_MAX;
        let TryOrder { kind, name, change, events } = order;
        let is_sync = kind == ObjectKind::Sync;
        let object =
            ObjectRef::new(if is_sync { ObjectRefKind::Sync } else { ObjectRefKind::Destination }, name.as_str());
        let wanted = self.wanted(std::slice::from_ref(&object), change.as_ref()).await?;
        let workspace = &*wanted.whole.1;
        let is_there = match is_sync {
            true => workspace.syncs.contains_key(&name),
            false => workspace.destinations.contains_key(&name),
        };
        if !is_there {
            let reason = wanted.left_out.get(&object).cloned();
            let reason = reason.unwrap_or_else(|| format!("the {kind} {name:?} runs nowhere on this server"));
            return Err(TryRefusal::Failed(reason));
        }
        let alone = match &events {
            TriedSample::Given(events) if !is_sync => shaped_alone(workspace, &name, events)?,
            TriedSample::Given(_) | TriedSample::Newest(_) => Vec::new(),
        };
        let connections = connections(workspace, |sync, destination| match is_sync {
            true => sync == Some(name.as_str()),
            false => destination == name,
        });
        let connections = connections.await;
        let events = match is_sync {
            true => self.events(workspace, &name, (events, until)).await?,
            false => alone,
        };
        Ok(ObjectTried {
            kind: kind.name().to_owned(),
            ok: connections.iter().all(|connection| connection.ok),
            name,
            connections,
            events,
            masked: false,
        })
    }

    /// The workspace as it runs.
    pub(super) async fn running_workspace(&self) -> Result<Arc<Workspace>, ReloadRefusal> {
        let wanted = self.wanted(&[], None).await?;
        Ok(wanted.whole.1)
    }

    /// The workspace as it runs, or as a change of these objects would have it.
    async fn wanted(
        &self,
        objects: &[ObjectRef],
        change: Option<&CatalogOrder>,
    ) -> Result<WantedWorkspace, ReloadRefusal> {
        let folder = self.folder.borrow().clone();
        let folder = folder.ok_or_else(|| ReloadRefusal::Failed("nothing runs yet".to_owned()))?;
        let Some(order) = change else {
            // Of what runs perhaps nothing in particular is asked about.
            let nothing = ObjectRef::new(ObjectRefKind::Source, "");
            let asked = objects.first().unwrap_or(&nothing);
            let wanted = self.reader.as_it_is(&folder.documents, asked, &folder.left_out).await?;
            return self.reader.without(wanted, folder.unloadable.clone()).await;
        };
        let mut preview = self.reader.preview(order).await?;
        // What is tried counts, also where a file of the folder says something else.
        let is_tried = |one: &CatalogObject| {
            let kind = folder_kind(one.content.kind);
            objects.iter().any(|object| kind == Some(object.kind) && one.content.name == object.key)
        };
        for tried in preview.snapshot.objects.iter_mut().filter(|one| is_tried(one)) {
            tried.managed_by = ManagedBy::Nobody;
        }
        let kept = KeptDocuments::new();
        let wanted = self.reader.of_order(&folder.documents, kept, (order, &preview), &folder.left_out).await?;
        self.reader.without(wanted, folder.unloadable.clone()).await
    }

    /// What becomes of each event.
    async fn events(
        &self,
        workspace: &Workspace,
        name: &str,
        (sample, until): (TriedSample, Instant),
    ) -> Result<Vec<TriedEvent>, TryRefusal> {
        let Some(sync) = workspace.syncs.get(name) else { return Ok(Vec::new()) };
        let source: Arc<str> = sync.source.0.as_str().into();
        let sample: Vec<SampledRecord> = match sample {
            TriedSample::Given(events) => {
                let decoded =
                    (0..).zip(&events).map(|(number, event)| sampled_event(&event.to_string(), &source, number));
                decoded.collect()
            }
            TriedSample::Newest(0) => return Ok(Vec::new()),
            TriedSample::Newest(count) => {
                let found = newest(&self.log, &source, count);
                found.map_err(|error| TryRefusal::Failed(with_causes(&error)))?
            }
        };
        let sampler = Sampler::within(workspace, self.store.clone()).await;
        let sampler = sampler.map_err(|error| TryRefusal::Failed(with_causes(&error)))?;
        let mut plan = plan(workspace, name).await;
        let shape = shape(workspace, name);
        let mut tried = Vec::with_capacity(sample.len());
        for event in sample {
            // A function gives way to nobody.
            if Instant::now() >= until {
                return Err(TryRefusal::TooSlow(TRY_MAX.as_secs()));
            }
            tried.push(match event {
                Ok(event) => {
                    let id = event.message_id().to_owned();
                    let mut sampled = sampler.pass(name, vec![event]).await;
                    let messages = shape.map_or_else(Vec::new, |shape| messages(shape, &mut sampled));
                    TriedEvent { messages, ..become_of(id, sampled, plan.as_mut()) }
                }
                Err(refusal) => unreadable(refusal),
            });
        }
        Ok(tried)
    }
}

/// The tables of a sync to a warehouse, as they are; as if there were none, where it cannot be asked.
pub(super) async fn plan(workspace: &Workspace, name: &str) -> Option<WarehousePlan> {
    let sync = workspace.syncs.get(name)?;
    let DestinationKind::Warehouse(settings) = &workspace.destinations.get(&sync.destination.0)?.kind else {
        return None;
    };
    let part = declare::part(workspace, name, 0);
    let found = match timeout(PATIENCE, settings.find(&part)).await {
        Ok(Ok(found)) => found,
        // What it said stands with its connection.
        Ok(Err(_)) | Err(_) => settings.nothing(&part),
    };
    let mut plan = settings.plan(&part, found);
    // Whose name is taken is told with the first row that needs it.
    let _ = plan.declared();
    Some(plan)
}

/// What becomes of one event, of which this passed.
fn become_of(id: String, sampled: Sampled, plan: Option<&mut WarehousePlan>) -> TriedEvent {
    let Sampled { events, violations, left_out, hidden } = sampled;
    let mut reasons: Vec<String> = left_out.keys().map(ToString::to_string).collect();
    let mut code = None;
    for reason in left_out.keys() {
        if let LeftOut::Quarantined { code: of, .. } = reason {
            code.get_or_insert_with(|| of.clone());
        }
    }
    let violations = violations.into_iter().flat_map(|violation| violation.violations).collect();
    let mut rows = Vec::new();
    if let Some(plan) = plan {
        for event in &events {
            match plan.rows(event) {
                Ok(found) => rows.extend(found.into_iter().map(|row| shown(row, &hidden))),
                Err(taken) => reasons.push(format!("{} is there already, and is not the router's", taken.0)),
            }
        }
    }
    let outcome = match (events.is_empty(), &code) {
        (false, _) => TryOutcome::Delivered,
        (true, Some(_)) => TryOutcome::Quarantined,
        (true, None) => TryOutcome::Filtered,
    };
    // What a function writes into an event is delivered, and no reason to show a secret to whoever tries.
    let delivered = events.iter().map(|event| {
        let mut delivered: serde_json::Value = serde_json::from_str(&event.to_json()).unwrap_or_default();
        hidden.clean_json(&mut delivered);
        delivered
    });
    let delivered = delivered.collect();
    let reason = (!reasons.is_empty()).then(|| reasons.join("; "));
    TriedEvent { message_id: Some(id), outcome, code, reason, violations, delivered, rows, messages: Vec::new() }
}

/// What becomes of one that is no event.
fn unreadable(refusal: DecodeRefusal) -> TriedEvent {
    TriedEvent {
        message_id: None,
        outcome: TryOutcome::Quarantined,
        code: Some(refusal.code.to_owned()),
        reason: Some(refusal.message),
        violations: Vec::new(),
        delivered: Vec::new(),
        rows: Vec::new(),
        messages: Vec::new(),
    }
}

/// What events become in a stream by itself: without a sync, and so without functions and a mapping.
fn shaped_alone(
    workspace: &Workspace,
    name: &str,
    events: &[serde_json::Value],
) -> Result<Vec<TriedEvent>, TryRefusal> {
    let Some(DestinationKind::Stream(config)) = workspace.destinations.get(name).map(|destination| &destination.kind)
    else {
        return Err(TryRefusal::NeedsSync);
    };
    let sync = workspace.syncs.values().find(|sync| sync.destination.0 == name);
    let source: Arc<str> = sync.map_or("web", |sync| sync.source.0.as_str()).into();
    let mut tried = Vec::with_capacity(events.len());
    for (number, event) in (0..).zip(events) {
        tried.push(match sampled_event(&event.to_string(), &source, number) {
            Ok(event) => {
                let id = event.message_id().to_owned();
                let mut sampled = Sampled { events: vec![event], ..Sampled::default() };
                let messages = messages(&config.shape, &mut sampled);
                TriedEvent { messages, ..become_of(id, sampled, None) }
            }
            Err(refusal) => unreadable(refusal),
        });
    }
    Ok(tried)
}

/// How events become messages, of a sync to a stream.
pub(super) fn shape<'w>(workspace: &'w Workspace, name: &str) -> Option<&'w MessageShape> {
    let sync = workspace.syncs.get(name)?;
    match &workspace.destinations.get(&sync.destination.0)?.kind {
        DestinationKind::Stream(config) => Some(&config.shape),
        DestinationKind::Warehouse(_) | DestinationKind::Plugin(_) => None,
    }
}

/// The messages of what passed. What becomes none is left out.
pub(super) fn messages(shape: &MessageShape, sampled: &mut Sampled) -> Vec<TriedMessage> {
    let mut messages = Vec::new();
    for event in std::mem::take(&mut sampled.events) {
        match shape.sample(&event) {
            Ok(message) => {
                messages.push(shown_message(message, shape.format.is_some(), &sampled.hidden));
                sampled.events.push(event);
            }
            Err((code, message)) => sampled.leave_out(LeftOut::Quarantined { code: code.to_owned(), message }),
        }
    }
    messages
}

fn shown_message(message: OutgoingMessage, is_base64: bool, hidden: &HiddenTexts) -> TriedMessage {
    let OutgoingMessage { index: _, topic, key, headers, message_id: _, payload } = message;
    let clean = |mut text: String| {
        hidden.clean(&mut text);
        text
    };
    let text = String::from_utf8_lossy(&payload).into_owned();
    let cleaned = clean(text.clone());
    let payload = match is_base64 {
        false => cleaned,
        true if cleaned == text => STANDARD.encode(&payload),
        // Nobody would find it in Base64.
        true => "(secret)".to_owned(),
    };
    let headers = headers.into_iter().map(|(name, value)| (name, clean(value))).collect();
    TriedMessage { topic: clean(topic), key: clean(key), headers, payload, is_base64 }
}

pub(super) fn shown(row: RowOutline, hidden: &HiddenTexts) -> TriedRow {
    let column = |(name, kind, mut value): (String, tidegate_warehouse::evolve::Type, String)| {
        hidden.clean(&mut value);
        TriedColumn { name, kind: kind.as_str().to_owned(), value }
    };
    TriedRow { table: row.table, columns: row.cells.into_iter().map(column).collect() }
}

/// The newest events of a source, oldest first: at most so many, and as many as are among the newest records. Whoever calls this may wait for
/// the disk.
fn newest(log: &LogPartitions, source: &Arc<str>, count: usize) -> Result<Vec<SampledRecord>, LogError> {
    let records = (RECORDS_MAX / u64::from(log.count()).max(1)).max(RECORDS_EACH_MIN);
    let mut found: Vec<(i64, usize, SampledRecord)> = Vec::new();
    let mut bytes_left = READ_BYTES_MAX;
    for (partition, log) in log.iter() {
        let mut reader = log.reader(log.newest(records))?;
        let mut of_partition = VecDeque::with_capacity(count);
        loop {
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            if chunk.records.is_empty() || bytes_left == 0 {
                break;
            }
            for entry in &chunk.records {
                let bytes = entry.shared.len() + entry.own.len();
                bytes_left = bytes_left.saturating_sub(bytes);
                let Ok(read) = LoggedRecord::read(&entry.shared, &entry.own) else { continue };
                let record = read.record();
                if record.source != &**source {
                    continue;
                }
                let position = Position::new(partition, entry.offset);
                let event = decode::decode(&record, Arc::clone(source), position);
                if of_partition.len() == count {
                    of_partition.pop_front();
                }
                of_partition.push_back((record.received_at_us, bytes, event));
            }
        }
        found.extend(of_partition);
    }
    found.sort_by_key(|(received_at_us, ..)| *received_at_us);
    let (mut kept, mut bytes_left) = (Vec::new(), SAMPLE_BYTES_MAX);
    for (_, bytes, event) in found.into_iter().rev().take(count) {
        let Some(left) = bytes_left.checked_sub(bytes) else { break };
        bytes_left = left;
        kept.push(event);
    }
    kept.reverse();
    Ok(kept)
}

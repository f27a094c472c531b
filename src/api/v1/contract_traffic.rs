//! What arrives, held against the contracts: the newest records of the log are read and judged once more. Nothing is changed.
//!
//! The contracts are those of the catalog, as far as whoever asks may view them. What stands in events is for who may see those of the source.

mod watch;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::{Request, State};
use hyper::StatusCode;
use serde_json::Value;
use tidegate_api_types::path;
use tidegate_api_types::reload::WorkspaceProblem;
use tidegate_api_types::traffic::{CompareTraffic, ContractTraffic, EventHistory, ProposedPart, TrafficQuery};
use tidegate_catalog::{CatalogObject, ObjectKind};
use tidegate_contract::{Contract, ContractLimits, ContractProblem, Domain};
use tidegate_event::record::LoggedRecord;
use tidegate_event::{Position, RetryMark, decode, time};
use tidegate_log::{LogError, LogPartitions};
use tidegate_state::{StateError, fate_hour_begins_us};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use self::watch::SourceWatch;
use super::asker::{OfApi, Requester};
use super::event_rights::AskedEvents;
use crate::api::SharedApi;
use crate::api::extract::{Query, blocking, body, parsed};
use crate::api::refusal::ApiRefusal;

/// Contracts that are sent with the question.
const BODY_BYTES_MAX: usize = 8 << 20;
const RECORDS_DEFAULT: u64 = 10_000;
const RECORDS_MAX: u64 = 50_000;
/// The same in each partition at least.
const RECORDS_EACH_MIN: u64 = 100;
/// What is read of the log at once.
const READ_BYTES: usize = 1 << 20;
const READ_RECORDS: usize = 1_000;
/// What is read of it altogether.
const READ_BYTES_MAX: usize = 64 << 20;
/// Names whose history is told.
const NAMES_MAX: u64 = 1_000;
/// What is counted as these has no name. A track may be called anything in brackets.
const NO_NAMES: [&str; 9] =
    ["(track)", "(identify)", "(page)", "(screen)", "(group)", "(alias)", "(other)", "(unreadable)", "(further names)"];
/// Problems that are told; nobody reads more at once.
const PROBLEMS_MAX: usize = 200;
/// Who reads the log for this, at once, of all environments.
const READERS_MAX: usize = 2;
/// Until somebody else is done.
const TURN_MAX: Duration = Duration::from_secs(10);

static READERS: Semaphore = Semaphore::const_new(READERS_MAX);

/// Files of contracts, by the names of their objects.
pub(super) type ContractFiles = BTreeMap<String, Value>;

/// What arrives against what was declared: of the newest records of the log how many events there are of each name, who sends them, and what their
/// contracts find. Who may not see events of a source, or not all of their fields, gets neither names that no contract has nor samples.
#[utoipa::path(get, path = path::CONTRACT_TRAFFIC, tag = "contracts", operation_id = "show_contract_traffic",
    params(TrafficQuery), responses((status = 200, body = ContractTraffic), ApiRefusal))]
pub(super) async fn show(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<TrafficQuery>,
) -> Result<axum::Json<ContractTraffic>, ApiRefusal> {
    shared.traffic(&asker, query, Vec::new()).await.map(axum::Json)
}

/// The same, with what contracts as they would be would do otherwise.
#[utoipa::path(post, path = path::CONTRACT_TRAFFIC, tag = "contracts", operation_id = "compare_contract_traffic",
    params(TrafficQuery), request_body = CompareTraffic, responses((status = 200, body = ContractTraffic), ApiRefusal))]
pub(super) async fn compare(
    State(shared): OfApi,
    asker: Requester,
    Query(query): Query<TrafficQuery>,
    request: Request,
) -> Result<axum::Json<ContractTraffic>, ApiRefusal> {
    let asked: CompareTraffic = parsed(&body(&shared, request, BODY_BYTES_MAX, "what is compared").await?)?;
    shared.traffic(&asker, query, asked.proposed).await.map(axum::Json)
}

/// What is looked at, and against what.
struct TrafficLook {
    events: AskedEvents,
    query: TrafficQuery,
    records: u64,
    files: ContractFiles,
    /// As they would be, where something is proposed.
    proposed: Option<ContractFiles>,
}

impl SharedApi {
    async fn traffic(
        &self,
        asker: &Requester,
        query: TrafficQuery,
        parts: Vec<ProposedPart>,
    ) -> Result<ContractTraffic, ApiRefusal> {
        let records = query.records.unwrap_or(RECORDS_DEFAULT);
        if !(1..=RECORDS_MAX).contains(&records) {
            let detail = format!("`records` is not a number from 1 to {RECORDS_MAX}");
            return Err(ApiRefusal::bad("query", detail, format!("send 1 to {RECORDS_MAX}")).in_field("records"));
        }
        let events = self.asked_events(asker, query.workspace.as_deref()).await?;
        let files = self.contract_files(asker, &events.workspace).await?;
        let proposed = proposed(&files, parts);
        let Ok(Ok(turn)) = timeout(TURN_MAX, READERS.acquire()).await else {
            let (detail, fix) = ("others are reading the log", "send it again after Retry-After");
            let refusal = ApiRefusal::new(StatusCode::SERVICE_UNAVAILABLE, "too-busy", detail, fix);
            return Err(refusal.after(Duration::from_secs(5)));
        };
        let look = TrafficLook { events, query, records, files, proposed };
        let read = move || {
            let _turn = turn;
            seen(&look)
        };
        blocking(read).await?
    }

    /// The contracts of a workspace that whoever asks may view.
    pub(super) async fn contract_files(&self, asker: &Requester, workspace: &str) -> Result<ContractFiles, ApiRefusal> {
        let snapshot = self.settings.catalog.catalog.snapshot(workspace, None).await;
        let snapshot = snapshot.map_err(|error| self.refused(error))?;
        let is_of_contracts = |object: &CatalogObject| {
            matches!(object.content.kind, ObjectKind::Domain | ObjectKind::Event | ObjectKind::Component)
        };
        let objects: Vec<CatalogObject> = snapshot.objects.into_iter().filter(is_of_contracts).collect();
        let objects = self.visible(asker, workspace, objects).await?;
        let files = objects.into_iter().map(|object| (object.content.name, object.content.spec));
        Ok(files.filter(|(name, _)| Domain::reads(name)).collect())
    }
}

fn seen(look: &TrafficLook) -> Result<ContractTraffic, ApiRefusal> {
    let TrafficLook { events: AskedEvents { engine, rights, masked, .. }, query, records, files, proposed } = look;
    let mut watches: BTreeMap<String, SourceWatch> = BTreeMap::new();
    for name in &engine.names().sources {
        let is_asked = query.source.as_ref().is_none_or(|source| source == name);
        if !is_asked || !rights.views(name, false) {
            continue;
        }
        // Schemas, names and senders are made of values, and perhaps of some that stay masked.
        let mut watch = SourceWatch::new(name, !rights.sees(name, false) || !masked.is_empty());
        match contract(files, name) {
            Ok(contract) => watch.contract = contract,
            Err(problems) => watch.problem = problems.first().map(ToString::to_string),
        }
        if let Some(files) = proposed {
            let proposed = contract(files, name).map_err(|problems| unsound(&problems))?;
            // A contract can ask for any value: how many events break it tells whether that stands in them.
            watch.proposed = Some(proposed).filter(|_| !watch.is_masked);
        }
        if query.infer {
            watch.infer();
        }
        watches.insert(name.clone(), watch);
    }
    read(&engine.log, *records, &mut watches)
        .map_err(|error| ApiRefusal::failed("the log could not be read", &error))?;
    let unreadable = |error: StateError| ApiRefusal::failed("the counts could not be read", &error);
    let state = (engine.open_state)().map_err(unreadable)?;
    let mut sources = Vec::with_capacity(watches.len());
    for (name, watch) in watches {
        let history = state.fates_by_name(&name, NAMES_MAX).map_err(unreadable)?.into_iter();
        let is_told = |name: &str| !watch.is_masked || NO_NAMES.contains(&name) || watch.declares(name);
        let history = history.filter(|one| is_told(&one.name)).map(|one| EventHistory {
            name: one.name,
            events: one.came,
            first_at: time::format(fate_hour_begins_us(one.first_hour)),
            last_at: time::format(fate_hour_begins_us(one.last_hour)),
        });
        let history = history.collect();
        sources.push(watch.shown(name, history));
    }
    Ok(ContractTraffic { sources })
}

/// The files as they would be; none where nothing is proposed.
fn proposed(files: &ContractFiles, parts: Vec<ProposedPart>) -> Option<ContractFiles> {
    if parts.is_empty() {
        return None;
    }
    let mut files = files.clone();
    for ProposedPart { name, spec } in parts {
        match spec {
            Value::Null => drop(files.remove(&name)),
            spec => drop(files.insert(name, spec)),
        }
    }
    Some(files)
}

/// The contract of a source; none where no domain applies to it.
fn contract(files: &ContractFiles, source: &str) -> Result<Option<Contract>, Vec<ContractProblem>> {
    if files.is_empty() {
        return Ok(None);
    }
    let domains = Domain::from_files(files, source)?;
    if domains.is_empty() {
        return Ok(None);
    }
    Contract::compile(&domains, ContractLimits::default()).map(Some)
}

fn unsound(problems: &[ContractProblem]) -> ApiRefusal {
    let first = problems.first().map(ToString::to_string).unwrap_or_default();
    let shown = problems.iter().take(PROBLEMS_MAX).map(|problem| WorkspaceProblem {
        file: problem.origin.clone(),
        line: 0,
        message: problem.problem.clone(),
        fix: problem.fix.clone(),
    });
    let detail = format!("the proposed contract cannot judge events: {first}");
    let refusal = ApiRefusal::unprocessable("contract", detail, "correct what `problems` names");
    refusal.with_problems(shown.collect()).in_field("proposed")
}

/// Hands the newest records to those who watch their sources, of each partition the oldest first.
fn read(log: &LogPartitions, records: u64, watches: &mut BTreeMap<String, SourceWatch>) -> Result<(), LogError> {
    let each = (records / u64::from(log.count()).max(1)).max(RECORDS_EACH_MIN.min(records));
    let mut bytes_left = READ_BYTES_MAX;
    for (partition, log) in log.iter() {
        let mut reader = log.reader(log.newest(each))?;
        loop {
            let chunk = reader.read(READ_BYTES, READ_RECORDS)?;
            let is_end = chunk.records.is_empty() && chunk.damage.is_empty();
            if is_end || bytes_left == 0 {
                break;
            }
            for entry in &chunk.records {
                bytes_left = bytes_left.saturating_sub(entry.shared.len() + entry.own.len());
                // An event that is in the log once more was counted where it came first.
                if matches!(RetryMark::split(&entry.own), Some((Some(_), _))) {
                    continue;
                }
                let Ok(logged) = LoggedRecord::read(&entry.shared, &entry.own) else { continue };
                let record = logged.record();
                let Some(watch) = watches.get_mut(record.source) else { continue };
                let position = Position::new(partition, entry.offset);
                match decode::decode(&record, Arc::clone(&watch.source), position) {
                    Ok(event) => watch.observe(&event),
                    Err(_) => watch.unreadable += 1,
                }
            }
        }
    }
    Ok(())
}

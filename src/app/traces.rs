//! What has become of single events, for the admin API: the records of the log are found, and for each it is found out once more what contract,
//! functions and syncs made of it. Nothing is delivered, and neither state nor log nor warehouse is changed.
//!
//! What a search may take is bounded, as what a try may: one at a time beside another, a time, a part of the log.

mod archived;
mod record;
mod search;
mod syncs;

use std::borrow::Cow;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_api_types::trace::{EventTraces, TracedRecord};
use tidegate_event::record_id;
use tidegate_log::LogPartitions;
use tidegate_process::telemetry::with_causes;
use tidegate_state::{State, StateError};
use tokio::runtime::Handle;
use tokio::sync::{Semaphore, watch};
use tokio::time::{Instant, timeout};

use archived::ArchivedHits;
use search::TraceHit;

use super::active_runtimes::ActiveRuntimes;
use super::archive::{ArchiveError, HeldSegment, LogArchive};
use super::live::Live;
use super::tries::ObjectTries;
use crate::api::{TraceEvents, TraceOrder, TracingEvents, TryRefusal};

/// For one search, with all that became of what it finds.
const TRACE_MAX: Duration = Duration::from_secs(30);
/// Of that for the search alone.
const SEARCH_MAX: Duration = Duration::from_secs(10);
/// After this no further record is begun with.
const RECORDS_TIME_MAX: Duration = Duration::from_secs(20);
/// About the bytes of an answer; what has more is one record.
const ANSWER_BYTES_MAX: u64 = 32 << 20;
/// For the other records with the id of one.
const SAME_ID_MAX: Duration = Duration::from_secs(2);
/// Between two looks for segments of the log that have no index.
const INDEX_INTERVAL: Duration = Duration::from_secs(5);

/// Finds out what has become of events.
pub(super) struct EventTracer {
    pub(super) tries: Arc<ObjectTries>,
    pub(super) log: LogPartitions,
    /// The state file.
    pub(super) state: PathBuf,
    pub(super) live: Arc<Live>,
    pub(super) runtimes: Arc<ActiveRuntimes>,
    /// Of whom each works on one search, or on one try.
    pub(super) turns: Arc<Semaphore>,
    /// Of the log, where it has one.
    pub(super) archive: Option<Arc<LogArchive>>,
}

impl EventTracer {
    /// As the admin API calls it.
    pub(super) fn for_api(self) -> TraceEvents {
        let tracer = Arc::new(self);
        Box::new(move |order: TraceOrder| -> TracingEvents { Box::pin(Arc::clone(&tracer).begin(order)) })
    }

    async fn begin(self: Arc<Self>, order: TraceOrder) -> Result<EventTraces, TryRefusal> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| TryRefusal::Busy)?;
        // Functions compute where they are called, and the log is read where it is asked for.
        let work = move || {
            let _turn = turn;
            Handle::current().block_on(async { timeout(TRACE_MAX, self.traced(&order)).await })
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| TryRefusal::Failed(format!("the search broke off: {error}")))?;
        done.unwrap_or(Err(TryRefusal::TooSlow(TRACE_MAX.as_secs())))
    }

    async fn traced(&self, order: &TraceOrder) -> Result<EventTraces, TryRefusal> {
        let begun = Instant::now();
        let until = begun + SEARCH_MAX;
        let found = search::search(&self.log, order, &|| Instant::now() >= until);
        let found = found.map_err(|error| TryRefusal::Failed(with_causes(&error)))?;
        let search::TraceHits { mut records, mut of_id, has_more, not_looked_at, look_until_us, log_since_us } = found;
        let mut traces = EventTraces {
            more: has_more,
            not_looked_at,
            continue_until: look_until_us.map(tidegate_event::time::format),
            log_since: log_since_us.map(tidegate_event::time::format),
            ..EventTraces::default()
        };
        let archived = self.archived(order, records.len(), until).await;
        // What the log has given up since it was searched was found in both.
        let is_of_log = |found: &TraceHit| archived.records.iter().all(|other| other.position() != found.position());
        records.retain(is_of_log);
        of_id.retain(is_of_log);
        traces.more |= archived.has_more;
        traces.not_looked_at.extend(archived.not_looked_at);
        // All that have the id are known, unless some of what there is was not looked at.
        let is_all = traces.not_looked_at.is_empty() && !archived.has_more;
        let id = order.message_id.as_ref().filter(|_| is_all).map(|id| id.clone().into_bytes());
        let mut of_id = SameId { id, records: archived.records.iter().cloned().chain(of_id).collect() };
        // What the archive has came before what the log has.
        let mut all = archived.records.clone();
        all.append(&mut records);
        let mut records = all;
        traces.more |= records.len() > order.limit;
        records.truncate(order.limit);
        if records.is_empty() {
            return Ok(traces);
        }
        let workspace = self.tries.running_workspace().await?;
        let (mut bytes, mut held) = (0_u64, Vec::new());
        for found in &records {
            if begun.elapsed() >= RECORDS_TIME_MAX || bytes >= ANSWER_BYTES_MAX {
                let left = records.len() - traces.records.len();
                traces.more = true;
                traces.not_looked_at.push(format!(
                    "{left} more records that were found: the answer would take too long, or be too large; ask for them alone"
                ));
                break;
            }
            self.look_for_same(&mut of_id, found, &archived.records)?;
            match self.hold(found).await? {
                // Before the one before is let go: segments that both need are fetched once.
                Ok(needed) => drop(std::mem::replace(&mut held, needed)),
                Err(error) => {
                    traces.not_looked_at.push(format!("{}, which was found in the archive: {error}", found.position()));
                    continue;
                }
            }
            let record = self.record(&workspace, &of_id.records, found).await?;
            bytes = bytes.saturating_add(about_bytes(&record));
            traces.records.push(record);
        }
        Ok(traces)
    }

    /// What the archive has of the records that an order is about, where that is asked for.
    async fn archived(&self, order: &TraceOrder, already: usize, until: Instant) -> ArchivedHits {
        let mut found = ArchivedHits::default();
        let Some(id) = order.message_id.as_deref().filter(|_| order.archive) else { return found };
        let Some(archive) = &self.archive else {
            found.not_looked_at.push("the archive: the log has none (`log: archive:` in tidegate.yaml)".to_owned());
            return found;
        };
        if already < order.limit {
            for (partition, log) in self.log.iter() {
                archived::look_for(archive, (partition, &**log), (id, order), until, &mut found).await;
            }
        }
        found.records.sort_by_key(|found| (found.received_at_us, found.position()));
        found
    }

    /// Fetches what a record of the archive was refined with.
    async fn hold(&self, found: &TraceHit) -> Result<Result<Vec<HeldSegment>, ArchiveError>, TryRefusal> {
        let log = self.log.iter().find(|(number, _)| *number == found.partition).map(|(_, log)| log);
        let Some((archive, log)) = self.archive.as_ref().zip(log) else { return Ok(Ok(Vec::new())) };
        let failed = |error: StateError| TryRefusal::Failed(with_causes(&error));
        let state = State::read(&self.state).map_err(failed)?.of_partition(found.partition);
        archived::hold(archive, (&**log, &state), found.position()).await.map_err(failed)
    }

    /// Finds the other records with the id of one, unless they are known already: a duplicate is one of them, and so is a retry.
    fn look_for_same(&self, known: &mut SameId, found: &TraceHit, archived: &[TraceHit]) -> Result<(), TryRefusal> {
        let id = record_id::message_id(&found.entry.shared, &found.entry.own).map(Cow::into_owned);
        if known.id == id && id.is_some() {
            return Ok(());
        }
        let mut records = Vec::new();
        if let Some(id) = &id {
            let until = Instant::now() + SAME_ID_MAX;
            let same = search::same_id(&self.log, id, &|| Instant::now() >= until);
            // All that were found in the archive have the id that was asked for.
            records = archived.to_vec();
            records.extend(same.map_err(|error| TryRefusal::Failed(with_causes(&error)))?);
        }
        *known = SameId { id, records };
        Ok(())
    }
}

/// About how large a record is in an answer: its event stands there once for each thing that was made of it.
fn about_bytes(record: &TracedRecord) -> u64 {
    let of_syncs = record.syncs.iter().map(|sync| 2 * sync.delivered.len() + sync.rows.len() + sync.requests.len());
    let times = 2 + record.passed_on.len() + record.functions.len() + of_syncs.sum::<usize>();
    record.bytes.saturating_mul(times as u64)
}

/// The records with one id, of all sources, in the order of the log; the first ones where there are many.
#[derive(Default)]
struct SameId {
    id: Option<Vec<u8>>,
    records: Vec<TraceHit>,
}

/// Makes the indexes of the log that a search by id looks into, until `stop` turns true: in the background, one segment after the other. Where
/// many have none, as those of an earlier build, it rests as long as each of them has taken.
pub(super) async fn keep_indexed(log: LogPartitions, mut stop: watch::Receiver<bool>) {
    let (mut is_failing, mut rest) = (false, Duration::ZERO);
    loop {
        tokio::select! {
            _ = stop.wait_for(|stop| *stop) => return,
            () = tokio::time::sleep(rest) => {}
        }
        let begun = Instant::now();
        let (log, stops) = (log.clone(), stop.clone());
        let work = move || {
            let is_over = || *stops.borrow();
            let mut has_made = false;
            for (_, log) in log.iter() {
                has_made |= log.index_one(record_id::message_id, &is_over)?;
            }
            Ok::<bool, tidegate_log::LogError>(has_made)
        };
        let done = match tokio::task::spawn_blocking(work).await {
            Ok(done) => done,
            Err(error) => {
                tracing::error!(error = %error, "the thread that makes indexes of the log broke off");
                return;
            }
        };
        rest = INDEX_INTERVAL;
        match done {
            Ok(has_made) => {
                is_failing = false;
                if has_made {
                    rest = begun.elapsed();
                }
            }
            Err(error) if !is_failing => {
                is_failing = true;
                tracing::warn!(error = %error, "an index of the log could not be made; searches by id take longer, and it is tried again");
            }
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_as_large_as_all_that_was_made_of_an_event() {
        let plain = TracedRecord { bytes: 1_000, ..TracedRecord::default() };
        assert_eq!(about_bytes(&plain), 2_000);
        let passed_on = vec![serde_json::Value::Null; 3];
        assert_eq!(about_bytes(&TracedRecord { passed_on, ..plain }), 5_000);
    }
}

//! The time that a stop may take, and who gets how much of it.
//!
//! Somebody sends a signal and counts to ten before it kills. So the whole stop has one end, each step gets what is left
//! of it, and what has not ended by then is left behind with a line that names it. The log and the ledgers make that
//! safe: what was not recorded comes again.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::{Instant, timeout_at};

use super::running_syncs::{Delivering, EndBounds, RunningSyncs, WorkerEnd};

/// A stop takes no longer than this.
pub const STOP_MAX: Duration = Duration::from_secs(9);

/// For clients to get their answers.
pub(super) const SERVING_MAX: Duration = Duration::from_millis(3_500);
/// For streams to bring what they have read into the log, and to leave: they are told when the clients are.
pub(super) const STREAMS_MAX: Duration = Duration::from_secs(3);
/// For the writer of the log: a disk that hangs never answers.
pub(super) const WRITER_MAX: Duration = Duration::from_millis(1_500);
/// For a change that the stop cuts off.
pub(super) const PARTS_MAX: Duration = Duration::from_secs(1);
pub(super) const REFINER_MAX: Duration = Duration::from_secs(1);
/// For what worked in the background to close the state: SQLite tidies its files when the last connection closes, and no
/// later.
pub(super) const BACKGROUND_MAX: Duration = Duration::from_secs(2);
/// For what write keys were used for to be written down.
pub(super) const KEEPER_MAX: Duration = Duration::from_millis(500);
/// For the last spans to be sent.
pub(super) const SPANS_MAX: Duration = Duration::from_secs(1);
/// For the catalog to be closed: the admin API has ended, and with it whoever used it.
pub(super) const CATALOG_MAX: Duration = Duration::from_secs(1);
/// Kept for ending what delivers, after the time for delivering.
const ENDING: Duration = Duration::from_millis(2_000);
/// Of that, for workers. The order comes after the time for delivering is over, so a batch in hand is one that is about to be done.
const WORKERS: EndBounds = EndBounds {
    patience: Duration::from_millis(1_000),
    ending_max: Duration::from_millis(300),
    cut_max: Duration::from_millis(200),
};

/// Waits for the ends of threads.
pub(super) async fn join(threads: Vec<JoinHandle<()>>) {
    let join = move || threads.into_iter().for_each(|thread| drop(thread.join()));
    let _ = tokio::task::spawn_blocking(join).await;
}

/// What is left of the time. Copies have one end.
#[derive(Clone, Copy)]
pub(super) struct Budget {
    began: Instant,
    end: Instant,
}

impl Budget {
    pub(super) fn start() -> Self {
        let began = Instant::now();
        Self { began, end: began + STOP_MAX }
    }

    pub(super) fn spent_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Waits for `work`, but not beyond `most` nor the end.
    pub(super) async fn step<T>(&mut self, what: &'static str, most: Duration, work: impl Future<Output = T>) {
        let end = self.end.min(Instant::now() + most);
        if timeout_at(end, work).await.is_err() {
            tracing::warn!(what, "left behind at the stop: it did not end in time");
        }
    }

    /// Waits until every sync has delivered all records; the log takes no more of them.
    pub(super) async fn drain(&mut self, delivering: &[Delivering]) {
        let until = self.end - ENDING;
        for one in delivering {
            let (mut cursor, end) = (one.cursor.clone(), one.log.committed());
            let mut has_arrived = Box::pin(cursor.wait_for(|cursor| *cursor >= end));
            // A worker that ended has nothing more to give. After the deadline this still looks once.
            if timeout_at(until, &mut has_arrived).await.is_err() {
                tracing::warn!(
                    sync = &*one.sync,
                    records = one.waiting(),
                    "not everything could be delivered before the stop; it waits in the log"
                );
            }
        }
    }

    /// Ends the syncs, and closes their destinations; answers the most records that any of them leaves in the log.
    pub(super) async fn end(&mut self, syncs: RunningSyncs) -> u64 {
        let until = self.end.min(Instant::now() + ENDING - Duration::from_millis(500));
        // A change that was under way may hold one for a moment.
        let ended = timeout_at(self.end, syncs.end(WORKERS)).await.unwrap_or_else(|_| {
            tracing::warn!("left behind at the stop: the syncs did not end in time; their batches in hand come again");
            Vec::new()
        });
        for (sync, ends) in ended {
            for _ in ends.iter().filter(|end| **end != WorkerEnd::Ended) {
                tracing::warn!(
                    sync = &*sync,
                    "left behind at the stop: it did not end in time; its batch in hand comes again"
                );
            }
        }
        if timeout_at(until, syncs.close()).await.is_err() {
            tracing::warn!("left behind at the stop: a destination did not close in time; what it was at comes again");
        }
        let mut records_waiting: HashMap<Arc<str>, u64> = HashMap::new();
        for one in syncs.delivering() {
            let waiting = one.waiting();
            *records_waiting.entry(one.sync).or_default() += waiting;
        }
        records_waiting.into_values().max().unwrap_or(0)
    }
}

//! What one environment counts while it works.

use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;

use super::series::{Histogram, SeriesFamily};
use super::spans::SpanBoard;

/// The numbers of an environment; clones share them.
#[derive(Debug, Clone, Default)]
pub struct EngineMetrics(Arc<EngineNumbers>);

/// Everything that is counted where it happens. What the state or the log knows is asked there.
#[derive(Debug, Default)]
pub struct EngineNumbers {
    /// By source.
    pub ingest: SeriesFamily<IngestNumbers>,
    /// How long a log range took to be refined, by partition.
    pub refine: SeriesFamily<Histogram>,
    /// Processor time that a function took for a batch, by function.
    pub functions: SeriesFamily<Histogram>,
    /// By sync.
    pub syncs: SeriesFamily<SyncNumbers>,
    /// By destination.
    pub destinations: SeriesFamily<DestinationNumbers>,
    /// Where requests are followed.
    pub spans: SpanBoard,
}

/// What a source took in over HTTP.
#[derive(Debug, Default)]
pub struct IngestNumbers {
    pub events: AtomicU64,
    pub bytes: AtomicU64,
    /// From having read a request to its events being durable.
    pub acknowledge: Histogram,
}

/// What a sync did.
#[derive(Debug, Default)]
pub struct SyncNumbers {
    /// How long a batch took to be durable at the destination.
    pub load: Histogram,
    /// Tries that failed.
    pub failures: AtomicU64,
    /// From the receipt of an event to its being durable at the destination.
    pub freshness: Histogram,
}

/// What a destination plugin did over HTTP.
#[derive(Debug, Default)]
pub struct DestinationNumbers {
    /// From sending a request to its answer.
    pub exchange: Histogram,
    /// By the class of their status, or `none`.
    pub answers: SeriesFamily<AtomicU64>,
    /// Requests that were sent again.
    pub retries: AtomicU64,
}

impl EngineMetrics {
    /// Of an environment whose requests are followed there.
    #[must_use]
    pub fn new(spans: SpanBoard) -> Self {
        Self(Arc::new(EngineNumbers { spans, ..EngineNumbers::default() }))
    }
}

impl Deref for EngineMetrics {
    type Target = EngineNumbers;

    fn deref(&self) -> &EngineNumbers {
        &self.0
    }
}

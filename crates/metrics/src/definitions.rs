//! Every metric that there is. `docs/metrics.md` has the same in a table.

/// What a metric is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// It only grows, but for a new start.
    Counter,
    Gauge,
    Histogram,
}

impl MetricKind {
    /// The word in the text.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// A metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MetricDefinition {
    pub name: &'static str,
    pub kind: MetricKind,
    /// In the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it says, in a sentence.
    pub help: &'static str,
}

pub const BUILD_INFO: MetricDefinition = MetricDefinition {
    name: "tidegate_build_info",
    kind: MetricKind::Gauge,
    labels: &["version"],
    help: "The version that runs; always 1.",
};
pub const PROCESS_CPU: MetricDefinition = MetricDefinition {
    name: "process_cpu_seconds_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Processor time that the process took.",
};
pub const PROCESS_MEMORY: MetricDefinition = MetricDefinition {
    name: "process_resident_memory_bytes",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "Memory of the process.",
};
pub const PROCESS_FILES: MetricDefinition = MetricDefinition {
    name: "process_open_fds",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "Open file descriptors of the process.",
};
pub const PROCESS_START: MetricDefinition = MetricDefinition {
    name: "process_start_time_seconds",
    kind: MetricKind::Gauge,
    labels: &[],
    help: "When the process started, Unix time.",
};
pub const INGEST_REQUESTS: MetricDefinition = MetricDefinition {
    name: "tidegate_ingest_requests_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Requests at the ingest port, since the start.",
};
pub const INGEST_REFUSALS: MetricDefinition = MetricDefinition {
    name: "tidegate_ingest_refusals_total",
    kind: MetricKind::Counter,
    labels: &["reason"],
    help: "Requests at the ingest port that were refused, by the code of the answer, since the start.",
};
pub const INGEST_MALFORMED: MetricDefinition = MetricDefinition {
    name: "tidegate_ingest_malformed_events_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Events that were accepted over HTTP though they are plainly wrong, on their way to quarantine, since the start.",
};
pub const INGEST_EVENTS: MetricDefinition = MetricDefinition {
    name: "tidegate_ingest_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Events that were accepted over HTTP, since the start.",
};
pub const INGEST_BYTES: MetricDefinition = MetricDefinition {
    name: "tidegate_ingest_bytes_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Bytes in the log of events that were accepted over HTTP, since the start.",
};
pub const ACKNOWLEDGE: MetricDefinition = MetricDefinition {
    name: "tidegate_acknowledge_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "source"],
    help: "From having read a request to its events being on disk.",
};
pub const ACCEPTED: MetricDefinition = MetricDefinition {
    name: "tidegate_accepted_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Events that were accepted, however they came, as refining counts them.",
};
pub const SOURCE_EVENTS: MetricDefinition = MetricDefinition {
    name: "tidegate_source_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source", "fate"],
    help: "Events that do not go on from their source: duplicate, quarantined, suppressed, dropped.",
};
pub const VIOLATIONS: MetricDefinition = MetricDefinition {
    name: "tidegate_contract_violations_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Violations of contracts.",
};
pub const RETRIED: MetricDefinition = MetricDefinition {
    name: "tidegate_retried_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Events of the quarantine that were tried once more.",
};
pub const LOG_BYTES: MetricDefinition = MetricDefinition {
    name: "tidegate_log_bytes",
    kind: MetricKind::Gauge,
    labels: &["environment", "partition"],
    help: "Bytes that the log keeps.",
};
pub const LOG_SEGMENTS: MetricDefinition = MetricDefinition {
    name: "tidegate_log_segments",
    kind: MetricKind::Gauge,
    labels: &["environment", "partition"],
    help: "Segments that the log keeps.",
};
pub const LOG_RECORDS: MetricDefinition = MetricDefinition {
    name: "tidegate_log_records_total",
    kind: MetricKind::Counter,
    labels: &["environment", "partition"],
    help: "Records that were ever appended to the log.",
};
pub const REFINED: MetricDefinition = MetricDefinition {
    name: "tidegate_refined_records_total",
    kind: MetricKind::Counter,
    labels: &["environment", "partition"],
    help: "Records of the log that are refined.",
};
pub const REFINE_LAG: MetricDefinition = MetricDefinition {
    name: "tidegate_refine_lag_records",
    kind: MetricKind::Gauge,
    labels: &["environment", "partition"],
    help: "Records of the log that are not refined yet.",
};
pub const REFINE: MetricDefinition = MetricDefinition {
    name: "tidegate_refine_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "partition"],
    help: "How long a log range took to be refined, without functions.",
};
pub const DISK_FREE: MetricDefinition = MetricDefinition {
    name: "tidegate_disk_free_bytes",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Bytes that are free where the data directory is.",
};
pub const DISK_SIZE: MetricDefinition = MetricDefinition {
    name: "tidegate_disk_size_bytes",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Size of the disk where the data directory is.",
};
pub const FUNCTION_BATCHES: MetricDefinition = MetricDefinition {
    name: "tidegate_function_batches_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Batches that a function ran over.",
};
pub const FUNCTION_EVENTS: MetricDefinition = MetricDefinition {
    name: "tidegate_function_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Events that a function saw.",
};
pub const FUNCTION_CALLS: MetricDefinition = MetricDefinition {
    name: "tidegate_function_calls_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Calls of a function.",
};
pub const FUNCTION_FAILED_CALLS: MetricDefinition = MetricDefinition {
    name: "tidegate_function_failed_calls_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Calls of a function that ended without an answer.",
};
pub const FUNCTION_ERRORS: MetricDefinition = MetricDefinition {
    name: "tidegate_function_errors_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Events that a function broke on, or said an error of.",
};
pub const FUNCTION_DROPPED: MetricDefinition = MetricDefinition {
    name: "tidegate_function_dropped_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Events that a function dropped on purpose.",
};
pub const FUNCTION_CPU: MetricDefinition = MetricDefinition {
    name: "tidegate_function_cpu_seconds_total",
    kind: MetricKind::Counter,
    labels: &["environment", "function"],
    help: "Processor time that a function took.",
};
pub const FUNCTION: MetricDefinition = MetricDefinition {
    name: "tidegate_function_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "function"],
    help: "Processor time that a function took for a batch.",
};
pub const FUNCTION_STOPPED: MetricDefinition = MetricDefinition {
    name: "tidegate_function_stopped",
    kind: MetricKind::Gauge,
    labels: &["environment", "function"],
    help: "1 while the live version of a function is stopped.",
};
pub const SYNC_EVENTS: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_events_total",
    kind: MetricKind::Counter,
    labels: &["environment", "sync", "fate"],
    help: "Events that a sync is done with: delivered, duplicate, quarantined, filtered.",
};
pub const SYNC_FAILURES: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_failures_total",
    kind: MetricKind::Counter,
    labels: &["environment", "sync"],
    help: "Tries of a sync that failed, since the start.",
};
pub const SYNC_FAILING: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_failing",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "1 while a sync fails, or its destination does not take events, which are retried; 0 while it or its destination is paused.",
};
pub const SYNC_PAUSED: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_paused",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "1 while a sync or its destination is paused.",
};
pub const SYNC_LAG: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_lag_records",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync", "partition"],
    help: "Records of the log that a sync has not come to.",
};
pub const SYNC_OLDEST: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_oldest_undelivered_seconds",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "Age of the oldest record that a sync has not come to; 0 when there is none.",
};
pub const SYNC_LAST: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_last_delivery_timestamp_seconds",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "When a sync last delivered, Unix time.",
};
pub const SYNC_PENDING: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_pending_events",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "Events that wait for another try.",
};
pub const SYNC_PENDING_BYTES: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_pending_bytes",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "Bytes of events that wait for another try.",
};
pub const SYNC_PENDING_OLDEST: MetricDefinition = MetricDefinition {
    name: "tidegate_sync_pending_oldest_seconds",
    kind: MetricKind::Gauge,
    labels: &["environment", "sync"],
    help: "For how long the oldest of them has waited; 0 when there is none.",
};
pub const LOAD: MetricDefinition = MetricDefinition {
    name: "tidegate_load_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "sync"],
    help: "How long a batch took to be durable at the destination.",
};
pub const FRESHNESS: MetricDefinition = MetricDefinition {
    name: "tidegate_freshness_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "sync"],
    help: "From the receipt of an event to its being durable at the destination.",
};
pub const DELIVERY: MetricDefinition = MetricDefinition {
    name: "tidegate_delivery_seconds",
    kind: MetricKind::Histogram,
    labels: &["environment", "destination"],
    help: "From sending a request of a destination plugin to its answer.",
};
pub const DELIVERY_ANSWERS: MetricDefinition = MetricDefinition {
    name: "tidegate_delivery_answers_total",
    kind: MetricKind::Counter,
    labels: &["environment", "destination", "status"],
    help: "Answers to requests of a destination plugin by the class of their status, 2xx to 5xx, or none; since the start.",
};
pub const DELIVERY_RETRIES: MetricDefinition = MetricDefinition {
    name: "tidegate_delivery_retries_total",
    kind: MetricKind::Counter,
    labels: &["environment", "destination"],
    help: "Requests of a destination plugin that were sent again, since the start.",
};
pub const QUARANTINE: MetricDefinition = MetricDefinition {
    name: "tidegate_quarantine_events",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Events that are in quarantine.",
};
pub const QUARANTINE_BYTES: MetricDefinition = MetricDefinition {
    name: "tidegate_quarantine_bytes",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Bytes of events that are in quarantine.",
};
pub const QUARANTINE_OLDEST: MetricDefinition = MetricDefinition {
    name: "tidegate_quarantine_oldest_seconds",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "For how long the oldest event is in quarantine; 0 when there is none.",
};
pub const QUARANTINE_LEFT: MetricDefinition = MetricDefinition {
    name: "tidegate_quarantine_left_total",
    kind: MetricKind::Counter,
    labels: &["environment", "by"],
    help: "Events that left the quarantine without being retried: expired, purged.",
};
pub const BREACHES: MetricDefinition = MetricDefinition {
    name: "tidegate_conservation_breaches",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Places where what was accepted is not the sum of what became of it.",
};
pub const STREAM_MESSAGES: MetricDefinition = MetricDefinition {
    name: "tidegate_stream_messages_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Messages of a stream that were read and acknowledged, since the start.",
};
pub const STREAM_BYTES: MetricDefinition = MetricDefinition {
    name: "tidegate_stream_bytes_total",
    kind: MetricKind::Counter,
    labels: &["environment", "source"],
    help: "Bytes of messages of a stream, since the start.",
};
pub const STREAM_LAG: MetricDefinition = MetricDefinition {
    name: "tidegate_stream_lag_messages",
    kind: MetricKind::Gauge,
    labels: &["environment", "source"],
    help: "Messages of a stream that are not read yet, where its carrier tells.",
};
pub const STREAM_BEHIND: MetricDefinition = MetricDefinition {
    name: "tidegate_stream_behind_seconds",
    kind: MetricKind::Gauge,
    labels: &["environment", "source"],
    help: "How far behind a stream is read, where its carrier tells.",
};
pub const STREAM_FAILING: MetricDefinition = MetricDefinition {
    name: "tidegate_stream_failing",
    kind: MetricKind::Gauge,
    labels: &["environment", "source"],
    help: "1 while a stream cannot be read.",
};
pub const OBJECTS_BEHIND: MetricDefinition = MetricDefinition {
    name: "tidegate_objects_behind",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "Objects that do not run as they are wanted.",
};
pub const STATE_READABLE: MetricDefinition = MetricDefinition {
    name: "tidegate_state_readable",
    kind: MetricKind::Gauge,
    labels: &["environment"],
    help: "1 while the state file can be read; without it most numbers are missing.",
};
pub const SPANS_SENT: MetricDefinition = MetricDefinition {
    name: "tidegate_spans_sent_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Spans that the collector has taken, since the start.",
};
pub const SPANS_DROPPED: MetricDefinition = MetricDefinition {
    name: "tidegate_spans_dropped_total",
    kind: MetricKind::Counter,
    labels: &[],
    help: "Spans that did not reach the collector, since the start.",
};

/// All of them, in the order of the text.
pub const METRICS: &[MetricDefinition] = &[
    BUILD_INFO,
    PROCESS_CPU,
    PROCESS_MEMORY,
    PROCESS_FILES,
    PROCESS_START,
    INGEST_REQUESTS,
    INGEST_REFUSALS,
    INGEST_MALFORMED,
    INGEST_EVENTS,
    INGEST_BYTES,
    ACKNOWLEDGE,
    ACCEPTED,
    SOURCE_EVENTS,
    VIOLATIONS,
    RETRIED,
    LOG_BYTES,
    LOG_SEGMENTS,
    LOG_RECORDS,
    REFINED,
    REFINE_LAG,
    REFINE,
    DISK_FREE,
    DISK_SIZE,
    FUNCTION_BATCHES,
    FUNCTION_EVENTS,
    FUNCTION_CALLS,
    FUNCTION_FAILED_CALLS,
    FUNCTION_ERRORS,
    FUNCTION_DROPPED,
    FUNCTION_CPU,
    FUNCTION,
    FUNCTION_STOPPED,
    SYNC_EVENTS,
    SYNC_FAILURES,
    SYNC_FAILING,
    SYNC_PAUSED,
    SYNC_LAG,
    SYNC_OLDEST,
    SYNC_LAST,
    SYNC_PENDING,
    SYNC_PENDING_BYTES,
    SYNC_PENDING_OLDEST,
    LOAD,
    FRESHNESS,
    DELIVERY,
    DELIVERY_ANSWERS,
    DELIVERY_RETRIES,
    QUARANTINE,
    QUARANTINE_BYTES,
    QUARANTINE_OLDEST,
    QUARANTINE_LEFT,
    BREACHES,
    STREAM_MESSAGES,
    STREAM_BYTES,
    STREAM_LAG,
    STREAM_BEHIND,
    STREAM_FAILING,
    OBJECTS_BEHIND,
    STATE_READABLE,
    SPANS_SENT,
    SPANS_DROPPED,
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn names_are_of_prometheus_and_stand_once() {
        let names: BTreeSet<&str> = METRICS.iter().map(|metric| metric.name).collect();
        assert_eq!(names.len(), METRICS.len());
        for metric in METRICS {
            let fits = |c: char| c.is_ascii_lowercase() || c == '_';
            assert!(metric.name.chars().all(fits), "{}", metric.name);
            assert_eq!(metric.name.ends_with("_total"), metric.kind == MetricKind::Counter, "{}", metric.name);
            assert!(metric.kind != MetricKind::Histogram || metric.name.ends_with("_seconds"), "{}", metric.name);
            assert!(metric.help.ends_with('.') && !metric.help.contains(['\n', '\\']), "{}", metric.name);
        }
    }
}

//! How a stream is, as it goes over the wire.

use std::time::Duration;

use tidegate_api_types::stream::{ShownStream, ShownUpstreamPartition};
use tidegate_event::time;
use tidegate_source::streams::StreamReport;

/// What a stream says of itself.
#[must_use]
pub fn shown_stream(source: &str, report: StreamReport) -> ShownStream {
    let seconds = |behind: Option<Duration>| behind.map(|behind| behind.as_secs_f64());
    let partitions: Vec<ShownUpstreamPartition> = report
        .partitions
        .iter()
        .map(|partition| ShownUpstreamPartition {
            topic: partition.topic.to_string(),
            partition: partition.partition.to_string(),
            acknowledged: partition.acknowledged.clone(),
            lag: partition.lag,
            behind_seconds: seconds(partition.behind),
            holder: partition.holder.as_deref().map(str::to_owned),
        })
        .collect();
    let lags: Vec<u64> = partitions.iter().filter_map(|partition| partition.lag).collect();
    let (error, error_at) = match report.error {
        Some((error, at_us)) => (Some(error), Some(time::format(at_us))),
        None => (None, None),
    };
    ShownStream {
        source: source.to_owned(),
        kind: report.kind.to_owned(),
        place: report.place,
        state: report.state.as_str().to_owned(),
        messages: report.messages,
        events: report.events,
        bytes: report.bytes,
        quarantined: report.quarantined,
        skipped: report.skipped,
        in_flight: report.in_flight,
        messages_per_second: report.messages_per_second,
        lag: (!lags.is_empty()).then(|| lags.iter().sum()),
        behind_seconds: seconds(report.partitions.iter().filter_map(|partition| partition.behind).max()),
        error,
        error_at,
        notices: report.notices,
        partitions,
    }
}

//! What a worker tells of a batch that the destination has: how old its events are, and the spans of requests that are followed.

use std::collections::HashSet;
use std::time::Duration;

use tidegate_event::destination::{Batch, Delivery};
use tidegate_metrics::SpanKind;
use tidegate_process::clock;

use super::Deliverer;

impl Deliverer {
    /// How old the events are that the destination has now; those that wait for another try are not there yet.
    pub(super) fn tell_freshness(&self, batch: &Batch, delivery: &Delivery) {
        let now_us = clock::now_us();
        let deferred: HashSet<usize> = delivery.deferred.iter().map(|deferred| deferred.index).collect();
        let durable = batch.events.iter().enumerate().filter(|(index, _)| !deferred.contains(index));
        let age = |received_at_us: i64| u64::try_from(now_us.saturating_sub(received_at_us)).unwrap_or(0);
        let ages = durable.map(|(_, event)| Duration::from_micros(age(event.received_at_us)));
        self.numbers.freshness.observe_all(ages);
    }

    /// The spans of the requests that are followed, whose events the destination has since now.
    pub(super) fn tell_spans(&self, batch: &Batch, began_us: i64) {
        let spans = &self.metrics.spans;
        if !spans.is_following() {
            return;
        }
        let times = (began_us, clock::now_us());
        let events = batch.events.iter().map(|event| (event.received_at_us, &*event.source, event));
        for group in spans.groups(events) {
            let span = group.trace.below("deliver", SpanKind::Producer, times).text("tidegate.sync", &*self.name);
            let span = span.number("messaging.batch.message_count", group.count);
            spans.finish(span.text("messaging.message.id", group.first.message_id()));
        }
    }
}

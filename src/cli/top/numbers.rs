//! What is shown: numbers of the newest look, and what came in a second since the one before.

use serde::Serialize;
use tidegate_api_types::activity::{EventTotals, ShownActivity};
use tidegate_api_types::alert::ShownAlert;
use tidegate_event::time;
use tidegate_metrics as metrics;

use super::look::TopLook;
use super::samples::ReadSamples;

/// Freshness is told of so many events.
const FRESH_SHARE: f64 = 0.95;
/// The time of a function is told of half of its batches, and of nearly all.
const HALF: f64 = 0.5;
const NEARLY_ALL: f64 = 0.99;

/// Everything that is shown. What comes in a second is none before there were two looks; what may not be seen is empty, and `not_seen` says so.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopNumbers {
    pub(super) server: String,
    pub(super) environment: String,
    /// When the server said so.
    pub(super) at: String,
    /// Between the looks.
    pub(super) seconds: Option<f64>,
    /// Events a second into all sources, and out of all syncs.
    pub(super) in_a_second: Option<f64>,
    pub(super) out_a_second: Option<f64>,
    pub(super) waiting: u64,
    pub(super) pending: u64,
    pub(super) quarantine: Option<u64>,
    pub(super) disk: Option<TopDisk>,
    pub(super) alerts: Vec<TopAlert>,
    pub(super) sources: Vec<TopSource>,
    pub(super) syncs: Vec<TopSync>,
    pub(super) functions: Vec<TopFunction>,
    pub(super) destinations: Vec<TopDestination>,
    /// The busiest first.
    pub(super) write_keys: Vec<TopKey>,
    pub(super) not_seen: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopDisk {
    pub(super) free_bytes: u64,
    pub(super) bytes: u64,
    pub(super) log_bytes: Option<u64>,
}

/// An object that an alert fires for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopAlert {
    pub(super) alert: String,
    pub(super) severity: String,
    pub(super) muted: bool,
    pub(super) object: String,
    pub(super) since: String,
    pub(super) text: String,
}

/// Events a second by what becomes of them; none for what is not counted there.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopRates {
    pub(super) accepted: Option<f64>,
    pub(super) delivered: Option<f64>,
    pub(super) duplicates: Option<f64>,
    pub(super) quarantined: Option<f64>,
    pub(super) filtered: Option<f64>,
    pub(super) dropped: Option<f64>,
    pub(super) suppressed: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopSource {
    pub(super) source: String,
    pub(super) totals: EventTotals,
    pub(super) violations: u64,
    pub(super) a_second: TopRates,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopSync {
    pub(super) sync: String,
    pub(super) source: String,
    pub(super) totals: EventTotals,
    pub(super) a_second: TopRates,
    /// Events that wait in the log.
    pub(super) waiting: u64,
    /// How long the oldest record that it has not come to has waited.
    pub(super) behind_seconds: f64,
    /// From receipt to being durable, of 95 of 100 events: no more than this. Since the look before, or since the start where nothing came.
    pub(super) fresh_seconds: Option<f64>,
    pub(super) pending: u64,
    pub(super) pending_seconds: f64,
    pub(super) delivered_at: Option<String>,
    pub(super) failing: bool,
    pub(super) failure: Option<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopFunction {
    pub(super) function: String,
    pub(super) events: u64,
    pub(super) errors: u64,
    pub(super) events_a_second: Option<f64>,
    /// Microseconds of processor time for an event: since the look before, or ever where nothing came.
    pub(super) cpu_us: Option<f64>,
    /// Processor time of a batch, of half of them and of 99 of 100: no more than this. Since the look before, or since the start where nothing came.
    pub(super) p50_seconds: Option<f64>,
    pub(super) p99_seconds: Option<f64>,
    pub(super) errors_a_second: Option<f64>,
    pub(super) dropped_a_second: Option<f64>,
    pub(super) stopped: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopDestination {
    pub(super) destination: String,
    pub(super) answers: u64,
    /// Answers that are none of 2xx, and requests without one.
    pub(super) errors: u64,
    pub(super) answers_a_second: Option<f64>,
    pub(super) errors_a_second: Option<f64>,
    pub(super) retries_a_second: Option<f64>,
}

#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub(super) struct TopKey {
    pub(super) source: String,
    pub(super) name: String,
    pub(super) events: u64,
    pub(super) events_a_second: Option<f64>,
    pub(super) last_used: Option<String>,
}

impl TopNumbers {
    /// Of a look, and of the one before, which the server answered at another time.
    pub(super) fn of((server, environment): (&str, &str), look: &TopLook, before: Option<&TopLook>) -> Self {
        let now_us = time::parse(&look.activity.at).unwrap_or(0);
        let seconds = before.and_then(|before| between(&before.activity.at, now_us));
        let sources = sources(&look.activity, before, seconds);
        let mut syncs = syncs(&look.activity, before, (now_us, seconds));
        let mut shown = Self {
            server: server.to_owned(),
            environment: environment.to_owned(),
            at: look.activity.at.clone(),
            seconds,
            in_a_second: seconds.map(|_| sum(sources.iter().filter_map(|source| source.a_second.accepted))),
            out_a_second: seconds.map(|_| sum(syncs.iter().filter_map(|sync| sync.a_second.delivered))),
            waiting: syncs.iter().map(|sync| sync.waiting).sum(),
            pending: syncs.iter().map(|sync| sync.pending).sum(),
            alerts: alerts(look.alerts.as_ref().map(|all| all.alerts.as_slice()).unwrap_or_default()),
            not_seen: look.not_seen(),
            disk: look.activity.disk.as_ref().map(|disk| TopDisk {
                free_bytes: disk.free_bytes,
                bytes: disk.bytes,
                log_bytes: None,
            }),
            write_keys: keys(look, before),
            ..Self::default()
        };
        if let Some(samples) = &look.samples {
            let earlier = before.and_then(|before| {
                let gap = look.taken.saturating_duration_since(before.taken).as_secs_f64();
                Some((before.samples.as_ref()?, gap)).filter(|(_, gap)| *gap > 0.0)
            });
            let measured = TwoScrapes { now: samples, before: earlier };
            shown.functions = measured.functions();
            shown.destinations = measured.destinations();
            for sync in &mut syncs {
                let of = ("sync", sync.sync.as_str());
                sync.fresh_seconds = measured.quantile_seconds(metrics::FRESHNESS.name, of, FRESH_SHARE);
            }
            let whole = |name: &str| samples.of(name).iter().map(|sample| sample.value).reduce(|sum, more| sum + more);
            shown.quarantine = whole(metrics::QUARANTINE.name).map(count);
            if let Some(disk) = &mut shown.disk {
                disk.log_bytes = whole(metrics::LOG_BYTES.name).map(count);
            }
        }
        shown.sources = sources;
        shown.syncs = syncs;
        shown
    }
}

/// Nothing is zero, and not the zero below zero that floats have as their sum of nothing.
fn sum(numbers: impl Iterator<Item = f64>) -> f64 {
    numbers.fold(0.0, |sum, number| sum + number)
}

/// Seconds from a time to another one that is behind it.
fn between(before: &str, now_us: i64) -> Option<f64> {
    let gap_us = now_us.saturating_sub(time::parse(before)?);
    (gap_us > 0).then(|| seconds(gap_us))
}

/// Microseconds as seconds; none below zero.
fn seconds(us: i64) -> f64 {
    std::time::Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64()
}

fn age(text: Option<&String>, now_us: i64) -> f64 {
    let at_us = text.and_then(|text| time::parse(text));
    at_us.map_or(0.0, |at_us| seconds(now_us.saturating_sub(at_us)))
}

/// A count that a text has as a number with a point.
fn count(number: f64) -> u64 {
    number.max(0.0) as u64
}

/// What came in a second; none where nothing can be compared, or where counting has begun anew.
fn rate(now: u64, before: Option<u64>, seconds: Option<f64>) -> Option<f64> {
    Some(now.checked_sub(before?)? as f64 / seconds?)
}

fn rates(now: &EventTotals, before: Option<&EventTotals>, seconds: Option<f64>) -> TopRates {
    let of = |which: fn(&EventTotals) -> u64| rate(which(now), before.map(which), seconds);
    TopRates {
        accepted: of(|totals| totals.accepted),
        delivered: of(|totals| totals.delivered),
        duplicates: of(|totals| totals.duplicates),
        quarantined: of(|totals| totals.quarantined),
        filtered: of(|totals| totals.filtered),
        dropped: of(|totals| totals.dropped),
        suppressed: of(|totals| totals.suppressed),
    }
}

fn sources(activity: &ShownActivity, before: Option<&TopLook>, seconds: Option<f64>) -> Vec<TopSource> {
    let shown = activity.sources.iter().map(|source| {
        let earlier = before.and_then(|look| look.activity.sources.iter().find(|one| one.source == source.source));
        TopSource {
            source: source.source.clone(),
            totals: source.totals,
            violations: source.violations,
            a_second: rates(&source.totals, earlier.map(|one| &one.totals), seconds),
        }
    });
    let mut shown: Vec<TopSource> = shown.collect();
    shown.sort_by(|one, other| busier(one.a_second.accepted, other.a_second.accepted));
    shown
}

fn syncs(activity: &ShownActivity, before: Option<&TopLook>, (now_us, seconds): (i64, Option<f64>)) -> Vec<TopSync> {
    let shown = activity.syncs.iter().map(|sync| {
        let earlier = before.and_then(|look| look.activity.syncs.iter().find(|one| one.sync == sync.sync));
        TopSync {
            sync: sync.sync.clone(),
            source: sync.source.clone(),
            totals: sync.totals,
            a_second: rates(&sync.totals, earlier.map(|one| &one.totals), seconds),
            waiting: sync.waiting,
            behind_seconds: age(sync.waiting_since.as_ref(), now_us),
            fresh_seconds: None,
            pending: sync.pending,
            pending_seconds: age(sync.pending_since.as_ref(), now_us),
            delivered_at: sync.delivered_at.clone(),
            failing: sync.failing,
            failure: sync.failure.clone(),
        }
    });
    let mut shown: Vec<TopSync> = shown.collect();
    // What fails first, then what is behind most.
    shown.sort_by_key(|sync| std::cmp::Reverse((sync.failing, sync.waiting)));
    shown
}

/// The busier one first; those that are the same stay as they were.
fn busier(one: Option<f64>, other: Option<f64>) -> std::cmp::Ordering {
    other.unwrap_or(0.0).total_cmp(&one.unwrap_or(0.0))
}

fn alerts(all: &[ShownAlert]) -> Vec<TopAlert> {
    let firing = all.iter().flat_map(|alert| {
        let objects = alert.objects.iter().filter(|object| matches!(object.state.as_str(), "firing" | "recovering"));
        objects.map(|object| TopAlert {
            alert: alert.name.clone(),
            severity: alert.severity.clone(),
            muted: alert.is_muted,
            object: object.object.clone(),
            since: object.since.clone(),
            text: object.text.clone(),
        })
    });
    firing.collect()
}

fn keys(look: &TopLook, before: Option<&TopLook>) -> Vec<TopKey> {
    let earlier = before.and_then(|before| before.keys.as_ref());
    let gap = before.map(|before| look.taken.saturating_duration_since(before.taken).as_secs_f64());
    let gap = gap.filter(|gap| *gap > 0.0);
    let shown = look.keys.iter().flat_map(|keys| &keys.write_keys).map(|key| {
        let was = earlier
            .and_then(|keys| keys.write_keys.iter().find(|one| (&one.source, &one.name) == (&key.source, &key.name)));
        TopKey {
            source: key.source.clone(),
            name: key.name.clone(),
            events: key.events,
            events_a_second: rate(key.events, was.map(|one| one.events), gap),
            last_used: key.last_used.clone(),
        }
    });
    let mut shown: Vec<TopKey> = shown.collect();
    shown.sort_by(|one, other| busier(one.events_a_second, other.events_a_second).then(other.events.cmp(&one.events)));
    shown
}

/// What two scrapes say.
struct TwoScrapes<'a> {
    now: &'a ReadSamples,
    /// The one before, and how many seconds are between.
    before: Option<(&'a ReadSamples, f64)>,
}

impl TwoScrapes<'_> {
    /// How much a counter has grown, and in how many seconds; none where counting has begun anew.
    fn grown(&self, name: &str, of: (&str, &str)) -> Option<(f64, f64)> {
        let (before, seconds) = self.before?;
        let grown = self.now.sum(name, of).unwrap_or(0.0) - before.sum(name, of).unwrap_or(0.0);
        (grown >= 0.0).then_some((grown, seconds))
    }

    fn rate(&self, name: &str, of: (&str, &str)) -> Option<f64> {
        self.grown(name, of).map(|(grown, seconds)| grown / seconds)
    }

    fn functions(&self) -> Vec<TopFunction> {
        let names = self.now.values(metrics::FUNCTION_EVENTS.name, "function");
        let shown = names.into_iter().map(|function| {
            let of = ("function", function.as_str());
            let ever = |name: &str| self.now.sum(name, of).unwrap_or(0.0);
            let (events, cpu) = (metrics::FUNCTION_EVENTS.name, metrics::FUNCTION_CPU.name);
            let lately = self.grown(events, of).zip(self.grown(cpu, of));
            let lately = lately.filter(|((events, _), _)| *events > 0.0);
            let (seen, took) = lately.map_or((ever(events), ever(cpu)), |((seen, _), (took, _))| (seen, took));
            TopFunction {
                events: count(ever(events)),
                errors: count(ever(metrics::FUNCTION_ERRORS.name)),
                events_a_second: self.rate(events, of),
                cpu_us: (seen > 0.0).then(|| took * 1e6 / seen),
                p50_seconds: self.quantile_seconds(metrics::FUNCTION.name, of, HALF),
                p99_seconds: self.quantile_seconds(metrics::FUNCTION.name, of, NEARLY_ALL),
                errors_a_second: self.rate(metrics::FUNCTION_ERRORS.name, of),
                dropped_a_second: self.rate(metrics::FUNCTION_DROPPED.name, of),
                stopped: ever(metrics::FUNCTION_STOPPED.name) > 0.0,
                function,
            }
        });
        let mut shown: Vec<TopFunction> = shown.collect();
        shown.sort_by(|one, other| busier(one.events_a_second, other.events_a_second));
        shown
    }

    fn destinations(&self) -> Vec<TopDestination> {
        let answers = metrics::DELIVERY_ANSWERS.name;
        let errors = |samples: &ReadSamples, destination: &str| -> f64 {
            let of_it = samples.of(answers).iter().filter(|sample| sample.label("destination") == destination);
            sum(of_it.filter(|sample| sample.label("status") != "2xx").map(|sample| sample.value))
        };
        let names = self.now.values(answers, "destination").into_iter();
        let shown = names.map(|destination| {
            let of = ("destination", destination.as_str());
            let wrong = errors(self.now, &destination);
            let wrong_a_second = self.before.and_then(|(before, seconds)| {
                let grown = wrong - errors(before, &destination);
                (grown >= 0.0).then(|| grown / seconds)
            });
            TopDestination {
                answers: count(self.now.sum(answers, of).unwrap_or(0.0)),
                errors: count(wrong),
                answers_a_second: self.rate(answers, of),
                errors_a_second: wrong_a_second,
                retries_a_second: self.rate(metrics::DELIVERY_RETRIES.name, of),
                destination,
            }
        });
        let mut shown: Vec<TopDestination> = shown.collect();
        shown.sort_by(|one, other| {
            busier(one.errors_a_second, other.errors_a_second).then(other.errors.cmp(&one.errors))
        });
        shown
    }

    /// The end of the bucket of a histogram that this share is in or below.
    fn quantile_seconds(&self, histogram: &str, of: (&str, &str), share: f64) -> Option<f64> {
        let ever = self.now.buckets(histogram, of);
        let before = self.before.map(|(before, _)| before.buckets(histogram, of)).unwrap_or_default();
        let earlier = |end: f64| before.iter().find(|(other, _)| *other == end).map_or(0.0, |(_, count)| *count);
        let lately: Vec<(f64, f64)> = ever.iter().map(|(end, count)| (*end, count - earlier(*end))).collect();
        let came = lately.last().is_some_and(|(_, count)| *count > 0.0);
        let buckets = if came { lately } else { ever };
        let (_, all) = *buckets.last()?;
        let found = buckets.iter().find(|(_, count)| all > 0.0 && *count >= all * share);
        // Behind the last end there is none.
        found.map(|(end, _)| *end).filter(|end| end.is_finite())
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use tidegate_api_types::activity::{SourceActivity, SyncActivity};
    use tidegate_metrics::{Histogram, MetricsText};

    use super::*;

    fn look(at: &str, taken: Instant, accepted: u64, text: MetricsText) -> TopLook {
        let totals = EventTotals { accepted, ..EventTotals::default() };
        let source = SourceActivity { source: "web".to_owned(), totals, ..SourceActivity::default() };
        let totals = EventTotals { delivered: accepted / 2, ..EventTotals::default() };
        let sync = SyncActivity {
            sync: "crm".to_owned(),
            totals,
            waiting: 7,
            waiting_since: Some("2026-01-01T00:00:00Z".to_owned()),
            ..SyncActivity::default()
        };
        let activity =
            ShownActivity { at: at.to_owned(), sources: vec![source], syncs: vec![sync], ..ShownActivity::default() };
        let samples = Some(ReadSamples::read(&text.finish(), "default"));
        TopLook { taken, activity, samples, keys: None, alerts: None }
    }

    fn text(events: u64, cpu: f64, took: &[u64]) -> MetricsText {
        let (mut text, histogram) = (MetricsText::default(), Histogram::default());
        took.iter().for_each(|ms| histogram.observe(Duration::from_millis(*ms)));
        text.add(&metrics::FUNCTION_EVENTS, &["default", "f"], events);
        text.add(&metrics::FUNCTION_CPU, &["default", "f"], cpu);
        text.add(&metrics::DELIVERY_ANSWERS, &["default", "crm", "2xx"], events);
        text.add(&metrics::DELIVERY_ANSWERS, &["default", "crm", "none"], events / 100);
        text.add_histogram(&metrics::FRESHNESS, &["default", "crm"], &histogram.read());
        text.add_histogram(&metrics::FUNCTION, &["default", "f"], &histogram.read());
        text
    }

    #[test]
    fn what_comes_in_a_second_is_the_difference_of_two_looks() {
        let now = Instant::now();
        let first = look("2026-01-01T00:00:10Z", now, 1_000, text(100, 0.5, &[4, 4]));
        let of = |look: &TopLook, before: Option<&TopLook>| TopNumbers::of(("http://x", "default"), look, before);
        let alone = of(&first, None);
        assert_eq!((alone.in_a_second, alone.out_a_second, alone.seconds), (None, None, None));
        assert_eq!((alone.functions[0].cpu_us, alone.functions[0].events_a_second), (Some(5_000.0), None));
        assert_eq!(alone.syncs[0].fresh_seconds, Some(0.005));
        assert_eq!((alone.functions[0].p50_seconds, alone.functions[0].p99_seconds), (Some(0.005), Some(0.005)));
        assert_eq!((alone.waiting, alone.syncs[0].behind_seconds), (7, 10.0));
        let second = look("2026-01-01T00:00:12Z", now + Duration::from_secs(2), 1_400, text(300, 0.7, &[4, 4, 9, 40]));
        let both = of(&second, Some(&first));
        assert_eq!((both.in_a_second, both.out_a_second, both.seconds), (Some(200.0), Some(100.0), Some(2.0)));
        let function = &both.functions[0];
        assert_eq!((function.events_a_second, function.cpu_us.map(f64::round)), (Some(100.0), Some(1_000.0)));
        assert_eq!(both.syncs[0].fresh_seconds, Some(0.05));
        assert_eq!((function.p50_seconds, function.p99_seconds), (Some(0.01), Some(0.05)));
        let destination = &both.destinations[0];
        assert_eq!((destination.answers, destination.errors), (303, 3));
        assert_eq!((destination.answers_a_second, destination.errors_a_second), (Some(101.0), Some(1.0)));
        // A server that began to count anew says nothing of what came.
        let anew = of(&first, Some(&second));
        assert_eq!((anew.in_a_second, anew.functions[0].events_a_second), (None, None));
    }
}

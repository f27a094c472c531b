//! All numbers of a moment: those that are counted where it happens, and those that the log and the state know.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use tidegate_log::Log;
use tidegate_metrics::{self as metrics, HistogramReading, MetricDefinition, MetricsText, SeriesFamily};
use tidegate_process::clock;
use tidegate_registry::PluginKind;
use tidegate_source::streams::{StreamReport, StreamState};
use tidegate_state::{Charge, PendingCount, State, StateError, SyncReport};

use super::MetricsSettings;
use crate::api::{AdminSettings, EngineSettings};

/// The text of a scrape.
pub(super) fn scrape(settings: &AdminSettings) -> String {
    let (now_us, mut text) = (clock::now_us(), MetricsText::default());
    add_process(&mut text, &settings.metrics);
    for (environment, engine) in &settings.engines {
        let mut of_engine = EngineScrape { text: &mut text, environment, engine, now_us };
        of_engine.add_counted();
        of_engine.add_log_and_disk();
        of_engine.add_streams();
        let is_readable = of_engine.add_state().is_ok();
        of_engine.add(&metrics::STATE_READABLE, &[], u8::from(is_readable));
    }
    text.finish()
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

/// Microseconds as seconds; none below zero.
fn seconds(us: i64) -> f64 {
    Duration::from_micros(u64::try_from(us).unwrap_or(0)).as_secs_f64()
}

/// Each series of a family with the values of its labels.
fn each<T: Default>(family: &SeriesFamily<T>, mut visit: impl FnMut(&[&str], &T)) {
    for (labels, series) in family.all() {
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        visit(&labels, &series);
    }
}

fn add_process(text: &mut MetricsText, settings: &MetricsSettings) {
    text.add(&metrics::BUILD_INFO, &[env!("CARGO_PKG_VERSION")], 1);
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    let (whole, rest) = (u64::try_from(spent.tv_sec).unwrap_or(0), u32::try_from(spent.tv_nsec).unwrap_or(0));
    text.add(&metrics::PROCESS_CPU, &[], Duration::new(whole, rest).as_secs_f64());
    if let Some(bytes) = resident_bytes() {
        text.add(&metrics::PROCESS_MEMORY, &[], bytes);
    }
    if let Ok(open) = std::fs::read_dir("/proc/self/fd") {
        text.add(&metrics::PROCESS_FILES, &[], open.count());
    }
    text.add(&metrics::PROCESS_START, &[], seconds(settings.started_us));
    let intake = &settings.intake;
    text.add(&metrics::INGEST_REQUESTS, &[], read(&intake.requests));
    text.add(&metrics::INGEST_MALFORMED, &[], read(&intake.malformed));
    each(&intake.refusals, |labels, count| text.add(&metrics::INGEST_REFUSALS, labels, read(count)));
    let spans = settings.spans.counts();
    text.add(&metrics::SPANS_SENT, &[], spans.sent);
    text.add(&metrics::SPANS_DROPPED, &[], spans.dropped);
}

/// Memory of the process, where the system tells.
fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kibibytes: u64 = line.trim().strip_suffix(" kB")?.trim().parse().ok()?;
    Some(kibibytes << 10)
}

/// Adds the numbers of one environment.
struct EngineScrape<'a> {
    text: &'a mut MetricsText,
    environment: &'a str,
    engine: &'a EngineSettings,
    now_us: i64,
}

impl EngineScrape<'_> {
    fn add(&mut self, metric: &MetricDefinition, labels: &[&str], value: impl Display) {
        let labels: Vec<&str> = std::iter::once(self.environment).chain(labels.iter().copied()).collect();
        self.text.add(metric, &labels, value);
    }

    fn add_histogram(&mut self, metric: &MetricDefinition, labels: &[&str], read: &HistogramReading) {
        let labels: Vec<&str> = std::iter::once(self.environment).chain(labels.iter().copied()).collect();
        self.text.add_histogram(metric, &labels, read);
    }

    /// How long ago something was; 0 where it never was.
    fn age(&self, at_us: Option<i64>) -> f64 {
        at_us.map_or(0.0, |at_us| seconds(self.now_us.saturating_sub(at_us)))
    }

    fn add_counted(&mut self) {
        let engine = self.engine;
        let counted = &engine.metrics;
        each(&counted.ingest, |labels, numbers| {
            self.add(&metrics::INGEST_EVENTS, labels, read(&numbers.events));
            self.add(&metrics::INGEST_BYTES, labels, read(&numbers.bytes));
            self.add_histogram(&metrics::ACKNOWLEDGE, labels, &numbers.acknowledge.read());
        });
        each(&counted.refine, |labels, times| self.add_histogram(&metrics::REFINE, labels, &times.read()));
        each(&counted.functions, |labels, times| self.add_histogram(&metrics::FUNCTION, labels, &times.read()));
        each(&counted.syncs, |labels, numbers| {
            self.add(&metrics::SYNC_FAILURES, labels, read(&numbers.failures));
            self.add_histogram(&metrics::LOAD, labels, &numbers.load.read());
            self.add_histogram(&metrics::FRESHNESS, labels, &numbers.freshness.read());
        });
        each(&counted.destinations, |labels, numbers| {
            self.add_histogram(&metrics::DELIVERY, labels, &numbers.exchange.read());
            self.add(&metrics::DELIVERY_RETRIES, labels, read(&numbers.retries));
            each(&numbers.answers, |classes, count| {
                self.add(&metrics::DELIVERY_ANSWERS, &[labels, classes].concat(), read(count));
            });
        });
    }

    fn add_log_and_disk(&mut self) {
        let engine = self.engine;
        for (partition, log) in engine.log.iter() {
            let number = partition.to_string();
            let labels = [number.as_str()];
            self.add(&metrics::LOG_BYTES, &labels, log.size_bytes());
            self.add(&metrics::LOG_SEGMENTS, &labels, log.sealed().len() + 1);
            self.add(&metrics::LOG_RECORDS, &labels, log.records(0, log.committed()));
        }
        if let Ok(disk) = rustix::fs::statvfs(engine.data.as_path()) {
            self.add(&metrics::DISK_FREE, &[], disk.f_bavail.saturating_mul(disk.f_frsize));
            self.add(&metrics::DISK_SIZE, &[], disk.f_blocks.saturating_mul(disk.f_frsize));
        }
        let behind = engine.running.report.borrow().behind.len();
        self.add(&metrics::OBJECTS_BEHIND, &[], behind);
    }

    fn add_streams(&mut self) {
        let reports: BTreeMap<String, StreamReport> = self.engine.streams.reports(self.now_us);
        for (source, report) in &reports {
            let labels = [source.as_str()];
            self.add(&metrics::STREAM_MESSAGES, &labels, report.messages);
            self.add(&metrics::STREAM_BYTES, &labels, report.bytes);
            let lags: Vec<u64> = report.partitions.iter().filter_map(|partition| partition.lag).collect();
            if !lags.is_empty() {
                self.add(&metrics::STREAM_LAG, &labels, lags.iter().sum::<u64>());
            }
            if let Some(behind) = report.partitions.iter().filter_map(|partition| partition.behind).max() {
                self.add(&metrics::STREAM_BEHIND, &labels, behind.as_secs_f64());
            }
            let fails = report.error.is_some() && report.state != StreamState::Paused;
            self.add(&metrics::STREAM_FAILING, &labels, u8::from(fails));
        }
    }

    /// What the state knows.
    fn add_state(&mut self) -> Result<(), StateError> {
        let mut state = (self.engine.open_state)()?;
        self.add_sources(&state)?;
        self.add_functions(&state)?;
        let size = state.quarantine_size()?;
        let oldest = self.age(size.oldest_at_us);
        self.add(&metrics::QUARANTINE, &[], size.entries);
        self.add(&metrics::QUARANTINE_BYTES, &[], size.bytes);
        self.add(&metrics::QUARANTINE_OLDEST, &[], oldest);
        self.add(&metrics::QUARANTINE_LEFT, &["expired"], size.expired);
        self.add(&metrics::QUARANTINE_LEFT, &["purged"], size.purged);
        self.add(&metrics::BREACHES, &[], state.fate_breaches()?.len());
        let (reports, pending) = (state.reports()?, state.pending_counts()?);
        let (engine, mut starts) = (self.engine, Vec::new());
        for (partition, log) in engine.log.iter() {
            state = state.of_partition(partition);
            starts.push(state.starts()?);
            let (number, refined) = (partition.to_string(), state.refined_to()?);
            let labels = [number.as_str()];
            self.add(&metrics::REFINED, &labels, log.records(0, refined));
            self.add(&metrics::REFINE_LAG, &labels, waiting(&**log, refined));
        }
        let names = engine.names();
        for sync in names.sync_sources.keys() {
            let report = reports.iter().find(|report| report.sync == *sync).cloned().unwrap_or_default();
            let pending = pending.iter().find(|count| count.sync == *sync).cloned().unwrap_or_default();
            self.add_sync(sync, &report, &pending);
            self.add_lag(sync, &report, &starts);
        }
        Ok(())
    }

    fn add_sources(&mut self, state: &State) -> Result<(), StateError> {
        let names = self.engine.names();
        let counters = state.counters()?;
        let mut sources: BTreeMap<&str, BTreeMap<&str, u64>> =
            names.sources.iter().map(|name| (name.as_str(), BTreeMap::new())).collect();
        for (scope, name, value) in &counters {
            if let Some(counts) = sources.get_mut(scope.as_str()) {
                let name = match name.as_str() {
                    known @ ("accepted" | "duplicates" | "suppressed" | "violations" | "quarantined" | "retried") => {
                        known
                    }
                    // They are events all the same, and were counted above.
                    "unreadable times" | "duplicates of quarantined" => continue,
                    _ => "dropped",
                };
                *counts.entry(name).or_default() += *value;
            }
        }
        for (source, counts) in sources {
            let count = |name: &str| counts.get(name).copied().unwrap_or(0);
            self.add(&metrics::ACCEPTED, &[source], count("accepted"));
            self.add(&metrics::VIOLATIONS, &[source], count("violations"));
            self.add(&metrics::RETRIED, &[source], count("retried"));
            for (fate, name) in [
                ("duplicate", "duplicates"),
                ("quarantined", "quarantined"),
                ("suppressed", "suppressed"),
                ("dropped", "dropped"),
            ] {
                self.add(&metrics::SOURCE_EVENTS, &[source, fate], count(name));
            }
        }
        Ok(())
    }

    fn add_functions(&mut self, state: &State) -> Result<(), StateError> {
        let releases = self.engine.store.releases();
        let live = |name: &str| releases.of_kind(PluginKind::Functions).get(name)?.live.as_ref();
        let mut functions: BTreeMap<String, (Charge, bool)> = BTreeMap::new();
        for (charge, stopped) in state.charges()? {
            // A version that was stopped and is not live any more holds nothing up.
            let is_live = live(&charge.function).is_none_or(|placed| placed.sha256.to_string() == charge.version);
            let (sum, is_stopped) = functions.entry(charge.function.clone()).or_default();
            *is_stopped |= is_live && stopped.is_some();
            sum.add(charge);
        }
        for (name, (charge, is_stopped)) in &functions {
            let labels = [name.as_str()];
            self.add(&metrics::FUNCTION_BATCHES, &labels, charge.batches);
            self.add(&metrics::FUNCTION_EVENTS, &labels, charge.events);
            self.add(&metrics::FUNCTION_CALLS, &labels, charge.calls);
            self.add(&metrics::FUNCTION_FAILED_CALLS, &labels, charge.calls_failed);
            self.add(&metrics::FUNCTION_ERRORS, &labels, charge.errors + charge.failed);
            self.add(&metrics::FUNCTION_DROPPED, &labels, charge.dropped);
            self.add(&metrics::FUNCTION_CPU, &labels, Duration::from_micros(charge.cpu_us).as_secs_f64());
            self.add(&metrics::FUNCTION_STOPPED, &labels, u8::from(*is_stopped));
        }
        Ok(())
    }

    fn add_sync(&mut self, sync: &str, report: &SyncReport, pending: &PendingCount) {
        for (fate, count) in [
            ("delivered", report.delivered),
            ("duplicate", report.duplicates),
            ("quarantined", report.rejected),
            ("filtered", report.filtered),
        ] {
            self.add(&metrics::SYNC_EVENTS, &[sync, fate], count);
        }
        // Events that its destination does not take are retried, and are no failure in its report. What is paused tries nothing.
        let is_paused = self.engine.names().paused_syncs.contains(sync);
        let fails = !is_paused && (report.failure.is_some() || pending.refused > 0);
        self.add(&metrics::SYNC_FAILING, &[sync], u8::from(fails));
        self.add(&metrics::SYNC_PAUSED, &[sync], u8::from(is_paused));
        if let Some(at_us) = report.delivered_at_us {
            self.add(&metrics::SYNC_LAST, &[sync], seconds(at_us));
        }
        let oldest = self.age((pending.events > 0).then_some(pending.oldest_at_us));
        self.add(&metrics::SYNC_PENDING, &[sync], pending.events);
        self.add(&metrics::SYNC_PENDING_BYTES, &[sync], pending.bytes);
        self.add(&metrics::SYNC_PENDING_OLDEST, &[sync], oldest);
    }

    /// What a sync has not come to, in records and in time.
    fn add_lag(&mut self, sync: &str, report: &SyncReport, starts: &[BTreeMap<String, u64>]) {
        let (engine, mut oldest_us) = (self.engine, None::<i64>);
        for ((partition, log), starts) in engine.log.iter().zip(starts) {
            let cursor = report.cursors.iter().find(|cursor| cursor.partition == partition);
            let cursor = cursor.map_or(0, |cursor| cursor.offset);
            let from = cursor.max(starts.get(sync).copied().unwrap_or(0)).max(log.oldest());
            let lag = waiting(&**log, from);
            self.add(&metrics::SYNC_LAG, &[sync, &partition.to_string()], lag);
            let at_us = if lag > 0 { (engine.received_at)(partition, from) } else { None };
            oldest_us = oldest_us.into_iter().chain(at_us).min();
        }
        let oldest = self.age(oldest_us);
        self.add(&metrics::SYNC_OLDEST, &[sync], oldest);
    }
}

/// Records from an offset to the end of the log.
fn waiting(log: &dyn Log, from: u64) -> u64 {
    let end = log.committed();
    if from < end { log.records(from, end) } else { 0 }
}

//! What functions and destinations logged and used.

use tidegate_api_types::destination::{DestinationCharge, DestinationMeters, SyncMeter};
use tidegate_api_types::function::{CanaryComparison, FunctionMeters, FunctionTimes, ShownCharge};
use tidegate_api_types::logs::{LogQuery, Logs, ShownLogLine};
use tidegate_delivery::Logged;
use tidegate_event::time;
use tidegate_registry::{PluginKind, RegistryError};
use tidegate_state::{FunctionLog, LogFilter, State};
use tidegate_wasm::Level;

use super::engines::AskedEngine;
use super::extract::blocking;
use super::refusal::ApiRefusal;

/// Lines of one answer.
const LINES_DEFAULT: u64 = 100;
const LINES_MAX: u64 = 1_000;

impl AskedEngine {
    /// Log lines of a function, newest last.
    pub(super) async fn function_logs(&self, name: String, query: LogQuery) -> Result<Logs, ApiRefusal> {
        let (_, lines_max) = bounds(&query)?;
        let state = self.state()?;
        if self.engine.store.versions(PluginKind::Functions, &name).is_empty() {
            // A function of a workspace file has no version here, and logs all the same.
            let charges = state.charges().map_err(|error| ApiRefusal::failed("the meters cannot be read", &error))?;
            if !self.engine.names().functions.contains(&name)
                && !charges.iter().any(|(charge, _)| charge.function == name)
            {
                return Err(RegistryError::NoSuchName { plugin_kind: PluginKind::Functions, name }.into());
            }
        }
        let filter = LogFilter { event: query.event, text: query.text, level_min: query.level, lines_max };
        let found = blocking(move || state.function_logs(&name, &filter)).await?;
        let found = found.map_err(|error| ApiRefusal::failed("the logs cannot be read", &error))?;
        Ok(Logs { lines: found.into_iter().map(line).collect() })
    }

    /// The same of a destination, whose lines are kept since the server started.
    pub(super) fn destination_logs(&self, name: String, query: &LogQuery) -> Result<Logs, ApiRefusal> {
        let (least, lines_max) = bounds(query)?;
        let plugin_kind = PluginKind::Destinations;
        if query.event.is_some() {
            let detail = "lines of a destination are not kept by event";
            return Err(ApiRefusal::bad("event", detail, "leave `event` out, or look for a `text`"));
        }
        if !self.engine.names().syncs.contains_key(&name) && self.engine.store.versions(plugin_kind, &name).is_empty() {
            return Err(RegistryError::NoSuchName { plugin_kind, name }.into());
        }
        let text = query.text.as_deref();
        let fits = |line: &Logged| line.level >= least && text.is_none_or(|text| line.text.contains(text));
        let lines =
            self.engine.running.destination_logs.lines(&name, usize::try_from(lines_max).unwrap_or(usize::MAX), fits);
        let line = |line: &Logged| ShownLogLine {
            at: time::format(line.at_us),
            version: line.version.to_string(),
            level: line.level.as_str().to_owned(),
            text: line.text.to_string(),
            partition: 0,
            offsets: None,
        };
        Ok(Logs { lines: lines.iter().map(line).collect() })
    }

    /// What each version of a function used since it was first seen, how long batches took, and what comparisons came to.
    pub(super) fn function_meters(&self, name: &str) -> Result<FunctionMeters, ApiRefusal> {
        let failed = |error| ApiRefusal::failed("the meters cannot be read", &error);
        let state = self.state()?;
        let charges = state.charges().map_err(failed)?.into_iter().filter(|(charge, _)| charge.function == name);
        let charges = charges.map(|(charge, stopped)| ShownCharge {
            version: charge.version,
            batches: charge.batches,
            events: charge.events,
            calls: charge.calls,
            calls_failed: charge.calls_failed,
            errors: charge.errors,
            failed: charge.failed,
            dropped: charge.dropped,
            cpu_us: charge.cpu_us,
            memory_peak_bytes: charge.memory_peak_bytes,
            error: charge.error,
            stopped,
        });
        let comparisons = state.comparisons(name).map_err(failed)?.into_iter().map(|comparison| CanaryComparison {
            samples: serde_json::from_str(&comparison.samples_json).unwrap_or_default(),
            live: comparison.live,
            canary: comparison.candidate,
            same: comparison.same,
            different: comparison.different,
        });
        let (charges, comparisons) = (charges.collect(), comparisons.collect());
        Ok(FunctionMeters { charges, times: self.function_times(name), comparisons })
    }

    fn function_times(&self, name: &str) -> FunctionTimes {
        let histogram = self.engine.metrics.functions.find(&[name]);
        let read = histogram.map(|histogram| histogram.read()).unwrap_or_default();
        FunctionTimes { batches: read.count(), p50_us: read.quantile_us(50), p99_us: read.quantile_us(99) }
    }

    /// What became of the events of a destination's syncs.
    pub(super) fn destination_meters(&self, name: &str) -> Result<DestinationMeters, ApiRefusal> {
        let names = self.engine.names();
        let used = names.syncs.get(name).map(Vec::as_slice).unwrap_or_default();
        let failed = |error| ApiRefusal::failed("the meters cannot be read", &error);
        let state = self.state()?;
        let reports = state.reports().map_err(failed)?;
        let ours = reports.into_iter().filter(|report| used.contains(&report.sync)).map(|report| {
            let meter = SyncMeter {
                delivered: report.delivered,
                quarantined: report.rejected,
                filtered: report.filtered,
                failure: report.failure,
                notices: report.notices,
            };
            (report.sync, meter)
        });
        let charges = state.destination_charges().map_err(failed)?.into_iter().filter(|charge| charge.function == name);
        let charges = charges.map(|charge| DestinationCharge {
            version: charge.version,
            events: charge.events,
            failed: charge.failed,
            error: charge.error,
        });
        Ok(DestinationMeters { syncs: ours.collect(), charges: charges.collect() })
    }

    fn state(&self) -> Result<State, ApiRefusal> {
        (self.engine.open_state)().map_err(|error| ApiRefusal::failed("the state cannot be read", &error))
    }
}

/// The least level and the most lines that are asked for.
fn bounds(query: &LogQuery) -> Result<(Level, u64), ApiRefusal> {
    let least = match query.level.as_deref() {
        None => Level::Debug,
        Some(word) => [Level::Debug, Level::Info, Level::Warn, Level::Error]
            .into_iter()
            .find(|level| level.as_str() == word)
            .ok_or_else(|| {
                ApiRefusal::bad("level", "`level` is not a level", "send one of debug, info, warn, error")
            })?,
    };
    let lines = query.limit.unwrap_or(LINES_DEFAULT);
    if !(1..=LINES_MAX).contains(&lines) {
        return Err(ApiRefusal::bad("limit", "`limit` is not a number from 1 to 1000", "send 1 to 1000"));
    }
    Ok((least, lines))
}

fn line(log: FunctionLog) -> ShownLogLine {
    ShownLogLine {
        at: time::format(log.at_us),
        version: log.version,
        level: log.level,
        text: log.text,
        partition: log.positions.start.partition,
        offsets: Some([log.positions.start.offset, log.positions.end.offset]),
    }
}

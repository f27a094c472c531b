//! What functions logged and used.

use serde_json::{Value, json};
use tidegate_delivery::Logged;
use tidegate_event::time;
use tidegate_registry::{Error, Shelf};
use tidegate_state::{FunctionLog, LogFilter, SyncReport};
use tidegate_wasm::Level;

use super::Door;
use super::answer::Answer;
use super::route::Query;
use super::upload::blocking;

/// Lines of one answer.
const LINES_DEFAULT: u64 = 100;
const LINES_MAX: u64 = 1_000;

impl Door {
    /// Log lines, newest last; `event`, `text`, `level` and `limit` choose.
    pub(super) async fn logs(&self, shelf: Shelf, name: String, query: &Query) -> Result<Answer, Answer> {
        let level_min = query.get("level").map(str::to_owned);
        if level_min.as_deref().is_some_and(|word| level(word).is_none()) {
            return Err(Answer::bad("level", "`level` is not a level", "send one of debug, info, warn, error"));
        }
        let limit = query.get("limit").map_or(Ok(LINES_DEFAULT), str::parse::<u64>);
        let limit = limit.ok().filter(|limit| (1..=LINES_MAX).contains(limit));
        let limit =
            limit.ok_or_else(|| Answer::bad("limit", "`limit` is not a number from 1 to 1000", "send 1 to 1000"))?;
        if shelf == Shelf::Destinations {
            return self.logs_of_destination(name, query, limit);
        }
        if self.settings.store.versions(Shelf::Functions, &name).is_empty() {
            // A function of a workspace file has no version here, and logs all the same.
            let state =
                (self.settings.open_state)().map_err(|error| Answer::failed("the state cannot be read", &error))?;
            let charges = state.charges().map_err(|error| Answer::failed("the meters cannot be read", &error))?;
            if !self.settings.functions.contains(&name) && !charges.iter().any(|(charge, _)| charge.function == name) {
                return Err(Error::NoSuchName { shelf: Shelf::Functions, name }.into());
            }
        }
        let filter = LogFilter {
            event: query.get("event").map(str::to_owned),
            text: query.get("text").map(str::to_owned),
            level_min,
            lines_max: limit,
        };
        let state = (self.settings.open_state)().map_err(|error| Answer::failed("the state cannot be read", &error))?;
        let found = blocking(move || state.function_logs(&name, &filter)).await?;
        let found = found.map_err(|error| Answer::failed("the logs cannot be read", &error))?;
        Ok(Answer::ok(json!({"lines": found.iter().map(line).collect::<Vec<_>>()})))
    }

    /// The same of a destination, whose lines are kept since the server started.
    fn logs_of_destination(&self, name: String, query: &Query, limit: u64) -> Result<Answer, Answer> {
        let shelf = Shelf::Destinations;
        if query.get("event").is_some() {
            let message = "lines of a destination are not kept by event";
            return Err(Answer::bad("event", message, "leave `event` out, or look for a `text`"));
        }
        if !self.settings.syncs.contains_key(&name) && self.settings.store.versions(shelf, &name).is_empty() {
            return Err(Error::NoSuchName { shelf, name }.into());
        }
        let least = query.get("level").and_then(level).unwrap_or(Level::Debug);
        let text = query.get("text");
        let fits = |line: &Logged| line.level >= least && text.is_none_or(|text| line.text.contains(text));
        let lines = self.settings.running.logbook.lines(&name, usize::try_from(limit).unwrap_or(usize::MAX), fits);
        let line = |line: &Logged| {
            json!({"at": time::format(line.at_us), "version": &*line.version, "level": line.level.as_str(),
                "text": line.text})
        };
        Ok(Answer::ok(json!({"lines": lines.iter().map(line).collect::<Vec<_>>()})))
    }

    /// What each version used since it was first seen, and what trials came to.
    pub(super) fn meters(&self, shelf: Shelf, name: &str) -> Result<Value, Answer> {
        let failed = |error| Answer::failed("the meters cannot be read", &error);
        let state = (self.settings.open_state)().map_err(failed)?;
        if shelf == Shelf::Destinations {
            let used = self.settings.syncs.get(name).map(Vec::as_slice).unwrap_or_default();
            let reports = state.reports().map_err(failed)?;
            let ours = reports.into_iter().filter(|report| used.contains(&report.sync));
            let syncs: serde_json::Map<String, Value> =
                ours.map(|report| (report.sync.clone(), sync(&report))).collect();
            return Ok(json!({ "syncs": syncs }));
        }
        let charges: Vec<Value> = state
            .charges()
            .map_err(failed)?
            .into_iter()
            .filter(|(charge, _)| charge.function == name)
            .map(|(charge, stopped)| {
                json!({
                    "version": charge.version, "batches": charge.batches, "events": charge.events,
                    "calls": charge.calls, "calls_failed": charge.calls_failed, "faults": charge.faults,
                    "failed": charge.failed, "dropped": charge.dropped, "cpu_us": charge.cpu_us,
                    "memory_peak_bytes": charge.memory_peak_bytes, "fault": charge.fault, "stopped": stopped,
                })
            })
            .collect();
        let trials: Vec<Value> = state
            .comparisons(name)
            .map_err(failed)?
            .into_iter()
            .map(|trial| {
                let samples: Value = serde_json::from_str(&trial.samples_json).unwrap_or_default();
                json!({
                    "live": trial.live, "canary": trial.rival, "same": trial.same, "different": trial.different,
                    "samples": samples,
                })
            })
            .collect();
        Ok(json!({"charges": charges, "trials": trials}))
    }
}

fn line(log: &FunctionLog) -> Value {
    json!({
        "at": time::format(log.at_us), "version": log.version, "level": log.level, "text": log.text,
        "offsets": [log.offsets.start, log.offsets.end],
    })
}

fn sync(report: &SyncReport) -> Value {
    json!({
        "delivered": report.delivered, "rejected": report.rejected, "filtered": report.filtered,
        "failure": report.failure, "notice": report.notice,
    })
}

fn level(word: &str) -> Option<Level> {
    [Level::Debug, Level::Info, Level::Warn, Level::Error].into_iter().find(|level| level.as_str() == word)
}

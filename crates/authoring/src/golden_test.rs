//! Golden tests: `fixtures/<case>.in.json` through the plugin, compared with what is expected of it.
//!
//! For functions `<case>.out.json` is an array with one outcome for each event of the input:
//! `{"keep": true}`, `{"replace": {..}}`, `{"emit": [..]}`, `{"drop": "reason"}`, `{"fail": {"code": ".."}}`, and
//! `{"error": {"code": ".."}}` for a function that broke. For destinations `<case>.request.json` is the plan, and
//! `<case>.responses.json` holds recorded responses with the verdict of each. Inputs of the type `forget` are people whom the tool
//! behind a destination is to forget.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tidegate_document::file;
use tidegate_plugin::{ManifestKind, Package};
use tidegate_wasm::function::{CallLimits, Stats, services};
use tidegate_wasm::{Engine, Module};

use super::case::{Case, CaseResult, compare};
use super::deliveries;
use super::fixtures::{CaseFiles, TestError, case_names, events, read, read_json};
use super::runner::Runner;

/// Size of the batch that the time for one event is taken from.
const MEASURED_EVENTS: usize = 100;

/// What came of a project's fixtures.
#[derive(Debug, Clone, Default)]
pub struct TestReport {
    pub cases: Vec<Case>,
    /// CPU time for one event, microseconds, in batches of a hundred; the median of several.
    pub us_per_event: f64,
    pub memory_peak_bytes: usize,
    /// The largest share of each limit that a call used: 1.0 is all of it.
    pub cpu_share_max: f64,
    pub memory_share_max: f64,
    pub output_share_max: f64,
}

impl TestReport {
    /// Whether every case passed or was updated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| matches!(case.result, CaseResult::Passed | CaseResult::Updated))
    }
}

/// Runs the fixtures of the project in `dir` through the component at `component`, within `limits`. With `update`, writes
/// what came as what is expected.
pub async fn test(dir: &Path, component: &Path, limits: CallLimits, update: bool) -> Result<TestReport, TestError> {
    let fixtures = dir.join("fixtures");
    let names = case_names(&fixtures)?;
    let bytes = read(component, file::COMPONENT_BYTES_MAX)?;
    // A guest without papers is a function over text.
    let manifest = Package::read(&bytes).ok().map(|package| package.manifest);
    let kind = manifest.as_ref().map_or(ManifestKind::Transform, |manifest| manifest.kind);
    let engine = Engine::new(&CallLimits { calls_at_once_max: 1, trap_lines: true, ..limits.clone() })?;
    let module = Module::compile(&engine, &bytes, kind)?;
    let lookups = fixtures.join("lookups.json");
    let lookups = if lookups.exists() { read_json(&lookups)? } else { json!({}) };
    let services = services(manifest.as_ref(), lookups);
    let runner = Runner { kind, module, limits: Arc::new(limits), services, manifest };
    let mut report = TestReport::default();
    let mut stats = Vec::new();
    for name in names {
        let files = CaseFiles { folder: &fixtures, name: &name };
        let events = events(&files.input()?);
        let settings = files.settings(runner.manifest.as_ref())?.to_string();
        let came = runner.run(&events, &settings).await;
        let mut result = compare(&files.expected(kind), &came.shown, update)?;
        let mut notes = came.notes;
        if !came.refused.is_empty() {
            notes.extend(came.refused);
            if !matches!(result, CaseResult::Differs { .. }) {
                result = CaseResult::Refused;
            }
        }
        stats.push(came.stats);
        stats.push(measure(&runner, &events, &settings, &mut report.us_per_event).await);
        let responses = match &came.plan {
            Some(plan) => {
                let planned = (runner.export_for(&events), plan);
                deliveries::classified(&runner, &files, &settings, planned, update).await?
            }
            None => None,
        };
        report.cases.push(Case { name, events: events.len(), result, log: came.log, notes });
        report.cases.extend(responses);
    }
    for stats in stats {
        report.memory_peak_bytes = report.memory_peak_bytes.max(stats.memory_peak_bytes);
        report.cpu_share_max = report.cpu_share_max.max(stats.cpu_share_max);
        report.output_share_max = report.output_share_max.max(stats.output_share_max);
    }
    report.memory_share_max = report.memory_peak_bytes as f64 / runner.limits.memory_bytes_max.max(1) as f64;
    Ok(report)
}

/// Runs the events of a case over and over in one batch; `slowest_us` keeps the slowest case.
async fn measure(runner: &Runner, events: &[String], settings: &str, slowest_us: &mut f64) -> Stats {
    let size = MEASURED_EVENTS.min(runner.limits.batch_events_max);
    let batch: Vec<String> = events.iter().cycle().take(size).cloned().collect();
    let mut times: Vec<Duration> = Vec::new();
    let mut last = Stats::default();
    if batch.is_empty() {
        return last;
    }
    for _ in 0..5 {
        last = runner.run(&batch, settings).await.stats;
        times.push(last.cpu);
    }
    times.sort_unstable();
    *slowest_us = slowest_us.max(times[times.len() / 2].as_secs_f64() * 1e6 / batch.len() as f64);
    last
}

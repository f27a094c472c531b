//! Golden tests: `fixtures/<case>.in.json` through the function, compared with `fixtures/<case>.out.json`.
//!
//! An input is an event or an array of events. An output is an array with one outcome for each:
//! `{"keep": true}`, `{"replace": {..}}`, `{"emit": [..]}`, `{"drop": "reason"}`, `{"fail": {"code": ".."}}`, and
//! `{"fault": {"code": ".."}}` for a function that broke. Settings come from `<case>.settings.json`, or else from
//! `settings.json`, or else are `{}`.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};

use super::diff;
use crate::function::{Function, Limits, LogLine, Outcome, RunContext, Stats};
use crate::wasm::{Engine, EngineError, LoadError, Module, World};

/// The time that a function sees in its tests, so that golden outputs stay golden: 2026-01-01T00:00:00Z.
const NOW_MS: u64 = 1_767_225_600_000;

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

/// One fixture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    pub name: String,
    pub events: usize,
    pub result: CaseResult,
    pub log: Vec<LogLine>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CaseResult {
    Passed,
    /// The output file was written.
    Updated,
    /// `-` lines were expected, `+` lines came instead.
    Differs {
        diff: String,
    },
    /// There is no output file yet; this is what it would hold.
    Unknown {
        actual: String,
    },
}

impl TestReport {
    /// Whether every case passed or was updated.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.cases.iter().all(|case| matches!(case.result, CaseResult::Passed | CaseResult::Updated))
    }
}

/// Why the fixtures could not be run at all.
#[derive(Debug, thiserror::Error)]
pub enum TestError {
    #[error("{} has no *.in.json", dir.display())]
    NoFixtures { dir: PathBuf },
    #[error("{}: {cause}", path.display())]
    File {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
    #[error("{} is not JSON: {cause}", path.display())]
    Json {
        path: PathBuf,
        #[source]
        cause: serde_json::Error,
    },
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Engine(#[from] EngineError),
}

/// Runs the fixtures of the project in `dir` through the component at `component`. With `update`, writes what came as
/// what is expected.
pub async fn test(dir: &Path, component: &Path, limits: Limits, update: bool) -> Result<TestReport, TestError> {
    let fixtures = dir.join("fixtures");
    let names = case_names(&fixtures)?;
    let engine = Engine::new(&Limits { calls_at_once_max: 1, ..limits.clone() })?;
    let module = Module::compile(&engine, &read(component)?, World::Transform)?;
    let mut report = TestReport::default();
    let mut stats = Vec::new();
    for name in names {
        let events = events(&fixtures.join(format!("{name}.in.json")))?;
        let settings = settings(&fixtures, &name)?;
        let function = Function::of(module.clone(), &name, settings, limits.clone());
        let ran = function.run(&events, RunContext { now_ms: NOW_MS, ..RunContext::default() }).await;
        let expected = fixtures.join(format!("{name}.out.json"));
        let result = compare(&expected, &ran.outcomes, update)?;
        stats.push(ran.stats);
        stats.push(measure(&function, &events, &mut report.us_per_event).await);
        report.cases.push(Case { name, events: events.len(), result, log: ran.journal.lines });
    }
    for stats in stats {
        report.memory_peak_bytes = report.memory_peak_bytes.max(stats.memory_peak_bytes);
        report.cpu_share_max = report.cpu_share_max.max(stats.cpu_share_max);
        report.output_share_max = report.output_share_max.max(stats.output_share_max);
    }
    report.memory_share_max = report.memory_peak_bytes as f64 / limits.memory_bytes_max.max(1) as f64;
    Ok(report)
}

/// Runs the events of a case over and over in one batch; `slowest_us` keeps the slowest case.
async fn measure(function: &Function, events: &[String], slowest_us: &mut f64) -> Stats {
    let batch: Vec<String> = events.iter().cycle().take(MEASURED_EVENTS).cloned().collect();
    let mut times: Vec<Duration> = Vec::new();
    let mut last = Stats::default();
    if batch.is_empty() {
        return last;
    }
    for _ in 0..5 {
        last = function.run(&batch, RunContext { now_ms: NOW_MS, ..RunContext::default() }).await.stats;
        times.push(last.cpu);
    }
    times.sort_unstable();
    *slowest_us = slowest_us.max(times[times.len() / 2].as_secs_f64() * 1e6 / batch.len() as f64);
    last
}

fn case_names(fixtures: &Path) -> Result<Vec<String>, TestError> {
    let failed = |cause| TestError::File { path: fixtures.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(".in.json")).map(str::to_owned));
    }
    names.sort();
    if names.is_empty() { Err(TestError::NoFixtures { dir: fixtures.to_owned() }) } else { Ok(names) }
}

fn read(path: &Path) -> Result<Vec<u8>, TestError> {
    std::fs::read(path).map_err(|cause| TestError::File { path: path.to_owned(), cause })
}

fn read_json(path: &Path) -> Result<Value, TestError> {
    serde_json::from_slice(&read(path)?).map_err(|cause| TestError::Json { path: path.to_owned(), cause })
}

fn events(path: &Path) -> Result<Vec<String>, TestError> {
    Ok(match read_json(path)? {
        Value::Array(events) => events.iter().map(Value::to_string).collect(),
        event => vec![event.to_string()],
    })
}

fn settings(fixtures: &Path, case: &str) -> Result<String, TestError> {
    let own = fixtures.join(format!("{case}.settings.json"));
    for path in [own, fixtures.join("settings.json")] {
        if path.exists() {
            return Ok(read_json(&path)?.to_string());
        }
    }
    Ok("{}".to_owned())
}

fn compare(path: &Path, outcomes: &[Outcome], update: bool) -> Result<CaseResult, TestError> {
    let actual = Value::Array(outcomes.iter().map(shown).collect());
    let known = if path.exists() { Some(read_json(path)?) } else { None };
    if known.as_ref() == Some(&actual) {
        return Ok(CaseResult::Passed);
    }
    let text = format!("{actual:#}\n");
    if update {
        std::fs::write(path, text).map_err(|cause| TestError::File { path: path.to_owned(), cause })?;
        return Ok(CaseResult::Updated);
    }
    Ok(match known {
        Some(expected) => CaseResult::Differs { diff: diff::lines(&format!("{expected:#}\n"), &text) },
        None => CaseResult::Unknown { actual: text },
    })
}

/// An outcome as a fixture spells it.
fn shown(outcome: &Outcome) -> Value {
    // What is no JSON stays visible as the text that it is.
    let event = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| json!({ "not-json": text }));
    match outcome {
        // An edited event is shown by whoever has it.
        Outcome::Keep | Outcome::Edited => json!({ "keep": true }),
        Outcome::Replace(text) => json!({ "replace": event(text) }),
        Outcome::Emit(texts) => json!({ "emit": texts.iter().map(event).collect::<Vec<_>>() }),
        Outcome::Drop(reason) => json!({ "drop": reason }),
        Outcome::Fail { code, .. } => json!({ "fail": { "code": code } }),
        Outcome::Fault { code, .. } => json!({ "fault": { "code": code.as_str() } }),
    }
}

//! Golden tests: `fixtures/<case>.in.json` through the plugin, compared with what is expected of it.
//!
//! An input is an event or an array of events. For functions `<case>.out.json` is an array with one outcome for each:
//! `{"keep": true}`, `{"replace": {..}}`, `{"emit": [..]}`, `{"drop": "reason"}`, `{"fail": {"code": ".."}}`, and
//! `{"error": {"code": ".."}}` for a function that broke. For destinations `<case>.request.json` is the plan, and
//! `<case>.responses.json` holds recorded responses with the verdict of each. Settings come from `<case>.settings.json`,
//! or else from `settings.json`, or else are `{}`; a secret that they lack is its placeholder.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tidegate_document::file;
use tidegate_plugin::{Fixture, Manifest, ManifestKind, Package, embed, embed_with_lookups, settings_problems};
use tidegate_wasm::function::{CallLimits, LogLine, Stats, services};
use tidegate_wasm::{Engine, EngineError, Module, ModuleError};

use super::manifest::Project;
use super::runner::Runner;
use super::{deliveries, diff};

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
    /// What went wrong with which event.
    pub notes: Vec<String>,
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
    /// A server would not take what came, whatever is expected; the notes say why.
    Refused,
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
    #[error(
        "the settings of the fixture {case} do not fit `settings` of plugin.yaml, so a server would refuse them: {problems}; mend fixtures/settings.json (or {case}.settings.json)"
    )]
    Settings { case: String, problems: String },
    #[error("{}: {cause}; a project has its events in fixtures/*.in.json", path.display())]
    NoFolder {
        path: PathBuf,
        #[source]
        cause: std::io::Error,
    },
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
    Load(#[from] ModuleError),
    #[error(transparent)]
    Engine(#[from] EngineError),
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
        let events = events(&read_json(&fixtures.join(format!("{name}.in.json")))?);
        let settings = settings(&fixtures, &name, runner.manifest.as_ref())?.to_string();
        let came = runner.run(&events, &settings).await;
        let mut result = compare(&expected(&fixtures, &name, kind), &came.shown, update)?;
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
            Some(plan) => deliveries::classified(&runner, &fixtures, &name, &settings, plan, update).await?,
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

/// The file that says what is expected of a case.
fn expected(fixtures: &Path, name: &str, kind: ManifestKind) -> PathBuf {
    fixtures.join(format!("{name}.{}.json", if kind == ManifestKind::Destination { "request" } else { "out" }))
}

/// What a component carries for whoever tries it: fixtures, and the tables that they look up.
#[derive(Debug, Default)]
pub(super) struct CarriedFixtures {
    fixtures: Vec<Fixture>,
    lookups: Option<Value>,
}

impl CarriedFixtures {
    /// `component` with all of it and the manifest of `project`.
    pub(super) fn into(self, component: &[u8], project: &Project) -> Vec<u8> {
        match &self.lookups {
            Some(lookups) => embed_with_lookups(component, &project.json, &self.fixtures, lookups),
            None => embed(component, &project.json, &self.fixtures),
        }
    }
}

/// The fixtures of a project, for its component to carry. A project may have none.
pub(super) fn of_project(project: &Project) -> Result<CarriedFixtures, TestError> {
    let dir = project.dir.join("fixtures");
    if dir.is_dir() { of_folder(&dir, project) } else { Ok(CarriedFixtures::default()) }
}

/// The fixtures in `dir`, for a component with the manifest of `project`.
pub(super) fn of_folder(dir: &Path, project: &Project) -> Result<CarriedFixtures, TestError> {
    let mut fixtures = Vec::new();
    for name in names_in(dir)? {
        let input = read_json(&dir.join(format!("{name}.in.json")))?;
        let expected = expected(dir, &name, project.kind());
        let expected = if expected.exists() { Some(read_json(&expected)?) } else { None };
        let settings = settings(dir, &name, Some(&project.manifest))?;
        fixtures.push(Fixture { name, input, expected, settings });
    }
    let tables = dir.join("lookups.json");
    let lookups = if tables.exists() { Some(read_json(&tables)?) } else { None };
    Ok(CarriedFixtures { fixtures, lookups })
}

/// The events and settings of every case.
pub(super) fn inputs(fixtures: &Path, manifest: Option<&Manifest>) -> Result<Vec<(Vec<String>, String)>, TestError> {
    let mut inputs = Vec::new();
    for name in case_names(fixtures)? {
        let input = events(&read_json(&fixtures.join(format!("{name}.in.json")))?);
        inputs.push((input, settings(fixtures, &name, manifest)?.to_string()));
    }
    Ok(inputs)
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

fn case_names(fixtures: &Path) -> Result<Vec<String>, TestError> {
    let names = names_in(fixtures)?;
    if names.is_empty() { Err(TestError::NoFixtures { dir: fixtures.to_owned() }) } else { Ok(names) }
}

fn names_in(fixtures: &Path) -> Result<Vec<String>, TestError> {
    let failed = |cause| TestError::NoFolder { path: fixtures.to_owned(), cause };
    let mut names = Vec::new();
    for entry in std::fs::read_dir(fixtures).map_err(failed)? {
        let file = entry.map_err(failed)?.file_name();
        names.extend(file.to_str().and_then(|file| file.strip_suffix(".in.json")).map(str::to_owned));
    }
    names.sort();
    Ok(names)
}

fn read(path: &Path, bytes_max: u64) -> Result<Vec<u8>, TestError> {
    file::read(path, bytes_max).map_err(|cause| TestError::File { path: path.to_owned(), cause })
}

pub(super) fn read_json(path: &Path) -> Result<Value, TestError> {
    serde_json::from_slice(&read(path, file::TEXT_BYTES_MAX)?)
        .map_err(|cause| TestError::Json { path: path.to_owned(), cause })
}

/// The events of an input, one text each.
pub(super) fn events(input: &Value) -> Vec<String> {
    match input {
        Value::Array(events) => events.iter().map(Value::to_string).collect(),
        event => vec![event.to_string()],
    }
}

/// The settings of a case.
pub(super) fn settings(fixtures: &Path, case: &str, manifest: Option<&Manifest>) -> Result<Value, TestError> {
    let mut settings = json!({});
    let own = fixtures.join(format!("{case}.settings.json"));
    for path in [own, fixtures.join("settings.json")] {
        if path.exists() {
            settings = read_json(&path)?;
            break;
        }
    }
    // As they are where the schema has no place for further secrets.
    let given = settings.clone();
    let mut stand_ins = Vec::new();
    if let Some(settings) = settings.as_object_mut() {
        for secret in manifest.into_iter().flat_map(Manifest::secrets) {
            settings.entry(secret).or_insert_with(|| {
                stand_ins.push(format!("/{secret}"));
                format!("{{{{secret.{secret}}}}}").into()
            });
        }
    }
    let problems = |settings: &Value| -> Vec<String> {
        match manifest.map_or(Ok(Vec::new()), |manifest| settings_problems(manifest, settings)) {
            // A placeholder need not look like the secret that it stands for.
            Ok(problems) => {
                let ours = problems.into_iter().filter(|(place, _)| !stand_ins.contains(place));
                ours.map(|(place, problem)| format!("{place} {problem}").trim_start().to_owned()).collect()
            }
            Err(problem) => vec![problem],
        }
    };
    let found = problems(&settings);
    if found.is_empty() {
        return Ok(settings);
    }
    if problems(&given).is_empty() {
        return Ok(given);
    }
    let problems = found;
    Err(TestError::Settings { case: case.to_owned(), problems: problems.join("; ") })
}

/// Compares `actual` with what the file at `path` holds, or writes it there.
pub(super) fn compare(path: &Path, actual: &Value, update: bool) -> Result<CaseResult, TestError> {
    let known = if path.exists() { Some(read_json(path)?) } else { None };
    if known.as_ref() == Some(actual) {
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

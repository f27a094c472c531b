//! Golden files: `fixtures/<case>.in.json` through a function, compared with `fixtures/<case>.out.json`.
//!
//! The input is an array of events; the output an array with one of `{"keep":true}`, `{"replace":{..}}`, `{"emit":[..]}`,
//! `{"drop":"reason"}`, `{"fail":{"code":..,"message":..}}` or `{"fault":{..}}` for each. Settings come from
//! `fixtures/settings.json`. The runtime is the one that production uses.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::{Function, LoadError, Outcome, RunContext, Stats};
use crate::wasm::{Engine, EngineError, Limits};

/// All cases of one function.
#[derive(Debug, Default)]
pub struct Trial {
    pub cases: Vec<Case>,
    pub events: u64,
    pub stats: Stats,
}

/// One pair of files.
#[derive(Debug)]
pub struct Case {
    pub name: String,
    /// Lines that differ, `-` expected and `+` got; empty when the case passed.
    pub difference: Vec<String>,
    /// The expected file was written anew.
    pub updated: bool,
}

/// The trial could not be held.
#[derive(Debug, thiserror::Error)]
pub enum TrialError {
    #[error("{}: {message}", path.display())]
    File { path: PathBuf, message: String },
    #[error(transparent)]
    Engine(#[from] EngineError),
    #[error(transparent)]
    Load(#[from] LoadError),
}

/// Time and seed of a trial: fixed, so that golden files stay golden.
const FIXED: RunContext = RunContext { now_ms: 1_700_000_000_000, seed: 1 };

/// Runs every case in `fixtures`; with `update` writes what came out as what is expected.
///
/// # Errors
/// A file is missing or no JSON, or the component may not run.
pub async fn trial(component: &[u8], fixtures: &Path, update: bool) -> Result<Trial, TrialError> {
    let settings = match std::fs::read_to_string(fixtures.join("settings.json")) {
        Ok(text) => text,
        Err(_) => "{}".to_owned(),
    };
    let function = Function::load(&Engine::new()?, "trial", component, settings, Limits::default())?;
    let mut inputs: Vec<PathBuf> = std::fs::read_dir(fixtures)
        .map_err(|error| file(fixtures, error.to_string()))?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.to_string_lossy().ends_with(".in.json"))
        .collect();
    inputs.sort();
    if inputs.is_empty() {
        return Err(file(fixtures, "no *.in.json here; add an array of events to try the function with"));
    }
    let mut trial = Trial::default();
    for input in inputs {
        let Value::Array(events) = read(&input)? else { return Err(file(&input, "not a JSON array of events")) };
        let texts: Vec<String> = events.iter().map(Value::to_string).collect();
        let ran = function.run(&texts, FIXED).await;
        trial.events += texts.len() as u64;
        trial.stats.calls += ran.stats.calls;
        trial.stats.busy += ran.stats.busy;
        trial.stats.memory_bytes_peak = trial.stats.memory_bytes_peak.max(ran.stats.memory_bytes_peak);
        let got = Value::Array(ran.outcomes.iter().map(show).collect());
        trial.cases.push(compare(&input, &got, update)?);
    }
    Ok(trial)
}

fn compare(input: &Path, got: &Value, update: bool) -> Result<Case, TrialError> {
    let name = input.file_name().unwrap_or_default().to_string_lossy().trim_end_matches(".in.json").to_owned();
    let output = input.with_file_name(format!("{name}.out.json"));
    let pretty = |value: &Value| serde_json::to_string_pretty(value).unwrap_or_default();
    if update {
        std::fs::write(&output, pretty(got) + "\n").map_err(|error| file(&output, error.to_string()))?;
        return Ok(Case { name, difference: Vec::new(), updated: true });
    }
    let want = read(&output)?;
    let difference = if want == *got { Vec::new() } else { diff(&pretty(&want), &pretty(got)) };
    Ok(Case { name, difference, updated: false })
}

/// Lines of either text that are not in the other at that place, with the common head and tail left out.
fn diff(want: &str, got: &str) -> Vec<String> {
    let (want, got): (Vec<_>, Vec<_>) = (want.lines().collect(), got.lines().collect());
    let head = want.iter().zip(&got).take_while(|(a, b)| a == b).count();
    let tail = want[head..].iter().rev().zip(got[head..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mut lines = vec![format!("@ line {}", head + 1)];
    lines.extend(want[head..want.len() - tail].iter().map(|line| format!("- {line}")));
    lines.extend(got[head..got.len() - tail].iter().map(|line| format!("+ {line}")));
    lines
}

fn show(outcome: &Outcome) -> Value {
    let event = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.clone()));
    match outcome {
        Outcome::Keep => json!({"keep": true}),
        Outcome::Replace(text) => json!({"replace": event(text)}),
        Outcome::Emit(texts) => json!({"emit": texts.iter().map(event).collect::<Vec<_>>()}),
        Outcome::Drop(reason) => json!({"drop": reason}),
        Outcome::Fail { code, message } => json!({"fail": {"code": code, "message": message}}),
        Outcome::Fault { code, message } => json!({"fault": {"code": code, "message": message}}),
    }
}

fn read(path: &Path) -> Result<Value, TrialError> {
    let text = std::fs::read_to_string(path)
        .map_err(|error| file(path, format!("{error}; run with --update to write what came out")))?;
    serde_json::from_str(&text).map_err(|error| file(path, format!("this is no JSON: {error}")))
}

fn file(path: &Path, message: impl Into<String>) -> TrialError {
    TrialError::File { path: path.to_owned(), message: message.into() }
}

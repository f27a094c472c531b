//! The author's own fixtures, run once before a version counts.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value, json};

use super::version::Smoke;
use crate::event::digits::Numbers;
use crate::function::{Function, Outcome, RunContext, granted};
use crate::plugin::{Fixture, Kind, Manifest};
use crate::wasm::{Call, CallFailure, Journal, Limits, Mac, MacKey, Module, Plan, Services, Signer, World, legible};

/// All fixtures of one version together; further ones are not run.
const FIXTURES_MAX: usize = 200;

/// The time that a plugin sees in its tests: 2026-01-01T00:00:00Z.
const NOW_MS: u64 = 1_767_225_600_000;

/// A difference that is shown, so that an answer stays one that people read.
const DIFFERENCE_LINES_MAX: usize = 60;

/// Runs the fixtures through `module`.
///
/// # Errors
/// The first fixture that differs or breaks the version, as a sentence with the difference.
pub(super) async fn run(
    module: &Module,
    manifest: &Manifest,
    fixtures: &[Fixture],
    host: &Limits,
) -> Result<Smoke, String> {
    let began = Instant::now();
    let limits = Arc::new(granted(manifest, host));
    let mut smoke = Smoke::default();
    for fixture in fixtures.iter().take(FIXTURES_MAX) {
        let name = &fixture.name;
        let events: Vec<Value> = match &fixture.input {
            Value::Array(events) => events.clone(),
            event => vec![event.clone()],
        };
        if manifest.kind == Kind::Destination {
            let broke = |reason| format!("the destination breaks on the fixture {name:?}: {reason}");
            plans(module, manifest, &limits, fixture, &events).await.map_err(broke)?;
            smoke.ran += 1;
            continue;
        }
        let function =
            Function::of(module.clone(), &manifest.name, fixture.settings.to_string(), Limits::clone(&limits))
                .with_numbers(manifest.numbers());
        let outcomes = outcomes(&function, &events).await;
        // The tables of a test stay with its author, so of what looks things up only that it breaks can be told.
        match fixture.expected.as_ref().filter(|_| manifest.lookups.is_empty()) {
            Some(expected) => {
                let actual: Value = outcomes.iter().map(shown).collect();
                if actual != *expected {
                    let difference = difference(&format!("{expected:#}"), &format!("{actual:#}"));
                    return Err(format!(
                        "the fixture {name:?} comes out differently here (- expected, + came):\n{difference}"
                    ));
                }
                smoke.passed += 1;
            }
            None => {
                let fault = outcomes.iter().find_map(|outcome| match outcome {
                    Outcome::Fault { code, message } => Some(format!("{code}: {message}")),
                    _ => None,
                });
                if let Some(fault) = fault {
                    return Err(format!("the function breaks on the fixture {name:?}: {fault}"));
                }
                smoke.ran += 1;
            }
        }
    }
    smoke.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(smoke)
}

/// Whether the plugin itself takes `settings`: it is configured with them and given nothing to do.
///
/// # Errors
/// What it says, as a sentence.
pub(super) async fn takes(module: &Module, manifest: &Manifest, host: &Limits, settings: &Value) -> Result<(), String> {
    let limits = granted(manifest, host);
    if manifest.kind != Kind::Destination {
        let function = Function::of(module.clone(), &manifest.name, settings.to_string(), limits);
        return function.check().await.map_err(|fault| fault.to_string());
    }
    match prepare(module, manifest, &Arc::new(limits), settings, &[]).await {
        Err(CallFailure::Stopped { message, .. }) => Err(legible(&message, 2_048)),
        Err(CallFailure::Configure(complaint)) => Err(format!("{}: {}", complaint.code, complaint.message)),
        _ => Ok(()),
    }
}

async fn outcomes(function: &Function, events: &[Value]) -> Vec<Outcome> {
    let cx = RunContext { now_ms: NOW_MS, ..RunContext::default() };
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    if function.world() != World::Fields {
        let mut outcomes = function.run(&texts, cx).await.outcomes;
        for (outcome, event) in outcomes.iter_mut().zip(events) {
            if let Some(event) = event.as_object() {
                function.restore(outcome, event);
            }
        }
        return outcomes;
    }
    let mut bodies: Vec<Map<String, Value>> = events.iter().filter_map(|event| event.as_object().cloned()).collect();
    let mut outcomes = function.edit(&mut bodies, texts.iter().map(String::len).sum(), cx).await.outcomes;
    for (outcome, body) in outcomes.iter_mut().zip(bodies) {
        if *outcome == Outcome::Edited {
            *outcome = Outcome::Replace(Value::Object(body).to_string());
        }
    }
    outcomes
}

/// Whether a destination plans requests for a fixture without breaking. What it plans is for the author's own tests.
async fn plans(
    module: &Module,
    manifest: &Manifest,
    limits: &Arc<Limits>,
    fixture: &Fixture,
    events: &[Value],
) -> Result<(), String> {
    let batch: Vec<String> = events.iter().map(Value::to_string).collect();
    match prepare(module, manifest, limits, &fixture.settings, &batch).await {
        Err(CallFailure::Stopped { message, .. }) => Err(legible(&message, 2_048)),
        // Whatever else it says is an answer: a fixture may be about that.
        _ => Ok(()),
    }
}

/// A plan for `batch`, with placeholders for secrets and blank signatures.
async fn prepare(
    module: &Module,
    manifest: &Manifest,
    limits: &Arc<Limits>,
    settings: &Value,
    batch: &[String],
) -> Result<Plan, CallFailure> {
    let mut settings = settings.clone();
    for secret in manifest.secrets() {
        settings[secret] = format!("{{{{secret.{secret}}}}}").into();
    }
    let services = Services { signer: Some(Arc::new(Blank)), ..Services::default() };
    let call = Call {
        settings_json: &settings.to_string(),
        revision: 1,
        now_ms: NOW_MS,
        seed: 0,
        deadline: None,
        services: &services,
        numbers: Numbers::Exact,
    };
    module.prepare(limits, call, batch, &mut Journal::default()).await.answer
}

/// Signs with nothing: there are no secrets at an upload.
struct Blank;

impl Signer for Blank {
    fn sign(&self, mac: Mac, _key: MacKey<'_>, _data: &[u8]) -> Result<Vec<u8>, String> {
        let bytes = match mac {
            Mac::HmacSha1 => 20,
            Mac::HmacSha256 => 32,
            Mac::HmacSha512 => 64,
        };
        Ok(vec![0; bytes])
    }
}

/// An outcome as a fixture spells it.
fn shown(outcome: &Outcome) -> Value {
    // What is no JSON stays visible as the text that it is.
    let event = |text: &String| serde_json::from_str(text).unwrap_or_else(|_| json!({ "not-json": text }));
    match outcome {
        Outcome::Keep | Outcome::Edited => json!({ "keep": true }),
        Outcome::Replace(text) => json!({ "replace": event(text) }),
        Outcome::Emit(texts) => json!({ "emit": texts.iter().map(event).collect::<Vec<_>>() }),
        Outcome::Drop(reason) => json!({ "drop": reason }),
        Outcome::Fail { code, .. } => json!({ "fail": { "code": code } }),
        Outcome::Fault { code, .. } => json!({ "fault": { "code": code.as_str() } }),
    }
}

/// The lines between what both begin and end with.
fn difference(expected: &str, actual: &str) -> String {
    let (a, b): (Vec<_>, Vec<_>) = (expected.lines().collect(), actual.lines().collect());
    let prefix = a.iter().zip(&b).take_while(|(a, b)| a == b).count();
    let suffix = a[prefix..].iter().rev().zip(b[prefix..].iter().rev()).take_while(|(a, b)| a == b).count();
    let mark = |mark: char, lines: &[&str]| -> Vec<String> {
        lines.iter().take(DIFFERENCE_LINES_MAX).map(|line| format!("{mark} {}", legible(line, 200))).collect()
    };
    let mut lines = mark('-', &a[prefix..a.len() - suffix]);
    lines.extend(mark('+', &b[prefix..b.len() - suffix]));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    #[test]
    fn only_what_differs_is_shown() {
        assert_eq!(super::difference("a\nb\nc", "a\nx\ny\nc"), "- b\n+ x\n+ y");
        assert_eq!(super::difference("a", "a\na"), "+ a");
    }
}

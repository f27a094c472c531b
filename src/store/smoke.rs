//! The author's own fixtures, run once before a version counts.

use std::time::Instant;

use serde_json::{Map, Value};

use super::version::{Smoke, granted};
use crate::function::{Function, Outcome, RunContext, project};
use crate::plugin::{Fixture, Kind, Manifest};
use crate::wasm::{Limits, Module, World};

/// All fixtures of one version together; a version that needs longer is run without the rest.
const FIXTURES_MAX: usize = 200;

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
    let limits = granted(manifest, host);
    let mut smoke = Smoke::default();
    if manifest.kind == Kind::Destination {
        // Their fixtures are requests and answers; what they plan shows in the author's tests.
        return Ok(smoke);
    }
    for fixture in fixtures.iter().take(FIXTURES_MAX) {
        let settings = fixture.settings.to_string();
        let function = Function::of(module.clone(), &manifest.name, settings, limits.clone());
        let events: Vec<Value> = match &fixture.input {
            Value::Array(events) => events.clone(),
            event => vec![event.clone()],
        };
        let cx = RunContext { now_ms: project::NOW_MS, ..RunContext::default() };
        let outcomes = outcomes(&function, &events, cx).await;
        match &fixture.expected {
            Some(expected) => {
                if let Some(difference) = project::difference(expected, &outcomes) {
                    let name = &fixture.name;
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
                    return Err(format!("the function breaks on the fixture {:?}: {fault}", fixture.name));
                }
                smoke.ran += 1;
            }
        }
    }
    smoke.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(smoke)
}

async fn outcomes(function: &Function, events: &[Value], cx: RunContext) -> Vec<Outcome> {
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    if function.world() != World::Fields {
        return function.run(&texts, cx).await.outcomes;
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

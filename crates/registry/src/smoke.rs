//! The author's own fixtures, run once before a version counts.

use std::sync::Arc;
use std::time::Instant;

use serde_json::{Value, json};
use tidegate_event::digits::Numbers;
use tidegate_event::value::JsonObject;
use tidegate_plugin::{Fixture, Manifest, ManifestKind, Package};
use tidegate_wasm::function::golden::{self, NOW_MS, said};
use tidegate_wasm::function::{Function, Outcome, RunContext, granted, services};
use tidegate_wasm::{
    Call, CallFailure, CallLimits, CallLog, DestinationExport, GuestPlan, HiddenTexts, Module, RevealedJson, Services,
    legible,
};

use super::version::Smoke;

/// All fixtures of one version together; further ones are not run.
const FIXTURES_MAX: usize = 200;

/// A difference that is shown, so that an answer stays one that people read.
const DIFFERENCE_LINES_MAX: usize = 60;

/// Runs the fixtures of `package` through `module`, with the tables that it carries.
///
/// # Errors
/// The first fixture that differs or breaks the version, as a sentence with the difference.
pub(super) async fn run(module: &Module, package: &Package, host: &CallLimits) -> Result<Smoke, String> {
    let began = Instant::now();
    let Package { manifest, fixtures, lookups, .. } = package;
    let limits = granted(manifest, host);
    let services = services(Some(manifest), lookups.clone().unwrap_or_default());
    let run = SmokeRun { module, manifest, limits: Arc::new(limits), services };
    // Without their tables no more can be told of what looks things up than that it breaks.
    let comparable = manifest.lookups.is_empty() || lookups.is_some();
    let mut smoke = Smoke::default();
    for fixture in fixtures.iter().take(FIXTURES_MAX) {
        let name = &fixture.name;
        let events: Vec<Value> = match &fixture.input {
            Value::Array(events) => events.clone(),
            event => vec![event.clone()],
        };
        let SmokeResult { shown, broke } = run.of(fixture, &events).await;
        match fixture.expected.as_ref().filter(|_| comparable) {
            Some(expected) if shown == *expected => smoke.passed += 1,
            Some(expected) => {
                let difference = difference(&format!("{expected:#}"), &format!("{shown:#}"));
                return Err(format!(
                    "the fixture {name:?} comes out differently here (- expected, + came):\n{difference}"
                ));
            }
            None => match broke {
                Some(error) => return Err(format!("the plugin breaks on the fixture {name:?}: {error}")),
                None => smoke.ran += 1,
            },
        }
    }
    smoke.ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    Ok(smoke)
}

/// A version that is tried, with what its tests grant it.
struct SmokeRun<'a> {
    module: &'a Module,
    manifest: &'a Manifest,
    limits: Arc<CallLimits>,
    services: Services,
}

/// What came of a fixture, as fixtures spell it, and what broke.
struct SmokeResult {
    shown: Value,
    broke: Option<String>,
}

impl SmokeRun<'_> {
    async fn of(&self, fixture: &Fixture, events: &[Value]) -> SmokeResult {
        if self.manifest.kind == ManifestKind::Destination {
            return self.plan(fixture, events).await;
        }
        let (module, limits) = (self.module.clone(), CallLimits::clone(&self.limits));
        let function = Function::of(module, &self.manifest.name, fixture.settings.to_string(), limits);
        let function = function.with_services(self.services.clone()).with_numbers(self.manifest.numbers());
        let outcomes = outcomes(&function, events).await;
        let broke = outcomes.iter().find_map(|outcome| match outcome {
            Outcome::Error { code, message } => Some(format!("{code}: {message}")),
            _ => None,
        });
        SmokeResult { shown: outcomes.iter().map(golden::outcome).collect(), broke }
    }

    async fn plan(&self, fixture: &Fixture, events: &[Value]) -> SmokeResult {
        let batch: Vec<String> = events.iter().map(Value::to_string).collect();
        let asked =
            AskedFixture { settings: &fixture.settings, services: &self.services, numbers: self.manifest.numbers() };
        match prepare(self.module, &self.limits, asked, &batch).await {
            Ok(plan) => SmokeResult { shown: golden::plan(&plan), broke: None },
            // Whatever it says that is no trap is an answer: a fixture may be about that.
            Err(failure) => {
                let (code, message) = said(&failure);
                let stopped = matches!(failure, CallFailure::Stopped { .. });
                SmokeResult {
                    shown: json!({ "error": { "code": code } }),
                    broke: stopped.then(|| legible(&message, 2_048)),
                }
            }
        }
    }
}

/// Whether the plugin itself takes `settings`: it is configured with them and given nothing to do.
///
/// # Errors
/// What it says, as a sentence.
pub(super) async fn takes(
    module: &Module,
    manifest: &Manifest,
    host: &CallLimits,
    settings: &RevealedJson,
) -> Result<(), String> {
    let limits = granted(manifest, host);
    if manifest.kind != ManifestKind::Destination {
        let function = Function::of(module.clone(), &manifest.name, String::new(), limits).with_settings(settings);
        return function.check().await.map_err(|error| error.to_string());
    }
    let hidden = HiddenTexts::default().and(settings.hidden());
    let mut settings = settings.given().clone();
    for secret in manifest.secrets() {
        settings[secret] = format!("{{{{secret.{secret}}}}}").into();
    }
    let services = services(Some(manifest), Value::Null);
    let asked = AskedFixture { settings: &settings, services: &services, numbers: manifest.numbers() };
    let mut refusal = match prepare(module, &Arc::new(limits), asked, &[]).await {
        Err(CallFailure::Stopped { message, .. }) => legible(&message, 2_048),
        Err(CallFailure::Configure(guest_error)) => format!("{}: {}", guest_error.code, guest_error.message),
        _ => return Ok(()),
    };
    hidden.clean(&mut refusal);
    Err(refusal)
}

async fn outcomes(function: &Function, events: &[Value]) -> Vec<Outcome> {
    let cx = RunContext { now_ms: NOW_MS, ..RunContext::default() };
    let texts: Vec<String> = events.iter().map(Value::to_string).collect();
    if !function.edits() {
        let mut ran = function.run(&texts, cx).await;
        for (outcome, event) in ran.outcomes.iter_mut().zip(events) {
            if let Some(event) = event.as_object() {
                function.restore(outcome, &event.clone().into(), &ran.call_log.given);
            }
        }
        return ran.outcomes;
    }
    let mut bodies: Vec<JsonObject> =
        events.iter().filter_map(|event| Some(event.as_object()?.clone().into())).collect();
    let mut outcomes = function.edit(&mut bodies, texts.iter().map(String::len).sum(), cx).await.outcomes;
    for (outcome, body) in outcomes.iter_mut().zip(bodies) {
        if *outcome == Outcome::Edited {
            *outcome = Outcome::Replace(body.to_string());
        }
    }
    outcomes
}

/// What a destination is configured with, and what it may use.
struct AskedFixture<'a> {
    settings: &'a Value,
    services: &'a Services,
    numbers: Numbers,
}

async fn prepare(
    module: &Module,
    limits: &Arc<CallLimits>,
    asked: AskedFixture<'_>,
    batch: &[String],
) -> Result<GuestPlan, CallFailure> {
    let call = Call {
        limits,
        settings_json: &asked.settings.to_string(),
        revision: 1,
        now_ms: NOW_MS,
        seed: 0,
        deadline: None,
        services: asked.services,
        numbers: asked.numbers,
    };
    let export = if module.can_forget() { DestinationExport::of_fixtures(batch) } else { DestinationExport::default() };
    module.prepare_for(call, (export, batch), &mut CallLog::default()).await.answer
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

//! What a function would make of events: a version of it, or a script that is none yet.

use std::sync::Arc;
use std::time::Instant as StdInstant;

use serde_json::{Value, json};
use tidegate_api_types::script::{EventTransformed, FunctionTried, TriedLogLine};
use tidegate_event::value::JsonObject;
use tidegate_process::clock;
use tidegate_process::telemetry::with_causes;
use tidegate_registry::{Loaded, PluginKind, RegistryError, Sha};
use tidegate_wasm::function::{Function, FunctionRan, Outcome, RunContext, services};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::{ObjectTries, SampledRecord, TRY_MAX, newest};
use crate::api::{TriedCode, TriedSample, TryFunctionOrder, TryFunctions, TryRefusal, TryingFunction};
use crate::app::field_changes::changes;
use crate::app::sample::sampled_event;

/// The source of events that are given without one.
const SOURCE: &str = "web";

/// What is run, and with which settings.
struct TriedFunction {
    loaded: Arc<Loaded>,
    settings: Value,
}

impl ObjectTries {
    /// As the admin API calls it for functions.
    pub(in crate::app) fn for_functions(self: &Arc<Self>) -> TryFunctions {
        let tries = Arc::clone(self);
        Box::new(move |order: TryFunctionOrder| -> TryingFunction {
            Box::pin(Arc::clone(&tries).begin_function(order))
        })
    }

    async fn begin_function(self: Arc<Self>, order: TryFunctionOrder) -> Result<FunctionTried, TryRefusal> {
        let turn = Arc::clone(&self.turns).try_acquire_owned().map_err(|_| TryRefusal::Busy)?;
        let work = move || {
            let _turn = turn;
            Handle::current().block_on(async { timeout(TRY_MAX, self.tried_function(order)).await })
        };
        let done = tokio::task::spawn_blocking(work).await;
        let done = done.map_err(|error| TryRefusal::Failed(format!("the try broke off: {error}")))?;
        done.unwrap_or(Err(TryRefusal::TooSlow(TRY_MAX.as_secs())))
    }

    /// Whoever calls this may wait for the disk, and for the compiler where the interpreter of scripts is new.
    async fn tried_function(&self, order: TryFunctionOrder) -> Result<FunctionTried, TryRefusal> {
        let until = StdInstant::now() + TRY_MAX;
        let TryFunctionOrder { name, code, settings, source, events } = order;
        let TriedFunction { loaded, settings } = self.what_is_tried(&name, code, settings)?;
        let limits = loaded.limits(self.store.limits());
        let function = Function::of(loaded.module.clone(), &name, settings.to_string(), limits);
        let function = function.with_services(services(Some(&loaded.manifest), Value::Null));
        let function = function.with_numbers(loaded.manifest.numbers());
        if let Err(error) = function.check().await {
            return Ok(FunctionTried { error: Some(error.message), ..FunctionTried::default() });
        }
        let events = self.sampled_texts(source.as_deref(), events)?;
        let cx = RunContext {
            now_ms: u64::try_from(clock::now_us() / 1_000).unwrap_or_default(),
            deadline: Some(until),
            ..RunContext::default()
        };
        Ok(run(&function, events, cx).await)
    }

    /// The code, loaded, and the settings that it is given.
    fn what_is_tried(&self, name: &str, code: TriedCode, settings: Option<Value>) -> Result<TriedFunction, TryRefusal> {
        let releases = self.store.releases();
        let live = releases.of_kind(PluginKind::Functions).get(name).and_then(|release| release.live.as_ref());
        let settings = settings.or_else(|| live.map(|placed| placed.settings.clone())).unwrap_or_else(|| json!({}));
        Ok(match code {
            TriedCode::Script(script) => TriedFunction {
                loaded: Arc::new(self.store.interpreter()?),
                settings: json!({ "script": script, "settings": settings }),
            },
            TriedCode::ScriptAlone(script) => TriedFunction {
                loaded: Arc::new(self.store.interpreter()?),
                settings: json!({ "script": script, "check": true }),
            },
            TriedCode::Version(named) => {
                let not_live = || RegistryError::NotLive { plugin_kind: PluginKind::Functions, name: name.to_owned() };
                let sha256: Sha = named.or_else(|| live.map(|placed| placed.sha256)).ok_or_else(not_live)?;
                TriedFunction { loaded: self.store.function_version(name, sha256)?, settings }
            }
        })
    }

    /// The events as functions get them. What cannot be read never comes to one.
    fn sampled_texts(&self, source: Option<&str>, sample: TriedSample) -> Result<Vec<String>, TryRefusal> {
        let source: Arc<str> = source.unwrap_or(SOURCE).into();
        let sample: Vec<SampledRecord> = match sample {
            TriedSample::Newest(0) => Vec::new(),
            TriedSample::Newest(count) => {
                let found = newest(&self.log, &source, count);
                found.map_err(|error| TryRefusal::Failed(with_causes(&error)))?
            }
            TriedSample::Given(events) => {
                let decoded =
                    (0..).zip(&events).map(|(number, event)| sampled_event(&event.to_string(), &source, number));
                decoded.collect()
            }
        };
        Ok(sample.into_iter().flatten().map(|event| event.to_json()).collect())
    }
}

async fn run(function: &Function, events: Vec<String>, cx: RunContext) -> FunctionTried {
    let before: Vec<Value> = events.iter().map(|text| serde_json::from_str(text).unwrap_or_default()).collect();
    let mut bodies: Vec<JsonObject> =
        before.iter().map(|event| event.as_object().cloned().unwrap_or_default().into()).collect();
    let mut ran = if function.edits() {
        let bytes = events.iter().map(String::len).sum();
        function.edit(&mut bodies, bytes, cx).await
    } else {
        function.run(&events, cx).await
    };
    if !function.edits() {
        let given = std::mem::take(&mut ran.call_log.given);
        for (outcome, body) in ran.outcomes.iter_mut().zip(&bodies) {
            function.restore(outcome, body, &given);
        }
    }
    let FunctionRan { outcomes, stats, call_log } = ran;
    let line = |line: tidegate_wasm::LogLine| TriedLogLine { level: line.level.as_str().to_owned(), text: line.text };
    let events = before.into_iter().zip(outcomes).zip(bodies);
    FunctionTried {
        error: None,
        events: events.map(|((before, outcome), body)| transformed(before, outcome, &body)).collect(),
        lines: call_log.lines.into_iter().map(line).collect(),
        cpu_us: u64::try_from(stats.cpu.as_micros()).unwrap_or(u64::MAX),
    }
}

/// What became of an event; `edited` is what stands in its place where it was changed where it is.
fn transformed(before: Value, outcome: Outcome, edited: &JsonObject) -> EventTransformed {
    // What is no event stays visible as the text that it is.
    let read = |text: String| match serde_json::from_str::<Value>(&text) {
        Ok(event) if event.is_object() => event,
        _ => json!({ "no-event": text }),
    };
    let (word, code, reason, after) = match outcome {
        Outcome::Keep => ("kept", None, None, Vec::new()),
        Outcome::Replace(text) => ("changed", None, None, vec![read(text)]),
        Outcome::Edited => ("changed", None, None, vec![read(edited.to_string())]),
        Outcome::Emit(texts) => ("emitted", None, None, texts.into_iter().map(read).collect()),
        Outcome::Drop(reason) => ("dropped", None, Some(reason), Vec::new()),
        Outcome::Fail { code, message, .. } => ("failed", Some(code), Some(message), Vec::new()),
        Outcome::Error { code, message } => ("error", Some(code.as_str().to_owned()), Some(message), Vec::new()),
    };
    let changes = match (word, after.as_slice()) {
        ("changed", [after]) => changes(&before, after),
        _ => Vec::new(),
    };
    EventTransformed { before, outcome: word.to_owned(), code, reason, changes, after }
}

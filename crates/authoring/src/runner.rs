//! One batch through a plugin of any kind, on the engine and within the limits that production uses.

use std::sync::Arc;

use serde_json::{Value, json};
use tidegate_delivery as delivery;
use tidegate_event::digits::Numbers;
use tidegate_event::value::JsonObject;
use tidegate_plugin::{Manifest, ManifestKind};
use tidegate_wasm::function::golden::{self, NOW_MS, said};
use tidegate_wasm::function::{CallLimits, CallLog, Function, LogLine, Outcome, RunContext, Stats};
use tidegate_wasm::{AnsweredRequest, Call, Called, DestinationExport, GuestPlan, Module, Services};

use super::refused;

/// A compiled plugin with what its tests grant it.
pub(super) struct Runner {
    pub(super) kind: ManifestKind,
    pub(super) module: Module,
    pub(super) limits: Arc<CallLimits>,
    pub(super) services: Services,
    /// What the component says about itself, if anything.
    pub(super) manifest: Option<Manifest>,
}

/// What came of a batch.
pub(super) struct RunResult {
    /// As a fixture spells it.
    pub(super) shown: Value,
    pub(super) stats: Stats,
    pub(super) log: Vec<LogLine>,
    /// What went wrong with which event, for people.
    pub(super) notes: Vec<String>,
    /// What a server would not take of it.
    pub(super) refused: Vec<String>,
    /// Of a destination that answered.
    pub(super) plan: Option<GuestPlan>,
}

impl Runner {
    pub(super) async fn run(&self, events: &[String], settings: &str) -> RunResult {
        match self.kind {
            ManifestKind::Transform => self.transform(events, settings).await,
            ManifestKind::Fields => self.edit(events, settings).await,
            ManifestKind::Destination => self.prepare(events, settings).await,
        }
    }

    async fn transform(&self, events: &[String], settings: &str) -> RunResult {
        let function = Function::of(self.module.clone(), "fixture", settings.to_owned(), (*self.limits).clone());
        let function = function.with_services(self.services.clone()).with_numbers(self.numbers());
        let mut ran = function.run(events, RunContext { now_ms: NOW_MS, ..RunContext::default() }).await;
        for (outcome, event) in ran.outcomes.iter_mut().zip(events) {
            let input = event.parse().unwrap_or_default();
            function.restore(outcome, &input, &ran.call_log.given);
        }
        let note = |(index, outcome): (usize, &Outcome)| match outcome {
            Outcome::Fail { code, message, .. } => Some(format!("{} failed: {code}: {message}", named(index, events))),
            Outcome::Error { code, message } => {
                Some(format!("{} broke the plugin: {code}: {message}", named(index, events)))
            }
            _ => None,
        };
        RunResult {
            shown: Value::Array(ran.outcomes.iter().map(golden::outcome).collect()),
            notes: ran.outcomes.iter().enumerate().filter_map(note).collect(),
            refused: refused::of_outcomes(events, &ran.outcomes, NOW_MS),
            stats: ran.stats,
            log: ran.call_log.lines,
            plan: None,
        }
    }

    async fn edit(&self, events: &[String], settings: &str) -> RunResult {
        let bytes = events.iter().map(String::len).sum();
        let bodies: Vec<JsonObject> = events.iter().map(|event| event.parse().unwrap_or_default()).collect();
        let mut call_log = CallLog::default();
        let (bodies, called) = self.module.edit(self.call(settings), bodies, bytes, &mut call_log).await;
        let stats = self.stats(events.len(), &called);
        let mut refused = Vec::new();
        let (shown, notes) = match called.answer {
            Ok(marks) => {
                let edited = marks.iter().zip(events.iter().zip(&bodies)).enumerate();
                refused.extend(edited.filter_map(|(index, (mark, (event, body)))| match mark {
                    tidegate_wasm::Mark::Edited => refused::of_edit(index, event, body, NOW_MS),
                    _ => None,
                }));
                let shown = marks.iter().zip(&bodies).map(|(mark, body)| golden::mark(mark, body)).collect();
                let note = |(index, mark): (usize, &tidegate_wasm::Mark)| match mark {
                    tidegate_wasm::Mark::Failed(code, message) => {
                        Some(format!("{} failed: {code}: {message}", named(index, events)))
                    }
                    _ => None,
                };
                (shown, marks.iter().enumerate().filter_map(note).collect())
            }
            Err(failure) => {
                let (code, message) = said(&failure);
                let error = json!({ "error": { "code": code } });
                (Value::Array(vec![error; events.len()]), vec![format!("the batch failed: {code}: {message}")])
            }
        };
        RunResult { shown, stats, log: call_log.lines, notes, refused, plan: None }
    }

    async fn prepare(&self, events: &[String], settings: &str) -> RunResult {
        let mut call_log = CallLog::default();
        let export = self.export_for(events);
        let called = self.module.prepare_for(self.call(settings), (export, events), &mut call_log).await;
        let stats = self.stats(events.len(), &called);
        let (shown, notes, plan) = match called.answer {
            Ok(plan) => {
                let failed = plan.failed.iter();
                let note = |(event, guest_error): &(u32, tidegate_wasm::GuestError)| {
                    format!("{} failed: {guest_error}", named(*event as usize, events))
                };
                (golden::plan(&plan), failed.map(note).collect(), Some(plan))
            }
            Err(failure) => {
                let (code, message) = said(&failure);
                (json!({ "error": { "code": code } }), vec![format!("the batch failed: {code}: {message}")], None)
            }
        };
        let refused = match (&self.manifest, &plan) {
            (Some(manifest), Some(plan)) => {
                let settings = serde_json::from_str(settings).unwrap_or_default();
                delivery::refusals(manifest, &settings, plan, events.len())
            }
            _ => Vec::new(),
        };
        RunResult { shown, stats, log: call_log.lines, notes, refused, plan }
    }

    /// Which export the inputs of a fixture are for: people to forget, where the plugin can do that, or events.
    pub(super) fn export_for(&self, inputs: &[String]) -> DestinationExport {
        if self.module.can_forget() { DestinationExport::of_fixtures(inputs) } else { DestinationExport::default() }
    }

    /// What the plugin makes of a recorded response to a request of one of its exports, as a fixture spells it.
    pub(super) async fn classify(
        &self,
        settings: &str,
        (export, answered): (DestinationExport, AnsweredRequest<'_>),
    ) -> (Value, Vec<LogLine>) {
        let mut call_log = CallLog::default();
        let called = self.module.classify_for(self.call(settings), (export, answered), &mut call_log).await;
        let shown = match called.answer {
            Ok(verdict) => golden::verdict(&verdict),
            Err(failure) => json!({ "error": { "code": said(&failure).0, "message": said(&failure).1 } }),
        };
        (shown, call_log.lines)
    }

    fn call<'a>(&'a self, settings_json: &'a str) -> Call<'a> {
        Call {
            limits: &self.limits,
            settings_json,
            revision: 1,
            now_ms: NOW_MS,
            seed: 0,
            deadline: None,
            services: &self.services,
            numbers: self.numbers(),
        }
    }

    fn numbers(&self) -> Numbers {
        self.manifest.as_ref().map_or(Numbers::Unknown, Manifest::numbers)
    }

    fn stats<T>(&self, events: usize, called: &Called<T>) -> Stats {
        let budget = self.limits.cpu_budget(events).as_secs_f64();
        Stats {
            cpu: called.cpu,
            calls: 1,
            calls_failed: u32::from(called.answer.is_err()),
            memory_peak_bytes: called.memory_peak_bytes,
            cpu_share_max: if budget > 0.0 { called.cpu.as_secs_f64() / budget } else { 0.0 },
            ..Stats::default()
        }
    }
}

/// An event for people: they know it by its messageId, and its place is counted as plans count, from 0.
fn named(index: usize, events: &[String]) -> String {
    let event: Value = events.get(index).and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
    match event["messageId"].as_str() {
        Some(id) => format!("event {index} (messageId {id:?})"),
        None => format!("event {index} (counted from 0)"),
    }
}

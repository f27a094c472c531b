//! `destinations/<name>.yaml` with `kind: plugin`: what the workspace grants, and perhaps the first version of the plugin.
//! What was pushed to the server's store and is live there takes its place.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tidegate_delivery::{CheckedPolicy, EffectivePolicy, Grant, PolicyProblem};
use tidegate_document::fields::{Fields, SecretText};
use tidegate_document::revealed::RevealedJson;
use tidegate_pipeline::sync;
use tidegate_plugin::{AskedLimits, Batching, Manifest, Package};
use tidegate_wasm::CallLimits;
use tidegate_wasm::function::granted;

use super::around::Around;
use super::batch::BatchConfig;
use super::component::ComponentFile;
use super::live_version::LiveVersion;
use super::outgoing;
use super::server::set;
use super::surroundings::ObjectInputs;

/// A destination plugin and what it may do.
#[derive(Clone)]
pub struct PluginConfig {
    /// The component of the file and the effective policy that it works on, until a version is live in the store.
    pub first: Option<(ComponentFile, CheckedPolicy)>,
    /// The effective policy of the version that would carry now; `None` before one is there.
    pub now: Option<CheckedPolicy>,
    /// Holds for every version.
    pub grant: Grant,
    /// How the version that would carry now has its events grouped.
    pub batching: Batching,
    /// How `integrations` of an event may spell the tool.
    pub spellings: Vec<String>,
    /// The settings of the version that is live in the store, with the secrets that they name.
    pub live_settings: Option<RevealedJson>,
    /// Settings that the manifests of its versions call secret.
    pub secret_settings: Vec<String>,
}

impl std::fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never print.
        f.debug_struct("PluginConfig").field("grant", &self.grant).finish_non_exhaustive()
    }
}

/// The effective policy of a version under a grant. The command line and the server both ask here.
#[must_use]
pub fn effective_policy(grant: &Grant, manifest: Manifest, settings: Map<String, Value>) -> EffectivePolicy {
    let unasked = Manifest { asked: AskedLimits::default(), ..manifest.clone() };
    let limits = granted(&unasked, &CallLimits::default());
    grant.effective_policy(manifest, settings, limits)
}

pub(super) fn plugin(fields: &mut Fields<'_>, around: &Around<'_>) -> Option<PluginConfig> {
    let component = match fields.text("component") {
        None => None,
        Some(written) => {
            let Some(path) = around.inputs.place(fields, "component", &written) else {
                fields.leave_rest();
                return None;
            };
            Some(path)
        }
    };
    let package = component.as_deref().map(|component| package(fields, around.inputs, component));
    let settings = fields.settings("settings");
    let mut grant = grant(fields);
    grant.ca_file = outgoing::ca_file(fields, around.inputs).or_else(|| around.outgoing.ca_file(around.inputs));
    if component.is_none() && !settings.is_empty() {
        let message = "`settings` are those of a `component`, and this file names none";
        let fix = "name the `component`, or give the settings to `tidegate destination push --settings FILE`";
        fields.problem("settings", message, fix);
        return None;
    }
    let mut asked = None;
    let mut secret_settings = Vec::new();
    let first = match package {
        // What is wrong with the component is noted.
        Some(None) => return None,
        Some(Some((component, package))) => {
            secret_settings.extend(package.manifest.secrets().map(str::to_owned));
            asked = Some(Traits::of(&package.manifest));
            match effective_policy(&grant, package.manifest, settings).check() {
                Ok(effective_policy) => Some((component, effective_policy)),
                Err(problems) => {
                    note(fields, problems);
                    return None;
                }
            }
        }
        None => None,
    };
    let mut now = first.as_ref().map(|(_, effective_policy)| effective_policy.clone());
    let mut live_settings = None;
    match around.inputs.live_version(around.data, &fields.name()) {
        Ok(None) => {}
        Ok(Some(LiveVersion { sha256, manifest, settings })) => {
            let component: Vec<&Path> = component.iter().map(PathBuf::as_path).collect();
            around.inputs.leave_out(&["component", "settings"], &component);
            secret_settings.extend(manifest.secrets().map(str::to_owned));
            asked = Some(Traits::of(&manifest));
            live_settings = revealed(settings, around.inputs);
            let given = live_settings.as_ref().and_then(|settings| settings.given().as_object()).cloned();
            match given.map(|given| effective_policy(&grant, manifest, given).check()) {
                // Where a secret is not there it fails alone, and says so when it is opened.
                None => now = None,
                Some(Ok(effective_policy)) => now = Some(effective_policy),
                Some(Err(problems)) => {
                    let of_store = |problem: PolicyProblem| PolicyProblem {
                        problem: format!(
                            "the version {}, which was pushed and is live: {}",
                            &sha256[..12],
                            problem.problem
                        ),
                        ..problem
                    };
                    note(fields, problems.into_iter().map(of_store).collect());
                    return None;
                }
            }
        }
        Err(error) => {
            fields.problem_at("", 0, format!("what was pushed cannot be read: {error}"), "see to the data directory");
            return None;
        }
    }
    let Traits { batching, names } = asked.unwrap_or_default();
    let batching = grant.batching(batching);
    let spellings = names.iter().chain([&fields.name()]).map(|name| sync::spelling(name)).collect();
    Some(PluginConfig { first, now, grant, batching, spellings, live_settings, secret_settings })
}

/// Settings with the secrets that they name; `None` where one is not there or cannot be told.
fn revealed(settings: Map<String, Value>, inputs: &ObjectInputs<'_>) -> Option<RevealedJson> {
    let read = |name: &str| match inputs.secret(name) {
        SecretText::Known(value) => Some(value),
        SecretText::Absent | SecretText::NotAtHand => None,
    };
    RevealedJson::read(Value::Object(settings), &read).ok()
}

/// What a sync needs to know of the version that would carry now.
#[derive(Default)]
struct Traits {
    batching: Batching,
    names: Vec<String>,
}

impl Traits {
    fn of(manifest: &Manifest) -> Self {
        let names = manifest.integrations.iter().chain([&manifest.name]).cloned().collect();
        Self { batching: manifest.batching, names }
    }
}

fn note(fields: &mut Fields<'_>, problems: Vec<PolicyProblem>) {
    for problem in problems {
        fields.problem(problem.field, problem.problem, problem.fix);
    }
}

fn grant(fields: &mut Fields<'_>) -> Grant {
    let allow_hosts = fields.texts("allow_hosts");
    let mut grant = Grant {
        allow_hosts: fields.has("allow_hosts").then_some(allow_hosts),
        allow_private_hosts: fields.texts("allow_private_hosts"),
        ..Grant::default()
    };
    fields.within("limits", |f| {
        grant.memory_bytes_max = f.bytes_up_to("memory_bytes_max", CallLimits::default().memory_bytes_ceiling as u64);
        grant.cpu_batch_max = f.duration("cpu_batch_max");
    });
    fields.within("pending", |f| {
        set(&mut grant.pending.events_max, f.number("events_max", 1));
        set(&mut grant.pending.bytes_max, f.bytes("bytes_max"));
    });
    fields.within("retry", |f| {
        grant.retry_age_max = f.duration("age_max");
        grant.retry_pause_min = f.duration("pause_min");
        grant.retry_pause_max = f.duration("pause_max");
    });
    fields.within("traffic", |f| {
        grant.requests_per_second = f.rate("requests_per_second");
        grant.requests_at_once_max = f.number("requests_at_once_max", 1);
        grant.timeout = f.duration("timeout");
    });
    let batch = BatchConfig::read(fields);
    (grant.batch_events_max, grant.batch_bytes_max) = (batch.events_max, batch.bytes_max);
    grant.batch_age_max = batch.age_max;
    grant
}

fn package(fields: &mut Fields<'_>, inputs: &ObjectInputs<'_>, path: &Path) -> Option<(ComponentFile, Package)> {
    let component = match ComponentFile::read(inputs, path) {
        Ok(component) => component,
        Err(error) => {
            let message = format!("the component {} cannot be read: {error}", path.display());
            fields.problem("component", message, "build the plugin and point `component` at its .wasm file");
            return None;
        }
    };
    match Package::read(&component.bytes) {
        Ok(package) => Some((component, package)),
        Err(error) => {
            fields.problem("component", error.to_string(), "point `component` at a plugin that carries its manifest");
            None
        }
    }
}

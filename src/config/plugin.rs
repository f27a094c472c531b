//! `destinations/<name>.yaml` with `kind: plugin`.

use std::path::{Path, PathBuf};

use super::fields::Fields;
use super::set;
use crate::delivery::{Checked, Terms};
use crate::function::granted;
use crate::plugin::{Asked, Manifest, Package};
use crate::wasm::Limits;

/// A destination plugin and the terms that it works on.
#[derive(Clone)]
pub struct PluginConfig {
    /// The component, a `.wasm` file that carries its manifest.
    pub component: PathBuf,
    pub terms: Checked,
}

impl std::fmt::Debug for PluginConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Secrets never print.
        f.debug_struct("PluginConfig").field("component", &self.component).finish_non_exhaustive()
    }
}

pub(super) fn plugin(fields: &mut Fields<'_>, dir: &Path) -> Option<PluginConfig> {
    let component = fields.required("component", "functions/name.component.wasm").map(|path| dir.join(path));
    let package = component.as_deref().and_then(|component| package(fields, component));
    let settings = fields.settings("settings");
    let allow_hosts = fields.json("allow_hosts").is_some().then(|| texts(fields, "allow_hosts"));
    let allow_private_hosts = texts(fields, "allow_private_hosts");
    let Some(package) = package else {
        // Without the manifest nothing more can be said, about unknown fields neither.
        for name in ["limits", "pending", "retry", "traffic", "batch"] {
            let _ = fields.json(name);
        }
        return None;
    };
    let unasked = Manifest { asked: Asked::default(), ..package.manifest.clone() };
    let limits = granted(&unasked, &Limits::default());
    let mut terms = Terms { allow_hosts, allow_private_hosts, limits, ..Terms::new(package.manifest, settings) };
    fields.within("limits", |f| {
        terms.memory_bytes_max = f.bytes("memory_bytes_max");
        terms.cpu_batch_max = f.duration("cpu_batch_max");
    });
    fields.within("pending", |f| {
        set(&mut terms.pending.events_max, f.number("events_max", 1));
        set(&mut terms.pending.bytes_max, f.bytes("bytes_max"));
    });
    fields.within("retry", |f| {
        set(&mut terms.retry.age_max, f.duration("age_max"));
        set(&mut terms.retry.pause_min, f.duration("pause_min"));
        set(&mut terms.retry.pause_max, f.duration("pause_max"));
    });
    fields.within("traffic", |f| {
        terms.traffic.requests_per_second = f.rate("requests_per_second").or(terms.traffic.requests_per_second);
        set(&mut terms.traffic.requests_at_once_max, f.number("requests_at_once_max", 1));
        set(&mut terms.traffic.timeout, f.duration("timeout"));
        terms.traffic.requests_at_once_max = terms.traffic.requests_at_once_max.min(256);
    });
    fields.within("batch", |f| {
        set(&mut terms.batching.events_max, f.number("events_max", 1));
        set(&mut terms.batching.bytes_max, f.bytes("bytes_max"));
        set(&mut terms.batching.age_max, f.duration("age_max"));
    });
    match terms.check() {
        Ok(terms) => Some(PluginConfig { component: component?, terms }),
        Err(faults) => {
            for fault in faults {
                fields.problem(fields.line_of(fault.field), fault.problem, fault.fix);
            }
            None
        }
    }
}

fn texts(fields: &mut Fields<'_>, name: &'static str) -> Vec<String> {
    fields.texts(name).into_iter().map(|(text, _)| text).collect()
}

fn package(fields: &mut Fields<'_>, component: &Path) -> Option<Package> {
    let line = fields.line_of("component");
    let bytes = match std::fs::read(component) {
        Ok(bytes) => bytes,
        Err(error) => {
            let message = format!("the component {} cannot be read: {error}", component.display());
            fields.problem(line, message, "build the plugin and point `component` at its .wasm file");
            return None;
        }
    };
    match Package::read(&bytes) {
        Ok(package) => Some(package),
        Err(error) => {
            fields.problem(line, error.to_string(), "point `component` at a plugin that carries its manifest");
            None
        }
    }
}

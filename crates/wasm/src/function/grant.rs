//! What a manifest asks for, within what the host allows.

use std::time::Duration;

use tidegate_plugin::Manifest;

use crate::CallLimits;

/// An interpreter wants memory for itself before it has seen an event.
const INTERPRETED_MEMORY_BYTES: usize = 256 << 20;

/// A runtime wants time to start, the more so when its pages are cold, and for each event.
const RUNTIME_CPU_BASE: Duration = Duration::from_millis(100);
const RUNTIME_CPU_PER_EVENT: Duration = Duration::from_millis(1);
const RUNTIME_CPU_MAX: Duration = Duration::from_secs(2);

/// However much CPU time a plugin asks for, a call gets no more than this.
const CPU_ASKED_MAX: Duration = Duration::from_secs(5);

/// The limits of a plugin: those of `host`, wider for an interpreted language, and then what the manifest asks for as
/// far as the engine can give it. The command line and the server both ask here, so that a test tells the truth.
#[must_use]
pub fn granted(manifest: &Manifest, host: &CallLimits) -> CallLimits {
    let mut limits = host.clone();
    if manifest.is_interpreted() {
        limits.memory_bytes_max = limits.memory_bytes_max.max(INTERPRETED_MEMORY_BYTES);
    }
    if manifest.starts_a_runtime() {
        limits.cpu_base = limits.cpu_base.max(RUNTIME_CPU_BASE);
        limits.cpu_per_event = limits.cpu_per_event.max(RUNTIME_CPU_PER_EVENT);
        limits.cpu_max = limits.cpu_max.max(RUNTIME_CPU_MAX);
    }
    if let Some(asked) = manifest.asked.memory_bytes_max {
        limits.memory_bytes_max = asked;
    }
    limits.memory_bytes_max = limits.memory_bytes_max.min(limits.memory_bytes_ceiling);
    if let Some(asked) = manifest.asked.cpu_batch_max {
        limits.cpu_max = asked.min(CPU_ASKED_MAX);
        limits.cpu_base = limits.cpu_max;
    }
    limits.batch_events_max = manifest.batching.events_max;
    limits.batch_bytes_max = manifest.batching.bytes_max.min(limits.batch_bytes_max);
    limits
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn limits(manifest: serde_json::Value) -> CallLimits {
        granted(&Manifest::from_json(&manifest).unwrap(), &CallLimits::default())
    }

    #[test]
    fn an_interpreter_gets_more_and_nobody_gets_more_than_there_is() {
        let rust = limits(json!({"name": "a", "kind": "transform", "language": "rust"}));
        assert_eq!(rust.memory_bytes_max, CallLimits::default().memory_bytes_max);
        let js = limits(json!({"name": "a", "kind": "transform", "language": "js"}));
        assert!(js.memory_bytes_max > rust.memory_bytes_max && js.cpu_budget(0) > rust.cpu_budget(0));
        let go = limits(json!({"name": "a", "kind": "transform", "language": "go"}));
        assert_eq!((go.memory_bytes_max, go.cpu_budget(0)), (rust.memory_bytes_max, js.cpu_budget(0)));
        let other = limits(json!({"name": "a", "kind": "transform", "language": "Zig 0.17"}));
        assert_eq!((other.memory_bytes_max, other.cpu_budget(0)), (js.memory_bytes_max, js.cpu_budget(0)));
        let greedy = limits(json!({"name": "a", "kind": "transform", "batch": {"events_max": 7},
            "limits": {"memory_bytes_max": "8 GiB", "cpu_batch_max": "1 h"}}));
        assert_eq!(greedy.memory_bytes_max, CallLimits::default().memory_bytes_ceiling);
        assert_eq!((greedy.cpu_budget(0), greedy.batch_events_max), (CPU_ASKED_MAX, 7));
    }
}

//! What a workspace grants a destination, whichever version of its plugin runs.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Map, Value};
use tidegate_plugin::{Batching, Manifest};
use tidegate_wasm::CallLimits;

use super::effective_policy::{EffectivePolicy, PendingLimits};

/// What `destinations/<name>.yaml` says beside the component and its settings. `None` leaves the word to the manifest.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Grant {
    /// Origins that it may send to; `None` grants the https origins that the manifest spells out.
    pub allow_hosts: Option<Vec<String>>,
    pub allow_private_hosts: Vec<String>,
    /// Authorities to trust besides the machine's, a PEM file.
    pub ca_file: Option<PathBuf>,
    pub memory_bytes_max: Option<usize>,
    pub cpu_batch_max: Option<Duration>,
    pub pending: PendingLimits,
    pub retry_age_max: Option<Duration>,
    pub retry_pause_min: Option<Duration>,
    pub retry_pause_max: Option<Duration>,
    pub requests_per_second: Option<f64>,
    pub requests_at_once_max: Option<usize>,
    pub timeout: Option<Duration>,
    pub batch_events_max: Option<usize>,
    pub batch_bytes_max: Option<usize>,
    pub batch_age_max: Option<Duration>,
}

impl Grant {
    /// The effective policy of one version: `limits` are what any plugin of its language gets without asking.
    #[must_use]
    pub fn effective_policy(
        &self,
        manifest: Manifest,
        settings: Map<String, Value>,
        limits: CallLimits,
    ) -> EffectivePolicy {
        let mut effective = EffectivePolicy::new(manifest, settings);
        effective.limits = limits;
        effective.allow_hosts.clone_from(&self.allow_hosts);
        effective.allow_private_hosts.clone_from(&self.allow_private_hosts);
        effective.ca_file.clone_from(&self.ca_file);
        effective.memory_bytes_max = self.memory_bytes_max;
        effective.cpu_batch_max = self.cpu_batch_max;
        effective.pending = self.pending;
        set(&mut effective.retry.age_max, self.retry_age_max);
        set(&mut effective.retry.pause_min, self.retry_pause_min);
        set(&mut effective.retry.pause_max, self.retry_pause_max);
        effective.traffic.requests_per_second = self.requests_per_second.or(effective.traffic.requests_per_second);
        set(&mut effective.traffic.requests_at_once_max, self.requests_at_once_max);
        effective.traffic.requests_at_once_max = effective.traffic.requests_at_once_max.min(256);
        set(&mut effective.traffic.timeout, self.timeout);
        effective.batching = self.batching(effective.batching);
        effective
    }

    /// How events are grouped, where the manifest says `asked`.
    #[must_use]
    pub fn batching(&self, asked: Batching) -> Batching {
        let mut batching = asked;
        set(&mut batching.events_max, self.batch_events_max);
        set(&mut batching.bytes_max, self.batch_bytes_max);
        set(&mut batching.age_max, self.batch_age_max);
        batching
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

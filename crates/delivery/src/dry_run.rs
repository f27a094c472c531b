//! What would be refused of a plan before anything is sent: for tests of plugins, which send nothing.

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_net::outbound::{OutboundRequest, Secrets};
use tidegate_plugin::Manifest;
use tidegate_wasm as wasm;

use super::effective_policy::EffectivePolicy;
use super::plan;

/// The refusals of a plan for `events` events, where the workspace grants all that the manifest asks for.
#[must_use]
pub fn refusals(manifest: &Manifest, settings: &Value, planned: &wasm::GuestPlan, events: usize) -> Vec<String> {
    let settings = settings.as_object().cloned().unwrap_or_else(Map::new);
    let policy = EffectivePolicy::new(manifest.clone(), settings).asked();
    // Any value shows whether a secret stands where it may.
    let secrets = Secrets::new(manifest.secrets().map(|name| (name.to_owned(), "secret".to_owned())));
    let mut refused = Vec::new();
    if let Err(bad) = plan::check(planned, events) {
        refused.push(format!("{}: {}", bad.code, bad.reason));
    }
    for request in &planned.requests {
        let request = OutboundRequest {
            method: plan::method(request.method),
            url: request.url.clone(),
            headers: request.headers.clone(),
            body: Bytes::from(request.body.clone()),
        };
        if let Err(refusal) = request.check(&policy, &secrets) {
            refused.push(format!("{}: {}", refusal.code, refusal.reason));
        }
    }
    refused
}

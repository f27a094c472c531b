//! Plans of which nothing is sent: what would be refused of one, for tests of plugins, and what one event would become.

use bytes::Bytes;
use serde_json::{Map, Value};
use tidegate_event::Event;
use tidegate_net::outbound::{OutboundRequest, Secrets, has_placeholder};
use tidegate_plugin::Manifest;
use tidegate_wasm as wasm;

use super::active::ActiveRuntime;
use super::effective_policy::EffectivePolicy;
use super::outgoing_event::OutgoingEvent;
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

/// What a plugin would do with one event. Nothing of it is sent.
#[derive(Debug, Clone, Default)]
pub struct DryPlan {
    /// Secrets are placeholders in them.
    pub requests: Vec<OutboundRequest>,
    /// Why it leaves the event out.
    pub skipped: Option<String>,
    /// Why it cannot take the event.
    pub refused: Option<String>,
}

impl ActiveRuntime {
    /// What the version that is active now plans for one event, alone.
    ///
    /// # Errors
    /// None is active, or the plugin breaks on the event; a sentence.
    pub async fn planned(&self, event: &Event) -> Result<DryPlan, String> {
        let held = self.follow().borrow().clone();
        let Some(runtime) = held else { return Err(self.vacancy()) };
        let json = OutgoingEvent::new(event).json;
        if !runtime.effective.secrets.is_empty() && has_placeholder(&json) {
            let refused = "the event holds the text {{secret. which this destination would read as a placeholder";
            return Ok(DryPlan { refused: Some(refused.to_owned()), ..DryPlan::default() });
        }
        let planned = match runtime.prepare_quietly(&[json]).await {
            Ok(planned) => planned,
            Err(wasm::CallFailure::Stopped { message, .. }) => return Err(message),
            Err(
                wasm::CallFailure::Fatal(guest_error)
                | wasm::CallFailure::Retryable(guest_error, _)
                | wasm::CallFailure::Configure(guest_error),
            ) => return Err(guest_error.to_string()),
        };
        plan::check(&planned, 1).map_err(|bad| bad.reason)?;
        let requests = planned.requests.into_iter().map(|request| OutboundRequest {
            method: plan::method(request.method),
            url: request.url,
            headers: request.headers,
            body: Bytes::from(request.body),
        });
        Ok(DryPlan {
            requests: requests.collect(),
            skipped: planned.skipped.into_iter().next().map(|(_, reason)| reason),
            refused: planned.failed.into_iter().next().map(|(_, guest_error)| guest_error.to_string()),
        })
    }
}

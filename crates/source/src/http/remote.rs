//! Remote settings: what SDKs ask for when they start.

use std::sync::atomic::Ordering;

use hyper::header::{self, HeaderMap};
use hyper::http::request::Parts;
use tidegate_net::Peer;
use tidegate_process::clock;

use super::answer::HttpAnswer;
use super::{IngestDoor, host, key};

impl IngestDoor {
    /// What the Segment family asks for at start. Some SDKs replace their configured host by the one that they find
    /// here; without one they keep theirs.
    pub(super) fn settings_for(&self, headers: &HeaderMap, peer: Peer, key: &str) -> HttpAnswer {
        if self.environments.find(key, clock::now_us()).is_none() {
            return HttpAnswer::NoSource;
        }
        let api = match self.own_host(headers, peer) {
            Some(host) => format!(r#","apiHost":{}"#, serde_json::json!(format!("{host}/v1"))),
            None => String::new(),
        };
        let key = serde_json::json!(key);
        HttpAnswer::Json(
            format!(
                r#"{{"integrations":{{"Hightouch.io":{{"apiKey":{key}{api}}},"Segment.io":{{"apiKey":{key}{api},"unbundledIntegrations":[],"addBundledMetadata":true,"maybeBundledConfigIds":{{}}}}}},"plan":{{"track":{{"__default":{{"enabled":true,"integrations":{{}}}}}},"identify":{{"__default":{{"enabled":true}}}},"group":{{"__default":{{"enabled":true}}}}}},"edgeFunction":{{}},"middlewareSettings":{{}},"enabledMiddleware":{{}},"metrics":{{"sampleRate":0}},"legacyVideoPluginsEnabled":false,"remotePlugins":[],"consentSettings":{{"allCategories":[]}},"analyticsNextEnabled":true}}"#
            )
            .into(),
        )
    }

    /// The name under which SDKs reach us: what the configuration says, else the `Host` that was asked for, if it names
    /// this server.
    fn own_host(&self, headers: &HeaderMap, peer: Peer) -> Option<String> {
        if let Some(host) = &self.settings.public_host {
            return Some(host.clone());
        }
        let host = headers.get(header::HOST)?.to_str().ok()?;
        if host::is_ours(host, peer.local) {
            return Some(host.to_owned());
        }
        if !self.told_of_host.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                host = ?host.chars().take(255).collect::<String>(),
                "an SDK asked for its settings under a name that is not known to be ours, so they name no host; set public_url in tidegate.yaml"
            );
        }
        None
    }

    /// What the RudderStack family asks for at start.
    pub(super) fn source_config(&self, parts: &Parts) -> HttpAnswer {
        let candidates = key::outside(&parts.headers, parts.uri.query());
        let now_us = clock::now_us();
        let found = candidates.iter().find_map(|key| Some((self.environments.find(key, now_us)?, key)));
        let Some((known, key)) = found else {
            return HttpAnswer::UnknownKey;
        };
        let source = &*known.source;
        let body = serde_json::json!({
            "source": {
                "id": source, "name": source, "writeKey": key, "enabled": true, "workspaceId": "tidegate",
                "sourceDefinitionId": "tidegate", "updatedAt": "2026-01-01T00:00:00.000Z",
                "config": {"statsCollection": {"errors": {"enabled": false}, "metrics": {"enabled": false}}},
                "destinations": [], "connections": [], "dataplanes": {},
            },
            "updatedAt": "2026-01-01T00:00:00.000Z",
        });
        HttpAnswer::Json(body.to_string().into())
    }
}

//! Which destinations there can be, and what each wants to be told: the warehouses and streams of this program, and the plugins that are shipped
//! with it. The plugins say it in their manifests.

use std::sync::LazyLock;

use serde_json::Value;
use tidegate_api_types::destination_kind::{DestinationKinds, ShownDestinationKind};
use tidegate_api_types::path;
use tidegate_document::yaml;

use crate::api::refusal::ApiRefusal;

/// Destinations of this program: a list, in the words of the answer.
const NATIVE: &str = include_str!("destination_kinds/native.yaml");

/// The manifests of the shipped plugins, with a title for people.
const PLUGINS: [(&str, &str); 15] = [
    ("Amplitude", include_str!("../../../functions/destination/amplitude/plugin.yaml")),
    ("Braze", include_str!("../../../functions/destination/braze/plugin.yaml")),
    ("Customer.io", include_str!("../../../functions/destination/customerio/plugin.yaml")),
    ("Elasticsearch", include_str!("../../../functions/destination/elasticsearch/plugin.yaml")),
    ("Event forwarder", include_str!("../../../functions/destination/event-forwarder/plugin.yaml")),
    ("Google Analytics 4", include_str!("../../../functions/destination/ga4/plugin.yaml")),
    ("HubSpot", include_str!("../../../functions/destination/hubspot/plugin.yaml")),
    ("Iterable", include_str!("../../../functions/destination/iterable/plugin.yaml")),
    ("Klaviyo", include_str!("../../../functions/destination/klaviyo/plugin.yaml")),
    ("Meta Conversions API", include_str!("../../../functions/destination/meta-capi/plugin.yaml")),
    ("Mixpanel", include_str!("../../../functions/destination/mixpanel/plugin.yaml")),
    ("PostHog", include_str!("../../../functions/destination/posthog/plugin.yaml")),
    ("Segment", include_str!("../../../functions/destination/segment/plugin.yaml")),
    ("Slack", include_str!("../../../functions/destination/slack/plugin.yaml")),
    ("Webhook", include_str!("../../../functions/destination/webhook/plugin.yaml")),
];

static KINDS: LazyLock<DestinationKinds> = LazyLock::new(kinds);

/// Which destinations there can be, and a JSON Schema of the settings of each.
#[utoipa::path(get, path = path::DESTINATION_KINDS, tag = "destinations", operation_id = "list_destination_kinds",
    responses((status = 200, body = DestinationKinds), ApiRefusal))]
pub(super) async fn list() -> axum::Json<DestinationKinds> {
    axum::Json(KINDS.clone())
}

fn kinds() -> DestinationKinds {
    let native = read(NATIVE);
    let native = native.as_array().into_iter().flatten().map(|kind| ShownDestinationKind {
        kind: text(kind, "kind"),
        plugin: None,
        title: text(kind, "title"),
        description: text(kind, "description"),
        group: text(kind, "group"),
        settings: kind["settings"].clone(),
        needs_hosts: false,
    });
    let plugins = PLUGINS.into_iter().map(|(title, manifest)| {
        let manifest = read(manifest);
        ShownDestinationKind {
            kind: "plugin".to_owned(),
            plugin: Some(text(&manifest, "name")),
            title: title.to_owned(),
            description: text(&manifest, "description"),
            group: "tool".to_owned(),
            settings: manifest["settings"].clone(),
            needs_hosts: manifest["hosts"].to_string().contains("{{settings."),
        }
    });
    DestinationKinds { kinds: native.chain(plugins).collect() }
}

/// A text of ours; `null` if it were none.
fn read(text: &str) -> Value {
    yaml::parse(text).map(|node| node.to_json()).unwrap_or_default()
}

fn text(kind: &Value, field: &str) -> String {
    kind[field].as_str().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_title_a_sentence_and_settings_that_can_be_asked_for() {
        let found = kinds().kinds;
        assert_eq!(found.len(), 9 + PLUGINS.len());
        for kind in found {
            let name = kind.plugin.clone().unwrap_or_else(|| kind.kind.clone());
            assert!(!name.is_empty() && !kind.title.is_empty() && kind.description.ends_with('.'), "{kind:?}");
            assert!(["warehouse", "stream", "tool"].contains(&kind.group.as_str()), "{kind:?}");
            let properties = kind.settings["properties"].as_object().unwrap();
            assert!(!properties.is_empty(), "{name}");
            for required in kind.settings["required"].as_array().into_iter().flatten() {
                assert!(properties.contains_key(required.as_str().unwrap()), "{name} has no {required}");
            }
            assert!(!properties.contains_key("kind"), "{name}");
        }
    }
}

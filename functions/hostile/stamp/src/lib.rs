//! Writes its setting `stamp` into `properties.stamp` of every event, behind what stands there already: which versions
//! an event met can then be read in the table. The settings are the stamp alone, or `{"stamp": ".."}`.
#![cfg(target_arch = "wasm32")]

wit_bindgen::generate!({ path: "../../../wit", world: "transform-fields" });

use std::sync::OnceLock;

use exports::tidegate::plugin::{field_transformer, lifecycle};
use tidegate::plugin::fields::{self, Path};

struct Stamp;

static TEXT: OnceLock<String> = OnceLock::new();

impl lifecycle::Guest for Stamp {
    fn configure(setup: lifecycle::Setup) -> Result<(), lifecycle::PluginError> {
        // The last quoted text of the settings.
        let text = setup.settings_json.trim_end_matches(['}', '"']).rsplit('"').next().unwrap_or_default().to_owned();
        TEXT.get_or_init(|| text);
        Ok(())
    }
}

impl field_transformer::Guest for Stamp {
    fn transform(events: u32) -> Result<(), field_transformer::BatchError> {
        let at = Path::new("/properties/stamp");
        let text = TEXT.get().map(String::as_str).unwrap_or_default();
        for event in 0..events {
            let stamps = at.get_string(event).unwrap_or_default() + text;
            if let Err(reason) = at.set_string(event, &stamps) {
                fields::fail_event(event, "no-properties", &reason);
            }
        }
        Ok(())
    }
}

export!(Stamp);

use std::cell::RefCell;

use exports::tidegate::plugin::lifecycle::{self, PluginError, Setup};
use exports::tidegate::plugin::transformer::{self, BatchError, Outcome};
use serde_json::Value;
use tidegate::plugin::types::ErrorKind;

tidegate_sdk::wit_bindgen::generate!({
    path: "wit",
    world: "transform",
    runtime_path: "tidegate_sdk::wit_bindgen::rt",
});

#[global_allocator]
static HEAP: tidegate_sdk::Heap = tidegate_sdk::Heap::new();

struct Plugin;

thread_local! {
    /// Set by `configure`, which comes before anything else.
    static STAFF_SUFFIX: RefCell<String> = RefCell::default();
}

impl lifecycle::Guest for Plugin {
    fn configure(setup: Setup) -> Result<(), PluginError> {
        let settings: Value = serde_json::from_str(&setup.settings_json)
            .map_err(|error| plugin_error(ErrorKind::InvalidConfig, "settings", &error.to_string()))?;
        let domain = settings["staff_domain"].as_str().unwrap_or_default();
        STAFF_SUFFIX.set(format!("@{domain}"));
        Ok(())
    }
}

impl transformer::Guest for Plugin {
    fn transform(batch: Vec<String>) -> Result<Vec<Outcome>, BatchError> {
        let staff_suffix = STAFF_SUFFIX.with_borrow(String::clone);
        Ok(batch.iter().map(|text| outcome(text, &staff_suffix)).collect())
    }
}

fn outcome(text: &str, staff_suffix: &str) -> Outcome {
    let mut event: Value = match serde_json::from_str(text) {
        Ok(event) => event,
        Err(error) => return Outcome::Fail(plugin_error(ErrorKind::InvalidEvent, "no-json", &error.to_string())),
    };
    let holder = if event["properties"]["email"].is_string() { "properties" } else { "traits" };
    let Some(found) = event[holder]["email"].as_str() else { return Outcome::Keep };
    let email = found.to_lowercase();
    if email.ends_with(staff_suffix) {
        return Outcome::Drop("staff".to_owned());
    }
    if email == found {
        return Outcome::Keep;
    }
    event[holder]["email"] = email.into();
    Outcome::Replace(event.to_string())
}

fn plugin_error(kind: ErrorKind, code: &str, message: &str) -> PluginError {
    PluginError { kind, code: code.to_owned(), message: message.to_owned() }
}

export!(Plugin);
